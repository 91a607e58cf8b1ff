/* cmd_model.c - models of joulet's own: writing synthetic ones of real shapes, listing what is there, showing what a file holds.
 */
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/model.h"
#include "llm/gguf/gguf.h"
#include "llm/runtime.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESULT_MAX ((size_t)4 << 20)

static int result(const struct cli *c, struct jl_buf *out)
{
    int code = cli_result(c, out->data ? out->data : "", out->len);
    jl_buf_release(out);
    return code;
}

/* ---- counts and sizes -------------------------------------------------------------------------------------------- */

const char *model_count(char *buf, size_t size, int64_t n)
{
    if (n < 0)
        snprintf(buf, size, "-");
    else if (n < 1000000)
        snprintf(buf, size, "%lld", (long long)n);
    else if (n < 1000000000)
        snprintf(buf, size, "%.3g M", (double)n / 1e6);
    else
        snprintf(buf, size, "%.4g G", (double)n / 1e9);
    return buf;
}

const char *model_bytes(char *buf, size_t size, int64_t n)
{
    if (n < 0)
        snprintf(buf, size, "-");
    else if (n < 1000000000)
        snprintf(buf, size, "%.3g MB", (double)n / 1e6);
    else
        snprintf(buf, size, "%.3g GB", (double)n / 1e9);
    return buf;
}

void model_json_count(struct jl_buf *out, bool *first, const char *key, int64_t n)
{
    cli_json_key(out, first, key);
    if (n < 0)
        jl_buf_str(out, "null");
    else
        jl_buf_printf(out, "%lld", (long long)n);
}

static void json_text(struct jl_buf *out, bool *first, const char *key, const char *value)
{
    cli_json_key(out, first, key);
    cli_json_string(out, value[0] ? value : NULL);
}

/* ---- show -------------------------------------------------------------------------------------------------------- */

/* Everything but the closing brace. */
static void json_open_model(struct jl_buf *out, const char *path, const struct gguf_head *h)
{
    bool first = true;
    jl_buf_str(out, "{");
    json_text(out, &first, "path", path);
    json_text(out, &first, "name", h->name);
    json_text(out, &first, "architecture", h->architecture);
    json_text(out, &first, "quantisation", h->quantisation);
    json_text(out, &first, "digest", h->digest);
    const struct {
        const char *key;
        int64_t value;
    } counts[] = {{"parameters", h->params}, {"size_bytes", h->bytes}, {"context_length", h->context_length},
                  {"layers", h->layers},     {"hidden", h->hidden},    {"heads", h->heads},
                  {"kv_heads", h->kv_heads}, {"vocabulary", h->vocab}, {"tensors", h->tensors}};
    for (size_t i = 0; i < JL_COUNT(counts); i++)
        model_json_count(out, &first, counts[i].key, counts[i].value);
}

static void json_model(struct jl_buf *out, const char *path, const struct gguf_head *h)
{
    json_open_model(out, path, h);
    jl_buf_str(out, "}");
}

static void text_model(struct jl_buf *out, const char *path, const struct gguf_head *h)
{
    char a[32], b[32], d[32];
    jl_buf_printf(out, "path          %s\nname          %s\narchitecture  %s\n", path, h->name[0] ? h->name : "-",
                  h->architecture);
    jl_buf_printf(out, "quantisation  %s\nparameters    %s\nsize          %s\n", h->quantisation[0] ? h->quantisation : "-",
                  model_count(a, sizeof a, h->params), model_bytes(b, sizeof b, h->bytes));
    const struct {
        const char *label;
        int64_t value;
    } counts[] = {{"context", h->context_length}, {"layers", h->layers},    {"hidden", h->hidden},  {"heads", h->heads},
                  {"kv heads", h->kv_heads},      {"vocabulary", h->vocab}, {"tensors", h->tensors}};
    for (size_t i = 0; i < JL_COUNT(counts); i++)
        jl_buf_printf(out, "%-12s  %s\n", counts[i].label, model_count(d, sizeof d, counts[i].value));
    jl_buf_printf(out, "digest        %s\n", h->digest);
}

