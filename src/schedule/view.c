/* SPDX-License-Identifier: Apache-2.0 */
/* Loads the bars of a (symbol, freq, adjust). Head, bars and factors come from one snapshot, so that the version
 * names exactly the content. Adjustment works at the stored frequency, before resampling: an ex-date in the middle of
 * a week must not bend that week's high. Does not cache and does not write. */
#include "schedule/view.h"

#include "base/err.h"

#include <stdlib.h>

struct tl_view_sessions tl_view_sessions_default(void)
{
    struct tl_view_sessions s = {{NULL}};
    s.by_market[TL_MARKET_SH] = s.by_market[TL_MARKET_SZ] = s.by_market[TL_MARKET_BJ] = &tl_sessions_cn;
    s.by_market[TL_MARKET_US] = &tl_sessions_us;
    return s;
}

void tl_view_init(struct tl_view *v)
{
    *v = (struct tl_view){.source_freq = TL_FREQ_1D};
    tl_bars_init(&v->bars);
}

void tl_view_release(struct tl_view *v)
{
    tl_bars_release(&v->bars);
}

static bool serves(enum tl_freq have, enum tl_freq want)
{
    if (have >= want) return have == want;
    if (!tl_freq_intraday(want)) return true;
    return tl_freq_minutes(want) % tl_freq_minutes(have) == 0;
}

enum tl_status tl_view_source(struct tl_store_reader *r, const struct tl_symbol *symbol, enum tl_freq freq,
                              enum tl_freq *source, struct tl_bars_head *head, struct tl_err *err)
{
    for (int f = (int)freq; f >= 0; f--) {
        /* Months come from days: a week may span two of them. */
        if (!serves((enum tl_freq)f, freq) || (freq == TL_FREQ_1MO && f == TL_FREQ_1W)) continue;
        enum tl_status st = tl_store_bars_head(r, symbol, (enum tl_freq)f, head, err);
        if (st == TL_NOT_FOUND) continue;
        if (st == TL_OK) *source = (enum tl_freq)f;
        return st;
    }
    return tl_fail(err, TL_NO_DATA, "%s has no bars from which %s could be made", symbol->text, tl_freq_name(freq));
}

static enum tl_status adjust_view(struct tl_store_reader *r, const struct tl_symbol *symbol, enum tl_adjust adjust,
                                  struct tl_view *v, struct tl_err *err)
{
    if (adjust == TL_ADJUST_RAW) return TL_OK;
    struct tl_factors factors = {0, NULL};
    enum tl_status st = tl_store_factors_read(r, symbol, &factors, err);
    if (st == TL_OK) {
        int64_t offset = 0;
        struct tl_tz *tz = NULL;
        if (tl_freq_intraday(v->source_freq) && v->bars.n) {
            st = tl_tz_open(v->zone, &tz, err);
            if (st == TL_OK) offset = tl_tz_offset_at_utc(tz, v->bars.ts_ms[v->bars.n - 1]);
        }
        if (st == TL_OK) st = tl_bars_adjust(&v->bars, adjust, &factors, offset, err);
        tl_tz_free(tz);
    }
    tl_factors_release(&factors);
    if (st == TL_NO_FACTORS)
        return tl_fail(err, TL_NO_FACTORS, "%s has no adjustment factors for %s prices", symbol->text,
                       tl_adjust_name(adjust));
    return st;
}

static enum tl_status resample_view(const struct tl_symbol *symbol, enum tl_freq freq,
                                    const struct tl_view_sessions *sessions, struct tl_view *v, struct tl_err *err)
{
    if (v->source_freq == freq) return TL_OK;
    const struct tl_sessions *hours = sessions->by_market[tl_symbol_market(symbol)];
    struct tl_sessions whole_day = {0};
    struct tl_tz *tz = NULL;
    struct tl_bars out;
    tl_bars_init(&out);
    enum tl_status st = TL_OK;
    if (tl_freq_intraday(v->source_freq)) st = tl_tz_open(v->zone, &tz, err);
    if (st == TL_OK) st = tl_bars_resample(&v->bars, v->source_freq, freq, tz, hours ? hours : &whole_day, &out, err);
    tl_tz_free(tz);
    if (st != TL_OK) {
        tl_bars_release(&out);
        return st;
    }
    tl_bars_release(&v->bars);
    v->bars = out;
    return TL_OK;
}

static enum tl_status load_in_snapshot(struct tl_store_reader *r, const struct tl_symbol *symbol, enum tl_freq freq,
                                       enum tl_adjust adjust, bool provisional, const struct tl_view_sessions *sessions,
                                       struct tl_view *v, struct tl_err *err)
{
    struct tl_bars_head head;
    enum tl_status st = tl_view_source(r, symbol, freq, &v->source_freq, &head, err);
    if (st == TL_OK) st = tl_store_bars_read(r, symbol, v->source_freq, INT64_MIN, INT64_MAX, &v->bars, &head, err);
    if (st != TL_OK) return st;
    if (head.provisional && !provisional && v->bars.n) v->bars.n--;
    v->provisional = head.provisional && provisional;
    v->version = tl_bars_head_version(&head, adjust);
    memcpy(v->zone, head.zone, sizeof v->zone);
    st = adjust_view(r, symbol, adjust, v, err);
    if (st == TL_OK) st = resample_view(symbol, freq, sessions, v, err);
    if (st == TL_OK && !tl_freq_intraday(freq)) v->zone[0] = '\0';
    return st;
}

enum tl_status tl_view_load(struct tl_store_reader *r, const struct tl_symbol *symbol, enum tl_freq freq,
                            enum tl_adjust adjust, bool provisional, const struct tl_view_sessions *sessions,
                            struct tl_view *v, struct tl_err *err)
{
    enum tl_status st = tl_store_snapshot_begin(r, err);
    if (st != TL_OK) return st;
    st = load_in_snapshot(r, symbol, freq, adjust, provisional, sessions, v, err);
    tl_store_snapshot_end(r);
    return st;
}
