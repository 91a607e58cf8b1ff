/* test_cli_serve.c - `joulet serve` as a user starts and ends it, with curl in front of it. */
#include "cli/cli.h"
#include "tests/cli/program.h"
#include "tests/server/upstream.h"
#include "tests/sim_engine/sim_engine.h"

#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define OK_HEAD "HTTP/1.1 200 OK\r\n"

static const struct play plays[] = {
    {.path = "/v1/stream",
     .bytes = OK_HEAD "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\ne\r\ndata: "
                      "[DONE]\n\n\r\n0\r\n\r\n",
     .piece = 30,
     .pause_ms = 1},
    {.path = "/slow", .bytes = OK_HEAD "Content-Length: 10\r\n\r\nhelloworld", .cut = 44, .pause_ms = 700},
    {.path = "/hold", .bytes = "", .then = THEN_HOLD},
    {.bytes = OK_HEAD "Content-Length: 5\r\n\r\nhello"},
};

/* The address it wrote, malloc'ed. */
static char *started(struct program *p, const char *const *args)
{
    program_start(p, args);
    program_until_out(p, " -> ");
    return strndup(kept(&p->out), strcspn(kept(&p->out), " "));
}

static char *shell(const char *command)
{
    struct jl_buf out;
    char bytes[4096];
    FILE *f = popen(command, "r");
    assert_non_null(f);
    jl_buf_init(&out, 1 << 20);
    jl_buf_str(&out, "");
    for (size_t n; (n = fread(bytes, 1, sizeof(bytes), f)) > 0;)
        jl_buf_add(&out, bytes, n);
    pclose(f);
    return out.data;
}

static void curl_through_it(void **state)
{
    struct upstream *u = upstream_start(plays, JL_COUNT(plays));
    struct program p = {0};
    (void)state;
    char *url = started(&p, ARGS("serve", "--verbose", "--listen", "127.0.0.1:0", "--upstream", upstream_url(u)));
    static const struct {
        const char *args, *want;
    } rows[] = {
        {"-sN %s/v1/stream", "data: 1\n\ndata: [DONE]\n\n"},
        {"-s -d '{\"a\":1}' %s/x", "hello"},
        {"-s -o /dev/null -w '%%{http_code}' -H 'Host: evil.example' %s/x", "403"},
        {"-s -o /dev/null -w '%%{http_code}' %s/joulet/health", "200"},
        {"-s --http1.0 %s/x", "hello"},
        {"-s --http2 %s/x", "hello"},
    };
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        char args[400], *command, *got;
        snprintf(args, sizeof(args), rows[i].args, url);
        command = jl_strf("curl --noproxy '*' --max-time 20 %s", args);
        got = shell(command);
        assert_string_equal(got, rows[i].want);
        free(command);
        free(got);
    }
    kill(p.pid, SIGTERM);
    program_end(&p);
    assert_int_equal(p.code, CLI_DONE);
    must_say(kept(&p.err), " GET /v1/stream 200, 23 bytes, first after ");
    must_say(kept(&p.err), " POST /x 200, 5 bytes");
    program_release(&p);
    free(url);
    upstream_stop(u);
}

/* What is under way ends before it does; what does not end is cut. */
static void ends_by_a_signal(void **state)
{
    static const int signals[] = {SIGTERM, SIGINT};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(signals); i++) {
        struct upstream *u = upstream_start(plays, JL_COUNT(plays));
        struct program p = {0};
        char *url = started(&p, ARGS("serve", "--listen", "127.0.0.1:0", "--upstream", upstream_url(u)));
        size_t before = upstream_requests(u); /* it was asked whether it is a joulet server */
        char *command = jl_strf("curl --noproxy '*' --max-time 20 -s %s/slow", url);
        FILE *f = popen(command, "r");
        char bytes[100] = "";
        while (upstream_requests(u) == before)
            usleep(1000);
        kill(p.pid, signals[i]);
        assert_int_equal(fread(bytes, 1, sizeof(bytes) - 1, f), 10);
        assert_string_equal(bytes, "helloworld");
        pclose(f);
        program_end(&p);
        assert_int_equal(p.code, CLI_DONE);
        program_release(&p);
        free(url);
        free(command);
        upstream_stop(u);
    }
    struct upstream *u = upstream_start(plays, JL_COUNT(plays));
    struct program p = {0};
    char *url = started(&p, ARGS("serve", "--listen", "127.0.0.1:0", "--drain", "100ms", "--upstream", upstream_url(u)));
    size_t before = upstream_requests(u);
    char *command = jl_strf("curl --noproxy '*' --max-time 20 -s %s/hold", url);
    FILE *f = popen(command, "r");
    while (upstream_requests(u) == before)
        usleep(1000);
    kill(p.pid, SIGTERM);
    program_end(&p);
    pclose(f);
    assert_int_equal(p.code, CLI_DONE);
    must_say(kept(&p.err), "1 answers were still under way after 0.1 s and were cut");
    program_release(&p);
    free(url);
    free(command);
    upstream_stop(u);
}

