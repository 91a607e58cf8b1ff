/* engine.h - talking to an inference server. One file per protocol in engines/, one row each in engines/table.c. */
#ifndef LLM_ENGINE_H
#define LLM_ENGINE_H

#include "llm/engine_joulet.h"
#include "net/net.h"
#include "run/run.h"

/* Reasoning before the answer. Engines that know no levels take a level for "on". */
enum thinking { THINKING_DEFAULT, THINKING_OFF, THINKING_ON, THINKING_LOW, THINKING_MEDIUM, THINKING_HIGH };
const char *thinking_name(enum thinking t); /* "off", "on", "low", ...; static; NULL for the engine's default */

/* What to ask for. NAN / -1 / NULL: not given, the engine's default stays. What was added later is not given when it is 0. */
struct generation {
    const char *model;
    const char *prompt;        /* one user text; or messages */
    const char *messages_json; /* array of {role, content}; wins over prompt and system */
    const char *system;
    bool raw; /* no chat template: the text goes as it is */
    int64_t max_tokens, context_length, top_k, seed;
    double temperature, top_p, min_p, repeat_penalty;
    const char *const *stop;
    size_t n_stop;
    bool prompt_cache;          /* false for measurements */
    const char *const *options; /* "KEY=VALUE" passed on as they are (JSON value, else string) */
    size_t n_options;
    double timeout_s; /* given up when nothing came for so long; 0 or NAN: 600 s */
    enum thinking thinking;
    int64_t thinking_budget; /* tokens it may think at most; 0: not given */
    const char *keep_alive;  /* how long the model stays loaded after it: "5m", "90s", "0", "forever" (engine_keep_alive) */
    const char *tools_json;  /* array of tools in OpenAI's form */
};
/* Seconds of a keep_alive; INFINITY for "forever". false: neither that, nor a time. */
bool engine_keep_alive(const char *text, double *seconds);

/* Everything one exchange told us. */
struct generated {
    int http_status;
    struct jl_buf text, thinking;
    struct run_tokens tokens;
    int64_t t_sent_ns, t_header_ns, t_first_ns, t_last_ns, t_end_ns; /* 0: did not happen */
    int64_t t_answer_ns; /* first text of the answer after thinking; 0: no thinking before */
    int64_t *token_ns;   /* arrival of each chunk with text */
    size_t n_token_ns, cap_token_ns;
    double server_prompt_s, server_decode_s, server_load_s, server_queue_s; /* NAN: not told */
    bool was_loaded;          /* server_load_s is the taking of a model that was there: it stays with the prefill */
    int64_t processed_tokens; /* prompt tokens computed now; -1 not told */
    char finish[16];          /* "stop", "length", "cancelled", "error", "" */
    bool truncated;           /* the engine cut the prompt */
    bool done;                /* the terminal object came */
    char engine_error[400];   /* error in the stream or body; "" none */
    char error_type[48];      /* the engine's word for its kind; "" not told */
    int64_t error_prompt_tokens, error_context; /* of a prompt that is too long; -1 not told */
    bool complete;                              /* framing ended as announced */
    int64_t draft_tokens, draft_accepted;       /* of speculative decoding: proposed, and taken over; -1 not told */
    size_t tool_calls;                          /* that the answer asks for */
    int64_t t_prefill_ns;                       /* the engine announced the end of the prompt's processing; 0: it did not */
    size_t prefills;                            /* announced phases of prompt processing; more than one: tools ran in between */
    char runtime[64], instance[128]; /* what computed it, and the loaded instance, in the engine's words; "" not told */
    char draft_model[128];           /* that proposed the draft tokens; "" none or not told */
    int64_t gpu_layers;              /* of the model that answered; -1 not told */
    double server_rate;              /* tokens per second, as told; NAN not told */
    int64_t t_load_ns;               /* the engine announced that it loads the model first; 0: it did not */
    char joulet_id[24];              /* by which a joulet server knows the request; "" none */
    struct engine_told told;         /* what it said of its energy in the answer */
};
void generated_init(struct generated *g);
void generated_release(struct generated *g);

/* Incremental parser of an answer: bytes in any cut, events into *g. Never trusts its input. */
struct engine_parser;
struct engine_ops;
struct engine_parser *engine_parser_open(const struct engine_ops *ops, bool stream, struct generated *g);
void engine_parser_bytes(struct engine_parser *p, const char *bytes, size_t n, int64_t t_ns);
void engine_parser_end(struct engine_parser *p, int64_t t_ns); /* no more bytes: whole bodies are parsed here */
void engine_parser_close(struct engine_parser *p);

