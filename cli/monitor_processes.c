/* monitor_processes.c - `monitor --processes`: the CPU's energy by process, in proportion to processor time (docs/processes.md,
 * docs/method.md 6.4). Shares of time: blind to GPUs. What has no process any more, or never had one, is the rest. */
#include "cli/json.h"
#include "cli/monitor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_TOP = 5, JSON_TOP = 50 };

struct processes {
    struct jl_process_time *before;
    size_t n_before;
    double busy_s, total_s;
    struct process_row *rows; /* the largest share first; the rest is the last */
    size_t n;
    double cpu_w;
};

/* ---- one row ------------------------------------------------------------------------------------------------------ */

/* Power of the CPU in this row: its channels of the total, else those inside a wall meter. NAN when one is not known. */
static double cpu_power(const struct live *l)
{
    for (int in_total = 1; in_total >= 0; in_total--) {
        double w = 0;
        bool any = false;
        for (size_t i = 0; i < l->n; i++) {
            const struct joulet_channel *ch = &l->channels[i].ch;
            bool inner = strstr(ch->parent, "package") || strstr(ch->parent, "cpu");
            if (ch->group != JOULET_GROUP_CPU || !live_is_power(ch) || ch->in_total != (bool)in_total || (!in_total && inner))
                continue;
            w += l->channels[i].now;
            any = true;
        }
        if (any)
            return w;
    }
    return NAN;
}

static const struct jl_process_time *same(const struct processes *p, const struct jl_process_time *x)
{
    size_t lo = 0, hi = p->n_before;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (p->before[mid].pid < x->pid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < p->n_before && p->before[lo].pid == x->pid && p->before[lo].start == x->start ? &p->before[lo] : NULL;
}

static struct joulet_energy so_far(const struct processes *p, int64_t pid, uint64_t start)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->rows[i].pid == pid && p->rows[i].start == start)
            return p->rows[i].energy;
    return (struct joulet_energy)JOULET_ENERGY_UNKNOWN;
}

/* share: of the busy time of the row. */
static void fill(const struct processes *p, struct process_row *r, const struct joulet_cpu_use *use, double cpu_j)
{
    struct joulet_energy cpu = JOULET_ENERGY_UNKNOWN, part;
    cpu.gross_j = cpu_j;
    cpu.gross_pm_j = 0;
    joulet_cpu_share_of(use, &r->share);
    joulet_energy_of_share(&cpu, &r->share, &part);
    r->power_w = r->share.share * p->cpu_w;
    r->energy = so_far(p, r->pid, r->start);
    if (isfinite(part.gross_j))
        joulet_energy_chain(&r->energy, &part);
}

static int by_share(const void *a, const void *b)
{
    const struct process_row *x = a, *y = b;
    if ((x->pid == 0) != (y->pid == 0))
        return x->pid == 0 ? 1 : -1;
    double u = isnan(x->share.used_s) ? -1 : x->share.used_s, v = isnan(y->share.used_s) ? -1 : y->share.used_s;
    return u > v ? -1 : u < v ? 1 : x->pid < y->pid ? -1 : x->pid > y->pid;
}

static bool alive(const struct process_row *rows, size_t n, const struct process_row *r)
{
    for (size_t i = 0; i < n; i++)
        if (rows[i].pid == r->pid && rows[i].start == r->start)
            return true;
    return false;
}

/* What ended ones had goes to the rest, so that the energies still make up the whole. */
static void keep_ended(const struct processes *p, const struct process_row *rows, size_t n, struct process_row *rest)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->rows[i].pid && !isnan(p->rows[i].energy.gross_j) && !alive(rows, n, &p->rows[i]))
            joulet_energy_chain(&rest->energy, &p->rows[i].energy);
}

static void compute(struct processes *p, const struct jl_process_time *now, size_t n, double busy_s, double total_s, double dt_s)
{
    struct process_row *rows = calloc(n + 1, sizeof *rows);
    double tick_s = jl_tick_s(), left_s = busy_s - p->busy_s;
    struct joulet_cpu_use use = {.busy_s = left_s, .total_s = total_s - p->total_s, .tick_s = tick_s, .readings = 2};
    if (!rows)
        return;
    for (size_t i = 0; i < n; i++) {
        const struct jl_process_time *was = same(p, &now[i]);
        uint64_t before = was ? was->own : 0;
        rows[i].pid = now[i].pid;
        rows[i].start = now[i].start;
        memcpy(rows[i].name, now[i].name, sizeof rows[i].name);
        use.used_s = now[i].own > before ? (double)(now[i].own - before) * tick_s : 0;
        left_s -= use.used_s;
        fill(p, &rows[i], &use, p->cpu_w * dt_s);
    }
    snprintf(rows[n].name, sizeof rows[n].name, "rest");
    use.used_s = fmax(0, left_s);
    use.readings = 2 * (double)n;
    fill(p, &rows[n], &use, p->cpu_w * dt_s);
    keep_ended(p, rows, n, &rows[n]);
    qsort(rows, n + 1, sizeof *rows, by_share);
    free(p->rows);
    p->rows = rows;
    p->n = n + 1;
}

