/* metering.c - opening and closing, and the table of requests: bounded, the oldest goes. */
#include "server/metering_ledger.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FIGURES_NS  ((int64_t)2 * JL_NS_PER_S)
#define LOOK_AROUND 64 /* places that are still in use and skipped, before a request is not metered */

/* ---- the table ------------------------------------------------------------------------------------------------------- */

static uint64_t key_of(const char *id)
{
    return strtoull(id, NULL, 16);
}

static size_t *head_of(struct metering *m, uint64_t key)
{
    return &m->heads[key % METERING_HEADS];
}

struct metered *metering_find(struct metering *m, const char *id)
{
    for (size_t i = *head_of(m, key_of(id)); i != NOWHERE; i = m->table[i].next)
        if (strcmp(m->table[i].id, id) == 0)
            return &m->table[i];
    return NULL;
}

static void forget(struct metering *m, size_t i)
{
    size_t *at = head_of(m, m->table[i].key);
    while (*at != i)
        at = &m->table[*at].next;
    *at = m->table[i].next;
}

struct metered *metering_take(struct metering *m, const struct observed *x)
{
    for (size_t tried = 0; tried < LOOK_AROUND; tried++) {
        size_t i = m->turn++ % METERING_REQUESTS;
        struct metered *e = &m->table[i];
        if (e->used && (e->live || metering_waits(e)))
            continue;
        if (e->used)
            forget(m, i);
        size_t *head = head_of(m, key_of(x->id));
        *e = (struct metered){.key = key_of(x->id),
                              .used = true,
                              .live = true,
                              .next = *head,
                              .engine = NOWHERE,
                              .wall_ns = x->wall_ns,
                              .t_ns = x->t_ns};
        memcpy(e->id, x->id, sizeof e->id);
        *head = i;
        e->number = ++m->n_requests;
        return e;
    }
    m->n_unmetered++;
    return NULL;
}

bool metering_level_known(const struct metering *m, joulet_mark since)
{
    for (size_t i = 0; i < m->o.n_channels; i++)
        if (isnan(m->devices[i].idle.power_w) || since < m->devices[i].level_ns)
            return false;
    return true;
}

/* ---- all of it --------------------------------------------------------------------------------------------------------- */

static double beside(double all, double part)
{
    return sqrt(fmax(0, all * all - part * part));
}

/* The times in which a tunnel was there are independent, and so is what is not known of them, but for what the sensor leaves
 * open. */
static void add_time(struct joulet_attributed *sum, const struct joulet_attributed *a)
{
    sum->net_j += a->net_j;
    sum->gross_j += a->gross_j;
    sum->idle_share_j += a->idle_share_j;
    double own = hypot(beside(sum->u_j, sum->u_sensor_j), beside(a->u_j, a->u_sensor_j));
    sum->u_sensor_j += a->u_sensor_j;
    sum->u_j = hypot(own, sum->u_sensor_j);
    sum->weights_assumed |= a->weights_assumed;
    sum->weights_off |= a->weights_off;
}

void metering_is_final(struct metering *m, struct metered *x)
{
    x->final = true;
    x->no_level = !metering_level_known(m, x->t_sent_ns);
    m->n_final++;
    metering_changed(m, x);
    metering_final(m, x);
}

/* Or one of its times is final: all of it is when nothing is open any more. */
void metering_tunnel_ended(struct metering *m, struct metered *x)
{
    if (x->entered && !x->live && !x->open && !x->final)
        metering_is_final(m, x);
}

/* Within a call to the attribution, so the lock is held. */
static void on_final(void *user, const struct joulet_attributed *a)
{
    struct metering *m = user;
    for (size_t i = *head_of(m, a->id); i != NOWHERE; i = m->table[i].next) {
        struct metered *x = &m->table[i];
        if (x->key != a->id || !x->entered || x->final)
            continue;
        x->open--;
        m->n_open--;
        if (x->r.kind == RECOGNISED_TUNNEL) {
            add_time(&x->energy, a);
            metering_tunnel_ended(m, x);
        } else {
            x->energy = *a;
            metering_is_final(m, x);
        }
        return;
    }
}

/* Channels of one sensor and one group share their gain error (end of 3): the same number for all of them. */
static size_t type_of(const struct metering *m, size_t i)
{
    const struct joulet_channel *ch = &m->devices[i].ch;
    for (size_t k = 0; k < i; k++)
        if (m->devices[k].ch.group == ch->group && strcmp(m->devices[k].ch.sensor, ch->sensor) == 0)
            return k + 1;
    return i + 1;
}

static enum joulet_status take_devices(struct metering *m, struct joulet_error *err)
{
    enum joulet_status status = JOULET_OK;
    for (size_t i = 0; i < m->o.n_channels && status == JOULET_OK; i++) {
        struct metering_device *d = &m->devices[i];
        *d = (struct metering_device){.channel = m->o.channels[i],
                                      .idle = JOULET_BASELINE_NONE,
                                      .levels = {JOULET_BASELINE_NONE, JOULET_BASELINE_NONE},
                                      .empty_w = NAN,
                                      .loaded = -1,
                                      .used = true};
        status = joulet_channel_get(m->o.meter, d->channel, &d->ch);
        if (status == JOULET_OK)
            status = joulet_attribution_device(m->attribution, 0, NAN, &d->device, err);
        if (status == JOULET_OK)
            status = joulet_attribution_type(m->attribution, d->device, type_of(m, i), err);
    }
    return status;
}

