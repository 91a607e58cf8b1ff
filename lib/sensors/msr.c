/* msr.c - the energy counters of RAPL from the registers themselves, through /dev/cpu/N/msr (docs/sensors/msr.md): only when
 * asked for by name, read and never written. For machines whose kernel shows neither powercap nor perf events; those know more
 * quirks. One hardware thread of each package (Intel: of each die) is asked. Counts are the lower 32 bits, in steps of 2^-ESU J.
 */
#include "lib/sensors/rapl_channel.h"
#include "lib/sensors/rapl_ways.h"
#include "lib/sensors/sysfile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLACES_MAX 64
#define CPUS_MAX   4096
#define PER_PLACE  5

#define INTEL_UNIT 0x606
#define AMD_UNIT   0xC0010299

/* AMD's core register is that of one core, like the zone of powercap. */
static const struct {
    enum rapl_kind kind;
    uint32_t intel, amd; /* 0: none */
} registers[PER_PLACE] = {{RAPL_PACKAGE, 0x611, 0xC001029B},
                          {RAPL_DRAM, 0x619, 0},
                          {RAPL_CORE, 0x639, 0xC001029A},
                          {RAPL_UNCORE, 0x641, 0},
                          {RAPL_PSYS, 0x64D, 0}};

struct counter {
    size_t file;
    uint32_t address;
    unsigned esu; /* a step is 2^-esu J */
    struct jl_counter count;
};

struct place {
    int cpu, socket, die;
    struct sysfile file;
};

extern const struct sensor_ops sensor_msr;

struct msr {
    struct sensor base;
    struct place places[PLACES_MAX];
    size_t n_places;
    struct counter counters[PLACES_MAX * PER_PLACE]; /* one for each channel */
};

/* ---- reading ------------------------------------------------------------------------------------------------------------ */

static enum joulet_status read_register(struct sysfile *f, uint32_t address, uint64_t *value)
{
    uint8_t b[8];
    size_t n;
    enum joulet_status status = sysfile_read(f, b, sizeof(b), address, &n);
    if (status != JOULET_OK)
        return status;
    if (n != sizeof(b))
        return JOULET_IO;
    *value = 0;
    for (size_t i = 0; i < sizeof(b); i++) /* registers are of x86: lowest byte first */
        *value |= (uint64_t)b[i] << (8 * i);
    return JOULET_OK;
}

static uint64_t steps_uj(uint64_t steps, unsigned esu)
{
    return steps * 1000000 >> esu;
}

static void read_counter(struct msr *m, struct counter *c, struct sensor_reading *out)
{
    uint64_t raw = 0;
    struct sysfile *f = &m->places[c->file].file;
    *out = (struct sensor_reading){.status = read_register(f, c->address, &raw)};
    if (out->status == JOULET_OK)
        jl_counter_take(&c->count, steps_uj(raw & 0xffffffff, c->esu), jl_mono_ns(), out);
}

/* A processor that was offline in between may have lost its counts: no difference across that. */
static void msr_read(struct sensor *s, struct sensor_reading *readings, bool gauges)
{
    struct msr *m = jl_container_of(s, struct msr, base);
    (void)gauges;
    for (size_t i = 0; i < s->n_channels; i++) {
        read_counter(m, &m->counters[i], &readings[i]);
        readings[i].reset |= readings[i].has && m->places[m->counters[i].file].file.back;
    }
    for (size_t i = 0; i < m->n_places; i++)
        m->places[i].file.back = false;
}

static void msr_read_one(struct sensor *s, size_t channel, struct sensor_reading *reading)
{
    struct msr *m = jl_container_of(s, struct msr, base);
    read_counter(m, &m->counters[channel], reading);
}

static void msr_close(struct sensor *s)
{
    struct msr *m = jl_container_of(s, struct msr, base);
    for (size_t i = 0; i < m->n_places; i++)
        sysfile_close(&m->places[i].file);
    sensor_release(s);
    free(m);
}

