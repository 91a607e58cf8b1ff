/* test_cli_thin.c - requests of a long profile are thinned out (cli/profile_bound.c): which one was the last of all is known only
 * by its number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/profile.h"

#include <stdlib.h>

#define REQUESTS 2000

static void the_last_request_is_found_only_while_it_is_kept(void **state)
{
    struct profiling *x = calloc(1, sizeof *x);
    size_t found = 0;
    (void)state;
    assert_non_null(x);
    run_init(&x->s.run, "profile");
    x->passes = calloc(PROFILE_REQUESTS + 1, sizeof *x->passes);
    assert_non_null(x->passes);
    assert_null(profile_kept(x, 0));
    for (int64_t i = 0; i < REQUESTS; i++) {
        struct run_request q;
        run_request_init(&q);
        q.index = i;
        assert_non_null(run_add_request(&x->s.run, &q));
        x->passes[x->n_passes++] = MEASURE_PLAIN;
        profile_thin_requests(x);
        const struct run_request *last = profile_kept(x, i);
        found += last != NULL;
        assert_true(!last || last->index == i);
        if (i < PROFILE_REQUESTS - 1)
            assert_non_null(last);
        run_request_release(&q);
    }
    assert_true(found > PROFILE_REQUESTS && found < REQUESTS); /* another one was the last that is kept, now and then */
    run_release(&x->s.run);
    free(x->passes);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_last_request_is_found_only_while_it_is_kept)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
