/* estimate_file.c - sets of coefficients as small text files below sets/ of the data folder (docs/estimates.md): rows of a key
 * and a value, then a table with a row for each model. What cannot be right is refused with the reason: an estimate is wide
 * enough without a slip of the pen. */
#include "report/estimate.h"

#include "lib/platform/platform.h"
#include "report/estimate_private.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORM_VERSION 1
#define FILE_MAX     ((size_t)16 << 20)
#define J_MAX        1e9 /* of one coefficient: no token costs a gigajoule */
#define FACTOR_MAX   1000.0
#define COVARIANCES  15
#define TEXT_MAX     1000

const char *estimate_origin_name(enum estimate_origin o)
{
    static const char *const names[] = {"fit", "custom", "published"};
    return (unsigned)o < JL_COUNT(names) ? names[o] : NULL;
}

void estimate_set_init(struct estimate_set *s, const char *name, enum estimate_origin origin)
{
    *s = (struct estimate_set){.origin = origin, .f_lo = NAN, .f_hi = NAN, .gain_lo = NAN, .gain_hi = NAN, .net = true};
    snprintf(s->name, sizeof s->name, "%s", name);
    s->source = jl_strdup("");
}

void estimate_set_release(struct estimate_set *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->models[i].name);
    free(s->models);
    free(s->source);
    free(s->boundary);
    free(s->date);
    free(s->machine);
    free(s->host);
    free(s->sensor);
    *s = (struct estimate_set){0};
}

struct estimate_model *estimate_set_add(struct estimate_set *s, const struct estimate_model *m)
{
    if ((s->n & (s->n - 1)) == 0) { /* powers of two: room for twice as many */
        struct estimate_model *grown = realloc(s->models, (s->n ? 2 * s->n : 1) * sizeof *grown);
        if (!grown)
            return NULL;
        s->models = grown;
    }
    char *name = jl_strdup(m->name);
    if (!name)
        return NULL;
    s->models[s->n] = *m;
    s->models[s->n].name = name;
    return &s->models[s->n++];
}

/* ---- the head ---------------------------------------------------------------------------------------------------- */

static const struct {
    const char *key;
    size_t at;
} texts[] = {
    {"source", offsetof(struct estimate_set, source)},   {"date", offsetof(struct estimate_set, date)},
    {"machine", offsetof(struct estimate_set, machine)}, {"host", offsetof(struct estimate_set, host)},
    {"sensor", offsetof(struct estimate_set, sensor)},   {"boundary", offsetof(struct estimate_set, boundary)},
};

static char **text_at(const struct estimate_set *s, size_t i)
{
    return (char **)(void *)((char *)(uintptr_t)s + texts[i].at);
}

struct parser {
    struct estimate_set *set;
    struct jl_csv csv;
    const char *name;
    size_t row;
    bool origin, basis;
    int column[JOULET_COEFFICIENTS + COVARIANCES]; /* of each coefficient and covariance; -1 missing */
    struct joulet_error *err;
};

#define FAIL(p, ...) jl_fail((p)->err, JOULET_FORMAT, __VA_ARGS__)

static enum joulet_status read_version(struct parser *p)
{
    int64_t version = 0;
    if (!jl_csv_next(&p->csv) || strcmp(p->csv.fields[0], "joulet-set") || p->csv.n < 2 ||
        !jl_parse_i64(p->csv.fields[1], &version) || version < 1)
        return FAIL(p, "%s is no set of coefficients: its first line would be joulet-set,1", p->name);
    if (version > FORM_VERSION)
        return jl_fail(p->err, JOULET_NEWER, "%s is a set of form %lld, from a newer joulet; this one reads form %d", p->name,
                       (long long)version, FORM_VERSION);
    p->row = 1;
    return JOULET_OK;
}

/* "fit" or "custom"; "net" or "gross". */
static enum joulet_status read_choice(struct parser *p, const char *key, const char *value)
{
    bool origin = !strcmp(key, "origin");
    const char *a = origin ? "fit" : "net", *b = origin ? "custom" : "gross";
    if (strcmp(value, a) && strcmp(value, b))
        return FAIL(p, "%s: row %zu: %s is '%.40s', not %s or %s", p->name, p->row, key, value, a, b);
    if (origin)
        p->set->origin = !strcmp(value, "fit") ? ESTIMATE_FIT : ESTIMATE_CUSTOM;
    else
        p->set->net = !strcmp(value, "net");
    *(origin ? &p->origin : &p->basis) = true;
    return JOULET_OK;
}

