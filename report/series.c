/* series.c - emission factors that change with time: a CSV of time and g/kWh, or what a command said. A value holds until the
 * next one; the last is kept, with its age. What is not known is not known: a mean over such a time is NAN. */
#include "report/carbon.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POINTS_MAX ((size_t)1000000)
#define G_MAX      5000.0         /* g/kWh: five times the worst power station */
#define WALL_MAX_S 200000000000LL /* the year 8307: what is beyond counts milliseconds */
#define NS_MAX_S   9000000000LL   /* what int64_t nanoseconds hold */

/* ---- time -------------------------------------------------------------------------------------------------------- */

/* Days since 1970 of a date of the Gregorian calendar. */
static int64_t days_of(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year, era = y / 400, yoe = y - era * 400;
    int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static bool digits(const char **p, int n, int *out)
{
    *out = 0;
    for (int i = 0; i < n; i++, ++*p) {
        if (!isdigit((unsigned char)**p))
            return false;
        *out = *out * 10 + (**p - '0');
    }
    return true;
}

static bool literal(const char **p, const char *any)
{
    if (!**p || !strchr(any, **p))
        return false;
    ++*p;
    return true;
}

/* "", "Z", "+01:00", "-0530"; seconds east of UTC. */
static bool zone(const char *p, int *offset_s)
{
    int hours, minutes = 0, sign = *p == '-' ? -1 : 1;
    *offset_s = 0;
    if (!*p || !strcmp(p, "Z") || !strcmp(p, "z"))
        return true;
    if (!literal(&p, "+-") || !digits(&p, 2, &hours))
        return false;
    literal(&p, ":");
    if (*p && !digits(&p, 2, &minutes))
        return false;
    *offset_s = sign * (hours * 3600 + minutes * 60);
    return !*p && hours < 24 && minutes < 60;
}

static bool calendar_time(const char *p, int64_t *wall_ns)
{
    int year, month, day, hour = 0, minute = 0, second = 0, offset_s;
    if (!digits(&p, 4, &year) || !literal(&p, "-") || !digits(&p, 2, &month) || !literal(&p, "-") || !digits(&p, 2, &day))
        return false;
    if (literal(&p, "T ") && (!digits(&p, 2, &hour) || !literal(&p, ":") || !digits(&p, 2, &minute)))
        return false;
    if (literal(&p, ":") && !digits(&p, 2, &second))
        return false;
    if (*p == '.') /* parts of a second say nothing here */
        for (p++; isdigit((unsigned char)*p); p++)
            ;
    if (year < 1970 || year > 2200 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 24 || minute > 59 || second > 60)
        return false;
    if (!zone(p, &offset_s))
        return false;
    *wall_ns = (days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset_s) * JL_NS_PER_S;
    return true;
}

bool carbon_time(const char *text, int64_t *wall_ns)
{
    double s;
    if (calendar_time(text, wall_ns))
        return true;
    if (!jl_parse_double(text, &s) || s < 0 || s > (double)WALL_MAX_S * 1000)
        return false;
    if (s > (double)WALL_MAX_S)
        s /= 1000; /* milliseconds, as JavaScript counts */
    if (s > (double)NS_MAX_S)
        return false;
    *wall_ns = jl_ns(s);
    return true;
}

bool carbon_value(const char *text, double *g_per_kwh)
{
    char buf[64];
    size_t n = strcspn(text += strspn(text, " \t\r\n"), "\r\n");
    if (n == 0 || n >= sizeof buf || text[n + strspn(text + n, " \t\r\n")])
        return false;
    memcpy(buf, text, n);
    while (n && strchr(" \t", buf[n - 1]))
        n--;
    buf[n] = '\0';
    return jl_parse_double(buf, g_per_kwh) && *g_per_kwh >= 0 && *g_per_kwh <= G_MAX;
}

/* ---- points ------------------------------------------------------------------------------------------------------ */

void carbon_series_release(struct carbon_series *s)
{
    free(s->points);
    *s = (struct carbon_series){0};
}

bool carbon_series_add(struct carbon_series *s, int64_t wall_ns, double value)
{
    if (s->n == POINTS_MAX)
        return false;
    if ((s->n & (s->n - 1)) == 0) { /* powers of two: room for twice as many */
        struct carbon_point *grown = realloc(s->points, (s->n ? 2 * s->n : 1) * sizeof *grown);
        if (!grown)
            return false;
        s->points = grown;
    }
    s->points[s->n++] = (struct carbon_point){wall_ns, value};
    return true;
}

/* Index of the point that holds at t; SIZE_MAX before the first. */
static size_t point_at(const struct carbon_series *s, int64_t t)
{
    size_t lo = 0, hi = s->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->points[mid].wall_ns <= t)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo ? lo - 1 : SIZE_MAX;
}

double carbon_series_mean(const struct carbon_series *s, int64_t from_ns, int64_t to_ns)
{
    size_t i = point_at(s, from_ns);
    double sum = 0;
    if (i == SIZE_MAX)
        return NAN;
    if (to_ns <= from_ns)
        return s->points[i].value;
    for (int64_t t = from_ns; t < to_ns; i++) {
        int64_t next = i + 1 < s->n && s->points[i + 1].wall_ns < to_ns ? s->points[i + 1].wall_ns : to_ns;
        sum += s->points[i].value * jl_s(next - t);
        t = next;
    }
    return sum / jl_s(to_ns - from_ns);
}

