/* sampler.c - the threads that read sensors (1.3): one for all that are files, one for each vendor library.
 *
 * A lane sleeps until the next read is due, at absolute times, or until a mark wakes it. A read is stamped with the middle of
 * the time it took; a failed one is recorded as failed and never becomes a value. Nothing here allocates while it samples. */
#include "lib/meter/sampler.h"
#include "lib/meter/tree.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNTER_NS      (10 * JL_NS_PER_S) /* least rate of counters, which wrap */
#define LATE_FILE_NS    2000000
#define LATE_LIBRARY_NS 20000000
#define LATE_PUSHED_NS  (JL_NS_PER_S / 2) /* a plug in the wireless network takes its time, and its updates a second */
#define GAUGE_NS        100000000         /* temperatures and clocks are slow, and some cost a millisecond to read */
#define RETRY_NS        JL_NS_PER_S       /* between looks at a device that left */
#define CPU_NS          100000000
#define USUAL_NS        10000000 /* that a thread may have to wait for the processor */
#define TOGETHER_NS     20000    /* reads due this soon are done with the present one: waking costs more */

bool meter_forked(const struct joulet *m)
{
    return getpid() != (pid_t)m->pid;
}

enum joulet_status meter_refuse(struct joulet_error *err)
{
    return jl_fail(err, JOULET_FORKED, "this meter belongs to the parent process: open another in the child");
}

void meter_add_problem(struct joulet *m, const char *sensor, enum joulet_status status, char *message)
{
    if (!message)
        return;
    pthread_mutex_lock(&m->lock);
    struct joulet_problem *all = realloc(m->problems, (m->n_problems + 1) * sizeof(*all));
    if (all) {
        m->problems = all;
        all[m->n_problems++] = (struct joulet_problem){sensor, status, message};
    } else {
        free(message);
    }
    pthread_mutex_unlock(&m->lock);
}

/* ---- taking sensors in ---------------------------------------------------------------------------------------------- */

static bool is_gauge(const struct joulet_channel *c)
{
    return c->quantity != JOULET_ENERGY && c->quantity != JOULET_POWER;
}

/* Provenance cannot be better than the roots that the class of the sensor reads below. */
static enum joulet_provenance provenance_of(const struct lane *l, const struct joulet_channel *c)
{
    bool files = jl_env("JOULET_SYSFS") || jl_env("JOULET_PROCFS") || jl_env("JOULET_DEVFS");
    if (l->cls == SENSOR_PUSHED) /* of another folder or library it knows nothing */
        return c->provenance;
    bool redirected = l->cls == SENSOR_LIBRARY ? jl_env("JOULET_NVML") != NULL : files;
    if (redirected && !l->meter->opt.trust_root && c->provenance < JOULET_SIMULATED)
        return JOULET_SIMULATED;
    return c->provenance;
}

static struct live_channel *new_channel(const struct lane *l, const struct joulet_channel *pub)
{
    struct live_channel *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    enum updates_kind kind = is_gauge(pub) ? UPDATES_GAUGE : pub->quantity == JOULET_ENERGY ? UPDATES_COUNTER : UPDATES_POWER;
    c->pub = *pub;
    c->pub.provenance = provenance_of(l, pub);
    c->updates.kind = kind;
    return c;
}

/* How it is read is settled once its period is known as well as it will be. */
static void begin_updates(const struct lane *l, const struct live_sensor *s)
{
    for (size_t i = 0; i < s->sensor->n_channels; i++) {
        struct live_channel *c = s->channels[i];
        int64_t period = isfinite(c->pub.period_s) && c->pub.period_s > 0 ? jl_ns(c->pub.period_s) : 0;
        bool used = c->entry_state == JOULET_CALIBRATION_USED;
        bool predict =
            l->meter->opt.interval_ns == 0 && l->cls != SENSOR_PUSHED && !(used && c->entry.reading != JOULET_READING_SEARCH);
        updates_init(&c->updates, c->updates.kind, s->poll_ns, period, predict, c->pub.power_max_w);
    }
}

