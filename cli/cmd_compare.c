/* cmd_compare.c - runs, or cells of one, beside each other: does B use less than A, and how sure is that? */
#include "cli/cli.h"
#include "cli/compare_json.h"
#include "cli/records.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESULT_MAX ((size_t)64 << 20)

struct operands {
    struct records records;
    struct compare_operand of[COMPARE_MAX];
    size_t n;
};

/* ---- operands ---------------------------------------------------------------------------------------------------- */

/* The cell by its name or number (from 1); -1 when there is none. */
static int64_t find_cell(const struct run *r, const char *cell)
{
    int64_t number;
    for (size_t i = 0; i < r->n_cells; i++)
        if (r->cells[i].name && !strcmp(r->cells[i].name, cell))
            return (int64_t)i;
    if (jl_parse_i64(cell, &number) && number >= 1 && (uint64_t)number <= r->n_cells)
        return number - 1;
    return -1;
}

static enum joulet_status add(struct operands *o, const struct run *r, int64_t cell, struct joulet_error *err)
{
    if (o->n == COMPARE_MAX)
        return jl_fail(err, JOULET_USAGE,
                       "more than %d runs or cells cannot be compared at once: name those that matter, as RUN/CELL", COMPARE_MAX);
    for (size_t i = 0; i < o->n; i++)
        if (o->of[i].run == r && o->of[i].cell == cell)
            return jl_fail(err, JOULET_USAGE, "run %s is named twice: a run compared with itself tells nothing", r->id);
    o->of[o->n++] = (struct compare_operand){r, cell};
    return jl_ok(err);
}

static bool is_folder(const char *path, size_t n)
{
    struct stat st;
    char *copy = jl_strf("%.*s", (int)n, path);
    bool folder = copy && stat(copy, &st) == 0 && S_ISDIR(st.st_mode);
    free(copy);
    return folder;
}

