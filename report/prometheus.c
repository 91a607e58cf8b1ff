/* prometheus.c - writes the text form of Prometheus (prometheus.io/docs/instrumenting/exposition_formats): values of labels have
 * backslash, quote and line end escaped and must be UTF-8; help has backslash and line end escaped. */
#include "report/prometheus.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Length of the UTF-8 character at s; 0: it is none, or one that may not stand alone (RFC 3629). */
static size_t character(const unsigned char *s)
{
    static const struct {
        unsigned char mask, is;
        size_t n;
        uint32_t least;
    } forms[] = {{0x80, 0x00, 1, 0}, {0xe0, 0xc0, 2, 0x80}, {0xf0, 0xe0, 3, 0x800}, {0xf8, 0xf0, 4, 0x10000}};
    for (size_t f = 0; f < JL_COUNT(forms); f++) {
        if ((s[0] & forms[f].mask) != forms[f].is)
            continue;
        uint32_t code = s[0] & (unsigned char)~forms[f].mask;
        for (size_t i = 1; i < forms[f].n; i++) {
            if ((s[i] & 0xc0) != 0x80)
                return 0;
            code = code << 6 | (s[i] & 0x3f);
        }
        bool good = code >= forms[f].least && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
        return good ? forms[f].n : 0;
    }
    return 0;
}

static void put_escaped(struct jl_buf *out, const char *text, bool quote)
{
    for (const unsigned char *s = (const unsigned char *)text; s && *s;) {
        size_t n = character(s);
        if (n == 0)
            jl_buf_str(out, "\xef\xbf\xbd"); /* U+FFFD */
        else if (*s == '\n')
            jl_buf_str(out, "\\n");
        else if (*s == '\\' || (quote && *s == '"'))
            jl_buf_printf(out, "\\%c", *s);
        else
            jl_buf_add(out, (const char *)s, n);
        s += n ? n : 1;
    }
}

static void put_value(struct jl_buf *out, double x)
{
    if (isinf(x))
        jl_buf_str(out, x > 0 ? "+Inf" : "-Inf");
    else
        jl_buf_printf(out, "%.15g", x);
}

void prometheus_family(struct jl_buf *out, const char *name, const char *type, const char *help)
{
    jl_buf_printf(out, "# HELP %s ", name);
    put_escaped(out, help, false);
    jl_buf_printf(out, "\n# TYPE %s %s\n", name, type);
}

static void put_name(struct jl_buf *out, const char *name, const char *suffix, const struct prometheus_label *labels, size_t n)
{
    jl_buf_printf(out, "%s%s", name, suffix);
    for (size_t i = 0; i < n; i++) {
        jl_buf_printf(out, "%s%s=\"", i ? "," : "{", labels[i].name);
        put_escaped(out, labels[i].value, true);
        jl_buf_str(out, "\"");
    }
    jl_buf_str(out, n ? "} " : " ");
}

static void put_sample(struct jl_buf *out, const char *name, const char *suffix, const struct prometheus_label *labels, size_t n,
                       double value)
{
    put_name(out, name, suffix, labels, n);
    put_value(out, value);
    jl_buf_str(out, "\n");
}

void prometheus_sample(struct jl_buf *out, const char *name, const struct prometheus_label *labels, size_t n, double value)
{
    if (!isnan(value))
        put_sample(out, name, "", labels, n, value);
}

void prometheus_histogram(struct jl_buf *out, const char *name, const struct prometheus_label *labels, size_t n,
                          const double *bounds, size_t n_bounds, const uint64_t *counts, double sum)
{
    struct prometheus_label with[PROMETHEUS_LABELS + 1];
    char bound[40];
    uint64_t count = 0;
    if (n)
        memcpy(with, labels, n * sizeof *with);
    for (size_t i = 0; i <= n_bounds; i++) {
        count += counts[i];
        snprintf(bound, sizeof bound, i < n_bounds ? "%.15g" : "+Inf", i < n_bounds ? bounds[i] : 0);
        with[n] = (struct prometheus_label){"le", bound};
        put_sample(out, name, "_bucket", with, n + 1, (double)count);
    }
    put_sample(out, name, "_sum", labels, n, sum);
    put_sample(out, name, "_count", labels, n, (double)count);
}
