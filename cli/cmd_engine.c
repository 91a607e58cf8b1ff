/* cmd_engine.c - the llama.cpp of our own: getting it, running it in the background, saying what there is, removing it. */
#include "cli/cli.h"
#include "cli/json.h"
#include "llm/runtime.h"

#include <stdlib.h>
#include <string.h>

#define RESULT_MAX ((size_t)1 << 20)

static int result(const struct cli *c, struct jl_buf *out)
{
    int code = cli_result(c, out->data ? out->data : "", out->len);
    jl_buf_release(out);
    return code;
}

/* ---- what there is --------------------------------------------------------------------------------------------------------- */

struct answering {
    char protocol[24], url[320], model[256], joulet[32]; /* the version of a joulet server in front of it; "" none */
};
struct here {
    char version[64]; /* of the private one; "" not installed */
    char *folder, *on_path;
    struct runtime_server background; /* pid <= 0: none */
    struct answering answering[8];
    size_t n_answering;
};

static void look_at(struct here *h, const struct engine_ops *ops)
{
    struct engine *e;
    struct answering *a = &h->answering[h->n_answering];
    if (ops)
        engine_address(ops, a->url, sizeof a->url);
    else
        snprintf(a->url, sizeof a->url, "http://127.0.0.1:8737"); /* where joulet serve listens */
    for (size_t i = 0; i < h->n_answering; i++)
        if (strcmp(h->answering[i].url, a->url) == 0)
            return;
    if (h->n_answering + 1 == JL_COUNT(h->answering) || engine_open(&e, a->url, NULL, &cli_cancel, NULL) != JOULET_OK)
        return;
    snprintf(a->protocol, sizeof a->protocol, "%s", e->ops->name);
    snprintf(a->model, sizeof a->model, "%s", e->info.model);
    snprintf(a->joulet, sizeof a->joulet, "%s", e->joulet.is ? e->joulet.version : "");
    engine_close(e);
    h->n_answering++;
}

static enum joulet_status look(struct here *h, struct joulet_error *err)
{
    *h = (struct here){.folder = runtime_folder(err)};
    if (!h->folder)
        return JOULET_IO;
    runtime_version(h->version, sizeof h->version, NULL);
    h->on_path = runtime_on_path();
    runtime_background(&h->background, NULL);
    for (size_t i = 0; engine_table[i]; i++)
        if (engine_table[i]->default_port > 0)
            look_at(h, engine_table[i]);
    look_at(h, NULL);
    return JOULET_OK;
}

static void forget(struct here *h)
{
    free(h->folder);
    free(h->on_path);
    runtime_server_release(&h->background);
}

static bool at_hand(const struct here *h)
{
    return h->version[0] || h->on_path || h->background.process.pid > 0;
}

static void text_status(struct jl_buf *out, const struct here *h)
{
    const struct runtime_server *b = &h->background;
    if (h->version[0])
        jl_buf_printf(out, "private     llama.cpp %s in %s\n", h->version, h->folder);
    else
        jl_buf_str(out, "private     not installed: `joulet engine install` gets llama.cpp\n");
    jl_buf_printf(out, "on PATH     %s\n", h->on_path ? h->on_path : "no llama-server");
    if (b->process.pid > 0)
        jl_buf_printf(out, "background  process %lld at %s with %s\n", (long long)b->process.pid, b->url, b->model);
    else
        jl_buf_str(out, "background  none: `joulet engine start -m MODEL` starts one\n");
    for (size_t i = 0; i < h->n_answering; i++)
        jl_buf_printf(out, "answering   %s%s%s at %s, %s\n", h->answering[i].protocol,
                      h->answering[i].joulet[0] ? " behind joulet " : "", h->answering[i].joulet, h->answering[i].url,
                      h->answering[i].model[0] ? h->answering[i].model : "no model loaded");
    if (h->n_answering == 0)
        jl_buf_str(out, "answering   nothing on the default ports\n");
}

static void json_text(struct jl_buf *out, bool *first, const char *key, const char *value)
{
    cli_json_key(out, first, key);
    cli_json_string(out, value);
}

/* The key of the background server stays in its file: a result may be pasted anywhere. */
static void json_background(struct jl_buf *out, const struct runtime_server *b)
{
    bool first = true;
    if (b->process.pid <= 0) {
        jl_buf_str(out, "null");
        return;
    }
    jl_buf_printf(out, "{");
    cli_json_key(out, &first, "pid");
    jl_buf_printf(out, "%lld", (long long)b->process.pid);
    json_text(out, &first, "url", b->url);
    json_text(out, &first, "model", b->model);
    json_text(out, &first, "log", b->log);
    cli_json_key(out, &first, "private");
    jl_buf_str(out, b->private_engine ? "true}" : "false}");
}

