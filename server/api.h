/* api.h - the JSON API below /joulet/: what its files share. One table (api_routes.c) has every path; api.c decides what may be
 * asked and takes the request apart; a file a subject answers. docs/proxy-api.md is the manual, openapi.json the description. */
#ifndef SERVER_API_H
#define SERVER_API_H

#include "report/put.h"
#include "server/internal.h"

#define API_BODY_MAX  ((size_t)64 * 1024)
#define API_NAME_MAX  512
#define API_LIMIT     100  /* of lists, unless asked otherwise, ... */
#define API_LIMIT_MAX 1000 /* ... and at most */

/* ---- the query (api_query.c); pure ---------------------------------------------------------------------------------------- */

enum { API_QUERY_MAX = 24, API_WORD_MAX = 32, API_VALUE_MAX = 512 };
struct api_query {
    struct {
        char name[API_WORD_MAX], value[API_VALUE_MAX];
    } pairs[API_QUERY_MAX];
    size_t n;
};
/* Decodes %XX, and + when `form`; false: cut, NUL, control characters, no UTF-8, or too long. */
bool api_decode(const char *from, size_t n, bool form, char *out, size_t size);
/* names: those that are known, with blanks between. False and a sentence in `why`: unknown, twice, malformed, too many. */
bool api_query_parse(struct api_query *q, const char *text, const char *names, char *why, size_t size);
const char *api_query_get(const struct api_query *q, const char *name); /* NULL: not given; never "" */

/* ---- a call ------------------------------------------------------------------------------------------------------------- */

struct api_stream; /* an answer that goes on */
struct api_route;
struct api_call {
    struct server *server;
    struct rules *rules; /* those that the call began with */
    struct net_call *call;
    const struct net_head *head;
    const struct api_route *route;
    char name[API_NAME_MAX]; /* what stands for {...} in the path */
    struct api_query query;
    const char *body;
    size_t body_n;
    struct api_stream **stream; /* taken by the passage */
};
struct api_route {
    const char *method, *path; /* "GET", "/joulet/requests/{id}": the last part takes all that follows */
    const char *query;         /* names it takes, with blanks between; NULL none */
    const char *about;
    bool (*answer)(struct api_call *c);
};
extern const struct api_route api_routes[];
extern const size_t api_routes_n;
/* The route of a path and method. *allow gets the methods of the path, "" when nothing is there. */
const struct api_route *api_find(const char *method, const char *path, size_t n, char *name, size_t name_size, char *allow,
                                 size_t allow_size);

/* False after an answer of an error: `return api_...` ends the call. */
bool api_json(struct api_call *c, int status, const struct jl_buf *json);
/* code: "not_found", ...; remedy NULL: there is none. */
bool api_error(struct api_call *c, int status, const char *code, const char *message, const char *remedy);
bool api_failed(struct api_call *c, const struct joulet_error *err); /* a status of ours as one of HTTP */
bool api_not_measured(struct api_call *c);
bool api_no_memory(struct api_call *c);
bool api_bad_query(struct api_call *c, const char *message);
/* Values of the query; false: answered with an error. */
bool api_limit(struct api_call *c, size_t otherwise, size_t most, size_t *out);
bool api_number(struct api_call *c, const char *name, double least, double most, double otherwise, double *out);
bool api_time(struct api_call *c, const char *name, int64_t *wall_ns); /* 0: not given */
bool api_flag(struct api_call *c, const char *name, bool *on);
/* Which page's script may read the answer: at most 2 headers. */
size_t api_origin_headers(const struct api_call *c, struct net_header *out);
bool api_wants_events(const struct api_call *c, const char *flag); /* by `flag`=1, or by Accept */

/* ---- events (api_events.c) ------------------------------------------------------------------------------------------------ */

struct api_stream {
    struct server *server;
    int client_fd;
    struct jl_buf out; /* from `at` on not yet sent */
    size_t at;
    int64_t wrote_ns;
    int64_t heartbeat_ns;
    /* Adds what is to be told to `out`, or nothing; false: it is over. */
    bool (*fill)(struct api_stream *s);
    void (*release)(struct api_stream *s); /* frees s */
};
/* Answers 200 with server-sent events from s, which is the caller's no more. */
bool api_events(struct api_call *c, struct api_stream *s);
void api_event_begin(struct jl_buf *out, const char *name); /* then one line of JSON, then api_event_end */
void api_event_end(struct jl_buf *out);
long api_stream_read(struct api_stream *s, char *bytes, size_t size);
void api_stream_close(struct api_stream *s); /* NULL is fine */

/* ---- what is asked ----------------------------------------------------------------------------------------------- */

bool api_index(struct api_call *c);
bool api_health(struct api_call *c);
bool api_requests(struct api_call *c);
bool api_request(struct api_call *c);
bool api_energy(struct api_call *c);
bool api_sensors(struct api_call *c);
bool api_power(struct api_call *c);
bool api_metrics(struct api_call *c);
bool api_prompts(struct api_call *c);
bool api_prompt(struct api_call *c);
bool api_sets(struct api_call *c);
bool api_set(struct api_call *c);
bool api_factors(struct api_call *c);
bool api_factor(struct api_call *c);
bool api_models(struct api_call *c);
bool api_model(struct api_call *c);
bool api_usage(struct api_call *c);
bool api_runs(struct api_call *c);
bool api_run(struct api_call *c);
bool api_run_start(struct api_call *c);
bool api_run_state(struct api_call *c);
bool api_run_stop(struct api_call *c);
bool api_doctor(struct api_call *c);
bool api_openapi(struct api_call *c);
bool api_is_prompt_set(const char *name);

/* ---- what calls share -------------------------------------------------------------------------------------------- */

struct api_shared {
    atomic_uint asking;    /* calls that ask engines */
    atomic_bool examining; /* the doctor is at work */
    struct jobs *jobs;
};
enum joulet_status api_open(struct server *s, struct joulet_error *err);
void api_close(struct server *s); /* after the connections, before anything else goes */

#endif
