/* stand_in.h - devices behind HTTP that play a power curve on the clock of this machine, with the faults of real ones. Composed
 * from the documentation of their makers, not recorded. */
#ifndef STAND_IN_H
#define STAND_IN_H

#include "lib/base/base.h"

enum stand_kind {
    STAND_GEN1,
    STAND_GEN2,
    STAND_PM1,
    STAND_TASMOTA,
    STAND_REDFISH,
    STAND_ENVIRONMENT,
    STAND_SUPPLIES, /* two power supplies that share the power, and an empty bay; each in a resource of its own */
    STAND_LINKED,   /* its environment is kept elsewhere */
    STAND_SCAPHANDRE
};
/* Whom it answers: "admin" with the password "se cret&1", or the session "t0ken". */
enum stand_guard { STAND_OPEN, STAND_BASIC, STAND_DIGEST, STAND_TOKEN, STAND_QUERY };
enum stand_fault { STAND_WELL, STAND_401, STAND_HTML, STAND_GARBAGE, STAND_SILENT, STAND_DEAD, STAND_REBOOTED, STAND_REDIRECT };

struct stand_in;
struct stand_in *stand_in_start(enum stand_kind kind, double watts, double watts_after);
void stand_in_stop(struct stand_in *s);
int stand_in_port(const struct stand_in *s);
void stand_in_step(struct stand_in *s);                         /* from now on watts_after */
void stand_in_fail(struct stand_in *s, enum stand_fault fault); /* from now on */
void stand_in_fail_once(struct stand_in *s, enum stand_fault fault,
                        int at); /* the request of that number, from 1, and no other */
void stand_in_guard(struct stand_in *s, enum stand_guard guard);
int stand_in_requests(const struct stand_in *s);
/* Waits until it has answered n in all. */
void stand_in_await_all(const struct stand_in *s, int n);
/* Waits until n more requests were answered. */
void stand_in_await(const struct stand_in *s, int n);

#endif
