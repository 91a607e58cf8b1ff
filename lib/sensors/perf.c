/* perf.c - the energy counters of RAPL as events of the kernel's `power` PMU (docs/sensors/perf.md): used when powercap is closed
 * or not there, because its right can be given to one program (CAP_PERFMON). The kernel folds the wraps of the registers into 64
 * bits, so there are none here; counts begin at 0 when the event is opened, in units of `scale` joules.
 *
 * The PMU `power_core` of newer kernels counts single cores of AMD: they lie inside the package and are left out. */
#include "lib/sensors/perf.h"
#include "lib/sensors/rapl_channel.h"
#include "lib/sensors/rapl_ways.h"
#include "lib/sensors/sysfile.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CPUS_MAX   64 /* sockets or dies */
#define EVENTS     5
#define PMU_FOLDER "bus/event_source/devices/power"

/* ---- the kernel ------------------------------------------------------------------------------------------------------- */

static int kernel_open(uint32_t type, uint64_t config, int cpu)
{
    struct perf_event_attr attr = {.type = type, .size = sizeof(attr), .config = config};
    return (int)syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
}

static bool kernel_read(int handle, uint64_t *count)
{
    ssize_t n;
    do
        n = read(handle, count, sizeof(*count));
    while (n < 0 && errno == EINTR);
    if (n >= 0 && n != (ssize_t)sizeof(*count))
        errno = ENODEV; /* an event whose processor was taken offline reads as the end of a file */
    return n == (ssize_t)sizeof(*count);
}

static void kernel_close(int handle)
{
    close(handle);
}

const struct perf_calls perf_kernel = {kernel_open, kernel_read, kernel_close};
const struct perf_calls *perf_calls = &perf_kernel;

/* ---- the PMU ---------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    enum rapl_kind kind;
} events[EVENTS] = {{"energy-pkg", RAPL_PACKAGE},
                    {"energy-ram", RAPL_DRAM},
                    {"energy-cores", RAPL_CORE},
                    {"energy-gpu", RAPL_UNCORE},
                    {"energy-psys", RAPL_PSYS}};

struct pmu {
    char dir[SYSFILE_PATH];
    uint32_t type;
    int cpus[CPUS_MAX], n_cpus;
    struct {
        bool has;
        uint64_t config;
        double scale;
    } events[EVENTS];
};

static bool know_event(struct pmu *p, const char *format, int i)
{
    char dir[SYSFILE_PATH + 16], file[64], text[64], unit[32];
    snprintf(dir, sizeof(dir), "%s/events", p->dir);
    if (!sysfile_once(dir, events[i].name, text, sizeof(text)))
        return false;
    bool ok = perf_parse_event(text, format, &p->events[i].config);
    snprintf(file, sizeof(file), "%s.scale", events[i].name);
    ok = ok && sysfile_once(dir, file, text, sizeof(text)) && perf_parse_scale(text, &p->events[i].scale);
    snprintf(file, sizeof(file), "%s.unit", events[i].name);
    ok = ok && sysfile_once(dir, file, unit, sizeof(unit)) && strcmp(unit, "Joules") == 0;
    jl_trace("sensor", "perf: %s %s", events[i].name, ok ? "is known" : "is told in a way that is not known");
    return ok;
}

/* false: there is no such PMU, or it has nothing that is known. */
static bool know_pmu(struct pmu *p)
{
    char text[256], format[64];
    int64_t type;
    bool any = false;
    *p = (struct pmu){.n_cpus = 0};
    int n = snprintf(p->dir, sizeof(p->dir), "%s/%s", jl_sysfs_root(), PMU_FOLDER);
    if (n < 0 || (size_t)n >= sizeof(p->dir) || !sysfile_once_number(p->dir, "type", &type) || type < 0 || type > UINT32_MAX)
        return false;
    p->type = (uint32_t)type;
    if (!sysfile_once(p->dir, "cpumask", text, sizeof(text)) || (p->n_cpus = perf_parse_cpus(text, p->cpus, CPUS_MAX)) < 1)
        return false;
    if (!sysfile_once(p->dir, "format/event", format, sizeof(format)))
        return false;
    for (int i = 0; i < EVENTS; i++)
        any |= p->events[i].has = know_event(p, format, i);
    return any;
}

/* Below a redirected root stands another machine, whose numbers mean nothing to this kernel, unless the caller knows better. */
static bool may_ask(const struct joulet_options *opt)
{
    return perf_calls != &perf_kernel || strcmp(jl_sysfs_root(), "/sys") == 0 || (opt && opt->trust_root);
}

/* ---- reading ----------------------------------------------------------------------------------------------------------- */

struct event {
    int handle; /* -1 while it cannot be read */
    uint64_t config;
    int cpu;
    double scale;
    struct jl_counter count;
    int64_t look_ns;
    bool back;
};

extern const struct sensor_ops sensor_perf;