bool processes_row(struct processes *p, const struct live *l, double dt_s, struct joulet_error *err)
{
    struct jl_process_time *now;
    size_t n;
    double busy_s = NAN, total_s = NAN;
    if (jl_processes(&now, &n, err) != JOULET_OK)
        return false;
    if (!jl_cpu_time(&busy_s, &total_s))
        busy_s = total_s = NAN;
    p->cpu_w = cpu_power(l);
    if (p->before && dt_s > 0)
        compute(p, now, n, busy_s, total_s, dt_s);
    free(p->before);
    p->before = now;
    p->n_before = n;
    p->busy_s = busy_s;
    p->total_s = total_s;
    return true;
}

struct processes *processes_open(const struct live *l, struct joulet_error *err)
{
    struct processes *p = calloc(1, sizeof *p);
    if (!p)
        jl_fail(err, JOULET_MEMORY, "out of memory");
    else if (!processes_row(p, l, 0, err)) {
        free(p);
        p = NULL;
    }
    return p;
}

void processes_close(struct processes *p)
{
    if (!p)
        return;
    free(p->before);
    free(p->rows);
    free(p);
}

const struct process_row *processes_rows(const struct processes *p, size_t *n)
{
    *n = p->n;
    return p->rows;
}

/* ---- forms --------------------------------------------------------------------------------------------------------- */

/* Whoever starts a process names it: nothing of that may command the terminal. */
void process_name(const struct process_row *r, bool utf8, char *buf, size_t size)
{
    const struct report_style style = {.utf8 = utf8};
    char *clean = report_clean(r->name, &style);
    snprintf(buf, size, "%s", clean && *clean ? clean : "?");
    free(clean);
}

/* Nothing used, nothing shown. */
static bool busy(const struct process_row *r)
{
    return r->share.used_s > 0;
}

static void text_rows(struct jl_buf *out, const struct processes *p, const struct report_style *style)
{
    size_t shown = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct process_row *r = &p->rows[i];
        char energy[64], name[32];
        if (!busy(r) || (shown >= TEXT_TOP && r->pid))
            continue;
        joulet_format_j(energy, sizeof energy, r->energy.gross_j, NAN, style->utf8);
        process_name(r, style->utf8, name, sizeof name);
        jl_buf_printf(out, "    %5.1f %% of CPU time", r->share.share * 100);
        if (isfinite(r->power_w))
            jl_buf_printf(out, "  %8.2f W  %12s", r->power_w, energy);
        if (r->pid)
            jl_buf_printf(out, "  %s (%lld)\n", name, (long long)r->pid);
        else
            jl_buf_str(out, "  rest: ended, hidden, or the kernel's own\n");
        shown++;
    }
}

static void number(struct jl_buf *out, double x)
{
    if (isfinite(x))
        jl_buf_printf(out, ",%.9g", x);
    else
        jl_buf_str(out, ",-");
}

void processes_csv_header(struct jl_buf *out)
{
    jl_buf_str(out, "time,t_ns,dt_s,pid,name,cpu_s,cpu_share,cpu_share_pm,cpu_power_w,cpu_gross_j\n");
}

/* A name may hold anything but is at most 15 bytes. */
static void csv_name(struct jl_buf *out, const char *name)
{
    jl_buf_str(out, ",\"");
    for (; *name; name++)
        jl_buf_add(out, *name == '"' ? "\"\"" : name, *name == '"' ? 2 : 1);
    jl_buf_str(out, "\"");
}

static void csv_rows(struct jl_buf *out, const struct processes *p, const char *time, joulet_mark end, double dt_s)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct process_row *r = &p->rows[i];
        char name[16];
        if (!busy(r))
            continue;
        process_name(r, true, name, sizeof name);
        jl_buf_printf(out, "%s,%lld", time, (long long)end);
        number(out, dt_s);
        if (r->pid)
            jl_buf_printf(out, ",%lld", (long long)r->pid);
        else
            jl_buf_str(out, ",-");
        csv_name(out, name);
        number(out, r->share.used_s);
        number(out, r->share.share);
        number(out, r->share.share_pm);
        number(out, r->power_w);
        number(out, r->energy.gross_j);
        jl_buf_str(out, "\n");
    }
}

static void json_rows(struct jl_buf *out, const struct processes *p)
{
    size_t shown = 0;
    jl_buf_str(out, "[");
    for (size_t i = 0; i < p->n; i++) {
        const struct process_row *r = &p->rows[i];
        bool first = true;
        if (!busy(r) || (shown >= JSON_TOP && r->pid))
            continue;
        jl_buf_str(out, shown++ ? ",{" : "{");
        cli_json_key(out, &first, "pid");
        cli_json_number(out, r->pid ? (double)r->pid : NAN);
        cli_json_key(out, &first, "name");
        cli_json_string(out, r->name);
        const struct {
            const char *key;
            double x;
        } figures[] = {{"cpu_s", r->share.used_s},
                       {"cpu_share", r->share.share},
                       {"cpu_share_pm", r->share.share_pm},
                       {"cpu_power_w", r->power_w},
                       {"cpu_gross_j", r->energy.gross_j}};
        for (size_t k = 0; k < JL_COUNT(figures); k++) {
            cli_json_key(out, &first, figures[k].key);
            cli_json_number(out, figures[k].x);
        }
        jl_buf_str(out, "}");
    }
    jl_buf_str(out, "]");
}

void processes_write(struct jl_buf *out, const struct processes *p, enum monitor_form form, const char *time, joulet_mark end,
                     double dt_s, const struct report_style *style)
{
    if (form == MONITOR_JSON)
        json_rows(out, p);
    else if (form == MONITOR_CSV)
        csv_rows(out, p, time, end, dt_s);
    else
        text_rows(out, p, style);
}
