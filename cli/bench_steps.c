/* bench_steps.c - the plan as it is carried out: idle levels, warm-ups, one request after the other. */
#include "cli/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- progress ------------------------------------------------------------------------------------------------------------ */

void bench_progress(const struct bench *b, const char *what)
{
    if (!isatty(STDERR_FILENO) || cli_flag(b->s.cli, "quiet"))
        return;
    double spent = jl_s(joulet_now() - b->t_first);
    if (b->done && b->t_first)
        fprintf(stderr, "\r\033[K%s  %zu of %zu, about %.0f s left", what, b->done + 1, b->planned,
                ceil(spent / (double)b->done * (double)(b->planned - b->done)));
    else
        fprintf(stderr, "\r\033[K%s", what);
    fflush(stderr);
}

void bench_progress_end(const struct bench *b)
{
    if (isatty(STDERR_FILENO) && !cli_flag(b->s.cli, "quiet"))
        fputs("\r\033[K", stderr);
}

bool bench_go_on(enum joulet_status st)
{
    return !atomic_load(&cli_cancel) && st != JOULET_CANCELLED && st != JOULET_UNREACHABLE;
}

/* ---- idle levels ------------------------------------------------------------------------------------------------- */

static void idle_when_due(struct bench *b)
{
    bool work = b->s.run.n_requests > b->idle_request;
    if (bench_idle_doubtful(b))
        bench_idle(b);
    else if (work && b->m.baseline_every_s > 0 && b->m.baseline_s > 0 && joulet_now() - b->idle_at > jl_ns(b->m.baseline_every_s))
        bench_idle(b);
}

/* ---- one request ------------------------------------------------------------------------------------------------- */

void bench_place(struct run_request *q, const struct bench *b, const struct plan_step *step, bool warmup)
{
    const struct plan_prompt *p = &b->m.sets[b->m.cells[step->cell].set].prompts[step->prompt];
    q->set = jl_strdup(p->set);
    q->category = jl_strdup(p->category);
    q->number = p->number;
    q->repeat = warmup ? -1 : step->repeat;
    q->warmup = warmup;
    q->cell = b->one ? -1 : (int64_t)step->cell;
    q->position = warmup ? -1 : step->position;
}

struct generation bench_ask(const struct bench *b, size_t cell, const struct plan_prompt *p)
{
    struct generation ask = b->cells[cell].q;
    ask.prompt = p->text;
    if (p->messages)
        ask.messages_json = p->messages;
    if (ask.max_tokens < 0)
        ask.max_tokens = p->max_tokens;
    return ask;
}

/* The boundary between prefill and decode is an event for the sampler as well: counters are read locked to it (1.3). */
struct first_text {
    struct joulet *meter;
    bool seen;
};

static void mark_first(void *user, const char *text, size_t n, bool thinking)
{
    struct first_text *f = user;
    (void)text;
    (void)thinking;
    if (!f->seen && n)
        joulet_mark_now(f->meter);
    f->seen |= n > 0;
}

/* Where the cache of prompts cannot be switched off, a warm-up by the first prompt would leave that in it: it begins differently.
 */
static char *warm_up_text(const struct engine *e, const struct plan_prompt *p)
{
    return e->ops->cache_off || p->messages ? NULL : jl_strf("Warm up: %s", p->text);
}

/* Returns the status of the exchange; the request is kept whatever it was. */
static enum joulet_status one(struct bench *b, const struct plan_step *step, bool warmup)
{
    struct session *s = &b->s;
    struct generated g;
    struct run_request q;
    struct joulet_error err = {0};
    const struct plan_prompt *p = &b->m.sets[b->m.cells[step->cell].set].prompts[step->prompt];
    struct engine *e = b->servers[b->cells[step->cell].server].choice.engine;
    struct generation ask = bench_ask(b, step->cell, p);
    struct first_text first = {.meter = s->meter};
    char *own = warmup ? warm_up_text(e, p) : NULL;
    if (own)
        ask.prompt = own;
    generated_init(&g);
    run_request_init(&q);
    q.temperature_before_c = jl_temperature_c();
    session_watch(s);
    session_place(s, (size_t)(step->repeat < 0 ? 0 : step->repeat) + step->prompt); /* repeats of a prompt are seen all over */
    joulet_mark_now(s->meter);
    enum joulet_status st = engine_generate(e, &ask, &g, mark_first, &first, &err);
    joulet_mark_now(s->meter);
    q.temperature_after_c = jl_temperature_c();
    session_request_of(s, &q, &g, own ? own : p->text, st, &err);
    bench_place(&q, b, step, warmup);
    if (st == JOULET_OK && !own)
        q.check = plan_check(p, g.text.data ? g.text.data : "");
    session_request(s, &q, 0);
    if (st != JOULET_OK && st != JOULET_CANCELLED && b->spare)
        b->why = err;
    else if (st != JOULET_OK && st != JOULET_CANCELLED)
        cli_warn(s->cli, "%s %lld: %s", p->category ? p->category : "prompt", (long long)p->number, err.message);
    generated_release(&g);
    run_request_release(&q);
    free(own);
    return st;
}

bool bench_warm_up(struct bench *b, size_t cell)
{
    enum joulet_status st = JOULET_OK;
    const struct plan_step first = {.cell = cell, .position = -1};
    for (int64_t w = 0; w < b->m.warmup && bench_go_on(st); w++) {
        bench_progress(b, "warm-up");
        st = one(b, &first, true);
    }
    return bench_go_on(st);
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

bool bench_finished(const struct bench *b, const struct plan_step *step)
{
    return (size_t)step->position < b->n_finished && b->finished[step->position];
}

/* Steps of one level: neighbours of the same cell. */
static size_t level_of(const struct plan_step *steps, size_t n)
{
    size_t k = 1;
    while (k < n && steps[k].cell == steps[0].cell)
        k++;
    return k;
}

static bool request_step(struct bench *b, const struct plan_step *step)
{
    const struct plan_prompt *p = &b->m.sets[b->m.cells[step->cell].set].prompts[step->prompt];
    if (bench_use(b, step->cell) != CLI_DONE)
        return false;
    if (!b->t_first)
        b->t_first = joulet_now();
    idle_when_due(b);
    if (atomic_load(&cli_cancel))
        return false;
    bench_progress(b, p->category ? p->category : "prompt");
    enum joulet_status st = one(b, step, false);
    b->done += st != JOULET_CANCELLED;
    return bench_go_on(st);
}

static bool level_step(struct bench *b, const struct plan_step *steps, size_t n)
{
    bool any = false;
    for (size_t i = 0; i < n; i++)
        any |= !bench_finished(b, &steps[i]);
    if (!any)
        return true;
    if (bench_use(b, steps[0].cell) != CLI_DONE)
        return false;
    if (!b->t_first)
        b->t_first = joulet_now();
    idle_when_due(b);
    return !atomic_load(&cli_cancel) && bench_level(b, steps, n);
}

bool bench_run_steps(struct bench *b, const struct plan_step *steps, size_t n)
{
    bool ok = true;
    for (size_t i = 0; ok && i < n;) {
        if (plan_cell_load(&b->m.cells[steps[i].cell])) {
            size_t k = level_of(steps + i, n - i);
            ok = level_step(b, steps + i, k);
            i += k;
        } else {
            ok = bench_finished(b, &steps[i]) || request_step(b, &steps[i]);
            i++;
        }
    }
    return ok;
}