/* ---- the processor ----------------------------------------------------------------------------------------------- */

/* Memory of these servers counts in 2^-16 J whatever the unit register says, and the platform of the last two in whole joules. */
static unsigned unit_of(const struct rapl_cpu *cpu, enum rapl_kind kind, unsigned esu)
{
    static const int fixed_dram[] = {0x3f, 0x4f, 0x56, 0x55, 0x6a, 0x6c, 0x57, 0x85};
    bool known = cpu->intel && cpu->family == 6;
    for (size_t i = 0; kind == RAPL_DRAM && known && i < JL_COUNT(fixed_dram); i++)
        if (cpu->model == fixed_dram[i])
            return 16;
    if (kind == RAPL_PSYS && known && (cpu->model == 0x8f || cpu->model == 0xcf))
        return 0;
    return esu;
}

/* The first Atoms count in 2^ESU uJ: their numbers would be wrong without a word. */
static bool counts_otherwise(const struct rapl_cpu *cpu)
{
    static const int models[] = {0x37, 0x4a, 0x5a, 0x5d};
    for (size_t i = 0; i < JL_COUNT(models); i++)
        if (cpu->intel && cpu->family == 6 && cpu->model == models[i])
            return true;
    return false;
}

static bool has_place(const struct msr *m, int socket, int die)
{
    for (size_t i = 0; i < m->n_places; i++)
        if (m->places[i].socket == socket && m->places[i].die == die)
            return true;
    return false;
}

/* Threads that the machine has, offline ones too: looking at every number that could be takes far longer. */
static enum joulet_status know_threads(bool there[CPUS_MAX])
{
    char dir[SYSFILE_PATH], **names = NULL;
    size_t n = 0;
    snprintf(dir, sizeof(dir), "%s/devices/system/cpu", jl_sysfs_root());
    enum joulet_status status = sysfile_list(dir, &names, &n, NULL);
    for (size_t i = 0; i < n; i++) {
        int64_t number;
        bool thread = jl_starts(names[i], "cpu") && jl_parse_i64(names[i] + 3, &number) && number >= 0 && number < CPUS_MAX;
        if (thread)
            there[number] = true;
    }
    jl_free_list(names, n);
    return status == JOULET_MEMORY ? JOULET_MEMORY : JOULET_OK;
}

/* The first hardware thread of each package; on Intel of each die. Offline threads have no topology folder. */
static bool find_places(struct msr *m, const struct rapl_cpu *cpu)
{
    bool threads[CPUS_MAX] = {false};
    bool ok = know_threads(threads) == JOULET_OK;
    for (int i = 0; i < CPUS_MAX && m->n_places < PLACES_MAX; i++) {
        int socket, die;
        int64_t there;
        char dir[SYSFILE_PATH];
        snprintf(dir, sizeof(dir), "%s/devices/system/cpu/cpu%d/topology", jl_sysfs_root(), i);
        if (!threads[i] || !sysfile_once_number(dir, "physical_package_id", &there))
            continue;
        rapl_know_place(i, &socket, &die);
        die = cpu->amd ? -1 : die;
        if (!has_place(m, socket, die))
            m->places[m->n_places++] = (struct place){.cpu = i, .socket = socket, .die = die, .file = {.fd = -1}};
    }
    return ok;
}

static bool many_dies(const struct msr *m)
{
    for (size_t i = 0; i < m->n_places; i++)
        for (size_t k = 0; k < i; k++)
            if (m->places[i].socket == m->places[k].socket)
                return true;
    return false;
}

/* ---- discovery --------------------------------------------------------------------------------------------------- */

struct search {
    struct rapl_cpu cpu;
    bool dies, client;
    enum joulet_provenance provenance;
};

