/* cmd_runs.c - the runs that are stored: list, show, export, import, delete. Records are written and read by run/, drawn by
 * report/. */
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/recompute.h"
#include "cli/records.h"
#include "report/figures_all.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RESULT_MAX ((size_t)1 << 30)

/* Opens the database; CLI_DONE or the exit code after the sentence. */
static int open_store(const struct cli *c, struct store **s)
{
    struct joulet_error err;
    return store_open(s, cli_str(c, "db"), &err) == JOULET_OK ? CLI_DONE : cli_fail(c, &err);
}

static int write_result(const struct cli *c, struct jl_buf *out)
{
    int code = out->failed ? cli_usage(c, "the result is longer than %zu MiB", out->max >> 20)
                           : cli_result(c, out->data ? out->data : "", out->len);
    jl_buf_release(out);
    return code;
}

/* ---- list ------------------------------------------------------------------------------------------------------- */

static void json_number(struct jl_buf *out, bool *first, const char *key, double x)
{
    cli_json_key(out, first, key);
    cli_json_number(out, x);
}

static void json_text(struct jl_buf *out, bool *first, const char *key, const char *s)
{
    cli_json_key(out, first, key);
    cli_json_string(out, s);
}

static void json_row(struct jl_buf *out, const struct store_row *row)
{
    bool first = true;
    jl_buf_str(out, "{");
    json_text(out, &first, "id", row->id);
    json_text(out, &first, "kind", row->kind);
    json_text(out, &first, "title", row->title);
    json_text(out, &first, "model", row->model);
    json_text(out, &first, "engine", row->engine);
    json_text(out, &first, "status", row->status);
    cli_json_key(out, &first, "started_wall_ns");
    jl_buf_printf(out, "%lld", (long long)row->started_wall_ns);
    cli_json_key(out, &first, "requests");
    jl_buf_printf(out, "%zu", row->requests);
    json_number(out, &first, "net_j", row->net_j);
    json_number(out, &first, "net_pm_j", row->net_pm_j);
    json_number(out, &first, "gross_j", row->gross_j);
    json_number(out, &first, "tokens_out", row->tokens_out < 0 ? NAN : (double)row->tokens_out);
    json_text(out, &first, "provenance", isfinite(row->gross_j) ? joulet_provenance_name(row->provenance) : NULL);
    jl_buf_str(out, "}");
}

static void json_list(struct jl_buf *out, const struct store_row *rows, size_t n)
{
    jl_buf_str(out, "[");
    for (size_t i = 0; i < n; i++) {
        jl_buf_str(out, i ? ",\n " : "\n ");
        json_row(out, &rows[i]);
    }
    jl_buf_str(out, n ? "\n]\n" : "]\n");
}

static int runs_list(const struct cli *c, struct store *s)
{
    struct store_row *rows;
    struct joulet_error err;
    struct jl_buf out;
    size_t n;
    if (store_list(s, (size_t)cli_int(c, "limit", 0), &rows, &n, &err) != JOULET_OK)
        return cli_fail(c, &err);
    jl_buf_init(&out, RESULT_MAX);
    if (cli_json(c))
        json_list(&out, rows, n);
    else
        report_list(&out, rows, n, cli_style(c));
    store_rows_free(rows, n);
    return write_result(c, &out);
}

/* ---- show and export -------------------------------------------------------------------------------------------- */

/* Takes prompts and answers out; their hashes stay. */
static void make_private(struct run *r)
{
    for (size_t i = 0; i < r->n_requests; i++) {
        struct run_request *q = &r->requests[i];
        free(q->prompt);
        free(q->answer);
        q->prompt = q->answer = NULL;
    }
}

/* Samples as `--replay` reads them (docs/sensors/file.md): one channel after the other. */
static enum joulet_status write_channel(struct jl_buf *out, struct store *s, const struct run *r, size_t channel,
                                        struct joulet_error *err)
{
    struct joulet_trace t;
    enum joulet_status st = store_load_trace(s, r->id, channel, &t, err);
    if (st != JOULET_OK)
        return st;
    for (size_t i = 0; i < t.n; i++) {
        const struct joulet_sample *x = &t.samples[i];
        jl_buf_printf(out, "%lld,%s,%s,%lld,%u,%u,", (long long)x->t_ns, t.channel.id, run_quantity_name(t.channel.quantity),
                      (long long)x->value, x->hw_ns, x->flags);
        if (t.channel.quantity == JOULET_POWER && t.channel.window_s > 0)
            jl_buf_printf(out, "%.15g", t.channel.window_s);
        jl_buf_str(out, "\r\n");
    }
    joulet_trace_release(&t);
    return JOULET_OK;
}

