/* estimate.h - energies for requests that were not measured: sets of coefficients (own fits, published figures, sets that the
 * user made), and what they give for a number of tokens (docs/method.md 6.3 and 10, docs/estimates.md).
 *
 * A set is a small CSV file below sets/ of the data folder, or compiled in. Every figure names its set and carries the interval
 * of section 10; applied to its own workload a set gives the figure that was published. */
#ifndef REPORT_ESTIMATE_H
#define REPORT_ESTIMATE_H

#include "report/report.h"

enum estimate_origin {
    ESTIMATE_FIT,      /* coefficients of our own regression, on this machine or another */
    ESTIMATE_CUSTOM,   /* what a user made */
    ESTIMATE_PUBLISHED /* compiled in */
};
const char *estimate_origin_name(enum estimate_origin o); /* "fit", "custom", "published"; static */

enum { ESTIMATE_WORKLOADS_MAX = 3, ESTIMATE_NAME_SIZE = 64, ESTIMATE_MODELS_MAX = 100000 };

/* What is known of one model: coefficients, or workloads with their energies. */
struct estimate_model {
    char *name;                                               /* as the source writes it */
    struct joulet_coefficients c;                             /* when n_workloads is 0 */
    struct joulet_workload workloads[ESTIMATE_WORKLOADS_MAX]; /* published ones */
    size_t n_workloads;
    bool no_output; /* the source tells of prompt tokens alone: the answers are taken to be as long as there */
};

struct estimate_set {
    char name[ESTIMATE_NAME_SIZE]; /* letters, digits, '-', '_', '.'; the file is NAME.csv */
    enum estimate_origin origin;
    char *source;   /* who says so: a run, a paper; never NULL */
    char *boundary; /* what the energy covers: "gpu0.board", "whole system with PUE"; NULL unknown */
    char *date;     /* "2026-11-21"; NULL unknown */
    char *machine;  /* in words; NULL unknown */
    char *host;     /* hash of the machine it was fitted on, as in records; NULL unknown */
    char *sensor;   /* NULL unknown */
    bool net;       /* above the idle level, else with it */
    enum joulet_provenance
        provenance; /* of what it rests on: measured, or modelled (estimated); that of a custom set is unknown */
    bool provenance_known;
    double gain_lo, gain_hi; /* figure/truth of the sensors that a fit rests on; NAN: not told */
    double f_lo, f_hi;       /* estimate/truth; NAN: those of docs/method.md 10 for the origin, with the gain */
    struct estimate_model *models;
    size_t n;
};
void estimate_set_init(struct estimate_set *s, const char *name, enum estimate_origin origin);
void estimate_set_release(struct estimate_set *s);
/* Copies *m (its name too); NULL on no memory. */
struct estimate_model *estimate_set_add(struct estimate_set *s, const struct estimate_model *m);

/* ---- files (estimate_file.c) ------------------------------------------------------------------------------------- */
/* Refused with the reason: a form from a newer version, numbers that cannot be, a set without models. `name` goes into sentences.
 */
enum joulet_status estimate_set_parse(struct estimate_set *s, const char *name, const char *text, size_t n,
                                      struct joulet_error *err);
enum joulet_status estimate_set_text(const struct estimate_set *s, struct jl_buf *out, struct joulet_error *err);
/* Writes sets/NAME.csv of the data folder. JOULET_USAGE: a name that cannot be, or one that is taken and not `replace`. */
enum joulet_status estimate_set_save(const struct estimate_set *s, bool replace, struct joulet_error *err);
/* Compiled in or from the data folder. JOULET_NOT_FOUND with the names there are. */
enum joulet_status estimate_set_load(struct estimate_set *s, const char *name, struct joulet_error *err);
enum joulet_status estimate_set_delete(const char *name, struct joulet_error *err);
/* Names of all sets, own fits and custom sets first, then the published ones; jl_free_list. */
enum joulet_status estimate_set_names(char ***names, size_t *n, struct joulet_error *err);

/* ---- finding and applying (estimate.c) --------------------------------------------------------------------------- */

/* The model of a set by its name: as written; else without maker, quantisation, case and dashes. SIZE_MAX: none, or several. */
size_t estimate_model_in(const struct estimate_set *s, const char *model);
/* The set named, or the first that has the model, own fits and custom sets before published ones. JOULET_NOT_FOUND with those
 * whose names are near, and what to do. also: names of further sets that have it, "" none. */
enum joulet_status estimate_find(struct estimate_set *s, size_t *index, const char *set, const char *model, char *also,
                                 size_t also_size, struct joulet_error *err);
/* Ends of estimate/truth of a set on the machine with this hash (NULL unknown): a fit holds for the machine it was made on. */
bool estimate_of_here(const struct estimate_set *s, const char *host);
void estimate_factors(const struct estimate_set *s, const char *host, double *f_lo, double *f_hi);

/* A set with this model alone, for a request of which nothing is published: from its number of parameters, or, NAN, from nothing.
 * Its ends are as far apart as that leaves open (estimate_size.c). */
enum joulet_status estimate_by_size(struct estimate_set *s, const char *model, double parameters, struct joulet_error *err);
#define ESTIMATE_BY_SIZE    "by-size" /* names of such sets; no file has them */
#define ESTIMATE_BY_NOTHING "by-nothing"
double estimate_size_in_name(const char *model); /* parameters as in "llama-3.2-1b", "8x7b"; NAN: not told */

/* What a set says about one request, or the requests of a run. */
struct estimate_result {
    const struct estimate_set *set;
    const struct estimate_model *model;
    const char *asked;            /* name of the model that was asked for */
    double tokens_in, tokens_out; /* sums; NAN not told */
    size_t requests, left_out;    /* left out: without numbers of tokens */
    double f_lo, f_hi;
    bool here; /* a fit of this machine */
    struct joulet_energy energy;
};
/* tokens_out NAN is fine for a set that knows prompt tokens alone. JOULET_USAGE, JOULET_LIMIT as joulet_predict. */
enum joulet_status estimate_request(const struct estimate_set *s, size_t index, const char *host, double tokens_in,
                                    double tokens_out, struct estimate_result *out, struct joulet_error *err);
/* Over the requests of a record that succeeded and are no warm-up. JOULET_NO_DATA when none of them tells its tokens. */
enum joulet_status estimate_run(const struct estimate_set *s, size_t index, const struct run *r, struct estimate_result *out,
                                struct joulet_error *err);

/* r: the record that was estimated anew, NULL none. */
void report_estimate(struct jl_buf *out, const struct estimate_result *e, const struct run *r, const char *also,
                     const struct report_style *style);
void report_set(struct jl_buf *out, const struct estimate_set *s, const struct report_style *style);
void report_sets(struct jl_buf *out, const struct estimate_set *sets, size_t n, const struct report_style *style);

#endif
