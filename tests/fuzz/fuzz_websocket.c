/* Frames of a WebSocket: the same messages whatever the cut, never more than the limit, and what is written is read again. The
 * first byte chooses masks and the size of the pieces. */
#include "net/net_ws.h"

#include <stdlib.h>
#include <string.h>

#define LIMIT ((size_t)4096)

struct sum {
    uint64_t hash;
    size_t n;
};

static bool add(void *user, enum ws_kind kind, const char *bytes, size_t n)
{
    struct sum *s = user;
    if (n > LIMIT || (kind == WS_TEXT && !ws_is_utf8(bytes, n)) || (kind >= WS_CLOSE && n > WS_CONTROL_MAX))
        abort();
    s->hash = s->hash * 31 + (uint64_t)kind;
    for (size_t i = 0; i < n; i++)
        s->hash = s->hash * 31 + (unsigned char)bytes[i];
    s->n++;
    return true;
}

static struct sum read_in(const char *bytes, size_t n, bool masked, size_t step, const char **problem)
{
    struct ws_reader r;
    struct sum s = {1, 0};
    ws_reader_init(&r, masked, LIMIT);
    for (size_t at = 0; at < n; at += step)
        if (!ws_reader_bytes(&r, bytes + at, n - at < step ? n - at : step, add, &s))
            break;
    *problem = r.problem;
    ws_reader_release(&r);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *a, *b;
    if (size < 1)
        return 0;
    const char *bytes = (const char *)data + 1;
    size_t n = size - 1;
    struct sum whole = read_in(bytes, n, data[0] & 1, n ? n : 1, &a);
    struct sum pieces = read_in(bytes, n, data[0] & 1, (size_t)(data[0] >> 1) + 1, &b);
    if (whole.hash != pieces.hash || whole.n != pieces.n || a != b)
        abort();
    struct jl_buf out;
    jl_buf_init(&out, 1 << 20);
    if (size >= 4 && n <= LIMIT && ws_write(&out, WS_BINARY, bytes, n, data[0] & 1 ? data : NULL)) {
        struct sum back = read_in(out.data, out.len, data[0] & 1, 7, &a);
        if (a || back.n != 1)
            abort();
    }
    jl_buf_release(&out);
    return 0;
}
