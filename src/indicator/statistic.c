/* SPDX-License-Identifier: Apache-2.0 */
/* Variance and straight lines fitted by least squares. Variance is E[x^2] - E[x]^2 over running sums from bar 0 that
 * are never re-normalised, so a flat window leaves rounding noise instead of 0. Lines sum every window anew, oldest
 * bar first; four windows are summed side by side, each in its own order, which changes no bit. */
#include "indicator/pair.h"
#include "indicator/range.h"
#include "indicator/rows.h"

static size_t lookback_window(const double *param)
{
    return (size_t)param[0] - 1;
}

static void k_var(const struct tl_kernel_args *a)
{
    const double *restrict x = a->in.close;
    double *restrict out = a->out[0], p = a->param[0], sum = 0, squares = 0;
    size_t begin = lookback_window(a->param);
    for (size_t i = 0; i < begin; i++) {
        sum += x[i];
        squares += x[i] * x[i];
    }
    for (size_t i = begin; i < a->n; i++) {
        sum += x[i];
        squares += x[i] * x[i];
        double mean = sum / p, mean_square = squares / p, old = x[i - begin];
        sum -= old;
        squares -= old * old;
        out[i - begin] = mean_square - mean * mean;
    }
}

static size_t deps_stddev(const double *param, struct tl_spec dep[TL_DEPS_MAX])
{
    dep[0] = (struct tl_spec){.info = &tl_ind_VAR.info, .params = {param[0], 1}};
    return 1;
}

static void k_stddev(const struct tl_kernel_args *a)
{
    const double *restrict var = a->dep[0][0];
    double *restrict out = a->out[0], times = a->param[1];
    size_t rows = a->n - lookback_window(a->param);
    for (size_t r = 0; r < rows; r++) out[r] = var[r] < 1e-14 ? 0.0 : sqrt(var[r]) * times;
}

enum line_value { LINE_END, LINE_NEXT, LINE_SLOPE, LINE_INTERCEPT };

/* With x = 0 at the oldest bar of the window and period - 1 at the present one. */
struct line {
    double period, sum_x, divisor;
};

static inline tl_pair line_value(const struct line *line, enum line_value what, tl_pair sum_y, tl_pair sum_xy)
{
    tl_pair p = tl_pair_of(line->period), sum_x = tl_pair_of(line->sum_x);
    tl_pair slope = (p * sum_xy - sum_x * sum_y) / tl_pair_of(line->divisor);
    if (what == LINE_SLOPE) return slope;
    tl_pair intercept = (sum_y - slope * sum_x) / p;
    if (what == LINE_INTERCEPT) return intercept;
    return intercept + slope * (what == LINE_NEXT ? p : tl_pair_of(line->period - 1.0));
}

static inline void fit(const struct tl_kernel_args *a, enum line_value what)
{
    const double *restrict y = a->in.close;
    double *restrict out = a->out[0], p = a->param[0];
    size_t period = (size_t)p, rows = a->n - period + 1, r = 0;
    /* TA-Lib multiplies these out as int, which overflows beyond a period of 1024; here they are exact. The slope's sum
     * counts x from the present bar back, hence the sign of the divisor. */
    struct line line = {.period = p, .sum_x = p * (p - 1.0) * 0.5};
    line.divisor = line.sum_x * line.sum_x - p * (p * (p - 1.0) * (2.0 * p - 1.0) / 6.0);
    for (; r + 4 <= rows; r += 4) {
        tl_pair y0 = tl_pair_of(0), y1 = tl_pair_of(0), xy0 = tl_pair_of(0), xy1 = tl_pair_of(0), x = tl_pair_of(p);
        for (size_t j = 0; j < period; j++) {
            tl_pair v0 = tl_pair_load(y + r + j), v1 = tl_pair_load(y + r + j + 2);
            x -= tl_pair_of(1.0);
            y0 += v0;
            y1 += v1;
            xy0 += x * v0;
            xy1 += x * v1;
        }
        tl_pair v0 = line_value(&line, what, y0, xy0), v1 = line_value(&line, what, y1, xy1);
        tl_pair_store(out + r, v0);
        tl_pair_store(out + r + 2, v1);
    }
    for (; r < rows; r++) {
        double sum_y = 0, sum_xy = 0;
        for (size_t j = 0; j < period; j++) {
            sum_y += y[r + j];
            sum_xy += (double)(period - 1 - j) * y[r + j];
        }
        out[r] = line_value(&line, what, tl_pair_of(sum_y), tl_pair_of(sum_xy))[0];
    }
}

