/* monitor_rows.c - one row of `monitor` as a line of text, of CSV or as a JSON object; and the summary at the end. */
#include "cli/json.h"
#include "cli/monitor.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TIME_WIDTH = 12, LEAST_WIDTH = 9, TOTAL_WIDTH = 10, ENERGY_WIDTH = 20, SUMMARY_WIDTH = 8 };

/* ---- figures ------------------------------------------------------------------------------------------------------ */

static const char *watts(char *buf, size_t size, double w)
{
    if (isnan(w))
        snprintf(buf, size, "-");
    else
        snprintf(buf, size, "%.*f", fabs(w) < 100 ? 2 : fabs(w) < 1000 ? 1 : 0, w);
    return buf;
}

/* Wall clock of a moment of the meter. */
static int64_t wall_of(joulet_mark t)
{
    return t + jl_wall_ns() - jl_mono_ns();
}

static void utc(char *buf, size_t size, joulet_mark t)
{
    int64_t wall = wall_of(t);
    jl_format_time(buf, size, wall);
    size_t n = strlen(buf);
    if (n && buf[n - 1] == 'Z')
        snprintf(buf + n - 1, size - n + 1, ".%03dZ", (int)(wall % JL_NS_PER_S / 1000000));
}

static void local(char *buf, size_t size, joulet_mark t)
{
    int64_t wall = wall_of(t);
    time_t s = (time_t)(wall / JL_NS_PER_S);
    struct tm tm;
    localtime_r(&s, &tm);
    snprintf(buf, size, "%02d:%02d:%02d.%01d", tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(wall % JL_NS_PER_S / 100000000));
}

/* ---- columns ------------------------------------------------------------------------------------------------------ */

static size_t column_width(const char *name)
{
    size_t n = strlen(name);
    return n < LEAST_WIDTH ? LEAST_WIDTH : n;
}

static bool shown(const struct live_channel *x, struct monitor_columns columns)
{
    return live_is_power(&x->ch) && (x->ch.in_total || columns.what == COLUMNS_ALL);
}

/* The sum of a group in this row; false when nothing of the group is in the total. */
static bool group_power(const struct live *l, size_t group, double *w)
{
    bool any = false;
    *w = 0;
    for (size_t i = 0; i < l->n; i++) {
        if (l->channels[i].ch.in_total && (size_t)l->channels[i].ch.group == group) {
            *w += l->channels[i].now;
            any = true;
        }
    }
    return any;
}

struct monitor_columns monitor_columns_for(const struct live *l, const struct report_style *style)
{
    size_t room = (size_t)(style->width ? style->width : 100), fixed = TIME_WIDTH + TOTAL_WIDTH + ENERGY_WIDTH + 2;
    for (int what = COLUMNS_ALL; what < COLUMNS_GROUPS; what++) {
        struct monitor_columns columns = {.what = what};
        size_t used = fixed;
        for (size_t i = 0; i < l->n; i++)
            if (shown(&l->channels[i], columns))
                used += column_width(l->channels[i].ch.id) + 1;
        if (used <= room)
            return columns;
    }
    return (struct monitor_columns){.what = COLUMNS_GROUPS};
}

/* ---- text --------------------------------------------------------------------------------------------------------- */

static void text_header(struct jl_buf *out, const struct live *l, struct monitor_columns columns)
{
    double w;
    jl_buf_printf(out, "%-*s", TIME_WIDTH, "time");
    for (size_t g = 0; columns.what == COLUMNS_GROUPS && g < JOULET_GROUP_COUNT; g++)
        if (group_power(l, g, &w))
            jl_buf_printf(out, " %*s", LEAST_WIDTH, joulet_group_name((enum joulet_group)g));
    for (size_t i = 0; columns.what != COLUMNS_GROUPS && i < l->n; i++)
        if (shown(&l->channels[i], columns))
            jl_buf_printf(out, " %*s", (int)column_width(l->channels[i].ch.id), l->channels[i].ch.id);
    jl_buf_printf(out, " %*s %*s\n", TOTAL_WIDTH, "total (W)", ENERGY_WIDTH, "energy so far");
}

static void text_row(struct jl_buf *out, const struct live *l, joulet_mark from, struct monitor_columns columns, bool utf8)
{
    char text[64];
    double w;
    (void)from;
    local(text, sizeof text, l->last);
    jl_buf_printf(out, "%-*s", TIME_WIDTH, text);
    for (size_t g = 0; columns.what == COLUMNS_GROUPS && g < JOULET_GROUP_COUNT; g++)
        if (group_power(l, g, &w))
            jl_buf_printf(out, " %*s", LEAST_WIDTH, watts(text, sizeof text, w));
    for (size_t i = 0; columns.what != COLUMNS_GROUPS && i < l->n; i++)
        if (shown(&l->channels[i], columns))
            jl_buf_printf(out, " %*s", (int)column_width(l->channels[i].ch.id), watts(text, sizeof text, l->channels[i].now));
    jl_buf_printf(out, " %*s", TOTAL_WIDTH, watts(text, sizeof text, l->total_w));
    joulet_format_j(text, sizeof text, l->total.gross_j, l->total.gross_pm_j, utf8);
    /* printf pads by bytes: the sign has two */
    jl_buf_printf(out, " %*s\n", ENERGY_WIDTH + (strstr(text, "±") ? 1 : 0), text);
}

