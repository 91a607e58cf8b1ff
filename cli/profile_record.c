/* profile_record.c - the record of a profile out of its requests and of what the probe told: phases from the plain requests,
 * components from those that were watched, scaled to the plain ones. Phases do not overlap: sampling and detokenising are taken
 * out of decoding, tokenising out of prefill. */
#include "cli/profile.h"
#include "cli/session_span.h"
#include "profile/layers.h"
#include "profile/probe.h"
#include "report/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_STOP 0.9 /* of a stretch */

struct filling {
    struct profiling *x;
    struct run_sums plain;
    double tokens, prompts; /* decoded and prompts in plain requests */
    struct measure_result of[MEASURE_PHASES];
    struct profile_counts counts[MEASURE_PHASES];
    bool counted;
    double host; /* share of the plain requests that is kept: host work is told of all of them */
    bool host_seen;
    double stop_s; /* of each stretch: taken off its seconds, not its energy */
};

static void set_work(double *flop, double *bytes, const struct profile_count *c, bool known)
{
    *flop = known ? c->flop : NAN;
    *bytes = known ? profile_count_bytes(c) : NAN;
}

/* ---- phases ------------------------------------------------------------------------------------------------------------------
 */

static struct run_profile_phase phase_named(const char *name)
{
    struct run_profile_phase p = {.tokens = -1,
                                  .steps = -1,
                                  .seconds = NAN,
                                  .joules = NAN,
                                  .joules_pm = NAN,
                                  .limit_j = NAN,
                                  .flop = NAN,
                                  .bytes = NAN,
                                  .least_s = NAN,
                                  .scaled_joules = NAN,
                                  .scaled_joules_pm = NAN,
                                  .scaled_seconds = NAN};
    snprintf(p.name, sizeof p.name, "%s", name);
    return p;
}

/* An engine that keeps no model loads it for a request, and says how long that took. */
static void add_loads_of(struct run_profile_phase *p, const struct run_request *q)
{
    for (size_t i = 0; i < q->n_windows; i++) {
        const struct run_window *w = &q->windows[i];
        if (strcmp(w->name, "load") != 0)
            continue;
        bool first = isnan(p->seconds);
        p->seconds = first ? run_window_s(w) : p->seconds + run_window_s(w);
        p->joules = first ? profile_net_j(&w->energy.total) : p->joules + profile_net_j(&w->energy.total);
        p->joules_pm = first ? w->energy.total.net_pm_j : hypot(p->joules_pm, w->energy.total.net_pm_j);
        p->steps = first ? 1 : p->steps + 1;
    }
}

static void add_load(struct filling *f)
{
    struct run_profile_phase p = phase_named("load");
    const struct run *r = &f->x->s.run;
    for (size_t i = 0; i < r->n_windows; i++) {
        const struct run_window *w = &r->windows[i];
        if (strcmp(w->name, "load") != 0 || !isnan(p.seconds)) /* a second one is of a model beside it */
            continue;
        p.seconds = run_window_s(w);
        p.joules = profile_net_j(&w->energy.total);
        p.joules_pm = profile_lost(&w->energy.total) ? NAN : w->energy.total.net_pm_j;
        p.steps = 1;
        run_profile_add_span(&f->x->p, "load", jl_s(w->start_ns - r->start_ns), jl_s(w->end_ns - r->start_ns));
    }
    for (size_t i = 0; i < r->n_requests && i < f->x->n_passes; i++)
        if (f->x->passes[i] == MEASURE_PLAIN)
            add_loads_of(&p, &r->requests[i]);
    if (!isnan(p.seconds))
        run_profile_add_phase(&f->x->p, &p);
}

static enum measure_phase phase_of(enum measure_work w)
{
    return strcmp(run_profile_works[w].phase, "prefill") == 0 ? MEASURE_PREFILL : MEASURE_DECODE;
}

static double host_s(const struct filling *f, enum measure_work w)
{
    return f->x->m ? f->x->m->host_s[MEASURE_PLAIN][w] * f->host : 0;
}