static void k_linearreg(const struct tl_kernel_args *a)
{
    fit(a, LINE_END);
}

static void k_tsf(const struct tl_kernel_args *a)
{
    fit(a, LINE_NEXT);
}

static void k_slope(const struct tl_kernel_args *a)
{
    fit(a, LINE_SLOPE);
}

static void k_intercept(const struct tl_kernel_args *a)
{
    fit(a, LINE_INTERCEPT);
}

static size_t deps_angle(const double *param, struct tl_spec dep[TL_DEPS_MAX])
{
    dep[0] = (struct tl_spec){.info = &tl_ind_LINEARREG_SLOPE.info, .params = {param[0]}};
    return 1;
}

static void k_angle(const struct tl_kernel_args *a)
{
    const double *slope = a->dep[0][0];
    double *restrict out = a->out[0];
    size_t rows = a->n - lookback_window(a->param);
    for (size_t r = 0; r < rows; r++) out[r] = atan(slope[r]) * (180.0 / 3.14159265358979323846);
}

const struct tl_indicator tl_ind_VAR = {
    .info = {.name = "VAR",
             .group = "Statistic",
             .title = "Variance",
             .inputs = TL_IN_CLOSE,
             .n_params = 2,
             .params = {TL_PERIOD("TimePeriod", 1, 5), TL_REAL("NbDev", -3e37, 1)},
             .n_outputs = 1,
             .outputs = {"var"}},
    .lookback = lookback_window,
    .kernel = k_var,
};

const struct tl_indicator tl_ind_STDDEV = {
    .info = {.name = "STDDEV",
             .group = "Statistic",
             .title = "Standard Deviation",
             .inputs = TL_IN_CLOSE,
             .n_params = 2,
             .params = {TL_PERIOD("TimePeriod", 2, 5), TL_REAL("NbDev", -3e37, 1)},
             .n_outputs = 1,
             .outputs = {"stddev"}},
    .lookback = lookback_window,
    .deps = deps_stddev,
    .kernel = k_stddev,
};

const struct tl_indicator tl_ind_LINEARREG = {
    .info = {.name = "LINEARREG",
             .group = "Statistic",
             .title = "Linear Regression",
             .inputs = TL_IN_CLOSE,
             .n_params = 1,
             .params = {TL_PERIOD("TimePeriod", 2, 14)},
             .n_outputs = 1,
             .outputs = {"linearreg"}},
    .lookback = lookback_window,
    .kernel = k_linearreg,
};

const struct tl_indicator tl_ind_LINEARREG_SLOPE = {
    .info = {.name = "LINEARREG_SLOPE",
             .group = "Statistic",
             .title = "Linear Regression Slope",
             .inputs = TL_IN_CLOSE,
             .n_params = 1,
             .params = {TL_PERIOD("TimePeriod", 2, 14)},
             .n_outputs = 1,
             .outputs = {"slope"}},
    .lookback = lookback_window,
    .kernel = k_slope,
};

const struct tl_indicator tl_ind_LINEARREG_INTERCEPT = {
    .info = {.name = "LINEARREG_INTERCEPT",
             .group = "Statistic",
             .title = "Linear Regression Intercept",
             .inputs = TL_IN_CLOSE,
             .n_params = 1,
             .params = {TL_PERIOD("TimePeriod", 2, 14)},
             .n_outputs = 1,
             .outputs = {"intercept"}},
    .lookback = lookback_window,
    .kernel = k_intercept,
};

const struct tl_indicator tl_ind_LINEARREG_ANGLE = {
    .info = {.name = "LINEARREG_ANGLE",
             .group = "Statistic",
             .title = "Linear Regression Angle",
             .inputs = TL_IN_CLOSE,
             .n_params = 1,
             .params = {TL_PERIOD("TimePeriod", 2, 14)},
             .n_outputs = 1,
             .outputs = {"angle"}},
    .lookback = lookback_window,
    .deps = deps_angle,
    .kernel = k_angle,
};

const struct tl_indicator tl_ind_TSF = {
    .info = {.name = "TSF",
             .group = "Statistic",
             .title = "Time Series Forecast",
             .inputs = TL_IN_CLOSE,
             .n_params = 1,
             .params = {TL_PERIOD("TimePeriod", 2, 14)},
             .n_outputs = 1,
             .outputs = {"tsf"}},
    .lookback = lookback_window,
    .kernel = k_tsf,
};