static enum joulet_status write_trace(struct jl_buf *out, struct store *s, const struct run *r, struct joulet_error *err)
{
    size_t found = 0;
    jl_buf_str(out, "t_ns,channel,quantity,value,hw_ns,flags,window_s\r\n");
    for (size_t i = 0; i < r->n_channels; i++) {
        enum joulet_status st = write_channel(out, s, r, i, err);
        if (st != JOULET_OK && st != JOULET_NOT_FOUND)
            return st;
        found += st == JOULET_OK;
    }
    return found ? jl_ok(err)
                 : jl_fail(err, JOULET_NOT_FOUND, "run %s has no samples in the store: traces stay where they were measured",
                           r->id);
}

static enum joulet_status write_run(const struct cli *c, struct jl_buf *out, struct store *s, const struct run *r,
                                    const char *format, struct joulet_error *err)
{
    if (!strcmp(format, "csv"))
        return run_to_csv(r, out, err);
    if (!strcmp(format, "trace"))
        return write_trace(out, s, r, err);
    if (!strcmp(format, "json"))
        return run_to_json(r, out, err);
    report_run(out, r, cli_style(c));
    return jl_ok(err);
}

/* Derived figures have forms of their own: they are no part of the record. */
static enum joulet_status write_metrics(const struct cli *c, struct jl_buf *out, const struct run *r, struct joulet_error *err)
{
    if (cli_json(c))
        return metrics_to_json(r, out, err);
    if (cli_flag(c, "csv"))
        metrics_to_csv(r, out);
    else
        report_metrics(out, r, cli_style(c));
    return jl_ok(err);
}

/* format "text": for people. */
static int one_run(const struct cli *c, struct store *s, const char *id, const char *format)
{
    struct run r;
    struct joulet_error err;
    struct jl_buf out;
    if (store_load(s, id, &r, &err) != JOULET_OK)
        return cli_fail_named(c, &err);
    if (cli_flag(c, "private"))
        make_private(&r);
    jl_buf_init(&out, RESULT_MAX);
    enum joulet_status st = cli_flag(c, "metrics") ? write_metrics(c, &out, &r, &err) : write_run(c, &out, s, &r, format, &err);
    run_release(&r);
    if (st == JOULET_OK)
        return write_result(c, &out);
    jl_buf_release(&out);
    return cli_fail(c, &err);
}

static int runs_show(const struct cli *c, struct store *s, const char *id)
{
    if (cli_flag(c, "csv") && !cli_flag(c, "metrics"))
        return cli_usage(c, "--csv is for --metrics; `joulet runs export %s --format csv` writes the record as a table", id);
    return one_run(c, s, id, cli_json(c) ? "json" : "text");
}

static int runs_export(const struct cli *c, struct store *s, const char *id)
{
    const char *format = cli_str(c, "format");
    return one_run(c, s, id, format ? format : "json");
}

/* ---- import and delete ------------------------------------------------------------------------------------------ */

static enum joulet_status read_record(const char *path, struct run *r, struct joulet_error *err)
{
    struct jl_buf b;
    struct joulet_error why;
    jl_buf_init(&b, RUN_JSON_MAX);
    enum joulet_status st = records_text(path, &b, err);
    if (st == JOULET_OK) {
        st = run_from_json(b.data, b.len, r, &why);
        if (st != JOULET_OK)
            jl_fail(err, st, "%s: %s", path, why.message);
    }
    jl_buf_release(&b);
    return st;
}

/* A file that is no record is bad input; what the store then says is not. */
static int import_one(const struct cli *c, struct store *s, const char *path, char id[40])
{
    struct run r;
    struct joulet_error err;
    enum joulet_status st = read_record(path, &r, &err);
    if (st != JOULET_OK) {
        cli_fail(c, &err);
        return st == JOULET_MEMORY ? CLI_FAILED : CLI_USAGE;
    }
    memcpy(id, r.id, sizeof r.id);
    st = store_import(s, &r, &err);
    run_release(&r);
    return st == JOULET_OK ? CLI_DONE : cli_fail(c, &err);
}

static int delete_one(const struct cli *c, struct store *s, const char *which, char id[40])
{
    struct joulet_error err;
    if (store_full_id(s, which, id, &err) != JOULET_OK || store_delete(s, id, &err) != JOULET_OK)
        return cli_fail_named(c, &err);
    return CLI_DONE;
}

