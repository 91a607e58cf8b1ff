/* session_sink.h - carries samples from the meter's sink thread to the store. */
#ifndef CLI_SESSION_SINK_H
#define CLI_SESSION_SINK_H

#include "store/store.h"

struct session_sink;
struct session_sink *session_sink_open(void); /* NULL on no memory */
/* Until this is called, samples wait on the meter's thread. store NULL: samples are let go. Channels and run must outlive the
 * sink. */
void session_sink_start(struct session_sink *k, struct store *store, const struct run *run);
joulet_sink session_sink_samples; /* user: the sink */
/* True once writing has failed; *err says why. */
bool session_sink_failed(struct session_sink *k, struct joulet_error *err);
void session_sink_close(struct session_sink *k); /* after joulet_close */

#endif
