/* api_runs.c - stored runs, and runs that are started from here. What may be asked of a run is a table: each member of the body
 * is one option of `joulet bench` or `joulet run`, with its limits. Nothing of it is ever read by a shell, names no file of this
 * machine, and asks no engine but an upstream. */
#include "llm/plans/plan.h"
#include "server/api.h"
#include "server/api_jobs.h"
#include "store/store.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MOST 16
#define ANSWER_MAX ((size_t)256 << 20)
#define TEXT_MAX   ((size_t)32 * 1024)

enum { FOR_BENCH = 1, FOR_RUN = 2, FOR_BOTH = 3 };

/* ---- what may be asked ------------------------------------------------------------------------------------------- */

enum member_type { IS_TEXT, IS_WHOLE, IS_REAL, IS_SECONDS, IS_FLAG };
static const struct member {
    const char *name, *option; /* option NULL: read elsewhere */
    int kinds;
    enum member_type type;
    double least, most; /* of a text: its length in bytes */
} members[] = {
    {"kind", NULL, FOR_BOTH, IS_TEXT, 1, 16},
    {"upstream", NULL, FOR_BOTH, IS_TEXT, 1, 1024},
    {"prompt", NULL, FOR_RUN, IS_TEXT, 1, (double)TEXT_MAX},
    {"prompts", "--prompts", FOR_BENCH, IS_TEXT, 1, 64},
    {"model", "--model", FOR_BOTH, IS_TEXT, 1, 255},
    {"system", "--system", FOR_BOTH, IS_TEXT, 1, (double)TEXT_MAX},
    {"title", "--title", FOR_BOTH, IS_TEXT, 1, 200},
    {"repeat", "--repeat", FOR_BENCH, IS_WHOLE, 1, 1000},
    {"warmup", "--warmup", FOR_BENCH, IS_WHOLE, 0, 100},
    {"streams", "--streams", FOR_BENCH, IS_WHOLE, 1, 256},
    {"max_tokens", "--max-tokens", FOR_BOTH, IS_WHOLE, 1, 1000000},
    {"seed", "--seed", FOR_BOTH, IS_WHOLE, 0, 4294967295.0},
    {"top_k", "--top-k", FOR_BOTH, IS_WHOLE, 0, 1000000},
    {"top_p", "--top-p", FOR_BOTH, IS_REAL, 0, 1},
    {"temperature", "--temperature", FOR_BOTH, IS_REAL, 0, 100},
    {"baseline_s", "--baseline", FOR_BENCH, IS_SECONDS, 0, 600},
    {"cooldown_s", "--cooldown", FOR_BENCH, IS_SECONDS, 0, 600},
    {"private", "--private", FOR_BOTH, IS_FLAG, 0, 0},
};

struct asked {
    struct api_call *c;
    const json_t *body;
    const struct server_upstream *upstream;
    bool bench;
    const char *argv[JOB_ARGS_MAX + 1];
    size_t n;
    char numbers[JL_COUNT(members)][40];
};

static bool bad(struct asked *a, const char *member, const char *what)
{
    char message[200];
    snprintf(message, sizeof message, "%.64s %s", member, what);
    api_error(a->c, 400, "bad_body", message, "GET /joulet/openapi.json describes what a run may be asked");
    return false;
}

static const struct member *member_named(const char *name)
{
    for (size_t i = 0; i < JL_COUNT(members); i++)
        if (strcmp(members[i].name, name) == 0)
            return &members[i];
    return NULL;
}

static void add(struct asked *a, const char *text)
{
    if (a->n < JOB_ARGS_MAX)
        a->argv[a->n++] = text;
}

