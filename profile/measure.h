/* measure.h - from what a probe told and a sensor saw to the energy of components: gathers the stretches of steps while requests
 * run, with the samples of the same time, and lets libjoulet tell them apart (docs/method.md 8.2, 8.3). Its figures are those of
 * one token of decoding, or of one prompt. Bounded, whatever the length of the profile. */
#ifndef PROFILE_MEASURE_H
#define PROFILE_MEASURE_H

#include "profile/trigger.h"

/* What is told apart by power. The parts of a kind have its power. */
enum measure_kind {
    MEASURE_ATTENTION,
    MEASURE_FFN,
    MEASURE_HEAD,
    MEASURE_NORM,
    MEASURE_LAYER, /* whole layers, where no more is known */
    MEASURE_REST,  /* embedding, sampling, the engine's own loop; last */
    MEASURE_KINDS
};
enum measure_kind measure_kind_of(enum wire_kind k);
/* "attention", ..., "rest" as in records, of a stretch; static. */
const char *measure_component_name(enum wire_kind k);

enum measure_phase { MEASURE_PREFILL, MEASURE_DECODE, MEASURE_PHASES };

/* How the engine ran meanwhile. */
enum measure_pass {
    MEASURE_PLAIN,   /* no graph is stopped */
    MEASURE_PAIRED,  /* some are: what stops cost */
    MEASURE_WATCHED, /* all are */
    MEASURE_AGAIN,   /* all are, and stretches are executed again */
    MEASURE_SAMPLED, /* one in so many is, as the user wants it: times only */
    MEASURE_ASIDE,   /* no graph is stopped; of other prompts than the profile's */
    MEASURE_REPLAY,  /* after each graph one kind runs over and over: only those loops count */
    MEASURE_TEXT,    /* text and tokens are made of each other over and over, and no graph is computed: host work alone */
    MEASURE_PASSES
};

/* Host work: calls of one thread, outside of graphs. As run_profile_works names them. */
enum measure_work { MEASURE_TOKENISE, MEASURE_SAMPLE, MEASURE_DETOKENISE, MEASURE_WORKS };

#define MEASURE_LAYERS 1024
/* Kept for the regression of a phase. When half of it is full every second pass of each kind is dropped from it, and from then on
 * every second one is not kept: what is kept is of the whole profile, however long. In times all of them count. */
#define MEASURE_STRETCHES ((size_t)1 << 18)
#define MEASURE_SAMPLES   ((size_t)1 << 17)
#define MEASURE_KEPT      ((size_t)4096)    /* passes */
#define MEASURE_PENDING   ((size_t)1 << 17) /* stretches of a step: 1024 of them executed 64 times more, and as many again */
#define MEASURE_STEPS     ((size_t)8192)    /* kept for the cost of stops */
#define MEASURE_CHANNELS  8
#define MEASURE_LOOPS     ((size_t)64)
#define MEASURE_BUCKETS   18 /* of context: below 64 tokens, then doubling */

