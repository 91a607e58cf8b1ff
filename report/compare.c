/* compare.c - a comparison as text: who, what each used, verdicts in words, a ranking of more than two. */
#include "report/comparison.h"
#include "report/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NAMED_MAX    5   /* prompts left out that are named; the JSON has all */
#define NOT_USEFUL   5   /* 500 %: to exclude only what is beyond says nothing */
#define NOT_KNOWN    1e6 /* an interval whose ends are so many times apart tells nothing of the ratio */
#define SIDES_BY_TWO 5   /* up to so many every two have a verdict in words */

/* ---- words ------------------------------------------------------------------------------------------------------- */

/* A decimal where one of the figures that stand together needs it. */
static struct number percent(double share, double least)
{
    return number_f("%.*f", fabs(least) < 0.0995 ? 1 : 0, 100 * share);
}

/* "2.3 % less than A (1.2 to 3.3 %)": of a ratio with its interval; `than` may be "". */
static struct number more_or_less(const struct jl_comparison *c, const char *than)
{
    bool less = c->ratio < 1;
    double by = fabs(c->ratio - 1), from = less ? 1 - c->hi95 : c->lo95 - 1, to = less ? 1 - c->lo95 : c->hi95 - 1;
    return number_f("%s %% %s%s%s (%s to %s %%)", percent(by, from).text, less ? "less" : "more", *than ? " than " : "", than,
                    percent(from, from).text, percent(to, from).text);
}

void compare_words(struct jl_buf *out, const struct comparison *c, const struct compare_result *r)
{
    const char *a = c->sides[r->a].label, *b = c->sides[r->b].label;
    bool two = c->n_sides == 2;
    switch (r->c.verdict) {
    case JL_DIFFERENT:
        jl_buf_printf(out, "%s %s %s%s", b, c->options.metric->verb, more_or_less(&r->c, two ? "" : a).text,
                      r->c.small ? "; small" : "");
        return;
    case JL_EQUAL:
        jl_buf_printf(out, "%s%s%s%sequal within %s %%", two ? "" : b, two ? "" : " and ", two ? "" : a, two ? "" : ": ",
                      number_plain(100 * c->options.margin).text);
        return;
    case JL_UNDECIDED:
        jl_buf_printf(out, "%s%s%s%sno difference seen; ", two ? "" : b, two ? "" : " and ", two ? "" : a, two ? "" : ": ");
        if (isnan(r->c.not_beyond))
            jl_buf_str(out, "too few requests to exclude any");
        else if (r->c.not_beyond > NOT_USEFUL)
            jl_buf_str(out, "even one of several times is not excluded, the requests are too few or too noisy");
        else
            jl_buf_printf(out, "a difference up to %s %% is not excluded", percent(r->c.not_beyond, r->c.not_beyond).text);
        return;
    }
}

/* ---- heading ----------------------------------------------------------------------------------------------------- */

static void heading(struct jl_buf *out, const struct comparison *c, const struct report_style *style)
{
    const struct compare_metric *m = c->options.metric;
    char *title = jl_strf("compare: %s%s", m->energy ? c->options.gross ? "gross " : "net " : "", m->title);
    text_rule(out, style, title ? title : "compare", c->paired ? "paired" : "not paired", TONE_PLAIN);
    free(title);
    for (size_t k = 0; k < c->n_sides; k++) {
        const struct compare_side *s = &c->sides[k];
        struct jl_buf b;
        jl_buf_init(&b, 4096);
        jl_buf_printf(&b, "%s  (run %s", s->name, s->of.run->id);
        const char *quantisation = run_pairs_get(&s->of.run->model, "quantisation");
        if (quantisation && s->of.cell < 0)
            jl_buf_printf(&b, ", %s", quantisation);
        jl_buf_str(&b, ")");
        text_item(out, style, s->label, NULL, b.data, TONE_PLAIN);
        jl_buf_release(&b);
    }
}

/* ---- sides ------------------------------------------------------------------------------------------------------- */

static const struct compare_result *to_first(const struct comparison *c, size_t side)
{
    return side ? &c->results[side - 1] : NULL; /* (0,1), (0,2), .. come first */
}

