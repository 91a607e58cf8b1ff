/* profile_work.c - FLOP and bytes of the plain requests of a profile, from the shapes in the model's own file and what the engine
 * was told (docs/method.md 8.5). */
#include "cli/profile.h"

#include <math.h>

#define PIECE 512.0 /* tokens of a step of prefill in llama.cpp */

/* Tokens of a step of prefill. */
static double piece_of(const struct profiling *x)
{
    static const char *const options[] = {"ubatch-size", "batch-size"};
    double piece = PIECE;
    for (size_t i = 0; i < JL_COUNT(options); i++) {
        int64_t n;
        const char *text = profile_option(x, options[i]);
        if (text && jl_parse_i64(text, &n) && n > 0)
            piece = i == 0 ? (double)n : fmin(piece, (double)n);
    }
    return piece;
}

static void count_requests(const struct profiling *x, const struct profile_shape *shape, struct profile_counts *counts)
{
    double piece = piece_of(x), left = 0; /* steps of pieces of batches that are no whole ones yet: of the next piece */
    for (size_t i = 0; i < x->s.run.n_requests && i < x->n_passes; i++) {
        const struct run_request *q = &x->s.run.requests[i];
        if (x->passes[i] != MEASURE_PLAIN || q->outcome != RUN_OK || q->tokens.prompt < 1 || q->tokens.generated < 1)
            continue;
        double prompt = (double)q->tokens.prompt, cached = q->tokens.cached > 0 ? (double)q->tokens.cached : 0;
        double batch = x->batch >= 1 ? x->batch : 1;
        if (prompt > cached)
            profile_count_prefill(&counts[MEASURE_PREFILL], shape, cached, prompt - cached, piece);
        double steps = left + ((double)q->tokens.generated - 1) / batch, whole = floor(steps + 0.5);
        left = steps - whole;
        profile_count_decode(&counts[MEASURE_DECODE], shape, prompt, whole, batch);
    }
}

static void describe_shape(struct run_pairs *p, const struct profile_shape *shape)
{
    double bytes = 0;
    for (int k = 0; k < PROFILE_PARTS; k++) {
        bytes += shape->weights[k].bytes + shape->weights[k].expert_bytes;
        for (size_t l = 0; l < shape->n_layers; l++)
            bytes += shape->layers[l].weights[k].bytes + shape->layers[l].weights[k].expert_bytes;
    }
    run_pairs_set(p, "weight_bytes", 'n', "%.15g", bytes);
    run_pairs_set(p, "hidden", 'n', "%.15g", shape->hidden);
    run_pairs_set(p, "vocabulary", 'n', "%.15g", shape->vocab);
}

static bool count(struct profiling *x, const struct gguf_model *model, struct profile_counts counts[MEASURE_PHASES])
{
    struct profile_shape shape;
    struct joulet_error err;
    const char *k = profile_option(x, "cache-type-k"), *v = profile_option(x, "cache-type-v");
    if (profile_shape_init(&shape, model, k ? gguf_type_find(k) : NULL, v ? gguf_type_find(v) : NULL, &err) != JOULET_OK) {
        run_profile_note(&x->p, "%s", err.message);
        return false;
    }
    if (shape.window_unknown)
        run_profile_note(&x->p,
                         "the model's file names a window of attention of %lld tokens and not in which layers: attention is "
                         "counted as if it saw everything",
                         (long long)model->window);
    bool counted = true;
    for (int p = 0; p < MEASURE_PHASES; p++)
        counted &= profile_counts_init(&counts[p], &shape, &err) == JOULET_OK;
    if (counted)
        count_requests(x, &shape, counts);
    describe_shape(&x->p.model, &shape);
    profile_shape_release(&shape);
    return counted;
}

bool profile_work(struct profiling *x, struct profile_counts counts[MEASURE_PHASES])
{
    const char *path = run_pairs_get(&x->p.model, "path");
    struct gguf_model model;
    struct joulet_error err;
    if (!path)
        return false;
    if (gguf_read_model(path, &model, &err) != JOULET_OK) {
        run_profile_note(&x->p, "%s", err.message);
        return false;
    }
    bool counted = count(x, &model, counts);
    gguf_model_release(&model);
    return counted;
}
