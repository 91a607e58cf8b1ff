/* recognise_wire.c - what was recognised, as bytes and back. */
#include "server/recognise_wire.h"

#include <math.h>
#include <string.h>

#define COUNT_MAX ((int64_t)1000000000000)

static void copy(char *out, size_t size, const char *in)
{
    size_t n = strnlen(in, size - 1);
    memcpy(out, in, n);
    out[n] = '\0';
}

void recognised_to_wire(const struct recognised *r, struct recognised_wire *w)
{
    memset(w, 0, sizeof *w); /* no byte of it is left as it was */
    w->prompt_bytes = r->prompt_bytes;
    w->images = (int64_t)r->images;
    w->prompt = r->tokens.prompt;
    w->cached = r->tokens.cached;
    w->generated = r->tokens.generated;
    w->reasoning = r->tokens.reasoning;
    w->computed = r->computed;
    w->t_first_ns = r->t_first_ns;
    w->t_answer_ns = r->t_answer_ns;
    w->t_last_ns = r->t_last_ns;
    w->pieces = (int64_t)r->pieces;
    w->prompt_s = r->server_prompt_s;
    w->decode_s = r->server_decode_s;
    w->load_s = r->server_load_s;
    w->queue_s = r->server_queue_s;
    w->audio_s = r->audio_s;
    w->kind = (int32_t)r->kind;
    w->status = r->status;
    w->prompt_source = (int32_t)r->prompt_source;
    w->generated_source = (int32_t)r->generated_source;
    w->asks_stream = r->asks_stream;
    w->streams = r->streams;
    w->asks_usage = r->asks_usage;
    w->remote = r->remote;
    w->done = r->done;
    w->whole = r->whole;
    copy(w->protocol, sizeof w->protocol, r->protocol);
    copy(w->model, sizeof w->model, r->model);
    copy(w->finish, sizeof w->finish, r->finish);
    copy(w->error, sizeof w->error, r->error);
}

static int64_t count_of(int64_t n)
{
    return n < 0 ? -1 : n > COUNT_MAX ? COUNT_MAX : n;
}

static double seconds_of(double s)
{
    return s >= 0 && isfinite(s) ? s : NAN;
}

static enum recognised_source source_of(int32_t s)
{
    return s >= RECOGNISED_TIMINGS && s <= RECOGNISED_UNKNOWN ? (enum recognised_source)s : RECOGNISED_UNKNOWN;
}

/* A text that ends, in its own place, and is shown without control characters. */
static void text_of(char *out, size_t size, const char *in, size_t n)
{
    copy(out, size < n ? size : n, in);
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = ' ';
}

void recognised_from_wire(const struct recognised_wire *w, struct recognised *r)
{
    *r = (struct recognised){.kind = w->kind >= 0 && recognised_kind_name((enum recognised_kind)w->kind)
                                         ? (enum recognised_kind)w->kind
                                         : RECOGNISED_OTHER,
                             .protocol = "",
                             .asks_stream = w->asks_stream != 0,
                             .streams = w->streams != 0,
                             .asks_usage = w->asks_usage != 0,
                             .prompt_bytes = count_of(w->prompt_bytes),
                             .images = w->images > 0 ? (size_t)count_of(w->images) : 0,
                             .status = w->status >= 100 && w->status < 1000 ? w->status : 0,
                             .tokens = {count_of(w->prompt), count_of(w->cached), count_of(w->generated), count_of(w->reasoning)},
                             .computed = count_of(w->computed),
                             .prompt_source = source_of(w->prompt_source),
                             .generated_source = source_of(w->generated_source),
                             .t_first_ns = w->t_first_ns > 0 ? w->t_first_ns : 0,
                             .t_answer_ns = w->t_answer_ns > 0 ? w->t_answer_ns : 0,
                             .t_last_ns = w->t_last_ns > 0 ? w->t_last_ns : 0,
                             .pieces = w->pieces > 0 ? (size_t)count_of(w->pieces) : 0,
                             .server_prompt_s = seconds_of(w->prompt_s),
                             .server_decode_s = seconds_of(w->decode_s),
                             .server_load_s = seconds_of(w->load_s),
                             .server_queue_s = seconds_of(w->queue_s),
                             .audio_s = seconds_of(w->audio_s),
                             .remote = w->remote != 0,
                             .done = w->done != 0,
                             .whole = w->whole != 0};
    char protocol[sizeof w->protocol];
    text_of(protocol, sizeof protocol, w->protocol, sizeof w->protocol);
    r->protocol = recognise_protocol(protocol);
    text_of(r->model, sizeof r->model, w->model, sizeof w->model);
    text_of(r->finish, sizeof r->finish, w->finish, sizeof w->finish);
    text_of(r->error, sizeof r->error, w->error, sizeof w->error);
}
