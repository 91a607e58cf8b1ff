/* peer.c - plain sockets, so that what is measured is what stands between them. Stamps are of one clock: both ends run here. */
#include "bench/proxy/peer.h"

#include <arpa/inet.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define STAMP  "t="
#define DIGITS 19

static bool send_all(int fd, const char *bytes, size_t n)
{
    while (n) {
        ssize_t done = send(fd, bytes, n, MSG_NOSIGNAL);
        if (done <= 0)
            return false;
        bytes += done;
        n -= (size_t)done;
    }
    return true;
}

/* ---- the upstream ------------------------------------------------------------------------------------------------ */

/* About what a token of a chat stream is. */
static bool send_chunk(int fd)
{
    char event[256], chunk[300];
    int n = snprintf(event, sizeof(event),
                     "data: {\"id\":\"" STAMP
                     "%019lld\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" "
                     "word\"},\"finish_reason\":null}]}\n\n",
                     (long long)jl_mono_ns());
    n = snprintf(chunk, sizeof(chunk), "%x\r\n%s\r\n", (unsigned)n, event);
    return send_all(fd, chunk, (size_t)n);
}

/* As chat streams end. */
static bool send_end(int fd)
{
    static const char end[] =
        "4f\r\ndata: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n\r\n"
        "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";
    return send_all(fd, end, sizeof(end) - 1);
}

static struct peer_silence *shared;

struct peer_silence *peer_share(void)
{
    void *all = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared = all == MAP_FAILED ? NULL : all;
    return shared;
}

/* True: the client speaks. */
static bool stay_silent(int fd)
{
    char byte;
    if (shared)
        atomic_fetch_add(&shared->begun, 1);
    bool speaks = recv(fd, &byte, 1, 0) > 0;
    if (shared && !speaks)
        atomic_store(&shared->left_ns, jl_mono_ns());
    return speaks;
}

static bool answer(int fd, const char *target)
{
    static const char stream[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    static const char quick[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    unsigned n = 1, gap_us = 0;
    const char *stamped = strstr(target, "/s/");
    if (strstr(target, "/q"))
        return send_all(fd, quick, sizeof(quick) - 1);
    if (strstr(target, "/w"))
        return stay_silent(fd);
    bool hold = !stamped || sscanf(stamped, "/s/%u/%u", &n, &gap_us) != 2;
    if (!send_all(fd, stream, sizeof(stream) - 1))
        return false;
    int64_t at_ns = jl_mono_ns();
    for (unsigned i = 0; i < n; i++) {
        jl_sleep_until(at_ns += (int64_t)gap_us * 1000);
        if (!send_chunk(fd))
            return false;
    }
    if (hold)
        return stay_silent(fd);
    return send_end(fd);
}

/* One request at a time; its body follows its head at once. False: the end. */
static bool read_request(int fd, char *in, size_t size, char *target, size_t target_size)
{
    size_t n = 0;
    char *end = NULL;
    while (!end) {
        ssize_t got = n + 1 < size ? recv(fd, in + n, size - 1 - n, 0) : 0;
        if (got <= 0)
            return false;
        n += (size_t)got;
        in[n] = '\0';
        end = strstr(in, "\r\n\r\n");
    }
    const char *length = strcasestr(in, "\r\nContent-Length:");
    size_t body = length ? strtoul(length + 17, NULL, 10) : 0, here = n - (size_t)(end + 4 - in);
    const char *from = strchr(in, ' ');
    snprintf(target, target_size, "%.*s", from ? (int)strcspn(from + 1, " ") : 0, from ? from + 1 : "");
    for (ssize_t got; here < body; here += (size_t)got)
        if ((got = recv(fd, in, size - 1, 0)) <= 0)
            return false;
    return true;
}

static void *serve_one(void *arg)
{
    int fd = (int)(intptr_t)arg, on = 1;
    char in[16384], target[100];
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    while (read_request(fd, in, sizeof(in), target, sizeof(target)) && answer(fd, target))
        continue;
    close(fd);
    return NULL;
}

int peer_listen(int *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 4096) || getsockname(fd, (struct sockaddr *)&a, &n))
        return -1;
    *port = ntohs(a.sin_port);
    return fd;
}

void peer_serve(int listen_fd)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, (size_t)128 * 1024);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    for (;;) {
        pthread_t thread;
        int fd = accept(listen_fd, NULL, NULL);
        if (fd >= 0 && pthread_create(&thread, &attr, serve_one, (void *)(intptr_t)fd))
            close(fd);
    }
}

/* ---- the client -------------------------------------------------------------------------------------------------- */

void peer_shuffle(int *order, int n, struct jl_rng *rng)
{
    for (int i = 0; i < n; i++)
        order[i] = i;
    for (int i = n - 1; i > 0; i--) {
        int k = (int)jl_rng_below(rng, (uint64_t)i + 1), kept = order[i];
        order[i] = order[k];
        order[k] = kept;
    }
}

