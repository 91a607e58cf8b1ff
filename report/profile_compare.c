/* profile_compare.c - two profiles beside each other: energy of a token, for each parameter and for each FLOP, by phase and by
 * component, with the interval of the difference; and what of it cannot be compared. */
#include "report/profile_private.h"
#include "report/put.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_MAX = 2 * (PARTS_MAX + 1), REASONS_MAX = 12, REASON = 200 };

struct line {
    char phase[16], component[24]; /* "" the whole phase */
    double a_j, a_pm, b_j, b_pm;   /* of a token */
    double a_flop, b_flop;         /* of a token */
    bool a_limit, b_limit;         /* only limited from above: nothing to compare */
};

struct difference {
    double change, pm; /* of B against A, 0.12: 12 % more; pm half of its 95 % interval; NAN unknown */
};

struct pair {
    struct profiled_view a, b;
    double a_parameters, b_parameters; /* of all layers of the shape, as far as known */
    struct line lines[ROWS_MAX];
    size_t n;
    char reasons[REASONS_MAX][REASON];
    size_t n_reasons;
};

/* ---- what cannot be compared ------------------------------------------------------------------------------------- */

static void reason(struct pair *c, const char *fmt, ...) JL_PRINTF(2, 3);

static void reason(struct pair *c, const char *fmt, ...)
{
    va_list ap;
    if (c->n_reasons == REASONS_MAX)
        return;
    va_start(ap, fmt);
    vsnprintf(c->reasons[c->n_reasons++], REASON, fmt, ap);
    va_end(ap);
}

static void differing_text(struct pair *c, const char *what, const char *a, const char *b, const char *then)
{
    if (a && b && *a && *b && strcmp(a, b))
        reason(c, "%s: A %.50s, B %.50s: %s", what, a, b, then);
}

static void differing_pair(struct pair *c, const char *what, const struct run_pairs *a, const struct run_pairs *b,
                           const char *key, const char *then)
{
    differing_text(c, what, run_pairs_get(a, key), run_pairs_get(b, key), then);
}

/* In words for who has not read the manual. */
static const char *path_name(const char *path)
{
    static const struct {
        const char *path, *words;
    } rows[] = {{"plain", "from plain decoding"},
                {"lock-in", "by executing them again"},
                {"time", "as shares of time"},
                {"stages", "none, stages alone"}};
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        if (!strcmp(rows[i].path, path))
            return rows[i].words;
    return path;
}

/* First tokens have a shorter context, and a slot may have other work. */
static void differing_steps(struct pair *c)
{
    char a[ONLY_MAX], b[ONLY_MAX];
    profiled_only(c->a.p, a, sizeof a);
    profiled_only(c->b.p, b, sizeof b);
    differing_text(c, "what counts", *a ? a : "all", *b ? b : "all", "they are not of the same tokens");
}

static void find_reasons(struct pair *c)
{
    const struct run_profile *a = c->a.p, *b = c->b.p;
    differing_text(c, "sensor", a->sensor, b->sensor, "they do not see the same devices");
    if (a->how.estimated || b->how.estimated)
        reason(c, "energy of %s is an estimate: it cannot show a difference that time does not show",
               a->how.estimated && b->how.estimated ? "both"
               : a->how.estimated                   ? "A"
                                                    : "B");
    if (a->how.simulated > 0 || b->how.simulated > 0)
        reason(c, "energy of %s is of a simulated or replayed sensor: it says nothing of a machine",
               a->how.simulated > 0 && b->how.simulated > 0 ? "both"
               : a->how.simulated > 0                       ? "A"
                                                            : "B");
    differing_steps(c);
    differing_text(c, "way to the components", path_name(a->how.path), path_name(b->how.path),
                   "components are not found alike, phases are");
    if (!strcmp(a->how.path, "time") && !strcmp(b->how.path, "time"))
        reason(c, "components of both are shares of time: their differences are those of time, and have no interval (%s)",
               text_about(c->a.style));
    differing_pair(c, "machine", &a->machine, &b->machine, "cpu", "the difference is of machine and model together");
    differing_pair(c, "engine", &a->engine, &b->engine, "version", "the difference is of engine and model together");
    differing_pair(c, "threads", &a->settings, &b->settings, "threads", "the difference is also of the threads");
    differing_pair(c, "context", &a->settings, &b->settings, "context", "attention does not have the same work");
    if (a->how.records > 0 && b->how.records > 0 && a->how.flash != b->how.flash)
        reason(c, "flash attention was %s in A and %s in B", a->how.flash ? "on" : "off", b->how.flash ? "on" : "off");
    const struct profiled_view *views[] = {&c->a, &c->b};
    for (size_t i = 0; i < JL_COUNT(views); i++)
        if (views[i]->scale != 1)
            reason(c, "%c ran %lld of its %lld layers, the rest is scaled: that adds an uncertainty which is not in the interval",
                   i ? 'B' : 'A', (long long)views[i]->layers, (long long)views[i]->layers_of);
}

