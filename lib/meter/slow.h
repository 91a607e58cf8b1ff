/* slow.h - what a slow gauge may have seen of the power (docs/method.md 2.2, slow gauges): shared by slow_view.c and slow_fit.c.
 */
#ifndef LIB_METER_SLOW_H
#define LIB_METER_SLOW_H

#include "lib/meter/estimators.h"

#define JL_SLOW_PARTS 4

/* A mean over stretches of time, each with its weight: what a reading is of the power. */
struct jl_view {
    double from[JL_SLOW_PARTS], to[JL_SLOW_PARTS], weight[JL_SLOW_PARTS];
    size_t n;
};

/* A reading, or several that lie far from every boundary, as one. */
struct jl_slow_reading {
    double t, dt; /* its update, s; time since the last one that is used */
    double y_w, hw;
    double noise; /* variance whatever the device does, W^2 */
    double moved; /* variance of what belongs to it and may be shown by the next, or the other way round, J^2 */
    size_t count; /* readings in it */
};

enum jl_shows { JL_SHOWS_MEAN, JL_SHOWS_MOMENT, JL_SHOWS_FILTERED };

/* One way in which a device may come to its values. */
struct jl_way {
    enum jl_shows shows;
    double tau;    /* of its filter, s */
    double weight; /* how likely it is beforehand */
};

struct jl_view jl_view_of(const struct jl_slow_reading *r, const struct jl_way *way, double U);
struct jl_view jl_view_span(double from, double to);
/* Covariance of two means of a power that walks at random from time 0 on, for one W^2 a second. */
double jl_view_covariance(const struct jl_view *a, const struct jl_view *b);
double jl_view_after(const struct jl_view *v, double t);                /* share of it after t */
double jl_view_within(const struct jl_view *v, double from, double to); /* share of it in between */
/* Variance that short noise of the power (2 %, 50 ms) gives such a reading: some of it is energy, some is not. */
double jl_view_noise(const struct jl_slow_reading *r, const struct jl_way *way, double U);
/* What the walk does between the moments that such readings show: variance of their mean, for one W^2 a second. */
double jl_view_missed(const struct jl_slow_reading *r, const struct jl_way *way, double U);
double jl_view_flicker(double p_w); /* power noise, W^2 s: times a duration the variance of an energy */

#endif
