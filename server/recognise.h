/* recognise.h - what an exchange was: one inference, embeddings, an image, or nothing to be metered; of which model, with how
 * many tokens, and when they came. From the bytes of the request and of the answer as they pass, in any cut, with bounded memory.
 * It believes nothing: whatever the bytes are, it ends with what could be known. */
#ifndef SERVER_RECOGNISE_H
#define SERVER_RECOGNISE_H

#include "llm/engine.h"

enum recognised_kind {
    RECOGNISED_OTHER, /* nothing that computes tokens: lists, health, pages */
    RECOGNISED_INFERENCE,
    RECOGNISED_EMBEDDINGS, /* prefill only */
    RECOGNISED_IMAGE,
    RECOGNISED_AUDIO,
    RECOGNISED_RERANK,
    RECOGNISED_LOAD,  /* of a model, asked for by itself */
    RECOGNISED_TUNNEL /* of another protocol than HTTP, as WebSocket */
};
const char *recognised_kind_name(enum recognised_kind k); /* "other", "inference", ...; static */

/* Where a number of tokens comes from, best first. */
enum recognised_source {
    RECOGNISED_TIMINGS, /* the engine's own times and counts */
    RECOGNISED_USAGE,   /* its usage */
    RECOGNISED_COUNTED, /* pieces of the answer, as they came */
    RECOGNISED_UNKNOWN
};
const char *recognised_source_name(enum recognised_source s); /* "timings", "usage", "counted", "unknown"; static */

struct recognised {
    enum recognised_kind kind;
    const char *protocol; /* "openai", "ollama", ...; "" for RECOGNISED_OTHER; static */
    char model[256];      /* as the client asked for it, else as the answer names it; "" not told */
    bool asks_stream;     /* of the request; `streams` of the answer */
    bool streams;
    bool asks_usage;      /* stream_options.include_usage */
    int64_t prompt_bytes; /* of the texts of the request; -1 not seen */
    size_t images;        /* asked for, at least 1 for RECOGNISED_IMAGE; those of the answer when it tells */
    double audio_s;       /* of RECOGNISED_AUDIO: how long the sound is, as told or as its head says; NAN: neither */
    int status;           /* of HTTP; 0: no answer */
    struct run_tokens tokens;
    int64_t computed; /* prompt tokens computed now; -1 not told */
    enum recognised_source prompt_source, generated_source;
    int64_t t_first_ns, t_answer_ns, t_last_ns; /* first piece, first after thinking, last; 0: none */
    size_t pieces;
    double server_prompt_s, server_decode_s, server_load_s, server_queue_s; /* NAN: not told */
    char finish[16]; /* "stop", "length", "tool", "error", ...; "" not told */
    char error[400]; /* in the engine's words; "" none */
    bool remote;     /* the engine only passed it on: the energy was spent elsewhere */
    bool done;       /* the answer said that it was whole */
    bool whole;      /* and nothing of the exchange is missing */
};

/* What is told while it goes on; any may be NULL. `tokens` of a piece: as many as it says, 1 when it says nothing. */
struct recognise_events {
    void (*request)(void *user, const struct recognised *r); /* kind, model, stream, prompt_bytes are known */
    void (*progress)(void *user, double done, int64_t t_ns); /* so many tokens of the prompt are computed, without cached ones */
    /* The engine told how many tokens the prompt has, and how many of them it computed: before the piece that came with it. */
    void (*prompt)(void *user, double computed, double all);
    void (*piece)(void *user, double tokens, bool thinking, int64_t t_ns);
    void *user;
};

struct recogniser;
/* Path, with or without a query, after the prefix of its upstream was taken off. NULL: no memory. */
struct recogniser *recogniser_open(const char *method, const char *path, const struct recognise_events *events);
void recogniser_close(struct recogniser *r); /* NULL is fine */
const struct recognised *recogniser_result(const struct recogniser *r);

void recogniser_request(struct recogniser *r, const char *bytes, size_t n);
void recogniser_request_end(struct recogniser *r, bool whole);
void recogniser_head(struct recogniser *r, int status, const struct net_header *headers, size_t n);
void recogniser_chunk(struct recogniser *r, const char *bytes, size_t n, int64_t t_ns);
void recogniser_end(struct recogniser *r, bool whole, int64_t t_ns);

/* What is known by method and path alone. */
void recognised_init(struct recognised *r, const char *method, const char *path);
/* The name of a protocol as a static text; "" when there is none of that name. */
const char *recognise_protocol(const char *name);
/* Kind of an exchange by its method and path alone. */
enum recognised_kind recognise_path(const char *method, const char *path);
/* Whether counts may be asked for at the end of its stream (splice_ask_usage). */
bool recognise_takes_usage(const char *method, const char *path);

#endif
