/* SPDX-License-Identifier: Apache-2.0 */
/* S3-FIFO after Algorithm 1 of Yang et al., "FIFO queues are all you need for cache eviction" (SOSP 2023), written down
 * plainly and apart from src/cache: entries of equal size, keys are small numbers, one queue for all. And the traces
 * that it and the memory tier are compared on. */
#ifndef TL_TESTS_S3FIFO_SIM_H
#define TL_TESTS_S3FIFO_SIM_H

#include "base/rng.h"
#include "base/util.h"

#include <math.h>
#include <stdio.h>

enum s3_where { S3_NOWHERE, S3_SMALL, S3_MAIN };

/* A ring with room for all that is cached. */
struct s3_queue {
    uint32_t *ids;
    size_t room, first, n;
};

struct s3_sim {
    size_t capacity, small_target, main_target;
    struct s3_queue small, main;
    uint8_t *where, *freq;   /* by id */
    uint64_t *remembered_at; /* by id: number of the addition to the ghost; 0: it does not know it */
    uint64_t ghost_additions;
};

static inline void *s3_alloc(size_t n, size_t size)
{
    void *p = tl_calloc(n, size);
    TL_ASSERT(p);
    return p;
}

static inline void s3_sim_init(struct s3_sim *s, size_t capacity, size_t ids)
{
    *s = (struct s3_sim){.capacity = capacity, .small_target = capacity / 10};
    s->main_target = capacity - s->small_target;
    s->small.room = s->main.room = capacity + 1;
    s->small.ids = (uint32_t *)s3_alloc(capacity + 1, sizeof(uint32_t));
    s->main.ids = (uint32_t *)s3_alloc(capacity + 1, sizeof(uint32_t));
    s->where = (uint8_t *)s3_alloc(ids, 1);
    s->freq = (uint8_t *)s3_alloc(ids, 1);
    s->remembered_at = (uint64_t *)s3_alloc(ids, sizeof(uint64_t));
}

static inline void s3_sim_release(struct s3_sim *s)
{
    free(s->small.ids);
    free(s->main.ids);
    free(s->where);
    free(s->freq);
    free(s->remembered_at);
}

static inline void s3_push(struct s3_queue *q, uint32_t id)
{
    q->ids[(q->first + q->n++) % q->room] = id;
}

static inline uint32_t s3_pop(struct s3_queue *q)
{
    uint32_t id = q->ids[q->first];
    q->first = (q->first + 1) % q->room;
    q->n--;
    return id;
}

static inline void s3_evict_main(struct s3_sim *s)
{
    while (s->main.n) {
        uint32_t id = s3_pop(&s->main);
        if (!s->freq[id]) {
            s->where[id] = S3_NOWHERE;
            return;
        }
        s->freq[id]--;
        s3_push(&s->main, id);
    }
}

static inline void s3_evict_small(struct s3_sim *s)
{
    while (s->small.n) {
        uint32_t id = s3_pop(&s->small);
        if (s->freq[id] <= 1) {
            s->where[id] = S3_NOWHERE;
            s->remembered_at[id] = ++s->ghost_additions;
            return;
        }
        s->freq[id] = 0;
        s->where[id] = S3_MAIN;
        s3_push(&s->main, id);
        if (s->main.n > s->main_target) s3_evict_main(s);
    }
}

static inline bool s3_sim_get(struct s3_sim *s, uint32_t id)
{
    if (!s->where[id]) return false;
    if (s->freq[id] < 3) s->freq[id]++;
    return true;
}

/* A key that is there keeps its place and its counter. */
static inline void s3_sim_put(struct s3_sim *s, uint32_t id)
{
    if (s->where[id]) return;
    while (s->small.n + s->main.n >= s->capacity) {
        if (s->small.n >= s->small_target)
            s3_evict_small(s);
        else
            s3_evict_main(s);
    }
    bool known = s->remembered_at[id] && s->ghost_additions - s->remembered_at[id] < s->main_target;
    s->remembered_at[id] = 0;
    s->freq[id] = 0;
    s->where[id] = known ? S3_MAIN : S3_SMALL;
    s3_push(known ? &s->main : &s->small, id);
}

/* ---- traces ---- */

enum { S3_TRACES = 4 };
static const struct s3_trace_kind {
    const char *name;
    double zipf, scan, churn; /* exponent; part of the requests for a key of its own; part that puts a newer version */
} s3_trace_kinds[S3_TRACES] = {
    {"zipf_0.8", 0.8, 0, 0}, {"zipf_1.0", 1.0, 0, 0}, {"zipf_scan_30", 1.0, 0.3, 0}, {"zipf_churn_20", 0.9, 0, 0.2}};

