/* comparison_pairs.c - every two sides of a comparison: test, ratio, verdict; then places, and what each side used. */
#include "lib/stats/stats.h"
#include "report/comparison_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LENGTHS_DIFFER 1.05 /* answers of one side longer than those of another by so much */

/* ---- what repeats share ------------------------------------------------------------------------------------------ */

/* Relative to the sum of what was compared: errors of all requests go the same way. */
struct shared {
    double idle, time, spec;
};

static struct shared shared_of(const struct entries *e, size_t side)
{
    struct shared s = {0};
    double sum = 0;
    for (size_t i = 0; i < e->n; i++) {
        if (e->items[i].side != side)
            continue;
        sum += e->items[i].f.part;
        s.idle += e->items[i].f.idle;
        s.time += e->items[i].f.time;
        s.spec += e->items[i].f.spec;
    }
    return (struct shared){s.idle / sum, s.time / sum, s.spec / sum};
}

/* Of ln(B/A). In one run both sides lean on the same idle level and lag, and only the difference of their effect is left. */
static double common_u(const struct comparison *c, const struct entries *e, size_t a, size_t b)
{
    const struct run *ra = c->sides[a].of.run, *rb = c->sides[b].of.run;
    struct shared x = shared_of(e, a), y = shared_of(e, b);
    double u = ra == rb ? hypot(x.idle - y.idle, x.time - y.time) : hypot(hypot(x.idle, y.idle), hypot(x.time, y.time));
    if (!same_machine(ra, rb))
        u = hypot(u, hypot(x.spec, y.spec));
    return isnan(u) ? 0 : u;
}

/* ---- two sides --------------------------------------------------------------------------------------------------- */

/* Values of both sides: strata in the order of the prompts, pairs in the order of prompt and repeat. */
struct two {
    struct jl_stratum *strata;
    double *values;
    double *a, *b; /* paired */
    size_t n_pairs;
};

static bool two_init(struct two *t, const struct entries *e)
{
    *t = (struct two){.strata = calloc(e->n_groups + 1, sizeof *t->strata),
                      .values = calloc(e->n + 1, sizeof *t->values),
                      .a = calloc(e->n + 1, sizeof *t->a),
                      .b = calloc(e->n + 1, sizeof *t->b)};
    return t->strata && t->values && t->a && t->b;
}

static void two_release(struct two *t)
{
    free(t->strata);
    free(t->values);
    free(t->a);
    free(t->b);
}

/* The n-th request of a repeat on one side belongs to the n-th of the same repeat on the other. */
static void pair_up(struct two *t, const struct entries *e, struct range ra, struct range rb)
{
    while (ra.from < ra.to && rb.from < rb.to) {
        const struct entry *x = &e->items[ra.from], *y = &e->items[rb.from];
        if (x->repeat == y->repeat) {
            t->a[t->n_pairs] = x->value;
            t->b[t->n_pairs++] = y->value;
        }
        ra.from += x->repeat <= y->repeat;
        rb.from += y->repeat <= x->repeat;
    }
}

static void take_two(struct two *t, const struct entries *e, size_t a, size_t b)
{
    double *v = t->values;
    t->n_pairs = 0;
    for (size_t g = 0; g < e->n_groups; g++) {
        struct range ra = entries_of(e, g, a), rb = entries_of(e, g, b);
        t->strata[g] = (struct jl_stratum){.a = v, .b = v + (ra.to - ra.from), .na = ra.to - ra.from, .nb = rb.to - rb.from};
        for (size_t i = ra.from; i < ra.to; i++)
            *v++ = e->items[i].value;
        for (size_t i = rb.from; i < rb.to; i++)
            *v++ = e->items[i].value;
        pair_up(t, e, ra, rb);
    }
}

