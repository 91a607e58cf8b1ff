/* cpu_time.c - whose processor time it was, over a whole record (docs/method.md 6.4). Shares add as times do, energies as
 * consecutive windows of one device. */
#include "run/run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void run_cpu_time_init(struct run_cpu_time *t)
{
    static const struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;
    *t = (struct run_cpu_time){.share = NAN, .share_pm = NAN, .engine_s = NAN, .busy_s = NAN, .processes = -1};
    t->e_llm = t->m_eff = unknown;
    t->e_llm.provenance = t->m_eff.provenance = JOULET_DERIVED; /* never a reading */
}

/* The interval of the mean share: those of the parts, weighted by busy time. square: sum of their squares so far. */
static void add(struct run_cpu_time *sum, const struct run_cpu_time *t, double *square)
{
    if (isnan(t->engine_s) || isnan(t->busy_s))
        return;
    if (isnan(sum->engine_s))
        sum->engine_s = sum->busy_s = 0;
    sum->engine_s += t->engine_s;
    sum->busy_s += t->busy_s;
    *square += isnan(t->share) ? 0 : t->share_pm * t->busy_s * t->share_pm * t->busy_s;
    if (t->processes > sum->processes)
        sum->processes = t->processes;
    snprintf(sum->source, sizeof sum->source, "%s", t->source);
    joulet_energy_chain(&sum->e_llm, &t->e_llm);
    joulet_energy_chain(&sum->m_eff, &t->m_eff);
}

void run_cpu_time_of(const struct run *r, struct run_cpu_time *out)
{
    double square = 0;
    run_cpu_time_init(out);
    for (size_t i = 0; i < r->n_requests; i++) {
        const struct run_request *q = &r->requests[i];
        if (q->outcome == RUN_OK && !q->warmup && q->stream < 0)
            add(out, &q->cpu_time, &square);
    }
    for (size_t i = 0; i < r->n_windows; i++)
        add(out, &r->windows[i].cpu_time, &square);
    if (out->busy_s > 0) {
        out->share = fmin(1, out->engine_s / out->busy_s);
        out->share_pm = fmin(1, sqrt(square) / out->busy_s);
    }
}
