/* serve_reply.h - an answer of HTTP/1.1 as it comes from an upstream: its head taken apart, the framing of its body taken off
 * where it lies. Bytes in, bytes out; nothing here reads or waits. */
#ifndef NET_SERVE_REPLY_H
#define NET_SERVE_REPLY_H

#include "net/net.h"

#define REPLY_HEAD_MAX ((size_t)256 * 1024)

enum reply_head {
    REPLY_MORE,
    REPLY_HEAD,
    REPLY_NO_HTTP,
    REPLY_BAD /* no head, or longer than REPLY_HEAD_MAX */,
    REPLY_NO_MEMORY
};
enum reply_framing { REPLY_LENGTH, REPLY_CHUNKED, REPLY_UNTIL_END };
enum reply_state { CHUNK_SIZE, CHUNK_EXTENSION, CHUNK_DATA, CHUNK_DATA_ENDS, CHUNK_TRAILER };

struct reply {
    bool to_head; /* the answer of a HEAD request has no body */
    /* the head */
    struct jl_buf text;
    size_t scanned;             /* of text: no end of the head before it */
    struct net_header *headers; /* into text, once it is whole; without those of 1xx */
    size_t n_headers;
    int status;
    int64_t length; /* of the body as announced; -1 not announced */
    bool keeps;     /* the connection may be used again when the body was read */
    /* the body */
    enum reply_framing framing;
    enum reply_state state;
    uint64_t left;     /* of the body, or of the chunk */
    unsigned line;     /* characters of the size, or of a line behind the last chunk */
    size_t trailer;    /* bytes of this chunk's extension, or behind the last chunk */
    bool done, broken; /* the body is whole; it is no body */
    bool more;         /* bytes came behind it */
};

void reply_init(struct reply *r, bool to_head);
void reply_release(struct reply *r);
/* Bytes as they come until REPLY_HEAD; *used: how many of these belonged to the head, the others to the body. */
enum reply_head reply_head_bytes(struct reply *r, const char *bytes, size_t n, size_t *used);
/* Bytes behind the head; what is left of them without framing stands at their begin. Returns how many. */
size_t reply_body_bytes(struct reply *r, char *bytes, size_t n);
/* The connection ended: so does the body, or it is cut. */
void reply_ends(struct reply *r);

#endif
