/* The API below /joulet/ (docs/proxy-api.md): what may be asked and by whom, pages and filters of requests, streams and their
 * ends. */
#include "lib/platform/platform.h"
#include "server/api.h"
#include "server/metering_private.h"
#include "tests/base/test.h"
#include "tests/server/metered.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER                                                                                                                   \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 107\r\n\r\n"                                           \
    "{\"choices\":[{\"message\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"x\":"          \
    "\"12345678\"}}"
#define HOST "Host: 127.0.0.1\r\n"

static const struct play plays[] = {{.path = "/v1/chat/completions", .bytes = ANSWER}};

/* ---- the query --------------------------------------------------------------------------------------------------- */

static void queries(void **state)
{
    static const struct {
        const char *text, *names, *name, *value; /* value NULL: refused */
    } rows[] = {
        {"limit=10", "limit model", "limit", "10"},
        {"model=a%2Fb%20c+d", "limit model", "model", "a/b c d"},
        {"model=%C3%BC", "model", "model", "\xc3\xbc"},
        {"&limit=1&", "limit", "limit", "1"},
        {"mo%64el=x", "model", "model", "x"},
        {"model=a=b", "model", "model", "a=b"},
        {"limit=1&limit=2", "limit", "limit", NULL},
        {"limit", "limit", "limit", NULL},
        {"limit=", "limit", "limit", NULL},
        {"=1", "limit", "limit", NULL},
        {"Limit=1", "limit", "limit", NULL},
        {"lim=1", "limit", "limit", NULL},
        {"limit+model=1", "limit model", "limit", NULL},
        {"model=%", "model", "model", NULL},
        {"model=%4", "model", "model", NULL},
        {"model=%4g", "model", "model", NULL},
        {"model=a%00b", "model", "model", NULL},
        {"model=a%0ab", "model", "model", NULL},
        {"model=%ff", "model", "model", NULL},
        {"model=%c0%af", "model", "model", NULL},
        {"model=%ed%a0%80", "model", "model", NULL},
        {"x=1", NULL, "x", NULL},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct api_query q;
        char why[200] = "";
        print_message("  %s\n", rows[i].text);
        bool ok = api_query_parse(&q, rows[i].text, rows[i].names, why, sizeof why);
        assert_int_equal(ok, rows[i].value != NULL);
        assert_int_equal(ok, why[0] == '\0');
        if (ok)
            assert_string_equal(api_query_get(&q, rows[i].name), rows[i].value);
    }
}

static void a_query_is_bounded(void **state)
{
    struct api_query q;
    struct jl_buf b;
    char why[200];
    (void)state;
    jl_buf_init(&b, 1 << 16);
    jl_buf_str(&b, "model=");
    for (size_t i = 0; i + 1 < API_VALUE_MAX; i++)
        jl_buf_str(&b, "x");
    assert_true(api_query_parse(&q, b.data, "model", why, sizeof why));
    jl_buf_str(&b, "x");
    assert_false(api_query_parse(&q, b.data, "model", why, sizeof why));
    jl_buf_release(&b);
}

static void routes(void **state)
{
    static const struct {
        const char *method, *path, *route, *name;
    } rows[] = {
        {"GET", "/joulet", "/joulet/", ""},
        {"HEAD", "/joulet/health", "/joulet/health", ""},
        {"GET", "/joulet/models/hf.co/a%2fb", "/joulet/models/{name}", "hf.co/a/b"},
        {"GET", "/joulet/models/a+b", "/joulet/models/{name}", "a+b"},
        {"GET", "/joulet/models/", NULL, ""},
        {"GET", "/joulet/models/%zz", NULL, ""},
        {"GET", "/joulet/runs/x/state", "/joulet/runs/{id}/state", "x"},
        {"POST", "/joulet/runs/x/stop", "/joulet/runs/{id}/stop", "x"},
        {"POST", "/joulet/runs", "/joulet/runs", ""},
        {"POST", "/joulet/runs/x", NULL, "x"},
        {"GET", "/joulet/healthy", NULL, ""},
        {"get", "/joulet/health", NULL, ""},
    };
    char name[API_NAME_MAX], allow[64];
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        const struct api_route *r =
            api_find(rows[i].method, rows[i].path, strlen(rows[i].path), name, sizeof name, allow, sizeof allow);
        print_message("  %s %s\n", rows[i].method, rows[i].path);
        assert_int_equal(r != NULL, rows[i].route != NULL);
        if (r)
            assert_string_equal(r->path, rows[i].route);
        assert_string_equal(name, rows[i].name);
    }
}

