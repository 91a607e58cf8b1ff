/* profile.h - the record of a profile: which stages, layers and components of a model used the energy, and how we know. The one
 * module that reads and writes its JSON and CSV. Schema "joulet.profile/1", documented in docs/profile-record.md, JSON Schema in
 * run/schema/joulet.profile-1.json. */
#ifndef RUN_PROFILE_H
#define RUN_PROFILE_H

#include "run/run.h"

#define RUN_PROFILE_SCHEMA "joulet.profile/1"

enum {
    RUN_PROFILE_PHASES_MAX = 100,
    RUN_PROFILE_ROWS_MAX = 200000,
    RUN_PROFILE_POINTS_MAX = 10000,
    RUN_PROFILE_TRACE_MAX = 100000,
    RUN_PROFILE_SPANS_MAX = 100000,
    RUN_PROFILE_ADVICE_MAX = 100,
    RUN_PROFILE_REPLAY_MAX = 100,
    RUN_PROFILE_HOST_MAX = 100
};
#define RUN_PROFILE_ALL_LAYERS (-2)
#define RUN_PROFILE_LAYERS_MAX 4096 /* of a model */

/* Energies are net of the idle level, in J, over the whole phase as the engine runs without the probe. NAN unknown. */
struct run_profile_phase {
    char name[16];            /* "load", "tokenise", "prefill", "decode", "sample", "detokenise" */
    int64_t tokens, steps;    /* that it was for; -1 does not apply */
    double seconds;           /* sum of its spans */
    double joules, joules_pm; /* half of the 95 % interval */
    double limit_j;           /* upper limit, 97.5 %, where joules are not resolved; NAN where they are, or nothing is known */
    char power_of[8];         /* of tokenise, sample, detokenise, which have the power of: "loop", "rest", "other"; "" else */
    double flop, bytes;       /* of the model's shapes; NAN where they say nothing */
    bool memory_bound;        /* by the roofline; false also where the machine is not known */
    double least_s;           /* roofline time; NAN */
    /* As of all layers of the shape, where the model was made with fewer (run_profile_whole_phase); NAN: it has them all. */
    double scaled_joules, scaled_joules_pm, scaled_seconds;
};

/* One component of one layer in one phase. */
struct run_profile_row {
    char phase[16];
    int64_t layer;      /* -1: all layers together, or a component that belongs to none */
    char component[24]; /* "embedding", "attention_norm", "attention", "ffn_norm", "ffn", "output_norm", "head", "rest" */
    char part[24];      /* below it, at level nodes: "qkv", "rope", "kv_write", "scores", ...; "" the whole component */
    double seconds;
    double joules, joules_pm; /* NAN for an upper limit only */
    double limit_j;           /* upper limit, 97.5 %; NAN where the figure itself stands */
    double flop, bytes;
};

/* Energy of a token against what was varied. */
struct run_profile_point {
    char series[16]; /* "position", "batch", "prompt", "model" */
    char phase[16];
    char component[24]; /* "" all */
    char label[48];     /* of a model that was changed: "layers 15"; "" else */
    double x;           /* tokens in the context, sequences at once, tokens of the prompt; of a model its place */
    double tokens;
    double seconds, joules, joules_pm; /* of one token */
    double limit_j;                    /* what it is at most (97.5 %), where joules are not resolved; NAN */
};

struct run_profile_sample {
    double t_s, w; /* since the start; gross power between the last sample and this one */
};
struct run_profile_span {
    char stage[16]; /* as a phase, or "idle", "wait", "replay" */
    double from_s, to_s;
};

struct run_profile_advice {
    char rule[24], why[240], action[160];
    double saving, saving_pm; /* share of the J of prefill and decode; of "keep_alive" with loads */
    char bench[240], compare[120];
};

/* One kind of component that was executed over and over, beside what was found for it in tokens: a cross-check (8.8). Energies
 * are of one token of decoding. */
struct run_profile_replay {
    char component[24];               /* "attention", "ffn", "head", "norm" */
    double seconds, rounds;           /* that it ran; over all layers */
    double watts, watts_pm;           /* mean above idle meanwhile */
    double token_s;                   /* its time in a token */
    double joules, joules_pm;         /* watts for token_s */
    double found_j, found_pm;         /* by the regression; NAN for shares of time */
    double difference, difference_pm; /* joules over found_j, less 1 */
    double time_ratio;                /* of an execution in the loop over one in a token */
    bool warm;                        /* that is below 0.9 or above 1.1 */
};