static void power_of(const struct filling *f, enum measure_work w, struct host_power *out)
{
    bool inside = phase_of(w) == MEASURE_DECODE && f->tokens > 0; /* tokenising comes before the first graph */
    host_power(f->x->host.loops, &f->of[phase_of(w)], w, inside ? host_s(f, w) / f->tokens : 0, out);
}

/* Host work of a phase whose power is known: it is taken out of the phase, with its interval: that of two works can be of one
 * power. All else stays there, with its seconds. */
struct taken {
    struct host_part all;
    double elsewhere_s, elsewhere_j; /* of it at a power that is not that of the phase's rest */
};

static struct taken taken_of(const struct filling *f, enum measure_phase of)
{
    struct taken t = {.elsewhere_s = 0};
    for (int w = 0; w < MEASURE_WORKS; w++) {
        double seconds = host_s(f, (enum measure_work)w), j, pm;
        struct host_power power;
        if (phase_of((enum measure_work)w) != of || !(seconds > 0))
            continue;
        power_of(f, (enum measure_work)w, &power);
        if (power.source == HOST_UNKNOWN)
            continue;
        host_taken(&power, seconds, &j, &pm);
        t.all.seconds += seconds;
        t.all.j += j;
        t.all.pm_j += pm;
        t.elsewhere_s += power.source != HOST_REST ? seconds : 0;
        t.elsewhere_j += power.source != HOST_REST ? j : 0;
    }
    return t;
}

static void add_host(struct filling *f, enum measure_work w)
{
    struct run_profile_phase p = phase_named(run_profile_works[w].name);
    struct host_power power;
    p.seconds = host_s(f, w);
    if (!(p.seconds > 0))
        return;
    power_of(f, w, &power);
    p.joules = power.w * p.seconds;
    p.joules_pm = power.pm_w * p.seconds;
    p.limit_j = power.limit_w * p.seconds;
    snprintf(p.power_of, sizeof p.power_of, "%s", host_source_name(power.source));
    f->host_seen = true;
    run_profile_add_phase(&f->x->p, &p);
}

/* Of decoding: one for the tokens of all sequences in it. */
static double steps_of(const struct filling *f)
{
    return f->tokens / fmax(1, f->x->batch);
}

static void add_phase(struct filling *f, enum measure_phase of)
{
    struct run_profile_phase p = phase_named(of == MEASURE_DECODE ? "decode" : "prefill");
    const struct joulet_energy *e = of == MEASURE_DECODE ? &f->plain.decode : &f->plain.prefill;
    p.tokens = of == MEASURE_DECODE ? (int64_t)f->tokens
                                    : f->plain.tokens_in - (f->plain.tokens_cached > 0 ? f->plain.tokens_cached : 0);
    p.steps = of == MEASURE_DECODE ? (int64_t)llround(steps_of(f)) : -1;
    struct host_part left = {of == MEASURE_DECODE ? f->plain.decode_s : f->plain.prefill_s, e->net_j, e->net_pm_j};
    struct taken host = taken_of(f, of);
    if (host.all.seconds > 0)
        host_leave(&left, &host.all);
    p.seconds = left.seconds;
    p.joules = left.j;
    p.joules_pm = left.pm_j;
    struct profile_count all = f->counted ? profile_counts_all(&f->counts[of]) : (struct profile_count){0};
    set_work(&p.flop, &p.bytes, &all, f->counted);
    run_profile_add_phase(&f->x->p, &p);
}

/* In a word, what became of host work where it was not run by itself; where nothing has energy above idle there is no such word.
 */
static void note_host(struct filling *f)
{
    struct profiling *x = f->x;
    const struct host_loop *l = x->host.loops;
    const char *why = x->host.why.message[0]     ? x->host.why.message
                      : profile_attaches(x->cli) ? "nothing is sent to an engine that is attached to"
                      : atomic_load(&cli_cancel) ? "the profile was interrupted"
                                                 : "an answer failed before that";
    if (f->host_seen && !(l[MEASURE_DETOKENISE].seconds > 0) && isfinite(session_idle_total(&x->s).power_w))
        run_profile_note(&x->p,
                         "%s was not run by itself, so its seconds have the power of the rest of the phase, or of other such "
                         "work; where that is not known either, its energy stays in the phase: %s",
                         l[MEASURE_TOKENISE].seconds > 0 ? "detokenising" : "host work", why); /* one after the other */
}

