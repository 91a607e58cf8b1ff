/* model.h - what the halves of `joulet model` share: files of our own (cmd_model.c) and models of an engine (model_engine.c). */
#ifndef CLI_MODEL_H
#define CLI_MODEL_H

#include "cli/cli.h"

const char *model_count(char *buf, size_t size, int64_t n); /* "1.2 G"; "-" unknown */
const char *model_bytes(char *buf, size_t size, int64_t n); /* "4.8 MB" */
void model_json_count(struct jl_buf *out, bool *first, const char *key, int64_t n);

bool model_is_engine_verb(const struct cli *c, const char *verb);
int model_engine_run(struct cli *c, const char *verb, const char *name /* NULL: not given */);

#endif
