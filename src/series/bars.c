/* SPDX-License-Identifier: Apache-2.0 */
/* Bars as columns in one allocation, and the merge of two series. Keeps the order that its callers promise; does not
 * check values (import and codec do). */
#include "series/bars.h"

#include "base/util.h"

#include <math.h>
#include <string.h>

enum { ALIGNMENT = 64, FIELDS = 1 + TL_BAR_COLUMNS };

void tl_bars_init(struct tl_bars *b)
{
    *b = (struct tl_bars){0};
}

void tl_bars_release(struct tl_bars *b)
{
    free(b->ts_ms); /* the block begins with the timestamps */
    tl_bars_init(b);
}

enum tl_status tl_bars_reserve(struct tl_bars *b, size_t cap)
{
    if (cap <= b->cap) return TL_OK;
    /* Whole cache lines a column keep every column aligned. */
    size_t rows, bytes;
    if (__builtin_add_overflow(cap, (size_t)7, &rows)) return TL_NOMEM;
    rows &= ~(size_t)7;
    if (__builtin_mul_overflow(rows, (size_t)FIELDS * 8, &bytes)) return TL_NOMEM;
    char *block = aligned_alloc(ALIGNMENT, bytes);
    if (!block) return TL_NOMEM;
    struct tl_bars to = {.n = b->n, .cap = rows, .ts_ms = (int64_t *)(void *)block};
    if (b->n) memcpy(to.ts_ms, b->ts_ms, b->n * sizeof *to.ts_ms);
    for (size_t c = 0; c < TL_BAR_COLUMNS; c++) {
        to.col[c] = (double *)(void *)(block + (c + 1) * rows * 8);
        if (b->n) memcpy(to.col[c], b->col[c], b->n * sizeof(double));
    }
    free(b->ts_ms);
    *b = to;
    return TL_OK;
}

enum tl_status tl_bars_append(struct tl_bars *b, const struct tl_bar *bar)
{
    if (b->n == b->cap) {
        enum tl_status st = tl_bars_reserve(b, TL_MAX(b->cap * 2, (size_t)64));
        if (st != TL_OK) return st;
    }
    b->ts_ms[b->n] = bar->ts_ms;
    for (size_t c = 0; c < TL_BAR_COLUMNS; c++) b->col[c][b->n] = bar->v[c];
    b->n++;
    return TL_OK;
}

enum tl_status tl_bars_copy(struct tl_bars *to, const struct tl_bars *from)
{
    size_t n;
    if (__builtin_add_overflow(to->n, from->n, &n)) return TL_NOMEM;
    enum tl_status st = tl_bars_reserve(to, n);
    if (st != TL_OK || from->n == 0) return st;
    memcpy(to->ts_ms + to->n, from->ts_ms, from->n * sizeof *from->ts_ms);
    for (size_t c = 0; c < TL_BAR_COLUMNS; c++) memcpy(to->col[c] + to->n, from->col[c], from->n * sizeof(double));
    to->n = n;
    return TL_OK;
}

struct tl_bar tl_bars_at(const struct tl_bars *b, size_t i)
{
    struct tl_bar bar = {.ts_ms = b->ts_ms[i]};
    for (size_t c = 0; c < TL_BAR_COLUMNS; c++) bar.v[c] = b->col[c][i];
    return bar;
}

size_t tl_bars_lower_bound(const struct tl_bars *b, int64_t ts_ms)
{
    size_t lo = 0, hi = b->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (b->ts_ms[mid] < ts_ms)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* `in` over `have`: a volume or amount that is not known does not overwrite one that is. */
static struct tl_bar overlay(struct tl_bar have, struct tl_bar in)
{
    if (isnan(in.v[TL_BAR_VOLUME])) in.v[TL_BAR_VOLUME] = have.v[TL_BAR_VOLUME];
    if (isnan(in.v[TL_BAR_AMOUNT])) in.v[TL_BAR_AMOUNT] = have.v[TL_BAR_AMOUNT];
    return in;
}

/* Equal as data: the same bits, or both not known. */
static bool same_bar(const struct tl_bar *a, const struct tl_bar *b)
{
    for (size_t c = 0; c < TL_BAR_COLUMNS; c++)
        if (memcmp(&a->v[c], &b->v[c], sizeof a->v[c]) != 0 && !(isnan(a->v[c]) && isnan(b->v[c]))) return false;
    return true;
}

enum tl_status tl_bars_merge(const struct tl_bars *have, bool have_provisional, const struct tl_bars *incoming,
                             struct tl_bars *out, struct tl_merge *what)
{
    size_t room;
    *what = (struct tl_merge){.first_touched = SIZE_MAX};
    if (__builtin_add_overflow(have->n, incoming->n, &room)) return TL_NOMEM;
    enum tl_status st = tl_bars_reserve(out, room);
    size_t h = 0, i = 0;
    while (st == TL_OK && (h < have->n || i < incoming->n)) {
        struct tl_bar bar;
        bool touched = true;
        if (i == incoming->n || (h < have->n && have->ts_ms[h] < incoming->ts_ms[i])) {
            bar = tl_bars_at(have, h++);
            touched = false;
        } else if (h == have->n) {
            bar = tl_bars_at(incoming, i++);
            what->appended++;
        } else if (incoming->ts_ms[i] < have->ts_ms[h]) {
            bar = tl_bars_at(incoming, i++);
            what->inserted++;
        } else {
            struct tl_bar old = tl_bars_at(have, h++);
            bar = overlay(old, tl_bars_at(incoming, i++));
            touched = !same_bar(&old, &bar);
            if (!touched)
                what->unchanged++;
            else if (!(have_provisional && h == have->n))
                what->changed++;
        }
        if (touched && what->first_touched == SIZE_MAX) what->first_touched = out->n;
        st = tl_bars_append(out, &bar);
    }
    if (what->first_touched == SIZE_MAX) what->first_touched = out->n;
    return st;
}
