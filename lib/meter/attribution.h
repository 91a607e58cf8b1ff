/* attribution.h - the parts of joulet_attribution: devices, engines, requests. Inside lib/meter only.
 *
 * A ledger is one engine on one device: it shares what of the device's windows is the engine's (sharing_windows.c). */
#ifndef JL_ATTRIBUTION_H
#define JL_ATTRIBUTION_H

#include "lib/meter/sharing.h"

#define ATTRIBUTION_DEVICES  64 /* of an engine, and in all */
#define ATTRIBUTION_ENGINES  256
#define ATTRIBUTION_REQUESTS ((size_t)1 << 20)
#define NONE                 SIZE_MAX

struct attribution_window {
    joulet_mark from, to;
    double gross_j, u_j, u_common_j; /* gross_j NAN: nothing is known of it */
    double *parts;                   /* of groups; NULL: not known */
    size_t n_parts;
    bool learnt; /* weights were learnt from it while it waited for them */
};

/* Who is there, on a device: +1 and -1 in the order of time, until their window closes. */
struct attribution_presence {
    joulet_mark t;
    size_t request; /* NONE: a model was loaded or unloaded */
    int change;
};

struct attribution_device {
    double idle_w, empty_w;
    struct attribution_window *windows; /* that wait */
    size_t first, n, cap;
    struct attribution_presence *events;
    size_t first_event, n_events, cap_events;
    double there, loaded, shared_j; /* requests, models; integral of P0 dt/n */
    joulet_mark done_ns, last_ns;   /* of windows that closed, that came */
    joulet_mark last_event_ns;
    double carry_j;
    bool unused;  /* by every engine */
    size_t type;  /* of its sensor; 0: its own */
    double gap_s; /* time that was not measured */
    struct joulet_accounts accounts;
};

struct attribution_ledger {
    struct joulet_attribution *of;
    size_t engine, device;
    struct joulet_sharing *sharing;
    struct sharing_sums window; /* of the one that closes */
    double lam;
};

/* Of a request in one ledger. */
struct attribution_part {
    size_t slot;
    double idle_mark_j, gap_mark_s;
    bool final, left; /* told by the ledger; told to leave it */
    bool there, gone; /* in flight, and no longer, as the windows that closed say */
    double net_j, prefill_j, idle_j;
    double u2, sensor_u2, common_j; /* beside what is common; of it the sensor's; what is common */
};

struct attribution_request {
    uint64_t id;
    size_t engine, next_free;
    bool used, ended, released; /* released: no more steps of it will come */
    bool silent, guessed, begun;
    bool weights_assumed, weights_off;
    joulet_mark arrived, last;
    double prompt, context, computed; /* tokens it will compute, all before its answer; those that have their step */
    joulet_mark given_from, given_to; /* ends of the first and the last step that was given tokens of its prompt; 0: none */
    double told;                      /* those of them that the ledgers know */
    double made, pieces, untold;      /* tokens that came, pieces, tokens not yet in a step that was told */
    size_t cluster;                   /* the last one it had a token in; NONE */
    size_t entry;                     /* its place there, counted from the first there ever was */
    size_t before, after;             /* in the queue of prompts, or among the silent */
    size_t pending;                   /* ledgers and devices that are not final */
    double unmeasured_s;
    struct attribution_part *parts; /* one for each device of its engine */
};

/* ---- steps inferred (attribution_infer.c) ---------------------------------------------------------------------------- */

struct attribution_entry {
    size_t request;
    double prefill, decoded, context;
    bool first, leaves; /* its prompt is done with this step; no more of it will come */
};
struct attribution_held {
    joulet_mark from, to;
    size_t first, n;       /* entries */
    size_t prefiller;      /* who else computed its prompt; NONE */
    double prefill, given; /* its tokens; those of all */
    double decoders, contexts;
};
struct attribution_inference {
    struct attribution_held *held;
    struct attribution_entry *entries;
    size_t first, n, cap, first_entry, n_entries, cap_entries; /* those behind the last held step are of the open cluster */
    size_t dropped;           /* entries that are no longer there: numbers of entries count them */
    size_t open_entry;        /* number of the first entry of the open cluster */
    size_t cluster;           /* number of the open one */
    joulet_mark opened, last; /* first and last token in it; opened 0: empty */
    joulet_mark step_end;     /* of the last that closed */
    joulet_mark assigned;     /* steps that ended until then have their prompts */
    size_t prompt_head, prompt_tail, silent_head;
    size_t begun;             /* requests that decode */
    double gap_s;             /* median time between two tokens of a request */
    double piece_tokens;      /* tokens of a piece */
    double excess_s, prompts; /* time that steps took longer than what they decoded explains; tokens of prompts; of all so far */
    double decode_s;          /* lower quartile of the times of steps: those that compute no prompt */
    struct jl_equations times;
    double time_s[SHARING_TERMS], time_at; /* of a step, a prompt's token, a decoded token, a context; 0: not known yet */
};