static int show_run(struct cli *c, const char *name)
{
    struct gguf_head h;
    struct joulet_error err;
    struct jl_buf out;
    name = name ? name : cli_str(c, "model");
    if (!name)
        return cli_usage(c, "model show needs a GGUF file or the name of a model in the models folder");
    char *path = NULL;
    if (runtime_store_find(name, &path, &err) != JOULET_OK)
        return cli_fail_named(c, &err);
    if (!path)
        path = runtime_model_find(name);
    enum joulet_status status = gguf_read_head(path ? path : name, &h, &err);
    if (status != JOULET_OK) {
        free(path);
        cli_fail(c, &err);
        return status == JOULET_MEMORY ? CLI_FAILED : CLI_USAGE;
    }
    jl_buf_init(&out, RESULT_MAX);
    if (cli_json(c)) {
        bool first = false;
        json_open_model(&out, path ? path : name, &h);
        cli_json_key(&out, &first, "work");
        model_work_json(&out, path ? path : name, cli_int(c, "context", 0));
        jl_buf_str(&out, "}\n");
    } else {
        text_model(&out, path ? path : name, &h);
        model_work_text(&out, path ? path : name, cli_int(c, "context", 0));
    }
    free(path);
    return result(c, &out);
}

/* ---- list -------------------------------------------------------------------------------------------------------- */

static bool is_gguf(const char *name)
{
    size_t n = strlen(name);
    return n > 5 && strcasecmp(name + n - 5, ".gguf") == 0;
}

static void text_row(struct jl_buf *out, const char *name, const struct gguf_head *h, const char *trouble)
{
    char a[32], b[32];
    if (trouble)
        jl_buf_printf(out, "%-32s  %s\n", name, trouble);
    else
        jl_buf_printf(out, "%-32s  %-8s  %9s  %9s  context %lld\n", name, h->quantisation, model_count(a, sizeof a, h->params),
                      model_bytes(b, sizeof b, h->bytes), (long long)h->context_length);
}

static size_t list_models(struct jl_buf *out, const char *dir, bool json)
{
    char **names;
    size_t n, listed = 0;
    if (jl_list_dir(dir, &names, &n, NULL) != JOULET_OK)
        return 0;
    for (size_t i = 0; i < n; i++) {
        struct gguf_head h;
        struct joulet_error err;
        char *path = is_gguf(names[i]) ? jl_strf("%s/%s", dir, names[i]) : NULL;
        bool good = path && gguf_read_head(path, &h, &err) == JOULET_OK;
        if (good && json) {
            jl_buf_str(out, listed ? ",\n    " : "\n    ");
            json_model(out, path, &h);
        } else if (path && !json) {
            text_row(out, names[i], &h, good ? NULL : err.message);
        }
        listed += path && (good || !json);
        free(path);
    }
    jl_free_list(names, n);
    return listed;
}

static void list_shapes(struct jl_buf *out, bool json)
{
    struct gguf_shape s;
    char a[32];
    for (size_t i = 0; gguf_shape_get(i, &s); i++) {
        bool first = true;
        if (!json) {
            jl_buf_printf(out, "  %-28s  %9s\n", s.name, model_count(a, sizeof a, gguf_shape_params(&s)));
            continue;
        }
        jl_buf_str(out, i ? ",\n    {" : "\n    {");
        json_text(out, &first, "name", s.name);
        model_json_count(out, &first, "parameters", gguf_shape_params(&s));
        jl_buf_str(out, "}");
    }
}

static int list_run(struct cli *c)
{
    struct joulet_error err;
    struct jl_buf out;
    bool json = cli_json(c);
    char *dir = runtime_models_dir(&err);
    if (!dir)
        return cli_fail(c, &err);
    jl_buf_init(&out, RESULT_MAX);
    if (json)
        jl_buf_str(&out, "{\"folder\": "), cli_json_string(&out, dir), jl_buf_str(&out, ",\n  \"models\": [");
    else
        jl_buf_printf(&out, "models in %s\n", dir);
    if (list_models(&out, dir, json) == 0 && !json)
        jl_buf_str(&out, "  none: `joulet model make` writes one; any GGUF file can be given with -m\n");
    jl_buf_str(&out, json ? "],\n  \"shapes\": [" : "\nshapes that `joulet model make --shape` can write, with random weights\n");
    list_shapes(&out, json);
    if (json)
        jl_buf_str(&out, "]}\n");
    free(dir);
    return result(c, &out);
}

