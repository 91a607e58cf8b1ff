/* net_ws_client.c - a WebSocket as a client: the handshake (RFC 6455, 4.1) and the loop around the reader of ws.c. No extension
 * is offered, above all no compression: what is metered must be readable. */
#include "lib/platform/platform.h"
#include "net/net_module.h"
#include "net/net_ws.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define STEP_MS       50
#define ANSWER_S      5.0
#define IDLE_S        600.0
#define GOODBYE_S     0.5
#define KEPT_MAX      ((size_t)64 << 10)
#define SEND_PATIENCE 30.0 /* s; a server that takes nothing for so long is gone */

struct net_ws {
    const struct net_module *module;
    struct net_dialled *line;
    const atomic_bool *cancel;
    struct jl_rng rng;
    char where[256];
    struct ws_reader reader;
    struct jl_buf kept;   /* the answer to the handshake; later what came and is not read yet */
    net_ws_text *on_text; /* during net_ws_receive */
    void *user;
    int64_t t_ns, t_active_ns;
    bool lost, wanted_no_more;
    unsigned close_code;
};

static bool cancelled(const struct net_ws *w)
{
    return w->cancel && atomic_load(w->cancel);
}

static enum joulet_status fail_cancelled(const struct net_ws *w, struct joulet_error *err)
{
    return jl_fail(err, JOULET_CANCELLED, "the exchange with %s was interrupted", w->where);
}

/* ---- bytes out ------------------------------------------------------------------------------------------------------------ */

static enum joulet_status send_all(struct net_ws *w, const char *bytes, size_t n, double patience_s, struct joulet_error *err)
{
    int64_t until = jl_mono_ns() + jl_ns(patience_s);
    for (size_t at = 0; at < n;) {
        long sent = w->module->dial_write(w->line, bytes + at, n - at, STEP_MS);
        if (sent > 0) {
            at += (size_t)sent;
            until = jl_mono_ns() + jl_ns(patience_s);
        } else if (sent < 0 || jl_mono_ns() >= until) {
            w->lost = true;
            return jl_fail(err, JOULET_IO, "%s cut the connection: it takes no more bytes", w->where);
        } else if (cancelled(w) && patience_s > GOODBYE_S) {
            return fail_cancelled(w, err);
        }
    }
    return jl_ok(err);
}

static enum joulet_status send_frame(struct net_ws *w, enum ws_kind kind, const char *bytes, size_t n, double patience_s,
                                     struct joulet_error *err)
{
    struct jl_buf frame;
    uint64_t random = jl_rng_next(&w->rng);
    unsigned char mask[4] = {(unsigned char)random, (unsigned char)(random >> 8), (unsigned char)(random >> 16),
                             (unsigned char)(random >> 24)};
    jl_buf_init(&frame, n + WS_HEAD_MAX + 1);
    enum joulet_status status = ws_write(&frame, kind, bytes, n, mask)
                                    ? send_all(w, frame.data, frame.len, patience_s, err)
                                    : jl_fail(err, JOULET_MEMORY, "out of memory while talking to %s", w->where);
    jl_buf_release(&frame);
    return status;
}

enum joulet_status net_ws_send(struct net_ws *w, const char *text, size_t n, struct joulet_error *err)
{
    return send_frame(w, WS_TEXT, text, n, SEND_PATIENCE, err);
}

/* ---- the handshake ----------------------------------------------------------------------------------------------- */

static void make_key(struct net_ws *w, char key[25])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < 22; i++)
        key[i] =
            digits[jl_rng_below(&w->rng, i == 21 ? 4 : 64) * (i == 21 ? 16 : 1)]; /* 16 bytes: the last digit holds two bits */
    memcpy(key + 22, "==", 3);
}

static enum joulet_status ask(struct net_ws *w, const struct net_ws_request *q, const char *key, struct joulet_error *err)
{
    struct jl_buf out;
    const char *rest = strstr(q->url, "://") + 3, *path = rest + strcspn(rest, "/?#");
    const char *host = strchr(w->where, '/') + 2;
    jl_buf_init(&out, KEPT_MAX);
    jl_buf_printf(&out,
                  "GET %s%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: joulet/" JOULET_VERSION
                  "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n",
                  *path == '/' ? "" : "/", path, host, key);
    for (size_t i = 0; i < q->n_headers; i++)
        jl_buf_printf(&out, "%s: %s\r\n", q->headers[i].name, q->headers[i].value);
    jl_buf_str(&out, "\r\n");
    enum joulet_status status = out.failed ? jl_fail(err, JOULET_MEMORY, "out of memory while talking to %s", w->where)
                                           : send_all(w, out.data, out.len, ANSWER_S, err);
    jl_buf_release(&out);
    return status;
}

