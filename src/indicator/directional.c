/* SPDX-License-Identifier: Apache-2.0 */
/* Wilder's directional movement: +DI, -DI, DX, ADX, ADXR. One step of the three running sums (minus, plus, true
 * range) is shared; the families differ in when they begin and in what stands in for a division by zero: the DIs give
 * 0, DX repeats its last value, ADX leaves such a bar out of its average.
 * The first period - 1 bars are summed plainly; from then on x = x - x / period + new. */
#include "indicator/pair.h"
#include "indicator/range.h"
#include "indicator/rows.h"

/* Movement (minus, plus) and true range, of one bar or as running sums. */
struct move {
    tl_pair both;
    double range;
};

enum { MINUS = 0, PLUS = 1 };

/* At most one of the two movements of a bar is not 0. */
static inline struct move move_at(const struct tl_input *in, size_t i)
{
    double plus = in->high[i] - in->high[i - 1], minus = in->low[i - 1] - in->low[i];
    return (struct move){
        .both = {minus > 0 && plus < minus ? minus : 0.0, plus > 0 && plus > minus ? plus : 0.0},
        .range = tl_true_range(in->high[i], in->low[i], in->close[i - 1]),
    };
}

/* Sums over bars 1 .. period - 1. */
static inline struct move sums_begin(const struct tl_input *in, size_t period)
{
    struct move s = {.range = 0};
    for (size_t i = 1; i < period; i++) {
        struct move m = move_at(in, i);
        s.both += m.both;
        s.range += m.range;
    }
    return s;
}

static inline void sums_step(struct move *s, const struct tl_input *in, size_t i, double p)
{
    struct move m = move_at(in, i);
    s->both = s->both - s->both / tl_pair_of(p) + m.both;
    s->range = s->range - s->range / p + m.range;
}

/* False when the bar has no DX; *dx is then left alone. */
static inline bool dx_of(const struct move *s, double *dx)
{
    if (tl_is_zero(s->range)) return false;
    tl_pair di = tl_pair_of(100.0) * (s->both / tl_pair_of(s->range));
    double sum = di[MINUS] + di[PLUS];
    if (tl_is_zero(sum)) return false;
    *dx = 100.0 * (fabs(di[MINUS] - di[PLUS]) / sum);
    return true;
}

static size_t lookback_di(const double *param)
{
    return (size_t)param[0];
}

/* A period of 1 is not smoothed, and then not a percentage. */
static inline void directional_index(const struct tl_kernel_args *a, int side)
{
    struct tl_input in = a->in;
    double *restrict out = a->out[0];
    size_t period = (size_t)a->param[0];
    if (period <= 1) {
        for (size_t i = 1; i < a->n; i++) {
            struct move m = move_at(&in, i);
            double v = m.both[side];
            out[i - 1] = tl_is_zero(m.range) || v <= 0 ? 0.0 : v / m.range;
        }
        return;
    }
    double p = (double)period;
    struct move s = sums_begin(&in, period);
    for (size_t i = period; i < a->n; i++) {
        sums_step(&s, &in, i, p);
        out[i - period] = tl_is_zero(s.range) ? 0.0 : 100.0 * (s.both[side] / s.range);
    }
}

static void k_plus_di(const struct tl_kernel_args *a)
{
    directional_index(a, PLUS);
}

static void k_minus_di(const struct tl_kernel_args *a)
{
    directional_index(a, MINUS);
}

static void k_dx(const struct tl_kernel_args *a)
{
    struct tl_input in = a->in;
    double *restrict out = a->out[0];
    size_t period = (size_t)a->param[0];
    double p = (double)period, dx = 0.0;
    struct move s = sums_begin(&in, period);
    for (size_t i = period; i < a->n; i++) {
        sums_step(&s, &in, i, p);
        dx_of(&s, &dx);
        out[i - period] = dx;
    }
}

static size_t lookback_adx(const double *param)
{
    return 2 * (size_t)param[0] - 1;
}

