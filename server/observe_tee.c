/* observe_tee.c - two observers of the same exchanges: the one that meters, and the one that writes lines. */
#include "server/observe.h"

#include <stdlib.h>

struct seen_twice {
    const struct observe_tee *tee;
    void *state[2]; /* NULL: of no interest to that one */
};

static void *on_begin(void *user, const struct observed *x)
{
    struct observe_tee *t = user;
    struct seen_twice *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->tee = t;
    for (int i = 0; i < 2; i++)
        s->state[i] = t->both[i]->begin(t->both[i]->user, x);
    if (s->state[0] || s->state[1])
        return s;
    free(s);
    return NULL;
}

static void on_request(void *state, const char *bytes, size_t n, bool whole, int64_t t_ns)
{
    struct seen_twice *s = state;
    for (int i = 0; i < 2; i++)
        if (s->state[i] && s->tee->both[i]->request)
            s->tee->both[i]->request(s->state[i], bytes, n, whole, t_ns);
}

static void on_head(void *state, int status, const struct net_header *headers, size_t n, int64_t t_ns)
{
    struct seen_twice *s = state;
    for (int i = 0; i < 2; i++)
        if (s->state[i] && s->tee->both[i]->head)
            s->tee->both[i]->head(s->state[i], status, headers, n, t_ns);
}

static void on_chunk(void *state, bool from_client, const char *bytes, size_t n, int64_t t_ns)
{
    struct seen_twice *s = state;
    for (int i = 0; i < 2; i++)
        if (s->state[i] && s->tee->both[i]->chunk)
            s->tee->both[i]->chunk(s->state[i], from_client, bytes, n, t_ns);
}

static void on_end(void *state, const struct observed_end *e)
{
    struct seen_twice *s = state;
    for (int i = 0; i < 2; i++)
        if (s->state[i])
            s->tee->both[i]->end(s->state[i], e);
    free(s);
}

static void on_pause(void *user)
{
    struct observe_tee *t = user;
    for (int i = 0; i < 2; i++)
        if (t->both[i]->pause)
            t->both[i]->pause(t->both[i]->user);
}

void observe_tee_init(struct observe_tee *t, const struct observer *first, const struct observer *second)
{
    *t = (struct observe_tee){.both = {first, second}};
    t->observer = (struct observer){.user = t,
                                    .begin = on_begin,
                                    .request = on_request,
                                    .head = on_head,
                                    .chunk = on_chunk,
                                    .end = on_end,
                                    .pause = on_pause};
}
