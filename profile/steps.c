/* steps.c - a step's records come before it, from the thread that computed it: stretches, their graph, its sequences, the step
 * itself. Several contexts may compute at once, each in a thread of its own. */
#include "profile/steps.h"

#include "lib/stats/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void steps_init(struct steps *s)
{
    memset(s, 0, sizeof(*s));
}

static struct step_thread *thread_of(struct steps *s, uint32_t thread)
{
    for (int i = 0; i < STEP_THREADS; i++) {
        struct step_thread *t = &s->threads[i];
        if (t->used && t->thread == thread)
            return t;
        if (t->used)
            continue;
        t->used = true;
        t->thread = thread;
        return t;
    }
    s->dropped++;
    return NULL;
}

static void add_sequence(struct profile_step *p, const struct ring_record *r)
{
    if (r->tokens == 1)
        p->decoded++;
    else if (r->tokens != WIRE_UNKNOWN)
        p->prefilled += r->tokens;
    if (p->n_sequences < STEP_SEQUENCES)
        p->sequences[p->n_sequences] = (struct step_sequence){r->a, r->tokens, r->b};
    p->n_sequences++;
}

/* Stretches of one graph follow each other; what passes between them, no engine without stops would wait for. */
static void follow(struct step_graph *g, const struct ring_record *r)
{
    if (!g->begun || g->number != r->c || g->source != r->source)
        *g = (struct step_graph){.begun = true, .number = r->c, .source = r->source, .t0_ns = r->t0_ns, .end_ns = r->t0_ns};
    g->between_ns += r->t0_ns > g->end_ns ? r->t0_ns - g->end_ns : 0;
    g->end_ns = r->t1_ns;
    g->stretches++;
}

/* Not where stretches of it were lost: they would count as time between the others. */
static void end_graph(struct step_graph *g, struct profile_step *p, const struct ring_record *r)
{
    if (g->begun && g->number == r->c && g->source == r->source && g->stretches >= r->b) {
        p->stop_ns += g->between_ns;
        p->open_ns += g->t0_ns > r->t0_ns ? g->t0_ns - r->t0_ns : 0;
        p->close_ns += r->t1_ns > g->end_ns ? r->t1_ns - g->end_ns : 0;
    }
    g->begun = false;
}

static void add_stretch(struct profile_step *p, struct step_graph *g, const struct ring_record *r)
{
    if (r->flags & WIRE_REPEATED) {
        p->repeated = true;
        return;
    }
    follow(g, r);
    p->kind_ns[r->kind] += r->t1_ns - r->t0_ns;
    p->kind_n[r->kind]++;
    p->stretch_ns += r->t1_ns - r->t0_ns;
}

bool steps_add(struct steps *s, const struct ring_record *r, struct profile_step *out)
{
    bool outside = r->flags & WIRE_OUTSIDE, of_step = r->kind == WIRE_STEP || r->kind == WIRE_SEQUENCE ||
                                                      (r->kind >= WIRE_GRAPH && !outside) || (r->kind == WIRE_WAIT && outside);
    if (r->kind == WIRE_GRAPH && outside) {
        s->outside++;
        s->outside_ns += r->t1_ns - r->t0_ns;
    }
    struct step_thread *t = of_step ? thread_of(s, r->thread) : NULL;
    if (!t)
        return false;
    struct profile_step *p = &t->open;
    if (r->kind == WIRE_SEQUENCE) {
        add_sequence(p, r);
    } else if (r->kind == WIRE_WAIT) {
        p->waited_ns += r->t1_ns - r->t0_ns;
    } else if (r->kind == WIRE_GRAPH) {
        p->graphs++;
        p->watched += (r->flags & WIRE_WATCHED) != 0;
        p->stops += r->b;
        p->nodes += r->a;
        p->graph_ns += r->t1_ns - r->t0_ns;
        end_graph(&t->graph, p, r);
    } else if (r->kind != WIRE_STEP) {
        add_stretch(p, &t->graph, r);
    } else {
        p->t0_ns = r->t0_ns;
        p->t1_ns = r->t1_ns;
        p->number = r->c;
        p->context = r->source;
        p->tokens = r->tokens;
        p->failed = r->flags & WIRE_FAILED;
        p->vectors = r->flags & WIRE_VECTORS;
        p->turn = wire_segment_of(r->flags) < WIRE_TURNS ? (enum wire_turn)wire_segment_of(r->flags) : WIRE_TURN_NONE;
        *out = *p;
        memset(p, 0, sizeof(*p));
        return true;
    }
    return false;
}

/* ---- cost -------------------------------------------------------------------------------------------------------------------
 */

static bool plain_decode(const struct profile_step *p)
{
    return !p->failed && !p->repeated && p->graphs == 1 && p->prefilled == 0 && p->decoded > 0;
}

/* With the wait after it: on devices that compute on their own a step without stops only begins them. */
static double length_s(const struct profile_step *p)
{
    return jl_s(p->t1_ns - p->t0_ns + p[1].waited_ns);
}

