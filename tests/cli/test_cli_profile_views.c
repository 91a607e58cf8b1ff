/* test_cli_profile_views.c - profiles that were made, as a user looks at them: show, compare, list, delete, files of all forms,
 * and what is refused. The records are made from shapes (tests/run/profile_sample.c), so nothing is measured here. */
#include "tests/cli/program.h"
#include "tests/run/near.h"
#include "tests/run/profile_sample.h"

#include <jansson.h>
#include <math.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_MS = 60000 };

static const char *const dense = "20261122-120000-1a00", *const moe = "20261122-120000-1a01",
                         *const stages = "20261122-120000-1a04";

/* ---- profiles in the data folder ---------------------------------------------------------------------------------------- */

static void put(enum profile_sample s)
{
    struct run_profile p;
    struct jl_buf b;
    char name[80];
    jl_buf_init(&b, RUN_JSON_MAX);
    profile_sample(&p, s);
    p.how.simulated = s == PROFILE_MOE; /* the others: no */
    assert_int_equal(run_profile_to_json(&p, &b, NULL), JOULET_OK);
    snprintf(name, sizeof name, "joulet/profiles/%s.json", p.id);
    jl_buf_add(&b, "", 1);
    scratch_write(name, b.data);
    jl_buf_release(&b);
    run_profile_release(&p);
}

static void put_all(void)
{
    for (int s = 0; s < PROFILE_SAMPLES; s++)
        put((enum profile_sample)s);
}

/* Standard output of a command that must end with `code`; malloc'ed. */
static char *said(int code, const char *const *args)
{
    struct program p = {0};
    program_run(&p, args);
    if (p.code != code)
        fail_msg("%s %s ended with %d, not %d: %s%s", args[1], args[2] ? args[2] : "", p.code, code, kept(&p.out), kept(&p.err));
    char *text = jl_strdup(code ? kept(&p.err) : kept(&p.out));
    program_release(&p);
    return text;
}

static void must_refuse(int code, const char *words, const char *const *args)
{
    char *text = said(code, args);
    must_say(text, words);
    free(text);
}

/* ---- show ------------------------------------------------------------------------------------------------------------------ */

/* By id, the beginning of one, the last, a file. */
static void one_profile_has_many_names(void **state)
{
    char file[300];
    (void)state;
    put_all();
    snprintf(file, sizeof file, "%s/%s.json", scratch("joulet/profiles"), dense);
    const char *const names[] = {dense, file};
    char *first = NULL;
    for (size_t i = 0; i < JL_COUNT(names); i++) {
        char *text = said(0, ARGS("profile", "show", names[i]));
        if (first)
            assert_string_equal(text, first);
        free(first);
        first = text;
    }
    free(first);
    must_refuse(2, "6 profiles begin with \"2026\"", ARGS("profile", "show", "2026"));
    char *last = said(0, ARGS("profile", "show")), *same = said(0, ARGS("profile", "show", "last"));
    must_say(last, "20261122-120000-1a05");
    assert_string_equal(last, same);
    free(last);
    free(same);
}

/* What a stranger must find: what it is of, whether it was measured, each stage and component, the power with its stages, how it
 * is known, and what would save. */
static void everything_is_drawn(void **state)
{
    static const char *const words[] = {"measured ──",
                                        "llama-1b, Q4_0, 1.24 B parameters",
                                        "phase  ",
                                        "prefill  ",
                                        "detokenise",
                                        "decode by component",
                                        "attention_norm",
                                        "head  ",
                                        "decode by layer and component",
                                        "power over time",
                                        "LLLL",
                                        "DDDD",
                                        "P prefill",
                                        "sequences at once",
                                        "above the idle level of 12.00 ± 0.20 W",
                                        "is an upper limit",
                                        "what would save energy",
                                        "use 4 threads: saves 8.0 ± 3.0 %",
                                        "8 threads on 4 cores",
                                        "joulet bench --engine private -m llama-1b.gguf --vary threads=8,4"};
    (void)state;
    put_all();
    char *text = said(0, ARGS("profile", "show", dense));
    for (size_t i = 0; i < JL_COUNT(words); i++)
        must_say(text, words[i]);
    assert_null(strchr(text, '\033'));
    free(text);
    text = said(0, ARGS("profile", "show", moe));
    must_say(text, "simulated ──");
    free(text);
    text = said(0, ARGS("profile", "show", stages));
    must_say(text, "without a probe in the engine there are stages, and no components");
    assert_null(strstr(text, "by component"));
    free(text);
    text = said(0, ARGS("profile", "show", dense, "--layers", "--phase", "decode"));
    must_say(text, "   15");
    assert_null(strstr(text, "prefill by"));
    free(text);
}