static void add_phases(struct filling *f)
{
    add_load(f);
    add_host(f, MEASURE_TOKENISE);
    add_phase(f, MEASURE_PREFILL);
    add_phase(f, MEASURE_DECODE);
    add_host(f, MEASURE_SAMPLE);
    add_host(f, MEASURE_DETOKENISE);
    note_host(f);
}

/* ---- rows -------------------------------------------------------------------------------------------------------------------
 */

static bool same_component(enum profile_part part, const char *component)
{
    return strcmp(profile_component_name(profile_component_of(part)), component) == 0;
}

/* A norm and a sum with the residual are told by the component that they are in. */
static bool same_part(enum profile_part part, enum wire_part w)
{
    static const enum wire_part of[PROFILE_PARTS] = {[PROFILE_ATTENTION_NORM] = WIRE_NORM,
                                                     [PROFILE_QKV] = WIRE_QKV,
                                                     [PROFILE_ROPE] = WIRE_ROPE,
                                                     [PROFILE_KV_WRITE] = WIRE_KV_WRITE,
                                                     [PROFILE_SCORES] = WIRE_SCORES,
                                                     [PROFILE_ATTENTION_OUTPUT] = WIRE_PROJECTION,
                                                     [PROFILE_ATTENTION_RESIDUAL] = WIRE_RESIDUAL,
                                                     [PROFILE_FFN_NORM] = WIRE_NORM,
                                                     [PROFILE_ROUTER] = WIRE_ROUTER,
                                                     [PROFILE_GATE] = WIRE_GATE,
                                                     [PROFILE_UP] = WIRE_UP,
                                                     [PROFILE_ACTIVATION] = WIRE_ACTIVATION,
                                                     [PROFILE_DOWN] = WIRE_DOWN,
                                                     [PROFILE_EXPERTS] = WIRE_EXPERTS,
                                                     [PROFILE_FFN_RESIDUAL] = WIRE_RESIDUAL,
                                                     [PROFILE_OUTPUT_NORM] = WIRE_NORM};
    return of[part] == w;
}

/* FLOP and bytes of what a row is of. `layer` as a whole is all of its parts. */
static void row_work(const struct filling *f, enum measure_phase phase, struct run_profile_row *row, enum wire_part part)
{
    const struct profile_counts *c = &f->counts[phase];
    struct profile_count sum = {0};
    bool known = false;
    for (int p = 0; f->counted && p < PROFILE_PARTS; p++) {
        bool inside =
            same_component((enum profile_part)p, row->component) || (strcmp(row->component, "layer") == 0 && row->layer >= 0);
        bool mine = inside && (part == WIRE_PART_NONE || same_part((enum profile_part)p, part));
        if (!mine || row->layer >= (int64_t)c->n_layers)
            continue;
        profile_count_add(&sum, row->layer < 0 ? &c->ends[p] : &c->layers[row->layer][p]);
        known = true;
    }
    set_work(&row->flop, &row->bytes, &sum, known);
}

/* Energy of so many seconds of a kind: the same power for the same kind, assumed (8.2). */
static void row_energy(const struct measure_result *r, enum measure_kind kind, double units, struct run_profile_row *row)
{
    double share = r->unit_s[kind] > 0 ? row->seconds / (r->unit_s[kind] * units) : NAN;
    row->joules = row->joules_pm = row->limit_j = NAN;
    if (!r->known || isnan(share))
        return;
    if (r->limit_only[kind]) {
        row->limit_j = r->limit_j[kind] * share * units;
        return;
    }
    row->joules = r->energy_j[kind] * share * units;
    row->joules_pm = r->pm_j[kind] * share * units;
}

static struct run_profile_row row_of(enum measure_phase phase, int64_t layer, const char *component, const char *part,
                                     double seconds)
{
    struct run_profile_row row = {
        .layer = layer, .seconds = seconds, .joules = NAN, .joules_pm = NAN, .limit_j = NAN, .flop = NAN, .bytes = NAN};
    snprintf(row.phase, sizeof row.phase, "%s", phase == MEASURE_DECODE ? "decode" : "prefill");
    snprintf(row.component, sizeof row.component, "%s", component);
    snprintf(row.part, sizeof row.part, "%s", part);
    return row;
}

