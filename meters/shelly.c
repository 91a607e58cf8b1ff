/* shelly.c - plugs and relays of Shelly. The first generation: /status and /meter/N with `power` in W and `total` in W min,
 * energy meters
 * (`emeters`) with `total` in Wh. Later ones: Switch.GetStatus and PM1.GetStatus with `apower` in W and `aenergy.total` in Wh,
 * which moves once a minute. docs/meters.md */
#include "meters/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MINUTE_S 60

static void add(struct page *out, double power_w, double step_w, double energy_j, double step_j)
{
    struct page_value power = {.name = "power", .value = power_w, .quantum = step_w, .domain = JOULET_DOMAIN_WALL};
    struct page_value energy = {.name = "energy",
                                .parent = "power",
                                .counter = true,
                                .value = energy_j,
                                .quantum = step_j,
                                .period_s = MINUTE_S,
                                .domain = JOULET_DOMAIN_WALL,
                                .beside = true};
    if (page_add(out, &power)) /* what flows into the net, as with a solar inverter, is no draw */
        page_add(out, &energy);
}

/* Figures of one meter of the first generation. */
static bool is_valid(const json_t *m)
{
    return !json_is_false(json_object_get(m, "is_valid"));
}

static void first_generation(const json_t *root, const struct page_ask *ask, struct page *out)
{
    const json_t *meters = json_object_get(root, "meters"), *emeters = json_object_get(root, "emeters"), *m = root;
    bool wh = json_array_size(emeters) > 0;
    if (wh || json_is_array(meters))
        m = json_array_get(wh ? emeters : meters, ask->channel > 0 ? (size_t)ask->channel : 0);
    if (m && is_valid(m))
        add(out, meters_number(json_object_get(m, "power"), -1), 0.01,
            meters_number(json_object_get(m, "total"), -1) * (wh ? 3600 : 60), wh ? 360 : 60);
}

enum joulet_status page_shelly(const char *body, size_t n, const struct page_ask *ask, struct page *out, struct joulet_error *err)
{
    *out = (struct page){.n = 0};
    json_t *root = meters_json(body, n, err);
    if (!root)
        return JOULET_FORMAT;
    double power_w = meters_number(json_object_get(root, "apower"), -1);
    snprintf(out->device, sizeof(out->device), "Shelly");
    if (!isnan(power_w))
        add(out, power_w, 0.1, meters_number(json_object_get(json_object_get(root, "aenergy"), "total"), -1) * 3600, 3.6);
    else
        first_generation(root, ask, out);
    json_decref(root);
    if (out->n == 0)
        return jl_fail(err, JOULET_FORMAT,
                       "answers without a power of that channel; check its number, and that the device meters at all");
    return jl_ok(err);
}