static void k_adx(const struct tl_kernel_args *a)
{
    struct tl_input in = a->in;
    double *restrict out = a->out[0];
    size_t period = (size_t)a->param[0], begin = 2 * period - 1;
    double p = (double)period, keep = (double)(period - 1), adx = 0.0, dx = 0.0;
    struct move s = sums_begin(&in, period);
    for (size_t i = period; i <= begin; i++) {
        sums_step(&s, &in, i, p);
        if (dx_of(&s, &dx)) adx += dx;
    }
    adx /= p;
    out[0] = adx;
    for (size_t i = begin + 1; i < a->n; i++) {
        sums_step(&s, &in, i, p);
        if (dx_of(&s, &dx)) adx = (adx * keep + dx) / p;
        out[i - begin] = adx;
    }
}

static size_t lookback_adxr(const double *param)
{
    return 3 * (size_t)param[0] - 2;
}

static size_t deps_adxr(const double *param, struct tl_spec dep[TL_DEPS_MAX])
{
    dep[0] = (struct tl_spec){.info = &tl_ind_ADX.info, .params = {param[0]}};
    return 1;
}

static void k_adxr(const struct tl_kernel_args *a)
{
    const double *adx = a->dep[0][0];
    double *restrict out = a->out[0];
    size_t period = (size_t)a->param[0], rows = a->n - lookback_adxr(a->param);
    for (size_t r = 0; r < rows; r++) out[r] = (adx[r + period - 1] + adx[r]) / 2.0;
}

const struct tl_indicator tl_ind_PLUS_DI = {
    .info = {.name = "PLUS_DI",
             .group = "Momentum",
             .title = "Plus Directional Indicator",
             .inputs = TL_IN_HIGH | TL_IN_LOW | TL_IN_CLOSE,
             .n_params = 1,
             .params = {TL_PERIOD("TimePeriod", 1, 14)},
             .n_outputs = 1,
             .outputs = {"plus_di"}},
    .lookback = lookback_di,
    .kernel = k_plus_di,
};

const struct tl_indicator tl_ind_MINUS_DI = {
    .info = {.name = "MINUS_DI",
             .group = "Momentum",
             .title = "Minus Directional Indicator",
             .inputs = TL_IN_HIGH | TL_IN_LOW | TL_IN_CLOSE,
             .n_params = 1,
             .params = {TL_PERIOD("TimePeriod", 1, 14)},
             .n_outputs = 1,
             .outputs = {"minus_di"}},
    .lookback = lookback_di,
    .kernel = k_minus_di,
};

const struct tl_indicator tl_ind_DX = {
    .info = {.name = "DX",
             .group = "Momentum",
             .title = "Directional Movement Index",
             .inputs = TL_IN_HIGH | TL_IN_LOW | TL_IN_CLOSE,
             .n_params = 1,
             .params = {TL_PERIOD("TimePeriod", 2, 14)},
             .n_outputs = 1,
             .outputs = {"dx"}},
    .lookback = lookback_di,
    .kernel = k_dx,
};

const struct tl_indicator tl_ind_ADX = {
    .info = {.name = "ADX",
             .group = "Momentum",
             .title = "Average Directional Movement Index",
             .inputs = TL_IN_HIGH | TL_IN_LOW | TL_IN_CLOSE,
             .n_params = 1,
             .params = {TL_PERIOD("TimePeriod", 2, 14)},
             .n_outputs = 1,
             .outputs = {"adx"}},
    .lookback = lookback_adx,
    .kernel = k_adx,
};

const struct tl_indicator tl_ind_ADXR = {
    .info = {.name = "ADXR",
             .group = "Momentum",
             .title = "Average Directional Movement Index Rating",
             .inputs = TL_IN_HIGH | TL_IN_LOW | TL_IN_CLOSE,
             .n_params = 1,
             .params = {TL_PERIOD("TimePeriod", 2, 14)},
             .n_outputs = 1,
             .outputs = {"adxr"}},
    .lookback = lookback_adxr,
    .deps = deps_adxr,
    .kernel = k_adxr,
};
