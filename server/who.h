/* who.h - who asks, and in which piece of work: from the headers of a request as the client sent them. Names are cleaned and cut,
 * and a key is nothing but a hash from here on. */
#ifndef SERVER_WHO_H
#define SERVER_WHO_H

#include "net/net_server.h"

#define WHO_SECRET 32 /* bytes */
#define WHO_NAME   64 /* of a tag or session, with its NUL: what is longer is cut */
#define WHO_CLIENT (WHO_NAME + 8)

struct who {
    char tag[WHO_NAME];     /* X-Joulet-Tag; "" none, as in all of these */
    char key[17];           /* of the API key: half of its HMAC-SHA-256, in hex; "unknown": it was not told apart */
    char address[48];       /* of the client, where it has neither tag nor key */
    char session[WHO_NAME]; /* X-Joulet-Session, else the trace */
    char parent[WHO_NAME];  /* X-Joulet-Parent, else the parent of traceparent: a request's id, a span, or a session */
    char trace[33];         /* of traceparent (W3C Trace Context) */
};
/* secret NULL: there is none, and keys are not told apart. */
void who_read(struct who *w, const uint8_t *secret, const struct net_header *headers, size_t n, const char *peer);
/* "tag:NAME", "key:HASH" or "addr:ADDRESS": the first of them that is known. */
void who_client(const struct who *w, char out[WHO_CLIENT]);
/* version-trace-parent-flags; false: it is none, and nobody's. */
bool who_traceparent(const char *value, char trace[33], char parent[17]);

/* The secret of this installation, made when there is none: "<data>/client-keys.secret", for its owner alone. */
enum joulet_status who_secret(uint8_t secret[WHO_SECRET], struct joulet_error *err);

#endif
