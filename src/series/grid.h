/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers over time, one row a bar, as text or bytes: what `get`, `bars` and the HTTP API hand out. Pure. */
#ifndef TL_SERIES_GRID_H
#define TL_SERIES_GRID_H

#include "base/json.h"
#include "market/tz.h"
#include "series/bars.h"

enum { TL_GRID_COLUMNS_MAX = 8, TL_GRID_TIME_MAX = 24 };

struct tl_grid {
    const struct tl_tz *tz; /* of the bars; NULL: rows are dates (daily and above) */
    const int64_t *ts_ms;   /* n */
    size_t n;
    unsigned columns;                                           /* <= TL_GRID_COLUMNS_MAX */
    const char *const *names;                                   /* lower case */
    double (*at)(const void *ctx, size_t row, unsigned column); /* NaN: empty cell, null */
    void (*json_head)(const void *ctx, struct tl_json *);       /* the members before columns, ts, values */
    const void *ctx;
};

/* Which rows are wanted. Dates are 00:00 UTC of the date in the zone of the bars. */
struct tl_grid_range {
    bool has_from, has_to;
    int64_t from_day_ms, to_day_ms; /* both are in it */
    size_t last;                    /* only the last so many of them; 0: all */
};
/* The rows [*from, *to) of the range. */
void tl_grid_cut(const struct tl_grid *, const struct tl_grid_range *, size_t *from, size_t *to);

/* "2024-01-02", with a zone "2024-01-02 09:31" in local time. */
const char *tl_grid_time(char out[TL_GRID_TIME_MAX], const struct tl_tz *, int64_t ts_ms);

/* Appended to out; a failure of it sticks there. */
/* date,open,high,...\n2024-01-02,1.5,...\n */
void tl_grid_csv(const struct tl_grid *, size_t from, size_t to, struct tl_buf *out);
/* {<head>,"columns":[...],"ts":[...],"values":[[...],...]} */
void tl_grid_json(const struct tl_grid *, size_t from, size_t to, struct tl_buf *out);
/* Little-endian, for programs: 32 bytes "TLF1", u32 columns, u64 rows, i64 time of the first row, u64 offset of the
 * values; then rows times i64 UTC ms, then rows * columns float64, row by row. */
enum { TL_GRID_F64_HEADER = 32 };
void tl_grid_f64(const struct tl_grid *, size_t from, size_t to, struct tl_buf *out);

/* "version":{"revision":...,"bars":...,"last_ts":...} */
void tl_json_version(struct tl_json *, struct tl_version);

#endif
