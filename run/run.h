/* run.h - the record: what one run was, what it drew, and how we know. The one module that reads and writes its JSON and CSV.
 * Schema "joulet.run/1", documented in docs/record.md, JSON Schema in run/schema/joulet.run-1.json. */
#ifndef RUN_H
#define RUN_H

#include "lib/base/base.h"

#include <math.h>

#define RUN_SCHEMA "joulet.run/1"

/* Limits of a record: what is above is refused, whether it comes from a file or from us. */
enum {
    RUN_REQUESTS_MAX = 1000000,
    RUN_WINDOWS_MAX = 10000,
    RUN_CHANNELS_MAX = 1024,
    RUN_BASELINES_MAX = 100000,
    RUN_CELLS_MAX = 10000,
    RUN_SERIES_MAX = 100000,
    RUN_NOTES_MAX = 1000,
    RUN_FORMER_MAX = 100,
    RUN_PAIRS_MAX = 1000
};
#define RUN_JSON_MAX ((size_t)256 << 20) /* bytes of one record */

/* Energy of a window or a request: the total, by group, by channel. A group without channels is NAN and not written. */
struct run_channel_energy {
    char *channel; /* id */
    struct joulet_energy e;
};
struct run_energy {
    struct joulet_energy total;
    struct joulet_energy groups[JOULET_GROUP_COUNT];
    bool has_group[JOULET_GROUP_COUNT];
    struct run_channel_energy *channels;
    size_t n_channels;
};

/* Whose processor time it was (docs/method.md 6.4). */
struct run_cpu_time {
    double share, share_pm;     /* of the engine's processes in the busy time, and half of its 95 % interval; NAN unknown */
    double engine_s, busy_s;    /* processor time, over all hardware threads */
    int64_t processes;          /* of the engine, at the end; -1 not known */
    char source[24];            /* "process tree", "control group", "command"; "" unknown */
    struct joulet_energy e_llm; /* the engine's part of the CPU's energy; blind to GPUs */
    struct joulet_energy m_eff; /* what of it fell into prefill and decode */
};
void run_cpu_time_init(struct run_cpu_time *t); /* all unknown */

/* A half-open interval of the run (idle, load, cooldown) or of a request (queue, load, prefill, decode). */
struct run_window {
    char name[24];
    int64_t start_ns, end_ns;                      /* CLOCK_MONOTONIC of the run; run.wall_offset_ns gives the wall clock */
    double u_start_s, u_end_s;                     /* standard uncertainty of the two moments */
    double power_min_w, power_mean_w, power_max_w; /* NAN unknown */
    double power_p50_w, power_p95_w;               /* of the sum over devices, weighted by time (9); NAN unknown */
    double ramp_s;                                 /* from its start until 90 % of its mean power; NAN unknown */
    int64_t updates;                               /* distinct sensor updates inside, of the busiest channel in the total */
    int64_t cell;                                  /* of the run's own windows: index in run.cells; -1 none or all of them */
    struct run_cpu_time cpu_time;                  /* of a level and of a command; else unknown */
    struct run_energy energy;
};

struct run_tokens { /* -1: not told */
    int64_t prompt, cached, generated, reasoning;
};

enum run_outcome { RUN_OK, RUN_FAILED, RUN_CANCELLED };
const char *run_quantity_name(enum joulet_quantity q); /* "energy", "power", ... as in records; static, NULL for none */
const char *run_outcome_name(enum run_outcome o);      /* "ok", "failed", "cancelled"; static */

