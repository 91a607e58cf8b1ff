/* report.c - how the accuracy table is written. */
#include "bench/accuracy/report.h"

#include <math.h>
#include <string.h>

/* ---- JSON lines -------------------------------------------------------------------------------------------------------- */

static void print_number(FILE *f, const char *key, double v)
{
    if (isfinite(v))
        fprintf(f, ", \"%s\": %.4g", key, v);
    else
        fprintf(f, ", \"%s\": null", key);
}

void report_figure_json(FILE *f, const char *name, double value, const char *unit, double goal, double baseline, bool meets)
{
    fprintf(f, "{\"figure\": \"accuracy.%s\"", name);
    print_number(f, "value", value);
    fprintf(f, ", \"unit\": \"%s\"", unit);
    print_number(f, "goal", goal);
    print_number(f, "baseline", baseline);
    fprintf(f, ", \"meets\": %s}\n", isfinite(goal) && isfinite(value) ? (meets ? "true" : "false") : "null");
}

static void cell_figure(FILE *f, const struct cell *c, const char *what, double value, double goal, double baseline, bool meets)
{
    char name[96], label[16];
    size_t n = 0;
    for (const char *p = window_labels[c->length]; *p; p++)
        if (*p != ' ')
            label[n++] = *p;
    label[n] = '\0';
    snprintf(name, sizeof(name), "%s.%s.%s", c->row->name, label, what);
    report_figure_json(f, name, value, strcmp(what, "sharpness") == 0 ? "" : "%", goal, baseline, meets);
}

static double goal_or_none(double goal)
{
    return goal > 0 ? goal : NAN;
}

static double resolved_share(const struct cell *c)
{
    return 100 * (double)c->resolved / (double)c->n;
}

void report_cell_json(FILE *f, const struct cell *c)
{
    const struct row *r = c->row;
    size_t i = c->length;
    bool judged = !r->late && !r->two_levels && !r->bounds_only && !cell_is_unresolved(c);
    if (r->bounds_only)
        cell_figure(f, c, "figure_given", resolved_share(c), 0, NAN, cell_meets_refusal(c));
    cell_figure(f, c, "rms", c->rms, goal_or_none(r->rms[i]), c->raw, cell_meets_rms(c));
    if (r->mean[i] > 0)
        cell_figure(f, c, "mean", c->mean, r->mean[i], NAN, cell_meets_mean(c));
    if (r->p95[i] > 0)
        cell_figure(f, c, "p95", c->p95, r->p95[i], NAN, cell_meets_p95(c));
    cell_figure(f, c, "interval_holds", c->hold, judged ? HOLD_MIN : NAN, NAN, cell_meets_hold(c));
    cell_figure(f, c, "sharpness", c->sharpness, judged && c->half >= SHARP_FROM ? goal_or_none(r->sharpness) : NAN, NAN,
                cell_meets_sharpness(c));
    cell_figure(f, c, "bounds_hold", c->bounds, 100, NAN, cell_meets_bounds(c));
}

void report_row_json(FILE *f, const struct cell *cells, size_t n)
{
    char name[96];
    if (n == 0 || !cells[0].row->pooled)
        return;
    snprintf(name, sizeof(name), "%s.interval_holds", cells[0].row->name);
    report_figure_json(f, name, row_hold(cells, n), "%", POOL_MIN, NAN, row_meets(cells, n));
}

/* ---- Markdown ------------------------------------------------------------------------------------------------------------ */

/* Two significant digits, never in powers of ten. */
static const char *digits(char *buf, size_t size, double v)
{
    if (isnan(v))
        return "-";
    double a = fabs(v);
    int places = a >= 10 ? 0 : a >= 1 ? 1 : a >= 0.1 ? 2 : a >= 0.01 ? 3 : 4;
    snprintf(buf, size, "%.*f", places, v);
    return buf;
}

static void column(FILE *f, double v, bool bold)
{
    char buf[32];
    const char *mark = bold ? "**" : "";
    fprintf(f, " %s%s%s |", mark, digits(buf, sizeof(buf), v), mark);
}

static void share(FILE *f, double v, bool bold)
{
    const char *mark = bold ? "**" : "";
    if (isnan(v))
        fprintf(f, " - |");
    else
        fprintf(f, " %s%.1f%s |", mark, v, mark);
}

static const struct cell *find(const struct cell *cells, size_t n, const struct row *row, size_t length)
{
    for (size_t i = 0; i < n; i++)
        if (cells[i].row == row && cells[i].length == length)
            return &cells[i];
    return NULL;
}

/* Root mean square of every cell, its goal behind it. */
static void overview(FILE *f, const struct cell *cells, size_t n)
{
    fprintf(f, "## Overview: rms of the error in per cent (goal), bold where the goal is missed\n\n| row |");
    for (size_t i = 0; i < LENGTHS; i++)
        fprintf(f, " %s |", window_labels[window_order[i]]);
    fprintf(f, "\n| --- |");
    for (size_t i = 0; i < LENGTHS; i++)
        fprintf(f, " --- |");
    for (size_t at = 0; at < n; at++) {
        if (at && cells[at].row == cells[at - 1].row)
            continue;
        fprintf(f, "\n| %s |", cells[at].row->name);
        for (size_t i = 0; i < LENGTHS; i++) {
            const struct cell *c = find(cells, n, cells[at].row, window_order[i]);
            char value[32], goal[32];
            const char *mark = c && !cell_meets_rms(c) ? "**" : "";
            if (!c)
                fprintf(f, " |");
            else if (cell_is_unresolved(c))
                fprintf(f, " bounds only |");
            else if (c->row->rms[c->length] > 0)
                fprintf(f, " %s%s%s (%s) |", mark, digits(value, sizeof(value), c->rms), mark,
                        digits(goal, sizeof(goal), c->row->rms[c->length]));
            else
                fprintf(f, " %s |", digits(value, sizeof(value), c->rms));
        }
    }
    fprintf(f, "\n\n");
}

