/* words.c - what provenances, flags, idle levels and sensors mean, for someone who has not read the manual. */
#include "report/internal.h"

#include <math.h>
#include <string.h>

const char *words_provenance(enum joulet_provenance p)
{
    switch (p) {
    case JOULET_MEASURED:
        return "measured by the sensors of this machine";
    case JOULET_DERIVED:
        return "derived from measured figures and a model";
    case JOULET_ESTIMATED:
        return "estimated from rated power and load, for want of a sensor; the truth lies between the two ends in 9 of 10 cases";
    case JOULET_IMPORTED:
        return "as given by an imported record";
    case JOULET_SIMULATED:
        return "simulated: a played or redirected sensor, no energy of this machine";
    }
    return "of unknown origin";
}

const char *words_flag(uint32_t bit)
{
    static const char *const words[] = {
        "no sensor reading fell inside, only the bounds mean something",
        "the readings on both sides of a boundary disagree",
        "no reading came after the end, which is extrapolated",
        "no reading came before the start, which is extrapolated",
        "the whole and the sum of its parts differ by more than their uncertainty",
        "the idle level is from about a second, not from ten",
        "no idle level is known, so what lies above it is not known either",
        "the idle level after the run differs from the one before",
        "some readings failed and were bridged",
        "a counter restarted, so there is no figure",
        "a counter stands still: there is no figure, or only what it showed before",
        "a device left, this is what was measured until then",
        "the device was slowed down by its power or temperature limit",
        "the rated power of the processor is not known: 3 W for each of its threads is assumed",
        "energy filtering of the processor is on and blurs its readings",
        "a part of this machine could not be measured and is missing in the sum",
        "a neighbouring phase too short for the sensor is inside this figure",
        "other programs were busy at the same time",
        "part of the prompt came from a cache although that was switched off",
        "samples were lost",
        "a part-time sensor sees the work at a fixed phase of its rhythm, only the bounds mean something",
        "the clock of the device changed, so this is not the speed of the other requests",
        "the sampler did not get the processor in time",
        "the machine slept or its clock was set meanwhile",
        "the power reading is an average over a second, not instant power",
        "the sensor gives new values more slowly than this window is long",
        "the sensors had not shown all of it yet, so a part is by what was learnt of the model",
        "too little was known of the model to share with other requests, which is right for one at a time",
        "the server's metering was too slow and missed a part of the exchange",
    };
    for (size_t i = 0; i < JL_COUNT(words); i++)
        if (bit == 1u << i)
            return words[i];
    return "";
}

/* The last idle level of a channel is the one in use. */
static const struct run_baseline *baseline_of(const struct run *r, const char *channel)
{
    for (size_t i = r->n_baselines; i-- > 0;)
        if (!strcmp(r->baselines[i].channel, channel) && !isnan(r->baselines[i].b.power_w))
            return &r->baselines[i];
    return NULL;
}

void words_idle(struct jl_buf *b, const struct run *r, const struct report_style *style)
{
    double sum_w = 0, u2 = 0;
    const char *level = "";
    size_t n = 0;
    bool estimate = false;
    for (size_t i = 0; i < r->n_channels; i++) {
        const struct run_baseline *x = r->channels[i].in_total ? baseline_of(r, r->channels[i].id) : NULL;
        if (!x)
            continue;
        sum_w += x->b.power_w;
        u2 += isnan(x->b.u_w) ? 0 : x->b.u_w * x->b.u_w;
        level = x->level;
        estimate |= r->channels[i].factor_lo < 1;
        n++;
    }
    if (!n)
        return;
    if (estimate)
        jl_buf_printf(b, "the idle level of %s %s W", text_about(style), number_digits(sum_w, 2).text);
    else
        jl_buf_printf(b, "the idle level of %s", number_pm(sum_w, 2 * sqrt(u2), "W", style).text);
    if (!strcmp(level, "L0"))
        jl_buf_str(b, " (no model server)");
    if (!strcmp(level, "L1"))
        jl_buf_str(b, " (model loaded, no request)");
}

static bool seen_before(const struct run *r, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (r->channels[k].in_total && !strcmp(r->channels[k].sensor, r->channels[i].sensor))
            return true;
    return false;
}

static bool one_provenance(const struct run *r)
{
    const struct joulet_channel *first = NULL;
    for (size_t i = 0; i < r->n_channels; i++) {
        if (!r->channels[i].in_total)
            continue;
        if (first && first->provenance != r->channels[i].provenance)
            return false;
        first = &r->channels[i];
    }
    return true;
}

void words_sensors(struct jl_buf *b, const struct run *r)
{
    const char *between = "";
    bool alike = one_provenance(r);
    for (size_t i = 0; i < r->n_channels; i++) {
        if (!r->channels[i].in_total || seen_before(r, i))
            continue;
        jl_buf_str(b, between);
        between = "; ";
        const char *comma = "";
        for (size_t k = i; k < r->n_channels; k++)
            if (r->channels[k].in_total && !strcmp(r->channels[k].sensor, r->channels[i].sensor)) {
                jl_buf_printf(b, "%s%s", comma, r->channels[k].id);
                comma = ", ";
            }
        jl_buf_printf(b, " (%s%s%s)", r->channels[i].sensor, alike ? "" : ", ",
                      alike ? "" : joulet_provenance_name(r->channels[i].provenance));
    }
}