struct s3_trace {
    const struct s3_trace_kind *kind;
    struct tl_rng rng;
    double *cdf;
    uint32_t keys, next_scan;
};

/* Ids are below keys + requests. */
static inline void s3_trace_init(struct s3_trace *t, const struct s3_trace_kind *kind, uint32_t keys)
{
    *t = (struct s3_trace){.kind = kind, .keys = keys, .next_scan = keys};
    tl_rng_seed(&t->rng, 20231023);
    t->cdf = (double *)s3_alloc(keys, sizeof(double));
    double sum = 0;
    for (uint32_t i = 0; i < keys; i++) t->cdf[i] = sum += pow(i + 1, -kind->zipf);
    for (uint32_t i = 0; i < keys; i++) t->cdf[i] /= sum;
}

static inline void s3_trace_release(struct s3_trace *t)
{
    free(t->cdf);
}

/* true: a newer version of the key is put; false: it is asked for, and put when it is not there. */
static inline bool s3_trace_next(struct s3_trace *t, uint32_t *id)
{
    if (tl_rng_unit(&t->rng) < t->kind->scan) {
        *id = t->next_scan++;
        return false;
    }
    double u = tl_rng_unit(&t->rng);
    uint32_t low = 0, high = t->keys - 1;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (t->cdf[mid] < u)
            low = mid + 1;
        else
            high = mid;
    }
    *id = low;
    return t->kind->churn > 0 && tl_rng_unit(&t->rng) < t->kind->churn;
}

/* ---- both on one trace ---- */

#include "cache/memory.h"

struct s3_setup {
    size_t cap_bytes, payload;
    uint32_t keys, requests;
};

static inline struct tl_entry *s3_entry(uint32_t id, int64_t version, size_t payload)
{
    char key[16];
    snprintf(key, sizeof key, "k/%010u", id);
    struct tl_entry *e = tl_entry_new(tl_str(key), NULL, payload);
    TL_ASSERT(e);
    e->general.ms = version;
    e->general.hard_ttl_ms = e->general.soft_ttl_ms = TL_TTL_NEVER;
    return e;
}

static inline struct tl_memory *s3_memory(const struct s3_setup *setup)
{
    struct tl_memory *m;
    TL_ASSERT(tl_memory_new(&(struct tl_memory_options){.cap_bytes = setup->cap_bytes}, &m, NULL) == TL_OK);
    return m;
}

static inline void s3_memory_put(struct tl_memory *m, uint32_t id, int64_t version, size_t payload)
{
    struct tl_entry *e = s3_entry(id, version, payload);
    TL_ASSERT(tl_memory_put(m, e, INT64_MAX));
    tl_entry_unref(e);
}

/* How many entries the tier holds when it is full. */
static inline size_t s3_capacity(const struct s3_setup *setup)
{
    struct tl_memory *m = s3_memory(setup);
    struct tl_memory_stats stats;
    size_t most = setup->cap_bytes / setup->payload;
    for (uint32_t id = 0; id < 3 * most; id++) s3_memory_put(m, id, 0, setup->payload);
    tl_memory_stats(m, &stats);
    tl_memory_free(m);
    return stats.entries;
}

/* Hit ratios of the tier and of the simulation. */
static inline void s3_compare(const struct s3_trace_kind *kind, const struct s3_setup *setup, double *ours,
                              double *theirs)
{
    struct s3_trace trace;
    struct s3_sim sim;
    struct tl_memory *m = s3_memory(setup);
    s3_trace_init(&trace, kind, setup->keys);
    s3_sim_init(&sim, s3_capacity(setup), (size_t)setup->keys + setup->requests);
    size_t gets = 0, hits = 0, sim_hits = 0;
    for (uint32_t i = 0; i < setup->requests; i++) {
        uint32_t id;
        char key[16];
        if (s3_trace_next(&trace, &id)) {
            s3_memory_put(m, id, i, setup->payload);
            s3_sim_put(&sim, id);
            continue;
        }
        gets++;
        snprintf(key, sizeof key, "k/%010u", id);
        struct tl_entry *e = tl_memory_get(m, tl_str(key));
        hits += e != NULL;
        if (!e) s3_memory_put(m, id, i, setup->payload);
        tl_entry_unref(e);
        bool hit = s3_sim_get(&sim, id);
        sim_hits += hit;
        if (!hit) s3_sim_put(&sim, id);
    }
    *ours = (double)hits / (double)gets;
    *theirs = (double)sim_hits / (double)gets;
    s3_sim_release(&sim);
    s3_trace_release(&trace);
    tl_memory_free(m);
}

#endif
