/* figures_all.c - the metrics of a record in rows (docs/method.md 9, docs/metrics.md): each of the energy above idle and of
 * gross, with the half-width of its interval. Sums over the requests that succeeded and are no warm-up; averages are ratios of
 * sums. */
#include "report/figures_all.h"
#include "lib/stats/stats.h"
#include "report/carbon.h"
#include "report/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define J_PER_WH 3600.0

struct work {
    struct metric_list *out;
    const struct run *r;
    struct view v;
    double t_in, t_out, wall_s;
};

static const struct metric_value unknown = {NAN, NAN, NAN};

static struct metric_value with_pm(double x, double pm)
{
    return isfinite(x) ? (struct metric_value){x, x - pm, x + pm} : unknown;
}

static struct metric_value of_figure(const struct figure *f, double by)
{
    if (!isfinite(f->j * by))
        return unknown;
    return f->estimate ? (struct metric_value){f->j * by, f->lo * by, f->hi * by} : with_pm(f->j * by, f->pm * fabs(by));
}

/* T/E: the ends change places; unknown when the energy may be nothing. */
static struct metric_value inverse(const struct figure *f, double tokens)
{
    struct metric_value e = of_figure(f, 1);
    if (!(e.x > 0) || e.lo <= 0 || !isfinite(tokens))
        return unknown;
    return (struct metric_value){tokens / e.x, tokens / e.hi, tokens / e.lo};
}

static void add(struct work *w, const char *key, const char *unit, struct metric_value net, struct metric_value gross)
{
    if (w->out->n < METRIC_ROWS_MAX)
        w->out->rows[w->out->n++] = (struct metric){key, unit, net, gross};
}

static void plain(struct work *w, const char *key, const char *unit, double x)
{
    add(w, key, unit, (struct metric_value){x, NAN, NAN}, unknown);
}

/* Both forms of a figure times a factor. */
static void scaled(struct work *w, const char *key, const char *unit, const struct part *p, double by)
{
    if (p)
        add(w, key, unit, of_figure(&p->net, by), of_figure(&p->gross, by));
    else
        add(w, key, unit, unknown, unknown);
}

static double per(double n)
{
    return n > 0 ? 1 / n : NAN;
}

/* ---- energy ------------------------------------------------------------------------------------------------------ */

static void energies(struct work *w)
{
    const struct part *all = &w->v.whole, *prefill = view_phase(&w->v, "prefill"), *decode = view_phase(&w->v, "decode");
    scaled(w, "energy", "J", all, 1);
    scaled(w, "j_per_output_token", "J/token", all, per(w->t_out));
    scaled(w, "j_per_token", "J/token", all, per(w->t_in + w->t_out));
    scaled(w, "prefill_energy", "J", prefill, 1);
    scaled(w, "decode_energy", "J", decode, 1);
    scaled(w, "prefill_j_per_input_token", "J/token", prefill, per(w->t_in));
    scaled(w, "decode_j_per_output_token", "J/token", decode, per(w->t_out));
    scaled(w, "wh_per_1000_output_tokens", "Wh", all, 1000 / J_PER_WH * per(w->t_out));
    scaled(w, "e_token_i", "Wh/1000", all, 1000 / J_PER_WH * per(w->t_in));
    scaled(w, "e_token_o", "Wh/1000", all, 1000 / J_PER_WH * per(w->t_out));
    add(w, "tokens_per_joule", "token/J", inverse(&all->net, w->t_out), inverse(&all->gross, w->t_out));
    scaled(w, "energy_delay", "J s", all, w->wall_s);
    plain(w, "tail", "J", w->v.q ? w->v.q->tail_j : w->r->energy.total.tail_j);
}

/* Thinking and answer of those requests that have both; tokens of the thinking where the engine counts them. */
static void decode_parts(struct work *w)
{
    static const char *const names[] = {"thinking", "answer"};
    static const char *const energy[] = {"thinking_energy", "answer_energy"}, *const each[] = {"thinking_j_per_token",
                                                                                               "answer_j_per_token"};
    for (size_t k = 0; k < JL_COUNT(names); k++) {
        struct part p;
        double tokens = 0;
        part_init(&p, names[k]);
        for (size_t i = 0; i < w->r->n_requests; i++) {
            const struct run_request *q = &w->r->requests[i];
            for (size_t j = 0; counted(q) && j < q->n_parts; j++)
                if (!strcmp(q->parts[j].name, names[k])) {
                    part_add_window(&p, w->r, &q->parts[j]);
                    double reasoning = q->tokens.reasoning < 0 ? NAN : (double)q->tokens.reasoning;
                    tokens += k == 0 ? reasoning : (double)q->tokens.generated - reasoning;
                }
        }
        if (!p.n)
            continue;
        scaled(w, energy[k], "J", &p, 1);
        scaled(w, each[k], "J/token", &p, per(tokens));
    }
}

/* ---- over requests ----------------------------------------------------------------------------------------------- */

static double energy_of(const struct run_request *q, bool net)
{
    return net ? q->energy.total.net_j : q->energy.total.gross_j;
}