static struct number ratio_text(const struct compare_result *r)
{
    if (!r)
        return (struct number){"1"};
    if (r->c.hi95 > NOT_KNOWN * r->c.lo95 && isfinite(r->c.hi95))
        return (struct number){"not known"};
    if (!isfinite(r->c.hi95))
        return number_f("%.3f", r->c.ratio);
    return number_f("%.3f (%.3f to %.3f)", r->c.ratio, r->c.lo95, r->c.hi95);
}

static void side_row(struct grid *g, const struct comparison *c, size_t side, const struct report_style *style)
{
    const struct compare_side *s = &c->sides[side];
    struct number place = number_f("%zu", s->place), used = number_f("%zu", s->used);
    struct number mean = number_pm(s->mean, s->mean_pm, c->options.metric->unit, style);
    struct number in = number_digits(s->tokens_in, 3), out = number_digits(s->tokens_out, 3), time = number_s(s->seconds, style);
    struct number passed = s->checked ? number_f("%zu of %zu", s->passed, s->checked) : (struct number){""};
    struct number correct = s->checked ? number_f("%s J", number_digits(s->j_per_correct, 3).text) : (struct number){""};
    struct number ratio = ratio_text(to_first(c, side));
    const char *const cells[] = {s->label,    c->n_sides > 2 ? place.text : "",
                                 used.text,   mean.text,
                                 ratio.text,  in.text,
                                 out.text,    time.text,
                                 passed.text, correct.text};
    grid_add(g, TONE_PLAIN, cells);
}

/* In the order of places, and within a place of what was used. */
static bool before(const struct comparison *c, size_t x, size_t y)
{
    if (c->sides[x].place != c->sides[y].place)
        return c->sides[x].place < c->sides[y].place;
    return c->sides[x].mean < c->sides[y].mean;
}

static void sides(struct jl_buf *out, const struct comparison *c, const struct report_style *style)
{
    static const struct grid_column columns[] = {
        {"", false, 0},         {"place", true, 0}, {"requests", true, 4}, {"mean", true, 0},          {"to A (95 %)", true, 0},
        {"tokens in", true, 5}, {"out", true, 3},   {"time", true, 2},     {"checks passed", true, 1}, {"per correct", true, 1}};
    size_t order[COMPARE_MAX];
    struct grid g;
    grid_init(&g, columns, JL_COUNT(columns));
    for (size_t i = 0; i < c->n_sides; i++) {
        size_t k = i;
        for (; c->n_sides > 2 && k > 0 && before(c, i, order[k - 1]); k--)
            order[k] = order[k - 1];
        order[k] = i;
    }
    for (size_t i = 0; i < c->n_sides; i++)
        side_row(&g, c, order[i], style);
    jl_buf_str(out, "\n");
    grid_write(&g, out, style);
    jl_buf_str(out, "\n");
}

/* ---- verdicts ---------------------------------------------------------------------------------------------------- */

static void test_line(struct jl_buf *out, const struct comparison *c, const struct compare_result *r,
                      const struct report_style *style)
{
    const struct jl_comparison *x = &r->c;
    struct jl_buf b;
    jl_buf_init(&b, 4096);
    jl_buf_printf(&b, "p %s", number_digits(x->p, 2).text);
    if (x->pairs)
        jl_buf_printf(&b, " (sign flips of %zu pair%s%s)", x->pairs, x->pairs == 1 ? "" : "s", x->exact ? ", exact" : "");
    else
        jl_buf_printf(&b, " (Mann-Whitney, %zu and %zu requests%s)", x->n_a, x->n_b, x->exact ? ", exact" : "");
    jl_buf_printf(&b, "; shift %s %s, Cliff's delta %.2f", number_digits(x->shift, 3).text, c->options.metric->unit, x->delta);
    text_item(out, style, "test", NULL, b.data, TONE_FAINT);
    jl_buf_release(&b);
}

