/* SPDX-License-Identifier: Apache-2.0 */
/* The memory tier. A shard is a lock, a table of u32 (8 bits of hash, 24 of index), a slab of 20-byte nodes, two queues
 * and a ghost of fingerprints. Eviction is S3-FIFO (Yang et al., SOSP 2023): new keys enter the small queue (a tenth of
 * the bytes); from its end those used since move to main, the others leave and are remembered in the ghost; a key that
 * the ghost knows enters main at once; main's end is put back as long as it was used. The bound is of all shards
 * together: bytes are reserved before anything is kept, and room is made in the putting shard first, then in the others.
 * Expired entries are found by a hand that walks the slabs, so an expiry costs four bits short of four bytes and no list.
 * Invariants: a live node is in exactly one queue and in the table once; `bytes` never exceeds cap_bytes. */
#include "cache/memory.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/util.h"

#include <malloc.h>
#include <pthread.h>

enum { CHUNK = 256, USES_MAX = 3, TICK_MS = 250, INDEX_BITS = 24, GHOST_WAYS = 4, FIRST_TABLE = 64 };
#define NO_NODE    ((1u << INDEX_BITS) - 1)
#define TICK_NEVER ((1u << 28) - 1)

enum queue { QUEUE_FREE, QUEUE_SMALL, QUEUE_MAIN };

struct node {
    uint32_t entry_low, entry_high; /* struct tl_entry *; of a free node: nothing */
    uint32_t prev, next;            /* in its queue, oldest first; a free node: next free */
    uint32_t expires : 28;          /* ticks since the tier was made, rounded up */
    uint32_t uses : 2;
    uint32_t queue : 2;
};
_Static_assert(sizeof(struct node) == 20, "nodes are counted in the overhead");

struct fifo {
    uint32_t oldest, newest;
    size_t bytes;
};

struct shard {
    pthread_mutex_t lock;
    uint32_t *table; /* 0: empty; else tag << 24 | index + 1 */
    size_t n_table, n;
    struct node **chunks;
    size_t n_chunks;
    uint32_t free, hand;
    struct fifo small, main;
    uint32_t *ghost; /* fingerprint << 16 | time */
    size_t n_ghost;
    uint64_t ghost_time;
    struct tl_memory_stats stats; /* of counters; entries and bytes are kept apart */
    size_t payload_bytes, key_bytes;
};

struct tl_memory {
    const struct tl_clock *clock;
    int64_t born_ms;
    size_t cap_bytes, share_bytes; /* share: what a shard may hold before it is the one to make room */
    _Atomic size_t bytes;
    unsigned n_shards;
    struct shard *shards;
};

/* ---- nodes ---- */

static struct node *node_at(const struct shard *s, uint32_t i)
{
    return &s->chunks[i / CHUNK][i % CHUNK];
}

static struct tl_entry *entry_of(const struct node *n)
{
    return (struct tl_entry *)(uintptr_t)((uint64_t)n->entry_high << 32 | n->entry_low);
}

static void set_entry(struct node *n, struct tl_entry *e)
{
    n->entry_low = (uint32_t)(uintptr_t)e;
    n->entry_high = (uint32_t)((uint64_t)(uintptr_t)e >> 32);
}

static size_t entry_bytes(struct tl_entry *e)
{
    return malloc_usable_size(e) + sizeof(size_t);
}

static struct fifo *fifo_of(struct shard *s, const struct node *n)
{
    return n->queue == QUEUE_SMALL ? &s->small : &s->main;
}

static void fifo_push(struct shard *s, struct fifo *f, uint32_t i, enum queue queue)
{
    struct node *n = node_at(s, i);
    n->queue = queue;
    n->prev = f->newest;
    n->next = NO_NODE;
    if (f->newest == NO_NODE)
        f->oldest = i;
    else
        node_at(s, f->newest)->next = i;
    f->newest = i;
    f->bytes += entry_bytes(entry_of(n));
}

static void fifo_take(struct shard *s, uint32_t i)
{
    struct node *n = node_at(s, i);
    struct fifo *f = fifo_of(s, n);
    if (n->prev == NO_NODE)
        f->oldest = n->next;
    else
        node_at(s, n->prev)->next = n->next;
    if (n->next == NO_NODE)
        f->newest = n->prev;
    else
        node_at(s, n->next)->prev = n->prev;
    f->bytes -= entry_bytes(entry_of(n));
}

