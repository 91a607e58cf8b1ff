/* powermetrics.c - CPU, GPU and neural engine of a Mac as Apple's powermetrics tells them (docs/method.md 1.1, 1.3).
 *
 * Its samples cover consecutive spans, each of a length of its own: the values are laid on the clock by these lengths and summed
 * up to counters. On macOS the program is started; anywhere JOULET_POWERMETRICS names a pipe that carries its output, a program
 * to start instead, or a recorded file, which is played at its own pace. docs/sensors/powermetrics.md. */
#include "lib/sensors/powermetrics.h"
#include "lib/sensors/sensor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern const struct sensor_ops sensor_powermetrics;

#define SENSOR_NAME "powermetrics"
#define GLANCE_NS   5000000
#define PIECE       65536
#if defined(__APPLE__)
#define PROGRAM    "/usr/bin/powermetrics"
#define ON_REQUEST false
#else
#define PROGRAM    NULL
#define ON_REQUEST true
#endif

int64_t powermetrics_first_ns = 12 * JL_NS_PER_S;

struct powermetrics {
    struct sensor base;
    struct pm_decoder decoder;
    struct jl_spans spans;
    FILE *program; /* a program that was started; NULL: a pipe or file */
    int fd;
    bool recorded, ended, waiting, started, restarted;
    int64_t open_ns, pending_ns; /* when the first bytes of the sample in the decoder came */
    double played_s;
    struct pm_span span; /* read and not told yet, when `waiting` */
    uint64_t bad;
    enum pm_part parts[PM_PARTS]; /* of each channel */
    double total_j[PM_PARTS];
    bool hole[PM_PARTS]; /* a span did not tell this part: no difference across that */
    char piece[PIECE];   /* here and not in each thread: every thread of the program would pay for it */
};

/* ---- bytes -------------------------------------------------------------------------------------------------------------- */

/* The spans begin anew: what was between is not known. */
static void begin_anew(struct powermetrics *p)
{
    p->spans = (struct jl_spans){0};
    p->restarted |= p->started;
    p->started = false;
}

/* Somebody writes into the pipe again. */
static void come_back(struct powermetrics *p)
{
    p->ended = false;
    pm_forget(&p->decoder);
    begin_anew(p);
}

static void fill(struct powermetrics *p)
{
    for (int k = 0; k < 16 && !(p->ended && (p->recorded || p->program)); k++) {
        ssize_t n = read(p->fd, p->piece, sizeof(p->piece));
        if (n <= 0) {
            p->ended |= n == 0 || (errno != EAGAIN && errno != EINTR);
            return;
        }
        if (p->ended)
            come_back(p);
        if (p->decoder.bytes.len == 0)
            p->pending_ns = jl_mono_ns();
        pm_feed(&p->decoder, p->piece, (size_t)n);
        if (p->recorded)
            return;
    }
}

/* The next span into p->span; *arrival_ns when its sample came. */
static bool take_span(struct powermetrics *p, int64_t *arrival_ns)
{
    if (p->waiting)
        return true;
    bool got = pm_next(&p->decoder, p->ended, &p->span);
    if (!got) {
        fill(p);
        got = pm_next(&p->decoder, p->ended, &p->span);
    }
    *arrival_ns = p->pending_ns;
    if (got)
        p->pending_ns = jl_mono_ns(); /* what is left in the decoder begins the next sample */
    return got;
}

/* ---- readings ----------------------------------------------------------------------------------------------------------- */

/* A sample that was cut may lack a part: that one's read has failed, and its counter begins anew. */
static void tell(struct powermetrics *p, struct sensor_reading *readings, double t_s)
{
    for (size_t i = 0; i < p->base.n_channels; i++) {
        enum pm_part part = p->parts[i];
        bool told = !isnan(p->span.energy_j[part]);
        readings[i] = (struct sensor_reading){.status = JOULET_FORMAT};
        if (told)
            readings[i] = (struct sensor_reading){.has = true,
                                                  .reset = p->restarted || p->hole[part],
                                                  .t_ns = jl_ns(t_s),
                                                  .value = (int64_t)(p->total_j[part] * 1e6)};
        p->hole[part] = !told;
    }
    p->restarted = false;
}

static void add_span(struct powermetrics *p)
{
    for (int i = 0; i < PM_PARTS; i++)
        p->total_j[i] += isnan(p->span.energy_j[i]) ? 0 : p->span.energy_j[i];
}

/* A sample that cannot be understood leaves a hole of unknown length. */
static void mind_holes(struct powermetrics *p)
{
    if (p->decoder.bad != p->bad)
        begin_anew(p);
    p->bad = p->decoder.bad;
}

