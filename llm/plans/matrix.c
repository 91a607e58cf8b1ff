/* matrix.c - from a plan in the making to its cells: every combination of the matrix, every cell that is written out, checked as
 * far as can be without an engine. */
#include "llm/plans/matrix_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RATE_DURATION   "30s"
#define BASELINE_MOST_S 30 /* docs/method.md 4.2: beyond that slow drift is all that is left */

const char *plan_order_name(enum plan_order o)
{
    static const char *const names[] = {"listed", "shuffled", "abba"};
    return (unsigned)o < JL_COUNT(names) ? names[o] : NULL;
}

void plan_cell_release(struct plan_cell *c)
{
    for (size_t i = 0; i < c->n_settings; i++) {
        free(c->settings[i].key);
        free(c->settings[i].value);
    }
    free(c->settings);
    free(c->name);
    *c = (struct plan_cell){0};
}

void plan_matrix_release(struct plan_matrix *m)
{
    for (size_t i = 0; i < m->n_cells; i++)
        plan_cell_release(&m->cells[i]);
    for (size_t i = 0; i < m->n_sets; i++) {
        plan_release(&m->sets[i]);
        free(m->set_names[i]);
    }
    free(m->cells);
    free(m->sets);
    free(m->set_names);
    free(m->title);
    free(m->text);
    *m = (struct plan_matrix){0};
}

static enum joulet_status no_memory(struct joulet_error *err)
{
    return jl_fail(err, JOULET_MEMORY, "out of memory for the plan; make it smaller");
}

bool plan_cell_set(struct plan_cell *c, const char *key, const char *value)
{
    char *copy = jl_strdup(value);
    for (size_t i = 0; copy && i < c->n_settings; i++)
        if (strcmp(c->settings[i].key, key) == 0) {
            free(c->settings[i].value);
            c->settings[i].value = copy;
            return true;
        }
    struct plan_setting *grown = copy ? realloc(c->settings, (c->n_settings + 1) * sizeof *grown) : NULL;
    if (grown)
        c->settings = grown;
    char *name = grown ? jl_strdup(key) : NULL;
    if (!name) {
        free(copy);
        return false;
    }
    grown[c->n_settings++] = (struct plan_setting){name, copy};
    return true;
}

/* ---- of the whole plan ------------------------------------------------------------------------------------------------- */

static const char *head(const struct plan_draft *d, const char *key)
{
    const struct draft_entry *e = draft_find(d, DRAFT_SHARED, key);
    return e && e->n ? e->values[0] : NULL;
}

static int64_t head_int(const struct plan_draft *d, const char *key, int64_t otherwise)
{
    int64_t v;
    return head(d, key) && jl_parse_i64(head(d, key), &v) ? v : otherwise;
}

static double head_s(const struct plan_draft *d, const char *key, double otherwise)
{
    int64_t ns;
    return head(d, key) && jl_parse_duration(head(d, key), &ns) ? jl_s(ns) : otherwise;
}

static enum plan_order order_of(const char *name, enum plan_order otherwise)
{
    for (unsigned o = 0; name && plan_order_name((enum plan_order)o); o++)
        if (strcmp(plan_order_name((enum plan_order)o), name) == 0)
            return (enum plan_order)o;
    return otherwise;
}

static bool take_head(const struct plan_draft *d, struct plan_matrix *m)
{
    const char *title = head(d, "title");
    m->title = title ? jl_strdup(title) : NULL;
    m->repeat = head_int(d, "repeat", 1);
    m->warmup = head_int(d, "warmup", 1);
    m->seed = head_int(d, "order-seed", 1);
    m->baseline_s = head_s(d, "baseline", 10);
    m->baseline_most_s = head_s(d, "baseline-most", head(d, "baseline") ? m->baseline_s : BASELINE_MOST_S);
    m->baseline_every_s = head_s(d, "baseline-every", NAN);
    m->cooldown_s = head_s(d, "cooldown", 10);
    snprintf(m->servers, sizeof m->servers, "%s", head(d, "servers") ? head(d, "servers") : "auto");
    m->max_ttft_s = head_s(d, "max-ttft", NAN);
    m->max_tpot_s = head_s(d, "max-tpot", NAN);
    m->find_rate = head(d, "find-rate") && strcmp(head(d, "find-rate"), "yes") == 0;
    return !title || m->title;
}

/* ---- cells -------------------------------------------------------------------------------------------------------------- */

static struct plan_cell *add_cell(struct plan_matrix *m)
{
    struct plan_cell *grown = realloc(m->cells, (m->n_cells + 1) * sizeof *grown);
    if (!grown)
        return NULL;
    m->cells = grown;
    grown[m->n_cells] = (struct plan_cell){0};
    return &grown[m->n_cells++];
}

