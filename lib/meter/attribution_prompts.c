/* attribution_prompts.c - in which of the inferred steps prompts were computed (7.7): those that took longer than what they
 * decoded explains. How long that is, is learnt from the steps that were told, as their energies are. */
#include "lib/meter/attribution.h"

#include <math.h>

#define EXCESS_MIN   0.12 /* of the time of a step that only decodes: shorter ones compute no prompt */
#define GUESS_SLACK  1.2  /* a prompt that was guessed cannot have taken less time than it needs */
#define TIMES_GROWTH 1.3  /* found again when there are so many times as many; */
#define TIMES_MAX    3000
#define TIMES_FADE   0.7 /* of what came before remains */

struct attribution_entry *infer_entry(struct attribution_inference *x, size_t number)
{
    return &x->entries[number - x->dropped];
}

static double seconds(const struct attribution_held *h)
{
    return jl_s(h->to - h->from);
}

/* Time of a step by its parts, once they are known; of one without a prompt. */
static double decode_time(const struct attribution_inference *x, const struct attribution_held *h)
{
    if (!(x->time_s[0] + x->time_s[2] > 0))
        return h->decoders > 0 ? x->decode_s : fmin(x->decode_s, 0.5 * seconds(h));
    return x->time_s[0] + x->time_s[2] * h->decoders + x->time_s[3] * h->contexts;
}

/* How much longer it took: a prompt was computed. */
double infer_excess(const struct attribution_inference *x, const struct attribution_held *h)
{
    double plain = decode_time(x, h), more = seconds(h) - plain;
    if (h->decoders > 0)
        return more > EXCESS_MIN * plain ? more : 0;
    return fmax(more, 0.2 * seconds(h));
}

/* Time of a prompt's token; 0: nothing is known. Before times are fitted, that of all prompts so far by all time that steps took
 * longer: in which step one ends and the next begins is of no matter there. */
double infer_token_s(const struct attribution_inference *x)
{
    return x->time_s[1] > 0 ? x->time_s[1] : x->prompts > 0 ? x->excess_s / x->prompts : 0;
}

/* Tokens of prompts that still find time in it; what it takes when the time of a token is not known. */
double infer_room(const struct attribution_inference *x, const struct attribution_held *h)
{
    return fmax(0, infer_excess(x, h) / infer_token_s(x) - h->given);
}

/* The lower quartile: most steps only decode, or enough of them do. */
void infer_learn_decode_time(struct attribution_inference *x, double s)
{
    if (!(x->decode_s > 0))
        x->decode_s = s;
    x->decode_s *= exp(s < x->decode_s ? -0.075 : 0.025);
}

/* The same form as the energy of a step, from steps whose prompts were assigned. */
void infer_learn_times(struct attribution_inference *x, const struct attribution_held *h)
{
    const double row[SHARING_TERMS] = {1, h->given, h->decoders, h->contexts};
    struct jl_regression r;
    jl_equations_add(&x->times, row, seconds(h), 1 / seconds(h));
    if (x->times.rows < x->time_at)
        return;
    jl_non_negative(&x->times, &r);
    for (size_t i = 0; i < SHARING_TERMS; i++)
        x->time_s[i] = r.x[i];
    x->time_at = fmin(TIMES_GROWTH * x->times.rows, TIMES_MAX);
    jl_equations_scale(&x->times, TIMES_FADE);
}

double infer_remaining(const struct attribution_request *r)
{
    return fmax(0, r->prompt - r->computed);
}

void infer_note_given(struct attribution_request *r, const struct attribution_held *h)
{
    r->given_from = r->given_from ? r->given_from : h->to;
    r->given_to = h->to;
}

void infer_give(struct attribution_request *r, struct attribution_held *h, size_t request, double tokens)
{
    if (h->prefiller != NONE && h->prefiller != request)
        return;
    infer_note_given(r, h);
    h->prefiller = request;
    h->prefill += tokens;
    h->given += tokens;
    r->computed += tokens;
}

/* A guess knows nothing of what was cached: computing it all would have taken longer. */
static void mend_guess(const struct attribution_inference *x, struct attribution_request *r, size_t from, size_t k)
{
    double most = 0;
    if (!r->guessed || !(x->time_s[1] > 0))
        return;
    for (size_t i = from; i <= k; i++)
        most += infer_room(x, &x->held[i]);
    r->prompt = fmin(r->prompt, r->computed + GUESS_SLACK * most + 8);
}

