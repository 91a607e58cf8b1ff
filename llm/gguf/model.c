/* model.c - the tensors of a model, and those numbers of its head that their shapes do not tell. */
#include "llm/gguf/model.h"

#include <stdlib.h>
#include <string.h>

#define WEIGHTS_MAX  ((size_t)1 << 16)
#define ELEMENTS_MAX ((uint64_t)1 << 56)

void gguf_model_init(struct gguf_model *m)
{
    *m = (struct gguf_model){.key_length = -1,
                             .value_length = -1,
                             .rope_dimensions = -1,
                             .experts = -1,
                             .experts_used = -1,
                             .window = -1,
                             .window_period = -1};
}

void gguf_model_release(struct gguf_model *m)
{
    free(m->weights);
    m->weights = NULL;
    m->n_weights = 0;
}

/* One number: every so manyth layer sees all. A list: which layers have a window. */
static void take_pattern(struct gguf_model *m, uint64_t type, struct gguf_cursor *c)
{
    uint64_t elements;
    if (type != GGUF_VALUE_ARRAY) {
        m->window_period = gguf_integer(c, type, &elements);
        return;
    }
    uint64_t inner = gguf_number(c, 4), n = gguf_number(c, 8);
    if (inner != GGUF_VALUE_BOOL || n == 0 || n > GGUF_LAYERS_MAX)
        return;
    const uint8_t *each = gguf_take(c, n);
    for (uint64_t i = 0; each && i < n; i++)
        m->windowed[i] = each[i] != 0;
    m->by_layer = each != NULL;
}

void gguf_model_key(struct gguf_model *m, struct gguf_text key, uint64_t type, struct gguf_cursor value)
{
    const struct {
        const char *key;
        int64_t *to;
    } numbers[] = {
        {"attention.key_length", &m->key_length},      {"attention.value_length", &m->value_length},
        {"rope.dimension_count", &m->rope_dimensions}, {"expert_count", &m->experts},
        {"expert_used_count", &m->experts_used},       {"attention.sliding_window", &m->window},
    };
    uint64_t elements;
    for (size_t i = 0; i < JL_COUNT(numbers); i++)
        if (gguf_is(key, numbers[i].key))
            *numbers[i].to = gguf_integer(&value, type, &elements);
    if (gguf_is(key, "attention.sliding_window_pattern"))
        take_pattern(m, type, &value);
    if (gguf_is(key, "attention.max_alibi_bias"))
        m->alibi = true;
}

static struct gguf_weight *room_for_one(struct gguf_model *m)
{
    bool full = (m->n_weights & (m->n_weights - 1)) == 0; /* the room doubles: 0, 1, 2, 4, ... */
    if (!full)
        return &m->weights[m->n_weights++];
    struct gguf_weight *more = realloc(m->weights, (m->n_weights ? 2 * m->n_weights : 1) * sizeof *more);
    if (!more)
        return NULL;
    m->weights = more;
    return &m->weights[m->n_weights++];
}

const char *gguf_model_weight(struct gguf_model *m, struct gguf_text name, const uint64_t *size, size_t dimensions, uint64_t type)
{
    uint64_t planes = 1, elements = 1;
    if (name.n >= GGUF_NAME_MAX || memchr(name.at, '\0', name.n))
        return "a tensor with a name that no engine takes";
    for (size_t i = 0; i < dimensions; i++) {
        elements *= size[i]; /* no more than 2^60: who reads the head saw to that */
        planes *= i < 2 ? 1 : size[i];
    }
    if (elements == 0 || elements > ELEMENTS_MAX)
        return "a tensor of impossible size";
    if (m->n_weights >= WEIGHTS_MAX)
        return "more tensors than any model has";
    struct gguf_weight *w = room_for_one(m);
    if (!w)
        return "too large for the memory there is";
    *w = (struct gguf_weight){.type = type <= INT32_MAX ? (int)type : -1,
                              .columns = dimensions > 0 ? (int64_t)size[0] : 1,
                              .rows = dimensions > 1 ? (int64_t)size[1] : 1,
                              .planes = (int64_t)planes,
                              .dimensions = (int)dimensions};
    memcpy(w->name, name.at, name.n);
    return NULL;
}
