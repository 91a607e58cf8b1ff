/* watch.c - what happened to the machine during a measurement (5.3): a run is flagged for a recorded cause, never for its
 * figure. Pure: two looks at the machine in, flags out; traces of clocks and throttling in, a mean and bits out. */
#include "lib/base/base.h"

#include <math.h>

#define TICKS_S        0.2  /* the kernel counts processor time in ticks of 10 ms: less tells nothing */
#define FOREIGN_THREAD 0.1  /* all three must be exceeded: hardware threads, */
#define FOREIGN_KNOWN  0.1  /* share of what the known processes took, */
#define FOREIGN_SHARE  0.05 /* share of the machine */
#define SLEPT_S        0.05 /* suspend takes longer; the two clocks are not read at one instant */
#define STEP_S         0.1  /* setting the clock; */
#define SLEW           6e-4 /* adjusting it changes its rate by at most 500 ppm */
#define CLOCK_CHANGE   0.05
#define CLOCK_READINGS 3

static double gain(double before, double after)
{
    return after >= before ? after - before : NAN;
}

static bool is_foreign(double foreign_s, double known_s, double total_s, double d_s)
{
    return d_s >= TICKS_S && foreign_s > FOREIGN_THREAD * d_s && foreign_s > FOREIGN_KNOWN * known_s &&
           foreign_s > FOREIGN_SHARE * total_s;
}

void joulet_watch(const struct joulet_surroundings *before, const struct joulet_surroundings *after, struct joulet_watched *out)
{
    double d_s = jl_s(after->t_ns - before->t_ns);
    double busy_s = gain(before->busy_s, after->busy_s), known_s = gain(before->known_s, after->known_s);
    double step_s = after->wall_s - before->wall_s, slept_s = gain(before->asleep_s, after->asleep_s);
    *out = (struct joulet_watched){.foreign_threads = NAN};
    if (d_s > 0 && isfinite(busy_s) && isfinite(known_s)) {
        out->foreign_threads = fmax(0, busy_s - known_s) / d_s;
        if (is_foreign(busy_s - known_s, known_s, gain(before->total_s, after->total_s), d_s))
            out->flags |= JOULET_FLAG_FOREIGN_LOAD;
    }
    if (slept_s > SLEPT_S) {
        out->slept_s = slept_s;
        out->flags |= JOULET_FLAG_CLOCK_STEP;
    }
    /* The wall clock goes on while the monotonic one sleeps: that is no setting of it. */
    if (isfinite(step_s) && isfinite(slept_s) && fabs(step_s - slept_s) > STEP_S + SLEW * d_s) {
        out->stepped_s = step_s - slept_s;
        out->flags |= JOULET_FLAG_CLOCK_STEP;
    }
    if (before->throttle_events >= 0 && after->throttle_events > before->throttle_events) {
        out->throttle_events = after->throttle_events - before->throttle_events;
        out->flags |= JOULET_FLAG_THROTTLED;
    }
    if (before->clock_limit_khz > 0 && after->clock_limit_khz > 0 &&
        joulet_clock_changed((double)before->clock_limit_khz, (double)after->clock_limit_khz))
        out->flags |= JOULET_FLAG_CLOCK_CHANGE;
}

double joulet_clock_in(const struct joulet_trace *trace, joulet_mark from, joulet_mark to)
{
    double sum = 0, time_s = 0, last_hz = NAN;
    joulet_mark at = from;
    size_t inside = 0;
    for (size_t k = 0; k < trace->n && trace->samples[k].t_ns < to; k++) {
        const struct joulet_sample *x = &trace->samples[k];
        if (x->flags & JOULET_SAMPLE_FAILED)
            continue;
        if (x->t_ns >= from) {
            if (isfinite(last_hz)) {
                sum += last_hz * jl_s(x->t_ns - at);
                time_s += jl_s(x->t_ns - at);
            }
            at = x->t_ns;
            inside++;
        }
        last_hz = (double)x->value;
    }
    if (inside < CLOCK_READINGS)
        return NAN;
    sum += last_hz * jl_s(to - at);
    time_s += jl_s(to - at);
    return time_s > 0 ? sum / time_s : NAN;
}

bool joulet_clock_changed(double reference_hz, double clock_hz)
{
    return fabs(clock_hz - reference_hz) > CLOCK_CHANGE * reference_hz; /* NAN: false */
}

uint32_t joulet_throttled_in(const struct joulet_trace *trace, joulet_mark from, joulet_mark to)
{
    uint32_t bits = 0, held = 0;
    for (size_t k = 0; k < trace->n && trace->samples[k].t_ns < to; k++) {
        const struct joulet_sample *x = &trace->samples[k];
        if (x->flags & JOULET_SAMPLE_FAILED)
            continue;
        if (x->t_ns < from)
            held = (uint32_t)x->value;
        else
            bits |= (uint32_t)x->value;
    }
    return bits | held;
}

void joulet_keep_of(double l0_w, double u_l0_w, double l1_w, double u_l1_w, double load_j, double u_load_j,
                    struct joulet_keep *out)
{
    double keep_w = l1_w - l0_w, u_w = hypot(u_l0_w, u_l1_w);
    double lo_w = keep_w - 2 * u_w, hi_w = keep_w + 2 * u_w, lo_j = fmax(0, load_j - 2 * u_load_j), hi_j = load_j + 2 * u_load_j;
    *out = (struct joulet_keep){keep_w, u_w, NAN, NAN, NAN};
    /* Without a power that can be told from nothing there is no time after which it has cost something. */
    if (!(keep_w > 0) || !(keep_w > u_w) || !isfinite(load_j) || !isfinite(u_load_j) || load_j < 0)
        return;
    out->break_even_s = load_j / keep_w;
    out->from_s = lo_j / hi_w;
    out->to_s = lo_w > 0 ? hi_j / lo_w : INFINITY;
}