static void json_is_the_record(void **state)
{
    char name[80];
    (void)state;
    put_all();
    for (int s = 0; s < PROFILE_SAMPLES; s++) {
        char id[40];
        snprintf(id, sizeof id, "20261122-120000-1a%02x", s);
        snprintf(name, sizeof name, "joulet/profiles/%s.json", id);
        free(said(0, ARGS("profile", "show", id, "--json", "-o", scratch("again.json"))));
        char *stored = scratch_read(name), *again = scratch_read("again.json"),
             *out = said(0, ARGS("profile", "show", id, "--json"));
        assert_string_equal(stored, again);
        assert_string_equal(stored, out);
        free(stored);
        free(again);
        free(out);
    }
}

/* ---- CSV ------------------------------------------------------------------------------------------------------------------- */

/* The n-th cell of a line, "" for an unknown one. */
static void cell_of(const char *line, int n, char *cell, size_t size)
{
    for (; n > 0 && *line; n--) {
        line += strcspn(line, ",\r\n");
        line += *line != '\0';
    }
    snprintf(cell, size, "%.*s", (int)strcspn(line, ",\r\n"), line);
}

static void must_hold(const char *line, int n, double x)
{
    char cell[64];
    cell_of(line, n, cell, sizeof cell);
    if (isnan(x))
        assert_string_equal(cell, "");
    else
        assert_near(atof(cell), x, 1e-9 * fabs(x));
}

static const char *next_line(const char *line)
{
    const char *end = strchr(line, '\n');
    return end ? end + 1 : "";
}

static void csv_has_every_column(void **state)
{
    struct run_profile p;
    char cell[64];
    (void)state;
    put_all();
    free(said(0, ARGS("profile", "show", moe, "--csv", "-o", scratch("parts.csv"))));
    char *parts = scratch_read("parts.csv"), *trace = scratch_read("parts.trace.csv");
    assert_non_null(trace); /* the trace lies beside it */
    must_say(parts, "layer,component,part,phase,joules,joules_pm,limit_j,seconds,flop,bytes\r\n");
    must_say(trace, "t_s,w,stage\r\n");
    profile_sample(&p, PROFILE_MOE);
    const char *line = next_line(parts);
    for (size_t i = 0; i < p.n_rows; i++, line = next_line(line)) {
        const struct run_profile_row *r = &p.rows[i];
        const double values[] = {r->joules, r->joules_pm, r->limit_j, r->seconds, r->flop, r->bytes};
        const char *const words[] = {r->component, r->part, r->phase};
        must_hold(line, 0, r->layer < 0 ? NAN : (double)r->layer);
        for (int k = 0; k < 3; k++) {
            cell_of(line, 1 + k, cell, sizeof cell);
            assert_string_equal(cell, words[k]);
        }
        for (int k = 0; k < 6; k++)
            must_hold(line, 4 + k, values[k]);
    }
    for (const char *const *phase = (const char *const[]){"load", "tokenise", "sample", "detokenise", NULL}; *phase; phase++) {
        cell_of(line, 3, cell, sizeof cell);
        assert_string_equal(cell, *phase);
        line = next_line(line);
    }
    assert_string_equal(line, "");
    assert_int_equal(lines_of(trace), p.n_trace + 1);
    line = next_line(trace);
    for (size_t i = 0; i < p.n_trace; i++, line = next_line(line)) {
        must_hold(line, 0, p.trace[i].t_s);
        must_hold(line, 1, p.trace[i].w);
        cell_of(line, 2, cell, sizeof cell);
        assert_true(cell[0]);
    }
    char *out = said(0, ARGS("profile", "show", moe, "--csv"));
    assert_string_equal(out, parts);
    free(out);
    free(parts);
    free(trace);
    run_profile_release(&p);
}

