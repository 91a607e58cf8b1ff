/* session_shape.h - percentiles of power and the ramp of a window, and the thinking and the answer of a decode (9). */
#ifndef CLI_SESSION_SHAPE_H
#define CLI_SESSION_SHAPE_H

#include "cli/session.h"

void session_shape(struct session *s, struct run_window *w);          /* fills in power_p50_w, power_p95_w, ramp_s */
void session_request_shape(struct session *s, struct run_request *q); /* over all its windows; n_windows > 0 */
/* Parts that were measured apart made to sum to the decode, channel by channel. */
void session_share(struct session *s, struct run_window *parts, size_t n, const struct run_window *decode);

#endif
