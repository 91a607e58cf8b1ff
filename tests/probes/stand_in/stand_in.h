/* stand_in.h - what the stand-ins for ggml and llama.cpp share. */
#ifndef TESTS_PROBES_STAND_IN_H
#define TESTS_PROBES_STAND_IN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default"), noinline))

struct ggml_tensor {
    const char *name, *operation;
    int64_t rows;
};
struct ggml_cgraph {
    int n;
    struct ggml_tensor *nodes;
};
typedef bool (*callback)(struct ggml_tensor *, bool, void *);
struct sched {
    callback f;
    void *user;
    uint64_t sum;
};
struct backend;

const char *ggml_version(void);
const char *ggml_get_name(const struct ggml_tensor *t);
const char *ggml_op_desc(const struct ggml_tensor *t);
int64_t ggml_nrows(const struct ggml_tensor *t);
int ggml_graph_n_nodes(struct ggml_cgraph *g);
struct sched *ggml_backend_sched_new(void);
void ggml_backend_sched_free(struct sched *s);
int ggml_backend_sched_get_n_backends(struct sched *s);
struct backend *ggml_backend_sched_get_backend(struct sched *s, int i);
const char *ggml_backend_name(struct backend *b);
void ggml_backend_sched_set_eval_callback(struct sched *s, callback f, void *user);
int ggml_backend_sched_graph_compute_async(struct sched *s, struct ggml_cgraph *g);
int ggml_backend_sched_graph_compute(struct sched *s, struct ggml_cgraph *g);
void ggml_backend_sched_synchronize(struct sched *s);
int cudaGraphLaunch(void *graph, void *stream);

struct model_parameters { /* passed by value: the probe must hand on what it does not know */
    int64_t words[9];
};
struct context_parameters {
    int64_t words[19];
};
struct batch {
    int32_t n_tokens;
    int32_t *token;
    float *embd;
    int32_t *pos, *n_seq_id, **seq_id;
    int8_t *logits;
};
struct model {
    const char *architecture; /* "dense", "moe", "parallel", "strange", "vision" */
    int64_t sum;
};
struct context {
    struct model *model;
    struct sched *sched;
    callback user;
    void *user_data;
    struct ggml_cgraph graph;
    int64_t sum;
    int64_t rows;
};
struct batch_ext {
    int32_t n;
};
struct model *llama_model_load_from_file(const char *path, struct model_parameters p);
struct context *llama_init_from_model(struct model *m, struct context_parameters p);
void llama_free(struct context *c);
int32_t llama_decode(struct context *c, struct batch b);
int32_t llama_process(struct context *c, int type, struct batch_ext *b);
void llama_synchronize(struct context *c);
struct batch_ext *llama_batch_ext_init(struct context *c);
void llama_batch_ext_free(struct batch_ext *b);
void llama_batch_ext_clear(struct batch_ext *b);
int32_t llama_batch_ext_add_token(struct batch_ext *b, int32_t sequence, int32_t token);
int32_t llama_batch_ext_set_pos(struct batch_ext *b, int32_t index, const int32_t *position);
int32_t llama_tokenize(const void *v, const char *text, int32_t n, int32_t *out, int32_t max, bool special, bool parse);
int32_t llama_token_to_piece(const void *v, int32_t token, char *out, int32_t n, int32_t strip, bool special);
void llama_sampler_apply(void *s, void *candidates);
int32_t llama_sampler_sample(void *s, struct context *c, int32_t i);
/* Of the stand-in alone: the callback of somebody else, such as llama-imatrix; what was computed. */
void stand_in_callback(struct context *c, callback f, void *user);
uint64_t stand_in_sum(const struct context *c);
/* From now on nodes are computed by a device that is told and then waited for, on a clock that only it and readers move on. */
#define STAND_IN_NODE_NS 20000
#define STAND_IN_SYNC_NS 100000
void stand_in_device(void);
uint64_t stand_in_clock(void); /* 0: no device */
void stand_in_forget(void);    /* what was captured */
/* A vision encoder: a graph of its own on a scheduler of its own, which no call of llama.cpp knows. */
struct context *stand_in_vision(void);
void stand_in_encode(struct context *vision);

#endif
