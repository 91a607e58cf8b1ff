/* recomputed.c - a run whose traces were measured again: former figures beside present ones, window by window. Drawn from the
 * record alone. */
#include "report/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct beside {
    const struct run *r;
    const struct run_former *f;
    const struct report_style *style;
    struct grid g;
};

/* "two-slope/1", "padded-difference/1, two-slope/1": of the channels that are in the total. */
static void methods(const struct run *r, const struct run_energy *e, char *out, size_t size)
{
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < e->n_channels; i++) {
        const struct joulet_channel *c = run_channel(r, e->channels[i].channel);
        const char *m = e->channels[i].e.method;
        if (!c || !c->in_total || !m || strstr(out, m))
            continue;
        int wrote = snprintf(out + n, size - n, "%s%s", n ? ", " : "", m);
        n = wrote > 0 && (size_t)wrote < size - n ? n + (size_t)wrote : n;
        out[n] = '\0';
    }
}

static void add(struct beside *b, enum tone tone, const char *what, const char *window, const struct run_energy *was,
                const struct run_energy *now)
{
    char before[96], after[96], both[200];
    struct figure net[2] = {figure_net(b->r, was), figure_net(b->r, now)},
                  gross[2] = {figure_gross(b->r, was), figure_gross(b->r, now)};
    struct number text[4] = {figure_text(&net[0], b->style), figure_text(&net[1], b->style), figure_text(&gross[0], b->style),
                             figure_text(&gross[1], b->style)};
    methods(b->r, was, before, sizeof before);
    methods(b->r, now, after, sizeof after);
    bool same = !strcmp(before, after);
    snprintf(both, sizeof both, "%s%s%s", before, same ? "" : b->style->utf8 ? " → " : " > ", same ? "" : after);
    const char *const cells[] = {what, window, text[0].text, text[1].text, text[2].text, text[3].text, both};
    grid_add(&b->g, tone, cells);
}

static void add_request(struct beside *b, const struct run_request *was, const struct run_request *now)
{
    struct number n = number_f("request %lld", (long long)now->index + 1);
    add(b, TONE_PLAIN, n.text, "all", &was->energy, &now->energy);
    for (size_t k = 0; k < was->n_windows && k < now->n_windows; k++)
        add(b, TONE_PLAIN, "", now->windows[k].name, &was->windows[k].energy, &now->windows[k].energy);
}

/* Idle levels that came out otherwise, below the table: net figures lean on them. */
static void add_levels(struct jl_buf *out, const struct beside *b)
{
    for (size_t i = 0; i < b->r->n_baselines && i < b->f->n_baselines; i++) {
        const struct run_baseline *now = &b->r->baselines[i], *was = &b->f->baselines[i];
        if (fabs(now->b.power_w - was->b.power_w) > 1e-6 * fabs(was->b.power_w) ||
            fabs(now->b.u_w - was->b.u_w) > 1e-6 * was->b.u_w)
            jl_buf_printf(out, "\nIdle level %s of %s: %.4g W (u %.2g) before, %.4g W (u %.2g) now.", now->level, now->channel,
                          was->b.power_w, was->b.u_w, now->b.power_w, now->b.u_w);
    }
}

void report_recomputed(struct jl_buf *out, const struct run *r, const struct report_style *style)
{
    static const struct grid_column columns[] = {{"", false, 0},       {"window", false, 0},      {"net before", true, 0},
                                                 {"net now", true, 0}, {"gross before", true, 2}, {"gross now", true, 2},
                                                 {"method", false, 1}};
    if (!r->n_former)
        return;
    struct beside b = {.r = r, .f = &r->former[r->n_former - 1], .style = style};
    jl_buf_printf(out, "Run %s, measured again from its samples: figures of joulet %s before, of joulet %s now.\n\n", r->id,
                  b.f->version ? b.f->version : "-", r->figures_version ? r->figures_version : "-");
    grid_init(&b.g, columns, JL_COUNT(columns));
    for (size_t i = 0; i < b.f->n_windows && i < r->n_windows; i++)
        add(&b, TONE_PLAIN, i ? "" : "run", r->windows[i].name, &b.f->windows[i].energy, &r->windows[i].energy);
    for (size_t i = 0; i < b.f->n_requests && i < r->n_requests; i++)
        add_request(&b, &b.f->requests[i], &r->requests[i]);
    add(&b, TONE_STRONG, "total", "", &b.f->energy, &r->energy);
    grid_write(&b.g, out, style);
    add_levels(out, &b);
}
