/* matrix_file.c - reading a plan. Lines "key = value"; after [matrix] a value is a list with commas, after [cell NAME] the keys
 * are those of one more cell. A value with a comma, a # or blanks at its ends stands in double quotes, in which \" \\ and \n mean
 * what they mean elsewhere. docs/plans.md has the whole. */
#include "llm/plans/matrix_private.h"

#include "lib/platform/platform.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX  ((size_t)1 << 20)
#define LINES_MAX 20000

struct source {
    struct plan_draft *d;
    const char *name; /* in front of sentences */
    size_t line;
    int where;
    struct joulet_error *err;
};

static enum joulet_status at_line(const struct source *s, const char *why)
{
    return s->line ? jl_fail(s->err, JOULET_FORMAT, "%s: line %zu: %s", s->name, s->line, why)
                   : jl_fail(s->err, JOULET_USAGE, "%s: %s", s->name, why);
}

static enum joulet_status no_memory(const struct source *s)
{
    return jl_fail(s->err, JOULET_MEMORY, "%s: out of memory for the plan", s->name);
}

/* ---- values ----------------------------------------------------------------------------------------------------------- */

/* Bytes of a value in quotes at *s, which begins with one; *s comes to stand behind it. NULL: it does not end, or no memory. */
static char *quoted(const char **s, size_t *len)
{
    char *out = malloc(strlen(*s) + 1);
    const char *p = *s + 1;
    *len = 0;
    for (; out && *p && *p != '"'; p++) {
        if (*p == '\\' && p[1]) {
            p++;
            out[(*len)++] = *p == 'n' ? '\n' : *p == 't' ? '\t' : *p;
        } else {
            out[(*len)++] = *p;
        }
    }
    if (!out || *p != '"') {
        free(out);
        return NULL;
    }
    *s = p + 1;
    return out;
}

static const char *skip_blanks(const char *s)
{
    return s + strspn(s, " \t\r");
}

static bool is_comment(const char *start, const char *s)
{
    return *s == '#' && (s == start || s[-1] == ' ' || s[-1] == '\t');
}

/* The next value of a line; *s comes to stand on the comma, or at the end of what counts. */
static enum joulet_status next_value(const struct source *src, const char **s, bool list, struct draft_entry *e)
{
    const char *start = *s = skip_blanks(*s);
    size_t len = 0;
    if (*start == '"') {
        char *text = quoted(s, &len);
        if (!text)
            return at_line(src, "the quotes do not end");
        bool ok = draft_add_value(e, text, len);
        free(text);
        *s = skip_blanks(*s);
        if (is_comment(start, *s))
            *s += strlen(*s);
        return !ok                            ? no_memory(src)
               : **s && !(list && **s == ',') ? at_line(src, "something stands behind the quotes")
                                              : JOULET_OK;
    }
    while (**s && !(list && **s == ',') && !is_comment(start, *s))
        (*s)++;
    len = (size_t)(*s - start);
    while (len && strchr(" \t\r", start[len - 1]))
        len--;
    if (**s == '#')
        *s += strlen(*s);
    if (list && !len)
        return at_line(src, "a value of the list is empty; write \"\" if that is meant");
    return draft_add_value(e, start, len) ? JOULET_OK : no_memory(src);
}

static enum joulet_status check_values(const struct source *src, const struct draft_entry *e)
{
    struct joulet_error why;
    const struct plan_key *k = plan_key_find(e->key);
    for (size_t i = 0; i < e->n; i++) {
        if (plan_key_check(k, e->values[i], &why) != JOULET_OK) {
            char text[400];
            snprintf(text, sizeof text, "%.64s: %.300s", e->key, why.message);
            return at_line(src, text);
        }
        for (size_t j = 0; j < i; j++)
            if (strcmp(e->values[i], e->values[j]) == 0) {
                char text[200];
                snprintf(text, sizeof text, "%.64s: %.60s stands there twice", e->key, e->values[i]);
                return at_line(src, text);
            }
    }
    return JOULET_OK;
}

/* `text` after the "=": one value, or a list. */
static enum joulet_status take_values(const struct source *src, const char *key, const char *text, bool list)
{
    struct draft_entry *e = draft_add(src->d, src->where, key, src->line);
    if (!e)
        return no_memory(src);
    enum joulet_status status = next_value(src, &text, list, e);
    while (status == JOULET_OK && *text == ',') {
        text++;
        status = next_value(src, &text, list, e);
    }
    return status == JOULET_OK ? check_values(src, e) : status;
}

/* ---- lines ------------------------------------------------------------------------------------------------------------ */

static enum joulet_status unknown_key(const struct source *src, const char *key)
{
    char text[200];
    snprintf(text, sizeof text, "there is no key \"%.60s\"; docs/plans.md lists them", key);
    return at_line(src, text);
}

