/* llama.c - plays libllama for tests of the probe: a context with a scheduler, graphs of four kinds of model, both ways to hand
 * in a batch. A graph is built, and the callback set, when the number of rows changes, as in the real one. */
#include "tests/probes/stand_in/stand_in.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LAYERS 3

static int64_t sum_of(const int64_t *words, size_t n)
{
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum = sum * 31 + words[i];
    return sum;
}

EXPORT struct model *llama_model_load_from_file(const char *path, struct model_parameters p)
{
    struct model *m = calloc(1, sizeof(*m));
    if (m)
        *m = (struct model){path, sum_of(p.words, 9)};
    return m;
}

EXPORT struct context *llama_init_from_model(struct model *m, struct context_parameters p)
{
    struct context *c = calloc(1, sizeof(*c));
    if (c)
        *c = (struct context){.model = m, .sched = ggml_backend_sched_new(), .sum = m->sum + sum_of(p.words, 19)};
    return c;
}

/* ---- graphs --------------------------------------------------------------------------------------------------------------- */

static void clear(struct context *c)
{
    for (int i = 0; i < c->graph.n; i++)
        free((char *)c->graph.nodes[i].name);
    free(c->graph.nodes);
    stand_in_forget();
    c->graph = (struct ggml_cgraph){0, calloc(64 * LAYERS, sizeof(struct ggml_tensor))};
}

/* "name:OPERATION name:OPERATION ..."; '#' in a name becomes the layer. */
static void add(struct context *c, const char *nodes, int layer)
{
    static const char *const operations[] = {"GET_ROWS", "RMS_NORM", "MUL_MAT_ID",     "MUL_MAT", "MUL",
                                             "ROPE",     "SET_ROWS", "FLASH_ATTN_EXT", "ADD",     "SWIGLU",
                                             "SOFT_MAX", "ARGSORT",  "RESHAPE"};
    while (*nodes) {
        char name[64], *to = name;
        size_t n = strcspn(nodes, ":"), m = strcspn(nodes + n + 1, " ");
        for (size_t i = 0; i < n; i++)
            to += nodes[i] == '#' ? sprintf(to, "%d", layer) : (*to = nodes[i], 1);
        *to = '\0';
        for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
            if (strlen(operations[i]) == m && strncmp(operations[i], nodes + n + 1, m) == 0)
                c->graph.nodes[c->graph.n++] = (struct ggml_tensor){strdup(name), operations[i], c->rows};
        nodes += n + 1 + m;
        nodes += *nodes == ' ';
    }
}

#define ATTENTION                                                                                                                \
    "norm-#:RMS_NORM attn_norm-#:MUL Qcur-#:MUL_MAT Qcur-#:RESHAPE Qcur-#:ROPE Vcur-#:MUL_MAT Kcur-#:MUL_MAT Kcur-#:ROPE "       \
    "cache_k_l#:SET_ROWS cache_v_l#:SET_ROWS node_7:FLASH_ATTN_EXT attn_out-#:MUL_MAT "
#define DENSE "ffn_gate-#:MUL_MAT ffn_up-#:MUL_MAT ffn_swiglu-#:SWIGLU ffn_out-#:MUL_MAT "
#define MOE                                                                                                                      \
    "ffn_moe_logits-#:MUL_MAT ffn_moe_probs-#:SOFT_MAX ffn_moe_argsort-#:ARGSORT ffn_moe_weights-#:GET_ROWS "                    \
    "ffn_moe_gate-#:MUL_MAT_ID ffn_moe_up-#:MUL_MAT_ID ffn_moe_swiglu-#:SWIGLU ffn_moe_down-#:MUL_MAT_ID ffn_moe_out-#:ADD "

