/* ggml.h - what the probe has to know of llama.cpp and ggml, in declarations of its own: the functions it stands in for, and
 * those it calls. Seen in 0.5.0 to 0.7.0 (ggml 0.25 to 0.27). No header of theirs is used: a probe must run beside every version.
 * Structures stay opaque, but for the batch of llama_decode, whose layout has not changed since it exists, and the two parameter
 * structures that are passed by value: they are taken as bytes, more than they ever had, and handed on. */
#ifndef PROBES_GGML_GGML_H
#define PROBES_GGML_GGML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))

struct ggml_tensor;
struct ggml_cgraph;
struct sched;
struct backend;
struct context;
struct vocab;
struct sampler;
struct batch_ext;
struct parameters {
    char bytes[384];
};
struct batch {
    int32_t n_tokens;
    void *token, *embd;
    int32_t *pos, *n_seq_id, **seq_id;
    void *logits;
};
typedef bool (*eval_callback)(struct ggml_tensor *t, bool ask, void *user);

EXPORT void ggml_backend_sched_set_eval_callback(struct sched *s, eval_callback f, void *user);
EXPORT int ggml_backend_sched_graph_compute_async(struct sched *s, struct ggml_cgraph *g);
EXPORT void ggml_backend_sched_free(struct sched *s);
EXPORT int ggml_backend_graph_compute_async(struct backend *b, struct ggml_cgraph *g);

EXPORT void *llama_model_load_from_file(const char *path, struct parameters p);
EXPORT void *llama_load_model_from_file(const char *path, struct parameters p);
EXPORT void *llama_model_load_from_splits(const char **paths, size_t n, struct parameters p);
EXPORT void *llama_init_from_model(void *model, struct parameters p);
EXPORT void *llama_new_context_with_model(void *model, struct parameters p);
EXPORT int32_t llama_decode(struct context *c, struct batch b);
EXPORT int32_t llama_encode(struct context *c, struct batch b);
EXPORT int32_t llama_process(struct context *c, int type, struct batch_ext *b);
EXPORT void llama_synchronize(struct context *c);
EXPORT void llama_free(struct context *c);
EXPORT void llama_batch_ext_clear(struct batch_ext *b);
EXPORT void llama_batch_ext_free(struct batch_ext *b);
EXPORT int32_t llama_batch_ext_add_token(struct batch_ext *b, int32_t sequence, int32_t token);
EXPORT int32_t llama_batch_ext_set_pos(struct batch_ext *b, int32_t index, const int32_t *position);
EXPORT int32_t llama_tokenize(const struct vocab *v, const char *text, int32_t n, int32_t *out, int32_t max, bool special,
                              bool parse);
EXPORT int32_t llama_token_to_piece(const struct vocab *v, int32_t token, char *out, int32_t n, int32_t strip, bool special);
EXPORT int32_t llama_detokenize(const struct vocab *v, const int32_t *tokens, int32_t n, char *out, int32_t max, bool remove,
                                bool unparse);
EXPORT void llama_sampler_apply(struct sampler *s, void *candidates);
EXPORT int32_t llama_sampler_sample(struct sampler *s, struct context *c, int32_t index);
/* common_sampler_sample(common_sampler *, llama_context *, int, bool), by the name its compiler gave it */
EXPORT int32_t _Z21common_sampler_sampleP14common_samplerP13llama_contextib(void *s, struct context *c, int index, bool grammar);

#endif