/* ---- make -------------------------------------------------------------------------------------------------------- */

struct making {
    const struct cli *c;
    const char *path;
    int64_t start_ns;
};

static bool show_progress(const struct cli *c)
{
    return isatty(STDERR_FILENO) && !cli_flag(c, "quiet");
}

static bool progress(void *user, double done)
{
    const struct making *m = user;
    double spent = jl_s(jl_mono_ns() - m->start_ns);
    if (show_progress(m->c) && spent > 0.5)
        fprintf(stderr, "\r\033[Kwriting %s  %.0f %%, about %.0f s left", m->path, 100 * done, ceil(spent * (1 - done) / done));
    return !atomic_load(&cli_cancel);
}

static int write_model(struct cli *c, const char *path, const struct gguf_shape *shape, enum gguf_quant quant, uint64_t seed)
{
    struct making m = {.c = c, .path = path, .start_ns = jl_mono_ns()};
    struct joulet_error err;
    enum joulet_status status = gguf_write(path, shape, quant, seed, progress, &m, &err);
    if (show_progress(c))
        fputs("\r\033[K", stderr);
    return status == JOULET_OK ? CLI_DONE : cli_fail(c, &err);
}

/* Where it goes: -o FILE, or the models folder. */
static char *model_path(struct cli *c, const struct gguf_shape *shape, enum gguf_quant quant, struct joulet_error *err)
{
    const char *given = cli_str(c, "output");
    if (given)
        return jl_strdup(given);
    char *dir = runtime_models_dir(err);
    char *path = dir ? jl_strf("%s/%s-%s.gguf", dir, shape->name, gguf_quant_name(quant)) : NULL;
    free(dir);
    return path;
}

/* -o names the model here, so the result always goes to standard output. */
static int say_made(struct cli *c, const char *path)
{
    struct gguf_head h;
    struct joulet_error err;
    struct jl_buf out;
    char a[32], b[32];
    if (gguf_read_head(path, &h, &err) != JOULET_OK)
        return cli_fail(c, &err);
    jl_buf_init(&out, RESULT_MAX);
    if (cli_json(c)) {
        json_model(&out, path, &h);
        jl_buf_str(&out, "\n");
    } else {
        jl_buf_printf(&out, "%s: %s parameters, %s, random weights\n", path, model_count(a, sizeof a, h.params),
                      model_bytes(b, sizeof b, h.bytes));
    }
    bool written = fwrite(out.data, 1, out.len, stdout) == out.len && fflush(stdout) == 0;
    jl_buf_release(&out);
    return written ? CLI_DONE : CLI_FAILED;
}

static int make_at(struct cli *c, const char *path, const struct gguf_shape *shape, enum gguf_quant quant)
{
    struct stat st;
    uint64_t seed = (uint64_t)cli_int(c, "seed", 1);
    int code = CLI_DONE;
    bool there = stat(path, &st) == 0;
    if (there && S_ISDIR(st.st_mode))
        return cli_usage(c, "%s is a folder: give the name of a file with -o FILE", path);
    if (there && !cli_flag(c, "force") && !gguf_is_written(path, shape, quant, seed))
        return cli_usage(c, "%s is there and is not this model: --force replaces it, -o FILE writes elsewhere", path);
    if (there && !cli_flag(c, "force"))
        cli_say(c, "%s is there already; --force writes it again", path);
    else
        code = write_model(c, path, shape, quant, seed);
    return code == CLI_DONE ? say_made(c, path) : code;
}

static bool changed(struct cli *c, struct gguf_shape *shape, struct joulet_error *err)
{
    const char *const *changes;
    size_t n = cli_list(c, "with", &changes);
    for (size_t i = 0; i < n; i++)
        if (gguf_shape_change(shape, changes[i], err) != JOULET_OK)
            return false;
    return true;
}

