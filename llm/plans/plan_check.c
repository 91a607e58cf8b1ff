/* plan_check.c - is an answer right? Either it is the expected one, word for word, or it matches a regular expression. */
#include "llm/plans/plan.h"

#include <regex.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_MAX     1000              /* bytes of a regular expression */
#define INTERVALS_MAX 3                 /* "{m,n}" nested multiply what the matcher must hold in memory */
#define BOUND_MAX     100               /* in such an interval */
#define WRITTEN_MAX   20000             /* characters, with every repetition written out as the matcher does */
#define ANSWER_MAX    ((size_t)1 << 16) /* what is looked at of an answer: matching may take time quadratic in it */

static const char *skip_case(const char *check, int *flags)
{
    bool any_case = jl_starts(check, "(?i)");
    *flags = REG_EXTENDED | REG_NOSUB | (any_case ? REG_ICASE : 0);
    return any_case ? check + 4 : check;
}

/* Intervals as in a{2,5}, within what can be matched in little memory. */
static bool intervals_good(const char *s)
{
    int n = 0;
    for (; *s; s++) {
        if (*s == '\\' && s[1]) {
            s++;
            continue;
        }
        if (*s != '{')
            continue;
        for (s++; *s && *s != '}';) {
            char *end = NULL;
            long bound = strtol(s, &end, 10);
            if (bound < 0 || bound > BOUND_MAX)
                return false;
            s = end > s ? end : s + 1;
        }
        if (++n > INTERVALS_MAX)
            return false;
        if (!*s)
            break;
    }
    return true;
}

/* Behind a '[': where its bracket ends. */
static const char *bracket_end(const char *s)
{
    s += s[1] == '^';
    s += s[1] == ']';
    while (s[1] && s[1] != ']')
        s++;
    return s[1] ? s + 1 : s;
}

/* At most how many times what stands before is written: "{2,}" twice and once more in a loop, as "+" is. *s: the last character.
 */
static long times(const char **s)
{
    long most = 1;
    if (**s != '{')
        return **s == '+' ? 2 : 1;
    while (*++*s && **s != '}') {
        char *end;
        long bound = strtol(*s, &end, 10);
        most = bound > most ? bound : most;
        *s = end > *s ? end - 1 : *s;
    }
    *s -= !**s;
    return most + 1;
}

/* A repetition of a repetition multiplies: a few characters may stand for more than there is memory. */
static bool written_good(const char *s)
{
    long groups[CHECK_MAX + 1], sum = 0, last = 0; /* sizes of the open groups, of this one so far, of its last part */
    size_t depth = 0;
    for (; *s; s++) {
        if (*s == '(') {
            groups[depth++] = sum;
            sum = last = 0;
        } else if (*s == ')' && depth) {
            last = sum + 1;
            sum = groups[--depth] + last;
        } else if (strchr("+*?{", *s)) {
            long n = times(&s);
            sum += last * (n - 1) + 1;
            last = last * n + 1;
        } else {
            s += *s == '\\' && s[1];
            s = *s == '[' ? bracket_end(s) : s;
            last = 1;
            sum++;
        }
        if (sum > WRITTEN_MAX)
            return false;
    }
    return true;
}

enum joulet_status plan_check_good(const char *check, struct joulet_error *err)
{
    regex_t re;
    char why[128];
    int flags;
    if (strlen(check) > CHECK_MAX)
        return jl_fail(err, JOULET_FORMAT, "the regular expression of \"check\" is longer than %d bytes: make it shorter",
                       CHECK_MAX);
    if (!intervals_good(check))
        return jl_fail(
            err, JOULET_FORMAT,
            "the regular expression of \"check\" has more than %d intervals as in {2,5}, or one above %d: make it simpler",
            INTERVALS_MAX, BOUND_MAX);
    const char *text = skip_case(check, &flags);
    if (!written_good(text))
        return jl_fail(err, JOULET_FORMAT,
                       "the regular expression of \"check\" is longer than %d characters when its repetitions are written out: "
                       "make it simpler",
                       WRITTEN_MAX);
    int rc = regcomp(&re, text, flags);
    if (rc == 0) {
        regfree(&re);
        return jl_ok(err);
    }
    regerror(rc, &re, why, sizeof why);
    return jl_fail(err, JOULET_FORMAT, "the regular expression of \"check\" cannot be used: %s", why);
}

static bool matches(const char *check, const char *answer)
{
    regex_t re;
    int flags;
    const char *text = skip_case(check, &flags);
    if (regcomp(&re, text, flags) != 0)
        return false;
    bool found = regexec(&re, answer, 0, NULL, 0) == 0;
    regfree(&re);
    return found;
}

/* The text without white space around it. */
static size_t trimmed(const char **s)
{
    *s += strspn(*s, " \t\r\n");
    size_t n = strlen(*s);
    while (n && strchr(" \t\r\n", (*s)[n - 1]))
        n--;
    return n;
}

int plan_check(const struct plan_prompt *p, const char *answer)
{
    if (!p->expected && !p->check)
        return -1;
    size_t n = trimmed(&answer);
    if (p->expected) {
        const char *want = p->expected;
        size_t m = trimmed(&want);
        if (n != m || memcmp(want, answer, n) != 0)
            return 0;
    }
    if (!p->check)
        return 1;
    char *text = jl_strf("%.*s", (int)(n < ANSWER_MAX ? n : ANSWER_MAX), answer);
    int right = text && matches(p->check, text);
    free(text);
    return right;
}
