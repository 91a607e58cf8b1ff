/* stand_in.c - see stand_in.h. One thread, one connection at a time, closed after each answer. */
#include "tests/meters/stand_in.h"
#include "lib/platform/platform.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdatomic.h>

struct stand_in {
    enum stand_kind kind;
    double watts, watts_after;
    int64_t began_ns;
    _Atomic int64_t step_ns, boot_ns;
    atomic_int fault, fault_once, fault_at, guard, requests;
    atomic_bool stop;
    int listener, port;
    struct jl_thread *thread;
};

static double power_w(const struct stand_in *s, int64_t t)
{
    int64_t step = atomic_load(&s->step_ns);
    return step && t >= step ? s->watts_after : s->watts;
}

/* Of its counter, which a reboot sets back. */
static double energy_j(const struct stand_in *s, int64_t t)
{
    int64_t from = s->began_ns, step = atomic_load(&s->step_ns), boot = atomic_load(&s->boot_ns);
    double before = step && step < t ? jl_s(step - from) : jl_s(t - from);
    double after = step && step < t ? jl_s(t - step) : 0;
    return boot ? s->watts_after * jl_s(t - boot) : 100000 + s->watts * before + s->watts_after * after;
}

/* ---- what it says ---------------------------------------------------------------------------------------------------------- */

#define CHASSIS  "/redfish/v1/Chassis/1"
#define SUPPLIES CHASSIS "/PowerSubsystem/PowerSupplies"

/* A controller of the newer kind, whose chassis tells no power itself. Its supplies take in 60 % and 40 %. */
static bool supplies_body(const char *path, double w, double j, char *b, size_t size)
{
    static const struct {
        const char *path, *body;
    } fixed[] = {
        {"/redfish/v1/Chassis", "{\"Members\":[{\"@odata.id\":\"" CHASSIS "\"}]}"},
        {CHASSIS, "{\"Name\":\"Server\",\"PowerSubsystem\":{\"@odata.id\":\"" CHASSIS "/PowerSubsystem\"}}"},
        {CHASSIS "/EnvironmentMetrics", "{\"FanSpeedsPercent\":[]}"},
        {CHASSIS "/PowerSubsystem", "{\"Name\":\"Power\",\"PowerSupplies\":{\"@odata.id\":\"" SUPPLIES "\"}}"},
        {SUPPLIES, "{\"Members\":[{\"@odata.id\":\"" SUPPLIES "/a\"},{\"@odata.id\":\"" SUPPLIES
                   "/b\"},{\"@odata.id\":\"" SUPPLIES "/c\"}]}"},
        {SUPPLIES "/a", "{\"Status\":{\"State\":\"Enabled\"},\"Metrics\":{\"@odata.id\":\"" SUPPLIES "/a/Metrics\"}}"},
        {SUPPLIES "/b", "{\"Status\":{\"State\":\"Absent\"}}"},
        {SUPPLIES "/c", "{\"Metrics\":{\"@odata.id\":\"" SUPPLIES "/c/Metrics\"}}"},
    };
    for (size_t i = 0; i < JL_COUNT(fixed); i++)
        if (strcmp(path, fixed[i].path) == 0)
            return snprintf(b, size, "%s", fixed[i].body) > 0;
    bool first = strcmp(path, SUPPLIES "/a/Metrics") == 0;
    snprintf(b, size, "{\"Name\":\"Metrics\",\"InputPowerWatts\":{\"Reading\":%.1f},\"EnergykWh\":{\"Reading\":%.3f}}",
             w * (first ? 0.6 : 0.4), j / 3.6e6 / 2);
    return first || strcmp(path, SUPPLIES "/c/Metrics") == 0;
}

