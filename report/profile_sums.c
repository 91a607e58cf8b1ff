/* profiled_sums.c - components of a profile summed over layers. The +- of one component's layers hang on the same power, so they
 * add linearly (docs/method.md 8);
 * of a model with fewer layers than its shape, what lies in layers counts for the missing (run/profile_scale.c). */
#include "report/profile_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

double profiled_number(const struct run_pairs *p, const char *key)
{
    double x;
    const char *text = run_pairs_get(p, key);
    return text && jl_parse_double(text, &x) && isfinite(x) ? x : NAN;
}

void profiled_view_init(struct profiled_view *v, const struct run_profile *p, struct jl_buf *out,
                        const struct report_style *style)
{
    *v = (struct profiled_view){.p = p, .style = style, .out = out, .scale = 1};
    if (run_profile_layers(p, &v->layers, &v->layers_of))
        v->scale = (double)v->layers_of / (double)v->layers;
    v->peak_flops = profiled_number(&p->machine, "peak_flops");
    v->bytes_per_s = profiled_number(&p->machine, "bytes_per_s");
}

/* In the order in which a token passes them; what is not known comes last. */
static int place_of(const char *component)
{
    static const char *const order[] = {"embedding", "attention_norm", "attention", "ffn_norm", "ffn",
                                        "layer",     "output_norm",    "head",      "other",    "rest"};
    for (size_t i = 0; i < JL_COUNT(order); i++)
        if (!strcmp(order[i], component))
            return (int)i;
    return (int)JL_COUNT(order);
}

static struct profiled_sum *sum_of(struct profiled_sums *s, const struct run_profile_row *r)
{
    for (size_t i = 0; i < s->n; i++)
        if (!strcmp(s->items[i].component, r->component) && !strcmp(s->items[i].part, r->part))
            return &s->items[i];
    if (s->n == PARTS_MAX)
        return NULL;
    size_t at = s->n++;
    while (at > 0 && r->part[0] && strcmp(s->items[at - 1].component, r->component))
        at--; /* a part behind its component */
    while (at > 0 && !r->part[0] && place_of(s->items[at - 1].component) > place_of(r->component))
        at--;
    memmove(&s->items[at + 1], &s->items[at], (s->n - 1 - at) * sizeof s->items[0]);
    s->items[at] = (struct profiled_sum){.limit_j = 0};
    snprintf(s->items[at].component, sizeof s->items[at].component, "%s", r->component);
    snprintf(s->items[at].part, sizeof s->items[at].part, "%s", r->part);
    return &s->items[at];
}

/* Time that the roofline gives; without a machine what limits the phase: bytes or FLOP. */
static double expected(const struct profiled_view *v, const struct run_profile_row *r, bool memory_bound)
{
    if (v->peak_flops > 0 && v->bytes_per_s > 0)
        return fmax(r->flop / v->peak_flops, r->bytes / v->bytes_per_s);
    return memory_bound ? r->bytes : r->flop;
}

static double most_of(const struct run_profile_row *r)
{
    return isnan(r->joules) ? r->limit_j : r->joules + (isnan(r->joules_pm) ? 0 : r->joules_pm);
}

static void add_row(const struct profiled_view *v, struct profiled_sums *s, const struct run_profile_row *row, bool memory_bound)
{
    const struct run_profile_row known = run_profile_known_row(v->p, row), *r = &known;
    struct profiled_sum *x = sum_of(s, r);
    struct run_profile_row whole = run_profile_whole_row(v->p, r);
    double middle = isnan(r->joules) ? r->limit_j / 2 : r->joules;
    double whole_middle = isnan(r->joules) ? whole.limit_j / 2 : whole.joules, e = expected(v, &whole, memory_bound);
    if (!x)
        return;
    x->seconds += r->seconds;
    x->flop += r->flop;
    x->bytes += r->bytes;
    x->joules += r->joules;
    x->joules_pm += r->joules_pm;
    x->limit_j += most_of(r);
    x->whole_j += whole.joules;
    x->whole_s += whole.seconds;
    x->whole_pm += whole.joules_pm;
    x->whole_limit_j += most_of(&whole);
    x->expected_s += e;
    if (r->part[0])
        return;
    s->seconds += isnan(r->seconds) ? 0 : r->seconds;
    s->whole_s += isnan(r->seconds) ? 0 : whole.seconds;
    s->joules += isnan(middle) ? 0 : middle;
    s->whole_j += isnan(middle) ? 0 : whole_middle;
    s->expected_s += isnan(e) ? 0 : e;
}

