/* session_watch.c - what happened to the machine and the engine during a request: flags on its energy, a note where a sentence
 * says more than a flag. Judged by libjoulet (joulet_watch); the looks are taken outside the windows. */
#include "cli/session.h"
#include "meters/meters.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SAID_MOST 3 /* sentences of one kind in a record */
#define SLOT_NS   50000000
#define WARMED_K  15.0 /* a processor that gets warmer by more draws measurably more at the same work */

/* Requests of others in an engine that is not ours alone; -1 not known. */
static int others(const struct session *s)
{
    const struct runtime_choice *c = s->watch.choice;
    return c && !c->started && c->engine->ops->busy ? c->engine->ops->busy(c->engine) : -1;
}

void session_watch_engine(struct session *s, const struct runtime_choice *choice)
{
    session_follow(s, choice);
    meters_engine(s->meters, s->watch.pid);
}

void session_watch(struct session *s)
{
    s->watch.others = others(s);
    session_look_before(s);
    s->watch.on = true;
}

/* A simulated or replayed sensor sees nothing of what goes on here. */
static bool of_this_machine(const struct session *s)
{
    for (size_t i = 0; i < s->n_channels; i++)
        if (s->run.channels[i].in_total && s->run.channels[i].provenance != JOULET_SIMULATED)
            return true;
    return false;
}

/* The flag stands on every request; a sentence for each would bury the others. */
static bool say(struct session *s, uint32_t flag)
{
    unsigned bit = 0;
    while (bit < JL_COUNT(s->watch.said) - 1 && flag != 1u << bit)
        bit++;
    return s->watch.said[bit]++ < SAID_MOST;
}

static void note_watched(struct session *s, const struct joulet_watched *w, const char *what)
{
    if ((w->flags & JOULET_FLAG_FOREIGN_LOAD) && say(s, JOULET_FLAG_FOREIGN_LOAD))
        run_note(
            &s->run,
            "%s: other programs kept %.1f hardware threads busy; their energy is in the figures, so close them and measure again",
            what, w->foreign_threads);
    if (w->slept_s > 0)
        run_note(&s->run, "%s: the machine slept for %.0f s, which no sensor saw; measure again", what, w->slept_s);
    if (w->stepped_s != 0)
        run_note(&s->run, "%s: the wall clock was set by %.1f s; durations are not affected, times of day before it are", what,
                 w->stepped_s);
    if ((w->flags & JOULET_FLAG_CLOCK_CHANGE) && say(s, JOULET_FLAG_CLOCK_CHANGE))
        run_note(&s->run, "%s: the highest clock that the processor may take was changed; figures before and after are not alike",
                 what);
    if (w->throttle_events && say(s, JOULET_FLAG_THROTTLED))
        run_note(&s->run, "%s: the processor slowed down for heat %lld times; cool it, or compare only with runs like this one",
                 what, (long long)w->throttle_events);
}

static void flag_energy(struct run_energy *e, uint32_t flags, const char *device)
{
    e->total.flags |= flags;
    for (size_t i = 0; i < e->n_channels; i++)
        if (!device || !strncmp(e->channels[i].channel, device, strlen(device)))
            e->channels[i].e.flags |= flags;
}

static void flag_request(struct run_request *q, uint32_t flags, const char *device)
{
    flag_energy(&q->energy, flags, device);
    for (size_t k = 0; k < q->n_windows; k++)
        flag_energy(&q->windows[k].energy, flags, device);
}

/* Mean clock of each device against the first request that counts. */
static void watch_clocks(struct session *s, struct run_request *q)
{
    joulet_mark from = q->windows[0].start_ns, to = q->windows[q->n_windows - 1].end_ns;
    for (size_t i = 0; i < s->n_channels && i < JL_COUNT(s->watch.clock_hz); i++) {
        const struct joulet_channel *c = &s->run.channels[i];
        struct joulet_trace t;
        if (c->quantity != JOULET_CLOCK || joulet_trace_copy(s->meter, i, from, to, &t, NULL) != JOULET_OK)
            continue;
        double hz = joulet_clock_in(&t, from, to);
        joulet_trace_release(&t);
        if (isnan(hz))
            continue;
        const char *dot = strchr(c->id, '.');
        char device[64];
        snprintf(device, sizeof device, "%.*s", dot ? (int)(dot - c->id) + 1 : 60, c->id);
        if (s->watch.clock_hz[i] <= 0)
            s->watch.clock_hz[i] = hz;
        else if (joulet_clock_changed(s->watch.clock_hz[i], hz))
            flag_request(q, JOULET_FLAG_CLOCK_CHANGE, device);
    }
}