static bool take_number(struct asked *a, const struct member *m, const json_t *v)
{
    char *text = a->numbers[m - members];
    double x = json_number_value(v);
    if (!json_is_number(v) || x < m->least || x > m->most || (m->type == IS_WHOLE && x != floor(x))) {
        char what[120];
        snprintf(what, sizeof what, "is no %s from %.10g to %.10g", m->type == IS_WHOLE ? "whole number" : "number", m->least,
                 m->most);
        return bad(a, m->name, what);
    }
    snprintf(text, sizeof a->numbers[0], m->type == IS_SECONDS ? "%.10gs" : "%.10g", x);
    if (strchr(text, 'e') && m->type != IS_WHOLE) /* what is that small is nothing, and options know no exponents */
        snprintf(text, sizeof a->numbers[0], m->type == IS_SECONDS ? "%.9fs" : "%.9f", x);
    add(a, m->option);
    add(a, text);
    return true;
}

static bool take_text(struct asked *a, const struct member *m, const json_t *v)
{
    const char *text = json_string_value(v);
    if (!text || json_string_length(v) < (size_t)m->least || json_string_length(v) > (size_t)m->most ||
        strlen(text) != json_string_length(v))
        return bad(a, m->name, "is no text, or an empty or too long one");
    if (m->option) {
        add(a, m->option);
        add(a, text);
    }
    return true;
}

static bool take(struct asked *a, const char *name, const json_t *v)
{
    const struct member *m = member_named(name);
    if (!m || !(m->kinds & (a->bench ? FOR_BENCH : FOR_RUN)))
        return bad(a, name, m ? "is not for this kind of run" : "is not known");
    if (json_is_null(v)) /* not given */
        return true;
    if (m->type == IS_TEXT)
        return take_text(a, m, v);
    if (m->type != IS_FLAG)
        return take_number(a, m, v);
    if (!json_is_boolean(v))
        return bad(a, name, "is neither true nor false");
    if (json_is_true(v))
        add(a, m->option);
    return true;
}

static const char *text_of(const struct asked *a, const char *name)
{
    return json_string_value(json_object_get(a->body, name));
}

static bool find_upstream(struct asked *a)
{
    const struct server_options *o = &a->c->rules->o;
    const char *url = text_of(a, "upstream");
    for (size_t i = 0; i < o->n_upstreams && !a->upstream; i++)
        if (!url || strcmp(o->upstreams[i].url, url) == 0)
            a->upstream = &o->upstreams[i];
    return a->upstream || bad(a, "upstream", "is none of this server's: GET /joulet/health lists them");
}

static bool take_all(struct asked *a)
{
    const char *kind = text_of(a, "kind"), *name;
    json_t *v;
    a->bench = !kind || strcmp(kind, "bench") == 0;
    if (kind && !a->bench && strcmp(kind, "run") != 0)
        return bad(a, "kind", "is neither bench nor run");
    json_object_foreach((json_t *)(uintptr_t)a->body, name, v) if (!take(a, name, v)) return false;
    if (a->bench && text_of(a, "prompts") && !api_is_prompt_set(text_of(a, "prompts")))
        return bad(a, "prompts", "is no set of prompts: GET /joulet/prompts lists them");
    if (!a->bench && !text_of(a, "prompt"))
        return bad(a, "prompt", "is missing");
    return find_upstream(a);
}

/* ---- starting ---------------------------------------------------------------------------------------------------- */

/* Requests that will be sent; -1: streams take as many as they need. */
static int64_t total_of(const struct asked *a)
{
    struct plan p;
    const char *set = text_of(a, "prompts");
    const json_t *repeat = json_object_get(a->body, "repeat"), *warmup = json_object_get(a->body, "warmup");
    if (!a->bench)
        return 1;
    if (json_is_number(json_object_get(a->body, "streams")) || plan_open(&p, set ? set : "nine", NULL) != JOULET_OK)
        return -1;
    int64_t n = (int64_t)p.n * (json_is_number(repeat) ? (int64_t)json_number_value(repeat) : 1);
    plan_release(&p);
    return n + (json_is_number(warmup) ? (int64_t)json_number_value(warmup) : 1);
}

