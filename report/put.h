/* put.h - writing JSON member by member: commas come by themselves, unknown is null. */
#ifndef REPORT_PUT_H
#define REPORT_PUT_H

#include "lib/base/base.h"

void put_sep(struct jl_buf *out); /* a comma where one is due */
void put_key(struct jl_buf *out, const char *key);
void put_value(struct jl_buf *out, const char *s);                    /* after put_key; NULL: null */
void put_string(struct jl_buf *out, const char *s);                   /* an element; NULL: null */
void put_text(struct jl_buf *out, const char *key, const char *text); /* NULL, "": null */
void put_real(struct jl_buf *out, const char *key, double x);         /* not finite: null */
void put_count(struct jl_buf *out, const char *key, int64_t n);       /* below 0: null */
void put_bool(struct jl_buf *out, const char *key, bool on);
void put_time(struct jl_buf *out, const char *key, int64_t wall_ns); /* 0: null */
/* The object of every energy, without `u`. */
void put_energy(struct jl_buf *out, const char *key, const struct joulet_energy *e);
void put_begin(struct jl_buf *out, const char *key, char bracket); /* key NULL: an element */
void put_end(struct jl_buf *out, char bracket);

#endif