/* ---- the table ---- */

static uint64_t hash_of(struct tl_str key)
{
    return tl_hash64(key.p, key.n);
}

static struct shard *shard_of(const struct tl_memory *m, uint64_t hash)
{
    return &m->shards[(hash >> 48) & (m->n_shards - 1)];
}

static uint32_t cell_of(uint64_t hash, uint32_t i)
{
    return (uint32_t)(hash >> 40) << INDEX_BITS | (i + 1);
}

/* The cell of key, or the empty cell where it would go. */
static size_t find(const struct shard *s, struct tl_str key, uint64_t hash)
{
    size_t mask = s->n_table - 1, at = (size_t)hash & mask;
    uint32_t tag = cell_of(hash, 0) >> INDEX_BITS;
    for (; s->table[at]; at = (at + 1) & mask) {
        if (s->table[at] >> INDEX_BITS != tag) continue;
        const struct tl_entry *e = entry_of(node_at(s, (s->table[at] & NO_NODE) - 1));
        if (e->key_n == key.n && memcmp(e->bytes, key.p, key.n) == 0) break;
    }
    return at;
}

static uint64_t hash_in_cell(const struct shard *s, size_t at)
{
    return hash_of(tl_entry_key(entry_of(node_at(s, (s->table[at] & NO_NODE) - 1))));
}

/* Empties a cell by moving back what was pushed on by it. */
static void table_remove(struct shard *s, size_t hole)
{
    size_t mask = s->n_table - 1;
    for (size_t at = (hole + 1) & mask; s->table[at]; at = (at + 1) & mask) {
        size_t home = (size_t)hash_in_cell(s, at) & mask;
        if (((at - home) & mask) < ((at - hole) & mask)) continue;
        s->table[hole] = s->table[at];
        hole = at;
    }
    s->table[hole] = 0;
}

static bool reserve_bytes(struct tl_memory *m, size_t n)
{
    size_t have = atomic_load_explicit(&m->bytes, memory_order_relaxed);
    do
        if (n > m->cap_bytes || have > m->cap_bytes - n) return false;
    while (!atomic_compare_exchange_weak_explicit(&m->bytes, &have, have + n, memory_order_relaxed, memory_order_relaxed));
    return true;
}

static void release_bytes(struct tl_memory *m, size_t n)
{
    atomic_fetch_sub_explicit(&m->bytes, n, memory_order_relaxed);
}

/* ---- the ghost ---- */

static uint32_t *ghost_bucket(const struct shard *s, uint64_t hash)
{
    return &s->ghost[(hash >> 3) * GHOST_WAYS & (s->n_ghost - 1)];
}

/* Additions a tick: few enough ticks pass while the ghost holds a key for 16 bits to tell an age. Changes only when the
 * ghost is made anew. */
static uint64_t ghost_step(const struct shard *s)
{
    return TL_MAX(s->n_table / 4096, (size_t)1);
}

static uint64_t ghost_tick(const struct shard *s)
{
    return s->ghost_time / ghost_step(s);
}

static uint64_t ghost_age(const struct shard *s, uint32_t cell)
{
    return (ghost_tick(s) - (cell & 0xffff)) & 0xffff;
}

static void ghost_add(struct shard *s, uint64_t hash)
{
    if (!s->ghost) return;
    uint32_t *b = ghost_bucket(s, hash), *oldest = b;
    for (int i = 0; i < GHOST_WAYS; i++) {
        if (!b[i]) {
            oldest = &b[i];
            break;
        }
        if (ghost_age(s, b[i]) > ghost_age(s, *oldest)) oldest = &b[i];
    }
    *oldest = (uint32_t)(hash >> 32 | 1) << 16 | (uint32_t)(ghost_tick(s) & 0xffff);
    s->ghost_time++;
}

/* Takes the key out when it is there. */
static bool ghost_knows(struct shard *s, uint64_t hash)
{
    if (!s->ghost) return false;
    uint32_t *b = ghost_bucket(s, hash), fingerprint = (uint32_t)(hash >> 32 | 1) << 16;
    uint64_t capacity = s->n / ghost_step(s); /* as many as main holds */
    for (int i = 0; i < GHOST_WAYS; i++) {
        if ((b[i] & 0xffff0000) != fingerprint || !b[i]) continue;
        bool young = ghost_age(s, b[i]) <= capacity;
        b[i] = 0;
        if (young) return true;
    }
    return false;
}