static void says_where_it_listens_as_json(void **state)
{
    struct program p = {0};
    (void)state;
    program_start(&p, ARGS("serve", "--json", "--listen", "127.0.0.1:0", "--upstream", "/a=http://127.0.0.1:1", "--upstream",
                           "m*=http://127.0.0.1:2/b/"));
    program_until_out(&p, "]}\n");
    kill(p.pid, SIGTERM);
    program_end(&p);
    json_t *all = json_loads(kept(&p.out), JSON_REJECT_DUPLICATES, NULL), *ups = json_object_get(all, "upstreams");
    assert_true(jl_starts(json_string_value(json_object_get(all, "listening")), "http://127.0.0.1:"));
    assert_string_equal(json_string_value(json_object_get(json_array_get(ups, 0), "prefix")), "/a");
    assert_string_equal(json_string_value(json_object_get(json_array_get(ups, 1), "model")), "m*");
    assert_string_equal(json_string_value(json_object_get(json_array_get(ups, 1), "url")), "http://127.0.0.1:2/b");
    json_decref(all);
    program_release(&p);
}

static json_t *curl_json(const char *url, const char *rest)
{
    char *command = jl_strf("curl --noproxy '*' --max-time 20 -s %s%s", url, rest), *text = shell(command);
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    free(command);
    free(text);
    return root;
}

/* A simulated engine whose power a simulated sensor follows: the answer has an energy, and the accounts have all of it. */
static void requests_have_an_energy(void **state)
{
    struct program p = {0};
    struct sim_config c;
    struct joulet_error err;
    struct sim_truth truth;
    char upstream[64];
    const char *curve = scratch("serve.curve");
    char *sim = jl_strf("follow:%s", curve);
    (void)state;
    sim_config_init(&c);
    c.curve = curve;
    struct sim_engine *e = sim_engine_start(&c, &err);
    assert_non_null(e);
    snprintf(upstream, sizeof upstream, "http://127.0.0.1:%d", sim_engine_port(e));
    char *url = started(&p, ARGS("serve", "--verbose", "--listen", "127.0.0.1:0", "--upstream", upstream, "--sim", sim));
    program_until_out(&p, "measures sim0.cpu (simulated)");
    program_until_level(url);
    json_t *answer = curl_json(url, "/completion -d '{\"prompt\":\"a b c d\",\"n_predict\":50}'");
    assert_true(json_is_true(json_object_get(json_object_get(answer, "energy"), "provisional")));
    json_t *all = curl_json(url, "/joulet/energy");
    for (int i = 0; i < 3000 && json_integer_value(json_object_get(all, "final")) < 1; i++) {
        usleep(100000);
        json_decref(all);
        all = curl_json(url, "/joulet/energy");
    }
    assert_true(sim_engine_truth(e, 0, &truth));
    double net_j = json_number_value(json_object_get(json_object_get(all, "total"), "requests_j"));
    double true_j = truth.prefill_j + truth.decode_j - 10 * jl_s(truth.t_end_ns - truth.t_prefill_ns);
    assert_true(fabs(net_j - true_j) <= 0.1 * true_j + 50 * (0.02 + 2 * truth.late_s));
    kill(p.pid, SIGTERM);
    program_end(&p);
    assert_int_equal(p.code, CLI_DONE);
    must_say(kept(&p.err), " POST /completion 200, ");
    json_decref(answer);
    json_decref(all);
    program_release(&p);
    sim_engine_stop(e);
    free(url);
    free(sim);
}

