/* SPDX-License-Identifier: Apache-2.0 */
/* Leases: locks across processes and machines, through one Redis. A lease ends by itself when its holder dies; it has a
 * fencing token that only ever rises, so that whatever a late holder still writes can be told from the newer one's.
 *
 * On the caller's libuv loop. Every call belongs to the loop's thread and is asynchronous: when it returned TL_OK its
 * callback runs exactly once, on that thread, after the call has returned; otherwise never. A callback may call
 * anything, also tl_locks_close. */
#ifndef TIERLINE_LOCK_H
#define TIERLINE_LOCK_H

#include <tierline/status.h>

#ifdef __cplusplus
extern "C" {
#endif

struct uv_loop_s;
struct tl_locks;

struct tl_locks_options {
    const char *redis_url;     /* redis://[user:password@]host[:port][/db] and the like; needed */
    const char *prefix;        /* before every key and channel; NULL: "tierline:" */
    uint32_t redis_timeout_ms; /* of one exchange with Redis; 0: 500 */
    int log_level;             /* 0 debug 1 info 2 warnings 3 errors, negative: no log. On standard error */
};
/* Begins to connect, which does not block. Errors: INVALID (URL, prefix), UNSUPPORTED, NOMEM, IO. */
TL_MUSTCHECK TL_API enum tl_status tl_locks_open(struct uv_loop_s *, const struct tl_locks_options *,
                                                 struct tl_locks **out, struct tl_err *err);
/* Ends every wait with CANCELLED, gives every held lease back (on_lost is not called), calls cb, frees. Idempotent. */
TL_API void tl_locks_close(struct tl_locks *, void (*cb)(void *ctx), void *ctx);

enum { TL_LEASE_NAME_MAX = 200, TL_LEASE_TTL_MIN_MS = 100, TL_LEASE_TTL_MAX_MS = 600000 };

struct tl_lease {
    /* in; zero-initialise */
    uint32_t ttl_ms;  /* how long it outlives its holder; 0: 5000 */
    uint64_t wait_ms; /* how long to wait while another holds it; 0: not at all */
    /* Asked each third of ttl_ms (+-10 %) before the lease is renewed: false: it is not, so that one who is stuck loses
     * it. NULL: always renewed. */
    bool (*in_progress)(struct tl_lease *);
    /* At most once, never before acquire's cb nor after release: the lease is not held any more, or can no longer be
     * known to be. Nothing needs to be released then. */
    void (*on_lost)(struct tl_lease *, const struct tl_err *why);
    void *user;
    /* out */
    uint64_t token; /* of OK: higher than of any lease of this name before */
    struct tl_err err;
    /* the library's */
    void *state;
};
typedef void tl_lease_cb(struct tl_lease *, enum tl_status status);

/* lease [pinned] until cb came without OK, on_lost, or release's cb. name: 1 to TL_LEASE_NAME_MAX bytes. cb: OK: held.
 * BUSY: another holds it (wait_ms 0). TIMEOUT: another held it for wait_ms. IO: Redis could not be asked. CANCELLED. */
TL_MUSTCHECK TL_API enum tl_status tl_lease_acquire(struct tl_locks *, struct tl_lease *lease, const char *name,
                                                    tl_lease_cb *cb, struct tl_err *err);
/* Ends a wait: cb comes with CANCELLED. No-op otherwise. */
TL_API void tl_lease_cancel(struct tl_lease *);
/* Renews now, whatever in_progress would say. No-op when it is not held. */
TL_API void tl_lease_renew(struct tl_lease *);
/* How long it is held for certain, in ms; 0: not. */
TL_API uint64_t tl_lease_left_ms(const struct tl_lease *);
/* cb: OK. LOCK_LOST: it was not held any more. IO, TIMEOUT: it may be held until ttl_ms have passed. Returns LOCK_LOST
 * when it is known not to be held. */
TL_MUSTCHECK TL_API enum tl_status tl_lease_release(struct tl_lease *lease, tl_lease_cb *cb, struct tl_err *err);

/* Held leases can change hands: owner names the holder as it stands in Redis, "instance:nonce". Another process, or
 * this one later, takes the lease up by name, owner and token; whoever hands it over forgets it, or both hold it. */
enum { TL_LEASE_OWNER_MAX = 40 };
/* "" when it is not held. */
TL_API void tl_lease_owner(const struct tl_lease *, char out[TL_LEASE_OWNER_MAX]);
/* It stays held, by nobody here: cb and on_lost do not come any more. No-op when it is not held. */
TL_API void tl_lease_forget(struct tl_lease *);
/* Renews it for lease->ttl_ms, and holds it. lease as in acquire (wait_ms is not used), token in. cb: OK: held.
 * LOCK_LOST: it is not the owner's any more. IO, TIMEOUT: Redis could not be asked. CANCELLED. Returns INVALID (name,
 * owner, ttl). */
TL_MUSTCHECK TL_API enum tl_status tl_lease_resume(struct tl_locks *, struct tl_lease *lease, const char *name,
                                                   const char *owner, tl_lease_cb *cb, struct tl_err *err);

struct tl_lease_info {
    char name[TL_LEASE_NAME_MAX + 1];
    char holder[17]; /* instance, 16 hex digits */
    uint64_t token;
    uint64_t left_ms;
    bool computation; /* who makes the value of a key holds it; name: the key, without its braces. Not to be acquired */
};
struct tl_locks_list {
    void *user;
    struct tl_lease_info *items; /* out [borrow: until cb returns] sorted by name */
    size_t n;
    struct tl_err err;
    void *state;
};
typedef void tl_locks_list_cb(struct tl_locks_list *, enum tl_status status);
/* Every lease held now. Walks Redis' keys: for people, not for programs. op [pinned] until cb. */
TL_MUSTCHECK TL_API enum tl_status tl_locks_list(struct tl_locks *, struct tl_locks_list *op, uint64_t deadline_ms,
                                                 tl_locks_list_cb *cb, struct tl_err *err);

#ifdef __cplusplus
}
#endif
#endif
