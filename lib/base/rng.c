/* rng.c - splitmix64 (Steele, Lea, Flood 2014): every pseudo-random choice has a recorded seed, so results can be replayed. */
#include "lib/base/base.h"

uint64_t jl_rng_next(struct jl_rng *r)
{
    uint64_t z = r->s += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Upper 64 bits of a 64 x 64 bit product, by halves: not every compiler has a 128-bit type. */
static uint64_t multiply_high(uint64_t a, uint64_t b)
{
    uint64_t al = a & 0xffffffffu, ah = a >> 32, bl = b & 0xffffffffu, bh = b >> 32;
    uint64_t mid = ah * bl + ((al * bl) >> 32);
    uint64_t mid2 = al * bh + (mid & 0xffffffffu);
    return ah * bh + (mid >> 32) + (mid2 >> 32);
}

uint64_t jl_rng_below(struct jl_rng *r, uint64_t n)
{
    return multiply_high(jl_rng_next(r), n);
}

double jl_rng_uniform(struct jl_rng *r)
{
    return (double)(jl_rng_next(r) >> 11) * 0x1p-53;
}
