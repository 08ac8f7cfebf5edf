/* SPDX-License-Identifier: Apache-2.0 */
/* Moving averages of the close. SMA and WMA are running sums from bar 0, never re-normalised, so their last bits
 * depend on the whole past. Exponential ones are seeded with the plain mean of their first `period` inputs; those of
 * DEMA and TEMA follow each other in one loop, each as soon as the one before has a value. */
#include "indicator/moving.h"
#include "indicator/pair.h"
#include "indicator/rows.h"

#include "base/util.h"

#include <string.h>

/* From which period on sums are guessed: below it guesses fail too often. */
enum { GUESSED_PERIOD = 16 };

/* Adding this and taking it away again rounds a number that is at most half of v to a multiple of v's last place. */
static tl_pair rounder(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    bits &= UINT64_C(0x7ff0000000000000);
    memcpy(&v, &bits, sizeof v);
    return tl_pair_of(1.5 * v);
}

/* The contract takes the oldest bar out of the sum and then the newest in: two additions that wait for each other, and
 * for those of the bar before. If the oldest bar is rounded to the sum's last place beforehand, one addition of the
 * difference gives the same bits, but for ties and where the sum crosses a power of two. So the sums of two bars are
 * guessed, with one addition each, and checked side by side by the contract's own steps from the guess before; where
 * a bit differs, both bars are done in order. */
static void guessed_sma(const double *restrict x, size_t n, size_t period, double *restrict out)
{
    const double *newest = x + period, *oldest = x;
    size_t rows = n - period, r = 0;
    double p = (double)period, start = 0;
    for (size_t i = 0; i < period; i++) start += x[i];
    *out++ = start / p;
    tl_pair sum = tl_pair_of(start), round = rounder(start); /* of sums, the first lane counts */
    for (; r + 2 <= rows; r += 2) {
        tl_pair old = tl_pair_load(oldest + r), new = tl_pair_load(newest + r), change = new - ((old + round) - round);
        tl_pair first = sum + change, second = first + tl_pair_of(change[1]);
        tl_pair before = {sum[0], first[0]}, after = {first[0], second[0]};
        tl_pair_mask differs = (tl_pair_mask)((before - old) + new) ^ (tl_pair_mask)after;
        if (__builtin_expect((differs[0] | differs[1]) != 0, 0)) {
            after[0] = (sum[0] - oldest[r]) + newest[r];
            after[1] = (after[0] - oldest[r + 1]) + newest[r + 1];
            second = tl_pair_of(after[1]);
            round = rounder(after[1]);
        }
        sum = second;
        tl_pair_store(out + r, after / tl_pair_of(p));
    }
    if (r < rows) out[r] = ((sum[0] - oldest[r]) + newest[r]) / p;
}

static void sma(const double *restrict x, size_t n, size_t period, double *restrict out)
{
    if (period >= GUESSED_PERIOD) {
        guessed_sma(x, n, period, out);
        return;
    }
    double p = (double)period, sum = 0;
    size_t begin = period - 1;
    for (size_t i = 0; i < begin; i++) sum += x[i];
    for (size_t i = begin; i < n; i++) {
        sum += x[i];
        out[i - begin] = sum / p;
        sum -= x[i - begin];
    }
}

static void ema(const double *restrict x, size_t n, size_t period, double *restrict out)
{
    double p = (double)period, k = tl_ema_weight(p), y = 0;
    for (size_t i = 0; i < period; i++) y += x[i];
    y /= p;
    out[0] = y;
    for (size_t i = period; i < n; i++) {
        y = tl_ema_step(y, x[i], k);
        out[i - period + 1] = y;
    }
}

static void wma(const double *restrict x, size_t n, size_t period, double *restrict out)
{
    double p = (double)period, divisor = p * (p + 1.0) / 2.0, sum = 0, weighted = 0, oldest = 0;
    size_t begin = period - 1;
    for (size_t i = 0; i < begin; i++) {
        sum += x[i];
        weighted += x[i] * (double)(i + 1);
    }
    for (size_t i = begin; i < n; i++) {
        sum += x[i];
        sum -= oldest;
        weighted += x[i] * p;
        oldest = x[i - begin];
        out[i - begin] = weighted / divisor;
        weighted -= sum;
    }
}

