/* usage.c - see usage.h. Requests are read one by one and added to the sums of their names; grams and money are made with the
 * factors of the quarter of an hour in which each began. */
#include "report/usage.h"

#include "lib/platform/platform.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOWHERE SIZE_MAX
#define DAY_S   86400

static const char *const words[USAGE_DIMENSIONS] = {"model", "client", "tag", "session", "upstream", "day"};

enum usage_by usage_by_name(const char *word)
{
    size_t i = 0;
    while (i < USAGE_DIMENSIONS && strcmp(words[i], word) != 0)
        i++;
    return (enum usage_by)i;
}

const char *usage_by_word(enum usage_by by)
{
    return words[by];
}

/* ---- rows --------------------------------------------------------------------------------------------------------------- */

static void sums_init(struct usage_sums *s)
{
    static const struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;
    *s = (struct usage_sums){.energy = unknown, .load = unknown, .prefill = unknown, .decode = unknown};
}

/* "2026-11-22" where the machine is. */
static void day_of(int64_t wall_ns, int64_t utc_offset_s, char *out, size_t size)
{
    char time[40];
    jl_format_time(time, sizeof time, wall_ns + utc_offset_s * JL_NS_PER_S);
    snprintf(out, size, "%.10s", time);
}

static const char *name_of(const struct usage *u, enum usage_by by, const struct store_proxied *q, char day[16])
{
    const char *name = NULL;
    switch (by) {
    case USAGE_MODEL:
        name = q->model;
        break;
    case USAGE_CLIENT:
        name = q->client;
        break;
    case USAGE_TAG:
        name = q->client && jl_starts(q->client, "tag:") ? q->client + 4 : NULL;
        break;
    case USAGE_SESSION:
        name = q->session;
        break;
    case USAGE_UPSTREAM:
        name = q->upstream;
        break;
    default:
        day_of(q->wall_ns, u->w.utc_offset_s, day, 16);
        name = day;
    }
    return name ? name : "-";
}

static size_t hash_of(const char *const *names, size_t n)
{
    uint64_t h = 1469598103934665603u; /* FNV-1a */
    for (size_t i = 0; i < n; i++)
        for (const char *p = names[i];; p++) {
            h = (h ^ (unsigned char)*p) * 1099511628211u;
            if (!*p)
                break;
        }
    return h % JL_COUNT(((struct usage *)0)->heads);
}

static bool has_names(const struct usage_row *r, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(r->names[i], names[i]) != 0)
            return false;
    return true;
}

static struct usage_row *new_row(struct usage *u, const char *const *names, size_t head)
{
    if (u->n == u->cap) {
        size_t cap = u->cap ? 2 * u->cap : 64;
        struct usage_row *grown = realloc(u->rows, cap * sizeof *grown);
        if (!grown)
            return NULL;
        u->rows = grown;
        u->cap = cap;
    }
    struct usage_row *r = &u->rows[u->n];
    *r = (struct usage_row){.next = u->heads[head]};
    sums_init(&r->s);
    u->heads[head] = u->n++; /* released with the rest, whatever is missing of it */
    for (size_t i = 0; i < u->w.n_by; i++)
        if (!(r->names[i] = jl_strdup(names[i])))
            return NULL;
    return r;
}

static struct usage_row *find_row(struct usage *u, const char *const *names)
{
    size_t head = hash_of(names, u->w.n_by);
    for (size_t i = u->heads[head]; i != NOWHERE; i = u->rows[i].next)
        if (has_names(&u->rows[i], names, u->w.n_by))
            return &u->rows[i];
    return new_row(u, names, head);
}

static struct usage_row *row_of(struct usage *u, const struct store_proxied *q)
{
    char day[16];
    const char *names[USAGE_DIMENSIONS], *others[USAGE_DIMENSIONS];
    for (size_t i = 0; i < u->w.n_by; i++) {
        names[i] = name_of(u, u->w.by[i], q, day);
        others[i] = "other";
    }
    return find_row(u, u->n + 1 < USAGE_ROWS_MAX ? names : others);
}

/* ---- sums --------------------------------------------------------------------------------------------------------------- */

static void add_count(int64_t *sum, int64_t n)
{
    *sum += n > 0 ? n : 0;
}

static void add_amounts(double *emissions_g, double *cost, const struct carbon_factors *f, double j)
{
    struct carbon_amounts a;
    carbon_amounts_of(f, j, NAN, &a);
    *emissions_g += a.emissions_g;
    *cost += a.energy_cost;
}

