/* SPDX-License-Identifier: Apache-2.0 */
/* What several families ask of one bar, with the roundings and the threshold for zero that the contract fixes. */
#ifndef TL_INDICATOR_RANGE_H
#define TL_INDICATOR_RANGE_H

#include <math.h>
#include <stdbool.h>

/* Closer to zero than any price difference: divisors like this are taken as zero. */
static inline bool tl_is_zero(double v)
{
    return -1e-14 < v && v < 1e-14;
}

/* Greatest of high - low and the two distances to the close before. */
static inline double tl_true_range(double high, double low, double close_before)
{
    double range = high - low, up = fabs(high - close_before), down = fabs(low - close_before);
    range = up > range ? up : range;
    return down > range ? down : range;
}

/* Mean of high, low and close, added in this order. */
static inline double tl_typical(double high, double low, double close)
{
    return (high + low + close) / 3.0;
}

#endif
