/* sharing_inferred.c - the steps of an engine that tells none, from the times at which the tokens of its requests came (7.6). One
 * step gives a token to each request that decodes, so tokens that come together end a step. Who computes a prompt is in every
 * step from its start to its first token; who decodes and gets no token in a step had no part in it. */
#include "lib/meter/sharing.h"
#include "lib/stats/stats.h"

#include <math.h>
#include <stdlib.h>

#define TOGETHER_S     0.002 /* tokens closer than this, */
#define TOGETHER_SHARE 0.25  /* and than this part of the median time between two tokens of a request, are of one step */
#define U_SHARE        0.06
#define NONE           SIZE_MAX

struct emission {
    joulet_mark t;
    size_t request;
    double tokens; /* 0: it ended without any; its prompt was computed */
};

struct party {
    const struct joulet_seen *seen;
    joulet_mark start, first; /* of its prompt's computation: [start, first] */
    double context;
    size_t slot;  /* in the books; NONE before it joined and after it left */
    size_t last;  /* step in which it got its last token, from 1 on; 0: none yet */
    bool decodes; /* as the books were told */
    bool skipped; /* a piece of several tokens: the books, which count one a step, have its context wrong */
};

struct inference {
    struct joulet_sharing *s;
    struct party *parties; /* in the order of arrival */
    size_t *by_end, n;     /* the same in the order of their end */
    struct emission *emissions;
    size_t n_emissions;
    struct joulet_prefill *prefill;
    size_t joined, left; /* told so far, of parties and of by_end; parties before the first that is there are not looked at */
    size_t here;
    size_t step;
    struct joulet_error *err;
};

/* ---- what came ------------------------------------------------------------------------------------------------------------- */

static bool possible(const struct joulet_seen *r)
{
    if (r->ended < r->arrived || !(r->prompt_tokens >= 0) || !(r->context >= r->prompt_tokens) || (r->n_pieces && !r->pieces))
        return false;
    joulet_mark before = r->arrived;
    for (size_t i = 0; i < r->n_pieces; before = r->pieces[i++])
        if (r->pieces[i] < before || r->pieces[i] > r->ended || (r->tokens && !(r->tokens[i] > 0)))
            return false;
    return true;
}

static int earlier(joulet_mark a, joulet_mark b)
{
    return a < b ? -1 : a > b;
}

static int by_arrival(const void *a, const void *b)
{
    const struct party *x = a, *y = b;
    int order = earlier(x->seen->arrived, y->seen->arrived);
    return order ? order : earlier((joulet_mark)x->seen->id, (joulet_mark)y->seen->id);
}

static int by_time(const void *a, const void *b)
{
    const struct emission *x = a, *y = b;
    int order = earlier(x->t, y->t);
    return order ? order : earlier((joulet_mark)x->request, (joulet_mark)y->request);
}

struct ending {
    joulet_mark t;
    size_t party;
};

static int by_ending(const void *a, const void *b)
{
    const struct ending *x = a, *y = b;
    int order = earlier(x->t, y->t);
    return order ? order : earlier((joulet_mark)x->party, (joulet_mark)y->party);
}

/* Those who wait get the places that become free, in the order of their arrival. */
static bool know_starts(struct inference *k, size_t slots)
{
    joulet_mark *free_at = slots ? calloc(slots, sizeof *free_at) : NULL;
    if (slots && !free_at)
        return false;
    for (size_t i = 0; i < k->n; i++) {
        struct party *p = &k->parties[i];
        size_t place = 0;
        p->start = p->seen->arrived;
        for (size_t j = 1; j < slots; j++)
            if (free_at[j] < free_at[place])
                place = j;
        p->first = p->seen->n_pieces ? p->seen->pieces[0] : p->seen->ended;
        if (!slots)
            continue;
        if (free_at[place] > p->start) /* it cannot have begun after its first token: then the number of places is wrong */
            p->start = free_at[place] < p->first ? free_at[place] : p->first;
        free_at[place] = p->seen->ended;
    }
    free(free_at);
    return true;
}

static bool gather(struct inference *k)
{
    struct ending *ends = malloc((k->n ? k->n : 1) * sizeof *ends);
    if (!ends)
        return false;
    for (size_t i = 0; i < k->n; i++) {
        const struct joulet_seen *r = k->parties[i].seen;
        ends[i] = (struct ending){r->ended, i};
        for (size_t j = 0; j < r->n_pieces; j++)
            k->emissions[k->n_emissions++] = (struct emission){r->pieces[j], i, r->tokens ? r->tokens[j] : 1};
        if (!r->n_pieces)
            k->emissions[k->n_emissions++] = (struct emission){r->ended, i, 0};
    }
    qsort(k->emissions, k->n_emissions, sizeof *k->emissions, by_time);
    qsort(ends, k->n, sizeof *ends, by_ending);
    for (size_t i = 0; i < k->n; i++)
        k->by_end[i] = ends[i].party;
    free(ends);
    return true;
}

