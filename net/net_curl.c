/* net_curl.c - one HTTP exchange with libcurl: the module joulet-net.so, the only code that knows libcurl.
 *
 * The exchange is polled, not blocked in, so that a cancel is seen within 50 ms. Bytes are stamped where libcurl hands them over,
 * right after recv, and only passed on when it has nothing more at hand: whatever the caller does with a piece cannot delay the
 * stamp of the next one. Each thread keeps its connections. */
#include "net/net_module.h"
#include "net/net_socket.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define POLL_MS           50
#define CONNECT_DEFAULT_S 5.0
#define IDLE_DEFAULT_S    600.0
#define MAX_BYTES_DEFAULT ((size_t)64 << 20)
#define PIECES_MAX        256
#define PENDING_MAX       ((size_t)1 << 20)
#define CONNECTIONS_KEPT  4L

struct piece {
    size_t n;
    int64_t t_ns;
};

struct exchange {
    const struct net_request *q;
    struct net_response *out;
    CURL *easy;
    char where[256]; /* origin of the URL, for sentences */
    char curl_error[CURL_ERROR_SIZE];
    struct jl_buf pending; /* bytes of `pieces`, stamped and not yet passed on */
    struct piece pieces[PIECES_MAX];
    size_t n_pieces, received, max_bytes;
    int64_t t_active_ns, t_begin_ns;
    curl_off_t uploaded;
    bool told_sent, stopped, over_limit, no_memory;
};

/* ---- what the caller is told ---------------------------------------------------------------------------------------- */

static bool pass_on(struct exchange *x)
{
    const char *p = x->pending.data;
    for (size_t i = 0; i < x->n_pieces && !x->stopped; i++) {
        x->stopped = !x->q->on_body(x->q->user, p, x->pieces[i].n, x->pieces[i].t_ns);
        p += x->pieces[i].n;
    }
    x->n_pieces = 0;
    jl_buf_clear(&x->pending);
    return !x->stopped;
}

static size_t on_write(char *bytes, size_t size, size_t count, void *user)
{
    struct exchange *x = user;
    size_t n = size * count;
    int64_t t_ns = jl_mono_ns();
    x->t_active_ns = t_ns;
    x->over_limit = n > x->max_bytes - x->received;
    if (x->over_limit)
        return 0;
    x->received += n;
    if (!x->q->on_body) {
        x->no_memory = !jl_buf_add(&x->out->body, bytes, n);
        return x->no_memory ? 0 : n;
    }
    if ((x->n_pieces == PIECES_MAX || x->pending.len + n > PENDING_MAX) && !pass_on(x))
        return 0;
    x->no_memory = !jl_buf_add(&x->pending, bytes, n);
    if (x->no_memory)
        return 0;
    x->pieces[x->n_pieces++] = (struct piece){n, t_ns};
    return n;
}

/* "HTTP/1.1 200 OK": 0 for anything else. */
static int status_of(const char *line, size_t n)
{
    const char *end = line + n;
    if (n < 5 || strncasecmp(line, "HTTP/", 5) != 0)
        return 0;
    while (line < end && *line != ' ')
        line++;
    while (line < end && *line == ' ')
        line++;
    int status = 0;
    for (int digits = 0; line < end && digits < 3 && *line >= '0' && *line <= '9'; digits++)
        status = status * 10 + (*line++ - '0');
    return status;
}

static bool tell_header(struct exchange *x, const char *line, size_t n)
{
    char text[2048];
    if (!x->q->on_header || n >= sizeof(text))
        return true;
    memcpy(text, line, n);
    text[n] = '\0';
    char *colon = strchr(text, ':');
    if (!colon)
        return true;
    *colon = '\0';
    char *value = colon + 1 + strspn(colon + 1, " \t");
    value[strcspn(value, "\r\n")] = '\0';
    return x->q->on_header(x->q->user, text, value);
}

/* At t_ns the socket had taken what curl says it has taken. */
static void watch_upload(struct exchange *x, int64_t t_ns)
{
    curl_off_t sent = 0;
    if (x->told_sent || x->out->t_start_ns == 0 || curl_easy_getinfo(x->easy, CURLINFO_SIZE_UPLOAD_T, &sent) != CURLE_OK)
        return;
    if (sent != x->uploaded)
        x->t_active_ns = t_ns;
    x->uploaded = sent;
    if (!x->q->body || (size_t)sent >= x->q->body_len) {
        x->told_sent = true;
        if (x->q->on_sent)
            x->q->on_sent(x->q->user, t_ns);
    }
}

