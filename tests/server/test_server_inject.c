/* Energy in answers (docs/proxy.md), with an upstream that plays what it is told; what is remembered, and that the traffic waits
 * for none of it. */
#include "lib/platform/platform.h"
#include "server/metering_private.h"
#include "tests/base/test.h"
#include "tests/server/metered.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- energy in answers -------------------------------------------------------------------------------------------------- */

#define JSON_HEAD        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
#define SSE_HEAD         "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
#define SSE_HEAD_CHUNKED "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
#define WHOLE            "{\"choices\":[{\"finish_reason\":\"stop\",\"message\":{\"content\":\"a\"}}],\"usage\":{\"total_tokens\":3}}"
#define FIRST            "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":null}],\"usage\":null}\n\n"
#define FIRST_OUT        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n"
#define LAST             "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]"
#define COUNTS           "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n"
#define DONE             "data: [DONE]\n\n"

static const struct play plays[] = {
    {.path = "/whole/v1/chat/completions", .bytes = JSON_HEAD "Content-Length: 91\r\n\r\n" WHOLE},
    {.path = "/slow/v1/chat/completions", .bytes = JSON_HEAD "Content-Length: 91\r\n\r\n" WHOLE, .cut = 120, .pause_ms = 40},
    {.path = "/stream/v1/chat/completions", .bytes = SSE_HEAD FIRST LAST "}\n\n" COUNTS DONE, .then = THEN_CLOSE},
    {.path = "/timed/v1/chat/completions",
     .bytes = SSE_HEAD FIRST LAST ",\"timings\":{\"predicted_n\":1}}\n\n" DONE,
     .then = THEN_CLOSE},
    {.path = "/api/chat",
     .bytes =
         "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n{\"done\":false}\n{\"done\":true}\n",
     .then = THEN_CLOSE},
    {.path = "/v1/embeddings", .bytes = JSON_HEAD "Content-Length: 32\r\n\r\n{\"data\":[{\"embedding\":[0.5,1]}]}"},
    {.path = "/v1/rerank", .bytes = JSON_HEAD "Content-Length: 14\r\n\r\n{\"results\":[]}"},
    {.path = "/embed", .bytes = JSON_HEAD "Content-Length: 9\r\n\r\n[[0.5,1]]"},
    {.path = "/v1/models", .bytes = JSON_HEAD "Content-Length: 2\r\n\r\n{}"},
    {.path = "/cut/v1/chat/completions", .bytes = SSE_HEAD_CHUNKED "5\r\ndata:\r\n", .then = THEN_CLOSE},
    {.path = "/empty/v1/chat/completions", .bytes = JSON_HEAD "Content-Length: 0\r\n\r\n"},
    {.path = "/bad/v1/chat/completions",
     .bytes = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"error\":{}}"},
};

#define STREAM "{\"stream\":true,\"messages\":[]}"
#define ASKS   "{\"stream\":true,\"stream_options\":{\"include_usage\":true},\"messages\":[]}"

/* before + `,"energy":{...}` + after, and blanks where the length was announced. */
static const struct {
    const char *name, *path, *body;
    enum splice_form inject;
    const char *before, *after;
} rows[] = {
    {"whole", "/whole/v1/chat/completions", "{}", SPLICE_ENERGY,
     "{\"choices\":[{\"finish_reason\":\"stop\",\"message\":{\"content\":\"a\"}}],\"usage\":{\"total_tokens\":3}", "}"},
    {"in usage", "/whole/v1/chat/completions", "{}", SPLICE_USAGE,
     "{\"choices\":[{\"finish_reason\":\"stop\",\"message\":{\"content\":\"a\"}}],\"usage\":{\"total_tokens\":3", "}}"},
    {"a length that was told", "/slow/v1/chat/completions", "{}", SPLICE_ENERGY,
     "{\"choices\":[{\"finish_reason\":\"stop\",\"message\":{\"content\":\"a\"}}],\"usage\":{\"total_tokens\":3}", "}"},
    {"nothing", "/whole/v1/chat/completions", "{}", SPLICE_NONE, WHOLE, NULL},
    {"the first stream", "/stream/v1/chat/completions", STREAM, SPLICE_ENERGY, FIRST LAST, "}\n\n" COUNTS DONE},
    {"a stream", "/stream/v1/chat/completions", STREAM, SPLICE_ENERGY, FIRST_OUT LAST, "}\n\n" DONE},
    {"a stream, counts asked for", "/stream/v1/chat/completions", ASKS, SPLICE_ENERGY,
     FIRST LAST "}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}", "}\n\n" DONE},
    {"a stream, nothing", "/stream/v1/chat/completions", STREAM, SPLICE_NONE, FIRST LAST "}\n\n" COUNTS DONE, NULL},
    {"lines", "/api/chat", "{}", SPLICE_ENERGY, "{\"done\":false}\n{\"done\":true", "}\n"},
    {"embeddings", "/v1/embeddings", "{}", SPLICE_ENERGY, "{\"data\":[{\"embedding\":[0.5,1]}]", "}"},
    {"rerank", "/v1/rerank", "{}", SPLICE_ENERGY, "{\"results\":[]", "}"},
    {"no object", "/embed", "{}", SPLICE_ENERGY, "[[0.5,1]]", NULL},
    {"an empty answer", "/empty/v1/chat/completions", "{}", SPLICE_ENERGY, "", NULL},
    {"no inference", "/v1/models", "{}", SPLICE_ENERGY, "{}", NULL},
    {"an error", "/bad/v1/chat/completions", STREAM, SPLICE_ENERGY, "{\"error\":{}}", NULL},
};

