/* report.h - views of a stored record, one file per output form. Everything is drawn from the record alone. */
#ifndef REPORT_H
#define REPORT_H

#include "store/store.h"

struct report_style {
    bool utf8; /* else ASCII only */
    bool colour;
    int width; /* columns; 0: 100 */
};
/* s for a terminal or a table: no control characters, nothing that turns the direction of writing, characters beyond ASCII only
 * where the style has them. Malloc'ed. */
/* "12.4 mJ", "0.74 µs": three digits of x in `unit`; unknown "-". Returns buf. */
const char *report_si(char *buf, size_t size, double x, const char *unit);
char *report_clean(const char *s, const struct report_style *style);
int report_width(const char *s);               /* columns that s takes on a terminal */
size_t report_cut(const char *s, int columns); /* bytes of s that fit */
/* A turn of a chat in a few lines, so that the answer stays in sight. */
void report_turn(struct jl_buf *out, const struct run *r, const struct run_request *q, const struct report_style *style);
/* The energy block after `run`, `exec` and a chat. */
void report_block(struct jl_buf *out, const struct run *r, const struct run_request *q, const struct report_style *style);
/* The table of `bench`: windows, one line per prompt, sums by category and over all, provenance, where the record is. */
void report_table(struct jl_buf *out, const struct run *r, const struct report_style *style);
/* `runs show`: the table where there are several requests, else what was asked and answered, and the block. */
void report_run(struct jl_buf *out, const struct run *r, const struct report_style *style);
/* Net energy per output token as it is shown, and the lower end of its interval; false when it is not known. */
bool report_j_per_token(const struct run *r, double *j, double *lo);
/* `runs recompute`: figures before, from the newest `former`, beside those now; nothing without one. */
void report_recomputed(struct jl_buf *out, const struct run *r, const struct report_style *style);
/* `runs list`. */
void report_list(struct jl_buf *out, const struct store_row *rows, size_t n, const struct report_style *style);

/* A model as people call it: of the path of a file, as engines name one that was given no name, the file. */
const char *report_model_name(const char *name);

#endif
