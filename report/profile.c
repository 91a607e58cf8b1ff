/* profile.c - a profile in words and tables: what was profiled, where the energy went, how that is known, and what would save. */
#include "report/profile_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LABEL_MOST = 10 };

/* ---- what was profiled ------------------------------------------------------------------------------------------- */

static void add_fact(struct jl_buf *b, const char *value, const char *unit)
{
    if (value && *value)
        jl_buf_printf(b, "%s%s%s", b->len ? ", " : "", value, unit);
}

static void item(const struct profiled_view *v, const char *label, struct jl_buf *b)
{
    if (b->len)
        text_item(v->out, v->style, label, NULL, b->data, TONE_PLAIN);
    jl_buf_clear(b);
}

static void model_facts(const struct profiled_view *v, struct jl_buf *b)
{
    const struct run_pairs *m = &v->p->model;
    const char *name = run_pairs_get(m, "name"), *path = run_pairs_get(m, "path");
    double parameters = profiled_number(m, "parameters"), bytes = profiled_number(m, "weight_bytes");
    add_fact(b, name ? report_model_name(name) : path ? report_model_name(path) : NULL, "");
    add_fact(b, run_pairs_get(m, "quantisation"), "");
    if (parameters > 0)
        add_fact(b, profiled_parameters(parameters, v->style).text, "");
    if (v->layers_of > 0 && v->layers > 0 && v->scale != 1)
        add_fact(b, number_f("%lld of %lld layers", (long long)v->layers, (long long)v->layers_of).text, "");
    else
        add_fact(b, run_pairs_get(m, "layers"), " layers");
    if (bytes > 0)
        add_fact(b, profiled_si(bytes, "B of weights", v->style).text, "");
    item(v, "model", b);
}

void profiled_only(const struct run_profile *p, char *out, size_t size)
{
    const struct run_profile_how *h = &p->how;
    int n = 0;
    *out = '\0';
    if (h->slot >= 0)
        n = snprintf(out, size, "slot %lld", (long long)h->slot);
    if (h->first_tokens > 0)
        snprintf(out + n, size - (size_t)n, "%sthe first %lld tokens of each answer", n ? ", " : "", (long long)h->first_tokens);
}

static void only(const struct profiled_view *v, struct jl_buf *b)
{
    char steps[ONLY_MAX];
    profiled_only(v->p, steps, sizeof steps);
    add_fact(b, steps, "");
    if (v->p->how.requests > 0)
        add_fact(b, number_f("%lld requests of its clients", (long long)v->p->how.requests).text, "");
    item(v, "only", b);
}

static void facts(const struct profiled_view *v)
{
    struct jl_buf b;
    char started[40];
    const struct run_profile *p = v->p;
    jl_buf_init(&b, 1 << 16);
    add_fact(&b, p->title, "");
    item(v, "title", &b);
    model_facts(v, &b);
    add_fact(&b, run_pairs_get(&p->engine, "protocol"), "");
    add_fact(&b, run_pairs_get(&p->engine, "version"), "");
    const char *threads = run_pairs_get(&p->settings, "threads");
    add_fact(&b, threads, text_threads(threads));
    item(v, "engine", &b);
    only(v, &b);
    add_fact(&b, run_pairs_get(&p->machine, "cpu"), "");
    item(v, "machine", &b);
    add_fact(&b, p->sensor, "");
    item(v, "sensor", &b);
    jl_format_time(started, sizeof started, p->started_wall_ns);
    add_fact(&b, started, "");
    if (isfinite(p->seconds))
        add_fact(&b, number_s(p->seconds, v->style).text, "");
    item(v, "started", &b);
    jl_buf_release(&b);
}

/* What the joules are worth, in one word: the worst of their sensors. */
static const char *source_of(const struct run_profile *p)
{
    bool known = p->sensor && *p->sensor;
    return p->how.simulated > 0 ? "simulated" : p->how.estimated ? "estimated" : known ? "measured" : "no energy known";
}

