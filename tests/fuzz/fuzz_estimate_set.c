/* Any bytes as a set of coefficients. What is accepted can be written and read again, and gives no energy below 0. */
#include "report/estimate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void check(const struct estimate_set *s)
{
    struct estimate_set again;
    struct estimate_result e;
    struct jl_buf b;
    if (!s->n || !s->source || !*s->source)
        abort();
    for (size_t i = 0; i < s->n && i < 20; i++)
        if (estimate_request(s, i, NULL, 1000, 100, &e, NULL) == JOULET_OK &&
            !((s->net ? e.energy.net_j : e.energy.gross_j) > 0 && e.energy.min_j <= e.energy.max_j))
            abort();
    jl_buf_init(&b, (size_t)64 << 20);
    if (estimate_set_text(s, &b, NULL) == JOULET_OK) {
        if (estimate_set_parse(&again, "again", b.data, b.len, NULL) == JOULET_OK) {
            if (again.n != s->n)
                abort();
            estimate_set_release(&again);
        }
    }
    jl_buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct estimate_set s;
    struct joulet_error err = {.message = ""};
    if (estimate_set_parse(&s, "fuzz", (const char *)data, size, &err) == JOULET_OK) {
        check(&s);
        estimate_set_release(&s);
    } else if (!err.message[0] || s.models) {
        abort();
    }
    return 0;
}