/* ---- leaving ---- */

/* Takes a node out of everything. The caller unrefs the entry, best after it left the lock. */
static struct tl_entry *remove_node(struct tl_memory *m, struct shard *s, size_t cell)
{
    uint32_t i = (s->table[cell] & NO_NODE) - 1;
    struct node *n = node_at(s, i);
    struct tl_entry *e = entry_of(n);
    table_remove(s, cell);
    fifo_take(s, i);
    n->queue = QUEUE_FREE;
    n->next = s->free;
    s->free = i;
    s->n--;
    s->payload_bytes -= e->n;
    s->key_bytes -= e->key_n;
    release_bytes(m, entry_bytes(e));
    return e;
}

static struct tl_entry *remove_index(struct tl_memory *m, struct shard *s, uint32_t i)
{
    struct tl_str key = tl_entry_key(entry_of(node_at(s, i)));
    return remove_node(m, s, find(s, key, hash_of(key)));
}

/* One victim by S3-FIFO; NULL: the shard is empty. */
static struct tl_entry *evict(struct tl_memory *m, struct shard *s)
{
    for (;;) {
        bool from_small = s->small.oldest != NO_NODE &&
                          (s->main.oldest == NO_NODE || s->small.bytes * 10 >= s->small.bytes + s->main.bytes);
        uint32_t i = from_small ? s->small.oldest : s->main.oldest;
        if (i == NO_NODE) return NULL;
        struct node *n = node_at(s, i);
        if (from_small && n->uses > 1) {
            fifo_take(s, i);
            n->uses = 0;
            fifo_push(s, &s->main, i, QUEUE_MAIN);
        } else if (!from_small && n->uses > 0) {
            fifo_take(s, i);
            n->uses--;
            fifo_push(s, &s->main, i, QUEUE_MAIN);
        } else {
            if (from_small) ghost_add(s, hash_of(tl_entry_key(entry_of(n))));
            s->stats.evicted++;
            return remove_index(m, s, i);
        }
    }
}

/* Reserves bytes, making room first in `own` while it holds more than its share, then wherever there is something. No
 * lock is held. */
static bool make_room(struct tl_memory *m, struct shard *own, size_t bytes)
{
    if (bytes > m->cap_bytes / 2) return false;
    size_t at = (size_t)(own - m->shards), empty = 0;
    while (!reserve_bytes(m, bytes)) {
        struct shard *s = &m->shards[at];
        pthread_mutex_lock(&s->lock);
        struct tl_entry *e = evict(m, s);
        bool rich = s->small.bytes + s->main.bytes > m->share_bytes;
        pthread_mutex_unlock(&s->lock);
        empty = e ? 0 : empty + 1;
        tl_entry_unref(e);
        if (empty > m->n_shards) return false; /* tables and ghosts alone fill it */
        if (!rich) at = (at + 1) & (m->n_shards - 1);
    }
    return true;
}

/* ---- entering ---- */

/* A table for twice as many, and a ghost for as many as the table can hold. Their bytes are reserved by the caller's
 * loop: on false it makes room and comes again. */
static bool grow_table(struct tl_memory *m, struct shard *s)
{
    size_t n_table = s->n_table * 2, more = (n_table - s->n_table) * sizeof(uint32_t) * 2;
    if (!reserve_bytes(m, more)) return false;
    uint32_t *table = tl_calloc(n_table, sizeof *table), *ghost = tl_calloc(n_table, sizeof *ghost);
    if (!table || !ghost) {
        free(table);
        free(ghost);
        release_bytes(m, more);
        return false;
    }
    uint32_t *old = s->table;
    size_t n_old = s->n_table;
    s->table = table;
    s->n_table = n_table;
    for (size_t at = 0; at < n_old; at++) {
        if (!old[at]) continue;
        uint64_t hash = hash_of(tl_entry_key(entry_of(node_at(s, (old[at] & NO_NODE) - 1))));
        size_t to = (size_t)hash & (n_table - 1);
        while (table[to]) to = (to + 1) & (n_table - 1);
        table[to] = old[at];
    }
    free(old);
    free(s->ghost);
    s->ghost = ghost;
    s->n_ghost = n_table;
    return true;
}

