/* api_text.c - the words of the public interface: texts of statuses, names of provenances, groups and flags; version and clock.
 */
#include "lib/base/base.h"

#include <stdlib.h>

static const char *pick(const char *const *names, size_t n, size_t i, const char *otherwise)
{
    return i < n ? names[i] : otherwise;
}

const char *joulet_status_text(enum joulet_status status)
{
#define TEXT(name, text) text,
    static const char *const texts[] = {JOULET_STATUS_MAP(TEXT)};
#undef TEXT
    return pick(texts, JL_COUNT(texts), (size_t)status, "unknown status");
}

const char *joulet_version(void)
{
    return JOULET_VERSION;
}

const char *joulet_provenance_name(enum joulet_provenance p)
{
    static const char *const names[] = {"measured", "derived", "estimated", "imported", "simulated"};
    return pick(names, JL_COUNT(names), (size_t)p, "unknown");
}

const char *joulet_group_name(enum joulet_group g)
{
    static const char *const names[] = {"cpu", "dram", "gpu", "platform", "other"};
    return pick(names, JL_COUNT(names), (size_t)g, "unknown");
}

const char *joulet_domain_name(enum joulet_domain d)
{
    static const char *const names[JOULET_DOMAIN_COUNT] = {"unknown", "wall",    "chassis",  "battery",    "psys", "module",
                                                           "soc",     "package", "core",     "uncore",     "igpu", "npu",
                                                           "dram",    "gpu",     "gpu chip", "gpu memory", "part", "process"};
    return pick(names, JL_COUNT(names), (size_t)d, "unknown");
}

const char *joulet_flag_name(uint32_t bit)
{
    static const char *const names[] = {
        "unresolved",  "mismatch",    "truncated",   "no lead-in",      "inconsistent",   "short baseline",
        "no baseline", "idle drift",  "gap",         "reset",           "frozen",         "gone",
        "throttled",   "guessed",     "filtered",    "partial",         "joined",         "foreign load",
        "cached",      "trace lost",  "aliased",     "clock change",    "starved",        "clock step",
        "averaged",    "slow sensor", "provisional", "weights assumed", "not wholly seen"};
    for (size_t i = 0; i < JL_COUNT(names); i++)
        if (bit == 1u << i)
            return names[i];
    return NULL;
}

joulet_mark joulet_now(void)
{
    return jl_mono_ns();
}

void joulet_trace_release(struct joulet_trace *trace)
{
    if (!trace)
        return;
    free(trace->samples);
    *trace = (struct joulet_trace){0};
}
