/* quick.h - an engine on a free port for tests of the program, and the record of what was measured on it. */
#ifndef TEST_CLI_QUICK_H
#define TEST_CLI_QUICK_H

#include "run/run.h"
#include "tests/sim_engine/sim_engine.h"

struct quick {
    struct sim_engine *engine;
    char url[64];
};

void quick_start(struct quick *k, const struct sim_config *c);
void quick_open(struct quick *k, const char *fault); /* answers at once, with one fault or (NULL) none */
void quick_close(struct quick *k);

/* A record from a file of the scratch folder, and the newest of the program's store. */
void record_read(const char *name, struct run *r);
void record_last(struct run *r);

#endif
