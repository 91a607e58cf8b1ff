/* test_cli_watch.c - watches as a user meets them: a machine whose processor time, clocks and heat are files in a folder that a
 * thread rewrites meanwhile, and an engine with a fault. The sensor is the estimate: simulated ones see nothing of a machine. */
#include "lib/platform/platform.h"
#include "run/run.h"
#include "tests/cli/program.h"
#include "tests/sim_engine/sim_engine.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENGINE_PID  600
#define ROUND_NS    20000000
#define ROUND_TICKS 160 /* of all threads */

/* What the machine does in each round of 20 ms. */
struct machine {
    const char *name;
    int engine_ticks, other_ticks, throttled;
    pthread_t thread;
    atomic_bool stop;
    char env[2][400];
};

static void put(const char *name, const char *text)
{
    struct joulet_error err;
    char *path = jl_strdup(scratch(name)), *slash = strrchr(path, '/');
    *slash = '\0';
    if (jl_make_dirs(path, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    *slash = '/';
    char *beside = jl_strf("%s.new", path); /* whole or not at all for those who read meanwhile */
    FILE *f = fopen(beside, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(rename(beside, path), 0);
    free(beside);
    free(path);
}

JL_PRINTF(3, 4) static void put_f(const char *folder, const char *name, const char *fmt, ...)
{
    char path[300], text[400];
    va_list ap;
    va_start(ap, fmt);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    put(path, text);
}

static void one_round(const struct machine *m, long long k)
{
    long long engine = 100 + k * m->engine_ticks, busy = 5000 + k * (m->engine_ticks + m->other_ticks);
    put_f(m->name, "proc/600/stat", "600 (llama-server) S 1 600 600 0 -1 0 0 0 0 0 %lld 0 0 0 20 0 9 0 100 0 0\n", engine);
    put_f(m->name, "proc/stat", "cpu  %lld 0 0 %lld 0 0 0 0 0 0\n", busy, 100000 + ROUND_TICKS * k - busy);
    put_f(m->name, "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", "%lld\n", 7 + k * m->throttled);
}

static void *play(void *user)
{
    struct machine *m = user;
    for (long long k = 1; !atomic_load(&m->stop); k++) {
        one_round(m, k);
        jl_sleep_until(jl_mono_ns() + ROUND_NS);
    }
    return NULL;
}

static void machine_open(struct machine *m, int port)
{
    char path[300], *target;
    put_f(m->name, "proc/net/tcp",
          "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
          "   0: 0100007F:%04llX 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 222 1 0\n",
          (unsigned long long)port);
    put_f(m->name, "proc/600/fd/0", "%s", "");
    snprintf(path, sizeof path, "%s/proc/600/fd/7", m->name);
    target = jl_strdup(scratch(path));
    assert_int_equal(symlink("socket:[222]", target), 0);
    free(target);
    snprintf(m->env[0], sizeof m->env[0], "JOULET_PROCFS=%s/proc", scratch(m->name));
    snprintf(m->env[1], sizeof m->env[1], "JOULET_SYSFS=%s/sys", scratch(m->name));
    one_round(m, 0);
    atomic_store(&m->stop, false);
    assert_int_equal(pthread_create(&m->thread, NULL, play, m), 0);
}

static void machine_close(struct machine *m)
{
    atomic_store(&m->stop, true);
    pthread_join(m->thread, NULL);
}

/* One request of 0.4 s against an engine with that fault, on that machine. */
static void measure(struct machine *m, const char *fault, struct run *r)
{
    struct sim_config c;
    struct joulet_error err;
    char url[64];
    sim_config_init(&c);
    c.prefill_ms = 5;
    c.decode_ms = 25;
    if (fault)
        assert_true(sim_config_fault(&c, fault));
    struct sim_engine *e = sim_engine_start(&c, &err);
    assert_non_null(e);
    machine_open(m, sim_engine_port(e));
    snprintf(url, sizeof url, "http://127.0.0.1:%d", sim_engine_port(e));
    const char *env[] = {m->env[0], m->env[1], NULL};
    struct program p = {.env = env};
    program_run(&p, ARGS("run", "--engine", url, "--sensors", "tdp", "--trust-root", "--max-tokens", "16", "--json", "-o",
                         scratch("record.json"), "hello there"));
    machine_close(m);
    sim_engine_stop(e);
    if (p.code != 0)
        fail_msg("code %d: %s", p.code, kept(&p.err));
    program_release(&p);
    char *text = scratch_read("record.json");
    assert_non_null(text);
    if (run_from_json(text, strlen(text), r, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    free(text);
    assert_int_equal(r->n_requests, 1);
}

static bool notes(const struct run *r, const char *words)
{
    for (size_t i = 0; i < r->n_notes; i++)
        if (strstr(r->notes[i], words))
            return true;
    return false;
}

static void test_disturbances(void **state)
{
    static const uint32_t watched =
        JOULET_FLAG_FOREIGN_LOAD | JOULET_FLAG_THROTTLED | JOULET_FLAG_CACHED | JOULET_FLAG_CLOCK_CHANGE | JOULET_FLAG_CLOCK_STEP;
    struct {
        struct machine m;
        const char *fault, *says;
        uint32_t flags;
    } rows[] = {
        {{.name = "quiet", .engine_ticks = 40}, NULL, NULL, 0},
        {{.name = "background", .engine_ticks = 40, .other_ticks = 1}, NULL, NULL, 0},
        {{.name = "foreign", .engine_ticks = 40, .other_ticks = 40}, NULL, "other programs kept", JOULET_FLAG_FOREIGN_LOAD},
        {{.name = "hot", .engine_ticks = 40, .throttled = 1}, NULL, "slowed down for heat", JOULET_FLAG_THROTTLED},
        {{.name = "cached", .engine_ticks = 40}, "cached:3", "came from a cache", JOULET_FLAG_CACHED},
        {{.name = "shared", .engine_ticks = 40}, "busy:2", "serving 2 other requests", JOULET_FLAG_FOREIGN_LOAD},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct run r;
        measure(&rows[i].m, rows[i].fault, &r);
        uint32_t flags = r.requests[0].energy.total.flags & watched;
        if (flags != rows[i].flags)
            fail_msg("%s: flags %x, expected %x", rows[i].m.name, flags, rows[i].flags);
        if (rows[i].says && !notes(&r, rows[i].says))
            fail_msg("%s: no note says \"%s\"", rows[i].m.name, rows[i].says);
        if (!rows[i].says && (notes(&r, "other") || notes(&r, "heat")))
            fail_msg("%s: noted", rows[i].m.name);
        run_release(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_disturbances)};
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
