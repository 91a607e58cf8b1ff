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

static void add(struct exchange *x, const char *bytes, size_t n)
{
    memcpy(x->body + x->n, bytes, n);
    x->n += n;
}

/* A connection that broke leaves a short chunk or no last one. */
static void unchunk(struct exchange *x, const char *name, const char *p, const char *end)
{
    while (p < end) {
        char *after;
        size_t n = strtoul(p, &after, 16);
        if (after == p || end - after < 2 || memcmp(after, "\r\n", 2) != 0)
            give_up(name, "bad chunk");
        p = after + 2;
        if (n == 0)
            return;
        if ((size_t)(end - p) < n + 2) {
            add(x, p, (size_t)(end - p) < n ? (size_t)(end - p) : n);
            return;
        }
        add(x, p, n);
        p += n + 2;
    }
}

void exchange_load_from(struct exchange *x, const char *folder, const char *name)
{
    struct jl_buf b;
    struct joulet_error err;
    char *path = jl_strf("%s/%s/%s.response.http", FIXTURES, folder, name);
    jl_buf_init(&b, 1 << 24);
    if (jl_read_file(path, &b, &err) != JOULET_OK)
        give_up(name, err.message);
    char *head = b.data, *head_end = strstr(head, "\r\n\r\n"), *end = b.data + b.len;
    if (head_end && jl_starts(head, "HTTP/1.1 100")) {
        head = head_end + 4;
        head_end = strstr(head, "\r\n\r\n");
    }
    if (!head_end || sscanf(head, "HTTP/1.%*d %d", &x->status) != 1)
        give_up(name, "no head");
    *head_end = '\0';
    x->stream = strstr(head, "text/event-stream") || strstr(head, "application/x-ndjson");
    x->body = malloc(b.len + 1);
    x->n = 0;
    if (strstr(head, "Transfer-Encoding: chunked"))
        unchunk(x, name, head_end + 4, end);
    else
        add(x, head_end + 4, (size_t)(end - head_end - 4));
    x->body[x->n] = '\0';
    jl_buf_release(&b);
    free(path);
}

void exchange_load(struct exchange *x, const char *name)
{
    exchange_load_from(x, "llama-server", name);
}

void exchange_release(struct exchange *x)
{
    free(x->body);
}
