/* SPDX-License-Identifier: Apache-2.0 */
/* xoshiro256** and what is drawn from it. Every draw is built from whole numbers, with one rounding at the end, so a
 * seed gives the same values with every compiler and libm. Not for secrets. */
#include "base/rng.h"

#include "base/util.h"

void tl_rng_seed(struct tl_rng *r, uint64_t seed)
{
    for (unsigned i = 0; i < 4; i++) {
        seed += UINT64_C(0x9e3779b97f4a7c15);
        uint64_t z = seed;
        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        r->s[i] = z ^ z >> 31;
    }
}

static uint64_t rotl(uint64_t x, unsigned k)
{
    return x << k | x >> (64 - k);
}

uint64_t tl_rng_u64(struct tl_rng *r)
{
    uint64_t *s = r->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

double tl_rng_unit(struct tl_rng *r)
{
    return (double)(tl_rng_u64(r) >> 11) * 0x1p-53;
}

/* Lemire, "Fast random integer generation in an interval", 2019. */
uint64_t tl_rng_below(struct tl_rng *r, uint64_t n)
{
    TL_ASSERT(n > 0);
    __extension__ typedef unsigned __int128 u128;
    u128 m = (u128)tl_rng_u64(r) * n;
    if ((uint64_t)m < n) {
        uint64_t reject = (0 - n) % n;
        while ((uint64_t)m < reject) m = (u128)tl_rng_u64(r) * n;
    }
    return (uint64_t)(m >> 64);
}

/* Irwin-Hall: twelve uniform draws less their mean have variance 1. The sum is exact in 64 bits. Beyond 3 sigma its
 * tails are thinner than the normal's, and it never leaves [-6, 6]. */
double tl_rng_normal(struct tl_rng *r)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < 12; i++) sum += (int64_t)(tl_rng_u64(r) >> 11);
    return (double)(sum - INT64_C(6) * (INT64_C(1) << 53)) * 0x1p-53;
}
