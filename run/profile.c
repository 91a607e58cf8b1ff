/* profile.c - the record of a profile in memory: made empty, filled row by row, summed up, released. Unknown is NAN, NULL or -1
 * from the start, as in record.c. */
#include "run/profile.h"

#include "run/internal.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void run_profile_init(struct run_profile *p)
{
    *p = (struct run_profile){.started_wall_ns = jl_wall_ns(), .seconds = NAN};
    struct run_profile_how *h = &p->how;
    h->every = h->layers_left_out = h->slot = h->first_tokens = h->requests = -1;
    h->layers_saved_j = h->layers_told_j = h->layers_ratio = h->layers_ratio_pm = NAN;
    h->condition = h->closure = h->instrumented = h->instrumented_pm = h->stops = h->stops_pm = h->stretches = h->between = NAN;
    h->lag_s = h->rise_s = h->idle_w = h->idle_w_pm = h->measured_j = h->measured_pm = NAN;
    run_make_id(p->id, sizeof p->id, p->started_wall_ns);
    p->version = jl_strdup(JOULET_VERSION);
}

void run_profile_release(struct run_profile *p)
{
    struct run_pairs *pairs[] = {&p->machine, &p->engine, &p->model, &p->settings};
    for (size_t i = 0; i < JL_COUNT(pairs); i++)
        run_pairs_release(pairs[i]);
    for (size_t i = 0; i < p->n_notes; i++)
        free(p->notes[i]);
    void *lists[] = {p->title,  p->version, p->sensor, p->phases, p->rows,   p->points,
                     p->replay, p->host,    p->trace,  p->spans,  p->advice, p->notes};
    for (size_t i = 0; i < JL_COUNT(lists); i++)
        free(lists[i]);
    *p = (struct run_profile){0};
}

/* A copy of *x at the end of *list; its place there, NULL on no memory or beyond `most`. Room doubles at powers of two. */
static void *append(void **list, size_t *n, size_t most, const void *x, size_t size)
{
    if (*n >= most)
        return NULL;
    if ((*n & (*n - 1)) == 0) {
        void *grown = realloc(*list, (*n ? 2 * *n : 1) * size);
        if (!grown)
            return NULL;
        *list = grown;
    }
    return memcpy((char *)*list + (*n)++ * size, x, size);
}

struct run_profile_phase *run_profile_add_phase(struct run_profile *p, const struct run_profile_phase *x)
{
    return append((void **)&p->phases, &p->n_phases, RUN_PROFILE_PHASES_MAX, x, sizeof *x);
}

struct run_profile_row *run_profile_add_row(struct run_profile *p, const struct run_profile_row *x)
{
    return append((void **)&p->rows, &p->n_rows, RUN_PROFILE_ROWS_MAX, x, sizeof *x);
}

struct run_profile_point *run_profile_add_point(struct run_profile *p, const struct run_profile_point *x)
{
    return append((void **)&p->points, &p->n_points, RUN_PROFILE_POINTS_MAX, x, sizeof *x);
}

struct run_profile_replay *run_profile_add_replay(struct run_profile *p, const struct run_profile_replay *x)
{
    return append((void **)&p->replay, &p->n_replay, RUN_PROFILE_REPLAY_MAX, x, sizeof *x);
}

struct run_profile_host *run_profile_add_host(struct run_profile *p, const struct run_profile_host *x)
{
    return append((void **)&p->host, &p->n_host, RUN_PROFILE_HOST_MAX, x, sizeof *x);
}

bool run_profile_add_sample(struct run_profile *p, double t_s, double w)
{
    return append((void **)&p->trace, &p->n_trace, RUN_PROFILE_TRACE_MAX, &(struct run_profile_sample){t_s, w}, sizeof *p->trace);
}

bool run_profile_add_span(struct run_profile *p, const char *stage, double from_s, double to_s)
{
    struct run_profile_span x = {.from_s = from_s, .to_s = to_s};
    snprintf(x.stage, sizeof x.stage, "%s", stage);
    return append((void **)&p->spans, &p->n_spans, RUN_PROFILE_SPANS_MAX, &x, sizeof x);
}

