/* net_dial.c - a bare connection with libcurl (CONNECT_ONLY): TLS, proxies and names are its work, the bytes are ours. Part of
 * the module joulet-net.so; WebSockets stand on it, because the libcurl of stable systems has none. */
#include "net/net_module.h"
#include "net/net_socket.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CONNECT_DEFAULT_S 5.0

struct net_dialled {
    CURL *easy;
    const atomic_bool *cancel;
    curl_socket_t fd;
    char where[256];
    char curl_error[CURL_ERROR_SIZE];
};

static int on_progress(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct net_dialled *x = user;
    (void)a, (void)b, (void)c, (void)d;
    return x->cancel && atomic_load(x->cancel);
}

static void set_up(struct net_dialled *x, const char *url, const char *ca_file, double timeout_s)
{
    CURL *c = x->easy;
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, x->curl_error);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)((timeout_s > 0 ? timeout_s : CONNECT_DEFAULT_S) * 1e3));
    if (net_url_skips_proxy(url)) /* a proxy of the environment cannot know our addresses */
        curl_easy_setopt(c, CURLOPT_PROXY, "");
    else
        curl_easy_setopt(c, CURLOPT_HTTPPROXYTUNNEL, 1L);
    if (ca_file)
        curl_easy_setopt(c, CURLOPT_CAINFO, ca_file);
    curl_easy_setopt(c, CURLOPT_SOCKOPTFUNCTION, net_socket_opened);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, x);
}

static enum joulet_status fail_to_connect(const struct net_dialled *x, CURLcode code, struct joulet_error *err)
{
    const char *why = x->curl_error[0] ? x->curl_error : curl_easy_strerror(code);
    long os = 0;
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return jl_fail(err, JOULET_CANCELLED, "the exchange with %s was interrupted", x->where);
    if (code == CURLE_OPERATION_TIMEDOUT)
        return jl_fail(err, JOULET_UNREACHABLE, "%s does not answer: connecting took too long", x->where);
    if (code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY)
        return jl_fail(err, JOULET_UNREACHABLE, "%s cannot be found: %s; check the name", x->where, why);
    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE)
        return net_untrusted(x->where, why, err);
    if (curl_easy_getinfo(x->easy, CURLINFO_OS_ERRNO, &os) == CURLE_OK && os)
        why = strerror((int)os);
    return jl_fail(err, JOULET_UNREACHABLE, "%s does not answer: %s", x->where, why);
}

enum joulet_status net_dial_open(struct net_dialled **out, const char *url, const char *ca_file, double timeout_s,
                                 const atomic_bool *cancel, struct joulet_error *err)
{
    *out = NULL;
    struct net_dialled *x = calloc(1, sizeof(*x));
    if (!x || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(x->easy = curl_easy_init())) {
        free(x);
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    }
    x->cancel = cancel;
    net_url_origin(url, x->where, sizeof(x->where));
    set_up(x, url, ca_file, timeout_s);
    CURLcode code = curl_easy_perform(x->easy);
    if (code == CURLE_OK)
        code = curl_easy_getinfo(x->easy, CURLINFO_ACTIVESOCKET, &x->fd);
    if (code == CURLE_OK && x->fd != CURL_SOCKET_BAD) {
        *out = x;
        return jl_ok(err);
    }
    enum joulet_status status = fail_to_connect(x, code, err);
    net_dial_close(x);
    return status;
}

/* 1 something may be done, 0 not within that time. */
static int wait_for(const struct net_dialled *x, short events, int ms)
{
    struct pollfd p = {.fd = x->fd, .events = events};
    return poll(&p, 1, ms) > 0;
}

long net_dial_read(struct net_dialled *x, char *bytes, size_t size, int wait_ms)
{
    size_t n = 0;
    CURLcode code = curl_easy_recv(x->easy, bytes, size, &n); /* TLS may hold bytes that the socket no longer shows */
    if (code == CURLE_AGAIN) {
        if (!wait_for(x, POLLIN, wait_ms))
            return 0;
        code = curl_easy_recv(x->easy, bytes, size, &n);
    }
    return code == CURLE_AGAIN ? 0 : code == CURLE_OK && n > 0 ? (long)n : -1;
}

long net_dial_write(struct net_dialled *x, const char *bytes, size_t n, int wait_ms)
{
    size_t sent = 0;
    CURLcode code = curl_easy_send(x->easy, bytes, n, &sent);
    if (code == CURLE_AGAIN)
        return (void)wait_for(x, POLLOUT, wait_ms), 0; /* the caller looks at the clock and comes again */
    return code == CURLE_OK ? (long)sent : -1;
}

int net_dial_socket(const struct net_dialled *x)
{
    return x->fd;
}

void net_dial_close(struct net_dialled *x)
{
    if (!x)
        return;
    curl_easy_cleanup(x->easy);
    free(x);
}