static void check_spliced(const struct answer *a, const char *before, const char *after)
{
    size_t n = strlen(before);
    assert_true(a->whole);
    assert_true(a->n >= n);
    assert_memory_equal(a->body, before, n);
    if (!after) {
        assert_int_equal(a->n, n);
        return;
    }
    size_t end = a->n;
    while (end && a->body[end - 1] == ' ')
        end--;
    const char *members = a->body + n, *close = strstr(members, "]}");
    assert_true(jl_starts(members, ",\"energy\":{\"net_j\":"));
    assert_non_null(close);
    assert_int_equal(a->body + end - (close + 2), strlen(after));
    assert_memory_equal(close + 2, after, strlen(after));
}

static void energy_in_answers(void **state)
{
    (void)state;
    for (int form = SPLICE_NONE; form <= SPLICE_USAGE; form++) {
        struct metered_server s;
        struct front f;
        open_metering(&s, "100");
        struct server_options o = {.metering = s.metering, .inject = (enum splice_form)form};
        front_start(&f, plays, JL_COUNT(plays), &o);
        for (size_t i = 0; i < JL_COUNT(rows); i++) {
            struct answer a;
            if (rows[i].inject != (enum splice_form)form)
                continue;
            char *request = post(rows[i].path, rows[i].body);
            print_message("  %s\n", rows[i].name);
            ask(f.server, request, &a);
            check_spliced(&a, rows[i].before, rows[i].after);
            answer_release(&a);
            free(request);
        }
        front_stop(&f);
        close_metering(&s);
    }
}

/* Half a line that was held, because it might have had to go, comes before the end. */
static void answers_that_break_off(void **state)
{
    struct metered_server s;
    struct front f;
    (void)state;
    open_metering(&s, "100");
    struct server_options o = {.metering = s.metering, .inject = SPLICE_ENERGY};
    front_start(&f, plays, JL_COUNT(plays), &o);
    for (int i = 0; i < 2; i++) { /* the second time counts are asked for */
        struct answer a;
        char *first = post("/stream/v1/chat/completions", STREAM), *request = post("/cut/v1/chat/completions", STREAM);
        ask(f.server, first, &a);
        answer_release(&a);
        ask(f.server, request, &a);
        assert_int_equal(a.status, 200);
        assert_false(a.whole);
        assert_string_equal(a.body, "data:");
        answer_release(&a);
        free(first);
        free(request);
    }
    front_stop(&f);
    close_metering(&s);
}

#define ASKED "{\"stream\":true,\"stream_options\":{\"include_usage\":true},\"messages\":[]}"

/* The upstream is asked for counts that the client did not ask for, once it has shown that it does not tell them anyway; one that
 * refuses is asked again, with the client's own words. */
static const struct asking {
    const char *path, *body;
    const char *sent[2];
} asking[] = {{"/stream/v1/chat/completions", STREAM, {STREAM}},
              {"/stream/v1/chat/completions", STREAM, {ASKED}},
              {"/stream/v1/chat/completions", ASKS, {ASKS}},
              {"/whole/v1/chat/completions", "{\"messages\":[]}", {"{\"messages\":[]}"}},
              {"/bad/v1/chat/completions", STREAM, {ASKED, STREAM}},
              {"/stream/v1/chat/completions", STREAM, {ASKED}}},
  timed[] = {{"/timed/v1/chat/completions", STREAM, {STREAM}}, {"/stream/v1/chat/completions", STREAM, {STREAM}}};

