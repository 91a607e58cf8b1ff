/* usage_tree.c - the calls of agents as a tree. A call stands below the call that its parent names (the id of a request, which
 * has the form of a span's), else below the calls of the same span, else below its session; a session stands below the one that
 * its calls name as their parent. What the sum of a session lacks of its duration is waiting: for tools, mostly, with the idle
 * power of that time as far as nobody else asked for anything.
 *
 * Names are the clients'. Whatever they say, each call has one place, and what would go in a circle is cut where it began. */
#include "report/internal.h"
#include "report/put.h"
#include "report/usage.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOWHERE   SIZE_MAX
#define STEPS_MAX 200 /* up from a call, to see that it goes in no circle */
#define DEPTH_MAX 64  /* of what is shown one inside the other: so many sessions, and so many calls in each */

struct call {
    char id[20];
    char *model, *devices;
    int64_t from_ns, to_ns;
    bool failed;
    int64_t tokens_in, tokens_out;
    struct joulet_energy energy;
    double emissions_g, cost;
    size_t session; /* NOWHERE: none */
    char parent[64];
    size_t above, below, beside; /* call that it stands below; first below it, next beside it */
    size_t next;                 /* in the list of its session */
};

struct tree_session {
    char name[64];
    size_t first;                /* calls, in the order of time */
    size_t above, below, beside; /* sessions */
    size_t next;                 /* in a list of those with one hash */
    bool wanted;
    struct usage_sums own; /* of its calls */
    struct joulet_energy waiting;
    double waiting_s, waiting_alone_s; /* alone: nobody else asked for anything either */
    int64_t from_ns, to_ns;
    size_t gaps;
};

struct level { /* idle level of a device, as it was last */
    char device[64];
    struct joulet_baseline idle;
};

struct usage_tree {
    struct usage_wanted w;
    struct call *calls;
    size_t n, cap;
    struct tree_session *sessions;
    size_t n_sessions, cap_sessions;
    size_t heads[16384];
    size_t *by_id; /* calls, sorted */
    struct busy {  /* when somebody was there, in the order of time */
        int64_t from_ns, to_ns;
        int64_t before_ns; /* time of those before it */
    } * busy;
    size_t n_busy;
    struct span {
        int64_t from_ns, to_ns;
    } * spans; /* of the calls of a session */
    struct level levels[32];
    size_t n_levels;
    struct carbon_clock *clock;
    struct usage_sums apart; /* calls without a session */
    bool failed, cut;
};

/* ---- reading ------------------------------------------------------------------------------------------------------------ */

static bool reserve(void **items, size_t size, size_t n, size_t *cap)
{
    if (n < *cap)
        return true;
    size_t more = *cap ? 2 * *cap : 64;
    void *grown = realloc(*items, more * size);
    if (!grown)
        return false;
    *items = grown;
    *cap = more;
    return true;
}

static size_t *head_of(struct usage_tree *t, const char *name)
{
    uint64_t h = 1469598103934665603u; /* FNV-1a */
    for (const char *p = name; *p; p++)
        h = (h ^ (unsigned char)*p) * 1099511628211u;
    return &t->heads[h % JL_COUNT(t->heads)];
}

static size_t find_session(struct usage_tree *t, const char *name)
{
    size_t i = *head_of(t, name);
    while (i != NOWHERE && strcmp(t->sessions[i].name, name) != 0)
        i = t->sessions[i].next;
    return i;
}

static size_t session_of(struct usage_tree *t, const char *name)
{
    static const struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;
    size_t found = name ? find_session(t, name) : NOWHERE;
    if (!name || found != NOWHERE)
        return found;
    if (!reserve((void **)&t->sessions, sizeof *t->sessions, t->n_sessions, &t->cap_sessions)) {
        t->failed = true;
        return NOWHERE;
    }
    struct tree_session *s = &t->sessions[t->n_sessions];
    size_t *head = head_of(t, name);
    *s = (struct tree_session){.first = NOWHERE, .above = NOWHERE, .below = NOWHERE, .beside = NOWHERE, .next = *head};
    s->own.energy = s->waiting = unknown;
    snprintf(s->name, sizeof s->name, "%s", name);
    *head = t->n_sessions;
    return t->n_sessions++;
}

