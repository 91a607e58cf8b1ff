/* replay.h - a recorded trace as text: CSV with a header row, one row for each sample (docs/sensors/file.md). Pure. */
#ifndef JL_REPLAY_H
#define JL_REPLAY_H

#include "lib/base/base.h"

#define REPLAY_TRACKS_MAX 64
#define REPLAY_ROWS_MAX   4000000

struct replay_sample {
    int64_t t_ns, value;
    uint32_t flags; /* enum joulet_sample_flag */
};

/* The samples of one channel, ascending. */
struct replay_track {
    char id[48];
    enum joulet_quantity quantity;
    struct replay_sample *samples;
    size_t n, cap;
    double hw_sum_s; /* of all half-widths given */
    double window_s; /* of a power reading, NAN: not given */
};

struct replay {
    struct replay_track tracks[REPLAY_TRACKS_MAX];
    size_t n;
    int64_t first_ns, last_ns;
};

/* Error: JOULET_FORMAT, JOULET_LIMIT, JOULET_MEMORY with one sentence that names the row. *out is empty then. */
enum joulet_status replay_parse(struct replay *out, const char *text, size_t len, const char *name, struct joulet_error *err);
void replay_release(struct replay *r);

/* Median distance between the samples of a track, s; NAN for fewer than two. */
double replay_period_s(const struct replay_track *t);

#endif