/* How close tokens of one step are, ns; -1 without memory. */
static int64_t together(const struct inference *k)
{
    double *gaps = malloc((k->n_emissions ? k->n_emissions : 1) * sizeof *gaps), closest_s = TOGETHER_S;
    size_t n = 0;
    if (!gaps)
        return -1;
    for (size_t i = 0; i < k->n; i++)
        for (size_t j = 1; j < k->parties[i].seen->n_pieces; j++)
            gaps[n++] = jl_s(k->parties[i].seen->pieces[j] - k->parties[i].seen->pieces[j - 1]);
    if (n)
        closest_s = fmin(closest_s, TOGETHER_SHARE * jl_median(gaps, n));
    free(gaps);
    int64_t close_ns = jl_ns(closest_s);
    return close_ns > 1 ? close_ns : 1; /* what came at one moment is together */
}

/* ---- what is told ---------------------------------------------------------------------------------------------------------- */

static enum joulet_status join(struct inference *k, joulet_mark t)
{
    struct party *p = &k->parties[k->joined];
    enum joulet_status status = joulet_sharing_join(k->s, p->seen->id, t, &p->slot, k->err);
    k->joined += status == JOULET_OK;
    return status;
}

static enum joulet_status leave(struct inference *k)
{
    struct party *p = &k->parties[k->by_end[k->left]];
    enum joulet_status status = joulet_sharing_leave(k->s, p->slot, p->seen->ended, k->err);
    k->left += status == JOULET_OK;
    p->slot = NONE;
    return status;
}

/* Comings and goings until `to`, in the order of time. Who comes and goes at one moment comes first. */
static enum joulet_status tell_until(struct inference *k, joulet_mark to)
{
    enum joulet_status status = JOULET_OK;
    while (status == JOULET_OK) {
        joulet_mark come = k->joined < k->n ? k->parties[k->joined].seen->arrived : INT64_MAX;
        joulet_mark go = k->left < k->n ? k->parties[k->by_end[k->left]].seen->ended : INT64_MAX;
        if ((come < go ? come : go) > to)
            break;
        status = come <= go ? join(k, come) : leave(k);
    }
    while (k->here < k->joined && k->parties[k->here].slot == NONE)
        k->here++;
    return status;
}

static enum joulet_status decode(struct inference *k, struct party *p, joulet_mark t)
{
    p->decodes = true;
    p->skipped = false;
    return joulet_sharing_decode(k->s, p->slot, p->context, t, k->err);
}

static enum joulet_status pause_party(struct inference *k, struct party *p, joulet_mark t)
{
    p->decodes = false;
    return joulet_sharing_pause(k->s, p->slot, t, k->err);
}

/* Its prompt's tokens by time; one that was computed in no time at all counts at its first token. */
static double prompt_part(const struct party *p, joulet_mark from, joulet_mark to)
{
    joulet_mark a = p->start > from ? p->start : from, b = p->first < to ? p->first : to;
    if (p->first == p->start)
        return p->seen->prompt_tokens;
    return b > a ? p->seen->prompt_tokens * ((double)(b - a) / (double)(p->first - p->start)) : 0;
}

/* Takes part when it gets a token now. */
static enum joulet_status set_decoder(struct inference *k, struct party *p, joulet_mark from)
{
    enum joulet_status status = JOULET_OK;
    bool now = p->last == k->step;
    if (p->decodes && (!now || p->skipped))
        status = pause_party(k, p, from);
    if (status == JOULET_OK && now && !p->decodes)
        status = decode(k, p, from);
    return status;
}

/* Who decodes, and who computes its prompt, until its first token. */
static enum joulet_status set_members(struct inference *k, joulet_mark from, joulet_mark to, size_t *n)
{
    enum joulet_status status = JOULET_OK;
    *n = 0;
    for (size_t i = k->here; i < k->joined && status == JOULET_OK; i++) {
        struct party *p = &k->parties[i];
        if (p->slot == NONE)
            continue;
        if (p->context > p->seen->context) /* it had a token before */
            status = set_decoder(k, p, from);
        else if (p->last == k->step || (p->start < to && p->first > from && p->first > p->start))
            k->prefill[(*n)++] = (struct joulet_prefill){p->slot, prompt_part(p, from, to)};
    }
    return status;
}

