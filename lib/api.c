/* api.c - opening and closing the meter: which sensors are used, in which order they begin, and what is freed when. */
#include "lib/meter/sampler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_MEMORY ((size_t)32 << 20)
#define LOCK_COST_NS   50000 /* reads dearer than this are not repeated to find an update (1.3) */
#define FALLBACK       "tdp" /* the estimate that stands in when nothing measures */
#define GLANCE_NS      500000
#define MIN_INTERVAL   50000

/* ---- options -------------------------------------------------------------------------------------------------------- */

static bool copy_string(const char **s)
{
    const char *given = *s;
    *s = jl_strdup(given);
    return !given || *s;
}

/* The caller's struct may be older and shorter than ours, or newer and longer. */
static enum joulet_status copy_options(struct joulet *m, const struct joulet_options *opt, struct joulet_error *err)
{
    struct joulet_options defaults = JOULET_OPTIONS_INIT;
    m->opt = defaults;
    if (opt && opt->size < sizeof(size_t))
        return jl_fail(err, JOULET_USAGE, "joulet_open: the options have no size: begin with JOULET_OPTIONS_INIT");
    if (opt)
        memcpy(&m->opt, opt, opt->size < sizeof(m->opt) ? opt->size : sizeof(m->opt));
    m->opt.size = sizeof(m->opt);
    bool ok = copy_string(&m->opt.sensors);
    ok = copy_string(&m->opt.sim) && ok;
    ok = copy_string(&m->opt.replay) && ok;
    ok = copy_string(&m->opt.calibration) && ok;
    if (!ok)
        return jl_fail(err, JOULET_MEMORY, "the meter could not be opened: out of memory");
    if (m->opt.interval_ns < 0 || (m->opt.interval_ns > 0 && m->opt.interval_ns < MIN_INTERVAL))
        return jl_fail(err, JOULET_USAGE, "the interval %lld ns is too short: 50 us is the least", (long long)m->opt.interval_ns);
    return jl_ok(err);
}

static void join_names(char *out, size_t size, const struct sensor_ops *const *table)
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; table[i] && len < size; i++) {
        int n = snprintf(out + len, size - len, "%s%s", i ? ", " : "", table[i]->name);
        len += n > 0 ? (size_t)n : 0;
    }
}

static bool in_table(const struct sensor_ops *const *table, const char *name, size_t n)
{
    for (; *table; table++)
        if (strlen((*table)->name) == n && memcmp((*table)->name, name, n) == 0)
            return true;
    return false;
}

static enum joulet_status check_names(const struct joulet *m, const struct sensor_ops *const *table, struct joulet_error *err)
{
    const char *p = m->opt.sensors;
    for (size_t n; p && *p; p += n + (p[n] == ',')) {
        char known[256];
        p += strspn(p, " ");
        n = strcspn(p, ",");
        size_t word = n;
        while (word > 0 && p[word - 1] == ' ')
            word--;
        if (in_table(table, p, word))
            continue;
        join_names(known, sizeof(known), table);
        return jl_fail(err, JOULET_USAGE, "there is no sensor \"%.*s\": known are %s", (int)word, p, known);
    }
    return jl_ok(err);
}

static bool wanted(const struct joulet *m, const struct sensor_ops *ops)
{
    return m->opt.sensors ? jl_word_in(m->opt.sensors, ',', ops->name) : !ops->on_request;
}

/* ---- opening ---------------------------------------------------------------------------------------------------------- */

static enum joulet_status add_lane(struct joulet *m, enum sensor_class cls, const struct sensor_ops *ops,
                                   struct joulet_error *err)
{
    if (m->n_lanes == METER_LANES)
        return jl_fail(err, JOULET_LIMIT, "the meter could not be opened: more than %d vendor libraries", METER_LANES - 1);
    struct lane *l = lane_open(m, cls, ops, err);
    if (!l)
        return err && err->status != JOULET_OK ? err->status : JOULET_MEMORY;
    m->lanes[m->n_lanes++] = l;
    return jl_ok(err);
}

