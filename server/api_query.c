/* api_query.c - the query of a target, and the names in its path, taken apart. Whatever is not plainly right is refused: what is
 * misread here would be answered as if it had not been asked. */
#include "server/api.h"

#include <stdio.h>
#include <string.h>

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Length of the UTF-8 sequence at s; 0: none (overlong forms and surrogates are none). */
static size_t utf8_at(const unsigned char *s)
{
    size_t n = s[0] < 0x80                   ? 1
               : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
               : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
               : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                             : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

static bool is_text(const char *s)
{
    for (const unsigned char *p = (const unsigned char *)s; *p;) {
        size_t n = utf8_at(p);
        if (n == 0 || *p < ' ' || *p == 0x7f)
            return false;
        p += n;
    }
    return true;
}

bool api_decode(const char *from, size_t n, bool form, char *out, size_t size)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        char c = from[i];
        if (c == '%') {
            int hi = i + 2 < n ? hex(from[i + 1]) : -1, lo = i + 2 < n ? hex(from[i + 2]) : -1;
            if (hi < 0 || lo < 0)
                return false;
            c = (char)(hi * 16 + lo);
            i += 2;
        } else if (c == '+' && form) {
            c = ' ';
        }
        if (!c || at + 1 >= size)
            return false;
        out[at++] = c;
    }
    if (size)
        out[at] = '\0';
    return size && is_text(out);
}

static bool fails(char *why, size_t size, const char *what, const char *name)
{
    if (name)
        snprintf(why, size, "the query's %s %s", name, what);
    else
        snprintf(why, size, "%s", what);
    return false;
}

static bool add_pair(struct api_query *q, const char *pair, size_t n, const char *names, char *why, size_t size)
{
    const char *eq = memchr(pair, '=', n);
    size_t name_n = eq ? (size_t)(eq - pair) : n;
    if (q->n == API_QUERY_MAX)
        return fails(why, size, "the query has too many parts", NULL);
    char *name = q->pairs[q->n].name, *value = q->pairs[q->n].value;
    if (!api_decode(pair, name_n, true, name, API_WORD_MAX) || !*name || strchr(name, ' ') || !names ||
        !jl_word_in(names, ' ', name))
        return fails(why, size, "the query asks for something that this path does not know", NULL);
    if (!eq || !api_decode(eq + 1, n - name_n - 1, true, value, API_VALUE_MAX))
        return fails(why, size, "has no value that can be read", name);
    if (!*value)
        return fails(why, size, "is empty", name);
    for (size_t i = 0; i < q->n; i++)
        if (strcmp(q->pairs[i].name, name) == 0)
            return fails(why, size, "is there twice", name);
    q->n++;
    return true;
}

bool api_query_parse(struct api_query *q, const char *text, const char *names, char *why, size_t size)
{
    q->n = 0;
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "&");
        if (n && !add_pair(q, p, n, names, why, size))
            return false;
        p += n + (p[n] == '&');
    }
    return true;
}

const char *api_query_get(const struct api_query *q, const char *name)
{
    for (size_t i = 0; i < q->n; i++)
        if (strcmp(q->pairs[i].name, name) == 0)
            return q->pairs[i].value;
    return NULL;
}
