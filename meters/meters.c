/* meters.c - one thread a meter: asks at the rate of the device, pushes what it says, keeps on when it fails. See meters.h. */
#include "meters/meters.h"
#include "meters/source.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_S   6.0  /* for all of them together, before measuring begins */
#define SAY_AFTER 3    /* failed reads in a row: one lost packet is not worth a word */
#define LAG       0.15 /* of a power, in periods: nobody tells how old it is, nor what it is a mean of; ... */
#define U_LAG     0.25
#define U_LAG_S   0.25 /* ... of a counter, s */
#define LAG_MAX_S 1.0
#define RISE_S    0.01

/* ---- channels ---------------------------------------------------------------------------------------------------- */

static void describe(const struct meter_source *s, const struct page_value *v, char id[64], char parent[64],
                     struct joulet_channel *c)
{
    const struct meter_kind *k = s->at.kind;
    double period_s = v->period_s > 0 ? v->period_s : k->period_s;
    snprintf(id, 64, "%s%d.%s", k->prefix, s->number, v->name);
    snprintf(parent, 64, "%s%d.%s", k->prefix, s->number, v->parent);
    *c = (struct joulet_channel){.id = id,
                                 .sensor = k->sensor,
                                 .device = s->page.device,
                                 .parent = v->parent[0] ? parent : "",
                                 .quantity = v->counter ? JOULET_ENERGY : JOULET_POWER,
                                 .group = v->domain == JOULET_DOMAIN_PACKAGE ? JOULET_GROUP_CPU : JOULET_GROUP_PLATFORM,
                                 .domain = v->domain,
                                 .place = v->place,
                                 .provenance = JOULET_MEASURED,
                                 .in_total = !v->beside,
                                 .contiguous = !v->counter,
                                 .period_s = period_s,
                                 .window_s = v->counter ? 0 : period_s,
                                 .quantum_j = v->quantum,
                                 .lag_s = v->counter ? 0 : LAG * period_s,
                                 .u_lag_s = v->counter ? U_LAG_S : U_LAG * period_s,
                                 .lag_max_s = v->counter ? LAG_MAX_S : period_s,
                                 .rise_s = RISE_S,
                                 .spec = k->spec,
                                 .power_min_w = NAN,
                                 .power_max_w = NAN,
                                 .factor_lo = 1,
                                 .factor_hi = 1};
}

static bool open_channels(struct meter_source *s, struct joulet_error *err)
{
    struct joulet_channel channels[PAGE_VALUES];
    char ids[PAGE_VALUES][64], parents[PAGE_VALUES][64];
    for (size_t i = 0; i < s->page.n; i++)
        describe(s, &s->page.values[i], ids[i], parents[i], &channels[i]);
    s->open = joulet_push_open(s->all->meter, channels, s->page.n, s->at.kind->poll_s, &s->first, err) == JOULET_OK;
    return s->open;
}

/* The figure of an answer that belongs to a channel; NULL when the answer lacks it. */
static const struct page_value *value_of(const struct page *page, const char *name)
{
    for (size_t i = 0; i < page->n; i++)
        if (strcmp(page->values[i].name, name) == 0)
            return &page->values[i];
    return NULL;
}

static void push(struct meter_source *s, const struct page *page, enum joulet_status status, int64_t asked, int64_t answered)
{
    for (size_t i = 0; i < s->page.n; i++) {
        const struct page_value *v = status == JOULET_OK ? value_of(page, s->page.values[i].name) : NULL;
        struct joulet_pushed r = {.asked_ns = asked, .answered_ns = answered, .status = v ? JOULET_OK : JOULET_IO};
        if (v && isnan(v->value))
            continue; /* nobody's share */
        if (v)
            r.value = (int64_t)(v->value * 1e6 + 0.5);
        joulet_push(s->all->meter, s->first + i, &r);
    }
}

/* ---- the thread -------------------------------------------------------------------------------------------------- */

/* Once for each time that it falls silent. */
static void say(struct meter_source *s, const struct joulet_error *why)
{
    struct joulet_error err;
    if (s->said || why->status == JOULET_CANCELLED)
        return;
    s->said = true;
    if (s->open)
        jl_fail(&err, why->status, "the meter %s %s; what it told until then is kept, and it is asked on", s->name, why->message);
    else if (jl_starts(why->message, "answers") || jl_starts(why->message, "sends"))
        jl_fail(&err, why->status, "the meter %s %s", s->name, why->message);
    else
        jl_fail(&err, why->status, "the meter %s cannot be used: %s", s->name, why->message);
    joulet_push_problem(s->all->meter, s->at.kind->sensor, err.status, err.message);
}

