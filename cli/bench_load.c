/* bench_load.c - a level: requests of one cell at once, over connections of their own. Closed: n streams, each with a request
 * under way all the time. Open: requests arrive by a schedule, however many are under way. What one of them drew is not known;
 * the level has energy as a whole, from its first request to the end of its last, or of the time in which requests arrive. */
#include "cli/bench.h"
#include "cli/session_span.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define LATE_S       0.05 /* an arrival that is sent later than this has had to wait for a connection */
#define LATE_SHARE   0.05
#define WAIT_NS      100000000
#define OPEN_THREADS PLAN_STREAMS_MAX

/* One request on its way through a stream. */
struct job {
    const struct plan_step *step;
    int stream;
    int64_t start_ns;
    struct generated g;
    struct joulet_error err;
    enum joulet_status st;
    struct job *next;
};

struct level {
    struct bench *b;
    const struct plan_step **steps; /* not finished yet */
    size_t n, next, ended;
    joulet_mark from;
    double first_at_s; /* arrival of the first of them */
    joulet_mark until; /* open: end of the time in which requests arrive */
    bool open, stop;   /* stop: the engine is gone */
    pthread_mutex_t lock;
    pthread_cond_t some;
    struct job *out, **tail; /* done, for the main thread */
    size_t late;
};

struct stream {
    struct level *l;
    int number;
    struct engine engine; /* a connection of its own; strings are those of the server's */
    struct jl_thread *thread;
};

/* ---- streams ----------------------------------------------------------------------------------------------------- */

static const struct plan_step *take(struct level *l)
{
    pthread_mutex_lock(&l->lock);
    const struct plan_step *s = l->next < l->n && !l->stop && !atomic_load(&cli_cancel) ? l->steps[l->next++] : NULL;
    pthread_mutex_unlock(&l->lock);
    return s;
}

static void hand_over(struct level *l, struct job *j, bool late)
{
    pthread_mutex_lock(&l->lock);
    *l->tail = j;
    l->tail = &j->next;
    l->late += late;
    l->stop |= j->st == JOULET_UNREACHABLE;
    pthread_cond_signal(&l->some);
    pthread_mutex_unlock(&l->lock);
}

/* Out of memory, or the user has ended it. */
static void give_up(struct level *l)
{
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_mutex_unlock(&l->lock);
}

/* False when the user ends it before the request has arrived. */
static bool arrive(const struct level *l, const struct plan_step *s, joulet_mark *due)
{
    *due = l->from + jl_ns(s->at_s - l->first_at_s);
    return !l->open || session_wait_until(*due);
}

static void stream_run(void *user)
{
    struct stream *v = user;
    struct level *l = v->l;
    for (const struct plan_step *s = take(l); s; s = take(l)) {
        struct job *j = calloc(1, sizeof *j);
        joulet_mark due;
        if (!j || !arrive(l, s, &due)) {
            give_up(l);
            free(j);
            return;
        }
        const struct plan_prompt *p = &l->b->m.sets[l->b->m.cells[s->cell].set].prompts[s->prompt];
        struct generation ask = bench_ask(l->b, s->cell, p);
        j->step = s;
        j->stream = v->number;
        j->start_ns = joulet_now();
        generated_init(&j->g);
        j->st = engine_generate(&v->engine, &ask, &j->g, NULL, NULL, &j->err);
        hand_over(l, j, l->open && jl_s(j->start_ns - due) > LATE_S);
    }
}

/* ---- the main thread keeps what they bring ----------------------------------------------------------------------- */

static void keep(struct level *l, struct job *j)
{
    struct bench *b = l->b;
    struct session *s = &b->s;
    struct run_request q;
    const struct plan_prompt *p = &b->m.sets[b->m.cells[j->step->cell].set].prompts[j->step->prompt];
    run_request_init(&q);
    session_request_of(s, &q, &j->g, p->text, j->st, &j->err);
    bench_place(&q, b, j->step, false);
    q.stream = j->stream;
    if (j->st == JOULET_OK)
        q.check = plan_check(p, j->g.text.data ? j->g.text.data : "");
    session_request_unmeasured(s, &q);
    if (j->st != JOULET_OK && j->st != JOULET_CANCELLED && b->spare)
        b->why = j->err;
    else if (j->st != JOULET_OK && j->st != JOULET_CANCELLED)
        cli_warn(s->cli, "%s %lld: %s", p->category ? p->category : "prompt", (long long)p->number, j->err.message);
    b->done += j->st != JOULET_CANCELLED;
    l->ended++;
    run_request_release(&q);
    generated_release(&j->g);
    free(j);
}

static struct job *next_job(struct level *l)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += WAIT_NS;
    until.tv_sec += until.tv_nsec / JL_NS_PER_S;
    until.tv_nsec %= JL_NS_PER_S;
    pthread_mutex_lock(&l->lock);
    if (!l->out)
        pthread_cond_timedwait(&l->some, &l->lock, &until);
    struct job *j = l->out;
    l->out = j ? j->next : NULL;
    if (!l->out)
        l->tail = &l->out;
    pthread_mutex_unlock(&l->lock);
    return j;
}