static bool put_state(struct api_call *c, int status, const struct job_view *v, int64_t done)
{
    struct jl_buf out;
    jl_buf_init(&out, 1 << 14);
    put_begin(&out, NULL, '{');
    put_text(&out, "schema", "joulet.run-state/1");
    put_text(&out, "id", v->id);
    put_text(&out, "kind", v->kind);
    put_text(&out, "state", job_state_name(v->state));
    put_time(&out, "asked", v->asked_wall_ns);
    put_time(&out, "started", v->started_wall_ns);
    put_time(&out, "ended", v->ended_wall_ns);
    put_begin(&out, "progress", '{');
    put_count(&out, "done", done);
    put_count(&out, "total", v->total);
    put_end(&out, '}');
    put_text(&out, "error", v->error);
    jl_buf_str(&out, "}\n");
    bool ok = api_json(c, status, &out);
    jl_buf_release(&out);
    return ok;
}

static bool start(struct asked *a)
{
    struct job_view v = {.total = total_of(a)};
    struct run named; /* an id like any other run's */
    run_init(&named, a->bench ? "bench" : "run");
    snprintf(v.id, sizeof v.id, "%s", named.id);
    snprintf(v.kind, sizeof v.kind, "%s", named.kind);
    run_release(&named);
    add(a, "--run-id");
    add(a, v.id);
    if (!a->bench) {
        add(a, "--");
        add(a, text_of(a, "prompt"));
    }
    if (!jobs_add(a->c->server->api->jobs, &v, a->argv, a->upstream->key))
        return api_error(a->c, 503, "busy", "too many runs wait already", "stop one, or ask again when one has ended");
    jobs_get(a->c->server->api->jobs, v.id, &v);
    return put_state(a->c, 202, &v, 0);
}

static bool prepare(struct asked *a)
{
    const struct server_api *api = &a->c->server->o.api;
    const char *kind = text_of(a, "kind");
    add(a, api->program);
    add(a, kind && strcmp(kind, "run") == 0 ? "run" : "bench");
    for (size_t i = 0; api->arguments && api->arguments[i]; i++)
        add(a, api->arguments[i]);
    if (api->db) {
        add(a, "--db");
        add(a, api->db);
    }
    add(a, "--json");
    add(a, "-o");
    add(a, "/dev/null"); /* the record is in the database */
    if (!take_all(a))
        return false;
    add(a, "--engine");
    add(a, a->upstream->url);
    return true;
}

/* The parser calls itself for every level, on the stack of a connection's thread: what is deeper than a body can be is not shown
 * to it. */
static json_t *body_of(const struct api_call *c)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < c->body_n; i++) {
        char b = c->body[i];
        if (in_string && b == '\\')
            i++;
        else if (b == '"')
            in_string = !in_string;
        else if (!in_string && (b == '{' || b == '['))
            depth++;
        else if (!in_string && depth && (b == '}' || b == ']'))
            depth--;
        if (depth > DEPTH_MOST)
            return NULL;
    }
    return json_loadb(c->body, c->body_n, JSON_REJECT_DUPLICATES, NULL);
}

bool api_run_start(struct api_call *c)
{
    struct asked *a = c->server->o.api.program ? calloc(1, sizeof *a) : NULL;
    if (!a)
        return c->server->o.api.program ? api_no_memory(c)
                                        : api_error(c, 503, "unavailable", "runs cannot be started from here", NULL);
    json_t *body = body_of(c);
    a->c = c;
    a->body = body;
    bool ok = true;
    if (!json_is_object(body))
        ok = api_error(c, 400, "bad_body", "the body is no JSON object", "send {} for nine prompts on the first upstream");
    else if (prepare(a))
        ok = start(a);
    json_decref(body);
    free(a);
    return ok;
}

/* ---- stored ------------------------------------------------------------------------------------------------------ */

static bool open_store(struct api_call *c, struct store **s)
{
    struct joulet_error err;
    if (store_open(s, c->server->o.api.db, &err) == JOULET_OK)
        return true;
    api_failed(c, &err);
    return false;
}

static const char *state_of(const struct store_row *row, const struct job_view *jobs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(jobs[i].id, row->id) == 0)
            return job_state_name(jobs[i].state);
    return row->status;
}

