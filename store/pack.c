/* pack.c - one blob for the samples of one channel and second, about 8 bytes a sample.
 *
 * Sensors report at a nearly steady rhythm and power, so second differences are small numbers:
 *
 *     byte     1: version of this layout
 *     n times  time, value, half-width: each the change of its change since the sample before (half-width: the change), folded so
 * that small negative numbers are small too (0 -1 1 -2 2 ... is 0 1 2 3 4 ...), in groups of 7 bits, low ones first, the top bit
 * set on all bytes but the last of a number runs     of equal flags until n samples are told: length, flags, as such numbers
 *
 * Everything is computed modulo 2^64, so any sample survives, not only plausible ones. */
#include "store/pack.h"

#define LAYOUT 1

static size_t put_number(unsigned char *to, uint64_t v)
{
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        to[n++] = (unsigned char)(v | 0x80);
    to[n++] = (unsigned char)v;
    return n;
}

static uint64_t fold(uint64_t difference)
{
    return difference << 1 ^ (difference >> 63 ? UINT64_MAX : 0);
}

static uint64_t unfold(uint64_t v)
{
    return v >> 1 ^ (v & 1 ? UINT64_MAX : 0);
}

/* What the next sample is expected to be. */
struct rhythm {
    uint64_t t, dt, value, dvalue, hw;
};

static bool pack_flags(struct jl_buf *out, const struct joulet_sample *samples, size_t n)
{
    bool ok = true;
    for (size_t i = 0, k; ok && i < n; i = k) {
        unsigned char bytes[20];
        for (k = i + 1; k < n && samples[k].flags == samples[i].flags;)
            k++;
        size_t len = put_number(bytes, k - i);
        len += put_number(bytes + len, samples[i].flags);
        ok = jl_buf_add(out, bytes, len);
    }
    return ok;
}

bool store_pack(struct jl_buf *out, const struct joulet_sample *samples, size_t n)
{
    const unsigned char layout = LAYOUT;
    struct rhythm r = {0};
    bool ok = jl_buf_add(out, &layout, 1);
    for (size_t i = 0; ok && i < n; i++) {
        unsigned char bytes[30];
        uint64_t t = (uint64_t)samples[i].t_ns, value = (uint64_t)samples[i].value, dt = t - r.t, dvalue = value - r.value;
        size_t len = put_number(bytes, fold(dt - r.dt));
        len += put_number(bytes + len, fold(dvalue - r.dvalue));
        len += put_number(bytes + len, fold(samples[i].hw_ns - r.hw));
        r = (struct rhythm){t, dt, value, dvalue, samples[i].hw_ns};
        ok = jl_buf_add(out, bytes, len);
    }
    return ok && pack_flags(out, samples, n);
}

struct bytes {
    const unsigned char *p, *end;
    bool bad;
};

static uint64_t get_number(struct bytes *b)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (b->p == b->end)
            break;
        unsigned char byte = *b->p++;
        if (shift == 63 && byte > 1)
            break; /* more than 64 bits */
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return v;
    }
    b->bad = true;
    return 0;
}

static void unpack_flags(struct bytes *b, struct joulet_sample *samples, size_t n)
{
    for (size_t i = 0; i < n && !b->bad;) {
        uint64_t length = get_number(b), flags = get_number(b);
        if (length == 0 || length > n - i || flags > UINT32_MAX)
            b->bad = true;
        for (uint64_t k = 0; !b->bad && k < length; k++)
            samples[i++].flags = (uint32_t)flags;
    }
}

bool store_unpack(const void *bytes, size_t size, struct joulet_sample *samples, size_t n)
{
    struct bytes b = {bytes, (const unsigned char *)bytes + size, false};
    struct rhythm r = {0};
    if (size == 0 || *b.p++ != LAYOUT)
        return false;
    for (size_t i = 0; i < n && !b.bad; i++) {
        r.dt += unfold(get_number(&b));
        r.t += r.dt;
        r.dvalue += unfold(get_number(&b));
        r.value += r.dvalue;
        r.hw += unfold(get_number(&b));
        samples[i] = (struct joulet_sample){.t_ns = (int64_t)r.t, .value = (int64_t)r.value, .hw_ns = (uint32_t)r.hw};
        if (r.hw > UINT32_MAX)
            b.bad = true;
    }
    unpack_flags(&b, samples, n);
    return !b.bad && b.p == b.end;
}
