/* test.h - what cmocka needs before its header, and doubles compared as doubles (cmocka's float macro casts to float). */
#ifndef TEST_H
#define TEST_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define assert_near(got, want, tolerance)                                                                                        \
    do {                                                                                                                         \
        double got_ = (got), want_ = (want);                                                                                     \
        if (!(fabs(got_ - want_) <= (tolerance))) {                                                                              \
            print_error("%s = %.17g, want %.17g\n", #got, got_, want_);                                                          \
            fail();                                                                                                              \
        }                                                                                                                        \
    } while (0)

#endif