static void gone(struct powermetrics *p, struct sensor_reading *readings)
{
    for (size_t i = 0; i < p->base.n_channels; i++)
        readings[i] = (struct sensor_reading){.status = JOULET_GONE};
}

/* Where the span ends: a live one by its arrival and the lengths, a recorded one by the lengths alone. */
static double end_of_span(struct powermetrics *p, int64_t arrival_ns)
{
    if (p->recorded)
        return jl_s(p->open_ns) + p->played_s + p->span.elapsed_s;
    return jl_spans_end(&p->spans, jl_s(arrival_ns), p->span.elapsed_s);
}

static void powermetrics_read(struct sensor *s, struct sensor_reading *readings, bool gauges)
{
    struct powermetrics *p = jl_container_of(s, struct powermetrics, base);
    int64_t arrival_ns = 0;
    (void)gauges;
    memset(readings, 0, p->base.n_channels * sizeof(*readings));
    if (!take_span(p, &arrival_ns)) {
        if (p->ended)
            gone(p, readings);
        return;
    }
    mind_holes(p);
    if (p->recorded && jl_mono_ns() < p->open_ns + jl_ns(p->played_s + p->span.elapsed_s)) {
        p->waiting = true;
        return;
    }
    p->waiting = false;
    double end_s = end_of_span(p, arrival_ns);
    p->played_s += p->span.elapsed_s;
    if (p->started)
        add_span(p); /* else it only sets the origin: the time before it is not covered */
    p->started = true;
    tell(p, readings, end_s);
}

/* ---- opening --------------------------------------------------------------------------------------------------------------- */

struct part_row {
    const char *id;
    enum joulet_group group;
    enum joulet_domain domain;
};
static const struct part_row part_rows[PM_PARTS] = {
    [PM_CPU] = {"soc0.cpu", JOULET_GROUP_CPU, JOULET_DOMAIN_CORE},
    [PM_GPU] = {"soc0.gpu", JOULET_GROUP_GPU, JOULET_DOMAIN_IGPU},
    [PM_ANE] = {"soc0.ane", JOULET_GROUP_OTHER, JOULET_DOMAIN_NPU},
    [PM_DRAM] = {"soc0.dram", JOULET_GROUP_DRAM, JOULET_DOMAIN_DRAM},
    [PM_COMBINED] = {"soc0.combined", JOULET_GROUP_PLATFORM, JOULET_DOMAIN_SOC},
    [PM_PACKAGE] = {"cpu0.package", JOULET_GROUP_CPU, JOULET_DOMAIN_PACKAGE},
};
static const struct part_row apple_package = {"soc0.package", JOULET_GROUP_PLATFORM, JOULET_DOMAIN_PACKAGE};

static bool has(const struct powermetrics *p, enum pm_part part)
{
    return !isnan(p->span.energy_j[part]);
}

/* The first systems on Apple silicon tell a package: everything on it, memory and fabric too. It holds the parts, while the sum
 * of later ones gives way to them. */
static const char *parent_of(const struct powermetrics *p, enum pm_part part)
{
    bool chip = part == PM_CPU || part == PM_GPU || part == PM_ANE;
    if (chip && has(p, PM_COMBINED))
        return part_rows[PM_COMBINED].id;
    return (chip || part == PM_DRAM) && has(p, PM_PACKAGE) && has(p, PM_CPU) ? apple_package.id : "";
}

static bool describe(struct powermetrics *p, const struct joulet_options *opt, bool redirected)
{
    bool apple = has(p, PM_CPU) || has(p, PM_COMBINED);
    if (has(p, PM_COMBINED))
        p->span.energy_j[PM_PACKAGE] = NAN;   /* the two have not been seen together */
    for (int i = PM_PARTS - 1; i >= 0; i--) { /* what contains others first */
        const struct part_row *row = i == PM_PACKAGE && apple ? &apple_package : &part_rows[i];
        struct joulet_channel ch = SENSOR_CHANNEL_INIT;
        if (!has(p, (enum pm_part)i))
            continue;
        ch.id = row->id;
        ch.device = "Mac";
        ch.parent = parent_of(p, (enum pm_part)i);
        ch.quantity = JOULET_ENERGY;
        ch.group = row->group;
        ch.domain = row->domain;
        ch.provenance = sensor_provenance(opt, redirected);
        ch.in_total =
            strcmp(ch.parent, apple_package.id) != 0; /* the sum of parts gives way to them, a package that holds more does not */
        ch.period_s = p->span.elapsed_s;
        ch.quantum_j = 0.001;
        ch.u_lag_s = 0.02;
        ch.lag_max_s = 0.06;
        ch.rise_s = 0.003;
        ch.spec = 0.1;
        p->parts[p->base.n_channels] = (enum pm_part)i;
        if (!sensor_channel_add(&p->base, &ch))
            return false;
    }
    return true;
}

