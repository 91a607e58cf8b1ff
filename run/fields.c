/* fields.c - the rows of joulet.run/1 (docs/record.md) and the two loops that write and read them. */
#include "run/internal.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REAL_MAX  1e300                 /* 15 digits of a larger number may not be readable again */
#define TIME_MAX  4000000000000000000LL /* differences of two times stay inside int64_t */
#define COUNT_MAX 1000000000000LL       /* sums over a million requests stay inside int64_t */

/* ---- names ------------------------------------------------------------------------------------------------------- */

static const char *provenance_name(unsigned i)
{
    return i <= JOULET_SIMULATED ? joulet_provenance_name((enum joulet_provenance)i) : NULL;
}

static const char *group_name(unsigned i)
{
    return i < JOULET_GROUP_COUNT ? joulet_group_name((enum joulet_group)i) : NULL;
}

const char *run_quantity_name(enum joulet_quantity q)
{
    static const char *const names[] = {"energy",      "power",  "temperature", "clock",
                                        "utilisation", "memory", "power_limit", "throttle"};
    return (unsigned)q < JL_COUNT(names) ? names[q] : NULL;
}

static const char *quantity_name(unsigned i)
{
    return run_quantity_name((enum joulet_quantity)i);
}

const char *run_outcome_name(enum run_outcome o)
{
    static const char *const names[] = {"ok", "failed", "cancelled"};
    return (unsigned)o < JL_COUNT(names) ? names[o] : NULL;
}

