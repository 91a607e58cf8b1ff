/* live.c - rows of power and energy from a running meter. The joules are made by joulet.h: each row measures the stretch that is
 * still open, and what lies far enough back is summed up and let go. See live.h. */
#include "report/live.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLOSE_S        4.0 /* a stretch longer than this gives away all but ... */
#define KEEP_S         2.0 /* ... its newest part, which late updates may still change */
#define SLOW_UPDATES   8.0 /* and never less than so many updates of a slow device */
#define SILENT_S       0.1 /* a device without an update for so long, */
#define SILENT_UPDATES 3.0 /* and for so many periods, does not answer */

bool live_is_power(const struct joulet_channel *ch)
{
    return ch->quantity == JOULET_ENERGY || ch->quantity == JOULET_POWER;
}

static const struct {
    const char *name, *unit, *ascii, *si;
    double raw; /* SI units in one unit of a sample */
    double scale;
} quantities[] = {
    [JOULET_ENERGY] = {"energy", "W", "W", "w", 1e-6, 1},
    [JOULET_POWER] = {"power", "W", "W", "w", 1e-6, 1},
    [JOULET_TEMPERATURE] = {"temperature", "°C", "C", "c", 1e-3, 1},
    [JOULET_CLOCK] = {"clock", "MHz", "MHz", "hz", 1, 1e-6},
    [JOULET_UTILISATION] = {"in use", "%", "%", "share", 1e-6, 100},
    [JOULET_MEMORY_USED] = {"memory", "MiB", "MiB", "bytes", 1, 1.0 / 1048576},
    [JOULET_POWER_LIMIT] = {"power limit", "W", "W", "w", 1e-6, 1},
    [JOULET_THROTTLE] = {"throttled", "", "", "bits", 1, 1},
};

const char *live_unit(enum joulet_quantity q, bool utf8, double *scale)
{
    *scale = quantities[q].scale;
    return utf8 ? quantities[q].unit : quantities[q].ascii;
}

const char *live_quantity_name(enum joulet_quantity q)
{
    return quantities[q].name;
}

const char *live_si(enum joulet_quantity q)
{
    return quantities[q].si;
}

/* ---- opening ------------------------------------------------------------------------------------------------------ */

static enum joulet_status take_channels(struct live *l, struct joulet_error *err)
{
    bool any = false;
    l->n = joulet_channel_count(l->meter);
    l->channels = calloc(l->n + 1, sizeof *l->channels);
    if (!l->channels)
        return jl_fail(err, JOULET_MEMORY, "out of memory; end other programs and try again");
    for (size_t i = 0; i < l->n; i++) {
        struct live_channel *x = &l->channels[i];
        joulet_channel_get(l->meter, i, &x->ch);
        x->now = NAN;
        x->energy = x->closed = (struct joulet_energy)JOULET_ENERGY_UNKNOWN;
        any |= live_is_power(&x->ch);
    }
    if (any)
        return jl_ok(err);
    return jl_fail(err, JOULET_NO_SENSOR, "no sensor here reports power or energy; `joulet doctor` shows what is in the way");
}

enum joulet_status live_begin(struct live *l, struct joulet *meter, joulet_mark start, struct joulet_error *err)
{
    *l = (struct live){.meter = meter, .start = start, .last = start, .total_w = NAN, .total = JOULET_ENERGY_UNKNOWN};
    enum joulet_status st = take_channels(l, err);
    for (size_t i = 0; i < l->n && st == JOULET_OK; i++)
        l->channels[i].open = start;
    return st;
}

void live_end(struct live *l)
{
    for (size_t i = 0; i < l->n; i++)
        live_stats_release(&l->channels[i].stats);
    live_stats_release(&l->total_stats);
    free(l->channels);
    *l = (struct live){0};
}

bool live_is_estimate(const struct joulet_channel *ch)
{
    return ch->provenance == JOULET_ESTIMATED || ch->factor_lo < ch->factor_hi;
}

bool live_is_pushed(const char *sensor)
{
    struct joulet_sensor row;
    for (size_t i = 0; joulet_sensor_get(i, &row) == JOULET_OK; i++)
        if (strcmp(row.name, sensor) == 0)
            return false;
    return true;
}

