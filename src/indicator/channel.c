/* SPDX-License-Identifier: Apache-2.0 */
/* Where the price stands within its recent range: CCI, Williams' %R, Aroon. Extremes are of windows that end at the
 * present bar; of several equal ones Aroon takes the latest. */
#include "indicator/extremum.h"
#include "indicator/range.h"
#include "indicator/rows.h"

static size_t lookback_window(const double *param)
{
    return (size_t)param[0] - 1;
}

static size_t scratch_cci(const double *param, size_t n)
{
    (void)param;
    return n;
}

/* CCI of `lanes` neighbouring bars r .. r + lanes - 1 of a lap. The contract sums a ring of `period` typical prices
 * slot by slot: slot j holds bar j of this lap (`lap[j]`) once it has come, before that bar j of the lap before
 * (`old[j]`, never read for slots up to r). Bars side by side differ only in the slots r .. r + lanes - 1. `before` is
 * the sum of slots 0 .. r - 1; returns that of slots 0 .. r + lanes - 1 after the last of the bars. */
static inline double cci_bars(const double *restrict lap, const double *restrict old, size_t period, size_t r,
                              size_t lanes, double before, double *restrict out)
{
    double p = (double)period, mean[4], deviation[4] = {0, 0, 0, 0}, sum = 0;
    for (size_t k = 0; k < lanes; k++) {
        sum = before;
        for (size_t m = 0; m < lanes; m++) sum += m <= k ? lap[r + m] : old[r + m];
        mean[k] = sum;
    }
    for (size_t j = r + lanes; j < period; j++)
        for (size_t k = 0; k < lanes; k++) mean[k] += old[j];
    for (size_t k = 0; k < lanes; k++) mean[k] /= p;
    for (size_t j = 0; j < r; j++)
        for (size_t k = 0; k < lanes; k++) deviation[k] += fabs(lap[j] - mean[k]);
    for (size_t m = 0; m < lanes; m++)
        for (size_t k = 0; k < lanes; k++) deviation[k] += fabs((m <= k ? lap[r + m] : old[r + m]) - mean[k]);
    for (size_t j = r + lanes; j < period; j++)
        for (size_t k = 0; k < lanes; k++) deviation[k] += fabs(old[j] - mean[k]);
    for (size_t k = 0; k < lanes; k++) {
        double away = lap[r + k] - mean[k];
        out[k] = away != 0.0 && deviation[k] != 0.0 ? away / (0.015 * (deviation[k] / p)) : 0.0;
    }
    return sum;
}

static void k_cci(const struct tl_kernel_args *a)
{
    const double *high = a->in.high, *low = a->in.low, *close = a->in.close;
    double *restrict typical = a->scratch, *out = a->out[0];
    size_t period = (size_t)a->param[0], n = a->n;
    for (size_t i = 0; i < n; i++) typical[i] = tl_typical(high[i], low[i], close[i]);
    double sum = 0;
    for (size_t j = 0; j + 1 < period; j++) sum += typical[j];
    cci_bars(typical, typical, period, period - 1, 1, sum, out);
    for (size_t s = period; s < n; s += period) {
        size_t bars = n - s < period ? n - s : period, r = 0;
        const double *lap = typical + s;
        double *to = out + (s - period + 1);
        sum = 0;
        for (; r + 4 <= bars; r += 4) sum = cci_bars(lap, lap - period, period, r, 4, sum, to + r);
        if (r + 2 <= bars) {
            sum = cci_bars(lap, lap - period, period, r, 2, sum, to + r);
            r += 2;
        }
        if (r < bars) cci_bars(lap, lap - period, period, r, 1, sum, to + r);
    }
}

static size_t scratch_willr(const double *param, size_t n)
{
    (void)param;
    return n + 1;
}

