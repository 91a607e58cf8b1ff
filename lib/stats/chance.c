/* chance.c - what is drawn: orders and resamples (docs/method.md 5.2). The seed is the caller's, and recorded. */
#include "lib/stats/series.h"
#include "lib/stats/stats.h"

#include <math.h>
#include <stdlib.h>

void jl_shuffle(size_t *order, size_t n, struct jl_rng *rng)
{
    for (size_t i = n; i > 1; i--) {
        size_t k = (size_t)jl_rng_below(rng, i), keep = order[i - 1];
        order[i - 1] = order[k];
        order[k] = keep;
    }
}

static struct jl_interval middle_95(double value, double *drawn, size_t n)
{
    jl_sort(drawn, n);
    return (struct jl_interval){value, jl_quantile(drawn, n, 0.025), jl_quantile(drawn, n, 0.975)};
}

bool jl_bootstrap(const double *x, size_t n, size_t draws, uint64_t seed, struct jl_interval *median, struct jl_interval *mean)
{
    struct jl_rng rng = {.s = seed};
    double *sample = malloc((n ? n : 1) * sizeof *sample), *medians = calloc(draws ? draws : 1, sizeof *medians),
           *means = calloc(draws ? draws : 1, sizeof *means);
    bool ok = sample && medians && means && n > 0;
    for (size_t d = 0; ok && d < draws; d++) {
        for (size_t i = 0; i < n; i++)
            sample[i] = x[jl_rng_below(&rng, n)];
        means[d] = jl_mean(sample, n);
        medians[d] = jl_median(sample, n);
    }
    for (size_t i = 0; ok && i < n; i++)
        sample[i] = x[i];
    if (ok && mean)
        *mean = middle_95(jl_mean(x, n), means, draws);
    if (ok && median)
        *median = middle_95(jl_median(sample, n), medians, draws);
    free(sample);
    free(medians);
    free(means);
    return ok;
}
