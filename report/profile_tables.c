/* profile_tables.c - phases, and the components of one: energy, energy of a token, share, work, place under the roofline. */
#include "report/profile_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of nothing, or of less than nothing, there are no shares. */
static struct number share(double part, double whole)
{
    double x = 100 * part / whole;
    if (fabs(x) < 0.05) /* nor are there shares of -0.0 % */
        x = 0;
    return isfinite(x) && whole > 0 ? number_f("%.*f %%", x < 9.95 ? 1 : 0, x) : (struct number){"-"};
}

/* What is only limited counts half of its limit. */
static double middle(double j, double limit_j)
{
    return isnan(j) ? isnan(limit_j) ? 0 : limit_j / 2 : j;
}

/* Rounded up: a limit that is shown holds. */
static struct number limit_share(double part, double whole)
{
    double x = ceil(1000 * part / whole) / 10;
    return isfinite(x) && whole > 0 ? number_f("< %.1f %%", x) : (struct number){"-"};
}

/* ---- phases ------------------------------------------------------------------------------------------------------ */

static void phase_row(struct grid *g, const struct profiled_view *v, const struct run_profile_phase *x, double all_j)
{
    bool resolved = run_profile_resolved(v->p, x->name);
    double whole_pm, whole_j = profiled_whole_phase(v, x, &whole_pm), n = x->tokens > 0 ? (double)x->tokens : NAN;
    struct number time = number_s(x->seconds, v->style), tokens = number_count(x->tokens);
    struct number energy = profiled_joules(x->joules, x->joules_pm, x->limit_j, v->style);
    struct number per = profiled_joules(whole_j / n, whole_pm / n, NAN, v->style);
    struct number part = isnan(whole_j) ? limit_share(x->limit_j, all_j) : share(whole_j, all_j);
    struct number watts = number_watts(x->joules / x->seconds), roof = share(x->least_s, x->seconds);
    if (!resolved)
        part = watts = (struct number){"-"};
    char *name = text_clean(x->name, v->style);
    const char *const cells[] = {name ? name : "",
                                 time.text,
                                 tokens.text,
                                 energy.text,
                                 per.text,
                                 part.text,
                                 watts.text,
                                 isnan(x->least_s) ? "" : roof.text,
                                 isnan(x->least_s) ? ""
                                 : x->memory_bound ? "memory"
                                                   : "computing"};
    grid_add(g, TONE_PLAIN, cells);
    free(name);
}

static double phase_pm(const struct run_profile_phase *x)
{
    return isnan(x->joules) ? middle(NAN, x->limit_j) : isnan(x->joules_pm) ? 0 : x->joules_pm;
}

/* That of host work is in its phase too, since it was taken out of it, and goes when they are added. */
static double own_pm(const struct run_profile *p, const struct run_profile_phase *x)
{
    double host = 0, pm = phase_pm(x);
    for (size_t i = 0; i < p->n_phases; i++) {
        const char *in = run_profile_phase_of(p->phases[i].name);
        if (in && !strcmp(in, x->name))
            host += phase_pm(&p->phases[i]);
    }
    return sqrt(fmax(0, pm * pm - host * host));
}

/* Phases are of different requests, each with its own noise: in quadrature. Host work without a power is in its phase still. */
static void total_row(struct grid *g, const struct profiled_view *v)
{
    double j = 0, square = 0, s = 0;
    bool any = false;
    for (size_t i = 0; i < v->p->n_phases; i++) {
        const struct run_profile_phase *x = &v->p->phases[i];
        bool host = run_profile_phase_of(x->name) != NULL, inside = host && isnan(x->joules) && isnan(x->limit_j);
        double pm = host ? 0 : own_pm(v->p, x);
        j += middle(x->joules, x->limit_j);
        any |= !isnan(x->joules);
        s += isnan(x->seconds) || inside ? 0 : x->seconds;
        square += pm * pm;
    }
    struct number time = number_s(s, v->style), energy = profiled_joules(any ? j : NAN, sqrt(square), NAN, v->style);
    const char *const cells[] = {"all", time.text, "", energy.text, "", "", "", "", ""};
    grid_add(g, TONE_STRONG, cells);
}

/* What disappears in the noise is no finding. Of host work that is the matter of the power that it was given: its loop can be
 * long enough, and little of it that work. */
static void unresolved_phases(const struct profiled_view *v)
{
    struct jl_buf names;
    jl_buf_init(&names, 1024);
    for (size_t i = 0; i < v->p->n_phases; i++) {
        const struct run_profile_phase *x = &v->p->phases[i];
        if (!run_profile_resolved(v->p, x->name))
            jl_buf_printf(&names, "%s%s", names.len ? ", " : "", x->name);
    }
    char *text = names.len
                     ? jl_strf("%s: no energy above idle was resolved, so figures of it mean nothing; close other programs and "
                               "measure for longer",
                               names.data)
                     : NULL;
    if (text)
        text_item(v->out, v->style, "but", NULL, text, TONE_WARN);
    free(text);
    jl_buf_release(&names);
}

