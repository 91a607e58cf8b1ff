/* estimators.h - the pure arithmetic between a trace and its joules; inside lib/meter and its tests only.
 * Section numbers are those of docs/method.md. Times are seconds from an origin that the caller chooses (the start of the run),
 * energies joules from the first sample of the slice: differences of both lose no digits in a double. */
#ifndef JL_ESTIMATORS_H
#define JL_ESTIMATORS_H

#include "lib/base/base.h"

/* Properties of a channel with unknowns replaced by what a device without them would have. */
struct jl_params {
    double U, W, q, lag, u_t, l_max, u_r, spec;
    double step_w; /* step of power readings */
    double factor_lo, factor_hi;
    bool counter;      /* cumulative energy, or contiguous power, which sums to it */
    bool gauge;        /* power readings, contiguous or not */
    bool estimated;    /* no sensor (10): intervals come from the factors */
    bool by_change;    /* updates were found by change of value: a badly known time is a late poll (1.3) */
    bool ways_unknown; /* of a slow gauge: nobody told whether a reading is a mean, filtered or of one moment */
    bool slow;         /* power readings that tile time, every half second or seldomer */
    bool dense;        /* updates come faster than they are read: event-locked ones replace polled ones (1.3) */
};
void jl_params_of(const struct joulet_trace *trace, struct jl_params *out);

/* ---- slices of a trace (trace.c) ---------------------------------------------------------------------------------- */
/* Index of the first sample at or after t; n when there is none. Logarithmic. */
size_t jl_first_at(const struct joulet_trace *trace, int64_t t_ns);
/* Samples [lo, hi) of a trace. */
struct jl_slice {
    const struct joulet_trace *trace;
    size_t lo, hi;
    int64_t origin_ns;
};
/* All samples in [from, to], and `more` on each side of it. */
struct jl_slice jl_slice_of(const struct joulet_trace *trace, int64_t from_ns, int64_t to_ns, size_t more, int64_t origin_ns);

/* ---- faults (faults.c) ---------------------------------------------------------------------------------------------- */
/* Index of the first sample after a restart of the counter, beyond `from`; hi when there is none. */
size_t jl_next_restart(const struct jl_slice *s, size_t from);
/* Cuts the slice at restarts of the counter outside [from, to]; false: it restarted inside, or may have. */
bool jl_cut_at_restarts(struct jl_slice *s, int64_t from_ns, int64_t to_ns);
/* A failed read between two moments. */
bool jl_any_failed(const struct joulet_trace *trace, int64_t from_ns, int64_t to_ns);
/* No sample of the slice failed or was waited for: neither of these holds between any two moments inside it. */
bool jl_is_calm(const struct jl_slice *s);
/* Between two moments the sampler waited for the processor, with an update to be seen. */
bool jl_any_starved(const struct joulet_trace *trace, int64_t from_ns, int64_t to_ns);
/* The counter shows one value all through [from, to] and so long around it that it should have moved at power_w (NAN: 1 W). */
bool jl_is_frozen(const struct joulet_trace *trace, const struct jl_params *p, int64_t from_ns, int64_t to_ns, double power_w);
/* The counter moved and then shows one value to the end of the trace, too long for power_w: *last_ns is when it stopped. */
bool jl_stopped(const struct joulet_trace *trace, const struct jl_params *p, double power_w, int64_t *last_ns);
/* The trace ends in failed reads: *last_ns is the last good sample, of a counter the last that moved. */
bool jl_is_gone(const struct joulet_trace *trace, const struct jl_params *p, int64_t *last_ns);
const char *jl_channel_name(const struct joulet_trace *trace); /* for error sentences */
/* USAGE when the channel has no energy or power, NO_DATA when the trace is empty. */
enum joulet_status jl_check_trace(const struct joulet_trace *trace, struct joulet_error *err);

/* ---- updates (edges.c) ---------------------------------------------------------------------------------------------- */
struct jl_edge {
    double t, hw;    /* s */
    double c;        /* cumulative energy, J */
    double loose_u;  /* power readings: standard uncertainty of the sum by what ends here, a gap and a change of power, J */
    double hidden_u; /* of that, what a gap has hidden, or an update that was dropped */
    int repeats;     /* power readings: inserted updates since the last that was seen (1.3) */
    bool locked, late;
};
struct jl_edges {
    struct jl_edge *items; /* malloc'ed */
    size_t n;
};
enum jl_edge_use {
    JL_FOR_ESTIMATES, /* late reads dropped, event-locked updates preferred (1.3) */
    JL_FOR_BOUNDS     /* everything that holds */
};
/* false: out of memory. Power readings of a contiguous or other gauge are summed up: C(t_k) = sum y_k (t_k - t_(k-1)). */
bool jl_edges_of(const struct jl_slice *s, const struct jl_params *p, enum jl_edge_use use, struct jl_edges *out);
/* Those for estimates out of those for bounds: of a counter without reading the samples again. */
bool jl_edges_for_estimates(const struct jl_slice *s, const struct jl_params *p, const struct jl_edges *all,
                            struct jl_edges *out);