struct perf {
    struct sensor base;
    struct event *events; /* one for each channel */
    uint32_t type;
};

static bool still_there(struct perf *p, struct event *e, int64_t now)
{
    if (e->handle >= 0)
        return true;
    if (now - e->look_ns < sysfile_look_ns)
        return false;
    e->look_ns = now;
    e->handle = perf_calls->open(p->type, e->config, e->cpu);
    e->back = e->handle >= 0;
    return e->back;
}

static void read_event(struct perf *p, struct event *e, struct sensor_reading *out)
{
    uint64_t count;
    int64_t now = jl_mono_ns();
    *out = (struct sensor_reading){.status = JOULET_GONE};
    if (!still_there(p, e, now))
        return;
    if (!perf_calls->read(e->handle, &count)) {
        out->status = sysfile_status(errno);
        if (out->status == JOULET_GONE) {
            perf_calls->close(e->handle);
            e->handle = -1;
            e->look_ns = now;
        }
        return;
    }
    double uj = (double)count * e->scale * 1e6;
    if (!(uj < 0x1p62)) {
        out->status = JOULET_FORMAT;
        return;
    }
    jl_counter_take(&e->count, (uint64_t)uj, now, out);
    out->reset = out->has && (out->reset || e->back);
    e->back = e->back && !out->has;
}

static void perf_read(struct sensor *s, struct sensor_reading *readings, bool gauges)
{
    struct perf *p = jl_container_of(s, struct perf, base);
    (void)gauges;
    for (size_t i = 0; i < s->n_channels; i++)
        read_event(p, &p->events[i], &readings[i]);
}

static void perf_read_one(struct sensor *s, size_t channel, struct sensor_reading *reading)
{
    struct perf *p = jl_container_of(s, struct perf, base);
    read_event(p, &p->events[channel], reading);
}

static void perf_close(struct sensor *s)
{
    struct perf *p = jl_container_of(s, struct perf, base);
    for (size_t i = 0; i < s->n_channels; i++)
        if (p->events[i].handle >= 0)
            perf_calls->close(p->events[i].handle);
    sensor_release(s);
    free(p->events);
    free(p);
}

/* ---- discovery --------------------------------------------------------------------------------------------------- */

/* Steps of the registers behind the counts: the scale of the kernel is finer than they are. */
static double quantum(const struct rapl_cpu *cpu, bool client, enum rapl_kind kind)
{
    bool one_joule = cpu->intel && cpu->family == 6 && (cpu->model == 0x8f || cpu->model == 0xcf);
    if (kind == RAPL_PSYS && one_joule)
        return 1;
    return cpu->amd || (kind == RAPL_DRAM && !client) ? 0x1p-16 : 0x1p-14;
}

struct search {
    struct pmu pmu;
    struct rapl_cpu cpu;
    enum joulet_provenance provenance;
    int refused; /* errno of the first event that could not be opened; 0: none */
    bool many_dies;
};

static struct rapl_name name_of(const struct search *s, enum rapl_kind kind, int cpu)
{
    struct rapl_name n = {.kind = kind, .socket = 0, .die = -1};
    rapl_know_place(cpu, &n.socket, &n.die);
    if (!s->many_dies)
        n.die = -1;
    return n;
}

/* One of the masked threads a socket, or several: then they stand for dies. */
static void know_dies(struct search *s)
{
    for (int i = 0; i < s->pmu.n_cpus; i++)
        for (int k = 0; k < i; k++)
            s->many_dies |= name_of(s, RAPL_PACKAGE, s->pmu.cpus[i]).socket == name_of(s, RAPL_PACKAGE, s->pmu.cpus[k]).socket;
}

static bool add_event(struct perf *p, struct search *s, int i, int cpu)
{
    struct rapl_name name = name_of(s, events[i].kind, cpu);
    bool client = s->pmu.n_cpus == 1 && (s->cpu.client || s->pmu.events[3].has);
    char id[RAPL_ID_SIZE];
    rapl_id(id, &name, name.kind);
    for (size_t k = 0; k < p->base.n_channels; k++) /* psys of a second die is the same platform */
        if (strcmp(p->base.channels[k].id, id) == 0)
            return true;
    int handle = perf_calls->open(s->pmu.type, s->pmu.events[i].config, cpu);
    if (handle < 0) {
        s->refused = s->refused ? s->refused : errno;
        return true;
    }
    struct rapl_place place = {.name = name,
                               .amd = s->cpu.amd,
                               .client = client,
                               .filtered = s->cpu.filtered,
                               .quantum_j = quantum(&s->cpu, client, name.kind),
                               .cpu = s->cpu.name};
    p->events[p->base.n_channels] = (struct event){.handle = handle,
                                                   .config = s->pmu.events[i].config,
                                                   .cpu = cpu,
                                                   .scale = s->pmu.events[i].scale,
                                                   .count = {.max_w = rapl_max_w(name.kind)}};
    if (rapl_channel_add(&p->base, &place, s->provenance))
        return true;
    perf_calls->close(handle);
    return false;
}