/* ---- CSV ---------------------------------------------------------------------------------------------------------- */

static void csv_header(struct jl_buf *out, const struct live *l)
{
    jl_buf_str(out, "time,t_ns,dt_s");
    for (size_t i = 0; i < l->n; i++) {
        const struct joulet_channel *ch = &l->channels[i].ch;
        jl_buf_printf(out, ",%s_%s", ch->id, live_si(ch->quantity));
        if (live_is_power(ch))
            jl_buf_printf(out, ",%s_gross_j", ch->id);
    }
    jl_buf_str(out, ",total_w,total_gross_j,total_gross_pm_j,provenance,flags\n");
}

static void csv_number(struct jl_buf *out, double x)
{
    if (isfinite(x))
        jl_buf_printf(out, ",%.9g", x);
    else
        jl_buf_str(out, ",-");
}

static void csv_row(struct jl_buf *out, const struct live *l, joulet_mark from)
{
    char text[40];
    utc(text, sizeof text, l->last);
    jl_buf_printf(out, "%s,%lld", text, (long long)l->last);
    csv_number(out, jl_s(l->last - from));
    for (size_t i = 0; i < l->n; i++) {
        csv_number(out, l->channels[i].now);
        if (live_is_power(&l->channels[i].ch))
            csv_number(out, l->channels[i].energy.gross_j);
    }
    csv_number(out, l->total_w);
    csv_number(out, l->total.gross_j);
    csv_number(out, l->total.gross_pm_j);
    jl_buf_printf(out, ",%s,", joulet_provenance_name(l->total.provenance));
    bool first = true;
    for (uint32_t bit = 1; bit; bit <<= 1) {
        const char *name = l->total.flags & bit ? joulet_flag_name(bit) : NULL;
        if (name)
            jl_buf_printf(out, "%s%s", first ? "" : ";", name);
        first = first && !name;
    }
    jl_buf_str(out, "\n");
}

/* ---- JSON --------------------------------------------------------------------------------------------------------- */

static void json_channels(struct jl_buf *out, const struct live *l)
{
    bool first = true;
    jl_buf_str(out, "{");
    for (size_t i = 0; i < l->n; i++) {
        const struct live_channel *x = &l->channels[i];
        char key[24];
        bool inner = true;
        cli_json_key(out, &first, x->ch.id);
        jl_buf_str(out, "{");
        snprintf(key, sizeof key, live_is_power(&x->ch) ? "power_%s" : "value_%s", live_si(x->ch.quantity));
        cli_json_key(out, &inner, key);
        cli_json_number(out, x->now);
        if (live_is_power(&x->ch)) {
            cli_json_key(out, &inner, "energy");
            cli_json_energy(out, &x->energy);
        }
        jl_buf_str(out, "}");
    }
    jl_buf_str(out, "}");
}

static void json_row(struct jl_buf *out, const struct live *l, joulet_mark from, const struct processes *processes)
{
    char text[40];
    bool first = true;
    utc(text, sizeof text, l->last);
    jl_buf_str(out, "{");
    cli_json_key(out, &first, "time");
    cli_json_string(out, text);
    cli_json_key(out, &first, "t_ns");
    jl_buf_printf(out, "%lld", (long long)l->last);
    cli_json_key(out, &first, "dt_s");
    cli_json_number(out, jl_s(l->last - from));
    cli_json_key(out, &first, "channels");
    json_channels(out, l);
    cli_json_key(out, &first, "total");
    jl_buf_str(out, "{\"power_w\":");
    cli_json_number(out, l->total_w);
    jl_buf_str(out, ",\"energy\":");
    cli_json_energy(out, &l->total);
    jl_buf_str(out, "}");
    if (processes) {
        cli_json_key(out, &first, "processes");
        processes_write(out, processes, MONITOR_JSON, text, l->last, jl_s(l->last - from), NULL);
    }
    jl_buf_str(out, "}\n");
}

/* ---- all forms ---------------------------------------------------------------------------------------------------- */

void monitor_header(struct jl_buf *out, const struct live *l, enum monitor_form form, struct monitor_columns columns)
{
    if (form == MONITOR_CSV)
        csv_header(out, l);
    else if (form == MONITOR_TEXT)
        text_header(out, l, columns);
}

