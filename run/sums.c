/* sums.c - what a record says in sums, over requests that succeeded and were no warm-up (9). Energies of one run add as
 * consecutive windows do: random terms in quadrature, lag, idle level and gain linearly (3). */
#include "lib/stats/stats.h"
#include "run/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool counted(const struct run_request *q, const char *category)
{
    return !q->warmup && (!category || (q->category && !strcmp(q->category, category)));
}

/* *sum is NAN or -1 until something is known. */
static void add_real(double *sum, double x)
{
    if (!isnan(x))
        *sum = isnan(*sum) ? x : *sum + x;
}

static void add_count(int64_t *sum, int64_t x)
{
    if (x >= 0)
        *sum = *sum < 0 ? x : *sum + x;
}

static void larger(double *most, double x)
{
    if (isnan(*most) || x > *most)
        *most = x;
}

double run_window_s(const struct run_window *w)
{
    return jl_s(w->end_ns - w->start_ns);
}

double run_request_s(const struct run_request *q)
{
    return q->n_windows ? jl_s(q->windows[q->n_windows - 1].end_ns - q->windows[0].start_ns) : NAN;
}

static void sum_windows(const struct run_window *windows, size_t n, struct run_sums *out)
{
    for (size_t i = 0; i < n; i++) {
        const struct run_window *w = &windows[i];
        struct joulet_energy *e = !strcmp(w->name, "prefill")  ? &out->prefill
                                  : !strcmp(w->name, "decode") ? &out->decode
                                  : !strcmp(w->name, "load")   ? &out->load
                                                               : NULL;
        if (e)
            joulet_energy_chain(e, &w->energy.total);
        if (e == &out->prefill)
            add_real(&out->prefill_s, run_window_s(w));
        if (e == &out->decode)
            add_real(&out->decode_s, run_window_s(w));
        if (!isnan(w->power_max_w))
            larger(&out->power_max_w, w->power_max_w);
    }
}

static void sum_request(const struct run_request *q, struct run_sums *out)
{
    add_count(&out->tokens_in, q->tokens.prompt);
    add_count(&out->tokens_out, q->tokens.generated);
    add_count(&out->tokens_cached, q->tokens.cached);
    if (q->stream >= 0)
        return; /* its energy and time are in those of its level */
    joulet_energy_chain(&out->energy, &q->energy.total);
    add_real(&out->wall_s, run_request_s(q));
    sum_windows(q->windows, q->n_windows, out);
}

/* Median over the counted requests of the double at offset `at`. */
static double median_of(const struct run *r, const char *category, size_t at)
{
    double *x = malloc((r->n_requests + 1) * sizeof *x), m = NAN;
    size_t n = 0;
    for (size_t i = 0; x && i < r->n_requests; i++) {
        double v;
        memcpy(&v, (const char *)&r->requests[i] + at, sizeof v);
        if (r->requests[i].outcome == RUN_OK && counted(&r->requests[i], category) && !isnan(v))
            x[n++] = v;
    }
    if (x)
        m = jl_median(x, n);
    free(x);
    return m;
}

/* Time per output token over all tokens but the first of each request. */
static double mean_tpot(const struct run *r, const char *category)
{
    double time_s = 0, tokens = 0;
    for (size_t i = 0; i < r->n_requests; i++) {
        const struct run_request *q = &r->requests[i];
        if (q->outcome != RUN_OK || !counted(q, category) || isnan(q->tpot_s) || q->tokens.generated < 2)
            continue;
        time_s += q->tpot_s * (double)(q->tokens.generated - 1);
        tokens += (double)(q->tokens.generated - 1);
    }
    return tokens > 0 ? time_s / tokens : NAN;
}

static void latencies(const struct run *r, const char *category, struct run_sums *out)
{
    out->ttft_p50_s = median_of(r, category, offsetof(struct run_request, ttft_s));
    out->itl_p50_s = median_of(r, category, offsetof(struct run_request, itl_p50_s));
    out->itl_p95_s = median_of(r, category, offsetof(struct run_request, itl_p95_s));
    out->itl_p99_s = median_of(r, category, offsetof(struct run_request, itl_p99_s));
    out->tpot_mean_s = mean_tpot(r, category);
}