static int make_run(struct cli *c)
{
    struct gguf_shape shape;
    struct joulet_error err = {0};
    enum gguf_quant quant;
    const char *name = cli_str(c, "shape"), *type = cli_str(c, "quant"), *to = cli_str(c, "output");
    if (!name)
        return cli_usage(c, "model make needs --shape NAME, as in tiny or llama-3.2-1b: `joulet model list` names them");
    if (gguf_shape_find(name, &shape, &err) != JOULET_OK || !changed(c, &shape, &err))
        return cli_usage(c, "%s", err.message);
    if (!type || !gguf_quant_find(type, &quant))
        return cli_usage(c, "--quant '%s' is not " GGUF_QUANTS, type ? type : "");
    if (cli_int(c, "seed", 1) < 0)
        return cli_usage(c, "--seed must be 0 or more here: a model is written to be the same again");
    if (to && (!*to || strcmp(to, "-") == 0))
        return cli_usage(c, "a model cannot go to standard output: -o needs the name of a file");
    char *path = model_path(c, &shape, quant, &err);
    if (!path)
        return cli_fail(c, &err);
    int code = make_at(c, path, &shape, quant);
    free(path);
    return code;
}

static int model_run(struct cli *c, int argc, char **argv)
{
    const char *verb = argc ? argv[0] : "list", *name = argc > 1 ? argv[1] : NULL;
    bool engine = model_is_engine_verb(c, verb), named = strcmp(verb, "show") == 0 || (engine && strcmp(verb, "list") != 0);
    if (!jl_word_in("make,list,show,load,unload,pull", ',', verb))
        return cli_usage(c, "there is no '%s': say make, list, show, load, unload or pull", verb);
    if (argc > (named ? 2 : 1))
        return cli_usage(c, "'%s' is too many after model %s", argv[named ? 2 : 1], verb);
    if (engine)
        return model_engine_run(c, verb, name ? name : cli_str(c, "model"));
    if (strcmp(verb, "show") == 0)
        return show_run(c, name);
    return strcmp(verb, "list") == 0 ? list_run(c) : make_run(c);
}

const struct command cmd_model = {
    .name = "model",
    .summary = "write a model of a real shape; list, show, load, unload and pull models",
    .usage = "joulet model [OPTION]... [list | show NAME | make --shape NAME | load NAME | unload NAME | pull NAME]",
    .options = "shape with quant seed model force engine protocol key token context keep-alive engine-option",
    .verbs = "make list show load unload pull",
    .about =
        "`make` writes a GGUF file with the shape of a published model and random weights: its energy and speed are those of the "
        "real "
        "one on dense layers, its answers are nonsense. Nothing is downloaded. --quant chooses the number format; --seed the "
        "weights: "
        "the same seed gives the same bytes on every machine. The file goes to the models folder as SHAPE-QUANT.gguf, or to -o "
        "FILE; "
        "if it is there already, nothing is written. Shapes of dense Llama models are known, and tiny-moe, a small mixture of "
        "experts; `list` names them.\n\n"
        "`list`, or no word at all, lists the models in joulet's folder. `show` takes a file, or the name of a model there, and "
        "says what "
        "its head tells: architecture, quantisation, parameters, size, context, and a digest that names the file in records.\n\n"
        "With --engine (a URL, or a name such as ollama) `list` and `show` tell of that engine's models: size, quantisation, "
        "digest, "
        "context, what is loaded and how much of it lies on the GPU. `load` loads one, with --context and --keep-alive, and says "
        "how "
        "long it took; `unload` frees its memory; `pull` lets the engine fetch one from where it gets them. These three take the "
        "first engine that answers where none is named. An engine that has no way to do so says that.\n\n"
        "With --json, models are objects with `path`, `name`, `architecture`, `quantisation`, `digest`, `parameters`, "
        "`size_bytes`, "
        "`context_length`, `layers`, `hidden`, `heads`, `kv_heads`, `vocabulary` and `tensors`; what a file does not tell is "
        "null. `show` adds `work`: the operations and bytes of `decode` and `prefill`, by part.",
    .examples =
        "joulet model make --shape llama-3.2-1b --quant q4_0\n  1.2 G parameters in some seconds\n"
        "joulet model make --shape llama-3.3-70b-instruct --with layers=4\n  four of its 80 layers, which fit into 4 GB: for "
        "joulet profile\n"
        "joulet model make --shape tiny -o tiny.gguf\n  2.6 MB, for trying things out\n"
        "joulet model list --engine ollama\n  the models of Ollama, and which are loaded\n"
        "joulet model show tiny.gguf --json\n  what a file holds\n",
    .run = model_run,
};
