/* test_cli_program.c - the program as a user meets it: help, mistakes, results in files, full disks, closed pipes, signals. */
#include "cli/parse.h"
#include "tests/cli/program.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const short_run[] = {"monitor", "--sim", "100", "--samples", "2", "--interval", "50ms", "--csv", NULL};

static void it_introduces_itself(void **state)
{
    struct program p = {0};
    (void)state;
    program_run(&p, ARGS("--version"));
    assert_int_equal(p.code, 0);
    assert_string_equal(kept(&p.out), "joulet " JOULET_VERSION "\n");
    program_release(&p);
    program_run(&p, ARGS("--help"));
    assert_int_equal(p.code, 0);
    must_say(kept(&p.out), "Usage: joulet COMMAND");
    assert_string_equal(kept(&p.err), "");
    program_release(&p);
    program_run(&p, (const char *const[]){NULL}); /* nothing at all */
    assert_int_equal(p.code, CLI_USAGE);
    must_say(kept(&p.err), "Usage: joulet COMMAND");
    assert_string_equal(kept(&p.out), "");
    program_release(&p);
}

static void every_command_explains_itself(void **state)
{
    (void)state;
    for (const struct command *const *c = command_table; *c; c++) {
        struct program p = {0}, q = {0};
        program_run(&p, ARGS((*c)->name, "--help"));
        assert_int_equal(p.code, 0);
        must_say(kept(&p.out), "Usage: joulet ");
        must_say(kept(&p.out), (*c)->name);
        if (!strcmp((*c)->name, "model"))
            must_say(kept(&p.out), "tiny-moe"); /* the one shape that is not dense */
        program_run(&q, ARGS("help", (*c)->name));
        assert_int_equal(q.code, 0);
        assert_string_equal(kept(&p.out), kept(&q.out));
        program_release(&p);
        program_release(&q);
    }
}

/* The table of commands and options as one object; each command is there, and takes --json and -o. */
static void help_is_there_for_programs_too(void **state)
{
    struct program p = {0};
    (void)state;
    program_run(&p, ARGS("help", "--json"));
    assert_int_equal(p.code, CLI_DONE);
    json_t *all = json_loads(kept(&p.out), JSON_REJECT_DUPLICATES, NULL), *list = json_object_get(all, "commands");
    program_release(&p);
    for (size_t i = 0; command_table[i]; i++) {
        json_t *one = json_array_get(list, i), *options = json_object_get(one, "options");
        size_t k, found = 0;
        json_t *option;
        assert_string_equal(json_string_value(json_object_get(one, "name")), command_table[i]->name);
        json_array_foreach(options, k, option)
        {
            const char *name = json_string_value(json_object_get(option, "name"));
            found += !strcmp(name, "json") || !strcmp(name, "output");
        }
        assert_int_equal(found, 2);
    }
    json_decref(all);
    program_run(&p, ARGS("help", "database-locked", "--json"));
    all = json_loads(kept(&p.out), JSON_REJECT_DUPLICATES, NULL);
    must_say(json_string_value(json_object_get(all, "text")), "kept the database locked");
    json_decref(all);
    program_release(&p);
}

