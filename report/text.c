/* text.c - lines for a terminal: how wide a text is, how it is cut and wrapped, and what foreign text may not do. */
#include "report/internal.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_COLUMNS 100
#define LEAST_COLUMNS   20
#define LEAST_BESIDE    12 /* columns that text beside a figure needs, else it goes below */
#define INDENT          2
#define LABEL           11 /* columns of a label with the blanks after it */

int text_columns(const struct report_style *style)
{
    int n = style->width > 0 ? style->width : DEFAULT_COLUMNS;
    return n < LEAST_COLUMNS ? LEAST_COLUMNS : n;
}

/* ---- width ------------------------------------------------------------------------------------------------------- */

/* Bytes of the character at s, and its code; a broken one is one byte of its own. */
static size_t decode(const char *s, uint32_t *code)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t n = *p < 0x80 ? 1 : *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : *p >= 0xc0 ? 2 : 1;
    *code = n == 1 ? *p : *p & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            *code = 0xfffd;
            return 1;
        }
        *code = *code << 6 | (p[i] & 0x3f);
    }
    return n;
}

/* Ranges that take no column or two (Unicode 15, East Asian Width W and F, emoji), coarse: a table may be a little off where a
 * prompt mixes scripts, never wider than it was given. */
static int char_columns(uint32_t c)
{
    static const struct {
        uint32_t from, to;
        int columns;
    } ranges[] = {
        {0x0300, 0x036f, 0}, {0x200b, 0x200f, 0},   {0xfe00, 0xfe0f, 0},   {0x1100, 0x115f, 2}, {0x2e80, 0x303e, 2},
        {0x3041, 0xa4cf, 2}, {0xac00, 0xd7a3, 2},   {0xf900, 0xfaff, 2},   {0xfe30, 0xfe6f, 2}, {0xff00, 0xff60, 2},
        {0xffe0, 0xffe6, 2}, {0x1f300, 0x1faff, 2}, {0x20000, 0x3fffd, 2},
    };
    for (size_t i = 0; c >= 0x300 && i < JL_COUNT(ranges); i++)
        if (c >= ranges[i].from && c <= ranges[i].to)
            return ranges[i].columns;
    return 1;
}

size_t text_fit(const char *s, int columns)
{
    size_t at = 0;
    while (s[at]) {
        uint32_t c;
        size_t n = decode(s + at, &c);
        columns -= char_columns(c);
        if (columns < 0)
            break;
        at += n;
    }
    return at;
}

int text_width(const char *s)
{
    int columns = 0;
    while (*s) {
        uint32_t c;
        s += decode(s, &c);
        columns += char_columns(c);
    }
    return columns;
}

/* ---- characters -------------------------------------------------------------------------------------------------- */

const char *text_pm(const struct report_style *style)
{
    return style->utf8 ? "\u00b1" : "+-";
}

const char *text_about(const struct report_style *style)
{
    return style->utf8 ? "\u2248" : "~";
}

/* Control characters would command the terminal: C0, DEL and C1, and the marks that reverse the direction of writing. */
static bool commands(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfffd;
}

const char *report_model_name(const char *name)
{
    const char *file = *name == '/' ? strrchr(name, '/') + 1 : name;
    return *file ? file : name;
}

char *text_clean(const char *s, const struct report_style *style)
{
    char *out = malloc(strlen(s) * 3 + 1), *to = out;
    if (!out)
        return NULL;
    while (*s) {
        uint32_t c;
        size_t n = decode(s, &c);
        if (c == 0xfffd && n == 1) {
            *to++ = '?';
        } else if (commands(c) || c == ' ') {
            if (to > out && to[-1] != ' ')
                *to++ = ' ';
        } else if (c >= 0x80 && !style->utf8) {
            const char *plain = c == 0xb5 ? "u" : c == 0xb1 ? "+-" : "?"; /* of numbers, and they take no more bytes */
            to = stpcpy(to, plain);
        } else {
            memcpy(to, s, n);
            to += n;
        }
        s += n;
    }
    while (to > out && to[-1] == ' ')
        to--;
    *to = '\0';
    return out;
}

const char *text_threads(const char *n)
{
    return n && !strcmp(n, "1") ? " thread" : " threads";
}

char *report_clean(const char *s, const struct report_style *style)
{
    return text_clean(s, style);
}

int report_width(const char *s)
{
    return text_width(s);
}

size_t report_cut(const char *s, int columns)
{
    return text_fit(s, columns);
}

