/* fill.c - pseudo-random rows of weights, the same bytes for a seed on every machine.
 *
 * Weights are drawn from tables of normal quantiles instead of a library's logarithm and cosine, whose last bits differ between
 * machines; the quantiles come from a rational approximation (P. J. Acklam 2003, relative error below 1.2e-9) and a logarithm of
 * our own, which need + - * / and sqrt alone: IEEE 754 fixes those to the bit. Quantised blocks are written directly, all with
 * the step that suits the tensor's deviation, because quantising afterwards would take most of the time. */
#include "llm/gguf/layout.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define Q8_REACH 3.5 /* deviations at the largest code */
#define Q4_REACH 2.7

/* x > 0. Artanh series: |y| <= 0.172, so that twenty terms are exact to the last bits. */
static double natural_log(double x)
{
    int halvings = 0;
    for (; x < 0.70710678118654752; x *= 2)
        halvings++;
    for (; x > 1.41421356237309505; x *= 0.5)
        halvings--;
    double y = (x - 1) / (x + 1), y2 = y * y, sum = 0;
    for (int i = 19; i >= 0; i--)
        sum = sum * y2 + 1.0 / (2 * i + 1);
    return 2 * y * sum - halvings * 0.69314718055994531;
}

static double polynomial(const double *c, int n, double x)
{
    double v = 0;
    for (int i = 0; i < n; i++)
        v = v * x + c[i];
    return v;
}

double gguf_normal_quantile(double p)
{
    static const double a[] = {-3.969683028665376e+01, 2.209460984245205e+02,  -2.759285104469687e+02,
                               1.383577518672690e+02,  -3.066479806614716e+01, 2.506628277459239e+00};
    static const double b[] = {-5.447609879822406e+01, 1.615858368580409e+02,  -1.556989798598866e+02,
                               6.680131188771972e+01,  -1.328068155288572e+01, 1};
    static const double c[] = {-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00,
                               -2.549732539343734e+00, 4.374664141464968e+00,  2.938163982698783e+00};
    static const double d[] = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00, 3.754408661907416e+00, 1};
    if (p > 0.5)
        return -gguf_normal_quantile(1 - p);
    if (p < 0.02425) {
        double q = sqrt(-2 * natural_log(p));
        return polynomial(c, 6, q) / polynomial(d, 5, q);
    }
    double q = p - 0.5;
    return q * polynomial(a, 6, q * q) / polynomial(b, 6, q * q);
}

uint16_t gguf_half(float f)
{
    uint32_t x;
    memcpy(&x, &f, sizeof(x));
    uint32_t sign = (x >> 16) & 0x8000, fraction = x & 0x7fffff;
    int exponent = (int)((x >> 23) & 255) - 127 + 15;
    if (exponent >= 31)
        return (uint16_t)(sign | 0x7c00 | (((x >> 23) & 255) == 255 && fraction ? 0x200 : 0));
    if (exponent < -10)
        return (uint16_t)sign;
    int shift = 13;
    uint32_t half = (uint32_t)exponent << 10;
    if (exponent <= 0) { /* subnormal: the leading one becomes explicit */
        fraction |= 0x800000;
        shift = 14 - exponent;
        half = 0;
    }
    uint32_t rest = fraction & ((1u << shift) - 1), middle = 1u << (shift - 1);
    half += fraction >> shift;
    half += rest > middle || (rest == middle && (half & 1)); /* a carry into the exponent is right */
    return (uint16_t)(sign | half);
}

/* ---- tables ---------------------------------------------------------------------------------------------------------- */

struct gguf_tables {
    float normal[65536];
    int8_t q8[65536];
    uint8_t q4[65536];    /* two nibbles, each from a byte of the index */
    uint16_t half[65536]; /* of the tensor with this deviation */
    double half_deviation;
};

static int to_code(double v, int min, int max)
{
    int code = (int)(v < 0 ? v - 0.5 : v + 0.5);
    return code < min ? min : code > max ? max : code;
}