static bool on_call(void *user, const struct store_proxied *q)
{
    struct usage_tree *t = user;
    struct carbon_factors f;
    struct carbon_amounts a;
    if (t->n == USAGE_CALLS_MAX) {
        t->cut = true;
        return false;
    }
    if (!reserve((void **)&t->calls, sizeof *t->calls, t->n, &t->cap)) {
        t->failed = true;
        return false;
    }
    carbon_clock_at(t->clock, q->wall_ns, q->end_wall_ns > q->wall_ns ? q->end_wall_ns : q->wall_ns + 1, &f);
    carbon_amounts_of(&f, q->energy.gross_j, NAN, &a);
    struct call *c = &t->calls[t->n++];
    *c = (struct call){.model = jl_strdup(q->model ? q->model : "-"),
                       .devices = jl_strdup(q->devices ? q->devices : ""),
                       .from_ns = q->wall_ns,
                       .to_ns = q->end_wall_ns > q->wall_ns ? q->end_wall_ns : q->wall_ns,
                       .failed = q->failed,
                       .tokens_in = q->tokens.prompt,
                       .tokens_out = q->tokens.generated,
                       .energy = q->energy,
                       .emissions_g = a.emissions_g,
                       .cost = a.energy_cost,
                       .session = session_of(t, q->session),
                       .above = NOWHERE,
                       .below = NOWHERE,
                       .beside = NOWHERE,
                       .next = NOWHERE};
    snprintf(c->id, sizeof c->id, "%s", q->id);
    snprintf(c->parent, sizeof c->parent, "%s", q->parent ? q->parent : "");
    t->failed |= !c->model || !c->devices;
    return !t->failed;
}

static bool on_level(void *user, const struct store_account *a)
{
    struct usage_tree *t = user;
    size_t i = 0;
    while (i < t->n_levels && strcmp(t->levels[i].device, a->device) != 0)
        i++;
    if (i == JL_COUNT(t->levels) || isnan(a->idle.power_w))
        return true;
    if (i == t->n_levels)
        snprintf(t->levels[t->n_levels++].device, sizeof t->levels[i].device, "%s", a->device);
    t->levels[i].idle = a->idle;
    return true;
}

/* ---- who stands below whom ------------------------------------------------------------------------------------------------ */

static const struct usage_tree *sorting; /* for qsort alone; trees are made in one thread */

static int by_id(const void *a, const void *b)
{
    return strcmp(sorting->calls[*(const size_t *)a].id, sorting->calls[*(const size_t *)b].id);
}