/* ---- figures ----------------------------------------------------------------------------------------------------- */

static const struct profiled_sum *find_sum(const struct profiled_sums *s, const char *component)
{
    for (size_t i = 0; i < s->n; i++)
        if (!strcmp(s->items[i].component, component))
            return &s->items[i];
    return NULL;
}

/* Work of all layers of the shape: what lies in layers counts as often as their energy does. */
static double whole_flop(const struct profiled_view *v, const char *phase, const char *component)
{
    double flop = 0;
    bool any = false;
    for (size_t i = 0; i < v->p->n_rows; i++) {
        const struct run_profile_row *r = &v->p->rows[i];
        if (strcmp(r->phase, phase) || r->part[0] || (component && strcmp(r->component, component)))
            continue;
        double whole = run_profile_whole_row(v->p, r).flop;
        flop += isnan(r->flop) ? 0 : whole; /* "rest" has none that is known */
        any = true;
    }
    return any ? flop : NAN;
}

static struct line *add_line(struct pair *c, const char *phase, const char *component)
{
    struct line *l = c->n < ROWS_MAX ? &c->lines[c->n++] : NULL;
    if (l) {
        *l = (struct line){.a_j = NAN, .b_j = NAN};
        snprintf(l->phase, sizeof l->phase, "%s", phase);
        snprintf(l->component, sizeof l->component, "%s", component);
    }
    return l;
}

static void component_line(struct pair *c, const char *phase, const struct profiled_sum *a, const struct profiled_sum *b,
                           double n_a, double n_b)
{
    struct line *l = add_line(c, phase, a->component);
    if (!l)
        return;
    l->a_j = a->whole_j / n_a;
    l->a_pm = a->whole_pm / n_a;
    l->b_j = b->whole_j / n_b;
    l->b_pm = b->whole_pm / n_b;
    l->a_flop = whole_flop(&c->a, phase, a->component) / n_a;
    l->b_flop = whole_flop(&c->b, phase, a->component) / n_b;
    l->a_limit = isfinite(a->whole_limit_j) || !run_profile_resolved(c->a.p, phase);
    l->b_limit = isfinite(b->whole_limit_j) || !run_profile_resolved(c->b.p, phase);
}

/* Energy of a token of a phase; NAN, and said, where it is not resolved. */
static bool phase_side(struct pair *c, const struct profiled_view *v, const struct run_profile_phase *x, double *j, double *pm)
{
    bool resolved = run_profile_resolved(v->p, x->name);
    *j = profiled_whole_phase(v, x, pm) / (double)x->tokens;
    *pm /= (double)x->tokens;
    if (resolved)
        return true;
    *j = *pm = NAN;
    reason(c, "energy of %s in %c was not resolved, it is not above its own interval: measure for longer", x->name,
           v == &c->a ? 'A' : 'B');
    return false;
}

static void phase_lines(struct pair *c, const char *phase)
{
    const struct run_profile_phase *a = run_profile_phase(c->a.p, phase), *b = run_profile_phase(c->b.p, phase);
    struct profiled_sums sa, sb;
    struct line *l = a && b && a->tokens > 0 && b->tokens > 0 ? add_line(c, phase, "") : NULL;
    if (!l)
        return;
    double n_a = (double)a->tokens, n_b = (double)b->tokens;
    l->a_limit = !phase_side(c, &c->a, a, &l->a_j, &l->a_pm);
    l->b_limit = !phase_side(c, &c->b, b, &l->b_j, &l->b_pm);
    l->a_flop = (c->a.scale == 1 ? a->flop : whole_flop(&c->a, phase, NULL)) / n_a;
    l->b_flop = (c->b.scale == 1 ? b->flop : whole_flop(&c->b, phase, NULL)) / n_b;
    profiled_sum_phase(&c->a, phase, false, &sa);
    profiled_sum_phase(&c->b, phase, false, &sb);
    for (size_t i = 0; i < sa.n; i++) {
        const struct profiled_sum *other = find_sum(&sb, sa.items[i].component);
        if (other)
            component_line(c, phase, &sa.items[i], other, n_a, n_b);
    }
}

