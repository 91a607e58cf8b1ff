/* grid.c - columns of equal width. When a line is too narrow, the least important columns go; what is still too long is cut. */
#include "report/internal.h"

#include <stdlib.h>
#include <string.h>

#define INDENT 2
#define GAP    2

void grid_init(struct grid *g, const struct grid_column *columns, size_t n)
{
    *g = (struct grid){.columns = columns, .n_columns = n};
}

static struct grid_row *add_row(struct grid *g, enum tone tone)
{
    struct grid_row *grown = realloc(g->rows, (g->n + 1) * sizeof *grown);
    if (!grown) {
        g->failed = true;
        return NULL;
    }
    g->rows = grown;
    grown[g->n] = (struct grid_row){.tone = tone};
    return &grown[g->n++];
}

void grid_add(struct grid *g, enum tone tone, const char *const *cells)
{
    struct grid_row *row = add_row(g, tone);
    for (size_t i = 0; row && i < g->n_columns; i++)
        row->cells[i] = jl_strdup(cells[i]);
}

void grid_line(struct grid *g, enum tone tone, const char *text)
{
    struct grid_row *row = add_row(g, tone);
    if (row) {
        row->line = true;
        row->cells[0] = jl_strdup(text);
    }
}

/* ---- widths ------------------------------------------------------------------------------------------------------ */

struct widths {
    int of[GRID_COLUMNS_MAX]; /* -1: left out */
};

static int total(const struct grid *g, const struct widths *w)
{
    int sum = INDENT - GAP;
    for (size_t i = 0; i < g->n_columns; i++)
        if (w->of[i] >= 0)
            sum += w->of[i] + GAP;
    return sum;
}

static void natural(const struct grid *g, struct widths *w)
{
    for (size_t i = 0; i < g->n_columns; i++) {
        bool any = false;
        w->of[i] = text_width(g->columns[i].title);
        for (size_t k = 0; k < g->n; k++) {
            const char *cell = g->rows[k].line ? NULL : g->rows[k].cells[i];
            int n = cell ? text_width(cell) : 0;
            any |= n > 0;
            if (n > w->of[i])
                w->of[i] = n;
        }
        if (!any && i)
            w->of[i] = -1; /* nothing to say */
    }
}

/* The column that can best be missed; n_columns when all are needed. */
static size_t least_important(const struct grid *g, const struct widths *w)
{
    size_t found = g->n_columns;
    int rank = 0;
    for (size_t i = 0; i < g->n_columns; i++)
        if (w->of[i] >= 0 && g->columns[i].rank >= rank && g->columns[i].rank > 0) {
            rank = g->columns[i].rank;
            found = i;
        }
    return found;
}

static void fit(const struct grid *g, struct widths *w, int columns)
{
    natural(g, w);
    while (total(g, w) > columns) {
        size_t i = least_important(g, w);
        if (i == g->n_columns)
            break;
        w->of[i] = -1;
    }
    int over = total(g, w) - columns;
    if (over > 0) /* the first column holds names: cut it, and the line if that is not enough */
        w->of[0] = w->of[0] - over > 6 ? w->of[0] - over : 6;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static void put_cell(struct jl_buf *line, const struct grid_column *c, const char *text, int width)
{
    size_t n = text_fit(text, width);
    char *cut = jl_strf("%.*s", (int)n, text);
    int pad = width - (cut ? text_width(cut) : 0);
    for (int i = 0; c->right && i < pad; i++)
        jl_buf_add(line, " ", 1);
    jl_buf_add(line, text, n);
    for (int i = 0; !c->right && i < pad; i++)
        jl_buf_add(line, " ", 1);
    free(cut);
}

/* One line, without blanks at its end, no wider than the style allows. */
static void put_line(struct jl_buf *out, const struct report_style *style, struct jl_buf *line, enum tone tone)
{
    size_t n = line->data ? text_fit(line->data, text_columns(style)) : 0;
    while (n && line->data[n - 1] == ' ')
        n--;
    if (n)
        text_tone(out, style, tone, line->data, n);
    jl_buf_str(out, "\n");
    jl_buf_clear(line);
}

static void put_row(const struct grid *g, const struct widths *w, const char *const *cells, struct jl_buf *line)
{
    jl_buf_printf(line, "%*s", INDENT, "");
    bool first = true;
    for (size_t i = 0; i < g->n_columns; i++) {
        if (w->of[i] < 0)
            continue;
        if (!first)
            jl_buf_printf(line, "%*s", GAP, "");
        first = false;
        put_cell(line, &g->columns[i], cells[i] ? cells[i] : "", w->of[i]);
    }
}

/* A text over the whole row; what does not fit is shown to be missing. */
static void put_text(struct jl_buf *line, const struct report_style *style, const char *text)
{
    const char *more = style->utf8 ? "\u2026" : "...";
    int columns = text_columns(style) - INDENT;
    bool cut = text_width(text) > columns;
    jl_buf_printf(line, "%*s", INDENT, "");
    jl_buf_add(line, text, cut ? text_fit(text, columns - text_width(more)) : strlen(text));
    jl_buf_str(line, cut ? more : "");
}

void grid_write(struct grid *g, struct jl_buf *out, const struct report_style *style)
{
    struct widths w;
    struct jl_buf line;
    const char *titles[GRID_COLUMNS_MAX];
    jl_buf_init(&line, 1 << 16);
    fit(g, &w, text_columns(style));
    for (size_t i = 0; i < g->n_columns; i++)
        titles[i] = g->columns[i].title;
    put_row(g, &w, titles, &line);
    put_line(out, style, &line, TONE_FAINT);
    for (size_t k = 0; k < g->n; k++) {
        if (g->rows[k].line)
            put_text(&line, style, g->rows[k].cells[0] ? g->rows[k].cells[0] : "");
        else
            put_row(g, &w, (const char *const *)g->rows[k].cells, &line);
        put_line(out, style, &line, g->rows[k].tone);
        for (size_t i = 0; i < GRID_COLUMNS_MAX; i++)
            free(g->rows[k].cells[i]);
    }
    free(g->rows);
    jl_buf_release(&line);
    grid_init(g, g->columns, g->n_columns);
}
