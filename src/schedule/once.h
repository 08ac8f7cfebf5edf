/* SPDX-License-Identifier: Apache-2.0 */
/* Check, lock, check, compute: each key is made once across all processes on one Redis prefix. Keys of one symbol that
 * are asked for together form a group and go together: one ACQUIRE, one computation, one COMMIT. Who asks for a key
 * that is under way in this process joins it. Loop thread, but for what says otherwise.
 *
 * once.c moves groups through their phases, acquire.c, commit.c and exchange.c talk to Redis, alone.c does without one,
 * scheduler.c owns it all;
 * compute.c makes any value by a caller's function, symbol.c makes indicators. */
#ifndef TL_SCHEDULE_ONCE_H
#define TL_SCHEDULE_ONCE_H

#include "aio/mailbox.h"
#include "aio/workers.h"
#include "cache/cache.h"
#include <tierline/compute.h>

enum {
    ONCE_GROUP_MAX = 256,    /* keys of a group */
    ONCE_INLINE_MAX = 65536, /* a larger value is fetched by a command of its own */
    ONCE_PUBLISH_MAX = 32768,
    ONCE_EXCHANGE_MS = 5000, /* for a reply of Redis: a slow one is waited for rather than computed without */
    ONCE_ASK_AGAIN_MS = 2000,
    ONCE_GRACE_MS = 1000, /* Redis is expected back for that long before anything is computed without it */
    ONCE_STALL_MS = 30000,
    ONCE_TRIES_MAX = 4
};

struct once_group;
struct once_source;

/* The rows of the legal moves:
 *   WANTED -> ASKED (ACQUIRE), GRANTED (without Redis), BUSY (lent here without one), OVER
 *   ASKED -> WANTED, FETCHED, BUSY, GRANTED, MADE (made before, lease lost, granted again), OVER
 *   FETCHED -> WANTED, OVER;  BUSY -> WANTED, OVER;  GRANTED -> MADE, OVER;  MADE -> WANTED, GRANTED, OVER */
enum once_state { ONCE_WANTED, ONCE_ASKED, ONCE_FETCHED, ONCE_BUSY, ONCE_GRANTED, ONCE_MADE, ONCE_OVER };

struct once_result {
    enum tl_status status;
    struct tl_entry *entry; /* [borrow: during the call] of OK; NULL: the store has it, its rows were not asked for */
    enum tl_freshness freshness;
    enum tl_tier_id source; /* MEMORY, REDIS, STORE; SOURCE: made here */
    bool waited;            /* another process made it meanwhile, or tried to */
    bool taken_over;        /* made here after the process that had it vanished */
    bool all;               /* a failure of the whole group: its data could not be read */
    bool duplicated;        /* was made here, too, and thrown away */
    bool again;             /* neither value nor failure: who still wants it asks anew */
    bool handed_in;         /* a failure that was made here, and is shared now */
    uint64_t token;
    const char *why; /* of a failure; never NULL */
};

/* Who waits for a key. [pinned] until over or tl_once_leave. over may begin and leave anything. */
struct once_waiter {
    void (*over)(struct once_waiter *, const struct once_result *);
    /* An outdated value was found [borrow: as long as it waits]. Must not begin, leave or end anything. NULL: no
     * matter. */
    void (*old)(struct once_waiter *, struct tl_entry *);
    /* Another has the lease, for left_ms at most; the same rules. NULL: no matter. */
    void (*busy)(struct once_waiter *, int64_t left_ms);
    struct once_key *key; /* the engine's */
    struct once_waiter *prev, *next;
};

struct once_key {
    struct once_group *group;
    struct tl_cache_key key;
    enum once_state state;
    struct once_waiter *waiters;
    int64_t min_ms; /* GENERAL: put at this time or later */
    bool woken;     /* a message came while it was being asked for */
    bool waited, told, taken_over, duplicated, degraded;
    bool leased;
    bool found;     /* made: it was found in the store, not computed */
    bool lent_here; /* waited: for one to whom this process lent it without a Redis */
    unsigned tries; /* of making it, of taking what Redis has */
    uint64_t token;
    int64_t left_ms;        /* of the lease that another has */
    struct tl_entry *made;  /* [own] */
    struct tl_entry *old;   /* [own] outdated, from Redis */
    struct tl_entry *early; /* [own] announced while it was being asked for */
    enum tl_status failure; /* instead of made */
    char why[200];
    struct tl_tier_op fetch;
    struct tl_tier_item fetch_item;
};

