/* ws.c - frames of RFC 6455, section 5, without any socket: the same code reads what a server sends to us and what a client sends
 * to its server through us. */
#include "net/net_module.h"
#include "net/net_ws.h"

#include <string.h>

/* ---- reading ------------------------------------------------------------------------------------------------------------ */

void ws_reader_init(struct ws_reader *r, bool masked, size_t message_max)
{
    *r = (struct ws_reader){.masked = masked};
    jl_buf_init(&r->message, message_max);
    jl_buf_init(&r->control, WS_CONTROL_MAX);
}

void ws_reader_release(struct ws_reader *r)
{
    jl_buf_release(&r->message);
    jl_buf_release(&r->control);
}

bool ws_reader_between(const struct ws_reader *r)
{
    return !r->n_head && !r->in_payload && !r->in_message;
}

static bool is_control(enum ws_kind kind)
{
    return kind >= WS_CLOSE;
}

static bool fail(struct ws_reader *r, const char *problem)
{
    r->problem = problem;
    return false;
}

/* Bytes of the head, as far as its first two tell. */
static size_t head_size(const struct ws_reader *r)
{
    size_t length = r->head[1] & 0x7f;
    return 2 + (length == 126 ? 2 : length == 127 ? 8 : 0) + (r->head[1] & 0x80 ? 4 : 0);
}

static bool check_start(struct ws_reader *r)
{
    unsigned kind = r->head[0] & 0x0f;
    if (r->head[0] & 0x70)
        return fail(r, "a frame with a reserved bit, which belongs to an extension that was not offered");
    if (kind != WS_CONTINUATION && kind != WS_TEXT && kind != WS_BINARY && kind != WS_CLOSE && kind != WS_PING && kind != WS_PONG)
        return fail(r, "a frame of an unknown kind");
    if (!!(r->head[1] & 0x80) != r->masked)
        return fail(r, r->masked ? "a frame without a mask" : "a frame with a mask");
    if (is_control(kind) && (!(r->head[0] & 0x80) || (r->head[1] & 0x7f) > WS_CONTROL_MAX))
        return fail(r, "a control frame that is too long or in pieces");
    if (kind == WS_CONTINUATION && !r->in_message)
        return fail(r, "a piece of a message that was not begun");
    if ((kind == WS_TEXT || kind == WS_BINARY) && r->in_message)
        return fail(r, "a message inside another one");
    return true;
}

static bool begin_payload(struct ws_reader *r)
{
    size_t length = r->head[1] & 0x7f, at = 2;
    uint64_t n = length;
    size_t more = length == 126 ? 2 : length == 127 ? 8 : 0;
    if (more)
        n = 0;
    for (size_t i = 0; i < more; i++)
        n = n << 8 | r->head[at++];
    if ((more == 2 && n < 126) || (more == 8 && (n <= 0xffff || n >> 63)))
        return fail(r, "a frame whose length is not written in the shortest way");
    if (r->masked)
        memcpy(r->mask, r->head + at, sizeof(r->mask));
    r->kind = (enum ws_kind)(r->head[0] & 0x0f);
    r->fin = r->head[0] & 0x80;
    r->left = n;
    r->at = 0;
    r->n_head = 0;
    r->in_payload = true;
    if (!is_control(r->kind) && n > r->message.max - r->message.len)
        return fail(r, "a message longer than the limit");
    if (!is_control(r->kind) && r->kind != WS_CONTINUATION)
        r->message_kind = r->kind;
    r->in_message |= !is_control(r->kind);
    return true;
}

/* Returns the bytes used. */
static size_t take_payload(struct ws_reader *r, const char *bytes, size_t n)
{
    struct jl_buf *b = is_control(r->kind) ? &r->control : &r->message;
    size_t take = n < r->left ? n : (size_t)r->left, from = b->len;
    if (take && !jl_buf_add(b, bytes, take)) {
        fail(r, "a message longer than the limit");
        return take;
    }
    for (size_t i = 0; r->masked && i < take; i++)
        b->data[from + i] = (char)((unsigned char)b->data[from + i] ^ r->mask[(r->at + i) & 3]);
    r->at += take;
    r->left -= take;
    return take;
}

static bool close_is_good(const char *bytes, size_t n)
{
    unsigned code = ws_close_code(bytes, n);
    if (n == 0)
        return true;
    if (n == 1 || code < 1000 || code > 4999 || code == 1004 || code == 1005 || code == 1006 || (code > 1014 && code < 3000))
        return false;
    return ws_is_utf8(bytes + 2, n - 2);
}

static bool hand_over(struct ws_reader *r, ws_on_message *on_message, void *user)
{
    bool control = is_control(r->kind);
    struct jl_buf *b = control ? &r->control : &r->message;
    const char *bytes = b->data ? b->data : "";
    r->in_payload = false;
    if (!control && !r->fin)
        return true;
    r->in_message = control && r->in_message;
    if (r->kind == WS_CLOSE && !close_is_good(bytes, b->len))
        return fail(r, "a close frame with a code or text that cannot be");
    if (!control && r->message_kind == WS_TEXT && !ws_is_utf8(bytes, b->len))
        return fail(r, "a text that is not UTF-8");
    r->closed = r->kind == WS_CLOSE;
    r->stopped = !on_message(user, control ? r->kind : r->message_kind, bytes, b->len);
    jl_buf_clear(b);
    return !r->closed && !r->stopped;
}