static size_t find_call(const struct usage_tree *t, const char *id)
{
    for (size_t lo = 0, hi = t->n; lo < hi;) {
        size_t mid = lo + (hi - lo) / 2;
        int order = strcmp(id, t->calls[t->by_id[mid]].id);
        if (order == 0)
            return t->by_id[mid];
        if (order < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NOWHERE;
}

/* True when x stands below y, or is it; or so deep that nobody looks for it. */
static bool call_is_below(const struct usage_tree *t, size_t x, size_t y)
{
    for (size_t steps = 0; x != NOWHERE; x = t->calls[x].above)
        if (x == y || ++steps > STEPS_MAX)
            return true;
    return false;
}

static bool session_is_below(const struct usage_tree *t, size_t x, size_t y)
{
    for (size_t steps = 0; x != NOWHERE; x = t->sessions[x].above)
        if (x == y || ++steps > STEPS_MAX)
            return true;
    return false;
}

/* The session of a call stands below that of its parent, unless that would go in a circle. */
static void place_session(struct usage_tree *t, size_t session, size_t above)
{
    if (session == NOWHERE || above == NOWHERE || session == above || t->sessions[session].above != NOWHERE ||
        session_is_below(t, above, session))
        return;
    t->sessions[session].above = above;
}

static void place_call(struct usage_tree *t, size_t i)
{
    struct call *c = &t->calls[i];
    size_t above = *c->parent ? find_call(t, c->parent) : NOWHERE;
    if (above != NOWHERE && t->calls[above].session != c->session)
        place_session(t, c->session, t->calls[above].session);
    else if (above != NOWHERE && !call_is_below(t, above, i))
        c->above = above;
    if (above == NOWHERE && *c->parent)
        place_session(t, c->session, find_session(t, c->parent));
}

/* Who stands deeper than is shown begins a tree of its own, so that everything is shown and counted once. */
static bool cut_deep(size_t *above, size_t n)
{
    size_t *path = malloc((n + 1) * sizeof *path);
    unsigned char *depth = calloc(n + 1, 1); /* 1: the highest; 0: not known yet */
    for (size_t i = 0; path && depth && i < n; i++) {
        size_t k = 0;
        for (size_t x = i; x != NOWHERE && !depth[x]; x = above[x])
            path[k++] = x;
        while (k-- > 0) { /* on the way down */
            size_t x = path[k];
            if (above[x] != NOWHERE && depth[above[x]] == DEPTH_MAX)
                above[x] = NOWHERE;
            depth[x] = above[x] == NOWHERE ? 1 : (unsigned char)(depth[above[x]] + 1);
        }
    }
    bool ok = path && depth;
    free(path);
    free(depth);
    return ok;
}

static bool cut_all(struct usage_tree *t)
{
    size_t n = t->n > t->n_sessions ? t->n : t->n_sessions, *above = malloc((n + 1) * sizeof *above);
    for (size_t i = 0; above && i < t->n; i++)
        above[i] = t->calls[i].above;
    bool ok = above && cut_deep(above, t->n);
    for (size_t i = 0; ok && i < t->n; i++)
        t->calls[i].above = above[i];
    for (size_t i = 0; ok && i < t->n_sessions; i++)
        above[i] = t->sessions[i].above;
    ok = ok && cut_deep(above, t->n_sessions);
    for (size_t i = 0; ok && i < t->n_sessions; i++)
        t->sessions[i].above = above[i];
    free(above);
    return ok;
}

/* Lists in the order of time: calls are read so. */
static void link_all(struct usage_tree *t)
{
    for (size_t i = t->n; i-- > 0;) {
        struct call *c = &t->calls[i];
        if (c->session == NOWHERE)
            continue;
        struct tree_session *s = &t->sessions[c->session];
        c->next = s->first;
        s->first = i;
        if (c->above != NOWHERE) {
            c->beside = t->calls[c->above].below;
            t->calls[c->above].below = i;
        }
    }
    for (size_t i = t->n_sessions; i-- > 0;) {
        struct tree_session *s = &t->sessions[i];
        if (s->above != NOWHERE) {
            s->beside = t->sessions[s->above].below;
            t->sessions[s->above].below = i;
        }
    }
}

/* ---- sums and waiting ------------------------------------------------------------------------------------------------------ */

static void add_call(struct usage_sums *s, const struct call *c)
{
    s->requests++;
    s->failed += c->failed;
    s->tokens_in += c->tokens_in > 0 ? c->tokens_in : 0;
    s->tokens_out += c->tokens_out > 0 ? c->tokens_out : 0;
    s->without_energy += isnan(c->energy.gross_j);
    joulet_energy_chain(&s->energy, &c->energy);
    s->seconds += (double)(c->to_ns - c->from_ns) * 1e-9;
    if (!isnan(c->energy.gross_j)) {
        s->emissions_g += c->emissions_g;
        s->cost += c->cost;
    }
}

static void add_sums(struct usage_sums *s, const struct usage_sums *more)
{
    s->requests += more->requests;
    s->failed += more->failed;
    s->tokens_in += more->tokens_in;
    s->tokens_out += more->tokens_out;
    s->without_energy += more->without_energy;
    joulet_energy_chain(&s->energy, &more->energy);
    s->seconds += more->seconds;
    s->emissions_g += more->emissions_g;
    s->cost += more->cost;
}

/* Idle level of the devices of a session's first call; unknown when one of them has none. */
static void level_of(const struct usage_tree *t, const struct tree_session *s, struct joulet_baseline *out)
{
    static const struct joulet_baseline none = JOULET_BASELINE_NONE;
    const char *devices = s->first == NOWHERE ? "" : t->calls[s->first].devices;
    double w = 0, u2 = 0;
    *out = none;
    for (const char *p = devices; *p;) {
        size_t n = strcspn(p, ","), i = 0;
        while (i < t->n_levels && (strlen(t->levels[i].device) != n || strncmp(t->levels[i].device, p, n) != 0))
            i++;
        if (i == t->n_levels)
            return;
        w += t->levels[i].idle.power_w;
        u2 += t->levels[i].idle.u_w * t->levels[i].idle.u_w;
        p += n + (p[n] == ',');
    }
    if (*devices)
        *out = (struct joulet_baseline){.power_w = w, .u_w = sqrt(u2), .sd_w = NAN};
}

/* Calls come in the order of their beginning. */
static void find_busy(struct usage_tree *t)
{
    int64_t before_ns = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct call *c = &t->calls[i];
        struct busy *last = t->n_busy ? &t->busy[t->n_busy - 1] : NULL;
        if (last && c->from_ns <= last->to_ns) {
            last->to_ns = c->to_ns > last->to_ns ? c->to_ns : last->to_ns;
            continue;
        }
        before_ns += last ? last->to_ns - last->from_ns : 0;
        t->busy[t->n_busy++] = (struct busy){c->from_ns, c->to_ns, before_ns};
    }
}

/* Time before t_ns in which somebody was there. */
static int64_t busy_until(const struct usage_tree *t, int64_t t_ns)
{
    size_t lo = 0, hi = t->n_busy;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (t->busy[mid].from_ns < t_ns)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (!lo)
        return 0;
    const struct busy *b = &t->busy[lo - 1];
    return b->before_ns + (t_ns < b->to_ns ? t_ns : b->to_ns) - b->from_ns;
}

static size_t spans_of(struct usage_tree *t, size_t session, size_t n, int depth)
{
    for (size_t i = t->sessions[session].first; i != NOWHERE; i = t->calls[i].next)
        t->spans[n++] = (struct span){t->calls[i].from_ns, t->calls[i].to_ns};
    for (size_t k = t->sessions[session].below; k != NOWHERE; k = t->sessions[k].beside)
        n = spans_of(t, k, n, depth + 1);
    return n;
}

static int by_time(const void *a, const void *b)
{
    int64_t x = ((const struct span *)a)->from_ns, y = ((const struct span *)b)->from_ns;
    return x < y ? -1 : x > y;
}

/* Time between the calls of a session and of those below it; and how much of that time nobody was there. */
static void wait_of(struct usage_tree *t, size_t session)
{
    struct tree_session *s = &t->sessions[session];
    struct joulet_baseline level;
    size_t n = spans_of(t, session, 0, 0);
    qsort(t->spans, n, sizeof *t->spans, by_time);
    s->from_ns = n ? t->spans[0].from_ns : 0;
    s->to_ns = n ? t->spans[0].to_ns : 0;
    for (size_t i = 1; i < n; i++) {
        int64_t gap_ns = t->spans[i].from_ns - s->to_ns;
        if (gap_ns > 0) {
            s->gaps++;
            s->waiting_s += (double)gap_ns * 1e-9;
            s->waiting_alone_s += (double)(gap_ns - (busy_until(t, t->spans[i].from_ns) - busy_until(t, s->to_ns))) * 1e-9;
        }
        s->to_ns = t->spans[i].to_ns > s->to_ns ? t->spans[i].to_ns : s->to_ns;
    }
    level_of(t, s, &level);
    joulet_energy_idle(&level, s->waiting_alone_s, &s->waiting);
}

static void sums_below(const struct usage_tree *t, size_t session, struct usage_sums *out, int depth)
{
    static const struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;
    if (depth == 0)
        *out = (struct usage_sums){.energy = unknown};
    add_sums(out, &t->sessions[session].own);
    for (size_t k = t->sessions[session].below; k != NOWHERE; k = t->sessions[k].beside)
        sums_below(t, k, out, depth + 1);
}

static bool is_named(const struct usage_tree *t, size_t session, const char *name)
{
    return !name || strcmp(t->sessions[session].name, name) == 0;
}

static enum joulet_status build(struct usage_tree *t, const char *session, struct joulet_error *err)
{
    static const struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;
    bool found = !session;
    t->apart.energy = unknown;
    t->by_id = malloc((t->n + 1) * sizeof *t->by_id);
    t->busy = malloc((t->n + 1) * sizeof *t->busy);
    t->spans = malloc((t->n + 1) * sizeof *t->spans);
    if (!t->by_id || !t->busy || !t->spans)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    for (size_t i = 0; i < t->n; i++)
        t->by_id[i] = i;
    sorting = t;
    qsort(t->by_id, t->n, sizeof *t->by_id, by_id);
    for (size_t i = 0; i < t->n; i++)
        place_call(t, i);
    if (!cut_all(t))
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    link_all(t);
    find_busy(t);
    for (size_t i = 0; i < t->n; i++)
        add_call(t->calls[i].session == NOWHERE ? &t->apart : &t->sessions[t->calls[i].session].own, &t->calls[i]);
    for (size_t i = 0; i < t->n_sessions; i++) {
        t->sessions[i].wanted = session ? is_named(t, i, session) : t->sessions[i].above == NOWHERE;
        found |= session && t->sessions[i].wanted;
        wait_of(t, i);
    }
    return found ? JOULET_OK
                 : jl_fail(err, JOULET_NOT_FOUND, "no request of session %.60s is stored; `joulet usage --by session` lists them",
                           session);
}

enum joulet_status usage_tree_read(struct usage_tree **out, struct store *s, const struct usage_wanted *w, const char *session,
                                   struct joulet_error *err)
{
    struct store_wanted times = {.since_ns = w->since_ns, .until_ns = w->until_ns};
    struct usage_tree *t = calloc(1, sizeof *t);
    *out = NULL;
    if (!t)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    t->w = *w;
    for (size_t i = 0; i < JL_COUNT(t->heads); i++)
        t->heads[i] = NOWHERE;
    t->clock = carbon_clock_open(w->factors);
    enum joulet_status st = t->clock ? JOULET_OK : jl_fail(err, JOULET_MEMORY, "out of memory");
    if (st == JOULET_OK)
        st = store_each_proxied(s, &times, false, on_call, t, err);
    if (st == JOULET_OK && t->cut)
        st = jl_fail(err, JOULET_LIMIT,
                     "more than %d requests are too many for a tree: give a shorter time with --since and --until",
                     USAGE_CALLS_MAX);
    if (st == JOULET_OK && t->failed)
        st = jl_fail(err, JOULET_MEMORY, "out of memory");
    if (st == JOULET_OK)
        st = store_each_account(s, &times, on_level, t, err);
    if (st == JOULET_OK)
        st = build(t, session, err);
    if (st == JOULET_OK)
        *out = t;
    else
        usage_tree_release(t);
    return st;
}

void usage_tree_release(struct usage_tree *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n; i++) {
        free(t->calls[i].model);
        free(t->calls[i].devices);
    }
    carbon_clock_close(t->clock);
    free(t->calls);
    free(t->sessions);
    free(t->by_id);
    free(t->busy);
    free(t->spans);
    free(t);
}

