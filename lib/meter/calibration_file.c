/* calibration_file.c - the text of a calibration file: a line with its version, then blocks of "key = value" lines, [channel]
 * for each channel and at most one [sampler]. What is not understood is refused: a wrong lag would look like a right one. */
#include "lib/meter/calibration.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT_VERSION 1
#define LINE_MAX_BYTES 512

static const char first_words[] = "joulet calibration ";

enum value { TEXT, NUMBER, OPTIONAL_NUMBER, TIME, YES_NO, READING, VERDICT };

struct field {
    const char *key;
    enum value value;
    size_t at, size;
    double min, max;
    bool needed;
};
#define CH(member)    offsetof(struct joulet_calibrated, member)
#define CH_TEXT(name) TEXT, CH(name), sizeof(((struct joulet_calibrated *)0)->name)
#define COST(member)  offsetof(struct joulet_self_cost, member)

static const struct field channel_fields[] = {
    {"sensor", CH_TEXT(sensor), 0, 0, true},
    {"channel", CH_TEXT(channel), 0, 0, true},
    {"device", CH_TEXT(device), 0, 0, false},
    {"uuid", CH_TEXT(uuid), 0, 0, false},
    {"driver", CH_TEXT(driver), 0, 0, false},
    {"simulated", YES_NO, CH(simulated), 0, 0, 0, false},
    {"at", TIME, CH(at_s), 0, 0, 1e11, true},
    {"period_s", NUMBER, CH(period_s), 0, 1e-6, 3600, true},
    {"window_s", NUMBER, CH(window_s), 0, 0, 3600, true},
    {"lag_s", NUMBER, CH(lag_s), 0, -1, 10, true},
    {"u_lag_s", NUMBER, CH(u_lag_s), 0, 1e-9, 10, true},
    {"ratio", OPTIONAL_NUMBER, CH(ratio), 0, 0, 1000, false},
    {"reading", READING, CH(reading), 0, 0, 0, false},
    {"verdict", VERDICT, CH(verdict), 0, 0, 0, false},
};
static const struct field cost_fields[] = {
    {"at", TIME, COST(at_s), 0, 1, 1e11, true},
    {"simulated", YES_NO, COST(simulated), 0, 0, 0, false},
    {"cpu_share", NUMBER, COST(cpu_share), 0, 0, 1024, true},
    {"power_w", OPTIONAL_NUMBER, COST(power_w), 0, -1e6, 1e6, false},
    {"u_power_w", OPTIONAL_NUMBER, COST(u_power_w), 0, 0, 1e6, false},
};

static const struct section {
    const char *name;
    const struct field *fields;
    size_t n;
} sections[] = {{"channel", channel_fields, JL_COUNT(channel_fields)}, {"sampler", cost_fields, JL_COUNT(cost_fields)}};

/* ---- reading --------------------------------------------------------------------------------------------------------- */

struct reader {
    const char *name;
    size_t line;
    struct joulet_calibration_file *out;
    const struct section *section; /* NULL before the first */
    void *target;
    unsigned seen; /* bits of its fields */
    struct joulet_error *err;
};

static enum joulet_status bad(struct reader *r, const char *why)
{
    return jl_fail(r->err, JOULET_FORMAT,
                   "the calibration file %s is not understood at line %zu: %s; move it away and run `joulet calibrate` again",
                   r->name, r->line, why);
}

static bool is_text(const char *s, size_t n, size_t room)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] < ' ' || s[i] == 0x7f)
            return false;
    return n < room;
}

static int word_index(const char *s, const char *(*name)(int), int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(s, name(i)) == 0)
            return i;
    return -1;
}

static const char *reading_word(int i)
{
    return joulet_reading_name((enum joulet_reading)i);
}

static const char *verdict_word(int i)
{
    return joulet_verdict_name((enum joulet_verdict)i);
}

static bool store_word(void *at, const char *s, const char *(*name)(int), int n)
{
    int i = word_index(s, name, n);
    if (i >= 0)
        memcpy(at, &i, sizeof(i));
    return i >= 0;
}

