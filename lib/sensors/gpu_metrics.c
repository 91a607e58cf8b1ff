/* gpu_metrics.c - reads the binary table of AMD GPUs as the Linux driver lays it out (kgd_pp_interface.h, struct gpu_metrics_v1_0
 * to v1_8, v2_0 to v2_4, v3_0): a header of 4 bytes, then fields at natural alignment, lowest byte first. Version 1 is of cards,
 * 2 and 3 of processors with graphics. Version 1.9 is a list of attributes, each behind 8 bytes that say what it is, packed
 * (struct gpu_metrics_v1_9, enum amdgpu_metrics_attr_id). The 16-bit power of version 2 is in watts or milliwatts as the firmware
 * pleases, and therefore not taken. */
#include "lib/sensors/gpu_metrics.h"

#define NONE 0

struct layout {
    uint8_t format, content;
    uint8_t power, power_bytes; /* offset and width; 0: none */
    double power_unit_w;
    uint8_t energy, energy_bytes;
    uint8_t stamp;
    uint8_t least; /* bytes up to the last field that is read */
    bool apu, documented;
};

static const struct layout layouts[] = {
    {1, 0, 34, 2, 1, 36, 4, 8, 40, false, false},         {1, 1, 22, 2, 1, 24, 8, 32, 40, false, false},
    {1, 2, 22, 2, 1, 24, 8, 32, 40, false, false},        {1, 3, 22, 2, 1, 24, 8, 32, 40, false, false},
    {1, 4, 10, 2, 1, 24, 8, 32, 40, false, true},         {1, 5, 10, 2, 1, 88, 8, 96, 104, false, true},
    {1, 6, 10, 2, 1, 16, 8, 24, 32, false, true},         {1, 7, 10, 2, 1, 24, 8, 32, 40, false, true},
    {1, 8, 10, 2, 1, 24, 8, 32, 40, false, true},         {2, 0, NONE, 0, 0, NONE, 0, 8, 16, true, false},
    {2, 1, NONE, 0, 0, NONE, 0, 32, 40, true, false},     {2, 2, NONE, 0, 0, NONE, 0, 32, 40, true, false},
    {2, 3, NONE, 0, 0, NONE, 0, 32, 40, true, false},     {2, 4, NONE, 0, 0, NONE, 0, 32, 40, true, false},
    {3, 0, 120, 4, 1e-3, NONE, 0, 104, 124, true, false},
};

/* false: all ones. */
static bool field(const uint8_t *bytes, unsigned at, unsigned width, uint64_t *out)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < width; i++)
        v |= (uint64_t)bytes[at + i] << (8 * i);
    *out = v;
    return v != (width == 8 ? UINT64_MAX : (UINT64_C(1) << (8 * width)) - 1);
}

static const struct layout *layout_of(unsigned format, unsigned content)
{
    for (unsigned i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++)
        if (layouts[i].format == format && layouts[i].content == content)
            return &layouts[i];
    return NULL;
}

/* ---- version 1.9 ----------------------------------------------------------------------------------------------------- */

#define LIST_HEAD 8 /* the header and how many attributes follow */
#define CODE      8
#define MOST_W    100000

enum attribute { SOCKET_POWER = 3, ENERGY = 7, TIME = 8 };
enum unit { IN_WATTS = 3, IN_NANOSECONDS = 4 };

/* Bits of the code of an attribute: values 0 to 9, attribute 10 to 19, type 20 to 23, unit 24 to 31. */
static unsigned bits(uint64_t code, unsigned from, unsigned n)
{
    return (unsigned)(code >> from) & ((1u << n) - 1);
}

/* Types are signed and unsigned numbers of 1, 2, 4 and 8 bytes. The accumulator has no unit here: the cards are those of 1.4
 * to 1.8, whose driver fills both from the same count of 2^-16 J. */
static void take_attribute(uint64_t code, const uint8_t *value, struct gpu_metrics *out)
{
    unsigned id = bits(code, 10, 10), type = bits(code, 20, 4), unit = bits(code, 24, 8);
    uint64_t v;
    if (bits(code, 0, 10) != 1 || type % 2 != 0 || !field(value, 0, 1u << type / 2, &v))
        return;
    if (id == SOCKET_POWER && unit == IN_WATTS && v <= MOST_W) {
        out->has_power = true;
        out->power_w = (double)v;
    } else if (id == ENERGY) {
        out->has_energy = v != UINT32_MAX;
        out->energy = v;
    } else if (id == TIME && unit == IN_NANOSECONDS) {
        out->has_stamp = v != 0;
        out->stamp_ns = v;
    }
}

static enum gpu_metrics_result parse_list(const uint8_t *bytes, struct gpu_metrics *out)
{
    uint64_t n, code;
    struct gpu_metrics got = *out;
    if (out->size < LIST_HEAD)
        return GPU_METRICS_CUT;
    field(bytes, 4, 4, &n);
    size_t at = LIST_HEAD;
    for (uint64_t i = 0; i < n; i++) {
        if (got.size - at < CODE)
            return GPU_METRICS_CUT;
        field(bytes, (unsigned)at, CODE, &code);
        at += CODE;
        size_t length = (size_t)bits(code, 0, 10) << bits(code, 20, 4) / 2;
        if (bits(code, 20, 4) > 7)
            return GPU_METRICS_UNKNOWN; /* how long it is cannot be known */
        if (got.size - at < length)
            return GPU_METRICS_CUT;
        take_attribute(code, bytes + at, &got);
        at += length;
    }
    got.documented = true;
    *out = got;
    return GPU_METRICS_OK;
}

/* ---- all versions ---------------------------------------------------------------------------------------------------- */

enum gpu_metrics_result gpu_metrics_parse(const uint8_t *bytes, size_t n, struct gpu_metrics *out)
{
    uint64_t v;
    *out = (struct gpu_metrics){.size = 0};
    if (n < 4)
        return GPU_METRICS_CUT;
    out->size = bytes[0] | (unsigned)bytes[1] << 8;
    out->format = bytes[2];
    out->content = bytes[3];
    if (out->format == 1 && out->content == 9)
        return out->size > n ? GPU_METRICS_CUT : parse_list(bytes, out);
    const struct layout *l = layout_of(out->format, out->content);
    if (!l)
        return GPU_METRICS_UNKNOWN;
    if (out->size > n || out->size < l->least)
        return GPU_METRICS_CUT;
    out->apu = l->apu;
    out->documented = l->documented;
    if (l->power && field(bytes, l->power, l->power_bytes, &v)) {
        out->has_power = true;
        out->power_w = (double)v * l->power_unit_w;
    }
    /* Some cards fill a field of 64 bits with 32 ones. */
    out->has_energy = l->energy && field(bytes, l->energy, l->energy_bytes, &out->energy) && out->energy != UINT32_MAX;
    out->has_stamp = l->stamp && field(bytes, l->stamp, 8, &out->stamp_ns) && out->stamp_ns != 0;
    return GPU_METRICS_OK;
}
