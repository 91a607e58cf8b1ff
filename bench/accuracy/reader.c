/* reader.c - polls that come a little late, one in a hundred by milliseconds; a wake-up after each event; reads that take their
 * time. It repeats the loop of lib/meter/sampler.c and sampler_lock.c over a clock of its own; everything that is decided about
 * the readings is decided by lib/meter/updates.c itself (docs/method.md 1.3). */
#include "bench/accuracy/reader.h"

#include "lib/meter/updates.h"
#include "lib/sensors/sensor.h"

#include <math.h>
#include <stdlib.h>

#define DELAY     0.1   /* a poll comes late by up to this share of the usual distance */
#define LATE      0.01  /* this share of polls ... */
#define LATE_S    5e-3  /* ... comes late by so much more, in the mean */
#define WAKE_LO_S 20e-6 /* from an event to the first read after it */
#define WAKE_HI_S 300e-6
#define KEPT      (JOULET_SAMPLE_LOCKED | JOULET_SAMPLE_FAILED | JOULET_SAMPLE_RESET)

struct session {
    struct sim_device *d;
    const struct reader *r;
    struct chance *c;
    struct joulet_trace *trace;
    size_t room;
    struct updates u;
    struct jl_spans spans;
    int64_t seen; /* number of the update that the last read showed */
    bool failed;  /* out of memory */
};

/* Ascending in time, as the library keeps its samples. */
static void push(struct session *s, struct joulet_sample x)
{
    struct joulet_trace *t = s->trace;
    if (t->n == s->room) {
        size_t room = s->room ? 2 * s->room : 512;
        struct joulet_sample *more = realloc(t->samples, room * sizeof(*more));
        s->failed = s->failed || !more;
        if (!more)
            return;
        t->samples = more;
        s->room = room;
    }
    if (t->n && x.t_ns <= t->samples[t->n - 1].t_ns) {
        int64_t moved = t->samples[t->n - 1].t_ns + 1;
        x.hw_ns += (uint32_t)(moved - x.t_ns);
        x.t_ns = moved;
    }
    t->samples[t->n++] = x;
}

/* An update known exactly replaces what polls said of the time around it. */
static void retract(struct session *s, int64_t t_ns)
{
    struct joulet_trace *t = s->trace;
    while (t->n > 1 && t->samples[t->n - 1].t_ns > t_ns && !(t->samples[t->n - 1].flags & KEPT))
        t->n--;
}

/* What the device was found to do replaces what its kind usually does, but not what a calibration found. */
static void tell_period(struct session *s)
{
    struct joulet_channel *ch = &s->trace->channel;
    double found = jl_s(s->u.period_ns);
    if (!s->u.period_found || ch->calibrated || fabs(found - ch->period_s) <= 0.002 * found)
        return;
    ch->period_s = found;
    if (ch->contiguous)
        ch->window_s = found;
}

static int64_t read_value(struct session *s, double t_s)
{
    struct sim_read read;
    sim_device_read(s->d, t_s, &read);
    return read.u.value;
}

/* One read that begins at t; returns its end. */
static double read_once(struct session *s, double t_s)
{
    struct joulet_sample sample;
    double cost = s->r->cost_max_s > 0 ? uniform(s->c, s->r->cost_s, s->r->cost_max_s) : s->r->cost_s, end = t_s + cost;
    double said = s->r->cost_max_s > 0 ? uniform(s->c, t_s, end) : t_s; /* when the device answered */
    struct sim_read shown;
    sim_device_read(s->d, said, &shown);
    bool again = shown.u.k == s->seen;
    s->seen = shown.u.k;
    if (s->d->m.spans && again) /* no text since the last one */
        return end;
    struct updates_read read = {.t0_ns = jl_ns(t_s), .t1_ns = jl_ns(end), .value = shown.u.value};
    if (s->d->m.spans)
        read.own_ns = jl_ns(jl_spans_end(&s->spans, t_s, shown.u.span_s));
    else if (s->d->m.own_time)
        read.own_ns = jl_ns(shown.u.own_s);
    if (updates_from(&s->u, &read, &sample)) {
        push(s, sample);
        tell_period(s);
    }
    return end;
}

/* Without pause until the value changes, and on until `until`; given up after one and a half periods. */
static double read_locked(struct session *s, double t_s, double until_s)
{
    double since = t_s + s->r->cost_s, longest = 1.5 * jl_s(s->u.period_ns), begun = 0;
    int64_t last = 0;
    for (bool started = false;; started = true) {
        double end = t_s + s->r->cost_s;
        int64_t value = read_value(s, t_s);
        bool changed = started && value != last;
        struct joulet_sample sample;
        if (changed && updates_locked(&s->u, jl_ns(begun), jl_ns(end), value, &sample)) {
            retract(s, sample.t_ns - updates_lock_span(&s->u) - 1);
            push(s, sample);
        }
        since = changed ? end : since;
        if ((changed && end >= until_s) || end - since > longest)
            return end;
        last = value;
        begun = t_s;
        t_s = end;
    }
}

static double lateness(struct session *s, double distance_s)
{
    double late = uniform(s->c, 0, DELAY * fmin(distance_s, s->r->poll_s));
    return uniform(s->c, 0, 1) < LATE ? late + exponential(s->c, LATE_S) : late;
}

static double next_due(const struct session *s, double due_s, double now_s)
{
    double from = due_s > now_s - s->r->poll_s && due_s < now_s ? due_s : now_s;
    double next = jl_s(updates_next(&s->u, jl_ns(from)));
    return next > now_s ? next : now_s + 1e-9;
}

static double at_event(struct session *s, double event_s, double now_s)
{
    double begin = fmax(now_s, event_s + uniform(s->c, WAKE_LO_S, WAKE_HI_S));
    if (!s->r->at_events)
        return now_s;
    return s->r->locked ? read_locked(s, begin, event_s + s->r->all_s) : read_once(s, begin);
}

bool read_device(struct sim_device *d, const struct reader *r, const double *events, size_t n_events, double end_s,
                 struct chance *c, struct joulet_trace *trace)
{
    struct session s = {.d = d, .r = r, .c = c, .trace = trace, .seen = INT64_MIN};
    bool counter = trace->channel.quantity == JOULET_ENERGY;
    double due = uniform(c, 0, r->poll_s), now = 0;
    size_t event = 0;
    updates_init(&s.u, counter ? UPDATES_COUNTER : UPDATES_POWER, jl_ns(r->poll_s), jl_ns(trace->channel.period_s), r->predict,
                 r->limit_w);
    while (now < end_s && !s.failed) {
        double wake = fmax(now, due + lateness(&s, due > now ? due - now : 0));
        while (event < n_events && events[event] <= wake)
            now = at_event(&s, events[event++], now);
        now = read_once(&s, fmax(now, wake));
        due = next_due(&s, due, now);
    }
    return !s.failed && trace->n > 0;
}
