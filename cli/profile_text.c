/* profile_text.c - a profile in lines: phases, components over all layers, and how they were found. */
#include "cli/profile.h"

#include <math.h>
#include <string.h>

static void figure(struct jl_buf *out, double j, double pm, bool utf8)
{
    char text[64];
    if (isnan(pm) && !isnan(j))
        jl_buf_printf(out, "%18.3g J", j);
    else
        jl_buf_printf(out, "%20s", joulet_format_j(text, sizeof text, j, pm, utf8));
}

static void phases(struct jl_buf *out, const struct run_profile *p, bool utf8)
{
    for (size_t i = 0; i < p->n_phases; i++) {
        const struct run_profile_phase *x = &p->phases[i];
        jl_buf_printf(out, "%-12s %8.3f s ", x->name, x->seconds);
        figure(out, x->joules, x->joules_pm, utf8);
        if (x->tokens > 0)
            jl_buf_printf(out, "  %lld tokens, %.3g J each", (long long)x->tokens, x->joules / (double)x->tokens);
        jl_buf_printf(out, "\n");
    }
}

static void component(struct jl_buf *out, const struct run_profile *p, const char *phase, const char *name, double whole_s,
                      bool utf8)
{
    double s = 0, j = 0, pm = 0, limit = NAN;
    size_t n = 0;
    for (size_t i = 0; i < p->n_rows; i++) {
        const struct run_profile_row *r = &p->rows[i];
        if (r->part[0] || strcmp(r->phase, phase) || strcmp(r->component, name))
            continue;
        s += r->seconds;
        j += r->joules;
        pm += r->joules_pm;
        if (!isnan(r->limit_j))
            limit = isnan(limit) ? r->limit_j : limit + r->limit_j;
        n++;
    }
    if (!n)
        return;
    jl_buf_printf(out, "  %-15s %8.3f s %5.1f %% ", name, s, whole_s > 0 ? 100 * s / whole_s : NAN);
    if (isnan(limit))
        figure(out, j, pm, utf8);
    else
        jl_buf_printf(out, "   at most %8.3g J", limit);
    jl_buf_printf(out, "\n");
}

static void components(struct jl_buf *out, const struct run_profile *p, const char *phase, bool utf8)
{
    static const char *const names[] = {"embedding", "attention_norm", "attention", "ffn_norm", "ffn",
                                        "layer",     "output_norm",    "head",      "other",    "rest"};
    double whole_s = 0;
    for (size_t i = 0; i < p->n_rows; i++)
        whole_s += !p->rows[i].part[0] && strcmp(p->rows[i].phase, phase) == 0 ? p->rows[i].seconds : 0;
    if (!(whole_s > 0))
        return;
    jl_buf_printf(out, "\n%s by component, all layers\n", phase);
    for (size_t i = 0; i < JL_COUNT(names); i++)
        component(out, p, phase, names[i], whole_s, utf8);
}

static void how(struct jl_buf *out, const struct run_profile_how *h)
{
    static const char *const paths[][2] = {{"plain", "regression over plain tokens (8.3)"},
                                           {"lock-in", "lock-in: components executed again in random order (8.2)"},
                                           {"time", "shares of time, assuming equal power"},
                                           {"stages", "stages only"}};
    for (size_t i = 0; i < JL_COUNT(paths); i++)
        if (strcmp(h->path, paths[i][0]) == 0)
            jl_buf_printf(out, "\nenergy of components: %s\n", paths[i][1]);
    if (h->reason[0])
        jl_buf_printf(out, "  why: %s\n", h->reason);
    if (!isnan(h->closure))
        jl_buf_printf(out, "  sum over measured: %.1f %%, condition %.1f, %lld readings\n", 100 * h->closure, h->condition,
                      (long long)h->windows);
    if (!isnan(h->instrumented))
        jl_buf_printf(out, "  J of a token with the probe over without: %.3f", h->instrumented);
    if (!isnan(h->instrumented_pm))
        jl_buf_printf(out, " +- %.3f", h->instrumented_pm);
    if (!isnan(h->instrumented))
        jl_buf_printf(out, "\n");
    if (!isnan(h->stops))
        jl_buf_printf(out, "  stops take %.2f +- %.2f %% of a token\n", 100 * h->stops, 100 * h->stops_pm);
    if (!isnan(h->stretches))
        jl_buf_printf(out, "  stretches explain %.2f %% of graph time\n", 100 * h->stretches);
    if (h->lost)
        jl_buf_printf(out, "  %lld records of the probe were lost\n", (long long)h->lost);
}

void profile_text(struct jl_buf *out, const struct run_profile *p, const struct report_style *style)
{
    bool utf8 = style->utf8;
    const char *model = run_pairs_get(&p->model, "name");
    jl_buf_printf(out, "%s on %s%s\n", model ? model : "", p->sensor ? p->sensor : "", p->how.estimated ? " (estimated)" : "");
    jl_buf_printf(out, "net energy of the plain requests\n\n");
    phases(out, p, utf8);
    components(out, p, "prefill", utf8);
    components(out, p, "decode", utf8);
    how(out, &p->how);
    for (size_t i = 0; i < p->n_notes; i++)
        jl_buf_printf(out, "note: %s\n", p->notes[i]);
}
