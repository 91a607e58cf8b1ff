/* table.c - the table of sources, and what all of them need: lists, the public part of a sensor.
 * A new source is one file and one row here (docs/adding-a-sensor.md). */
#include "lib/sensors/sensor.h"
#include "lib/sensors/sysfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* In order of preference: what measures, then what estimates, then what plays. */
#define SENSOR_ROWS(X)                                                                                                           \
    X(rapl) X(perf) X(msr) X(nvml) X(amdgpu) X(intelgpu) X(powermetrics) X(hwmon) X(battery) X(ipmi) X(tdp) X(sim) X(file)

#define SENSOR_DECLARE(name) extern const struct sensor_ops sensor_##name;
#define SENSOR_ROW(name)     &sensor_##name,
SENSOR_ROWS(SENSOR_DECLARE)
const struct sensor_ops *const sensor_table[] = {SENSOR_ROWS(SENSOR_ROW) NULL};

bool sensor_list_add(struct sensor_list *l, struct sensor *s)
{
    if (l->n == JL_COUNT(l->items))
        return false;
    l->items[l->n++] = s;
    return true;
}

void sensor_list_problem(struct sensor_list *l, const char *sensor, enum joulet_status status, const char *fmt, ...)
{
    char text[512];
    va_list args;
    if (l->n_problems == JL_COUNT(l->problems))
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    char *message = jl_strdup(text);
    if (message)
        l->problems[l->n_problems++] = (struct joulet_problem){sensor, status, message};
}

void sensor_list_trouble(struct sensor_list *l, const char *sensor)
{
    char path[SYSFILE_PATH];
    int error;
    if (sysfile_trouble(path, sizeof(path), &error))
        sensor_list_problem(
            l, sensor, JOULET_IO,
            "%s could not be read (%s), so a part of the machine may be missing: try again, and look for its driver in "
            "`dmesg`",
            path, strerror(error));
}

/* ---- the public part of a sensor -------------------------------------------------------------------------------- */

static const char *copy_or_empty(const char *s, bool *ok)
{
    char *copy = jl_strdup(s ? s : "");
    *ok = *ok && copy;
    return copy;
}

static void free_channel(struct joulet_channel *c)
{
    free((char *)c->id);
    free((char *)c->sensor);
    free((char *)c->device);
    free((char *)c->parent);
}

bool sensor_channel_add(struct sensor *s, const struct joulet_channel *c)
{
    struct joulet_channel *all = realloc(s->channels, (s->n_channels + 1) * sizeof(*all));
    if (!all)
        return false;
    s->channels = all;
    struct joulet_channel *copy = &all[s->n_channels];
    bool ok = true;
    *copy = *c;
    copy->id = copy_or_empty(c->id, &ok);
    copy->sensor = copy_or_empty(c->sensor ? c->sensor : s->ops->name, &ok);
    copy->device = copy_or_empty(c->device, &ok);
    copy->parent = copy_or_empty(c->parent, &ok);
    if (ok)
        s->n_channels++;
    else
        free_channel(copy);
    return ok;
}

static void free_fact(struct joulet_fact *f)
{
    free((char *)f->device);
    free((char *)f->key);
    free((char *)f->value);
}

bool sensor_fact_add(struct sensor *s, const char *device, const char *key, const char *fmt, ...)
{
    char value[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(value, sizeof(value), fmt, args);
    va_end(args);
    if (!value[0])
        return true;
    struct joulet_fact *all = realloc(s->facts, (s->n_facts + 1) * sizeof(*all));
    if (!all)
        return false;
    s->facts = all;
    bool ok = true;
    struct joulet_fact *f = &all[s->n_facts];
    f->device = copy_or_empty(device, &ok);
    f->key = copy_or_empty(key, &ok);
    f->value = copy_or_empty(value, &ok);
    if (ok)
        s->n_facts++;
    else
        free_fact(f);
    return ok;
}

void sensor_release(struct sensor *s)
{
    for (size_t i = 0; i < s->n_channels; i++)
        free_channel(&s->channels[i]);
    for (size_t i = 0; i < s->n_facts; i++)
        free_fact(&s->facts[i]);
    free(s->channels);
    free(s->facts);
    s->channels = NULL;
    s->facts = NULL;
    s->n_channels = s->n_facts = 0;
}

enum joulet_provenance sensor_provenance(const struct joulet_options *opt, bool redirected)
{
    return redirected && !(opt && opt->trust_root) ? JOULET_SIMULATED : JOULET_MEASURED;
}

/* ---- what sources share ------------------------------------------------------------------------------------------ */

static bool cpuinfo_line(char *line, const char *key, char *buf, size_t size)
{
    size_t n = strlen(key);
    if (strncmp(line, key, n) != 0)
        return false;
    char *p = line + n + strspn(line + n, " \t");
    if (*p != ':')
        return false;
    p += 1 + strspn(p + 1, " \t");
    snprintf(buf, size, "%s", p);
    return true;
}

bool jl_cpuinfo(const char *key, char *buf, size_t size)
{
    char path[4096], text[8192];
    snprintf(path, sizeof(path), "%s/cpuinfo", jl_procfs_root());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    sysfile_trouble_note(path, fd < 0 ? errno : 0);
    if (fd < 0)
        return false;
    size_t len = 0;
    ssize_t n = 0;
    while (len < sizeof(text) - 1 && (n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
        len += (size_t)n;
    sysfile_trouble_note(path, n < 0 ? errno : 0);
    close(fd);
    text[len] = '\0';
    char *rest = text;
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n"))
        if (cpuinfo_line(line, key, buf, size))
            return true;
    return false;
}
