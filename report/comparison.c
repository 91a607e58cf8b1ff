/* comparison.c - which requests of several runs can be compared: the same prompts, the same sensors, figures of one kind. */
#include "report/comparison_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOWED (JOULET_FLAG_THROTTLED | JOULET_FLAG_CLOCK_CHANGE)

static enum joulet_status no_memory(struct joulet_error *err)
{
    return jl_fail(err, JOULET_MEMORY, "out of memory while comparing");
}

bool comparison_note(struct comparison *c, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    char **grown = realloc(c->notes, (c->n_notes + 1) * sizeof *grown), *copy = jl_strdup(text);
    if (grown)
        c->notes = grown;
    if (!grown || !copy) {
        free(copy);
        return false;
    }
    c->notes[c->n_notes++] = copy;
    return true;
}

/* ---- sides ----------------------------------------------------------------------------------------------------------------- */

static char *name_of(const struct compare_operand *of)
{
    const struct run *r = of->run;
    const char *model = run_pairs_get(&r->model, "name");
    if (of->cell >= 0)
        return jl_strdup(r->cells[of->cell].name ? r->cells[of->cell].name : "");
    return jl_strdup(r->title ? r->title : model ? model : r->kind);
}

static enum joulet_status name_sides(struct comparison *c, const struct compare_operand *of, size_t n, struct joulet_error *err)
{
    c->sides = calloc(n, sizeof *c->sides);
    if (!c->sides)
        return no_memory(err);
    c->n_sides = n;
    for (size_t i = 0; i < n; i++) {
        struct compare_side *s = &c->sides[i];
        *s = (struct compare_side){.of = of[i], .label = {(char)('A' + (char)i), 0}, .mean = NAN, .mean_pm = NAN};
        s->tokens_in = s->tokens_out = s->seconds = s->j_per_correct = NAN;
        s->name = name_of(&of[i]);
        if (!s->name)
            return no_memory(err);
    }
    return jl_ok(err);
}

static bool belongs(const struct compare_operand *of, const struct run_request *q)
{
    return of->cell < 0 || q->cell == of->cell;
}

/* ---- what must not stand beside each other ----------------------------------------------------------------------- */

/* Where its energy stands: of a request that ran beside others in their level. */
static const struct run_energy *energy_of(const struct compare_operand *of, const struct run_request *q)
{
    const struct run_window *level = run_level_of(of->run, q);
    return level ? &level->energy : &q->energy;
}

/* Measured and derived figures are of one kind, and so are imported ones, which somebody measured. False: there is no figure. */
static bool kind_of(const struct compare_operand *of, enum joulet_provenance *kind)
{
    enum joulet_provenance worst = JOULET_MEASURED;
    bool any = false;
    for (size_t i = 0; i < of->run->n_requests; i++) {
        const struct run_request *q = &of->run->requests[i];
        const struct joulet_energy *e = &energy_of(of, q)->total;
        if (!belongs(of, q) || q->warmup || q->outcome != RUN_OK || isnan(e->gross_j))
            continue;
        enum joulet_provenance p = e->provenance;
        if (p == JOULET_SIMULATED || (p == JOULET_ESTIMATED && worst != JOULET_SIMULATED))
            worst = p;
        any = true;
    }
    *kind = worst;
    return any;
}

static enum joulet_status check_kinds(struct comparison *c, struct joulet_error *err)
{
    enum joulet_provenance first, p;
    bool known = kind_of(&c->sides[0].of, &first);
    for (size_t i = 1; known && i < c->n_sides && c->options.metric->energy; i++) {
        if (kind_of(&c->sides[i].of, &p) && p != first)
            return jl_fail(err, JOULET_USAGE,
                           "the energies of A (%s) are %s and those of %s (%s) are %s, which says nothing about either: compare "
                           "runs whose energies are of one kind, or --metric time",
                           c->sides[0].of.run->id, joulet_provenance_name(first), c->sides[i].label, c->sides[i].of.run->id,
                           joulet_provenance_name(p));
    }
    if (first == JOULET_SIMULATED && c->options.metric->energy)
        comparison_note(c, "the energies are simulated: they are of no machine");
    if (first == JOULET_ESTIMATED && c->options.metric->energy)
        comparison_note(c, "the energies are estimated from load: what two estimates share is not in the interval");
    return jl_ok(err);
}