struct engine_info {
    char protocol[24]; /* ops->name */
    char version[64];  /* "" unknown */
    char model[256];   /* loaded model, "" none */
    char model_path[1024];
    int64_t context_length;                        /* in force; -1 unknown */
    int64_t model_bytes, model_params, gpu_layers; /* -1 unknown */
    int slots;                                     /* -1 unknown */
    bool loading;
    char runtime[48]; /* what computes inside: "llama.cpp", "mlx", ...; "" not told */
    char quantisation[32], digest[80], architecture[48];
    int64_t gpu_bytes; /* of the loaded model in GPU memory; -1 unknown, 0 none */
};
/* One model of the engine: by `models` what its list tells, by `details` all it knows. */
struct engine_model {
    char name[256];
    int64_t bytes, params, context_length; /* what the model can at most; -1 unknown */
    bool loaded;
    char runtime[48], quantisation[32], digest[80], architecture[48]; /* "" not told */
    char capabilities[160];                                           /* "completion tools thinking" */
    char expires[48];       /* when it will be unloaded, in the engine's words; "" not loaded or not told */
    int64_t loaded_context; /* in force; -1 not loaded or not told */
    int64_t loaded_bytes;   /* in memory; -1 */
    int64_t gpu_bytes;      /* of these in GPU memory; -1 */
};
void engine_model_init(struct engine_model *m); /* nothing known */
/* Whether a name as people write it means the model that an engine lists as `full`. Case does not matter. */
bool engine_same_name(const char *full, const char *name);
/* Steps of a pull, as they come: what is done of how much, in bytes; -1 not told. */
typedef void engine_progress(void *user, const char *step, int64_t done, int64_t total);

/* One connection: no socket is held between calls. */
struct engine {
    const struct engine_ops *ops;
    char *url; /* "http://127.0.0.1:8080", no trailing slash */
    char *key; /* NULL none; sent as Authorization: Bearer; never logged */
    bool local;
    const struct engine_cloud *cloud; /* a known service; NULL: none */
    const atomic_bool *cancel;
    struct engine_info info;        /* from recognition */
    struct engine_joulet joulet;    /* in front of it; not `is`: none */
    struct engine_noticed *noticed; /* while it is recognised; else NULL */
};

/* A service in the cloud: nothing of it can be measured, and its key goes to its host alone (engine_cloud.c). */
struct engine_cloud {
    const char *name;         /* for --engine: "groq" */
    const char *host, *base;  /* "api.groq.com", "/openai" before /v1 */
    const char *key_variable; /* of the environment */
    const char *protocol;     /* name of its row in engine_table */
};
/* The service of that name, or of the host in an address; NULL none. */
const struct engine_cloud *engine_cloud_named(const char *name);
const struct engine_cloud *engine_cloud_at(const char *url);

enum engine_framing {
    ENGINE_SSE,   /* server-sent events: "data:" lines, blank line */
    ENGINE_LINES, /* one JSON object a line */
    ENGINE_SOCKET /* text messages of a WebSocket */
};
enum { ENGINE_HEADERS_MAX = 4 };

struct engine_ops {
    const char *name; /* "llama.cpp", "openai" */
    const char *summary;
    int default_port;
    enum engine_framing framing;
    /* Optional: where it listens on this machine by its own settings, as OLLAMA_HOST. Else 127.0.0.1 and default_port. */
    bool (*address)(char *url, size_t size);
    bool beside; /* spoken by servers of other protocols too: taken only by its name, after another row recognised the server */
    bool cache_off; /* a request can switch its cache of prompts off */
    bool mute_end;  /* some of its answers never tell why they ended */
    bool tokenises; /* it has llama-server's routes for tokens alone */
    bool says_why;  /* a whole answer always tells why it ended; one that does not was broken off */
    /* Looks at bodies, not at ports: fills e->info. JOULET_NOT_FOUND: something else answers. */
    enum joulet_status (*recognise)(struct engine *e, struct joulet_error *err);
    enum joulet_status (*models)(struct engine *e, struct engine_model **out, size_t *n, struct joulet_error *err);
    /* Body and path of the request; always streaming. */
    enum joulet_status (*request)(const struct engine *e, const struct generation *q, const char **path, struct jl_buf *body,
                                  struct joulet_error *err);
    /* Optional: what carries the key, and other headers, instead of Authorization: Bearer. Values are those of *e or constants.
     */
    size_t (*headers)(const struct engine *e, struct net_header out[ENGINE_HEADERS_MAX]);
    /* Optional, instead of one POST: the whole exchange, each piece through `event`, then `arrived`. Fills the moments and
     * http_status of *g; status and sentence as of net_http. */
    enum joulet_status (*converse)(struct engine *e, const struct generation *q, struct generated *g, void (*arrived)(void *user),
                                   void *user, struct joulet_error *err);
    /* One event of the stream (SSE data, NDJSON line) or a whole body. Errors go to g->engine_error. */
    void (*event)(struct generated *g, const char *json, size_t n, int64_t t_ns);
    /* Optional: what follows from a whole answer and what was asked for, where the protocol does not say it. */
    void (*conclude)(const struct engine *e, const struct generation *q, struct generated *g);
    /* Optional: all about one model by its name; JOULET_NOT_FOUND. */
    enum joulet_status (*details)(struct engine *e, const char *model, struct engine_model *out, struct joulet_error *err);
    /* Optional: load a model with the context, keep_alive and options of *how (NULL: the engine's own), and wait until it is
     * there. load_s: as told by the engine, NAN not told. Or unload it. Loading what is loaded, and unloading what is not, is no
     * error. */
    enum joulet_status (*load)(struct engine *e, const char *model, const struct generation *how, double *load_s,
                               struct joulet_error *err);
    enum joulet_status (*unload)(struct engine *e, const char *model, struct joulet_error *err);
    /* Optional: the engine fetches a model from where it gets them. Ends early by e->cancel. */
    enum joulet_status (*pull)(struct engine *e, const char *model, engine_progress *on_progress, void *user,
                               struct joulet_error *err);
    /* optional: requests that others have in the engine now; -1 unknown */
    int (*busy)(struct engine *e);
};
extern const struct engine_ops *const engine_table[]; /* NULL-terminated, in order of recognition */