void profiled_phases(const struct profiled_view *v)
{
    static const struct grid_column columns[] = {{"phase", false, 0}, {"time", true, 2},        {"tokens", true, 3},
                                                 {"energy", true, 1}, {"a token", true, 0},     {"share", true, 0},
                                                 {"mean W", true, 2}, {"of roofline", true, 4}, {"limited by", false, 5}};
    struct grid g;
    double all_j = 0;
    if (!v->p->n_phases)
        return;
    for (size_t i = 0; i < v->p->n_phases; i++) {
        double pm, j = profiled_whole_phase(v, &v->p->phases[i], &pm);
        all_j += fmax(0, middle(j, v->p->phases[i].limit_j));
    }
    grid_init(&g, columns, JL_COUNT(columns));
    for (size_t i = 0; i < v->p->n_phases; i++)
        phase_row(&g, v, &v->p->phases[i], all_j);
    total_row(&g, v);
    jl_buf_str(v->out, "\n");
    grid_write(&g, v->out, v->style);
    unresolved_phases(v);
}

/* ---- components -------------------------------------------------------------------------------------------------- */

/* Parts stand below their component. */
static char *row_name(const struct profiled_view *v, const struct profiled_sum *s)
{
    char *clean = text_clean(s->part[0] ? s->part : s->component, v->style);
    char *name = jl_strf("%s%s", s->part[0] ? "  " : "", clean ? clean : "");
    free(clean);
    return name;
}

/* Share of the roofline that was reached, and which roof it is. */
static struct number place(const struct profiled_view *v, const struct profiled_sum *s)
{
    double computing_s = s->flop / v->peak_flops, moving_s = s->bytes / v->bytes_per_s;
    if (!isfinite(computing_s) || !isfinite(moving_s) || !(s->seconds > 0))
        return (struct number){""};
    return number_f("%s %s", share(fmax(computing_s, moving_s), s->seconds).text, moving_s > computing_s ? "mem" : "comp");
}

static void component_row(struct grid *g, const struct profiled_view *v, const struct profiled_sums *all,
                          const struct profiled_sum *s, double tokens)
{
    char *name = row_name(v, s);
    struct number energy = profiled_joules(s->joules, s->joules_pm, s->limit_j, v->style);
    struct number token = profiled_joules(s->whole_j / tokens, s->whole_pm / tokens, s->whole_limit_j / tokens, v->style);
    struct number part = isnan(s->whole_j) ? limit_share(s->whole_limit_j, all->whole_j) : share(s->whole_j, all->whole_j);
    struct number expects = share(s->expected_s, all->expected_s), time = share(s->whole_s, all->whole_s);
    const char *const cells[] = {name ? name : "", energy.text, token.text, part.text, expects.text, time.text};
    grid_add(g, s->part[0] ? TONE_FAINT : TONE_PLAIN, cells);
    free(name);
}

static void work_row(struct grid *g, const struct profiled_view *v, const struct profiled_sum *s, double tokens)
{
    char *name = row_name(v, s);
    struct number flop = profiled_si(s->flop / tokens, "", v->style), bytes = profiled_si(s->bytes / tokens, "B", v->style);
    struct number intensity = number_digits(s->flop / s->bytes, 2), roof = place(v, s);
    struct number per_flop = profiled_si(s->joules / s->flop, "J", v->style);
    struct number per_byte = profiled_si(s->joules / s->bytes, "J", v->style);
    const char *const cells[] = {name ? name : "", flop.text,     bytes.text, intensity.text,
                                 per_flop.text,    per_byte.text, roof.text};
    grid_add(g, s->part[0] ? TONE_FAINT : TONE_PLAIN, cells);
    free(name);
}

static bool has_work(const struct profiled_sums *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->items[i].flop > 0 || s->items[i].bytes > 0)
            return true;
    return false;
}

static void work(const struct profiled_view *v, const struct profiled_sums *s, double tokens)
{
    static const struct grid_column columns[] = {
        {"work of a token", false, 0}, {"FLOP", true, 0},         {"bytes", true, 0},      {"FLOP/byte", true, 3},
        {"J for a FLOP", true, 1},     {"J for a byte", true, 1}, {"of roofline", true, 2}};
    struct grid g;
    if (!has_work(s))
        return;
    jl_buf_str(v->out, "\n");
    grid_init(&g, columns, JL_COUNT(columns));
    for (size_t i = 0; i < s->n; i++)
        work_row(&g, v, &s->items[i], tokens);
    grid_write(&g, v->out, v->style);
}

void profiled_components(const struct profiled_view *v, const char *phase)
{
    static const struct grid_column columns[] = {{"component", false, 0}, {"energy", true, 2},   {"a token", true, 0},
                                                 {"share", true, 0},      {"expected", true, 1}, {"of time", true, 1}};
    const struct run_profile_phase *x = run_profile_phase(v->p, phase);
    struct profiled_sums s;
    struct grid g;
    profiled_sum_phase(v, phase, true, &s);
    if (!s.n)
        return;
    double tokens = x && x->tokens > 0 ? (double)x->tokens : NAN;
    char *title = jl_strf("%s by component", phase), *clean = title ? text_clean(title, v->style) : NULL;
    jl_buf_str(v->out, "\n");
    text_rule(v->out, v->style, clean ? clean : "", "", TONE_PLAIN);
    grid_init(&g, columns, JL_COUNT(columns));
    for (size_t i = 0; i < s.n; i++)
        component_row(&g, v, &s, &s.items[i], tokens);
    grid_write(&g, v->out, v->style);
    work(v, &s, tokens);
    free(title);
    free(clean);
}