/* All channels of a sensor or none: a sensor reads them together. */
static bool make_channels(struct lane *l, struct live_sensor *s)
{
    size_t n = s->sensor->n_channels;
    s->channels = calloc(n ? n : 1, sizeof(struct live_channel *));
    s->readings = calloc(n ? n : 1, sizeof(*s->readings));
    if (!s->channels || !s->readings)
        return false;
    for (size_t i = 0; i < n; i++) {
        s->channels[i] = new_channel(l, &s->sensor->channels[i]);
        if (!s->channels[i])
            return false;
        s->measures = s->measures || !is_gauge(&s->channels[i]->pub);
    }
    return true;
}

static bool publish_channels(struct joulet *m, struct live_sensor *s)
{
    size_t n = s->sensor->n_channels;
    pthread_mutex_lock(&m->lock);
    size_t at = atomic_load(&m->n_channels);
    bool ok = at + n <= JL_CHANNELS_MAX;
    for (size_t i = 0; ok && i < n; i++) {
        m->channels[at + i] = s->channels[i];
        s->channels[i]->asks = s->channels[i]->pub.in_total;
        ring_add(&m->store, &s->channels[i]->ring);
    }
    if (ok) {
        atomic_store(&m->n_channels, at + n);
        meter_count(m);
    }
    pthread_mutex_unlock(&m->lock);
    return ok;
}

static void release_sensor(struct live_sensor *s, bool close)
{
    for (size_t i = 0; s->channels && i < s->sensor->n_channels; i++)
        free(s->channels[i]);
    free(s->channels);
    free(s->readings);
    if (close)
        s->sensor->ops->close(s->sensor);
    *s = (struct live_sensor){0};
}

/* As often as its quickest channel needs; once a second if calibration found that a counter does not stand more. */
static int64_t poll_of(const struct live_sensor *s)
{
    const struct sensor_ops *ops = s->sensor->ops;
    int64_t usual = ops->poll_ns > 0 ? ops->poll_ns : 10000000, poll = usual;
    for (size_t i = 0; i < s->sensor->n_channels; i++) {
        const struct joulet_channel *c = &s->channels[i]->pub;
        if (s->once)
            return JL_NS_PER_S;
        int64_t own = !is_gauge(c) && isfinite(c->period_s) ? updates_poll(usual, jl_ns(c->period_s)) : usual;
        poll = own < poll ? own : poll;
    }
    return poll;
}

/* As often as the caller wants; a counter at least so often that no wrap is missed (1.2). */
static int64_t poll_wanted(const struct live_sensor *s, int64_t interval)
{
    for (size_t i = 0; i < s->sensor->n_channels; i++)
        if (!is_gauge(&s->channels[i]->pub) && interval > COUNTER_NS)
            return COUNTER_NS;
    return interval;
}

bool lane_take_in(struct lane *l, struct sensor *sensor, int64_t poll_ns)
{
    size_t at = atomic_load(&l->n_sensors);
    struct live_sensor *s = &l->sensors[at];
    const struct sensor_ops *ops = sensor->ops;
    int64_t interval = l->meter->opt.interval_ns;
    if (at == LANE_SENSORS) {
        ops->close(sensor);
        return false;
    }
    *s = (struct live_sensor){.sensor = sensor, .cheapest_ns = INT64_MAX};
    s->lockable = ops->lockable && ops->read_one;
    bool made = make_channels(l, s);
    if (made) {
        sensor_calibrate(l->meter, s);
        s->poll_ns = poll_ns > 0 ? poll_ns : interval > 0 ? poll_wanted(s, interval) : poll_of(s);
        begin_updates(l, s);
    }
    if (!made || !publish_channels(l->meter, s)) {
        meter_add_problem(l->meter, ops->name, JOULET_LIMIT,
                          jl_strf("%s: a device is left out: a meter has room for %d channels", ops->name, JL_CHANNELS_MAX));
        release_sensor(s, true);
        return false;
    }
    if (s->lockable || s->once)
        atomic_store(&l->has_locks, true);
    atomic_store(&l->n_sensors, at + 1);
    return true;
}

void lane_discover(struct lane *l, const struct sensor_ops *ops)
{
    struct sensor_list *list = calloc(1, sizeof(*list));
    struct joulet_error err = {0};
    if (!list)
        return;
    enum joulet_status status = ops->discover(list, &l->meter->opt, &err);
    if (status != JOULET_OK)
        meter_add_problem(l->meter, ops->name, status, jl_strdup(err.message));
    for (size_t i = 0; i < list->n_problems; i++)
        meter_add_problem(l->meter, list->problems[i].sensor, list->problems[i].status, (char *)list->problems[i].message);
    for (size_t i = 0; i < list->n; i++)
        lane_take_in(l, list->items[i], 0);
    jl_trace("sensor", "%s: %zu found, %zu with a problem", ops->name, list->n, list->n_problems);
    free(list);
}