static void heading(const struct profiled_view *v)
{
    char *text = jl_strf("profile %s", v->p->id), *clean = text ? text_clean(text, v->style) : NULL;
    const char *source = source_of(v->p);
    text_rule(v->out, v->style, clean ? clean : "", source, strcmp(source, "measured") ? TONE_WARN : TONE_STRONG);
    free(text);
    free(clean);
    facts(v);
}

static void scaled(const struct profiled_view *v)
{
    if (v->scale == 1)
        return;
    const char *prefill = v->layers > 1
                              ? "in prefill the last one counts once, for it has less to do"
                              : "in prefill the last one has less to do, and there is no other: its feed-forward is taken at the "
                                "joules that attention needs for a FLOP, which nobody measured";
    char *text = jl_strf(
        "%lld of the %lld layers were in the model that ran: joules are of those, but energy of a token and shares "
        "are of all %lld, the layers taken %s times; %s; loading and what is shown against context, batch and prompt is of "
        "what ran",
        (long long)v->layers, (long long)v->layers_of, (long long)v->layers_of, number_digits(v->scale, 3).text, prefill);
    text_item(v->out, v->style, "scaled", NULL, text ? text : "", TONE_WARN);
    free(text);
}

/* ---- advice and notes -------------------------------------------------------------------------------------------- */

/* What a rule is about, in a word that fits beside it. */
static const char *subject(const char *rule)
{
    static const struct {
        const char *rule, *word;
    } rows[] = {{"quantisation", "weights"}, {"context", "cache"},         {"flash_attention", "attention"},
                {"keep_alive", "loading"},   {"output_length", "answers"}, {"power_cap", "power"}};
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        if (!strcmp(rows[i].rule, rule))
            return rows[i].word;
    return strlen(rule) < LABEL_MOST ? rule : "";
}

static void command_line(const struct profiled_view *v, const char *before, const char *command)
{
    char *line = *command ? jl_strf("%s %s", before, command) : NULL;
    if (line)
        text_whole(v->out, v->style, line);
    free(line);
}

/* "saves 14 ± 4 % of ..."; of what may save nothing the ends are told. */
static char *saving_text(const struct profiled_view *v, const struct run_profile_advice *a)
{
    const char *of = !strcmp(a->rule, "keep_alive") ? "of the energy of requests and loads" : "of the energy of requests";
    double most = 100 * (a->saving + a->saving_pm), cost = 100 * (a->saving_pm - a->saving);
    if (cost < 0)
        return jl_strf("saves %s %s", number_pm(100 * a->saving, 100 * a->saving_pm, "%", v->style).text, of);
    if (cost < 0.5)
        return jl_strf("may save up to %.0f %% %s", most, of);
    return jl_strf("may save up to %.0f %% %s, or cost up to %.0f %%", most, of, cost);
}

static void one_advice(const struct profiled_view *v, const struct run_profile_advice *a)
{
    char *rule = text_clean(subject(a->rule), v->style);
    char *saving = saving_text(v, a), *head = jl_strf("%s: %s", a->action, saving ? saving : "");
    char *why = jl_strf("because: %s", a->why);
    text_item(v->out, v->style, rule ? rule : "", NULL, head ? head : "", TONE_STRONG);
    text_item(v->out, v->style, "", NULL, why ? why : "", TONE_PLAIN);
    command_line(v, "try it: ", a->bench);
    command_line(v, "compare:", a->compare);
    free(why);
    free(head);
    free(saving);
    free(rule);
}

static void advice(const struct profiled_view *v)
{
    if (!v->p->n_advice)
        return;
    jl_buf_str(v->out, "\n");
    text_rule(v->out, v->style, "what would save energy", "", TONE_PLAIN);
    for (size_t i = 0; i < v->p->n_advice; i++)
        one_advice(v, &v->p->advice[i]);
}

