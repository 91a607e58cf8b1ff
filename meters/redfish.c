/* redfish.c - power of a server as its management controller tells it: the older `Power` resource
 * (PowerControl[].PowerConsumedWatts, else what all its power supplies take in), EnvironmentMetrics (PowerWatts.Reading,
 * EnergyJoules.Reading or EnergykWh.Reading), also where a PowerSubsystem embeds them, and the metrics of one power supply
 * (InputPowerWatts.Reading). docs/meters.md */
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

static bool is_absent(const json_t *part)
{
    const char *state = json_string_value(json_object_get(json_object_get(part, "Status"), "State"));
    return state && strcmp(state, "Absent") == 0;
}

/* What all supplies of the older resource take in; NAN when one of them does not tell. */
static double supplied_w(const json_t *root)
{
    const json_t *all = json_object_get(root, "PowerSupplies");
    double sum = json_array_size(all) ? 0 : NAN;
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *supply = json_array_get(all, i);
        if (!is_absent(supply))
            sum += meters_number(json_object_get(supply, "PowerInputWatts"), -1);
    }
    return sum;
}

static double first_known(const double *all, size_t n)
{
    size_t i = 0;
    while (i + 1 < n && isnan(all[i]))
        i++;
    return all[i];
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
    const double powers_w[] = {consumed_w(root, ask->channel), reading(from, "PowerWatts"), reading(root, "InputPowerWatts"),
                               supplied_w(root)};
    double joules = reading(from, "EnergyJoules"), kwh = reading(from, "EnergykWh");
    const char *name = json_string_value(json_object_get(root, "Name"));
    struct page_value power = {
        .name = "power", .value = first_known(powers_w, JL_COUNT(powers_w)), .quantum = 1, .domain = JOULET_DOMAIN_CHASSIS};
    struct page_value energy = {.name = "energy",
                                .parent = "power",
                                .counter = true,
                                .value = isnan(joules) ? kwh * 3.6e6 : joules,
                                .quantum = isnan(joules) ? 3600 : 1,
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

/* A place on this controller: never another host. */
static bool take_id(const json_t *object, char *buf, size_t size)
{
    const char *id = json_string_value(json_object_get(object, "@odata.id"));
    size_t length = id ? strlen(id) : 0;
    bool ok = length > 1 && length < size && id[0] == '/' && id[1] != '/' && strpbrk(id, " \t\r\n\\") == NULL;
    if (ok)
        memcpy(buf, id, length + 1);
    return ok;
}

bool page_redfish_member(const char *body, size_t n, size_t i, char *buf, size_t size)
{
    json_error_t why;
    json_t *root = json_loadb(body, n, 0, &why);
    bool ok = take_id(json_array_get(json_object_get(root, "Members"), i), buf, size);
    json_decref(root);
    return ok;
}

bool page_redfish_link(const char *body, size_t n, const char *key, char *buf, size_t size)
{
    json_error_t why;
    json_t *root = json_loadb(body, n, 0, &why);
    bool ok = take_id(json_object_get(root, key), buf, size);
    json_decref(root);
    return ok;
}

bool page_redfish_is_absent(const char *body, size_t n)
{
    json_error_t why;
    json_t *root = json_loadb(body, n, 0, &why);
    bool absent = is_absent(root);
    json_decref(root);
    return absent;
}
