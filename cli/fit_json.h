/* fit_json.h - a fit as JSON (docs/fitting.md). */
#ifndef CLI_FIT_JSON_H
#define CLI_FIT_JSON_H

#include "report/fit.h"

void fit_json(struct jl_buf *out, const struct fit *f);

#endif
