/* fuzz_run_json.c - any bytes as a record. What is accepted must be written, read and written again to the same bytes. */
#include "run/run.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *written(const struct run *r, size_t *n)
{
    struct jl_buf b;
    jl_buf_init(&b, (size_t)64 << 20);
    if (run_to_json(r, &b, NULL) != JOULET_OK)
        abort();
    *n = b.len;
    return jl_buf_take(&b);
}

static void check(const struct run *r)
{
    struct run again;
    struct run_sums sums;
    struct jl_buf csv;
    size_t n, m;
    char *first = written(r, &n);
    if (run_from_json(first, n, &again, NULL) != JOULET_OK)
        abort();
    char *second = written(&again, &m);
    if (n != m || memcmp(first, second, n))
        abort();
    run_sum(&again, NULL, &sums);
    jl_buf_init(&csv, (size_t)64 << 20);
    if (run_to_csv(&again, &csv, NULL) != JOULET_OK)
        abort();
    jl_buf_release(&csv);
    run_release(&again);
    free(first);
    free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run r;
    struct run_request q;
    if (run_from_json((const char *)data, size, &r, NULL) == JOULET_OK) {
        check(&r);
        run_release(&r);
    }
    if (run_request_from_json((const char *)data, size, &q, NULL) == JOULET_OK)
        run_request_release(&q);
    return 0;
}
