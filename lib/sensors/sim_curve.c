/* sim_curve.c - steps of power, followed at once or exponentially, and their exact integral: the truth that the simulated sensor
 * samples. A power p asked for at t, after the device drew y, gives y(x) = p + (y - p) exp(-x/r). */
#include "lib/sensors/sim_curve.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TIME_MAX   1e18 /* of a line: nanoseconds of a monotonic clock fit too */
#define FILE_MAX_S 1e9  /* of a file: beyond, sums lose their small parts */
#define WATTS_MAX  1e7

bool sim_curve_init(struct sim_curve *c, size_t cap, double rise_s)
{
    *c = (struct sim_curve){.cap = cap < 2 ? 2 : cap, .rise_s = rise_s};
    if (c->cap > SIM_KNOTS_MAX)
        c->cap = SIM_KNOTS_MAX;
    c->knots = calloc(c->cap, sizeof(*c->knots));
    return c->knots;
}

void sim_curve_release(struct sim_curve *c)
{
    free(c->knots);
    *c = (struct sim_curve){.n = 0};
}

/* Energy and power x seconds after knot k. */
static void follow(const struct sim_curve *c, const struct sim_knot *k, double x, double *e_j, double *y_w)
{
    double left = c->rise_s > 0 ? exp(-x / c->rise_s) : 0, step = k->y_w - k->p_w;
    *y_w = k->p_w + step * left;
    *e_j = k->e_j + k->p_w * x + (c->rise_s > 0 ? step * c->rise_s * (1 - left) : 0);
}

void sim_curve_add(struct sim_curve *c, double t_s, double p_w)
{
    if (c->n == c->cap) {
        size_t half = c->cap / 2;
        memmove(c->knots, c->knots + half, (c->n - half) * sizeof(*c->knots));
        c->n -= half;
    }
    struct sim_knot next = {.t_s = t_s, .p_w = p_w, .y_w = p_w};
    if (c->n) {
        const struct sim_knot *last = &c->knots[c->n - 1];
        next.t_s = fmax(t_s, last->t_s);
        follow(c, last, next.t_s - last->t_s, &next.e_j, &next.y_w);
    }
    c->knots[c->n++] = next;
}

static void at(const struct sim_curve *c, double t_s, double *e_j, double *y_w)
{
    size_t lo = 0, hi = c->n; /* the last knot at or before t_s */
    *e_j = *y_w = 0;
    if (!c->n)
        return;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (c->knots[mid].t_s <= t_s)
            lo = mid;
        else
            hi = mid;
    }
    const struct sim_knot *k = &c->knots[lo];
    if (t_s >= k->t_s) {
        follow(c, k, t_s - k->t_s, e_j, y_w);
        return;
    }
    *y_w = k->y_w;
    *e_j = k->e_j - k->y_w * (k->t_s - t_s);
}

double sim_curve_energy_at(const struct sim_curve *c, double t_s)
{
    double e, y;
    at(c, t_s, &e, &y);
    return e;
}

double sim_curve_power_at(const struct sim_curve *c, double t_s)
{
    double e, y;
    at(c, t_s, &e, &y);
    return y;
}

/* ---- lines ------------------------------------------------------------------------------------------------------- */

bool sim_parse_line(const char *line, double *t, double *p_w)
{
    char first[40], second[40];
    size_t n;
    line += strspn(line, " \t");
    n = strcspn(line, " \t,\r\n");
    if (n == 0 || n >= sizeof(first))
        return false;
    memcpy(first, line, n);
    first[n] = '\0';
    line += n;
    line += strspn(line, " \t,");
    n = strcspn(line, " \t\r\n");
    if (n == 0 || n >= sizeof(second))
        return false;
    memcpy(second, line, n);
    second[n] = '\0';
    line += n;
    if (line[strspn(line, " \t\r\n")] || !jl_parse_double(first, t) || !jl_parse_double(second, p_w))
        return false;
    return fabs(*t) <= TIME_MAX && *p_w >= 0 && *p_w <= WATTS_MAX;
}

static size_t count_lines(const char *text, size_t len)
{
    size_t n = 1;
    for (size_t i = 0; i < len; i++)
        n += text[i] == '\n';
    return n;
}

/* One line of a curve into c; false when it is not understood. */
static bool take_line(struct sim_curve *c, const char *text, size_t len)
{
    char line[128];
    double t, p;
    if (len >= sizeof(line))
        return false;
    memcpy(line, text, len);
    line[len] = '\0';
    size_t blank = strspn(line, " \t\r");
    if (!line[blank] || line[blank] == '#')
        return true;
    if (!sim_parse_line(line, &t, &p) || fabs(t) > FILE_MAX_S || c->n == c->cap || (c->n && t < c->knots[c->n - 1].t_s))
        return false;
    sim_curve_add(c, t, p);
    return true;
}

enum joulet_status sim_curve_parse(struct sim_curve *c, const char *text, size_t len, const char *name, struct joulet_error *err)
{
    double rise_s = c->rise_s;
    sim_curve_release(c);
    if (!sim_curve_init(c, count_lines(text, len), rise_s))
        return jl_fail(err, JOULET_MEMORY, "out of memory while reading the power curve %s", name);
    size_t line = 1;
    for (size_t at_byte = 0; at_byte < len; line++) {
        const char *end = memchr(text + at_byte, '\n', len - at_byte);
        size_t n = end ? (size_t)(end - text) - at_byte : len - at_byte;
        if (!take_line(c, text + at_byte, n))
            return jl_fail(
                err, JOULET_FORMAT,
                "line %zu of the power curve %s is wrong: write a time in seconds, not before the last one, and watts, as "
                "in \"2.5 300\" (at most %d lines)",
                line, name, SIM_KNOTS_MAX);
        at_byte += n + 1;
    }
    if (!c->n)
        return jl_fail(err, JOULET_FORMAT, "the power curve %s is empty: write lines of seconds and watts, as in \"0 60\"", name);
    return jl_ok(err);
}
