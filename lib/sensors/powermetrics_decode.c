/* powermetrics_decode.c - samples of Apple's powermetrics: its text (`-f text`) and its property lists (`-f plist`), of Apple
 * silicon and of Intel Macs. Keys and lines as its manual and its readers know them; docs/sensors/powermetrics.md names them.
 *
 * A span's energy is taken from `*_energy` (mJ in this span) where it is told, else from power x length; never from power x the
 * interval that was asked for, which is 10 to 30 % shorter than what it lasts. */
#include "lib/sensors/powermetrics.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define HEADER     "*** Sampled system activity"
#define NEXT_TEXT  "\n" HEADER
#define LIST_END   "</plist>"
#define NUMBER_MAX 48
#define DEPTH_MAX  32

static void unknown(struct pm_span *out)
{
    *out = (struct pm_span){.elapsed_s = NAN};
    for (int i = 0; i < PM_PARTS; i++)
        out->energy_j[i] = NAN;
}

static const char *find(const char *text, size_t n, const char *what)
{
    return memmem(text, n, what, strlen(what));
}

/* A decimal number at p and how long it is; 0 when there is none. Numbers with a comma come from a Mac that speaks so. */
static size_t number(const char *p, const char *end, double *out)
{
    char buf[NUMBER_MAX];
    size_t n = 0;
    while (p + n < end && n + 1 < sizeof(buf) && p[n] && strchr("+-0123456789.,eE", p[n])) {
        buf[n] = p[n] == ',' ? '.' : p[n];
        n++;
    }
    buf[n] = '\0';
    *out = NAN;
    return n && jl_parse_double(buf, out) ? n : 0;
}

static bool believable(const struct pm_span *s)
{
    bool any = false;
    if (!(s->elapsed_s > 0 && s->elapsed_s < 86400))
        return false;
    for (int i = 0; i < PM_PARTS; i++) {
        if (isnan(s->energy_j[i]))
            continue;
        if (s->energy_j[i] < 0 || s->energy_j[i] > 1e5 * s->elapsed_s)
            return false;
        any = true;
    }
    return any;
}

/* ---- text ------------------------------------------------------------------------------------------------------------ */

static const struct {
    const char *line;
    enum pm_part part;
} text_lines[] = {
    {"CPU Power:", PM_CPU},
    {"GPU Power:", PM_GPU},
    {"ANE Power:", PM_ANE},
    {"DRAM Power:", PM_DRAM},
    {"Combined Power", PM_COMBINED},
    {"Package Power:", PM_PACKAGE},
    {"Intel energy model derived package power", PM_PACKAGE},
};

/* "CPU Power: 1234 mW", "Combined Power (CPU + GPU + ANE): 6912 mW", "... package power (CPUs+GT+SA): 3.02W". NAN: no power. */
static double power_of(const char *p, const char *end)
{
    double value;
    const char *colon = memchr(p, ':', (size_t)(end - p));
    if (!colon)
        return NAN;
    p = colon + 1;
    while (p < end && *p == ' ')
        p++;
    size_t n = number(p, end, &value);
    if (!n)
        return NAN;
    p += n;
    while (p < end && *p == ' ')
        p++;
    if (end - p >= 2 && strncmp(p, "mW", 2) == 0)
        return value * 1e-3;
    return p < end && *p == 'W' ? value : NAN;
}

static void take_line(const char *p, const char *end, struct pm_span *out, double *power_w)
{
    double ms;
    if ((size_t)(end - p) > strlen(HEADER) && strncmp(p, HEADER, strlen(HEADER)) == 0) {
        const char *elapsed = find(p, (size_t)(end - p), "ms elapsed"), *from = elapsed;
        while (from && from > p && from[-1] != '(')
            from--;
        if (elapsed && number(from, elapsed, &ms) == (size_t)(elapsed - from))
            out->elapsed_s = ms * 1e-3;
        return;
    }
    for (size_t i = 0; i < JL_COUNT(text_lines); i++) {
        size_t n = strlen(text_lines[i].line);
        if ((size_t)(end - p) > n && strncmp(p, text_lines[i].line, n) == 0 && isnan(power_w[text_lines[i].part]))
            power_w[text_lines[i].part] = power_of(p, end);
    }
}

bool pm_text(const char *text, size_t n, struct pm_span *out)
{
    double power_w[PM_PARTS];
    const char *end = text + n;
    unknown(out);
    for (int i = 0; i < PM_PARTS; i++)
        power_w[i] = NAN;
    for (const char *p = text; p < end;) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        take_line(p, stop ? stop : end, out, power_w);
        p = stop ? stop + 1 : end;
    }
    for (int i = 0; i < PM_PARTS; i++)
        out->energy_j[i] = power_w[i] * out->elapsed_s;
    return believable(out);
}

