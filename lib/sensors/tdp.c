/* tdp.c - no sensor: an estimate of the processor's energy from its thermal design power and its busy time (docs/method.md 10).
 *
 * Every 100 ms the busy fraction of all hardware threads gives a power, and its sum is offered as a counter, so that everything
 * else treats it like one. It is marked as an estimate and carries the factors within which the truth lies. The energy of memory
 * and GPUs is not in it. */
#include "lib/sensors/cpu_tdp.h"
#include "lib/sensors/estimate.h"
#include "lib/sensors/sensor.h"

#include "data/data.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UPDATE_NS      (100 * 1000000LL)
#define UPDATE_LEAST   (90 * 1000000LL) /* ticks are 10 ms: a shorter span says too little */
#define U_TICK_S       0.005
#define STAT_MAX_BYTES (4u << 20)

extern const struct sensor_ops sensor_tdp;

struct tdp {
    struct sensor base;
    struct jl_estimate model;
    double busy_s, total_s, energy_j;
    int64_t last_ns;
    bool started;
};

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* The power of the span since the last update, over its length by the clock: ticks count time less exactly. */
static bool add_span(struct tdp *t, double busy_s, double total_s, int64_t now)
{
    double total = total_s - t->total_s;
    if (!(total > 0))
        return false;
    t->energy_j += jl_estimate_power_w(&t->model, (busy_s - t->busy_s) / total) * jl_s(now - t->last_ns);
    return true;
}

static void tdp_read(struct sensor *s, struct sensor_reading *readings, bool gauges)
{
    struct tdp *t = jl_container_of(s, struct tdp, base);
    int64_t now = jl_mono_ns();
    double busy_s, total_s;
    (void)gauges;
    readings[0] = (struct sensor_reading){.status = JOULET_OK};
    if (t->started && now - t->last_ns < UPDATE_LEAST)
        return;
    if (!jl_cpu_time(&busy_s, &total_s)) {
        readings[0].status = JOULET_IO;
        return;
    }
    if (t->started && !add_span(t, busy_s, total_s, now))
        return;
    t->started = true;
    t->busy_s = busy_s;
    t->total_s = total_s;
    t->last_ns = now;
    readings[0].has = true;
    readings[0].t_ns = now;
    readings[0].value = (int64_t)(t->energy_j * 1e6);
}

static void tdp_close(struct sensor *s)
{
    sensor_release(s);
    free(jl_container_of(s, struct tdp, base));
}

/* ---- the part ---------------------------------------------------------------------------------------------------- */

/* What is known of the processor. */
struct part {
    char cpu[128], row[128]; /* marketing name; name of the row of the list, "" none */
    double tdp_w;            /* of one part, NAN unknown */
    int seen;                /* hardware threads in procfs stat: those whose busy time is known */
    int siblings;            /* hardware threads of one part, 0 unknown */
    bool vm;
};

static int count_threads(void)
{
    struct jl_buf text;
    char *path = jl_strf("%s/stat", jl_procfs_root());
    int n = 0;
    jl_buf_init(&text, STAT_MAX_BYTES);
    if (path && jl_read_file(path, &text, NULL) == JOULET_OK)
        for (const char *p = text.data; p; p = strchr(p, '\n')) {
            p += *p == '\n';
            n += jl_starts(p, "cpu") && isdigit((unsigned char)p[3]);
        }
    jl_buf_release(&text);
    free(path);
    return n;
}

static void know_part(struct part *p)
{
    char text[4096];
    int64_t siblings;
    *p = (struct part){.tdp_w = NAN, .seen = count_threads()};
    if (p->seen < 1)
        p->seen = 1;
    if (jl_cpuinfo("model name", p->cpu, sizeof(p->cpu)))
        p->tdp_w = cpu_tdp_find(data_cpu_tdp.text, data_cpu_tdp.len, p->cpu, p->row, sizeof(p->row));
    if (jl_cpuinfo("siblings", text, sizeof(text)) && jl_parse_i64(text, &siblings) && siblings > 0 && siblings < 65536)
        p->siblings = (int)siblings;
    p->vm = jl_cpuinfo("flags", text, sizeof(text)) && jl_word_in(text, ' ', "hypervisor");
}

