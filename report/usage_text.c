/* usage_text.c - sums of what passed the proxy as a table, as JSON and as CSV. */
#include "report/internal.h"
#include "report/put.h"
#include "report/usage.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LINES 8

/* ---- figures ------------------------------------------------------------------------------------------------------------ */

static void metrics_of(const struct usage_sums *s, struct joulet_metrics *m)
{
    const struct joulet_metrics_in in = {.energy_j = s->energy.gross_j,
                                         .prefill_j = s->without_phases ? NAN : s->prefill.gross_j,
                                         .decode_j = s->without_phases ? NAN : s->decode.gross_j,
                                         .tokens_in = (double)s->tokens_in,
                                         .tokens_out = (double)s->tokens_out,
                                         .wall_s = s->seconds,
                                         .grid_g_per_kwh = NAN,
                                         .pue = NAN,
                                         .price_per_kwh = NAN};
    joulet_metrics_of(&in, m);
}

static struct number energy(const struct joulet_energy *e, const struct report_style *style)
{
    bool large = fabs(e->gross_j) >= 1e6;
    if (isnan(e->gross_j))
        return number_f("-");
    return number_pm(e->gross_j * (large ? 1e-6 : 1), e->gross_pm_j * (large ? 1e-6 : 1), large ? "MJ" : "J", style);
}

static struct number grams(double g, const struct report_style *style)
{
    const char *unit;
    double scale = unit_co2e(g, style, &unit);
    return isnan(g) ? number_f("-") : number_f("%s %s", number_digits(g * scale, 3).text, unit);
}

static struct number joules(double j)
{
    return fabs(j) >= 1e6 ? number_f("%s MJ", number_digits(j * 1e-6, 4).text) : number_f("%s J", number_digits(j, 4).text);
}

/* ---- the table ---------------------------------------------------------------------------------------------------------- */

static void name_row(const struct usage *u, const struct usage_row *r, struct jl_buf *out)
{
    jl_buf_init(out, 4096);
    jl_buf_str(out, u->w.n_by ? "" : "all");
    for (size_t i = 0; i < u->w.n_by; i++)
        jl_buf_printf(out, "%s%s", i ? ", " : "", u->w.by[i] == USAGE_MODEL ? report_model_name(r->names[i]) : r->names[i]);
}

static void add_cells(struct grid *g, const char *name, const struct usage_sums *s, enum tone tone,
                      const struct report_style *style)
{
    struct joulet_metrics m;
    metrics_of(s, &m);
    char *clean = text_clean(name, style);
    struct number requests = number_count(s->requests), failed = number_count(s->failed), in = number_count(s->tokens_in),
                  out = number_count(s->tokens_out), e = energy(&s->energy, style), prefill = energy(&s->prefill, style),
                  decode = energy(&s->decode, style), per_token = number_digits(m.j_per_output_token, 3),
                  per_1000 = number_digits(m.wh_per_1000_output_tokens, 3), co2 = grams(s->emissions_g, style),
                  cost = number_digits(s->cost, 3);
    const char *const cells[] = {clean ? clean : "",
                                 requests.text,
                                 s->failed ? failed.text : "",
                                 in.text,
                                 out.text,
                                 e.text,
                                 prefill.text,
                                 decode.text,
                                 per_token.text,
                                 per_1000.text,
                                 co2.text,
                                 isnan(s->cost) ? "" : cost.text};
    grid_add(g, tone, cells);
    free(clean);
}

static void table(struct jl_buf *out, const struct usage *u, const struct report_style *style)
{
    const char *currency = run_pairs_get(&u->w.factors->factors, "currency");
    struct number cost = number_f("cost%s%.20s", currency && *currency ? ", " : "", currency ? currency : "");
    struct jl_buf title;
    jl_buf_init(&title, 256);
    for (size_t i = 0; i < u->w.n_by; i++)
        jl_buf_printf(&title, "%s%s", i ? ", " : "", usage_by_word(u->w.by[i]));
    const struct grid_column columns[] = {{title.data ? title.data : "", false, 0},
                                          {"requests", true, 0},
                                          {"failed", true, 3},
                                          {"tokens in", true, 4},
                                          {"tokens out", true, 0},
                                          {"energy", true, 0},
                                          {"prefill", true, 6},
                                          {"decode", true, 6},
                                          {"J/token out", true, 1},
                                          {"Wh/1000 out", true, 5},
                                          {"CO2e", true, 2},
                                          {cost.text, true, 2}};
    struct grid g;
    grid_init(&g, columns, JL_COUNT(columns));
    for (size_t i = 0; i < u->n; i++) {
        struct jl_buf name;
        name_row(u, &u->rows[i], &name);
        add_cells(&g, name.data ? name.data : "", &u->rows[i].s, TONE_PLAIN, style);
        jl_buf_release(&name);
    }
    if (u->n > 1)
        add_cells(&g, "all", &u->total, TONE_STRONG, style);
    grid_write(&g, out, style);
    jl_buf_release(&title);
}