enum once_phase { ONCE_CHECKING, ONCE_READY, ONCE_QUEUED, ONCE_ASKING, ONCE_MAKING, ONCE_COMMITTING, ONCE_WAITING };

struct once_group {
    struct tl_scheduler *s;
    struct once_source *source; /* [own] */
    enum once_phase phase;
    struct once_group *prev, *next; /* all */
    struct once_group *next_queued;
    struct once_group *prev_queued;
    bool has_worker; /* one of free_workers is its */
    bool recheck;    /* the version must be read again */
    bool ended;
    bool without_redis; /* which cannot be used, though it is there */
    char owner[48];     /* instance:nonce: */
    uint32_t lease_ms;
    bool versioned;
    struct tl_version version; /* of the bars, as the source's check found it */
    char field[32], tag[80];
    uint64_t generation;      /* newest one known before the source was read */
    struct tl_entry *extra;   /* [own] goes to Redis with the values, without a lease */
    unsigned trouble, rounds; /* exchanges that failed, versions that were too old, one after the other */
    struct tl_alarm again, renewal;
    struct tl_soon soon;
    struct once_exchange *exchange, *hold; /* under way */
    uint64_t until_ns, stall_ns;           /* until then what is leased is for certain */
    _Atomic uint64_t progress_ns;          /* a worker says so */
    _Atomic bool lost;                     /* a worker is told so */
    size_t fetches;
    size_t n;
    struct once_key keys[];
};

/* Where values come from. Every call ends with the tl_once_... named, now or later; the group is pinned until then. */
struct once_source_ops {
    bool versioned;
    /* Reads the version of the data and what the store has of the WANTED keys: tl_once_checked. NULL: nothing to read.
     */
    void (*check)(struct once_source *, struct once_group *);
    /* Makes the GRANTED keys: tl_once_value or tl_once_failed for each, then tl_once_made. */
    void (*make)(
        struct once_source *,
        struct once_group *); /* The value is visible to all, or (degraded) there is no Redis: keep it in the tiers
                               * below. from: SOURCE: computed here; STORE: was there; REDIS: of another process. */
    void (*keep)(struct once_source *, const struct once_key *, struct tl_entry *, enum tl_tier_id from, bool degraded);
    void (*end)(struct once_source *); /* the group is gone */
};
struct once_source {
    const struct once_source_ops *ops;
    uint32_t lease_ms; /* 0: the scheduler's */
    bool anew;         /* what the tiers have already will not do */
    bool strict;       /* what was made under a lease that was lost is not handed in under another */
    bool wants_old;    /* outdated values are wanted, too, while they are made anew */
    bool lends;        /* made outside: no worker is needed, and who joins is told when it is another's */
    uint64_t stall_ms; /* a computation that shows no progress for that long is not held on to; 0: usual */
};

