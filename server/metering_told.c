/* metering_told.c - a request ended, or its figures are final: its energy as one figure with its budget (3), for the sums since
 * the start and for whoever else keeps account. Under the lock. */
#include "server/metering_private.h"

#include <math.h>

static double rest(double all, double part)
{
    return sqrt(fmax(0, all * all - part * part));
}

/* What the sensor leaves open is common to all requests, as is the idle level of net energy; how it was shared out errs for each
 * of them by itself (7.5). */
struct joulet_energy metering_energy(struct metering *m, const struct metered *x)
{
    struct joulet_energy e = JOULET_ENERGY_UNKNOWN;
    struct joulet_attributed a = metering_figures(m, x);
    double u_net = metering_net_u(m, x, &a);
    e.net_j = a.net_j;
    e.gross_j = a.gross_j;
    e.method = "attribution/1";
    e.provenance = metering_provenance(m);
    if (isnan(a.u_j))
        return e;
    e.gross_pm_j = 2 * a.u_j;
    e.net_pm_j = isnan(a.net_j) ? NAN : 2 * u_net;
    e.u = (struct joulet_u){.b = rest(a.u_j, a.u_sensor_j), .idle = rest(u_net, a.u_j), .spec = a.u_sensor_j};
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

void metering_final(struct metering *m, const struct metered *x)
{
    char client[WHO_CLIENT];
    const struct recognised *r = &x->r;
    who_client(&x->who, client);
    struct accounts_entry e = {.upstream = x->engine == NOWHERE ? NULL : m->engines[x->engine].upstream,
                               .model = r->model,
                               .protocol = r->protocol,
                               .client = client,
                               .kind = recognised_kind_name(r->kind),
                               .failed = metering_failed(x),
                               .counted = r->generated_source == RECOGNISED_COUNTED,
                               .tokens = r->tokens,
                               .energy = metering_energy(m, x),
                               .duration_s = between(x->t_ns, x->t_end_ns),
                               .prefill_s = between(x->t_sent_ns, r->t_first_ns),
                               .decode_s = between(r->t_first_ns, r->t_last_ns)};
    accounts_add(m->accounts, &e);
}

struct accounts *metering_accounts(const struct metering *m)
{
    return m->accounts;
}
