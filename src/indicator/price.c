/* SPDX-License-Identifier: Apache-2.0 */
/* One price a bar, made of the bar alone. The order of the additions is the contract. */
#include "indicator/rows.h"
#include "indicator/range.h"

static size_t lookback_none(const double *param)
{
    (void)param;
    return 0;
}

static void k_avgprice(const struct tl_kernel_args *a)
{
    const double *open = a->in.open, *high = a->in.high, *low = a->in.low, *close = a->in.close;
    double *restrict out = a->out[0];
    for (size_t i = 0; i < a->n; i++) out[i] = (high[i] + low[i] + close[i] + open[i]) / 4.0;
}

static void k_medprice(const struct tl_kernel_args *a)
{
    const double *high = a->in.high, *low = a->in.low;
    double *restrict out = a->out[0];
    for (size_t i = 0; i < a->n; i++) out[i] = (high[i] + low[i]) / 2.0;
}

static void k_typprice(const struct tl_kernel_args *a)
{
    const double *high = a->in.high, *low = a->in.low, *close = a->in.close;
    double *restrict out = a->out[0];
    for (size_t i = 0; i < a->n; i++) out[i] = tl_typical(high[i], low[i], close[i]);
}

static void k_wclprice(const struct tl_kernel_args *a)
{
    const double *high = a->in.high, *low = a->in.low, *close = a->in.close;
    double *restrict out = a->out[0];
    for (size_t i = 0; i < a->n; i++) out[i] = (high[i] + low[i] + close[i] * 2.0) / 4.0;
}

const struct tl_indicator tl_ind_AVGPRICE = {
    .info = {.name = "AVGPRICE",
             .group = "Price",
             .title = "Average Price",
             .inputs = TL_IN_OPEN | TL_IN_HIGH | TL_IN_LOW | TL_IN_CLOSE,
             .n_outputs = 1,
             .outputs = {"avgprice"}},
    .lookback = lookback_none,
    .kernel = k_avgprice,
};

const struct tl_indicator tl_ind_MEDPRICE = {
    .info = {.name = "MEDPRICE",
             .group = "Price",
             .title = "Median Price",
             .inputs = TL_IN_HIGH | TL_IN_LOW,
             .n_outputs = 1,
             .outputs = {"medprice"}},
    .lookback = lookback_none,
    .kernel = k_medprice,
};

const struct tl_indicator tl_ind_TYPPRICE = {
    .info = {.name = "TYPPRICE",
             .group = "Price",
             .title = "Typical Price",
             .inputs = TL_IN_HIGH | TL_IN_LOW | TL_IN_CLOSE,
             .n_outputs = 1,
             .outputs = {"typprice"}},
    .lookback = lookback_none,
    .kernel = k_typprice,
};

const struct tl_indicator tl_ind_WCLPRICE = {
    .info = {.name = "WCLPRICE",
             .group = "Price",
             .title = "Weighted Close Price",
             .inputs = TL_IN_HIGH | TL_IN_LOW | TL_IN_CLOSE,
             .n_outputs = 1,
             .outputs = {"wclprice"}},
    .lookback = lookback_none,
    .kernel = k_wclprice,
};