bool live_measures(const struct live *l)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->channels[i].ch.in_total && !live_is_estimate(&l->channels[i].ch))
            return true;
    return false;
}

/* ---- rows --------------------------------------------------------------------------------------------------------- */

/* Newest sample without the flags; NULL when there is none. */
static const struct joulet_sample *newest(const struct joulet_trace *t, uint32_t without)
{
    for (size_t i = t->n; i-- > 0;)
        if (!(t->samples[i].flags & without))
            return &t->samples[i];
    return NULL;
}

/* When the device last said something new. A counter that is read well and does not move says nothing: a draw of nothing at all
 * would be a wrong measurement that looks right. */
static const struct joulet_sample *last_update(const struct joulet_trace *t)
{
    const struct joulet_sample *last = newest(t, JOULET_SAMPLE_FAILED | JOULET_SAMPLE_LAST);
    if (!last || t->channel.quantity != JOULET_ENERGY)
        return last;
    for (const struct joulet_sample *s = last; s-- > t->samples;) {
        if (s->flags & JOULET_SAMPLE_FAILED)
            continue;
        if (s->value != last->value)
            return last;
        last = s;
    }
    return last;
}

static void close_old(struct live_channel *x, const struct joulet_measured *m, joulet_mark kept_from)
{
    if (x->any_closed)
        joulet_energy_chain(&x->closed, &m->parts[0]);
    else
        x->closed = m->parts[0];
    x->any_closed = true;
    x->open = kept_from;
}

/* Energy from the opening of the stretch to the row's end, and what lies before `split` of it. */
static enum joulet_status measure(const struct joulet_trace *t, joulet_mark from, joulet_mark split, joulet_mark to,
                                  struct joulet_measured *m)
{
    joulet_mark bounds[3] = {from, split, to};
    struct joulet_what what = {.bounds = bounds, .n_phases = 2};
    if (split <= from) {
        bounds[1] = to;
        what.n_phases = 1;
    }
    return joulet_measure(t, NULL, &what, m, NULL);
}

/* Mean power of the row; for a row shorter than the device's updates, of the newest updates. */
static double row_power(const struct joulet_trace *t, const struct live_channel *x, joulet_mark from, joulet_mark to)
{
    struct joulet_power p;
    joulet_mark wide = to - jl_ns(SLOW_UPDATES / 2 * x->ch.period_s);
    joulet_power_in(t, from, to, &p);
    if (isnan(p.mean_w) && wide < from)
        joulet_power_in(t, wide, to, &p);
    return p.mean_w;
}

/* A stretch that cannot be measured: the energy goes on after it, and says that it lacks something. */
static void leave_out(struct live_channel *x, uint32_t flag, joulet_mark until)
{
    x->open = until;
    x->closed = x->energy;
    x->closed.flags |= flag;
    x->any_closed = !isnan(x->closed.gross_j);
    x->energy.flags |= flag;
}

static void take_energy(struct live_channel *x, const struct joulet_energy *open)
{
    x->energy = x->any_closed ? x->closed : *open;
    if (x->any_closed)
        joulet_energy_chain(&x->energy, open);
}

/* A device that has fallen silent: its energy ends with its last update, its power is not known. A counter that comes back
 * makes up for the gap. */
static void silent_row(struct live_channel *x, const struct joulet_trace *t, const struct joulet_sample *last)
{
    struct joulet_measured m;
    x->silent = true;
    if (!last || last->t_ns <= x->open || measure(t, x->open, x->open, last->t_ns, &m) != JOULET_OK || isnan(m.whole.gross_j))
        return;
    take_energy(x, &m.whole);
    x->energy.flags |= JOULET_FLAG_GAP;
}

