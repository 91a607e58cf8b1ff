/* recompute.c - stored traces measured again with the estimators of this joulet (`runs recompute`).
 *
 * What was known when the run was measured is used again: windows and their moments, what is known of each channel, which
 * counters might not be read. Idle levels are measured again where their samples are stored. What the machine and the engine were
 * seen to do meanwhile (flags of watches) stays with the figures. */
#include "cli/recompute.h"

#include "cli/json.h"
#include "cli/session.h"
#include "cli/session_span.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Flags that the estimators do not give. */
#define OF_WATCHES                                                                                                               \
    (JOULET_FLAG_FOREIGN_LOAD | JOULET_FLAG_CACHED | JOULET_FLAG_TRACE_LOST | JOULET_FLAG_CLOCK_CHANGE | JOULET_FLAG_STARVED |   \
     JOULET_FLAG_CLOCK_STEP | JOULET_FLAG_AVERAGED | JOULET_FLAG_SLOW_SENSOR)

/* ---- idle levels ------------------------------------------------------------------------------------------------- */

/* Levels were noted in the order in which they were taken; one of an earlier run has times of that run. */
static bool was_known(const struct run *r, const struct run_baseline *b, joulet_mark at)
{
    bool of_this_run = b->b.to_ns >= r->start_ns && b->b.from_ns <= r->end_ns;
    return !of_this_run || b->b.from_ns <= at;
}

/* Idle levels are figures too (4.2): those whose span is in the stored samples are measured again. Others stay: of earlier runs,
 * and short ones, which also hold what the level was afterwards. */
static void again_baselines(struct session *s)
{
    struct run *r = &s->run;
    for (size_t k = 0; k < r->n_baselines; k++) {
        struct joulet_baseline *b = &r->baselines[k].b, again;
        size_t i = 0;
        while (i < s->n_channels && strcmp(r->channels[i].id, r->baselines[k].channel))
            i++;
        const struct joulet_trace *t = i < s->n_channels ? &s->stored[i] : NULL;
        bool here = t && t->n && t->samples[0].t_ns <= b->from_ns && t->samples[t->n - 1].t_ns >= b->to_ns;
        if (here && !(b->flags & JOULET_FLAG_SHORT_BASELINE) &&
            joulet_baseline_from(t, b->from_ns, b->to_ns, &again, NULL) == JOULET_OK)
            *b = again;
    }
}

static void set_idle(struct session *s, const char *level, joulet_mark at)
{
    const struct run *r = &s->run;
    for (size_t i = 0; i < s->n_channels; i++) {
        s->idle[i] = (struct joulet_baseline)JOULET_BASELINE_NONE;
        for (size_t k = 0; k < r->n_baselines; k++) {
            const struct run_baseline *b = &r->baselines[k];
            bool fits = !level || !strcmp(b->level, level);
            if (fits && !strcmp(b->channel, r->channels[i].id) && was_known(r, b, at))
                s->idle[i] = b->b;
        }
    }
}

/* A plan takes several levels, and the line between two of them counts (4.3), but for those of a server that was started anew. */
static void set_idle_between(struct session *s, joulet_mark from, joulet_mark to)
{
    const struct run *r = &s->run;
    joulet_mark first = r->start_ns, last = r->end_ns;
    for (size_t i = 0; i < r->n_windows; i++) {
        const struct run_window *w = &r->windows[i];
        bool load = !strcmp(w->name, "load");
        first = load && w->end_ns <= from && w->end_ns > first ? w->end_ns : first;
        last = load && w->start_ns >= to && w->start_ns < last ? w->start_ns : last;
    }
    set_idle(s, NULL, from);
    struct joulet_baseline *all = calloc(r->n_baselines + 1, sizeof *all);
    for (size_t i = 0; all && i < s->n_channels; i++) {
        size_t n = 0;
        for (size_t k = 0; k < r->n_baselines; k++) {
            const struct run_baseline *b = &r->baselines[k];
            if (!strcmp(b->channel, r->channels[i].id) && !strcmp(b->level, "L1") && b->b.from_ns >= first && b->b.to_ns <= last)
                all[n++] = b->b;
        }
        if (n)
            joulet_baseline_at(all, n, from, to, &s->idle[i]);
    }
    free(all);
}

