/* profile.h - `joulet profile` in pieces: the engine with its probe, passes of requests, and the record that comes of them. */
#ifndef CLI_PROFILE_H
#define CLI_PROFILE_H

#include "cli/session.h"
#include "llm/plans/grid.h"
#include "llm/plans/plan.h"
#include "profile/counts.h"
#include "profile/difference.h"
#include "profile/host.h"
#include "profile/measure.h"
#include "run/profile.h"

/* Power over the whole profile in at most so many samples: pairs are taken together when there are more. */
#define PROFILE_TRACE 4096
struct profile_power {
    double t_s[PROFILE_TRACE], j[PROFILE_TRACE], s[PROFILE_TRACE]; /* end since the start; energy and time of each */
    size_t n;
    double step_s, until_s;
    int64_t tried_ns;
};

/* A profile may go on for days: of its requests only so many are kept, thinned out evenly, and so are its spans of stages. */
#define PROFILE_REQUESTS 512
#define PROFILE_SPANS    4096
struct profile_bound {
    uint64_t keep_every, turns[MEASURE_PASSES]; /* one request in so many, of each kind of pass */
    uint64_t requests;                          /* sent in all */
    double shortest_s;                          /* spans that are shorter are left out */
};

_Static_assert((int)MEASURE_WORKS == (int)RUN_PROFILE_WORKS, "a name for each host work");

/* Host work by itself. */
struct profile_host {
    struct host_loop loops[MEASURE_WORKS];
    double tokens[MEASURE_WORKS]; /* that went through each */
    bool cpu[MEASURE_WORKS];      /* its energy is that of the processor and its memory; else the total */
    double loop_s;
    struct joulet_error why; /* there is none, or one is missing; no message: there are all, or nobody tried */
    struct jl_buf answers;   /* text of the plain ones, as much as is needed */
};

struct profiling {
    const struct cli *cli;
    struct session s;
    struct runtime_choice choice;
    struct generation q;
    struct session_files files;
    const char **options; /* --engine-option: first those of a server of our own, then members of requests (profile_options.c) */
    size_t n_server_options;
    int code; /* why a part that was asked for is missing, where the rest is kept: CLI_DONE, or what we end with */
    struct plan plan;
    char *prompt; /* of the command line; NULL: those of the plan */
    size_t next;  /* prompt of the plan */
    struct run_profile p;
    /* the probe */
    bool probe; /* it tells something */
    enum wire_level level;
    int64_t every; /* 1: all graphs of instrumented passes */
    char *library, *folder, *ring_path;
    struct ring *ring;
    struct measure *m;
    double reading_s; /* the slowest reading of the total: period or window */
    /* passes */
    enum measure_pass *passes; /* of each request */
    size_t n_passes;
    bool lockin;
    struct ring_control again, loops;
    size_t first_loop;                   /* of the run's windows */
    struct grid_levels lengths, batches; /* of prompts; of sequences at once; n 0: not asked for */
    joulet_mark until;                   /* of --duration */
    struct profile_power *power;
    struct profile_bound bound;
    struct profile_against *against; /* NULL: not asked for */
    struct profile_host host;
    double batch; /* sequences in a step of decoding, on the mean; 0: one */
    bool stops;   /* graphs are stopped now, or may be */
};

/* profile_engine.c: options and environment of an engine with its probe; what it tells after the first request. */
int profile_engine(struct profiling *x);
int profile_engine_start(struct profiling *x, struct runtime_choice *choice, const char *beside); /* NULL: the model asked for */
int profile_slots(const struct profiling *x);                                                     /* of a server of our own */
bool profile_probe_found(struct profiling *x);
/* Says so where the probe of an engine that runs was started at another level than the one that is wanted. */
void profile_level_note(struct profiling *x, int64_t pid, enum wire_level is, enum wire_level wanted);
void profile_watch(struct profiling *x, enum measure_pass pass);
void profile_unwatch(struct profiling *x); /* until profile_watch */
void profile_drain(struct profiling *x);
void profile_engine_release(struct profiling *x);

/* profile_options.c: which of --engine-option a server of our own is started with: those with a hyphen in their names, as most of
 * llama-server's have and no member of a request has; those without a value; and a few names. */
bool profile_options(struct profiling *x);             /* takes them out of x->q; false: no memory */
void profile_options_to_requests(struct profiling *x); /* all are: the engine is another's, or is not started by us */
void profile_options_release(struct profiling *x);
/* What the server was really given, by an option or its environment; NULL: it was not, or nobody knows. */
const char *profile_option(const struct profiling *x, const char *name);