/* ---- as text -------------------------------------------------------------------------------------------------------------- */

struct drawing {
    const struct usage_tree *t;
    const struct report_style *style;
    struct grid g;
};

static void add_line(struct drawing *d, int depth, enum tone tone, const char *name, const struct usage_sums *s,
                     const char *seconds)
{
    char *label = jl_strf("%*s%s", 2 * depth, "", name), *clean = label ? text_clean(label + 2 * (size_t)depth, d->style) : NULL;
    char *shown = clean ? jl_strf("%*s%s", 2 * depth, "", clean) : NULL;
    struct number requests = number_count(s->requests), in = number_count(s->tokens_in), out = number_count(s->tokens_out),
                  e = isnan(s->energy.gross_j) ? number_f("-")
                                               : number_pm(s->energy.gross_j, s->energy.gross_pm_j, "J", d->style);
    const char *unit;
    double scale = unit_co2e(s->emissions_g, d->style, &unit);
    struct number co2 = isnan(s->energy.gross_j) || isnan(s->emissions_g)
                            ? number_f("-")
                            : number_f("%s %s", number_digits(s->emissions_g * scale, 3).text, unit);
    bool counts = s->requests > 0;
    const char *const cells[] = {
        shown ? shown : "",    counts ? requests.text : "", counts ? in.text : "", counts ? out.text : "", e.text, seconds,
        counts ? co2.text : ""};
    grid_add(&d->g, tone, cells);
    free(label);
    free(clean);
    free(shown);
}

