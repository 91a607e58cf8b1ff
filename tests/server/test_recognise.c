/* What an exchange was, from its bytes as they pass: the same as the readers of the protocols find in it, wherever the bytes are
 * cut; and kinds, models and prompts of requests. */
#include "llm/engines/engines.h"
#include "server/recognise.h"
#include "tests/base/test.h"
#include "tests/llm/exchange.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define T_NS 1000

struct seen {
    size_t pieces, thoughts;
    double tokens, done, computed, all;
    size_t before_prompt; /* pieces that came before the counts of the prompt */
    int64_t last_ns;
};

static void on_piece(void *user, double tokens, bool thinking, int64_t t_ns)
{
    struct seen *s = user;
    s->pieces++;
    s->thoughts += thinking;
    s->tokens += tokens;
    assert_true(t_ns >= s->last_ns);
    s->last_ns = t_ns;
}

static void on_prompt(void *user, double computed, double all)
{
    struct seen *s = user;
    assert_true(computed >= 0 && computed <= all);
    s->computed = computed;
    s->all = all;
    s->before_prompt = s->pieces;
}

static void on_progress(void *user, double done, int64_t t_ns)
{
    struct seen *s = user;
    (void)t_ns;
    s->done = done;
}

/* The answer in pieces, each in memory of its own: the first of `cut` bytes, then of `step`. */
static struct recognised recognise(const char *path, const char *request, const struct exchange *x, const char *type, size_t cut,
                                   size_t step, struct seen *seen)
{
    *seen = (struct seen){0};
    struct recognise_events events = {.prompt = on_prompt, .piece = on_piece, .progress = on_progress, .user = seen};
    struct recogniser *r = recogniser_open("POST", path, &events);
    struct net_header header = {"Content-Type", type};
    assert_non_null(r);
    recogniser_request(r, request, strlen(request));
    recogniser_request_end(r, true);
    recogniser_head(r, x->status, &header, 1);
    for (size_t i = 0, n; i < x->n; i += n) {
        n = i == 0 && cut ? cut : step;
        n = n < x->n - i ? n : x->n - i;
        char *piece = malloc(n);
        memcpy(piece, x->body + i, n);
        recogniser_chunk(r, piece, n, T_NS);
        free(piece);
    }
    recogniser_end(r, true, T_NS + 1);
    struct recognised result = *recogniser_result(r);
    recogniser_close(r);
    return result;
}

static bool same(const struct recognised *a, const struct recognised *b)
{
    return a->tokens.prompt == b->tokens.prompt && a->tokens.cached == b->tokens.cached &&
           a->tokens.generated == b->tokens.generated && a->tokens.reasoning == b->tokens.reasoning && a->pieces == b->pieces &&
           a->done == b->done && strcmp(a->finish, b->finish) == 0 && strcmp(a->error, b->error) == 0 &&
           a->generated_source == b->generated_source && a->t_answer_ns == b->t_answer_ns && a->remote == b->remote;
}

/* ---- recorded and composed answers ----------------------------------------------------------------------------------- */

static const struct {
    const char *folder, *begins, *path;
    const struct engine_ops *ops;
} kinds[] = {
    {"llama-server", "chat", "/v1/chat/completions", &engine_openai},
    {"llama-server", "completion", "/completion", &engine_llamacpp},
    {"llama-server", "v1-completions", "/v1/completions", &engine_openai},
    {"llama-server", "v1-messages", "/v1/messages", &engine_anthropic},
    {"llama-server", "v1-responses", "/v1/responses", &engine_responses},
    {"llama-server", "concurrent", "/completion", &engine_llamacpp},
    {"llama-server", "error", "/v1/chat/completions", &engine_openai},
    {"ollama", "generate", "/api/generate", &engine_ollama},
    {"ollama", "chat", "/api/chat", &engine_ollama},
    {"ollama", "v1-chat", "/v1/chat/completions", &engine_openai},
    {"ollama", "error", "/api/chat", &engine_ollama},
    {"composed", "openai", "/v1/chat/completions", &engine_openai},
    {"composed", "groq", "/openai/v1/chat/completions", &engine_openai},
    {"composed", "vllm", "/v1/chat/completions", &engine_openai},
    {"composed", "sglang", "/v1/chat/completions", &engine_openai},
    {"composed", "tgi", "/v1/chat/completions", &engine_openai},
    {"composed", "llama-cpp-python", "/v1/chat/completions", &engine_openai},
    {"composed", "anthropic", "/v1/messages", &engine_anthropic},
    {"composed", "responses", "/v1/responses", &engine_responses},
    {"composed", "lmstudio-v1", "/api/v1/chat", &engine_lmstudio},
    {"composed", "lmstudio-v0", "/api/v0/chat/completions", &engine_lmstudio},
};