static void put_row(struct jl_buf *out, const struct store_row *row, const char *state)
{
    struct joulet_energy e = JOULET_ENERGY_UNKNOWN;
    e.net_j = row->net_j;
    e.net_pm_j = row->net_pm_j;
    e.gross_j = row->gross_j;
    e.provenance = row->provenance;
    e.method = ""; /* the record has it */
    put_sep(out);
    jl_buf_str(out, "\n");
    put_begin(out, NULL, '{');
    put_text(out, "id", row->id);
    put_text(out, "kind", row->kind);
    put_text(out, "state", state);
    put_text(out, "title", row->title);
    put_text(out, "model", row->model);
    put_text(out, "engine", row->engine);
    put_time(out, "time", row->started_wall_ns);
    put_count(out, "requests", (int64_t)row->requests);
    put_count(out, "generated_tokens", row->tokens_out);
    put_energy(out, "energy", &e);
    put_end(out, '}');
}

/* Asked for, and not in the database yet, or never. */
static void put_job(struct jl_buf *out, const struct job_view *v)
{
    struct store_row row = {.net_j = NAN, .net_pm_j = NAN, .gross_j = NAN, .tokens_out = -1};
    snprintf(row.id, sizeof row.id, "%s", v->id);
    snprintf(row.kind, sizeof row.kind, "%s", v->kind);
    row.started_wall_ns = v->started_wall_ns;
    put_row(out, &row, job_state_name(v->state));
}

struct wanted_runs {
    const char *before, *after, *kind, *model, *state;
    size_t limit;
};

static bool is_wanted(const struct wanted_runs *w, const char *id, const char *kind, const char *model, const char *state)
{
    return (!w->before || strcmp(id, w->before) < 0) && (!w->after || strcmp(id, w->after) > 0) &&
           (!w->kind || strcmp(kind, w->kind) == 0) && (!w->model || (model && strcmp(model, w->model) == 0)) &&
           (!w->state || (state && strcmp(state, w->state) == 0));
}

static bool is_stored(const struct store_row *rows, size_t n, const char *id)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(rows[i].id, id) == 0)
            return true;
    return false;
}

/* A job or a row of the database, to be put in order by id: ids begin with the time. */
struct listed {
    const struct store_row *row;
    const struct job_view *job;
    const char *id;
};

static int later_first(const void *a, const void *b)
{
    return strcmp(((const struct listed *)b)->id, ((const struct listed *)a)->id);
}

static size_t gather(const struct wanted_runs *w, const struct store_row *rows, size_t n, const struct job_view *jobs,
                     size_t n_jobs, struct listed *all)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (is_wanted(w, rows[i].id, rows[i].kind, rows[i].model, state_of(&rows[i], jobs, n_jobs)))
            all[k++] = (struct listed){.row = &rows[i], .id = rows[i].id};
    for (size_t i = 0; i < n_jobs; i++)
        if (!is_stored(rows, n, jobs[i].id) && is_wanted(w, jobs[i].id, jobs[i].kind, NULL, job_state_name(jobs[i].state)))
            all[k++] = (struct listed){.job = &jobs[i], .id = jobs[i].id};
    qsort(all, k, sizeof *all, later_first);
    return k;
}

static bool list(struct api_call *c, const struct wanted_runs *w, const struct store_row *rows, size_t n,
                 const struct job_view *jobs, size_t n_jobs)
{
    struct jl_buf out;
    struct listed *all = calloc(n + n_jobs + 1, sizeof *all);
    if (!all)
        return api_no_memory(c);
    size_t k = gather(w, rows, n, jobs, n_jobs, all), most = k < w->limit ? k : w->limit;
    size_t from = w->after && k > w->limit ? k - w->limit : 0; /* those that follow it, not the newest */
    jl_buf_init(&out, ANSWER_MAX);
    put_begin(&out, NULL, '{');
    put_text(&out, "schema", "joulet.runs/1");
    put_text(&out, "before", most && (k > w->limit || w->after) ? all[from + most - 1].id : NULL);
    put_text(&out, "after", most ? all[from].id : w->after);
    put_begin(&out, "runs", '[');
    for (size_t i = from; i < from + most; i++)
        if (all[i].row)
            put_row(&out, all[i].row, state_of(all[i].row, jobs, n_jobs));
        else
            put_job(&out, all[i].job);
    jl_buf_str(&out, "]}\n");
    free(all);
    bool ok = api_json(c, 200, &out);
    jl_buf_release(&out);
    return ok;
}

