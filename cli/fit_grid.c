/* fit_grid.c - the requests of a fit: each an isolated run whose whole energy counts, so that no boundary between prefill and
 * decode is needed; prompts that share no beginning, answers of a fixed length, in an order that a seed gives. */
#include "cli/fit_grid.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPEATS         5
#define REPEATS_QUICK   3
#define BASELINE_MOST_S 30.0 /* 4.2 */
#define SETTLE_MOST_S   30.0 /* 4.4 */
#define WORDS_FEW       24   /* of the two prompts that tell how many tokens a word has */
#define WORDS_MANY      120
#define PAUSE_LEAST_S   0.05
#define PAUSE_MOST_S    5.0
#define FAILED_MOST     3 /* in a row: then the engine is not asked any more */

/* ---- design ------------------------------------------------------------------------------------------------------ */

static int levels(const struct cli *c, const char *option, struct grid_levels *l)
{
    struct joulet_error err;
    const char *text = cli_str(c, option);
    char *what = jl_strf("--%s", option);
    enum joulet_status st = text && what ? grid_levels_parse(text, what, l, &err) : JOULET_OK;
    free(what);
    return st == JOULET_OK ? CLI_DONE : cli_usage(c, "%s", err.message);
}

int fit_grid_options(struct fit_grid *g, const struct cli *c)
{
    struct joulet_error err;
    bool quick = cli_flag(c, "quick"), changed;
    grid_levels_default(quick, &g->in, &g->out);
    int code = levels(c, "tokens-in", &g->in);
    if (code == CLI_DONE)
        code = levels(c, "tokens-out", &g->out);
    if (code == CLI_DONE && grid_fit_context(&g->in, &g->out, 0, &changed, &err) != JOULET_OK)
        code = cli_usage(c, "%s", err.message);
    g->repeats = cli_given(c, "repeat") ? cli_int(c, "repeat", 1) : quick ? REPEATS_QUICK : REPEATS;
    if (code == CLI_DONE && g->repeats > GRID_REPEATS_MAX)
        code = cli_usage(c, "--repeat: at most %d for a fit", GRID_REPEATS_MAX);
    int64_t seed = cli_int(c, "seed", 1);
    g->seed = (uint64_t)(seed < 0 ? jl_mono_ns() & 0x7fffffff : seed); /* the record keeps it */
    g->baseline_s = jl_s(cli_duration_ns(c, "baseline"));
    g->baseline_most_s = cli_given(c, "baseline-most") ? jl_s(cli_duration_ns(c, "baseline-most"))
                         : cli_given(c, "baseline")    ? g->baseline_s
                                                       : BASELINE_MOST_S;
    return code;
}

static void describe(struct fit_grid *g)
{
    struct run_pairs *p = &g->s.run.settings;
    struct jl_buf b;
    session_settings(&g->s, &g->q);
    jl_buf_init(&b, 4096);
    for (int side = 0; side < 2; side++) {
        const struct grid_levels *l = side ? &g->out : &g->in;
        jl_buf_clear(&b);
        for (size_t i = 0; i < l->n; i++)
            jl_buf_printf(&b, "%s%lld", i ? "," : "", (long long)l->tokens[i]);
        run_pairs_set(p, side ? "tokens_out" : "tokens_in", 's', "%s", b.data ? b.data : "");
    }
    jl_buf_release(&b);
    run_pairs_set(p, "repeat", 'n', "%lld", (long long)g->repeats);
    run_pairs_set(p, "order", 's', "shuffled");
    run_pairs_set(p, "order_seed", 'n', "%llu", (unsigned long long)g->seed);
    run_pairs_set(p, "baseline_s", 'n', "%.15g", g->baseline_s);
    run_pairs_set(p, "baseline_most_s", 'n', "%.15g", g->baseline_most_s);
}

/* ---- one request ------------------------------------------------------------------------------------------------- */

/* A whole run is measured from idle to idle: so long the slowest sensor needs for both (2.1). */
static double pause_s(const struct session *s)
{
    double pause = PAUSE_LEAST_S;
    for (size_t i = 0; i < s->n_channels; i++) {
        const struct joulet_channel *c = &s->run.channels[i];
        if (c->in_total && (c->quantity == JOULET_ENERGY || c->quantity == JOULET_POWER))
            pause = fmax(pause, 8 * c->period_s + 2 * c->window_s + c->lag_max_s);
    }
    return fmin(pause, PAUSE_MOST_S);
}

