/* report.h - the accuracy table as JSON lines and as Markdown. */
#ifndef ACCURACY_REPORT_H
#define ACCURACY_REPORT_H

#include "bench/accuracy/cell.h"

#include <stdio.h>

/* What was simulated with. */
struct setting {
    uint64_t seed;
    size_t windows, devices;
};

/* One object a line: {"figure", "value", "unit", "goal", "baseline", "meets"}. The baseline of an rms is that of the raw
 * difference. */
void report_cell_json(FILE *f, const struct cell *c);
void report_row_json(FILE *f, const struct cell *cells, size_t n);
void report_figure_json(FILE *f, const char *name, double value, const char *unit, double goal, double baseline, bool meets);

/* All cells, ordered by row. wraps_lost: of random restarts of a counter. */
void report_markdown(FILE *f, const struct setting *s, const struct cell *cells, size_t n, double wraps, double wraps_lost);

#endif