/* ---- data of charts ----------------------------------------------------------------------------------------------------- */

static json_t *data_of(const char *id)
{
    json_error_t err;
    char *text = said(0, ARGS("profile", "show", id, "--data"));
    json_t *o = json_loads(text, 0, &err);
    if (!o)
        fail_msg("%s: %s in line %d", id, err.text, err.line);
    free(text);
    return o;
}

static double number(json_t *o, const char *key)
{
    json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

/* Of each node of the Sankey what flows in flows out, as far as it goes on. */
static void flows(json_t *links, const char *node, double *in, double *out)
{
    size_t i;
    json_t *link;
    *in = *out = 0;
    json_array_foreach(links, i, link)
    {
        double j = number(link, "joules");
        *in += !strcmp(json_string_value(json_object_get(link, "target")), node) && !isnan(j) ? j : 0;
        *out += !strcmp(json_string_value(json_object_get(link, "source")), node) && !isnan(j) ? j : 0;
    }
}

static void data_serves_every_chart(void **state)
{
    struct run_profile p;
    json_t *map, *o;
    size_t i;
    double in, out;
    (void)state;
    put_all();
    profile_sample(&p, PROFILE_DENSE);
    o = data_of(dense);
    assert_string_equal(json_string_value(json_object_get(o, "schema")), "joulet.profile-view/1");
    assert_true(json_is_false(json_object_get(o, "simulated")));
    flows(json_object_get(o, "sankey"), "decode", &in, &out);
    assert_near(in, run_profile_phase(&p, "decode")->joules, 1e-6 * in);
    assert_near(out, in, 1e-6 * in);
    assert_int_equal(json_array_size(json_object_get(o, "heatmap")), 2);
    json_array_foreach(json_object_get(o, "heatmap"), i, map)
    {
        json_t *rows = json_object_get(map, "j_per_token");
        assert_int_equal(json_array_size(json_object_get(map, "components")), 4);
        assert_int_equal(json_array_size(rows), 4);
        assert_int_equal(json_array_size(json_array_get(rows, 0)), 16);
    }
    json_t *power = json_object_get(o, "power");
    assert_int_equal(json_array_size(json_object_get(power, "t_s")), p.n_trace);
    assert_int_equal(json_array_size(json_object_get(power, "w")), p.n_trace);
    assert_int_equal(json_array_size(json_object_get(power, "stages")), p.n_spans);
    assert_near(number(power, "idle_w"), 12, 1e-9);
    assert_int_equal(json_array_size(json_object_get(o, "series")), p.n_points);
    assert_true(json_array_size(json_object_get(o, "bars")) == 14);
    run_profile_release(&p);
    json_decref(o);
    o = data_of(moe);
    assert_true(json_is_true(json_object_get(o, "simulated")));
    json_decref(o);
}

/* ---- two of them ---------------------------------------------------------------------------------------------------------- */

static void two_are_compared(void **state)
{
    (void)state;
    put_all();
    char *text = said(0, ARGS("profile", "compare", dense, moe));
    must_say(text, "llama-1b, Q4_0");
    must_say(text, "mixture-8x, Q8_0");
    must_say(text, "B against A");
    must_say(text, "decode, parameter");
    must_say(text, "decode, FLOP");
    must_say(text, "energy of B is of a simulated or replayed sensor");
    free(text);
    text = said(0, ARGS("profile", "compare", dense, moe, "--json", "-o", scratch("two.json")));
    free(text);
    text = scratch_read("two.json");
    json_t *o = json_loads(text, 0, NULL);
    assert_true(json_array_size(json_object_get(o, "bars")) > 8);
    json_decref(o);
    free(text);
}

/* ---- list and delete ------------------------------------------------------------------------------------------------------ */

static void listed_and_deleted(void **state)
{
    (void)state;
    put_all();
    char *text = said(0, ARGS("profile", "list", "--width", "120"));
    assert_int_equal(lines_of(text), 1 + PROFILE_SAMPLES);
    must_say(text, "simulated");
    must_say(text, "llama-3.3-70b");
    assert_true(strstr(text, "1a05") < strstr(text, "1a00")); /* the newest first */
    free(text);
    text = said(0, ARGS("profile", "list", "--json"));
    json_t *o = json_loads(text, 0, NULL);
    assert_int_equal(json_array_size(o), PROFILE_SAMPLES);
    assert_string_equal(json_string_value(json_object_get(json_array_get(o, 5), "id")), dense);
    assert_true(json_is_true(json_object_get(json_array_get(o, 4), "simulated")));
    json_decref(o);
    free(text);
    text = said(0, ARGS("profile", "delete", dense, "20261122-120000-1a04"));
    assert_int_equal(lines_of(text), 2);
    free(text);
    must_refuse(2, "there is no profile \"20261122-120000-1a00\"", ARGS("profile", "show", dense));
    text = said(0, ARGS("profile", "delete", "last", "--json"));
    must_say(text, "{\"deleted\": [\"20261122-120000-1a05\"]}");
    free(text);
    text = said(0, ARGS("profile", "list", "--json"));
    o = json_loads(text, 0, NULL);
    assert_int_equal(json_array_size(o), PROFILE_SAMPLES - 3);
    json_decref(o);
    free(text);
}

/* ---- wrong uses ----------------------------------------------------------------------------------------------------------- */

static void wrong_uses_are_refused(void **state)
{
    static const struct {
        const char *args[6], *says;
        int code;
    } rows[] = {
        {{"show", "nobody"}, "there is no profile \"nobody\"", 2},
        {{"show", "20261122-120000-1a00", "20261122-120000-1a01"}, "takes one profile", 2},
        {{"show", "last", "--json", "--csv"}, "give one of them", 2},
        {{"show", "last", "--csv", "--data"}, "give one of them", 2},
        {{"show", "20261122-120000-1a00", "--phase", "sleeping"}, "has no phase \"sleeping\"", 2},
        {{"show", "/nowhere/at/all.json"}, "does not exist: check the path", 2},
        {{"show", "last", "-o", "/nowhere/at/all.json"}, "cannot write to '/nowhere/at/all.json'", 2},
        {{"show", "last", "-o", "/dev/full"}, "No space left", 5},
        {{"show", "last", "--json", "-o", "/dev/full"}, "No space left", 5},
        {{"show", "20261122-120000-1a00", "--csv", "-o", "/dev/full"}, "No space left", 5},
        {{"show", "last", "--data", "-o", "/dev/full"}, "No space left", 5},
        {{"compare"}, "needs two profiles", 2},
        {{"compare", "last"}, "needs two profiles", 2},
        {{"compare", "last", "last", "last"}, "needs two profiles", 2},
        {{"compare", "last", "20261122-120000-1a05"}, "is named twice", 2},
        {{"compare", "last", "nobody"}, "there is no profile \"nobody\"", 2},
        {{"list", "last"}, "takes no operand", 2},
        {{"delete"}, "needs the id", 2},
        {{"delete", "nobody"}, "there is no profile \"nobody\"", 2},
        {{"delete", "2026"}, "profiles begin with \"2026\"", 2},
    };
    (void)state;
    put_all();
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        const char *args[10] = {"profile"};
        memcpy(args + 1, rows[i].args, sizeof rows[i].args);
        must_refuse(rows[i].code, rows[i].says, args);
    }
    assert_int_not_equal(access("/dev/full.trace.csv", F_OK), 0);
}