/* `parameters` is of what ran; of the shape where the record has that too. */
static double parameters_of(const struct profiled_view *v)
{
    double whole = profiled_number(&v->p->model, "parameters_of");
    return isfinite(whole) ? whole : v->scale == 1 ? profiled_number(&v->p->model, "parameters") : NAN;
}

static void compare(struct pair *c, const struct run_profile *a, const struct run_profile *b, struct jl_buf *out,
                    const struct report_style *style)
{
    *c = (struct pair){.n = 0};
    profiled_view_init(&c->a, a, out, style);
    profiled_view_init(&c->b, b, out, style);
    c->a_parameters = parameters_of(&c->a);
    c->b_parameters = parameters_of(&c->b);
    find_reasons(c);
    phase_lines(c, "prefill");
    phase_lines(c, "decode");
}

/* B against A, each divided by something that is known exactly; independent measurements, so relative ± in quadrature. */
static struct difference difference(const struct line *l, double per_a, double per_b)
{
    double ratio = (l->b_j / per_b) / (l->a_j / per_a), relative = hypot(l->a_pm / l->a_j, l->b_pm / l->b_j);
    bool noise = l->a_j <= l->a_pm || l->b_j <= l->b_pm; /* may be nothing at all: of that there is no ratio */
    if (noise || !isfinite(ratio) || !(l->a_j > 0) || !(l->b_j > 0) || !(per_a > 0) || !(per_b > 0))
        return (struct difference){NAN, NAN};
    return (struct difference){ratio - 1, ratio * relative};
}

/* ---- words ------------------------------------------------------------------------------------------------------- */

static struct number change_text(struct difference d, const struct report_style *style)
{
    if (isnan(d.change))
        return (struct number){"-"};
    if (d.change >= 0.9 && d.change > d.pm) /* "2.60 times" reads better than "160 % more" */
        return number_pm(1 + d.change, d.pm, "times", style);
    if (isfinite(d.pm) && fabs(d.change) <= d.pm)
        return number_f("none seen (%s%s %%)", text_pm(style), number_digits(100 * d.pm, 2).text);
    struct number size = number_pm(100 * fabs(d.change), 100 * d.pm, "%", style);
    return number_f("%s%s %s", isnan(d.pm) ? text_about(style) : "", size.text, d.change > 0 ? "more" : "less");
}

static struct number side(double j, double pm, bool limit, const struct report_style *style)
{
    return limit ? number_f("not resolved") : profiled_joules(j, pm, NAN, style);
}

static void side_facts(const struct profiled_view *v, const char *label)
{
    const struct run_pairs *m = &v->p->model;
    const char *name = run_pairs_get(m, "name"), *quantisation = run_pairs_get(m, "quantisation");
    const char *engine = run_pairs_get(&v->p->engine, "version");
    double parameters = profiled_number(m, "parameters");
    char layers[48] = "";
    if (v->scale != 1)
        snprintf(layers, sizeof layers, ", %lld of %lld layers", (long long)v->layers, (long long)v->layers_of);
    char *text = jl_strf("%s%s%s%s%s%s%s%s, profile %s", name ? report_model_name(name) : v->p->id, quantisation ? ", " : "",
                         quantisation ? quantisation : "", parameters > 0 ? ", " : "",
                         parameters > 0 ? profiled_parameters(parameters, v->style).text : "", layers, engine ? ", engine " : "",
                         engine ? engine : "", v->p->id);
    text_item(v->out, v->style, label, NULL, text ? text : "", TONE_PLAIN);
    free(text);
}

static void line_row(struct grid *g, const struct pair *c, const struct line *l)
{
    const struct report_style *style = c->a.style;
    char *clean = text_clean(l->component[0] ? l->component : l->phase, style);
    char *name = jl_strf("%s%s", l->component[0] ? "  " : "", clean ? clean : "");
    struct number a = side(l->a_j, l->a_pm, l->a_limit, style), b = side(l->b_j, l->b_pm, l->b_limit, style);
    struct number token = change_text(difference(l, 1, 1), style);
    struct number flop = change_text(difference(l, l->a_flop, l->b_flop), style);
    const char *const cells[] = {name ? name : "", a.text, b.text, token.text, flop.text};
    grid_add(g, l->component[0] ? TONE_PLAIN : TONE_STRONG, cells);
    free(clean);
    free(name);
}

