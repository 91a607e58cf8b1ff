/* nvml.c - NVIDIA GPUs: energy counter, power, and the gauges that tell what a figure is worth.
 *
 * The library is opened at run time (libnvidia-ml.so.1, or JOULET_NVML). Every GPU is a sensor of its own. The energy counter is
 * the figure; power readings see a part of the time on some boards (1.1) and are shown beside it, counted only where there is
 * no counter. A field is believed by its own return code and the type it says it has. Limits: docs/sensors/nvidia.md. */
#include "lib/sensors/nvml_gpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LAG_S      0.025 /* not calibrated: rectangular 0 .. 50 ms (1.1) */
#define U_LAG_S    0.014
#define LAG_MAX_S  0.050
#define RISE_S     0.003
#define SPEC       0.05
#define LIMIT_ROOM 1.05 /* boards overshoot their limit by this at most (2.4) */

extern const struct sensor_ops sensor_nvml;

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static enum joulet_status status_of(int code)
{
    switch (code) {
    case NVML_SUCCESS:
        return JOULET_OK;
    case NVML_GPU_IS_LOST:
    case NVML_GPU_NOT_FOUND:
        return JOULET_GONE;
    case NVML_NO_PERMISSION:
        return JOULET_PERMISSION;
    case NVML_NOT_SUPPORTED:
        return JOULET_UNSUPPORTED;
    default:
        return JOULET_IO;
    }
}

static int read_fields(struct nvml_gpu *g)
{
    for (int i = 0; i < g->n_fields; i++)
        g->fields[i].code = NVML_NO_DATA;
    int code = g->n_fields ? g->lib->api.fields(g->device, g->n_fields, g->fields) : NVML_SUCCESS;
    if (code != NVML_SUCCESS)
        jl_trace("sensor", "nvml: %s: the fields cannot be read: error %d", g->id, code);
    return code;
}

/* Energy since the first reading. The library's counter begins again when the driver is loaded again, as after a board fell off
 * the bus. */
static void count(struct nvml_gpu *g, int64_t now, struct sensor_reading *out)
{
    out->reset = g->started && (now < g->last || g->away);
    g->away = false;
    if (g->started && !out->reset)
        g->total += now - g->last;
    g->started = true;
    g->last = now;
    out->value = g->total;
}

static void read_source(struct nvml_gpu *g, const struct nvml_source *s, int fields_code, struct sensor_reading *out)
{
    int64_t value = -1;
    int code;
    bool known;
    *out = (struct sensor_reading){.status = JOULET_OK};
    if (s->field < 0) {
        code = s->get(g, s->arg, &value);
        known = value >= 0;
    } else {
        code = fields_code != NVML_SUCCESS ? fields_code : g->fields[s->field].code;
        known = code == NVML_SUCCESS && nvml_value(&g->fields[s->field], &value);
    }
    known = known && value <= INT64_MAX / s->scale;
    if (code == NVML_NO_DATA)
        return;
    if (code != NVML_SUCCESS && fields_code == NVML_SUCCESS)
        jl_trace("sensor", "nvml: %s: one reading failed: error %d", g->id, code);
    out->status = status_of(code);
    out->has = code == NVML_SUCCESS && known;
    g->away |= s->counter && out->status == JOULET_GONE;
    if (!out->has)
        return;
    out->value = value * s->scale;
    if (s->counter)
        count(g, value * s->scale, out);
}

static void gpu_read(struct sensor *s, struct sensor_reading *readings, bool gauges)
{
    struct nvml_gpu *g = jl_container_of(s, struct nvml_gpu, base);
    int code = read_fields(g);
    for (size_t i = 0; i < s->n_channels; i++) {
        if (g->sources[i].gauge && !gauges)
            readings[i] = (struct sensor_reading){.status = JOULET_OK};
        else
            read_source(g, &g->sources[i], code, &readings[i]);
    }
}