static bool grow_slab(struct tl_memory *m, struct shard *s)
{
    size_t bytes = CHUNK * sizeof(struct node) + 2 * sizeof(void *);
    if (s->n_chunks * CHUNK + CHUNK >= NO_NODE || !reserve_bytes(m, bytes)) return false;
    struct node **chunks = tl_realloc(s->chunks, s->n_chunks + 1, sizeof(struct node *));
    if (chunks) s->chunks = chunks;
    struct node *chunk = chunks ? tl_calloc(CHUNK, sizeof *chunk) : NULL;
    if (!chunk) {
        release_bytes(m, bytes);
        return false;
    }
    s->chunks[s->n_chunks++] = chunk;
    uint32_t first = (uint32_t)((s->n_chunks - 1) * CHUNK);
    for (uint32_t i = CHUNK; i-- > 0;) {
        chunk[i].next = s->free;
        s->free = first + i;
    }
    return true;
}

static uint32_t tick_of(const struct tl_memory *m, int64_t ms, bool up)
{
    if (ms == INT64_MAX) return TICK_NEVER;
    int64_t ticks = (ms - m->born_ms + (up ? TICK_MS - 1 : 0)) / TICK_MS;
    return ticks < 0 ? 0 : ticks >= (int64_t)TICK_NEVER ? TICK_NEVER : (uint32_t)ticks;
}

static bool is_expired(const struct tl_memory *m, const struct node *n, int64_t now_ms)
{
    return n->expires != TICK_NEVER && n->expires <= tick_of(m, now_ms, false);
}

/* Replaces in place. The new entry's bytes are reserved, the old one's are given back. */
static struct tl_entry *replace(struct tl_memory *m, struct shard *s, uint32_t i, struct tl_entry *e)
{
    struct node *n = node_at(s, i);
    struct tl_entry *old = entry_of(n);
    struct fifo *f = fifo_of(s, n);
    f->bytes += entry_bytes(e) - entry_bytes(old);
    s->payload_bytes += (size_t)e->n - old->n;
    release_bytes(m, entry_bytes(old));
    set_entry(n, tl_entry_ref(e));
    s->stats.replaced++;
    return old;
}

static void insert(struct shard *s, size_t cell, uint64_t hash, struct tl_entry *e, uint32_t expires)
{
    uint32_t i = s->free;
    struct node *n = node_at(s, i);
    s->free = n->next;
    *n = (struct node){.expires = expires & TICK_NEVER};
    set_entry(n, tl_entry_ref(e));
    s->table[cell] = cell_of(hash, i);
    bool known = ghost_knows(s, hash);
    fifo_push(s, known ? &s->main : &s->small, i, known ? QUEUE_MAIN : QUEUE_SMALL);
    s->n++;
    s->payload_bytes += e->n;
    s->key_bytes += e->key_n;
}

enum put_result { PUT_DONE, PUT_OLDER, PUT_NEEDS_ROOM };

static enum put_result put_locked(struct tl_memory *m, struct shard *s, uint64_t hash, struct tl_entry *e,
                                  uint32_t expires, struct tl_entry **gone)
{
    struct tl_str key = tl_entry_key(e);
    size_t cell = find(s, key, hash);
    if (s->table[cell]) {
        uint32_t i = (s->table[cell] & NO_NODE) - 1;
        struct tl_entry *have = entry_of(node_at(s, i));
        bool dead = is_expired(m, node_at(s, i), tl_clock_wall_ms(m->clock));
        if (!dead && tl_entry_cmp(have, e) > 0) return PUT_OLDER;
        node_at(s, i)->expires = expires & TICK_NEVER; /* 28 bits, which it has already */
        if (have == e) {
            release_bytes(m, entry_bytes(e)); /* reserved a second time */
            s->stats.replaced++;
        } else {
            *gone = replace(m, s, i, e);
        }
        return PUT_DONE;
    }
    if (s->n * 8 >= s->n_table * 7 || s->n + 1 >= s->n_table) {
        if (!grow_table(m, s)) return PUT_NEEDS_ROOM;
        cell = find(s, key, hash);
    }
    if (s->free == NO_NODE && !grow_slab(m, s)) return PUT_NEEDS_ROOM;
    insert(s, cell, hash, e, expires);
    return PUT_DONE;
}

