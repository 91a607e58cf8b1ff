/* metrics.c - figures per token, emissions, cost, and averages as ratios of sums (docs/method.md 9). */
#include "joulet.h"
#include "lib/stats/series.h"

#include <math.h>

#define J_PER_WH  3600.0
#define J_PER_KWH 3.6e6

/* NAN where the denominator is 0 or anything is unknown. */
static double per(double x, double n)
{
    return n > 0 || n < 0 ? x / n : NAN;
}

void joulet_metrics_of(const struct joulet_metrics_in *in, struct joulet_metrics *out)
{
    double wh = in->energy_j / J_PER_WH, kwh = in->energy_j / J_PER_KWH;
    *out = (struct joulet_metrics){
        .j_per_output_token = per(in->energy_j, in->tokens_out),
        .j_per_token = per(in->energy_j, in->tokens_in + in->tokens_out),
        .prefill_j_per_input_token = per(in->prefill_j, in->tokens_in),
        .decode_j_per_output_token = per(in->decode_j, in->tokens_out),
        .wh_per_1000_output_tokens = per(1000 * wh, in->tokens_out),
        .e_token_i = per(1000 * wh, in->tokens_in),
        .e_token_o = per(1000 * wh, in->tokens_out),
        .tokens_per_j = per(in->tokens_out, in->energy_j),
        .energy_delay_js = in->energy_j * in->wall_s,
        .emissions_g = kwh * in->pue * in->grid_g_per_kwh,
        .cost = kwh * in->pue * in->price_per_kwh,
    };
}

void joulet_ratio_of_sums(const double *energy_j, const double *tokens, size_t n, double *ratio, double *pm)
{
    jl_ratio_of_sums(energy_j, tokens, n, ratio, pm);
}
