/* doctor_checks.c - `joulet doctor` about everything but the sensors: the machine, the folders, the engine. */
#include "cli/doctor.h"
#include "llm/runtime.h"
#include "store/store.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define DISK_LOW_BYTES ((int64_t)2 << 30) /* a model and its records need this */
#define GUESSED_FACTOR 2.0                /* estimates with a known thermal design power are better than this */
#define LATE_SHARE     0.05

/* ---- the machine -------------------------------------------------------------------------------------------------- */

static void check_machine(const struct doctor *d, struct finding *f)
{
    const struct jl_machine *m = &d->machine;
    found(f, DOCTOR_OK, "%s, %d thread%s%s, %s, Linux %s", m->cpu[0] ? m->cpu : m->arch, m->threads, m->threads == 1 ? "" : "s",
          m->virtual_machine ? " of a virtual machine" : "", m->os, m->kernel);
}

/* A second meter without threads: the estimate is described also where it is not needed. */
static void check_estimate(const struct doctor *d, struct finding *f)
{
    struct joulet_options o = {.size = sizeof o, .sensors = "tdp", .no_thread = true};
    struct joulet_channel ch;
    struct joulet_error err;
    struct joulet *m;
    bool needed = !live_measures(&d->live);
    if (joulet_open(&m, &o, &err) != JOULET_OK) {
        found(f, needed ? DOCTOR_FAILED : DOCTOR_UNKNOWN, "%s", err.message);
        return;
    }
    bool any = joulet_channel_get(m, 0, &ch) == JOULET_OK;
    bool guessed = any && ch.factor_hi > GUESSED_FACTOR;
    if (!any)
        found(f, DOCTOR_UNKNOWN, "no estimate is possible here");
    else
        found(f, needed ? DOCTOR_ADVICE : DOCTOR_OK, "%s%s: the truth lies between %.2f and %.2f times an estimate",
              needed ? "nothing here measures, figures are estimates from " : "without a sensor, estimates would come from ",
              guessed ? "a guess, for the power of this processor is not known" : "the thermal design power of the processor",
              ch.factor_lo, ch.factor_hi);
    if (any && needed)
        remedy(f, "see above for a sensor; else compare runs of this machine only");
    joulet_close(m);
}

static void check_container(const struct doctor *d, struct finding *f)
{
    static const struct {
        const char *file, *word, *name;
    } signs[] = {{"/.dockerenv", NULL, "Docker"},
                 {"/run/.containerenv", NULL, "Podman"},
                 {"/proc/self/cgroup", "kubepods", "Kubernetes"},
                 {"/proc/self/cgroup", "docker", "Docker"},
                 {"/proc/self/cgroup", "lxc", "LXC"}};
    const char *name = NULL;
    struct jl_buf b;
    jl_buf_init(&b, 1 << 16);
    for (size_t i = 0; i < JL_COUNT(signs) && !name; i++) {
        jl_buf_clear(&b);
        if (!signs[i].word ? access(signs[i].file, F_OK) == 0
                           : jl_read_file(signs[i].file, &b, NULL) == JOULET_OK && b.data && strstr(b.data, signs[i].word))
            name = signs[i].name;
    }
    jl_buf_release(&b);
    bool blind = name && !d->machine.virtual_machine && !live_measures(&d->live);
    if (!name)
        found(f, DOCTOR_OK, "not in a container");
    else
        found(f, blind ? DOCTOR_ADVICE : DOCTOR_OK,
              "in a container (%s): it sees the sensors of its host only if they are passed in", name);
    if (blind)
        remedy(f, "start it with --gpus all, and with -v /sys/devices/virtual/powercap:/sys/devices/virtual/powercap:ro as root");
}

static void check_roots(const struct doctor *d, struct finding *f)
{
    bool trusted = cli_flag(d->cli, "trust-root");
    if (jl_privileged())
        found(f, DOCTOR_OK,
              "joulet runs with rights of its own (set-user-id or capabilities): variables that redirect it are ignored");
    else if (!jl_roots_redirected())
        found(f, DOCTOR_OK, "sensors are read from /sys and /proc of this machine");
    else
        found(f, trusted ? DOCTOR_OK : DOCTOR_ADVICE, "sensors are read below %s and %s%s", jl_sysfs_root(), jl_procfs_root(),
              trusted ? ", trusted by --trust-root" : ", so figures are marked simulated");
    if (f->verdict == DOCTOR_ADVICE)
        remedy(f, "unset JOULET_SYSFS JOULET_PROCFS JOULET_DEVFS JOULET_NVML");
}

