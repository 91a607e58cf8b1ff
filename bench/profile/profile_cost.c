/* profile_cost.c - what the probe costs a real llama-server with a model of the 1B shape: a profiler slows what it watches.
 * Decoding steps with stops against their neighbours without (profile/steps.h), so that what else happens on the
 * machine cancels; requests go on until the 95 % interval is narrow enough. Also how much of the time of graphs the stretches
 * explain at each level, and how large the file is. One JSON object a line; nothing where no llama-server is installed.
 *
 * profile_cost [--model FILE] [--steps N] [--width PERCENT] [--threads N] [--only FIGURE] */
#include "lib/platform/platform.h"
#include "llm/gguf/gguf.h"
#include "llm/runtime_private.h"
#include "net/net.h"
#include "profile/steps.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOKENS       100 /* of a request */
#define TURNS_OF_ALL "0" /* for every: the probe chooses, and takes turns */
#define TURNS        4   /* times as many steps: each is of one of four kinds */

struct asked {
    const char *model; /* NULL: written */
    size_t steps;      /* at most */
    double width;      /* of the interval, % of a step */
    int threads;       /* 0: one, then two */
    const char *only;  /* beginning of a figure; "": all */
};
static char folder[64];

/* ---- a server and what its probe tells --------------------------------------------------------------------------------------
 */

struct served {
    struct runtime_server server;
    struct ring *ring;
    struct steps records;
    struct profile_step *steps;
    size_t n, cap;
    struct ring_info info;
    int64_t graph_ns, stretch_ns, stop_ns, open_ns, close_ns; /* of watched graphs */
    uint64_t stops;
    long long file_bytes;
};

static bool start(struct served *s, const char *model, int threads, const char *level, const char *every)
{
    char dir[128], lev[64], ev[64];
    struct joulet_error err;
    char *on_path = runtime_on_path();
    snprintf(dir, sizeof dir, "JOULET_PROBE_DIR=%s", folder);
    snprintf(lev, sizeof lev, "JOULET_PROBE_LEVEL=%s", level);
    snprintf(ev, sizeof ev, "JOULET_PROBE_EVERY=%s", every);
    const char *turns = strcmp(every, TURNS_OF_ALL) == 0 ? "JOULET_PROBE_TURNS=1" : NULL;
    const char *const env[] = {dir, lev, ev, turns, NULL};
    struct runtime_start how = {.model = model,
                                .context_length = 2 * TOKENS + 64,
                                .threads = threads,
                                .gpu_layers = 0,
                                .private_only = !on_path,
                                .preload = PROBE,
                                .environment = env};
    memset(s, 0, sizeof *s);
    free(on_path);
    steps_init(&s->records);
    if (runtime_server_start(&s->server, &how, &err) != JOULET_OK) {
        fprintf(stderr, "profile_cost: %s\n", err.message);
        return false;
    }
    return true;
}

static bool ask(struct served *s)
{
    char url[256], authorization[128], body[256];
    struct net_response r = {0};
    struct joulet_error err;
    snprintf(url, sizeof url, "%s/completion", s->server.url);
    snprintf(authorization, sizeof authorization, "Bearer %s", s->server.key);
    snprintf(body, sizeof body,
             "{\"prompt\":\"The quick brown fox\",\"n_predict\":%d,\"temperature\":0,\"ignore_eos\":true,\"cache_prompt\":false}",
             TOKENS);
    const struct net_header headers[] = {{"Authorization", authorization}, {"Content-Type", "application/json"}};
    struct net_request q = {.method = "POST",
                            .url = url,
                            .headers = headers,
                            .n_headers = 2,
                            .body = body,
                            .body_len = strlen(body),
                            .total_timeout_s = 3600,
                            .max_bytes = (size_t)16 << 20};
    bool ok = net_http(&q, &r, &err) == JOULET_OK && r.status == 200;
    if (!ok)
        fprintf(stderr, "profile_cost: the engine answers %d: %s\n", r.status, err.message);
    net_response_release(&r);
    return ok;
}