static void draw_call(struct drawing *d, size_t i, int depth)
{
    static const struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;
    const struct call *c = &d->t->calls[i];
    struct usage_sums s = {.energy = unknown};
    char time[40], *name;
    jl_format_time(time, sizeof time, c->from_ns);
    add_call(&s, c);
    name = jl_strf("%.8s %s%s", time + 11, report_model_name(c->model), c->failed ? ", failed" : "");
    add_line(d, depth, c->failed ? TONE_WARN : TONE_PLAIN, name ? name : "", &s, number_s(s.seconds, d->style).text);
    free(name);
    for (size_t k = c->below; k != NOWHERE; k = d->t->calls[k].beside)
        draw_call(d, k, depth + 1);
}

static void draw_session(struct drawing *d, size_t i, int depth)
{
    const struct tree_session *s = &d->t->sessions[i];
    struct usage_sums all, waiting = {.energy = s->waiting};
    char *name = jl_strf("session %s", s->name);
    sums_below(d->t, i, &all, 0);
    add_line(d, depth, TONE_STRONG, name ? name : "", &all, number_s((double)(s->to_ns - s->from_ns) * 1e-9, d->style).text);
    free(name);
    for (size_t k = s->first; k != NOWHERE; k = d->t->calls[k].next)
        if (d->t->calls[k].above == NOWHERE)
            draw_call(d, k, depth + 1);
    for (size_t k = s->below; k != NOWHERE; k = d->t->sessions[k].beside)
        draw_session(d, k, depth + 1);
    name = jl_strf("waiting for tools, %zu time%s", s->gaps, s->gaps == 1 ? "" : "s");
    if (s->gaps)
        add_line(d, depth + 1, TONE_FAINT, name ? name : "", &waiting, number_s(s->waiting_s, d->style).text);
    free(name);
}

