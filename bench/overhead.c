/* overhead.c - what metering costs: CPU share of the sampler over four counters that are files, beside that of a timer which
 * wakes as often and does nothing, and the time from opening the meter to the first sample.
 *
 * The counters are a powercap tree in a scratch folder, read by the production sensor. Reading the real files costs more: they
 * ask the processor. One JSON object a line; goals in docs/performance.md. */
#include "lib/platform/platform.h"

#include <ftw.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUN_S  4.0
#define OPENED 20

/* ---- one figure a line --------------------------------------------------------------------------------------------------- */

static void print_number(const char *key, double v)
{
    if (isfinite(v))
        printf(", \"%s\": %.6g", key, v);
    else
        printf(", \"%s\": null", key);
}

/* Smaller is better. NAN: not known, or no goal. Returns whether there is a figure. */
static bool figure(const char *name, double value, const char *unit, double goal, double baseline)
{
    bool judged = isfinite(goal) && isfinite(value);
    printf("{\"figure\": \"%s\"", name);
    print_number("value", value);
    printf(", \"unit\": \"%s\"", unit);
    print_number("goal", goal);
    print_number("baseline", baseline);
    printf(", \"meets\": %s}\n", judged ? (value <= goal ? "true" : "false") : "null");
    fflush(stdout);
    return isfinite(value);
}

/* ---- four counters in a folder --------------------------------------------------------------------------------------- */

static char tree[256];

static bool put(const char *zone, const char *file, const char *text)
{
    char *path = jl_strf("%s/class/powercap/%s/%s", tree, zone, file);
    bool ok = path && jl_write_file(path, text, strlen(text), 0644, NULL) == JOULET_OK;
    free(path);
    return ok;
}

static bool make_zone(const char *zone, const char *name)
{
    char *dir = jl_strf("%s/class/powercap/%s", tree, zone);
    bool ok = dir && jl_make_dirs(dir, NULL) == JOULET_OK && put(zone, "name", name) &&
              put(zone, "energy_uj", "123456789012\n") && put(zone, "max_energy_range_uj", "262143328850\n");
    free(dir);
    return ok;
}

static bool make_tree(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(tree, sizeof(tree), "%s/joulet-overhead-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(tree) && make_zone("intel-rapl:0", "package-0\n") && make_zone("intel-rapl:0:0", "dram\n") &&
           make_zone("intel-rapl:1", "package-1\n") && make_zone("intel-rapl:1:0", "dram\n");
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

/* ---- the bare timer -------------------------------------------------------------------------------------------------- */

struct timer {
    struct jl_event *event;
    int64_t interval_ns;
    atomic_bool stop;
    double share; /* of one core */
};

static void run_timer(void *arg)
{
    struct timer *t = arg;
    jl_thread_realtime();
    int64_t begin = jl_mono_ns(), cpu = jl_thread_cpu_ns(), due = begin;
    while (!atomic_load(&t->stop)) {
        due += t->interval_ns;
        jl_event_wait_until(t->event, due);
    }
    t->share = (double)(jl_thread_cpu_ns() - cpu) / (double)(jl_mono_ns() - begin);
}

static double timer_share(int64_t interval_ns)
{
    struct timer t = {.event = jl_event_open(), .interval_ns = interval_ns, .share = NAN};
    struct jl_thread *thread;
    if (!t.event || jl_thread_start(&thread, "timer", run_timer, &t, NULL) != JOULET_OK)
        return NAN;
    jl_sleep_until(jl_mono_ns() + jl_ns(RUN_S));
    atomic_store(&t.stop, true);
    jl_thread_join(thread);
    jl_event_close(t.event);
    return t.share;
}

/* ---- the sampler ------------------------------------------------------------------------------------------------------ */

static struct joulet *open_meter(int64_t interval_ns)
{
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    struct joulet_error err;
    struct joulet *m;
    opt.sensors = "rapl";
    opt.interval_ns = interval_ns;
    if (joulet_open(&m, &opt, &err) == JOULET_OK)
        return m;
    fprintf(stderr, "overhead: %s\n", err.message);
    return NULL;
}

static double sampler_share(int64_t interval_ns)
{
    struct joulet_stats before, after;
    struct joulet *m = open_meter(interval_ns);
    if (!m)
        return NAN;
    /* The sampler's own account of its time is a tenth of a second old at most: both ends alike. */
    jl_sleep_until(jl_mono_ns() + jl_ns(0.25));
    joulet_stats_get(m, &before);
    int64_t begin = jl_mono_ns();
    jl_sleep_until(begin + jl_ns(RUN_S));
    joulet_stats_get(m, &after);
    double share = (after.cpu_s - before.cpu_s) / jl_s(jl_mono_ns() - begin);
    size_t channels = joulet_channel_count(m);
    joulet_close(m);
    if (channels == 4)
        return share;
    fprintf(stderr, "overhead: %zu counters were found in the scratch tree where 4 are\n", channels);
    return NAN;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median of several meters. */
static double first_sample_s(void)
{
    double s[OPENED];
    for (int i = 0; i < OPENED; i++) {
        struct joulet_stats stats;
        struct joulet *m = open_meter(0);
        if (!m)
            return NAN;
        joulet_stats_get(m, &stats);
        s[i] = stats.first_sample_s;
        joulet_close(m);
    }
    qsort(s, OPENED, sizeof(s[0]), ascending);
    return s[OPENED / 2];
}

int main(void)
{
    static const struct {
        const char *figure;
        int64_t interval_ns;
        double goal_percent;
    } rates[] = {
        {"overhead.sampler_cpu_10hz", 100000000, NAN},
        {"overhead.sampler_cpu_100hz", 10000000, NAN},
        {"overhead.sampler_cpu_1000hz", 1000000, 2.0},
    };
    bool ok = make_tree() && setenv("JOULET_SYSFS", tree, 1) == 0;
    if (!ok)
        fprintf(stderr, "overhead: no scratch folder could be made in %s\n", tree);
    for (size_t i = 0; ok && i < JL_COUNT(rates); i++) {
        double bare = timer_share(rates[i].interval_ns), share = sampler_share(rates[i].interval_ns);
        ok = figure(rates[i].figure, 100 * share, "% of one core", rates[i].goal_percent, 100 * bare);
    }
    if (ok)
        ok = figure("overhead.first_sample", 1e3 * first_sample_s(), "ms", 3, NAN);
    nftw(tree, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return ok ? 0 : 1;
}
