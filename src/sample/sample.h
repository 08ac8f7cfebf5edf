/* SPDX-License-Identifier: Apache-2.0 */
/* A deterministic market to try things on: the same seed gives the same bytes on every machine. */
#ifndef TL_SAMPLE_SAMPLE_H
#define TL_SAMPLE_SAMPLE_H

#include <tierline/status.h>

struct tl_sample_options {
    uint32_t symbols; /* 1..20000 */
    uint32_t years;   /* 1..50, of trading days (Mon-Fri without the sample's holidays) up to end_date */
    uint64_t seed;
    int64_t end_date_ms; /* last trading date, 00:00 UTC */
};

struct tl_sample_summary {
    uint64_t symbols, rows, blank_rows;
    uint64_t suspended_rows; /* days, flat or absent */
    uint64_t splits;         /* events in factors.csv: gifts and dividends */
    uint64_t short_histories, bytes;
};

/* Writes into `dir` (made when missing): bars/<CODE>.csv one a symbol in canonical form
 * (date,open,high,low,close,volume,amount), factors.csv (symbol,date,cash,gift,rights,rights_price) and calendar.csv.
 * Files appear whole or not at all. */
TL_MUSTCHECK enum tl_status tl_sample_write(const char *dir, const struct tl_sample_options *,
                                            struct tl_sample_summary *, struct tl_err *err);

#endif
