/* profiled_heat.c - energy of a token by layer and component: a map in colours or shades, a line for each component; and the same
 * with all numbers, a line for each layer. */
#include "report/profile_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LABEL = 16, FIGURES = 25, CELL_MAX = 6, SHADES = 10, NARROW = 72, NUMBERS = 7, GAP = 2, BESIDE = 3 };

/* ---- the map ----------------------------------------------------------------------------------------------------- */

static size_t component_of(const struct profiled_map *m, const char *name)
{
    size_t i = 0;
    while (i < m->n_components && strcmp(m->components[i], name))
        i++;
    return i;
}

static bool drawn(const struct run_profile_row *r, const char *phase)
{
    return !strcmp(r->phase, phase) && !r->part[0] && r->layer >= 0 && r->layer < LAYERS_MAX;
}

/* Those that layers have, in the order of the table. */
static void find_components(struct profiled_map *m, const struct profiled_view *v, const char *phase)
{
    struct profiled_sums s;
    profiled_sum_phase(v, phase, false, &s);
    for (size_t k = 0; k < s.n; k++)
        for (size_t i = 0; i < v->p->n_rows; i++)
            if (drawn(&v->p->rows[i], phase) && !strcmp(v->p->rows[i].component, s.items[k].component)) {
                snprintf(m->components[m->n_components++], sizeof m->components[0], "%s", s.items[k].component);
                break;
            }
}

bool profiled_map_init(struct profiled_map *m, const struct profiled_view *v, const char *phase)
{
    const struct run_profile_phase *x = run_profile_phase(v->p, phase);
    double tokens = x && x->tokens > 0 ? (double)x->tokens : NAN;
    *m = (struct profiled_map){.top_j = 0};
    for (size_t i = 0; i < v->p->n_rows; i++)
        if (drawn(&v->p->rows[i], phase) && v->p->rows[i].layer >= m->layers)
            m->layers = v->p->rows[i].layer + 1;
    find_components(m, v, phase);
    size_t n = m->n_components * (size_t)m->layers;
    m->j = n ? calloc(2 * n, sizeof *m->j) : NULL;
    if (!m->j)
        return false;
    m->limit_j = m->j + n;
    for (size_t i = 0; i < 2 * n; i++)
        m->j[i] = NAN;
    for (size_t i = 0; i < v->p->n_rows; i++) {
        const struct run_profile_row known = run_profile_known_row(v->p, &v->p->rows[i]), *r = &known;
        size_t k = drawn(r, phase) ? component_of(m, r->component) : PARTS_MAX;
        if (k >= m->n_components)
            continue;
        size_t at = k * (size_t)m->layers + (size_t)r->layer;
        m->j[at] = r->joules / tokens;
        m->limit_j[at] = r->limit_j / tokens;
        if (m->j[at] > m->top_j)
            m->top_j = m->j[at];
    }
    return true;
}

void profiled_map_release(struct profiled_map *m)
{
    free(m->j);
    *m = (struct profiled_map){0};
}

/* Mean of the layers from..to-1; *limited when one of them has only a limit. */
static double mean_of(const struct profiled_map *m, size_t component, int64_t from, int64_t to, bool *limited)
{
    double sum = 0;
    int n = 0;
    for (int64_t l = from; l < to && l < m->layers; l++) {
        size_t at = component * (size_t)m->layers + (size_t)l;
        *limited |= isnan(m->j[at]) && !isnan(m->limit_j[at]);
        if (!isnan(m->j[at])) {
            sum += m->j[at];
            n++;
        }
    }
    return n ? sum / n : NAN;
}

/* 0 to SHADES-1. */
static int level_of(double j, double top_j)
{
    double share = top_j > 0 ? j / top_j : 0;
    return share <= 0 ? 0 : share >= 1 ? SHADES - 1 : (int)(share * SHADES);
}

/* Dark to bright, from the 256 colours that terminals share; without colours shades, without those characters. */
static void put_shade(struct jl_buf *out, const struct report_style *style, int level, int width)
{
    static const int colours[SHADES] = {17, 54, 90, 126, 161, 197, 203, 209, 215, 228};
    static const char *const blocks[SHADES] = {"\u2591", "\u2591", "\u2591", "\u2592", "\u2592",
                                               "\u2592", "\u2593", "\u2593", "\u2588", "\u2588"};
    static const char ascii[SHADES + 1] = ".:-=+*%XO#";
    if (style->colour)
        jl_buf_printf(out, "\033[48;5;%dm", colours[level]);
    for (int i = 0; i < width; i++) {
        if (style->colour)
            jl_buf_str(out, " ");
        else if (style->utf8)
            jl_buf_str(out, blocks[level]);
        else
            jl_buf_add(out, &ascii[level], 1);
    }
    if (style->colour)
        jl_buf_str(out, "\033[0m");
}

