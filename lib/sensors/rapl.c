/* rapl.c - energy counters of CPU packages and memory through powercap: Intel RAPL, and AMD's under the same name.
 *
 * Zones are known by the content of `name`, never by number: numbering follows probe order. Packages (or dies) and the memory
 * of servers are summed; core and uncore lie inside the package; psys holds all of it and stands apart; the memory-mapped twin
 * of a package is left out (1.1). Counters restart at max_energy_range_uj (1.2). What the zones mean is in docs/sensors/rapl.md.
 */
#include "lib/sensors/rapl_channel.h"
#include "lib/sensors/rapl_find.h"
#include "lib/sensors/rapl_ways.h"
#include "lib/sensors/sysfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

/* ---- reading ----------------------------------------------------------------------------------------------------- */

struct counter {
    int fd; /* stays open: opening costs more than reading; -1 while the device is away */
    char *file;
    struct jl_counter count;
    int64_t look_ns;
    bool reset;
};

extern const struct sensor_ops sensor_rapl;

struct rapl {
    struct sensor base;
    struct counter *counters; /* one for each channel */
};

static int open_counter(const char *file)
{
    return open(file, O_RDONLY | O_CLOEXEC);
}

/* A read error in the words of the meter. */
static enum joulet_status status_of(int e)
{
    switch (e) {
    case ENODEV:
    case ENXIO:
    case ENOENT:
        return JOULET_GONE;
    case EACCES:
    case EPERM:
        return JOULET_PERMISSION;
    default:
        return JOULET_IO;
    }
}

static void lose(struct counter *c, int64_t now)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->look_ns = now;
}

static bool removed(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_nlink == 0;
}

/* A file that was removed or replaced below us keeps its last text for ever, and a device may come back: both are looked for
 * once a second while nothing moves. */
static bool still_there(struct counter *c, int64_t now)
{
    if (now - c->look_ns < sysfile_look_ns)
        return c->fd >= 0;
    c->look_ns = now;
    if (c->fd >= 0 && !removed(c->fd))
        return true;
    lose(c, now);
    c->fd = open_counter(c->file);
    c->reset = c->fd >= 0;
    return c->fd >= 0;
}

static enum joulet_status read_raw(struct counter *c, uint64_t *raw)
{
    char text[32];
    ssize_t n;
    do
        n = pread(c->fd, text, sizeof(text), 0);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        int e = errno;
        jl_trace("sensor", "rapl: %s cannot be read: %s", c->file, strerror(e));
        return status_of(e);
    }
    if (rapl_parse_digits(text, (size_t)n, raw))
        return JOULET_OK;
    jl_trace("sensor", "rapl: %s does not hold a number", c->file);
    return JOULET_FORMAT;
}

static void read_counter(struct counter *c, struct sensor_reading *out)
{
    uint64_t raw;
    int64_t now = jl_mono_ns();
    *out = (struct sensor_reading){.status = still_there(c, now) ? read_raw(c, &raw) : JOULET_GONE};
    if (out->status == JOULET_GONE && c->fd >= 0)
        lose(c, now);
    if (out->status != JOULET_OK)
        return; /* the next good reading spans the gap: nothing is lost, and nothing is taken for a wrap */
    if (!c->count.started || raw != c->count.last_uj)
        c->look_ns = now;
    jl_counter_take(&c->count, raw, now, out);
    out->reset = out->reset || c->reset;
    if (out->reset)
        jl_trace("sensor", "rapl: %s restarted", c->file);
    c->reset = false;
}

static void rapl_read(struct sensor *s, struct sensor_reading *readings, bool gauges)
{
    struct rapl *r = jl_container_of(s, struct rapl, base);
    (void)gauges;
    for (size_t i = 0; i < s->n_channels; i++)
        read_counter(&r->counters[i], &readings[i]);
}

static void rapl_read_one(struct sensor *s, size_t channel, struct sensor_reading *reading)
{
    read_counter(&jl_container_of(s, struct rapl, base)->counters[channel], reading);
}

static void rapl_close(struct sensor *s)
{
    struct rapl *r = jl_container_of(s, struct rapl, base);
    for (size_t i = 0; i < s->n_channels; i++) {
        if (r->counters[i].fd >= 0)
            close(r->counters[i].fd);
        free(r->counters[i].file);
    }
    sensor_release(s);
    free(r->counters);
    free(r);
}

