/* Answers of upstreams: whole and cut anywhere they are the same head, the same body and the same end. The first byte says
 * whether HEAD was asked, the second where the input is cut. */
#include "net/serve_reply.h"

#include <stdlib.h>
#include <string.h>

struct seen {
    struct reply r;
    enum reply_head head;
    struct jl_buf body;
};

static void take(struct seen *s, const char *bytes, size_t n)
{
    size_t used = 0;
    if (s->head != REPLY_HEAD) {
        if (s->head != REPLY_MORE)
            return;
        s->head = reply_head_bytes(&s->r, bytes, n, &used);
        if (used > n)
            abort();
    }
    char *rest = malloc(n - used + 1); /* as long as it is: whoever reads on is seen */
    if (s->head == REPLY_HEAD && rest) {
        memcpy(rest, bytes + used, n - used);
        size_t body = reply_body_bytes(&s->r, rest, n - used);
        if (body > n - used)
            abort();
        jl_buf_add(&s->body, rest, body);
    }
    free(rest);
}

static void all(struct seen *s, const char *bytes, size_t n, bool to_head, size_t piece)
{
    *s = (struct seen){.head = REPLY_MORE};
    reply_init(&s->r, to_head);
    jl_buf_init(&s->body, SIZE_MAX);
    for (size_t i = 0; i < n; i += piece)
        take(s, bytes + i, n - i < piece ? n - i : piece);
    reply_ends(&s->r);
}

static bool same(const struct seen *a, const struct seen *b)
{
    if (a->head != REPLY_HEAD || b->head != REPLY_HEAD) /* refused in both, for whichever reason is seen first */
        return (a->head == REPLY_HEAD) == (b->head == REPLY_HEAD) && (a->head == REPLY_MORE) == (b->head == REPLY_MORE);
    if (a->r.status != b->r.status || a->r.n_headers != b->r.n_headers || a->r.length != b->r.length || a->r.done != b->r.done ||
        a->r.broken != b->r.broken || a->r.more != b->r.more || a->body.len != b->body.len)
        return false;
    for (size_t i = 0; i < a->r.n_headers; i++)
        if (strcmp(a->r.headers[i].name, b->r.headers[i].name) != 0 ||
            strcmp(a->r.headers[i].value, b->r.headers[i].value) != 0 || strpbrk(a->r.headers[i].value, "\r\n"))
            return false;
    return a->body.len == 0 || memcmp(a->body.data, b->body.data, a->body.len) == 0;
}

static void release(struct seen *s)
{
    reply_release(&s->r);
    jl_buf_release(&s->body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen whole, cut;
    if (size < 2)
        return 0;
    const char *bytes = (const char *)data + 2;
    all(&whole, bytes, size - 2, data[0] & 1, size);
    all(&cut, bytes, size - 2, data[0] & 1, data[1] % 7u + 1);
    if (!same(&whole, &cut) || (whole.r.done && whole.r.broken))
        abort();
    release(&whole);
    release(&cut);
    return 0;
}
