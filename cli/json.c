/* json.c - see json.h. */
#include "cli/json.h"

#include <math.h>
#include <string.h>

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

void cli_json_string(struct jl_buf *out, const char *s)
{
    if (!s) {
        jl_buf_str(out, "null");
        return;
    }
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

void cli_json_number(struct jl_buf *out, double x)
{
    if (isfinite(x))
        jl_buf_printf(out, "%.9g", x);
    else
        jl_buf_str(out, "null");
}

void cli_json_key(struct jl_buf *out, bool *first, const char *key)
{
    if (!*first)
        jl_buf_str(out, ",");
    *first = false;
    cli_json_string(out, key);
    jl_buf_str(out, ":");
}

void cli_json_flags(struct jl_buf *out, uint32_t flags)
{
    bool first = true;
    jl_buf_str(out, "[");
    for (uint32_t bit = 1; bit; bit <<= 1) {
        const char *name = flags & bit ? joulet_flag_name(bit) : NULL;
        if (!name)
            continue;
        jl_buf_str(out, first ? "" : ",");
        cli_json_string(out, name);
        first = false;
    }
    jl_buf_str(out, "]");
}

void cli_json_energy(struct jl_buf *out, const struct joulet_energy *e)
{
    const struct {
        const char *key;
        double value;
    } parts[] = {{"net_j", e->net_j}, {"net_pm_j", e->net_pm_j}, {"gross_j", e->gross_j}, {"gross_pm_j", e->gross_pm_j},
                 {"min_j", e->min_j}, {"max_j", e->max_j},       {"tail_j", e->tail_j}};
    bool first = true;
    jl_buf_str(out, "{");
    for (size_t i = 0; i < JL_COUNT(parts); i++) {
        cli_json_key(out, &first, parts[i].key);
        cli_json_number(out, parts[i].value);
    }
    cli_json_key(out, &first, "provenance");
    cli_json_string(out, joulet_provenance_name(e->provenance));
    cli_json_key(out, &first, "method");
    cli_json_string(out, e->method);
    cli_json_key(out, &first, "flags");
    cli_json_flags(out, e->flags);
    jl_buf_str(out, "}");
}