static double without_stops(const struct filling *f, const struct measure_times *t, enum wire_kind kind, int part)
{
    return fmax(0, t->s[kind][part] - t->n[kind][part] * f->stop_s);
}

/* No stop takes longer than the shortest stretch that ends at one: an estimate above that is noise. */
static double believable_stop_s(const struct measure *m, double stop_s)
{
    for (int p = 0; p < MEASURE_PHASES; p++)
        for (int layer = 0; m->phases[p].layers && layer <= m->layers; layer++)
            for (int kind = 0; kind < WIRE_KINDS; kind++)
                for (int part = 0; part < WIRE_PARTS; part++) {
                    const struct measure_times *t = &m->phases[p].layers[layer];
                    if (t->n[kind][part] > 0)
                        stop_s = fmin(stop_s, LONGEST_STOP * t->s[kind][part] / t->n[kind][part]);
                }
    return stop_s;
}

/* `scale`: from seconds of its layers to those of the record. */
static void add_kind(struct filling *f, enum measure_phase phase, int layer, enum wire_kind kind, double units, double scale)
{
    const struct measure_times *t = &f->x->m->phases[phase].layers[layer];
    double sum_s = 0, own_s = 0;
    for (int part = 0; part < WIRE_PARTS; part++) {
        sum_s += t->s[kind][part];
        own_s += without_stops(f, t, kind, part);
    }
    if (!(sum_s > 0))
        return;
    struct run_profile_row row = row_of(phase, layer - 1, measure_component_name(kind), "", sum_s * scale);
    row_energy(&f->of[phase], measure_kind_of(kind), units, &row);
    row.seconds = own_s * scale; /* no part of it is longer */
    row_work(f, phase, &row, WIRE_PART_NONE);
    run_profile_add_row(&f->x->p, &row);
    for (int part = 1; part < WIRE_PARTS; part++) {
        if (!(t->s[kind][part] > 0))
            continue;
        row = row_of(phase, layer - 1, measure_component_name(kind), ring_part_name((enum wire_part)part),
                     t->s[kind][part] * scale);
        row_energy(&f->of[phase], measure_kind_of(kind), units, &row);
        row.seconds = without_stops(f, t, kind, part) * scale;
        row_work(f, phase, &row, (enum wire_part)part);
        run_profile_add_row(&f->x->p, &row);
    }
}

/* What no stretch covers and is no phase of its own. The energy of the rest holds host work: that at the rest's own power goes
 * with its seconds, other joules are taken off. Shares of time are without it already. */
static void add_rest(struct filling *f, enum measure_phase phase, double units)
{
    const struct measure *m = f->x->m;
    const struct measure_result *r = &f->of[phase];
    double named_s = measure_layers_s(m, phase, MEASURE_REST, 0) * units * measure_layers_scale(m, phase, MEASURE_REST);
    struct taken host = {.elsewhere_s = 0};
    if (phase == MEASURE_DECODE)
        host = taken_of(f, phase);
    double left_s = fmax(0, r->unit_s[MEASURE_REST] * units - named_s - host.all.seconds);
    if (!(left_s + host.elsewhere_s > 0))
        return;
    bool time = r->path == JOULET_COMPONENTS_TIME;
    double held_s = r->limit_only[MEASURE_REST] ? host.all.seconds : host.elsewhere_s; /* any of it may draw the limit */
    struct run_profile_row row = row_of(phase, -1, "rest", "", left_s + (time ? 0 : held_s));
    row_energy(r, MEASURE_REST, units, &row);
    struct host_part left = {0, row.joules, row.joules_pm};
    host_leave(&left, &(struct host_part){0, time ? 0 : host.elsewhere_j, host.all.pm_j});
    row.seconds = left_s;
    row.joules = left.j;
    row.joules_pm = left.pm_j;
    run_profile_add_row(&f->x->p, &row);
}