_Static_assert(sizeof(enum joulet_reading) == sizeof(int) && sizeof(enum joulet_verdict) == sizeof(int),
               "words are stored as int");

static bool store_value(const struct field *f, char *at, const char *s)
{
    double x;
    int64_t t;
    switch (f->value) {
    case TEXT:
        if (!is_text(s, strlen(s), f->size) || (f->needed && !*s))
            return false;
        memcpy(at, s, strlen(s) + 1);
        return true;
    case TIME:
        if (!jl_parse_i64(s, &t) || t < (int64_t)f->min || t > (int64_t)f->max)
            return false;
        memcpy(at, &t, sizeof(t));
        return true;
    case YES_NO:
        *(bool *)at = strcmp(s, "yes") == 0;
        return *(bool *)at || strcmp(s, "no") == 0;
    case READING:
        return store_word(at, s, reading_word, JOULET_READING_COUNT);
    case VERDICT:
        return store_word(at, s, verdict_word, JOULET_VERDICT_GOOD + 1);
    default:
        if (!jl_parse_double(s, &x) || x < f->min || x > f->max)
            return false;
        memcpy(at, &x, sizeof(x));
        return true;
    }
}

static enum joulet_status end_section(struct reader *r)
{
    for (size_t i = 0; r->section && i < r->section->n; i++)
        if (r->section->fields[i].needed && !(r->seen & 1u << i)) {
            char why[96];
            snprintf(why, sizeof(why), "the block that ends here has no %s", r->section->fields[i].key);
            return bad(r, why);
        }
    return JOULET_OK;
}

static enum joulet_status begin_channel(struct reader *r)
{
    struct joulet_calibration_file *f = r->out;
    if (f->n == CALIBRATION_ENTRIES_MAX)
        return bad(r, "it has more than 256 channels");
    struct joulet_calibrated *all = realloc(f->entries, (f->n + 1) * sizeof(*all));
    if (!all)
        return jl_fail(r->err, JOULET_MEMORY, "the calibration file %s could not be read: out of memory", r->name);
    f->entries = all;
    all[f->n] = (struct joulet_calibrated){.ratio = NAN, .verdict = JOULET_VERDICT_GOOD};
    r->target = &all[f->n++];
    return JOULET_OK;
}

static enum joulet_status begin_section(struct reader *r, const char *line, size_t n)
{
    enum joulet_status status = end_section(r);
    r->section = NULL;
    r->seen = 0;
    for (size_t i = 0; status == JOULET_OK && i < JL_COUNT(sections); i++)
        if (strlen(sections[i].name) == n - 2 && memcmp(line + 1, sections[i].name, n - 2) == 0 && line[n - 1] == ']')
            r->section = &sections[i];
    if (status != JOULET_OK || !r->section)
        return status != JOULET_OK ? status : bad(r, "a block is [channel] or [sampler]");
    if (r->section == &sections[0])
        return begin_channel(r);
    if (r->out->cost.at_s)
        return bad(r, "there is a second block [sampler]");
    r->out->cost = (struct joulet_self_cost){.cpu_share = NAN, .power_w = NAN, .u_power_w = NAN};
    r->target = &r->out->cost;
    return JOULET_OK;
}

static enum joulet_status take_line(struct reader *r, char *line)
{
    char *eq = strstr(line, " = ");
    if (!r->section || !eq)
        return bad(r, "a line is \"key = value\" inside a block");
    *eq = '\0';
    for (size_t i = 0; i < r->section->n; i++) {
        const struct field *f = &r->section->fields[i];
        if (strcmp(f->key, line) != 0)
            continue;
        if (r->seen & 1u << i)
            return bad(r, "a key stands twice in a block");
        r->seen |= 1u << i;
        return store_value(f, (char *)r->target + f->at, eq + 3) ? JOULET_OK : bad(r, "the value is not what its key needs");
    }
    return bad(r, "the key is not known");
}

