/* json_write.c - a record as JSON: keys in one order, units in the keys, unknown as null, reals with 15 digits. 15 digits of a
 * double survive reading and writing, so export, import, export gives the same bytes. */
#include "run/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REAL_DIGITS 15

bool json_put(json_t *o, const char *key, json_t *value)
{
    return !json_object_set_new(o, key, value);
}

json_t *json_of_fields(const void *base, const struct field *rows)
{
    json_t *o = json_object();
    if (o && !fields_write(o, base, rows)) {
        json_decref(o);
        return NULL;
    }
    return o;
}

json_t *json_whole(json_t *o, bool ok)
{
    if (!ok)
        json_decref(o);
    return ok ? o : NULL;
}

static bool put_clean(json_t *o, const char *key, json_t *value)
{
    char *clean = utf8_clean(key);
    bool ok = clean && json_put(o, clean, value);
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

json_t *json_of_pairs(const struct run_pairs *p)
{
    json_t *o = json_object();
    bool ok = o;
    for (size_t i = 0; ok && i < p->n; i++)
        ok = put_clean(o, p->items[i].key, pair_json(&p->items[i]));
    return json_whole(o, ok);
}

static json_t *energy_json(const struct run_energy *e)
{
    json_t *o = json_object(), *channels = json_object();
    bool ok = o && channels && json_put(o, "total", json_of_fields(&e->total, energy_fields));
    for (unsigned g = 0; ok && g < JOULET_GROUP_COUNT; g++)
        if (e->has_group[g])
            ok = json_put(o, joulet_group_name((enum joulet_group)g), json_of_fields(&e->groups[g], energy_fields));
    for (size_t i = 0; ok && i < e->n_channels; i++)
        ok = put_clean(channels, e->channels[i].channel, json_of_fields(&e->channels[i].e, energy_fields));
    if (ok)
        ok = json_put(o, "channels", json_incref(channels));
    json_decref(channels);
    return json_whole(o, ok);
}

/* Left out where nobody was followed: a key that is missing is unknown. */
static bool put_cpu_time(json_t *o, const struct run_cpu_time *t)
{
    return isnan(t->engine_s) || json_put(o, "cpu_time", json_of_fields(t, cpu_time_fields));
}

static json_t *window_json(const struct run_window *w, bool named)
{
    json_t *o = json_object();
    bool ok = o && (!named || json_put(o, "name", text_or_null(w->name))) && fields_write(o, w, window_fields) &&
              (!named || json_put(o, "cell", w->cell < 0 ? json_null() : json_integer(w->cell))) &&
              put_cpu_time(o, &w->cpu_time) && json_put(o, "energy", energy_json(&w->energy));
    return json_whole(o, ok);
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
    return json_whole(o, ok);
}

static json_t *request_json(const struct run_request *q)
{
    json_t *o = json_object();
    bool ok = o && fields_write(o, q, request_fields) && json_put(o, "windows", named_windows(q->windows, q->n_windows)) &&
              json_put(o, "parts", named_windows(q->parts, q->n_parts)) && put_cpu_time(o, &q->cpu_time) &&
              json_put(o, "energy", energy_json(&q->energy));
    return json_whole(o, ok);
}

json_t *json_list_of_fields(const void *items, size_t n, size_t size, const struct field *rows)
{
    json_t *list = json_array();
    bool ok = list;
    for (size_t i = 0; ok && i < n; i++)
        ok = !json_array_append_new(list, json_of_fields((const char *)items + i * size, rows));
    return json_whole(list, ok);
}

static json_t *cells_json(const struct run *r)
{
    json_t *list = json_array();
    bool ok = list;
    for (size_t i = 0; ok && i < r->n_cells; i++) {
        json_t *o = json_of_fields(&r->cells[i], cell_fields);
        ok = o && json_put(o, "settings", json_of_pairs(&r->cells[i].settings)) &&
             json_put(o, "energy", run_cell_is_joint(&r->cells[i]) ? energy_json(&r->cells[i].energy) : json_null());
        ok = !json_array_append_new(list, json_whole(o, ok)) && ok;
    }
    return json_whole(list, ok);
}

static json_t *windows_json(const struct run *r)
{
    json_t *list = json_array();
    bool ok = list;
    for (size_t i = 0; ok && i < r->n_windows; i++)
        ok = !json_array_append_new(list, window_json(&r->windows[i], true));
    return json_whole(list, ok);
}

static json_t *requests_json(const struct run *r)
{
    json_t *list = json_array();
    bool ok = list;
    for (size_t i = 0; ok && i < r->n_requests; i++)
        ok = !json_array_append_new(list, request_json(&r->requests[i]));
    return json_whole(list, ok);
}

static json_t *former_requests_json(const struct run_former *f)
{
    json_t *list = json_array();
    bool ok = list;
    for (size_t i = 0; ok && i < f->n_requests; i++) {
        const struct run_request *q = &f->requests[i];
        json_t *o = json_object();
        ok = o && fields_write(o, q, former_request_fields) && json_put(o, "windows", named_windows(q->windows, q->n_windows)) &&
             json_put(o, "parts", named_windows(q->parts, q->n_parts)) && json_put(o, "energy", energy_json(&q->energy));
        ok = !json_array_append_new(list, json_whole(o, ok)) && ok;
    }
    return json_whole(list, ok);
}

static json_t *former_json(const struct run *r)
{
    json_t *list = json_array();
    bool ok = list;
    for (size_t i = 0; ok && i < r->n_former; i++) {
        const struct run_former *f = &r->former[i];
        json_t *o = json_of_fields(f, former_fields), *windows = json_array();
        ok = o && windows;
        for (size_t k = 0; ok && k < f->n_windows; k++)
            ok = !json_array_append_new(windows, window_json(&f->windows[k], true));
        ok = ok &&
             json_put(o, "baselines", json_list_of_fields(f->baselines, f->n_baselines, sizeof *f->baselines, baseline_fields)) &&
             json_put(o, "energy", energy_json(&f->energy)) && json_put(o, "windows", json_incref(windows)) &&
             json_put(o, "requests", former_requests_json(f));
        json_decref(windows);
        ok = !json_array_append_new(list, json_whole(o, ok)) && ok;
    }
    return json_whole(list, ok);
}

json_t *json_of_texts(char *const *texts, size_t n)
{
    json_t *list = json_array();
    bool ok = list;
    for (size_t i = 0; ok && i < n; i++)
        ok = !json_array_append_new(list, text_or_null(texts[i]));
    return json_whole(list, ok);
}

static json_t *run_json(const struct run *r, bool requests)
{
    struct run_cpu_time cpu;
    run_cpu_time_of(r, &cpu);
    json_t *o = json_object();
    bool ok = o && json_put(o, "schema", json_string(RUN_SCHEMA)) && fields_write(o, r, run_fields);
    for (size_t i = 0; ok && i < pairs_count; i++)
        ok = json_put(o, pairs_rows[i].key,
                      json_of_pairs((const struct run_pairs *)(const void *)((const char *)r + pairs_rows[i].at)));
    ok = ok && json_put(o, "cells", cells_json(r)) &&
         json_put(o, "series", json_list_of_fields(r->series, r->n_series, sizeof *r->series, series_fields)) &&
         json_put(o, "channels", json_list_of_fields(r->channels, r->n_channels, sizeof *r->channels, channel_fields)) &&
         json_put(o, "baselines", json_list_of_fields(r->baselines, r->n_baselines, sizeof *r->baselines, baseline_fields)) &&
         json_put(o, "former", former_json(r)) && json_put(o, "notes", json_of_texts(r->notes, r->n_notes)) &&
         put_cpu_time(o, &cpu) && json_put(o, "energy", energy_json(&r->energy)) && json_put(o, "windows", windows_json(r)) &&
         (!requests || json_put(o, "requests", requests_json(r)));
    return json_whole(o, ok);
}

static int add_bytes(const char *bytes, size_t n, void *user)
{
    return jl_buf_add(user, bytes, n) ? 0 : -1;
}

enum joulet_status json_dump_record(json_t *o, size_t flags, bool newline, struct jl_buf *out, struct joulet_error *err)
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
    return json_dump_record(run_json(r, true), JSON_INDENT(2), true, out, err);
}

enum joulet_status run_head_to_json(const struct run *r, struct jl_buf *out, struct joulet_error *err)
{
    return json_dump_record(run_json(r, false), JSON_COMPACT, false, out, err);
}

enum joulet_status run_request_to_json(const struct run_request *q, struct jl_buf *out, struct joulet_error *err)
{
    return json_dump_record(request_json(q), JSON_COMPACT, false, out, err);
}

enum joulet_status run_energy_to_json(const struct joulet_energy *e, struct jl_buf *out, struct joulet_error *err)
{
    return json_dump_record(json_of_fields(e, energy_fields), JSON_COMPACT, false, out, err);
}

enum joulet_status run_channel_to_json(const struct joulet_channel *c, struct jl_buf *out, struct joulet_error *err)
{
    return json_dump_record(json_of_fields(c, channel_fields), JSON_COMPACT, false, out, err);
}
