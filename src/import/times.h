/* SPDX-License-Identifier: Apache-2.0 */
/* The dates and times that vendors write. Pure.
 *   dates  YYYY-MM-DD  YYYY/MM/DD  YYYY.MM.DD  YYYY-M-D  YYYYMMDD  MM/DD/YYYY
 *   times  H:MM  HH:MM  HH:MM:SS  HH:MM:SS.fff behind a date and blanks or a T, or in a column of their own, there also
 *          HHMM and HHMMSS; behind them Z, +HH:MM, +HHMM or +HH
 *   both   YYYYMMDDHHMM  YYYYMMDDHHMMSS  YYYYMMDDHHMMSSsss (17 digits) */
#ifndef TL_IMPORT_TIMES_H
#define TL_IMPORT_TIMES_H

#include "market/civil.h"

struct tl_when {
    int64_t local_ms; /* wall time as if it were UTC */
    int32_t offset_min;
    bool has_time; /* a time of day was written, also 00:00 */
    bool zoned;    /* offset_min was written: UTC is local_ms - offset */
};

/* The last month, because a file's rows are neighbours in time. All zero to begin. */
struct tl_when_cache {
    char prefix[8]; /* "YYYY-MM-" */
    int64_t days;   /* of the month's first day */
    int32_t length; /* days in the month, 0: nothing cached */
};

/* NULL: *out is set. Else why not ("not a date", "no such day"), a literal. s is trimmed. */
const char *tl_when_parse(struct tl_str s, struct tl_when_cache *, struct tl_when *out);
/* A date column and a time column. The time column may hold date and time (17 digits), then it decides alone. */
const char *tl_when_parse2(struct tl_str date, struct tl_str time, struct tl_when_cache *, struct tl_when *out);

#endif
