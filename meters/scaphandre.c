/* scaphandre.c - the page of the Scaphandre exporter, in the text format of Prometheus: energy of host and sockets (uJ), power of
 * processes (uW). Its host figure is psys where there is one, else packages and memory; its process figure is a share of that by
 * time on the processors. docs/meters.md */
#include "meters/page.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Value of a label in "name=\"value\",..."; false when it is not there or too long. */
static bool label(const char *labels, size_t n, const char *name, char *buf, size_t size)
{
    size_t want = strlen(name);
    for (size_t i = 0; i < n;) {
        while (i < n && (labels[i] == ',' || labels[i] == ' '))
            i++;
        const char *eq = memchr(labels + i, '=', n - i);
        if (!eq || (size_t)(eq - labels) + 1 >= n || eq[1] != '"')
            return false;
        size_t key = (size_t)(eq - (labels + i)), at = (size_t)(eq - labels) + 2, len = 0;
        bool wanted = key == want && memcmp(labels + i, name, want) == 0;
        while (at < n && labels[at] != '"') {
            at += labels[at] == '\\' && at + 1 < n;
            if (wanted && len + 1 < size)
                buf[len++] = labels[at];
            at++;
        }
        if (wanted) {
            buf[len] = '\0';
            return at < n;
        }
        i = at + 1;
    }
    return false;
}

struct series {
    const char *name, *labels;
    size_t name_n, labels_n;
    double value;
};

/* One line "name{labels} value [time]"; false for comments and what is none. */
static bool series_of(const char *line, size_t n, struct series *s)
{
    char number[40];
    size_t i = 0;
    while (i < n && line[i] != '{' && line[i] != ' ')
        i++;
    if (i == 0 || i == n || line[0] == '#')
        return false;
    *s = (struct series){.name = line, .name_n = i, .labels = line + i};
    if (line[i] == '{') {
        size_t end = n; /* a label may hold a brace: the last one closes */
        while (end > i && line[end - 1] != '}')
            end--;
        if (end == i)
            return false;
        s->labels = line + i + 1;
        s->labels_n = end - i - 2;
        i = end;
    }
    while (i < n && line[i] == ' ')
        i++;
    size_t len = 0;
    while (i < n && line[i] != ' ' && line[i] != '\r' && len + 1 < sizeof(number))
        number[len++] = line[i++];
    number[len] = '\0';
    return jl_parse_double(number, &s->value);
}

static bool is(const struct series *s, const char *name)
{
    return s->name_n == strlen(name) && memcmp(s->name, name, s->name_n) == 0;
}

static bool add_host(const struct series *s, struct page *out)
{
    struct page_value v = {
        .name = "host", .counter = true, .value = s->value * 1e-6, .quantum = 1e-6, .domain = JOULET_DOMAIN_PSYS};
    return page_add(out, &v);
}

static void add_socket(const struct series *s, struct page *out)
{
    char id[8] = "";
    uint64_t socket;
    if (!label(s->labels, s->labels_n, "socket_id", id, sizeof(id)) || !jl_parse_u64(id, &socket) || socket > 255)
        return;
    struct page_value v = {.counter = true,
                           .parent = "host",
                           .value = s->value * 1e-6,
                           .quantum = 6.1e-5,
                           .domain = JOULET_DOMAIN_PACKAGE,
                           .place = 1 + (int64_t)socket};
    snprintf(v.name, sizeof(v.name), "socket%d", (int)socket);
    page_add(out, &v);
}

/* The sum over all series of that process: threads and containers may have several. */
static bool of_process(const struct series *s, int64_t pid)
{
    char id[24] = "";
    int64_t value;
    return label(s->labels, s->labels_n, "pid", id, sizeof(id)) && jl_parse_i64(id, &value) && value == pid;
}

/* NAN so far: the first part. A part that no machine can have makes the sum unbelievable for good. */
static double with_part(double sum_w, double part_w)
{
    if (!page_believable(part_w, false))
        return INFINITY;
    return isnan(sum_w) ? part_w : sum_w + part_w;
}

enum joulet_status page_scaphandre(const char *body, size_t n, const struct page_ask *ask, struct page *out,
                                   struct joulet_error *err)
{
    double process_w = NAN;
    bool any = false, shares = false, host = false;
    *out = (struct page){.n = 0};
    snprintf(out->device, sizeof(out->device), "Scaphandre");
    for (const char *p = body, *end = body + n; p < end;) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        struct series s;
        if (series_of(p, (size_t)((stop ? stop : end) - p), &s)) {
            any |= s.name_n > 6 && memcmp(s.name, "scaph_", 6) == 0;
            if (is(&s, "scaph_host_energy_microjoules") && !host)
                host = add_host(&s, out);
            else if (is(&s, "scaph_socket_energy_microjoules"))
                add_socket(&s, out);
            else if (is(&s, "scaph_process_power_consumption_microwatts")) {
                shares = true;
                if (ask->pid > 0 && of_process(&s, ask->pid))
                    process_w = with_part(process_w, s.value * 1e-6);
            }
        }
        p = stop ? stop + 1 : end;
    }
    if (!any)
        return jl_fail(err, JOULET_FORMAT, "answers with a page that holds no figure of Scaphandre; check the address");
    for (size_t i = 0; i < out->n; i++)
        if (!host)
            out->values[i].parent[0] = '\0';
    if (out->n == 0)
        return jl_fail(err, JOULET_FORMAT, "answers without energy of host or sockets; it needs RAPL of the host");
    if (shares && out->n < PAGE_VALUES) {
        struct page_value v = {.name = "process",
                               .quantum = 1e-3,
                               .value = page_believable(process_w, false) ? process_w : NAN,
                               .domain = JOULET_DOMAIN_PROCESS,
                               .beside = true};
        snprintf(v.parent, sizeof(v.parent), "%s", host ? "host" : "");
        out->values[out->n++] = v; /* NAN: nobody asked, or it has ended */
    }
    return jl_ok(err);
}
