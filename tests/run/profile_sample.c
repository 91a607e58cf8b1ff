/* profile_sample.c - profiles made from shapes: decoding moves each weight once a token at 20 GB/s, prefill computes at 400
 * GFLOP/s, attention draws 20 W above idle, feed-forward 30 W, the head 25 W. Norms are too small to resolve and get an upper
 * limit. */
#include "tests/run/profile_sample.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PROMPT = 64, TOKENS = 100, TRACE = 240 };
static const double bytes_per_s = 20e9, flop_per_s = 400e9, idle_w = 12;

struct shape {
    const char *name, *title, *quantisation;
    int layers, layers_of;
    double hidden, ffn, vocabulary, kv_share, bytes_per_weight, parameters;
    int experts, used;
};

static const struct shape shapes[PROFILE_SAMPLES] = {
    [PROFILE_DENSE] = {"dense", "llama-1b", "Q4_0", 16, 16, 2048, 8192, 128256, 0.25, 0.5625, 1.236e9, 0, 0},
    [PROFILE_MOE] = {"moe", "mixture-8x", "Q8_0", 6, 6, 1024, 3584, 32000, 0.25, 1.0625, 5.7e8, 8, 2},
    [PROFILE_LARGE] = {"large", "llama-3.3-70b", "Q4_0", 4, 80, 8192, 28672, 128256, 0.125, 0.5625, 5.5e9, 0, 0},
    [PROFILE_TIME] = {"time", "llama-1b", "F16", 16, 16, 2048, 8192, 128256, 0.25, 2, 1.236e9, 0, 0},
    [PROFILE_STAGES] = {"stages", "llama-1b", "Q4_0", 16, 16, 2048, 8192, 128256, 0.25, 0.5625, 1.236e9, 0, 0},
    [PROFILE_EMPTY] = {"empty", NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
};

const char *profile_sample_name(enum profile_sample s)
{
    return shapes[s].name;
}

/* Where a row belongs and what it costs. */
struct work {
    const char *phase, *component, *part;
    int64_t layer;
    double weights, watts, tokens;
    bool limit;
};

static void add_work(struct run_profile *p, const struct shape *s, const struct work *w)
{
    struct run_profile_row r = {.layer = w->layer, .joules = NAN, .joules_pm = NAN, .limit_j = NAN};
    bool decode = !strcmp(w->phase, "decode");
    snprintf(r.phase, sizeof r.phase, "%s", w->phase);
    snprintf(r.component, sizeof r.component, "%s", w->component);
    snprintf(r.part, sizeof r.part, "%s", w->part);
    r.flop = 2 * w->weights * w->tokens;
    r.bytes = w->weights * s->bytes_per_weight * (decode ? w->tokens : 1);
    r.seconds = decode ? r.bytes / bytes_per_s : r.flop / flop_per_s;
    double j = r.seconds * w->watts * (1 + 0.002 * (double)(w->layer < 0 ? 0 : w->layer)); /* later layers a little more */
    if (w->limit)
        r.limit_j = 2 * j;
    else
        r.joules = j, r.joules_pm = 0.03 * j;
    run_profile_add_row(p, &r);
}

static void add_parts(struct run_profile *p, const struct shape *s, struct work w, const char *const *parts, const double *shares)
{
    double all = w.weights;
    for (int i = 0; parts[i]; i++) {
        w.part = parts[i];
        w.weights = all * shares[i];
        add_work(p, s, &w);
    }
}

static void add_layer(struct run_profile *p, const struct shape *s, const char *phase, double tokens, int layer)
{
    static const char *const attention[] = {"qkv", "rope", "kv_write", "flash", "output", NULL};
    static const double attention_shares[] = {0.6, 0.01, 0.01, 0.05, 0.33};
    static const char *const experts[] = {"router", "experts", NULL};
    static const double expert_shares[] = {0.01, 0.99};
    double h = s->hidden, ffn = 3 * h * s->ffn * (s->experts ? s->used : 1);
    struct work w = {phase, "attention_norm", "", layer, h, 15, tokens, true};
    add_work(p, s, &w);
    w = (struct work){phase, "attention", "", layer, (2 + 2 * s->kv_share) * h * h, 20, tokens, false};
    add_work(p, s, &w);
    if (s->experts)
        add_parts(p, s, w, attention, attention_shares);
    w = (struct work){phase, "ffn_norm", "", layer, h, 15, tokens, true};
    add_work(p, s, &w);
    w = (struct work){phase, "ffn", "", layer, ffn, 30, tokens, false};
    add_work(p, s, &w);
    if (s->experts)
        add_parts(p, s, w, experts, expert_shares);
}

static void add_components(struct run_profile *p, const struct shape *s, const char *phase, double tokens)
{
    struct work w = {phase, "embedding", "", -1, s->hidden, 15, tokens, true};
    add_work(p, s, &w);
    for (int i = 0; i < s->layers; i++)
        add_layer(p, s, phase, tokens, i);
    w = (struct work){phase, "output_norm", "", -1, s->hidden, 15, tokens, true};
    add_work(p, s, &w);
    /* Prefill asks for the logits of its last token alone. */
    w = (struct work){phase, "head", "", -1, s->hidden * s->vocabulary, 25, strcmp(phase, "decode") ? 1 : tokens, false};
    add_work(p, s, &w);
}

/* Components' sums, or `seconds` and `joules` where there are none. */
static void add_phase(struct run_profile *p, const char *name, int64_t tokens, int64_t steps, double seconds, double joules)
{
    struct run_profile_row sum = {.seconds = NAN, .flop = 0, .bytes = 0};
    struct run_profile_phase x = {.tokens = tokens,
                                  .steps = steps,
                                  .limit_j = NAN,
                                  .flop = NAN,
                                  .bytes = NAN,
                                  .least_s = NAN,
                                  .scaled_joules = NAN,
                                  .scaled_joules_pm = NAN,
                                  .scaled_seconds = NAN};
    double known = 0;
    for (size_t i = 0; i < p->n_rows; i++) {
        const struct run_profile_row *r = &p->rows[i];
        if (strcmp(r->phase, name) || r->part[0])
            continue;
        sum.seconds = (isnan(sum.seconds) ? 0 : sum.seconds) + r->seconds;
        sum.flop += r->flop;
        sum.bytes += r->bytes;
        known += isnan(r->joules) ? r->limit_j / 4 : r->joules;
    }
    snprintf(x.name, sizeof x.name, "%s", name);
    bool parts = !isnan(sum.seconds);
    x.seconds = parts ? sum.seconds : seconds;
    x.joules = parts ? known : joules;
    x.joules_pm = 0.02 * x.joules;
    if (parts) {
        x.flop = sum.flop;
        x.bytes = sum.bytes;
        x.memory_bound = !strcmp(name, "decode");
        x.least_s = fmax(sum.flop / flop_per_s, sum.bytes / bytes_per_s) * 0.9;
    }
    run_profile_add_phase(p, &x);
}

static void add_trace(struct run_profile *p)
{
    static const struct {
        const char *stage;
        double share, w;
    } stages[] = {{"idle", 0.15, 0},    {"load", 0.15, 9},   {"tokenise", 0.01, 6}, {"prefill", 0.2, 38},
                  {"decode", 0.36, 26}, {"sample", 0.01, 8}, {"idle", 0.12, 0}};
    double t = 0, dt = p->seconds / TRACE;
    for (size_t i = 0; i < JL_COUNT(stages); i++) {
        double end = t + stages[i].share * p->seconds;
        run_profile_add_span(p, stages[i].stage, t, end);
        t = end;
    }
    for (int i = 1; i <= TRACE; i++) {
        const char *stage = run_profile_stage(p, (i - 0.5) * dt);
        double w = idle_w;
        for (size_t k = 0; k < JL_COUNT(stages); k++)
            if (!strcmp(stages[k].stage, stage))
                w = idle_w + stages[k].w * (1 + 0.05 * (i % 3 - 1));
        run_profile_add_sample(p, i * dt, w);
    }
}

static void add_points(struct run_profile *p, double token_s, double token_j)
{
    static const double positions[] = {128, 512, 2048, 4096}, batches[] = {1, 2, 4, 8}, prompts[] = {32, 128, 512};
    struct run_profile_point x = {.tokens = 100, .limit_j = NAN};
    snprintf(x.phase, sizeof x.phase, "decode");
    for (size_t i = 0; i < JL_COUNT(positions); i++) {
        snprintf(x.series, sizeof x.series, "position");
        x.x = positions[i];
        x.seconds = token_s * (1 + positions[i] / 16384);
        x.joules = token_j * (1 + positions[i] / 16384);
        x.joules_pm = 0.02 * x.joules;
        run_profile_add_point(p, &x);
    }
    for (size_t i = 0; i < JL_COUNT(batches); i++) {
        snprintf(x.series, sizeof x.series, "batch");
        x.x = batches[i];
        x.seconds = token_s / (0.5 + 0.5 * batches[i]);
        x.joules = token_j / (0.5 + 0.5 * batches[i]);
        x.joules_pm = 0.03 * x.joules;
        run_profile_add_point(p, &x);
    }
    snprintf(x.phase, sizeof x.phase, "prefill");
    for (size_t i = 0; i < JL_COUNT(prompts); i++) {
        snprintf(x.series, sizeof x.series, "prompt");
        x.x = prompts[i];
        x.seconds = token_s / 8;
        x.joules = token_j * (0.1 + 3 / prompts[i]);
        x.joules_pm = 0.04 * x.joules;
        run_profile_add_point(p, &x);
    }
}

static void add_advice(struct run_profile *p)
{
    struct run_profile_advice a = {.saving = 0.08, .saving_pm = 0.03};
    snprintf(a.rule, sizeof a.rule, "threads");
    snprintf(a.why, sizeof a.why, "8 threads on 4 cores, while decode waits for memory");
    snprintf(a.action, sizeof a.action, "use 4 threads");
    snprintf(a.bench, sizeof a.bench, "joulet bench --engine private -m llama-1b.gguf --vary threads=8,4 --repeat 10");
    snprintf(a.compare, sizeof a.compare, "joulet compare last");
    run_profile_add_advice(p, &a);
    a = (struct run_profile_advice){.rule = "keep_alive", .saving = 0.06, .saving_pm = 0.06};
    snprintf(a.why, sizeof a.why,
             "a load took 11 J, as much as 0.1 requests, and the loaded model was not seen to draw anything while it waits, at "
             "most 0.4 W");
    snprintf(a.action, sizeof a.action, "keep the model loaded where the next request comes within 24 s");
    snprintf(a.bench, sizeof a.bench, "joulet bench -m llama-1b.gguf --vary keep-alive=0s,24s --repeat 10");
    snprintf(a.compare, sizeof a.compare, "joulet compare last");
    run_profile_add_advice(p, &a);
}

/* As if the feed-forward had been in a cache. */
static void add_replay(struct run_profile *p)
{
    static const struct {
        const char *component;
        double watts, ratio;
    } rows[] = {{"attention", 20.4, 0.98}, {"ffn", 27.1, 0.81}, {"head", 25.2, 1.01}};
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct run_profile_row sum = run_profile_sum(p, "decode", rows[i].component, RUN_PROFILE_ALL_LAYERS);
        struct run_profile_replay x = {.seconds = 2.004,
                                       .rounds = trunc(2 / sum.seconds * TOKENS),
                                       .watts = rows[i].watts,
                                       .watts_pm = 0.4,
                                       .token_s = sum.seconds / TOKENS,
                                       .found_j = sum.joules / TOKENS,
                                       .found_pm = 0.02 * sum.joules / TOKENS,
                                       .time_ratio = rows[i].ratio,
                                       .warm = rows[i].ratio < 0.9};
        snprintf(x.component, sizeof x.component, "%s", rows[i].component);
        x.joules = x.watts * x.token_s;
        x.joules_pm = x.watts_pm * x.token_s;
        x.difference = x.joules / x.found_j - 1;
        x.difference_pm = 0.024;
        run_profile_add_replay(p, &x);
    }
}

