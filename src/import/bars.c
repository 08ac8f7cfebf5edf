/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of bars. While rows come in a bar carries its wall time; at the end the frequency is known, wall times become
 * the bars' stamps, rows are put in order, and what stands twice is merged or rejected. Prices are never changed. */
#include "import/rows.h"

#include "base/err.h"
#include "base/util.h"

#include <math.h>
#include <stdio.h>

enum tl_status tl_bars_row(struct tl_parse *p)
{
    struct tl_rows *r;
    struct tl_when when;
    double v[TL_BAR_COLUMNS] = {0, 0, 0, 0, NAN, NAN};
    enum tl_status st = tl_parse_symbol(p, &r);
    if (st != TL_OK || !r) return st;
    if (!tl_parse_when(p, &when)) return TL_OK;
    for (unsigned k = TL_BAR_OPEN; k <= TL_BAR_CLOSE; k++)
        if (!tl_parse_number(p, (enum tl_role)(TL_ROLE_OPEN + k), false, &v[k])) return TL_OK;
    if (tl_parse_has(p, TL_ROLE_VOLUME) && !tl_parse_number(p, TL_ROLE_VOLUME, true, &v[TL_BAR_VOLUME])) return TL_OK;
    if (tl_parse_has(p, TL_ROLE_AMOUNT) && !tl_parse_number(p, TL_ROLE_AMOUNT, true, &v[TL_BAR_AMOUNT])) return TL_OK;
    v[TL_BAR_VOLUME] *= p->volume_scale;
    v[TL_BAR_AMOUNT] *= p->amount_scale;
    for (unsigned k = TL_BAR_VOLUME; k <= TL_BAR_AMOUNT; k++) {
        if (!isinf(v[k])) continue;
        const enum tl_role role = k == TL_BAR_VOLUME ? TL_ROLE_VOLUME : TL_ROLE_AMOUNT;
        tl_reject_field(p, role, tl_parse_field(p, role), "is out of range");
        return TL_OK;
    }
    st = tl_rows_grow(p, r);
    if (st != TL_OK) return st;
    struct tl_bars *b = &r->bars;
    b->ts_ms[r->n] = when.local_ms;
    for (unsigned k = 0; k < TL_BAR_COLUMNS; k++) b->col[k][r->n] = v[k];
    r->line[r->n] = p->csv.line;
    if (p->zoned) r->offset_min[r->n] = when.offset_min;
    b->n = ++r->n;
    return TL_OK;
}

/* ---- frequency ---- */

struct steps {
    uint64_t of[TL_FREQ_1D]; /* neighbours in the file that are so far apart */
    bool same_clock;         /* all rows of all symbols have one time of day */
    uint64_t pairs;
};

static int64_t clock_of(int64_t ms)
{
    const int64_t t = ms % TL_DAY_MS;
    return t < 0 ? t + TL_DAY_MS : t;
}

static void count_steps(const struct tl_bars *b, struct steps *s)
{
    for (size_t i = 1; i < b->n; i++) {
        const int64_t d = b->ts_ms[i] - b->ts_ms[i - 1], step = d < 0 ? -d : d;
        for (enum tl_freq f = TL_FREQ_1M; f < TL_FREQ_1D; f++)
            if (step == (int64_t)tl_freq_minutes(f) * 60000) s->of[f]++;
        if (clock_of(b->ts_ms[i]) != clock_of(b->ts_ms[0])) s->same_clock = false;
        s->pairs++;
    }
}

