/* recognise_worker.c - records of many exchanges, each to its recogniser, and what that finds as replies. The same in the process
 * of its own and, where there is none, in the program. */
#include "server/recognise_frames.h"
#include "server/recognise_wire.h"

#include <stdlib.h>
#include <string.h>

#define HEADERS_MAX 128

struct work { /* one exchange */
    struct apart_worker *worker;
    uint32_t x;
    int64_t t_ns; /* of the record that is read */
    struct recogniser *recogniser;
    struct frames *frames; /* of a tunnel that is read; else NULL */
};

struct apart_worker {
    apart_replies *replies;
    void *user;
    struct work **works;
    uint32_t n;
};

/* ---- replies ---------------------------------------------------------------------------------------------------------- */

static void reply(struct work *w, struct apart_reply r, const void *bytes, size_t n)
{
    r.x = w->x;
    r.n = (uint32_t)n;
    w->worker->replies(w->worker->user, &r, bytes);
}

static void reply_recognised(struct work *w, enum apart_reply_what what, uint32_t part, const struct recognised *x, int64_t t_ns)
{
    struct recognised_wire wire;
    recognised_to_wire(x, &wire);
    reply(w, (struct apart_reply){.what = what, .part = part, .t_ns = t_ns}, &wire, sizeof wire);
}

static void on_progress(void *user, double done, int64_t t_ns)
{
    reply(user, (struct apart_reply){.what = APART_TOLD_PROGRESS, .a = done, .t_ns = t_ns}, NULL, 0);
}

static void on_prompt(void *user, double computed, double all)
{
    struct work *w = user;
    reply(w, (struct apart_reply){.what = APART_TOLD_PROMPT, .a = computed, .b = all, .t_ns = w->t_ns}, NULL, 0);
}

static void on_piece(void *user, double tokens, bool thinking, int64_t t_ns)
{
    reply(user, (struct apart_reply){.what = APART_TOLD_PIECE, .a = tokens, .flag = thinking, .t_ns = t_ns}, NULL, 0);
}

static void on_part_request(void *user, uint32_t part, const struct recognised *r, int64_t t_ns)
{
    reply_recognised(user, APART_TOLD_REQUEST, part, r, t_ns);
}

static void on_part_progress(void *user, uint32_t part, double share, int64_t t_ns)
{
    reply(user, (struct apart_reply){.what = APART_TOLD_PROGRESS, .part = part, .a = share, .flag = true, .t_ns = t_ns}, NULL, 0);
}

static void on_part_prompt(void *user, uint32_t part, double computed, double all)
{
    struct work *w = user;
    reply(w, (struct apart_reply){.what = APART_TOLD_PROMPT, .part = part, .a = computed, .b = all, .t_ns = w->t_ns}, NULL, 0);
}

static void on_part_piece(void *user, uint32_t part, double tokens, bool thinking, int64_t t_ns)
{
    reply(user, (struct apart_reply){.what = APART_TOLD_PIECE, .part = part, .a = tokens, .flag = thinking, .t_ns = t_ns}, NULL,
          0);
}

static void on_part_end(void *user, uint32_t part, const struct recognised *r, int64_t t_ns)
{
    reply_recognised(user, APART_TOLD_END, part, r, t_ns);
}

static void on_reads(void *user, bool reads)
{
    struct work *w = user;
    reply(w, (struct apart_reply){.what = APART_TOLD_READS, .flag = reads, .t_ns = w->t_ns}, NULL, 0);
}

/* ---- exchanges --------------------------------------------------------------------------------------------------------- */

static void forget(struct apart_worker *k, uint32_t x)
{
    struct work *w = k->works[x];
    recogniser_close(w->recogniser);
    frames_close(w->frames);
    free(w);
    k->works[x] = NULL;
}

static bool room_for(struct apart_worker *k, uint32_t x)
{
    if (x < k->n)
        return true;
    uint32_t n = k->n ? k->n : 64;
    while (n <= x)
        n *= 2;
    struct work **more = realloc(k->works, n * sizeof *more);
    if (!more)
        return false;
    memset(more + k->n, 0, (n - k->n) * sizeof *more);
    k->works = more;
    k->n = n;
    return true;
}

