/* test_cli_told.c - run, bench and tail against `joulet serve` in front of a simulated engine: what they record is what the
 * server tells, to the last digit; and against servers that tell nothing, or what cannot be. */
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
#include <unistd.h>

static struct sim_engine *engine;
static struct program server;
static char url[64], upstream_at[64];

static void serve(struct program *p, char *at, size_t size, const char *const *args)
{
    program_start(p, args);
    program_until_out(p, " -> ");
    program_until_out(p, "\n");
    snprintf(at, size, "%.*s", (int)strcspn(kept(&p->out), " "), kept(&p->out));
}

static int open_all(void **state)
{
    struct sim_config c;
    struct joulet_error err;
    if (scratch_open(state))
        return 1;
    static char curve[512], sim[560];
    snprintf(curve, sizeof curve, "%s", scratch("told.curve"));
    snprintf(sim, sizeof sim, "follow:%s", curve);
    sim_config_init(&c);
    c.curve = curve;
    engine = sim_engine_start(&c, &err);
    if (!engine)
        return 1;
    snprintf(upstream_at, sizeof upstream_at, "http://127.0.0.1:%d", sim_engine_port(engine));
    serve(&server, url, sizeof url,
          ARGS("serve", "--listen", "127.0.0.1:0", "--upstream", upstream_at, "--sim", sim, "--token", "a-long-token"));
    char *base = jl_strf("%s/joulet/t/a-long-token", url);
    program_until_level(base);
    free(base);
    return 0;
}

static int close_all(void **state)
{
    kill(server.pid, SIGTERM);
    program_end(&server);
    program_release(&server);
    sim_engine_stop(engine);
    return scratch_close(state);
}

static json_t *record_of(const struct program *p)
{
    json_t *run = json_loads(kept(&p->out), 0, NULL);
    if (!run)
        fail_msg("no record: %s%s", kept(&p->out), kept(&p->err));
    return run;
}

static const char *text_of(const json_t *o, const char *a, const char *b)
{
    const char *s = json_string_value(json_object_get(json_object_get(o, a), b));
    return s ? s : "";
}