void text_tone(struct jl_buf *out, const struct report_style *style, enum tone tone, const char *s, size_t n)
{
    static const char *const codes[] = {[TONE_STRONG] = "\033[1m", [TONE_FAINT] = "\033[2m", [TONE_WARN] = "\033[33m"};
    bool coloured = style->colour && tone != TONE_PLAIN && n;
    if (coloured)
        jl_buf_str(out, codes[tone]);
    jl_buf_add(out, s, n);
    if (coloured)
        jl_buf_str(out, "\033[0m");
}

static void blanks(struct jl_buf *out, int n)
{
    for (; n > 0; n--)
        jl_buf_add(out, " ", 1);
}

/* ---- lines ------------------------------------------------------------------------------------------------------- */

static void dashes(struct jl_buf *out, const struct report_style *style, int n)
{
    struct jl_buf line;
    jl_buf_init(&line, 4096);
    for (; n > 0; n--)
        jl_buf_str(&line, style->utf8 ? "\u2500" : "-");
    if (line.data)
        text_tone(out, style, TONE_FAINT, line.data, line.len);
    jl_buf_release(&line);
}

void text_rule(struct jl_buf *out, const struct report_style *style, const char *left, const char *right, enum tone right_tone)
{
    int columns = text_columns(style), tail = *right ? text_width(right) + 5 : 0; /* " right ──" and a dash before */
    if (tail > columns / 2)
        tail = 0;
    size_t n = text_fit(left, columns - tail - 6);
    char *fits = jl_strf("%.*s", (int)n, left);
    int used = fits ? text_width(fits) : 0;
    dashes(out, style, 2);
    jl_buf_str(out, " ");
    text_tone(out, style, TONE_STRONG, left, n);
    jl_buf_str(out, " ");
    dashes(out, style, columns - 4 - used - (tail ? tail - 1 : 0));
    if (tail) {
        jl_buf_str(out, " ");
        text_tone(out, style, right_tone, right, strlen(right));
        jl_buf_str(out, " ");
        dashes(out, style, 2);
    }
    jl_buf_str(out, "\n");
    free(fits);
}

/* Bytes of s on this line and of the blanks to skip after them; words longer than a line are broken. */
static size_t break_line(const char *s, int columns, size_t *skip)
{
    size_t n = text_fit(s, columns);
    *skip = 0;
    if (!s[n])
        return n;
    size_t at = n;
    while (at && s[at] != ' ')
        at--;
    if (at == 0)
        return n ? n : 1;
    while (s[at + *skip] == ' ')
        ++*skip;
    while (at && s[at - 1] == ' ') {
        at--;
        ++*skip;
    }
    return at ? at : n;
}

/* The rest of an item: the first line from column `at` on, the others indented. */
static void wrapped(struct jl_buf *out, const struct report_style *style, const char *rest, int at, enum tone tone)
{
    int columns = text_columns(style);
    while (*rest) {
        size_t skip, n = break_line(rest, columns - at, &skip);
        text_tone(out, style, tone, rest, n);
        rest += n + skip;
        at = INDENT + LABEL;
        if (*rest) {
            jl_buf_str(out, "\n");
            blanks(out, at);
        }
    }
}

void text_item(struct jl_buf *out, const struct report_style *style, const char *label, const char *strong, const char *text,
               enum tone tone)
{
    int columns = text_columns(style), at = INDENT + LABEL, free_columns = columns - at - text_width(strong ? strong : "") - 2;
    char *clean = text_clean(text ? text : "", style);
    const char *rest = clean ? clean : "";
    bool beside = *rest && (free_columns >= LEAST_BESIDE || text_width(rest) <= free_columns);
    size_t n = strong ? text_fit(strong, columns - at) : 0;
    while (n && !beside && strong[n - 1] == ' ')
        n--;
    blanks(out, INDENT);
    text_tone(out, style, TONE_FAINT, label ? label : "", label ? strlen(label) : 0);
    if (n || *rest)
        blanks(out, LABEL - (label ? text_width(label) : 0));
    text_tone(out, style, TONE_STRONG, strong, n);
    if (strong && beside) {
        blanks(out, 2);
        at = columns - free_columns;
    } else if (strong && *rest) {
        jl_buf_str(out, "\n");
        blanks(out, at);
    }
    wrapped(out, style, rest, at, tone);
    jl_buf_str(out, "\n");
    free(clean);
}

void text_whole(struct jl_buf *out, const struct report_style *style, const char *text)
{
    char *clean = text_clean(text, style);
    blanks(out, INDENT + LABEL);
    jl_buf_str(out, clean ? clean : "");
    jl_buf_str(out, "\n");
    free(clean);
}
