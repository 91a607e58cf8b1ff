/* sim_batch.c - several generations at once, as a server with slots does them: one thread makes the steps. A prompt is a step of
 * its own; then every sequence that decodes has one token in the next step. */
#include "tests/sim_engine/sim_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct seat {
    bool used;
    int64_t prompt, cached, tokens, made, t_ns; /* t_ns: of the last token made */
};
struct sim_batch {
    struct sim_engine *engine;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct seat seats[SIM_SLOTS];
    int64_t t_ns; /* end of the last step */
    bool stopping;
};

static void sleep_until(int64_t t_ns)
{
    struct timespec t = {.tv_sec = t_ns / JL_NS_PER_S, .tv_nsec = t_ns % JL_NS_PER_S};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        continue;
}

static bool unfinished(const struct seat *s)
{
    return s->used && s->made < s->tokens;
}

/* The rows of the next step, and whose they are; 0: nothing to do. */
static size_t gather(const struct sim_batch *b, struct sim_row rows[SIM_SLOTS], int of[SIM_SLOTS])
{
    size_t n = 0;
    for (int i = 0; i < SIM_SLOTS; i++)
        if (unfinished(&b->seats[i]) && b->seats[i].made == 0) {
            of[0] = i;
            rows[0] = (struct sim_row){b->seats[i].prompt - b->seats[i].cached, b->seats[i].cached, i};
            return 1;
        }
    for (int i = 0; i < SIM_SLOTS; i++)
        if (unfinished(&b->seats[i])) {
            of[n] = i;
            rows[n++] = (struct sim_row){1, b->seats[i].prompt + b->seats[i].made - 1, i};
        }
    return n;
}

static void *make_steps(void *user)
{
    struct sim_batch *b = user;
    const struct sim_config *f = &b->engine->config;
    struct sim_row rows[SIM_SLOTS];
    int of[SIM_SLOTS];
    pthread_mutex_lock(&b->lock);
    while (!b->stopping) {
        size_t n = gather(b, rows, of);
        if (n == 0) {
            if (b->t_ns > 0)
                sim_power(b->engine, b->t_ns, f->idle_w);
            pthread_cond_wait(&b->changed, &b->lock);
            continue;
        }
        int64_t now = jl_mono_ns(), t = b->t_ns > now ? b->t_ns : now;
        b->t_ns = t + f->step(f->step_user, t, rows, n);
        pthread_mutex_unlock(&b->lock);
        sleep_until(b->t_ns);
        pthread_mutex_lock(&b->lock);
        for (size_t i = 0; i < n; i++) {
            b->seats[of[i]].made++;
            b->seats[of[i]].t_ns = b->t_ns;
        }
        pthread_cond_broadcast(&b->changed);
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

struct sim_batch *sim_batch_open(struct sim_engine *e)
{
    struct sim_batch *b = calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    b->engine = e;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->changed, NULL);
    if (pthread_create(&b->thread, NULL, make_steps, b) == 0)
        return b;
    free(b);
    return NULL;
}

void sim_batch_stop(struct sim_batch *b)
{
    if (!b)
        return;
    pthread_mutex_lock(&b->lock);
    b->stopping = true;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
    pthread_join(b->thread, NULL);
}

void sim_batch_close(struct sim_batch *b)
{
    if (!b)
        return;
    pthread_cond_destroy(&b->changed);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

int sim_batch_take(struct sim_batch *b, int64_t prompt, int64_t cached, int64_t tokens)
{
    int seat = -1;
    pthread_mutex_lock(&b->lock);
    while (seat < 0 && !b->stopping) {
        for (int i = 0; seat < 0 && i < b->engine->config.slots && i < SIM_SLOTS; i++)
            if (!b->seats[i].used)
                seat = i;
        if (seat < 0)
            pthread_cond_wait(&b->changed, &b->lock);
    }
    if (seat >= 0)
        b->seats[seat] = (struct seat){.used = true, .prompt = prompt, .cached = cached, .tokens = tokens};
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
    return seat;
}

int64_t sim_batch_wait(struct sim_batch *b, int seat, int64_t made)
{
    pthread_mutex_lock(&b->lock);
    while (b->seats[seat].made < made && !b->stopping)
        pthread_cond_wait(&b->changed, &b->lock);
    int64_t t_ns = b->seats[seat].made < made ? -1 : b->seats[seat].t_ns;
    pthread_mutex_unlock(&b->lock);
    return t_ns;
}

void sim_batch_leave(struct sim_batch *b, int seat)
{
    pthread_mutex_lock(&b->lock);
    b->seats[seat].used = false;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
}
