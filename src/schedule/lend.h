/* SPDX-License-Identifier: Apache-2.0 */
/* Computing once for callers outside this process: whoever asks first is lent the key and makes the value himself, in
 * whatever language; others wait for it here. The lease is told as a text, which any process on the prefix takes back:
 * the value is handed in by it, also through another process, and after the one that lent it has ended. Without a Redis
 * the keys that are lent are this process' own. Loop thread. */
#ifndef TL_SCHEDULE_LEND_H
#define TL_SCHEDULE_LEND_H

#include "schedule/once.h"

enum { TL_LEND_TEXT_MAX = 96, TL_LEND_MIN_MS = 100, TL_LEND_MAX_MS = 600000 };

/* [pinned] until cb. */
struct tl_lend {
    /* in; zero-initialise */
    uint32_t lease_ms;  /* how long others wait for the caller; 0: 30000 */
    int64_t max_age_ms; /* a value put longer ago is made anew; 0: as long as it is fresh */
    uint64_t wait_ms;   /* for one whom it is lent to; 0: not at all */
    /* once, from the loop, after tl_lend returned: OK: value, or (lease not empty) the key is lent to the caller. BUSY:
     * it is lent to another, for left_ms at most. CANCELLED; the failure of whoever made it (shared) */
    void (*cb)(struct tl_lend *, enum tl_status);
    void *user;
    /* out */
    struct tl_value *value; /* [own] */
    enum tl_freshness freshness;
    enum tl_tier_id source;
    int64_t age_ms;
    char lease[TL_LEND_TEXT_MAX];
    uint64_t token; /* higher than of any lease of the key before; 0: without a Redis */
    bool taken_over, waited;
    int64_t left_ms;
    struct tl_err err;
    void *state; /* the scheduler's */
};
/* INVALID (key, lease_ms), NOMEM, CANCELLED (closing). */
TL_MUSTCHECK enum tl_status tl_lend(struct tl_scheduler *, struct tl_lend *, const struct tl_key *, struct tl_err *err);
/* cb comes with CANCELLED. No-op once cb has run. What was lent already stays lent. */
void tl_lend_cancel(struct tl_lend *);

/* What becomes of a lease. [pinned] until cb, once, from the loop. */
struct tl_lend_end {
    void (*cb)(struct tl_lend_end *, enum tl_status); /* OK; LOCK_LOST: the lease is not the caller's any more, nothing
                                                       * was written; CONFLICT: it was invalidated meanwhile, or a newer
                                                       * value is there; IO, TIMEOUT: Redis is away, it is not known,
                                                       * and may be tried again; CANCELLED: the same, elsewhere */
    void *user;
    struct tl_err err;
    void *state;
};
/* The value: visible to all, who waits gets it. Bytes are copied. INVALID (lease), TOO_LARGE, NOMEM, CANCELLED. */
TL_MUSTCHECK enum tl_status tl_lend_value(struct tl_scheduler *, struct tl_lend_end *, const struct tl_key *,
                                          const char *lease, const void *bytes, size_t n, const struct tl_ttl *,
                                          struct tl_err *err);
/* It could not be made: shared with the reason, and tried again after a time by its kind. CANCELLED: the lease is given
 * back without a word, and another may try. */
TL_MUSTCHECK enum tl_status tl_lend_fail(struct tl_scheduler *, struct tl_lend_end *, const struct tl_key *,
                                         const char *lease, enum tl_status status, const char *why, struct tl_err *err);
/* For lease_ms from now. */
TL_MUSTCHECK enum tl_status tl_lend_renew(struct tl_scheduler *, struct tl_lend_end *, const struct tl_key *,
                                          const char *lease, uint32_t lease_ms, struct tl_err *err);

/* For how long the key is lent to somebody without a Redis; 0: it is not. */
int64_t tl_lent_left_ms(struct tl_scheduler *, const struct tl_cache_key *);
/* The same of a lease that Redis granted through this process, for when Redis cannot be asked. It may have come back
 * through another. */
int64_t tl_lent_shared_left_ms(struct tl_scheduler *, const struct tl_cache_key *);
void tl_lends_end(struct tl_scheduler *); /* of closing */
void tl_lends_free(struct tl_scheduler *);

#endif
