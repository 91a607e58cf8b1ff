/* address.c - addresses of meters, and the table of the kinds that joulet speaks with. Adding one is a parser (page.h) and a row.
 */
#include "meters/address.h"

#include <stdio.h>
#include <string.h>

static const struct meter_kind kinds[] = {
    {.scheme = "shelly",
     .sensor = "shelly",
     .prefix = "wall",
     .base = "http",
     .paths = {"/rpc/Switch.GetStatus?id=%d", "/rpc/PM1.GetStatus?id=%d", "/status"},
     .parse = page_shelly,
     .period_s = 1,
     .poll_s = 0.5,
     .spec = 0.02},
    {.scheme = "tasmota",
     .sensor = "tasmota",
     .prefix = "wall",
     .base = "http",
     .paths = {"/cm?cmnd=Status%%208", "/cm?cmnd=Status%%2010"},
     .parse = page_tasmota,
     .login_in_query = true,
     .period_s = 1,
     .poll_s = 0.5,
     .spec = 0.02},
    {.scheme = "redfish",
     .sensor = "redfish",
     .prefix = "chassis",
     .base = "http",
     .parse = page_redfish,
     .period_s = 5,
     .poll_s = 2.5,
     .spec = 0.05,
     .tree = true},
    {.scheme = "redfish+https",
     .sensor = "redfish",
     .prefix = "chassis",
     .base = "https",
     .parse = page_redfish,
     .period_s = 5,
     .poll_s = 2.5,
     .spec = 0.05,
     .tree = true},
    {.scheme = "scaphandre",
     .sensor = "scaphandre",
     .prefix = "host",
     .base = "http",
     .paths = {"/metrics"},
     .parse = page_scaphandre,
     .period_s = 2,
     .poll_s = 1,
     .spec = 0.1,
     .port = 8080},
};

static const struct meter_kind *kind_of(const char *scheme, size_t n)
{
    for (size_t i = 0; i < JL_COUNT(kinds); i++)
        if (strlen(kinds[i].scheme) == n && memcmp(kinds[i].scheme, scheme, n) == 0)
            return &kinds[i];
    return NULL;
}

/* "HOST", "HOST:PORT", "[::1]:PORT" of n bytes. */
static bool is_host(const char *host, size_t n, bool *port)
{
    size_t i = 0;
    if (n > 0 && host[0] == '[') {
        i = 1 + strspn(host + 1, "0123456789abcdefABCDEF:.%");
        if (i >= n || host[i] != ']')
            return false;
        i++;
    } else {
        i = strspn(host, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-_");
        i = i < n ? i : n;
    }
    *port = i < n;
    if (i == 0 || i == n)
        return i > 0;
    size_t digits = strspn(host + i + 1, "0123456789");
    return host[i] == ':' && digits > 0 && digits < 6 && i + 1 + digits == n;
}

/* What stands behind the host: "", "/", "/2", "/redfish/v1/Chassis/1", then perhaps "?insecure". */
static bool take_rest(const char *rest, struct meter_address *out)
{
    size_t n = strcspn(rest, "?");
    int64_t channel;
    if (rest[n] && strcmp(rest + n, "?insecure") != 0)
        return false;
    out->insecure = rest[n] != '\0';
    out->channel = -1;
    if (n >= sizeof(out->path) || strcspn(rest, " \t\r\n#\\\"<>") < n)
        return false;
    if (n <= 1)
        return true;
    if (out->kind->tree && strncmp(rest, "/redfish/", 9) == 0) {
        memcpy(out->path, rest, n);
        out->path[n] = '\0';
        return true;
    }
    char number[8];
    snprintf(number, sizeof(number), "%.*s", n - 1 < 7 ? (int)(n - 1) : 0, rest + 1);
    if (!jl_parse_i64(number, &channel) || channel < 0 || channel > 63)
        return false;
    out->channel = (int)channel;
    return true;
}

enum joulet_status meter_address_parse(const char *text, struct meter_address *out, struct joulet_error *err)
{
    const char *colon = strstr(text, "://");
    bool port = false;
    *out = (struct meter_address){.channel = -1};
    out->kind = colon ? kind_of(text, (size_t)(colon - text)) : NULL;
    if (!out->kind)
        return jl_fail(err, JOULET_USAGE,
                       "\"%s\" is no meter: give shelly://HOST, tasmota://HOST, redfish+https://HOST, redfish://HOST or "
                       "scaphandre://HOST:PORT",
                       text);
    const char *host = colon + 3;
    size_t n = strcspn(host, "/?");
    if (memchr(host, '@', n))
        return jl_fail(err, JOULET_USAGE,
                       "an address of a meter holds no user and password, which others could see: set JOULET_METER_USER and "
                       "JOULET_METER_PASSWORD instead");
    if (!is_host(host, n, &port) || n > 250 || !take_rest(host + n, out))
        return jl_fail(err, JOULET_USAGE,
                       "the meter \"%s\" cannot be found so: an address is %s://HOST, perhaps with :PORT and /CHANNEL", text,
                       out->kind->scheme);
    if (port || !out->kind->port)
        snprintf(out->origin, sizeof(out->origin), "%s://%.*s", out->kind->base, (int)n, host);
    else
        snprintf(out->origin, sizeof(out->origin), "%s://%.*s:%d", out->kind->base, (int)n, host, out->kind->port);
    return jl_ok(err);
}
