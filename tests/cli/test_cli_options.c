/* test_cli_options.c - from words, environment and settings file to values: precedence, limits, mistakes and what is said then.
 */
#include "cli/parse.h"

#include "tests/cli/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct command probe = {
    .name = "probe",
    .options = "model max-tokens stop temperature interval private format repeat key engine-option seed top-p",
};
static const struct command halting = {.name = "halting", .options = "title", .stop_at_operand = true};

struct fixture {
    char folder[64], file[96], said[96];
    int stderr_kept;
};

static int set_up(void **state)
{
    static struct fixture f;
    snprintf(f.folder, sizeof f.folder, "/tmp/joulet-options-XXXXXX");
    if (!mkdtemp(f.folder))
        return -1;
    snprintf(f.file, sizeof f.file, "%s/joulet", f.folder);
    if (jl_make_dirs(f.file, NULL) != JOULET_OK)
        return -1;
    snprintf(f.file, sizeof f.file, "%s/joulet/joulet.conf", f.folder);
    snprintf(f.said, sizeof f.said, "%s/said", f.folder);
    setenv("JOULET_CONFIG_DIR", f.folder, 1);
    for (size_t i = 0; i < option_count; i++) {
        char name[64];
        unsetenv(option_env(&option_table[i], name, sizeof name));
    }
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char path[96];
    unlink(f->file);
    unlink(f->said);
    snprintf(path, sizeof path, "%s/joulet", f->folder);
    rmdir(path);
    return rmdir(f->folder);
}

static void write_settings(const struct fixture *f, const char *text)
{
    assert_int_equal(jl_write_file(f->file, text, strlen(text), 0600, NULL), JOULET_OK);
}

/* Parses words and keeps what was said on stderr in `said`. */
static int parse(const struct fixture *f, struct cli *c, const struct command *command, const char *const *words, char *said,
                 size_t size)
{
    int argc = 0;
    while (words[argc])
        argc++;
    fflush(stderr);
    int kept = dup(STDERR_FILENO);
    assert_non_null(freopen(f->said, "w", stderr));
    int rc = cli_parse(c, command, argc, (char **)words);
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    struct jl_buf b;
    jl_buf_init(&b, 1 << 16);
    assert_int_equal(jl_read_file(f->said, &b, NULL), JOULET_OK);
    snprintf(said, size, "%s", b.data ? b.data : "");
    jl_buf_release(&b);
    return rc;
}

#define WORDS(...) ((const char *[]){"probe", __VA_ARGS__, NULL})

/* ---- what is taken ------------------------------------------------------------------------------------------------ */

static void values_of_every_type(void **state)
{
    struct cli c;
    char said[512];
    const char *const *items;
    assert_int_equal(parse(*state, &c, &probe,
                           WORDS("-m", "m.gguf", "--max-tokens=64", "--temperature", "0.7", "--interval", "250ms", "--private",
                                 "--stop", "a,b", "--stop=c", "--format", "CSV", "--seed", "-1", "one", "two"),
                           said, sizeof said),
                     CLI_DONE);
    assert_string_equal(said, "");
    assert_string_equal(cli_str(&c, "model"), "m.gguf");
    assert_int_equal(cli_int(&c, "max-tokens", -1), 64);
    assert_true(cli_real(&c, "temperature") == 0.7);
    assert_int_equal(cli_duration_ns(&c, "interval"), 250000000);
    assert_true(cli_flag(&c, "private"));
    assert_int_equal(cli_list(&c, "stop", &items), 2);
    assert_string_equal(items[0], "a,b");
    assert_string_equal(items[1], "c");
    assert_string_equal(cli_str(&c, "format"), "csv");
    assert_int_equal(cli_int(&c, "seed", 7), -1);
    assert_int_equal(c.n_operands, 2);
    assert_string_equal(c.operands[1], "two");
    cli_release(&c);
}

static void what_is_not_given_is_unknown(void **state)
{
    struct cli c;
    char said[512];
    const char *const *items;
    assert_int_equal(parse(*state, &c, &probe, WORDS("x"), said, sizeof said), CLI_DONE);
    assert_false(cli_given(&c, "model"));
    assert_null(cli_str(&c, "model"));
    assert_int_equal(cli_int(&c, "max-tokens", -1), -1);
    assert_true(isnan(cli_real(&c, "temperature")));
    assert_int_equal(cli_duration_ns(&c, "interval"), -1);
    assert_int_equal(cli_list(&c, "stop", &items), 0);
    assert_int_equal(cli_int(&c, "repeat", 9), 1); /* its default */
    assert_false(cli_given(&c, "repeat"));
    cli_release(&c);
}