void usage_tree_text(struct jl_buf *out, const struct usage_tree *t, const struct report_style *style)
{
    static const struct grid_column columns[] = {{"", false, 0},          {"requests", true, 3}, {"tokens in", true, 2},
                                                 {"tokens out", true, 1}, {"energy", true, 0},   {"time", true, 0},
                                                 {"CO2e", true, 4}};
    struct drawing d = {.t = t, .style = style};
    if (!t->n) {
        jl_buf_str(out, "No request of this time is stored: those that pass `joulet serve` are.\n");
        return;
    }
    grid_init(&d.g, columns, JL_COUNT(columns));
    bool any = false, one = false;
    for (size_t i = 0; i < t->n_sessions; i++)
        if (t->sessions[i].wanted) {
            draw_session(&d, i, 0);
            any = true;
            one |= t->sessions[i].above != NOWHERE;
        }
    if (t->apart.requests && !one)
        add_line(&d, 0, TONE_PLAIN, any ? "without a session" : "all, without a session", &t->apart,
                 number_s(t->apart.seconds, style).text);
    grid_write(&d.g, out, style);
    jl_buf_str(out, "\n");
    text_item(
        out, style, "waiting", NULL,
        "time between the calls of a session; its energy is the idle power of the part in which nobody asked for anything, and "
        "is not in the sums above it",
        TONE_FAINT);
}

