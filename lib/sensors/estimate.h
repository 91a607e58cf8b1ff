/* estimate.h - power of a processor without a sensor (docs/method.md 10): a curve over the busy fraction, from the thermal
 * design power alone or from points measured with a meter. Pure. */
#ifndef JL_ESTIMATE_H
#define JL_ESTIMATE_H

#include <stdbool.h>
#include <stddef.h>

#define JL_ESTIMATE_LO         (1 / 1.60) /* true / estimate, TDP known: the estimate lies at 0.70 .. 1.60 of the truth */
#define JL_ESTIMATE_HI         (1 / 0.70)
#define JL_ESTIMATE_GUESSED_LO (1 / 2.5) /* the same when the TDP is guessed from the threads seen */
#define JL_ESTIMATE_GUESSED_HI (1 / 0.4)

struct jl_estimate {
    double tdp_w;                /* of the threads seen */
    double idle_w, max_w;        /* P_idle, P_max */
    double exponent;             /* P = idle + (max - idle) u^exponent */
    double factor_lo, factor_hi; /* true energy lies in [factor_lo, factor_hi] x estimate */
    bool guessed;
};

/* tdp_w: of the whole part, NAN when the part is not known. threads_of_part: hardware threads of the whole part, 0 unknown.
 * In a virtual machine, or when one of the two is unknown, the TDP is guessed as 3 W per thread seen. */
void jl_estimate_for(struct jl_estimate *e, double tdp_w, int threads_seen, int threads_of_part, bool vm);

/* Power at a busy fraction of all threads seen, in [0, 1] (values outside are clamped). */
double jl_estimate_power_w(const struct jl_estimate *e, double busy_fraction);

/* A curve measured with a meter: linear between n >= 1 points, busy ascending; held beyond the ends. */
struct jl_power_point {
    double busy, power_w;
};
double jl_estimate_points_w(const struct jl_power_point *points, size_t n, double busy_fraction);

/* Exponent from the power at half load; NAN unless idle < half < max. */
double jl_estimate_exponent(double idle_w, double half_w, double max_w);

#endif