void session_watched(struct session *s)
{
    struct joulet_surroundings after;
    if (!s->watch.on)
        return;
    s->watch.on = false;
    session_look_after(s, &after);
    joulet_watch(&s->watch.before, &after, &s->watch.seen);
    int now = others(s);
    if (now > 0) { /* our own slot may be in use for a moment after the last byte */
        jl_sleep_until(joulet_now() + SLOT_NS);
        now = others(s);
    }
    s->watch.served = now > s->watch.others ? now : s->watch.others;
}

static uint32_t watch_others(struct session *s, const char *what)
{
    int n = s->watch.served;
    s->watch.served = -1;
    if (n <= 0)
        return 0;
    if (s->watch.said_others++ < SAID_MOST)
        run_note(
            &s->run,
            "%s: the engine was serving %d other request%s; their energy is in the figures, so measure when nobody else uses it",
            what, n, n == 1 ? "" : "s");
    return JOULET_FLAG_FOREIGN_LOAD;
}

/* The token that every prompt begins with is always there. */
#define CACHED_SHARE 0.02

static uint32_t watch_cache(struct session *s, const struct run_request *q, const char *what)
{
    const char *allowed = run_pairs_get(&s->run.settings, "prompt_cache");
    if (!allowed || strcmp(allowed, "false") || q->tokens.cached <= 1 ||
        (double)q->tokens.cached <= CACHED_SHARE * (double)q->tokens.prompt)
        return 0;
    if (say(s, JOULET_FLAG_CACHED))
        run_note(
            &s->run,
            "%s: %lld of its %lld prompt tokens came from a cache although that was switched off, so its prefill is too cheap; "
            "start the engine anew, or let every prompt begin differently",
            what, (long long)q->tokens.cached, (long long)q->tokens.prompt);
    return JOULET_FLAG_CACHED;
}

void session_flag_request(struct session *s, struct run_request *q)
{
    char what[48];
    snprintf(what, sizeof what, "request %lld", (long long)q->index + 1);
    flag_request(q, watch_cache(s, q, what), NULL);
    if (of_this_machine(s)) {
        note_watched(s, &s->watch.seen, what);
        flag_request(q, s->watch.seen.flags | watch_others(s, what), NULL);
        if (q->n_windows && !q->warmup)
            watch_clocks(s, q);
    }
    s->watch.seen = (struct joulet_watched){.foreign_threads = NAN};
    q->cpu_time = s->watch.cpu;
    session_cpu_request(s, q);
    run_cpu_time_init(&s->watch.cpu);
}

void session_flag_window(struct session *s, struct run_window *w)
{
    w->cpu_time = s->watch.cpu;
    session_cpu_window(s, w);
    run_cpu_time_init(&s->watch.cpu);
    if (!of_this_machine(s))
        return;
    flag_energy(&w->energy, s->watch.seen.flags, NULL);
    note_watched(s, &s->watch.seen, w->name);
}

/* A processor at another temperature is another processor. */
void session_watch_heat(struct session *s)
{
    double first = NAN, last = NAN;
    for (size_t i = 0; i < s->run.n_requests; i++) {
        const struct run_request *q = &s->run.requests[i];
        if (q->warmup || q->outcome != RUN_OK)
            continue;
        if (isnan(first))
            first = q->temperature_after_c;
        last = q->temperature_after_c;
    }
    if (last - first > WARMED_K && of_this_machine(s))
        run_note(&s->run,
                 "the processor warmed from %.0f to %.0f degrees Celsius between the first and the last request, and a warmer "
                 "one draws "
                 "more; use more --warmup",
                 first, last);
}
