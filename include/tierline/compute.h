/* SPDX-License-Identifier: Apache-2.0 */
/* Computing once: whoever needs a value asks for it, one process of all on a Redis prefix makes it, the others get it.
 * Without a Redis, or while it is gone, one of each process makes it.
 *
 * What is promised: one visible result for a key at a time, and no more than 1 + leases lost + losses of Redis' data
 * computations of it while Redis can be reached. Not: exactly once.
 *
 * On the cache's loop. Every call but those of a tl_make_fn belongs to the loop's thread and is asynchronous: when it
 * returned TL_OK its callback runs exactly once, on that thread, after the call has returned; otherwise never. A
 * callback may call anything, also tl_scheduler_close. */
#ifndef TIERLINE_COMPUTE_H
#define TIERLINE_COMPUTE_H

#include <tierline/cache.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tl_scheduler;
struct tl_scheduler_options {
    unsigned workers;  /* threads that make values; 0: one a core; at most 256 */
    uint32_t lease_ms; /* how long others wait for a process that died: 100 to 600000; 0: 5000 */
};
/* One a cache. Errors: INVALID, CONFLICT (the cache has one), NOMEM, IO. */
TL_MUSTCHECK TL_API enum tl_status tl_scheduler_open(struct tl_cache *, const struct tl_scheduler_options *,
                                                     struct tl_scheduler **out, struct tl_err *err);
/* Before the cache is closed. Ends every op with CANCELLED, waits for functions that are running, gives leases back,
 * calls cb, frees. Idempotent: only the first cb is called. */
TL_API void tl_scheduler_close(struct tl_scheduler *, void (*cb)(void *ctx), void *ctx);

/* Of keys, in this process. */
struct tl_scheduler_stats {
    uint64_t computed;                    /* made here, and visible */
    uint64_t from_cache;                  /* found: in memory, Redis or the store */
    uint64_t waited;                      /* made by another process meanwhile */
    uint64_t taken_over;                  /* of computed: after the process that had the lease vanished */
    uint64_t duplicated;                  /* made here, and thrown away: another's was there */
    uint64_t failed;                      /* here, or shared by another */
    uint64_t degraded;                    /* of computed: without the Redis that is configured */
    uint64_t fenced;                      /* handed in after the lease was lost */
    uint64_t superseded;                  /* handed in after the data changed */
    uint64_t acquires, commits, renewals; /* exchanges with Redis */
    uint64_t lent;                        /* to callers outside the process */
};
TL_API void tl_scheduler_stats(const struct tl_scheduler *, struct tl_scheduler_stats *out);

/* ---- any value ---- */

struct tl_making; /* a value being made */
/* Makes the value of key. On a thread of the scheduler, for one key at a time in this process, and never for a key that
 * another process is making, unless this one's lease was lost. Returns OK after tl_making_value, or what tl_making_fail
 * returned. ctx must outlive the scheduler: the function may be called after the op that brought it has ended. */
typedef enum tl_status tl_make_fn(void *ctx, const struct tl_key *key, struct tl_making *);
/* The value, copied; ttl may be NULL. NOMEM, TOO_LARGE (8 MiB). */
TL_MUSTCHECK TL_API enum tl_status tl_making_value(struct tl_making *, const void *bytes, size_t n,
                                                   const struct tl_ttl *ttl);
/* Returns status, which is not OK. Everybody who waits gets it with the reason, and it is tried again after a time by
 * its kind: INVALID and the like after a day, others after 0.5 s, 1 s, 2 s, ... up to a minute. */
TL_MUSTCHECK TL_API enum tl_status tl_making_fail(struct tl_making *, enum tl_status status, const char *why);
/* It goes on: the lease is renewed as long as this is called within stall_ms. false: the lease is lost, or nobody wants
 * the value any more: what is made now will be thrown away. */
TL_API bool tl_making_progress(struct tl_making *);
/* Higher than that of any earlier holder of this key's lease; 0: without a Redis. For writes to systems of your own. */
TL_API uint64_t tl_making_token(const struct tl_making *);

struct tl_compute {
    /* in; zero-initialise */
    tl_make_fn *make;
    void *ctx;
    int64_t max_age_ms; /* a value put longer ago is made anew; 0: as long as it is fresh */
    uint64_t soft_ms;   /* after this time an outdated value is handed out if memory or Redis has one; 0: never */
    uint32_t lease_ms;  /* 100 to 600000; 0: the scheduler's */
    uint64_t stall_ms;  /* the lease is not renewed when the function shows no progress for that long; 0: 30 s */
    void *user;
    /* out */
    enum tl_freshness freshness;
    enum tl_tier_id source; /* SOURCE: made here */
    int64_t age_ms;
    struct tl_value *value; /* [own: unref it] of OK; NULL otherwise */
    bool waited, taken_over;
    uint64_t token; /* of making it, when it was made here */
    struct tl_err err;
    /* the scheduler's */
    void *state;
};
typedef void tl_compute_cb(struct tl_compute *op, enum tl_status status);
/* Gets the value of key, or has it made. op [pinned] until cb. deadline_ms: from now; then TIMEOUT, while the work goes
 * on. OK, TIMEOUT, CANCELLED, or the failure of whoever made it. Returns INVALID (the key, lease_ms), NOMEM, CANCELLED
 * (closing). */
TL_MUSTCHECK TL_API enum tl_status tl_compute(struct tl_scheduler *, struct tl_compute *op, const struct tl_key *key,
                                              uint64_t deadline_ms, tl_compute_cb *cb, struct tl_err *err);
/* cb comes with CANCELLED; what others wait for goes on. No-op once cb has run. */
TL_API void tl_compute_cancel(struct tl_compute *op);

#ifdef __cplusplus
}
#endif
#endif