static void put_cell(struct jl_buf *out, const struct report_style *style, double j, bool limited, double top_j, int width)
{
    const char *mark = limited ? "<" : " ";
    if (!isnan(j)) {
        put_shade(out, style, level_of(j, top_j), width);
        return;
    }
    for (int i = 0; i < width; i++)
        text_tone(out, style, TONE_FAINT, i ? " " : mark, 1);
}

/* ---- a line for each component ----------------------------------------------------------------------------------- */

struct scale {
    int group, width; /* layers of a cell, columns of it */
};

static struct scale scale_of(const struct profiled_map *m, const struct report_style *style)
{
    int room = text_columns(style) - 2 - LABEL - (text_columns(style) < NARROW ? 0 : FIGURES);
    int group = (int)((m->layers + room - 1) / room), cells = (int)((m->layers + group - 1) / group);
    int width = room / cells;
    return (struct scale){group, width > CELL_MAX ? CELL_MAX : width < 1 ? 1 : width};
}

/* Numbers of layers over the cells, as many as have room. */
static void axis(const struct profiled_view *v, const struct profiled_map *m, struct scale s)
{
    struct jl_buf line;
    jl_buf_init(&line, 4096);
    jl_buf_printf(&line, "  %-*s", LABEL, "layer");
    const size_t begin = line.len;
    size_t next = begin;
    for (int64_t l = 0; l < m->layers; l += s.group) {
        size_t at = begin + (size_t)(l / s.group) * (size_t)s.width;
        if (at < next)
            continue;
        jl_buf_printf(&line, "%*s%lld", (int)(at - line.len), "", (long long)l);
        next = line.len + (s.width > 2 ? 1 : 4);
    }
    if (line.data)
        text_tone(v->out, v->style, TONE_FAINT, line.data, line.len);
    jl_buf_str(v->out, "\n");
    jl_buf_release(&line);
}

/* "0.41 mJ (0.40 to 0.42)" of a layer; a limit for what was not resolved. */
static struct number span_of(const struct profiled_view *v, const struct profiled_map *m, size_t k)
{
    double lo = INFINITY, hi = -INFINITY, limit = 0;
    int64_t n = 0;
    for (int64_t l = 0; l < m->layers; l++) {
        size_t at = k * (size_t)m->layers + (size_t)l;
        if (!isnan(m->limit_j[at]))
            limit = fmax(limit, m->limit_j[at]);
        if (isnan(m->j[at]))
            continue;
        lo = fmin(lo, m->j[at]);
        hi = fmax(hi, m->j[at]);
        n++;
    }
    if (!n)
        return limit > 0 ? number_f("< %s", profiled_si(limit, "J", v->style).text) : (struct number){"-"};
    char low[NUMBER_SIZE], high[NUMBER_SIZE];
    snprintf(low, sizeof low, "%s", profiled_si(lo, "J", v->style).text);
    snprintf(high, sizeof high, "%s", profiled_si(hi, "J", v->style).text);
    if (strcmp(low, high) == 0)
        return number_f("%.30s", low);
    char *a = strchr(low, ' '), *b = strchr(high, ' ');
    if (a && b && !strcmp(a, b)) /* the unit once */
        *a = '\0';
    return number_f("%.30s to %.30s", low, high);
}

static void legend(const struct profiled_view *v, const struct profiled_map *m, struct scale s, bool limited)
{
    bool narrow = text_columns(v->style) < NARROW;
    jl_buf_printf(v->out, "  %-*s0 ", narrow ? 0 : LABEL, "");
    for (int i = 0; i < SHADES; i++)
        put_shade(v->out, v->style, i, narrow ? 1 : 2);
    jl_buf_printf(v->out, " %s%s\n", profiled_si(m->top_j, "J", v->style).text, narrow ? "" : " a token and layer");
    if (s.group > 1)
        text_item(v->out, v->style, "a cell", NULL, number_f("%d layers, their mean", s.group).text, TONE_PLAIN);
    if (limited)
        text_item(v->out, v->style, "<", NULL, "too small to be resolved, the figure is an upper limit", TONE_PLAIN);
}

static void heading(const struct profiled_view *v, const char *phase, const char *what)
{
    char *title = jl_strf("%s by layer%s", phase, what), *clean = title ? text_clean(title, v->style) : NULL;
    jl_buf_str(v->out, "\n");
    text_rule(v->out, v->style, clean ? clean : "", "", TONE_PLAIN);
    free(title);
    free(clean);
}

/* Said once for a phase, under its components. */
static void nothing_to_draw(const struct profiled_view *v, const char *phase)
{
    char *text = jl_strf("the energy of %s was not resolved, so its components have none, and there is none by layer", phase);
    char *clean = text ? text_clean(text, v->style) : NULL;
    text_item(v->out, v->style, "but", NULL, clean ? clean : "", TONE_WARN);
    free(text);
    free(clean);
}