/* As `joulet engine start` leaves it: the engine of this machine is the one at that port, and the test its process. */
static void engine_is_at(int port)
{
    char *stat = NULL, *text, *start;
    size_t size = 0;
    FILE *f = fopen("/proc/self/stat", "r");
    assert_true(f && getline(&stat, &size, f) > 0);
    fclose(f);
    start = strrchr(stat, ')');
    for (int field = 2; field < 22; field++)
        start = strchr(start + 1, ' ');
    start[1 + strcspn(start + 1, " ")] = '\0';
    text = jl_strf("{\"pid\":%d,\"process_start\":%s,\"port\":%d,\"url\":\"http://127.0.0.1:%d\",\"key\":\"k\",\"log\":\"l\","
                   "\"model\":\"m\",\"private_engine\":true}",
                   (int)getpid(), start + 1, port, port);
    mkdir(scratch("joulet"), 0700);
    scratch_write("joulet/engine.json", text);
    free(text);
    free(stat);
}

/* It comes back at another port: the request that finds nobody fails and says so, later ones go there. */
static void an_engine_found_again(void **state)
{
    struct program p = {0};
    struct sim_config c;
    struct joulet_error err;
    static const char ask[] =
        "curl --noproxy '*' --max-time 20 -s -w ' %%{http_code}' %s/completion -d '{\"prompt\":\"a\",\"n_predict\":1}'";
    (void)state;
    sim_config_init(&c);
    struct sim_engine *e = sim_engine_start(&c, &err);
    assert_non_null(e);
    int first = sim_engine_port(e), second;
    engine_is_at(first);
    char *url = started(&p, ARGS("serve", "--no-meter", "--listen", "127.0.0.1:0"));
    char *command = jl_strf(ask, url), *got = shell(command);
    must_say(got, " 200");
    free(got);
    sim_engine_stop(e);
    got = shell(command);
    must_say(got, " 502");
    must_say(got, "joulet: ");
    free(got);
    do { /* the port of the first one may be free again, and is another one's then */
        e = sim_engine_start(&c, &err);
        assert_non_null(e);
        second = sim_engine_port(e);
    } while (second == first);
    engine_is_at(second);
    got = shell(command);
    for (int i = 0; i < 3000 && !strstr(got, " 200"); i++) {
        usleep(100000);
        free(got);
        got = shell(command);
    }
    must_say(got, " 200");
    free(got);
    kill(p.pid, SIGTERM);
    program_end(&p);
    assert_int_equal(p.code, CLI_DONE);
    must_say(kept(&p.err), " is gone; requests go to http://127.0.0.1:");
    sim_engine_stop(e);
    unlink(scratch("joulet/engine.json"));
    program_release(&p);
    free(command);
    free(url);
}

static void mistakes(void **state)
{
    static const struct {
        const char *args[8];
        int code;
        const char *say;
    } rows[] = {
        {{"serve", "http://127.0.0.1:1"}, CLI_USAGE, "name an engine with --upstream http://127.0.0.1:1"},
        {{"serve", "--upstream", "127.0.0.1:1"}, CLI_USAGE, "is no http:// or https:// address"},
        {{"serve", "--upstream", "/=http://127.0.0.1:1"}, CLI_USAGE, "empty prefix"},
        {{"serve", "--upstream", "http://a", "--upstream", "http://a"}, CLI_USAGE, "would get the same requests"},
        {{"serve", "--upstream", "http://a", "--listen", "8737"}, CLI_USAGE, "no address to listen on"},
        {{"serve", "--upstream", "http://a", "--listen", "0.0.0.0:0"}, CLI_USAGE, "set a token in JOULET_TOKEN"},
        {{"serve", "--upstream", "http://a", "--listen", "0.0.0.0:0", "--token", "a-long-token"},
         CLI_USAGE,
         "accept it with --insecure-http"},
        {{"serve", "--upstream", "http://a", "--sim", "5", "--devices", "/b=sim0"}, CLI_USAGE, "no upstream is called \"/b\""},
        {{"serve", "--upstream", "http://a", "--sim", "5", "--devices", "gpu7"}, CLI_USAGE, "channel \"gpu7\" here"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct program p = {0};
        program_run(&p, rows[i].args);
        assert_int_equal(p.code, rows[i].code);
        must_say(kept(&p.err), rows[i].say);
        assert_string_equal(kept(&p.out), "");
        program_release(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(curl_through_it),
                                       cmocka_unit_test(ends_by_a_signal),
                                       cmocka_unit_test(says_where_it_listens_as_json),
                                       cmocka_unit_test(requests_have_an_energy),
                                       cmocka_unit_test(an_engine_found_again),
                                       cmocka_unit_test(mistakes)};
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