bool lane_measures(const struct lane *l)
{
    for (size_t i = 0; i < l->n_sensors; i++)
        if (l->sensors[i].measures)
            return true;
    return false;
}

bool lane_counts(const struct lane *l)
{
    for (size_t i = 0; i < l->n_sensors; i++)
        for (size_t k = 0; k < l->sensors[i].sensor->n_channels; k++) {
            const struct joulet_channel *c = &l->sensors[i].channels[k]->pub;
            if (!is_gauge(c) && l->sensors[i].channels[k]->asks)
                return true;
        }
    return false;
}

/* ---- one read ---------------------------------------------------------------------------------------------------------- */

static void push(struct joulet *m, struct live_channel *c, const struct joulet_sample *sample)
{
    ring_push(&m->store, &c->ring, *sample);
    int64_t none = 0;
    if (!(sample->flags & JOULET_SAMPLE_FAILED) && atomic_load_explicit(&m->first_sample_ns, memory_order_relaxed) == 0)
        atomic_compare_exchange_strong(&m->first_sample_ns, &none, jl_mono_ns());
}

/* Another channel of its device has left, and that was said. */
static bool device_is_gone(struct joulet *m, const struct live_channel *c)
{
    size_t n = atomic_load(&m->n_channels), length = strcspn(c->pub.id, ".");
    for (size_t i = 0; i < n; i++) {
        const struct live_channel *x = m->channels[i];
        if (x != c && atomic_load(&x->gone_ns) && strcspn(x->pub.id, ".") == length && memcmp(x->pub.id, c->pub.id, length) == 0)
            return true;
    }
    return false;
}

static void say_gone(struct lane *l, struct live_channel *c)
{
    if (device_is_gone(l->meter, c))
        return;
    meter_add_problem(l->meter, c->pub.sensor, JOULET_GONE,
                      jl_strf("%s left during the measurement: its device or driver went away; what was measured until then is "
                              "kept, and it is looked for every second",
                              c->pub.id));
}

/* Said once, when it happens again: one bad value is not worth a word. */
static void say_nonsense(struct lane *l, struct live_channel *c)
{
    if (++c->nonsense != 2)
        return;
    meter_add_problem(
        l->meter, c->pub.sensor, JOULET_FORMAT,
        jl_strf("%s shows values that no device can have, which are left out as failed reads; if there are many, update "
                "its driver",
                c->pub.id));
}

/* Away, not only stumbling: looked for once a second, and recorded as often. */
static bool is_away(const struct live_channel *c)
{
    return c->failed_row >= AWAY_READS && atomic_load_explicit(&c->gone_ns, memory_order_relaxed) != 0;
}

static void take_failure(struct lane *l, struct live_channel *c, enum joulet_status status, int64_t t_ns)
{
    bool known = atomic_load(&c->gone_ns) != 0;
    atomic_fetch_add_explicit(&l->failed, 1, memory_order_relaxed);
    updates_failed(&c->updates);
    c->failed_row++;
    if (status == JOULET_FORMAT)
        say_nonsense(l, c);
    if (is_away(c) && t_ns - c->failed_ns < RETRY_NS)
        return;
    c->failed_ns = t_ns;
    push(l->meter, c, &(struct joulet_sample){.t_ns = t_ns, .flags = JOULET_SAMPLE_FAILED});
    if (status != JOULET_GONE || known)
        return;
    atomic_store(&c->gone_ns, t_ns);
    say_gone(l, c);
}

/* What the device was found to do replaces what its kind usually does; a calibration knows better than both. */
static void tell_period(struct joulet *m, struct live_channel *c)
{
    double found = jl_s(c->updates.period_ns);
    if (!c->updates.period_found || c->pub.calibrated || fabs(found - c->pub.period_s) <= 0.002 * found)
        return;
    pthread_mutex_lock(&m->lock);
    c->pub.period_s = found;
    if (c->pub.contiguous)
        c->pub.window_s = found;
    pthread_mutex_unlock(&m->lock);
}

