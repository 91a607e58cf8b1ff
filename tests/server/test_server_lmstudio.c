/* LM Studio's own protocol through the proxy: a client of it against the stand-in of LM Studio finds what it finds without the
 * proxy, and each prediction is a request of its own; tunnels that nobody can read have energy by time. */
#include "lib/platform/platform.h"
#include "llm/engine.h"
#include "server/metering_private.h"
#include "tests/base/test.h"
#include "tests/llm/mock.h"
#include "tests/server/metered.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ASKED                                                                                                                    \
    .model = "mock-model", .max_tokens = -1, .context_length = -1, .top_k = -1, .seed = -1, .temperature = NAN, .top_p = NAN,    \
    .min_p = NAN, .repeat_penalty = NAN, .timeout_s = 180, .prompt = "hi"

static struct jl_buf generate(const char *url, enum joulet_status *status, struct run_tokens *tokens)
{
    struct engine *e;
    struct generated g;
    struct joulet_error err;
    struct jl_buf text;
    const struct generation q = {ASKED};
    assert_int_equal(engine_open_as(&e, url, NULL, "lmstudio-ws", NULL, &err), JOULET_OK);
    generated_init(&g);
    *status = engine_generate(e, &q, &g, NULL, NULL, &err);
    *tokens = g.tokens;
    text = g.text;
    jl_buf_init(&g.text, 0);
    generated_release(&g);
    engine_close(e);
    return text;
}

static bool has_flag(const json_t *r, const char *flag)
{
    size_t i;
    json_t *f;
    json_array_foreach(json_object_get(json_object_get(r, "energy"), "flags"), i, f)
    {
        if (strcmp(json_string_value(f), flag) == 0)
            return true;
    }
    return false;
}

static const char *word(const json_t *r, const char *key)
{
    const char *s = json_string_value(json_object_get(r, key));
    return s ? s : "";
}

static void predictions_are_requests(void **state)
{
    static const char *const faults[] = {NULL, "load", "error"};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(faults); i++) {
        struct mock_config c = {.lmstudio = true, .fault = faults[i]};
        struct mock *m = mock_start(&c);
        struct server_upstream to = {.url = mock_url(m)};
        struct metered_server s;
        struct joulet_error err;
        enum joulet_status direct, through;
        struct run_tokens tokens[2];
        open_metering(&s, "100");
        struct server_options o = {.listen = "127.0.0.1:0", .upstreams = &to, .n_upstreams = 1, .metering = s.metering};
        assert_int_equal(server_open(&s.server, &o, &err), JOULET_OK);
        char *url = jl_strf("http://%s", server_address(s.server));
        struct jl_buf text = generate(mock_url(m), &direct, &tokens[0]), other = generate(url, &through, &tokens[1]);
        assert_int_equal(direct, through);
        assert_string_equal(text.data, other.data);
        assert_memory_equal(&tokens[0], &tokens[1], sizeof tokens[0]);
        size_t inferences = 0, loads = 0, read = 0;
        for (int64_t until = jl_mono_ns() + 180 * JL_NS_PER_S; !inferences; jl_sleep_until(jl_mono_ns() + 50000000)) {
            json_t *list = get(s.server, "/joulet/requests", 200), *r;
            size_t k;
            assert_true(jl_mono_ns() < until);
            loads = read = 0;
            json_array_foreach(json_object_get(list, "requests"), k, r)
            {
                bool inference = strcmp(word(r, "kind"), "inference") == 0;
                loads += strcmp(word(r, "kind"), "load") == 0;
                read += strcmp(word(r, "kind"), "tunnel") == 0 && json_is_true(json_object_get(r, "read"));
                if (!inference || !json_is_false(json_object_get(json_object_get(r, "energy"), "provisional")))
                    continue;
                inferences++;
                const json_t *t = json_object_get(r, "tokens");
                assert_string_equal(word(r, "protocol"), "lmstudio-ws");
                assert_string_equal(word(r, "model"), "mock-model");
                assert_int_equal(strlen(word(r, "tunnel")), 16);
                const json_t *e = json_object_get(r, "energy"); /* it may take no time at all, and then be 0 within its +- */
                assert_true(number(e, "gross_j") >= -number(e, "gross_pm_j"));
                if (direct == JOULET_OK) {
                    assert_int_equal(number(t, "prompt"), 9);
                    assert_int_equal(number(t, "generated"), 3);
                    assert_string_equal(word(t, "generated_source"), "timings");
                    assert_string_equal(word(r, "finish"), "stop");
                } else {
                    assert_string_equal(word(t, "generated_source"), "counted");
                    assert_true(number(t, "generated") > 0);
                }
            }
            json_decref(list);
        }
        assert_int_equal(inferences, 1);
        assert_int_equal(loads, faults[i] && strcmp(faults[i], "load") == 0);
        assert_true(read >= 1);
        jl_buf_release(&text);
        jl_buf_release(&other);
        free(url);
        close_metering(&s);
        mock_stop(m);
    }
}