static bool compare_two(const struct comparison *c, const struct entries *e, struct two *t, struct compare_result *r)
{
    double u = common_u(c, e, r->a, r->b);
    take_two(t, e, r->a, r->b);
    if (!c->paired)
        return jl_compare_strata(t->strata, e->n_groups, u, c->options.seed, &r->c);
    if (!jl_compare_paired(t->a, t->b, t->n_pairs, u, c->options.seed, &r->c))
        return false;
    jl_compare_effect(t->strata, e->n_groups, &r->c);
    return true;
}

/* Cells of one run, which took turns: only a plan that lists its cells one after the other does not let them. */
static bool all_paired(const struct comparison *c, const struct entries *e, struct two *t)
{
    const char *order = run_pairs_get(&c->sides[0].of.run->settings, "order");
    if (order && !strcmp(order, "listed"))
        return false;
    for (size_t k = 1; k < c->n_sides; k++) {
        if (c->sides[k].of.run != c->sides[0].of.run)
            return false;
        take_two(t, e, 0, k);
        if (t->n_pairs == 0)
            return false;
    }
    return true;
}

/* ---- all sides --------------------------------------------------------------------------------------------------- */

static bool compare_all(struct comparison *c, const struct entries *e)
{
    struct two t;
    size_t n = c->n_sides * (c->n_sides - 1) / 2;
    bool ok = two_init(&t, e);
    c->results = calloc(n + 1, sizeof *c->results);
    ok &= c->results != NULL;
    c->paired = ok && all_paired(c, e, &t);
    for (size_t a = 0; a < c->n_sides && ok; a++)
        for (size_t b = a + 1; b < c->n_sides && ok; b++) {
            struct compare_result *r = &c->results[c->n_results];
            *r = (struct compare_result){.a = a, .b = b};
            ok = compare_two(c, e, &t, r);
            c->n_results += ok;
        }
    two_release(&t);
    return ok;
}

static bool judge_all(struct comparison *c)
{
    double *p = calloc(2 * c->n_results + 1, sizeof *p), *adjusted = p ? p + c->n_results : NULL;
    for (size_t i = 0; p && i < c->n_results; i++)
        p[i] = c->results[i].c.p;
    bool ok = p && jl_holm(p, c->n_results, adjusted);
    for (size_t i = 0; ok && i < c->n_results; i++) {
        c->results[i].c.p_adjusted = adjusted[i];
        jl_judge(&c->results[i].c, c->options.margin);
    }
    free(p);
    return ok;
}

static void give_places(struct comparison *c)
{
    for (size_t k = 0; k < c->n_sides; k++)
        c->sides[k].place = 1;
    for (size_t i = 0; i < c->n_results; i++) {
        const struct compare_result *r = &c->results[i];
        if (r->c.verdict == JL_DIFFERENT)
            c->sides[r->c.ratio > 1 ? r->b : r->a].place++;
    }
}

/* ---- one side ---------------------------------------------------------------------------------------------------- */

static double mean_tokens(const struct entries *e, size_t side, bool out)
{
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < e->n; i++) {
        int64_t tokens = out ? e->items[i].q->tokens.generated : e->items[i].q->tokens.prompt;
        if (e->items[i].side != side || tokens < 0)
            continue;
        sum += (double)tokens;
        n += e->items[i].requests;
    }
    return n ? sum / (double)n : NAN;
}

/* Scatter of repeats about the mean of their prompt, of the sum of all: prompts that were sent once say nothing. */
static double scatter(const struct entries *e, size_t side, double ratio, double *df)
{
    double square = 0;
    *df = 0;
    for (size_t g = 0; g < e->n_groups; g++) {
        struct range r = entries_of(e, g, side);
        double n = (double)(r.to - r.from), mean = 0, s = 0;
        for (size_t i = r.from; i < r.to; i++)
            mean += (e->items[i].f.part - ratio * e->items[i].f.per) / n;
        for (size_t i = r.from; i < r.to; i++)
            s += pow(e->items[i].f.part - ratio * e->items[i].f.per - mean, 2);
        if (n > 1)
            square += n * s / (n - 1);
        *df += n - 1;
    }
    return sqrt(square);
}

