/* SPDX-License-Identifier: Apache-2.0 */
/* The cache for programs without an event loop (scripts, other languages by FFI): each call blocks its caller until the
 * operation has ended or its deadline has passed. The loop runs on a thread of its own; calls may come from any thread,
 * many at a time. A program that has a libuv loop uses tierline/cache.h instead: there nothing blocks. */
#ifndef TIERLINE_BLOCKING_H
#define TIERLINE_BLOCKING_H

#include <tierline/cache.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tl_blocking;

/* Returns once every tier is in use or known not to be (at most ready_ms). *redis (may be NULL): OK, or why Redis is
 * not used; a Redis that cannot be reached is no error. Errors: those of tl_cache_open, CONFLICT (the Redis prefix
 * belongs to another store). */
TL_MUSTCHECK TL_API enum tl_status tl_blocking_open(const struct tl_cache_options *, uint64_t ready_ms,
                                                    struct tl_blocking **out, struct tl_err *redis, struct tl_err *err);
/* Writes what is queued, frees. No call may be under way. NULL is fine. */
TL_API void tl_blocking_close(struct tl_blocking *);

/* As tl_cache_get_many. The result is that of the op; each item has its own. */
TL_MUSTCHECK TL_API enum tl_status tl_blocking_get(struct tl_blocking *, struct tl_get_item *items, size_t n,
                                                   int64_t max_age_ms, uint64_t deadline_ms, struct tl_err *err);
/* As tl_cache_put_many. */
TL_MUSTCHECK TL_API enum tl_status tl_blocking_put(struct tl_blocking *, struct tl_put_item *items, size_t n,
                                                   enum tl_tier_id wait, uint64_t deadline_ms, struct tl_err *err);
TL_MUSTCHECK TL_API enum tl_status tl_blocking_invalidate(struct tl_blocking *, enum tl_scope, const struct tl_key *,
                                                          uint64_t deadline_ms, struct tl_err *err);
TL_API void tl_blocking_stats(struct tl_blocking *, struct tl_cache_stats *);

#ifdef __cplusplus
}
#endif
#endif