void sample_add(struct sample *x, double s)
{
    if (x->n == x->cap) {
        size_t cap = x->cap ? x->cap * 2 : 256;
        double *more = realloc(x->s, cap * sizeof(*more));
        if (!more)
            abort();
        x->s = more;
        x->cap = cap;
    }
    x->s[x->n++] = s;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double sample_quantile(struct sample *x, double q)
{
    if (!x->n)
        return (double)NAN;
    qsort(x->s, x->n, sizeof(*x->s), by_size);
    return x->s[(size_t)(q * (double)(x->n - 1) + 0.5)];
}

void sample_release(struct sample *x)
{
    free(x->s);
    *x = (struct sample){0};
}

int peer_connect(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a))) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

/* A request for a chat with a body of about that many bytes, so that whoever meters has something to recognise. */
static bool send_request(int fd, const char *what, bool stream, size_t body)
{
    static const char end[] = "\"}]}";
    char begin[128];
    size_t n = body + 600;
    char *request = malloc(n);
    if (!request)
        return false;
    size_t begins = (size_t)snprintf(begin, sizeof(begin),
                                     "{\"model\":\"bench\",\"stream\":%s,\"messages\":[{\"role\":\"user\",\"content\":\"",
                                     stream ? "true" : "false");
    size_t fill = body > begins + sizeof(end) ? body - begins - sizeof(end) : 1, all = begins + fill + sizeof(end) - 1;
    size_t head = (size_t)snprintf(request, n,
                                   "POST /v1/chat/completions?%s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: "
                                   "application/json\r\nAuthorization: Bearer none\r\nContent-Length: %zu\r\n\r\n%s",
                                   what, all, begin);
    memset(request + head, 'x', fill);
    memcpy(request + head + fill, end, sizeof(end) - 1);
    bool ok = send_all(fd, request, head + fill + sizeof(end) - 1);
    free(request);
    return ok;
}

/* Looks for stamps until the last chunk (or, when `most` is not 0, so many stamps); their age goes into chunks. */
static size_t read_stamps(int fd, size_t most, struct sample *chunks, int64_t *first_ns)
{
    char in[65536];
    size_t n = 0, seen = 0;
    for (;;) {
        ssize_t got = recv(fd, in + n, sizeof(in) - 1 - n, 0);
        int64_t now_ns = jl_mono_ns();
        if (got <= 0)
            return seen;
        n += (size_t)got;
        in[n] = '\0';
        char *p = in, *next;
        while ((next = strstr(p, STAMP)) && strlen(next) >= 2 + DIGITS) {
            if (chunks)
                sample_add(chunks, jl_s(now_ns - strtoll(next + 2, NULL, 10)));
            if (seen++ == 0 && first_ns)
                *first_ns = now_ns;
            p = next + 2 + DIGITS;
        }
        if ((most && seen >= most) || strstr(p, "\r\n0\r\n\r\n") || strncmp(p, "0\r\n\r\n", 5) == 0)
            return seen;
        size_t left = (size_t)(in + n - p), keep = left < 64 ? left : 64; /* a stamp or the end may be cut */
        memmove(in, in + n - keep, keep);
        n = keep;
    }
}

bool peer_ask_stream(int fd, size_t body, unsigned n, unsigned gap_us)
{
    char what[64];
    snprintf(what, sizeof(what), "/s/%u/%u", n, gap_us);
    return send_request(fd, what, true, body);
}

bool peer_stream(int fd, size_t body, unsigned n, unsigned gap_us, struct sample *chunks, double *first_s)
{
    int64_t from_ns = jl_mono_ns(), first_ns = from_ns;
    if (!peer_ask_stream(fd, body, n, gap_us) || read_stamps(fd, 0, chunks, &first_ns) != n)
        return false;
    if (first_s)
        *first_s = jl_s(first_ns - from_ns);
    return true;
}

bool peer_ask(int fd)
{
    char in[4096];
    size_t n = 0, want = sizeof(in);
    if (!send_request(fd, "/q", false, 64))
        return false;
    do {
        ssize_t got = recv(fd, in + n, sizeof(in) - 1 - n, 0);
        if (got <= 0)
            return false;
        n += (size_t)got;
        in[n] = '\0';
        const char *end = strstr(in, "\r\n\r\n"), *length = strcasestr(in, "\r\nContent-Length:");
        if (end && !length)
            return false;
        want = end ? (size_t)(end + 4 - in) + strtoul(length + 17, NULL, 10) : want;
    } while (n < want);
    return n == want;
}

bool peer_hold(int fd)
{
    return send_request(fd, "/h", true, 64) && read_stamps(fd, 1, NULL, NULL) == 1;
}

bool peer_wait(int fd)
{
    return send_request(fd, "/w", true, 64);
}
