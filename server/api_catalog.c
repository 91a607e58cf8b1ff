/* api_catalog.c - what the program brings along or the user has made: sets of prompts, sets of coefficients for estimates, and
 * factors of places. Read anew for each call: all of it is small or compiled in. */
#include "lib/platform/platform.h"
#include "llm/plans/plan.h"
#include "report/carbon.h"
#include "report/estimate.h"
#include "server/api.h"

#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX ((size_t)16 << 20)

static bool finish(struct api_call *c, struct jl_buf *out, const char *end)
{
    jl_buf_str(out, end);
    bool ok = api_json(c, 200, out);
    jl_buf_release(out);
    return ok;
}

bool api_failed(struct api_call *c, const struct joulet_error *err)
{
    switch (err->status) {
    case JOULET_NOT_FOUND:
        return api_error(c, 404, "not_found", err->message, NULL);
    case JOULET_USAGE:
    case JOULET_FORMAT:
        return api_error(c, 400, "bad_request", err->message, NULL);
    case JOULET_UNREACHABLE:
    case JOULET_ENGINE:
    case JOULET_PERMISSION:
        return api_error(c, 502, "upstream", err->message, NULL);
    default:
        return api_error(c, 503, "unavailable", err->message, NULL);
    }
}

/* ---- prompts ----------------------------------------------------------------------------------------------------- */

static void put_set(struct jl_buf *out, const char *name, const struct plan *p)
{
    put_text(out, "name", name);
    put_count(out, "prompts", (int64_t)p->n);
    put_text(out, "sha256", p->sha256);
    put_begin(out, "categories", '[');
    for (size_t i = 0; i < p->n; i++)
        if (i == 0 || strcmp(p->prompts[i].category, p->prompts[i - 1].category) != 0)
            put_string(out, p->prompts[i].category);
    put_end(out, ']');
}

bool api_prompts(struct api_call *c)
{
    struct jl_buf out;
    struct joulet_error err;
    jl_buf_init(&out, ANSWER_MAX);
    put_begin(&out, NULL, '{');
    put_text(&out, "schema", "joulet.prompts/1");
    put_begin(&out, "prompts", '[');
    for (size_t i = 0; plan_sets[i]; i++) {
        struct plan p;
        if (plan_open(&p, plan_sets[i], &err) != JOULET_OK) {
            jl_buf_release(&out);
            return api_failed(c, &err);
        }
        put_begin(&out, NULL, '{');
        put_set(&out, plan_sets[i], &p);
        put_end(&out, '}');
        plan_release(&p);
    }
    return finish(c, &out, "]}\n");
}

static void put_prompt(struct jl_buf *out, const struct plan_prompt *p)
{
    put_begin(out, NULL, '{');
    put_text(out, "set", p->set);
    put_text(out, "category", p->category);
    put_count(out, "number", p->number);
    put_count(out, "max_tokens", p->max_tokens);
    put_text(out, "prompt", p->text);
    put_text(out, "expected", p->expected);
    put_text(out, "check", p->check);
    put_end(out, '}');
}

bool api_is_prompt_set(const char *name)
{
    for (size_t i = 0; plan_sets[i]; i++)
        if (strcmp(plan_sets[i], name) == 0)
            return true;
    return false;
}

/* Sets by name alone: plan_open would read a file of this machine. */
bool api_prompt(struct api_call *c)
{
    struct plan p;
    struct jl_buf out;
    struct joulet_error err;
    if (!api_is_prompt_set(c->name))
        return api_error(c, 404, "not_found", "there is no set of prompts of this name", "GET /joulet/prompts lists them");
    if (plan_open(&p, c->name, &err) != JOULET_OK)
        return api_failed(c, &err);
    jl_buf_init(&out, ANSWER_MAX);
    put_begin(&out, NULL, '{');
    put_text(&out, "schema", "joulet.prompt-set/1");
    put_text(&out, "name", c->name);
    put_text(&out, "sha256", p.sha256);
    put_begin(&out, "prompts", '[');
    for (size_t i = 0; i < p.n; i++) {
        put_sep(&out);
        jl_buf_str(&out, "\n");
        put_prompt(&out, &p.prompts[i]);
    }
    plan_release(&p);
    return finish(c, &out, "]}\n");
}

/* ---- sets of coefficients ---------------------------------------------------------------------------------------- */

static void put_estimate_set(struct jl_buf *out, const struct estimate_set *s)
{
    put_text(out, "name", s->name);
    put_text(out, "origin", estimate_origin_name(s->origin));
    put_text(out, "source", s->source);
    put_text(out, "date", s->date);
    put_text(out, "machine", s->machine);
    put_text(out, "sensor", s->sensor);
    put_text(out, "boundary", s->boundary);
    put_text(out, "basis", s->net ? "net" : "gross");
    put_text(out, "rests_on", s->provenance_known ? joulet_provenance_name(s->provenance) : NULL);
    put_count(out, "n_models", (int64_t)s->n);
}

static void put_coefficients(struct jl_buf *out, const struct estimate_model *m)
{
    put_begin(out, NULL, '{');
    put_text(out, "model", m->name);
    put_begin(out, "coefficients", '{');
    for (unsigned i = 0; i < JOULET_COEFFICIENTS && !m->n_workloads; i++)
        put_real(out, joulet_coefficient_name(i), m->c.e[i]);
    put_end(out, '}');
    put_begin(out, "workloads", '[');
    for (size_t i = 0; i < m->n_workloads; i++) {
        put_begin(out, NULL, '{');
        put_real(out, "tokens_in", m->workloads[i].tokens_in);
        put_real(out, "tokens_out", m->workloads[i].tokens_out);
        put_real(out, "energy_j", m->workloads[i].energy_j);
        put_real(out, "u_j", m->workloads[i].u_j);
        put_end(out, '}');
    }
    jl_buf_str(out, "]}");
}

