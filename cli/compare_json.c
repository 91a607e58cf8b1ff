/* compare_json.c - see compare_json.h. */
#include "cli/compare_json.h"
#include "cli/json.h"

#include <math.h>

static void text(struct jl_buf *out, bool *first, const char *key, const char *s)
{
    cli_json_key(out, first, key);
    cli_json_string(out, s);
}

static void number(struct jl_buf *out, bool *first, const char *key, double x)
{
    cli_json_key(out, first, key);
    cli_json_number(out, x);
}

static void truth(struct jl_buf *out, bool *first, const char *key, bool x)
{
    cli_json_key(out, first, key);
    jl_buf_str(out, x ? "true" : "false");
}

static void side(struct jl_buf *out, const struct compare_side *s)
{
    bool first = true;
    const struct run *r = s->of.run;
    jl_buf_str(out, "{");
    text(out, &first, "label", s->label);
    text(out, &first, "run", r->id);
    number(out, &first, "cell", s->of.cell < 0 ? NAN : (double)s->of.cell);
    text(out, &first, "name", s->name);
    text(out, &first, "model", run_pairs_get(&r->model, "name"));
    text(out, &first, "quantisation", run_pairs_get(&r->model, "quantisation"));
    number(out, &first, "place", (double)s->place);
    number(out, &first, "requests", (double)s->used);
    number(out, &first, "warmup", (double)s->warmup);
    number(out, &first, "failed", (double)s->failed);
    number(out, &first, "without_figure", (double)s->unknown);
    number(out, &first, "mean", s->mean);
    number(out, &first, "mean_pm", s->mean_pm);
    number(out, &first, "tokens_in", s->tokens_in);
    number(out, &first, "tokens_out", s->tokens_out);
    number(out, &first, "seconds", s->seconds);
    number(out, &first, "checked", (double)s->checked);
    number(out, &first, "passed", s->checked ? (double)s->passed : NAN);
    number(out, &first, "j_per_correct", s->j_per_correct);
    jl_buf_str(out, "}");
}

static void result(struct jl_buf *out, const struct comparison *c, const struct compare_result *r)
{
    static const char *const verdicts[] = {
        [JL_UNDECIDED] = "no difference seen", [JL_DIFFERENT] = "different", [JL_EQUAL] = "equal"};
    const struct jl_comparison *x = &r->c;
    bool first = true;
    struct jl_buf words;
    jl_buf_init(&words, 4096);
    compare_words(&words, c, r);
    jl_buf_str(out, "{");
    text(out, &first, "a", c->sides[r->a].label);
    text(out, &first, "b", c->sides[r->b].label);
    text(out, &first, "verdict", verdicts[x->verdict]);
    truth(out, &first, "small", x->small);
    text(out, &first, "words", words.data);
    number(out, &first, "ratio", x->ratio);
    number(out, &first, "ratio_lo95", x->lo95);
    number(out, &first, "ratio_hi95", x->hi95);
    number(out, &first, "ratio_lo90", x->lo90);
    number(out, &first, "ratio_hi90", x->hi90);
    text(out, &first, "test", x->pairs ? "sign-flip" : "mann-whitney");
    truth(out, &first, "exact", x->exact);
    number(out, &first, "pairs", x->pairs ? (double)x->pairs : NAN);
    number(out, &first, "p", x->p);
    number(out, &first, "p_adjusted", x->p_adjusted);
    number(out, &first, "shift", x->shift);
    number(out, &first, "u", x->u);
    number(out, &first, "a12", x->a12);
    number(out, &first, "cliffs_delta", x->delta);
    number(out, &first, "not_beyond", x->verdict == JL_UNDECIDED ? x->not_beyond : NAN);
    jl_buf_str(out, "}");
    jl_buf_release(&words);
}

static void texts(struct jl_buf *out, bool *first, const char *key, char **items, size_t n)
{
    cli_json_key(out, first, key);
    jl_buf_str(out, "[");
    for (size_t i = 0; i < n; i++) {
        jl_buf_str(out, i ? "," : "");
        cli_json_string(out, items[i]);
    }
    jl_buf_str(out, "]");
}

static void left_out(struct jl_buf *out, bool *first, const struct comparison *c)
{
    cli_json_key(out, first, "prompts_left_out");
    jl_buf_str(out, "[");
    for (size_t i = 0; i < c->n_left_out; i++) {
        bool inner = true;
        jl_buf_str(out, i ? ",{" : "{");
        text(out, &inner, "label", c->sides[c->left_out[i].side].label);
        text(out, &inner, "prompt", c->left_out[i].prompt);
        number(out, &inner, "requests", (double)c->left_out[i].requests);
        jl_buf_str(out, "}");
    }
    jl_buf_str(out, "]");
}

void compare_json(struct jl_buf *out, const struct comparison *c)
{
    const struct compare_metric *m = c->options.metric;
    bool first = true;
    jl_buf_str(out, "{");
    text(out, &first, "schema", "joulet.comparison/1");
    text(out, &first, "metric", m->name);
    text(out, &first, "unit", m->unit);
    text(out, &first, "energy", !m->energy ? NULL : c->options.gross ? "gross" : "net");
    truth(out, &first, "paired", c->paired);
    number(out, &first, "margin", c->options.margin);
    cli_json_key(out, &first, "seed");
    jl_buf_printf(out, "%llu", (unsigned long long)c->options.seed);
    number(out, &first, "prompts", (double)c->prompts);
    texts(out, &first, "channels", c->channels, c->n_channels);
    left_out(out, &first, c);
    cli_json_key(out, &first, "sides");
    for (size_t i = 0; i < c->n_sides; i++) {
        jl_buf_str(out, i ? ",\n " : "[\n ");
        side(out, &c->sides[i]);
    }
    jl_buf_str(out, "]");
    cli_json_key(out, &first, "results");
    for (size_t i = 0; i < c->n_results; i++) {
        jl_buf_str(out, i ? ",\n " : "[\n ");
        result(out, c, &c->results[i]);
    }
    jl_buf_str(out, "]");
    texts(out, &first, "notes", c->notes, c->n_notes);
    jl_buf_str(out, "}\n");
}