/* Ends of an interval around 1. */
static const struct {
    const char *key;
    size_t at;
    bool above;
} ends[] = {
    {"factor_lo", offsetof(struct estimate_set, f_lo), false},
    {"factor_hi", offsetof(struct estimate_set, f_hi), true},
    {"gain_lo", offsetof(struct estimate_set, gain_lo), false},
    {"gain_hi", offsetof(struct estimate_set, gain_hi), true},
};

static enum joulet_status read_end(struct parser *p, size_t i, const char *value)
{
    double *out = (double *)(void *)((char *)p->set + ends[i].at), lo = ends[i].above ? 1 : 1 / FACTOR_MAX;
    double hi = ends[i].above ? FACTOR_MAX : 1;
    if (!jl_parse_double(value, out) || *out < lo || *out > hi)
        return FAIL(p, "%s: row %zu: '%.40s' is no end of estimate/truth: %s lies in %g to %g", p->name, p->row, value,
                    ends[i].key, lo, hi);
    return JOULET_OK;
}

static enum joulet_status read_provenance(struct parser *p, const char *value)
{
    for (unsigned i = JOULET_MEASURED; i <= JOULET_SIMULATED; i++)
        if (!strcmp(value, joulet_provenance_name((enum joulet_provenance)i))) {
            p->set->provenance = (enum joulet_provenance)i;
            p->set->provenance_known = true;
            return JOULET_OK;
        }
    return FAIL(p, "%s: row %zu: '%.40s' is no provenance: it is measured, derived, estimated, imported or simulated", p->name,
                p->row, value);
}

static enum joulet_status read_head_row(struct parser *p)
{
    const char *key = p->csv.fields[0], *value = p->csv.n > 1 ? p->csv.fields[1] : "";
    if (!strcmp(key, "origin") || !strcmp(key, "basis"))
        return read_choice(p, key, value);
    if (!strcmp(key, "provenance"))
        return read_provenance(p, value);
    for (size_t i = 0; i < JL_COUNT(ends); i++)
        if (!strcmp(key, ends[i].key))
            return read_end(p, i, value);
    for (size_t i = 0; i < JL_COUNT(texts); i++) {
        if (strcmp(key, texts[i].key))
            continue;
        if (strlen(value) > TEXT_MAX)
            return FAIL(p, "%s: row %zu: %s is longer than %d characters", p->name, p->row, key, TEXT_MAX);
        char *copy = jl_strdup(value);
        free(*text_at(p->set, i));
        *text_at(p->set, i) = copy;
        return copy ? JOULET_OK : jl_fail(p->err, JOULET_MEMORY, "out of memory for the set %s", p->name);
    }
    return FAIL(p, "%s: row %zu: '%.40s' is nothing that a set has", p->name, p->row, key);
}