/* Value of a header in a head that ends at *end; NULL. */
static const char *header(const char *head, const char *end, const char *name, size_t *n)
{
    size_t length = strlen(name);
    for (const char *line = head; line && line < end; line = strstr(line, "\r\n"), line = line ? line + 2 : NULL) {
        if (strncasecmp(line, name, length) != 0 || line[length] != ':')
            continue;
        const char *value = line + length + 1 + strspn(line + length + 1, " \t");
        *n = strcspn(value, "\r\n");
        while (*n && (value[*n - 1] == ' ' || value[*n - 1] == '\t'))
            (*n)--;
        return value;
    }
    return NULL;
}

static enum joulet_status check_answer(struct net_ws *w, const char *end, const char *key, struct joulet_error *err)
{
    char want[WS_ACCEPT_SIZE];
    size_t n = 0;
    int status = 0;
    if (sscanf(w->kept.data, "HTTP/%*d.%*d %3d", &status) != 1)
        return jl_fail(err, JOULET_FORMAT, "what answers at %s does not speak HTTP: check the address and the port", w->where);
    if (status != 101)
        return jl_fail(err, JOULET_NOT_FOUND, "%s answered HTTP %d and opened no WebSocket: something else runs there", w->where,
                       status);
    ws_accept(key, want);
    const char *value = header(w->kept.data, end, "Sec-WebSocket-Accept", &n);
    if (!value || n != sizeof(want) - 1 || memcmp(value, want, n) != 0)
        return jl_fail(err, JOULET_FORMAT, "%s opened a WebSocket without the right answer to our key: something stands between",
                       w->where);
    if (header(w->kept.data, end, "Sec-WebSocket-Extensions", &n))
        return jl_fail(err, JOULET_FORMAT, "%s opened a WebSocket with an extension that was not offered", w->where);
    return jl_ok(err);
}

static enum joulet_status await_answer(struct net_ws *w, const char *key, double patience_s, struct joulet_error *err)
{
    char bytes[4096];
    int64_t until = jl_mono_ns() + jl_ns(patience_s);
    for (;;) {
        char *end = w->kept.data ? strstr(w->kept.data, "\r\n\r\n") : NULL;
        if (end) {
            enum joulet_status status = check_answer(w, end, key, err);
            jl_buf_drop(&w->kept, (size_t)(end - w->kept.data) + 4);
            return status;
        }
        if (cancelled(w))
            return fail_cancelled(w, err);
        if (jl_mono_ns() >= until)
            return jl_fail(err, JOULET_UNREACHABLE, "%s was not done within %g s", w->where, patience_s);
        long n = w->module->dial_read(w->line, bytes, sizeof(bytes), STEP_MS);
        if (n < 0)
            return jl_fail(err, JOULET_IO, "%s closed the connection without an answer", w->where);
        if (n > 0 && (memchr(bytes, '\0', (size_t)n) != NULL) && !w->kept.len)
            return jl_fail(err, JOULET_FORMAT, "what answers at %s does not speak HTTP: check the address and the port",
                           w->where);
        if (n > 0 && !jl_buf_add(&w->kept, bytes, (size_t)n))
            return jl_fail(err, JOULET_LIMIT, "the answer of %s is longer than the limit of %zu bytes", w->where, KEPT_MAX);
    }
}

/* ws:// and wss:// are http:// and https:// to the room. */
static char *http_url(const char *url)
{
    if (strncasecmp(url, "ws://", 5) == 0)
        return jl_strf("http%s", url + 2);
    return strncasecmp(url, "wss://", 6) == 0 ? jl_strf("https%s", url + 3) : jl_strdup(url);
}

