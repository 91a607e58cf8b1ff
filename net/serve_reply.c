/* serve_reply.c - HTTP/1.1 answers taken apart (RFC 9112). What could be read in two ways is refused: lengths that differ or are
 * none. Lines may end with a bare LF, and what follows a blank at their begin belongs to the line before. */
#include "net/serve_reply.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TRAILER_MAX ((size_t)64 * 1024)
#define SIZE_DIGITS 15 /* of a chunk: less than 2^60 */

void reply_init(struct reply *r, bool to_head)
{
    *r = (struct reply){.to_head = to_head, .length = -1};
    jl_buf_init_unkept(&r->text, REPLY_HEAD_MAX);
}

void reply_release(struct reply *r)
{
    jl_buf_release(&r->text);
    free(r->headers);
    r->headers = NULL;
}

/* ---- the head ---------------------------------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "HTTP/1.1 200 OK": 0 for anything else. */
static int status_of(const char *line, size_t n)
{
    if (n < 12 || strncasecmp(line, "HTTP/1.", 7) != 0 || !is_digit(line[7]) || line[8] != ' ' || !is_digit(line[9]) ||
        !is_digit(line[10]) || !is_digit(line[11]) || (n > 12 && is_digit(line[12])))
        return 0;
    return (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
}

/* Of what cannot become a head no more is waited for. */
static bool may_be_http(const struct jl_buf *text)
{
    static const char begin[] = "HTTP/1.";
    size_t n = text->len < sizeof(begin) - 1 ? text->len : sizeof(begin) - 1;
    return strncasecmp(text->data, begin, n) == 0;
}

/* End of the head's text, its empty line with it; 0: it is not there yet. */
static size_t find_end(struct reply *r)
{
    const char *p = r->text.data;
    for (size_t i = r->scanned; i < r->text.len; i++) {
        const char *lf = memchr(p + i, '\n', r->text.len - i);
        if (!lf)
            break;
        i = (size_t)(lf - p);
        size_t next = i + 1;
        if (next < r->text.len && p[next] == '\r')
            next++;
        if (next < r->text.len && p[next] == '\n')
            return next + 1;
        r->scanned = i; /* what follows this one may not be there yet */
    }
    return 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* One line from *at on, with those that continue it, NUL instead of its end. *at: the next one. */
static char *take_line(char **at, char *end)
{
    char *line = *at, *lf = line;
    while ((lf = memchr(lf, '\n', (size_t)(end - lf)))) {
        bool goes_on = lf > line && lf + 1 < end && is_blank(lf[1]);
        if (lf > line && lf[-1] == '\r')
            lf[-1] = goes_on ? ' ' : '\0';
        *lf = goes_on ? ' ' : '\0';
        lf++;
        if (!goes_on)
            break;
    }
    *at = lf ? lf : end;
    return line;
}

/* A line without a name says nothing that could be passed on. */
static void keep_line(struct reply *r, char *line)
{
    char *colon = strchr(line, ':'), *name_end = colon, *value = colon ? colon + 1 : NULL;
    while (colon && name_end > line && is_blank(name_end[-1]))
        name_end--;
    if (!colon || name_end == line)
        return;
    *name_end = '\0';
    value += strspn(value, " \t");
    for (size_t n = strlen(value); n > 0 && (is_blank(value[n - 1]) || value[n - 1] == '\r'); n--)
        value[n - 1] = '\0';
    for (char *cr = strchr(value, '\r'); cr; cr = strchr(cr, '\r'))
        *cr = ' ';
    r->headers[r->n_headers++] = (struct net_header){line, value};
}

/* False: two lengths that differ, or one that is none. */
static bool read_length(struct reply *r, const char *value)
{
    size_t digits = strspn(value, "0123456789");
    int64_t n = strtoll(value, NULL, 10);
    if (digits == 0 || digits > 18 || value[digits] || (r->length >= 0 && r->length != n))
        return false;
    r->length = n;
    return true;
}

static bool ends_with_word(const char *value, const char *word)
{
    size_t n = strlen(value), w = strlen(word);
    return n >= w && strcasecmp(value + n - w, word) == 0 && (n == w || value[n - w - 1] == ',' || is_blank(value[n - w - 1]));
}

static bool has_word(const char *value, const char *word)
{
    size_t w = strlen(word);
    for (const char *p = value; *p; p += strcspn(p, ",")) {
        p += strspn(p, ", \t");
        size_t n = strcspn(p, ", \t");
        if (n == w && strncasecmp(p, word, w) == 0)
            return true;
    }
    return false;
}

/* How the body is framed, and whether the connection lasts (RFC 9112, 6.3 and 9.3). */
static bool read_headers(struct reply *r, bool old)
{
    const char *encoding = NULL;
    r->keeps = !old;
    for (size_t i = 0; i < r->n_headers; i++) {
        const struct net_header *h = &r->headers[i];
        if (strcasecmp(h->name, "Transfer-Encoding") == 0)
            encoding = h->value;
        else if (strcasecmp(h->name, "Content-Length") == 0 && !read_length(r, h->value))
            return false;
        else if (strcasecmp(h->name, "Connection") == 0)
            r->keeps = old ? has_word(h->value, "keep-alive") : r->keeps && !has_word(h->value, "close");
    }
    if (encoding) {
        r->keeps &= r->length < 0;
        r->length = -1;
    }
    r->framing = encoding && ends_with_word(encoding, "chunked") ? REPLY_CHUNKED
                 : r->length >= 0                                ? REPLY_LENGTH
                                                                 : REPLY_UNTIL_END;
    r->left = r->framing == REPLY_LENGTH ? (uint64_t)r->length : 0;
    r->done = r->to_head || r->status == 204 || r->status == 304 || (r->framing == REPLY_LENGTH && !r->left);
    r->keeps &= r->done || r->framing != REPLY_UNTIL_END;
    return true;
}

static size_t count_lines(const char *p, size_t n)
{
    size_t lines = 0;
    for (const char *end = p + n; (p = memchr(p, '\n', (size_t)(end - p))); p++)
        lines++;
    return lines;
}

/* The text of `n` bytes is a whole head. REPLY_MORE: an interim answer, which ends here. */
static enum reply_head take_head(struct reply *r, size_t n)
{
    char *at = r->text.data, *end = at + n;
    if (memchr(at, '\0', n))
        return REPLY_BAD;
    size_t first = strcspn(at, "\r\n");
    bool old = first > 7 && at[7] == '0';
    r->status = status_of(at, first);
    if (!r->status || r->status == 101)
        return r->status ? REPLY_BAD : REPLY_NO_HTTP;
    if (r->status < 200)
        return REPLY_MORE;
    r->headers = jl_malloc_unkept(count_lines(at, n) * sizeof(*r->headers));
    if (!r->headers)
        return REPLY_NO_MEMORY;
    take_line(&at, end);
    while (at < end)
        keep_line(r, take_line(&at, end));
    return read_headers(r, old) ? REPLY_HEAD : REPLY_BAD;
}

enum reply_head reply_head_bytes(struct reply *r, const char *bytes, size_t n, size_t *used)
{
    size_t before = r->text.len, behind = 0, end; /* behind: heads of interim answers */
    *used = n;
    if (!jl_buf_add(&r->text, bytes, n))
        return before + n > REPLY_HEAD_MAX ? REPLY_BAD : REPLY_NO_MEMORY;
    while ((end = find_end(r))) {
        enum reply_head what = take_head(r, end);
        if (what != REPLY_MORE) {
            *used = behind + end - before; /* the end of a head was not there before */
            return what;
        }
        jl_buf_drop(&r->text, end); /* interim: nobody wants it */
        r->scanned = 0;
        behind += end;
    }
    return r->text.len && !may_be_http(&r->text) ? REPLY_NO_HTTP : REPLY_MORE;
}

/* ---- the body ---------------------------------------------------------------------------------------------------------- */

static int hex(char c)
{
    return is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void after_size(struct reply *r)
{
    r->broken = r->line == 0;
    r->state = r->left ? CHUNK_DATA : CHUNK_TRAILER;
    r->line = 0;
    r->trailer = 0;
}

static void size_byte(struct reply *r, char c)
{
    int digit = hex(c);
    if (digit >= 0) {
        r->left = r->left * 16 + (unsigned)digit;
        r->broken = ++r->line > SIZE_DIGITS;
    } else if (c == '\n') {
        after_size(r);
    } else {
        r->broken = r->line == 0 || (c != ';' && c != '\r' && !is_blank(c));
        r->state = CHUNK_EXTENSION;
    }
}

/* One byte that is none of the body. */
static void frame_byte(struct reply *r, char c)
{
    switch (r->state) {
    case CHUNK_SIZE:
        size_byte(r, c);
        break;
    case CHUNK_EXTENSION:
        if (c == '\n')
            after_size(r);
        else
            r->broken = ++r->trailer > TRAILER_MAX;
        break;
    case CHUNK_DATA_ENDS:
        r->broken = c != '\n' && c != '\r';
        if (c == '\n') {
            r->state = CHUNK_SIZE;
            r->line = 0;
            r->left = 0;
        }
        break;
    default: /* CHUNK_TRAILER: headers that end here; an empty line ends them */
        r->done = c == '\n' && r->line == 0;
        r->line = c == '\n' ? 0 : r->line + (c != '\r');
        r->broken |= ++r->trailer > TRAILER_MAX;
    }
}

static size_t chunked_bytes(struct reply *r, char *bytes, size_t n)
{
    size_t out = 0, i = 0;
    while (i < n && !r->done && !r->broken) {
        if (r->state != CHUNK_DATA) {
            frame_byte(r, bytes[i++]);
            continue;
        }
        size_t part = r->left < n - i ? (size_t)r->left : n - i;
        memmove(bytes + out, bytes + i, part);
        out += part;
        i += part;
        r->left -= part;
        if (r->left == 0)
            r->state = CHUNK_DATA_ENDS;
    }
    r->more |= r->done && i < n;
    return out;
}

size_t reply_body_bytes(struct reply *r, char *bytes, size_t n)
{
    if (r->done || r->broken) {
        r->more |= r->done && n > 0;
        return 0;
    }
    if (r->framing == REPLY_CHUNKED)
        return chunked_bytes(r, bytes, n);
    if (r->framing == REPLY_UNTIL_END)
        return n;
    size_t part = r->left < n ? (size_t)r->left : n;
    r->left -= part;
    r->done = r->left == 0;
    r->more |= part < n;
    return part;
}

void reply_ends(struct reply *r)
{
    r->keeps = false;
    r->done |= r->framing == REPLY_UNTIL_END && !r->broken;
    r->broken |= !r->done;
}
