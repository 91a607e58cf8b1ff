/* recognise_private.h - what recognise*.c share. */
#ifndef SERVER_RECOGNISE_PRIVATE_H
#define SERVER_RECOGNISE_PRIVATE_H

#include "llm/engine_framing.h"
#include "llm/engine_wire.h"
#include "llm/engines/engines.h"
#include "server/recognise.h"

struct recogniser {
    struct recognise_events events;
    struct engine_ops own;        /* of its protocol */
    const struct engine_ops *ops; /* NULL: not metered */
    struct recognised result;
    struct generated g;
    struct framing framing;
    struct jl_buf request, body;
    int64_t t_ns;       /* of the bytes that are read */
    int64_t told;       /* prompt tokens computed, as told; -1 not yet */
    uint64_t body_n;    /* bytes of the answer */
    size_t done_images; /* of a stream */
    bool others;        /* more than one answer to a prompt came */
    bool scaled;        /* of them only the first was counted, and the others by their texts */
    bool binary;        /* the answer is sound or a picture: only its head is kept */
    bool nameless;      /* nor does the answer name the model */
    bool request_cut, only_text, thought, in_marks;
};

/* A body, or the beginning of one: model, what is asked for, how much text there is (recognise_request.c). */
void read_request(struct recognised *x, const char *body, size_t n, bool whole);
int64_t request_text_bytes(const json_t *v); /* of all texts in it; pictures are none */

/* Answers of other kinds than inference (recognise_whole.c). */
void read_choices(struct recogniser *r, const char *bytes, size_t n); /* a whole answer of OpenAI's protocol, when it was read */
void read_one_thing(struct recogniser *r, const char *bytes, size_t n, bool event);
void read_other_thing(struct recogniser *r, const char *bytes, size_t n);
/* Length of a WAV file by its head; NAN: it is none, or does not tell. */
double recognise_wav_s(const char *bytes, size_t n, uint64_t there);

/* What an event of a stream of pieces is, by some words in it (recognise_words.c). */
enum event_look {
    EVENT_MORE,    /* it must be read */
    EVENT_TEXT,    /* a piece of the answer, or of what the model thinks, and nothing else */
    EVENT_NOTHING, /* neither */
};
enum event_look look_at_event(const char *json, size_t n, bool *thinking);
bool json_is_whole(const char *json, size_t n);

#endif
