/* mock.c - see mock.h. One thread for each connection; WebSocket frames by the reader of net/. */
#include "tests/llm/mock.h"

#include "net/net_ws.h"
#include "tests/llm/exchange.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS 64

struct connection {
    struct mock *m;
    int fd;
    pthread_t thread;
};

struct mock {
    const struct mock_config *c;
    int listen_fd;
    char url[64];
    pthread_t thread;
    atomic_bool stopping;
    pthread_mutex_t lock;
    struct jl_buf last, lines;
    struct connection connections[CONNECTIONS];
    size_t n;
};

static bool readable(struct mock *m, int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (!atomic_load(&m->stopping)) {
        if (poll(&p, 1, 20) > 0)
            return true;
    }
    return false;
}

static void put(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        bytes += sent;
        n -= (size_t)sent;
    }
}

static void keep(struct mock *m, const char *bytes, size_t n)
{
    pthread_mutex_lock(&m->lock);
    jl_buf_clear(&m->last);
    jl_buf_add(&m->last, bytes, n);
    pthread_mutex_unlock(&m->lock);
}

/* ---- HTTP -------------------------------------------------------------------------------------------------------- */

static bool read_request(struct connection *x, struct jl_buf *in)
{
    char bytes[4096], *end = NULL, *length;
    size_t want = 0;
    jl_buf_clear(in);
    while (!end || in->len < want) {
        ssize_t n = readable(x->m, x->fd) ? recv(x->fd, bytes, sizeof(bytes), 0) : 0;
        if (n <= 0 || !jl_buf_add(in, bytes, (size_t)n))
            return false;
        end = strstr(in->data, "\r\n\r\n");
        length = strcasestr(in->data, "Content-Length:");
        want = end ? (size_t)(end - in->data) + 4 + (length && length < end ? strtoul(length + 15, NULL, 10) : 0) : 0;
    }
    keep(x->m, in->data, in->len);
    pthread_mutex_lock(&x->m->lock);
    jl_buf_add(&x->m->lines, in->data, strcspn(in->data, "\r\n"));
    jl_buf_str(&x->m->lines, "\n");
    pthread_mutex_unlock(&x->m->lock);
    return true;
}

static void head(int fd, int status, const char *type)
{
    char text[256];
    int n = snprintf(text, sizeof(text), "HTTP/1.1 %d Status\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n", status,
                     type);
    put(fd, text, (size_t)n);
}

static void chunk(int fd, const char *bytes, size_t n)
{
    char size[32];
    put(fd, size, (size_t)snprintf(size, sizeof(size), "%zx\r\n", n));
    put(fd, bytes, n);
    put(fd, "\r\n", 2);
}

/* Each event is a chunk; a cut answer ends in the middle of one. False: the connection is over. */
static bool play(struct connection *x, const struct mock_route *r)
{
    struct exchange e;
    exchange_load_from(&e, r->folder, r->name);
    bool html = e.body[0] == '<', lines = e.stream && e.body[0] == '{'; /* one JSON object a line, else events */
    head(x->fd, e.status,
         lines      ? "application/x-ndjson"
         : e.stream ? "text/event-stream"
         : html     ? "text/html"
                    : "application/json");
    const char *end = e.body + (r->end != MOCK_WHOLE && !e.stream ? e.n / 2 : e.n);
    size_t sent = 0, most = r->end != MOCK_WHOLE && x->m->c->events ? x->m->c->events : SIZE_MAX;
    for (const char *p = e.body, *next; p < end && sent < most; p = next, sent++) {
        next = e.stream ? strstr(p, lines ? "\n" : "\n\n") : NULL;
        next = next ? next + (lines ? 1 : 2) : end;
        chunk(x->fd, p, (size_t)(next - p));
    }
    exchange_release(&e);
    if (r->end == MOCK_HOLD)
        readable(x->m, x->fd);
    if (r->end != MOCK_WHOLE)
        return false;
    put(x->fd, "0\r\n\r\n", 5);
    return true;
}

static bool answer_json(int fd, int status, const char *json)
{
    head(fd, status, "application/json");
    chunk(fd, json, strlen(json));
    put(fd, "0\r\n\r\n", 5);
    return true;
}

