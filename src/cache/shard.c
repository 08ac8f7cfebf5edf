/* SPDX-License-Identifier: Apache-2.0 */
/* A shard of the memory tier. Nodes lie in chunks and are named by u32; the table is open addressing with linear
 * probing over u32 cells. Eviction is S3-FIFO (Yang et al., SOSP 2023): new keys enter the small queue, a tenth of the
 * bytes; from its end those used more than once since move to main, the others leave and are remembered in the ghost; a
 * key that the ghost knows enters main at once; main's end is put back as long as it was used. The ghost is buckets of
 * 16-bit cells, 12 of fingerprint and 4 of epoch; it forgets after as many additions as main is meant to hold
 * entries, nine tenths of all. Expiry costs
 * no list: a chunk knows before when nothing of it expires, and is looked through once something may have.
 * Invariants: a node that is not free is in one queue and in the table once; every byte is in the budget. */
#include "cache/shard.h"

#include "base/hash.h"
#include "base/util.h"

#include <malloc.h>

enum {
    HEAP_BYTES = sizeof(size_t), /* in front of a block, which malloc_usable_size does not tell */
    FIRST_TABLE = 64,
    GHOST_WAYS = 8,
    GHOST_EPOCHS = 12 /* that an addition is remembered for, of the 16 that four bits tell apart */
};
/* A cell: 5 bits of distance from home, 6 of hash, 21 of index + 1; 0 is empty. */
enum { INDEX_BITS = 21, TAG_BITS = 6, FAR = 31 };
#define INDEX_MASK ((UINT32_C(1) << INDEX_BITS) - 1)

bool tl_budget_take(struct tl_budget *b, size_t n)
{
    size_t have = atomic_load_explicit(&b->bytes, memory_order_relaxed);
    do
        if (n > b->cap || have > b->cap - n) return false;
    while (
        !atomic_compare_exchange_weak_explicit(&b->bytes, &have, have + n, memory_order_relaxed, memory_order_relaxed));
    return true;
}

void tl_budget_give(struct tl_budget *b, size_t n)
{
    atomic_fetch_sub_explicit(&b->bytes, n, memory_order_relaxed);
}

static size_t heap_bytes(void *p)
{
    return p ? malloc_usable_size(p) + HEAP_BYTES : 0;
}

size_t tl_shard_entry_bytes(struct tl_entry *e)
{
    return heap_bytes(e);
}

/* Zeroed and out of the budget; NULL: either has no more. What the heap adds is taken afterwards, and lacks only when
 * not even that little is left. */
static void *take_block(struct tl_shard *s, size_t n, size_t size)
{
    if (!tl_budget_take(s->budget, n * size + HEAP_BYTES)) return NULL;
    void *p = tl_calloc(n, size);
    size_t more = p ? heap_bytes(p) - n * size - HEAP_BYTES : 0;
    if (p && (!more || tl_budget_take(s->budget, more))) return p;
    tl_budget_give(s->budget, n * size + HEAP_BYTES);
    free(p);
    return NULL;
}

static void give_block(struct tl_shard *s, void *p)
{
    tl_budget_give(s->budget, heap_bytes(p));
    free(p);
}

/* ---- queues ---- */

static struct tl_fifo *fifo_of(struct tl_shard *s, const struct tl_node *n)
{
    return tl_node_queue(n) == TL_QUEUE_SMALL ? &s->small : &s->main;
}

static void fifo_push(struct tl_shard *s, uint32_t i, enum tl_queue queue, size_t bytes)
{
    struct tl_node *n = tl_shard_node(s, i);
    tl_node_set(n, queue, tl_node_uses(n), tl_node_expires(n));
    struct tl_fifo *f = fifo_of(s, n);
    n->prev = f->newest;
    n->next = TL_NO_NODE;
    if (f->newest == TL_NO_NODE)
        f->oldest = i;
    else
        tl_shard_node(s, f->newest)->next = i;
    f->newest = i;
    f->n++;
    f->bytes += bytes;
}

