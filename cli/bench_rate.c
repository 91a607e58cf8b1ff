/* bench_rate.c - search for the highest rate at which the limits on waiting hold: a level at one rate is a cell of its own, the
 * next rate follows from whether it held. Limits are kept by 95 of 100 requests, none of which may fail. */
#include "cli/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FEW 20 /* requests whose 95th percentile is the slowest of them */

/* One more cell like the first, at another rate; its steps behind those there are. */
static bool add_level(struct bench *b, double rate, size_t *from)
{
    struct plan_matrix *m = &b->m;
    struct plan_cell *grown = realloc(m->cells, (m->n_cells + 1) * sizeof *grown);
    if (grown)
        m->cells = grown;
    struct bench_cell *cells = grown ? realloc(b->cells, (m->n_cells + 1) * sizeof *cells) : NULL;
    if (cells)
        b->cells = cells;
    if (!cells)
        return false;
    struct plan_cell *c = &grown[m->n_cells];
    cells[m->n_cells] = cells[0]; /* the options stay those of the first */
    cells[m->n_cells].server_options = cells[m->n_cells].request_options = NULL;
    cells[m->n_cells].n_server_options = cells[m->n_cells].n_request_options = 0;
    if (!plan_cell_copy(c, &grown[0], "rate", rate))
        return false;
    struct plan_step *steps, *all;
    size_t n;
    size_t first = m->n_cells++;
    if (plan_steps(m, first, &steps, &n, NULL) != JOULET_OK)
        return false;
    all = realloc(b->steps, (b->n_steps + n + 1) * sizeof *all);
    if (all) {
        b->steps = all;
        *from = b->n_steps;
        for (size_t i = 0; i < n; i++) {
            all[b->n_steps] = steps[i];
            all[b->n_steps].position = (int64_t)b->n_steps;
            b->n_steps++;
        }
    }
    free(steps);
    return all;
}

static bool holds(struct bench *b, size_t cell)
{
    struct run_cell_sums sums;
    run_sum_cell(&b->s.run, (int64_t)cell, &sums);
    if (sums.requests < FEW)
        run_note(
            &b->s.run,
            "fewer than %d requests arrived in a level, so that the slowest of them decides whether 95 %% wait less than the "
            "limit; give a longer --duration",
            FEW);
    bool ttft = isnan(b->m.max_ttft_s) || sums.ttft_p95_s <= b->m.max_ttft_s;
    bool tpot = isnan(b->m.max_tpot_s) || sums.tpot_p95_s <= b->m.max_tpot_s;
    return sums.ok && ttft && tpot && sums.ok == sums.requests;
}

static bool is_alone(const struct bench *b, size_t cell)
{
    struct run_cell_sums sums;
    run_sum_cell(&b->s.run, (int64_t)cell, &sums);
    return sums.requests == 1;
}

static void say_level(const struct bench *b, size_t cell, bool held)
{
    struct run_cell_sums sums;
    run_sum_cell(&b->s.run, (int64_t)cell, &sums);
    cli_say(b->s.cli, "%s: 95 %% within %.3f s to the first token, %.4f s per token: %s", b->m.cells[cell].name, sums.ttft_p95_s,
            sums.tpot_p95_s, held ? "held" : "not held");
}

static void set_result(struct bench *b, const struct plan_search *search)
{
    struct run_pairs *p = &b->s.run.settings;
    if (!isnan(b->m.max_ttft_s))
        run_pairs_set(p, "max_ttft_s", 'n', "%.15g", b->m.max_ttft_s);
    if (!isnan(b->m.max_tpot_s))
        run_pairs_set(p, "max_tpot_s", 'n', "%.15g", b->m.max_tpot_s);
    run_pairs_set(p, "highest_rate_per_s", 'n', "%.6g", search->good);
    run_pairs_set(p, "lowest_rate_broken_per_s", 'n', "%.6g", search->bad);
}

/* What the run says of the level: whether it held. */
static void set_held(struct bench *b, size_t cell, bool held)
{
    if (cell < b->s.run.n_cells)
        run_pairs_set(&b->s.run.cells[cell].settings, "limits_held", 'b', held ? "true" : "false");
}

static bool describe_level(struct bench *b, size_t cell)
{
    if (cell < b->s.run.n_cells)
        return true; /* of the run that is resumed */
    const struct run_pairs *first = &b->s.run.cells[0].settings;
    struct run_cell *x = run_add_cell(&b->s.run, b->m.cells[cell].name);
    first = x ? &b->s.run.cells[0].settings : first;
    for (size_t i = 0; x && i < first->n; i++)
        if (strcmp(first->items[i].key, "limits_held") != 0)
            run_pairs_set(&x->settings, first->items[i].key, first->items[i].kind, "%s",
                          first->items[i].value ? first->items[i].value : "");
    return x && run_pairs_set(&x->settings, "rate_per_s", 'n', "%s", plan_cell_text(&b->m.cells[cell], "rate"));
}

bool bench_find_rate(struct bench *b)
{
    struct plan_search search;
    size_t from = 0, cell = 0;
    plan_search_init(&search, plan_cell_real(&b->m.cells[0], "rate"));
    for (;;) {
        b->planned = b->n_steps;
        if (!bench_run_steps(b, b->steps + from, b->n_steps - from))
            return false;
        bool held = holds(b, cell);
        say_level(b, cell, held);
        set_held(b, cell, held);
        bool alone = !held && is_alone(b, cell); /* a lower rate would send the same one request */
        bool more = plan_search_next(&search, held) && !alone;
        set_result(b, &search);
        session_keep(&b->s);
        if (!more)
            break;
        if (!add_level(b, search.rate, &from) || !describe_level(b, ++cell))
            return false;
    }
    if (isnan(search.good))
        run_note(&b->s.run, "no rate was found at which the limits hold: the lowest that was tried is %.3g requests/s",
                 search.bad);
    return true;
}
