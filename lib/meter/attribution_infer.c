/* attribution_infer.c - the steps of an engine that tells none, from the times of tokens as they come (7.6).
 *
 * Tokens that come together end a step. Who got one is a member; so is the request whose prompt was computed meanwhile. Engines
 * compute prompts in the order of their coming, and a step that does so takes longer than one that only decodes: when the first
 * token of a request comes, the tokens of its prompt are put into the steps since the first token before it, by the time that
 * each of them took longer. Until then these steps are held back, for some seconds at most. */
#include "lib/meter/attribution.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TOGETHER_S     0.002 /* tokens closer than this, */
#define TOGETHER_SHARE 0.25  /* and than this part of the median time between two tokens of a request, are of one step */
#define HOLD_S         20.0
#define COUNT_S        55.0 /* for the number of a prompt's tokens, when it was only guessed */
#define STALL_S        10.0 /* nothing comes, though somebody is there: what was measured is given to the oldest prompt */
#define HELD_MAX       ((size_t)1 << 14)
#define ENTRIES_MAX    ((size_t)1 << 20)
#define FULL           0.1 /* of a step's tokens: time for fewer is none */
#define SPREAD_MAX     2048

void infer_init(struct attribution_inference *x)
{
    *x = (struct attribution_inference){.prompt_head = NONE,
                                        .prompt_tail = NONE,
                                        .silent_head = NONE,
                                        .gap_s = TOGETHER_S / TOGETHER_SHARE,
                                        .piece_tokens = 1,
                                        .time_at = ATTRIBUTION_TIMES_MIN};
    jl_equations_init(&x->times, SHARING_TERMS);
}

void infer_close(struct attribution_inference *x)
{
    free(x->held);
    free(x->entries);
}

/* ---- queues of requests ---------------------------------------------------------------------------------------------- */

static size_t index_of(const struct joulet_attribution *a, const struct attribution_request *r)
{
    return (size_t)(r - a->requests);
}

static void link_prompt(struct joulet_attribution *a, struct attribution_inference *x, struct attribution_request *r)
{
    r->before = x->prompt_tail;
    r->after = NONE;
    *(x->prompt_tail == NONE ? &x->prompt_head : &a->requests[x->prompt_tail].after) = index_of(a, r);
    x->prompt_tail = index_of(a, r);
}

static void link_silent(struct joulet_attribution *a, struct attribution_inference *x, struct attribution_request *r)
{
    r->before = NONE;
    r->after = x->silent_head;
    if (x->silent_head != NONE)
        a->requests[x->silent_head].before = index_of(a, r);
    x->silent_head = index_of(a, r);
}

static void unlink_request(struct joulet_attribution *a, struct attribution_inference *x, struct attribution_request *r)
{
    size_t *head = r->silent ? &x->silent_head : &x->prompt_head;
    *(r->before == NONE ? head : &a->requests[r->before].after) = r->after;
    if (r->after != NONE)
        a->requests[r->after].before = r->before;
    else if (!r->silent)
        x->prompt_tail = r->before;
    r->before = r->after = NONE;
}

static struct attribution_request *head_of(struct joulet_attribution *a, const struct attribution_inference *x)
{
    return x->prompt_head == NONE ? NULL : &a->requests[x->prompt_head];
}

/* ---- telling --------------------------------------------------------------------------------------------------------- */

static void tell_held(struct joulet_attribution *a, struct attribution_engine *e, const struct attribution_held *h)
{
    struct attribution_inference *x = &e->infer;
    size_t n = 0;
    if (attribution_members(e, 2 * (h->n + 1))) {
        for (size_t i = 0; i < h->n; i++) {
            const struct attribution_entry *m = infer_entry(x, h->first + i);
            struct attribution_request *r = &a->requests[m->request];
            if (m->decoded > 0 || m->prefill > 0 || m->first)
                e->members[n++] = (struct sharing_member){m->request, m->prefill, m->decoded, m->context};
            r->untold = fmax(0, r->untold - m->decoded);
        }
        if (h->prefiller != NONE)
            e->members[n++] = (struct sharing_member){.slot = h->prefiller, .tokens = h->prefill};
        attribution_tell(a, e, h->from, h->to, n, NULL);
        if (h->to > h->from)
            infer_learn_times(x, h);
    }
    for (size_t i = 0; i < h->n; i++) {
        const struct attribution_entry *m = infer_entry(x, h->first + i);
        if (m->leaves)
            attribution_release(a, &a->requests[m->request]);
    }
}

