/* rapl_channel.c - what a RAPL counter is to the meter: its id, its place among the others, its habits (docs/method.md 1.1). */
#include "lib/sensors/rapl_channel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UPDATE_S 0.001 /* new value every millisecond (1.1) */

void rapl_id(char buf[RAPL_ID_SIZE], const struct rapl_name *n, enum rapl_kind kind)
{
    static const char *const names[] = {"package", "dram", "core", "uncore"};
    int socket = n->socket < 0 ? 0 : n->socket;
    if (kind == RAPL_PSYS && socket > 0)
        snprintf(buf, RAPL_ID_SIZE, "platform.psys%d", socket);
    else if (kind == RAPL_PSYS)
        snprintf(buf, RAPL_ID_SIZE, "platform.psys");
    else if (n->die >= 0)
        snprintf(buf, RAPL_ID_SIZE, "cpu%d.die%d.%s", socket, n->die, names[kind]);
    else
        snprintf(buf, RAPL_ID_SIZE, "cpu%d.%s", socket, names[kind]);
}

double rapl_max_w(enum rapl_kind kind)
{
    return kind == RAPL_PSYS ? 20000.0 : 2000.0;
}

double rapl_wraps_w(enum rapl_kind kind)
{
    return kind == RAPL_PSYS ? 20000.0 : 500.0;
}

static double gain_error(const struct rapl_place *p)
{
    if (p->filtered)
        return 0.25;
    if (p->amd)
        return 0.10;
    return p->name.kind == RAPL_DRAM ? 0.20 : 0.05;
}

static void device_of(const struct rapl_place *p, char *buf, size_t size)
{
    if (p->name.kind == RAPL_DRAM)
        snprintf(buf, size, "memory of socket %d", p->name.socket);
    else if (p->name.kind == RAPL_PSYS)
        snprintf(buf, size, "whole platform");
    else if (p->name.kind == RAPL_CORE && p->amd) /* the register of the first core only, not a sum */
        snprintf(buf, size, "%s, one core of all", p->cpu[0] ? p->cpu : "AMD");
    else
        snprintf(buf, size, "%s", p->cpu);
}

bool rapl_channel_add(struct sensor *s, const struct rapl_place *p, enum joulet_provenance provenance)
{
    static const struct {
        enum joulet_group group;
        enum joulet_domain domain;
        bool inside, counts;
    } kinds[] = {[RAPL_PACKAGE] = {JOULET_GROUP_CPU, JOULET_DOMAIN_PACKAGE, false, true},
                 [RAPL_DRAM] = {JOULET_GROUP_DRAM, JOULET_DOMAIN_DRAM, false, true},
                 [RAPL_CORE] = {JOULET_GROUP_CPU, JOULET_DOMAIN_CORE, true, false},
                 [RAPL_UNCORE] = {JOULET_GROUP_CPU, JOULET_DOMAIN_UNCORE, true, false},
                 [RAPL_PSYS] = {JOULET_GROUP_PLATFORM, JOULET_DOMAIN_PSYS, false, false}};
    char id[RAPL_ID_SIZE], parent[RAPL_ID_SIZE] = "", device[192];
    enum rapl_kind kind = p->name.kind;
    rapl_id(id, &p->name, kind);
    if (kinds[kind].inside)
        rapl_id(parent, &p->name, RAPL_PACKAGE);
    device_of(p, device, sizeof(device));
    struct joulet_channel ch = SENSOR_CHANNEL_INIT;
    ch.id = id;
    ch.device = device;
    ch.parent = parent;
    ch.quantity = JOULET_ENERGY;
    ch.group = kinds[kind].group;
    ch.domain = kinds[kind].domain;
    if (kind != RAPL_PSYS)
        ch.place = 1 + (p->name.socket > 0 ? p->name.socket : 0) + 256 * (p->name.die > 0 ? p->name.die : 0);
    ch.provenance = provenance;
    ch.in_total = kinds[kind].counts && !(kind == RAPL_DRAM && p->client);
    ch.period_s = UPDATE_S;
    ch.quantum_j = isnan(p->quantum_j) ? 0x1p-14 : p->quantum_j;
    ch.u_lag_s = p->filtered ? 0.001 : 0.0003;
    ch.lag_max_s = 0.002;
    ch.rise_s = 0.0003;
    ch.spec = gain_error(p);
    return sensor_channel_add(s, &ch);
}

/* ---- the processor ------------------------------------------------------------------------------------------------- */

static int cpuinfo_number(const char *key)
{
    char text[32];
    int64_t v;
    return jl_cpuinfo(key, text, sizeof(text)) && jl_parse_i64(text, &v) && v >= 0 && v < 100000 ? (int)v : 0;
}

bool rapl_know_cpu(struct rapl_cpu *c)
{
    static const char *const client[] = {"Core(TM)", "Pentium", "Celeron", "Atom"};
    char vendor[64] = "", flags[4096];
    bool same = (strcmp(jl_sysfs_root(), "/sys") == 0) == (strcmp(jl_procfs_root(), "/proc") == 0);
    *c = (struct rapl_cpu){.amd = false};
    if (!same || !jl_cpuinfo("vendor_id", vendor, sizeof(vendor)))
        return false;
    jl_cpuinfo("model name", c->name, sizeof(c->name));
    c->amd = strcmp(vendor, "AuthenticAMD") == 0 || strcmp(vendor, "HygonGenuine") == 0;
    c->intel = strcmp(vendor, "GenuineIntel") == 0;
    c->family = cpuinfo_number("cpu family");
    c->model = cpuinfo_number("model");
    for (size_t i = 0; i < JL_COUNT(client); i++)
        c->client |= strstr(c->name, client[i]) && !strstr(c->name, "Xeon");
    c->filtered = c->intel && jl_cpuinfo("flags", flags, sizeof(flags)) && jl_word_in(flags, ' ', "sgx");
    return true;
}

static int topology(int cpu, const char *file, int unknown)
{
    char path[4096], text[32];
    int64_t v;
    snprintf(path, sizeof(path), "%s/devices/system/cpu/cpu%d/topology/%s", jl_sysfs_root(), cpu, file);
    if (jl_read_text(path, text, sizeof(text), NULL) != JOULET_OK || !jl_parse_i64(text, &v) || v < 0 || v > 65535)
        return unknown;
    return (int)v;
}

void rapl_know_place(int cpu, int *socket, int *die)
{
    *socket = topology(cpu, "physical_package_id", 0);
    *die = topology(cpu, "die_id", -1);
}