/* No extension is asked for where frames are read; elsewhere the client's wish stands. */
static void extensions(void **state)
{
    static const struct play plays[] = {{.bytes = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
                                                  "Upgrade\r\n\r\n",
                                         .then = THEN_CLOSE}};
    static const char *const paths[] = {"/llm", "/ws"};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(paths); i++) {
        struct metered_server s;
        struct front f;
        char bytes[1024] = "";
        open_metering(&s, "100");
        struct server_options o = {.metering = s.metering};
        front_start(&f, plays, 1, &o);
        int fd = client_connect(f.server);
        char *ask = jl_strf("GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                            "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
                            paths[i]);
        client_say(fd, ask);
        for (size_t n = 0; n < sizeof bytes - 1;) {
            ssize_t got = recv(fd, bytes + n, sizeof bytes - 1 - n, 0);
            if (got <= 0)
                break;
            n += (size_t)got;
        }
        assert_non_null(strstr(bytes, "X-Joulet-Request: "));
        char *request = upstream_request(f.upstream, 0);
        assert_int_equal(strstr(request, "permessage-deflate") != NULL, i == 1);
        free(request);
        free(ask);
        close(fd);
        front_stop(&f);
        close_metering(&s);
    }
}

/* Bytes nobody can read: present while they flow, and the time in between is not theirs. */
static void energy_by_time(void **state)
{
    static const struct play plays[] = {
        {.bytes = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n", .then = THEN_ECHO}};
    static const char text[] = "a text that is longer than a sign of life, and means nothing";
    struct metered_server s;
    struct front f;
    char bytes[4096] = "";
    (void)state;
    open_metering(&s, "100");
    struct server_options o = {.metering = s.metering};
    front_start(&f, plays, 1, &o);
    jl_sleep_until(jl_mono_ns() + QUIET_NS);
    int fd = client_connect(f.server);
    client_say(fd, "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n");
    for (size_t n = 0; !strstr(bytes, "\r\n\r\n");)
        assert_int_equal(recv(fd, bytes + n++, 1, 0), 1);
    int64_t begin_ns = jl_mono_ns();
    for (int i = 0; i < 10; i++) {
        size_t n = 0;
        client_say(fd, text);
        while (n < sizeof text - 1) {
            ssize_t got = recv(fd, bytes, sizeof text - 1 - n, 0);
            assert_true(got > 0);
            n += (size_t)got;
        }
        jl_sleep_until(jl_mono_ns() + 20000000);
    }
    close(fd);
    for (int i = 0; i < 180000 && server_active(f.server); i++)
        usleep(1000);
    double life_s = jl_s(jl_mono_ns() - begin_ns);
    json_decref(settled(f.server, 1));
    json_t *list = get(f.server, "/joulet/requests", 200);
    const json_t *r = json_array_get(json_object_get(list, "requests"), 0), *tokens = json_object_get(r, "tokens");
    assert_string_equal(word(r, "kind"), "tunnel");
    assert_true(json_is_false(json_object_get(r, "read")));
    assert_true(isnan(number(tokens, "generated")) && isnan(number(tokens, "prompt")));
    assert_string_equal(word(tokens, "generated_source"), "unknown");
    assert_true(has_flag(r, "by time"));
    double gross_j = number(json_object_get(r, "energy"), "gross_j");
    assert_true(gross_j > 0.5 * 100 * 0.2 && gross_j < 100 * (life_s + 1));
    json_decref(list);
    front_stop(&f);
    close_metering(&s);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(predictions_are_requests), cmocka_unit_test(extensions),
                                       cmocka_unit_test(energy_by_time)};
    int code;
    if (apart_main(argc, argv, &code))
        return code;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