/* Held for so long that the time of its prompts' tokens must do. */
static void guess_prompt(struct joulet_attribution *a, struct attribution_inference *x, struct attribution_held *h)
{
    struct attribution_request *r = head_of(a, x);
    double s = infer_excess(x, h);
    if (r && h->to > x->assigned && h->from >= r->arrived && s > 0 && x->time_s[1] > 0)
        infer_give(r, h, x->prompt_head, fmin(0.9 * infer_remaining(r), s / x->time_s[1]));
}

/* Nobody's prompt can have been computed in it who has not got a token since. */
static bool is_known(struct joulet_attribution *a, struct attribution_engine *e, const struct attribution_held *h)
{
    struct attribution_inference *x = &e->infer;
    if (infer_waits_for_count(a, x, h))
        return false;
    const struct attribution_request *r = head_of(a, x);
    bool full = h->to < x->assigned || (h->to == x->assigned && !(infer_token_s(x) > 0 && infer_room(x, h) > FULL * h->given));
    bool plain = x->time_s[1] > 0 && h->decoders > 0 && infer_excess(x, h) <= 0;
    return !r || h->to == h->from || full || plain || h->from < r->arrived || (e->slots && x->begun >= e->slots);
}

static void release(struct joulet_attribution *a, struct attribution_engine *e, joulet_mark now)
{
    struct attribution_inference *x = &e->infer;
    while (x->first < x->n) {
        struct attribution_held *h = &x->held[x->first];
        if (!is_known(a, e, h)) {
            bool count = infer_waits_for_count(a, x, h);
            if (now - h->from < jl_ns(count ? COUNT_S : HOLD_S) && x->n - x->first < HELD_MAX / 2)
                return;
            if (!count)
                guess_prompt(a, x, h);
        }
        tell_held(a, e, h);
        x->first++;
        x->first_entry = h->first + h->n - x->dropped;
    }
}

/* ---- clusters -------------------------------------------------------------------------------------------------------- */

static bool add_entry(struct attribution_inference *x, const struct attribution_entry *m)
{
    size_t before = x->first_entry;
    bool room = attribution_reserve((void **)&x->entries, sizeof *x->entries, &x->first_entry, &x->n_entries, &x->cap_entries, 1,
                                    ENTRIES_MAX);
    x->dropped += before - x->first_entry;
    if (!room)
        return false;
    x->entries[x->n_entries++] = *m;
    return true;
}

/* Those of whom nothing is seen until their end get a token in every step. */
static void add_silent(struct joulet_attribution *a, struct attribution_inference *x, joulet_mark to)
{
    for (size_t i = x->silent_head; i != NONE; i = a->requests[i].after) {
        struct attribution_request *r = &a->requests[i];
        if (r->arrived >= to || r->cluster == x->cluster)
            continue;
        struct attribution_entry m = {.request = i, .first = !r->begun, .decoded = r->begun, .context = r->context + r->made};
        if (!add_entry(x, &m))
            return;
        r->cluster = x->cluster;
        r->entry = x->dropped + x->n_entries - 1;
        r->made += 1;
    }
}

/* Where it began: where the one before ended, when somebody computed since; else when the first of its members came. */
static joulet_mark begin_of(struct joulet_attribution *a, const struct attribution_inference *x)
{
    const struct attribution_entry *m = &x->entries[x->open_entry - x->dropped];
    joulet_mark from = INT64_MAX;
    if (x->begun)
        return x->step_end;
    for (size_t i = 0; i < x->dropped + x->n_entries - x->open_entry; i++) {
        const struct attribution_request *r = &a->requests[m[i].request];
        from = r->arrived < from ? r->arrived : from;
    }
    if (x->prompt_head != NONE && a->requests[x->prompt_head].arrived < from)
        from = a->requests[x->prompt_head].arrived;
    return from > x->step_end ? from : x->step_end;
}

