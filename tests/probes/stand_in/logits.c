/* logits.c - a real llama.cpp, loaded at run time and driven through llama_decode as bindings do, without its headers: prints a
 * sum over the bytes of every logit of 40 tokens, which the probe must not change. logits FOLDER MODEL, FOLDER with libllama.so
 * or libllama.so.0 and what it needs. Exit code 77: it has no such functions. */
#include <dirent.h>
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TOKENS 40
#define PROMPT 9

struct big { /* parameters by value, whatever their size */
    char bytes[512];
};
struct batch {
    int32_t n_tokens, *token;
    float *embd;
    int32_t *pos, *n_seq_id, **seq_id;
    int8_t *logits;
};
static struct {
    void (*log_set)(void (*)(int, const char *, void *), void *);
    void (*load_backends)(const char *);
    void (*init)(void);
    struct big (*model_parameters)(void), (*context_parameters)(void);
    void *(*load)(const char *, struct big);
    void *(*context)(void *, struct big);
    void (*threads)(void *, int32_t, int32_t);
    struct batch (*batch)(int32_t, int32_t, int32_t);
    int32_t (*decode)(void *, struct batch);
    float *(*logits)(void *, int32_t);
    const void *(*vocabulary)(const void *);
    int32_t (*n_tokens)(const void *);
} api;

/* libllama.so, libllama.so.0, libllama.v0.5.0.so */
static void *open_library(const char *folder, const char *name)
{
    char path[4096] = "";
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));)
        if (strncmp(e->d_name, name, strlen(name)) == 0)
            snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
    if (d)
        closedir(d);
    return *path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
}

static bool find(const char *folder)
{
    void *ggml = open_library(folder, "libggml."), *llama = open_library(folder, "libllama.");
    const struct {
        void *slot, *library;
        const char *name;
    } rows[] = {
        {&api.log_set, llama, "llama_log_set"},
        {&api.load_backends, ggml, "ggml_backend_load_all_from_path"},
        {&api.init, llama, "llama_backend_init"},
        {&api.model_parameters, llama, "llama_model_default_params"},
        {&api.context_parameters, llama, "llama_context_default_params"},
        {&api.load, llama, "llama_model_load_from_file"},
        {&api.context, llama, "llama_init_from_model"},
        {&api.threads, llama, "llama_set_n_threads"},
        {&api.batch, llama, "llama_batch_init"},
        {&api.decode, llama, "llama_decode"},
        {&api.logits, llama, "llama_get_logits_ith"},
        {&api.vocabulary, llama, "llama_model_get_vocab"},
        {&api.n_tokens, llama, "llama_vocab_n_tokens"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        void *f = dlsym(RTLD_DEFAULT, rows[i].name); /* as a program that is linked with it: what is preloaded comes first */
        if (!f && rows[i].library)
            f = dlsym(rows[i].library, rows[i].name);
        if (!f) {
            fprintf(stderr, "no %s: %s\n", rows[i].name, dlerror());
            return false;
        }
        memcpy(rows[i].slot, &f, sizeof(f));
    }
    return true;
}

static void silent(int level, const char *text, void *user)
{
    (void)level, (void)text, (void)user;
}

static void add(struct batch *b, int32_t token, int32_t position, bool wanted)
{
    b->token[b->n_tokens] = token;
    b->pos[b->n_tokens] = position;
    b->n_seq_id[b->n_tokens] = 1;
    b->seq_id[b->n_tokens][0] = 0;
    b->logits[b->n_tokens++] = wanted;
}

static uint64_t generate(void *context, int32_t n)
{
    struct batch b = api.batch(64, 0, 1);
    uint64_t sum = 14695981039346656037u; /* FNV-1a */
    for (int32_t i = 0; i < PROMPT; i++)
        add(&b, 300 + 7 * i, i, i == PROMPT - 1);
    for (int32_t at = PROMPT, t = 0; t < TOKENS; t++, at++) {
        int32_t best = 0;
        if (api.decode(context, b) != 0)
            return 0;
        const float *logits = api.logits(context, -1);
        for (size_t i = 0; i < sizeof(float) * (size_t)n; i++)
            sum = (sum ^ ((const unsigned char *)logits)[i]) * 1099511628211u;
        for (int32_t i = 1; i < n; i++)
            best = logits[i] > logits[best] ? i : best;
        b.n_tokens = 0;
        add(&b, best, at, true);
    }
    return sum;
}

int main(int argc, char **argv)
{
    if (argc < 3 || !find(argv[1]))
        return 77;
    api.log_set(silent, NULL);
    api.init();
    api.load_backends(argv[1]);
    void *model = api.load(argv[2], api.model_parameters());
    void *context = model ? api.context(model, api.context_parameters()) : NULL;
    if (!context)
        return 1;
    api.threads(context, 1, 1);
    printf("%016llx\n", (unsigned long long)generate(context, api.n_tokens(api.vocabulary(model))));
    return 0;
}
