/* SPDX-License-Identifier: Apache-2.0 */
/* A made-up market in memory, and the specs that tests run over it. Made of +, -, *, / and floor alone, so that every
 * machine sees the same bits. */
#ifndef TL_TESTS_SYNTHETIC_BARS_H
#define TL_TESTS_SYNTHETIC_BARS_H

#include <tierline/indicator.h>

struct synthetic_bars {
    size_t n;
    struct tl_input in; /* the columns belong to this; one allocation, at in.open */
};

/* n daily bars in cents: a random walk with runs of suspended days (flat, volume 0), limit-up runs (open = high = low
 * = close above the day before) and days without change. */
void synthetic_bars_make(struct synthetic_bars *, size_t n, uint64_t seed);
void synthetic_bars_release(struct synthetic_bars *);

enum { SYNTHETIC_SPECS_MAX = 16 };

/* Specs of an indicator that show its parameters: the defaults, every parameter changed, each moving average type,
 * every period at its least. Returns how many. */
size_t synthetic_specs(const struct tl_indicator_info *, struct tl_spec specs[SYNTHETIC_SPECS_MAX]);

/* Outputs of one computation; one allocation, at out[0]. */
struct synthetic_result {
    size_t lookback, rows;
    double *out[TL_INDICATOR_OUTPUTS_MAX];
};

/* Computes and fails the test when that fails. Release with free(out[0]). */
struct synthetic_result synthetic_compute(const struct tl_spec *, const struct tl_input *, size_t n);

#endif
