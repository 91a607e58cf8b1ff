/* recompute.h - stored traces measured again with the estimators of this joulet. */
#ifndef CLI_RECOMPUTE_H
#define CLI_RECOMPUTE_H

#include "cli/cli.h"

/* Measures run r again from its traces in s: its former figures go to r->former. The record in the store is not touched.
 * JOULET_NOT_FOUND, with the reason, when no samples of it are kept. */
enum joulet_status recompute_run(struct store *s, struct run *r, struct joulet_error *err);
/* Former and present figures of the run and of its parts. */
void recompute_json(struct jl_buf *out, const struct run *r, bool stored);

#endif