/* Distribution-free interval of a median: ranks n/2 -+ 0.98 sqrt(n) of ascending values. */
static void interval(const double *x, size_t n, struct step_cost *out)
{
    double half = 0.98 * sqrt((double)n), middle = (double)(n - 1) / 2;
    double low = floor(middle - half), high = ceil(middle + half);
    out->low_s = low < 0 ? NAN : x[(size_t)low];
    out->high_s = high > (double)(n - 1) ? NAN : x[(size_t)high];
}

/* Frees both. */
static bool medians(double *extra, double *plain, struct step_cost *out)
{
    bool whole = extra && plain;
    if (whole && out->pairs > 0) {
        out->plain_s = jl_median(plain, out->pairs);
        out->extra_s = jl_median(extra, out->pairs);
        interval(extra, out->pairs, out);
    }
    free(extra);
    free(plain);
    return whole;
}

bool steps_cost(const struct profile_step *steps, size_t n, struct step_cost *out)
{
    double *extra = malloc((n + 1) * sizeof(*extra)), *plain = malloc((n + 1) * sizeof(*plain));
    double stops = 0;
    *out = (struct step_cost){0, NAN, NAN, NAN, NAN, NAN};
    for (size_t i = 1; extra && plain && i + 2 < n; i++) {
        const struct profile_step *a = &steps[i - 1], *b = &steps[i], *c = &steps[i + 1];
        bool same = a->tokens == b->tokens && b->tokens == c->tokens && a->context == b->context && b->context == c->context;
        if (!same || !plain_decode(a) || !plain_decode(b) || !plain_decode(c) || a->watched != c->watched ||
            a->watched == b->watched)
            continue;
        double middle = length_s(b), beside = (length_s(a) + length_s(c)) / 2;
        extra[out->pairs] = b->watched ? middle - beside : beside - middle;
        plain[out->pairs++] = b->watched ? beside : middle;
        stops += b->watched ? b->stops : a->stops;
    }
    bool whole = medians(extra, plain, out);
    out->stop_s = stops > 0 ? out->extra_s / (stops / (double)out->pairs) : NAN;
    return whole;
}

/* Four steps of one token each, every turn once, and the one after them. */
static bool four_turns(const struct profile_step *s, const struct profile_step *of[WIRE_TURNS])
{
    for (int i = 0; i < WIRE_TURNS; i++)
        of[i] = NULL;
    for (int i = 0; i < WIRE_TURNS; i++)
        if (s[i].tokens != 1 || s[i].failed || s[i].context != s[0].context || s[i].turn == WIRE_TURN_NONE)
            return false;
    for (int i = 0; i < WIRE_TURNS - WIRE_TURN_OFF; i++) {
        if (of[s[i].turn])
            return false;
        of[s[i].turn] = &s[i];
    }
    return true;
}

static double until_next_s(const struct profile_step *s)
{
    return jl_s(s[1].t0_ns - s[0].t0_ns);
}

bool steps_turn_cost(const struct profile_step *steps, size_t n, enum wire_turn turn, struct step_cost *out)
{
    double *extra = malloc((n + 1) * sizeof(*extra)), *plain = malloc((n + 1) * sizeof(*plain));
    const struct profile_step *of[WIRE_TURNS];
    *out = (struct step_cost){0, NAN, NAN, NAN, NAN, NAN};
    for (size_t i = 0; extra && plain && i + WIRE_TURNS <= n; i++) {
        if (!four_turns(&steps[i], of))
            continue;
        plain[out->pairs] = until_next_s(of[WIRE_TURN_OFF]);
        extra[out->pairs] = until_next_s(of[turn]) - plain[out->pairs];
        out->pairs++;
        i += WIRE_TURNS - WIRE_TURN_OFF - 1;
    }
    return medians(extra, plain, out);
}

/* ---- without it --------------------------------------------------------------------------------------------------------- */

double step_stop_inside_s(const struct profile_step *p, double stop_s)
{
    double between_s = p->stops ? jl_s(p->stop_ns) / p->stops : 0;
    return stop_s > between_s ? stop_s - between_s : 0;
}

double step_stretch_s(const struct ring_record *r, double inside_s)
{
    return fmax(0, jl_s(r->t1_ns - r->t0_ns) - inside_s);
}

void step_without_stops(struct profile_step *p, double stop_s)
{
    int64_t inside_ns = jl_ns(step_stop_inside_s(p, stop_s)), off;
    p->stretch_ns = 0;
    for (int k = 0; k < WIRE_KINDS; k++) {
        off = inside_ns * p->kind_n[k];
        p->kind_ns[k] = p->kind_ns[k] > off ? p->kind_ns[k] - off : 0;
        p->stretch_ns += p->kind_ns[k];
    }
    off = stop_s > 0 ? jl_ns(stop_s * p->stops) : 0;
    p->graph_ns = p->graph_ns - off > p->stretch_ns ? p->graph_ns - off : p->stretch_ns;
    p->stop_ns = off ? 0 : p->stop_ns;
    p->stops = 0;
}
