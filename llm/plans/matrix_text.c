/* matrix_text.c - what a cell is called, and the whole plan as text: with it a run can be resumed, and its hash tells whether two
 * plans are the same. */
#include "llm/plans/matrix_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_MAX 40 /* bytes of a value in a name */

/* ---- names ---------------------------------------------------------------------------------------------------------------- */

/* As it reads in a table: no path, no ".gguf", one line. */
static void short_value(const char *key, const char *value, char *out, size_t size)
{
    const char *slash = strrchr(value, '/');
    bool path = strcmp(key, "model") == 0 || strcmp(key, "draft-model") == 0 || strcmp(key, "prompts") == 0;
    const char *s = path && slash && slash[1] ? slash + 1 : value;
    size_t n = strlen(s);
    if (path && n > 5 && strcmp(s + n - 5, ".gguf") == 0)
        n -= 5;
    bool cut = n > VALUE_MAX;
    n = cut ? VALUE_MAX : n;
    while (cut && n && ((unsigned char)s[n] & 0xc0) == 0x80) /* whole characters */
        n--;
    snprintf(out, size, "%.*s%s", (int)n, s, cut ? "..." : "");
    for (; *out; out++)
        if ((unsigned char)*out < 0x20 || *out == 0x7f)
            *out = ' ';
}

static void add_part(struct jl_buf *b, const char *key, const char *value)
{
    const struct plan_key *k = plan_key_find(key);
    char text[VALUE_MAX + 8];
    short_value(key, value, text, sizeof text);
    jl_buf_str(b, b->len ? ", " : "");
    if (strcmp(key, "system") == 0 && !*value)
        jl_buf_str(b, "no system prompt");
    else if (strcmp(key, "streams") == 0 && strcmp(value, "1") == 0)
        jl_buf_str(b, "1 stream");
    else if (strcmp(key, "threads") == 0 && strcmp(value, "1") == 0)
        jl_buf_str(b, "1 thread");
    else if (k && k->label) {
        const char *at = strstr(k->label, "%s");
        jl_buf_printf(b, "%.*s%s%s", (int)(at - k->label), k->label, text, at + 2);
    } else
        jl_buf_printf(b, "%s %s", strchr(key, '.') ? strchr(key, '.') + 1 : key, text);
}

/* After the values of the axes, in the order of the plan. */
static char *name_of(const struct plan_cell *c, const struct plan_draft *d)
{
    struct jl_buf b;
    jl_buf_init(&b, 4096);
    for (size_t i = 0; i < d->n; i++) {
        const struct draft_entry *e = &d->entries[i];
        const char *value = e->where == DRAFT_MATRIX && e->n > 1 ? plan_cell_text(c, e->key) : NULL;
        if (value)
            add_part(&b, e->key, value);
    }
    if (!b.len)
        jl_buf_str(&b, "all");
    return jl_buf_take(&b);
}

bool plan_cell_copy(struct plan_cell *out, const struct plan_cell *c, const char *key, double value)
{
    char text[40];
    struct jl_buf name;
    snprintf(text, sizeof text, "%.6g", value);
    *out = (struct plan_cell){.set = c->set};
    jl_buf_init(&name, 4096);
    add_part(&name, key, text);
    bool ok = (out->name = jl_buf_take(&name)) != NULL;
    for (size_t i = 0; ok && i < c->n_settings; i++)
        ok = plan_cell_set(out, c->settings[i].key, c->settings[i].value);
    ok = ok && plan_cell_set(out, key, text);
    if (!ok)
        plan_cell_release(out);
    return ok;
}

static bool named_before(const struct plan_matrix *m, size_t i, const char *name)
{
    for (size_t k = 0; k < i; k++)
        if (strcmp(m->cells[k].name, name) == 0)
            return true;
    return false;
}

bool plan_name_cells(struct plan_matrix *m, const struct plan_draft *d)
{
    for (size_t i = 0; i < m->n_cells; i++) {
        struct plan_cell *c = &m->cells[i];
        if (!c->name)
            c->name = name_of(c, d);
        for (size_t k = 2; c->name && named_before(m, i, c->name); k++) {
            char *other = jl_strf("%s (%zu)", c->name, k);
            free(c->name);
            c->name = other;
        }
        if (!c->name)
            return false;
    }
    return true;
}

/* ---- text -------------------------------------------------------------------------------------------------------- */

static void put_quoted(struct jl_buf *b, const char *key, const char *value)
{
    jl_buf_printf(b, "%s = \"", key);
    for (; *value; value++) {
        if (*value == '\n')
            jl_buf_str(b, "\\n");
        else if (*value == '\t')
            jl_buf_str(b, "\\t");
        else if (*value == '"' || *value == '\\')
            jl_buf_printf(b, "\\%c", *value);
        else
            jl_buf_add(b, value, 1);
    }
    jl_buf_str(b, "\"\n");
}

static void put_seconds(struct jl_buf *b, const char *key, double s)
{
    if (s == s) /* given */
        jl_buf_printf(b, "%s = %.9g\n", key, s);
}

static void put_head(struct jl_buf *b, const struct plan_matrix *m)
{
    jl_buf_printf(b, "version = %d\n", PLAN_VERSION);
    if (m->title)
        put_quoted(b, "title", m->title);
    jl_buf_printf(b, "repeat = %lld\nwarmup = %lld\norder = %s\norder-seed = %lld\n", (long long)m->repeat, (long long)m->warmup,
                  plan_order_name(m->order), (long long)m->seed);
    put_seconds(b, "baseline", m->baseline_s);
    put_seconds(b, "baseline-most", m->baseline_most_s);
    put_seconds(b, "baseline-every", m->baseline_every_s);
    put_seconds(b, "cooldown", m->cooldown_s);
    put_seconds(b, "max-ttft", m->max_ttft_s);
    put_seconds(b, "max-tpot", m->max_tpot_s);
    if (strcmp(m->servers, "auto") != 0)
        jl_buf_printf(b, "servers = %s\n", m->servers);
    if (m->find_rate)
        jl_buf_str(b, "find-rate = yes\n");
}

static void put_cell(struct jl_buf *b, const struct plan_cell *c)
{
    jl_buf_str(b, "\n[cell]\n");
    put_quoted(b, "name", c->name);
    for (size_t i = 0; i < c->n_settings; i++)
        put_quoted(b, c->settings[i].key, c->settings[i].value);
}

enum joulet_status plan_write_text(struct plan_matrix *m, struct joulet_error *err)
{
    struct jl_buf b;
    struct jl_sha256 sha;
    jl_buf_init(&b, (size_t)16 << 20);
    put_head(&b, m);
    for (size_t i = 0; i < m->n_cells; i++)
        put_cell(&b, &m->cells[i]);
    if (b.failed) {
        jl_buf_release(&b);
        return jl_fail(err, JOULET_LIMIT, "the plan is longer than 16 MiB with every cell written out; split it");
    }
    jl_sha256_init(&sha);
    jl_sha256_add(&sha, b.data, b.len);
    for (size_t i = 0; i < m->n_sets; i++)
        jl_sha256_add(&sha, m->sets[i].sha256, strlen(m->sets[i].sha256));
    jl_sha256_hex(&sha, m->sha256);
    m->text = jl_buf_take(&b);
    return m->text ? jl_ok(err) : jl_fail(err, JOULET_MEMORY, "out of memory for the plan; make it smaller");
}
