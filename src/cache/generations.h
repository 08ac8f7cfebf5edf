/* SPDX-License-Identifier: Apache-2.0 */
/* What was invalidated, and when: the newest generation of every scope. A value carries the newest generation that was
 * known before its source was read; it is valid while no scope that covers its key has a higher one. Any thread may
 * ask, the loop thread raises. */
#ifndef TL_CACHE_GENERATIONS_H
#define TL_CACHE_GENERATIONS_H

#include "cache/entry.h"

struct tl_generations;

struct tl_generations *tl_generations_new(void);
void tl_generations_free(struct tl_generations *);
/* The newest generation of all. */
uint64_t tl_generations_newest(const struct tl_generations *);
/* Raises a scope; lower numbers change nothing. NOMEM: then everything counts as invalidated up to it. */
void tl_generations_raise(struct tl_generations *, struct tl_str scope, uint64_t generation);
/* Raises the newest alone: the number was given out for a scope that is known already. */
void tl_generations_seen(struct tl_generations *, uint64_t generation);
/* Is the entry valid? from_redis: also ask the scope of all that lies in Redis. A valid one is marked with the newest
 * generation, so that asking again costs one comparison. */
bool tl_generations_valid(struct tl_generations *, struct tl_entry *, bool from_redis);
/* The lowest generation that a valid entry of this key may carry; from_redis as above. */
uint64_t tl_generations_needed(struct tl_generations *, struct tl_str key, bool from_redis);
/* Scopes above `since`, in no order. */
void tl_generations_each(struct tl_generations *, uint64_t since,
                         void (*cb)(void *ctx, struct tl_str scope, uint64_t generation), void *ctx);

#endif