/* `last` is that of this user; another data folder has its own. */
static void another_data_folder_has_its_own(void **state)
{
    char elsewhere[300];
    struct program p = {0};
    (void)state;
    put_all();
    snprintf(elsewhere, sizeof elsewhere, "JOULET_DATA_DIR=%s", scratch("elsewhere"));
    const char *env[] = {elsewhere, NULL};
    p.env = env;
    program_run(&p, ARGS("profile", "show", "last"));
    assert_int_equal(p.code, 2);
    must_say(kept(&p.err), "there is no profile yet in ");
    must_say(kept(&p.err), "`joulet profile -m MODEL.gguf` makes a profile");
    program_release(&p);
    p = (struct program){.env = env};
    program_run(&p, ARGS("profile", "list"));
    assert_int_equal(p.code, 0);
    must_say(kept(&p.out), "No profiles yet");
    program_release(&p);
    p = (struct program){.env = env};
    program_run(&p, ARGS("profile", "list", "--json"));
    assert_string_equal(kept(&p.out), "[]\n");
    program_release(&p);
}

/* A file that is cut, no profile, or of a newer joulet: named, and the others stay in sight. */
static void damaged_files_are_named(void **state)
{
    static const struct {
        const char *name, *text, *says;
    } rows[] = {
        {"joulet/profiles/20261122-130000-0001.json", "{\"schema\": \"joulet.profile/1\", \"id\":", "20261122-130000-0001.json"},
        {"joulet/profiles/20261122-130000-0002.json", "\001\002\377", "20261122-130000-0002.json"},
        {"joulet/profiles/20261122-130000-0003.json", "", "20261122-130000-0003.json"},
        {"joulet/profiles/20261122-130000-0004.json", "{\"schema\": \"joulet.run/1\"}", "is no profile of joulet"},
        {"joulet/profiles/20261122-130000-0005.json", "{\"schema\": \"joulet.profile/2\"}", "of version 2, this joulet"},
    };
    struct program p = {0};
    (void)state;
    put_all();
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        char id[40];
        snprintf(id, sizeof id, "20261122-130000-%04zu", i + 1);
        scratch_write(rows[i].name, rows[i].text);
        must_refuse(2, rows[i].says, ARGS("profile", "show", id));
        must_refuse(2, rows[i].says, ARGS("profile", "compare", dense, id));
    }
    program_run(&p, ARGS("profile", "list"));
    assert_int_equal(p.code, 0);
    assert_int_equal(lines_of(kept(&p.out)), 1 + PROFILE_SAMPLES);
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        must_say(kept(&p.err), rows[i].name + strlen("joulet/profiles/"));
    program_release(&p);
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        char id[40];
        snprintf(id, sizeof id, "20261122-130000-%04zu", i + 1);
        free(said(0, ARGS("profile", "delete", id)));
    }
}

