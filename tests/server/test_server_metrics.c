/* test_server_metrics.c - the page for Prometheus: promtool finds nothing wrong with it whatever names clients invent, counters
 * never fall, series are bounded, and the port of its own answers nothing else and nobody else. */
#include "tests/cli/test.h"

#include "lib/platform/platform.h"
#include "report/prometheus.h"
#include "server/tallies.h"
#include "tests/server/metered.h"
#include "tests/sim_engine/sim_engine.h"

#include <arpa/inet.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TOKEN "long-enough"

static const char *promtool(void)
{
    if (access(PROMTOOL, X_OK) == 0)
        return PROMTOOL;
    return system("promtool --version >/dev/null 2>&1") == 0 ? "promtool" : NULL;
}

static void must_please_promtool(const char *page)
{
    char *command = jl_strf("%s check metrics", promtool());
    FILE *f = popen(command, "w");
    assert_non_null(f);
    fputs(page, f);
    int status = pclose(f);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) /* 3: it parses, but breaks a rule */
        fail_msg("promtool ends with %d", WEXITSTATUS(status));
    free(command);
}

/* The sample whose name and labels these are; NAN: there is none. */
static double sample(const char *page, const char *series)
{
    size_t n = strlen(series);
    for (const char *p = page; p; p = strchr(p, '\n')) {
        p += *p == '\n';
        if (strncmp(p, series, n) == 0 && p[n] == ' ')
            return strtod(p + n + 1, NULL);
    }
    return NAN;
}