/* ---- energies ---------------------------------------------------------------------------------------------------- */

static void keep_flags(struct run_energy *now, const struct run_energy *was)
{
    now->total.flags |= was->total.flags & OF_WATCHES;
    if (!isnan(was->total.tail_j)) /* it was followed longer than the estimators do */
        now->total.tail_j = was->total.tail_j;
    for (size_t i = 0; i < now->n_channels; i++)
        for (size_t k = 0; k < was->n_channels; k++)
            if (!strcmp(now->channels[i].channel, was->channels[k].channel))
                now->channels[i].e.flags |= was->channels[k].e.flags & OF_WATCHES;
}

static joulet_mark start_of(const struct run_request *q)
{
    return q->windows[0].start_ns;
}

static joulet_mark end_of(const struct run_request *q)
{
    return q->windows[q->n_windows - 1].end_ns;
}

/* Nothing else began before this moment. */
static joulet_mark next_start(const struct run *r, joulet_mark end)
{
    joulet_mark next = r->end_ns;
    for (size_t i = 0; i < r->n_requests; i++)
        if (r->requests[i].n_windows && start_of(&r->requests[i]) >= end && start_of(&r->requests[i]) < next)
            next = start_of(&r->requests[i]);
    return next;
}

/* End of what was measured before; before the first request that is the load, or the beginning of the idle window. */
static joulet_mark last_activity(const struct run *r, joulet_mark start)
{
    joulet_mark last = 0;
    for (size_t i = 0; i < r->n_windows; i++) {
        const struct run_window *w = &r->windows[i];
        joulet_mark at = strcmp(w->name, "idle") ? w->end_ns : w->start_ns;
        if (w->end_ns <= start && at > last)
            last = at;
    }
    for (size_t i = 0; i < r->n_requests; i++)
        if (r->requests[i].n_windows && end_of(&r->requests[i]) <= start && end_of(&r->requests[i]) > last)
            last = end_of(&r->requests[i]);
    return last;
}

/* Only a command stands alone; its one window is the run. */
static void again_window(struct session *s, struct run_window *w, const struct run_window *was)
{
    bool command = !strcmp(w->name, "run");
    if (was->energy.n_channels == 0) /* the engine ran on another machine */
        return;
    set_idle(s, !strcmp(w->name, "load") ? "L0" : NULL, w->start_ns);
    session_window_again(s, w, command, next_start(&s->run, w->end_ns));
    keep_flags(&w->energy, &was->energy);
    for (size_t i = 0; command && i < w->energy.n_channels; i++)
        run_energy_add_channel(&s->run.energy, w->energy.channels[i].channel, &w->energy.channels[i].e);
}

/* Requests that stood alone have their whole by the padded difference. */
static bool was_isolated(const struct run_energy *former)
{
    for (size_t i = 0; i < former->n_channels; i++)
        if (former->channels[i].e.method && jl_starts(former->channels[i].e.method, "padded-difference/"))
            return true;
    return false;
}

static void again_request(struct session *s, struct run_request *q, const struct run_request *was)
{
    if (was->energy.n_channels == 0 && was->energy.total.provenance == JOULET_ESTIMATED) /* published: no trace changes it */
        q->energy.total = was->energy.total;
    if (!q->n_windows || was->energy.n_channels == 0) /* others ran at the same time: only together they have an energy */
        return;
    if (!strcmp(s->run.kind, "bench"))
        set_idle_between(s, start_of(q), end_of(q));
    else
        set_idle(s, NULL, start_of(q));
    session_request_again(s, q, was_isolated(&was->energy), last_activity(&s->run, start_of(q)), next_start(&s->run, end_of(q)));
    keep_flags(&q->energy, &was->energy);
    for (size_t k = 0; k < q->n_windows; k++)
        keep_flags(&q->windows[k].energy, &was->windows[k].energy);
}

