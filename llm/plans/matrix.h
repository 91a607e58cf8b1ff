/* matrix.h - plans: which configurations ("cells") are measured with which prompts, how often and in which order. A plan comes
 * from a file, from options, or both (docs/plans.md); it is whole and checked before anything is started. */
#ifndef LLM_MATRIX_H
#define LLM_MATRIX_H

#include "llm/plans/plan.h"

#define PLAN_VERSION      1
#define PLAN_CELLS_MAX    ((size_t)1000)
#define PLAN_REQUESTS_MAX ((size_t)1000000)
#define PLAN_STREAMS_MAX  256

enum plan_order { PLAN_LISTED, PLAN_SHUFFLED, PLAN_ABBA };
const char *plan_order_name(enum plan_order o); /* "listed", "shuffled", "abba"; static */

/* One setting of a cell, in the text form in which it was checked. */
struct plan_setting {
    char *key, *value;
};
struct plan_cell {
    char *name;
    struct plan_setting *settings;
    size_t n_settings;
    size_t set; /* index in plan_matrix.sets */
};
/* Value of a key; NULL or `otherwise` where the cell does not set it. */
const char *plan_cell_text(const struct plan_cell *c, const char *key);
int64_t plan_cell_int(const struct plan_cell *c, const char *key, int64_t otherwise);
double plan_cell_real(const struct plan_cell *c, const char *key); /* NAN when not set; durations in s */
bool plan_cell_flag(const struct plan_cell *c, const char *key);
/* "KEY=VALUE" of every "server.KEY" or "request.KEY"; the list is malloc'ed, each text too. *out NULL when there is none. */
bool plan_cell_options(const struct plan_cell *c, const char *prefix, char ***out, size_t *n);
void plan_free_options(char **options, size_t n);
/* A copy with another value of a number, and a name after it; false: no memory. */
bool plan_cell_copy(struct plan_cell *out, const struct plan_cell *c, const char *key, double value);
/* Whether it is measured under load: several streams at once or requests at a rate, not one after the other. */
bool plan_cell_load(const struct plan_cell *c);
/* Whether two cells can be served by one server that we start. */
bool plan_same_server(const struct plan_cell *a, const struct plan_cell *b);

struct plan_matrix {
    char *title;
    int64_t repeat, warmup, seed;
    double baseline_s, baseline_most_s, baseline_every_s, cooldown_s;
    double max_ttft_s, max_tpot_s; /* limits at the 95th percentile; NAN none */
    bool find_rate;                /* search for the highest rate within the limits; needs one cell */
    enum plan_order order;
    char servers[12]; /* "together", "apart"; "auto": as the memory allows */
    struct plan_cell *cells;
    size_t n_cells;
    struct plan *sets; /* of the cells */
    char **set_names;  /* as written */
    size_t n_sets;
    char *text;      /* the whole plan with every cell written out: it can be parsed again */
    char sha256[65]; /* of the text and of what the prompts say */
};
void plan_matrix_release(struct plan_matrix *m);

/* ---- a plan in the making -------------------------------------------------------------------------------------------- */

struct plan_draft;
struct plan_draft *plan_draft_open(void); /* NULL on no memory */
void plan_draft_close(struct plan_draft *d);
/* JOULET_FORMAT with the line, JOULET_NEWER, JOULET_LIMIT. */
enum joulet_status plan_draft_file(struct plan_draft *d, const char *path, struct joulet_error *err);
enum joulet_status plan_draft_parse(struct plan_draft *d, const char *name, const char *text, size_t n, struct joulet_error *err);
/* From an option: `key` of the plan or shared by all cells. Replaces what the file says; JOULET_USAGE when the file varies it. */
enum joulet_status plan_draft_set(struct plan_draft *d, const char *key, const char *value, struct joulet_error *err);
/* From an option: one more axis, "KEY=VALUE, VALUE". */
enum joulet_status plan_draft_vary(struct plan_draft *d, const char *text, struct joulet_error *err);
/* One more value of an axis. */
enum joulet_status plan_draft_value(struct plan_draft *d, const char *key, const char *value, struct joulet_error *err);
bool plan_draft_has(const struct plan_draft *d, const char *key); /* set or varied */
/* Every cell, its prompts read. Nothing is left in *out on failure. */
enum joulet_status plan_draft_finish(const struct plan_draft *d, struct plan_matrix *out, struct joulet_error *err);

/* ---- keys -------------------------------------------------------------------------------------------------------------- */

enum plan_key_type { PLAN_TEXT, PLAN_INT, PLAN_REAL, PLAN_DURATION, PLAN_YESNO, PLAN_WORD };
struct plan_key {
    const char *key;
    enum plan_key_type type;
    bool head;         /* of the plan as a whole, not of a cell */
    bool server;       /* a server has to be started anew for another value */
    double min, max;   /* numbers and durations (s) */
    const char *words; /* PLAN_WORD: "on,off,auto" */
    const char *label; /* in the name of a cell: "%s threads" */
};
extern const struct plan_key plan_keys[];
extern const size_t plan_key_count;
/* Row of a key; those that begin with "server." or "request." share one. NULL: there is none. */
const struct plan_key *plan_key_find(const char *key);
/* Whether `value` can be one: JOULET_USAGE with the reason, to follow "KEY: ". */
enum joulet_status plan_key_check(const struct plan_key *k, const char *value, struct joulet_error *err);

/* ---- order ---------------------------------------------------------------------------------------------------------------- */

struct plan_step {
    size_t cell, prompt; /* index in the set of the cell */
    int64_t repeat;
    int64_t position; /* 0.. in this order */
    double at_s;      /* of a cell with a rate: when after the start of its level it arrives; else 0 */
};
/* Every request of the plan but warm-ups, in the order of sending; malloc'ed. first_cell: steps of the cells from there on. */
enum joulet_status plan_steps(const struct plan_matrix *m, size_t first_cell, struct plan_step **out, size_t *n,
                              struct joulet_error *err);

/* ---- search for the highest rate --------------------------------------------------------------------------------- */

/* Doubles until the limits are broken (halves when they are at once), then narrows the gap down to a tenth. */
struct plan_search {
    double rate, good, bad; /* the next to try; highest that held, lowest that did not; NAN none yet */
    int levels;
};
void plan_search_init(struct plan_search *s, double first_rate);
/* What came of s->rate; false when the search is over. */
bool plan_search_next(struct plan_search *s, bool held);

#endif
