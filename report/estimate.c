/* estimate.c - finds a model in a set and applies the set to a request or a record (docs/method.md 10, docs/estimates.md). */
#include "report/estimate.h"

#include "lib/platform/platform.h"
#include "report/internal.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX  24
#define WORD_MAX   24
#define NEAR_MAX   8     /* candidates in a sentence */
#define GAIN_USUAL 1.062 /* end of figure/truth of a sensor of 5 %, k = 2 */

/* ---- names ------------------------------------------------------------------------------------------------------- */

struct words {
    char word[WORDS_MAX][WORD_MAX];
    size_t n;
};

/* "q4_0" and "iq3_xs" come apart as "q4", "0" and "iq3", "xs": what follows the first is part of it. */
static bool quantisation(const char *w)
{
    static const char *const types[] = {"f16", "f32", "bf16", "fp16", "fp8", "int8", "int4", "gguf", "awq", "gptq"};
    for (size_t i = 0; i < JL_COUNT(types); i++)
        if (!strcmp(w, types[i]))
            return true;
    w += w[0] == 'i';
    return w[0] == 'q' && isdigit((unsigned char)w[1]) && !w[2];
}

static bool filling(const char *w)
{
    static const char *const words[] = {"meta", "hf", "model", "latest"};
    for (size_t i = 0; i < JL_COUNT(words); i++)
        if (!strcmp(w, words[i]))
            return true;
    return false;
}

/* Words in lower case without the maker before a slash, without quantisation: "meta-llama/Meta-Llama-3.1-8B" is llama 3.1 8b. */
static void split(struct words *w, const char *name)
{
    const char *slash = strrchr(name, '/');
    w->n = 0;
    for (const char *s = slash ? slash + 1 : name; *s && w->n < WORDS_MAX;) {
        size_t n = 0;
        for (; isalnum((unsigned char)*s) || (unsigned char)*s >= 0x80 ||
               (*s == '.' && n && isdigit((unsigned char)s[-1]) && isdigit((unsigned char)s[1]));
             s++)
            if (n + 1 < WORD_MAX)
                w->word[w->n][n++] = (char)tolower((unsigned char)*s);
        w->word[w->n][n] = '\0';
        if (n && quantisation(w->word[w->n]))
            break; /* nothing behind it names the model */
        if (n && !filling(w->word[w->n]))
            w->n++;
        s += *s != '\0' && !isalnum((unsigned char)*s) && (unsigned char)*s < 0x80;
    }
}

static void joined(const struct words *w, char *out, size_t size)
{
    out[0] = '\0';
    for (size_t i = 0; i < w->n; i++)
        snprintf(out + strlen(out), size - strlen(out), "%s", w->word[i]);
}

static bool same_model(const char *a, const char *b)
{
    struct words x, y;
    char p[WORDS_MAX * WORD_MAX], q[WORDS_MAX * WORD_MAX];
    split(&x, a);
    split(&y, b);
    joined(&x, p, sizeof p);
    joined(&y, q, sizeof q);
    return *p && !strcmp(p, q);
}

static bool has_word(const struct words *w, const char *word)
{
    for (size_t i = 0; i < w->n; i++)
        if (!strcmp(w->word[i], word))
            return true;
    return false;
}

static bool within(const struct words *part, const struct words *whole)
{
    for (size_t i = 0; i < part->n; i++)
        if (!has_word(whole, part->word[i]))
            return false;
    return part->n > 0;
}

static bool near(const char *a, const char *b)
{
    struct words x, y;
    split(&x, a);
    split(&y, b);
    return within(&x, &y) || within(&y, &x);
}

size_t estimate_model_in(const struct estimate_set *s, const char *model)
{
    size_t found = SIZE_MAX;
    for (size_t i = 0; i < s->n; i++)
        if (!strcmp(s->models[i].name, model))
            return i;
    for (size_t i = 0; i < s->n; i++)
        if (same_model(s->models[i].name, model)) {
            if (found != SIZE_MAX)
                return SIZE_MAX;
            found = i;
        }
    return found;
}

/* ---- among all sets ---------------------------------------------------------------------------------------------- */

struct search {
    const char *model;
    struct jl_buf near; /* names of candidates */
    size_t n_near;
    struct joulet_error unread; /* of a set that could not be read */
};

static void note_near(struct search *f, const struct estimate_set *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (near(s->models[i].name, f->model) && f->n_near++ < NEAR_MAX)
            jl_buf_printf(&f->near, "%s\"%s\" (%s)", f->near.len ? ", " : "", s->models[i].name, s->name);
}

static enum joulet_status none(const struct search *f, const char *set, struct joulet_error *err)
{
    const char *in = set ? set : "any set";
    if (f->n_near)
        return jl_fail(err, JOULET_NOT_FOUND, "\"%.80s\" is not in %s under that name; near it are %s%s: name one of them",
                       f->model, in, f->near.data, f->n_near > NEAR_MAX ? " and more" : "");
    if (f->unread.status != JOULET_OK)
        return jl_fail(err, f->unread.status, "%s", f->unread.message);
    return jl_fail(err, JOULET_NOT_FOUND,
                   "\"%.80s\" is not in %s: `joulet estimate sets show NAME` lists the models of a set, `joulet fit --save` and "
                   "`joulet estimate sets create` make one",
                   f->model, in);
}