struct run_profile_advice *run_profile_add_advice(struct run_profile *p, const struct run_profile_advice *x)
{
    return append((void **)&p->advice, &p->n_advice, RUN_PROFILE_ADVICE_MAX, x, sizeof *x);
}

bool run_profile_note(struct run_profile *p, const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0)
        return false;
    for (size_t i = 0; i < p->n_notes; i++)
        if (!strcmp(p->notes[i], text)) {
            free(text); /* said once */
            return true;
        }
    if (append((void **)&p->notes, &p->n_notes, RUN_NOTES_MAX, &text, sizeof text))
        return true;
    free(text);
    return false;
}

const struct run_profile_work run_profile_works[RUN_PROFILE_WORKS] = {
    {"tokenise", "prefill"}, {"sample", "decode"}, {"detokenise", "decode"}};

const char *run_profile_phase_of(const char *work)
{
    for (size_t i = 0; i < RUN_PROFILE_WORKS; i++)
        if (strcmp(run_profile_works[i].name, work) == 0)
            return run_profile_works[i].phase;
    return NULL;
}

const struct run_profile_phase *run_profile_phase(const struct run_profile *p, const char *name)
{
    for (size_t i = 0; i < p->n_phases; i++)
        if (!strcmp(p->phases[i].name, name))
            return &p->phases[i];
    return NULL;
}

bool run_profile_resolved(const struct run_profile *p, const char *phase)
{
    const struct run_profile_phase *x = run_profile_phase(p, phase);
    return !x || x->power_of[0] || isnan(x->joules) || x->joules > (isnan(x->joules_pm) ? 0 : x->joules_pm);
}

double run_profile_most(const struct run_profile *p, const struct run_profile_phase *x)
{
    if (isnan(x->joules))
        return x->limit_j;
    return run_profile_resolved(p, x->name) ? NAN : fmax(0, x->joules) + (isnan(x->joules_pm) ? 0 : x->joules_pm);
}

struct run_profile_row run_profile_known_row(const struct run_profile *p, const struct run_profile_row *r)
{
    struct run_profile_row known = *r;
    if (!run_profile_resolved(p, r->phase))
        known.joules = known.joules_pm = known.limit_j = NAN;
    return known;
}

struct run_profile_point run_profile_known_point(const struct run_profile *p, const struct run_profile_point *x)
{
    struct run_profile_point known = *x;
    if (!strcmp(x->series, "position") && !run_profile_resolved(p, x->phase))
        known.joules = known.joules_pm = known.limit_j = NAN;
    return known;
}

struct run_profile_row run_profile_sum(const struct run_profile *p, const char *phase, const char *component, int64_t layer)
{
    struct run_profile_row sum = {.layer = layer, .limit_j = NAN};
    double square = 0;
    size_t n = 0;
    snprintf(sum.phase, sizeof sum.phase, "%s", phase);
    snprintf(sum.component, sizeof sum.component, "%s", component ? component : "");
    for (size_t i = 0; i < p->n_rows; i++) {
        const struct run_profile_row *r = &p->rows[i];
        if (r->part[0] || strcmp(r->phase, phase) || (component && strcmp(r->component, component)) ||
            (layer != RUN_PROFILE_ALL_LAYERS && r->layer != layer))
            continue;
        n++;
        sum.seconds += r->seconds;
        sum.joules += r->joules;
        square += r->joules_pm * r->joules_pm;
        sum.flop += r->flop;
        sum.bytes += r->bytes;
    }
    sum.joules_pm = sqrt(square);
    if (!n)
        sum.seconds = sum.joules = sum.joules_pm = sum.flop = sum.bytes = NAN;
    return sum;
}

#define NESTED_MAX 16 /* spans that one span may hold: a file with more of them is playing with us */

const char *run_profile_stage(const struct run_profile *p, double t_s)
{
    size_t lo = 0, hi = p->n_spans;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (p->spans[mid].from_s <= t_s)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (size_t i = lo; i-- > 0 && lo - i <= NESTED_MAX;)
        if (p->spans[i].from_s <= t_s && t_s < p->spans[i].to_s)
            return p->spans[i].stage;
    return "";
}
