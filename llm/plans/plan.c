/* plan.c - the prompts of a run: the nine that come with the program, or a file of the user's own.
 *
 * A file whose first row names a column "prompt" is CSV with the columns of data/benchmark_prompts.csv (set, category, number,
 * suggested_max_output_tokens or max_tokens, expected, check; all but the prompt may be missing). One whose first line begins
 * with a brace is JSON lines (plan_jsonl.c). Any other file has one prompt a line. */
#include "llm/plans/plan_private.h"

#include "data/data.h"
#include "lib/platform/platform.h"

#include <stdlib.h>
#include <string.h>

#define FILE_MAX ((size_t)64 << 20)

enum column { SET, CATEGORY, NUMBER, MAX_TOKENS, MAX_TOKENS_SHORT, EXPECTED, CHECK, PROMPT, COLUMNS };
static const char *const column_names[COLUMNS] = {"set",        "category", "number", "suggested_max_output_tokens",
                                                  "max_tokens", "expected", "check",  "prompt"};

void plan_prompt_release(struct plan_prompt *x)
{
    char *texts[] = {x->set, x->category, x->text, x->messages, x->expected, x->check};
    for (size_t i = 0; i < JL_COUNT(texts); i++)
        free(texts[i]);
    *x = (struct plan_prompt){0};
}

void plan_release(struct plan *p)
{
    for (size_t i = 0; i < p->n; i++)
        plan_prompt_release(&p->prompts[i]);
    free(p->prompts);
    free(p->name);
    *p = (struct plan){0};
}

enum joulet_status plan_no_memory(const struct plan *p, struct joulet_error *err)
{
    return jl_fail(err, JOULET_MEMORY, "%s: out of memory for its prompts", p->name ? p->name : "the prompt file");
}

enum joulet_status plan_append(struct plan *p, struct plan_prompt *x, struct joulet_error *err)
{
    enum joulet_status status = jl_ok(err);
    struct plan_prompt *grown = p->prompts;
    if (p->n == PLAN_PROMPTS_MAX)
        status = jl_fail(err, JOULET_LIMIT, "%s holds more than %zu prompts: split it", p->name, PLAN_PROMPTS_MAX);
    else if ((p->n & (p->n - 1)) == 0) /* powers of two: room for twice as many */
        grown = realloc(p->prompts, (p->n ? 2 * p->n : 1) * sizeof(*grown));
    if (status == JOULET_OK && (!grown || !x->text || !x->set || !x->category))
        status = plan_no_memory(p, err);
    if (grown)
        p->prompts = grown;
    if (status == JOULET_OK)
        p->prompts[p->n++] = *x;
    else
        plan_prompt_release(x);
    return status;
}

size_t plan_bad_text(const char *text, size_t n)
{
    const uint8_t *s = (const uint8_t *)text;
    for (size_t i = 0; i < n;) {
        size_t len = s[i] < 0x80                   ? 1
                     : s[i] >= 0xc2 && s[i] < 0xe0 ? 2
                     : (s[i] & 0xf0) == 0xe0       ? 3
                     : s[i] >= 0xf0 && s[i] < 0xf5 ? 4
                                                   : 0;
        if (len == 0 || len > n - i || s[i] == 0)
            return i;
        for (size_t k = 1; k < len; k++)
            if ((s[i + k] & 0xc0) != 0x80)
                return i;
        if ((s[i] == 0xe0 && s[i + 1] < 0xa0) || (s[i] == 0xed && s[i + 1] > 0x9f) || (s[i] == 0xf0 && s[i + 1] < 0x90) ||
            (s[i] == 0xf4 && s[i + 1] > 0x8f))
            return i;
        i += len;
    }
    return n;
}

bool plan_blank(const char *s)
{
    return s[strspn(s, " \t\r\n\v\f")] == '\0';
}

/* ---- CSV ------------------------------------------------------------------------------------------------------------- */

struct table {
    struct jl_csv csv;
    size_t at[COLUMNS]; /* SIZE_MAX: missing */
};

/* False when the first row names no column "prompt": then the text is no table of prompts. */
static bool table_open(struct table *t, const char *text, size_t n)
{
    jl_csv_init(&t->csv, text, n);
    for (int c = 0; c < COLUMNS; c++)
        t->at[c] = SIZE_MAX;
    if (!jl_csv_next(&t->csv))
        return false;
    for (size_t i = 0; i < t->csv.n; i++)
        for (int c = 0; c < COLUMNS; c++)
            if (t->at[c] == SIZE_MAX && strcmp(t->csv.fields[i], column_names[c]) == 0)
                t->at[c] = i;
    return t->at[PROMPT] != SIZE_MAX;
}

static const char *cell(const struct table *t, enum column c)
{
    return t->at[c] < t->csv.n ? t->csv.fields[t->at[c]] : "";
}

/* An optional whole number; *out keeps its value when the cell is empty. */
static bool count(const struct table *t, enum column c, int64_t least, int64_t *out)
{
    int64_t v;
    if (*cell(t, c) == '\0')
        return true;
    if (!jl_parse_i64(cell(t, c), &v) || v < least)
        return false;
    *out = v;
    return true;
}

