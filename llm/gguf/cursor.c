/* cursor.c - takes the values of a GGUF head apart. The bytes are foreign: every length is checked against what is left. */
#include "llm/gguf/cursor.h"

#include <string.h>

#define NESTING_MAX 4

static const uint8_t value_bytes[GGUF_VALUE_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

bool gguf_good(const struct gguf_cursor *c)
{
    return !c->cut && !c->wrong;
}

const uint8_t *gguf_take(struct gguf_cursor *c, uint64_t n)
{
    if (!gguf_good(c))
        return NULL;
    if (n > c->left) {
        c->cut = true;
        return NULL;
    }
    const uint8_t *p = c->at;
    c->at += n;
    c->left -= (size_t)n;
    return p;
}

uint64_t gguf_number(struct gguf_cursor *c, int bytes)
{
    const uint8_t *p = gguf_take(c, (uint64_t)bytes);
    uint64_t v = 0;
    for (int i = bytes; p && i-- > 0;)
        v = v << 8 | p[i];
    return v;
}

struct gguf_text gguf_string(struct gguf_cursor *c)
{
    uint64_t n = gguf_number(c, 8);
    if (n > (uint64_t)64 << 20)
        c->wrong = "a text of more than 64 MiB";
    const uint8_t *p = gguf_take(c, n);
    return p ? (struct gguf_text){(const char *)p, (size_t)n} : (struct gguf_text){"", 0};
}

bool gguf_is(struct gguf_text t, const char *word)
{
    return t.n == strlen(word) && memcmp(t.at, word, t.n) == 0;
}

/* The key without its first part: "llama.block_count" gives "block_count", whatever the architecture. */
struct gguf_text gguf_after_dot(struct gguf_text key)
{
    const char *dot = memchr(key.at, '.', key.n);
    if (!dot)
        return (struct gguf_text){"", 0};
    return (struct gguf_text){dot + 1, key.n - (size_t)(dot + 1 - key.at)};
}

/* ---- values ---------------------------------------------------------------------------------------------------------- */

static void skip_elements(struct gguf_cursor *c, uint64_t type, uint64_t n, int depth)
{
    if (type < GGUF_VALUE_TYPES && value_bytes[type]) {
        gguf_take(c, n > UINT64_MAX / 8 ? UINT64_MAX : n * value_bytes[type]);
        return;
    }
    for (uint64_t i = 0; i < n && gguf_good(c); i++)
        gguf_skip_value(c, type, depth);
}

void gguf_skip_value(struct gguf_cursor *c, uint64_t type, int depth)
{
    if (type == GGUF_VALUE_STRING) {
        gguf_string(c);
    } else if (type == GGUF_VALUE_ARRAY && depth < NESTING_MAX) {
        uint64_t inner = gguf_number(c, 4), n = gguf_number(c, 8);
        skip_elements(c, inner, n, depth + 1);
    } else if (type < GGUF_VALUE_TYPES && value_bytes[type]) {
        gguf_take(c, value_bytes[type]);
    } else if (gguf_good(c)) {
        c->wrong = "a value of unknown type";
    }
}

/* An integer of any width, or the first element of an array of them (head counts by layer); -1 otherwise. Moves past the value.
 */
int64_t gguf_integer(struct gguf_cursor *c, uint64_t type, uint64_t *elements)
{
    struct gguf_cursor inside = *c;
    *elements = 1;
    if (type == GGUF_VALUE_ARRAY) {
        type = gguf_number(&inside, 4);
        *elements = gguf_number(&inside, 8);
        gguf_skip_value(c, GGUF_VALUE_ARRAY, 0);
        if (*elements == 0)
            return -1;
    } else {
        gguf_skip_value(c, type, 0);
    }
    static const uint8_t is_integer[GGUF_VALUE_TYPES] = {
        [GGUF_VALUE_U8] = 1,  [GGUF_VALUE_I8] = 1,  [GGUF_VALUE_U16] = 1, [GGUF_VALUE_I16] = 1,
        [GGUF_VALUE_U32] = 1, [GGUF_VALUE_I32] = 1, [GGUF_VALUE_U64] = 1, [GGUF_VALUE_I64] = 1};
    if (type >= GGUF_VALUE_TYPES || !is_integer[type] || !gguf_good(c))
        return -1;
    uint64_t v = gguf_number(&inside, value_bytes[type]);
    bool has_sign = type == GGUF_VALUE_I8 || type == GGUF_VALUE_I16 || type == GGUF_VALUE_I32 || type == GGUF_VALUE_I64;
    uint64_t top = (uint64_t)1 << (8 * value_bytes[type] - 1);
    return v > INT64_MAX || (has_sign && v >= top) ? -1 : (int64_t)v;
}