void jl_edges_release(struct jl_edges *e);
/* 1.3, in place; both return the number that remain. */
size_t jl_edges_clean(struct jl_edge *e, size_t n, double U);
size_t jl_edges_unlock(struct jl_edge *e, size_t n, double U);
/* First edge with t >= x; n when there is none. */
size_t jl_edge_at(const struct jl_edge *e, size_t n, double x);
/* Appends to index, which ascends, what of the `side` places before k of n and of those from k on it lacks; returns its new
 * length. */
size_t jl_add_around(size_t k, size_t n, size_t side, size_t *index, size_t count);
/* Cumulative energy at x by straight lines between the edges, held straight beyond the ends; for levels, never for phases (2.6).
 */
double jl_edges_level(const struct jl_edge *e, size_t n, double x);

struct jl_reading {
    double t, hw, y_w;
    double astray_s; /* further away an inserted update may be (1.3); for bounds */
};
struct jl_readings {
    struct jl_reading *items; /* malloc'ed */
    size_t n;
};
bool jl_readings_of(const struct jl_slice *s, double U, struct jl_readings *out); /* false: out of memory */
void jl_readings_release(struct jl_readings *r);

/* ---- two slopes (2.2, counter.c) ------------------------------------------------------------------------------------ */
struct jl_slope {
    double p, s_p; /* W */
    bool ok;
};
struct jl_slope jl_slope_in(const struct jl_edge *e, size_t n, double from, double to, bool at_end);

/* Cumulative energy at one boundary. */
struct jl_cum {
    double e_j, u_j;
    double g_w;               /* the power it leans on */
    double before_w, after_w; /* power on either side; NAN where unknown */
    uint32_t flags;           /* MISMATCH, UNRESOLVED, TRUNCATED, NO_LEAD_IN */
};
/* bd[0..m]: boundaries in sensor time, strictly ascending; n >= 2. */
void jl_cum_at(const struct jl_edge *e, size_t n, const double *bd, size_t m, double u_r, struct jl_cum *out);

/* ---- joint fit (2.2, joint_fit.c) ------------------------------------------------------------------------------------- */
struct jl_joint;
/* bd[0..m]: boundaries in sensor time, strictly ascending, kept by the caller until the fit is closed. NULL: not possible, fewer
 * than 3 updates before the run or after it, or no memory; two slopes then. */
struct jl_joint *jl_joint_open(const struct jl_edge *e, size_t n, const double *bd, size_t m, const struct jl_params *p);
void jl_joint_close(struct jl_joint *f);
/* Energy of phases first..last together; what lag and rise add is in u_b, the quantum is not. */
struct jl_jointly {
    double e_j, u_b;
    bool unresolved;
};
void jl_joint_phases(struct jl_joint *f, size_t first, size_t last, struct jl_jointly *out);
double jl_joint_level_w(const struct jl_joint *f, bool after); /* power before the run, or after it */
double jl_joint_lag_s(const struct jl_joint *f);               /* found lag less the expected one */
double jl_joint_chi(const struct jl_joint *f);                 /* reduced chi square, 1 at least */
bool jl_joint_mismatch(const struct jl_joint *f);              /* the power did not go in steps at the boundaries */

/* ---- padded difference (2.1, padded.c) ------------------------------------------------------------------------------ */
struct jl_padded {
    double net_j;
    double start_s, end_s; /* t_k0, and t_k1 or t_K */
    double after_w;        /* P1 */
    double u_b;
};
/* a, c as read (the lag is not taken off); quiet: nothing else began before it. false: the trace does not reach far enough. */
bool jl_padded_counter(const struct jl_edge *e, size_t n, double a, double c, double quiet, const struct jl_params *p, double P0,
                       struct jl_padded *out);
bool jl_padded_power(const struct jl_reading *r, size_t n, double a, double c, double quiet, const struct jl_params *p, double P0,
                     struct jl_padded *out);

/* ---- slow gauges (2.2, slow_fit.c) ------------------------------------------------------------------------------------- */
struct jl_slow;
/* As jl_joint_open, of power readings that sum to a counter and come every half second or seldomer. */
struct jl_slow *jl_slow_open(const struct jl_reading *r, size_t n, const double *bd, size_t m, const struct jl_params *p);
void jl_slow_close(struct jl_slow *f);
/* Energy of phases first..last together and its standard uncertainty; lag and boundaries are in it. */
void jl_slow_phases(const struct jl_slow *f, size_t first, size_t last, double *e_j, double *u_j);

