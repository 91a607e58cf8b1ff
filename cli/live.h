/* live.h - rows of power and energy (report/live.h) on a meter that a command opens. */
#ifndef CLI_LIVE_H
#define CLI_LIVE_H

#include "cli/cli.h"
#include "report/live.h"

/* Opens the meter and waits at most wait_s for vendor libraries; a machine without anything to read is an error like others. */
enum joulet_status live_try(struct live *l, const struct cli *c, int64_t poll_ns, double wait_s, struct joulet_error *err);
/* The same for a command that cannot go on without: CLI_DONE, or the exit code after printing the sentence.
 * --measured-only: CLI_NO_SENSOR when there is nothing but estimates. */
int live_open(struct live *l, const struct cli *c, int64_t poll_ns, double wait_s);
void live_close(struct live *l); /* and the meter */

#endif
