/* test_cli_chain.c - one joulet server in front of another one, in front of a simulated engine: the figures are those of the
 * inner one, wherever either of them puts them, and nobody can build a ring (docs/proxy.md). */
#include "cli/cli.h"
#include "tests/cli/program.h"
#include "tests/server/upstream.h"
#include "tests/sim_engine/sim_engine.h"

#include <jansson.h>
#include <math.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TOKEN "a-token-of-the-inner-one"
#define CHAT  "{\"messages\":[{\"role\":\"user\",\"content\":\"a b c d\"}],\"max_tokens\":10%s}"

struct serving {
    struct program p;
    char *url; /* where it listens */
};

static void start(struct serving *s, const char *const *args)
{
    s->p = (struct program){0};
    program_start(&s->p, args);
    program_until_out(&s->p, "measures");
    s->url = strndup(kept(&s->p.out), strcspn(kept(&s->p.out), " "));
}

static void stop(struct serving *s)
{
    program_stop(&s->p);
    free(s->url);
}

static char *curl(const char *url, const char *rest)
{
    char bytes[4096], *command = jl_strf("curl --noproxy '*' --max-time 60 -s -i %s%s", url, rest);
    struct jl_buf out;
    FILE *f = popen(command, "r");
    assert_non_null(f);
    jl_buf_init(&out, 1 << 20);
    jl_buf_str(&out, "");
    for (size_t n; (n = fread(bytes, 1, sizeof bytes, f)) > 0;)
        jl_buf_add(&out, bytes, n);
    pclose(f);
    free(command);
    return out.data;
}

static json_t *page(const char *url, const char *rest)
{
    char *text = curl(url, rest), *body = strstr(text, "\r\n\r\n");
    json_t *root = json_loads(body ? body : "", 0, NULL);
    assert_non_null(root);
    free(text);
    return root;
}

static size_t count(const char *text, const char *part)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at++)
        n++;
    return n;
}

static char *id_of(const char *answer)
{
    const char *at = strstr(answer, "X-Joulet-Request: ");
    assert_non_null(at);
    return strndup(at + 18, 16);
}