/* The given frequency, 1d when no row carries a time, else the most frequent usual step. */
static enum tl_status find_freq(struct tl_parse *p, enum tl_freq *out)
{
    struct steps s = {.same_clock = true};
    struct tl_str name;
    void *v;
    *out = p->opt->freq_set ? p->opt->freq : TL_FREQ_1D;
    if (p->opt->freq_set && tl_freq_intraday(*out) && !p->any_time)
        return tl_fail_at(p->err, TL_INVALID, p->source->name, 0, 0, "%s bars need times, and no row carries one",
                          tl_freq_name(*out));
    if (p->opt->freq_set || !p->any_time) return TL_OK;
    for (size_t i = 0; tl_map_next(p->by_name, &i, &name, &v);) count_steps(&((struct tl_rows *)v)->bars, &s);
    *out = TL_FREQ_1M;
    for (enum tl_freq f = TL_FREQ_5M; f < TL_FREQ_1D; f++)
        if (s.of[f] > s.of[*out]) *out = f;
    if (s.of[*out]) return TL_OK;
    *out = TL_FREQ_1D;
    if (s.pairs && s.same_clock) return TL_OK;
    return tl_fail_at(p->err, TL_INVALID, p->source->name, 0, 0,
                      "rows carry times, and no two are 1, 5, 15, 30 or 60 minutes apart: give the frequency (--freq)");
}

/* ---- stamps ---- */

static int64_t floor_day(int64_t ms)
{
    return ms - clock_of(ms);
}

/* Wall times of `tz` to UTC; a day without a change of the offset costs one look-up. */
static void to_utc(struct tl_bars *b, const struct tl_tz *tz)
{
    int64_t day = INT64_MIN, shift = 0;
    bool constant = false;
    for (size_t i = 0; i < b->n; i++) {
        const int64_t local = b->ts_ms[i], d = floor_day(local);
        if (d != day) {
            day = d;
            const int64_t begin = tl_tz_to_utc(tz, d), end = tl_tz_to_utc(tz, d + TL_DAY_MS);
            constant = end - begin == TL_DAY_MS;
            shift = begin - d;
        }
        b->ts_ms[i] = constant ? local + shift : tl_tz_to_utc(tz, local);
    }
}

static void stamp(struct tl_rows *r, enum tl_freq freq, const struct tl_tz *tz)
{
    struct tl_bars *b = &r->bars;
    if (!tl_freq_intraday(freq)) {
        for (size_t i = 0; i < b->n; i++) b->ts_ms[i] = floor_day(b->ts_ms[i]);
    } else if (r->offset_min) {
        for (size_t i = 0; i < b->n; i++) b->ts_ms[i] -= (int64_t)r->offset_min[i] * 60000;
    } else {
        to_utc(b, tz);
    }
}

/* ---- order and repeats ---- */

static enum tl_status put_in_order(struct tl_parse *p, struct tl_rows *r)
{
    bool failed;
    size_t *order = tl_rows_order(r->bars.ts_ms, r->n, &failed);
    if (!order) return failed ? tl_fail(p->err, TL_NOMEM, "no memory to sort %zu rows", r->n) : TL_OK;
    _Static_assert(sizeof(double) == sizeof(int64_t) && sizeof(uint64_t) == sizeof(int64_t), "one buffer for all");
    unsigned char *tmp = tl_calloc(r->n, sizeof(double));
    void *column[TL_BAR_COLUMNS + 2] = {r->bars.ts_ms, r->line};
    for (unsigned k = 0; k < TL_BAR_COLUMNS; k++) column[k + 2] = r->bars.col[k];
    for (size_t c = 0; tmp && c < TL_COUNT(column); c++) {
        const unsigned char *from = column[c];
        for (size_t i = 0; i < r->n; i++) memcpy(tmp + i * 8, from + order[i] * 8, 8);
        memcpy(column[c], tmp, r->n * 8);
    }
    free(order);
    if (!tmp) return tl_fail(p->err, TL_NOMEM, "no memory to sort %zu rows", r->n);
    free(tmp);
    return TL_OK;
}

static bool same_values(const struct tl_bars *b, size_t i, size_t j)
{
    for (unsigned k = 0; k < TL_BAR_COLUMNS; k++) {
        const double x = b->col[k][i], y = b->col[k][j];
        if (x != y && !(isnan(x) && isnan(y))) return false;
    }
    return true;
}

