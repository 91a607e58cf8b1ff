/* profile_show.c - a profile that was made, drawn, as JSON, as tables, or as the data of charts. */
#include "cli/profile_files.h"
#include "report/profile.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define RESULT_MAX ((size_t)1 << 30)

static int write_result(const struct cli *c, struct jl_buf *out)
{
    int code = out->failed ? cli_usage(c, "the result is longer than %zu MiB", out->max >> 20)
                           : cli_result(c, out->data ? out->data : "", out->len);
    jl_buf_release(out);
    return code;
}

/* Beside "parts.csv" lies "parts.trace.csv". */
static enum joulet_status write_trace(const char *path, const struct run_profile *p, struct joulet_error *err)
{
    struct jl_buf b;
    size_t n = strlen(path), stem = n > 4 && !strcmp(path + n - 4, ".csv") ? n - 4 : n;
    char *beside = jl_strf("%.*s.trace.csv", (int)stem, path);
    jl_buf_init(&b, RESULT_MAX);
    enum joulet_status st = beside ? run_profile_trace_csv(p, &b, err) : jl_fail(err, JOULET_MEMORY, "out of memory");
    if (st == JOULET_OK)
        st = jl_write_file(beside, b.data, b.len, 0644, err);
    jl_buf_release(&b);
    free(beside);
    return st;
}

/* Nothing lies beside a device, a pipe or standard output. */
static bool is_file(const char *path)
{
    struct stat st;
    return path && strcmp(path, "-") != 0 && (stat(path, &st) != 0 || S_ISREG(st.st_mode));
}

static int show_csv(const struct cli *c, const struct run_profile *p)
{
    struct jl_buf out;
    struct joulet_error err;
    const char *path = cli_str(c, "output");
    bool trace = p->n_trace && is_file(path);
    jl_buf_init(&out, RESULT_MAX);
    if (run_profile_to_csv(p, &out, &err) != JOULET_OK) {
        jl_buf_release(&out);
        return cli_fail(c, &err);
    }
    int code = write_result(c, &out);
    return code == CLI_DONE && trace && write_trace(path, p, &err) != JOULET_OK ? cli_fail(c, &err) : code;
}

static int show_json(const struct cli *c, const struct run_profile *p)
{
    struct jl_buf out;
    struct joulet_error err;
    jl_buf_init(&out, RESULT_MAX);
    if (run_profile_to_json(p, &out, &err) == JOULET_OK)
        return write_result(c, &out);
    jl_buf_release(&out);
    return cli_fail(c, &err);
}

static int draw(const struct cli *c, const struct run_profile *p)
{
    struct jl_buf out;
    struct report_profile_options options = {.layers = cli_flag(c, "layers"), .phase = cli_str(c, "phase")};
    if (options.phase && !run_profile_phase(p, options.phase))
        return cli_usage(c, "profile %s has no phase \"%s\"; `joulet profile show %s` names them", p->id, options.phase, p->id);
    jl_buf_init(&out, RESULT_MAX);
    if (cli_flag(c, "data"))
        report_profile_data(&out, p);
    else
        report_profile(&out, p, &options, cli_style(c));
    return write_result(c, &out);
}

int profile_show(const struct cli *c, int argc, char **argv)
{
    struct run_profile p;
    struct joulet_error err;
    if (argc > 1)
        return cli_usage(c, "profile show takes one profile, not \"%s\" as well", argv[1]);
    if (cli_json(c) + cli_flag(c, "csv") + cli_flag(c, "data") > 1)
        return cli_usage(c, "--json, --csv and --data are three forms: give one of them");
    if (profile_load(argc ? argv[0] : "last", &p, &err) != JOULET_OK)
        return cli_fail_named(c, &err);
    int code = cli_flag(c, "csv") ? show_csv(c, &p) : cli_json(c) ? show_json(c, &p) : draw(c, &p);
    run_profile_release(&p);
    return code;
}
