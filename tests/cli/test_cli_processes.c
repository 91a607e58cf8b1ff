/* test_cli_processes.c - whose processor time it was, as the program tells it: in the record of a run, live by process; and an
 * engine that is declared to be elsewhere is not charged to the sensors here. */
#include "lib/platform/platform.h"
#include "tests/cli/program.h"
#include "tests/cli/quick.h"

#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs one prompt into a file and reads it. */
static void run_once(const struct quick *k, const char *option, const char *value, struct run *r)
{
    struct program p = {0};
    program_run(&p, ARGS("run", "--engine", k->url, "--sim", "100", "--json", "-o", scratch("run.json"), "hi", option, value));
    if (p.code != 0)
        fail_msg("%d: %s", p.code, kept(&p.err));
    program_release(&p);
    record_read("run.json", r);
}

static bool noted(const struct run *r, const char *words)
{
    for (size_t i = 0; i < r->n_notes; i++)
        if (strstr(r->notes[i], words))
            return true;
    return false;
}

/* The engine of the test lives in the test's own process. */
static void the_record_says_whose_time_it_was(void **state)
{
    struct quick k;
    struct run r;
    int64_t pid = -1;
    (void)state;
    quick_open(&k, NULL);
    run_once(&k, NULL, NULL, &r);
    const struct run_cpu_time *t = &r.requests[0].cpu_time;
    const char *text = run_pairs_get(&r.engine, "pid");
    assert_true(text && jl_parse_i64(text, &pid));
    assert_int_equal(pid, getpid());
    assert_true(t->engine_s >= 0 && t->busy_s >= 0);
    assert_true(t->processes >= 1);
    assert_true(*t->source);
    if (!isnan(t->share)) { /* less than a tick was busy: a share of nothing */
        double gross_j = r.requests[0].energy.groups[JOULET_GROUP_CPU].gross_j;
        assert_true(t->share >= 0 && t->share <= 1 && t->share_pm >= 0);
        assert_true(fabs(t->e_llm.gross_j - t->share * gross_j) <= 1e-6 * gross_j);
        assert_true(t->m_eff.gross_j <= t->e_llm.gross_j * (1 + 1e-9));
        assert_int_equal(t->e_llm.provenance, JOULET_SIMULATED);
    }
    run_release(&r);
    quick_close(&k);
}

static void an_engine_elsewhere_is_not_charged(void **state)
{
    struct quick k;
    struct run r;
    (void)state;
    quick_open(&k, NULL);
    run_once(&k, "--remote", NULL, &r);
    assert_string_equal(run_pairs_get(&r.engine, "local"), "false");
    assert_int_equal(r.requests[0].energy.n_channels, 1); /* none of a sensor */
    assert_string_equal(r.requests[0].energy.channels[0].channel, "estimate");
    assert_int_equal(r.requests[0].energy.total.provenance, JOULET_ESTIMATED);
    assert_true(isnan(r.requests[0].cpu_time.engine_s));
    assert_true(noted(&r, "the engine runs on another machine"));
    run_release(&r);
    quick_close(&k);
}

static void a_process_can_be_named(void **state)
{
    struct quick k;
    struct run r;
    char pid[24];
    static const char *const wrong[][3] = {
        {"--pid", "4194303", "does not run"}, {"--pid", "0", "--pid"}, {"--pid", "x", "--pid"}};
    (void)state;
    quick_open(&k, NULL);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    run_once(&k, "--pid", pid, &r);
    assert_string_equal(run_pairs_get(&r.engine, "pid"), pid);
    assert_true(r.requests[0].cpu_time.processes >= 2); /* the test and joulet, its child */
    run_release(&r);
    for (size_t i = 0; i < JL_COUNT(wrong); i++) {
        struct program p = {0};
        program_run(&p, ARGS("run", "--engine", k.url, "--sim", "100", wrong[i][0], wrong[i][1], "hi"));
        assert_int_equal(p.code, 2);
        must_say(kept(&p.err), wrong[i][2]);
        program_release(&p);
    }
    struct program p = {0};
    program_run(&p, ARGS("run", "--engine", k.url, "--sim", "100", "--pid", pid, "--remote", "hi"));
    assert_int_equal(p.code, 2);
    must_say(kept(&p.err), "exclude each other");
    program_release(&p);
    quick_close(&k);
}

