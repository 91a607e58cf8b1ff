/* predict.c - energy of a request from its numbers of tokens: coefficients of the regression (docs/method.md 6.2, 6.3), published
 * workloads, and the interval that an estimate has (10). */
#include "lib/base/base.h"

#include <math.h>

const char *joulet_coefficient_name(unsigned i)
{
    static const char *const names[JOULET_COEFFICIENTS] = {"e0", "e_in", "e_q", "e_out", "e_x"};
    return i < JOULET_COEFFICIENTS ? names[i] : NULL;
}

static enum joulet_status check_tokens(double tokens_in, double tokens_out, struct joulet_error *err)
{
    if (!(tokens_in >= 0 && tokens_in <= 1e12) || !(tokens_out >= 0 && tokens_out <= 1e12))
        return jl_fail(err, JOULET_USAGE, "an estimate needs numbers of tokens between 0 and 1e12");
    return jl_ok(err);
}

static enum joulet_status check_energy(double energy_j, double tokens_in, double tokens_out, struct joulet_error *err)
{
    if (!(energy_j > 0) || !isfinite(energy_j))
        return jl_fail(
            err, JOULET_LIMIT,
            "the coefficients give no energy above 0 for %.10g tokens in and %.10g out: they were not made for requests "
            "like that",
            tokens_in, tokens_out);
    return jl_ok(err);
}

enum joulet_status joulet_predict(const struct joulet_coefficients *c, double tokens_in, double tokens_out, double *energy_j,
                                  double *u_j, struct joulet_error *err)
{
    const double x[JOULET_COEFFICIENTS] = {1, tokens_in, tokens_in * tokens_in, tokens_out,
                                           tokens_out * (tokens_in + (tokens_out - 1) / 2)};
    double sum = 0, variance = 0;
    *energy_j = *u_j = NAN;
    if (check_tokens(tokens_in, tokens_out, err) != JOULET_OK)
        return JOULET_USAGE;
    for (int i = 0; i < JOULET_COEFFICIENTS; i++) {
        sum += c->e[i] * x[i];
        for (int k = 0; k < JOULET_COEFFICIENTS; k++)
            variance += x[i] * c->cov[i][k] * x[k];
    }
    if (check_energy(sum, tokens_in, tokens_out, err) != JOULET_OK)
        return JOULET_LIMIT;
    *energy_j = sum;
    *u_j = sqrt(fmax(variance, 0)); /* a sum that cancels may round below 0 */
    return jl_ok(err);
}

enum joulet_status joulet_predict_between(const struct joulet_workload *w, size_t n, double tokens_in, double tokens_out,
                                          double *energy_j, double *u_j, struct joulet_error *err)
{
    *energy_j = *u_j = NAN;
    if (n == 0)
        return jl_fail(err, JOULET_NO_DATA, "an estimate needs at least one workload with a known energy");
    if (check_tokens(tokens_in, tokens_out, err) != JOULET_OK)
        return JOULET_USAGE;
    size_t k = 1;
    while (k < n && w[k].tokens_in < tokens_in)
        k++;
    const struct joulet_workload *a = &w[k - 1], *b = k < n ? &w[k] : a;
    double share = 0;
    if (b != a && tokens_in > a->tokens_in)
        share = log(tokens_in / a->tokens_in) / log(b->tokens_in / a->tokens_in);
    /* Ends are taken as they are, so that a workload gives back what was published to the last digit. */
    double per_token = (1 - share) * a->energy_j / a->tokens_out + share * b->energy_j / b->tokens_out;
    double u = hypot((1 - share) * a->u_j / a->tokens_out, share * b->u_j / b->tokens_out);
    if (check_energy(per_token * tokens_out, tokens_in, tokens_out, err) != JOULET_OK)
        return JOULET_LIMIT;
    *energy_j = per_token * tokens_out;
    *u_j = u * tokens_out;
    return jl_ok(err);
}

void joulet_estimate(double energy_j, double u_j, double f_lo, double f_hi, bool net, struct joulet_energy *out)
{
    static const struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;
    double spread = u_j > 0 ? 2 * u_j / energy_j : 0;
    *out = unknown;
    out->provenance = JOULET_ESTIMATED;
    out->method = "coefficients/1";
    out->min_j = energy_j / exp(hypot(log(f_hi), spread));
    out->max_j = energy_j * exp(hypot(log(f_lo), spread));
    double pm = fmax(energy_j - out->min_j, out->max_j - energy_j);
    *(net ? &out->net_j : &out->gross_j) = energy_j;
    *(net ? &out->net_pm_j : &out->gross_pm_j) = pm;
    out->u.b = u_j;
    out->u.spec = fmax(1 - 1 / f_hi, 1 / f_lo - 1) * energy_j / 2;
}