/* ---- building a GPU's channels ---------------------------------------------------------------------------------- */

static bool add_channel(struct nvml_gpu *g, const char *suffix, struct joulet_channel ch, struct nvml_source src)
{
    char id[48], device[160];
    if (g->base.n_channels == NVML_CHANNELS_MAX)
        return false;
    snprintf(id, sizeof(id), "%s.%s", g->id, suffix);
    snprintf(device, sizeof(device), "%s%s", g->name, g->mig ? ", all instances together" : "");
    ch.id = id;
    ch.device = device;
    ch.group = JOULET_GROUP_GPU;
    ch.provenance = g->lib->provenance;
    g->sources[g->base.n_channels] = src;
    return sensor_channel_add(&g->base, &ch);
}

/* Asks once for a field; keeps it in the set that is read when the driver gives a value. -1: it does not. */
static int try_field(struct nvml_gpu *g, unsigned field, unsigned scope)
{
    struct nvml_field_value v = {.field = field, .scope = scope, .code = NVML_NO_DATA};
    int64_t value;
    if (!g->lib->api.fields || g->n_fields == NVML_FIELDS_MAX || g->lib->api.fields(g->device, 1, &v) != NVML_SUCCESS)
        return -1;
    if (v.code != NVML_SUCCESS || !nvml_value(&v, &value))
        return -1;
    g->fields[g->n_fields] = v;
    return g->n_fields++;
}

static bool works(struct nvml_gpu *g, nvml_gauge *get, int arg)
{
    int64_t value = -1;
    return get(g, arg, &value) == NVML_SUCCESS && value >= 0;
}

static struct joulet_channel energy_or_power(const struct nvml_gpu *g, enum joulet_quantity q)
{
    struct joulet_channel ch = SENSOR_CHANNEL_INIT;
    ch.quantity = q;
    ch.lag_s = LAG_S;
    ch.u_lag_s = U_LAG_S;
    ch.lag_max_s = LAG_MAX_S;
    ch.rise_s = RISE_S;
    ch.spec = SPEC;
    ch.power_max_w = g->limit_w * LIMIT_ROOM;
    ch.domain = JOULET_DOMAIN_GPU;
    return ch;
}

/* The counter: field 83, the older call, or on boards that hold a CPU too the counter of the whole module. */
static bool add_counter(struct nvml_gpu *g)
{
    struct joulet_channel ch = energy_or_power(g, JOULET_ENERGY);
    struct nvml_source src = {.field = try_field(g, NVML_FIELD_ENERGY, NVML_SCOPE_GPU), .scale = 1000, .counter = true};
    const char *suffix = "board";
    ch.in_total = true;
    ch.period_s = g->timing.counter_period_s;
    ch.quantum_j = 0.001;
    if (src.field < 0 && works(g, nvml_get_energy, 0))
        src.get = nvml_get_energy;
    if (src.field < 0 && !src.get) {
        src.field = try_field(g, NVML_FIELD_ENERGY_SCOPED, NVML_SCOPE_MODULE);
        suffix = "module";
        ch.domain = JOULET_DOMAIN_MODULE;
        ch.power_max_w = NAN;
    }
    return (src.field < 0 && !src.get) || add_channel(g, suffix, ch, src);
}

static bool add_power(struct nvml_gpu *g, unsigned field, const char *suffix, double window_s, bool usage)
{
    struct joulet_channel ch = energy_or_power(g, JOULET_POWER);
    struct nvml_source src = {.field = try_field(g, field, NVML_SCOPE_GPU), .scale = 1000};
    ch.parent = g->base.n_channels ? g->base.channels[0].id : "";
    ch.in_total = g->base.n_channels == 0; /* only where nothing better counts */
    ch.period_s = g->timing.power_period_s;
    ch.window_s = window_s;
    ch.contiguous = window_s == ch.period_s;
    if (src.field < 0 && usage && works(g, nvml_get_power, 0))
        src.get = nvml_get_power;
    return (src.field < 0 && !src.get) || add_channel(g, suffix, ch, src);
}

