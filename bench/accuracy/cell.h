/* cell.h - the windows of one row and length as a few figures, and whether they meet their goals. Per cent throughout. */
#ifndef ACCURACY_CELL_H
#define ACCURACY_CELL_H

#include "bench/accuracy/window.h"

#define CELL_STRICT 1000 /* windows from which on a goal is a goal: below it chance is allowed for */
#define HOLD_MIN    93.0 /* share of intervals that hold the truth, every cell */
#define POOL_MIN    94.0 /* the same over a row of phases with counters */
#define POOL_MAX    99.0
#define SLOW_MIN    95.0 /* the same over all rows of slow meters */
#define SHARP_FROM  0.1  /* median half-width, %, from which on sharpness is asked for */

struct cell {
    const struct row *row;
    size_t length;
    size_t n, resolved, failed;
    double rms, bias, mean, p95;  /* of the error */
    double tails;                 /* fourth moment over the square of the second: what chance the rms has */
    double hold, half, sharpness; /* share of intervals that hold; median half-width; that over p95 */
    double bounds;                /* share of guaranteed bounds that hold */
    double raw, trapezoid;        /* rms of the plain meters */
};
void cell_of(const struct row *row, size_t length, const struct outcome *o, size_t n, struct cell *out);
/* Too few windows have a figure for one to be judged. */
bool cell_is_unresolved(const struct cell *c);

/* How much worse than its goal a figure may be by chance: 3 sigma below CELL_STRICT windows, none above. */
bool cell_meets_rms(const struct cell *c);
bool cell_meets_mean(const struct cell *c);
bool cell_meets_p95(const struct cell *c);
bool cell_meets_hold(const struct cell *c);
bool cell_meets_sharpness(const struct cell *c);
bool cell_meets_bounds(const struct cell *c);
bool cell_meets_refusal(const struct cell *c);
bool cell_meets(const struct cell *c);       /* all of them */
bool cell_is_as_known(const struct cell *c); /* the same, or as good as was reached where a goal is missed */

/* Share of intervals that hold over the cells of a row, and whether it is where it should be. */
double row_hold(const struct cell *cells, size_t n);
bool row_meets(const struct cell *cells, size_t n);
/* Share of intervals that hold over all cells of slow meters, each counting the same; NAN without any. */
double slow_hold(const struct cell *cells, size_t n);

#endif
