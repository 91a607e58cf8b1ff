/* bench_warm.c - which of the first repeats are warm-up, and is the rest steady (5.1)? Looked at for each prompt of each cell,
 * when the plan is complete; what is dropped is marked as warm-up, so that it enters no sum. */
#include "cli/bench.h"
#include "lib/stats/series.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEAST 5 /* repeats from which a series says something */

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Net where there is an idle level. */
static double energy_of(const struct run_request *q)
{
    return isnan(q->energy.total.net_j) ? q->energy.total.gross_j : q->energy.total.net_j;
}

static bool of_series(const struct run_request *q, const struct run_request *first)
{
    return q->outcome == RUN_OK && !q->warmup && q->stream < 0 && q->cell == first->cell && q->number == first->number &&
           same(q->set, first->set) && same(q->category, first->category) && !isnan(energy_of(q));
}

static void judge(struct run *r, const size_t *at, const double *x, size_t n, const char *cell)
{
    const struct run_request *q = &r->requests[at[0]];
    struct run_series s = {.cell = q->cell, .number = q->number, .repeats = (int64_t)n, .steady = -1};
    s.set = q->set ? jl_strdup(q->set) : NULL;
    s.category = q->category ? jl_strdup(q->category) : NULL;
    if (n >= LEAST) { /* fewer when some of them failed */
        s.dropped = (int64_t)jl_warmup(x, n, NULL);
        s.steady = !jl_not_steady(x + s.dropped, n - (size_t)s.dropped);
        for (int64_t i = 0; i < s.dropped; i++)
            r->requests[at[i]].warmup = true;
        if (!s.steady)
            run_note(r, "not steady: %s %lld%s%s still rises or falls over its repeats; let the machine warm up longer",
                     q->category ? q->category : "prompt", (long long)q->number, *cell ? ", cell " : "", cell);
    }
    run_add_series(r, &s);
    free(s.set);
    free(s.category);
}

void bench_series(struct bench *b)
{
    struct run *r = &b->s.run;
    bool *seen = calloc(r->n_requests + 1, sizeof *seen);
    size_t *at = calloc(r->n_requests + 1, sizeof *at);
    double *x = calloc(r->n_requests + 1, sizeof *x);
    for (size_t i = 0; seen && at && x && b->m.repeat >= LEAST && i < r->n_requests; i++) {
        size_t n = 0;
        for (size_t k = i; !seen[i] && k < r->n_requests; k++)
            if (!seen[k] && of_series(&r->requests[k], &r->requests[i])) {
                x[n] = energy_of(&r->requests[k]);
                at[n++] = k;
            }
        for (size_t k = 0; k < n; k++)
            seen[at[k]] = true;
        int64_t cell = r->requests[i].cell;
        if (n)
            judge(r, at, x, n, cell >= 0 && (size_t)cell < r->n_cells ? r->cells[cell].name : "");
    }
    free(seen);
    free(at);
    free(x);
}
