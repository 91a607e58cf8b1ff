/* json_read.c - a record from JSON, which may be anybody's bytes: types, sizes and names are checked, and a refusal names the
 * key. A key that is missing is unknown, a key that this version does not know is passed over (docs/record.md). */
#include "run/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- where we are ------------------------------------------------------------------------------------------------ */

size_t reader_into(struct reader *rd, const char *key)
{
    size_t len = strlen(rd->path);
    snprintf(rd->path + len, sizeof rd->path - len, "%s%.60s", len ? "." : "", key);
    return len;
}

size_t reader_item(struct reader *rd, size_t i)
{
    size_t len = strlen(rd->path);
    snprintf(rd->path + len, sizeof rd->path - len, "[%zu]", i);
    return len;
}

void reader_back(struct reader *rd, size_t len)
{
    rd->path[len] = '\0';
}

/* Keys of a file may hold anything, and the sentence goes to a terminal. */
static void printable(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || (unsigned char)*s >= 0x7f)
            *s = '?';
}

enum joulet_status reader_fail(struct reader *rd, const char *wanted, json_t *found)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "a list", [JSON_STRING] = "a text", [JSON_INTEGER] = "a number",
        [JSON_REAL] = "a number",    [JSON_TRUE] = "true",    [JSON_FALSE] = "false",   [JSON_NULL] = "null"};
    printable(rd->path);
    return jl_fail(rd->err, JOULET_FORMAT,
                   "the record is damaged or not from joulet: %s must be %s, there is %s; export it again",
                   rd->path[0] ? rd->path : "the whole", wanted, found ? names[json_typeof(found)] : "nothing");
}

enum joulet_status reader_no_memory(struct reader *rd)
{
    return jl_fail(rd->err, JOULET_MEMORY, "the record does not fit into memory; close other programs and try again");
}

enum joulet_status reader_list(struct reader *rd, json_t *o, const char *key, json_type type, size_t max, json_t **out)
{
    json_t *v = json_object_get(o, key);
    size_t back = reader_into(rd, key);
    *out = NULL;
    if (v && !json_is_null(v)) {
        if (json_typeof(v) != type)
            return reader_fail(rd, type == JSON_ARRAY ? "a list" : "an object", v);
        if ((type == JSON_ARRAY ? json_array_size(v) : json_object_size(v)) > max)
            return reader_fail(rd, "shorter", v);
        *out = v;
    }
    reader_back(rd, back);
    return JOULET_OK;
}

/* ---- parts ------------------------------------------------------------------------------------------------------- */

