/* metering_json.c - what is known of requests and accounts, in JSON. Unknown is null. */
#include "report/put.h"
#include "server/internal.h"
#include "server/metering_ledger.h"
#include "server/metering_steps.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PATIENCE_NS  1000000 /* of a stream, for the lock */
#define UNMEASURED_S 0.05    /* less is an edge of a sensor's window */
#define UNMEASURED   0.05    /* of a request's time: less is not worth a word */

/* ---- words ------------------------------------------------------------------------------------------------------------ */

/* Nine digits: the room that an answer keeps for its energy is counted so. */
static void put_figure(struct jl_buf *out, const char *key, double x)
{
    if (isfinite(x))
        jl_buf_printf(out, "\"%s\":%.9g", key, x);
    else
        jl_buf_printf(out, "\"%s\":null", key);
}

static void put_flag(struct jl_buf *out, bool is, const char *flag, bool *first)
{
    if (is)
        jl_buf_printf(out, "%s\"%s\"", *first ? "" : ",", flag);
    *first &= !is;
}

enum joulet_provenance metering_provenance(const struct metering *m)
{
    enum joulet_provenance worst = JOULET_MEASURED;
    for (size_t i = 0; i < m->o.n_channels; i++)
        worst = m->devices[i].ch.provenance > worst ? m->devices[i].ch.provenance : worst;
    return worst;
}

static const char *provenance(const struct metering *m)
{
    return joulet_provenance_name(metering_provenance(m));
}

/* ---- a request -------------------------------------------------------------------------------------------------------- */

/* Part of its life of which no sensor tells. */
static double unmeasured(const struct metered *x)
{
    double s = x->t_end_ns && x->t_sent_ns ? jl_s(x->t_end_ns - x->t_sent_ns) : 0;
    return s > 0 && x->energy.unmeasured_s > UNMEASURED_S ? x->energy.unmeasured_s / s : 0;
}

struct joulet_attributed metering_figures(struct metering *m, const struct metered *x)
{
    struct joulet_attributed a = {.net_j = NAN, .u_j = NAN, .idle_share_j = NAN, .gross_j = NAN, .u_sensor_j = NAN};
    if (x->sourced)
        return (struct joulet_attributed){.net_j = x->told.e.net_j,
                                          .gross_j = x->told.e.gross_j,
                                          .idle_share_j = NAN,
                                          .u_j = x->told.e.gross_pm_j / 2,
                                          .u_sensor_j = NAN};
    if (x->final)
        a = x->energy;
    else if (x->entered && x->r.kind == RECOGNISED_TUNNEL)
        a = x->energy; /* of the times that are over */
    else if (x->entered)
        joulet_attribution_look(m->attribution, x->request, &a, NULL);
    if (!x->final && !(a.net_j > 1e-6)) /* nothing is known yet: that is not 0 */
        a.net_j = a.gross_j = a.idle_share_j = NAN;
    if (x->entered && (x->final ? x->no_level : !metering_level_known(m, x->t_sent_ns)))
        a.net_j = a.idle_share_j = NAN;
    if (x->final && unmeasured(x) > 1 - UNMEASURED) /* not 0: nothing is known of it */
        a.net_j = a.gross_j = a.idle_share_j = a.u_j = NAN;
    return a;
}

static bool elsewhere(const struct metering *m, const struct metered *x)
{
    return x->r.remote || (x->engine != NOWHERE && !x->devices && m->engines[x->engine].engine == NOWHERE);
}

/* An edge that is off by so much moves the energy of so much time (3). */
double metering_event_u(const struct metering *m, const struct metered *x, const struct joulet_attributed *a)
{
    struct metering_edges e = metering_edges_of(x);
    double s = x->t_end_ns && e.prefill_ns ? jl_s(x->t_end_ns - e.prefill_ns) : NAN;
    if (x->engine == NOWHERE || !(s > 0) || isnan(a->gross_j))
        return 0;
    return fabs(a->gross_j) / s * M_SQRT2 * metering_edge_u(&m->engines[x->engine], &e);
}

/* What the idle level leaves open of net energy (3): its own doubt, in the ratio in which idle power went to the request. */
double metering_net_u(const struct metering *m, const struct metered *x, const struct joulet_attributed *a)
{
    double idle_w = 0, u2 = 0;
    for (size_t i = 0; i < m->o.n_channels; i++) {
        if (!(x->devices & (uint32_t)1 << i))
            continue;
        idle_w += m->devices[i].idle.power_w;
        u2 += m->devices[i].idle.u_w * m->devices[i].idle.u_w;
    }
    double u_j = hypot(a->u_j, metering_event_u(m, x, a));
    return idle_w > 0 ? hypot(u_j, sqrt(u2) / idle_w * a->idle_share_j) : u_j;
}