static void operands_and_options_mix(void **state)
{
    struct cli c;
    char said[512];
    setenv("POSIXLY_CORRECT", "1", 1);
    assert_int_equal(parse(*state, &c, &probe, WORDS("list", "-n", "3", "more", "--", "--private", "-x"), said, sizeof said),
                     CLI_DONE);
    unsetenv("POSIXLY_CORRECT");
    assert_int_equal(cli_int(&c, "max-tokens", -1), 3);
    assert_false(cli_flag(&c, "private"));
    assert_int_equal(c.n_operands, 4);
    assert_string_equal(c.operands[2], "--private");
    cli_release(&c);
}

static void options_of_a_command_line_to_run_are_its_own(void **state)
{
    struct cli c;
    char said[512];
    const char *words[] = {"halting", "--title", "t", "make", "--title", "x", NULL};
    assert_int_equal(parse(*state, &c, &halting, words, said, sizeof said), CLI_DONE);
    assert_string_equal(cli_str(&c, "title"), "t");
    assert_int_equal(c.n_operands, 3);
    assert_string_equal(c.operands[1], "--title");
    cli_release(&c);
    const char *dashes[] = {"halting", "--", "--title", "x", NULL};
    assert_int_equal(parse(*state, &c, &halting, dashes, said, sizeof said), CLI_DONE);
    assert_int_equal(c.n_operands, 2);
    cli_release(&c);
}

/* ---- precedence --------------------------------------------------------------------------------------------------- */

static void flag_environment_file_default(void **state)
{
    struct cli c;
    char said[512];
    const char *const *items;
    write_settings(*state, "# mine\n\n  repeat = 3\nmodel = from file \nstop = x\nstop = y\nprivate = yes\nprice = 0.3\n");
    assert_int_equal(parse(*state, &c, &probe, WORDS("a"), said, sizeof said), CLI_DONE);
    assert_int_equal(cli_int(&c, "repeat", 0), 3);
    assert_string_equal(cli_str(&c, "model"), "from file");
    assert_int_equal(cli_list(&c, "stop", &items), 2);
    assert_true(cli_flag(&c, "private"));
    cli_release(&c);

    setenv("JOULET_MODEL", "from environment", 1);
    setenv("JOULET_STOP", "z", 1);
    assert_int_equal(parse(*state, &c, &probe, WORDS("a", "--private=no"), said, sizeof said), CLI_DONE);
    assert_string_equal(cli_str(&c, "model"), "from environment");
    assert_int_equal(cli_list(&c, "stop", &items), 1);
    assert_string_equal(items[0], "z");
    assert_false(cli_flag(&c, "private"));
    cli_release(&c);

    assert_int_equal(parse(*state, &c, &probe, WORDS("a", "--model", "from flag", "--stop", "w"), said, sizeof said), CLI_DONE);
    assert_string_equal(cli_str(&c, "model"), "from flag");
    assert_int_equal(cli_list(&c, "stop", &items), 1);
    assert_string_equal(items[0], "w");
    cli_release(&c);
    unsetenv("JOULET_MODEL");
    unsetenv("JOULET_STOP");
}

static void a_key_comes_from_its_own_variable(void **state)
{
    struct cli c;
    char said[512];
    setenv("JOULET_ENGINE_KEY", "secret", 1);
    assert_int_equal(parse(*state, &c, &probe, WORDS("a"), said, sizeof said), CLI_DONE);
    assert_string_equal(cli_str(&c, "key"), "secret");
    cli_release(&c);
    unsetenv("JOULET_ENGINE_KEY");
}

static void variables_of_other_commands_do_not_matter(void **state)
{
    struct cli c;
    char said[512];
    setenv("JOULET_SAMPLES", "nonsense", 1);
    setenv("JOULET_OUTPUT", "/nowhere/at/all", 1); /* where a result goes is said each time */
    assert_int_equal(parse(*state, &c, &probe, WORDS("a"), said, sizeof said), CLI_DONE);
    assert_false(cli_given(&c, "output"));
    cli_release(&c);
    unsetenv("JOULET_SAMPLES");
    unsetenv("JOULET_OUTPUT");
}

/* ---- mistakes ----------------------------------------------------------------------------------------------------- */

