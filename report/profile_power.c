/* profiled_power.c - power over time with the stages shaded, and the energy of a token against what was varied. */
#include "report/profile_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEIGHT = 8, MARGIN = 9, COLUMNS_MAX = 400, STAGES_MAX = 12 };

/* ---- power over time --------------------------------------------------------------------------------------------- */

struct chart {
    int columns;
    double from_s, to_s, top_w;
    double w[COLUMNS_MAX];          /* mean of a column; NAN none */
    int stage[COLUMNS_MAX];         /* index in stages, -1 none */
    const char *stages[STAGES_MAX]; /* in the order of time */
    int n_stages;
};

static int stage_index(struct chart *c, const char *stage)
{
    if (!*stage)
        return -1;
    for (int i = 0; i < c->n_stages; i++)
        if (!strcmp(c->stages[i], stage))
            return i;
    if (c->n_stages == STAGES_MAX)
        return -1;
    c->stages[c->n_stages] = stage;
    return c->n_stages++;
}

static int column_of(const struct chart *c, double t_s)
{
    double share = (t_s - c->from_s) / (c->to_s - c->from_s);
    return !(share > 0) ? 0 : share >= 1 ? c->columns - 1 : (int)(share * c->columns);
}

/* Each sample is the mean power since the one before: columns get what lies inside them. */
static void spread(struct chart *c, const struct run_profile *p)
{
    double weight[COLUMNS_MAX] = {0}, step = (c->to_s - c->from_s) / c->columns, before = c->from_s;
    for (int i = 0; i < c->columns; i++)
        c->w[i] = 0;
    for (size_t k = 0; k < p->n_trace; k++) {
        double t = p->trace[k].t_s, w = p->trace[k].w, from = before;
        if (!(t > from) || isnan(w)) {
            before = t > from ? t : from;
            continue;
        }
        before = t;
        int first = column_of(c, from), last = column_of(c, t);
        for (int i = first; i <= last; i++) {
            double lo = fmax(from, c->from_s + i * step), hi = fmin(t, c->from_s + (i + 1) * step);
            if (hi <= lo)
                continue;
            c->w[i] += w * (hi - lo);
            weight[i] += hi - lo;
        }
    }
    for (int i = 0; i < c->columns; i++) {
        c->w[i] = weight[i] > 0 ? c->w[i] / weight[i] : NAN;
        if (c->w[i] > c->top_w)
            c->top_w = c->w[i];
    }
}

/* The stage that has most of a column. */
static void find_stages(struct chart *c, const struct run_profile *p)
{
    enum { LOOKS = 9 };
    double step = (c->to_s - c->from_s) / c->columns;
    for (int i = 0; i < c->columns; i++) {
        int seen[STAGES_MAX] = {0}, best = -1;
        for (int k = 0; k < LOOKS; k++) {
            int s = stage_index(c, run_profile_stage(p, c->from_s + (i + (k + 0.5) / LOOKS) * step));
            if (s >= 0 && ++seen[s] > (best < 0 ? 0 : seen[best]))
                best = s;
        }
        c->stage[i] = best;
    }
}

static bool chart_init(struct chart *c, const struct profiled_view *v)
{
    const struct run_profile *p = v->p;
    int columns = text_columns(v->style) - MARGIN - 2;
    *c = (struct chart){.columns = columns > COLUMNS_MAX ? COLUMNS_MAX : columns};
    if (p->n_trace < 2)
        return false;
    c->from_s = fmin(0, p->trace[0].t_s);
    c->to_s = p->trace[p->n_trace - 1].t_s;
    if (!(c->to_s > c->from_s) || !isfinite(c->from_s))
        return false;
    spread(c, p);
    find_stages(c, p);
    return c->top_w > 0;
}

/* Colours that can be told from each other on dark and on light; idle and waiting stay grey. */
static int stage_colour(const char *stage)
{
    static const struct {
        const char *stage;
        int colour;
    } rows[] = {{"load", 172},   {"tokenise", 133},   {"prefill", 33}, {"decode", 35},
                {"sample", 168}, {"detokenise", 133}, {"replay", 142}};
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        if (!strcmp(rows[i].stage, stage))
            return rows[i].colour;
    return 244;
}

