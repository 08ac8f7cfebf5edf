/* SPDX-License-Identifier: Apache-2.0 */
/* The write-behind queue: entries on their way to Redis and, after it, to the store. Redis first, so that what the
 * store says it has, Redis has too, or is known to be out of date (the scope "r" is raised in the same transaction): a
 * process that dies in between leaves nothing old behind that anyone would believe. Bounded in bytes, in order per key,
 * a newer entry replaces one that still waits. Loop thread. */
#ifndef TL_CACHE_BEHIND_H
#define TL_CACHE_BEHIND_H

#include "aio/alarms.h"
#include "base/log.h"
#include "cache/tier.h"

struct tl_behind;

struct tl_behind_options {
    struct tl_alarms *alarms;
    const struct tl_clock *clock;
    const struct tl_log *log;
    struct tl_tier *redis, *store; /* NULL: none */
    size_t cap_bytes;
    uint64_t redis_timeout_ms, store_timeout_ms;
    uint64_t seed;
    /* Is an entry that was put still valid? The newest generation that Redis named is above the entry's and was not
     * known here when it was put. */
    bool (*valid)(void *ctx, struct tl_entry *);
    /* The scope "r" was raised to this generation. */
    void (*raised)(void *ctx, uint64_t generation);
    void *ctx;
};

/* Who waits for a tier to have an entry. [pinned] until cb or tl_behind_forget. */
struct tl_behind_wait {
    enum tl_tier_id tier; /* REDIS or STORE */
    void (*cb)(struct tl_behind_wait *, enum tl_status);
    struct tl_behind_wait *prev, *next; /* the queue's */
    struct tl_behind_waits *in;
};

struct tl_behind_write {
    struct tl_entry *entry;                     /* [borrow: the queue takes a reference] */
    int64_t redis_expires_ms, store_expires_ms; /* wall clock, INT64_MAX: never */
    bool to_redis, to_store;
    bool put; /* put by a caller just now, not read from somewhere: an invalidation it could not know of does not hit it
               */
    bool made; /* no other tier has it: without a store Redis gets as many tries as it takes, as for put */
};

/* What became of the entries that one tier was to get: accepted == written + coalesced + skipped + lost + queued. */
struct tl_behind_counts {
    uint64_t accepted, written, coalesced, retried, skipped, refused, lost;
};

TL_MUSTCHECK enum tl_status tl_behind_new(const struct tl_behind_options *, struct tl_behind **out, struct tl_err *err);
/* Every op has ended and nothing is queued (tl_behind_drain). */
void tl_behind_free(struct tl_behind *);
/* wait may be NULL. FULL: over the bound; NOMEM. Then nothing happened. */
TL_MUSTCHECK enum tl_status tl_behind_put(struct tl_behind *, const struct tl_behind_write *,
                                          struct tl_behind_wait *wait);
void tl_behind_forget(struct tl_behind_wait *);
/* The entry of key that waits or is being written; NULL. [ref] */
struct tl_entry *tl_behind_get(struct tl_behind *, struct tl_str key);
/* Entries that are queued now and fall under the scope are no longer `put`. */
void tl_behind_invalidated(struct tl_behind *, struct tl_str scope);
/* Takes nothing more; cb once the queue is empty, or at the deadline: what is left then is lost. */
void tl_behind_drain(struct tl_behind *, uint64_t deadline_ns, void (*cb)(void *ctx), void *ctx);

size_t tl_behind_entries(const struct tl_behind *);
size_t tl_behind_bytes(const struct tl_behind *);
void tl_behind_counts(const struct tl_behind *, struct tl_behind_counts *redis, struct tl_behind_counts *store);

#endif
