/* view.c - gathers what a report speaks of: one request, all that count, or a run without requests. */
#include "report/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct part *view_phase(const struct view *v, const char *name)
{
    for (size_t i = 0; i < v->n_phases; i++)
        if (!strcmp(v->phases[i].name, name))
            return &v->phases[i];
    return NULL;
}

static void add_phase(struct view *v, const char *name, const struct run_window *w)
{
    struct part *p = (struct part *)(uintptr_t)view_phase(v, name);
    if (!p) {
        if (v->n_phases == PHASES_MAX)
            return;
        p = &v->phases[v->n_phases++];
        part_init(p, name);
    }
    part_add_window(p, v->r, w);
}

static void add_request(struct view *v, const struct run_request *q)
{
    part_add_request(&v->whole, v->r, q);
    for (size_t i = 0; i < q->n_windows; i++)
        add_phase(v, q->windows[i].name, &q->windows[i]);
}

/* Sums of one request, whatever became of it. */
static void sum_one(struct view *v)
{
    struct run_request q = *v->q;
    struct run one = *v->r;
    q.warmup = false;
    q.outcome = RUN_OK;
    one.requests = &q;
    one.n_requests = 1;
    run_energy_init(&one.energy);
    run_sum(&one, NULL, &v->sums);
}

void view_init(struct view *v, struct jl_buf *out, const struct run *r, const struct run_request *q,
               const struct report_style *style)
{
    *v = (struct view){.r = r, .q = q, .style = style, .out = out};
    part_init(&v->whole, "");
    if (!q && r->n_requests == 1)
        v->q = &r->requests[0];
    /* Loading the model comes before the first request and belongs to none. */
    for (size_t i = 0; i < r->n_windows && (!v->q || v->q->index == 0); i++)
        if (!strcmp(r->windows[i].name, "load"))
            add_phase(v, "model load (apart)", &r->windows[i]);
    if (v->q)
        sum_one(v);
    else
        run_sum(r, NULL, &v->sums);
    for (size_t i = 0; i < r->n_requests && !v->q; i++)
        if (counted(&r->requests[i]) && r->requests[i].stream < 0)
            add_request(v, &r->requests[i]);
    for (size_t i = 0; i < r->n_windows && !v->q; i++)
        if (run_is_level(&r->windows[i])) /* requests at once: what they drew together */
            part_add_window(&v->whole, r, &r->windows[i]);
    if (v->q)
        add_request(v, v->q);
    else
        part_jointly(&v->whole, r);
    if (!r->n_requests)
        part_of_run(&v->whole, r);
    for (size_t i = 0; i < r->n_channels; i++)
        v->mixed |= r->channels[i].in_total && r->channels[i].factor_lo >= 1 && r->channels[i].factor_hi <= 1;
    v->estimate = v->whole.gross.estimate || v->whole.net.estimate;
    v->mixed &= v->estimate;
}

const char *view_net_title(const struct view *v)
{
    return v->estimate ? "estimated net energy" : "net energy";
}

const char *view_gross_title(const struct view *v)
{
    return v->estimate ? "estimated gross energy" : "gross energy";
}

static bool nothing_known(const struct view *v)
{
    return isnan(v->whole.net.j) && isnan(v->whole.gross.j);
}

const char *view_provenance(const struct view *v)
{
    if (nothing_known(v))
        return "no energy known";
    return v->mixed && v->whole.e.provenance == JOULET_ESTIMATED ? "partly estimated"
                                                                 : joulet_provenance_name(v->whole.e.provenance);
}

enum tone view_tone(const struct view *v)
{
    return nothing_known(v) || v->whole.e.provenance > JOULET_DERIVED ? TONE_WARN : TONE_STRONG;
}

static bool repeated(const struct run *r)
{
    for (size_t i = 0; i < r->n_requests; i++)
        if (r->requests[i].repeat > 0 && !r->requests[i].warmup)
            return true;
    return false;
}

/* "short 1", "short 1 #2" for the second repetition. */
char *view_prompt_name(const struct view *v, const struct run_request *q)
{
    char number[24] = "", repeat[24] = "";
    char *clean = text_clean(q->category ? q->category : "prompt", v->style);
    if (q->number >= 0 || !q->category)
        snprintf(number, sizeof number, " %lld", (long long)(q->number >= 0 ? q->number : q->index + 1));
    if (repeated(v->r) && q->repeat >= 0)
        snprintf(repeat, sizeof repeat, " #%lld", (long long)q->repeat + 1);
    char cell[24] = ""; /* its number in the table of cells */
    if (q->cell >= 0 && v->r->n_cells)
        snprintf(cell, sizeof cell, "%lld. ", (long long)q->cell + 1);
    char *name = jl_strf("%s%s%s%s", cell, clean ? clean : "", number, repeat);
    free(clean);
    return name;
}

double view_per_token_pm(const struct view *v)
{
    const struct joulet_u *u = &v->whole.e.u;
    double *x = malloc(2 * (v->r->n_requests + 1) * sizeof *x), ratio, pm = NAN, tokens = 0;
    size_t n = 0;
    for (size_t i = 0; x && i < v->r->n_requests; i++) {
        const struct run_request *q = &v->r->requests[i];
        if (!counted(q) || isnan(q->energy.total.net_j) || q->tokens.generated < 0)
            continue;
        tokens += (double)q->tokens.generated;
        x[n] = q->energy.total.net_j;
        x[v->r->n_requests + n++] = (double)q->tokens.generated;
    }
    if (n > 1 && tokens > 0)
        joulet_ratio_of_sums(x, x + v->r->n_requests, n, &ratio, &pm);
    free(x);
    double common_j = 2 * sqrt(u->time * u->time + u->idle * u->idle + u->spec * u->spec);
    return hypot(pm, isnan(common_j) ? 0 : common_j / tokens);
}

bool report_j_per_token(const struct run *r, double *j, double *lo)
{
    static const struct report_style plain = {0};
    struct view v;
    view_init(&v, NULL, r, NULL, &plain);
    double tokens = (double)v.sums.tokens_out;
    *j = v.whole.net.j / tokens;
    *lo = (v.whole.net.estimate ? v.whole.net.lo : v.whole.net.j - v.whole.net.pm) / tokens;
    return tokens > 0 && isfinite(*j) && isfinite(*lo);
}
