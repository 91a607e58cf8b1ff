/* test_cli_session.c - what a measuring run does when something is wrong: bad input is refused before anything starts, a fault is
 * one sentence and its code, and what was measured is kept. */
#include "lib/platform/platform.h"
#include "tests/cli/program.h"
#include "tests/cli/quick.h"

#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <sqlite3.h>
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

/* ---- bad input ---------------------------------------------------------------------------------------------------------- */

/* Nobody listens at that address: had anything been started, it would be said. */
static void bad_input_starts_nothing(void **state)
{
    static const struct {
        const char *args[5], *says;
    } rows[] = {
        {{""}, "the prompt is empty"},
        {{" \n"}, "the prompt is empty"},
        {{"latin \xe4"}, "not UTF-8"},
        {{"--engine-option", "stream=false", "hi"}, "stream cannot be set"},
        {{"--engine-option", "nonsense", "hi"}, "KEY=VALUE"},
        {{"--stop", "", "hi"}, "stop text 1 is empty"},
        {{"--raw", "--system", "x", "hi"}, "--raw"},
        {{"--messages", "cut.json"}, "not JSON"},
        {{"--messages", "none.json"}, "JSON array"},
        {{"--messages", "odd.json"}, "message 2"},
        {{"--messages", "good.json", "hi"}, "takes the place of the prompt"},
        {{"--messages", "good.json", "--system", "x"}, "exclude each other"},
        {{"--messages", "missing.json"}, "does not exist"},
    };
    (void)state;
    scratch_write("cut.json", "[{\"role\":");
    scratch_write("none.json", "[]");
    scratch_write("odd.json", "[{\"role\":\"user\",\"content\":\"a\"},{\"content\":\"b\"}]");
    scratch_write("good.json", "[{\"role\":\"user\",\"content\":\"a\"}]");
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        const char *args[16] = {"run", "--engine", "http://127.0.0.1:9", "--sim", "20"};
        struct program p = {0};
        for (size_t k = 0; k < JL_COUNT(rows[i].args) && rows[i].args[k]; k++)
            args[5 + k] = rows[i].args[k];
        program_run(&p, args);
        if (p.code != 2 || !strstr(kept(&p.err), rows[i].says))
            fail_msg("row %zu: code %d, \"%s\"", i, p.code, kept(&p.err));
        program_release(&p);
    }
}

/* A model that nobody has and a file that is none are bad input like a wrong option: nothing was measured. */
static void wrong_models_are_bad_input(void **state)
{
    static const char *const rows[][5] = {
        {"model", "show", "nowhere.gguf"}, {"model", "show", "odd.gguf"}, {"run", "-m", "nowhere", "hi"},
        {"run", "-m", "odd.gguf", "hi"},   {"bench", "-m", "odd.gguf"},   {"engine", "start", "-m", "odd.gguf"},
    };
    (void)state;
    scratch_write("odd.gguf", "no model\n");
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        const char *args[16] = {rows[i][0], "--engine", FAKE_SERVER};
        struct program p = {0};
        size_t n = strcmp(rows[i][0], "run") && strcmp(rows[i][0], "bench") ? 1 : 3;
        for (size_t k = 1; k < JL_COUNT(rows[i]) && rows[i][k]; k++)
            args[n++] = rows[i][k];
        args[n] = NULL;
        program_run(&p, args);
        if (p.code != 2 || (!strstr(kept(&p.err), "nowhere") && !strstr(kept(&p.err), "not a GGUF file")))
            fail_msg("row %zu: code %d, \"%s\"", i, p.code, kept(&p.err));
        program_release(&p);
    }
}

static void bad_suites_start_nothing(void **state)
{
    static const char *const files[][2] = {{"missing.txt", "does not exist"},
                                           {"empty.txt", "holds no prompt"},
                                           {"hole.csv", "row 3 has an empty prompt"},
                                           {"latin.txt", "not UTF-8"}};
    (void)state;
    scratch_write("empty.txt", "\n");
    scratch_write("hole.csv", "prompt,max_tokens\nhello,4\n,4\n");
    scratch_write("latin.txt", "caf\xe9\n");
    for (size_t i = 0; i < JL_COUNT(files); i++) {
        struct program p = {0};
        program_run(&p, ARGS("bench", "--engine", "http://127.0.0.1:9", "--sim", "20", "--prompts", files[i][0]));
        if (p.code != 2 || !strstr(kept(&p.err), files[i][1]))
            fail_msg("%s: code %d, \"%s\"", files[i][0], p.code, kept(&p.err));
        program_release(&p);
    }
}

