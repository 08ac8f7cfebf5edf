/* SPDX-License-Identifier: Apache-2.0 */
/* Buying against selling pressure: MFI, Ultimate Oscillator, Balance of Power. MFI and ULTOSC keep running sums from
 * their first window on that are never re-normalised: a flat window shows the rounding noise of what went before. */
#include "indicator/rows.h"
#include "indicator/range.h"

static size_t lookback_mfi(const double *param)
{
    return (size_t)param[0];
}

static size_t scratch_two_columns(const double *param, size_t n)
{
    (void)param;
    return 2 * n;
}

static inline double mfi_of(double positive, double negative)
{
    double both = positive + negative;
    return both < 1.0 ? 0.0 : 100.0 * (positive / both);
}

static void k_mfi(const struct tl_kernel_args *a)
{
    const double *high = a->in.high, *low = a->in.low, *close = a->in.close, *volume = a->in.volume;
    double *restrict plus = a->scratch, *restrict minus = a->scratch + a->n, *restrict out = a->out[0];
    size_t period = (size_t)a->param[0];
    double before = tl_typical(high[0], low[0], close[0]);
    for (size_t i = 1; i < a->n; i++) {
        double price = tl_typical(high[i], low[i], close[i]), change = price - before, money = price * volume[i];
        before = price;
        plus[i] = change > 0 ? money : 0.0;
        minus[i] = change < 0 ? money : 0.0;
    }
    double positive = 0, negative = 0;
    for (size_t i = 1; i <= period; i++) {
        positive += plus[i];
        negative += minus[i];
    }
    out[0] = mfi_of(positive, negative);
    for (size_t i = period + 1; i < a->n; i++) {
        positive = positive - plus[i - period] + plus[i];
        negative = negative - minus[i - period] + minus[i];
        out[i - period] = mfi_of(positive, negative);
    }
}

/* The three periods, shortest first, whatever order they were given in. */
static inline void sorted_periods(const double *param, size_t period[3])
{
    for (size_t k = 0; k < 3; k++) period[k] = (size_t)param[k];
    for (size_t pass = 0; pass < 2; pass++) {
        for (size_t k = 0; k + 1 < 3; k++) {
            size_t a = period[k], b = period[k + 1];
            period[k] = a < b ? a : b;
            period[k + 1] = a < b ? b : a;
        }
    }
}

static size_t lookback_ultosc(const double *param)
{
    size_t period[3];
    sorted_periods(param, period);
    return period[2];
}

static void k_ultosc(const struct tl_kernel_args *a)
{
    const double *high = a->in.high, *low = a->in.low, *close = a->in.close;
    double *restrict pressure = a->scratch, *restrict range = a->scratch + a->n, *restrict out = a->out[0];
    size_t period[3];
    sorted_periods(a->param, period);
    size_t begin = period[2];
    for (size_t i = 1; i < a->n; i++) {
        double before = close[i - 1];
        pressure[i] = close[i] - (low[i] < before ? low[i] : before);
        range[i] = tl_true_range(high[i], low[i], before);
    }
    double bought[3] = {0, 0, 0}, moved[3] = {0, 0, 0};
    for (size_t k = 0; k < 3; k++) {
        for (size_t i = begin - period[k] + 1; i < begin; i++) {
            bought[k] += pressure[i];
            moved[k] += range[i];
        }
    }
    for (size_t i = begin; i < a->n; i++) {
        double sum = 0.0, weight = 4.0;
        for (size_t k = 0; k < 3; k++) {
            bought[k] += pressure[i];
            moved[k] += range[i];
            if (!tl_is_zero(moved[k])) sum += weight * (bought[k] / moved[k]);
            weight *= 0.5;
            bought[k] -= pressure[i - period[k] + 1];
            moved[k] -= range[i - period[k] + 1];
        }
        out[i - begin] = 100.0 * (sum / 7.0);
    }
}

static size_t lookback_none(const double *param)
{
    (void)param;
    return 0;
}

static void k_bop(const struct tl_kernel_args *a)
{
    const double *open = a->in.open, *high = a->in.high, *low = a->in.low, *close = a->in.close;
    double *restrict out = a->out[0];
    for (size_t i = 0; i < a->n; i++) {
        double range = high[i] - low[i];
        out[i] = range < 1e-14 ? 0.0 : (close[i] - open[i]) / range;
    }
}

const struct tl_indicator tl_ind_MFI = {
    .info = {.name = "MFI",
             .group = "Momentum",
             .title = "Money Flow Index",
             .inputs = TL_IN_HIGH | TL_IN_LOW | TL_IN_CLOSE | TL_IN_VOLUME,
             .n_params = 1,
             .params = {TL_PERIOD("TimePeriod", 2, 14)},
             .n_outputs = 1,
             .outputs = {"mfi"}},
    .lookback = lookback_mfi,
    .scratch = scratch_two_columns,
    .kernel = k_mfi,
};

const struct tl_indicator tl_ind_ULTOSC = {
    .info = {.name = "ULTOSC",
             .group = "Momentum",
             .title = "Ultimate Oscillator",
             .inputs = TL_IN_HIGH | TL_IN_LOW | TL_IN_CLOSE,
             .n_params = 3,
             .params = {TL_PERIOD("TimePeriod1", 1, 7), TL_PERIOD("TimePeriod2", 1, 14),
                        TL_PERIOD("TimePeriod3", 1, 28)},
             .n_outputs = 1,
             .outputs = {"ultosc"}},
    .lookback = lookback_ultosc,
    .scratch = scratch_two_columns,
    .kernel = k_ultosc,
};

const struct tl_indicator tl_ind_BOP = {
    .info = {.name = "BOP",
             .group = "Momentum",
             .title = "Balance Of Power",
             .inputs = TL_IN_OPEN | TL_IN_HIGH | TL_IN_LOW | TL_IN_CLOSE,
             .n_outputs = 1,
             .outputs = {"bop"}},
    .lookback = lookback_none,
    .kernel = k_bop,
};