static void add_rows(struct filling *f, enum measure_phase phase, double units)
{
    const struct measure *m = f->x->m;
    const struct measure_of_phase *p = &m->phases[phase];
    double scale[MEASURE_KINDS];
    if (!p->layers || !(p->layer_units > 0) || !(units > 0))
        return;
    for (int k = 0; k < MEASURE_KINDS; k++)
        scale[k] = units * measure_layers_scale(m, phase, (enum measure_kind)k);
    for (int layer = 0; layer <= m->layers; layer++)
        for (int kind = WIRE_EMBEDDING; kind < WIRE_KINDS; kind++)
            add_kind(f, phase, layer, (enum wire_kind)kind, units, scale[measure_kind_of((enum wire_kind)kind)]);
    add_rest(f, phase, units);
}

/* ---- energy against the place in the context
 * ------------------------------------------------------------------------------------- */

static void add_points(struct filling *f)
{
    const struct measure_result *r = &f->of[MEASURE_DECODE];
    for (size_t b = 0; r->known && b < MEASURE_BUCKETS; b++) {
        const struct measure_bucket *k = &f->x->m->buckets[b];
        struct run_profile_point all = {.series = "position", .phase = "decode", .limit_j = NAN};
        double u2 = 0;
        if (!(k->tokens > 0))
            continue;
        all.x = k->positions / k->tokens;
        all.tokens = k->tokens;
        for (int kind = 0; kind < MEASURE_KINDS; kind++) {
            static const char *const names[] = {"attention", "ffn", "head", "norm", "layer", "rest"};
            double share = r->unit_s[kind] > 0 ? k->kind_s[kind] / k->tokens / r->unit_s[kind] : 0;
            struct run_profile_point one = all;
            if (share <= 0)
                continue;
            snprintf(one.component, sizeof one.component, "%s", names[kind]);
            one.seconds = k->kind_s[kind] / k->tokens;
            one.joules = r->energy_j[kind] * share;
            one.joules_pm = r->pm_j[kind] * share;
            all.seconds += one.seconds;
            all.joules += one.joules;
            u2 += one.joules_pm * one.joules_pm;
            run_profile_add_point(&f->x->p, &one);
        }
        all.joules_pm = sqrt(u2);
        run_profile_add_point(&f->x->p, &all);
    }
}

/* ---- how it was found
 * ----------------------------------------------------------------------------------------------------------- */

/* J of a token of decoding over the requests of one kind of pass. */
static bool token_j(struct profiling *x, enum measure_pass pass, double *ratio, double *pm)
{
    double *j = calloc(2 * x->n_passes + 1, sizeof *j), *tokens = j ? j + x->n_passes : NULL;
    size_t n = 0;
    for (size_t i = 0; j && i < x->n_passes && i < x->s.run.n_requests; i++) {
        const struct run_request *q = &x->s.run.requests[i];
        const struct run_window *w = q->n_windows ? &q->windows[q->n_windows - 1] : NULL;
        if (x->passes[i] != pass || q->outcome != RUN_OK || !w || strcmp(w->name, "decode") != 0 || q->tokens.generated < 2 ||
            isnan(w->energy.total.net_j))
            continue;
        j[n] = w->energy.total.net_j;
        tokens[n++] = (double)q->tokens.generated - 1;
    }
    if (n)
        joulet_ratio_of_sums(j, tokens, n, ratio, pm);
    free(j);
    return n > 0;
}

void profile_stops(const struct profiling *x, double *stops, double *pm)
{
    struct step_cost cost;
    *stops = *pm = NAN;
    if (!steps_cost(x->m->paired, x->m->n_paired, &cost) || cost.pairs == 0 || !(cost.plain_s > 0))
        return;
    *stops = cost.extra_s / cost.plain_s;
    *pm = (cost.high_s - cost.low_s) / 2 / cost.plain_s;
}

