/* metered.h - a server that meters, for tests: a simulated sensor, and what is told below /joulet/. */
#ifndef TESTS_METERED_H
#define TESTS_METERED_H

#include "server/metering.h"
#include "tests/server/front.h"

#include <jansson.h>
#include <pthread.h>

#define QUIET_NS ((int64_t)1500 * 1000000) /* for a first idle level */

struct metered_server {
    struct joulet *meter;
    struct metering *metering;
    struct server *server;
    struct server_upstream to;
    char url[64];
};

void open_metering_on(struct metered_server *s, const char *sim, const struct metering_options *what);
void open_metering(struct metered_server *s, const char *sim); /* on its first channel */
void close_metering(struct metered_server *s);                 /* and the server */

json_t *get(const struct server *s, const char *target, int status);
double number(const json_t *o, const char *key); /* NAN: null */
/* /joulet/energy once n requests are final and none is under way. */
json_t *settled(const struct server *s, double n);
void assert_conserved(const json_t *accounts);
char *post(const char *path, const char *body); /* malloc'ed */

struct asker {
    const struct server *server;
    char *request;
    pthread_t thread;
};

void *ask_one(void *asker); /* as a thread, or called */

#endif
