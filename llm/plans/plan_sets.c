/* plan_sets.c - the sets that come with the program (data/benchmark_prompts.csv, data/task_prompts.csv), and several sets as one.
 */
#include "llm/plans/plan_private.h"

#include "data/data.h"
#include "lib/platform/platform.h"

#include <stdlib.h>
#include <string.h>

const char *const plan_sets[] = {"nine", "chat", "code", "summarise", "extract", "long-context", "thinking", NULL};

static bool is_set(const char *name)
{
    for (size_t i = 0; plan_sets[i]; i++)
        if (strcmp(plan_sets[i], name) == 0)
            return true;
    return false;
}

/* "long-context" is "long_context_v1" in the file: the version tells records apart when prompts change one day. */
static bool of_set(const char *set, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++)
        if (set[i] != (name[i] == '-' ? '_' : name[i]))
            return false;
    return jl_starts(set + n, "_v");
}

/* The prompts of one set, and the hash of what they say. */
static enum joulet_status task_set(struct plan *out, const char *name, struct joulet_error *err)
{
    struct plan all;
    struct jl_sha256 sha;
    enum joulet_status status = plan_parse(&all, name, data_task_prompts.text, data_task_prompts.len, err);
    if (status != JOULET_OK)
        return status;
    jl_sha256_init(&sha);
    *out = (struct plan){.name = jl_strdup(name)};
    for (size_t i = 0; i < all.n && status == JOULET_OK; i++) {
        struct plan_prompt *x = &all.prompts[i];
        if (!of_set(x->set, name))
            continue;
        const char *parts[] = {x->set, x->text, x->expected ? x->expected : "", x->check ? x->check : ""};
        for (size_t k = 0; k < JL_COUNT(parts); k++)
            jl_sha256_add(&sha, parts[k], strlen(parts[k]) + 1);
        status = plan_append(out, x, err);
        *x = (struct plan_prompt){0};
    }
    jl_sha256_hex(&sha, out->sha256);
    plan_release(&all);
    if (status != JOULET_OK)
        plan_release(out);
    return status;
}

static enum joulet_status one_set(struct plan *out, const char *name, struct joulet_error *err)
{
    if (strcmp(name, "nine") == 0)
        return plan_nine(out, err);
    return is_set(name) ? task_set(out, name, err) : plan_file(out, name, err);
}

/* Adds the prompts of `more`, and its hash to that of the whole. */
static enum joulet_status merge(struct plan *out, struct plan *more, struct joulet_error *err)
{
    struct jl_sha256 sha;
    char *name = jl_strf("%s, %s", out->name, more->name);
    enum joulet_status status = name ? jl_ok(err) : plan_no_memory(out, err);
    for (size_t i = 0; i < more->n && status == JOULET_OK; i++) {
        status = plan_append(out, &more->prompts[i], err);
        more->prompts[i] = (struct plan_prompt){0};
    }
    jl_sha256_init(&sha);
    jl_sha256_add(&sha, out->sha256, strlen(out->sha256));
    jl_sha256_add(&sha, more->sha256, strlen(more->sha256));
    jl_sha256_hex(&sha, out->sha256);
    if (name) {
        free(out->name);
        out->name = name;
    }
    plan_release(more);
    return status;
}

/* The next name of a list with commas, without blanks around it; malloc'ed. */
static char *next_name(const char **list)
{
    const char *s = *list + strspn(*list, " \t");
    size_t n = strcspn(s, ",");
    *list = s + n + (s[n] == ',');
    while (n && (s[n - 1] == ' ' || s[n - 1] == '\t'))
        n--;
    return jl_strf("%.*s", (int)n, s);
}

enum joulet_status plan_open(struct plan *out, const char *sets, struct joulet_error *err)
{
    *out = (struct plan){0};
    if (!strchr(sets, ','))
        return one_set(out, sets, err);
    enum joulet_status status = JOULET_OK;
    for (bool first = true; status == JOULET_OK && (first || *sets); first = false) {
        struct plan one;
        char *name = next_name(&sets);
        if (name && !*name)
            status = jl_fail(err, JOULET_USAGE, "the list of prompt sets has an empty name: take the comma out");
        else
            status = name ? one_set(first ? out : &one, name, err) : plan_no_memory(out, err);
        free(name);
        if (status == JOULET_OK && !first)
            status = merge(out, &one, err);
    }
    if (status != JOULET_OK)
        plan_release(out);
    return status;
}
