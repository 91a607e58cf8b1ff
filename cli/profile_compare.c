/* profile_compare.c - two profiles beside each other. */
#include "cli/profile_files.h"
#include "report/profile.h"

#include <string.h>

static int compare(const struct cli *c, const struct run_profile *a, const struct run_profile *b)
{
    struct jl_buf out;
    if (!strcmp(a->id, b->id))
        return cli_usage(c, "profile %s is named twice: a profile compared with itself tells nothing", a->id);
    jl_buf_init(&out, (size_t)64 << 20);
    if (cli_json(c))
        report_profile_compare_json(&out, a, b);
    else
        report_profile_compare(&out, a, b, cli_style(c));
    int code = cli_result(c, out.data ? out.data : "", out.len);
    jl_buf_release(&out);
    return code;
}

int profile_compare(const struct cli *c, int argc, char **argv)
{
    struct run_profile a, b;
    struct joulet_error err;
    if (argc != 2)
        return cli_usage(c, "profile compare needs two profiles: ids, their beginnings, \"last\" or files");
    if (profile_load(argv[0], &a, &err) != JOULET_OK)
        return cli_fail_named(c, &err);
    if (profile_load(argv[1], &b, &err) != JOULET_OK) {
        run_profile_release(&a);
        return cli_fail_named(c, &err);
    }
    int code = compare(c, &a, &b);
    run_profile_release(&a);
    run_profile_release(&b);
    return code;
}