/* As a proxy gets it, "GET http://host/path", without the host. */
static void take_host_off(char *request)
{
    char *scheme = strstr(request, " http://"), *line = strstr(request, "\r\n");
    char *path = scheme && scheme < line ? strchr(scheme + 8, '/') : NULL;
    if (path && path < line)
        memmove(scheme + 1, path, strlen(path) + 1);
}

static bool answer(struct connection *x, char *request)
{
    const struct mock_config *c = x->m->c;
    take_host_off(request);
    const struct mock_route other = {.folder = "composed", .name = c->otherwise};
    for (size_t i = 0; i < c->n_routes; i++) {
        const struct mock_route *r = &c->routes[i];
        if (strncmp(request, r->request, strlen(r->request)) == 0)
            return r->folder ? play(x, r) : answer_json(x->fd, atoi(r->name), r->name + 4);
    }
    if (c->lmstudio && strncmp(request, "GET /lmstudio-greeting", 22) == 0)
        return answer_json(x->fd, 200, "{\"lmstudio\":true}");
    if (c->otherwise)
        return play(x, &other);
    return answer_json(x->fd, 404, "{\"error\":{\"message\":\"no such route\",\"type\":\"not_found_error\"}}");
}

/* ---- LM Studio's WebSocket --------------------------------------------------------------------------------------- */

#define MODEL                                                                                                                    \
    "{\"type\":\"llm\",\"modelKey\":\"mock-model\",\"format\":\"gguf\",\"displayName\":\"Mock\",\"path\":\"a/b/mock.gguf\","     \
    "\"sizeBytes\":1000,\"vision\":false,\"trainedForToolUse\":false,\"maxContextLength\":4096,\"architecture\":\"llama\""
#define INSTANCE MODEL ",\"identifier\":\"mock-model\",\"instanceReference\":\"ref\",\"contextLength\":2048}"

struct session {
    struct connection *x;
    struct ws_reader reader;
    bool over;
};

static void say(struct session *s, const char *text)
{
    struct jl_buf out;
    jl_buf_init(&out, 1 << 20);
    ws_write(&out, WS_TEXT, text, strlen(text), NULL);
    put(s->x->fd, out.data, out.len);
    jl_buf_release(&out);
}

static void send_on(struct session *s, long long channel, const char *message)
{
    char *text = jl_strf("{\"type\":\"channelSend\",\"channelId\":%lld,\"message\":%s}", channel, message);
    say(s, text);
    free(text);
}

static void fragment(struct session *s, long long channel, const char *content, const char *kind)
{
    char *text = jl_strf("{\"type\":\"fragment\",\"fragment\":{\"content\":\"%s\",\"tokensCount\":1,\"containsDrafted\":false,"
                         "\"reasoningType\":\"%s\",\"isStructural\":false}}",
                         content, kind);
    send_on(s, channel, text);
    free(text);
}

static void fail_channel(struct session *s, long long channel, const char *title)
{
    char *text = jl_strf("{\"type\":\"channelError\",\"channelId\":%lld,\"error\":{\"title\":\"%s\",\"cause\":\"Exit code 11\"}}",
                         channel, title);
    say(s, text);
    free(text);
}

static bool faulty(const struct session *s, const char *fault)
{
    return s->x->m->c->fault && strcmp(s->x->m->c->fault, fault) == 0;
}