static void cost_of_probe(struct profiling *x, struct run_profile_how *h)
{
    double plain, plain_pm, watched, watched_pm;
    if (token_j(x, MEASURE_PLAIN, &plain, &plain_pm) &&
        token_j(x, x->every > 1 ? MEASURE_SAMPLED : MEASURE_WATCHED, &watched, &watched_pm) && plain > 0) {
        h->instrumented = watched / plain;
        h->instrumented_pm = h->instrumented * hypot(plain_pm / plain, watched_pm / watched);
    }
    profile_stops(x, &h->stops, &h->stops_pm);
    h->stretches = x->m->graph_s > 0 ? x->m->stretch_s / x->m->graph_s : NAN;
    h->between = x->m->graph_s > 0 ? x->m->stop_s / x->m->graph_s : NAN;
}

static const char *path_name(enum joulet_components_path p)
{
    return p == JOULET_COMPONENTS_PLAIN ? "plain" : p == JOULET_COMPONENTS_LOCKIN ? "lock-in" : "time";
}

static void set_reason(struct profiling *x, const struct measure_result *r)
{
    struct run_profile_how *h = &x->p.how;
    struct ring_info info;
    const char *why = joulet_components_reason_text(r->reason);
    if (r->path != JOULET_COMPONENTS_TIME)
        return;
    ring_info(x->ring, &info);
    if (x->every > 1)
        why = "only some of the graphs were watched, so time shares are shown, assuming equal power";
    else if (x->lockin && info.counts[WIRE_N_REPEATS] == 0)
        why = "nothing could be executed again in this engine, so time shares are shown, assuming equal power";
    else if (x->level == WIRE_NODES && !x->lockin && r->reason == JOULET_COMPONENTS_ALIKE)
        why = "nothing is executed again at level nodes, so time shares are shown, assuming equal power";
    else if (r->reason == JOULET_COMPONENTS_COSTLY && !measure_costly(h->instrumented, h->instrumented_pm))
        why = "what measuring took of the energy is not known well enough, so time shares are shown, assuming equal power";
    snprintf(h->reason, sizeof h->reason, "%s", why);
}

/* J of a token or prompt that shares of time are made of: what is left of it without host work, and for each second of that as
 * much again, so that all that is left has one power. */
static double without_host(const struct filling *f, enum measure_phase phase, double unit_j)
{
    const struct measure_result *r = &f->of[phase];
    double units = phase == MEASURE_DECODE ? f->tokens : f->prompts, all_s = 0;
    struct taken host = taken_of(f, phase);
    for (int k = 0; k < MEASURE_KINDS; k++)
        all_s += r->unit_s[k];
    double inside_s = phase == MEASURE_DECODE ? host.all.seconds / units : 0;
    if (!(units > 0) || !(inside_s < all_s) || !(host.all.seconds > 0))
        return unit_j;
    struct host_part left = {.j = unit_j * units};
    host_leave(&left, &host.all);
    return left.j / units * all_s / (all_s - inside_s);
}

static void solve(struct filling *f)
{
    struct profiling *x = f->x;
    struct run_profile_how *h = &x->p.how;
    double plain_j = NAN, plain_pm = NAN;
    cost_of_probe(x, h);
    double scale = measure_scale(h->instrumented, h->instrumented_pm);
    double open = measure_scale_pm(h->instrumented, h->instrumented_pm, h->stops, h->stops_pm);
    token_j(x, MEASURE_PLAIN, &plain_j, &plain_pm);
    for (int p = 0; p < MEASURE_PHASES; p++) {
        struct measure_result *r = &f->of[p];
        double unit_j = p == MEASURE_DECODE ? plain_j : f->prompts > 0 ? f->plain.prefill.net_j / f->prompts : NAN;
        if (!measure_solve(x->m, (enum measure_phase)p, scale, open, r))
            run_profile_note(&x->p, "out of memory for the stretches of this profile: time shares are shown");
        if (!r->known || r->path == JOULET_COMPONENTS_TIME || x->every > 1) {
            r->path = JOULET_COMPONENTS_TIME;
            measure_by_time(x->m, (enum measure_phase)p, without_host(f, (enum measure_phase)p, unit_j), r);
        }
        measure_limit_unseen(r, unit_j, p == MEASURE_DECODE ? plain_pm : f->plain.prefill.net_pm_j / f->prompts);
    }
    const struct measure_result *d = &f->of[MEASURE_DECODE];
    double sum_j = 0;
    for (int k = 0; k < MEASURE_KINDS; k++)
        sum_j += d->energy_j[k];
    snprintf(h->path, sizeof h->path, "%s", path_name(d->path));
    set_reason(x, d);
    h->condition = d->condition;
    h->closure = d->path == JOULET_COMPONENTS_TIME ? d->closure : plain_j > 0 ? sum_j / plain_j : d->closure;
    h->lag_s = d->lag_s;
    h->rise_s = d->rise_s;
    h->windows = (int64_t)d->windows;
    h->measured_j = f->plain.decode.net_j;
    h->measured_pm = f->plain.decode.net_pm_j;
    if (f->of[MEASURE_PREFILL].known && f->of[MEASURE_PREFILL].path == JOULET_COMPONENTS_TIME &&
        d->path != JOULET_COMPONENTS_TIME)
        run_profile_note(&x->p, "prefill: %s", joulet_components_reason_text(f->of[MEASURE_PREFILL].reason));
    if (x->m->overflows)
        run_profile_note(&x->p,
                         "in %llu requests a step had more than %zu stretches: neither it nor what came after it there counts",
                         (unsigned long long)x->m->overflows, MEASURE_PENDING);
    for (int k = 0; k < MEASURE_REST; k++)
        if (d->warm[k] && d->path == JOULET_COMPONENTS_LOCKIN)
            run_profile_note(&x->p, "stretches that were executed again took more than a tenth less or longer than the first "
                                    "time: their data was not as "
                                    "far away as it is in a token");
}

