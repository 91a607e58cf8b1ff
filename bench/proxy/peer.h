/* peer.h - both ends of the proxy's bench: an upstream that stamps what it sends, and clients that look at the stamps. */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include "lib/platform/platform.h"

/* Serves for ever on a free port of loopback; returns it. A thread a connection. Targets hold:
 *   /q          a short answer
 *   /s/N/GAP    a stream of N stamped chunks, one every GAP microseconds
 *   /h          one stamped chunk, then silence until the client leaves
 *   /w          silence, as of a long prefill, until the client leaves */
int peer_listen(int *port);
void peer_serve(int listen_fd);
/* How often a silent answer (/h, /w) began, and when the last one saw its client leave: of an upstream in a child process, when
 * peer_share was called before that was made. */
struct peer_silence {
    _Atomic int64_t begun, left_ns;
};
struct peer_silence *peer_share(void); /* NULL: no memory */

/* In which order the ways take turns: 0 to n - 1. */
void peer_shuffle(int *order, int n, struct jl_rng *rng);

struct sample {
    double *s; /* seconds, unsorted */
    size_t n, cap;
};
void sample_add(struct sample *x, double s);
double sample_quantile(struct sample *x, double q); /* sorts; NAN when empty */
void sample_release(struct sample *x);

int peer_connect(int port);
/* One stream; adds the time from the upstream's stamp to here for each chunk. first_s: from sending the request (with a body of
 * that many bytes) to the first chunk. False: it did not come through. */
bool peer_stream(int fd, size_t body, unsigned n, unsigned gap_us, struct sample *chunks, double *first_s);
bool peer_ask_stream(int fd, size_t body, unsigned n, unsigned gap_us); /* the request alone */
bool peer_ask(int fd);                                                  /* one short request and its answer */
bool peer_hold(int fd);                                                 /* until the first chunk of a silent stream is there */
bool peer_wait(int fd);                                                 /* the request alone, of an answer that never begins */

/* Passes every connection of listen_fd on to the upstream, for ever. */
void relay_serve(int listen_fd, int upstream_port);

#endif
