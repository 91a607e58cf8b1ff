/* Processor time by process tree and control group (6.4): played lists, a played machine, and real children. */
#include "lib/meter/follow.h"
#include "tests/platform/scratch.h"

#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

/* ---- lists ---------------------------------------------------------------------------------------------------------- */

#define MOST 6

struct look {
    struct jl_process_time p[MOST]; /* ends with pid 0 */
};

static struct jl_process_time *list_of(const struct look *l, size_t *n)
{
    struct jl_process_time *out = calloc(MOST + 1, sizeof *out);
    assert_non_null(out);
    for (*n = 0; *n < MOST && l->p[*n].pid; ++*n)
        out[*n] = l->p[*n];
    return out;
}

/* pid, parent, start, own, children. The engine is 10, its shell 5, the init process 1. */
#define P(...)                                                                                                                   \
    {                                                                                                                            \
        __VA_ARGS__, ""                                                                                                          \
    }

static const struct {
    const char *what;
    struct look looks[3];
    uint64_t used[2]; /* after the second and the third look */
    size_t members;
} rows[] = {
    {"a process alone", {{{P(5, 1, 1, 9, 9), P(10, 5, 2, 100, 0)}}, {{P(5, 1, 1, 50, 9), P(10, 5, 2, 130, 0)}}}, {30}, 1},
    {"a child that was there",
     {{{P(10, 5, 2, 100, 0), P(11, 10, 3, 40, 0)}}, {{P(10, 5, 2, 101, 0), P(11, 10, 3, 90, 0)}}},
     {51},
     2},
    {"a child born inside", {{{P(10, 5, 2, 100, 0)}}, {{P(10, 5, 2, 100, 0), P(12, 10, 7, 25, 3)}}}, {28}, 2},
    {"a child that exits inside: what was seen of it is not counted again",
     {{{P(10, 5, 2, 100, 0), P(11, 10, 3, 40, 0)}}, {{P(10, 5, 2, 100, 55)}}},
     {15},
     1},
    {"a child born and gone inside", {{{P(10, 5, 2, 100, 7)}}, {{P(10, 5, 2, 102, 27)}}}, {22}, 1},
    {"a child that nobody waits for keeps what was seen",
     {{{P(10, 5, 2, 100, 0), P(11, 10, 3, 40, 0)}}, {{P(10, 5, 2, 100, 0), P(11, 10, 3, 60, 0)}}, {{P(10, 5, 2, 105, 0)}}},
     {20, 25},
     1},
    {"a grandchild whose parent exits with it: its grandparent waited for both",
     {{{P(10, 5, 2, 100, 0), P(11, 10, 3, 10, 4), P(12, 11, 4, 30, 0)}}, {{P(10, 5, 2, 100, 64)}}},
     {20},
     1},
    {"an orphan stays followed",
     {{{P(10, 5, 2, 100, 0), P(11, 10, 3, 10, 0), P(12, 11, 4, 30, 0)}},
      {{P(10, 5, 2, 100, 12), P(12, 1, 4, 35, 0)}},
      {{P(10, 5, 2, 100, 12), P(12, 1, 4, 50, 0), P(13, 12, 9, 2, 0)}}},
     {7, 24},
     3},
    {"the root exits, its runner goes on",
     {{{P(10, 5, 2, 100, 0), P(11, 10, 3, 10, 0)}}, {{P(11, 1, 3, 30, 0)}}, {{P(11, 1, 3, 70, 0)}}},
     {20, 60},
     1},
    {"a number used again is somebody else",
     {{{P(5, 1, 1, 0, 0), P(10, 5, 2, 100, 0), P(11, 10, 3, 40, 0)}},
      {{P(5, 1, 1, 0, 0), P(10, 5, 2, 100, 41), P(11, 5, 8, 5000, 0)}}},
     {1},
     1},
    {"the number of the root used again", {{{P(10, 5, 2, 100, 0)}}, {{P(10, 5, 9, 7000, 800)}}}, {0}, 0},
    {"a number used again by a new child",
     {{{P(10, 5, 2, 100, 0), P(11, 10, 3, 40, 0)}}, {{P(10, 5, 2, 100, 42), P(11, 10, 9, 6, 0)}}},
     {8},
     2},
    {"a process that becomes a child counts from then on",
     {{{P(9, 1, 1, 500, 0), P(10, 5, 2, 100, 0)}},
      {{P(9, 1, 1, 500, 0), P(10, 5, 2, 100, 0)}},
      {{P(9, 1, 1, 800, 0), P(10, 5, 2, 100, 0)}}},
     {0, 0},
     1},
};

