/* profile_private.h - what the views of a profile share: components summed up, and what they are of the whole shape. */
#ifndef REPORT_PROFILE_PRIVATE_H
#define REPORT_PROFILE_PRIVATE_H

#include "report/internal.h"
#include "report/profile.h"

#define PARTS_MAX  64
#define LAYERS_MAX 4096 /* that are drawn */

/* A component, or a part of one, in one phase: summed over its layers. */
struct profile_sum {
    char component[24], part[24];
    double seconds, flop, bytes;
    double joules, joules_pm;                /* NAN when any of it is only limited from above */
    double limit_j;                          /* of the sum; NAN when the figure stands */
    double whole_j, whole_pm, whole_limit_j; /* of all layers of the shape */
    double expected_s;                       /* by the roofline, else by bytes or FLOP; a weight for shares */
};
struct profile_sums {
    struct profile_sum items[PARTS_MAX];
    size_t n;
    double seconds, joules; /* of whole components; what is only limited counts half of its limit */
    double whole_j;
    double expected_s;
};

struct profile_view {
    const struct run_profile *p;
    const struct report_style *style;
    struct jl_buf *out;
    int64_t layers, layers_of;      /* -1 unknown */
    double scale;                   /* layers_of / layers; 1: the whole model was measured */
    double peak_flops, bytes_per_s; /* of the machine; NAN */
};
void profile_view_init(struct profile_view *v, const struct run_profile *p, struct jl_buf *out, const struct report_style *style);
/* Components of a phase in the order of the record; parts: those below them, after each. */
void profile_sum_phase(const struct profile_view *v, const char *phase, bool parts, struct profile_sums *out);
/* Energy of a phase as of the whole shape: what its layers have times `scale`, the rest once. NAN unknown. */
double profile_whole_phase(const struct profile_view *v, const struct run_profile_phase *x, double *pm);
double profile_number(const struct run_pairs *p, const char *key); /* NAN when it is none */
bool profile_in_layers(const struct run_profile_row *r);           /* scales with their number */
struct number profile_joules(double j, double pm, double limit_j, const struct report_style *style);
struct number profile_si(double x, const char *unit, const struct report_style *style); /* "12.4 MFLOP"; unknown "-" */

/* One file each. */
void profile_phases(const struct profile_view *v);
void profile_components(const struct profile_view *v, const char *phase);
void profile_heat(const struct profile_view *v, const char *phase);
void profile_layers(const struct profile_view *v, const char *phase);
void profile_power(const struct profile_view *v);
void profile_series(const struct profile_view *v);
void profile_how(const struct profile_view *v);

/* Energy of a token in a layer of a component; NAN unknown. */
struct profile_map {
    char components[PARTS_MAX][24];
    size_t n_components;
    int64_t layers;      /* 0 .. layers-1 */
    double *j, *limit_j; /* [component * layers + layer], J of a token */
    double top_j;        /* the largest */
};
bool profile_map_init(struct profile_map *m, const struct profile_view *v, const char *phase); /* false: nothing to draw */
void profile_map_release(struct profile_map *m);

#endif
