/* csv.c - rows of comma-separated values as RFC 4180 has them; a lone LF ends a row too, and blank lines are skipped.
 * The text of a row is unquoted into one buffer; its fields point into it until the next row. */
#include "lib/base/base.h"

#include <stdlib.h>
#include <string.h>

void jl_csv_init(struct jl_csv *c, const char *text, size_t len)
{
    *c = (struct jl_csv){.p = text, .end = text + len};
    if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) /* spreadsheets put a byte order mark first */
        c->p += 3;
    jl_buf_init(&c->text, (size_t)64 << 20);
}

void jl_csv_release(struct jl_csv *c)
{
    jl_buf_release(&c->text);
    free(c->fields);
    free(c->offsets);
    *c = (struct jl_csv){0};
}

static bool begin_field(struct jl_csv *c)
{
    if (c->n == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 16;
        size_t *offsets = realloc(c->offsets, cap * sizeof(*offsets));
        if (!offsets)
            return false;
        c->offsets = offsets;
        char **fields = realloc(c->fields, cap * sizeof(*fields));
        if (!fields)
            return false;
        c->fields = fields;
        c->cap = cap;
    }
    c->offsets[c->n++] = c->text.len;
    return true;
}

/* Bytes of one field from c->p up to its separator or the end of the row; quotes are taken off. */
static bool read_field(struct jl_csv *c)
{
    bool quoted = c->p < c->end && *c->p == '"';
    if (quoted)
        c->p++;
    while (c->p < c->end) {
        char ch = *c->p;
        if (quoted && ch == '"') {
            if (c->p + 1 < c->end && c->p[1] == '"') {
                c->p++;
            } else {
                quoted = false;
                c->p++;
                continue;
            }
        } else if (!quoted && (ch == ',' || ch == '\n' || (ch == '\r' && (c->p + 1 == c->end || c->p[1] == '\n')))) {
            break;
        }
        if (!jl_buf_add(&c->text, &ch, 1))
            return false;
        c->p++;
    }
    return jl_buf_add(&c->text, "", 1);
}

static void skip_blank_lines(struct jl_csv *c)
{
    while (c->p < c->end && (*c->p == '\n' || *c->p == '\r'))
        c->p++;
}

bool jl_csv_next(struct jl_csv *c)
{
    c->n = 0;
    jl_buf_clear(&c->text);
    skip_blank_lines(c);
    if (c->p >= c->end)
        return false;
    for (;;) {
        if (!begin_field(c) || !read_field(c))
            return false;
        if (c->p >= c->end || *c->p != ',')
            break;
        c->p++;
    }
    for (size_t i = 0; i < c->n; i++)
        c->fields[i] = c->text.data + c->offsets[i];
    return true;
}
