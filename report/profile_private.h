/* profile_private.h - what the views of a profile share: components summed up, and what they are of the whole shape. */
#ifndef REPORT_PROFILE_PRIVATE_H
#define REPORT_PROFILE_PRIVATE_H

#include "report/internal.h"
#include "report/profile.h"

#define PARTS_MAX  64
#define LAYERS_MAX RUN_PROFILE_LAYERS_MAX /* that are drawn */

/* A component, or a part of one, in one phase: summed over its layers. */
struct profiled_sum {
    char component[24], part[24];
    double seconds, flop, bytes;
    double joules, joules_pm;                         /* NAN when any of it is only limited from above */
    double limit_j;                                   /* of the sum; NAN when the figure stands */
    double whole_j, whole_pm, whole_limit_j, whole_s; /* of all layers of the shape */
    double expected_s;                                /* by the roofline, else by bytes or FLOP; a weight for shares */
};
struct profiled_sums {
    struct profiled_sum items[PARTS_MAX];
    size_t n;
    double seconds, joules; /* of whole components; what is only limited counts half of its limit */
    double whole_j, whole_s;
    double expected_s;
};

struct profiled_view {
    const struct run_profile *p;
    const struct report_style *style;
    struct jl_buf *out;
    int64_t layers, layers_of;      /* -1 unknown */
    double scale;                   /* layers_of / layers; 1: the whole model was measured */
    double peak_flops, bytes_per_s; /* of the machine; NAN */
    const char *only;               /* the phase whose components are drawn; NULL: decode and prefill */
};
void profiled_view_init(struct profiled_view *v, const struct run_profile *p, struct jl_buf *out,
                        const struct report_style *style);
/* Components of a phase in the order of the record; parts: those below them, after each. */
void profiled_sum_phase(const struct profiled_view *v, const char *phase, bool parts, struct profiled_sums *out);
/* Energy of a phase as of the whole shape: what its layers have times `scale`, the rest once. NAN unknown. */
double profiled_whole_phase(const struct profiled_view *v, const struct run_profile_phase *x, double *pm);
#define ONLY_MAX 80
/* What alone counts, "slot 0, the first 16 tokens of each answer"; "" all. */
void profiled_only(const struct run_profile *p, char *out, size_t size);
double profiled_number(const struct run_pairs *p, const char *key); /* NAN when it is none */
struct number profiled_joules(double j, double pm, double limit_j, const struct report_style *style);
struct number profiled_si(double x, const char *unit, const struct report_style *style); /* "12.4 MFLOP"; unknown "-" */
struct number profiled_parameters(double n, const struct report_style *style); /* "1.24 B parameters", as models are named */

/* One file each. */
void profiled_phases(const struct profiled_view *v);
void profiled_components(const struct profiled_view *v, const char *phase);
void profiled_heat(const struct profiled_view *v, const char *phase);
void profiled_layers(const struct profiled_view *v, const char *phase);
void profiled_power(const struct profiled_view *v);
void profiled_series(const struct profiled_view *v);
void profiled_replay(const struct profiled_view *v);
void profiled_how(const struct profiled_view *v);

/* Energy of a token in a layer of a component; NAN unknown. */
struct profiled_map {
    char components[PARTS_MAX][24];
    size_t n_components;
    int64_t layers;      /* 0 .. layers-1 */
    double *j, *limit_j; /* [component * layers + layer], J of a token */
    double top_j;        /* the largest */
};
bool profiled_map_init(struct profiled_map *m, const struct profiled_view *v, const char *phase); /* false: nothing to draw */
void profiled_map_release(struct profiled_map *m);

#endif