static void ask_in_turn(const struct asking *rows_of, size_t n)
{
    struct metered_server s;
    struct front f;
    size_t seen = 0;
    open_metering(&s, "100");
    struct server_options o = {.metering = s.metering, .inject = SPLICE_ENERGY};
    front_start(&f, plays, JL_COUNT(plays), &o);
    for (size_t i = 0; i < n; i++) {
        struct answer a;
        char *request = post(rows_of[i].path, rows_of[i].body);
        ask(f.server, request, &a);
        for (size_t k = 0; k < 2 && rows_of[i].sent[k]; k++) {
            char *sent = upstream_request(f.upstream, seen++), *body = strstr(sent, "\r\n\r\n");
            assert_non_null(body);
            assert_string_equal(body + 4, rows_of[i].sent[k]);
            free(sent);
        }
        assert_int_equal(upstream_requests(f.upstream), seen);
        answer_release(&a);
        free(request);
    }
    front_stop(&f);
    close_metering(&s);
}

static void counts_are_asked_for(void **state)
{
    (void)state;
    ask_in_turn(asking, JL_COUNT(asking));
    ask_in_turn(timed, JL_COUNT(timed));
}

/* What was learnt before holds from the first request on, and is kept for the next time; lines of others stay. */
static void what_was_learnt_is_kept(void **state)
{
    static const char weights[] = "weights/1 0.2 0.01 0.05 0 60 0 60 60 0 60 0 0 60 0 0 0 60 12 0.6 3 0 10\n",
                      others[] = "gpu0.board\tcard\thttp://127.0.0.1:1\tm\tweights/1 none\n";
    struct upstream *u = upstream_start(plays, JL_COUNT(plays));
    struct server_upstream to = {.url = upstream_url(u)};
    struct metered_server s;
    struct joulet_channel ch;
    struct joulet_error err;
    struct jl_buf file;
    char path[64];
    (void)state;
    snprintf(path, sizeof path, "/tmp/joulet-metering-%d.learnt", (int)getpid());
    open_metering(&s, "100");
    assert_int_equal(joulet_channel_get(s.meter, 0, &ch), JOULET_OK);
    char *key = jl_strf("%s\t%s\t%s\tm\t", ch.id, ch.device, to.url), *text = jl_strf("%s%s%s", others, key, weights);
    close_metering(&s);
    assert_int_equal(jl_write_file(path, text, strlen(text), 0600, NULL), JOULET_OK);
    open_metering_on(&s, "100", &(struct metering_options){.n_channels = 1, .devices = 1, .learnt_path = path});
    struct server_options o = {.listen = "127.0.0.1:0", .upstreams = &to, .n_upstreams = 1, .metering = s.metering};
    assert_int_equal(server_open(&s.server, &o, &err), JOULET_OK);
    struct asker x = {.server = s.server, .request = post("/slow/v1/chat/completions", "{\"model\":\"m\",\"messages\":[]}")};
    ask_one(&x);
    json_decref(settled(s.server, 1));
    json_t *list = get(s.server, "/joulet/requests", 200);
    const json_t *energy = json_object_get(json_array_get(json_object_get(list, "requests"), 0), "energy");
    assert_int_equal(json_array_size(json_object_get(energy, "flags")), 0);
    json_decref(list);
    close_metering(&s);
    jl_buf_init(&file, 1 << 16);
    assert_int_equal(jl_read_file(path, &file, NULL), JOULET_OK);
    assert_true(jl_starts(file.data, others));
    assert_true(jl_starts(file.data + strlen(others), key));
    assert_true(jl_starts(file.data + strlen(others) + strlen(key), "weights/1 "));
    assert_ptr_equal(strchr(file.data + strlen(others), '\n'), file.data + file.len - 1);
    jl_buf_release(&file);
    unlink(path);
    upstream_stop(u);
    free(x.request);
    free(text);
    free(key);
}

static void paths_of_our_own(void **state)
{
    struct metered_server s;
    struct front f;
    (void)state;
    open_metering(&s, "100");
    struct server_options o = {.metering = s.metering, .inject = SPLICE_ENERGY};
    front_start(&f, plays, JL_COUNT(plays), &o);
    json_decref(get(f.server, "/joulet/requests/0123456789abcdef", 404));
    json_decref(get(f.server, "/joulet/requests/", 404));
    json_t *list = get(f.server, "/joulet/requests", 200);
    assert_int_equal(json_array_size(json_object_get(list, "requests")), 0);
    json_decref(list);
    front_stop(&f);
    close_metering(&s);
    front_start(&f, plays, JL_COUNT(plays), NULL);
    json_decref(get(f.server, "/joulet/requests", 404));
    json_decref(get(f.server, "/joulet/energy", 404));
    front_stop(&f);
}

/* ---- limits ------------------------------------------------------------------------------------------------------------ */

