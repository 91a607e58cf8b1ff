/* live.h - what every channel draws right now: rows of power and of energy so far, for `monitor`, `sensors` and the server.
 * Memory does not grow with time: old stretches are summed up, the rows kept for percentiles are thinned out. */
#ifndef REPORT_LIVE_H
#define REPORT_LIVE_H

#include "lib/base/base.h"

/* Power of the rows so far, for the summary. */
struct live_stats {
    float *kept; /* W; every `stride`-th row */
    size_t n_kept, cap, stride;
    uint64_t rows, missing; /* rows with and without a figure */
    double min_w, max_w;    /* meaningless without rows */
    double sum_j, sum_s;    /* of the rows with a figure: their mean */
};
struct live_figures {
    double min_w, mean_w, p50_w, p95_w, max_w; /* NAN without rows */
};

struct live_channel {
    struct joulet_channel ch;
    bool silent;                 /* no update for several periods: the energy ends with the last one */
    double now;                  /* W, or the gauge in its SI unit; NAN when not known in this row */
    struct joulet_energy closed; /* from the start to `open`: no sample of it is needed any more */
    bool any_closed;
    joulet_mark open;            /* the rest is measured anew in every row */
    struct joulet_energy energy; /* from the start to the end of the row; JOULET_ENERGY_UNKNOWN before the first */
    struct live_stats stats;
};

struct live {
    struct joulet *meter;
    struct meters *meters; /* of --meter; NULL none */
    struct live_channel *channels;
    size_t n;
    joulet_mark start, last; /* of the rows: [start, last) is done */
    bool refused;            /* a part of this machine may not be read: the total lacks it */
    double total_w;          /* NAN when a part is not known: a sum without it would look like a lower draw */
    struct joulet_energy total;
    struct live_stats total_stats;
};

/* Rows of a meter that is open and stays so, from `start` on, which may lie in what it remembers. */
enum joulet_status live_begin(struct live *l, struct joulet *meter, joulet_mark start, struct joulet_error *err);
void live_end(struct live *l); /* the meter stays */
/* The row from the last one to `until`. */
void live_row(struct live *l, joulet_mark until);
/* Takes the row into the statistics. */
void live_count(struct live *l, double dt_s);

bool live_is_power(const struct joulet_channel *ch); /* energy or power: has a draw */
/* A model of the hardware, no sensor; also where it is marked simulated because it was read below a redirected folder. */
bool live_is_estimate(const struct joulet_channel *ch);
/* Read by the program and pushed (--meter): no row of the sensor table. */
bool live_is_pushed(const char *sensor);
bool live_measures(const struct live *l); /* something in the total is more than an estimate */
/* joulet_total_text in buf; played sensors are of no machine, so that nothing is said of what they lack, and that they are
 * played.
 * "" when nothing counts. */
const char *live_total_text(const struct joulet_channel *channels, size_t n, char *buf, size_t size);
/* "W", "°C" (or "C"), "MHz", "%", "MiB" for people; *scale turns the SI value into it. */
const char *live_unit(enum joulet_quantity q, bool utf8, double *scale);
const char *live_quantity_name(enum joulet_quantity q); /* "energy", "in use", ... for people and for JSON */
const char *live_si(enum joulet_quantity q);            /* suffix of keys: "w", "c", "hz", "share", "bytes", "bits" */

/* Channels, problems, facts and sensors, as `sensors --json` has them: members without the braces around. */
void live_sensors_json(struct jl_buf *out, const struct live *l);
void live_problems_json(struct jl_buf *out, struct joulet *m); /* its member alone */
size_t live_channels_of(const struct live *l, const char *sensor);

void live_stats_add(struct live_stats *s, double power_w, double dt_s);
void live_stats_figures(const struct live_stats *s, struct live_figures *out);
void live_stats_release(struct live_stats *s);

#endif
