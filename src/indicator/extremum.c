/* SPDX-License-Identifier: Apache-2.0 */
/* Extremes, their middle, and the sum of a window. Extremes follow van Herk (1992) and Gil and Werman (1993): the bars
 * are cut into blocks of the window's length; a window is a block's tail and the next block's head, whose extremes are
 * running ones. SUM is a running sum from bar 0, never re-normalised. */
#include "indicator/extremum.h"
#include "indicator/rows.h"

static inline double pick(double a, double b, bool greatest)
{
    return (greatest ? b > a : b < a) ? b : a;
}

static inline void slide(const double *restrict x, size_t n, size_t period, bool greatest, double *restrict tail,
                         double *restrict out)
{
    for (size_t block = 0; block + period <= n; block += period) {
        const double *b = x + block, *next = b + period;
        double m = b[period - 1];
        for (size_t k = period - 1; k > 0; k--) {
            tail[k] = m;
            m = pick(m, b[k - 1], greatest);
        }
        out[block] = m;
        size_t left = n - block - period, rest = left < period - 1 ? left : period - 1;
        if (rest == 0) continue;
        m = next[0];
        for (size_t k = 1; k <= rest; k++) {
            m = pick(m, next[k - 1], greatest);
            out[block + k] = pick(tail[k], m, greatest);
        }
    }
}

static inline void slide_index(const double *restrict x, size_t n, size_t period, bool greatest, double *restrict tail,
                               double *restrict out)
{
    double *restrict tail_index = tail + period;
    for (size_t block = 0; block + period <= n; block += period) {
        const double *b = x + block, *next = b + period;
        double m = b[period - 1], at = (double)(block + period - 1);
        for (size_t k = period - 1; k > 0; k--) {
            tail[k] = m;
            tail_index[k] = at;
            bool better = greatest ? b[k - 1] > m : b[k - 1] < m;
            m = better ? b[k - 1] : m;
            at = better ? (double)(block + k - 1) : at;
        }
        out[block] = at;
        size_t left = n - block - period, rest = left < period - 1 ? left : period - 1;
        if (rest == 0) continue;
        m = next[0];
        for (size_t k = 1; k <= rest; k++) {
            bool as_good = greatest ? next[k - 1] >= m : next[k - 1] <= m;
            m = as_good ? next[k - 1] : m;
            at = as_good || k == 1 ? (double)(block + period + k - 1) : at;
            out[block + k] = (greatest ? tail[k] > m : tail[k] < m) ? tail_index[k] : at;
        }
    }
}

void tl_sliding_max(const double *x, size_t n, size_t period, double *tail, double *out)
{
    slide(x, n, period, true, tail, out);
}

void tl_sliding_min(const double *x, size_t n, size_t period, double *tail, double *out)
{
    slide(x, n, period, false, tail, out);
}

void tl_sliding_max_index(const double *x, size_t n, size_t period, double *tail, double *out)
{
    slide_index(x, n, period, true, tail, out);
}

void tl_sliding_min_index(const double *x, size_t n, size_t period, double *tail, double *out)
{
    slide_index(x, n, period, false, tail, out);
}

static size_t lookback_window(const double *param)
{
    return (size_t)param[0] - 1;
}

static size_t scratch_tail(const double *param, size_t n)
{
    (void)n;
    return (size_t)param[0];
}

static void k_max(const struct tl_kernel_args *a)
{
    tl_sliding_max(a->in.close, a->n, (size_t)a->param[0], a->scratch, a->out[0]);
}

static void k_min(const struct tl_kernel_args *a)
{
    tl_sliding_min(a->in.close, a->n, (size_t)a->param[0], a->scratch, a->out[0]);
}

static size_t scratch_middle(const double *param, size_t n)
{
    (void)param;
    return n + 1;
}

/* Half of the greatest of `high` and the least of `low` over each window. */
static void middle(const struct tl_kernel_args *a, const double *high, const double *low)
{
    size_t period = (size_t)a->param[0], rows = a->n - period + 1;
    double *restrict out = a->out[0], *tail = a->scratch, *restrict least = a->scratch + period;
    tl_sliding_max(high, a->n, period, tail, out);
    tl_sliding_min(low, a->n, period, tail, least);
    for (size_t r = 0; r < rows; r++) out[r] = (out[r] + least[r]) / 2.0;
}

static void k_midpoint(const struct tl_kernel_args *a)
{
    middle(a, a->in.close, a->in.close);
}

static void k_midprice(const struct tl_kernel_args *a)
{
    middle(a, a->in.high, a->in.low);
}

static void k_sum(const struct tl_kernel_args *a)
{
    const double *restrict x = a->in.close;
    double *restrict out = a->out[0], sum = 0;
    size_t begin = (size_t)a->param[0] - 1;
    for (size_t i = 0; i < begin; i++) sum += x[i];
    for (size_t i = begin; i < a->n; i++) {
        sum += x[i];
        out[i - begin] = sum;
        sum -= x[i - begin];
    }
}

const struct tl_indicator tl_ind_MAX = {
    .info = {.name = "MAX",
             .group = "Math",
             .title = "Highest value over a period",
             .inputs = TL_IN_CLOSE,
             .n_params = 1,
             .params = {TL_PERIOD("TimePeriod", 2, 30)},
             .n_outputs = 1,
             .outputs = {"max"}},
    .lookback = lookback_window,
    .scratch = scratch_tail,
    .kernel = k_max,
};

const struct tl_indicator tl_ind_MIN = {
    .info = {.name = "MIN",
             .group = "Math",
             .title = "Lowest value over a period",
             .inputs = TL_IN_CLOSE,
             .n_params = 1,
             .params = {TL_PERIOD("TimePeriod", 2, 30)},
             .n_outputs = 1,
             .outputs = {"min"}},
    .lookback = lookback_window,
    .scratch = scratch_tail,
    .kernel = k_min,
};

const struct tl_indicator tl_ind_SUM = {
    .info = {.name = "SUM",
             .group = "Math",
             .title = "Sum over a period",
             .inputs = TL_IN_CLOSE,
             .n_params = 1,
             .params = {TL_PERIOD("TimePeriod", 2, 30)},
             .n_outputs = 1,
             .outputs = {"sum"}},
    .lookback = lookback_window,
    .kernel = k_sum,
};

const struct tl_indicator tl_ind_MIDPOINT = {
    .info = {.name = "MIDPOINT",
             .group = "Overlap",
             .title = "Midpoint over a period",
             .inputs = TL_IN_CLOSE,
             .n_params = 1,
             .params = {TL_PERIOD("TimePeriod", 2, 14)},
             .n_outputs = 1,
             .outputs = {"midpoint"}},
    .lookback = lookback_window,
    .scratch = scratch_middle,
    .kernel = k_midpoint,
};

const struct tl_indicator tl_ind_MIDPRICE = {
    .info = {.name = "MIDPRICE",
             .group = "Overlap",
             .title = "Midpoint price over a period",
             .inputs = TL_IN_HIGH | TL_IN_LOW,
             .n_params = 1,
             .params = {TL_PERIOD("TimePeriod", 2, 14)},
             .n_outputs = 1,
             .outputs = {"midprice"}},
    .lookback = lookback_window,
    .scratch = scratch_middle,
    .kernel = k_midprice,
};
