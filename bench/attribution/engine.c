/* engine.c - the simulated engine: clients ask, wait for the answer, think, and ask again; the engine computes steps of all that
 * decode and of as much of the waiting prompts as fits.
 *
 * The energy of a step is not of the form that the meter assumes (docs/method.md 7.2). It takes the longer of its computing and
 * its reading of memory; computing is padded, memory read in pages; clocks fall under load, and the energy of an operation with
 * the square of the clock; power wanders, and fades after the last step. What a request's part of a step is, is its Shapley value
 * over the true energies of all the smaller steps: each order of arrival is rotated through all its places, so that the cost of
 * being first is shared without chance. */
#include "bench/attribution/engine.h"

#include "lib/base/base.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ORDERS     6
#define NOISE      0.02 /* of power, */
#define NOISE_S    0.05 /* correlated over so long */
#define PROMPT_MAX 6000
#define OUTPUT_MAX 600

const struct machine machines[] = {
    {.name = "gpu",
     .peak_flops = 450e12,
     .bandwidth = 2.6e12,
     .launch_s = 0.6e-3,
     .sequence_s = 0.02e-3,
     .token_flops = 16e9,
     .attention_flops = 0.6e6,
     .weight_bytes = 16e9,
     .cache_bytes = 131e3,
     .idle_w = 75,
     .active_w = 95,
     .compute_w = 480,
     .memory_w = 260,
     .clock_drop = 0.12,
     .clock_s = 0.4,
     .half_tokens = 12,
     .pad_tokens = 8,
     .page_tokens = 16,
     .chunk_tokens = 1024,
     .slots = 48,
     .rise_s = 3e-3,
     .tail_part = 0.08,
     .tail_s = 0.15},
    {.name = "processor",
     .peak_flops = 1.6e12,
     .bandwidth = 80e9,
     .launch_s = 0.3e-3,
     .sequence_s = 0.05e-3,
     .token_flops = 2.6e9,
     .attention_flops = 0.13e6,
     .weight_bytes = 0.9e9,
     .cache_bytes = 66e3,
     .idle_w = 60,
     .active_w = 40,
     .compute_w = 120,
     .memory_w = 45,
     .clock_drop = 0.2,
     .clock_s = 1.0,
     .half_tokens = 0.5,
     .pad_tokens = 4,
     .page_tokens = 256,
     .chunk_tokens = 256,
     .slots = 32,
     .rise_s = 0.3e-3,
     .tail_part = 0.05,
     .tail_s = 0.05},
};
const size_t n_machines = JL_COUNT(machines);

/* ---- chance ---------------------------------------------------------------------------------------------------------- */

static double uniform(struct jl_rng *rng)
{
    return fmax(jl_rng_uniform(rng), 0x1p-53);
}

static double normal(struct jl_rng *rng)
{
    double r = sqrt(-2 * log(uniform(rng)));
    return r * cos(2 * M_PI * uniform(rng));
}

/* ---- energy of a step ------------------------------------------------------------------------------------------------ */

struct sums {
    double tokens, reads, attention; /* tokens computed, tokens of context read, products of both */
    size_t n, prefills;
};

static void add_member(struct sums *x, const struct member *r, const struct machine *m)
{
    double page = (double)m->page_tokens, pages = ceil((r->context + 1) / page) * page;
    x->n++;
    x->prefills += r->prefill > 0;
    x->tokens += r->prefill > 0 ? r->prefill : 1;
    x->reads += pages;
    x->attention += r->prefill > 0 ? r->prefill * (r->context + r->prefill / 2) : r->context;
}

static double padded(const struct sums *x, const struct machine *m)
{
    double pad = (double)m->pad_tokens, small = 1;
    if (x->tokens > pad || x->prefills)
        return ceil(x->tokens / pad) * pad;
    while (small < x->tokens)
        small *= 2;
    return small;
}