/* What the protocol's reader finds in the whole answer. */
static void read_whole(const struct engine_ops *ops, const struct exchange *x, struct generated *g)
{
    generated_init(g);
    struct engine_parser *p = engine_parser_open(ops, x->stream, g);
    engine_parser_bytes(p, x->body, x->n, T_NS);
    engine_parser_end(p, T_NS + 1);
    engine_parser_close(p);
}

static void compare(const char *name, const struct recognised *r, const struct generated *g, const struct exchange *x)
{
    bool counted = r->generated_source == RECOGNISED_COUNTED;
    bool fine = r->tokens.prompt == g->tokens.prompt && r->tokens.cached == g->tokens.cached &&
                r->tokens.reasoning == g->tokens.reasoning && (counted || r->tokens.generated == g->tokens.generated) &&
                (!x->stream || r->pieces == g->n_token_ns) && r->done == g->done && strcmp(r->finish, g->finish) == 0 &&
                (strcmp(r->error, g->engine_error) == 0 || (!g->engine_error[0] && x->status >= 400));
    if (counted && !x->stream) /* several answers, of which the reader follows the first */
        fine = fine && g->tokens.generated > 0 && r->tokens.generated > g->tokens.generated;
    else if (counted)
        fine = fine && g->tokens.generated < 0 && r->tokens.generated == (int64_t)g->n_token_ns;
    if (!fine)
        fail_msg("%s: %lld of %zu pieces, finish %s, done %d, %s; the reader: %lld of %zu, %s, %d, %s", name,
                 (long long)r->tokens.generated, r->pieces, r->finish, r->done, r->error, (long long)g->tokens.generated,
                 g->n_token_ns, g->finish, g->done, g->engine_error);
    assert_int_equal(r->t_answer_ns != 0, g->t_answer_ns != 0);
}

static void check_one(size_t kind, const char *folder, const char *name)
{
    struct exchange x;
    struct generated g;
    struct seen seen, other;
    exchange_load_from(&x, folder, name);
    const struct engine_ops *ops = kinds[kind].ops;
    const char *type = !x.stream                      ? "application/json"
                       : ops->framing == ENGINE_LINES ? "application/x-ndjson"
                                                      : "text/event-stream; charset=utf-8";
    struct recognised r = recognise(kinds[kind].path, "{}", &x, type, 0, x.n + 1, &seen);
    read_whole(ops, &x, &g);
    compare(name, &r, &g, &x);
    assert_int_equal(seen.pieces, r.pieces);
    generated_release(&g);
    size_t every = x.n > 2000 ? x.n / 150 : 1;
    for (size_t cut = 0; cut < x.n; cut += every) {
        struct recognised again = recognise(kinds[kind].path, "{}", &x, type, cut, cut ? x.n : 1, &other);
        if (!same(&r, &again) || other.pieces != seen.pieces || other.tokens != seen.tokens || other.thoughts != seen.thoughts)
            fail_msg("%s: cut at %zu it is another", name, cut);
    }
    exchange_release(&x);
}

static void test_answers(void **state)
{
    (void)state;
    size_t checked = 0;
    for (size_t k = 0; k < JL_COUNT(kinds); k++) {
        char path[1024];
        struct dirent *e;
        snprintf(path, sizeof path, "%s/%s", FIXTURES, kinds[k].folder);
        DIR *d = opendir(path);
        assert_non_null(d);
        while ((e = readdir(d))) {
            char name[256];
            const char *end = strstr(e->d_name, ".response.http");
            if (!end || !jl_starts(e->d_name, kinds[k].begins) || strstr(e->d_name, "models") || strstr(e->d_name, "load"))
                continue;
            snprintf(name, sizeof name, "%.*s", (int)(end - e->d_name), e->d_name);
            check_one(k, kinds[k].folder, name);
            checked++;
        }
        closedir(d);
    }
    assert_true(checked > 60);
}

