/* Bytes of a tunnel to LM Studio in both directions, cut once: the same is told as uncut, and each request that begins ends. The
 * first byte is where it is cut; then pieces, each with a byte for direction and length before it. */
#include "server/recognise_frames.h"

#include <stdlib.h>
#include <string.h>

struct told {
    struct jl_buf text;
    uint32_t begun, ended;
};

static void on_request(void *user, uint32_t part, const struct recognised *r, int64_t t_ns)
{
    struct told *t = user;
    (void)t_ns;
    if (part != ++t->begun || !memchr(r->model, '\0', sizeof r->model))
        abort();
    jl_buf_printf(&t->text, "request %u %s\n", (unsigned)part, r->model);
}

static void on_progress(void *user, uint32_t part, double share, int64_t t_ns)
{
    struct told *t = user;
    (void)t_ns;
    if (!(share >= 0 && share <= 1) || part == 0 || part > t->begun)
        abort();
    jl_buf_printf(&t->text, "progress %u %g\n", (unsigned)part, share);
}

static void on_prompt(void *user, uint32_t part, double computed, double all)
{
    struct told *t = user;
    if (!(computed <= all))
        abort();
    jl_buf_printf(&t->text, "prompt %u %g\n", (unsigned)part, all);
}

static void on_piece(void *user, uint32_t part, double tokens, bool thinking, int64_t t_ns)
{
    struct told *t = user;
    (void)t_ns;
    jl_buf_printf(&t->text, "piece %u %g %d\n", (unsigned)part, tokens, thinking);
}

static void on_end(void *user, uint32_t part, const struct recognised *r, int64_t t_ns)
{
    struct told *t = user;
    (void)t_ns;
    t->ended++;
    jl_buf_printf(&t->text, "end %u %s %d %d\n", (unsigned)part, r->finish, r->done, r->whole);
}

static void on_reads(void *user, bool reads)
{
    struct told *t = user;
    jl_buf_printf(&t->text, "reads %d\n", reads);
}

static void run(const uint8_t *data, size_t size, size_t cut, struct told *t)
{
    const struct frames_told told = {on_request, on_progress, on_prompt, on_piece, on_end, on_reads, t};
    *t = (struct told){.begun = 0};
    jl_buf_init(&t->text, 1 << 20);
    struct frames *f = frames_open("/embedding", &told);
    if (!f)
        abort();
    for (size_t i = 0; i < size;) {
        bool up = data[i] & 0x80;
        size_t n = (data[i] & 0x7f) * 4u + 1, left = size - ++i;
        n = n < left ? n : left;
        size_t first = cut > i && cut < i + n ? cut - i : n;
        frames_bytes(f, up, (const char *)data + i, first, 1);
        if (first < n)
            frames_bytes(f, up, (const char *)data + i + first, n - first, 1);
        i += n;
    }
    frames_end(f, true, 2);
    if (t->begun != t->ended)
        abort();
    frames_close(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct told whole, cut;
    if (size < 2)
        return 0;
    run(data + 1, size - 1, 0, &whole);
    run(data + 1, size - 1, data[0], &cut);
    if (whole.text.len != cut.text.len || (whole.text.len && memcmp(whole.text.data, cut.text.data, whole.text.len) != 0))
        abort();
    jl_buf_release(&whole.text);
    jl_buf_release(&cut.text);
    return 0;
}