bool api_runs(struct api_call *c)
{
    struct store *s;
    struct store_row *rows;
    struct joulet_error err;
    size_t n;
    struct wanted_runs w = {.before = api_query_get(&c->query, "before"),
                            .after = api_query_get(&c->query, "after"),
                            .kind = api_query_get(&c->query, "kind"),
                            .model = api_query_get(&c->query, "model"),
                            .state = api_query_get(&c->query, "state")};
    struct job_view *jobs;
    if (!api_limit(c, API_LIMIT, API_LIMIT_MAX, &w.limit) || !open_store(c, &s))
        return true;
    enum joulet_status status = store_list(s, 0, &rows, &n, &err);
    store_close(s);
    if (status != JOULET_OK)
        return api_failed(c, &err);
    jobs = calloc(JOBS_MAX, sizeof *jobs);
    bool ok = jobs ? list(c, &w, rows, n, jobs, jobs_list(c->server->api->jobs, jobs)) : api_no_memory(c);
    free(jobs);
    store_rows_free(rows, n);
    return ok;
}

static bool unknown_run(struct api_call *c)
{
    return api_error(c, 404, "not_found", "no run of this id is stored", "GET /joulet/runs lists them");
}

bool api_run(struct api_call *c)
{
    struct store *s;
    struct run r;
    struct jl_buf out;
    struct joulet_error err;
    char full[40];
    if (!open_store(c, &s))
        return true;
    enum joulet_status status = store_full_id(s, c->name, full, &err);
    bool same = status == JOULET_OK && (strcmp(full, c->name) == 0 || strcmp(c->name, "last") == 0);
    if (same)
        status = store_load(s, full, &r, &err);
    store_close(s);
    if (!same && (status == JOULET_OK || status == JOULET_NOT_FOUND || status == JOULET_USAGE))
        return unknown_run(c);
    if (status != JOULET_OK)
        return api_failed(c, &err);
    jl_buf_init(&out, ANSWER_MAX);
    status = run_to_json(&r, &out, &err);
    run_release(&r);
    bool ok = status == JOULET_OK ? api_json(c, 200, &out) : api_failed(c, &err);
    jl_buf_release(&out);
    return ok;
}

/* ---- states ------------------------------------------------------------------------------------------------------ */

/* Requests of a run that are stored; 0: none, or nobody can tell now. */
static int64_t done_of(struct api_call *c, const char *id)
{
    struct store *s;
    struct run r;
    int64_t n = 0;
    if (store_open(&s, c->server->o.api.db, NULL) != JOULET_OK)
        return 0;
    if (store_load(s, id, &r, NULL) == JOULET_OK) {
        n = (int64_t)r.n_requests;
        run_release(&r);
    }
    store_close(s);
    return n;
}

static bool not_started_here(struct api_call *c)
{
    return api_error(c, 404, "not_found", "no run of this id was started here, or too many were after it",
                     "GET /joulet/runs has the state of all that are stored");
}

bool api_run_state(struct api_call *c)
{
    struct job_view v;
    if (!jobs_get(c->server->api->jobs, c->name, &v))
        return not_started_here(c);
    return put_state(c, 200, &v, v.state == JOB_QUEUED ? 0 : done_of(c, v.id));
}

bool api_run_stop(struct api_call *c)
{
    struct job_view v;
    if (!jobs_stop(c->server->api->jobs, c->name) || !jobs_get(c->server->api->jobs, c->name, &v))
        return not_started_here(c);
    return put_state(c, 202, &v, v.started_wall_ns ? done_of(c, v.id) : 0);
}
