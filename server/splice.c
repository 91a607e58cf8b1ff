/* splice.c - the bytes of an answer on their way. A byte goes out when it came, unless it is the brace before which something is
 * put in; only where a whole event may have to go, its line is held until it ends. */
#include "server/splice.h"

#include <string.h>

static const char data_field[] = "data:";

void splicer_init(struct splicer *s, const struct splice_options *o)
{
    *s = (struct splicer){.o = *o};
    s->passes = o->form == SPLICE_NONE && !o->drop_usage;
    json_watch_init(&s->watch);
    jl_buf_init_unkept(&s->held, SPLICE_HELD_MAX);
}

void splicer_release(struct splicer *s)
{
    jl_buf_release(&s->held);
}

static void give(struct splicer *s, const char *bytes, size_t n)
{
    if (n)
        s->o.out(s->o.user, bytes, n);
}

/* ---- putting in ------------------------------------------------------------------------------------------------------ */

static void put_in(struct splicer *s, bool source, bool empty, struct jl_buf *into)
{
    char members[SPLICE_MEMBERS_MAX + 1];
    size_t limit = s->o.reserve && s->o.reserve - 1 < SPLICE_MEMBERS_MAX ? s->o.reserve - 1 : SPLICE_MEMBERS_MAX, n;
    s->spliced = true;
    members[0] = ',';
    if (source && s->added + strlen(s->o.source) > limit)
        return;
    n = source ? strlen(s->o.source) : s->o.members(s->o.user, members + 1, limit);
    if (n == 0 || n > limit)
        return;
    if (source)
        memcpy(members + 1, s->o.source, n);
    const char *from = empty ? members + 1 : members;
    n += !empty;
    s->added += n;
    if (into)
        jl_buf_add(into, from, n);
    else
        give(s, from, n);
}

/* Before the byte that stands at `place`. `into`: the line that is held; NULL: it goes on at once. */
static void before(struct splicer *s, enum json_place place, struct jl_buf *into)
{
    const struct json_watch *w = &s->watch;
    bool whole = s->o.framing == SPLICE_JSON;
    if (place == JSON_ENERGY_ENDS && s->o.form != SPLICE_NONE) { /* of a joulet server behind us: the only one there is */
        s->spliced = true;
        if (s->o.source && !w->energy_source)
            put_in(s, true, w->empty[2], into);
    }
    if (s->o.form == SPLICE_NONE || s->spliced || w->has_energy)
        return;
    if (place == JSON_USAGE_ENDS && s->o.form == SPLICE_USAGE) {
        bool counts = whole || w->no_choices || w->ended || strcmp(w->type, "message_delta") == 0;
        if (counts)
            put_in(s, false, w->empty[1], into);
    } else if (place == JSON_TIMINGS_ENDS && s->o.form == SPLICE_USAGE) {
        if (!whole && w->ended && !w->has_usage && !(s->o.asks_usage && !s->o.drop_usage))
            put_in(s, false, w->empty[1], into);
    } else if (place == JSON_ENDS && (whole || json_watch_is_final(w, s->o.asks_usage && !s->o.drop_usage))) {
        put_in(s, false, w->empty[0], into);
    }
}

/* A byte of an object; what is before it goes out first. */
static bool watch_byte(struct splicer *s, const char *from, const char *at, struct jl_buf *into)
{
    enum json_place place = json_watch_byte(&s->watch, *at);
    if (place == JSON_INSIDE || place == JSON_BROKEN)
        return false;
    s->timings |= place == JSON_ENDS && s->watch.has_timings;
    size_t was = s->added;
    if (into) {
        before(s, place, into);
        return s->added != was;
    }
    give(s, from, (size_t)(at - from));
    before(s, place, NULL);
    return true;
}

/* ---- whole, and in lines --------------------------------------------------------------------------------------------- */

static void new_line(struct splicer *s)
{
    json_watch_init(&s->watch);
    s->prefix = 0;
}

/* Is this byte one of the object in the line? Of server-sent events only what follows "data:" is. */
static bool in_object(struct splicer *s, char c)
{
    if (s->o.framing != SPLICE_SSE || s->prefix == sizeof data_field - 1)
        return true;
    if (s->prefix != SIZE_MAX)
        s->prefix = c == data_field[s->prefix] ? s->prefix + 1 : SIZE_MAX;
    return false;
}

static void flow(struct splicer *s, const char *bytes, size_t n)
{
    const char *from = bytes;
    for (const char *at = bytes; at < bytes + n; at++) {
        at += json_watch_text(&s->watch, at, (size_t)(bytes + n - at));
        if (at == bytes + n)
            break;
        bool line_ends = s->o.framing != SPLICE_JSON && (*at == '\n' || (*at == '\r' && s->o.framing == SPLICE_SSE));
        if (line_ends)
            new_line(s);
        else if (in_object(s, *at) && watch_byte(s, from, at, NULL))
            from = at;
    }
    give(s, from, (size_t)(bytes + n - from));
}

/* ---- lines that may go ----------------------------------------------------------------------------------------------- */

/* End of the value that begins at i of a line, on a watch that has seen all before it; 0 when it does not end there. */
static size_t value_end(struct json_watch w, const char *line, size_t n, size_t i)
{
    for (; i < n; i++) {
        if (w.depth == 1 && !w.in_string && (line[i] == ',' || line[i] == '}'))
            return i;
        if (json_watch_byte(&w, line[i]) == JSON_BROKEN)
            return 0;
    }
    return 0;
}

/* null, or counts that are all 0, as Ollama has them in each object of a completion whose counts were asked for. */
static bool says_nothing(const char *value, size_t n)
{
    if (n >= 4 && memcmp(value, "null", 4) == 0)
        return true;
    if (n < 2 || value[0] != '{')
        return false;
    for (size_t i = 0; i < n; i++)
        if (value[i] >= '1' && value[i] <= '9')
            return false;
    return memchr(value, '0', n) != NULL;
}

