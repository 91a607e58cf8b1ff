/* json_reader.c - where the reader of a record is, and what runs, windows and requests have in common: pairs and energies. The
 * bytes may be anybody's: types, sizes and names are checked, and a refusal names the key (docs/record.md). */
#include "run/internal.h"

#include <stdio.h>
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
void reader_printable(char *s)
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
    reader_printable(rd->path);
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

/* ---- pairs ------------------------------------------------------------------------------------------------------- */

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

enum joulet_status reader_pairs(struct reader *rd, json_t *o, const char *key, struct run_pairs *p)
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

/* ---- energies ---------------------------------------------------------------------------------------------------- */

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

enum joulet_status reader_energy(struct reader *rd, json_t *parent, struct run_energy *e)
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