struct run_request {
    int64_t index;          /* 0.. in the order of sending */
    char *set, *category;   /* prompt set and category ("own_v1", "short"); NULL none */
    int64_t number, repeat; /* prompt number in its category; repeat 0.. ; -1 none */
    int64_t cell;           /* index in run.cells; -1 none */
    int64_t position;       /* 0.. in the order of sending over the whole plan; -1 none, as warm-ups */
    int64_t stream;         /* which of several connections at once, from 0; -1: one after the other */
    bool warmup;            /* left out of sums: the first of a series, and those that warm-up detection dropped (5.1) */
    int64_t check;          /* of the answer against what the prompt expects: -1 unknown, 0 failed, 1 passed */
    char *prompt, *answer;  /* NULL when private */
    char prompt_sha256[65];
    enum run_outcome outcome;
    char *error;  /* sentence when not RUN_OK */
    char *finish; /* "stop", "length", ... ; NULL unknown */
    struct run_tokens tokens;
    int64_t draft_tokens, draft_accepted; /* of speculative decoding: proposed, and taken over; -1 not told */
    int64_t tool_calls;                   /* that the answer asks for; -1 not told */
    double ttft_s, tpot_s;                /* client side; NAN unknown */
    double itl_p50_s, itl_p95_s, itl_p99_s;
    double server_prompt_s, server_decode_s, server_load_s, server_queue_s; /* engine's own; NAN not told */
    double server_tokens_per_s; /* the rate it tells beside them; no figure is made from it; NAN not told */
    char *phase_source;         /* "server timings", "client timing": where the prefill/decode boundary comes from */
    struct run_window *windows; /* queue, load, prefill, decode: tile the request */
    size_t n_windows;
    struct run_window *parts; /* thinking, answer: tile the decode of a model that thinks first; nothing is added up from them */
    size_t n_parts;
    double power_p50_w, power_p95_w; /* over all its windows */
    struct run_energy energy;        /* of the request: sum of its windows */
    struct run_cpu_time cpu_time;    /* beside the energy, never instead */
    double tail_j, settle_s;         /* NAN unknown */
    double temperature_before_c, temperature_after_c;
};

struct run_baseline {
    char *channel;
    struct joulet_baseline b;
    char level[8]; /* "L0" or "L1" */
};

/* Repeats of one prompt in one cell, and what warm-up detection found (5.1). */
struct run_series {
    int64_t cell;         /* -1 none */
    char *set, *category; /* NULL none */
    int64_t number;       /* of the prompt; -1 none */
    int64_t repeats;      /* successful ones, without the warm-up that the plan sends */
    int64_t dropped;      /* of these from the start on: now warm-up too */
    int64_t steady;       /* 1; 0: the rest still rises or falls; -1: too few to tell */
};

/* Ordered text pairs: settings, facts. Values are JSON scalars in text form; kind 's' string, 'n' number, 'b' bool. */
struct run_pair {
    char *key, *value;
    char kind;
};
struct run_pairs {
    struct run_pair *items;
    size_t n;
};
bool run_pairs_set(struct run_pairs *p, const char *key, char kind, const char *fmt, ...)
    JL_PRINTF(4, 5);                                                   /* replaces; keeps order */
const char *run_pairs_get(const struct run_pairs *p, const char *key); /* NULL when absent */
void run_pairs_release(struct run_pairs *p);

/* One configuration of a plan: what differs from the other cells stands in its name, all of it in the settings. */
struct run_cell {
    char *name;
    struct run_pairs settings; /* model, quantisation, context, threads, temperature, streams, rate_per_s, ... */
    struct run_energy energy;  /* of its requests, where they were measured together (2.5); else without channels */
};

/* Figures of a run as they were before its traces were measured again: of its requests index, windows and energy only. */
struct run_former {
    char *version;                  /* of the joulet that made them */
    int64_t replaced_wall_ns;       /* since 1970 */
    struct run_baseline *baselines; /* in the order of the run's own; none in records of before they were measured again too */
    size_t n_baselines;
    struct run_energy energy;
    struct run_window *windows;
    size_t n_windows;
    struct run_request *requests;
    size_t n_requests;
};

