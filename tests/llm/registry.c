/* registry.c - see registry.h. One thread for each connection. */
#include "tests/llm/registry.h"

#include "lib/platform/platform.h"
#include "net/net.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS = 64, PATH = 256 };
#define WRONG   "2222222222222222222222222222222222222222222222222222222222222222"
#define MISSING "1111111111111111111111111111111111111111111111111111111111111111"
#define SLOW    "3333333333333333333333333333333333333333333333333333333333333333"

struct connection {
    struct registry *r;
    int fd;
    pthread_t thread;
};

struct registry {
    struct jl_buf weights;
    char digest[65], config_digest[65];
    int listen_fd, port;
    atomic_bool stopping;
    pthread_t thread;
    struct connection connections[CONNECTIONS];
    size_t n;
};

static const char config[] =
    "{\"model_format\":\"gguf\",\"model_family\":\"llama\",\"model_families\":[\"llama\"],\"model_type\":\"4.46M\","
    "\"file_type\":\"Q8_0\",\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\","
    "\"diff_ids\":[]}}";

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

static bool readable(struct registry *r, int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (!atomic_load(&r->stopping)) {
        if (poll(&p, 1, 20) > 0)
            return true;
    }
    return false;
}

static void head(int fd, int status, size_t length, const char *more)
{
    char text[512];
    put(fd, text,
        (size_t)snprintf(text, sizeof text, "HTTP/1.1 %d Status\r\nContent-Length: %zu\r\n%s\r\n", status, length, more));
}

static const char *layer_of(const struct registry *r, const char *name)
{
    return strcmp(name, "missing") == 0 ? MISSING
           : strcmp(name, "wrong") == 0 ? WRONG
           : strcmp(name, "slow") == 0  ? SLOW
                                        : r->digest;
}

/* False: the connection is over. */
static bool manifest(struct connection *x, const char *name)
{
    char text[1024];
    if (!jl_word_in("good,missing,wrong,cut,slow", ',', name)) {
        static const char none[] = "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\",\"message\":\"manifest unknown\"}]}";
        bool page = strcmp(name, "page") == 0;
        head(x->fd, page ? 200 : 404, page ? 6 : sizeof none - 1, page ? "Content-Type: text/html\r\n" : "");
        put(x->fd, page ? "<html>" : none, page ? 6 : sizeof none - 1);
        return true;
    }
    int n = snprintf(text, sizeof text,
                     "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.docker.distribution.manifest.v2+json\",\"config\":{"
                     "\"mediaType\":\"application/vnd.docker.container.image.v1+json\",\"digest\":\"sha256:%s\",\"size\":%zu},"
                     "\"layers\":[{\"mediaType\":\"application/vnd.ollama.image.model\",\"digest\":\"sha256:%s\",\"size\":%zu}]}",
                     x->r->config_digest, sizeof config - 1, layer_of(x->r, name), x->r->weights.len);
    bool cut = strcmp(name, "cut") == 0;
    head(x->fd, 200, (size_t)n, "");
    put(x->fd, text, cut ? 40 : (size_t)n);
    return !cut;
}

/* As registries do, a blob is elsewhere: Ollama follows to a host of another name and asks there for ranges. */
static bool blob(struct connection *x, const char *digest, const char *request, bool body)
{
    char more[256], *range = strcasestr(request, "\r\nRange: bytes=");
    bool is_config = strcmp(digest, x->r->config_digest) == 0, slow = strcmp(digest, SLOW) == 0;
    const char *bytes = is_config ? config : x->r->weights.data;
    size_t all = is_config ? sizeof config - 1 : x->r->weights.len, from = 0, to = all - 1;
    if (strcmp(digest, MISSING) == 0)
        return head(x->fd, 404, 0, ""), true;
    if (body && !range && strstr(request, "/blobs/")) {
        snprintf(more, sizeof more, "Location: http://localhost:%d/data/sha256:%s\r\n", x->r->port, digest);
        return head(x->fd, 307, 0, more), true;
    }
    if (range && sscanf(range, "\r\nRange: bytes=%zu-%zu", &from, &to) < 1)
        from = 0;
    if (from >= all || to >= all || to < from)
        return head(x->fd, 416, 0, ""), true;
    snprintf(more, sizeof more, "Content-Range: bytes %zu-%zu/%zu\r\n", from, to, all);
    head(x->fd, range ? 206 : 200, to - from + 1, range ? more : "");
    if (body)
        put(x->fd, bytes + from, slow ? (to - from + 1) / 2 : to - from + 1);
    return !(slow && body) || readable(x->r, x->fd);
}

