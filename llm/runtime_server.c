/* runtime_server.c - a llama-server of ours, from its command line to its end. It listens on the loopback address alone, on a
 * port that was free, and answers only who has the random key; the key goes through the environment, because everybody can read a
 * command line. It runs in its own folder: ggml also looks for backends in the current one, where anybody may have put a library.
 */
#include "llm/runtime_private.h"

#include "llm/gguf/gguf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOAD_TIMEOUT_S  1800.0 /* a model of some hundred GB from a disk */
#define CONTEXT_DEFAULT 4096
#define LOG_MAX         ((size_t)16 << 20)

struct launch {
    struct args args;
    char *cwd;
    const struct runtime_start *how;
    int64_t context;
};

static bool cancelled(const struct runtime_start *how)
{
    return how->cancel && atomic_load(how->cancel);
}

/* ---- command line -------------------------------------------------------------------------------------------------------- */

/* Absolute path of a program on PATH or of a path that was given; malloc'ed, NULL when there is none. */
static char *find_program(const char *name)
{
    char real[PATH_MAX];
    if (strchr(name, '/'))
        return access(name, X_OK) == 0 && realpath(name, real) ? jl_strdup(real) : NULL;
    const char *path = getenv("PATH");
    for (path = path ? path : "/usr/bin:/bin"; *path;) {
        size_t n = strcspn(path, ":");
        char *at = n ? jl_strf("%.*s/%s", (int)n, path, name) : NULL; /* an empty entry means the current folder: not for us */
        bool there = at && access(at, X_OK) == 0 && realpath(at, real);
        free(at);
        if (there)
            return jl_strdup(real);
        path += n + (path[n] == ':');
    }
    return NULL;
}

char *runtime_on_path(void)
{
    return find_program(RUNTIME_PROGRAM);
}

static enum joulet_status use_program(struct launch *l, const char *path, struct joulet_error *err)
{
    args_add(&l->args, "%s", path);
    l->cwd = jl_strf("%.*s", (int)(strrchr(path, '/') - path) + 1, path);
    return l->cwd ? jl_ok(err) : jl_fail(err, JOULET_MEMORY, "out of memory");
}

/* Through the loader, not by a variable: children of the engine do not get it. */
static void preload_private(struct args *a, const char *library)
{
    char *program = jl_strdup(a->v[a->n - 1]);
    free(a->v[--a->n]);
    args_add(a, "--preload");
    args_add(a, "%s", library);
    args_add(a, "%s", program ? program : "");
    a->failed = a->failed || !program;
    free(program);
}

static enum joulet_status choose_program(struct launch *l, struct runtime_server *s, struct joulet_error *err)
{
    const char *given = l->how->program;
    char *path = l->how->private_only ? NULL : find_program(given ? given : RUNTIME_PROGRAM);
    enum joulet_status status;
    if (path) {
        status = use_program(l, path, err);
    } else if (given && !l->how->private_only) {
        status = jl_fail(err, JOULET_NOT_FOUND, "%.200s is no program that can be run: give --engine the path of a llama-server",
                         given);
    } else {
        l->cwd = runtime_folder(err);
        status = l->cwd ? args_private(&l->args, l->cwd, RUNTIME_PROGRAM, err) : JOULET_IO;
        if (status == JOULET_OK && l->how->preload && !l->args.failed)
            preload_private(&l->args, l->how->preload);
        s->private_engine = true;
        if (status == JOULET_NOT_FOUND)
            jl_fail(err, status, "there is no %sprivate llama.cpp: `joulet engine install` gets it",
                    l->how->private_only ? "" : "llama-server on PATH and no ");
    }
    free(path);
    return status;
}