static void keep_location(struct exchange *x, const char *line, size_t n)
{
    static const char name[] = "location:";
    if (n < sizeof(name) || strncasecmp(line, name, sizeof(name) - 1) != 0)
        return;
    const char *value = line + sizeof(name) - 1, *end = line + n;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (unsigned char)end[-1] <= ' ')
        end--;
    if ((size_t)(end - value) < sizeof(x->out->location))
        memcpy(x->out->location, value, (size_t)(end - value));
}

static size_t on_header(char *line, size_t size, size_t count, void *user)
{
    struct exchange *x = user;
    size_t n = size * count;
    int64_t t_ns = jl_mono_ns();
    x->t_active_ns = t_ns;
    watch_upload(x, t_ns); /* the answer may come before we look again */
    int status = status_of(line, n);
    if (status == 0) {
        if (x->out->status >= 300 && x->out->status < 400)
            keep_location(x, line, n);
        x->stopped = x->out->status >= 200 && !tell_header(x, line, n);
    } else if (status >= 200) { /* 1xx announces, it does not answer */
        x->out->status = status;
        x->stopped = x->q->on_status && !x->q->on_status(x->q->user, status, t_ns);
    }
    return x->stopped ? 0 : n;
}

/* Connected (or connected still): the next thing on the socket is our first byte. */
static int on_connected(void *user, char *peer_ip, char *own_ip, int peer_port, int own_port)
{
    struct exchange *x = user;
    (void)peer_ip, (void)own_ip, (void)peer_port, (void)own_port;
    x->out->t_start_ns = x->t_active_ns = jl_mono_ns();
    x->told_sent = false;
    return CURL_PREREQFUNC_OK;
}

/* ---- connections of a thread ---------------------------------------------------------------------------------------- */

struct pool {
    CURLM *multi;
    CURL *easy;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t pool_key;
static bool ready;

static void pool_close(void *p)
{
    struct pool *pool = p;
    curl_easy_cleanup(pool->easy);
    curl_multi_cleanup(pool->multi);
    free(pool);
}

static void begin(void)
{
    ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK && pthread_key_create(&pool_key, pool_close) == 0;
}

static struct pool *pool_of_thread(void)
{
    pthread_once(&once, begin);
    if (!ready)
        return NULL;
    struct pool *pool = pthread_getspecific(pool_key);
    if (pool)
        return pool;
    pool = calloc(1, sizeof(*pool));
    if (!pool)
        return NULL;
    pool->multi = curl_multi_init();
    pool->easy = curl_easy_init();
    if (!pool->multi || !pool->easy || pthread_setspecific(pool_key, pool) != 0) {
        pool_close(pool);
        return NULL;
    }
    curl_multi_setopt(pool->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_KEPT);
    return pool;
}

/* ---- the request ---------------------------------------------------------------------------------------------------- */

static bool add_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = line ? curl_slist_append(*list, line) : NULL;
    if (longer)
        *list = longer;
    return longer != NULL;
}

static bool headers_of(const struct net_request *q, struct curl_slist **list)
{
    bool ok = add_header(list, "Expect:"); /* no round trip before a long prompt */
    for (size_t i = 0; i < q->n_headers && ok; i++) {
        char *line = jl_strf("%s: %s", q->headers[i].name, q->headers[i].value);
        ok = add_header(list, line);
        free(line);
    }
    return ok;
}

static void set_method(CURL *c, const struct net_request *q)
{
    const char *method = q->method ? q->method : "GET";
    bool post = strcmp(method, "POST") == 0;
    if (q->body || post) {
        curl_easy_setopt(c, CURLOPT_POST, 1L);
        curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(q->body ? q->body_len : 0));
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, q->body ? q->body : "");
        if (!post)
            curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
    } else if (strcmp(method, "HEAD") == 0) {
        curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
    } else if (strcmp(method, "GET") != 0) {
        curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
    }
}

/* Who asks, and whom it believes. */
static void set_access(CURL *c, const struct net_request *q)
{
    if (q->login) {
        curl_easy_setopt(c, CURLOPT_HTTPAUTH, (long)(CURLAUTH_BASIC | CURLAUTH_DIGEST));
        curl_easy_setopt(c, CURLOPT_USERNAME, q->login);
        curl_easy_setopt(c, CURLOPT_PASSWORD, q->password ? q->password : "");
    }
    if (q->ca_file)
        curl_easy_setopt(c, CURLOPT_CAINFO, q->ca_file);
    if (q->insecure) {
        curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
    }
}

