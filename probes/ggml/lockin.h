/* lockin.h - inside the probe: executing stretches again, called by the scheduler's callback and around its graphs. */
#ifndef PROBES_GGML_LOCKIN_H
#define PROBES_GGML_LOCKIN_H

#include "probes/ggml/layout.h"
#include "probes/ggml/scheduler.h"

bool lockin_wanted(void); /* by whoever started the engine, or reads the file */
void lockin_begin(struct scheduler *s, struct ggml_cgraph *g, const void *caller);
void lockin_before(struct scheduler *s, struct backend *b, struct ggml_cgraph *view); /* a stretch is about to run */
void lockin_after(struct scheduler *s);                                               /* it has run */
void lockin_turn(struct scheduler *s);                                                /* its graph has */
void lockin_forget(struct scheduler *s);                                              /* it is freed */

#endif
