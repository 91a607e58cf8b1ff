/* beside.c - see beside.h. */
#include "tests/report/beside.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define T0 (50 * JL_NS_PER_S)

void beside_channel(struct run *r, const char *id, const char *sensor, enum joulet_provenance p)
{
    struct joulet_channel c = {.id = id,
                               .sensor = sensor,
                               .device = "",
                               .parent = "",
                               .quantity = JOULET_ENERGY,
                               .group = JOULET_GROUP_CPU,
                               .provenance = p,
                               .in_total = true,
                               .period_s = 0.001,
                               .power_min_w = NAN,
                               .power_max_w = NAN,
                               .factor_lo = p == JOULET_ESTIMATED ? 0.5 : 1,
                               .factor_hi = p == JOULET_ESTIMATED ? 2 : 1};
    run_add_channel(r, &c);
}

void beside_run(struct run *r, const char *id)
{
    run_init(r, "bench");
    snprintf(r->id, sizeof r->id, "%s", id);
    r->start_ns = T0;
    r->end_ns = T0 + 100 * JL_NS_PER_S;
    free(r->status);
    r->status = jl_strdup("done");
    run_pairs_set(&r->model, "name", 's', "model of %s", id);
    run_pairs_set(&r->machine, "host", 's', "0123456789abcdef");
    beside_channel(r, "cpu0.package", "rapl", JOULET_MEASURED);
}

/* Shared equally by the channels of the run. */
static void energy_of(const struct run *r, struct run_energy *e, double net_j, double gross_j)
{
    double n = (double)r->n_channels;
    for (size_t i = 0; i < r->n_channels; i++) {
        struct joulet_energy x = JOULET_ENERGY_UNKNOWN;
        x.net_j = net_j / n;
        x.gross_j = gross_j / n;
        x.net_pm_j = x.gross_pm_j = 0.05 * x.gross_j;
        x.u = (struct joulet_u){0.0001, 0.0001, 0, 0, 0, 0.02 * net_j / n};
        x.provenance = r->channels[i].provenance;
        x.method = "two-slope/1";
        run_energy_add_channel(e, r->channels[i].id, &x);
    }
    run_energy_total(r, e);
}

static void window(const struct run *r, struct run_request *q, const char *name, int64_t at, double s, double net_j,
                   double gross_j)
{
    struct run_window w;
    run_window_init(&w, name, at, at + jl_ns(s));
    energy_of(r, &w.energy, net_j, gross_j);
    run_add_window(&q->windows, &q->n_windows, &w);
}

struct run_request *beside_request(struct run *r, int64_t number, int64_t repeat, int64_t cell, double net_j)
{
    struct run_request q;
    int64_t at = T0 + jl_ns((double)r->n_requests);
    char text[32];
    struct jl_sha256 sha;
    run_request_init(&q);
    q.index = (int64_t)r->n_requests;
    q.category = jl_strdup("short");
    q.number = number;
    q.repeat = repeat;
    q.cell = cell;
    q.tokens = (struct run_tokens){.prompt = 10, .cached = 0, .generated = 20, .reasoning = -1};
    snprintf(text, sizeof text, "prompt %lld", (long long)number);
    jl_sha256_init(&sha);
    jl_sha256_add(&sha, text, strlen(text));
    jl_sha256_hex(&sha, q.prompt_sha256);
    window(r, &q, "prefill", at, 0.2, net_j / 3, net_j / 3 + 4);
    window(r, &q, "decode", at + jl_ns(0.2), 0.3, 2 * net_j / 3, 2 * net_j / 3 + 6);
    energy_of(r, &q.energy, net_j, net_j + 10);
    return run_add_request(r, &q);
}