/* An older joulet did not say whether the sensor was simulated. */
static void records_of_before_are_read(void **state)
{
    char name[80];
    (void)state;
    put(PROFILE_MOE);
    snprintf(name, sizeof name, "joulet/profiles/%s.json", moe);
    char *text = scratch_read(name), *key = strstr(text, ",\n    \"simulated\": true");
    if (!key)
        key = strstr(text, ", \"simulated\": true");
    assert_non_null(key);
    memset(key, ' ', strlen(", \"simulated\": true") + (key[1] == '\n' ? 4 : 0));
    scratch_write("old.json", text);
    free(text);
    text = said(0, ARGS("profile", "show", scratch("old.json")));
    must_say(text, "measured ──");
    free(text);
}

/* ---- terminals ------------------------------------------------------------------------------------------------------------- */

/* What the program shows on a terminal of so many columns; malloc'ed. */
static char *on_terminal(int columns, const char *variable, const char *value, const char *const *args)
{
    const struct winsize size = {.ws_row = 24, .ws_col = (unsigned short)columns};
    struct jl_buf seen;
    char bytes[4096];
    int fd, status;
    fflush(NULL);
    jl_buf_init(&seen, (size_t)1 << 24);
    pid_t pid = forkpty(&fd, NULL, NULL, &size);
    assert_true(pid >= 0);
    if (pid == 0) {
        const char *argv[16] = {getenv("PROGRAM")};
        setenv("JOULET_DATA_DIR", scratch("."), 1);
        setenv("JOULET_CONFIG_DIR", scratch("config"), 1);
        setenv("TERM", "xterm-256color", 1);
        setenv("LC_ALL", "C.UTF-8", 1);
        unsetenv("NO_COLOR");
        if (variable)
            setenv(variable, value, 1);
        for (size_t n = 0; n < 14 && args[n]; n++)
            argv[n + 1] = args[n];
        execv(argv[0], (char **)argv);
        _exit(98);
    }
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_true(poll(&p, 1, PATIENCE_MS) > 0);
        ssize_t n = read(fd, bytes, sizeof bytes);
        if (n <= 0)
            break;
        jl_buf_add(&seen, bytes, (size_t)n);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(fd);
    return jl_buf_take(&seen);
}

