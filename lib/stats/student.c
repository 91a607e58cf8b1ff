/* student.c - probabilities of Student's t and of the normal distribution, for tests whose p is needed as a number
 * (docs/method.md 5.1, 5.5). The incomplete beta function by its continued fraction (Lentz's method), to about 1e-14. */
#include "lib/stats/series.h"

#include <math.h>

#define TERMS 300
#define TINY  1e-300

static double away_from_zero(double x)
{
    return fabs(x) < TINY ? TINY : x;
}

/* Continued fraction of the incomplete beta function; converges quickly for x < (a + 1)/(a + b + 2). */
static double beta_fraction(double a, double b, double x)
{
    double c = 1, d = 1 / away_from_zero(1 - (a + b) * x / (a + 1)), f = d;
    for (int m = 1; m <= TERMS; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        d = 1 / away_from_zero(1 + even * d);
        c = away_from_zero(1 + even / c);
        f *= d * c;
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 / away_from_zero(1 + odd * d);
        c = away_from_zero(1 + odd / c);
        f *= d * c;
        if (fabs(d * c - 1) < 1e-15)
            break;
    }
    return f;
}

/* y = 1 - x, given apart because it may be too small to be had from x. */
static double incomplete_beta(double a, double b, double x, double y)
{
    if (x <= 0 || y <= 0)
        return x <= 0 ? 0 : 1;
    double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log(y));
    if (x < (a + 1) / (a + b + 2))
        return front * beta_fraction(a, b, x) / a;
    return 1 - front * beta_fraction(b, a, y) / b;
}

double jl_t_p(double t, double df)
{
    if (isnan(t) || !(df > 0))
        return NAN;
    if (isinf(df))
        return jl_normal_p(t);
    if (isinf(t))
        return 0;
    double all = df + t * t;
    return incomplete_beta(df / 2, 0.5, df / all, t * t / all);
}

double jl_normal_p(double z)
{
    return erfc(fabs(z) / sqrt(2));
}
