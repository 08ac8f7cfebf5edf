/* SPDX-License-Identifier: Apache-2.0 */
/* Running totals of volume. All three depend on the whole past: a sum is carried from bar 0 and never re-normalised. */
#include "indicator/rows.h"

static size_t lookback_none(const double *param)
{
    (void)param;
    return 0;
}

static void k_obv(const struct tl_kernel_args *a)
{
    const double *close = a->in.close, *volume = a->in.volume;
    double *restrict out = a->out[0];
    double obv = volume[0];
    out[0] = obv;
    for (size_t i = 1; i < a->n; i++) {
        if (close[i] > close[i - 1])
            obv += volume[i];
        else if (close[i] < close[i - 1])
            obv -= volume[i];
        out[i] = obv;
    }
}

/* Accumulation/distribution after bar i; a bar without range adds nothing. */
static inline double ad_step(double ad, const struct tl_input *in, size_t i)
{
    double high = in->high[i], low = in->low[i], close = in->close[i], range = high - low;
    return range > 0.0 ? ad + (((close - low) - (high - close)) / range) * in->volume[i] : ad;
}

static void k_ad(const struct tl_kernel_args *a)
{
    struct tl_input in = a->in;
    double *restrict out = a->out[0];
    double ad = 0.0;
    for (size_t i = 0; i < a->n; i++) {
        ad = ad_step(ad, &in, i);
        out[i] = ad;
    }
}

static size_t lookback_adosc(const double *param)
{
    return (size_t)(param[0] > param[1] ? param[0] : param[1]) - 1;
}

/* Both averages start at the first value of the line, and round as k * x + (1 - k) * y. */
static void k_adosc(const struct tl_kernel_args *a)
{
    struct tl_input in = a->in;
    double *restrict out = a->out[0];
    size_t begin = lookback_adosc(a->param);
    double fast_k = 2.0 / (a->param[0] + 1.0), slow_k = 2.0 / (a->param[1] + 1.0);
    double fast_keep = 1.0 - fast_k, slow_keep = 1.0 - slow_k;
    double ad = ad_step(0.0, &in, 0), fast = ad, slow = ad;
    for (size_t i = 1; i < a->n; i++) {
        ad = ad_step(ad, &in, i);
        fast = fast_k * ad + fast_keep * fast;
        slow = slow_k * ad + slow_keep * slow;
        if (i >= begin) out[i - begin] = fast - slow;
    }
}

const struct tl_indicator tl_ind_OBV = {
    .info = {.name = "OBV",
             .group = "Volume",
             .title = "On Balance Volume",
             .inputs = TL_IN_CLOSE | TL_IN_VOLUME,
             .n_outputs = 1,
             .outputs = {"obv"}},
    .lookback = lookback_none,
    .kernel = k_obv,
};

const struct tl_indicator tl_ind_AD = {
    .info = {.name = "AD",
             .group = "Volume",
             .title = "Chaikin A/D Line",
             .inputs = TL_IN_HIGH | TL_IN_LOW | TL_IN_CLOSE | TL_IN_VOLUME,
             .n_outputs = 1,
             .outputs = {"ad"}},
    .lookback = lookback_none,
    .kernel = k_ad,
};

const struct tl_indicator tl_ind_ADOSC = {
    .info = {.name = "ADOSC",
             .group = "Volume",
             .title = "Chaikin A/D Oscillator",
             .inputs = TL_IN_HIGH | TL_IN_LOW | TL_IN_CLOSE | TL_IN_VOLUME,
             .n_params = 2,
             .params = {TL_PERIOD("FastPeriod", 2, 3), TL_PERIOD("SlowPeriod", 2, 10)},
             .n_outputs = 1,
             .outputs = {"adosc"}},
    .lookback = lookback_adosc,
    .kernel = k_adosc,
};