static void fifo_take(struct tl_shard *s, uint32_t i, size_t bytes)
{
    struct tl_node *n = tl_shard_node(s, i);
    struct tl_fifo *f = fifo_of(s, n);
    if (n->prev == TL_NO_NODE)
        f->oldest = n->next;
    else
        tl_shard_node(s, n->prev)->next = n->next;
    if (n->next == TL_NO_NODE)
        f->newest = n->prev;
    else
        tl_shard_node(s, n->next)->prev = n->prev;
    f->n--;
    f->bytes -= bytes;
}

/* ---- the table ---- */

static size_t home_of(const struct tl_shard *s, uint64_t hash)
{
    return (size_t)((hash & UINT32_MAX) * s->n_table >> 32);
}

static size_t after(const struct tl_shard *s, size_t at)
{
    return at + 1 == s->n_table ? 0 : at + 1;
}

static size_t gap(const struct tl_shard *s, size_t from, size_t to)
{
    return to >= from ? to - from : to + s->n_table - from;
}

/* All of a cell but the index. */
static uint32_t marks(uint64_t hash, size_t distance)
{
    uint32_t tag = (uint32_t)(hash >> 40) & ((1u << TAG_BITS) - 1);
    return ((uint32_t)TL_MIN(distance, (size_t)FAR) << TAG_BITS | tag) << INDEX_BITS;
}

static uint32_t index_in(uint32_t cell)
{
    return (cell & INDEX_MASK) - 1;
}

static uint64_t hash_of_node(const struct tl_shard *s, uint32_t i)
{
    struct tl_str key = tl_entry_key(tl_node_entry(tl_shard_node(s, i)));
    return tl_hash64(key.p, key.n);
}

uint32_t tl_shard_find(const struct tl_shard *s, struct tl_str key, uint64_t hash)
{
    size_t at = home_of(s, hash);
    for (size_t distance = 0; s->table[at]; distance++, at = after(s, at)) {
        if ((s->table[at] ^ marks(hash, distance)) >> INDEX_BITS) continue;
        uint32_t i = index_in(s->table[at]);
        const struct tl_entry *e = tl_node_entry(tl_shard_node(s, i));
        if (e->key_n == key.n && memcmp(e->bytes, key.p, key.n) == 0) return i;
    }
    return TL_NO_NODE;
}

static void table_add(struct tl_shard *s, uint64_t hash, uint32_t i)
{
    size_t at = home_of(s, hash), distance = 0;
    for (; s->table[at]; distance++) at = after(s, at);
    s->table[at] = marks(hash, distance) | (i + 1);
}

/* Empties the node's cell by moving back what was pushed on by it. */
static void table_remove(struct tl_shard *s, uint64_t hash, uint32_t i)
{
    size_t hole = home_of(s, hash);
    while (index_in(s->table[hole]) != i) hole = after(s, hole);
    for (size_t at = after(s, hole); s->table[at]; at = after(s, at)) {
        uint32_t cell = s->table[at];
        size_t distance = cell >> (INDEX_BITS + TAG_BITS), back = gap(s, hole, at);
        if (distance == FAR) distance = gap(s, home_of(s, hash_of_node(s, index_in(cell))), at);
        if (distance < back) continue;
        uint32_t kept = cell & ((UINT32_C(1) << (INDEX_BITS + TAG_BITS)) - 1);
        s->table[hole] = (uint32_t)TL_MIN(distance - back, (size_t)FAR) << (INDEX_BITS + TAG_BITS) | kept;
        hole = at;
    }
    s->table[hole] = 0;
}

