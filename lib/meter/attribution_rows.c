/* attribution_rows.c - what was learnt of an engine on a device as one line of text (7.5): its weights, and the sums they come
 * from, so that learning goes on where it ended. Numbers are written to the last bit, and read with distrust: the line was kept
 * by somebody else. */
#include "lib/meter/attribution.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD    "weights/1"
#define NUMBERS 22   /* weights, windows, off, rows, upper half of xx, xy, yy */
#define TRUST   0.25 /* of what was learnt before this engine started: the machine may have changed */

/* The numbers of a line, one after the other. */
static void each(struct joulet_sharing *s, double *out[NUMBERS])
{
    size_t n = 0;
    double *const first[] = {&s->w.b0_j, &s->w.bp_j, &s->w.bd_j, &s->w.bc_j, &s->busy_windows, &s->off_j, &s->learnt.rows};
    for (size_t i = 0; i < JL_COUNT(first); i++)
        out[n++] = first[i];
    for (size_t i = 0; i < SHARING_TERMS; i++)
        for (size_t j = 0; j <= i; j++)
            out[n++] = &s->learnt.xx[i][j];
    for (size_t i = 0; i < SHARING_TERMS; i++)
        out[n++] = &s->learnt.xy[i];
    out[n++] = &s->learnt.yy;
}

static struct joulet_sharing *ledger_of(const struct joulet_attribution *a, size_t engine, size_t device)
{
    if (engine >= a->n_engines)
        return NULL;
    const struct attribution_engine *e = &a->engines[engine];
    size_t i = attribution_index(e, a, device);
    return i < e->n_ledgers ? a->ledgers[e->ledgers[i]]->sharing : NULL;
}

enum joulet_status joulet_attribution_learnt(const struct joulet_attribution *a, size_t engine, size_t device, char *line,
                                             size_t size, struct joulet_weights *weights, struct joulet_error *err)
{
    struct joulet_sharing *s = ledger_of(a, engine, device);
    double *numbers[NUMBERS];
    if (!s)
        return attribution_no_such("engine on this device:", engine, err);
    if (weights)
        *weights = s->w;
    if (!line)
        return jl_ok(err);
    int n = snprintf(line, size, "%s%s", HEAD, s->in_joules ? "" : " none");
    each(s, numbers);
    for (size_t i = 0; s->in_joules && i < NUMBERS && n > 0 && (size_t)n < size; i++)
        n += snprintf(line + n, size - (size_t)n, " %.17g", *numbers[i]);
    if (n < 0 || (size_t)n >= size)
        return jl_fail(err, JOULET_LIMIT, "what was learnt of an engine takes more than %zu bytes: give %d", size,
                       JOULET_LEARNT_MAX);
    return jl_ok(err);
}

static bool read_numbers(const char *text, double out[NUMBERS])
{
    char word[40];
    for (size_t i = 0; i < NUMBERS; i++) {
        text += strspn(text, " ");
        size_t n = strcspn(text, " \n");
        if (n == 0 || n >= sizeof word)
            return false;
        memcpy(word, text, n);
        word[n] = '\0';
        if (!jl_parse_double(word, &out[i]) || fabs(out[i]) > 1e30)
            return false;
        text += n;
    }
    return text[strspn(text, " \n")] == '\0';
}

/* Weights are energies, windows and squares are counts: nothing of it below 0, and something above. */
static bool possible(const double x[NUMBERS])
{
    double sum = 0;
    for (size_t i = 0; i < 7; i++) {
        if (!(x[i] >= 0))
            return false;
        sum += i < SHARING_TERMS ? x[i] : 0;
    }
    return sum > 0 && x[7] >= 0 && x[9] >= 0 && x[12] >= 0 && x[16] >= 0 && x[21] >= 0;
}

enum joulet_status joulet_attribution_recall(struct joulet_attribution *a, size_t engine, size_t device, const char *line,
                                             struct joulet_error *err)
{
    struct joulet_sharing *s = ledger_of(a, engine, device);
    double x[NUMBERS], *numbers[NUMBERS];
    if (!s)
        return attribution_no_such("engine on this device:", engine, err);
    if (strncmp(line, HEAD " none", sizeof HEAD " none" - 1) == 0)
        return jl_ok(err);
    if (!jl_starts(line, HEAD " ") || !read_numbers(line + sizeof HEAD - 1, x) || !possible(x))
        return jl_fail(err, JOULET_FORMAT, "what was learnt of an engine cannot be read: remove it, and it is learnt anew");
    sharing_weigh(s, x, s->w.assumed);
    each(s, numbers);
    for (size_t i = 0; i < NUMBERS; i++)
        *numbers[i] = x[i];
    for (size_t i = 0; i < SHARING_TERMS; i++)
        for (size_t j = 0; j < i; j++)
            s->learnt.xx[j][i] = s->learnt.xx[i][j];
    jl_equations_scale(&s->learnt, TRUST);
    s->w.assumed = s->busy_windows < SHARING_LEARNT / 2.0; /* they count half at a fit of the clock */
    s->busy_windows = fmax(TRUST * s->busy_windows, s->w.assumed ? 0 : SHARING_LEARNT);
    s->fit_at = 1.3 * s->busy_windows;
    return jl_ok(err);
}
