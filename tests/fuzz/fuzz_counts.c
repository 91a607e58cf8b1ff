/* Any bytes as the head of a model whose work is counted: what is counted is finite and not negative, and its layers, parts and
 * ends are the whole. */
#include "profile/counts.h"

#include <math.h>
#include <stdlib.h>

static void check_count(const struct profile_count *c)
{
    if (!(c->flop >= 0 && isfinite(c->flop) && profile_count_bytes(c) >= 0 && isfinite(profile_count_bytes(c))))
        abort();
}

static void check_shape(const struct profile_shape *s)
{
    struct profile_counts c;
    if (profile_counts_init(&c, s, NULL) != JOULET_OK)
        return;
    profile_count_prefill(&c, s, 3, 5, 4);
    profile_count_decode(&c, s, 8, 2, 3);
    struct profile_count all = profile_counts_all(&c), sum = {0};
    for (size_t i = 0; i < c.n_layers; i++) {
        struct profile_count one = profile_counts_layer(&c, i);
        profile_count_add(&sum, &one);
    }
    for (int p = 0; p < PROFILE_PARTS; p++)
        profile_count_add(&sum, &c.ends[p]);
    check_count(&all);
    if (fabs(all.flop - sum.flop) > 1e-9 * all.flop)
        abort();
    profile_counts_release(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf_model m;
    struct profile_shape s;
    struct joulet_error err = {.message = ""};
    if (gguf_parse_model(data, size, &m, NULL) != JOULET_OK)
        return 0;
    if (profile_shape_init(&s, &m, gguf_type_get(GGUF_Q8_0), NULL, &err) == JOULET_OK) {
        check_shape(&s);
        profile_shape_release(&s);
    } else if (!err.message[0]) {
        abort();
    }
    gguf_model_release(&m);
    return 0;
}
