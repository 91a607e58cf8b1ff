/* session_told.c - energies that a joulet server tells, which stands in front of the engine and shares out what its own sensors
 * see (docs/method.md 7). They are taken as they are: the sensors of this machine have no part in such a run, also where the
 * server is on it, for they see all requests and programs together. */
#include "cli/session_span.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CHANNEL    "server"
#define PATIENCE_S 5.0 /* until a figure is final; the server's sensors need a second or two */

struct session_told {
    const struct engine *engine;
    char id[24];             /* of the request that was answered last; "" it has none */
    struct engine_told told; /* what its answer said */
    bool said_elsewhere, said_wrong, said_words, said_unmeasured;
};

/* Who names sensors wants those, if they can see the engine at all. */
static bool takes(const struct session *s, const struct engine *e)
{
    static const char *const named[] = {"sensors", "meter", "sim", "replay"};
    for (size_t i = 0; e->local && i < JL_COUNT(named); i++)
        if (cli_given(s->cli, named[i]))
            return false;
    return e->joulet.is && e->joulet.meters;
}

bool session_is_told(const struct session *s)
{
    return s->told != NULL;
}

/* One channel stands for what the server measures. */
static void take_their_place(struct session *s, const struct engine *e)
{
    char sensor[640];
    struct joulet_channel c = {
        .id = CHANNEL,
        .sensor = sensor,
        .device = "",
        .parent = "",
        .quantity = JOULET_ENERGY,
        .group = JOULET_GROUP_OTHER,
        .provenance = JOULET_MEASURED, /* until it says what it is */
        .in_total = true,
        .power_min_w = NAN,
        .power_max_w = NAN,
        .factor_lo = NAN,
        .factor_hi = NAN,
    };
    snprintf(sensor, sizeof sensor, "joulet at %s", e->joulet.url);
    for (size_t i = 0; i < s->run.n_channels; i++)
        run_channel_release(&s->run.channels[i]);
    s->run.n_channels = s->n_channels = 0;
    run_add_channel(&s->run, &c);
}

bool session_told_open(struct session *s, const struct runtime_choice *choice)
{
    const struct engine *e = choice->engine;
    if (!takes(s, e) || !(s->told = calloc(1, sizeof *s->told)))
        return false;
    engine_told_init(&s->told->told);
    take_their_place(s, e);
    run_pairs_set(&s->run.engine, "measured_at", 's', "%s", e->joulet.url);
    run_pairs_set(&s->run.engine, "measured_by", 's', "joulet %s", e->joulet.version);
    run_pairs_set(&s->run.machine, "total", 's', "what the joulet server at %s measures with", e->joulet.url);
    return true;
}

int session_told_check(const struct session *s, const struct runtime_choice *choice)
{
    bool told = takes(s, choice->engine);
    if (told == session_is_told(s))
        return CLI_DONE;
    return cli_usage(s->cli,
                     "the engine at %s %s a joulet server that measures, another one of this plan %s: the figures of both have "
                     "nothing in common, so measure each in a run of its own",
                     choice->engine->url, told ? "is behind" : "is not behind", told ? "is not" : "is");
}

void session_told_close(struct session *s)
{
    free(s->told);
    s->told = NULL;
}

void session_told_answer(struct session *s, const struct generated *g)
{
    struct session_told *t = s->told;
    if (!t)
        return;
    t->engine = s->watch.choice ? s->watch.choice->engine : NULL;
    snprintf(t->id, sizeof t->id, "%s", g->joulet_id);
    t->told = g->told;
}

/* ---- a request ------------------------------------------------------------------------------------------------------------ */

