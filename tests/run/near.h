/* near.h - doubles compared as doubles: cmocka's macro casts to float. */
#ifndef TESTS_RUN_NEAR_H
#define TESTS_RUN_NEAR_H

#include <math.h>

#define assert_near(a, b, tolerance)                                                                                             \
    do {                                                                                                                         \
        double a_ = (a), b_ = (b);                                                                                               \
        if (!(fabs(a_ - b_) <= (tolerance)))                                                                                     \
            fail_msg("%s = %.17g, expected %.17g within %g", #a, a_, b_, (double)(tolerance));                                   \
    } while (0)

#endif