/* Net energy and time at that clock. */
static double step_energy(const struct sums *x, const struct machine *m, double clock, double *seconds)
{
    if (!x->n)
        return 0;
    double flops = (padded(x, m) + m->half_tokens) * m->token_flops + x->attention * m->attention_flops;
    double compute_s = flops / (m->peak_flops * clock);
    double memory_s = (m->weight_bytes + x->reads * m->cache_bytes) / m->bandwidth;
    double work_s = fmax(compute_s, memory_s), all_s = work_s + m->launch_s + m->sequence_s * (double)x->n;
    if (seconds)
        *seconds = all_s;
    return m->active_w * all_s + m->compute_w * compute_s * clock * clock + m->memory_w * memory_s;
}

/* The marginal energy of each member over orders of joining. */
static void share_step(const struct machine *m, double clock, struct member *r, size_t n, struct jl_rng *rng)
{
    size_t order[MEMBERS_MAX];
    size_t orders = n > 1 ? ORDERS : 1;
    for (size_t i = 0; i < n; i++)
        r[i].share_j = 0;
    for (size_t k = 0; k < orders; k++) {
        for (size_t i = 0; i < n; i++)
            order[i] = i;
        for (size_t i = n; i > 1; i--) {
            size_t j = jl_rng_below(rng, i), swap = order[i - 1];
            order[i - 1] = order[j];
            order[j] = swap;
        }
        for (size_t turn = 0; turn < n; turn++) {
            struct sums x = {0};
            double before = 0;
            for (size_t i = 0; i < n; i++) {
                struct member *next = &r[order[(i + turn) % n]];
                add_member(&x, next, m);
                double e = step_energy(&x, m, clock, NULL);
                next->share_j += (e - before) / (double)(n * orders);
                before = e;
            }
        }
    }
}

/* ---- the engine at work ---------------------------------------------------------------------------------------------- */

struct client {
    double asks_s;
    size_t request; /* SIZE_MAX: it thinks */
};

struct simulation {
    struct history *h;
    const struct workload *w;
    struct client clients[MEMBERS_MAX];
    size_t n_clients, cap_steps, cap_members;
    size_t running[MEMBERS_MAX], n_running; /* requests, in the order of their coming */
    double now_s, clock, power, noise;
    struct jl_rng rng;
};

static void new_request(struct simulation *s, struct client *c)
{
    struct history *h = s->h;
    const struct workload *w = s->w;
    struct served *r = &h->requests[h->n_requests];
    double prompt = w->prompt * exp(0.9 * normal(&s->rng)) * (uniform(&s->rng) < w->long_part ? 10 : 1);
    double output = w->output * exp(0.7 * normal(&s->rng));
    double kept = uniform(&s->rng) < 0.3 ? 0.4 + 0.5 * uniform(&s->rng) : 0;
    *r = (struct served){.arrived_s = c->asks_s,
                         .prompt = floor(fmin(fmax(prompt, 8), PROMPT_MAX)),
                         .output = (size_t)fmin(fmax(output, 2), OUTPUT_MAX),
                         .first_token = h->n_tokens};
    r->cached = floor(kept * r->prompt);
    r->guess = r->prompt * exp(0.1 * normal(&s->rng));
    h->n_tokens += r->output;
    c->request = h->n_requests++;
}

static void take_those_who_ask(struct simulation *s)
{
    size_t limit = s->n_clients < s->h->machine->slots ? s->n_clients : s->h->machine->slots;
    for (;;) {
        struct client *next = NULL;
        for (size_t i = 0; i < s->n_clients; i++) {
            struct client *c = &s->clients[i];
            if (c->request == SIZE_MAX && c->asks_s <= s->now_s && (!next || c->asks_s < next->asks_s))
                next = c;
        }
        if (!next || s->n_running >= limit || s->h->n_requests >= s->w->requests)
            return;
        new_request(s, next);
        s->running[s->n_running++] = next->request;
    }
}

/* All that decode, then prompts in the order of their coming, until the step is full. */
static size_t gather(struct simulation *s, struct member *r)
{
    double room = (double)s->h->machine->chunk_tokens;
    size_t n = 0;
    for (size_t i = 0; i < s->n_running; i++) {
        const struct served *q = &s->h->requests[s->running[i]];
        if (q->made)
            r[n++] = (struct member){.request = s->running[i], .context = q->prompt + (double)q->made};
    }
    room -= (double)n;
    for (size_t i = 0; i < s->n_running && room >= 1; i++) {
        const struct served *q = &s->h->requests[s->running[i]];
        double left = q->prompt - q->cached - (double)q->done, take = fmin(left, room);
        if (q->made || take < 1)
            continue;
        r[n++] = (struct member){.request = s->running[i], .prefill = take, .context = q->cached + (double)q->done};
        room -= take;
    }
    return n;
}

