/* SPDX-License-Identifier: Apache-2.0 */
/* KDJ: RSV = 100 (C - LLV) / (HHV - LLV) over the window; K and D are Wilder averages of RSV and of K, seeded at 50
 * before the first RSV; J = 3 K - 2 D. While HHV = LLV (a suspension, a run at the limit) K and D keep their values. */
#include "indicator/rows.h"
#include "indicator/window.h"

static size_t lookback_kdj(const double *param)
{
    return (size_t)param[0] - 1;
}

static size_t scratch_kdj(const double *param, size_t n)
{
    (void)param;
    return 2 * n;
}

static void k_kdj(const struct tl_kernel_args *a)
{
    size_t begin = lookback_kdj(a->param), period = begin + 1, rows = a->n - begin;
    double *restrict rsv = a->scratch, *restrict least = rsv + a->n;
    double *restrict k_out = a->out[0], *restrict d_out = a->out[1], *restrict j_out = a->out[2];
    const double *restrict close = a->in.close + begin;
    double k_n = a->param[1], d_n = a->param[2], k_keep = k_n - 1.0, d_keep = d_n - 1.0, k = 50.0, d = 50.0;
    tl_window_extremum(a->in.high, a->n, period, 1, rsv);
    tl_window_extremum(a->in.low, a->n, period, 0, least);
    for (size_t r = 0; r < rows; r++) {
        double greatest = rsv[r];
        if (greatest != least[r]) {
            double now = 100.0 * (close[r] - least[r]) / (greatest - least[r]);
            k = (k_keep * k + now) / k_n;
            d = (d_keep * d + k) / d_n;
        }
        k_out[r] = k;
        d_out[r] = d;
        j_out[r] = 3.0 * k - 2.0 * d;
    }
}

const struct tl_indicator tl_ind_KDJ = {
    .info = {.name = "KDJ",
             .group = "Momentum",
             .title = "Stochastic with K, D and J",
             .inputs = TL_IN_HIGH | TL_IN_LOW | TL_IN_CLOSE,
             .n_params = 3,
             .params = {TL_PERIOD("TimePeriod", 1, 9), TL_PERIOD("K_Period", 1, 3), TL_PERIOD("D_Period", 1, 3)},
             .n_outputs = 3,
             .outputs = {"k", "d", "j"}},
    .lookback = lookback_kdj,
    .scratch = scratch_kdj,
    .kernel = k_kdj,
};
