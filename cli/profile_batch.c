/* profile_batch.c - several answers at once: what a token costs against the batch, and where the probe looks, what of it each
 * component takes. Everything is measured while all of the answers decode, from the last second token (before the first one lay
 * the prompts of others) to the first last one. A batch has components of its own (profile/measure.h): that a kind draws the same
 * power in every batch is not assumed. */
#include "cli/profile.h"
#include "cli/session_span.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PLAIN_PASSES 2
#define AGAIN_PASSES 2 /* of the slow sensor's repeats */
#define DRAIN_NS     50000000

struct stream {
    pthread_t thread;
    bool started;
    struct profiling *x;
    struct generation ask;
    struct generated g;
    enum joulet_status status;
    struct joulet_error err;
};

struct batch {
    struct profiling *x;
    size_t n;
    int64_t tokens;
    struct measure *m; /* NULL: no components */
    bool failed;       /* one of its answers, or it was interrupted */
};

static void *answer(void *user)
{
    struct stream *t = user;
    t->status = engine_generate(t->x->choice.engine, &t->ask, &t->g, NULL, NULL, &t->err);
    return NULL;
}

/* The ring is read meanwhile, before it comes round. */
static void join(struct profiling *x, struct stream *t)
{
    struct timespec until;
    int ended = t->started ? ETIMEDOUT : 0;
    while (ended == ETIMEDOUT) {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += DRAIN_NS;
        until.tv_sec += until.tv_nsec / JL_NS_PER_S;
        until.tv_nsec %= JL_NS_PER_S;
        ended = pthread_timedjoin_np(t->thread, NULL, &until);
        profile_drain(x);
        profile_power_tick(x);
    }
}

static void ask_all(struct batch *b, struct stream *all)
{
    struct profiling *x = b->x;
    bool ok = true;
    for (size_t i = 0; ok && i < b->n; i++) {
        all[i].x = x;
        all[i].ask = x->q;
        all[i].ask.model = x->choice.model;
        all[i].ask.max_tokens = b->tokens;
        all[i].ask.prompt = profile_prompt(x, 0);
        generated_init(&all[i].g);
        ok = all[i].started = pthread_create(&all[i].thread, NULL, answer, &all[i]) == 0;
    }
    for (size_t i = 0; i < b->n; i++)
        join(x, &all[i]);
}

/* Tokens of one answer in a span. One that came over its end counts as far as it was made inside: those of one step come one
 * after the other, and the step was paid for all of them. */
static double made_between(const struct generated *g, joulet_mark from, joulet_mark to)
{
    double made = 0;
    for (size_t k = 1; k < g->n_token_ns; k++) {
        joulet_mark t0 = g->token_ns[k - 1], t1 = g->token_ns[k];
        joulet_mark begin = t0 > from ? t0 : from, end = t1 < to ? t1 : to;
        if (t1 > t0 && end > begin)
            made += (double)(end - begin) / (double)(t1 - t0);
        else if (t1 == t0 && t1 > from && t1 <= to)
            made += 1; /* several in one piece */
    }
    return made;
}

/* From the last second token to the first last one; false: one failed, or they never were all at it. */
static bool common_span(const struct stream *all, size_t n, joulet_mark *from, joulet_mark *to, double *tokens)
{
    *from = 0;
    *to = INT64_MAX;
    *tokens = 0;
    for (size_t i = 0; i < n; i++) {
        if (all[i].status != JOULET_OK || all[i].g.n_token_ns < 3)
            return false;
        joulet_mark first = all[i].g.token_ns[1], last = all[i].g.token_ns[all[i].g.n_token_ns - 1];
        *from = first > *from ? first : *from;
        *to = last < *to ? last : *to;
    }
    for (size_t i = 0; i < n; i++)
        *tokens += made_between(&all[i].g, *from, *to);
    return *to > *from;
}

static bool measure_span(struct batch *b, const struct stream *all, struct profile_tally *out)
{
    struct profiling *x = b->x;
    joulet_mark from, to;
    double tokens;
    if (!common_span(all, b->n, &from, &to, &tokens))
        return false;
    session_window(&x->s, "batch", from, to, x->s.idle, false);
    profile_tally_add(out, &x->s.run.windows[x->s.run.n_windows - 1].energy.total, tokens, jl_s(to - from));
    profile_span(x, "decode", jl_s(from - x->s.run.start_ns), jl_s(to - x->s.run.start_ns));
    return true;
}

/* Larger batches would fail as well. */
static bool all_answered(struct batch *b, const struct stream *all)
{
    for (size_t i = 0; i < b->n && !atomic_load(&cli_cancel); i++) {
        if (all[i].started && all[i].status == JOULET_OK)
            continue;
        cli_warn(b->x->cli, "a batch of %zu: an answer failed, and no larger batch was tried: %s", b->n,
                 all[i].started ? all[i].err.message : "no thread could be started");
        run_profile_note(&b->x->p, "a batch of %zu: an answer failed, and no larger batch was tried", b->n);
        b->x->code = CLI_ENGINE;
        return false;
    }
    return !atomic_load(&cli_cancel);
}

