/* ollama_private.h - what ollama.c and ollama_models.c share, and what tests and fuzzers reach of them. */
#ifndef LLM_OLLAMA_PRIVATE_H
#define LLM_OLLAMA_PRIVATE_H

#include "llm/engine_wire.h"
#include "llm/engines/engines.h"

/* OLLAMA_HOST as a server or a client may have it, into the address to ask. false: too long. */
bool ollama_host_url(const char *value, char *url, size_t size);
bool ollama_address(char *url, size_t size);

void ollama_put_keep_alive(json_t *root, const char *keep_alive);
enum joulet_status ollama_put_settings(json_t *root, const struct generation *q, struct joulet_error *err);

/* Bodies of /api/version, /api/tags, /api/ps (into a list of tags; or the first of it) and /api/show. *out is malloc'ed. */
bool ollama_read_version(const char *json, size_t n, char *version, size_t size);
enum joulet_status ollama_read_tags(const char *json, size_t n, struct engine_model **out, size_t *count,
                                    struct joulet_error *err);
void ollama_read_ps(const char *json, size_t n, struct engine_model *list, size_t count);
bool ollama_read_loaded(const char *json, size_t n, struct engine_model *m);
bool ollama_read_show(const char *json, size_t n, struct engine_model *m, char *path, size_t size);

enum joulet_status ollama_recognise(struct engine *e, struct joulet_error *err);
enum joulet_status ollama_models(struct engine *e, struct engine_model **out, size_t *n, struct joulet_error *err);
enum joulet_status ollama_details(struct engine *e, const char *model, struct engine_model *out, struct joulet_error *err);
enum joulet_status ollama_load(struct engine *e, const char *model, const struct generation *how, double *load_s,
                               struct joulet_error *err);
enum joulet_status ollama_unload(struct engine *e, const char *model, struct joulet_error *err);
enum joulet_status ollama_pull(struct engine *e, const char *model, engine_progress *on_progress, void *user,
                               struct joulet_error *err);

#endif