static enum joulet_status add_option(struct launch *l, const char *option, struct joulet_error *err)
{
    static const struct {
        const char *key, *instead;
    } ours[] = {
        {"model", "-m"},
        {"host", NULL},
        {"port", NULL},
        {"api-key", NULL},
        {"api-key-file", NULL},
        {"threads", "--threads"},
        {"ctx-size", "--context"},
        {"parallel", "--parallel"},
        {"gpu-layers", "--gpu-layers"},
        {"n-gpu-layers", "--gpu-layers"},
    };
    size_t n = strcspn(option, "=");
    bool good = n > 0 && option[0] != '-' && strspn(option, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
    if (!good)
        return jl_fail(err, JOULET_USAGE, "--engine-option '%.100s': write KEY=VALUE with a key of llama-server's long options",
                       option);
    for (size_t i = 0; i < JL_COUNT(ours); i++) {
        if (strlen(ours[i].key) != n || strncmp(option, ours[i].key, n) != 0)
            continue;
        if (ours[i].instead)
            return jl_fail(err, JOULET_USAGE, "--engine-option '%.100s': use %s instead", option, ours[i].instead);
        return jl_fail(err, JOULET_USAGE, "--engine-option '%.100s': joulet chooses that itself for a server of its own", option);
    }
    args_add(&l->args, "--%.*s", (int)n, option);
    if (option[n] == '=')
        args_add(&l->args, "%s", option + n + 1);
    return jl_ok(err);
}

static int default_threads(void)
{
    struct jl_machine m;
    jl_machine_get(&m);
    return m.cores > 0 && m.cores < m.threads ? m.cores : m.threads > 0 ? m.threads : 1;
}

static enum joulet_status build_command(struct launch *l, struct runtime_server *s, struct joulet_error *err)
{
    const struct runtime_start *how = l->how;
    int parallel = how->parallel > 0 ? how->parallel : 1;
    enum joulet_status status = choose_program(l, s, err);
    for (size_t i = 0; i < how->n_options && status == JOULET_OK; i++)
        status = add_option(l, how->options[i], err);
    if (status != JOULET_OK)
        return status;
    if (l->context > INT32_MAX / parallel)
        return jl_fail(err, JOULET_USAGE, "a context of %lld tokens for %d requests at once is too long", (long long)l->context,
                       parallel);
    args_add(&l->args, "-m");
    args_add(&l->args, "%s", s->model);
    args_add(&l->args, "--host");
    args_add(&l->args, "127.0.0.1");
    args_add(&l->args, "--port");
    args_add(&l->args, "%d", s->port);
    args_add(&l->args, "-t");
    args_add(&l->args, "%d", how->threads > 0 ? how->threads : default_threads());
    args_add(&l->args, "-np");
    args_add(&l->args, "%d", parallel);
    args_add(&l->args, "-c"); /* of all slots together */
    args_add(&l->args, "%lld", (long long)l->context * parallel);
    if (how->gpu_layers >= 0) {
        args_add(&l->args, "-ngl");
        args_add(&l->args, "%d", how->gpu_layers);
    }
    return l->args.failed ? jl_fail(err, JOULET_MEMORY, "out of memory") : jl_ok(err);
}

/* ---- key, port, log -------------------------------------------------------------------------------------------------------- */

static enum joulet_status make_key(char key[65], struct joulet_error *err)
{
    uint8_t random[32];
    FILE *f = fopen("/dev/urandom", "rb");
    size_t n = f ? fread(random, 1, sizeof(random), f) : 0;
    if (f)
        fclose(f);
    if (n != sizeof(random))
        return jl_fail(err, JOULET_IO, "/dev/urandom cannot be read: without randomness the engine would have no key");
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(key + 2 * i, 3, "%02x", random[i]);
    return jl_ok(err);
}

/* A port nobody listens on now; another program may take it before the server does, then the start is tried again. */
static enum joulet_status find_port(int *port, struct joulet_error *err)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool found = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && getsockname(fd, (struct sockaddr *)&a, &len) == 0;
    int e = errno;
    if (fd >= 0)
        close(fd);
    *port = ntohs(a.sin_port);
    return found ? jl_ok(err) : jl_fail(err, JOULET_IO, "no port of 127.0.0.1 is free for the engine: %s", strerror(e));
}

static enum joulet_status make_log(struct runtime_server *s, bool background, struct joulet_error *err)
{
    char *dir = jl_cache_dir(err);
    if (!dir)
        return JOULET_IO;
    s->log = background ? jl_strf("%s/llama-server.log", dir) : jl_strf("%s/llama-server-%d-%d.log", dir, (int)getpid(), s->port);
    free(dir);
    if (!s->log)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    unlink(s->log);
    return jl_ok(err);
}

/* The log of a server that failed is kept under one name, so that they do not pile up. */
static void keep_log(struct runtime_server *s)
{
    char *slash = s->log ? strrchr(s->log, '/') : NULL;
    char *kept = slash ? jl_strf("%.*s/llama-server.failed.log", (int)(slash - s->log), s->log) : NULL;
    if (kept)
        (void)rename(s->log, kept);
    free(kept);
}

/* ---- start ------------------------------------------------------------------------------------------------------- */