/* Of what comes in one piece: a picture, a second of sound. */
static void put_per(struct jl_buf *out, const struct recognised *r, double energy_j)
{
    if (r->kind == RECOGNISED_IMAGE) {
        jl_buf_str(out, ",");
        put_figure(out, "image_j", r->images ? energy_j / (double)r->images : NAN);
    } else if (r->kind == RECOGNISED_AUDIO) {
        jl_buf_str(out, ",");
        put_figure(out, "audio_second_j", r->audio_s > 0 ? energy_j / r->audio_s : NAN);
    }
}

/* As the server has it that measured. */
static void put_told_flags(const struct metered *x, struct jl_buf *out)
{
    const struct engine_told *t = &x->told;
    bool first = true;
    for (uint32_t bit = 1; bit; bit <<= 1)
        put_flag(out, t->e.flags & bit && bit != JOULET_FLAG_PROVISIONAL && joulet_flag_name(bit), joulet_flag_name(bit), &first);
    put_flag(out, t->elsewhere, "drawn elsewhere", &first);
    put_flag(out, x->final && !t->any, "not told", &first);
    for (const char *p = t->words; *p; p += strspn(p, ", ")) {
        size_t n = strcspn(p, ",");
        char word[sizeof t->words];
        snprintf(word, sizeof word, "%.*s", (int)n, p);
        jl_buf_str(out, first ? "" : ",");
        server_json_string(out, word);
        first = false;
        p += n;
    }
}

static void put_told(struct metering *m, const struct metered *x, struct jl_buf *out)
{
    const struct engine_told *t = &x->told;
    const struct joulet_energy *e = &t->e;
    static const char *const keys[] = {"net_j", "net_pm_j", "gross_j", "gross_pm_j", "min_j", "max_j", "tail_j"};
    const double values[] = {e->net_j, e->net_pm_j, e->gross_j, e->gross_pm_j, e->min_j, e->max_j, e->tail_j};
    jl_buf_str(out, "\"energy\":{");
    for (size_t i = 0; i < JL_COUNT(keys); i++) {
        put_figure(out, keys[i], values[i]);
        jl_buf_str(out, ",");
    }
    put_text(out, "provenance", t->any ? joulet_provenance_name(e->provenance) : NULL);
    jl_buf_str(out, ",");
    put_text(out, "method", t->any ? e->method : NULL);
    put_per(out, &x->r, isnan(e->net_j) ? e->gross_j : e->net_j);
    jl_buf_printf(out, ",\"provisional\":%s,\"flags\":[", x->live || !x->final || t->provisional ? "true" : "false");
    put_told_flags(x, out);
    jl_buf_str(out, "],");
    put_text(out, "source", metering_source_of(m, x));
    jl_buf_str(out, "}");
}

void metering_put_energy(struct metering *m, const struct metered *x, struct jl_buf *out)
{
    if (x->sourced) {
        put_told(m, x, out);
        return;
    }
    struct joulet_attributed a = metering_figures(m, x);
    bool first = true;
    jl_buf_str(out, "\"energy\":{");
    put_figure(out, "net_j", a.net_j);
    jl_buf_str(out, ",");
    put_figure(out, "net_pm_j", isnan(a.net_j) ? NAN : 2 * metering_net_u(m, x, &a));
    jl_buf_str(out, ",");
    put_figure(out, "gross_j", a.gross_j);
    jl_buf_str(out, ",");
    put_figure(out, "gross_pm_j", 2 * hypot(a.u_j, metering_event_u(m, x, &a)));
    jl_buf_printf(out, ",\"min_j\":null,\"max_j\":null,\"tail_j\":null,\"provenance\":\"%s\",\"method\":\"attribution/1\"",
                  provenance(m));
    put_per(out, &x->r, isnan(a.net_j) ? a.gross_j : a.net_j);
    jl_buf_printf(out, ",\"provisional\":%s,\"flags\":[", x->live || (x->entered && !x->final) ? "true" : "false");
    put_flag(out, a.weights_assumed && !isnan(a.gross_j), "weights assumed", &first);
    put_flag(out, a.weights_off && !isnan(a.gross_j), "weights", &first);
    put_flag(out, x->entered && isnan(a.net_j) && !isnan(a.gross_j), "no baseline", &first);
    put_flag(out, elsewhere(m, x), "drawn elsewhere", &first);
    put_flag(out, x->assumed && !isnan(a.gross_j), "devices assumed", &first);
    put_flag(out, x->others && !isnan(a.gross_j), "other programs", &first);
    put_flag(out, x->final && unmeasured(x) > UNMEASURED, "not wholly measured", &first);
    put_flag(out, x->lost, "not wholly seen", &first);
    put_flag(out, x->r.kind == RECOGNISED_TUNNEL && x->entered, "by time", &first);
    jl_buf_str(out, "]}");
}