static void set_up(struct exchange *x, struct curl_slist *headers)
{
    CURL *c = x->easy;
    const struct net_request *q = x->q;
    curl_easy_reset(c);
    curl_easy_setopt(c, CURLOPT_URL, q->url);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, x->curl_error);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "joulet/" JOULET_VERSION);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)((q->connect_timeout_s > 0 ? q->connect_timeout_s : CONNECT_DEFAULT_S) * 1e3));
    if (net_url_skips_proxy(q->url)) /* a proxy of the environment cannot know our addresses */
        curl_easy_setopt(c, CURLOPT_PROXY, "");
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_write);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(c, CURLOPT_PREREQFUNCTION, on_connected);
    curl_easy_setopt(c, CURLOPT_PREREQDATA, x);
    curl_easy_setopt(c, CURLOPT_SOCKOPTFUNCTION, net_socket_opened);
    set_access(c, q);
    set_method(c, q);
}

/* ---- the loop ------------------------------------------------------------------------------------------------------- */

enum ending { RUNNING, ENDED, STOPPED, CANCELLED, IDLE, LATE, BROKEN };

static enum ending look_around(struct exchange *x, CURLM *multi, CURLcode *result)
{
    const struct net_request *q = x->q;
    int left;
    CURLMsg *m = curl_multi_info_read(multi, &left);
    if (m && m->msg == CURLMSG_DONE) {
        *result = m->data.result;
        return ENDED;
    }
    if (q->cancel && atomic_load(q->cancel))
        return CANCELLED;
    int64_t now_ns = jl_mono_ns();
    if (x->out->t_start_ns && jl_s(now_ns - x->t_active_ns) >= (q->idle_timeout_s > 0 ? q->idle_timeout_s : IDLE_DEFAULT_S))
        return IDLE;
    return q->total_timeout_s > 0 && jl_s(now_ns - x->t_begin_ns) >= q->total_timeout_s ? LATE : RUNNING;
}

static enum ending drive(struct exchange *x, CURLM *multi, CURLcode *result)
{
    for (;;) {
        int running;
        if (curl_multi_perform(multi, &running) != CURLM_OK)
            return BROKEN;
        watch_upload(x, jl_mono_ns());
        if (!x->stopped && !pass_on(x))
            return STOPPED;
        enum ending e = look_around(x, multi, result);
        if (e != RUNNING)
            return e;
        if (curl_multi_poll(multi, NULL, 0, POLL_MS, NULL) != CURLM_OK)
            return BROKEN;
    }
}

/* ---- sentences ------------------------------------------------------------------------------------------------------ */

/* True when it was the proxy of the environment that failed, and not who is behind it. */
static bool proxy_failed(const struct exchange *x, CURLcode code, struct joulet_error *err)
{
    char proxy[256];
    const char *variable, *why = x->curl_error[0] ? x->curl_error : curl_easy_strerror(code);
    bool tunnel = strstr(x->curl_error, "CONNECT") != NULL, login = tunnel && strstr(x->curl_error, "407");
    bool near = code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_PROXY || code == CURLE_PROXY ||
                (code == CURLE_OPERATION_TIMEDOUT && !x->out->t_start_ns) || tunnel;
    long os = 0;
    if (!near || !net_proxy_of(x->q->url, proxy, sizeof(proxy), &variable))
        return false;
    if (code == CURLE_COULDNT_CONNECT && curl_easy_getinfo(x->easy, CURLINFO_OS_ERRNO, &os) == CURLE_OK && os)
        why = strerror((int)os);
    jl_fail(err, JOULET_UNREACHABLE,
            "%s is asked through the proxy %s of %s, which %s: %s; correct that variable, or name the host in no_proxy", x->where,
            proxy, variable, login ? "wants a login" : "failed", login ? "write it as http://USER:PASSWORD@HOST:PORT" : why);
    return true;
}

