/* live.c - opening a meter for rows of power and energy. */
#include "cli/live.h"
#include "meters/meters.h"

#include <math.h>

#define MEMORY_BYTES ((size_t)2 << 20) /* for the open stretches of all channels */

enum joulet_status live_try(struct live *l, const struct cli *c, int64_t poll_ns, double wait_s, struct joulet_error *err)
{
    struct joulet_options o = JOULET_OPTIONS_INIT;
    struct joulet *meter = NULL;
    struct meters *meters = NULL;
    *l = (struct live){.total_w = NAN, .total = JOULET_ENERGY_UNKNOWN};
    cli_meter_options(c, &o);
    o.gauges = true;
    o.memory_bytes = MEMORY_BYTES;
    o.interval_ns = poll_ns;
    enum joulet_status st = cli_meters_check(c, &o, err);
    if (st == JOULET_OK)
        st = joulet_open(&meter, &o, err);
    if (st == JOULET_OK)
        st = cli_meters_open(c, meter, &meters, err);
    if (st == JOULET_OK && joulet_wait_ready(meter, wait_s, err) != JOULET_OK)
        cli_warn(c, "%s", err->message);
    if (st == JOULET_OK)
        st = live_begin(l, meter, joulet_mark_now(meter), err);
    l->meter = meter;
    l->meters = meters;
    if (st != JOULET_OK)
        live_close(l);
    return st;
}

int live_open(struct live *l, const struct cli *c, int64_t poll_ns, double wait_s)
{
    struct joulet_error err;
    if (live_try(l, c, poll_ns, wait_s, &err) != JOULET_OK)
        return cli_fail(c, &err);
    if (live_measures(l) || !cli_flag(c, "measured-only"))
        return CLI_DONE;
    cli_warn(c, "nothing here can be measured and --measured-only was given; `joulet doctor` shows what is in the way");
    live_close(l);
    return CLI_NO_SENSOR;
}

void live_close(struct live *l)
{
    struct joulet *meter = l->meter;
    struct meters *meters = l->meters;
    live_end(l);
    meters_close(meters);
    joulet_close(meter);
}
