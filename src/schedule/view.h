/* SPDX-License-Identifier: Apache-2.0 */
/* The bars that a (symbol, freq, adjust) stands for: read from the store in one snapshot, adjusted, and resampled
 * from a lower frequency where the store has none of that frequency. */
#ifndef TL_SCHEDULE_VIEW_H
#define TL_SCHEDULE_VIEW_H

#include "series/resample.h"
#include "store/store.h"

enum { TL_VIEW_MARKETS = 8 };

/* Trading hours by enum tl_market, for cutting intraday slots. NULL: the whole day. [borrow: while used] */
struct tl_view_sessions {
    const struct tl_sessions *by_market[TL_VIEW_MARKETS];
};
/* SH SZ BJ: tl_sessions_cn; US: tl_sessions_us; the others: the whole day. */
struct tl_view_sessions tl_view_sessions_default(void);

struct tl_view {
    struct tl_bars bars;       /* [own] */
    struct tl_version version; /* of the source series under this adjustment */
    enum tl_freq source_freq;  /* what the store holds */
    bool provisional;          /* the last bar is not final (or, resampled, holds one that is not) */
    char zone[40];             /* "" for daily and above */
};
void tl_view_init(struct tl_view *);
void tl_view_release(struct tl_view *);

/* Which stored frequency serves `freq`: itself, else 1d for 1w and 1mo, else the highest intraday one that divides
 * it. NO_DATA when there is none. Only reads heads. */
TL_MUSTCHECK enum tl_status tl_view_source(struct tl_store_reader *, const struct tl_symbol *, enum tl_freq freq,
                                           enum tl_freq *source, struct tl_bars_head *head, struct tl_err *err);
/* provisional: also the bar that is not final. view must be initialised and empty.
 * Errors: NO_DATA, NO_FACTORS (forward or backward without factors), CORRUPT, NOMEM, those of the store. */
TL_MUSTCHECK enum tl_status tl_view_load(struct tl_store_reader *, const struct tl_symbol *, enum tl_freq,
                                         enum tl_adjust, bool provisional, const struct tl_view_sessions *,
                                         struct tl_view *view, struct tl_err *err);

#endif
