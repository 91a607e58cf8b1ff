/* sim_probe.h - a simulated engine with a simulated probe inside: steps made of stretches of known power, told in a ring file as
 * the probe of llama.cpp does, executed again when that is asked for. What a component really draws is watts times seconds of
 * its stretches. */
#ifndef SIM_PROBE_H
#define SIM_PROBE_H

#include "probes/wire.h"
#include "tests/sim_engine/sim_engine.h"

#define SIM_LAYERS 3

/* Of one stretch, of one layer where it is in layers; net of idle. */
struct sim_part {
    enum wire_kind kind;
    double ms, watts;
};
extern const struct sim_part sim_parts[];
extern const size_t sim_part_count;
#define SIM_REST_MS    1.2 /* after each graph: sampling and the engine's loop */
#define SIM_REST_WATTS 15.0
#define SIM_IDLE_WATTS 20.0
#define SIM_LOAD_WATTS 80.0
#define SIM_WIDE       3.0 /* a prompt takes so many times as long as a token */
/* Net joules of all stretches of a kind in a token, and of the whole token. WIRE_NONE: the rest. */
double sim_component_j(enum wire_kind kind);
double sim_component_token_j(void);

struct sim_probe;
/* Makes the ring file in `folder`, as process pid. slower: factor on all times; refuses: executes nothing again. */
struct sim_probe *sim_probe_open(const char *folder, double slower, bool refuses);
void sim_probe_engine(struct sim_probe *p, struct sim_engine *e); /* whose curve it writes */
int64_t sim_probe_step(void *probe, int64_t t_ns, int64_t tokens, int64_t position);
void sim_probe_close(struct sim_probe *p);

#endif
