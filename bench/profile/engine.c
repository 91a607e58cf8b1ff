/* engine.c - tokens, layers and repeats of a simulated engine. Power wanders by 2 % within 50 ms and drifts by 3 % within
 * minutes, as on real machines, and follows its cause by an exponential; its integral is exact. */
#include "bench/profile/engine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define JITTER   0.02 /* of the time of a stretch */
#define WANDER   0.02 /* of the power */
#define WANDER_S 0.05
#define GRID_S   0.005
#define DRIFT    0.03
#define DRIFT_S  60.0
#define TURN_S   6.283185307179586

const char *const kind_names[KINDS] = {"attention", "ffn", "head", "norm", "rest"};

/* Times of the first as measured on a CPU with one thread; the others are the shapes of what a GPU does and of a small model. */
const struct model models[] = {
    {"1b", "1B on a CPU", 16, 0.074, {.169, .610, .200, .004, .017}, {90, 300, 180, 75, 40}},
    {"small", "small model, costly norms", 12, 0.024, {.29, .45, .15, .06, .05}, {110, 330, 200, 80, 50}},
    {"apart", "powers eightfold apart, 16 layers", 16, 0.050, {.25, .40, .20, .10, .05}, {60, 400, 150, 50, 30}},
    {"3b", "3B on a fast GPU", 28, 0.012, {.27, .53, .12, .045, .035}, {120, 390, 260, 100, 60}},
};
const size_t n_models = JL_COUNT(models);

/* ---- building ---------------------------------------------------------------------------------------------------------- */

struct maker {
    struct run *r;
    const struct model *m;
    const struct conduct *c;
    struct chance chance;
    double t_s, wander, phase, drift_phase;
    double first_j[KINDS], first_s[KINDS], plain_s[KINDS];
};

static bool room(void **items, size_t n, size_t *have, size_t each)
{
    if (n < *have)
        return true;
    size_t want = *have ? 2 * *have : 4096;
    void *more = realloc(*items, want * each);
    if (!more)
        return false;
    *items = more;
    *have = want;
    return true;
}

static void ask(struct maker *k, double w)
{
    struct run *r = k->r;
    if (!room((void **)&r->knots, r->n_knots, &r->room_knots, sizeof *r->knots)) {
        r->failed = true;
        return;
    }
    struct knot x = {.t_s = k->t_s, .w = w, .follows_w = w};
    if (r->n_knots) {
        const struct knot *last = &r->knots[r->n_knots - 1];
        double d = x.t_s - last->t_s, kept = exp(-d / r->rise_s);
        x.follows_w = last->w + (last->follows_w - last->w) * kept;
        x.energy_j = last->energy_j + last->w * d + (last->follows_w - last->w) * r->rise_s * (1 - kept);
    }
    r->knots[r->n_knots++] = x;
}

/* How the power of everything differs from its mean just now. */
static double factor(struct maker *k)
{
    while (k->phase <= k->t_s) {
        double kept = exp(-GRID_S / WANDER_S);
        k->wander = kept * k->wander + normal(&k->chance, 0, WANDER * sqrt(1 - kept * kept));
        k->phase += GRID_S;
    }
    return 1 + k->wander + DRIFT * sin(TURN_S * k->t_s / DRIFT_S + k->drift_phase);
}

/* One stretch; repeated: it counts for nothing but its power. */
static void stretch(struct maker *k, enum kind kind, double mean_s, bool repeated, bool plain)
{
    struct run *r = k->r;
    double d = mean_s * fmax(0.2, normal(&k->chance, 1, JITTER)) * (repeated ? k->c->repeat_time : 1);
    double gross_w = (IDLE_W + k->m->net_w[kind] * (repeated ? k->c->repeat_power : 1)) * factor(k);
    ask(k, gross_w);
    if (kind != REST) {
        if (!room((void **)&r->stretches, r->n_stretches, &r->room_stretches, sizeof *r->stretches)) {
            r->failed = true;
            return;
        }
        r->stretches[r->n_stretches++] = (struct joulet_stretch){kind, k->t_s, k->t_s + d};
    }
    if (!repeated) {
        k->first_j[kind] += (gross_w - IDLE_W) * d;
        k->first_s[kind] += d;
    }
    if (plain)
        k->plain_s[kind] += d;
    k->t_s += d;
}

