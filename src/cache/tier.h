/* SPDX-License-Identifier: Apache-2.0 */
/* One tier behind the cache: memory, Redis or the store. A tier moves entries; freshness, generations, flights and the
 * write-behind queue are the cache's. Loop thread. */
#ifndef TL_CACHE_TIER_H
#define TL_CACHE_TIER_H

#include "cache/key.h"

struct tl_tier;

struct tl_tier_item {
    struct tl_str key;      /* [pinned] until the op ends */
    struct tl_entry *entry; /* PUT: in [borrow: until the op ends]; GET: out [own] of OK. DEL: in, may be NULL: only an
                             * entry that is not newer than this one is deleted */
    int64_t expires_ms;     /* PUT: wall clock at which the tier drops it, INT64_MAX: never */
    /* out: OK; GET: NOT_FOUND, CORRUPT (counted, treated as not found); any op: BUSY, IO, TIMEOUT, FULL, DENIED, NOMEM,
     * TOO_LARGE, CANCELLED */
    enum tl_status status;
    bool superseded; /* PUT: OK, but the tier holds a newer one */
};

enum tl_tier_verb { TL_TIER_GET, TL_TIER_PUT, TL_TIER_DEL };

/* [pinned] with its items until cb, or until submit returned true. */
struct tl_tier_op {
    enum tl_tier_verb verb;
    struct tl_tier_item *items;
    size_t n;
    uint64_t timeout_ms;
    const char *raise;   /* PUT to the store: an invalidation scope to raise in the same transaction; NULL: none */
    uint64_t generation; /* out: PUT to Redis: newest generation that Redis knows; PUT to the store with raise: the
                            scope's */
    void (*cb)(struct tl_tier_op *); /* every item has its status */
    void *user;
    void *state; /* the tier's */
};

struct tl_tier_ops {
    const char *name;
    /* true: the op has ended, cb does not run. false: cb runs once, from the loop, within timeout_ms. */
    bool (*submit)(struct tl_tier *, struct tl_tier_op *);
    /* Ops would be served now. */
    bool (*up)(const struct tl_tier *);
    /* Ends every op (CANCELLED), calls cb once all cbs have run, perhaps before it returns, and frees. */
    void (*close)(struct tl_tier *, void (*cb)(void *ctx), void *ctx);
};

struct tl_tier {
    const struct tl_tier_ops *ops;
};

static inline bool tl_tier_submit(struct tl_tier *t, struct tl_tier_op *op)
{
    return t->ops->submit(t, op);
}
static inline bool tl_tier_up(const struct tl_tier *t)
{
    return t->ops->up(t);
}

#endif
