/* share.c - parts that were measured apart made to sum to their whole (docs/method.md, end of 2.2): a decode that is split where
 * thinking turns into the answer keeps its own figure, and its parts give way by their variance. */
#include "lib/meter/estimators.h"

#include <math.h>

static double variance(const struct joulet_energy *e, bool net)
{
    const double u[] = {e->u.q, e->u.b, e->u.time, e->u.event, net ? e->u.idle : 0};
    double sum = 0;
    for (size_t i = 0; i < JL_COUNT(u); i++)
        sum += isnan(u[i]) ? 0 : u[i] * u[i];
    return sum;
}

static void share(struct joulet_energy *parts, size_t n, double whole_j, bool net)
{
    double sum = 0, S = 0;
    for (size_t i = 0; i < n; i++) {
        sum += net ? parts[i].net_j : parts[i].gross_j;
        S += variance(&parts[i], net);
    }
    double e = whole_j - sum;
    if (!isfinite(e))
        return;
    for (size_t i = 0; i < n; i++)
        *(net ? &parts[i].net_j : &parts[i].gross_j) += e * (S > 0 ? variance(&parts[i], net) / S : 1 / (double)n);
}

void joulet_energy_share(struct joulet_energy *parts, size_t n, const struct joulet_energy *whole)
{
    share(parts, n, whole->net_j, true);
    share(parts, n, whole->gross_j, false);
}
