/* names.c - what the names of nodes tell (llama.cpp gives them: "attn_norm-12" is the attention norm of layer 12). Only places
 * where a component ends must be known, seven of them; every other node falls into the component it stands in, so an
 * architecture with further nodes loses none. Where a place is missing, the stretch is called after what it holds, or a layer.
 */
#include "probes/ggml/probe.h"

#include <string.h>

/* Nodes are asked about 500 times a token: one letter settles nearly all. */
enum mark names_mark(const char *name, int *layer)
{
    static const struct {
        const char *name;
        size_t n;
        enum mark mark;
        bool in_layer;
    } rows[] = {
        {"attn_norm", 9, MARK_ATTENTION_NORM, true},  {"ffn_inp", 7, MARK_ATTENTION, true},
        {"ffn_norm", 8, MARK_FFN_NORM, true},         {"l_out", 5, MARK_LAYER, true},
        {"embd", 4, MARK_EMBEDDING, false},           {"inp_embd", 8, MARK_EMBEDDING, false},
        {"result_norm", 11, MARK_OUTPUT_NORM, false}, {"result_output", 13, MARK_HEAD, false},
    };
    *layer = -1;
    if (!name[0] || !strchr("aflrei", name[0]))
        return MARK_NONE;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strncmp(name, rows[i].name, rows[i].n) != 0)
            continue;
        const char *end = name + rows[i].n;
        if (!rows[i].in_layer && !*end)
            return rows[i].mark;
        if (!rows[i].in_layer || *end != '-')
            continue;
        int l = 0;
        for (end++; *end >= '0' && *end <= '9' && l < 10000; end++)
            l = 10 * l + (*end - '0');
        if (*end)
            continue;
        *layer = l;
        return rows[i].mark;
    }
    return MARK_NONE;
}

bool names_layer_mark(enum mark m)
{
    return m == MARK_EMBEDDING || m == MARK_LAYER || m == MARK_HEAD;
}

static bool begins_layer(enum mark m)
{
    return m == MARK_NONE || m == MARK_EMBEDDING || m == MARK_LAYER;
}

enum wire_kind names_stretch(enum mark from, enum mark to, uint16_t *flags)
{
    *flags = 0;
    switch (to) {
    case MARK_EMBEDDING:
        return WIRE_EMBEDDING;
    case MARK_ATTENTION_NORM:
        return begins_layer(from) ? WIRE_ATTENTION_NORM : WIRE_OTHER;
    case MARK_ATTENTION:
        *flags = begins_layer(from) ? WIRE_NORM_INSIDE : 0;
        return begins_layer(from) || from == MARK_ATTENTION_NORM ? WIRE_ATTENTION : WIRE_OTHER;
    case MARK_FFN_NORM:
        return from == MARK_ATTENTION ? WIRE_FFN_NORM : WIRE_OTHER;
    case MARK_LAYER:
        *flags = from == MARK_ATTENTION ? WIRE_NORM_INSIDE : 0;
        return from == MARK_FFN_NORM || from == MARK_ATTENTION ? WIRE_FFN : WIRE_LAYER;
    case MARK_OUTPUT_NORM:
        return begins_layer(from) ? WIRE_OUTPUT_NORM : WIRE_OTHER;
    case MARK_HEAD:
        *flags = from == MARK_LAYER ? WIRE_NORM_INSIDE : 0;
        return from == MARK_OUTPUT_NORM || from == MARK_LAYER ? WIRE_HEAD : WIRE_OTHER;
    case MARK_NONE:
        break;
    }
    return WIRE_OTHER;
}

/* ---- below components --------------------------------------------------------------------------------------------------- */

enum wire_kind names_inside(enum mark from, int layer)
{
    switch (from) {
    case MARK_NONE:
        return WIRE_EMBEDDING;
    case MARK_EMBEDDING:
    case MARK_LAYER:
        return layer >= 0 ? WIRE_ATTENTION_NORM : from == MARK_LAYER ? WIRE_OUTPUT_NORM : WIRE_EMBEDDING;
    case MARK_ATTENTION_NORM:
        return WIRE_ATTENTION;
    case MARK_ATTENTION:
        return WIRE_FFN_NORM;
    case MARK_FFN_NORM:
        return WIRE_FFN;
    case MARK_OUTPUT_NORM:
        return WIRE_HEAD;
    case MARK_HEAD:
        break;
    }
    return WIRE_OTHER;
}

bool names_is_view(const char *operation)
{
    static const char *const views[] = {"NONE", "VIEW", "RESHAPE", "PERMUTE", "TRANSPOSE"};
    for (size_t i = 0; i < sizeof(views) / sizeof(views[0]); i++)
        if (operation[0] == views[i][0] && strcmp(operation, views[i]) == 0)
            return true;
    return false;
}

