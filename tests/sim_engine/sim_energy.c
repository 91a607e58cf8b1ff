/* sim_energy.c - time and power of a simulated engine (sim_energy.h). */
#include "tests/sim_engine/sim_energy.h"

#include <math.h>

#define SCORE_BYTES 12 /* without flash attention a score is written, read for the softmax and read again, 4 bytes each */

static double draw(struct jl_rng *r, double least, double most)
{
    return least + (most - least) * jl_rng_uniform(r);
}

/* As draw, alike at every scale. */
static double scale(struct jl_rng *r, double least, double most)
{
    return least * pow(most / least, jl_rng_uniform(r));
}

void sim_machine_draw(struct sim_machine *m, struct sim_model *model, uint64_t seed)
{
    struct jl_rng r = {seed};
    m->cores = 4 + (int)jl_rng_below(&r, 13);
    m->bytes_per_s = scale(&r, 2e10, 2e11);
    m->core_flops = scale(&r, 1.5e10, 1.5e11);
    m->saturation = draw(&r, 0.3, 1) * m->cores;
    m->overlap = scale(&r, 2, 20);
    m->idle_w = draw(&r, 5, 60);
    m->core_w = scale(&r, 2, 12);
    m->waiting = draw(&r, 0.5, 0.95);
    m->second_w = draw(&r, 0.05, 0.4);
    m->second_gain = draw(&r, 0, 0.04);
    m->crowding = draw(&r, 0, 0.3);
    m->base_w = scale(&r, 1, 15);
    m->byte_j = scale(&r, 3e-11, 2e-10);
    m->flop_j = scale(&r, 2e-13, 2e-12);
    m->clock_power = draw(&r, 2, 3);
    m->flash_compute = draw(&r, 0.6, 1.2);
    m->unpack = draw(&r, 0, 0.15);
    model->params = scale(&r, 5e8, 8e9);
    double layers = 12 + (double)jl_rng_below(&r, 24), width = sqrt(model->params / layers / 12);
    model->cache_width = 2 * layers * width / (double)(1 + jl_rng_below(&r, 4)); /* some share keys and values among heads */
    model->scores = layers * width / 128;
}

struct moved {
    double weights, cache, scores; /* bytes */
    double flop, scores_flop;
};

static double time_of(const struct sim_machine *m, const struct sim_settings *s, double bytes, double flop, double clock)
{
    double working = fmin(s->threads, m->cores), more = fmax(s->threads - m->cores, 0) / m->cores;
    double rate = m->bytes_per_s * fmin(1, working / m->saturation) * (1 + m->second_gain * fmin(more, 1));
    double memory_s = bytes / rate, compute_s = flop / (working * m->core_flops * (1 + m->second_gain * fmin(more, 1)) * clock);
    return pow(pow(memory_s, m->overlap) + pow(compute_s, m->overlap), 1 / m->overlap) * (1 + m->crowding * more);
}

/* Net power while `s` seconds pass in which `flop` are computed at a clock. */
static double power_of(const struct sim_machine *m, const struct sim_settings *set, const struct moved *x, double s, double clock)
{
    double working = fmin(set->threads, m->cores), second = fmin(fmax(set->threads - m->cores, 0), m->cores);
    double busy = fmin(1, (x->flop + x->scores_flop) / (working * m->core_flops * clock) / s);
    double core_w = m->core_w * (busy + (1 - busy) * m->waiting) * pow(clock, m->clock_power);
    return m->base_w + working * core_w + second * core_w * m->second_w +
           (m->byte_j * (x->weights + x->cache + x->scores) + m->flop_j * (x->flop + x->scores_flop)) / s;
}

/* The highest clock that keeps the limit. */
static double clock_of(const struct sim_machine *m, const struct sim_settings *s, const struct moved *x)
{
    double low = 0.3, high = 1;
    double bytes = x->weights + x->cache + x->scores, flop = x->flop + x->scores_flop;
    if (!(s->limit_w > 0) || m->idle_w + power_of(m, s, x, time_of(m, s, bytes, flop, 1), 1) <= s->limit_w)
        return 1;
    for (int i = 0; i < 50; i++) {
        double mid = (low + high) / 2;
        bool over = m->idle_w + power_of(m, s, x, time_of(m, s, bytes, flop, mid), mid) > s->limit_w;
        *(over ? &high : &low) = mid;
    }
    return low;
}

static struct sim_cost cost_of(const struct sim_machine *m, const struct sim_settings *s, const struct moved *x)
{
    double clock = clock_of(m, s, x), bytes = x->weights + x->cache + x->scores, flop = x->flop + x->scores_flop;
    struct sim_cost c = {.s = time_of(m, s, bytes, flop, clock),
                         .bytes = x->weights + x->cache,
                         .weight_bytes = x->weights,
                         .cache_bytes = x->cache,
                         .flop = flop};
    c.j = power_of(m, s, x, c.s, clock) * c.s;
    c.scores_s = c.s - time_of(m, s, x->weights, x->flop, clock);
    return c;
}

/* `rows` new tokens in all, each of which sees `context`; weights are read once, the cache once for each sequence. */
static struct sim_cost pass(const struct sim_machine *m, const struct sim_model *model, const struct sim_settings *s, double rows,
                            double sequences, double context)
{
    double weights = model->params * s->weight_bits / 8, scores = rows * context * model->scores;
    struct moved x = {.weights = weights,
                      .cache = sequences * context * model->cache_width * s->cache_bits / 8,
                      .scores = s->flash ? 0 : SCORE_BYTES * scores,
                      .flop = 2 * model->params * rows * (1 + (s->weight_bits < 16 ? m->unpack : 0)),
                      .scores_flop = (2 * rows * context * model->cache_width + 5 * scores) * (s->flash ? m->flash_compute : 1) *
                                     (1 + (s->cache_bits < 16 ? m->unpack : 0))};
    return cost_of(m, s, &x);
}

struct sim_cost sim_step(const struct sim_machine *m, const struct sim_model *model, const struct sim_settings *s, double context)
{
    return pass(m, model, s, s->at_once, s->at_once, context);
}

struct sim_cost sim_prefill(const struct sim_machine *m, const struct sim_model *model, const struct sim_settings *s,
                            double tokens)
{
    return pass(m, model, s, tokens, 1, tokens / 2);
}

struct sim_cost sim_decode(const struct sim_machine *m, const struct sim_model *model, const struct sim_settings *s,
                           double prompt, double answer)
{
    struct sim_cost sum = {0};
    int pieces = 16; /* the context grows: each piece at its mean */
    for (int i = 0; i < pieces; i++) {
        struct sim_cost c = sim_step(m, model, s, prompt + answer * (i + 0.5) / pieces);
        double steps = answer / pieces;
        sum.s += steps * c.s;
        sum.j += steps * c.j;
        sum.bytes += steps * c.bytes;
        sum.weight_bytes += steps * c.weight_bytes;
        sum.cache_bytes += steps * c.cache_bytes;
        sum.flop += steps * c.flop;
        sum.scores_s += steps * c.scores_s;
    }
    return sum;
}