/* ---- discovery -------------------------------------------------------------------------------------------------- */

static bool describe(struct rapl *r, const struct rapl_search *s, const struct rapl_found *z, const struct counter *c,
                     enum joulet_provenance provenance)
{
    struct rapl_place place = {.name = z->name,
                               .amd = s->amd,
                               .client = z->name.kind == RAPL_DRAM && rapl_is_client(s, z),
                               .filtered = rapl_is_filtered(s),
                               .quantum_j = rapl_quantum_j(c->count.range_uj),
                               .cpu = s->cpu};
    return rapl_channel_add(&r->base, &place, provenance);
}

/* Power limits change what a run costs: kept with every record. */
static bool limit_facts(struct rapl *r, const struct rapl_found *z, const char *device)
{
    bool ok = true;
    for (int k = 0; k < 3; k++) {
        char file[64], name[64] = "";
        snprintf(file, sizeof(file), "constraint_%d_power_limit_uw", k);
        double watts = (double)rapl_read_number(z->path, file) * 1e-6;
        char *path = jl_strf("%s/constraint_%d_name", z->path, k);
        if (path && watts > 0 && jl_read_text(path, name, sizeof(name), NULL) == JOULET_OK)
            ok &= sensor_fact_add(&r->base, device,
                                  strcmp(name, "long_term") == 0    ? "power_limit_w"
                                  : strcmp(name, "short_term") == 0 ? "power_limit_short_w"
                                                                    : "power_limit_peak_w",
                                  "%.6g", watts);
        free(path);
    }
    return ok;
}

/* The kernel's reader, by the release that may have changed it: fixes of a release do not. */
static bool driver_fact(struct rapl *r, const char *device)
{
    struct utsname u;
    int major, minor;
    if (uname(&u) != 0 || sscanf(u.release, "%d.%d", &major, &minor) != 2)
        return true;
    return sensor_fact_add(&r->base, device, "driver", "powercap of %s %d.%d", u.sysname, major, minor);
}

static bool facts(struct rapl *r, const struct rapl_search *s, const struct rapl_found *z)
{
    char device[32];
    bool ok = true;
    snprintf(device, sizeof(device), "cpu%d", z->name.socket < 0 ? 0 : z->name.socket);
    if (z->name.kind == RAPL_PACKAGE && z->name.die <= 0) {
        ok &= sensor_fact_add(&r->base, device, "name", "%s", s->cpu) && driver_fact(r, device) && limit_facts(r, z, device);
        if (rapl_is_filtered(s))
            ok &= sensor_fact_add(&r->base, device, "energy_filtering", "SGX is on");
    }
    if (z->name.kind == RAPL_DRAM && rapl_is_client(s, z))
        ok &= sensor_fact_add(&r->base, device, "dram", "client part: shown, not added to the total");
    if (z->name.kind == RAPL_CORE && s->amd)
        ok &= sensor_fact_add(&r->base, device, "core", "one core of all, not their sum");
    return ok;
}

static bool take_zone(struct rapl *r, const struct rapl_search *s, const struct rapl_found *z, const char *file, int fd,
                      enum joulet_provenance provenance)
{
    struct counter *c = &r->counters[r->base.n_channels];
    *c = (struct counter){.fd = fd,
                          .file = jl_strdup(file),
                          .count = {.range_uj = rapl_read_number(z->path, "max_energy_range_uj"),
                                    .max_w = rapl_max_w(z->name.kind),
                                    .wraps_w = rapl_wraps_w(z->name.kind)}};
    if (c->file && describe(r, s, z, c, provenance))
        return facts(r, s, z);
    free(c->file);
    close(fd);
    return false;
}

/* Zones that cannot be read, told once for all of them. */
struct refused {
    char first[256];
    size_t n;
    int error;
};