static double since(const struct metered *x, int64_t t_ns)
{
    return t_ns ? jl_s(t_ns - x->t_ns) : NAN;
}

static void put_window(struct jl_buf *out, const char *name, double from_s, double to_s, const struct joulet_energy *energy)
{
    jl_buf_printf(out, "\"%s\":", name);
    if (isnan(from_s) || isnan(to_s)) {
        jl_buf_str(out, "null");
        return;
    }
    jl_buf_printf(out, "{\"start_s\":%.6f,\"end_s\":%.6f", from_s, to_s);
    if (energy)
        put_energy(out, "energy", energy);
    else
        put_text(out, "energy", NULL);
    jl_buf_str(out, "}");
}

static void put_windows(struct metering *m, const struct metered *x, struct jl_buf *out)
{
    struct metering_edges e = metering_edges_of(x);
    struct joulet_energy prefill, decode;
    bool known = metering_phases(m, x, &prefill, &decode);
    jl_buf_str(out, "\"windows\":{");
    put_window(out, "prefill", since(x, e.prefill_ns), since(x, e.boundary_ns), known ? &prefill : NULL);
    jl_buf_str(out, ",");
    put_window(out, "decode", since(x, e.boundary_ns), since(x, e.end_ns), known ? &decode : NULL);
    jl_buf_str(out, "},");
    put_text(out, "edges", e.source);
    jl_buf_str(out, ",");
    put_figure(out, "edge_pm_s", e.source ? 2 * e.u_s : NAN);
    jl_buf_str(out, ",");
    put_figure(out, "arrival_after_s", e.off_s);
}

static void put_tokens(struct jl_buf *out, const struct recognised *r)
{
    jl_buf_str(out, "\"tokens\":{");
    put_count(out, "prompt", r->tokens.prompt);
    jl_buf_str(out, ",");
    put_count(out, "cached", r->tokens.cached);
    jl_buf_str(out, ",");
    put_count(out, "generated", r->tokens.generated);
    jl_buf_str(out, ",");
    put_count(out, "reasoning", r->tokens.reasoning);
    jl_buf_printf(out, ",\"prompt_source\":\"%s\",\"generated_source\":\"%s\"}", recognised_source_name(r->prompt_source),
                  recognised_source_name(r->generated_source));
}

static void put_whole_kinds(struct jl_buf *out, const struct metered *x)
{
    if (x->r.kind == RECOGNISED_IMAGE)
        jl_buf_printf(out, "\"images\":%zu,", x->r.images);
    if (x->r.kind == RECOGNISED_AUDIO) {
        put_figure(out, "audio_s", x->r.audio_s);
        jl_buf_str(out, ",");
    }
    if (x->r.kind == RECOGNISED_TUNNEL)
        jl_buf_printf(out, "\"read\":%s,\"requests\":%zu,", x->read ? "true" : "false", x->parts);
    if (x->tunnel[0])
        jl_buf_printf(out, "\"tunnel\":\"%s\",", x->tunnel);
}

static void put_who(const struct who *w, struct jl_buf *out)
{
    char client[WHO_CLIENT];
    who_client(w, client);
    put_text(out, "client", client);
    jl_buf_str(out, ",");
    put_text(out, "session", w->session);
    jl_buf_str(out, ",");
    put_text(out, "parent", w->parent);
    jl_buf_str(out, ",");
    put_text(out, "trace", w->trace);
    jl_buf_str(out, ",");
}

static void put_devices(const struct metering *m, uint32_t devices, struct jl_buf *out)
{
    bool first = true;
    jl_buf_str(out, "\"devices\":[");
    for (size_t i = 0; i < m->o.n_channels; i++) {
        if (!(devices & (uint32_t)1 << i))
            continue;
        jl_buf_str(out, first ? "" : ",");
        server_json_string(out, m->devices[i].ch.id);
        first = false;
    }
    jl_buf_str(out, "]");
}