/* "Qcur-3 (reshaped)" is as long as "Qcur", "cache_k_l3 (view)" as "cache_k"; "node_31" is called after its operation alone. */
size_t names_base(const char *name)
{
    size_t n = strcspn(name, " "), i = n;
    if (strncmp(name, "node_", 5) == 0 || strncmp(name, "leaf_", 5) == 0)
        return 4;
    while (i > 0 && name[i - 1] >= '0' && name[i - 1] <= '9')
        i--;
    if (i == n)
        return n;
    if (i > 1 && name[i - 1] == '-')
        return i - 1;
    return i > 2 && name[i - 1] == 'l' && name[i - 2] == '_' ? i - 2 : n;
}

struct part_row {
    const char *name, *operation; /* beginnings; NULL: any */
    enum wire_part part;
};

static enum wire_part look_up(const struct part_row *rows, size_t n, const char *name, const char *operation)
{
    for (size_t i = 0; i < n; i++)
        if ((!rows[i].name || strncmp(name, rows[i].name, strlen(rows[i].name)) == 0) &&
            (!rows[i].operation || strncmp(operation, rows[i].operation, strlen(rows[i].operation)) == 0))
            return rows[i].part;
    return WIRE_PART_NONE;
}

#define LOOK_UP(rows) look_up(rows, sizeof(rows) / sizeof((rows)[0]), name, operation)

static enum wire_part attention_part(const char *name, const char *operation)
{
    static const struct part_row rows[] = {
        {NULL, "ROPE", WIRE_ROPE},
        {NULL, "SET_ROWS", WIRE_KV_WRITE},
        {"cache_", "CPY", WIRE_KV_WRITE},
        {"k_cache", "CPY", WIRE_KV_WRITE},
        {"v_cache", "CPY", WIRE_KV_WRITE},
        {NULL, "FLASH_ATTN", WIRE_SCORES},
        {NULL, "SOFT_MAX", WIRE_SCORES},
        {"kqv_out", "MUL_MAT", WIRE_PROJECTION},
        {"kq", NULL, WIRE_SCORES},
        {"v_cont", NULL, WIRE_SCORES},
        {"attn_out", NULL, WIRE_PROJECTION},
        {"attn_output", NULL, WIRE_PROJECTION},
        {"Qcur", NULL, WIRE_QKV},
        {"Kcur", NULL, WIRE_QKV},
        {"Vcur", NULL, WIRE_QKV},
        {"wqkv", NULL, WIRE_QKV},
        {"bqkv", NULL, WIRE_QKV},
        {"q_", NULL, WIRE_QKV},
        {"k_", NULL, WIRE_QKV},
        {"v_", NULL, WIRE_QKV},
        {"ffn_inp", "ADD", WIRE_RESIDUAL},
        {NULL, "RMS_NORM", WIRE_NORM},
    };
    return LOOK_UP(rows);
}

static enum wire_part ffn_part(const char *name, const char *operation)
{
    static const struct part_row rows[] = {
        {"ffn_moe_logits", NULL, WIRE_ROUTER},   {"ffn_moe_probs", NULL, WIRE_ROUTER},
        {"ffn_moe_argsort", NULL, WIRE_ROUTER},  {"ffn_moe_topk", NULL, WIRE_ROUTER},
        {"ffn_moe_weights", NULL, WIRE_ROUTER},  {"ffn_moe_group", NULL, WIRE_ROUTER},
        {"ffn_moe_", NULL, WIRE_EXPERTS},        {NULL, "MUL_MAT_ID", WIRE_EXPERTS},
        {"ffn_gate_par", NULL, WIRE_ACTIVATION}, {NULL, "SWIGLU", WIRE_ACTIVATION},
        {NULL, "GEGLU", WIRE_ACTIVATION},        {NULL, "REGLU", WIRE_ACTIVATION},
        {NULL, "GLU", WIRE_ACTIVATION},          {NULL, "SILU", WIRE_ACTIVATION},
        {NULL, "GELU", WIRE_ACTIVATION},         {NULL, "RELU", WIRE_ACTIVATION},
        {NULL, "UNARY", WIRE_ACTIVATION},        {"ffn_swiglu", NULL, WIRE_ACTIVATION},
        {"ffn_gate", NULL, WIRE_GATE},           {"ffn_up", NULL, WIRE_UP},
        {"ffn_down", NULL, WIRE_DOWN},           {"ffn_out", NULL, WIRE_DOWN},
        {"l_out", "ADD", WIRE_RESIDUAL},         {NULL, "RMS_NORM", WIRE_NORM},
    };
    return LOOK_UP(rows);
}

enum wire_part names_part(enum wire_kind inside, const char *name, const char *operation)
{
    switch (inside) {
    case WIRE_ATTENTION:
        return attention_part(name, operation);
    case WIRE_FFN:
        return ffn_part(name, operation);
    case WIRE_ATTENTION_NORM:
    case WIRE_FFN_NORM:
    case WIRE_OUTPUT_NORM:
        return WIRE_NORM;
    default:
        return WIRE_PART_NONE;
    }
}
