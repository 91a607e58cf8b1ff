/* lmstudio.h - what the files of LM Studio share. */
#ifndef LLM_LMSTUDIO_H
#define LLM_LMSTUDIO_H

#include "llm/engines/engines.h"

/* lmstudio_models.c */
enum joulet_status lmstudio_recognise(struct engine *e, struct joulet_error *err);
enum joulet_status lmstudio_models(struct engine *e, struct engine_model **out, size_t *n, struct joulet_error *err);
enum joulet_status lmstudio_details(struct engine *e, const char *model, struct engine_model *out, struct joulet_error *err);
enum joulet_status lmstudio_load(struct engine *e, const char *model, const struct generation *how, double *load_s,
                                 struct joulet_error *err);
enum joulet_status lmstudio_unload(struct engine *e, const char *model, struct joulet_error *err);
enum joulet_status lmstudio_pull(struct engine *e, const char *model, engine_progress *on_progress, void *user,
                                 struct joulet_error *err);
bool lmstudio_has_v1(const struct engine *e);
bool lmstudio_take_token(struct engine *e); /* LM_API_TOKEN becomes its key; false: none, or not for it */
/* A body of /api/v1/models or /api/v0/models; JOULET_FORMAT when it is neither. *out malloc'ed. */
enum joulet_status lmstudio_read_models(const char *json, size_t n, struct engine_model **out, size_t *count,
                                        struct joulet_error *err);
/* lmstudio.c: a stop reason of v0 and of the SDK frames. */
void lmstudio_stop(struct generated *g, const char *why);

#endif