static bool over(struct level *l)
{
    pthread_mutex_lock(&l->lock);
    bool end = (l->stop || atomic_load(&cli_cancel) || l->ended == l->n) && !l->out;
    pthread_mutex_unlock(&l->lock);
    return end;
}

/* Streams end by themselves when there is nothing to take; what they still bring is kept. */
static void collect(struct level *l, struct stream *streams, size_t n)
{
    char what[64];
    while (!over(l)) {
        snprintf(what, sizeof what, "%s", l->b->m.cells[l->steps[0]->cell].name);
        bench_progress(l->b, what);
        struct job *j = next_job(l);
        if (j)
            keep(l, j);
    }
    for (size_t i = 0; i < n; i++)
        jl_thread_join(streams[i].thread);
    while (l->out)
        keep(l, next_job(l));
}

/* ---- a level ----------------------------------------------------------------------------------------------------- */

static size_t stream_count(const struct level *l, const struct plan_cell *c)
{
    int64_t streams = l->open ? OPEN_THREADS : plan_cell_int(c, "streams", 1);
    return (size_t)streams < l->n ? (size_t)streams : l->n;
}

static size_t start_streams(struct level *l, struct stream *streams, size_t n)
{
    struct bench *b = l->b;
    const struct engine *e = b->servers[b->cells[l->steps[0]->cell].server].choice.engine;
    struct joulet_error err;
    size_t started = 0;
    for (size_t i = 0; i < n; i++) {
        streams[i] = (struct stream){.l = l, .number = (int)i, .engine = *e};
        if (jl_thread_start(&streams[i].thread, "stream", stream_run, &streams[i], &err) != JOULET_OK) {
            cli_warn(b->s.cli, "only %zu of %zu streams could be started: %s", i, n, err.message);
            break;
        }
        started++;
    }
    return started;
}

static void note_level(const struct level *l)
{
    struct run *r = &l->b->s.run;
    if (!session_elsewhere(&l->b->s))
        run_note(r, "several requests ran at once: what each of them drew is not known, their level was measured as a whole");
    if ((double)l->late > LATE_SHARE * (double)l->n)
        run_note(
            r,
            "cell %zu: %zu of %zu requests were sent late, because all %d connections were in use: the engine was offered less "
            "than the rate",
            l->steps[0]->cell + 1, l->late, l->n, OPEN_THREADS);
}

static void measure(struct level *l, bool any)
{
    struct session *s = &l->b->s;
    joulet_mark to = s->last_end > l->from ? s->last_end : joulet_now();
    if (l->open && !l->stop && session_wait_until(l->until) && l->until > to)
        to = l->until;
    if (!any)
        return;
    session_window(s, "level", l->from, to, s->idle, false);
    struct run_window *w = s->run.n_windows ? &s->run.windows[s->run.n_windows - 1] : NULL;
    if (w && run_is_level(w)) {
        w->cell = (int64_t)l->steps[0]->cell;
        session_flag_window(s, w);
        session_level_phases(s, w, 0);
        session_estimate_level(s, w);
    }
    note_level(l);
    session_keep(s);
}

bool bench_level(struct bench *b, const struct plan_step *steps, size_t n)
{
    struct level l = {.b = b, .steps = calloc(n + 1, sizeof *l.steps), .tail = &l.out};
    const struct plan_cell *c = &b->m.cells[steps[0].cell];
    l.open = plan_cell_text(c, "rate") != NULL;
    for (size_t i = 0; l.steps && i < n; i++)
        if (!bench_finished(b, &steps[i]))
            l.steps[l.n++] = &steps[i];
    size_t n_streams = l.n ? stream_count(&l, c) : 0;
    struct stream *streams = calloc(n_streams + 1, sizeof *streams);
    if (!l.steps || !streams || !l.n) {
        free(l.steps);
        free(streams);
        return l.n == 0;
    }
    l.first_at_s = l.n == n ? 0 : l.steps[0]->at_s; /* what is left of a level goes on at once */
    pthread_mutex_init(&l.lock, NULL);
    pthread_cond_init(&l.some, NULL);
    session_watch(&b->s);
    b->s.watch.level = true;
    l.from = joulet_mark_now(b->s.meter);
    l.until = l.open ? l.from + jl_ns(plan_cell_real(c, "duration") - l.first_at_s) : 0;
    size_t started = start_streams(&l, streams, n_streams);
    if (started)
        collect(&l, streams, started);
    b->s.watch.level = false;
    session_watched(&b->s);
    measure(&l, l.ended > 0);
    bool ok = started && !l.stop && !atomic_load(&cli_cancel);
    pthread_cond_destroy(&l.some);
    pthread_mutex_destroy(&l.lock);
    free(l.steps);
    free(streams);
    return ok;
}
