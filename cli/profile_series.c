/* profile_series.c - what a token costs against what is varied: the length of the prompt, and how many sequences are decoded at
 * once (profile_batch.c). Plain requests, measured as any others; the probe has no part in them. */
#include "cli/profile.h"

#include <stdlib.h>
#include <string.h>

#define WORDS_FEW    20
#define WORDS_MORE   60
#define REPEATS      2
#define SEED         7
#define BATCH_MOST   64
#define BATCH_TOKENS 256 /* of an answer in a batch, at most */

int profile_series_read(struct profiling *x)
{
    struct joulet_error err;
    const char *lengths = cli_str(x->cli, "prompt-tokens"), *batches = cli_str(x->cli, "batches");
    if (lengths && grid_levels_parse(lengths, "--prompt-tokens", &x->lengths, &err) != JOULET_OK)
        return cli_usage(x->cli, "%s", err.message);
    if (batches && grid_levels_parse(batches, "--batches", &x->batches, &err) != JOULET_OK)
        return cli_usage(x->cli, "%s", err.message);
    if (x->batches.n && x->batches.tokens[x->batches.n - 1] > BATCH_MOST)
        return cli_usage(x->cli, "--batches: at most %d answers at once", BATCH_MOST);
    return CLI_DONE;
}

void profile_point(struct profiling *x, const char *series, const char *phase, double at, double tokens, double seconds,
                   const struct joulet_energy *e)
{
    struct run_profile_point p = {.x = at, .tokens = tokens, .limit_j = NAN};
    if (!(tokens > 0))
        return;
    snprintf(p.series, sizeof p.series, "%s", series);
    snprintf(p.phase, sizeof p.phase, "%s", phase);
    p.seconds = seconds / tokens;
    p.joules = e->net_j / tokens;
    p.joules_pm = e->net_pm_j / tokens;
    run_profile_add_point(&x->p, &p);
}

/* ---- prompts ----------------------------------------------------------------------------------------------------------------
 */

/* Tokens that the engine makes of so many words; -1: it failed or does not tell. */
static int64_t tokens_of(struct profiling *x, size_t words, size_t index)
{
    char *prompt = grid_prompt(words, index, SEED);
    bool ok = prompt && profile_pass(x, MEASURE_ASIDE, prompt, 2);
    free(prompt);
    return ok ? x->s.run.requests[x->s.run.n_requests - 1].tokens.prompt : -1;
}

static bool learn_words(struct profiling *x, struct grid_words *w)
{
    struct joulet_error err;
    int64_t few = tokens_of(x, WORDS_FEW, 100), more = few > 0 ? tokens_of(x, WORDS_MORE, 101) : -1;
    if (few > 0 && more > 0 && grid_words_from(WORDS_FEW, few, WORDS_MORE, more, w, &err) == JOULET_OK)
        return true;
    run_profile_note(&x->p, "the engine does not tell how many tokens a prompt has, so no length of it was varied");
    return false;
}

static bool one_length(struct profiling *x, const struct grid_words *words, size_t level)
{
    struct profile_tally t = PROFILE_TALLY_NONE;
    char of[48];
    bool ok = true;
    for (size_t i = 0; ok && i < REPEATS; i++) {
        char *prompt = grid_prompt(grid_words_for(words, x->lengths.tokens[level]), level * REPEATS + i, SEED);
        ok = prompt && profile_pass(x, MEASURE_ASIDE, prompt, 2);
        free(prompt);
        const struct run_request *q = ok ? &x->s.run.requests[x->s.run.n_requests - 1] : NULL;
        for (size_t k = 0; q && k < q->n_windows; k++) {
            if (strcmp(q->windows[k].name, "prefill") == 0)
                profile_tally_add(&t, &q->windows[k].energy.total, (double)q->tokens.prompt, run_window_s(&q->windows[k]));
        }
    }
    if (t.n > 0)
        profile_point(x, "prompt", "prefill", t.tokens / t.n, t.tokens, t.seconds, &t.e);
    snprintf(of, sizeof of, "prompts of %lld tokens", (long long)x->lengths.tokens[level]);
    profile_tally_note(x, &t, of);
    return ok;
}

void profile_series(struct profiling *x, int64_t tokens)
{
    struct grid_words words;
    bool ok = true, known = x->lengths.n && learn_words(x, &words);
    for (size_t i = 0; ok && known && i < x->lengths.n && !atomic_load(&cli_cancel); i++) {
        cli_say(x->cli, "prompts of %lld tokens", (long long)x->lengths.tokens[i]);
        ok = one_length(x, &words, i);
    }
    for (size_t i = 0; ok && i < x->batches.n && !atomic_load(&cli_cancel); i++) {
        cli_say(x->cli, "%lld answers at once", (long long)x->batches.tokens[i]);
        ok = profile_batch(x, (size_t)x->batches.tokens[i], tokens < BATCH_TOKENS ? tokens : BATCH_TOKENS);
    }
}
