/* test_cli_sensors.c - sensors that fail, stumble, or may not be read, as a user meets them: a fault is named, never a number. */
#include "lib/platform/platform.h"
#include "tests/cli/program.h"
#include "tests/cli/quick.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void must_note(const struct run *r, const char *words)
{
    for (size_t i = 0; i < r->n_notes; i++)
        if (strstr(r->notes[i], words))
            return;
    fail_msg("no note says \"%s\"; the first is \"%s\"", words, r->n_notes ? r->notes[0] : "");
}

static void exec_with(const char *sim, struct run *r)
{
    struct program p = {0};
    program_run(&p, ARGS("exec", "--sim", sim, "--json", "-o", scratch("exec.json"), "--", "sleep", "0.5"));
    if (p.code != 0)
        fail_msg("%s: %s", sim, kept(&p.err));
    program_release(&p);
    record_read("exec.json", r);
}

static void faults_of_sensors_are_noted_and_never_a_zero(void **state)
{
    static const struct {
        const char *sim, *says;
    } rows[] = {{"20;fail=1", "every read of sim0.cpu failed"},
                {"20;frozen=0", "does not move"},
                {"20;gone=0", "its device or driver went away"}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct run r;
        exec_with(rows[i].sim, &r);
        must_note(&r, rows[i].says);
        assert_true(isnan(r.energy.total.gross_j));
        for (size_t k = 0; k < r.n_windows; k++)
            assert_true(isnan(r.windows[k].power_mean_w));
        run_release(&r);
    }
}

/* The end of what the program says must hold these words: of two sets of figures, the present one. */
static bool says(struct program *p, const char *words, const char *const *args)
{
    const char *const *env = p->env;
    program_release(p);
    *p = (struct program){.env = env};
    program_run(p, args);
    const char *now = strstr(kept(&p->out), "\"now\"");
    return p->code == 0 && strstr(now ? now : kept(&p->out), words);
}

/* Exits with 0 when all is as it should be, else with the line of what is not. */
static void look_without_rights(const char *sysfs)
{
    struct program p = {0};
    const char *env[] = {sysfs, "JOULET_CONFIG_DIR=/dev/null", NULL};
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
        _exit(2);
    p.env = env;
    program_run(&p, ARGS("exec", "--db", scratch("open/own.db"), "--", "sleep", "0.3"));
    if (p.code == PROGRAM_NOT_RUN) /* this build is in a folder of root's own */
        _exit(77);
    fputs(kept(&p.err), stderr);
    if (p.code || !strstr(kept(&p.err), "intel-rapl:0/energy_uj may be"))
        _exit(3);
    if (!strstr(kept(&p.err), "partial: a part of"))
        _exit(4);
    _exit(!says(&p, "\"partial\"", ARGS("runs", "recompute", "last", "--json", "--db", scratch("open/own.db"))) ? 5
          : !says(&p, "\"partial\"", ARGS("monitor", "--json", "--samples", "2", "--interval", "200ms"))        ? 6
          : !says(&p, "partial", ARGS("monitor", "--csv", "--samples", "2", "--interval", "200ms"))             ? 7
          : !strstr(kept(&p.err), "the total lacks what may not be read")                                       ? 8
                                                                                                                : 0);
}

