/* tune.h - inside of `joulet tune`: stages, each a run of its own in which candidates race, and what came of them. */
#ifndef CLI_TUNE_H
#define CLI_TUNE_H

#include "cli/bench.h"
#include "lib/stats/race.h"
#include "llm/plans/tune.h"
#include "report/comparison.h"

/* What is known of a candidate after a stage. */
struct tune_standing {
    struct tune_candidate c;
    size_t rounds;        /* in which it was measured */
    double rate;          /* output tokens per second of a request, mean over the rounds; NAN */
    double ratio, lo, hi; /* of its J to that of the defaults, interval that holds always; NAN unknown */
    double mean; /* J per token or request: of the defaults the geometric mean of their rounds, of others that times ratio,
                    so that rounds which only one of them was in do not count; NAN unknown */
    enum { TUNE_IN, TUNE_LOST, TUNE_SLOW, TUNE_REFUSED } state;
    char why[512]; /* refused: the reason */
};

/* A race of some candidates in one run; the first are the defaults. */
struct tune_stage {
    struct bench b;
    struct jl_race race, rates; /* rates: 1/(tokens/s), which is to be small as well */
    struct tune_standing at[TUNE_CANDIDATES_MAX];
    size_t n, units; /* prompts of one candidate in one round */
    int64_t position;
    bool ended;     /* nothing more can be measured: interrupted, or the defaults' engine is gone */
    double block_s; /* mean time of one candidate in one round */
    double work_s;
    size_t blocks;
    bool estimated, open;
};

struct tune {
    struct cli *cli;
    struct tune_ask ask;
    struct tune_plan plan;
    char *models[TUNE_CANDIDATES_MAX]; /* paths */
    char *engine;
    struct tune_candidate candidates[TUNE_CANDIDATES_MAX];
    size_t n;
    double budget_s, least_rate; /* NAN: no limit */
    bool per_request, gross;
    uint64_t seed;
    joulet_mark started;

    /* what came of it */
    struct tune_standing tried[TUNE_CANDIDATES_MAX];
    size_t n_tried;
    struct tune_standing last[2]; /* of the last comparison: the defaults and the choice; last[1].rounds 0: there was none */
    struct jl_comparison saving;
    double rate_pm[2]; /* half of the 95 % interval of their rates */
    char runs[3][40];  /* ids */
    size_t n_runs;
    bool stored, estimated, interrupted;
    size_t blocks, nothing; /* turns of candidates, and those without energy above idle */
    char power_limit[80];   /* "gpu0 450 W"; "" none is known */
};

/* tune_stage.c. Opened, measured round by round, closed. order: of the candidates in rounds, for the record. */
int tune_stage_open(struct tune *t, struct tune_stage *g, const char *what, const struct tune_candidate *c, size_t n,
                    size_t rounds, const char *order);
/* Until one candidate is left, the time or the rounds are over. */
void tune_stage_race(struct tune *t, struct tune_stage *g, size_t rounds, double until_s);
/* The same number of rounds for all of them, forwards and backwards (ABBA BAAB ...): nothing is dropped. */
void tune_stage_compare(struct tune *t, struct tune_stage *g, size_t rounds);
void tune_stage_close(struct tune *t, struct tune_stage *g);
double tune_spent_s(const struct tune *t);

/* tune_search.c: which stages, and what is chosen. CLI_DONE or an exit code. */
int tune_search(struct tune *t);
bool tune_uses_less(const struct tune *t); /* surely, and within the limit of the rate */
bool tune_too_slow(const struct tune *t, double rate);
/* The best value of each setting that used less than the defaults, the first of x, in the mean; the best of them first. */
size_t tune_helpful(const struct tune *t, const struct tune_standing *x, size_t n, const struct tune_standing **out);
const struct tune_candidate *tune_best(const struct tune *t); /* what to use: the choice, or the defaults */

/* tune_show.c */
void tune_text(struct jl_buf *out, const struct tune *t);
void tune_json(struct jl_buf *out, const struct tune *t);

#endif
