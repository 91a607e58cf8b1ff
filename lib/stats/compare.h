/* compare.h - comparing two configurations A and B (docs/method.md 5.5): test, size of the effect, verdict.
 * Pure; where not every arrangement can be tried, a seed draws them. Unknown is NAN. */
#ifndef JL_STATS_COMPARE_H
#define JL_STATS_COMPARE_H

#include "lib/base/base.h"

#define JL_ARRANGEMENTS 10000 /* drawn where there are too many to try all */
#define JL_MARGIN       0.03  /* default margin g of "equal within" */

/* ---- tests ---------------------------------------------------------------------------------------------------------------- */
/* Paired sign-flip permutation test on the mean of d, two-sided: share of the sign patterns with |sum| >= |observed sum|.
 * All 2^n for n <= 16, else 10000 drawn ones and the observed. NAN for n = 0. *exact may be NULL. */
double jl_sign_flip_p(const double *d, size_t n, uint64_t seed, bool *exact);

/* Values of A and B under one condition (one prompt). */
struct jl_stratum {
    double *a, *b; /* ascending: jl_strata_sort */
    size_t na, nb;
};
void jl_strata_sort(struct jl_stratum *s, size_t k);

/* Mann-Whitney, two-sided. One stratum of up to 50 values: exact, ties by mid-ranks; of more: normal with tie correction.
 * Several strata: ranks of the values less the centre of their stratum, labels exchanged within strata only, 10000 drawn
 * arrangements and the observed one (aligned ranks; Hodges, Lehmann 1962). NAN when a side is empty or without memory. */
double jl_mann_whitney_p(const struct jl_stratum *s, size_t k, uint64_t seed, bool *exact);

/* ---- size of the effect, over pairs within strata ---------------------------------------------------------------- */
/* U: pairs with b > a and half of those with b = a; *of: all pairs. A12 = U/of, Cliff's delta = 2 U/of - 1. */
double jl_dominance(const struct jl_stratum *s, size_t k, double *of);
/* Hodges-Lehmann: median of all b - a. */
double jl_shift(const struct jl_stratum *s, size_t k);

/* ---- comparison -------------------------------------------------------------------------------------------------- */
enum jl_verdict { JL_UNDECIDED, JL_DIFFERENT, JL_EQUAL };

struct jl_comparison {
    size_t n_a, n_b, pairs, strata; /* pairs 0: not paired */
    double p, p_adjusted;           /* adjusted: as p until Holm says otherwise */
    bool exact;
    double ratio, lo95, hi95, lo90, hi90; /* B/A; interval 0 .. INFINITY when nothing is known */
    double u, a12, delta, shift;
    enum jl_verdict verdict;
    bool small;        /* different, but CI90 inside the margin */
    double not_beyond; /* undecided: differences up to this share are not excluded; NAN: any */
};

/* u_common: standard uncertainty of ln(B/A) that repeats do not shrink; 0 for none. Values must be above 0, else false (also
 * without memory, or when a side is empty). */
bool jl_compare_paired(const double *a, const double *b, size_t n, double u_common, uint64_t seed, struct jl_comparison *out);
/* Ratio: of geometric means, averaged over strata. Interval: Welch over all strata where each side of each has two values or
 * more, otherwise from the scatter of the strata. The strata are sorted in place. */
bool jl_compare_strata(struct jl_stratum *s, size_t k, double u_common, uint64_t seed, struct jl_comparison *out);
/* Fills in shift, u, a12 and delta from strata: for a paired comparison, whose pairs do not say which prompts they share. */
void jl_compare_effect(struct jl_stratum *s, size_t k, struct jl_comparison *out);

/* Holm: adjusted[i] belongs to p[i]; NAN stays and counts as no comparison. false: no memory. */
bool jl_holm(const double *p, size_t n, double *adjusted);
/* The verdict of 5.5 from p_adjusted and the intervals. */
void jl_judge(struct jl_comparison *c, double margin);

#endif
