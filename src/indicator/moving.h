/* SPDX-License-Identifier: Apache-2.0 */
/* Moving averages for indicators that smooth something. Types are those of MA's parameter. */
#ifndef TL_INDICATOR_MOVING_H
#define TL_INDICATOR_MOVING_H

#include "indicator/kernel.h"

enum tl_ma_type { TL_MA_SMA, TL_MA_EMA, TL_MA_WMA, TL_MA_DEMA, TL_MA_TEMA };

/* Both take the parameters as they stand in a spec; a period of 1 is the input itself, of every type. */
size_t tl_ma_lookback(double period, double type);
/* Averages x[0..n) from bar lookback on into out; n > lookback, out must not overlap x. */
void tl_ma(double period, double type, const double *x, size_t n, double *out);
/* The same average of the close as a spec, for use as a dependency; period > 1. */
struct tl_spec tl_ma_spec(double period, double type);

/* One step of an exponential average. The order of the operations is the contract. */
static inline double tl_ema_step(double y, double x, double k)
{
    return (x - y) * k + y;
}

static inline double tl_ema_weight(double period)
{
    return 2.0 / (period + 1.0);
}

#endif