static enum joulet_status take_version(struct reader *r, const char *line)
{
    int64_t version;
    if (!jl_starts(line, first_words) || !jl_parse_i64(line + strlen(first_words), &version) || version < 1)
        return bad(r, "it does not begin with \"joulet calibration 1\"");
    if (version > FORMAT_VERSION)
        return jl_fail(
            r->err, JOULET_NEWER,
            "the calibration file %s is of form %lld and this joulet knows %d: use the newer joulet, or move the file away "
            "and run `joulet calibrate` again",
            r->name, (long long)version, FORMAT_VERSION);
    return JOULET_OK;
}

static enum joulet_status take(struct reader *r, const char *text, size_t n)
{
    char line[LINE_MAX_BYTES];
    r->line++;
    n -= n > 0 && text[n - 1] == '\r';
    if (!is_text(text, n, sizeof(line)))
        return bad(r, "it is too long, or not text");
    memcpy(line, text, n);
    line[n] = '\0';
    if (r->line == 1)
        return take_version(r, line);
    if (n == 0 || line[0] == '#')
        return JOULET_OK;
    return line[0] == '[' && n >= 2 ? begin_section(r, line, n) : take_line(r, line);
}

enum joulet_status calibration_parse(const char *text, size_t len, const char *name, struct joulet_calibration_file *out,
                                     struct joulet_error *err)
{
    struct joulet_error own = {0};
    struct reader r = {.name = name, .out = out, .err = err ? err : &own};
    enum joulet_status status = JOULET_OK;
    *out = (struct joulet_calibration_file){0};
    if (len > CALIBRATION_FILE_MAX)
        status = bad(&r, "it is larger than 256 KiB");
    for (size_t at = 0; status == JOULET_OK && at < len;) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t n = end ? (size_t)(end - text) - at : len - at;
        status = take(&r, text + at, n);
        at += n + 1;
    }
    if (status == JOULET_OK)
        status = end_section(&r);
    if (status == JOULET_OK)
        return jl_ok(err);
    joulet_calibration_release(out);
    return status;
}

/* ---- writing --------------------------------------------------------------------------------------------------------- */

static void write_text(struct jl_buf *out, const char *s)
{
    for (; *s; s++)
        jl_buf_printf(out, "%c", (unsigned char)*s < ' ' || *s == 0x7f ? ' ' : *s);
}

static void write_field(struct jl_buf *out, const struct field *f, const char *at)
{
    double x = 0;
    if (f->value == NUMBER || f->value == OPTIONAL_NUMBER)
        memcpy(&x, at, sizeof(x));
    if (isnan(x) || (f->value == TEXT && !*at && !f->needed))
        return;
    jl_buf_printf(out, "%s = ", f->key);
    switch (f->value) {
    case TEXT:
        write_text(out, at);
        break;
    case TIME:
        jl_buf_printf(out, "%lld", (long long)*(const int64_t *)(const void *)at);
        break;
    case YES_NO:
        jl_buf_str(out, *(const bool *)at ? "yes" : "no");
        break;
    case READING:
        jl_buf_str(out, joulet_reading_name(*(const enum joulet_reading *)(const void *)at));
        break;
    case VERDICT:
        jl_buf_str(out, joulet_verdict_name(*(const enum joulet_verdict *)(const void *)at));
        break;
    default:
        jl_buf_printf(out, "%.9g", x);
    }
    jl_buf_str(out, "\n");
}

static void write_section(struct jl_buf *out, const struct section *s, const void *from)
{
    jl_buf_printf(out, "\n[%s]\n", s->name);
    for (size_t i = 0; i < s->n; i++)
        write_field(out, &s->fields[i], (const char *)from + s->fields[i].at);
}

bool calibration_write(const struct joulet_calibration_file *f, struct jl_buf *out)
{
    jl_buf_printf(out, "%s%d\n# Written by `joulet calibrate`, read whenever sensors are opened; times are seconds since 1970.\n",
                  first_words, FORMAT_VERSION);
    for (size_t i = 0; i < f->n; i++)
        write_section(out, &sections[0], &f->entries[i]);
    if (f->cost.at_s)
        write_section(out, &sections[1], &f->cost);
    return !out->failed;
}
