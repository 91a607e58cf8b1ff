/* rapl_zone.c - folder names, zone names, counters and ranges of powercap, as the kernel prints them
 * (Documentation/power/powercap, drivers/powercap/intel_rapl_common.c). */
#include "lib/sensors/rapl_zone.h"

#include <math.h>
#include <string.h>

/* Reads a small decimal number and moves *s behind it; -1 when there is none. */
static int small_number(const char **s)
{
    int v = 0, digits = 0;
    for (; **s >= '0' && **s <= '9'; (*s)++, digits++) {
        if (digits == 6)
            return -1;
        v = v * 10 + (**s - '0');
    }
    return digits ? v : -1;
}

static bool skip(const char **s, const char *word)
{
    size_t n = strlen(word);
    if (strncmp(*s, word, n) != 0)
        return false;
    *s += n;
    return true;
}

static bool numbered(const char *s, int *number)
{
    *number = small_number(&s);
    return *number >= 0 && !*s;
}

static bool parse_package(const char *s, struct rapl_name *out)
{
    out->kind = RAPL_PACKAGE;
    out->socket = small_number(&s);
    if (out->socket < 0)
        return false;
    return !*s || (skip(&s, "-die-") && numbered(s, &out->die));
}

bool rapl_parse_name(const char *name, struct rapl_name *out)
{
    static const struct {
        const char *name;
        enum rapl_kind kind;
    } plain[] = {{"dram", RAPL_DRAM}, {"core", RAPL_CORE}, {"uncore", RAPL_UNCORE}, {"psys", RAPL_PSYS}};
    *out = (struct rapl_name){.socket = -1, .die = -1};
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        out->kind = plain[i].kind;
        if (strcmp(name, plain[i].name) == 0)
            return true;
    }
    if (skip(&name, "package-"))
        return parse_package(name, out);
    out->kind = RAPL_PSYS; /* "psys-1": the second socket of a server has its own */
    return skip(&name, "psys-") && numbered(name, &out->socket);
}

bool rapl_parse_folder(const char *folder, struct rapl_folder *out)
{
    *out = (struct rapl_folder){.sub = -1};
    if (!skip(&folder, "intel-rapl"))
        return false;
    out->mmio = skip(&folder, "-mmio");
    if (!skip(&folder, ":"))
        return false;
    out->top = small_number(&folder);
    if (out->top < 0)
        return false;
    return !*folder || (skip(&folder, ":") && numbered(folder, &out->sub));
}

bool rapl_parse_digits(const char *text, size_t n, uint64_t *out)
{
    uint64_t v = 0;
    if (n && text[n - 1] == '\n')
        n--;
    if (!n)
        return false;
    for (size_t i = 0; i < n; i++) {
        unsigned d = (unsigned)(unsigned char)text[i] - '0';
        if (d > 9 || v > (UINT64_MAX - d) / 10)
            return false;
        v = v * 10 + d;
    }
    *out = v;
    return true;
}

double rapl_quantum_j(uint64_t range_uj)
{
    if (!range_uj)
        return NAN;
    double q = (double)range_uj * 1e-6 / 4294967295.0;
    double nearest = exp2(round(log2(q)));
    /* The kernel rounds its unit to whole nanojoules before it prints the range, so the range is a little small. */
    return fabs(q / nearest - 1) < 0.01 ? nearest : q;
}
