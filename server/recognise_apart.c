/* recognise_apart.c - the side of the program: gathers records, hands them over, and tells what comes back, once it has been
 * looked at (recognise_wire.h). */
#include "server/recognise_apart.h"

#include "lib/platform/platform.h"
#include "server/recognise_wire.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_S       2.0
#define START_S          10.0 /* of a new process, on a busy machine */
#define WAIT_MS          50
#define ENOUGH           ((size_t)32 << 10) /* to be handed over now */
#define WAITS_NS         ((int64_t)60000000)
#define AT_ONCE          ((size_t)256 << 10)  /* handed over without waiting for more */
#define BYTES_MAX        ((size_t)64 << 10)   /* of one record; longer ones become several */
#define BACK_OFF_NS      ((int64_t)100000000) /* after the first death; doubled with each one ... */
#define BACK_OFF_MOST_NS ((int64_t)30 * JL_NS_PER_S)
#define LIVED_NS         ((int64_t)60 * JL_NS_PER_S) /* ... unless it lived so long */
#define AMOUNT_MAX       1e12
#define VERB             "--recognise"

static bool can_be_apart; /* set once, before there are threads */

struct exchange_at { /* one exchange that is under way */
    void *state;
    struct recognised known;       /* for when the process is lost */
    int64_t t_begin_ns, t_sent_ns; /* of the records that were put: nothing told can be outside */
    int64_t t_asked_ns, t_end_ns;
    bool lost, asked, ending; /* the answer to the end of the request, or of it all, is waited for */
};

struct apart {
    struct apart_told told;
    struct apart_options o;
    struct apart_worker *worker; /* without a process */
    struct exchange_at **xs;
    uint32_t n, *unused, n_unused;
    struct jl_buf piece;
    struct jl_process process;
    int socket;                  /* -1: no process */
    bool fresh;                  /* it has not answered yet */
    bool urgent;                 /* in `piece` is what should not wait */
    int64_t since_ns, oldest_ns; /* its first record was put; the earliest time in it */
    int64_t started_ns, next_ns, back_off_ns;
    uint64_t losses;
};

/* ---- what is told ---------------------------------------------------------------------------------------------------- */

static void drop(struct apart *a, uint32_t x)
{
    free(a->xs[x]);
    a->xs[x] = NULL;
    a->unused[a->n_unused++] = x;
}

static int64_t within(const struct exchange_at *e, int64_t t_ns)
{
    return t_ns < e->t_begin_ns ? e->t_begin_ns : t_ns > e->t_sent_ns ? e->t_sent_ns : t_ns;
}

/* Some moments are 0 for "never". */
static int64_t moment(const struct exchange_at *e, int64_t t_ns)
{
    return t_ns && t_ns == within(e, t_ns) ? t_ns : 0;
}

static bool is_amount(double x)
{
    return x >= 0 && x <= AMOUNT_MAX;
}

static void take_recognised(const struct exchange_at *e, const void *bytes, struct recognised *r)
{
    struct recognised_wire wire;
    memcpy(&wire, bytes, sizeof wire);
    recognised_from_wire(&wire, r);
    r->t_first_ns = moment(e, r->t_first_ns);
    r->t_answer_ns = moment(e, r->t_answer_ns);
    r->t_last_ns = moment(e, r->t_last_ns);
}

/* A whole record of what an exchange, or a request inside it, is. */
static void tell_recognised(struct apart *a, const struct apart_reply *r, const void *bytes)
{
    struct exchange_at *e = a->xs[r->x];
    struct recognised got;
    bool request = r->what == APART_TOLD_REQUEST;
    if (r->n != sizeof(struct recognised_wire))
        return;
    take_recognised(e, bytes, &got);
    if (r->part == 0) {
        if (request ? !e->asked : !e->ending)
            return;               /* nobody asked */
        got.kind = e->known.kind; /* by the path: what the bytes say changes neither */
        got.protocol = e->known.protocol;
        got.status = got.status ? got.status : e->known.status; /* which may have come since */
        e->known = got;
    }
    if (request) {
        e->asked = e->asked && r->part != 0;
        a->told.request(e->state, r->part, &got, r->part ? within(e, r->t_ns) : e->t_asked_ns);
        return;
    }
    void *state = e->state;
    int64_t t_ns = r->part ? within(e, r->t_ns) : e->t_end_ns;
    if (r->part == 0)
        drop(a, r->x);
    a->told.end(state, r->part, &got, false, t_ns);
}

