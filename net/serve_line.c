/* serve_line.c - connecting to an upstream with libcurl, and the bytes of that connection. Once it stands, plain HTTP needs
 * libcurl no more: the socket is ours, and what libcurl kept for it is given back, which is most of what an open stream would
 * cost. */
#include "net/serve_line.h"
#include "net/net_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define CONNECT_DEFAULT_S 5.0
#define WAIT_MAX_MS       1000

enum { SOCKETS_MAX = 8 }; /* addresses that are tried at once, and what looks them up */

struct connecting {
    CURLM *multi;
    CURL *easy;
    struct pollfd fds[SOCKETS_MAX + 1]; /* one is left for the client */
    nfds_t n_fds;
    int64_t timer_ns; /* -1: none */
    bool done, gone;
    CURLcode code;
    char error[CURL_ERROR_SIZE];
};

/* ---- what libcurl asks for --------------------------------------------------------------------------------------------- */

static int on_socket_wanted(CURL *easy, curl_socket_t fd, int what, void *user, void *of_socket)
{
    struct connecting *c = user;
    nfds_t i = 0;
    (void)easy, (void)of_socket;
    while (i < c->n_fds && c->fds[i].fd != fd)
        i++;
    if (what == CURL_POLL_REMOVE) {
        if (i < c->n_fds)
            c->fds[i] = c->fds[--c->n_fds];
        return 0;
    }
    if (i == SOCKETS_MAX)
        return -1;
    if (i == c->n_fds)
        c->n_fds++;
    short events = (short)((what & CURL_POLL_IN ? POLLIN : 0) | (what & CURL_POLL_OUT ? POLLOUT : 0));
    c->fds[i] = (struct pollfd){.fd = fd, .events = events};
    return 0;
}

static int on_timer_wanted(CURLM *multi, long ms, void *user)
{
    struct connecting *c = user;
    (void)multi;
    c->timer_ns = ms < 0 ? -1 : jl_mono_ns() + (int64_t)ms * 1000000;
    return 0;
}

static void set_up(struct connecting *c, const char *origin, const char *ca_file, double timeout_s)
{
    CURL *e = c->easy;
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket_wanted);
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    curl_easy_setopt(e, CURLOPT_URL, origin);
    curl_easy_setopt(e, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->error);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)((timeout_s > 0 ? timeout_s : CONNECT_DEFAULT_S) * 1e3));
    curl_easy_setopt(e, CURLOPT_SOCKOPTFUNCTION, net_socket_opened);
    if (net_url_skips_proxy(origin)) /* a proxy of the environment cannot know our loopback */
        curl_easy_setopt(e, CURLOPT_PROXY, "");
    else
        curl_easy_setopt(e, CURLOPT_HTTPPROXYTUNNEL, 1L);
    if (ca_file)
        curl_easy_setopt(e, CURLOPT_CAINFO, ca_file);
}

/* ---- waiting ----------------------------------------------------------------------------------------------------------- */

static void look_for_end(struct connecting *c)
{
    int left;
    CURLMsg *m;
    while ((m = curl_multi_info_read(c->multi, &left))) {
        if (m->msg == CURLMSG_DONE) {
            c->done = true;
            c->code = m->data.result;
        }
    }
}

static int wait_ms(const struct connecting *c)
{
    int64_t left_ns = c->timer_ns < 0 ? (int64_t)WAIT_MAX_MS * 1000000 : c->timer_ns - jl_mono_ns();
    int64_t ms = left_ns <= 0 ? 0 : (left_ns + 999999) / 1000000;
    return ms > WAIT_MAX_MS ? WAIT_MAX_MS : (int)ms;
}

