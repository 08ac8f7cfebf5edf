/* SPDX-License-Identifier: Apache-2.0 */
/* The memory tier: shards, each behind its locks, and one budget of bytes for all of them. Bytes are taken from the
 * budget before anything is kept, so the bound holds at every moment; room is made in the putting shard first, then in
 * the others. No call holds two locks, and entries are freed outside of them. The hit ratio that a shard does not know
 * of the others costs is measured against one queue for all (bench_memory). Values are never read here. */
#include "cache/memory.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/util.h"
#include "cache/shard.h"

enum {
    DEFAULT_SHARDS = 64,
    MIN_CAP = 64 * 1024,
    MIN_SHARE = 1 << 20, /* of a shard, when there are several */
    TABLES_BYTES = 4096, /* what an empty shard needs to begin with, and how often it is tried */
    MAX_TRIES = 8,
    BATCH = 64,     /* entries taken out under one lock */
    TICK_SHIFT = 4, /* a tick is 16 ms */
    LEVELS = 2 * (TL_SHARD_USES_MAX + 1)
};

struct tl_memory {
    const struct tl_clock *clock;
    size_t share_bytes; /* what a shard may hold before it alone has to make room for its puts */
    unsigned n_shards;
    struct tl_shard *shards;
    _Alignas(64) struct tl_budget budget; /* apart from what every get reads */
    _Atomic unsigned expire_at;           /* shard where the next sweep begins */
};

static struct tl_shard *shard_of(const struct tl_memory *m, uint64_t hash)
{
    return &m->shards[(hash >> 48) & (m->n_shards - 1)];
}

static void unref_all(struct tl_entry **entries, size_t n)
{
    for (size_t i = 0; i < n; i++) tl_entry_unref(entries[i]);
}

/* ---- time ---- */

static uint32_t tick_now(const struct tl_memory *m)
{
    return (uint32_t)(tl_clock_wall_ms(m->clock) >> TICK_SHIFT) & TL_TICK_NEVER;
}

/* Rounded up, past the one that means never; at most half of all ticks ahead: what is further cannot be told from the
 * past. */
static uint32_t tick_of(const struct tl_memory *m, int64_t expires_ms)
{
    if (expires_ms == INT64_MAX) return TL_TICK_NEVER;
    int64_t now = tl_clock_wall_ms(m->clock), ahead = (int64_t)(TL_TICK_NEVER / 2 - 1) << TICK_SHIFT;
    if (expires_ms <= now) return tick_now(m) == TL_TICK_NEVER ? TL_TICK_NEVER - 1 : tick_now(m);
    int64_t ms = expires_ms - now > ahead ? now + ahead : expires_ms;
    uint32_t tick = (uint32_t)((ms + (1 << TICK_SHIFT) - 1) >> TICK_SHIFT) & TL_TICK_NEVER;
    return tick == TL_TICK_NEVER ? 0 : tick;
}

/* Asks for the time only when it matters. */
static bool is_expired(const struct tl_memory *m, const struct tl_node *n)
{
    uint32_t expires = tl_node_expires(n);
    return expires != TL_TICK_NEVER && tl_tick_due(expires, tick_now(m));
}

/* ---- putting ---- */

/* Takes bytes from the budget, evicting from `own` while it holds more than its share, then from all in turn. No lock
 * is held. */
static bool make_room(struct tl_memory *m, const struct tl_shard *own, size_t bytes)
{
    unsigned at = (unsigned)(own - m->shards), empty = 0;
    while (!tl_budget_take(&m->budget, bytes)) {
        struct tl_shard *s = &m->shards[at];
        tl_shard_lock(s);
        struct tl_entry *e = tl_shard_evict(s);
        bool rich = s->small.bytes + s->main.bytes > m->share_bytes;
        tl_shard_unlock(s);
        empty = e ? 0 : empty + 1;
        tl_entry_unref(e);
        if (empty > m->n_shards) return false; /* tables alone fill it */
        if (!rich) at = (at + 1) & (m->n_shards - 1);
    }
    return true;
}

enum outcome { DONE, OLDER, NEEDS_BYTES, NEEDS_TABLES };

/* `taken`: its bytes are out of the budget already; with DONE they are the tier's. *gone: what it took the place of. */
static enum outcome put_locked(struct tl_memory *m, struct tl_shard *s, uint64_t hash, struct tl_entry *e,
                               uint32_t expires, bool *taken, struct tl_entry **gone)
{
    uint32_t i = tl_shard_find(s, tl_entry_key(e), hash);
    size_t bytes = tl_shard_entry_bytes(e), before = 0;
    if (i != TL_NO_NODE) {
        struct tl_node *n = tl_shard_node(s, i);
        if (tl_entry_cmp(tl_node_entry(n), e) > 0 && !is_expired(m, n)) return OLDER;
        before = tl_shard_entry_bytes(tl_node_entry(n));
    }
    if (!*taken && bytes > before && !tl_budget_take(&m->budget, bytes - before)) return NEEDS_BYTES;
    size_t spare = *taken ? before : before - TL_MIN(before, bytes);
    *taken = true;
    if (i != TL_NO_NODE) {
        *gone = tl_shard_replace(s, i, e, expires);
        tl_budget_give(&m->budget, spare);
        s->replaced++;
    } else if (!tl_shard_insert(s, hash, e, expires)) {
        return NEEDS_TABLES;
    }
    s->puts++;
    return DONE;
}

