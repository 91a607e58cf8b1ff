/* bursts.c - many short runs on a sensor that looks a quarter of the time (docs/method.md 2.5).
 *
 * Repeats of ours start where the library says, from what was read up to that moment: the simulation goes on from repeat to
 * repeat. Bursts of others come when they like, or in the rhythm of the sensor. */
#include "bench/accuracy/bursts.h"

#include <math.h>

#define BURSTS_MAX   64
#define REPEATS      8
#define OTHERS_MIN   32
#define OTHERS_MAX   40
#define LEAD_S       4.0
#define FOLLOW_S     6.0
#define FALL_S       0.04 /* after a burst its power has fallen */
#define START_LATE_S 1e-3 /* a request leaves so much after its moment, at most */

struct bursts {
    struct truth truth;
    struct drawn level;
    double on[BURSTS_MAX], off[BURSTS_MAX];
    size_t n;
    bool two;        /* prefill then decode; else decode alone */
    double prefill;  /* share of the burst */
    double length_s; /* usual */
};

static void add_burst(struct bursts *b, double on, struct chance *c)
{
    double d = b->length_s * uniform(c, 0.99, 1.01), level = uniform(c, 0.99, 1.01);
    if (b->two)
        truth_step(&b->truth, on, level * b->level.prefill);
    truth_step(&b->truth, on + (b->two ? b->prefill * d : 0), level * b->level.decode);
    truth_step(&b->truth, on + d, b->level.idle);
    b->on[b->n] = on;
    b->off[b->n++] = on + d;
}

/* Noise anew over all steps so far; the same chance gives the same noise where the steps are the same. */
static bool renew(const struct row *row, struct bursts *b, double end_s, struct chance c)
{
    struct truth *t = &b->truth;
    truth_forget_noise(t);
    return shake(row, t, end_s, &c);
}

static bool read_until(const struct row *row, const struct known *known, struct bursts *b, double end_s, uint64_t seed,
                       struct chance c, struct sim_device *device, struct joulet_trace *trace)
{
    joulet_trace_release(trace);
    *trace = (struct joulet_trace){.channel = known->channel};
    device_init(device, known, &b->truth, seed);
    struct reader reader = reader_of(row, b->length_s, known->channel.power_max_w);
    return read_device(device, &reader, NULL, 0, end_s, &c, trace);
}

/* ---- when they come -------------------------------------------------------------------------------------------------------- */

static bool draw_repeats(const struct row *row, const struct known *known, struct bursts *b, uint64_t seed, struct chance *c,
                         struct sim_device *device, struct joulet_trace *trace)
{
    struct chance noise = chance_of(jl_rng_next(&c->rng), "noise", 0), reads = chance_of(jl_rng_next(&c->rng), "reads", 0);
    for (size_t k = 0; k < REPEATS; k++) {
        double earliest = k ? b->off[k - 1] + uniform(c, 0.15, 0.3) : LEAD_S + uniform(c, 0, 0.1);
        if (!renew(row, b, earliest + 1, noise) || !read_until(row, known, b, earliest, seed, reads, device, trace))
            return false;
        add_burst(b, jl_s(joulet_phase_start(trace, k, jl_ns(earliest))) + uniform(c, 0, START_LATE_S), c);
    }
    double end = b->off[b->n - 1] + FOLLOW_S;
    return renew(row, b, end, noise) && read_until(row, known, b, end, seed, reads, device, trace);
}

