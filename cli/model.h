/* model.h - what the halves of `joulet model` share: files of our own (cmd_model.c) and models of an engine (model_engine.c). */
#ifndef CLI_MODEL_H
#define CLI_MODEL_H

#include "cli/cli.h"

const char *model_count(char *buf, size_t size, int64_t n); /* "1.2 G"; "-" unknown */
const char *model_bytes(char *buf, size_t size, int64_t n); /* "4.8 MB" */
void model_json_count(struct jl_buf *out, bool *first, const char *key, int64_t n);

/* FLOP and bytes by component of a token with `context` tokens in the cache, and of a prompt as long; 0: of 1024. */
void model_work_text(struct jl_buf *out, const char *path, int64_t context);
void model_work_json(struct jl_buf *out, const char *path, int64_t context); /* an object, or null when it is not counted */

bool model_is_engine_verb(const struct cli *c, const char *verb);
int model_engine_run(struct cli *c, const char *verb, const char *name /* NULL: not given */);

#endif
