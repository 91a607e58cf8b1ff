/* replay.c - reads a recorded trace. Columns are found by their names in the header row; a row has a time (t_ns or t_s) and a
 * value, and may have a channel, a quantity, half-width, flags and the window of a power reading. Values are in the integer unit
 * of the quantity (joulet.h); without a quantity column they are watts. */
#include "lib/sensors/replay.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum column { T_NS, T_S, CHANNEL, QUANTITY, VALUE, HW_NS, FLAGS, WINDOW_S, COLUMNS };
static const char *const column_names[COLUMNS] = {"t_ns", "t_s", "channel", "quantity", "value", "hw_ns", "flags", "window_s"};
static const char *const quantity_names[] = {"energy", "power",       "temperature", "clock", "utilisation",
                                             "memory", "power_limit", "throttle"}; /* in the order of joulet_quantity */

struct reader {
    struct replay *out;
    struct jl_csv csv;
    int at[COLUMNS]; /* -1: not there */
    size_t row;
    const char *name;
    struct joulet_error *err;
};

static enum joulet_status wrong(const struct reader *r, const char *what)
{
    return jl_fail(r->err, JOULET_FORMAT, "row %zu of the recorded trace %s is wrong: %s; docs/sensors/file.md shows the form",
                   r->row, r->name, what);
}

static const char *field(const struct reader *r, enum column c)
{
    return r->at[c] >= 0 && (size_t)r->at[c] < r->csv.n ? r->csv.fields[r->at[c]] : "";
}

static enum joulet_status read_header(struct reader *r)
{
    r->row = 1;
    if (!jl_csv_next(&r->csv))
        return wrong(r, "a header row is expected, as in t_ns,channel,quantity,value,hw_ns,flags");
    for (int c = 0; c < COLUMNS; c++) {
        r->at[c] = -1;
        for (size_t i = 0; i < r->csv.n && r->at[c] < 0; i++)
            if (strcmp(r->csv.fields[i], column_names[c]) == 0)
                r->at[c] = (int)i;
    }
    if ((r->at[T_NS] < 0 && r->at[T_S] < 0) || r->at[VALUE] < 0)
        return wrong(r, "the header needs a column t_ns or t_s and a column value");
    return JOULET_OK;
}

/* ---- one row ----------------------------------------------------------------------------------------------------- */

static bool to_int(double v, double scale, int64_t *out)
{
    v *= scale;
    if (!(fabs(v) < 4e18))
        return false;
    *out = llround(v);
    return true;
}

static bool read_time(const struct reader *r, int64_t *t_ns)
{
    double t_s;
    if (r->at[T_NS] >= 0)
        return jl_parse_i64(field(r, T_NS), t_ns) && llabs(*t_ns) < INT64_MAX / 4;
    return jl_parse_double(field(r, T_S), &t_s) && to_int(t_s, 1e9, t_ns) && llabs(*t_ns) < INT64_MAX / 4;
}

static bool read_quantity(const struct reader *r, enum joulet_quantity *q)
{
    *q = JOULET_POWER;
    if (r->at[QUANTITY] < 0)
        return true;
    for (size_t i = 0; i < JL_COUNT(quantity_names); i++)
        if (strcmp(field(r, QUANTITY), quantity_names[i]) == 0) {
            *q = (enum joulet_quantity)i;
            return true;
        }
    return false;
}

static bool read_value(const struct reader *r, int64_t *value)
{
    double watts;
    if (r->at[QUANTITY] < 0)
        return jl_parse_double(field(r, VALUE), &watts) && watts >= 0 && to_int(watts, 1e6, value);
    return jl_parse_i64(field(r, VALUE), value) && llabs(*value) < INT64_MAX / 4;
}

static bool read_small(const char *text, uint32_t *out)
{
    uint64_t v = 0;
    if (*text && (!jl_parse_u64(text, &v) || v > UINT32_MAX))
        return false;
    *out = (uint32_t)v;
    return true;
}

static struct replay_track *find_track(struct reader *r, const char *id, enum joulet_quantity q)
{
    struct replay *out = r->out;
    for (size_t i = 0; i < out->n; i++)
        if (strcmp(out->tracks[i].id, id) == 0)
            return out->tracks[i].quantity == q ? &out->tracks[i] : NULL;
    if (out->n == REPLAY_TRACKS_MAX || strlen(id) >= sizeof(out->tracks[0].id) || !*id)
        return NULL;
    struct replay_track *t = &out->tracks[out->n++];
    *t = (struct replay_track){.quantity = q, .window_s = NAN};
    memcpy(t->id, id, strlen(id) + 1);
    return t;
}