static bool add_gauges(struct nvml_gpu *g)
{
    static const struct {
        const char *suffix;
        enum joulet_quantity quantity;
        nvml_gauge *get;
        int arg;
        int64_t scale;
    } rows[] = {
        {"temperature", JOULET_TEMPERATURE, nvml_get_temperature, 0, 1000},
        {"clock_graphics", JOULET_CLOCK, nvml_get_clock, 0, 1000000},
        {"clock_sm", JOULET_CLOCK, nvml_get_clock, 1, 1000000},
        {"clock_memory", JOULET_CLOCK, nvml_get_clock, 2, 1000000},
        {"utilisation", JOULET_UTILISATION, nvml_get_utilisation, 0, 10000},
        {"memory", JOULET_MEMORY_USED, nvml_get_memory, 0, 1},
        {"power_limit", JOULET_POWER_LIMIT, nvml_get_limit, 0, 1000},
        {"throttle", JOULET_THROTTLE, nvml_get_throttle, 0, 1},
    };
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct joulet_channel ch = SENSOR_CHANNEL_INIT;
        ch.quantity = rows[i].quantity;
        struct nvml_source src = {.field = -1, .get = rows[i].get, .arg = rows[i].arg, .scale = rows[i].scale, .gauge = true};
        if (works(g, src.get, src.arg) && !add_channel(g, rows[i].suffix, ch, src))
            return false;
    }
    return true;
}

static bool add_facts(struct nvml_gpu *g, unsigned arch)
{
    const struct nvml_api *api = &g->lib->api;
    struct sensor *s = &g->base;
    char uuid[96] = "";
    unsigned default_mw;
    int persistence;
    bool ok = sensor_fact_add(s, g->id, "name", "%s", g->name) && sensor_fact_add(s, g->id, "driver", "%s", g->lib->driver) &&
              sensor_fact_add(s, g->id, "architecture", "%s", nvml_architecture_name(arch));
    if (api->uuid && api->uuid(g->device, uuid, sizeof(uuid)) == NVML_SUCCESS)
        ok &= sensor_fact_add(s, g->id, "uuid", "%s", uuid);
    if (!isnan(g->limit_w))
        ok &= sensor_fact_add(s, g->id, "power_limit_w", "%.6g", g->limit_w);
    if (api->default_limit && api->default_limit(g->device, &default_mw) == NVML_SUCCESS && default_mw != UINT32_MAX)
        ok &= sensor_fact_add(s, g->id, "power_limit_default_w", "%.6g", default_mw * 1e-3);
    if (api->persistence && api->persistence(g->device, &persistence) == NVML_SUCCESS)
        ok &= sensor_fact_add(s, g->id, "persistence", "%s", persistence ? "on" : "off");
    if (g->mig)
        ok &= sensor_fact_add(s, g->id, "mig", "on");
    return ok;
}

/* What is asked once, before the channels. */
static unsigned know_gpu(struct nvml_gpu *g, unsigned index)
{
    const struct nvml_api *api = &g->lib->api;
    unsigned arch = 0, mig = 0, pending = 0;
    int major = 0, minor = 0;
    int64_t limit_mw = -1;
    snprintf(g->id, sizeof(g->id), "gpu%u", index);
    if (!api->name || api->name(g->device, g->name, sizeof(g->name)) != NVML_SUCCESS)
        snprintf(g->name, sizeof(g->name), "NVIDIA GPU");
    if (api->architecture && api->architecture(g->device, &arch) != NVML_SUCCESS)
        arch = 0;
    if (api->capability && api->capability(g->device, &major, &minor) != NVML_SUCCESS)
        major = minor = 0;
    g->mig = api->mig_mode && api->mig_mode(g->device, &mig, &pending) == NVML_SUCCESS && mig == 1;
    g->limit_w = nvml_get_limit(g, 0, &limit_mw) == NVML_SUCCESS && limit_mw > 0 ? (double)limit_mw * 1e-3 : NAN;
    g->timing = nvml_timing_of(arch, major, minor, g->name, atoi(g->lib->driver));
    return arch;
}

