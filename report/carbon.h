/* carbon.h - what a kWh emits, drinks and costs: places and their published factors, series over time, tariffs by the hour, and
 * what they make of the energies of a record (docs/carbon.md, docs/method.md 9).
 *
 * A record keeps the factors that were used, so a report needs nothing else. A factor that is not known is NAN, never 0. */
#ifndef REPORT_CARBON_H
#define REPORT_CARBON_H

#include "report/report.h"

/* ---- places (place.c) -------------------------------------------------------------------------------------------- */

#define CARBON_DEFAULT_G      445.0 /* where no place is chosen */
#define CARBON_DEFAULT_SOURCE "IEA world average of 2024, Electricity 2025"

struct carbon_place {
    char code[48]; /* as it is typed: "DE", "us-ca", "SE3", "aws:eu-west-1"; a name where there is no code */
    char name[96];
    char iso3[4];      /* of a country */
    char kind[16];     /* "country", "world", "aggregate", "state", "province", "zone", "cloud region" */
    double g_per_kwh;  /* NAN unknown */
    char year[12];     /* "2025", "2021-2023"; "" unknown */
    const char *basis; /* "life cycle", "direct", "not stated"; static */
    char source[200];
    double pue, wue_l_per_kwh; /* NAN unknown */
    char pue_year[8], wue_year[8];
};
/* Every place there is, in the order of the data; free() it. */
enum joulet_status carbon_places(struct carbon_place **out, size_t *n, struct joulet_error *err);
/* By country (name, ISO 3166 of two or three letters), "us-ca", "ca-on", Nordic zone, "aws:eu-west-1". JOULET_USAGE when there is
 * no such place, or the name has several, which are then named. */
enum joulet_status carbon_find(const char *text, struct carbon_place *out, struct joulet_error *err);
/* True when `text` is in the code or a name of p, whatever the case and the blanks. */
bool carbon_matches(const struct carbon_place *p, const char *text);

/* For people: a table, and all about one. */
void report_places(struct jl_buf *out, const struct carbon_place *p, size_t n, const struct report_style *style);
void report_place(struct jl_buf *out, const struct carbon_place *p, const struct report_style *style);

/* ---- series (series.c) ------------------------------------------------------------------------------------------- */

struct carbon_point {
    int64_t wall_ns; /* since 1970; the value holds until the next point */
    double value;    /* NAN unknown */
};
struct carbon_series {
    struct carbon_point *points; /* ascending */
    size_t n;
};
/* CSV of time and g/kWh: seconds since 1970 or "2026-11-21T15:00Z" (without a zone: UTC); an empty value is unknown. */
enum joulet_status carbon_series_parse(struct carbon_series *s, const char *name, const char *text, size_t n,
                                       struct joulet_error *err);
void carbon_series_release(struct carbon_series *s);
bool carbon_series_add(struct carbon_series *s, int64_t wall_ns, double value); /* after the last point; false on no memory */
/* Mean over [from, to], or the value at `from` when they are equal. NAN where a part is unknown or before the first point. */
double carbon_series_mean(const struct carbon_series *s, int64_t from_ns, int64_t to_ns);
double carbon_series_age_s(const struct carbon_series *s, int64_t wall_ns); /* of the value that holds then; NAN none */
/* "1763737200:312.5,1763740800:-": the points that hold anywhere in [from, to], as a record keeps them; and back. */
bool carbon_series_text(const struct carbon_series *s, int64_t from_ns, int64_t to_ns, struct jl_buf *out);
bool carbon_series_of_text(struct carbon_series *s, const char *text);
/* Time in one of the forms above; false when it is none. */
bool carbon_time(const char *text, int64_t *wall_ns);
/* The value of a command's output: one number from 0 to 5000, alone but for blanks. */
bool carbon_value(const char *text, double *g_per_kwh);

/* ---- tariffs (tariff.c) ------------------------------------------------------------------------------------------ */

struct carbon_tariff {
    double price[24]; /* of each hour of the day */
};
/* "0.30", or hours of local time "22-6:0.18,6-22:0.32"; every hour once. JOULET_USAGE with what is wrong. */
enum joulet_status carbon_tariff_parse(struct carbon_tariff *t, const char *text, struct joulet_error *err);
/* Mean price over [from, to] of wall time; utc_offset_s: local time less UTC. */
double carbon_tariff_mean(const struct carbon_tariff *t, int64_t from_ns, int64_t to_ns, int64_t utc_offset_s);

/* ---- what a record comes to (carbon.c) --------------------------------------------------------------------------- */

/* Factors of a record for a span of it: those of one request, or energy-weighted over several. NAN unknown. */
struct carbon_factors {
    double grid_g_per_kwh, pue, wue_l_per_kwh, price_per_kwh, device_hour, embodied_g_per_s;
};
/* q NULL: all requests that count, or a run without any. net: weighed by net energy, else by gross. */
void carbon_factors_of(const struct run *r, const struct run_request *q, bool net, struct carbon_factors *out);

/* The same for any span of wall time, asked often. NULL: no memory. */
struct carbon_clock;
struct carbon_clock *carbon_clock_open(const struct run *r);
void carbon_clock_close(struct carbon_clock *c); /* NULL is fine */
void carbon_clock_at(const struct carbon_clock *c, int64_t from_ns, int64_t to_ns, struct carbon_factors *out);

/* Amounts of so much energy and time of use. NAN unknown. */
struct carbon_amounts {
    double emissions_g, water_l, embodied_g, energy_cost, device_cost, cost; /* cost: what is known of both */
};
void carbon_amounts_of(const struct carbon_factors *f, double energy_j, double seconds, struct carbon_amounts *out);

/* Something familiar that emits as much, with its source. */
struct carbon_equivalent {
    const char *key, *unit, *what; /* "equivalent_car", "km", "by an average passenger car in the US" */
    double g_per_unit;
    const char *source;
};
extern const struct carbon_equivalent carbon_equivalents[];
extern const size_t carbon_equivalent_count;

#endif
