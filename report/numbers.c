/* numbers.c - numbers as a reader likes them: the digits that mean something, the unit, and "-" for what is not known. */
#include "report/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct number unknown(void)
{
    return (struct number){"-"};
}

struct number number_f(const char *fmt, ...)
{
    struct number n;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(n.text, sizeof n.text, fmt, ap);
    va_end(ap);
    return n;
}

/* Power of ten of the last of so many significant digits, after rounding: 0.0996 has two as 0.10. */
static int last_digit(double x, int digits)
{
    int e = (int)floor(log10(fabs(x))) - digits + 1;
    return round(fabs(x) / pow(10, e)) >= pow(10, digits) ? e + 1 : e;
}

static struct number down_to(double x, int last)
{
    double step = pow(10, last), rounded = round(x / step) * step;
    return number_f("%.*f", last < 0 ? -last : 0, rounded == 0 ? 0.0 : rounded);
}

struct number number_digits(double x, int digits)
{
    if (!isfinite(x))
        return unknown();
    if (x == 0)
        return (struct number){"0"};
    int last = last_digit(x, digits);
    return last < -15 || last > 15 ? number_f("%.*e", digits - 1, x) : down_to(x, last);
}

struct number number_coarse(double x, double width)
{
    if (!isfinite(x) || !isfinite(width) || width == 0)
        return number_digits(x, 2);
    int last = last_digit(width / 10, 2);
    if (x != 0 && last_digit(x, 2) > last)
        return number_digits(x, 2);
    return last < -15 || last > 15 ? number_f("%.1e", x) : down_to(x, last);
}

struct number number_plain(double x)
{
    return isfinite(x) ? number_f("%.6g", x) : unknown();
}

struct number number_s(double s, const struct report_style *style)
{
    if (!isfinite(s))
        return unknown();
    if (fabs(s) >= 59.95) {
        long long whole = (long long)fmax(-6e9, fmin(6e9, round(s)));
        return number_f("%lld min %02lld s", whole / 60, llabs(whole) % 60);
    }
    double scale = fabs(s) >= 0.9995 || s == 0 ? 1 : fabs(s) >= 0.0009995 ? 1e3 : 1e6;
    const char *unit = scale == 1 ? "s" : scale == 1e3 ? "ms" : style->utf8 ? "\u00b5s" : "us";
    return number_f("%s %s", number_digits(s * scale, 3).text, unit);
}

/* Whole watts from 100 on, three digits below, tenths of a watt at least. */
struct number number_watts(double w)
{
    if (!isfinite(w))
        return unknown();
    return number_f("%.*f", fabs(w) >= 99.95 ? 0 : 1, fabs(w) < 0.05 ? 0.0 : w);
}

struct number number_w(double w)
{
    return isfinite(w) ? number_f("%s W", number_watts(w).text) : unknown();
}

struct number number_count(int64_t i)
{
    return i < 0 ? unknown() : number_f("%lld", (long long)i);
}

/* The rule of joulet_format_j with another unit, said once: both numbers share it. */
struct number number_pm(double x, double pm, const char *unit, const struct report_style *style)
{
    char j[NUMBER_SIZE], *at;
    if (!isfinite(x))
        return unknown();
    if (!isfinite(pm))
        return number_f("%s %s", number_digits(x, 3).text, unit);
    joulet_format_j(j, sizeof j, x, pm, style->utf8);
    while ((at = strstr(j, " J")))
        memmove(at, at + 2, strlen(at + 2) + 1);
    return number_f("%s %s", j, unit);
}

double unit_co2e(double g, const struct report_style *style, const char **unit)
{
    static const struct {
        double from, scale;
        const char *unit;
    } rows[] = {{1e3, 1e-3, "kgCO2e"}, {1, 1, "gCO2e"}, {1e-3, 1e3, "mgCO2e"}, {0, 1e6, "ugCO2e"}};
    size_t i = 0;
    while (i + 1 < JL_COUNT(rows) && !(fabs(g) >= rows[i].from))
        i++;
    *unit = i == 3 && style->utf8 ? "\u00b5gCO2e" : rows[i].unit;
    return rows[i].scale;
}
