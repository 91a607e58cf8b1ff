/* quantile.c - means, spreads, quantiles of samples and of Student's t (docs/method.md 4.2, 5.2, 5.4, 9). */
#include "lib/stats/stats.h"

#include <math.h>
#include <stdlib.h>

double jl_mean(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return n ? sum / (double)n : NAN;
}

static double sum_of_squares(const double *x, size_t n)
{
    double m = jl_mean(x, n), sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (x[i] - m) * (x[i] - m);
    return sum;
}

double jl_sd(const double *x, size_t n)
{
    return n > 1 ? sqrt(sum_of_squares(x, n) / (double)(n - 1)) : NAN;
}

double jl_sd_population(const double *x, size_t n)
{
    return n ? sqrt(sum_of_squares(x, n) / (double)n) : NAN;
}

double jl_autocorrelation(const double *x, size_t n)
{
    double m = jl_mean(x, n), all = sum_of_squares(x, n), next = 0;
    for (size_t i = 1; i < n; i++)
        next += (x[i] - m) * (x[i - 1] - m);
    return all > 0 ? next / all : 0;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void jl_sort(double *x, size_t n)
{
    if (n > 1)
        qsort(x, n, sizeof(*x), by_size);
}

double jl_quantile(const double *sorted, size_t n, double p)
{
    if (n == 0)
        return NAN;
    double h = (double)(n - 1) * p;
    size_t k = (size_t)floor(h);
    return k + 1 >= n ? sorted[n - 1] : sorted[k] + (h - (double)k) * (sorted[k + 1] - sorted[k]);
}

double jl_median(double *x, size_t n)
{
    jl_sort(x, n);
    return jl_quantile(x, n, 0.5);
}

static int by_value(const void *a, const void *b)
{
    double x = ((const struct jl_weighted *)a)->value, y = ((const struct jl_weighted *)b)->value;
    return (x > y) - (x < y);
}

double jl_weighted_quantile(struct jl_weighted *x, size_t n, double p)
{
    double all = 0, sum = 0;
    for (size_t i = 0; i < n; i++)
        all += x[i].weight;
    if (!(all > 0))
        return NAN;
    qsort(x, n, sizeof(*x), by_value);
    for (size_t i = 0; i < n; i++) {
        sum += x[i].weight;
        if (sum >= (p - 1e-12) * all)
            return x[i].value;
    }
    return x[n - 1].value;
}

struct t_row {
    double df, t;
};

/* Between two rows t is nearly linear in 1/df, which also takes the last row to infinity. */
static double t_between(const struct t_row *rows, size_t n, double df)
{
    if (!(df >= 1))
        return NAN;
    size_t i = 1;
    while (i + 1 < n && rows[i].df < df)
        i++;
    double x0 = 1 / rows[i - 1].df, x1 = 1 / rows[i].df, f = (x0 - 1 / df) / (x0 - x1);
    return rows[i - 1].t + f * (rows[i].t - rows[i - 1].t);
}

double jl_t975(double df)
{
    static const struct t_row rows[] = {{1, 12.7062},  {2, 4.30265},  {3, 3.18245},       {4, 2.77645},  {5, 2.57058},
                                        {6, 2.44691},  {7, 2.36462},  {8, 2.30600},       {9, 2.26216},  {10, 2.22814},
                                        {11, 2.20099}, {12, 2.17881}, {14, 2.14479},      {19, 2.09302}, {24, 2.06390},
                                        {29, 2.04523}, {60, 2.00030}, {INFINITY, 1.95996}};
    return t_between(rows, sizeof(rows) / sizeof(rows[0]), df);
}

double jl_t95(double df)
{
    static const struct t_row rows[] = {{1, 6.31375},  {2, 2.91999},  {3, 2.35336},       {4, 2.13185}, {5, 2.01505},
                                        {6, 1.94318},  {7, 1.89458},  {8, 1.85955},       {9, 1.83311}, {10, 1.81246},
                                        {19, 1.72913}, {29, 1.69913}, {INFINITY, 1.64485}};
    return t_between(rows, sizeof(rows) / sizeof(rows[0]), df);
}
