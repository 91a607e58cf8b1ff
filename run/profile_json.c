/* profile_json.c - a profile as JSON and back (docs/profile-record.md). One table of rows drives both ways, and reals have 15
 * digits, so export, import, export gives the same bytes. What is read may be anybody's bytes, as in json_read.c. */
#include "run/profile_internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static json_t *list_of(const struct run_profile *p, const struct profile_list *l)
{
    const void *items;
    size_t n;
    memcpy(&items, (const char *)p + l->items, sizeof items);
    memcpy(&n, (const char *)p + l->n, sizeof n);
    return json_list_of_fields(items, n, l->size, l->rows);
}

static json_t *profile_json(const struct run_profile *p)
{
    json_t *o = json_object();
    bool ok = o && json_put(o, "schema", json_string(RUN_PROFILE_SCHEMA)) && fields_write(o, p, profile_fields);
    for (size_t i = 0; ok && i < profile_pairs_count; i++)
        ok = json_put(o, profile_pairs[i].key,
                      json_of_pairs((const struct run_pairs *)(const void *)((const char *)p + profile_pairs[i].at)));
    ok = ok && json_put(o, "how", json_of_fields(&p->how, profile_how_fields));
    for (size_t i = 0; ok && i < profile_lists_count; i++)
        ok = json_put(o, profile_lists[i].key, list_of(p, &profile_lists[i]));
    ok = ok && json_put(o, "notes", json_of_texts(p->notes, p->n_notes));
    return json_whole(o, ok);
}

enum joulet_status run_profile_to_json(const struct run_profile *p, struct jl_buf *out, struct joulet_error *err)
{
    return json_dump_record(profile_json(p), JSON_INDENT(2), true, out, err);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static enum joulet_status check_schema(struct reader *rd, json_t *o)
{
    static const char family[] = "joulet.profile/";
    const char *schema = json_string_value(json_object_get(o, "schema"));
    int64_t version;
    if (!schema || !jl_starts(schema, family) || !jl_parse_i64(schema + strlen(family), &version) || version < 1)
        return jl_fail(rd->err, JOULET_FORMAT,
                       "this is no profile of joulet: its \"schema\" is not \"" RUN_PROFILE_SCHEMA
                       "\"; make one with `joulet profile -o FILE`");
    if (version > 1)
        return jl_fail(rd->err, JOULET_NEWER, "the profile is of version %lld, this joulet %s reads up to 1; update joulet",
                       (long long)version, JOULET_VERSION);
    return JOULET_OK;
}

static enum joulet_status read_items(struct reader *rd, json_t *list, const struct profile_list *l, char *items)
{
    json_t *v;
    size_t i;
    json_array_foreach(list, i, v)
    {
        size_t back = reader_item(rd, i);
        enum joulet_status st =
            json_is_object(v) ? fields_read(rd, v, items + i * l->size, l->rows) : reader_fail(rd, "an object", v);
        if (st != JOULET_OK)
            return st;
        reader_back(rd, back);
    }
    return JOULET_OK;
}

/* The room doubles at powers of two (profile.c): as much of it as if the items had been added one by one. */
static size_t room_for(size_t n)
{
    size_t room = 1;
    while (room < n)
        room *= 2;
    return room;
}

static enum joulet_status read_list(struct reader *rd, json_t *o, const struct profile_list *l, struct run_profile *p)
{
    json_t *list;
    enum joulet_status st = reader_list(rd, o, l->key, JSON_ARRAY, l->most, &list);
    size_t n = json_array_size(list), back = reader_into(rd, l->key);
    if (st != JOULET_OK || !n) {
        if (st == JOULET_OK)
            reader_back(rd, back);
        return st;
    }
    char *items = calloc(room_for(n), l->size);
    if (!items)
        return reader_no_memory(rd);
    memcpy((char *)p + l->items, &items, sizeof items); /* from here on run_profile_release frees them */
    memcpy((char *)p + l->n, &n, sizeof n);
    st = read_items(rd, list, l, items);
    if (st == JOULET_OK)
        reader_back(rd, back);
    return st;
}

static enum joulet_status read_how(struct reader *rd, json_t *o, struct run_profile *p)
{
    json_t *how = json_object_get(o, "how");
    size_t back = reader_into(rd, "how");
    enum joulet_status st =
        json_is_object(how) ? fields_read(rd, how, &p->how, profile_how_fields) : reader_fail(rd, "an object", how);
    if (st == JOULET_OK)
        reader_back(rd, back);
    return st;
}

static enum joulet_status read_notes(struct reader *rd, json_t *o, struct run_profile *p)
{
    json_t *list, *v;
    size_t i;
    enum joulet_status st = reader_list(rd, o, "notes", JSON_ARRAY, RUN_NOTES_MAX, &list);
    if (st != JOULET_OK)
        return st;
    reader_into(rd, "notes");
    json_array_foreach(list, i, v)
    {
        size_t back = reader_item(rd, i);
        if (!json_is_string(v))
            return reader_fail(rd, "a text", v);
        if (!run_profile_note(p, "%s", json_string_value(v)))
            return reader_no_memory(rd);
        reader_back(rd, back);
    }
    return JOULET_OK;
}

static enum joulet_status read_profile(struct reader *rd, json_t *o, struct run_profile *p)
{
    enum joulet_status st = json_is_object(o) ? check_schema(rd, o) : reader_fail(rd, "an object", o);
    if (st == JOULET_OK)
        st = fields_read(rd, o, p, profile_fields);
    if (st == JOULET_OK && !reader_id_ok(p->id))
        st = jl_fail(rd->err, JOULET_FORMAT, "the profile has no usable \"id\"; make it again with `joulet profile -o FILE`");
    for (size_t i = 0; st == JOULET_OK && i < profile_pairs_count; i++)
        st = reader_pairs(rd, o, profile_pairs[i].key, (struct run_pairs *)(void *)((char *)p + profile_pairs[i].at));
    if (st == JOULET_OK)
        st = read_how(rd, o, p);
    for (size_t i = 0; st == JOULET_OK && i < profile_lists_count; i++)
        st = read_list(rd, o, &profile_lists[i], p);
    return st == JOULET_OK ? read_notes(rd, o, p) : st;
}

enum joulet_status run_profile_from_json(const char *text, size_t n, struct run_profile *out, struct joulet_error *err)
{
    json_t *o;
    struct reader rd = {.err = err};
    *out = (struct run_profile){0};
    enum joulet_status st = reader_load(text, n, &o, err);
    if (st != JOULET_OK)
        return st;
    st = read_profile(&rd, o, out);
    json_decref(o);
    if (st != JOULET_OK)
        run_profile_release(out);
    return st;
}
