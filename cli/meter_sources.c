/* meter_sources.c - the meters behind HTTP that the user named with --meter. */
#include "cli/cli.h"
#include "meters/meters.h"

enum joulet_status cli_meters_check(const struct cli *c, struct joulet_options *opt, struct joulet_error *err)
{
    const char *const *addresses = NULL;
    size_t n = cli_list(c, "meter", &addresses);
    opt->pushes = n > 0;
    return meters_check(addresses, n, err);
}

enum joulet_status cli_meters_open(const struct cli *c, struct joulet *m, struct meters **out, struct joulet_error *err)
{
    const char *const *addresses = NULL;
    size_t n = cli_list(c, "meter", &addresses);
    *out = NULL;
    return n ? meters_open(out, m, addresses, n, err) : jl_ok(err);
}