/* Tokens that came with the step: contexts grow by them. */
static void grow(struct inference *k, const struct emission *e, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct party *p = &k->parties[e[i].request];
        p->context += e[i].tokens;
        p->skipped = p->decodes && e[i].tokens != 1;
    }
}

/* The tokens e[0..n) came together. The step before ended at `before`, or nobody computed since. */
static enum joulet_status tell_step(struct inference *k, const struct emission *e, size_t n, joulet_mark before)
{
    joulet_mark to = e[n - 1].t, from = INT64_MAX;
    size_t computing = 0;
    k->step++;
    for (size_t i = 0; i < n; i++)
        k->parties[e[i].request].last = k->step;
    for (size_t i = k->here; i < k->n && k->parties[i].seen->arrived <= to; i++) {
        const struct party *p = &k->parties[i];
        bool member = p->slot != NONE || i >= k->joined;
        if (member && (p->last == k->step || p->first > before) && p->start < from)
            from = p->start;
    }
    from = from < before ? before : from;
    enum joulet_status status = JOULET_OK;
    if (from >= to) { /* all of it came at once: there is no time that could be shared */
        grow(k, e, n);
        return status;
    }
    status = tell_until(k, from);
    while (status == JOULET_OK && k->joined < k->n && k->parties[k->joined].start < to &&
           k->parties[k->joined].seen->arrived < to)
        status = join(k, from); /* it came in the midst of the step: there from its beginning on */
    if (status == JOULET_OK)
        status = set_members(k, from, to, &computing);
    if (status == JOULET_OK)
        status = joulet_sharing_step(k->s, from, to, k->prefill, computing, k->err);
    grow(k, e, n);
    return status;
}

static enum joulet_status tell_all(struct inference *k)
{
    int64_t close_ns = together(k);
    joulet_mark before = INT64_MIN;
    enum joulet_status status = JOULET_OK;
    if (close_ns < 0)
        return jl_fail(k->err, JOULET_MEMORY, "out of memory for the times of tokens: hand in fewer requests at once");
    for (size_t i = 0, next; i < k->n_emissions && status == JOULET_OK; i = next) {
        for (next = i + 1; next < k->n_emissions && k->emissions[next].t - k->emissions[next - 1].t < close_ns; next++)
            ;
        status = tell_step(k, &k->emissions[i], next - i, before);
        before = k->emissions[next - 1].t;
    }
    return status == JOULET_OK ? tell_until(k, INT64_MAX - 1) : status;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static enum joulet_status check(const struct joulet_sharing *s, const struct joulet_seen *seen, size_t n, size_t *emissions,
                                struct joulet_error *err)
{
    *emissions = 0;
    for (size_t i = 0; i < n; i++) {
        if (!possible(&seen[i]))
            return jl_fail(err, JOULET_USAGE, "request %llu cannot be: its times run backwards, or its tokens are no numbers",
                           (unsigned long long)seen[i].id);
        if (seen[i].arrived < s->last_ns || seen[i].arrived < s->step_end_ns)
            return jl_fail(err, JOULET_USAGE, "request %llu came before steps that were told: hand in a busy time as a whole",
                           (unsigned long long)seen[i].id);
        *emissions += seen[i].n_pieces ? seen[i].n_pieces : 1;
    }
    return jl_ok(err);
}

enum joulet_status joulet_sharing_infer(struct joulet_sharing *s, const struct joulet_seen *seen, size_t n, size_t slots,
                                        struct joulet_error *err)
{
    size_t emissions;
    enum joulet_status status = check(s, seen, n, &emissions, err);
    if (status != JOULET_OK || n == 0)
        return status;
    struct inference k = {.s = s, .n = n, .err = err};
    k.parties = calloc(n, sizeof *k.parties);
    k.by_end = calloc(n, sizeof *k.by_end);
    k.emissions = calloc(emissions, sizeof *k.emissions);
    k.prefill = calloc(n, sizeof *k.prefill);
    bool ok = k.parties && k.by_end && k.emissions && k.prefill;
    for (size_t i = 0; ok && i < n; i++)
        k.parties[i] = (struct party){.seen = &seen[i], .context = seen[i].context, .slot = NONE};
    if (ok)
        qsort(k.parties, n, sizeof *k.parties, by_arrival);
    s->w.u_share = fmax(s->w.u_share, U_SHARE);
    if (ok && know_starts(&k, slots < n ? slots : 0) && gather(&k))
        status = tell_all(&k);
    else
        status = jl_fail(err, JOULET_MEMORY, "out of memory for the times of tokens: hand in fewer requests at once");
    free(k.parties);
    free(k.by_end);
    free(k.emissions);
    free(k.prefill);
    return status;
}