/* Ratio of sums, with what repeats show and what they share; without repeats what the readings themselves do not know. */
static void mean_of(struct compare_side *s, const struct entries *e, size_t side, size_t prompts)
{
    double part = 0, per = 0, random = 0, idle = 0, time = 0, df;
    for (size_t i = 0; i < e->n; i++) {
        const struct figure_of *f = &e->items[i].f;
        if (e->items[i].side != side)
            continue;
        part += f->part;
        per += f->per;
        random += f->random * f->random;
        idle += f->idle;
        time += f->time;
        s->used += e->items[i].requests;
    }
    s->mean = part / per;
    double spread = scatter(e, side, s->mean, &df);
    double pm = df >= (double)prompts ? jl_t975(df) * spread : 2 * sqrt(random);
    s->mean_pm = hypot(pm, 2 * hypot(idle, time)) / per;
    if (!(s->mean_pm > 0)) /* one request of which nothing is known */
        s->mean_pm = NAN;
}

static void quality_of(struct compare_side *s, const struct entries *e, size_t side)
{
    double energy = 0, seconds = 0;
    for (size_t i = 0; i < e->n; i++) {
        const struct run_request *q = e->items[i].q;
        if (e->items[i].side != side)
            continue;
        seconds += run_request_s(q);
        s->checked += e->items[i].checked;
        s->passed += e->items[i].passed;
        energy += e->items[i].energy_j * (double)e->items[i].checked / (double)e->items[i].requests;
    }
    s->tokens_in = mean_tokens(e, side, false);
    s->tokens_out = mean_tokens(e, side, true);
    s->seconds = seconds / (double)s->used;
    s->j_per_correct = s->passed ? energy / (double)s->passed : NAN;
}

/* Less energy for a shorter answer is no saving: say so where the metric hides it. */
static void tell_lengths(struct comparison *c)
{
    double least = INFINITY, most = 0;
    for (size_t k = 0; k < c->n_sides; k++) {
        least = fmin(least, c->sides[k].tokens_out);
        most = fmax(most, c->sides[k].tokens_out);
    }
    if (!strstr(c->options.metric->unit, "/") && least > 0 && isfinite(least) && most > LENGTHS_DIFFER * least)
        comparison_note(c, "the answers differ in length, %.3g to %.3g tokens: --metric j-per-token compares them per token",
                        least, most);
}

static void tell_limits(struct comparison *c, const struct entries *e)
{
    size_t cached = 0;
    for (size_t i = 0; i < e->n; i++)
        cached += e->items[i].q->tokens.cached > 0;
    if (!c->paired)
        comparison_note(
            c, "the requests did not take turns: what changed between them, as the temperature of the machine, is in the "
               "difference but not in its interval; a plan that interleaves its cells is surer");
    if (c->paired && c->results[0].c.pairs < 6)
        comparison_note(c, "%zu pair%s cannot show a difference: at least 6 are needed, 10 are better", c->results[0].c.pairs,
                        c->results[0].c.pairs == 1 ? "" : "s");
    if (cached)
        comparison_note(c, "%zu requests had part of their prompt from a cache", cached);
}

enum joulet_status comparison_results(struct comparison *c, const struct entries *e, struct joulet_error *err)
{
    if (!compare_all(c, e) || !judge_all(c))
        return jl_fail(err, JOULET_MEMORY, "out of memory while comparing");
    give_places(c);
    for (size_t k = 0; k < c->n_sides; k++) {
        mean_of(&c->sides[k], e, k, e->n_groups);
        quality_of(&c->sides[k], e, k);
    }
    tell_lengths(c);
    tell_limits(c, e);
    return jl_ok(err);
}

bool compare_beyond(const struct compare_result *r, double limit)
{
    return r->c.lo95 > 1 + limit;
}
