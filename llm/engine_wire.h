/* engine_wire.h - what the protocols share: reading foreign JSON into a `generated`, writing the body of a request, asking small
 * questions. For llm/engine*.c and llm/engines/ only. */
#ifndef LLM_ENGINE_WIRE_H
#define LLM_ENGINE_WIRE_H

#include "llm/engine.h"

#include <jansson.h>

/* ---- reading (engine_wire.c) -------------------------------------------------------------------------------------- */

/* NULL and g->engine_error unless it is one JSON object. */
json_t *wire_parse(struct generated *g, const char *json, size_t n);
/* The same without a `generated`: NULL unless it is one JSON object. */
json_t *wire_object(const char *json, size_t n);
/* Text of a member; "" when it is not there or no string. */
const char *wire_string(const json_t *object, const char *key);
/* Whole number >= 0; -1 when it is not there or none. */
int64_t wire_count(const json_t *object, const char *key);
/* Finite number >= 0 times scale; NAN when it is not there or none. */
double wire_number(const json_t *object, const char *key, double scale);
/* Copies text that will be shown: control characters become blanks, cut at a whole character. */
void wire_clean(char *out, size_t size, const char *text, size_t n);

/* An error object in any of the known shapes: fills g->engine_error and returns true. */
bool wire_error(struct generated *g, const json_t *root);
void wire_error_text(struct generated *g, const char *json, size_t n); /* a line "error: ..." */
/* Not the engine's words but ours about what it sent, to follow "the engine sent"; g->error_type becomes WIRE_MALFORMED. */
void wire_malformed(struct generated *g, const char *fmt, ...) JL_PRINTF(2, 3);
#define WIRE_MALFORMED "malformed"
#define WIRE_REMOTE    "remote" /* g->error_type: the engine only passes on; g->engine_error is where to */
/* t_ns 0: the text of a whole body, whose arrival says nothing about tokens. */
void wire_text(struct generated *g, const json_t *text, bool thinking, int64_t t_ns);
/* Something of the answer came that is no text: the arguments of a call. */
void wire_arrival(struct generated *g, int64_t t_ns);
/* The member `tool_calls` of a message: an answer too, though it holds no text. */
void wire_tool_calls(struct generated *g, const json_t *piece, int64_t t_ns);
/* `choices` of chat and text completions. */
void wire_choices(struct generated *g, const json_t *root, int64_t t_ns);
void wire_usage(struct generated *g, const json_t *root);
void wire_timings(struct generated *g, const json_t *root);
void wire_finish(struct generated *g, const char *word);
/* The list of models in member `key`; *out malloc'ed, without those to which `read` gives no name. JOULET_FORMAT when it is no
 * such list. */
typedef void wire_reader(const json_t *item, struct engine_model *m);
enum joulet_status wire_list(const char *json, size_t n, const char *key, wire_reader *read, struct engine_model **out,
                             size_t *count, struct joulet_error *err);
/* `data` of /v1/models; *out malloc'ed. JOULET_FORMAT when it is no such list. */
enum joulet_status wire_models(const char *json, size_t n, struct engine_model **out, size_t *count, struct joulet_error *err);

/* ---- writing (engine_body.c) -------------------------------------------------------------------------------------- */

enum joulet_status body_check(const struct generation *q, struct joulet_error *err); /* what no engine could answer */
enum joulet_status body_string(json_t *root, const char *key, const char *text, struct joulet_error *err);
enum joulet_status body_messages(json_t *root, const struct generation *q, struct joulet_error *err);
/* A wish that the protocol has no word for, refused: JOULET_ENGINE. `what`: "a seed". Nothing when !given. */
enum joulet_status body_lacks(const struct engine *e, bool given, const char *what, struct joulet_error *err);
enum joulet_status body_tools(json_t *root, const struct generation *q, struct joulet_error *err);
enum joulet_status body_stop(json_t *root, const struct generation *q, struct joulet_error *err);
void body_count(json_t *root, const char *key, int64_t value); /* not when < 0 */
void body_number(json_t *root, const char *key, double value); /* not when NAN */
enum joulet_status body_options(json_t *root, const struct generation *q, struct joulet_error *err);
/* Writes root and frees it. */
enum joulet_status body_finish(json_t *root, struct jl_buf *out, struct joulet_error *err);

/* ---- asking (engine.c) ---------------------------------------------------------------------------------------------- */

/* File of certificates to trust for engines behind https, instead of the system's; NULL: those. */
const char *engine_ca(void);
/* GET, short timeout, with the key. JOULET_OK for every HTTP status. Release *out. */
enum joulet_status engine_get(const struct engine *e, const char *path, struct net_response *out, struct joulet_error *err);
/* A request with a JSON body (freed here; NULL: none) and an answer that comes whole. idle_s 0: as for a GET. */
enum joulet_status engine_ask(const struct engine *e, const char *method, const char *path, json_t *body, double idle_s,
                              struct net_response *out, struct joulet_error *err);
/* The same with a body that is there already. unread: only the status of the answer is wanted, and nothing of it is kept. */
enum joulet_status engine_post(const struct engine *e, const char *path, const struct jl_buf *body, bool unread,
                               struct net_response *out, struct joulet_error *err);
/* The numbers of a body of /tokenize; false when it is none, or empty. *tokens malloc'ed. */
bool engine_read_tokens(const char *json, size_t n, int64_t **tokens, size_t *count);
/* Asks with an empty object, which no server answers with tokens: does POST `path` exist? JOULET_NOT_FOUND: no. */
enum joulet_status engine_has_route(const struct engine *e, const char *path, struct joulet_error *err);
/* The sentence for an exchange that failed (engine_errors.c); e may be NULL. */
enum joulet_status engine_unreachable(const char *url, const struct joulet_error *net, struct joulet_error *err);
enum joulet_status engine_key_refused(const struct engine *e, const char *words, struct joulet_error *err);
/* Some servers say a key that they refuse back. Makes it stars, as it stands in what is shown, recorded or traced; also its
 * beginning where the text was cut there. */
void engine_hide_key(const struct engine *e, char *text, size_t n);
/* Judges a generation that is over: how the exchange ended (status and sentence of net_http) and what is in *g. */
enum joulet_status engine_verdict(struct engine *e, const struct generation *q, struct generated *g, enum joulet_status net,
                                  const struct joulet_error *net_err, struct joulet_error *err);

#endif