/* The record once its figures are final. */
static json_t *settled(const char *url, const char *id)
{
    char *path = jl_strf("/joulet/requests/%s", id);
    json_t *r = page(url, path);
    for (int i = 0; i < 3000 && !json_is_false(json_object_get(json_object_get(r, "energy"), "provisional")); i++) {
        usleep(50000);
        json_decref(r);
        r = page(url, path);
    }
    free(path);
    return r;
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

/* ---- figures ----------------------------------------------------------------------------------------------------- */

static const char *const inner_args[][2] = {{"--inject", "energy"}, {"--inject", "usage"}, {"--no-inject", NULL}};
static const struct {
    size_t inner;
    const char *args[2];
    size_t energies; /* objects in an answer */
    bool in_usage;   /* of one in one piece */
} rows[] = {
    {0, {"--inject", "energy"}, 1, false}, {1, {"--inject", "energy"}, 1, false}, {2, {"--inject", "energy"}, 1, false},
    {0, {"--inject", "usage"}, 1, true},   {2, {"--inject", "usage"}, 1, true},   {0, {"--no-inject", NULL}, 0, false},
};

static void same_figure(const json_t *outer, const json_t *inner, const char *key)
{
    double a = json_number_value(json_object_get(outer, key)), b = json_number_value(json_object_get(inner, key));
    assert_true(json_is_number(json_object_get(outer, key)));
    if (!(fabs(a - b) <= 1e-7 * fabs(b))) /* nine digits are written */
        fail_msg("%s: %.10g is not %.10g", key, a, b);
}

/* What was asked, and is to be settled once all of them were. */
struct asked {
    char *id;
    size_t row;
};

static struct asked one_answer(const struct serving *outer, const struct serving *inner, size_t row, bool streams)
{
    char *rest = jl_strf("/v1/chat/completions -d '" CHAT "'", streams ? ",\"stream\":true" : "");
    char *answer = curl(outer->url, rest), *source = jl_strf("\"source\":\"%s\"", inner->url);
    struct asked a = {id_of(answer), row};
    assert_int_equal(count(answer, "X-Joulet-Request"), 1);
    assert_int_equal(count(answer, "\"energy\":"), rows[row].energies);
    assert_int_equal(count(answer, source), rows[row].energies);
    if (!streams && rows[row].energies) {
        json_t *body = json_loads(strstr(answer, "\r\n\r\n"), 0, NULL);
        const json_t *in = rows[row].in_usage ? json_object_get(body, "usage") : body;
        assert_non_null(json_object_get(in, "energy"));
        json_decref(body);
    }
    free(rest);
    free(answer);
    free(source);
    return a;
}

static void one_figure(const struct serving *outer, const struct serving *inner, const struct asked *a)
{
    char *with_token = jl_strf("%s/joulet/t/" TOKEN, inner->url);
    json_t *out_record = settled(outer->url, a->id), *in_record = settled(with_token, text_of(out_record, "upstream_id"));
    const json_t *out_energy = json_object_get(out_record, "energy"), *in_energy = json_object_get(in_record, "energy");
    assert_string_not_equal(a->id, text_of(out_record, "upstream_id"));
    assert_true(json_is_false(json_object_get(out_energy, "provisional")));
    same_figure(out_energy, in_energy, "net_j");
    same_figure(out_energy, in_energy, "gross_j");
    assert_true(json_is_number(json_object_get(out_energy, "net_pm_j"))); /* the doubt of the idle level goes on falling there */
    assert_true(json_equal(json_object_get(out_energy, "flags"), json_object_get(in_energy, "flags")));
    assert_string_equal(text_of(out_energy, "provenance"), "simulated");
    assert_string_equal(text_of(out_energy, "source"), inner->url);
    assert_null(json_object_get(in_energy, "source"));
    assert_int_equal(json_array_size(json_object_get(out_record, "devices")), 0);
    json_decref(out_record);
    json_decref(in_record);
    free(with_token);
}

/* Nothing of it is charged to the devices of the outer one. */
static void nothing_is_charged(const struct serving *s)
{
    json_t *all = page(s->url, "/joulet/energy");
    const json_t *total = json_object_get(all, "total");
    assert_true(json_number_value(json_object_get(total, "requests_j")) == 0);
    assert_true(json_number_value(json_object_get(total, "idle_shares_j")) == 0);
    json_decref(all);
}

static void figures_are_those_of_the_inner_one(void **state)
{
    struct serving inner[JL_COUNT(inner_args)], outer[JL_COUNT(rows)];
    struct asked asked[2 * JL_COUNT(rows)];
    size_t n = 0;
    struct joulet_error err;
    struct sim_config c;
    char engine[64];
    const char *curve = scratch("chain.curve");
    char *sim = jl_strf("follow:%s", curve);
    (void)state;
    sim_config_init(&c);
    c.curve = curve;
    struct sim_engine *e = sim_engine_start(&c, &err);
    assert_non_null(e);
    snprintf(engine, sizeof engine, "http://127.0.0.1:%d", sim_engine_port(e));
    for (size_t i = 0; i < JL_COUNT(inner); i++)
        start(&inner[i], ARGS("serve", "--no-store", "--listen", "127.0.0.1:0", "--upstream", engine, "--sim", sim, "--token",
                              TOKEN, inner_args[i][0], inner_args[i][1]));
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        char *to = jl_strf("%s/joulet/t/" TOKEN, inner[rows[i].inner].url);
        start(&outer[i], ARGS("serve", "--no-store", "--listen", "127.0.0.1:0", "--upstream", to, "--sim", "55", rows[i].args[0],
                              rows[i].args[1]));
        must_say(kept(&outer[i].p.out), "whose figures are taken");
        assert_null(strstr(kept(&outer[i].p.out), TOKEN));
        free(to);
    }
    for (size_t i = 0; i < JL_COUNT(inner); i++) {
        char *base = jl_strf("%s/joulet/t/" TOKEN, inner[i].url);
        program_until_level(base);
        free(base);
    }
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        for (int streams = 0; streams < 2; streams++)
            asked[n++] = one_answer(&outer[i], &inner[rows[i].inner], i, streams);
    for (size_t i = 0; i < n; i++) {
        one_figure(&outer[asked[i].row], &inner[rows[asked[i].row].inner], &asked[i]);
        free(asked[i].id);
    }
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        nothing_is_charged(&outer[i]);
        stop(&outer[i]);
    }
    for (size_t i = 0; i < JL_COUNT(inner); i++)
        stop(&inner[i]);
    sim_engine_stop(e);
    free(sim);
}

/* ---- rings ------------------------------------------------------------------------------------------------------- */

static void rings_are_refused(void **state)
{
    struct serving a, b;
    struct program self = {0};
    char *at[2], *url[2];
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        int port = free_port();
        at[i] = jl_strf("127.0.0.1:%d", port);
        url[i] = jl_strf("http://127.0.0.1:%d", port);
    }
    program_run(&self, ARGS("serve", "--no-store", "--sim", "5", "--listen", at[0], "--upstream", url[0]));
    assert_int_equal(self.code, CLI_USAGE);
    must_say(kept(&self.err), "leads back to this server: name the engine itself with --upstream");
    assert_string_equal(kept(&self.out), "");
    start(&a, ARGS("serve", "--no-store", "--sim", "5", "--listen", at[0], "--upstream", url[1]));
    start(&b, ARGS("serve", "--no-store", "--sim", "5", "--listen", at[1], "--upstream", url[0]));
    for (int i = 0; i < 2; i++) {
        char *answer = curl(i ? a.url : b.url, "/v1/chat/completions -d '{}'");
        must_say(answer, " 508 ");
        must_say(answer, "an upstream leads back to this server");
        free(answer);
    }
    stop(&a);
    stop(&b);
    program_release(&self);
    for (size_t i = 0; i < 2; i++) {
        free(at[i]);
        free(url[i]);
    }
}

