/* text.c - strings and numbers as files and options write them, whatever the locale. */
#include "lib/base/base.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *jl_strdup(const char *s)
{
    return s ? strdup(s) : NULL;
}

char *jl_strf(const char *fmt, ...)
{
    char *out = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&out, fmt, ap);
    va_end(ap);
    return n < 0 ? NULL : out;
}

/* Files of the kernel end in one newline; more than that is not a number. */
static bool at_end(const char *p)
{
    return *p == '\0' || (p[0] == '\n' && p[1] == '\0');
}

bool jl_parse_u64(const char *s, uint64_t *out)
{
    const char *p = s;
    uint64_t v = 0;
    if (*p == '+')
        p++;
    const char *digits = p;
    for (; *p >= '0' && *p <= '9'; p++) {
        uint64_t d = (uint64_t)(*p - '0');
        if (v > (UINT64_MAX - d) / 10)
            return false;
        v = v * 10 + d;
    }
    if (p == digits || !at_end(p))
        return false;
    *out = v;
    return true;
}

bool jl_parse_i64(const char *s, int64_t *out)
{
    uint64_t v;
    if (*s != '-') {
        if (!jl_parse_u64(s, &v) || v > INT64_MAX)
            return false;
        *out = (int64_t)v;
        return true;
    }
    if (s[1] == '+' || !jl_parse_u64(s + 1, &v) || v > (uint64_t)INT64_MAX + 1)
        return false;
    *out = v == (uint64_t)INT64_MAX + 1 ? INT64_MIN : -(int64_t)v;
    return true;
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Length of a decimal number with optional sign, fraction and exponent at s; 0 if there is none. */
static size_t number_length(const char *s)
{
    const char *p = s;
    if (*p == '+' || *p == '-')
        p++;
    size_t digits = 0;
    for (; digit(*p); p++)
        digits++;
    if (*p == '.')
        for (p++; digit(*p); p++)
            digits++;
    if (digits == 0)
        return 0;
    if (*p == 'e' || *p == 'E') {
        const char *e = p + 1;
        if (*e == '+' || *e == '-')
            e++;
        if (digit(*e)) {
            while (digit(*e))
                e++;
            p = e;
        }
    }
    return (size_t)(p - s);
}

/* Parses n bytes at s that number_length accepted. strtod follows the locale: where its mark is not '.', ours is replaced. */
static bool parse_number(const char *s, size_t n, double *out)
{
    char buf[512]; /* the mark of a locale may have several bytes; longer numbers than this are not numbers of ours */
    char mark[16];
    snprintf(mark, sizeof(mark), "%.1f", 0.5);
    size_t mark_len = strlen(mark) - 2; /* between "0" and "5" */
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (k + mark_len + 1 >= sizeof(buf))
            return false;
        if (s[i] == '.') {
            memcpy(buf + k, mark + 1, mark_len);
            k += mark_len;
        } else {
            buf[k++] = s[i];
        }
    }
    buf[k] = '\0';
    char *end;
    double v = strtod(buf, &end);
    if (*end != '\0' || !isfinite(v))
        return false;
    *out = v;
    return true;
}

bool jl_parse_double(const char *s, double *out)
{
    size_t n = number_length(s);
    double v;
    if (n == 0 || !at_end(s + n) || !parse_number(s, n, &v))
        return false;
    *out = v;
    return true;
}

bool jl_parse_duration(const char *s, int64_t *ns)
{
    static const struct {
        const char *unit;
        double ns;
    } units[] = {{"ns", 1},     {"us", 1e3},   {"ms", 1e6},    {"s", 1e9}, {"m", 60e9},
                 {"min", 60e9}, {"h", 3600e9}, {"d", 86400e9}, {"", 1e9}};
    size_t n = number_length(s);
    double v;
    if (n == 0 || !parse_number(s, n, &v) || v < 0)
        return false;
    for (size_t i = 0; i < JL_COUNT(units); i++) {
        if (strcmp(s + n, units[i].unit) != 0)
            continue;
        if (v * units[i].ns > 9.2e18)
            return false;
        *ns = (int64_t)(v * units[i].ns + 0.5);
        return true;
    }
    return false;
}

bool jl_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool jl_word_in(const char *list, char sep, const char *word)
{
    size_t n = strlen(word);
    if (!list || n == 0)
        return false;
    for (const char *p = list;;) {
        while (*p == ' ')
            p++;
        const char *end = strchr(p, sep);
        size_t len = end ? (size_t)(end - p) : strlen(p);
        while (len > 0 && p[len - 1] == ' ')
            len--;
        if (len == n && memcmp(p, word, n) == 0)
            return true;
        if (!end)
            return false;
        p = end + 1;
    }
}