/* ---- measured again ------------------------------------------------------------------------------------------------ */

static void show_again(const struct cli *c, struct jl_buf *out, const struct run *r, bool stored)
{
    if (cli_json(c)) {
        recompute_json(out, r, stored);
        return;
    }
    report_recomputed(out, r, cli_style(c));
    jl_buf_printf(out, "\n%s\n",
                  stored ? "The record has these figures now, and keeps the former ones." : "Nothing was stored (--dry-run).");
}

static enum joulet_status again(const struct cli *c, struct store *s, const char *id, struct jl_buf *out,
                                struct joulet_error *err)
{
    struct run r;
    bool dry = cli_flag(c, "dry-run");
    enum joulet_status st = store_load(s, id, &r, err);
    if (st != JOULET_OK)
        return st;
    st = recompute_run(s, &r, err);
    if (st == JOULET_OK && !dry)
        st = store_replace(s, &r, err);
    if (st == JOULET_OK)
        show_again(c, out, &r, !dry);
    run_release(&r);
    return st;
}

static int runs_recompute(const struct cli *c, struct store *s, const char *id)
{
    struct joulet_error err;
    struct jl_buf out;
    jl_buf_init(&out, RESULT_MAX);
    if (again(c, s, id, &out, &err) == JOULET_OK) {
        if (cli_json(c))
            jl_buf_str(&out, "\n");
        return write_result(c, &out);
    }
    jl_buf_release(&out);
    return cli_fail(c, &err);
}

/* Runs that came without samples, or are being measured, are left as they are; any other fault ends it. */
static int recompute_rows(const struct cli *c, struct store *s, const struct store_row *rows, size_t n)
{
    struct joulet_error err;
    struct jl_buf out;
    size_t done = 0, left = 0;
    jl_buf_init(&out, RESULT_MAX);
    jl_buf_str(&out, cli_json(c) ? "[" : "");
    for (size_t i = 0; i < n; i++) {
        struct jl_buf one;
        jl_buf_init(&one, RESULT_MAX);
        enum joulet_status st = again(c, s, rows[i].id, &one, &err);
        if (st == JOULET_OK) {
            jl_buf_str(&out, !done ? "" : cli_json(c) ? ",\n" : "\n");
            jl_buf_add(&out, one.data, one.len);
        }
        jl_buf_release(&one);
        done += st == JOULET_OK;
        left += st == JOULET_NOT_FOUND || st == JOULET_BUSY;
        if (st != JOULET_OK && st != JOULET_NOT_FOUND && st != JOULET_BUSY) {
            jl_buf_release(&out);
            return cli_fail(c, &err);
        }
    }
    jl_buf_str(&out, cli_json(c) ? "]\n" : "");
    if (left)
        cli_say(c, "%zu of %zu runs stay as they are: they have no samples in the store, or are being measured", left, n);
    return write_result(c, &out);
}

static int recompute_all(const struct cli *c)
{
    struct store *s;
    struct store_row *rows;
    struct joulet_error err;
    size_t n;
    int code = open_store(c, &s);
    if (code != CLI_DONE)
        return code;
    if (store_list(s, 0, &rows, &n, &err) == JOULET_OK) {
        code = recompute_rows(c, s, rows, n);
        store_rows_free(rows, n);
    } else {
        code = cli_fail(c, &err);
    }
    store_close(s);
    return code;
}

/* ---- the verbs ---------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name, *operand;
    int (*show)(const struct cli *c, struct store *s, const char *id);               /* of one run */
    int (*act)(const struct cli *c, struct store *s, const char *operand, char *id); /* on several; tells which run it was */
    const char *done;
} verbs[] = {
    {"show", "the id of a run, its beginning, or \"last\"", runs_show, NULL, NULL},
    {"export", "the id of a run, its beginning, or \"last\"", runs_export, NULL, NULL},
    {"import", "a file written by `joulet runs export`, or -", NULL, import_one, "imported"},
    {"delete", "the id of a run", NULL, delete_one, "deleted"},
    {"recompute", "the id of a run, its beginning, or \"last\"; or --all", runs_recompute, NULL, NULL},
};