/* What makes the request another one than was asked for is a failure: it must not enter the fit. */
static void check_lengths(struct fit_grid *g, struct run_request *q, int64_t tokens_out)
{
    if (q->outcome != RUN_OK || q->warmup || q->tokens.generated == tokens_out)
        return;
    g->early++;
    q->outcome = RUN_FAILED;
    free(q->error);
    q->error = q->tokens.generated < 0
                   ? jl_strdup("the engine does not tell how many tokens it made")
                   : jl_strf("the answer has %lld tokens and not %lld", (long long)q->tokens.generated, (long long)tokens_out);
}

static enum joulet_status one(struct fit_grid *g, size_t words, size_t index, const struct grid_cell *cell, bool warmup,
                              int64_t *tokens_in)
{
    struct generated x;
    struct run_request q;
    struct joulet_error err = {0};
    struct generation ask = g->q;
    char *prompt = grid_prompt(words, index, g->seed);
    if (!prompt)
        return jl_fail(&err, JOULET_MEMORY, "out of memory for a prompt of %zu words", words);
    generated_init(&x);
    run_request_init(&q);
    ask.prompt = prompt;
    ask.max_tokens = cell->tokens_out;
    session_watch(&g->s);
    joulet_mark_now(g->s.meter);
    enum joulet_status st = engine_generate(g->choice.engine, &ask, &x, NULL, NULL, &err);
    joulet_mark_now(g->s.meter);
    session_request_of(&g->s, &q, &x, prompt, st, &err);
    q.category =
        warmup ? jl_strdup("warm-up") : jl_strf("%lld in, %lld out", (long long)cell->tokens_in, (long long)cell->tokens_out);
    q.set = jl_strdup("fit");
    q.number = (int64_t)index;
    q.repeat = cell->repeat;
    q.warmup = warmup;
    check_lengths(g, &q, cell->tokens_out);
    if (q.n_windows)
        session_wait_until(q.windows[q.n_windows - 1].end_ns + jl_ns(pause_s(&g->s)));
    *tokens_in = q.tokens.prompt;
    session_request(&g->s, &q, joulet_now());
    if (st != JOULET_OK && st != JOULET_CANCELLED)
        cli_warn(g->s.cli, "request %zu: %s", index + 1, err.message);
    generated_release(&x);
    run_request_release(&q);
    free(prompt);
    return st;
}

/* ---- the grid ---------------------------------------------------------------------------------------------------- */

static void progress(const struct fit_grid *g, const char *what)
{
    if (!isatty(STDERR_FILENO) || cli_flag(g->s.cli, "quiet"))
        return;
    double each = g->done ? jl_s(joulet_now() - g->t_first) / (double)g->done : NAN;
    if (isnan(each))
        fprintf(stderr, "\r\033[K%s", what);
    else
        fprintf(stderr, "\r\033[K%s  %zu of %zu, about %.0f s left", what, g->done + 1, g->planned,
                ceil(each * (double)(g->planned - g->done)));
    fflush(stderr);
}

static void progress_end(const struct fit_grid *g)
{
    if (isatty(STDERR_FILENO) && !cli_flag(g->s.cli, "quiet"))
        fputs("\r\033[K", stderr);
}

/* The idle level of a fit is in every one of its figures: a window of its own, not the last stored one. */
static void idle(struct fit_grid *g, bool again)
{
    if (g->baseline_s <= 0) {
        session_baseline_stored(&g->s);
        return;
    }
    progress(g, "idle level");
    struct session *s = &g->s;
    joulet_mark from = joulet_mark_now(s->meter), before = s->last_end;
    if (again) {
        from = session_cooldown(s, before, SETTLE_MOST_S);
        session_window(s, "cooldown", before, from, s->idle, false);
    }
    joulet_mark to = session_idle_wait(s, from, again ? g->baseline_most_s : g->baseline_s, g->baseline_most_s);
    if (again && atomic_load(&cli_cancel))
        return;
    joulet_wait_covered(s->meter, to, 3.0, NULL);
    session_baseline(s, from, to);
    session_window(s, "idle", from, to, s->idle, false);
    if (again)
        session_idle_note(s);
    session_keep(s);
    s->last_end = from;
}

