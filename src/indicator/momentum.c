/* SPDX-License-Identifier: Apache-2.0 */
/* The close against an earlier one: MOM, ROC, ROCP, ROCR, and TRIX, which is the one-bar ROC of an exponential average
 * of an exponential average of an exponential average. Against a zero the change is 0. */
#include "indicator/moving.h"
#include "indicator/rows.h"

static size_t lookback_period(const double *param)
{
    return (size_t)param[0];
}

#define CHANGE(NAME, small, long_name, formula)                                                                        \
    static void k_##small(const struct tl_kernel_args *a)                                                              \
    {                                                                                                                  \
        const double *restrict before = a->in.close;                                                                   \
        double *restrict out = a->out[0];                                                                              \
        size_t period = lookback_period(a->param), rows = a->n - period;                                               \
        for (size_t r = 0; r < rows; r++) {                                                                            \
            double now = before[r + period], then = before[r];                                                         \
            out[r] = (formula);                                                                                        \
        }                                                                                                              \
    }                                                                                                                  \
    const struct tl_indicator tl_ind_##NAME = {                                                                        \
        .info = {.name = #NAME,                                                                                        \
                 .group = "Momentum",                                                                                  \
                 .title = long_name,                                                                                   \
                 .inputs = TL_IN_CLOSE,                                                                                \
                 .n_params = 1,                                                                                        \
                 .params = {TL_PERIOD("TimePeriod", 1, 10)},                                                           \
                 .n_outputs = 1,                                                                                       \
                 .outputs = {#small}},                                                                                 \
        .lookback = lookback_period,                                                                                   \
        .kernel = k_##small,                                                                                           \
    };

CHANGE(MOM, mom, "Momentum", now - then)
CHANGE(ROC, roc, "Rate of Change in percent", then != 0.0 ? ((now / then) - 1.0) * 100.0 : 0.0)
CHANGE(ROCP, rocp, "Rate of Change as a fraction", then != 0.0 ? (now - then) / then : 0.0)
CHANGE(ROCR, rocr, "Rate of Change as a ratio", then != 0.0 ? now / then : 0.0)

static size_t lookback_trix(const double *param)
{
    return 3 * ((size_t)param[0] - 1) + 1;
}

static void k_trix(const struct tl_kernel_args *a)
{
    const double *restrict x = a->in.close;
    double *restrict out = a->out[0], p = a->param[0], k = tl_ema_weight(p), one = 0, two = 0, three = 0;
    size_t period = (size_t)p, begin = lookback_trix(a->param), i = 0;
    for (; i < period; i++) one += x[i];
    one /= p;
    two += one;
    for (; i <= 2 * (period - 1); i++) {
        one = tl_ema_step(one, x[i], k);
        two += one;
    }
    two /= p;
    three += two;
    for (; i < begin; i++) {
        one = tl_ema_step(one, x[i], k);
        two = tl_ema_step(two, one, k);
        three += two;
    }
    three /= p;
    for (; i < a->n; i++) {
        double then = three;
        one = tl_ema_step(one, x[i], k);
        two = tl_ema_step(two, one, k);
        three = tl_ema_step(three, two, k);
        out[i - begin] = then != 0.0 ? ((three / then) - 1.0) * 100.0 : 0.0;
    }
}

const struct tl_indicator tl_ind_TRIX = {
    .info = {.name = "TRIX",
             .group = "Momentum",
             .title = "Rate of Change of a triply smoothed average",
             .inputs = TL_IN_CLOSE,
             .n_params = 1,
             .params = {TL_PERIOD("TimePeriod", 1, 30)},
             .n_outputs = 1,
             .outputs = {"trix"}},
    .lookback = lookback_trix,
    .kernel = k_trix,
};
