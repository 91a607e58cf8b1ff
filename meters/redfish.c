/* redfish.c - power of a server as its management controller tells it: the older `Power` resource
 * (PowerControl[].PowerConsumedWatts) and EnvironmentMetrics (PowerWatts.Reading, EnergykWh.Reading), also where a PowerSubsystem
 * embeds them. docs/meters.md */
#include "meters/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static double reading(const json_t *root, const char *key)
{
    const json_t *v = json_object_get(root, key);
    return meters_number(json_is_object(v) ? json_object_get(v, "Reading") : v, -1);
}

/* The first member is the whole machine; others are parts of it on machines that tell several. */
static double consumed_w(const json_t *root, int channel)
{
    const json_t *controls = json_object_get(root, "PowerControl");
    size_t i = channel > 0 ? (size_t)channel : 0;
    return json_is_array(controls) ? meters_number(json_object_get(json_array_get(controls, i), "PowerConsumedWatts"), -1) : NAN;
}

enum joulet_status page_redfish(const char *body, size_t n, const struct page_ask *ask, struct page *out,
                                struct joulet_error *err)
{
    *out = (struct page){.n = 0};
    json_t *root = meters_json(body, n, err);
    if (!root)
        return JOULET_FORMAT;
    const json_t *metrics = json_object_get(root, "EnvironmentMetrics");
    const json_t *from = json_object_get(metrics, "PowerWatts") ? metrics : root;
    double power_w = consumed_w(root, ask->channel), kwh = reading(from, "EnergykWh");
    const char *name = json_string_value(json_object_get(root, "Name"));
    struct page_value power = {.name = "power",
                               .value = isnan(power_w) ? reading(from, "PowerWatts") : power_w,
                               .quantum = 1,
                               .domain = JOULET_DOMAIN_CHASSIS};
    struct page_value energy = {.name = "energy",
                                .parent = "power",
                                .counter = true,
                                .value = kwh * 3.6e6,
                                .quantum = 3600,
                                .period_s = 60,
                                .domain = JOULET_DOMAIN_CHASSIS,
                                .beside = true};
    snprintf(out->device, sizeof(out->device), "%s", name ? name : "Redfish");
    if (page_add(out, &power))
        page_add(out, &energy);
    json_decref(root);
    if (out->n == 0)
        return jl_fail(err, JOULET_FORMAT, "answers without PowerConsumedWatts or PowerWatts; name the chassis in the address");
    return jl_ok(err);
}

bool page_redfish_member(const char *body, size_t n, size_t i, char *buf, size_t size)
{
    json_error_t why;
    json_t *root = json_loadb(body, n, 0, &why);
    const char *id = json_string_value(json_object_get(json_array_get(json_object_get(root, "Members"), i), "@odata.id"));
    size_t length = id ? strlen(id) : 0;
    bool ok = length > 1 && length < size && id[0] == '/' && id[1] != '/' && strpbrk(id, " \t\r\n\\") == NULL;
    if (ok)
        memcpy(buf, id, length + 1);
    json_decref(root);
    return ok;
}
