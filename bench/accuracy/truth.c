/* truth.c - power steps with exponential edges and correlated noise, integrated in closed form.
 *
 * A step of height h at t0 with time constant r has drawn h (x - r (1 - exp(-x/r))) by the time x after t0. The noise is an
 * autoregressive series of constant pieces, so that its integral is a broken line. */
#include "bench/accuracy/truth.h"

#include <math.h>
#include <stdlib.h>

#define GRID_S 2e-3 /* a piece of noise: short beside its correlation of 20 ms and more */

/* ---- chance ----------------------------------------------------------------------------------------------------------- */

struct chance chance_of(uint64_t seed, const char *word, uint64_t number)
{
    struct jl_rng r = {seed};
    uint64_t mixed = jl_rng_next(&r);
    for (; *word; word++) {
        r.s = mixed ^ (unsigned char)*word;
        mixed = jl_rng_next(&r);
    }
    r.s = mixed ^ number;
    return (struct chance){.rng = {jl_rng_next(&r)}};
}

double uniform(struct chance *c, double from, double to)
{
    return from + (to - from) * jl_rng_uniform(&c->rng);
}

/* Box and Muller. */
double normal(struct chance *c, double mean, double sd)
{
    if (c->has_spare) {
        c->has_spare = false;
        return mean + sd * c->spare;
    }
    double r = sqrt(-2 * log(1 - jl_rng_uniform(&c->rng))), angle = 2 * 3.14159265358979323846 * jl_rng_uniform(&c->rng);
    c->spare = r * sin(angle);
    c->has_spare = true;
    return mean + sd * r * cos(angle);
}

double exponential(struct chance *c, double mean)
{
    return -mean * log(1 - jl_rng_uniform(&c->rng));
}

/* ---- power ------------------------------------------------------------------------------------------------------------ */

bool truth_step(struct truth *t, double at_s, double w)
{
    if (t->n == TRUTH_STEPS_MAX)
        return false;
    t->steps[t->n++] = (struct truth_step){at_s, w};
    return true;
}

bool truth_noise(struct truth *t, double end_s, double share, double tau_s, struct chance *c)
{
    double kept = exp(-GRID_S / tau_s), sd = sqrt(1 - kept * kept), x = normal(c, 0, 1), sum = 0;
    size_t step = 0;
    t->n_noise = (size_t)(end_s / GRID_S) + 2;
    t->noise = malloc(t->n_noise * sizeof(*t->noise));
    if (!t->noise)
        return false;
    for (size_t i = 0; i < t->n_noise; i++) {
        double at = (double)i * GRID_S;
        while (step + 1 < t->n && t->steps[step + 1].t_s <= at)
            step++;
        t->noise[i] = sum;
        sum += x * share * t->steps[step].w * GRID_S;
        x = kept * x + normal(c, 0, sd);
    }
    return true;
}

void truth_forget_noise(struct truth *t)
{
    free(t->noise);
    t->noise = NULL;
    t->n_noise = 0;
}

/* Integral of a rise from 0 to 1 that began x ago. */
static double risen(double x, double r)
{
    return x > 40 * r ? x - r : x - r * (1 - exp(-x / r));
}

static double noise_energy(const struct truth *t, double at_s)
{
    double place = at_s / GRID_S;
    if (!t->noise || place <= 0)
        return 0;
    size_t i = (size_t)place;
    if (i + 1 >= t->n_noise)
        return t->noise[t->n_noise - 1];
    return t->noise[i] + (t->noise[i + 1] - t->noise[i]) * (place - (double)i);
}

double truth_energy(const struct truth *t, double at_s)
{
    double level = t->steps[0].w, sum = level * at_s;
    for (size_t i = 1; i < t->n && t->steps[i].t_s < at_s; i++) {
        double h = t->steps[i].w - level, x = at_s - t->steps[i].t_s;
        double share = h > 0 ? t->rise_share : t->fall_share, late = h > 0 ? t->rise_late : t->fall_late;
        sum += h * (1 - share) * risen(x, t->ramp_s);
        if (share > 0)
            sum += h * share * risen(x, late);
        level = t->steps[i].w;
    }
    return sum + noise_energy(t, at_s);
}

void truth_release(struct truth *t)
{
    free(t->noise);
    *t = (struct truth){0};
}