static enum joulet_status start_libraries(struct joulet *m, const struct sensor_ops *const *table, struct joulet_error *err)
{
    enum joulet_status status = jl_ok(err);
    for (; *table && status == JOULET_OK; table++) {
        if ((*table)->cls == SENSOR_FILE || !wanted(m, *table))
            continue;
        status = add_lane(m, (*table)->cls, *table, err);
        if (status == JOULET_OK)
            status = lane_start_library(m->lanes[m->n_lanes - 1], err);
    }
    return status;
}

static bool libraries_ready(const struct joulet *m)
{
    for (size_t i = 0; i < m->n_lanes; i++)
        if (m->lanes[i]->cls != SENSOR_FILE && !atomic_load(&m->lanes[i]->ready))
            return false;
    return true;
}

static bool measures(const struct joulet *m)
{
    for (size_t i = 0; i < m->n_lanes; i++)
        if (lane_measures(m->lanes[i]))
            return true;
    return false;
}

/* Something measures that counts in the total: what only stands beside it needs an estimate as much as nothing. */
static bool counts(const struct joulet *m)
{
    for (size_t i = 0; i < m->n_lanes; i++)
        if (lane_counts(m->lanes[i]))
            return true;
    return false;
}

/* Only when no file measures does anyone wait for the libraries: whether an estimate is needed depends on them. */
static void fall_back(struct joulet *m, struct lane *files, const struct sensor_ops *const *table)
{
    while (!counts(m) && !libraries_ready(m))
        jl_sleep_until(jl_mono_ns() + GLANCE_NS);
    while (*table && strcmp((*table)->name, FALLBACK) != 0)
        table++;
    if (!counts(m) && !m->opt.sensors && *table)
        lane_discover(files, *table);
}

static enum joulet_status no_sensor(struct joulet *m, struct joulet_error *err)
{
    enum joulet_status status;
    pthread_mutex_lock(&m->lock);
    const char *why = m->n_problems > 0 ? m->problems[0].message : NULL;
    if (m->opt.sensors && why)
        status = jl_fail(err, JOULET_NO_SENSOR, "no sensor of \"%s\" works here: %s", m->opt.sensors, why);
    else if (m->opt.sensors)
        status = jl_fail(err, JOULET_NO_SENSOR, "this machine has no sensor of \"%s\": `joulet doctor` lists what it has",
                         m->opt.sensors);
    else
        status = jl_fail(err, JOULET_NO_SENSOR, "nothing measures power here, and not even an estimate is possible: %s",
                         why ? why : "`joulet doctor` shows what is missing");
    pthread_mutex_unlock(&m->lock);
    return status;
}

/* What was given to be played and cannot be is bad input, whatever else would measure. */
static enum joulet_status check_played(struct joulet *m, struct joulet_error *err)
{
    enum joulet_status status = jl_ok(err);
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->n_problems && status == JOULET_OK; i++) {
        const struct joulet_problem *p = &m->problems[i];
        bool played = strcmp(p->sensor, "sim") == 0 || strcmp(p->sensor, "file") == 0;
        if (played && p->status != JOULET_MEMORY)
            status = jl_fail(err, JOULET_USAGE, "%s", p->message);
    }
    pthread_mutex_unlock(&m->lock);
    return status;
}

static enum joulet_status begin_sampling(struct joulet *m, struct lane *files, struct joulet_error *err)
{
    lane_first_reads(files); /* by this thread: the first sample waits for nobody */
    enum joulet_status status = measures(m) || m->opt.pushes ? lane_start(files, err) : no_sensor(m, err);
    return status == JOULET_OK ? sink_open(m, err) : status;
}

