/* splice.h - puts energy into the last object of an answer, and takes out counts that the client did not ask for, while the bytes
 * pass: whole JSON, JSON lines and server-sent events. Every other byte goes on as it came, at once; any cut of the input gives
 * the same output. */
#ifndef SERVER_SPLICE_H
#define SERVER_SPLICE_H

#include "server/json_watch.h"

enum splice_framing { SPLICE_JSON, SPLICE_LINES, SPLICE_SSE };
enum splice_form {
    SPLICE_NONE,   /* byte for byte */
    SPLICE_ENERGY, /* a member of the last object */
    SPLICE_USAGE   /* a member of its "usage"; when it has none, of llama.cpp's "timings", which clients show with it; else of the
                      object itself */
};
/* Members to be put in, as `"energy":{...}`: no comma before or after. Called once at most, when the last object ends. 0: none.
 */
typedef size_t splice_members(void *user, char *out, size_t size);
typedef void splice_out(void *user, const char *bytes, size_t n);

#define SPLICE_MEMBERS_MAX 1024
#define SPLICE_HELD_MAX    ((size_t)256 << 10)

struct splice_options {
    enum splice_framing framing;
    enum splice_form form;
    bool asks_usage;    /* the client asked for counts: they come in an object of their own */
    bool drop_usage;    /* server-sent events: nobody asked but us: the object goes, and "usage":null everywhere */
    bool drop_each;     /* with drop_usage: counts were asked for in each object, and go everywhere */
    const char *source; /* a member for an energy object that is there already: who measured; NULL: it stays as it is */
    size_t reserve;     /* the answer's length was announced, and so many bytes are added to it in any case: what members do not
                           fill are blanks. 0: its length is free */
    splice_members *members;
    splice_out *out;
    void *user;
};

struct splicer {
    struct splice_options o;
    struct json_watch watch;
    struct jl_buf held; /* the line that may go */
    size_t prefix;      /* bytes of "data:" seen in this line; SIZE_MAX: it is another line */
    bool spliced, passes;
    bool dropped_line, event_dropped, swallows; /* the line that was judged; the one before; the end of the line goes too */
    char last;
    bool timings;          /* an object had the engine's times */
    size_t added, dropped; /* bytes */
};
void splicer_init(struct splicer *s, const struct splice_options *o);
void splicer_release(struct splicer *s);
void splicer_bytes(struct splicer *s, const char *bytes, size_t n);
void splicer_end(struct splicer *s);

/* What is asked of an engine of OpenAI's protocol so that its stream ends with counts: the body of a request with
 * stream_options.include_usage put in. false: nothing is to be done (it does not stream, asks already, says no, or is not whole),
 * or there is no memory; *out is empty then. *asks: it asks already. Release *out.
 * each: also continuous_usage_stats, counts in every object from the first on, which vLLM and SGLang know and others refuse. */
bool splice_ask_usage(const char *body, size_t n, bool each, struct jl_buf *out, bool *asks);

#endif
