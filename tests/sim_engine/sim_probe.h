/* sim_probe.h - a simulated engine with a simulated probe inside: steps made of stretches of known power, told in a ring file as
 * the probe of llama.cpp does, executed again when that is asked for. What a component really draws is watts times seconds of
 * its stretches. */
#ifndef SIM_PROBE_H
#define SIM_PROBE_H

#include "probes/wire.h"
#include "tests/sim_engine/sim_engine.h"

#define SIM_LAYERS 3

/* Of one stretch, of one layer where it is in layers; net of idle. Of several sequences in a step each further one adds a share
 * of the time and of the power: weights are read once for all of them. */
struct sim_part {
    enum wire_kind kind;
    double ms, watts;
    double more_time, more_power; /* for each further sequence */
};
extern const struct sim_part sim_parts[];
extern const size_t sim_part_count;
#define SIM_REST_MS          1.2 /* after each graph: sampling and the engine's loop */
#define SIM_REST_WATTS       15.0
#define SIM_IDLE_WATTS       20.0
#define SIM_LOAD_WATTS       80.0
#define SIM_TEXT_US          50.0 /* of a token, into one or out of it */
#define SIM_TOKENISE_WATTS   25.0
#define SIM_DETOKENISE_WATTS 40.0
#define SIM_WARM             0.8 /* looped, the head takes so much of its time */
#define SIM_WIDE             3.0 /* a prompt takes so many times as long as a token */
#define SIM_MORE_REST        0.4 /* for each further sequence */
/* What differs from engine to engine; zeroes, and slower 1, are the plain one. */
struct sim_probe_options {
    double slower;               /* factor on all times */
    bool refuses;                /* executes nothing again */
    int layers;                  /* 0: SIM_LAYERS */
    double last;                 /* factor on the power of the last of SIM_LAYERS; 0: 1 */
    double ffn, attention, head; /* of the times of these; 0: 1 */
    double context;              /* tokens in the cache with which attention takes twice its time; 0: it does not grow */
    bool text;                   /* tokenising before a prompt and detokenising after a token are told, and have routes */
    double prompt;               /* tokens of a prompt with which it takes twice its time; 0: it does not grow */
};
/* Net joules of all stretches of a kind in a step of n sequences that have so many tokens in the cache, and of the whole step.
 * WIRE_NONE: the rest. */
double sim_step_j(const struct sim_probe_options *o, enum wire_kind kind, size_t n, double position);
double sim_whole_step_j(const struct sim_probe_options *o, size_t n, double position);
/* Of a prompt of so many tokens, without the rest behind it. */
double sim_prompt_j(const struct sim_probe_options *o, double tokens);
/* The same of one token of the plain engine. */
double sim_component_j(enum wire_kind kind);
double sim_component_token_j(void);

struct sim_probe;
/* Makes the ring file in `folder`, as process pid; NULL: steps are told to nobody. */
struct sim_probe *sim_probe_open(const char *folder, const struct sim_probe_options *o);
void sim_probe_engine(struct sim_probe *p, struct sim_engine *e); /* whose curve it writes */
int64_t sim_probe_step(void *probe, int64_t t_ns, const struct sim_row *rows, size_t n);
int64_t sim_probe_text(void *probe, int64_t t_ns, int64_t tokens, bool back);
void sim_probe_close(struct sim_probe *p);

#endif
