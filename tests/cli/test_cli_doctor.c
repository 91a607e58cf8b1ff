/* test_cli_doctor.c - joulet doctor on machines of tests/fixtures: what it says, and that its remedies are whole. */
#include "cli/cli.h"
#include "tests/cli/program.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Lays fixtures/machines/NAME.tree out; returns the variables that make it the machine. */
static const char *const *machine(const char *name)
{
    static char sysfs[300], procfs[300], nvml[300];
    static const char *env[] = {sysfs, procfs, nvml, "FAKE_NVML_GPUS=0", NULL};
    int status;
    char *tree = jl_strf("%s/machines/%s.tree", getenv("FIXTURES"), name), *tool = jl_strf("%s/make-tree", getenv("FIXTURES"));
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", tool, tree, scratch(name), (char *)NULL);
        _exit(98);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    snprintf(sysfs, sizeof sysfs, "JOULET_SYSFS=%s/sys", scratch(name));
    snprintf(nvml, sizeof nvml, "JOULET_NVML=%s", getenv("FAKE_NVML"));
    snprintf(procfs, sizeof procfs, "JOULET_PROCFS=%s/proc", scratch(name));
    free(tree);
    free(tool);
    return env;
}

/* The check called `name` in the JSON of doctor; the list is freed by the caller. */
static json_t *check_of(json_t *list, const char *name)
{
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(list, "checks"), i,
                       row) if (strcmp(json_string_value(json_object_get(row, "check")), name) == 0) return row;
    fail_msg("there is no check %s", name);
    return NULL;
}

static const char *field(json_t *list, const char *check, const char *key)
{
    const char *text = json_string_value(json_object_get(check_of(list, check), key));
    return text ? text : "";
}

static json_t *examine(struct program *p, const char *const *env)
{
    json_error_t why;
    p->env = env;
    program_run(p, ARGS("doctor", "--json", "--trust-root", "--engine", "/none/here"));
    json_t *list = json_loads(kept(&p->out), JSON_REJECT_DUPLICATES, &why);
    if (!list)
        fail_msg("%s: %s%s", why.text, kept(&p->out), kept(&p->err));
    return list;
}

/* ---- machines ----------------------------------------------------------------------------------------------------- */

static void a_machine_without_sensors_gets_estimates(void **state)
{
    struct program p = {0};
    json_t *list = examine(&p, machine("workstation"));
    (void)state;
    assert_string_equal(field(list, "rapl", "verdict"), "advice");
    assert_string_equal(field(list, "rapl", "remedy"), "sudo modprobe intel_rapl_msr");
    assert_null(strstr(field(list, "rapl", "message"), "virtual")); /* the near case of the next test */
    assert_null(strstr(field(list, "machine", "message"), "virtual"));
    assert_string_equal(field(list, "estimate", "verdict"), "advice");
    must_say(field(list, "estimate", "message"), "nothing here measures");
    must_say(field(list, "estimate", "message"), "the truth lies between");
    assert_int_equal(p.code, CLI_DONE); /* nothing is broken */
    json_decref(list);
    program_release(&p);
}

static void a_virtual_machine_is_told_so(void **state)
{
    struct program p = {0};
    json_t *list = examine(&p, machine("virtual"));
    (void)state;
    must_say(field(list, "rapl", "message"), "a virtual machine does not see those of its host");
    must_say(field(list, "estimate", "message"), "a guess");
    must_say(field(list, "machine", "message"), "of a virtual machine");
    json_decref(list);
    program_release(&p);
}

/* Counters of a laid-out machine never move: present, and yet nothing can be measured. */
static void a_counter_that_does_not_move_fails(void **state)
{
    struct program p = {0};
    json_t *list = examine(&p, machine("one-socket"));
    (void)state;
    assert_string_equal(field(list, "rapl", "verdict"), "failed");
    must_say(field(list, "rapl", "message"), "gave nothing new");
    assert_int_equal(p.code, CLI_CHECK_FAILED);
    json_decref(list);
    program_release(&p);
}

