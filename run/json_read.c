/* json_read.c - a record from JSON, which may be anybody's bytes: types, sizes and names are checked, and a refusal names the
 * key. A key that is missing is unknown, a key that this version does not know is passed over (docs/record.md). */
#include "run/internal.h"

#include <string.h>

bool reader_id_ok(const char *id)
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
    if (st == JOULET_OK && (!reader_id_ok(r->id) || !r->kind[0]))
        st = jl_fail(rd->err, JOULET_FORMAT, "the record has no usable \"id\" and \"kind\"; export it again");
    for (size_t i = 0; st == JOULET_OK && i < pairs_count; i++)
        st = reader_pairs(rd, o, pairs_rows[i].key, (struct run_pairs *)(void *)((char *)r + pairs_rows[i].at));
    if (st == JOULET_OK)
        st = reader_energy(rd, o, &r->energy);
    if (st == JOULET_OK)
        st = reader_lists(rd, o, r);
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

enum joulet_status reader_load(const char *text, size_t n, json_t **out, struct joulet_error *err)
{
    json_error_t je;
    if (n > RUN_JSON_MAX)
        return jl_fail(err, JOULET_LIMIT, "the record is longer than %zu MiB, the most that is read; split it",
                       RUN_JSON_MAX >> 20);
    *out = parse(text ? text : "", n, &je);
    if (*out)
        return jl_ok(err);
    reader_printable(je.text);
    return jl_fail(err, JOULET_FORMAT, "the record is no valid JSON: %s in line %d, column %d; export it again", je.text, je.line,
                   je.column);
}

enum joulet_status run_from_json(const char *text, size_t n, struct run *out, struct joulet_error *err)
{
    json_t *o;
    struct reader rd = {.err = err};
    *out = (struct run){.exit_code = -1};
    run_energy_init(&out->energy);
    enum joulet_status st = reader_load(text, n, &o, err);
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
    enum joulet_status st = reader_load(text, n, &o, err);
    if (st != JOULET_OK)
        return st;
    st = reader_request(&rd, o, out);
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
    enum joulet_status st = reader_load(text, n, &o, err);
    if (st != JOULET_OK)
        return st;
    st = json_is_object(o) ? fields_read(&rd, o, out, channel_fields) : reader_fail(&rd, "a channel", o);
    json_decref(o);
    if (st != JOULET_OK)
        run_channel_release(out);
    return st;
}
