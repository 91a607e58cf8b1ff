/* updates.c - finding the updates of a device between reads (1.3).
 *
 * Read slower than the device updates, a counter's reading is an update half a period ago. Read faster, an update shows as a
 * change of value between two reads. A power reading may stay equal over an update: one period after the last an update is
 * inserted. Once the period of a slow device is known, the next update is predicted and looked for every millisecond. */
#include "lib/meter/updates.h"

#include <math.h>
#include <stdlib.h>

#define STEP_NS     1000000  /* between reads while an update is due */
#define AHEAD_NS    6000000  /* before the prediction: the jitter of devices */
#define PREDICT_NS  10000000 /* shorter periods are not predicted */
#define ENOUGH      8        /* distances before a period is believed */
#define APART       4        /* reads in a period that tell two updates apart */
#define JITTER_PART 10       /* of a period: no update is further from where it is due */
#define POLLS       3        /* reads in a period, so that its updates and not the reads make the distances */

void updates_init(struct updates *u, enum updates_kind kind, int64_t poll_ns, int64_t period_ns, bool predict, double max_w)
{
    *u = (struct updates){
        .kind = kind, .poll_ns = poll_ns, .period_ns = period_ns, .predict = predict, .max_w = max_w, .locked_ns = INT64_MIN};
}

static bool predicts(const struct updates *u)
{
    return u->predict && u->period_found && u->period_ns >= PREDICT_NS && u->has;
}

/* Reads are so far apart that the device has always updated in between: a reading needs no change to be one. */
static bool reads_are_slow(const struct updates *u)
{
    return u->period_ns > 0 && u->poll_ns * 2 >= u->period_ns * 3;
}

int64_t updates_poll(int64_t poll_ns, int64_t period_ns)
{
    int64_t close = period_ns / APART > STEP_NS ? period_ns / APART : STEP_NS;
    return poll_ns < period_ns && close < poll_ns ? close : poll_ns;
}

static uint32_t clamp_hw(int64_t hw)
{
    return hw > UINT32_MAX ? UINT32_MAX : hw < 0 ? 0 : (uint32_t)hw;
}

static uint32_t flags_of(const struct updates_read *r, bool reset)
{
    return (reset ? JOULET_SAMPLE_RESET : 0u) | (r->late ? JOULET_SAMPLE_LATE : 0u);
}

/* A counter that goes back, or on faster than the device can draw, restarted (1.2). */
static bool was_reset(const struct updates *u, const struct updates_read *r, int64_t t)
{
    if (r->reset || u->kind != UPDATES_COUNTER || !u->has)
        return r->reset;
    if (r->value < u->value)
        return true;
    if (isnan(u->max_w))
        return false;
    double longest_s = jl_s(t - u->edge_ns + u->period_ns + u->poll_ns);
    return (double)(r->value - u->value) * 1e-6 > 1.5 * u->max_w * longest_s;
}

/* ---- the period ------------------------------------------------------------------------------------------------------ */

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The mean of the distances near their median, if most are: a value that stays equal doubles a distance now and then. */
static void find_period(struct updates *u)
{
    int64_t sorted[UPDATES_DISTANCES], sum = 0;
    unsigned n = u->n_distances < UPDATES_DISTANCES ? u->n_distances : UPDATES_DISTANCES, near = 0;
    if (n < ENOUGH)
        return;
    for (unsigned i = 0; i < n; i++)
        sorted[i] = u->distances[i];
    qsort(sorted, n, sizeof(sorted[0]), ascending);
    int64_t median = sorted[n / 2], band = median / 5 > u->poll_ns ? median / 5 : u->poll_ns;
    for (unsigned i = 0; i < n; i++) {
        if (llabs(sorted[i] - median) > band)
            continue;
        sum += sorted[i];
        near++;
    }
    u->period_found = near * 4 >= n * 3 && median >= POLLS * u->poll_ns;
    if (u->period_found)
        u->period_ns = sum / near;
}

