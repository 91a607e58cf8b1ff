/* ask.c - one question to a meter, and its answer. */
#include "meters/source.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_S 2.0
#define ANSWER_S  4.0 /* a plug answers in 20 to 300 ms, a management controller in seconds */
#define BODY_MAX  ((size_t)8 << 20)

static enum joulet_status refused(const struct meters *all, int status, struct joulet_error *err)
{
    if ((status == 401 || status == 403) && all->token)
        return jl_fail(err, JOULET_PERMISSION,
                       "answers that the session is over or unknown (HTTP %d); set JOULET_METER_TOKEN to a new one, or take it "
                       "away and set JOULET_METER_USER and JOULET_METER_PASSWORD",
                       status);
    if (status == 401 || status == 403)
        return jl_fail(
            err, JOULET_PERMISSION,
            "answers that it wants another user and password (HTTP %d); set JOULET_METER_USER and JOULET_METER_PASSWORD", status);
    if (status >= 300 && status < 400)
        return jl_fail(err, JOULET_FORMAT, "sends us to another address (HTTP %d); give that one", status);
    return jl_fail(err, JOULET_NOT_FOUND, "answers with HTTP %d; check the address and the kind of the meter", status);
}

/* Tasmota wants who asks in the address, and asks for it with an answer that is no refusal. It is not kept, and never shown. */
static char *with_login(const struct meter_source *s, const char *url)
{
    const struct meters *all = s->all;
    if (!s->at.kind->login_in_query || !all->user)
        return jl_strdup(url);
    char *user = net_escape(all->user), *password = net_escape(all->password ? all->password : "");
    char *full = user && password ? jl_strf("%s&user=%s&password=%s", url, user, password) : NULL;
    free(user);
    free(password);
    return full;
}

enum joulet_status meter_get(struct meter_source *s, const char *url, struct net_response *r, struct joulet_error *err)
{
    const struct meters *all = s->all;
    char *full = with_login(s, url);
    *r = (struct net_response){.status = 0};
    if (!full)
        return jl_fail(err, JOULET_MEMORY, "out of memory while asking a meter");
    const struct net_header token = {"X-Auth-Token", all->token};
    struct net_request q = {.method = "GET",
                            .url = full,
                            .headers = &token,
                            .n_headers = all->token ? 1 : 0,
                            .connect_timeout_s = CONNECT_S,
                            .idle_timeout_s = ANSWER_S,
                            .total_timeout_s = ANSWER_S,
                            .max_bytes = BODY_MAX,
                            .login = all->token || s->at.kind->login_in_query ? NULL : all->user,
                            .password = all->password,
                            .ca_file = all->ca_file,
                            .insecure = s->at.insecure,
                            .cancel = &s->all->stop};
    enum joulet_status st = net_http(&q, r, err);
    free(full);
    return st == JOULET_OK && r->status != 200 ? refused(all, r->status, err) : st;
}

static enum joulet_status ask_one(struct meter_source *s, const char *url, struct page *page, int64_t *asked, int64_t *answered,
                                  struct joulet_error *err)
{
    struct net_response r;
    struct page_ask what = {.channel = s->at.channel, .pid = atomic_load(&s->all->pid)};
    *asked = jl_mono_ns();
    enum joulet_status st = meter_get(s, url, &r, err);
    *answered = r.t_end_ns > *asked ? r.t_end_ns : jl_mono_ns();
    if (r.t_start_ns > *asked && r.t_start_ns < *answered)
        *asked = r.t_start_ns; /* after connecting */
    if (st == JOULET_OK)
        st = s->at.kind->parse(r.body.data ? r.body.data : "", r.body.len, &what, page, err);
    net_response_release(&r);
    return st;
}

/* A sum of parts is known where all of them are. */
static void add_up(struct page *sum, const struct page *part)
{
    for (size_t i = 0; i < sum->n; i++) {
        double value = NAN;
        for (size_t k = 0; k < part->n; k++)
            if (strcmp(part->values[k].name, sum->values[i].name) == 0)
                value = part->values[k].value;
        sum->values[i].value += value;
    }
}

/* Those that a part does not tell. */
static void drop_unknown(struct page *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        if (!isnan(p->values[i].value))
            p->values[n++] = p->values[i];
    p->n = n;
}

enum joulet_status meter_ask(struct meter_source *s, struct page *page, int64_t *asked, int64_t *answered,
                             struct joulet_error *err)
{
    enum joulet_status st = JOULET_OK;
    for (size_t i = 0; i < s->n_urls && st == JOULET_OK; i++) {
        struct page part;
        int64_t from, to;
        st = ask_one(s, s->urls[i], &part, &from, &to, err);
        *asked = i == 0 ? from : *asked;
        *answered = to;
        if (i == 0)
            *page = part;
        else if (st == JOULET_OK)
            add_up(page, &part);
    }
    if (st == JOULET_OK && s->n_urls > 1)
        drop_unknown(page);
    return st;
}
