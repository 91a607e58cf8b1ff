/* engine.h - a simulated engine with continuous batching whose energy is known: of each step, and of each request in it. */
#ifndef BENCH_ATTRIBUTION_ENGINE_H
#define BENCH_ATTRIBUTION_ENGINE_H

#include "lib/base/base.h"

#define MEMBERS_MAX 64

/* A machine and the model on it. Powers are above idle. */
struct machine {
    const char *name;
    double peak_flops, bandwidth;        /* at full clock; bytes/s */
    double launch_s, sequence_s;         /* of each step, and of each request in it: no computing */
    double token_flops, attention_flops; /* per token; per token and token of context */
    double weight_bytes, cache_bytes;    /* of the model; per token of context */
    double idle_w, active_w, compute_w, memory_w;
    double clock_drop;        /* part of the clock that is lost under full load */
    double clock_s;           /* in which it follows */
    double half_tokens;       /* tokens that a step computes in vain: tiles, kernels that are not filled */
    size_t pad_tokens;        /* steps are padded to a multiple of it, small ones to a power of 2 */
    size_t page_tokens;       /* contexts are read in pages */
    size_t chunk_tokens;      /* most tokens of a step */
    size_t slots;             /* most requests at once */
    double rise_s;            /* power follows its cause */
    double tail_part, tail_s; /* of the last step's power, and how it fades */
};

struct member {
    size_t request;
    double prefill; /* tokens of its prompt computed in the step; 0: it decodes */
    double context; /* that it reads */
    double share_j; /* Shapley value of the step's energy */
};

struct step {
    double from_s, to_s, energy_j; /* net */
    size_t n, first;               /* members[first .. first + n) */
};

struct served {
    double arrived_s, ended_s;  /* at the engine */
    double prompt, cached;      /* tokens */
    size_t output, first_token; /* tokens, the first of them in `token_s` */
    double energy_j;            /* true: sum of its shares */
    double guess;               /* prompt tokens as its bytes suggest */
    size_t done, made;          /* by the simulation: prompt tokens, tokens */
};

struct history {
    const struct machine *machine;
    struct step *steps;
    struct member *members;
    struct served *requests;
    double *token_s; /* when its tokens came to the proxy, request by request */
    size_t n_steps, n_members, n_requests, n_tokens;
    double end_s;
};

struct workload {
    size_t concurrent; /* clients; 0: their number changes between 1 and 32 */
    size_t requests;
    double prompt, long_part, output, think_s; /* medians; part of prompts that are ten times as long */
    uint64_t seed;
};
/* false: out of memory. */
bool history_make(struct history *h, const struct machine *m, const struct workload *w);
void history_release(struct history *h);

/* What the sensor of the machine shows: windows of net energy, as a meter that knows its lag to some milliseconds gives them. */
struct seen_window {
    double from_s, to_s, net_j;
};
struct sensor_spec {
    double period_s, jitter_s, lag_error_s, quantum_j, noise;
    uint64_t seed;
};
bool history_windows(const struct history *h, const struct sensor_spec *s, struct seen_window **out, size_t *n);

extern const struct machine machines[];
extern const size_t n_machines;

#endif
