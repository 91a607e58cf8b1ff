/* Any bytes, framed in one piece and in two, give the same events. The first byte chooses the framing, the second the cut. */
#include "llm/engine_framing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void collect(void *user, enum frame_kind kind, const char *bytes, size_t n)
{
    struct jl_buf *b = user;
    char head[2] = {(char)('0' + (int)kind), ':'};
    jl_buf_add(b, head, 2);
    jl_buf_add(b, bytes, n);
    jl_buf_add(b, "\n", 1);
}

static void frame(enum engine_framing how, const char *bytes, size_t n, size_t cut, struct jl_buf *out)
{
    struct framing f;
    jl_buf_init(out, (size_t)1 << 26);
    framing_init(&f, how, collect, out);
    framing_bytes(&f, bytes, cut);
    framing_bytes(&f, bytes + cut, n - cut);
    framing_end(&f);
    framing_release(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct jl_buf whole, cut;
    if (size < 2)
        return 0;
    const char *bytes = (const char *)data + 2;
    size_t n = size - 2;
    enum engine_framing how = data[0] & 1 ? ENGINE_LINES : ENGINE_SSE;
    frame(how, bytes, n, n, &whole);
    frame(how, bytes, n, n * data[1] / 255, &cut);
    if (whole.len != cut.len || (whole.len && memcmp(whole.data, cut.data, whole.len) != 0))
        abort();
    jl_buf_release(&whole);
    jl_buf_release(&cut);
    return 0;
}
