/* exchange.c - reads recordings: status line, headers, body with a length or in chunks. */
#include "tests/llm/exchange.h"

#include "lib/platform/platform.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void give_up(const char *name, const char *why)
{
    fprintf(stderr, "fixture %s: %s\n", name, why);
    abort();
}

static void unchunk(struct exchange *x, const char *name, const char *p, const char *end)
{
    for (;;) {
        char *after;
        size_t n = strtoul(p, &after, 16);
        if (after == p || end - after < 2 || memcmp(after, "\r\n", 2) != 0)
            give_up(name, "bad chunk");
        p = after + 2;
        if (n == 0)
            return;
        if ((size_t)(end - p) < n + 2)
            give_up(name, "short chunk");
        memcpy(x->body + x->n, p, n);
        x->n += n;
        p += n + 2;
    }
}

void exchange_load(struct exchange *x, const char *name)
{
    struct jl_buf b;
    struct joulet_error err;
    char *path = jl_strf("%s/llama-server/%s.response.http", FIXTURES, name);
    jl_buf_init(&b, 1 << 24);
    if (jl_read_file(path, &b, &err) != JOULET_OK)
        give_up(name, err.message);
    char *head_end = strstr(b.data, "\r\n\r\n");
    if (!head_end || sscanf(b.data, "HTTP/1.1 %d", &x->status) != 1)
        give_up(name, "no head");
    char *body = head_end + 4, *end = b.data + b.len;
    *head_end = '\0';
    x->stream = strstr(b.data, "text/event-stream") != NULL;
    x->body = malloc(b.len + 1);
    x->n = 0;
    if (strstr(b.data, "Transfer-Encoding: chunked")) {
        unchunk(x, name, body, end);
    } else {
        x->n = (size_t)(end - body);
        memcpy(x->body, body, x->n);
    }
    x->body[x->n] = '\0';
    jl_buf_release(&b);
    free(path);
}

void exchange_release(struct exchange *x)
{
    free(x->body);
}