static void test_trees(void **state)
{
    (void)state;
    for (size_t r = 0; r < JL_COUNT(rows); r++) {
        struct jl_follow f;
        size_t n;
        struct jl_process_time *all = list_of(&rows[r].looks[0], &n);
        assert_true(jl_follow_begin(&f, 10, all, n));
        for (size_t k = 1; k < 3 && rows[r].looks[k].p[0].pid; k++) {
            all = list_of(&rows[r].looks[k], &n);
            assert_true(jl_follow_next(&f, all, n));
            if (f.used_ticks != rows[r].used[k - 1])
                fail_msg("%s: %llu ticks in look %zu, expected %llu", rows[r].what, (unsigned long long)f.used_ticks, k + 1,
                         (unsigned long long)rows[r].used[k - 1]);
        }
        if (f.members != rows[r].members)
            fail_msg("%s: %zu members", rows[r].what, f.members);
        jl_follow_end(&f);
    }
}

static void test_no_such_process(void **state)
{
    struct jl_follow f;
    size_t n;
    struct jl_process_time *all = list_of(&rows[0].looks[0], &n);
    (void)state;
    assert_false(jl_follow_begin(&f, 11, all, n));
    struct joulet_followed *g;
    struct joulet_error err;
    assert_int_equal(joulet_follow(&g, INT64_MAX, &err), JOULET_NOT_FOUND);
    assert_null(g);
}

/* ---- shares --------------------------------------------------------------------------------------------------------- */

static void test_shares(void **state)
{
    static const struct {
        struct joulet_cpu_use use;
        double share, pm;
    } cases[] = {
        /* 2 threads for 10 s, one of them the engine's: sqrt(5/6 + 2000 / 4) ticks for half busy */
        {{5, 10, 20, .01, 2}, .5, .022405},     {{5, 10, 20, .01, 0}, .5, .022379},  {{10, 10, 20, .01, 2}, 1, .044764},
        {{0, 10, 20, .01, 2}, 0, .0011547},     {{3, 2.98, 20, .01, 2}, 1, .106409}, /* ticks of the two do not agree to the last:
                                                                                        no more than all */
        {{.02, .05, .08, .01, 2}, .4, .350238},                                      /* a short window says little, and says so */
        {{.01, .01, .02, .01, 4}, 1, 1},        {{0, 0, .02, .01, 2}, NAN, NAN},     {{NAN, 1, 2, .01, 2}, NAN, NAN},
        {{1, NAN, 2, .01, 2}, NAN, NAN},        {{1, 2, 2, 0, 2}, NAN, NAN},         {{-1, 2, 2, .01, 2}, NAN, NAN},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct joulet_cpu_share s;
        joulet_cpu_share_of(&cases[i].use, &s);
        if (isnan(cases[i].share)) {
            assert_true(isnan(s.share) && isnan(s.share_pm));
            continue;
        }
        assert_near(s.share, cases[i].share, 1e-9);
        assert_near(s.share_pm, cases[i].pm, 1e-5);
    }
}

static void test_energy_of_share(void **state)
{
    struct joulet_energy cpu = {.net_j = 40,
                                .net_pm_j = 2,
                                .gross_j = 100,
                                .gross_pm_j = 3,
                                .min_j = 90,
                                .max_j = 110,
                                .tail_j = 1,
                                .u = {.1, .2, .3, .4, .5, .6},
                                .flags = JOULET_FLAG_GAP,
                                .method = "x"},
                         e;
    (void)state;
    joulet_energy_of_share(&cpu, &(struct joulet_cpu_share){.8, .1, 8, 10}, &e);
    assert_near(e.net_j, 32, 1e-12);
    assert_near(e.net_pm_j, hypot(1.6, 4), 1e-12);
    assert_near(e.gross_j, 80, 1e-12);
    assert_near(e.gross_pm_j, hypot(2.4, 10), 1e-12);
    assert_near(e.min_j, 63, 1e-12);
    assert_near(e.max_j, 99, 1e-12);
    assert_near(e.u.spec, .48, 1e-12);
    assert_near(e.u.q, hypot(.08, 5), 1e-12);
    assert_true(isnan(e.tail_j));
    assert_int_equal(e.provenance, JOULET_DERIVED);
    assert_int_equal(e.flags, JOULET_FLAG_GAP);
    cpu.provenance = JOULET_ESTIMATED;
    joulet_energy_of_share(&cpu, &(struct joulet_cpu_share)JOULET_CPU_SHARE_UNKNOWN, &e);
    assert_true(isnan(e.net_j) && isnan(e.gross_j));
    assert_int_equal(e.provenance, JOULET_ESTIMATED);
}

