/* served.h - `joulet serve` as a user starts it, in a process of its own, and what it holds. */
#ifndef BENCH_SERVED_H
#define BENCH_SERVED_H

#include "lib/platform/platform.h"

#include <sys/types.h>

struct served {
    pid_t pid;
    int port;
    char folder[32]; /* its data */
};

/* A process that ends with this one. */
pid_t served_child(void);
/* Metering on, with a simulated sensor (--sim; NULL: 20 W). connections: 0 as it is by default. False: it did not start. */
bool served_start(struct served *s, int upstream_port, unsigned connections, const char *sim);
void served_stop(struct served *s); /* and removes its data */

/* What a process holds; NAN: not known. */
struct held {
    double resident_kb, share_kb; /* share: of pages that several use, its part (PSS) */
    double threads, files;
};
struct held served_held(pid_t pid);
pid_t served_recogniser(pid_t pid); /* its process; 0: none */

#endif
