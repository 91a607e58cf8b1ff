/* front.c - sockets without any library: what is sent is what is written here. */
#include "tests/server/front.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 180000

static void on_said(void *user, const char *sentence)
{
    struct front *f = user;
    pthread_mutex_lock(f->lock);
    jl_buf_printf(&f->said, "%s\n", sentence);
    pthread_mutex_unlock(f->lock);
}

void front_start(struct front *f, const struct play *plays, size_t n, const struct server_options *o)
{
    struct server_options all = o ? *o : (struct server_options){0};
    struct joulet_error err;
    pthread_mutex_t *lock = malloc(sizeof(*lock));
    *f = (struct front){.lock = lock, .upstream = upstream_start(plays, n)};
    pthread_mutex_init(lock, NULL);
    jl_buf_init(&f->said, 1 << 20);
    f->to.url = upstream_url(f->upstream);
    if (!all.upstreams) {
        all.upstreams = &f->to;
        all.n_upstreams = 1;
    }
    if (getenv("TOGETHER")) /* the same tests, with streams passed by one thread from the first one on */
        all.together = 1;
    all.listen = all.listen ? all.listen : "127.0.0.1:0";
    all.said = on_said;
    all.user = f;
    if (server_open(&f->server, &all, &err) != JOULET_OK) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
}

void front_stop(struct front *f)
{
    server_close(f->server);
    upstream_stop(f->upstream);
    jl_buf_release(&f->said);
    pthread_mutex_destroy(f->lock);
    free(f->lock);
}

size_t front_said(struct front *f, const char *part)
{
    size_t n = 0;
    pthread_mutex_lock(f->lock);
    for (const char *p = f->said.data; p && (p = strstr(p, part)); p++)
        n++;
    pthread_mutex_unlock(f->lock);
    return n;
}

int client_connect(const struct server *s)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    a.sin_port = htons((uint16_t)atoi(strrchr(server_address(s), ':') + 1));
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)))
        abort();
    return fd;
}

void client_send(int fd, const char *bytes, size_t n)
{
    while (n) {
        ssize_t done = send(fd, bytes, n, MSG_NOSIGNAL);
        if (done <= 0)
            return; /* it closed: what it answered says why */
        bytes += done;
        n -= (size_t)done;
    }
}

void client_say(int fd, const char *text)
{
    client_send(fd, text, strlen(text));
}

static bool readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, PATIENCE_MS) > 0;
}

static char *header_of(const char *head, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = strstr(head, "\r\n"); p; p = strstr(p + 2, "\r\n"))
        if (strncasecmp(p + 2, name, n) == 0 && p[2 + n] == ':') {
            const char *value = p + 3 + n + strspn(p + 3 + n, " \t");
            return strndup(value, strcspn(value, "\r"));
        }
    return NULL;
}

char *answer_header(const struct answer *a, const char *name)
{
    return header_of(a->head, name);
}

struct input {
    int fd;
    char bytes[65536];
    size_t at, n, used;
};

/* -1 at the end. A test asks for the next answer after it has read this one: nothing of that can be in the buffer. */
static int byte_of(struct input *in)
{
    if (in->at == in->n) {
        ssize_t n = readable(in->fd) ? recv(in->fd, in->bytes, sizeof(in->bytes), 0) : -1;
        if (n <= 0)
            return -1;
        in->at = 0;
        in->n = (size_t)n;
    }
    in->used++;
    return (unsigned char)in->bytes[in->at++];
}

static bool take(struct input *in, struct jl_buf *out, size_t n)
{
    while (n) {
        int c = byte_of(in);
        if (c < 0)
            return false;
        size_t more = in->n - in->at < n - 1 ? in->n - in->at : n - 1; /* and what else is at hand */
        if (!jl_buf_add(out, &(char){(char)c}, 1) || (more && !jl_buf_add(out, in->bytes + in->at, more)))
            return false;
        in->at += more;
        in->used += more;
        n -= 1 + more;
    }
    return true;
}

static bool take_line(struct input *in, char *line, size_t size)
{
    size_t n = 0;
    for (int c; n + 1 < size; n++) {
        if ((c = byte_of(in)) < 0)
            return false;
        line[n] = (char)c;
        if (c == '\n') {
            line[n + 1] = '\0';
            return true;
        }
    }
    return false;
}

static bool take_chunks(struct input *in, struct jl_buf *out)
{
    char line[256];
    for (;;) {
        if (!take_line(in, line, sizeof(line)))
            return false;
        size_t n = strtoul(line, NULL, 16);
        if (n == 0)
            return take_line(in, line, sizeof(line));
        if (!take(in, out, n) || !take_line(in, line, sizeof(line)))
            return false;
    }
}

void client_read(int fd, struct answer *a, bool head_only)
{
    struct jl_buf head, body;
    struct input *in = calloc(1, sizeof(*in));
    *a = (struct answer){0};
    in->fd = fd;
    jl_buf_init(&head, 1 << 20);
    jl_buf_init(&body, (size_t)1 << 31);
    while (!(head.len >= 4 && memcmp(head.data + head.len - 4, "\r\n\r\n", 4) == 0) && take(in, &head, 1))
        continue;
    a->head = head.data ? head.data : jl_strdup("");
    a->status = head.len > 12 ? atoi(a->head + 9) : 0;
    char *length = header_of(a->head, "Content-Length"), *chunked = header_of(a->head, "Transfer-Encoding");
    if (a->status == 0)
        a->closed = true;
    else if (head_only || a->status == 204 || a->status == 304 || a->status < 200)
        a->whole = true;
    else if (chunked)
        a->whole = take_chunks(in, &body);
    else if (length)
        a->whole = take(in, &body, strtoul(length, NULL, 10));
    else {
        while (take(in, &body, 1))
            continue;
        a->whole = true;
    }
    a->closed |= !a->whole;
    a->body = body.data ? body.data : jl_strdup("");
    a->n = body.len;
    a->used = in->used;
    free(length);
    free(chunked);
    free(in);
}

bool client_closed(int fd)
{
    char bytes[4096];
    while (readable(fd))
        if (recv(fd, bytes, sizeof(bytes), 0) <= 0)
            return true;
    return false;
}

void answer_release(struct answer *a)
{
    free(a->head);
    free(a->body);
}

void ask(const struct server *s, const char *request, struct answer *a)
{
    int fd = client_connect(s);
    client_say(fd, request);
    client_read(fd, a, strncmp(request, "HEAD ", 5) == 0);
    close(fd);
}