static void one_line(FILE *f, const struct cell *c)
{
    const struct row *r = c->row;
    fprintf(f, "| %s |", window_labels[c->length]);
    column(f, c->rms, !cell_meets_rms(c));
    column(f, goal_or_none(r->rms[c->length]), false);
    column(f, c->bias, false);
    column(f, c->mean, !cell_meets_mean(c));
    column(f, c->p95, !cell_meets_p95(c));
    column(f, c->half, false);
    share(f, c->hold, !cell_meets_hold(c));
    column(f, c->sharpness, !cell_meets_sharpness(c));
    share(f, c->bounds, !cell_meets_bounds(c));
    share(f, resolved_share(c), !cell_meets_refusal(c));
    column(f, c->raw, false);
    column(f, c->trapezoid, false);
    fprintf(f, "\n");
}

static void one_row(FILE *f, const struct cell *cells, size_t n)
{
    fprintf(f,
            "### %s: %s\n\n| length | rms | goal | bias | mean | 95 %% | median +- | +- holds | sharpness | bounds hold | "
            "resolved | raw "
            "difference | trapezoid |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
            cells[0].row->name, cells[0].row->title);
    for (size_t i = 0; i < n; i++)
        one_line(f, &cells[i]);
    if (cells[0].row->pooled)
        fprintf(f, "\nOver the row the interval holds in %.1f %%%s.\n", row_hold(cells, n),
                row_meets(cells, n) ? "" : ", **outside of 94 to 99 %**");
    fprintf(f, "\n");
}

static size_t row_length(const struct cell *cells, size_t n)
{
    size_t k = 1;
    while (k < n && cells[k].row == cells[0].row)
        k++;
    return k;
}

static void missed_by(FILE *f, const struct cell *c, const char *what, double value, double goal, const char *unit, bool meets)
{
    char a[32], b[32];
    if (!meets)
        fprintf(f, "- %s, %s: %s %s%s, goal %s%s\n", c->row->name, window_labels[c->length], what, digits(a, sizeof(a), value),
                unit, digits(b, sizeof(b), goal), unit);
}

static void missed(FILE *f, const struct cell *cells, size_t n)
{
    size_t count = 0;
    fprintf(f, "## Goals that are missed\n\n");
    for (size_t i = 0; i < n; i++) {
        const struct cell *c = &cells[i];
        const struct row *r = c->row;
        missed_by(f, c, "rms", c->rms, r->rms[c->length], " %", cell_meets_rms(c));
        missed_by(f, c, "mean error", c->mean, r->mean[c->length], " %", cell_meets_mean(c));
        missed_by(f, c, "95th percentile", c->p95, r->p95[c->length], " %", cell_meets_p95(c));
        missed_by(f, c, "interval holds in", c->hold, HOLD_MIN, " %", cell_meets_hold(c));
        missed_by(f, c, "sharpness", c->sharpness, r->sharpness, "", cell_meets_sharpness(c));
        missed_by(f, c, "a figure, where only bounds can be told, in", resolved_share(c), 0, " %", cell_meets_refusal(c));
        missed_by(f, c, "bounds hold in", c->bounds, 100, " %", cell_meets_bounds(c));
        count += !cell_meets(c);
    }
    for (size_t i = 0, k; i < n; i += k) {
        k = row_length(cells + i, n - i);
        if (!row_meets(cells + i, k))
            fprintf(f, "- %s: over the row the interval holds in %.1f %%, goal 94 to 99 %%\n", cells[i].row->name,
                    row_hold(cells + i, k));
        count += !row_meets(cells + i, k);
    }
    fprintf(f, "%s\n", count ? "" : "None.\n");
}

void report_markdown(FILE *f, const struct setting *s, const struct cell *cells, size_t n, double wraps, double wraps_lost)
{
    fprintf(f,
            "Seed %llu, %zu windows a cell on %zu devices. Of %.0f random restarts of a counter %.0f were read wrongly (goal: "
            "0).\n\n",
            (unsigned long long)s->seed, s->windows, s->devices, wraps, wraps_lost);
    overview(f, cells, n);
    if (!isnan(slow_hold(cells, n)))
        fprintf(f, "Over all rows of slow meters (`plug-*`, `bmc-*`) the interval holds in %.1f %% (goal: 95).\n\n",
                slow_hold(cells, n));
    missed(f, cells, n);
    fprintf(f, "## Every row\n\n");
    for (size_t i = 0, k; i < n; i += k) {
        k = row_length(cells + i, n - i);
        one_row(f, cells + i, k);
    }
}