bool tl_memory_put(struct tl_memory *m, struct tl_entry *e, int64_t expires_ms)
{
    struct tl_str key = tl_entry_key(e);
    uint64_t hash = tl_hash64(key.p, key.n);
    struct tl_shard *s = shard_of(m, hash);
    size_t bytes = tl_shard_entry_bytes(e);
    uint32_t expires = tick_of(m, expires_ms);
    unsigned tries = 0;
    bool taken = false, again = bytes <= m->budget.cap / 2;
    enum outcome result = NEEDS_BYTES;
    while (again) {
        struct tl_entry *gone = NULL;
        tl_shard_lock(s);
        result = put_locked(m, s, hash, e, expires, &taken, &gone);
        if (result == NEEDS_TABLES) gone = tl_shard_evict(s); /* leaves its node and cell to this one */
        tl_shard_unlock(s);
        again = result == NEEDS_TABLES && (gone || (tries++ < MAX_TRIES && make_room(m, s, TABLES_BYTES)));
        if (again && !gone) tl_budget_give(&m->budget, TABLES_BYTES);
        if (result == NEEDS_BYTES) taken = again = make_room(m, s, bytes);
        tl_entry_unref(gone);
    }
    if (result == DONE) return true;
    if (taken) tl_budget_give(&m->budget, bytes);
    tl_shard_lock(s);
    s->refused++;
    tl_shard_unlock(s);
    return false;
}

/* ---- getting and dropping ---- */

struct tl_entry *tl_memory_get(struct tl_memory *m, struct tl_str key)
{
    uint64_t hash = tl_hash64(key.p, key.n);
    struct tl_shard *s = shard_of(m, hash);
    struct tl_entry *e = NULL;
    struct tl_lane *lane = tl_shard_read(s);
    uint32_t i = tl_shard_find(s, key, hash);
    if (i != TL_NO_NODE && !is_expired(m, tl_shard_node(s, i))) { /* the expired stay for tl_memory_expire */
        tl_node_use(tl_shard_node(s, i));
        e = tl_entry_ref(tl_node_entry(tl_shard_node(s, i)));
    }
    lane->hits += e != NULL;
    lane->misses += e == NULL;
    pthread_mutex_unlock(&lane->lock);
    return e;
}

bool tl_memory_del(struct tl_memory *m, struct tl_str key, const struct tl_entry *older_than)
{
    uint64_t hash = tl_hash64(key.p, key.n);
    struct tl_shard *s = shard_of(m, hash);
    struct tl_entry *gone = NULL;
    tl_shard_lock(s);
    uint32_t i = tl_shard_find(s, key, hash);
    if (i != TL_NO_NODE && (!older_than || tl_entry_cmp(tl_node_entry(tl_shard_node(s, i)), older_than) < 0)) {
        gone = tl_shard_remove(s, i);
        s->deleted++;
    }
    tl_shard_unlock(s);
    bool dropped = gone != NULL;
    tl_entry_unref(gone);
    return dropped;
}

void tl_memory_clear(struct tl_memory *m)
{
    struct tl_entry *gone[BATCH];
    for (unsigned k = 0; k < m->n_shards; k++) {
        size_t n;
        do {
            tl_shard_lock(&m->shards[k]);
            n = tl_shard_drain(&m->shards[k], gone, BATCH);
            tl_shard_unlock(&m->shards[k]);
            unref_all(gone, n);
        } while (n == BATCH);
    }
}

size_t tl_memory_expire(struct tl_memory *m, size_t max)
{
    struct tl_entry *gone[BATCH];
    uint32_t now = tick_now(m);
    unsigned at = atomic_load_explicit(&m->expire_at, memory_order_relaxed);
    size_t found = 0;
    for (unsigned k = 0; k < m->n_shards && found < max;) {
        struct tl_shard *s = &m->shards[(at + k) & (m->n_shards - 1)];
        size_t want = TL_MIN(max - found, (size_t)BATCH);
        tl_shard_lock(s);
        size_t n = tl_shard_expire(s, now, gone, want);
        tl_shard_unlock(s);
        unref_all(gone, n);
        found += n;
        if (n < want)
            k++;
        else
            atomic_store_explicit(&m->expire_at, at + k, memory_order_relaxed);
    }
    return found;
}

/* ---- looking ---- */