/* ---- who may ask what -------------------------------------------------------------------------------------------- */

static void what_is_refused(void **state)
{
    static const struct {
        const char *request;
        int status;
        const char *holds; /* in the head or the body */
    } rows[] = {
        {"GET /joulet/ HTTP/1.1\r\n" HOST "\r\n", 200, "Cache-Control: no-store"},
        {"GET /joulet HTTP/1.1\r\n" HOST "\r\n", 200, "joulet.index/1"},
        {"GET /joulet/nothing HTTP/1.1\r\n" HOST "\r\n", 404, "\"code\":\"not_found\""},
        {"GET /joulet/sensors HTTP/1.1\r\n" HOST "\r\n", 404, "not_measured"},
        {"GET /joulet/doctor HTTP/1.1\r\n" HOST "\r\n", 503, "unavailable"},
        {"DELETE /joulet/health HTTP/1.1\r\n" HOST "\r\n", 405, "Allow: GET, HEAD, OPTIONS"},
        {"GET /joulet/runs/x/stop HTTP/1.1\r\n" HOST "\r\n", 405, "Allow: POST, OPTIONS"},
        {"OPTIONS /joulet/runs HTTP/1.1\r\n" HOST "\r\n", 204, "Allow: GET, HEAD, POST, OPTIONS"},
        {"GET /joulet/health?x=1 HTTP/1.1\r\n" HOST "\r\n", 400, "bad_query"},
        {"GET /joulet/factors?search=%zz HTTP/1.1\r\n" HOST "\r\n", 400, "bad_query"},
        {"POST /joulet/runs HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\n{}", 415, "unsupported_media_type"},
        {"POST /joulet/runs HTTP/1.1\r\n" HOST "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}", 415,
         "application/json"},
        {"POST /joulet/runs/x/stop HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", 415, "unsupported_media_type"},
        {"POST /joulet/runs/x/stop HTTP/1.1\r\n" HOST
         "Content-Type: application/json; charset=utf-8\r\nContent-Length: 0\r\n\r\n",
         404, "not_found"},
        {"GET /joulet/health HTTP/1.1\r\n" HOST "Origin: http://evil.example\r\n\r\n", 403, "forbidden_origin"},
        {"GET /joulet/health HTTP/1.1\r\n" HOST "Origin: null\r\n\r\n", 403, "forbidden_origin"},
        {"POST /joulet/runs HTTP/1.1\r\n" HOST "Origin: http://evil.example\r\nContent-Type: application/json\r\nContent-Length: "
         "2\r\n\r\n{}",
         403, "forbidden_origin"},
        {"GET /joulet/health HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403, "\"code\":\"forbidden_host\""},
        {"GET /joulet/health HTTP/1.1\r\n" HOST "Origin: http://lab.example\r\n\r\n", 200,
         "Access-Control-Allow-Origin: http://lab.example"},
        {"OPTIONS /joulet/runs HTTP/1.1\r\n" HOST "Origin: http://lab.example\r\nAccess-Control-Request-Method: POST\r\n\r\n",
         204, "Access-Control-Allow-Methods: GET, HEAD, POST, OPTIONS"},
        {"GET /joulet/factors/DE HTTP/1.1\r\n" HOST "\r\n", 200, "joulet.factor/1"},
        {"GET /joulet/prompts/..%2f..%2fetc%2fpasswd HTTP/1.1\r\n" HOST "\r\n", 404, "not_found"},
        {"GET /joulet/sets/..%2f..%2fetc%2fpasswd HTTP/1.1\r\n" HOST "\r\n", 404, "not_found"},
    };
    static const char *const names[] = {"lab.example"};
    struct server_options o = {.allow_hosts = names, .n_allow_hosts = 1};
    struct front f;
    (void)state;
    front_start(&f, plays, JL_COUNT(plays), &o);
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct answer a;
        print_message("  %.60s\n", rows[i].request);
        ask(f.server, rows[i].request, &a);
        assert_int_equal(a.status, rows[i].status);
        assert_true(strstr(a.head, rows[i].holds) || (a.body && strstr(a.body, rows[i].holds)));
        answer_release(&a);
    }
    front_stop(&f);
}

