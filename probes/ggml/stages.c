/* stages.c - the stages of inference that are one call each: loading, tokenising, sampling, detokenising. They are called by
 * several threads; a call inside another of the same kind (a chain of samplers) is part of it. */
#include "probes/ggml/probe.h"

static __thread int sampling;

/* A grammar that fails throws through us. */
static void leave(const int *inside)
{
    (void)inside;
    sampling--;
}
#define SAMPLING __attribute__((cleanup(leave), unused)) const int inside = sampling++

static void stage(enum wire_kind kind, uint64_t t0, uint32_t tokens, uint32_t a, bool failed)
{
    probe_record(&(struct wire_record){.kind = (uint16_t)kind,
                                       .t0_ns = t0,
                                       .t1_ns = probe_now(),
                                       .layer = -1,
                                       .tokens = tokens,
                                       .a = a,
                                       .source = probe_step.source,
                                       .flags = failed ? WIRE_FAILED : 0});
}

/* ---- loading ---------------------------------------------------------------------------------------------------------- */

#define LOADER(name, first, what)                                                                                                \
    void *name(first from, struct parameters p)                                                                                  \
    {                                                                                                                            \
        REAL(name);                                                                                                              \
        bool on = probe_begin();                                                                                                 \
        uint64_t t0 = on ? probe_now() : 0;                                                                                      \
        void *made = real(from, p);                                                                                              \
        if (on)                                                                                                                  \
            stage(WIRE_LOAD, t0, WIRE_UNKNOWN, what, !made);                                                                     \
        return made;                                                                                                             \
    }
LOADER(llama_model_load_from_file, const char *, 0)
LOADER(llama_load_model_from_file, const char *, 0)
LOADER(llama_init_from_model, void *, 1)
LOADER(llama_new_context_with_model, void *, 1)

void *llama_model_load_from_splits(const char **paths, size_t n, struct parameters p)
{
    REAL(llama_model_load_from_splits);
    bool on = probe_begin();
    uint64_t t0 = on ? probe_now() : 0;
    void *made = real(paths, n, p);
    if (on)
        stage(WIRE_LOAD, t0, WIRE_UNKNOWN, 0, !made);
    return made;
}

/* ---- text and tokens ----------------------------------------------------------------------------------------------------- */

int32_t llama_tokenize(const struct vocab *v, const char *text, int32_t n, int32_t *out, int32_t max, bool special, bool parse)
{
    REAL(llama_tokenize);
    uint64_t t0 = probe_on() ? probe_now() : 0;
    int32_t made = real(v, text, n, out, max, special, parse);
    if (t0)
        stage(WIRE_TOKENISE, t0, made > 0 ? (uint32_t)made : 0, n > 0 ? (uint32_t)n : 0, made < 0);
    return made;
}

int32_t llama_token_to_piece(const struct vocab *v, int32_t token, char *out, int32_t n, int32_t strip, bool special)
{
    REAL(llama_token_to_piece);
    uint64_t t0 = probe_on() ? probe_now() : 0;
    int32_t made = real(v, token, out, n, strip, special);
    if (t0)
        stage(WIRE_DETOKENISE, t0, 1, 0, made < 0);
    return made;
}

int32_t llama_detokenize(const struct vocab *v, const int32_t *tokens, int32_t n, char *out, int32_t max, bool remove,
                         bool unparse)
{
    REAL(llama_detokenize);
    uint64_t t0 = probe_on() ? probe_now() : 0;
    int32_t made = real(v, tokens, n, out, max, remove, unparse);
    if (t0)
        stage(WIRE_DETOKENISE, t0, n > 0 ? (uint32_t)n : 0, 0, made < 0);
    return made;
}

/* ---- sampling ---------------------------------------------------------------------------------------------------------- */

static void sampled(uint64_t t0, uint64_t waited_before)
{
    uint64_t waited = probe_waited_ns - waited_before;
    stage(WIRE_SAMPLE, t0, 1, waited < WIRE_UNKNOWN ? (uint32_t)waited : WIRE_UNKNOWN, false);
}

void llama_sampler_apply(struct sampler *s, void *candidates)
{
    REAL(llama_sampler_apply);
    if (sampling || !probe_on()) {
        real(s, candidates);
        return;
    }
    uint64_t t0 = probe_now(), waited = probe_waited_ns;
    SAMPLING;
    real(s, candidates);
    sampled(t0, waited);
}

int32_t llama_sampler_sample(struct sampler *s, struct context *c, int32_t index)
{
    REAL(llama_sampler_sample);
    if (sampling || !probe_on())
        return real(s, c, index);
    uint64_t t0 = probe_now(), waited = probe_waited_ns;
    SAMPLING;
    int32_t token = real(s, c, index);
    sampled(t0, waited);
    return token;
}

int32_t _Z21common_sampler_sampleP14common_samplerP13llama_contextib(void *s, struct context *c, int index, bool grammar)
{
    REAL(_Z21common_sampler_sampleP14common_samplerP13llama_contextib);
    if (sampling || !probe_on())
        return real(s, c, index, grammar);
    uint64_t t0 = probe_now(), waited = probe_waited_ns;
    SAMPLING;
    int32_t token = real(s, c, index, grammar);
    sampled(t0, waited);
    return token;
}
