/* engine_framing.c - server-sent events and JSON lines, in any cut (docs/engines.md, "Framing").
 *
 * SSE: lines end in \n, \r\n or \r; a blank line ends an event; the `data:` lines of an event join with \n; one blank after the
 * colon is no part of the value; a line that starts with a colon is a comment. Chunks of HTTP have nothing to do with lines. */
#include "llm/engine_framing.h"

#include <string.h>

void framing_init(struct framing *f, enum engine_framing how, void (*on_event)(void *, enum frame_kind, const char *, size_t),
                  void *user)
{
    *f = (struct framing){.how = how, .on_event = on_event, .user = user};
    jl_buf_init(&f->line, FRAMING_MAX);
    jl_buf_init(&f->data, FRAMING_MAX);
}

void framing_release(struct framing *f)
{
    jl_buf_release(&f->line);
    jl_buf_release(&f->data);
}

static void dispatch(struct framing *f, enum frame_kind kind)
{
    if (f->has_data)
        f->on_event(f->user, kind, f->data.data ? f->data.data : "", f->data.len);
    f->has_data = false;
    jl_buf_clear(&f->data);
}

static void add_data(struct framing *f, const char *value, size_t n)
{
    bool ok = (!f->has_data || jl_buf_add(&f->data, "\n", 1)) && jl_buf_add(&f->data, value, n);
    f->has_data = true;
    f->overflow = !ok;
}

static bool is_field(const char *line, size_t n, const char *name)
{
    return n == strlen(name) && memcmp(line, name, n) == 0;
}

static void sse_line(struct framing *f, const char *line, size_t n)
{
    if (n == 0) {
        dispatch(f, FRAME_DATA);
        return;
    }
    const char *colon = memchr(line, ':', n);
    size_t name = colon ? (size_t)(colon - line) : n;
    const char *value = colon ? colon + 1 : line + n;
    size_t rest = (size_t)(line + n - value);
    if (rest && value[0] == ' ') {
        value++;
        rest--;
    }
    if (is_field(line, name, "data"))
        add_data(f, value, rest);
    else if (is_field(line, name, "error"))
        f->on_event(f->user, FRAME_ERROR, value, rest);
}

/* A whole line, its end taken off. */
static void take_line(struct framing *f, const char *line, size_t n, bool tail)
{
    if (!f->begun && n >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0) {
        line += 3;
        n -= 3;
    }
    f->begun = true;
    if (f->how == ENGINE_SSE)
        sse_line(f, line, n);
    else if (n)
        f->on_event(f->user, tail ? FRAME_TAIL : FRAME_DATA, line, n);
}

/* Where the line ends; n when not in these bytes. A lone \r ends a line of SSE only. */
static size_t line_end(const struct framing *f, const char *bytes, size_t n)
{
    const char *lf = memchr(bytes, '\n', n);
    size_t end = lf ? (size_t)(lf - bytes) : n;
    const char *cr = f->how == ENGINE_SSE ? memchr(bytes, '\r', end) : NULL;
    return cr ? (size_t)(cr - bytes) : end;
}

void framing_bytes(struct framing *f, const char *bytes, size_t n)
{
    while (n && !f->overflow) {
        if (f->after_cr && bytes[0] == '\n') { /* the second half of \r\n */
            f->after_cr = false;
            bytes++;
            n--;
            continue;
        }
        f->after_cr = false;
        size_t end = line_end(f, bytes, n);
        if (end == n || f->line.len) {
            f->overflow = !jl_buf_add(&f->line, bytes, end);
            if (end == n || f->overflow)
                return;
            take_line(f, f->line.data, f->line.len, false);
            jl_buf_clear(&f->line);
        } else {
            take_line(f, bytes, end, false);
        }
        f->after_cr = bytes[end] == '\r';
        bytes += end + 1;
        n -= end + 1;
    }
}

/* Some servers leave the last blank line out; a stream that was cut ends inside a line. The receiver tells them apart. */
void framing_end(struct framing *f)
{
    if (f->overflow)
        return;
    if (f->line.len)
        take_line(f, f->line.data, f->line.len, true);
    jl_buf_clear(&f->line);
    dispatch(f, FRAME_TAIL);
}