/* ---- by hand --------------------------------------------------------------------------------------------------------- */

static void test_paths(void **state)
{
    static const struct {
        const char *method, *path;
        enum recognised_kind kind;
        bool usage;
    } rows[] = {
        {"POST", "/v1/chat/completions", RECOGNISED_INFERENCE, true},
        {"POST", "/v1/chat/completions?x=1", RECOGNISED_INFERENCE, true},
        {"POST", "/openai/v1/chat/completions/", RECOGNISED_INFERENCE, true},
        {"POST", "/v1/completions", RECOGNISED_INFERENCE, true},
        {"GET", "/v1/chat/completions", RECOGNISED_OTHER, false},
        {"POST", "/completion", RECOGNISED_INFERENCE, false},
        {"POST", "/completions", RECOGNISED_INFERENCE, false},
        {"POST", "/api/generate", RECOGNISED_INFERENCE, false},
        {"POST", "/api/chat", RECOGNISED_INFERENCE, false},
        {"POST", "/api/v1/chat", RECOGNISED_INFERENCE, false},
        {"POST", "/generate_stream", RECOGNISED_INFERENCE, false},
        {"POST", "/", RECOGNISED_INFERENCE, false},
        {"POST", "/v1/messages", RECOGNISED_INFERENCE, false},
        {"POST", "/v1/messages/count_tokens", RECOGNISED_OTHER, false},
        {"POST", "/v1/responses", RECOGNISED_INFERENCE, false},
        {"POST", "/api/embed", RECOGNISED_EMBEDDINGS, false},
        {"POST", "/v1/embeddings", RECOGNISED_EMBEDDINGS, false},
        {"POST", "/v1/images/generations", RECOGNISED_IMAGE, false},
        {"POST", "/v1/audio/transcriptions", RECOGNISED_AUDIO, false},
        {"POST", "/v1/rerank", RECOGNISED_RERANK, false},
        {"POST", "/api/show", RECOGNISED_OTHER, false},
        {"POST", "/api/pull", RECOGNISED_OTHER, false},
        {"GET", "/", RECOGNISED_OTHER, false},
        {"POST", "", RECOGNISED_OTHER, false},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        if (recognise_path(rows[i].method, rows[i].path) != rows[i].kind ||
            recognise_takes_usage(rows[i].method, rows[i].path) != rows[i].usage)
            fail_msg("%s %s", rows[i].method, rows[i].path);
    }
    for (int k = 0; k <= RECOGNISED_RERANK; k++)
        assert_non_null(recognised_kind_name((enum recognised_kind)k));
    assert_string_equal(recognised_source_name(RECOGNISED_COUNTED), "counted");
}

static struct recognised ask(const char *path, const char *body, bool whole)
{
    struct recogniser *r = recogniser_open("POST", path, NULL);
    for (const char *p = body; *p; p++) /* byte by byte */
        recogniser_request(r, p, 1);
    recogniser_request_end(r, whole);
    struct recognised x = *recogniser_result(r);
    recogniser_close(r);
    return x;
}

static void test_requests(void **state)
{
    (void)state;
    struct recognised x = ask(
        "/v1/chat/completions",
        "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"12345\"},{\"role\":\"user\",\"content\":"
        "[{\"type\":\"text\",\"text\":\"678\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:xxxxxxxx\"}}]}]}",
        true);
    assert_string_equal(x.model, "m");
    assert_true(x.asks_stream && !x.asks_usage);
    assert_int_equal(x.prompt_bytes, 8);
    x = ask("/v1/chat/completions", "{\"stream\":true,\"stream_options\":{\"include_usage\":true}}", true);
    assert_true(x.asks_usage);
    x = ask("/api/chat", "{\"model\":\"m:1b\",\"messages\":[{\"content\":\"abc\",\"images\":[\"xxxx\"]}]}", true);
    assert_true(x.asks_stream); /* Ollama streams unless told not to */
    assert_int_equal(x.prompt_bytes, 3);
    x = ask("/api/generate", "{\"stream\":false,\"prompt\":\"ab\"}", true);
    assert_false(x.asks_stream);
    x = ask("/v1/chat/completions", "{\"model\":\"cut\",\"stream\":true,\"messages\":[{\"content\":\"abc", false);
    assert_string_equal(x.model, "cut");
    assert_true(x.asks_stream);
    x = ask("/v1/images/generations", "{\"model\":\"i\",\"prompt\":\"a cat\",\"n\":3}", true);
    assert_int_equal(x.images, 3);
    x = ask("/v1/audio/transcriptions", "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n--b--", true);
    assert_string_equal(x.model, "whisper");
    x = ask("/v1/chat/completions", "[1,2", true);
    assert_string_equal(x.model, "");
}