static void sum_init(struct run_sums *out)
{
    static const struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;
    *out = (struct run_sums){.tokens_in = -1, .tokens_out = -1, .tokens_cached = -1};
    out->energy = out->prefill = out->decode = out->load = unknown;
    out->wall_s = out->prefill_s = out->decode_s = out->power_mean_w = out->power_max_w = NAN;
}

static void sum_whole_run(const struct run *r, struct run_sums *out)
{
    out->energy = r->energy.total;
    for (size_t i = 0; i < r->n_windows; i++)
        if (!strcmp(r->windows[i].name, "run")) {
            add_real(&out->wall_s, run_window_s(&r->windows[i]));
            if (!isnan(r->windows[i].power_max_w))
                larger(&out->power_max_w, r->windows[i].power_max_w);
        }
    if (isnan(out->wall_s))
        out->wall_s = jl_s(r->end_ns - r->start_ns);
}

static bool is_joint(const struct joulet_energy *e)
{
    return e->method && (jl_starts(e->method, "burst-fit/") || jl_starts(e->method, "padded-block/"));
}

bool run_cell_is_joint(const struct run_cell *c)
{
    return c->energy.n_channels > 0;
}

bool run_is_joint(const struct run *r)
{
    bool joint = false;
    for (size_t i = 0; r->n_requests && i < r->energy.n_channels; i++) {
        const struct run_channel_energy *c = &r->energy.channels[i];
        const struct joulet_channel *channel = run_channel(r, c->channel);
        joint |= channel && channel->in_total && is_joint(&c->e);
    }
    for (size_t i = 0; r->n_requests && i < r->n_cells; i++)
        joint |= run_cell_is_joint(&r->cells[i]);
    return joint && isfinite(r->energy.total.gross_j);
}

