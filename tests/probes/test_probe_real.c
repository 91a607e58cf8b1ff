/* The probe inside a real llama-server, where one is installed (on PATH, or by `joulet engine install`); left out elsewhere. With
 * models of our own, dense with the two kinds of output and with experts: text, tokens, probabilities and the KV cache are the
 * same to the byte as without it, at every level, with stretches executed again and with kinds that run alone for a while; and
 * what is told adds up. */
#include "tests/llm/scratch.h"

#include "llm/gguf/gguf.h"
#include "llm/runtime_private.h"
#include "net/net.h"
#include "profile/steps.h"

#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOKENS       40
#define LAYERS       4
#define DRAFT_LAYERS 2

static bool on_path, installed;

static int begin(void **state)
{
    char *program = runtime_on_path();
    const char *data = getenv("JOULET_DATA_DIR");
    char *kept = data ? jl_strdup(data) : NULL;
    on_path = program != NULL;
    free(program);
    if (scratch_open(state) != 0)
        return -1;
    if (kept) /* the engine stays where it is */
        setenv("JOULET_DATA_DIR", kept, 1);
    else
        unsetenv("JOULET_DATA_DIR");
    free(kept);
    setenv("JOULET_MODULE_DIR", MODULE_DIR, 1);
    char *folder = jl_data_dir_name();
    char *manifest = jl_strf("%s/engine/MANIFEST", folder ? folder : "");
    installed = manifest && access(manifest, R_OK) == 0;
    free(manifest);
    free(folder);
    mkdir(scratch_path("rings"), 0700);
    mkdir(scratch_path("slots"), 0700);
    return 0;
}

/* ---- a server and its answer ---------------------------------------------------------------------------------------------- */

struct answer {
    char *text; /* text, tokens and probabilities, as JSON */
    struct jl_buf cache;
    int64_t prompt;
};

static void answer_release(struct answer *a)
{
    free(a->text);
    jl_buf_release(&a->cache);
}

static json_t *post(const struct runtime_server *s, const char *path, const char *body)
{
    char url[256], authorization[128];
    struct net_response r = {0};
    struct joulet_error err;
    snprintf(url, sizeof(url), "%s%s", s->url, path);
    snprintf(authorization, sizeof(authorization), "Bearer %s", s->key);
    const struct net_header headers[] = {{"Authorization", authorization}, {"Content-Type", "application/json"}};
    struct net_request q = {.method = "POST",
                            .url = url,
                            .headers = headers,
                            .n_headers = 2,
                            .body = body,
                            .body_len = strlen(body),
                            .total_timeout_s = 500,
                            .max_bytes = (size_t)64 << 20};
    if (net_http(&q, &r, &err) != JOULET_OK || r.status != 200)
        fail_msg("%s: %d %s %.300s", path, r.status, err.message, r.body.data ? r.body.data : "");
    json_t *j = json_loadb(r.body.data, r.body.len, 0, NULL);
    assert_non_null(j);
    net_response_release(&r);
    return j;
}