static struct recognised answer(const char *path, const char *request, const char *type, int status, const char *body,
                                struct seen *seen)
{
    struct exchange x = {.status = status, .body = (char *)body, .n = strlen(body)};
    struct recognised r = recognise(path, request, &x, type, 0, 1, seen),
                      whole = recognise(path, request, &x, type, 0, x.n + 1, seen);
    assert_true(same(&r, &whole));
    return whole;
}

static void test_other_kinds(void **state)
{
    struct seen seen;
    (void)state;
    struct recognised r = answer("/v1/embeddings", "{\"model\":\"e\"}", "application/json", 200,
                                 "{\"data\":[],\"usage\":{\"prompt_tokens\":7,\"total_tokens\":7}}", &seen);
    assert_int_equal(r.tokens.prompt, 7);
    assert_int_equal(r.prompt_source, RECOGNISED_USAGE);
    r = answer("/api/embed", "{}", "application/json", 200, "{\"embeddings\":[[1]],\"prompt_eval_count\":4}", &seen);
    assert_int_equal(r.tokens.prompt, 4);
    r = answer("/v1/rerank", "{}", "application/json", 200, "{\"results\":[],\"meta\":{\"tokens\":{\"input_tokens\":12}}}",
               &seen);
    assert_int_equal(r.tokens.prompt, 12);
    r = answer("/rerank", "{}", "application/json", 200, "[{\"index\":0,\"score\":1}]", &seen);
    assert_true(r.done && r.kind == RECOGNISED_RERANK && r.tokens.prompt == -1);
    r = answer("/v1/rerank", "{}", "application/json", 400, "{\"error\":{\"message\":\"no\"}}", &seen);
    assert_string_equal(r.error, "no");
    r = answer(
        "/generate_stream", "{}", "text/event-stream", 200,
        "data:{\"index\":1,\"token\":{\"id\":1,\"text\":\" a\",\"special\":false},\"generated_text\":null,\"details\":null}\n\n"
        "data:{\"index\":2,\"token\":{\"id\":2,\"text\":\"\",\"special\":true},\"generated_text\":\" "
        "a\",\"details\":{\"finish_reason\":\"eos_token\",\"generated_tokens\":2,\"input_length\":5}}\n\n",
        &seen);
    assert_int_equal(seen.pieces, 2);
    assert_int_equal(r.tokens.generated, 2);
    assert_int_equal(r.tokens.prompt, 5);
    assert_string_equal(r.finish, "stop");
    r = answer("/generate", "{}", "text/event-stream", 200,
               "data: "
               "{\"text\":\"a\",\"meta_info\":{\"prompt_tokens\":9,\"completion_tokens\":1,\"cached_tokens\":3,\"finish_reason\":"
               "null}}\n\n"
               "data: {\"text\":\"a "
               "b\",\"meta_info\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"cached_tokens\":3,\"finish_reason\":{\"type\":"
               "\"length\"}}}\n\ndata: [DONE]\n\n",
               &seen);
    assert_int_equal(r.tokens.generated, 3);
    assert_near(seen.tokens, 3, 0); /* the second piece held two */
    assert_int_equal(r.tokens.cached, 3);
    assert_true(r.done);
}

/* A file of 2 s: 16 bit, mono, 8 kHz. */
static size_t wav(char *out, uint32_t data_bytes)
{
    static const unsigned char head[] = "RIFF\0\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data";
    memcpy(out, head, 40);
    for (int i = 0; i < 4; i++)
        out[40 + i] = (char)(data_bytes >> 8 * i);
    memset(out + 44, 'x', 32000);
    return 44 + 32000;
}