/* A socket that libcurl closes meanwhile leaves fds: the list is copied. */
static void step(struct connecting *c, int client_fd)
{
    int running;
    struct pollfd fds[SOCKETS_MAX + 1];
    nfds_t n = c->n_fds;
    memcpy(fds, c->fds, n * sizeof(*fds));
    fds[n] = (struct pollfd){.fd = client_fd, .events = POLLRDHUP};
    if (poll(fds, n + 1, wait_ms(c)) < 0)
        return;
    c->gone = (fds[n].revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0;
    for (nfds_t i = 0; i < n && !c->gone; i++) {
        short seen = fds[i].revents;
        int mask = (seen & (POLLIN | POLLHUP | POLLERR) ? CURL_CSELECT_IN : 0) | (seen & POLLOUT ? CURL_CSELECT_OUT : 0) |
                   (seen & POLLNVAL ? CURL_CSELECT_ERR : 0);
        if (mask)
            curl_multi_socket_action(c->multi, fds[i].fd, mask, &running);
    }
    if (c->timer_ns >= 0 && c->timer_ns <= jl_mono_ns()) {
        c->timer_ns = -1;
        curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    look_for_end(c);
}

static enum joulet_status fail_to_connect(const struct connecting *c, const char *where, struct joulet_error *err)
{
    const char *why = c->error[0] ? c->error : curl_easy_strerror(c->code);
    long os = 0;
    switch (c->code) {
    case CURLE_COULDNT_CONNECT:
        if (curl_easy_getinfo(c->easy, CURLINFO_OS_ERRNO, &os) == CURLE_OK && os)
            why = strerror((int)os);
        return jl_fail(err, JOULET_UNREACHABLE, "%s does not answer: %s", where, why);
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return jl_fail(err, JOULET_UNREACHABLE, "%s cannot be found: %s; check the name", where, why);
    case CURLE_OPERATION_TIMEDOUT:
        return jl_fail(err, JOULET_UNREACHABLE, "%s does not answer: connecting took too long", where);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return net_untrusted(where, why, err);
    default:
        return jl_fail(err, JOULET_UNREACHABLE, "talking to %s failed: %s", where, why);
    }
}

/* ---- what is known of it ----------------------------------------------------------------------------------------------- */

/* "Basic ..." of "http://user:password@host"; NULL: nobody is named, or no memory. */
static char *login_of(const char *origin)
{
    char *user = NULL, *password = NULL, *out = NULL;
    CURLU *u = strchr(origin, '@') ? curl_url() : NULL;
    if (u && curl_url_set(u, CURLUPART_URL, origin, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_USER, &user, CURLU_URLDECODE) == CURLUE_OK) {
        curl_url_get(u, CURLUPART_PASSWORD, &password, CURLU_URLDECODE);
        char *both = jl_strf("%s:%s", user, password ? password : "");
        size_t n = both ? strlen(both) : 0;
        char *coded = both ? malloc(NET_BASE64_SIZE(n)) : NULL;
        if (coded)
            net_base64(both, n, coded);
        out = coded ? jl_strf("Basic %s", coded) : NULL;
        free(both);
        free(coded);
    }
    curl_free(user);
    curl_free(password);
    curl_url_cleanup(u);
    return out;
}

/* The port that everybody knows is not named. */
static char *where_of(const char *origin)
{
    char where[512];
    net_url_origin(origin, where, sizeof(where));
    size_t n = strlen(where);
    const char *known = strncasecmp(where, "https", 5) == 0 ? ":443" : ":80";
    if (n > strlen(known) && strcmp(where + n - strlen(known), known) == 0)
        where[n - strlen(known)] = '\0';
    return jl_strdup(where);
}

static struct line *line_new(const char *origin)
{
    struct line *l = calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    l->fd = -1;
    l->origin = jl_strdup(origin);
    l->where = where_of(origin);
    l->login = login_of(origin);
    const char *host = l->where ? strstr(l->where, "://") : NULL;
    l->host = host ? host + 3 : l->where;
    if (l->origin && l->where)
        return l;
    serve_line_close(l);
    return NULL;
}

/* ---- opening and closing ----------------------------------------------------------------------------------------------- */

/* What stands is ours from here on. False: no memory, or no descriptor. */
static bool take_over(struct line *l, struct connecting *c)
{
    curl_socket_t fd = CURL_SOCKET_BAD;
    if (curl_easy_getinfo(c->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK || fd == CURL_SOCKET_BAD)
        return false;
    if (strncasecmp(l->origin, "https", 5) != 0) {
        l->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        int flags = l->fd >= 0 ? fcntl(l->fd, F_GETFL) : -1;
        const struct timeval patience = {.tv_usec = LINE_PATIENCE_NS / 1000};
        return flags >= 0 && fcntl(l->fd, F_SETFL, flags & ~O_NONBLOCK) == 0 &&
               setsockopt(l->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0;
    }
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, NULL);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, NULL);
    curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, NULL);
    l->fd = fd;
    l->easy = c->easy;
    l->multi = c->multi;
    c->easy = NULL;
    c->multi = NULL;
    return true;
}

static void forget(CURLM *multi, CURL *easy)
{
    if (multi && easy)
        curl_multi_remove_handle(multi, easy);
    curl_easy_cleanup(easy);
    curl_multi_cleanup(multi);
}

static enum joulet_status connect_line(struct line *l, struct connecting *c, int client_fd, struct joulet_error *err)
{
    int running;
    if (curl_multi_add_handle(c->multi, c->easy) != CURLM_OK)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running); /* what the timer would ask for at once */
    look_for_end(c);
    while (!c->done && !c->gone)
        step(c, client_fd);
    if (c->gone)
        return jl_fail(err, JOULET_CANCELLED, "the client left before %s had answered", l->where);
    if (c->code != CURLE_OK)
        return fail_to_connect(c, l->where, err);
    return take_over(l, c) ? jl_ok(err) : jl_fail(err, JOULET_MEMORY, "out of memory while talking to %s", l->where);
}