/* ---- property lists --------------------------------------------------------------------------------------------------- */

static const struct {
    const char *path; /* keys from the top, arrays left out */
    enum pm_part part;
    bool energy;  /* of the span; else power */
    double scale; /* J or W in its unit */
} list_keys[] = {
    {"processor.cpu_energy", PM_CPU, true, 1e-3},           {"processor.gpu_energy", PM_GPU, true, 1e-3},
    {"processor.ane_energy", PM_ANE, true, 1e-3},           {"processor.dram_energy", PM_DRAM, true, 1e-3},
    {"processor.cpu_power", PM_CPU, false, 1e-3},           {"processor.gpu_power", PM_GPU, false, 1e-3},
    {"processor.ane_power", PM_ANE, false, 1e-3},           {"processor.dram_power", PM_DRAM, false, 1e-3},
    {"processor.combined_power", PM_COMBINED, false, 1e-3}, {"processor.package_energy", PM_PACKAGE, true, 1e-3},
    {"processor.package_power", PM_PACKAGE, false, 1e-3},   {"processor.package_joules", PM_PACKAGE, true, 1}, /* Intel */
    {"processor.package_watts", PM_PACKAGE, false, 1},                                                         /* Intel */
};

struct list_reader {
    const char *p, *end;
    char path[160];            /* keys of the dictionaries that are open */
    size_t lengths[DEPTH_MAX]; /* of path before each of them */
    unsigned depth;
    char key[64];
    double power_w[PM_PARTS], energy_j[PM_PARTS], elapsed_s;
};

static void take_value(struct list_reader *r, double value)
{
    char full[sizeof(r->path) + sizeof(r->key) + 1];
    snprintf(full, sizeof(full), "%s%s", r->path, r->key);
    if (strcmp(full, "elapsed_ns") == 0)
        r->elapsed_s = value * 1e-9;
    for (size_t i = 0; i < JL_COUNT(list_keys); i++)
        if (strcmp(full, list_keys[i].path) == 0)
            (list_keys[i].energy ? r->energy_j : r->power_w)[list_keys[i].part] = value * list_keys[i].scale;
}

/* Whatever is in a container has its key in front; one in an array has none, and is nobody we ask for. */
static bool enter(struct list_reader *r, const char *kind)
{
    size_t n = strlen(r->path);
    if (r->depth == DEPTH_MAX)
        return false;
    r->lengths[r->depth++] = n;
    if (r->depth > 1) {
        int m = snprintf(r->path + n, sizeof(r->path) - n, "%s%s.", r->key, strcmp(kind, "array") == 0 ? "[]" : "");
        if (m < 0 || (size_t)m >= sizeof(r->path) - n)
            return false;
    }
    r->key[0] = '\0';
    return true;
}

static bool leave(struct list_reader *r)
{
    if (r->depth == 0)
        return false;
    r->path[r->lengths[--r->depth]] = '\0';
    r->key[0] = '\0';
    return true;
}

/* Text up to the closing tag; false when there is none. */
static bool content(struct list_reader *r, const char *tag, const char **from, size_t *n)
{
    char closing[24];
    snprintf(closing, sizeof(closing), "</%s>", tag);
    const char *stop = find(r->p, (size_t)(r->end - r->p), closing);
    if (!stop)
        return false;
    *from = r->p;
    *n = (size_t)(stop - r->p);
    r->p = stop + strlen(closing);
    return true;
}

static bool take_tag(struct list_reader *r, const char *tag, bool empty)
{
    const char *text;
    size_t n;
    double value;
    if (strcmp(tag, "dict") == 0 || strcmp(tag, "array") == 0)
        return empty || enter(r, tag);
    if (strcmp(tag, "/dict") == 0 || strcmp(tag, "/array") == 0)
        return leave(r);
    if (empty || tag[0] == '/' || tag[0] == '?' || tag[0] == '!' || strcmp(tag, "plist") == 0)
        return true;
    if (!content(r, tag, &text, &n))
        return false;
    if (strcmp(tag, "key") == 0) {
        snprintf(r->key, sizeof(r->key), "%.*s", n < sizeof(r->key) ? (int)n : 0, text);
        return true;
    }
    if ((strcmp(tag, "integer") == 0 || strcmp(tag, "real") == 0) && r->key[0] && number(text, text + n, &value) == n)
        take_value(r, value);
    if (r->depth && !strstr(r->path, "[]"))
        r->key[0] = '\0';
    return true;
}

