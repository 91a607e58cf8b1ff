/* bench_resume.c - going on with a plan that was interrupted: by Ctrl-C, by the end of the engine, by the end of the program.
 * What is finished stays and is not sent again; the plan, its prompts and the models must be those it was begun with. */
#include "cli/bench.h"

#include <stdlib.h>
#include <string.h>

static int failed(const struct bench *b, const struct joulet_error *err)
{
    int code = cli_fail(b->s.cli, err);
    return err->status == JOULET_NOT_FOUND ? CLI_USAGE : code;
}

static int check_state(const struct bench *b, const struct run *old)
{
    const char *status = old->status ? old->status : "";
    if (strcmp(old->kind, "bench") != 0)
        return cli_usage(b->s.cli, "run %s is no bench: only a plan can be resumed", old->id);
    if (strcmp(status, "running") == 0)
        return cli_usage(b->s.cli, "run %s is being measured right now; end it first", old->id);
    if (strcmp(status, "done") == 0)
        return cli_usage(b->s.cli, "run %s is complete: there is nothing to resume", old->id);
    if (!run_pairs_get(&old->settings, "plan_sha256"))
        return cli_usage(b->s.cli, "run %s is from a joulet that could not resume yet: measure anew", old->id);
    return CLI_DONE;
}

/* The plan as the record has it; a private record has none, then it is given again. */
static int recorded_plan(struct bench *b, const struct run *old)
{
    struct joulet_error err;
    const char *text = run_pairs_get(&old->settings, "plan");
    if (cli_given(b->s.cli, "plan") || !text)
        return bench_plan(b);
    struct plan_draft *d = plan_draft_open();
    if (!d)
        return CLI_FAILED;
    enum joulet_status st = plan_draft_parse(d, "the recorded plan", text, strlen(text), &err);
    if (st == JOULET_OK)
        st = plan_draft_finish(d, &b->m, &err);
    plan_draft_close(d);
    return st == JOULET_OK ? CLI_DONE : failed(b, &err);
}

static int check_plan(const struct bench *b, const struct run *old)
{
    const char *plan = run_pairs_get(&old->settings, "plan_sha256"), *text = run_pairs_get(&old->settings, "plan");
    if (strcmp(plan, b->m.sha256) == 0)
        return CLI_DONE;
    if (text && strcmp(text, b->m.text) == 0)
        return cli_usage(b->s.cli, "the prompts have changed since run %s was begun: bring them back, or measure anew", old->id);
    return cli_usage(b->s.cli, "the plan is another one than that of run %s: give the same plan and options, or measure anew",
                     old->id);
}

/* For the digests of the models: the pairs of the cells are written anew. */
static bool remember_cells(struct bench *b, const struct run *old)
{
    const char *digest = run_pairs_get(&old->model, "digest");
    b->old_digest = digest ? jl_strdup(digest) : NULL;
    b->old_cells = calloc(old->n_cells + 1, sizeof *b->old_cells);
    for (size_t i = 0; b->old_cells && i < old->n_cells; i++) {
        digest = run_pairs_get(&old->cells[i].settings, "digest");
        if (digest)
            run_pairs_set(&b->old_cells[i], "digest", 's', "%s", digest);
        b->n_old_cells++;
    }
    return b->old_cells && (!digest || b->n_old_cells || b->old_digest);
}

int bench_resume_load(struct bench *b, struct run *old)
{
    const struct cli *c = b->s.cli;
    struct joulet_error err;
    struct store *store;
    *old = (struct run){0};
    if (cli_flag(c, "no-store"))
        return cli_usage(c, "--resume goes on with a run of the database: take --no-store away");
    if (store_open(&store, cli_str(c, "db"), &err) != JOULET_OK)
        return failed(b, &err);
    enum joulet_status st = store_load(store, cli_str(c, "resume"), old, &err);
    store_close(store);
    if (st != JOULET_OK)
        return failed(b, &err);
    int code = check_state(b, old);
    if (code == CLI_DONE)
        code = recorded_plan(b, old);
    if (code == CLI_DONE)
        code = check_plan(b, old);
    if (code == CLI_DONE && !remember_cells(b, old))
        code = CLI_FAILED;
    return code;
}

/* Finished is what succeeded: a request that failed or was broken off is sent again. */
void bench_resume_adopt(struct bench *b)
{
    const struct run *r = &b->s.run;
    for (size_t i = 0; i < r->n_requests; i++)
        if (r->requests[i].position >= (int64_t)b->n_finished)
            b->n_finished = (size_t)r->requests[i].position + 1;
    b->finished = calloc(b->n_finished + 1, sizeof *b->finished);
    if (!b->finished) {
        b->n_finished = 0;
        return;
    }
    for (size_t i = 0; i < r->n_requests; i++)
        if (r->requests[i].position >= 0 && r->requests[i].outcome == RUN_OK)
            b->finished[r->requests[i].position] = true;
}
