/* What stands where an engine should: other protocols, web pages, redirects, keys that are refused, proxies. Each ends in one
 * sentence that says what is there and what to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "llm/engine.h"
#include "tests/net/scripted.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HTTP(status, headers, length, body)                                                                                      \
    "HTTP/1.1 " status "\r\n" headers "Content-Length: " length "\r\nConnection: close\r\n\r\n" body

static const struct {
    const char *what, *bytes;
    enum joulet_status status;
    const char *says;
} rows[] = {
    {"an SSH server", "SSH-2.0-OpenSSH_9.2\r\n", JOULET_FORMAT, "does not speak HTTP: check the address and the port"},
    {"Redis", "-ERR wrong number of arguments\r\n", JOULET_FORMAT, "does not speak HTTP"},
    {"HTTP/0.9", "<html>hello</html>", JOULET_FORMAT, "does not speak HTTP"},
    {"an alert of TLS", "\x15\x03\x01\x02\x02\x46", JOULET_FORMAT, "does not speak HTTP"},
    {"nothing but a close", "", JOULET_UNREACHABLE, "does something else listen there, or does it speak TLS (https://)?"},
    {"a redirect to TLS", HTTP("301 Moved", "Location: https://llm.example/\r\n", "0", ""), JOULET_NOT_FOUND,
     "sends elsewhere (HTTP 301, to https://llm.example/), and joulet does not follow"},
    {"a redirect to itself", HTTP("302 Found", "location:\t/v1/models \r\n", "0", ""), JOULET_NOT_FOUND,
     "(HTTP 302, to /v1/models)"},
    {"a redirect to nowhere", HTTP("308 Permanent", "", "0", ""), JOULET_NOT_FOUND, "sends elsewhere (HTTP 308), and"},
    {"a login page", HTTP("200 OK", "Content-Type: text/html\r\n", "18", "\n <!doctype html> "), JOULET_NOT_FOUND,
     "sends a web page (HTTP 200), as a login page or a proxy does"},
    {"a gateway without anybody behind", HTTP("502 Bad Gateway", "", "6", "<html>"), JOULET_NOT_FOUND, "a web page (HTTP 502)"},
    {"a key that is wanted", HTTP("401 Unauthorized", "", "2", "{}"), JOULET_PERMISSION, "wants another key"},
    {"a key that has expired", HTTP("403 Forbidden", "", "21", "{\"error\":\"key expired\"}"), JOULET_PERMISSION,
     "wants another key"},
    {"another service", HTTP("404 Not Found", "", "22", "{\"detail\":\"Not Found\"}"), JOULET_NOT_FOUND,
     "is no engine that joulet knows"},
    {"an empty object", HTTP("200 OK", "", "2", "{}"), JOULET_NOT_FOUND, "is no engine that joulet knows"},
    {"a list", HTTP("200 OK", "", "2", "[]"), JOULET_NOT_FOUND, "is no engine that joulet knows"},
    {"no content", "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", JOULET_NOT_FOUND, "is no engine that joulet knows"},
    {"a proxy that wants a login", HTTP("407 Proxy", "", "0", ""), JOULET_NOT_FOUND, "wants a login"},
};

static void expect(const char *what, const char *url, enum joulet_status status, const char *says)
{
    struct engine *e;
    struct joulet_error err;
    enum joulet_status got = engine_open(&e, url, "sk-secret", NULL, &err);
    if (got != status || !strstr(err.message, says) || strstr(err.message, "secret") || strchr(err.message, '\n'))
        fail_msg("%s: %s: %s", what, joulet_status_text(got), err.message);
    engine_close(e);
}

static void who_is_there(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct script s = {.bytes = rows[i].bytes};
        struct scripted *there = scripted_start(&s);
        expect(rows[i].what, scripted_url(there), rows[i].status, rows[i].says);
        scripted_stop(there);
    }
}

static void tls_to_a_port_without(void **state)
{
    (void)state;
    struct script s = {.bytes = HTTP("400 Bad Request", "", "0", ""), .hasty = true};
    struct scripted *there = scripted_start(&s);
    char *url = jl_strf("https%s", scripted_url(there) + strlen("http"));
    expect("TLS", url, JOULET_FORMAT, "write http:// if it speaks none");
    free(url);
    scripted_stop(there);
}

/* A proxy is named, its password is not; an engine on this machine is asked without it. */
static void through_a_proxy(void **state)
{
    (void)state;
    struct script page = {.bytes = HTTP("200 OK", "", "6", "<html>")}, login = {.bytes = HTTP("407 Proxy", "", "0", "")};
    struct scripted *there = scripted_start(&page), *guarded = scripted_start(&login);
    char *named = jl_strf("http://me:secret@%s", scripted_url(there) + strlen("http://"));
    setenv("http_proxy", named, 1);
    char *says = jl_strf("what answers at http://gpu.example:8000 (asked through the proxy %s of http_proxy) sends a web page",
                         scripted_url(there));
    expect("a page", "http://gpu.example:8000", JOULET_NOT_FOUND, says);
    setenv("http_proxy", scripted_url(guarded), 1);
    setenv("https_proxy", scripted_url(guarded), 1);
    expect("a login", "http://gpu.example:8000", JOULET_NOT_FOUND, "the proxy in front of http://gpu.example:8000 wants a login");
    expect("a tunnel", "https://gpu.example:8000", JOULET_UNREACHABLE, "which wants a login: write it as http://USER:PASSWORD@");
    expect("this machine", scripted_url(there), JOULET_NOT_FOUND, "sends a web page (HTTP 200)");
    scripted_stop(guarded);
    free(says);
    says = jl_strf("through the proxy %s of http_proxy, which failed: Connection refused; correct that variable",
                   getenv("http_proxy"));
    expect("a proxy that is gone", "http://gpu.example:8000", JOULET_UNREACHABLE, says);
    unsetenv("http_proxy");
    unsetenv("https_proxy");
    free(says);
    free(named);
    scripted_stop(there);
}

int main(void)
{
    static const char *const names[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy",
                                        "ALL_PROXY",  "no_proxy",    "NO_PROXY"};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_there),
        cmocka_unit_test(tls_to_a_port_without),
        cmocka_unit_test(through_a_proxy),
    };
    for (size_t i = 0; i < JL_COUNT(names); i++)
        unsetenv(names[i]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
