/* SPDX-License-Identifier: Apache-2.0 */
/* Between reads (get.c) and what they wait for (flight.c). A waiter is one key of one read. */
#ifndef TL_CACHE_FLIGHT_H
#define TL_CACHE_FLIGHT_H

#include "cache/cache.h"

struct flight;

struct waiter {
    struct tl_get_state *state;
    struct flight *flight;      /* NULL: not waiting */
    struct waiter *prev, *next; /* in the flight */
    struct tl_entry *stale;     /* [own] what may be handed out at the soft deadline */
    enum tl_tier_id stale_from;
};

struct tl_get_state {
    struct tl_cache *cache;
    struct tl_get *op;
    tl_get_cb *cb;
    struct tl_alarm deadline, soft;
    struct tl_soon done;
    struct tl_get_state *prev, *next; /* in cache->gets */
    size_t waiting;
    size_t n;
    struct waiter waiters[];
};

struct tl_load {
    struct flight *flight;
};

struct flight {
    struct tl_cache *cache;
    struct tl_cache_key key;
    struct waiter *waiters;
    struct tl_version min;
    int64_t max_age_ms;       /* the strictest of those who wait; 0: any */
    bool has_min, only_store; /* only_store: memory and Redis were not good enough */
    bool tainted;             /* another value was put meanwhile: an older one than it is not kept */
    struct tl_stamp taint;
    bool shared;            /* in cache->flights */
    bool trouble;           /* a tier could not be asked */
    struct tl_entry *stale; /* [own] the best that was found */
    enum tl_tier_id stale_from;
    tl_load_fn *load_fn;
    void *load_ctx;
    struct tl_load load;
    unsigned loads;
    uint64_t generation; /* newest one known when the load began */
};

/* The entry as an answer now; MISSING: it is none. min: series below this version are not fresh (NULL: any). */
enum tl_freshness tl_flight_judge(struct tl_cache *, struct tl_entry *, enum tl_tier_id from, int64_t max_age_ms,
                                  const struct tl_version *min);
/* Joins or starts the flight of one key; a started one is added to `starting`. waits: the waiter is not answered yet.
 */
void tl_flight_need(struct waiter *, const struct tl_cache_key *, const struct tl_version *min, bool waits,
                    struct flight **starting, size_t *n);
/* Down the first tier below memory that may be asked. Reorders the list. */
void tl_flights_start(struct tl_cache *, struct flight **, size_t n);
void tl_flight_leave(struct waiter *); /* no-op when it does not wait */

/* ---- get.c ---- */
/* Leaves its flight. entry: NULL with a status that is not OK. Does not take the reference. */
void tl_get_answer(struct waiter *, enum tl_status, struct tl_entry *, enum tl_freshness, enum tl_tier_id source);
/* Behind answers: ends the read once nothing of it waits. */
void tl_get_check(struct tl_get_state *);

#endif
