/* money.c - the lines of carbon, water and cost. Every figure stands beside the factors it was made with: value, place, year,
 * what is counted, source, PUE, and the age of a value that changes (docs/carbon.md). */
#include "report/carbon.h"
#include "report/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 8192

static const char *text_of(const struct view *v, const char *key)
{
    const char *text = run_pairs_get(&v->r->factors, key);
    return text && *text ? text : NULL;
}

/* " (a, b, c)" of the keys that the record has. */
static void add_words(struct jl_buf *b, const char *const *words, size_t n)
{
    const char *open = " (";
    for (size_t i = 0; i < n; i++)
        if (words[i]) {
            jl_buf_printf(b, "%s%s", open, words[i]);
            open = ", ";
        }
    if (open[0] == ',')
        jl_buf_str(b, ")");
}

static void add_pue(struct jl_buf *b, const struct view *v, const struct carbon_factors *f)
{
    const char *source = text_of(v, "pue_source");
    jl_buf_printf(b, ", PUE %s", number_plain(f->pue).text);
    if (source && f->pue != 1)
        jl_buf_printf(b, " (%s)", source);
}

/* "life cycle" and "direct" say what is counted, and need a word more to be understood. */
static const char *basis(const struct view *v)
{
    const char *text = text_of(v, "grid_basis");
    return !text ? NULL : !strcmp(text, "direct") ? "direct emissions" : !strcmp(text, "life cycle") ? text : NULL;
}

static void carbon_line(const struct view *v, const struct figure *f, const struct carbon_factors *k)
{
    struct jl_buf b;
    const char *place = text_of(v, "place"), *age = text_of(v, "grid_age_s"), *unit;
    const char *const words[] = {place, text_of(v, "grid_year"), basis(v), text_of(v, "grid_source")};
    double grams_per_j = k->grid_g_per_kwh * k->pue / 3.6e6, scale = unit_co2e(f->j * grams_per_j, v->style, &unit), age_s;
    if (isnan(k->grid_g_per_kwh) && !text_of(v, "grid_source"))
        return;
    jl_buf_init(&b, LINE_MAX_BYTES);
    if (isnan(k->grid_g_per_kwh))
        jl_buf_str(&b, "the emission factor is not known");
    else
        jl_buf_printf(&b, "%s %s g/kWh", text_of(v, "grid_series") ? "at a mean of" : "at", number_plain(k->grid_g_per_kwh).text);
    add_words(&b, words, JL_COUNT(words));
    if (!isnan(k->grid_g_per_kwh))
        add_pue(&b, v, k);
    if (age && jl_parse_double(age, &age_s))
        jl_buf_printf(&b, "; the last value was %s old", number_s(age_s, v->style).text);
    text_item(v->out, v->style, "carbon", figure_scaled(f, grams_per_j * scale, unit, v->style).text, b.data, TONE_PLAIN);
    jl_buf_release(&b);
}

static void embodied_line(const struct view *v, const struct carbon_factors *k, double seconds)
{
    const char *unit;
    double g = k->embodied_g_per_s * seconds, scale = unit_co2e(g, v->style, &unit);
    if (isnan(g))
        return;
    struct number text = number_f("%s of %s kg over %s years; not in the figure above", number_s(seconds, v->style).text,
                                  text_of(v, "embodied_kg"), text_of(v, "lifetime_years"));
    text_item(v->out, v->style, "embodied", number_f("%s %s", number_digits(g * scale, 3).text, unit).text, text.text,
              TONE_PLAIN);
}

static void water_line(const struct view *v, const struct figure *f, const struct carbon_factors *k)
{
    struct jl_buf b;
    double litres = f->j / 3.6e6 * k->wue_l_per_kwh;
    const char *source = text_of(v, "wue_source"), *unit = fabs(litres) >= 1      ? "L"
                                                           : fabs(litres) >= 1e-3 ? "mL"
                                                           : v->style->utf8       ? "\u00b5L"
                                                                                  : "uL";
    double scale = fabs(litres) >= 1 ? 1 : fabs(litres) >= 1e-3 ? 1e3 : 1e6;
    if (isnan(k->wue_l_per_kwh))
        return;
    jl_buf_init(&b, LINE_MAX_BYTES);
    jl_buf_printf(&b, "taken on the site, at %s L/kWh", number_plain(k->wue_l_per_kwh).text);
    add_words(&b, &source, 1);
    text_item(v->out, v->style, "water", figure_scaled(f, k->wue_l_per_kwh / 3.6e6 * scale, unit, v->style).text, b.data,
              TONE_PLAIN);
    jl_buf_release(&b);
}

/* ---- cost -------------------------------------------------------------------------------------------------------- */