static const char *outcome_name(unsigned i)
{
    return run_outcome_name((enum run_outcome)i);
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

#define ROW(struct_, key_, type_, member)                                                                                        \
    {                                                                                                                            \
        .key = key_, .type = type_, .at = offsetof(struct struct_, member), .size = sizeof(((struct struct_ *)0)->member)        \
    }
#define NAME(struct_, key_, member, name_)                                                                                       \
    {                                                                                                                            \
        .key = key_, .type = FIELD_NAME, .at = offsetof(struct struct_, member), .size = sizeof(unsigned), .name = name_         \
    }
#define OBJECT(struct_, key_, member, sub_)                                                                                      \
    {                                                                                                                            \
        .key = key_, .type = FIELD_OBJECT, .at = offsetof(struct struct_, member), .sub = sub_                                   \
    }
#define END                                                                                                                      \
    {                                                                                                                            \
        .key = NULL                                                                                                              \
    }

static const struct field u_fields[] = {
    ROW(joulet_u, "q", FIELD_REAL, q),
    ROW(joulet_u, "b", FIELD_REAL, b),
    ROW(joulet_u, "time", FIELD_REAL, time),
    ROW(joulet_u, "event", FIELD_REAL, event),
    ROW(joulet_u, "idle", FIELD_REAL, idle),
    ROW(joulet_u, "spec", FIELD_REAL, spec),
    END,
};

const struct field energy_fields[] = {
    ROW(joulet_energy, "net_j", FIELD_REAL, net_j),
    ROW(joulet_energy, "net_pm_j", FIELD_REAL, net_pm_j),
    ROW(joulet_energy, "gross_j", FIELD_REAL, gross_j),
    ROW(joulet_energy, "gross_pm_j", FIELD_REAL, gross_pm_j),
    ROW(joulet_energy, "min_j", FIELD_REAL, min_j),
    ROW(joulet_energy, "max_j", FIELD_REAL, max_j),
    ROW(joulet_energy, "tail_j", FIELD_REAL, tail_j),
    OBJECT(joulet_energy, "u", u, u_fields),
    NAME(joulet_energy, "provenance", provenance, provenance_name),
    ROW(joulet_energy, "method", FIELD_METHOD, method),
    ROW(joulet_energy, "flags", FIELD_FLAGS, flags),
    END,
};

const struct field window_fields[] = {
    ROW(run_window, "start_ns", FIELD_TIME, start_ns),       ROW(run_window, "end_ns", FIELD_TIME, end_ns),
    ROW(run_window, "u_start_s", FIELD_REAL, u_start_s),     ROW(run_window, "u_end_s", FIELD_REAL, u_end_s),
    ROW(run_window, "power_min_w", FIELD_REAL, power_min_w), ROW(run_window, "power_mean_w", FIELD_REAL, power_mean_w),
    ROW(run_window, "power_max_w", FIELD_REAL, power_max_w), ROW(run_window, "power_p50_w", FIELD_REAL, power_p50_w),
    ROW(run_window, "power_p95_w", FIELD_REAL, power_p95_w), ROW(run_window, "ramp_s", FIELD_REAL, ramp_s),
    ROW(run_window, "updates", FIELD_COUNT, updates),        END,
};

static const struct field token_fields[] = {
    ROW(run_tokens, "prompt", FIELD_COUNT, prompt),
    ROW(run_tokens, "cached", FIELD_COUNT, cached),
    ROW(run_tokens, "generated", FIELD_COUNT, generated),
    ROW(run_tokens, "reasoning", FIELD_COUNT, reasoning),
    END,
};

const struct field request_fields[] = {
    ROW(run_request, "index", FIELD_COUNT, index),
    ROW(run_request, "set", FIELD_TEXT, set),
    ROW(run_request, "category", FIELD_TEXT, category),
    ROW(run_request, "number", FIELD_COUNT, number),
    ROW(run_request, "repeat", FIELD_COUNT, repeat),
    ROW(run_request, "cell", FIELD_COUNT, cell),
    ROW(run_request, "position", FIELD_COUNT, position),
    ROW(run_request, "stream", FIELD_COUNT, stream),
    ROW(run_request, "warmup", FIELD_BOOL, warmup),
    ROW(run_request, "check", FIELD_MAYBE, check),
    ROW(run_request, "prompt", FIELD_TEXT, prompt),
    ROW(run_request, "answer", FIELD_TEXT, answer),
    ROW(run_request, "prompt_sha256", FIELD_CHARS, prompt_sha256),
    NAME(run_request, "outcome", outcome, outcome_name),
    ROW(run_request, "error", FIELD_TEXT, error),
    ROW(run_request, "finish", FIELD_TEXT, finish),
    OBJECT(run_request, "tokens", tokens, token_fields),
    ROW(run_request, "ttft_s", FIELD_REAL, ttft_s),
    ROW(run_request, "tpot_s", FIELD_REAL, tpot_s),
    ROW(run_request, "itl_p50_s", FIELD_REAL, itl_p50_s),
    ROW(run_request, "itl_p95_s", FIELD_REAL, itl_p95_s),
    ROW(run_request, "itl_p99_s", FIELD_REAL, itl_p99_s),
    ROW(run_request, "server_prompt_s", FIELD_REAL, server_prompt_s),
    ROW(run_request, "server_decode_s", FIELD_REAL, server_decode_s),
    ROW(run_request, "server_load_s", FIELD_REAL, server_load_s),
    ROW(run_request, "server_queue_s", FIELD_REAL, server_queue_s),
    ROW(run_request, "phase_source", FIELD_TEXT, phase_source),
    ROW(run_request, "tail_j", FIELD_REAL, tail_j),
    ROW(run_request, "settle_s", FIELD_REAL, settle_s),
    ROW(run_request, "temperature_before_c", FIELD_REAL, temperature_before_c),
    ROW(run_request, "temperature_after_c", FIELD_REAL, temperature_after_c),
    ROW(run_request, "power_p50_w", FIELD_REAL, power_p50_w),
    ROW(run_request, "power_p95_w", FIELD_REAL, power_p95_w),
    END,
};

const struct field channel_fields[] = {
    ROW(joulet_channel, "id", FIELD_WORD, id),
    ROW(joulet_channel, "sensor", FIELD_WORD, sensor),
    ROW(joulet_channel, "device", FIELD_WORD, device),
    ROW(joulet_channel, "parent", FIELD_WORD, parent),
    NAME(joulet_channel, "quantity", quantity, quantity_name),
    NAME(joulet_channel, "group", group, group_name),
    NAME(joulet_channel, "provenance", provenance, provenance_name),
    ROW(joulet_channel, "in_total", FIELD_BOOL, in_total),
    ROW(joulet_channel, "calibrated", FIELD_BOOL, calibrated),
    ROW(joulet_channel, "contiguous", FIELD_BOOL, contiguous),
    ROW(joulet_channel, "period_s", FIELD_REAL, period_s),
    ROW(joulet_channel, "window_s", FIELD_REAL, window_s),
    ROW(joulet_channel, "quantum_j", FIELD_REAL, quantum_j),
    ROW(joulet_channel, "lag_s", FIELD_REAL, lag_s),
    ROW(joulet_channel, "u_lag_s", FIELD_REAL, u_lag_s),
    ROW(joulet_channel, "lag_max_s", FIELD_REAL, lag_max_s),
    ROW(joulet_channel, "rise_s", FIELD_REAL, rise_s),
    ROW(joulet_channel, "spec", FIELD_REAL, spec),
    ROW(joulet_channel, "power_min_w", FIELD_REAL, power_min_w),
    ROW(joulet_channel, "power_max_w", FIELD_REAL, power_max_w),
    ROW(joulet_channel, "factor_lo", FIELD_REAL, factor_lo),
    ROW(joulet_channel, "factor_hi", FIELD_REAL, factor_hi),
    END,
};

const struct field baseline_fields[] = {
    ROW(run_baseline, "channel", FIELD_WORD, channel),
    ROW(run_baseline, "level", FIELD_CHARS, level),
    ROW(run_baseline, "power_w", FIELD_REAL, b.power_w),
    ROW(run_baseline, "u_w", FIELD_REAL, b.u_w),
    ROW(run_baseline, "sd_w", FIELD_REAL, b.sd_w),
    ROW(run_baseline, "from_ns", FIELD_TIME, b.from_ns),
    ROW(run_baseline, "to_ns", FIELD_TIME, b.to_ns),
    ROW(run_baseline, "flags", FIELD_FLAGS, b.flags),
    END,
};

const struct field cell_fields[] = {
    ROW(run_cell, "name", FIELD_WORD, name),
    END,
};

const struct field series_fields[] = {
    ROW(run_series, "cell", FIELD_COUNT, cell),        ROW(run_series, "set", FIELD_TEXT, set),
    ROW(run_series, "category", FIELD_TEXT, category), ROW(run_series, "number", FIELD_COUNT, number),
    ROW(run_series, "repeats", FIELD_COUNT, repeats),  ROW(run_series, "dropped", FIELD_COUNT, dropped),
    ROW(run_series, "steady", FIELD_MAYBE, steady),    END,
};

const struct field former_fields[] = {
    ROW(run_former, "joulet_version", FIELD_TEXT, version),
    ROW(run_former, "replaced_wall_ns", FIELD_TIME, replaced_wall_ns),
    END,
};

/* Of a request whose figures were replaced. */
const struct field former_request_fields[] = {
    ROW(run_request, "index", FIELD_COUNT, index),
    END,
};

const struct field run_fields[] = {
    ROW(run, "id", FIELD_CHARS, id),
    ROW(run, "kind", FIELD_CHARS, kind),
    ROW(run, "title", FIELD_TEXT, title),
    ROW(run, "status", FIELD_TEXT, status),
    ROW(run, "joulet_version", FIELD_TEXT, version),
    ROW(run, "figures_version", FIELD_TEXT, figures_version),
    ROW(run, "started_wall_ns", FIELD_TIME, started_wall_ns),
    ROW(run, "start_ns", FIELD_TIME, start_ns),
    ROW(run, "end_ns", FIELD_TIME, end_ns),
    ROW(run, "wall_offset_ns", FIELD_TIME, wall_offset_ns),
    ROW(run, "argv", FIELD_TEXT, argv),
    ROW(run, "exit_code", FIELD_COUNT, exit_code),
    END,
};

const struct pairs_row pairs_rows[] = {
    {"machine", offsetof(struct run, machine)}, {"engine", offsetof(struct run, engine)},
    {"model", offsetof(struct run, model)},     {"settings", offsetof(struct run, settings)},
    {"factors", offsetof(struct run, factors)}, {"sampler", offsetof(struct run, sampler)},
};
const size_t pairs_count = JL_COUNT(pairs_rows);

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
        return *(const char *)member ? text_or_null(member) : json_null();
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
