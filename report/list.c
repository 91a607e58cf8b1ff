/* list.c - `runs list`: one line for each run, newest first. */
#include "report/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "2026-11-21 15:23": the list is for finding a run, the record has the seconds. */
static struct number when(int64_t wall_ns)
{
    struct number n = {""};
    jl_format_time(n.text, sizeof n.text, wall_ns);
    if (strlen(n.text) >= 16) {
        n.text[10] = ' ';
        n.text[16] = '\0';
    }
    return n;
}

static struct number energy_text(const struct store_row *row, const struct report_style *style)
{
    struct figure f = {.j = row->net_j, .pm = row->net_pm_j};
    if (row->provenance == JOULET_ESTIMATED && isfinite(row->net_j))
        return number_f("%s %s J", text_about(style), number_coarse(row->net_j, row->net_pm_j).text);
    return figure_text(&f, style);
}

void report_list(struct jl_buf *out, const struct store_row *rows, size_t n, const struct report_style *style)
{
    static const struct grid_column columns[] = {
        {"run", false, 0},     {"started (UTC)", false, 4}, {"kind", false, 0},
        {"requests", true, 5}, {"tokens out", true, 5},     {"net energy", true, 0},
        {"source", false, 2},  {"status", false, 1},        {"model or command", false, 3}};
    struct grid g;
    if (!n) {
        jl_buf_str(out, "No runs yet: `joulet run` measures a prompt, `joulet bench` a suite, `joulet exec` a command.\n");
        return;
    }
    grid_init(&g, columns, JL_COUNT(columns));
    for (size_t i = 0; i < n; i++) {
        const struct store_row *row = &rows[i];
        struct number started = when(row->started_wall_ns), requests = number_count((int64_t)row->requests);
        struct number tokens = number_count(row->tokens_out), energy = energy_text(row, style);
        char *what = text_clean(row->model ? row->model : row->title ? row->title : "", style);
        const char *const cells[] = {row->id,
                                     started.text,
                                     row->kind,
                                     row->requests ? requests.text : "",
                                     row->requests ? tokens.text : "",
                                     energy.text,
                                     isfinite(row->gross_j) ? joulet_provenance_name(row->provenance) : "-",
                                     row->status ? row->status : "-",
                                     what ? what : ""};
        grid_add(&g, row->status && !strcmp(row->status, "done") ? TONE_PLAIN : TONE_WARN, cells);
        free(what);
    }
    grid_write(&g, out, style);
}
