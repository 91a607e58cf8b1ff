/* profile_series.c - energy of a token against what was varied: tokens in the context, sequences at once, length of the prompt,
 * the model itself. */
#include "report/profile_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *series, *title, *x;
} kinds[] = {{"position", "against the tokens in the context", "context"},
             {"batch", "against sequences at once", "at once"},
             {"prompt", "against the length of the prompt", "prompt"},
             {"model", "of models with one thing changed", "model"}};

enum { SERIES_COLUMNS = GRID_COLUMNS_MAX - 4, BAR = 20, PLACES_MAX = 64 };

struct line {
    const struct profiled_view *v;
    const char *series, *phase;
    const char *components[SERIES_COLUMNS]; /* beside the whole */
    char *titles[SERIES_COLUMNS];
    int n_components;
    double top_j;
};

static bool of_line(const struct line *l, const struct run_profile_point *x)
{
    return !strcmp(x->series, l->series) && !strcmp(x->phase, l->phase);
}

/* The same place on the axis: the same number, and of models the same name. */
static bool same_place(const struct run_profile_point *a, const struct run_profile_point *b)
{
    return a->x == b->x && !strcmp(a->label, b->label);
}

/* Point of a component at the place of x; false: none. */
static bool point_at(const struct line *l, const struct run_profile_point *x, const char *component,
                     struct run_profile_point *found)
{
    for (size_t i = 0; i < l->v->p->n_points; i++) {
        const struct run_profile_point *p = &l->v->p->points[i];
        if (!of_line(l, p) || !same_place(p, x) || strcmp(p->component, component) != 0)
            continue;
        *found = run_profile_known_point(l->v->p, p);
        return true;
    }
    return false;
}

static void line_components(struct line *l)
{
    for (size_t i = 0; i < l->v->p->n_points; i++) {
        const struct run_profile_point *x = &l->v->p->points[i];
        int k = 0;
        if (!of_line(l, x))
            continue;
        while (x->component[0] && k < l->n_components && strcmp(l->components[k], x->component))
            k++;
        if (x->component[0] && k == l->n_components && k < SERIES_COLUMNS)
            l->components[l->n_components++] = x->component;
        if (!x->component[0])
            l->top_j = fmax(l->top_j, x->joules);
    }
}

static struct number place_text(const struct run_profile_point *x)
{
    return x->x == trunc(x->x) ? number_plain(x->x) : number_digits(x->x, 3);
}

/* What is not resolved is a limit. */
static struct number whole_text(const struct run_profile_point *x, const struct report_style *style)
{
    return profiled_joules(isnan(x->limit_j) ? x->joules : NAN, x->joules_pm, x->limit_j, style);
}

/* One place: the whole, its bar, and the components. */
static void place_row(struct grid *g, const struct line *l, const struct run_profile_point *x)
{
    const struct report_style *style = l->v->style;
    struct run_profile_point all, one;
    const struct run_profile_point *whole = point_at(l, x, "", &all) ? &all : NULL;
    struct number at = place_text(x), parts[SERIES_COLUMNS];
    struct number energy = whole ? whole_text(whole, style) : (struct number){"-"};
    struct number time = number_s(whole ? whole->seconds : NAN, style);
    char *label = text_clean(x->label, style);
    struct jl_buf bar;
    const char *cells[GRID_COLUMNS_MAX] = {label && *label ? label : at.text, energy.text, time.text, ""};
    jl_buf_init(&bar, 256);
    for (int i = 0; whole && l->top_j > 0 && i < BAR && whole->joules / l->top_j * BAR - i > 0.5; i++)
        jl_buf_str(&bar, style->utf8 ? "\u2588" : "#");
    cells[3] = bar.data ? bar.data : "";
    for (int k = 0; k < l->n_components; k++) {
        parts[k] = point_at(l, x, l->components[k], &one) ? profiled_si(one.joules, "J", style) : (struct number){"-"};
        cells[4 + k] = parts[k].text;
    }
    grid_add(g, TONE_PLAIN, cells);
    jl_buf_release(&bar);
    free(label);
}

static void heading(const struct line *l, const char *title)
{
    char *text = jl_strf("%s %s", l->phase, title), *clean = text ? text_clean(text, l->v->style) : NULL;
    jl_buf_str(l->v->out, "\n");
    text_rule(l->v->out, l->v->style, clean ? clean : "", "", TONE_PLAIN);
    free(text);
    free(clean);
}

static void one_series(struct line *l, size_t from)
{
    struct grid_column columns[GRID_COLUMNS_MAX] = {
        {"", false, 0}, {"a token", true, 0}, {"time of it", true, 1}, {"", false, GRID_COLUMNS_MAX + 1}};
    const struct run_profile *p = l->v->p;
    const char *title = l->series;
    struct grid g;
    for (size_t i = 0; i < JL_COUNT(kinds); i++)
        if (!strcmp(kinds[i].series, l->series)) {
            title = kinds[i].title;
            columns[0].title = kinds[i].x;
        }
    line_components(l);
    for (int k = 0; k < l->n_components; k++) {
        l->titles[k] = text_clean(l->components[k], l->v->style);
        columns[4 + k] = (struct grid_column){l->titles[k] ? l->titles[k] : "", true, 2 + k};
    }
    heading(l, title);
    grid_init(&g, columns, (size_t)(4 + l->n_components));
    for (size_t i = from; i < p->n_points; i++) {
        bool first = of_line(l, &p->points[i]);
        for (size_t k = from; first && k < i; k++)
            first = !of_line(l, &p->points[k]) || !same_place(&p->points[k], &p->points[i]);
        if (first && g.n < PLACES_MAX)
            place_row(&g, l, &p->points[i]);
    }
    grid_write(&g, l->v->out, l->v->style);
    for (int k = 0; k < l->n_components; k++)
        free(l->titles[k]);
}

void profiled_series(const struct profiled_view *v)
{
    enum { LINES_MAX = 16 };
    struct line lines[LINES_MAX];
    size_t n = 0;
    for (size_t i = 0; i < v->p->n_points && n < LINES_MAX; i++) {
        bool seen = false;
        for (size_t k = 0; k < n; k++)
            seen |= of_line(&lines[k], &v->p->points[i]);
        if (seen)
            continue;
        lines[n] = (struct line){.v = v, .series = v->p->points[i].series, .phase = v->p->points[i].phase};
        one_series(&lines[n++], i);
    }
}
