/* SPDX-License-Identifier: Apache-2.0 */
/* Civil dates and UTC milliseconds, proleptic Gregorian, no time zones. Pure.
 * Invariant used everywhere: a daily, weekly or monthly bar is stamped with 00:00 UTC of its trading date
 * (of the first trading date in the period); an intraday bar is a true UTC instant. */
#ifndef TL_MARKET_CIVIL_H
#define TL_MARKET_CIVIL_H

#include "base/str.h"

#define TL_DAY_MS INT64_C(86400000)

struct tl_civil {
    int32_t year;
    int32_t month, day; /* 1..12, 1..31 */
    int32_t hour, minute, second, ms;
};

/* Days since 1970-01-01. */
int64_t tl_civil_days(int32_t year, int32_t month, int32_t day);
bool tl_civil_valid(const struct tl_civil *);
/* As if UTC. */
int64_t tl_civil_to_ms(const struct tl_civil *);
void tl_civil_from_ms(int64_t ts_ms, struct tl_civil *out);
/* 0 = Monday ... 6 = Sunday of the UTC date. */
int tl_civil_weekday(int64_t ts_ms);
/* "YYYY-MM-DD" (10 bytes + NUL) of the UTC date. */
void tl_civil_format_date(int64_t ts_ms, char out[11]);
/* "YYYY-MM-DD" or "YYYYMMDD", the whole of s; to 00:00 UTC. */
bool tl_civil_parse_date(struct tl_str s, int64_t *ts_ms);

#endif
