/* tallies.h - how requests spread: time to the first token, duration, energy, energy per token, in buckets by model. A bounded
 * number of models; the rest is "other". */
#ifndef SERVER_TALLIES_H
#define SERVER_TALLIES_H

#include "lib/base/base.h"

#define TALLIES_MODELS  64 /* by name; one more is "other" */
#define TALLIES_BUCKETS 24 /* at most, of one histogram */

enum tally { TALLY_FIRST_TOKEN, TALLY_DURATION, TALLY_ENERGY, TALLY_TOKEN_ENERGY, TALLIES };

struct tallies;
struct tallies *tallies_open(void); /* NULL: no memory */
void tallies_close(struct tallies *t);
/* One request; NAN: not known, and left out. model NULL or "": "unknown". Any thread. */
void tallies_add(struct tallies *t, const char *model, const double value[TALLIES]);
/* All of them as families of Prometheus. Any thread. */
void tallies_write(struct tallies *t, struct jl_buf *out);

#endif