void monitor_row(struct jl_buf *out, const struct live *l, joulet_mark from, enum monitor_form form,
                 struct monitor_columns columns, const struct processes *processes, const struct report_style *style)
{
    char time[40];
    if (form == MONITOR_JSON) {
        json_row(out, l, from, processes);
        return;
    }
    if (form == MONITOR_TEXT)
        text_row(out, l, from, columns, style->utf8);
    else if (!processes)
        csv_row(out, l, from);
    utc(time, sizeof time, l->last);
    if (processes)
        processes_write(out, processes, form, time, l->last, jl_s(l->last - from), style);
}

/* ---- summary ------------------------------------------------------------------------------------------------------ */

static void summary_line(struct jl_buf *out, const char *name, int width, const struct live_stats *s,
                         const struct joulet_energy *e, bool utf8)
{
    struct live_figures f;
    char text[64];
    live_stats_figures(s, &f);
    const double figures[] = {f.min_w, f.mean_w, f.p50_w, f.p95_w, f.max_w};
    jl_buf_printf(out, "%-*s", width, name);
    for (size_t i = 0; i < JL_COUNT(figures); i++)
        jl_buf_printf(out, " %*s", SUMMARY_WIDTH, watts(text, sizeof text, figures[i]));
    joulet_format_j(text, sizeof text, e->gross_j, e->gross_pm_j, utf8);
    jl_buf_printf(out, " %*s\n", ENERGY_WIDTH + (strstr(text, "±") ? 1 : 0), text);
}

static void add_note(char *buf, size_t size, const char *fmt, ...) JL_PRINTF(3, 4);
static void add_note(char *buf, size_t size, const char *fmt, ...)
{
    size_t n = strlen(buf);
    va_list ap;
    if (n && n < size)
        n += (size_t)snprintf(buf + n, size - n, "; ");
    va_start(ap, fmt);
    if (n < size)
        vsnprintf(buf + n, size - n, fmt, ap);
    va_end(ap);
}

void monitor_note(const struct live *l, char *buf, size_t size)
{
    double lo = INFINITY, hi = 0;
    bool simulated = false;
    buf[0] = '\0';
    for (size_t i = 0; i < l->n; i++)
        if (l->channels[i].silent && l->channels[i].ch.in_total)
            add_note(buf, size, "%s gives no new readings: its energy is that until the last one", l->channels[i].ch.id);
    if (l->total.flags & JOULET_FLAG_PARTIAL)
        add_note(buf, size, "the total lacks what %s; `joulet doctor` tells why",
                 l->refused ? "may not be read" : "gave no figure");
    for (size_t i = 0; i < l->n; i++) {
        const struct joulet_channel *ch = &l->channels[i].ch;
        if (ch->in_total && live_is_estimate(ch)) {
            lo = fmin(lo, ch->factor_lo);
            hi = fmax(hi, ch->factor_hi);
        }
        simulated |= ch->in_total && ch->provenance == JOULET_SIMULATED;
    }
    if (hi > 0)
        add_note(buf, size, "estimated: no sensor; the truth lies between %.2f and %.2f times these figures", lo, hi);
    if (simulated)
        add_note(buf, size, "simulated figures");
    if (l->total_stats.missing)
        add_note(buf, size, "%llu rows lack a figure (-)", (unsigned long long)l->total_stats.missing);
}

static void coverage(struct jl_buf *out, const struct live *l)
{
    char text[1024];
    struct joulet_channel *all = calloc(l->n + 1, sizeof *all);
    for (size_t i = 0; all && i < l->n; i++)
        all[i] = l->channels[i].ch;
    if (all && live_total_text(all, l->n, text, sizeof text)[0])
        jl_buf_printf(out, "the total %s\n", text);
    free(all);
}

void monitor_summary(struct jl_buf *out, const struct live *l, const struct report_style *style)
{
    static const char *const heads[] = {"min", "mean", "p50", "p95", "max"};
    double span_s = jl_s(l->last - l->start);
    char note[400];
    int width = 7;
    for (size_t i = 0; i < l->n; i++)
        if (live_is_power(&l->channels[i].ch) && (int)strlen(l->channels[i].ch.id) > width)
            width = (int)strlen(l->channels[i].ch.id);
    jl_buf_printf(out, "\n%-*s", width, "W");
    for (size_t i = 0; i < JL_COUNT(heads); i++)
        jl_buf_printf(out, " %*s", SUMMARY_WIDTH, heads[i]);
    jl_buf_printf(out, " %*s\n", ENERGY_WIDTH, "energy");
    for (size_t i = 0; i < l->n; i++)
        if (live_is_power(&l->channels[i].ch))
            summary_line(out, l->channels[i].ch.id, width, &l->channels[i].stats, &l->channels[i].energy, style->utf8);
    summary_line(out, "total", width, &l->total_stats, &l->total, style->utf8);
    jl_buf_printf(out, "%llu rows in %.3g s\n", (unsigned long long)(l->total_stats.rows + l->total_stats.missing), span_s);
    coverage(out, l);
    monitor_note(l, note, sizeof note);
    if (note[0])
        jl_buf_printf(out, "%s\n", note);
}
