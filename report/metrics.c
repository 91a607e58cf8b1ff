/* metrics.c - the lines below a table: energy, tokens, power, and where it all comes from (docs/method.md 9). */
#include "report/estimate.h"
#include "report/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 8192
#define FAILURES_MAX   5
#define PLACES_MAX     3

static void pad(struct number *n, int width)
{
    while (text_width(n->text) < width && strlen(n->text) + 1 < sizeof n->text)
        strcat(n->text, " ");
}

/* What the engine draws is drawn on another machine, and nobody there tells it. */
static bool is_elsewhere(const struct run *r)
{
    const char *local = run_pairs_get(&r->engine, "local");
    return local && !strcmp(local, "false") && !run_pairs_get(&r->engine, "measured_at");
}

/* The figures that are read first say themselves what they are. */
static struct number marked(const struct view *v, struct number n)
{
    return v->estimate && strcmp(n.text, "-") ? number_f("%s estimated", n.text) : n;
}

static void line_init(struct jl_buf *b)
{
    jl_buf_init(b, LINE_MAX_BYTES);
    jl_buf_str(b, "");
}

/* ---- energy ------------------------------------------------------------------------------------------------------ */

static void net_line(const struct view *v, const struct number *net)
{
    struct jl_buf b;
    line_init(&b);
    if (isfinite(v->whole.net.j)) {
        words_idle(&b, v->r, v->style);
        char *idle = jl_buf_take(&b);
        jl_buf_printf(&b, "above %s", idle && *idle ? idle : "the idle level");
        free(idle);
    } else if (v->whole.e.flags & JOULET_FLAG_UNRESOLVED) {
        jl_buf_str(&b, "too short for the sensor: bounds only");
    } else if (is_elsewhere(v->r)) {
        jl_buf_str(&b, "not known: the idle level of another machine is not seen here");
    } else {
        jl_buf_str(&b, "not known without an idle level");
    }
    text_item(v->out, v->style, "net", net->text, b.data, TONE_PLAIN);
    jl_buf_release(&b);
}

static void gross_line(const struct view *v, const struct number *gross)
{
    struct jl_buf b;
    const struct joulet_energy *e = &v->whole.e;
    line_init(&b);
    jl_buf_printf(&b, "idle level included, in %s", number_s(v->whole.seconds, v->style).text);
    if (!v->whole.gross.estimate && e->provenance != JOULET_ESTIMATED && isfinite(e->min_j) && isfinite(e->max_j))
        jl_buf_printf(&b, "; surely between %s and %s J", number_digits(e->min_j, 3).text, number_digits(e->max_j, 3).text);
    text_item(v->out, v->style, "gross", gross->text, b.data, TONE_PLAIN);
    jl_buf_release(&b);
}

static void tail_line(const struct view *v, int width)
{
    double tail_j = v->q ? v->q->tail_j : v->r->energy.total.tail_j, settle_s = v->q ? v->q->settle_s : NAN;
    struct number n;
    struct jl_buf b;
    if (!isfinite(tail_j))
        return;
    line_init(&b);
    jl_buf_str(&b, "above the idle level after the end");
    if (isfinite(settle_s))
        jl_buf_printf(&b, ", settled after %s", number_s(settle_s, v->style).text);
    jl_buf_str(&b, "; not in the net figure");
    n = number_f("%s%s%s J", v->estimate ? text_about(v->style) : "", v->estimate ? " " : "", number_digits(tail_j, 2).text);
    pad(&n, width);
    text_item(v->out, v->style, "tail", n.text, b.data, TONE_PLAIN);
    jl_buf_release(&b);
}

void metrics_energy(const struct view *v)
{
    struct number net = marked(v, part_net(&v->whole, v->style)), gross = marked(v, part_gross(&v->whole, v->style));
    int width = text_width(net.text) > text_width(gross.text) ? text_width(net.text) : text_width(gross.text);
    pad(&net, width);
    pad(&gross, width);
    net_line(v, &net);
    gross_line(v, &gross);
    tail_line(v, width);
    metrics_keep(v);
}

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

