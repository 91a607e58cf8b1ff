/* profile_csv.c - a profile as tables (RFC 4180, header row): a row for each component of each layer in each phase, and the power
 * over time beside it. Columns come from the rows of the JSON; unknown is an empty cell (docs/profile-record.md). */
#include "run/profile_internal.h"

static enum joulet_status whole_table(const struct jl_buf *out, struct joulet_error *err)
{
    if (out->failed)
        return jl_fail(err, JOULET_LIMIT, "the table is longer than the %zu MiB that it may have; export JSON instead",
                       out->max >> 20);
    return jl_ok(err);
}

enum joulet_status run_profile_to_csv(const struct run_profile *p, struct jl_buf *out, struct joulet_error *err)
{
    for (const struct field *f = profile_row_fields; f->key; f++)
        jl_buf_printf(out, "%s%s", f == profile_row_fields ? "" : ",", f->key);
    jl_buf_str(out, "\r\n");
    for (size_t i = 0; i < p->n_rows; i++) {
        for (const struct field *f = profile_row_fields; f->key; f++) {
            if (f != profile_row_fields)
                jl_buf_str(out, ",");
            csv_field(out, (const char *)&p->rows[i] + f->at, f);
        }
        jl_buf_str(out, "\r\n");
    }
    return whole_table(out, err);
}

enum joulet_status run_profile_trace_csv(const struct run_profile *p, struct jl_buf *out, struct joulet_error *err)
{
    jl_buf_str(out, "t_s,w,stage\r\n");
    for (size_t i = 0; i < p->n_trace; i++) {
        csv_real(out, p->trace[i].t_s);
        jl_buf_str(out, ",");
        csv_real(out, p->trace[i].w);
        jl_buf_str(out, ",");
        csv_text(out, run_profile_stage(p, i ? (p->trace[i - 1].t_s + p->trace[i].t_s) / 2 : p->trace[i].t_s));
        jl_buf_str(out, "\r\n");
    }
    return whole_table(out, err);
}