static bool reserve(struct simulation *s, size_t n)
{
    struct history *h = s->h;
    if (h->n_steps == s->cap_steps) {
        s->cap_steps = s->cap_steps ? 2 * s->cap_steps : 4096;
        struct step *more = realloc(h->steps, s->cap_steps * sizeof *more);
        if (!more)
            return false;
        h->steps = more;
    }
    if (h->n_members + n > s->cap_members) {
        s->cap_members = s->cap_members ? 2 * s->cap_members : 65536;
        struct member *more = realloc(h->members, s->cap_members * sizeof *more);
        if (!more)
            return false;
        h->members = more;
    }
    return true;
}

static void leave(struct simulation *s, size_t request)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->n_running; i++)
        if (s->running[i] != request)
            s->running[kept++] = s->running[i];
    s->n_running = kept;
    for (size_t i = 0; i < s->n_clients; i++)
        if (s->clients[i].request == request)
            s->clients[i] = (struct client){.asks_s = s->now_s - s->w->think_s * log(uniform(&s->rng)), .request = SIZE_MAX};
}

/* Tokens leave the engine one after another, and take their way to the proxy. */
static void give_tokens(struct simulation *s, const struct member *r, size_t n)
{
    double out_s = s->now_s + 0.2e-3;
    for (size_t i = 0; i < n; i++) {
        struct served *q = &s->h->requests[r[i].request];
        q->energy_j += r[i].share_j;
        if (r[i].prefill > 0) {
            q->done += (size_t)r[i].prefill;
            if ((double)q->done + q->cached < q->prompt)
                continue;
        }
        out_s += 0.015e-3 - 0.02e-3 * log(uniform(&s->rng));
        double t = out_s - 0.1e-3 * log(uniform(&s->rng));
        double *token = &s->h->token_s[q->first_token + q->made];
        *token = q->made && t < token[-1] ? token[-1] : t;
        if (++q->made == q->output) {
            q->ended_s = *token + 0.1e-3;
            leave(s, r[i].request);
        }
    }
}

/* The clock follows the power of the last seconds; power wanders. */
static void drift(struct simulation *s, double seconds, double power)
{
    const struct machine *m = s->h->machine;
    double full = m->active_w + m->compute_w + 0.5 * m->memory_w, k = 1 - exp(-seconds / m->clock_s);
    s->power += k * (power - s->power);
    s->clock = 1 - m->clock_drop * fmin(fmax((s->power / full - 0.35) / 0.5, 0), 1);
    double keep = exp(-seconds / NOISE_S);
    s->noise = keep * s->noise + sqrt(1 - keep * keep) * NOISE * normal(&s->rng);
}

static bool compute_step(struct simulation *s)
{
    struct history *h = s->h;
    if (!reserve(s, MEMBERS_MAX))
        return false;
    struct member *r = &h->members[h->n_members];
    size_t n = gather(s, r);
    struct sums x = {0};
    double seconds;
    for (size_t i = 0; i < n; i++)
        add_member(&x, &r[i], h->machine);
    double e = step_energy(&x, h->machine, s->clock, &seconds);
    share_step(h->machine, s->clock, r, n, &s->rng);
    drift(s, seconds, e / seconds);
    for (size_t i = 0; i < n; i++)
        r[i].share_j *= 1 + s->noise;
    h->steps[h->n_steps++] = (struct step){
        .from_s = s->now_s, .to_s = s->now_s + seconds, .energy_j = e * (1 + s->noise), .n = n, .first = h->n_members};
    h->n_members += n;
    s->now_s += seconds;
    give_tokens(s, r, n);
    return true;
}

