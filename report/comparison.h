/* comparison.h - runs, or cells of a plan, beside each other (docs/method.md 5.5, docs/comparing.md). Everything comes from the
 * stored records; what cannot be compared is refused with the reason. */
#ifndef REPORT_COMPARISON_H
#define REPORT_COMPARISON_H

#include "lib/stats/compare.h"
#include "report/report.h"

#define COMPARE_MAX 26 /* sides: A to Z */

/* What is compared: a run, or one cell of it. */
struct compare_operand {
    const struct run *run;
    int64_t cell; /* -1: all of the run */
};

struct compare_metric {
    const char *name;  /* of --metric: "j", "j-per-token", ... */
    const char *title; /* "energy of a request" */
    const char *unit;  /* "J", "J/token", "s" */
    const char *verb;  /* what a side does with it: "uses", "takes" */
    bool energy;       /* net or gross */
};
const struct compare_metric *compare_metric(const char *name); /* NULL when there is none of that name */

struct compare_options {
    const struct compare_metric *metric;
    bool gross;
    double margin;        /* of "equal within": 0.03 */
    bool allow_throttled; /* requests during which the device was slowed down take part */
    uint64_t seed;
};

/* One side, over the requests that take part: successful, no warm-up, of a prompt that every side has, with a figure. */
struct compare_side {
    struct compare_operand of;
    char label[2]; /* "A" */
    char *name;    /* what tells it from the others: cell, model, title, or id */
    size_t used;
    size_t warmup, failed; /* left out for that reason */
    size_t unknown;        /* left out: no figure, or none above 0 */
    double mean, mean_pm;  /* of the metric; 95 % interval for these prompts, without the gain of the sensor; NAN */
    double tokens_in, tokens_out, seconds; /* means for a request */
    size_t checked, passed;
    double j_per_correct; /* energy of all checked requests over those that passed; NAN without checks or when none passed */
    size_t place;         /* 1 + number of sides that surely use less; several may share it */
};

struct compare_left_out {
    size_t side;
    char *prompt;
    size_t requests;
};

struct compare_result {
    size_t a, b; /* indices of sides, a < b */
    struct jl_comparison c;
};

struct comparison {
    struct compare_options options;
    struct compare_side *sides;
    size_t n_sides;
    size_t prompts; /* that all sides have */
    bool paired;
    struct compare_left_out *left_out; /* prompts that not every side has */
    size_t n_left_out;
    struct compare_result *results; /* every two sides: (0,1), (0,2), .., (1,2), .. */
    size_t n_results;
    char **channels; /* what was summed; none: the totals of the records */
    size_t n_channels;
    char **notes;
    size_t n_notes;
};

/* The runs must outlive *out. JOULET_USAGE with the reason when they cannot be compared. */
enum joulet_status comparison_of(const struct compare_operand *of, size_t n, const struct compare_options *opt,
                                 struct comparison *out, struct joulet_error *err);
void comparison_release(struct comparison *c);

/* The verdict of a result as a sentence: "B uses 2.3 % less (1.2 to 3.3 %)". */
void compare_words(struct jl_buf *out, const struct comparison *c, const struct compare_result *r);
/* Whether B of the result is surely more than `limit` (0.05: 5 %) above A. */
bool compare_beyond(const struct compare_result *r, double limit);
/* The result as text. */
void report_comparison(struct jl_buf *out, const struct comparison *c, const struct report_style *style);

#endif
