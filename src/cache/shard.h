/* SPDX-License-Identifier: Apache-2.0 */
/* One shard of the memory tier: a table of keys, S3-FIFO's queues and ghost, and when what expires. A reader locks one
 * of its lanes, by thread, and writes no other memory that readers share but the use counters of nodes and the
 * references of entries; a writer locks all lanes, in order. Nothing else here locks. What comes out of a shard is the
 * caller's to unref, best after unlocking. */
#ifndef TL_CACHE_SHARD_H
#define TL_CACHE_SHARD_H

#include "cache/entry.h"

#include <pthread.h>

enum { TL_SHARD_CHUNK = 64, TL_SHARD_USES_MAX = 3, TL_SHARD_TICK_BITS = 28, TL_SHARD_LANES = 8 };
#define TL_NO_NODE    UINT32_MAX
/* Ticks are modulo 2^28 and compared by their distance. */
#define TL_TICK_NEVER ((UINT32_C(1) << TL_SHARD_TICK_BITS) - 1)

/* Bytes of all shards together; never more than cap. */
struct tl_budget {
    size_t cap;
    _Atomic size_t bytes;
};
bool tl_budget_take(struct tl_budget *, size_t n);
void tl_budget_give(struct tl_budget *, size_t n);

enum tl_queue { TL_QUEUE_FREE, TL_QUEUE_SMALL, TL_QUEUE_MAIN };
struct tl_node {
    uint32_t entry_low, entry_high; /* struct tl_entry *, which the node holds a reference of */
    uint32_t prev, next;            /* in its queue, oldest first; of a free node: the next free one */
    _Atomic uint32_t state;         /* queue << 30 | uses << 28 | expires */
};
_Static_assert(sizeof(struct tl_node) == 20, "nodes are counted in the overhead of an entry");

struct tl_node_chunk {
    struct tl_node *nodes;
    uint32_t due; /* no node of it expires sooner */
};

struct tl_fifo {
    uint32_t oldest, newest;
    size_t n, bytes;
};

struct tl_lane {
    _Alignas(64) pthread_mutex_t lock;
    uint64_t hits, misses;
};

struct tl_shard {
    struct tl_lane lanes[TL_SHARD_LANES];
    struct tl_budget *budget;
    uint32_t *table;
    size_t n_table, n;
    struct tl_node_chunk *chunks;
    size_t n_chunks;
    uint32_t free;
    uint32_t due; /* of all chunks */
    struct tl_fifo small, main;
    uint16_t *ghost;
    size_t n_ghost, ghost_added; /* cells; additions in this epoch */
    unsigned ghost_epoch;
    size_t payload_bytes, key_bytes;
    uint64_t puts, replaced, refused, evicted, expired, deleted;
};

static inline struct tl_node *tl_shard_node(const struct tl_shard *s, uint32_t i)
{
    return &s->chunks[i / TL_SHARD_CHUNK].nodes[i % TL_SHARD_CHUNK];
}

static inline struct tl_entry *tl_node_entry(const struct tl_node *n)
{
    return (struct tl_entry *)(uintptr_t)((uint64_t)n->entry_high << 32 | n->entry_low);
}

static inline uint32_t tl_node_expires(const struct tl_node *n)
{
    return atomic_load_explicit(&n->state, memory_order_relaxed) & TL_TICK_NEVER;
}
static inline unsigned tl_node_uses(const struct tl_node *n)
{
    return atomic_load_explicit(&n->state, memory_order_relaxed) >> TL_SHARD_TICK_BITS & TL_SHARD_USES_MAX;
}
static inline enum tl_queue tl_node_queue(const struct tl_node *n)
{
    return (enum tl_queue)(atomic_load_explicit(&n->state, memory_order_relaxed) >> (TL_SHARD_TICK_BITS + 2));
}
static inline void tl_node_set(struct tl_node *n, enum tl_queue queue, unsigned uses, uint32_t expires)
{
    uint32_t state = (uint32_t)queue << (TL_SHARD_TICK_BITS + 2) | uses << TL_SHARD_TICK_BITS | expires;
    atomic_store_explicit(&n->state, state, memory_order_relaxed);
}
/* A reader's: of uses at the same time some may count as one. */
static inline void tl_node_use(struct tl_node *n)
{
    uint32_t state = atomic_load_explicit(&n->state, memory_order_relaxed);
    if ((state >> TL_SHARD_TICK_BITS & TL_SHARD_USES_MAX) == TL_SHARD_USES_MAX) return;
    atomic_compare_exchange_weak_explicit(&n->state, &state, state + (1u << TL_SHARD_TICK_BITS), memory_order_relaxed,
                                          memory_order_relaxed);
}

/* Both: is `a` at or before `now`; which is sooner. */
static inline bool tl_tick_due(uint32_t a, uint32_t now)
{
    return a != TL_TICK_NEVER && ((now - a) & TL_TICK_NEVER) <= TL_TICK_NEVER / 2;
}
static inline uint32_t tl_tick_sooner(uint32_t a, uint32_t b)
{
    if (a == TL_TICK_NEVER) return b;
    return tl_tick_due(b, a) ? b : a;
}

/* What an entry takes out of the heap. */
size_t tl_shard_entry_bytes(struct tl_entry *);
/* false: memory is out, or the budget. tl_shard_release in both cases. */
bool tl_shard_init(struct tl_shard *, struct tl_budget *);
void tl_shard_release(struct tl_shard *);         /* is empty, see tl_shard_drain */
struct tl_lane *tl_shard_read(struct tl_shard *); /* locked for reading; to be unlocked by the caller */
void tl_shard_lock(struct tl_shard *);
void tl_shard_unlock(struct tl_shard *);

/* TL_NO_NODE: not there. */
uint32_t tl_shard_find(const struct tl_shard *, struct tl_str key, uint64_t hash);
/* The key is not there; its bytes are taken from the budget already. false: tables have to grow and the budget or the
 * memory is out: after an eviction here it fits. */
bool tl_shard_insert(struct tl_shard *, uint64_t hash, struct tl_entry *, uint32_t expires);
/* Returns the entry before; place and use counter stay. The budget is the caller's matter. */
struct tl_entry *tl_shard_replace(struct tl_shard *, uint32_t i, struct tl_entry *, uint32_t expires);
struct tl_entry *tl_shard_remove(struct tl_shard *, uint32_t i);
/* The next victim of S3-FIFO; NULL: the shard is empty. */
struct tl_entry *tl_shard_evict(struct tl_shard *);
/* Both at most max entries into out. What has expired; anything. */
size_t tl_shard_expire(struct tl_shard *, uint32_t now, struct tl_entry **out, size_t max);
size_t tl_shard_drain(struct tl_shard *, struct tl_entry **out, size_t max);

#endif
