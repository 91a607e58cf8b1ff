/* serve_log.c - `serve --verbose`: one line a request, written beside the stream by the observer's thread. */
#include "cli/serve.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct serve_log {
    const struct cli *cli;
    struct observer observer;
};

struct line {
    struct serve_log *log;
    const struct observed *seen;
    int status;
    uint64_t bytes;
    int64_t t_first_ns;
};

static void *on_begin(void *user, const struct observed *x)
{
    struct line *l = calloc(1, sizeof(*l));
    if (l)
        *l = (struct line){.log = user, .seen = x};
    return l;
}

static void on_head(void *state, int status, const struct net_header *headers, size_t n, int64_t t_ns)
{
    struct line *l = state;
    (void)headers, (void)n, (void)t_ns;
    l->status = status;
}

static void on_chunk(void *state, bool from_client, const char *bytes, size_t n, int64_t t_ns)
{
    struct line *l = state;
    (void)bytes;
    if (from_client)
        return;
    if (!l->t_first_ns)
        l->t_first_ns = t_ns;
    l->bytes += n;
}

static void on_end(void *state, const struct observed_end *e)
{
    static const char *const how[] = {"", ", the client left", ", cut", ", no answer"};
    struct line *l = state;
    const struct observed *x = l->seen;
    char first[48] = "";
    if (l->t_first_ns)
        snprintf(first, sizeof(first), ", first after %.4f s", jl_s(l->t_first_ns - x->t_ns));
    cli_say(l->log->cli, "%s %.7s %.*s %d, %" PRIu64 " bytes%s, %.4f s%s%s", x->id, x->method, (int)strcspn(x->target, "?"),
            x->target, l->status, l->bytes, first, jl_s(e->t_ns - x->t_ns), how[e->how], e->lost ? ", not wholly seen" : "");
    free(l);
}

struct serve_log *serve_log_open(const struct cli *c)
{
    struct serve_log *l = calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    l->cli = c;
    l->observer = (struct observer){.user = l, .begin = on_begin, .head = on_head, .chunk = on_chunk, .end = on_end};
    return l;
}

const struct observer *serve_log_observer(const struct serve_log *l)
{
    return &l->observer;
}

void serve_log_close(struct serve_log *l)
{
    free(l);
}