static void set_phase(struct run_profile *p, const char *name, const char *power_of, double seconds, double watts, double pm_w,
                      double limit_w)
{
    for (size_t i = 0; i < p->n_phases; i++) {
        struct run_profile_phase *x = &p->phases[i];
        if (strcmp(x->name, name))
            continue;
        snprintf(x->power_of, sizeof x->power_of, "%s", power_of);
        x->seconds = seconds;
        x->joules = watts * seconds;
        x->joules_pm = pm_w * seconds;
        x->limit_j = limit_w * seconds;
    }
}

/* Text into tokens and back by itself; sampling has the power of the rest, which was too small to resolve in the mixture. */
static void add_host_work(struct run_profile *p, bool limit)
{
    static const struct run_profile_host loops[] = {{"tokenise", 2.003, 1.24e6, 0.962, 7.4, 0.42, "cpu"},
                                                    {"detokenise", 2.001, 8.1e6, 0.431, 6.9, 3.2, "cpu"}};
    for (size_t i = 0; i < JL_COUNT(loops); i++)
        run_profile_add_host(p, &loops[i]);
    set_phase(p, "tokenise", "loop", 0.0004, 7.4, 0.42, NAN);
    set_phase(p, "sample", "rest", 0.011, limit ? NAN : 8.2, limit ? NAN : 0.7, limit ? 9.5 : NAN);
    set_phase(p, "detokenise", "loop", 0.0001, 6.9, 3.2, NAN);
}

