/* cells.c - the cells of a plan, a row each with the number by which `compare` knows it: what they drew together and for each
 * token, how long they let wait, how often they were right. Requests that ran at once have no energy of their own, their level
 * has it. */
#include "report/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Energy of the cell, with what estimates need of each part. */
static void add_parts(struct part *p, const struct run *r, int64_t cell)
{
    if (cell >= 0 && (size_t)cell < r->n_cells && run_cell_is_joint(&r->cells[cell])) {
        part_add_energy(p, r, &r->cells[cell].energy);
        return;
    }
    for (size_t i = 0; i < r->n_requests; i++)
        if (r->requests[i].cell == cell && r->requests[i].stream < 0 && counted(&r->requests[i]))
            part_add_request(p, r, &r->requests[i]);
    for (size_t i = 0; i < r->n_windows; i++)
        if (r->windows[i].cell == cell && run_is_level(&r->windows[i]))
            part_add_window(p, r, &r->windows[i]);
}

static struct number right_text(const struct run_cell_sums *s)
{
    return s->checked ? number_f("%zu of %zu", s->right, s->checked) : (struct number){""};
}

static void cell_row(struct grid *g, const struct view *v, size_t i)
{
    struct run_cell_sums s;
    struct part p;
    char ok[48];
    run_sum_cell(v->r, (int64_t)i, &s);
    part_init(&p, "");
    add_parts(&p, v->r, (int64_t)i);
    struct number out = number_count(s.tokens_out), time = number_s(s.wall_s, v->style), net = part_net(&p, v->style),
                  per = figure_scaled(&p.net, s.tokens_out > 0 ? 1 / (double)s.tokens_out : NAN, "J", v->style),
                  rate = number_digits(s.wall_s > 0 && s.tokens_out >= 0 ? (double)s.tokens_out / s.wall_s : NAN, 3),
                  ttft = number_s(s.ttft_p95_s, v->style), tpot = number_s(s.tpot_p95_s, v->style), right = right_text(&s);
    char *text = jl_strf("%zu. %s", i + 1, v->r->cells[i].name), *name = text ? text_clean(text, v->style) : NULL;
    free(text);
    snprintf(ok, sizeof ok, "%zu of %zu", s.ok, s.requests);
    const char *const cells[] = {name ? name : "", ok,        out.text,  time.text, net.text,
                                 per.text,         rate.text, ttft.text, tpot.text, right.text};
    grid_add(g, TONE_PLAIN, cells);
    free(name);
}

/* The cell with the highest rate that kept the limits, and the one that needed least for a token among those that did. */
static void search_result(const struct view *v)
{
    const char *rate = run_pairs_get(&v->r->settings, "highest_rate_per_s");
    double least = INFINITY;
    size_t best = 0;
    if (!rate)
        return;
    for (size_t i = 0; i < v->r->n_cells; i++) {
        const char *held = run_pairs_get(&v->r->cells[i].settings, "limits_held");
        struct run_cell_sums s;
        run_sum_cell(v->r, (int64_t)i, &s);
        double j = s.tokens_out > 0 ? s.energy.net_j / (double)s.tokens_out : NAN;
        if (held && !strcmp(held, "true") && j < least) {
            least = j;
            best = i;
        }
    }
    char *text = jl_strf("%s requests/s is the highest rate that kept the limits%s%s", rate,
                         isfinite(least) ? "; least energy for a token at " : "", isfinite(least) ? v->r->cells[best].name : "");
    text_item(v->out, v->style, "search", NULL, text ? text : "", TONE_STRONG);
    free(text);
}

void cells_table(const struct view *v)
{
    const struct grid_column columns[] = {{"cell", false, 0}, {"succeeded", true, 6},       {"out", true, 5},
                                          {"time", true, 4},  {view_net_title(v), true, 0}, {"per output token", true, 0},
                                          {"tok/s", true, 2}, {"first token p95", true, 3}, {"token p95", true, 3},
                                          {"right", true, 1}};
    struct grid g;
    grid_init(&g, columns, JL_COUNT(columns));
    for (size_t i = 0; i < v->r->n_cells; i++)
        cell_row(&g, v, i);
    jl_buf_str(v->out, "\n");
    grid_write(&g, v->out, v->style);
    search_result(v);
}
