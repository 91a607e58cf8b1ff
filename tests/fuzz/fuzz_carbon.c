/* Any bytes as a series of emission factors, as one in a record, as a tariff and as the answer of a command. */
#include "report/carbon.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void series(const char *text, size_t n)
{
    struct carbon_series s, back;
    struct joulet_error err = {.message = ""};
    struct jl_buf b;
    if (carbon_series_parse(&s, "fuzz", text, n, &err) != JOULET_OK) {
        if (!err.message[0] || s.points)
            abort();
        return;
    }
    int64_t from = s.points[0].wall_ns, to = s.points[s.n - 1].wall_ns;
    double mean = carbon_series_mean(&s, from, to);
    if (!isnan(mean) && !(mean >= 0 && mean <= 5000.001))
        abort();
    jl_buf_init(&b, (size_t)16 << 20);
    if (carbon_series_text(&s, from, to, &b) && b.len && carbon_series_of_text(&back, b.data))
        carbon_series_release(&back);
    jl_buf_release(&b);
    carbon_series_release(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct carbon_series s;
    struct carbon_tariff t;
    struct carbon_place p;
    struct joulet_error err = {.message = ""};
    double g;
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    series(text, size);
    if (carbon_series_of_text(&s, text))
        carbon_series_release(&s);
    if (carbon_tariff_parse(&t, text, &err) == JOULET_OK && isnan(carbon_tariff_mean(&t, 0, (int64_t)90000 * JL_NS_PER_S, 3600)))
        abort();
    if (carbon_value(text, &g) && !(g >= 0 && g <= 5000))
        abort();
    if (size < 40)
        carbon_find(text, &p, &err);
    free(text);
    return 0;
}
