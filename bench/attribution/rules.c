/* rules.c - the ways of sharing that are compared: joulet's, with what different engines tell, and two simple rules. */
#include "bench/attribution/rules.h"

#include <math.h>
#include <stdlib.h>

/* ---- simple rules ---------------------------------------------------------------------------------------------------- */

/* Each moment's energy by equal parts to those in flight, or by the tokens that each window saw of them. */
static bool simple(const struct history *h, const struct seen_window *windows, size_t n, bool tokens, double *est)
{
    double *weight = calloc(h->n_requests, sizeof *weight);
    size_t first = 0; /* requests before it are over */
    for (size_t k = 0; weight && k < n; k++) {
        const struct seen_window *w = &windows[k];
        double all = 0;
        while (first < h->n_requests && h->requests[first].ended_s < w->from_s)
            first++;
        for (size_t i = first; i < h->n_requests && h->requests[i].arrived_s < w->to_s; i++) {
            const struct served *q = &h->requests[i];
            weight[i] = fmax(0, fmin(q->ended_s, w->to_s) - fmax(q->arrived_s, w->from_s));
            if (tokens) {
                const double *t = &h->token_s[q->first_token];
                double made = 0;
                for (size_t j = 0; j < q->output && t[j] < w->to_s; j++)
                    made += t[j] >= w->from_s;
                bool prompt = t[0] >= w->from_s && t[0] < w->to_s;
                weight[i] = made + (prompt ? q->prompt - q->cached : 0);
            }
            all += weight[i];
        }
        for (size_t i = first; i < h->n_requests && h->requests[i].arrived_s < w->to_s && all > 0; i++)
            est[i] += w->net_j * weight[i] / all;
    }
    free(weight);
    return weight != NULL;
}

#define WAIT_S 120.0

/* ---- joulet ---------------------------------------------------------------------------------------------------------- */

enum what { ENTER, STEP, TOKEN, END, WINDOW };

struct happening {
    double t;
    enum what what;
    size_t i, request;
};

static int in_order(const void *a, const void *b)
{
    const struct happening *x = a, *y = b;
    if (x->t != y->t)
        return x->t < y->t ? -1 : 1;
    return x->what != y->what ? (int)x->what - (int)y->what : (x->i > y->i) - (x->i < y->i);
}

struct play {
    const struct history *h;
    const struct seen_window *windows;
    enum rule rule;
    struct joulet_attribution *a;
    size_t device, engine, *requests; /* as the meter calls them */
    double *est;
    struct joulet_error err;
};

static joulet_mark at(double t)
{
    return (joulet_mark)llround((t + 1) * 1e9);
}

static void told(void *user, const struct joulet_attributed *a)
{
    struct play *p = user;
    p->est[a->id] = a->net_j;
}

static struct happening *gather(const struct history *h, size_t windows, enum rule rule, size_t *n)
{
    struct happening *all = calloc(2 * h->n_requests + h->n_tokens + h->n_steps + windows, sizeof *all);
    *n = 0;
    for (size_t i = 0; all && i < h->n_requests; i++) {
        const struct served *q = &h->requests[i];
        all[(*n)++] = (struct happening){q->arrived_s, ENTER, i, i};
        all[(*n)++] = (struct happening){q->ended_s, END, i, i};
        for (size_t j = 0; j < q->output && rule != RULE_EVENTS; j++)
            all[(*n)++] = (struct happening){h->token_s[q->first_token + j], TOKEN, j, i};
    }
    for (size_t i = 0; all && i < h->n_steps && rule == RULE_EVENTS; i++)
        all[(*n)++] = (struct happening){h->steps[i].to_s, STEP, i, 0};
    return all;
}

static enum joulet_status enter(struct play *p, const struct happening *x)
{
    const struct served *q = &p->h->requests[x->i];
    bool known = p->rule == RULE_EVENTS;
    struct joulet_entering in = {.id = x->i, .prompt_tokens = known ? q->prompt - q->cached : q->guess, .guessed = !known};
    return joulet_attribution_enter(p->a, p->engine, &in, at(x->t), &p->requests[x->i], &p->err);
}

