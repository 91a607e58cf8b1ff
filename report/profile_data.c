/* profile_data.c - what charts of a profile need, as JSON (docs/profile-record.md): links of a Sankey, cells of a heat map, power
 * with its stages, bars of components, lines of series. The text views draw the same figures. */
#include "report/profile_private.h"
#include "report/put.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void put_number(struct jl_buf *out, double x)
{
    put_sep(out);
    if (isfinite(x))
        jl_buf_printf(out, "%.12g", x);
    else
        jl_buf_str(out, "null");
}

/* ---- Sankey: whole to phases to components to parts -------------------------------------------------------------- */

static void link(struct jl_buf *out, const char *source, const char *target, double j, double pm, double limit_j)
{
    put_begin(out, NULL, '{');
    put_text(out, "source", source);
    put_text(out, "target", target);
    put_real(out, "joules", j);
    put_real(out, "joules_pm", pm);
    put_real(out, "limit_j", limit_j);
    put_end(out, '}');
    jl_buf_str(out, "\n");
}

static void phase_links(const struct profiled_view *v, const struct run_profile_phase *x)
{
    struct profiled_sums s;
    bool resolved = run_profile_resolved(v->p, x->name);
    double pm, whole_j = profiled_whole_phase(v, x, &pm), parts_j = 0;
    if (!resolved)
        whole_j = pm = NAN;
    link(v->out, "model", x->name, whole_j, pm, isnan(whole_j) ? run_profile_most(v->p, x) : NAN);
    profiled_sum_phase(v, x->name, true, &s);
    for (size_t i = 0; i < s.n; i++) {
        const struct profiled_sum *y = &s.items[i];
        char *node = jl_strf("%s/%s", x->name, y->component), *below = jl_strf("%s/%s/%s", x->name, y->component, y->part);
        if (y->part[0])
            link(v->out, node, below, y->whole_j, y->whole_pm, y->whole_limit_j);
        else
            link(v->out, x->name, node, y->whole_j, y->whole_pm, y->whole_limit_j);
        parts_j += y->part[0] || isnan(y->whole_j) ? 0 : y->whole_j;
        free(node);
        free(below);
    }
    char *rest = jl_strf("%s/unresolved", x->name);
    if (s.n && whole_j > parts_j)
        link(v->out, x->name, rest, whole_j - parts_j, NAN, NAN); /* so that what flows in flows out */
    free(rest);
}

static void sankey(const struct profiled_view *v)
{
    put_begin(v->out, "sankey", '[');
    jl_buf_str(v->out, "\n");
    for (size_t i = 0; i < v->p->n_phases; i++)
        phase_links(v, &v->p->phases[i]);
    put_end(v->out, ']');
    jl_buf_str(v->out, "\n");
}

/* ---- heat map ---------------------------------------------------------------------------------------------------- */

static void rows_of(struct jl_buf *out, const char *key, const struct profiled_map *m, const double *values)
{
    put_begin(out, key, '[');
    for (size_t k = 0; k < m->n_components; k++) {
        put_begin(out, NULL, '[');
        for (int64_t l = 0; l < m->layers; l++)
            put_number(out, values[k * (size_t)m->layers + (size_t)l]);
        put_end(out, ']');
        jl_buf_str(out, "\n");
    }
    put_end(out, ']');
}

static void heat_map(const struct profiled_view *v)
{
    put_begin(v->out, "heatmap", '[');
    for (size_t i = 0; i < v->p->n_phases; i++) {
        struct profiled_map m;
        if (!profiled_map_init(&m, v, v->p->phases[i].name))
            continue;
        put_begin(v->out, NULL, '{');
        put_text(v->out, "phase", v->p->phases[i].name);
        put_count(v->out, "layers", m.layers);
        put_begin(v->out, "components", '[');
        for (size_t k = 0; k < m.n_components; k++)
            put_string(v->out, m.components[k]);
        put_end(v->out, ']');
        rows_of(v->out, "j_per_token", &m, m.j);
        rows_of(v->out, "limit_j_per_token", &m, m.limit_j);
        put_end(v->out, '}');
        profiled_map_release(&m);
    }
    put_end(v->out, ']');
    jl_buf_str(v->out, "\n");
}

/* ---- the others -------------------------------------------------------------------------------------------------- */

