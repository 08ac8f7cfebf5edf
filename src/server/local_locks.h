/* SPDX-License-Identifier: Apache-2.0 */
/* Leases within one process, for a server without a Redis: the same promises as tierline/lock.h, for as long as this
 * process lives. Loop thread. */
#ifndef TL_SERVER_LOCAL_LOCKS_H
#define TL_SERVER_LOCAL_LOCKS_H

#include "aio/alarms.h"
#include "base/map.h"

#include <tierline/lock.h>

struct local_locks;

/* [pinned] until cb. */
struct local_wait {
    uint32_t ttl_ms;                                 /* in */
    uint64_t wait_ms;                                /* in; 0: not at all */
    void (*cb)(struct local_wait *, enum tl_status); /* OK: token; BUSY, TIMEOUT: left_ms; FULL, NOMEM, CANCELLED */
    void *user;
    uint64_t token, left_ms; /* out */
    /* the locks' */
    struct local_locks *locks;
    char name[TL_LEASE_NAME_MAX + 1];
    bool queued; /* it waits; otherwise cb is to come, or has come (locks NULL) */
    enum tl_status status;
    struct tl_alarm deadline;
    struct tl_soon soon;
    struct local_wait *prev, *next;
};

/* [own] NULL: memory is out. clock and alarms [borrow: until freed]. */
struct local_locks *local_locks_new(const struct tl_clock *, struct tl_alarms *);
/* Who waits, or was not told yet, is told CANCELLED at once. */
void local_locks_free(struct local_locks *);
/* cb once, from the loop, after this returns. name: 1 to TL_LEASE_NAME_MAX bytes. */
void local_locks_acquire(struct local_locks *, struct local_wait *, const char *name);
/* Ends a wait: cb comes with CANCELLED, unless it was granted already. No-op once cb has run. */
void local_locks_cancel(struct local_wait *);
/* false: it is not held under this token. */
bool local_locks_renew(struct local_locks *, const char *name, uint64_t token, uint32_t ttl_ms);
bool local_locks_release(struct local_locks *, const char *name, uint64_t token);
/* cb returns false to stop. */
void local_locks_each(struct local_locks *, bool (*cb)(void *ctx, const struct tl_lease_info *), void *ctx);

#endif
