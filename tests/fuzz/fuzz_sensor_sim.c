/* The expression of the simulated sensor, and its curve files. What is accepted must be playable. */
#include "lib/sensors/sim_curve.h"
#include "lib/sensors/sim_spec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double steady(void *user, double t_s)
{
    (void)user;
    return 100 * t_s;
}

static void check_outlets(const struct sim_play *p)
{
    struct sim_outlet outlets[SIM_OUTLETS_MAX];
    size_t n = sim_outlets_of(p, outlets);
    if (n < 1 || n > SIM_OUTLETS_MAX)
        abort();
    for (size_t i = 0; i < n; i++) {
        const struct sim_model *m = &outlets[i].model;
        struct sim_device d;
        struct sim_read r;
        if (!(m->period_s >= 1e-4) || !(m->jitter_s * 2 <= m->period_s) || !(m->window_s >= 0) || !(m->quantum > 0) ||
            !(outlets[i].told.period_s > 0))
            abort();
        sim_device_init(&d, m, steady, NULL, (uint64_t)p->seed);
        sim_device_read(&d, 1, &r);
        if (r.u.visible_s > 1)
            abort();
    }
}

static void check_spec(const struct sim_spec *s)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct sim_play *d = &s->devices[i];
        if (d->fail < 0 || d->late < 0 || d->group >= JOULET_GROUP_COUNT)
            abort();
        check_outlets(d);
        for (size_t k = 0; k < d->n_steps; k++)
            if (!(d->p_w[k] >= 0) || (k && d->t_s[k] < d->t_s[k - 1]))
                abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sim_spec spec;
    struct joulet_error err;
    struct sim_curve curve;
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (sim_spec_parse(&spec, text, &err) == JOULET_OK)
        check_spec(&spec);
    else if (!err.message[0])
        abort();
    sim_spec_release(&spec);
    if (sim_curve_init(&curve, 2, 0.003)) {
        if (sim_curve_parse(&curve, text, size, "fuzz", &err) == JOULET_OK && !isfinite(sim_curve_energy_at(&curve, 1)))
            abort();
        sim_curve_release(&curve);
    }
    free(text);
    return 0;
}
