/* Any bytes as the head of a model. What is accepted is printable and counts what is known; what is refused has a reason. */
#include "llm/gguf/head.h"

#include <stdlib.h>
#include <string.h>

static void check_text(const char *text, size_t size)
{
    if (!memchr(text, '\0', size))
        abort();
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            abort();
}

/* Every tensor that is taken has a name and a size that can be multiplied out. */
static void check_model(const uint8_t *data, size_t size, bool head_is_good)
{
    struct gguf_model m;
    enum joulet_status status = gguf_parse_model(data, size, &m, NULL);
    if (status == JOULET_OK && !head_is_good)
        abort();
    if (status != JOULET_OK && (m.weights || m.n_weights))
        abort();
    for (size_t i = 0; i < m.n_weights; i++) {
        const struct gguf_weight *w = &m.weights[i];
        if (!memchr(w->name, '\0', sizeof(w->name)) || w->columns < 1 || w->rows < 1 || w->planes < 1)
            abort();
    }
    gguf_model_release(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf_head h;
    struct joulet_error err = {.message = ""};
    size_t used;
    bool cut;
    enum joulet_status status = gguf_take_head(data, size, &h, &used, &cut, &err);
    if (used > size || (cut && status == JOULET_OK) || (status != JOULET_OK && !err.message[0]))
        abort();
    check_model(data, size, status == JOULET_OK);
    if (status != JOULET_OK)
        return 0;
    check_text(h.architecture, sizeof(h.architecture));
    check_text(h.name, sizeof(h.name));
    check_text(h.quantisation, sizeof(h.quantisation));
    if (!h.architecture[0] || h.params < -1 || h.layers < -1 || h.context_length < -1 || h.vocab < -1 || h.tensors < 0)
        abort();
    return 0;
}