/* Seconds of a stretch's kind, by layer and part; [0] is outside of layers. */
struct measure_times {
    double s[WIRE_KINDS][WIRE_PARTS];
    double n[WIRE_KINDS][WIRE_PARTS]; /* stretches: each ended at a stop */
};
struct measure_of_phase {
    struct joulet_stretch *stretches;
    size_t n_stretches;
    struct joulet_stretch *unmodified;
    size_t n_unmodified;
    struct measure_times *layers; /* MEASURE_LAYERS + 1; NULL until something was told */
    double layer_units;           /* tokens or prompts that those are of */
    double first_s[MEASURE_KINDS], again_s[MEASURE_KINDS];
    uint64_t first_n[MEASURE_KINDS], again_n[MEASURE_KINDS];
    double kind_s[MEASURE_KINDS]; /* of unmodified steps that were watched; the rest too */
    double units, seconds;        /* tokens or prompts that those are of; their time */
    bool full;                    /* in this pass; */
    int64_t until_ns;             /* from then on nothing of it was kept */
    double repeat_to_s;           /* the end of the last stretch kept, of a repeat; 0 none */
};
struct measure_bucket {
    double kind_s[MEASURE_KINDS], tokens, positions; /* positions: their sum */
};
/* The sensor's samples in passes that count, each pass cut off from the next. */
struct measure_channel {
    struct joulet_trace trace; /* the strings of its channel are the meter's */
    double idle_w, u_idle_w;
};
/* A pass whose stretches and samples are kept for the regression. */
struct measure_kept {
    int64_t from_ns;
    enum measure_pass pass;
    bool drop;
};
/* A kind that ran over and over (8.8). */
struct measure_loop {
    enum measure_kind kind;
    int64_t from_ns, to_ns;
    double rounds, stretches, ran_s; /* over all layers; executions; without what lies between them */
};
struct measure {
    enum measure_pass pass;
    enum measure_pass source; /* the kind of pass that components come from */
    size_t sequences;         /* decoding counts where so many sequences have a token each; 0: however many */
    int64_t pass_from_ns;
    bool keeping; /* this pass */
    struct measure_kept *kept;
    size_t n_kept;
    uint64_t keep_every[MEASURE_PASSES], turns[MEASURE_PASSES]; /* one pass in so many; passes that could have been kept */
    struct trigger trigger;                                     /* steps that it does not want count nowhere */
    bool passed_by;                                             /* the last step of this pass was not wanted */
    bool attached;                                              /* who hands steps on has asked a trigger of his own */
    struct steps steps;
    struct ring_record pending[MEASURE_PENDING]; /* stretches of the step that has not ended */
    size_t n_pending;
    bool overflowed;            /* a step had more than there is room for: from it on nothing of this pass counts */
    uint64_t overflows;         /* passes in which that was so */
    struct profile_step before; /* the last decoding step of this pass */
    bool has_before, before_again;
    double before_kind_s[MEASURE_KINDS];
    struct measure_of_phase phases[MEASURE_PHASES];
    struct measure_channel channels[MEASURE_PHASES][MEASURE_CHANNELS];
    size_t n_channels;
    struct measure_bucket buckets[MEASURE_BUCKETS];
    struct profile_step *paired;
    size_t n_paired;
    struct measure_loop loops[MEASURE_LOOPS];
    size_t n_loops;
    double stretch_s, stop_s, graph_s;            /* of watched graphs without repeats; stop_s: between stretches */
    double load_s;                                /* in all passes */
    double host_s[MEASURE_PASSES][MEASURE_WORKS]; /* of what is in sums */
    int64_t prefill_from_ns, prefill_to_ns, decode_from_ns, decode_to_ns; /* of this pass; 0 none */
    uint64_t records, steps_seen, prompts[MEASURE_PASSES];
    double decoded[MEASURE_PASSES];  /* tokens by kind of pass */
    int layers;                      /* seen */
    bool flash, norm_inside, failed; /* failed: no memory */
};
enum joulet_status measure_open(struct measure **out, struct joulet_error *err);
void measure_close(struct measure *m);
/* From now on components come from passes of this kind; what was kept for the regression of others is dropped. */
void measure_from(struct measure *m, enum measure_pass source);
/* A request begins; records from before it do not count. Here what is kept for the regression is thinned out (measure_keep.c). */
void measure_begin(struct measure *m, enum measure_pass pass, int64_t from_ns);
void measure_record(struct measure *m, const struct ring_record *r);
void measure_end(struct measure *m);
/* Samples of one channel over the request that has ended: those of its prefill and its decode. */
void measure_samples(struct measure *m, size_t channel, const struct joulet_trace *t, double idle_w, double u_idle_w);

/* Of a pass that begins: whether it is kept for the regression; drops others when there are too many. */
bool measure_keep(struct measure *m, int64_t from_ns);

