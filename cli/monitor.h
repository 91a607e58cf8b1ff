/* monitor.h - rows of `monitor` in their forms, and its live screen. */
#ifndef CLI_MONITOR_H
#define CLI_MONITOR_H

#include "cli/live.h"

enum monitor_form { MONITOR_TEXT, MONITOR_CSV, MONITOR_JSON };

/* Which figures a line of text has room for: every channel that draws power, else those in the total, else their groups. */
struct monitor_columns {
    enum { COLUMNS_ALL, COLUMNS_TOTAL, COLUMNS_GROUPS } what;
};

struct monitor_columns monitor_columns_for(const struct live *l, const struct report_style *style);
/* The CPU's energy by process (monitor_processes.c). */
struct process_row {
    int64_t pid; /* 0: the rest */
    uint64_t start;
    char name[16];
    struct joulet_cpu_share share; /* of the busy time in this row */
    double power_w;                /* that share of the CPU's power */
    struct joulet_energy energy;   /* gross, since the first row */
};
struct processes;
struct processes *processes_open(const struct live *l, struct joulet_error *err); /* NULL on failure */
bool processes_row(struct processes *p, const struct live *l, double dt_s, struct joulet_error *err);
const struct process_row *processes_rows(const struct processes *p, size_t *n); /* largest share first, the rest last */
void processes_csv_header(struct jl_buf *out);
void process_name(const struct process_row *r, bool utf8, char *buf, size_t size); /* as it may be shown */
/* JSON: the value of the key "processes"; CSV: a line for each; text: the largest, indented. */
void processes_write(struct jl_buf *out, const struct processes *p, enum monitor_form form, const char *time, joulet_mark end,
                     double dt_s, const struct report_style *style);
void processes_close(struct processes *p); /* NULL is fine */

/* Header of text and CSV; nothing for JSON. */
void monitor_header(struct jl_buf *out, const struct live *l, enum monitor_form form, struct monitor_columns columns);
/* The row [from, l->last). */
void monitor_row(struct jl_buf *out, const struct live *l, joulet_mark from, enum monitor_form form,
                 struct monitor_columns columns, const struct processes *processes, const struct report_style *style);
/* Rows, percentiles and energies, and where the figures come from. */
void monitor_summary(struct jl_buf *out, const struct live *l, const struct report_style *style);
/* One sentence about figures that are not measured, or lack a part; "" when there is nothing to say. */
void monitor_note(const struct live *l, char *buf, size_t size);

/* The live screen. False when there is no terminal for it or its module cannot be loaded. */
struct screen;
bool screen_open(struct screen **out, const struct live *l, bool processes, const struct report_style *style, double interval_s);
/* A new row is in; processes NULL: none. */
void screen_row(struct screen *s, const struct live *l, const struct processes *processes);
/* Shows and listens until t_ns; false when the user wants to end. */
bool screen_until(struct screen *s, const struct live *l, joulet_mark t_ns);
void screen_close(struct screen *s);

#endif