bool tl_memory_put(struct tl_memory *m, struct tl_entry *e, int64_t expires_ms)
{
    uint64_t hash = hash_of(tl_entry_key(e));
    struct shard *s = shard_of(m, hash);
    size_t bytes = entry_bytes(e);
    struct tl_entry *gone = NULL;
    enum put_result result = PUT_NEEDS_ROOM;
    bool room = make_room(m, s, bytes);
    /* Growing a table or a slab needs room as well: what they take is made by evicting, a few times at most. */
    for (int i = 0; room && result == PUT_NEEDS_ROOM && i < 64; i++) {
        pthread_mutex_lock(&s->lock);
        result = put_locked(m, s, hash, e, tick_of(m, expires_ms, true), &gone);
        if (result == PUT_NEEDS_ROOM) gone = evict(m, s);
        if (result == PUT_DONE) s->stats.puts++;
        pthread_mutex_unlock(&s->lock);
        bool evicted = gone != NULL;
        tl_entry_unref(gone);
        gone = NULL;
        if (result == PUT_NEEDS_ROOM && !evicted) break;
    }
    if (result == PUT_DONE) return true;
    if (room) release_bytes(m, bytes);
    pthread_mutex_lock(&s->lock);
    s->stats.refused++;
    pthread_mutex_unlock(&s->lock);
    return false;
}

/* ---- the rest ---- */

struct tl_entry *tl_memory_get(struct tl_memory *m, struct tl_str key)
{
    uint64_t hash = hash_of(key);
    struct shard *s = shard_of(m, hash);
    struct tl_entry *e = NULL, *gone = NULL;
    pthread_mutex_lock(&s->lock);
    size_t cell = find(s, key, hash);
    if (s->table[cell]) {
        struct node *n = node_at(s, (s->table[cell] & NO_NODE) - 1);
        if (n->expires != TICK_NEVER && is_expired(m, n, tl_clock_wall_ms(m->clock))) {
            gone = remove_node(m, s, cell);
            s->stats.expired++;
        } else {
            if (n->uses < USES_MAX) n->uses++;
            e = tl_entry_ref(entry_of(n));
        }
    }
    s->stats.hits += e != NULL;
    s->stats.misses += e == NULL;
    pthread_mutex_unlock(&s->lock);
    tl_entry_unref(gone);
    return e;
}

bool tl_memory_del(struct tl_memory *m, struct tl_str key, const struct tl_entry *older_than)
{
    uint64_t hash = hash_of(key);
    struct shard *s = shard_of(m, hash);
    struct tl_entry *gone = NULL;
    pthread_mutex_lock(&s->lock);
    size_t cell = find(s, key, hash);
    if (s->table[cell] &&
        (!older_than || tl_entry_cmp(entry_of(node_at(s, (s->table[cell] & NO_NODE) - 1)), older_than) < 0)) {
        gone = remove_node(m, s, cell);
        s->stats.deleted++;
    }
    pthread_mutex_unlock(&s->lock);
    tl_entry_unref(gone);
    return gone != NULL;
}

void tl_memory_clear(struct tl_memory *m)
{
    for (unsigned i = 0; i < m->n_shards; i++) {
        struct shard *s = &m->shards[i];
        pthread_mutex_lock(&s->lock);
        while (s->small.oldest != NO_NODE || s->main.oldest != NO_NODE) {
            uint32_t at = s->small.oldest != NO_NODE ? s->small.oldest : s->main.oldest;
            tl_entry_unref(remove_index(m, s, at));
            s->stats.deleted++;
        }
        pthread_mutex_unlock(&s->lock);
    }
}

/* Moves the hand over up to n nodes. */
static size_t sweep(struct tl_memory *m, struct shard *s, size_t n, int64_t now_ms)
{
    size_t found = 0;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < n && s->n_chunks > 0; i++) {
        s->hand = (s->hand + 1) % (uint32_t)(s->n_chunks * CHUNK);
        struct node *node = node_at(s, s->hand);
        if (node->queue == QUEUE_FREE || !is_expired(m, node, now_ms)) continue;
        tl_entry_unref(remove_index(m, s, s->hand));
        s->stats.expired++;
        found++;
    }
    pthread_mutex_unlock(&s->lock);
    return found;
}

size_t tl_memory_expire(struct tl_memory *m, size_t max)
{
    int64_t now_ms = tl_clock_wall_ms(m->clock);
    size_t found = 0, share = max / m->n_shards + 1;
    for (unsigned i = 0; i < m->n_shards; i++) {
        struct shard *s = &m->shards[i];
        pthread_mutex_lock(&s->lock);
        size_t nodes = s->n_chunks * CHUNK;
        pthread_mutex_unlock(&s->lock);
        found += sweep(m, s, TL_MIN(nodes, share), now_ms);
    }
    return found;
}