/* Part of step i that is left for it: of the last one, what those behind it do not need who got their first tokens there too. */
static double space(const struct attribution_inference *x, size_t i, size_t k, double tokens, double behind)
{
    const struct attribution_held *h = &x->held[i];
    if (!(infer_token_s(x) > 0)) /* nothing is known of times: by how much longer the step took */
        return infer_excess(x, h) * (i < k ? 1 : tokens / (tokens + behind));
    return i < k ? infer_room(x, h) : fmax(infer_room(x, h) - behind, 0);
}

/* Its first token came with step k: its prompt was computed there, and before in the steps that had time for it, from the one on
 * in which the request before it got its first token. `behind`: prompt tokens of those that come after it in k. */
void infer_assign_prompt(struct attribution_inference *x, struct attribution_request *r, size_t k, struct attribution_entry *own,
                         double behind)
{
    x->prompts += infer_remaining(r);
    bool timed = infer_token_s(x) > 0;
    size_t from = k;
    while (from > x->first && x->held[from - 1].from >= r->arrived &&
           (timed ? x->held[from - 1].to >= x->assigned : x->held[from - 1].to > x->assigned))
        from--;
    mend_guess(x, r, from, k);
    double tokens = infer_remaining(r), all = 0;
    for (size_t i = from; i <= k; i++)
        all += space(x, i, k, tokens, behind);
    for (size_t i = from; i < k && all > 0; i++) {
        double part = tokens * space(x, i, k, tokens, behind) / all;
        if (part > 0)
            infer_give(r, &x->held[i], own->request, part);
    }
    infer_note_given(r, &x->held[k]);
    own->prefill += infer_remaining(r);
    x->held[k].given += infer_remaining(r);
    r->computed = fmax(r->prompt, r->computed);
}

/* ---- told late ------------------------------------------------------------------------------------------------------- */

/* The first held step that ends at t or later. */
static size_t held_from(const struct attribution_inference *x, joulet_mark t)
{
    size_t lo = x->first, hi = x->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (x->held[mid].to < t)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Tokens of its prompt in the steps that wait; each becomes `times` as many. */
static double each_given(struct attribution_inference *x, const struct attribution_request *r, size_t request, double times)
{
    double sum = 0;
    for (size_t k = held_from(x, r->given_from); k < x->n && x->held[k].to <= r->given_to; k++) {
        struct attribution_held *h = &x->held[k];
        double more = 0;
        if (h->prefiller == request) {
            sum += h->prefill;
            more += (times - 1) * h->prefill;
            h->prefill *= times;
        }
        for (size_t i = 0; i < h->n; i++) {
            struct attribution_entry *m = infer_entry(x, h->first + i);
            if (m->request != request || !(m->prefill > 0))
                continue;
            sum += m->prefill;
            more += (times - 1) * m->prefill;
            m->prefill *= times;
        }
        h->given += more;
    }
    return sum;
}

/* Its tokens in the steps that wait read another context than was thought. */
static void mend_contexts(struct attribution_inference *x, const struct attribution_request *r, size_t request, double more)
{
    for (size_t k = held_from(x, r->given_to); k < x->n; k++) {
        struct attribution_held *h = &x->held[k];
        for (size_t i = 0; i < h->n; i++) {
            struct attribution_entry *m = infer_entry(x, h->first + i);
            if (m->request != request || !(m->decoded > 0))
                continue;
            double context = fmax(0, m->context + more);
            h->contexts += m->decoded * (context - m->context);
            m->context = context;
        }
    }
}

void infer_recount(struct joulet_attribution *a, struct attribution_request *r, double computed, double context)
{
    struct attribution_inference *x = &a->engines[r->engine].infer;
    size_t request = (size_t)(r - a->requests);
    double waiting = r->given_from ? each_given(x, r, request, 1) : 0, gone = r->computed - waiting;
    if (waiting > 0)
        each_given(x, r, request, fmax(0, computed - gone) / waiting);
    mend_contexts(x, r, request, context - r->context);
    r->computed = computed;
}

bool infer_waits_for_count(const struct joulet_attribution *a, struct attribution_inference *x, const struct attribution_held *h)
{
    for (size_t i = 0; i <= h->n; i++) {
        const struct attribution_entry *m = i < h->n ? infer_entry(x, h->first + i) : NULL;
        size_t request = m ? (m->prefill > 0 ? m->request : NONE) : h->prefiller;
        const struct attribution_request *r = request == NONE ? NULL : &a->requests[request];
        if (r && r->guessed && r->begun && !r->ended)
            return true;
    }
    return false;
}