static void json_status(struct jl_buf *out, const struct here *h)
{
    bool first = true, inner = true;
    jl_buf_str(out, "{");
    cli_json_key(out, &first, "private");
    jl_buf_str(out, "{");
    json_text(out, &inner, "version", h->version[0] ? h->version : NULL);
    json_text(out, &inner, "folder", h->folder);
    jl_buf_str(out, "}");
    json_text(out, &first, "on_path", h->on_path);
    cli_json_key(out, &first, "background");
    json_background(out, &h->background);
    cli_json_key(out, &first, "answering");
    jl_buf_str(out, "[");
    for (size_t i = 0; i < h->n_answering; i++) {
        bool one = true;
        jl_buf_str(out, i ? ",{" : "{");
        json_text(out, &one, "protocol", h->answering[i].protocol);
        json_text(out, &one, "url", h->answering[i].url);
        json_text(out, &one, "model", h->answering[i].model[0] ? h->answering[i].model : NULL);
        json_text(out, &one, "joulet", h->answering[i].joulet[0] ? h->answering[i].joulet : NULL);
        jl_buf_str(out, "}");
    }
    jl_buf_str(out, "]}\n");
}

static int status_run(struct cli *c)
{
    struct here h;
    struct jl_buf out;
    struct joulet_error err;
    if (look(&h, &err) != JOULET_OK)
        return cli_fail(c, &err);
    jl_buf_init(&out, RESULT_MAX);
    if (cli_json(c))
        json_status(&out, &h);
    else
        text_status(&out, &h);
    int code = result(c, &out);
    if (code == CLI_DONE && !at_hand(&h))
        code = CLI_ENGINE;
    forget(&h);
    return code;
}

/* ---- getting and removing it ------------------------------------------------------------------------------------- */

static void say(void *user, const char *line)
{
    static const char warning[] = "warning: ";
    const struct cli *c = user;
    if (jl_starts(line, warning))
        cli_warn(c, "%s", line + sizeof warning - 1);
    else
        cli_say(c, "%s", line);
}

static int install_run(struct cli *c)
{
    struct joulet_error err;
    struct jl_buf out;
    char version[64];
    struct runtime_install how = {
        .mirror = cli_str(c, "mirror"),
        .allow_stale = cli_flag(c, "allow-stale"),
        .force = cli_flag(c, "force"),
        .progress = say,
        .user = c,
        .cancel = &cli_cancel,
    };
    if (runtime_install(&how, &err) != JOULET_OK || runtime_version(version, sizeof version, &err) != JOULET_OK)
        return cli_fail(c, &err);
    char *folder = runtime_folder(NULL);
    jl_buf_init(&out, RESULT_MAX);
    if (cli_json(c)) {
        bool first = true;
        jl_buf_str(&out, "{");
        json_text(&out, &first, "version", version);
        json_text(&out, &first, "folder", folder);
        jl_buf_str(&out, "}\n");
    } else {
        jl_buf_printf(&out, "llama.cpp %s in %s\n", version, folder ? folder : "");
    }
    free(folder);
    return result(c, &out);
}

static int remove_run(struct cli *c)
{
    struct joulet_error err;
    struct jl_buf out;
    char version[64];
    if (runtime_version(version, sizeof version, &err) != JOULET_OK || runtime_remove(&err) != JOULET_OK)
        return cli_fail(c, &err);
    jl_buf_init(&out, RESULT_MAX);
    if (cli_json(c)) {
        bool first = true;
        jl_buf_str(&out, "{");
        cli_json_key(&out, &first, "removed");
        jl_buf_str(&out, "true");
        json_text(&out, &first, "version", version);
        jl_buf_str(&out, "}\n");
    } else {
        jl_buf_printf(&out, "llama.cpp %s is removed; models and records stay\n", version);
    }
    return result(c, &out);
}

/* ---- running it in the background -------------------------------------------------------------------------------- */

static char *only_model_file(struct cli *c, int *code)
{
    struct joulet_error err;
    const char *model = cli_str(c, "model");
    char *path = NULL;
    if (model && runtime_store_find(model, &path, &err) != JOULET_OK) {
        *code = cli_fail_named(c, &err);
        return NULL;
    }
    if (model && !path)
        path = runtime_model_find(model);
    if (!model && runtime_model_only(&path, &err) != JOULET_OK)
        *code = cli_fail(c, &err);
    else if (model && !path)
        *code = cli_usage(c, "'%s' is no GGUF file, nor the name of one in the models folder: `joulet model list` shows those",
                          model);
    return path;
}

/* --engine as a program. False when it is an address. */
static bool choose_program(const struct cli *c, struct runtime_start *how)
{
    const char *engine = cli_str(c, "engine");
    how->private_only = engine && strcmp(engine, "private") == 0;
    if (!how->private_only && engine && strcmp(engine, "llama.cpp") != 0)
        how->program = engine;
    return !engine || !strstr(engine, "://");
}

