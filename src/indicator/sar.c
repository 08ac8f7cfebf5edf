/* SPDX-License-Identifier: Apache-2.0 */
/* Wilder's parabolic stop and reverse. The state is the side, the stop, the extreme of the trade and the acceleration.
 * The first side is short when bar 1 moves down more than up. A stop never lies inside the range of the bar before
 * or of the present one. */
#include "indicator/rows.h"

static size_t lookback_sar(const double *param)
{
    (void)param;
    return 1;
}

static inline double at_most(double v, double a, double b)
{
    v = v > a ? a : v;
    return v > b ? b : v;
}

static inline double at_least(double v, double a, double b)
{
    v = v < a ? a : v;
    return v < b ? b : v;
}

static void k_sar(const struct tl_kernel_args *a)
{
    const double *high = a->in.high, *low = a->in.low;
    double *restrict out = a->out[0];
    double max = a->param[1], step = a->param[0] > max ? max : a->param[0], af = step;
    double up = high[1] - high[0], down = low[0] - low[1];
    bool is_long = !(down > 0 && up < down);
    double extreme = is_long ? high[1] : low[1], sar = is_long ? low[0] : high[0];
    double new_high = high[1], new_low = low[1];
    for (size_t i = 1; i < a->n; i++) {
        double old_high = new_high, old_low = new_low;
        new_high = high[i];
        new_low = low[i];
        bool reverse = is_long ? new_low <= sar : new_high >= sar;
        if (reverse) {
            is_long = !is_long;
            sar = is_long ? at_most(extreme, old_low, new_low) : at_least(extreme, old_high, new_high);
            af = step;
            extreme = is_long ? new_high : new_low;
        }
        out[i - 1] = sar;
        if (!reverse && (is_long ? new_high > extreme : new_low < extreme)) {
            extreme = is_long ? new_high : new_low;
            af += step;
            af = af > max ? max : af;
        }
        sar = sar + af * (extreme - sar);
        sar = is_long ? at_most(sar, old_low, new_low) : at_least(sar, old_high, new_high);
    }
}

const struct tl_indicator tl_ind_SAR = {
    .info = {.name = "SAR",
             .group = "Overlap",
             .title = "Parabolic SAR",
             .inputs = TL_IN_HIGH | TL_IN_LOW,
             .n_params = 2,
             .params = {TL_REAL("Acceleration", 0, 0.02), TL_REAL("Maximum", 0, 0.2)},
             .n_outputs = 1,
             .outputs = {"sar"}},
    .lookback = lookback_sar,
    .kernel = k_sar,
};
