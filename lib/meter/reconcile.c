/* reconcile.c - whole and parts made to agree (docs/method.md, end of 2.2).
 * The difference is shared by variance: who is less certain gives way. The uncertainties stay. */
#include "lib/meter/estimators.h"

#include <math.h>

#define AGREE 2 /* whole and parts may differ by so many standard uncertainties */

bool jl_reconcile(double *parts, const double *u, size_t n, double *whole, double u_whole)
{
    double sum = 0, S = u_whole * u_whole;
    for (size_t i = 0; i < n; i++) {
        sum += parts[i];
        S += u[i] * u[i];
    }
    double e = *whole - sum;
    *whole = 0;
    for (size_t i = 0; i < n; i++) {
        parts[i] += S > 0 ? e * u[i] * u[i] / S : 0;
        *whole += parts[i];
    }
    return fabs(e) <= AGREE * sqrt(S);
}