static void a_missing_right_gets_the_whole_remedy(void **state)
{
    static const char *const lines[] = {"sudo groupadd -f joulet", "sudo usermod -aG joulet", "/etc/udev/rules.d/70-joulet.rules",
                                        "chmod 0440", "udevadm trigger"};
    const char *const *env = machine("amd");
    struct program p = {.unreadable_files = true};
    (void)state;
    chmod(scratch("amd/sys/class/powercap/intel-rapl:0/energy_uj"), 0);
    chmod(scratch("amd/sys/class/powercap/intel-rapl:0:0/energy_uj"), 0);
    p.env = env;
    program_run(&p, ARGS("doctor", "--json", "--engine", "/none/here"));
    if (p.code == 77) /* a container that lets nobody give up rights */
        skip();
    json_t *list = json_loads(kept(&p.out), 0, NULL);
    assert_non_null(list);
    assert_string_equal(field(list, "rapl", "verdict"), "failed");
    for (size_t i = 0; i < JL_COUNT(lines); i++)
        must_say(field(list, "rapl", "remedy"), lines[i]);
    assert_null(strstr(field(list, "rapl", "remedy"), "0444")); /* never readable for everybody */
    assert_int_equal(p.code, CLI_CHECK_FAILED);
    json_decref(list);
    program_release(&p);
}

static void a_gpu_is_named_with_its_driver(void **state)
{
    struct program p = {0};
    char *nvml = jl_strf("JOULET_NVML=%s", getenv("FAKE_NVML"));
    const char *const env[] = {nvml, NULL};
    json_t *list = examine(&p, env);
    (void)state;
    assert_string_equal(field(list, "nvml", "verdict"), "ok");
    must_say(field(list, "nvml", "message"), "gpu0");
    must_say(field(list, "nvml", "message"), "driver 550.54.14");
    json_decref(list);
    program_release(&p);
    free(nvml);
}

static void a_library_that_does_not_fit_is_named(void **state)
{
    struct program p = {0};
    char *nvml = jl_strf("JOULET_NVML=%s", getenv("FAKE_NVML"));
    const char *const env[] = {nvml, "FAKE_NVML_INIT_CODE=18", NULL};
    json_t *list = examine(&p, env);
    (void)state;
    assert_string_equal(field(list, "nvml", "verdict"), "failed");
    assert_int_equal(p.code, CLI_CHECK_FAILED);
    json_decref(list);
    program_release(&p);
    free(nvml);
}

/* ---- folders and text --------------------------------------------------------------------------------------------- */

static void a_damaged_database_is_found(void **state)
{
    struct program p = {0};
    const char *const env[] = {NULL};
    (void)state;
    scratch_write("joulet/joulet.db",
                  "this is no database, and it is longer than a header would be: ...............................");
    json_t *list = examine(&p, env);
    assert_string_equal(field(list, "database", "verdict"), "failed");
    must_say(field(list, "database", "message"), "joulet.db");
    unlink(scratch("joulet/joulet.db"));
    json_decref(list);
    program_release(&p);
}

static void an_engine_that_does_not_answer_is_a_failure_when_named(void **state)
{
    struct program p = {0};
    (void)state;
    program_run(&p, ARGS("doctor", "--json", "--sim", "40", "--engine", "http://127.0.0.1:1"));
    json_t *list = json_loads(kept(&p.out), 0, NULL);
    assert_non_null(list);
    assert_string_equal(field(list, "engine", "verdict"), "failed");
    assert_int_equal(p.code, CLI_CHECK_FAILED);
    json_decref(list);
    program_release(&p);
    program_run(&p, ARGS("doctor", "--json", "--sim", "40", "--engine", "http://127.0.0.1:1", "--protocol", "gopher"));
    list = json_loads(kept(&p.out), 0, NULL);
    assert_non_null(list);
    assert_string_equal(field(list, "engine", "verdict"), "failed");
    assert_non_null(strstr(field(list, "engine", "message"), "there is no protocol \"gopher\""));
    json_decref(list);
    program_release(&p);
}

static void text_fits_the_width(void **state)
{
    struct program p = {0};
    (void)state;
    program_run(&p, ARGS("doctor", "--sim", "40", "--width", "80"));
    must_say(kept(&p.out), "machine");
    must_say(kept(&p.out), "database");
    for (const char *line = kept(&p.out); *line; line += strcspn(line, "\n") + 1) {
        bool command = strncmp(line, "                       ", 23) == 0; /* to be copied, never broken */
        bool path = strchr(line, '/') != NULL;
        if (strcspn(line, "\n") > 80 && !command && !path)
            fail_msg("too wide: %.*s", (int)strcspn(line, "\n"), line);
    }
    program_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_machine_without_sensors_gets_estimates),
        cmocka_unit_test(a_virtual_machine_is_told_so),
        cmocka_unit_test(a_counter_that_does_not_move_fails),
        cmocka_unit_test(a_missing_right_gets_the_whole_remedy),
        cmocka_unit_test(a_gpu_is_named_with_its_driver),
        cmocka_unit_test(a_library_that_does_not_fit_is_named),
        cmocka_unit_test(a_damaged_database_is_found),
        cmocka_unit_test(an_engine_that_does_not_answer_is_a_failure_when_named),
        cmocka_unit_test(text_fits_the_width),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