static enum joulet_status start(struct joulet *m, const struct sensor_ops *const *table, struct joulet_error *err)
{
    enum joulet_status status = add_lane(m, SENSOR_FILE, NULL, err);
    if (status == JOULET_OK)
        status = start_libraries(m, table, err);
    if (status == JOULET_OK)
        status = add_lane(m, SENSOR_PUSHED, NULL, err);
    if (status != JOULET_OK)
        return status;
    m->pushed = m->lanes[m->n_lanes - 1];
    atomic_store(&m->pushed->ready, true);
    struct lane *files = m->lanes[0];
    for (const struct sensor_ops *const *row = table; *row; row++)
        if ((*row)->cls == SENSOR_FILE && wanted(m, *row))
            lane_discover(files, *row);
    status = check_played(m, err);
    if (status != JOULET_OK)
        return status;
    if (!lane_counts(files))
        fall_back(m, files, table);
    if (!m->opt.no_thread)
        return begin_sampling(m, files, err);
    while (!libraries_ready(m)) /* to describe is to describe everything */
        jl_sleep_until(jl_mono_ns() + GLANCE_NS);
    atomic_store(&files->ready, true);
    return jl_ok(err);
}

static struct joulet *new_meter(void)
{
    struct joulet *m = calloc(1, sizeof(*m));
    if (!m)
        return NULL;
    m->opened_ns = jl_mono_ns();
    m->pid = getpid();
    m->lock_cost_ns = LOCK_COST_NS;
    atomic_store(&m->mark_ns, INT64_MIN / 2);
    pthread_mutex_init(&m->lock, NULL);
    pthread_mutex_init(&m->push_lock, NULL);
    return m;
}

static void free_meter(struct joulet *m, bool forked)
{
    ring_store_release(&m->store);
    for (size_t i = 0; i < m->n_lanes; i++)
        lane_release(m->lanes[i], forked);
    for (size_t i = 0; i < m->n_problems; i++)
        free((char *)m->problems[i].message);
    free(m->problems);
    free((char *)m->opt.sensors);
    free((char *)m->opt.sim);
    free((char *)m->opt.replay);
    free((char *)m->opt.calibration);
    joulet_calibration_release(&m->calibration);
    free(m);
}

enum joulet_status meter_open(struct joulet **out, const struct sensor_ops *const *table, const struct joulet_options *opt,
                              struct joulet_error *err)
{
    struct joulet_error own = {0};
    err = err ? err : &own;
    *out = NULL;
    struct joulet *m = new_meter();
    if (!m)
        return jl_fail(err, JOULET_MEMORY, "the meter could not be opened: out of memory");
    enum joulet_status status = copy_options(m, opt, err);
    if (status == JOULET_OK)
        status = check_names(m, table, err);
    size_t bytes = m->opt.memory_bytes ? m->opt.memory_bytes : DEFAULT_MEMORY;
    if (status == JOULET_OK && !ring_store_init(&m->store, bytes, JL_CHANNELS_MAX))
        status = jl_fail(err, JOULET_MEMORY, "the meter could not be opened: out of memory");
    if (status == JOULET_OK) {
        meter_load_calibration(m);
        status = start(m, table, err);
    }
    if (status == JOULET_OK)
        *out = m;
    else
        joulet_close(m);
    return status;
}

enum joulet_status joulet_open(struct joulet **out, const struct joulet_options *opt, struct joulet_error *err)
{
    return meter_open(out, sensor_table, opt, err);
}

enum joulet_status joulet_wait_ready(struct joulet *m, double timeout_s, struct joulet_error *err)
{
    if (meter_forked(m))
        return meter_refuse(err);
    int64_t until = jl_mono_ns() + jl_ns(timeout_s < 1e9 ? timeout_s : 1e9);
    while (!libraries_ready(m)) {
        if (jl_mono_ns() >= until)
            return jl_fail(err, JOULET_LIMIT,
                           "a sensor library is still being opened after %.1f s: wait longer, or leave it out "
                           "with --sensors",
                           timeout_s);
        jl_sleep_until(jl_mono_ns() + GLANCE_NS);
    }
    return jl_ok(err);
}

/* ---- closing ---------------------------------------------------------------------------------------------------------- */

/* A child of a fork has none of the threads, and locks may be held for ever by those that are gone: it only frees. */
void joulet_close(struct joulet *m)
{
    if (!m)
        return;
    bool forked = meter_forked(m);
    for (size_t i = 0; !forked && i < m->n_lanes; i++)
        lane_close(m->lanes[i]);
    if (!forked)
        sink_close(m);
    else
        jl_event_close(m->sink_event);
    free_meter(m, forked);
}
