/* metering_engines.c - what computes steps together: one model at one upstream, on the devices that the upstream's processes are
 * on (metering_devices.c). All of it under the lock. */
#include "server/metering_private.h"

#include <stdlib.h>
#include <string.h>

#define BYTES_A_TOKEN 4.0 /* of English text, until an engine told better */

static size_t open_engine(struct metering *m, uint32_t bits, size_t place)
{
    size_t devices[METERING_DEVICES], n = 0, engine;
    for (size_t i = 0; i < m->o.n_channels; i++)
        if (bits & (uint32_t)1 << i)
            devices[n++] = m->devices[i].device;
    struct joulet_attribution_engine e = {.devices = devices, .n_devices = n, .group = place == NOWHERE ? 0 : place + 1};
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
            return;
        }
    if (e->n_earlier == METERING_EARLIER) /* it moves about: it keeps those that it has */
        return;
    size_t engine = open_engine(m, now, e->place);
    if (now && engine == NOWHERE && was != NOWHERE) /* there are too many of all */
        return;
    e->devices = now;
    e->engine = engine;
    e->earlier[e->n_earlier].devices = now;
    e->earlier[e->n_earlier++].engine = e->engine;
    metering_learnt_recall(m, e);
    hand_on(m, was, before & now, e->engine);
}

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
