/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of entries, and the invalidation scopes that a key falls under. The symbol stands in braces, the hash tag of
 * Redis Cluster: all keys of a symbol share a slot.
 *   general  cache:{600519.SH}:daily_kline:1d      ("-" where there is no symbol or timeframe)
 *   series   calc:{600519.SH}:1d:raw:MACD(12,26,9) (data type "calc", timeframe the frequency)
 * Bytes that would be read as structure ({ } % : and control bytes) are percent-encoded within the parts. */
#ifndef TL_CACHE_KEY_H
#define TL_CACHE_KEY_H

#include "cache/entry.h"
#include "series/series.h"
#include <tierline/cache.h>

struct tl_cache_key {
    char text[TL_KEY_MAX + 1];
    size_t n;
};
static inline struct tl_str tl_cache_key_str(const struct tl_cache_key *k)
{
    return (struct tl_str){k->text, k->n};
}

/* A symbol that parses as one is put into its canonical form. INVALID: no data type, a part too long. */
TL_MUSTCHECK enum tl_status tl_cache_key_general(const struct tl_key *, struct tl_cache_key *out, struct tl_err *err);
void tl_cache_key_series(const struct tl_series_key *, struct tl_cache_key *out);
/* The key of the bar times that all series of (symbol, freq, adjust) share. */
void tl_cache_key_times(const struct tl_series_key *, struct tl_cache_key *out);
/* Back from "calc:..."; false when it is none. */
bool tl_cache_key_to_series(struct tl_str key, struct tl_series_key *out);
enum tl_entry_kind tl_cache_key_kind(struct tl_str key);

/* The still encoded parts. false: not a key of ours. */
struct tl_key_parts {
    struct tl_str symbol, data_type, timeframe;
};
bool tl_cache_key_split(struct tl_str key, struct tl_key_parts *out);
/* Percent-decoded. Returns the bytes written, always terminated, cut at cap - 1. */
size_t tl_cache_key_decode(struct tl_str part, char *out, size_t cap);

/* Scopes as text: "a", "s:SYMBOL", "t:TYPE", "g:TYPE:SYMBOL:TIMEFRAME", "k:KEY"; "r" is everything in Redis. */
enum { TL_SCOPE_MAX = TL_KEY_MAX + 3, TL_SCOPES_OF_KEY = 5 };
TL_MUSTCHECK enum tl_status tl_cache_scope(enum tl_scope, const struct tl_key *, char out[TL_SCOPE_MAX + 1],
                                           struct tl_err *err);
/* Does the scope cover the key? */
bool tl_cache_scope_covers(struct tl_str scope, struct tl_str key);

#endif
