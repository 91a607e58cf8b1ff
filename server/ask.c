/* ask.c - asks an engine of OpenAI's protocol for counts at the end of its stream, in a body that the client wrote: one member is
 * put in, every other byte stays. */
#include "server/splice.h"

#include <string.h>

#define BODY_MAX ((size_t)64 << 20)

struct body {
    size_t after_stream; /* end of `"stream":true`; 0: it does not stream */
    size_t in_options;   /* after the brace of stream_options; 0: there is none */
    bool options_empty, asks, refuses, other_options;
};

static bool at(const char *text, size_t left, const char *what)
{
    return left >= strlen(what) && memcmp(text, what, strlen(what)) == 0;
}

/* Value of include_usage, from the end of its key on. */
static bool is_true(const char *text, size_t left)
{
    size_t i = strlen("\"include_usage\"");
    while (i < left && (text[i] == ' ' || text[i] == ':' || text[i] == '\n' || text[i] == '\t' || text[i] == '\r'))
        i++;
    return i < left && at(text + i, left - i, "true");
}

/* What stands before byte i is told; the byte is not. */
static void look(struct body *b, const struct json_watch *w, const char *body, size_t n, size_t i)
{
    bool top = w->depth == 1 && !w->in_string;
    char c = body[i];
    if (top && w->scalar && strcmp(w->key, "stream") == 0 &&
        (c == ',' || c == '}' || c == ' ' || c == '\n' || c == '\r' || c == '\t'))
        b->after_stream = w->word_n == 4 && memcmp(w->word, "true", 4) == 0 ? i : 0;
    if (top && !w->expects_key && strcmp(w->key, "stream_options") == 0 && c != ':' && c != ',' && !w->scalar) {
        if (c == '{') {
            b->in_options = i + 1;
            b->options_empty = true;
        } else if (c > ' ' && c != '}') {
            b->other_options = true; /* null, or what is no object */
        }
    }
    if (w->depth == 2 && !w->in_string && b->in_options && strcmp(w->key, "stream_options") == 0) {
        b->options_empty &= c == '}' || c <= ' ';
        if (w->expects_key && at(body + i, n - i, "\"include_usage\"")) {
            b->asks = is_true(body + i, n - i);
            b->refuses = !b->asks;
        }
    }
}

bool splice_ask_usage(const char *body, size_t n, bool each, struct jl_buf *out, bool *asks)
{
    struct json_watch w;
    struct body b = {0};
    json_watch_init(&w);
    jl_buf_init_unkept(out, BODY_MAX);
    *asks = false;
    for (size_t i = 0; i < n && !w.broken; i++) {
        i += json_watch_text(&w, body + i, n - i);
        if (i == n)
            break;
        look(&b, &w, body, n, i);
        json_watch_byte(&w, body[i]);
    }
    *asks = b.asks && b.after_stream;
    if (!w.over || w.broken || !b.after_stream || b.asks || b.refuses || b.other_options)
        return false;
    size_t where = b.in_options ? b.in_options : b.after_stream;
    const char *usage = each ? "\"include_usage\":true,\"continuous_usage_stats\":true" : "\"include_usage\":true";
    bool ok = jl_buf_add(out, body, where);
    if (b.in_options)
        ok = ok && jl_buf_printf(out, "%s%s", usage, b.options_empty ? "" : ",");
    else
        ok = ok && jl_buf_printf(out, ",\"stream_options\":{%s}", usage);
    ok = ok && jl_buf_add(out, body + where, n - where);
    if (!ok)
        jl_buf_release(out);
    return ok;
}
