/* api_jobs.c - a queue of children and a thread that runs them: api_jobs.h says why. */
#include "server/api_jobs.h"
#include "lib/platform/platform.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GRACE_S  20.0 /* to end the request under way and write the record */
#define LOOK_S   0.1
#define LOG_KEPT ((size_t)1 << 20)

struct job {
    struct job_view view;
    char *argv[JOB_ARGS_MAX + 1];
    char *key;
    bool used, stop;
};

struct jobs {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct job table[JOBS_MAX]; /* taken in turn */
    size_t turn;
    bool closing;
    struct jl_thread *thread; /* NULL until the first */
};

const char *job_state_name(enum job_state s)
{
    static const char *const names[] = {"queued", "running", "done", "failed", "stopped"};
    return names[s];
}

static void forget(struct job *x)
{
    for (size_t i = 0; x->argv[i]; i++)
        free(x->argv[i]);
    free(x->key);
    *x = (struct job){0};
}

static struct job *find(struct jobs *j, const char *id)
{
    for (size_t i = 0; i < JOBS_MAX; i++)
        if (j->table[i].used && strcmp(j->table[i].view.id, id) == 0)
            return &j->table[i];
    return NULL;
}

/* ---- one child --------------------------------------------------------------------------------------------------- */

/* The last thing that it said: the sentence of its failure. */
static void last_line(const char *path, char *out, size_t size)
{
    struct jl_buf b;
    jl_buf_init(&b, LOG_KEPT);
    if (jl_read_file(path, &b, NULL) == JOULET_OK && b.data) {
        while (b.len && (b.data[b.len - 1] == '\n' || b.data[b.len - 1] == ' '))
            b.data[--b.len] = '\0';
        const char *at = strrchr(b.data, '\n');
        at = at ? at + 1 : b.data;
        snprintf(out, size, "%s", jl_starts(at, "joulet: ") ? at + 8 : at);
    }
    jl_buf_release(&b);
}

static bool must_stop(struct jobs *j, const struct job *x)
{
    pthread_mutex_lock(&j->lock);
    bool stop = j->closing || x->stop;
    pthread_mutex_unlock(&j->lock);
    return stop;
}

static void ended(struct jobs *j, struct job *x, const struct jl_process *p, const char *said)
{
    pthread_mutex_lock(&j->lock);
    bool stopped = x->stop || j->closing;
    x->view.code = p->status;
    x->view.ended_wall_ns = jl_wall_ns();
    /* 1: measured, but a check failed */
    x->view.state = stopped ? JOB_STOPPED : p->status == 0 || p->status == 1 ? JOB_DONE : JOB_FAILED;
    if (x->view.state == JOB_FAILED)
        snprintf(x->view.error, sizeof x->view.error, "%s", said[0] ? said : "it ended without saying why");
    pthread_mutex_unlock(&j->lock);
}

static void run(struct jobs *j, struct job *x)
{
    struct jl_process p = {0};
    struct joulet_error err = {0};
    char said[sizeof err.message] = "", *folder = jl_cache_dir(&err),
                     *log = folder ? jl_strf("%s/run-%s.log", folder, x->view.id) : NULL;
    char *key = x->key ? jl_strf("JOULET_ENGINE_KEY=%s", x->key) : NULL;
    const char *const env[] = {key, NULL};
    struct jl_spawn what = {.argv = (const char *const *)x->argv, .env = key ? env : NULL, .log = log};
    if (!log || (x->key && !key) || jl_spawn(&p, &what, &err) != JOULET_OK) {
        p = (struct jl_process){.status = 127, .ended = true};
        snprintf(said, sizeof said, "%s", err.message[0] ? err.message : "out of memory");
    }
    while (!p.ended && !must_stop(j, x))
        jl_process_wait(&p, LOOK_S);
    jl_process_stop(&p, GRACE_S);
    if (!said[0] && log)
        last_line(log, said, sizeof said);
    ended(j, x, &p, said);
    if (log)
        unlink(log);
    free(key);
    free(log);
    free(folder);
}

/* ---- the queue --------------------------------------------------------------------------------------------------- */

static struct job *oldest_waiting(struct jobs *j)
{
    for (size_t back = JOBS_MAX; back >= 1; back--) {
        struct job *x = &j->table[(j->turn + JOBS_MAX - back) % JOBS_MAX];
        if (x->used && x->view.state == JOB_QUEUED)
            return x;
    }
    return NULL;
}

