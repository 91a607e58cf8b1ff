/* runtime_log.c - why llama-server ended, from its own words. The causes are those seen with llama.cpp 0.5.0 and 0.7.0. */
#include "llm/runtime_private.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *words, *remedy;
    bool port_taken;
} causes[] = {
    {"unknown model architecture",
     "this llama.cpp does not know that kind of model: `joulet engine install --force` gets a newer one", false},
    {"invalid magic", "give a GGUF file", false},
    {"not within the file bounds", "the file is cut off: copy it again", false},
    {"model is corrupted or incomplete", "the file is damaged: copy it again", false},
    {"requires flash_attn", "a quantised KV cache needs flash attention: switch it on, or take f16 as the type of the cache",
     false},
    {"std::bad_alloc", "there is not enough memory: use a smaller model, quantisation or --context", false},
    {"Cannot allocate memory", "there is not enough memory: use a smaller model, quantisation or --context", false},
    {"insufficient memory", "there is not enough memory: use a smaller model, quantisation or --context", false},
    {"out of memory", "there is not enough memory: use a smaller model, quantisation or --context, or fewer --gpu-layers", false},
    {"OutOfDeviceMemory", "there is not enough GPU memory: use a smaller model or fewer --gpu-layers", false},
    {"failed to allocate", "there is not enough memory: use a smaller model, quantisation or --context", false},
    {"unable to allocate", "there is not enough memory: use a smaller model, quantisation or --context", false},
    {"couldn't bind", "another program took the port: try again", true},
    {"invalid argument", "this llama-server does not know that option: check --engine-option", false},
    {"error while loading shared libraries",
     "the engine's libraries are not whole: `joulet engine install --force` gets them anew", false},
    {"backend is not loaded", "the engine found no compute backend: `joulet engine install --force` gets it anew", false},
    {"failed to open GGUF file", "check the path and its permissions", false},
};

/* "0.00.010.659 E srv  load_model: text" is "srv  load_model: text". */
static const char *without_stamp(const char *line, size_t *n)
{
    size_t i = 0;
    while (i < *n && (isdigit((unsigned char)line[i]) || line[i] == '.'))
        i++;
    if (i > 4 && i + 3 < *n && line[i] == ' ' && isupper((unsigned char)line[i + 1]) && line[i + 2] == ' ') {
        *n -= i + 3;
        return line + i + 3;
    }
    return line;
}

static void keep(struct telling *out, const char *line, size_t n)
{
    size_t used = 0;
    line = without_stamp(line, &n);
    for (size_t i = 0; i < n && used + 1 < sizeof(out->line); i++)
        out->line[used++] = isprint((unsigned char)line[i]) ? line[i] : '?';
    out->line[used] = '\0';
}

/* "#5  0x00007f... in ggml_abort () from ..." */
static bool is_backtrace(const char *line, size_t n)
{
    return n > 1 && line[0] == '#' && isdigit((unsigned char)line[1]);
}

/* Rank of a line: causes by their order, then what sounds like an error, then anything. Lower is more telling. */
static size_t rank(const char *line, size_t n)
{
    if (is_backtrace(line, n))
        return JL_COUNT(causes) + 2;
    for (size_t i = 0; i < JL_COUNT(causes); i++)
        if (memmem(line, n, causes[i].words, strlen(causes[i].words)))
            return i;
    static const char *const sounds[] = {"error", "Error", "ERROR", "failed", "Failed", " E ", "abort", "terminate"};
    for (size_t i = 0; i < JL_COUNT(sounds); i++)
        if (memmem(line, n, sounds[i], strlen(sounds[i])))
            return JL_COUNT(causes);
    return JL_COUNT(causes) + 1;
}

void runtime_telling(const char *log, size_t n, struct telling *out)
{
    size_t best = JL_COUNT(causes) + 3;
    const char *end = log + n;
    *out = (struct telling){.line = ""};
    while (log < end) {
        const char *stop = memchr(log, '\n', (size_t)(end - log));
        size_t len = (size_t)((stop ? stop : end) - log);
        size_t r = len ? rank(log, len) : SIZE_MAX;
        if (r < best || (r == best && r >= JL_COUNT(causes))) {
            best = r;
            keep(out, log, len);
        }
        log += len + (stop ? 1 : 0);
    }
    if (best < JL_COUNT(causes)) {
        out->remedy = causes[best].remedy;
        out->port_taken = causes[best].port_taken;
    }
}