/* A curve or a trace that cannot be played is bad input, whatever else would measure. */
static void what_cannot_be_played_is_bad_input(void **state)
{
    static const struct {
        const char *option, *value, *says;
    } rows[] = {{"--sim", "20;nonsense=3", "there is no option nonsense"},
                {"--sim", "nowhere.csv", "does not exist"},
                {"--replay", "nowhere.csv", "does not exist"},
                {"--replay", "odd.csv", "recorded trace"}};
    static const char *const commands[] = {"run", "bench", "exec", "monitor", "sensors", "doctor"};
    (void)state;
    scratch_write("odd.csv", "t_ns,channel,quantity,value\n1,a,energy,x\n");
    for (size_t i = 0; i < JL_COUNT(rows) * JL_COUNT(commands); i++) {
        const char *command = commands[i / JL_COUNT(rows)], *option = rows[i % JL_COUNT(rows)].option;
        const char *exec = strcmp(command, "exec") ? NULL : "true", *hi = strcmp(command, "run") ? exec : "hi";
        struct program p = {0};
        program_run(&p, ARGS(command, "--sensors", strcmp(option, "--sim") ? "tdp,file" : "tdp,sim", option,
                             rows[i % JL_COUNT(rows)].value, hi));
        if (p.code != (exec ? 125 : 2) || !strstr(kept(&p.err), rows[i % JL_COUNT(rows)].says) || p.out.len)
            fail_msg("%s %s %zu: code %d, \"%s\"", command, option, i, p.code, kept(&p.err));
        program_release(&p);
    }
}

/* ---- engines ------------------------------------------------------------------------------------------------------------ */

/* The sentence says all of a refusal; the record keeps the exchange, and no sensor is blamed or named for it. */
static void a_refused_request_is_one_sentence(void **state)
{
    struct quick k;
    struct program p = {0};
    struct run r;
    (void)state;
    quick_open(&k, "oom");
    program_run(&p, ARGS("run", "--engine", k.url, "--sim", "20", "hi"));
    assert_int_equal(p.code, 4);
    must_say(kept(&p.err), "out of memory");
    assert_int_equal(lines_of(kept(&p.err)), 1);
    assert_int_equal(p.out.len, 0);
    program_release(&p);
    record_last(&r);
    assert_string_equal(r.status, "failed");
    assert_int_equal(r.requests[0].outcome, RUN_FAILED);
    assert_true(isnan(r.energy.total.gross_j));
    assert_int_equal(r.energy.total.provenance, JOULET_SIMULATED);
    run_release(&r);
    program_run(&p, ARGS("runs", "list", "--limit", "1", "--json"));
    must_say(kept(&p.out), "\"provenance\":null");
    program_release(&p);
    quick_close(&k);
}

static void what_came_before_the_death_is_shown(void **state)
{
    struct quick k;
    struct program p = {0};
    (void)state;
    quick_open(&k, "cut:4");
    program_run(&p, ARGS("run", "--engine", k.url, "--sim", "20", "hi"));
    assert_int_equal(p.code, 4);
    must_say(kept(&p.err), "died in mid-stream");
    must_say(kept(&p.out), "gross");
    program_release(&p);
    quick_close(&k);
}

static void a_cut_prompt_is_noted(void **state)
{
    struct quick k;
    struct program p = {0};
    struct run r;
    (void)state;
    quick_open(&k, "truncated");
    program_run(&p, ARGS("run", "--engine", k.url, "--sim", "20", "--json", "-o", scratch("cut-run.json"), "--raw", "hi"));
    assert_int_equal(p.code, 0);
    program_release(&p);
    record_read("cut-run.json", &r);
    must_note(&r, "cut the prompt");
    run_release(&r);
    quick_close(&k);
}

/* ---- idle levels -------------------------------------------------------------------------------------------------------- */

/* Below 0: of its own, not one from before. */
static double level_of_run(const struct quick *k, const char *sim)
{
    struct program p = {0};
    struct run r;
    program_run(&p, ARGS("run", "--engine", k->url, "--sim", sim, "--json", "-o", scratch("level.json"), "hi"));
    if (p.code != 0)
        fail_msg("%s", kept(&p.err));
    program_release(&p);
    record_read("level.json", &r);
    assert_true(r.n_baselines > 0);
    const struct joulet_baseline *b = &r.baselines[r.n_baselines - 1].b;
    double level_w = b->from_ns < r.start_ns ? b->power_w : -b->power_w;
    run_release(&r);
    return level_w;
}

