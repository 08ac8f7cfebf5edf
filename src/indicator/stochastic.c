/* SPDX-License-Identifier: Apache-2.0 */
/* Where the close stands between the lowest low and the highest high of a window, smoothed: STOCH, STOCHF, and
 * STOCHRSI, which takes the RSI for all three. A window without a range counts as 0. */
#include "indicator/moving.h"
#include "indicator/rows.h"
#include "indicator/window.h"

/* %K of every window of `period`: n - period + 1 into raw. raw and low_out have room for n. */
static void raw_k(const double *high, const double *low, const double *close, size_t n, size_t period,
                  double *restrict raw, double *restrict least)
{
    tl_window_extremum(high, n, period, 1, raw);
    tl_window_extremum(low, n, period, 0, least);
    const double *restrict c = close + (period - 1);
    size_t rows = n - period + 1;
    for (size_t r = 0; r < rows; r++) {
        double part = (raw[r] - least[r]) / 100.0;
        raw[r] = part != 0.0 ? (c[r] - least[r]) / part : 0.0;
    }
}

/* k: `rows` values; their average, and k itself from the first value of the average on. */
static void smooth(const double *k, size_t rows, double period, double type, double *k_out, double *d_out)
{
    size_t skip = tl_ma_lookback(period, type);
    tl_ma(period, type, k, rows, d_out);
    memcpy(k_out, k + skip, (rows - skip) * sizeof *k_out);
}

static size_t scratch_two(const double *param, size_t n)
{
    (void)param;
    return 2 * n;
}

static size_t lookback_stoch(const double *param)
{
    return (size_t)param[0] - 1 + tl_ma_lookback(param[1], param[2]) + tl_ma_lookback(param[3], param[4]);
}

static void k_stoch(const struct tl_kernel_args *a)
{
    double *raw = a->scratch, *slow = raw + a->n;
    const double *param = a->param;
    size_t period = (size_t)param[0], rows = a->n - period + 1;
    raw_k(a->in.high, a->in.low, a->in.close, a->n, period, raw, slow);
    tl_ma(param[1], param[2], raw, rows, slow);
    smooth(slow, rows - tl_ma_lookback(param[1], param[2]), param[3], param[4], a->out[0], a->out[1]);
}

const struct tl_indicator tl_ind_STOCH = {
    .info = {.name = "STOCH",
             .group = "Momentum",
             .title = "Stochastic",
             .inputs = TL_IN_HIGH | TL_IN_LOW | TL_IN_CLOSE,
             .n_params = 5,
             .params = {TL_PERIOD("FastK_Period", 1, 5), TL_PERIOD("SlowK_Period", 1, 3), TL_MA_TYPE("SlowK_MAType"),
                        TL_PERIOD("SlowD_Period", 1, 3), TL_MA_TYPE("SlowD_MAType")},
             .n_outputs = 2,
             .outputs = {"slowk", "slowd"}},
    .lookback = lookback_stoch,
    .scratch = scratch_two,
    .kernel = k_stoch,
};

static size_t lookback_stochf(const double *param)
{
    return (size_t)param[0] - 1 + tl_ma_lookback(param[1], param[2]);
}

static void k_stochf(const struct tl_kernel_args *a)
{
    double *raw = a->scratch, *least = raw + a->n;
    size_t period = (size_t)a->param[0];
    raw_k(a->in.high, a->in.low, a->in.close, a->n, period, raw, least);
    smooth(raw, a->n - period + 1, a->param[1], a->param[2], a->out[0], a->out[1]);
}

const struct tl_indicator tl_ind_STOCHF = {
    .info = {.name = "STOCHF",
             .group = "Momentum",
             .title = "Stochastic Fast",
             .inputs = TL_IN_HIGH | TL_IN_LOW | TL_IN_CLOSE,
             .n_params = 3,
             .params = {TL_PERIOD("FastK_Period", 1, 5), TL_PERIOD("FastD_Period", 1, 3), TL_MA_TYPE("FastD_MAType")},
             .n_outputs = 2,
             .outputs = {"fastk", "fastd"}},
    .lookback = lookback_stochf,
    .scratch = scratch_two,
    .kernel = k_stochf,
};

static size_t lookback_stochrsi(const double *param)
{
    return (size_t)param[0] + lookback_stochf(param + 1);
}

static size_t deps_stochrsi(const double *param, struct tl_spec dep[TL_DEPS_MAX])
{
    dep[0] = (struct tl_spec){.info = &tl_ind_RSI.info, .params = {param[0]}};
    return 1;
}

static void k_stochrsi(const struct tl_kernel_args *a)
{
    const double *rsi = a->dep[0][0];
    size_t n = a->n - a->dep_begin[0], period = (size_t)a->param[1];
    double *raw = a->scratch, *least = raw + n;
    raw_k(rsi, rsi, rsi, n, period, raw, least);
    smooth(raw, n - period + 1, a->param[2], a->param[3], a->out[0], a->out[1]);
}

const struct tl_indicator tl_ind_STOCHRSI = {
    .info = {.name = "STOCHRSI",
             .group = "Momentum",
             .title = "Stochastic Relative Strength Index",
             .inputs = TL_IN_CLOSE,
             .n_params = 4,
             .params = {TL_PERIOD("TimePeriod", 2, 14), TL_PERIOD("FastK_Period", 1, 5),
                        TL_PERIOD("FastD_Period", 1, 3), TL_MA_TYPE("FastD_MAType")},
             .n_outputs = 2,
             .outputs = {"fastk", "fastd"}},
    .lookback = lookback_stochrsi,
    .scratch = scratch_two,
    .deps = deps_stochrsi,
    .kernel = k_stochrsi,
};