/* The text jansson would write for a real: it stays a real when it is written again ("12.0", not "12"). */
static bool set_real(struct run_pairs *p, const char *key, json_t *v)
{
    char text[64];
    size_t n = json_dumpb(v, text, sizeof text - 1, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    if (n >= sizeof text)
        return false;
    text[n] = '\0';
    return run_pairs_set(p, key, 'n', "%s", text);
}

static enum joulet_status read_pair(struct reader *rd, const char *key, json_t *v, struct run_pairs *p)
{
    bool ok;
    switch (json_typeof(v)) {
    case JSON_STRING:
        ok = run_pairs_set(p, key, 's', "%s", json_string_value(v));
        break;
    case JSON_INTEGER:
        ok = run_pairs_set(p, key, 'n', "%lld", (long long)json_integer_value(v));
        break;
    case JSON_REAL:
        ok = set_real(p, key, v);
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        ok = run_pairs_set(p, key, 'b', "%s", json_is_true(v) ? "true" : "false");
        break;
    case JSON_NULL:
        ok = run_pairs_set(p, key, 'n', "%s", ""); /* unknown */
        break;
    default:
        return reader_fail(rd, "a text, a number, true or false", v);
    }
    return ok ? JOULET_OK : reader_no_memory(rd);
}

static enum joulet_status read_pairs(struct reader *rd, json_t *o, const char *key, struct run_pairs *p)
{
    json_t *list, *v;
    const char *name;
    enum joulet_status st = reader_list(rd, o, key, JSON_OBJECT, RUN_PAIRS_MAX, &list);
    size_t back = reader_into(rd, key);
    json_object_foreach(list, name, v)
    {
        size_t inner = reader_into(rd, name);
        if (st == JOULET_OK)
            st = read_pair(rd, name, v, p);
        if (st != JOULET_OK)
            return st;
        reader_back(rd, inner);
    }
    if (st == JOULET_OK)
        reader_back(rd, back);
    return st;
}

static enum joulet_status read_one_energy(struct reader *rd, json_t *v, struct joulet_energy *e)
{
    return json_is_object(v) ? fields_read(rd, v, e, energy_fields) : reader_fail(rd, "an energy", v);
}

static enum joulet_status read_channels_energy(struct reader *rd, json_t *o, struct run_energy *e)
{
    json_t *list, *v;
    const char *name;
    enum joulet_status st = reader_list(rd, o, "channels", JSON_OBJECT, RUN_CHANNELS_MAX, &list);
    if (st != JOULET_OK)
        return st;
    json_object_foreach(list, name, v)
    {
        struct joulet_energy one = JOULET_ENERGY_UNKNOWN;
        size_t back = reader_into(rd, name);
        st = read_one_energy(rd, v, &one);
        if (st != JOULET_OK)
            return st;
        if (!run_energy_add_channel(e, name, &one))
            return reader_no_memory(rd);
        reader_back(rd, back);
    }
    return JOULET_OK;
}

static enum joulet_status read_energy(struct reader *rd, json_t *parent, struct run_energy *e)
{
    json_t *o;
    enum joulet_status st = reader_list(rd, parent, "energy", JSON_OBJECT, 1000, &o);
    size_t back = reader_into(rd, "energy");
    for (int g = -1; st == JOULET_OK && g < JOULET_GROUP_COUNT; g++) { /* -1: the total */
        const char *key = g < 0 ? "total" : joulet_group_name((enum joulet_group)g);
        json_t *v = json_object_get(o, key);
        if (!v)
            continue;
        size_t inner = reader_into(rd, key);
        st = read_one_energy(rd, v, g < 0 ? &e->total : &e->groups[g]);
        if (st != JOULET_OK)
            return st;
        if (g >= 0)
            e->has_group[g] = true;
        reader_back(rd, inner);
    }
    if (st == JOULET_OK && o)
        st = read_channels_energy(rd, o, e);
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
    return st == JOULET_OK ? read_energy(rd, o, &w->energy) : st;
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

static enum joulet_status read_request(struct reader *rd, json_t *o, struct run_request *q)
{
    if (!json_is_object(o))
        return reader_fail(rd, "a request", o);
    enum joulet_status st = fields_read(rd, o, q, request_fields);
    if (st == JOULET_OK)
        st = read_named_windows(rd, o, "windows", &q->windows, &q->n_windows);
    if (st == JOULET_OK)
        st = read_named_windows(rd, o, "parts", &q->parts, &q->n_parts);
    return st == JOULET_OK ? read_energy(rd, o, &q->energy) : st;
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
    return st == JOULET_OK ? read_pairs(rd, v, "settings", &c->settings) : st;
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
    return st == JOULET_OK ? read_energy(rd, o, &q->energy) : st;
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

static enum joulet_status add_former(struct reader *rd, json_t *v, struct run *r)
{
    struct run_former f = {0};
    run_energy_init(&f.energy);
    enum joulet_status st = json_is_object(v) ? fields_read(rd, v, &f, former_fields) : reader_fail(rd, "former figures", v);
    if (st == JOULET_OK)
        st = read_energy(rd, v, &f.energy);
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
    enum joulet_status st = read_request(rd, v, &q);
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

static enum joulet_status read_lists(struct reader *rd, json_t *o, struct run *r)
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

/* ---- the whole --------------------------------------------------------------------------------------------------- */

/* The id names rows and files. */
static bool id_ok(const char *id)
{
    return id[0] && strspn(id, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-_") == strlen(id) &&
           id[0] != '.' && id[0] != '-';
}

static enum joulet_status check_schema(struct reader *rd, json_t *o)
{
    static const char family[] = "joulet.run/";
    const char *schema = json_string_value(json_object_get(o, "schema"));
    int64_t version;
    if (!schema || !jl_starts(schema, family) || !jl_parse_i64(schema + strlen(family), &version) || version < 1)
        return jl_fail(rd->err, JOULET_FORMAT,
                       "this is no record of joulet: its \"schema\" is not \"" RUN_SCHEMA
                       "\"; export one with `joulet runs export`");
    if (version > 1)
        return jl_fail(rd->err, JOULET_NEWER, "the record is of version %lld, this joulet %s reads up to 1; update joulet",
                       (long long)version, JOULET_VERSION);
    return JOULET_OK;
}

/* Cells are named by their place in the list: nothing may point behind its end. */
static enum joulet_status check_cells(struct reader *rd, const struct run *r)
{
    int64_t most = -1;
    for (size_t i = 0; i < r->n_requests; i++)
        most = r->requests[i].cell > most ? r->requests[i].cell : most;
    for (size_t i = 0; i < r->n_windows; i++)
        most = r->windows[i].cell > most ? r->windows[i].cell : most;
    for (size_t i = 0; i < r->n_series; i++)
        most = r->series[i].cell > most ? r->series[i].cell : most;
    if (most < (int64_t)r->n_cells)
        return JOULET_OK;
    return jl_fail(rd->err, JOULET_FORMAT,
                   "the record is damaged or not from joulet: it speaks of cell %lld and has %zu cells; export it again",
                   (long long)most, r->n_cells);
}

static enum joulet_status read_run(struct reader *rd, json_t *o, struct run *r)
{
    enum joulet_status st = json_is_object(o) ? check_schema(rd, o) : reader_fail(rd, "an object", o);
    if (st == JOULET_OK)
        st = fields_read(rd, o, r, run_fields);
    if (st == JOULET_OK && (!id_ok(r->id) || !r->kind[0]))
        st = jl_fail(rd->err, JOULET_FORMAT, "the record has no usable \"id\" and \"kind\"; export it again");
    for (size_t i = 0; st == JOULET_OK && i < pairs_count; i++)
        st = read_pairs(rd, o, pairs_rows[i].key, (struct run_pairs *)(void *)((char *)r + pairs_rows[i].at));
    if (st == JOULET_OK)
        st = read_energy(rd, o, &r->energy);
    if (st == JOULET_OK)
        st = read_lists(rd, o, r);
    return st == JOULET_OK ? check_cells(rd, r) : st;
}

/* Whole numbers above int64 are read as reals rather than refusing a record for a large seed. */
static json_t *parse(const char *text, size_t n, json_error_t *je)
{
    json_t *o = json_loadb(text, n, JSON_REJECT_DUPLICATES, je);
    if (!o && json_error_code(je) == json_error_numeric_overflow)
        o = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, je);
    return o;
}

static enum joulet_status load(const char *text, size_t n, json_t **out, struct joulet_error *err)
{
    json_error_t je;
    if (n > RUN_JSON_MAX)
        return jl_fail(err, JOULET_LIMIT, "the record is longer than %zu MiB, the most that is read; split it",
                       RUN_JSON_MAX >> 20);
    *out = parse(text ? text : "", n, &je);
    if (*out)
        return jl_ok(err);
    printable(je.text);
    return jl_fail(err, JOULET_FORMAT, "the record is no valid JSON: %s in line %d, column %d; export it again", je.text, je.line,
                   je.column);
}

enum joulet_status run_from_json(const char *text, size_t n, struct run *out, struct joulet_error *err)
{
    json_t *o;
    struct reader rd = {.err = err};
    *out = (struct run){.exit_code = -1};
    run_energy_init(&out->energy);
    enum joulet_status st = load(text, n, &o, err);
    if (st != JOULET_OK)
        return st;
    st = read_run(&rd, o, out);
    json_decref(o);
    if (st != JOULET_OK)
        run_release(out);
    return st;
}

enum joulet_status run_request_from_json(const char *text, size_t n, struct run_request *out, struct joulet_error *err)
{
    json_t *o;
    struct reader rd = {.err = err};
    run_request_init(out);
    enum joulet_status st = load(text, n, &o, err);
    if (st != JOULET_OK)
        return st;
    st = read_request(&rd, o, out);
    json_decref(o);
    if (st != JOULET_OK)
        run_request_release(out);
    return st;
}

enum joulet_status run_channel_from_json(const char *text, size_t n, struct joulet_channel *out, struct joulet_error *err)
{
    json_t *o;
    struct reader rd = {.err = err};
    *out = (struct joulet_channel){0};
    enum joulet_status st = load(text, n, &o, err);
    if (st != JOULET_OK)
        return st;
    st = json_is_object(o) ? fields_read(&rd, o, out, channel_fields) : reader_fail(&rd, "a channel", o);
    json_decref(o);
    if (st != JOULET_OK)
        run_channel_release(out);
    return st;
}