static void predict(struct session *s, long long channel)
{
    struct jl_buf ping;
    send_on(s, channel, "{\"type\":\"promptProcessingProgress\",\"progress\":0.5}");
    send_on(s, channel, "{\"type\":\"promptProcessingProgress\",\"progress\":1}");
    jl_buf_init(&ping, 100);
    ws_write(&ping, WS_PING, "p", 1, NULL);
    put(s->x->fd, ping.data, ping.len);
    jl_buf_release(&ping);
    if (faulty(s, "thinking")) {
        fragment(s, channel, "<think>", "reasoningStartTag");
        fragment(s, channel, "So", "reasoning");
        fragment(s, channel, "</think>", "reasoningEndTag");
    }
    if (faulty(s, "tools")) {
        send_on(s, channel, "{\"type\":\"toolCallGenerationStart\"}");
        send_on(s, channel,
                "{\"type\":\"toolCallGenerationEnd\",\"toolCallRequest\":{\"type\":\"function\",\"name\":\"weather\"}}");
    }
    fragment(s, channel, "Hel", "none");
    fragment(s, channel, "lo", "none");
    if (faulty(s, "error"))
        fail_channel(s, channel, "The model has crashed");
    else if (faulty(s, "failed"))
        send_on(s, channel, "{\"type\":\"error\",\"error\":{\"title\":\"The prediction failed\"}}");
    else if (!faulty(s, "cut") && !faulty(s, "hold"))
        send_on(s, channel,
                "{\"type\":\"success\",\"stats\":{\"stopReason\":\"eosFound\",\"tokensPerSecond\":50.5,\"numGpuLayers\":12,"
                "\"timeToFirstTokenSec\":0.001,\"promptTokensCount\":9,\"predictedTokensCount\":3,\"totalTokensCount\":12,"
                "\"usedDraftModelKey\":\"mock-draft\",\"totalDraftTokensCount\":4,\"acceptedDraftTokensCount\":2,"
                "\"rejectedDraftTokensCount\":2,\"ignoredDraftTokensCount\":0},\"modelInfo\":" INSTANCE
                ",\"loadModelConfig\":{\"fields\":[]},\"predictionConfig\":{\"fields\":[]}}");
    s->over = faulty(s, "cut");
}

static void load(struct session *s, long long channel)
{
    if (faulty(s, "load")) {
        send_on(s, channel, "{\"type\":\"startLoading\",\"identifier\":\"mock-model\",\"info\":" MODEL "}}");
        send_on(s, channel, "{\"type\":\"loadProgress\",\"progress\":0.5}");
        usleep(20000);
        send_on(s, channel, "{\"type\":\"loadSuccess\",\"info\":" INSTANCE "}");
    } else {
        send_on(s, channel, "{\"type\":\"alreadyLoaded\",\"info\":" INSTANCE "}");
    }
}

static void close_channel(struct session *s, long long channel)
{
    char *text = jl_strf("{\"type\":\"channelClose\",\"channelId\":%lld}", channel);
    say(s, text);
    free(text);
}

/* "key": only who has this token, in the two parts that LM Studio's clients make of it. */
#define NAME     "abcd1234"
#define PASSWORD "ABCDEFGHIJ0123456789"
static bool let_in(const struct session *s, const json_t *m)
{
    const char *name = json_string_value(json_object_get(m, "clientIdentifier")),
               *password = json_string_value(json_object_get(m, "clientPasskey"));
    if (faulty(s, "key"))
        return name && password && strcmp(name, NAME) == 0 && strcmp(password, PASSWORD) == 0;
    return !faulty(s, "refuse") && name && password;
}

static void reply(struct session *s, const json_t *m)
{
    const char *type = json_string_value(json_object_get(m, "type")),
               *endpoint = json_string_value(json_object_get(m, "endpoint"));
    long long id = json_integer_value(json_object_get(m, "channelId")), call = json_integer_value(json_object_get(m, "callId"));
    if (json_object_get(m, "authVersion")) {
        say(s, let_in(s, m) ? "{\"success\":true}" : "{\"success\":false,\"error\":\"Invalid passkey\"}");
    } else if (type && endpoint && strcmp(type, "rpcCall") == 0) {
        bool list = strncmp(endpoint, "list", 4) == 0, down = strcmp(endpoint, "listDownloadedModels") == 0;
        char *text = jl_strf("{\"type\":\"rpcResult\",\"callId\":%lld,\"result\":%s%s%s}", call, list ? "[" : "",
                             down ? MODEL "}" : INSTANCE, list ? "]" : "");
        say(s, text);
        free(text);
    } else if (type && endpoint && strcmp(type, "channelCreate") == 0) {
        if (strcmp(endpoint, "predict") == 0)
            predict(s, id);
        else
            load(s, id);
        if (!s->over && !faulty(s, "hold") && !faulty(s, "error"))
            close_channel(s, id);
    }
}

