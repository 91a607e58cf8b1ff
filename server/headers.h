/* headers.h - which headers go through a proxy and which end at it (RFC 9110, 7.6.1). Pure. */
#ifndef SERVER_HEADERS_H
#define SERVER_HEADERS_H

#include "net/net_server.h"

/* Of a request: all but those of the connection, framing, Host (made anew), Accept-Encoding (we read what comes), Expect
 * (answered here) and X-Joulet-*. out has room for n; returns how many. tunnel: Upgrade and its Connection stay. */
size_t headers_up(const struct net_header *in, size_t n, struct net_header *out, bool tunnel);
/* Of an answer: all but those of the connection, framing and X-Joulet-Request. */
size_t headers_down(const struct net_header *in, size_t n, struct net_header *out);

#endif