static void mistakes_are_named(void **state)
{
    static const struct {
        const char *words[6];
        const char *says;
    } cases[] = {
        {{"probe", "--modle", "x"}, "unknown option --modle; did you mean --model?"},
        {{"probe", "--mod", "x"}, "unknown option --mod; did you mean --model?"},
        {{"probe", "--max-token=4"}, "did you mean --max-tokens?"},
        {{"probe", "--baseline", "3"}, "--baseline is not an option of this command"},
        {{"probe", "--zzz"}, "unknown option --zzz\n"},
        {{"probe", "-Z"}, "unknown option -Z"},
        {{"probe", "-model", "x", "y", "z"}, ""}, /* -m with the value "odel" */
        {{"probe", "-private"}, "unknown option -p; did you mean --private?"},
        {{"probe", "--model"}, "--model needs a value, as in --model MODEL"},
        {{"probe", "-n"}, "-n needs a value, as in -n N"},
        {{"probe", "--max-tokens", "many"}, "--max-tokens: 'many' is not a whole number"},
        {{"probe", "--max-tokens", "0"}, "--max-tokens: 0 is out of range, which is 1 to"},
        {{"probe", "--max-tokens", "1.5"}, "is not a whole number"},
        {{"probe", "--temperature", "warm"}, "'warm' is not a number such as 0.7"},
        {{"probe", "--temperature", "nan"}, "is not a number"},
        {{"probe", "--top-p", "1.01"}, "--top-p: 1.01 is out of range, which is 0 to 1"},
        {{"probe", "--interval", "soon"}, "'soon' is not a time such as 250ms, 10s or 2m"},
        {{"probe", "--interval", "0"}, "--interval: 0 is out of range, which is 5e-05 to 86400 s"},
        {{"probe", "--interval", "-1s"}, "--interval: "},
        {{"probe", "--format", "xml"}, "--format: 'xml' is not one of json,csv"},
        {{"probe", "--format", ""}, "'' is not one of json,csv"},
        {{"probe", "--private=perhaps"}, "--private: 'perhaps' is neither yes nor no"},
        {{"probe", "--width", "3"}, "--width: 3 is out of range"},
        {{"probe", "-o", "/nowhere/at/all/x"}, "cannot write to '/nowhere/at/all/x': No such file or directory"},
        {{"probe", "-o", "/proc/x.json"}, "cannot write to '/proc/x.json': No such file or directory"},
        {{"probe", "-o", "/tmp"}, "cannot write to '/tmp': Is a directory"},
        {{"probe", "-o", ""}, "cannot write to ''"},
    };
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct cli c;
        char said[512];
        int rc = parse(*state, &c, &probe, cases[i].words, said, sizeof said);
        if (!strstr(said, cases[i].says))
            fail_msg("case %zu: \"%s\" does not say \"%s\"", i, said, cases[i].says);
        assert_int_equal(rc, cases[i].says[0] ? CLI_USAGE : CLI_DONE);
        if (rc != CLI_DONE)
            assert_non_null(strstr(said, "Try 'joulet probe --help'."));
        cli_release(&c);
    }
}

static void mistakes_in_the_environment_name_the_variable(void **state)
{
    struct cli c;
    char said[512];
    setenv("JOULET_MAX_TOKENS", "lots", 1);
    assert_int_equal(parse(*state, &c, &probe, WORDS("a"), said, sizeof said), CLI_USAGE);
    assert_non_null(strstr(said, "JOULET_MAX_TOKENS: 'lots' is not a whole number"));
    cli_release(&c);
    /* help is shown all the same */
    assert_int_equal(parse(*state, &c, &probe, WORDS("--help"), said, sizeof said), CLI_DONE);
    assert_true(cli_flag(&c, "help"));
    cli_release(&c);
    unsetenv("JOULET_MAX_TOKENS");
}