/* Ratio of sums with the jackknife, and the mean of the requests' own ratios, which answers another question. */
static void over_requests(struct work *w)
{
    size_t room = w->r->n_requests + 1;
    double *e = malloc(2 * room * sizeof *e), *t = e ? e + room : NULL, ratio[2] = {NAN, NAN}, pm[2] = {NAN, NAN},
           mean[2] = {NAN, NAN};
    for (int net = 1; e && net >= 0; net--) {
        size_t n = 0;
        double sum = 0;
        for (size_t i = 0; i < w->r->n_requests; i++) {
            const struct run_request *q = &w->r->requests[i];
            if (!counted(q) || isnan(energy_of(q, net)) || q->tokens.generated <= 0)
                continue;
            e[n] = energy_of(q, net);
            t[n] = (double)q->tokens.generated;
            sum += e[n] / t[n];
            n++;
        }
        if (n > 1) {
            joulet_ratio_of_sums(e, t, n, &ratio[net], &pm[net]);
            mean[net] = sum / (double)n;
        }
    }
    free(e);
    if (isnan(ratio[1]) && isnan(ratio[0]))
        return;
    add(w, "j_per_output_token_jackknife", "J/token", with_pm(ratio[1], pm[1]), with_pm(ratio[0], pm[0]));
    add(w, "j_per_output_token_mean_of_runs", "J/token", (struct metric_value){mean[1], NAN, NAN},
        (struct metric_value){mean[0], NAN, NAN});
}

static bool same_prompt(const struct run_request *a, const struct run_request *b)
{
    return a->cell == b->cell && !strcmp(a->prompt_sha256, b->prompt_sha256);
}

static bool usable(const struct run_request *q, bool net)
{
    return counted(q) && *q->prompt_sha256 && !isnan(energy_of(q, net));
}

/* sd/mean of the repeats of each prompt, pooled by degrees of freedom. */
static double variation(const struct run *r, bool net)
{
    double square = 0, df = 0;
    double *x = malloc((r->n_requests + 1) * sizeof *x);
    for (size_t i = 0; x && i < r->n_requests; i++) {
        const struct run_request *q = &r->requests[i];
        size_t n = 0;
        bool first = usable(q, net);
        for (size_t k = 0; first && k < i; k++)
            first = !(usable(&r->requests[k], net) && same_prompt(&r->requests[k], q));
        for (size_t k = i; first && k < r->n_requests; k++)
            if (usable(&r->requests[k], net) && same_prompt(&r->requests[k], q))
                x[n++] = energy_of(&r->requests[k], net);
        double mean = n > 1 ? jl_mean(x, n) : NAN, cv = n > 1 && mean > 0 ? jl_sd(x, n) / mean : NAN;
        if (!isnan(cv)) {
            square += (double)(n - 1) * cv * cv;
            df += (double)(n - 1);
        }
    }
    free(x);
    return df > 0 ? sqrt(square / df) : NAN;
}

/* ---- power ------------------------------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Median over requests of a figure of the request (window NULL) or of one of its windows; of a run without requests, its window.
 */
static double median_of(const struct run *r, const char *window, size_t at)
{
    double *x = malloc((r->n_requests + r->n_windows + 1) * sizeof *x), m = NAN, v;
    size_t n = 0;
    for (size_t i = 0; x && i < r->n_requests; i++) {
        const struct run_request *q = &r->requests[i];
        const void *from = window ? NULL : (const void *)q;
        for (size_t k = 0; window && k < q->n_windows; k++)
            if (!strcmp(q->windows[k].name, window))
                from = &q->windows[k];
        if (!counted(q) || !from)
            continue;
        memcpy(&v, (const char *)from + at, sizeof v);
        if (!isnan(v))
            x[n++] = v;
    }
    if (x && n) {
        qsort(x, n, sizeof *x, ascending);
        m = jl_quantile(x, n, 0.5);
    }
    free(x);
    return m;
}

static double of_run_window(const struct run *r, size_t at)
{
    double v = NAN;
    for (size_t i = 0; i < r->n_windows && !r->n_requests; i++)
        if (!strcmp(r->windows[i].name, "run"))
            memcpy(&v, (const char *)&r->windows[i] + at, sizeof v);
    return v;
}

static void powers(struct work *w)
{
    bool requests = w->r->n_requests > 0;
    const char *phases[] = {"prefill", "decode"}, *const power[] = {"prefill_power", "decode_power"},
               *const ramp[] = {"prefill_ramp", "decode_ramp"};
    scaled(w, "mean_power", "W", &w->v.whole, per(w->wall_s));
    plain(w, "peak_power", "W", w->v.whole.power_max_w);
    plain(w, "p50_power", "W",
          requests ? median_of(w->r, NULL, offsetof(struct run_request, power_p50_w))
                   : of_run_window(w->r, offsetof(struct run_window, power_p50_w)));
    plain(w, "p95_power", "W",
          requests ? median_of(w->r, NULL, offsetof(struct run_request, power_p95_w))
                   : of_run_window(w->r, offsetof(struct run_window, power_p95_w)));
    for (size_t i = 0; requests && i < JL_COUNT(phases); i++) {
        const struct part *p = view_phase(&w->v, phases[i]);
        scaled(w, power[i], "W", p, p ? per(p->seconds) : NAN);
        plain(w, ramp[i], "s", median_of(w->r, phases[i], offsetof(struct run_window, ramp_s)));
    }
    if (!requests)
        plain(w, "ramp", "s", of_run_window(w->r, offsetof(struct run_window, ramp_s)));
}