static bool draw_others(const struct row *row, const struct known *known, struct bursts *b, uint64_t seed, struct chance *c,
                        struct sim_device *device, struct joulet_trace *trace)
{
    size_t n = OTHERS_MIN + (size_t)jl_rng_below(&c->rng, OTHERS_MAX - OTHERS_MIN + 1);
    double on = LEAD_S + uniform(c, 0, 0.1), period = known->model.period_s;
    double rhythm = period * (ceil((b->length_s + 0.08) / period) + (double)jl_rng_below(&c->rng, 3)) * uniform(c, 0.998, 1.002);
    for (size_t k = 0; k < n; k++) {
        add_burst(b, on, c);
        on = row->aliased ? on + rhythm : b->off[k] + uniform(c, 0.08, 0.4);
    }
    double end = b->off[n - 1] + FOLLOW_S;
    struct chance reads = chance_of(jl_rng_next(&c->rng), "reads", 0);
    return renew(row, b, end, *c) && read_until(row, known, b, end, seed, reads, device, trace);
}

/* ---- what meters say --------------------------------------------------------------------------------------------- */

/* What a burst drew above idle, its fall included. */
static double drawn_j(const struct bursts *b, size_t i)
{
    double end = b->off[i] + FALL_S;
    return truth_energy(&b->truth, end) - truth_energy(&b->truth, b->on[i]) - b->level.idle * (end - b->on[i]);
}

/* Of all bursts together, divided by `parts`. */
static struct asked truth_of(const struct bursts *b, double parts)
{
    struct asked a = {.net = true};
    for (size_t i = 0; i < b->n; i++) {
        a.gross_j += (truth_energy(&b->truth, b->off[i]) - truth_energy(&b->truth, b->on[i])) / parts;
        a.truth_j += drawn_j(b, i) / parts;
    }
    return a;
}

static void plain(const struct bursts *b, const struct sim_device *device, struct outcome *out)
{
    double raw = 0, straight = 0, truth = truth_of(b, 1).truth_j;
    for (size_t i = 0; i < b->n; i++) {
        double r, s, idle = b->level.idle * (b->off[i] - b->on[i]);
        plain_between(device, b->on[i], b->off[i], &r, &s);
        raw += r - idle;
        straight += s - idle;
    }
    out->raw = raw / truth - 1;
    out->trapezoid = straight / truth - 1;
}

static bool measure(const struct row *row, const struct bursts *b, const struct joulet_trace *trace, struct outcome *out)
{
    joulet_mark on[BURSTS_MAX], off[BURSTS_MAX];
    struct joulet_baseline idle = {.power_w = b->level.idle, .u_w = 0, .sd_w = 0.02 * b->level.idle};
    struct joulet_energy e;
    bool ours = row->shape == SHAPE_REPEATS;
    for (size_t i = 0; i < b->n; i++) {
        on[i] = jl_ns(b->on[i]);
        off[i] = jl_ns(b->off[i]);
    }
    enum joulet_status status =
        ours ? joulet_block(trace, &idle, on, off, b->n, 0, &e, NULL) : joulet_bursts(trace, &idle, on, off, b->n, &e, NULL);
    if (status != JOULET_OK && status != JOULET_TOO_SHORT)
        return false;
    struct asked asked = truth_of(b, ours ? (double)b->n : 1);
    outcome_of(&asked, &e, out);
    return true;
}

void bursts_run(const struct row *row, double d, const struct levels *levels, const struct known *known, struct chance *c,
                struct outcome *out)
{
    struct bursts b = {.level = draw_levels(row, levels, c)};
    struct joulet_trace trace = {.channel = known->channel};
    struct sim_device device;
    b.length_s = draw_length(d, c);
    b.two = uniform(c, 0, 1) < (row->shape == SHAPE_REPEATS ? 0.5 : row->two_levels ? 1 : 0);
    b.prefill = uniform(c, 0.2, 0.6);
    truth_step(&b.truth, 0, b.level.idle);
    uint64_t seed = jl_rng_next(&c->rng);
    bool ours = row->shape == SHAPE_REPEATS;
    if (ours ? draw_repeats(row, known, &b, seed, c, &device, &trace) : draw_others(row, known, &b, seed, c, &device, &trace)) {
        out->ok = measure(row, &b, &trace, out);
        plain(&b, &device, out);
    }
    joulet_trace_release(&trace);
    truth_release(&b.truth);
}
