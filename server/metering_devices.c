/* metering_devices.c - which devices an upstream's processes run on (docs/method.md 7.7): a thread of its own finds who serves
 * the upstream's port, follows that process with its descendants or its container, asks the driver who computes on which card,
 * and looks at the processor time of all of them (metering_processor.c). Nothing here is on the way of a request; what is not
 * known yet, or cannot be known, is as without it and said so. */
#include "net/net.h"
#include "server/guard.h"
#include "server/metering_steps.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_NS       ((int64_t)500 * 1000000)    /* at the processor time, */
#define REST          100                         /* and so many times as much as a look takes of a processor */
#define LIST_NS       ((int64_t)2 * JL_NS_PER_S)  /* at the driver's lists */
#define FIND_NS       ((int64_t)30 * JL_NS_PER_S) /* at who serves the port, while somebody does */
#define SLEEP_NS      ((int64_t)50 * 1000000)
#define ADDRESSES_MAX 8
#define PROCESSES_MAX 512

/* ---- upstreams --------------------------------------------------------------------------------------------------------- */

static bool is_loopback(const char *url)
{
    const char *host = strstr(url, "://");
    char address[256];
    host = host ? host + 3 : url;
    snprintf(address, sizeof address, "%.*s", (int)strcspn(host, "/"), host);
    if (!strrchr(address, ':') || address[strlen(address) - 1] == ']')
        snprintf(address + strlen(address), sizeof address - strlen(address), ":80");
    return guard_is_loopback(address);
}

size_t metering_place_of(struct metering *m, const char *url)
{
    for (size_t i = 0; i < m->n_places; i++)
        if (strcmp(m->places[i].url, url) == 0)
            return i;
    if (m->n_places == METERING_PLACES)
        return NOWHERE;
    struct metering_host *p = &m->places[m->n_places];
    *p = (struct metering_host){.url = jl_strdup(url), .pid = -1, .loaded = -1, .idle_used = NAN, .idle_busy = NAN};
    if (!p->url)
        return NOWHERE;
    p->sought = m->o.look_up;
    p->state = m->o.everywhere ? PLACE_NAMED : is_loopback(url) ? PLACE_ASSUMED : PLACE_ELSEWHERE;
    p->devices = p->state == PLACE_ELSEWHERE ? 0 : m->o.devices;
    for (size_t i = 0; i < m->o.n_upstreams; i++)
        if (!m->o.upstreams[i].look_up && strcmp(m->o.upstreams[i].url, url) == 0) {
            p->state = PLACE_NAMED;
            p->devices = m->o.upstreams[i].devices;
            if (m->o.upstreams[i].ring)
                metering_steps_use(m, m->n_places, m->o.upstreams[i].ring);
        }
    return m->n_places++;
}

const char *metering_place_state(const struct metering_host *p)
{
    static const char *const names[] = {"named", "found", "assumed", "elsewhere"};
    return p->source ? "joulet server" : names[p->state];
}

/* ---- who serves -------------------------------------------------------------------------------------------------------- */

/* A name with several addresses says nothing of the one that was taken. */
static bool find_server(const char *url, struct jl_server *out)
{
    char all[ADDRESSES_MAX][NET_ADDRESS_SIZE];
    size_t n = net_url_addresses(url, all, ADDRESSES_MAX);
    int port = net_url_port(url);
    *out = (struct jl_server){.pid = -1};
    if (port < 0)
        return false;
    if (net_url_is_local(url) || net_url_is_here(url)) {
        jl_server_of(n == 1 ? all[0] : NULL, port, out);
        return !out->forwarded;
    }
    for (size_t i = 0; i < n && out->pid < 0; i++)
        out->pid = jl_server_inside(all[i], port);
    out->container = out->pid > 0;
    return out->pid > 0;
}

static const char *why_not(const struct jl_server *s, bool here)
{
    if (s->forwarded)
        return "a tunnel holds the port: who serves is on another machine";
    if (!here)
        return "its address is not this machine's, and no container's here";
    if (s->name[0] || s->container)
        return "the process behind the port is hidden from this user: run as its user, or name the devices";
    return "no process is seen that serves the port";
}