/* All layers, then repeats of one kind over all layers in turn. */
static void token(struct maker *k, size_t repeat, int times)
{
    const struct model *m = k->m;
    bool plain = times == 0;
    double layer = 1.0 / m->layers, T = m->token_s;
    stretch(k, REST, T * m->share[REST] / 2, false, plain);
    for (int l = 0; l < m->layers; l++) {
        stretch(k, NORM, T * m->share[NORM] * layer / 2, false, plain);
        stretch(k, ATTENTION, T * m->share[ATTENTION] * layer, false, plain);
        stretch(k, NORM, T * m->share[NORM] * layer / 2, false, plain);
        stretch(k, FFN, T * m->share[FFN] * layer, false, plain);
    }
    stretch(k, HEAD, T * m->share[HEAD], false, plain);
    for (int i = 0; i < times; i++) {
        int each = repeat == HEAD ? 1 : repeat == NORM ? 2 * m->layers : m->layers;
        for (int l = 0; l < each; l++)
            stretch(k, (enum kind)repeat, T * m->share[repeat] / each, true, false);
    }
    stretch(k, REST, T * m->share[REST] / 2, false, plain);
    k->r->tokens++;
    k->r->plain_tokens += plain;
}

/* ---- conduct ----------------------------------------------------------------------------------------------------------- */

static void plain_tokens(struct maker *k, double until_s)
{
    while (k->t_s < until_s && !k->r->failed)
        token(k, 0, 0);
}

static void blocks(struct maker *k, double until_s)
{
    const struct joulet_lockin *p = k->c->lockin;
    struct run *r = k->r;
    for (uint64_t b = 0; k->t_s < until_s && !r->failed; b++) {
        size_t order[KINDS + 1], n = joulet_lockin_block(p, KINDS, k->c->seed, b, order);
        for (size_t i = 0; i < n && k->t_s < until_s; i++) {
            double from = k->t_s;
            bool repeats = order[i] < KINDS;
            do
                token(k, order[i], repeats ? p->repeats[order[i]] : 0);
            while (k->t_s - from < p->segment_s && !r->failed);
            if (!repeats && r->n_unmodified < JL_COUNT(r->unmodified))
                r->unmodified[r->n_unmodified++] = (struct joulet_stretch){0, from, k->t_s};
        }
    }
}

bool run_make(struct run *r, const struct model *m, const struct conduct *c)
{
    struct maker k = {.r = r, .m = m, .c = c, .chance = chance_of(c->seed, m->name, 1)};
    *r = (struct run){.rise_s = c->rise_s};
    k.drift_phase = uniform(&k.chance, 0, TURN_S);
    ask(&k, IDLE_W);
    k.t_s = c->start_s;
    if (c->lockin)
        blocks(&k, c->start_s + c->length_s);
    else
        plain_tokens(&k, c->start_s + c->length_s);
    r->end_s = k.t_s;
    ask(&k, IDLE_W);
    for (int i = 0; i < KINDS && r->plain_tokens; i++) {
        r->token_s[i] = k.plain_s[i] / (double)r->plain_tokens;
        r->true_j[i] = k.first_s[i] > 0 ? k.first_j[i] / k.first_s[i] * r->token_s[i] : 0;
    }
    return !r->failed && r->plain_tokens > 0;
}

void run_release(struct run *r)
{
    free(r->knots);
    free(r->stretches);
    r->knots = NULL;
    r->stretches = NULL;
}

double run_energy(void *run, double t_s)
{
    const struct run *r = run;
    size_t lo = 0, hi = r->n_knots;
    if (t_s <= r->knots[0].t_s)
        return r->knots[0].w * (t_s - r->knots[0].t_s);
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        *(r->knots[mid].t_s <= t_s ? &lo : &hi) = mid;
    }
    const struct knot *k = &r->knots[lo];
    double d = t_s - k->t_s;
    return k->energy_j + k->w * d + (k->follows_w - k->w) * r->rise_s * (1 - exp(-d / r->rise_s));
}
