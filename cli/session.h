/* session.h - one measuring run of the program: the meter, the record, the store, and how they go together.
 * bench, run, chat and exec differ in what happens between session_open and session_finish; the energies are always made here,
 * by joulet.h from the traces of the meter. */
#ifndef CLI_SESSION_H
#define CLI_SESSION_H

#include "cli/cli.h"
#include "llm/runtime.h"

#define SESSION_DEVICES 64 /* channels whose clocks are watched */

/* What the session knows of the machine besides its sensors (session_watch.c). */
struct session_watch {
    const struct runtime_choice *choice; /* NULL: no engine, the work is a command of ours */
    int64_t pid;                         /* of the engine; JOULET_CHILDREN, JOULET_NOBODY */
    struct joulet_followed *followed;    /* its processes; NULL: not known, or elsewhere */
    bool on;                             /* between session_watch and session_watched */
    bool level;                          /* until the end of a level, whatever ends before */
    struct joulet_cpu_look look;         /* when it began */
    bool command;                        /* watched is what our own children do, not an engine */
    struct run_cpu_time cpu;             /* of what was watched last; the energies are not in it yet */
    struct joulet_surroundings before;
    struct joulet_watched seen;
    int others, served;               /* requests of others in the engine before, and meanwhile; -1 not known */
    double clock_hz[SESSION_DEVICES]; /* mean clock of the first request that counts; 0 none yet */
    unsigned said[32], said_others;   /* sentences by flag */
};

struct session_factors;
struct session_estimate;
struct session_told;
struct session_sink; /* hands samples to the store; its own lock */

struct session {
    const struct cli *cli;
    struct run run;
    struct joulet *meter;
    struct meters *meters;       /* of --meter; NULL none */
    struct joulet_trace *stored; /* NULL; the traces of a stored run that is measured again (then there is no meter) */
    struct store *store;         /* NULL with --no-store and in a trial, or when it could not be opened */
    struct session_sink *sink;
    struct session_estimate *estimate; /* of an engine elsewhere; NULL: not looked for yet */
    struct session_told *told;         /* of an engine behind a joulet server, which tells its energies; NULL: it is not */
    struct session_factors *factors;   /* what changes during the run: emission factors */
    size_t n_channels;                 /* of the meter when the run began; indices as in run.channels */
    struct joulet_baseline *idle;      /* n_channels; the level that net figures use */
    double unloaded_w, unloaded_u_w;   /* idle power of the whole before a server of ours was started; NAN unknown */
    char level[8];                     /* "L0" without a model server, "L1" with the model loaded */
    joulet_mark opened;                /* samples are there from then on: a locked database may have kept us waiting before */
    joulet_mark last_end;              /* end of the last activity measured; 0 none */
    size_t n_problems;                 /* of the meter when the run began */
    bool refused;                      /* a part of this machine may not be read: totals of what measures lack it */
    struct session_watch watch;
    bool unsaved;                 /* a write to the store failed: tried again at the end */
    struct joulet_error unopened; /* why the store took nothing from the beginning */
    bool saved;                   /* the whole record is in the store */
    bool lost;                    /* the record should be in the store, but is in a file beside it or nowhere */
    bool resumed;                 /* the run was begun by another process */
};

/* Opens meter and store and fills in the machine. Returns CLI_DONE, or the exit code after printing the sentence.
 * On failure nothing is left open. */
int session_open(struct session *s, const struct cli *c, const char *kind);
/* With --measured-only something must measure: CLI_DONE, or CLI_NO_SENSOR after the sentence. */
int session_need_measured(struct session *s);
/* The sum of the channels of *e; what may not be read is missing in it. */
void session_total(const struct session *s, struct run_energy *e);
/* What the engine and the model are; settings of the generation. */
void session_engine(struct session *s, const struct runtime_choice *choice);
void session_settings(struct session *s, const struct generation *q);
/* Goes on with a run that was interrupted: takes it over from *old. CLI_DONE, or an exit code after the sentence when this is not
 * the machine, the boot or the sensors it was begun with. Before session_begin. */