/* ---- what is no request's ------------------------------------------------------------------------------------------------ */

struct line {
    const char *key, *name, *about;
    struct usage_line l;
};

static size_t lines_of(const struct usage *u, struct line out[LINES])
{
    const struct line all[LINES] = {
        {"listed", "requests above", "", u->listed},
        {"unlisted", "other requests", "under way, before or after this time, or not stored", u->unlisted},
        {"vacant", "idle", "nobody asked for anything", u->vacant},
        {"keep_alive", "keep-alive", "what loaded models cost while nobody asked", u->keep_alive},
        {"idle_device", "idle devices", "no upstream computes on them", u->idle_device},
        {"other", "other programs", "above the idle level while no request was there", u->other},
        {"residual", "carried", "not yet shared out", u->residual},
        {"measured", "measured", "", u->measured},
    };
    memcpy(out, all, sizeof all);
    return LINES;
}

static void lines(struct jl_buf *out, const struct usage *u, const struct report_style *style)
{
    static const struct grid_column columns[] = {{"", false, 0},    {"energy", true, 0}, {"share", true, 1},
                                                 {"CO2e", true, 2}, {"cost", true, 2},   {"", false, 3}};
    struct line all[LINES];
    struct grid g;
    size_t n = lines_of(u, all);
    grid_init(&g, columns, JL_COUNT(columns));
    for (size_t i = 0; i < n; i++) {
        const struct usage_line *l = &all[i].l;
        bool last = i + 1 == n;
        if (!last && i && fabs(l->j) < 5e-4 * fabs(u->measured.j)) /* nothing to see */
            continue;
        struct number j = joules(l->j), share = number_f("%.1f %%", 100 * l->j / u->measured.j),
                      co2 = grams(l->emissions_g, style), cost = number_digits(l->cost, 3);
        const char *const cells[] = {
            all[i].name, j.text, u->measured.j > 0 ? share.text : "", co2.text, isnan(l->cost) ? "" : cost.text, all[i].about};
        grid_add(&g, last ? TONE_STRONG : TONE_PLAIN, cells);
    }
    jl_buf_str(out, "\n");
    grid_write(&g, out, style);
}

static void note(struct jl_buf *out, const struct report_style *style, int64_t n, const char *one, const char *many)
{
    if (n > 0) {
        char *sentence = n == 1 ? jl_strdup(one) : jl_strf("%" PRId64 " %s", n, many);
        text_item(out, style, "note", NULL, sentence ? sentence : "", TONE_FAINT);
        free(sentence);
    }
}

static void remark(struct jl_buf *out, const struct report_style *style, const char *amount, const char *rest, enum tone tone)
{
    char *sentence = jl_strf("%s %s", amount, rest);
    text_item(out, style, "note", NULL, sentence ? sentence : "", tone);
    free(sentence);
}

