/* metering_metrics.c - where the energy of every device went, and how requests spread, for Prometheus. The accounts of a device
 * are sums over windows; those that could be taken back by a window below the idle level are gauges, the others counters that are
 * held where they are until the sum is above again. */
#include "report/prometheus.h"
#include "server/metering_private.h"

#include <math.h>

enum { REQUESTS, IDLE_SHARES, VACANT, IDLE_DEVICE, MEASURED, KEEP_ALIVE };

/* Never less than was told before. */
static double rising(struct metering_device *d, size_t i, double x)
{
    if (x > d->told[i])
        d->told[i] = x;
    return d->told[i];
}

static void of_devices(struct metering *m, struct jl_buf *out, const char *name, const char *type, const char *help,
                       double (*value)(struct metering_device *d, const struct joulet_accounts *a))
{
    prometheus_family(out, name, type, help);
    for (size_t i = 0; i < m->o.n_channels; i++) {
        struct metering_device *d = &m->devices[i];
        struct joulet_accounts a = {0};
        struct prometheus_label labels[] = {{"device", d->ch.id}, {"provenance", joulet_provenance_name(d->ch.provenance)}};
        if (joulet_attribution_accounts(m->attribution, d->device, &a, NULL) == JOULET_OK)
            prometheus_sample(out, name, labels, JL_COUNT(labels), value(d, &a));
    }
}

static double measured(struct metering_device *d, const struct joulet_accounts *a)
{
    return rising(d, MEASURED, a->measured_j);
}

static double keep_alive(struct metering_device *d, const struct joulet_accounts *a)
{
    return isnan(d->empty_w) ? NAN : rising(d, KEEP_ALIVE, a->keep_alive_j);
}

static double other(struct metering_device *d, const struct joulet_accounts *a)
{
    (void)d;
    return a->other_j;
}

static double residual(struct metering_device *d, const struct joulet_accounts *a)
{
    (void)d;
    return a->residual_j;
}

static double idle_w(struct metering_device *d, const struct joulet_accounts *a)
{
    (void)a;
    return d->idle.power_w;
}

static double lost_s(struct metering_device *d, const struct joulet_accounts *a)
{
    (void)a;
    return d->lost_s;
}

static void attributed(struct metering *m, struct jl_buf *out)
{
    static const char name[] = "joulet_device_energy_joules_total";
    prometheus_family(
        out, name, "counter",
        "Energy of a device by account: requests (net), idle_shares (idle power while they were there), vacant (idle "
        "power while nobody was), idle_device (all of it while no upstream computed on it).");
    for (size_t i = 0; i < m->o.n_channels; i++) {
        struct metering_device *d = &m->devices[i];
        struct joulet_accounts a = {0};
        if (joulet_attribution_accounts(m->attribution, d->device, &a, NULL) != JOULET_OK)
            continue;
        const struct {
            const char *account;
            double value;
        } rows[] = {{"requests", a.requests_j},
                    {"idle_shares", a.idle_shares_j},
                    {"vacant", a.vacant_j},
                    {"idle_device", a.idle_device_j}};
        for (size_t k = 0; k < JL_COUNT(rows); k++) {
            struct prometheus_label labels[] = {
                {"device", d->ch.id}, {"provenance", joulet_provenance_name(d->ch.provenance)}, {"account", rows[k].account}};
            prometheus_sample(out, name, labels, JL_COUNT(labels), rising(d, REQUESTS + k, rows[k].value));
        }
    }
}

void metering_write_metrics(struct metering *m, struct jl_buf *out)
{
    pthread_mutex_lock(&m->lock);
    prometheus_family(out, "joulet_requests_running", "gauge", "Requests under way.");
    prometheus_sample(out, "joulet_requests_running", NULL, 0, (double)m->in_flight);
    prometheus_family(out, "joulet_requests_unmetered_total", "counter",
                      "Requests that were not metered, because too many were under way.");
    prometheus_sample(out, "joulet_requests_unmetered_total", NULL, 0, (double)m->n_unmetered);
    of_devices(m, out, "joulet_device_measured_energy_joules_total", "counter",
               "All that the sensor of a device showed: the sum of its accounts, other and residual.", measured);
    attributed(m, out);
    of_devices(m, out, "joulet_device_keep_alive_energy_joules_total", "counter",
               "The part of vacant that loaded models cost, where the level without any is known.", keep_alive);
    of_devices(m, out, "joulet_device_other_energy_joules", "gauge",
               "Energy above or below the idle level while nobody asked for anything.", other);
    of_devices(m, out, "joulet_device_residual_energy_joules", "gauge", "Energy that is carried to the next window.", residual);
    of_devices(m, out, "joulet_device_idle_watts", "gauge", "The idle level that net energy counts from.", idle_w);
    of_devices(m, out, "joulet_device_unmeasured_seconds_total", "counter", "Time in which the sensor failed.", lost_s);
    pthread_mutex_unlock(&m->lock);
    tallies_write(m->tallies, out);
}