static void describe(struct run_profile *p, const struct shape *s, bool estimate)
{
    run_pairs_set(&p->machine, "cpu", 's', "Example CPU with 4 cores");
    run_pairs_set(&p->machine, "cores", 'n', "4");
    run_pairs_set(&p->engine, "protocol", 's', "llama.cpp");
    run_pairs_set(&p->engine, "version", 's', "b6000");
    run_pairs_set(&p->model, "name", 's', "%s", s->title);
    run_pairs_set(&p->model, "quantisation", 's', "%s", s->quantisation);
    run_pairs_set(&p->model, "parameters", 'n', "%.0f", s->parameters);
    run_pairs_set(&p->model, "layers", 'n', "%d", s->layers);
    run_pairs_set(&p->model, "weight_bytes", 'n', "%.0f", s->parameters * s->bytes_per_weight);
    if (s->layers_of != s->layers) {
        run_pairs_set(&p->model, "layers_of", 'n', "%d", s->layers_of);
        run_pairs_set(&p->model, "parameters_of", 'n', "70553706496");
    }
    run_pairs_set(&p->settings, "threads", 'n', "4");
    run_pairs_set(&p->settings, "context", 'n', "4096");
    p->sensor = jl_strdup(estimate ? "cpu.tdp" : "cpu0.package");
}