/* ---- as JSON -------------------------------------------------------------------------------------------------------------- */

static void put_sums(struct jl_buf *out, const struct usage_sums *s)
{
    bool known = !isnan(s->energy.gross_j);
    jl_buf_printf(out,
                  ",\"requests\":%" PRId64 ",\"failed\":%" PRId64 ",\"without_energy\":%" PRId64
                  ",\"tokens\":{\"prompt\":%" PRId64 ",\"generated\":%" PRId64 "}",
                  s->requests, s->failed, s->without_energy, s->tokens_in, s->tokens_out);
    put_real(out, "net_j", s->energy.net_j);
    put_real(out, "net_pm_j", s->energy.net_pm_j);
    put_real(out, "gross_j", s->energy.gross_j);
    put_real(out, "gross_pm_j", s->energy.gross_pm_j);
    put_real(out, "emissions_g", known ? s->emissions_g : NAN);
    put_real(out, "cost", known ? s->cost : NAN);
}

static void put_call(struct jl_buf *out, const struct usage_tree *t, size_t i, int depth)
{
    static const struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;
    const struct call *c = &t->calls[i];
    struct usage_sums s = {.energy = unknown};
    char time[40];
    jl_format_time(time, sizeof time, c->from_ns);
    add_call(&s, c);
    jl_buf_str(out, "{");
    put_text(out, "id", c->id);
    put_text(out, "model", c->model);
    jl_buf_printf(out, ",\"time\":\"%s\"", time);
    put_real(out, "duration_s", s.seconds);
    put_sums(out, &s);
    jl_buf_str(out, ",\"calls\":[");
    for (size_t k = c->below; k != NOWHERE; k = t->calls[k].beside) {
        put_call(out, t, k, depth + 1);
        jl_buf_str(out, t->calls[k].beside == NOWHERE ? "" : ",");
    }
    jl_buf_str(out, "]}");
}

static void put_session(struct jl_buf *out, const struct usage_tree *t, size_t i, int depth)
{
    const struct tree_session *s = &t->sessions[i];
    struct usage_sums all;
    bool first = true;
    sums_below(t, i, &all, 0);
    jl_buf_str(out, "{");
    put_text(out, "session", s->name);
    put_real(out, "duration_s", (double)(s->to_ns - s->from_ns) * 1e-9);
    put_sums(out, &all);
    jl_buf_printf(out, ",\"waiting\":{\"times\":%zu", s->gaps);
    put_real(out, "seconds", s->waiting_s);
    put_real(out, "alone_s", s->waiting_alone_s);
    put_real(out, "gross_j", s->waiting.gross_j);
    put_real(out, "gross_pm_j", s->waiting.gross_pm_j);
    jl_buf_str(out, "},\"calls\":[");
    for (size_t k = s->first; k != NOWHERE; k = t->calls[k].next)
        if (t->calls[k].above == NOWHERE) {
            jl_buf_str(out, first ? "\n" : ",\n");
            put_call(out, t, k, depth + 1);
            first = false;
        }
    jl_buf_str(out, "],\"sessions\":[");
    for (size_t k = s->below; k != NOWHERE; k = t->sessions[k].beside) {
        put_session(out, t, k, depth + 1);
        jl_buf_str(out, t->sessions[k].beside == NOWHERE ? "" : ",");
    }
    jl_buf_str(out, "]}");
}

void usage_tree_json(struct jl_buf *out, const struct usage_tree *t)
{
    bool first = true;
    jl_buf_str(out, "{\"sessions\":[");
    for (size_t i = 0; i < t->n_sessions; i++)
        if (t->sessions[i].wanted) {
            jl_buf_str(out, first ? "\n" : ",\n");
            put_session(out, t, i, 0);
            first = false;
        }
    jl_buf_str(out, "],\n\"without_session\":{\"session\":null");
    put_sums(out, &t->apart);
    jl_buf_str(out, "}}\n");
}