static enum joulet_status fail_of_curl(struct exchange *x, CURLcode code, struct joulet_error *err)
{
    const char *why = x->curl_error[0] ? x->curl_error : curl_easy_strerror(code);
    long os = 0;
    if (proxy_failed(x, code, err))
        return JOULET_UNREACHABLE;
    switch (code) {
    case CURLE_COULDNT_CONNECT:
        if (curl_easy_getinfo(x->easy, CURLINFO_OS_ERRNO, &os) == CURLE_OK && os)
            why = strerror((int)os);
        return jl_fail(err, JOULET_UNREACHABLE, "%s does not answer: %s", x->where, why);
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return jl_fail(err, JOULET_UNREACHABLE, "%s cannot be found: %s; check the name", x->where, why);
    case CURLE_OPERATION_TIMEDOUT:
        return jl_fail(err, JOULET_UNREACHABLE, "%s does not answer: connecting took too long", x->where);
    case CURLE_OUT_OF_MEMORY:
        return jl_fail(err, JOULET_MEMORY, "out of memory while talking to %s", x->where);
    case CURLE_URL_MALFORMAT:
        return jl_fail(err, JOULET_USAGE, "the address %s is not well formed: give one as in http://127.0.0.1:8080", x->where);
    case CURLE_UNSUPPORTED_PROTOCOL: /* also an answer without a status line */
    case CURLE_WEIRD_SERVER_REPLY:
        return jl_fail(err, JOULET_FORMAT, "what answers at %s does not speak HTTP: check the address and the port", x->where);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return net_untrusted(x->where, why, err);
    case CURLE_SSL_CONNECT_ERROR:
        return jl_fail(err, JOULET_FORMAT,
                       "what answers at %s does not speak TLS as it should (%s): write http:// if it speaks none", x->where, why);
    case CURLE_GOT_NOTHING:
        return jl_fail(err, JOULET_IO, "%s closed the connection without an answer", x->where);
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        return jl_fail(err, JOULET_IO, "%s cut the connection: %s", x->where, why);
    default:
        return jl_fail(err, x->out->status ? JOULET_IO : JOULET_UNREACHABLE, "talking to %s failed: %s", x->where, why);
    }
}

static enum joulet_status conclude(struct exchange *x, enum ending e, CURLcode code, struct joulet_error *err)
{
    if (e == CANCELLED)
        return jl_fail(err, JOULET_CANCELLED, "the exchange with %s was interrupted", x->where);
    if (e == IDLE)
        return jl_fail(err, JOULET_UNREACHABLE, "%s sent nothing for %g s", x->where,
                       x->q->idle_timeout_s > 0 ? x->q->idle_timeout_s : IDLE_DEFAULT_S);
    if (e == LATE)
        return jl_fail(err, JOULET_UNREACHABLE, "%s was not done within %g s", x->where, x->q->total_timeout_s);
    if (e == BROKEN || x->no_memory)
        return jl_fail(err, JOULET_MEMORY, "out of memory while talking to %s", x->where);
    if (x->over_limit)
        return jl_fail(err, JOULET_LIMIT, "the answer of %s is longer than the limit of %zu bytes", x->where, x->max_bytes);
    if (e == STOPPED || x->stopped)
        return jl_ok(err);
    if (code != CURLE_OK)
        return fail_of_curl(x, code, err);
    x->out->complete = true;
    return jl_ok(err);
}

static enum joulet_status net_curl_http(const struct net_request *q, struct net_response *out, struct joulet_error *err)
{
    struct pool *pool = pool_of_thread();
    struct curl_slist *headers = NULL;
    struct exchange x = {.q = q, .out = out, .max_bytes = q->max_bytes ? q->max_bytes : MAX_BYTES_DEFAULT};
    if (!pool || !headers_of(q, &headers)) {
        curl_slist_free_all(headers);
        return jl_fail(err, JOULET_MEMORY, "out of memory before the exchange with %s",
                       net_url_origin(q->url, x.where, sizeof(x.where)));
    }
    x.easy = pool->easy;
    net_url_origin(q->url, x.where, sizeof(x.where));
    jl_buf_init(&out->body, x.max_bytes);
    jl_buf_init(&x.pending, SIZE_MAX);
    set_up(&x, headers);
    x.t_begin_ns = x.t_active_ns = jl_mono_ns();
    CURLcode code = CURLE_OK;
    enum ending e = curl_multi_add_handle(pool->multi, x.easy) == CURLM_OK ? drive(&x, pool->multi, &code) : BROKEN;
    out->t_end_ns = jl_mono_ns();
    enum joulet_status status = conclude(&x, e, code, err);
    curl_multi_remove_handle(pool->multi, x.easy); /* closes the connection unless the answer was complete */
    curl_easy_reset(x.easy);                       /* it points into this frame */
    curl_slist_free_all(headers);
    jl_buf_release(&x.pending);
    return status;
}

__attribute__((visibility("default"))) extern const struct net_module joulet_net_module;
const struct net_module joulet_net_module = {
    .version = NET_MODULE_VERSION,
    .request_size = sizeof(struct net_request),
    .response_size = sizeof(struct net_response),
    .http = net_curl_http,
    .dial_open = net_dial_open,
    .dial_read = net_dial_read,
    .dial_write = net_dial_write,
    .dial_socket = net_dial_socket,
    .dial_close = net_dial_close,
};
