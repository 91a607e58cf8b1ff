/* table.c - the protocols, in order of recognition: the special before the general (docs/adding-an-engine.md). */
#include "llm/engine.h"
#include "llm/engines/engines.h"

#include <stddef.h>

const struct engine_ops *const engine_table[] = {&engine_llamacpp, &engine_ollama,    &engine_lmstudio,  &engine_lmstudio_ws,
                                                 &engine_openai,   &engine_responses, &engine_anthropic, NULL};