static void mistakes_in_the_file_name_the_line(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"model = a\nrepeat = often\n", "joulet.conf, line 2: repeat: 'often' is not a whole number"},
        {"\n\nrepaet = 3\n", "line 3: there is no setting 'repaet'; did you mean 'repeat'?"},
        {"samples = none\n", "line 1: samples: 'none' is not a whole number"}, /* of another command */
        {"hello\n", "line 1: 'hello' is not of the form key = value"},
        {"= 3\n", "line 1: '= 3' is not of the form key = value"},
        {"model =\n", "line 1: model has no value; remove the line to go back to the default"},
        {"help = yes\n", "line 1: 'help' is not a setting"},
        {"config = x\n", "line 1: 'config' is not a setting"},
        {"price = 1e9\n", "line 1: price: 1e9 is out of range"},
        {"private = maybe\n", "line 1: private: 'maybe' is neither yes nor no"},
        {"[srve]\n", "line 1: there is no command 'srve'; did you mean [serve]?"},
        {"[quantum]\n", "line 1: there is no command 'quantum'; sections are named after commands"},
        {"[serve\n", "line 1: '[serve' is not of the form [command]"},
        {"model = a\n[serve]\nconections = 3\n", "line 3: there is no setting 'conections'; did you mean 'connections'?"},
        {"[serve]\ntemperature = 1\n", "line 2: serve has no option 'temperature': put the line above all sections"},
        {"[serve]\nconnections = many\n", "line 2: connections: 'many' is not a whole number"},
    };
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct cli c;
        char said[512];
        write_settings(*state, cases[i].text);
        int rc = parse(*state, &c, &probe, WORDS("a"), said, sizeof said);
        if (!strstr(said, cases[i].says))
            fail_msg("case %zu: \"%s\" does not say \"%s\"", i, said, cases[i].says);
        assert_int_equal(rc, CLI_USAGE);
        cli_release(&c);
    }
}

/* A section is for one command, and wins over what stands above all sections. */
static void sections_are_for_one_command(void **state)
{
    static const char text[] = "seed = 1\nrepeat = 2\nmodel = a\nmodel = b\n[bench]\nrepeat = 7\n[ run ]\nmodel = c\nseed=5\n";
    static const struct {
        const char *command;
        int64_t seed, repeat;
        size_t models;
    } rows[] = {{"run", 5, -7, 1}, {"bench", 1, 7, 2}};
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct cli c;
        char said[512];
        const char *const *items;
        write_settings(*state, text);
        assert_int_equal(parse(*state, &c, command_find(rows[i].command), WORDS("a"), said, sizeof said), CLI_DONE);
        assert_int_equal(cli_int(&c, "seed", -7), rows[i].seed);
        assert_int_equal(cli_int(&c, "repeat", -7), rows[i].repeat);
        assert_int_equal(cli_list(&c, "model", &items), rows[i].models);
        assert_string_equal(items[0], rows[i].models == 1 ? "c" : "a");
        cli_release(&c);
    }
}

/* What a command that stays for long does on SIGHUP. */
static void the_file_is_read_again(void **state)
{
    struct cli c, *fresh;
    char said[512];
    struct joulet_error err;
    const char *const *items;
    write_settings(*state, "seed = 1\nmodel = a\n");
    setenv("JOULET_MAX_TOKENS", "9", 1);
    assert_int_equal(
        parse(*state, &c, command_find("run"), WORDS("--temperature", "0.5", "--stop", "x", "--stop", "y"), said, sizeof said),
        CLI_DONE);
    unsetenv("JOULET_MAX_TOKENS");
    write_settings(*state, "seed = 2\ntemperature = 0.7\n");
    assert_int_equal(cli_reread(&fresh, &c, &err), JOULET_OK);
    assert_int_equal(cli_int(fresh, "seed", -7), 2);
    assert_int_equal(cli_int(fresh, "max-tokens", -7), 9);
    assert_false(cli_given(fresh, "model"));
    assert_true(cli_real(fresh, "temperature") == 0.5);
    assert_int_equal(cli_list(fresh, "stop", &items), 2);
    assert_string_equal(items[1], "y");
    cli_forget(fresh);
    write_settings(*state, "seed = x\n");
    assert_int_equal(cli_reread(&fresh, &c, &err), JOULET_USAGE);
    assert_non_null(strstr(err.message, "line 1: seed: 'x' is not a whole number"));
    assert_null(fresh);
    assert_int_equal(cli_int(&c, "seed", -7), 1);
    cli_release(&c);
}

static void another_file_can_be_named(void **state)
{
    const struct fixture *f = *state;
    struct cli c;
    char said[512];
    write_settings(f, "model = from file\n");
    assert_int_equal(parse(f, &c, &probe, WORDS("--config", "/dev/null"), said, sizeof said), CLI_DONE);
    assert_null(cli_str(&c, "model"));
    cli_release(&c);
    assert_int_equal(parse(f, &c, &probe, WORDS("--config", "/nowhere/joulet.conf"), said, sizeof said), CLI_USAGE);
    assert_non_null(strstr(said, "there is no settings file /nowhere/joulet.conf"));
    cli_release(&c);
    unlink(f->file);
    assert_int_equal(parse(f, &c, &probe, WORDS("a"), said, sizeof said), CLI_DONE); /* none is fine */
    cli_release(&c);
    setenv("JOULET_CONFIG", "/nowhere/either.conf", 1);
    assert_int_equal(parse(f, &c, &probe, WORDS("a"), said, sizeof said), CLI_USAGE);
    unsetenv("JOULET_CONFIG");
    cli_release(&c);
}

