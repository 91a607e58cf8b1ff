/* recognise_wire.h - what goes between the program and the process that recognises: both are the same file, so numbers go as they
 * lie in memory. The program still believes nothing that comes back: the process may have been led astray by what it read. */
#ifndef SERVER_RECOGNISE_WIRE_H
#define SERVER_RECOGNISE_WIRE_H

#include "server/recognise.h"

enum apart_what { APART_BEGIN, APART_REQUEST, APART_REQUEST_END, APART_HEAD, APART_CHUNK, APART_CHUNK_UP, APART_END };
struct apart_record {
    uint32_t x, n; /* of which exchange; bytes behind it */
    int64_t t_ns;
    uint16_t status;
    uint8_t what, whole;
};

enum apart_reply_what {
    APART_TOLD_REQUEST,
    APART_TOLD_PROGRESS,
    APART_TOLD_PROMPT,
    APART_TOLD_PIECE,
    APART_TOLD_END,
    APART_TOLD_READS
};
struct apart_reply {
    uint32_t x, part;
    int64_t t_ns;
    double a, b;
    uint32_t n; /* bytes behind it: a recognised_wire, or none */
    uint8_t what, flag;
};

/* struct recognised without pointers, and with nothing that could be no value of its type. */
struct recognised_wire {
    int64_t prompt_bytes, images, prompt, cached, generated, reasoning, computed, t_first_ns, t_answer_ns, t_last_ns, pieces;
    double prompt_s, decode_s, load_s, queue_s, audio_s;
    int32_t kind, status, prompt_source, generated_source;
    uint8_t asks_stream, streams, asks_usage, remote, done, whole;
    char protocol[16], model[256], finish[16], error[400];
};
void recognised_to_wire(const struct recognised *r, struct recognised_wire *w);
void recognised_from_wire(const struct recognised_wire *w, struct recognised *r); /* any bytes give something that is one */

/* Reads records of exchanges and replies to them. */
struct apart_worker;
typedef void apart_replies(void *user, const struct apart_reply *r, const void *bytes);
struct apart_worker *apart_worker_open(apart_replies *replies, void *user); /* NULL: no memory */
void apart_worker_close(struct apart_worker *w);
/* False: it is no record that could have been sent. */
bool apart_worker_record(struct apart_worker *w, const struct apart_record *r, const char *bytes);

/* The process: reads pieces from its standard input and answers there, until it is closed. Returns its exit code. */
int apart_process(void);
#define APART_PIECE_MAX  ((size_t)1 << 20)   /* bytes of records handed over at once */
#define APART_ANSWER_MAX ((size_t)1 << 16)   /* of replies; more come in several */
#define APART_X_MAX      ((uint32_t)1 << 16) /* exchanges at a time */

#endif
