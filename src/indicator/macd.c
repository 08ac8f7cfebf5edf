/* SPDX-License-Identifier: Apache-2.0 */
/* Differences of two moving averages: MACD, APO, PPO. In MACD the fast average is seeded with the bars just before
 * the slow one's first value, so that both begin there; in APO and PPO each is the plain average from bar 0. A fast
 * period above the slow one changes places with it. */
#include "indicator/moving.h"
#include "indicator/range.h"
#include "indicator/rows.h"

#include "base/util.h"

static size_t fast_period(const double *param)
{
    return (size_t)TL_MIN(param[0], param[1]);
}

static size_t slow_period(const double *param)
{
    return (size_t)TL_MAX(param[0], param[1]);
}

static size_t lookback_macd(const double *param)
{
    return slow_period(param) - 1 + ((size_t)param[2] - 1);
}

/* The signal is seeded with the mean of the first `signal` differences; all three averages go in one loop. */
static void k_macd(const struct tl_kernel_args *a)
{
    const double *restrict x = a->in.close;
    double *restrict macd_out = a->out[0], *restrict signal_out = a->out[1], *restrict hist_out = a->out[2];
    size_t fast_n = fast_period(a->param), slow_n = slow_period(a->param), begin = lookback_macd(a->param), i = 0;
    double fast_k = tl_ema_weight((double)fast_n), slow_k = tl_ema_weight((double)slow_n);
    double signal_k = tl_ema_weight(a->param[2]), fast = 0, slow = 0, signal = 0;
    for (; i < slow_n; i++) slow += x[i];
    for (size_t j = slow_n - fast_n; j < slow_n; j++) fast += x[j];
    slow /= (double)slow_n;
    fast /= (double)fast_n;
    signal += fast - slow;
    for (; i <= begin; i++) {
        fast = tl_ema_step(fast, x[i], fast_k);
        slow = tl_ema_step(slow, x[i], slow_k);
        signal += fast - slow;
    }
    signal /= a->param[2];
    macd_out[0] = fast - slow;
    signal_out[0] = signal;
    hist_out[0] = macd_out[0] - signal;
    for (; i < a->n; i++) {
        fast = tl_ema_step(fast, x[i], fast_k);
        slow = tl_ema_step(slow, x[i], slow_k);
        double macd = fast - slow;
        signal = tl_ema_step(signal, macd, signal_k);
        macd_out[i - begin] = macd;
        signal_out[i - begin] = signal;
        hist_out[i - begin] = macd - signal;
    }
}

const struct tl_indicator tl_ind_MACD = {
    .info = {.name = "MACD",
             .group = "Momentum",
             .title = "Moving Average Convergence/Divergence",
             .inputs = TL_IN_CLOSE,
             .n_params = 3,
             .params = {TL_PERIOD("FastPeriod", 2, 12), TL_PERIOD("SlowPeriod", 2, 26),
                        TL_PERIOD("SignalPeriod", 1, 9)},
             .n_outputs = 3,
             .outputs = {"macd", "signal", "hist"}},
    .lookback = lookback_macd,
    .kernel = k_macd,
};

static size_t lookback_po(const double *param)
{
    return tl_ma_lookback((double)slow_period(param), param[2]);
}

static size_t deps_po(const double *param, struct tl_spec dep[TL_DEPS_MAX])
{
    dep[0] = tl_ma_spec((double)fast_period(param), param[2]);
    dep[1] = tl_ma_spec((double)slow_period(param), param[2]);
    return 2;
}

static void k_apo(const struct tl_kernel_args *a)
{
    const double *restrict slow = a->dep[1][0], *restrict fast = a->dep[0][0] + (a->dep_begin[1] - a->dep_begin[0]);
    double *restrict out = a->out[0];
    size_t rows = a->n - a->dep_begin[1];
    for (size_t r = 0; r < rows; r++) out[r] = fast[r] - slow[r];
}

static void k_ppo(const struct tl_kernel_args *a)
{
    const double *restrict slow = a->dep[1][0], *restrict fast = a->dep[0][0] + (a->dep_begin[1] - a->dep_begin[0]);
    double *restrict out = a->out[0];
    size_t rows = a->n - a->dep_begin[1];
    for (size_t r = 0; r < rows; r++) out[r] = tl_is_zero(slow[r]) ? 0.0 : ((fast[r] - slow[r]) / slow[r]) * 100.0;
}

#define OSCILLATOR(NAME, small, long_name)                                                                             \
    const struct tl_indicator tl_ind_##NAME = {                                                                        \
        .info = {.name = #NAME,                                                                                        \
                 .group = "Momentum",                                                                                  \
                 .title = long_name,                                                                                   \
                 .inputs = TL_IN_CLOSE,                                                                                \
                 .n_params = 3,                                                                                        \
                 .params = {TL_PERIOD("FastPeriod", 2, 12), TL_PERIOD("SlowPeriod", 2, 26), TL_MA_TYPE("MAType")},     \
                 .n_outputs = 1,                                                                                       \
                 .outputs = {#small}},                                                                                 \
        .lookback = lookback_po,                                                                                       \
        .deps = deps_po,                                                                                               \
        .kernel = k_##small,                                                                                           \
    };

OSCILLATOR(APO, apo, "Absolute Price Oscillator")
OSCILLATOR(PPO, ppo, "Percentage Price Oscillator")
