/* sim_curve.h - a power curve in steps, and its exact integral. Pure but for the reading of files. */
#ifndef JL_SIM_CURVE_H
#define JL_SIM_CURVE_H

#include "lib/base/base.h"

#define SIM_KNOTS_MAX 65536

/* From t_s on the device is asked for p_w; it follows with the curve's rise. */
struct sim_knot {
    double t_s, p_w;
    double e_j; /* energy from the first knot to here */
    double y_w; /* power drawn here */
};

struct sim_curve {
    struct sim_knot *knots;
    size_t n, cap;
    double rise_s; /* time constant of an exponential; 0: steps */
};

bool sim_curve_init(struct sim_curve *c, size_t cap, double rise_s); /* room for cap knots, at most SIM_KNOTS_MAX */
void sim_curve_release(struct sim_curve *c);
/* A time before the last knot counts as that of the last. When full, the older half is forgotten: energy_at stays right after it.
 */
void sim_curve_add(struct sim_curve *c, double t_s, double p_w);
/* Energy since some fixed origin, J; before the first knot its power holds. 0 for an empty curve. */
double sim_curve_energy_at(const struct sim_curve *c, double t_s);
double sim_curve_power_at(const struct sim_curve *c, double t_s);

/* "time watts" of one line; blanks around it are fine. false when it is not two numbers within reason. */
bool sim_parse_line(const char *line, double *t, double *p_w);
/* Lines "t_s watts", ascending; blank ones and those that begin with # are skipped. */
enum joulet_status sim_curve_parse(struct sim_curve *c, const char *text, size_t len, const char *name, struct joulet_error *err);

#endif
