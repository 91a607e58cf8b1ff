/* fit_text.c - a fit as text: the terms, what prompts and answers cost, where prefill overtakes decode, how well it fits. */
#include "report/fit.h"
#include "report/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct number derived(const struct fit *f, struct jl_derived d, double scale, const char *unit,
                             const struct report_style *style)
{
    struct figure g = {.j = d.value, .estimate = true};
    if (!f->estimated)
        return number_pm(d.value * scale, fit_pm(f, d) * scale, unit, style);
    fit_ends(f, d, &g.lo, &g.hi);
    return figure_scaled(&g, scale, unit, style);
}

/* Blanks before a unit that is none. */
static struct number without_unit(struct number n)
{
    size_t k = 0;
    for (size_t i = 0; n.text[i]; i++) {
        char next = n.text[i + 1];
        if (n.text[i] != ' ' || (next != ' ' && next != ')' && next))
            n.text[k++] = n.text[i];
    }
    n.text[k] = '\0';
    return n;
}

static void terms(struct jl_buf *out, const struct fit *f, const struct report_style *style)
{
    static const struct {
        const char *name, *what;
        double scale;
    } rows[] = {{"e0", "J per request", 1},
                {"e_in", "J per prompt token", 1},
                {"e_q", "J per million of prompt tokens squared", 1e6},
                {"e_out", "J per output token", 1},
                {"e_x", "J per million of output tokens times tokens before them", 1e6}};
    static const struct grid_column columns[] = {{"term", false, 0}, {"value", true, 0}, {"meaning", false, 1}};
    struct grid g;
    grid_init(&g, columns, JL_COUNT(columns));
    for (size_t i = 0; i < JL_TOKEN_TERMS; i++) {
        struct number value = without_unit(derived(f, fit_coefficient(f, i), rows[i].scale, "", style));
        const char *const cells[] = {rows[i].name, value.text, rows[i].what};
        grid_add(&g, TONE_PLAIN, cells);
    }
    grid_write(&g, out, style);
    jl_buf_str(out, "\n");
}

static void lengths(struct jl_buf *out, const struct fit *f, const struct report_style *style)
{
    static const struct grid_column columns[] = {
        {"prompt tokens", true, 0}, {"prefill", true, 0}, {"per prompt token", true, 1}, {"each output token there", true, 0}};
    double in[8];
    size_t n = fit_lengths_in(f, in);
    struct grid g;
    if (!n)
        return;
    grid_init(&g, columns, JL_COUNT(columns));
    for (size_t i = 0; i < n; i++) {
        struct jl_derived prefill = jl_token_prefill(&f->model, in[i]);
        struct number tokens = number_f("%.0f", in[i]), whole = derived(f, prefill, 1, "J", style);
        struct number each = derived(f, prefill, 1 / in[i], "J", style);
        struct number decode = derived(f, jl_token_decode(&f->model, in[i], 1), 1, "J", style);
        const char *const cells[] = {tokens.text, whole.text, each.text, decode.text};
        grid_add(&g, TONE_PLAIN, cells);
    }
    grid_write(&g, out, style);
    jl_buf_str(out, "\n");
}

static void crossovers(struct jl_buf *out, const struct fit *f, const struct report_style *style)
{
    double lengths_out[8];
    size_t n = fit_lengths_out(f, lengths_out);
    for (size_t i = 0; i < n; i++) {
        bool inside;
        struct jl_derived t = jl_token_crossover(&f->model, lengths_out[i], &inside);
        char *text = inside ? jl_strf("prefill overtakes an answer of %.0f tokens from a prompt of %s on", lengths_out[i],
                                      number_pm(t.value, 2 * t.u, "tokens", style).text)
                            : jl_strf("for an answer of %.0f tokens it is outside the measured range", lengths_out[i]);
        text_item(out, style, i ? "" : "crossover", NULL, text ? text : "", TONE_PLAIN);
        free(text);
    }
}

static void how_well(struct jl_buf *out, const struct fit *f, const struct report_style *style)
{
    const struct jl_token_model *m = &f->model;
    struct jl_buf b;
    jl_buf_init(&b, 4096);
    jl_buf_printf(&b, "requests scatter about it by %s %% (standard deviation); condition %s",
                  number_digits(100 * m->scatter, 2).text, number_digits(m->condition, 2).text);
    text_item(out, style, "fit", NULL, b.data, TONE_PLAIN);
    jl_buf_clear(&b);
    jl_buf_printf(&b, "prompts of %.0f to %.0f tokens, answers of %.0f to %.0f", m->t_in_min, m->t_in_max, m->t_out_min,
                  m->t_out_max);
    text_item(out, style, "range", NULL, b.data, TONE_PLAIN);
    const struct {
        size_t n;
        const char *what;
    } reasons[] = {{f->warmup, "warm-up"},
                   {f->failed, "failed"},
                   {f->cached, "with a prompt from a cache"},
                   {f->slowed, "throttled or at another clock"},
                   {f->unknown, "without a figure above 0"}};
    jl_buf_clear(&b);
    for (size_t i = 0; i < JL_COUNT(reasons); i++)
        if (reasons[i].n)
            jl_buf_printf(&b, "%s%zu %s", b.len ? ", " : "left out: ", reasons[i].n, reasons[i].what);
    if (b.len)
        text_item(out, style, "note", NULL, b.data, TONE_PLAIN);
    jl_buf_release(&b);
    if (f->several_machines)
        text_item(out, style, "note", NULL, "the runs are from several machines: the fit is of none of them", TONE_WARN);
    text_item(out, style, "source", NULL, words_provenance(f->provenance),
              f->provenance > JOULET_DERIVED ? TONE_WARN : TONE_PLAIN);
}

void report_fit(struct jl_buf *out, const struct fit *f, const struct report_style *style)
{
    const char *model = f->n ? run_pairs_get(&f->rows[0].run->model, "name") : NULL;
    struct number title = number_f("fit: %s energy of %zu requests", f->gross ? "gross" : "net", f->n);
    char *clean = text_clean(model ? model : "", style);
    text_rule(out, style, title.text, clean ? clean : "", TONE_PLAIN);
    free(clean);
    terms(out, f, style);
    lengths(out, f, style);
    crossovers(out, f, style);
    how_well(out, f, style);
}
