/* layers.h - whether each layer draws what the others of its kind do: layers that were left out, as the components say and as
 * leaving them out shows (docs/method.md 8.9). Pure. */
#ifndef PROFILE_LAYERS_H
#define PROFILE_LAYERS_H

#include "profile/difference.h"
#include "profile/measure.h"

enum layers_verdict {
    LAYERS_UNTOLD, /* nothing to compare, or the interval is too wide to tell */
    LAYERS_ALIKE,  /* they cost what the components say */
    LAYERS_DIFFERENT
};
#define LAYERS_PM_MOST 0.10 /* of the ratio: a wider interval tells nothing, also because a busy machine made it so */
#define LAYERS_CLOSURE 0.05 /* by so much the sum of components may be off and is accepted (8.2) */
struct layers_check {
    enum layers_verdict verdict;
    double saved_j,
        told_j; /* of a token: by leaving them out; their share by the components, of what it took then; NAN unknown */
    double ratio, ratio_pm; /* saved over told; half of the 95 % interval */
};
/* The last `left_out` layers of those that were seen. decode: of one token of the whole model; by shares of time nothing is
 * compared. u_idle_w: of the level that the components are above. */
void layers_check(const struct measure *m, const struct measure_result *decode, int left_out, const struct profile_difference *d,
                  double u_idle_w, struct layers_check *out);

#endif