static void begin_decode(struct joulet_attribution *a, struct attribution_inference *x, struct attribution_request *r)
{
    r->begun = true;
    x->begun++;
    if (!r->silent)
        unlink_request(a, x, r);
}

struct beginner {
    joulet_mark arrived;
    size_t entry;
};

static int by_arrival(const void *a, const void *b)
{
    const struct beginner *x = a, *y = b;
    return x->arrived != y->arrived ? (x->arrived < y->arrived ? -1 : 1) : (x->entry > y->entry) - (x->entry < y->entry);
}

/* First tokens in step k, in the order in which their requests came: engines compute prompts in that order. */
static void begin_all(struct joulet_attribution *a, struct attribution_inference *x, size_t k, size_t firsts)
{
    const struct attribution_held *h = &x->held[k];
    struct beginner few[64], *all = firsts <= JL_COUNT(few) ? few : malloc(firsts * sizeof *all);
    double behind = 0;
    size_t n = 0;
    for (size_t i = 0; i < h->n && all; i++) {
        const struct attribution_entry *m = infer_entry(x, h->first + i);
        if (!m->first || a->requests[m->request].begun)
            continue;
        all[n++] = (struct beginner){a->requests[m->request].arrived, h->first + i};
        behind += infer_remaining(&a->requests[m->request]);
    }
    if (n)
        qsort(all, n, sizeof *all, by_arrival);
    for (size_t i = 0; i < n; i++) {
        struct attribution_entry *m = infer_entry(x, all[i].entry);
        struct attribution_request *r = &a->requests[m->request];
        behind -= infer_remaining(r);
        infer_assign_prompt(x, r, k, m, fmax(0, behind));
        begin_decode(a, x, r);
    }
    if (n)
        x->assigned = h->to;
    if (all != few)
        free(all);
}

/* Its parts are known: decoded tokens, and of prompts what their requests told. Returns how many first tokens it has. */
static size_t sum_entries(struct attribution_inference *x, struct attribution_held *h)
{
    size_t firsts = 0;
    for (size_t i = 0; i < h->n; i++) {
        const struct attribution_entry *m = infer_entry(x, h->first + i);
        firsts += m->first;
        h->decoders += m->decoded;
        h->contexts += m->decoded * m->context;
        h->given += m->prefill;
        if (m->prefill > 0 && h->to > h->from)
            x->assigned = h->to;
    }
    return firsts;
}

/* Without memory for a step nobody is told of it, and those who left in it wait for nothing. */
static void let_go(struct joulet_attribution *a, struct attribution_inference *x)
{
    for (size_t i = x->open_entry - x->dropped; i < x->n_entries; i++) {
        struct attribution_request *r = &a->requests[x->entries[i].request];
        r->entry = NONE;
        if (x->entries[i].leaves)
            attribution_release(a, r);
    }
}

/* Of one that came at once, or late into the time of the one before, there is no time that could be shared; it waits behind the
 * others all the same: who leaves in it may be in those that wait. */
static void hold(struct joulet_attribution *a, struct attribution_inference *x, size_t k, joulet_mark from, joulet_mark to)
{
    struct attribution_held *h = &x->held[k];
    *h = (struct attribution_held){
        .from = from, .to = to, .first = x->open_entry, .n = x->dropped + x->n_entries - x->open_entry, .prefiller = NONE};
    size_t firsts = sum_entries(x, h);
    if (to == from)
        return;
    infer_learn_decode_time(x, jl_s(to - from));
    x->excess_s += infer_excess(x, h);
    if (firsts)
        begin_all(a, x, k, firsts);
}

static void close_cluster(struct joulet_attribution *a, struct attribution_engine *e)
{
    struct attribution_inference *x = &e->infer;
    add_silent(a, x, x->last);
    joulet_mark from = begin_of(a, x), to = x->last;
    bool room = attribution_reserve((void **)&x->held, sizeof *x->held, &x->first, &x->n, &x->cap, 1, HELD_MAX);
    if (room)
        hold(a, x, x->n++, from < to ? from : to, to);
    for (size_t i = x->open_entry - x->dropped; i < x->n_entries; i++) {
        const struct attribution_entry *m = &x->entries[i];
        if (m->first && !a->requests[m->request].begun)
            begin_decode(a, x, &a->requests[m->request]);
        if (m->leaves && x->begun)
            x->begun--;
    }
    if (!room)
        let_go(a, x);
    x->step_end = to > x->step_end ? to : x->step_end;
    x->open_entry = x->dropped + x->n_entries;
    x->cluster++;
    x->opened = 0;
    release(a, e, to);
}

