/* json_write.c - a record as JSON: keys in one order, units in the keys, unknown as null, reals with 15 digits. 15 digits of a
 * double survive reading and writing, so export, import, export gives the same bytes. */
#include "run/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REAL_DIGITS 15

/* Adds `value` (NULL: no memory) under `key`; false on failure. Owns `value`. */
static bool put(json_t *o, const char *key, json_t *value)
{
    return !json_object_set_new(o, key, value);
}

static json_t *object_of(const void *base, const struct field *rows)
{
    json_t *o = json_object();
    if (o && !fields_write(o, base, rows)) {
        json_decref(o);
        return NULL;
    }
    return o;
}

/* o, or NULL after freeing it when something could not be added. */
static json_t *whole(json_t *o, bool ok)
{
    if (!ok)
        json_decref(o);
    return ok ? o : NULL;
}

static bool put_clean(json_t *o, const char *key, json_t *value)
{
    char *clean = utf8_clean(key);
    bool ok = clean && put(o, clean, value);
    if (!clean)
        json_decref(value);
    free(clean);
    return ok;
}

/* A number that jansson has no type for (a seed above int64) stays exact as text. */
static json_t *pair_json(const struct run_pair *p)
{
    int64_t i;
    uint64_t u;
    double d;
    if (!p->value)
        return json_null();
    if (p->kind == 'b')
        return json_boolean(!strcmp(p->value, "true"));
    if (p->kind == 'n' && jl_parse_i64(p->value, &i))
        return json_integer(i);
    if (p->kind == 'n' && !jl_parse_u64(p->value, &u))
        return jl_parse_double(p->value, &d) ? real_or_null(d) : json_null();
    return text_or_null(p->value);
}

static json_t *pairs_json(const struct run_pairs *p)
{
    json_t *o = json_object();
    bool ok = o;
    for (size_t i = 0; ok && i < p->n; i++)
        ok = put_clean(o, p->items[i].key, pair_json(&p->items[i]));
    return whole(o, ok);
}

static json_t *energy_json(const struct run_energy *e)
{
    json_t *o = json_object(), *channels = json_object();
    bool ok = o && channels && put(o, "total", object_of(&e->total, energy_fields));
    for (unsigned g = 0; ok && g < JOULET_GROUP_COUNT; g++)
        if (e->has_group[g])
            ok = put(o, joulet_group_name((enum joulet_group)g), object_of(&e->groups[g], energy_fields));
    for (size_t i = 0; ok && i < e->n_channels; i++)
        ok = put_clean(channels, e->channels[i].channel, object_of(&e->channels[i].e, energy_fields));
    if (ok)
        ok = put(o, "channels", json_incref(channels));
    json_decref(channels);
    return whole(o, ok);
}

/* Left out where nobody was followed: a key that is missing is unknown. */
static bool put_cpu_time(json_t *o, const struct run_cpu_time *t)
{
    return isnan(t->engine_s) || put(o, "cpu_time", object_of(t, cpu_time_fields));
}

static json_t *window_json(const struct run_window *w, bool named)
{
    json_t *o = json_object();
    bool ok = o && (!named || put(o, "name", text_or_null(w->name))) && fields_write(o, w, window_fields) &&
              (!named || put(o, "cell", w->cell < 0 ? json_null() : json_integer(w->cell))) && put_cpu_time(o, &w->cpu_time) &&
              put(o, "energy", energy_json(&w->energy));
    return whole(o, ok);
}

/* Windows of a request by name. A name that comes twice gets a number: nothing measured is lost. */
static json_t *named_windows(const struct run_window *windows, size_t n)
{
    json_t *o = json_object();
    bool ok = o;
    for (size_t i = 0; ok && i < n; i++) {
        char name[24 + 24];
        snprintf(name, sizeof name, "%s", windows[i].name);
        for (size_t k = 2; json_object_get(o, name); k++)
            snprintf(name, sizeof name, "%.16s %zu", windows[i].name, k);
        ok = put_clean(o, name, window_json(&windows[i], false));
    }
    return whole(o, ok);
}

static json_t *request_json(const struct run_request *q)
{
    json_t *o = json_object();
    bool ok = o && fields_write(o, q, request_fields) && put(o, "windows", named_windows(q->windows, q->n_windows)) &&
              put(o, "parts", named_windows(q->parts, q->n_parts)) && put_cpu_time(o, &q->cpu_time) &&
              put(o, "energy", energy_json(&q->energy));
    return whole(o, ok);
}

/* List of n things of `size` bytes, each written by its rows. */
static json_t *list_json(const void *items, size_t n, size_t size, const struct field *rows)
{
    json_t *list = json_array();
    bool ok = list;
    for (size_t i = 0; ok && i < n; i++)
        ok = !json_array_append_new(list, object_of((const char *)items + i * size, rows));
    return whole(list, ok);
}

static json_t *cells_json(const struct run *r)
{
    json_t *list = json_array();
    bool ok = list;
    for (size_t i = 0; ok && i < r->n_cells; i++) {
        json_t *o = object_of(&r->cells[i], cell_fields);
        ok = o && put(o, "settings", pairs_json(&r->cells[i].settings)) &&
             put(o, "energy", run_cell_is_joint(&r->cells[i]) ? energy_json(&r->cells[i].energy) : json_null());
        ok = !json_array_append_new(list, whole(o, ok)) && ok;
    }
    return whole(list, ok);
}