/* A total that lacked something although each of its channels was whole: a counter that might not be read (session_total). */
static bool lacked_a_counter(const struct run_energy *e)
{
    size_t net = 0;
    if (!(e->total.flags & JOULET_FLAG_PARTIAL) || isnan(e->total.gross_j))
        return false;
    for (size_t i = 0; i < e->n_channels; i++) {
        if (isnan(e->channels[i].e.gross_j) || (e->channels[i].e.flags & JOULET_FLAG_PARTIAL))
            return false;
        net += !isnan(e->channels[i].e.net_j);
    }
    return net == 0 || net == e->n_channels;
}

static bool some_may_not_be_read(const struct run_former *was)
{
    for (size_t i = 0; i < was->n_windows; i++)
        if (lacked_a_counter(&was->windows[i].energy))
            return true;
    for (size_t i = 0; i < was->n_requests; i++)
        for (size_t k = 0; k < was->requests[i].n_windows; k++)
            if (lacked_a_counter(&was->requests[i].windows[k].energy))
                return true;
    return false;
}

static void measure_again(struct session *s, const struct run_former *was)
{
    struct run *r = &s->run;
    again_baselines(s);
    s->refused = some_may_not_be_read(was);
    for (size_t i = 0; i < r->n_windows; i++)
        again_window(s, &r->windows[i], &was->windows[i]);
    for (size_t i = 0; i < r->n_requests; i++)
        again_request(s, &r->requests[i], &was->requests[i]);
    if (r->n_requests)
        session_sum(s);
    else
        session_total(s, &r->energy);
    keep_flags(&r->energy, &was->energy);
}

/* ---- traces ------------------------------------------------------------------------------------------------------ */

static enum joulet_status load_traces(struct session *s, struct joulet_error *err)
{
    size_t found = 0;
    if (run_pairs_get(&s->run.engine, "measured_at"))
        return jl_fail(err, JOULET_NOT_FOUND,
                       "the joules of run %s were told by the joulet server at %s, which has the samples: there is nothing to "
                       "measure again here",
                       s->run.id, run_pairs_get(&s->run.engine, "measured_at"));
    if (session_elsewhere(s))
        return jl_fail(
            err, JOULET_NOT_FOUND,
            "run %s was done on another machine, so the samples of this one say nothing about it; `joulet estimate --run %s` "
            "estimates it anew",
            s->run.id, s->run.id);
    s->stored = calloc(s->n_channels + 1, sizeof *s->stored);
    s->idle = calloc(s->n_channels + 1, sizeof *s->idle);
    if (!s->stored || !s->idle)
        return jl_fail(err, JOULET_MEMORY, "run %s cannot be measured again: out of memory", s->run.id);
    for (size_t i = 0; i < s->n_channels; i++) {
        enum joulet_status st = store_load_trace(s->store, s->run.id, i, &s->stored[i], err);
        if (st != JOULET_OK && st != JOULET_NOT_FOUND)
            return st;
        const struct joulet_channel *c = &s->run.channels[i];
        found += st == JOULET_OK && s->stored[i].n && (c->quantity == JOULET_ENERGY || c->quantity == JOULET_POWER);
    }
    return found ? jl_ok(err)
                 : jl_fail(err, JOULET_NOT_FOUND, "run %s has no samples in the store: traces stay where they were measured",
                           s->run.id);
}