static void on_reply(void *user, const struct apart_reply *r, const void *bytes)
{
    struct apart *a = user;
    struct exchange_at *e = r->x < a->n ? a->xs[r->x] : NULL;
    if (!e || e->lost)
        return;
    switch ((enum apart_reply_what)r->what) {
    case APART_TOLD_REQUEST:
    case APART_TOLD_END:
        tell_recognised(a, r, bytes);
        break;
    case APART_TOLD_PROGRESS:
        if (is_amount(r->a) && (!r->flag || r->a <= 1))
            a->told.progress(e->state, r->part, r->a, r->flag != 0, within(e, r->t_ns));
        break;
    case APART_TOLD_PROMPT:
        if (is_amount(r->a) && is_amount(r->b) && r->a <= r->b)
            a->told.prompt(e->state, r->part, r->a, r->b);
        break;
    case APART_TOLD_PIECE:
        if (is_amount(r->a) || isnan(r->a))
            a->told.piece(e->state, r->part, r->a, r->flag != 0, within(e, r->t_ns));
        break;
    case APART_TOLD_READS:
        a->told.reads(e->state, r->flag != 0, within(e, r->t_ns));
        break;
    default:
        break;
    }
}

/* What was waited for comes from what is known already. */
static void lose(struct apart *a, uint32_t x)
{
    struct exchange_at *e = a->xs[x];
    if (!e->lost && a->told.lost)
        a->told.lost(e->state);
    e->lost = true;
    if (e->asked) {
        e->asked = false;
        a->told.request(e->state, 0, &e->known, e->t_asked_ns);
    }
    if (e->ending) {
        void *state = e->state;
        struct recognised known = e->known;
        int64_t t_ns = e->t_end_ns;
        known.whole = known.done = false;
        drop(a, x);
        a->told.end(state, 0, &known, true, t_ns);
    }
}

/* ---- the process ------------------------------------------------------------------------------------------------------- */

static void start_process(struct apart *a)
{
    static const char *const argv[] = {"/proc/self/exe", VERB, NULL};
    int ends[2];
    a->started_ns = jl_mono_ns();
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return;
    struct jl_spawn what = {.argv = argv, .in = ends[1], .confined = true};
    bool ok = fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0 && jl_spawn(&a->process, &what, NULL) == JOULET_OK;
    close(ends[1]);
    if (ok) {
        a->socket = ends[0];
        a->fresh = true;
    } else {
        close(ends[0]);
    }
}

static void end_process(struct apart *a)
{
    close(a->socket);
    a->socket = -1;
    jl_process_stop(&a->process, 0);
}

/* It died, or hangs: everything under way is lost, and another one is started when the time has come. */
static void lose_process(struct apart *a)
{
    int64_t now = jl_mono_ns();
    if (now - a->started_ns > LIVED_NS)
        a->back_off_ns = 0;
    a->back_off_ns = a->back_off_ns == 0                     ? BACK_OFF_NS
                     : a->back_off_ns * 2 < BACK_OFF_MOST_NS ? a->back_off_ns * 2
                                                             : BACK_OFF_MOST_NS;
    a->next_ns = now + a->back_off_ns;
    a->losses++;
    if (a->socket >= 0)
        end_process(a);
    jl_buf_clear(&a->piece);
    for (uint32_t x = 0; x < a->n; x++)
        if (a->xs[x])
            lose(a, x);
}

/* A little at a time: by what a wait comes back late nothing here was run, nor perhaps the process, and it has so much longer. */
static bool wait_for(const struct apart *a, short events, int64_t *until_ns)
{
    struct pollfd p = {.fd = a->socket, .events = events};
    for (int64_t now = jl_mono_ns(), next; now < *until_ns; now = next) {
        int n = poll(&p, 1, WAIT_MS);
        if (n > 0 || (n < 0 && errno == EINTR))
            return true;
        next = jl_mono_ns();
        int64_t late_ns = next - now - (int64_t)WAIT_MS * 1000000;
        *until_ns += late_ns > 0 ? late_ns : 0;
    }
    return false;
}

