/* figures_all.h - every metric of a record (docs/metrics.md), in both forms, for people, JSON and CSV. Drawn from the record. */
#ifndef REPORT_FIGURES_ALL_H
#define REPORT_FIGURES_ALL_H

#include "report/report.h"

enum { METRIC_ROWS_MAX = 64 };

/* A figure and the two ends of its interval; NAN unknown. */
struct metric_value {
    double x, lo, hi;
};
/* One metric: what it is of the energy above idle, and with it; one that is no energy has `net` alone. */
struct metric {
    const char *key, *unit; /* "j_per_output_token", "J/token"; static */
    struct metric_value net, gross;
};
struct metric_list {
    struct metric rows[METRIC_ROWS_MAX];
    size_t n;
    bool estimate;          /* the ends are those of an estimate, far from alike */
    const char *provenance; /* of the energies: "measured", ...; static */
};
void metrics_of_run(const struct run *r, struct metric_list *out);

void report_metrics(struct jl_buf *out, const struct run *r, const struct report_style *style);
enum joulet_status metrics_to_json(const struct run *r, struct jl_buf *out, struct joulet_error *err);
void metrics_to_csv(const struct run *r, struct jl_buf *out);

#endif
