/* json_read_parts.c - windows, requests and all other lists of a run from JSON, each with the most items that are read. */
#include "run/internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- windows and requests ---------------------------------------------------------------------------------------- */

static enum joulet_status read_cpu_time(struct reader *rd, json_t *o, struct run_cpu_time *t)
{
    json_t *v = json_object_get(o, "cpu_time");
    size_t back = reader_into(rd, "cpu_time");
    enum joulet_status st = !v || json_is_null(v) ? JOULET_OK
                            : json_is_object(v)   ? fields_read(rd, v, t, cpu_time_fields)
                                                  : reader_fail(rd, "an object", v);
    if (st == JOULET_OK)
        reader_back(rd, back);
    return st;
}

/* name NULL: from the key "name". */
static enum joulet_status read_window(struct reader *rd, json_t *o, const char *name, struct run_window *w)
{
    if (!json_is_object(o))
        return reader_fail(rd, "a window", o);
    if (!name)
        name = json_string_value(json_object_get(o, "name"));
    if (!name || strlen(name) >= sizeof w->name)
        return reader_fail(rd, "a window with a short name", o);
    run_window_init(w, name, 0, 0);
    enum joulet_status st = fields_read(rd, o, w, window_fields);
    if (st == JOULET_OK && w->end_ns < w->start_ns)
        return reader_fail(rd, "a window that ends after its start", o);
    if (st == JOULET_OK)
        st = read_cpu_time(rd, o, &w->cpu_time);
    return st == JOULET_OK ? reader_energy(rd, o, &w->energy) : st;
}

/* Which cell a window of the run belongs to: records from before plans do not say. */
static enum joulet_status read_window_cell(struct reader *rd, json_t *o, struct run_window *w)
{
    static const struct field row[] = {
        {.key = "cell", .type = FIELD_COUNT, .at = offsetof(struct run_window, cell), .size = sizeof w->cell}, {.key = NULL}};
    return fields_read(rd, o, w, row);
}

static enum joulet_status add_window(struct reader *rd, json_t *o, const char *name, struct run_window **list, size_t *n)
{
    struct run_window w;
    run_window_init(&w, "", 0, 0);
    enum joulet_status st = read_window(rd, o, name, &w);
    if (st == JOULET_OK && !name)
        st = read_window_cell(rd, o, &w);
    if (st == JOULET_OK && !run_add_window(list, n, &w))
        st = reader_no_memory(rd);
    if (st != JOULET_OK)
        run_energy_release(&w.energy);
    return st;
}

/* Windows by name: those of a request, and the parts of its decode. */
static enum joulet_status read_named_windows(struct reader *rd, json_t *o, const char *key, struct run_window **windows,
                                             size_t *n)
{
    json_t *list, *v;
    const char *name;
    enum joulet_status st = reader_list(rd, o, key, JSON_OBJECT, RUN_WINDOWS_MAX, &list);
    size_t back = reader_into(rd, key);
    json_object_foreach(list, name, v)
    {
        size_t inner = reader_into(rd, name);
        if (st == JOULET_OK)
            st = add_window(rd, v, name, windows, n);
        if (st != JOULET_OK)
            return st;
        reader_back(rd, inner);
    }
    if (st == JOULET_OK)
        reader_back(rd, back);
    return st;
}

enum joulet_status reader_request(struct reader *rd, json_t *o, struct run_request *q)
{
    if (!json_is_object(o))
        return reader_fail(rd, "a request", o);
    enum joulet_status st = fields_read(rd, o, q, request_fields);
    if (st == JOULET_OK)
        st = read_named_windows(rd, o, "windows", &q->windows, &q->n_windows);
    if (st == JOULET_OK)
        st = read_named_windows(rd, o, "parts", &q->parts, &q->n_parts);
    if (st == JOULET_OK)
        st = read_cpu_time(rd, o, &q->cpu_time);
    return st == JOULET_OK ? reader_energy(rd, o, &q->energy) : st;
}

/* ---- lists of a run ---------------------------------------------------------------------------------------------- */

