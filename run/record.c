/* record.c - the structs of a record: beginning, growing, ending. Unknown is NAN, NULL or -1 from the start, so that a field
 * nobody fills is never read as zero. Sums over channels follow docs/method.md (3). */
#include "run/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* "20261121-152349-5f3a": sorts by time of start (UTC); the last part keeps two runs of one second apart. */
void run_make_id(char *id, size_t size, int64_t wall_ns)
{
    time_t t = (time_t)(wall_ns / JL_NS_PER_S);
    struct tm tm = {0};
    gmtime_r(&t, &tm);
    struct jl_rng rng = {(uint64_t)wall_ns ^ (uint64_t)jl_mono_ns() << 20 ^ (uint64_t)(uintptr_t)id};
    char day[32];
    strftime(day, sizeof day, "%Y%m%d-%H%M%S", &tm);
    snprintf(id, size, "%s-%04x", day, (unsigned)jl_rng_below(&rng, 0x10000));
}

void run_init(struct run *r, const char *kind)
{
    *r = (struct run){.exit_code = -1};
    snprintf(r->kind, sizeof r->kind, "%s", kind);
    r->start_ns = jl_mono_ns();
    r->started_wall_ns = jl_wall_ns();
    r->wall_offset_ns = r->started_wall_ns - r->start_ns;
    r->end_ns = r->start_ns;
    run_make_id(r->id, sizeof r->id, r->started_wall_ns);
    r->version = jl_strdup(JOULET_VERSION);
    r->status = jl_strdup("running");
    run_energy_init(&r->energy);
}

