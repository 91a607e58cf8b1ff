/* serve_loop.h - streams whose pieces follow each other quickly, passed by one thread for many of them: a piece wakes no thread
 * of its own. The thread of each connection sleeps meanwhile, and goes on itself as soon as anything else than the next piece
 * happens. Knows sockets, and nothing of what passes. */
#ifndef NET_SERVE_LOOP_H
#define NET_SERVE_LOOP_H

#include "net/net.h"

struct serve_loop;
enum joulet_status serve_loop_open(struct serve_loop **out, struct joulet_error *err);
void serve_loop_close(struct serve_loop *l); /* nothing may be in it any more; NULL is fine */

/* Something can be read from the source: passes what is there, and waits for nothing. False: the stream goes back. */
typedef bool serve_loop_pass(void *user);
/* Returns when `pass` said so, when the sink's reader is gone, or when nothing came for a while: the caller goes on as it would
 * have without. */
void serve_loop_run(struct serve_loop *l, int source, int sink, serve_loop_pass *pass, void *user);

#endif
