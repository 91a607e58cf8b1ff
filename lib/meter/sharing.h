/* sharing.h - the books of shared requests: what sharing.c writes down and sharing_windows.c works off. Inside lib/meter only. */
#ifndef JL_SHARING_H
#define JL_SHARING_H

#include "lib/base/base.h"
#include "lib/stats/regress.h"

#define SHARING_TERMS 4 /* of the model of a step: steps, prefill tokens, decode tokens, contexts */

enum sharing_what { STEP, PREFILL, JOIN, DECODE, PAUSE, LEAVE };

struct sharing_item {
    enum sharing_what what;
    size_t request; /* slot; PREFILL of the step before it, JOIN, DECODE, PAUSE, LEAVE */
    int64_t t0_ns, t1_ns;
    double tokens; /* PREFILL: computed in the step; DECODE: context; STEP: prefill tokens of all */
    double members, decoders, contexts;
};

struct sharing_request {
    uint64_t id;
    bool used, prefilling, decoding; /* as the events that were handled say */
    bool present, present_decoding;  /* as the events that came say */
    double origin;                   /* context less the number of steps, as the events that came say */
    size_t next_free;
    double F, N, K, offset; /* marks: AF; AN, AK and x - k0 since it decodes */
    double prefill;         /* lam-weighted prefill tokens since the mark */
    double energy_j;        /* settled before the weights changed */
    double shared_s;        /* integral of dt/n at its arrival */
    double sum_j, sum_u2;   /* of all windows, at its arrival */
    bool guessed;           /* a part of its life was shared by assumed weights */
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
    double carry_j, idle_j, attributed_j, measured_j, sum_u2;
    double window_j, window_u2; /* of the window that is being handled: a request that joins in it has part in it */
    double in_flight, shared_s; /* requests, integral of dt/n */
    int64_t done_ns;
    struct jl_equations learnt;
    double busy_windows;
    int64_t fitted_ns;
    unsigned large_carries;
    joulet_shared *emit;
    void *user;
};

/* The slot may be given to another request. */
void sharing_free_slot(struct joulet_sharing *s, struct sharing_request *r);

#endif