/* RUN/CELL. A file has slashes of its own, and one that is missing from a folder is no cell of it. */
static enum joulet_status add_operand(struct operands *o, const char *operand, bool alone, struct joulet_error *err)
{
    const struct run *r = NULL;
    const char *slash = access(operand, F_OK) == 0 ? NULL : strrchr(operand, '/');
    if (slash && is_folder(operand, slash > operand ? (size_t)(slash - operand) : 1))
        slash = NULL;
    char *name = slash ? jl_strf("%.*s", (int)(slash - operand), operand) : jl_strdup(operand);
    enum joulet_status st =
        name ? records_get(&o->records, name, &r, err) : jl_fail(err, JOULET_MEMORY, "out of memory while reading %s", operand);
    free(name);
    if (st != JOULET_OK)
        return st;
    if (slash) {
        int64_t cell = find_cell(r, slash + 1);
        if (cell < 0)
            return jl_fail(err, JOULET_USAGE, "run %s has no cell \"%s\": `joulet runs show %s` lists them", r->id, slash + 1,
                           r->id);
        return add(o, r, cell, err);
    }
    if (!alone)
        return add(o, r, -1, err);
    if (r->n_cells < 2)
        return jl_fail(err, JOULET_USAGE, "run %s has one configuration only: name another run to compare it with", r->id);
    for (size_t i = 0; i < r->n_cells && st == JOULET_OK; i++)
        st = add(o, r, (int64_t)i, err);
    return st;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

/* "3%" or "3": 0.03. False after the sentence. */
static bool percent(const struct cli *c, const char *option, double otherwise, double *out, int *code)
{
    const char *text = cli_str(c, option);
    size_t n = text ? strlen(text) : 0;
    *out = otherwise;
    if (!text)
        return true;
    char *number = jl_strf("%.*s", (int)(n && text[n - 1] == '%' ? n - 1 : n), text);
    bool good = number && jl_parse_double(number, out) && *out >= 0 && *out <= 1000;
    free(number);
    *out /= 100;
    if (!good)
        *code = cli_usage(c, "--%s takes a percentage, as in 3%%, not \"%s\"", option, text);
    return good;
}

/* -1: another one each time; the JSON tells which. */
static uint64_t seed_of(const struct cli *c)
{
    int64_t seed = cli_int(c, "seed", 1);
    return (uint64_t)(seed < 0 ? jl_mono_ns() & 0xffffffff : seed);
}

static int show(const struct cli *c, const struct comparison *x)
{
    struct jl_buf out;
    jl_buf_init(&out, RESULT_MAX);
    if (cli_json(c))
        compare_json(&out, x);
    else
        report_comparison(&out, x, cli_style(c));
    int code = cli_result(c, out.data ? out.data : "", out.len);
    jl_buf_release(&out);
    return code;
}

/* Sides other than the first whose interval lies wholly above the limit. */
static int gate(const struct cli *c, const struct comparison *x, double limit)
{
    int code = CLI_DONE;
    for (size_t i = 0; i < x->n_results && limit >= 0; i++) {
        const struct compare_result *r = &x->results[i];
        if (r->a != 0 || !compare_beyond(r, limit))
            continue;
        cli_warn(c, "%s is surely more than %.6g %% above A: its ratio is at least %.3f", x->sides[r->b].label, 100 * limit,
                 r->c.lo95);
        code = CLI_CHECK_FAILED;
    }
    return code;
}

static int compared(const struct cli *c, const struct operands *o)
{
    struct comparison x;
    struct joulet_error err;
    double limit;
    int code = CLI_DONE;
    struct compare_options opt = {.metric = compare_metric(cli_str(c, "metric")),
                                  .gross = cli_flag(c, "gross"),
                                  .allow_throttled = cli_flag(c, "allow-throttled"),
                                  .seed = seed_of(c)};
    if (!percent(c, "margin", JL_MARGIN, &opt.margin, &code) || !percent(c, "fail-above", -1, &limit, &code))
        return code;
    if (comparison_of(o->of, o->n, &opt, &x, &err) != JOULET_OK)
        return cli_fail(c, &err);
    code = show(c, &x);
    if (code == CLI_DONE)
        code = gate(c, &x, cli_given(c, "fail-above") ? limit : -1);
    comparison_release(&x);
    return code;
}

static int compare_run(struct cli *c, int argc, char **argv)
{
    struct operands o = {.records = {.cli = c}};
    struct joulet_error err;
    enum joulet_status st = JOULET_OK;
    if (argc == 0)
        return cli_usage(c, "compare needs two runs, or one with several cells");
    for (int i = 0; i < argc && st == JOULET_OK; i++)
        st = add_operand(&o, argv[i], argc == 1, &err);
    int code = CLI_DONE;
    if (st != JOULET_OK)
        code = cli_fail_named(c, &err);
    else if (o.n < 2)
        code = cli_usage(c, "compare needs two runs or cells: name another one to compare %s with", argv[0]);
    else
        code = compared(c, &o);
    records_release(&o.records);
    return code;
}

const struct command cmd_compare = {
    .name = "compare",
    .summary = "tell whether one run or configuration uses less than another",
    .usage = "joulet compare [OPTION]... RUN[/CELL] [RUN[/CELL]]...",
    .options = "metric gross margin fail-above allow-throttled seed db",
    .about =
        "RUN is the id of a stored run, the beginning of one that fits no other, `last`, or a record file (JSON). A run of a\n"
        "plan with several configurations, given alone, compares its cells; RUN/CELL names one of them, by name or number.\n"
        "\n"
        "Only prompts that all sides have are compared, and of these only requests that succeeded and are no warm-up. Cells of\n"
        "one run took turns and are compared in pairs; other runs by ranks within each prompt. The verdict is in words:\n"
        "B uses so much less or more, equal within the margin, or no difference seen and how much is not excluded. More than\n"
        "two are ranked, and those that cannot be told apart share a place.\n"
        "\n"
        "With --fail-above the exit code is 1 when a side surely uses that much more than the first: a gate for CI.",
    .examples = "joulet compare last\n  the cells of the plan that ran last\n"
                "joulet compare 20261121-1523 20261121-1608\n  two runs\n"
                "joulet compare base.json last --fail-above 5%\n  exit code 1 when the last run surely uses over 5 % more\n"
                "joulet compare last --metric j-per-token --json\n  by J per output token, as JSON\n",
    .run = compare_run,
};