const char *metering_state_name(const struct metered *x)
{
    static const char *const how[] = {"done", "client gone", "cut", "failed"};
    return x->live ? "running" : how[x->how];
}

void metering_put_request(struct metering *m, const struct metered *x, struct jl_buf *out)
{
    const struct recognised *r = &x->r;
    char time[40];
    jl_format_time(time, sizeof time, x->wall_ns);
    jl_buf_printf(out, "{\"id\":\"%s\",\"time\":\"%s\",\"state\":\"%s\",\"kind\":\"%s\",\"protocol\":\"%s\",", x->id, time,
                  metering_state_name(x), recognised_kind_name(r->kind), r->protocol);
    put_text(out, "model", r->model);
    jl_buf_str(out, ",");
    put_text(out, "upstream", x->engine == NOWHERE ? NULL : m->engines[x->engine].upstream);
    jl_buf_str(out, ",");
    put_text(out, "upstream_id", x->inner);
    jl_buf_printf(out, ",\"streams\":%s,", r->streams ? "true" : "false");
    put_count(out, "status", r->status ? r->status : -1);
    jl_buf_str(out, ",");
    put_text(out, "finish", r->finish);
    jl_buf_str(out, ",");
    put_text(out, "error", r->error);
    jl_buf_str(out, ",");
    put_tokens(out, r);
    jl_buf_str(out, ",");
    put_whole_kinds(out, x);
    put_figure(out, "duration_s", since(x, x->t_end_ns));
    jl_buf_str(out, ",");
    put_windows(m, x, out);
    jl_buf_str(out, ",");
    put_who(&x->who, out);
    put_devices(m, x->devices, out);
    jl_buf_str(out, ",");
    metering_put_energy(m, x, out);
    jl_buf_str(out, "}");
}

bool metering_write_request(struct metering *m, const char *id, struct jl_buf *out)
{
    pthread_mutex_lock(&m->lock);
    const struct metered *x = metering_find(m, id);
    if (x)
        metering_put_request(m, x, out);
    pthread_mutex_unlock(&m->lock);
    jl_buf_str(out, x ? "\n" : "");
    return x || (m->ledger && ledger_read(m->ledger, id, out));
}

/* Chat programs show what is in usage line by line, names and values as they are: first the one figure that people look for. */
static void put_lines(struct metering *m, const struct metered *x, struct jl_buf *out)
{
    struct joulet_attributed a = metering_figures(m, x);
    const char *what = isnan(a.net_j) ? "gross" : "net";
    double energy_j = isnan(a.net_j) ? a.gross_j : a.net_j;
    double tokens = x->r.tokens.generated > 0 ? (double)x->r.tokens.generated : x->came;
    if (!isfinite(energy_j))
        return;
    jl_buf_printf(out, "\"%s_joules\":%.4g,", what, energy_j);
    if (tokens > 0)
        jl_buf_printf(out, "\"%s_joules_per_token\":%.4g,", what, energy_j / tokens);
}

size_t metering_members(struct metering *m, const char *id, bool in_usage, char *out, size_t size)
{
    struct timespec until;
    struct jl_buf b;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += PATIENCE_NS;
    until.tv_sec += until.tv_nsec / JL_NS_PER_S;
    until.tv_nsec %= JL_NS_PER_S;
    jl_buf_init_unkept(&b, size + 1);
    bool locked = pthread_mutex_timedlock(&m->lock, &until) == 0;
    const struct metered *x = locked ? metering_find(m, id) : NULL, none = {.live = true, .engine = NOWHERE};
    if (in_usage && x)
        put_lines(m, x, &b);
    metering_put_energy(m, x ? x : &none, &b); /* of `none` nothing is looked up */
    if (locked)
        pthread_mutex_unlock(&m->lock);
    size_t n = b.failed || b.len > size ? 0 : b.len;
    if (n)
        memcpy(out, b.data, n);
    jl_buf_release(&b);
    return n;
}

/* ---- accounts --------------------------------------------------------------------------------------------------------- */