/* Other names of this machine may ask, and their pages may not read. */
static void who_may_read(void **state)
{
    struct front f;
    struct answer a;
    (void)state;
    front_start(&f, plays, JL_COUNT(plays), NULL);
    ask(f.server, "GET /joulet/health HTTP/1.1\r\n" HOST "Origin: http://localhost:3000\r\n\r\n", &a);
    assert_int_equal(a.status, 200);
    assert_null(strstr(a.head, "Access-Control"));
    answer_release(&a);
    front_stop(&f);
}

static void long_bodies(void **state)
{
    struct front f;
    struct answer a;
    size_t n = API_BODY_MAX + 1;
    char *body = malloc(n + 1), *request;
    (void)state;
    memset(body, ' ', n);
    body[n] = '\0';
    request = post("/joulet/runs", body);
    front_start(&f, plays, JL_COUNT(plays), NULL);
    ask(f.server, request, &a);
    assert_int_equal(a.status, 413);
    answer_release(&a);
    front_stop(&f);
    free(request);
    free(body);
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

enum { ASKED = 7 };

static void ask_for(const struct server *s, const char *model)
{
    char *body = jl_strf("{\"model\":\"%s\",\"messages\":[]}", model), *request = post("/v1/chat/completions", body);
    struct answer a;
    ask(s, request, &a);
    assert_int_equal(a.status, 200);
    answer_release(&a);
    free(request);
    free(body);
}

static size_t count(const struct server *s, const char *query, json_t **page)
{
    char *target = jl_strf("/joulet/requests%s", query);
    *page = get(s, target, 200);
    free(target);
    return json_array_size(json_object_get(*page, "requests"));
}

static const char *text(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

static void filters(const struct server *s)
{
    static const struct {
        const char *query;
        size_t n;
    } rows[] = {
        {"", ASKED},
        {"?model=odd", 3},
        {"?model=even", 4},
        {"?model=o*", 3},
        {"?model=*", ASKED},
        {"?model=none", 0},
        {"?state=done", ASKED},
        {"?state=running", 0},
        {"?state=client%20gone", 0},
        {"?kind=inference&protocol=openai", ASKED},
        {"?kind=image", 0},
        {"?since=2026-01-01T00:00:00Z", ASKED},
        {"?until=2026-01-01T00:00:00Z", 0},
        {"?since=2199-01-01T00:00:00.5%2B01:00", 0},
        {"?limit=2&model=odd", 2},
        {"?session=none", 0},
        {"?client=addr:127.0.0.1", ASKED},
    };
    static const char *const wrong[] = {"?state=no", "?since=now",  "?since=2026-13-01T00:00:00Z",
                                        "?limit=0",  "?limit=5000", "?limit=x",
                                        "?before=x", "?after=-1",   "?follow=2"};
    json_t *page;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        print_message("  %s\n", rows[i].query);
        assert_int_equal(count(s, rows[i].query, &page), rows[i].n);
        json_decref(page);
    }
    for (size_t i = 0; i < JL_COUNT(wrong); i++) {
        char *target = jl_strf("/joulet/requests%s", wrong[i]);
        print_message("  %s\n", wrong[i]);
        json_decref(get(s, target, 400));
        free(target);
    }
}

/* Every request once, whichever way one goes. */
static void pages(const struct server *s)
{
    json_t *page, *all;
    char *query = jl_strdup("?limit=3"), *newest = NULL, *oldest = NULL;
    size_t seen = 0;
    assert_int_equal(count(s, "", &all), ASKED);
    while (query) {
        size_t n = count(s, query, &page);
        for (size_t i = 0; i < n; i++)
            assert_string_equal(text(json_array_get(json_object_get(page, "requests"), i), "id"),
                                text(json_array_get(json_object_get(all, "requests"), seen + i), "id"));
        newest = newest ? newest : jl_strdup(text(page, "after"));
        seen += n;
        free(oldest);
        oldest = jl_strdup(text(page, "after"));
        free(query);
        query = text(page, "before") ? jl_strf("?limit=3&before=%s", text(page, "before")) : NULL;
        json_decref(page);
    }
    assert_int_equal(seen, ASKED);
    query = jl_strf("?after=%s", newest);
    assert_int_equal(count(s, query, &page), 0);
    assert_string_equal(text(page, "after"), newest);
    json_decref(page);
    free(query);
    query = jl_strf("?limit=2&after=%s", oldest); /* the two that follow it */
    assert_int_equal(count(s, query, &page), 2);
    assert_string_equal(text(json_array_get(json_object_get(page, "requests"), 1), "id"),
                        text(json_array_get(json_object_get(all, "requests"), ASKED - 2), "id"));
    json_decref(page);
    json_decref(all);
    free(query);
    free(newest);
    free(oldest);
}

/* Reads until the words have come. */
static void read_until(int fd, struct jl_buf *b, const char *words)
{
    char bytes[4096];
    while (!b->data || !strstr(b->data, words)) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, 180000), 1);
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        assert_true(n > 0);
        jl_buf_add(b, bytes, (size_t)n);
    }
}