/* Nobody is there: until the next one asks. */
static void wait(struct simulation *s)
{
    double next = INFINITY;
    for (size_t i = 0; i < s->n_clients; i++)
        if (s->clients[i].request == SIZE_MAX)
            next = fmin(next, s->clients[i].asks_s);
    if (next > s->now_s) {
        drift(s, next - s->now_s, 0);
        s->now_s = next;
    }
}

/* Their number goes up and down between 1 and 32, each for 40 requests. */
static void set_clients(struct simulation *s)
{
    static const size_t levels[] = {1, 4, 16, 32, 8, 2};
    size_t n = s->w->concurrent ? s->w->concurrent : levels[s->h->n_requests / 40 % JL_COUNT(levels)];
    while (s->n_clients < n)
        s->clients[s->n_clients++] =
            (struct client){.asks_s = s->now_s - s->w->think_s * log(uniform(&s->rng)), .request = SIZE_MAX};
    while (s->n_clients > n && s->clients[s->n_clients - 1].request == SIZE_MAX)
        s->n_clients--;
}

bool history_make(struct history *h, const struct machine *m, const struct workload *w)
{
    *h = (struct history){.machine = m};
    h->requests = calloc(w->requests, sizeof *h->requests);
    h->token_s = calloc(w->requests * OUTPUT_MAX, sizeof *h->token_s);
    struct simulation s = {.h = h, .w = w, .clock = 1, .rng = {w->seed}, .now_s = 0.5};
    if (!h->requests || !h->token_s)
        return false;
    for (;;) {
        set_clients(&s);
        take_those_who_ask(&s);
        if (s.n_running) {
            if (!compute_step(&s))
                return false;
        } else if (h->n_requests < w->requests) {
            wait(&s);
        } else {
            break;
        }
    }
    h->end_s = s.now_s + 1;
    return true;
}

void history_release(struct history *h)
{
    free(h->steps);
    free(h->members);
    free(h->requests);
    free(h->token_s);
    *h = (struct history){0};
}

/* ---- the sensor
 * ------------------------------------------------------------------------------------------------------------------
 */

/* Net energy until t: steps, and what fades after each that nothing follows. */
struct integral {
    const struct history *h;
    size_t i;
    double before_j;
};

static double fading(const struct history *h, size_t i, double t)
{
    const struct step *a = &h->steps[i];
    double power = a->energy_j / (a->to_s - a->from_s), until = i + 1 < h->n_steps ? fmin(t, h->steps[i + 1].from_s) : t;
    return until > a->to_s
               ? h->machine->tail_part * power * h->machine->tail_s * (1 - exp((a->to_s - until) / h->machine->tail_s))
               : 0;
}

static double energy_until(struct integral *x, double t)
{
    const struct history *h = x->h;
    while (x->i < h->n_steps && (x->i + 1 < h->n_steps ? h->steps[x->i + 1].from_s : INFINITY) <= t) {
        x->before_j += h->steps[x->i].energy_j + fading(h, x->i, INFINITY);
        x->i++;
    }
    if (x->i >= h->n_steps || t <= h->steps[x->i].from_s)
        return x->before_j;
    const struct step *a = &h->steps[x->i];
    double part = fmin(1, (t - a->from_s) / (a->to_s - a->from_s));
    return x->before_j + part * a->energy_j + fading(h, x->i, t);
}

bool history_windows(const struct history *h, const struct sensor_spec *s, struct seen_window **out, size_t *n)
{
    size_t cap = (size_t)(h->end_s / s->period_s) + 2;
    struct integral x = {.h = h};
    struct jl_rng rng = {s->seed};
    double lag_error = s->lag_error_s * normal(&rng), before_s = 0, before_j = 0;
    *n = 0;
    *out = calloc(cap, sizeof **out);
    for (size_t k = 1; *out && k < cap; k++) {
        double t = (double)k * s->period_s + s->jitter_s * (2 * uniform(&rng) - 1);
        double e = energy_until(&x, t + lag_error - h->machine->rise_s); /* the meter believes it to be of t */
        e = floor(e / s->quantum_j) * s->quantum_j;
        (*out)[(*n)++] = (struct seen_window){before_s, t, (e - before_j) * (1 + s->noise * normal(&rng))};
        before_s = t;
        before_j = e;
    }
    return *out != NULL;
}