static void explain(struct run_profile_how *h, enum profile_sample s)
{
    bool time = s == PROFILE_TIME, stages = s == PROFILE_STAGES;
    snprintf(h->path, sizeof h->path, "%s", stages ? "stages" : time ? "time" : s == PROFILE_MOE ? "plain" : "lock-in");
    if (time)
        snprintf(h->reason, sizeof h->reason, "the sensor is an estimate from processor time, which is alike for all components");
    snprintf(h->level, sizeof h->level, "%s", stages ? "stages" : s == PROFILE_MOE ? "nodes" : "components");
    h->estimated = time;
    h->simulated = 0;
    h->idle_w = idle_w;
    h->idle_w_pm = 0.2;
    if (stages)
        return;
    h->every = 4;
    h->condition = time ? 212 : 4.2;
    h->closure = time ? NAN : 0.991;
    h->instrumented = 1.006;
    h->instrumented_pm = 0.004;
    h->stops = 0.0031;
    h->stops_pm = 0.0011;
    h->stretches = 0.9962;
    h->between = s == PROFILE_MOE ? 0.0034 : 0.0004;
    h->lag_s = time ? NAN : 0.0004;
    h->windows = 12000;
    h->records = 48000;
    h->lost = 0;
    h->flash = true;
    snprintf(h->layers_power, sizeof h->layers_power, "%s", s == PROFILE_DENSE ? "checked" : "assumed");
    if (s != PROFILE_DENSE)
        return;
    h->layers_left_out = 8;
    h->layers_saved_j = 0.42;
    h->layers_told_j = 0.43;
    h->layers_ratio = 0.977;
    h->layers_ratio_pm = 0.021;
}

void profile_sample(struct run_profile *p, enum profile_sample kind)
{
    const struct shape *s = &shapes[kind];
    run_profile_init(p);
    snprintf(p->id, sizeof p->id, "20261122-120000-%04x", 0x1a00 + (unsigned)kind);
    p->started_wall_ns = 1795348800000000000;
    if (kind == PROFILE_EMPTY)
        return;
    describe(p, s, kind == PROFILE_TIME);
    explain(&p->how, kind);
    if (kind != PROFILE_STAGES) {
        add_components(p, s, "prefill", PROMPT);
        add_components(p, s, "decode", TOKENS);
    }
    add_phase(p, "load", -1, -1, 1.2, 11);
    add_phase(p, "tokenise", PROMPT, -1, 0.0004, 0.003);
    add_phase(p, "prefill", PROMPT, 1, 0.9, 31);
    add_phase(p, "decode", TOKENS, TOKENS, 3.6, 95);
    add_phase(p, "sample", TOKENS, TOKENS, 0.011, 0.09);
    add_phase(p, "detokenise", TOKENS, -1, NAN, NAN);
    const struct run_profile_phase *decode = run_profile_phase(p, "decode");
    p->how.measured_j = decode->joules;
    p->how.measured_pm = decode->joules_pm;
    p->seconds = decode->seconds / 0.36;
    add_trace(p);
    if (kind == PROFILE_DENSE)
        add_points(p, decode->seconds / TOKENS, decode->joules / TOKENS);
    if (kind == PROFILE_DENSE)
        add_advice(p);
    if (kind == PROFILE_DENSE)
        add_replay(p);
    if (kind == PROFILE_DENSE || kind == PROFILE_MOE)
        add_host_work(p, kind == PROFILE_MOE);
    if (kind == PROFILE_LARGE)
        run_profile_note(p, "4 of the 80 layers of the shape were in the model that was measured");
}
