/* What requests cost (docs/proxy.md): a simulated engine whose energy is known behind the proxy, and a sensor that follows it.
 * Every joule of the sensor is in somebody's account, and requests have what the engine drew for them. Then energy in answers,
 * with an upstream that plays what it is told. */
#include "lib/platform/platform.h"
#include "server/metering.h"
#include "tests/base/test.h"
#include "tests/server/front.h"
#include "tests/sim_engine/sim_engine.h"

#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_NS ((int64_t)60 * JL_NS_PER_S)
#define QUIET_NS    ((int64_t)1500 * 1000000) /* for a first idle level */

/* ---- a server that meters ---------------------------------------------------------------------------------------------- */

struct metered_server {
    struct joulet *meter;
    struct metering *metering;
    struct server *server;
    struct server_upstream to;
    char url[64];
};

static void open_metering_on(struct metered_server *s, const char *sim, const struct metering_options *what)
{
    struct joulet_options o = JOULET_OPTIONS_INIT;
    struct metering_options m = *what;
    struct joulet_error err;
    *s = (struct metered_server){0};
    o.sim = sim;
    o.sensors = "sim";
    o.calibration = "";
    assert_int_equal(joulet_open(&s->meter, &o, &err), JOULET_OK);
    assert_int_equal(joulet_wait_ready(s->meter, 10, &err), JOULET_OK);
    m.meter = s->meter;
    assert_int_equal(metering_open(&s->metering, &m, &err), JOULET_OK);
}

static void open_metering(struct metered_server *s, const char *sim)
{
    open_metering_on(s, sim, &(struct metering_options){.n_channels = 1, .devices = 1});
}

static void close_metering(struct metered_server *s)
{
    server_close(s->server);
    metering_close(s->metering);
    joulet_close(s->meter);
}

