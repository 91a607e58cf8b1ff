/* recognise_process.c - the process that recognises (docs/proxy-recognition.md, "When the reading of answers fails"): it reads
 * pieces of records from its standard input and writes replies there. It can do nothing else: before it reads the first byte it
 * gives up its environment, files, further memory and, where the kernel takes filters, every call of the system but those for
 * memory and the one socket. */
#include "server/recognise_apart.h"
#include "server/recognise_wire.h"

#include "lib/platform/platform.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEMORY_MAX ((int64_t)1 << 30)
#define SOCKET     0

/* ---- pieces -------------------------------------------------------------------------------------------------------------- */

static bool read_all(void *bytes, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t got = read(SOCKET, (char *)bytes + at, n - at);
        if (got > 0)
            at += (size_t)got;
        else if (got == 0 || errno != EINTR)
            return false;
    }
    return true;
}

static bool write_all(const void *bytes, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t put = write(SOCKET, (const char *)bytes + at, n - at);
        if (put > 0)
            at += (size_t)put;
        else if (put == 0 || errno != EINTR)
            return false;
    }
    return true;
}

struct answers {
    uint32_t n; /* bytes that follow it, in one piece with it */
    char bytes[APART_ANSWER_MAX];
    bool failed;
};

static void send_answers(struct answers *a)
{
    a->failed |= !write_all(a, sizeof a->n + a->n);
    a->n = 0;
}

static void on_reply(void *user, const struct apart_reply *r, const void *bytes)
{
    struct answers *a = user;
    if (a->n + sizeof *r + r->n > sizeof a->bytes)
        send_answers(a);
    memcpy(a->bytes + a->n, r, sizeof *r);
    a->n += sizeof *r;
    if (r->n)
        memcpy(a->bytes + a->n, bytes, r->n);
    a->n += r->n;
}

/* False: what came is no piece. */
static bool read_piece(struct apart_worker *w, const char *bytes, size_t n)
{
    while (n) {
        struct apart_record r;
        if (n < sizeof r)
            return false;
        memcpy(&r, bytes, sizeof r);
        if (r.n > n - sizeof r)
            return false;
        apart_worker_record(w, &r, bytes + sizeof r);
        bytes += sizeof r + r.n;
        n -= sizeof r + r.n;
    }
    return true;
}

/* A service manager sends its signals to every process of a service: answers under way would be read no more while the proxy
 * still waits for their ends. This process ends when its socket does. */
static void ignore_what_is_meant_for_the_proxy(void)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < JL_COUNT(signals); i++)
        signal(signals[i], SIG_IGN);
}

int apart_process(void)
{
    static struct answers answers;
    ignore_what_is_meant_for_the_proxy();
    struct apart_worker *w = apart_worker_open(on_reply, &answers);
    char *piece = malloc(APART_PIECE_MAX);
    uint32_t n;
    bool on = w && piece;
    json_object_seed(0); /* opens a file, so it comes first */
    jl_confine(MEMORY_MAX);
    while (on && read_all(&n, sizeof n)) {
        on = n <= APART_PIECE_MAX && read_all(piece, n) && read_piece(w, piece, n);
        if (on && answers.n)
            send_answers(&answers);
        if (on)
            send_answers(&answers); /* an empty one: that is all */
        on = on && !answers.failed;
    }
    apart_worker_close(w);
    free(piece);
    return on ? 0 : 1;
}