/* Which keys may stand where, and each once. */
static enum joulet_status check_place(const struct source *src, const char *key)
{
    char text[200];
    const struct plan_key *k = plan_key_find(key);
    if (src->where >= 0 && strcmp(key, "name") == 0)
        return JOULET_OK;
    if (!k)
        return unknown_key(src, key);
    if (k->head && src->where != DRAFT_SHARED) {
        snprintf(text, sizeof text, "%.60s is a key of the whole plan: it belongs before the first [section]", key);
        return at_line(src, text);
    }
    const struct draft_entry *e = draft_find(src->d, src->where, key);
    if (!e && src->where == DRAFT_MATRIX)
        e = draft_find(src->d, DRAFT_SHARED, key);
    if (!e)
        return JOULET_OK;
    snprintf(text, sizeof text, "%.60s is given already, in line %zu", key, e->line);
    return at_line(src, text);
}

static enum joulet_status check_version(const struct source *src, const char *text)
{
    int64_t version;
    char number[32];
    snprintf(number, sizeof number, "%.*s", (int)(strcspn(text, " \t\r#") < 30 ? strcspn(text, " \t\r#") : 30), text);
    if (!jl_parse_i64(number, &version) || version < 1)
        return at_line(src, "the version must be 1");
    if (version > PLAN_VERSION)
        return jl_fail(src->err, JOULET_NEWER,
                       "%s: line %zu: the plan is of version %lld, this joulet %s reads up to %d; update joulet", src->name,
                       src->line, (long long)version, JOULET_VERSION, PLAN_VERSION);
    return JOULET_OK;
}

static enum joulet_status pair(const struct source *src, char *line)
{
    char *eq = strchr(line, '=');
    if (!eq)
        return at_line(src, "neither \"key = value\" nor a [section]");
    char *end = eq;
    while (end > line && strchr(" \t", end[-1]))
        end--;
    *end = '\0';
    const char *text = skip_blanks(eq + 1);
    enum joulet_status status = strcmp(line, "version") == 0 ? check_version(src, text) : JOULET_OK;
    if (status == JOULET_OK)
        status = check_place(src, line);
    if (status != JOULET_OK)
        return status;
    if (src->where < 0 || strcmp(line, "name") != 0)
        return take_values(src, line, text, src->where == DRAFT_MATRIX);
    struct draft_entry name = {.n = 0};
    status = next_value(src, &text, false, &name);
    if (status == JOULET_OK) {
        free(src->d->cells[src->where]);
        src->d->cells[src->where] = name.values[0];
        name.values[0] = NULL;
    }
    for (size_t i = 0; i < name.n; i++)
        free(name.values[i]);
    free(name.values);
    return status;
}

static enum joulet_status section(struct source *src, const char *line)
{
    const char *end = strrchr(line, ']'), *name = line + 1;
    if (!end || (*skip_blanks(end + 1) && *skip_blanks(end + 1) != '#'))
        return at_line(src, "the [section] does not end with a bracket");
    size_t n = (size_t)(end - name);
    if (n == 6 && strncmp(name, "matrix", n) == 0) {
        src->where = DRAFT_MATRIX;
        return JOULET_OK;
    }
    if (n < 4 || strncmp(name, "cell", 4) != 0 || (n > 4 && name[4] != ' '))
        return at_line(src, "sections are [matrix] and [cell NAME]");
    char *given = jl_strf("%.*s", (int)(n - 4), name + 4);
    const char *trimmed = given ? skip_blanks(given) : NULL;
    if (src->d->n_cells >= PLAN_CELLS_MAX) {
        free(given);
        return at_line(src, "that is more than 1000 cells");
    }
    src->where = (int)src->d->n_cells;
    bool ok = trimmed && draft_add_cell(src->d, trimmed);
    free(given);
    return ok ? JOULET_OK : no_memory(src);
}

static enum joulet_status one_line(struct source *src, char *line)
{
    size_t n = strlen(line);
    while (n && strchr(" \t\r", line[n - 1]))
        line[--n] = '\0';
    line += strspn(line, " \t");
    if (!*line || *line == '#')
        return JOULET_OK;
    return *line == '[' ? section(src, line) : pair(src, line);
}

