/* session_factors.h - what a kWh emits, drinks and costs where this run takes place: from options to the factors of the record.
 */
#ifndef CLI_SESSION_FACTORS_H
#define CLI_SESSION_FACTORS_H

#include "cli/session.h"

struct session_factors;

/* Fills in run.factors; a place or a tariff that makes no sense is refused before anything is measured. CLI_DONE or an exit code.
 */
int session_factors_open(struct session *s);
/* Between two requests: asks the command of --grid-command again when 15 minutes have passed. */
void session_factors_tick(struct session *s);
/* At the end of the run: the values that held during it join the record. */
void session_factors_finish(struct session *s);
void session_factors_close(struct session *s);

#endif
