/* fit_grid.h - measures the grid of requests that a fit needs (docs/method.md 6.2). */
#ifndef CLI_FIT_GRID_H
#define CLI_FIT_GRID_H

#include "cli/session.h"
#include "llm/plans/grid.h"

struct fit_grid {
    struct session s;
    struct runtime_choice choice;
    struct generation q;
    char *messages;
    struct grid_levels in, out;
    int64_t repeats;
    uint64_t seed;
    double baseline_s, baseline_most_s;
    /* filled in */
    struct grid_words words;
    size_t done, planned, early; /* early: answers that ended before their length */
    joulet_mark t_first;
    bool looked; /* whether the idle level is good enough is known */
};
/* The options of the design, before anything is started. CLI_DONE or an exit code. */
int fit_grid_options(struct fit_grid *g, const struct cli *c);
/* Idle level, warm-up, grid. The session is finished after it. CLI_DONE when the grid is whole enough to be fitted. */
int fit_grid_measure(struct fit_grid *g);

#endif
