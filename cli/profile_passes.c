/* profile_passes.c - requests in turns: as the engine runs by itself, and watched by the probe, so that drift cancels and what
 * watching costs is seen; with a slow sensor also with stretches executed again (docs/method.md 8.2). */
#include "cli/profile.h"
#include "cli/session_span.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define IDLE_S       5.0
#define FOR_S        60.0
#define ROUNDS_LEAST 2
#define DECODE_S     6.0 /* of an answer whose length is not given */
#define TOKENS_LEAST 16
#define TOKENS_MOST  1024
#define LOOP_LEAST_S 2.0
#define READINGS     20 /* of the sensor, in a loop */

struct arrival {
    struct profiling *x;
    bool seen;
};

static void on_text(void *user, const char *text, size_t n, bool thinking)
{
    struct arrival *a = user;
    (void)text;
    (void)thinking;
    if (!a->seen && n)
        joulet_mark_now(a->x->s.meter);
    a->seen |= n > 0;
    profile_drain(a->x); /* before its ring comes round */
    profile_power_tick(a->x);
}

static bool remember(struct profiling *x, enum measure_pass pass)
{
    enum measure_pass *grown = realloc(x->passes, (x->n_passes + 1) * sizeof *grown);
    if (!grown)
        return false;
    x->passes = grown;
    x->passes[x->n_passes++] = pass;
    return true;
}

void profile_samples(struct profiling *x, joulet_mark from, joulet_mark to)
{
    size_t channel = 0;
    for (size_t i = 0; i < x->s.n_channels; i++) {
        const struct joulet_channel *c = &x->s.run.channels[i];
        struct joulet_trace t;
        if (!c->in_total || !session_has_energy(c))
            continue;
        if (session_trace(&x->s, i, from, to + jl_ns(c->lag_max_s), &t, NULL)) {
            measure_samples(x->m, channel, &t, x->s.idle[i].power_w, x->s.idle[i].u_w);
            joulet_trace_release(&t);
        }
        channel++;
    }
}

static void wait_span(struct profiling *x, const struct run_request *q)
{
    for (size_t i = 0; i < q->n_windows; i++) {
        const struct run_window *w = &q->windows[i];
        bool known = !strcmp(w->name, "prefill") || !strcmp(w->name, "decode");
        profile_span(x, known ? w->name : "wait", jl_s(w->start_ns - x->s.run.start_ns), jl_s(w->end_ns - x->s.run.start_ns));
    }
}

bool profile_keep(struct profiling *x, struct run_request *q, enum measure_pass pass, joulet_mark from, joulet_mark to, bool ok)
{
    bool kept = session_request(&x->s, q, 0) && remember(x, pass);
    if (x->probe && !x->m->attached)
        profile_drain(x);
    if (x->probe) {
        measure_end(x->m);
        if (ok)
            profile_samples(x, from, to);
    }
    if (kept) {
        profile_forget_lost(&x->s.run.requests[x->s.run.n_requests - 1]);
        wait_span(x, &x->s.run.requests[x->s.run.n_requests - 1]);
        profile_thin_requests(x);
    }
    profile_power_add(x);
    return kept;
}

/* --first-tokens: the request ends with that token, as far as figures go. Each chunk of text must be a token for that. */
static void cut(struct profiling *x, struct run_request *q, const struct generated *g)
{
    int64_t n = cli_int(x->cli, "first-tokens", 0);
    if (n <= 0 || q->tokens.generated <= n)
        return;
    struct run_window *w = q->n_windows ? &q->windows[q->n_windows - 1] : NULL;
    if (!w || strcmp(w->name, "decode") != 0 || (int64_t)g->n_token_ns < n || (int64_t)g->n_token_ns < q->tokens.generated - 2 ||
        g->token_ns[n - 1] <= w->start_ns) {
        run_profile_note(&x->p, "answers do not come token by token, so phases are of whole answers; components are of their "
                                "first tokens");
        return;
    }
    w->end_ns = g->token_ns[n - 1];
    q->tokens.generated = n;
}

