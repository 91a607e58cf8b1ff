/* csv.c - a record as a table (RFC 4180, header row): a row for the run, for each window of it, for each request and each window
 * of a request. Columns come from the rows of the JSON, so a figure has one name everywhere; docs/record.md lists them. Unknown
 * is an empty cell. Prompts and answers stay in the JSON. */
#include "run/internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* One line of the table: what it speaks of. */
struct line {
    const char *row;
    const struct run *run;
    const struct run_request *request; /* NULL none */
    const struct run_window *window;   /* NULL none */
    const struct run_energy *energy;
};

void csv_text(struct jl_buf *b, const char *s)
{
    if (!strpbrk(s, ",\"\r\n")) {
        jl_buf_str(b, s);
        return;
    }
    jl_buf_add(b, "\"", 1);
    for (; *s; s++)
        jl_buf_add(b, *s == '"' ? "\"\"" : s, *s == '"' ? 2 : 1);
    jl_buf_add(b, "\"", 1);
}

void csv_real(struct jl_buf *b, double x)
{
    if (isfinite(x))
        jl_buf_printf(b, "%.15g", x);
}

static void flags_cell(struct jl_buf *b, uint32_t flags)
{
    const char *sep = "";
    for (unsigned bit = 0; bit < 32; bit++) {
        const char *name = flags & 1u << bit ? joulet_flag_name(1u << bit) : NULL;
        if (!name)
            continue;
        jl_buf_printf(b, "%s%s", sep, name);
        sep = ";";
    }
}

static void pointed_text(struct jl_buf *b, const void *member)
{
    const char *s;
    memcpy(&s, member, sizeof s);
    if (s)
        csv_text(b, s);
}

void csv_field(struct jl_buf *b, const void *member, const struct field *f)
{
    int64_t i;
    switch (f->type) {
    case FIELD_REAL:
        csv_real(b, *(const double *)member);
        break;
    case FIELD_TIME:
    case FIELD_COUNT:
        i = *(const int64_t *)member;
        if (f->type == FIELD_TIME || i >= 0)
            jl_buf_printf(b, "%lld", (long long)i);
        break;
    case FIELD_BOOL:
        jl_buf_str(b, *(const bool *)member ? "true" : "false");
        break;
    case FIELD_CHARS:
        csv_text(b, member);
        break;
    case FIELD_NAME:
        csv_text(b, f->name(*(const unsigned *)member));
        break;
    case FIELD_MAYBE:
        i = *(const int64_t *)member;
        jl_buf_str(b, i < 0 ? "" : i ? "true" : "false");
        break;
    case FIELD_FLAGS:
        flags_cell(b, *(const uint32_t *)member);
        break;
    default:
        pointed_text(b, member);
        break;
    }
}

/* Texts too long for a table, the tail that the energy of the same line has too, and what windows have as well. */
static bool left_out(const struct field *rows, const struct field *f)
{
    return rows == request_fields && jl_word_in("prompt,answer,tail_j,cell,power_p50_w,power_p95_w", ',', f->key);
}

/* Columns of a struct by its rows. base NULL and names false: empty cells. names: the header. */
static void columns(struct jl_buf *b, const char *prefix, const struct field *rows, const void *base, bool names)
{
    for (const struct field *f = rows; f->key; f++) {
        const void *member = base ? (const char *)base + f->at : NULL;
        if (left_out(rows, f))
            continue;
        if (f->type == FIELD_OBJECT) {
            char longer[32];
            snprintf(longer, sizeof longer, "%s%s_", prefix, f->key);
            columns(b, longer, f->sub, member, names);
            continue;
        }
        jl_buf_str(b, ",");
        if (names)
            jl_buf_printf(b, "%s%s", prefix, f->key);
        else if (member)
            csv_field(b, member, f);
    }
}

/* The four figures of a group that a table needs. */
static void group_columns(struct jl_buf *b, unsigned g, const struct run_energy *e)
{
    const struct joulet_energy *x = e->has_group[g] ? &e->groups[g] : NULL;
    const double figures[] = {x ? x->net_j : NAN, x ? x->net_pm_j : NAN, x ? x->gross_j : NAN, x ? x->gross_pm_j : NAN};
    for (size_t i = 0; i < JL_COUNT(figures); i++) {
        jl_buf_str(b, ",");
        csv_real(b, figures[i]);
    }
}

