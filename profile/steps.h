/* steps.h - from the records of a probe to steps: one batch, whose tokens it was for, and what its parts took. And from steps to
 * what watching them cost. Pure. */
#ifndef PROFILE_STEPS_H
#define PROFILE_STEPS_H

#include "profile/ring.h"

#define STEP_THREADS   32
#define STEP_SEQUENCES 32

struct step_sequence {
    uint32_t id, tokens, position; /* position of the first token; WIRE_UNKNOWN */
};
struct profile_step {
    int64_t t0_ns, t1_ns;
    uint32_t number, context;
    uint32_t tokens; /* WIRE_UNKNOWN */
    uint32_t decoded,
        prefilled;        /* tokens of sequences with one token, with several; one that is a prompt's last cannot be told */
    uint32_t n_sequences; /* in it, also beyond those kept */
    struct step_sequence sequences[STEP_SEQUENCES];
    uint32_t graphs, watched, stops, nodes;
    enum wire_turn turn; /* WIRE_TURN_NONE but while the probe measures what it costs; of WIRE_TURN_OFF only t0, t1 and tokens */
    int64_t graph_ns, stretch_ns, stop_ns; /* stop_ns: between one stretch and the next, in the probe and the scheduler's loop */
    int64_t waited_ns;                     /* for devices that compute on their own, after the step before it: part of that one */
    int64_t open_ns, close_ns;             /* of watched graphs: before their first stretch, after their last */
    int64_t kind_ns[WIRE_KINDS];           /* of stretches, first executions */
    uint32_t kind_n[WIRE_KINDS];
    bool failed, repeated;
    bool vectors; /* what an encoder made of an image or a sound, in place of tokens of text */
};
struct steps {
    struct step_thread {
        uint32_t thread;
        bool used;
        struct profile_step open;
        struct step_graph {
            bool begun;
            uint32_t number, source, stretches;
            int64_t t0_ns, end_ns, between_ns; /* of its first stretch; of its last one so far; of what lies between them */
        } graph;                               /* whose stretches come */
    } threads[STEP_THREADS];
    uint64_t dropped; /* records of threads without room */
    uint64_t outside; /* graphs of no step, such as those of a vision encoder: no part of the steps between which they ran */
    int64_t outside_ns;
};
void steps_init(struct steps *s);
/* True when the record ended a step, which is then in *out. Records of stages pass by. */
bool steps_add(struct steps *s, const struct ring_record *r, struct profile_step *out);

/* What the stops of watched steps cost, from each decoding step against its two neighbours of the other kind (paired, so that
 * drift cancels). Steps in time order. */
struct step_cost {
    size_t pairs;
    double plain_s;                /* median of steps without stops; NAN without pairs */
    double extra_s, low_s, high_s; /* median of watched minus plain, and its 95 % interval by ranks */
    double stop_s;                 /* extra by stop; NAN */
};
bool steps_cost(const struct profile_step *steps, size_t n, struct step_cost *out); /* false: out of memory */
/* The same for steps in turns (probes/wire.h): those of one turn against the one without the probe among the same four, from the
 * begin of a step to that of the next one, and so with all that the engine does in between. stop_s stays NAN. */
bool steps_turn_cost(const struct profile_step *steps, size_t n, enum wire_turn turn, struct step_cost *out);

/* What of a stop lies inside the stretch that it ends: stop_s less what the clock saw between stretches, which none of them
 * holds. 0 where the cost is not known, or not above 0. On devices that compute on their own a stop waits for them, which no
 * stretch would: whoever uses times of stretches takes this off each of them first (by step_without_stops, or step_stretch_s of a
 * record). */
double step_stop_inside_s(const struct profile_step *watched, double stop_s);
double step_stretch_s(const struct ring_record *stretch, double inside_s); /* at least 0 */
/* Times of kinds, of all stretches and of graphs become what they would have been without stops; `stops` becomes 0. */
void step_without_stops(struct profile_step *p, double stop_s);

#endif
