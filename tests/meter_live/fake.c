#include "tests/meter_live/fake.h"

struct fake_plan fake_plans[4];
atomic_bool fake_library_go;
atomic_int fake_open;

struct fake {
    struct sensor base;
    struct joulet_channel channels[2];
    struct joulet_fact fact;
    struct fake_plan *plan;
    bool was_reset;
};

int fake_setup(void **state)
{
    (void)state;
    memset(fake_plans, 0, sizeof(fake_plans));
    atomic_store(&fake_library_go, false);
    atomic_store(&fake_open, 0);
    return 0;
}

int fake_teardown(void **state)
{
    (void)state;
    return atomic_load(&fake_open) == 0 ? 0 : -1;
}

void fake_run(int64_t ns)
{
    jl_sleep_until(jl_mono_ns() + ns);
}

double fake_truth(const struct fake_plan *p, int64_t from, int64_t to)
{
    int64_t step = atomic_load(&p->step_ns);
    int64_t middle = step <= from ? from : step >= to ? to : step;
    return p->watts * jl_s(middle - from) + p->watts_after * jl_s(to - middle);
}

static int64_t value_of(struct fake *f, int n)
{
    struct fake_plan *p = f->plan;
    int64_t k = p->period_ns > 0 ? (jl_mono_ns() - p->origin_ns) / p->period_ns : 0;
    int64_t t = p->origin_ns + k * p->period_ns;
    switch (p->show) {
    case FAKE_ENERGY:
        return (int64_t)(fake_truth(p, p->origin_ns, t) * 1e6 + 0.5);
    case FAKE_POWER:
        return (int64_t)(fake_truth(p, t - p->period_ns, t) / jl_s(p->period_ns) * 1e6 + 0.5);
    case FAKE_READS:
        return n;
    case FAKE_PAIRS:
        return n / 2;
    default:
        return 1000;
    }
}

static bool every(int n, int every)
{
    return every > 0 && n % every == 0;
}

static void read_device(struct fake *f, struct sensor_reading *r)
{
    int n = atomic_fetch_add(&f->plan->reads, 1) + 1;
    if (every(n, f->plan->late_every))
        jl_sleep_until(jl_mono_ns() + 3000000);
    if (f->plan->gone_after > 0 && n > f->plan->gone_after)
        r->status = JOULET_GONE;
    else if (every(n, f->plan->fail_every))
        r->status = JOULET_IO;
    if (r->status != JOULET_OK)
        return;
    r->has = true;
    r->value = value_of(f, n);
    r->reset = f->plan->reset_at > 0 && n >= f->plan->reset_at && !f->was_reset;
    f->was_reset = f->was_reset || r->reset;
}

static void fake_read(struct sensor *s, struct sensor_reading *readings, bool gauges)
{
    struct fake *f = jl_container_of(s, struct fake, base);
    read_device(f, &readings[0]);
    if (!f->plan->gauge || !gauges)
        return;
    atomic_fetch_add(&f->plan->gauge_reads, 1);
    readings[1] = (struct sensor_reading){.has = true, .value = 55000};
}

static void fake_read_one(struct sensor *s, size_t channel, struct sensor_reading *r)
{
    (void)channel;
    read_device(jl_container_of(s, struct fake, base), r);
}

static size_t fake_processes(struct sensor *s, struct joulet_process *out, size_t n)
{
    (void)s;
    if (n > 0)
        out[0] = (struct joulet_process){.device = "fake0", .pid = 7, .memory_bytes = UINT64_MAX};
    return 1;
}

static void fake_close(struct sensor *s)
{
    atomic_fetch_sub(&fake_open, 1);
    free(jl_container_of(s, struct fake, base));
}

static void describe(struct fake *f, const char *sensor)
{
    struct fake_plan *p = f->plan;
    struct joulet_channel *c = &f->channels[0];
    *c = (struct joulet_channel)SENSOR_CHANNEL_INIT;
    c->id = p->id;
    c->sensor = p->sensor ? p->sensor : sensor;
    c->device = c->parent = "";
    c->quantity = p->show == FAKE_POWER ? JOULET_POWER : JOULET_ENERGY;
    c->in_total = !p->off_total;
    c->period_s = jl_s(p->period_ns);
    c->window_s = p->show == FAKE_POWER ? c->period_s : 0;
    c->contiguous = p->show == FAKE_POWER;
    c->quantum_j = 1e-6;
    f->channels[1] = *c;
    f->channels[1].id = "temperature";
    f->channels[1].quantity = JOULET_TEMPERATURE;
    f->channels[1].period_s = NAN;
    f->fact = (struct joulet_fact){p->id, "driver", "none"};
    f->base.channels = f->channels;
    f->base.n_channels = p->gauge ? 2 : 1;
    f->base.facts = &f->fact;
    f->base.n_facts = 1;
}