static bool body_of(const struct stand_in *s, const char *path, char *b, size_t size)
{
    int64_t t = jl_mono_ns();
    double w = power_w(s, t), j = energy_j(s, t);
    switch (s->kind) {
    case STAND_GEN1:
        snprintf(
            b, size,
            "{\"relays\":[{\"ison\":true}],\"meters\":[{\"power\":%.2f,\"is_valid\":true,\"counters\":[1,2,3],\"total\":%.0f}]}",
            w, j / 60);
        return strcmp(path, "/status") == 0;
    case STAND_GEN2:
    case STAND_PM1:
        snprintf(b, size,
                 "{\"id\":0,\"output\":true,\"apower\":%.1f,\"voltage\":227.9,\"aenergy\":{\"total\":%.3f,\"by_minute\":[34.7,45."
                 "5,45.5],\"minute_ts\":1707326925}}",
                 w, j / 3600);
        return strcmp(path, s->kind == STAND_GEN2 ? "/rpc/Switch.GetStatus?id=0" : "/rpc/PM1.GetStatus?id=0") == 0;
    case STAND_TASMOTA:
        snprintf(b, size,
                 "{\"StatusSNS\":{\"Time\":\"2026-08-21T10:00:00\",\"ENERGY\":{\"Total\":%.3f,\"Power\":%.0f,\"Voltage\":221}}}",
                 j / 3.6e6, w);
        return strcmp(path, "/cm?cmnd=Status%208") == 0;
    case STAND_REDFISH:
        if (strcmp(path, "/redfish/v1/Chassis") == 0)
            return snprintf(
                       b, size,
                       "{\"Members\":[{\"@odata.id\":\"/redfish/v1/Chassis/Fans\"},{\"@odata.id\":\"/redfish/v1/Chassis/1\"}]}") >
                   0;
        snprintf(b, size, "{\"Name\":\"Power\",\"PowerControl\":[{\"PowerConsumedWatts\":%.0f}]}", w);
        return strcmp(path, "/redfish/v1/Chassis/1/Power") == 0;
    case STAND_ENVIRONMENT:
        snprintf(b, size, "{\"Name\":\"Chassis\",\"PowerWatts\":{\"Reading\":%.0f},\"EnergykWh\":{\"Reading\":%.3f}}", w,
                 j / 3.6e6);
        return strcmp(path, "/redfish/v1/Chassis/1U/EnvironmentMetrics") == 0;
    case STAND_SUPPLIES:
        return supplies_body(path, w, j, b, size);
    case STAND_LINKED:
        if (strcmp(path, CHASSIS) == 0)
            return snprintf(b, size, "{\"EnvironmentMetrics\":{\"@odata.id\":\"/redfish/v1/Elsewhere/7\"}}") > 0;
        snprintf(b, size, "{\"PowerWatts\":{\"Reading\":%.0f},\"EnergyJoules\":{\"Reading\":%.0f}}", w, j);
        return strcmp(path, "/redfish/v1/Elsewhere/7") == 0;
    case STAND_SCAPHANDRE:
        snprintf(b, size,
                 "# HELP scaph_host_energy_microjoules Energy\n# TYPE scaph_host_energy_microjoules counter\n"
                 "scaph_host_energy_microjoules{value_source=\"powercap_rapl_pkg\"} "
                 "%.0f\nscaph_socket_energy_microjoules{socket_id=\"0\"} %.0f\n"
                 "scaph_process_power_consumption_microwatts{pid=\"4242\",exe=\"llama\"} %.0f\n",
                 j * 1e6, j * 0.8e6, w * 0.5e6);
        return strcmp(path, "/metrics") == 0;
    }
    return false;
}

/* ---- whom it answers ------------------------------------------------------------------------------------------------------- */

#define REALM "shellyplug-1"
#define NONCE "60dc2c69"

static void sha256(char out[65], const char *fmt, ...)
{
    char text[1024];
    struct jl_sha256 h;
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    jl_sha256_init(&h);
    jl_sha256_add(&h, text, strlen(text));
    jl_sha256_hex(&h, out);
}

/* The part of the header that is called so, with or without quotes. */
static void part_of(const char *header, const char *key, char *buf, size_t size)
{
    char name[32];
    snprintf(name, sizeof(name), " %s=", key);
    const char *p = strstr(header, name);
    buf[0] = '\0';
    if (!p)
        return;
    p += strlen(name);
    p += *p == '"';
    snprintf(buf, size, "%.*s", (int)strcspn(p, "\",\r\n"), p);
}

static bool digest_fits(const char *header)
{
    char user[64], uri[256], cnonce[128], nc[16], response[80], ha1[65], ha2[65], want[65];
    part_of(header, "username", user, sizeof(user));
    part_of(header, "uri", uri, sizeof(uri));
    part_of(header, "cnonce", cnonce, sizeof(cnonce));
    part_of(header, "nc", nc, sizeof(nc));
    part_of(header, "response", response, sizeof(response));
    sha256(ha1, "%s:%s:se cret&1", user, REALM);
    sha256(ha2, "GET:%s", uri);
    sha256(want, "%s:%s:%s:%s:auth:%s", ha1, NONCE, nc, cnonce, ha2);
    return strcmp(user, "admin") == 0 && strcmp(response, want) == 0;
}

/* What it wants to be asked with; "" when it is. */
static const char *wants(const struct stand_in *s, const char *request)
{
    const char *header = strstr(request, "Authorization: ");
    switch ((enum stand_guard)atomic_load(&s->guard)) {
    case STAND_BASIC: /* admin:se cret&1 */
        return header && strstr(header, "Basic YWRtaW46c2UgY3JldCYx\r\n") ? "" : "WWW-Authenticate: Basic realm=\"meter\"\r\n";
    case STAND_DIGEST:
        return header && strstr(header, "Digest ") && digest_fits(header)
                   ? ""
                   : "WWW-Authenticate: Digest qop=\"auth\", realm=\"" REALM "\", nonce=\"" NONCE "\", algorithm=SHA-256\r\n";
    case STAND_TOKEN:
        return strstr(request, "X-Auth-Token: t0ken\r\n") ? "" : "X-Other: 1\r\n";
    default:
        return "";
    }
}

static enum stand_fault fault_now(struct stand_in *s)
{
    bool once = atomic_load(&s->fault_at) == atomic_load(&s->requests) + 1;
    return (enum stand_fault)atomic_load(once ? &s->fault_once : &s->fault);
}

