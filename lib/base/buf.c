/* buf.c - a growing buffer that must be given a maximum, so that foreign bytes cannot eat the machine. */
#include "lib/base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHORT ((size_t)64)

void jl_buf_init(struct jl_buf *b, size_t max)
{
    *b = (struct jl_buf){.max = max};
}

void jl_buf_init_unkept(struct jl_buf *b, size_t max)
{
    *b = (struct jl_buf){.max = max, .least = JL_UNKEPT};
}

void *jl_malloc_unkept(size_t n)
{
    return malloc(n > JL_UNKEPT ? n : JL_UNKEPT);
}

void jl_buf_release(struct jl_buf *b)
{
    free(b->data);
    *b = (struct jl_buf){.max = b->max, .least = b->least};
}

void jl_buf_clear(struct jl_buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data)
        b->data[0] = '\0';
}

/* As realloc. glibc's gives what is too small to the cache of its thread and takes nothing from there: seven blocks of each size
 * would stay, in each of thousands of threads. */
static char *longer(char *data, size_t len, size_t cap)
{
    if (!data || len >= JL_UNKEPT)
        return realloc(data, cap);
    char *more = realloc(NULL, cap);
    if (more) {
        memcpy(more, data, len);
        free(data);
    }
    return more;
}

/* Room for n more bytes and the NUL. `max` counts bytes without the NUL. */
static bool reserve(struct jl_buf *b, size_t n)
{
    if (n > b->max || b->len > b->max - n)
        return false;
    size_t need = b->len + n + 1;
    if (need <= b->cap)
        return true;
    size_t cap = b->cap ? b->cap : b->least ? b->least : SHORT;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    if (cap > b->max + 1 && b->max < SIZE_MAX)
        cap = b->max + 1;
    char *data = longer(b->data, b->len, cap);
    if (!data)
        return false;
    b->data = data;
    b->cap = cap;
    return true;
}

bool jl_buf_add(struct jl_buf *b, const void *bytes, size_t n)
{
    if (b->failed)
        return false;
    if (!reserve(b, n)) {
        /* Keep what fits: a message cut at the limit still tells more than none. */
        size_t fits = b->max > b->len ? b->max - b->len : 0;
        if (fits < n && reserve(b, fits)) {
            memcpy(b->data + b->len, bytes, fits);
            b->len += fits;
            b->data[b->len] = '\0';
        }
        b->failed = true;
        return false;
    }
    if (n > 0)
        memcpy(b->data + b->len, bytes, n);
    b->len += n;
    b->data[b->len] = '\0';
    return true;
}

bool jl_buf_str(struct jl_buf *b, const char *s)
{
    return jl_buf_add(b, s, strlen(s));
}

bool jl_buf_printf(struct jl_buf *b, const char *fmt, ...)
{
    char small[256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(small, sizeof(small), fmt, ap);
    va_end(ap);
    if (n < 0) {
        b->failed = true;
        return false;
    }
    if ((size_t)n < sizeof(small))
        return jl_buf_add(b, small, (size_t)n);
    char *large = malloc((size_t)n + 1);
    if (!large) {
        b->failed = true;
        return false;
    }
    va_start(ap, fmt);
    vsnprintf(large, (size_t)n + 1, fmt, ap);
    va_end(ap);
    bool ok = jl_buf_add(b, large, (size_t)n);
    free(large);
    return ok;
}

void jl_buf_drop(struct jl_buf *b, size_t n)
{
    if (n >= b->len) {
        b->len = 0;
    } else {
        memmove(b->data, b->data + n, b->len - n);
        b->len -= n;
    }
    if (b->data)
        b->data[b->len] = '\0';
}

char *jl_buf_take(struct jl_buf *b)
{
    char *data = b->data ? b->data : calloc(1, 1);
    *b = (struct jl_buf){.max = b->max, .least = b->least};
    return data;
}
