/* sim_internal.h - shared by the files of the simulated engine. */
#ifndef SIM_INTERNAL_H
#define SIM_INTERNAL_H

#include "tests/sim_engine/sim_engine.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

struct sim_connection {
    struct sim_engine *engine;
    int fd;
    pthread_t thread;
    atomic_bool ended;
    bool slow, broken; /* pieces of a few bytes; the client is gone */
    struct jl_buf in;
    struct sim_connection *next;
};

struct sim_http {
    char method[8], path[256], key[128];
    const char *body;
    size_t body_len;
    size_t total; /* bytes of the whole request in the buffer */
};

struct sim_engine {
    struct sim_config config;
    int listen_fd, port, curve_fd;
    FILE *truth;
    int64_t t_start_ns;
    atomic_bool stopping, dead;
    pthread_t acceptor;
    pthread_mutex_t lock; /* connections, truths, last body and prompt, counters */
    pthread_mutex_t slot; /* one generation at a time */
    struct sim_connection *connections;
    size_t n_connections;
    struct sim_truth *truths;
    size_t n_truths;
    int64_t n_generations, n_texts;
    char *last_body;
    char last_prompt[65];
    atomic_bool busy;
    struct sim_batch *batch; /* NULL: one generation at a time */
};

/* sim_http.c */
bool sim_read_request(struct sim_connection *c, struct sim_http *out);
bool sim_send(struct sim_connection *c, const void *bytes, size_t n);
void sim_reply(struct sim_connection *c, int status, const char *type, const char *body);
void sim_error(struct sim_connection *c, int status, const char *type, const char *message, const char *more);
bool sim_stream_begin(struct sim_connection *c);
bool sim_stream_piece(struct sim_connection *c, const char *bytes, size_t n);
void sim_stream_end(struct sim_connection *c);
/* false when the client has gone or the engine stops before then. */
bool sim_wait_until(struct sim_connection *c, int64_t t_ns);

/* sim_generate.c */
int64_t sim_count_words(const char *s);

/* sim_engine.c */
const struct sim_fault *sim_fault_of(const struct sim_engine *e, int64_t request, const char *name);
void sim_power(struct sim_engine *e, int64_t t_ns, double watts);
void sim_add_truth(struct sim_engine *e, const struct sim_truth *t);
void sim_die(struct sim_engine *e);

/* sim_batch.c */
struct sim_batch *sim_batch_open(struct sim_engine *e);
void sim_batch_stop(struct sim_batch *b);  /* who waits is let go */
void sim_batch_close(struct sim_batch *b); /* after that, and when nobody waits any more */
/* A slot for a generation, when one is free; -1: the engine stops. */
int sim_batch_take(struct sim_batch *b, int64_t prompt, int64_t cached, int64_t tokens);
/* Until so many of its tokens are made: when the last one was; -1: the engine stops. */
int64_t sim_batch_wait(struct sim_batch *b, int seat, int64_t made);
void sim_batch_leave(struct sim_batch *b, int seat);

/* sim_routes.c */
void sim_answer(struct sim_connection *c, const struct sim_http *q);
/* sim_generate.c */
void sim_generate(struct sim_connection *c, const struct sim_http *q);

#endif