static void power_row(struct live *l, struct live_channel *x, const struct joulet_trace *t, joulet_mark until)
{
    struct joulet_measured m;
    const struct joulet_sample *last = last_update(t);
    double slow_s = SLOW_UPDATES * x->ch.period_s, keep_s = fmax(KEEP_S, slow_s), close_s = fmax(CLOSE_S, 2 * slow_s);
    x->silent = false;
    if (!last || jl_s(until - last->t_ns) > fmax(SILENT_S, SILENT_UPDATES * x->ch.period_s)) {
        silent_row(x, t, last);
        return;
    }
    enum joulet_status st = measure(t, x->open, l->last, until, &m);
    if (st == JOULET_RESET) {
        leave_out(x, JOULET_FLAG_RESET, until);
        return;
    }
    if (st == JOULET_OK && !isnan(m.whole.gross_j)) {
        take_energy(x, &m.whole);
        x->now = (l->last > x->open ? m.parts[1] : m.whole).gross_j / jl_s(until - l->last);
    }
    if (isnan(x->now))
        x->now = row_power(t, x, l->last, until);
    joulet_mark kept_from = until - jl_ns(keep_s);
    if (jl_s(until - x->open) > close_s && measure(t, x->open, kept_from, until, &m) == JOULET_OK && !isnan(m.parts[0].gross_j))
        close_old(x, &m, kept_from);
}

static void channel_row(struct live *l, size_t i, joulet_mark until)
{
    struct live_channel *x = &l->channels[i];
    struct joulet_trace t = {0};
    joulet_mark from = live_is_power(&x->ch) ? x->open : l->last;
    x->now = NAN;
    if (joulet_trace_copy(l->meter, i, from, until, &t, NULL) != JOULET_OK) {
        leave_out(x, JOULET_FLAG_TRACE_LOST, until);
    } else if (live_is_power(&x->ch)) {
        power_row(l, x, &t, until);
    } else {
        const struct joulet_sample *s = newest(&t, JOULET_SAMPLE_FAILED);
        x->now = s ? (double)s->value * quantities[x->ch.quantity].raw : NAN;
    }
    joulet_trace_release(&t);
}

/* Channels of one type of sensor share the error of their type (3). */
static void add_type(struct live *l, size_t first)
{
    struct joulet_energy sum = JOULET_ENERGY_UNKNOWN;
    const char *type = l->channels[first].ch.sensor;
    for (size_t i = 0; i < first; i++)
        if (l->channels[i].ch.in_total && strcmp(l->channels[i].ch.sensor, type) == 0)
            return;
    for (size_t i = first; i < l->n; i++)
        if (l->channels[i].ch.in_total && strcmp(l->channels[i].ch.sensor, type) == 0)
            joulet_energy_add(&sum, &l->channels[i].energy, true);
    joulet_energy_add(&l->total, &sum, false);
}

const char *live_total_text(const struct joulet_channel *channels, size_t n, char *buf, size_t size)
{
    bool played = false;
    for (size_t i = 0; i < n; i++)
        played = played || (channels[i].in_total && channels[i].provenance == JOULET_SIMULATED);
    joulet_total_text(channels, n, buf, size);
    char *lacks = strstr(buf, "; lacks");
    size_t end = lacks ? (size_t)(lacks - buf) : strlen(buf);
    if (played && end)
        snprintf(buf + end, size - end, " (simulated)");
    return buf;
}

/* An estimate covers the whole processor; what measures lacks the part that may not be read. */
static bool may_not_be_read(struct joulet *m)
{
    struct joulet_problem p;
    for (size_t i = 0; i < joulet_problem_count(m); i++)
        if (joulet_problem_get(m, i, &p) == JOULET_OK && p.status == JOULET_PERMISSION)
            return true;
    return false;
}

void live_row(struct live *l, joulet_mark until)
{
    double total = 0;
    size_t parts = 0;
    for (size_t i = 0; i < l->n; i++)
        channel_row(l, i, until);
    l->total = (struct joulet_energy)JOULET_ENERGY_UNKNOWN;
    for (size_t i = 0; i < l->n; i++) {
        if (!l->channels[i].ch.in_total)
            continue;
        total += l->channels[i].now;
        parts++;
        add_type(l, i);
    }
    l->total_w = parts ? total : NAN;
    l->refused = l->refused || may_not_be_read(l->meter);
    if (l->refused && isfinite(l->total.gross_j) && l->total.provenance != JOULET_ESTIMATED)
        l->total.flags |= JOULET_FLAG_PARTIAL;
    l->last = until;
}

void live_count(struct live *l, double dt_s)
{
    for (size_t i = 0; i < l->n; i++)
        if (live_is_power(&l->channels[i].ch))
            live_stats_add(&l->channels[i].stats, l->channels[i].now, dt_s);
    live_stats_add(&l->total_stats, l->total_w, dt_s);
}