static int start_run(struct cli *c)
{
    struct joulet_error err;
    struct runtime_server s;
    struct jl_buf out;
    int code = CLI_DONE;
    char *model = only_model_file(c, &code);
    if (!model)
        return code;
    struct runtime_start how = {
        .model = model,
        .context_length = cli_int(c, "context", -1),
        .threads = (int)cli_int(c, "threads", 0),
        .parallel = (int)cli_int(c, "parallel", 0),
        .gpu_layers = (int)cli_int(c, "gpu-layers", -1),
        .background = true,
        .cancel = &cli_cancel,
    };
    how.n_options = cli_list(c, "engine-option", &how.options);
    if (!choose_program(c, &how)) {
        free(model);
        return cli_usage(c, "--engine is an address: start runs a llama-server of this machine, give its path or nothing");
    }
    cli_say(c, "loading %s", model);
    enum joulet_status status = runtime_server_start(&s, &how, &err);
    free(model);
    if (status != JOULET_OK)
        return cli_fail(c, &err);
    jl_buf_init(&out, RESULT_MAX);
    if (cli_json(c)) {
        json_background(&out, &s);
        jl_buf_str(&out, "\n");
    } else {
        jl_buf_printf(&out, "process %lld at %s with %s, loaded in %.2f s\n", (long long)s.process.pid, s.url, s.model,
                      jl_s(s.t_ready_ns - s.t_spawn_ns));
    }
    runtime_server_release(&s);
    return result(c, &out);
}

static int stop_run(struct cli *c)
{
    struct joulet_error err;
    struct runtime_server s;
    struct jl_buf out;
    enum joulet_status status = runtime_background(&s, &err);
    if (status == JOULET_OK)
        status = runtime_background_stop(&err);
    if (status != JOULET_OK) {
        runtime_server_release(&s);
        return cli_fail(c, &err);
    }
    jl_buf_init(&out, RESULT_MAX);
    if (cli_json(c)) {
        bool first = true;
        jl_buf_str(&out, "{");
        cli_json_key(&out, &first, "stopped");
        jl_buf_str(&out, "true");
        cli_json_key(&out, &first, "pid");
        jl_buf_printf(&out, "%lld", (long long)s.process.pid);
        json_text(&out, &first, "url", s.url);
        json_text(&out, &first, "model", s.model);
        jl_buf_str(&out, "}\n");
    } else {
        jl_buf_printf(&out, "process %lld with %s has ended\n", (long long)s.process.pid, s.model);
    }
    runtime_server_release(&s);
    return result(c, &out);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static int engine_run(struct cli *c, int argc, char **argv)
{
    static const struct {
        const char *verb;
        int (*run)(struct cli *c);
    } verbs[] = {
        {"install", install_run}, {"start", start_run}, {"stop", stop_run}, {"status", status_run}, {"remove", remove_run}};
    if (argc > 1)
        return cli_usage(c, "engine takes one word; '%s' is too many", argv[1]);
    for (size_t i = 0; i < JL_COUNT(verbs); i++)
        if (strcmp(argc ? argv[0] : "status", verbs[i].verb) == 0)
            return verbs[i].run(c);
    return cli_usage(c, "there is no '%s': say install, start, stop, status or remove", argv[0]);
}

const struct command cmd_engine = {
    .name = "engine",
    .summary = "get, start and stop a llama.cpp of joulet's own",
    .usage = "joulet engine [OPTION]... [install|start|stop|status|remove]",
    .options = "engine model threads context gpu-layers parallel engine-option mirror allow-stale force",
    .verbs = "install start stop status remove",
    .about =
        "joulet measures the engine you already run. Where there is none, `install` fetches a current llama.cpp into a folder of "
        "joulet's: the packages of Debian's next release from the mirror that the system uses, without root and without changing "
        "the "
        "system. Signatures are checked with the archive's keyring, and an index older than 90 days is refused unless "
        "--allow-stale "
        "is given. On other systems it says how to get llama.cpp there; --mirror URL names a Debian mirror wherever apt-get, "
        "dpkg and "
        "the package debian-archive-keyring are installed. --force installs anew.\n\n"
        "`start` runs llama-server in the background with a model (-m, or the only one in the models folder), on the loopback "
        "address "
        "and a free port, with a random key. `joulet run` and `joulet bench` then use it, so that a model is loaded once. "
        "--engine PROGRAM starts another llama-server, --engine private the installed one although another is on PATH. "
        "--engine-option KEY=VALUE becomes the option --KEY VALUE of llama-server. `stop` ends it.\n\n"
        "`status`, or no word at all, says what is installed, running and answering on this machine; the exit code is 4 when no "
        "engine "
        "could be started. `remove` deletes the installed engine; models and records stay.",
    .examples = "joulet engine install\n  fetch llama.cpp, or say how to get it here\n"
                "joulet engine start -m llama-3.2-1b-q4_0 --threads 4\n  load a model and keep it loaded\n"
                "joulet engine status --json\n  what is there, for a program\n",
    .run = engine_run,
};