static bool add_sample(struct replay_track *t, const struct replay_sample *s)
{
    if (t->n == t->cap) {
        size_t cap = t->cap ? t->cap * 2 : 256;
        struct replay_sample *more = realloc(t->samples, cap * sizeof(*more));
        if (!more)
            return false;
        t->samples = more;
        t->cap = cap;
    }
    t->samples[t->n++] = *s;
    return true;
}

static enum joulet_status read_row(struct reader *r)
{
    struct replay_sample s = {0};
    enum joulet_quantity q;
    uint32_t hw;
    double window_s;
    const char *id = r->at[CHANNEL] >= 0 ? field(r, CHANNEL) : "file0.power";
    if (!read_time(r, &s.t_ns))
        return wrong(r, "the time is not a number");
    if (!read_small(field(r, FLAGS), &s.flags) || !read_small(field(r, HW_NS), &hw))
        return wrong(r, "hw_ns and flags are whole numbers from 0 up");
    if (!read_quantity(r, &q))
        return wrong(r, "the quantity is none that is known, as energy or power");
    if (!(s.flags & JOULET_SAMPLE_FAILED) && !read_value(r, &s.value))
        return wrong(r, r->at[QUANTITY] < 0 ? "the value is not a number of watts" : "the value is not a whole number");
    struct replay_track *t = find_track(r, id, q);
    if (!t)
        return wrong(r, "there are too many channels, or this one has no name, too long a name or two quantities");
    if (t->n && s.t_ns < t->samples[t->n - 1].t_ns)
        return wrong(r, "times of a channel must not go back");
    if (jl_parse_double(field(r, WINDOW_S), &window_s) && window_s > 0)
        t->window_s = window_s;
    if (s.flags & JOULET_SAMPLE_LAST) /* the end of the recording, not an update */
        return JOULET_OK;
    t->hw_sum_s += hw * 1e-9;
    return add_sample(t, &s) ? JOULET_OK : jl_fail(r->err, JOULET_MEMORY, "out of memory while reading the trace %s", r->name);
}

static enum joulet_status find_span(struct reader *r)
{
    struct replay *out = r->out;
    size_t kept = 0;
    for (size_t i = 0; i < out->n; i++) {
        if (out->tracks[i].n == 0)
            continue;
        struct replay_track t = out->tracks[i];
        int64_t a = t.samples[0].t_ns, b = t.samples[t.n - 1].t_ns;
        out->first_ns = kept == 0 || a < out->first_ns ? a : out->first_ns;
        out->last_ns = kept == 0 || b > out->last_ns ? b : out->last_ns;
        out->tracks[kept++] = t;
    }
    out->n = kept;
    r->row++;
    return kept ? JOULET_OK : wrong(r, "there are no samples");
}

enum joulet_status replay_parse(struct replay *out, const char *text, size_t len, const char *name, struct joulet_error *err)
{
    struct reader r = {.out = out, .name = name, .err = err};
    memset(out, 0, sizeof(*out));
    jl_csv_init(&r.csv, text, len);
    enum joulet_status status = read_header(&r);
    while (status == JOULET_OK && jl_csv_next(&r.csv)) {
        r.row++;
        status = r.row > REPLAY_ROWS_MAX
                     ? jl_fail(err, JOULET_LIMIT, "the recorded trace %s has more than %d rows: cut it", name, REPLAY_ROWS_MAX)
                     : read_row(&r);
    }
    if (status == JOULET_OK)
        status = find_span(&r);
    jl_csv_release(&r.csv);
    if (status != JOULET_OK)
        replay_release(out);
    return status == JOULET_OK ? jl_ok(err) : status;
}

void replay_release(struct replay *r)
{
    for (size_t i = 0; i < r->n; i++)
        free(r->tracks[i].samples);
    r->n = 0;
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

double replay_period_s(const struct replay_track *t)
{
    enum { ENOUGH = 4096 };
    size_t n = t->n > ENOUGH ? ENOUGH : t->n;
    int64_t *d = n > 1 ? malloc((n - 1) * sizeof(*d)) : NULL;
    if (!d)
        return NAN;
    for (size_t i = 1; i < n; i++)
        d[i - 1] = t->samples[i].t_ns - t->samples[i - 1].t_ns;
    qsort(d, n - 1, sizeof(*d), ascending);
    double period = jl_s(d[(n - 1) / 2]);
    free(d);
    return period;
}