static void reject_repeat(struct tl_parse *p, const struct tl_rows *r, size_t i, size_t first, const struct tl_tz *tz)
{
    const int64_t ts = r->bars.ts_ms[i];
    const int64_t local = tz ? ts + tl_tz_offset_at_utc(tz, ts) : ts;
    char date[11], clock[16] = "";
    struct tl_civil c;
    tl_civil_format_date(local, date);
    tl_civil_from_ms(local, &c);
    if (tz) snprintf(clock, sizeof clock, " %02u:%02u", (unsigned)c.hour % 24, (unsigned)c.minute % 60);
    tl_reject(p, r->line[i], 0, "%s %s%s again with other values; first on line %llu", r->symbol.text, date, clock,
              (unsigned long long)r->line[first]);
}

/* Rows are in order: of several with one stamp the first stays. tz NULL: daily. */
static void drop_repeats(struct tl_parse *p, struct tl_rows *r, const struct tl_tz *tz)
{
    struct tl_bars *b = &r->bars;
    size_t kept = 0;
    for (size_t i = 0; i < r->n; i++) {
        if (kept && b->ts_ms[i] == b->ts_ms[kept - 1]) {
            if (same_values(b, i, kept - 1))
                p->count->duplicates++;
            else
                reject_repeat(p, r, i, kept - 1, tz);
            continue;
        }
        if (kept != i) {
            b->ts_ms[kept] = b->ts_ms[i];
            r->line[kept] = r->line[i];
            for (unsigned k = 0; k < TL_BAR_COLUMNS; k++) b->col[k][kept] = b->col[k][i];
        }
        kept++;
    }
    b->n = r->n = kept;
}

static uint64_t count_inconsistent(const struct tl_bars *b)
{
    const double *o = b->col[TL_BAR_OPEN], *h = b->col[TL_BAR_HIGH], *l = b->col[TL_BAR_LOW], *c = b->col[TL_BAR_CLOSE];
    uint64_t n = 0;
    for (size_t i = 0; i < b->n; i++) n += h[i] < o[i] || h[i] < c[i] || l[i] > o[i] || l[i] > c[i] || h[i] < l[i];
    return n;
}

static enum tl_status finish(struct tl_parse *p, struct tl_rows *r, enum tl_freq freq)
{
    const struct tl_tz *tz = NULL;
    const char *zone = "";
    const bool intraday = tl_freq_intraday(freq);
    enum tl_status st = intraday ? tl_parse_zone(p, &r->symbol, &tz, &zone) : TL_OK;
    if (st != TL_OK) return st;
    stamp(r, freq, tz);
    st = put_in_order(p, r);
    if (st != TL_OK) return st;
    drop_repeats(p, r, tz);
    const int64_t shift = intraday && p->bar_time_end ? (int64_t)tl_freq_minutes(freq) * 60000 : 0;
    for (size_t i = 0; shift && i < r->n; i++) r->bars.ts_ms[i] -= shift;
    p->count->inconsistent += count_inconsistent(&r->bars);
    p->count->symbols++;
    return p->sink->bars(p->sink->ctx, &r->symbol, freq, zone, &r->bars, p->opt->last_provisional, p->err);
}

enum tl_status tl_bars_end(struct tl_parse *p)
{
    enum tl_freq freq;
    struct tl_str name;
    void *v;
    enum tl_status st = find_freq(p, &freq);
    for (size_t i = 0; st == TL_OK && tl_map_next(p->by_name, &i, &name, &v);) {
        struct tl_rows *r = v;
        if (p->opt->cancelled && p->opt->cancelled(p->opt->ctx)) return tl_fail(p->err, TL_CANCELLED, "cancelled");
        if (r->n) st = finish(p, r, freq);
        tl_rows_clear(r);
    }
    return st;
}
