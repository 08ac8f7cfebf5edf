/* SPDX-License-Identifier: Apache-2.0 */
/* Bars and indicators as they are handed out, by commands and by the HTTP API alike: grids with their JSON heads. */
#ifndef TL_SCHEDULE_PRESENT_H
#define TL_SCHEDULE_PRESENT_H

#include "schedule/run.h"
#include "series/grid.h"

struct tl_bars_shown {
    struct tl_symbol symbol;
    enum tl_freq freq;
    enum tl_adjust adjust;
    const struct tl_view *view; /* [borrow: as long as the grid] */
};
/* The grid borrows `shown`; its zone (tz) is the caller's to set. */
void tl_present_bars(const struct tl_bars_shown *shown, struct tl_grid *);

struct tl_series_shown {
    struct tl_symbol symbol;
    enum tl_freq freq;
    enum tl_adjust adjust;
    struct tl_spec spec;
    const struct tl_series *series; /* [borrow: as long as the grid] */
    const struct tl_view *view;     /* its bars: of the series' version, the rows of both end with the same bar */
    enum tl_source source;
    enum tl_freshness freshness;
    int64_t age_ms;
};
/* CORRUPT: series and bars do not fit. */
TL_MUSTCHECK enum tl_status tl_present_series(const struct tl_series_shown *shown, struct tl_grid *,
                                              struct tl_err *err);

/* The bars of a series' version: bars that were appended since are left out. CONFLICT: the history was changed just
 * now. view must be initialised and empty. */
TL_MUSTCHECK enum tl_status tl_present_view(const struct tl_series *, struct tl_store_reader *,
                                            const struct tl_symbol *, enum tl_freq, enum tl_adjust, bool provisional,
                                            const struct tl_view_sessions *, struct tl_view *view, struct tl_err *err);

#endif