enum joulet_status recompute_run(struct store *store, struct run *r, struct joulet_error *err)
{
    struct session s = {.run = *r, .store = store, .n_channels = r->n_channels};
    enum joulet_status st = load_traces(&s, err);
    if (st == JOULET_OK && !run_put_aside(&s.run, jl_wall_ns()))
        st = jl_fail(err, JOULET_LIMIT, "run %s holds %zu former sets of figures, the most that are kept; export it first", r->id,
                     s.run.n_former);
    if (st == JOULET_OK)
        measure_again(&s, &s.run.former[s.run.n_former - 1]);
    for (size_t i = 0; s.stored && i < s.n_channels; i++)
        joulet_trace_release(&s.stored[i]);
    free(s.stored);
    free(s.idle);
    *r = s.run;
    return st;
}

/* ---- as JSON ----------------------------------------------------------------------------------------------------- */

static void both(struct jl_buf *out, bool *first, const struct run_energy *was, const struct run_energy *now)
{
    cli_json_key(out, first, "former");
    cli_json_energy(out, &was->total);
    cli_json_key(out, first, "now");
    cli_json_energy(out, &now->total);
}

static void windows_json(struct jl_buf *out, const struct run_window *was, const struct run_window *now, size_t n)
{
    jl_buf_str(out, "[");
    for (size_t i = 0; i < n; i++) {
        bool first = true;
        jl_buf_str(out, i ? ", {" : "{");
        cli_json_key(out, &first, "name");
        cli_json_string(out, now[i].name);
        both(out, &first, &was[i].energy, &now[i].energy);
        jl_buf_str(out, "}");
    }
    jl_buf_str(out, "]");
}

static void level_json(struct jl_buf *out, bool *first, const char *key, const struct joulet_baseline *b)
{
    bool inner = true;
    cli_json_key(out, first, key);
    jl_buf_str(out, "{");
    cli_json_key(out, &inner, "power_w");
    cli_json_number(out, b->power_w);
    cli_json_key(out, &inner, "u_w");
    cli_json_number(out, b->u_w);
    jl_buf_str(out, "}");
}

static void baselines_json(struct jl_buf *out, const struct run *r, const struct run_former *f)
{
    jl_buf_str(out, "[");
    for (size_t i = 0; i < r->n_baselines && i < f->n_baselines; i++) {
        bool first = true;
        jl_buf_str(out, i ? ", {" : "{");
        cli_json_key(out, &first, "channel");
        cli_json_string(out, r->baselines[i].channel);
        cli_json_key(out, &first, "level");
        cli_json_string(out, r->baselines[i].level);
        level_json(out, &first, "former", &f->baselines[i].b);
        level_json(out, &first, "now", &r->baselines[i].b);
        jl_buf_str(out, "}");
    }
    jl_buf_str(out, "]");
}

void recompute_json(struct jl_buf *out, const struct run *r, bool stored)
{
    const struct run_former *f = &r->former[r->n_former - 1];
    bool first = true;
    jl_buf_str(out, "{");
    cli_json_key(out, &first, "id");
    cli_json_string(out, r->id);
    cli_json_key(out, &first, "stored");
    jl_buf_str(out, stored ? "true" : "false");
    cli_json_key(out, &first, "former_version");
    cli_json_string(out, f->version);
    cli_json_key(out, &first, "figures_version");
    cli_json_string(out, r->figures_version);
    both(out, &first, &f->energy, &r->energy);
    cli_json_key(out, &first, "baselines");
    baselines_json(out, r, f);
    cli_json_key(out, &first, "windows");
    windows_json(out, f->windows, r->windows, r->n_windows);
    cli_json_key(out, &first, "requests");
    jl_buf_str(out, "[");
    for (size_t i = 0; i < r->n_requests; i++) {
        bool head = true;
        jl_buf_str(out, i ? ",\n {" : "\n {");
        cli_json_key(out, &head, "index");
        jl_buf_printf(out, "%lld", (long long)r->requests[i].index);
        both(out, &head, &f->requests[i].energy, &r->requests[i].energy);
        cli_json_key(out, &head, "windows");
        windows_json(out, f->requests[i].windows, r->requests[i].windows, r->requests[i].n_windows);
        jl_buf_str(out, "}");
    }
    jl_buf_str(out, "]}");
}