static enum joulet_status check_slowed(const struct comparison *c, const struct compare_side *s, struct joulet_error *err)
{
    size_t slowed = 0, of = 0;
    for (size_t i = 0; i < s->of.run->n_requests; i++) {
        const struct run_request *q = &s->of.run->requests[i];
        if (!belongs(&s->of, q) || q->warmup || q->outcome != RUN_OK)
            continue;
        uint32_t flags = energy_of(&s->of, q)->total.flags;
        for (size_t k = 0; k < q->n_windows; k++)
            flags |= q->windows[k].energy.total.flags;
        slowed += (flags & SLOWED) != 0;
        of++;
    }
    if (slowed == 0 || c->options.allow_throttled)
        return jl_ok(err);
    return jl_fail(
        err, JOULET_USAGE,
        "in %zu of %zu requests of %s (%s) the device was slowed down or changed its clock, so their energy is not that "
        "of the others: measure again on a cool machine, or compare with --allow-throttled",
        slowed, of, s->label, s->of.run->id);
}

bool same_machine(const struct run *a, const struct run *b)
{
    static const char *const keys[] = {"host", "cpu"};
    for (size_t i = 0; i < JL_COUNT(keys); i++) {
        const char *x = run_pairs_get(&a->machine, keys[i]), *y = run_pairs_get(&b->machine, keys[i]);
        if (x && y && strcmp(x, y))
            return false;
    }
    return true;
}

/* ---- sensors ----------------------------------------------------------------------------------------------------- */

static bool has_channel(const struct run *r, const struct joulet_channel *c)
{
    const struct joulet_channel *x = run_channel(r, c->id);
    return x && x->in_total && !strcmp(x->sensor, c->sensor);
}

static size_t in_total(const struct run *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_channels; i++)
        n += r->channels[i].in_total;
    return n;
}

/* Channels that every run sums. The totals themselves when these are all of them, or when a record does not name any. */
static enum joulet_status choose_channels(struct comparison *c, struct chosen *chosen, struct joulet_error *err)
{
    const struct run *first = c->sides[0].of.run;
    bool named = true, all = true;
    *chosen = (struct chosen){.channels = calloc(first->n_channels + 1, sizeof *chosen->channels)};
    if (!chosen->channels)
        return no_memory(err);
    for (size_t k = 0; k < c->n_sides; k++)
        named &= in_total(c->sides[k].of.run) > 0;
    for (size_t i = 0; named && i < first->n_channels; i++) {
        bool common = first->channels[i].in_total;
        for (size_t k = 1; k < c->n_sides && common; k++)
            common = has_channel(c->sides[k].of.run, &first->channels[i]);
        if (common)
            chosen->channels[chosen->n++] = &first->channels[i];
    }
    for (size_t k = 0; k < c->n_sides; k++)
        all &= in_total(c->sides[k].of.run) == chosen->n;
    if (named && chosen->n == 0 && c->options.metric->energy)
        return jl_fail(err, JOULET_USAGE,
                       "the runs share no sensor, so their energies are of different things: compare runs measured by the same "
                       "sensors (see `joulet runs show`), or --metric time");
    if (all || !named)
        chosen->n = 0;
    return jl_ok(err);
}

/* Their names, for the reader. */
static bool tell_channels(struct comparison *c, const struct chosen *chosen)
{
    const struct run *first = c->sides[0].of.run;
    c->channels = calloc(first->n_channels + 1, sizeof *c->channels);
    for (size_t i = 0; c->channels && i < chosen->n; i++)
        c->channels[c->n_channels++] = jl_strdup(chosen->channels[i]->id);
    for (size_t i = 0; c->channels && !chosen->n && i < first->n_channels; i++)
        if (first->channels[i].in_total)
            c->channels[c->n_channels++] = jl_strdup(first->channels[i].id);
    return c->channels != NULL;
}