struct tl_scheduler {
    struct tl_cache *cache;
    const struct tl_clock *clock;
    struct tl_alarms *alarms; /* the cache's */
    struct tl_workers *workers;
    unsigned n_workers, free_workers;
    struct tl_store_reader **readers; /* one a worker; NULL: no store */
    uint32_t lease_ms;
    size_t prefix_n;   /* bytes of the cache's prefix */
    char instance[20]; /* 16 hex digits and a colon */
    uint64_t nonce;
    struct tl_rng rng;
    struct tl_map *keys;     /* key -> struct once_key that may be joined */
    struct tl_map *failures; /* key -> struct failure, for times without Redis */
    struct once_group *groups;
    struct once_group *queue_first, *queue_last; /* wait for a worker */
    size_t active;                               /* groups that do not wait for others */
    void (*room)(void *ctx);                     /* active has fallen; from the loop */
    void *room_ctx;
    struct tl_soon room_soon;
    uint64_t lost_ns; /* when Redis was lost; 0: it is there, or never was */
    struct tl_scheduler_stats stats;
    struct computing *computings; /* compute.c: ops under way */
    struct lending *lendings;     /* lend.c: ops under way */
    struct tl_map *lent;          /* lend.c: without a Redis */
    struct tl_map *lent_shared;   /* lend.c: key -> until when (ns), of leases that Redis granted through here */
    uint64_t lent_swept_ns;
    size_t partings;            /* leases given back that nobody waits for */
    struct tl_mailbox *mailbox; /* from the store's writer */
    size_t works;               /* of sources that outlive their group */
    bool closing, workers_closed;
    struct tl_soon close_soon;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

/* ---- once.c ---- */
/* source [take], also on failure. keys: of one symbol, without duplicates, at most ONCE_GROUP_MAX; waiters: one a key,
 * over comes from the loop after this returns. NOMEM, CANCELLED. */
TL_MUSTCHECK enum tl_status tl_once_begin(struct tl_scheduler *, struct once_source *source,
                                          const struct tl_cache_key *keys, const int64_t *min_ms, size_t n,
                                          struct once_waiter *const *waiters);
void tl_once_leave(struct once_waiter *); /* no-op when it does not wait */

/* What was made under a lease of `owner` (instance:nonce:), wherever it was granted: one key, handed in as it is. token
 * 0: without Redis. The waiter's over comes from the loop. NOMEM: nothing was taken but `made`; the source is the
 * caller's. */
struct once_hand_in {
    struct once_source *source; /* [own] */
    struct once_waiter *waiter;
    const struct tl_cache_key *key;
    const char *owner;
    uint64_t token, generation;
    struct tl_entry *made;  /* [take] */
    enum tl_status failure; /* instead of made */
    const char *why;
};
TL_MUSTCHECK enum tl_status tl_once_hand_in(struct tl_scheduler *, const struct once_hand_in *);

/* OK: every key is looked up; those that were found were told by tl_once_found. Otherwise all of them failed. */
void tl_once_checked(struct once_group *, enum tl_status, const char *why);
/* A WANTED key is in memory or the store. entry: [borrow] or NULL. */
void tl_once_found(struct once_key *, struct tl_entry *, enum tl_tier_id);
void tl_once_value(struct once_key *, struct tl_entry *entry /* [take] */, bool found);
void tl_once_failed(struct once_key *, enum tl_status, const char *why);
void tl_once_made(struct once_group *);

void tl_once_land(struct once_key *, const struct once_result *);
void tl_once_step(struct once_group *);
void tl_once_step_soon(struct once_group *);
void tl_once_end_all(struct tl_scheduler *);
void tl_once_joined(struct tl_scheduler *, bool joined);

/* ---- alone.c ---- */
void tl_once_wait_for_lent(struct once_group *); /* also when there is a Redis again */
void tl_once_grant_alone(struct once_group *);
void tl_once_land_made_alone(struct once_group *);

/* ---- acquire.c, commit.c, exchange.c ---- */
bool tl_once_is_shared_failure(enum tl_status); /* others hear of it */
/* What was lent without a Redis has come back: who waits for it here gets it, or (NULL) asks anew. */
void tl_once_came_back(struct tl_scheduler *, const struct tl_cache_key *, struct tl_entry *made);
void tl_once_acquire(struct once_group *);
void tl_once_commit(struct once_group *);
void tl_once_hold(struct once_group *);
void tl_once_part(struct once_group *); /* gives back what may be leased, without waiting for it */
void tl_once_message(struct tl_scheduler *, struct tl_str payload);
void tl_once_forget(struct once_group *); /* what comes for an ended group is not for it any more */

/* ---- scheduler.c ---- */
uint64_t tl_once_now_ns(const struct tl_scheduler *);
bool tl_once_has_redis(const struct tl_scheduler *);
/* [ref] A general value that is fresh, and was put at min_ms or later; NULL: memory has none. */
struct tl_entry *tl_once_in_memory(const struct tl_scheduler *, const struct tl_cache_key *, int64_t min_ms);
/* Remembers a failure for this process alone; forgets it with TL_OK. */
void tl_once_note_failure(struct tl_scheduler *, const struct once_key *, enum tl_status, const char *why);
/* Fills in failure and why of the key; false: none that counts. */
bool tl_once_known_failure(struct tl_scheduler *, struct once_key *);
void tl_once_ended(struct tl_scheduler *); /* perhaps the last thing that closing waits for */

/* A source's work beyond its group: closing waits for it. */
void tl_once_work_begins(struct tl_scheduler *);
void tl_once_work_ended(struct tl_scheduler *);

/* ---- compute.c ---- */
/* A general value that was made here, to the tiers that COMMIT has not given it to. */
void tl_once_keep_general(struct tl_cache *, const struct once_key *, struct tl_entry *, enum tl_tier_id from,
                          bool degraded);
void tl_computings_end(struct tl_scheduler *);

#endif