static void mistakes_end_with_2_and_a_hint(void **state)
{
    static const struct {
        const char *args[6], *says;
    } cases[] = {
        {{"moniter"}, "joulet: there is no command 'moniter'; did you mean 'monitor'?"},
        {{"brew-coffee"}, "there is no command 'brew-coffee'"},
        {{"--json", "sensors"}, "options come after the command, as in joulet sensors --json"},
        {{"--jsno"}, "unknown option --jsno; did you mean --json?"},
        {{"help", "brewing"}, "there is no command and no fault called 'brewing'"},
        {{"help", "run", "bench"}, "one command at a time"},
        {{"help", "--completion", "csh"}, "'csh' is not one of bash,zsh,fish"},
        {{"monitor", "ls"}, "`joulet exec -- ls` measures a command"},
        {{"monitor", "--csv", "--json"}, "--json and --csv exclude each other"},
        {{"monitor", "--stream", "--batch"}, "--stream and --batch exclude each other"},
        {{"monitor", "--samples", "0"}, "--samples: 0 is out of range"},
        {{"sensors", "rapl"}, "sensors takes no argument 'rapl'"},
        {{"doctor", "who"}, "doctor takes no argument 'who'"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct program p = {0};
        program_run(&p, cases[i].args);
        if (p.code != CLI_USAGE)
            fail_msg("case %zu ended with %d: %s", i, p.code, kept(&p.err));
        must_say(kept(&p.err), cases[i].says);
        must_say(kept(&p.err), "--help'.");
        assert_string_equal(kept(&p.out), "");
        program_release(&p);
    }
}

/* ---- settings ----------------------------------------------------------------------------------------------------- */

static void settings_come_from_the_file(void **state)
{
    struct program p = {0};
    (void)state;
    scratch_write("joulet/joulet.conf", "# for all runs\nsim = 40\ncsv = yes\n");
    program_run(&p, ARGS("monitor", "--samples", "1", "--interval", "50ms"));
    assert_int_equal(p.code, 0);
    must_say(kept(&p.out), "sim0.cpu_w");
    program_release(&p);
    scratch_write("joulet/joulet.conf", "# for all runs\nsmi = 40\n");
    program_run(&p, ARGS("monitor", "--samples", "1"));
    assert_int_equal(p.code, CLI_USAGE);
    must_say(kept(&p.err), "joulet.conf, line 2: there is no setting 'smi'; did you mean 'sim'?");
    program_release(&p);
    program_run(&p, ARGS("monitor", "--help")); /* help helps all the same */
    assert_int_equal(p.code, 0);
    program_release(&p);
    unlink(scratch("joulet/joulet.conf"));
}

/* ---- results in files --------------------------------------------------------------------------------------------- */

static void a_result_file_is_whole_or_not_there(void **state)
{
    struct program p = {0};
    struct stat st;
    (void)state;
    program_run(&p, ARGS("help", "--man", "-o", scratch("page.1")));
    assert_int_equal(p.code, 0);
    assert_string_equal(kept(&p.out), "");
    char *page = scratch_read("page.1");
    must_say(page, ".TH JOULET 1");
    free(page);
    program_release(&p);
    /* a link stays a link, what it points to is replaced */
    assert_int_equal(symlink(scratch("page.1"), scratch("link.1")), 0);
    program_run(&p, ARGS("help", "--man", "monitor", "-o", scratch("link.1")));
    assert_int_equal(p.code, 0);
    assert_int_equal(lstat(scratch("link.1"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    page = scratch_read("page.1");
    must_say(page, ".TH JOULET\\-MONITOR 1");
    free(page);
    program_release(&p);
    /* refused before anything is measured */
    program_run(&p, ARGS("monitor", "-o", scratch("no/such/folder.csv")));
    assert_int_equal(p.code, CLI_USAGE);
    must_say(kept(&p.err), "No such file or directory");
    program_release(&p);
    program_run(&p, ARGS("sensors", "-o", "-", "--sim", "1")); /* - is standard output */
    assert_int_equal(p.code, 0);
    must_say(kept(&p.out), "sim0.cpu");
    program_release(&p);
}

static void a_full_disk_is_told_once(void **state)
{
    struct program p = {.out_path = "/dev/full"}, q = {0}, r = {.out_path = "/dev/full"};
    (void)state;
    program_run(&p, short_run);
    assert_int_equal(p.code, CLI_FAILED);
    must_say(kept(&p.err), "writing the result failed: No space left on device; free space or write elsewhere with -o FILE");
    assert_null(strstr(strstr(kept(&p.err), "No space") + 1, "No space"));
    program_release(&p);
    program_run(&q, ARGS("sensors", "--sim", "1", "-o", "/dev/full"));
    assert_int_equal(q.code, CLI_FAILED);
    must_say(kept(&q.err), "writing /dev/full failed: No space left on device");
    program_release(&q);
    program_run(&r, ARGS("help"));
    assert_int_equal(r.code, CLI_FAILED);
    program_release(&r);
}

static void a_reader_that_goes_away_ends_it_quietly(void **state)
{
    struct program p = {0};
    (void)state;
    program_start(&p, ARGS("monitor", "--sim", "100", "--interval", "20ms", "--csv", "--quiet"));
    program_until_out(&p, "\n2");
    program_close_out(&p);
    program_end(&p);
    assert_false(p.killed);
    assert_int_equal(p.code, 0);
    assert_string_equal(kept(&p.err), "");
    program_release(&p);
}

/* ---- signals ------------------------------------------------------------------------------------------------------ */

/* In a child of its own: the handlers of the program, without anything that looks at cli_cancel. */
static int child_with_signals(const int *signals, size_t n)
{
    int status;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        signal(SIGHUP, SIG_DFL);
        terminal_signals();
        for (size_t i = 0; i < n; i++)
            raise(signals[i]);
        _exit(atomic_load(&cli_cancel) ? 10 + atomic_load(&cli_signal) : 10);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void the_first_signal_asks_the_second_ends(void **state)
{
    (void)state;
    assert_int_equal(child_with_signals((const int[]){SIGINT}, 1), 10 + SIGINT);
    assert_int_equal(child_with_signals((const int[]){SIGTERM}, 1), 10 + SIGTERM);
    assert_int_equal(child_with_signals((const int[]){SIGHUP}, 1), 10 + SIGHUP);
    assert_int_equal(child_with_signals((const int[]){SIGINT, SIGINT}, 2), 130);
    assert_int_equal(child_with_signals((const int[]){SIGTERM, SIGINT}, 2), 130);
    assert_int_equal(child_with_signals((const int[]){SIGTERM, SIGTERM}, 2), 10 + SIGTERM);
    assert_int_equal(child_with_signals((const int[]){SIGPIPE}, 1), 10);
}

/* Standard output that was closed is not taken over by the next file that is opened, such as the database. */
static void a_closed_output_is_said(void **state)
{
    struct program p = {0};
    (void)state;
    program_run(&p, ARGS("exec", "--sim", "1", "--", "sh", "-c", "\"$PROGRAM\" runs list >&-"));
    assert_int_equal(p.code, 5);
    must_say(kept(&p.err), "standard output is closed, so give a file with -o FILE");
    program_release(&p);
}

/* What we start must not inherit how we treat a closed pipe. */
static void children_get_ordinary_signals(void **state)
{
    int status;
    (void)state;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        terminal_signals();
        execlp("sh", "sh", "-c", "kill -PIPE $$; exit 3", (char *)NULL);
        _exit(98);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
}

/* ---- shells ------------------------------------------------------------------------------------------------------- */

static int shell(const char *script)
{
    struct program p = {0};
    int status;
    (void)p;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        execlp("bash", "bash", "-c", script, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void bash_completes(void **state)
{
    static const struct {
        const char *words, *want; /* words on the line, the last one is completed; what must be among the answers */
    } cases[] = {
        {"joulet mon", "monitor"},
        {"joulet ''", "doctor"},
        {"joulet monitor --sam", "--samples"},
        {"joulet run --color a", "auto"},
        {"joulet help mon", "monitor"},
        {"joulet help --completion z", "zsh"},
        {"joulet monitor --color = ne", "never"},
        {"joulet exec --ti", "--title"},
        {"joulet --v", "--version"},
    };
    struct program p = {0};
    (void)state;
    if (shell("exit 0") == 127)
        skip();
    program_run(&p, ARGS("help", "--completion", "bash", "-o", scratch("joulet.bash")));
    assert_int_equal(p.code, 0);
    program_release(&p);
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        char *script = jl_strf("set -eu; . %s; set +u; COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _joulet joulet; "
                               "printf '%%s\\n' \"${COMPREPLY[@]}\" | grep -qx -- %s",
                               scratch("joulet.bash"), cases[i].words, cases[i].want);
        assert_non_null(script);
        if (shell(script) != 0)
            fail_msg("'%s' is not completed to %s", cases[i].words, cases[i].want);
        free(script);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_introduces_itself),           cmocka_unit_test(every_command_explains_itself),
        cmocka_unit_test(help_is_there_for_programs_too), cmocka_unit_test(mistakes_end_with_2_and_a_hint),
        cmocka_unit_test(settings_come_from_the_file),    cmocka_unit_test(a_result_file_is_whole_or_not_there),
        cmocka_unit_test(a_full_disk_is_told_once),       cmocka_unit_test(a_reader_that_goes_away_ends_it_quietly),
        cmocka_unit_test(a_closed_output_is_said),        cmocka_unit_test(the_first_signal_asks_the_second_ends),
        cmocka_unit_test(children_get_ordinary_signals),  cmocka_unit_test(bash_completes),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
