/* bench_trial.c - how long would the plan take? A real prompt of it, for two seconds. */
#include "cli/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TRIAL_S      2.0 /* how long the speed trial may generate */
#define TRIAL_TOKENS 2048
#define TRIAL_PIECES 8 /* the least that gives a speed, however slow the prefill was */

struct trial {
    joulet_mark until;
    int pieces;
    atomic_bool stop;
};

static void trial_text(void *user, const char *text, size_t n, bool thinking)
{
    struct trial *t = user;
    (void)text;
    (void)n;
    (void)thinking;
    if (++t->pieces >= TRIAL_PIECES && joulet_now() >= t->until)
        atomic_store(&t->stop, true);
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The median: a machine that stalls now and then must not be taken for a slow one. Changes the times into gaps. */
static double middle_gap_s(struct generated *g)
{
    size_t n = g->n_token_ns - 1;
    for (size_t i = 0; i < n; i++)
        g->token_ns[i] = g->token_ns[i + 1] - g->token_ns[i];
    qsort(g->token_ns, n, sizeof *g->token_ns, by_size);
    return jl_s(g->token_ns[n / 2]);
}

/* Characters of prompts and tokens of answers over all requests; those of a cell with streams go on at once. */
static void amount(const struct bench *b, double *chars, double *tokens)
{
    *chars = *tokens = 0;
    for (size_t i = 0; i < b->n_steps; i++) {
        const struct plan_step *s = &b->steps[i];
        const struct plan_prompt *p = &b->m.sets[b->m.cells[s->cell].set].prompts[s->prompt];
        struct generation ask = bench_ask(b, s->cell, p);
        double streams = (double)plan_cell_int(&b->m.cells[s->cell], "streams", 1);
        *chars += (double)strlen(p->text) / streams;
        *tokens += (double)ask.max_tokens / streams;
    }
}

int bench_trial(struct bench *b)
{
    struct trial t = {.pieces = 0};
    struct generated g;
    struct joulet_error err;
    size_t cell = b->steps[0].cell;
    struct engine *e = b->servers[b->cells[cell].server].choice.engine;
    const struct plan *set = &b->m.sets[b->m.cells[cell].set];
    const struct plan_prompt *p = &set->prompts[set->n / 2];
    struct generation ask = bench_ask(b, cell, p);
    double chars, tokens;
    generated_init(&g);
    ask.max_tokens = TRIAL_TOKENS;
    e->cancel = &t.stop;
    t.until = joulet_now() + jl_ns(TRIAL_S);
    enum joulet_status st = engine_generate(e, &ask, &g, trial_text, &t, &err);
    e->cancel = &cli_cancel;
    if (g.t_first_ns == 0 || g.n_token_ns < 2) {
        if (st != JOULET_OK && st != JOULET_CANCELLED)
            cli_warn(b->s.cli, "%s", err.message);
        generated_release(&g);
        return CLI_ENGINE;
    }
    amount(b, &chars, &tokens);
    double per_char = jl_s(g.t_first_ns - g.t_sent_ns) / (double)strlen(p->text);
    double per_token = middle_gap_s(&g);
    char line[32];
    int n = snprintf(line, sizeof line, "%.0f\n", ceil(per_char * chars + per_token * tokens));
    generated_release(&g);
    return cli_result(b->s.cli, line, (size_t)n);
}
