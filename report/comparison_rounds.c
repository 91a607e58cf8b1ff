/* comparison_rounds.c - requests that ran at once have no energy of their own, their level has it. Sides of which one was loaded
 * so are compared by rounds of the plan: energy over requests or tokens of the least number of repeats that are whole levels on
 * every side, since neighbouring levels of one cell run as one.
 */
#include "report/comparison_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A request that counts, or one that spoils the round which it ran in. */
static bool in_round(const struct compare_side *s, const struct run_request *q)
{
    return (s->of.cell < 0 || q->cell == s->of.cell) && !q->warmup && q->repeat >= 0 && q->repeat < COMPARE_REPEATS;
}

bool comparison_by_rounds(const struct comparison *c)
{
    bool any = false;
    if (!metric_of_whole(c->options.metric))
        return false;
    for (size_t k = 0; k < c->n_sides; k++)
        for (size_t i = 0; i < c->sides[k].of.run->n_requests; i++) {
            const struct run_request *q = &c->sides[k].of.run->requests[i];
            any |= in_round(&c->sides[k], q) && run_level_of(c->sides[k].of.run, q);
        }
    return any;
}

static size_t repeats_of(const struct comparison *c)
{
    size_t n = 0;
    for (size_t k = 0; k < c->n_sides; k++)
        for (size_t i = 0; i < c->sides[k].of.run->n_requests; i++) {
            const struct run_request *q = &c->sides[k].of.run->requests[i];
            if (in_round(&c->sides[k], q) && (size_t)q->repeat >= n)
                n = (size_t)q->repeat + 1;
        }
    return n;
}

/* The least and the most repeat of the requests of a level. */
struct span {
    int64_t least, most;
};

/* joined[r]: a level of this side holds requests of repeat r or before, and of one after. */
static bool join(const struct compare_side *s, bool *joined)
{
    const struct run *r = s->of.run;
    struct span *spans = calloc(r->n_windows + 1, sizeof *spans);
    bool ok = spans != NULL;
    for (size_t i = 0; spans && i < r->n_windows; i++)
        spans[i] = (struct span){INT64_MAX, -1};
    for (size_t i = 0; spans && i < r->n_requests; i++) {
        const struct run_request *q = &r->requests[i];
        const struct run_window *level = in_round(s, q) ? run_level_of(r, q) : NULL;
        if (!level)
            continue;
        struct span *x = &spans[level - r->windows];
        x->least = q->repeat < x->least ? q->repeat : x->least;
        x->most = q->repeat > x->most ? q->repeat : x->most;
    }
    for (size_t i = 0; spans && i < r->n_windows; i++)
        for (int64_t k = spans[i].least; k < spans[i].most; k++)
            joined[k] = true;
    free(spans);
    return ok;
}

static bool add_energy(struct run_request *to, const struct run_energy *e)
{
    joulet_energy_chain(&to->energy.total, &e->total);
    return run_energy_chain(&to->energy, e);
}

