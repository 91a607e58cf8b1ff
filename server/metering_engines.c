/* metering_engines.c - what computes steps together: one model at one upstream, on the devices that the upstream's processes are
 * on (metering_devices.c). All of it under the lock. */
#include "server/metering_private.h"

#include <stdlib.h>
#include <string.h>

#define BYTES_A_TOKEN 4.0 /* of English text, until an engine told better */

static bool several(uint32_t bits)
{
    return bits & (bits - 1);
}

static size_t open_engine(struct metering *m, uint32_t bits, size_t place)
{
    size_t devices[METERING_DEVICES], n = 0, engine;
    for (size_t i = 0; i < m->o.n_channels; i++)
        if (bits & (uint32_t)1 << i)
            devices[n++] = m->devices[i].device;
    struct joulet_attribution_engine e = {.devices = devices,
                                          .n_devices = n,
                                          .group = place == NOWHERE ? 0 : place + 1,
                                          .unsure = place != NOWHERE && m->places[place].sought && several(bits)};
    return n && joulet_attribution_engine(m->attribution, &e, &engine, NULL) == JOULET_OK ? engine : NOWHERE;
}

/* What was learnt on devices that it had before and has now. */
static void hand_on(struct metering *m, size_t from, uint32_t devices, size_t to)
{
    char line[JOULET_LEARNT_MAX];
    for (size_t i = 0; i < m->o.n_channels && from != NOWHERE && to != NOWHERE; i++)
        if (devices & (uint32_t)1 << i &&
            joulet_attribution_learnt(m->attribution, from, m->devices[i].device, line, sizeof line, NULL, NULL) == JOULET_OK)
            joulet_attribution_recall(m->attribution, to, m->devices[i].device, line, NULL);
}

/* Requests that are under way stay where they are; further ones go to the devices that the upstream's processes are on now. */
static void use_devices(struct metering *m, struct metering_engine *e)
{
    uint32_t before = e->devices, now = e->place == NOWHERE ? 0 : m->places[e->place].devices;
    size_t was = e->engine;
    if (now == before)
        return;
    for (size_t i = 0; i < e->n_earlier; i++)
        if (e->earlier[i].devices == now) {
            e->engine = e->earlier[i].engine;
            e->devices = now;
            e->unsure = false;
            return;
        }
    if (e->n_earlier == METERING_EARLIER) /* it moves about: it keeps those that it has */
        return;
    size_t engine = open_engine(m, now, e->place);
    if (now && engine == NOWHERE && was != NOWHERE) /* there are too many of all */
        return;
    e->devices = now;
    e->engine = engine;
    e->unsure = engine != NOWHERE && m->places[e->place].sought && several(now);
    e->earlier[e->n_earlier].devices = now;
    e->earlier[e->n_earlier++].engine = e->engine;
    metering_learnt_recall(m, e);
    hand_on(m, was, before & now, e->engine);
}

/* ---- devices that are found while requests are under way ------------------------------------------------------------------- */

static void tell_requests(struct metering *m, size_t engine, uint32_t before, uint32_t now)
{
    for (size_t i = 0; i < METERING_REQUESTS; i++) {
        struct metered *x = &m->table[i];
        if (!x->used || !x->entered || x->final || !x->assumed || x->engine != engine || x->devices != before)
            continue;
        x->devices = now;
        x->assumed = false;
        metering_changed(m, x);
    }
}

/* The same engine, on fewer devices; if it was on just these before, that one goes on. */
static void note_devices(struct metering_engine *e, uint32_t now)
{
    size_t own = e->n_earlier, same = e->n_earlier;
    for (size_t i = 0; i < e->n_earlier; i++) {
        own = e->earlier[i].engine == e->engine ? i : own;
        same = e->earlier[i].devices == now ? i : same;
    }
    e->devices = now;
    if (own == e->n_earlier)
        return;
    e->earlier[own].devices = now;
    if (same == e->n_earlier)
        return;
    e->engine = e->earlier[same].engine;
    e->earlier[own] = e->earlier[--e->n_earlier];
}

static void keep_to(struct metering *m, size_t k, uint32_t now)
{
    struct metering_engine *e = &m->engines[k];
    uint32_t before = e->devices;
    tell_requests(m, k, before, now);
    for (size_t i = 0; i < m->o.n_channels; i++)
        if (before & ~now & (uint32_t)1 << i)
            joulet_attribution_not_on(m->attribution, e->engine, m->devices[i].device, NULL);
    joulet_attribution_sure(m->attribution, e->engine, NULL);
    note_devices(e, now);
}

void metering_engines_found(struct metering *m, size_t place)
{
    const struct metering_host *p = &m->places[place];
    for (size_t k = 0; k < m->n_engines; k++) {
        struct metering_engine *e = &m->engines[k];
        if (e->place != place || !e->unsure || p->sought)
            continue;
        e->unsure = false;
        uint32_t left = p->state == PLACE_FOUND ? e->devices & p->devices : 0;
        if (left)
            keep_to(m, k, left);
        else
            joulet_attribution_sure(m->attribution, e->engine, NULL);
    }
}

bool metering_engines_unsure(const struct metering *m)
{
    bool any = false;
    for (size_t k = 0; k < m->n_engines; k++)
        any |= m->engines[k].unsure;
    return any && m->in_flight;
}

/* ---- engines --------------------------------------------------------------------------------------------------------------- */

/* Names of models are the clients': when there are too many, further ones count as the first of their upstream. */
static size_t find(const struct metering *m, const char *upstream, const char *model)
{
    size_t any = NOWHERE;
    for (size_t i = 0; i < m->n_engines; i++) {
        if (strcmp(m->engines[i].upstream, upstream) != 0)
            continue;
        any = any == NOWHERE ? i : any;
        if (strcmp(m->engines[i].model, model) == 0)
            return i;
    }
    return m->n_engines == METERING_ENGINES ? any : NOWHERE;
}

static size_t add(struct metering *m, const char *upstream, const char *model)
{
    struct metering_engine *e = &m->engines[m->n_engines];
    if (m->n_engines == METERING_ENGINES)
        return NOWHERE;
    *e = (struct metering_engine){.upstream = jl_strdup(upstream),
                                  .model = jl_strdup(model),
                                  .place = metering_place_of(m, upstream),
                                  .engine = NOWHERE,
                                  .bytes_a_token = BYTES_A_TOKEN};
    if (e->upstream && e->model)
        return m->n_engines++;
    free(e->upstream);
    free(e->model);
    return NOWHERE;
}

size_t metering_engine_of(struct metering *m, const char *upstream, const char *model)
{
    size_t i = find(m, upstream, model);
    i = i == NOWHERE ? add(m, upstream, model) : i;
    if (i != NOWHERE)
        use_devices(m, &m->engines[i]);
    return i;
}