/* Looks for it anew, without the lock. */
static void find(struct metering *m, struct metering_host *p, joulet_mark now)
{
    struct jl_server s;
    bool here = find_server(p->url, &s);
    struct joulet_followed *f = NULL;
    bool same = p->followed && s.pid == p->pid;
    if (s.pid > 0 && !same && joulet_follow(&f, s.pid, NULL) != JOULET_OK)
        s.pid = -1;
    pthread_mutex_lock(&m->lock);
    p->found_ns = now;
    if (!same) {
        joulet_unfollow(p->followed);
        p->followed = f;
        p->n_looks = 0;
        p->gpus = 0;
        p->no_card = false;
        p->idle_used = NAN;
    }
    p->pid = s.pid;
    p->container = s.container;
    p->listens = s.pid > 0 || s.name[0];
    memcpy(p->name, s.name, sizeof p->name);
    p->why = s.pid > 0 ? NULL : why_not(&s, here);
    if (p->source) {
        p->why = "it is a joulet server, whose figures are taken";
    } else if (p->state != PLACE_NAMED) {
        p->state = here ? PLACE_ASSUMED : PLACE_ELSEWHERE;
        p->devices = here ? m->o.devices : 0;
    }
    pthread_mutex_unlock(&m->lock);
}

/* ---- whose card it is -------------------------------------------------------------------------------------------------- */

/* Cards of which the driver lists the processes. */
static bool is_listed(const struct joulet_channel *ch)
{
    return ch->group == JOULET_GROUP_GPU && strcmp(ch->sensor, "nvml") == 0;
}

static bool is_on(const struct joulet_channel *ch, const struct joulet_process *p)
{
    size_t n = strlen(p->device);
    return strncmp(ch->id, p->device, n) == 0 && (ch->id[n] == '.' || !ch->id[n]);
}

/* What the driver's lists say of the cards, by bits of channels. */
struct cards {
    uint32_t listed, hidden, own[METERING_PLACES], foreign; /* hidden: somebody there cannot be seen here */
};

static void one_process(struct metering *m, size_t n_places, const struct joulet_process *x, uint32_t on, struct cards *c)
{
    bool owned = false;
    for (size_t i = 0; i < n_places; i++)
        if (m->places[i].followed && joulet_follow_has(m->places[i].followed, x->pid)) {
            c->own[i] |= on;
            owned = true;
        }
    if (!owned && !isnan(jl_process_cpu_s(x->pid)))
        c->foreign |= on;
    else if (!owned)
        c->hidden |= on;
}

static void list_cards(struct metering *m, size_t n_places, struct cards *c)
{
    struct joulet_process *all = calloc(PROCESSES_MAX, sizeof *all);
    size_t n = all ? joulet_processes(m->o.meter, all, PROCESSES_MAX) : 0;
    *c = (struct cards){0};
    for (size_t i = 0; i < m->o.n_channels; i++)
        c->listed |= is_listed(&m->devices[i].ch) ? (uint32_t)1 << i : 0;
    for (size_t k = 0; k < n && k < PROCESSES_MAX; k++) {
        uint32_t on = 0;
        for (size_t i = 0; i < m->o.n_channels; i++)
            if (is_listed(&m->devices[i].ch) && is_on(&m->devices[i].ch, &all[k]))
                on |= (uint32_t)1 << i;
        one_process(m, n_places, &all[k], on, c);
    }
    free(all);
}

/* Under the lock. A model may be loaded when the first request comes, and on other cards next time: until its processes were seen
 * on one, or computing without one, they may be on any. */
static void place_on(struct metering *m, struct metering_host *p, const struct cards *c, size_t i, bool computed)
{
    uint32_t rest = m->o.devices & ~c->listed;
    if (c->own[i])
        p->gpus = c->own[i];
    p->others = c->foreign;
    p->on_card = c->own[i] != 0;
    p->sought = false;
    if (p->state == PLACE_NAMED || p->state == PLACE_ELSEWHERE || p->pid < 0)
        return;
    bool found = !c->listed || p->gpus || (computed && !c->hidden);
    p->no_card |= !p->gpus && found;
    found |= p->no_card;
    p->state = found ? PLACE_FOUND : PLACE_ASSUMED;
    p->sought = !found && !c->hidden;
    p->devices = found ? rest | p->gpus : m->o.devices;
    p->why = found       ? NULL
             : c->hidden ? "the driver lists processes that cannot be seen from here"
                         : "no model of it was seen to compute";
}

/* ---- models in memory --------------------------------------------------------------------------------------------------- */

/* 1, 0; -1 not known. Ollama starts a process for each model; others have theirs as long as they run. */
static int is_loaded(const struct metering_host *p)
{
    if (p->pid < 0)
        return p->listens ? -1 : 0;
    if (p->gpus)
        return p->on_card;
    return jl_starts(p->name, "ollama") ? p->processes > 1 : 1;
}

