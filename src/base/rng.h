/* SPDX-License-Identifier: Apache-2.0 */
/* xoshiro256** (Blackman and Vigna, 2018) seeded by splitmix64: the same numbers on every machine. */
#ifndef TL_BASE_RNG_H
#define TL_BASE_RNG_H

#include <stdint.h>

struct tl_rng {
    uint64_t s[4];
};

void tl_rng_seed(struct tl_rng *, uint64_t seed);
uint64_t tl_rng_u64(struct tl_rng *);
/* Uniform in [0, 1). */
double tl_rng_unit(struct tl_rng *);
/* Uniform in [0, n), n > 0, unbiased. */
uint64_t tl_rng_below(struct tl_rng *, uint64_t n);
/* Standard normal, built from +,-,* alone so that it is the same on every libm. */
double tl_rng_normal(struct tl_rng *);

#endif
