/* sim_engine.h - a simulated inference server whose true energy is known. It speaks llama.cpp's API on a loopback port, keeps to
 * a schedule that it fixes when a request comes, and writes the power of that schedule to a curve that the `sim` sensor follows.
 * What a request really drew is then a closed form: watts times seconds of the schedule, however late the machine delivers the
 * bytes. */
#ifndef SIM_ENGINE_H
#define SIM_ENGINE_H

#include "lib/base/base.h"

struct sim_fault {
    char name[24];
    double arg;      /* NAN: none given */
    int64_t request; /* only this generation (0 is the first); -1: all */
};

#define SIM_SLOTS 64
struct sim_row { /* of a step: so many tokens of one sequence, behind `position` in its cache */
    int64_t tokens, position;
    int slot;
};

struct sim_config {
    int port;                     /* 0: a free one */
    double overhead_ms;           /* from the request to the start of prefill */
    double prefill_ms, decode_ms; /* per token */
    double idle_w, prefill_w, decode_w;
    int64_t tokens; /* made when the request names no limit */
    int64_t eos;    /* an end token (without text) is the so-manieth; 0: never */
    int64_t context;
    int slots; /* generations at once; 0 and 1: one. They share their steps, or draw together as one does */
    const char *model, *key, *curve, *truth; /* key, curve, truth may be NULL */
    const char *prompts;                     /* file: model and digest of each prompt, a line; may be NULL */
    bool openai;                             /* no llama.cpp routes, no timings */
    bool stamps; /* its timings say when it sent its pieces, as those of real engines do, not when it meant to */
    struct sim_fault faults[16];
    size_t n_faults;
    /* In place of prefill_ms, decode_ms and their watts: a step of these rows begins at t_ns. Writes what it draws
     * (sim_engine_power) and returns how long it takes, ns. Called before it begins. NULL: none. */
    int64_t (*step)(void *user, int64_t t_ns, const struct sim_row *rows, size_t n);
    void *step_user;
    /* Text into tokens, or tokens into text (back), so many of them, from t_ns on. Writes what it draws and returns when it ends.
     * NULL: it has no routes for that. */
    int64_t (*text)(void *user, int64_t t_ns, int64_t tokens, bool back);
};
void sim_config_init(struct sim_config *c);
/* "NAME[:ARG][@REQUEST]", as sim_fault_help lists them; false when it is none of them. */
bool sim_config_fault(struct sim_config *c, const char *spec);
extern const char sim_fault_help[];

/* One generation: the schedule and what it drew. */
struct sim_truth {
    int64_t request;
    char outcome[12]; /* "done", "gone" (the client left), "died", "failed" */
    int64_t prompt_tokens, cached_tokens, generated_tokens;
    int64_t t_arrival_ns, t_prefill_ns, t_decode_ns, t_end_ns; /* decode begins when the first token is made */
    int64_t t_first_sent_ns, t_last_sent_ns;                   /* when its first and last piece really were; 0: none was */
    double prefill_j, decode_j;
    double late_s; /* so long after a change of power it was written to the curve, at worst: the machine was busy with others */
};

struct sim_engine;
/* NULL and a sentence when it cannot listen. Strings of *c must outlive the engine. */
struct sim_engine *sim_engine_start(const struct sim_config *c, struct joulet_error *err);
/* One more line of its curve: so many watts from t_ns on. */
void sim_engine_power(struct sim_engine *e, int64_t t_ns, double watts);
int sim_engine_port(const struct sim_engine *e);
bool sim_engine_dead(struct sim_engine *e);                                   /* the fault `die` has struck */
size_t sim_engine_connections(struct sim_engine *e);                          /* accepted so far */
bool sim_engine_truth(struct sim_engine *e, size_t i, struct sim_truth *out); /* in the order of their ends */
/* Body of the last generation asked for, malloc'ed; NULL none. */
char *sim_engine_last_body(struct sim_engine *e);
void sim_engine_stop(struct sim_engine *e);

#endif