static void add_count(int64_t *to, int64_t n)
{
    if (n >= 0)
        *to = *to < 0 ? n : *to + n;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What was asked in a round, in whatever order; returns how many prompts are different ones. */
static size_t digest(char **keys, size_t n, char out[65])
{
    struct jl_sha256 sha;
    size_t prompts = 0;
    if (n)
        qsort(keys, n, sizeof *keys, by_text);
    jl_sha256_init(&sha);
    for (size_t i = 0; i < n; i++) {
        jl_sha256_add(&sha, keys[i], strlen(keys[i]) + 1);
        prompts += i == 0 || strcmp(keys[i], keys[i - 1]) != 0;
    }
    jl_sha256_hex(&sha, out);
    return prompts;
}

struct round {
    struct compare_side *side;
    int64_t from, to; /* repeats: from ..< to */
    struct run_request *q;
    struct entry x;
    double seconds;
    char **keys; /* of its prompts */
    bool failed;
};

static bool add_request(struct round *d, const struct run_request *q)
{
    bool ok = q->stream >= 0 || add_energy(d->q, &q->energy);
    add_count(&d->q->tokens.prompt, q->tokens.prompt);
    add_count(&d->q->tokens.generated, q->tokens.generated);
    add_count(&d->q->tokens.cached, q->tokens.cached);
    d->seconds += run_request_s(q);
    d->x.checked += q->check >= 0;
    d->x.passed += q->check == 1;
    char *key = comparison_prompt(q);
    if (key)
        d->keys[d->x.requests++] = key;
    return ok && key;
}

/* Of the repeats of d. A level with a failed request took energy for what is not there, and of a request outside of every level
 * none is known: their rounds are left out. */
static bool fill(struct round *d)
{
    const struct run *r = d->side->of.run;
    const struct run_window *last = NULL;
    bool ok = true;
    for (size_t i = 0; i < r->n_requests && ok; i++) {
        const struct run_request *q = &r->requests[i];
        if (!in_round(d->side, q) || q->repeat < d->from || q->repeat >= d->to)
            continue;
        d->failed |= q->outcome != RUN_OK || (q->stream >= 0 && !run_level_of(r, q));
        ok = q->outcome != RUN_OK || add_request(d, q);
    }
    for (size_t i = 0; i < r->n_requests && ok; i++) {
        const struct run_request *q = &r->requests[i];
        const struct run_window *level = run_level_of(r, q);
        if (!level || level == last || !in_round(d->side, q) || q->repeat < d->from || q->repeat >= d->to)
            continue;
        last = level; /* requests of one level are neighbours in the record */
        ok = add_energy(d->q, &level->energy);
    }
    return ok;
}

static bool add_round(struct comparison *c, const struct chosen *chosen, size_t side, struct round *d, struct entries *e)
{
    struct run_window w;
    bool ok = fill(d);
    if (ok && d->x.requests && !d->failed) {
        e->prompts = digest(d->keys, d->x.requests, d->q->prompt_sha256);
        d->q->repeat = d->from;
        d->q->outcome = RUN_OK;
        run_window_init(&w, "request", 0, jl_ns(d->seconds));
        ok = run_add_window(&d->q->windows, &d->q->n_windows, &w) != NULL && comparison_add(e, c, chosen, side, d->q, &d->x);
    }
    for (size_t i = 0; i < d->x.requests; i++)
        free(d->keys[i]);
    return ok;
}

static bool add_rounds(struct comparison *c, const struct chosen *chosen, size_t side, const bool *joined, size_t repeats,
                       struct entries *e)
{
    struct compare_side *s = &c->sides[side];
    char **keys = calloc(s->of.run->n_requests + 1, sizeof *keys);
    bool ok = keys != NULL;
    for (size_t from = 0, to; from < repeats && ok; from = to) {
        to = from + 1;
        while (to < repeats && joined[to - 1])
            to++;
        struct round d = {.side = s, .from = (int64_t)from, .to = (int64_t)to, .q = &e->rounds[e->n_rounds++], .keys = keys};
        run_request_init(d.q);
        ok = add_round(c, chosen, side, &d, e);
    }
    free(keys);
    return ok;
}

bool comparison_take_rounds(struct comparison *c, const struct chosen *chosen, struct entries *e)
{
    size_t repeats = repeats_of(c);
    bool *joined = calloc(repeats + 1, sizeof *joined), ok = joined != NULL;
    e->rounds = calloc(c->n_sides * repeats + 1, sizeof *e->rounds);
    for (size_t k = 0; k < c->n_sides && ok; k++) {
        struct compare_side *s = &c->sides[k];
        ok = join(s, joined);
        for (size_t i = 0; i < s->of.run->n_requests; i++) {
            const struct run_request *q = &s->of.run->requests[i];
            s->warmup += (s->of.cell < 0 || q->cell == s->of.cell) && q->warmup;
            s->failed += in_round(s, q) && q->outcome != RUN_OK;
        }
    }
    for (size_t k = 0; k < c->n_sides && ok && e->rounds; k++)
        ok = add_rounds(c, chosen, k, joined, repeats, e);
    ok &= e->rounds != NULL;
    free(joined);
    if (ok)
        comparison_note(c,
                        "requests ran at once, and what each of them drew is not known: compared is the energy of whole rounds "
                        "of the plan, over their requests or tokens");
    return ok;
}
