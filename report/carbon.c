/* carbon.c - from the factors of a record to grams, litres and money (docs/method.md 9, docs/carbon.md).
 *
 * A factor that changed during the run counts at the time of each request, weighed by its energy. Water is what cooling takes on
 * the site for each kWh of the machine, so PUE is not in it; the embodied share is that of the time of use. */
#include "report/carbon.h"
#include "report/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define J_PER_KWH 3.6e6
#define YEAR_S    (365.25 * 86400)

/* Tailpipe of the average passenger vehicle of the US: 400 g of CO2 a mile. */
const struct carbon_equivalent carbon_equivalents[] = {
    {"equivalent_car", "km", "an average passenger car in the US", 400 / 1.609344,
     "US EPA, Greenhouse Gas Emissions from a Typical Passenger Vehicle (EPA-420-F-23-014), 400 g of CO2 a mile from the "
     "tailpipe"},
};
const size_t carbon_equivalent_count = JL_COUNT(carbon_equivalents);

static double number(const struct run *r, const char *key)
{
    const char *text = run_pairs_get(&r->factors, key);
    double x;
    return text && jl_parse_double(text, &x) ? x : NAN;
}

/* ---- over time --------------------------------------------------------------------------------------------------- */

/* What changes with time in one record. */
struct changing {
    struct carbon_series grid;
    struct carbon_tariff tariff;
    bool has_grid, has_tariff;
    int64_t utc_offset_s;
    double g_per_kwh, price; /* when nothing changes */
};

static void changing_of(const struct run *r, struct changing *c)
{
    const char *series = run_pairs_get(&r->factors, "grid_series"), *tariff = run_pairs_get(&r->factors, "tariff");
    const char *offset = run_pairs_get(&r->factors, "utc_offset_s");
    struct joulet_error err;
    *c = (struct changing){.g_per_kwh = number(r, "grid_g_per_kwh"), .price = number(r, "price_per_kwh")};
    c->has_grid = series && carbon_series_of_text(&c->grid, series);
    c->has_tariff = tariff && carbon_tariff_parse(&c->tariff, tariff, &err) == JOULET_OK;
    if (!offset || !jl_parse_i64(offset, &c->utc_offset_s))
        c->utc_offset_s = 0;
}

static double grid_over(const struct changing *c, int64_t from_ns, int64_t to_ns)
{
    return c->has_grid ? carbon_series_mean(&c->grid, from_ns, to_ns) : c->g_per_kwh;
}

static double price_over(const struct changing *c, int64_t from_ns, int64_t to_ns)
{
    return c->has_tariff ? carbon_tariff_mean(&c->tariff, from_ns, to_ns, c->utc_offset_s) : c->price;
}

/* Sums for a mean by energy; without any energy by number. */
struct weighing {
    double energy_j, grid, price, n, plain_grid, plain_price;
};

static void weigh(struct weighing *w, const struct changing *c, const struct run *r, int64_t from_ns, int64_t to_ns,
                  double energy_j)
{
    double grid = grid_over(c, from_ns + r->wall_offset_ns, to_ns + r->wall_offset_ns);
    double price = price_over(c, from_ns + r->wall_offset_ns, to_ns + r->wall_offset_ns);
    double e = energy_j > 0 ? energy_j : 0;
    w->energy_j += e;
    w->grid += e > 0 ? e * grid : 0;
    w->price += e > 0 ? e * price : 0;
    w->n++;
    w->plain_grid += grid;
    w->plain_price += price;
}

static void weigh_request(struct weighing *w, const struct changing *c, const struct run *r, const struct run_request *q,
                          bool net)
{
    if (q->n_windows)
        weigh(w, c, r, q->windows[0].start_ns, q->windows[q->n_windows - 1].end_ns,
              net ? q->energy.total.net_j : q->energy.total.gross_j);
}

void carbon_factors_of(const struct run *r, const struct run_request *q, bool net, struct carbon_factors *out)
{
    struct changing c;
    struct weighing w = {0};
    changing_of(r, &c);
    for (size_t i = 0; !q && i < r->n_requests; i++)
        if (counted(&r->requests[i]))
            weigh_request(&w, &c, r, &r->requests[i], net);
    if (q)
        weigh_request(&w, &c, r, q, net);
    if (w.n == 0)
        weigh(&w, &c, r, r->start_ns, r->end_ns, 1);
    double pue = number(r, "pue");
    *out = (struct carbon_factors){
        .grid_g_per_kwh = w.energy_j > 0 ? w.grid / w.energy_j : w.plain_grid / w.n,
        .price_per_kwh = w.energy_j > 0 ? w.price / w.energy_j : w.plain_price / w.n,
        .pue = isnan(pue) ? 1 : pue,
        .wue_l_per_kwh = number(r, "wue_l_per_kwh"),
        .device_hour = number(r, "device_hour"),
        .embodied_g_per_s = number(r, "embodied_kg") * 1000 / (number(r, "lifetime_years") * YEAR_S),
    };
    carbon_series_release(&c.grid);
}

struct carbon_clock {
    const struct run *r;
    struct changing c;
};

struct carbon_clock *carbon_clock_open(const struct run *r)
{
    struct carbon_clock *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->r = r;
    changing_of(r, &c->c);
    return c;
}

void carbon_clock_close(struct carbon_clock *c)
{
    if (c)
        carbon_series_release(&c->c.grid);
    free(c);
}

void carbon_clock_at(const struct carbon_clock *c, int64_t from_ns, int64_t to_ns, struct carbon_factors *out)
{
    double pue = number(c->r, "pue");
    *out = (struct carbon_factors){.grid_g_per_kwh = grid_over(&c->c, from_ns, to_ns),
                                   .price_per_kwh = price_over(&c->c, from_ns, to_ns),
                                   .pue = isnan(pue) ? 1 : pue,
                                   .wue_l_per_kwh = NAN,
                                   .device_hour = NAN,
                                   .embodied_g_per_s = NAN};
}

/* ---- amounts ----------------------------------------------------------------------------------------------------- */

void carbon_amounts_of(const struct carbon_factors *f, double energy_j, double seconds, struct carbon_amounts *out)
{
    struct joulet_metrics m;
    const struct joulet_metrics_in in = {.energy_j = energy_j,
                                         .prefill_j = NAN,
                                         .decode_j = NAN,
                                         .tokens_in = NAN,
                                         .tokens_out = NAN,
                                         .wall_s = seconds,
                                         .grid_g_per_kwh = f->grid_g_per_kwh,
                                         .pue = f->pue,
                                         .price_per_kwh = f->price_per_kwh};
    joulet_metrics_of(&in, &m);
    *out = (struct carbon_amounts){
        .emissions_g = m.emissions_g,
        .water_l = energy_j / J_PER_KWH * f->wue_l_per_kwh,
        .embodied_g = f->embodied_g_per_s * seconds,
        .energy_cost = m.cost,
        .device_cost = f->device_hour * seconds / 3600,
    };
    out->cost = isnan(out->energy_cost)   ? out->device_cost
                : isnan(out->device_cost) ? out->energy_cost
                                          : out->energy_cost + out->device_cost;
}