/* A machine of several sockets has as many parts as its threads fill. */
static void fit_model(struct jl_estimate *e, const struct part *p)
{
    int parts = p->siblings > 0 && p->seen > p->siblings ? (p->seen + p->siblings - 1) / p->siblings : 1;
    jl_estimate_for(e, p->tdp_w * parts, p->seen, p->siblings * parts, p->vm);
}

static bool add_facts(struct tdp *t, const struct part *p)
{
    struct sensor *s = &t->base;
    bool ok = sensor_fact_add(s, "cpu0", "name", "%s", p->cpu) && sensor_fact_add(s, "cpu0", "tdp_w", "%.6g", t->model.tdp_w);
    if (!t->model.guessed)
        return ok && sensor_fact_add(s, "cpu0", "tdp_from", "%s, %g W, %d of %d threads", p->row, p->tdp_w, p->seen, p->siblings);
    const char *why = p->vm             ? "a virtual machine hides its share of the processor"
                      : isnan(p->tdp_w) ? "the processor is not in the list"
                                        : "the threads of the processor are not known";
    return ok && sensor_fact_add(s, "cpu0", "tdp_from", "guessed, 3 W for each of %d threads: %s", p->seen, why);
}

static bool describe(struct tdp *t, const struct part *p, const struct joulet_options *opt)
{
    bool redirected = strcmp(jl_procfs_root(), "/proc") != 0;
    struct joulet_channel ch = SENSOR_CHANNEL_INIT;
    ch.id = "cpu0.estimate";
    ch.device = p->cpu[0] ? p->cpu : "processor";
    ch.quantity = JOULET_ENERGY;
    ch.group = JOULET_GROUP_CPU;
    ch.provenance = sensor_provenance(opt, redirected) == JOULET_SIMULATED ? JOULET_SIMULATED : JOULET_ESTIMATED;
    ch.domain = JOULET_DOMAIN_PACKAGE;
    ch.in_total = true;
    ch.period_s = jl_s(UPDATE_NS);
    ch.quantum_j = 1e-6;
    ch.u_lag_s = U_TICK_S;
    ch.lag_max_s = 0.02;
    ch.rise_s = 0.0003;
    ch.power_min_w = t->model.idle_w;
    ch.power_max_w = t->model.max_w;
    ch.factor_lo = t->model.factor_lo;
    ch.factor_hi = t->model.factor_hi;
    return sensor_channel_add(&t->base, &ch) && add_facts(t, p);
}

static enum joulet_status tdp_discover(struct sensor_list *out, const struct joulet_options *opt, struct joulet_error *err)
{
    struct part p;
    double busy_s, total_s;
    if (!jl_cpu_time(&busy_s, &total_s)) {
        sensor_list_problem(out, "tdp", JOULET_NO_SENSOR, "%s/stat cannot be read, which estimates need: mount procfs there",
                            jl_procfs_root());
        return jl_ok(err);
    }
    struct tdp *t = calloc(1, sizeof(*t));
    if (!t)
        return jl_fail(err, JOULET_MEMORY, "out of memory while preparing an estimate");
    t->base.ops = &sensor_tdp;
    know_part(&p);
    fit_model(&t->model, &p);
    if (describe(t, &p, opt) && sensor_list_add(out, &t->base))
        return jl_ok(err);
    tdp_close(&t->base);
    return jl_fail(err, JOULET_MEMORY, "an estimate could not be prepared: out of memory or too many sensors");
}

const struct sensor_ops sensor_tdp = {
    .name = "tdp",
    .summary = "estimate from the processor's thermal design power and busy time",
    .cls = SENSOR_FILE,
    .on_request = true,
    .poll_ns = UPDATE_NS,
    .discover = tdp_discover,
    .read = tdp_read,
    .close = tdp_close,
};
