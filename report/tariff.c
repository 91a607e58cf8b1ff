/* tariff.c - the price of a kWh by the hour of the day: "0.30", or "22-6:0.18,6-22:0.32" in local time. Every hour has one price:
 * one that is missing or given twice would be a guess. */
#include "report/carbon.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define PRICE_MAX 1e6
#define HOUR_NS   (3600 * JL_NS_PER_S)

static bool price_of(const char *text, double *price)
{
    return jl_parse_double(text, price) && *price >= 0 && *price <= PRICE_MAX;
}

/* "22-6": from the first hour up to the second. */
static bool hours_of(char *text, int64_t *from, int64_t *to)
{
    char *dash = strchr(text, '-');
    if (!dash)
        return false;
    *dash = '\0';
    bool good = jl_parse_i64(text, from) && jl_parse_i64(dash + 1, to);
    *dash = '-';
    return good && *from >= 0 && *from <= 23 && *to >= 0 && *to <= 24;
}

static enum joulet_status read_span(struct carbon_tariff *t, char *span, struct joulet_error *err)
{
    int64_t from, to;
    double price;
    char *colon = strchr(span, ':');
    if (colon)
        *colon = '\0';
    if (!colon || !hours_of(span, &from, &to))
        return jl_fail(err, JOULET_USAGE, "'%.40s' in the tariff is not of the form 22-6:0.18, hours from 0 to 24 and a price",
                       span);
    if (!price_of(colon + 1, &price))
        return jl_fail(err, JOULET_USAGE, "the tariff has the price '%.40s', which is no number from 0 on", colon + 1);
    int64_t n = ((to - from) % 24 + 24) % 24;
    for (int64_t i = 0; i < (n ? n : 24); i++) {
        if (!isnan(t->price[(from + i) % 24]))
            return jl_fail(err, JOULET_USAGE, "the tariff has two prices for the hour from %d:00", (int)((from + i) % 24));
        t->price[(from + i) % 24] = price;
    }
    return jl_ok(err);
}

enum joulet_status carbon_tariff_parse(struct carbon_tariff *t, const char *text, struct joulet_error *err)
{
    double price;
    bool flat = price_of(text, &price);
    for (int h = 0; h < 24; h++)
        t->price[h] = flat ? price : NAN;
    while (!flat && *text) {
        char span[64];
        size_t n = strcspn(text, ",");
        snprintf(span, sizeof span, "%.*s", (int)n, text);
        if (read_span(t, span + strspn(span, " "), err) != JOULET_OK)
            return err->status;
        text += n + (text[n] == ',');
    }
    for (int h = 0; h < 24; h++)
        if (isnan(t->price[h]))
            return jl_fail(err, JOULET_USAGE, "the tariff has no price for the hour from %d:00", h);
    return jl_ok(err);
}

double carbon_tariff_mean(const struct carbon_tariff *t, int64_t from_ns, int64_t to_ns, int64_t utc_offset_s)
{
    int64_t at = from_ns + utc_offset_s * JL_NS_PER_S, end = to_ns + utc_offset_s * JL_NS_PER_S;
    double sum = 0, day = 0;
    for (int h = 0; h < 24; h++)
        day += t->price[h] / 24;
    if (at < 0 || end <= at)
        return at < 0 ? NAN : t->price[at / HOUR_NS % 24];
    double total_s = jl_s(end - at), whole_days = floor(jl_s(end - at) / 86400);
    sum = day * whole_days * 86400;
    for (at += (int64_t)whole_days * 24 * HOUR_NS; at < end;) {
        int64_t next = (at / HOUR_NS + 1) * HOUR_NS;
        next = next < end ? next : end;
        sum += t->price[at / HOUR_NS % 24] * jl_s(next - at);
        at = next;
    }
    return sum / total_s;
}