static void dema(const double *restrict x, size_t n, size_t period, double *restrict out)
{
    double p = (double)period, k = tl_ema_weight(p), one = 0, two = 0;
    size_t i = 0, begin = 2 * (period - 1);
    for (; i < period; i++) one += x[i];
    one /= p;
    two += one;
    for (; i <= begin; i++) {
        one = tl_ema_step(one, x[i], k);
        two += one;
    }
    two /= p;
    out[0] = 2.0 * one - two;
    for (; i < n; i++) {
        one = tl_ema_step(one, x[i], k);
        two = tl_ema_step(two, one, k);
        out[i - begin] = 2.0 * one - two;
    }
}

static void tema(const double *restrict x, size_t n, size_t period, double *restrict out)
{
    double p = (double)period, k = tl_ema_weight(p), one = 0, two = 0, three = 0;
    size_t i = 0, begin = 3 * (period - 1);
    for (; i < period; i++) one += x[i];
    one /= p;
    two += one;
    for (; i <= 2 * (period - 1); i++) {
        one = tl_ema_step(one, x[i], k);
        two += one;
    }
    two /= p;
    three += two;
    for (; i <= begin; i++) {
        one = tl_ema_step(one, x[i], k);
        two = tl_ema_step(two, one, k);
        three += two;
    }
    three /= p;
    out[0] = three + (3.0 * one - 3.0 * two);
    for (; i < n; i++) {
        one = tl_ema_step(one, x[i], k);
        two = tl_ema_step(two, one, k);
        three = tl_ema_step(three, two, k);
        out[i - begin] = three + (3.0 * one - 3.0 * two);
    }
}

/* In the order of enum tl_ma_type. */
static const struct {
    void (*average)(const double *x, size_t n, size_t period, double *out);
    const struct tl_indicator *row;
    unsigned chained; /* averages of averages */
} types[] = {
    {sma, &tl_ind_SMA, 1},   {ema, &tl_ind_EMA, 1},   {wma, &tl_ind_WMA, 1},
    {dema, &tl_ind_DEMA, 2}, {tema, &tl_ind_TEMA, 3},
};

size_t tl_ma_lookback(double period, double type)
{
    return ((size_t)period - 1) * types[(size_t)type].chained;
}

void tl_ma(double period, double type, const double *x, size_t n, double *out)
{
    if (period <= 1)
        memcpy(out, x, n * sizeof *out);
    else
        types[(size_t)type].average(x, n, (size_t)period, out);
}

struct tl_spec tl_ma_spec(double period, double type)
{
    return (struct tl_spec){.info = &types[(size_t)type].row->info, .params = {period}};
}

