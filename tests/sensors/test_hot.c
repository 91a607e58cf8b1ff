/* test_hot.c - devices that are unplugged while they are measured, and come back: the trace keeps its gap, figures say what they
 * lack, the device is said to be gone once, and is measured again when it is back. */
#include "lib/sensors/sysfile.h"
#include "tests/base/test.h"
#include "tests/sensors/machine.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ZONE    "sys/class/powercap/intel-rapl:0/energy_uj"
#define PATIENT (180 * JL_NS_PER_S)

static struct joulet *meter(const char *sensors)
{
    struct joulet_options o = JOULET_OPTIONS_INIT;
    struct joulet_error err;
    struct joulet *m;
    o.sensors = sensors;
    o.calibration = "";
    sysfile_look_ns = 20000000;
    if (joulet_open(&m, &o, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    return m;
}

static size_t channel(struct joulet *m, const char *id)
{
    struct joulet_channel ch;
    for (size_t i = 0; i < joulet_channel_count(m); i++)
        if (joulet_channel_get(m, i, &ch) == JOULET_OK && strcmp(ch.id, id) == 0)
            return i;
    fail_msg("there is no %s", id);
    return 0;
}

/* Counts 20 W into the zone until `enough` says so; without a machine it only waits. */
struct player {
    const struct machine *machine;
    int64_t begin_ns, base_uj;
};

/* In place, as the kernel shows it: never half a number. */
static void count(const struct player *p)
{
    char text[32];
    int n = snprintf(text, sizeof(text), "%015lld\n", (long long)(p->base_uj + (jl_mono_ns() - p->begin_ns) / 1000 * 20));
    machine_write_at(p->machine, ZONE, 0, text, (size_t)n);
}

static void play(const struct player *p, struct joulet *m, bool (*enough)(struct joulet *m))
{
    for (int64_t until = jl_mono_ns() + PATIENT; !enough(m);) {
        assert_true(jl_mono_ns() < until);
        if (p->machine)
            count(p);
        jl_sleep_until(jl_mono_ns() + 1000000);
    }
}

static size_t counted(struct joulet *m, uint32_t flag, bool good)
{
    struct joulet_trace t;
    joulet_mark now = joulet_now();
    size_t n = 0;
    if (joulet_trace_copy(m, channel(m, "cpu0.package"), now - 100 * JL_NS_PER_S, now, &t, NULL) != JOULET_OK)
        return 0;
    for (size_t i = 0; i < t.n; i++)
        n += good ? !(t.samples[i].flags & JOULET_SAMPLE_FAILED) : (t.samples[i].flags & flag) != 0;
    joulet_trace_release(&t);
    return n;
}

static bool has_counted(struct joulet *m)
{
    return counted(m, 0, true) >= 40;
}

static bool is_said_to_be_gone(struct joulet *m)
{
    struct joulet_problem p;
    for (size_t i = 0; i < joulet_problem_count(m); i++)
        if (joulet_problem_get(m, i, &p) == JOULET_OK && p.status == JOULET_GONE)
            return true;
    return false;
}

/* Both of its channels: one is read after the other. */
static bool has_left(struct joulet *m)
{
    return is_said_to_be_gone(m) && counted(m, JOULET_SAMPLE_FAILED, false) > 0;
}

static bool has_begun_anew(struct joulet *m)
{
    return counted(m, JOULET_SAMPLE_RESET, false) > 0;
}

static size_t good_then;
static bool has_counted_again(struct joulet *m)
{
    return counted(m, 0, true) >= good_then + 40;
}

static void files_vanish_and_return(void **state)
{
    struct machine machine;
    struct joulet_energy e;
    struct joulet_error err;
    (void)state;
    machine_open(&machine, "one-socket");
    struct player p = {&machine, jl_mono_ns(), 5000000000};
    count(&p);
    struct joulet *m = meter("rapl");
    size_t i = channel(m, "cpu0.package");
    p.begin_ns = jl_mono_ns(); /* nothing was counted while the meter opened */
    joulet_mark from = joulet_now();
    play(&p, m, has_counted);
    machine_empty(&machine);
    joulet_mark left = joulet_now();
    play(&(struct player){NULL, 0, 0}, m, has_left);
    joulet_mark to = joulet_now();
    assert_int_equal(joulet_energy_between(m, i, from, to, &e, &err), JOULET_GONE);
    assert_true(e.flags & JOULET_FLAG_GONE);
    if (!(e.gross_j > 0 && e.min_j <= 20 * jl_s(left - from) + 0.5))
        fail_msg("%g J of %g J", e.gross_j, 20 * jl_s(left - from));
    machine_lay_out_device(&machine, "one-socket");
    p = (struct player){&machine, jl_mono_ns(), 1000}; /* its counter begins anew */
    play(&p, m, has_begun_anew);
    joulet_mark back = joulet_now();
    good_then = counted(m, 0, true);
    play(&p, m, has_counted_again);
    joulet_mark end = joulet_now();
    assert_int_equal(joulet_energy_between(m, i, from, end, &e, &err), JOULET_RESET); /* across the gap nothing is known */
    assert_true(isnan(e.gross_j) && (e.flags & JOULET_FLAG_RESET));
    enum joulet_status st = joulet_energy_between(m, i, back, end, &e, &err);
    assert_true(st == JOULET_OK || (e.flags & JOULET_FLAG_FROZEN)); /* a busy machine may keep the player from counting on */
    assert_true(isfinite(e.gross_j) && e.gross_j > 0);
    assert_true(counted(m, JOULET_SAMPLE_FAILED, false) >= 1); /* the gap is in the trace */
    size_t said = 0;
    for (size_t k = 0; k < joulet_problem_count(m); k++) {
        struct joulet_problem problem;
        joulet_problem_get(m, k, &problem);
        said += problem.status == JOULET_GONE;
    }
    assert_int_equal(said, 1); /* the package, and with it the memory of its socket */
    joulet_close(m);
    machine_close(&machine);
}

/* Opens the meter on a board that leaves some seconds after its library was opened; a machine that needs longer to see it gets
 * another that stays longer. */
static struct joulet *before_it_leaves(void)
{
    static const int lost_s[] = {4, 16, 64};
    for (size_t k = 0; k < JL_COUNT(lost_s); k++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", lost_s[k]);
        setenv("FAKE_NVML_LOST_S", text, 1);
        int64_t begin = jl_mono_ns();
        struct joulet *m = meter("nvml");
        while (joulet_channel_count(m) == 0 && jl_s(jl_mono_ns() - begin) < lost_s[k] - 1)
            jl_sleep_until(jl_mono_ns() + 5000000);
        if (joulet_channel_count(m) > 0)
            return m;
        joulet_close(m);
    }
    fail_msg("the board was never seen");
    return NULL;
}

/* A board that falls off the bus: eleven channels, one sentence. */
static void a_board_leaves(void **state)
{
    struct joulet_energy e;
    struct joulet_error err;
    (void)state;
    setenv("JOULET_NVML", FAKE_NVML, 1);
    setenv("FAKE_NVML_GPUS", "1", 1);
    struct joulet *m = before_it_leaves();
    size_t i = channel(m, "gpu0.board");
    joulet_mark from = joulet_now();
    play(&(struct player){NULL, 0, 0}, m, is_said_to_be_gone);
    jl_sleep_until(jl_mono_ns() + 300000000);
    assert_int_equal(joulet_energy_between(m, i, from, joulet_now(), &e, &err), JOULET_GONE);
    assert_true(e.flags & JOULET_FLAG_GONE);
    assert_true(isfinite(e.gross_j));
    assert_int_equal(joulet_problem_count(m), 1);
    joulet_close(m);
    unsetenv("FAKE_NVML_LOST_S");
    unsetenv("JOULET_NVML");
    unsetenv("FAKE_NVML_GPUS");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_vanish_and_return),
        cmocka_unit_test(a_board_leaves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
