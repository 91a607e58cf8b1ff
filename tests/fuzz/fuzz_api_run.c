/* Bodies of POST /joulet/runs as strangers write them. Whatever comes, the answer is JSON with a status that says what became of
 * it; and what a run is started with is made of options that this file knows, each once, with values in their limits: no word of
 * the body stands where an option could, and no engine is asked but an upstream. */
#include "server/api.h"
#include "server/api_jobs.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define UPSTREAM "http://127.0.0.1:8000"

bool __wrap_net_call_answer(struct net_call *call, const struct net_answer *a);
bool __wrap_jobs_add(struct jobs *j, const struct job_view *what, const char *const *argv, const char *key);
bool __wrap_jobs_get(struct jobs *j, const char *id, struct job_view *out);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static int status;
static bool started, busy;

static void must(bool x)
{
    if (!x)
        abort();
}

bool __wrap_net_call_answer(struct net_call *call, const struct net_answer *a)
{
    json_t *body = json_loadb(a->body, (size_t)a->length, 0, NULL);
    (void)call;
    must(json_is_object(body) && status == 0);
    json_decref(body);
    status = a->status;
    return true;
}

/* Options with a number, and its limits; least > most: a text. */
static const struct option {
    const char *name;
    double least, most;
} options[] = {{"--prompts", 1, 0},       {"--model", 1, 0},      {"--system", 1, 0},    {"--title", 1, 0},
               {"--repeat", 1, 1000},     {"--warmup", 0, 100},   {"--streams", 1, 256}, {"--max-tokens", 1, 1e6},
               {"--seed", 0, 4294967295}, {"--top-k", 0, 1e6},    {"--top-p", 0, 1},     {"--temperature", 0, 100},
               {"--baseline", 0, 600},    {"--cooldown", 0, 600}, {"--run-id", 1, 0},    {"--engine", 1, 0}};

static void check_value(const struct option *o, const char *value)
{
    char number[64];
    double x;
    if (o->least > o->most)
        return;
    size_t n = strlen(value);
    must(n < sizeof number);
    memcpy(number, value, n + 1);
    if (n && number[n - 1] == 's')
        number[n - 1] = '\0';
    must(!strchr(number, 'e') && jl_parse_double(number, &x) && x >= o->least && x <= o->most);
}

bool __wrap_jobs_add(struct jobs *j, const struct job_view *what, const char *const *argv, const char *key)
{
    bool bench = strcmp(what->kind, "bench") == 0;
    unsigned seen = 0;
    size_t i = 5; /* joulet bench --json -o /dev/null */
    (void)j;
    must(!started && !key && strcmp(argv[0], "joulet") == 0 && strcmp(argv[1], bench ? "bench" : "run") == 0);
    must(strcmp(argv[2], "--json") == 0 && strcmp(argv[3], "-o") == 0 && strcmp(argv[4], "/dev/null") == 0);
    while (argv[i] && strcmp(argv[i], "--") != 0) {
        size_t k = 0;
        if (strcmp(argv[i], "--private") == 0) {
            i++;
            continue;
        }
        while (k < JL_COUNT(options) && strcmp(options[k].name, argv[i]) != 0)
            k++;
        must(k < JL_COUNT(options) && !(seen & 1u << k) && argv[i + 1]);
        seen |= 1u << k;
        check_value(&options[k], argv[i + 1]);
        if (strcmp(options[k].name, "--engine") == 0)
            must(strcmp(argv[i + 1], UPSTREAM) == 0);
        i += 2;
    }
    must((seen & 3u << 14) == 3u << 14);
    must(bench ? !argv[i] : argv[i] && argv[i + 1] && !argv[i + 2]);
    started = true;
    return !busy;
}

bool __wrap_jobs_get(struct jobs *j, const char *id, struct job_view *out)
{
    (void)j;
    must(*id && strcmp(out->id, id) == 0);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const struct server_upstream upstreams[] = {{.url = UPSTREAM}};
    static struct api_shared shared;
    static struct server server = {.api = &shared, .o = {.api = {.program = "joulet"}}};
    static struct rules rules = {.o = {.upstreams = upstreams, .n_upstreams = 1}};
    static const struct net_head head = {.method = "POST", .target = "/joulet/runs"};
    char *body = malloc(n + 1);
    if (!body || n > API_BODY_MAX) {
        free(body);
        return 0;
    }
    memcpy(body, bytes, n);
    body[n] = '\0';
    struct api_call c = {.server = &server, .rules = &rules, .head = &head, .body = body, .body_n = n};
    status = 0;
    started = false;
    busy = n % 7 == 0;
    api_run_start(&c);
    must(status == (!started ? 400 : busy ? 503 : 202));
    free(body);
    return 0;
}