static void odd_files_are_refused(void **state)
{
    const struct fixture *f = *state;
    struct cli c;
    char said[512];
    assert_int_equal(jl_write_file(f->file, "model = a\0b\n", 12, 0600, NULL), JOULET_OK);
    assert_int_equal(parse(f, &c, &probe, WORDS("a"), said, sizeof said), CLI_USAGE);
    assert_non_null(strstr(said, "is not a text file"));
    cli_release(&c);
    char *big = calloc(1, 1 << 17);
    assert_non_null(big);
    memset(big, '#', (1 << 17) - 1);
    write_settings(f, big);
    free(big);
    assert_int_equal(parse(f, &c, &probe, WORDS("a"), said, sizeof said), CLI_USAGE);
    cli_release(&c);
    write_settings(f, "\r\nmodel = crlf\r\nrepeat=2\r\n"); /* as Windows editors leave it */
    assert_int_equal(parse(f, &c, &probe, WORDS("a"), said, sizeof said), CLI_DONE);
    assert_string_equal(cli_str(&c, "model"), "crlf");
    assert_int_equal(cli_int(&c, "repeat", 0), 2);
    cli_release(&c);
}

/* ---- sensors of a simulation stand alone -------------------------------------------------------------------------- */

static void a_simulation_is_not_summed_with_the_machine(void **state)
{
    static const struct command metered = {.name = "metered", .options = "sensors sim replay trust-root"};
    static const struct {
        const char *words[6];
        const char *sensors;
    } cases[] = {
        {{"metered"}, NULL},
        {{"metered", "--sim", "100"}, "sim"},
        {{"metered", "--replay", "t.csv"}, "file"},
        {{"metered", "--sim", "100", "--replay", "t.csv"}, "sim,file"},
        {{"metered", "--sim", "100", "--sensors", "rapl,sim"}, "rapl,sim"},
    };
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct cli c;
        char said[512];
        struct joulet_options o = JOULET_OPTIONS_INIT;
        assert_int_equal(parse(*state, &c, &metered, cases[i].words, said, sizeof said), CLI_DONE);
        cli_meter_options(&c, &o);
        if (cases[i].sensors)
            assert_string_equal(o.sensors, cases[i].sensors);
        else
            assert_null(o.sensors);
        cli_release(&c);
    }
}

static void near_words(void **state)
{
    static const char *const words[] = {"doctor", "sensors", "monitor", "run", "runs", "engine"};
    static const struct {
        const char *word, *want;
    } cases[] = {{"docter", "doctor"}, {"moniotr", "monitor"}, {"rnu", "run"}, {"eng", "engine"},    {"xyz", NULL},
                 {"", NULL},           {"mon", "monitor"},     {"s", NULL},    {"sensor", "sensors"}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        const char *got = cli_nearest(cases[i].word, words, JL_COUNT(words));
        if ((got == NULL) != (cases[i].want == NULL) || (got && strcmp(got, cases[i].want) != 0))
            fail_msg("'%s' is taken for '%s'", cases[i].word, got ? got : "nothing");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(values_of_every_type, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_given_is_unknown, set_up, tear_down),
        cmocka_unit_test_setup_teardown(operands_and_options_mix, set_up, tear_down),
        cmocka_unit_test_setup_teardown(options_of_a_command_line_to_run_are_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(flag_environment_file_default, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_key_comes_from_its_own_variable, set_up, tear_down),
        cmocka_unit_test_setup_teardown(variables_of_other_commands_do_not_matter, set_up, tear_down),
        cmocka_unit_test_setup_teardown(mistakes_are_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(mistakes_in_the_environment_name_the_variable, set_up, tear_down),
        cmocka_unit_test_setup_teardown(mistakes_in_the_file_name_the_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sections_are_for_one_command, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_file_is_read_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_file_can_be_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(odd_files_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_simulation_is_not_summed_with_the_machine, set_up, tear_down),
        cmocka_unit_test(near_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
