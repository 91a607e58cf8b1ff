/* sharing.h - the books of shared requests: what sharing.c writes down and sharing_windows.c works off. Inside lib/meter only. */
#ifndef JL_SHARING_H
#define JL_SHARING_H

#include "lib/base/base.h"
#include "lib/stats/regress.h"

#define SHARING_TERMS  4   /* of the model of a step: steps, prefill tokens, decode tokens, contexts */
#define SHARING_LEARNT 100 /* busy windows before weights are no longer called assumed (7.5) */

enum sharing_what { STEP, PREFILL, MEMBER, JOIN, DECODE, PAUSE, LEAVE };

struct sharing_item {
    enum sharing_what what;
    size_t request; /* slot; PREFILL and MEMBER of the step before it, JOIN, DECODE, PAUSE, LEAVE */
    int64_t t0_ns, t1_ns;
    double tokens;                      /* PREFILL, MEMBER: computed in the step; DECODE: context; STEP: prefill tokens of all */
    double members, decoders, contexts; /* STEP: of all; MEMBER: its decoded tokens, and the contexts that they read */
};

struct sharing_request {
    uint64_t id;
    bool used, prefilling, decoding; /* as the events that were handled say */
    bool present, present_decoding;  /* as the events that came say */
    double origin;                   /* context less the number of steps, as the events that came say */
    size_t next_free;
    double F, N, K, offset;             /* marks: AF; AN, AK and x - k0 since it decodes */
    double prefill;                     /* lam-weighted prefill tokens since the mark */
    double parts, decoded, read;        /* the same of steps that list it: its parts of steps, decoded tokens, contexts */
    double energy_j;                    /* settled before the weights changed */
    double shared_s;                    /* integral of dt/n at its arrival */
    double sum_j, sum_u2, sum_common_j; /* of all windows, at its arrival */
    bool guessed;                       /* a part of its life was shared by assumed weights */
    bool off;                           /* by weights that are far from what was measured */
    bool decoded_some;                  /* it got tokens behind its first one: */
    double prefill_j;                   /* what it had then */
};

struct joulet_sharing {
    double idle_w;
    struct joulet_weights w;
    struct sharing_request *requests;
    size_t n_requests, cap_requests, free_slot; /* NONE: no slot is free */
    struct sharing_item *queue;
    size_t head, n, cap;
    /* as the events that came say */
    size_t decoders;
    double contexts, steps;
    int64_t last_ns, step_end_ns;
    /* as the windows that closed say */
    double AF, AN, AK, K;
    double carry_j, idle_j, attributed_j, measured_j, sum_u2, sum_common_j;
    double window_j, window_u2,
        window_common_j;        /* of the window that is being handled: a request that joins in it has part in it */
    double in_flight, shared_s; /* requests, integral of dt/n */
    int64_t done_ns;
    /* what was learnt (sharing_learn.c) */
    struct jl_equations learnt;
    double busy_windows, fit_at; /* windows seen, and the number at which weights are fitted again */
    int64_t fitted_ns;
    unsigned large_carries;                                        /* windows running with much to carry */
    double row_carry_j;                                            /* what was carried when so many of them began */
    bool in_joules;                                                /* weights are joules; else ratios only */
    double gathered[SHARING_TERMS], gathered_j, gathered_s, off_j; /* short windows, until they are long enough to learn from */
    joulet_shared *emit;
    void *user;
};

/* The slot may be given to another request. */
void sharing_free_slot(struct joulet_sharing *s, struct sharing_request *r);

/* ---- steps that list their members: for engines whose steps are inferred, one after the other ------------------------ */

struct sharing_member {
    size_t slot;
    double tokens;           /* of its prompt */
    double decoded, context; /* tokens it got, and the context that each of them read */
};
enum joulet_status sharing_listed_step(struct joulet_sharing *s, joulet_mark from, joulet_mark to,
                                       const struct sharing_member *members, size_t n, struct joulet_error *err);

/* ---- windows, for a device that several engines share (attribution_windows.c) ---------------------------------------- */

struct sharing_sums {
    double together;                    /* members of its steps besides one */
    double model_j, row[SHARING_TERMS]; /* steps, prefill tokens, decode tokens, contexts */
};
void sharing_sum(const struct joulet_sharing *s, joulet_mark from, joulet_mark to, struct sharing_sums *out);
/* Everyone gets lam times the model's shares. net_j, u_j and u_common_j: what of the window is this engine's. */
void sharing_close_window(struct joulet_sharing *s, joulet_mark from, joulet_mark to, double lam, double net_j, double u_j,
                          double u_common_j);
/* How much of the difference between model and measurement is believed (7.3); `idle_j` of the window. */
double sharing_lambda(double model_j, double net_j, double idle_j, double seconds);
/* Settles what everyone has by the weights so far, and begins with others. */
void sharing_weigh(struct joulet_sharing *s, const double *x, bool assumed);
/* What a request has of the windows that closed, and by the model of the steps that wait. */
double sharing_so_far(const struct joulet_sharing *s, size_t slot, double *waiting_j);

/* ---- weights (sharing_learn.c) --------------------------------------------------------------------------------------- */

void sharing_learn(struct joulet_sharing *s, const struct sharing_sums *x, double net_j, double seconds, joulet_mark to);

#endif
