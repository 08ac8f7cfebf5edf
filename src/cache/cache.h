/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the cache. Everything belongs to the loop thread but for memory and generations, which any thread may
 * read. Owners: cache.c opens, closes and knows the clock and the policy; get.c the flights; put.c the puts;
 * put.c the puts; invalidate.c the invalidations; hot.c the list of the hottest keys; report.c the statistics for other
 * processes; peers.c what joins this process to the others by Redis, follow.c by the store. */
#ifndef TL_CACHE_CACHE_H
#define TL_CACHE_CACHE_H

#include "base/map.h"
#include "base/rng.h"
#include "cache/announce.h"
#include "cache/behind.h"
#include "cache/generations.h"
#include "cache/tiers.h"
#include "cache/top.h"
#include <tierline/cache.h>

enum {
    TL_FLIGHT_KEYS_MAX = 100000,
    TL_NOT_FOUND_MS = 1000,
    TL_FAILURE_MS = 500,
    TL_FOLLOW_MS = 100,
    TL_EXPIRE_MS = 100
};

enum tl_redis_state {
    TL_REDIS_NONE,    /* not configured */
    TL_REDIS_AWAY,    /* not connected */
    TL_REDIS_MEETING, /* connected, the generations are being exchanged */
    TL_REDIS_JOINED,
    TL_REDIS_REFUSED /* the prefix belongs to another store */
};

struct tl_cache_options_inside {
    const struct tl_clock *clock; /* NULL: system */
    const struct tl_log *log;
    struct tl_store *store; /* [borrow: until close's cb] instead of opening one; NULL: none */
    bool adopt_store;       /* take the Redis prefix over from another store */
    bool silent;            /* do not report this process' statistics to the others */
};

/* Who is told of results that other processes commit (channel:calc:done), and whether Redis is in use. */
struct tl_cache_listener {
    void (*message)(void *ctx, struct tl_str payload); /* [borrow: during the call] */
    void (*joined)(void *ctx, bool joined);
    void *ctx;
};

struct tl_cache {
    uv_loop_t *loop;
    const struct tl_clock *clock;
    struct tl_log own_log;
    const struct tl_log *log;
    char prefix[65];
    uint64_t instance;
    uint32_t seq;
    int64_t last_ms;
    struct tl_rng rng;
    uint32_t redis_timeout_ms, store_timeout_ms, drain_ms;
    struct tl_ttl_rule *rules; /* [own] types too */
    size_t n_rules;
    bool read_only, adopt_store, silent;
    uint32_t hot_keys;

    struct tl_alarms *alarms;
    struct tl_generations *generations;
    struct tl_memory *memory;
    struct tl_tier *t_memory, *t_redis, *t_store;
    struct tl_store *store;
    bool store_is_own;
    struct tl_behind *behind;
    struct tl_map *flights; /* key -> struct flight (get.c) */
    struct tl_top *top;
    struct report *report;
    struct tl_alarm report_alarm, hot_alarm;

    /* peers.c */
    struct tl_redis *redis;
    struct tl_redis_sub *sub;
    enum tl_redis_state redis_state;
    bool sub_up, decided; /* decided: ready may answer */
    struct tl_err redis_why;
    char owner[96];       /* of the Redis prefix, as Redis calls it: the store of this process, where it has one */
    char channels[2][96]; /* of updates, of results */
    const char *channel_list[2];
    struct tl_cache_listener listener; /* message NULL: none */
    struct meeting *meeting;
    struct follow *follow;
    struct versions *versions; /* versions.c */
    uint64_t joins;            /* how often Redis was joined */
    struct tl_alarm follow_alarm, expire_alarm;
    /* Told of every new version of bars, within TL_FOLLOW_MS of its commit by whichever process. NULL: some were
     * missed, anything may have changed. */
    void (*on_bars)(void *ctx, const struct tl_store_change *);
    void *on_bars_ctx;
    bool following; /* the store is followed: what others write there is known here within TL_FOLLOW_MS */
    struct tl_ready *readies;

    /* every op under way, to be ended by close */
    struct tl_get_state *gets;
    struct tl_put_state *puts;
    struct tl_invalidate_state *invalidates;