static size_t lines_with(const char *page, const char *begin)
{
    size_t n = 0;
    for (const char *p = page; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
        n += strncmp(p, begin, strlen(begin)) == 0;
    return n;
}

/* ---- the form -------------------------------------------------------------------------------------------------------------- */

static void whatever_labels_hold(void **state)
{
    static const struct {
        const char *value, *want;
    } rows[] = {{"llama3.2:1b", "x{m=\"llama3.2:1b\"} 1\n"},
                {"a\"b\\c\nd", "x{m=\"a\\\"b\\\\c\\nd\"} 1\n"},
                {"\xff\xfe", "x{m=\"\xef\xbf\xbd\xef\xbf\xbd\"} 1\n"},
                {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "x{m=\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"} 1\n"},
                {"\xc0\xaf", "x{m=\"\xef\xbf\xbd\xef\xbf\xbd\"} 1\n"},                 /* overlong */
                {"\xe2\x82", "x{m=\"\xef\xbf\xbd\xef\xbf\xbd\"} 1\n"},                 /* cut */
                {"\xed\xa0\x80", "x{m=\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"} 1\n"}, /* a surrogate */
                {NULL, "x{m=\"\"} 1\n"}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct jl_buf out;
        jl_buf_init(&out, 1 << 16);
        prometheus_sample(&out, "x", &(struct prometheus_label){"m", rows[i].value}, 1, 1);
        assert_string_equal(out.data, rows[i].want);
        jl_buf_release(&out);
    }
    struct jl_buf out;
    jl_buf_init(&out, 1 << 16);
    jl_buf_str(&out, "");
    prometheus_sample(&out, "x", NULL, 0, NAN);
    assert_string_equal(out.data, "");
    prometheus_histogram(&out, "h", NULL, 0, (const double[]){0.5, 2}, 2, (const uint64_t[]){1, 0, 2}, 7.25);
    assert_string_equal(out.data,
                        "h_bucket{le=\"0.5\"} 1\nh_bucket{le=\"2\"} 1\nh_bucket{le=\"+Inf\"} 3\nh_sum 7.25\nh_count 3\n");
    jl_buf_release(&out);
}

/* ---- the page ---------------------------------------------------------------------------------------------------- */

struct metrics {
    struct metered_server s;
    struct sim_engine *engine;
    char curve[64];
};

static void start(struct metrics *m, const struct server_options *more)
{
    struct sim_config c;
    struct joulet_error err;
    struct server_options o = more ? *more : (struct server_options){0};
    snprintf(m->curve, sizeof m->curve, "/tmp/joulet-metrics-%d", (int)getpid());
    sim_config_init(&c);
    c.curve = m->curve;
    m->engine = sim_engine_start(&c, &err);
    assert_non_null(m->engine);
    open_metering(&m->s, "40");
    snprintf(m->s.url, sizeof m->s.url, "http://127.0.0.1:%d", sim_engine_port(m->engine));
    m->s.to.url = m->s.url;
    o.listen = "127.0.0.1:0";
    o.upstreams = &m->s.to;
    o.n_upstreams = 1;
    o.metering = m->s.metering;
    o.api.meter = m->s.meter;
    assert_int_equal(server_open(&m->s.server, &o, &err), JOULET_OK);
}

static void stop(struct metrics *m)
{
    close_metering(&m->s);
    sim_engine_stop(m->engine);
    unlink(m->curve);
}

static char *page_of(const struct server *s)
{
    struct answer a;
    ask(s, "GET /joulet/metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", &a);
    assert_int_equal(a.status, 200);
    char *type = answer_header(&a, "Content-Type"), *page = jl_strdup(a.body);
    assert_string_equal(type, PROMETHEUS_TYPE);
    free(type);
    answer_release(&a);
    return page;
}

static void ask_model(const struct metrics *m, const char *model)
{
    char *body = jl_strf("{\"model\":\"%s\",\"prompt\":\"a b c\",\"n_predict\":5}", model), *request = post("/completion", body);
    ask_one(&(struct asker){.server = m->s.server, .request = request});
    free(request);
    free(body);
}

/* Every sample of a counter, and of the parts of a histogram, is in the later page and not below. */
static void must_not_fall(const char *before, const char *after)
{
    char *page = jl_strdup(before), *rest = page, *line;
    size_t n = 0;
    while ((line = strsep(&rest, "\n"))) {
        char *value = strrchr(line, ' ');
        if (*line == '#' || !value)
            continue;
        *value = '\0';
        size_t name = strcspn(line, "{");
        bool counter = (name > 6 && strncmp(line + name - 6, "_total", 6) == 0) || strstr(line, "_bucket{") ||
                       (name > 4 && strncmp(line + name - 4, "_sum", 4) == 0);
        if (!counter)
            continue;
        if (!(sample(after, line) >= strtod(value + 1, NULL)))
            fail_msg("%s fell from %s to %g", line, value + 1, sample(after, line));
        n++;
    }
    assert_true(n > 5);
    free(page);
}

static void requests_are_counted(void **state)
{
    struct metrics m;
    (void)state;
    start(&m, NULL);
    jl_sleep_until(jl_mono_ns() + QUIET_NS);
    char *before = page_of(m.s.server), *after = before;
    for (size_t i = 1; i <= 3; i++) {
        ask_model(&m, "llama \\u00e4 \\\"q\\\"");
        json_decref(settled(m.s.server, (double)i));
        after = page_of(m.s.server);
        if (promtool())
            must_please_promtool(after);
        must_not_fall(before, after);
        free(before);
        before = after;
    }
    char labels[200], series[300];
    snprintf(labels, sizeof labels, "{upstream=\"%s\",model=\"llama \xc3\xa4 \\\"q\\\"\",protocol=\"llama.cpp\"}", m.s.url);
    snprintf(series, sizeof series, "joulet_requests_total%s", labels);
    assert_true(sample(after, series) == 3);
    snprintf(series, sizeof series, "joulet_generated_tokens_total%s", labels);
    assert_true(sample(after, series) == 15);
    snprintf(series, sizeof series, "joulet_requests_gross_energy_joules_total%s", labels);
    assert_true(sample(after, series) > 0);
    double phases_j = 0, gross_j = sample(after, series);
    static const char *const names[] = {"load", "prefill", "decode"};
    for (size_t i = 0; i < JL_COUNT(names); i++) {
        char *phase =
            jl_strf("joulet_phase_gross_energy_joules_total%.*s,phase=\"%s\"}", (int)strlen(labels) - 1, labels, names[i]);
        assert_true(i == 0 ? sample(after, phase) == 0 : sample(after, phase) > 0);
        phases_j += sample(after, phase);
        free(phase);
    }
    assert_true(fabs(phases_j - gross_j) <= 1e-6 * gross_j);
    assert_true(sample(after, "joulet_request_duration_seconds_count{model=\"llama \xc3\xa4 \\\"q\\\"\"}") == 3);
    assert_true(sample(after, "joulet_exchanges_total") == 3);
    assert_true(sample(after, "process_open_fds") > 3);
    static const char power[] =
        "joulet_power_watts{channel=\"sim0.cpu\",sensor=\"sim\",group=\"cpu\",provenance=\"simulated\",in_total=\"1\"}";
    assert_true(fabs(sample(after, power) - 40) < 4);
    static const char accounts[] =
        "joulet_device_energy_joules_total{device=\"sim0.cpu\",provenance=\"simulated\",account=\"vacant\"}";
    assert_true(sample(after, accounts) > 0);
    free(after);
    stop(&m);
}

/* Ten thousand models and as many clients: the page stays short, and nothing is lost in sum. */
static void names_are_bounded(void **state)
{
    enum { MANY = 10000 };
    struct metrics m;
    static const struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;
    (void)state;
    start(&m, NULL);
    for (int i = 0; i < MANY; i++) {
        char model[40], client[40];
        snprintf(model, sizeof model, "m\"\\\n\xff%d", i);
        snprintf(client, sizeof client, "tag:%d", i);
        struct accounts_entry e = {
            .upstream = m.s.url, .model = model, .protocol = "openai", .client = client, .kind = "inference", .energy = unknown};
        e.tokens = (struct run_tokens){.prompt = 2, .cached = -1, .generated = 3, .reasoning = -1};
        e.duration_s = e.prefill_s = e.decode_s = 0.5;
        accounts_add(metering_accounts(m.s.metering), &e);
    }
    char *page = page_of(m.s.server);
    if (promtool())
        must_please_promtool(page);
    assert_true(lines_with(page, "joulet_requests_total{") <= ACCOUNTS_ROWS);
    assert_true(lines_with(page, "joulet_client_requests_total{") <= ACCOUNTS_CLIENTS + 1);
    assert_true(strlen(page) < 4 << 20);
    double sum = 0;
    for (const char *p = page; (p = strstr(p, "\njoulet_requests_total{")); p++)
        sum += strtod(strstr(p, "\"} ") + 3, NULL);
    assert_true(sum == MANY);
    free(page);
    stop(&m);
    struct tallies *t = tallies_open();
    struct jl_buf out;
    jl_buf_init(&out, 4 << 20);
    for (int i = 0; i < MANY; i++) {
        char model[40];
        snprintf(model, sizeof model, "m\"\\\n\xff%d", i);
        tallies_add(t, model, (const double[TALLIES]){0.3, 1e9, -2, NAN});
    }
    tallies_write(t, &out);
    assert_false(out.failed);
    assert_int_equal(lines_with(out.data, "joulet_request_duration_seconds_count{"), TALLIES_MODELS + 1);
    assert_true(sample(out.data, "joulet_request_duration_seconds_bucket{model=\"other\",le=\"300\"}") == 0);
    assert_true(sample(out.data, "joulet_request_duration_seconds_count{model=\"other\"}") == MANY - TALLIES_MODELS);
    assert_true(sample(out.data, "joulet_request_energy_joules_sum{model=\"other\"}") == 0);
    if (promtool())
        must_please_promtool(out.data);
    jl_buf_release(&out);
    tallies_close(t);
}

/* ---- the port of its own ----------------------------------------------------------------------------------------- */

static int status_at(const char *address, const char *request)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct answer got;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    a.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    client_say(fd, request);
    client_read(fd, &got, false);
    close(fd);
    int status = got.status;
    assert_true((status == 200) == (got.body && strstr(got.body, "joulet_build_info{") != NULL));
    answer_release(&got);
    return status;
}