static void test_pictures_and_sound(void **state)
{
    struct seen seen;
    static char file[44 + 32000], form[sizeof file + 400];
    (void)state;
    struct recognised r = answer("/v1/images/generations", "{\"model\":\"i\",\"n\":2}", "application/json", 200,
                                 "{\"data\":[{\"url\":\"a\"},{\"url\":\"b\"},{\"url\":\"c\"}],\"usage\":{\"input_tokens\":5,"
                                 "\"output_tokens\":300}}",
                                 &seen);
    assert_int_equal(r.images, 3); /* those that came */
    assert_int_equal(r.tokens.prompt, 5);
    assert_int_equal(r.tokens.generated, 300);
    r = answer(
        "/v1/images/generations", "{\"stream\":true}", "text/event-stream", 200,
        "event: image_generation.partial_image\ndata: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"xx\"}\n\n"
        "event: image_generation.completed\ndata: {\"type\":\"image_generation.completed\",\"b64_json\":\"xx\",\"usage\":"
        "{\"input_tokens\":7,\"output_tokens\":9}}\n\n",
        &seen);
    assert_true(r.done && r.images == 1 && r.tokens.prompt == 7);
    r = answer("/sdapi/v1/txt2img", "{\"batch_size\":4}", "application/json", 500, "{\"detail\":\"no\"}", &seen);
    assert_int_equal(r.images, 4);
    assert_string_equal(r.error, "no");
    r = answer("/v1/audio/transcriptions", "", "application/json", 200, "{\"text\":\"a\",\"duration\":8.47}", &seen);
    assert_near(r.audio_s, 8.47, 0);
    r = answer("/v1/audio/transcriptions", "", "application/json", 200,
               "{\"text\":\"a\",\"usage\":{\"type\":\"duration\",\"seconds\":9}}", &seen);
    assert_near(r.audio_s, 9, 0);
    r = answer("/v1/audio/transcriptions", "", "application/json", 200, "{\"text\":\"a\"}", &seen);
    assert_true(isnan(r.audio_s) && r.done);
    for (int told = 0; told < 2; told++) { /* a length that the head tells, and one that it does not know */
        struct exchange x = {.status = 200, .body = file, .n = wav(file, told ? 32000 : 0xffffffff)};
        r = recognise("/v1/audio/speech", "{\"model\":\"tts\",\"input\":\"a\"}", &x, "audio/wav", 5, 777, &seen);
        assert_near(r.audio_s, 2, 0);
        assert_true(r.done);
    }
    /* what was sent */
    size_t n = (size_t)snprintf(form, sizeof form,
                                "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n"
                                "--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n");
    n += wav(form + n, 32000);
    struct recogniser *q = recogniser_open("POST", "/v1/audio/transcriptions", NULL);
    recogniser_request(q, form, n);
    recogniser_request_end(q, true);
    assert_near(recogniser_result(q)->audio_s, 2, 0);
    assert_string_equal(recogniser_result(q)->model, "whisper");
    recogniser_close(q);
}

/* As llama.cpp b11669 answers "n": 2 (shortened texts): 12 tokens each, of which usage and timings count those of the first. */
static void test_several_answers(void **state)
{
    static const char two[] =
        "{\"choices\":[{\"finish_reason\":\"length\",\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\" rato rato "
        "rato "
        "rato\"}},{\"finish_reason\":\"length\",\"index\":1,\"message\":{\"role\":\"assistant\",\"content\":\" lohofa jijufa "
        "veno "
        "veno\"}}],\"object\":\"chat.completion\",\"usage\":{\"completion_tokens\":12,\"prompt_tokens\":24,\"total_tokens\":36,"
        "\"prompt_tokens_details\":{\"cached_tokens\":0}}%s}";
    static const char timings[] = ",\"timings\":{\"cache_n\":0,\"prompt_n\":24,\"prompt_ms\":524.319,\"predicted_n\":12,"
                                  "\"predicted_ms\":1787.581}";
    static const struct {
        const char *behind;
        int64_t generated;
        enum recognised_source source;
    } rows[] = {
        {timings, 26, RECOGNISED_COUNTED}, /* 12 for 20 letters: 26.4 for 44 */
        {"", 12, RECOGNISED_USAGE},        /* others count all of them */
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct seen seen;
        char *text = jl_strf(two, rows[i].behind);
        struct recognised r = answer("/v1/chat/completions", "{\"n\":2}", "application/json", 200, text, &seen);
        assert_int_equal(r.tokens.generated, rows[i].generated);
        assert_int_equal(r.generated_source, rows[i].source);
        assert_int_equal(r.tokens.prompt, 24);
        assert_true(r.done);
        free(text);
    }
}

