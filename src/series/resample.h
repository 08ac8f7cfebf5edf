/* SPDX-License-Identifier: Apache-2.0 */
/* Bars of a higher frequency from bars of a lower one. Pure.
 * 1d -> 1w (ISO weeks, Monday first), 1mo; minutes -> 5m..60m within the sessions, -> 1d by local trading date.
 * A resampled bar is stamped with its start: intraday the start of the slot, 1d/1w/1mo 00:00 UTC of the first
 * trading date in it. open = first, close = last, high/low = extremes, volume and amount = sums (NaN only when
 * all are). Slots without bars do not exist. */
#ifndef TL_SERIES_RESAMPLE_H
#define TL_SERIES_RESAMPLE_H

#include "market/tz.h"
#include "series/bars.h"

struct tl_session {
    int start_min, end_min; /* local minutes of the day, [start, end) */
};

struct tl_sessions {
    size_t n; /* 0: the whole day is one session */
    struct tl_session v[8];
};

/* 09:30-11:30 and 13:00-15:00: slots are cut from each session's start, so 60m gives 09:30 10:30 13:00 14:00.
 * A bar outside every session (an auction print at 15:00) is folded into the nearest slot before it; before the
 * first session, into the first slot. */
extern const struct tl_sessions tl_sessions_cn; /* 09:30-11:30, 13:00-15:00 */
extern const struct tl_sessions tl_sessions_us; /* 09:30-16:00 */
/* "09:30-11:30,13:00-15:00" */
TL_MUSTCHECK enum tl_status tl_sessions_parse(struct tl_str, struct tl_sessions *out, struct tl_err *err);

/* out must be initialised and empty. tz is needed when `from` is intraday. UNSUPPORTED when `to` is not above
 * `from`, or not a multiple of it. */
TL_MUSTCHECK enum tl_status tl_bars_resample(const struct tl_bars *in, enum tl_freq from, enum tl_freq to,
                                             const struct tl_tz *tz, const struct tl_sessions *sessions,
                                             struct tl_bars *out, struct tl_err *err);

#endif