static bool take_entries(const struct plan_draft *d, int where, struct plan_cell *c)
{
    for (size_t i = 0; i < d->n; i++) {
        const struct draft_entry *e = &d->entries[i];
        const struct plan_key *k = plan_key_find(e->key);
        if (e->where == where && k && !k->head && e->n && !plan_cell_set(c, e->key, e->values[0]))
            return false;
    }
    return true;
}

/* The combinations of the matrix: the last axis changes fastest. *axes: how many there are. */
static size_t combinations(const struct plan_draft *d, size_t *axes)
{
    size_t n = 1;
    *axes = 0;
    for (size_t i = 0; i < d->n; i++) {
        if (d->entries[i].where != DRAFT_MATRIX)
            continue;
        (*axes)++;
        if (n > SIZE_MAX / d->entries[i].n)
            return SIZE_MAX / 2;
        n *= d->entries[i].n;
    }
    return n;
}

static bool take_combination(const struct plan_draft *d, size_t index, struct plan_cell *c)
{
    for (size_t i = d->n; i-- > 0;) {
        const struct draft_entry *e = &d->entries[i];
        if (e->where != DRAFT_MATRIX)
            continue;
        if (!plan_cell_set(c, e->key, e->values[index % e->n]))
            return false;
        index /= e->n;
    }
    return true;
}

static enum joulet_status make_cells(const struct plan_draft *d, struct plan_matrix *m, struct joulet_error *err)
{
    size_t axes, n = combinations(d, &axes), written = d->n_cells;
    if (!axes && written)
        n = 0; /* what is shared is no cell of its own */
    else if (n + written > PLAN_CELLS_MAX)
        return jl_fail(err, JOULET_LIMIT, "the plan has %zu combinations, more than the %zu that one may have; split it",
                       n + written, PLAN_CELLS_MAX);
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        struct plan_cell *c = add_cell(m);
        ok = c && take_entries(d, DRAFT_SHARED, c) && take_combination(d, i, c);
    }
    for (size_t i = 0; ok && i < written; i++) {
        struct plan_cell *c = add_cell(m);
        ok = c && take_entries(d, DRAFT_SHARED, c) && take_entries(d, (int)i, c);
        if (ok && d->cells[i][0])
            ok = (c->name = jl_strdup(d->cells[i])) != NULL;
    }
    return ok ? jl_ok(err) : no_memory(err);
}

/* ---- what does not go together -------------------------------------------------------------------------------------------- */

#define QUANTISATION "{quantisation}"

/* "llama-{quantisation}.gguf" with q4_0 is llama-q4_0.gguf. */
static enum joulet_status fill_in_quantisation(struct plan_cell *c, struct joulet_error *err)
{
    const char *model = plan_cell_text(c, "model"), *quantisation = plan_cell_text(c, "quantisation");
    const char *at = model ? strstr(model, QUANTISATION) : NULL;
    if (!quantisation && !at)
        return jl_ok(err);
    if (!at && strstr(model ? model : "", quantisation))
        return jl_ok(err); /* filled in already */
    if (!quantisation || !at)
        return jl_fail(err, JOULET_USAGE,
                       at ? "the model's name holds {quantisation} and the plan gives none: add quantisation = ..."
                          : "quantisation needs {quantisation} in the model's name, where each of them is filled in");
    char *filled = jl_strf("%.*s%s%s", (int)(at - model), model, quantisation, at + strlen(QUANTISATION));
    bool ok = filled && plan_cell_set(c, "model", filled);
    free(filled);
    return ok ? jl_ok(err) : no_memory(err);
}

static enum joulet_status check_cell(struct plan_cell *c, struct joulet_error *err)
{
    bool rate = plan_cell_text(c, "rate") != NULL;
    if (rate && plan_cell_text(c, "streams"))
        return jl_fail(err, JOULET_USAGE, "streams and rate exclude each other: a load is closed, or open");
    if (plan_cell_text(c, "duration") && !rate)
        return jl_fail(err, JOULET_USAGE, "duration belongs to a rate: with streams every prompt is sent once for each repeat");
    if (plan_cell_flag(c, "raw") && plan_cell_text(c, "system") && *plan_cell_text(c, "system"))
        return jl_fail(err, JOULET_USAGE, "raw sends the text as it is: it does not go with system");
    if (rate && !plan_cell_text(c, "duration") && !plan_cell_set(c, "duration", RATE_DURATION))
        return no_memory(err);
    if (!plan_cell_text(c, "prompts") && !plan_cell_set(c, "prompts", "nine"))
        return no_memory(err);
    return fill_in_quantisation(c, err);
}