#define PLAIN(NAME, small, number, long_name)                                                                          \
    static size_t lookback_##small(const double *param)                                                                \
    {                                                                                                                  \
        return tl_ma_lookback(param[0], number);                                                                       \
    }                                                                                                                  \
    static void k_##small(const struct tl_kernel_args *a)                                                              \
    {                                                                                                                  \
        small(a->in.close, a->n, (size_t)a->param[0], a->out[0]);                                                      \
    }                                                                                                                  \
    const struct tl_indicator tl_ind_##NAME = {                                                                        \
        .info = {.name = #NAME,                                                                                        \
                 .group = "Overlap",                                                                                   \
                 .title = long_name,                                                                                   \
                 .inputs = TL_IN_CLOSE,                                                                                \
                 .n_params = 1,                                                                                        \
                 .params = {TL_PERIOD("TimePeriod", 2, 30)},                                                           \
                 .n_outputs = 1,                                                                                       \
                 .outputs = {#small}},                                                                                 \
        .lookback = lookback_##small,                                                                                  \
        .kernel = k_##small,                                                                                           \
    };

PLAIN(SMA, sma, TL_MA_SMA, "Simple Moving Average")
PLAIN(EMA, ema, TL_MA_EMA, "Exponential Moving Average")
PLAIN(WMA, wma, TL_MA_WMA, "Weighted Moving Average")
PLAIN(DEMA, dema, TL_MA_DEMA, "Double Exponential Moving Average")
PLAIN(TEMA, tema, TL_MA_TEMA, "Triple Exponential Moving Average")

static size_t lookback_ma(const double *param)
{
    return tl_ma_lookback(param[0], param[1]);
}

static size_t deps_ma(const double *param, struct tl_spec dep[TL_DEPS_MAX])
{
    if (param[0] <= 1) return 0;
    dep[0] = tl_ma_spec(param[0], param[1]);
    return 1;
}

static void k_ma(const struct tl_kernel_args *a)
{
    const double *from = a->param[0] <= 1 ? a->in.close : a->dep[0][0];
    memcpy(a->out[0], from, (a->n - lookback_ma(a->param)) * sizeof *from);
}

const struct tl_indicator tl_ind_MA = {
    .info = {.name = "MA",
             .group = "Overlap",
             .title = "Moving Average",
             .inputs = TL_IN_CLOSE,
             .n_params = 2,
             .params = {TL_PERIOD("TimePeriod", 1, 30), TL_MA_TYPE("MAType")},
             .n_outputs = 1,
             .outputs = {"ma"}},
    .lookback = lookback_ma,
    .deps = deps_ma,
    .kernel = k_ma,
};

static size_t lookback_bbands(const double *param)
{
    return tl_ma_lookback(param[0], param[3]);
}

static size_t deps_bbands(const double *param, struct tl_spec dep[TL_DEPS_MAX])
{
    dep[0] = tl_ma_spec(param[0], param[3]);
    return 1;
}

/* Running sums of a window and of its squares. They begin at the first window, not at bar 0. */
struct window_sums {
    const double *x; /* the oldest bar of the window */
    size_t last;     /* from there to the newest */
    double sum, squares;
};

/* Takes the next bar in, gives both sums as lane i, and lets the oldest go. */
static inline void next_window(struct window_sums *w, tl_pair *sum, tl_pair *squares, int i)
{
    double old = w->x[0], new = w->x[w->last];
    (*sum)[i] = w->sum + new;
    (*squares)[i] = w->squares + new *new;
    w->sum = (*sum)[i] - old;
    w->squares = (*squares)[i] - old * old;
    w->x++;
}

struct bands {
    double period, up, down;
};

/* Two neighbouring bars. The variance is E[x^2] - E[x]^2; sum NULL: the middle band is E[x]. */
static inline void bands_of(const struct bands *b, tl_pair middle, const tl_pair *sum, tl_pair squares, tl_pair *upper,
                            tl_pair *lower)
{
    tl_pair p = tl_pair_of(b->period), mean = sum ? *sum / p : middle, variance = squares / p - mean * mean;
    tl_pair root = {__builtin_sqrt(variance[0]), __builtin_sqrt(variance[1])};
    tl_pair deviation = tl_pair_or_zero(root, ~(variance < tl_pair_of(1e-14)));
    *upper = middle + deviation * tl_pair_of(b->up);
    *lower = middle - deviation * tl_pair_of(b->down);
}

static inline void bands(const struct tl_kernel_args *a, bool simple)
{
    const double *restrict middle = a->dep[0][0];
    double *restrict upper = a->out[0], *restrict middle_out = a->out[1], *restrict lower = a->out[2];
    size_t period = (size_t)a->param[0], first = lookback_bbands(a->param), rows = a->n - first, r = 0;
    struct bands b = {a->param[0], a->param[1], a->param[2]};
    struct window_sums w = {.x = a->in.close + (first + 1 - period), .last = period - 1};
    for (size_t i = 0; i < w.last; i++) {
        w.sum += w.x[i];
        w.squares += w.x[i] * w.x[i];
    }
    for (; r < rows; r += 2) {
        bool two = r + 1 < rows;
        tl_pair sum = {1, 1}, squares = {1, 1}, mid = two ? tl_pair_load(middle + r) : tl_pair_of(middle[r]), up, low;
        next_window(&w, &sum, &squares, 0);
        if (two) next_window(&w, &sum, &squares, 1);
        bands_of(&b, mid, simple ? NULL : &sum, squares, &up, &low);
        upper[r] = up[0];
        middle_out[r] = mid[0];
        lower[r] = low[0];
        if (!two) break;
        upper[r + 1] = up[1];
        middle_out[r + 1] = mid[1];
        lower[r + 1] = low[1];
    }
}

static void k_bbands(const struct tl_kernel_args *a)
{
    if (a->param[3] <= TL_MA_SMA)
        bands(a, true);
    else
        bands(a, false);
}

const struct tl_indicator tl_ind_BBANDS = {
    .info = {.name = "BBANDS",
             .group = "Overlap",
             .title = "Bollinger Bands",
             .inputs = TL_IN_CLOSE,
             .n_params = 4,
             .params = {TL_PERIOD("TimePeriod", 2, 5), TL_REAL("NbDevUp", -3e37, 2), TL_REAL("NbDevDn", -3e37, 2),
                        TL_MA_TYPE("MAType")},
             .n_outputs = 3,
             .outputs = {"upper", "middle", "lower"}},
    .lookback = lookback_bbands,
    .deps = deps_bbands,
    .kernel = k_bbands,
};