/* By a quarter, so that little of it is empty. The ghost, whose size follows, forgets. */
static bool grow_table(struct tl_shard *s)
{
    size_t n = s->n_table + s->n_table / 4, n_ghost = n * 3 / 4 / GHOST_WAYS * GHOST_WAYS;
    uint32_t *table = take_block(s, n, sizeof *table), *old = s->table;
    if (!table) return false;
    uint16_t *ghost = take_block(s, n_ghost, sizeof *ghost);
    if (!ghost) {
        give_block(s, table);
        return false;
    }
    s->table = table;
    s->n_table = n;
    for (uint32_t i = 0; i < s->n_chunks * TL_SHARD_CHUNK; i++)
        if (tl_node_queue(tl_shard_node(s, i)) != TL_QUEUE_FREE) table_add(s, hash_of_node(s, i), i);
    give_block(s, old);
    give_block(s, s->ghost);
    s->ghost = ghost;
    s->n_ghost = n_ghost;
    s->ghost_added = 0;
    return true;
}

static bool grow_nodes(struct tl_shard *s)
{
    if ((s->n_chunks + 1) * TL_SHARD_CHUNK > INDEX_MASK) return false;
    if ((s->n_chunks & (s->n_chunks - 1)) == 0) { /* the list is full */
        struct tl_node_chunk *chunks = take_block(s, TL_MAX(s->n_chunks * 2, (size_t)1), sizeof *chunks);
        if (!chunks) return false;
        if (s->n_chunks) memcpy(chunks, s->chunks, s->n_chunks * sizeof *chunks);
        give_block(s, s->chunks);
        s->chunks = chunks;
    }
    struct tl_node *nodes = take_block(s, TL_SHARD_CHUNK, sizeof *nodes);
    if (!nodes) return false;
    s->chunks[s->n_chunks] = (struct tl_node_chunk){.nodes = nodes, .due = TL_TICK_NEVER};
    uint32_t first = (uint32_t)(s->n_chunks++ * TL_SHARD_CHUNK);
    for (uint32_t i = TL_SHARD_CHUNK; i-- > 0;) {
        nodes[i].next = s->free;
        s->free = first + i;
    }
    return true;
}

/* ---- the ghost ---- */

static uint16_t *ghost_bucket(const struct tl_shard *s, uint64_t hash)
{
    return &s->ghost[((hash & UINT32_MAX) * (s->n_ghost / GHOST_WAYS) >> 32) * GHOST_WAYS];
}

static unsigned ghost_fingerprint(uint64_t hash)
{
    unsigned f = (unsigned)(hash >> 28) & 0xfff0;
    return f ? f : 0x10;
}

static unsigned ghost_age(const struct tl_shard *s, unsigned cell)
{
    return (s->ghost_epoch - cell) & 15;
}

static void ghost_add(struct tl_shard *s, uint64_t hash)
{
    uint16_t *b = ghost_bucket(s, hash), *into = b;
    for (int i = 0; i < GHOST_WAYS && *into; i++)
        if (!b[i] || ghost_age(s, b[i]) > ghost_age(s, *into)) into = &b[i];
    *into = (uint16_t)(ghost_fingerprint(hash) | s->ghost_epoch);
    if (++s->ghost_added * GHOST_EPOCHS * 10 < s->n * 9) return;
    s->ghost_added = 0;
    s->ghost_epoch = (s->ghost_epoch + 1) & 15;
    for (size_t i = 0; i < s->n_ghost; i++)
        if (ghost_age(s, s->ghost[i]) == 0) s->ghost[i] = 0;
}

/* Takes the key out when it is there. */
static bool ghost_knows(struct tl_shard *s, uint64_t hash)
{
    uint16_t *b = ghost_bucket(s, hash);
    unsigned fingerprint = ghost_fingerprint(hash);
    for (int i = 0; i < GHOST_WAYS; i++) {
        if ((b[i] & 0xfff0) != fingerprint || ghost_age(s, b[i]) > GHOST_EPOCHS) continue;
        b[i] = 0;
        return true;
    }
    return false;
}

/* ---- entering and leaving ---- */