/* ---- processes ---------------------------------------------------------------------------------------------------- */

static void of_energy(struct work *w, const char *key, const struct joulet_energy *e)
{
    struct figure net, gross;
    processes_figures(w->r, e, &net, &gross);
    add(w, key, "J", of_figure(&net, 1), of_figure(&gross, 1));
}

/* Only where the engine's processes were followed. */
static void processes(struct work *w)
{
    struct run_cpu_time t;
    if (w->v.q)
        t = w->v.q->cpu_time;
    else
        run_cpu_time_of(w->r, &t);
    if (isnan(t.share))
        return;
    add(w, "cpu_time_share", "1", (struct metric_value){t.share, fmax(0, t.share - t.share_pm), fmin(1, t.share + t.share_pm)},
        unknown);
    of_energy(w, "e_llm", &t.e_llm);
    of_energy(w, "m_eff", &t.m_eff);
}

/* ---- carbon, cost and the whole list ----------------------------------------------------------------------------- */

static void amounts(struct work *w)
{
    struct carbon_factors n, g;
    struct carbon_amounts a;
    const struct part *p = &w->v.whole;
    carbon_factors_of(w->r, w->v.q, true, &n);
    carbon_factors_of(w->r, w->v.q, false, &g);
    carbon_amounts_of(&n, 1, w->wall_s, &a);
    double kwh = 1 / 3.6e6, emit_n = n.grid_g_per_kwh * n.pue * kwh, emit_g = g.grid_g_per_kwh * g.pue * kwh;
    double cost_n = n.price_per_kwh * n.pue * kwh, cost_g = g.price_per_kwh * g.pue * kwh;
    add(w, "emissions", "gCO2e", of_figure(&p->net, emit_n), of_figure(&p->gross, emit_g));
    plain(w, "embodied", "gCO2e", a.embodied_g);
    add(w, "water", "L", of_figure(&p->net, n.wue_l_per_kwh * kwh), of_figure(&p->gross, g.wue_l_per_kwh * kwh));
    add(w, "energy_cost", "currency", of_figure(&p->net, cost_n), of_figure(&p->gross, cost_g));
    plain(w, "device_cost", "currency", a.device_cost);
    struct metric_value costs[2] = {of_figure(&p->net, cost_n), of_figure(&p->gross, cost_g)};
    for (size_t i = 0; i < 2; i++) {
        double device = isnan(a.device_cost) ? 0 : a.device_cost;
        costs[i] = isnan(costs[i].x) ? (struct metric_value){a.device_cost, NAN, NAN}
                                     : (struct metric_value){costs[i].x + device, costs[i].lo + device, costs[i].hi + device};
    }
    add(w, "cost", "currency", costs[0], costs[1]);
    for (size_t i = 0; i < 2; i++) {
        double by = 1e6 * per(w->t_out);
        costs[i] = (struct metric_value){costs[i].x * by, costs[i].lo * by, costs[i].hi * by};
    }
    add(w, "cost_per_million_output", "currency", costs[0], costs[1]);
    for (size_t i = 0; i < carbon_equivalent_count; i++) {
        double by = 1 / carbon_equivalents[i].g_per_unit;
        add(w, carbon_equivalents[i].key, carbon_equivalents[i].unit, of_figure(&p->net, emit_n * by),
            of_figure(&p->gross, emit_g * by));
    }
}

void metrics_of_run(const struct run *r, struct metric_list *out)
{
    static const struct report_style style = {.utf8 = false};
    struct jl_buf none;
    struct work w = {.out = out, .r = r};
    *out = (struct metric_list){0};
    jl_buf_init(&none, 1);
    view_init(&w.v, &none, r, NULL, &style);
    out->estimate = w.v.estimate;
    out->provenance = joulet_provenance_name(w.v.whole.e.provenance);
    w.t_in = w.v.sums.tokens_in < 0 ? NAN : (double)w.v.sums.tokens_in;
    w.t_out = w.v.sums.tokens_out < 0 ? NAN : (double)w.v.sums.tokens_out;
    w.wall_s = isfinite(w.v.sums.wall_s) ? w.v.sums.wall_s : w.v.whole.seconds;
    energies(&w);
    decode_parts(&w);
    over_requests(&w);
    add(&w, "cv_of_repeats", "1", (struct metric_value){variation(r, true), NAN, NAN},
        (struct metric_value){variation(r, false), NAN, NAN});
    powers(&w);
    processes(&w);
    amounts(&w);
    jl_buf_release(&none);
}
