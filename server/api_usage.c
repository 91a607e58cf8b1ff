/* api_usage.c - who asked for what, and what it drew: the sums of `joulet usage`, from the store and what waits to be there. */
#include "lib/platform/platform.h"
#include "report/usage.h"
#include "server/api.h"
#include "server/metering.h"

#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX ((size_t)1 << 26)

/* "day,model"; false: answered with an error. */
static bool read_by(struct api_call *c, struct usage_wanted *w)
{
    const char *by = api_query_get(&c->query, "by");
    for (const char *p = by ? by : "model"; *p;) {
        char word[16] = "";
        size_t n = strcspn(p, ",");
        if (n < sizeof word)
            memcpy(word, p, n);
        enum usage_by which = usage_by_name(word);
        for (size_t k = 0; k < w->n_by; k++)
            if (w->by[k] == which)
                return api_bad_query(c, "by names something twice");
        if (which == USAGE_DIMENSIONS || (p[n] && !p[n + 1]))
            return api_bad_query(c, "by is no list, with commas, of model, client, tag, session, upstream and day");
        w->by[w->n_by++] = which;
        p += n + (p[n] == ',');
    }
    return true;
}

static bool answer(struct api_call *c, const struct usage *u)
{
    struct jl_buf out;
    jl_buf_init(&out, ANSWER_MAX);
    usage_json(&out, u);
    bool ok = out.failed ? api_bad_query(c, "the answer is too long: ask for a shorter time with since and until")
                         : api_json(c, 200, &out);
    jl_buf_release(&out);
    return ok;
}

static bool fails(struct api_call *c, const struct joulet_error *err)
{
    if (err->status == JOULET_NOT_FOUND)
        return api_error(c, 404, "not_stored", err->message, "GET /joulet/metrics has sums since the start");
    if (err->status == JOULET_BUSY)
        return api_error(c, 503, "busy", err->message, NULL);
    return api_failed(c, err);
}

bool api_usage(struct api_call *c)
{
    static const struct run no_factors;
    const struct run *factors = c->server->o.api.factors;
    struct usage_wanted w = {.utc_offset_s = jl_utc_offset_s(jl_wall_ns()), .factors = factors ? factors : &no_factors};
    struct joulet_error err;
    if (!read_by(c, &w) || !api_time(c, "since", &w.since_ns) || !api_time(c, "until", &w.until_ns))
        return true;
    if (!c->server->o.metering)
        return api_not_measured(c);
    struct usage *u = malloc(sizeof *u);
    if (!u)
        return api_no_memory(c);
    bool ok;
    if (metering_usage(c->server->o.metering, &w, u, &err) == JOULET_OK) {
        ok = answer(c, u);
        usage_release(u);
    } else {
        ok = fails(c, &err);
    }
    free(u);
    return ok;
}
