/* SPDX-License-Identifier: Apache-2.0 */
/* What processes tell each other on `channel:market:update`: CloudEvents 1.0 in JSON.
 *   cache.put.v1         data { key, ms, instance, seq }: a general value was put; older ones are out of date
 *   cache.invalidate.v1  data { scope, generation, before, stored }: before: the newest generation before this one;
 *                        stored: the store has it already
 *   market.update.v1     data { symbol, freq, adjust, revision, bars, last_ts }: the bars have a new version
 * source is "tierline/<instance>", 16 hex digits. */
#ifndef TL_CACHE_ANNOUNCE_H
#define TL_CACHE_ANNOUNCE_H

#include "base/buf.h"
#include "cache/entry.h"
#include "market/freq.h"
#include "market/symbol.h"

enum tl_announcement_type { TL_ANNOUNCE_OTHER, TL_ANNOUNCE_PUT, TL_ANNOUNCE_INVALIDATE, TL_ANNOUNCE_MARKET };
struct tl_announcement {
    enum tl_announcement_type type;
    uint64_t source;          /* the instance that sent it */
    char key[TL_KEY_MAX + 1]; /* PUT: its key; INVALIDATE: its scope */
    struct tl_stamp stamp;
    uint64_t generation, before;
    bool stored;
    struct tl_symbol symbol;
    enum tl_freq freq;
    enum tl_adjust adjust;
    struct tl_version version;
};

void tl_announce_put(struct tl_buf *out, uint64_t instance, int64_t now_ms, struct tl_str key, const struct tl_entry *);
/* generation 0: writes the message in two parts, up to and behind the place of the generation; tail is then filled. */
void tl_announce_invalidate(struct tl_buf *out, struct tl_buf *tail, uint64_t instance, int64_t now_ms,
                            struct tl_str scope, uint64_t before, uint64_t generation, bool stored);
void tl_announce_market(struct tl_buf *out, uint64_t instance, int64_t now_ms, const struct tl_symbol *, enum tl_freq,
                        enum tl_adjust, struct tl_version);
/* false: not one of ours (garbage, other types are OTHER). Never fails otherwise: the sender may be newer. */
bool tl_announcement_parse(struct tl_str message, struct tl_announcement *out);

#endif