static double together_s(const struct attribution_inference *x)
{
    return fmin(TOGETHER_S, TOGETHER_SHARE * x->gap_s);
}

/* Something of an answer came: it is put into the open cluster, or opens one. */
static enum joulet_status arrive(struct joulet_attribution *a, struct attribution_request *r, const struct attribution_entry *in,
                                 joulet_mark t, struct joulet_error *err)
{
    struct attribution_engine *e = &a->engines[r->engine];
    struct attribution_inference *x = &e->infer;
    if (x->opened && jl_s(t - x->last) >= together_s(x))
        close_cluster(a, e);
    if (t < x->step_end)
        t = x->step_end;
    if (r->cluster == x->cluster && x->opened) {
        struct attribution_entry *m = infer_entry(x, r->entry);
        m->decoded += in->decoded;
        m->prefill += in->prefill;
        m->first |= in->first;
        m->leaves |= in->leaves;
    } else {
        if (!add_entry(x, in))
            return attribution_memory(err);
        r->cluster = x->cluster;
        r->entry = x->dropped + x->n_entries - 1;
    }
    if (!x->opened)
        x->opened = t ? t : 1;
    x->last = t > x->last ? t : x->last;
    r->last = t;
    return jl_ok(err);
}

/* ---- events ---------------------------------------------------------------------------------------------------------- */

enum joulet_status infer_enter(struct joulet_attribution *a, struct attribution_request *r, struct joulet_error *err)
{
    struct attribution_inference *x = &a->engines[r->engine].infer;
    if (r->silent)
        link_silent(a, x, r);
    else
        link_prompt(a, x, r);
    return jl_ok(err);
}

/* The median, as it changes: up and down by the same factor. */
static void learn_gap(struct attribution_inference *x, double s)
{
    x->gap_s *= exp(s < x->gap_s ? -0.05 : 0.05);
    x->gap_s = fmax(x->gap_s, 1e-6);
}

enum joulet_status infer_piece(struct joulet_attribution *a, struct attribution_request *r, double tokens, joulet_mark t,
                               struct joulet_error *err)
{
    struct attribution_inference *x = &a->engines[r->engine].infer;
    bool first = r->made == 0 && !r->begun;
    tokens = isnan(tokens) ? x->piece_tokens : tokens;
    if (!first)
        learn_gap(x, jl_s(t - r->last));
    struct attribution_entry m = {.request = index_of(a, r),
                                  .first = first,
                                  .decoded = first ? fmax(0, tokens - 1) : tokens,
                                  .context = r->context + r->made};
    r->made += tokens;
    r->pieces += 1;
    r->untold += m.decoded;
    return arrive(a, r, &m, t, err);
}

enum joulet_status infer_progress(struct joulet_attribution *a, struct attribution_request *r, double done, joulet_mark t,
                                  struct joulet_error *err)
{
    double more = fmin(done, r->prompt) - r->computed;
    if (r->begun || r->made > 0 || !(more > 0))
        return jl_ok(err);
    struct attribution_entry m = {.request = index_of(a, r), .prefill = more, .context = r->context};
    r->computed += more;
    return arrive(a, r, &m, t, err);
}

/* How many tokens its pieces had is known now: the next ones are like them. */
static void learn_from(struct attribution_inference *x, const struct attribution_request *r, double generated)
{
    if (generated >= 1 && r->pieces >= 4)
        x->piece_tokens += (fmax(1, generated / r->pieces) - x->piece_tokens) / 8;
}

/* An answer in one piece tells its tokens when it ends. Since the last step that was seen they came one after the other, each a
 * step with its fixed cost: as one step for all of them, a window that holds the end of somebody else's answer would be that
 * one's. The last token is left to the caller: of how many tokens it stands, in *rest. */