static void check_governor(const struct doctor *d, struct finding *f)
{
    const char *g = d->machine.governor;
    if (!g[0])
        found(f, DOCTOR_UNKNOWN, "the frequency governor of the CPU is not visible here");
    else if (strcmp(g, "performance") == 0)
        found(f, DOCTOR_OK, "the frequency governor is performance: runs compare well");
    else
        found(f, DOCTOR_ADVICE, "the frequency governor is %s: the clock follows the load, and runs compare less well", g);
    if (f->verdict == DOCTOR_ADVICE)
        remedy(f, "sudo cpupower frequency-set -g performance   # %s afterwards", g);
}

static void check_power(const struct doctor *d, struct finding *f)
{
    int battery = jl_on_battery();
    (void)d;
    if (battery > 0)
        found(f, DOCTOR_ADVICE, "on battery: the machine saves power, and runs compare less well");
    else if (battery == 0)
        found(f, DOCTOR_OK, "on mains");
    else
        found(f, DOCTOR_OK, "no battery is visible: on mains, as far as can be told");
    if (battery > 0)
        remedy(f, "plug it in");
}

/* Reads of the clock stamp every sample: a slow source makes all times worse. */
static void check_clock(const struct doctor *d, struct finding *f)
{
    enum { READS = 2000 };
    static const char *const slow[] = {"hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit"};
    char path[4096], source[64];
    (void)d;
    snprintf(path, sizeof path, "%s/devices/system/clocksource/clocksource0/current_clocksource", jl_sysfs_root());
    int64_t from = jl_mono_ns();
    for (int i = 0; i < READS; i++)
        jl_mono_ns();
    double cost_ns = (double)(jl_mono_ns() - from) / READS;
    if (jl_read_text(path, source, sizeof source, NULL) != JOULET_OK) {
        found(f, DOCTOR_UNKNOWN, "the clock source is not visible here; reading the clock costs %.0f ns", cost_ns);
        return;
    }
    found(f, DOCTOR_OK, "the clock is %s; reading it costs %.0f ns", source, cost_ns);
    for (size_t i = 0; i < JL_COUNT(slow); i++)
        if (strcmp(source, slow[i]) == 0)
            f->verdict = DOCTOR_ADVICE;
    if (f->verdict == DOCTOR_ADVICE)
        remedy(f, "boot with tsc=reliable, if the processor has an invariant time stamp counter");
}

static void check_sampling(const struct doctor *d, struct finding *f)
{
    struct joulet_stats s;
    if (!d->live.meter || joulet_stats_get(d->live.meter, &s) != JOULET_OK || !s.reads) {
        found(f, DOCTOR_UNKNOWN, "nothing was sampled");
        return;
    }
    bool late = (double)s.late > LATE_SHARE * (double)s.reads, failed = s.failed > 0;
    found(f,
          failed ? DOCTOR_FAILED
          : late ? DOCTOR_ADVICE
                 : DOCTOR_OK,
          "first sample after %.1f ms, %llu reads, %llu late, %llu failed", s.first_sample_s * 1e3, (unsigned long long)s.reads,
          (unsigned long long)s.late, (unsigned long long)s.failed);
    if (failed)
        remedy(f, "JOULET_TRACE=sensor joulet monitor   # shows which reads fail, and why");
    else if (late)
        remedy(f, "end other programs, or let joulet run with priority: sudo nice -n -5 joulet ...");
}

/* ---- folders ------------------------------------------------------------------------------------------------------ */

static void describe_disk(const char *dir, struct finding *f)
{
    int64_t free_bytes = jl_disk_free(dir);
    size_t n = strlen(f->text);
    if (free_bytes < 0)
        return;
    snprintf(f->text + n, sizeof f->text - n, ", %.1f GiB free", (double)free_bytes / 1073741824.0);
    if (free_bytes >= DISK_LOW_BYTES || f->verdict != DOCTOR_OK)
        return;
    f->verdict = DOCTOR_ADVICE;
    remedy(f, "make room: traces of a run take about 1 MB a minute, a model some GB");
}

