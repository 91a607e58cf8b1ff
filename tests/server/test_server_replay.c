/* Recorded answers of real engines, through the server: whatever pieces they come in, the client gets every byte of the body and
 * every header that is not of the connection. Each is cut in two at several places, short ones and some streams at every byte;
 * with the argument `every` all of them at every byte, head and framing too. */
#include "tests/cli/test.h"

#include "lib/platform/platform.h"
#include "server/headers.h"
#include "tests/server/front.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 16, EVERY_BYTE = 160, CUTS = 5, MOST = 400 };

static bool every;

/* Cut at every byte although they are long: a stream in chunks, events with named types, lines. */
static const char *const thorough[] = {"llama-server/chat-stream", "composed/anthropic-stream", "ollama/chat-stream"};

struct recording {
    char *name, *bytes;
    size_t n;
    bool head; /* of a HEAD request */
    struct answer want;
    char *want_headers;
};
struct replay {
    struct recording all[MOST];
    struct play plays[MOST];
    size_t n;
    struct front front;
    atomic_size_t next, asked;
    atomic_bool failed;
};

/* Headers of a head that pass a proxy, as text; blanks around values mean nothing. */
static char *passing(const char *head)
{
    struct net_header in[100], out[100];
    struct jl_buf b;
    size_t n = 0;
    char *text = jl_strdup(head), *save = NULL;
    strtok_r(text, "\r\n", &save);
    for (char *line; n < 100 && (line = strtok_r(NULL, "\r\n", &save));) {
        char *value = strchr(line, ':');
        if (!value)
            continue;
        *value++ = '\0';
        value += strspn(value, " ");
        size_t length = strlen(value);
        while (length && value[length - 1] == ' ')
            value[--length] = '\0';
        in[n++] = (struct net_header){line, value};
    }
    jl_buf_init(&b, 1 << 20);
    jl_buf_str(&b, "");
    n = headers_down(in, n, out);
    for (size_t i = 0; i < n; i++)
        jl_buf_printf(&b, "%s: %s\n", out[i].name, out[i].value);
    free(text);
    return b.data;
}

/* What a client sees that talks to the engine itself, by the same reader. */
static void read_directly(struct recording *r)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    client_send(fds[0], r->bytes, r->n);
    close(fds[0]);
    client_read(fds[1], &r->want, r->head);
    close(fds[1]);
    r->want_headers = passing(r->want.head);
    r->n = r->want.used; /* some have further answers of the same connection behind it */
}

static bool is_head(const char *path)
{
    char first[6] = "";
    char *request = jl_strf("%.*s.request.http", (int)(strlen(path) - strlen(".response.http")), path);
    FILE *f = fopen(request, "rb");
    if (f) {
        if (!fread(first, 1, 5, f))
            first[0] = '\0';
        fclose(f);
    }
    free(request);
    return strcmp(first, "HEAD ") == 0;
}

/* A connection serves on where the answer says how long it is: a hundred thousand cuts need few of them. */
static enum then after(const struct recording *r)
{
    char *length = answer_header(&r->want, "Content-Length"), *chunked = answer_header(&r->want, "Transfer-Encoding");
    bool framed = r->want.whole && (length || chunked);
    free(length);
    free(chunked);
    return framed ? THEN_KEEP : THEN_CLOSE;
}

static void load(struct replay *t, const char *folder)
{
    char *dir = jl_strf("%s/%s", FIXTURES, folder), **names;
    size_t n;
    assert_int_equal(jl_list_dir(dir, &names, &n, NULL), JOULET_OK);
    for (size_t i = 0; i < n; i++) {
        char *end = strstr(names[i], ".response.http"), *path = jl_strf("%s/%s", dir, names[i]);
        struct recording *r = &t->all[t->n];
        struct jl_buf b;
        jl_buf_init(&b, 1 << 24);
        if (end && jl_read_file(path, &b, NULL) == JOULET_OK && b.len && t->n < MOST) {
            char *skip = jl_starts(b.data, "HTTP/1.1 100") ? strstr(b.data, "\r\n\r\n") + 4 : b.data; /* ends at the proxy */
            *r = (struct recording){.name = jl_strf("%s/%.*s", folder, (int)(end - names[i]), names[i]), .bytes = jl_strdup("")};
            r->n = b.len - (size_t)(skip - b.data);
            r->bytes = realloc(r->bytes, r->n + 1);
            memcpy(r->bytes, skip, r->n + 1);
            r->head = is_head(path);
            read_directly(r);
            if (r->want.status >= 200)
                t->plays[t->n] = (struct play){.path = jl_strf("/%zu", t->n), .bytes = r->bytes, .n = r->n, .then = after(r)},
                t->n++;
        }
        jl_buf_release(&b);
        free(path);
    }
    jl_free_list(names, n);
    free(dir);
}

