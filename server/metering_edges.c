/* metering_edges.c - when the prompt of a request was computed, and when its answer (docs/method.md 6.1). Two clocks tell of the
 * boundary: ours saw the first piece come, and an engine may say how long it decoded, which counts back from the end. Transport,
 * buffers and a busy machine only ever delay what is seen, so both are upper bounds, and the earlier one is the better. How much
 * later pieces came than the engine's times say is kept of each engine: it is the doubt about edges that only we saw. */
#include "server/metering_private.h"

#include <math.h>

#define U_TIMINGS_S 0.0005
#define U_ARRIVAL_S 0.0015
#define SLACK_S     0.001 /* rounding of an engine's milliseconds */
#define SECONDS_MAX 1e7
#define LEARN       0.1

/* What was seen of the last token: its piece when every token brought one, else the end of the answer. */
static int64_t last_seen(const struct metered *x)
{
    const struct recognised *r = &x->r;
    bool each = r->t_last_ns && r->tokens.generated > 0 && (size_t)r->tokens.generated == r->pieces;
    return each ? r->t_last_ns : x->t_end_ns;
}

/* 0: the engine's times do not tell, or contradict our clock. */
static int64_t told_boundary(const struct metered *x, int64_t prefill_ns)
{
    const struct recognised *r = &x->r;
    if (!r->done || !(r->server_decode_s >= 0 && r->server_decode_s < SECONDS_MAX) || !x->t_end_ns)
        return 0;
    int64_t at = last_seen(x) - jl_ns(r->server_decode_s);
    double prompt_s = r->server_prompt_s >= 0 ? r->server_prompt_s : 0;
    return at >= prefill_ns && jl_s(at - prefill_ns) >= prompt_s - SLACK_S ? at : 0;
}

struct metering_edges metering_edges_of(const struct metered *x)
{
    const struct recognised *r = &x->r;
    struct metering_edges e = {.prefill_ns = x->t_sent_ns, .boundary_ns = r->t_first_ns, .end_ns = r->t_last_ns, .off_s = NAN};
    double before_s = (r->server_queue_s > 0 ? r->server_queue_s : 0) + (r->server_load_s > 0 ? r->server_load_s : 0);
    if (x->t_sent_ns && x->t_end_ns && before_s < jl_s(x->t_end_ns - x->t_sent_ns))
        e.prefill_ns += jl_ns(before_s);
    int64_t told = x->t_sent_ns ? told_boundary(x, e.prefill_ns) : 0;
    e.u_s = told ? U_TIMINGS_S : U_ARRIVAL_S;
    e.source = told ? "engine timings" : r->t_first_ns ? "stream arrival" : NULL;
    if (!told)
        return e;
    if (r->t_first_ns && r->pieces > 1)
        e.off_s = jl_s(r->t_first_ns - told);
    if (!r->t_first_ns || told < r->t_first_ns)
        e.boundary_ns = told;
    int64_t end = e.boundary_ns + jl_ns(r->server_decode_s);
    e.end_ns = end > e.end_ns ? end : e.end_ns;
    e.end_ns = e.end_ns > x->t_end_ns ? x->t_end_ns : e.end_ns;
    return e;
}

void metering_edges_learn(struct metering_engine *engine, const struct metering_edges *e)
{
    if (isnan(e->off_s))
        return;
    double off2 = e->off_s * e->off_s;
    engine->edge_off2 = engine->edges++ ? engine->edge_off2 + LEARN * (off2 - engine->edge_off2) : off2;
}

double metering_edge_u(const struct metering_engine *engine, const struct metering_edges *e)
{
    return e->u_s > U_TIMINGS_S && engine->edges ? fmax(e->u_s, sqrt(engine->edge_off2)) : e->u_s;
}