static enum joulet_status check_search(struct plan_matrix *m, struct joulet_error *err)
{
    if (!m->find_rate)
        return jl_ok(err);
    if (isnan(m->max_ttft_s) && isnan(m->max_tpot_s))
        return jl_fail(err, JOULET_USAGE, "find-rate needs a limit to keep: give max-ttft, max-tpot or both");
    if (m->n_cells != 1 || plan_cell_text(&m->cells[0], "streams"))
        return jl_fail(err, JOULET_USAGE, "find-rate searches for one configuration without streams: the plan has %zu cells",
                       m->n_cells);
    struct plan_cell *c = &m->cells[0];
    bool ok = plan_cell_text(c, "rate") || plan_cell_set(c, "rate", "1");
    if (ok && !c->name) /* each level of the search is named after its rate */
        ok = (c->name = jl_strf("%s requests/s", plan_cell_text(c, "rate"))) != NULL;
    ok = ok && (plan_cell_text(&m->cells[0], "duration") || plan_cell_set(&m->cells[0], "duration", RATE_DURATION));
    return ok ? jl_ok(err) : no_memory(err);
}

/* ---- prompts ----------------------------------------------------------------------------------------------------- */

static enum joulet_status add_set(struct plan_matrix *m, const char *name, struct joulet_error *err)
{
    struct plan *sets = realloc(m->sets, (m->n_sets + 1) * sizeof *sets);
    if (sets)
        m->sets = sets;
    char **names = sets ? realloc(m->set_names, (m->n_sets + 1) * sizeof *names) : NULL;
    if (names)
        m->set_names = names;
    char *copy = names ? jl_strdup(name) : NULL;
    if (!copy)
        return no_memory(err);
    enum joulet_status status = plan_open(&sets[m->n_sets], name, err);
    if (status != JOULET_OK)
        free(copy);
    else
        names[m->n_sets++] = copy;
    return status;
}

static enum joulet_status read_prompts(struct plan_matrix *m, struct joulet_error *err)
{
    for (size_t i = 0; i < m->n_cells; i++) {
        struct plan_cell *c = &m->cells[i];
        const char *name = plan_cell_text(c, "prompts");
        for (c->set = 0; c->set < m->n_sets && strcmp(m->set_names[c->set], name) != 0;)
            c->set++;
        enum joulet_status status = c->set == m->n_sets ? add_set(m, name, err) : jl_ok(err);
        if (status != JOULET_OK)
            return status;
        const char *system = plan_cell_text(c, "system");
        const struct plan *set = &m->sets[c->set];
        for (size_t k = 0; k < set->n && ((system && *system) || plan_cell_flag(c, "raw")); k++)
            if (set->prompts[k].messages)
                return jl_fail(err, JOULET_USAGE, "prompt %zu of %s has messages of its own: it does not go with system or raw",
                               k + 1, set->name);
    }
    return jl_ok(err);
}

static enum joulet_status check_size(const struct plan_matrix *m, struct joulet_error *err)
{
    double n = 0;
    for (size_t i = 0; i < m->n_cells; i++) {
        const struct plan_cell *c = &m->cells[i];
        double rate = plan_cell_real(c, "rate");
        n += isnan(rate) ? (double)m->sets[c->set].n * (double)m->repeat : rate * plan_cell_real(c, "duration");
    }
    if (n > (double)PLAN_REQUESTS_MAX)
        return jl_fail(err, JOULET_LIMIT, "the plan has about %.0f requests, more than the %zu that a run may have; split it", n,
                       PLAN_REQUESTS_MAX);
    return jl_ok(err);
}

enum joulet_status plan_draft_finish(const struct plan_draft *d, struct plan_matrix *m, struct joulet_error *err)
{
    *m = (struct plan_matrix){0};
    enum joulet_status status = take_head(d, m) ? make_cells(d, m, err) : no_memory(err);
    if (status == JOULET_OK)
        status = check_search(m, err);
    if (status == JOULET_OK && !plan_name_cells(m, d))
        status = no_memory(err);
    for (size_t i = 0; status == JOULET_OK && i < m->n_cells; i++) {
        struct joulet_error why;
        status = check_cell(&m->cells[i], &why);
        if (status != JOULET_OK)
            jl_fail(err, status, m->n_cells > 1 ? "cell \"%s\": %s" : "%.0s%s", m->cells[i].name, why.message);
    }
    m->order = order_of(head(d, "order"), m->n_cells > 1 ? PLAN_ABBA : PLAN_LISTED);
    if (status == JOULET_OK)
        status = read_prompts(m, err);
    if (status == JOULET_OK)
        status = check_size(m, err);
    if (status == JOULET_OK)
        status = plan_write_text(m, err);
    if (status != JOULET_OK)
        plan_matrix_release(m);
    return status;
}