/* Of the energy and of the machine, and of both for a million tokens. */
static void cost_lines(const struct view *v, const struct figure *f, const struct carbon_factors *k, double seconds)
{
    const char *given = text_of(v, "currency"), *currency = given && *given ? given : "units"; /* of whatever the price is in */
    const char *kind = text_of(v, "tariff") ? "a mean of " : "";
    struct carbon_amounts a;
    carbon_amounts_of(k, f->j, seconds, &a);
    if (!isnan(k->price_per_kwh)) {
        struct number at = number_f("at %s%s %s per kWh, PUE %s", kind, number_plain(k->price_per_kwh).text, currency,
                                    number_plain(k->pue).text);
        text_item(v->out, v->style, "cost", figure_scaled(f, k->pue * k->price_per_kwh / 3.6e6, currency, v->style).text, at.text,
                  TONE_PLAIN);
    }
    if (!isnan(a.device_cost)) {
        struct number at = number_f("the machine for %s, at %s %s an hour", number_s(seconds, v->style).text,
                                    number_plain(k->device_hour).text, currency);
        text_item(v->out, v->style, isnan(k->price_per_kwh) ? "cost" : "",
                  number_f("%s %s", number_digits(a.device_cost, 3).text, currency).text, at.text, TONE_PLAIN);
    }
    if (isnan(a.cost) || v->sums.tokens_out <= 0)
        return;
    struct number million = number_f("%s %s", number_digits(a.cost / (double)v->sums.tokens_out * 1e6, 3).text, currency);
    text_item(v->out, v->style, "", million.text, "for a million output tokens", TONE_PLAIN);
}

void metrics_money(const struct view *v)
{
    bool net = isfinite(v->whole.net.j);
    const struct figure *f = net ? &v->whole.net : &v->whole.gross;
    double seconds = isfinite(v->sums.wall_s) ? v->sums.wall_s : v->whole.seconds;
    struct carbon_factors k;
    carbon_factors_of(v->r, v->q, net, &k);
    carbon_line(v, f, &k);
    embodied_line(v, &k, seconds);
    water_line(v, f, &k);
    cost_lines(v, f, &k, seconds);
}

/* ---- places ------------------------------------------------------------------------------------------------------ */

void report_places(struct jl_buf *out, const struct carbon_place *p, size_t n, const struct report_style *style)
{
    static const struct grid_column columns[] = {{"place", false, 0}, {"name", false, 0}, {"kind", false, 3},
                                                 {"g/kWh", true, 0},  {"year", false, 1}, {"counts", false, 2},
                                                 {"PUE", true, 1},    {"L/kWh", true, 1}};
    struct grid g;
    if (!n) {
        jl_buf_str(out, "No place has all of these words: `joulet carbon list` shows every one.\n");
        return;
    }
    grid_init(&g, columns, JL_COUNT(columns));
    for (size_t i = 0; i < n; i++) {
        char *name = text_clean(p[i].name, style);
        struct number factor = number_plain(p[i].g_per_kwh), pue = number_plain(p[i].pue), wue = number_plain(p[i].wue_l_per_kwh);
        bool cloud = strchr(p[i].code, ':') != NULL;
        const char *const cells[] = {p[i].code,
                                     name ? name : "",
                                     p[i].kind,
                                     factor.text,
                                     p[i].year,
                                     p[i].basis,
                                     cloud ? pue.text : "",
                                     cloud ? wue.text : ""};
        grid_add(&g, TONE_PLAIN, cells);
        free(name);
    }
    grid_write(&g, out, style);
}

void report_place(struct jl_buf *out, const struct carbon_place *p, const struct report_style *style)
{
    char *title = jl_strf("%s, %s", p->code, p->name), *clean = title ? text_clean(title, style) : NULL;
    text_rule(out, style, clean ? clean : p->code, p->kind, TONE_PLAIN);
    bool known = !isnan(p->g_per_kwh);
    struct number g = known ? number_f("%s g/kWh", number_plain(p->g_per_kwh).text) : number_f("-");
    struct number of = !known                            ? number_f("not known%s%s", *p->year ? " for " : "", p->year)
                       : !strcmp(p->basis, "not stated") ? number_f("of %s", p->year)
                                                         : number_f("of %s, %s emissions", p->year, p->basis);
    text_item(out, style, "carbon", g.text, of.text, TONE_PLAIN);
    if (!isnan(p->pue))
        text_item(out, style, "PUE", number_plain(p->pue).text, number_f("of %s, published by the provider", p->pue_year).text,
                  TONE_PLAIN);
    if (!isnan(p->wue_l_per_kwh))
        text_item(out, style, "water", number_f("%s L/kWh", number_plain(p->wue_l_per_kwh).text).text,
                  number_f("of %s, published by the provider", p->wue_year).text, TONE_PLAIN);
    if (*p->source)
        text_item(out, style, "source", NULL, p->source, TONE_PLAIN);
    free(title);
    free(clean);
}