struct attribution_engine {
    bool tells_steps, unsure;
    size_t group;
    size_t slots, n_ledgers, in_flight, in_ledgers; /* in_ledgers: requests that have not left them */
    size_t *ledgers;
    joulet_mark step_end; /* of steps told to the ledgers */
    struct attribution_inference infer;
    struct sharing_member *members;
    size_t cap_members;
};

struct joulet_attribution {
    joulet_attributed_told *tell;
    void *user;
    struct attribution_device devices[ATTRIBUTION_DEVICES];
    struct attribution_engine *engines;
    struct attribution_ledger *ledgers[ATTRIBUTION_DEVICES * 8];
    size_t n_devices, n_engines, n_ledgers;
    struct attribution_request *requests;
    size_t n_requests, cap_requests, free_request;
    joulet_mark now;
};

/* attribution.c */
enum joulet_status attribution_memory(struct joulet_error *err);
enum joulet_status attribution_no_such(const char *what, size_t i, struct joulet_error *err);
bool attribution_reserve(void **items, size_t size, size_t *first, size_t *n, size_t *cap, size_t more, size_t max);
/* A step for all ledgers of the engine. */
enum joulet_status attribution_tell(struct joulet_attribution *a, struct attribution_engine *e, joulet_mark from, joulet_mark to,
                                    size_t n, struct joulet_error *err);
bool attribution_members(struct attribution_engine *e, size_t n);
void attribution_give_back(struct joulet_attribution *a, struct attribution_request *r);
/* No more steps of it will come. */
void attribution_release(struct joulet_attribution *a, struct attribution_request *r);
void attribution_final(struct joulet_attribution *a, struct attribution_request *r);
size_t attribution_index(const struct attribution_engine *e, const struct joulet_attribution *a, size_t device);

/* attribution_windows.c: closes the windows of a device whose events are known. */
void attribution_close_windows(struct joulet_attribution *a, size_t device);
/* Time until which everything about the engine is known. */
joulet_mark attribution_known_until(const struct joulet_attribution *a, const struct attribution_engine *e);

/* attribution_infer.c */
enum joulet_status infer_enter(struct joulet_attribution *a, struct attribution_request *r, struct joulet_error *err);
enum joulet_status infer_piece(struct joulet_attribution *a, struct attribution_request *r, double tokens, joulet_mark t,
                               struct joulet_error *err);
enum joulet_status infer_end(struct joulet_attribution *a, struct attribution_request *r, double generated, joulet_mark t,
                             struct joulet_error *err);
enum joulet_status infer_progress(struct joulet_attribution *a, struct attribution_request *r, double done, joulet_mark t,
                                  struct joulet_error *err);
/* How many tokens its prompt has is told after they were given to steps: those that still wait are mended. */
void infer_recount(struct joulet_attribution *a, struct attribution_request *r, double computed, double context);
void infer_until(struct joulet_attribution *a, struct attribution_engine *e, joulet_mark t);
void infer_init(struct attribution_inference *x);
void infer_close(struct attribution_inference *x);

/* attribution_prompts.c */
#define ATTRIBUTION_TIMES_MIN 40 /* steps before their times are known */
struct attribution_entry *infer_entry(struct attribution_inference *x, size_t number);
/* How much longer a step took than what it decoded explains: a prompt was computed. */
double infer_excess(const struct attribution_inference *x, const struct attribution_held *h);
double infer_token_s(const struct attribution_inference *x); /* of a prompt; 0: not known */
/* Tokens of prompts that still find time in it. */
double infer_room(const struct attribution_inference *x, const struct attribution_held *h);
double infer_remaining(const struct attribution_request *r);
void infer_note_given(struct attribution_request *r, const struct attribution_held *h);
/* It holds tokens of a prompt that was only guessed, of a request that goes on: how many they are may still be told. */
bool infer_waits_for_count(const struct joulet_attribution *a, struct attribution_inference *x, const struct attribution_held *h);
void infer_give(struct attribution_request *r, struct attribution_held *h, size_t request, double tokens);
void infer_learn_decode_time(struct attribution_inference *x, double s);
void infer_learn_times(struct attribution_inference *x, const struct attribution_held *h);
/* Its first token came with step k. `behind`: prompt tokens of those that come after it in k. */
void infer_assign_prompt(struct attribution_inference *x, struct attribution_request *r, size_t k, struct attribution_entry *own,
                         double behind);

#endif
