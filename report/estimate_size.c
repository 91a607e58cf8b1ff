/* estimate_size.c - what a model may draw of which nothing is published: from its size alone, or from nothing at all
 * (docs/method.md 10). The ends lie far apart and are the point of it: a figure that claims less than is known is no figure. */
#include "report/estimate.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Least squares of the logarithms over the ten LLaMA rows of Jegham et al. 2025 whose size is known, 300 tokens out:
 * 0.48 J and 0.64. Their answers scatter by a factor of 2.2 (1 sd); other machines do so more. */
#define J_OF_1G   0.48
#define EXPONENT  0.64
#define SIZE_ENDS 10.0 /* a batch in a data centre, a small processor */
/* Middle of all thirty rows, 0.6 to 231 J. */
#define J_OF_ANY            9.1
#define ANY_ENDS            50.0
#define IN_PART             0.1 /* a prompt token as part of an output token, from rows that differ in prompts */
#define SIZE_MIN            1e6
#define SIZE_MAX_PARAMETERS 1e14

/* "8b", "0.5B", "270m": a number and its unit, nothing else. */
static double size_of_word(const char *w, size_t n)
{
    char number[16], *end;
    if (n < 2 || n > sizeof number || !isdigit((unsigned char)w[0]))
        return NAN;
    int unit = tolower((unsigned char)w[n - 1]);
    memcpy(number, w, n - 1);
    number[n - 1] = '\0';
    double v = strtod(number, &end);
    if (*end || (unit != 'b' && unit != 'm'))
        return NAN;
    return v * (unit == 'b' ? 1e9 : 1e6);
}

/* "8x7b": experts times their size, which is a little more than they have together. */
static double size_of_experts(const char *w, size_t n)
{
    const char *x = memchr(w, 'x', n);
    double each = x ? size_of_word(x + 1, n - (size_t)(x + 1 - w)) : NAN;
    int count = x ? atoi(w) : 0;
    return count > 0 && count <= 1000 ? count * each : NAN;
}

double estimate_size_in_name(const char *model)
{
    for (const char *s = model; *s;) {
        size_t n = 0;
        while (isalnum((unsigned char)s[n]) || (s[n] == '.' && n && isdigit((unsigned char)s[n + 1])))
            n++;
        double v = n ? size_of_word(s, n) : NAN;
        if (isnan(v) && n)
            v = size_of_experts(s, n);
        if (v >= SIZE_MIN && v <= SIZE_MAX_PARAMETERS)
            return v;
        s += n + (s[n] != '\0');
    }
    return NAN;
}

enum joulet_status estimate_by_size(struct estimate_set *s, const char *model, double parameters, struct joulet_error *err)
{
    bool known = parameters >= SIZE_MIN && parameters <= SIZE_MAX_PARAMETERS;
    double out = known ? J_OF_1G * pow(parameters * 1e-9, EXPONENT) : J_OF_ANY, ends = known ? SIZE_ENDS : ANY_ENDS;
    char *name = jl_strdup(model);
    struct estimate_model m = {.name = name, .c.e = {[JOULET_E_OUT] = out, [JOULET_E_IN] = IN_PART * out}};
    estimate_set_init(s, known ? ESTIMATE_BY_SIZE : ESTIMATE_BY_NOTHING, ESTIMATE_PUBLISHED);
    free(s->source);
    s->source = known ? jl_strf("the size of the model, %.3g billion parameters", parameters * 1e-9)
                      : jl_strdup("nothing but that it is a model, for neither it nor its size is known");
    s->provenance = JOULET_ESTIMATED;
    s->provenance_known = true;
    s->net = false; /* of the sources of the figures, idle is part */
    s->f_lo = 1 / ends;
    s->f_hi = ends;
    bool good = name && s->source && estimate_set_add(s, &m);
    free(name);
    if (good)
        return jl_ok(err);
    estimate_set_release(s);
    return jl_fail(err, JOULET_MEMORY, "out of memory while preparing an estimate");
}