/* The member "usage" at the top, with a comma of its own: [*from, *to). `each`: whatever its value; else only one that says
 * nothing. */
static bool find_usage(const char *line, size_t n, bool each, size_t *from, size_t *to)
{
    static const char member[] = "\"usage\":";
    struct json_watch w;
    size_t comma = 0;
    json_watch_init(&w);
    for (size_t i = sizeof data_field - 1; i < n; i++) {
        bool top = w.depth == 1 && !w.in_string;
        if (top && line[i] == ',')
            comma = i;
        if (top && w.expects_key && n - i > sizeof member && memcmp(line + i, member, sizeof member - 1) == 0) {
            size_t value = i + sizeof member - 1, end = value_end(w, line, n, i);
            value += strspn(line + value, " ");
            if (!end || (!each && !says_nothing(line + value, end - value)))
                return false;
            *from = comma ? comma : i;
            *to = end + (!comma && line[end] == ',');
            return true;
        }
        if (json_watch_byte(&w, line[i]) == JSON_BROKEN)
            return false;
    }
    return false;
}

/* Only the object with the counts and without choices was our wish. */
static bool is_ours(const struct json_watch *w)
{
    return w->over && !w->broken && w->has_usage && w->choices && w->no_choices;
}

/* Nothing can be put into it, or taken out. The watch has seen all of it. */
static bool stays(const struct splicer *s, const char *line, size_t n)
{
    return !s->watch.broken && !memmem(line, n, "\"usage\"", 7) && !json_watch_is_final(&s->watch, false);
}

/* A whole line is held, without its end. */
static void judge(struct splicer *s)
{
    struct jl_buf out;
    const char *line = s->held.data;
    size_t n = s->held.len, from = 0, to = 0;
    if (n < sizeof data_field || memcmp(line, data_field, sizeof data_field - 1) != 0) {
        give(s, line, n);
        return;
    }
    json_watch_init(&s->watch);
    for (size_t i = sizeof data_field - 1; i < n; i++) {
        i += json_watch_text(&s->watch, line + i, n - i);
        if (i < n)
            json_watch_byte(&s->watch, line[i]);
    }
    s->dropped_line = is_ours(&s->watch);
    if (s->dropped_line) {
        s->dropped += n;
        return;
    }
    if (stays(s, line, n)) {
        s->timings |= s->watch.over && s->watch.has_timings;
        give(s, line, n);
        return;
    }
    jl_buf_init_unkept(&out, SPLICE_HELD_MAX + SPLICE_MEMBERS_MAX + 1);
    json_watch_init(&s->watch);
    bool goes = find_usage(line, n, s->o.drop_each, &from, &to);
    size_t added = s->added, dropped = s->dropped;
    for (size_t i = 0; i < n; i++) {
        if (i >= sizeof data_field - 1)
            watch_byte(s, NULL, line + i, &out);
        if (goes && i >= from && i < to)
            s->dropped++;
        else
            jl_buf_add(&out, line + i, 1);
    }
    if (out.failed) { /* no memory: as it came */
        s->added = added;
        s->dropped = dropped;
    }
    give(s, out.failed ? line : out.data, out.failed ? n : out.len);
    jl_buf_release(&out);
}

/* What becomes of a line becomes of its end; with an event that goes, the blank line after it goes too. */
static void end_line(struct splicer *s, char c)
{
    if (!(c == '\n' && s->last == '\r')) { /* the second half of an end goes where the first went */
        bool blank = s->held.len == 0;
        s->dropped_line = false;
        if (!blank)
            judge(s);
        jl_buf_clear(&s->held);
        s->swallows = s->dropped_line || (blank && s->event_dropped);
        s->event_dropped = s->dropped_line;
    }
    s->last = c;
    if (s->swallows)
        s->dropped++;
    else
        give(s, &c, 1);
}

/* Bytes before the next end of a line. */
static size_t plain(const char *bytes, size_t n)
{
    const char *lf = memchr(bytes, '\n', n), *cr;
    n = lf ? (size_t)(lf - bytes) : n;
    cr = memchr(bytes, '\r', n);
    return cr ? (size_t)(cr - bytes) : n;
}

static void hold(struct splicer *s, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t k = plain(bytes + i, n - i), before = s->held.len;
        if (s->passes) {
            give(s, bytes + i, n - i);
            return;
        }
        if (!k) {
            end_line(s, bytes[i++]);
            continue;
        }
        s->last = bytes[i + k - 1];
        if (!jl_buf_add(&s->held, bytes + i, k)) { /* longer than any event of counts: from here on all of it passes */
            i += s->held.len - before;
            give(s, s->held.data, s->held.len);
            give(s, bytes + i, n - i);
            s->passes = true;
            return;
        }
        i += k;
    }
}

/* ---- the whole ------------------------------------------------------------------------------------------------------- */

void splicer_bytes(struct splicer *s, const char *bytes, size_t n)
{
    if (s->passes)
        give(s, bytes, n);
    else if (s->o.drop_usage && s->o.framing == SPLICE_SSE)
        hold(s, bytes, n);
    else
        flow(s, bytes, n);
}

void splicer_end(struct splicer *s)
{
    static const char blanks[] = "                                ";
    if (s->held.len && !s->passes)
        give(s, s->held.data, s->held.len);
    jl_buf_clear(&s->held);
    while (s->o.form != SPLICE_NONE && s->added < s->o.reserve) {
        size_t n = s->o.reserve - s->added < sizeof blanks - 1 ? s->o.reserve - s->added : sizeof blanks - 1;
        give(s, blanks, n);
        s->added += n;
    }
}