static void compare(struct replay *t, const struct recording *r, size_t cut, struct answer *got)
{
    char *headers = passing(got->head);
    if (got->status != r->want.status || got->whole != r->want.whole || got->n != r->want.n ||
        memcmp(got->body, r->want.body, got->n) != 0 || strcmp(headers, r->want_headers) != 0) {
        fprintf(stderr, "%s cut at %zu of %zu: status %d for %d, %s for %s, %zu bytes for %zu\n%s for\n%s%.300s\n", r->name, cut,
                r->n, got->status, r->want.status, got->whole ? "whole" : "cut", r->want.whole ? "whole" : "cut", got->n,
                r->want.n, headers, r->want_headers, got->body);
        atomic_store(&t->failed, true);
    }
    free(headers);
}

/* *fd: a connection to the server, or -1. */
static void replay_at(struct replay *t, int *fd, size_t i, size_t cut)
{
    char request[100];
    struct answer got;
    if (*fd < 0)
        *fd = client_connect(t->front.server);
    snprintf(request, sizeof(request), "%s /%zu?cut=%zu HTTP/1.1\r\nHost: localhost\r\n\r\n", t->all[i].head ? "HEAD" : "GET", i,
             cut);
    client_say(*fd, request);
    client_read(*fd, &got, t->all[i].head);
    compare(t, &t->all[i], cut, &got);
    char *connection = answer_header(&got, "Connection");
    if (got.closed || connection || t->plays[i].then == THEN_CLOSE) {
        close(*fd);
        *fd = -1;
    }
    free(connection);
    answer_release(&got);
    atomic_fetch_add(&t->asked, 1);
}

static size_t step_of(const struct recording *r)
{
    if (every || r->n <= EVERY_BYTE)
        return 1;
    for (size_t k = 0; k < JL_COUNT(thorough); k++)
        if (strcmp(r->name, thorough[k]) == 0)
            return 1;
    return r->n / CUTS + 1;
}

static void *client(void *arg)
{
    struct replay *t = arg;
    int fd = -1;
    for (size_t i; (i = atomic_fetch_add(&t->next, 1)) < t->n && !atomic_load(&t->failed);) {
        const struct recording *r = &t->all[i];
        size_t step = step_of(r);
        for (size_t cut = i % step; cut < r->n; cut += step)
            replay_at(t, &fd, i, cut);
    }
    if (fd >= 0)
        close(fd);
    return NULL;
}

static void recordings_byte_for_byte(void **state)
{
    struct replay *t = calloc(1, sizeof(*t));
    pthread_t threads[CLIENTS];
    (void)state;
    load(t, "llama-server");
    load(t, "ollama");
    load(t, "composed");
    assert_true(t->n > 200);
    front_start(&t->front, t->plays, t->n, NULL);
    for (size_t i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, client, t), 0);
    for (size_t i = 0; i < CLIENTS; i++)
        pthread_join(threads[i], NULL);
    size_t bytes = 0;
    for (size_t i = 0; i < t->n; i++)
        bytes += t->all[i].n;
    printf("%zu recordings of %zu bytes, %zu cuts\n", t->n, bytes, atomic_load(&t->asked));
    assert_true(!every || atomic_load(&t->failed) || atomic_load(&t->asked) == bytes);
    front_stop(&t->front);
    assert_false(atomic_load(&t->failed));
    for (size_t i = 0; i < t->n; i++) {
        free((char *)(uintptr_t)t->plays[i].path);
        free(t->all[i].name);
        free(t->all[i].bytes);
        free(t->all[i].want_headers);
        answer_release(&t->all[i].want);
    }
    free(t);
}

int main(int argc, char **argv)
{
    every = argc > 1 && strcmp(argv[1], "every") == 0;
    const struct CMUnitTest tests[] = {cmocka_unit_test(recordings_byte_for_byte)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