void lane_take(struct lane *l, struct live_channel *c, const struct sensor_reading *r, int64_t t0, int64_t t1)
{
    int64_t t = t0 + (t1 - t0) / 2;
    struct joulet_sample sample;
    struct updates_read read = {t0, t1, r->value, r->t_ns, r->reset, t1 - t0 > l->late_ns};
    if (r->status == JOULET_OK && !r->has) { /* asked, and nothing to tell: nobody need wait for more */
        atomic_store_explicit(&c->read_ns, t, memory_order_release);
        return;
    }
    atomic_fetch_add_explicit(&l->reads, 1, memory_order_relaxed);
    if (r->status != JOULET_OK) {
        take_failure(l, c, r->status, t);
        return;
    }
    if (read.late)
        atomic_fetch_add_explicit(&l->late, 1, memory_order_relaxed);
    bool shown = updates_from(&c->updates, &read, &sample);
    if (shown) {
        sample.flags |= c->starved ? JOULET_SAMPLE_STARVED : 0u;
        c->starved = false;
        push(l->meter, c, &sample);
        tell_period(l->meter, c);
    }
    atomic_store_explicit(&c->equal_ns, !shown && c->updates.shown == read.value ? t : 0, memory_order_relaxed);
    atomic_store_explicit(&c->read_ns, t, memory_order_release);
    atomic_store_explicit(&c->gone_ns, 0, memory_order_relaxed);
    c->failed_row = 0;
}

static bool update_expected(const struct live_sensor *s, int64_t at)
{
    for (size_t i = 0; i < s->sensor->n_channels; i++)
        if (updates_expected(&s->channels[i]->updates, at))
            return true;
    return false;
}

/* Slow reads of temperatures and the like wait while the update of a counter is looked for. */
static bool gauges_due(const struct lane *l, const struct live_sensor *s, int64_t now)
{
    return l->meter->opt.gauges && now >= s->gauge_ns && !update_expected(s, now);
}

/* A device that left is looked for seldom; otherwise the channel whose update comes first decides. */
static int64_t next_read(const struct lane *l, const struct live_sensor *s, int64_t now)
{
    int64_t next = INT64_MAX, from = s->due_ns > now - s->poll_ns && s->due_ns < now ? s->due_ns : now;
    bool here = false;
    for (size_t i = 0; i < s->sensor->n_channels; i++) {
        const struct live_channel *c = s->channels[i];
        if (c->updates.kind == UPDATES_GAUGE || is_away(c))
            continue;
        int64_t t = updates_next(&c->updates, from);
        next = t < next ? t : next;
        here = true;
    }
    if (s->measures && !here)
        return now + RETRY_NS;
    int64_t gauges = s->gauge_ns > now ? s->gauge_ns : now;
    if (l->meter->opt.gauges && gauges < next && !update_expected(s, gauges)) /* they wait: no reason to hurry */
        next = gauges;
    return next > now ? next : now + 1;
}

/* A sleeper that is woken late by more than two reads and half an update sees updates late that it should have seen, or not at
 * all. What other reads of the lane take is not meant: that is the sensors' own doing. */
static void note_starvation(const struct lane *l, struct live_sensor *s, int64_t now)
{
    int64_t since = s->due_ns > l->idle_ns ? s->due_ns : l->idle_ns;
    for (size_t i = 0; l->idle_ns && i < s->sensor->n_channels; i++) {
        struct live_channel *c = s->channels[i];
        int64_t bearable = c->updates.period_ns / 2 > 2 * s->poll_ns ? c->updates.period_ns / 2 : 2 * s->poll_ns;
        bearable = bearable > USUAL_NS ? bearable : USUAL_NS;
        if (c->updates.kind != UPDATES_GAUGE && now - since > bearable)
            c->starved = true;
    }
}

void lane_read(struct lane *l, struct live_sensor *s, int64_t now)
{
    size_t n = s->sensor->n_channels;
    note_starvation(l, s, now);
    bool gauges = gauges_due(l, s, now);
    memset(s->readings, 0, n * sizeof(*s->readings));
    int64_t t0 = jl_mono_ns();
    s->sensor->ops->read(s->sensor, s->readings, gauges);
    int64_t t1 = jl_mono_ns();
    for (size_t i = 0; i < n; i++)
        if (gauges || s->channels[i]->updates.kind != UPDATES_GAUGE)
            lane_take(l, s->channels[i], &s->readings[i], t0, t1);
    if (gauges)
        s->gauge_ns = now + (s->poll_ns > GAUGE_NS ? s->poll_ns : GAUGE_NS);
    s->due_ns = next_read(l, s, now);
}

