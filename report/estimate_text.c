/* estimate_text.c - an estimate and the sets it comes from, for people. The figure never stands without its two ends and its
 * source. */
#include "report/carbon.h"
#include "report/estimate.h"
#include "report/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 4000

static struct figure figure_of(const struct estimate_result *e)
{
    return (struct figure){.j = e->set->net ? e->energy.net_j : e->energy.gross_j,
                           .pm = NAN,
                           .lo = e->energy.min_j,
                           .hi = e->energy.max_j,
                           .estimate = true};
}

static void title(struct jl_buf *out, const struct estimate_result *e, const struct run *r, const struct report_style *style)
{
    char *text = r ? jl_strf("estimate of %s by %s", r->id, e->model->name)
                   : jl_strf("estimate: %s, %s tokens in, %s out", e->model->name, number_count((int64_t)e->tokens_in).text,
                             isnan(e->tokens_out) ? "-" : number_count((int64_t)e->tokens_out).text);
    char *clean = text ? text_clean(text, style) : NULL;
    text_rule(out, style, clean ? clean : "estimate", "estimated", TONE_WARN);
    free(clean);
    free(text);
}

static void figures(struct jl_buf *out, const struct estimate_result *e, const struct report_style *style)
{
    struct figure f = figure_of(e);
    const char *covers = e->set->boundary;
    struct jl_buf b;
    jl_buf_init(&b, LINE_MAX_BYTES);
    jl_buf_str(&b, e->set->net ? "above the idle level" : "idle level included");
    if (covers && *covers)
        jl_buf_printf(&b, "; covers %s", covers);
    text_item(out, style, e->set->net ? "net" : "gross", figure_text(&f, style).text, b.data, TONE_PLAIN);
    jl_buf_release(&b);
    text_item(out, style, "", figure_scaled(&f, 1 / 3600.0, "Wh", style).text, "", TONE_PLAIN);
    if (e->tokens_out > 0 && !e->model->no_output)
        text_item(out, style, "per token", figure_scaled(&f, 1 / e->tokens_out, "J", style).text,
                  "for each output token, prompt included", TONE_PLAIN);
}

/* What the sensors saw, where they saw the engine, stands beside it. */
static void measured(struct jl_buf *out, const struct run *r, const struct report_style *style)
{
    struct figure net = figure_net(r, &r->energy), gross = figure_gross(r, &r->energy);
    struct number n = number_f("net %s, gross %s", figure_text(&net, style).text, figure_text(&gross, style).text);
    if (isfinite(gross.j) || isfinite(net.j))
        text_item(out, style, "record", NULL, number_f("%s, %s", n.text, joulet_provenance_name(r->energy.total.provenance)).text,
                  TONE_PLAIN);
}

static void carbon(struct jl_buf *out, const struct estimate_result *e, const struct run *r, const struct report_style *style)
{
    struct carbon_factors k;
    struct figure f = figure_of(e);
    const char *unit, *place = run_pairs_get(&r->factors, "place");
    carbon_factors_of(r, NULL, true, &k);
    if (e->set->boundary && strstr(e->set->boundary, "PUE")) /* it is in the figure already */
        k.pue = 1;
    double grams_per_j = k.grid_g_per_kwh * k.pue / 3.6e6, scale = unit_co2e(f.j * grams_per_j, style, &unit);
    if (isnan(grams_per_j))
        return;
    struct number at = number_f("at %s g/kWh%s%s, PUE %s", number_plain(k.grid_g_per_kwh).text, place ? ", " : "",
                                place ? place : "", number_plain(k.pue).text);
    text_item(out, style, "carbon", figure_scaled(&f, grams_per_j * scale, unit, style).text, at.text, TONE_PLAIN);
}

/* What the figures of a set are, in words. */
static const char *rests_on(const struct estimate_set *s)
{
    if (s->origin == ESTIMATE_PUBLISHED)
        return s->provenance == JOULET_MEASURED ? "measured" : "modelled, not measured";
    switch (s->provenance) {
    case JOULET_MEASURED:
        return "measured";
    case JOULET_DERIVED:
        return "derived from what was measured";
    case JOULET_ESTIMATED:
        return "rests on estimates: no sensor measured the requests";
    case JOULET_IMPORTED:
        return "rests on imported records";
    case JOULET_SIMULATED:
        return "rests on a simulated sensor: no energy of any machine";
    }
    return "of unknown origin";
}

static void source(struct jl_buf *out, const struct estimate_result *e, const char *also, const struct report_style *style)
{
    const struct estimate_set *s = e->set;
    struct jl_buf b;
    jl_buf_init(&b, LINE_MAX_BYTES);
    jl_buf_printf(&b, "set %s: %s", s->name, s->source);
    if (s->date && *s->date)
        jl_buf_printf(&b, ", %s", s->date);
    if (s->provenance_known)
        jl_buf_printf(&b, "; %s", rests_on(s));
    if (s->machine && *s->machine)
        jl_buf_printf(&b, "; on %s", s->machine);
    text_item(out, style, "source", NULL, b.data, TONE_PLAIN);
    jl_buf_clear(&b);
    jl_buf_printf(&b, "the truth lies between the two ends in about 9 of 10 cases: estimate/truth %s to %s",
                  number_digits(e->f_lo, 2).text, number_digits(e->f_hi, 2).text);
    if (s->origin == ESTIMATE_FIT && isnan(s->f_lo) && !e->here)
        jl_buf_str(&b, ", since the fit was made on another machine");
    if (s->origin == ESTIMATE_FIT && isnan(s->f_lo) && s->provenance_known && s->provenance == JOULET_ESTIMATED)
        jl_buf_printf(&b, "%s the fit rests on estimates itself", e->here ? ", since" : " and");
    if (e->energy.u.b > 0)
        jl_buf_str(&b, ", widened by the scatter of its figures");
    text_item(out, style, "interval", NULL, b.data, TONE_PLAIN);
    if (also && *also)
        text_item(out, style, "also in", NULL, also, TONE_PLAIN);
    jl_buf_release(&b);
}