static void work(void *arg)
{
    struct jobs *j = arg;
    pthread_mutex_lock(&j->lock);
    while (!j->closing) {
        struct job *x = oldest_waiting(j);
        if (!x) {
            pthread_cond_wait(&j->wake, &j->lock);
            continue;
        }
        x->view.state = JOB_RUNNING;
        x->view.started_wall_ns = jl_wall_ns();
        pthread_mutex_unlock(&j->lock);
        run(j, x);
        pthread_mutex_lock(&j->lock);
    }
    pthread_mutex_unlock(&j->lock);
}

static size_t waiting(const struct jobs *j)
{
    size_t n = 0;
    for (size_t i = 0; i < JOBS_MAX; i++)
        n += j->table[i].used && j->table[i].view.state == JOB_QUEUED;
    return n;
}

static bool fill(struct job *x, const struct job_view *what, const char *const *argv, const char *key)
{
    bool ok = true;
    forget(x);
    for (size_t i = 0; i < JOB_ARGS_MAX && argv[i] && ok; i++)
        ok = (x->argv[i] = jl_strdup(argv[i])) != NULL;
    if (key)
        ok = (x->key = jl_strdup(key)) != NULL && ok;
    x->view = *what;
    x->view.state = JOB_QUEUED;
    x->view.asked_wall_ns = jl_wall_ns();
    x->used = ok;
    if (!ok)
        forget(x);
    return ok;
}

bool jobs_add(struct jobs *j, const struct job_view *what, const char *const *argv, const char *key)
{
    pthread_mutex_lock(&j->lock);
    struct job *x = &j->table[j->turn % JOBS_MAX];
    bool busy = x->used && (x->view.state == JOB_QUEUED || x->view.state == JOB_RUNNING);
    bool ok = !j->closing && !busy && waiting(j) < JOBS_WAITING;
    if (ok && !j->thread)
        ok = jl_thread_start(&j->thread, "runs", work, j, NULL) == JOULET_OK;
    if (ok)
        ok = fill(x, what, argv, key);
    if (ok) {
        j->turn++;
        pthread_cond_signal(&j->wake);
    }
    pthread_mutex_unlock(&j->lock);
    return ok;
}

bool jobs_get(struct jobs *j, const char *id, struct job_view *out)
{
    pthread_mutex_lock(&j->lock);
    const struct job *x = find(j, id);
    if (x)
        *out = x->view;
    pthread_mutex_unlock(&j->lock);
    return x != NULL;
}

size_t jobs_list(struct jobs *j, struct job_view *out)
{
    size_t n = 0;
    pthread_mutex_lock(&j->lock);
    for (size_t back = 1; back <= JOBS_MAX; back++) {
        const struct job *x = &j->table[(j->turn + JOBS_MAX - back) % JOBS_MAX];
        if (x->used)
            out[n++] = x->view;
    }
    pthread_mutex_unlock(&j->lock);
    return n;
}

bool jobs_stop(struct jobs *j, const char *id)
{
    pthread_mutex_lock(&j->lock);
    struct job *x = find(j, id);
    if (x && x->view.state == JOB_QUEUED) {
        x->view.state = JOB_STOPPED;
        x->view.ended_wall_ns = jl_wall_ns();
    }
    if (x)
        x->stop = true;
    pthread_mutex_unlock(&j->lock);
    return x != NULL;
}

enum joulet_status jobs_open(struct jobs **out, struct joulet_error *err)
{
    struct jobs *j = *out = calloc(1, sizeof *j);
    if (!j)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    pthread_mutex_init(&j->lock, NULL);
    pthread_cond_init(&j->wake, NULL);
    return JOULET_OK;
}

void jobs_close(struct jobs *j)
{
    if (!j)
        return;
    pthread_mutex_lock(&j->lock);
    j->closing = true;
    pthread_cond_signal(&j->wake);
    pthread_mutex_unlock(&j->lock);
    jl_thread_join(j->thread);
    for (size_t i = 0; i < JOBS_MAX; i++)
        forget(&j->table[i]);
    pthread_cond_destroy(&j->wake);
    pthread_mutex_destroy(&j->lock);
    free(j);
}
