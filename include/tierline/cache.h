/* SPDX-License-Identifier: Apache-2.0 */
/* The tiered cache: memory -> Redis -> store, on the caller's libuv loop.
 *
 * Every call but peek and stats belongs to the loop's thread and is asynchronous: it returns at once; when it returned
 * TL_OK the callback runs exactly once, on that thread, after the call has returned. Otherwise the callback never runs.
 * Every operation has a deadline. A callback may call anything, also tl_cache_close. */
#ifndef TIERLINE_CACHE_H
#define TIERLINE_CACHE_H

#include <tierline/status.h>

#ifdef __cplusplus
extern "C" {
#endif

struct uv_loop_s;
struct tl_cache;
struct tl_value; /* immutable, refcounted bytes */

enum tl_tier_id { TL_TIER_NONE, TL_TIER_MEMORY, TL_TIER_REDIS, TL_TIER_STORE, TL_TIER_SOURCE };
enum tl_freshness {
    TL_MISSING,
    TL_FRESH,
    TL_STALE,  /* past its soft expiry, or older than max_age_ms, or of data that has changed since */
    TL_PARTIAL /* an indicator series: bars were appended since */
};
/* "memory", "redis", ...; "fresh", ... Never NULL. */
TL_API const char *tl_tier_name(enum tl_tier_id);
TL_API const char *tl_freshness_name(enum tl_freshness);

/* What a value is found by. data_type: "daily_kline", at most 64 bytes; symbol: canonical or any accepted spelling, at
 * most 64 bytes; timeframe: "1d", at most 32 bytes. symbol and timeframe may be NULL or "" (none). */
struct tl_key {
    const char *data_type, *symbol, *timeframe;
};

/* [borrow: as long as the value is referenced] */
TL_API const void *tl_value_bytes(const struct tl_value *, size_t *n);
TL_API struct tl_value *tl_value_ref(struct tl_value *);
TL_API void tl_value_unref(struct tl_value *); /* NULL is fine */

/* Milliseconds after the put. 0: the default of the data type; TL_FOREVER: never. */
#define TL_FOREVER UINT32_MAX
struct tl_ttl {
    uint32_t fresh_ms; /* how long a read calls it fresh, and memory keeps it at least */
    uint32_t redis_ms; /* how long Redis keeps it */
    uint32_t store_ms; /* how long the store keeps it */
};

/* One data type's own TTLs; fields as in tl_ttl. */
struct tl_ttl_rule {
    const char *data_type; /* NULL: for every type without a rule of its own */
    struct tl_ttl ttl;
};

struct tl_cache_options {
    const char *store_url;           /* "sqlite:///path", a path; NULL or "none": no store */
    const char *redis_url;           /* redis://[user:password@]host[:port][/db]; NULL or "none": no Redis */
    const char *prefix;              /* before every key and channel; NULL: "tierline:" */
    size_t memory_bytes;             /* 0: 256 MiB */
    size_t queue_bytes;              /* writes that wait for Redis and the store; 0: 64 MiB */
    uint32_t redis_timeout_ms;       /* of one exchange with Redis; 0: 500 */
    uint32_t store_timeout_ms;       /* of one read of the store; 0: 5000 */
    uint32_t drain_ms;               /* how long close goes on writing what is queued; 0: 5000 */
    unsigned store_threads;          /* that read the store; 0: 2 */
    bool read_only;                  /* never writes to the store */
    int log_level;                   /* 0 debug 1 info 2 warnings 3 errors, negative: no log. On standard error */
    uint32_t hot_keys;               /* how many of the most used keys are remembered for tl_cache_warm, once a minute
                                      * and when the cache is closed; at most 100,000, 0: none */
    const struct tl_ttl_rule *rules; /* [borrow: until open returns] */
    size_t n_rules;
};

/* Opens the store (which blocks) and begins to connect to Redis (which does not). Errors: INVALID (URLs, prefix with
 * braces, rules), those of opening a store, NOMEM, IO. */
TL_MUSTCHECK TL_API enum tl_status tl_cache_open(struct uv_loop_s *, const struct tl_cache_options *,
                                                 struct tl_cache **out, struct tl_err *err);
/* Writes what is queued (at most drain_ms long; what is left is counted as lost), ends every operation with CANCELLED,
 * calls cb, frees. Idempotent: only the first cb is called. */
TL_API void tl_cache_close(struct tl_cache *, void (*cb)(void *ctx), void *ctx);

/* cb once: OK when every configured tier is in use; IO when Redis cannot be used (the cache works without it, and takes
 * it up as soon as it can); CONFLICT when this Redis prefix belongs to another store (it is not used at all); TIMEOUT;
 * CANCELLED. */
TL_MUSTCHECK TL_API enum tl_status tl_cache_ready(struct tl_cache *, uint64_t deadline_ms,
                                                  void (*cb)(void *ctx, enum tl_status, const struct tl_err *),
                                                  void *ctx);

/* ---- reading ---- */

struct tl_load; /* a value being made by the caller's source */
/* Asked to make the value of key, at most once at a time for a key in this process. Loop thread; must lead to exactly
 * one tl_load_end, now or later. */
typedef void tl_load_fn(void *ctx, const struct tl_key *key, struct tl_load *);
/* OK: the value is put into every tier (ttl may be NULL) and handed to all who wait. Another status: all who wait get
 * it, and it is remembered for a short time by its kind. Bytes are copied. */
TL_API void tl_load_end(struct tl_load *, enum tl_status, const void *bytes, size_t n, const struct tl_ttl *ttl,
                        const char *why);

enum { TL_AGE_NOW = -1 };
struct tl_get_item {
    struct tl_key key; /* in [borrow: until the call returns] */
    /* out */
    enum tl_status status; /* OK, NOT_FOUND, TIMEOUT, CANCELLED, IO (no tier below memory could be asked), or the
                            * failure of the source */
    enum tl_freshness freshness;
    enum tl_tier_id source;
    int64_t age_ms;         /* since it was put */
    struct tl_value *value; /* [own: unref it] of OK; NULL otherwise */
};
struct tl_get {
    /* in; zero-initialise */
    int64_t max_age_ms; /* 0: any age; TL_AGE_NOW: as new as the lowest tier has it */
    uint64_t soft_ms;   /* after this time a stale value is handed out if there is one; 0: at once */
    tl_load_fn *load;   /* where a missing or stale value comes from; NULL: nowhere */
    void *load_ctx;
    void *user;
    /* out */
    struct tl_get_item item; /* of tl_cache_get */
    struct tl_get_item *items;
    size_t n;
    /* the cache's */
    void *state;
};
typedef void tl_get_cb(struct tl_get *op, enum tl_status status);
/* Looks `key` up, nearest tier first. op [pinned] until cb. deadline_ms: from now; then TIMEOUT, while the work goes
 * on. A value between its soft and hard expiry is handed out as STALE and renewed behind (where there is a source).
 * status: that of the item. INVALID (the key), NOMEM, CANCELLED (closing). */
TL_MUSTCHECK TL_API enum tl_status tl_cache_get(struct tl_cache *, struct tl_get *op, const struct tl_key *key,
                                                uint64_t deadline_ms, tl_get_cb *cb, struct tl_err *err);
/* The same for many keys: one exchange a tier. items [pinned] until cb. status: OK, or SOME_FAILED when an item is not.
 */
TL_MUSTCHECK TL_API enum tl_status tl_cache_get_many(struct tl_cache *, struct tl_get *op, struct tl_get_item *items,
                                                     size_t n, uint64_t deadline_ms, tl_get_cb *cb, struct tl_err *err);
/* cb comes with CANCELLED; what other readers wait for goes on. No-op once cb has run. */
TL_API void tl_cache_get_cancel(struct tl_cache *, struct tl_get *op);
/* Memory alone. Any thread. NULL: not there or not fresh. [own: unref it] */
TL_API struct tl_value *tl_cache_peek(struct tl_cache *, const struct tl_key *key);

/* ---- writing ---- */

struct tl_put_item {
    struct tl_key key; /* in [borrow: until the call returns] */
    const void *bytes; /* in [borrow: until the call returns] at most 8 MiB */
    size_t n;
    struct tl_ttl ttl;     /* in */
    enum tl_status status; /* out: OK, FULL (queue), TOO_LARGE, INVALID, IO, TIMEOUT */
};
struct tl_put {
    /* in; zero-initialise */
    enum tl_tier_id wait; /* NONE, MEMORY: acknowledged when it is in memory and queued; REDIS, STORE: when that tier
                           * has it (UNSUPPORTED where it is not configured) */
    void *user;
    /* out */
    struct tl_put_item *items;
    size_t n;
    struct tl_put_item item;
    /* the cache's */
    void *state;
};
typedef void tl_put_cb(struct tl_put *op, enum tl_status status);
TL_MUSTCHECK TL_API enum tl_status tl_cache_put(struct tl_cache *, struct tl_put *op, const struct tl_key *key,
                                                const void *bytes, size_t n, const struct tl_ttl *ttl,
                                                uint64_t deadline_ms, tl_put_cb *cb, struct tl_err *err);
/* items [pinned] until cb. status: OK, or SOME_FAILED. */
TL_MUSTCHECK TL_API enum tl_status tl_cache_put_many(struct tl_cache *, struct tl_put *op, struct tl_put_item *items,
                                                     size_t n, uint64_t deadline_ms, tl_put_cb *cb, struct tl_err *err);

/* ---- invalidation ---- */

enum tl_scope {
    TL_SCOPE_KEY,
    TL_SCOPE_SYMBOL,
    TL_SCOPE_TYPE,
    TL_SCOPE_GROUP /* symbol, type and timeframe */,
    TL_SCOPE_ALL
};
struct tl_invalidate {
    void *user;
    struct tl_err err; /* out, when the status is not OK */
    void *state;
};
typedef void tl_invalidate_cb(struct tl_invalidate *op, enum tl_status status);
/* No value that was read or made before this call is ever served again once cb came with OK, by this process or, within
 * milliseconds, any other. Costs the same for one value and for all. The parts of key that the scope does not name are
 * not used. OK; IO, TIMEOUT: it may or may not have happened. CANCELLED. */
TL_MUSTCHECK TL_API enum tl_status tl_cache_invalidate(struct tl_cache *, struct tl_invalidate *op, enum tl_scope,
                                                       const struct tl_key *key, uint64_t deadline_ms,
                                                       tl_invalidate_cb *cb, struct tl_err *err);

/* ---- warming up ---- */

struct tl_warm {
    void *user;
    size_t listed, warmed; /* out: keys on the list (at most max), and of them those that a tier had */
    struct tl_err err;     /* out, when the status is not OK */
    void *state;
};
typedef void tl_warm_cb(struct tl_warm *op, enum tl_status status);
/* Reads into memory what was used most when it was last remembered (options.hot_keys) by a process with this store or
 * Redis prefix. op [pinned] until cb. OK, also when nothing was remembered; TIMEOUT, CANCELLED: what came until then
 * stays; IO. */
TL_MUSTCHECK TL_API enum tl_status tl_cache_warm(struct tl_cache *, struct tl_warm *op, size_t max,
                                                 uint64_t deadline_ms, tl_warm_cb *cb, struct tl_err *err);

/* ---- statistics ---- */

enum { TL_LATENCY_BUCKETS = 64 };
struct tl_tier_stats {
    uint64_t hits, misses, errors, poisoned; /* of reads; a poisoned entry is also a miss */
    uint64_t read_bytes;                     /* payload of the hits */
    uint64_t latency[TL_LATENCY_BUCKETS]; /* reads by time: bucket i holds times below 2^(i/2 + 6) ns and not below the
                                           * bucket before */
    /* write-behind (memory: all zero but written) */
    uint64_t written, coalesced, retried, skipped, refused, lost;
    bool configured, up;
    bool breaker_open;
    uint64_t breaker_opened; /* times */
    char why[160];           /* why it is not up */
};
struct tl_cache_stats {
    struct tl_tier_stats memory, redis, store;
    uint64_t memory_entries, memory_bytes, memory_cap_bytes, evictions, expirations;
    uint64_t queue_entries, queue_bytes, queue_cap_bytes;
    uint64_t gets, puts, flights, joined, loads, stale_served, invalidations, announcements;
};
TL_API void tl_cache_stats(struct tl_cache *, struct tl_cache_stats *);
enum { TL_TOP_KEY_MAX = 255 };
struct tl_top_key {
    char key[TL_TOP_KEY_MAX + 1]; /* "cache:{600519.SH}:daily_kline:1d", "calc:{600519.SH}:1d:raw:RSI(14)" */
    uint64_t reads, error;        /* of the last minutes, older ones count less; too high by at most error */
};
/* What was read most through tl_cache_get and tl_cache_get_many, the most first, at most n (of 256 that are watched).
 * Loop thread. Returns how many. */
TL_API size_t tl_cache_top(struct tl_cache *, struct tl_top_key *out, size_t n);
/* The time in ns below which `share` (0.5, 0.99, 0.999) of a tier's reads stayed; 0 without any. */
TL_API uint64_t tl_latency_quantile(const uint64_t latency[TL_LATENCY_BUCKETS], double share);

#ifdef __cplusplus
}
#endif
#endif
