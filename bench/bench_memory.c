/* SPDX-License-Identifier: Apache-2.0 */
/* The memory tier alone: a warm hit on one thread and on two, beside jansson's object behind one mutex; what an entry
 * costs beside its key and value; hit ratios beside a plain simulation of S3-FIFO and one of LRU. */
#include "bench.h"
#include "s3fifo_sim.h"

#include <jansson.h>
#include <pthread.h>
#include <string.h>

enum {
    ROUNDS = 9,
    WARM = 1000,
    HITS = 1000000,
    OVERHEAD_ENTRIES = 500000,
    CAP_MIB = 16,
    KEYS = 400000,
    REQUESTS = 2000000
};

/* ---- hits ---- */

struct hitter {
    struct tl_memory *memory; /* NULL: the peer */
    json_t *table;
    pthread_mutex_t *lock;
    char (*keys)[16];
    uint32_t first, n; /* of keys, that this thread asks for */
    pthread_barrier_t *start;
    double ns;
};

static void hit_ours(const struct hitter *h)
{
    for (uint32_t i = 0, at = 0; i < HITS; i++, at += 7919) {
        struct tl_entry *e = tl_memory_get(h->memory, (struct tl_str){h->keys[h->first + at % h->n], 12});
        TL_ASSERT(e);
        tl_entry_unref(e);
    }
}

static void hit_peer(const struct hitter *h)
{
    for (uint32_t i = 0, at = 0; i < HITS; i++, at += 7919) {
        pthread_mutex_lock(h->lock);
        json_t *found = json_object_get(h->table, h->keys[h->first + at % h->n]);
        pthread_mutex_unlock(h->lock);
        TL_ASSERT(found);
    }
}

static void *hit(void *arg)
{
    struct hitter *h = arg;
    pthread_barrier_wait(h->start);
    uint64_t t = bench_now_ns();
    if (h->memory)
        hit_ours(h);
    else
        hit_peer(h);
    h->ns = (double)(bench_now_ns() - t) / HITS;
    return NULL;
}

/* ns a hit, as each of the threads sees it. own: each thread has its own part of the keys. */
static double hits_on(const struct hitter *like, unsigned threads, bool own)
{
    struct hitter h[2] = {*like, *like};
    pthread_t t[2];
    pthread_barrier_t start;
    double sum = 0;
    pthread_barrier_init(&start, NULL, threads);
    for (unsigned i = 0; i < threads; i++) {
        h[i].start = &start;
        h[i].n = own ? WARM / 2 : WARM;
        h[i].first = own ? i * WARM / 2 : 0;
        TL_ASSERT(pthread_create(&t[i], NULL, hit, &h[i]) == 0);
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(t[i], NULL);
        sum += h[i].ns;
    }
    pthread_barrier_destroy(&start);
    return sum / threads;
}

static void hits(void)
{
    static char keys[WARM][16];
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    const struct s3_setup setup = {(size_t)64 << 20, 2048, 0, 0};
    struct hitter ours = {.memory = s3_memory(&setup), .keys = keys},
                  peer = {.table = json_object(), .lock = &lock, .keys = keys};
    for (uint32_t i = 0; i < WARM; i++) {
        snprintf(keys[i], sizeof keys[i], "k/%010u", i);
        s3_memory_put(ours.memory, i, 1, setup.payload);
        TL_ASSERT(json_object_set_new(peer.table, keys[i], json_integer(i)) == 0);
    }
    double one[ROUNDS], peer_one[ROUNDS], own[ROUNDS], shared[ROUNDS];
    for (int r = 0; r < ROUNDS; r++) {
        one[r] = hits_on(&ours, 1, false);
        peer_one[r] = hits_on(&peer, 1, false);
        own[r] = 2 * one[r] / hits_on(&ours, 2, true);
        shared[r] = 2 * one[r] / hits_on(&ours, 2, false);
    }
    double ns = bench_median(one, ROUNDS), theirs = bench_median(peer_one, ROUNDS);
    double times = bench_median(own, ROUNDS);
    bench_row("memory_hit_ns", ns, "ns", "json_object_get behind a mutex", theirs, ns / theirs, "<= 100", ns <= 100);
    bench_row("memory_two_threads_own_keys", times, "x one thread", NULL, 0, 0, ">= 1.7", times >= 1.7);
    bench_row("memory_two_threads_same_keys", bench_median(shared, ROUNDS), "x one thread", NULL, 0, 0, NULL, true);
    json_decref(peer.table);
    tl_memory_free(ours.memory);
}

