/* api_requests.c - requests as they were and as they go, and the accounts of energy: the metering knows them, here is what may be
 * asked of it. */
#include "server/api.h"
#include "server/metering.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT_ONCE 32 /* of a stream's requests, under the lock of the metering */

struct following {
    struct api_stream s;
    struct metering *metering;
    struct api_query query; /* what the filter points into */
    struct metering_filter filter;
    struct metering_place place;
};

/* "1763797219000000000-0123456789abcdef" */
static bool read_cursor(const char *text, struct metering_cursor *out)
{
    char number[24];
    size_t n = strspn(text, "0123456789");
    const char *id = text + n + 1;
    if (n == 0 || n >= sizeof number || text[n] != '-' || strlen(id) != 16 || strspn(id, "0123456789abcdef") != 16)
        return false;
    snprintf(number, sizeof number, "%.*s", (int)n, text);
    memcpy(out->id, id, 17);
    return jl_parse_i64(number, &out->wall_ns);
}

/* False: answered with an error. */
static bool read_filter(struct api_call *c, const struct api_query *q, struct metering_filter *f, size_t otherwise)
{
    static const char *const states[] = {"running", "done", "client gone", "cut", "failed"};
    const char *before = api_query_get(q, "before"), *after = api_query_get(q, "after");
    *f = (struct metering_filter){.model = api_query_get(q, "model"),
                                  .upstream = api_query_get(q, "upstream"),
                                  .client = api_query_get(q, "client"),
                                  .session = api_query_get(q, "session"),
                                  .state = api_query_get(q, "state"),
                                  .kind = api_query_get(q, "kind"),
                                  .protocol = api_query_get(q, "protocol")};
    bool known = !f->state;
    for (size_t i = 0; i < JL_COUNT(states) && !known; i++)
        known = strcmp(states[i], f->state) == 0;
    if (!known)
        return api_bad_query(c, "state is none of running, done, client gone, cut, failed");
    if ((before && !read_cursor(before, &f->before)) || (after && !read_cursor(after, &f->after)))
        return api_bad_query(c, "before and after take what an answer has under these names");
    return api_limit(c, otherwise, METERING_REQUESTS, &f->limit) && api_time(c, "since", &f->since_ns) &&
           api_time(c, "until", &f->until_ns);
}

static bool fill(struct api_stream *s)
{
    struct following *f = jl_container_of(s, struct following, s);
    metering_follow_requests(f->metering, &f->filter, &f->place, AT_ONCE, &s->out);
    return true;
}

static void release(struct api_stream *s)
{
    free(jl_container_of(s, struct following, s));
}

/* What is under way first, after as many of the latest as asked for; then what changes. */
static bool follow(struct api_call *c)
{
    struct following *f = calloc(1, sizeof *f);
    if (!f)
        return api_no_memory(c);
    f->metering = c->server->o.metering;
    f->query = c->query;
    if (!read_filter(c, &f->query, &f->filter, 0)) {
        free(f);
        return true;
    }
    f->s.fill = fill;
    f->s.release = release;
    return api_events(c, &f->s);
}

bool api_requests(struct api_call *c)
{
    struct metering_filter f;
    struct jl_buf out;
    bool asked;
    if (!c->server->o.metering)
        return api_not_measured(c);
    if (!api_flag(c, "follow", &asked))
        return true;
    if (api_wants_events(c, "follow"))
        return follow(c);
    if (!read_filter(c, &c->query, &f, API_LIMIT))
        return true;
    jl_buf_init(&out, (size_t)1 << 26);
    metering_write_requests(c->server->o.metering, &f, &out);
    bool ok = api_json(c, 200, &out);
    jl_buf_release(&out);
    return ok;
}

bool api_request(struct api_call *c)
{
    struct jl_buf out;
    if (!c->server->o.metering)
        return api_not_measured(c);
    jl_buf_init(&out, 1 << 20);
    bool ok = metering_write_request(c->server->o.metering, c->name, &out)
                  ? api_json(c, 200, &out)
                  : api_error(c, 404, "not_found",
                              "this request is not known: it was none that computes tokens, or too many came after it",
                              "GET /joulet/requests lists the latest");
    jl_buf_release(&out);
    return ok;
}

bool api_energy(struct api_call *c)
{
    struct jl_buf out;
    if (!c->server->o.metering)
        return api_not_measured(c);
    jl_buf_init(&out, 1 << 20);
    metering_write_energy(c->server->o.metering, &out);
    bool ok = api_json(c, 200, &out);
    jl_buf_release(&out);
    return ok;
}
