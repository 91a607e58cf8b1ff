/* faults.c - what can be wrong with a trace: restarts, failed reads, a counter that stands still, a device that left
 * (docs/method.md 1.2). A failed read is never a zero and never a wrap: it only makes an interval longer. */
#include "lib/meter/estimators.h"

#include <math.h>

#define STILL_PERIODS 20  /* a counter that misses so many updates ... */
#define STILL_S       0.1 /* ... and is silent for so long does not move */
#define MODEST_W      1.0 /* less than any device worth a sensor draws */
#define GONE_READS    3   /* failed reads in a row at the end */
#define GONE_PERIODS  3

const char *jl_channel_name(const struct joulet_trace *trace)
{
    return trace->channel.id && *trace->channel.id ? trace->channel.id : "this channel";
}

enum joulet_status jl_check_trace(const struct joulet_trace *trace, struct joulet_error *err)
{
    const struct joulet_channel *ch = &trace->channel;
    if (ch->quantity != JOULET_ENERGY && ch->quantity != JOULET_POWER)
        return jl_fail(err, JOULET_USAGE, "%s reports neither energy nor power; choose a counter or a power channel",
                       jl_channel_name(trace));
    if (trace->n == 0 || !trace->samples)
        return jl_fail(err, JOULET_NO_DATA, "%s has no samples; open the meter before the work begins", jl_channel_name(trace));
    return jl_ok(err);
}

/* A counter that falls has restarted too. */
size_t jl_next_restart(const struct jl_slice *s, size_t from)
{
    if (s->trace->channel.quantity != JOULET_ENERGY)
        return s->hi;
    bool any = false;
    int64_t last = 0;
    for (size_t i = from; i < s->hi; i++) {
        const struct joulet_sample *x = &s->trace->samples[i];
        bool failed = x->flags & JOULET_SAMPLE_FAILED;
        if (i > from && ((x->flags & JOULET_SAMPLE_RESET) || (any && !failed && x->value < last)))
            return i;
        if (failed)
            continue;
        last = x->value;
        any = true;
    }
    return s->hi;
}

/* Time of the last good sample before index i. */
static int64_t good_before(const struct jl_slice *s, size_t i)
{
    while (i > s->lo && (s->trace->samples[i - 1].flags & JOULET_SAMPLE_FAILED))
        i--;
    return i > s->lo ? s->trace->samples[i - 1].t_ns : INT64_MIN;
}

bool jl_cut_at_restarts(struct jl_slice *s, int64_t from_ns, int64_t to_ns)
{
    for (size_t i = jl_next_restart(s, s->lo); i < s->hi; i = jl_next_restart(s, i)) {
        if (good_before(s, i) >= to_ns) {
            s->hi = i;
            return true;
        }
        if (s->trace->samples[i].t_ns > from_ns)
            return false;
        s->lo = i;
    }
    return true;
}

bool jl_any_failed(const struct joulet_trace *trace, int64_t from_ns, int64_t to_ns)
{
    for (size_t i = jl_first_at(trace, from_ns); i < trace->n && trace->samples[i].t_ns <= to_ns; i++)
        if (trace->samples[i].flags & JOULET_SAMPLE_FAILED)
            return true;
    return false;
}

bool jl_is_calm(const struct jl_slice *s)
{
    uint32_t seen = 0;
    for (size_t i = s->lo; i < s->hi; i++)
        seen |= s->trace->samples[i].flags;
    return !(seen & (JOULET_SAMPLE_FAILED | JOULET_SAMPLE_STARVED));
}

/* The wait lies between the sample before and the flagged one. */
bool jl_any_starved(const struct joulet_trace *trace, int64_t from_ns, int64_t to_ns)
{
    for (size_t i = jl_first_at(trace, from_ns); i < trace->n; i++) {
        if ((trace->samples[i].flags & JOULET_SAMPLE_STARVED) && (i == 0 || trace->samples[i - 1].t_ns < to_ns))
            return true;
        if (trace->samples[i].t_ns > to_ns)
            return false;
    }
    return false;
}

/* So long a counter may stand at power_w without anything being wrong with it. */
static double still_s(const struct jl_params *p, double power_w)
{
    double enough_s = fmax(STILL_PERIODS * p->U, STILL_S);
    double watts = power_w > 0 ? power_w : MODEST_W;
    return watts / 2 * enough_s < 2 * p->q ? 4 * p->q / watts : enough_s;
}

bool jl_is_frozen(const struct joulet_trace *trace, const struct jl_params *p, int64_t from_ns, int64_t to_ns, double power_w)
{
    if (p->gauge || trace->n == 0)
        return false;
    double enough_s = still_s(p, power_w);
    const struct joulet_sample *all = trace->samples;
    size_t start = jl_first_at(trace, from_ns), lo, hi;
    start = start > 0 ? start - 1 : 0;
    int64_t first = all[start].t_ns, last = first, value = all[start].value;
    if (all[start].flags & JOULET_SAMPLE_FAILED)
        return false;
    for (hi = start + 1; hi < trace->n; hi++) {
        if (all[hi].flags & JOULET_SAMPLE_FAILED)
            continue;
        if (all[hi].value != value || (last >= to_ns && jl_s(last - first) >= enough_s))
            break;
        last = all[hi].t_ns;
    }
    for (lo = start; lo > 0 && jl_s(last - first) < enough_s; lo--) {
        if (all[lo - 1].flags & JOULET_SAMPLE_FAILED)
            continue;
        if (all[lo - 1].value != value)
            break;
        first = all[lo - 1].t_ns;
    }
    return (last >= to_ns || hi == trace->n) && jl_s(last - first) >= enough_s;
}

bool jl_stopped(const struct joulet_trace *trace, const struct jl_params *p, double power_w, int64_t *last_ns)
{
    const struct joulet_sample *all = trace->samples, *end = NULL;
    if (p->gauge)
        return false;
    for (size_t i = trace->n; i-- > 0;) {
        if (all[i].flags & JOULET_SAMPLE_FAILED)
            continue;
        if (!end)
            end = &all[i];
        if (all[i].value != end->value)
            return jl_s(end->t_ns - *last_ns) >= still_s(p, power_w);
        *last_ns = all[i].t_ns;
    }
    return false; /* it never moved, or there is nothing */
}

/* A device may stand still for a while before it says that it is gone: its counter tells nothing of that time. */
static int64_t last_move(const struct joulet_trace *trace, size_t good)
{
    const struct joulet_sample *all = trace->samples;
    int64_t moved = all[good - 1].t_ns;
    for (size_t i = good; i-- > 0;) {
        if (all[i].flags & JOULET_SAMPLE_FAILED)
            continue;
        if (all[i].value != all[good - 1].value)
            return moved;
        moved = all[i].t_ns;
    }
    return all[good - 1].t_ns; /* it never moved */
}

bool jl_is_gone(const struct joulet_trace *trace, const struct jl_params *p, int64_t *last_ns)
{
    size_t good = trace->n;
    while (good > 0 && (trace->samples[good - 1].flags & JOULET_SAMPLE_FAILED))
        good--;
    if (good == 0 || trace->n - good < GONE_READS)
        return false;
    *last_ns = trace->samples[good - 1].t_ns;
    bool gone = jl_s(trace->samples[trace->n - 1].t_ns - *last_ns) >= GONE_PERIODS * p->U;
    if (gone && !p->gauge)
        *last_ns = last_move(trace, good);
    return gone;
}
