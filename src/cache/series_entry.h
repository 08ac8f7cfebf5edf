/* SPDX-License-Identifier: Apache-2.0 */
/* An indicator series as an entry's payload: columns u32, zero u32, first_bar u64, rows u64, computed_ms i64, then the
 * rows as float64, all little-endian. Bar times are a series of one column (milliseconds, exact as float64). */
#ifndef TL_CACHE_SERIES_ENTRY_H
#define TL_CACHE_SERIES_ENTRY_H

#include "cache/entry.h"
#include "series/series.h"

enum { TL_SERIES_PAYLOAD_HEAD = 32 };

/* [own] NULL: memory is out, or larger than an entry may be. generation 0. */
struct tl_entry *tl_series_entry_new(struct tl_str key, const struct tl_series *);
/* [own] out->rows. CORRUPT: not a series. A failure entry gives its status. */
TL_MUSTCHECK enum tl_status tl_series_entry_read(const struct tl_entry *, struct tl_series *out, struct tl_err *err);
struct tl_version tl_series_entry_version(const struct tl_entry *);
int64_t tl_series_entry_computed_ms(const struct tl_entry *);

#endif