static void verdicts(struct jl_buf *out, const struct comparison *c, const struct report_style *style)
{
    bool all = c->n_sides <= SIDES_BY_TWO;
    for (size_t i = 0; i < c->n_results; i++) {
        struct jl_buf b;
        if (!all && c->results[i].a != 0)
            break; /* those to A come first */
        jl_buf_init(&b, 4096);
        compare_words(&b, c, &c->results[i]);
        text_item(out, style, i ? "" : "verdict", NULL, b.data,
                  c->results[i].c.verdict == JL_DIFFERENT ? TONE_STRONG : TONE_PLAIN);
        jl_buf_release(&b);
    }
    if (c->n_results == 1)
        test_line(out, c, &c->results[0], style);
    else
        text_item(
            out, style, "test", NULL,
            "every two sides were tested, at 5 % with Holm over all; the place of a side is one more than the number of those "
            "that surely use less, so sides that cannot be told apart share one",
            TONE_FAINT);
    if (!all)
        text_item(out, style, "note", NULL, "verdicts between two other sides than A are in --json", TONE_PLAIN);
}

/* ---- what is not in it ------------------------------------------------------------------------------------------- */

static void left_out(struct jl_buf *b, const struct compare_side *s)
{
    const struct {
        size_t n;
        const char *what;
    } reasons[] = {{s->failed, "failed"}, {s->unknown, "without a figure above 0"}};
    const char *comma = "";
    for (size_t i = 0; i < JL_COUNT(reasons); i++)
        if (reasons[i].n) {
            jl_buf_printf(b, "%s%zu %s", comma, reasons[i].n, reasons[i].what);
            comma = ", ";
        }
}

static void uncommon(struct jl_buf *b, const struct comparison *c, size_t side)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n_left_out; i++)
        if (c->left_out[i].side == side && ++n <= NAMED_MAX)
            jl_buf_printf(b, "%s%s", n > 1 ? ", " : "", c->left_out[i].prompt ? c->left_out[i].prompt : "?");
    if (n > NAMED_MAX)
        jl_buf_printf(b, " and %zu more", n - NAMED_MAX);
    if (n)
        jl_buf_str(b, ", which not all have");
}

static void over_line(struct jl_buf *out, const struct comparison *c, const struct report_style *style)
{
    size_t warmups = 0;
    struct jl_buf b;
    jl_buf_init(&b, 65536);
    for (size_t k = 0; k < c->n_sides; k++)
        warmups += c->sides[k].warmup;
    jl_buf_printf(&b, "%zu prompt%s that all sides have", c->prompts, c->prompts == 1 ? "" : "s");
    if (warmups)
        jl_buf_printf(&b, ", without %zu warm-up request%s", warmups, warmups == 1 ? "" : "s");
    for (size_t i = 0; i < c->n_channels && c->options.metric->energy; i++)
        jl_buf_printf(&b, "%s%s", i ? ", " : "; sensors ", c->channels[i] ? c->channels[i] : "");
    text_item(out, style, "over", NULL, b.data, TONE_PLAIN);
    jl_buf_release(&b);
}

static void left_out_line(struct jl_buf *out, const struct comparison *c, size_t side, const struct report_style *style)
{
    struct jl_buf reasons, prompts;
    jl_buf_init(&reasons, 1024);
    jl_buf_init(&prompts, 65536);
    left_out(&reasons, &c->sides[side]);
    uncommon(&prompts, c, side);
    char *text = jl_strf("left out of %s: %s%s%s", c->sides[side].label, reasons.len ? reasons.data : "",
                         reasons.len && prompts.len ? "; " : "", prompts.len ? prompts.data : "");
    if (text && (reasons.len || prompts.len))
        text_item(out, style, "note", NULL, text, TONE_PLAIN);
    free(text);
    jl_buf_release(&reasons);
    jl_buf_release(&prompts);
}

void report_comparison(struct jl_buf *out, const struct comparison *c, const struct report_style *style)
{
    heading(out, c, style);
    sides(out, c, style);
    verdicts(out, c, style);
    over_line(out, c, style);
    for (size_t k = 0; k < c->n_sides; k++)
        left_out_line(out, c, k, style);
    for (size_t i = 0; i < c->n_notes; i++)
        text_item(out, style, "note", NULL, c->notes[i], TONE_PLAIN);
}
