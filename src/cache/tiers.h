/* SPDX-License-Identifier: Apache-2.0 */
/* The three tiers, as struct tl_tier. Each belongs to the loop thread it was made on. */
#ifndef TL_CACHE_TIERS_H
#define TL_CACHE_TIERS_H

#include "aio/alarms.h"
#include "base/log.h"
#include "cache/breaker.h"
#include "cache/memory.h"
#include "cache/tier.h"
#include "redis/redis.h"
#include "store/store.h"

/* Over a memory tier that stays the caller's. Every op ends at once. [own] NULL: memory is out. */
struct tl_tier *tl_tier_memory_new(struct tl_memory *);

/* Over a store that stays the caller's and outlives the tier: reads on `threads` threads, writes by its writer. General
 * entries are rows of their own; series come from (and, written by the scheduler, never go through here) the series of
 * the store. */
struct tl_tier_store_options {
    struct tl_store *store;
    unsigned threads;
    const struct tl_clock *clock;
    struct tl_alarms *alarms; /* [borrow: until close's cb] */
    bool read_only;
};
TL_MUSTCHECK enum tl_status tl_tier_store_new(uv_loop_t *, const struct tl_tier_store_options *, struct tl_tier **out,
                                              struct tl_err *err);
/* Runs `run` with a reader on one of the tier's threads, then `done` on the loop. [pinned] until done. */
struct tl_store_job {
    void (*run)(struct tl_store_job *, struct tl_store_reader *);
    void (*done)(struct tl_store_job *);
    bool cancelled; /* run was never called */
    void *state;
};
TL_MUSTCHECK enum tl_status tl_tier_store_run(struct tl_tier *, struct tl_store_job *);

/* Over a Redis connection that stays the caller's and outlives the tier. `usable`: the caller lets ops through (the
 * generations of this Redis are known here); until then, and while the breaker is open, ops end at once with IO. */
struct tl_tier_redis_options {
    struct tl_redis *redis;
    const char *prefix; /* [borrow: until close's cb] */
    uint64_t instance;  /* of this process, in its announcements */
    const struct tl_clock *clock;
    const struct tl_log *log;
};
TL_MUSTCHECK enum tl_status tl_tier_redis_new(const struct tl_tier_redis_options *, struct tl_tier **out,
                                              struct tl_err *err);
void tl_tier_redis_usable(struct tl_tier *, bool usable);
const struct tl_breaker *tl_tier_redis_breaker(const struct tl_tier *);

/* The scripts that a connection must be given (see tl_redis_options). */
enum tl_cache_script {
    TL_SCRIPT_PUT,
    TL_SCRIPT_DEL,
    TL_SCRIPT_HELLO,
    TL_SCRIPT_MIRROR,
    TL_SCRIPT_ALLOCATE,
    TL_SCRIPT_VERSION,
    TL_SCRIPT_REPORT,
    TL_SCRIPT_ACQUIRE,
    TL_SCRIPT_COMMIT,
    TL_SCRIPT_HOLD,
    TL_CACHE_SCRIPTS
};
extern const struct tl_redis_script tl_cache_scripts[TL_CACHE_SCRIPTS];
extern const char tl_script_acquire[], tl_script_commit[], tl_script_hold[]; /* scripts_once.c */

#endif