int session_resume(struct session *s, struct run *old);
/* Writes the head of the run; from here on samples go to the store. */
void session_begin(struct session *s);
/* Writes it again, with the windows and idle levels since: should we be killed, they are kept. */
void session_keep(struct session *s);
/* The store failed: measuring goes on, and the whole record is written at the end. */
void session_unsaved(struct session *s);
/* Not to be stored after all. */
void session_forget(struct session *s);

/* Sleeps; false when the user interrupts it. */
bool session_wait_until(joulet_mark until);

/* Idle level over [from, to]; of 2 s or more it is kept in the store for later runs, of less it is a short one. */
void session_baseline(struct session *s, joulet_mark from, joulet_mark to);
/* Level of all channels of the total together: power and its u. NAN where that of one is not known. */
struct joulet_baseline session_idle_total(const struct session *s);
/* Waits for an idle level of least_s from `from` on, and until most_s when it leaves more than 2 % of the net energy of the
 * requests so far open (4.2). Returns its end; the user may have interrupted it. */
joulet_mark session_idle_wait(struct session *s, joulet_mark from, double least_s, double most_s);
/* More than 2 % of the net energy of the requests so far hangs on the idle level in use. *known (NULL: not asked): false when no
 * request has a figure yet, or there is no level. */
bool session_idle_doubtful(struct session *s, bool *known);
/* Says so, after all that could be done. */
void session_idle_note(struct session *s);
/* Idle level of this machine and engine state stored less than 10 minutes ago. */
bool session_baseline_stored(struct session *s);
/* The short form: 1 s before `start`; after_from == after_to when there is no level after. unknown: what a note says before the
 * reason where there is none, "no idle level: ". */
void session_baseline_short(struct session *s, joulet_mark start, joulet_mark after_from, joulet_mark after_to,
                            const char *unknown);
/* Makes sure that there is an idle level before something starts: stored, else waits until 1 s is sampled. True if stored. */
bool session_prepare(struct session *s);

/* Looks at the machine and the engine: before the mark that begins a request or a command, and after its end. */
void session_watch(struct session *s);
void session_watched(struct session *s);
void session_watch_engine(struct session *s, const struct runtime_choice *choice);
/* What is published stands in for what cannot be measured: an engine on another machine (session_estimate.c). */
void session_estimate_note(struct session *s);
void session_estimate_request(struct session *s, struct run_request *q);
void session_estimate_level(struct session *s, struct run_window *w);
void session_estimate_close(struct session *s);
/* A joulet server in front of the engine tells the energy of each request (session_told.c). Open: false when there is none that
 * measures, or sensors of this machine were named that see the engine. Check: a further engine of the run must be like the first;
 * CLI_DONE, or an exit code after the sentence. */
bool session_told_open(struct session *s, const struct runtime_choice *choice);
int session_told_check(const struct session *s, const struct runtime_choice *choice);
bool session_is_told(const struct session *s);
void session_told_answer(struct session *s, const struct generated *g); /* of the request that is kept next */
void session_told_request(struct session *s, struct run_request *q);
void session_told_level(struct session *s, struct run_window *w); /* the sum over its requests */
void session_told_close(struct session *s);
/* Whether the engine is on this machine: what the user said, else who serves its port. CLI_DONE, or an exit code after the
 * sentence (session_processes.c). */
int session_locate(struct session *s, struct runtime_choice *choice);
/* An engine at an address that is not this machine's may be in a container of it: it is local then. */
void session_find_here(struct engine *e);
void session_follow(struct session *s, const struct runtime_choice *choice);
void session_unfollow(struct session *s);
void session_look_before(struct session *s);
void session_look_after(struct session *s, struct joulet_surroundings *after);
/* The engine's part of the CPU's energy, by the share that is already there. */
void session_cpu_window(const struct session *s, struct run_window *w);
void session_cpu_request(const struct session *s, struct run_request *q);
/* Flags and notes for what was seen between the two. Figures of simulated sensors are not flagged: they see nothing of this
 * machine. */
void session_flag_request(struct session *s, struct run_request *q);
void session_flag_window(struct session *s, struct run_window *w);
void session_watch_heat(struct session *s); /* of the whole run */

/* Energy of [from, to) as one more window of the run. */
void session_window(struct session *s, const char *name, joulet_mark from, joulet_mark to, const struct joulet_baseline *idle,
                    bool isolated);