static enum joulet_status explain(const struct runtime_server *s, struct telling *t, struct joulet_error *err)
{
    struct jl_buf log;
    jl_buf_init(&log, LOG_MAX);
    jl_read_file(s->log, &log, NULL);
    runtime_telling(log.data ? log.data : "", log.len, t);
    jl_buf_release(&log);
    if (!*t->line && s->process.status != 128 + 9)
        return jl_fail(err, JOULET_ENGINE, "llama-server could not serve %.150s: it ended with code %d without a word; %s",
                       s->model, s->process.status,
                       s->private_engine ? "`joulet engine install --force` gets it anew"
                                         : "give --engine the path of a llama-server");
    if (s->process.status == 128 + 9)
        return jl_fail(err, JOULET_ENGINE,
                       "llama-server was killed while it loaded %.150s, probably because memory ran out: use a smaller model "
                       "or --context; its last words: %.150s",
                       s->model, *t->line ? t->line : "none");
    return jl_fail(err, JOULET_ENGINE, "llama-server could not serve %.150s: %s; it said: %.200s", s->model,
                   t->remedy ? t->remedy : "look at its words", *t->line ? t->line : "nothing");
}

static bool is_healthy(const struct runtime_server *s, const atomic_bool *cancel)
{
    char url[96];
    struct net_response r = {0};
    snprintf(url, sizeof(url), "%s/health", s->url);
    struct net_request q = {
        .method = "GET", .url = url, .connect_timeout_s = 2, .total_timeout_s = 5, .max_bytes = 65536, .cancel = cancel};
    enum joulet_status status = net_http(&q, &r, NULL);
    bool healthy = status == JOULET_OK && r.status == 200;
    net_response_release(&r);
    return healthy;
}

static enum joulet_status wait_ready(struct runtime_server *s, const struct runtime_start *how, struct joulet_error *err)
{
    int64_t until = s->t_spawn_ns + jl_ns(LOAD_TIMEOUT_S);
    double pause_s = 0.005; /* the load window ends when we see it: small models load in 80 ms */
    while (!jl_process_wait(&s->process, pause_s)) {
        if (cancelled(how))
            return jl_fail(err, JOULET_CANCELLED, "loading %.200s was interrupted", s->model);
        if (is_healthy(s, how->cancel)) {
            s->t_ready_ns = jl_mono_ns();
            return jl_ok(err);
        }
        if (jl_mono_ns() > until)
            return jl_fail(err, JOULET_ENGINE, "llama-server did not load %.200s in %.0f minutes: use a smaller model", s->model,
                           LOAD_TIMEOUT_S / 60);
        pause_s = pause_s < 0.05 ? pause_s * 1.2 : pause_s;
    }
    return JOULET_ENGINE;
}

static bool has_option(const struct runtime_start *how, const char *key)
{
    size_t n = strlen(key);
    for (size_t i = 0; i < how->n_options; i++)
        if (strncmp(how->options[i], key, n) == 0 && (how->options[i][n] == '=' || !how->options[i][n]))
            return true;
    return false;
}

/* Since 2026 llama-server loads a draft model and does not use it, unless it is told how. */
static bool drafts_silently(const struct runtime_start *how)
{
    return (has_option(how, "model-draft") || has_option(how, "spec-draft-model")) && !has_option(how, "spec-type");
}

/* Its key, what it is told, and the library to load where no loader of ours does that. */
struct surroundings {
    char key[sizeof("LLAMA_API_KEY=") + 65];
    char *preload;
    const char **env;
};

static bool surround(struct surroundings *around, const struct runtime_server *s, const struct launch *l)
{
    const char *other = getenv("LD_PRELOAD");
    size_t n = 0, given = 0;
    *around = (struct surroundings){.preload = NULL};
    while (l->how->environment && l->how->environment[given])
        given++;
    around->env = calloc(given + 4, sizeof(*around->env));
    if (!around->env)
        return false;
    snprintf(around->key, sizeof(around->key), "LLAMA_API_KEY=%s", s->key);
    around->env[n++] = around->key;
    if (drafts_silently(l->how))
        around->env[n++] = "LLAMA_ARG_SPEC_TYPE=draft-simple"; /* a version that does not know it passes over it */
    for (size_t i = 0; i < given; i++)
        around->env[n++] = l->how->environment[i];
    if (!l->how->preload || s->private_engine)
        return true;
    around->preload = jl_strf("LD_PRELOAD=%s%s%s", l->how->preload, other && *other ? ":" : "", other ? other : "");
    around->env[n++] = around->preload;
    return around->preload != NULL;
}

static enum joulet_status spawn(struct runtime_server *s, const struct launch *l, struct joulet_error *err)
{
    struct surroundings around;
    bool whole = surround(&around, s, l);
    struct jl_spawn what = {
        .argv = (const char *const *)l->args.v, .env = around.env, .cwd = l->cwd, .log = s->log, .detach = l->how->background};
    for (size_t i = 0; i < l->args.n && jl_trace_on("engine"); i++)
        jl_trace("engine", "argv[%zu] = %s", i, l->args.v[i]);
    s->t_spawn_ns = jl_mono_ns();
    enum joulet_status status = whole ? jl_spawn(&s->process, &what, err) : jl_fail(err, JOULET_MEMORY, "out of memory");
    free(around.preload);
    free(around.env);
    return status;
}

