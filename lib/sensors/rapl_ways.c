/* rapl_ways.c - which way to the RAPL counters is open. */
#include "lib/sensors/rapl_ways.h"

#include "lib/sensors/rapl_find.h"
#include "lib/sensors/sysfile.h"

bool rapl_named(const struct joulet_options *opt, const char *sensor)
{
    return opt && opt->sensors && jl_word_in(opt->sensors, ',', sensor);
}

bool rapl_wanted(const struct joulet_options *opt, const char *sensor)
{
    return !opt || !opt->sensors || rapl_named(opt, sensor);
}

bool rapl_powercap_works(void)
{
    struct rapl_search *s = rapl_search_open(NULL);
    bool works = false;
    for (size_t i = 0; s && i < s->n && !works; i++) {
        struct sysfile f;
        if (s->zones[i].name.kind == RAPL_PACKAGE)
            works = sysfile_open(&f, s->zones[i].path, "energy_uj");
        if (works)
            sysfile_close(&f);
    }
    rapl_search_close(s);
    return works;
}