/* Seconds of each kind in a token of decoding without repetition; false when none was watched. */
bool measure_token(const struct measure *m, double token_s[MEASURE_KINDS]);
/* Seconds of a kind in `layers` of a phase, from `from` on (0: what is outside of layers too; 1: the first), over all its parts
 * and all tokens or prompts of layer_units; 0: nothing of it was seen. */
double measure_layers_s(const struct measure *m, enum measure_phase phase, enum measure_kind kind, int from);
/* What seconds of a kind in `layers` are multiplied by to be those of one token or prompt that counts: the last token of an
 * answer has no end, and is in `layers` alone. So the layers sum to what the kind has; where no token has an end they are as they
 * are. 0: nothing of it was seen. */
double measure_layers_scale(const struct measure *m, enum measure_phase phase, enum measure_kind kind);

#define MEASURE_COVERAGE 2.0 /* half of a 95 % interval over the standard uncertainty */
struct measure_result {
    enum joulet_components_path path;
    enum joulet_components_reason reason;
    bool known;                   /* false: nothing can be said, not even by time */
    double unit_s[MEASURE_KINDS]; /* of one token, or one prompt */
    double energy_j[MEASURE_KINDS], pm_j[MEASURE_KINDS], limit_j[MEASURE_KINDS]; /* pm: half of the 95 % interval; NAN unknown */
    double scatter_j[MEASURE_KINDS]; /* of pm_j what comes from the scatter of readings alone */
    double power_w[MEASURE_KINDS];
    bool limit_only[MEASURE_KINDS], warm[MEASURE_KINDS];
    bool unseen[MEASURE_KINDS]; /* hardly any reading holds it: limit_only, and limit_j is NAN until measure_limit_unseen */
    double condition, closure, lag_s, rise_s, measured_j;
    size_t windows;
};
/* What no reading shows took at most what a token or prompt took, unit_j +- unit_pm, less the others; NAN: unknown. */
void measure_limit_unseen(struct measure_result *r, double unit_j, double unit_pm);
/* The ratio to scale by, of one that is known to +- pm (95 %; NAN: of one pair, unknown): 1 where it does not surely differ from
 * that, since a few requests on a busy machine differ by more than a probe costs, and all components would move with them. Above
 * 1.5, and NAN, it stays as it is. */
double measure_scale(double ratio, double pm);
/* Whether that ratio is surely above 1.5: one that is not may be chance, though nothing is made of figures with it either. */
bool measure_costly(double ratio, double pm);
/* What that leaves open, as a share of every energy (95 %): that of the ratio where it was scaled by, else what the stops take at
 * most of a step, or the ratio's where that is less; 0 where neither is known. */
double measure_scale_pm(double ratio, double pm, double stops, double stops_pm);
/* ratio: J of a token with the probe over without, NAN not measured; pm: what it leaves open, 0 nothing. False: out of memory. */
bool measure_solve(const struct measure *m, enum measure_phase phase, double ratio, double pm, struct measure_result *out);
/* The same by time alone: unit_j is shared by seconds, each kind at the same power. */
void measure_by_time(const struct measure *m, enum measure_phase phase, double unit_j, struct measure_result *out);

/* Time of an execution in the loops of a kind over that of a first one; NAN: it was not looped, or never seen before. */
double measure_loop_ratio(const struct measure *m, enum measure_kind kind);

/* What of a stop lies inside the stretch that it ends (profile/steps.h), from the paired steps; 0 where their interval holds 0.
 * Times in records are without it. Energies are not freed of it here but by `ratio`, which holds the same stops. */
double measure_stop_s(const struct measure *m);

/* Repeats that a sensor of such readings needs; false: a token and its large pieces are long enough for it, or repeats cannot
 * help. */
bool measure_plan(const struct measure *m, double reading_s, struct ring_control *out);

#endif