static void notes(struct jl_buf *out, const struct estimate_result *e, const struct report_style *style)
{
    if (e->model->no_output)
        text_item(out, style, "note", NULL,
                  "the source tells of prompt tokens alone: the answers are taken to be as long as they were there", TONE_WARN);
    if (e->model->n_workloads && (e->tokens_in / (double)e->requests < e->model->workloads[0].tokens_in ||
                                  e->tokens_in / (double)e->requests > e->model->workloads[e->model->n_workloads - 1].tokens_in))
        text_item(out, style, "note", NULL,
                  number_f("the source has prompts of %s to %s tokens", number_plain(e->model->workloads[0].tokens_in).text,
                           number_plain(e->model->workloads[e->model->n_workloads - 1].tokens_in).text)
                      .text,
                  TONE_WARN);
    if (e->left_out)
        text_item(out, style, "note", NULL, number_f("%zu requests do not tell their tokens and are left out", e->left_out).text,
                  TONE_WARN);
}

void report_estimate(struct jl_buf *out, const struct estimate_result *e, const struct run *r, const char *also,
                     const struct report_style *style)
{
    title(out, e, r, style);
    if (r)
        text_item(out, style, "tokens", NULL,
                  number_f("%s in, %s out in %zu request%s", number_count((int64_t)e->tokens_in).text,
                           number_count((int64_t)e->tokens_out).text, e->requests, e->requests == 1 ? "" : "s")
                      .text,
                  TONE_PLAIN);
    figures(out, e, style);
    if (r) {
        measured(out, r, style);
        carbon(out, e, r, style);
    }
    source(out, e, also, style);
    notes(out, e, style);
}

/* ---- sets -------------------------------------------------------------------------------------------------------- */

void report_sets(struct jl_buf *out, const struct estimate_set *sets, size_t n, const struct report_style *style)
{
    static const struct grid_column columns[] = {{"set", false, 0},   {"origin", false, 0}, {"models", true, 1},
                                                 {"basis", false, 5}, {"date", false, 4},   {"source", false, 2}};
    struct grid g;
    grid_init(&g, columns, JL_COUNT(columns));
    for (size_t i = 0; i < n; i++) {
        char *source = text_clean(sets[i].source, style);
        struct number models = number_count((int64_t)sets[i].n);
        const char *const cells[] = {sets[i].name,
                                     estimate_origin_name(sets[i].origin),
                                     models.text,
                                     sets[i].net ? "net" : "gross",
                                     sets[i].date ? sets[i].date : "",
                                     source ? source : ""};
        grid_add(&g, TONE_PLAIN, cells);
        free(source);
    }
    grid_write(&g, out, style);
}

/* J for each prompt and output token where the set has coefficients; else the workload in the middle. */
static void model_row(struct grid *g, const struct estimate_model *m, const struct report_style *style)
{
    char *name = text_clean(m->name, style);
    const struct joulet_workload *w = m->n_workloads ? &m->workloads[m->n_workloads / 2] : NULL;
    struct number cells[JOULET_COEFFICIENTS];
    for (unsigned i = 0; i < JOULET_COEFFICIENTS; i++)
        cells[i] = w || m->c.e[i] == 0 ? number_f("%s", "") : number_f("%.4g", m->c.e[i]);
    struct number load = w ? number_f("%s J for %s in, %s out", number_digits(w->energy_j, 4).text,
                                      number_plain(w->tokens_in).text, number_plain(w->tokens_out).text)
                           : number_f("%s", "");
    const char *const texts[] = {name ? name : "", cells[0].text, cells[1].text, cells[2].text,
                                 cells[3].text,    cells[4].text, load.text};
    grid_add(g, TONE_PLAIN, texts);
    free(name);
}

void report_set(struct jl_buf *out, const struct estimate_set *s, const struct report_style *style)
{
    static const struct grid_column columns[] = {{"model", false, 0},   {"e0 J", true, 1},    {"e_in J", true, 1},
                                                 {"e_q J", true, 1},    {"e_out J", true, 1}, {"e_x J", true, 1},
                                                 {"workload", false, 0}};
    const struct {
        const char *label, *text;
    } lines[] = {{"source", s->source},
                 {"date", s->date},
                 {"machine", s->machine},
                 {"sensor", s->sensor},
                 {"covers", s->boundary},
                 {"figures", s->provenance_known ? rests_on(s) : NULL},
                 {"basis", s->net ? "net: above the idle level" : "gross: idle level included"}};
    struct grid g;
    text_rule(out, style, s->name, estimate_origin_name(s->origin), TONE_PLAIN);
    for (size_t i = 0; i < JL_COUNT(lines); i++)
        if (lines[i].text && *lines[i].text)
            text_item(out, style, lines[i].label, NULL, lines[i].text, TONE_PLAIN);
    grid_init(&g, columns, JL_COUNT(columns));
    for (size_t i = 0; i < s->n; i++)
        model_row(&g, &s->models[i], style);
    jl_buf_str(out, "\n");
    grid_write(&g, out, style);
}