/* What loads a model on demand alone is all load. */
static void add_phases(struct usage_sums *s, const struct store_proxied *q)
{
    bool load = q->kind && strcmp(q->kind, "load") == 0;
    if (load && !isnan(q->energy.gross_j))
        joulet_energy_chain(&s->load, &q->energy);
    if (!isnan(q->prefill.gross_j))
        joulet_energy_chain(&s->prefill, &q->prefill);
    if (!isnan(q->decode.gross_j))
        joulet_energy_chain(&s->decode, &q->decode);
    s->without_phases += !load && !isnan(q->energy.gross_j) && isnan(q->prefill.gross_j) && isnan(q->decode.gross_j);
}

static void add_request(struct usage_sums *s, const struct store_proxied *q, const struct carbon_factors *f)
{
    bool known = !isnan(q->energy.gross_j);
    s->requests++;
    s->failed += q->failed;
    s->provisional += !q->final;
    s->without_energy += !known;
    s->without_tokens += q->tokens.prompt < 0 && q->tokens.generated < 0;
    s->counted += q->counted;
    add_count(&s->tokens_in, q->tokens.prompt);
    add_count(&s->tokens_cached, q->tokens.cached);
    add_count(&s->tokens_out, q->tokens.generated);
    joulet_energy_chain(&s->energy, &q->energy);
    add_phases(s, q);
    s->seconds += q->duration_s > 0 ? q->duration_s : 0;
    if (known)
        add_amounts(&s->emissions_g, &s->cost, f, q->energy.gross_j);
}

static void count_request(struct usage *u, const struct store_proxied *q)
{
    struct carbon_factors f;
    carbon_clock_at(u->clock, q->wall_ns, q->end_wall_ns > q->wall_ns ? q->end_wall_ns : q->wall_ns + 1, &f);
    if (!u->first_ns || q->wall_ns < u->first_ns)
        u->first_ns = q->wall_ns;
    u->last_ns = q->wall_ns > u->last_ns ? q->wall_ns : u->last_ns;
    add_request(&u->total, q, &f);
    struct usage_row *r = row_of(u, q);
    if (r)
        add_request(&r->s, q, &f);
    u->failed |= !r;
}

static int compare_ids(const void *a, const void *b)
{
    return strncmp(a, b, sizeof *((struct usage *)0)->added);
}

static bool on_request(void *user, const struct store_proxied *q)
{
    struct usage *u = user;
    char id[sizeof *u->added] = "";
    snprintf(id, sizeof id, "%s", q->id);
    if (!u->n_added || !bsearch(id, u->added, u->n_added, sizeof *u->added, compare_ids))
        count_request(u, q);
    return !u->failed;
}

void usage_add(struct usage *u, const struct store_proxied *q)
{
    if (u->n_added == u->cap_added) {
        size_t cap = u->cap_added ? 2 * u->cap_added : 64;
        void *grown = realloc(u->added, cap * sizeof *u->added);
        u->failed |= !grown;
        if (!grown)
            return;
        u->added = grown;
        u->cap_added = cap;
    }
    snprintf(u->added[u->n_added++], sizeof *u->added, "%s", q->id);
    if (q->wall_ns >= u->w.since_ns && (!u->w.until_ns || q->wall_ns < u->w.until_ns))
        count_request(u, q);
}

static void add_line(struct usage_line *l, const struct carbon_factors *f, double j)
{
    l->j += j;
    add_amounts(&l->emissions_g, &l->cost, f, j);
}

void usage_add_account(struct usage *u, const struct store_account *a)
{
    struct carbon_factors f;
    carbon_clock_at(u->clock, a->from_wall_ns, a->to_wall_ns > a->from_wall_ns ? a->to_wall_ns : a->from_wall_ns + 1, &f);
    u->measured_known = true;
    add_line(&u->measured, &f, a->j.measured_j);
    add_line(&u->vacant, &f, a->j.vacant_j);
    add_line(&u->keep_alive, &f, a->j.keep_alive_j);
    add_line(&u->other, &f, a->j.other_j);
    add_line(&u->residual, &f, a->j.residual_j);
    add_line(&u->idle_device, &f, a->j.idle_device_j);
    add_line(&u->unlisted, &f, a->j.requests_j + a->j.idle_shares_j);
    u->unmeasured_s += a->unmeasured_s;
    u->shared_s += a->shared_s;
}