static void build(struct context *c)
{
    static const struct {
        const char *architecture, *first, *layer, *last;
    } rows[] = {
        {"dense", "embd:GET_ROWS", ATTENTION "ffn_inp-#:ADD norm-#:RMS_NORM ffn_norm-#:MUL " DENSE "l_out-#:ADD",
         "norm:RMS_NORM result_norm:MUL result_output:MUL_MAT"},
        {"moe", "embd:GET_ROWS", ATTENTION "ffn_inp-#:ADD norm-#:RMS_NORM ffn_norm-#:MUL " MOE "l_out-#:ADD",
         "norm:RMS_NORM result_norm:MUL result_output:MUL_MAT"},
        {"parallel", "inp_embd:GET_ROWS", ATTENTION DENSE "l_out-#:ADD", "norm:RMS_NORM result_norm:MUL result_output:MUL_MAT"},
        {"vision", "patch_embd:MUL_MAT",
         "layer_inp_normed-#:RMS_NORM Qcur-#:MUL_MAT Kcur-#:MUL_MAT Vcur-#:MUL_MAT attn_out-#:MUL_MAT ffn_inp-#:ADD "
         "ffn_inp_normed-#:RMS_NORM ffn_up-#:MUL_MAT ffn_out-#:MUL_MAT layer_out-#:ADD",
         "projected:MUL_MAT"},
        {"strange", "alpha:GET_ROWS", "beta-#:RMS_NORM gamma-#:MUL_MAT delta-#:ADD", "omega:MUL_MAT"},
    };
    clear(c);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strcmp(rows[i].architecture, c->model->architecture) != 0)
            continue;
        add(c, rows[i].first, -1);
        for (int l = 0; l < LAYERS; l++)
            add(c, rows[i].layer, l);
        add(c, rows[i].last, -1);
    }
    if (strcmp(c->model->architecture, "vision") != 0)
        ggml_backend_sched_set_eval_callback(c->sched, c->user, c->user_data);
}

static int32_t compute(struct context *c, int64_t rows)
{
    if (rows <= 0)
        return -1;
    if (rows != c->rows) {
        c->rows = rows;
        build(c);
    }
    return ggml_backend_sched_graph_compute_async(c->sched, &c->graph);
}

EXPORT void llama_free(struct context *c)
{
    clear(c);
    free(c->graph.nodes);
    ggml_backend_sched_free(c->sched);
    free(c);
}

EXPORT int32_t llama_decode(struct context *c, struct batch b)
{
    return compute(c, b.n_tokens);
}

EXPORT int32_t llama_process(struct context *c, int type, struct batch_ext *b)
{
    (void)type;
    return compute(c, b->n);
}

EXPORT void llama_synchronize(struct context *c)
{
    ggml_backend_sched_synchronize(c->sched);
}

struct context *stand_in_vision(void)
{
    static struct model tower = {"vision", 0};
    struct context *c = calloc(1, sizeof(*c));
    if (c)
        *c = (struct context){.model = &tower, .sched = ggml_backend_sched_new()};
    return c;
}

void stand_in_encode(struct context *vision)
{
    if (!vision->rows) {
        vision->rows = 1;
        build(vision);
    }
    ggml_backend_sched_graph_compute(vision->sched, &vision->graph);
}

void stand_in_callback(struct context *c, callback f, void *user)
{
    c->user = f;
    c->user_data = user;
}

uint64_t stand_in_sum(const struct context *c)
{
    return c->sched->sum + (uint64_t)c->sum;
}

/* ---- batches, text -------------------------------------------------------------------------------------------------------- */

EXPORT struct batch_ext *llama_batch_ext_init(struct context *c)
{
    (void)c;
    return calloc(1, sizeof(struct batch_ext));
}

EXPORT void llama_batch_ext_free(struct batch_ext *b)
{
    free(b);
}

EXPORT void llama_batch_ext_clear(struct batch_ext *b)
{
    b->n = 0;
}

EXPORT int32_t llama_batch_ext_add_token(struct batch_ext *b, int32_t sequence, int32_t token)
{
    (void)sequence, (void)token;
    return b->n++;
}

EXPORT int32_t llama_batch_ext_set_pos(struct batch_ext *b, int32_t index, const int32_t *position)
{
    return index < b->n && position;
}

EXPORT int32_t llama_tokenize(const void *v, const char *text, int32_t n, int32_t *out, int32_t max, bool special, bool parse)
{
    (void)v, (void)special, (void)parse;
    for (int32_t i = 0; i < n && i < max; i++)
        out[i] = text[i];
    return n <= max ? n : -n;
}

EXPORT int32_t llama_token_to_piece(const void *v, int32_t token, char *out, int32_t n, int32_t strip, bool special)
{
    (void)v, (void)strip, (void)special;
    return n > 0 ? (out[0] = (char)token, 1) : -1;
}

EXPORT void llama_sampler_apply(void *s, void *candidates)
{
    int *depth = s;
    (void)candidates;
    if (*depth > 0) { /* a chain calls its members */
        --*depth;
        llama_sampler_apply(s, candidates);
    }
}

EXPORT int32_t llama_sampler_sample(void *s, struct context *c, int32_t i)
{
    (void)i;
    llama_synchronize(c);
    llama_sampler_apply(s, NULL);
    return 0;
}