/* ---- overhead ---- */

static void overhead(void)
{
    static const size_t payloads[] = {64, 4096};
    static const char *const names[] = {"memory_overhead_64_bytes", "memory_overhead_4_kib"};
    for (size_t p = 0; p < TL_COUNT(payloads); p++) {
        const struct s3_setup setup = {(size_t)1 << 40, payloads[p], 0, 0};
        struct tl_memory *m = s3_memory(&setup);
        struct tl_memory_stats s;
        uint32_t n = p ? OVERHEAD_ENTRIES / 8 : OVERHEAD_ENTRIES;
        for (uint32_t i = 0; i < n; i++)
            s3_memory_put(m, i, 1, setup.payload + i % 16); /* the heap's rounding, too, is of the mean */
        tl_memory_stats(m, &s);
        double each = (double)(s.bytes - s.payload_bytes - s.key_bytes) / (double)s.entries;
        bench_row(names[p], each, "bytes/entry", NULL, 0, 0, "<= 96", each <= 96);
        tl_memory_free(m);
    }
}

/* ---- hit ratios ---- */

struct lru {
    uint32_t *prev, *next; /* by id, of a ring through the id after the last */
    bool *in;
    uint32_t head;
    size_t n, capacity;
};

static void lru_unlink(struct lru *l, uint32_t id)
{
    l->next[l->prev[id]] = l->next[id];
    l->prev[l->next[id]] = l->prev[id];
}

/* true: it was there. */
static bool lru_use(struct lru *l, uint32_t id)
{
    bool was = l->in[id];
    if (was) {
        lru_unlink(l, id);
    } else if (l->n == l->capacity) {
        uint32_t oldest = l->prev[l->head];
        lru_unlink(l, oldest);
        l->in[oldest] = false;
    } else {
        l->n++;
    }
    l->in[id] = true;
    l->prev[id] = l->head;
    l->next[id] = l->next[l->head];
    l->prev[l->next[l->head]] = id;
    l->next[l->head] = id;
    return was;
}

static double lru_ratio(const struct s3_trace_kind *kind, const struct s3_setup *setup)
{
    size_t ids = (size_t)setup->keys + setup->requests;
    struct lru l = {s3_alloc(ids + 1, sizeof(uint32_t)),
                    s3_alloc(ids + 1, sizeof(uint32_t)),
                    s3_alloc(ids + 1, 1),
                    (uint32_t)ids,
                    0,
                    s3_capacity(setup)};
    l.prev[ids] = l.next[ids] = (uint32_t)ids;
    struct s3_trace trace;
    size_t gets = 0, hit = 0;
    s3_trace_init(&trace, kind, setup->keys);
    for (uint32_t i = 0; i < setup->requests; i++) {
        uint32_t id;
        bool put = s3_trace_next(&trace, &id), was = lru_use(&l, id);
        gets += !put;
        hit += !put && was;
    }
    s3_trace_release(&trace);
    free(l.prev);
    free(l.next);
    free(l.in);
    return (double)hit / (double)gets;
}

static void hit_ratios(void)
{
    const struct s3_setup setup = {(size_t)CAP_MIB << 20, 256, KEYS, REQUESTS};
    for (size_t i = 0; i < S3_TRACES; i++) {
        double ours, simulated, lru = lru_ratio(&s3_trace_kinds[i], &setup);
        char name[64];
        s3_compare(&s3_trace_kinds[i], &setup, &ours, &simulated);
        snprintf(name, sizeof name, "memory_hit_ratio_%s", s3_trace_kinds[i].name);
        bench_row(name, ours, "of requests", "S3-FIFO simulated", simulated, ours / simulated, "within 0.01 of it",
                  fabs(ours - simulated) <= 0.01);
        snprintf(name, sizeof name, "memory_hit_ratio_%s_to_lru", s3_trace_kinds[i].name);
        bench_row(name, ours, "of requests", "LRU simulated", lru, ours / lru, NULL, true);
    }
}

int main(void)
{
    hits();
    overhead();
    hit_ratios();
    return 0;
}