static bool next_tag(struct list_reader *r, char *tag, size_t size, bool *empty)
{
    const char *open = memchr(r->p, '<', (size_t)(r->end - r->p));
    const char *close = open ? memchr(open, '>', (size_t)(r->end - open)) : NULL;
    if (!close)
        return false;
    size_t n = strcspn(open + 1, " \t\r\n>"), length = (size_t)(close - open - 1);
    n = n < length ? n : length;
    *empty = length > 0 && close[-1] == '/';
    if (*empty && n == length)
        n--;
    snprintf(tag, size, "%.*s", n < size ? (int)n : 0, open + 1);
    r->p = close + 1;
    return true;
}

bool pm_plist(const char *xml, size_t n, struct pm_span *out)
{
    char tag[20];
    bool empty;
    struct list_reader r = {.p = xml, .end = xml + n, .elapsed_s = NAN};
    for (int i = 0; i < PM_PARTS; i++)
        r.power_w[i] = r.energy_j[i] = NAN;
    unknown(out);
    while (next_tag(&r, tag, sizeof(tag), &empty))
        if (!take_tag(&r, tag, empty))
            return false;
    out->elapsed_s = r.elapsed_s;
    for (int i = 0; i < PM_PARTS; i++)
        out->energy_j[i] = isnan(r.energy_j[i]) ? r.power_w[i] * r.elapsed_s : r.energy_j[i];
    return r.depth == 0 && believable(out);
}

/* ---- a stream --------------------------------------------------------------------------------------------------------- */

void pm_init(struct pm_decoder *d)
{
    *d = (struct pm_decoder){0};
    jl_buf_init(&d->bytes, 2 * PM_DOCUMENT_MAX);
}

void pm_release(struct pm_decoder *d)
{
    jl_buf_release(&d->bytes);
}

void pm_forget(struct pm_decoder *d)
{
    d->bad += d->bytes.len > 0;
    jl_buf_drop(&d->bytes, d->bytes.len);
    d->scanned = 0;
}

static void drop(struct pm_decoder *d, size_t n)
{
    jl_buf_drop(&d->bytes, n);
    d->scanned = 0;
}

bool pm_feed(struct pm_decoder *d, const char *bytes, size_t n)
{
    if (d->bytes.len + n <= PM_DOCUMENT_MAX && jl_buf_add(&d->bytes, bytes, n))
        return true;
    d->bad++; /* the head of one sample and the tail of another would make a third */
    drop(d, d->bytes.len);
    return false;
}

/* Where the first sample in the buffer ends; 0: not yet. */
static size_t end_of_list(const struct pm_decoder *d)
{
    const char *all = d->bytes.data, *tag = find(all, d->bytes.len, LIST_END), *nul = memchr(all, '\0', d->bytes.len);
    if (nul && (!tag || nul < tag))
        return (size_t)(nul - all) + 1;
    return tag ? (size_t)(tag - all) + strlen(LIST_END) : 0;
}

/* A sample is whole when the next begins: nothing else tells. What is left of a list whose beginning was lost ends there too, and
 * at a NUL byte. */
static size_t end_of_text(const struct pm_decoder *d, bool ended)
{
    static const char *const heads[] = {NEXT_TEXT, "<?xml", "<plist"};
    const char *all = d->bytes.data, *nul = memchr(all, '\0', d->bytes.len);
    size_t end = nul ? (size_t)(nul - all) + 1 : SIZE_MAX;
    for (size_t i = 0; i < JL_COUNT(heads) && d->bytes.len > 1; i++) {
        const char *head = find(all + 1, d->bytes.len - 1, heads[i]);
        size_t at = head ? (size_t)(head - all) + (heads[i][0] == '\n') : SIZE_MAX;
        end = at < end ? at : end;
    }
    return end != SIZE_MAX ? end : ended ? d->bytes.len : 0;
}

/* Blank lines and NULs between samples. */
static void skip_blanks(struct pm_decoder *d)
{
    size_t n = 0;
    while (n < d->bytes.len && (d->bytes.data[n] == '\0' || strchr(" \t\r\n", d->bytes.data[n])))
        n++;
    if (n)
        drop(d, n);
}

bool pm_next(struct pm_decoder *d, bool ended, struct pm_span *out)
{
    for (;;) {
        skip_blanks(d);
        if (d->bytes.len == 0 || (d->scanned == d->bytes.len && !ended))
            return false;
        bool list = d->bytes.data[0] == '<';
        size_t n = list ? end_of_list(d) : end_of_text(d, ended);
        if (n == 0) {
            d->scanned = d->bytes.len;
            return false;
        }
        /* What stands before the first header describes the machine. */
        bool sample = list || find(d->bytes.data, n, HEADER);
        bool good = list ? pm_plist(d->bytes.data, n, out) : pm_text(d->bytes.data, n, out);
        d->bad += sample && !good;
        drop(d, n);
        if (good)
            return true;
    }
}