/* Finds out what answers at url and opens it. JOULET_UNREACHABLE, JOULET_NOT_FOUND (unknown protocol), JOULET_PERMISSION (key).
 */
enum joulet_status engine_open(struct engine **out, const char *url, const char *key, const atomic_bool *cancel,
                               struct joulet_error *err);
/* The same, to be spoken to by the protocol of that name (NULL: the first that recognises it). JOULET_NOT_FOUND when the server
 * does not speak it, JOULET_USAGE when there is none of that name. */
enum joulet_status engine_open_as(struct engine **out, const char *url, const char *key, const char *protocol,
                                  const atomic_bool *cancel, struct joulet_error *err);
void engine_close(struct engine *e);
/* Where an engine of this protocol listens unless told otherwise. */
void engine_address(const struct engine_ops *ops, char *url, size_t size);
/* What no engine could answer: an empty prompt, messages or options that are none. JOULET_USAGE, before anything is measured. */
enum joulet_status engine_check(const struct generation *q, struct joulet_error *err);
/* Called for every piece of text as it comes. */
typedef void engine_text(void *user, const char *text, size_t n, bool thinking);
/* One generation. JOULET_ENGINE with the engine's own words for its errors; *g holds what came in every case. */
enum joulet_status engine_generate(struct engine *e, const struct generation *q, struct generated *g, engine_text *on_text,
                                   void *user, struct joulet_error *err);
/* Host work by itself (engine_tokens.c): a question that was answered once and can be asked again as often as is wanted. Nothing
 * is generated. */
struct engine_question {
    const char *path; /* static, not owned */
    struct jl_buf body;
};
void engine_question_release(struct engine_question *q);
/* The tokens of a text; *tokens malloc'ed, n >= 1. And a question for the text of tokens. model: NULL, the one that is loaded.
 * JOULET_UNSUPPORTED: the protocol has no such route; JOULET_ENGINE: it was refused; JOULET_FORMAT: something else came;
 * JOULET_UNREACHABLE, JOULET_CANCELLED. *q is to be released in every case. */
enum joulet_status engine_tokenise(struct engine *e, const char *model, const char *text, struct engine_question *q,
                                   int64_t **tokens, size_t *n, struct joulet_error *err);
enum joulet_status engine_detokenise(struct engine *e, const char *model, const int64_t *tokens, size_t n,
                                     struct engine_question *q, struct joulet_error *err);
/* The same once more; what is in the answer is not looked at. */
enum joulet_status engine_ask_again(struct engine *e, const struct engine_question *q, struct joulet_error *err);

/* Waits until the engine has loaded (503 while it does). */
enum joulet_status engine_wait_ready(struct engine *e, double timeout_s, struct joulet_error *err);

/* Moments of a request from what the exchange told: fills windows queue (if any), prefill, decode of *q with u_start/u_end,
 * tokens, ttft, tpot, inter-token times, finish, phase_source (6.1: server timing 0.5 ms, client timing at
 * least 1.5 ms). */
void engine_to_request(const struct generated *g, struct run_request *q);

#endif