static enum joulet_status start(struct metering *m, struct joulet_error *err)
{
    m->table = calloc(METERING_REQUESTS, sizeof *m->table);
    m->heads = malloc(METERING_HEADS * sizeof *m->heads);
    m->asks = malloc(METERING_SOURCED * sizeof *m->asks);
    if (!m->table || !m->heads || !m->asks)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    for (size_t i = 0; i < METERING_HEADS; i++)
        m->heads[i] = NOWHERE;
    enum joulet_status status = joulet_attribution_open(&m->attribution, on_final, m, err);
    if (status == JOULET_OK)
        status = accounts_open(&m->accounts, err);
    if (status == JOULET_OK && !(m->tallies = tallies_open()))
        status = jl_fail(err, JOULET_MEMORY, "out of memory");
    if (status == JOULET_OK)
        status = take_devices(m, err);
    for (size_t i = 0; i < m->o.n_upstreams; i++)
        metering_place_of(m, m->o.upstreams[i].url);
    if (status == JOULET_OK)
        status = jl_thread_start(&m->thread, "metering", metering_windows_run, m, err);
    if (status == JOULET_OK)
        status = jl_thread_start(&m->source_thread, "sources", metering_source_run, m, err);
    if (status == JOULET_OK && m->o.keeps)
        status = ledger_open(&m->ledger, m, err);
    if (status == JOULET_OK && m->o.look_up)
        status = jl_thread_start(&m->devices_thread, "devices", metering_devices_run, m, err);
    return status;
}

enum joulet_status metering_open(struct metering **out, const struct metering_options *o, struct joulet_error *err)
{
    struct joulet_error why = {.status = JOULET_MEMORY, .message = "out of memory"};
    struct metering *m = calloc(1, sizeof *m);
    *out = NULL;
    if (!m)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    m->o = *o;
    m->opened_ns = m->quiet_ns = jl_mono_ns();
    pthread_mutex_init(&m->lock, NULL);
    pthread_mutex_init(&m->follow_lock, NULL);
    metering_learnt_read(m);
    enum joulet_status status = metering_observer_open(m) ? start(m, &why) : JOULET_MEMORY;
    if (status != JOULET_OK) {
        metering_close(m);
        return jl_fail(err, status, "%s", why.message);
    }
    *out = m;
    return jl_ok(err);
}

/* Those of the last requests come about a second after their end, and the store wants them. */
static void wait_for_figures(struct metering *m)
{
    bool waits = m->ledger != NULL;
    atomic_store(&m->closes, true);
    for (int64_t until = jl_mono_ns() + FIGURES_NS; waits && jl_mono_ns() < until;) {
        pthread_mutex_lock(&m->lock);
        waits = m->n_open > 0;
        pthread_mutex_unlock(&m->lock);
        if (waits)
            jl_sleep_until(jl_mono_ns() + FIGURES_NS / 100);
    }
}

void metering_left(struct metering *m)
{
    atomic_store(&m->left, true);
}

/* An observer that was left behind finds none. */
static struct ledger *take_ledger(struct metering *m)
{
    pthread_mutex_lock(&m->lock);
    struct ledger *l = m->ledger;
    m->ledger = NULL;
    pthread_mutex_unlock(&m->lock);
    return l;
}

bool metering_close(struct metering *m)
{
    if (!m)
        return true;
    wait_for_figures(m);
    atomic_store(&m->stop, true);
    jl_thread_join(m->thread);
    jl_thread_join(m->devices_thread);
    jl_thread_join(m->source_thread);
    if (!ledger_close(take_ledger(m)) || atomic_load(&m->left))
        return false; /* a thread still looks at all of this; the process ends soon */
    if (m->attribution)
        metering_learnt_keep(m);
    metering_source_close(m);
    metering_devices_close(m);
    jl_buf_release(&m->learnt);
    joulet_attribution_close(m->attribution);
    accounts_close(m->accounts);
    tallies_close(m->tallies);
    apart_close(m->apart);
    for (size_t i = 0; i < m->n_engines; i++) {
        free(m->engines[i].upstream);
        free(m->engines[i].model);
    }
    pthread_mutex_destroy(&m->lock);
    pthread_mutex_destroy(&m->follow_lock);
    free(m->table);
    free(m->heads);
    free(m->asks);
    free(m);
    return true;
}

const struct observer *metering_observer(const struct metering *m)
{
    return &m->observer;
}

void metering_follow(struct metering *m, struct observation *o)
{
    pthread_mutex_lock(&m->follow_lock);
    m->observation = o;
    pthread_mutex_unlock(&m->follow_lock);
}

int64_t metering_recogniser(struct metering *m)
{
    return atomic_load(&m->recogniser);
}