static enum joulet_status add_channel(struct reader *rd, json_t *v, struct run *r)
{
    struct joulet_channel c = {0};
    enum joulet_status st = json_is_object(v) ? fields_read(rd, v, &c, channel_fields) : reader_fail(rd, "a channel", v);
    if (st == JOULET_OK && !run_add_channel(r, &c))
        st = reader_no_memory(rd);
    run_channel_release(&c);
    return st;
}

static enum joulet_status add_baseline(struct reader *rd, json_t *v, struct run *r)
{
    struct run_baseline b = {.b = JOULET_BASELINE_NONE};
    enum joulet_status st = json_is_object(v) ? fields_read(rd, v, &b, baseline_fields) : reader_fail(rd, "an idle level", v);
    if (st == JOULET_OK && !run_add_baseline(r, b.channel, &b.b, b.level))
        st = reader_no_memory(rd);
    free(b.channel);
    return st;
}

static enum joulet_status add_cell(struct reader *rd, json_t *v, struct run *r)
{
    if (!json_is_object(v))
        return reader_fail(rd, "a cell", v);
    struct run_cell *c = run_add_cell(r, "");
    enum joulet_status st = c ? fields_read(rd, v, c, cell_fields) : reader_no_memory(rd);
    if (st == JOULET_OK)
        st = reader_pairs(rd, v, "settings", &c->settings);
    bool joint = json_is_object(json_object_get(v, "energy")); /* records from before plans were measured together have none */
    return st == JOULET_OK && joint ? reader_energy(rd, v, &c->energy) : st;
}

static enum joulet_status add_series(struct reader *rd, json_t *v, struct run *r)
{
    struct run_series s = {0};
    enum joulet_status st = json_is_object(v) ? fields_read(rd, v, &s, series_fields) : reader_fail(rd, "a series", v);
    if (st == JOULET_OK && !run_add_series(r, &s))
        st = reader_no_memory(rd);
    free(s.set);
    free(s.category);
    return st;
}

static enum joulet_status read_former_request(struct reader *rd, json_t *o, struct run_request *q)
{
    if (!json_is_object(o))
        return reader_fail(rd, "a request", o);
    enum joulet_status st = fields_read(rd, o, q, former_request_fields);
    if (st == JOULET_OK)
        st = read_named_windows(rd, o, "windows", &q->windows, &q->n_windows);
    if (st == JOULET_OK)
        st = read_named_windows(rd, o, "parts", &q->parts, &q->n_parts);
    return st == JOULET_OK ? reader_energy(rd, o, &q->energy) : st;
}

static enum joulet_status read_former_requests(struct reader *rd, json_t *o, struct run_former *f)
{
    json_t *list, *v;
    size_t i;
    enum joulet_status st = reader_list(rd, o, "requests", JSON_ARRAY, RUN_REQUESTS_MAX, &list);
    f->requests = st == JOULET_OK ? calloc(json_array_size(list) + 1, sizeof *f->requests) : NULL;
    if (st == JOULET_OK && !f->requests)
        st = reader_no_memory(rd);
    size_t back = reader_into(rd, "requests");
    json_array_foreach(list, i, v)
    {
        size_t inner = reader_item(rd, i);
        if (st != JOULET_OK)
            return st;
        run_request_init(&f->requests[f->n_requests++]);
        if ((st = read_former_request(rd, v, &f->requests[i])) != JOULET_OK)
            return st;
        reader_back(rd, inner);
    }
    if (st == JOULET_OK)
        reader_back(rd, back);
    return st;
}

static enum joulet_status read_former_windows(struct reader *rd, json_t *o, struct run_former *f)
{
    json_t *list, *v;
    size_t i;
    enum joulet_status st = reader_list(rd, o, "windows", JSON_ARRAY, RUN_WINDOWS_MAX, &list);
    size_t back = reader_into(rd, "windows");
    json_array_foreach(list, i, v)
    {
        size_t inner = reader_item(rd, i);
        if (st == JOULET_OK)
            st = add_window(rd, v, NULL, &f->windows, &f->n_windows);
        if (st != JOULET_OK)
            return st;
        reader_back(rd, inner);
    }
    if (st == JOULET_OK)
        reader_back(rd, back);
    return st;
}

