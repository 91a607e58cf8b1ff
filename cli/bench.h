/* bench.h - inside of `joulet bench`: a plan, the servers of its cells, and how far it has come. */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "cli/session.h"
#include "llm/plans/matrix.h"

/* One server that cells share: one that we start, or one that runs already. */
struct bench_server {
    struct runtime_choice choice;
    bool open, warm;
    bool refused;            /* it did not start, and is not started again */
    struct joulet_error why; /* of that */
    size_t first;            /* cell that tells how it is started */
    int parallel;            /* most streams of its cells */
    int64_t watch;           /* cell whose watch it has */
};
/* A cell as it is sent: the arrays belong to it. */
struct bench_cell {
    size_t server;
    struct generation q;
    char **server_options, **request_options;
    size_t n_server_options, n_request_options;
};

struct bench {
    struct session s;
    struct plan_matrix m;
    struct generation q; /* what the command line says beside the plan: stop texts, timeout, tools */
    struct session_files files;
    struct bench_server *servers;
    size_t n_servers;
    struct bench_cell *cells; /* m.n_cells */
    bool together;            /* all servers live at once, else one after the other */
    struct plan_step *steps;
    size_t n_steps;
    bool *finished; /* by position: measured before the run was interrupted */
    size_t n_finished;
    struct run_pairs *old_cells; /* of a run that is resumed: settings of its cells, for the digests of its models */
    size_t n_old_cells;
    char *old_digest;
    bool one;                       /* one configuration, one request after the other: the record needs no cells */
    joulet_mark t_first;            /* of the plan, for the ETA */
    joulet_mark idle_at, idle_from; /* end and start of the last idle level; 0 none */
    size_t idle_request;            /* first request after it */
    bool looked, extend;            /* the power of a request was compared with it; it is taken anew for that */
    size_t done, planned;           /* in this session */
    bool spare;                     /* cells may fail, but for the first: the reason stands in `why` and is not said */
    struct joulet_error why;        /* of the last failure */
};

/* bench_plan.c: the plan from a file and from options; CLI_DONE or an exit code. */
int bench_plan(struct bench *b);
int bench_dry_run(const struct bench *b);
bool bench_make_cells(struct bench *b); /* b->cells for every cell of the plan; false: no memory */
void bench_describe(struct bench *b);   /* the plan in the record */
void bench_release(struct bench *b);

/* bench_servers.c */
int bench_servers(struct bench *b);          /* decides who lives with whom, and starts the first of them */
int bench_use(struct bench *b, size_t cell); /* its server answers from here on, warm, with an idle level */
void bench_servers_close(struct bench *b);

/* bench_steps.c */
void bench_idle(struct bench *b); /* an idle level, once the power has settled */
bool bench_idle_doubtful(struct bench *b);
bool bench_warm_up(struct bench *b, size_t cell);
/* Every step that is not finished yet. Returns false when the plan must stop. */
bool bench_run_steps(struct bench *b, const struct plan_step *steps, size_t n);
bool bench_finished(const struct bench *b, const struct plan_step *step);
bool bench_go_on(enum joulet_status st); /* false when interrupted, or the engine is gone */
void bench_progress(const struct bench *b, const char *what);
void bench_progress_end(const struct bench *b);
/* What the plan says of a request. */
void bench_place(struct run_request *q, const struct bench *b, const struct plan_step *step, bool warmup);
struct generation bench_ask(const struct bench *b, size_t cell, const struct plan_prompt *p);

/* bench_load.c: steps [0, n) of one cell at once. */
bool bench_level(struct bench *b, const struct plan_step *steps, size_t n);
/* bench_rate.c: level after level. */
bool bench_find_rate(struct bench *b);

/* bench_resume.c */
int bench_resume_load(struct bench *b, struct run *old); /* the run that --resume names; its plan into b->m */
int bench_resume_check(struct bench *b, const struct run *old);
void bench_resume_adopt(struct bench *b); /* after session_resume: what is finished */

/* bench_warm.c: warm-up detection over the repeats of each prompt (5.1). */
void bench_series(struct bench *b);

/* bench_trial.c */
int bench_trial(struct bench *b);

#endif