/* Speculative decoding: of the view's one request, else of the whole run. */
static void drafts(const struct view *v, struct jl_buf *b)
{
    int64_t proposed = v->q ? v->q->draft_tokens : -1, taken = v->q ? v->q->draft_accepted : -1;
    const char *all = run_pairs_get(&v->r->engine, "draft_tokens"), *over = run_pairs_get(&v->r->engine, "draft_accepted");
    if (!v->q && !(all && over && jl_parse_i64(all, &proposed) && jl_parse_i64(over, &taken)))
        return;
    if (proposed > 0 && taken >= 0)
        jl_buf_printf(b, "; %s of %s drafted tokens taken over", number_count(taken).text, number_count(proposed).text);
}

static void tokens_line(const struct view *v)
{
    struct jl_buf b;
    const struct run_sums *s = &v->sums;
    line_init(&b);
    jl_buf_printf(&b, "%s in", number_count(s->tokens_in).text);
    if (s->tokens_cached > 0)
        jl_buf_printf(&b, " (%s of them from a cache)", number_count(s->tokens_cached).text);
    jl_buf_printf(&b, ", %s out", number_count(s->tokens_out).text);
    if (v->q && v->q->tokens.reasoning > 0)
        jl_buf_printf(&b, " (%s of them reasoning)", number_count(v->q->tokens.reasoning).text);
    if (v->q && v->q->finish)
        jl_buf_printf(&b, "; ended by: %s", v->q->finish);
    if (!v->q)
        jl_buf_printf(&b, " in %zu request%s", s->ok, s->ok == 1 ? "" : "s");
    drafts(v, &b);
    text_item(v->out, v->style, "tokens", NULL, b.data, TONE_PLAIN);
    jl_buf_release(&b);
}

/* Energy of a phase per token of its kind. */
static struct number per_token(const struct view *v, const char *phase, int64_t tokens)
{
    const struct part *p = view_phase(v, phase);
    if (!p || tokens <= 0 || (p->e.flags & JOULET_FLAG_UNRESOLVED && p->n == 1))
        return (struct number){"-"};
    return figure_scaled(&p->net, 1 / (double)tokens, "J", v->style);
}

static void per_token_lines(const struct view *v)
{
    int64_t in = v->sums.tokens_in, out = v->sums.tokens_out;
    double scale = out > 0 ? 1 / (double)out : NAN;
    struct {
        struct number figure;
        const char *text;
    } lines[] = {
        {figure_scaled(&v->whole.net, scale, "J", v->style), "for each output token, prompt included"},
        {per_token(v, "prefill", in), "prefill, for each prompt token (in)"},
        {per_token(v, "decode", out), "decode, for each output token (out)"},
        {figure_scaled(&v->whole.net, scale * 1000 / 3600, "Wh", v->style), "for 1000 output tokens"},
    };
    int width = 0;
    for (size_t i = 0; i < JL_COUNT(lines); i++)
        width = text_width(lines[i].figure.text) > width ? text_width(lines[i].figure.text) : width;
    for (size_t i = 0; i < JL_COUNT(lines); i++) {
        pad(&lines[i].figure, width);
        text_item(v->out, v->style, i ? "" : "per token", lines[i].figure.text, lines[i].text, TONE_PLAIN);
    }
}

/* The interval above is that of these requests; how much others like them may differ is another question (9). */
static void spread_line(const struct view *v)
{
    struct figure f = v->whole.net;
    f.pm = view_per_token_pm(v) * (double)v->sums.tokens_out;
    if (v->q || v->estimate || !isfinite(f.pm) || v->sums.tokens_out <= 0)
        return;
    struct number n =
        number_f("%zu other requests like these would need %s%s for each output token", v->sums.ok,
                 v->estimate ? text_about(v->style) : "", figure_scaled(&f, 1 / (double)v->sums.tokens_out, "J", v->style).text);
    text_item(v->out, v->style, "", NULL, n.text, TONE_FAINT);
}

