/* measure.h - one measurement in progress: what measure.c, groups.c and figures.c share. */
#ifndef JL_MEASURE_H
#define JL_MEASURE_H

#include "lib/meter/estimators.h"

/* Consecutive phases that the readings cannot tell apart are one group; usually a group is one phase (2.2). */
struct jl_group {
    size_t first, last;              /* phases of the job */
    double e_j;                      /* gross */
    struct joulet_u u;               /* q, b, time, event */
    double u_lag, before_w, after_w; /* power on either side of its ends; NAN unknown */
    bool ok;                         /* has a figure */
    bool open_before, open_after;    /* the boundary there is unresolved: only joining across it helps */
    uint32_t flags;
};

#define JL_NOT_THERE SIZE_MAX

struct jl_job {
    const struct joulet_trace *trace;
    const struct joulet_baseline *idle; /* NULL when unknown */
    const struct joulet_what *what;
    struct jl_params p;
    struct jl_slice slice;

    /* Phases that last: bd[0..m] in event time, s since the first bound; index[i] is the phase of the caller. */
    size_t m;
    double bd[JOULET_PHASES_MAX + 1], u_ev[JOULET_PHASES_MAX + 1];
    size_t index[JOULET_PHASES_MAX];
    bool lost[JOULET_PHASES_MAX]; /* of the caller's phases: the device left before it began */
    uint32_t lost_flag;           /* GONE or FROZEN: measured until then only; 0: to the end */
    double quiet;                 /* s; nothing else began before it */

    bool calm;                  /* nothing failed or waited near the run */
    struct jl_edges edges, all; /* for estimates, for bounds */
    struct jl_readings readings;
    struct jl_fit *fit; /* NULL for counters */
    struct jl_cum cum[JOULET_PHASES_MAX + 1];
    struct jl_joint *joint;                 /* NULL where two slopes must do */
    struct jl_slow *slow;                   /* of a slow gauge, in place of the joint fit */
    double joint_bd[JOULET_PHASES_MAX + 1]; /* its boundaries: those that are resolved */
    size_t joint_at[JOULET_PHASES_MAX + 1]; /* boundary of the job to that of the joint fit; JL_NOT_THERE */
    struct jl_limits limits;

    struct jl_group groups[JOULET_PHASES_MAX];
    size_t n_groups;
    struct jl_group whole;
    bool padded;   /* the whole comes from 2.1 */
    double idle_s; /* time over which P0 was taken off the whole */
    bool consistent;
};

/* groups.c: phases to groups, groups and whole made to agree. */
void jl_groups_solve(struct jl_job *j);
/* within.c: estimates moved into their bounds. */
void jl_groups_hold(struct jl_job *j);
/* figures.c: guaranteed bounds of gross over phases first..last (2.4); NAN unknown. */
void jl_job_bounds(const struct jl_job *j, size_t first, size_t last, double *min_j, double *max_j);
/* figures.c: groups to figures with budgets, bounds and flags. */
void jl_figures_fill(const struct jl_job *j, struct joulet_measured *out);

#endif