static bool on_message(void *user, enum ws_kind kind, const char *bytes, size_t n)
{
    struct session *s = user;
    if (kind == WS_CLOSE)
        return false;
    if (kind != WS_TEXT)
        return true;
    json_t *m = json_loadb(bytes, n, 0, NULL);
    keep(s->x->m, bytes, n);
    reply(s, m);
    json_decref(m);
    return !s->over;
}

static void speak(struct connection *x, const char *request)
{
    struct session s = {.x = x};
    char key[64] = "", accept[WS_ACCEPT_SIZE], bytes[4096], text[256];
    const char *line = strcasestr(request, "Sec-WebSocket-Key:");
    if (line)
        sscanf(line + 18, " %63[^\r\n]", key);
    ws_accept(key, accept);
    put(x->fd, text,
        (size_t)snprintf(text, sizeof(text),
                         "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
                         "%s\r\n\r\n",
                         accept));
    ws_reader_init(&s.reader, true, 1 << 20);
    for (bool on = true; on && readable(x->m, x->fd);) {
        ssize_t n = recv(x->fd, bytes, sizeof(bytes), 0);
        on = n > 0 && ws_reader_bytes(&s.reader, bytes, (size_t)n, on_message, &s);
    }
    ws_reader_release(&s.reader);
}

/* ---- connections ------------------------------------------------------------------------------------------------- */

static void *serve(void *arg)
{
    struct connection *x = arg;
    struct jl_buf in;
    bool on = true;
    setsockopt(x->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)); /* small pieces, none may wait for the one before */
    jl_buf_init(&in, 1 << 24);
    while (on && read_request(x, &in)) {
        if (x->m->c->lmstudio && strcasestr(in.data, "Upgrade: websocket")) {
            speak(x, in.data);
            break;
        }
        on = answer(x, in.data);
    }
    jl_buf_release(&in);
    shutdown(x->fd, SHUT_RDWR);
    return NULL;
}

static void *run(void *arg)
{
    struct mock *m = arg;
    while (m->n < CONNECTIONS && readable(m, m->listen_fd)) {
        struct connection *x = &m->connections[m->n];
        *x = (struct connection){.m = m, .fd = accept(m->listen_fd, NULL, NULL)};
        if (x->fd >= 0 && pthread_create(&x->thread, NULL, serve, x) == 0)
            m->n++;
    }
    return NULL;
}

struct mock *mock_start(const struct mock_config *c)
{
    struct mock *m = calloc(1, sizeof(*m));
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)c->port)};
    socklen_t n = sizeof(a);
    if (!m)
        abort();
    m->c = c;
    m->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pthread_mutex_init(&m->lock, NULL);
    jl_buf_init(&m->last, 1 << 24);
    jl_buf_init(&m->lines, 1 << 20);
    if (bind(m->listen_fd, (struct sockaddr *)&a, sizeof(a)) || listen(m->listen_fd, 16) ||
        getsockname(m->listen_fd, (struct sockaddr *)&a, &n) || pthread_create(&m->thread, NULL, run, m))
        abort();
    snprintf(m->url, sizeof(m->url), "http://127.0.0.1:%d", ntohs(a.sin_port));
    return m;
}

const char *mock_url(const struct mock *m)
{
    return m->url;
}

char *mock_last_request(struct mock *m)
{
    pthread_mutex_lock(&m->lock);
    char *copy = jl_strdup(m->last.data ? m->last.data : "");
    pthread_mutex_unlock(&m->lock);
    return copy;
}

char *mock_requests(struct mock *m)
{
    pthread_mutex_lock(&m->lock);
    char *copy = jl_strdup(m->lines.data ? m->lines.data : "");
    pthread_mutex_unlock(&m->lock);
    return copy;
}

void mock_stop(struct mock *m)
{
    atomic_store(&m->stopping, true);
    pthread_join(m->thread, NULL);
    for (size_t i = 0; i < m->n; i++) {
        pthread_join(m->connections[i].thread, NULL);
        close(m->connections[i].fd);
    }
    close(m->listen_fd);
    jl_buf_release(&m->last);
    jl_buf_release(&m->lines);
    pthread_mutex_destroy(&m->lock);
    free(m);
}