/* By use counter; of those used alike, what earned its place in main before what is new. 0: none. */
static unsigned level_of(const struct tl_node *n, uint32_t now)
{
    if (tl_node_queue(n) == TL_QUEUE_FREE || tl_tick_due(tl_node_expires(n), now)) return 0;
    return 1u + 2u * tl_node_uses(n) + (tl_node_queue(n) == TL_QUEUE_MAIN);
}

static void count_levels(struct tl_memory *m, uint32_t now, size_t counts[LEVELS + 1])
{
    for (unsigned k = 0; k < m->n_shards; k++) {
        struct tl_shard *s = &m->shards[k];
        tl_shard_lock(s);
        for (uint32_t i = 0; i < s->n_chunks * TL_SHARD_CHUNK; i++) counts[level_of(tl_shard_node(s, i), now)]++;
        tl_shard_unlock(s);
    }
}

/* Every node is looked at once, so no entry comes twice. Each level has its part of out, in descending order; what came
 * to a level since the counting finds it full. */
size_t tl_memory_hottest(struct tl_memory *m, struct tl_entry **out, size_t max)
{
    size_t counts[LEVELS + 1] = {0}, at[LEVELS + 1] = {0}, end[LEVELS + 1] = {0}, total = 0, n = 0;
    uint32_t now = tick_now(m);
    count_levels(m, now, counts);
    for (unsigned level = LEVELS; level > 0; level--) {
        at[level] = total;
        total += TL_MIN(counts[level], max - total);
        end[level] = total;
    }
    for (size_t i = 0; i < total; i++) out[i] = NULL;
    for (unsigned k = 0; k < m->n_shards; k++) {
        struct tl_shard *s = &m->shards[k];
        tl_shard_lock(s);
        for (uint32_t i = 0; i < s->n_chunks * TL_SHARD_CHUNK; i++) {
            const struct tl_node *node = tl_shard_node(s, i);
            unsigned level = level_of(node, now);
            if (level && at[level] < end[level]) out[at[level]++] = tl_entry_ref(tl_node_entry(node));
        }
        tl_shard_unlock(s);
    }
    for (size_t i = 0; i < total; i++)
        if (out[i]) out[n++] = out[i];
    return n;
}

void tl_memory_stats(const struct tl_memory *m, struct tl_memory_stats *out)
{
    *out = (struct tl_memory_stats){.cap_bytes = m->budget.cap};
    for (unsigned k = 0; k < m->n_shards; k++) {
        struct tl_shard *s = &m->shards[k];
        tl_shard_lock(s);
        for (int i = 0; i < TL_SHARD_LANES; i++) {
            out->hits += s->lanes[i].hits;
            out->misses += s->lanes[i].misses;
        }
        out->puts += s->puts;
        out->replaced += s->replaced;
        out->refused += s->refused;
        out->evicted += s->evicted;
        out->expired += s->expired;
        out->deleted += s->deleted;
        out->entries += s->n;
        out->payload_bytes += s->payload_bytes;
        out->key_bytes += s->key_bytes;
        tl_shard_unlock(s);
    }
    out->bytes = atomic_load_explicit(&m->budget.bytes, memory_order_relaxed);
}

/* ---- beginning and end ---- */

static void *aligned(size_t n, size_t size)
{
    void *p = aligned_alloc(64, n * size);
    if (p) memset(p, 0, n * size);
    return p;
}

enum tl_status tl_memory_new(const struct tl_memory_options *opt, struct tl_memory **out, struct tl_err *err)
{
    if (opt->cap_bytes < MIN_CAP)
        return tl_fail(err, TL_INVALID, "a memory tier of %zu bytes: at least %d", opt->cap_bytes, MIN_CAP);
    unsigned n = opt->shards ? opt->shards : DEFAULT_SHARDS;
    TL_ASSERT((n & (n - 1)) == 0 && n <= 65536);
    while (n > 1 && opt->cap_bytes / n < MIN_SHARE) n /= 2;
    struct tl_memory *m = aligned(1, sizeof *m);
    if (m) m->shards = aligned(n, sizeof *m->shards);
    bool ok = m && m->shards;
    if (ok) {
        m->clock = opt->clock ? opt->clock : &tl_clock_system;
        m->share_bytes = opt->cap_bytes / n;
        m->budget.cap = opt->cap_bytes;
        atomic_init(&m->budget.bytes, sizeof *m + n * sizeof *m->shards + 2 * (64 + sizeof(size_t)));
    }
    while (ok && m->n_shards < n) ok = tl_shard_init(&m->shards[m->n_shards++], &m->budget);
    if (!ok) {
        tl_memory_free(m);
        return tl_fail(err, TL_NOMEM, "no memory for the memory tier");
    }
    *out = m;
    return TL_OK;
}

void tl_memory_free(struct tl_memory *m)
{
    if (!m) return;
    tl_memory_clear(m);
    for (unsigned i = 0; i < m->n_shards; i++) tl_shard_release(&m->shards[i]);
    free(m->shards);
    free(m);
}
