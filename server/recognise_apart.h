/* recognise_apart.h - exchanges are recognised in a process of their own, so that whatever bytes do to the readers, the traffic
 * does not notice. What passes is gathered, handed over in one piece, and answered with what was found; the caller's thread waits
 * for that, never a stream. A process that dies or hangs is replaced: what it had under way is not wholly seen. */
#ifndef SERVER_RECOGNISE_APART_H
#define SERVER_RECOGNISE_APART_H

#include "server/recognise.h"

/* Told in the thread of the caller, in the order of what passed. `part`: 0 the exchange, others a request inside a tunnel, which
 * begins with `request` and ends with `end`. */
struct apart_told {
    void (*request)(void *state, uint32_t part, const struct recognised *r, int64_t t_ns); /* its request is known */
    /* So many tokens of the prompt are computed; share: so much of it, 0 to 1. */
    void (*progress)(void *state, uint32_t part, double done, bool share, int64_t t_ns);
    void (*prompt)(void *state, uint32_t part, double computed, double all);
    void (*piece)(void *state, uint32_t part, double tokens, bool thinking, int64_t t_ns);
    /* lost: the process was, and *r is what was known before. The last of this part; of part 0 `state` is not used again. */
    void (*end)(void *state, uint32_t part, const struct recognised *r, bool lost, int64_t t_ns);
    /* The frames of a tunnel are read from here on, or no more. */
    void (*reads)(void *state, bool reads, int64_t t_ns);
    void (*lost)(void *state); /* the process was, just now: what is inside a tunnel is over, too. May be NULL */
};

struct apart_options {
    double patience_s; /* for one piece; then it hangs; 0: 2 s */
    bool inside;       /* no process, as where the program cannot be run again: every call tells at once */
};
struct apart;
/* NULL: no memory. */
struct apart *apart_open(const struct apart_told *told, const struct apart_options *o);
void apart_close(struct apart *a); /* NULL is fine; what is under way is told no more */

/* An exchange; what it is called from here on. APART_NONE: no memory, or too many. */
#define APART_NONE UINT32_MAX
uint32_t apart_begin(struct apart *a, void *state, const char *method, const char *path);
void apart_request(struct apart *a, uint32_t x, const char *bytes, size_t n);
void apart_request_end(struct apart *a, uint32_t x, bool whole, int64_t t_ns);
void apart_head(struct apart *a, uint32_t x, int status, const struct net_header *headers, size_t n, int64_t t_ns);
void apart_chunk(struct apart *a, uint32_t x, bool from_client, const char *bytes, size_t n, int64_t t_ns);
void apart_end(struct apart *a, uint32_t x, bool whole, int64_t t_ns);
/* Everything so far is read and told before it returns, or is lost. */
void apart_flush(struct apart *a);
/* The same when it is worth it: an exchange begins to compute or ends, or something has waited for long, because waking the
 * process costs more than it does for a piece. Returns since when something waits; 0: nothing does. */
int64_t apart_pause(struct apart *a);

int64_t apart_pid(const struct apart *a);     /* -1: none runs */
uint64_t apart_losses(const struct apart *a); /* processes that died or hung */

/* The first thing of a `main` whose program can be run again for this: true when it is such a process, and *code is what it ends
 * with. Only then are recognisers run apart. */
bool apart_main(int argc, char **argv, int *code);

#endif