static size_t times(const char *text_of, const char *word)
{
    size_t n = 0;
    for (const char *p = text_of; (p = strstr(p, word)); p++)
        n++;
    return n;
}

static void streams(const struct server *s)
{
    struct jl_buf b, power;
    int fd = client_connect(s), second = client_connect(s);
    jl_buf_init(&b, 1 << 20);
    jl_buf_init(&power, 1 << 20);
    client_say(fd, "GET /joulet/requests?model=new&limit=2 HTTP/1.1\r\n" HOST "Accept: text/event-stream\r\n\r\n");
    client_say(second, "GET /joulet/requests?model=odd&limit=2&follow=1 HTTP/1.1\r\n" HOST "\r\n");
    read_until(fd, &b, "retry: ");
    assert_non_null(strstr(b.data, "Content-Type: text/event-stream\r\n"));
    ask_for(s, "new");
    read_until(fd, &b, "event: final");
    assert_int_equal(times(b.data, "\"model\":\"odd\""), 0);
    read_until(second, &power, "event: final");
    read_until(second, &power, "}\n\n");
    ask_for(s, "odd");
    ask_for(s, "odd");
    for (size_t n = 0; n < 4; n = times(power.data, "event: final")) { /* two that were, two that come */
        char bytes[4096];
        ssize_t got = recv(second, bytes, sizeof bytes, 0);
        assert_true(got > 0);
        jl_buf_add(&power, bytes, (size_t)got);
    }
    assert_int_equal(times(power.data, "\"model\":\"new\""), 0);
    close(fd);
    close(second);
    jl_buf_release(&power);
    jl_buf_release(&b);
}

