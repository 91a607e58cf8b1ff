/* fit.h - the token model fitted to the requests of stored runs (docs/method.md 6.2, 6.3, docs/fitting.md). */
#ifndef REPORT_FIT_H
#define REPORT_FIT_H

#include "lib/stats/tokens.h"
#include "report/report.h"

struct fit_row {
    const struct run *run;
    const struct run_request *q;
    struct jl_token_run t;
    double fitted_j;
};

struct fit {
    struct jl_token_model model;
    struct fit_row *rows; /* that took part, in the order of runs and requests */
    size_t n;
    size_t warmup, failed, cached, slowed, unknown; /* left out for that reason */
    bool gross;
    double spec;               /* relative standard uncertainty of the sensors' gain: in absolute figures, not in ratios */
    double truth_lo, truth_hi; /* ends of truth/figure by that gain: estimated figures have ends that are far from alike (10) */
    bool estimated;            /* in part at least */
    enum joulet_provenance provenance;
    bool several_machines, several_models;
};
/* JOULET_USAGE with the reason when the terms cannot be told apart. The runs must outlive *out. */
enum joulet_status fit_runs(const struct run *const *runs, size_t n, bool gross, bool allow_throttled, struct fit *out,
                            struct joulet_error *err);
void fit_release(struct fit *f);

/* Half-widths of 95 % intervals, gain included. */
double fit_pm(const struct fit *f, struct jl_derived d);
/* The two ends of the same interval; of estimated figures those of section 10. */
void fit_ends(const struct fit *f, struct jl_derived d, double *lo, double *hi);
struct jl_derived fit_coefficient(const struct fit *f, size_t term);
/* Lengths for which what follows is printed: of prompts, and of answers for the crossover. At most 8. */
size_t fit_lengths_in(const struct fit *f, double out[8]);
size_t fit_lengths_out(const struct fit *f, double out[8]);

void report_fit(struct jl_buf *out, const struct fit *f, const struct report_style *style);
/* Saves it as the set `name` of coefficients for estimates. JOULET_USAGE: a name that cannot be, or is taken and not `replace`.
 */
enum joulet_status fit_save(const struct fit *f, const char *name, bool replace, struct joulet_error *err);
/* Header row, then a row for each request: run_id, request, tokens, energy, fitted, residual. */
void fit_residuals_csv(struct jl_buf *out, const struct fit *f);

#endif