static void notes(const struct profiled_view *v)
{
    for (size_t i = 0; i < v->p->n_notes; i++)
        text_item(v->out, v->style, i ? "" : "notes", NULL, v->p->notes[i], TONE_WARN);
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static void one_phase(const struct profiled_view *v, const char *phase, bool layers)
{
    profiled_components(v, phase);
    if (layers)
        profiled_layers(v, phase);
    else
        profiled_heat(v, phase);
}

void report_profile(struct jl_buf *out, const struct run_profile *p, const struct report_profile_options *options,
                    const struct report_style *style)
{
    static const struct report_profile_options none = {0};
    struct profiled_view v;
    options = options ? options : &none;
    profiled_view_init(&v, p, out, style);
    v.only = options->phase;
    heading(&v);
    scaled(&v);
    profiled_phases(&v);
    if (options->phase) {
        one_phase(&v, options->phase, options->layers);
    } else {
        one_phase(&v, "decode", options->layers);
        one_phase(&v, "prefill", options->layers);
    }
    profiled_power(&v);
    profiled_series(&v);
    profiled_replay(&v);
    profiled_how(&v);
    notes(&v);
    advice(&v);
}

/* ---- list -------------------------------------------------------------------------------------------------------- */

static const struct grid_column list_columns[] = {{"profile", false, 0},       {"started (UTC)", false, 4},
                                                  {"model", false, 6},         {"decode, a token", true, 0},
                                                  {"components by", false, 1}, {"source", false, 2}};

struct report_profile_list {
    struct grid g;
};

struct report_profile_list *report_profile_list_new(void)
{
    struct report_profile_list *l = malloc(sizeof *l);
    if (l)
        grid_init(&l->g, list_columns, JL_COUNT(list_columns));
    return l;
}

/* How the energy came to the components, in a word or two. */
static const char *way_of(const char *path)
{
    static const struct {
        const char *path, *words;
    } rows[] = {{"plain", "regression"}, {"lock-in", "repetition"}, {"time", "time shares"}, {"stages", "stages only"}};
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        if (!strcmp(rows[i].path, path))
            return rows[i].words;
    return path;
}

void report_profile_list_add(struct report_profile_list *l, const struct run_profile *p, const struct report_style *style)
{
    const struct run_profile_phase *d = run_profile_phase(p, "decode");
    char started[40];
    if (!l)
        return;
    double n = d && d->tokens > 0 ? (double)d->tokens : NAN;
    bool resolved = run_profile_resolved(p, "decode");
    struct number token = {"-"};
    if (d && !resolved)
        token = (struct number){"not resolved"};
    else if (d)
        token = profiled_joules(d->joules / n, d->joules_pm / n, NAN, style);
    const char *name = run_pairs_get(&p->model, "name");
    char *what = text_clean(p->title ? p->title
                            : name   ? report_model_name(name)
                                     : "",
                            style),
         *path = text_clean(way_of(p->how.path), style);
    jl_format_time(started, sizeof started, p->started_wall_ns);
    started[strlen(started) > 16 ? 16 : strlen(started)] = '\0';
    char *t = strchr(started, 'T');
    if (t)
        *t = ' ';
    const char *const cells[] = {p->id, started, what ? what : "", token.text, path && *path ? path : "-", source_of(p)};
    grid_add(&l->g, strcmp(source_of(p), "measured") ? TONE_WARN : TONE_PLAIN, cells);
    free(what);
    free(path);
}

void report_profile_list_write(struct report_profile_list *l, struct jl_buf *out, const struct report_style *style)
{
    struct jl_buf none;
    jl_buf_init(&none, 1 << 24);
    if (l && out && !l->g.n)
        jl_buf_str(out, "No profiles yet: `joulet profile` makes one.\n");
    else if (l)
        grid_write(&l->g, out ? out : &none, style);
    jl_buf_release(&none);
    free(l);
}
