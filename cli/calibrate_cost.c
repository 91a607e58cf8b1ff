/* calibrate_cost.c - what the sampler itself costs (docs/method.md 1.3, 5.5): the same work with the sampler as it always runs
 * and nearly at rest (one read a second), in the order ABBA BAAB, so that drift cancels. */
#include "cli/calibrate.h"
#include "cli/live.h"
#include "cli/parse.h"
#include "lib/stats/stats.h"

#include <math.h>
#include <string.h>

#define BLOCKS   8
#define BLOCK_S  1.0
#define QUICK_S  0.25 /* of simulated sensors, which see no energy of ours */
#define READY_S  10.0
#define CHECK    20000 /* rounds of work between two looks at the clock, when its length is found */
#define REST_NS  JL_NS_PER_S
#define SETTLE_S 0.05

static const bool sampled[BLOCKS] = {true, false, false, true, false, true, true, false};

struct block {
    double cpu_share, energy_j, wall_s;
};

static double block_s(const struct calibration *k)
{
    return k->simulated ? QUICK_S : BLOCK_S;
}

double calibration_cost_s(const struct calibration *k)
{
    return (BLOCKS + 1) * (block_s(k) + SETTLE_S);
}

static uint64_t work(uint64_t rounds)
{
    volatile uint64_t sink = 0;
    struct jl_rng r = {rounds};
    for (uint64_t i = 0; i < rounds; i++)
        sink = sink ^ jl_rng_next(&r);
    return sink;
}

/* As many rounds as take about that long now. */
static uint64_t rounds_of(double s)
{
    int64_t begun = jl_mono_ns();
    uint64_t rounds = 0;
    while (jl_mono_ns() - begun < jl_ns(s)) {
        work(CHECK);
        rounds += CHECK;
    }
    return rounds;
}

/* What the counters of the processor say, summed; NAN where there are none, or none that measures. */
static double energy_of(struct joulet *m, joulet_mark from, joulet_mark to)
{
    struct joulet_energy sum = JOULET_ENERGY_UNKNOWN;
    struct joulet_channel ch;
    for (size_t i = 0; i < joulet_channel_count(m); i++) {
        struct joulet_energy e;
        if (joulet_channel_get(m, i, &ch) != JOULET_OK || !ch.in_total || ch.quantity != JOULET_ENERGY ||
            (ch.group != JOULET_GROUP_CPU && ch.group != JOULET_GROUP_DRAM) || ch.provenance != JOULET_MEASURED)
            continue;
        if (joulet_energy_between(m, i, from, to, &e, NULL) != JOULET_OK)
            return NAN;
        joulet_energy_add(&sum, &e, true);
    }
    return sum.gross_j;
}

static enum joulet_status run_block(const struct calibration *k, bool with, uint64_t rounds, struct block *out,
                                    struct joulet_error *err)
{
    struct joulet_options o;
    struct joulet_stats before, after;
    struct joulet *m = NULL;
    calibration_meter_options(k, with ? 0 : REST_NS, &o);
    enum joulet_status st = joulet_open(&m, &o, err);
    if (st == JOULET_OK)
        st = joulet_wait_ready(m, READY_S, err);
    if (st == JOULET_OK && !terminal_wait_until(joulet_now() + jl_ns(SETTLE_S)))
        st = jl_fail(err, JOULET_CANCELLED, "interrupted");
    if (st == JOULET_OK) {
        joulet_stats_get(m, &before);
        joulet_mark from = joulet_mark_now(m);
        work(rounds);
        joulet_mark to = joulet_mark_now(m);
        joulet_stats_get(m, &after);
        out->wall_s = jl_s(to - from);
        out->cpu_share = (after.cpu_s - before.cpu_s) / out->wall_s;
        out->energy_j = k->simulated ? NAN : energy_of(m, from, to);
    }
    joulet_close(m);
    return st;
}

/* Neighbours are pairs: their differences are free of drift. */
static void conclude(struct calibration *k, const struct block *blocks)
{
    double d[BLOCKS / 2], share[BLOCKS / 2];
    size_t n = BLOCKS / 2;
    for (size_t i = 0; i < n; i++) {
        const struct block *a = &blocks[2 * i + !sampled[2 * i]], *b = &blocks[2 * i + sampled[2 * i]];
        d[i] = (a->energy_j - b->energy_j) / ((a->wall_s + b->wall_s) / 2);
        share[i] = a->cpu_share;
    }
    k->cost = (struct joulet_self_cost){.at_s = jl_wall_ns() / JL_NS_PER_S,
                                        .simulated = k->simulated,
                                        .cpu_share = jl_mean(share, n),
                                        .power_w = jl_mean(d, n),
                                        .u_power_w = jl_sd(d, n) / sqrt((double)n)};
}

enum joulet_status calibration_self_cost(struct calibration *k, struct joulet_error *err)
{
    struct block blocks[BLOCKS];
    enum joulet_status st = jl_ok(err);
    calibration_progress(k, "what the sampler costs");
    uint64_t rounds = rounds_of(block_s(k));
    for (size_t i = 0; i < BLOCKS && st == JOULET_OK; i++) {
        calibration_progress(k, "what the sampler costs, %zu of %d", i + 1, BLOCKS);
        st = run_block(k, sampled[i], rounds, &blocks[i], err);
        if (st == JOULET_OK && atomic_load(&cli_cancel))
            st = jl_fail(err, JOULET_CANCELLED, "interrupted");
    }
    if (st == JOULET_OK)
        conclude(k, blocks);
    return st;
}