static double rate(double tokens, double seconds)
{
    return tokens >= 0 && seconds > 0 ? tokens / seconds : NAN;
}

static void speed_lines(const struct view *v)
{
    struct jl_buf b;
    const struct run_sums *s = &v->sums;
    double computed = s->tokens_in < 0 ? -1 : (double)(s->tokens_in - (s->tokens_cached > 0 ? s->tokens_cached : 0));
    double prefill_s = v->q && !isnan(v->q->server_prompt_s) ? v->q->server_prompt_s : s->prefill_s;
    double decode_s = v->q && !isnan(v->q->server_decode_s) ? v->q->server_decode_s : s->decode_s;
    const char *median = v->q ? "" : " (median)";
    line_init(&b);
    jl_buf_printf(&b, "prefill %s tokens/s, decode %s tokens/s; first token after %s%s",
                  number_digits(rate(computed, prefill_s), 3).text, number_digits(rate((double)s->tokens_out, decode_s), 3).text,
                  number_s(s->ttft_p50_s, v->style).text, median);
    text_item(v->out, v->style, "speed", NULL, b.data, TONE_PLAIN);
    jl_buf_clear(&b);
    jl_buf_printf(&b, "%s for each output token; between two tokens p50 %s, p95 %s, p99 %s%s",
                  number_s(s->tpot_mean_s, v->style).text, number_s(s->itl_p50_s, v->style).text,
                  number_s(s->itl_p95_s, v->style).text, number_s(s->itl_p99_s, v->style).text, median);
    text_item(v->out, v->style, "latency", NULL, b.data, TONE_PLAIN);
    jl_buf_release(&b);
}

void metrics_tokens(const struct view *v)
{
    tokens_line(v);
    per_token_lines(v);
    spread_line(v);
    speed_lines(v);
}

/* ---- power ----------------------------------------------------------------------------------------------------- */

void metrics_power(const struct view *v)
{
    struct jl_buf b;
    const struct part *p = &v->whole;
    if (is_elsewhere(v->r)) /* joules of tokens over seconds of waiting are no power */
        return;
    double mean_w = isnan(p->power_mean_w) ? v->sums.power_mean_w : p->power_mean_w;
    line_init(&b);
    jl_buf_printf(&b, "mean %s, peak %s", number_w(mean_w).text, number_w(p->power_max_w).text);
    if (p->updates >= 0)
        jl_buf_printf(&b, "; %s %s updates", number_count(p->updates).text, v->estimate && !v->mixed ? "load" : "sensor");
    text_item(v->out, v->style, "power", NULL, b.data, TONE_PLAIN);
    jl_buf_release(&b);
}

/* ---- source ------------------------------------------------------------------------------------------------------ */

/* Where there is no figure nothing can be missing in it. */
static uint32_t flags_of(const struct joulet_energy *e)
{
    return isnan(e->gross_j) ? e->flags & ~(uint32_t)JOULET_FLAG_PARTIAL : e->flags;
}

/* Names of the phases that have the flag: "prefill, decode". */
static void phases_with(struct jl_buf *b, const struct view *v, uint32_t bit)
{
    const char *comma = "";
    for (size_t i = 0; i < v->n_phases; i++)
        if (flags_of(&v->phases[i].e) & bit) {
            jl_buf_printf(b, "%s%s", comma, v->phases[i].name);
            comma = ", ";
        }
}