static void the_idle_level_of_one_curve_is_not_that_of_another(void **state)
{
    struct quick k;
    struct program p = {0};
    (void)state;
    quick_open(&k, NULL);
    scratch_write("one.txt", "hello\n");
    program_run(&p, ARGS("bench", "--engine", k.url, "--sim", "20", "--prompts", scratch("one.txt"), "--baseline", "2s",
                         "--cooldown", "0s", "--warmup", "0"));
    if (p.code != 0)
        fail_msg("%s", kept(&p.err));
    program_release(&p);
    double again = level_of_run(&k, "20"), other = level_of_run(&k, "5");
    if (!(fabs(again - 20) < 1))
        fail_msg("the level of the bench was not used again: %g W", again);
    if (!(fabs(other + 5) < 0.5))
        fail_msg("another curve got the level %g W", other);
    quick_close(&k);
}

/* A command that asks for a long level leaves it to those that follow. */
static void exec_takes_a_long_level_when_asked(void **state)
{
    struct program p = {0};
    struct run first, second;
    (void)state;
    program_run(&p, ARGS("exec", "--sim", "17", "--baseline", "2s", "--json", "-o", scratch("first.json"), "--", "true"));
    assert_int_equal(p.code, 0);
    program_release(&p);
    program_run(&p, ARGS("exec", "--sim", "17", "--json", "-o", scratch("second.json"), "--", "true"));
    assert_int_equal(p.code, 0);
    program_release(&p);
    record_read("first.json", &first);
    record_read("second.json", &second);
    assert_string_equal(first.windows[0].name, "idle");
    assert_int_equal(first.n_windows, 2);
    assert_int_equal(second.n_windows, 1);
    assert_int_equal(second.n_baselines, 1);
    assert_true(second.baselines[0].b.to_ns < second.start_ns);
    assert_true(fabs(second.baselines[0].b.power_w - 17) < 0.5);
    run_release(&first);
    run_release(&second);
}

/* ---- interrupted -------------------------------------------------------------------------------------------------------- */

static void exec_starts_nothing_after_ctrl_c(void **state)
{
    struct program p = {0};
    struct run r;
    (void)state;
    program_start(&p, ARGS("exec", "--sim", "20", "--", "touch", scratch("touched")));
    program_until_catching(&p, SIGINT); /* the idle level takes a second more */
    kill(p.pid, SIGINT);
    program_end(&p);
    assert_int_equal(p.code, 130);
    must_say(kept(&p.err), "interrupted before touch was started");
    assert_int_not_equal(access(scratch("touched"), F_OK), 0);
    program_release(&p);
    record_last(&r);
    assert_string_equal(r.status, "interrupted");
    run_release(&r);
}

static void an_interrupted_suite_says_where_it_is(void **state)
{
    struct quick k;
    struct program p = {0};
    struct run r;
    (void)state;
    quick_open(&k, "stall:2");
    program_start(&p,
                  ARGS("bench", "--engine", k.url, "--sim", "20", "--baseline", "1500ms", "--cooldown", "0s", "--warmup", "0"));
    char *body = NULL;
    while (!(body = sim_engine_last_body(k.engine))) /* the first prompt is under way */
        usleep(1000);
    free(body);
    kill(p.pid, SIGTERM);
    program_end(&p);
    assert_int_equal(p.code, 143);
    must_say(kept(&p.err), "interrupted after 0 of 9 prompts; what was measured is kept");
    must_say(kept(&p.out), "idle");
    program_release(&p);
    record_last(&r);
    assert_string_equal(r.status, "interrupted");
    assert_int_equal(r.n_windows, 1);
    assert_true(r.n_baselines > 0 && r.baselines[0].b.flags & JOULET_FLAG_SHORT_BASELINE); /* of 1.5 s, but one */
    run_release(&r);
    quick_close(&k);
}

/* A llama-server that does not come up in the way given (tests/llm/fake_llama_server.c). */
static const char *server_that(const char *way)
{
    char script[1024];
    const char *path = scratch("bin/llama-server");
    snprintf(script, sizeof script, "#!/bin/sh\necho $$ >%s\nexec %s \"$@\" --fake %s\n", scratch("server.pid"), FAKE_SERVER,
             way);
    scratch_write("bin/llama-server", script);
    assert_int_equal(chmod(path, 0755), 0);
    unlink(scratch("server.pid"));
    return path;
}

static pid_t server_started(void)
{
    for (;;) {
        char *text = scratch_read("server.pid");
        int64_t pid = 0;
        bool whole = text && strchr(text, '\n') && sscanf(text, "%" SCNd64, &pid) == 1;
        free(text);
        if (whole)
            return (pid_t)pid;
        usleep(1000);
    }
}

