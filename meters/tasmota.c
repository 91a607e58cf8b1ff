/* tasmota.c - plugs with the Tasmota firmware: cm?cmnd=Status%208, `ENERGY` with `Power` in W, `Total` in kWh; arrays where there
 * are several channels. As delivered a step is 1 W and 1 Wh; `WattRes` and `EnergyRes` make it finer, and its numbers show with
 * how many decimals. docs/meters.md */
#include "meters/json.h"

#include <math.h>
#include <stdio.h>

#define STEP_W  1.0
#define STEP_WH 1.0
#define J_KWH   3.6e6

/* As it prints them, always with the same decimals; never finer than it can be set to. */
static double step_of(const char *body, size_t n, const char *key, double usual, double finest)
{
    double step = meters_step(body, n, key);
    return isnan(step) || step > usual ? usual : fmax(step, finest);
}

enum joulet_status page_tasmota(const char *body, size_t n, const struct page_ask *ask, struct page *out,
                                struct joulet_error *err)
{
    *out = (struct page){.n = 0};
    json_t *root = meters_json(body, n, err);
    if (!root)
        return JOULET_FORMAT;
    if (json_object_get(root, "WARNING")) {
        json_decref(root);
        return jl_fail(err, JOULET_PERMISSION,
                       "answers that it wants a user and password; set JOULET_METER_USER and JOULET_METER_PASSWORD");
    }
    const json_t *sns = json_object_get(root, "StatusSNS");
    const json_t *e = json_object_get(sns ? sns : root, "ENERGY");
    int index = ask->channel > 0 ? ask->channel - 1 : -1; /* its channels count from 1 */
    struct page_value power = {.name = "power",
                               .value = meters_number(json_object_get(e, "Power"), index),
                               .quantum = step_of(body, n, "Power", STEP_W, 1e-3),
                               .domain = JOULET_DOMAIN_WALL};
    struct page_value energy = {.name = "energy",
                                .parent = "power",
                                .counter = true,
                                .value = meters_number(json_object_get(e, "Total"), index) * J_KWH,
                                .quantum = step_of(body, n, "Total", STEP_WH * 1e-3, 1e-5) * J_KWH,
                                .period_s = 10,
                                .domain = JOULET_DOMAIN_WALL,
                                .beside = true};
    snprintf(out->device, sizeof(out->device), "Tasmota");
    if (page_add(out, &power))
        page_add(out, &energy);
    json_decref(root);
    if (out->n == 0)
        return jl_fail(err, JOULET_FORMAT,
                       "answers without a power of that channel; check its number, and that the device meters at all");
    return jl_ok(err);
}