/* A command of advice is to be copied, so it is whole, however wide that is. */
static bool is_command(const char *line)
{
    size_t n = strcspn(line, "\n");
    return memmem(line, n, "try it: joulet ", 15) || memmem(line, n, "compare: joulet ", 16);
}

/* Columns of the longest line that is no command, without what sets colours. */
static size_t longest_line(const char *text)
{
    size_t most = 0;
    while (*text) {
        size_t n = 0;
        bool command = is_command(text);
        for (; *text && *text != '\n'; text++) {
            if (*text == '\033')
                text += strcspn(text, "m");
            else
                n += *text != '\r' && ((unsigned char)*text & 0xc0) != 0x80;
        }
        most = n > most && !command ? n : most;
        text += *text == '\n';
    }
    return most;
}

static void terminals_get_what_they_can_show(void **state)
{
    static const struct {
        int columns;
        const char *variable, *value;
        bool colour, utf8;
    } rows[] = {
        {80, NULL, NULL, true, true},       {130, NULL, NULL, true, true},     {44, NULL, NULL, true, true},
        {80, "NO_COLOR", "1", false, true}, {80, "TERM", "dumb", false, true}, {80, "LC_ALL", "C", true, false},
    };
    (void)state;
    put_all();
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        bool above = false;
        char *text = on_terminal(rows[i].columns, rows[i].variable, rows[i].value, ARGS("profile", "show", dense));
        for (const char *c = text; *c; c++)
            above |= (unsigned char)*c >= 0x80;
        assert_int_equal(strstr(text, "\033[48;5;") != NULL, rows[i].colour); /* cells of the heat map */
        assert_int_equal(strchr(text, '\033') != NULL, rows[i].colour);
        assert_int_equal(above, rows[i].utf8);
        if (longest_line(text) > (size_t)rows[i].columns)
            fail_msg("a line of %zu columns on a terminal of %d", longest_line(text), rows[i].columns);
        free(text);
        text = on_terminal(rows[i].columns, rows[i].variable, rows[i].value, ARGS("profile", "compare", dense, moe));
        assert_true(longest_line(text) <= (size_t)rows[i].columns);
        free(text);
        text = on_terminal(rows[i].columns, rows[i].variable, rows[i].value, ARGS("profile", "list"));
        assert_true(longest_line(text) <= (size_t)rows[i].columns);
        free(text);
    }
}

/* A file gets no colours though the terminal has them; --color always gives them to a pipe. */
static void colours_go_where_they_belong(void **state)
{
    (void)state;
    put_all();
    free(on_terminal(80, NULL, NULL, ARGS("profile", "show", dense, "-o", scratch("view.txt"))));
    char *text = scratch_read("view.txt");
    must_say(text, "power over time");
    assert_null(strchr(text, '\033'));
    free(text);
    text = said(0, ARGS("profile", "show", dense, "--color", "always", "--width", "60"));
    must_say(text, "\033[48;5;");
    assert_true(longest_line(text) <= 60);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_data_folder_has_its_own),
        cmocka_unit_test(one_profile_has_many_names),
        cmocka_unit_test(everything_is_drawn),
        cmocka_unit_test(json_is_the_record),
        cmocka_unit_test(csv_has_every_column),
        cmocka_unit_test(data_serves_every_chart),
        cmocka_unit_test(two_are_compared),
        cmocka_unit_test(listed_and_deleted),
        cmocka_unit_test(wrong_uses_are_refused),
        cmocka_unit_test(damaged_files_are_named),
        cmocka_unit_test(records_of_before_are_read),
        cmocka_unit_test(terminals_get_what_they_can_show),
        cmocka_unit_test(colours_go_where_they_belong),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