struct gguf_tables *gguf_tables_open(void)
{
    struct gguf_tables *t = calloc(1, sizeof(*t));
    uint8_t nibble[256];
    if (!t)
        return NULL;
    for (int i = 0; i < 256; i++)
        nibble[i] = (uint8_t)(to_code(gguf_normal_quantile((i + 0.5) / 256) * 8 / Q4_REACH, -8, 7) + 8);
    for (int i = 0; i < 65536; i++) {
        t->normal[i] = (float)gguf_normal_quantile((i + 0.5) / 65536);
        t->q8[i] = (int8_t)to_code((double)t->normal[i] * 127 / Q8_REACH, -127, 127);
        t->q4[i] = (uint8_t)(nibble[i & 255] | nibble[i >> 8] << 4);
    }
    return t;
}

void gguf_tables_close(struct gguf_tables *t)
{
    free(t);
}

/* ---- rows: little-endian whatever the machine ------------------------------------------------------------------------- */

static inline void put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void put_float(uint8_t *p, float f)
{
    uint32_t v;
    memcpy(&v, &f, sizeof(v));
    put16(p, (uint16_t)v);
    put16(p + 2, (uint16_t)(v >> 16));
}

static void fill_f32(const struct gguf_tables *t, uint64_t columns, double deviation, struct jl_rng rng, uint8_t *out)
{
    for (uint64_t i = 0; i < columns; i += 4) {
        uint64_t r = jl_rng_next(&rng);
        for (uint64_t j = i; j < i + 4 && j < columns; j++, r >>= 16)
            put_float(out + 4 * j, (float)((double)t->normal[r & 65535] * deviation));
    }
}

static void fill_f16(struct gguf_tables *t, uint64_t columns, double deviation, struct jl_rng rng, uint8_t *out)
{
    if (t->half_deviation != deviation) {
        for (int i = 0; i < 65536; i++)
            t->half[i] = gguf_half((float)((double)t->normal[i] * deviation));
        t->half_deviation = deviation;
    }
    for (uint64_t i = 0; i < columns; i += 4) {
        uint64_t r = jl_rng_next(&rng);
        for (uint64_t j = i; j < i + 4 && j < columns; j++, r >>= 16)
            put16(out + 2 * j, t->half[r & 65535]);
    }
}

static void fill_q8_0(const struct gguf_tables *t, uint64_t columns, double deviation, struct jl_rng rng, uint8_t *out)
{
    uint16_t step = gguf_half((float)(deviation * Q8_REACH / 127));
    for (uint64_t block = 0; block < columns / 32; block++, out += 34) {
        put16(out, step);
        for (int i = 0; i < 32; i += 4) {
            uint64_t r = jl_rng_next(&rng);
            for (int j = 0; j < 4; j++, r >>= 16)
                out[2 + i + j] = (uint8_t)t->q8[r & 65535];
        }
    }
}

static void fill_q4_0(const struct gguf_tables *t, uint64_t columns, double deviation, struct jl_rng rng, uint8_t *out)
{
    uint16_t step = gguf_half((float)(deviation * Q4_REACH / 8));
    for (uint64_t block = 0; block < columns / 32; block++, out += 18) {
        put16(out, step);
        for (int i = 0; i < 16; i += 4) {
            uint64_t r = jl_rng_next(&rng);
            for (int j = 0; j < 4; j++, r >>= 16)
                out[2 + i + j] = t->q4[r & 65535];
        }
    }
}

void gguf_fill_row(struct gguf_tables *t, const struct gguf_tensor *tensor, size_t tensor_index, uint64_t row, double scale,
                   uint64_t seed, uint8_t *out)
{
    if (tensor->fill == FILL_ONES) {
        for (uint64_t i = 0; i < tensor->columns; i++)
            put_float(out + 4 * i, 1);
        return;
    }
    /* The state of each row is drawn from a generator of its own, so that rows with near numbers do not overlap. */
    struct jl_rng rng = {.s = seed};
    rng.s = jl_rng_next(&rng) ^ ((uint64_t)tensor_index << 32 | row);
    rng.s = jl_rng_next(&rng);
    double deviation = tensor->deviation * scale;
    switch (tensor->quant) {
    case GGUF_F32:
        fill_f32(t, tensor->columns, deviation, rng, out);
        break;
    case GGUF_F16:
        fill_f16(t, tensor->columns, deviation, rng, out);
        break;
    case GGUF_Q8_0:
        fill_q8_0(t, tensor->columns, deviation, rng, out);
        break;
    case GGUF_Q4_0:
        fill_q4_0(t, tensor->columns, deviation, rng, out);
        break;
    }
}
