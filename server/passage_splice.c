/* passage_splice.c - the bytes of an answer that get the energy put in, or lose the counts that only we asked for, on their way
 * to the client (splice.h). */
#include "server/internal.h"
#include "server/metering.h"
#include "server/recognise.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define AT_ONCE   ((size_t)8192)
#define OUT_LEAST JL_UNKEPT
#define RESERVE   ((size_t)720) /* bytes that an announced length grows by: more than the object ever has */

/* ---- counts ------------------------------------------------------------------------------------------------------------ */

/* Asks for counts where the client did not: its body becomes p->asked. */
void passage_ask_usage(struct passage *p)
{
    bool asks = false;
    if (!p->server->o.metering || passage_form(p) == SPLICE_NONE || p->streaming || !p->body.len ||
        atomic_load(&p->upstream->joulet) || /* it asks by itself, and tells */
        !recognise_takes_usage(p->head->method, p->up_target))
        return;
    p->asked_usage = splice_ask_usage(p->body.data, p->body.len, false, &p->asked, &asks);
    p->client_asks = asks;
    if (atomic_load(&p->upstream->usage) != USAGE_ASKED)
        p->asked_usage = false;
}

/* An engine that does not know the member refuses the whole request: it gets it as the client wrote it. */
bool passage_refuses_usage(struct passage *p, int status)
{
    if (!p->asked_usage || (status != 400 && status != 422))
        return false;
    p->asked_usage = false;
    jl_buf_release(&p->asked);
    return true;
}

/* ---- the answer -------------------------------------------------------------------------------------------------------- */

/* Room for so many bytes more without asking for memory; false: there is none, and nothing was spoilt. */
static bool has_room(struct jl_buf *b, size_t n)
{
    size_t need = b->len + n + 1;
    char *more = need <= b->cap ? b->data : realloc(b->data, need);
    if (!more)
        return false;
    b->data = more;
    b->cap = need <= b->cap ? b->cap : need;
    return true;
}

/* How much may be read at once, so that what becomes of it has its place already; 0: there is no memory for that, and what comes
 * goes on as it is, after what was held. */
size_t passage_splice_room(struct passage *p, size_t size)
{
    size_t n = size < AT_ONCE ? size : AT_ONCE;
    if (has_room(&p->out, p->splicer.held.len + n + SPLICE_MEMBERS_MAX))
        return n;
    if (p->splicer.held.len && p->out.len == 0) { /* its memory becomes that of what waits */
        struct jl_buf held = p->splicer.held;
        p->splicer.held = p->out;
        p->out = held;
    }
    p->splicer.passes = true;
    return 0;
}

static void on_out(void *user, const char *bytes, size_t n)
{
    struct passage *p = user;
    jl_buf_add(&p->out, bytes, n);
}

static size_t on_members(void *user, char *out, size_t size)
{
    struct passage *p = user;
    return metering_members(p->server->o.metering, p->id, p->splicer.o.form == SPLICE_USAGE, out, size);
}

static bool framing_of(const struct net_reply *reply, enum splice_framing *framing)
{
    static const struct {
        const char *type;
        enum splice_framing framing;
    } types[] = {{"application/json", SPLICE_JSON}, {"application/x-ndjson", SPLICE_LINES}, {"text/event-stream", SPLICE_SSE}};
    const char *type = net_head_value(reply->headers, reply->n_headers, "Content-Type");
    for (size_t i = 0; type && i < JL_COUNT(types); i++) {
        size_t n = strlen(types[i].type);
        if (strncasecmp(type, types[i].type, n) == 0 && (!type[n] || strchr("; \t", type[n]))) {
            *framing = types[i].framing;
            return true;
        }
    }
    return false;
}

/* llama.cpp puts its times into the last object, which would be the one that we take out. */
static void learn_usage(struct passage *p, bool timings)
{
    int not_known = USAGE_NOT_KNOWN;
    if (timings)
        atomic_store(&p->upstream->usage, USAGE_NEVER);
    else
        atomic_compare_exchange_strong(&p->upstream->usage, &not_known, USAGE_ASKED);
}

static char *source_member(const char *url)
{
    struct jl_buf b;
    jl_buf_init_unkept(&b, SPLICE_MEMBERS_MAX);
    jl_buf_str(&b, "\"source\":");
    server_json_string(&b, url);
    if (!b.failed)
        return jl_buf_take(&b);
    jl_buf_release(&b);
    return NULL;
}

/* at_hand: all of the answer is there already, so that its length is ours to tell. Sets *length. */
void passage_splice_begin(struct passage *p, const struct net_reply *reply, bool at_hand, int64_t *length)
{
    struct splice_options o = {.form = passage_form(p),
                               .asks_usage = p->client_asks,
                               .drop_usage = p->asked_usage,
                               .members = on_members,
                               .out = on_out,
                               .user = p};
    const char *server = net_head_value(reply->headers, reply->n_headers, "Server");
    if (server && strcmp(server, "llama.cpp") == 0)
        learn_usage(p, true);
    if (!p->server->o.metering || o.form == SPLICE_NONE || reply->status != 200 || *length == 0 ||
        recognise_path(p->head->method, p->up_target) == RECOGNISED_OTHER || !framing_of(reply, &o.framing) ||
        net_head_value(reply->headers, reply->n_headers, "Content-Encoding"))
        return;
    if (atomic_load(&p->upstream->joulet)) {
        p->source = source_member(p->to->url);
        o.source = p->source;
    }
    jl_buf_init(&p->out, SIZE_MAX);
    if (!has_room(&p->out, OUT_LEAST)) /* the blanks at the end, at least, will have their place */
        return;
    if (*length >= 0 && !at_hand && o.framing == SPLICE_JSON) {
        o.reserve = RESERVE;
        *length += (int64_t)RESERVE;
    } else if (!at_hand) {
        *length = -1;
    }
    splicer_init(&p->splicer, &o);
    p->splices = true;
}

/* Of an answer that broke off the client gets what came. */
void passage_splice_end(struct passage *p, bool whole)
{
    if (!whole)
        p->splicer.o.form = SPLICE_NONE;
    splicer_end(&p->splicer);
    if (whole && p->splicer.o.framing == SPLICE_SSE && p->splicer.spliced && recognise_takes_usage(p->head->method, p->up_target))
        learn_usage(p, p->splicer.timings);
}

/* What waits to go to the client. */
long passage_splice_take(struct passage *p, char *bytes, size_t size)
{
    size_t n = p->out.len - p->out_at < size ? p->out.len - p->out_at : size;
    memcpy(bytes, p->out.data + p->out_at, n);
    p->out_at += n;
    if (p->out_at == p->out.len) {
        jl_buf_clear(&p->out);
        p->out_at = 0;
    }
    return (long)n;
}

void passage_splice_release(struct passage *p)
{
    if (p->splices) {
        splicer_release(&p->splicer);
        jl_buf_release(&p->out);
    }
    jl_buf_release(&p->asked);
    free(p->source);
}
