/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the leases. locks.c owns the connections and who waits for which name; lease.c one lease.
 *
 *   lock:{NAME}   instance:nonce:token, expires with the lease
 *   fence:{NAME}  the last token given out; stays
 *   wait:{NAME}   sorted set of the owners who wait, first come first; 60 s
 *   channel:calc:done  lease.released.v1
 */
#ifndef TL_LOCK_LOCKS_H
#define TL_LOCK_LOCKS_H

#include "base/map.h"
#include "base/rng.h"
#include "redis/redis.h"
#include <tierline/lock.h>

enum tl_lock_script { TL_LOCK_ACQUIRE, TL_LOCK_RENEW, TL_LOCK_RELEASE, TL_LOCK_SCRIPTS };
extern const struct tl_redis_script tl_lock_scripts[TL_LOCK_SCRIPTS];

enum { TL_LOCK_KEY_MAX = 64 + 8 + 3 * TL_LEASE_NAME_MAX, TL_LOCK_ASK_AGAIN_MS = 2000, LEASE_OWNER_MAX = 64 };

enum lease_phase {
    LEASE_QUEUED,  /* others of this process wait for the name before it */
    LEASE_ASKING,  /* ACQUIRE is under way */
    LEASE_WAITING, /* another holds it: a message or an alarm comes */
    LEASE_HELD,
    LEASE_RELEASING,
    LEASE_OVER /* cancelled: its cb is to come */
};

/* Who waits for a name here, first come first; only the first asks Redis. */
struct lease_queue {
    struct lease *first, *last;
    char name[TL_LEASE_NAME_MAX + 1];
};

struct lease {
    struct tl_locks *locks;
    struct tl_lease *op;
    tl_lease_cb *cb;
    enum lease_phase phase;
    struct lease_queue *queue; /* while it waits; NULL: it does not (wait_ms 0) */
    struct lease *prev, *next; /* in the queue */
    struct lease *prev_all, *next_all;
    char keys[3][TL_LOCK_KEY_MAX], ttl[16];
    char owner[LEASE_OWNER_MAX]; /* instance:nonce; of one that is taken up, :token behind it */
    bool resumes;                /* was granted to another, who has it until this one is told so */
    struct tl_alarm deadline, again, renewal, expiry;
    struct tl_soon soon;
    enum tl_status soon_status;
    struct tl_redis_cmd cmd; /* ACQUIRE, RENEW or RELEASE; one at a time */
    struct tl_str argv[6];
    bool cmd_open, renew_again, woken;
    uint64_t asked_ns; /* when the command under way was sent: what it grants is counted from there */
    uint64_t until_ns; /* HELD: for certain until then */
    uint64_t left_ms;  /* what BUSY said last */
};

struct tl_locks {
    const struct tl_clock *clock;
    struct tl_log log;
    char prefix[65], channel[96];
    const char *channels[1];
    uint64_t instance, nonce;
    char instance_text[24]; /* 16 hex digits and a colon: what every owner begins with */
    struct tl_rng rng;
    uint32_t timeout_ms;
    struct tl_alarms *alarms;
    struct tl_redis *redis;
    struct tl_redis_sub *sub;
    bool redis_up, told;   /* told: the first connection came or failed */
    struct tl_map *queues; /* name -> struct lease_queue */
    struct lease *leases;  /* all */
    size_t partings;       /* RELEASEs that nobody waits for */
    size_t n_ops;          /* leases whose end is to be told */
    bool closing, ending, parts_closed;
    unsigned open_parts;
    struct tl_soon close_soon;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

uint64_t tl_locks_now_ns(const struct tl_locks *);
/* "prefix" "kind" "{NAME}", the name percent-encoded. */
void tl_locks_key(const struct tl_locks *, const char *kind, const char *name, char out[TL_LOCK_KEY_MAX]);

/* ---- lease.c ---- */
void tl_lease_wake(struct lease *); /* it may be free now */
void tl_lease_end_all(struct tl_locks *);
/* The first connection failed: those that do not wait end. */
void tl_lease_redis_failed(struct tl_locks *, const struct tl_err *why);

/* ---- part.c ---- */
/* RELEASE, or withdrawal from those who wait. */
void tl_lease_part(struct lease *);

/* ---- locks.c ---- */
void tl_locks_parted(struct tl_locks *); /* one of partings has ended */
void tl_locks_ended(struct tl_locks *);  /* perhaps the last thing that closing waits for */

#endif
