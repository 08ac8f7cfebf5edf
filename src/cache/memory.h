/* SPDX-License-Identifier: Apache-2.0 */
/* The memory tier (L1): entries bounded in bytes, S3-FIFO eviction (Yang et al., SOSP 2023). Sharded by hash; every
 * call is safe from every thread. Values are refcounted and never copied: an entry that was evicted lives on for those
 * who hold it, and no longer counts. A put replaces in place: the key keeps its place in the queues and its use
 * counter. The bound is of all shards together: one entry may take half of it, whichever shard it falls into. */
#ifndef TL_CACHE_MEMORY_H
#define TL_CACHE_MEMORY_H

#include "base/clock.h"
#include "cache/entry.h"

struct tl_memory;
struct tl_memory_options {
    size_t cap_bytes;             /* keys, payloads and all overhead (tables, ghosts, allocator) */
    unsigned shards;              /* power of two, 0: 64; fewer when a shard's part would be less than 1 MiB */
    const struct tl_clock *clock; /* NULL: system */
};
/* INVALID (cap_bytes < 64 KiB), NOMEM. */
TL_MUSTCHECK enum tl_status tl_memory_new(const struct tl_memory_options *, struct tl_memory **out, struct tl_err *err);
void tl_memory_free(struct tl_memory *);

/* [ref] NULL: not there or expired. Counts as a use. */
struct tl_entry *tl_memory_get(struct tl_memory *, struct tl_str key);
/* Keeps a reference of its own. expires_ms: wall clock at which it is dropped (up to 32 ms later, and after 24 days at
 * the latest), INT64_MAX: never. false: it was not kept: larger than half of cap_bytes, memory is out, or the tier
 * holds one of this key that is newer (tl_entry_cmp). One that is equal takes its place, with the new expiry. */
bool tl_memory_put(struct tl_memory *, struct tl_entry *, int64_t expires_ms);
/* Drops the key's entry; with `older_than` only when that one is newer (tl_entry_cmp). true: something was dropped. */
bool tl_memory_del(struct tl_memory *, struct tl_str key, const struct tl_entry *older_than);
void tl_memory_clear(struct tl_memory *);
/* Drops what has expired, at most `max` entries; called from a timer. Returns how many it dropped: fewer than max:
 * nothing is left that had expired. Costs little when nothing has. */
size_t tl_memory_expire(struct tl_memory *, size_t max);
/* The most used entries now, by their use counters (0..3) and queues; at most n, most used first. Returns how many;
 * [ref] each. */
size_t tl_memory_hottest(struct tl_memory *, struct tl_entry **out, size_t n);

/* puts (those kept) = entries + replaced + evicted + expired + deleted. */
struct tl_memory_stats {
    uint64_t hits, misses, puts, replaced, refused, evicted, expired, deleted;
    size_t entries, bytes, cap_bytes;
    size_t payload_bytes, key_bytes; /* parts of bytes */
};
void tl_memory_stats(const struct tl_memory *, struct tl_memory_stats *);

#endif