static void tell_differences(struct comparison *c, const struct chosen *chosen)
{
    const struct run *first = c->sides[0].of.run;
    if (chosen->n)
        comparison_note(c, "the runs were measured by different sensors: only what all of them have is compared");
    for (size_t k = 1; k < c->n_sides; k++)
        if (c->options.metric->energy && !same_machine(first, c->sides[k].of.run))
            comparison_note(
                c, "%s was measured on another machine than A: the gain of the sensors does not cancel and is in the interval",
                c->sides[k].label);
    for (size_t k = 0; k < c->n_sides; k++) {
        const struct run *r = c->sides[k].of.run;
        if (r->status && strcmp(r->status, "done") && (k == 0 || r != c->sides[k - 1].of.run))
            comparison_note(c, "run %s is not complete: its status is %s", r->id, r->status);
    }
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

/* Their text, or without it their place in the set. */
char *comparison_prompt(const struct run_request *q)
{
    if (q->prompt_sha256[0])
        return jl_strdup(q->prompt_sha256);
    return jl_strf("%s/%s/%lld", q->set ? q->set : "", q->category ? q->category : "", (long long)q->number);
}

static char *prompt_name(const struct run_request *q)
{
    if (q->number >= 0)
        return jl_strf("%s %lld", q->category ? q->category : "prompt", (long long)q->number);
    size_t n = q->prompt ? strcspn(q->prompt, "\n") : 0;
    return n ? jl_strf("\"%.*s%s\"", (int)(n < 40 ? n : 40), q->prompt, n > 40 ? "..." : "")
             : jl_strf("prompt %.8s", q->prompt_sha256[0] ? q->prompt_sha256 : "unknown");
}

bool comparison_add(struct entries *e, const struct comparison *c, const struct chosen *chosen, size_t side,
                    const struct run_request *q, const struct entry *counts)
{
    struct entry x = *counts;
    x.side = side;
    x.repeat = q->repeat;
    x.q = q;
    struct entry *grown = (e->n & (e->n - 1)) == 0 ? realloc(e->items, (e->n ? 2 * e->n : 1) * sizeof *grown) : e->items;
    if (!grown)
        return false;
    e->items = grown;
    metric_figure(&c->options, chosen, q, &x.f);
    if (!strchr(c->options.metric->unit, '/')) /* of a request, and not of its tokens */
        x.f.per *= (double)x.requests;
    x.value = x.f.part / x.f.per;
    x.energy_j = metric_energy(&c->options, chosen, q);
    x.prompt = comparison_prompt(q);
    if (!x.prompt)
        return false;
    e->items[e->n++] = x;
    return true;
}

/* Every request that succeeded and is no warm-up, with a figure or without. */
static bool take_requests(struct comparison *c, const struct chosen *chosen, size_t side, struct entries *e)
{
    struct compare_side *s = &c->sides[side];
    for (size_t i = 0; i < s->of.run->n_requests; i++) {
        const struct run_request *q = &s->of.run->requests[i];
        if (!belongs(&s->of, q))
            continue;
        s->warmup += q->warmup;
        s->failed += !q->warmup && q->outcome != RUN_OK;
        const struct entry one = {.requests = 1, .checked = q->check >= 0, .passed = q->check == 1};
        if (!q->warmup && q->outcome == RUN_OK && !comparison_add(e, c, chosen, side, q, &one))
            return false;
    }
    return true;
}

static int by_place(const void *x, const void *y)
{
    const struct entry *a = x, *b = y;
    int order = strcmp(a->prompt, b->prompt);
    if (order)
        return order;
    if (a->side != b->side)
        return a->side < b->side ? -1 : 1;
    if (a->repeat != b->repeat)
        return a->repeat < b->repeat ? -1 : 1;
    return (a->q->index > b->q->index) - (a->q->index < b->q->index);
}

struct range entries_of(const struct entries *e, size_t group, size_t side)
{
    struct range r = {e->groups[group], e->groups[group]};
    while (r.from < e->groups[group + 1] && e->items[r.from].side < side)
        r.from++;
    r.to = r.from;
    while (r.to < e->groups[group + 1] && e->items[r.to].side == side)
        r.to++;
    return r;
}

static bool group(struct entries *e)
{
    if (e->n)
        qsort(e->items, e->n, sizeof *e->items, by_place);
    e->groups = calloc(e->n + 2, sizeof *e->groups);
    e->n_groups = 0;
    for (size_t i = 0; e->groups && i < e->n; i++)
        if (i == 0 || strcmp(e->items[i].prompt, e->items[i - 1].prompt))
            e->groups[e->n_groups++] = i;
    if (e->groups)
        e->groups[e->n_groups] = e->n;
    return e->groups != NULL;
}

/* Takes the entries for which `out` says so out of the list. */
static void drop(struct entries *e, const bool *out)
{
    size_t kept = 0;
    for (size_t i = 0; i < e->n; i++)
        if (out[i])
            free(e->items[i].prompt);
        else
            e->items[kept++] = e->items[i];
    e->n = kept;
}

/* Requests without a figure, or with one of which there is no logarithm. */
static bool drop_unknown(struct comparison *c, struct entries *e)
{
    bool *out = calloc(e->n + 1, sizeof *out);
    for (size_t i = 0; out && i < e->n; i++) {
        out[i] = !(e->items[i].value > 0 && isfinite(e->items[i].value));
        c->sides[e->items[i].side].unknown += out[i];
    }
    if (out)
        drop(e, out);
    free(out);
    return out != NULL;
}

static bool leave_out(struct comparison *c, const struct entries *e, struct range r, bool *out)
{
    struct compare_left_out *grown = realloc(c->left_out, (c->n_left_out + 1) * sizeof *grown);
    if (!grown)
        return false;
    c->left_out = grown;
    for (size_t i = r.from; i < r.to; i++)
        out[i] = true;
    grown[c->n_left_out++] = (struct compare_left_out){e->items[r.from].side, prompt_name(e->items[r.from].q), r.to - r.from};
    return true;
}

/* Prompts that a side does not have say nothing about the others' difference to it. */
static bool keep_common(struct comparison *c, struct entries *e)
{
    bool *out = calloc(e->n + 1, sizeof *out), ok = out && group(e);
    for (size_t g = 0; ok && g < e->n_groups; g++) {
        size_t have = 0;
        for (size_t k = 0; k < c->n_sides; k++) {
            struct range r = entries_of(e, g, k);
            have += r.to > r.from;
        }
        c->prompts += have == c->n_sides;
        for (size_t k = 0; ok && have < c->n_sides && k < c->n_sides; k++) {
            struct range r = entries_of(e, g, k);
            ok = r.to == r.from || leave_out(c, e, r, out);
        }
    }
    if (ok)
        drop(e, out);
    free(out);
    free(e->groups);
    e->groups = NULL;
    return ok && group(e);
}

static bool sent_together(const struct compare_side *s)
{
    for (size_t i = 0; i < s->of.run->n_requests; i++)
        if (belongs(&s->of, &s->of.run->requests[i]) && s->of.run->requests[i].stream >= 0)
            return true;
    return false;
}

static enum joulet_status nothing_left(const struct comparison *c, bool any, struct joulet_error *err)
{
    for (size_t k = 0; k < c->n_sides; k++) {
        const struct compare_side *s = &c->sides[k];
        if (s->of.run->n_requests == 0)
            return jl_fail(err, JOULET_USAGE,
                           "%s (%s) holds no requests: a comparison needs runs of prompts, as `joulet bench` and `joulet run` "
                           "make them",
                           s->label, s->of.run->id);
        if (s->unknown && sent_together(s) && !comparison_by_rounds(c))
            return jl_fail(err, JOULET_USAGE,
                           "the requests of %s (%s) were sent several at a time and have no energy of their own: compare "
                           "cells of one plan by j or j-per-token, or --metric time",
                           s->label, s->of.run->id);
        if (s->unknown && !any)
            return jl_fail(err, JOULET_USAGE,
                           "%s (%s) has no %s above 0 in any of its requests: try --gross, which needs no idle level, or another "
                           "--metric",
                           s->label, s->of.run->id, c->options.metric->title);
    }
    return jl_fail(
        err, JOULET_USAGE,
        "the runs share no prompt with a figure, so there is nothing to compare: measure both with the same --prompts");
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static void entries_release(struct entries *e)
{
    for (size_t i = 0; i < e->n; i++)
        free(e->items[i].prompt);
    for (size_t i = 0; i < e->n_rounds; i++)
        run_request_release(&e->rounds[i]);
    free(e->rounds);
    free(e->items);
    free(e->groups);
}

static bool take_all(struct comparison *c, const struct chosen *chosen, struct entries *e)
{
    bool ok = true;
    if (comparison_by_rounds(c))
        return comparison_take_rounds(c, chosen, e);
    for (size_t k = 0; k < c->n_sides && ok; k++)
        ok = take_requests(c, chosen, k, e);
    return ok;
}

static enum joulet_status compare_entries(struct comparison *c, const struct chosen *chosen, struct joulet_error *err)
{
    struct entries e = {0};
    enum joulet_status st = JOULET_OK;
    if (!take_all(c, chosen, &e))
        st = no_memory(err);
    if (st == JOULET_OK && (!drop_unknown(c, &e) || !keep_common(c, &e)))
        st = no_memory(err);
    if (e.n_rounds && e.n)
        c->prompts = e.prompts;
    if (st == JOULET_OK && e.n == 0)
        st = nothing_left(c, c->n_left_out > 0, err);
    if (st == JOULET_OK)
        st = comparison_results(c, &e, err);
    entries_release(&e);
    return st;
}

enum joulet_status comparison_of(const struct compare_operand *of, size_t n, const struct compare_options *opt,
                                 struct comparison *out, struct joulet_error *err)
{
    struct chosen chosen = {0};
    *out = (struct comparison){.options = *opt};
    enum joulet_status st = name_sides(out, of, n, err);
    if (st == JOULET_OK)
        st = check_kinds(out, err);
    for (size_t i = 0; i < n && st == JOULET_OK; i++)
        st = check_slowed(out, &out->sides[i], err);
    if (st == JOULET_OK)
        st = choose_channels(out, &chosen, err);
    if (st == JOULET_OK) {
        tell_differences(out, &chosen);
        st = tell_channels(out, &chosen) ? compare_entries(out, &chosen, err) : no_memory(err);
    }
    free(chosen.channels);
    if (st != JOULET_OK)
        comparison_release(out);
    return st;
}

static void texts_free(char **texts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(texts[i]);
    free(texts);
}

void comparison_release(struct comparison *c)
{
    for (size_t i = 0; i < c->n_sides; i++)
        free(c->sides[i].name);
    for (size_t i = 0; i < c->n_left_out; i++)
        free(c->left_out[i].prompt);
    texts_free(c->channels, c->n_channels);
    texts_free(c->notes, c->n_notes);
    free(c->sides);
    free(c->left_out);
    free(c->results);
    *c = (struct comparison){0};
}
