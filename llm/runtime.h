/* runtime.h - the private llama.cpp: getting it, starting and stopping a llama-server of ours, finding the default engine. */
#ifndef LLM_RUNTIME_H
#define LLM_RUNTIME_H

#include "lib/platform/platform.h"
#include "llm/engine.h"

struct runtime_install {
    const char *mirror; /* NULL: the one the system uses */
    bool allow_stale;   /* accept an index older than 90 days */
    bool force;         /* again although it is there */
    void (*progress)(void *user, const char *line);
    void *user;
    const atomic_bool *cancel; /* becomes true: JOULET_CANCELLED, the old engine stays; NULL */
};
/* llama.cpp into <data>/engine: no root, signatures checked, atomic replace. JOULET_UNSUPPORTED with the right one-line advice
 * where the Debian route does not fit. */
enum joulet_status runtime_install(const struct runtime_install *how, struct joulet_error *err);
enum joulet_status runtime_remove(struct joulet_error *err);
/* Installed version ("0.7.0") or JOULET_NOT_FOUND. */
enum joulet_status runtime_version(char *buf, size_t size, struct joulet_error *err);
char *runtime_folder(struct joulet_error *err); /* where it is or would be: <data>/engine, malloc'ed */
char *runtime_on_path(void);                    /* llama-server on PATH, malloc'ed absolute path; NULL */

struct runtime_start {
    const char *program;        /* llama-server to use; NULL: PATH, else the private one */
    bool private_only;          /* the private one, whatever is on PATH */
    const char *model;          /* absolute or relative GGUF path */
    int64_t context_length;     /* -1: 4096 */
    int threads;                /* 0: the number of cores */
    int parallel;               /* 0: 1 */
    int gpu_layers;             /* -1: engine's default */
    const char *const *options; /* "KEY=VALUE": becomes --KEY VALUE */
    size_t n_options;
    const char *preload; /* absolute path of a library that is loaded into it (probes/), so that one of our own is started
                            whatever answers; NULL: none */
    const char *const *environment; /* "K=V" for it, NULL-terminated; NULL: none */
    bool background;                /* survives us: `joulet engine start` */
    const char *key;                /* of a server that is not ours (--key); NULL: JOULET_ENGINE_KEY, else none */
    const char *protocol;           /* to speak with whatever answers; NULL: the first that recognises it */
    const atomic_bool *cancel;
    void (*before_start)(
        void *user); /* called once just before a server is started: the time to have seen the machine idle; NULL: none */
    void *user;
};
struct runtime_server {
    struct jl_process process;
    int port;
    char key[65]; /* random */
    char url[64];
    char *log;   /* path of its log */
    char *model; /* absolute path of the model it was started with */
    bool private_engine;
    int64_t t_spawn_ns, t_ready_ns; /* the load window; of a server that did not come up, until that was seen */
};
/* Starts it and waits until it answers; on failure it has ended, only its times are left in *s, and the sentence ends with the
 * telling line of its log (out of memory, bad file,
 * ...). Not in the background: it ends with the calling thread, so call from one that lives as long as the server is needed. In
 * the background: JOULET_BUSY when one runs already. */
enum joulet_status runtime_server_start(struct runtime_server *s, const struct runtime_start *how, struct joulet_error *err);
void runtime_server_stop(struct runtime_server *s);    /* SIGTERM, then SIGKILL; frees */
void runtime_server_release(struct runtime_server *s); /* frees only: the server runs on */

/* The background server of `engine start`, from <data>/engine.json; JOULET_NOT_FOUND when none runs. */
enum joulet_status runtime_background(struct runtime_server *s, struct joulet_error *err);
enum joulet_status runtime_background_stop(struct joulet_error *err);

/* Folder of the models that joulet made or was given: <data>/models, malloc'ed, created when missing. */
char *runtime_models_dir(struct joulet_error *err);
/* A model by path or by its name in that folder, with or without ".gguf", or as another program keeps it ("ollama:NAME");
 * malloc'ed path, NULL when there is none. */
char *runtime_model_find(const char *name);
/* "PROGRAM:NAME", a model that another program keeps: its file. JOULET_OK and *path NULL when it is no such name. */
enum joulet_status runtime_store_find(const char *model, char **path, struct joulet_error *err);
/* NAME of "PROGRAM:NAME"; NULL when it is none of that program. */
const char *runtime_store_name(const char *model, const char *program);
/* The only model in that folder; JOULET_NOT_FOUND when there is none, JOULET_USAGE (with their names) when there are several. */
enum joulet_status runtime_model_only(char **path, struct joulet_error *err);

/* --engine URL|NAME|PROGRAM and the default: ours in the background, an answering server on a default port, else llama-server on
 * PATH, else the private one. When a server must be started, *started is filled and the caller stops it. model: as given to -m,
 * or NULL. On failure nothing runs and nothing has to be released; `load` then is the one that failed. */
struct runtime_choice {
    struct engine *engine;
    struct runtime_server server;
    bool started;
    char *model_file; /* GGUF that was given or chosen; NULL */
    char *model;      /* name to ask the engine for; NULL: the loaded one */
    char *kept_name;  /* of a file that another program keeps: its name there; NULL */
    struct {
        int64_t from_ns, to_ns; /* of a server that was started here; 0: none was */
        char model[1024];       /* its file */
    } load;
};
enum joulet_status runtime_choose(struct runtime_choice *c, const char *engine, const char *model,
                                  const struct runtime_start *how, struct joulet_error *err);
/* An engine by itself, whatever models it has: by URL, by the name of its protocol or of a service; NULL: the first that answers
 * where engines listen. protocol: to speak with it, NULL the first that recognises it. pulls: only one that can fetch models;
 * loads: that can load them. */
struct runtime_wanted {
    const char *engine, *key, *protocol;
    bool pulls, loads;
    const atomic_bool *cancel;
};
enum joulet_status runtime_open_engine(struct engine **out, const struct runtime_wanted *w, struct joulet_error *err);
void runtime_choice_release(struct runtime_choice *c); /* stops what was started */

#endif
