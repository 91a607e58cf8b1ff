/* compare.c - ratio of B to A with its intervals, Holm's correction, verdict (docs/method.md 5.5). */
#include "lib/stats/compare.h"
#include "lib/stats/stats.h"

#include <math.h>
#include <stdlib.h>

#define SIGNIFICANT 0.05
#define K95         2.0
#define K90         1.645

/* ---- the interval of ln(B/A) ----------------------------------------------------------------------------------------------- */

/* se with df degrees of freedom, beside what repeats do not shrink. Nothing is known of the scatter of one value. */
static void set_ratio(struct jl_comparison *c, double log_ratio, double se, double df, double u_common)
{
    double pm95 = hypot(jl_t975(df) * se, K95 * u_common), pm90 = hypot(jl_t95(df) * se, K90 * u_common);
    bool known = isfinite(pm95) && isfinite(pm90);
    c->ratio = exp(log_ratio);
    c->lo95 = known ? exp(log_ratio - pm95) : 0;
    c->hi95 = known ? exp(log_ratio + pm95) : INFINITY;
    c->lo90 = known ? exp(log_ratio - pm90) : 0;
    c->hi90 = known ? exp(log_ratio + pm90) : INFINITY;
}

static bool all_above_0(const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(x[i] > 0) || isinf(x[i]))
            return false;
    return n > 0;
}

static void unknown(struct jl_comparison *c)
{
    *c = (struct jl_comparison){
        .p = NAN, .p_adjusted = NAN, .ratio = NAN, .hi95 = INFINITY, .hi90 = INFINITY, .u = NAN, .a12 = NAN, .delta = NAN};
    c->shift = c->not_beyond = NAN;
}

void jl_compare_effect(struct jl_stratum *s, size_t k, struct jl_comparison *out)
{
    double of;
    jl_strata_sort(s, k);
    out->strata = k;
    out->u = jl_dominance(s, k, &of);
    out->a12 = out->u / of;
    out->delta = 2 * out->u / of - 1;
    out->shift = jl_shift(s, k);
}

bool jl_compare_paired(const double *a, const double *b, size_t n, double u_common, uint64_t seed, struct jl_comparison *out)
{
    unknown(out);
    double *d = malloc((n ? 3 * n : 1) * sizeof *d);
    bool ok = d && all_above_0(a, n) && all_above_0(b, n);
    for (size_t i = 0; ok && i < n; i++) {
        d[i] = log(b[i] / a[i]);
        d[n + i] = a[i];
        d[2 * n + i] = b[i];
    }
    if (ok) {
        struct jl_stratum all = {.a = d + n, .b = d + 2 * n, .na = n, .nb = n};
        out->n_a = out->n_b = out->pairs = n;
        out->p = out->p_adjusted = jl_sign_flip_p(d, n, seed, &out->exact);
        set_ratio(out, jl_mean(d, n), jl_sd(d, n) / sqrt((double)n), (double)n - 1, u_common);
        jl_compare_effect(&all, 1, out);
    }
    free(d);
    return ok;
}

/* ---- not paired -------------------------------------------------------------------------------------------------- */

/* Adds the variance of the mean of n logarithms to *var, and what Welch and Satterthwaite need for the degrees of freedom. */
static void add_side(const double *log_x, size_t n, double *var, double *spread)
{
    double v = jl_sd(log_x, n);
    v = v * v / (double)n;
    *var += v;
    *spread += v * v / (double)(n - 1);
}

/* Logarithms of the strata in one block, a copy with the same shape. */
static bool take_logs(const struct jl_stratum *s, size_t k, struct jl_stratum *logs, double *values)
{
    for (size_t i = 0; i < k; i++) {
        if (!all_above_0(s[i].a, s[i].na) || !all_above_0(s[i].b, s[i].nb))
            return false;
        logs[i] = (struct jl_stratum){.a = values, .b = values + s[i].na, .na = s[i].na, .nb = s[i].nb};
        for (size_t j = 0; j < s[i].na; j++)
            logs[i].a[j] = log(s[i].a[j]);
        for (size_t j = 0; j < s[i].nb; j++)
            logs[i].b[j] = log(s[i].b[j]);
        values += s[i].na + s[i].nb;
    }
    return k > 0;
}

static void ratio_of_strata(const struct jl_stratum *logs, size_t k, double *d, double u_common, struct jl_comparison *out)
{
    double var = 0, spread = 0;
    bool repeated = true;
    for (size_t i = 0; i < k; i++) {
        d[i] = jl_mean(logs[i].b, logs[i].nb) - jl_mean(logs[i].a, logs[i].na);
        repeated &= logs[i].na > 1 && logs[i].nb > 1;
        out->n_a += logs[i].na;
        out->n_b += logs[i].nb;
    }
    for (size_t i = 0; repeated && i < k; i++) {
        add_side(logs[i].a, logs[i].na, &var, &spread);
        add_side(logs[i].b, logs[i].nb, &var, &spread);
    }
    if (repeated)
        set_ratio(out, jl_mean(d, k), sqrt(var) / (double)k, var > 0 ? var * var / spread : INFINITY, u_common);
    else
        set_ratio(out, jl_mean(d, k), jl_sd(d, k) / sqrt((double)k), (double)k - 1, u_common);
}

bool jl_compare_strata(struct jl_stratum *s, size_t k, double u_common, uint64_t seed, struct jl_comparison *out)
{
    size_t n = 0;
    unknown(out);
    for (size_t i = 0; i < k; i++)
        n += s[i].na + s[i].nb;
    double *values = malloc((n + k + 1) * sizeof *values);
    struct jl_stratum *logs = malloc((k ? k : 1) * sizeof *logs);
    bool ok = values && logs && take_logs(s, k, logs, values);
    if (ok) {
        out->p = out->p_adjusted = jl_mann_whitney_p(logs, k, seed, &out->exact);
        ratio_of_strata(logs, k, values + n, u_common, out);
        jl_compare_effect(s, k, out);
    }
    free(values);
    free(logs);
    return ok;
}

/* ---- many comparisons, verdict ----------------------------------------------------------------------------------- */

struct place {
    double p;
    size_t at;
};

static int by_p(const void *x, const void *y)
{
    double a = ((const struct place *)x)->p, b = ((const struct place *)y)->p;
    return (a > b) - (a < b);
}

bool jl_holm(const double *p, size_t n, double *adjusted)
{
    struct place *order = malloc((n ? n : 1) * sizeof *order);
    size_t m = 0;
    double most = 0;
    if (!order)
        return false;
    for (size_t i = 0; i < n; i++) {
        adjusted[i] = NAN;
        if (!isnan(p[i]))
            order[m++] = (struct place){p[i], i};
    }
    qsort(order, m, sizeof *order, by_p);
    for (size_t i = 0; i < m; i++) {
        most = fmax(most, fmin(1, (double)(m - i) * order[i].p));
        adjusted[order[i].at] = most;
    }
    free(order);
    return true;
}

void jl_judge(struct jl_comparison *c, double margin)
{
    bool inside = c->lo90 >= 1 / (1 + margin) && c->hi90 <= 1 + margin;
    bool different = c->p_adjusted < SIGNIFICANT && (c->lo95 > 1 || c->hi95 < 1);
    c->verdict = different ? JL_DIFFERENT : inside ? JL_EQUAL : JL_UNDECIDED;
    c->small = different && inside;
    double most = fmax(c->hi95 - 1, 1 - c->lo95);
    c->not_beyond = isfinite(most) ? most : NAN;
}
