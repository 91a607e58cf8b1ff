/* tune_search.c - the search: each value of each setting by itself against the defaults; what helps together; and the choice
 * against the defaults once more, which alone tells how much is saved. */
#include "cli/tune.h"
#include "lib/stats/stats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RACE_ROUNDS  25
#define SINGLE_SHARE 0.45 /* of the time: until then values race by themselves, */
#define JOINT_SHARE  0.65 /* until then together */
#define PAIRS_LEAST  6    /* of the last comparison (5.5) */
#define PAIRS_MOST   30
#define MARGIN       0.03

bool tune_too_slow(const struct tune *t, double rate)
{
    return t->least_rate > 0 && !(rate >= t->least_rate);
}

bool tune_uses_less(const struct tune *t)
{
    return t->last[1].rounds && t->saving.verdict == JL_DIFFERENT && t->saving.ratio < 1 && !tune_too_slow(t, t->last[1].rate);
}

/* ---- choosing ---------------------------------------------------------------------------------------------------- */

static bool able(const struct tune *t, const struct tune_standing *x)
{
    return (x->state == TUNE_IN || x->state == TUNE_LOST) && x->rounds && !isnan(x->ratio) && !tune_too_slow(t, x->rate);
}

static const struct tune_standing *least_of(const struct tune *t, const struct tune_standing *x, size_t n)
{
    const struct tune_standing *best = NULL;
    for (size_t i = 1; i < n; i++)
        if (able(t, &x[i]) && (!best || x[i].ratio < best->ratio))
            best = &x[i];
    return best;
}

/* Defaults that are too slow are no choice where something keeps the limit. What was interrupted has a best so far. */
const struct tune_candidate *tune_best(const struct tune *t)
{
    bool needed = t->last[1].rounds && tune_too_slow(t, t->last[0].rate) && !tune_too_slow(t, t->last[1].rate);
    const struct tune_standing *so_far = t->interrupted ? least_of(t, t->tried, t->n_tried) : NULL;
    if (tune_uses_less(t) || needed)
        return &t->last[1].c;
    return so_far && so_far->ratio < 1 ? &so_far->c : &t->candidates[0];
}

/* What is too slow by itself, and no slower than the defaults, may be fast enough beside another. */
static bool helps(const struct tune *t, const struct tune_standing *x, const struct tune_standing *defaults)
{
    return x->state != TUNE_REFUSED && x->rounds && x->ratio < 1 && (!tune_too_slow(t, x->rate) || x->rate >= defaults->rate);
}

size_t tune_helpful(const struct tune *t, const struct tune_standing *x, size_t n, const struct tune_standing **out)
{
    size_t found = 0;
    for (size_t i = 1; i < n; i++) {
        size_t k = 0;
        if (!helps(t, &x[i], &x[0]))
            continue;
        while (k < found && strcmp(out[k]->c.choices[0].setting, x[i].c.choices[0].setting) != 0)
            k++;
        if (k == found)
            out[found++] = &x[i];
        else if (x[i].ratio < out[k]->ratio)
            out[k] = &x[i];
    }
    for (size_t i = 1; i < found; i++)
        for (size_t k = i; k > 0 && out[k]->ratio < out[k - 1]->ratio; k--) {
            const struct tune_standing *swap = out[k];
            out[k] = out[k - 1];
            out[k - 1] = swap;
        }
    return found;
}

/* ---- stages ------------------------------------------------------------------------------------------------------ */

static int single_stage(struct tune *t, struct tune_stage *g)
{
    int code = tune_stage_open(t, g, "each setting by itself", t->candidates, t->n, RACE_ROUNDS, "shuffled");
    if (code == CLI_DONE)
        tune_stage_race(t, g, RACE_ROUNDS, SINGLE_SHARE * t->budget_s);
    memcpy(t->tried, g->at, sizeof t->tried);
    t->n_tried = g->n;
    tune_stage_close(t, g);
    return code;
}

/* What was tried before is not told again, but the defaults: those of another time are what the ratios are to. */
static void keep_joint(struct tune *t, const struct tune_stage *g)
{
    size_t begin = t->n_tried;
    for (size_t i = 0; i < g->n && t->n_tried < TUNE_CANDIDATES_MAX; i++)
        if (i != 1) /* the best one alone */
            t->tried[t->n_tried++] = g->at[i];
    if (t->n_tried > begin)
        snprintf(t->tried[begin].c.name, sizeof t->tried[begin].c.name, "defaults again");
}