/* profile_passes.c */
int profile_passes(struct profiling *x);
int profile_idle(struct profiling *x);                           /* measures the idle level for --baseline */
const char *profile_prompt(const struct profiling *x, size_t i); /* the one that was given, or i of the plan, round and round */
bool profile_pass(struct profiling *x, enum measure_pass pass, const char *prompt, int64_t max_tokens);
/* Samples of a request's time, to those that find the components. */
void profile_samples(struct profiling *x, joulet_mark from, joulet_mark to);
/* Of a request that has ended, or was seen: its energy, its samples, its place in the record. False: no memory. */
bool profile_keep(struct profiling *x, struct run_request *q, enum measure_pass pass, joulet_mark from, joulet_mark to, bool ok);
int64_t profile_idle_ns(const struct profiling *x); /* how long an idle level is looked at */
void profile_idle_of(struct profiling *x, joulet_mark from, joulet_mark to);
double profile_reading_s(const struct session *s);
/* How long something is executed over and over, s: 20 readings of the sensor, but 2 s at least and most_s at most. */
double profile_loop_s(const struct profiling *x, double most_s);
void profile_plan_lockin(struct profiling *x);
/* Share of a decoding step that the probe's stops take, and half of its interval; NAN: not measured. */
void profile_stops(const struct profiling *x, double *stops, double *pm);
/* Sums over the requests of one kind of pass. */
void profile_sum(struct profiling *x, enum measure_pass pass, struct run_sums *out);

/* profile_lost.c: what took longer than the meter keeps samples. Energies of such requests are forgotten when they are kept, and
 * they are left out of the sums of the plain ones where others are known. */
bool profile_lost(const struct joulet_energy *e);
double profile_net_j(const struct joulet_energy *e); /* NAN: lost, or not known */
void profile_forget_lost(struct run_request *q);
void profile_leave_out_lost(struct profiling *x);
/* Tokens and seconds of those whose energy is known; of all, as long as it is of none. */
struct profile_tally {
    struct joulet_energy e;
    double tokens, seconds, n;
    size_t all, lost;
};
#define PROFILE_TALLY_NONE                                                                                                       \
    {                                                                                                                            \
        .e = JOULET_ENERGY_UNKNOWN                                                                                               \
    }
void profile_tally_add(struct profile_tally *t, const struct joulet_energy *e, double tokens, double seconds);
void profile_tally_note(struct profiling *x, const struct profile_tally *t, const char *of);

/* profile_series.c: energy of a token against the length of the prompt, and against how many sequences there are at once. */
int profile_series_read(struct profiling *x);
void profile_series(struct profiling *x, int64_t tokens);
void profile_point(struct profiling *x, const char *series, const char *phase, double at, double tokens, double seconds,
                   const struct joulet_energy *e); /* energies and seconds of all these tokens */
/* profile_batch.c: so many answers at once; false: one failed, and x->code says so, or it was interrupted. tokens: of each. */
bool profile_batch(struct profiling *x, size_t n, int64_t tokens);

/* profile_against.c: the same prompts to a model with one component less. Prepare, before anything is started: looks for what is
 * wrong, and writes that model; CLI_DONE or an exit code. Release removes it. */
int profile_against_prepare(struct profiling *x);
void profile_against(struct profiling *x, int64_t tokens);
void profile_against_release(struct profiling *x);
/* How many layers were left out, and what that saves; 0: none were, or it was not measured. */
int profile_against_layers(const struct profiling *x, struct profile_difference *d);

/* profile_attach.c: an engine that runs, used by its own clients. */
bool profile_attaches(const struct cli *c);
int profile_attach_check(const struct cli *c, bool prompted); /* options that do not go together: an exit code */
int profile_attach(struct profiling *x);

/* profile_bound.c */
void profile_span(struct profiling *x, const char *stage, double from_s, double to_s);
void profile_thin_requests(
    struct profiling *x); /* after each request: its text goes, and it itself or others where they are many */
const struct run_request *profile_kept(const struct profiling *x, int64_t index); /* the last one, if it is there yet; NULL */
void profile_bound_note(struct profiling *x);

/* profile_replay.c: components alone, a cross-check. ratio: J of a token with the probe over without. */
int profile_replay_read(struct profiling *x);
void profile_replay(struct profiling *x);
void profile_replay_record(struct profiling *x, const struct measure_result *decode, double ratio);

/* profile_host.c: tokenising and detokenising over and over, where the engine has routes for them; what the answers say is kept
 * for that as they come. */
void profile_host_hear(struct profiling *x, const struct jl_buf *answer);
void profile_host(struct profiling *x);
void profile_host_record(struct profiling *x);
void profile_host_release(struct profiling *x);

/* profile_power.c */
void profile_power_add(struct profiling *x);
void profile_power_tick(struct profiling *x); /* often, while something goes on: the same every few seconds */
void profile_power_record(struct profiling *x);

/* profile_facts.c: the roof that the profile's own rates make, facts for advice (run/profile.h), and the advice. decode: NULL
 * where the model's shapes are not known. */
void profile_roof(struct run_profile *p);
void profile_tell(struct profiling *x, const struct profile_counts *decode, double steps);
void profile_give_advice(struct run_profile *p);

/* profile_work.c: work of the plain requests; false: the shapes are not known, and a note says why. Release counts in any case.
 */
bool profile_work(struct profiling *x, struct profile_counts counts[MEASURE_PHASES]);

/* profile_record.c: phases, rows, how. */
bool profile_record(struct profiling *x);

#endif