static void powermetrics_close(struct sensor *s)
{
    struct powermetrics *p = jl_container_of(s, struct powermetrics, base);
    if (p->program)
        pclose(p->program); /* its next line finds the pipe closed, and it ends */
    else if (p->fd >= 0)
        close(p->fd);
    pm_release(&p->decoder);
    sensor_release(s);
    free(p);
}

static bool start_program(struct powermetrics *p, const char *path)
{
    char command[1200];
    if (strlen(path) > 1000 || strpbrk(path, "'\\"))
        return false;
    snprintf(command, sizeof(command), "exec '%s' -i 100 -f plist -b 0 --samplers cpu_power,gpu_power,ane_power 2>/dev/null",
             path);
    p->program = popen(command, "r");
    p->fd = p->program ? fileno(p->program) : -1;
    return p->program && fcntl(p->fd, F_SETFL, O_NONBLOCK) == 0 && fcntl(p->fd, F_SETFD, FD_CLOEXEC) == 0;
}

static bool open_source(struct powermetrics *p, const char *path)
{
    struct stat st;
    p->fd = -1;
    if (stat(path, &st) != 0)
        return false;
    if (S_ISREG(st.st_mode) && access(path, X_OK) == 0)
        return start_program(p, path);
    p->recorded = S_ISREG(st.st_mode);
    p->fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    return p->fd >= 0;
}

/* A named pipe that nobody writes to yet is at its end: that is no end. */
static bool first_span(struct powermetrics *p)
{
    int64_t until = jl_mono_ns() + powermetrics_first_ns, arrival;
    while (jl_mono_ns() < until) {
        if (take_span(p, &arrival)) {
            p->waiting = p->recorded; /* a live one is over; the next sets the origin */
            return true;
        }
        if (p->ended && (p->recorded || p->program || p->decoder.bytes.len))
            return false;
        p->ended = false;
        jl_sleep_until(jl_mono_ns() + GLANCE_NS);
    }
    return false;
}

static enum joulet_status no_memory(struct joulet_error *err)
{
    return jl_fail(err, JOULET_MEMORY, "the output of powermetrics could not be opened: out of memory or too many sensors");
}

static enum joulet_status powermetrics_discover(struct sensor_list *out, const struct joulet_options *opt,
                                                struct joulet_error *err)
{
    const char *named = jl_env("JOULET_POWERMETRICS"), *path = named ? named : PROGRAM;
    enum joulet_status status = JOULET_OK;
    if (!path) {
        sensor_list_problem(
            out, SENSOR_NAME, JOULET_UNSUPPORTED,
            "powermetrics is a program of macOS: elsewhere set JOULET_POWERMETRICS to a pipe or file with its output");
        return jl_ok(err);
    }
    struct powermetrics *p = calloc(1, sizeof(*p));
    if (!p)
        return no_memory(err);
    p->base.ops = &sensor_powermetrics;
    pm_init(&p->decoder);
    if (!open_source(p, path))
        sensor_list_problem(out, SENSOR_NAME, errno == EACCES ? JOULET_PERMISSION : JOULET_NOT_FOUND,
                            "%s, the output of powermetrics, cannot be read: %s; check JOULET_POWERMETRICS", path,
                            strerror(errno));
    else if (!first_span(p))
        sensor_list_problem(
            out, SENSOR_NAME, JOULET_FORMAT,
            "%s shows no sample of powermetrics with power in it: run joulet with sudo on a Mac, elsewhere write the "
            "output of `powermetrics --samplers cpu_power,gpu_power` into it",
            path);
    else
        status = describe(p, opt, named != NULL) && sensor_list_add(out, &p->base) ? JOULET_OK : JOULET_MEMORY;
    p->open_ns = jl_mono_ns();
    if (status != JOULET_OK || !p->base.n_channels)
        powermetrics_close(&p->base);
    return status == JOULET_OK ? jl_ok(err) : no_memory(err);
}

const struct sensor_ops sensor_powermetrics = {
    .name = SENSOR_NAME,
    .summary = "CPU, GPU and neural engine of a Mac, by Apple's powermetrics",
    .cls = SENSOR_SLOW,
    .on_request = ON_REQUEST,
    .poll_ns = 10000000LL,
    .discover = powermetrics_discover,
    .read = powermetrics_read,
    .close = powermetrics_close,
};