/* ---- later ------------------------------------------------------------------------------------------------------- */

/* It was not there at the start, and is known by its answers. */
static void an_inner_one_that_comes_later(void **state)
{
    struct serving inner, outer;
    struct joulet_error err;
    struct sim_config c;
    char engine[64];
    bool taken = false;
    int port = free_port();
    char *at = jl_strf("127.0.0.1:%d", port), *url = jl_strf("http://127.0.0.1:%d", port);
    (void)state;
    sim_config_init(&c);
    struct sim_engine *e = sim_engine_start(&c, &err);
    assert_non_null(e);
    snprintf(engine, sizeof engine, "http://127.0.0.1:%d", sim_engine_port(e));
    start(&outer, ARGS("serve", "--no-store", "--listen", "127.0.0.1:0", "--upstream", url, "--sim", "55"));
    assert_null(strstr(kept(&outer.p.out), "(joulet"));
    start(&inner, ARGS("serve", "--no-store", "--listen", at, "--upstream", engine, "--sim", "20"));
    for (int i = 0; i < 3000 && !taken; i++) {
        char *answer = curl(outer.url, "/completion -d '{\"prompt\":\"a b\",\"n_predict\":2}'"), *id = id_of(answer);
        char *path = jl_strf("/joulet/requests/%s", id);
        json_t *r = page(outer.url, path);
        taken = strcmp(text_of(json_object_get(r, "energy"), "source"), inner.url) == 0;
        assert_int_equal(count(answer, "\"energy\":"), 1);
        usleep(100000);
        json_decref(r);
        free(path);
        free(answer);
        free(id);
    }
    assert_true(taken);
    stop(&outer);
    stop(&inner);
    sim_engine_stop(e);
    free(at);
    free(url);
}

/* ---- one that knows nothing of it -------------------------------------------------------------------------------- */

static char *whole(const char *status, const char *body)
{
    return jl_strf("HTTP/1.1 %s\r\nContent-Type: application/json\r\nX-Joulet-Request: 0123456789abcdef\r\n"
                   "Content-Length: %zu\r\n\r\n%s",
                   status, strlen(body), body);
}

static size_t asked_for(struct upstream *u, const char *path)
{
    size_t n = 0;
    for (size_t i = 0; i < upstream_requests(u); i++) {
        char *text = upstream_request(u, i);
        n += strstr(text, path) != NULL;
        free(text);
    }
    return n;
}

/* Seconds in which it did not come to answer are none in which it could have known it. */
static void one_that_is_late_is_asked_again(void **state)
{
    struct serving outer;
    char *health = whole("200 OK", "{\"status\":\"ok\",\"version\":\"0.0.9\",\"meters\":true,\"upstreams\":[]}"),
         *other = whole("404 Not Found", "{}"),
         *done = whole("200 OK",
                       "{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":\"a\"},\"finish_reason\":\"stop\"}]}");
    const struct play plays[] = {{.path = "/joulet/health", .bytes = health},
                                 {.path = "/joulet/requests/0123456789abcdef", .bytes = other, .cut = 1, .pause_ms = 1500},
                                 {.path = "/v1/chat/completions", .bytes = done},
                                 {.bytes = other}};
    struct upstream *u = upstream_start(plays, JL_COUNT(plays));
    (void)state;
    start(&outer, ARGS("serve", "--no-store", "--listen", "127.0.0.1:0", "--upstream", upstream_url(u), "--sim", "55"));
    char *rest = jl_strf("/v1/chat/completions -d '" CHAT "'", ""), *answer = curl(outer.url, rest), *id = id_of(answer);
    json_t *r = settled(outer.url, id);
    assert_true(json_is_false(json_object_get(json_object_get(r, "energy"), "provisional")));
    assert_true(json_is_null(json_object_get(json_object_get(r, "energy"), "gross_j")));
    assert_in_range(asked_for(u, "GET /joulet/requests/0123456789abcdef "), 4, 40);
    json_decref(r);
    stop(&outer);
    upstream_stop(u);
    free(health);
    free(other);
    free(done);
    free(rest);
    free(answer);
    free(id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(figures_are_those_of_the_inner_one), cmocka_unit_test(rings_are_refused),
                                       cmocka_unit_test(an_inner_one_that_comes_later),
                                       cmocka_unit_test(one_that_is_late_is_asked_again)};
    if (system("curl --version >/dev/null 2>&1") != 0)
        return 77;
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