static void requests_by_what_is_asked(void **state)
{
    struct metered_server s;
    struct front f;
    (void)state;
    open_metering(&s, "100");
    struct server_options o = {.metering = s.metering, .api.meter = s.meter};
    front_start(&f, plays, JL_COUNT(plays), &o);
    for (int i = 0; i < ASKED; i++)
        ask_for(f.server, i % 2 ? "odd" : "even");
    json_decref(settled(f.server, ASKED));
    filters(f.server);
    pages(f.server);
    streams(f.server);
    front_stop(&f);
    close_metering(&s);
}

/* What the ring of changes no longer has is counted, and what it still has is told. */
static void a_slow_follower_is_told_so(void **state)
{
    struct metered_server s;
    struct metering_filter all = {.limit = 0};
    struct metering_place place = {.begun = true, .seen = 7};
    struct jl_buf b;
    (void)state;
    open_metering(&s, "100");
    jl_buf_init(&b, 1 << 16);
    pthread_mutex_lock(&s.metering->lock);
    atomic_store(&s.metering->changes, METERING_CHANGES + 1007);
    pthread_mutex_unlock(&s.metering->lock);
    metering_follow_requests(s.metering, &all, &place, 32, &b);
    assert_string_equal(b.data, "event: lost\ndata: {\"lost\":1000}\n\n");
    assert_int_equal(place.seen, METERING_CHANGES + 1007);
    jl_buf_clear(&b);
    metering_follow_requests(s.metering, &all, &place, 32, &b);
    assert_int_equal(b.len, 0);
    jl_buf_release(&b);
    close_metering(&s);
}

/* ---- runs that strangers ask for
 * ------------------------------------------------------------------------------------------------
 */

/* One that is right, with some bytes changed, put in or taken out; every tenth is noise, or nested deeper than anybody writes. */
static void make_body(struct jl_rng *rng, struct jl_buf *out)
{
    static const char *const right[] = {
        "{\"kind\":\"run\",\"prompt\":\"a\",\"model\":\"m\",\"seed\":1,\"temperature\":0.5,\"private\":true}",
        "{\"prompts\":\"nine\",\"repeat\":2,\"warmup\":0,\"baseline_s\":1.5,\"streams\":null,\"title\":\"\\u0041\"}",
        "{\"kind\":\"bench\",\"top_k\":4294967295,\"top_p\":1e-300,\"max_tokens\":1e6,\"cooldown_s\":-0}"};
    size_t what = jl_rng_below(rng, 10);
    jl_buf_clear(out);
    if (what == 0) {
        for (size_t n = jl_rng_below(rng, 200); n; n--)
            jl_buf_add(out, &(char){(char)jl_rng_next(rng)}, 1);
    } else if (what == 1) {
        for (size_t n = jl_rng_below(rng, 6000); n; n--)
            jl_buf_str(out, jl_rng_below(rng, 2) ? "[" : "{\"a\":");
    } else {
        jl_buf_str(out, right[what % JL_COUNT(right)]);
        for (size_t n = jl_rng_below(rng, 4); n; n--)
            out->data[jl_rng_below(rng, out->len)] = (char)jl_rng_next(rng);
        out->len -= jl_rng_below(rng, 5) ? 0 : jl_rng_below(rng, out->len);
    }
}

/* Whatever is sent is answered, with an error that is JSON or by taking the run: and the program that is started for it is run
 * with what was understood, never through a shell. */
