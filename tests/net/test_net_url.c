/* What is known of a URL before it is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/net_module.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void local_or_not(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        bool local;
    } rows[] = {
        {"http://127.0.0.1:8080", true},
        {"http://127.0.0.1", true},
        {"http://127.3.2.1:1/v1", true},
        {"https://localhost:8080/x?y", true},
        {"HTTP://LocalHost", true},
        {"http://localhost.", true},
        {"http://engine.localhost:1", true},
        {"http://[::1]:8080", true},
        {"http://[0:0:0:0:0:0:0:1]/", true},
        {"http://[::ffff:127.0.0.1]:8080", true},
        {"http://user:secret@127.0.0.1:8080", true},
        {"http://127.0.0.1@elsewhere.example/", false},
        {"http://127.0.0.1.elsewhere.example", false},
        {"http://127.0.0.256", false},
        {"http://128.0.0.1", false},
        {"http://10.0.0.1:8080", false},
        {"http://localhost.example", false},
        {"http://notlocalhost", false},
        {"http://[::2]", false},
        {"http://[::1", false},
        {"http://", false},
        {"ftp://127.0.0.1", false},
        {"127.0.0.1:8080", false},
        {"", false},
    };
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        if (net_url_is_local(rows[i].url) != rows[i].local)
            fail_msg("%s: %d", rows[i].url, !rows[i].local);
    }
    assert_false(net_url_is_local(NULL));
}

/* Addresses of documentation lead nowhere near; the interfaces are those of this machine. */
static void here_or_not(void **state)
{
    struct ifaddrs *all = NULL;
    char address[INET6_ADDRSTRLEN], url[128];
    size_t checked = 0;
    (void)state;
    assert_true(net_url_is_here("http://127.0.0.1:8080"));
    assert_true(net_url_is_here("http://localhost:11434/v1"));
    assert_true(net_url_is_here("http://[::ffff:127.0.0.9]:1"));
    assert_false(net_url_is_here("http://203.0.113.77:8080"));
    assert_false(net_url_is_here("http://[2001:db8::77]:8080"));
    assert_false(net_url_is_here("http://no-such-host.invalid:8080"));
    assert_false(net_url_is_here("ftp://127.0.0.1"));
    assert_false(net_url_is_here(NULL));
    assert_int_equal(getifaddrs(&all), 0);
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET)
            continue;
        assert_non_null(
            inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr, address, sizeof address));
        snprintf(url, sizeof url, "http://%s:8080/v1", address);
        if (!net_url_is_here(url))
            fail_msg("%s is an interface of this machine", address);
        checked++;
    }
    freeifaddrs(all);
    print_message("%zu addresses of interfaces\n", checked);
}

static void ports(void **state)
{
    (void)state;
    assert_int_equal(net_url_port("http://127.0.0.1:8080/v1?x=:9"), 8080);
    assert_int_equal(net_url_port("http://[::1]:11434"), 11434);
    assert_int_equal(net_url_port("http://[::1]"), 80);
    assert_int_equal(net_url_port("https://host/v1"), 443);
    assert_int_equal(net_url_port("127.0.0.1:8080"), -1);
    assert_int_equal(net_url_port(NULL), -1);
}

static void origin_shows_no_secret(void **state)
{
    (void)state;
    static const struct {
        const char *url, *origin;
    } rows[] = {
        {"http://127.0.0.1:8080/v1/models?key=x", "http://127.0.0.1:8080"},
        {"https://user:secret@host:1/x", "https://host:1"},
        {"http://a@b@host", "http://host"},
        {"nonsense", "nonsense"},
    };
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        char buf[64];
        assert_string_equal(net_url_origin(rows[i].url, buf, sizeof(buf)), rows[i].origin);
    }
}

static void escapes(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"", ""}, {"aZ09-._~", "aZ09-._~"}, {"a b/c?d&e", "a%20b%2Fc%3Fd%26e"}, {"\xc3\xa4\n", "%C3%A4%0A"}, {"100%", "100%25"},
    };
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        char *s = net_escape(rows[i].in);
        assert_string_equal(s, rows[i].out);
        free(s);
    }
}

/* The examples of RFC 4648, 10. */
static void in_base64(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } rows[] = {{"", ""},
                {"f", "Zg=="},
                {"fo", "Zm8="},
                {"foo", "Zm9v"},
                {"foob", "Zm9vYg=="},
                {"fooba", "Zm9vYmE="},
                {"foobar", "Zm9vYmFy"},
                {"\xff\xfe\xfd", "//79"}};
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        char out[NET_BASE64_SIZE(6)];
        net_base64(rows[i].in, strlen(rows[i].in), out);
        assert_string_equal(out, rows[i].out);
    }
}