/* An existing database is opened: that finds one that is newer, locked or damaged. */
static void check_database(const struct doctor *d, struct finding *f)
{
    struct joulet_error err = {0};
    struct store *s = NULL;
    struct stat st;
    const char *given = cli_str(d->cli, "db");
    char *dir = jl_data_dir(&err), *path = given ? jl_strdup(given) : dir ? jl_strf("%s/joulet.db", dir) : NULL;
    if (!path) {
        found(f, DOCTOR_FAILED, "%s", err.message);
    } else if (stat(path, &st) != 0) {
        bool writable = given || access(dir, W_OK) == 0;
        found(f, writable ? DOCTOR_OK : DOCTOR_FAILED,
              writable ? "no runs yet; they will be kept in %s"
                       : "%s cannot be made: the "
                         "folder may not be written by this user",
              path);
        if (!writable)
            remedy(f, "sudo chown \"$USER\" %s", dir);
    } else if (store_open(&s, path, &err) != JOULET_OK) {
        found(f, DOCTOR_FAILED, "%s", err.message);
    } else {
        found(f, DOCTOR_OK, "runs are kept in %s (%.1f MiB)", path, (double)st.st_size / 1048576.0);
    }
    store_close(s);
    if (f->verdict != DOCTOR_FAILED && dir)
        describe_disk(dir, f);
    free(path);
    free(dir);
}

/* ---- engine ------------------------------------------------------------------------------------------------------- */

static char *on_path(const char *program)
{
    const char *path = getenv("PATH");
    while (path && *path) {
        size_t n = strcspn(path, ":");
        char *file = jl_strf("%.*s/%s", (int)n, path, program);
        if (file && access(file, X_OK) == 0)
            return file;
        free(file);
        path += n + (path[n] == ':');
    }
    return NULL;
}

/* What --engine names may be one to start, too. */
static bool is_program(const char *engine)
{
    char *file = strstr(engine, "://") ? NULL : on_path(engine);
    bool is = file || (strchr(engine, '/') && !strstr(engine, "://")) || strcasecmp(engine, "private") == 0;
    free(file);
    return is;
}

static bool answers(const struct doctor *d, const char *engine, struct finding *f, struct joulet_error *err)
{
    struct engine *e;
    const struct runtime_wanted w = {
        .engine = engine, .key = cli_str(d->cli, "key"), .protocol = cli_str(d->cli, "protocol"), .cancel = &cli_cancel};
    if (runtime_open_engine(&e, &w, err) != JOULET_OK)
        return false;
    found(f, DOCTOR_OK, "%s answers at %s%s%s%s%s", e->info.protocol, e->url, e->joulet.is ? ", behind joulet " : "",
          e->joulet.is ? e->joulet.version : "", e->info.model[0] ? ", model " : "", e->info.model);
    engine_close(e);
    return true;
}

static void check_engine(const struct doctor *d, struct finding *f)
{
    const char *given = cli_str(d->cli, "engine");
    struct joulet_error err = {0};
    if (given && answers(d, given, f, &err))
        return;
    if (given && !is_program(given)) {
        found(f, DOCTOR_FAILED, "%s", err.message);
        return;
    }
    if (answers(d, NULL, f, &err)) /* where engines listen */
        return;
    char *program = on_path("llama-server");
    char version[64];
    if (program)
        found(f, DOCTOR_OK, "no server answers; %s will be started when it is needed", program);
    else if (runtime_version(version, sizeof version, &err) == JOULET_OK)
        found(f, DOCTOR_OK, "no server answers; the private llama.cpp %s will be started when it is needed", version);
    else
        found(f, DOCTOR_ADVICE, "no inference server answers, and none is installed");
    if (f->verdict == DOCTOR_ADVICE)
        remedy(f, "joulet engine install   # or start the server you use");
    free(program);
}

static void check_private_engine(const struct doctor *d, struct finding *f)
{
    char version[64];
    struct joulet_error err;
    (void)d;
    if (runtime_version(version, sizeof version, &err) == JOULET_OK)
        found(f, DOCTOR_OK, "llama.cpp %s is installed for joulet alone", version);
    else if (err.status == JOULET_NOT_FOUND)
        found(f, DOCTOR_OK, "none of our own is installed; `joulet engine install` fetches llama.cpp");
    else
        found(f, DOCTOR_FAILED, "%s", err.message);
}

const struct check doctor_checks[] = {
    {"estimate", check_estimate},
    {"sampling", check_sampling},
    {"calibration", doctor_calibration},
    {"machine", check_machine},
    {"models", doctor_models},
    {"container", check_container},
    {"roots", check_roots},
    {"governor", check_governor},
    {"power", check_power},
    {"clock", check_clock},
    {"database", check_database},
    {"engine", check_engine},
    {"proxy", doctor_joulet},
    {"own engine", check_private_engine},
};
const size_t doctor_check_count = JL_COUNT(doctor_checks);