/* Registers that a processor does not have say an error or 0 for ever; a counter at 0 since the machine was started is none. */
static bool add_counter(struct msr *m, const struct search *s, size_t at, size_t row, unsigned esu)
{
    struct place *p = &m->places[at];
    uint32_t address = s->cpu.amd ? registers[row].amd : registers[row].intel;
    enum rapl_kind kind = registers[row].kind;
    uint64_t value = 0;
    char id[RAPL_ID_SIZE];
    p->file.unsure = true;
    if (!address || read_register(&p->file, address, &value) != JOULET_OK || (value & 0xffffffff) == 0)
        return true;
    struct rapl_place place = {.name = {.kind = kind, .socket = p->socket, .die = s->dies ? p->die : -1},
                               .amd = s->cpu.amd,
                               .client = s->client,
                               .filtered = s->cpu.filtered,
                               .cpu = s->cpu.name};
    rapl_id(id, &place.name, kind);
    for (size_t k = 0; k < m->base.n_channels; k++)
        if (strcmp(m->base.channels[k].id, id) == 0)
            return true;
    esu = unit_of(&s->cpu, kind, esu);
    place.quantum_j = 1.0 / (double)(1u << esu);
    m->counters[m->base.n_channels] = (struct counter){
        .file = at,
        .address = address,
        .esu = esu,
        .count = {.range_uj = steps_uj(UINT64_C(1) << 32, esu), .max_w = rapl_max_w(kind), .wraps_w = rapl_wraps_w(kind)}};
    return rapl_channel_add(&m->base, &place, s->provenance);
}

static bool add_place(struct msr *m, const struct search *s, size_t at, bool *refused)
{
    uint64_t unit;
    bool ok = true;
    enum joulet_status status = read_register(&m->places[at].file, s->cpu.amd ? AMD_UNIT : INTEL_UNIT, &unit);
    *refused = status != JOULET_OK;
    unsigned esu = *refused ? 0 : (unsigned)(unit >> 8 & 0x1f);
    size_t before = m->base.n_channels;
    for (size_t row = 0; !*refused && ok && row < PER_PLACE; row++) {
        ok = add_counter(m, s, at, row, esu);
        if (row == 0) /* each has a package, or none of the counters */
            *refused = ok && m->base.n_channels == before;
    }
    return ok;
}

static void tell_closed(struct sensor_list *out, const struct sysfile *f)
{
    if (sysfile_status(f->error) == JOULET_PERMISSION)
        sensor_list_problem(
            out, "msr", JOULET_PERMISSION,
            "%s may be read by root only, and not at all while the kernel is locked down: run joulet with sudo, or use "
            "--sensors rapl or perf",
            f->path);
    else
        sensor_list_problem(
            out, "msr", JOULET_NOT_FOUND,
            "%s is not there (%s): load the kernel module with `sudo modprobe msr`, or use --sensors rapl or perf", f->path,
            strerror(f->error));
}

static void tell_none(struct sensor_list *out, const struct sysfile *f)
{
    sensor_list_problem(
        out, "msr", JOULET_UNSUPPORTED,
        "%s shows no energy counters: the processor has none, or this is a virtual machine; run joulet on the host", f->path);
}

static bool add_places(struct msr *m, struct search *s, struct sensor_list *out)
{
    bool told = false, ok = true;
    for (size_t i = 0; ok && i < m->n_places; i++) {
        char dir[SYSFILE_PATH];
        bool refused = false;
        snprintf(dir, sizeof(dir), "%s/cpu/%d", jl_devfs_root(), m->places[i].cpu);
        bool there = sysfile_open(&m->places[i].file, dir, "msr");
        ok = !there || add_place(m, s, i, &refused);
        if (!there && !told)
            tell_closed(out, &m->places[i].file);
        else if (refused && !told)
            tell_none(out, &m->places[i].file);
        told |= !there || refused;
    }
    for (size_t i = 0; ok && i < m->base.n_channels; i++)
        if (m->base.channels[i].domain == JOULET_DOMAIN_PACKAGE) {
            char device[32];
            snprintf(device, sizeof(device), "%.*s", (int)strcspn(m->base.channels[i].id, "."), m->base.channels[i].id);
            ok = sensor_fact_add(&m->base, device, "name", "%s", s->cpu.name) &&
                 sensor_fact_add(&m->base, device, "driver", "registers");
        }
    return ok;
}