/* ---- a played machine ------------------------------------------------------------------------------------------------ */

static void put(const char *name, const char *text)
{
    char *path = jl_strf("%s/%s", scratch, name), *slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(jl_make_dirs(path, NULL), JOULET_OK);
    *slash = '/';
    assert_int_equal(jl_write_file(path, text, strlen(text), 0644, NULL), JOULET_OK);
    free(path);
}

static int open_machine(void **state)
{
    int rc = scratch_open(state);
    setenv("JOULET_PROCFS", scratch, 1);
    setenv("JOULET_SYSFS", scratch, 1);
    return rc;
}

static int close_machine(void **state)
{
    unsetenv("JOULET_PROCFS");
    unsetenv("JOULET_SYSFS");
    return scratch_close(state);
}

static void put_process(int pid, int parent, int own, int children, const char *cgroup)
{
    char name[64],
        *text = jl_strf("%d (a) b) S %d 1 1 0 -1 0 1 0 0 0 %d 0 %d 0 20 0 9 0 %d 0 0\n", pid, parent, own, children, pid);
    snprintf(name, sizeof name, "%d/stat", pid);
    put(name, text);
    free(text);
    snprintf(name, sizeof name, "%d/cgroup", pid);
    put(name, cgroup);
}

static struct joulet_cpu_look look_at(struct joulet_followed *f)
{
    struct joulet_cpu_look l;
    joulet_follow_look(f, &l);
    return l;
}

static const char service[] = "0::/system.slice/ollama.service\n";

static void test_control_group(void **state)
{
    struct joulet_followed *f;
    (void)state;
    put("stat", "cpu  100 0 0 900 0 0 0 0 0 0\n");
    put_process(40, 1, 100, 0, service);
    put_process(41, 40, 10, 0, service);
    put_process(42, 1, 10, 0, "0::/user.slice\n");
    put("fs/cgroup/system.slice/ollama.service/cgroup.procs", "40\n41\n");
    put("fs/cgroup/system.slice/ollama.service/cpu.stat", "usage_usec 1000000\nuser_usec 1\nsystem_usec 2\n");
    assert_int_equal(joulet_follow(&f, 40, NULL), JOULET_OK);
    assert_string_equal(joulet_follow_source(f), "control group");
    put("fs/cgroup/system.slice/ollama.service/cpu.stat", "usage_usec 1234567\nuser_usec 1\nsystem_usec 2\n");
    struct joulet_cpu_look l = look_at(f);
    assert_near(l.used_s, 0.234567, 1e-9);
    assert_near(l.readings, 0, 0);
    assert_near(l.busy_s, 100 * jl_tick_s(), 1e-9);
    assert_int_equal(l.processes, 2);
    assert_int_equal(remove(in_scratch("fs/cgroup/system.slice/ollama.service/cpu.stat")), 0);
    assert_true(isnan(look_at(f).used_s)); /* not 0: it can no longer be read */
    joulet_unfollow(f);
}

/* Somebody else in the group: the tree is the better answer. In a container everything belongs to the engine. */
static void test_whose_group(void **state)
{
    static const struct {
        const char *cgroup, *folder, *procs, *source;
    } cases[] = {
        {service, "fs/cgroup/system.slice/ollama.service", "40\n41\n42\n", "process tree"},
        {service, "fs/cgroup/system.slice/ollama.service", "40\n", "process tree"},
        {"0::/system.slice/docker-0a1b.scope\n", "fs/cgroup/system.slice/docker-0a1b.scope", "39\n40\n41\n", "control group"},
        {"2:cpu,cpuacct:/docker/0a1b\n0::/\n", "fs/cgroup/cpu,cpuacct/docker/0a1b", "40\n41\n", "control group"},
        {"0::/\n", "fs/cgroup", "40\n41\n", "process tree"},
    };
    (void)state;
    put("stat", "cpu  100 0 0 900 0 0 0 0 0 0\n");
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct joulet_followed *f;
        char name[256];
        put_process(40, 1, 100, 0, cases[i].cgroup);
        put_process(41, 40, 10, 0, cases[i].cgroup);
        snprintf(name, sizeof name, "%s/cgroup.procs", cases[i].folder);
        put(name, cases[i].procs);
        snprintf(name, sizeof name, "%s/%s", cases[i].folder, i == 3 ? "cpuacct.usage" : "cpu.stat");
        put(name, i == 3 ? "5000000000\n" : "usage_usec 5\n");
        assert_int_equal(joulet_follow(&f, 40, NULL), JOULET_OK);
        if (strcmp(joulet_follow_source(f), cases[i].source) != 0)
            fail_msg("row %zu: %s", i, joulet_follow_source(f));
        joulet_unfollow(f);
    }
}

