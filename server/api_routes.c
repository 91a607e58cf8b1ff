/* api_routes.c - every path below /joulet/, once: what is dispatched, what the index lists, and what the test holds against
 * openapi.json. */
#include "server/api.h"

#include <stdio.h>
#include <string.h>

const struct api_route api_routes[] = {
    {"GET", "/joulet/", NULL, "this list", api_index},
    {"GET", "/joulet/openapi.json", NULL, "the description of all of this (OpenAPI 3.1)", api_openapi},
    {"GET", "/joulet/health", NULL, "how the server is, and whether its upstreams answer", api_health},
    {"GET", "/joulet/sensors", NULL, "every channel that is read, what it says now, and what is in the way", api_sensors},
    {"GET", "/joulet/power", "interval_ms follow", "power and energy of each channel, once or as a stream", api_power},
    {"GET", "/joulet/requests", "model upstream client session state kind protocol since until before after limit follow",
     "requests that are remembered or stored, newest first, or a stream of them as they go", api_requests},
    {"GET", "/joulet/requests/{id}", NULL, "one request: tokens, windows, energy", api_request},
    {"GET", "/joulet/metrics", NULL, "all of it for Prometheus, in its text form", api_metrics},
    {"GET", "/joulet/usage", "by since until", "sums of what is stored, as of `joulet usage`: requests, tokens, energy",
     api_usage},
    {"GET", "/joulet/models", "upstream", "the models of the upstreams, and which are loaded", api_models},
    {"GET", "/joulet/models/{name}", "upstream", "one model, with what its file says where it is on this machine", api_model},
    {"GET", "/joulet/runs", "kind model state before after limit", "stored runs, and those that were started here", api_runs},
    {"POST", "/joulet/runs", NULL, "start a run: prompts, one after the other, measured", api_run_start},
    {"GET", "/joulet/runs/{id}", NULL, "the record of a run", api_run},
    {"GET", "/joulet/runs/{id}/state", NULL, "how far a run is that was started here", api_run_state},
    {"POST", "/joulet/runs/{id}/stop", NULL, "end a run that was started here; what was measured stays", api_run_stop},
    {"GET", "/joulet/doctor", NULL, "what can be measured here, and what is in the way", api_doctor},
    {"GET", "/joulet/prompts", NULL, "the sets of prompts that come with the program", api_prompts},
    {"GET", "/joulet/prompts/{name}", NULL, "the prompts of one set", api_prompt},
    {"GET", "/joulet/sets", NULL, "the sets of coefficients that estimates are made with", api_sets},
    {"GET", "/joulet/sets/{name}", NULL, "one set with its models", api_set},
    {"GET", "/joulet/factors", "search", "what a kWh emits in the places that are known", api_factors},
    {"GET", "/joulet/factors/{place}", NULL, "one place", api_factor},
    {"GET", "/joulet/energy", NULL, "accounts of each device: where every joule went", api_energy},
};
const size_t api_routes_n = JL_COUNT(api_routes);

/* Whether the path is the pattern's; what stands for {...} is decoded into name. */
static bool fits(const char *pattern, const char *path, size_t n, char *name, size_t size)
{
    const char *open = strchr(pattern, '{'), *rest = open ? strchr(open, '}') + 1 : NULL;
    size_t before = open ? (size_t)(open - pattern) : strlen(pattern), after = rest ? strlen(rest) : 0;
    if (!open)
        return n == before && strncmp(pattern, path, n) == 0;
    if (n <= before + after || strncmp(pattern, path, before) != 0 || strncmp(rest, path + n - after, after) != 0)
        return false;
    const char *value = path + before;
    size_t len = n - before - after;
    return (!after || !memchr(value, '/', len)) && api_decode(value, len, false, name, size);
}

static void allow_also(char *allow, size_t size, const char *method)
{
    size_t n = strlen(allow);
    snprintf(allow + n, size - n, "%s%s%s", n ? ", " : "", method, strcmp(method, "GET") == 0 ? ", HEAD" : "");
}

/* "/joulet/runs/x/stop" is also "/joulet/runs/{id}" with all that follows: the pattern with the longer fixed text wins. */
const struct api_route *api_find(const char *method, const char *path, size_t n, char *name, size_t name_size, char *allow,
                                 size_t allow_size)
{
    const struct api_route *found = NULL;
    size_t best = 0;
    char value[API_NAME_MAX];
    allow[0] = name[0] = '\0';
    if (n == strlen("/joulet"))
        path = "/joulet/", n++;
    for (size_t i = 0; i < api_routes_n; i++) {
        const struct api_route *r = &api_routes[i];
        value[0] = '\0';
        if (strlen(r->path) < best || !fits(r->path, path, n, value, sizeof value))
            continue;
        if (strlen(r->path) > best) {
            best = strlen(r->path);
            found = NULL;
            allow[0] = '\0';
        }
        allow_also(allow, allow_size, r->method);
        if (strcmp(r->method, method) == 0 || (strcmp(r->method, "GET") == 0 && strcmp(method, "HEAD") == 0))
            found = r;
        snprintf(name, name_size, "%s", value);
    }
    if (*allow)
        snprintf(allow + strlen(allow), allow_size - strlen(allow), ", OPTIONS");
    return found;
}