/* Looks into one set; true when it is the first with the model, which then is *s. */
static bool look_into(struct search *f, const char *name, struct estimate_set *s, size_t *index, bool found, char *also,
                      size_t also_size)
{
    struct estimate_set one;
    struct joulet_error why;
    if (estimate_set_load(&one, name, &why) != JOULET_OK) {
        f->unread = why;
        return false;
    }
    size_t i = estimate_model_in(&one, f->model);
    if (i != SIZE_MAX && !found) {
        *s = one;
        *index = i;
        return true;
    }
    if (i != SIZE_MAX)
        snprintf(also + strlen(also), also_size - strlen(also), "%s%s", *also ? ", " : "", name);
    else
        note_near(f, &one);
    estimate_set_release(&one);
    return false;
}

enum joulet_status estimate_find(struct estimate_set *s, size_t *index, const char *set, const char *model, char *also,
                                 size_t also_size, struct joulet_error *err)
{
    struct search f = {.model = model, .unread = {.status = JOULET_OK}};
    char **names = NULL;
    size_t n = 0;
    bool found = false;
    enum joulet_status st = JOULET_OK;
    *also = '\0';
    jl_buf_init(&f.near, 4000);
    jl_buf_str(&f.near, "");
    if (set) {
        found = look_into(&f, set, s, index, false, also, also_size);
        if (!found && f.unread.status != JOULET_OK)
            f.n_near = 0;
    } else {
        st = estimate_set_names(&names, &n, err);
    }
    for (size_t i = 0; i < n; i++)
        found |= look_into(&f, names[i], s, index, found, also, also_size);
    jl_free_list(names, n);
    if (st == JOULET_OK && !found)
        st = none(&f, set, err);
    jl_buf_release(&f.near);
    return st;
}

/* ---- applying ---------------------------------------------------------------------------------------------------- */

bool estimate_of_here(const struct estimate_set *s, const char *host)
{
    return s->origin == ESTIMATE_FIT && (!s->host || !*s->host || (host && !strcmp(s->host, host)));
}

/* 0.91 to 1.10 holds the gain of a usual sensor (10); what is beyond that adds, half-widths as logarithms in quadrature. */
static double widen(double end, double gain)
{
    double usual = isnan(gain) ? 0 : log(gain < 1 ? 1 / GAIN_USUAL : GAIN_USUAL), more = isnan(gain) ? 0 : log(gain);
    double log_end = log(end), all = sqrt(log_end * log_end + fmax(0, more * more - usual * usual));
    return end < 1 ? exp(-all) : exp(all);
}

void estimate_factors(const struct estimate_set *s, const char *host, double *f_lo, double *f_hi)
{
    bool here = estimate_of_here(s, host);
    *f_lo = !isnan(s->f_lo) ? s->f_lo : here ? widen(0.91, s->gain_lo) : widen(0.5, s->gain_lo);
    *f_hi = !isnan(s->f_hi) ? s->f_hi : here ? widen(1.10, s->gain_hi) : widen(2, s->gain_hi);
}

static enum joulet_status predict(const struct estimate_model *m, double tokens_in, double tokens_out, double *energy_j,
                                  double *u_j, struct joulet_error *err)
{
    if (m->no_output)
        tokens_out = 0;
    if (isnan(tokens_out))
        return jl_fail(err, JOULET_USAGE, "this set needs the number of output tokens too");
    return m->n_workloads ? joulet_predict_between(m->workloads, m->n_workloads, tokens_in, tokens_out, energy_j, u_j, err)
                          : joulet_predict(&m->c, tokens_in, tokens_out, energy_j, u_j, err);
}

static void result_of(const struct estimate_set *s, size_t index, const char *host, struct estimate_result *out)
{
    static const struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;
    *out = (struct estimate_result){.set = s,
                                    .model = &s->models[index],
                                    .asked = s->models[index].name,
                                    .tokens_in = NAN,
                                    .tokens_out = NAN,
                                    .energy = unknown};
    out->here = estimate_of_here(s, host);
    estimate_factors(s, host, &out->f_lo, &out->f_hi);
}

enum joulet_status estimate_request(const struct estimate_set *s, size_t index, const char *host, double tokens_in,
                                    double tokens_out, struct estimate_result *out, struct joulet_error *err)
{
    double e, u;
    result_of(s, index, host, out);
    out->tokens_in = tokens_in;
    out->tokens_out = tokens_out;
    out->requests = 1;
    enum joulet_status st = predict(out->model, tokens_in, tokens_out, &e, &u, err);
    if (st == JOULET_OK)
        joulet_estimate(e, u, out->f_lo, out->f_hi, s->net, &out->energy);
    return st;
}

/* The error of a coefficient is the same in every request: uncertainties add up. */
enum joulet_status estimate_run(const struct estimate_set *s, size_t index, const struct run *r, struct estimate_result *out,
                                struct joulet_error *err)
{
    double sum = 0, sum_u = 0, e, u;
    result_of(s, index, run_pairs_get(&r->machine, "host"), out);
    out->tokens_in = out->tokens_out = 0;
    for (size_t i = 0; i < r->n_requests; i++) {
        const struct run_request *q = &r->requests[i];
        if (!counted(q))
            continue;
        if (q->tokens.prompt < 0 || (q->tokens.generated < 0 && !out->model->no_output)) {
            out->left_out++;
            continue;
        }
        double t_out = q->tokens.generated < 0 ? 0 : (double)q->tokens.generated;
        enum joulet_status st = predict(out->model, (double)q->tokens.prompt, t_out, &e, &u, err);
        if (st != JOULET_OK)
            return st;
        sum += e;
        sum_u += u;
        out->tokens_in += (double)q->tokens.prompt;
        out->tokens_out += t_out;
        out->requests++;
    }
    if (!out->requests)
        return jl_fail(err, JOULET_NO_DATA, "run %s has no successful request that tells its tokens, so nothing can be estimated",
                       r->id);
    joulet_estimate(sum, sum_u, out->f_lo, out->f_hi, s->net, &out->energy);
    return jl_ok(err);
}
