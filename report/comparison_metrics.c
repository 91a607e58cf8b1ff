/* comparison_metrics.c - what two sides can be compared by, taken from one request. */
#include "report/comparison_private.h"

#include <math.h>
#include <string.h>

enum part { PART_WHOLE, PART_PREFILL, PART_DECODE, PART_TIME };
enum per { PER_REQUEST, PER_OUTPUT, PER_INPUT, PER_TOKEN };

static const struct metric_row {
    struct compare_metric m;
    enum part part;
    enum per per;
} rows[] = {
    {{"j", "energy of a request", "J", "uses", true}, PART_WHOLE, PER_REQUEST},
    {{"j-per-token", "energy per output token", "J/token", "uses", true}, PART_WHOLE, PER_OUTPUT},
    {{"j-per-total-token", "energy per token, prompt and answer", "J/token", "uses", true}, PART_WHOLE, PER_TOKEN},
    {{"prefill", "energy of prefill", "J", "uses", true}, PART_PREFILL, PER_REQUEST},
    {{"decode", "energy of decode", "J", "uses", true}, PART_DECODE, PER_REQUEST},
    {{"prefill-per-token", "energy of prefill per prompt token", "J/token", "uses", true}, PART_PREFILL, PER_INPUT},
    {{"decode-per-token", "energy of decode per output token", "J/token", "uses", true}, PART_DECODE, PER_OUTPUT},
    {{"time", "time of a request", "s", "takes", false}, PART_TIME, PER_REQUEST},
};

static const struct metric_row *row_of(const struct compare_metric *m)
{
    size_t i = 0;
    while (i + 1 < JL_COUNT(rows) && &rows[i].m != m)
        i++;
    return &rows[i];
}

const struct compare_metric *compare_metric(const char *name)
{
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        if (!strcmp(rows[i].m.name, name))
            return &rows[i].m;
    return NULL;
}

bool metric_of_whole(const struct compare_metric *m)
{
    return row_of(m)->part == PART_WHOLE;
}

static bool is_chosen(const struct chosen *chosen, const char *channel)
{
    for (size_t i = 0; i < chosen->n; i++)
        if (!strcmp(chosen->channels[i]->id, channel))
            return true;
    return false;
}

/* Channels are different sensors: what they do not know adds in quadrature, gain linearly. */
static void add_energy(struct figure_of *f, const struct joulet_energy *e, bool gross)
{
    const double random[] = {e->u.q, e->u.b, e->u.event};
    f->part += gross ? e->gross_j : e->net_j;
    for (size_t i = 0; i < JL_COUNT(random); i++)
        f->random = hypot(f->random, isnan(random[i]) ? 0 : random[i]);
    f->time = hypot(f->time, isnan(e->u.time) ? 0 : e->u.time);
    f->idle = hypot(f->idle, gross || isnan(e->u.idle) ? 0 : e->u.idle);
    f->spec += isnan(e->u.spec) ? 0 : e->u.spec;
}

static void energy_figure(const struct compare_options *opt, const struct chosen *chosen, const struct run_energy *e,
                          struct figure_of *f)
{
    size_t found = 0;
    if (chosen->n == 0) {
        add_energy(f, &e->total, opt->gross);
        return;
    }
    for (size_t i = 0; i < e->n_channels; i++)
        if (is_chosen(chosen, e->channels[i].channel)) {
            add_energy(f, &e->channels[i].e, opt->gross);
            found++;
        }
    if (found < chosen->n)
        f->part = NAN;
}

static const struct run_energy *energy_of(const struct run_request *q, enum part part)
{
    const char *name = part == PART_PREFILL ? "prefill" : "decode";
    if (part == PART_WHOLE)
        return &q->energy;
    for (size_t i = 0; i < q->n_windows; i++)
        if (!strcmp(q->windows[i].name, name))
            return &q->windows[i].energy;
    return NULL;
}

static double tokens_of(const struct run_request *q, enum per per)
{
    double in = q->tokens.prompt > 0 ? (double)q->tokens.prompt : NAN;
    double out = q->tokens.generated > 0 ? (double)q->tokens.generated : NAN;
    return per == PER_REQUEST ? 1 : per == PER_OUTPUT ? out : per == PER_INPUT ? in : in + out;
}

void metric_figure(const struct compare_options *opt, const struct chosen *chosen, const struct run_request *q,
                   struct figure_of *out)
{
    const struct metric_row *row = row_of(opt->metric);
    *out = (struct figure_of){.per = tokens_of(q, row->per)};
    if (row->part == PART_TIME) {
        out->part = run_request_s(q);
        return;
    }
    const struct run_energy *e = energy_of(q, row->part);
    if (e)
        energy_figure(opt, chosen, e, out);
    else
        out->part = NAN;
}

double metric_energy(const struct compare_options *opt, const struct chosen *chosen, const struct run_request *q)
{
    struct figure_of f = {0};
    energy_figure(opt, chosen, &q->energy, &f);
    return f.part;
}