/* The best by itself, the best two, all that help. *found: one of them keeps the limit. */
static int joint_stage(struct tune *t, struct tune_stage *g, const struct tune_standing *const *good, size_t n,
                       struct tune_candidate *choice, bool *found)
{
    struct tune_candidate c[4];
    const struct tune_candidate *parts[TUNE_CANDIDATES_MAX] = {NULL};
    size_t m = 2;
    for (size_t i = 0; i < n; i++)
        parts[i] = &good[i]->c;
    c[0] = t->candidates[0];
    c[1] = good[0]->c;
    if (n > 2)
        tune_join(parts, 2, &c[m++]);
    tune_join(parts, n, &c[m++]);
    int code = tune_stage_open(t, g, "settings together", c, m, RACE_ROUNDS, "shuffled");
    if (code == CLI_DONE)
        tune_stage_race(t, g, RACE_ROUNDS, JOINT_SHARE * t->budget_s);
    const struct tune_standing *best = least_of(t, g->at, g->n);
    if (best)
        *choice = best->c;
    *found |= best != NULL;
    keep_joint(t, g);
    tune_stage_close(t, g);
    return code;
}

/* Half of the 95 % interval of the rate of candidate i. */
static double rate_pm(const struct tune_stage *g, size_t i)
{
    double sum = 0, square = 0;
    size_t n = 0;
    for (size_t k = 0; k < g->rates.rounds; k++) {
        double x = exp(-g->rates.x[k][i]);
        if (isnan(x))
            continue;
        n++;
        double step = x - sum;
        sum += step / (double)n;
        square += step * (x - sum);
    }
    return n > 1 ? jl_t975((double)(n - 1)) * sqrt(square / (double)(n - 1) / (double)n) : NAN;
}

/* Figures of the rounds, for what `joulet compare` does not pair: requests that ran at once. */
static bool compare_rounds(const struct tune_stage *g, uint64_t seed, struct jl_comparison *out)
{
    double a[JL_RACE_ROUNDS], b[JL_RACE_ROUNDS];
    size_t n = 0;
    for (size_t k = 0; k < g->race.rounds; k++)
        if (!isnan(g->race.x[k][0]) && !isnan(g->race.x[k][1])) {
            a[n] = exp(g->race.x[k][0]);
            b[n++] = exp(g->race.x[k][1]);
        }
    return jl_compare_paired(a, b, n, 0, seed, out);
}

static void compare(struct tune *t, const struct tune_stage *g)
{
    struct comparison x;
    struct joulet_error err;
    const struct compare_operand of[] = {{&g->b.s.run, 0}, {&g->b.s.run, 1}};
    const struct compare_options opt = {
        .metric = compare_metric(t->per_request ? "j" : "j-per-token"), .gross = t->gross, .margin = MARGIN, .seed = t->seed};
    bool known = g->units == 1 && comparison_of(of, 2, &opt, &x, &err) == JOULET_OK;
    if (known) {
        t->saving = x.results[0].c;
        comparison_release(&x);
    } else {
        known = compare_rounds(g, t->seed, &t->saving);
        if (known)
            jl_judge(&t->saving, MARGIN);
    }
    if (!known)
        t->last[1].rounds = 0;
}

static int last_stage(struct tune *t, struct tune_stage *g, const struct tune_candidate *choice, double block_s)
{
    const struct tune_candidate c[] = {t->candidates[0], *choice};
    double pairs = (t->budget_s - tune_spent_s(t)) / (2 * block_s);
    size_t n = pairs > PAIRS_MOST ? PAIRS_MOST : pairs > PAIRS_LEAST ? (size_t)pairs : PAIRS_LEAST;
    int code = tune_stage_open(t, g, "the choice against the defaults", c, 2, n, "abba");
    if (code == CLI_DONE)
        tune_stage_compare(t, g, n);
    memcpy(t->last, g->at, sizeof t->last);
    if (code == CLI_DONE && g->race.rounds >= 2)
        compare(t, g);
    else
        t->last[1].rounds = 0;
    for (size_t i = 0; i < 2; i++)
        t->rate_pm[i] = rate_pm(g, i);
    tune_stage_close(t, g);
    return code;
}

int tune_search(struct tune *t)
{
    struct tune_stage *g = calloc(1, sizeof *g);
    const struct tune_standing *good[TUNE_CANDIDATES_MAX];
    if (!g)
        return CLI_FAILED;
    int code = single_stage(t, g);
    double block_s = g->block_s;
    const struct tune_standing *best = code == CLI_DONE ? least_of(t, t->tried, t->n_tried) : NULL;
    size_t n = code == CLI_DONE ? tune_helpful(t, t->tried, t->n_tried, good) : 0;
    bool found = best && (best->ratio < 1 || tune_too_slow(t, t->tried[0].rate));
    struct tune_candidate choice = best ? best->c : t->candidates[0];
    if (n > 1 && !atomic_load(&cli_cancel))
        code = joint_stage(t, g, good, n, &choice, &found);
    if (code == CLI_DONE && found && !atomic_load(&cli_cancel))
        code = last_stage(t, g, &choice, block_s);
    free(g);
    if (code == CLI_DONE && t->n_tried && t->tried[0].state == TUNE_REFUSED)
        code = CLI_ENGINE;
    return code;
}