static bool keep(struct served *s, const struct profile_step *p)
{
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 1024;
        struct profile_step *more = realloc(s->steps, cap * sizeof *more);
        if (!more)
            return false;
        s->steps = more;
        s->cap = cap;
    }
    s->steps[s->n++] = *p;
    return true;
}

static bool collect(struct served *s)
{
    struct ring_record records[256];
    struct profile_step p;
    struct joulet_error err;
    char *path = s->ring ? NULL : ring_find(folder, s->server.process.pid);
    if (!s->ring && (!path || ring_open(&s->ring, path, &err) != JOULET_OK)) {
        fprintf(stderr, "profile_cost: the probe wrote nothing\n");
        free(path);
        return false;
    }
    struct stat st;
    if (path && stat(path, &st) == 0)
        s->file_bytes = (long long)st.st_size;
    free(path);
    for (size_t n; (n = ring_read(s->ring, records, JL_COUNT(records))) > 0;)
        for (size_t i = 0; i < n; i++) {
            if (!steps_add(&s->records, &records[i], &p))
                continue;
            bool whole = p.graphs > 0 && p.watched == p.graphs && !p.failed;
            s->graph_ns += whole ? p.graph_ns : 0;
            s->stretch_ns += whole ? p.stretch_ns : 0;
            s->stop_ns += whole ? p.stop_ns : 0;
            s->open_ns += whole ? p.open_ns : 0;
            s->close_ns += whole ? p.close_ns : 0;
            s->stops += whole ? p.stops : 0;
            if (!keep(s, &p))
                return false;
        }
    ring_info(s->ring, &s->info);
    return ring_lost(s->ring) == 0;
}

static void stop(struct served *s)
{
    char *path = s->ring ? ring_find(folder, s->server.process.pid) : NULL;
    ring_close(s->ring);
    runtime_server_stop(&s->server);
    if (path)
        unlink(path);
    free(path);
    free(s->steps);
}

/* ---- figures ----------------------------------------------------------------------------------------------------------------
 */

static void print(const char *name, int threads, double value, const char *unit, double goal, bool at_least, const char *more)
{
    char number[32] = "null";
    bool meets = at_least ? value >= goal : value <= goal;
    if (isfinite(value))
        snprintf(number, sizeof number, "%.4g", value);
    printf("{\"figure\": \"probe.%s", name);
    if (threads)
        printf(".threads_%d", threads);
    printf("\", \"value\": %s, \"unit\": \"%s\", \"goal\": %g, \"meets\": %s%s}\n", number, unit, goal, meets ? "true" : "false",
           more);
    fflush(stdout);
}

static double width_of(const struct step_cost *c)
{
    double width = 100 * (c->high_s - c->low_s) / c->plain_s;
    return isfinite(width) ? width : INFINITY;
}

/* Extra of a decoding step whose graph is watched, in % of one without stops. */
static void decode_cost(const struct asked *a, const char *model, int threads)
{
    struct served s;
    struct step_cost c = {.pairs = 0};
    double width = INFINITY;
    if (!start(&s, model, threads, "components", "2"))
        return;
    for (size_t steps = 0; steps < a->steps && !(width < a->width); steps += TOKENS) {
        if (!ask(&s) || !collect(&s) || !steps_cost(s.steps, s.n, &c))
            break;
        width = width_of(&c);
    }
    if (c.pairs) {
        char more[256];
        snprintf(more, sizeof more,
                 ", \"low\": %.4g, \"high\": %.4g, \"pairs\": %zu, \"step_ms\": %.4g, \"stop_us\": %.4g, \"baseline\": 0",
                 100 * c.low_s / c.plain_s, 100 * c.high_s / c.plain_s, c.pairs, 1e3 * c.plain_s, 1e6 * c.stop_s);
        print("decode.components", threads, 100 * c.extra_s / c.plain_s, "%", threads == 1 ? 1 : 1.5, false, more);
        print("decode.interval", threads, width, "%", a->width, false, "");
    }
    stop(&s);
}

