/* real_ollama.h - a real Ollama for tests, where tools/check-engines has put one: started in a folder of the test's own, with the
 * llama-server of joulet's own engine, or of PATH, as its runner. */
#ifndef TESTS_LLM_REAL_OLLAMA_H
#define TESTS_LLM_REAL_OLLAMA_H

#include "lib/platform/platform.h"

struct real_ollama {
    struct jl_process process;
    char program[4096], llama_server[4096], engine_dir[4096]; /* of the runner: on PATH, or the private engine's */
    char dir[512], url[64], models[576];
};

/* Looks where the environment says: before a test changes it. False: there is none, or no runner. */
bool real_ollama_find(struct real_ollama *o);
/* Starts it in the folder and waits until it answers. False: it did not; its log is on standard error. */
bool real_ollama_start(struct real_ollama *o, const char *dir);
void real_ollama_stop(struct real_ollama *o);
/* Status of a POST (DELETE of /api/delete). */
int real_ollama_post(const struct real_ollama *o, const char *path, const void *body, size_t n);
/* Makes a model of a GGUF file; false when it refused. */
bool real_ollama_create(const struct real_ollama *o, const char *name, const char *file);

#endif
