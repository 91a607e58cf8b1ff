/* cursor.h - inside the GGUF room: a place in foreign bytes, and the values that stand there. */
#ifndef LLM_GGUF_CURSOR_H
#define LLM_GGUF_CURSOR_H

#include "lib/base/base.h"

enum {
    GGUF_VALUE_U8,
    GGUF_VALUE_I8,
    GGUF_VALUE_U16,
    GGUF_VALUE_I16,
    GGUF_VALUE_U32,
    GGUF_VALUE_I32,
    GGUF_VALUE_F32,
    GGUF_VALUE_BOOL,
    GGUF_VALUE_STRING,
    GGUF_VALUE_ARRAY,
    GGUF_VALUE_U64,
    GGUF_VALUE_I64,
    GGUF_VALUE_F64,
    GGUF_VALUE_TYPES
};

struct gguf_cursor {
    const uint8_t *at;
    size_t left;
    bool cut;          /* more bytes are needed */
    const char *wrong; /* what cannot be right; NULL so far */
};

struct gguf_text {
    const char *at;
    size_t n;
};

bool gguf_good(const struct gguf_cursor *c);
/* The next n bytes; NULL, and *cut set, when there are not so many. */
const uint8_t *gguf_take(struct gguf_cursor *c, uint64_t n);
uint64_t gguf_number(struct gguf_cursor *c, int bytes); /* little-endian; 0 when cut */
struct gguf_text gguf_string(struct gguf_cursor *c);    /* borrowed from the bytes */
bool gguf_is(struct gguf_text t, const char *word);
/* The key without its first part: "llama.block_count" gives "block_count", whatever the architecture. */
struct gguf_text gguf_after_dot(struct gguf_text key);
void gguf_skip_value(struct gguf_cursor *c, uint64_t type, int depth);
/* An integer of any width, or the first element of an array of them (head counts by layer); -1 otherwise. Moves past the value.
 */
int64_t gguf_integer(struct gguf_cursor *c, uint64_t type, uint64_t *elements);

#endif
