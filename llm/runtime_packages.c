/* runtime_packages.c - a Debian package index (deb-control(5) stanzas) and what a package needs to run. Pure: text in, names out.
 * The index is some 60 MB of text; its stanzas are found once and read in place. */
#include "llm/runtime_private.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static struct slice slice_of(const char *s)
{
    return (struct slice){s, strlen(s)};
}

static int compare(struct slice a, struct slice b)
{
    int order = memcmp(a.at, b.at, a.n < b.n ? a.n : b.n);
    return order ? order : a.n < b.n ? -1 : a.n > b.n;
}

static struct slice trim(struct slice s)
{
    while (s.n && isspace((unsigned char)*s.at))
        s.at++, s.n--;
    while (s.n && isspace((unsigned char)s.at[s.n - 1]))
        s.n--;
    return s;
}

/* Cuts the part before `separator` off *rest; false when nothing is left. */
static bool next_part(struct slice *rest, char separator, struct slice *part)
{
    if (!rest->n)
        return false;
    const char *at = memchr(rest->at, separator, rest->n);
    *part = (struct slice){rest->at, at ? (size_t)(at - rest->at) : rest->n};
    size_t used = part->n + (at ? 1 : 0);
    rest->at += used;
    rest->n -= used;
    return true;
}

/* "libc6:any (>= 2.38) [amd64]" is "libc6". */
static struct slice package_name(struct slice dependency)
{
    struct slice s = trim(dependency);
    size_t n = 0;
    while (n < s.n && !isspace((unsigned char)s.at[n]) && s.at[n] != '(' && s.at[n] != ':' && s.at[n] != '[')
        n++;
    return (struct slice){s.at, n};
}

/* ---- the index ------------------------------------------------------------------------------------------------------- */

/* The value of a field, continuation lines included, trimmed. */
struct slice package_field(const struct stanza *s, const char *field)
{
    size_t n = strlen(field);
    struct slice rest = s->text, line, value = {"", 0};
    while (next_part(&rest, '\n', &line)) {
        if (value.n && line.n && (*line.at == ' ' || *line.at == '\t')) {
            value.n = (size_t)(line.at + line.n - value.at);
            continue;
        }
        if (value.n)
            break;
        if (line.n > n && line.at[n] == ':' && strncasecmp(line.at, field, n) == 0)
            value = (struct slice){line.at + n + 1, line.n - n - 1};
    }
    return trim(value);
}

static int by_name(const void *a, const void *b)
{
    const struct stanza *x = a, *y = b;
    int order = compare(x->name, y->name);
    return order ? order : x->text.at < y->text.at ? -1 : 1;
}

static bool index_add(struct package_index *x, size_t *cap, struct slice text)
{
    struct stanza s = {.text = text};
    s.name = package_field(&s, "Package");
    if (!s.name.n)
        return true;
    if (x->n == *cap) {
        size_t more = *cap ? 2 * *cap : 1024;
        struct stanza *items = realloc(x->items, more * sizeof(*items));
        if (!items)
            return false;
        x->items = items;
        *cap = more;
    }
    x->items[x->n++] = s;
    return true;
}

enum joulet_status package_index_init(struct package_index *x, const char *text, size_t n, struct joulet_error *err)
{
    size_t cap = 0;
    const char *end = text + n;
    *x = (struct package_index){0};
    while (text < end) {
        const char *gap = memmem(text, (size_t)(end - text), "\n\n", 2);
        size_t len = (size_t)((gap ? gap : end) - text);
        if (!index_add(x, &cap, (struct slice){text, len})) {
            package_index_release(x);
            return jl_fail(err, JOULET_MEMORY, "the package index does not fit in memory");
        }
        text += len + (gap ? 2 : 0);
        while (text < end && *text == '\n')
            text++;
    }
    if (x->n)
        qsort(x->items, x->n, sizeof(*x->items), by_name);
    return jl_ok(err);
}

void package_index_release(struct package_index *x)
{
    free(x->items);
    *x = (struct package_index){0};
}