static enum joulet_status read_former_baselines(struct reader *rd, json_t *o, struct run_former *f)
{
    json_t *list, *v;
    size_t i;
    enum joulet_status st = reader_list(rd, o, "baselines", JSON_ARRAY, RUN_BASELINES_MAX, &list);
    size_t back = reader_into(rd, "baselines");
    f->baselines = calloc(json_array_size(list) + 1, sizeof *f->baselines);
    if (st == JOULET_OK && !f->baselines)
        return reader_no_memory(rd);
    json_array_foreach(list, i, v)
    {
        size_t inner = reader_item(rd, i);
        f->baselines[f->n_baselines++] = (struct run_baseline){.b = JOULET_BASELINE_NONE};
        st = json_is_object(v) ? fields_read(rd, v, &f->baselines[i], baseline_fields) : reader_fail(rd, "an idle level", v);
        if (st != JOULET_OK)
            return st;
        reader_back(rd, inner);
    }
    if (st == JOULET_OK)
        reader_back(rd, back);
    return st;
}

static enum joulet_status add_former(struct reader *rd, json_t *v, struct run *r)
{
    struct run_former f = {0};
    run_energy_init(&f.energy);
    enum joulet_status st = json_is_object(v) ? fields_read(rd, v, &f, former_fields) : reader_fail(rd, "former figures", v);
    if (st == JOULET_OK)
        st = read_former_baselines(rd, v, &f);
    if (st == JOULET_OK)
        st = reader_energy(rd, v, &f.energy);
    if (st == JOULET_OK)
        st = read_former_windows(rd, v, &f);
    if (st == JOULET_OK)
        st = read_former_requests(rd, v, &f);
    if (st == JOULET_OK && !run_add_former(r, &f))
        st = reader_no_memory(rd);
    run_former_release(&f);
    return st;
}

static enum joulet_status add_note(struct reader *rd, json_t *v, struct run *r)
{
    if (!json_is_string(v))
        return reader_fail(rd, "a text", v);
    return run_note(r, "%s", json_string_value(v)) ? JOULET_OK : reader_no_memory(rd);
}

static enum joulet_status add_run_window(struct reader *rd, json_t *v, struct run *r)
{
    return add_window(rd, v, NULL, &r->windows, &r->n_windows);
}

static enum joulet_status add_request(struct reader *rd, json_t *v, struct run *r)
{
    struct run_request q;
    run_request_init(&q);
    enum joulet_status st = reader_request(rd, v, &q);
    if (st == JOULET_OK && !run_add_request(r, &q))
        st = reader_no_memory(rd);
    if (st != JOULET_OK)
        run_request_release(&q);
    return st;
}

static const struct {
    const char *key;
    size_t max;
    enum joulet_status (*add)(struct reader *rd, json_t *v, struct run *r);
} lists[] = {
    {"cells", RUN_CELLS_MAX, add_cell},           {"series", RUN_SERIES_MAX, add_series},
    {"channels", RUN_CHANNELS_MAX, add_channel},  {"baselines", RUN_BASELINES_MAX, add_baseline},
    {"former", RUN_FORMER_MAX, add_former},       {"notes", RUN_NOTES_MAX, add_note},
    {"windows", RUN_WINDOWS_MAX, add_run_window}, {"requests", RUN_REQUESTS_MAX, add_request},
};

enum joulet_status reader_lists(struct reader *rd, json_t *o, struct run *r)
{
    for (size_t k = 0; k < JL_COUNT(lists); k++) {
        json_t *list, *v;
        size_t i;
        enum joulet_status st = reader_list(rd, o, lists[k].key, JSON_ARRAY, lists[k].max, &list);
        size_t back = reader_into(rd, lists[k].key);
        json_array_foreach(list, i, v)
        {
            size_t inner = reader_item(rd, i);
            if (st == JOULET_OK)
                st = lists[k].add(rd, v, r);
            if (st != JOULET_OK)
                return st;
            reader_back(rd, inner);
        }
        if (st != JOULET_OK)
            return st;
        reader_back(rd, back);
    }
    return JOULET_OK;
}