/* All answers once; what they took is added to *out. */
static bool pass(struct batch *b, enum measure_pass kind, struct profile_tally *out)
{
    struct profiling *x = b->x;
    struct measure *own = x->m;
    struct stream *all = calloc(b->n, sizeof *all);
    profile_drain(x);
    profile_watch(x, kind);
    if (b->m)
        x->m = b->m;
    joulet_mark from = joulet_mark_now(x->s.meter);
    if (b->m)
        measure_begin(b->m, kind, from);
    if (all)
        ask_all(b, all);
    b->failed = !all || !all_answered(b, all);
    bool ok = !b->failed && measure_span(b, all, out);
    profile_drain(x);
    if (b->m) {
        measure_end(b->m);
        if (ok)
            profile_samples(x, from, joulet_mark_now(x->s.meter));
    }
    x->m = own;
    for (size_t i = 0; all && i < b->n; i++)
        if (all[i].x)
            generated_release(&all[i].g);
    free(all);
    profile_power_add(x);
    b->failed |= atomic_load(&cli_cancel);
    return ok && !b->failed;
}

/* ---- components ---------------------------------------------------------------------------------------------------------- */

static double token_j(const struct profile_tally *t)
{
    return t->tokens > 0 ? t->e.net_j / t->tokens : NAN;
}

static double token_pm(const struct profile_tally *t) /* relative; the gain of the sensor is in both of a ratio, so it is less */
{
    return t->e.net_pm_j / t->e.net_j;
}

static void add_components(struct batch *b, const struct measure_result *r, double tokens)
{
    static const char *const names[] = {"attention", "ffn", "head", "norm", "layer", "rest"};
    for (int k = 0; k < MEASURE_KINDS; k++) {
        struct run_profile_point p = {.series = "batch", .phase = "decode", .x = (double)b->n, .tokens = tokens};
        if (!(r->unit_s[k] > 0))
            continue;
        snprintf(p.component, sizeof p.component, "%s", names[k]);
        p.seconds = r->unit_s[k];
        p.joules = r->limit_only[k] ? NAN : r->energy_j[k];
        p.joules_pm = r->limit_only[k] ? NAN : r->pm_j[k];
        p.limit_j = r->limit_only[k] ? r->limit_j[k] : NAN;
        run_profile_add_point(&b->x->p, &p);
    }
}

/* The same ways as for one sequence: plain, lock-in, or shares of the batch's own energy. */
static bool components(struct batch *b, const struct profile_tally *plain)
{
    struct profiling *x = b->x;
    struct profile_tally watched = PROFILE_TALLY_NONE, again = PROFILE_TALLY_NONE;
    struct ring_control lockin, was = x->again;
    struct measure_result r;
    b->m->source = x->every > 1 ? MEASURE_SAMPLED : MEASURE_WATCHED;
    double stops, stops_pm;
    bool ok = pass(b, b->m->source, &watched);
    profile_stops(x, &stops, &stops_pm);
    if (ok && x->every == 1 && x->level == WIRE_COMPONENTS && measure_plan(b->m, x->reading_s, &lockin)) {
        measure_from(b->m, MEASURE_AGAIN);
        x->again = lockin;
        for (int i = 0; ok && i < AGAIN_PASSES; i++)
            ok = pass(b, MEASURE_AGAIN, &again);
        x->again = was;
    }
    double ratio = token_j(&watched) / token_j(plain), pm = ratio * hypot(token_pm(&watched), token_pm(plain));
    if (!ok || !measure_solve(b->m, MEASURE_DECODE, measure_scale(ratio, pm), measure_scale_pm(ratio, pm, stops, stops_pm), &r))
        return false;
    if (!r.known || r.path == JOULET_COMPONENTS_TIME || x->every > 1)
        measure_by_time(b->m, MEASURE_DECODE, token_j(plain), &r);
    if (r.known && r.path == JOULET_COMPONENTS_TIME)
        run_profile_note(&x->p, "a batch of %zu: components are shares of time, assuming equal power", b->n);
    if (r.known)
        add_components(b, &r, plain->tokens);
    return true;
}

bool profile_batch(struct profiling *x, size_t n, int64_t tokens)
{
    struct batch b = {.x = x, .n = n, .tokens = tokens};
    struct profile_tally plain = PROFILE_TALLY_NONE;
    struct joulet_error err;
    char of[48];
    bool ok = false;
    for (int i = 0; !b.failed && i < PLAIN_PASSES; i++)
        ok |= pass(&b, MEASURE_ASIDE, &plain);
    snprintf(of, sizeof of, "batches of %zu", n);
    profile_tally_note(x, &plain, of);
    if (plain.tokens > 0)
        profile_point(x, "batch", "decode", (double)n, plain.tokens, plain.seconds, &plain.e);
    else if (!b.failed)
        run_profile_note(&x->p, "a batch of %zu: its answers never all decoded at the same time, so nothing is told of them", n);
    if (ok && !b.failed && x->probe && x->level != WIRE_STAGES && measure_open(&b.m, &err) == JOULET_OK) {
        b.m->sequences = n;
        if (!components(&b, &plain) && !b.failed)
            run_profile_note(&x->p,
                             "a batch of %zu: nothing is told of its components, because its watched answers never all "
                             "decoded at the same time",
                             n);
    }
    measure_close(b.m);
    return !b.failed;
}
