/* plan_jsonl.c - prompts from JSON lines: one object a line with "prompt" (a text) or "messages" (an array of {role, content}
 * that ends with what is asked), and if wanted "expected", "check", "category", "set", "number", "max_tokens". Other keys are
 * passed over: data sets carry many. */
#include "llm/plans/plan_private.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

bool plan_is_jsonl(const char *text, size_t n)
{
    size_t i = n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    while (i < n && strchr(" \t\r\n", text[i]))
        i++;
    return i < n && text[i] == '{';
}

struct line {
    struct plan *p;
    size_t number; /* from 1 */
    json_t *o;
    struct joulet_error *err;
};

/* A text of the object; *out NULL when it is missing, null or empty. False: something else stands there. */
static bool text_of(const struct line *l, const char *key, char **out)
{
    const json_t *v = json_object_get(l->o, key);
    *out = NULL;
    if (!v || json_is_null(v))
        return true;
    if (!json_is_string(v)) {
        jl_fail(l->err, JOULET_FORMAT, "%s: line %zu: \"%s\" must be a text in quotes", l->p->name, l->number, key);
        return false;
    }
    if (!json_string_length(v))
        return true;
    *out = jl_strdup(json_string_value(v));
    if (!*out)
        plan_no_memory(l->p, l->err);
    return *out;
}

static bool count_of(const struct line *l, const char *key, json_int_t least, int64_t *out)
{
    const json_t *v = json_object_get(l->o, key);
    if (!v || json_is_null(v))
        return true;
    if (!json_is_integer(v) || json_integer_value(v) < least) {
        jl_fail(l->err, JOULET_FORMAT, "%s: line %zu: \"%s\" must be a whole number from %d on", l->p->name, l->number, key,
                (int)least);
        return false;
    }
    *out = (int64_t)json_integer_value(v);
    return true;
}

static bool refuse(const struct line *l, const char *why)
{
    jl_fail(l->err, JOULET_FORMAT, "%s: line %zu: %s", l->p->name, l->number, why);
    return false;
}

/* The messages as they will be sent, on one line. */
static bool messages_of(const struct line *l, struct plan_prompt *x)
{
    const json_t *list = json_object_get(l->o, "messages"), *m;
    size_t i;
    const char *role = NULL;
    if (!list || json_is_null(list))
        return true;
    if (x->text)
        return refuse(l, "\"prompt\" and \"messages\" exclude each other");
    if (!json_is_array(list) || !json_array_size(list))
        return refuse(l, "\"messages\" must be a list of objects with \"role\" and \"content\"");
    json_array_foreach((json_t *)(uintptr_t)list, i, m)
    {
        role = json_string_value(json_object_get(m, "role"));
        if (!role || !json_object_get(m, "content"))
            return refuse(l, "\"messages\" must be a list of objects with \"role\" and \"content\"");
    }
    if (strcmp(role, "assistant") == 0)
        return refuse(l, "the last message is an answer: take it out, or give it as \"expected\"");
    x->messages = json_dumps(list, JSON_COMPACT | JSON_ENSURE_ASCII);
    x->text = jl_strdup(x->messages);
    if (!x->text)
        plan_no_memory(l->p, l->err);
    return x->text;
}

static bool fill(const struct line *l, struct plan_prompt *x)
{
    struct joulet_error why;
    if (!text_of(l, "prompt", &x->text) || !messages_of(l, x) || !text_of(l, "expected", &x->expected) ||
        !text_of(l, "check", &x->check) || !text_of(l, "set", &x->set) || !text_of(l, "category", &x->category) ||
        !count_of(l, "number", 0, &x->number) || !count_of(l, "max_tokens", 1, &x->max_tokens))
        return false;
    if (!x->text || plan_blank(x->text))
        return refuse(l, "it has neither \"prompt\" nor \"messages\"");
    if (x->check && plan_check_good(x->check, &why) != JOULET_OK)
        return refuse(l, why.message);
    if (!x->set)
        x->set = jl_strdup(l->p->name);
    if (!x->category)
        x->category = jl_strdup("all");
    return true;
}

static enum joulet_status add_line(struct plan *p, const char *text, size_t n, size_t number, struct joulet_error *err)
{
    json_error_t je;
    struct plan_prompt x = {.number = (int64_t)p->n + 1, .max_tokens = -1};
    struct joulet_error why = {.status = JOULET_FORMAT};
    struct line l = {.p = p, .number = number, .err = &why, .o = json_loadb(text, n, JSON_REJECT_DUPLICATES, &je)};
    bool ok = json_is_object(l.o) && fill(&l, &x);
    if (!json_is_object(l.o))
        jl_fail(&why, JOULET_FORMAT, "%s: line %zu is no JSON object; write one object a line", p->name, number);
    json_decref(l.o);
    if (ok)
        return plan_append(p, &x, err);
    plan_prompt_release(&x);
    return jl_fail(err, why.status, "%s", why.message);
}

enum joulet_status plan_add_jsonl(struct plan *p, const char *text, size_t n, struct joulet_error *err)
{
    enum joulet_status status = jl_ok(err);
    const char *end = text + n;
    if (n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        text += 3;
    for (size_t number = 1; text < end && status == JOULET_OK; number++) {
        size_t len = strcspn(text, "\n");
        if (strspn(text, " \t\r") < len)
            status = add_line(p, text, len, number, err);
        text += len + (text + len < end);
    }
    return status;
}
