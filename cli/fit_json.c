/* fit_json.c - see fit_json.h. */
#include "cli/fit_json.h"
#include "cli/json.h"

#include <math.h>
#include <string.h>

static void number(struct jl_buf *out, bool *first, const char *key, double x)
{
    cli_json_key(out, first, key);
    cli_json_number(out, x);
}

static void text(struct jl_buf *out, bool *first, const char *key, const char *s)
{
    cli_json_key(out, first, key);
    cli_json_string(out, s);
}

/* "name": {"value", "pm", "lo", "hi", "u"}; u is without the gain. */
static void derived(struct jl_buf *out, bool *first, const char *key, const struct fit *f, struct jl_derived d)
{
    bool inner = true;
    double lo, hi;
    fit_ends(f, d, &lo, &hi);
    cli_json_key(out, first, key);
    jl_buf_str(out, "{");
    number(out, &inner, "value", d.value);
    number(out, &inner, "pm", fit_pm(f, d));
    number(out, &inner, "lo", lo);
    number(out, &inner, "hi", hi);
    number(out, &inner, "u", d.u);
    jl_buf_str(out, "}");
}

static void coefficients(struct jl_buf *out, bool *first, const struct fit *f)
{
    bool inner = true;
    cli_json_key(out, first, "coefficients");
    jl_buf_str(out, "{");
    for (unsigned i = 0; i < JL_TOKEN_TERMS; i++)
        derived(out, &inner, joulet_coefficient_name(i), f, fit_coefficient(f, i));
    jl_buf_str(out, "}");
    cli_json_key(out, first, "covariance");
    for (size_t i = 0; i < JL_TOKEN_TERMS; i++)
        for (size_t j = 0; j < JL_TOKEN_TERMS; j++) {
            jl_buf_str(out, j ? "," : i ? ",[" : "[[");
            cli_json_number(out, f->model.cov[i][j]);
            jl_buf_str(out, j + 1 < JL_TOKEN_TERMS ? "" : i + 1 < JL_TOKEN_TERMS ? "]" : "]]");
        }
}

static void lengths(struct jl_buf *out, bool *first, const struct fit *f)
{
    double t[8];
    size_t n = fit_lengths_in(f, t);
    cli_json_key(out, first, "prompts");
    jl_buf_str(out, "[");
    for (size_t i = 0; i < n; i++) {
        bool inner = true;
        struct jl_derived prefill = jl_token_prefill(&f->model, t[i]);
        jl_buf_str(out, i ? ",\n {" : "\n {");
        number(out, &inner, "tokens_in", t[i]);
        derived(out, &inner, "prefill_j", f, prefill);
        derived(out, &inner, "prefill_j_per_token", f, (struct jl_derived){prefill.value / t[i], prefill.u / t[i]});
        derived(out, &inner, "decode_j_per_token", f, jl_token_decode(&f->model, t[i], 1));
        jl_buf_str(out, "}");
    }
    jl_buf_str(out, "]");
}

/* A ratio of energies: the gain cancels. */
static void crossovers(struct jl_buf *out, bool *first, const struct fit *f)
{
    double t[8];
    size_t n = fit_lengths_out(f, t);
    cli_json_key(out, first, "crossover");
    jl_buf_str(out, "[");
    for (size_t i = 0; i < n; i++) {
        bool inner = true, inside;
        struct jl_derived at = jl_token_crossover(&f->model, t[i], &inside);
        jl_buf_str(out, i ? ",\n {" : "\n {");
        number(out, &inner, "tokens_out", t[i]);
        number(out, &inner, "tokens_in", inside ? at.value : NAN);
        number(out, &inner, "tokens_in_pm", inside ? 2 * at.u : NAN);
        cli_json_key(out, &inner, "inside_measured_range");
        jl_buf_str(out, inside ? "true}" : "false}");
    }
    jl_buf_str(out, "]");
}

static void residuals(struct jl_buf *out, bool *first, const struct fit *f)
{
    cli_json_key(out, first, "residuals");
    jl_buf_str(out, "[");
    for (size_t i = 0; i < f->n; i++) {
        const struct fit_row *r = &f->rows[i];
        bool inner = true;
        jl_buf_str(out, i ? ",\n {" : "\n {");
        text(out, &inner, "run_id", r->run->id);
        number(out, &inner, "request", (double)r->q->index);
        number(out, &inner, "tokens_in", r->t.t_in);
        number(out, &inner, "tokens_out", r->t.t_out);
        number(out, &inner, "energy_j", r->t.energy_j);
        number(out, &inner, "u_rep_j", r->t.u_rep_j);
        number(out, &inner, "fitted_j", r->fitted_j);
        jl_buf_str(out, "}");
    }
    jl_buf_str(out, "]");
}

static void runs(struct jl_buf *out, bool *first, const struct fit *f)
{
    cli_json_key(out, first, "runs");
    jl_buf_str(out, "[");
    for (size_t i = 0; i < f->n; i++) {
        if (i && f->rows[i].run == f->rows[i - 1].run)
            continue;
        jl_buf_str(out, i ? "," : "");
        cli_json_string(out, f->rows[i].run->id);
    }
    jl_buf_str(out, "]");
}

void fit_json(struct jl_buf *out, const struct fit *f)
{
    const struct jl_token_model *m = &f->model;
    bool first = true;
    jl_buf_str(out, "{");
    text(out, &first, "schema", "joulet.fit/1");
    runs(out, &first, f);
    text(out, &first, "model", f->n ? run_pairs_get(&f->rows[0].run->model, "name") : NULL);
    text(out, &first, "energy", f->gross ? "gross" : "net");
    text(out, &first, "provenance", joulet_provenance_name(f->provenance));
    coefficients(out, &first, f);
    number(out, &first, "gain_u_relative", f->spec);
    number(out, &first, "requests", (double)f->n);
    number(out, &first, "left_out_warmup", (double)f->warmup);
    number(out, &first, "left_out_failed", (double)f->failed);
    number(out, &first, "left_out_cached", (double)f->cached);
    number(out, &first, "left_out_throttled", (double)f->slowed);
    number(out, &first, "left_out_without_figure", (double)f->unknown);
    number(out, &first, "tokens_in_min", m->t_in_min);
    number(out, &first, "tokens_in_max", m->t_in_max);
    number(out, &first, "tokens_out_min", m->t_out_min);
    number(out, &first, "tokens_out_max", m->t_out_max);
    number(out, &first, "condition", m->condition);
    number(out, &first, "scatter_relative", m->scatter);
    number(out, &first, "chi2_per_df", m->chi2);
    lengths(out, &first, f);
    crossovers(out, &first, f);
    residuals(out, &first, f);
    jl_buf_str(out, "}\n");
}