static void note_edge(struct updates *u, int64_t t, int64_t hw, bool sharp)
{
    if (u->predict && sharp && u->changed_ns && !u->gap && !reads_are_slow(u)) {
        u->distances[u->n_distances++ % UPDATES_DISTANCES] = t - u->changed_ns;
        find_period(u);
    }
    u->edge_ns = t;
    u->edge_hw = hw;
    u->changed_ns = sharp ? t : 0;
    u->repeats = 0;
    u->gap = false;
}

/* ---- from reads to updates ----------------------------------------------------------------------------------------- */

static bool with_own_time(struct updates *u, const struct updates_read *r, bool reset, struct joulet_sample *out)
{
    if (u->has && r->own_ns <= u->own_ns && !reset)
        return false;
    u->own_ns = r->own_ns;
    u->edge_ns = r->own_ns;
    *out = (struct joulet_sample){.t_ns = r->own_ns, .value = r->value, .flags = reset ? JOULET_SAMPLE_RESET : 0u};
    return true;
}

/* So long without a read that two updates may have come and gone. */
static bool was_blind(const struct updates *u, const struct updates_read *r)
{
    return (r->t0_ns - u->begun_ns) * 20 > u->period_ns * 17;
}

/* The device may have given anything since the last read: some update was between, and its grid goes on. */
static void after_blindness(struct updates *u, const struct updates_read *r, int64_t t, struct joulet_sample *out)
{
    int64_t hw = (r->t1_ns - u->begun_ns) / 2;
    *out =
        (struct joulet_sample){.t_ns = u->begun_ns + hw, .value = r->value, .hw_ns = clamp_hw(hw), .flags = flags_of(r, false)};
    u->edge_ns += (t - u->edge_ns) / u->period_ns * u->period_ns;
}

/* No change for more than one and a half periods: the device gave the same power again. */
static bool repeat(struct updates *u, const struct updates_read *r, int64_t t, struct joulet_sample *out)
{
    if (u->kind != UPDATES_POWER || u->period_ns <= 0 || (t - u->edge_ns) * 2 <= u->period_ns * 3)
        return false;
    u->repeats++;
    if (was_blind(u, r)) {
        after_blindness(u, r, t, out);
        return true;
    }
    u->edge_ns += u->period_ns;
    *out = (struct joulet_sample){
        .t_ns = u->edge_ns, .value = u->value, .hw_ns = clamp_hw(u->edge_hw), .flags = JOULET_SAMPLE_REPEAT};
    return true;
}

/* Updates that are predicted are not read for until shortly before: a late read there must not make the whole period before it
 * the time in which the update may have happened. No update comes so soon after another. */
static int64_t not_before(const struct updates *u, int64_t t0)
{
    int64_t early = u->period_ns / JITTER_PART > AHEAD_NS ? u->period_ns / JITTER_PART : AHEAD_NS;
    int64_t next = u->edge_ns - u->edge_hw + u->period_ns - early;
    bool seen = predicts(u) && u->repeats == 0 && !u->gap;
    return seen && next < t0 ? next : INT64_MIN;
}

/* Earliest moment of an update that a read begun at t0 is the first to see: after the last read began, and not longer ago than
 * the device waits between updates where that is known and the reads do not tell better. */
static int64_t earliest(const struct updates *u, int64_t t0)
{
    int64_t period = u->period_ns, longest = reads_are_slow(u) ? period : period * 3 / 2;
    if (!u->has)
        return t0 - (period > 0 ? period : u->poll_ns);
    int64_t lo = period > 0 && t0 - u->begun_ns > longest ? t0 - longest : u->begun_ns, next = not_before(u, t0);
    return next > lo ? next : lo;
}

static bool change(struct updates *u, const struct updates_read *r, bool reset, struct joulet_sample *out)
{
    int64_t lo = earliest(u, r->t0_ns), hw = (r->t1_ns - lo) / 2, edge = lo + hw;
    bool sharp = u->has && r->t0_ns - lo <= 2 * u->poll_ns && !r->late && !reset;
    note_edge(u, edge, hw, sharp);
    *out = (struct joulet_sample){.t_ns = edge, .value = r->value, .hw_ns = clamp_hw(hw), .flags = flags_of(r, reset)};
    bool near_locked = u->locked_ns != INT64_MIN && edge <= u->locked_ns + updates_lock_span(u);
    return !near_locked || reset;
}

