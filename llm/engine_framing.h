/* engine_framing.h - cuts a stream into events. */
#ifndef LLM_ENGINE_FRAMING_H
#define LLM_ENGINE_FRAMING_H

#include "llm/engine.h"

/* Longest line and longest event: a last event repeats the prompt, so it may be long; more is no answer to us. */
#define FRAMING_MAX ((size_t)16 << 20)

enum frame_kind {
    FRAME_DATA,  /* data of an event, or a line of NDJSON */
    FRAME_ERROR, /* value of a line "error: ..." (older llama.cpp) */
    FRAME_TAIL,  /* as FRAME_DATA, but the stream ended inside it: may be cut */
};

struct framing {
    enum engine_framing how;
    struct jl_buf line, data;
    bool has_data, after_cr, begun;
    bool overflow; /* a line or event above FRAMING_MAX, or no memory: nothing is read any more */
    void (*on_event)(void *user, enum frame_kind kind, const char *bytes, size_t n);
    void *user;
};
void framing_init(struct framing *f, enum engine_framing how, void (*on_event)(void *, enum frame_kind, const char *, size_t),
                  void *user);
void framing_bytes(struct framing *f, const char *bytes, size_t n);
void framing_end(struct framing *f);
void framing_release(struct framing *f);

#endif