bool profile_pass(struct profiling *x, enum measure_pass pass, const char *prompt, int64_t max_tokens)
{
    struct session *s = &x->s;
    struct generated g;
    struct run_request q;
    struct joulet_error err = {0};
    struct generation ask = x->q;
    struct arrival a = {.x = x};
    ask.prompt = prompt;
    ask.model = x->choice.model;
    ask.max_tokens = max_tokens;
    generated_init(&g);
    run_request_init(&q);
    profile_drain(x); /* of the pass before, after whose wanted steps nothing was to be watched any more */
    profile_watch(x, pass);
    session_watch(s);
    joulet_mark from = joulet_mark_now(s->meter);
    if (x->probe)
        measure_begin(x->m, pass, from);
    enum joulet_status st = engine_generate(x->choice.engine, &ask, &g, on_text, &a, &err);
    joulet_mark to = joulet_mark_now(s->meter);
    session_request_of(s, &q, &g, prompt, st, &err);
    if (pass != MEASURE_ASIDE)
        cut(x, &q, &g);
    if (pass == MEASURE_PLAIN && st == JOULET_OK)
        profile_host_hear(x, g.text.len ? &g.text : &g.thinking);
    bool kept = profile_keep(x, &q, pass, from, to, st == JOULET_OK);
    if (st != JOULET_OK && st != JOULET_CANCELLED)
        cli_warn(x->cli, "%s", err.message);
    generated_release(&g);
    run_request_release(&q);
    return st == JOULET_OK && kept;
}

void profile_sum(struct profiling *x, enum measure_pass pass, struct run_sums *out)
{
    for (size_t i = 0; i < x->s.run.n_requests && i < x->n_passes; i++)
        x->s.run.requests[i].warmup = x->passes[i] != pass;
    run_sum(&x->s.run, NULL, out);
}

/* ---- what is asked ------------------------------------------------------------------------------------------------------- */

const char *profile_prompt(const struct profiling *x, size_t i)
{
    return x->prompt ? x->prompt : x->plan.prompts[i % x->plan.n].text;
}

/* An answer of some seconds: long enough for a sensor, short enough for several in turns. */
static int64_t fitting_tokens(const struct profiling *x)
{
    const struct run_request *q = x->s.run.n_requests ? &x->s.run.requests[x->s.run.n_requests - 1] : NULL;
    if (cli_int(x->cli, "max-tokens", -1) > 0)
        return cli_int(x->cli, "max-tokens", -1);
    double rate = q && q->tpot_s > 0 ? 1 / q->tpot_s : NAN;
    int64_t n = isnan(rate) ? TOKENS_LEAST : (int64_t)(DECODE_S * rate);
    int64_t context = cli_int(x->cli, "context", 4096) / 2;
    n = n > context ? context : n;
    return n < TOKENS_LEAST ? TOKENS_LEAST : n > TOKENS_MOST ? TOKENS_MOST : n;
}

/* ---- in turns -------------------------------------------------------------------------------------------------------------- */

int64_t profile_idle_ns(const struct profiling *x)
{
    return cli_given(x->cli, "baseline") ? cli_duration_ns(x->cli, "baseline") : jl_ns(IDLE_S);
}

void profile_idle_of(struct profiling *x, joulet_mark from, joulet_mark to)
{
    struct session *s = &x->s;
    joulet_wait_covered(s->meter, to, 3.0, NULL);
    session_baseline(s, from, to);
    profile_span(x, "idle", jl_s(from - s->run.start_ns), jl_s(to - s->run.start_ns));
    profile_power_add(x);
}

int profile_idle(struct profiling *x)
{
    struct session *s = &x->s;
    int64_t given = profile_idle_ns(x);
    cli_say(x->cli, "measuring the idle level for %.3g s", jl_s(given));
    joulet_mark from = joulet_mark_now(s->meter);
    if (!session_wait_until(from + given))
        return 128 + atomic_load(&cli_signal);
    profile_idle_of(x, from, joulet_mark_now(s->meter));
    return CLI_DONE;
}