/* A package that may not be read is missing in the sum, also when the memory beside it may. */
static void what_may_not_be_read_is_missing_in_the_sum(void **state)
{
    char sysfs[600], text[32];
    struct stat st;
    int status = -1;
    (void)state;
    scratch_write("rights/class/powercap/intel-rapl:0/name", "package-0\n");
    scratch_write("rights/class/powercap/intel-rapl:0/energy_uj", "0\n");
    scratch_write("rights/class/powercap/intel-rapl:0/max_energy_range_uj", "262143328850\n");
    scratch_write("rights/class/powercap/intel-rapl:1/name", "package-1\n");
    scratch_write("rights/class/powercap/intel-rapl:1/energy_uj", "000000000000\n");
    scratch_write("rights/class/powercap/intel-rapl:1/max_energy_range_uj", "262143328850\n");
    scratch_write("open/empty", "");
    assert_int_equal(chmod(scratch("."), 0755) || chmod(scratch("open"), 0777), 0);
    assert_int_equal(chmod(scratch("rights/class/powercap/intel-rapl:0/energy_uj"), geteuid() == 0 ? 0400 : 0), 0);
    snprintf(sysfs, sizeof sysfs, "JOULET_SYSFS=%s", scratch("rights"));
    int fd = open(scratch("rights/class/powercap/intel-rapl:1/energy_uj"), O_WRONLY);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        look_without_rights(sysfs);
    for (long long k = 1; waitpid(child, &status, WNOHANG) == 0; k++) { /* 10 W */
        snprintf(text, sizeof text, "%012lld\n", k * 50000);
        assert_int_equal(pwrite(fd, text, strlen(text), 0), (ssize_t)strlen(text));
        jl_sleep_until(jl_mono_ns() + 5000000);
    }
    close(fd);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Beside it, where all may be read, nothing is missing. */
static void what_may_be_read_is_in_the_sum(void **state)
{
    struct program p = {0};
    struct run r;
    (void)state;
    exec_with("20|30;group=gpu", &r);
    assert_int_equal(r.energy.total.flags & JOULET_FLAG_PARTIAL, 0);
    run_release(&r);
    program_run(&p, ARGS("monitor", "--sim", "20|30;group=gpu", "--json", "--samples", "2", "--interval", "100ms"));
    assert_null(strstr(kept(&p.out), "\"partial\""));
    assert_null(strstr(kept(&p.err), "lacks"));
    program_release(&p);
}

/* Every read of it takes long, or half of what it shows is nonsense: it still tells its energy, and how well. */
static void sensors_that_stumble_still_measure(void **state)
{
    static const char *const sims[] = {"50;late|50;late;group=gpu|50;device=rapl-package;late",
                                       "50;garbage=0.3|50;garbage=0.3;group=gpu|50;device=amdgpu-energy;garbage=0.3"};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(sims); i++) {
        struct run r;
        exec_with(sims[i], &r);
        double truth = 50 * jl_s(r.windows[0].end_ns - r.windows[0].start_ns);
        assert_int_equal(r.energy.n_channels, 3);
        for (size_t k = 0; k < 3; k++) {
            const struct joulet_energy *e = &r.energy.channels[k].e;
            if (!(e->gross_j > 0) || (e->flags & JOULET_FLAG_RESET))
                fail_msg("%s, %zu: %g J, flags %x, %s", sims[i], k, e->gross_j, e->flags, r.n_notes ? r.notes[0] : "");
            if (!(e->min_j <= truth + 1e-6 && truth <= e->max_j + 1e-6))
                fail_msg("%s, %zu: %g J true, %g .. %g J guaranteed", sims[i], k, truth, e->min_j, e->max_j);
        }
        run_release(&r);
    }
}

static void measured_only_is_not_met_by_a_dead_sensor(void **state)
{
    static const char *const env[] = {"JOULET_TRUST_ROOT=1", NULL};
    struct quick k;
    struct program p = {.env = env};
    char sysfs[300];
    (void)state;
    quick_open(&k, NULL);
    scratch_write("sys/class/powercap/intel-rapl:0/name", "package-0\n");
    scratch_write("sys/class/powercap/intel-rapl:0/energy_uj", "1000\n"); /* never moves */
    scratch_write("sys/class/powercap/intel-rapl:0/max_energy_range_uj", "262143328850\n");
    snprintf(sysfs, sizeof sysfs, "JOULET_SYSFS=%s", scratch("sys"));
    p.env = (const char *const[]){env[0], sysfs, NULL};
    program_run(&p, ARGS("run", "--engine", k.url, "--measured-only", "hi"));
    if (p.code != 3 || !strstr(kept(&p.err), "--measured-only"))
        fail_msg("code %d: %s", p.code, kept(&p.err));
    program_release(&p);
    quick_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_of_sensors_are_noted_and_never_a_zero), cmocka_unit_test(sensors_that_stumble_still_measure),
        cmocka_unit_test(what_may_not_be_read_is_missing_in_the_sum),   cmocka_unit_test(what_may_be_read_is_in_the_sum),
        cmocka_unit_test(measured_only_is_not_met_by_a_dead_sensor),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