bool tl_shard_init(struct tl_shard *s, struct tl_budget *budget)
{
    for (int i = 0; i < TL_SHARD_LANES; i++) pthread_mutex_init(&s->lanes[i].lock, NULL);
    s->budget = budget;
    s->n_table = s->n_ghost = FIRST_TABLE;
    s->free = s->small.oldest = s->small.newest = s->main.oldest = s->main.newest = TL_NO_NODE;
    s->due = TL_TICK_NEVER;
    s->table = take_block(s, s->n_table, sizeof *s->table);
    s->ghost = take_block(s, s->n_ghost, sizeof *s->ghost);
    return s->table && s->ghost;
}

void tl_shard_release(struct tl_shard *s)
{
    TL_ASSERT(s->n == 0);
    for (size_t i = 0; i < s->n_chunks; i++) free(s->chunks[i].nodes);
    free(s->chunks);
    free(s->table);
    free(s->ghost);
    for (int i = 0; i < TL_SHARD_LANES; i++) pthread_mutex_destroy(&s->lanes[i].lock);
}

struct tl_lane *tl_shard_read(struct tl_shard *s)
{
    static _Atomic unsigned threads;
    static _Thread_local unsigned thread; /* 0: not numbered yet */
    if (!thread) thread = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) + 1;
    struct tl_lane *lane = &s->lanes[thread % TL_SHARD_LANES];
    pthread_mutex_lock(&lane->lock);
    return lane;
}

void tl_shard_lock(struct tl_shard *s)
{
    for (int i = 0; i < TL_SHARD_LANES; i++) pthread_mutex_lock(&s->lanes[i].lock);
}

void tl_shard_unlock(struct tl_shard *s)
{
    for (int i = TL_SHARD_LANES; i-- > 0;) pthread_mutex_unlock(&s->lanes[i].lock);
}

static void set_entry(struct tl_node *n, struct tl_entry *e)
{
    uint64_t p = (uintptr_t)tl_entry_ref(e);
    n->entry_low = (uint32_t)p;
    n->entry_high = (uint32_t)(p >> 32);
}

static void set_expires(struct tl_shard *s, uint32_t i, uint32_t expires)
{
    struct tl_node_chunk *c = &s->chunks[i / TL_SHARD_CHUNK];
    struct tl_node *n = &c->nodes[i % TL_SHARD_CHUNK];
    tl_node_set(n, tl_node_queue(n), tl_node_uses(n), expires & TL_TICK_NEVER);
    if (expires == TL_TICK_NEVER) return;
    c->due = tl_tick_sooner(c->due, expires);
    s->due = tl_tick_sooner(s->due, expires);
}

bool tl_shard_insert(struct tl_shard *s, uint64_t hash, struct tl_entry *e, uint32_t expires)
{
    if ((s->n + 1) * 8 > s->n_table * 7 && !grow_table(s)) return false;
    if (s->free == TL_NO_NODE && !grow_nodes(s)) return false;
    uint32_t i = s->free;
    struct tl_node *n = tl_shard_node(s, i);
    s->free = n->next;
    tl_node_set(n, TL_QUEUE_FREE, 0, TL_TICK_NEVER);
    set_entry(n, e);
    set_expires(s, i, expires);
    table_add(s, hash, i);
    fifo_push(s, i, ghost_knows(s, hash) ? TL_QUEUE_MAIN : TL_QUEUE_SMALL, heap_bytes(e));
    s->n++;
    s->payload_bytes += e->n;
    s->key_bytes += e->key_n;
    return true;
}

struct tl_entry *tl_shard_replace(struct tl_shard *s, uint32_t i, struct tl_entry *e, uint32_t expires)
{
    struct tl_node *n = tl_shard_node(s, i);
    struct tl_entry *old = tl_node_entry(n);
    struct tl_fifo *f = fifo_of(s, n);
    f->bytes = f->bytes + heap_bytes(e) - heap_bytes(old);
    s->payload_bytes = s->payload_bytes + e->n - old->n;
    set_entry(n, e);
    set_expires(s, i, expires);
    return old;
}