static bool begin(struct apart_worker *k, const struct apart_record *r, const char *bytes)
{
    const char *path = r->n ? memchr(bytes, '\0', r->n) : NULL;
    if (!path || bytes[r->n - 1] != '\0' || ++path == bytes + r->n || r->x >= APART_X_MAX || !room_for(k, r->x) || k->works[r->x])
        return false;
    struct work *w = calloc(1, sizeof *w);
    if (!w)
        return false;
    *w = (struct work){.worker = k, .x = r->x, .t_ns = r->t_ns};
    struct recognise_events events = {.progress = on_progress, .prompt = on_prompt, .piece = on_piece, .user = w};
    struct frames_told told = {.request = on_part_request,
                               .progress = on_part_progress,
                               .prompt = on_part_prompt,
                               .piece = on_part_piece,
                               .end = on_part_end,
                               .reads = on_reads,
                               .user = w};
    w->recogniser = recogniser_open(bytes, path, &events);
    w->frames = recognise_frames_at(path) ? frames_open(path, &told) : NULL;
    k->works[r->x] = w;
    if (w->recogniser)
        return true;
    forget(k, r->x);
    return false;
}

static void head(struct work *w, const struct apart_record *r, const char *bytes)
{
    struct net_header headers[HEADERS_MAX];
    size_t n = 0;
    const char *p = bytes, *end = bytes + r->n;
    while (p < end && n < HEADERS_MAX) {
        const char *value = memchr(p, '\0', (size_t)(end - p));
        const char *stop = value && value + 1 < end ? memchr(value + 1, '\0', (size_t)(end - value - 1)) : NULL;
        if (!stop)
            break;
        headers[n++] = (struct net_header){p, value + 1};
        p = stop + 1;
    }
    recogniser_head(w->recogniser, r->status, headers, n);
}

static void end(struct work *w, const struct apart_record *r)
{
    if (w->frames)
        frames_end(w->frames, r->whole, r->t_ns);
    recogniser_end(w->recogniser, r->whole, r->t_ns);
    struct recognised x = *recogniser_result(w->recogniser);
    if (w->frames)
        x.whole = frames_whole(w->frames) && r->whole;
    reply_recognised(w, APART_TOLD_END, 0, &x, r->t_ns);
}

bool apart_worker_record(struct apart_worker *k, const struct apart_record *r, const char *bytes)
{
    if (r->what == APART_BEGIN)
        return begin(k, r, bytes);
    struct work *w = r->x < k->n ? k->works[r->x] : NULL;
    if (!w)
        return false;
    w->t_ns = r->t_ns;
    switch ((enum apart_what)r->what) {
    case APART_REQUEST:
        recogniser_request(w->recogniser, bytes, r->n);
        break;
    case APART_REQUEST_END:
        recogniser_request_end(w->recogniser, r->whole);
        reply_recognised(w, APART_TOLD_REQUEST, 0, recogniser_result(w->recogniser), r->t_ns);
        break;
    case APART_HEAD:
        head(w, r, bytes);
        break;
    case APART_CHUNK:
    case APART_CHUNK_UP:
        if (w->frames)
            frames_bytes(w->frames, r->what == APART_CHUNK_UP, bytes, r->n, r->t_ns);
        else if (r->what == APART_CHUNK)
            recogniser_chunk(w->recogniser, bytes, r->n, r->t_ns);
        break;
    case APART_END:
        end(w, r);
        forget(k, r->x);
        break;
    case APART_BEGIN:
    default:
        return false;
    }
    return true;
}

/* ---- all of them ------------------------------------------------------------------------------------------------------- */

struct apart_worker *apart_worker_open(apart_replies *replies, void *user)
{
    struct apart_worker *k = calloc(1, sizeof *k);
    if (k) {
        k->replies = replies;
        k->user = user;
    }
    return k;
}

void apart_worker_close(struct apart_worker *k)
{
    if (!k)
        return;
    for (uint32_t x = 0; x < k->n; x++)
        if (k->works[x])
            forget(k, x);
    free(k->works);
    free(k);
}