struct run {
    char id[40];   /* "20261121-152349-5f3a": sortable, unique */
    char kind[16]; /* "bench", "run", "chat", "exec", "monitor" */
    char *title;
    int64_t started_wall_ns;  /* since 1970 */
    int64_t start_ns, end_ns; /* CLOCK_MONOTONIC */
    int64_t wall_offset_ns;   /* wall - monotonic, taken once */
    char *version;            /* of joulet */
    char *figures_version;    /* of the joulet that made the energies; NULL: the same */
    char *status;             /* "done", "running", "interrupted", "failed" */
    struct run_pairs machine; /* os, kernel, arch, cpu, threads, cores, memory_bytes, governor, virtual_machine, host (hash),
                                 power_source ("mains", "battery"), load_average, temperature_before_c, temperature_after_c,
                                 driver, power limits, ... */
    struct run_pairs engine; /* protocol, url, version, build, started_by ("joulet", "user"), runtime, pid, gpu_layers, gpu_bytes,
                                draft_model, threads, context_length, ... */
    struct run_pairs model;  /* name, path, digest, quantisation, parameters, size_bytes, context_length, architecture */
    struct run_pairs settings; /* seed, temperature, ..., repeat, warmup, baseline_s, cooldown_s, private, order */
    struct run_pairs factors;  /* grid_g_per_kwh, grid_source, pue, price_per_kwh, currency */
    struct run_cell *cells;    /* of a plan with several configurations; none: the run has one, in `settings` */
    size_t n_cells;
    struct run_series *series; /* of a plan with repeats */
    size_t n_series;
    struct joulet_channel *channels; /* strings owned by the run */
    size_t n_channels;
    struct run_baseline *baselines;
    size_t n_baselines;
    struct run_window *windows; /* idle, load, cooldown: outside requests */
    size_t n_windows;
    struct run_request *requests;
    size_t n_requests;
    struct run_energy energy;  /* of the run: successful, not warm-up requests for bench/run/chat; the whole window for exec */
    struct run_pairs sampler;  /* cpu_s, reads, failed, late, dropped */
    struct run_former *former; /* the oldest first */
    size_t n_former;
    char **notes; /* sentences: what was unusual */
    size_t n_notes;
    char *argv;        /* exec: the command; NULL else */
    int64_t exit_code; /* exec: of the child; -1 else */
};

void run_init(struct run *r, const char *kind); /* id, version, clocks */
/* An id of the caller's choice: 8 to 39 letters, digits and dashes; false: it is none, and the run keeps its own. */
bool run_id_set(struct run *r, const char *id);
void run_release(struct run *r);
bool run_note(struct run *r, const char *fmt, ...) JL_PRINTF(2, 3);
void run_energy_init(struct run_energy *e); /* all unknown */
void run_energy_release(struct run_energy *e);
void run_window_init(struct run_window *w, const char *name, int64_t start_ns, int64_t end_ns);
void run_request_init(struct run_request *q);
void run_request_release(struct run_request *q);
/* Take ownership of what *x holds and leave *x empty; NULL on no memory (then *x is unchanged). */
struct run_window *run_add_window(struct run_window **list, size_t *n, struct run_window *x);
struct run_request *run_add_request(struct run *r, struct run_request *x);
bool run_add_baseline(struct run *r, const char *channel, const struct joulet_baseline *b, const char *level);
bool run_add_channel(struct run *r, const struct joulet_channel *c); /* deep copy */
/* Moves all energies of the run into a further `former`, and leaves the run with its windows and requests without figures.
 * false: no memory, or RUN_FORMER_MAX reached; the run is unchanged then. */
bool run_put_aside(struct run *r, int64_t wall_ns);
void run_former_release(struct run_former *f);
struct run_former *run_add_former(struct run *r, struct run_former *x); /* takes ownership as run_add_window does */
/* An empty cell; NULL on no memory or above RUN_CELLS_MAX. The pointer holds until the next call. */
struct run_cell *run_add_cell(struct run *r, const char *name);
struct run_series *run_add_series(struct run *r, struct run_series *x); /* takes ownership as run_add_window does */
bool run_energy_add_channel(struct run_energy *e, const char *channel, const struct joulet_energy *x);
/* Adds the channels of x, of windows after those of e, to e (joulet_energy_chain); no total yet. False: no memory. */
bool run_energy_chain(struct run_energy *e, const struct run_energy *x);
const struct joulet_channel *run_channel(const struct run *r, const char *id); /* NULL when the run has no such channel */
/* Energy of the run from its successful, not warm-up requests and its levels: every channel chained over them, then total and
 * groups. Cells that were measured together give what they have. */