/* By its last window, since a level ends with its last request. */
const struct run_window *run_level_of(const struct run *r, const struct run_request *q)
{
    if (q->stream < 0 || !q->n_windows)
        return NULL;
    int64_t start = q->windows[0].start_ns, end = q->windows[q->n_windows - 1].end_ns;
    for (size_t i = 0; i < r->n_windows; i++) {
        const struct run_window *w = &r->windows[i];
        if (run_is_level(w) && w->cell == q->cell && start >= w->start_ns && end <= w->end_ns)
            return w;
    }
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* p95 over the counted requests of a cell of the double at offset `at`. */
static double p95_of(const struct run *r, int64_t cell, size_t at)
{
    double *x = malloc((r->n_requests + 1) * sizeof *x), p = NAN;
    size_t n = 0;
    for (size_t i = 0; x && i < r->n_requests; i++) {
        const struct run_request *q = &r->requests[i];
        double v;
        memcpy(&v, (const char *)q + at, sizeof v);
        if (q->cell == cell && q->outcome == RUN_OK && !q->warmup && !isnan(v))
            x[n++] = v;
    }
    if (n) {
        qsort(x, n, sizeof *x, by_value);
        p = jl_quantile(x, n, 0.95);
    }
    free(x);
    return p;
}

static void cell_request(const struct run *r, const struct run_request *q, struct run_cell_sums *out)
{
    out->checked += q->check >= 0;
    out->right += q->check > 0;
    if (q->stream < 0) {
        joulet_energy_chain(&out->energy, &q->energy.total);
        add_real(&out->wall_s, run_request_s(q));
    } else if (!run_level_of(r, q)) {
        out->outside++;
        return;
    }
    add_count(&out->tokens_in, q->tokens.prompt);
    add_count(&out->tokens_out, q->tokens.generated);
}

void run_sum_cell(const struct run *r, int64_t cell, struct run_cell_sums *out)
{
    static const struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;
    *out = (struct run_cell_sums){.energy = unknown, .tokens_in = -1, .tokens_out = -1, .wall_s = NAN};
    for (size_t i = 0; i < r->n_windows; i++)
        if (run_is_level(&r->windows[i]) && r->windows[i].cell == cell) {
            joulet_energy_chain(&out->energy, &r->windows[i].energy.total);
            add_real(&out->wall_s, run_window_s(&r->windows[i]));
            out->levels++;
        }
    for (size_t i = 0; i < r->n_requests; i++) {
        const struct run_request *q = &r->requests[i];
        if (q->cell != cell || q->warmup)
            continue;
        out->requests++;
        if (q->outcome != RUN_OK)
            continue;
        out->ok++;
        cell_request(r, q, out);
    }
    if (cell >= 0 && (size_t)cell < r->n_cells && run_cell_is_joint(&r->cells[cell]))
        out->energy = r->cells[cell].energy.total;
    out->ttft_p95_s = p95_of(r, cell, offsetof(struct run_request, ttft_s));
    out->tpot_p95_s = p95_of(r, cell, offsetof(struct run_request, tpot_s));
}

void run_sum(const struct run *r, const char *category, struct run_sums *out)
{
    sum_init(out);
    for (size_t i = 0; i < r->n_requests; i++) {
        const struct run_request *q = &r->requests[i];
        if (!counted(q, category))
            continue;
        out->requests++;
        if (q->outcome != RUN_OK) {
            out->failed++;
            continue;
        }
        out->ok++;
        sum_request(q, out);
    }
    for (size_t i = 0; i < r->n_windows && !category; i++)
        if (run_is_level(&r->windows[i])) {
            joulet_energy_chain(&out->energy, &r->windows[i].energy.total);
            add_real(&out->wall_s, run_window_s(&r->windows[i]));
        }
    latencies(r, category, out);
    if (!category && run_is_joint(r)) {
        double tail_j = out->energy.tail_j;
        out->energy = r->energy.total;
        out->energy.tail_j = tail_j;
    }
    if (!r->n_requests && !category)
        sum_whole_run(r, out);
    if (out->wall_s > 0)
        out->power_mean_w = out->energy.gross_j / out->wall_s;
}

bool run_energy_chain(struct run_energy *e, const struct run_energy *x)
{
    for (size_t k = 0; k < x->n_channels; k++) {
        size_t c = 0;
        while (c < e->n_channels && strcmp(e->channels[c].channel, x->channels[k].channel))
            c++;
        if (c < e->n_channels)
            joulet_energy_chain(&e->channels[c].e, &x->channels[k].e);
        else if (!run_energy_add_channel(e, x->channels[k].channel, &x->channels[k].e))
            return false;
    }
    return true;
}

bool run_is_level(const struct run_window *w)
{
    return !strcmp(w->name, "level");
}

static bool has_joint_cell(const struct run *r, int64_t cell)
{
    return cell >= 0 && (size_t)cell < r->n_cells && run_cell_is_joint(&r->cells[cell]);
}

bool run_energy_of_cell(const struct run *r, int64_t cell, struct run_energy *e)
{
    bool ok = true;
    run_energy_init(e);
    for (size_t i = 0; ok && i < r->n_requests; i++) {
        const struct run_request *q = &r->requests[i];
        if (q->outcome == RUN_OK && !q->warmup && q->stream < 0 && (cell < 0 ? !has_joint_cell(r, q->cell) : q->cell == cell))
            ok = run_energy_chain(e, &q->energy);
    }
    return ok;
}

bool run_energy_from_requests(struct run *r)
{
    struct run_energy e;
    bool ok = run_energy_of_cell(r, -1, &e);
    for (size_t i = 0; ok && i < r->n_cells; i++)
        ok = run_energy_chain(&e, &r->cells[i].energy);
    for (size_t i = 0; ok && i < r->n_windows; i++) /* requests at once have no energy of their own, only together */
        if (run_is_level(&r->windows[i]))
            ok = run_energy_chain(&e, &r->windows[i].energy);
    if (!ok) {
        run_energy_release(&e);
        return false;
    }
    run_energy_total(r, &e);
    run_energy_release(&r->energy);
    r->energy = e;
    return true;
}
