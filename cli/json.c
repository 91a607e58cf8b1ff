/* json.c - see json.h. */
#include "cli/json.h"
#include "report/put.h"

#include <math.h>
#include <string.h>

void cli_json_string(struct jl_buf *out, const char *s)
{
    put_value(out, s);
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