static json_t *get(const struct server *s, const char *target, int status)
{
    struct answer a;
    char *request = jl_strf("GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", target);
    ask(s, request, &a);
    assert_int_equal(a.status, status);
    json_t *root = json_loads(a.body, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    answer_release(&a);
    free(request);
    return root;
}

static double number(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    assert_non_null(v);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

/* Once everything is final and nothing waits. */
static json_t *settled(const struct server *s, double n)
{
    for (int64_t until = jl_mono_ns() + PATIENCE_NS; jl_mono_ns() < until; jl_sleep_until(jl_mono_ns() + 50000000)) {
        json_t *all = get(s, "/joulet/energy", 200);
        if (number(all, "final") == n && number(all, "running") == 0)
            return all;
        json_decref(all);
    }
    fail_msg("requests do not become final");
    return NULL;
}

static void assert_conserved(const json_t *accounts)
{
    double sum = number(accounts, "requests_j") + number(accounts, "idle_shares_j") + number(accounts, "vacant_j") +
                 number(accounts, "other_j") + number(accounts, "residual_j");
    assert_near(sum, number(accounts, "measured_j"), 1e-6 * fmax(1, number(accounts, "measured_j")));
}

static char *post(const char *path, const char *body)
{
    return jl_strf("POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", path,
                   strlen(body), body);
}

/* ---- against the simulated engine --------------------------------------------------------------------------------------- */

struct simulated {
    struct sim_engine *engine;
    char curve[64], sim[96];
    struct metered_server s;
};

static void start(struct simulated *x, enum splice_form inject)
{
    struct sim_config c;
    struct joulet_error err;
    snprintf(x->curve, sizeof x->curve, "/tmp/joulet-metering-%d.curve", (int)getpid());
    snprintf(x->sim, sizeof x->sim, "follow:%s", x->curve);
    unlink(x->curve);
    sim_config_init(&c);
    c.curve = x->curve;
    c.prefill_ms = 4;
    c.decode_ms = 15;
    x->engine = sim_engine_start(&c, &err);
    assert_non_null(x->engine);
    open_metering(&x->s, x->sim);
    snprintf(x->s.url, sizeof x->s.url, "http://127.0.0.1:%d", sim_engine_port(x->engine));
    x->s.to.url = x->s.url;
    struct server_options o = {
        .listen = "127.0.0.1:0", .upstreams = &x->s.to, .n_upstreams = 1, .metering = x->s.metering, .inject = inject};
    assert_int_equal(server_open(&x->s.server, &o, &err), JOULET_OK);
    jl_sleep_until(jl_mono_ns() + QUIET_NS);
}

static void stop(struct simulated *x)
{
    close_metering(&x->s);
    sim_engine_stop(x->engine);
    unlink(x->curve);
}

static const struct {
    const char *path, *body;
    int prompt, generated;
    bool streams;
} asked[] = {
    {"/v1/chat/completions",
     "{\"model\":\"sim-model\",\"stream\":true,\"max_tokens\":40,\"messages\":[{\"role\":\"user\",\"content\":\"one two "
     "three\"}]}",
     11, 40, true},
    {"/completion", "{\"prompt\":\"four five six seven\",\"n_predict\":24,\"stream\":true}", 4, 24, true},
    {"/v1/chat/completions",
     "{\"model\":\"sim-model\",\"max_tokens\":30,\"messages\":[{\"role\":\"user\",\"content\":\"eight nine\"}]}", 10, 30, false},
    {"/v1/completions", "{\"model\":\"sim-model\",\"stream\":true,\"max_tokens\":35,\"prompt\":\"ten eleven\"}", 2, 35, true},
};

/* The header's id leads to what the request was and drew. */
static double look_at(const struct simulated *x, const char *id, size_t i)
{
    struct sim_truth t;
    char *path = jl_strf("/joulet/requests/%s", id);
    json_t *r = get(x->s.server, path, 200);
    const json_t *tokens = json_object_get(r, "tokens"), *energy = json_object_get(r, "energy");
    assert_true(sim_engine_truth(x->engine, i, &t));
    assert_string_equal(json_string_value(json_object_get(r, "state")), "done");
    assert_string_equal(json_string_value(json_object_get(r, "kind")), "inference");
    assert_int_equal(number(tokens, "prompt"), asked[i].prompt);
    assert_int_equal(number(tokens, "generated"), asked[i].generated);
    assert_string_equal(json_string_value(json_array_get(json_object_get(r, "devices"), 0)), "sim0.cpu");
    assert_true(json_is_false(json_object_get(energy, "provisional")));
    assert_string_equal(json_string_value(json_object_get(energy, "provenance")), "simulated");
    double net_j = number(energy, "net_j"), truth_j = t.prefill_j + t.decode_j - 10 * jl_s(t.t_end_ns - t.t_prefill_ns);
    /* a window is 50 ms: at each end of a request it may hold a little of the neighbour, or of a machine that was late */
    assert_near(net_j, truth_j, 0.1 * truth_j + 50 * (0.02 + 2 * t.late_s));
    assert_near(number(energy, "gross_j"), net_j + 10 * jl_s(t.t_end_ns - t.t_arrival_ns), 0.1 * truth_j + 10 * (0.1 + t.late_s));
    json_decref(r);
    free(path);
    return net_j;
}

static void requests_have_their_energy(void **state)
{
    struct simulated x = {0};
    char *ids[JL_COUNT(asked)];
    double sum_j = 0;
    (void)state;
    start(&x, SPLICE_ENERGY);
    for (size_t i = 0; i < JL_COUNT(asked); i++) {
        struct answer a;
        char *request = post(asked[i].path, asked[i].body);
        ask(x.s.server, request, &a);
        assert_int_equal(a.status, 200);
        assert_true(a.whole);
        assert_non_null(strstr(a.body, "\"energy\":{\"net_j\":"));
        assert_non_null(strstr(a.body, "\"provisional\":true"));
        assert_int_equal(asked[i].streams, strstr(a.head, "text/event-stream") != NULL);
        ids[i] = answer_header(&a, "X-Joulet-Request");
        assert_non_null(ids[i]);
        answer_release(&a);
        free(request);
    }
    json_t *all = settled(x.s.server, JL_COUNT(asked));
    const json_t *total = json_object_get(all, "total");
    for (size_t i = 0; i < JL_COUNT(asked); i++) {
        sum_j += look_at(&x, ids[i], i);
        free(ids[i]);
    }
    assert_conserved(total);
    assert_conserved(json_array_get(json_object_get(all, "devices"), 0));
    assert_near(sum_j, number(total, "requests_j"), 1e-6 * sum_j);
    json_decref(all);
    stop(&x);
}

struct asker {
    const struct server *server;
    char *request;
    pthread_t thread;
};

static void *ask_one(void *arg)
{
    struct asker *x = arg;
    struct answer a;
    ask(x->server, x->request, &a);
    answer_release(&a);
    return NULL;
}

/* Three at once, which the engine serves one after the other: who waits pays for nothing but idle power. */
static void requests_at_the_same_time(void **state)
{
    struct simulated x = {0};
    struct asker askers[3];
    struct sim_truth t;
    double true_j = 0, late_s = 0, sum_j = 0, gross_j = 0;
    (void)state;
    start(&x, SPLICE_ENERGY);
    for (size_t i = 0; i < JL_COUNT(askers); i++) {
        char *body = jl_strf("{\"prompt\":\"a%zu b c d e\",\"n_predict\":%zu,\"stream\":true}", i, 20 + 10 * i);
        askers[i] = (struct asker){.server = x.s.server, .request = post("/completion", body)};
        assert_int_equal(pthread_create(&askers[i].thread, NULL, ask_one, &askers[i]), 0);
        free(body);
    }
    for (size_t i = 0; i < JL_COUNT(askers); i++) {
        pthread_join(askers[i].thread, NULL);
        free(askers[i].request);
    }
    json_t *all = settled(x.s.server, JL_COUNT(askers)), *list = get(x.s.server, "/joulet/requests", 200);
    const json_t *total = json_object_get(all, "total"), *requests = json_object_get(list, "requests");
    assert_int_equal(json_array_size(requests), JL_COUNT(askers));
    for (size_t i = 0; i < JL_COUNT(askers); i++) {
        const json_t *energy = json_object_get(json_array_get(requests, i), "energy");
        assert_true(sim_engine_truth(x.engine, i, &t));
        true_j += t.prefill_j + t.decode_j - 10 * jl_s(t.t_end_ns - t.t_prefill_ns);
        late_s += t.late_s;
        sum_j += number(energy, "net_j");
        gross_j += number(energy, "gross_j");
    }
    assert_conserved(total);
    assert_near(sum_j, number(total, "requests_j"), 1e-6 * sum_j);
    assert_near(gross_j, number(total, "requests_j") + number(total, "idle_shares_j"), 1e-6 * gross_j);
    assert_near(sum_j, true_j, 0.05 * true_j + 50 * (0.02 + 2 * late_s));
    json_decref(all);
    json_decref(list);
    stop(&x);
}

/* Two engines on a device each, and one whose devices are not here. */
static void upstreams_with_their_devices(void **state)
{
    enum { ENGINES = 2, UPSTREAMS = 3 };
    static const char *const ids[] = {"sim0.cpu", "sim1.cpu", NULL};
    struct sim_engine *engines[ENGINES];
    struct server_upstream to[UPSTREAMS] = {{.prefix = "/a"}, {.prefix = "/b"}, {.prefix = "/c"}};
    char urls[UPSTREAMS][64], curves[ENGINES][64];
    struct metering_options m = {.channels = {0, 1}, .n_channels = 2, .devices = 3, .n_upstreams = UPSTREAMS};
    struct metered_server s;
    struct joulet_error err;
    (void)state;
    for (size_t i = 0; i < ENGINES; i++) {
        struct sim_config c;
        snprintf(curves[i], sizeof curves[i], "/tmp/joulet-metering-%d.%zu", (int)getpid(), i);
        unlink(curves[i]);
        sim_config_init(&c);
        c.curve = curves[i];
        c.decode_w = i ? 30 : 70;
        c.decode_ms = 15;
        engines[i] = sim_engine_start(&c, &err);
        assert_non_null(engines[i]);
    }
    for (size_t i = 0; i < UPSTREAMS; i++) {
        /* the third is the first again by another name, which is said to be elsewhere */
        snprintf(urls[i], sizeof urls[i], "http://%s:%d", i < ENGINES ? "127.0.0.1" : "localhost",
                 sim_engine_port(engines[i % ENGINES]));
        to[i].url = urls[i];
        m.upstreams[i] = (struct metering_upstream){urls[i], i < ENGINES ? 1u << i : 0};
    }
    char *sim = jl_strf("follow:%s|follow:%s", curves[0], curves[1]);
    open_metering_on(&s, sim, &m);
    struct server_options o = {
        .listen = "127.0.0.1:0", .upstreams = to, .n_upstreams = UPSTREAMS, .metering = s.metering, .inject = SPLICE_ENERGY};
    assert_int_equal(server_open(&s.server, &o, &err), JOULET_OK);
    jl_sleep_until(jl_mono_ns() + QUIET_NS);
    for (size_t i = 0; i < UPSTREAMS; i++) {
        char *path = jl_strf("%s/completion", to[i].prefix);
        struct asker x = {.server = s.server, .request = post(path, "{\"prompt\":\"a b\",\"n_predict\":30,\"stream\":true}")};
        ask_one(&x);
        free(x.request);
        free(path);
    }
    json_t *all = settled(s.server, ENGINES), *list = get(s.server, "/joulet/requests", 200);
    const json_t *requests = json_object_get(list, "requests");
    assert_conserved(json_array_get(json_object_get(all, "devices"), 0));
    assert_conserved(json_array_get(json_object_get(all, "devices"), 1));
    for (size_t i = 0; i < UPSTREAMS; i++) {
        const json_t *r = json_array_get(requests, UPSTREAMS - 1 - i), *energy = json_object_get(r, "energy"),
                     *devices = json_object_get(r, "devices");
        struct sim_truth t;
        if (!ids[i]) {
            assert_int_equal(json_array_size(devices), 0);
            assert_true(isnan(number(energy, "gross_j")));
            assert_string_equal(json_string_value(json_array_get(json_object_get(energy, "flags"), 0)), "drawn elsewhere");
            continue;
        }
        assert_int_equal(json_array_size(devices), 1);
        assert_string_equal(json_string_value(json_array_get(devices, 0)), ids[i]);
        assert_true(sim_engine_truth(engines[i], 0, &t));
        double true_j = t.prefill_j + t.decode_j - 10 * jl_s(t.t_end_ns - t.t_prefill_ns);
        assert_near(number(energy, "net_j"), true_j, 0.1 * true_j + 60 * (0.02 + 2 * t.late_s));
    }
    json_decref(all);
    json_decref(list);
    close_metering(&s);
    for (size_t i = 0; i < ENGINES; i++) {
        sim_engine_stop(engines[i]);
        unlink(curves[i]);
    }
    free(sim);
}

/* Who leaves early has an end as well, and pays for what was computed. */
static void client_that_leaves(void **state)
{
    struct simulated x = {0};
    char *request = post("/completion", "{\"prompt\":\"a b c\",\"n_predict\":2000,\"stream\":true}");
    char bytes[512];
    (void)state;
    start(&x, SPLICE_ENERGY);
    int fd = client_connect(x.s.server);
    client_say(fd, request);
    for (size_t n = 0; n < 1500;) {
        ssize_t got = read(fd, bytes, sizeof bytes);
        assert_true(got > 0);
        n += (size_t)got;
    }
    close(fd);
    json_t *all = settled(x.s.server, 1), *list = get(x.s.server, "/joulet/requests?limit=5", 200);
    const json_t *one = json_array_get(json_object_get(list, "requests"), 0);
    assert_string_equal(json_string_value(json_object_get(one, "state")), "client gone");
    assert_string_equal(json_string_value(json_object_get(json_object_get(one, "tokens"), "generated_source")), "counted");
    assert_true(number(json_object_get(one, "energy"), "net_j") > 0);
    assert_conserved(json_object_get(all, "total"));
    json_decref(all);
    json_decref(list);
    free(request);
    stop(&x);
}

/* ---- energy in answers -------------------------------------------------------------------------------------------------- */

#define JSON_HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
#define SSE_HEAD  "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
#define WHOLE     "{\"choices\":[{\"finish_reason\":\"stop\",\"message\":{\"content\":\"a\"}}],\"usage\":{\"total_tokens\":3}}"
#define FIRST     "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":null}],\"usage\":null}\n\n"
#define FIRST_OUT "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n"
#define LAST      "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]"
#define COUNTS    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n"
#define DONE      "data: [DONE]\n\n"

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
    {.path = "/v1/models", .bytes = JSON_HEAD "Content-Length: 2\r\n\r\n{}"},
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_have_their_energy), cmocka_unit_test(client_that_leaves),
        cmocka_unit_test(requests_at_the_same_time),  cmocka_unit_test(upstreams_with_their_devices),
        cmocka_unit_test(energy_in_answers),          cmocka_unit_test(counts_are_asked_for),
        cmocka_unit_test(what_was_learnt_is_kept),    cmocka_unit_test(paths_of_our_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