    struct tl_cache_stats stats;
    enum { TL_CACHE_OPEN, TL_CACHE_DRAINING, TL_CACHE_CLOSING } phase;
    size_t tellings; /* versions and the report's end on their way to Redis: draining waits for them */
    bool drained;
    size_t loads_under_way; /* sources that have yet to call tl_load_end: close waits for them */
    unsigned open_parts;    /* of closing */
    struct tl_soon closing;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

/* ---- cache.c ---- */
TL_MUSTCHECK enum tl_status tl_cache_open_inside(uv_loop_t *, const struct tl_cache_options *,
                                                 const struct tl_cache_options_inside *, struct tl_cache **out,
                                                 struct tl_err *err);
uint64_t tl_cache_now_ns(const struct tl_cache *);
int64_t tl_cache_now_ms(const struct tl_cache *);
/* Every 0 is filled in by the rules. */
struct tl_ttl tl_cache_ttl(const struct tl_cache *, struct tl_str data_type, const struct tl_ttl *);
/* Between 0.9 and 1 of ms: entries put together do not expire together. */
uint32_t tl_cache_jitter(struct tl_cache *, uint32_t ms);
struct tl_stamp tl_cache_stamp(struct tl_cache *);
/* When memory lets go of an entry; INT64_MAX: when it needs the room. */
int64_t tl_cache_residency(const struct tl_entry *);
void tl_cache_note_latency(struct tl_tier_stats *, uint64_t began_ns, uint64_t now_ns);

/* One of c->tellings has ended. */
void tl_cache_told(struct tl_cache *);
/* One thing less that closing waits for. */
void tl_cache_part_closed(void *cache);

/* ---- get.c ---- */
/* The same with keys that are built already; min: series below this version count as stale (NULL: any). */
TL_MUSTCHECK enum tl_status tl_cache_get_keys(struct tl_cache *, struct tl_get *op, const struct tl_cache_key *keys,
                                              const struct tl_version *min, struct tl_get_item *items, size_t n,
                                              uint64_t deadline_ms, tl_get_cb *cb, struct tl_err *err);
void tl_gets_end(struct tl_cache *);
/* A value of this key was put with that stamp: an older one that is under way is not kept. */
void tl_flights_taint(struct tl_cache *, struct tl_str key, const struct tl_stamp *);

/* ---- put.c ---- */
void tl_puts_end(struct tl_cache *);
/* Into memory, and on to the tiers above where it was found. */
void tl_cache_fill(struct tl_cache *, struct tl_entry *, enum tl_tier_id found_in);
/* Into memory alone. */
void tl_cache_to_memory(struct tl_cache *, struct tl_entry *);
/* When Redis is to let go of the entry; INT64_MAX: never. */
int64_t tl_cache_redis_until(struct tl_cache *, const struct tl_entry *);
/* [own] A general value, put now; every 0 of ttl is filled in. NULL: memory is out. */
struct tl_entry *tl_cache_entry_new(struct tl_cache *, struct tl_str key, const void *bytes, size_t n,
                                    struct tl_ttl *ttl, uint64_t generation);
/* A series that the store has (or, store being none, that was computed here): to memory and Redis. */
TL_MUSTCHECK enum tl_status tl_cache_put_series(struct tl_cache *, struct tl_entry *);

/* ---- hot.c ---- */
void tl_hot_begin(struct tl_cache *);
void tl_hot_save(struct tl_cache *);

/* ---- invalidate.c ---- */
void tl_invalidates_end(struct tl_cache *);

/* ---- versions.c ---- */
/* The follower's three steps: on the loop, in its job, on the loop again. changed: the store has changed. */
void tl_versions_prepare(struct tl_cache *);
void tl_versions_read(struct tl_cache *, struct tl_store_reader *, bool changed);
void tl_versions_tell(struct tl_cache *);
void tl_versions_free(struct tl_cache *);
/* What the store had when this process opened it, Redis knows by now. */
bool tl_versions_told(const struct tl_cache *);
/* [pinned] until cb. */
struct tl_version_op {
    void (*cb)(struct tl_version_op *, enum tl_status); /* OK, NOT_FOUND, ... */
    void *user;
    struct tl_version version; /* out */
    struct tl_redis_cmd cmd;
    struct tl_str argv[3];
    char key[128], field[32];
};
/* What Redis says the version is: for those without a store. */
TL_MUSTCHECK enum tl_status tl_cache_version(struct tl_cache *, struct tl_version_op *, const struct tl_series_key *,
                                             uint64_t deadline_ms, struct tl_err *err);

/* ---- follow.c ---- */
void tl_follow_begin(struct tl_cache *);
void tl_follow_end(struct tl_cache *);
void tl_follow_free(struct tl_cache *);

/* ---- peers.c ---- */
TL_MUSTCHECK enum tl_status tl_peers_open_redis(struct tl_cache *, const struct tl_cache_options *, struct tl_err *err);
void tl_peers_begin(struct tl_cache *);
void tl_peers_free(struct tl_cache *);
void tl_peers_end(struct tl_cache *); /* no more meeting or answering ready */
void tl_peers_again(struct tl_cache *);
/* Is what memory holds known to be what others would read? */
bool tl_peers_trusts_memory(const struct tl_cache *);
/* Gives a raised scope to Redis and the others. cb once, perhaps before it returns: OK, or why the others will learn it
 * from the store alone. CONFLICT: the number was too low for Redis, *generation is what it must exceed. */
struct tl_mirror {
    char scope[TL_SCOPE_MAX + 1];
    uint64_t before, generation;
    void (*cb)(struct tl_mirror *, enum tl_status);
    /* peers.c's */
    struct tl_cache *cache;
    struct tl_redis_cmd cmd;
    struct tl_str argv[10];
    char key[96], numbers[3][24];
    struct tl_buf head, tail;
    uint64_t timeout_ms;
    struct tl_mirror *next; /* waits for a meeting */
};
void tl_peers_mirror(struct tl_cache *, struct tl_mirror *, uint64_t timeout_ms);
/* Without a store: Redis gives the generation out (scope and before in, generation out). */
void tl_peers_allocate(struct tl_cache *, struct tl_mirror *, uint64_t timeout_ms);

#endif