static enum joulet_status build(struct sensor_list *out, struct search *s, struct joulet_error *err)
{
    struct msr *m = calloc(1, sizeof(*m));
    if (!m)
        return jl_fail(err, JOULET_MEMORY, "out of memory while opening the registers of the CPU");
    m->base.ops = &sensor_msr;
    bool ok = find_places(m, &s->cpu);
    s->dies = many_dies(m);
    s->client = m->n_places == 1 && s->cpu.client;
    if (ok && m->n_places == 0)
        sensor_list_problem(out, "msr", JOULET_UNSUPPORTED,
                            "%s/devices/system/cpu shows no hardware thread, so there is none whose registers could be read: use "
                            "--sensors rapl or perf",
                            jl_sysfs_root());
    ok = ok && add_places(m, s, out);
    bool none = m->base.n_channels == 0;
    if (ok && !none && sensor_list_add(out, &m->base))
        return jl_ok(err);
    msr_close(&m->base);
    return ok && none
               ? jl_ok(err)
               : jl_fail(err, JOULET_MEMORY, "the registers of the CPU could not be opened: out of memory or too many sensors");
}

/* It is asked for by name only: what is not there is told. */
static void tell_other_processor(struct sensor_list *out)
{
    bool one_machine = (strcmp(jl_sysfs_root(), "/sys") == 0) == (strcmp(jl_procfs_root(), "/proc") == 0);
    sensor_list_problem(
        out, "msr", JOULET_UNSUPPORTED,
        "msr reads registers of Intel's and AMD's processors, and %s/cpuinfo %s: leave out --sensors msr; `joulet "
        "sensors` shows what there is",
        jl_procfs_root(), one_machine ? "tells of none" : "and the sensors are not of one machine");
}

static enum joulet_status look(struct sensor_list *out, const struct joulet_options *opt, struct joulet_error *err)
{
    struct search s;
    if (!rapl_know_cpu(&s.cpu) || !(s.cpu.amd || s.cpu.intel)) {
        tell_other_processor(out);
        return jl_ok(err);
    }
    bool rapl = rapl_named(opt, "rapl") && rapl_powercap_works();
    if (rapl || (rapl_named(opt, "perf") && rapl_perf_works(opt))) {
        sensor_list_problem(
            out, "msr", JOULET_UNSUPPORTED,
            "msr reads the same counters as %s, which works: it is left out, so that no joule counts twice; use one of them",
            rapl ? "rapl" : "perf");
        return jl_ok(err);
    }
    if (counts_otherwise(&s.cpu)) {
        sensor_list_problem(out, "msr", JOULET_UNSUPPORTED,
                            "the registers of %s count in a unit of their own: use --sensors rapl, which knows it", s.cpu.name);
        return jl_ok(err);
    }
    s.provenance = sensor_provenance(opt, strcmp(jl_devfs_root(), "/dev") != 0 || strcmp(jl_sysfs_root(), "/sys") != 0);
    return build(out, &s, err);
}

static enum joulet_status msr_discover(struct sensor_list *out, const struct joulet_options *opt, struct joulet_error *err)
{
    sysfile_trouble_begin();
    enum joulet_status status = look(out, opt, err);
    sensor_list_trouble(out, "msr");
    return status;
}

const struct sensor_ops sensor_msr = {
    .name = "msr",
    .summary = "the same counters from the processor's registers; read-only, root only",
    .cls = SENSOR_FILE,
    .on_request = true,
    .poll_ns = 10 * 1000000LL,
    .lockable = true,
    .discover = msr_discover,
    .read = msr_read,
    .read_one = msr_read_one,
    .close = msr_close,
};