/* What a command took of the processor, with the children it waited for; one that takes nothing has next to no share. */
static void a_command_has_a_share(void **state)
{
    static const char *const commands[] = {"(i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done); exit 3", "exit 3"};
    struct run r[2];
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct program p = {0};
        program_run(&p, ARGS("exec", "--sim", "100", "--json", "-o", scratch("run.json"), "--", "sh", "-c", commands[i]));
        assert_int_equal(p.code, 3);
        program_release(&p);
        record_read("run.json", &r[i]);
        const struct run_cpu_time *t = &r[i].windows[r[i].n_windows - 1].cpu_time;
        assert_string_equal(t->source, "command");
        assert_true(t->engine_s > 0 && t->busy_s >= 0);
        assert_true(isnan(t->m_eff.gross_j)); /* a command has no phases */
        double gross_j = r[i].energy.groups[JOULET_GROUP_CPU].gross_j;
        if (!isnan(t->share))
            assert_true(t->share <= 1 && fabs(t->e_llm.gross_j - t->share * gross_j) <= 1e-6 * gross_j);
    }
    assert_true(r[0].windows[r[0].n_windows - 1].cpu_time.engine_s > 2 * r[1].windows[r[1].n_windows - 1].cpu_time.engine_s);
    struct program p = {0};
    program_run(&p, ARGS("runs", "show", r[0].id));
    must_say(kept(&p.out), "of the busy processor time was its own");
    must_say(kept(&p.out), "its part");
    program_release(&p);
    run_release(&r[0]);
    run_release(&r[1]);
}

/* The kernel lets a program name itself as it likes: C0, C1 as UTF-8, a broken character, none at all. */
static void names_do_not_command_the_terminal(void **state)
{
    static const char *const names[] = {"a\033[2Jz", "b\xc2\x9bKmz", "c\xe2\x80\xaez", "d\xff\"z"};
    pid_t pids[JL_COUNT(names)];
    struct program p = {0};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(names); i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            prctl(PR_SET_NAME, names[i], 0, 0, 0);
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (volatile long x = 0;; x++)
                ;
        }
    }
    for (int form = 0; form < 2; form++) {
        program_run(&p,
                    ARGS("monitor", "--sim", "100", "--processes", "--samples", "1", "--interval", "1s", form ? "--csv" : NULL));
        assert_int_equal(p.code, 0);
        assert_null(strchr(kept(&p.out), '\033'));
        assert_null(strstr(kept(&p.out), "\xc2\x9b"));
        assert_null(strstr(kept(&p.out), "\xe2\x80\xae"));
        assert_null(strstr(kept(&p.out), "\xff"));
        if (form)
            must_say(kept(&p.out), "\"d?\"\"z\"");
        program_release(&p);
    }
    for (size_t i = 0; i < JL_COUNT(names); i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
}

/* Shares sum to the whole: whoever has no process any more is in the rest. */
static void live_shares_sum_to_one(void **state)
{
    struct program p = {0}, q = {0};
    size_t i;
    json_t *row;
    double share = 0, power_w = 0;
    (void)state;
    program_run(&p, ARGS("monitor", "--sim", "100", "--processes", "--json", "--samples", "1", "--interval", "500ms"));
    assert_int_equal(p.code, 0);
    json_t *o = json_loads(kept(&p.out), JSON_DISABLE_EOF_CHECK, NULL), *list = json_object_get(o, "processes");
    assert_true(json_is_array(list));
    json_array_foreach(list, i, row)
    {
        share += json_number_value(json_object_get(row, "cpu_share"));
        power_w += json_number_value(json_object_get(row, "cpu_power_w"));
    }
    if (json_array_size(list) > 0 && json_is_number(json_object_get(json_array_get(list, 0), "cpu_share"))) {
        assert_true(share > 0.99); /* ticks of the parts and of the whole do not agree to the last */
        assert_true(power_w > 50);
    }
    json_decref(o);
    program_run(&q, ARGS("monitor", "--sim", "100", "--processes", "--csv", "--samples", "1", "--interval", "500ms"));
    assert_int_equal(q.code, 0);
    must_say(kept(&q.out), "time,t_ns,dt_s,pid,name,cpu_s,cpu_share,cpu_share_pm,cpu_power_w,cpu_gross_j");
    program_release(&p);
    program_release(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_record_says_whose_time_it_was),
        cmocka_unit_test(an_engine_elsewhere_is_not_charged),
        cmocka_unit_test(a_process_can_be_named),
        cmocka_unit_test(a_command_has_a_share),
        cmocka_unit_test(names_do_not_command_the_terminal),
        cmocka_unit_test(live_shares_sum_to_one),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