static bool on_account(void *user, const struct store_account *a)
{
    usage_add_account(user, a);
    return true;
}

/* By energy, days by time; what is not known last. */
static int compare_rows(const void *a, const void *b)
{
    const struct usage_row *x = a, *y = b;
    double p = x->s.energy.gross_j, q = y->s.energy.gross_j;
    p = isnan(p) ? -1 : p;
    q = isnan(q) ? -1 : q;
    if (p != q)
        return p < q ? 1 : -1;
    return x->s.requests < y->s.requests ? 1 : x->s.requests > y->s.requests ? -1 : 0;
}

static int compare_days(const void *a, const void *b)
{
    int order = strcmp(((const struct usage_row *)a)->names[0], ((const struct usage_row *)b)->names[0]);
    return order ? order : compare_rows(a, b);
}

/* Nothing was measured: then nothing was emitted that is known. */
static void settle(struct usage_sums *s)
{
    if (isnan(s->energy.gross_j))
        s->emissions_g = s->cost = NAN;
}

static struct usage_line times(const struct usage_line *l, double part)
{
    return (struct usage_line){l->j * part, l->emissions_g * part, l->cost * part};
}

static void take_off(struct usage_line *l, const struct usage_line *part)
{
    l->j -= part->j;
    l->emissions_g -= part->emissions_g;
    l->cost -= part->cost;
}

/* What was measured for requests belongs to those in rows first. They may have more: a provisional figure is partly the model's,
 * and accounts end at a quarter of an hour where requests go on. That is in no account, and no line is negative for it. */
static void split_listed(struct usage *u)
{
    struct usage_line rows = {u->total.energy.gross_j, u->total.emissions_g, u->total.cost};
    if (isnan(rows.j))
        return;
    double part = rows.j > 0 ? fmax(0, fmin(1, u->unlisted.j / rows.j)) : 1;
    u->listed = times(&rows, part);
    u->beyond = times(&rows, 1 - part);
    take_off(&u->unlisted, &u->listed);
}

static void finish(struct usage *u)
{
    settle(&u->total);
    for (size_t i = 0; i < u->n; i++)
        settle(&u->rows[i].s);
    bool days = u->w.n_by && u->w.by[0] == USAGE_DAY;
    if (u->n)
        qsort(u->rows, u->n, sizeof *u->rows, days ? compare_days : compare_rows);
    split_listed(u);
}

enum joulet_status usage_begin(struct usage *u, const struct usage_wanted *w, struct joulet_error *err)
{
    *u = (struct usage){.w = *w};
    sums_init(&u->total);
    for (size_t i = 0; i < JL_COUNT(u->heads); i++)
        u->heads[i] = NOWHERE;
    u->clock = carbon_clock_open(w->factors);
    return u->clock ? jl_ok(err) : jl_fail(err, JOULET_MEMORY, "out of memory");
}

enum joulet_status usage_finish(struct usage *u, struct store *s, struct joulet_error *err)
{
    struct store_wanted times = {.since_ns = u->w.since_ns, .until_ns = u->w.until_ns};
    if (u->n_added)
        qsort(u->added, u->n_added, sizeof *u->added, compare_ids);
    enum joulet_status st = store_each_proxied(s, &times, false, on_request, u, err);
    if (st == JOULET_OK)
        st = store_each_account(s, &times, on_account, u, err);
    if (st == JOULET_OK && u->failed)
        st = jl_fail(err, JOULET_MEMORY, "out of memory");
    if (st == JOULET_OK)
        finish(u);
    return st;
}

enum joulet_status usage_read(struct usage *u, struct store *s, const struct usage_wanted *w, struct joulet_error *err)
{
    enum joulet_status st = usage_begin(u, w, err);
    if (st == JOULET_OK)
        st = usage_finish(u, s, err);
    if (st != JOULET_OK)
        usage_release(u);
    return st;
}

void usage_release(struct usage *u)
{
    for (size_t i = 0; i < u->n; i++)
        for (size_t k = 0; k < u->w.n_by; k++)
            free(u->rows[i].names[k]);
    free(u->rows);
    free(u->added);
    carbon_clock_close(u->clock);
    u->rows = NULL;
    u->added = NULL;
    u->clock = NULL;
    u->n = u->n_added = 0;
}
