/* perf_text.c - the texts below /sys/bus/event_source/devices/power: event, format, scale, cpumask. Pure. */
#include "lib/base/base.h"
#include "lib/sensors/perf.h"

#include <stdlib.h>
#include <string.h>

#define CPU_MAX 65535

static bool hex_or_decimal(const char *s, uint64_t *out)
{
    int base = s[0] == '0' && (s[1] == 'x' || s[1] == 'X') ? 16 : 10;
    const char *digits = base == 16 ? "0123456789abcdefABCDEF" : "0123456789";
    s += base == 16 ? 2 : 0;
    size_t n = strlen(s);
    if (n == 0 || n > (base == 16 ? 16u : 19u) || strspn(s, digits) != n)
        return false;
    *out = strtoull(s, NULL, base);
    return true;
}

/* "config:0-7" or "config:3": which bits. Other words of the attribute, config1 among them, are not for energy. */
static bool bits(const char *format, unsigned *low, unsigned *high)
{
    char *end;
    if (!jl_starts(format, "config:") || format[7] < '0' || format[7] > '9')
        return false;
    unsigned long a = strtoul(format + 7, &end, 10), b = a;
    if (*end == '-' && end[1] >= '0' && end[1] <= '9')
        b = strtoul(end + 1, &end, 10);
    *low = (unsigned)a;
    *high = (unsigned)b;
    return !*end && a <= b && b < 64;
}

bool perf_parse_event(const char *event, const char *format, uint64_t *config)
{
    unsigned low, high;
    uint64_t value;
    if (!jl_starts(event, "event=") || !hex_or_decimal(event + 6, &value) || !bits(format, &low, &high))
        return false;
    unsigned width = high - low + 1;
    if (width < 64 && value >> width)
        return false;
    *config = value << low;
    return true;
}

bool perf_parse_scale(const char *text, double *scale)
{
    return jl_parse_double(text, scale) && *scale > 0 && *scale <= 1;
}

/* A number and what follows it; -1 when there is none. */
static long number(const char **s)
{
    long v = 0;
    if (**s < '0' || **s > '9')
        return -1;
    for (; **s >= '0' && **s <= '9'; (*s)++) {
        v = v * 10 + (**s - '0');
        if (v > CPU_MAX)
            return -1;
    }
    return v;
}

int perf_parse_cpus(const char *text, int *cpus, int max)
{
    int n = 0;
    for (const char *s = text;;) {
        long from = number(&s), to = from;
        if (*s == '-') {
            s++;
            to = number(&s);
        }
        if (from < 0 || to < from || to - from >= max - n)
            return -1;
        for (long c = from; c <= to; c++)
            cpus[n++] = (int)c;
        if (!*s || strcmp(s, "\n") == 0)
            return n;
        if (*s++ != ',')
            return -1;
    }
}
