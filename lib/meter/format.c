/* format.c - a figure and its interval in words (docs/method.md 3): two digits of uncertainty, as many of the figure. */
#include "joulet.h"

#include <math.h>
#include <stdio.h>

#define MOST_DECIMALS 9    /* nanojoules: no sensor knows better */
#define TOO_LONG      1e15 /* a double holds no more whole joules; beyond, powers of ten read better than digits */

static double tidy(double x, double step)
{
    double r = round(x / step) * step;
    return r == 0 ? 0 : r; /* never "-0" */
}

/* Power of ten of the second significant digit of x > 0, after rounding to two: 0.0996 is 0.10, not 0.100. */
static int second_digit(double x)
{
    int e = (int)floor(log10(x)) - 1;
    return round(x / pow(10, e)) >= 100 ? e + 1 : e;
}

static const char *format_exact(char *buf, size_t size, double e_j, const char *sign, double pm_j)
{
    if (pm_j == 0)
        snprintf(buf, size, "%.6g J %s 0 J", e_j, sign);
    else
        snprintf(buf, size, "%.4g J", e_j);
    return buf;
}

const char *joulet_format_j(char *buf, size_t size, double e_j, double pm_j, bool utf8)
{
    const char *sign = utf8 ? "\u00b1" : "+-";
    if (!isfinite(e_j)) {
        snprintf(buf, size, "-");
        return buf;
    }
    if (!isfinite(pm_j) || pm_j == 0)
        return format_exact(buf, size, e_j, sign, pm_j);
    if (fabs(e_j) >= TOO_LONG || fabs(pm_j) >= TOO_LONG) {
        snprintf(buf, size, "%.3g J %s %.2g J", e_j, sign, fabs(pm_j));
        return buf;
    }
    int digit = second_digit(fabs(pm_j));
    if (digit < -MOST_DECIMALS)
        digit = -MOST_DECIMALS;
    double step = pow(10, digit);
    int decimals = digit < 0 ? -digit : 0;
    snprintf(buf, size, "%.*f J %s %.*f J", decimals, tidy(e_j, step), sign, decimals, tidy(fabs(pm_j), step));
    return buf;
}
