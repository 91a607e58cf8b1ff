/* beside.h - records to be compared: requests of known energy, with as much noise as the test wants. */
#ifndef TESTS_REPORT_BESIDE_H
#define TESTS_REPORT_BESIDE_H

#include "run/run.h"

/* A bench of one measured channel, "cpu0.package" by rapl. */
void beside_run(struct run *r, const char *id);
void beside_channel(struct run *r, const char *id, const char *sensor, enum joulet_provenance p);
/* A request of prompt `number` with this net energy on every channel in the total together; gross is 10 J more. A third of it is
 * prefill. cell -1: none. Borrowed, valid until the next. */
struct run_request *beside_request(struct run *r, int64_t number, int64_t repeat, int64_t cell, double net_j);

#endif