static enum joulet_status spread(struct joulet_attribution *a, struct attribution_request *r, double *rest, joulet_mark t,
                                 struct joulet_error *err)
{
    struct attribution_inference *x = &a->engines[r->engine].infer;
    joulet_mark seen = x->opened ? x->last : x->step_end, from = seen > r->arrived ? seen : r->arrived;
    bool first = !r->begun;
    size_t n = (size_t)fmin(*rest, SPREAD_MAX), steps = n + first;
    double span_s = jl_s(t - from), prompt_s = first ? fmin(fmax(x->time_s[1], 0) * infer_remaining(r), span_s / 2) : 0;
    enum joulet_status status = JOULET_OK;
    if (n < 1 || span_s <= 0)
        return jl_ok(err);
    double tokens = *rest / (double)n, each_s = (span_s - prompt_s) / (double)steps;
    for (size_t i = 0; i + 1 < steps && status == JOULET_OK; i++) {
        double decoded = first && i == 0 ? 0 : tokens;
        struct attribution_entry m = {
            .request = index_of(a, r), .first = first && i == 0, .decoded = decoded, .context = r->context + r->made};
        r->made += decoded;
        *rest -= decoded;
        status = arrive(a, r, &m, from + jl_ns(prompt_s + each_s * (double)(i + 1)), err);
    }
    return status;
}

enum joulet_status infer_end(struct joulet_attribution *a, struct attribution_request *r, double generated, joulet_mark t,
                             struct joulet_error *err)
{
    struct attribution_engine *e = &a->engines[r->engine];
    struct attribution_inference *x = &e->infer;
    bool seen = r->entry != NONE && r->entry >= x->dropped + x->first_entry && x->first_entry < x->n_entries;
    learn_from(x, r, generated);
    if (!r->silent && seen && r->made > 0) {
        struct attribution_entry *m = infer_entry(x, r->entry);
        m->leaves = true;
        if (r->cluster != x->cluster || !x->opened)
            x->begun -= x->begun > 0;
        r->last = t;
        return jl_ok(err);
    }
    if (!r->silent && r->made > 0) { /* all of its steps were told */
        x->begun -= r->begun && x->begun > 0;
        r->last = t;
        attribution_release(a, r);
        return jl_ok(err);
    }
    double rest = isnan(generated) ? 0 : fmax(0, generated - r->made - !r->begun);
    enum joulet_status status = r->silent ? spread(a, r, &rest, t, err) : JOULET_OK;
    if (status != JOULET_OK)
        return status;
    struct attribution_entry m = {.request = index_of(a, r),
                                  .first = !r->begun && r->cluster != x->cluster,
                                  .decoded = r->silent ? rest : 0,
                                  .context = r->context + r->made,
                                  .leaves = true};
    status = arrive(a, r, &m, t, err);
    if (r->silent)
        unlink_request(a, x, r);
    return status;
}

/* Nothing comes for long: a prompt is being computed that takes its time. */
static void stall(struct joulet_attribution *a, struct attribution_engine *e, joulet_mark t)
{
    struct attribution_inference *x = &e->infer;
    struct attribution_request *r = head_of(a, x);
    joulet_mark since = x->step_end > e->step_end ? x->step_end : e->step_end;
    if (!r || x->opened || x->first < x->n || jl_s(t - since) < STALL_S || r->arrived >= t || !attribution_members(e, 2))
        return;
    joulet_mark from = since > r->arrived ? since : r->arrived, to = t - jl_ns(STALL_S / 2);
    if (to <= from)
        return;
    double tokens = x->time_s[1] > 0 ? jl_s(to - from) / x->time_s[1] : infer_remaining(r) / 2;
    e->members[0] = (struct sharing_member){.slot = index_of(a, r), .tokens = fmin(tokens, 0.9 * infer_remaining(r))};
    r->computed += e->members[0].tokens;
    attribution_tell(a, e, from, to, 1, NULL);
    x->step_end = x->assigned = to;
}

void infer_until(struct joulet_attribution *a, struct attribution_engine *e, joulet_mark t)
{
    struct attribution_inference *x = &e->infer;
    if (x->opened && jl_s(t - x->last) >= together_s(x))
        close_cluster(a, e);
    release(a, e, t);
    stall(a, e, t);
}
