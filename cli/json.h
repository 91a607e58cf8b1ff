/* json.h - the little JSON that live rows and lists need; records are written by their own room. Unknown is null. */
#ifndef CLI_JSON_H
#define CLI_JSON_H

#include "lib/base/base.h"

void cli_json_string(struct jl_buf *out, const char *s); /* quoted; NULL: null; bytes that are not UTF-8 become U+FFFD */
void cli_json_number(struct jl_buf *out, double x);      /* 9 significant digits, NAN: null */
/* "key": before a value; a comma too unless *first, which is cleared. */
void cli_json_key(struct jl_buf *out, bool *first, const char *key);
/* The object of every energy, as in the record but without `u`. */
void cli_json_energy(struct jl_buf *out, const struct joulet_energy *e);
void cli_json_flags(struct jl_buf *out, uint32_t flags);

#endif