static enum joulet_status tell_prompt(struct play *p, size_t i)
{
    const struct served *q = &p->h->requests[i];
    return joulet_attribution_prompt(p->a, p->requests[i], q->prompt - q->cached, q->prompt, &p->err);
}

static enum joulet_status step(struct play *p, const struct happening *x)
{
    const struct step *s = &p->h->steps[x->i];
    struct joulet_stepped members[MEMBERS_MAX];
    for (size_t j = 0; j < s->n; j++) {
        const struct member *m = &p->h->members[s->first + j];
        members[j] = (struct joulet_stepped){p->requests[m->request], m->prefill, m->prefill > 0 ? 0 : 1, m->context};
    }
    return joulet_attribution_step(p->a, p->engine, at(s->from_s), at(s->to_s), members, s->n, &p->err);
}

static enum joulet_status window(struct play *p, const struct happening *x)
{
    const struct seen_window *w = &p->windows[x->i];
    double gross = w->net_j + p->h->machine->idle_w * (w->to_s - w->from_s);
    enum joulet_status status =
        joulet_attribution_energy(p->a, p->device, at(w->from_s), at(w->to_s), gross, 0.02 * fabs(w->net_j), 0, &p->err);
    joulet_attribution_until(p->a, at(x->t));
    return status;
}

static enum joulet_status happen(struct play *p, const struct happening *x)
{
    enum joulet_status status = JOULET_OK;
    switch (x->what) {
    case ENTER:
        return enter(p, x);
    case STEP:
        return step(p, x);
    case TOKEN:
        if (x->i == 0 && p->rule == RULE_CLUSTERS) /* the first piece comes with the counts of the prompt */
            status = tell_prompt(p, x->request);
        return status == JOULET_OK ? joulet_attribution_tokens(p->a, p->requests[x->request], 1, at(x->t), &p->err) : status;
    case END:
        status = tell_prompt(p, x->i);
        return status == JOULET_OK
                   ? joulet_attribution_end(p->a, p->requests[x->i], (double)p->h->requests[x->i].output, at(x->t), &p->err)
                   : status;
    default:
        return window(p, x);
    }
}

/* Windows become known 50 ms after they end. */
static bool play(struct play *p, size_t n_windows, char *learnt)
{
    size_t n;
    struct happening *all = gather(p->h, n_windows, p->rule, &n);
    if (!all)
        return false;
    for (size_t i = 0; i < n_windows; i++)
        all[n++] = (struct happening){p->windows[i].to_s + 0.05, WINDOW, i, 0};
    qsort(all, n, sizeof *all, in_order);
    enum joulet_status status = joulet_attribution_open(&p->a, told, p, &p->err);
    if (status == JOULET_OK)
        status = joulet_attribution_device(p->a, p->h->machine->idle_w, NAN, &p->device, &p->err);
    struct joulet_attribution_engine e = {.devices = &p->device, .n_devices = 1, .tells_steps = p->rule == RULE_EVENTS};
    if (status == JOULET_OK)
        status = joulet_attribution_engine(p->a, &e, &p->engine, &p->err);
    if (status == JOULET_OK && *learnt)
        status = joulet_attribution_recall(p->a, p->engine, p->device, learnt, &p->err);
    for (size_t i = 0; i < n && status == JOULET_OK; i++)
        status = happen(p, &all[i]);
    joulet_attribution_until(p->a, at(p->h->end_s + WAIT_S)); /* nothing waits for longer */
    if (status == JOULET_OK)
        status = joulet_attribution_learnt(p->a, p->engine, p->device, learnt, JOULET_LEARNT_MAX, NULL, &p->err);
    joulet_attribution_close(p->a);
    free(all);
    return status == JOULET_OK;
}

bool rule_shares(enum rule rule, const struct history *h, const struct seen_window *windows, size_t n, double *est, char *learnt)
{
    if (rule == RULE_EQUAL_TIME || rule == RULE_TOKENS)
        return simple(h, windows, n, rule == RULE_TOKENS, est);
    struct play p = {.h = h, .windows = windows, .rule = rule, .est = est, .requests = calloc(h->n_requests, sizeof *p.requests)};
    bool ok = p.requests && play(&p, n, learnt);
    free(p.requests);
    return ok;
}