void profiled_heat(const struct profiled_view *v, const char *phase)
{
    struct profiled_map m;
    bool limited = false, resolved = run_profile_resolved(v->p, phase);
    if (!profiled_map_init(&m, v, phase))
        return;
    if (!resolved)
        nothing_to_draw(v, phase);
    if (!resolved || !(m.top_j > 0)) {
        profiled_map_release(&m);
        return;
    }
    struct scale s = scale_of(&m, v->style);
    heading(v, phase, " and component");
    axis(v, &m, s);
    for (size_t k = 0; k < m.n_components; k++) {
        char *name = text_clean(m.components[k], v->style);
        jl_buf_printf(v->out, "  %-*.*s", LABEL, LABEL - 1, name ? name : "");
        for (int64_t l = 0; l < m.layers; l += s.group) {
            bool cell_limited = false;
            double j = mean_of(&m, k, l, l + s.group, &cell_limited);
            put_cell(v->out, v->style, j, cell_limited, m.top_j, s.width);
            limited |= cell_limited;
        }
        if (text_columns(v->style) >= NARROW)
            jl_buf_printf(v->out, "  %s", span_of(v, &m, k).text);
        jl_buf_str(v->out, "\n");
        free(name);
    }
    legend(v, &m, s, limited);
    profiled_map_release(&m);
}

/* ---- a line for each layer --------------------------------------------------------------------------------------- */

static struct number layer_cell(const struct profiled_view *v, const struct profiled_map *m, size_t k, int64_t l)
{
    size_t at = k * (size_t)m->layers + (size_t)l;
    if (isnan(m->j[at]) && !isnan(m->limit_j[at]))
        return number_f("< %s", profiled_si(m->limit_j[at], "J", v->style).text);
    return profiled_si(m->j[at], "J", v->style);
}

/* Columns of the figures of a component: its name has the place of the shade too. */
static int figure_width(const struct profiled_view *v, const struct profiled_map *m, size_t k)
{
    int width = text_width(m->components[k]) - BESIDE;
    for (int64_t l = 0; l < m->layers; l++) {
        int n = text_width(layer_cell(v, m, k, l).text);
        width = n > width ? n : width;
    }
    return width;
}

static void put_figure(const struct profiled_view *v, const struct profiled_map *m, size_t k, int64_t l, int width)
{
    struct number n = layer_cell(v, m, k, l);
    double j = m->j[k * (size_t)m->layers + (size_t)l];
    jl_buf_printf(v->out, "%*s%s ", GAP + width - text_width(n.text), "", n.text);
    if (isnan(j) || !(m->top_j > 0))
        jl_buf_str(v->out, "  ");
    else
        put_shade(v->out, v->style, level_of(j, m->top_j), BESIDE - 1);
}

static void heading_cell(const struct profiled_view *v, const char *name, int width)
{
    char *clean = text_clean(name, v->style);
    jl_buf_printf(v->out, "%*s%s", clean ? width - text_width(clean) : width, "", clean ? clean : "");
    free(clean);
}

static void layer_line(const struct profiled_view *v, const struct profiled_map *m, int64_t l, const int *widths, size_t n)
{
    jl_buf_printf(v->out, "  %5lld", (long long)l);
    for (size_t k = 0; k < n; k++)
        put_figure(v, m, k, l, widths[k]);
    while (v->out->len && v->out->data[v->out->len - 1] == ' ')
        v->out->len--;
    jl_buf_str(v->out, "\n");
}

void profiled_layers(const struct profiled_view *v, const char *phase)
{
    struct profiled_map m;
    int widths[PARTS_MAX], left = text_columns(v->style) - NUMBERS;
    size_t n = 0;
    if (!profiled_map_init(&m, v, phase))
        return;
    if (!run_profile_resolved(v->p, phase)) {
        nothing_to_draw(v, phase);
        profiled_map_release(&m);
        return;
    }
    heading(v, phase, ", J of a token");
    for (; n < m.n_components; n++) {
        widths[n] = figure_width(v, &m, n);
        left -= GAP + widths[n] + BESIDE;
        if (left < 0)
            break;
    }
    jl_buf_printf(v->out, "  %5s", "layer");
    for (size_t k = 0; k < n; k++)
        heading_cell(v, m.components[k], GAP + widths[k] + BESIDE);
    jl_buf_str(v->out, "\n");
    for (int64_t l = 0; l < m.layers; l++)
        layer_line(v, &m, l, widths, n);
    if (n < m.n_components)
        text_item(v->out, v->style, "more", NULL, "a wider terminal shows more components; --csv has all", TONE_FAINT);
    profiled_map_release(&m);
}
