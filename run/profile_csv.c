/* profile_csv.c - a profile as tables (RFC 4180, header row): a row for each component of each layer in each phase, one for each
 * phase without components, and the power over time beside it. Columns come from the rows of the JSON; unknown is an empty cell
 * (docs/profile-record.md). */
#include "run/profile_internal.h"

#include <math.h>
#include <string.h>

static enum joulet_status whole_table(const struct jl_buf *out, struct joulet_error *err)
{
    if (out->failed)
        return jl_fail(err, JOULET_LIMIT, "the table is longer than the %zu MiB that it may have; export JSON instead",
                       out->max >> 20);
    return jl_ok(err);
}

static void table_row(struct jl_buf *out, const struct run_profile_row *r)
{
    for (const struct field *f = profile_row_fields; f->key; f++) {
        if (f != profile_row_fields)
            jl_buf_str(out, ",");
        csv_field(out, (const char *)r + f->at, f);
    }
    jl_buf_str(out, "\r\n");
}

/* What lies in a phase that is not resolved has no energy. */
static void known_row(const struct run_profile *p, struct jl_buf *out, const struct run_profile_row *r)
{
    struct run_profile_row known = run_profile_known_row(p, r);
    table_row(out, &known);
}

static bool has_components(const struct run_profile *p, const char *phase)
{
    for (size_t i = 0; i < p->n_rows; i++)
        if (!strcmp(p->rows[i].phase, phase))
            return true;
    return false;
}

/* So that the table holds the whole: loading, host work, and phases into which nobody looked. */
static void rows_of_phases(const struct run_profile *p, struct jl_buf *out)
{
    for (size_t i = 0; i < p->n_phases; i++) {
        const struct run_profile_phase *x = &p->phases[i];
        bool resolved = run_profile_resolved(p, x->name);
        struct run_profile_row r = {.layer = -1,
                                    .seconds = x->seconds,
                                    .joules = resolved ? x->joules : NAN,
                                    .joules_pm = resolved ? x->joules_pm : NAN,
                                    .limit_j = run_profile_most(p, x),
                                    .flop = x->flop,
                                    .bytes = x->bytes};
        memcpy(r.phase, x->name, sizeof r.phase);
        if (!has_components(p, x->name))
            table_row(out, &r);
    }
}

enum joulet_status run_profile_to_csv(const struct run_profile *p, struct jl_buf *out, struct joulet_error *err)
{
    for (const struct field *f = profile_row_fields; f->key; f++)
        jl_buf_printf(out, "%s%s", f == profile_row_fields ? "" : ",", f->key);
    jl_buf_str(out, "\r\n");
    for (size_t i = 0; i < p->n_rows; i++)
        known_row(p, out, &p->rows[i]);
    rows_of_phases(p, out);
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