static json_t *windows_json(const struct run *r)
{
    json_t *list = json_array();
    bool ok = list;
    for (size_t i = 0; ok && i < r->n_windows; i++)
        ok = !json_array_append_new(list, window_json(&r->windows[i], true));
    return whole(list, ok);
}

static json_t *requests_json(const struct run *r)
{
    json_t *list = json_array();
    bool ok = list;
    for (size_t i = 0; ok && i < r->n_requests; i++)
        ok = !json_array_append_new(list, request_json(&r->requests[i]));
    return whole(list, ok);
}

static json_t *former_requests_json(const struct run_former *f)
{
    json_t *list = json_array();
    bool ok = list;
    for (size_t i = 0; ok && i < f->n_requests; i++) {
        const struct run_request *q = &f->requests[i];
        json_t *o = json_object();
        ok = o && fields_write(o, q, former_request_fields) && put(o, "windows", named_windows(q->windows, q->n_windows)) &&
             put(o, "parts", named_windows(q->parts, q->n_parts)) && put(o, "energy", energy_json(&q->energy));
        ok = !json_array_append_new(list, whole(o, ok)) && ok;
    }
    return whole(list, ok);
}

static json_t *former_json(const struct run *r)
{
    json_t *list = json_array();
    bool ok = list;
    for (size_t i = 0; ok && i < r->n_former; i++) {
        const struct run_former *f = &r->former[i];
        json_t *o = object_of(f, former_fields), *windows = json_array();
        ok = o && windows;
        for (size_t k = 0; ok && k < f->n_windows; k++)
            ok = !json_array_append_new(windows, window_json(&f->windows[k], true));
        ok = ok && put(o, "baselines", list_json(f->baselines, f->n_baselines, sizeof *f->baselines, baseline_fields)) &&
             put(o, "energy", energy_json(&f->energy)) && put(o, "windows", json_incref(windows)) &&
             put(o, "requests", former_requests_json(f));
        json_decref(windows);
        ok = !json_array_append_new(list, whole(o, ok)) && ok;
    }
    return whole(list, ok);
}

static json_t *notes_json(const struct run *r)
{
    json_t *list = json_array();
    bool ok = list;
    for (size_t i = 0; ok && i < r->n_notes; i++)
        ok = !json_array_append_new(list, text_or_null(r->notes[i]));
    return whole(list, ok);
}

static json_t *run_json(const struct run *r, bool requests)
{
    struct run_cpu_time cpu;
    run_cpu_time_of(r, &cpu);
    json_t *o = json_object();
    bool ok = o && put(o, "schema", json_string(RUN_SCHEMA)) && fields_write(o, r, run_fields);
    for (size_t i = 0; ok && i < pairs_count; i++)
        ok = put(o, pairs_rows[i].key, pairs_json((const struct run_pairs *)(const void *)((const char *)r + pairs_rows[i].at)));
    ok = ok && put(o, "cells", cells_json(r)) &&
         put(o, "series", list_json(r->series, r->n_series, sizeof *r->series, series_fields)) &&
         put(o, "channels", list_json(r->channels, r->n_channels, sizeof *r->channels, channel_fields)) &&
         put(o, "baselines", list_json(r->baselines, r->n_baselines, sizeof *r->baselines, baseline_fields)) &&
         put(o, "former", former_json(r)) && put(o, "notes", notes_json(r)) && put_cpu_time(o, &cpu) &&
         put(o, "energy", energy_json(&r->energy)) && put(o, "windows", windows_json(r)) &&
         (!requests || put(o, "requests", requests_json(r)));
    return whole(o, ok);
}

static int add_bytes(const char *bytes, size_t n, void *user)
{
    return jl_buf_add(user, bytes, n) ? 0 : -1;
}

/* Writes o (NULL: it could not be built) and frees it. */
static enum joulet_status dump(json_t *o, size_t flags, bool newline, struct jl_buf *out, struct joulet_error *err)
{
    if (!o)
        return jl_fail(err, JOULET_MEMORY, "the record does not fit into memory; close other programs and try again");
    bool ok =
        !json_dump_callback(o, add_bytes, out, flags | JSON_REAL_PRECISION(REAL_DIGITS)) && (!newline || jl_buf_str(out, "\n"));
    json_decref(o);
    if (ok)
        return jl_ok(err);
    return jl_fail(err, JOULET_LIMIT, "the record is longer than the %zu MiB that it may have; measure in several runs",
                   out->max >> 20);
}

enum joulet_status run_to_json(const struct run *r, struct jl_buf *out, struct joulet_error *err)
{
    return dump(run_json(r, true), JSON_INDENT(2), true, out, err);
}

enum joulet_status run_head_to_json(const struct run *r, struct jl_buf *out, struct joulet_error *err)
{
    return dump(run_json(r, false), JSON_COMPACT, false, out, err);
}

enum joulet_status run_request_to_json(const struct run_request *q, struct jl_buf *out, struct joulet_error *err)
{
    return dump(request_json(q), JSON_COMPACT, false, out, err);
}

enum joulet_status run_energy_to_json(const struct joulet_energy *e, struct jl_buf *out, struct joulet_error *err)
{
    return dump(object_of(e, energy_fields), JSON_COMPACT, false, out, err);
}

enum joulet_status run_channel_to_json(const struct joulet_channel *c, struct jl_buf *out, struct joulet_error *err)
{
    return dump(object_of(c, channel_fields), JSON_COMPACT, false, out, err);
}
