/* SPDX-License-Identifier: Apache-2.0 */
/* Ex-rights adjustment (前复权, 后复权). Pure.
 * An event on its ex-date with cash c per share (after tax rules: none applied), bonus+gift shares g per
 * share and rights r per share at price s turns the previous close P into the reference price
 *     P' = (P - c + r*s) / (1 + g + r)
 * Forward: bars before the ex-date get the affine map of that event (so that the latest bars are raw):
 * price' = (price - c + r*s)/(1+g+r), applied for every later event; volume is divided likewise (x (1+g+r)).
 * Backward: the inverse applied to bars on and after the ex-date, so that the earliest bars are raw.
 * A cumulative-factor row (date, factor) instead scales: backward = price * f(date); forward = price * f(date) / f(last
 * bar's date). An event counts for a series only if its ex_date is not after the series' last bar. */
#ifndef TL_SERIES_ADJUST_H
#define TL_SERIES_ADJUST_H

#include "series/bars.h"

enum tl_factor_kind { TL_FACTOR_EVENT = 1, TL_FACTOR_CUMULATIVE = 2 };

struct tl_factor {
    int64_t ex_date_ms; /* 00:00 UTC of the ex-date */
    enum tl_factor_kind kind;
    double cash, gift, rights, rights_price; /* EVENT: per one share held */
    double factor;                           /* CUMULATIVE: > 0, from ex_date on */
};

/* Sorted by date, one kind only. */
struct tl_factors {
    size_t n;
    struct tl_factor *v;
};
void tl_factors_release(struct tl_factors *);

/* In place. RAW does nothing. No factors at all (n == 0) for FORWARD/BACKWARD: NO_FACTORS, bars untouched.
 * zone_offset_ms: added to intraday timestamps to find the trading date; 0 for daily and above. */
TL_MUSTCHECK enum tl_status tl_bars_adjust(struct tl_bars *, enum tl_adjust, const struct tl_factors *,
                                           int64_t zone_offset_ms, struct tl_err *err);
/* "EVENT" and "CUMULATIVE" mixed, unsorted, factor <= 0, non-finite or 1+g+r <= 0: INVALID with the index in line. */
TL_MUSTCHECK enum tl_status tl_factors_check(const struct tl_factors *, struct tl_err *err);

#endif