static void checks(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        enum joulet_status status;
    } rows[] = {
        {"http://127.0.0.1:8080", JOULET_OK},
        {"https://host/path", JOULET_OK},
        {"http://", JOULET_USAGE},
        {"http:///x", JOULET_USAGE},
        {"file:///etc/x", JOULET_USAGE},
        {"gopher://x", JOULET_USAGE},
        {"http://a b", JOULET_USAGE},
        {"http://a\r\nX: y", JOULET_USAGE},
        {"", JOULET_USAGE},
        {NULL, JOULET_USAGE},
    };
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct joulet_error err;
        assert_int_equal(net_url_check(rows[i].url, &err), rows[i].status);
        assert_int_equal(err.message[0] == '\0', rows[i].status == JOULET_OK);
    }
}

/* As libcurl decides: HTTP_PROXY in capitals is for servers' scripts and means nothing. */
static void which_proxy(void **state)
{
    static const struct {
        const char *url, *env[3], *proxy, *variable; /* proxy NULL: none */
    } rows[] = {
        {"http://gpu.example:8000", {NULL}, NULL, NULL},
        {"http://gpu.example:8000", {"http_proxy=http://p:3128/"}, "http://p:3128", "http_proxy"},
        {"http://gpu.example:8000", {"http_proxy=http://me:secret@p:3128"}, "http://p:3128", "http_proxy"},
        {"http://gpu.example:8000", {"http_proxy=p:3128"}, "p:3128", "http_proxy"},
        {"http://gpu.example:8000", {"HTTP_PROXY=http://p:3128"}, NULL, NULL},
        {"http://gpu.example:8000", {"https_proxy=http://p:3128"}, NULL, NULL},
        {"https://gpu.example", {"HTTPS_PROXY=http://p:3128"}, "http://p:3128", "HTTPS_PROXY"},
        {"https://gpu.example", {"all_proxy=socks5://p:1080"}, "socks5://p:1080", "all_proxy"},
        {"http://gpu.example", {"http_proxy=http://p", "no_proxy=gpu.example"}, NULL, NULL},
        {"http://gpu.example", {"http_proxy=http://p", "no_proxy=a, .example"}, NULL, NULL},
        {"http://gpu.example", {"http_proxy=http://p", "NO_PROXY=*"}, NULL, NULL},
        {"http://gpu.example", {"http_proxy=http://p", "no_proxy=u.example,ample"}, "http://p", "http_proxy"},
        {"http://192.0.2.77", {"http_proxy=http://p", "no_proxy=192.0.2.0/24"}, NULL, NULL},
        {"http://192.0.2.77", {"http_proxy=http://p"}, "http://p", "http_proxy"},
        {"http://127.0.0.1:8080", {"http_proxy=http://p", "all_proxy=http://p"}, NULL, NULL},
        {"http://[::1]:8080", {"http_proxy=http://p"}, NULL, NULL},
        {"http://localhost:8080", {"http_proxy=http://p"}, NULL, NULL},
    };
    static const char *const names[] = {"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY",
                                        "all_proxy",  "ALL_PROXY",  "no_proxy",    "NO_PROXY"};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        char proxy[128];
        const char *variable = NULL;
        for (size_t k = 0; k < JL_COUNT(names); k++)
            unsetenv(names[k]);
        for (size_t k = 0; k < JL_COUNT(rows[i].env) && rows[i].env[k]; k++)
            putenv((char *)rows[i].env[k]);
        bool any = net_proxy_of(rows[i].url, proxy, sizeof proxy, &variable);
        if (any != !!rows[i].proxy || (any && (strcmp(proxy, rows[i].proxy) != 0 || strcmp(variable, rows[i].variable) != 0)))
            fail_msg("%zu: %s: \"%s\" of %s", i, rows[i].url, proxy, any ? variable : "none");
    }
    for (size_t k = 0; k < JL_COUNT(names); k++)
        unsetenv(names[k]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(which_proxy),
        cmocka_unit_test(local_or_not),
        cmocka_unit_test(here_or_not),
        cmocka_unit_test(ports),
        cmocka_unit_test(origin_shows_no_secret),
        cmocka_unit_test(escapes),
        cmocka_unit_test(in_base64),
        cmocka_unit_test(checks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
