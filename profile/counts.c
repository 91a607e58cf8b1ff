/* counts.c - names of the parts, and sums of counts. */
#include "profile/counts.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    enum profile_component component;
} parts[PROFILE_PARTS] = {
    [PROFILE_EMBEDDING] = {"embedding", PROFILE_C_EMBEDDING},
    [PROFILE_ATTENTION_NORM] = {"attention_norm", PROFILE_C_ATTENTION_NORM},
    [PROFILE_QKV] = {"qkv", PROFILE_C_ATTENTION},
    [PROFILE_ROPE] = {"rope", PROFILE_C_ATTENTION},
    [PROFILE_KV_WRITE] = {"kv_write", PROFILE_C_ATTENTION},
    [PROFILE_SCORES] = {"scores", PROFILE_C_ATTENTION},
    [PROFILE_ATTENTION_OUTPUT] = {"attention_output", PROFILE_C_ATTENTION},
    [PROFILE_ATTENTION_RESIDUAL] = {"attention_residual", PROFILE_C_ATTENTION},
    [PROFILE_FFN_NORM] = {"ffn_norm", PROFILE_C_FFN_NORM},
    [PROFILE_ROUTER] = {"router", PROFILE_C_FFN},
    [PROFILE_GATE] = {"gate", PROFILE_C_FFN},
    [PROFILE_UP] = {"up", PROFILE_C_FFN},
    [PROFILE_ACTIVATION] = {"activation", PROFILE_C_FFN},
    [PROFILE_DOWN] = {"down", PROFILE_C_FFN},
    [PROFILE_EXPERTS] = {"experts", PROFILE_C_FFN},
    [PROFILE_FFN_RESIDUAL] = {"ffn_residual", PROFILE_C_FFN},
    [PROFILE_OUTPUT_NORM] = {"output_norm", PROFILE_C_OUTPUT_NORM},
    [PROFILE_HEAD] = {"head", PROFILE_C_HEAD},
};

const char *profile_part_name(enum profile_part p)
{
    return parts[p].name;
}

const char *profile_component_name(enum profile_component c)
{
    static const char *const names[PROFILE_COMPONENTS] = {"embedding", "attention_norm", "attention", "ffn_norm",
                                                          "ffn",       "output_norm",    "head"};
    return names[c];
}

enum profile_component profile_component_of(enum profile_part p)
{
    return parts[p].component;
}

double profile_count_bytes(const struct profile_count *c)
{
    return c->weight_bytes + c->cache_read_bytes + c->cache_write_bytes + c->activation_bytes;
}

void profile_count_add(struct profile_count *to, const struct profile_count *from)
{
    to->flop += from->flop;
    to->weight_bytes += from->weight_bytes;
    to->cache_read_bytes += from->cache_read_bytes;
    to->cache_write_bytes += from->cache_write_bytes;
    to->activation_bytes += from->activation_bytes;
}

enum joulet_status profile_counts_init(struct profile_counts *c, const struct profile_shape *s, struct joulet_error *err)
{
    *c = (struct profile_counts){.n_layers = s->n_layers};
    c->layers = calloc(s->n_layers ? s->n_layers : 1, sizeof *c->layers);
    return c->layers ? jl_ok(err) : jl_fail(err, JOULET_MEMORY, "out of memory for the counts of %zu layers", s->n_layers);
}

void profile_counts_release(struct profile_counts *c)
{
    free(c->layers);
    *c = (struct profile_counts){0};
}

struct profile_count profile_counts_part(const struct profile_counts *c, enum profile_part p)
{
    struct profile_count sum = c->ends[p];
    for (size_t i = 0; i < c->n_layers; i++)
        profile_count_add(&sum, &c->layers[i][p]);
    return sum;
}

struct profile_count profile_counts_component(const struct profile_counts *c, enum profile_component wanted)
{
    struct profile_count sum = {0};
    for (int p = 0; p < PROFILE_PARTS; p++)
        if (parts[p].component == wanted) {
            struct profile_count part = profile_counts_part(c, (enum profile_part)p);
            profile_count_add(&sum, &part);
        }
    return sum;
}

struct profile_count profile_counts_layer(const struct profile_counts *c, size_t layer)
{
    struct profile_count sum = {0};
    for (int p = 0; p < PROFILE_PARTS; p++)
        profile_count_add(&sum, &c->layers[layer][p]);
    return sum;
}

struct profile_count profile_counts_all(const struct profile_counts *c)
{
    struct profile_count sum = {0};
    for (int p = 0; p < PROFILE_PARTS; p++) {
        struct profile_count part = profile_counts_part(c, (enum profile_part)p);
        profile_count_add(&sum, &part);
    }
    return sum;
}