/* Packages first: what is inside names them. */
static bool add_all(struct perf *p, struct search *s)
{
    for (int k = 0; k < s->pmu.n_cpus; k++)
        for (int i = 0; i < EVENTS; i++)
            if (s->pmu.events[i].has && !add_event(p, s, i, s->pmu.cpus[k]))
                return false;
    bool ok = true;
    for (size_t i = 0; i < p->base.n_channels && ok; i++) {
        char device[32];
        snprintf(device, sizeof(device), "%.*s", (int)strcspn(p->base.channels[i].id, "."), p->base.channels[i].id);
        if (p->base.channels[i].domain == JOULET_DOMAIN_PACKAGE)
            ok = sensor_fact_add(&p->base, device, "name", "%s", s->cpu.name) &&
                 sensor_fact_add(&p->base, device, "driver", "perf events, PMU power");
    }
    return ok;
}

static void tell_refused(struct sensor_list *out, const struct search *s)
{
    char level[16] = "unknown", dir[SYSFILE_PATH];
    snprintf(dir, sizeof(dir), "%s/sys/kernel", jl_procfs_root());
    sysfile_once(dir, "perf_event_paranoid", level, sizeof(level));
    if (s->refused == EACCES || s->refused == EPERM)
        sensor_list_problem(
            out, "perf", JOULET_PERMISSION,
            "the energy events of the CPU are closed to this user (perf_event_paranoid is %s): give the program the right "
            "with `sudo setcap cap_perfmon=ep $(command -v joulet)`, or run joulet with sudo",
            level);
    else if (s->refused)
        sensor_list_problem(
            out, "perf", JOULET_IO,
            "an energy event of the CPU could not be opened (%s): load its driver again with `sudo modprobe -r rapl && "
            "sudo modprobe rapl`",
            strerror(s->refused));
}

static enum joulet_status build(struct sensor_list *out, struct search *s, struct joulet_error *err)
{
    struct perf *p = calloc(1, sizeof(*p));
    if (p)
        p->events = calloc((size_t)s->pmu.n_cpus * EVENTS, sizeof(*p->events));
    if (!p || !p->events) {
        free(p);
        return jl_fail(err, JOULET_MEMORY, "out of memory while opening the energy events of the CPU");
    }
    p->base.ops = &sensor_perf;
    p->type = s->pmu.type;
    bool ok = add_all(p, s), none = p->base.n_channels == 0;
    if (ok)
        tell_refused(out, s);
    if (ok && !none && sensor_list_add(out, &p->base))
        return jl_ok(err);
    perf_close(&p->base);
    return ok && none ? jl_ok(err)
                      : jl_fail(err, JOULET_MEMORY,
                                "the energy events of the CPU could not be opened: out of memory or too many sensors");
}

static enum joulet_status look(struct sensor_list *out, const struct joulet_options *opt, struct joulet_error *err)
{
    struct search s = {.refused = 0};
    bool twice = rapl_wanted(opt, "rapl") && rapl_powercap_works();
    if (rapl_named(opt, "perf") && !twice && !may_ask(opt))
        sensor_list_problem(out, "perf", JOULET_UNSUPPORTED,
                            "%s is that of another machine, and the kernel would answer perf for this one: leave out --sensors "
                            "perf, or say --trust-root where it is this machine's, as in a container",
                            jl_sysfs_root());
    if (twice || !may_ask(opt) || !know_pmu(&s.pmu))
        return jl_ok(err);
    rapl_know_cpu(&s.cpu);
    know_dies(&s);
    s.provenance = sensor_provenance(opt, strcmp(jl_sysfs_root(), "/sys") != 0);
    return build(out, &s, err);
}

static enum joulet_status perf_discover(struct sensor_list *out, const struct joulet_options *opt, struct joulet_error *err)
{
    sysfile_trouble_begin();
    enum joulet_status status = look(out, opt, err);
    sensor_list_trouble(out, "perf");
    return status;
}

bool rapl_perf_works(const struct joulet_options *opt)
{
    struct pmu p;
    if (!may_ask(opt) || !know_pmu(&p) || !p.events[0].has)
        return false;
    int handle = perf_calls->open(p.type, p.events[0].config, p.cpus[0]);
    if (handle >= 0)
        perf_calls->close(handle);
    return handle >= 0;
}

const struct sensor_ops sensor_perf = {
    .name = "perf",
    .summary = "the same counters through perf events, when powercap is closed or absent",
    .cls = SENSOR_FILE,
    .poll_ns = 10 * 1000000LL,
    .lockable = true,
    .discover = perf_discover,
    .read = perf_read,
    .read_one = perf_read_one,
    .close = perf_close,
};