/* Host work: an engine's calls of one thread, outside of graphs. In the order in which a request needs them. */
enum { RUN_PROFILE_WORKS = 3 };
struct run_profile_work {
    const char *name, *phase; /* "tokenise", "sample", "detokenise"; the phase it lies in, "prefill" or "decode" */
};
extern const struct run_profile_work run_profile_works[RUN_PROFILE_WORKS];
/* The phase that the host work of this name lies in, and is taken out of where its power is known; NULL: it is none; static. */
const char *run_profile_phase_of(const char *work);

/* Host work that was run over and over by itself (8.11). */
struct run_profile_host {
    char work[16];          /* "tokenise", "detokenise" */
    double seconds, tokens; /* that it ran; that went through it */
    double inside;          /* share of the seconds inside its calls, as the probe tells; the others are HTTP and JSON */
    double watts, watts_pm; /* mean above idle, and the interval of the power inside the calls */
    char channels[8];       /* "cpu": of the processor and its memory; "total" */
};

/* How the energy came to the components (docs/method.md 8). */
struct run_profile_how {
    char path[16];                        /* "plain", "lock-in", "time", "stages" (no probe, or it tells no more) */
    char reason[160];                     /* why it is shares of time; "" */
    char level[16];                       /* of the probe: "stages", "layers", "components", "nodes" */
    int64_t every;                        /* one graph in so many was watched; -1 no probe */
    int64_t slot, first_tokens;           /* steps count of this slot alone; so many tokens of each answer; -1 all */
    int64_t requests;                     /* it ended when so many of the engine's own clients were answered; -1 by other means */
    double condition;                     /* of the windows' matrix */
    double closure;                       /* sum of components over what was measured, before any scaling */
    double instrumented, instrumented_pm; /* J of a token with the probe over without */
    double stops, stops_pm;               /* share of a decoding step that the stops take, paired steps */
    double stretches, between;            /* shares of graph time: of stretches; at the stops between them */
    double lag_s, rise_s, idle_w, idle_w_pm;
    int64_t windows, records, lost;
    double measured_j, measured_pm; /* net, of the plain engine over the decode that components are of */
    bool flash;                     /* scores, softmax and values are one node */
    char layers_power[16];          /* that a kind has the same power in each layer is "assumed", was "checked" by leaving some
                                       out, or "differs" from what that showed; "" no energy by layer */
    int64_t layers_left_out;        /* so many were; -1 none */
    double layers_saved_j, layers_told_j; /* of a token: what that saves; the share of them by the components */
    double layers_ratio, layers_ratio_pm; /* the one over the other */
    bool estimated;                       /* the sensor is an estimate */
    int64_t simulated;                    /* 1: it is simulated or replayed, so its joules are of no real machine; -1 unknown */
};

/* Keys that advice (profile/advice_facts.c) and views read; what is not known is left out, and no rule fires on it:
 *   machine   peak_flops, bytes_per_s (of the roofline); cores; gpu0_power_limit_w, amd0_..., cpu0_... (facts of the sensors)
 *   settings  threads, parallel (requests that the engine takes at once), flash_attention ("on", "off"), kv_type ("f16", ...),
 *             max_tokens
 *   model     layers, layers_of and parameters_of (of a shape that has more layers than were run: views scale); path (as -m
 *             takes it; else name), weight_bits (mean of a weight)
 *   engine    what was seen of it: requests, requests_queued (that waited for a slot), requests_cut (that ended at their limit),
 *             output_tokens (mean of a request), context_tokens (in the cache of one request in decode, mean), step_bytes,
 *             step_weight_bytes, step_cache_bytes (of one decode step: all, weights, cache read; profile/counts.h),
 *             loaded_idle_w, loaded_idle_pm_w (more idle power with the model loaded), between_loads_s (from the end of a
 *             request to the next load, mean), between_loads_most_s (the longest)
 * Phases "load" (steps: how many), "prefill" and "decode", their rows with part "scores" where nodes were watched, and points of
 * the series "batch". */