static double watched_share(const struct served *s)
{
    size_t all = 0, watched = 0;
    for (size_t i = 0; i < s->n; i++) {
        bool counts = s->steps[i].turn == WIRE_TURN_AS_SET && s->steps[i].tokens == 1;
        all += counts;
        watched += counts && s->steps[i].watched;
    }
    return all ? (double)watched / (double)all : NAN;
}

/* Each against the step without the probe, in % of that. At stages the interval must hold 0. */
static void print_turns(const struct asked *a, const struct served *s, const struct step_cost costs[WIRE_TURNS], int threads)
{
    const struct {
        const char *name;
        double goal;
    } rows[WIRE_TURNS] = {[WIRE_TURN_STAGES] = {"decode.stages", 0},
                          [WIRE_TURN_AS_SET] = {"decode.sampled", 0.5},
                          [WIRE_TURN_ALL] = {"decode.each", threads == 1 ? 1 : 1.5}};
    for (int t = WIRE_TURN_STAGES; t < WIRE_TURNS; t++) {
        const struct step_cost *c = &costs[t];
        double value = 100 * c->extra_s / c->plain_s, low = 100 * c->low_s / c->plain_s, high = 100 * c->high_s / c->plain_s;
        char more[256];
        if (!isfinite(low) || !isfinite(high)) /* too few steps */
            continue;
        snprintf(more, sizeof more, ", \"low\": %.4g, \"high\": %.4g, \"pairs\": %zu, \"step_ms\": %.4g, \"watched\": %.3g", low,
                 high, c->pairs, 1e3 * c->plain_s, t == WIRE_TURN_AS_SET ? watched_share(s) : t == WIRE_TURN_ALL);
        print(rows[t].name, threads, t == WIRE_TURN_STAGES ? fmax(0, low) : value, "%", rows[t].goal, false, more);
    }
    print("decode.turns_interval", threads, width_of(&costs[WIRE_TURN_STAGES]), "%", a->width, false, "");
}

/* Steps without the probe, at stages, as it chooses by itself, and with every graph watched, among each other. */
static void turns_cost(const struct asked *a, const char *model, int threads)
{
    struct served s;
    struct step_cost costs[WIRE_TURNS];
    bool ok = false;
    if (!start(&s, model, threads, "components", TURNS_OF_ALL))
        return;
    for (size_t steps = 0; steps < TURNS * a->steps && (!ok || width_of(&costs[WIRE_TURN_STAGES]) > a->width); steps += TOKENS) {
        ok = ask(&s) && collect(&s);
        for (int t = WIRE_TURN_STAGES; ok && t < WIRE_TURNS; t++)
            ok = steps_turn_cost(s.steps, s.n, (enum wire_turn)t, &costs[t]);
        if (!ok)
            break;
    }
    if (ok)
        print_turns(a, &s, costs, threads);
    stop(&s);
}

static void stage_stops(const char *model)
{
    struct served s;
    if (!start(&s, model, 1, "stages", "1"))
        return;
    if (ask(&s) && collect(&s))
        print("stages.stops", 0, (double)s.info.counts[WIRE_N_STOPS], "1", 0, false, "");
    stop(&s);
}

static void explained(const char *model, const char *name)
{
    static const char *const levels[] = {"layers", "components", "nodes"};
    for (size_t i = 0; i < JL_COUNT(levels); i++) {
        struct served s;
        char figure[128];
        if (!start(&s, model, 1, levels[i], "1"))
            return;
        if (ask(&s) && collect(&s)) {
            snprintf(figure, sizeof figure, "explained.%s.%s", name, levels[i]);
            double whole = (double)s.graph_ns;
            char more[256];
            snprintf(more, sizeof more,
                     ", \"stretches\": %.4g, \"stops\": %.4g, \"before\": %.4g, \"after\": %.4g, \"between_us\": %.4g",
                     100 * (double)s.stretch_ns / whole, 100 * (double)s.stop_ns / whole, 100 * (double)s.open_ns / whole,
                     100 * (double)s.close_ns / whole, 1e-3 * (double)s.stop_ns / (double)s.stops);
            print(figure, 0, 100 * (double)(s.stretch_ns + s.stop_ns) / whole, "%", 99, true, more);
            if (i == 0)
                print("file", 0, (double)s.file_bytes / 1e6, "MB", 100, false, ", \"grows\": false");
        }
        stop(&s);
    }
}