static void add(struct joulet_accounts *sum, const struct joulet_accounts *a)
{
    sum->measured_j += a->measured_j;
    sum->requests_j += a->requests_j;
    sum->idle_shares_j += a->idle_shares_j;
    sum->vacant_j += a->vacant_j;
    sum->other_j += a->other_j;
    sum->keep_alive_j += a->keep_alive_j;
    sum->idle_device_j += a->idle_device_j;
    sum->residual_j += a->residual_j;
    sum->waiting_s = fmax(sum->waiting_s, a->waiting_s);
}

/* Where the empty machine's level is not known, keep-alive is a part of vacant that cannot be told. */
static void put_accounts(struct jl_buf *out, const struct joulet_accounts *a, bool kept)
{
    static const char *const names[] = {"measured_j", "requests_j",    "idle_shares_j", "vacant_j",
                                        "other_j",    "idle_device_j", "residual_j",    "waiting_s"};
    const double values[] = {a->measured_j, a->requests_j,    a->idle_shares_j, a->vacant_j,
                             a->other_j,    a->idle_device_j, a->residual_j,    a->waiting_s};
    for (size_t i = 0; i < JL_COUNT(names); i++)
        jl_buf_printf(out, "\"%s\":%.12g,", names[i], values[i]);
    put_figure(out, "keep_alive_j", kept ? a->keep_alive_j : NAN);
}

/* "loaded": null, not known. */
static void put_loaded(struct jl_buf *out, int loaded)
{
    jl_buf_printf(out, "\"loaded\":%s", loaded < 0 ? "null" : loaded ? "true" : "false");
}

static void put_place(struct metering *m, const struct metering_host *p, struct jl_buf *out)
{
    jl_buf_str(out, "{");
    put_text(out, "url", p->url);
    jl_buf_str(out, ",");
    put_devices(m, p->devices, out);
    jl_buf_printf(out, ",\"found\":\"%s\",", metering_place_state(p));
    put_text(out, "why", p->why);
    jl_buf_str(out, ",");
    put_count(out, "pid", p->pid);
    jl_buf_str(out, ",");
    put_text(out, "process", p->name);
    jl_buf_printf(out, ",\"container\":%s,", p->container ? "true" : "false");
    put_loaded(out, p->loaded);
    jl_buf_str(out, ",");
    put_figure(out, "processor_share", p->n_looks && p->followed ? p->part : NAN);
    jl_buf_str(out, ",");
    put_count(out, "probe_requests", metering_steps_requests(p));
    jl_buf_str(out, "}");
}

static void put_places(struct metering *m, struct jl_buf *out)
{
    jl_buf_str(out, "\"upstreams\":[");
    for (size_t i = 0; i < m->n_places; i++) {
        jl_buf_str(out, i ? ",\n" : "\n");
        put_place(m, &m->places[i], out);
    }
    jl_buf_str(out, "]");
}

void metering_write_energy(struct metering *m, struct jl_buf *out)
{
    struct joulet_accounts sum = {0};
    bool kept = false;
    pthread_mutex_lock(&m->lock);
    jl_buf_str(out, "{\"devices\":[");
    for (size_t i = 0; i < m->o.n_channels; i++) {
        const struct metering_device *d = &m->devices[i];
        struct joulet_accounts a = {0};
        joulet_attribution_accounts(m->attribution, d->device, &a, NULL);
        add(&sum, &a);
        jl_buf_printf(out, "%s\n{", i ? "," : "");
        put_text(out, "id", d->ch.id);
        jl_buf_str(out, ",");
        put_text(out, "device", d->ch.device);
        jl_buf_printf(out, ",\"provenance\":\"%s\",", joulet_provenance_name(d->ch.provenance));
        put_figure(out, "idle_w", d->idle.power_w);
        jl_buf_str(out, ",");
        put_figure(out, "empty_w", d->empty_w);
        jl_buf_str(out, ",");
        put_loaded(out, d->loaded);
        jl_buf_printf(out, ",\"used\":%s,\"unmeasured_s\":%.3f,", d->used ? "true" : "false", d->lost_s);
        put_accounts(out, &a, !isnan(d->empty_w));
        kept |= !isnan(d->empty_w);
        jl_buf_str(out, "}");
    }
    jl_buf_printf(out, "],\n\"total\":{\"provenance\":\"%s\",", provenance(m));
    put_accounts(out, &sum, kept);
    jl_buf_str(out, "},\n");
    put_places(m, out);
    jl_buf_printf(out, ",\"seen\":%" PRIu64 ",\"final\":%" PRIu64 ",\"running\":%zu}\n", m->n_requests, m->n_final, m->in_flight);
    pthread_mutex_unlock(&m->lock);
}