enum joulet_status serve_line_open(struct line **out, const char *origin, const char *ca_file, double timeout_s, int client_fd,
                                   struct joulet_error *err)
{
    *out = NULL;
    struct connecting c = {.timer_ns = -1};
    struct line *l = line_new(origin);
    enum joulet_status status = JOULET_MEMORY;
    c.multi = l ? curl_multi_init() : NULL;
    c.easy = c.multi ? curl_easy_init() : NULL;
    if (c.easy) {
        set_up(&c, origin, ca_file, timeout_s);
        status = connect_line(l, &c, client_fd, err);
    } else {
        status = jl_fail(err, JOULET_MEMORY, "out of memory");
    }
    forget(c.multi, c.easy);
    if (status == JOULET_OK)
        *out = l;
    else
        serve_line_close(l);
    return status;
}

void serve_line_close(struct line *l)
{
    if (!l)
        return;
    if (l->easy)
        forget(l->multi, l->easy);
    else if (l->fd >= 0)
        close(l->fd);
    free(l->origin);
    free(l->where);
    free(l->login);
    free(l);
}

/* ---- its bytes --------------------------------------------------------------------------------------------------------- */

static long of_errno(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? LINE_AGAIN : LINE_BROKE;
}

static long of_curl(CURLcode code, size_t n)
{
    if (code != CURLE_OK && code != CURLE_AGAIN)
        errno = ECONNRESET;
    return code == CURLE_OK ? (long)n : code == CURLE_AGAIN ? LINE_AGAIN : LINE_BROKE;
}

long serve_line_read(struct line *l, char *bytes, size_t size)
{
    size_t n = 0;
    if (l->easy)
        return of_curl(curl_easy_recv(l->easy, bytes, size, &n), n);
    ssize_t got = recv(l->fd, bytes, size, MSG_DONTWAIT);
    return got >= 0 ? (long)got : of_errno();
}

long serve_line_read_soon(struct line *l, char *bytes, size_t size)
{
    if (l->easy)
        return serve_line_read(l, bytes, size);
    ssize_t got = recv(l->fd, bytes, size, 0);
    return got >= 0 ? (long)got : of_errno();
}

long serve_line_write(struct line *l, const struct iovec *v, size_t n)
{
    size_t done = 0;
    if (l->easy)
        return of_curl(curl_easy_send(l->easy, v[0].iov_base, v[0].iov_len, &done), done);
    struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)v, .msg_iovlen = n};
    ssize_t sent = sendmsg(l->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent >= 0 ? (long)sent : of_errno();
}