enum joulet_status plan_draft_parse(struct plan_draft *d, const char *name, const char *text, size_t n, struct joulet_error *err)
{
    struct source src = {.d = d, .name = name, .where = DRAFT_SHARED, .err = err};
    size_t bad = plan_bad_text(text, n);
    if (bad < n)
        return jl_fail(err, JOULET_FORMAT, "%s: byte %zu is not UTF-8 text; save the file as UTF-8", name, bad + 1);
    free(d->name);
    d->name = jl_strdup(name);
    enum joulet_status status = d->name ? jl_ok(err) : no_memory(&src);
    const char *end = text + n;
    if (n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        text += 3;
    while (text < end && status == JOULET_OK) {
        size_t len = strcspn(text, "\n");
        char *line = jl_strf("%.*s", (int)len, text);
        src.line++;
        status = !line ? no_memory(&src) : src.line > LINES_MAX ? at_line(&src, "the plan is too long") : one_line(&src, line);
        free(line);
        text += len + (text + len < end);
    }
    return status;
}

/* More than blanks and comments. */
static bool says_something(const char *text)
{
    for (; *text; text += *text == '\n') {
        text += strspn(text, " \t\r");
        if (*text != '#' && *text != '\n' && *text)
            return true;
        text += strcspn(text, "\n");
    }
    return false;
}

enum joulet_status plan_draft_file(struct plan_draft *d, const char *path, struct joulet_error *err)
{
    struct jl_buf text;
    jl_buf_init(&text, FILE_MAX);
    enum joulet_status status = jl_read_file(path, &text, err);
    if (status == JOULET_LIMIT)
        status = jl_fail(err, JOULET_LIMIT, "%s is larger than 1 MiB: that is no plan", path);
    const char *slash = strrchr(path, '/');
    if (status == JOULET_OK && !says_something(text.data ? text.data : ""))
        status = jl_fail(err, JOULET_FORMAT, "%s is empty: a plan says at least what varies or how often, one key = value a line",
                         path);
    if (status == JOULET_OK)
        status = plan_draft_parse(d, slash ? slash + 1 : path, text.data ? text.data : "", text.len, err);
    jl_buf_release(&text);
    return status;
}

/* ---- from options ------------------------------------------------------------------------------------------------------ */

enum joulet_status plan_draft_set(struct plan_draft *d, const char *key, const char *value, struct joulet_error *err)
{
    struct source src = {.d = d, .name = "the plan", .where = DRAFT_SHARED, .err = err};
    struct draft_entry *e = draft_find(d, DRAFT_MATRIX, key);
    for (int i = 0; !e && i < (int)d->n_cells; i++)
        e = draft_find(d, i, key);
    if (e && e->line)
        return jl_fail(err, JOULET_USAGE, "%s varies %s in line %zu, so the option --%s cannot set it: leave one of the two out",
                       d->name ? d->name : "the plan", key, e->line, key);
    if (!plan_key_find(key))
        return unknown_key(&src, key);
    e = draft_find(d, DRAFT_SHARED, key);
    if (!e)
        e = draft_add(d, DRAFT_SHARED, key, 0);
    for (size_t i = 0; e && i < e->n; i++)
        free(e->values[i]);
    if (e)
        e->n = 0;
    if (!e || !draft_add_value(e, value, strlen(value)))
        return no_memory(&src);
    return check_values(&src, e);
}

static enum joulet_status may_vary(const struct source *src, const char *key)
{
    const struct plan_key *k = plan_key_find(key);
    if (!k)
        return unknown_key(src, key);
    if (k->head)
        return jl_fail(src->err, JOULET_USAGE, "%s is a key of the whole plan: it cannot be varied", key);
    if (draft_find(src->d, DRAFT_MATRIX, key) || draft_find(src->d, DRAFT_SHARED, key))
        return jl_fail(src->err, JOULET_USAGE, "%s is given twice, once to be varied: leave one of the two out", key);
    return JOULET_OK;
}

enum joulet_status plan_draft_vary(struct plan_draft *d, const char *text, struct joulet_error *err)
{
    struct source src = {.d = d, .name = "--vary", .where = DRAFT_MATRIX, .err = err};
    const char *eq = strchr(text, '=');
    if (!eq)
        return jl_fail(err, JOULET_USAGE, "--vary '%.100s': write KEY=VALUE,VALUE as in threads=2,4", text);
    char *key = jl_strf("%.*s", (int)(eq - text), text);
    enum joulet_status status = key ? may_vary(&src, key) : no_memory(&src);
    if (status == JOULET_OK)
        status = take_values(&src, key, eq + 1, true);
    free(key);
    return status;
}

enum joulet_status plan_draft_value(struct plan_draft *d, const char *key, const char *value, struct joulet_error *err)
{
    struct source src = {.d = d, .name = "the plan", .where = DRAFT_MATRIX, .err = err};
    struct draft_entry *e = draft_find(d, DRAFT_MATRIX, key);
    if (e && e->line)
        return jl_fail(err, JOULET_USAGE, "%s varies %s in line %zu, so the option --%s cannot set it: leave one of the two out",
                       d->name ? d->name : "the plan", key, e->line, key);
    if (!e)
        e = draft_add(d, DRAFT_MATRIX, key, 0);
    if (!e || !draft_add_value(e, value, strlen(value)))
        return no_memory(&src);
    return check_values(&src, e);
}