double carbon_series_age_s(const struct carbon_series *s, int64_t wall_ns)
{
    size_t i = point_at(s, wall_ns);
    return i == SIZE_MAX || isnan(s->points[i].value) ? NAN : jl_s(wall_ns - s->points[i].wall_ns);
}

/* ---- CSV --------------------------------------------------------------------------------------------------------- */

static int by_time(const void *a, const void *b)
{
    const struct carbon_point *x = a, *y = b;
    return x->wall_ns < y->wall_ns ? -1 : x->wall_ns > y->wall_ns;
}

static const char *trimmed(char *s)
{
    s += strspn(s, " \t");
    for (size_t n = strlen(s); n && strchr(" \t", s[n - 1]);)
        s[--n] = '\0';
    return s;
}

static enum joulet_status read_row(struct carbon_series *s, const char *name, size_t row, struct jl_csv *csv,
                                   struct joulet_error *err)
{
    int64_t t;
    double g = NAN;
    if (csv->n < 2)
        return jl_fail(err, JOULET_FORMAT, "%s: row %zu has no value: a series has two columns, time and g/kWh", name, row);
    const char *when = trimmed(csv->fields[0]), *value = trimmed(csv->fields[1]);
    if (!carbon_time(when, &t)) {
        if (row == 1) /* a header */
            return jl_ok(err);
        return jl_fail(err, JOULET_FORMAT, "%s: row %zu: '%.40s' is no time such as 2026-11-21T15:00Z or seconds since 1970",
                       name, row, when);
    }
    if (*value && strcmp(value, "-") && !carbon_value(value, &g))
        return jl_fail(err, JOULET_FORMAT, "%s: row %zu: '%.40s' is no factor between 0 and 5000 g/kWh", name, row, value);
    if (!carbon_series_add(s, t, g))
        return jl_fail(err, JOULET_LIMIT, "%s has more points than can be kept (%zu)", name, s->n);
    return jl_ok(err);
}

enum joulet_status carbon_series_parse(struct carbon_series *s, const char *name, const char *text, size_t n,
                                       struct joulet_error *err)
{
    struct jl_csv csv;
    enum joulet_status st = JOULET_OK;
    *s = (struct carbon_series){0};
    jl_csv_init(&csv, text, n);
    for (size_t row = 1; st == JOULET_OK && jl_csv_next(&csv); row++)
        st = read_row(s, name, row, &csv, err);
    jl_csv_release(&csv);
    if (st == JOULET_OK && s->n)
        qsort(s->points, s->n, sizeof *s->points, by_time);
    for (size_t i = 1; st == JOULET_OK && i < s->n; i++)
        if (s->points[i].wall_ns == s->points[i - 1].wall_ns) {
            char when[40];
            jl_format_time(when, sizeof when, s->points[i].wall_ns);
            st = jl_fail(err, JOULET_FORMAT, "%s has two values for %s; remove one", name, when);
        }
    if (st == JOULET_OK && !s->n)
        st = jl_fail(err, JOULET_FORMAT, "%s holds no row of a time and g/kWh", name);
    if (st != JOULET_OK) {
        carbon_series_release(s);
        return st;
    }
    return jl_ok(err);
}

/* ---- in a record ------------------------------------------------------------------------------------------------- */

bool carbon_series_text(const struct carbon_series *s, int64_t from_ns, int64_t to_ns, struct jl_buf *out)
{
    size_t first = point_at(s, from_ns);
    for (size_t i = first == SIZE_MAX ? 0 : first; i < s->n && (i == first || s->points[i].wall_ns <= to_ns); i++) {
        jl_buf_printf(out, "%s%lld:", out->len ? "," : "", (long long)(s->points[i].wall_ns / JL_NS_PER_S));
        jl_buf_printf(out, isnan(s->points[i].value) ? "-" : "%.10g", s->points[i].value);
    }
    return !out->failed;
}

bool carbon_series_of_text(struct carbon_series *s, const char *text)
{
    *s = (struct carbon_series){0};
    while (*text) {
        char point[64];
        size_t n = strcspn(text, ",");
        int64_t t;
        double g = NAN;
        snprintf(point, sizeof point, "%.*s", n < sizeof point ? (int)n : 0, text);
        char *colon = strchr(point, ':');
        if (colon)
            *colon = '\0';
        bool good = colon && jl_parse_i64(point, &t) && t >= 0 && t <= NS_MAX_S &&
                    (!strcmp(colon + 1, "-") || carbon_value(colon + 1, &g)) &&
                    (!s->n || t * JL_NS_PER_S > s->points[s->n - 1].wall_ns) && carbon_series_add(s, t * JL_NS_PER_S, g);
        if (!good) {
            carbon_series_release(s);
            return false;
        }
        text += n + (text[n] == ',');
    }
    return s->n > 0;
}