/* Every operand is tried; the first failure is the exit code. The result says what was done. */
static int act(const struct cli *c, struct store *s, size_t verb, int n, char **operands)
{
    struct jl_buf out;
    int code = CLI_DONE, done = 0;
    jl_buf_init(&out, RESULT_MAX);
    if (cli_json(c))
        jl_buf_printf(&out, "{\"%s\": [", verbs[verb].done);
    for (int i = 0; i < n; i++) {
        char id[40];
        int one = verbs[verb].act(c, s, operands[i], id);
        code = code == CLI_DONE ? one : code;
        if (one != CLI_DONE)
            continue;
        if (!cli_json(c)) {
            jl_buf_printf(&out, "run %s is %s\n", id, verbs[verb].done);
        } else {
            jl_buf_str(&out, done ? ", " : "");
            cli_json_string(&out, id);
        }
        done++;
    }
    if (cli_json(c))
        jl_buf_str(&out, "]}\n");
    if (done == 0) {
        jl_buf_release(&out);
        return code;
    }
    int written = write_result(c, &out);
    return code == CLI_DONE ? written : code;
}

static int with_store(const struct cli *c, size_t verb, int n, char **operands)
{
    struct store *s;
    int code = open_store(c, &s);
    if (code != CLI_DONE)
        return code;
    code = verbs[verb].act ? act(c, s, verb, n, operands) : verbs[verb].show(c, s, operands[0]);
    store_close(s);
    return code;
}

static int list_all(const struct cli *c, int argc, char **argv)
{
    struct store *s;
    if (argc > 0)
        return cli_usage(c, "runs list takes no operand \"%s\"", argv[0]);
    int code = open_store(c, &s);
    if (code != CLI_DONE)
        return code;
    code = runs_list(c, s);
    store_close(s);
    return code;
}

static int runs_run(struct cli *c, int argc, char **argv)
{
    if (argc == 0 || !strcmp(argv[0], "list"))
        return list_all(c, argc ? argc - 1 : 0, argv + 1);
    bool recompute = !strcmp(argv[0], "recompute"), all = cli_flag(c, "all"), dry = cli_flag(c, "dry-run");
    if (all && recompute && argc == 1)
        return recompute_all(c);
    if (all || (dry && !recompute))
        return cli_usage(c, "%s goes with `runs recompute`%s", all ? "--all" : "--dry-run",
                         all ? ", and no run is named beside it" : "");
    for (size_t i = 0; i < JL_COUNT(verbs); i++) {
        if (strcmp(argv[0], verbs[i].name))
            continue;
        if (argc < 2)
            return cli_usage(c, "runs %s needs %s", verbs[i].name, verbs[i].operand);
        if (argc > 2 && !verbs[i].act)
            return cli_usage(c, "runs %s takes one run, not \"%s\" as well", verbs[i].name, argv[2]);
        return with_store(c, i, argc - 1, argv + 1);
    }
    return cli_usage(c, "there is no \"runs %s\": it is list, show, export, import, delete or recompute", argv[0]);
}

const struct command cmd_runs = {
    .name = "runs",
    .summary = "list, show, export, import, delete and recompute stored runs",
    .usage = "joulet runs [OPTION]... [list | show ID | export ID | import FILE... | delete ID... | recompute ID]",
    .options = "format limit private metrics csv all dry-run db",
    .about =
        "Every run, bench, exec and chat is kept in a database with its samples. ID is the id of a run, the beginning of one\n"
        "that fits no other, or `last`.\n"
        "\n"
        "`export` writes the record as JSON (docs/record.md), as a table (--format csv), or the samples as a trace that\n"
        "--replay plays again (--format trace). What was exported can be imported on any machine and exported again to the\n"
        "same bytes. With --private prompts and answers are left out; their hashes stay.\n"
        "\n"
        "`import` and `delete` say which runs they were; with --json as {\"imported\": [ID, ...]} and {\"deleted\": [ID, ...]}.\n"
        "\n"
        "`recompute` measures the samples of a run again with the estimators of this version and prints the figures before and\n"
        "now. The record shows the new ones and keeps the old ones, each with its method; --dry-run changes nothing, --all "
        "takes\n"
        "every run. Runs that were imported have no samples.\n"
        "\n"
        "A run that was killed before its end is listed as interrupted, with what was measured until then.",
    .examples = "joulet runs\n  all runs, the newest first\n"
                "joulet runs show last\n  what the last run drew, window by window\n"
                "joulet runs show last --metrics\n  every metric, net and gross, with --json or --csv for a script\n"
                "joulet runs export 20261121-1523 --format csv -o bench.csv\n  a row for each window and request\n"
                "joulet runs recompute last --dry-run\n  what this version makes of the samples of the last run\n"
                "joulet runs import bench.json\n  a record from another machine\n",
    .run = runs_run,
    .verbs = "list show export import delete recompute",
};