static bool send_all(const struct apart *a, const char *bytes, size_t n, int64_t *until_ns)
{
    while (n) {
        ssize_t put = send(a->socket, bytes, n, MSG_NOSIGNAL);
        if (put < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        if (put < 0 && !wait_for(a, POLLOUT, until_ns))
            return false;
        if (put > 0) {
            bytes += put;
            n -= (size_t)put;
        }
    }
    return true;
}

static bool read_all(const struct apart *a, void *bytes, size_t n, int64_t *until_ns)
{
    for (size_t at = 0; at < n;) {
        ssize_t got = recv(a->socket, (char *)bytes + at, n - at, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
            return false;
        if (got < 0 && !wait_for(a, POLLIN, until_ns))
            return false;
        if (got > 0)
            at += (size_t)got;
    }
    return true;
}

static bool tell_answers(struct apart *a, const char *bytes, size_t n)
{
    while (n) {
        struct apart_reply r;
        if (n < sizeof r)
            return false;
        memcpy(&r, bytes, sizeof r);
        if (r.n > n - sizeof r)
            return false;
        on_reply(a, &r, bytes + sizeof r);
        bytes += sizeof r + r.n;
        n -= sizeof r + r.n;
    }
    return true;
}

/* Hands over what was gathered and tells what comes back. False: the process is lost. */
static bool hand_over(struct apart *a)
{
    char answer[APART_ANSWER_MAX];
    double patience_s = a->o.patience_s > 0 ? a->o.patience_s : PATIENCE_S;
    int64_t until_ns = jl_mono_ns() + jl_ns(a->fresh && patience_s < START_S ? START_S : patience_s);
    uint32_t n = (uint32_t)a->piece.len;
    if (!send_all(a, (const char *)&n, sizeof n, &until_ns) || !send_all(a, a->piece.data, a->piece.len, &until_ns))
        return false;
    for (;;) {
        if (!read_all(a, &n, sizeof n, &until_ns) || n > sizeof answer || !read_all(a, answer, n, &until_ns))
            return false;
        a->fresh = false;
        if (n == 0)
            return true;
        if (!tell_answers(a, answer, n))
            return false;
    }
}

void apart_flush(struct apart *a)
{
    if (a->socket >= 0 && a->piece.len) {
        bool ok = hand_over(a);
        a->urgent = false;
        jl_buf_clear(&a->piece);
        if (!ok)
            lose_process(a);
    }
}

int64_t apart_pause(struct apart *a)
{
    if (a->urgent || a->piece.len > ENOUGH || (a->piece.len && jl_mono_ns() - a->since_ns > WAITS_NS))
        apart_flush(a);
    return a->piece.len ? a->oldest_ns : 0;
}

/* ---- what passes ------------------------------------------------------------------------------------------------------- */

static void put(struct apart *a, struct apart_record r, const void *bytes)
{
    if (a->worker) {
        apart_worker_record(a->worker, &r, bytes);
        return;
    }
    if (a->piece.len + sizeof r + r.n > AT_ONCE)
        apart_flush(a);
    if (!a->xs[r.x]) /* it ended with the process */
        return;
    if (a->xs[r.x]->lost) {
        lose(a, r.x);
        return;
    }
    if (!a->piece.len)
        a->since_ns = a->oldest_ns = jl_mono_ns();
    if (r.t_ns && r.t_ns < a->oldest_ns)
        a->oldest_ns = r.t_ns;
    a->urgent |= r.what == APART_REQUEST_END || r.what == APART_END;
    if (!jl_buf_add(&a->piece, &r, sizeof r) || (r.n && !jl_buf_add(&a->piece, bytes, r.n)))
        lose_process(a); /* no memory: half a record would be misread */
}

static bool more_places(struct apart *a)
{
    uint32_t n = a->n ? a->n * 2 : 64;
    struct exchange_at **xs = n <= APART_X_MAX ? realloc(a->xs, n * sizeof *xs) : NULL;
    if (!xs)
        return false;
    a->xs = xs;
    uint32_t *unused = realloc(a->unused, n * sizeof *unused);
    if (!unused)
        return false;
    a->unused = unused;
    for (uint32_t i = n; i-- > a->n;) {
        a->xs[i] = NULL;
        a->unused[a->n_unused++] = i;
    }
    a->n = n;
    return true;
}

uint32_t apart_begin(struct apart *a, void *state, const char *method, const char *path)
{
    size_t n_method = strlen(method) + 1, n_path = strlen(path) + 1;
    char text[256 + 8192];
    struct exchange_at *e = n_method <= 256 && n_path <= 8192 ? calloc(1, sizeof *e) : NULL;
    if (!e || (!a->n_unused && !more_places(a))) {
        free(e);
        return APART_NONE;
    }
    uint32_t x = a->unused[--a->n_unused];
    a->xs[x] = e;
    e->state = state;
    e->t_begin_ns = 0;
    recognised_init(&e->known, method, path);
    if (!a->worker && a->socket < 0 && jl_mono_ns() >= a->next_ns) {
        start_process(a);
        if (a->socket < 0)
            lose_process(a);
    }
    e->lost = !a->worker && a->socket < 0;
    memcpy(text, method, n_method);
    memcpy(text + n_method, path, n_path);
    put(a, (struct apart_record){.x = x, .what = APART_BEGIN, .n = (uint32_t)(n_method + n_path)}, text);
    return x;
}

static struct exchange_at *at(struct apart *a, uint32_t x, int64_t t_ns)
{
    struct exchange_at *e = x < a->n ? a->xs[x] : NULL;
    if (e && t_ns > e->t_sent_ns)
        e->t_sent_ns = t_ns;
    if (e && (!e->t_begin_ns || t_ns < e->t_begin_ns) && t_ns)
        e->t_begin_ns = t_ns;
    return e;
}

static void put_bytes(struct apart *a, struct apart_record r, const char *bytes, size_t n)
{
    while (n && a->xs[r.x]) {
        r.n = (uint32_t)(n < BYTES_MAX ? n : BYTES_MAX);
        put(a, r, bytes);
        bytes += r.n;
        n -= r.n;
    }
}

void apart_request(struct apart *a, uint32_t x, const char *bytes, size_t n)
{
    if (at(a, x, 0))
        put_bytes(a, (struct apart_record){.x = x, .what = APART_REQUEST}, bytes, n);
}

void apart_request_end(struct apart *a, uint32_t x, bool whole, int64_t t_ns)
{
    struct exchange_at *e = at(a, x, t_ns);
    if (!e)
        return;
    e->asked = true;
    e->t_asked_ns = t_ns;
    put(a, (struct apart_record){.x = x, .what = APART_REQUEST_END, .whole = whole, .t_ns = t_ns}, NULL);
}

void apart_head(struct apart *a, uint32_t x, int status, const struct net_header *headers, size_t n, int64_t t_ns)
{
    struct jl_buf text;
    struct exchange_at *e = at(a, x, t_ns);
    if (!e)
        return;
    e->known.status = status;
    jl_buf_init(&text, BYTES_MAX);
    for (size_t i = 0; i < n; i++) {
        size_t name = strlen(headers[i].name) + 1, value = strlen(headers[i].value) + 1;
        if (text.len + name + value <= BYTES_MAX) {
            jl_buf_add(&text, headers[i].name, name);
            jl_buf_add(&text, headers[i].value, value);
        }
    }
    put(a, (struct apart_record){.x = x, .what = APART_HEAD, .status = (uint16_t)status, .n = (uint32_t)text.len, .t_ns = t_ns},
        text.data);
    jl_buf_release(&text);
}

void apart_chunk(struct apart *a, uint32_t x, bool from_client, const char *bytes, size_t n, int64_t t_ns)
{
    if (at(a, x, t_ns))
        put_bytes(a, (struct apart_record){.x = x, .what = from_client ? APART_CHUNK_UP : APART_CHUNK, .t_ns = t_ns}, bytes, n);
}

void apart_end(struct apart *a, uint32_t x, bool whole, int64_t t_ns)
{
    struct exchange_at *e = at(a, x, t_ns);
    if (!e)
        return;
    e->ending = true;
    e->t_end_ns = t_ns;
    put(a, (struct apart_record){.x = x, .what = APART_END, .whole = whole, .t_ns = t_ns}, NULL);
}

/* ---- all of it ------------------------------------------------------------------------------------------------------------ */

struct apart *apart_open(const struct apart_told *told, const struct apart_options *o)
{
    struct apart *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->told = *told;
    a->o = *o;
    a->socket = -1;
    a->process = (struct jl_process){.pid = -1, .ended = true};
    jl_buf_init(&a->piece, APART_PIECE_MAX);
    if (o->inside || !can_be_apart) {
        a->worker = apart_worker_open(on_reply, a);
    } else {
        start_process(a);
        if (a->socket < 0)
            lose_process(a);
    }
    if (a->worker || !(o->inside || !can_be_apart))
        return a;
    apart_close(a);
    return NULL;
}

void apart_close(struct apart *a)
{
    if (!a)
        return;
    if (a->socket >= 0)
        end_process(a);
    apart_worker_close(a->worker);
    for (uint32_t x = 0; x < a->n; x++)
        free(a->xs[x]);
    free(a->xs);
    free(a->unused);
    jl_buf_release(&a->piece);
    free(a);
}

int64_t apart_pid(const struct apart *a)
{
    return a->socket >= 0 ? a->process.pid : -1;
}

uint64_t apart_losses(const struct apart *a)
{
    return a->losses;
}

bool apart_main(int argc, char **argv, int *code)
{
    can_be_apart = true;
    if (argc != 2 || strcmp(argv[1], VERB) != 0)
        return false;
    *code = apart_process();
    return true;
}
