/* tokens.h - energy of a request as a function of its token counts (docs/method.md 6.2, 6.3).
 *
 *   E = e_0 + e_in T_in + e_q T_in^2 + e_out T_out + e_x T_out (T_in + (T_out - 1)/2)
 *
 * e_0 is what a request costs whatever its length, e_q the growth of prefill with its own length, e_x that every output token
 * reads the whole context. Pure. Unknown is NAN. */
#ifndef JL_STATS_TOKENS_H
#define JL_STATS_TOKENS_H

#include <stdbool.h>
#include <stddef.h>

enum { JL_E_0, JL_E_IN, JL_E_Q, JL_E_OUT, JL_E_X, JL_TOKEN_TERMS };

struct jl_token_run {
    double t_in, t_out, energy_j;
    double u_rep_j; /* standard uncertainty without gain; NAN or 0: not known */
};

struct jl_token_model {
    double e[JL_TOKEN_TERMS];                   /* J, J/token, J/token^2, J/token, J/token^2 */
    double cov[JL_TOKEN_TERMS][JL_TOKEN_TERMS]; /* of e; widened when the runs scatter more than their weights say */
    size_t n;
    double t_in_min, t_in_max, t_out_min, t_out_max; /* what was measured */
    double condition;                                /* of the scaled columns */
    double scatter;                                  /* rms of the relative residuals, n - 5 in the denominator */
    double chi2;                                     /* weighted squares of the residuals per degree of freedom */
};

/* A design that separates the terms has a condition below this: the full factorial of 6.2 has 4 to 12, one factor at a time or
 * a chat log hundreds. */
#define JL_TOKEN_CONDITION_MAX 60.0

enum jl_token_status {
    JL_TOKENS_OK,
    JL_TOKENS_FEW,          /* fewer than 6 runs: no degree of freedom left */
    JL_TOKENS_NOT_SEPARABLE /* condition above the limit: *out has the condition and the ranges */
};
/* Three reweighting passes. Runs with an energy that is not above 0 take no part. */
enum jl_token_status jl_token_fit(const struct jl_token_run *runs, size_t n, struct jl_token_model *out);

/* A value that follows from the coefficients, with its standard uncertainty. */
struct jl_derived {
    double value, u;
};
struct jl_derived jl_token_energy(const struct jl_token_model *m, double t_in, double t_out);
struct jl_derived jl_token_prefill(const struct jl_token_model *m, double t_in);
struct jl_derived jl_token_decode(const struct jl_token_model *m, double t_in, double t_out);
/* Prompt length at which prefill costs as much as decoding `t_out` tokens: NAN when there is none. *inside: between half the
 * shortest and twice the longest prompt measured; otherwise it is to be called "outside the measured range". */
struct jl_derived jl_token_crossover(const struct jl_token_model *m, double t_out, bool *inside);

#endif
