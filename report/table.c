/* table.c - the table of `bench`: every window in the order of time, each prompt with its windows, sums by category and over all.
 */
#include "report/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what was measured ------------------------------------------------------------------------------------------- */

/* Adds the values of the keys, as far as they are known, with commas. */
static void facts(const struct view *v, const char *label, const struct run_pairs *p, const char *const *keys)
{
    struct jl_buf b;
    jl_buf_init(&b, 4096);
    for (; *keys; keys++) {
        const char *value = run_pairs_get(p, *keys);
        const char *unit = !strcmp(*keys, "threads") ? text_threads(value) : "";
        if (value && *value)
            jl_buf_printf(&b, "%s%s%s", b.len ? ", " : "", value, unit);
    }
    if (b.len)
        text_item(v->out, v->style, label, NULL, b.data, TONE_PLAIN);
    jl_buf_release(&b);
}

static void heading(const struct view *v)
{
    static const char *const model[] = {"name", "quantisation", NULL}, *const engine[] = {"protocol", "version", "url", NULL},
                             *const machine[] = {"cpu", "threads", "os", NULL};
    char started[40];
    char *text = jl_strf("%s %s", v->r->kind, v->r->id), *clean = text ? text_clean(text, v->style) : NULL;
    text_rule(v->out, v->style, clean ? clean : "", view_provenance(v), view_tone(v));
    if (v->r->title)
        text_item(v->out, v->style, "title", NULL, v->r->title, TONE_PLAIN);
    facts(v, "model", &v->r->model, model);
    facts(v, "engine", &v->r->engine, engine);
    facts(v, "machine", &v->r->machine, machine);
    jl_format_time(started, sizeof started, v->r->started_wall_ns);
    free(text);
    text = jl_strf("%s, %s", started, v->r->status ? v->r->status : "status unknown");
    text_item(v->out, v->style, "started", NULL, text, v->r->status && !strcmp(v->r->status, "done") ? TONE_PLAIN : TONE_WARN);
    free(text);
    free(clean);
}

/* ---- windows ----------------------------------------------------------------------------------------------------- */

static struct number power_text(const struct part *p)
{
    if (isnan(p->power_mean_w))
        return (struct number){"-"};
    return number_f("%s/%s/%s", number_watts(p->power_min_w).text, number_watts(p->power_mean_w).text,
                    number_watts(p->power_max_w).text);
}

static void part_row(struct grid *g, const struct view *v, const char *name, const char *window, const struct part *p,
                     enum tone tone)
{
    struct number time = number_s(p->seconds, v->style), power = power_text(p), updates = number_count(p->updates);
    struct number net = part_net(p, v->style), gross = part_gross(p, v->style);
    const char *const cells[] = {name, window, time.text, power.text, updates.text, net.text, gross.text};
    grid_add(g, tone, cells);
}

/* Windows of the run that begin before the first request (`before`), or after it. */
static void run_windows(struct grid *g, const struct view *v, bool before)
{
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < v->r->n_requests; i++)
        if (v->r->requests[i].n_windows && v->r->requests[i].windows[0].start_ns < first)
            first = v->r->requests[i].windows[0].start_ns;
    for (size_t i = 0; i < v->r->n_windows; i++) {
        const struct run_window *w = &v->r->windows[i];
        struct part p;
        if ((w->start_ns < first) != before)
            continue;
        part_init(&p, w->name);
        part_add_window(&p, v->r, w);
        char *text = w->cell >= 0 && v->r->n_cells ? jl_strf("%lld. %s", (long long)w->cell + 1, w->name) : jl_strdup(w->name);
        char *name = text ? text_clean(text, v->style) : NULL;
        free(text);
        part_row(g, v, name ? name : "", "", &p, TONE_PLAIN);
        free(name);
    }
}

/* "13 tokens in, 64 out: the answer", as much as fits. */
static void answer_line(struct grid *g, const struct view *v, const struct run_request *q)
{
    char *answer = q->answer ? text_clean(q->answer, v->style) : NULL;
    char *text = jl_strf("  %s tokens in, %s out%s%s", number_count(q->tokens.prompt).text,
                         number_count(q->tokens.generated).text, answer && *answer ? ": " : "", answer ? answer : "");
    if (text)
        grid_line(g, TONE_FAINT, text);
    free(text);
    free(answer);
}

static void failed_row(struct grid *g, const struct view *v, const struct run_request *q, const char *name)
{
    char *error = text_clean(q->error ? q->error : "", v->style),
         *text = jl_strf("%s  %s: %s", name, run_outcome_name(q->outcome), error ? error : "");
    if (text)
        grid_line(g, TONE_WARN, text);
    free(text);
    free(error);
}

static void request_rows(struct grid *g, const struct view *v, const struct run_request *q)
{
    struct part p;
    char *name = view_prompt_name(v, q);
    if (!name)
        return;
    part_init(&p, name);
    part_add_request(&p, v->r, q);
    if (q->outcome != RUN_OK) {
        failed_row(g, v, q, name);
    } else if (q->warmup) {
        part_row(g, v, name, "warm-up", &p, TONE_FAINT);
    } else {
        part_row(g, v, name, "all", &p, TONE_STRONG);
        for (size_t i = 0; i < q->n_windows; i++) {
            part_init(&p, q->windows[i].name);
            part_add_window(&p, v->r, &q->windows[i]);
            part_row(g, v, "", p.name, &p, TONE_PLAIN);
        }
        answer_line(g, v, q);
    }
    free(name);
}