static void test_streams(void **state)
{
    struct seen seen;
    (void)state;
    /* counted where nobody tells; the marks of models that think in their text, hidden by Go's encoder */
    struct recognised r =
        answer("/v1/chat/completions", "{}", "text/event-stream", 200,
               "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
               "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\u003cthink\\u003e\"}}]}\n\n"
               "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a \\\"usage\\\":{ b\"}}]}\n\n"
               "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\u003c/think\\u003e\"}}]}\n\n"
               "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"another\"}}]}\n\n"
               "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"yes\"},\"finish_reason\":null}]}\n\n"
               "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
               &seen);
    assert_int_equal(r.tokens.generated, 5); /* those of the second answer too */
    assert_int_equal(r.generated_source, RECOGNISED_COUNTED);
    assert_int_equal(seen.thoughts, 3);
    assert_true(r.t_answer_ns > 0);
    assert_string_equal(r.finish, "stop");
    /* the counts of one of two answers */
    r = answer("/v1/completions", "{}", "text/event-stream", 200,
               "data: {\"choices\":[{\"index\":0,\"text\":\"a\"},{\"index\":1,\"text\":\"b\"}]}\n\n"
               "data: {\"choices\":[{\"index\":1,\"text\":\"c\",\"finish_reason\":\"length\"}]}\n\n"
               "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":1}}\n\ndata: [DONE]\n\n",
               &seen);
    assert_int_equal(r.tokens.generated, 3);
    assert_int_equal(r.generated_source, RECOGNISED_COUNTED);
    assert_int_equal(r.tokens.prompt, 2);
    /* and those of both */
    r = answer("/v1/completions", "{}", "text/event-stream", 200,
               "data: {\"choices\":[{\"index\":0,\"text\":\"a\"},{\"index\":1,\"text\":\"b\"}]}\n\n"
               "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n",
               &seen);
    assert_int_equal(r.tokens.generated, 2);
    assert_int_equal(r.generated_source, RECOGNISED_USAGE);
    /* how far llama.cpp is with the prompt */
    r = answer("/completion", "{}", "text/event-stream", 200,
               "data: "
               "{\"index\":0,\"content\":\"\",\"stop\":false,\"prompt_progress\":{\"total\":100,\"cache\":20,\"processed\":60,"
               "\"time_ms\":5}}\n\n",
               &seen);
    assert_near(seen.done, 40, 0);
    assert_int_equal(r.pieces, 0);
    /* counts in every object, as vLLM is asked for them: before the first piece */
    r = answer(
        "/v1/chat/completions", "{}", "text/event-stream", 200,
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1,"
        "\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n"
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"b "
        "c\"}}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3}}\n\n",
        &seen);
    assert_int_equal(seen.before_prompt, 0);
    assert_near(seen.computed, 5, 0);
    assert_near(seen.all, 9, 0);
    assert_near(seen.tokens, 3, 0);
    /* a model in the cloud */
    r = answer("/api/chat", "{}", "application/x-ndjson", 200,
               "{\"remote_host\":\"https://ollama.com\",\"message\":{\"content\":\"x\"}}\n", &seen);
    assert_true(r.remote);
    /* a stream that breaks off, and an error in it */
    r = answer("/api/chat", "{}", "application/x-ndjson", 200,
               "{\"message\":{\"content\":\"x\"},\"done\":false}\n{\"message\":{\"con", &seen);
    assert_true(!r.done && !r.error[0] && r.tokens.generated == 1);
    r = answer("/api/chat", "{}", "application/x-ndjson", 200,
               "{\"message\":{\"content\":\"x\"},\"done\":false}\n{\"error\":\"out of memory\"}\n", &seen);
    assert_string_equal(r.error, "out of memory");
    r = answer("/nothing", "{}", "text/html", 200, "<html>", &seen);
    assert_int_equal(r.kind, RECOGNISED_OTHER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_other_kinds),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_several_answers),
        cmocka_unit_test(test_pictures_and_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