size_t tl_memory_hottest(struct tl_memory *m, struct tl_entry **out, size_t max)
{
    size_t n = 0;
    for (unsigned uses = USES_MAX + 1; uses-- > 0 && n < max;) {
        for (unsigned i = 0; i < m->n_shards && n < max; i++) {
            struct shard *s = &m->shards[i];
            pthread_mutex_lock(&s->lock);
            for (size_t k = 0; k < s->n_chunks * CHUNK && n < max; k++) {
                const struct node *node = node_at(s, (uint32_t)k);
                if (node->queue != QUEUE_FREE && node->uses == uses) out[n++] = tl_entry_ref(entry_of(node));
            }
            pthread_mutex_unlock(&s->lock);
        }
    }
    return n;
}

void tl_memory_stats(const struct tl_memory *m, struct tl_memory_stats *out)
{
    *out = (struct tl_memory_stats){.bytes = atomic_load_explicit(&m->bytes, memory_order_relaxed),
                                    .cap_bytes = m->cap_bytes};
    for (unsigned i = 0; i < m->n_shards; i++) {
        struct shard *s = &m->shards[i];
        pthread_mutex_lock(&s->lock);
        out->hits += s->stats.hits;
        out->misses += s->stats.misses;
        out->puts += s->stats.puts;
        out->replaced += s->stats.replaced;
        out->refused += s->stats.refused;
        out->evicted += s->stats.evicted;
        out->expired += s->stats.expired;
        out->deleted += s->stats.deleted;
        out->entries += s->n;
        out->payload_bytes += s->payload_bytes;
        out->key_bytes += s->key_bytes;
        pthread_mutex_unlock(&s->lock);
    }
}

static bool shard_init(struct shard *s)
{
    pthread_mutex_init(&s->lock, NULL);
    s->n_table = s->n_ghost = FIRST_TABLE;
    s->free = s->small.oldest = s->small.newest = s->main.oldest = s->main.newest = NO_NODE;
    s->table = tl_calloc(s->n_table, sizeof *s->table);
    s->ghost = tl_calloc(s->n_ghost, sizeof *s->ghost);
    return s->table && s->ghost;
}

enum tl_status tl_memory_new(const struct tl_memory_options *opt, struct tl_memory **out, struct tl_err *err)
{
    if (opt->cap_bytes < 64 * 1024)
        return tl_fail(err, TL_INVALID, "a memory tier of %zu bytes: at least 65536", opt->cap_bytes);
    unsigned n = opt->shards ? opt->shards : 64;
    TL_ASSERT((n & (n - 1)) == 0 && n <= 65536);
    while (n > 1 && opt->cap_bytes / n < ((size_t)1 << 20)) n /= 2;
    struct tl_memory *m = tl_calloc(1, sizeof *m);
    if (m) m->shards = tl_calloc(n, sizeof *m->shards);
    bool ok = m && m->shards;
    for (unsigned i = 0; ok && i < n; i++, m->n_shards++) ok = shard_init(&m->shards[i]);
    if (!ok) {
        tl_memory_free(m);
        return tl_fail(err, TL_NOMEM, "no memory for the memory tier");
    }
    m->clock = opt->clock ? opt->clock : &tl_clock_system;
    m->born_ms = tl_clock_wall_ms(m->clock);
    m->cap_bytes = opt->cap_bytes;
    m->share_bytes = opt->cap_bytes / n;
    atomic_init(&m->bytes, sizeof *m + n * (sizeof *m->shards + 2 * FIRST_TABLE * sizeof(uint32_t)));
    *out = m;
    return TL_OK;
}

void tl_memory_free(struct tl_memory *m)
{
    if (!m) return;
    if (m->shards && m->n_shards && m->clock) tl_memory_clear(m);
    for (unsigned i = 0; i < m->n_shards; i++) {
        struct shard *s = &m->shards[i];
        for (size_t k = 0; k < s->n_chunks; k++) free(s->chunks[k]);
        free(s->chunks);
        free(s->table);
        free(s->ghost);
        pthread_mutex_destroy(&s->lock);
    }
    free(m->shards);
    free(m);
}