static bool build(struct nvml_gpu *g, unsigned index)
{
    unsigned arch = know_gpu(g, index);
    return add_counter(g) && add_power(g, NVML_FIELD_POWER_INSTANT, "power", g->timing.instant_s, !g->timing.usage_is_average) &&
           add_power(g, NVML_FIELD_POWER_AVERAGE, "power_average", g->timing.average_s, g->timing.usage_is_average) &&
           add_gauges(g) && add_facts(g, arch);
}

/* ---- opening and closing ---------------------------------------------------------------------------------------- */

static void library_leave(struct nvml_library *lib)
{
    if (atomic_fetch_sub(&lib->users, 1) > 1)
        return;
    lib->api.shutdown();
    jl_lib_close(lib->handle);
    free(lib);
}

static void gpu_close(struct sensor *s)
{
    struct nvml_gpu *g = jl_container_of(s, struct nvml_gpu, base);
    sensor_release(s);
    library_leave(g->lib);
    free(g);
}

/* An instance of a board (MIG) has no meter of its own. */
static void say_without_power(const struct nvml_gpu *g, unsigned index, struct sensor_list *out)
{
    if (g->mig)
        sensor_list_problem(
            out, "nvml", JOULET_UNSUPPORTED,
            "GPU %u (%s) is cut into instances (MIG), of which none has a power of its own: measure the whole board on "
            "its host, or switch MIG off with `sudo nvidia-smi -i %u -mig 0`",
            index, g->name, index);
    else
        sensor_list_problem(out, "nvml", JOULET_UNSUPPORTED,
                            "GPU %u (%s) reports neither energy nor power to its driver: it needs a wall meter", index, g->name);
}

/* Adds GPU `index`; a board that tells nothing of power is a problem, not a sensor. */
static enum joulet_status add_gpu(struct nvml_library *lib, unsigned index, struct sensor_list *out, struct joulet_error *err)
{
    char why[256];
    struct nvml_gpu *g = calloc(1, sizeof(*g));
    if (!g)
        return jl_fail(err, JOULET_MEMORY, "out of memory while opening GPU %u", index);
    g->base.ops = &sensor_nvml;
    g->lib = lib;
    atomic_fetch_add(&lib->users, 1);
    int code = lib->api.device(index, &g->device);
    if (code != NVML_SUCCESS) {
        enum joulet_status status = nvml_explain(&lib->api, code, why, sizeof(why));
        sensor_list_problem(out, "nvml", status, "GPU %u cannot be opened: %s", index, why);
    } else if (!build(g, index)) {
        gpu_close(&g->base);
        return jl_fail(err, JOULET_MEMORY, "out of memory while opening GPU %u", index);
    } else if (!g->base.n_channels || g->base.channels[0].quantity > JOULET_POWER) {
        say_without_power(g, index, out);
    } else if (!sensor_list_add(out, &g->base)) {
        sensor_list_problem(out, "nvml", JOULET_LIMIT, "GPU %u is left out: there are more sensors than joulet can hold", index);
    } else {
        jl_trace("sensor", "nvml: %s is %s, %zu channels, the first %s", g->id, g->name, g->base.n_channels,
                 g->base.channels[0].id);
        return jl_ok(err);
    }
    gpu_close(&g->base);
    return jl_ok(err);
}