/* One letter for a stage, of the legend below: of two with the same first letter the later one is small. */
static char stage_letter(const struct chart *c, int i)
{
    char letter = (char)(c->stages[i][0] & ~0x20);
    for (int k = 0; k < i; k++)
        if ((c->stages[k][0] & ~0x20) == letter)
            return (char)(letter | 0x20);
    return letter >= 'A' && letter <= 'Z' ? letter : '?';
}

static bool is_rest(const char *stage)
{
    return !strcmp(stage, "idle") || !strcmp(stage, "wait");
}

static const char *bar(const struct report_style *style, double fill)
{
    static const char *const blocks[] = {" ", "\u2581", "\u2582", "\u2583", "\u2584", "\u2585", "\u2586", "\u2587", "\u2588"};
    int eighths = fill <= 0 ? 0 : fill >= 1 ? 8 : (int)(fill * 8 + 0.5);
    if (style->utf8)
        return blocks[eighths];
    return eighths == 0 ? " " : eighths < 4 ? "." : eighths < 8 ? ":" : "#";
}

static void chart_row(const struct profiled_view *v, const struct chart *c, int row)
{
    double upper = c->top_w * (row + 1) / HEIGHT;
    if (row == HEIGHT - 1 || row == HEIGHT / 2 - 1)
        jl_buf_printf(v->out, "  %6s ", number_w(upper).text);
    else
        jl_buf_printf(v->out, "  %6s ", "");
    int colour = -1;
    for (int i = 0; i < c->columns; i++) {
        double fill = isnan(c->w[i]) ? 0 : c->w[i] / c->top_w * HEIGHT - row;
        int want = fill > 0 && c->stage[i] >= 0 ? stage_colour(c->stages[c->stage[i]]) : 244;
        if (v->style->colour && want != colour)
            jl_buf_printf(v->out, "\033[38;5;%dm", colour = want);
        jl_buf_str(v->out, bar(v->style, fill));
    }
    jl_buf_str(v->out, v->style->colour ? "\033[0m" : "");
    while (v->out->len && v->out->data[v->out->len - 1] == ' ')
        v->out->len--;
    jl_buf_str(v->out, "\n");
}

/* A band of letters below the bars says the stages where there are no colours, and with them too. */
static void stage_band(const struct profiled_view *v, const struct chart *c)
{
    jl_buf_printf(v->out, "  %*s", MARGIN - 2, "");
    for (int i = 0; i < c->columns; i++) {
        int s = c->stage[i];
        char letter = s < 0 ? ' ' : is_rest(c->stages[s]) ? '.' : stage_letter(c, s);
        if (v->style->colour && s >= 0)
            jl_buf_printf(v->out, "\033[38;5;%dm%c\033[0m", stage_colour(c->stages[s]), letter);
        else
            jl_buf_add(v->out, &letter, 1);
    }
    jl_buf_str(v->out, "\n");
}

static void chart_legend(const struct profiled_view *v, const struct chart *c)
{
    struct number end = number_s(c->to_s - c->from_s, v->style);
    jl_buf_printf(v->out, "  %*s0 s%*s\n", MARGIN - 2, "", c->columns - 3, end.text);
    struct jl_buf line;
    jl_buf_init(&line, 4096);
    for (int i = 0; i < c->n_stages; i++) {
        bool rest = is_rest(c->stages[i]);
        jl_buf_printf(&line, "%s%c %s", i ? "   " : "", rest ? '.' : stage_letter(c, i), c->stages[i]);
    }
    text_item(v->out, v->style, "stages", NULL, line.data ? line.data : "", TONE_PLAIN);
    jl_buf_release(&line);
}

void profiled_power(const struct profiled_view *v)
{
    struct chart c;
    if (!chart_init(&c, v))
        return;
    jl_buf_str(v->out, "\n");
    text_rule(v->out, v->style, "power over time, idle included", "", TONE_PLAIN);
    for (int row = HEIGHT - 1; row >= 0; row--)
        chart_row(v, &c, row);
    if (c.n_stages)
        stage_band(v, &c);
    chart_legend(v, &c);
}