static void note_told(struct session *s, const struct run_request *q, const struct engine_told *told)
{
    struct session_told *t = s->told;
    long long number = (long long)q->index + 1;
    const char *at = t->engine->joulet.url;
    if (told->provisional)
        run_note(&s->run,
                 "request %lld: its figure was still provisional after %.0f s; the final one is at %s/joulet/requests/%s", number,
                 PATIENCE_S, at, t->id);
    if (told->elsewhere && !t->said_elsewhere)
        run_note(&s->run,
                 "the joulet server at %s does not measure what this engine draws, which runs on yet another machine: start one "
                 "there, or name its devices with --devices",
                 at);
    if (told->wrong && !t->said_wrong)
        run_note(&s->run,
                 "request %lld: the joulet server at %s sent an energy that cannot be, so it was not taken; `curl "
                 "%s/joulet/requests/%s` shows it",
                 number, at, at, t->id);
    if (told->words[0] && !t->said_words)
        run_note(&s->run, "request %lld: the joulet server at %s says of its energy: %s", number, at, told->words);
    t->said_elsewhere |= told->elsewhere;
    t->said_wrong |= told->wrong;
    t->said_words |= told->words[0] != '\0';
}

/* With --measured-only nothing else may stand in for it. */
static bool refused(struct session *s, struct engine_told *told)
{
    static const struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;
    bool measured = told->e.provenance == JOULET_MEASURED || told->e.provenance == JOULET_DERIVED;
    if (measured || isnan(told->e.gross_j) || !cli_flag(s->cli, "measured-only"))
        return false;
    if (!s->told->said_unmeasured)
        run_note(&s->run, "the energy that the joulet server at %s tells is %s, and --measured-only was given",
                 s->told->engine->joulet.url, joulet_provenance_name(told->e.provenance));
    s->told->said_unmeasured = true;
    told->e = told->prefill = told->decode = unknown;
    return true;
}

static struct run_window *window_of(struct run_request *q, const char *name)
{
    for (size_t i = 0; i < q->n_windows; i++)
        if (!strcmp(q->windows[i].name, name))
            return &q->windows[i];
    return NULL;
}

static void put(struct session *s, struct run_energy *to, const struct joulet_energy *e)
{
    run_energy_add_channel(to, CHANNEL, e);
    run_energy_total(&s->run, to);
}

static void take(struct session *s, struct run_request *q, const struct engine_told *told)
{
    struct run_window *prefill = window_of(q, "prefill"), *decode = window_of(q, "decode");
    struct joulet_channel *c = &s->run.channels[0];
    if (!isnan(told->e.gross_j) && told->e.provenance > c->provenance)
        c->provenance = told->e.provenance;
    if (told->devices[0])
        run_pairs_set(&s->run.machine, "total", 's', "%s, on the machine of the joulet server", told->devices);
    put(s, &q->energy, &told->e);
    q->tail_j = told->e.tail_j;
    if (!prefill || !decode || isnan(told->prefill.gross_j))
        return;
    put(s, &prefill->energy, &told->prefill);
    put(s, &decode->energy, &told->decode);
}

void session_told_request(struct session *s, struct run_request *q)
{
    struct session_told *t = s->told;
    struct engine_told told = t->told;
    struct joulet_error err = {0};
    if (t->engine && t->id[0] && engine_joulet_energy(t->engine, t->id, PATIENCE_S, &told, &err) != JOULET_OK)
        run_note(&s->run, "request %lld: the joulet server at %s does not tell its energy%s: %s", (long long)q->index + 1,
                 t->engine->joulet.url, told.any ? " any more, so what its answer said stays provisional" : "", err.message);
    if (told.any && !refused(s, &told))
        note_told(s, q, &told);
    if (told.any)
        take(s, q, &told);
    engine_told_init(&t->told);
    t->id[0] = '\0';
}

void session_told_level(struct session *s, struct run_window *w)
{
    struct joulet_energy sum = JOULET_ENERGY_UNKNOWN;
    bool any = false;
    for (size_t i = 0; i < s->run.n_requests; i++) {
        const struct run_request *q = &s->run.requests[i];
        if (q->stream < 0 || q->outcome != RUN_OK || !q->n_windows || q->windows[0].start_ns < w->start_ns ||
            q->windows[q->n_windows - 1].end_ns > w->end_ns)
            continue;
        joulet_energy_chain(&sum, &q->energy.total);
        any = true;
    }
    if (any)
        put(s, &w->energy, &sum);
}