enum joulet_status net_ws_open(struct net_ws **out, const struct net_ws_request *q, struct joulet_error *err)
{
    char key[25];
    double patience_s = q->timeout_s > 0 ? q->timeout_s : ANSWER_S;
    *out = NULL;
    struct net_ws *w = calloc(1, sizeof(*w));
    char *url = http_url(q->url ? q->url : "");
    struct net_ws_request ours = *q;
    ours.url = url;
    enum joulet_status status = w && url ? net_url_check(url, err) : jl_fail(err, JOULET_MEMORY, "out of memory");
    if (status == JOULET_OK && !(w->module = net_module_get(err)))
        status = JOULET_UNSUPPORTED;
    if (status == JOULET_OK)
        status = w->module->dial_open(&w->line, url, q->ca_file, patience_s, q->cancel, err);
    if (status == JOULET_OK) {
        w->cancel = q->cancel;
        w->rng.s = (uint64_t)jl_mono_ns() * 0x9e3779b97f4a7c15u ^ (uint64_t)(uintptr_t)w;
        net_url_origin(url, w->where, sizeof(w->where));
        ws_reader_init(&w->reader, false, WS_MESSAGE_MAX);
        jl_buf_init(&w->kept, KEPT_MAX);
        make_key(w, key);
        status = ask(w, &ours, key, err);
        if (status == JOULET_OK)
            status = await_answer(w, key, patience_s, err);
    }
    free(url);
    if (status == JOULET_OK) {
        *out = w;
    } else if (w) {
        w->lost = true; /* no WebSocket was opened: there is nobody to say goodbye to */
        net_ws_close(w);
    }
    return status;
}

/* ---- bytes in ---------------------------------------------------------------------------------------------------- */

static bool on_message(void *user, enum ws_kind kind, const char *bytes, size_t n)
{
    struct net_ws *w = user;
    if (kind == WS_PING)
        return send_frame(w, WS_PONG, bytes, n, GOODBYE_S, NULL) == JOULET_OK;
    if (kind == WS_CLOSE)
        w->close_code = ws_close_code(bytes, n);
    if (kind != WS_TEXT)
        return true;
    w->t_active_ns = w->t_ns;
    w->wanted_no_more = !w->on_text(w->user, bytes, n, w->t_ns);
    return !w->wanted_no_more;
}

static enum joulet_status ended(struct net_ws *w, struct joulet_error *err)
{
    if (w->reader.problem)
        return jl_fail(err, JOULET_FORMAT, "what %s sends is no WebSocket: %s", w->where, w->reader.problem);
    if (w->reader.closed)
        return jl_fail(err, JOULET_IO, "%s closed the WebSocket (code %u)", w->where, w->close_code);
    w->lost = true;
    return jl_fail(err, JOULET_IO, "%s cut the connection: it was closed without a word", w->where);
}

/* One block through the reader. What comes after the message at which the caller stops is kept for its next call. */
static bool feed(struct net_ws *w, const char *bytes, size_t n)
{
    w->reader.stopped = false;
    bool on = ws_reader_bytes(&w->reader, bytes, n, on_message, w);
    if (w->wanted_no_more && w->reader.used < n)
        jl_buf_add(&w->kept, bytes + w->reader.used, n - w->reader.used);
    return on;
}

/* What was kept of before, first. */
static bool feed_kept(struct net_ws *w)
{
    struct jl_buf before = w->kept;
    if (!before.len)
        return true;
    jl_buf_init(&w->kept, KEPT_MAX);
    bool on = feed(w, before.data, before.len);
    jl_buf_release(&before);
    return on;
}

enum joulet_status net_ws_receive(struct net_ws *w, double idle_s, net_ws_text *on_text, void *user, struct joulet_error *err)
{
    char bytes[16384];
    double patience_s = idle_s > 0 ? idle_s : IDLE_S;
    w->on_text = on_text;
    w->user = user;
    w->wanted_no_more = false;
    w->t_active_ns = w->t_ns = jl_mono_ns();
    for (bool on = feed_kept(w); on;) {
        long n = w->module->dial_read(w->line, bytes, sizeof(bytes), STEP_MS);
        w->t_ns = jl_mono_ns();
        if (cancelled(w))
            return fail_cancelled(w, err);
        if (n < 0)
            break;
        if (n > 0)
            on = feed(w, bytes, (size_t)n);
        else if (jl_s(w->t_ns - w->t_active_ns) >= patience_s)
            return jl_fail(err, JOULET_UNREACHABLE, "%s sent nothing for %g s", w->where, patience_s);
    }
    return w->wanted_no_more ? jl_ok(err) : ended(w, err);
}

void net_ws_close(struct net_ws *w)
{
    if (!w)
        return;
    if (w->line && !w->lost)
        send_frame(w, WS_CLOSE, "\x03\xe8", 2, GOODBYE_S, NULL); /* 1000: done */
    if (w->line)
        w->module->dial_close(w->line);
    ws_reader_release(&w->reader);
    jl_buf_release(&w->kept);
    free(w);
}
