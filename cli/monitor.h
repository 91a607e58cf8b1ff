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
/* Header of text and CSV; nothing for JSON. */
void monitor_header(struct jl_buf *out, const struct live *l, enum monitor_form form, struct monitor_columns columns);
/* The row [from, l->last). */
void monitor_row(struct jl_buf *out, const struct live *l, joulet_mark from, enum monitor_form form,
                 struct monitor_columns columns, const struct report_style *style);
/* Rows, percentiles and energies, and where the figures come from. */
void monitor_summary(struct jl_buf *out, const struct live *l, const struct report_style *style);
/* One sentence about figures that are not measured, or lack a part; "" when there is nothing to say. */
void monitor_note(const struct live *l, char *buf, size_t size);

/* The live screen. False when there is no terminal for it or its module cannot be loaded. */
struct screen;
bool screen_open(struct screen **out, const struct live *l, const struct report_style *style, double interval_s);
/* A new row is in. */
void screen_row(struct screen *s, const struct live *l);
/* Shows and listens until t_ns; false when the user wants to end. */
bool screen_until(struct screen *s, const struct live *l, joulet_mark t_ns);
void screen_close(struct screen *s);

#endif