double profile_reading_s(const struct session *s)
{
    double most = 0;
    for (size_t i = 0; i < s->n_channels; i++)
        if (s->run.channels[i].in_total && session_has_energy(&s->run.channels[i]))
            most = fmax(most, fmax(s->run.channels[i].period_s, s->run.channels[i].window_s));
    return most;
}

double profile_loop_s(const struct profiling *x, double most_s)
{
    return fmin(most_s, fmax(LOOP_LEAST_S, READINGS * x->reading_s));
}

/* After the first watched answer it is known how long components take, and with that whether a sensor is fast enough. */
void profile_plan_lockin(struct profiling *x)
{
    if (x->lockin || x->every > 1 || x->level != WIRE_COMPONENTS || !measure_plan(x->m, x->reading_s, &x->again))
        return;
    x->lockin = true;
    measure_from(x->m, MEASURE_AGAIN);
    cli_say(x->cli, "the sensor reads every %.3g ms, too seldom for plain tokens: components are executed again",
            1e3 * x->reading_s);
}

static bool round_of(struct profiling *x, int64_t tokens)
{
    const char *prompt = profile_prompt(x, x->next++);
    bool ok = profile_pass(x, MEASURE_PLAIN, prompt, tokens);
    if (ok && x->probe)
        ok = profile_pass(x, x->every > 1 ? MEASURE_SAMPLED : MEASURE_WATCHED, prompt, tokens);
    if (ok && x->probe)
        profile_plan_lockin(x);
    if (ok && x->lockin)
        ok = profile_pass(x, MEASURE_AGAIN, prompt, tokens);
    return ok;
}

static bool first_request(struct profiling *x)
{
    char *own = jl_strf("Warm up: %s", profile_prompt(x, 0)); /* so that no cache of prompts knows the first one */
    bool ok = own && profile_pass(x, MEASURE_SAMPLED, own, TOKENS_LEAST);
    free(own);
    if (ok)
        x->passes[0] = MEASURE_PAIRED; /* counts nowhere */
    return ok;
}

int profile_passes(struct profiling *x)
{
    int64_t rounds = cli_int(x->cli, "requests", 0), done = 0;
    int64_t for_ns = cli_duration_ns(x->cli, "duration");
    x->reading_s = profile_reading_s(&x->s);
    if (!first_request(x))
        return atomic_load(&cli_signal) ? 128 + atomic_load(&cli_signal) : CLI_ENGINE;
    profile_probe_found(x);
    int code = profile_idle(x);
    if (code != CLI_DONE)
        return code;
    int64_t tokens = fitting_tokens(x);
    x->until = joulet_now() + (for_ns > 0 ? for_ns : jl_ns(FOR_S));
    bool ok = !x->probe || x->level == WIRE_STAGES || x->every > 1 ||
              profile_pass(x, MEASURE_PAIRED, profile_prompt(x, x->next++), tokens);
    while (ok && (rounds > 0 ? done < rounds : done < ROUNDS_LEAST || joulet_now() < x->until) && !atomic_load(&cli_cancel)) {
        cli_say(x->cli, "round %lld: %s, %lld tokens", (long long)done + 1, x->probe ? "plain and watched" : "plain",
                (long long)tokens);
        ok = round_of(x, tokens);
        done += ok;
    }
    if (!ok && !atomic_load(&cli_cancel) && x->code == CLI_DONE)
        x->code = CLI_ENGINE; /* what was measured before is kept and shown */
    if (done && ok && !atomic_load(&cli_cancel)) {
        profile_host(x);
        profile_replay(x);
        profile_series(x, tokens);
        profile_against(x, tokens);
    }
    return done ? CLI_DONE : atomic_load(&cli_signal) ? 128 + atomic_load(&cli_signal) : CLI_ENGINE;
}