/* Fills in what one exchange tells: moments, tokens, outcome; prompt and answer, or with --private only the hash. */
void session_request_of(struct session *s, struct run_request *q, const struct generated *g, const char *prompt,
                        enum joulet_status st, const struct joulet_error *err);
/* Energy of the windows that the request already has; moves it into the run and the store. quiet_until: nothing else happened
 * until then (isolated), 0: other work follows. Returns the request in the run. */
struct run_request *session_request(struct session *s, struct run_request *q, joulet_mark quiet_until);
/* A request of the run once more, with the idle levels (n_channels) that are known only now; what was seen of the machine
 * meanwhile stays flagged. gap_from: end of the work before it, 0 none. */
void session_measure_again(struct session *s, struct run_request *q, const struct joulet_baseline *idle, joulet_mark gap_from);
/* The same of one that has no energy of its own, because others ran at the same time. */
struct run_request *session_request_unmeasured(struct session *s, struct run_request *q);
/* A window of a stored run once more, and a request with its windows and parts. gap_from: end of the activity before, 0 none;
 * until: what came after has no part in them. */
void session_window_again(struct session *s, struct run_window *w, bool isolated, joulet_mark until);
void session_request_again(struct session *s, struct run_request *q, bool isolated, joulet_mark gap_from, joulet_mark until);
/* The run's energy out of its requests, or of its one window. */
void session_sum(struct session *s);
/* Samples of a channel from memory, else from the store: a run can be longer than the meter's memory. */
bool session_trace(struct session *s, size_t channel, joulet_mark from, joulet_mark to, struct joulet_trace *out,
                   struct joulet_error *err);
/* Waits until request k of a series should start, so that a sensor that looks a part of the time sees all of it (2.5); returns at
 * once with other sensors. */
void session_place(struct session *s, size_t k);
/* What all requests together drew on such sensors, where it is surer than the sum over them (2.5); session_finish does it. */
void session_bursts(struct session *s);
/* After `end`: waits until the power has settled, at most cap_s; returns that moment. */
joulet_mark session_cooldown(struct session *s, joulet_mark end, double cap_s);

/* Sums, sampler cost, temperatures; the last write to the store. status: "done", "interrupted", "failed". */
void session_finish(struct session *s, const char *status);
void session_close(struct session *s);

/* Exit code of a finished session: 3 with --measured-only and nothing measured, 130/143 after a signal, else `otherwise`. */
int session_exit(const struct session *s, int otherwise);

/* Texts of files that a generation points to. */
struct session_files {
    char *messages, *tools; /* NULL: not given */
};
enum thinking session_thinking(const char *name); /* "off", "high", ...; NULL: the engine's default */
void session_files_release(struct session_files *f);
/* Options of a generation from the command line; the arrays live as long as the cli and *files. CLI_DONE or an exit code. */
int session_generation(const struct cli *c, struct generation *q, struct session_files *files);
/* Engine and model from the command line. When a server is started the load is a window of its own. */
int session_choose(struct session *s, struct runtime_choice *choice, const struct generation *q);
/* The same with what a plan says. */
struct session_ask {
    const char *engine, *model;
    int64_t context;         /* -1 not given */
    int threads, gpu_layers; /* 0 and -1 not given */
    int parallel;
    const char *const *options; /* "KEY=VALUE" of a server that we start */
    size_t n_options;
    const char *preload;            /* library for a server of our own, which is then started whatever answers; NULL */
    const char *const *environment; /* "K=V" for it, NULL-terminated; NULL none */
    const char *digest;             /* the model must have this one; NULL: any */
    const struct generation *q;     /* as requests will be: an engine that loads on demand loads the model for them now */
    bool further;                   /* the run has begun: with another engine, or it is resumed */
    struct joulet_error *why;       /* of one of many that are tried: takes the reason of a failure, which is not said then; what
                                       its load draws is not asked. NULL */
};
int session_choose_as(struct session *s, struct runtime_choice *choice, const struct session_ask *ask);
/* What the engine and the model are, into pairs of their own. */
void session_describe(const struct cli *c, const struct runtime_choice *choice, struct run_pairs *engine,
                      struct run_pairs *model);

#endif