/* ---- the connection -------------------------------------------------------------------------------------------------------- */

static void answer(struct stand_in *s, int fd, char *path, const char *request)
{
    static const char login[] = "&user=admin&password=se%20cret%261";
    char body[2048] = "", head[512];
    const char *status = "200 OK", *more = wants(s, request);
    char *query = strstr(path, "&user=");
    bool told = query && strcmp(query, login) == 0, unknown = atomic_load(&s->guard) == STAND_QUERY && !told;
    if (query)
        *query = '\0';
    if (*more)
        status = "401 Unauthorized";
    else if (unknown)
        snprintf(body, sizeof(body), "{\"WARNING\":\"Need user=<username>&password=<password>\"}");
    else if (!body_of(s, path, body, sizeof(body)))
        status = "404 Not Found";
    switch (fault_now(s)) {
    case STAND_401:
        status = "401 Unauthorized";
        more = "WWW-Authenticate: Basic realm=\"meter\"\r\n";
        break;
    case STAND_HTML:
        snprintf(body, sizeof(body), "<!DOCTYPE html><html><body>Welcome</body></html>");
        status = "200 OK";
        break;
    case STAND_GARBAGE:
        snprintf(body, sizeof(body), "{\"apower\": 12.");
        break;
    case STAND_REDIRECT:
        status = "302 Found";
        more = "Location: http://127.0.0.1:1/\r\n";
        break;
    default:
        break;
    }
    int n = snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n%s\r\n", status,
                     strlen(body), more);
    if (send(fd, head, (size_t)n, MSG_NOSIGNAL) == n)
        send(fd, body, strlen(body), MSG_NOSIGNAL);
}

static void serve(struct stand_in *s, int fd)
{
    char request[2048];
    size_t len = 0;
    ssize_t n;
    while (len < sizeof(request) - 1 && (n = recv(fd, request + len, sizeof(request) - 1 - len, 0)) > 0) {
        len += (size_t)n;
        request[len] = '\0';
        if (strstr(request, "\r\n\r\n"))
            break;
    }
    request[len] = '\0';
    char path[512] = "";
    if (sscanf(request, "%*s %511s", path) == 1) {
        enum stand_fault fault = fault_now(s);
        if (fault == STAND_SILENT)
            for (int k = 0; k < 600 && !atomic_load(&s->stop); k++)
                jl_sleep_until(jl_mono_ns() + 10000000);
        else if (fault != STAND_DEAD)
            answer(s, fd, path, request);
        atomic_fetch_add(&s->requests, 1);
    }
    close(fd);
}

static void run(void *arg)
{
    struct stand_in *s = arg;
    while (!atomic_load(&s->stop)) {
        int fd = accept(s->listener, NULL, NULL);
        if (fd >= 0)
            serve(s, fd);
    }
}

struct stand_in *stand_in_start(enum stand_kind kind, double watts, double watts_after)
{
    struct stand_in *s = calloc(1, sizeof(*s));
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    struct joulet_error err;
    if (!s)
        abort();
    s->kind = kind;
    s->watts = watts;
    s->watts_after = watts_after;
    s->began_ns = jl_mono_ns();
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(s->listener, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(s->listener, 16) != 0 ||
        getsockname(s->listener, (struct sockaddr *)&a, &n) != 0 ||
        jl_thread_start(&s->thread, "stand-in", run, s, &err) != JOULET_OK)
        abort();
    s->port = ntohs(a.sin_port);
    return s;
}

void stand_in_stop(struct stand_in *s)
{
    atomic_store(&s->stop, true);
    shutdown(s->listener, SHUT_RDWR);
    jl_thread_join(s->thread);
    close(s->listener);
    free(s);
}

int stand_in_port(const struct stand_in *s)
{
    return s->port;
}

void stand_in_fail_once(struct stand_in *s, enum stand_fault fault, int at)
{
    atomic_store(&s->fault_once, fault);
    atomic_store(&s->fault_at, at);
}

void stand_in_guard(struct stand_in *s, enum stand_guard guard)
{
    atomic_store(&s->guard, guard);
}

void stand_in_step(struct stand_in *s)
{
    atomic_store(&s->step_ns, jl_mono_ns());
}

void stand_in_fail(struct stand_in *s, enum stand_fault fault)
{
    if (fault == STAND_REBOOTED)
        atomic_store(&s->boot_ns, jl_mono_ns());
    else
        atomic_store(&s->fault, fault);
}

int stand_in_requests(const struct stand_in *s)
{
    return atomic_load(&s->requests);
}

void stand_in_await_all(const struct stand_in *s, int n)
{
    int64_t until = jl_mono_ns() + 180 * JL_NS_PER_S;
    while (stand_in_requests(s) < n && jl_mono_ns() < until)
        jl_sleep_until(jl_mono_ns() + 5000000);
}

void stand_in_await(const struct stand_in *s, int n)
{
    stand_in_await_all(s, stand_in_requests(s) + n);
}
