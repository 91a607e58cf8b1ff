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
    if (status != JOULET_OK)
        return 0;
    check_text(h.architecture, sizeof(h.architecture));
    check_text(h.name, sizeof(h.name));
    check_text(h.quantisation, sizeof(h.quantisation));
    if (!h.architecture[0] || h.params < -1 || h.layers < -1 || h.context_length < -1 || h.vocab < -1 || h.tensors < 0)
        abort();
    return 0;
}
