/* steps.c - the order of a plan (5.5), and the arrivals and the search of a load. Pure, but for the seed: the same plan gives the
 * same order on every machine. */
#include "llm/plans/matrix.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct list {
    struct plan_step *steps;
    size_t n, cap;
    bool failed;
};

static void push(struct list *l, struct plan_step s)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 256;
        struct plan_step *grown = realloc(l->steps, cap * sizeof *grown);
        l->failed |= !grown;
        if (!grown)
            return;
        l->steps = grown;
        l->cap = cap;
    }
    l->steps[l->n++] = s;
}

/* ABBA BAAB ...: forwards where the digits of r in base 2 have an even sum. Drifts of first and second order cancel. */
static bool backwards(int64_t r)
{
    bool odd = false;
    for (; r; r &= r - 1)
        odd = !odd;
    return odd;
}

static bool has_prompt(const struct plan_matrix *m, size_t cell, size_t prompt)
{
    return prompt < m->sets[m->cells[cell].set].n;
}

static size_t most_prompts(const struct plan_matrix *m)
{
    size_t most = 0;
    for (size_t c = 0; c < m->n_cells; c++)
        most = m->sets[m->cells[c].set].n > most ? m->sets[m->cells[c].set].n : most;
    return most;
}

/* A Poisson process: gaps are exponential. Every cell draws from a place of its own, so that adding one changes no other. */
static void arrivals(struct list *l, const struct plan_matrix *m, size_t cell)
{
    const struct plan_cell *c = &m->cells[cell];
    double rate = plan_cell_real(c, "rate"), duration_s = plan_cell_real(c, "duration"), at_s = 0;
    struct jl_rng rng = {(uint64_t)m->seed * 0x9e3779b97f4a7c15u + cell};
    size_t n = m->sets[c->set].n;
    for (size_t i = 0; l->n < PLAN_REQUESTS_MAX; i++) {
        at_s -= log(1 - jl_rng_uniform(&rng)) / rate;
        if (at_s >= duration_s && i)
            return;
        if (at_s >= duration_s) /* a level of no request would say nothing */
            at_s = duration_s * jl_rng_uniform(&rng);
        push(l, (struct plan_step){.cell = cell, .prompt = i % n, .repeat = (int64_t)(i / n), .at_s = at_s});
        if (l->failed)
            return;
    }
}

/* Every prompt of a cell, once. */
static void block(struct list *l, const struct plan_matrix *m, size_t cell, int64_t repeat)
{
    for (size_t p = 0; has_prompt(m, cell, p); p++)
        push(l, (struct plan_step){.cell = cell, .prompt = p, .repeat = repeat});
}

static void listed(struct list *l, const struct plan_matrix *m, size_t first)
{
    for (size_t c = first; c < m->n_cells; c++) {
        if (plan_cell_text(&m->cells[c], "rate"))
            arrivals(l, m, c);
        for (int64_t r = 0; r < m->repeat && !plan_cell_text(&m->cells[c], "rate"); r++)
            block(l, m, c, r);
    }
}

/* One prompt through all cells and back; under load, where requests have no energy of their own, all prompts of a cell. */
static void abba(struct list *l, const struct plan_matrix *m, size_t first)
{
    bool load = false;
    for (size_t c = first; c < m->n_cells; c++)
        load |= plan_cell_load(&m->cells[c]);
    size_t units = load ? 1 : most_prompts(m), n = m->n_cells - first;
    for (int64_t r = 0; r < m->repeat; r++)
        for (size_t p = 0; p < units; p++)
            for (size_t i = 0; i < n; i++) {
                size_t c = first + (backwards(r) != backwards((int64_t)p) ? n - 1 - i : i);
                if (plan_cell_text(&m->cells[c], "rate")) {
                    if (r == 0)
                        arrivals(l, m, c);
                } else if (load) {
                    block(l, m, c, r);
                } else if (has_prompt(m, c, p)) {
                    push(l, (struct plan_step){.cell = c, .prompt = p, .repeat = r});
                }
            }
}

static void shuffle(struct plan_step *s, size_t n, uint64_t seed)
{
    struct jl_rng rng = {seed};
    for (size_t i = n; i > 1; i--) {
        size_t k = (size_t)jl_rng_below(&rng, i);
        struct plan_step x = s[i - 1];
        s[i - 1] = s[k];
        s[k] = x;
    }
}

/* Under load whole levels change places, since the requests of one go together. */
static void shuffled(struct list *l, const struct plan_matrix *m, size_t first)
{
    size_t n = m->n_cells - first;
    bool load = false;
    for (size_t c = first; c < m->n_cells; c++)
        load |= plan_cell_load(&m->cells[c]);
    if (!load) {
        listed(l, m, first);
        shuffle(l->steps, l->n, (uint64_t)m->seed);
        return;
    }
    struct list levels = {0};
    for (int64_t r = 0; r < m->repeat; r++)
        for (size_t i = 0; i < n; i++)
            push(&levels, (struct plan_step){.cell = first + i, .repeat = r});
    shuffle(levels.steps, levels.n, (uint64_t)m->seed);
    for (size_t i = 0; i < levels.n; i++) {
        const struct plan_step *s = &levels.steps[i];
        if (!plan_cell_text(&m->cells[s->cell], "rate"))
            block(l, m, s->cell, s->repeat);
        else if (s->repeat == 0)
            arrivals(l, m, s->cell);
    }
    l->failed |= levels.failed;
    free(levels.steps);
}

enum joulet_status plan_steps(const struct plan_matrix *m, size_t first_cell, struct plan_step **out, size_t *n,
                              struct joulet_error *err)
{
    struct list l = {0};
    if (m->order == PLAN_SHUFFLED)
        shuffled(&l, m, first_cell);
    else if (m->order == PLAN_ABBA)
        abba(&l, m, first_cell);
    else
        listed(&l, m, first_cell);
    for (size_t i = 0; i < l.n; i++)
        l.steps[i].position = (int64_t)i;
    *out = l.steps;
    *n = l.n;
    if (!l.failed)
        return jl_ok(err);
    free(l.steps);
    *out = NULL;
    *n = 0;
    return jl_fail(err, JOULET_MEMORY, "out of memory for the plan; make it smaller");
}

/* ---- search ---------------------------------------------------------------------------------------------------------------- */

#define LEVELS_MAX 24
#define NONE_MAX   10 /* a thousandth of the first rate */
#define NEAR       1.1

void plan_search_init(struct plan_search *s, double first_rate)
{
    *s = (struct plan_search){.rate = first_rate, .good = NAN, .bad = NAN};
}

/* Three digits: a rate is to be read and typed again. */
static double rounded(double rate)
{
    char text[32];
    double x;
    snprintf(text, sizeof text, "%.3g", rate);
    return jl_parse_double(text, &x) ? x : rate;
}

bool plan_search_next(struct plan_search *s, bool held)
{
    if (held)
        s->good = s->rate;
    else
        s->bad = s->rate;
    s->levels++;
    if (s->levels >= LEVELS_MAX || (isnan(s->good) && s->levels >= NONE_MAX))
        return false;
    if (isnan(s->bad))
        s->rate = 2 * s->good;
    else if (isnan(s->good))
        s->rate = s->bad / 2;
    else
        s->rate = sqrt(s->good * s->bad);
    s->rate = rounded(s->rate);
    return isnan(s->good) || isnan(s->bad) || s->bad > NEAR * s->good;
}