/* ---- the thread ---------------------------------------------------------------------------------------------------------- */

void lane_first_reads(struct lane *l)
{
    for (size_t i = 0; i < l->n_sensors; i++) {
        l->sensors[i].due_ns = l->sensors[i].gauge_ns = jl_mono_ns();
        if (l->sensors[i].measures || l->meter->opt.gauges)
            lane_read(l, &l->sensors[i], l->sensors[i].due_ns);
        else
            l->sensors[i].due_ns = INT64_MAX;
    }
}

static int64_t earliest_due(const struct lane *l)
{
    int64_t due = INT64_MAX;
    for (size_t i = 0; i < l->n_sensors; i++)
        due = l->sensors[i].due_ns < due ? l->sensors[i].due_ns : due;
    return due;
}

/* Asking for the thread's time is a system call: ten times a second is enough. */
static void note_cpu(struct lane *l, int64_t now)
{
    if (now < l->cpu_due_ns)
        return;
    atomic_store_explicit(&l->cpu_ns, jl_thread_cpu_ns(), memory_order_relaxed);
    l->cpu_due_ns = now + CPU_NS;
}

static void sample(struct lane *l)
{
    while (!atomic_load(&l->stop)) {
        l->idle_ns = jl_mono_ns();
        jl_event_wait_until(l->event, earliest_due(l));
        if (atomic_load(&l->stop))
            break;
        if (atomic_exchange(&l->marked, false))
            lane_lock(l);
        int64_t now = jl_mono_ns();
        for (size_t i = 0; i < l->n_sensors; i++)
            if (l->sensors[i].due_ns <= now + TOGETHER_NS)
                lane_read(l, &l->sensors[i], now);
        note_cpu(l, now);
    }
    l->cpu_due_ns = 0;
    note_cpu(l, 0);
}

static void run_files(void *arg)
{
    struct lane *l = arg;
    jl_thread_realtime();
    sample(l);
}

static void run_library(void *arg)
{
    struct lane *l = arg;
    lane_discover(l, l->ops); /* before real-time: threads that the library starts would inherit it */
    if (l->meter->opt.no_thread) {
        atomic_store(&l->ready, true);
        return;
    }
    jl_thread_realtime();
    lane_first_reads(l);
    atomic_store(&l->ready, true);
    if (l->n_sensors > 0)
        sample(l);
}

enum joulet_status lane_start(struct lane *l, struct joulet_error *err)
{
    atomic_store(&l->ready, true);
    return l->n_sensors > 0 ? jl_thread_start(&l->thread, "joulet-files", run_files, l, err) : jl_ok(err);
}

enum joulet_status lane_start_library(struct lane *l, struct joulet_error *err)
{
    char name[16] = "joulet-";
    strncat(name, l->ops->name, sizeof(name) - strlen(name) - 1);
    return jl_thread_start(&l->thread, name, run_library, l, err);
}

struct lane *lane_open(struct joulet *m, enum sensor_class cls, const struct sensor_ops *ops, struct joulet_error *err)
{
    struct lane *l = calloc(1, sizeof(*l));
    if (l && !(l->event = jl_event_open())) {
        free(l);
        l = NULL;
    }
    if (!l) {
        jl_fail(err, JOULET_MEMORY, "the meter could not be opened: out of memory or of file descriptors (ulimit -n)");
        return NULL;
    }
    l->meter = m;
    l->cls = cls;
    l->ops = ops;
    l->late_ns = cls == SENSOR_PUSHED ? LATE_PUSHED_NS : cls != SENSOR_FILE ? LATE_LIBRARY_NS : LATE_FILE_NS;
    return l;
}

void lane_close(struct lane *l)
{
    atomic_store(&l->stop, true);
    jl_event_set(l->event);
    jl_thread_join(l->thread);
    l->thread = NULL;
}

/* In a forked child a vendor library is in an unknown state: its sensors are left alone. */
void lane_release(struct lane *l, bool forked)
{
    for (size_t i = 0; i < l->n_sensors; i++)
        release_sensor(&l->sensors[i], !(forked && l->cls == SENSOR_LIBRARY));
    jl_event_close(l->event);
    free(l);
}