/* The same over many requests: "short 1 prefill, short 1 decode and 3 more". */
static void windows_with(struct jl_buf *b, const struct view *v, uint32_t bit)
{
    size_t n = 0;
    for (size_t i = 0; i < v->r->n_requests; i++) {
        const struct run_request *q = &v->r->requests[i];
        char *name = counted(q) ? view_prompt_name(v, q) : NULL;
        for (size_t k = 0; name && k < q->n_windows; k++)
            if (flags_of(&q->windows[k].energy.total) & bit && ++n <= PLACES_MAX)
                jl_buf_printf(b, "%s%s %s", n > 1 ? ", " : "", name, q->windows[k].name);
        free(name);
    }
    if (n > PLACES_MAX)
        jl_buf_printf(b, " and %zu more", n - PLACES_MAX);
    if (n == 0)
        phases_with(b, v, bit);
}

static void flag_lines(const struct view *v)
{
    uint32_t whole = flags_of(&v->whole.e), all = whole;
    for (size_t i = 0; i < v->n_phases; i++)
        all |= flags_of(&v->phases[i].e);
    for (unsigned k = 0; k < 32; k++) {
        uint32_t bit = 1u << k;
        const char *name = joulet_flag_name(bit);
        struct jl_buf where, b;
        if (!(all & bit) || !name)
            continue;
        line_init(&where);
        line_init(&b);
        if (!(whole & bit) || bit & (JOULET_FLAG_UNRESOLVED | JOULET_FLAG_MISMATCH | JOULET_FLAG_JOINED))
            (v->q ? phases_with : windows_with)(&where, v, bit);
        jl_buf_printf(&b, "%s%s%s%s: %s", name, where.len ? " (" : "", where.data, where.len ? ")" : "", words_flag(bit));
        text_item(v->out, v->style, "flag", NULL, b.data, TONE_WARN);
        jl_buf_release(&where);
        jl_buf_release(&b);
    }
}

/* Only their names: the block says what they mean. */
static void flag_names(const struct view *v)
{
    struct jl_buf b;
    line_init(&b);
    for (unsigned k = 0; k < 32; k++)
        if (flags_of(&v->whole.e) & 1u << k && joulet_flag_name(1u << k))
            jl_buf_printf(&b, "%s%s", b.len ? ", " : "", joulet_flag_name(1u << k));
    if (b.len)
        text_item(v->out, v->style, "flags", NULL, b.data, TONE_FAINT);
    jl_buf_release(&b);
}

void metrics_brief(const struct view *v)
{
    struct jl_buf b;
    const struct run_sums *s = &v->sums;
    double decode_s = v->q && !isnan(v->q->server_decode_s) ? v->q->server_decode_s : s->decode_s;
    line_init(&b);
    jl_buf_printf(&b, "%s in, %s out at %s tokens/s, the first after %s; ", number_count(s->tokens_in).text,
                  number_count(s->tokens_out).text, number_digits(rate((double)s->tokens_out, decode_s), 3).text,
                  number_s(s->ttft_p50_s, v->style).text);
    jl_buf_printf(&b, "%s for each output token",
                  figure_scaled(&v->whole.net, s->tokens_out > 0 ? 1 / (double)s->tokens_out : NAN, "J", v->style).text);
    text_item(v->out, v->style, "tokens", NULL, b.data, TONE_PLAIN);
    jl_buf_release(&b);
    flag_names(v);
}

static void left_out_line(const struct view *v)
{
    struct jl_buf b;
    size_t warmups = 0;
    line_init(&b);
    for (size_t i = 0; i < v->r->n_requests; i++)
        warmups += v->r->requests[i].warmup;
    if (v->sums.failed)
        jl_buf_printf(&b, "%zu of %zu requests failed and %s not in the sums", v->sums.failed, v->sums.requests,
                      v->sums.failed == 1 ? "is" : "are");
    if (warmups)
        jl_buf_printf(&b, "%s%zu warm-up request%s %s left out", b.len ? "; " : "", warmups, warmups == 1 ? "" : "s",
                      warmups == 1 ? "is" : "are");
    if (b.len)
        text_item(v->out, v->style, "note", NULL, b.data, TONE_PLAIN);
    jl_buf_release(&b);
}

