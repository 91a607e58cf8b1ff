/* fields.c - the two loops that write and read the rows of a record (docs/record.md), one kind of value after the other. */
#include "run/internal.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REAL_MAX  1e300                 /* 15 digits of a larger number may not be readable again */
#define TIME_MAX  4000000000000000000LL /* differences of two times stay inside int64_t */
#define COUNT_MAX 1000000000000LL       /* sums over a million requests stay inside int64_t */

/* ---- writing ----------------------------------------------------------------------------------------------------- */

json_t *real_or_null(double x)
{
    return isfinite(x) && fabs(x) <= REAL_MAX ? json_real(x) : json_null();
}

json_t *text_or_null(const char *s)
{
    if (!s)
        return json_null();
    json_t *text = json_string(s);
    if (text)
        return text;
    char *clean = utf8_clean(s);
    text = clean ? json_string_nocheck(clean) : NULL;
    free(clean);
    return text;
}

/* What is put for half a character is longer than that half: cut so that it can be read again. */
static json_t *chars_json(const char *s, size_t size)
{
    json_t *text = json_string(s);
    char *clean = text ? NULL : utf8_clean(s);
    if (clean && strlen(clean) >= size) {
        size_t n = size - 1;
        while (n && ((unsigned char)clean[n] & 0xc0) == 0x80)
            n--;
        clean[n] = '\0';
    }
    if (clean)
        text = json_string_nocheck(clean);
    free(clean);
    return text;
}

/* Texts are `char *` in some structs and `const char *` in others. */
static char *get_text(const void *member)
{
    char *s;
    memcpy(&s, member, sizeof s);
    return s;
}

static void set_text(void *member, const char *s)
{
    memcpy(member, &s, sizeof s);
}