static void random_bodies(void **state)
{
    enum { TIMES = 600 };
    struct metered_server s;
    struct front f;
    struct jl_buf body, request;
    struct jl_rng rng = {6};
    size_t taken = 0, refused = 0;
    (void)state;
    open_metering(&s, "100");
    struct server_options o = {.metering = s.metering, .api = {.meter = s.meter, .program = "/bin/true"}};
    front_start(&f, plays, JL_COUNT(plays), &o);
    jl_buf_init(&body, 1 << 20);
    jl_buf_init(&request, 1 << 20);
    int fd = client_connect(f.server);
    for (int i = 0; i < TIMES; i++) {
        struct answer a;
        make_body(&rng, &body);
        jl_buf_clear(&request);
        jl_buf_printf(&request,
                      "POST /joulet/runs HTTP/1.1\r\n" HOST "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                      body.len);
        if (body.len)
            jl_buf_add(&request, body.data, body.len);
        client_send(fd, request.data, request.len);
        client_read(fd, &a, false);
        json_t *said = json_loads(a.body, JSON_REJECT_DUPLICATES, NULL);
        if (!a.whole || !json_is_object(said) || (a.status != 202 && a.status != 400 && a.status != 503))
            fail_msg("%d %s after %.*s", a.status, a.body, (int)body.len, body.data);
        taken += a.status == 202;
        refused += a.status == 400;
        json_decref(said);
        answer_release(&a);
    }
    close(fd);
    print_message("  %zu taken, %zu refused\n", taken, refused);
    assert_true(taken > 0 && refused > 0);
    jl_buf_release(&request);
    jl_buf_release(&body);
    front_stop(&f);
    close_metering(&s);
}

/* ---- power ------------------------------------------------------------------------------------------------------- */

static void power_goes_on(void **state)
{
    struct metered_server s;
    struct front f;
    struct jl_buf b;
    (void)state;
    open_metering(&s, "100");
    struct server_options o = {.metering = s.metering, .api.meter = s.meter};
    front_start(&f, plays, JL_COUNT(plays), &o);
    jl_buf_init(&b, 1 << 20);
    int fd = client_connect(f.server);
    client_say(fd, "GET /joulet/power?follow=1&interval_ms=100 HTTP/1.1\r\n" HOST "Last-Event-ID: 7\r\n\r\n");
    read_until(fd, &b, "event: power");
    read_until(fd, &b, "\"gross_j\":");
    json_decref(get(f.server, "/joulet/power", 200));
    json_decref(get(f.server, "/joulet/sensors", 200));
    json_decref(get(f.server, "/joulet/power?interval_ms=1", 400));
    server_drain(f.server, 0); /* ends it */
    read_until(fd, &b, "\r\n0\r\n\r\n");
    close(fd);
    jl_buf_release(&b);
    front_stop(&f);
    close_metering(&s);
}

struct pusher {
    struct joulet *meter;
    size_t channel;
    atomic_bool pauses, stop;
    pthread_t thread;
};

static void *push_on(void *arg)
{
    struct pusher *p = arg;
    while (!atomic_load(&p->stop)) {
        int64_t now_ns = jl_mono_ns();
        const struct joulet_pushed r = {.asked_ns = now_ns, .answered_ns = now_ns, .value = now_ns / 1000000 % 1000};
        if (!atomic_load(&p->pauses))
            joulet_push(p->meter, p->channel, &r);
        jl_sleep_until(now_ns + 20000000);
    }
    return NULL;
}

/* A sensor that falls silent, and comes back: said once each. */
static void a_sensor_is_lost_and_back(void **state)
{
    struct metered_server s;
    struct front f;
    struct jl_buf b;
    struct pusher p = {.pauses = false};
    struct joulet_channel ch = {.id = "wall0.power",
                                .sensor = "wall",
                                .quantity = JOULET_POWER,
                                .group = JOULET_GROUP_PLATFORM,
                                .period_s = 0.02,
                                .provenance = JOULET_MEASURED};
    struct joulet_error err;
    (void)state;
    open_metering(&s, "100");
    p.meter = s.meter;
    assert_int_equal(joulet_push_open(s.meter, &ch, 1, 0.02, &p.channel, &err), JOULET_OK);
    pthread_create(&p.thread, NULL, push_on, &p);
    struct server_options o = {.metering = s.metering, .api.meter = s.meter};
    front_start(&f, plays, JL_COUNT(plays), &o);
    jl_buf_init(&b, 1 << 24);
    int fd = client_connect(f.server);
    client_say(fd, "GET /joulet/power?follow=1&interval_ms=100 HTTP/1.1\r\n" HOST "\r\n");
    read_until(fd, &b, "event: power");
    atomic_store(&p.pauses, true);
    read_until(fd, &b, "event: sensor\ndata: {\"id\":\"wall0.power\",\"up\":false,\"time\":");
    atomic_store(&p.pauses, false);
    read_until(fd, &b, "event: sensor\ndata: {\"id\":\"wall0.power\",\"up\":true,\"time\":");
    atomic_store(&p.stop, true);
    pthread_join(p.thread, NULL);
    close(fd);
    jl_buf_release(&b);
    front_stop(&f);
    close_metering(&s);
}

/* Who does not read costs what the sockets hold, and nobody else waits. */
static void a_reader_that_does_not_read(void **state)
{
    enum { MANY = 16 };
    struct metered_server s;
    struct front f;
    struct jl_buf b;
    int fds[MANY], size = 4096;
    (void)state;
    open_metering(&s, "100");
    struct server_options o = {.metering = s.metering, .api.meter = s.meter};
    front_start(&f, plays, JL_COUNT(plays), &o);
    jl_buf_init(&b, 1 << 24);
    for (int i = 0; i < MANY; i++) {
        fds[i] = client_connect(f.server);
        setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
        client_say(fds[i], i % 2 ? "GET /joulet/power?follow=1&interval_ms=100 HTTP/1.1\r\n" HOST "\r\n"
                                 : "GET /joulet/requests?follow=1 HTTP/1.1\r\n" HOST "\r\n");
    }
    int reader = client_connect(f.server);
    client_say(reader, "GET /joulet/requests?follow=1&limit=1 HTTP/1.1\r\n" HOST "\r\n");
    int64_t before = jl_peak_memory();
    for (int i = 0; i < 200; i++)
        ask_for(f.server, i == 199 ? "the-last" : "one");
    read_until(reader, &b, "\"the-last\"");
    if (before > 0)
        assert_true(jl_peak_memory() - before < (int64_t)(SANITIZED ? 1024 : 64) << 20); /* sanitizers have memory of their own */
    for (int i = 0; i < MANY; i++)
        close(fds[i]);
    close(reader);
    jl_buf_release(&b);
    front_stop(&f);
    close_metering(&s);
}

/* A client that leaves a stream takes its thread with it. */
static void a_stream_ends_with_its_reader(void **state)
{
    struct metered_server s;
    struct front f;
    struct jl_buf b;
    (void)state;
    open_metering(&s, "100");
    struct server_options o = {.metering = s.metering, .api.meter = s.meter};
    front_start(&f, plays, JL_COUNT(plays), &o);
    jl_buf_init(&b, 1 << 20);
    int fd = client_connect(f.server);
    client_say(fd, "GET /joulet/requests?follow=1 HTTP/1.1\r\n" HOST "\r\n");
    read_until(fd, &b, "retry: ");
    close(fd);
    for (int64_t until = jl_mono_ns() + 180 * JL_NS_PER_S;;) {
        json_t *health = get(f.server, "/joulet/health", 200);
        bool alone = number(health, "connections") == 1; /* the one that asks */
        json_decref(health);
        if (alone)
            break;
        assert_true(jl_mono_ns() < until);
        jl_sleep_until(jl_mono_ns() + 20000000);
    }
    jl_buf_release(&b);
    front_stop(&f);
    close_metering(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queries),
        cmocka_unit_test(a_query_is_bounded),
        cmocka_unit_test(routes),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(who_may_read),
        cmocka_unit_test(long_bodies),
        cmocka_unit_test(requests_by_what_is_asked),
        cmocka_unit_test(a_slow_follower_is_told_so),
        cmocka_unit_test(random_bodies),
        cmocka_unit_test(power_goes_on),
        cmocka_unit_test(a_sensor_is_lost_and_back),
        cmocka_unit_test(a_reader_that_does_not_read),
        cmocka_unit_test(a_stream_ends_with_its_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