/* The library's own name belongs to the driver's package; the second is where WSL 2 keeps it. */
static void *open_library(struct sensor_list *out)
{
    static const char *const names[] = {"libnvidia-ml.so.1", "/usr/lib/wsl/lib/libnvidia-ml.so.1"};
    const char *asked = jl_env("JOULET_NVML");
    char path[4096], version[1024];
    struct joulet_error err;
    if (asked) {
        void *lib = jl_lib_open(asked, &err);
        if (!lib)
            sensor_list_problem(out, "nvml", JOULET_NOT_FOUND, "JOULET_NVML cannot be opened: %s", err.message);
        return lib;
    }
    for (size_t i = 0; i < JL_COUNT(names); i++) {
        void *lib = jl_lib_open(names[i], &err);
        if (lib)
            return lib;
    }
    snprintf(path, sizeof(path), "%s/driver/nvidia/version", jl_procfs_root());
    if (jl_read_text(path, version, sizeof(version), NULL) == JOULET_OK)
        sensor_list_problem(out, "nvml", JOULET_NOT_FOUND,
                            "the NVIDIA driver is loaded but libnvidia-ml.so.1 is not installed: install the driver's library "
                            "(Debian: libnvidia-ml1), or in a container set NVIDIA_DRIVER_CAPABILITIES=utility");
    return NULL;
}

/* Loads and initialises; NULL when there is nothing to use, said as a problem where something is in the way. */
static struct nvml_library *library_enter(struct sensor_list *out, const struct joulet_options *opt, struct joulet_error *err)
{
    char why[320];
    void *handle = open_library(out);
    struct nvml_library *lib = handle ? calloc(1, sizeof(*lib)) : NULL;
    if (!lib) {
        if (handle)
            jl_fail(err, JOULET_MEMORY, "out of memory while opening the NVIDIA library");
        jl_lib_close(handle);
        return NULL;
    }
    lib->handle = handle;
    atomic_init(&lib->users, 1);
    lib->provenance = sensor_provenance(opt, jl_env("JOULET_NVML") != NULL);
    const char *missing = nvml_api_load(&lib->api, handle);
    int code = missing ? 0 : lib->api.init();
    if (missing) {
        sensor_list_problem(out, "nvml", JOULET_UNSUPPORTED,
                            "the NVIDIA library has no function %s: it is too old or not NVIDIA's; install a newer driver",
                            missing);
    } else if (code != NVML_SUCCESS) {
        enum joulet_status status = nvml_explain(&lib->api, code, why, sizeof(why));
        sensor_list_problem(out, "nvml", status, "%s", why);
    } else {
        if (lib->api.driver_version && lib->api.driver_version(lib->driver, sizeof(lib->driver)) != NVML_SUCCESS)
            lib->driver[0] = '\0';
        return lib;
    }
    jl_lib_close(handle);
    free(lib);
    return NULL;
}

static enum joulet_status nvml_discover(struct sensor_list *out, const struct joulet_options *opt, struct joulet_error *err)
{
    unsigned n = 0;
    struct joulet_error none = {.status = JOULET_OK};
    struct nvml_library *lib = library_enter(out, opt, &none);
    if (!lib)
        return none.status == JOULET_OK ? jl_ok(err) : jl_fail(err, none.status, "%s", none.message);
    enum joulet_status status = jl_ok(err);
    int code = lib->api.count(&n);
    if (code != NVML_SUCCESS) {
        char why[320];
        enum joulet_status problem = nvml_explain(&lib->api, code, why, sizeof(why));
        sensor_list_problem(out, "nvml", problem, "%s", why);
        n = 0;
    }
    for (unsigned i = 0; i < n && status == JOULET_OK; i++)
        status = add_gpu(lib, i, out, err);
    library_leave(lib);
    return status;
}

const struct sensor_ops sensor_nvml = {
    .name = "nvml",
    .summary = "energy, power and state of NVIDIA GPUs (NVML)",
    .cls = SENSOR_LIBRARY,
    .poll_ns = 5 * 1000000LL,
    .discover = nvml_discover,
    .read = gpu_read,
    .processes = nvml_processes,
    .close = gpu_close,
};
