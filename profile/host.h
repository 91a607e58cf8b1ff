/* host.h - what host work draws: an engine's tokenising, sampling and detokenising, each one thread's work of microseconds that
 * no sensor sees by itself. The first and the last can be run over and over for seconds (docs/method.md 8.11). Pure. */
#ifndef PROFILE_HOST_H
#define PROFILE_HOST_H

#include "profile/measure.h"

/* One work over and over. */
struct host_loop {
    double net_j, net_pm_j; /* above idle; half of the 95 % interval */
    double seconds;         /* 0: there was no such loop */
    double inside_s; /* of them inside the calls, as the probe tells; the others are HTTP, JSON, and waiting for each other */
};

enum host_source {
    HOST_UNKNOWN,
    HOST_LOOP, /* a loop of that work */
    HOST_REST, /* what no component draws in the steps of its phase, by the regression */
    HOST_OTHER /* loops of other host work */
};
const char *host_source_name(enum host_source s); /* "loop", "rest", "other" as in records; "" unknown; static */

/* Power of one work above idle, W. */
struct host_power {
    double w, pm_w; /* half of the 95 % interval; NAN unknown, or only a limit */
    double limit_w; /* what it is at most (97.5 %), where it is not resolved; NAN where it is */
    enum host_source source;
};

/* Mean power of a loop, and its interval as that of the power inside the calls: what else lies in the loop is work of one thread
 * too, and taken to draw half to one and a half times as much. */
void host_loop_power(const struct host_loop *loop, double *w, double *pm_w);

/* By the first of these that is known: its own loop; the rest of its phase, of which unit_s seconds of a token or prompt are this
 * work (0: none lies in it); but for sampling, while which threads that wait may spin as they do in no loop, the loops of others,
 * whose power then holds as if none of their time were of this work. loops: one for each work. */
void host_power(const struct host_loop loops[MEASURE_WORKS], const struct measure_result *phase, enum measure_work work,
                double unit_s, struct host_power *out);

/* What is to be taken out of the phase that the work lies in: a limit counts half, plus or minus half. 0 and 0 where nothing is
 * known: then it stays there. */
void host_taken(const struct host_power *p, double seconds, double *j, double *pm_j);

/* Seconds, and energy above idle with half of its 95 % interval, of host work or of what it lies in. */
struct host_part {
    double seconds, j, pm_j; /* NAN unknown */
};
/* Takes such work out of what it lies in; what is unknown stays so. Nothing goes below 0: an engine can tell less time than the
 * probe saw the work take in it, and loops can have drawn more than there is for that time. Joules that are missing widen pm_j.
 */
void host_leave(struct host_part *whole, const struct host_part *work);

#endif