static void poll_once(struct meter_source *s)
{
    struct joulet_error err = {0};
    struct page page;
    int64_t asked, answered;
    enum joulet_status st = meter_ask(s, &page, &asked, &answered, &err);
    if (st == JOULET_CANCELLED)
        return;
    push(s, &page, st, asked, answered);
    if (st == JOULET_OK) {
        s->failed = 0;
        s->said = false;
    } else if (++s->failed == SAY_AFTER) {
        say(s, &err);
    }
}

static void run(void *arg)
{
    struct meter_source *s = arg;
    struct joulet_error err = {0};
    bool ready = meter_find(s, &err) && open_channels(s, &err);
    if (!ready)
        say(s, &err);
    atomic_store(&s->asked, true);
    int64_t step = jl_ns(s->at.kind->poll_s);
    for (int64_t due = jl_mono_ns(); ready && !atomic_load(&s->all->stop); due += step) {
        int64_t now = jl_mono_ns();
        due = due < now - step ? now : due; /* a slow answer is not made up for */
        jl_event_wait_until(s->wake, due);
        if (!atomic_load(&s->all->stop))
            poll_once(s);
    }
}

/* ---- opening and closing ----------------------------------------------------------------------------------------- */

enum joulet_status meters_check(const char *const *addresses, size_t n, struct joulet_error *err)
{
    struct meter_address at;
    if (n > METERS_MAX)
        return jl_fail(err, JOULET_USAGE, "%zu meters are too many: %d can be read at once", n, METERS_MAX);
    for (size_t i = 0; i < n; i++)
        if (meter_address_parse(addresses[i], &at, err) != JOULET_OK)
            return JOULET_USAGE;
    return jl_ok(err);
}

static const char *kept_env(const char *name)
{
    return jl_strdup(jl_env(name));
}

/* Ids count each kind of place: wall0, wall1, chassis0. */
static int number_of(const struct meters *all, size_t i)
{
    int number = 0;
    for (size_t k = 0; k < i; k++)
        number += strcmp(all->sources[k].at.kind->prefix, all->sources[i].at.kind->prefix) == 0;
    return number;
}

static bool start(struct meters *all, size_t i, const char *address, struct joulet_error *err)
{
    struct meter_source *s = &all->sources[i];
    s->all = all;
    meter_address_parse(address, &s->at, err);
    s->number = number_of(all, i);
    snprintf(s->name, sizeof(s->name), "%.*s", (int)strcspn(address, "?"), address);
    s->wake = jl_event_open();
    return s->wake && jl_thread_start(&s->thread, "joulet-meter", run, s, err) == JOULET_OK;
}

static void wait_for_first(struct meters *all)
{
    int64_t until = jl_mono_ns() + jl_ns(FIRST_S);
    for (size_t i = 0; i < all->n; i++)
        while (!atomic_load(&all->sources[i].asked) && jl_mono_ns() < until)
            jl_sleep_until(jl_mono_ns() + 2000000);
}

enum joulet_status meters_open(struct meters **out, struct joulet *m, const char *const *addresses, size_t n,
                               struct joulet_error *err)
{
    *out = NULL;
    if (meters_check(addresses, n, err) != JOULET_OK)
        return JOULET_USAGE;
    struct meters *all = calloc(1, sizeof(*all));
    struct meter_source *sources = calloc(n ? n : 1, sizeof(*sources));
    if (!all || !sources) {
        free(all);
        free(sources);
        return jl_fail(err, JOULET_MEMORY, "out of memory while opening the meters");
    }
    *all = (struct meters){.meter = m,
                           .sources = sources,
                           .user = kept_env("JOULET_METER_USER"),
                           .password = kept_env("JOULET_METER_PASSWORD"),
                           .token = kept_env("JOULET_METER_TOKEN"),
                           .ca_file = kept_env("JOULET_METER_CA")};
    enum joulet_status st = JOULET_OK;
    for (; all->n < n && st == JOULET_OK; all->n++)
        if (!start(all, all->n, addresses[all->n], err))
            st = jl_fail(err, JOULET_MEMORY, "out of memory while opening the meters");
    if (st == JOULET_OK) {
        wait_for_first(all);
        *out = all;
    } else {
        meters_close(all);
    }
    return st;
}

void meters_engine(struct meters *all, int64_t pid)
{
    if (all)
        atomic_store(&all->pid, pid > 0 ? pid : 0);
}

void meters_close(struct meters *all)
{
    if (!all)
        return;
    atomic_store(&all->stop, true);
    for (size_t i = 0; i < all->n; i++)
        if (all->sources[i].wake)
            jl_event_set(all->sources[i].wake);
    for (size_t i = 0; i < all->n; i++) {
        jl_thread_join(all->sources[i].thread);
        if (all->sources[i].wake)
            jl_event_close(all->sources[i].wake);
    }
    free((char *)all->user);
    free((char *)all->password);
    free((char *)all->token);
    free((char *)all->ca_file);
    free(all->sources);
    free(all);
}
