/* SPDX-License-Identifier: Apache-2.0 */
/* The map of scopes under a read-write lock, and its newest number as an atomic in front of it: as long as nothing was
 * invalidated since an entry was last looked at, the lock is not taken. An entry's generation only rises, and only
 * after it was found valid under the lock. */
#include "cache/generations.h"

#include "base/map.h"
#include "base/util.h"
#include "cache/key.h"

#include <pthread.h>
#include <stdio.h>

struct tl_generations {
    _Atomic uint64_t newest;
    pthread_rwlock_t lock; /* guards map and floor */
    struct tl_map *map;    /* scope -> generation, in a pointer */
    uint64_t floor;        /* what lies below is invalid whatever its key */
};

struct tl_generations *tl_generations_new(void)
{
    struct tl_generations *g = tl_calloc(1, sizeof *g);
    struct tl_map *map = g ? tl_map_new() : NULL;
    if (!map) {
        free(g);
        return NULL;
    }
    g->map = map;
    pthread_rwlock_init(&g->lock, NULL);
    return g;
}

void tl_generations_free(struct tl_generations *g)
{
    if (!g) return;
    tl_map_free(g->map);
    pthread_rwlock_destroy(&g->lock);
    free(g);
}

uint64_t tl_generations_newest(const struct tl_generations *g)
{
    return atomic_load_explicit(&g->newest, memory_order_acquire);
}

static void raise_newest(struct tl_generations *g, uint64_t generation)
{
    if (generation > atomic_load_explicit(&g->newest, memory_order_relaxed))
        atomic_store_explicit(&g->newest, generation, memory_order_release);
}

void tl_generations_raise(struct tl_generations *g, struct tl_str scope, uint64_t generation)
{
    pthread_rwlock_wrlock(&g->lock);
    void **slot = tl_str_eq(scope, TL_STR("a")) ? NULL : tl_map_put(g->map, scope, NULL);
    if (slot)
        *slot = (void *)(uintptr_t)TL_MAX((uint64_t)(uintptr_t)*slot, generation);
    else
        g->floor = TL_MAX(g->floor, generation);
    raise_newest(g, generation); /* inside: who sees the new number finds the scope raised */
    pthread_rwlock_unlock(&g->lock);
}

void tl_generations_seen(struct tl_generations *g, uint64_t generation)
{
    pthread_rwlock_wrlock(&g->lock);
    raise_newest(g, generation);
    pthread_rwlock_unlock(&g->lock);
}

static uint64_t of_scope(const struct tl_generations *g, const char *text, size_t n)
{
    void **slot = tl_map_get(g->map, (struct tl_str){text, n});
    return slot ? (uint64_t)(uintptr_t)*slot : 0;
}

/* The highest generation of all scopes that cover the key. */
static uint64_t of_key(const struct tl_generations *g, struct tl_str key)
{
    struct tl_key_parts p;
    char text[TL_SCOPE_MAX + 1];
    uint64_t highest = g->floor;
    if (tl_map_count(g->map) == 0 || !tl_cache_key_split(key, &p)) return highest;
    int n = snprintf(text, sizeof text, "k:%.*s", TL_STR_ARG(key));
    highest = TL_MAX(highest, of_scope(g, text, (size_t)n));
    n = snprintf(text, sizeof text, "s:%.*s", TL_STR_ARG(p.symbol));
    highest = TL_MAX(highest, of_scope(g, text, (size_t)n));
    n = snprintf(text, sizeof text, "t:%.*s", TL_STR_ARG(p.data_type));
    highest = TL_MAX(highest, of_scope(g, text, (size_t)n));
    n = snprintf(text, sizeof text, "g:%.*s:%.*s:%.*s", TL_STR_ARG(p.data_type), TL_STR_ARG(p.symbol),
                 TL_STR_ARG(p.timeframe));
    return TL_MAX(highest, of_scope(g, text, (size_t)n));
}

bool tl_generations_valid(struct tl_generations *g, struct tl_entry *e, bool from_redis)
{
    uint64_t stamped = atomic_load_explicit(&e->generation, memory_order_relaxed);
    if (stamped >= tl_generations_newest(g)) return true;
    pthread_rwlock_rdlock(&g->lock);
    uint64_t newest = tl_generations_newest(g);
    bool valid = stamped >= of_key(g, tl_entry_key(e)) && (!from_redis || stamped >= of_scope(g, "r", 1));
    pthread_rwlock_unlock(&g->lock);
    while (valid && stamped < newest &&
           !atomic_compare_exchange_weak_explicit(&e->generation, &stamped, newest, memory_order_relaxed,
                                                  memory_order_relaxed))
        continue;
    return valid;
}

uint64_t tl_generations_needed(struct tl_generations *g, struct tl_str key, bool from_redis)
{
    pthread_rwlock_rdlock(&g->lock);
    uint64_t needed = of_key(g, key);
    if (from_redis) needed = TL_MAX(needed, of_scope(g, "r", 1));
    pthread_rwlock_unlock(&g->lock);
    return needed;
}

void tl_generations_each(struct tl_generations *g, uint64_t since,
                         void (*cb)(void *ctx, struct tl_str scope, uint64_t generation), void *ctx)
{
    struct tl_str scope;
    void *value;
    pthread_rwlock_rdlock(&g->lock);
    if (g->floor > since) cb(ctx, TL_STR("a"), g->floor);
    for (size_t i = 0; tl_map_next(g->map, &i, &scope, &value);)
        if ((uint64_t)(uintptr_t)value > since) cb(ctx, scope, (uint64_t)(uintptr_t)value);
    pthread_rwlock_unlock(&g->lock);
}