/* A phase divided by what the models have more or less of. */
static void normalised_row(struct grid *g, const struct pair *c, const struct line *l, const char *what, double per_a,
                           double per_b)
{
    const struct report_style *style = c->a.style;
    struct number a = profiled_si(l->a_j / per_a, "J", style), b = profiled_si(l->b_j / per_b, "J", style);
    struct number change = change_text(difference(l, per_a, per_b), style);
    char *clean = text_clean(l->phase, style), *name = jl_strf("%s, %s", clean ? clean : "", what);
    const char *const cells[] = {name ? name : "", a.text, b.text, change.text};
    grid_add(g, TONE_PLAIN, cells);
    free(name);
    free(clean);
}

static void normalised(const struct pair *c)
{
    static const struct grid_column columns[] = {
        {"a token, for each", false, 0}, {"A", true, 1}, {"B", true, 2}, {"B against A", true, 0}};
    struct grid g;
    grid_init(&g, columns, JL_COUNT(columns));
    for (size_t i = 0; i < c->n; i++) {
        const struct line *l = &c->lines[i];
        if (l->component[0])
            continue;
        normalised_row(&g, c, l, "parameter", c->a_parameters, c->b_parameters);
        normalised_row(&g, c, l, "FLOP", l->a_flop, l->b_flop);
    }
    grid_write(&g, c->a.out, c->a.style);
}

void report_profile_compare(struct jl_buf *out, const struct run_profile *a, const struct run_profile *b,
                            const struct report_style *style)
{
    static const struct grid_column columns[] = {
        {"energy of a token", false, 0}, {"A", true, 1}, {"B", true, 2}, {"B against A", true, 0}, {"for each FLOP", true, 3}};
    struct pair c;
    struct grid g;
    compare(&c, a, b, out, style);
    text_rule(out, style, "two profiles", "", TONE_PLAIN);
    side_facts(&c.a, "A");
    side_facts(&c.b, "B");
    jl_buf_str(out, "\n");
    if (!c.n)
        text_item(out, style, "", NULL, "the profiles have no phase in common whose tokens are known: nothing can be compared",
                  TONE_WARN);
    grid_init(&g, columns, JL_COUNT(columns));
    for (size_t i = 0; i < c.n; i++)
        line_row(&g, &c, &c.lines[i]);
    if (c.n) {
        grid_write(&g, out, style);
        jl_buf_str(out, "\n");
        normalised(&c);
        jl_buf_str(out, "\n");
    }
    for (size_t i = 0; i < c.n_reasons; i++)
        text_item(out, style, i ? "" : "but", NULL, c.reasons[i], TONE_WARN);
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static void put_side(struct jl_buf *out, const char *key, const struct profiled_view *v, double parameters)
{
    put_begin(out, key, '{');
    put_text(out, "id", v->p->id);
    put_text(out, "model", run_pairs_get(&v->p->model, "name"));
    put_text(out, "quantisation", run_pairs_get(&v->p->model, "quantisation"));
    put_real(out, "parameters", parameters);
    put_end(out, '}');
}

static void put_difference(struct jl_buf *out, const char *key, struct difference d)
{
    put_begin(out, key, '{');
    put_real(out, "change", d.change);
    put_real(out, "pm", d.pm);
    put_end(out, '}');
}

void report_profile_compare_json(struct jl_buf *out, const struct run_profile *a, const struct run_profile *b)
{
    static const struct report_style plain = {0};
    struct pair c;
    compare(&c, a, b, out, &plain);
    put_begin(out, NULL, '{');
    put_side(out, "a", &c.a, c.a_parameters);
    put_side(out, "b", &c.b, c.b_parameters);
    put_begin(out, "bars", '[');
    for (size_t i = 0; i < c.n; i++) {
        const struct line *l = &c.lines[i];
        put_begin(out, NULL, '{');
        put_text(out, "phase", l->phase);
        put_text(out, "component", l->component);
        put_real(out, "a_j_per_token", l->a_j);
        put_real(out, "a_j_per_token_pm", l->a_pm);
        put_real(out, "b_j_per_token", l->b_j);
        put_real(out, "b_j_per_token_pm", l->b_pm);
        put_difference(out, "per_token", difference(l, 1, 1));
        put_difference(out, "per_parameter", difference(l, c.a_parameters, c.b_parameters));
        put_difference(out, "per_flop", difference(l, l->a_flop, l->b_flop));
        put_end(out, '}');
        jl_buf_str(out, "\n");
    }
    put_end(out, ']');
    put_begin(out, "not_comparable", '[');
    for (size_t i = 0; i < c.n_reasons; i++)
        put_string(out, c.reasons[i]);
    put_end(out, ']');
    put_end(out, '}');
    jl_buf_str(out, "\n");
}