static void notes(struct jl_buf *out, const struct usage *u, const struct report_style *style)
{
    const struct usage_sums *s = &u->total;
    const char *source = run_pairs_get(&u->w.factors->factors, "grid_source"),
               *g = run_pairs_get(&u->w.factors->factors, "grid_g_per_kwh");
    jl_buf_str(out, "\n");
    note(out, style, s->without_energy, "one request has no energy: it was spent elsewhere, or nothing was measured",
         "requests have no energy: it was spent elsewhere, or nothing was measured");
    note(out, style, s->without_tokens, "of one request no tokens are known", "requests told no tokens");
    note(out, style, s->counted, "the tokens of one request were counted from the pieces of its answer",
         "requests have tokens that were counted from the pieces of their answers");
    note(out, style, s->provisional, "one request has only its provisional figure",
         "requests have only their provisional figures");
    if (u->measured_known && u->beyond.j > 5e-4 * fabs(s->energy.gross_j))
        remark(out, style, joules(u->beyond.j).text,
               "of the requests above are in no account: provisional, or drawn outside of the time that is looked at",
               TONE_FAINT);
    if (!isnan(s->load.gross_j))
        remark(out, style, joules(s->load.gross_j).text, "of the requests above loaded models, asked for by itself", TONE_FAINT);
    note(out, style, s->without_phases, "of one request it is not known how much its prompt and its answer took",
         "requests do not tell how much their prompts and their answers took");
    if (u->shared_s >= 1)
        remark(out, style, number_s(u->shared_s, style).text,
               "in which another joulet serve metered the same device: both have its energy", TONE_WARN);
    if (s->energy.provenance >= JOULET_ESTIMATED && !isnan(s->energy.gross_j))
        text_item(out, style, "source", NULL, words_provenance(s->energy.provenance), TONE_WARN);
    if (u->unmeasured_s >= 1)
        text_item(out, style, "note", NULL,
                  number_f("a sensor was silent for %s in all", number_s(u->unmeasured_s, style).text).text, TONE_WARN);
    if (!isnan(s->emissions_g) && source) {
        char *sentence = jl_strf("%s%s%s%s", g ? "at " : "", g ? g : "", g ? " g/kWh, " : "", source);
        text_item(out, style, "carbon", NULL, sentence ? sentence : "", TONE_FAINT);
        free(sentence);
    }
}

void usage_text(struct jl_buf *out, const struct usage *u, const struct report_style *style)
{
    if (!u->total.requests) {
        jl_buf_str(out, "No request of this time is stored: those that pass `joulet serve` are.\n");
        if (u->measured_known)
            lines(out, u, style);
        return;
    }
    table(out, u, style);
    if (u->measured_known)
        lines(out, u, style);
    notes(out, u, style);
}

/* ---- JSON and CSV --------------------------------------------------------------------------------------------------------- */

static void json_energy(struct jl_buf *out, const char *key, const struct joulet_energy *e)
{
    put_begin(out, key, '{');
    put_real(out, "net_j", e->net_j);
    put_real(out, "net_pm_j", e->net_pm_j);
    put_real(out, "gross_j", e->gross_j);
    put_real(out, "gross_pm_j", e->gross_pm_j);
    put_text(out, "provenance", isnan(e->gross_j) ? NULL : joulet_provenance_name(e->provenance));
    put_end(out, '}');
}

static void json_sums(struct jl_buf *out, const struct usage_sums *s)
{
    struct joulet_metrics m;
    metrics_of(s, &m);
    jl_buf_printf(out,
                  "\"requests\":%" PRId64 ",\"failed\":%" PRId64 ",\"provisional\":%" PRId64 ",\"without_energy\":%" PRId64
                  ",\"without_tokens\":%" PRId64 ",\"counted\":%" PRId64 ",\"tokens\":{\"prompt\":%" PRId64 ",\"cached\":%" PRId64
                  ",\"generated\":%" PRId64 "},",
                  s->requests, s->failed, s->provisional, s->without_energy, s->without_tokens, s->counted, s->tokens_in,
                  s->tokens_cached, s->tokens_out);
    put_real(out, "seconds", s->seconds);
    json_energy(out, "energy", &s->energy);
    jl_buf_printf(out, ",\"without_phases\":%" PRId64 ",\"phases\":{", s->without_phases);
    json_energy(out, "load", &s->load);
    json_energy(out, "prefill", &s->prefill);
    json_energy(out, "decode", &s->decode);
    jl_buf_str(out, "},");
    put_real(out, "j_per_output_token", m.j_per_output_token);
    put_real(out, "wh_per_1000_output_tokens", m.wh_per_1000_output_tokens);
    put_real(out, "emissions_g", s->emissions_g);
    put_real(out, "cost", s->cost);
}

static void json_when(struct jl_buf *out, const char *key, int64_t wall_ns)
{
    char time[40];
    jl_format_time(time, sizeof time, wall_ns);
    if (wall_ns)
        jl_buf_printf(out, "\"%s\":\"%s\",", key, time);
    else
        jl_buf_printf(out, "\"%s\":null,", key);
}

