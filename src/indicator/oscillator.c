/* SPDX-License-Identifier: Apache-2.0 */
/* RSI and CMO: Wilder averages of the rises and of the falls. Both are seeded with the plain mean of the first
 * `period` changes and updated with three roundings (times period - 1, plus the new change, over period). A bar has
 * either a rise or a fall; adding the other one's 0 changes no bit of a sum that is never negative. */
#include "indicator/range.h"
#include "indicator/rows.h"

static size_t lookback_period(const double *param)
{
    return (size_t)param[0];
}

static size_t scratch_falls(const double *param, size_t n)
{
    return n - (size_t)param[0];
}

/* The rise and the fall of one bar, or their averages: side by side through the same operations. */
typedef double pair __attribute__((vector_size(16)));

static inline pair change(const double *x, size_t i)
{
    double by = x[i] - x[i - 1];
    bool fell = by < 0;
    return (pair){fell ? 0.0 : by, fell ? -by : 0.0};
}

static void wilder(const double *restrict x, size_t n, size_t period, double *restrict rises, double *restrict falls)
{
    pair p = {(double)period, (double)period}, keep = p - (pair){1.0, 1.0}, y = {0, 0};
    for (size_t i = 1; i <= period; i++) y += change(x, i);
    y /= p;
    rises[0] = y[0];
    falls[0] = y[1];
    for (size_t i = period + 1; i < n; i++) {
        y *= keep;
        y += change(x, i);
        y /= p;
        rises[i - period] = y[0];
        falls[i - period] = y[1];
    }
}

static void k_rsi(const struct tl_kernel_args *a)
{
    double *restrict out = a->out[0], *restrict falls = a->scratch;
    size_t period = (size_t)a->param[0], rows = a->n - period;
    wilder(a->in.close, a->n, period, out, falls);
    for (size_t r = 0; r < rows; r++) {
        double both = out[r] + falls[r];
        out[r] = tl_is_zero(both) ? 0.0 : 100.0 * (out[r] / both);
    }
}

static void k_cmo(const struct tl_kernel_args *a)
{
    double *restrict out = a->out[0], *restrict falls = a->scratch;
    size_t period = (size_t)a->param[0], rows = a->n - period;
    wilder(a->in.close, a->n, period, out, falls);
    for (size_t r = 0; r < rows; r++) {
        double both = out[r] + falls[r];
        out[r] = tl_is_zero(both) ? 0.0 : 100.0 * ((out[r] - falls[r]) / both);
    }
}

#define WILDER(NAME, small, long_name)                                                                                 \
    const struct tl_indicator tl_ind_##NAME = {                                                                        \
        .info = {.name = #NAME,                                                                                        \
                 .group = "Momentum",                                                                                  \
                 .title = long_name,                                                                                   \
                 .inputs = TL_IN_CLOSE,                                                                                \
                 .n_params = 1,                                                                                        \
                 .params = {TL_PERIOD("TimePeriod", 2, 14)},                                                           \
                 .n_outputs = 1,                                                                                       \
                 .outputs = {#small}},                                                                                 \
        .lookback = lookback_period,                                                                                   \
        .scratch = scratch_falls,                                                                                      \
        .kernel = k_##small,                                                                                           \
    };

WILDER(RSI, rsi, "Relative Strength Index")
WILDER(CMO, cmo, "Chande Momentum Oscillator")