/* What requests draw is known after the warm-up, or where a busy machine left that without a figure, after the first that has
 * one: is the level good enough for it (4.2)? */
static void idle_again(struct fit_grid *g)
{
    if (!g->looked && g->baseline_s > 0 && g->baseline_most_s > g->baseline_s && session_idle_doubtful(&g->s, &g->looked))
        idle(g, true);
}

/* Warm-up that is of use: two prompts tell how many tokens the engine makes of a word. */
static int warm_up(struct fit_grid *g)
{
    struct joulet_error err;
    int64_t few, many;
    struct grid_cell cell = {.tokens_out = g->out.tokens[0], .repeat = -1};
    progress(g, "warm-up");
    enum joulet_status st = one(g, WORDS_FEW, g->planned, &cell, true, &few);
    if (st == JOULET_OK)
        st = one(g, WORDS_MANY, g->planned + 1, &cell, true, &many);
    if (st != JOULET_OK)
        return CLI_ENGINE;
    return grid_words_from(WORDS_FEW, few, WORDS_MANY, many, &g->words, &err) == JOULET_OK ? CLI_DONE : cli_fail(g->s.cli, &err);
}

static bool send_all(struct fit_grid *g, const struct grid_cell *cells)
{
    size_t failed = 0;
    g->t_first = joulet_now();
    for (size_t i = 0; i < g->planned; i++) {
        char what[64];
        int64_t tokens_in;
        idle_again(g);
        snprintf(what, sizeof what, "%lld in, %lld out", (long long)cells[i].tokens_in, (long long)cells[i].tokens_out);
        progress(g, what);
        enum joulet_status st = one(g, grid_words_for(&g->words, cells[i].tokens_in), i, &cells[i], false, &tokens_in);
        if (atomic_load(&cli_cancel) || st == JOULET_CANCELLED || st == JOULET_UNREACHABLE)
            return false;
        failed = st == JOULET_OK ? 0 : failed + 1;
        g->done++;
        if (failed >= FAILED_MOST)
            return false;
    }
    return true;
}

static int within_context(struct fit_grid *g)
{
    struct joulet_error err;
    bool changed;
    int64_t context = g->choice.engine->info.context_length;
    if (grid_fit_context(&g->in, &g->out, context, &changed, &err) != JOULET_OK)
        return cli_usage(g->s.cli, "%s", err.message);
    if (changed)
        run_note(
            &g->s.run,
            "the context of %lld tokens ends the grid at prompts of %lld; a longer --context would let it tell more of long ones",
            (long long)context, (long long)g->in.tokens[g->in.n - 1]);
    return CLI_DONE;
}

int fit_grid_measure(struct fit_grid *g)
{
    int code = within_context(g);
    struct grid_cell *cells = grid_order(&g->in, &g->out, g->repeats, g->seed, &g->planned);
    bool whole = false;
    if (!cells)
        code = CLI_FAILED;
    describe(g);
    if (code == CLI_DONE) {
        idle(g, false);
        if (!atomic_load(&cli_cancel))
            code = warm_up(g);
        if (code == CLI_DONE && !atomic_load(&cli_cancel))
            idle_again(g);
    }
    if (code == CLI_DONE && !atomic_load(&cli_cancel))
        whole = send_all(g, cells);
    free(cells);
    progress_end(g);
    bool stopped = atomic_load(&cli_cancel);
    session_finish(&g->s, stopped ? "interrupted" : whole ? "done" : "failed");
    if (stopped && g->s.saved)
        cli_warn(g->s.cli, "interrupted after %zu of %zu requests; what was measured is kept: `joulet fit --from %s`", g->done,
                 g->planned, g->s.run.id);
    if (g->early)
        cli_warn(
            g->s.cli,
            "%zu of %zu answers ended before their length and are left out: the engine does not suppress the end of an answer",
            g->early, g->planned);
    return code == CLI_DONE && !whole ? session_exit(&g->s, CLI_ENGINE) : code;
}
