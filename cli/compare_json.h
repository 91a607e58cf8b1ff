/* compare_json.h - a comparison as JSON (docs/comparing.md). */
#ifndef CLI_COMPARE_JSON_H
#define CLI_COMPARE_JSON_H

#include "report/comparison.h"

void compare_json(struct jl_buf *out, const struct comparison *c);

#endif