static bool has_updated_since(const struct updates *u, const struct updates_read *r)
{
    return reads_are_slow(u) && r->t0_ns - u->begun_ns >= u->period_ns; /* an event may have had it read twice in a period */
}

bool updates_from(struct updates *u, const struct updates_read *r, struct joulet_sample *out)
{
    int64_t half = (r->t1_ns - r->t0_ns) / 2, t = r->t0_ns + half;
    bool shown, reset = was_reset(u, r, t);
    if (u->kind == UPDATES_GAUGE) {
        *out = (struct joulet_sample){.t_ns = t, .value = r->value, .hw_ns = clamp_hw(half), .flags = flags_of(r, reset)};
        shown = true;
    } else if (r->own_ns) {
        shown = with_own_time(u, r, reset, out);
    } else if (!u->has || reset || r->value != u->value || has_updated_since(u, r)) {
        shown = change(u, r, reset, out);
    } else {
        shown = repeat(u, r, t, out);
    }
    u->has = true;
    u->value = r->value;
    u->shown = shown ? r->value : u->shown;
    u->read_ns = t;
    u->begun_ns = r->t0_ns;
    return shown;
}

void updates_failed(struct updates *u)
{
    u->gap = true;
}

int64_t updates_lock_span(const struct updates *u)
{
    return 2 * u->period_ns;
}

bool updates_locked(struct updates *u, int64_t begin_ns, int64_t end_ns, int64_t value, struct joulet_sample *out)
{
    if (end_ns - begin_ns > u->period_ns) /* several updates may lie between: an ordinary reading */
        return false;
    int64_t hw = (end_ns - begin_ns) / 2, t = begin_ns + hw;
    *out = (struct joulet_sample){.t_ns = t, .value = value, .hw_ns = clamp_hw(hw), .flags = JOULET_SAMPLE_LOCKED};
    u->locked_ns = u->edge_ns = t;
    u->edge_hw = hw;
    u->value = u->shown = value;
    u->read_ns = u->begun_ns = end_ns;
    u->has = true;
    u->gap = false;
    return true;
}

/* ---- when to read -------------------------------------------------------------------------------------------------- */

/* While readings stay equal only the neighbourhood of the prediction is searched; otherwise until it is seen. */
static int64_t search_end(const struct updates *u, int64_t predicted)
{
    return predicted + (u->repeats > 0 ? AHEAD_NS : u->period_ns / 2);
}

bool updates_expected(const struct updates *u, int64_t now_ns)
{
    int64_t predicted = u->edge_ns + u->period_ns;
    return predicts(u) && now_ns >= predicted - AHEAD_NS - 2 * STEP_NS && now_ns < search_end(u, predicted);
}

/* Reads in step with the device would find its updates late by the same time again and again. */
static int64_t out_of_step(const struct updates *u, int64_t due_ns)
{
    if (!u->predict || (u->period_ns > 0 && u->poll_ns >= u->period_ns)) /* once a period at most */
        return u->poll_ns;
    int64_t part = (int64_t)((uint64_t)due_ns * UINT64_C(0x9e3779b97f4a7c15) >> 56); /* of 256, as good as random */
    return u->poll_ns * 7 / 8 + u->poll_ns * part / 1024;
}

int64_t updates_next(const struct updates *u, int64_t due_ns)
{
    int64_t predicted = u->edge_ns + u->period_ns;
    if (u->kind == UPDATES_GAUGE)
        return due_ns + u->poll_ns;
    if (!predicts(u))
        return due_ns + out_of_step(u, due_ns);
    int64_t ahead =
        AHEAD_NS + (u->edge_hw < u->period_ns / 2 ? u->edge_hw : u->period_ns / 2); /* the last came so early, perhaps */
    if (due_ns < predicted - ahead)
        return predicted - ahead;
    if (due_ns < search_end(u, predicted))
        return due_ns + STEP_NS;
    return due_ns + out_of_step(u, due_ns);
}