static bool take_head(struct ws_reader *r, unsigned char byte)
{
    r->head[r->n_head++] = byte;
    if (r->n_head == 2 && !check_start(r))
        return false;
    return r->n_head < 2 || r->n_head < head_size(r) || begin_payload(r);
}

bool ws_reader_bytes(struct ws_reader *r, const char *bytes, size_t n, ws_on_message *on_message, void *user)
{
    bool on = !r->problem && !r->closed && !r->stopped;
    r->used = 0;
    while (on && (r->used < n || (r->in_payload && r->left == 0))) {
        if (!r->in_payload) {
            on = take_head(r, (unsigned char)bytes[r->used++]);
            continue;
        }
        r->used += take_payload(r, bytes + r->used, n - r->used);
        on = !r->problem && (r->left > 0 || hand_over(r, on_message, user));
    }
    return on;
}

/* ---- writing ------------------------------------------------------------------------------------------------------------ */

bool ws_write(struct jl_buf *out, enum ws_kind kind, const char *bytes, size_t n, const unsigned char mask[4])
{
    unsigned char head[WS_HEAD_MAX] = {(unsigned char)(0x80 | kind), (unsigned char)(mask ? 0x80 : 0)};
    size_t at = 2, more = n < 126 ? 0 : n <= 0xffff ? 2 : 8;
    if (is_control(kind) && n > WS_CONTROL_MAX)
        return false;
    head[1] |= (unsigned char)(more == 0 ? n : more == 2 ? 126 : 127);
    for (size_t i = more; i > 0; i--)
        head[at++] = (unsigned char)((uint64_t)n >> (8 * (i - 1)));
    if (mask) {
        memcpy(head + at, mask, 4);
        at += 4;
    }
    if (!jl_buf_add(out, head, at))
        return false;
    size_t from = out->len;
    if (n && !jl_buf_add(out, bytes, n))
        return false;
    for (size_t i = 0; mask && i < n; i++)
        out->data[from + i] = (char)((unsigned char)out->data[from + i] ^ mask[i & 3]);
    return true;
}

unsigned ws_close_code(const char *bytes, size_t n)
{
    return n < 2 ? 1005 : (unsigned)((unsigned char)bytes[0] << 8 | (unsigned char)bytes[1]);
}

/* ---- text -------------------------------------------------------------------------------------------------------- */

/* Length of the character that starts here, 0 when there is none: no overlong form, no half of a pair, nothing above U+10FFFF. */
static size_t character(const unsigned char *s, size_t n)
{
    size_t size = s[0] < 0x80                   ? 1
                  : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
                  : (s[0] & 0xf0) == 0xe0       ? 3
                  : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                                : 0;
    if (!size || size > n)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return size;
}

bool ws_is_utf8(const char *bytes, size_t n)
{
    for (size_t i = 0, size; i < n; i += size) {
        size = character((const unsigned char *)bytes + i, n - i);
        if (!size)
            return false;
    }
    return true;
}

/* ---- the handshake: base64 of the SHA-1 of the key and a constant (RFC 6455, 4.2.2) -------------------------------------- */

static uint32_t rotate(uint32_t x, unsigned by)
{
    return x << by | x >> (32 - by);
}

static void sha1_block(uint32_t h[5], const unsigned char *p)
{
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (size_t i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (size_t i = 16; i < 80; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (size_t i = 0; i < 80; i++) {
        uint32_t f = i < 20 ? (b & c) | (~b & d) : i < 40 || i >= 60 ? b ^ c ^ d : (b & c) | (b & d) | (c & d);
        uint32_t k = i < 20 ? 0x5a827999 : i < 40 ? 0x6ed9eba1 : i < 60 ? 0x8f1bbcdc : 0xca62c1d6;
        uint32_t t = rotate(a, 5) + f + e + k + w[i];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = t;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

/* Of at most 119 bytes: two blocks. */
static void sha1(const char *text, size_t n, unsigned char out[20])
{
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    unsigned char block[128] = {0};
    size_t size = n + 9 <= 64 ? 64 : 128;
    memcpy(block, text, n);
    block[n] = 0x80;
    block[size - 2] = (unsigned char)(n * 8 >> 8);
    block[size - 1] = (unsigned char)(n * 8);
    for (size_t i = 0; i < size; i += 64)
        sha1_block(h, block + i);
    for (size_t i = 0; i < 20; i++)
        out[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
}

void ws_accept(const char *key, char out[WS_ACCEPT_SIZE])
{
    static const char constant[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char sum[20];
    char text[120];
    size_t n = strnlen(key, 64);
    memcpy(text, key, n);
    memcpy(text + n, constant, sizeof(constant) - 1);
    sha1(text, n + sizeof(constant) - 1, sum);
    net_base64(sum, sizeof sum, out);
}
