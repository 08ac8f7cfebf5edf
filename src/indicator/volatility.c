/* SPDX-License-Identifier: Apache-2.0 */
/* True range and its Wilder averages. The true range of a bar needs the close before it, so nothing here has a value
 * at bar 0. The Wilder average is seeded with the plain mean of the first `period` ranges and updated with three
 * roundings (times period - 1, plus the new range, over period), in that order.
 * A period of 1 is the true range itself, for NATR too: it is then not a percentage. */
#include "indicator/rows.h"
#include "indicator/range.h"

static size_t lookback_trange(const double *param)
{
    (void)param;
    return 1;
}

static void k_trange(const struct tl_kernel_args *a)
{
    const double *high = a->in.high, *low = a->in.low, *close = a->in.close;
    double *restrict out = a->out[0];
    for (size_t i = 1; i < a->n; i++) out[i - 1] = tl_true_range(high[i], low[i], close[i - 1]);
}

static size_t lookback_period(const double *param)
{
    return (size_t)param[0];
}

static void k_atr(const struct tl_kernel_args *a)
{
    const double *high = a->in.high, *low = a->in.low, *close = a->in.close;
    double *restrict out = a->out[0];
    size_t period = (size_t)a->param[0];
    if (period <= 1) {
        k_trange(a);
        return;
    }
    double p = (double)period, keep = (double)(period - 1), atr = 0;
    for (size_t i = 1; i <= period; i++) atr += tl_true_range(high[i], low[i], close[i - 1]);
    atr /= p;
    out[0] = atr;
    for (size_t i = period + 1; i < a->n; i++) {
        atr *= keep;
        atr += tl_true_range(high[i], low[i], close[i - 1]);
        atr /= p;
        out[i - period] = atr;
    }
}

static size_t deps_natr(const double *param, struct tl_spec dep[TL_DEPS_MAX])
{
    dep[0] = (struct tl_spec){.info = &tl_ind_ATR.info, .params = {param[0]}};
    return 1;
}

static void k_natr(const struct tl_kernel_args *a)
{
    const double *close = a->in.close, *atr = a->dep[0][0];
    double *restrict out = a->out[0];
    size_t period = (size_t)a->param[0], rows = a->n - period;
    for (size_t r = 0; r < rows; r++) {
        double c = close[r + period];
        out[r] = period <= 1 ? atr[r] : tl_is_zero(c) ? 0.0 : (atr[r] / c) * 100.0;
    }
}

const struct tl_indicator tl_ind_ATR = {
    .info = {.name = "ATR",
             .group = "Volatility",
             .title = "Average True Range",
             .inputs = TL_IN_HIGH | TL_IN_LOW | TL_IN_CLOSE,
             .n_params = 1,
             .params = {TL_PERIOD("TimePeriod", 1, 14)},
             .n_outputs = 1,
             .outputs = {"atr"}},
    .lookback = lookback_period,
    .kernel = k_atr,
};

const struct tl_indicator tl_ind_NATR = {
    .info = {.name = "NATR",
             .group = "Volatility",
             .title = "Normalized Average True Range",
             .inputs = TL_IN_HIGH | TL_IN_LOW | TL_IN_CLOSE,
             .n_params = 1,
             .params = {TL_PERIOD("TimePeriod", 1, 14)},
             .n_outputs = 1,
             .outputs = {"natr"}},
    .lookback = lookback_period,
    .deps = deps_natr,
    .kernel = k_natr,
};

const struct tl_indicator tl_ind_TRANGE = {
    .info = {.name = "TRANGE",
             .group = "Volatility",
             .title = "True Range",
             .inputs = TL_IN_HIGH | TL_IN_LOW | TL_IN_CLOSE,
             .n_outputs = 1,
             .outputs = {"trange"}},
    .lookback = lookback_trange,
    .kernel = k_trange,
};