/* ---- real children ---------------------------------------------------------------------------------------------------- */

static double used_cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void burn(double cpu_s)
{
    double until = used_cpu_s() + cpu_s;
    volatile unsigned x = 0;
    while (used_cpu_s() < until)
        for (unsigned i = 0; i < 10000; i++)
            x += i;
    (void)x;
}

/* Pipes of the engine: a byte in lets it go on, a byte out says that it stands still. */
static int go[2], done[2];

static void step(void)
{
    char c = 'x';
    assert_int_equal(write(go[1], &c, 1), 1);
    assert_int_equal(read(done[0], &c, 1), 1);
}

static void pause_here(void)
{
    char c = 'x';
    if (write(done[1], &c, 1) != 1 || read(go[0], &c, 1) != 1)
        _exit(1);
}

/* Its child works before the window and inside it, and ends inside; a further one lives inside alone. */
static void engine(void)
{
    int held[2];
    char c = 'x';
    if (pipe(held) != 0)
        _exit(1);
    pid_t child = fork();
    if (child == 0) {
        burn(.1);
        if (write(held[1], &c, 1) != 1)
            _exit(1);
        while (kill(getppid(), 0) == 0 && read(go[0], &c, 1) != 1)
            ;
        burn(.1);
        _exit(0);
    }
    if (read(held[0], &c, 1) != 1)
        _exit(1);
    if (write(done[1], &c, 1) != 1) /* the window begins; the byte that says so is the child's */
        _exit(1);
    waitpid(child, NULL, 0);
    burn(.05);
    pid_t further = fork();
    if (further == 0) {
        burn(.05);
        _exit(0);
    }
    waitpid(further, NULL, 0);
    pause_here();
    _exit(0);
}

static void test_real_children(void **state)
{
    struct joulet_followed *f;
    struct joulet_error err;
    char c;
    (void)state;
    assert_int_equal(pipe(go), 0);
    assert_int_equal(pipe(done), 0);
    pid_t pid = fork();
    if (pid == 0)
        engine();
    assert_int_equal(read(done[0], &c, 1), 1);
    assert_int_equal(joulet_follow(&f, pid, &err), JOULET_OK);
    struct joulet_cpu_look from = look_at(f), to;
    assert_int_equal(from.processes, 2);
    step();
    to = look_at(f);
    struct joulet_cpu_use use;
    joulet_cpu_use_between(&from, &to, &use);
    /* .1 of the child, .05 of the engine, .05 of the further child: each counted once, cut to ticks */
    assert_in_range(to.processes, 1, 1);
    assert_true(use.used_s > .2 - 5 * jl_tick_s());
    assert_true(use.used_s < .2 + .1); /* what was before the window, .1 and more, is not in it: else at least .3 */
    assert_int_equal(write(go[1], "x", 1), 1);
    waitpid(pid, NULL, 0);
    to = look_at(f);
    assert_int_equal(to.processes, 0);
    assert_true(to.used_s >= use.used_s); /* it never falls */
    joulet_unfollow(f);
    for (int i = 0; i < 2; i++) {
        close(go[i]);
        close(done[i]);
    }
}

#define ON_MACHINE(f) cmocka_unit_test_setup_teardown(f, open_machine, close_machine)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trees),           cmocka_unit_test(test_no_such_process), cmocka_unit_test(test_shares),
        cmocka_unit_test(test_energy_of_share), ON_MACHINE(test_control_group),         ON_MACHINE(test_whose_group),
        cmocka_unit_test(test_real_children),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