static void find(const struct sensor_ops *ops, struct sensor_list *out)
{
    for (size_t i = 0; i < JL_COUNT(fake_plans); i++) {
        bool mine = fake_plans[i].id && (!fake_plans[i].by || strcmp(fake_plans[i].by, ops->name) == 0);
        struct fake *f = mine ? calloc(1, sizeof(*f)) : NULL;
        if (!f)
            continue;
        f->plan = &fake_plans[i];
        f->plan->origin_ns = jl_mono_ns();
        if (f->plan->step_ns == 0)
            atomic_store(&f->plan->step_ns, INT64_MAX);
        f->base.ops = ops;
        describe(f, ops->name);
        assert_true(sensor_list_add(out, &f->base));
        atomic_fetch_add(&fake_open, 1);
    }
}

#define DISCOVER(name)                                                                                                           \
    static enum joulet_status discover_##name(struct sensor_list *out, const struct joulet_options *opt,                         \
                                              struct joulet_error *err)                                                          \
    {                                                                                                                            \
        (void)opt;                                                                                                               \
        find(&fake_##name, out);                                                                                                 \
        return jl_ok(err);                                                                                                       \
    }
DISCOVER(quick)
DISCOVER(seldom)
DISCOVER(estimate)

static enum joulet_status discover_absent(struct sensor_list *out, const struct joulet_options *opt, struct joulet_error *err)
{
    (void)out;
    (void)opt;
    return jl_ok(err);
}

static enum joulet_status discover_denied(struct sensor_list *out, const struct joulet_options *opt, struct joulet_error *err)
{
    (void)opt;
    sensor_list_problem(out, "denied", JOULET_PERMISSION, "%s may not be read: use sudo", "/some/file");
    return jl_ok(err);
}

static enum joulet_status discover_library(struct sensor_list *out, const struct joulet_options *opt, struct joulet_error *err)
{
    (void)opt;
    while (!atomic_load(&fake_library_go))
        jl_sleep_until(jl_mono_ns() + 100000);
    find(&fake_library, out);
    return jl_ok(err);
}

static enum joulet_status discover_empty(struct sensor_list *out, const struct joulet_options *opt, struct joulet_error *err)
{
    (void)out;
    (void)opt;
    while (!atomic_load(&fake_library_go))
        jl_sleep_until(jl_mono_ns() + 100000);
    return jl_fail(err, JOULET_NOT_FOUND, "the library does not load");
}

#define FAKE_CALLS .read = fake_read, .read_one = fake_read_one, .processes = fake_processes, .close = fake_close
const struct sensor_ops fake_quick = {
    .name = "fake", .poll_ns = 1000000, .lockable = true, .discover = discover_quick, FAKE_CALLS};
const struct sensor_ops fake_seldom = {.name = "seldom", .poll_ns = 60 * JL_NS_PER_S, .discover = discover_seldom, FAKE_CALLS};
const struct sensor_ops fake_absent = {.name = "absent", .discover = discover_absent, FAKE_CALLS};
const struct sensor_ops fake_denied = {.name = "denied", .discover = discover_denied, FAKE_CALLS};
const struct sensor_ops fake_estimate = {
    .name = "tdp", .on_request = true, .poll_ns = 1000000, .discover = discover_estimate, FAKE_CALLS};
const struct sensor_ops fake_library = {
    .name = "library", .cls = SENSOR_LIBRARY, .poll_ns = 1000000, .discover = discover_library, FAKE_CALLS};
const struct sensor_ops fake_empty_library = {.name = "empty", .cls = SENSOR_LIBRARY, .discover = discover_empty, FAKE_CALLS};

struct joulet *fake_meter(const struct sensor_ops *const *table, const struct joulet_options *opt)
{
    struct joulet *m;
    struct joulet_error err;
    if (meter_open(&m, table, opt, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    return m;
}

void fake_await(struct fake_plan *p, int n)
{
    int until = atomic_load(&p->reads) + n;
    while (atomic_load(&p->reads) < until)
        jl_sleep_until(jl_mono_ns() + 500000);
}

struct joulet_trace fake_trace(struct joulet *m, size_t channel)
{
    struct joulet_trace t;
    struct joulet_error err;
    if (joulet_trace_copy(m, channel, 0, INT64_MAX - 1, &t, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    return t;
}
