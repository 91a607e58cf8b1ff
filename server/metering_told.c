/* metering_told.c - a request ended, or its figures are final: its energy as one figure with its budget (3), for the sums since
 * the start and for whoever else keeps account. Under the lock. */
#include "server/metering_ledger.h"

#include <math.h>
#include <stdio.h>

static double rest(double all, double part)
{
    return sqrt(fmax(0, all * all - part * part));
}

/* What the sensor leaves open is common to all requests, as is the idle level of net energy; how it was shared out errs for each
 * of them by itself (7.5). */
struct joulet_energy metering_energy(struct metering *m, const struct metered *x)
{
    struct joulet_energy e = JOULET_ENERGY_UNKNOWN;
    if (x->sourced)
        return x->told.e;
    struct joulet_attributed a = metering_figures(m, x);
    double u_net = metering_net_u(m, x, &a);
    e.net_j = a.net_j;
    e.gross_j = a.gross_j;
    e.method = "attribution/1";
    e.provenance = metering_provenance(m);
    if (isnan(a.u_j))
        return e;
    double u_gross = hypot(a.u_j, metering_event_u(m, x, &a));
    e.gross_pm_j = 2 * u_gross;
    e.net_pm_j = isnan(a.net_j) ? NAN : 2 * u_net;
    e.u = (struct joulet_u){
        .b = rest(a.u_j, a.u_sensor_j), .idle = rest(u_net, u_gross), .spec = a.u_sensor_j, .event = metering_event_u(m, x, &a)};
    return e;
}

static double between(int64_t from_ns, int64_t to_ns)
{
    return from_ns && to_ns >= from_ns ? jl_s(to_ns - from_ns) : NAN;
}

bool metering_failed(const struct metered *x)
{
    return x->how == OBSERVED_CUT || x->how == OBSERVED_FAILED || x->r.status >= 400 || *x->r.error;
}

static void tally(struct metering *m, const struct recognised *r, const struct accounts_entry *e, double first_s)
{
    double generated = r->tokens.generated > 0 ? (double)r->tokens.generated : NAN;
    tallies_add(m->tallies, r->model,
                (const double[TALLIES]){[TALLY_FIRST_TOKEN] = first_s,
                                        [TALLY_DURATION] = e->duration_s,
                                        [TALLY_ENERGY] = e->energy.net_j,
                                        [TALLY_TOKEN_ENERGY] = e->energy.net_j / generated});
}

void metering_final(struct metering *m, const struct metered *x)
{
    char client[WHO_CLIENT];
    const struct recognised *r = &x->r;
    struct metering_edges edges = metering_edges_of(x);
    who_client(&x->who, client);
    struct joulet_energy all = metering_energy(m, x);
    struct metering_split split = metering_split(m, x, &all);
    struct accounts_entry e = {
        .upstream = x->engine == NOWHERE ? NULL : m->engines[x->engine].upstream,
        .model = r->model,
        .protocol = r->protocol,
        .client = client,
        .kind = recognised_kind_name(r->kind),
        .failed = metering_failed(x),
        .counted = r->generated_source == RECOGNISED_COUNTED,
        .tokens = r->tokens,
        .energy = all,
        .phases = {[ACCOUNTS_LOAD] = split.load, [ACCOUNTS_PREFILL] = split.prefill, [ACCOUNTS_DECODE] = split.decode},
        .duration_s = between(x->t_ns, x->t_end_ns),
        .prefill_s = between(edges.prefill_ns, edges.boundary_ns),
        .decode_s = between(edges.boundary_ns, edges.end_ns)};
    accounts_add(m->accounts, &e);
    if (m->ledger)
        ledger_final(m->ledger, x);
    if (!e.failed) /* what a broken answer took says nothing of the model */
        tally(m, r, &e, between(x->t_ns, r->t_first_ns));
}

bool metering_kept(struct metering *m, struct metering_kept *out)
{
    if (m->ledger)
        ledger_state(m->ledger, out);
    return m->ledger != NULL;
}

enum joulet_status metering_usage(struct metering *m, const struct usage_wanted *w, struct usage *u, struct joulet_error *err)
{
    if (!m->ledger)
        return jl_fail(err, JOULET_NOT_FOUND, "nothing is stored: the server was started with --no-store");
    return ledger_usage(m->ledger, w, u, err);
}

struct accounts *metering_accounts(const struct metering *m)
{
    return m->accounts;
}

/* ---- rows of the store -------------------------------------------------------------------------------------------------- */

static void name_devices(const struct metering *m, uint32_t devices, char *out, size_t size)
{
    size_t n = 0;
    *out = '\0';
    for (size_t i = 0; i < m->o.n_channels && n < size; i++)
        if (devices & (uint32_t)1 << i)
            n += (size_t)snprintf(out + n, size - n, "%s%s", n ? "," : "", m->devices[i].ch.id);
}

static const char *known(const char *text)
{
    return text && *text ? text : NULL;
}

void metering_row(struct metering *m, const struct metered *x, struct store_proxied *q, char *devices, size_t size,
                  char client[WHO_CLIENT], struct jl_buf *out)
{
    const struct recognised *r = &x->r;
    const struct metering_engine *engine = x->engine == NOWHERE ? NULL : &m->engines[x->engine];
    who_client(&x->who, client);
    struct metering_edges edges = metering_edges_of(x);
    struct joulet_energy all = metering_energy(m, x);
    struct metering_split split = metering_split(m, x, &all);
    name_devices(m, x->devices, devices, size);
    if (out)
        metering_put_request(m, x, out);
    *q = (struct store_proxied){.id = x->id,
                                .wall_ns = x->wall_ns,
                                .end_wall_ns = x->wall_ns + (x->t_end_ns > x->t_ns ? x->t_end_ns - x->t_ns : 0),
                                .upstream = engine ? engine->upstream : NULL,
                                .model = known(r->model),
                                .protocol = known(r->protocol),
                                .kind = recognised_kind_name(r->kind),
                                .client = client,
                                .session = known(x->who.session),
                                .parent = known(x->who.parent),
                                .trace = known(x->who.trace),
                                .state = metering_state_name(x),
                                .failed = metering_failed(x),
                                .final = !metering_waits(x),
                                .counted = r->generated_source == RECOGNISED_COUNTED,
                                .tokens = r->tokens,
                                .duration_s = between(x->t_ns, x->t_end_ns),
                                .prefill_s = between(edges.prefill_ns, edges.boundary_ns),
                                .decode_s = between(edges.boundary_ns, edges.end_ns),
                                .devices = known(devices),
                                .energy = all,
                                .prefill = split.prefill,
                                .decode = split.decode,
                                .body = out ? out->data : NULL};
}