static void power(const struct profiled_view *v)
{
    const struct run_profile *p = v->p;
    put_begin(v->out, "power", '{');
    put_begin(v->out, "t_s", '[');
    for (size_t i = 0; i < p->n_trace; i++)
        put_number(v->out, p->trace[i].t_s);
    put_end(v->out, ']');
    put_begin(v->out, "w", '[');
    for (size_t i = 0; i < p->n_trace; i++)
        put_number(v->out, p->trace[i].w);
    put_end(v->out, ']');
    put_begin(v->out, "stages", '[');
    for (size_t i = 0; i < p->n_spans; i++) {
        put_begin(v->out, NULL, '{');
        put_text(v->out, "stage", p->spans[i].stage);
        put_real(v->out, "from_s", p->spans[i].from_s);
        put_real(v->out, "to_s", p->spans[i].to_s);
        put_end(v->out, '}');
    }
    put_end(v->out, ']');
    put_real(v->out, "idle_w", p->how.idle_w);
    put_end(v->out, '}');
    jl_buf_str(v->out, "\n");
}

static void bar(const struct profiled_view *v, const struct profiled_sums *s, const struct profiled_sum *x,
                const struct run_profile_phase *phase)
{
    double tokens = phase->tokens > 0 ? (double)phase->tokens : NAN;
    put_begin(v->out, NULL, '{');
    put_text(v->out, "phase", phase->name);
    put_text(v->out, "component", x->component);
    put_text(v->out, "part", x->part);
    put_real(v->out, "joules", x->joules);
    put_real(v->out, "joules_pm", x->joules_pm);
    put_real(v->out, "limit_j", x->limit_j);
    put_real(v->out, "j_per_token", x->whole_j / tokens);
    put_real(v->out, "j_per_token_pm", x->whole_pm / tokens);
    put_real(v->out, "limit_j_per_token", x->whole_limit_j / tokens);
    put_real(v->out, "share", x->whole_j / s->whole_j);
    put_real(v->out, "expected_share", x->expected_s / s->expected_s);
    put_real(v->out, "time_share", x->whole_s / s->whole_s);
    put_real(v->out, "j_per_flop", x->joules / x->flop);
    put_real(v->out, "j_per_byte", x->joules / x->bytes);
    put_end(v->out, '}');
    jl_buf_str(v->out, "\n");
}

static void bars(const struct profiled_view *v)
{
    put_begin(v->out, "bars", '[');
    jl_buf_str(v->out, "\n");
    for (size_t i = 0; i < v->p->n_phases; i++) {
        struct profiled_sums s;
        profiled_sum_phase(v, v->p->phases[i].name, true, &s);
        for (size_t k = 0; k < s.n; k++)
            bar(v, &s, &s.items[k], &v->p->phases[i]);
    }
    put_end(v->out, ']');
    jl_buf_str(v->out, "\n");
}

static void series(const struct profiled_view *v)
{
    put_begin(v->out, "series", '[');
    for (size_t i = 0; i < v->p->n_points; i++) {
        const struct run_profile_point known = run_profile_known_point(v->p, &v->p->points[i]), *x = &known;
        put_begin(v->out, NULL, '{');
        put_text(v->out, "series", x->series);
        put_text(v->out, "phase", x->phase);
        put_text(v->out, "component", x->component);
        put_text(v->out, "label", x->label);
        put_real(v->out, "x", x->x);
        put_real(v->out, "j_per_token", x->joules);
        put_real(v->out, "j_per_token_pm", x->joules_pm);
        put_real(v->out, "limit_j_per_token", x->limit_j);
        put_real(v->out, "s_per_token", x->seconds);
        put_end(v->out, '}');
        jl_buf_str(v->out, "\n");
    }
    put_end(v->out, ']');
}

void report_profile_data(struct jl_buf *out, const struct run_profile *p)
{
    static const struct report_style plain = {0};
    struct profiled_view v;
    profiled_view_init(&v, p, out, &plain);
    put_begin(out, NULL, '{');
    put_text(out, "schema", "joulet.profile-view/1");
    put_text(out, "id", p->id);
    put_text(out, "model", run_pairs_get(&p->model, "name"));
    put_count(out, "layers", v.layers);
    put_count(out, "layers_of", v.layers_of > 0 ? v.layers_of : v.layers);
    put_real(out, "scale", v.scale);
    put_bool(out, "estimated", p->how.estimated);
    put_bool(out, "simulated", p->how.simulated > 0);
    put_text(out, "path", p->how.path);
    jl_buf_str(out, "\n");
    sankey(&v);
    heat_map(&v);
    power(&v);
    bars(&v);
    series(&v);
    put_end(out, '}');
    jl_buf_str(out, "\n");
}
