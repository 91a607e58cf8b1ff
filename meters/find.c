/* find.c - where a meter keeps its power. */
#include "meters/source.h"

#include <stdio.h>
#include <string.h>

#define CHASSIS 8 /* of a management controller, looked at */

/* Worth more to the user than "404 on the last path that was tried". */
static bool tells_more(const struct joulet_error *now, const struct joulet_error *kept)
{
    return kept->status == JOULET_OK || kept->status == JOULET_NOT_FOUND || now->status == JOULET_PERMISSION;
}

static void add_url(struct meter_source *s, const char *url)
{
    snprintf(s->urls[s->n_urls++], METER_URL, "%s", url);
}

/* Keeps urls[] when they show power. */
static bool try_urls(struct meter_source *s, struct joulet_error *err)
{
    struct joulet_error why = {0};
    int64_t asked, answered;
    if (meter_ask(s, &s->page, &asked, &answered, &why) == JOULET_OK)
        return true;
    s->n_urls = 0;
    if (tells_more(&why, err))
        *err = why;
    return false;
}

static bool try_url(struct meter_source *s, const char *url, struct joulet_error *err)
{
    s->n_urls = 0;
    add_url(s, url);
    return try_urls(s, err);
}

/* ---- Redfish ------------------------------------------------------------------------------------------------------------ */

/* The body of `path` of this controller; false: it cannot be had, or is not there. */
static bool get_path(struct meter_source *s, const char *path, struct net_response *r)
{
    char url[METER_URL];
    struct joulet_error why;
    snprintf(url, sizeof(url), "%s%.300s", s->at.origin, path);
    if (meter_get(s, url, r, &why) == JOULET_OK)
        return true;
    net_response_release(r);
    return false;
}

static bool link_of(struct meter_source *s, const char *path, const char *key, char *buf, size_t size)
{
    struct net_response r;
    if (!get_path(s, path, &r))
        return false;
    bool ok = page_redfish_link(r.body.data, r.body.len, key, buf, size);
    net_response_release(&r);
    return ok;
}

/* The metrics of one power supply, into urls[]. A bay without one draws nothing. */
static bool add_supply(struct meter_source *s, const char *supply)
{
    char metrics[300], url[METER_URL];
    struct net_response r;
    if (s->n_urls == METER_URLS_MAX || !get_path(s, supply, &r))
        return false;
    bool absent = page_redfish_is_absent(r.body.data, r.body.len);
    bool ok = absent || page_redfish_link(r.body.data, r.body.len, "Metrics", metrics, sizeof(metrics));
    net_response_release(&r);
    if (!ok || absent)
        return ok;
    snprintf(url, sizeof(url), "%s%s", s->at.origin, metrics);
    add_url(s, url);
    return true;
}

/* Newer controllers tell the power of each supply in a resource of its own: chassis, PowerSubsystem, PowerSupplies, each with its
 * Metrics. The machine draws what all of them take in, so all of them have to tell. */
static bool try_supplies(struct meter_source *s, const char *chassis, struct joulet_error *err)
{
    char path[320], supplies[300], supply[300];
    struct net_response r;
    bool ok = true;
    snprintf(path, sizeof(path), "%.280s/PowerSubsystem", chassis);
    if (!link_of(s, path, "PowerSupplies", supplies, sizeof(supplies)) || !get_path(s, supplies, &r))
        return false;
    s->n_urls = 0;
    for (size_t i = 0; ok && page_redfish_member(r.body.data, r.body.len, i, supply, sizeof(supply)); i++)
        ok = add_supply(s, supply);
    net_response_release(&r);
    size_t found = s->n_urls;
    if (!ok || found == 0 || !try_urls(s, err)) {
        s->n_urls = 0;
        return false;
    }
    if (found > 1)
        snprintf(s->page.device, sizeof(s->page.device), "%zu power supplies", found);
    return true;
}

/* Where a chassis keeps them elsewhere than others do. */
static bool try_link(struct meter_source *s, const char *chassis, struct joulet_error *err)
{
    char path[300], url[METER_URL];
    if (!link_of(s, chassis, "EnvironmentMetrics", path, sizeof(path)))
        return false;
    snprintf(url, sizeof(url), "%s%s", s->at.origin, path);
    return try_url(s, url, err);
}

static bool try_chassis(struct meter_source *s, const char *chassis, struct joulet_error *err)
{
    static const char *const resources[] = {"/EnvironmentMetrics", "/Power", "/PowerSubsystem", ""};
    char url[METER_URL];
    for (size_t i = 0; i < JL_COUNT(resources); i++) {
        snprintf(url, sizeof(url), "%s%.300s%s", s->at.origin, chassis, resources[i]);
        if (try_url(s, url, err))
            return true;
        if (err->status == JOULET_PERMISSION || err->status == JOULET_UNREACHABLE || err->status == JOULET_CANCELLED)
            return false;
    }
    return try_link(s, chassis, err) || try_supplies(s, chassis, err);
}

static bool find_chassis(struct meter_source *s, struct joulet_error *err)
{
    char url[400], chassis[300];
    struct net_response r;
    bool found = false;
    snprintf(url, sizeof(url), "%s/redfish/v1/Chassis", s->at.origin);
    if (meter_get(s, url, &r, err) != JOULET_OK) {
        net_response_release(&r);
        return false;
    }
    for (size_t i = 0; i < CHASSIS && !found && page_redfish_member(r.body.data, r.body.len, i, chassis, sizeof(chassis)); i++)
        found = try_chassis(s, chassis, err);
    if (!found && err->status == JOULET_OK)
        jl_fail(err, JOULET_FORMAT, "answers without a list of chassis; name one in the address, as in /redfish/v1/Chassis/1");
    net_response_release(&r);
    return found;
}

bool meter_find(struct meter_source *s, struct joulet_error *err)
{
    const struct meter_kind *k = s->at.kind;
    *err = (struct joulet_error){0};
    if (k->tree)
        return s->at.path[0] ? try_chassis(s, s->at.path, err) : find_chassis(s, err);
    for (size_t i = 0; i < JL_COUNT(k->paths) && k->paths[i]; i++) {
        char url[METER_URL];
        int n = snprintf(url, sizeof(url), "%s", s->at.origin);
        /* the formats are those of the table */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(url + n, sizeof(url) - (size_t)n, k->paths[i], s->at.channel > 0 ? s->at.channel : 0);
#pragma GCC diagnostic pop
        if (try_url(s, url, err))
            return true;
        if (err->status == JOULET_UNREACHABLE || err->status == JOULET_CANCELLED || err->status == JOULET_UNSUPPORTED)
            return false;
    }
    return false;
}
