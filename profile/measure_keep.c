/* measure_keep.c - what is kept for the regression of a profile that goes on for hours: whole passes, every second one of each
 * kind dropped whenever half of the room is full. What is left is spread over the whole profile; of passes that take more than
 * half of the room each it is the first one and one of the last. */
#include "profile/measure.h"

#include <stdlib.h>

static bool crowded(const struct measure *m)
{
    for (int p = 0; p < MEASURE_PHASES; p++) {
        const struct measure_of_phase *of = &m->phases[p];
        if (of->full || of->n_stretches > MEASURE_STRETCHES / 2 || of->n_unmodified > MEASURE_STRETCHES / 2)
            return true;
        for (size_t c = 0; c < m->n_channels; c++)
            if (m->channels[p][c].trace.n > MEASURE_SAMPLES / 2)
                return true;
    }
    return m->n_kept >= MEASURE_KEPT;
}

/* The pass in which a moment lies: the last one that began before it. Moments come in ascending order, so *at only goes on. */
static bool is_kept(const struct measure *m, int64_t t_ns, size_t *at)
{
    while (*at + 1 < m->n_kept && m->kept[*at + 1].from_ns <= t_ns)
        ++*at;
    return !m->kept[*at].drop;
}

static size_t thin_stretches(const struct measure *m, struct joulet_stretch *list, size_t n)
{
    size_t left = 0, at = 0;
    for (size_t i = 0; i < n; i++)
        if (is_kept(m, jl_ns(list[i].start_s), &at))
            list[left++] = list[i];
    return left;
}

/* A sample shows what was one lag before it. */
static size_t thin_samples(const struct measure *m, struct joulet_trace *t)
{
    size_t left = 0, at = 0;
    int64_t lag = jl_ns(t->channel.lag_s);
    for (size_t i = 0; i < t->n; i++)
        if (is_kept(m, t->samples[i].t_ns - lag, &at))
            t->samples[left++] = t->samples[i];
    return left;
}

static bool is_full(const struct measure *m)
{
    return m->phases[MEASURE_PREFILL].full || m->phases[MEASURE_DECODE].full;
}

/* The only one of its kind stays, be it larger than half of the room, for the next one would be alone as well; but not one that
 * filled it. Each kind is thinned by itself, so that small ones take no turns from large ones. */
static void choose(struct measure *m)
{
    uint64_t n[MEASURE_PASSES] = {0}, seen[MEASURE_PASSES] = {0};
    for (size_t i = 0; i < m->n_kept; i++)
        n[m->kept[i].pass]++;
    for (size_t i = 0; i < m->n_kept; i++) {
        enum measure_pass pass = m->kept[i].pass;
        m->kept[i].drop = seen[pass]++ % 2 == 1 || (n[pass] == 1 && is_full(m));
    }
    for (int pass = 0; pass < MEASURE_PASSES; pass++)
        if (n[pass] > 1 || (n[pass] == 1 && is_full(m)))
            m->keep_every[pass] *= 2;
}

static void thin(struct measure *m)
{
    size_t left = 0;
    choose(m);
    for (int p = 0; m->n_kept && p < MEASURE_PHASES; p++) {
        struct measure_of_phase *of = &m->phases[p];
        of->n_stretches = thin_stretches(m, of->stretches, of->n_stretches);
        of->n_unmodified = thin_stretches(m, of->unmodified, of->n_unmodified);
        of->full = false;
        for (size_t c = 0; c < m->n_channels; c++)
            m->channels[p][c].trace.n = thin_samples(m, &m->channels[p][c].trace);
    }
    for (size_t i = 0; i < m->n_kept; i++)
        if (!m->kept[i].drop)
            m->kept[left++] = m->kept[i];
    m->n_kept = left;
}

bool measure_keep(struct measure *m, int64_t from_ns)
{
    if (!m->kept && !(m->kept = malloc(MEASURE_KEPT * sizeof *m->kept))) {
        m->failed = true;
        return false;
    }
    if (m->turns[m->pass]++ % m->keep_every[m->pass] != 0)
        return false;
    if (crowded(m))
        thin(m);
    if (m->n_kept >= MEASURE_KEPT)
        return false;
    m->kept[m->n_kept++] = (struct measure_kept){.from_ns = from_ns, .pass = m->pass};
    return true;
}