static void windows(const struct view *v)
{
    const struct grid_column columns[] = {{"prompt", false, 0},          {"window", false, 0}, {"time", true, 0},
                                          {"min/mean/max W", true, 2},   {"updates", true, 3}, {view_net_title(v), true, 0},
                                          {view_gross_title(v), true, 4}};
    struct grid g;
    grid_init(&g, columns, JL_COUNT(columns));
    run_windows(&g, v, true);
    for (size_t i = 0; i < v->r->n_requests; i++)
        request_rows(&g, v, &v->r->requests[i]);
    run_windows(&g, v, false);
    jl_buf_str(v->out, "\n");
    grid_write(&g, v->out, v->style);
}

/* ---- sums -------------------------------------------------------------------------------------------------------- */

static void sum_row(struct grid *g, const struct view *v, const char *category, enum tone tone)
{
    const struct run *r = v->r;
    struct run_sums s;
    struct part p;
    char ok[48];
    run_sum(r, category, &s);
    part_init(&p, "");
    for (size_t i = 0; i < r->n_requests; i++)
        if (counted(&r->requests[i]) && (!category || (r->requests[i].category && !strcmp(r->requests[i].category, category))))
            part_add_request(&p, r, &r->requests[i]);
    if (!category)
        part_jointly(&p, r);
    struct number in = number_count(s.tokens_in), out = number_count(s.tokens_out), time = number_s(s.wall_s, v->style);
    struct number net = part_net(&p, v->style),
                  per = figure_scaled(&p.net, s.tokens_out > 0 ? 1 / (double)s.tokens_out : NAN, "J", v->style);
    struct number speed = number_digits(s.tokens_out >= 0 && s.decode_s > 0 ? (double)s.tokens_out / s.decode_s : NAN, 3);
    struct number mean = number_watts(p.power_mean_w);
    char *name = category ? text_clean(category, v->style) : jl_strdup("all");
    snprintf(ok, sizeof ok, "%zu of %zu", s.ok, s.requests);
    const char *const cells[] = {name ? name : "", ok, in.text, out.text, time.text, net.text, per.text, speed.text, mean.text};
    grid_add(g, tone, cells);
    free(name);
}

static bool first_of_category(const struct run *r, size_t i)
{
    if (!r->requests[i].category || r->requests[i].warmup)
        return false;
    for (size_t k = 0; k < i; k++)
        if (!r->requests[k].warmup && r->requests[k].category && !strcmp(r->requests[k].category, r->requests[i].category))
            return false;
    return true;
}

static void sums(const struct view *v)
{
    const struct grid_column columns[] = {{"sums", false, 0},
                                          {"succeeded", true, 4},
                                          {"in", true, 3},
                                          {"out", true, 3},
                                          {"time", true, 0},
                                          {view_net_title(v), true, 0},
                                          {"per output token", true, 1},
                                          {"decode tok/s", true, 2},
                                          {"mean W", true, 5}};
    struct grid g;
    grid_init(&g, columns, JL_COUNT(columns));
    for (size_t i = 0; i < v->r->n_requests; i++)
        if (first_of_category(v->r, i))
            sum_row(&g, v, v->r->requests[i].category, TONE_PLAIN);
    sum_row(&g, v, NULL, TONE_STRONG);
    jl_buf_str(v->out, "\n");
    grid_write(&g, v->out, v->style);
}

/* Text with its own line breaks. */
static void lines(const struct view *v, const char *label, const char *text)
{
    for (;; label = "") {
        size_t n = strcspn(text, "\n");
        char *line = jl_strf("%.*s", (int)n, text);
        text_item(v->out, v->style, label, NULL, line, TONE_PLAIN);
        free(line);
        if (!text[n])
            return;
        text += n + 1;
    }
}

/* What was asked and answered, in full; nothing when the record is private. */
static void conversation(const struct view *v)
{
    if (v->q && v->q->prompt)
        lines(v, "prompt", v->q->prompt);
    if (v->q && v->q->answer)
        lines(v, "answer", v->q->answer);
}

void report_run(struct jl_buf *out, const struct run *r, const struct report_style *style)
{
    struct view v;
    if (r->n_requests > 1) {
        report_table(out, r, style);
        return;
    }
    view_init(&v, out, r, NULL, style);
    heading(&v);
    conversation(&v);
    jl_buf_str(out, "\n");
    report_block(out, r, NULL, style);
}

#define SHOWN_MAX 24 /* requests of a plan that are shown one by one */

/* Cells beside each other say what hundreds of requests below each other do not. */
static void plan_table(const struct view *v)
{
    if (v->r->n_requests <= SHOWN_MAX)
        windows(v);
    cells_table(v);
    jl_buf_str(v->out, "\n");
    if (v->sums.ok) {
        metrics_energy(v);
        metrics_cpu_time(v);
        metrics_money(v);
    }
    metrics_source(v);
    char *text = jl_strf("joulet compare %s   joulet runs export %s --format csv", v->r->id, v->r->id);
    text_item(v->out, v->style, "more", NULL, text ? text : "", TONE_FAINT);
    free(text);
}

void report_table(struct jl_buf *out, const struct run *r, const struct report_style *style)
{
    struct view v;
    view_init(&v, out, r, NULL, style);
    heading(&v);
    if (r->n_cells) {
        plan_table(&v);
        return;
    }
    windows(&v);
    if (r->n_requests)
        sums(&v);
    jl_buf_str(out, "\n");
    if (v.sums.ok) {
        metrics_energy(&v);
        metrics_tokens(&v);
        metrics_power(&v);
        metrics_cpu_time(&v);
        metrics_money(&v);
    }
    metrics_source(&v);
}