/* Not counting one that has ended and that nobody has waited for. */
static bool lives(pid_t pid)
{
    char path[64], line[2] = "";
    snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(line, 1, 1, f) : 0;
    if (f)
        fclose(f);
    return n > 0;
}

/* One window, with what was drawn until then, and the model that it was to be. */
static void must_have_kept_the_load(const char *status, const char *note)
{
    struct run r;
    record_last(&r);
    assert_string_equal(r.status, status);
    assert_int_equal(r.n_windows, 1);
    assert_string_equal(r.windows[0].name, "load");
    assert_true(r.windows[0].energy.total.gross_j > 0);
    assert_string_equal(run_pairs_get(&r.model, "name"), "tiny.gguf");
    must_note(&r, note);
    run_release(&r);
}

/* A level of the second before loading, and not the one that requests have. */
static void a_load_without_an_idle_level_says_so(void **state)
{
    struct program p = {0};
    (void)state;
    program_start(&p, ARGS("run", "--engine", server_that("hang"), "-m", tiny_model(NULL), "--sim", "20;frozen=0s", "hi"));
    server_started();
    usleep(300000); /* something to measure */
    kill(p.pid, SIGINT);
    program_end(&p);
    program_release(&p);
    struct run r;
    record_last(&r);
    assert_string_equal(r.windows[0].name, "load");
    must_note(&r, "loading has no energy above idle, for there is no idle level of the second before it: sim0.");
    run_release(&r);
}

static void an_interrupted_load_is_kept(void **state)
{
    static const struct {
        const char *command, *operand;
        int signal_number;
    } rows[] = {{"run", "hi", SIGINT}, {"bench", NULL, SIGTERM}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct program p = {0};
        program_start(&p, (const char *[]){rows[i].command, "--engine", server_that("hang"), "-m", tiny_model(NULL), "--sim",
                                           "20", rows[i].operand, NULL});
        pid_t server = server_started();
        usleep(300000); /* something to measure */
        kill(p.pid, rows[i].signal_number);
        program_end(&p);
        assert_int_equal(p.code, 128 + rows[i].signal_number);
        must_say(kept(&p.err), "was interrupted");
        must_say(kept(&p.err), "what loading the model drew is kept");
        program_release(&p);
        assert_false(lives(server));
        must_have_kept_the_load("interrupted", "was interrupted");
    }
}

static void a_load_that_fails_is_kept(void **state)
{
    static const char *const ways[][2] = {
        {"memory", "memory"}, {"killed", "memory ran out"}, {"strange", "an error of its own kind"}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(ways); i++) {
        struct program p = {0};
        program_run(&p, ARGS("run", "--engine", server_that(ways[i][0]), "-m", tiny_model(NULL), "--sim", "20", "hi"));
        assert_int_equal(p.code, 4);
        must_say(kept(&p.err), ways[i][1]);
        program_release(&p);
        must_have_kept_the_load("failed", ways[i][1]);
    }
}

/* ---- an engine that stays ---------------------------------------------------------------------------------------- */

static void stopping_tells_what_was_stopped(void **state)
{
    struct program p = {0};
    char says[128];
    (void)state;
    program_run(&p, ARGS("engine", "start", "--engine", server_that("none"), "-m", tiny_model(NULL), "--json"));
    if (p.code != 0)
        fail_msg("%s", kept(&p.err));
    program_release(&p);
    pid_t server = server_started();
    program_run(&p, ARGS("engine", "stop", "--json", "-o", scratch("stopped.json")));
    assert_int_equal(p.code, 0);
    assert_string_equal(kept(&p.out), "");
    program_release(&p);
    char *text = scratch_read("stopped.json");
    snprintf(says, sizeof says, "{\"stopped\":true,\"pid\":%lld,", (long long)server);
    must_say(text, says);
    must_say(text, "tiny.gguf");
    free(text);
    assert_false(lives(server));
    program_run(&p, ARGS("engine", "stop", "--json"));
    assert_int_not_equal(p.code, 0);
    assert_string_equal(kept(&p.out), "");
    program_release(&p);
}

/* ---- the database ------------------------------------------------------------------------------------------------------- */