/* Under the lock: what changed is told, and levels are looked for anew. */
static void tell_loaded(struct metering *m, joulet_mark now)
{
    for (size_t i = 0; i < m->o.n_channels; i++) {
        struct metering_device *d = &m->devices[i];
        int loaded = m->n_places ? 0 : -1;
        for (size_t k = 0; k < m->n_places; k++) {
            const struct metering_host *p = &m->places[k];
            if (p->state == PLACE_ELSEWHERE || !(p->devices & (uint32_t)1 << i) || loaded < 0)
                continue;
            loaded = p->loaded < 0 ? -1 : loaded || p->loaded;
        }
        if (loaded == d->loaded)
            continue;
        if ((loaded == 1) != (d->loaded == 1))
            joulet_attribution_kept(m->attribution, d->device, loaded == 1, now, NULL);
        bool first = d->loaded < 0 && !d->changed_ns; /* nothing changed: it is known now how it was */
        if (first && loaded == 0) {
            d->levels[0] = d->levels[1];
            d->levels[1] = (struct joulet_baseline)JOULET_BASELINE_NONE;
        }
        d->loaded = loaded;
        d->changed_ns = first ? 0 : now;
    }
}

static void tell_used(struct metering *m, const struct cards *c)
{
    uint32_t used = 0;
    for (size_t i = 0; i < m->n_places; i++)
        used |= m->places[i].state == PLACE_ELSEWHERE ? 0 : m->places[i].devices;
    for (size_t i = 0; i < m->o.n_channels; i++) {
        uint32_t bit = (uint32_t)1 << i;
        bool is = !(c->listed & bit) || (used & bit) || !m->n_places;
        if (is == m->devices[i].used)
            continue;
        joulet_attribution_used(m->attribution, m->devices[i].device, is, NULL);
        m->devices[i].used = is;
    }
}

/* ---- the thread ---------------------------------------------------------------------------------------------------------- */

static size_t computing(struct metering *m, size_t i)
{
    pthread_mutex_lock(&m->lock);
    size_t n = m->places[i].decoding;
    pthread_mutex_unlock(&m->lock);
    return n;
}

static size_t places(struct metering *m)
{
    pthread_mutex_lock(&m->lock);
    size_t n = m->n_places;
    pthread_mutex_unlock(&m->lock);
    return n;
}

/* The lists are looked at more often while somebody may pay for what is not his. */
static bool hurries(struct metering *m)
{
    pthread_mutex_lock(&m->lock);
    bool unsure = metering_engines_unsure(m);
    pthread_mutex_unlock(&m->lock);
    return unsure;
}

static void find_all(struct metering *m, size_t n, joulet_mark now)
{
    for (size_t i = 0; i < n && !atomic_load(&m->stop); i++) {
        struct metering_host *p = &m->places[i];
        if (!p->found_ns || now - p->found_ns > FIND_NS || (p->followed ? !p->processes : now - p->found_ns > LIST_NS))
            find(m, p, now);
    }
}

static void list_all(struct metering *m, size_t n, joulet_mark now)
{
    struct cards c;
    size_t before[METERING_PLACES];
    for (size_t i = 0; i < n; i++)
        before[i] = computing(m, i);
    list_cards(m, n, &c);
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < n; i++) {
        struct metering_host *p = &m->places[i];
        place_on(m, p, &c, i, before[i] && p->decoding);
        p->loaded = is_loaded(p);
    }
    tell_used(m, &c);
    for (size_t i = 0; i < n; i++)
        metering_engines_found(m, i);
    tell_loaded(m, now);
    pthread_mutex_unlock(&m->lock);
}

/* Probes that write. */
static void look_for_steps(struct metering *m, size_t n)
{
    for (size_t i = 0; i < n && m->o.probes; i++) {
        struct metering_host *p = &m->places[i];
        char *path = metering_steps_look(m->o.probes, p->pid, p->followed);
        pthread_mutex_lock(&m->lock);
        metering_steps_use(m, i, path);
        pthread_mutex_unlock(&m->lock);
        free(path);
    }
}

void metering_devices_run(void *arg)
{
    struct metering *m = arg;
    joulet_mark next = 0, listed = 0;
    while (!atomic_load(&m->stop)) {
        joulet_mark now = jl_mono_ns();
        if (now < next) {
            jl_sleep_until(now + SLEEP_NS < next ? now + SLEEP_NS : next);
            continue;
        }
        int64_t began = jl_thread_cpu_ns();
        size_t n = places(m);
        find_all(m, n, now);
        metering_look(m, n);
        if (now - listed >= LIST_NS || !listed || hurries(m)) {
            list_all(m, n, jl_mono_ns());
            look_for_steps(m, n);
            listed = now;
        }
        int64_t took = jl_thread_cpu_ns() - began; /* what it waits for costs nobody anything */
        next = now + (REST * took > LOOK_NS ? REST * took : LOOK_NS);
    }
}

void metering_devices_close(struct metering *m)
{
    metering_steps_close(m);
    for (size_t i = 0; i < m->n_places; i++) {
        joulet_unfollow(m->places[i].followed);
        free(m->places[i].url);
    }
}
