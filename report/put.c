/* put.c - writing JSON member by member. */
#include "report/put.h"

#include <inttypes.h>
#include <math.h>

/* Bytes of the UTF-8 sequence at s, 0 if there is none (RFC 3629: no overlong forms, no surrogates). */
static size_t sequence(const unsigned char *s)
{
    size_t n = s[0] < 0x80                   ? 1
               : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
               : (s[0] & 0xf0) == 0xe0       ? 3
               : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                             : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool outside = (s[0] == 0xed && s[1] >= 0xa0) || (s[0] == 0xf4 && s[1] >= 0x90);
    return overlong || outside ? 0 : n;
}

static void quote(struct jl_buf *out, const char *s)
{
    jl_buf_str(out, "\"");
    for (const unsigned char *p = (const unsigned char *)s; *p;) {
        size_t n = sequence(p);
        if (n == 0)
            jl_buf_str(out, "\xef\xbf\xbd");
        else if (*p == '"' || *p == '\\')
            jl_buf_printf(out, "\\%c", *p);
        else if (*p < 0x20)
            jl_buf_printf(out, "\\u%04x", *p);
        else
            jl_buf_add(out, p, n);
        p += n ? n : 1;
    }
    jl_buf_str(out, "\"");
}

void put_sep(struct jl_buf *out)
{
    size_t n = out->len;
    while (n && (out->data[n - 1] == '\n' || out->data[n - 1] == ' '))
        n--;
    char last = n ? out->data[n - 1] : '{';
    if (last != '{' && last != '[' && last != ',' && last != ':')
        jl_buf_str(out, ",");
}

void put_key(struct jl_buf *out, const char *key)
{
    put_sep(out);
    quote(out, key);
    jl_buf_str(out, ":");
}

void put_value(struct jl_buf *out, const char *s)
{
    if (s)
        quote(out, s);
    else
        jl_buf_str(out, "null");
}

void put_string(struct jl_buf *out, const char *s)
{
    put_sep(out);
    put_value(out, s);
}

void put_text(struct jl_buf *out, const char *key, const char *text)
{
    put_key(out, key);
    put_value(out, text && *text ? text : NULL);
}

void put_real(struct jl_buf *out, const char *key, double x)
{
    put_key(out, key);
    if (isfinite(x))
        jl_buf_printf(out, "%.12g", x);
    else
        jl_buf_str(out, "null");
}

void put_count(struct jl_buf *out, const char *key, int64_t n)
{
    put_key(out, key);
    if (n >= 0)
        jl_buf_printf(out, "%" PRId64, n);
    else
        jl_buf_str(out, "null");
}

void put_bool(struct jl_buf *out, const char *key, bool on)
{
    put_key(out, key);
    jl_buf_str(out, on ? "true" : "false");
}

void put_time(struct jl_buf *out, const char *key, int64_t wall_ns)
{
    char time[40] = "";
    if (wall_ns)
        jl_format_time(time, sizeof time, wall_ns);
    put_text(out, key, time);
}

void put_begin(struct jl_buf *out, const char *key, char bracket)
{
    if (key)
        put_key(out, key);
    else
        put_sep(out);
    jl_buf_add(out, &bracket, 1);
}

void put_end(struct jl_buf *out, char bracket)
{
    jl_buf_add(out, &bracket, 1);
}

void put_energy(struct jl_buf *out, const char *key, const struct joulet_energy *e)
{
    put_begin(out, key, '{');
    put_real(out, "net_j", e->net_j);
    put_real(out, "net_pm_j", e->net_pm_j);
    put_real(out, "gross_j", e->gross_j);
    put_real(out, "gross_pm_j", e->gross_pm_j);
    put_real(out, "min_j", e->min_j);
    put_real(out, "max_j", e->max_j);
    put_real(out, "tail_j", e->tail_j);
    put_text(out, "provenance", isnan(e->gross_j) && isnan(e->net_j) ? NULL : joulet_provenance_name(e->provenance));
    put_text(out, "method", e->method);
    put_begin(out, "flags", '[');
    for (uint32_t bit = 1; bit; bit <<= 1)
        if (e->flags & bit && joulet_flag_name(bit))
            put_string(out, joulet_flag_name(bit));
    jl_buf_str(out, "]}");
}