static enum joulet_status add_row(struct plan *p, const struct table *t, size_t row, struct joulet_error *err)
{
    struct plan_prompt x = {.number = (int64_t)p->n + 1, .max_tokens = -1};
    struct joulet_error why;
    if (plan_blank(cell(t, PROMPT)))
        return jl_fail(err, JOULET_FORMAT, "%s: row %zu has an empty prompt; fill it or remove the row", p->name, row);
    if (!count(t, NUMBER, 0, &x.number))
        return jl_fail(err, JOULET_FORMAT, "%s: row %zu: number '%.32s' is not a whole number", p->name, row, cell(t, NUMBER));
    if (!count(t, MAX_TOKENS, 1, &x.max_tokens) || !count(t, MAX_TOKENS_SHORT, 1, &x.max_tokens))
        return jl_fail(err, JOULET_FORMAT, "%s: row %zu: the limit on tokens must be a whole number above 0", p->name, row);
    if (*cell(t, CHECK) && plan_check_good(cell(t, CHECK), &why) != JOULET_OK)
        return jl_fail(err, JOULET_FORMAT, "%s: row %zu: %s", p->name, row, why.message);
    x.set = jl_strdup(*cell(t, SET) ? cell(t, SET) : p->name);
    x.category = jl_strdup(*cell(t, CATEGORY) ? cell(t, CATEGORY) : "all");
    x.text = jl_strdup(cell(t, PROMPT));
    if (*cell(t, EXPECTED))
        x.expected = jl_strdup(cell(t, EXPECTED));
    if (*cell(t, CHECK))
        x.check = jl_strdup(cell(t, CHECK));
    return plan_append(p, &x, err);
}

static enum joulet_status add_table(struct plan *p, struct table *t, struct joulet_error *err)
{
    enum joulet_status status = jl_ok(err);
    for (size_t row = 2; status == JOULET_OK && jl_csv_next(&t->csv); row++)
        status = add_row(p, t, row, err);
    if (status == JOULET_OK && t->csv.text.failed)
        status = jl_fail(err, JOULET_LIMIT, "%s: a row is too long to be read", p->name);
    return status;
}

/* ---- one prompt a line ------------------------------------------------------------------------------------------------- */

static enum joulet_status add_lines(struct plan *p, const char *text, size_t n, struct joulet_error *err)
{
    enum joulet_status status = jl_ok(err);
    const char *end = text + n;
    if (n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        text += 3;
    while (text < end && status == JOULET_OK) {
        size_t len = strcspn(text, "\n");
        size_t used = len && text[len - 1] == '\r' ? len - 1 : len;
        struct plan_prompt x = {.number = (int64_t)p->n + 1, .max_tokens = -1};
        x.text = jl_strf("%.*s", (int)used, text);
        if (!x.text || !plan_blank(x.text)) {
            x.set = jl_strdup(p->name);
            x.category = jl_strdup("all");
            status = plan_append(p, &x, err);
        } else {
            free(x.text);
        }
        text += len + (text + len < end);
    }
    return status;
}

/* ---- plans --------------------------------------------------------------------------------------------------------------- */

/* text is NUL-terminated. */
static enum joulet_status read_plan(struct plan *p, const char *text, size_t n, struct joulet_error *err)
{
    struct jl_sha256 digest;
    struct table table;
    size_t bad = plan_bad_text(text, n);
    if (bad < n)
        return jl_fail(err, JOULET_FORMAT, "%s: byte %zu is not UTF-8 text; save the file as UTF-8", p->name, bad + 1);
    jl_sha256_init(&digest);
    jl_sha256_add(&digest, text, n);
    jl_sha256_hex(&digest, p->sha256);
    enum joulet_status status;
    if (plan_is_jsonl(text, n)) {
        status = plan_add_jsonl(p, text, n, err);
    } else {
        status = table_open(&table, text, n) ? add_table(p, &table, err) : add_lines(p, text, n, err);
        jl_csv_release(&table.csv);
    }
    if (status == JOULET_OK && p->n == 0)
        status = jl_fail(err, JOULET_FORMAT, "%s holds no prompt: write one a line, or CSV with a column \"prompt\"", p->name);
    return status;
}

enum joulet_status plan_parse(struct plan *out, const char *name, const char *text, size_t n, struct joulet_error *err)
{
    *out = (struct plan){.name = jl_strdup(plan_bad_text(name, strlen(name)) < strlen(name) ? "prompts" : name)};
    enum joulet_status status = out->name ? read_plan(out, text, n, err) : plan_no_memory(out, err);
    if (status != JOULET_OK)
        plan_release(out);
    return status;
}

enum joulet_status plan_nine(struct plan *out, struct joulet_error *err)
{
    return plan_parse(out, "nine", data_benchmark_prompts.text, data_benchmark_prompts.len, err);
}

enum joulet_status plan_file(struct plan *out, const char *path, struct joulet_error *err)
{
    struct jl_buf text;
    *out = (struct plan){0};
    jl_buf_init(&text, FILE_MAX);
    enum joulet_status status = jl_read_file(path, &text, err);
    if (status == JOULET_LIMIT)
        status = jl_fail(err, JOULET_LIMIT, "%s is larger than 64 MiB: split it", path);
    const char *slash = strrchr(path, '/');
    if (status == JOULET_OK)
        status = plan_parse(out, slash ? slash + 1 : path, text.data ? text.data : "", text.len, err);
    jl_buf_release(&text);
    return status;
}