/* ---- models -----------------------------------------------------------------------------------------------------------------
 */

/* Kept in the build folder; malloc'ed. */
static char *model_of(const char *shape, enum gguf_quant quant)
{
    struct gguf_shape s;
    struct joulet_error err;
    char *path = jl_strf("%s/%s.gguf", MODELS, shape);
    if (jl_make_dirs(MODELS, &err) != JOULET_OK || gguf_shape_find(shape, &s, &err) != JOULET_OK ||
        (access(path, R_OK) != 0 && gguf_write(path, &s, quant, 1, NULL, NULL, &err) != JOULET_OK)) {
        fprintf(stderr, "profile_cost: %s\n", err.message);
        free(path);
        return NULL;
    }
    return path;
}

static bool read_options(int argc, char **argv, struct asked *a)
{
    static const struct option options[] = {{"model", required_argument, NULL, 'm'}, {"steps", required_argument, NULL, 's'},
                                            {"width", required_argument, NULL, 'w'}, {"threads", required_argument, NULL, 't'},
                                            {"only", required_argument, NULL, 'o'},  {0}};
    for (int o; (o = getopt_long(argc, argv, "m:s:w:t:o:", options, NULL)) != -1;)
        switch (o) {
        case 'm':
            a->model = optarg;
            break;
        case 's':
            a->steps = strtoul(optarg, NULL, 10);
            break;
        case 'w':
            a->width = strtod(optarg, NULL);
            break;
        case 't':
            a->threads = atoi(optarg);
            break;
        case 'o':
            a->only = optarg;
            break;
        default:
            return false;
        }
    return optind == argc && a->steps > 0 && a->width > 0;
}

static bool wanted(const struct asked *a, const char *figure)
{
    return jl_starts(figure, a->only) || jl_starts(a->only, figure);
}

static bool there_is_an_engine(void)
{
    char *on_path = runtime_on_path(), *data = jl_data_dir_name(), *manifest = jl_strf("%s/engine/MANIFEST", data ? data : "");
    bool is = on_path || access(manifest, R_OK) == 0;
    free(on_path);
    free(data);
    free(manifest);
    return is;
}

int main(int argc, char **argv)
{
    struct asked a = {.steps = 2400, .width = 0.3, .only = ""};
    if (!read_options(argc, argv, &a)) {
        fprintf(stderr, "usage: profile_cost [--model FILE] [--steps N] [--width PERCENT] [--threads N] [--only FIGURE]\n");
        return 2;
    }
    if (!there_is_an_engine()) {
        fprintf(stderr, "profile_cost: left out, there is no llama-server: `joulet engine install` gets one\n");
        return 0;
    }
    setenv("JOULET_MODULE_DIR", MODULE_DIR, 1);
    snprintf(folder, sizeof folder, "%s/joulet-bench-%d", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (int)getpid());
    if (mkdir(folder, 0700) != 0) {
        fprintf(stderr, "profile_cost: %s: %s\n", folder, strerror(errno));
        return 1;
    }
    char *model = a.model ? jl_strdup(a.model) : model_of("llama-3.2-1b", GGUF_Q4_0), *experts = model_of("tiny-moe", GGUF_Q8_0);
    for (int t = 1; t <= 2 && model; t++) {
        if ((a.threads && a.threads != t) || !wanted(&a, "decode."))
            continue;
        if (wanted(&a, "decode.components"))
            decode_cost(&a, model, t);
        if (wanted(&a, "decode.turns"))
            turns_cost(&a, model, t);
    }
    if (model && wanted(&a, "stages.stops"))
        stage_stops(model);
    if (model && wanted(&a, a.model ? "explained.model" : "explained.llama-3.2-1b"))
        explained(model, a.model ? "model" : "llama-3.2-1b");
    if (experts && wanted(&a, "explained.tiny-moe"))
        explained(experts, "tiny-moe");
    rmdir(folder);
    free(model);
    free(experts);
    return model ? 0 : 1;
}
