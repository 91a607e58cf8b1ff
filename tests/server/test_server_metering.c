/* What requests cost (docs/proxy.md): a simulated engine whose energy is known behind the proxy, and a sensor that follows it.
 * Every joule of the sensor is in somebody's account, and requests have what the engine drew for them. */
#include "lib/platform/platform.h"
#include "server/recognise_apart.h"
#include "tests/base/test.h"
#include "tests/server/metered.h"
#include "tests/sim_engine/sim_engine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
static void look_at(const struct simulated *x, const char *id, size_t i, size_t served)
{
    struct sim_truth t;
    char *path = jl_strf("/joulet/requests/%s", id);
    json_t *r = get(x->s.server, path, 200);
    const json_t *tokens = json_object_get(r, "tokens"), *energy = json_object_get(r, "energy");
    assert_true(sim_engine_truth(x->engine, served, &t));
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
    const json_t *windows = json_object_get(r, "windows");
    const json_t *prefill = json_object_get(json_object_get(windows, "prefill"), "energy");
    const json_t *decode = json_object_get(json_object_get(windows, "decode"), "energy");
    double prefill_j = number(prefill, "net_j"), true_j = t.prefill_j - 10 * jl_s(t.t_decode_ns - t.t_prefill_ns);
    assert_near(prefill_j + number(decode, "net_j"), net_j, 1e-7 * net_j);
    assert_near(number(prefill, "gross_j") + number(decode, "gross_j"), number(energy, "gross_j"), 1e-7 * net_j);
    assert_near(prefill_j, true_j, number(prefill, "net_pm_j") + 50 * 2 * t.late_s);
    assert_near(net_j - prefill_j, truth_j - true_j, number(decode, "net_pm_j") + 50 * 2 * t.late_s);
    assert_true(number(energy, "gross_pm_j") > 0);
    assert_true(number(energy, "net_pm_j") >= number(energy, "gross_pm_j"));
    json_decref(r);
    free(path);
}

/* What chat programs show: joules of a stream, and of each of its tokens so far. A machine that is busy may see nothing of a
 * stream before it ends; then another one is asked for. */
static void look_at_lines(const struct simulated *x)
{
    static const char body[] = "{\"model\":\"sim-model\",\"stream\":true,\"max_tokens\":40,\"prompt\":\"twelve\"}";
    char *request =
        jl_strf("POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Joulet-Inject: usage\r\nContent-Length: %zu\r\n\r\n%s",
                sizeof body - 1, body);
    bool told = false;
    for (int i = 0; i < 100 && !told; i++) {
        struct answer a;
        double all_j, each_j;
        ask(x->s.server, request, &a);
        assert_true(a.whole);
        const char *lines = strstr(a.body, "\"net_joules\":");
        told = lines && sscanf(lines, "\"net_joules\":%lf,\"net_joules_per_token\":%lf,\"energy\":{", &all_j, &each_j) == 2;
        if (told)
            assert_true(all_j > 0 && all_j / each_j > 0.5 && all_j / each_j < 40.5);
        answer_release(&a);
    }
    assert_true(told);
    free(request);
}

/* Was each of its phases seen? A busy machine may hear nothing of an answer before it ends. */
static bool has_phases(const struct simulated *x, const char *id, double *net_j)
{
    char *path = jl_strf("/joulet/requests/%s", id);
    json_t *r = get(x->s.server, path, 200);
    const json_t *windows = json_object_get(r, "windows");
    const json_t *prefill_j = json_object_get(json_object_get(json_object_get(windows, "prefill"), "energy"), "net_j");
    bool has = json_number_value(prefill_j) > 0 && json_object_get(windows, "decode");
    *net_j = number(json_object_get(r, "energy"), "net_j");
    json_decref(r);
    free(path);
    return has;
}

/* Its id, malloc'ed. */
static char *ask_of(const struct simulated *x, size_t i)
{
    struct answer a;
    char *request = post(asked[i].path, asked[i].body);
    ask(x->s.server, request, &a);
    assert_int_equal(a.status, 200);
    assert_true(a.whole);
    assert_non_null(strstr(a.body, "\"energy\":{\"net_j\":"));
    assert_non_null(strstr(a.body, "\"provisional\":true"));
    assert_int_equal(asked[i].streams, strstr(a.head, "text/event-stream") != NULL);
    char *id = answer_header(&a, "X-Joulet-Request");
    assert_non_null(id);
    answer_release(&a);
    free(request);
    return id;
}

static void requests_have_their_energy(void **state)
{
    struct simulated x = {0};
    double sum_j = 0;
    size_t n = 0;
    json_t *all = NULL;
    (void)state;
    start(&x, SPLICE_ENERGY);
    for (size_t i = 0; i < JL_COUNT(asked); i++)
        for (bool seen = false; !seen;) {
            double net_j;
            char *id = ask_of(&x, i);
            json_decref(all);
            all = settled(x.s.server, (double)++n);
            seen = has_phases(&x, id, &net_j) || n > 40;
            sum_j += net_j;
            if (seen)
                look_at(&x, id, i, n - 1);
            free(id);
        }
    const json_t *total = json_object_get(all, "total");
    assert_conserved(total);
    assert_conserved(json_array_get(json_object_get(all, "devices"), 0));
    assert_near(sum_j, number(total, "requests_j"), 1e-6 * sum_j);
    json_decref(all);
    look_at_lines(&x);
    stop(&x);
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
        m.upstreams[i] = (struct metering_upstream){.url = urls[i], .devices = i < ENGINES ? 1u << i : 0};
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

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(requests_have_their_energy), cmocka_unit_test(requests_at_the_same_time),
                                       cmocka_unit_test(upstreams_with_their_devices), cmocka_unit_test(client_that_leaves)};
    int code;
    if (apart_main(argc, argv, &code)) /* as the program does */
        return code;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