/* Whoever holds the metering for long costs no answer anything but its figures. */
static void traffic_waits_for_nothing(void **state)
{
    struct metered_server s;
    struct front f;
    struct answer a;
    char *request = post("/whole/v1/chat/completions", "{}");
    (void)state;
    open_metering(&s, "100");
    struct server_options o = {.metering = s.metering, .inject = SPLICE_ENERGY};
    front_start(&f, plays, JL_COUNT(plays), &o);
    pthread_mutex_lock(&s.metering->lock);
    ask(f.server, request, &a);
    pthread_mutex_unlock(&s.metering->lock);
    assert_true(a.whole);
    json_t *root = json_loads(a.body, JSON_REJECT_DUPLICATES, NULL);
    const json_t *energy = json_object_get(root, "energy");
    assert_true(json_is_null(json_object_get(energy, "gross_j")));
    assert_true(json_is_true(json_object_get(energy, "provisional")));
    json_decref(root);
    answer_release(&a);
    free(request);
    front_stop(&f);
    close_metering(&s);
}

static void *begin(struct metering *m, uint64_t id)
{
    const struct observer *o = metering_observer(m);
    static struct observed x; /* tests run one after the other */
    x = (struct observed){.upstream = "http://127.0.0.1:1", .method = "POST", .target = "/v1/completions", .t_ns = jl_mono_ns()};
    snprintf(x.id, sizeof x.id, "%016" PRIx64, id);
    return o->begin(o->user, &x);
}

static bool known(struct metering *m, uint64_t id)
{
    char text[20];
    struct jl_buf out;
    snprintf(text, sizeof text, "%016" PRIx64, id);
    jl_buf_init(&out, 1 << 16);
    bool is = metering_write_request(m, text, &out);
    jl_buf_release(&out);
    return is;
}

/* So many are remembered; those under way are never forgotten, and when they are too many further ones are not metered. */
static void end_one(const struct observer *o, void *state)
{
    o->end(state, &(struct observed_end){.how = OBSERVED_FAILED});
    o->pause(o->user);
}

static void memory_is_bounded(void **state)
{
    enum { MORE = 5000 };
    static void *live[METERING_REQUESTS];
    struct metered_server s;
    (void)state;
    open_metering(&s, "100");
    const struct observer *o = metering_observer(s.metering);
    void *first = begin(s.metering, 1);
    assert_non_null(first);
    for (uint64_t i = 2; i < MORE; i++)
        end_one(o, begin(s.metering, i));
    assert_true(known(s.metering, 1));
    assert_false(known(s.metering, 2));
    assert_true(known(s.metering, MORE - METERING_REQUESTS + 2));
    assert_true(known(s.metering, MORE - 1));
    end_one(o, first);
    for (uint64_t i = 0; i < METERING_REQUESTS; i++) {
        live[i] = begin(s.metering, MORE + i);
        assert_non_null(live[i]);
    }
    assert_null(begin(s.metering, 2 * MORE + 1));
    assert_int_equal(s.metering->n_unmetered, 1);
    for (size_t i = 0; i < METERING_REQUESTS; i++)
        end_one(o, live[i]);
    assert_non_null(first = begin(s.metering, 2 * MORE + 2));
    end_one(o, first);
    close_metering(&s);
}

/* Names of models are the clients': any number of them gets its energy. */
static void many_models(void **state)
{
    enum { MODELS = METERING_ENGINES + 6 };
    struct metered_server s;
    struct front f;
    (void)state;
    open_metering(&s, "100");
    struct server_options o = {.metering = s.metering};
    front_start(&f, plays, JL_COUNT(plays), &o);
    for (int i = 0; i < MODELS; i++) {
        struct answer a;
        char *body = jl_strf("{\"model\":\"m%d\"}", i), *request = post("/whole/v1/chat/completions", body);
        ask(f.server, request, &a);
        answer_release(&a);
        free(request);
        free(body);
        usleep(100000); /* closer ones look as if they were under way together, and wait 20 s for their figures */
    }
    json_decref(settled(f.server, MODELS));
    json_t *list = get(f.server, "/joulet/requests?limit=1", 200);
    const json_t *r = json_array_get(json_object_get(list, "requests"), 0);
    assert_string_equal(json_string_value(json_object_get(r, "model")), "m69");
    assert_int_equal(json_array_size(json_object_get(r, "devices")), 1);
    json_decref(list);
    front_stop(&f);
    close_metering(&s);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(energy_in_answers),    cmocka_unit_test(answers_that_break_off),
        cmocka_unit_test(counts_are_asked_for), cmocka_unit_test(what_was_learnt_is_kept),
        cmocka_unit_test(paths_of_our_own),     cmocka_unit_test(traffic_waits_for_nothing),
        cmocka_unit_test(memory_is_bounded),    cmocka_unit_test(many_models),
    };
    int code;
    if (apart_main(argc, argv, &code)) /* as the program does */
        return code;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
