/* api_events.c - answers that go on: server-sent events, written in the thread of the client's connection. Nothing is queued for
 * a client: what it does not read in time it is not told, so memory stays as it is. */
#include "server/api.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_MS      50
#define HEARTBEAT_NS ((int64_t)15 * JL_NS_PER_S) /* what stands between asks whether the stream still lives */
#define OUT_MAX      ((size_t)4 << 20)

void api_event_begin(struct jl_buf *out, const char *name)
{
    jl_buf_printf(out, "event: %s\ndata: ", name);
}

void api_event_end(struct jl_buf *out)
{
    jl_buf_str(out, "\n\n");
}

/* False: it is over. */
static bool refill(struct api_stream *s)
{
    jl_buf_clear(&s->out);
    s->at = 0;
    if (atomic_load(&s->server->draining) || !s->fill(s))
        return false;
    if (s->out.len == 0 && jl_mono_ns() - s->wrote_ns >= s->heartbeat_ns)
        jl_buf_str(&s->out, ": still here\n\n");
    return true;
}

long api_stream_read(struct api_stream *s, char *bytes, size_t size)
{
    while (s->out.len == s->at) {
        if (!refill(s))
            return 0;
        if (s->out.failed)
            return -1;
        if (s->out.len == 0 && net_client_left(s->client_fd, LOOK_MS))
            return -1;
    }
    size_t n = s->out.len - s->at < size ? s->out.len - s->at : size;
    memcpy(bytes, s->out.data + s->at, n);
    s->at += n;
    s->wrote_ns = jl_mono_ns();
    return (long)n;
}

void api_stream_close(struct api_stream *s)
{
    if (!s)
        return;
    jl_buf_release(&s->out);
    s->release(s);
}

bool api_events(struct api_call *c, struct api_stream *s)
{
    struct net_header headers[8] = {{"Content-Type", "text/event-stream"},
                                    {"Cache-Control", "no-store"},
                                    {"X-Content-Type-Options", "nosniff"},
                                    {"X-Accel-Buffering", "no"}}; /* nginx would hold events back */
    struct net_answer a = {.status = 200, .headers = headers, .n_headers = 4, .length = -1};
    s->server = c->server;
    s->client_fd = c->head->client_fd;
    s->wrote_ns = jl_mono_ns();
    s->heartbeat_ns = HEARTBEAT_NS;
    jl_buf_init(&s->out, OUT_MAX);
    jl_buf_str(&s->out, "retry: 2000\n\n");
    *c->stream = s; /* closed with the passage, answered or not */
    s->fill(s);     /* before the head: what happens after a client saw that is told, however late this thread goes on */
    a.n_headers += api_origin_headers(c, headers + a.n_headers);
    return net_call_answer(c->call, &a);
}