static void tell_refused(struct sensor_list *out, const struct refused *no)
{
    char more[48] = "";
    if (no->n > 1)
        snprintf(more, sizeof(more), " and %zu more", no->n - 1);
    if (status_of(no->error) == JOULET_PERMISSION)
        sensor_list_problem(out, "rapl", JOULET_PERMISSION,
                            "%s%s may be read by root only: run joulet with sudo, or give a group the right with "
                            "`sudo sh -c 'groupadd -f joulet; cd %s/class/powercap; chgrp joulet */energy_uj; "
                            "chmod 0440 */energy_uj'` and join it; `joulet doctor` shows how to keep this after a restart",
                            no->first, more, jl_sysfs_root());
    else if (no->n)
        sensor_list_problem(out, "rapl", no->error == ENOENT ? JOULET_NOT_FOUND : JOULET_IO,
                            "%s%s cannot be opened (%s): load the kernel module again with `sudo modprobe -r intel_rapl_msr && "
                            "sudo modprobe intel_rapl_msr`; `joulet doctor` looks again",
                            no->first, more, strerror(no->error));
}

static bool open_zone(struct rapl *r, const struct rapl_search *s, const struct rapl_found *z, enum joulet_provenance provenance,
                      struct refused *no)
{
    char *file = jl_strf("%s/energy_uj", z->path);
    if (!file)
        return false;
    bool ok = true;
    int fd = open_counter(file);
    if (fd >= 0) {
        ok = take_zone(r, s, z, file, fd, provenance);
    } else if (no->n++ == 0) {
        no->error = errno;
        snprintf(no->first, sizeof(no->first), "%s", file);
    }
    free(file);
    return ok;
}

static bool open_zones(const struct rapl_search *s, struct rapl *r, const struct joulet_options *opt, struct refused *no)
{
    enum joulet_provenance provenance = sensor_provenance(opt, strcmp(jl_sysfs_root(), "/sys") != 0);
    for (size_t i = 0; i < s->n; i++)
        if (!s->zones[i].duplicate && !open_zone(r, s, &s->zones[i], provenance, no))
            return false;
    return true;
}

static enum joulet_status build(const struct rapl_search *s, struct sensor_list *out, const struct joulet_options *opt,
                                struct joulet_error *err)
{
    struct rapl *r = calloc(1, sizeof(*r));
    struct refused no = {.n = 0};
    if (r)
        r->counters = calloc(s->n + 1, sizeof(*r->counters));
    if (!r || !r->counters) {
        free(r);
        return jl_fail(err, JOULET_MEMORY, "out of memory while opening RAPL");
    }
    r->base.ops = &sensor_rapl;
    bool ok = open_zones(s, r, opt, &no);
    bool spared = !r->base.n_channels && rapl_wanted(opt, "perf") && rapl_perf_works(opt);
    if (!spared) /* closed here and open there is no trouble */
        tell_refused(out, &no);
    if (ok && r->base.n_channels && sensor_list_add(out, &r->base))
        return jl_ok(err);
    bool none = ok && !r->base.n_channels;
    rapl_close(&r->base);
    return none ? jl_ok(err) : jl_fail(err, JOULET_MEMORY, "RAPL could not be opened: out of memory or too many sensors");
}

static enum joulet_status look(struct sensor_list *out, const struct joulet_options *opt, struct joulet_error *err)
{
    struct joulet_error why;
    struct rapl_search *s = rapl_search_open(&why);
    if (!s && why.status == JOULET_MEMORY)
        return jl_fail(err, why.status, "%s", why.message);
    if (!s) {
        sensor_list_problem(out, "rapl", why.status, "%s", why.message);
        return jl_ok(err);
    }
    enum joulet_status status = s->n ? build(s, out, opt, err) : jl_ok(err);
    rapl_search_close(s);
    return status;
}

static enum joulet_status rapl_discover(struct sensor_list *out, const struct joulet_options *opt, struct joulet_error *err)
{
    sysfile_trouble_begin();
    enum joulet_status status = look(out, opt, err);
    sensor_list_trouble(out, "rapl");
    return status;
}

const struct sensor_ops sensor_rapl = {
    .name = "rapl",
    .summary = "energy counters of CPU packages and memory (RAPL through powercap)",
    .cls = SENSOR_FILE,
    .poll_ns = 10 * 1000000LL,
    .lockable = true,
    .discover = rapl_discover,
    .read = rapl_read,
    .read_one = rapl_read_one,
    .close = rapl_close,
};