/* Share of the processor time and the four figures of what goes with it. */
static void cpu_time_columns(struct jl_buf *b, const struct run_cpu_time *t)
{
    const struct joulet_energy *both[] = {&t->e_llm, &t->m_eff};
    const double shares[] = {t->share, t->share_pm, t->engine_s, t->busy_s};
    for (size_t i = 0; i < JL_COUNT(shares); i++) {
        jl_buf_str(b, ",");
        csv_real(b, shares[i]);
    }
    for (size_t k = 0; k < JL_COUNT(both); k++) {
        const double figures[] = {both[k]->net_j, both[k]->net_pm_j, both[k]->gross_j, both[k]->gross_pm_j};
        for (size_t i = 0; i < JL_COUNT(figures); i++) {
            jl_buf_str(b, ",");
            csv_real(b, figures[i]);
        }
    }
}

static void header(struct jl_buf *b)
{
    jl_buf_str(b, "run_id,kind,row,window,cell,cell_name,duration_s");
    columns(b, "", request_fields, NULL, true);
    columns(b, "", window_fields, NULL, true);
    columns(b, "", energy_fields, NULL, true);
    for (unsigned g = 0; g < JOULET_GROUP_COUNT; g++) {
        const char *name = joulet_group_name((enum joulet_group)g);
        jl_buf_printf(b, ",%s_net_j,%s_net_pm_j,%s_gross_j,%s_gross_pm_j", name, name, name, name);
    }
    jl_buf_str(b, ",cpu_time_share,cpu_time_share_pm,cpu_time_engine_s,cpu_time_busy_s");
    jl_buf_str(b, ",e_llm_net_j,e_llm_net_pm_j,e_llm_gross_j,e_llm_gross_pm_j");
    jl_buf_str(b, ",m_eff_net_j,m_eff_net_pm_j,m_eff_gross_j,m_eff_gross_pm_j,measured_at\r\n");
}

static void cpu_time_of(const struct line *l, struct run_cpu_time *out)
{
    if (l->window)
        *out = l->window->cpu_time;
    else if (l->request)
        *out = l->request->cpu_time;
    else
        run_cpu_time_of(l->run, out);
}

static double duration_s(const struct line *l)
{
    if (l->window)
        return run_window_s(l->window);
    return l->request ? run_request_s(l->request) : jl_s(l->run->end_ns - l->run->start_ns);
}

static void cell_columns(struct jl_buf *b, const struct line *l)
{
    int64_t i = l->request ? l->request->cell : l->window ? l->window->cell : -1;
    if (i < 0) {
        jl_buf_str(b, ",,");
        return;
    }
    jl_buf_printf(b, "%lld,", (long long)i);
    csv_text(b, (size_t)i < l->run->n_cells ? l->run->cells[i].name : "");
    jl_buf_str(b, ",");
}

static void put_line(struct jl_buf *b, const struct line *l)
{
    struct run_cpu_time cpu;
    cpu_time_of(l, &cpu);
    csv_text(b, l->run->id);
    jl_buf_str(b, ",");
    csv_text(b, l->run->kind);
    jl_buf_printf(b, ",%s,", l->row);
    csv_text(b, l->window ? l->window->name : "");
    jl_buf_str(b, ",");
    cell_columns(b, l);
    csv_real(b, duration_s(l));
    columns(b, "", request_fields, l->request, false);
    columns(b, "", window_fields, l->window, false);
    columns(b, "", energy_fields, &l->energy->total, false);
    for (unsigned g = 0; g < JOULET_GROUP_COUNT; g++)
        group_columns(b, g, l->energy);
    cpu_time_columns(b, &cpu);
    const char *at = run_pairs_get(&l->run->engine, "measured_at"); /* figures of different machines end up in one table */
    jl_buf_str(b, ",");
    csv_text(b, at ? at : "");
    jl_buf_str(b, "\r\n");
}

enum joulet_status run_to_csv(const struct run *r, struct jl_buf *out, struct joulet_error *err)
{
    header(out);
    put_line(out, &(struct line){.row = "run", .run = r, .energy = &r->energy});
    for (size_t i = 0; i < r->n_windows; i++)
        put_line(out, &(struct line){.row = "run_window", .run = r, .window = &r->windows[i], .energy = &r->windows[i].energy});
    for (size_t i = 0; i < r->n_requests; i++) {
        const struct run_request *q = &r->requests[i];
        put_line(out, &(struct line){.row = "request", .run = r, .request = q, .energy = &q->energy});
        for (size_t k = 0; k < q->n_windows; k++)
            put_line(
                out,
                &(struct line){
                    .row = "request_window", .run = r, .request = q, .window = &q->windows[k], .energy = &q->windows[k].energy});
        for (size_t k = 0; k < q->n_parts; k++)
            put_line(out,
                     &(struct line){
                         .row = "request_part", .run = r, .request = q, .window = &q->parts[k], .energy = &q->parts[k].energy});
    }
    if (out->failed)
        return jl_fail(err, JOULET_LIMIT, "the table is longer than the %zu MiB that it may have; export JSON instead",
                       out->max >> 20);
    return jl_ok(err);
}
