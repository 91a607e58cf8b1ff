/* net_ws.h - WebSocket (RFC 6455): a reader and a writer of frames without any socket, and a client on top of them.
 *
 * The reader takes bytes in any cut and gives whole messages. It is strict where the standard is: a frame that breaks it ends the
 * connection, because what follows cannot be trusted to be a frame at all. No extension is ever offered, so a frame that uses one
 * (a reserved bit, as permessage-deflate sets it) is refused too. */
#ifndef NET_WS_H
#define NET_WS_H

#include "net/net.h"

enum ws_kind { WS_CONTINUATION = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };
enum {
    WS_HEAD_MAX = 14,     /* bytes before the payload of a frame */
    WS_CONTROL_MAX = 125, /* payload of a close, ping or pong */
    WS_ACCEPT_SIZE = 29   /* of the answer to a key, with its NUL */
};
#define WS_MESSAGE_MAX ((size_t)16 << 20)

/* One whole message, or one control frame. False: read no further. The bytes hold until it returns. */
typedef bool ws_on_message(void *user, enum ws_kind kind, const char *bytes, size_t n);

struct ws_reader {
    bool masked;         /* the frames of a client are masked, those of a server never */
    const char *problem; /* NULL, or why no more is read: "a frame with a reserved bit", ... (static) */
    bool closed;         /* a close frame came: whatever follows is not read */
    bool stopped;        /* by the caller's own wish */
    unsigned char head[WS_HEAD_MAX];
    size_t n_head;
    size_t used;       /* of the bytes of the last call: all, unless no more is read */
    uint64_t left, at; /* bytes of the payload still to come, and seen */
    unsigned char mask[4];
    enum ws_kind kind, message_kind;
    bool in_payload, fin, in_message;
    struct jl_buf message, control;
};
void ws_reader_init(struct ws_reader *r, bool masked, size_t message_max);
void ws_reader_release(struct ws_reader *r);
/* False when nothing more is read: problem, closed or stopped. */
bool ws_reader_bytes(struct ws_reader *r, const char *bytes, size_t n, ws_on_message *on_message, void *user);
/* The bytes so far end between two messages. */
bool ws_reader_between(const struct ws_reader *r);

/* Appends one frame with fin set. mask: 4 bytes for a client, NULL for a server. False: no memory, or a control frame too long.
 */
bool ws_write(struct jl_buf *out, enum ws_kind kind, const char *bytes, size_t n, const unsigned char mask[4]);
/* Code of a close frame's payload; 1005 when it has none. */
unsigned ws_close_code(const char *bytes, size_t n);
/* What the server must answer to a Sec-WebSocket-Key. */
void ws_accept(const char *key, char out[WS_ACCEPT_SIZE]);
/* Whole text is UTF-8. */
bool ws_is_utf8(const char *bytes, size_t n);

/* ---- the client (net_ws_client.c) ---------------------------------------------------------------------------------- */

struct net_ws_request {
    const char *url; /* http://, https:// (ws:// and wss:// are the same) */
    const struct net_header *headers;
    size_t n_headers;
    const char *ca_file;       /* certificates to trust instead of the system's; NULL: those */
    double timeout_s;          /* to connect and to be answered; 0: 5 s */
    const atomic_bool *cancel; /* becomes true: JOULET_CANCELLED within 50 ms */
};
struct net_ws; /* one thread at a time */

/* JOULET_UNREACHABLE, JOULET_NOT_FOUND (it answers, but not as a WebSocket: the sentence has the status), JOULET_FORMAT,
 * JOULET_CANCELLED, JOULET_USAGE, JOULET_UNSUPPORTED as net_http. */
enum joulet_status net_ws_open(struct net_ws **out, const struct net_ws_request *q, struct joulet_error *err);
/* JOULET_IO when the other side is gone. */
enum joulet_status net_ws_send(struct net_ws *w, const char *text, size_t n, struct joulet_error *err);
/* Called with each whole text message and the time its last byte came; false: return to the caller. */
typedef bool net_ws_text(void *user, const char *text, size_t n, int64_t t_ns);
/* Reads until on_text returns false (JOULET_OK), no message comes for idle_s (JOULET_UNREACHABLE; 0: 600 s), or the connection
 * ends: JOULET_IO, or JOULET_FORMAT when what came is no WebSocket. Answers pings by itself; a ping is no message. */
enum joulet_status net_ws_receive(struct net_ws *w, double idle_s, net_ws_text *on_text, void *user, struct joulet_error *err);
/* Says goodbye and frees. NULL is fine. */
void net_ws_close(struct net_ws *w);

#endif
