/* plain.c - the raw difference and the trapezoid, which most tools use (docs/method.md 2.6 says what is wrong with them). */
#include "bench/accuracy/plain.h"

#include <math.h>

#define READ_S 10e-3 /* between two reads of a counter that changes more often */

struct shown {
    double t_s, value; /* J or W */
};

static struct shown shown_by(const struct sim_device *d, int64_t k)
{
    struct sim_update u;
    sim_device_update(d, k, &u);
    return (struct shown){u.visible_s, (double)u.value * 1e-6};
}

static struct shown read_at(const struct sim_device *d, double t_s)
{
    return (struct shown){t_s, shown_by(d, sim_device_number_at(d, t_s)).value};
}

/* A counter by the straight line between the updates around t; one too quick for that, between reads. */
static double between(const struct sim_device *d, double t_s)
{
    struct shown a, b;
    if (d->m.period_s < READ_S) {
        double before = floor(t_s / READ_S - d->phase_s / d->m.period_s) * READ_S + d->phase_s / d->m.period_s * READ_S;
        a = read_at(d, before);
        b = read_at(d, before + READ_S);
    } else {
        int64_t k = sim_device_number_at(d, t_s);
        a = shown_by(d, k);
        b = shown_by(d, k + 1);
    }
    return a.value + (b.value - a.value) * (t_s - a.t_s) / (b.t_s - a.t_s);
}

static double held_j(const struct sim_device *d, double from, double to)
{
    double sum = 0;
    for (int64_t k = sim_device_number_at(d, from); sim_device_visible_s(d, k) < to; k++) {
        struct shown a = shown_by(d, k);
        sum += a.value * (fmin(to, sim_device_visible_s(d, k + 1)) - fmax(from, a.t_s));
    }
    return sum;
}

/* Integral from a to b of the line through two readings. */
static double under_line(const struct shown *x, const struct shown *y, double a, double b)
{
    double slope = (y->value - x->value) / (y->t_s - x->t_s), middle = (a + b) / 2;
    return b > a ? (x->value + slope * (middle - x->t_s)) * (b - a) : 0;
}

static double trapezoid_j(const struct sim_device *d, double from, double to)
{
    double sum = 0;
    for (int64_t k = sim_device_number_at(d, from); sim_device_visible_s(d, k) < to; k++) {
        struct shown a = shown_by(d, k), b = shown_by(d, k + 1);
        sum += under_line(&a, &b, fmax(from, a.t_s), fmin(to, b.t_s));
    }
    return sum;
}

void plain_between(const struct sim_device *d, double from, double to, double *raw_j, double *straight_j)
{
    if (d->m.kind == SIM_POWER) {
        *raw_j = held_j(d, from, to);
        *straight_j = trapezoid_j(d, from, to);
    } else {
        *raw_j = read_at(d, to).value - read_at(d, from).value;
        *straight_j = between(d, to) - between(d, from);
    }
}

void plain_meters(const struct load *l, const struct sim_device *d, double *raw, double *trapezoid)
{
    double from = l->isolated ? l->bounds[0] : l->bounds[l->part], idle = l->asked.net ? l->idle_w * l->length_s : 0;
    double held, straight;
    plain_between(d, from, from + l->length_s, &held, &straight);
    *raw = (held - idle) / l->asked.truth_j - 1;
    *trapezoid = (straight - idle) / l->asked.truth_j - 1;
}