bool run_id_set(struct run *r, const char *id)
{
    size_t n = strlen(id);
    if (n < 8 || n >= sizeof r->id || strspn(id, "0123456789-abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != n)
        return false;
    memcpy(r->id, id, n + 1);
    return true;
}

void run_channel_release(struct joulet_channel *c)
{
    free((char *)(uintptr_t)c->id);
    free((char *)(uintptr_t)c->sensor);
    free((char *)(uintptr_t)c->device);
    free((char *)(uintptr_t)c->parent);
    c->id = c->sensor = c->device = c->parent = NULL;
}

static void release_windows(struct run_window *windows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        run_energy_release(&windows[i].energy);
    free(windows);
}

static void series_release(struct run_series *s)
{
    free(s->set);
    free(s->category);
    *s = (struct run_series){.cell = -1};
}

void run_release(struct run *r)
{
    struct run_pairs *pairs[] = {&r->machine, &r->engine, &r->model, &r->settings, &r->factors, &r->sampler};
    for (size_t i = 0; i < JL_COUNT(pairs); i++)
        run_pairs_release(pairs[i]);
    for (size_t i = 0; i < r->n_channels; i++)
        run_channel_release(&r->channels[i]);
    for (size_t i = 0; i < r->n_baselines; i++)
        free(r->baselines[i].channel);
    for (size_t i = 0; i < r->n_requests; i++)
        run_request_release(&r->requests[i]);
    for (size_t i = 0; i < r->n_notes; i++)
        free(r->notes[i]);
    for (size_t i = 0; i < r->n_cells; i++) {
        free(r->cells[i].name);
        run_pairs_release(&r->cells[i].settings);
        run_energy_release(&r->cells[i].energy);
    }
    for (size_t i = 0; i < r->n_series; i++)
        series_release(&r->series[i]);
    release_windows(r->windows, r->n_windows);
    run_energy_release(&r->energy);
    for (size_t i = 0; i < r->n_former; i++)
        run_former_release(&r->former[i]);
    free(r->former);
    free(r->figures_version);
    free(r->channels);
    free(r->baselines);
    free(r->requests);
    free(r->notes);
    free(r->cells);
    free(r->series);
    free(r->title);
    free(r->version);
    free(r->status);
    free(r->argv);
    *r = (struct run){0};
}

/* Room for one more item of `size` bytes; NULL on no memory. Lists hold exactly n: a caller may have built them itself. */
static void *grow(void *list, size_t n, size_t size)
{
    return n < SIZE_MAX / size - 1 ? realloc(list, (n + 1) * size) : NULL;
}

bool run_note(struct run *r, const char *fmt, ...)
{
    char *text = NULL, **grown;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0)
        return false;
    for (size_t i = 0; i < r->n_notes; i++)
        if (!strcmp(r->notes[i], text)) {
            free(text); /* the same trouble in every request is said once */
            return true;
        }
    grown = r->n_notes < RUN_NOTES_MAX ? grow(r->notes, r->n_notes, sizeof *grown) : NULL;
    if (!grown) {
        free(text);
        return false;
    }
    r->notes = grown;
    r->notes[r->n_notes++] = text;
    return true;
}

/* ---- energy ------------------------------------------------------------------------------------------------------ */

void run_energy_init(struct run_energy *e)
{
    static const struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;
    *e = (struct run_energy){.total = unknown};
    for (size_t g = 0; g < JOULET_GROUP_COUNT; g++)
        e->groups[g] = unknown;
}

void run_energy_release(struct run_energy *e)
{
    for (size_t i = 0; i < e->n_channels; i++)
        free(e->channels[i].channel);
    free(e->channels);
    run_energy_init(e);
}

bool run_energy_add_channel(struct run_energy *e, const char *channel, const struct joulet_energy *x)
{
    struct run_channel_energy *grown = grow(e->channels, e->n_channels, sizeof *grown);
    if (grown)
        e->channels = grown;
    char *id = grown ? jl_strdup(channel) : NULL;
    if (!id)
        return false;
    grown[e->n_channels++] = (struct run_channel_energy){id, *x};
    return true;
}

const struct joulet_channel *run_channel(const struct run *r, const char *id)
{
    for (size_t i = 0; i < r->n_channels; i++)
        if (!strcmp(r->channels[i].id, id))
            return &r->channels[i];
    return NULL;
}

/* Channels of one sensor and one group share their gain error: package counters of two sockets do, package and DRAM do not. */
static bool same_type(const struct joulet_channel *a, const struct joulet_channel *b)
{
    return a->group == b->group && !strcmp(a->sensor, b->sensor);
}

/* The sum of the channels that are of one type with the i-th; false if an earlier one has begun that sum already. */
static bool sum_of_type(const struct run *r, const struct run_energy *e, size_t i, struct joulet_energy *sum)
{
    const struct joulet_channel *first = run_channel(r, e->channels[i].channel);
    for (size_t k = 0; k < e->n_channels; k++) {
        const struct joulet_channel *c = run_channel(r, e->channels[k].channel);
        if (!c || !c->in_total || !same_type(c, first))
            continue;
        if (k < i)
            return false;
        joulet_energy_add(sum, &e->channels[k].e, true);
    }
    return true;
}

/* Where no channel has a figure but all have bounds, so has their sum. */
static void bounds_of_parts(const struct run *r, struct run_energy *e)
{
    double lo = 0, hi = 0;
    size_t n = 0;
    for (size_t i = 0; i < e->n_channels; i++) {
        const struct joulet_channel *c = run_channel(r, e->channels[i].channel);
        if (!c || !c->in_total)
            continue;
        lo += e->channels[i].e.min_j;
        hi += e->channels[i].e.max_j;
        n++;
    }
    e->total.min_j = n ? lo : NAN;
    e->total.max_j = n ? hi : NAN;
}

void run_energy_total(const struct run *r, struct run_energy *e)
{
    static const struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;
    double tail_j = e->total.tail_j;
    e->total = unknown;
    for (size_t g = 0; g < JOULET_GROUP_COUNT; g++) {
        e->groups[g] = unknown;
        e->has_group[g] = false;
    }
    for (size_t i = 0; i < e->n_channels; i++) {
        const struct joulet_channel *c = run_channel(r, e->channels[i].channel);
        struct joulet_energy sum = JOULET_ENERGY_UNKNOWN;
        if (!c || !c->in_total || !sum_of_type(r, e, i, &sum))
            continue;
        joulet_energy_add(&e->total, &sum, false);
        joulet_energy_add(&e->groups[c->group], &sum, false);
        e->has_group[c->group] = true;
    }
    if (isnan(e->total.gross_j))
        bounds_of_parts(r, e);
    if (isnan(e->total.tail_j))
        e->total.tail_j = tail_j; /* a tail that was found for the whole stays */
}

/* ---- windows, requests, channels, baselines ---------------------------------------------------------------------- */

void run_window_init(struct run_window *w, const char *name, int64_t start_ns, int64_t end_ns)
{
    *w = (struct run_window){.start_ns = start_ns, .end_ns = end_ns, .updates = -1, .cell = -1};
    snprintf(w->name, sizeof w->name, "%s", name);
    w->power_min_w = w->power_mean_w = w->power_max_w = w->power_p50_w = w->power_p95_w = w->ramp_s = NAN;
    run_energy_init(&w->energy);
    run_cpu_time_init(&w->cpu_time);
}

void run_request_init(struct run_request *q)
{
    *q = (struct run_request){.number = -1,
                              .repeat = -1,
                              .cell = -1,
                              .position = -1,
                              .stream = -1,
                              .check = -1,
                              .tokens = {-1, -1, -1, -1},
                              .draft_tokens = -1,
                              .draft_accepted = -1,
                              .tool_calls = -1};
    double *unknown[] = {&q->ttft_s,
                         &q->tpot_s,
                         &q->itl_p50_s,
                         &q->itl_p95_s,
                         &q->itl_p99_s,
                         &q->server_prompt_s,
                         &q->server_decode_s,
                         &q->server_load_s,
                         &q->server_queue_s,
                         &q->server_tokens_per_s,
                         &q->tail_j,
                         &q->settle_s,
                         &q->temperature_before_c,
                         &q->temperature_after_c,
                         &q->power_p50_w,
                         &q->power_p95_w};
    for (size_t i = 0; i < JL_COUNT(unknown); i++)
        *unknown[i] = NAN;
    run_energy_init(&q->energy);
    run_cpu_time_init(&q->cpu_time);
}

void run_request_release(struct run_request *q)
{
    char *texts[] = {q->set, q->category, q->prompt, q->answer, q->error, q->finish, q->phase_source};
    for (size_t i = 0; i < JL_COUNT(texts); i++)
        free(texts[i]);
    release_windows(q->windows, q->n_windows);
    release_windows(q->parts, q->n_parts);
    run_energy_release(&q->energy);
    run_request_init(q);
}

struct run_window *run_add_window(struct run_window **list, size_t *n, struct run_window *x)
{
    struct run_window *grown = *n < RUN_WINDOWS_MAX ? grow(*list, *n, sizeof *grown) : NULL;
    if (!grown)
        return NULL;
    *list = grown;
    grown[*n] = *x;
    run_window_init(x, "", 0, 0);
    return &grown[(*n)++];
}

struct run_request *run_add_request(struct run *r, struct run_request *x)
{
    struct run_request *grown = r->n_requests < RUN_REQUESTS_MAX ? grow(r->requests, r->n_requests, sizeof *grown) : NULL;
    if (!grown)
        return NULL;
    r->requests = grown;
    grown[r->n_requests] = *x;
    run_request_init(x);
    return &grown[r->n_requests++];
}

bool run_add_baseline(struct run *r, const char *channel, const struct joulet_baseline *b, const char *level)
{
    struct run_baseline *grown = r->n_baselines < RUN_BASELINES_MAX ? grow(r->baselines, r->n_baselines, sizeof *grown) : NULL;
    if (grown)
        r->baselines = grown;
    char *id = grown ? jl_strdup(channel) : NULL;
    if (!id)
        return false;
    struct run_baseline *x = &grown[r->n_baselines++];
    *x = (struct run_baseline){.channel = id, .b = *b};
    snprintf(x->level, sizeof x->level, "%s", level);
    return true;
}

struct run_cell *run_add_cell(struct run *r, const char *name)
{
    struct run_cell *grown = r->n_cells < RUN_CELLS_MAX ? grow(r->cells, r->n_cells, sizeof *grown) : NULL;
    if (grown)
        r->cells = grown;
    char *copy = grown ? jl_strdup(name) : NULL;
    if (!copy)
        return NULL;
    grown[r->n_cells] = (struct run_cell){.name = copy};
    run_energy_init(&grown[r->n_cells].energy);
    return &grown[r->n_cells++];
}

struct run_series *run_add_series(struct run *r, struct run_series *x)
{
    struct run_series *grown = r->n_series < RUN_SERIES_MAX ? grow(r->series, r->n_series, sizeof *grown) : NULL;
    if (!grown)
        return NULL;
    r->series = grown;
    grown[r->n_series] = *x;
    *x = (struct run_series){.cell = -1};
    return &grown[r->n_series++];
}

bool run_add_channel(struct run *r, const struct joulet_channel *c)
{
    struct joulet_channel copy = *c, *grown;
    copy.id = jl_strdup(c->id ? c->id : "");
    copy.sensor = jl_strdup(c->sensor ? c->sensor : "");
    copy.device = jl_strdup(c->device ? c->device : "");
    copy.parent = jl_strdup(c->parent ? c->parent : "");
    grown = r->n_channels < RUN_CHANNELS_MAX ? grow(r->channels, r->n_channels, sizeof *grown) : NULL;
    if (grown)
        r->channels = grown;
    if (!grown || !copy.id || !copy.sensor || !copy.device || !copy.parent) {
        run_channel_release(&copy);
        return false;
    }
    grown[r->n_channels++] = copy;
    return true;
}
