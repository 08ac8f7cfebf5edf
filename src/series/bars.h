/* SPDX-License-Identifier: Apache-2.0 */
/* Bars as columns: what kernels, codec and adjustment work on.
 * Invariant of every tl_bars that leaves a module: ts_ms strictly rising, O/H/L/C finite; volume and amount
 * finite or NaN (not known). */
#ifndef TL_SERIES_BARS_H
#define TL_SERIES_BARS_H

#include "market/freq.h"
#include <tierline/status.h>

enum { TL_BAR_OPEN, TL_BAR_HIGH, TL_BAR_LOW, TL_BAR_CLOSE, TL_BAR_VOLUME, TL_BAR_AMOUNT, TL_BAR_COLUMNS };

struct tl_bar {
    int64_t ts_ms;
    double v[TL_BAR_COLUMNS]; /* price in currency units, volume in shares, amount in currency */
};

/* All columns live in one allocation of cap rows; col[] and ts_ms point into it. */
struct tl_bars {
    size_t n, cap;
    int64_t *ts_ms;
    double *col[TL_BAR_COLUMNS];
};

void tl_bars_init(struct tl_bars *);
void tl_bars_release(struct tl_bars *);
/* Room for `cap` rows in all; contents stay. */
TL_MUSTCHECK enum tl_status tl_bars_reserve(struct tl_bars *, size_t cap);
TL_MUSTCHECK enum tl_status tl_bars_append(struct tl_bars *, const struct tl_bar *);
/* Appends all of `from`. */
TL_MUSTCHECK enum tl_status tl_bars_copy(struct tl_bars *to, const struct tl_bars *from);
struct tl_bar tl_bars_at(const struct tl_bars *, size_t i);
/* First index with ts_ms[i] >= ts. */
size_t tl_bars_lower_bound(const struct tl_bars *, int64_t ts_ms);

/* Data version: ordered by revision, then bars, then last_ts. All zero: nothing there. */
struct tl_version {
    int64_t revision;
    int64_t bars;    /* final bars only */
    int64_t last_ts; /* of the last final bar */
};
static inline int tl_version_cmp(struct tl_version a, struct tl_version b)
{
    if (a.revision != b.revision) return a.revision < b.revision ? -1 : 1;
    if (a.bars != b.bars) return a.bars < b.bars ? -1 : 1;
    return a.last_ts < b.last_ts ? -1 : a.last_ts > b.last_ts;
}

/* What merging `incoming` into `have` does. */
struct tl_merge {
    size_t appended;      /* after the last bar of `have` */
    size_t changed;       /* same ts, other values */
    size_t inserted;      /* new ts before the last bar of `have` */
    size_t unchanged;     /* same ts, same bits */
    size_t first_touched; /* index in the result of the first bar that differs from `have`; result.n when none */
};
/* Union by ts, incoming wins; a NaN volume or amount in incoming does not overwrite a known one.
 * have_provisional: the last bar of `have` may be replaced by one with its ts without counting as changed.
 * out must be initialised and empty. Both inputs obey the invariant. */
TL_MUSTCHECK enum tl_status tl_bars_merge(const struct tl_bars *have, bool have_provisional,
                                          const struct tl_bars *incoming, struct tl_bars *out, struct tl_merge *what);
static inline bool tl_merge_rewrites_history(const struct tl_merge *m)
{
    return m->changed + m->inserted > 0;
}

#endif