void profiled_sum_phase(const struct profiled_view *v, const char *phase, bool parts, struct profiled_sums *out)
{
    const struct run_profile_phase *x = run_profile_phase(v->p, phase);
    bool memory_bound = x && (x->memory_bound || !strcmp(phase, "decode")); /* a token at a time moves all weights for it */
    *out = (struct profiled_sums){0};
    for (int below = 0; below <= (parts ? 1 : 0); below++)
        for (size_t i = 0; i < v->p->n_rows; i++) {
            const struct run_profile_row *r = &v->p->rows[i];
            if (!strcmp(r->phase, phase) && (r->part[0] != '\0') == (below == 1))
                add_row(v, out, r, memory_bound);
        }
    for (size_t i = 0; i < out->n; i++)
        if (!isnan(out->items[i].joules))
            out->items[i].limit_j = out->items[i].whole_limit_j = NAN;
}

double profiled_whole_phase(const struct profiled_view *v, const struct run_profile_phase *x, double *pm)
{
    struct run_profile_phase whole = *x;
    *pm = x->joules_pm;
    if (v->scale == 1 || (strcmp(x->name, "prefill") && strcmp(x->name, "decode")))
        return x->joules;
    if (!run_profile_whole_phase(v->p, &whole))
        return NAN;
    *pm = whole.scaled_joules_pm;
    return whole.scaled_joules;
}

struct number profiled_si(double x, const char *unit, const struct report_style *style)
{
    static const char *const big[] = {"", "k", "M", "G", "T", "P", "E"}, *const small[] = {"", "m", "u", "n", "p", "f", "a"};
    int e = 0;
    if (!isfinite(x))
        return (struct number){"-"};
    while (fabs(x) >= 999.5 && e < 6) {
        x /= 1000;
        e++;
    }
    while (x != 0 && fabs(x) < 0.9995 && e > -6) {
        x *= 1000;
        e--;
    }
    const char *prefix = e >= 0 ? big[e] : e == -2 && style->utf8 ? "\u00b5" : small[-e];
    return number_f("%s%s%s%s", number_digits(x, 3).text, *prefix || *unit ? " " : "", prefix, unit);
}

const char *report_si(char *buf, size_t size, double x, const char *unit)
{
    snprintf(buf, size, "%s", profiled_si(x, unit, &(struct report_style){.utf8 = true}).text);
    return buf;
}

struct number profiled_parameters(double n, const struct report_style *style)
{
    if (n >= 0.9995e9)
        return number_f("%s B parameters", number_digits(n / 1e9, 3).text);
    return number_f("%s parameters", profiled_si(n, "", style).text);
}

/* "1.24 ± 0.05 mJ", and "< 0.3 mJ" where only a limit is known. */
struct number profiled_joules(double j, double pm, double limit_j, const struct report_style *style)
{
    const char *const units[] = {"J", "mJ", style->utf8 ? "\u00b5J" : "uJ", "nJ", "pJ"};
    double size = fmax(fabs(isnan(j) ? limit_j : j), isnan(pm) || isnan(j) ? 0 : pm); /* 0 ± 5.7 J, not 0 ± 5700 mJ */
    double scale = 1;
    size_t e = 0;
    for (; size * scale < 0.9995 && size > 0 && e + 1 < JL_COUNT(units); e++)
        scale *= 1000;
    if (isnan(j) && !isnan(limit_j))
        return number_f("< %s %s", number_digits(limit_j * scale, 2).text, units[e]);
    if (isnan(j))
        return (struct number){"-"};
    return number_pm(j * scale, pm * scale, units[e], style);
}