static void ask(const struct runtime_server *s, struct answer *a)
{
    char body[512];
    snprintf(body, sizeof(body),
             "{\"prompt\":\"The quick brown fox jumps over the lazy dog and then\",\"n_predict\":%d,\"temperature\":0,"
             "\"ignore_eos\":true,\"cache_prompt\":false,\"seed\":1,\"return_tokens\":true,\"n_probs\":100,\"id_slot\":0}",
             TOKENS);
    json_t *j = post(s, "/completion", body), *kept = json_object();
    static const char *const keys[] = {"content", "tokens", "completion_probabilities"};
    for (size_t i = 0; i < JL_COUNT(keys); i++) {
        assert_non_null(json_object_get(j, keys[i]));
        json_object_set(kept, keys[i], json_object_get(j, keys[i]));
    }
    a->text = json_dumps(kept, JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    a->prompt = json_integer_value(json_object_get(json_object_get(j, "timings"), "prompt_n"));
    json_decref(kept);
    json_decref(j);
    json_decref(post(s, "/slots/0?action=save", "{\"filename\":\"cache\"}"));
    jl_buf_init(&a->cache, (size_t)64 << 20);
    assert_int_equal(jl_read_file(scratch_path("slots/cache"), &a->cache, NULL), JOULET_OK);
    assert_true(a->cache.len > 10000);
}

static size_t count_of(const char *const *options)
{
    size_t n = 0;
    while (options[n])
        n++;
    return n;
}

/* Asked of the probe before the answer; all 0: nothing. */
static struct ring_control told;

static void tell(const struct runtime_server *s)
{
    struct joulet_error err;
    char *ring = ring_find(scratch_path("rings"), s->process.pid);
    assert_non_null(ring);
    if (ring_ask(ring, &told, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    free(ring);
}

/* env NULL: without the probe; options: NULL after the last. The ring's path, malloc'ed. */
static char *serve(const char *const *env, const char *const *more, struct answer *a)
{
    struct runtime_server s;
    struct joulet_error err;
    char *slots = jl_strf("slot-save-path=%s/", scratch_path("slots"));
    const char *options[8] = {slots};
    size_t n = 1 + count_of(more);
    assert_true(n <= JL_COUNT(options));
    memcpy(options + 1, more, (n - 1) * sizeof(*more));
    struct runtime_start how = {.model = scratch_path("m.gguf"),
                                .context_length = 512,
                                .threads = 1,
                                .gpu_layers = -1,
                                .private_only = !on_path,
                                .options = options,
                                .n_options = n,
                                .preload = env ? PROBE : NULL,
                                .environment = env};
    if (runtime_server_start(&s, &how, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    if (env)
        tell(&s);
    ask(&s, a);
    char *ring = env ? ring_find(scratch_path("rings"), s.process.pid) : NULL;
    runtime_server_stop(&s);
    free(slots);
    return ring;
}

/* ---- what the ring tells --------------------------------------------------------------------------------------------------- */

struct totals {
    struct ring_info info;
    size_t kinds[WIRE_KINDS], parts[WIRE_PARTS], loops[WIRE_KINDS];
    uint64_t decoded, prefilled;
    size_t steps;
    int64_t graph_ns, stretch_ns, stop_ns, outside_ns; /* of watched graphs; outside: before and after their stretches */
};

static void add_up(const char *path, struct totals *t)
{
    struct ring *r;
    struct joulet_error err;
    struct steps *s = malloc(sizeof(*s));
    struct ring_record records[256];
    struct profile_step p;
    memset(t, 0, sizeof(*t));
    steps_init(s);
    if (ring_open(&r, path, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    for (size_t n; (n = ring_read(r, records, JL_COUNT(records))) > 0;)
        for (size_t i = 0; i < n; i++) {
            if (records[i].flags & WIRE_LOOPED) {
                int64_t took_us = (records[i].t1_ns - records[i].t0_ns) / 1000;
                t->loops[records[i].kind]++;
                assert_true(took_us >= 1000 * told.loop_ms && records[i].a <= took_us && records[i].a > 0);
                assert_true(records[i].b > 0 && records[i].tokens == (records[i].kind == WIRE_HEAD ? 1 : LAYERS));
            }
            if ((records[i].flags & WIRE_REPEATED) && !(records[i].flags & WIRE_LOOPED))
                assert_int_equal(records[i].tokens, 1); /* no prompt, though all of them are short enough */
            if (!(records[i].flags & WIRE_REPEATED))
                t->kinds[records[i].kind]++;
            if (records[i].kind >= WIRE_EMBEDDING && wire_part_of(records[i].b) < WIRE_PARTS)
                t->parts[wire_part_of(records[i].b)]++;
            if (!steps_add(s, &records[i], &p))
                continue;
            t->steps++;
            t->decoded += p.decoded;
            t->prefilled += p.prefilled;
            t->graph_ns += p.watched == p.graphs ? p.graph_ns : 0;
            t->stretch_ns += p.watched == p.graphs ? p.stretch_ns : 0;
            t->stop_ns += p.watched == p.graphs ? p.stop_ns : 0;
            t->outside_ns += p.watched == p.graphs ? p.open_ns + p.close_ns : 0;
        }
    ring_info(r, &t->info);
    assert_int_equal(ring_lost(r) + ring_broken(r), 0);
    ring_close(r);
    free(s);
}

static void check_counts(const struct totals *t, enum wire_level level, bool moe, int64_t prompt)
{
    size_t graphs = t->kinds[WIRE_GRAPH], layers = LAYERS * graphs;
    assert_true(graphs >= TOKENS);
    assert_int_equal(t->info.counts[WIRE_N_GRAPHS], graphs);
    assert_int_equal(t->info.counts[WIRE_N_WATCHED], graphs);
    assert_true(t->info.counts[WIRE_N_PROCESS] + t->info.counts[WIRE_N_DECODE] > 0); /* one of the two, by its version */
    assert_int_equal(t->info.counts[WIRE_N_TABLE_FULL], 0);
    assert_string_equal(t->info.remark, "");
    assert_true(t->kinds[WIRE_LOAD] >= 2 && t->kinds[WIRE_SAMPLE] >= TOKENS && t->kinds[WIRE_TOKENISE] > 0 &&
                t->kinds[WIRE_DETOKENISE] >= TOKENS);
    assert_true(t->decoded >= TOKENS - 1);
    assert_true(t->prefilled + t->decoded >= (uint64_t)prompt + TOKENS - 1);
    if (level == WIRE_LAYERS)
        assert_int_equal(t->kinds[WIRE_LAYER], layers);
    if (level == WIRE_COMPONENTS) {
        assert_int_equal(t->kinds[WIRE_EMBEDDING], graphs);
        assert_int_equal(t->kinds[WIRE_ATTENTION_NORM], layers);
        assert_int_equal(t->kinds[WIRE_ATTENTION], layers);
        assert_int_equal(t->kinds[WIRE_FFN_NORM], layers);
        assert_int_equal(t->kinds[WIRE_FFN], layers);
        assert_int_equal(t->kinds[WIRE_OUTPUT_NORM], graphs);
        assert_int_equal(t->kinds[WIRE_HEAD], graphs);
    }
    if (level != WIRE_NODES)
        return;
    assert_int_equal(t->parts[WIRE_QKV], 3 * layers);
    assert_int_equal(t->parts[WIRE_ROPE], 2 * layers);
    assert_int_equal(t->parts[WIRE_PROJECTION], layers);
    assert_true(t->parts[WIRE_KV_WRITE] >= layers && t->parts[WIRE_SCORES] >= layers);
    assert_int_equal(t->parts[WIRE_GATE], moe ? 0 : layers);
    assert_int_equal(t->parts[WIRE_UP], moe ? 0 : layers);
    assert_int_equal(t->parts[WIRE_DOWN], moe ? 0 : layers);
    assert_true(moe ? t->parts[WIRE_ROUTER] >= 3 * layers && t->parts[WIRE_EXPERTS] >= 4 * layers
                    : t->parts[WIRE_ROUTER] + t->parts[WIRE_EXPERTS] == 0);
}

static void try_probe(const struct answer *plain, const char *what, const char *setting, const char *const *options,
                      enum wire_level level, bool moe)
{
    char dir[256];
    struct answer a;
    struct totals t;
    bool again = jl_starts(setting, "JOULET_PROBE_REPEAT");
    snprintf(dir, sizeof(dir), "JOULET_PROBE_DIR=%s", scratch_path("rings"));
    const char *const env[] = {dir,
                               setting,
                               "JOULET_PROBE_EVERY=1",
                               "JOULET_PROBE_VERIFY=1",
                               "JOULET_PROBE_SEGMENT_MS=1",
                               "JOULET_PROBE_REPEAT_ROWS=256",
                               NULL};
    char *ring = serve(env, options, &a);
    if (!ring)
        fail_msg("%s, %s: there is no file of the probe", what, setting);
    if (strcmp(a.text, plain->text) != 0)
        fail_msg("%s, %s: the answer differs:\n%.200s\n%.200s", what, setting, a.text, plain->text);
    if (a.cache.len != plain->cache.len || memcmp(a.cache.data, plain->cache.data, a.cache.len) != 0)
        fail_msg("%s, %s: the KV cache differs", what, setting);
    add_up(ring, &t);
    check_counts(&t, level, moe, a.prompt);
    assert_true((t.info.counts[WIRE_N_REPEATS] > 0) == again || told.loop_ms);
    for (int i = 0; told.loop_ms && i < WIRE_KINDS; i++) /* both in turn, after each token */
        assert_true(i == WIRE_FFN || i == WIRE_HEAD ? t.loops[i] >= (TOKENS - 1) / 2 : t.loops[i] == 0);
    assert_int_equal(t.info.counts[WIRE_N_CHECKED], t.info.counts[WIRE_N_REPEATS]);
    assert_int_equal(t.info.counts[WIRE_N_DIFFER], 0);
    assert_int_equal(t.info.counts[WIRE_N_REFUSED], 0);
    assert_int_equal(t.stretch_ns + t.stop_ns + t.outside_ns, t.graph_ns); /* all of it, and nothing twice */
    unlink(ring);
    free(ring);
    answer_release(&a);
}

static void a_model(const char *shape, bool tied, const char *option)
{
    static const struct {
        const char *setting;
        enum wire_level level;
        struct ring_control told;
    } rows[] = {
        {"JOULET_PROBE_LEVEL=layers", WIRE_LAYERS, {0}},
        {"JOULET_PROBE_LEVEL=components", WIRE_COMPONENTS, {0}},
        {"JOULET_PROBE_LEVEL=nodes", WIRE_NODES, {0}},
        {"JOULET_PROBE_REPEAT=norm=4,attention=2,ffn=2,head=2", WIRE_COMPONENTS, {0}},
        {"JOULET_PROBE_LEVEL=components",
         WIRE_COMPONENTS,
         {.loop_ms = 20, .again = {[WIRE_AGAIN_FFN] = 1, [WIRE_AGAIN_HEAD] = 1}}},
    };
    struct gguf_shape s;
    struct answer plain;
    char what[64];
    const char *const options[] = {option, NULL};
    if (!on_path && !installed)
        skip();
    snprintf(what, sizeof(what), "%s%s%s", shape, tied ? "" : ", untied", option ? ", without flash attention" : "");
    assert_int_equal(gguf_shape_find(shape, &s, NULL), JOULET_OK);
    s.tied = tied;
    assert_int_equal(gguf_write(scratch_path("m.gguf"), &s, GGUF_Q8_0, 1, NULL, NULL, NULL), JOULET_OK);
    free(serve(NULL, options, &plain));
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        told = rows[i].told;
        try_probe(&plain, what, rows[i].setting, options, rows[i].level, s.experts > 0);
    }
    told = (struct ring_control){0};
    answer_release(&plain);
}

static void a_dense_model(void **state)
{
    (void)state;
    a_model("tiny", true, NULL);
}

static void a_dense_model_with_an_output_of_its_own(void **state)
{
    (void)state;
    a_model("tiny", false, "flash-attn=off");
}

static void a_model_with_experts(void **state)
{
    (void)state;
    a_model("tiny-moe", true, NULL);
}

/* Two models in one process, each with a context and a scheduler of its own: neither's stretches are the other's. */
static void a_draft_model(void **state)
{
    struct gguf_shape s;
    struct answer plain, a;
    struct ring *r;
    struct ring_record records[256];
    struct joulet_error err;
    char dir[256];
    char *draft = jl_strf("spec-draft-model=%s", scratch_path("draft.gguf"));
    const char *const options[] = {draft, "spec-type=draft-simple", NULL};
    size_t graphs[64] = {0}, attention[64] = {0}, schedulers = 0;
    (void)state;
    if (on_path || !installed) { /* names of these options differ between versions */
        free(draft);
        skip();
    }
    assert_int_equal(gguf_shape_find("tiny", &s, NULL), JOULET_OK);
    assert_int_equal(gguf_write(scratch_path("m.gguf"), &s, GGUF_Q8_0, 1, NULL, NULL, NULL), JOULET_OK);
    s.layers = DRAFT_LAYERS;
    assert_int_equal(gguf_write(scratch_path("draft.gguf"), &s, GGUF_Q8_0, 2, NULL, NULL, NULL), JOULET_OK);
    free(serve(NULL, options, &plain));
    snprintf(dir, sizeof(dir), "JOULET_PROBE_DIR=%s", scratch_path("rings"));
    const char *const env[] = {dir, "JOULET_PROBE_EVERY=1", NULL};
    char *path = serve(env, options, &a);
    assert_non_null(path);
    assert_string_equal(a.text, plain.text);
    assert_int_equal(a.cache.len, plain.cache.len);
    assert_memory_equal(a.cache.data, plain.cache.data, a.cache.len);
    if (ring_open(&r, path, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    for (size_t n; (n = ring_read(r, records, JL_COUNT(records))) > 0;)
        for (size_t i = 0; i < n; i++) {
            graphs[records[i].source % 64] += records[i].kind == WIRE_GRAPH;
            attention[records[i].source % 64] += records[i].kind == WIRE_ATTENTION;
        }
    bool target = false, drafts = false;
    for (int i = 0; i < 64; i++) {
        schedulers += graphs[i] > 0;
        target |= graphs[i] && attention[i] == LAYERS * graphs[i];
        drafts |= graphs[i] && attention[i] == DRAFT_LAYERS * graphs[i];
    }
    assert_true(schedulers >= 2 && target && drafts);
    ring_close(r);
    unlink(path);
    free(path);
    free(draft);
    answer_release(&plain);
    answer_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_draft_model),
        cmocka_unit_test(a_dense_model),
        cmocka_unit_test(a_dense_model_with_an_output_of_its_own),
        cmocka_unit_test(a_model_with_experts),
    };
    int failed = cmocka_run_group_tests(tests, begin, scratch_close);
    return failed || on_path || installed ? failed : 77;
}
