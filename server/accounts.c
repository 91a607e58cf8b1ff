/* accounts.c - see accounts.h. Rows are found by a hash of their four names; a name that is one too many becomes "other", and
 * should there be no row left for a combination of names, the last row has it. */
#include "server/accounts.h"

#include "lib/base/base.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define HEADS ((size_t)2048)
#define NAMES (ACCOUNTS_CLIENTS + ACCOUNTS_MODELS + 64 + 32) /* of upstreams and protocols, which are not the clients' */
#define EMPTY SIZE_MAX

enum dimension { UPSTREAM, MODEL, PROTOCOL, CLIENT, DIMENSIONS };

struct name {
    enum dimension of;
    char *text;
};

struct accounts {
    pthread_mutex_t lock;
    struct name names[NAMES];
    size_t n_names, n_of[DIMENSIONS];
    struct accounts_row rows[ACCOUNTS_ROWS];
    size_t next[ACCOUNTS_ROWS], heads[HEADS];
    size_t n;
    struct accounts_sums total;
};

static const size_t most_of[DIMENSIONS] = {64, ACCOUNTS_MODELS, 32, ACCOUNTS_CLIENTS};

/* ---- names -------------------------------------------------------------------------------------------------------------- */

/* Its own copy of a name, or "other". Pointers are equal when names are. */
static const char *name_of(struct accounts *a, enum dimension of, const char *text)
{
    text = text && *text ? text : "unknown";
    for (size_t i = 0; i < a->n_names; i++)
        if (a->names[i].of == of && strcmp(a->names[i].text, text) == 0)
            return a->names[i].text;
    if (a->n_of[of] == most_of[of] || a->n_names == NAMES)
        return ACCOUNTS_OTHER;
    char *copy = jl_strdup(text);
    if (!copy)
        return ACCOUNTS_OTHER;
    a->names[a->n_names++] = (struct name){of, copy};
    a->n_of[of]++;
    return copy;
}

static bool same(const char *const *a, const struct accounts_row *r)
{
    const char *const names[DIMENSIONS] = {r->upstream, r->model, r->protocol, r->client};
    for (size_t i = 0; i < DIMENSIONS; i++)
        if (strcmp(a[i], names[i]) != 0)
            return false;
    return true;
}

static size_t head_of(const char *const *names)
{
    uint64_t h = 1469598103934665603u; /* FNV-1a */
    for (size_t i = 0; i < DIMENSIONS; i++)
        for (const char *p = names[i];; p++) {
            h = (h ^ (unsigned char)*p) * 1099511628211u;
            if (!*p)
                break;
        }
    return h % HEADS;
}

/* ---- rows --------------------------------------------------------------------------------------------------------------- */

static void sums_init(struct accounts_sums *s)
{
    static const struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;
    *s = (struct accounts_sums){.energy = unknown};
}

static struct accounts_row *new_row(struct accounts *a, const char *const *names)
{
    struct accounts_row *r = &a->rows[a->n];
    *r = (struct accounts_row){names[UPSTREAM], names[MODEL], names[PROTOCOL], names[CLIENT], {0}};
    sums_init(&r->sums);
    size_t *head = &a->heads[head_of(names)];
    a->next[a->n] = *head;
    *head = a->n++;
    return r;
}

static struct accounts_row *row_of(struct accounts *a, const char *const *names)
{
    for (size_t i = a->heads[head_of(names)]; i != EMPTY; i = a->next[i])
        if (same(names, &a->rows[i]))
            return &a->rows[i];
    return a->n + 1 < ACCOUNTS_ROWS ? new_row(a, names) : NULL;
}