static void describe_how(struct profiling *x)
{
    struct run_profile_how *h = &x->p.how;
    struct joulet_baseline idle = session_idle_total(&x->s);
    struct jl_buf names;
    jl_buf_init(&names, 4096);
    h->simulated = 0;
    for (size_t i = 0; i < x->s.n_channels; i++) {
        const struct joulet_channel *c = &x->s.run.channels[i];
        if (!c->in_total || !session_has_energy(c))
            continue;
        jl_buf_printf(&names, "%s%s", names.len ? " + " : "", c->id);
        h->estimated |= c->provenance == JOULET_ESTIMATED;
        if (c->provenance == JOULET_SIMULATED)
            h->simulated = 1;
    }
    if (h->simulated > 0)
        run_profile_note(&x->p, "the sensor is simulated or replayed: its joules are not those of this machine");
    h->idle_w = idle.power_w;
    h->idle_w_pm = 2 * idle.u_w;
    x->p.sensor = jl_buf_take(&names);
    h->slot = cli_int(x->cli, "slot", -1);
    h->first_tokens = cli_int(x->cli, "first-tokens", -1);
    h->requests = profile_attaches(x->cli) ? cli_int(x->cli, "requests", -1) : -1;
    snprintf(h->path, sizeof h->path, "stages");
    snprintf(h->level, sizeof h->level, "stages");
    if (!x->probe)
        return;
    struct ring_info info;
    char captured[240];
    ring_info(x->ring, &info);
    if (probe_capture(&info, captured, sizeof captured))
        run_profile_note(&x->p, "%s", captured);
    snprintf(h->level, sizeof h->level, "%s", ring_level_name(info.level));
    h->every = x->every;
    h->records = (int64_t)x->m->records;
    h->lost = (int64_t)ring_lost(x->ring);
    h->flash = x->m->flash;
}

/* A layer that is left out says whether each draws what the others do (8.9). */
static void check_layers(struct filling *f, struct run_profile_how *h)
{
    struct profile_difference d;
    struct layers_check c;
    int left_out = profile_against_layers(f->x, &d);
    if (!left_out)
        return;
    layers_check(f->x->m, &f->of[MEASURE_DECODE], left_out, &d, session_idle_total(&f->x->s).u_w, &c);
    if (isnan(c.ratio)) {
        run_profile_note(&f->x->p, "what leaving layers out saves is held against nothing: no energy of components was measured");
        return;
    }
    h->layers_left_out = left_out;
    h->layers_saved_j = c.saved_j;
    h->layers_told_j = c.told_j;
    h->layers_ratio = c.ratio;
    h->layers_ratio_pm = c.ratio_pm;
    if (c.verdict != LAYERS_UNTOLD)
        snprintf(h->layers_power, sizeof h->layers_power, c.verdict == LAYERS_ALIKE ? "checked" : "differs");
}

