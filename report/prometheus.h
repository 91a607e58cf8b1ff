/* prometheus.h - the text form that Prometheus reads (version 0.0.4): families with their help, samples with labels. Whatever a
 * label holds, the page stays one that can be read: names come from clients. */
#ifndef REPORT_PROMETHEUS_H
#define REPORT_PROMETHEUS_H

#include "lib/base/base.h"

#define PROMETHEUS_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct prometheus_label {
    const char *name, *value; /* value NULL: "" */
};
/* Begins a family; its samples follow at once. type: "counter" (name ends in _total), "gauge", "histogram". */
void prometheus_family(struct jl_buf *out, const char *name, const char *type, const char *help);
/* Unknown (NAN) is no sample: 0 would be a figure. */
void prometheus_sample(struct jl_buf *out, const char *name, const struct prometheus_label *labels, size_t n, double value);
/* counts[n_bounds + 1] of single buckets, the last above all bounds. n: at most PROMETHEUS_LABELS. */
#define PROMETHEUS_LABELS 8
void prometheus_histogram(struct jl_buf *out, const char *name, const struct prometheus_label *labels, size_t n,
                          const double *bounds, size_t n_bounds, const uint64_t *counts, double sum);

#endif
