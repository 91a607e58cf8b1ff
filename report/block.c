/* block.c - the energy block after `run`, `exec` and a chat, and the few lines after each turn of it: the figure first, then
 * where it went, then what it means. */
#include "report/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void title(const struct view *v)
{
    char *clean = NULL, *text = NULL;
    if (v->r->argv && !v->r->n_requests) {
        clean = text_clean(v->r->argv, v->style);
        text = jl_strf("energy of: %s", clean ? clean : "");
    } else if (!v->q && v->r->n_requests) {
        text = jl_strf("energy of %zu %s%s", v->sums.ok, !strcmp(v->r->kind, "chat") ? "turn" : "request",
                       v->sums.ok == 1 ? "" : "s");
    } else {
        text = jl_strf("energy");
    }
    text_rule(v->out, v->style, text ? text : "energy", view_provenance(v), view_tone(v));
    free(text);
    free(clean);
}

/* ---- by phase ---------------------------------------------------------------------------------------------------- */

static void phases(const struct view *v)
{
    const struct grid_column columns[] = {
        {"phase", false, 0}, {"time", true, 0},   {view_net_title(v), true, 0}, {view_gross_title(v), true, 1},
        {"mean W", true, 2}, {"peak W", true, 2}, {"updates", true, 3}};
    struct grid g;
    if (!v->n_phases)
        return;
    grid_init(&g, columns, JL_COUNT(columns));
    for (size_t i = 0; i < v->n_phases; i++) {
        const struct part *p = &v->phases[i];
        struct number time = number_s(p->seconds, v->style), net = part_net(p, v->style), gross = part_gross(p, v->style);
        struct number mean = number_watts(p->power_mean_w), peak = number_watts(p->power_max_w),
                      updates = number_count(p->updates);
        const char *const cells[] = {p->name, time.text, net.text, gross.text, mean.text, peak.text, updates.text};
        grid_add(&g, TONE_PLAIN, cells);
    }
    jl_buf_str(v->out, "\n");
    grid_write(&g, v->out, v->style);
}

/* ---- by device --------------------------------------------------------------------------------------------------- */

static const struct run_energy *energy_of(const struct view *v)
{
    return v->q ? &v->q->energy : &v->r->energy;
}

static bool one_provenance(const struct run_energy *e)
{
    for (size_t i = 1; i < e->n_channels; i++)
        if (e->channels[i].e.provenance != e->channels[0].e.provenance)
            return false;
    return true;
}

/* What the channel is; of one that is inside another, that. */
static char *describe(const struct run *r, const char *id, const struct report_style *style)
{
    const struct joulet_channel *c = run_channel(r, id);
    if (c && !c->in_total)
        return *c->parent ? jl_strf("(inside %s, not added)", c->parent) : jl_strf("(not added)");
    return text_clean(c ? c->device : "", style);
}

static void devices(const struct view *v)
{
    const struct run_energy *e = energy_of(v);
    bool alike = one_provenance(e);
    const struct grid_column columns[] = {{"device", false, 0},
                                          {"", false, 3},
                                          {alike ? view_net_title(v) : "net energy", true, 0},
                                          {alike ? view_gross_title(v) : "gross energy", true, 1},
                                          {"", false, 2}};
    struct grid g;
    if (!e->n_channels)
        return;
    grid_init(&g, columns, JL_COUNT(columns));
    for (size_t i = 0; i < e->n_channels; i++) {
        const struct run_channel_energy *x = &e->channels[i];
        struct figure net, gross;
        figure_of_channel(v->r, x->channel, &x->e, &net, &gross);
        struct number net_text = figure_text(&net, v->style), gross_text = figure_text(&gross, v->style);
        char *id = text_clean(x->channel, v->style), *what = describe(v->r, x->channel, v->style);
        const char *const cells[] = {id, what, net_text.text, gross_text.text,
                                     alike ? "" : joulet_provenance_name(x->e.provenance)};
        grid_add(&g, TONE_PLAIN, cells);
        free(id);
        free(what);
    }
    jl_buf_str(v->out, "\n");
    grid_write(&g, v->out, v->style);
}

/* ---- the block --------------------------------------------------------------------------------------------------- */

static void outcome(const struct view *v)
{
    if (v->r->status && strcmp(v->r->status, "done") && strcmp(v->r->status, "running"))
        text_item(v->out, v->style, "status", NULL, v->r->status, TONE_WARN);
    if (v->q && v->q->outcome != RUN_OK)
        text_item(v->out, v->style, run_outcome_name(v->q->outcome), NULL, v->q->error ? v->q->error : "", TONE_WARN);
    if (v->r->argv && !v->r->n_requests) {
        struct number text =
            number_f("%s, exit code %s", number_s(v->whole.seconds, v->style).text, number_count(v->r->exit_code).text);
        text_item(v->out, v->style, "time", NULL, text.text, TONE_PLAIN);
    }
}

void report_turn(struct jl_buf *out, const struct run *r, const struct run_request *q, const struct report_style *style)
{
    struct view v;
    view_init(&v, out, r, q, style);
    title(&v);
    metrics_energy(&v);
    metrics_brief(&v);
}

void report_block(struct jl_buf *out, const struct run *r, const struct run_request *q, const struct report_style *style)
{
    struct view v;
    view_init(&v, out, r, q, style);
    title(&v);
    metrics_energy(&v);
    phases(&v);
    devices(&v);
    jl_buf_str(out, "\n");
    outcome(&v);
    if (r->n_requests)
        metrics_tokens(&v);
    metrics_power(&v);
    metrics_cpu_time(&v);
    metrics_money(&v);
    metrics_source(&v);
}