bool run_energy_from_requests(struct run *r);
/* Channels of those requests of one cell, -1: of all that no cell has an energy for; no total yet. */
bool run_energy_of_cell(const struct run *r, int64_t cell, struct run_energy *e);
/* Total and groups from `channels`: only those with in_total of the run's channel list, by joulet_energy_add. */
void run_energy_total(const struct run *r, struct run_energy *e);

/* ---- JSON. Keys in SI units; unknown is null; reals with 15 digits, so that export, import, export gives the same bytes.  */
enum joulet_status run_to_json(const struct run *r, struct jl_buf *out,
                               struct joulet_error *err); /* one indented object + '\n' */
enum joulet_status run_from_json(const char *text, size_t n, struct run *out,
                                 struct joulet_error *err); /* JOULET_FORMAT, JOULET_NEWER */
/* Parts, for the store and for `exec --json`: one request, one energy object. Compact, no newline. */
enum joulet_status run_request_to_json(const struct run_request *q, struct jl_buf *out, struct joulet_error *err);
enum joulet_status run_request_from_json(const char *text, size_t n, struct run_request *out, struct joulet_error *err);
enum joulet_status run_energy_to_json(const struct joulet_energy *e, struct jl_buf *out, struct joulet_error *err);
enum joulet_status run_head_to_json(const struct run *r, struct jl_buf *out,
                                    struct joulet_error *err); /* the run without requests */
/* One channel, for traces that are kept beside the record. The strings are the caller's: run_channel_release. */
enum joulet_status run_channel_to_json(const struct joulet_channel *c, struct jl_buf *out, struct joulet_error *err);
enum joulet_status run_channel_from_json(const char *text, size_t n, struct joulet_channel *out, struct joulet_error *err);
void run_channel_release(struct joulet_channel *c);
/* The same text, at most 63 bytes of it, where it stays: for `method` of an energy. Of too many different ones "other". */
const char *run_intern(const char *s);
/* ---- CSV: header row, one row per window and request; docs/record.md names the columns --------------------------- */
enum joulet_status run_to_csv(const struct run *r, struct jl_buf *out, struct joulet_error *err);

/* What the record says in sums, for tables and lists; pure. */
struct run_sums {
    size_t requests, ok, failed;
    int64_t tokens_in, tokens_out, tokens_cached;
    double wall_s, prefill_s, decode_s;
    struct joulet_energy energy, prefill, decode, load; /* over successful, not warm-up requests */
    double ttft_p50_s, tpot_mean_s, itl_p50_s, itl_p95_s, itl_p99_s;
    double power_mean_w, power_max_w;
}; /* Unknown is NAN or -1. A latency is the median over requests of each request's own figure; tpot_mean_s weighs by tokens. A
      run without requests (exec, monitor) gives its whole energy, from its own windows. */
double run_window_s(const struct run_window *w);
double run_request_s(const struct run_request *q); /* from its first window to its last; NAN without windows */
/* The energy of all requests was found together (2.5): run.energy is surer than the sum over them, and run_sum gives it. */
bool run_is_joint(const struct run *r);
bool run_cell_is_joint(const struct run_cell *c); /* the same of one cell */
void run_sum(const struct run *r, const char *category /* NULL: all */, struct run_sums *out);
/* Of the same requests, of their levels, or of a command; all unknown when nobody was followed. m_eff lacks levels. */
void run_cpu_time_of(const struct run *r, struct run_cpu_time *out);

/* The same of one cell. Requests that ran at once have no energy of their own: the windows called "level" of the cell have it,
 * and tokens are those of the requests inside them. */
struct run_cell_sums {
    size_t requests, ok;
    size_t outside;        /* of ok: sent under load, and no level that was measured holds them */
    size_t levels;         /* 0: one after the other */
    size_t checked, right; /* answers with a check, and those that passed */
    int64_t tokens_in, tokens_out;
    double wall_s;
    struct joulet_energy energy;
    double ttft_p95_s, tpot_p95_s;
};
void run_sum_cell(const struct run *r, int64_t cell, struct run_cell_sums *out);
bool run_is_level(const struct run_window *w); /* several requests at once */
/* The level that a request was measured as a part of; NULL: it was sent by itself, or outside of every level. Borrowed of r. */
const struct run_window *run_level_of(const struct run *r, const struct run_request *q);

#endif
