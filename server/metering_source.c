/* metering_source.c - an upstream that is a joulet server measures by itself (docs/proxy.md): each request is asked for there by
 * the id that its answer carried, until its figure is final. A thread of its own asks; the devices of this machine have no part
 * in such requests. */
#include "server/metering_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SLEEP_NS    ((int64_t)50 * 1000000)
#define FIRST_S     0.3  /* figures settle within about a second */
#define STEP_MOST_S 4.0  /* between two questions for the same request */
#define UNKNOWN     4    /* one that was not known so often it never will know; a time says little where both stood still in it */
#define PATIENCE_S  90.0 /* until then its sensors have been given up there, too */
#define ANSWER_S    2.0
#define SILENT_NS   ((int64_t)2 * JL_NS_PER_S)
#define OTHER_NS    ((int64_t)60 * JL_NS_PER_S) /* it is none: it may become one */

bool metering_waits(const struct metered *x)
{
    return (x->entered || x->sourced) && !x->final;
}

/* ---- who it is: under the lock -------------------------------------------------------------------------------------------- */

static void set_text(char **to, const char *text)
{
    char *copy = text ? jl_strdup(text) : NULL;
    free(*to);
    *to = copy;
}

static void set_source(struct metering_host *p, const char *base)
{
    set_text(&p->base, base);
    p->source = p->base != NULL;
    if (p->source) {
        p->state = PLACE_ELSEWHERE;
        p->devices = 0;
        p->why = "it is a joulet server, whose figures are taken";
    }
}

void metering_source(struct metering *m, const char *upstream, const char *base, const char *token)
{
    pthread_mutex_lock(&m->lock);
    size_t i = base || token ? metering_place_of(m, upstream) : NOWHERE;
    if (i != NOWHERE) {
        set_text(&m->places[i].token, token);
        if (base)
            set_source(&m->places[i], base);
    }
    pthread_mutex_unlock(&m->lock);
}

const char *metering_source_of(const struct metering *m, const struct metered *x)
{
    size_t place = x->engine == NOWHERE ? NOWHERE : m->engines[x->engine].place;
    if (!x->sourced || place == NOWHERE)
        return NULL;
    return x->told.source[0] ? x->told.source : m->places[place].url;
}

/* It is none that is known, and was not asked lately. */
static bool may_be_one(const struct metering *m, size_t place)
{
    const struct metering_host *p = &m->places[place];
    return !p->source && (!p->asked_ns || jl_mono_ns() - p->asked_ns > OTHER_NS);
}

/* An id is hex; of anything else nothing is asked. */
static void take_inner(struct metered *x, const char *inner)
{
    size_t n = strspn(inner, "0123456789abcdefABCDEF-");
    if (n && !inner[n] && n < sizeof x->inner)
        memcpy(x->inner, inner, n + 1);
}

void metering_source_noticed(struct metering *m, struct metered *x, size_t place, const char *inner)
{
    if (inner != x->inner)
        take_inner(x, inner);
    if (x->entered || x->sourced || place == NOWHERE)
        return;
    struct metering_host *p = &m->places[place];
    if (!p->source && (x->engine == NOWHERE || !may_be_one(m, place)))
        return;
    engine_told_init(&x->told);
    x->told.e.method = "none";
    x->sourced = true;
    m->n_open++;
    metering_changed(m, x);
}

/* ---- what is asked: under the lock ---------------------------------------------------------------------------------------- */

static void settle(struct metering *m, struct metered *x)
{
    m->n_open--;
    metering_is_final(m, x);
}

void metering_source_ended(struct metering *m, struct metered *x)
{
    int64_t now = jl_mono_ns();
    size_t place = x->engine == NOWHERE ? NOWHERE : m->engines[x->engine].place;
    if (x->inner[0])
        metering_source_noticed(m, x, place, x->inner);
    bool asks = x->inner[0] && place != NOWHERE && m->n_asks < METERING_SOURCED;
    if (!asks || (!x->sourced && !may_be_one(m, place))) {
        if (x->sourced)
            settle(m, x);
        return;
    }
    struct metering_ask *a = &m->asks[m->n_asks++];
    *a = (struct metering_ask){
        .place = place, .due_ns = now + jl_ns(FIRST_S), .until_ns = now + jl_ns(PATIENCE_S), .step_s = FIRST_S};
    memcpy(a->id, x->id, sizeof a->id);
    memcpy(a->inner, x->inner, sizeof a->inner);
}

static bool may_ask(const struct metering *m, const struct metering_ask *a, int64_t now)
{
    const struct metering_host *p = &m->places[a->place];
    return a->due_ns <= now && now - p->silent_ns >= (p->silent_ns ? SILENT_NS : 0);
}

