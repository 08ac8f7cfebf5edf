/* SPDX-License-Identifier: Apache-2.0 */
/* Candlestick patterns with TA-Lib's default settings: what counts as short, near or a doji is a fraction of the mean
 * of the last 10 (near: 5) bodies or ranges before the bar. The means are running sums from the first window on.
 * Outputs are whole numbers: 100 or 80 with the sign of the direction, 0 for no pattern. */
#include "indicator/rows.h"

#include <math.h>

enum { BODY_BARS = 10, NEAR_BARS = 5 };

static inline double body(const struct tl_input *in, size_t i)
{
    return fabs(in->close[i] - in->open[i]);
}

static inline double range(const struct tl_input *in, size_t i)
{
    return in->high[i] - in->low[i];
}

static inline bool is_white(const struct tl_input *in, size_t i)
{
    return in->close[i] >= in->open[i];
}

static inline double top(const struct tl_input *in, size_t i)
{
    return is_white(in, i) ? in->close[i] : in->open[i];
}

static inline double bottom(const struct tl_input *in, size_t i)
{
    return is_white(in, i) ? in->open[i] : in->close[i];
}

static size_t lookback_doji(const double *param)
{
    (void)param;
    return BODY_BARS;
}

/* A body of at most a tenth of the usual range. */
static void k_doji(const struct tl_kernel_args *a)
{
    struct tl_input in = a->in;
    double *restrict out = a->out[0];
    double ranges = 0;
    for (size_t i = 0; i < BODY_BARS; i++) ranges += range(&in, i);
    for (size_t i = BODY_BARS; i < a->n; i++) {
        out[i - BODY_BARS] = body(&in, i) <= 0.1 * (ranges / BODY_BARS) ? 100.0 : 0.0;
        ranges += range(&in, i) - range(&in, i - BODY_BARS);
    }
}

static size_t lookback_hammer(const double *param)
{
    (void)param;
    return BODY_BARS + 1;
}

/* A small body near or below the low before, a lower shadow longer than the body, hardly an upper one. */
static void k_hammer(const struct tl_kernel_args *a)
{
    struct tl_input in = a->in;
    double *restrict out = a->out[0];
    size_t begin = BODY_BARS + 1;
    double bodies = 0, ranges = 0, near = 0; /* near ends one bar before the other two */
    for (size_t i = begin - BODY_BARS; i < begin; i++) {
        bodies += body(&in, i);
        ranges += range(&in, i);
    }
    for (size_t i = begin - 1 - NEAR_BARS; i < begin - 1; i++) near += range(&in, i);
    for (size_t i = begin; i < a->n; i++) {
        bool hammer = body(&in, i) < 1.0 * (bodies / BODY_BARS) && bottom(&in, i) - in.low[i] > body(&in, i) &&
                      in.high[i] - top(&in, i) < 0.1 * (ranges / BODY_BARS) &&
                      bottom(&in, i) <= in.low[i - 1] + 0.2 * (near / NEAR_BARS);
        out[i - begin] = hammer ? 100.0 : 0.0;
        bodies += body(&in, i) - body(&in, i - BODY_BARS);
        ranges += range(&in, i) - range(&in, i - BODY_BARS);
        near += range(&in, i - 1) - range(&in, i - 1 - NEAR_BARS);
    }
}

static size_t lookback_engulfing(const double *param)
{
    (void)param;
    return 2;
}

/* The body holds that of the bar before, of the other colour; 80 instead of 100 when they share an edge. */
static void k_engulfing(const struct tl_kernel_args *a)
{
    struct tl_input in = a->in;
    double *restrict out = a->out[0];
    for (size_t i = 2; i < a->n; i++) {
        bool white = is_white(&in, i);
        double up = top(&in, i), down = bottom(&in, i), old_up = top(&in, i - 1), old_down = bottom(&in, i - 1);
        bool engulfs =
            white != is_white(&in, i - 1) && ((up >= old_up && down < old_down) || (up > old_up && down <= old_down));
        double strength = up != old_up && down != old_down ? 100.0 : 80.0;
        out[i - 2] = !engulfs ? 0.0 : white ? strength : -strength;
    }
}

const struct tl_indicator tl_ind_CDLDOJI = {
    .info = {.name = "CDLDOJI",
             .group = "Pattern",
             .title = "Doji",
             .inputs = TL_IN_OPEN | TL_IN_HIGH | TL_IN_LOW | TL_IN_CLOSE,
             .n_outputs = 1,
             .outputs = {"doji"},
             .integer = true},
    .lookback = lookback_doji,
    .kernel = k_doji,
};

const struct tl_indicator tl_ind_CDLHAMMER = {
    .info = {.name = "CDLHAMMER",
             .group = "Pattern",
             .title = "Hammer",
             .inputs = TL_IN_OPEN | TL_IN_HIGH | TL_IN_LOW | TL_IN_CLOSE,
             .n_outputs = 1,
             .outputs = {"hammer"},
             .integer = true},
    .lookback = lookback_hammer,
    .kernel = k_hammer,
};

const struct tl_indicator tl_ind_CDLENGULFING = {
    .info = {.name = "CDLENGULFING",
             .group = "Pattern",
             .title = "Engulfing Pattern",
             .inputs = TL_IN_OPEN | TL_IN_HIGH | TL_IN_LOW | TL_IN_CLOSE,
             .n_outputs = 1,
             .outputs = {"engulfing"},
             .integer = true},
    .lookback = lookback_engulfing,
    .kernel = k_engulfing,
};