/* One attempt on one port. *again: the port was taken in the meantime. */
static enum joulet_status attempt(struct runtime_server *s, struct launch *l, bool *again, struct joulet_error *err)
{
    struct telling why = {.port_taken = false};
    enum joulet_status status = find_port(&s->port, err);
    snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%d", s->port);
    if (status == JOULET_OK)
        status = make_log(s, l->how->background, err);
    if (status == JOULET_OK)
        status = build_command(l, s, err);
    if (status == JOULET_OK)
        status = spawn(s, l, err);
    if (status == JOULET_OK) {
        status = wait_ready(s, l->how, err);
        if (status == JOULET_ENGINE && s->process.ended) /* whoever interrupts us may have ended it as well */
            status = cancelled(l->how) ? jl_fail(err, JOULET_CANCELLED, "loading %.200s was interrupted", s->model)
                                       : explain(s, &why, err);
        if (status != JOULET_OK) {
            s->t_ready_ns = jl_mono_ns();
            jl_process_stop(&s->process, 2);
            keep_log(s);
        }
    }
    *again = why.port_taken;
    args_release(&l->args);
    free(l->cwd);
    l->cwd = NULL;
    return status;
}

static enum joulet_status check_model(struct runtime_server *s, struct launch *l, struct joulet_error *err)
{
    struct gguf_head head;
    char real[PATH_MAX];
    struct joulet_error why;
    enum joulet_status status = gguf_read_head(l->how->model, &head, &why);
    if (status != JOULET_OK) /* not the engine's fault */
        return jl_fail(err, status == JOULET_MEMORY ? status : JOULET_USAGE, "%s", why.message);
    s->model = realpath(l->how->model, real) ? jl_strdup(real) : NULL;
    if (!s->model)
        return jl_fail(err, JOULET_IO, "%s could not be resolved to a path: %s", l->how->model, strerror(errno));
    l->context = l->how->context_length;
    if (l->context <= 0) /* no longer than the model was made for */
        l->context = head.context_length > 0 && head.context_length < CONTEXT_DEFAULT ? head.context_length : CONTEXT_DEFAULT;
    return jl_ok(err);
}

static enum joulet_status check_background(const struct runtime_start *how, struct joulet_error *err)
{
    struct runtime_server other;
    if (!how->background || runtime_background(&other, NULL) != JOULET_OK)
        return jl_ok(err);
    jl_fail(err, JOULET_BUSY, "the engine already runs with %.200s (process %lld): `joulet engine stop` ends it", other.model,
            (long long)other.process.pid);
    runtime_server_release(&other);
    return JOULET_BUSY;
}

enum joulet_status runtime_server_start(struct runtime_server *s, const struct runtime_start *how, struct joulet_error *err)
{
    struct launch l = {.how = how};
    bool again = true;
    *s = (struct runtime_server){.process = {.pid = -1, .ended = true}};
    if (!how->model)
        return jl_fail(err, JOULET_USAGE, "no model is given: -m FILE.gguf");
    enum joulet_status status = check_background(how, err);
    if (status == JOULET_OK)
        status = check_model(s, &l, err);
    if (status == JOULET_OK)
        status = make_key(s->key, err);
    if (status == JOULET_OK && how->before_start)
        how->before_start(how->user);
    if (status == JOULET_OK && cancelled(how))
        status = jl_fail(err, JOULET_CANCELLED, "loading %.200s was interrupted", s->model);
    for (int tries = 0; status == JOULET_OK && again && tries < 4; tries++) {
        free(s->log);
        s->log = NULL;
        status = attempt(s, &l, &again, err);
        if (status != JOULET_OK && again && tries < 3)
            status = JOULET_OK;
    }
    if (status == JOULET_OK && how->background)
        status = runtime_background_save(s, err);
    if (status != JOULET_OK) {
        int64_t spawn_ns = s->t_spawn_ns, ready_ns = s->t_ready_ns;
        runtime_server_stop(s);
        s->t_spawn_ns = spawn_ns;
        s->t_ready_ns = ready_ns;
    }
    return status;
}

/* ---- end --------------------------------------------------------------------------------------------------------- */

void runtime_server_release(struct runtime_server *s)
{
    free(s->log);
    free(s->model);
    *s = (struct runtime_server){.process = {.pid = -1, .ended = true}};
}

void runtime_server_stop(struct runtime_server *s)
{
    bool died = s->process.pid > 0 && jl_process_wait(&s->process, 0) && s->process.status != 0;
    jl_process_stop(&s->process, 5);
    if (died)
        keep_log(s);
    else if (s->log)
        unlink(s->log);
    runtime_server_release(s);
}