static bool answer(struct connection *x, char *request)
{
    char method[8] = "", path[PATH] = "", name[PATH] = "", digest[65] = "";
    sscanf(request, "%7s %255s", method, path);
    bool body = strcmp(method, "GET") == 0;
    const char *mark = strstr(path, "sha256:");
    if (mark && sscanf(mark, "sha256:%64s", digest) == 1)
        return blob(x, digest, request, body);
    if (sscanf(path, "/v2/ns/%255[^/]/manifests/latest", name) == 1)
        return manifest(x, name);
    return head(x->fd, 404, 0, ""), true;
}

static void *serve(void *arg)
{
    struct connection *x = arg;
    char bytes[4096];
    struct jl_buf in;
    jl_buf_init(&in, 1 << 16);
    for (bool on = true; on;) {
        ssize_t n = readable(x->r, x->fd) ? recv(x->fd, bytes, sizeof bytes, 0) : 0;
        on = n > 0 && jl_buf_add(&in, bytes, (size_t)n);
        if (on && in.data[0] == 0x16) /* the greeting of TLS */
            on = (head(x->fd, 400, 0, ""), false);
        if (on && strstr(in.data, "\r\n\r\n")) {
            on = answer(x, in.data);
            jl_buf_clear(&in);
        }
    }
    jl_buf_release(&in);
    shutdown(x->fd, SHUT_RDWR);
    return NULL;
}

static void *run(void *arg)
{
    struct registry *r = arg;
    while (r->n < CONNECTIONS && readable(r, r->listen_fd)) {
        struct connection *x = &r->connections[r->n];
        *x = (struct connection){.r = r, .fd = accept(r->listen_fd, NULL, NULL)};
        if (x->fd >= 0 && pthread_create(&x->thread, NULL, serve, x) == 0)
            r->n++;
    }
    return NULL;
}

static void digest_of(const void *bytes, size_t n, char hex[65])
{
    struct jl_sha256 sha;
    jl_sha256_init(&sha);
    jl_sha256_add(&sha, bytes, n);
    jl_sha256_hex(&sha, hex);
}

struct registry *registry_start(const char *gguf)
{
    struct registry *r = calloc(1, sizeof *r);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    if (!r)
        abort();
    jl_buf_init(&r->weights, (size_t)1 << 26);
    r->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (jl_read_file(gguf, &r->weights, NULL) != JOULET_OK || bind(r->listen_fd, (struct sockaddr *)&a, sizeof a) ||
        listen(r->listen_fd, 16) || getsockname(r->listen_fd, (struct sockaddr *)&a, &n))
        abort();
    r->port = ntohs(a.sin_port);
    digest_of(r->weights.data, r->weights.len, r->digest);
    digest_of(config, sizeof config - 1, r->config_digest);
    if (pthread_create(&r->thread, NULL, run, r))
        abort();
    return r;
}

int registry_port(const struct registry *r)
{
    return r->port;
}

void registry_stop(struct registry *r)
{
    atomic_store(&r->stopping, true);
    pthread_join(r->thread, NULL);
    for (size_t i = 0; i < r->n; i++) {
        pthread_join(r->connections[i].thread, NULL);
        close(r->connections[i].fd);
    }
    close(r->listen_fd);
    jl_buf_release(&r->weights);
    free(r);
}