/* Why requests failed: the first few. */
static void failure_lines(const struct view *v)
{
    size_t said = 0;
    for (size_t i = 0; i < v->r->n_requests && said < FAILURES_MAX; i++) {
        const struct run_request *q = &v->r->requests[i];
        if (q->outcome == RUN_OK || q->warmup || !q->error)
            continue;
        char *text = jl_strf("request %zu %s: %s", i + 1, run_outcome_name(q->outcome), q->error);
        text_item(v->out, v->style, "note", NULL, text ? text : q->error, TONE_WARN);
        free(text);
        said++;
    }
}

/* The channel of an estimate names the set. */
static const char *estimated_from(const struct run *r)
{
    for (size_t i = 0; i < r->n_channels; i++) {
        if (!strcmp(r->channels[i].sensor, ESTIMATE_BY_SIZE))
            return "the size of the model alone";
        if (!strcmp(r->channels[i].sensor, ESTIMATE_BY_NOTHING))
            return "nothing but its tokens";
    }
    return "what is published for the model";
}

static void source_line(const struct view *v)
{
    struct jl_buf b, sensors;
    bool known = isfinite(v->whole.gross.j) || isfinite(v->whole.net.j);
    line_init(&b);
    line_init(&sensors);
    bool nothing = !known && !v->q && !v->r->argv && !v->sums.ok; /* then no sensor is the reason */
    bool elsewhere = is_elsewhere(v->r);
    const char *told_by = run_pairs_get(&v->r->engine, "measured_at");
    if (!nothing && !elsewhere && !told_by)
        words_sensors(&sensors, v->r);
    if (v->mixed && v->whole.e.provenance == JOULET_ESTIMATED)
        jl_buf_str(&b, "partly ");
    if (known && elsewhere)
        jl_buf_printf(&b, "estimated from %s; no sensor of this machine sees an engine on another one", estimated_from(v->r));
    else if (known && told_by)
        jl_buf_printf(&b, "%s there, and shared out between its requests, by the joulet server at %s",
                      joulet_provenance_name(v->whole.e.provenance), told_by);
    else if (known)
        jl_buf_str(&b, words_provenance(v->whole.e.provenance));
    else if (nothing)
        jl_buf_str(&b, "no request succeeded, so there is nothing to sum");
    else if (elsewhere)
        jl_buf_printf(
            &b, "no sensor of this machine sees an engine on another one; `joulet estimate --run %s` tells what is published",
            v->r->id);
    else if (told_by)
        jl_buf_printf(&b, "the joulet server at %s told no figure", told_by);
    else
        jl_buf_str(&b, "no sensor gave a figure; `joulet doctor` tells why");
    jl_buf_printf(&b, "%s%s", sensors.len ? ": " : "", sensors.data);
    if (v->q && v->q->phase_source)
        jl_buf_printf(&b, "; the end of prefill is known from %s", v->q->phase_source);
    text_item(v->out, v->style, "source", NULL, b.data, view_tone(v) == TONE_WARN ? TONE_WARN : TONE_PLAIN);
    jl_buf_release(&b);
    jl_buf_release(&sensors);
}

/* What the total covers and lacks, as the run found its machine; an engine elsewhere is on another one. */
static void total_line(const struct view *v)
{
    const char *total = run_pairs_get(&v->r->machine, "total");
    if (total && !is_elsewhere(v->r) && (isfinite(v->whole.gross.j) || isfinite(v->whole.net.j)))
        text_item(v->out, v->style, "total", NULL, total, TONE_PLAIN);
}

void metrics_source(const struct view *v)
{
    source_line(v);
    total_line(v);
    flag_lines(v);
    if (!v->q && v->r->n_requests)
        left_out_line(v);
    if (!v->q)
        failure_lines(v);
    for (size_t i = 0; i < v->r->n_notes; i++)
        text_item(v->out, v->style, "note", NULL, v->r->notes[i], TONE_PLAIN);
}