struct run_profile {
    char id[40];
    char *title, *version; /* of joulet */
    int64_t started_wall_ns;
    double seconds;
    struct run_pairs machine, engine, model,
        settings; /* as in a run; model: parameters, layers, quantisation, weight_bytes, ... */
    char *sensor; /* channels the energy is from, "a + b" */
    struct run_profile_how how;
    struct run_profile_phase *phases;
    size_t n_phases;
    struct run_profile_row *rows;
    size_t n_rows;
    struct run_profile_point *points;
    size_t n_points;
    struct run_profile_replay *replay;
    size_t n_replay;
    struct run_profile_host *host;
    size_t n_host;
    struct run_profile_sample *trace; /* thinned out to what a screen can show */
    size_t n_trace;
    struct run_profile_span *spans;
    size_t n_spans;
    struct run_profile_advice *advice;
    size_t n_advice;
    char **notes;
    size_t n_notes;
};

void run_profile_init(struct run_profile *p); /* id, version, clock; all else unknown or empty */
void run_profile_release(struct run_profile *p);
/* Copies *x, which must not lie in the list itself; NULL or false on no memory or above the limit. */
struct run_profile_phase *run_profile_add_phase(struct run_profile *p, const struct run_profile_phase *x);
struct run_profile_row *run_profile_add_row(struct run_profile *p, const struct run_profile_row *x);
struct run_profile_point *run_profile_add_point(struct run_profile *p, const struct run_profile_point *x);
struct run_profile_replay *run_profile_add_replay(struct run_profile *p, const struct run_profile_replay *x);
struct run_profile_host *run_profile_add_host(struct run_profile *p, const struct run_profile_host *x);
bool run_profile_add_sample(struct run_profile *p, double t_s, double w);
bool run_profile_add_span(struct run_profile *p, const char *stage, double from_s, double to_s);
struct run_profile_advice *run_profile_add_advice(struct run_profile *p, const struct run_profile_advice *x);
bool run_profile_note(struct run_profile *p, const char *fmt, ...) JL_PRINTF(2, 3);
const struct run_profile_phase *run_profile_phase(const struct run_profile *p, const char *name); /* NULL: not in it */
/* Stage at a moment, "" none. Spans are in the order of their start; of two that hold it the later one counts. */
const char *run_profile_stage(const struct run_profile *p, double t_s);
/* Whether the energy of a phase stands: false where it is known and not above its own interval. What is in such a phase has no
 * energy then. Host work has that of the power it was given, which is another matter: true. */
bool run_profile_resolved(const struct run_profile *p, const char *phase);
/* What a phase has at most: its limit, or its energy and interval where it is not resolved. NAN: no limit is needed or known. */
double run_profile_most(const struct run_profile *p, const struct run_profile_phase *x);
/* The row without its energies, where its phase is not resolved. */
struct run_profile_row run_profile_known_row(const struct run_profile *p, const struct run_profile_row *r);
/* The same of a point of the series "position", which shares the phase out; the others were measured by themselves. */
struct run_profile_point run_profile_known_point(const struct run_profile *p, const struct run_profile_point *x);
/* Sums over rows without part; NAN when one of them is unknown. component NULL: all; layer RUN_PROFILE_ALL_LAYERS: all. Their +-
 * are added in quadrature, which is too little for layers of one component: those hang on the same power. */
struct run_profile_row run_profile_sum(const struct run_profile *p, const char *phase, const char *component, int64_t layer);

/* Layers of the model, and of the shape that it was made of; true: it has fewer of them. -1 unknown. */
bool run_profile_layers(const struct run_profile *p, int64_t *layers, int64_t *layers_of);
/* The row as of all layers of the shape (profile_scale.c); NAN: the layers that ran do not tell. Prefill of a model of one layer
 * assumes that its feed-forward takes the joules and seconds for a FLOP that attention takes. */
struct run_profile_row run_profile_whole_row(const struct run_profile *p, const struct run_profile_row *r);
/* Fills in what of *x is scaled, from its rows; false: nothing is, or there are no rows. */
bool run_profile_whole_phase(const struct run_profile *p, struct run_profile_phase *x);

/* JSON: one indented object and '\n'; export, import, export gives the same bytes. JOULET_FORMAT, JOULET_NEWER. */
enum joulet_status run_profile_to_json(const struct run_profile *p, struct jl_buf *out, struct joulet_error *err);
enum joulet_status run_profile_from_json(const char *text, size_t n, struct run_profile *out, struct joulet_error *err);
/* CSV: layer,component,part,phase,joules,joules_pm,limit_j,seconds,flop,bytes; the trace beside it: t_s,w,stage. */
enum joulet_status run_profile_to_csv(const struct run_profile *p, struct jl_buf *out, struct joulet_error *err);
enum joulet_status run_profile_trace_csv(const struct run_profile *p, struct jl_buf *out, struct joulet_error *err);

#endif
