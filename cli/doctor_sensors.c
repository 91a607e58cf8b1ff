/* doctor_sensors.c - `joulet doctor` about the sensors: found, refused, silent or not here, and what would help. */
#include "cli/doctor.h"
#include "cli/parse.h"

#include <math.h>
#include <string.h>

#define SLOW_S 0.5 /* what takes longer for a new value is not silent after half a second without one */

/* What helps for good, where the sentence of the sensor only helps at once. Counters of the CPU must stay unreadable for
 * everybody: they leak what other users compute (CVE-2020-8694). */
static const struct {
    const char *sensor;
    enum joulet_status status;
    const char *lines;
} remedies[] = {
    {"rapl", JOULET_PERMISSION,
     "sudo joulet doctor --fix   # does the following, when you have seen it\n"
     "for good: a group that may read the counters, and nobody else\n"
     "sudo groupadd -f joulet\n"
     "sudo usermod -aG joulet \"$USER\"   # log in again after this\n"
     "echo 'SUBSYSTEM==\"powercap\", KERNEL==\"intel-rapl*:*\", RUN+=\"/bin/chgrp joulet /sys%p/energy_uj\", "
     "RUN+=\"/bin/chmod 0440 /sys%p/energy_uj\"' | sudo tee /etc/udev/rules.d/70-joulet.rules\n"
     "sudo udevadm control --reload && sudo udevadm trigger --subsystem-match=powercap --action=add"},
};

/* A sensor that is not here: is it the machine, or is something missing? */
static const struct {
    const char *sensor, *on_metal, *in_vm, *help;
} absences[] = {
    {"rapl", "no energy counters of the CPU: the processor has none, or the kernel module is not loaded",
     "no energy counters of the CPU: a virtual machine does not see those of its host", "sudo modprobe intel_rapl_msr"},
};

static void absent(const struct doctor *d, const struct joulet_sensor *row, struct finding *f)
{
    bool bare = !d->machine.virtual_machine;
    for (size_t i = 0; i < JL_COUNT(absences); i++) {
        if (strcmp(absences[i].sensor, row->name) != 0)
            continue;
        enum verdict v = live_measures(&d->live) ? DOCTOR_OK : DOCTOR_ADVICE;
        found(f, v, "%s", bare ? absences[i].on_metal : absences[i].in_vm);
        if (v == DOCTOR_ADVICE && bare)
            remedy(f, "%s", absences[i].help);
        else if (v == DOCTOR_ADVICE)
            remedy(f, "run joulet on the host, or live with estimates");
        return;
    }
    found(f, DOCTOR_OK, "not here: %s", row->summary);
}

static void in_trouble(const struct joulet_problem *p, const struct joulet_sensor *row, struct finding *f)
{
    char entry[64];
    found(f, row->beside ? DOCTOR_ADVICE : DOCTOR_FAILED, "%s", p->message);
    for (size_t i = 0; i < JL_COUNT(remedies); i++)
        if (strcmp(remedies[i].sensor, p->sensor) == 0 && remedies[i].status == p->status)
            remedy(f, "%s", remedies[i].lines);
    if (!f->remedy[0] && trouble_name(p->message, entry, sizeof entry))
        remedy(f, "joulet help %s", entry);
}

/* A fact about the device of a channel ("gpu0" of "gpu0.board"), "" without. The text lives as long as the meter. */
static const char *fact_of(struct joulet *m, const char *id, const char *key)
{
    struct joulet_fact fact;
    size_t device = strcspn(id, ".");
    for (size_t i = 0; i < joulet_fact_count(m); i++)
        if (joulet_fact_get(m, i, &fact) == JOULET_OK && strcmp(fact.key, key) == 0 && strlen(fact.device) == device &&
            strncmp(fact.device, id, device) == 0)
            return fact.value;
    return "";
}

static void present(const struct doctor *d, const struct joulet_sensor *row, struct finding *f)
{
    char list[300] = "", silent[120] = "";
    const char *driver = "";
    size_t n = 0, power = 0;
    bool simulated = false, silent_fast = false;
    double period_s = NAN;
    for (size_t i = 0; i < d->live.n; i++) {
        const struct live_channel *x = &d->live.channels[i];
        if (strcmp(x->ch.sensor, row->name) != 0 || !live_is_power(&x->ch))
            continue;
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", n ? ", " : "", x->ch.id);
        n = n < sizeof list ? n : sizeof list - 1;
        if (isnan(x->now) && !silent[0] && !live_is_pushed(x->ch.sensor))
            snprintf(silent, sizeof silent, "%s", x->ch.id);
        silent_fast |= isnan(x->now) && x->ch.period_s <= SLOW_S;
        if (!driver[0])
            driver = fact_of(d->live.meter, x->ch.id, "driver");
        simulated |= x->ch.provenance == JOULET_SIMULATED;
        if (x->ch.quantity == JOULET_POWER ||
            !live_is_pushed(x->ch.sensor)) /* counters of plugs are beside what is measured with */
            period_s = fmax(x->ch.period_s, isnan(period_s) ? 0 : period_s);
        power++;
    }
    if (silent[0] && fact_of(d->live.meter, silent, "silent")[0]) { /* it says itself why */
        found(f, DOCTOR_OK, "%s: no readings now: %s", list, fact_of(d->live.meter, silent, "silent"));
        return;
    }
    if (silent[0] && period_s > SLOW_S && !silent_fast) {
        found(f, DOCTOR_OK, "%s: a new value every %.3g s, none in the moment of looking", list, period_s);
        return;
    }
    if (silent[0]) {
        found(f, DOCTOR_FAILED, "%s is there but gave nothing new for half a second, so its power is not known", silent);
        remedy(f, "joulet monitor --sensors %s   # does it stay silent?", row->name);
        return;
    }
    found(f, simulated ? DOCTOR_ADVICE : DOCTOR_OK, "%s: %zu of power or energy, new values every %.3g %s%s%s%s", list, power,
          period_s < 1 ? period_s * 1e3 : period_s, period_s < 1 ? "ms" : "s", driver[0] ? ", driver " : "", driver,
          simulated ? "; read below a redirected folder, so figures are marked simulated" : "");
    if (simulated)
        remedy(f, "--trust-root, if that folder shows the sensors of this machine, as in a container");
}

void doctor_sensor(const struct doctor *d, const struct joulet_sensor *row, struct finding *f)
{
    struct joulet_problem p;
    struct joulet *m = d->live.meter;
    if (!m) {
        found(f, DOCTOR_FAILED, "%s", d->error.message);
        return;
    }
    for (size_t i = 0; i < joulet_problem_count(m); i++) {
        if (joulet_problem_get(m, i, &p) == JOULET_OK && strcmp(p.sensor, row->name) == 0) {
            in_trouble(&p, row, f);
            return;
        }
    }
    for (size_t i = 0; i < d->live.n; i++) {
        if (strcmp(d->live.channels[i].ch.sensor, row->name) == 0) {
            present(d, row, f);
            return;
        }
    }
    absent(d, row, f);
}