static enum joulet_status check_head(struct parser *p)
{
    const char *missing = !p->origin ? "origin" : !p->basis ? "basis" : !*p->set->source ? "source" : NULL;
    if (missing)
        return FAIL(p, "%s does not say its %s", p->name, missing);
    if (isnan(p->set->f_lo) != isnan(p->set->f_hi))
        return FAIL(p, "%s has one of factor_lo and factor_hi: an interval has two ends", p->name);
    if (isnan(p->set->gain_lo) != isnan(p->set->gain_hi))
        return FAIL(p, "%s has one of gain_lo and gain_hi: an interval has two ends", p->name);
    return JOULET_OK;
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

/* Name of column i after the model: a coefficient, or the covariance of two. */
static void column_name(char *out, size_t size, size_t i, unsigned *a, unsigned *b)
{
    *a = *b = (unsigned)i;
    if (i < JOULET_COEFFICIENTS) {
        snprintf(out, size, "%s", joulet_coefficient_name((unsigned)i));
        return;
    }
    size_t k = i - JOULET_COEFFICIENTS;
    for (*a = 0; k >= JOULET_COEFFICIENTS - *a; ++*a)
        k -= JOULET_COEFFICIENTS - *a;
    *b = *a + (unsigned)k;
    snprintf(out, size, "cov_%s_%s", joulet_coefficient_name(*a), joulet_coefficient_name(*b));
}

static enum joulet_status read_columns(struct parser *p)
{
    char name[32];
    unsigned a, b, covariances = 0, coefficients = 0;
    for (size_t i = 0; i < JL_COUNT(p->column); i++)
        p->column[i] = -1;
    for (size_t k = 1; k < p->csv.n; k++) {
        size_t i = 0;
        for (; i < JL_COUNT(p->column); i++) {
            column_name(name, sizeof name, i, &a, &b);
            if (!strcmp(p->csv.fields[k], name))
                break;
        }
        if (i == JL_COUNT(p->column) || p->column[i] >= 0)
            return FAIL(p, "%s: row %zu: the column '%.40s' is unknown or there twice", p->name, p->row, p->csv.fields[k]);
        p->column[i] = (int)k;
        *(i < JOULET_COEFFICIENTS ? &coefficients : &covariances) += 1;
    }
    if (!coefficients)
        return FAIL(p, "%s has no column of coefficients: e0, e_in, e_q, e_out, e_x", p->name);
    if (covariances && covariances != COVARIANCES)
        return FAIL(p, "%s has %u of the %d covariances: give all or none", p->name, covariances, COVARIANCES);
    return JOULET_OK;
}

static enum joulet_status read_number(struct parser *p, size_t i, double *out)
{
    const char *text = p->csv.fields[p->column[i]];
    if (*text && (!jl_parse_double(text, out) || fabs(*out) > (i < JOULET_COEFFICIENTS ? J_MAX : J_MAX * J_MAX)))
        return FAIL(p, "%s: row %zu: '%.40s' is no number that can be", p->name, p->row, text);
    return JOULET_OK;
}

static enum joulet_status check_model(struct parser *p, const struct estimate_model *m)
{
    const double *e = m->c.e;
    if (!*m->name || strlen(m->name) > TEXT_MAX)
        return FAIL(p, "%s: row %zu has no model, or one with too long a name", p->name, p->row);
    if (e[JOULET_E_IN] < 0 || e[JOULET_E_OUT] < 0)
        return FAIL(p, "%s: row %zu: a token of %.60s would give energy back", p->name, p->row, m->name);
    if (!(e[JOULET_E_IN] > 0) && !(e[JOULET_E_OUT] > 0) && !(e[JOULET_E0] > 0))
        return FAIL(p, "%s: row %zu: %.60s would need no energy at all", p->name, p->row, m->name);
    for (int i = 0; i < JOULET_COEFFICIENTS; i++)
        for (int k = 0; k < JOULET_COEFFICIENTS; k++)
            if (m->c.cov[i][i] < 0 || m->c.cov[i][k] * m->c.cov[i][k] > 1.0001 * m->c.cov[i][i] * m->c.cov[k][k])
                return FAIL(p, "%s: row %zu: the covariances of %.60s cannot be", p->name, p->row, m->name);
    for (size_t i = 0; i < p->set->n; i++)
        if (!strcmp(p->set->models[i].name, m->name))
            return FAIL(p, "%s: row %zu: %.60s is there twice", p->name, p->row, m->name);
    return JOULET_OK;
}

static enum joulet_status read_model(struct parser *p)
{
    struct estimate_model m = {.name = p->csv.fields[0]};
    for (size_t i = 0; i < JL_COUNT(p->column); i++) {
        char name[32];
        unsigned a, b;
        double x = 0;
        if (p->column[i] < 0)
            continue;
        if ((size_t)p->column[i] >= p->csv.n)
            return FAIL(p, "%s: row %zu has fewer values than there are columns", p->name, p->row);
        if (read_number(p, i, &x) != JOULET_OK)
            return JOULET_FORMAT;
        column_name(name, sizeof name, i, &a, &b);
        if (i < JOULET_COEFFICIENTS)
            m.c.e[i] = x;
        else
            m.c.cov[a][b] = m.c.cov[b][a] = x;
    }
    if (check_model(p, &m) != JOULET_OK)
        return JOULET_FORMAT;
    if (p->set->n == ESTIMATE_MODELS_MAX)
        return jl_fail(p->err, JOULET_LIMIT, "%s has more than %d models", p->name, ESTIMATE_MODELS_MAX);
    return estimate_set_add(p->set, &m) ? JOULET_OK : jl_fail(p->err, JOULET_MEMORY, "out of memory for the set %s", p->name);
}

static enum joulet_status read_rows(struct parser *p)
{
    bool table = false;
    enum joulet_status st = read_version(p);
    while (st == JOULET_OK && jl_csv_next(&p->csv)) {
        p->row++;
        if (table) {
            st = read_model(p);
        } else if (!strcmp(p->csv.fields[0], "model")) {
            table = true;
            st = check_head(p);
            st = st == JOULET_OK ? read_columns(p) : st;
        } else {
            st = read_head_row(p);
        }
    }
    if (st == JOULET_OK && p->csv.text.failed)
        st = FAIL(p, "%s: a row is too long to be read", p->name);
    if (st == JOULET_OK && !p->set->n)
        st = FAIL(p, "%s is empty: a set has at least one model, after a row that begins with model", p->name);
    return st;
}

enum joulet_status estimate_set_parse(struct estimate_set *s, const char *name, const char *text, size_t n,
                                      struct joulet_error *err)
{
    struct joulet_error ours = {0};
    struct parser p = {.set = s, .name = name, .err = err ? err : &ours};
    estimate_set_init(s, name, ESTIMATE_CUSTOM);
    if (memchr(text, '\0', n))
        return estimate_set_release(s), FAIL(&p, "%s is not a text file", name);
    jl_csv_init(&p.csv, text, n);
    enum joulet_status st = read_rows(&p);
    jl_csv_release(&p.csv);
    if (st != JOULET_OK)
        estimate_set_release(s);
    return st == JOULET_OK ? jl_ok(err) : st;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static void put_text(struct jl_buf *out, const char *key, const char *text)
{
    jl_buf_printf(out, "%s,\"", key);
    for (; *text; text++)
        jl_buf_add(out, *text == '"' ? "\"\"" : iscntrl((unsigned char)*text) ? " " : text, *text == '"' ? 2 : 1);
    jl_buf_str(out, "\"\n");
}

static void put_models(struct jl_buf *out, const struct estimate_set *s)
{
    char name[32];
    unsigned a, b;
    jl_buf_str(out, "model");
    for (size_t i = 0; i < JOULET_COEFFICIENTS + COVARIANCES; i++) {
        column_name(name, sizeof name, i, &a, &b);
        jl_buf_printf(out, ",%s", name);
    }
    for (size_t k = 0; k < s->n; k++) {
        const struct estimate_model *m = &s->models[k];
        struct jl_buf quoted;
        jl_buf_init(&quoted, 2 * TEXT_MAX + 16);
        put_text(&quoted, "", m->name);
        jl_buf_printf(out, "\n%.*s", quoted.len > 2 ? (int)quoted.len - 2 : 0, quoted.len > 2 ? quoted.data + 1 : "");
        jl_buf_release(&quoted);
        for (size_t i = 0; i < JOULET_COEFFICIENTS + COVARIANCES; i++) {
            column_name(name, sizeof name, i, &a, &b);
            jl_buf_printf(out, ",%.15g", i < JOULET_COEFFICIENTS ? m->c.e[i] : m->c.cov[a][b]);
        }
    }
    jl_buf_str(out, "\n");
}

enum joulet_status estimate_set_text(const struct estimate_set *s, struct jl_buf *out, struct joulet_error *err)
{
    jl_buf_printf(out, "joulet-set,%d\norigin,%s\nbasis,%s\n", FORM_VERSION, s->origin == ESTIMATE_FIT ? "fit" : "custom",
                  s->net ? "net" : "gross");
    for (size_t i = 0; i < JL_COUNT(texts); i++)
        if (*text_at(s, i) && **text_at(s, i))
            put_text(out, texts[i].key, *text_at(s, i));
    if (s->provenance_known)
        jl_buf_printf(out, "provenance,%s\n", joulet_provenance_name(s->provenance));
    if (!isnan(s->gain_lo) && !isnan(s->gain_hi))
        jl_buf_printf(out, "gain_lo,%.15g\ngain_hi,%.15g\n", s->gain_lo, s->gain_hi);
    if (!isnan(s->f_lo) && !isnan(s->f_hi))
        jl_buf_printf(out, "factor_lo,%.15g\nfactor_hi,%.15g\n", s->f_lo, s->f_hi);
    put_models(out, s);
    return out->failed ? jl_fail(err, JOULET_MEMORY, "out of memory for the set %s", s->name) : jl_ok(err);
}

/* ---- the folder -------------------------------------------------------------------------------------------------- */

static bool name_good(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("-_.", name[i]))
            return false;
    return n > 0 && n < ESTIMATE_NAME_SIZE && name[0] != '.' && name[0] != '-';
}

static char *path_of(const char *name, struct joulet_error *err)
{
    char *folder = jl_data_dir(err),
         *path = folder ? jl_strf("%s/sets%s%s%s", folder, *name ? "/" : "", name, *name ? ".csv" : "") : NULL;
    free(folder);
    return path;
}

static enum joulet_status check_name(const char *name, struct joulet_error *err)
{
    if (!name_good(name))
        return jl_fail(err, JOULET_USAGE, "'%.80s' cannot be the name of a set: letters, digits, '-', '_' and '.', %d at most",
                       name, ESTIMATE_NAME_SIZE - 1);
    if (estimate_is_published(name))
        return jl_fail(err, JOULET_USAGE, "the set %s is part of joulet and stays as it is; choose another name", name);
    return JOULET_OK;
}

enum joulet_status estimate_set_save(const struct estimate_set *s, bool replace, struct joulet_error *err)
{
    struct estimate_set again;
    struct jl_buf b;
    char text[8];
    if (check_name(s->name, err) != JOULET_OK)
        return JOULET_USAGE;
    char *folder = path_of("", err), *path = path_of(s->name, err);
    enum joulet_status st = folder && path ? jl_make_dirs(folder, err) : JOULET_MEMORY;
    if (st == JOULET_OK && !replace && jl_read_text(path, text, sizeof text, NULL) != JOULET_NOT_FOUND)
        st = jl_fail(err, JOULET_USAGE, "there is a set %s already: choose another name, or replace it with --force", s->name);
    jl_buf_init(&b, FILE_MAX);
    if (st == JOULET_OK)
        st = estimate_set_text(s, &b, err);
    if (st == JOULET_OK) /* what could not be read again is not written */
        st = estimate_set_parse(&again, s->name, b.data, b.len, err);
    if (st == JOULET_OK) {
        estimate_set_release(&again);
        st = jl_write_file(path, b.data, b.len, 0644, err);
    }
    jl_buf_release(&b);
    free(folder);
    free(path);
    return st;
}

static enum joulet_status not_there(const char *name, struct joulet_error *err)
{
    char **names;
    size_t n;
    struct jl_buf b;
    jl_buf_init(&b, 2000);
    jl_buf_str(&b, "");
    if (estimate_set_names(&names, &n, NULL) == JOULET_OK) {
        for (size_t i = 0; i < n; i++)
            jl_buf_printf(&b, "%s%s", i ? ", " : "", names[i]);
        jl_free_list(names, n);
    }
    jl_fail(err, JOULET_NOT_FOUND, "there is no set \"%.80s\"; there are %s", name, b.data ? b.data : "");
    jl_buf_release(&b);
    return JOULET_NOT_FOUND;
}

enum joulet_status estimate_set_load(struct estimate_set *s, const char *name, struct joulet_error *err)
{
    struct jl_buf b;
    *s = (struct estimate_set){0};
    if (estimate_is_published(name))
        return estimate_published(s, name, err);
    char *path = name_good(name) ? path_of(name, err) : NULL;
    if (!path)
        return not_there(name, err);
    jl_buf_init(&b, FILE_MAX);
    enum joulet_status st = jl_read_file(path, &b, err);
    if (st == JOULET_OK)
        st = estimate_set_parse(s, path, b.data ? b.data : "", b.len, err);
    else if (st == JOULET_NOT_FOUND)
        st = not_there(name, err);
    if (st == JOULET_OK)
        snprintf(s->name, sizeof s->name, "%s", name);
    jl_buf_release(&b);
    free(path);
    return st;
}

enum joulet_status estimate_set_delete(const char *name, struct joulet_error *err)
{
    struct joulet_error why;
    if (estimate_is_published(name))
        return check_name(name, err);
    char *path = name_good(name) ? path_of(name, err) : NULL;
    enum joulet_status st = path && remove(path) == 0 ? jl_ok(err) : not_there(name, &why);
    if (st != JOULET_OK && err)
        *err = why;
    free(path);
    return st;
}

enum joulet_status estimate_set_names(char ***names, size_t *n, struct joulet_error *err)
{
    char *folder = path_of("", err), **files = NULL, **out;
    size_t n_files = 0, k = 0;
    *names = NULL;
    *n = 0;
    if (!folder)
        return err ? err->status : JOULET_IO;
    jl_list_dir(folder, &files, &n_files, NULL); /* none yet is fine */
    free(folder);
    out = calloc(n_files + ESTIMATE_PUBLISHED_SETS + 1, sizeof *out);
    for (size_t i = 0; out && i < n_files; i++) {
        size_t len = strlen(files[i]);
        if (len > 4 && !strcmp(files[i] + len - 4, ".csv")) {
            out[k] = jl_strf("%.*s", (int)len - 4, files[i]);
            k += out[k] && name_good(out[k]) && !estimate_is_published(out[k]) ? 1 : (free(out[k]), 0);
        }
    }
    jl_free_list(files, n_files);
    if (!out)
        return jl_fail(err, JOULET_MEMORY, "out of memory for the names of sets");
    for (size_t i = 0; i < ESTIMATE_PUBLISHED_SETS; i++)
        out[k++] = jl_strdup(estimate_published_name(i));
    *names = out;
    *n = k;
    return jl_ok(err);
}