void usage_json(struct jl_buf *out, const struct usage *u)
{
    struct line all[LINES];
    size_t n = lines_of(u, all);
    jl_buf_str(out, "{\"schema\":\"joulet.usage/1\",");
    json_when(out, "since", u->w.since_ns);
    json_when(out, "until", u->w.until_ns);
    jl_buf_str(out, "\"by\":[");
    for (size_t i = 0; i < u->w.n_by; i++)
        jl_buf_printf(out, "%s\"%s\"", i ? "," : "", usage_by_word(u->w.by[i]));
    jl_buf_str(out, "],\n\"rows\":[");
    for (size_t i = 0; i < u->n; i++) {
        jl_buf_str(out, i ? ",\n{" : "\n{");
        for (size_t k = 0; k < u->w.n_by; k++) {
            jl_buf_printf(out, "\"%s\":", usage_by_word(u->w.by[k]));
            put_value(out, u->rows[i].names[k]);
            jl_buf_str(out, ",");
        }
        json_sums(out, &u->rows[i].s);
        jl_buf_str(out, "}");
    }
    jl_buf_str(out, "],\n\"total\":{");
    json_sums(out, &u->total);
    jl_buf_str(out, "},\n\"accounts\":");
    if (!u->measured_known)
        jl_buf_str(out, "null");
    for (size_t i = 0; i < n && u->measured_known; i++) {
        jl_buf_printf(out, "%s\"%s\":{", i ? "," : "{", all[i].key);
        put_real(out, "gross_j", all[i].l.j);
        put_real(out, "emissions_g", all[i].l.emissions_g);
        put_real(out, "cost", all[i].l.cost);
        jl_buf_str(out, i + 1 < n ? "}" : "}}");
    }
    jl_buf_str(out, ",");
    put_real(out, "beyond_accounts_j", u->measured_known ? u->beyond.j : NAN);
    jl_buf_printf(out, ",\"unmeasured_s\":%.3f,\"metered_twice_s\":%.3f}\n", u->unmeasured_s, u->shared_s);
}

static void csv_text(struct jl_buf *out, const char *s)
{
    bool formula = *s && s[1] && strchr("=+-@", *s); /* of a client, for somebody's spreadsheet */
    if (!formula && s[strcspn(s, "\",\r\n")] == '\0') {
        jl_buf_str(out, s);
        return;
    }
    jl_buf_str(out, formula ? "\"'" : "\"");
    for (; *s; s++)
        jl_buf_add(out, *s == '"' ? "\"\"" : s, *s == '"' ? 2 : 1);
    jl_buf_str(out, "\"");
}

static void csv_real(struct jl_buf *out, double x)
{
    if (isfinite(x))
        jl_buf_printf(out, ",%.10g", x);
    else
        jl_buf_str(out, ",");
}

void usage_csv(struct jl_buf *out, const struct usage *u)
{
    for (size_t i = 0; i < u->w.n_by; i++)
        jl_buf_printf(out, "%s,", usage_by_word(u->w.by[i]));
    jl_buf_str(out,
               "requests,failed,tokens_in,tokens_cached,tokens_out,net_j,net_pm_j,gross_j,gross_pm_j,j_per_output_token,"
               "wh_per_1000_output_tokens,emissions_g,cost,without_energy,counted,load_gross_j,prefill_gross_j,decode_gross_j,"
               "without_phases\r\n");
    for (size_t i = 0; i < u->n; i++) {
        const struct usage_sums *s = &u->rows[i].s;
        struct joulet_metrics m;
        metrics_of(s, &m);
        for (size_t k = 0; k < u->w.n_by; k++) {
            csv_text(out, u->rows[i].names[k]);
            jl_buf_str(out, ",");
        }
        jl_buf_printf(out, "%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64, s->requests, s->failed, s->tokens_in,
                      s->tokens_cached, s->tokens_out);
        const double values[] = {s->energy.net_j,      s->energy.net_pm_j,          s->energy.gross_j, s->energy.gross_pm_j,
                                 m.j_per_output_token, m.wh_per_1000_output_tokens, s->emissions_g,    s->cost};
        for (size_t k = 0; k < JL_COUNT(values); k++)
            csv_real(out, values[k]);
        jl_buf_printf(out, ",%" PRId64 ",%" PRId64, s->without_energy, s->counted);
        csv_real(out, s->load.gross_j);
        csv_real(out, s->prefill.gross_j);
        csv_real(out, s->decode.gross_j);
        jl_buf_printf(out, ",%" PRId64 "\r\n", s->without_phases);
    }
}