static const struct stanza *find_exact(const struct package_index *x, struct slice name)
{
    size_t low = 0, high = x->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(x->items[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < x->n && compare(x->items[low].name, name) == 0 ? &x->items[low] : NULL;
}

static bool provides(const struct stanza *s, struct slice name)
{
    struct slice rest = package_field(s, "Provides"), part;
    while (next_part(&rest, ',', &part))
        if (compare(package_name(part), name) == 0)
            return true;
    return false;
}

const struct stanza *package_find(const struct package_index *x, struct slice name)
{
    const struct stanza *s = name.n ? find_exact(x, name) : NULL;
    for (size_t i = 0; !s && name.n && i < x->n; i++)
        if (memmem(x->items[i].text.at, x->items[i].text.n, name.at, name.n) && provides(&x->items[i], name))
            s = &x->items[i];
    return s;
}

/* ---- the closure ------------------------------------------------------------------------------------------------------- */

static bool is_library(const struct stanza *s)
{
    struct slice section = package_field(s, "Section");
    const char *slash = section.n ? memchr(section.at, '/', section.n) : NULL; /* "contrib/libs" */
    if (slash)
        section = (struct slice){slash + 1, section.n - (size_t)(slash + 1 - section.at)};
    return compare(section, slice_of("libs")) == 0 || compare(section, slice_of("oldlibs")) == 0;
}

static bool contains(const struct package_set *set, const struct stanza *s)
{
    for (size_t i = 0; i < set->n; i++)
        if (set->items[i] == s)
            return true;
    return false;
}

static bool add(struct package_set *set, const struct stanza *s)
{
    if (contains(set, s))
        return true;
    const struct stanza **items = realloc(set->items, (set->n + 1) * sizeof(*items));
    if (!items)
        return false;
    set->items = items;
    set->items[set->n++] = s;
    return true;
}

/* "a | b": what is there already, else the first that exists and may be taken. NULL: none. */
static const struct stanza *choose(const struct package_index *x, const struct package_set *set, struct slice alternatives,
                                   bool libraries_only)
{
    struct slice part;
    const struct stanza *first = NULL;
    while (next_part(&alternatives, '|', &part)) {
        const struct stanza *s = package_find(x, package_name(part));
        if (!s || (libraries_only && !is_library(s)))
            continue;
        if (contains(set, s))
            return s;
        first = first ? first : s;
    }
    return first;
}

static bool add_needs(const struct package_index *x, struct package_set *set, struct slice needs, bool libraries_only)
{
    struct slice alternatives;
    while (next_part(&needs, ',', &alternatives)) {
        const struct stanza *s = choose(x, set, alternatives, libraries_only);
        if (s && !add(set, s))
            return false;
    }
    return true;
}

enum joulet_status package_closure(const struct package_index *x, const char *root, bool libraries_only, struct package_set *out,
                                   struct joulet_error *err)
{
    *out = (struct package_set){0};
    const struct stanza *first = find_exact(x, slice_of(root));
    if (!first)
        return jl_fail(err, JOULET_NOT_FOUND, "the package index has no %s", root);
    bool fits = add(out, first);
    for (size_t i = 0; fits && i < out->n; i++)
        fits = add_needs(x, out, package_field(out->items[i], "Pre-Depends"), libraries_only) &&
               add_needs(x, out, package_field(out->items[i], "Depends"), libraries_only);
    if (fits)
        return jl_ok(err);
    package_set_release(out);
    return jl_fail(err, JOULET_MEMORY, "the packages that %s needs do not fit in memory", root);
}

void package_set_release(struct package_set *set)
{
    free(set->items);
    *set = (struct package_set){0};
}

/* ---- age --------------------------------------------------------------------------------------------------------------- */

/* Days since 1970-01-01 of a day of the Gregorian calendar: years counted from March, so that the leap day comes last. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719468;
}

static bool parse_date(const char *text, int64_t *unix_s)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char month[4], zone[8];
    int day, year, hour, minute, second;
    if (sscanf(text, "%*3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d %7s", &day, month, &year, &hour, &minute, &second, zone) != 7)
        return false;
    const char *at = strstr(months, month);
    bool utc = strcmp(zone, "UTC") == 0 || strcmp(zone, "GMT") == 0 || strcmp(zone, "+0000") == 0;
    if (!at || (at - months) % 3 || strlen(month) != 3 || !utc || day < 1 || day > 31 || year < 1990 || hour > 23 || minute > 59)
        return false;
    *unix_s = ((days_of(year, (at - months) / 3 + 1, day) * 24 + hour) * 60 + minute) * 60 + second;
    return true;
}

bool package_release_date(const char *text, size_t n, int64_t *unix_s)
{
    struct slice rest = {text, n}, line;
    char value[64];
    while (next_part(&rest, '\n', &line)) {
        if (line.n < 6 || strncasecmp(line.at, "Date:", 5) != 0)
            continue;
        struct slice date = trim((struct slice){line.at + 5, line.n - 5});
        if (date.n >= sizeof(value))
            return false;
        memcpy(value, date.at, date.n);
        value[date.n] = '\0';
        return parse_date(value, unix_s);
    }
    return false;
}