static void the_port_of_its_own(void **state)
{
    static const struct {
        const char *request;
        int closed, open; /* status with a token asked for, and with --metrics-open */
    } rows[] = {
        {"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 401, 200},
        {"GET /metrics?x=y HTTP/1.1\r\nHost: localhost:9\r\nX-Joulet-Token: " TOKEN "\r\n\r\n", 200, 200},
        {"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " TOKEN "\r\n\r\n", 200, 200},
        {"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer wrong\r\n\r\n", 401, 200},
        {"GET /joulet/t/" TOKEN "/metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 200, 200},
        {"GET /metrics HTTP/1.1\r\nHost: evil.example\r\nX-Joulet-Token: " TOKEN "\r\n\r\n", 403, 403},
        {"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil.example\r\nX-Joulet-Token: " TOKEN "\r\n\r\n", 403,
         403},
        {"GET /joulet/metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Joulet-Token: " TOKEN "\r\n\r\n", 404, 404},
        {"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Joulet-Token: " TOKEN "\r\n\r\n", 404, 404},
        {"GET /metricsx HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Joulet-Token: " TOKEN "\r\n\r\n", 404, 404},
        {"POST /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Joulet-Token: " TOKEN "\r\nContent-Length: 0\r\n\r\n", 405, 405},
    };
    (void)state;
    for (int open = 0; open <= 1; open++) {
        struct metrics m;
        start(&m, &(struct server_options){.token = TOKEN, .metrics_listen = "127.0.0.1:0", .metrics_open = open});
        for (size_t i = 0; i < JL_COUNT(rows); i++) {
            int status = status_at(server_metrics_address(m.s.server), rows[i].request),
                want = open ? rows[i].open : rows[i].closed;
            if (status != want)
                fail_msg("row %zu: %d, not %d", i, status, want);
        }
        stop(&m);
    }
}

/* Off loopback it wants a token, and a word about the network. */
static void the_port_off_loopback(void **state)
{
    static const struct {
        struct server_options o;
        const char *says;
    } rows[] = {{{.metrics_listen = "0.0.0.0:0"}, "metrics on 0.0.0.0:0 can be read from other machines"},
                {{.metrics_listen = "0.0.0.0:0", .token = TOKEN}, "the token for metrics would cross the network unencrypted"},
                {{.metrics_listen = "0.0.0.0:0", .token = TOKEN, .insecure_http = true}, NULL},
                {{.metrics_listen = "0.0.0.0:0", .metrics_open = true}, NULL}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct server_upstream to = {.url = "http://127.0.0.1:9"};
        struct server_options o = rows[i].o, without = rows[i].o;
        struct server *s;
        struct joulet_error err;
        o.listen = "127.0.0.1:0";
        o.upstreams = &to;
        o.n_upstreams = 1;
        enum joulet_status status = server_open(&s, &o, &err);
        assert_int_equal(status, rows[i].says ? JOULET_USAGE : JOULET_OK);
        if (rows[i].says) {
            assert_non_null(strstr(err.message, rows[i].says));
            continue;
        }
        /* Nor does it lose its token while it serves. */
        without = o;
        without.token = NULL;
        assert_int_equal(server_reload(s, &without, &err), o.metrics_open ? JOULET_OK : JOULET_USAGE);
        server_close(s);
    }
}

/* Last, so that a missing promtool is told as skipped, and the rest is tested all the same. */
static void promtool_was_there(void **state)
{
    (void)state;
    if (!promtool())
        fprintf(stderr, "promtool is missing, so that the form of the metrics was not checked: tools/setup check gets it\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(whatever_labels_hold),  cmocka_unit_test(requests_are_counted),
                                       cmocka_unit_test(names_are_bounded),     cmocka_unit_test(the_port_of_its_own),
                                       cmocka_unit_test(the_port_off_loopback), cmocka_unit_test(promtool_was_there)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed ? failed : promtool() ? 0 : 77;
}
