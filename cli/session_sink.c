/* session_sink.c - the store may block for a disk; the sampler must not. The meter calls the sink on a thread of its own and
 * keeps samples in memory meanwhile, so this file only has to wait for the run to begin and to remember the first failure. */
#include "cli/session_sink.h"

#include <pthread.h>
#include <stdlib.h>

struct session_sink {
    pthread_mutex_t lock;
    pthread_cond_t begun;
    bool started, failed;
    struct store *store;
    const struct run *run;
    struct joulet_error err;
};

struct session_sink *session_sink_open(void)
{
    struct session_sink *k = calloc(1, sizeof *k);
    if (!k)
        return NULL;
    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->begun, NULL);
    return k;
}

void session_sink_start(struct session_sink *k, struct store *store, const struct run *run)
{
    pthread_mutex_lock(&k->lock);
    if (!k->started) {
        k->store = store;
        k->run = run;
        k->started = true;
        pthread_cond_broadcast(&k->begun);
    }
    pthread_mutex_unlock(&k->lock);
}

void session_sink_samples(void *user, size_t channel, const struct joulet_sample *samples, size_t n)
{
    struct session_sink *k = user;
    pthread_mutex_lock(&k->lock);
    while (!k->started)
        pthread_cond_wait(&k->begun, &k->lock);
    bool write = k->store && !k->failed && channel < k->run->n_channels;
    pthread_mutex_unlock(&k->lock);
    if (!write)
        return;
    struct joulet_error err;
    if (store_samples(k->store, k->run->id, &k->run->channels[channel], channel, samples, n, &err) != JOULET_OK) {
        pthread_mutex_lock(&k->lock);
        k->failed = true;
        k->err = err;
        pthread_mutex_unlock(&k->lock);
    }
}

bool session_sink_failed(struct session_sink *k, struct joulet_error *err)
{
    pthread_mutex_lock(&k->lock);
    bool failed = k->failed;
    if (failed && err)
        *err = k->err;
    pthread_mutex_unlock(&k->lock);
    return failed;
}

void session_sink_close(struct session_sink *k)
{
    if (!k)
        return;
    pthread_cond_destroy(&k->begun);
    pthread_mutex_destroy(&k->lock);
    free(k);
}
