/* utf8.c - text that came from elsewhere, made valid: JSON has no room for broken characters, and a record must not be lost for
 * one. */
#include "run/internal.h"

#include <stdlib.h>
#include <string.h>

/* Bytes of the well-formed character at s (Unicode 15, table 3-7), 0 if there is none. */
static size_t char_length(const unsigned char *s)
{
    if (s[0] < 0x80)
        return 1;
    size_t n = s[0] >= 0xc2 && s[0] <= 0xdf ? 2 : s[0] >= 0xe0 && s[0] <= 0xef ? 3 : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : 0;
    if (!n)
        return 0;
    unsigned char lo = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80, hi = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
    if (s[1] < lo || s[1] > hi)
        return 0;
    for (size_t i = 2; i < n; i++)
        if (s[i] < 0x80 || s[i] > 0xbf)
            return 0;
    return n;
}

char *utf8_clean(const char *s)
{
    static const char replacement[] = "\xef\xbf\xbd";
    char *out = malloc(3 * strlen(s) + 1), *to = out;
    if (!out)
        return NULL;
    for (const unsigned char *p = (const unsigned char *)s; *p;) {
        size_t n = char_length(p);
        memcpy(to, n ? (const char *)p : replacement, n ? n : 3);
        to += n ? n : 3;
        p += n ? n : 1;
    }
    *to = '\0';
    return out;
}