static double total(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(json_object_get(json_object_get(o, "energy"), "total"), key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

/* The server's list of requests, newest first. */
static json_t *requests(const char *at, const char *token, int n)
{
    char command[300], text[65536];
    snprintf(command, sizeof command, "curl --noproxy '*' -s -H 'X-Joulet-Token: %s' '%s/joulet/requests?limit=%d'", token, at,
             n);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    pclose(f);
    json_t *root = json_loads(text, 0, NULL), *list = json_incref(json_object_get(root, "requests"));
    json_decref(root);
    return list;
}

static void same_energy(const json_t *request, const json_t *told)
{
    static const char *const keys[] = {"net_j", "net_pm_j", "gross_j", "gross_pm_j"};
    const json_t *e = json_object_get(told, "energy");
    for (size_t i = 0; i < JL_COUNT(keys); i++)
        assert_true(total(request, keys[i]) == json_number_value(json_object_get(e, keys[i])));
    assert_true(json_is_false(json_object_get(e, "provisional")));
    const json_t *flags = json_object_get(json_object_get(json_object_get(request, "energy"), "total"), "flags");
    assert_int_equal(json_array_size(flags), json_array_size(json_object_get(e, "flags")));
    assert_string_equal(text_of(json_object_get(request, "energy"), "total", "provenance"),
                        json_string_value(json_object_get(e, "provenance")));
}

/* Also with sensors here that show another power: who stands in front of the engine knows better. */
static void a_run_has_the_energy_of_the_server(void **state)
{
    (void)state;
    const char *env[] = {"JOULET_TOKEN=a-long-token", NULL};
    struct program p = {.env = env};
    program_run(&p, ARGS("run", "--engine", url, "-n", "20", "--json", "one two three"));
    assert_int_equal(p.code, CLI_DONE);
    json_t *run = record_of(&p), *told = requests(url, "a-long-token", 1);
    same_energy(json_array_get(json_object_get(run, "requests"), 0), json_array_get(told, 0));
    same_energy(run, json_array_get(told, 0));
    assert_true(total(run, "net_j") > 0);
    assert_string_equal(text_of(run, "engine", "measured_at"), url);
    must_say(text_of(run, "engine", "measured_by"), "joulet ");
    must_say(text_of(run, "machine", "total"), "sim0.cpu");
    assert_null(strstr(kept(&p.out), "a-long-token"));
    assert_int_equal(json_array_size(json_object_get(run, "baselines")), 0);
    json_decref(run);
    json_decref(told);
    program_release(&p);
    p = (struct program){.env = NULL};
    program_run(&p, ARGS("runs", "recompute", "last"));
    must_say(kept(&p.err), "were told by the joulet server at ");
    program_release(&p);
}

static void every_request_of_a_plan(void **state)
{
    static const char *const forms[][2] = {{"--repeat", "2"}, {"--streams", "2"}};
    (void)state;
    for (size_t f = 0; f < JL_COUNT(forms); f++) {
        struct program p = {.env = NULL};
        char at[200];
        double sum = 0;
        snprintf(at, sizeof at, "%s/joulet/t/a-long-token", url);
        scratch_write("three.txt", "one\ntwo three\nfour five six\n");
        program_run(
            &p, ARGS("bench", "--engine", at, "-n", "5", "--prompts", scratch("three.txt"), forms[f][0], forms[f][1], "--json"));
        if (p.code != CLI_DONE)
            fail_msg("%d: %s", p.code, kept(&p.err));
        json_t *run = record_of(&p), *list = json_object_get(run, "requests"), *told, *q;
        size_t i, n = json_array_size(list), counted = 0;
        assert_true(n > 3);
        assert_null(strstr(kept(&p.out), "a-long-token"));
        assert_null(strstr(kept(&p.out), "\"cooldown\"")); /* nothing here waits for sensors of this machine */
        told = requests(url, "a-long-token", (int)n);
        json_array_foreach(list, i, q)
        {
            const json_t *flags = json_object_get(json_object_get(json_object_get(q, "energy"), "total"), "flags");
            bool found = false, settled = true;
            size_t w;
            json_t *word;
            json_array_foreach(flags, w, word) settled &= strcmp(json_string_value(word), "provisional") != 0;
            size_t k;
            json_t *t;
            json_array_foreach(told, k, t) found |=
                total(q, "gross_j") == json_number_value(json_object_get(json_object_get(t, "energy"), "gross_j"));
            assert_true(found || !settled); /* on a busy machine a figure may take longer than it is waited for */
            if (json_is_true(json_object_get(q, "warmup")))
                continue;
            sum += total(q, "gross_j");
            counted++;
        }
        assert_true(counted > 2);
        assert_true(fabs(total(run, "gross_j") - sum) <= 1e-12 * sum);
        json_decref(run);
        json_decref(told);
        program_release(&p);
    }
}

/* Where sensors are named, and the server is on this machine, they are used. */
static void named_sensors_win(void **state)
{
    (void)state;
    struct program p = {.env = NULL};
    char at[200];
    snprintf(at, sizeof at, "%s/joulet/t/a-long-token", url);
    program_run(&p, ARGS("run", "--engine", at, "--sim", "50", "-n", "5", "--json", "hi"));
    assert_int_equal(p.code, CLI_DONE);
    json_t *run = record_of(&p);
    assert_string_equal(text_of(run, "engine", "measured_at"), "");
    must_say(kept(&p.out), "\"sim0.");
    json_decref(run);
    program_release(&p);
}

static void tokens(void **state)
{
    (void)state;
    struct program p = {.env = NULL};
    program_run(&p, ARGS("run", "--engine", url, "hi"));
    assert_int_equal(p.code, CLI_ENGINE);
    must_say(kept(&p.err), "wants a token: give it with --token");
    program_release(&p);
    p = (struct program){.env = NULL};
    program_run(&p, ARGS("run", "--engine", url, "--token", "a-wrong-token", "hi"));
    must_say(kept(&p.err), "wants another token");
    program_release(&p);
    p = (struct program){.env = NULL};
    program_run(&p, ARGS("tail", "--url", url));
    assert_int_equal(p.code, CLI_USAGE);
    must_say(kept(&p.err), "wants a token");
    program_release(&p);
}

/* ---- servers that tell nothing, or what cannot be ---------------------------------------------------------------- */

#define HEADER      "X-Joulet-Request: 0123456789abcdef\r\n"
#define STREAM      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" HEADER "Connection: close\r\n\r\n"
#define PIECE       "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n"
#define END(energy) "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]" energy "}\n\ndata: [DONE]\n\n"
#define PROVISIONAL                                                                                                              \
    ",\"energy\":{\"net_j\":1.5,\"gross_j\":2.5,\"provenance\":\"measured\",\"method\":\"attribution/1\",\"provisional\":true}"

static char *whole(const char *status, const char *header, const char *body)
{
    return jl_strf("HTTP/1.1 %s\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n%s", status, header,
                   strlen(body), body);
}

/* Runs one prompt there; request: what /joulet/requests/ID answers with, NULL: the connection is closed. */
static json_t *run_at(const char *stream, const char *request, struct program *p)
{
    char *models = whole("200 OK", HEADER, "{\"object\":\"list\",\"data\":[{\"id\":\"m\",\"object\":\"model\"}]}"),
         *health = whole("200 OK", "", "{\"status\":\"ok\",\"version\":\"0.0.9\",\"meters\":true,\"upstreams\":[]}"),
         *other = whole("404 Not Found", HEADER, "{}"), *one = request ? whole("200 OK", "", request) : jl_strdup("");
    const struct play plays[] = {
        {.path = "/v1/models", .bytes = models},
        {.path = "/joulet/health", .bytes = health},
        {.path = "/joulet/requests/0123456789abcdef", .bytes = one, .then = request ? THEN_KEEP : THEN_CLOSE},
        {.path = "/v1/chat/completions", .bytes = stream, .then = THEN_CLOSE},
        {.bytes = other}};
    struct upstream *u = upstream_start(plays, JL_COUNT(plays));
    *p = (struct program){.env = NULL};
    program_run(p, ARGS("run", "--engine", upstream_url(u), "--json", "hi"));
    upstream_stop(u);
    free(models);
    free(health);
    free(other);
    free(one);
    return record_of(p);
}

static void servers_that_fail(void **state)
{
    static const struct {
        const char *name, *stream, *request;
        double net_j;
        const char *say;
    } rows[] = {
        {"the server ended after its answer", STREAM PIECE END(PROVISIONAL), NULL, 1.5, "stays provisional"},
        {"it forgot the request", STREAM PIECE END(PROVISIONAL), "[]", 1.5, "\"provisional\""},
        {"no energy in the answer, none later", STREAM PIECE END(""), NULL, NAN, "does not tell its energy"},
        {"no energy in the answer, but later", STREAM PIECE END(""),
         "{\"energy\":{\"net_j\":4,\"gross_j\":5,\"provenance\":\"measured\"}}", 4, "\"measured_at\""},
        {"an energy that cannot be", STREAM PIECE END(""),
         "{\"energy\":{\"net_j\":-7,\"gross_j\":-5,\"provenance\":\"measured\"}}", NAN, "sent an energy that cannot be"},
        {"figures as text", STREAM PIECE END(""),
         "{\"energy\":{\"net_j\":\"NaN\",\"gross_j\":\"Infinity\",\"provenance\":\"measured\"}}", NAN,
         "sent an energy that cannot be"},
        {"drawn elsewhere", STREAM PIECE END(""),
         "{\"energy\":{\"net_j\":null,\"gross_j\":null,\"provenance\":\"measured\",\"flags\":[\"drawn elsewhere\"]}}", NAN,
         "does not measure what this engine draws"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct program p;
        json_t *run = run_at(rows[i].stream, rows[i].request, &p);
        double net_j = total(run, "net_j");
        if (!(net_j == rows[i].net_j || (isnan(net_j) && isnan(rows[i].net_j))))
            fail_msg("%s: %g J", rows[i].name, net_j);
        must_say(kept(&p.out), rows[i].say);
        must_say(kept(&p.out), "\"hi\"");
        json_decref(run);
        program_release(&p);
    }
}

/* ---- tail -------------------------------------------------------------------------------------------------------- */

static void run_once(const char *at, const char *model, const char *n)
{
    struct program p = {.env = NULL};
    program_run(&p, ARGS("run", "--engine", at, "--token", "a-long-token", "-m", model, "-n", n, "one two"));
    assert_int_equal(p.code, CLI_DONE);
    program_release(&p);
}

static void lines_as_requests_end(void **state)
{
    (void)state;
    struct program text = {.env = NULL}, json = {.env = NULL}, other = {.env = NULL};
    program_start(&text, ARGS("tail", "--url", url, "--token", "a-long-token"));
    run_once(url, "sim-model", "11");
    program_until_out(&text, " 11 ");
    program_start(&json, ARGS("tail", "--url", url, "--token", "a-long-token", "--json", "-n", "1"));
    program_start(&other, ARGS("tail", "--url", url, "--token", "a-long-token", "--model", "no-such*"));
    program_until_out(&json, "\n"); /* the last one there was */
    run_once(url, "sim-model", "12");
    program_until_out(&text, " 12 ");
    must_say(kept(&text.out), " J ");
    program_until_out(&json, "\"generated\":12,");
    assert_null(strstr(kept(&json.out), "\"provisional\":true"));
    kill(text.pid, SIGINT);
    kill(json.pid, SIGTERM);
    kill(other.pid, SIGINT);
    program_end(&text);
    program_end(&json);
    program_end(&other);
    assert_int_equal(text.code, 130);
    must_say(kept(&text.err), "2 requests, ");
    must_say(kept(&text.err), " above idle");
    assert_string_equal(kept(&other.out), "");
    must_say(kept(&other.err), "0 requests, 0 tokens in, 0 out");
    char *line = strdup(kept(&json.out));
    for (char *at = line, *end; (end = strchr(at, '\n')); at = end + 1) { /* each line is an object */
        json_t *o = json_loadb(at, (size_t)(end - at), 0, NULL);
        assert_true(json_is_object(o));
        json_decref(o);
    }
    free(line);
    program_release(&text);
    program_release(&json);
    program_release(&other);
}

/* The server ends and another one begins at its port: one sentence for each, and what comes then is shown. */
static void a_server_that_comes_back(void **state)
{
    struct program first = {0}, second = {0}, p = {0};
    char at[64];
    (void)state;
    const char *const args[] = {"serve", "--listen", "127.0.0.1:0", "--upstream", upstream_at, "--sim", "5", NULL};
    serve(&first, at, sizeof at, args);
    program_start(&p, ARGS("tail", "--url", at));
    run_once(at, "sim-model", "3");
    program_until_out(&p, " 3 ");
    kill(first.pid, SIGTERM);
    program_end(&first);
    program_until_err(&p, "went away");
    const char *const again[] = {"serve", "--listen", at + strlen("http://"), "--upstream", upstream_at, "--sim", "5", NULL};
    program_start(&second, again);
    program_until_out(&second, " -> ");
    program_until_err(&p, "is back");
    run_once(at, "sim-model", "4");
    program_until_out(&p, " 4 ");
    kill(p.pid, SIGINT);
    program_end(&p);
    must_say(kept(&p.err), "2 requests");
    kill(second.pid, SIGTERM);
    program_end(&second);
    program_release(&first);
    program_release(&second);
    program_release(&p);
}

static void tail_of_what_is_no_server(void **state)
{
    (void)state;
    char *page = whole("200 OK", "", "{\"requests\":[]}"),
         *nothing = whole("404 Not Found", "", "{\"error\":{\"message\":\"not\\u001b[2Jhere\"}}");
    const struct play plays[][1] = {{{.bytes = page}}, {{.bytes = nothing}}};
    static const char *const say[] = {"tells no requests as they go", "tells no requests (HTTP 404): not [2Jhere"};
    for (size_t i = 0; i < JL_COUNT(plays); i++) {
        struct upstream *u = upstream_start(plays[i], 1);
        struct program p = {.env = NULL};
        program_run(&p, ARGS("tail", "--url", upstream_url(u)));
        assert_int_equal(p.code, CLI_ENGINE);
        must_say(kept(&p.err), say[i]);
        program_release(&p);
        upstream_stop(u);
    }
    struct program p = {.env = NULL};
    program_run(&p, ARGS("tail", "--url", "127.0.0.1:1"));
    assert_int_equal(p.code, CLI_ENGINE);
    must_say(kept(&p.err), "no joulet server answers at http://127.0.0.1:1");
    program_release(&p);
    free(page);
    free(nothing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_as_requests_end), /* first: requests of before end when they are final */
        cmocka_unit_test(a_run_has_the_energy_of_the_server),
        cmocka_unit_test(every_request_of_a_plan),
        cmocka_unit_test(named_sensors_win),
        cmocka_unit_test(tokens),
        cmocka_unit_test(servers_that_fail),
        cmocka_unit_test(a_server_that_comes_back),
        cmocka_unit_test(tail_of_what_is_no_server),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