static struct tl_entry *remove_hashed(struct tl_shard *s, uint32_t i, uint64_t hash)
{
    struct tl_node *n = tl_shard_node(s, i);
    struct tl_entry *e = tl_node_entry(n);
    size_t bytes = heap_bytes(e);
    table_remove(s, hash, i);
    fifo_take(s, i, bytes);
    tl_node_set(n, TL_QUEUE_FREE, 0, TL_TICK_NEVER);
    n->next = s->free;
    s->free = i;
    s->n--;
    s->payload_bytes -= e->n;
    s->key_bytes -= e->key_n;
    tl_budget_give(s->budget, bytes);
    return e;
}

struct tl_entry *tl_shard_remove(struct tl_shard *s, uint32_t i)
{
    return remove_hashed(s, i, hash_of_node(s, i));
}

static void move_to_main(struct tl_shard *s, uint32_t i, unsigned uses)
{
    struct tl_node *n = tl_shard_node(s, i);
    size_t bytes = tl_node_queue(n) == TL_QUEUE_MAIN ? 0 : heap_bytes(tl_node_entry(n));
    fifo_take(s, i, bytes);
    tl_node_set(n, TL_QUEUE_MAIN, uses & TL_SHARD_USES_MAX, tl_node_expires(n));
    fifo_push(s, i, TL_QUEUE_MAIN, bytes);
}

struct tl_entry *tl_shard_evict(struct tl_shard *s)
{
    for (;;) {
        bool small = s->small.n && (!s->main.n || s->small.bytes * 10 >= s->small.bytes + s->main.bytes);
        uint32_t i = small ? s->small.oldest : s->main.oldest;
        if (i == TL_NO_NODE) return NULL;
        unsigned uses = tl_node_uses(tl_shard_node(s, i));
        if (small && uses > 1) {
            move_to_main(s, i, 0);
        } else if (!small && uses > 0) {
            move_to_main(s, i, uses - 1);
        } else {
            uint64_t hash = hash_of_node(s, i);
            if (small) ghost_add(s, hash);
            s->evicted++;
            return remove_hashed(s, i, hash);
        }
    }
}

/* Looks a chunk through; what remains of it says anew when something is due. */
static size_t expire_chunk(struct tl_shard *s, size_t chunk, uint32_t now, struct tl_entry **out, size_t max)
{
    size_t n = 0;
    uint32_t due = TL_TICK_NEVER, first = (uint32_t)(chunk * TL_SHARD_CHUNK);
    for (uint32_t i = first; i < first + TL_SHARD_CHUNK; i++) {
        const struct tl_node *node = tl_shard_node(s, i);
        if (tl_node_queue(node) == TL_QUEUE_FREE || tl_node_expires(node) == TL_TICK_NEVER) continue;
        if (n < max && tl_tick_due(tl_node_expires(node), now))
            out[n++] = tl_shard_remove(s, i);
        else
            due = tl_tick_sooner(due, tl_node_expires(node));
    }
    s->chunks[chunk].due = due;
    return n;
}

size_t tl_shard_expire(struct tl_shard *s, uint32_t now, struct tl_entry **out, size_t max)
{
    if (!tl_tick_due(s->due, now)) return 0;
    size_t n = 0;
    uint32_t due = TL_TICK_NEVER;
    for (size_t c = 0; c < s->n_chunks; c++) {
        if (n < max && tl_tick_due(s->chunks[c].due, now)) n += expire_chunk(s, c, now, out + n, max - n);
        due = tl_tick_sooner(due, s->chunks[c].due);
    }
    s->due = due;
    s->expired += n;
    return n;
}

size_t tl_shard_drain(struct tl_shard *s, struct tl_entry **out, size_t max)
{
    size_t n = 0;
    for (; n < max && s->n; n++) out[n] = tl_shard_remove(s, s->small.n ? s->small.oldest : s->main.oldest);
    s->deleted += n;
    return n;
}