static void k_willr(const struct tl_kernel_args *a)
{
    const double *close = a->in.close;
    size_t period = (size_t)a->param[0], rows = a->n - period + 1;
    double *restrict out = a->out[0], *tail = a->scratch, *restrict least = a->scratch + period;
    tl_sliding_max(a->in.high, a->n, period, tail, out);
    tl_sliding_min(a->in.low, a->n, period, tail, least);
    for (size_t r = 0; r < rows; r++) {
        double part = (out[r] - least[r]) / -100.0;
        out[r] = part != 0.0 ? (out[r] - close[r + period - 1]) / part : 0.0;
    }
}

static size_t lookback_aroon(const double *param)
{
    return (size_t)param[0];
}

static size_t scratch_aroon(const double *param, size_t n)
{
    (void)n;
    return 2 * ((size_t)param[0] + 1);
}

static void k_aroon(const struct tl_kernel_args *a)
{
    size_t period = (size_t)a->param[0], rows = a->n - period;
    double p = (double)period, factor = 100.0 / p, *restrict down = a->out[0], *restrict up = a->out[1];
    tl_sliding_min_index(a->in.low, a->n, period + 1, a->scratch, down);
    tl_sliding_max_index(a->in.high, a->n, period + 1, a->scratch, up);
    for (size_t r = 0; r < rows; r++) {
        double now = (double)(r + period);
        down[r] = factor * (p - (now - down[r]));
        up[r] = factor * (p - (now - up[r]));
    }
}

static size_t scratch_aroonosc(const double *param, size_t n)
{
    return scratch_aroon(param, n) + (n - (size_t)param[0]);
}

/* Not the difference of the two lines: one rounding instead of three. */
static void k_aroonosc(const struct tl_kernel_args *a)
{
    size_t period = (size_t)a->param[0], rows = a->n - period;
    double factor = 100.0 / (double)period, *restrict out = a->out[0];
    double *restrict least = a->scratch + scratch_aroon(a->param, a->n);
    tl_sliding_min_index(a->in.low, a->n, period + 1, a->scratch, least);
    tl_sliding_max_index(a->in.high, a->n, period + 1, a->scratch, out);
    for (size_t r = 0; r < rows; r++) out[r] = factor * (out[r] - least[r]);
}

const struct tl_indicator tl_ind_CCI = {
    .info = {.name = "CCI",
             .group = "Momentum",
             .title = "Commodity Channel Index",
             .inputs = TL_IN_HIGH | TL_IN_LOW | TL_IN_CLOSE,
             .n_params = 1,
             .params = {TL_PERIOD("TimePeriod", 2, 14)},
             .n_outputs = 1,
             .outputs = {"cci"}},
    .lookback = lookback_window,
    .scratch = scratch_cci,
    .kernel = k_cci,
};

const struct tl_indicator tl_ind_WILLR = {
    .info = {.name = "WILLR",
             .group = "Momentum",
             .title = "Williams' %R",
             .inputs = TL_IN_HIGH | TL_IN_LOW | TL_IN_CLOSE,
             .n_params = 1,
             .params = {TL_PERIOD("TimePeriod", 2, 14)},
             .n_outputs = 1,
             .outputs = {"willr"}},
    .lookback = lookback_window,
    .scratch = scratch_willr,
    .kernel = k_willr,
};

const struct tl_indicator tl_ind_AROON = {
    .info = {.name = "AROON",
             .group = "Momentum",
             .title = "Aroon",
             .inputs = TL_IN_HIGH | TL_IN_LOW,
             .n_params = 1,
             .params = {TL_PERIOD("TimePeriod", 2, 14)},
             .n_outputs = 2,
             .outputs = {"aroondown", "aroonup"}},
    .lookback = lookback_aroon,
    .scratch = scratch_aroon,
    .kernel = k_aroon,
};

const struct tl_indicator tl_ind_AROONOSC = {
    .info = {.name = "AROONOSC",
             .group = "Momentum",
             .title = "Aroon Oscillator",
             .inputs = TL_IN_HIGH | TL_IN_LOW,
             .n_params = 1,
             .params = {TL_PERIOD("TimePeriod", 2, 14)},
             .n_outputs = 1,
             .outputs = {"aroonosc"}},
    .lookback = lookback_aroon,
    .scratch = scratch_aroonosc,
    .kernel = k_aroonosc,
};
