/* components.h - the second half of a fit by component (docs/method.md 8.2): readings of unlike scatter, what the search of a
 * delay leaves open, and the uncertainty of all that. */
#ifndef LIB_METER_COMPONENTS_H
#define LIB_METER_COMPONENTS_H

#include "joulet.h"

/* One reading: net energy of its window, on the clock of the sensor. hw_s: half of the time in which the window as a whole may
 * lie; 0 for counters, whose next reading makes good what one has too much. */
struct components_reading {
    double from_s, to_s, net_j, hw_s;
};

enum { COMPONENTS_LAG, COMPONENTS_RISE, COMPONENTS_SLOPES };

struct components_rows {
    const struct components_reading *each; /* ascending */
    size_t n, kinds;
    const double *seconds;                  /* [n * kinds] */
    const double *slope[COMPONENTS_SLOPES]; /* [n] of what the fit says of a reading, by lag and by rise, W; NULL: it is known */
    double idle_w;
};

/* Weighted least squares about `p`, whose power_w and u_w it replaces (2 u_w is half of a 95 % interval); *shift_s: how much
 * later than the rows say lag and rise are. Pure. false: there are too few readings, or they do not tell the kinds apart; nothing
 * is changed then. */
bool components_refine(const struct components_rows *r, struct joulet_component_powers *p, double shift_s[COMPONENTS_SLOPES]);

#endif
