/* metering_phases.c - the energy of a request by prompt and answer: what its steps drew until its second token, and after it. The
 * two sum to the request's. Under the lock. */
#include "server/metering_private.h"

#include <math.h>

static double square(double x)
{
    return x * x;
}

/* Inside a window the parts of a request are the model's; while that is assumed, all of the window is in doubt. */
static double window_s(const struct metering *m, const struct metered *x)
{
    double most_s = 0;
    for (size_t i = 0; i < m->o.n_channels; i++)
        if (x->devices & (uint32_t)1 << i)
            most_s = fmax(most_s, fmax(METERING_WINDOW_S, m->devices[i].ch.period_s));
    return most_s;
}

/* Two edges, each of them off by so much. */
static double edges_u(const struct metering *m, const struct metered *x, const struct metering_edges *e, double power_w)
{
    double u_s = metering_edge_u(&m->engines[x->engine], e);
    if (x->energy.weights_assumed)
        u_s = hypot(u_s, window_s(m, x) / sqrt(12));
    return fabs(power_w) * M_SQRT2 * u_s;
}

bool metering_phases(struct metering *m, const struct metered *x, struct joulet_energy *prefill, struct joulet_energy *decode)
{
    static const struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;
    struct joulet_attributed a = metering_figures(m, x);
    struct metering_edges e = metering_edges_of(x);
    struct joulet_energy *of[] = {prefill, decode};
    *prefill = *decode = unknown;
    if (x->sourced) {
        *prefill = x->told.prefill;
        *decode = x->told.decode;
        return x->final && !isnan(prefill->gross_j);
    }
    if (!x->final || x->r.kind != RECOGNISED_INFERENCE || x->engine == NOWHERE || isnan(a.net_j) || isnan(a.prefill_j) ||
        isnan(a.u_j) || !e.prefill_ns || e.boundary_ns <= e.prefill_ns || x->t_end_ns <= e.boundary_ns)
        return false;
    double all_s = jl_s(x->t_end_ns - e.prefill_ns), part = jl_s(e.boundary_ns - e.prefill_ns) / all_s;
    double edge_j = edges_u(m, x, &e, a.gross_j / all_s), u_shares = sqrt(fmax(0, square(a.u_j) - square(a.u_sensor_j)));
    double u_level = sqrt(fmax(0, square(metering_net_u(m, x, &a)) - square(a.u_j) - square(metering_event_u(m, x, &a))));
    for (size_t i = 0; i < 2; i++) {
        double net_j = i ? a.net_j - a.prefill_j : a.prefill_j, time = i ? 1 - part : part;
        double share = a.net_j != 0 ? fabs(net_j / a.net_j) : time;
        double u_gross = sqrt(square(share * a.u_sensor_j) + square(share * u_shares) + square(edge_j));
        of[i]->net_j = net_j;
        of[i]->gross_j = net_j + time * a.idle_share_j;
        of[i]->gross_pm_j = 2 * u_gross;
        of[i]->net_pm_j = 2 * hypot(u_gross, time * u_level);
        of[i]->u =
            (struct joulet_u){.b = share * u_shares, .spec = share * a.u_sensor_j, .idle = time * u_level, .event = edge_j};
        of[i]->method = "attribution/1";
        of[i]->provenance = metering_provenance(m);
        of[i]->flags = a.weights_assumed ? JOULET_FLAG_WEIGHTS_ASSUMED : 0;
    }
    return true;
}

/* What is computed in one go is one phase: a prompt without an answer, or a load that was asked for by itself. */
struct metering_split metering_split(struct metering *m, const struct metered *x, const struct joulet_energy *all)
{
    static const struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;
    struct metering_split s = {unknown, unknown, unknown};
    if (x->r.kind == RECOGNISED_LOAD)
        s.load = *all;
    else if (x->r.kind == RECOGNISED_EMBEDDINGS || x->r.kind == RECOGNISED_RERANK)
        s.prefill = *all;
    else
        metering_phases(m, x, &s.prefill, &s.decode);
    return s;
}