/* ---- segmented phase fit (2.3, phase_fit.c) ------------------------------------------------------------------------- */
struct jl_fit;
/* bd[0..m] in event time: the lag is taken off inside. NULL: out of memory. */
struct jl_fit *jl_fit_open(const struct jl_reading *r, size_t n, const double *bd, size_t m, const struct jl_params *p);
void jl_fit_close(struct jl_fit *f);
/* Energy of phases first..last together; u_time holds the lag only, the rise needs the neighbours' powers. */
struct jl_fitted {
    double e_j, u_b, u_lag;
    bool unresolved;
};
void jl_fit_phases(struct jl_fit *f, size_t first, size_t last, struct jl_fitted *out);
double jl_fit_before_w(const struct jl_fit *f);
double jl_fit_after_w(const struct jl_fit *f);

/* ---- bursts on part-time sensors (2.5, bursts.c) ----------------------------------------------------------------------- */
struct jl_bursts {
    const struct jl_reading *r; /* around the bursts */
    size_t n_readings;
    const double *on, *off; /* event time, ascending, one burst after the other */
    size_t n;
    double W, U, lag, u_t, P0;
    size_t n_bins; /* set by the fit, as the next and the period */
    double top;
};
struct jl_burst_fit {
    double net_j, u_b, u_time; /* of all bursts together; NAN when unresolved */
    bool unresolved, aliased;
};
bool jl_bursts_fit(struct jl_bursts *b, struct jl_burst_fit *out); /* false: out of memory */

/* ---- guaranteed bounds (2.4, bounds.c) ------------------------------------------------------------------------------ */
struct jl_limits {
    double p_min, p_max; /* W */
    double u_t, q;
    double step_w;  /* of power readings */
    double loose_s; /* by which the power may have changed earlier or later than a reading shows it */
    double tile_s;  /* U, where the edges are sums of power readings that tile time; 0: a counter */
};
void jl_bounds_counter(const struct jl_edge *e, size_t n, double a, double b, const struct jl_limits *lim, double *min_j,
                       double *max_j);
void jl_bounds_power(const struct jl_reading *r, size_t n, double a, double b, double W, const struct jl_limits *lim,
                     double *min_j, double *max_j);
/* Of the intervals between edges that last half a period at least; NAN without one. */
void jl_power_range(const struct jl_edge *e, size_t n, double U, double *least_w, double *most_w);
/* What [a, b] drew if it drew all that the readings around it grew by; 0 where it has a reading of its own. */
double jl_hidden_power(const struct jl_edge *e, size_t n, double a, double b, const struct jl_limits *lim);
/* The same for power readings whose windows are longer: the least that any window around all of it allows; 0 without one. */
double jl_hidden_power_of_readings(const struct jl_reading *r, size_t n, double a, double b, double W,
                                   const struct jl_limits *lim);
/* How far the n-th of the updates inserted one after the other may be from the device's own, beyond its half-width (1.3). */
double jl_astray_s(int repeats, double U);

/* ---- whole and parts (end of 2.2, reconcile.c) ----------------------------------------------------------------------- */
/* Parts and whole made to agree by their uncertainties; the returned whole is the sum of the parts. false: inconsistent. */
bool jl_reconcile(double *parts, const double *u, size_t n, double *whole, double u_whole);

/* ---- estimates inside their bounds (end of 2.4, within.c) -------------------------------------------------------------- */
struct jl_held {
    double e_j, u_j, lo, hi;
};
/* Moves the parts into their bounds, so that their sum is the whole, moved into its own, or as near to it as they can come. */
void jl_hold_within(struct jl_held *parts, size_t n, const struct jl_held *whole);

/* ---- idle (4, idle.c) ------------------------------------------------------------------------------------------------ */
void jl_baseline_of_means(const double *x, size_t n, struct joulet_baseline *out); /* NONE for n < 2 */

/* ---- budget (3, budget.c) -------------------------------------------------------------------------------------------- */
/* Completes *e from gross_j, u.q, u.b, u.time, u.event: net from the idle level over d_s, u.idle = idle_s u(P0), u.spec, the
 * half-widths; for estimates all terms in joules of the truth, and the interval. idle NULL or NONE: net stays NAN. */
void jl_budget(struct joulet_energy *e, const struct jl_params *p, const struct joulet_baseline *idle, double d_s, double idle_s);
double jl_u_rep(const struct joulet_u *u); /* everything but idle and spec */

#endif