/* First the client is given up, as clients are the most; then all names. */
static struct accounts_row *find_row(struct accounts *a, const struct accounts_entry *e)
{
    static const char *const others[DIMENSIONS] = {ACCOUNTS_OTHER, ACCOUNTS_OTHER, ACCOUNTS_OTHER, ACCOUNTS_OTHER};
    const char *names[DIMENSIONS] = {name_of(a, UPSTREAM, e->upstream), name_of(a, MODEL, e->model),
                                     name_of(a, PROTOCOL, e->protocol), name_of(a, CLIENT, e->client)};
    struct accounts_row *r = row_of(a, names);
    if (!r) {
        names[CLIENT] = ACCOUNTS_OTHER;
        r = row_of(a, names);
    }
    if (!r)
        r = row_of(a, others);
    return r ? r : new_row(a, others); /* the last one is kept for it */
}

static void add_count(uint64_t *sum, int64_t n)
{
    *sum += n > 0 ? (uint64_t)n : 0;
}

static void add_time(double *sum, double s)
{
    *sum += s > 0 ? s : 0;
}

static void add_phase(struct accounts_sums *s, size_t i, const struct joulet_energy *e)
{
    s->phase_net_j[i] += isnan(e->net_j) ? 0 : e->net_j;
    s->phase_gross_j[i] += isnan(e->gross_j) ? 0 : e->gross_j;
    s->most_phase_net_j[i] = fmax(s->most_phase_net_j[i], s->phase_net_j[i]);
    s->most_phase_gross_j[i] = fmax(s->most_phase_gross_j[i], s->phase_gross_j[i]);
}

static void add_entry(struct accounts_sums *s, const struct accounts_entry *e)
{
    s->requests++;
    s->failed += e->failed;
    s->without_energy += isnan(e->energy.gross_j);
    s->without_tokens += e->tokens.prompt < 0 && e->tokens.generated < 0;
    s->counted += e->counted;
    add_count(&s->prompt, e->tokens.prompt);
    add_count(&s->cached, e->tokens.cached);
    add_count(&s->generated, e->tokens.generated);
    add_count(&s->reasoning, e->tokens.reasoning);
    joulet_energy_chain(&s->energy, &e->energy);
    s->most_net_j = fmax(s->most_net_j, s->energy.net_j);
    s->most_gross_j = fmax(s->most_gross_j, s->energy.gross_j);
    for (size_t i = 0; i < ACCOUNTS_PHASES; i++)
        add_phase(s, i, &e->phases[i]);
    add_time(&s->duration_s, e->duration_s);
    add_time(&s->prefill_s, e->prefill_s);
    add_time(&s->decode_s, e->decode_s);
}

void accounts_add(struct accounts *a, const struct accounts_entry *e)
{
    pthread_mutex_lock(&a->lock);
    add_entry(&find_row(a, e)->sums, e);
    add_entry(&a->total, e);
    pthread_mutex_unlock(&a->lock);
}

struct accounts_row *accounts_snapshot(struct accounts *a, size_t *n)
{
    pthread_mutex_lock(&a->lock);
    struct accounts_row *rows = malloc((a->n + 1) * sizeof *rows);
    if (rows)
        memcpy(rows, a->rows, a->n * sizeof *rows);
    *n = rows ? a->n : 0;
    pthread_mutex_unlock(&a->lock);
    return rows;
}

void accounts_total(struct accounts *a, struct accounts_sums *out)
{
    pthread_mutex_lock(&a->lock);
    *out = a->total;
    pthread_mutex_unlock(&a->lock);
}

/* ---- all of it ---------------------------------------------------------------------------------------------------------- */

enum joulet_status accounts_open(struct accounts **out, struct joulet_error *err)
{
    struct accounts *a = calloc(1, sizeof *a);
    *out = a;
    if (!a)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    pthread_mutex_init(&a->lock, NULL);
    for (size_t i = 0; i < HEADS; i++)
        a->heads[i] = EMPTY;
    sums_init(&a->total);
    return jl_ok(err);
}

void accounts_close(struct accounts *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->n_names; i++)
        free(a->names[i].text);
    pthread_mutex_destroy(&a->lock);
    free(a);
}