/* The one that waits longest; false: none is due. */
static bool take_due(struct metering *m, struct metering_ask *out, char **base, char **token)
{
    int64_t now = jl_mono_ns();
    size_t best = NOWHERE;
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->n_asks; i++)
        if (may_ask(m, &m->asks[i], now) && (best == NOWHERE || m->asks[i].due_ns < m->asks[best].due_ns))
            best = i;
    if (best != NOWHERE) {
        const struct metering_host *p = &m->places[m->asks[best].place];
        *out = m->asks[best];
        *base = p->base ? jl_strdup(p->base) : NULL;
        *token = p->token ? jl_strdup(p->token) : NULL;
        m->asks[best] = m->asks[--m->n_asks];
    }
    pthread_mutex_unlock(&m->lock);
    return best != NOWHERE;
}

/* The engine's own counts, where only pieces were counted on the way: the counts may have ended at that server. */
static void take_tokens(struct metered *x, const char *record)
{
    struct run_tokens t;
    bool told;
    engine_told_tokens(record, strlen(record), &t, &told);
    if (!told || x->r.generated_source == RECOGNISED_TIMINGS || x->r.generated_source == RECOGNISED_USAGE)
        return;
    x->r.tokens = t;
    x->r.prompt_source = t.prompt >= 0 ? RECOGNISED_USAGE : x->r.prompt_source;
    x->r.generated_source = RECOGNISED_USAGE;
}

/* record NULL: nothing came, and `never` if nothing will. */
static void take_answer(struct metering *m, struct metering_ask *a, const char *record, bool never)
{
    struct engine_told told;
    int64_t now = jl_mono_ns();
    engine_told_init(&told);
    bool any = record && engine_told_read(record, strlen(record), &told);
    pthread_mutex_lock(&m->lock);
    struct metered *x = metering_find(m, a->id);
    x = x && x->sourced && !x->final ? x : NULL; /* or it was asked to know who answers */
    if (x && any) {
        x->told = told;
        take_tokens(x, record);
    }
    bool over = never || (any && !told.provisional) || now >= a->until_ns;
    if (x && over) {
        settle(m, x);
    } else if (x && m->n_asks < METERING_SOURCED) {
        a->step_s = fmin(2 * a->step_s, STEP_MOST_S);
        a->due_ns = now + jl_ns(a->step_s);
        m->asks[m->n_asks++] = *a;
        if (any)
            metering_changed(m, x);
    }
    pthread_mutex_unlock(&m->lock);
}

/* ---- asking --------------------------------------------------------------------------------------------------------------- */

/* It was noticed by its answers: whether it measures, and where it is asked. */
static char *look_at(struct metering *m, size_t place, const char *token, bool *silent)
{
    struct engine_joulet j;
    enum engine_joulet_found is =
        engine_joulet_at(m->places[place].url, token, ANSWER_S, &m->stop, &j); /* its url never changes */
    *silent = is == ENGINE_JOULET_SILENT;
    pthread_mutex_lock(&m->lock);
    m->places[place].asked_ns = jl_mono_ns();
    if (is == ENGINE_JOULET_IS && j.meters)
        set_source(&m->places[place], j.url);
    pthread_mutex_unlock(&m->lock);
    return is == ENGINE_JOULET_IS && j.meters ? jl_strdup(j.url) : NULL;
}

static void ask(struct metering *m, struct metering_ask *a, char *base, const char *token)
{
    struct joulet_error why = {.status = JOULET_OK};
    bool silent = false, known = base != NULL;
    char *at = known ? base : look_at(m, a->place, token, &silent);
    char *record = at ? engine_joulet_record(at, token, a->inner, ANSWER_S, &m->stop, &why) : NULL;
    a->unknown += why.status == JOULET_NOT_FOUND;
    silent |= at && !record && why.status == JOULET_UNREACHABLE;
    pthread_mutex_lock(&m->lock);
    m->places[a->place].silent_ns = silent ? jl_mono_ns() : 0;
    pthread_mutex_unlock(&m->lock);
    take_answer(m, a, record, a->unknown == UNKNOWN || (!at && !silent));
    free(record);
    if (!known)
        free(at);
}

void metering_source_run(void *arg)
{
    struct metering *m = arg;
    while (!atomic_load(&m->stop)) {
        struct metering_ask a;
        char *base, *token;
        if (!take_due(m, &a, &base, &token)) {
            jl_sleep_until(jl_mono_ns() + SLEEP_NS);
            continue;
        }
        ask(m, &a, base, token);
        free(base);
        free(token);
    }
}

void metering_source_close(struct metering *m)
{
    for (size_t i = 0; i < m->n_places; i++) {
        free(m->places[i].base);
        free(m->places[i].token);
    }
}