static void tell_layers(struct filling *f)
{
    struct run_profile *p = &f->x->p;
    bool by_layer = false;
    for (size_t i = 0; i < p->n_rows; i++)
        by_layer |= p->rows[i].layer >= 0 && (isfinite(p->rows[i].joules) || isfinite(p->rows[i].limit_j));
    if (!by_layer)
        return;
    snprintf(p->how.layers_power, sizeof p->how.layers_power, "assumed");
    check_layers(f, &p->how);
}

static void take_pairs(struct profiling *x)
{
    struct run *r = &x->s.run;
    struct run_pairs engine = x->p.engine;
    x->p.machine = r->machine;
    x->p.engine = r->engine;
    x->p.model = r->model;
    x->p.settings = r->settings;
    r->machine = r->engine = r->model = r->settings = (struct run_pairs){0};
    for (size_t i = 0; i < engine.n; i++)
        run_pairs_set(&x->p.engine, engine.items[i].key, engine.items[i].kind, "%s", engine.items[i].value);
    run_pairs_release(&engine);
}

/* What lies in a phase whose own energy is not resolved has none. */
static void leave_unresolved(struct run_profile *p)
{
    for (size_t i = 0; i < p->n_rows; i++)
        p->rows[i] = run_profile_known_row(p, &p->rows[i]);
    for (size_t i = 0; i < p->n_points; i++)
        p->points[i] = run_profile_known_point(p, &p->points[i]);
}

bool profile_record(struct profiling *x)
{
    struct filling f = {.x = x};
    char stop[32];
    double answers = 0;
    profile_leave_out_lost(x);
    for (size_t i = 0; i < x->s.run.n_requests && i < x->n_passes; i++) {
        const struct run_request *q = &x->s.run.requests[i];
        bool plain = x->passes[i] == MEASURE_PLAIN && q->outcome == RUN_OK;
        answers += plain;
        f.prompts +=
            plain && q->n_windows && strcmp(q->windows[0].name, "decode") != 0; /* seen in pieces: the others have none */
    }
    f.host = x->bound.turns[MEASURE_PLAIN] > answers && answers > 0 ? answers / (double)x->bound.turns[MEASURE_PLAIN] : 1;
    profile_sum(x, MEASURE_PLAIN, &f.plain);
    f.tokens = fmax(0, (double)f.plain.tokens_out - answers);
    describe_how(x);
    for (size_t i = 0; i < x->s.run.n_notes; i++)
        run_profile_note(&x->p, "%s", x->s.run.notes[i]);
    take_pairs(x);
    f.counted = profile_work(x, f.counts);
    if (x->probe && x->level != WIRE_STAGES)
        solve(&f);
    add_phases(&f);
    profile_host_record(x);
    profile_tell(x, f.counted ? &f.counts[MEASURE_DECODE] : NULL, steps_of(&f));
    if (x->probe && x->level != WIRE_STAGES) {
        f.stop_s = believable_stop_s(x->m, measure_stop_s(x->m));
        if (f.stop_s > 0)
            run_profile_note(&x->p, "%s of each stretch were its stop: they are taken off its time",
                             report_si(stop, sizeof stop, f.stop_s, "s"));
        add_rows(&f, MEASURE_PREFILL, f.prompts);
        add_rows(&f, MEASURE_DECODE, f.tokens);
        add_points(&f);
        leave_unresolved(&x->p);
        tell_layers(&f);
        profile_replay_record(x, &f.of[MEASURE_DECODE], measure_scale(x->p.how.instrumented, x->p.how.instrumented_pm));
    }
    for (size_t i = 0; i < x->p.n_phases; i++)
        run_profile_whole_phase(&x->p, &x->p.phases[i]);
    profile_roof(&x->p);
    profile_give_advice(&x->p);
    profile_power_record(x);
    profile_bound_note(x);
    x->p.seconds = jl_s(joulet_now() - x->s.run.start_ns);
    for (int p = 0; p < MEASURE_PHASES; p++)
        profile_counts_release(&f.counts[p]);
    return true;
}
