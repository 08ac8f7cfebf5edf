/* SPDX-License-Identifier: Apache-2.0 */
/* Writes rows of numbers as CSV, JSON or float64. Numbers in text are the shortest that read back to the same double;
 * dates are local to the exchange for intraday bars. Knows nothing of where rows come from. */
#include "series/grid.h"

#include "base/num.h"

#include <stdio.h>

static size_t first_not_before(const int64_t *ts, size_t n, int64_t limit)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (ts[mid] < limit)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

void tl_grid_cut(const struct tl_grid *g, const struct tl_grid_range *r, size_t *from, size_t *to)
{
    int64_t end = r->to_day_ms + TL_DAY_MS;
    *from = 0;
    *to = g->n;
    if (r->has_from)
        *from = first_not_before(g->ts_ms, g->n, g->tz ? tl_tz_to_utc(g->tz, r->from_day_ms) : r->from_day_ms);
    if (r->has_to) *to = first_not_before(g->ts_ms, g->n, g->tz ? tl_tz_to_utc(g->tz, end) : end);
    if (*to < *from) *to = *from;
    if (r->last && *to - *from > r->last) *from = *to - r->last;
}

const char *tl_grid_time(char out[TL_GRID_TIME_MAX], const struct tl_tz *tz, int64_t ts_ms)
{
    if (tz) ts_ms += tl_tz_offset_at_utc(tz, ts_ms);
    tl_civil_format_date(ts_ms, out);
    if (!tz) return out;
    struct tl_civil c;
    tl_civil_from_ms(ts_ms, &c);
    snprintf(out + 10, TL_GRID_TIME_MAX - 10, " %02u:%02u", (unsigned)c.hour % 24, (unsigned)c.minute % 60);
    return out;
}

void tl_grid_csv(const struct tl_grid *g, size_t from, size_t to, struct tl_buf *out)
{
    char when[TL_GRID_TIME_MAX], number[TL_NUM_MAX];
    tl_buf_puts(out, "date");
    for (unsigned c = 0; c < g->columns; c++) tl_buf_printf(out, ",%s", g->names[c]);
    tl_buf_putc(out, '\n');
    for (size_t i = from; i < to; i++) {
        tl_buf_puts(out, tl_grid_time(when, g->tz, g->ts_ms[i]));
        for (unsigned c = 0; c < g->columns; c++) {
            double v = g->at(g->ctx, i, c);
            tl_buf_putc(out, ',');
            if (v == v) tl_buf_put(out, number, tl_num_format(number, v));
        }
        tl_buf_putc(out, '\n');
    }
}

void tl_grid_json(const struct tl_grid *g, size_t from, size_t to, struct tl_buf *out)
{
    struct tl_json j;
    tl_json_init(&j, out);
    tl_json_object(&j);
    g->json_head(g->ctx, &j);
    tl_json_key(&j, "columns");
    tl_json_array(&j);
    for (unsigned c = 0; c < g->columns; c++) tl_json_cstr(&j, g->names[c]);
    tl_json_array_end(&j);
    tl_json_key(&j, "ts");
    tl_json_array(&j);
    for (size_t i = from; i < to; i++) tl_json_i64(&j, g->ts_ms[i]);
    tl_json_array_end(&j);
    tl_json_key(&j, "values");
    tl_json_array(&j);
    for (size_t i = from; i < to; i++) {
        tl_json_array(&j);
        for (unsigned c = 0; c < g->columns; c++) tl_json_num(&j, g->at(g->ctx, i, c));
        tl_json_array_end(&j);
    }
    tl_json_array_end(&j);
    tl_json_object_end(&j);
}

static void put_u64(struct tl_buf *out, uint64_t v)
{
    char bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (char)(v >> (8 * i));
    tl_buf_put(out, bytes, sizeof bytes);
}

void tl_grid_f64(const struct tl_grid *g, size_t from, size_t to, struct tl_buf *out)
{
    size_t rows = to - from;
    tl_buf_put(out, "TLF1", 4);
    char columns[4] = {(char)g->columns};
    tl_buf_put(out, columns, sizeof columns);
    put_u64(out, rows);
    put_u64(out, rows ? (uint64_t)g->ts_ms[from] : 0);
    put_u64(out, TL_GRID_F64_HEADER + 8 * rows);
    for (size_t i = from; i < to; i++) put_u64(out, (uint64_t)g->ts_ms[i]);
    for (size_t i = from; i < to; i++) {
        for (unsigned c = 0; c < g->columns; c++) {
            double v = g->at(g->ctx, i, c);
            uint64_t bits;
            memcpy(&bits, &v, sizeof bits);
            put_u64(out, bits);
        }
    }
}

void tl_json_version(struct tl_json *j, struct tl_version v)
{
    tl_json_key(j, "version");
    tl_json_object(j);
    tl_json_key(j, "revision");
    tl_json_i64(j, v.revision);
    tl_json_key(j, "bars");
    tl_json_i64(j, v.bars);
    tl_json_key(j, "last_ts");
    tl_json_i64(j, v.last_ts);
    tl_json_object_end(j);
}
