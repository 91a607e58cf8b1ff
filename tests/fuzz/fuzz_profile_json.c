/* fuzz_profile_json.c - any bytes as a profile. What is accepted must be written, read and written again to the same bytes,
 * become tables, and be drawn. */
#include "report/profile.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *written(const struct run_profile *p, size_t *n)
{
    struct jl_buf b;
    jl_buf_init(&b, (size_t)64 << 20);
    if (run_profile_to_json(p, &b, NULL) != JOULET_OK)
        abort();
    *n = b.len;
    return jl_buf_take(&b);
}

static void draw(const struct run_profile *p)
{
    static const struct report_style styles[] = {{.width = 80}, {.utf8 = true, .colour = true, .width = 133}};
    struct jl_buf out;
    jl_buf_init(&out, (size_t)64 << 20);
    for (size_t i = 0; i < JL_COUNT(styles); i++) {
        struct report_profile_options options = {.layers = i};
        report_profile(&out, p, &options, &styles[i]);
        report_profile_compare(&out, p, p, &styles[i]);
    }
    report_profile_data(&out, p);
    report_profile_compare_json(&out, p, p);
    jl_buf_release(&out);
}

static void check(const struct run_profile *p)
{
    struct run_profile again;
    struct jl_buf csv;
    size_t n, m;
    char *first = written(p, &n);
    if (run_profile_from_json(first, n, &again, NULL) != JOULET_OK)
        abort();
    char *second = written(&again, &m);
    if (n != m || memcmp(first, second, n))
        abort();
    jl_buf_init(&csv, (size_t)64 << 20);
    if (run_profile_to_csv(&again, &csv, NULL) != JOULET_OK || run_profile_trace_csv(&again, &csv, NULL) != JOULET_OK)
        abort();
    jl_buf_release(&csv);
    run_profile_release(&again);
    free(first);
    free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run_profile p;
    if (run_profile_from_json((const char *)data, size, &p, NULL) == JOULET_OK) {
        check(&p);
        draw(&p);
        run_profile_release(&p);
    }
    return 0;
}