/* The record goes to a file of its own, in the current folder, and comes back from there. */
static void what_cannot_be_stored_is_rescued(void **state)
{
    struct program p = {0};
    char cwd[512], file[256] = "";
    (void)state;
    scratch_write("away/damaged.db", "this is no database, and it is longer than the header of one would be");
    assert_non_null(getcwd(cwd, sizeof cwd));
    assert_int_equal(chdir(scratch("away")), 0);
    program_run(&p, ARGS("exec", "--sim", "20", "--db", "damaged.db", "--", "true"));
    assert_int_equal(p.code, 0);
    const char *said = strstr(kept(&p.err), "damaged.db"); /* once */
    assert_non_null(said);
    assert_null(strstr(said + 1, "damaged.db: "));
    const char *at = strstr(kept(&p.err), "runs import joulet-");
    if (!at)
        fail_msg("%s", kept(&p.err));
    sscanf(at, "runs import %255[^`]", file);
    program_release(&p);
    program_run(&p, ARGS("runs", "import", file, "--db", "whole.db"));
    assert_int_equal(p.code, 0);
    program_release(&p);
    program_run(&p, ARGS("runs", "show", "last", "--db", "whole.db"));
    must_say(kept(&p.out), "energy of: true");
    program_release(&p);
    assert_int_equal(chdir(cwd), 0);
}

/* Who goes on with `runs export last` must not take another run for this one. The end of a command that was measured stays. */
static void what_is_not_in_the_store_ends_with_5(void **state)
{
    struct quick k;
    struct program p = {0};
    char cwd[512];
    (void)state;
    scratch_write("unkept/damaged.db", "this is no database, and it is longer than the header of one would be");
    assert_non_null(getcwd(cwd, sizeof cwd));
    assert_int_equal(chdir(scratch("unkept")), 0);
    quick_open(&k, NULL);
    program_run(&p, ARGS("run", "--engine", k.url, "--sim", "20", "--db", "damaged.db", "hi"));
    assert_int_equal(p.code, 5);
    must_say(kept(&p.out), "tokens");
    must_say(kept(&p.err), "runs import joulet-");
    program_release(&p);
    program_run(&p, ARGS("exec", "--sim", "20", "--db", "damaged.db", "--", "sh", "-c", "exit 3"));
    assert_int_equal(p.code, 3);
    program_release(&p);
    quick_close(&k);
    assert_int_equal(chdir(cwd), 0);
}

/* Whoever else holds the database makes the start late; the second before the command is there all the same. */
static void a_locked_database_is_waited_for_and_said_once(void **state)
{
    struct program p = {0};
    struct run r;
    sqlite3 *db;
    char cwd[512];
    (void)state;
    scratch_write("locked/x", "");
    assert_non_null(getcwd(cwd, sizeof cwd));
    assert_int_equal(chdir(scratch("locked")), 0);
    assert_int_equal(sqlite3_open("l.db", &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE x(a); BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    program_run(&p, ARGS("exec", "--sim", "20", "--db", "l.db", "--json", "-o", scratch("late.json"), "--", "true"));
    assert_int_equal(p.code, 0);
    must_say(kept(&p.err), "kept the database locked");
    assert_int_equal(lines_of(kept(&p.err)), 1);
    program_release(&p);
    sqlite3_close(db);
    assert_int_equal(chdir(cwd), 0);
    record_read("late.json", &r);
    assert_int_equal(r.n_baselines, 1);
    run_release(&r);
}

static int begin(void **state)
{
    return scratch_open(state) == 0 ? chdir(scratch("")) : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_input_starts_nothing),
        cmocka_unit_test(wrong_models_are_bad_input),
        cmocka_unit_test(bad_suites_start_nothing),
        cmocka_unit_test(what_cannot_be_played_is_bad_input),
        cmocka_unit_test(a_refused_request_is_one_sentence),
        cmocka_unit_test(what_came_before_the_death_is_shown),
        cmocka_unit_test(a_cut_prompt_is_noted),
        cmocka_unit_test(the_idle_level_of_one_curve_is_not_that_of_another),
        cmocka_unit_test(exec_takes_a_long_level_when_asked),
        cmocka_unit_test(exec_starts_nothing_after_ctrl_c),
        cmocka_unit_test(an_interrupted_suite_says_where_it_is),
        cmocka_unit_test(an_interrupted_load_is_kept),
        cmocka_unit_test(a_load_without_an_idle_level_says_so),
        cmocka_unit_test(a_load_that_fails_is_kept),
        cmocka_unit_test(stopping_tells_what_was_stopped),
        cmocka_unit_test(what_cannot_be_stored_is_rescued),
        cmocka_unit_test(what_is_not_in_the_store_ends_with_5),
        cmocka_unit_test(a_locked_database_is_waited_for_and_said_once),
    };
    return cmocka_run_group_tests(tests, begin, scratch_close);
}