bool api_sets(struct api_call *c)
{
    char **names;
    size_t n;
    struct jl_buf out;
    struct joulet_error err;
    if (estimate_set_names(&names, &n, &err) != JOULET_OK)
        return api_failed(c, &err);
    jl_buf_init(&out, ANSWER_MAX);
    put_begin(&out, NULL, '{');
    put_text(&out, "schema", "joulet.sets/1");
    put_begin(&out, "sets", '[');
    for (size_t i = 0; i < n; i++) {
        struct estimate_set s;
        if (estimate_set_load(&s, names[i], &err) != JOULET_OK) /* a file that somebody broke hides no other */
            continue;
        put_begin(&out, NULL, '{');
        put_estimate_set(&out, &s);
        put_end(&out, '}');
        estimate_set_release(&s);
    }
    jl_free_list(names, n);
    return finish(c, &out, "]}\n");
}

/* By a name that is listed: anything else might be a path. */
static bool is_listed(const char *name)
{
    char **names;
    size_t n;
    bool found = false;
    if (estimate_set_names(&names, &n, NULL) != JOULET_OK)
        return false;
    for (size_t i = 0; i < n; i++)
        found |= strcmp(names[i], name) == 0;
    jl_free_list(names, n);
    return found;
}

bool api_set(struct api_call *c)
{
    struct estimate_set s;
    struct jl_buf out;
    struct joulet_error err;
    if (!is_listed(c->name))
        return api_error(c, 404, "not_found", "there is no set of coefficients of this name", "GET /joulet/sets lists them");
    if (estimate_set_load(&s, c->name, &err) != JOULET_OK)
        return api_failed(c, &err);
    jl_buf_init(&out, ANSWER_MAX);
    put_begin(&out, NULL, '{');
    put_text(&out, "schema", "joulet.set/1");
    put_estimate_set(&out, &s);
    put_begin(&out, "models", '[');
    for (size_t i = 0; i < s.n; i++) {
        put_sep(&out);
        jl_buf_str(&out, "\n");
        put_coefficients(&out, &s.models[i]);
    }
    estimate_set_release(&s);
    return finish(c, &out, "]}\n");
}

/* ---- factors ----------------------------------------------------------------------------------------------------- */

static void put_place(struct jl_buf *out, const struct carbon_place *p)
{
    put_text(out, "place", p->code);
    put_text(out, "name", p->name);
    put_text(out, "kind", p->kind);
    put_real(out, "grid_g_per_kwh", p->g_per_kwh);
    put_text(out, "year", p->year);
    put_text(out, "basis", p->basis);
    put_text(out, "source", p->source);
    put_real(out, "pue", p->pue);
    put_text(out, "pue_year", p->pue_year);
    put_real(out, "wue_l_per_kwh", p->wue_l_per_kwh);
    put_text(out, "wue_year", p->wue_year);
}

static void put_defaults(struct jl_buf *out)
{
    put_begin(out, "default", '{');
    put_real(out, "grid_g_per_kwh", CARBON_DEFAULT_G);
    put_text(out, "source", CARBON_DEFAULT_SOURCE);
    put_end(out, '}');
    put_begin(out, "equivalents", '[');
    for (size_t i = 0; i < carbon_equivalent_count; i++) {
        put_begin(out, NULL, '{');
        put_text(out, "key", carbon_equivalents[i].key);
        put_text(out, "unit", carbon_equivalents[i].unit);
        put_text(out, "what", carbon_equivalents[i].what);
        put_real(out, "g_per_unit", carbon_equivalents[i].g_per_unit);
        put_text(out, "source", carbon_equivalents[i].source);
        put_end(out, '}');
    }
    put_end(out, ']');
}

bool api_factors(struct api_call *c)
{
    struct carbon_place *places;
    struct joulet_error err;
    struct jl_buf out;
    const char *text = api_query_get(&c->query, "search");
    size_t n;
    if (carbon_places(&places, &n, &err) != JOULET_OK)
        return api_failed(c, &err);
    jl_buf_init(&out, ANSWER_MAX);
    put_begin(&out, NULL, '{');
    put_text(&out, "schema", "joulet.factors/1");
    put_defaults(&out);
    put_begin(&out, "factors", '[');
    for (size_t i = 0; i < n; i++) {
        if (text && !carbon_matches(&places[i], text))
            continue;
        put_sep(&out);
        jl_buf_str(&out, "\n");
        put_begin(&out, NULL, '{');
        put_place(&out, &places[i]);
        put_end(&out, '}');
    }
    free(places);
    return finish(c, &out, "]}\n");
}

bool api_factor(struct api_call *c)
{
    struct carbon_place p;
    struct joulet_error err;
    struct jl_buf out;
    if (carbon_find(c->name, &p, &err) != JOULET_OK)
        return api_error(c, 404, "not_found", err.message, "GET /joulet/factors lists the places");
    jl_buf_init(&out, ANSWER_MAX);
    put_begin(&out, NULL, '{');
    put_text(&out, "schema", "joulet.factor/1");
    put_place(&out, &p);
    return finish(c, &out, "}\n");
}