static json_t *flags_json(uint32_t flags)
{
    json_t *list = json_array();
    for (unsigned bit = 0; list && bit < 32; bit++) {
        const char *name = flags & 1u << bit ? joulet_flag_name(1u << bit) : NULL;
        if (name && json_array_append_new(list, json_string(name))) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *count_json(int64_t i)
{
    return i < 0 ? json_null() : json_integer(i);
}

static json_t *maybe_json(int64_t i)
{
    return i < 0 ? json_null() : json_boolean(i != 0);
}

static json_t *field_json(const void *member, const struct field *f)
{
    switch (f->type) {
    case FIELD_REAL:
        return real_or_null(*(const double *)member);
    case FIELD_TIME:
        return json_integer(*(const int64_t *)member);
    case FIELD_COUNT:
        return count_json(*(const int64_t *)member);
    case FIELD_BOOL:
        return json_boolean(*(const bool *)member);
    case FIELD_MAYBE:
        return maybe_json(*(const int64_t *)member);
    case FIELD_TEXT:
    case FIELD_WORD:
        return text_or_null(get_text(member));
    case FIELD_CHARS:
        return *(const char *)member ? chars_json(member, f->size) : json_null();
    case FIELD_NAME: {
        const char *name = f->name(*(const unsigned *)member);
        return name ? json_string(name) : NULL;
    }
    case FIELD_FLAGS:
        return flags_json(*(const uint32_t *)member);
    case FIELD_METHOD: {
        const char *method = get_text(member);
        return text_or_null(method ? method : "none");
    }
    case FIELD_OBJECT:
        break;
    }
    json_t *o = json_object();
    if (o && !fields_write(o, member, f->sub)) {
        json_decref(o);
        return NULL;
    }
    return o;
}

bool fields_write(json_t *o, const void *base, const struct field *rows)
{
    for (const struct field *f = rows; f->key; f++)
        if (json_object_set_new(o, f->key, field_json((const char *)base + f->at, f)))
            return false;
    return true;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static enum joulet_status read_text(struct reader *rd, json_t *v, void *member)
{
    if (!json_is_string(v))
        return reader_fail(rd, "a text", v);
    char *copy = jl_strdup(json_string_value(v));
    if (!copy)
        return reader_no_memory(rd);
    free(get_text(member));
    set_text(member, copy);
    return JOULET_OK;
}

static enum joulet_status read_chars(struct reader *rd, json_t *v, char *out, size_t size)
{
    if (!json_is_string(v))
        return reader_fail(rd, "a text", v);
    if (json_string_length(v) >= size)
        return reader_fail(rd, "a shorter text", v);
    memcpy(out, json_string_value(v), json_string_length(v) + 1);
    return JOULET_OK;
}

static enum joulet_status read_real(struct reader *rd, json_t *v, double *out)
{
    if (!json_is_number(v))
        return reader_fail(rd, "a number", v);
    double x = json_number_value(v);
    if (!isfinite(x) || fabs(x) > REAL_MAX)
        return reader_fail(rd, "a number of a size that can be", v);
    *out = x;
    return JOULET_OK;
}

/* Whole numbers also as reals without a fraction: some writers know no integers. */
static enum joulet_status read_whole(struct reader *rd, json_t *v, int64_t lo, int64_t hi, int64_t *out)
{
    double x = json_number_value(v);
    bool whole = json_is_integer(v) || (json_is_real(v) && fabs(x) <= (double)TIME_MAX && x == trunc(x));
    if (!whole)
        return reader_fail(rd, "a whole number", v);
    int64_t i = json_is_integer(v) ? (int64_t)json_integer_value(v) : (int64_t)x;
    if (i < lo || i > hi)
        return reader_fail(rd, "a whole number inside its range", v);
    *out = i;
    return JOULET_OK;
}

static enum joulet_status read_name(struct reader *rd, json_t *v, const struct field *f, unsigned *out)
{
    for (unsigned i = 0; json_is_string(v) && f->name(i); i++)
        if (!strcmp(json_string_value(v), f->name(i))) {
            *out = i;
            return JOULET_OK;
        }
    return reader_fail(rd, "a name this version knows", v);
}

static enum joulet_status read_flags(struct reader *rd, json_t *v, uint32_t *out)
{
    size_t i;
    json_t *name;
    if (!json_is_array(v))
        return reader_fail(rd, "a list of flags", v);
    *out = 0;
    json_array_foreach(v, i, name)
    {
        uint32_t bit = 1;
        while (bit && json_is_string(name) && !(joulet_flag_name(bit) && !strcmp(joulet_flag_name(bit), json_string_value(name))))
            bit <<= 1;
        if (!bit || !json_is_string(name))
            return reader_fail(rd, "flags this version knows", name);
        *out |= bit;
    }
    return JOULET_OK;
}

static enum joulet_status read_method(struct reader *rd, json_t *v, void *member)
{
    char text[64] = "";
    enum joulet_status st = read_chars(rd, v, text, sizeof text);
    if (st == JOULET_OK)
        set_text(member, run_intern(text));
    return st;
}

static enum joulet_status read_field(struct reader *rd, json_t *v, void *member, const struct field *f)
{
    switch (f->type) {
    case FIELD_REAL:
        return read_real(rd, v, member);
    case FIELD_TIME:
        return read_whole(rd, v, -TIME_MAX, TIME_MAX, member);
    case FIELD_COUNT:
        return read_whole(rd, v, 0, COUNT_MAX, member);
    case FIELD_BOOL:
        if (!json_is_boolean(v))
            return reader_fail(rd, "true or false", v);
        *(bool *)member = json_is_true(v);
        return JOULET_OK;
    case FIELD_MAYBE:
        if (!json_is_boolean(v))
            return reader_fail(rd, "true or false", v);
        *(int64_t *)member = json_is_true(v);
        return JOULET_OK;
    case FIELD_TEXT:
    case FIELD_WORD:
        return read_text(rd, v, member);
    case FIELD_CHARS:
        return read_chars(rd, v, member, f->size);
    case FIELD_NAME:
        return read_name(rd, v, f, member);
    case FIELD_FLAGS:
        return read_flags(rd, v, member);
    case FIELD_METHOD:
        return read_method(rd, v, member);
    case FIELD_OBJECT:
        return json_is_object(v) ? fields_read(rd, v, member, f->sub) : reader_fail(rd, "an object", v);
    }
    return JOULET_OK;
}

/* What null and a missing key mean. Only what is always known may not be missing. */
static enum joulet_status read_nothing(struct reader *rd, void *member, const struct field *f, json_t *v)
{
    switch (f->type) {
    case FIELD_REAL:
        *(double *)member = NAN;
        return JOULET_OK;
    case FIELD_COUNT:
    case FIELD_MAYBE:
        *(int64_t *)member = -1;
        return JOULET_OK;
    case FIELD_TIME:
    case FIELD_BOOL:
    case FIELD_NAME:
        return reader_fail(rd, "a value", v);
    case FIELD_WORD:
        set_text(member, jl_strdup(""));
        return get_text(member) ? JOULET_OK : reader_no_memory(rd);
    default:
        return JOULET_OK;
    }
}

enum joulet_status fields_read(struct reader *rd, json_t *o, void *base, const struct field *rows)
{
    for (const struct field *f = rows; f->key; f++) {
        json_t *v = json_object_get(o, f->key);
        void *member = (char *)base + f->at;
        size_t back = reader_into(rd, f->key);
        enum joulet_status st = v && !json_is_null(v) ? read_field(rd, v, member, f) : read_nothing(rd, member, f, v);
        if (st != JOULET_OK)
            return st;
        reader_back(rd, back);
    }
    return JOULET_OK;
}

/* ---- static texts ------------------------------------------------------------------------------------------------ */

#define INTERN_MAX 256 /* methods of all versions ever; a file with more of them is playing with us */

struct interned {
    struct interned *next;
    unsigned n; /* texts in the list from here on */
    char text[64];
};

const char *run_intern(const char *s)
{
    static _Atomic(struct interned *) head;
    struct interned *mine = NULL, *first = atomic_load(&head);
    for (;;) {
        for (struct interned *i = first; i; i = i->next)
            if (!strcmp(i->text, s)) {
                free(mine);
                return i->text;
            }
        if (first && first->n >= INTERN_MAX) {
            free(mine);
            return "other";
        }
        if (!mine)
            mine = malloc(sizeof *mine);
        if (!mine)
            return "other";
        snprintf(mine->text, sizeof mine->text, "%s", s);
        mine->next = first;
        mine->n = first ? first->n + 1 : 1;
        if (atomic_compare_exchange_weak(&head, &first, mine))
            return mine->text;
    }
}
