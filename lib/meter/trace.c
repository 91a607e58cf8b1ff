/* trace.c - finding one's way in a trace: what its channel is, and the samples around a moment (docs/method.md 1.1, 1.2). */
#include "lib/meter/estimators.h"

#include <math.h>

#define DENSE_BELOW_S 10e-3 /* counters updating faster are read more slowly than they change (2.2) */
#define SLOW_S        0.5   /* power readings that come as seldom tell little of the seconds around a boundary (2.2) */
#define WAYS_KNOWN    0.1   /* of the period: who knows the lag of such a device so well knows what its readings are */
#define WHOLE         0.03  /* of a window: as near to a multiple of the period */
#define STEP_W        1e-3  /* power readings come in milliwatts (1.1) */

static double known(double x, double otherwise)
{
    return isfinite(x) ? x : otherwise;
}

/* Mean distance of the samples, for a channel whose period is not known yet. */
static double spacing_s(const struct joulet_trace *t)
{
    return t->n > 1 ? jl_s(t->samples[t->n - 1].t_ns - t->samples[0].t_ns) / (double)(t->n - 1) : 0;
}

/* A window of several updates is made of whole ones: the period, which is seen at every update, tells it better than its name. */
static double whole_updates(double W, double U)
{
    double times = U > 0 ? floor(W / U + 0.5) : 0;
    return times >= 2 && fabs(W - times * U) < WHOLE * W ? times * U : W;
}

void jl_params_of(const struct joulet_trace *trace, struct jl_params *out)
{
    const struct joulet_channel *ch = &trace->channel;
    double U = ch->period_s > 0 ? ch->period_s : spacing_s(trace), W = known(ch->window_s, 0);
    bool power = ch->quantity == JOULET_POWER;
    bool contiguous = power && (ch->contiguous || !(W > 0) || fabs(W - U) < 0.01 * U);
    double lo = ch->factor_lo > 0 ? ch->factor_lo : 1, hi = ch->factor_hi > 0 ? ch->factor_hi : 1;
    bool estimated = ch->provenance == JOULET_ESTIMATED || lo < 1 || hi > 1; /* below a redirected root it is simulated too */
    double lag = known(ch->lag_s, 0), u_t = known(ch->u_lag_s, 0);
    *out = (struct jl_params){
        .U = U,
        .W = contiguous ? U : whole_updates(W, U),
        .q = power ? 0 : known(ch->quantum_j, 0),
        .step_w = ch->quantum_j > 0 ? ch->quantum_j : STEP_W,
        .lag = lag,
        .u_t = u_t,
        .l_max = ch->calibrated ? lag + 3 * u_t : known(ch->lag_max_s, lag + 3 * u_t),
        .u_r = known(ch->rise_s, 0),
        .spec = known(ch->spec, 0),
        .factor_lo = lo,
        .factor_hi = hi,
        .counter = ch->quantity == JOULET_ENERGY || contiguous,
        .gauge = power,
        .estimated = estimated,
        .by_change = U >= DENSE_BELOW_S && !estimated,
        .ways_unknown = u_t >= WAYS_KNOWN * U || (power && !(W > 0)), /* no window: power of one moment */
        .slow = contiguous && !estimated && U >= SLOW_S,
        .dense = U < DENSE_BELOW_S,
    };
}

size_t jl_first_at(const struct joulet_trace *trace, int64_t t_ns)
{
    size_t lo = 0, hi = trace->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (trace->samples[mid].t_ns < t_ns)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

struct jl_slice jl_slice_of(const struct joulet_trace *trace, int64_t from_ns, int64_t to_ns, size_t more, int64_t origin_ns)
{
    size_t lo = jl_first_at(trace, from_ns), hi = jl_first_at(trace, to_ns);
    return (struct jl_slice){
        .trace = trace,
        .lo = lo > more ? lo - more : 0,
        .hi = trace->n - hi > more + 1 ? hi + more + 1 : trace->n,
        .origin_ns = origin_ns,
    };
}
