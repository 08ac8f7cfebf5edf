/* SPDX-License-Identifier: Apache-2.0 */
/* Writing: a place in the queue first, then memory, so that memory never holds what could not be passed on. An op ends
 * when every item is in the tier it waits for, has failed, or at its deadline; the writing goes on. */
#include "cache/cache.h"

#include "base/err.h"
#include "base/util.h"

struct put_wait {
    struct tl_behind_wait wait;
    struct tl_put_state *state;
    bool open;
};

struct tl_put_state {
    struct tl_cache *cache;
    struct tl_put *op;
    tl_put_cb *cb;
    struct tl_alarm deadline;
    struct tl_soon done;
    struct tl_put_state *prev, *next; /* in cache->puts */
    size_t open, n;
    struct put_wait waits[];
};

static void end_op(struct tl_cache *c, struct tl_put_state *st)
{
    struct tl_put *op = st->op;
    enum tl_status status = op->items[0].status;
    for (size_t i = 0; op->items != &op->item && i < st->n; i++) {
        if (i == 0) status = TL_OK;
        if (op->items[i].status != TL_OK) status = TL_SOME_FAILED;
    }
    if (c->puts == st)
        c->puts = st->next;
    else
        st->prev->next = st->next;
    if (st->next) st->next->prev = st->prev;
    tl_alarm_clear(c->alarms, &st->deadline);
    tl_put_cb *cb = st->cb;
    op->state = NULL;
    free(st);
    cb(op, status);
}

static void op_done(struct tl_soon *s)
{
    struct tl_put_state *st = (struct tl_put_state *)(void *)((char *)s - offsetof(struct tl_put_state, done));
    end_op(st->cache, st);
}

static void op_check(struct tl_put_state *st)
{
    if (st->open == 0) tl_soon_call(st->cache->alarms, &st->done);
}

static void end_item(struct put_wait *w, enum tl_status status)
{
    struct tl_put_state *st = w->state;
    if (!w->open) return;
    w->open = false;
    st->open--;
    tl_behind_forget(&w->wait);
    st->op->items[w - st->waits].status = status;
}

static void on_written(struct tl_behind_wait *wait, enum tl_status status)
{
    struct put_wait *w = (struct put_wait *)(void *)wait;
    end_item(w, status);
    op_check(w->state);
}

static void end_all(struct tl_put_state *st, enum tl_status status)
{
    for (size_t i = 0; i < st->n; i++) end_item(&st->waits[i], status);
}

static void on_deadline(struct tl_alarm *a)
{
    struct tl_put_state *st = (struct tl_put_state *)(void *)((char *)a - offsetof(struct tl_put_state, deadline));
    end_all(st, TL_TIMEOUT);
    op_check(st);
}

void tl_puts_end(struct tl_cache *c)
{
    while (c->puts) {
        struct tl_put_state *st = c->puts;
        end_all(st, TL_CANCELLED);
        tl_soon_cancel(c->alarms, &st->done);
        end_op(c, st);
    }
}

void tl_cache_to_memory(struct tl_cache *c, struct tl_entry *e)
{
    int64_t until = tl_cache_residency(e);
    if (tl_memory_put(c->memory, e, until)) return;
    /* Not kept: what is there must not be older than what was just acknowledged. */
    tl_memory_del(c->memory, tl_entry_key(e), e);
}

struct tl_entry *tl_cache_entry_new(struct tl_cache *c, struct tl_str key, const void *bytes, size_t n,
                                    struct tl_ttl *ttl, uint64_t generation)
{
    struct tl_key_parts parts;
    char type[72];
    struct tl_entry *e = tl_entry_new(key, bytes, n);
    if (!e) return NULL;
    bool ours = tl_cache_key_split(key, &parts);
    TL_ASSERT(ours);
    size_t type_n = tl_cache_key_decode(parts.data_type, type, sizeof type);
    *ttl = tl_cache_ttl(c, (struct tl_str){type, type_n}, ttl);
    struct tl_stamp stamp = tl_cache_stamp(c);
    e->general.ms = stamp.ms;
    e->general.instance = stamp.instance;
    e->general.seq = stamp.seq;
    e->general.soft_ttl_ms = tl_cache_jitter(c, ttl->fresh_ms);
    e->general.hard_ttl_ms = TL_MAX(ttl->redis_ms, ttl->store_ms);
    atomic_store_explicit(&e->generation, generation, memory_order_relaxed);
    return e;
}

static enum tl_status put_item(struct tl_cache *c, const struct tl_cache_key *key, const struct tl_put_item *item,
                               enum tl_tier_id waits_for, struct tl_behind_wait *wait)
{
    if (item->n > TL_VALUE_MAX) return TL_TOO_LARGE;
    struct tl_ttl ttl = item->ttl;
    struct tl_entry *e =
        tl_cache_entry_new(c, tl_cache_key_str(key), item->bytes, item->n, &ttl, tl_generations_newest(c->generations));
    if (!e) return TL_NOMEM;
    struct tl_stamp stamp = {.ms = e->general.ms, .instance = e->general.instance, .seq = e->general.seq};
    struct tl_behind_write w = {
        .entry = e,
        .redis_expires_ms = ttl.redis_ms == TL_FOREVER ? INT64_MAX : stamp.ms + tl_cache_jitter(c, ttl.redis_ms),
        .store_expires_ms = ttl.store_ms == TL_FOREVER ? INT64_MAX : stamp.ms + ttl.store_ms,
        .to_redis = true,
        .to_store = true,
        .put = true};
    wait->tier = waits_for;
    bool queue = c->t_redis || (c->t_store && !c->read_only);
    enum tl_status st = queue ? tl_behind_put(c->behind, &w, waits_for > TL_TIER_MEMORY ? wait : NULL) : TL_OK;
    if (st == TL_OK) tl_cache_to_memory(c, e);
    if (st == TL_OK) tl_flights_taint(c, tl_cache_key_str(key), &stamp);
    tl_entry_unref(e);
    return st;
}

static struct tl_put_state *state_new(struct tl_cache *c, struct tl_put *op, struct tl_put_item *items, size_t n,
                                      uint64_t deadline_ms, tl_put_cb *cb)
{
    struct tl_put_state *st = tl_calloc(1, sizeof *st + n * sizeof st->waits[0]);
    if (!st) return NULL;
    st->cache = c;
    st->op = op;
    st->cb = cb;
    st->n = st->open = n;
    st->deadline.ring = on_deadline;
    st->done.call = op_done;
    if (tl_alarm_set(c->alarms, &st->deadline, tl_cache_now_ns(c) + deadline_ms * 1000000) != TL_OK) {
        free(st);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) st->waits[i] = (struct put_wait){.wait.cb = on_written, .state = st, .open = true};
    op->items = items;
    op->n = n;
    op->state = st;
    st->next = c->puts;
    if (c->puts) c->puts->prev = st;
    c->puts = st;
    return st;
}

static enum tl_status put_keys(struct tl_cache *c, struct tl_put *op, const struct tl_cache_key *keys,
                               struct tl_put_item *items, size_t n, uint64_t deadline_ms, tl_put_cb *cb,
                               struct tl_err *err)
{
    TL_ASSERT(deadline_ms > 0);
    if (c->phase != TL_CACHE_OPEN) return tl_fail(err, TL_CANCELLED, "the cache is being closed");
    bool there = op->wait == TL_TIER_REDIS   ? c->t_redis != NULL
                 : op->wait == TL_TIER_STORE ? c->t_store != NULL && !c->read_only
                                             : op->wait <= TL_TIER_MEMORY;
    if (!there)
        return tl_fail(err, TL_UNSUPPORTED, "there is no %s to wait for",
                       op->wait == TL_TIER_REDIS ? "Redis" : "store");
    struct tl_put_state *st = state_new(c, op, items, n, deadline_ms, cb);
    if (!st) return tl_fail(err, TL_NOMEM, "no memory for writing %zu keys", n);
    for (size_t i = 0; i < n; i++) {
        c->stats.puts++;
        enum tl_status status = put_item(c, &keys[i], &items[i], op->wait, &st->waits[i].wait);
        if (status != TL_OK || op->wait <= TL_TIER_MEMORY) end_item(&st->waits[i], status);
    }
    op_check(st);
    return TL_OK;
}

enum tl_status tl_cache_put_many(struct tl_cache *c, struct tl_put *op, struct tl_put_item *items, size_t n,
                                 uint64_t deadline_ms, tl_put_cb *cb, struct tl_err *err)
{
    if (n == 0) return tl_fail(err, TL_INVALID, "no keys to write");
    if (n > TL_FLIGHT_KEYS_MAX)
        return tl_fail(err, TL_TOO_LARGE, "%zu keys at once: at most %d", n, TL_FLIGHT_KEYS_MAX);
    TL_AUTOFREE struct tl_cache_key *keys = tl_calloc(n, sizeof *keys);
    if (!keys) return tl_fail(err, TL_NOMEM, "no memory for writing %zu keys", n);
    for (size_t i = 0; i < n; i++) {
        enum tl_status st = tl_cache_key_general(&items[i].key, &keys[i], err);
        if (st != TL_OK) return st;
    }
    return put_keys(c, op, keys, items, n, deadline_ms, cb, err);
}

enum tl_status tl_cache_put(struct tl_cache *c, struct tl_put *op, const struct tl_key *key, const void *bytes,
                            size_t n, const struct tl_ttl *ttl, uint64_t deadline_ms, tl_put_cb *cb, struct tl_err *err)
{
    struct tl_cache_key k;
    enum tl_status st = tl_cache_key_general(key, &k, err);
    if (st != TL_OK) return st;
    if (n > TL_VALUE_MAX) return tl_fail(err, TL_TOO_LARGE, "a value of %zu bytes: at most %d", n, TL_VALUE_MAX);
    op->item = (struct tl_put_item){.key = *key, .bytes = bytes, .n = n};
    if (ttl) op->item.ttl = *ttl;
    return put_keys(c, op, &k, &op->item, 1, deadline_ms, cb, err);
}

/* ---- filling ---- */

int64_t tl_cache_redis_until(struct tl_cache *c, const struct tl_entry *e)
{
    int64_t hard = tl_entry_hard_ms(e);
    struct tl_key_parts parts;
    char type[72];
    if (!tl_cache_key_split(tl_entry_key(e), &parts)) return hard;
    size_t n = tl_cache_key_decode(parts.data_type, type, sizeof type);
    struct tl_ttl ttl = tl_cache_ttl(c, (struct tl_str){type, n}, NULL);
    int64_t until = ttl.redis_ms == TL_FOREVER ? INT64_MAX : tl_cache_now_ms(c) + tl_cache_jitter(c, ttl.redis_ms);
    return TL_MIN(hard, until);
}

void tl_cache_fill(struct tl_cache *c, struct tl_entry *e, enum tl_tier_id found_in)
{
    tl_cache_to_memory(c, e);
    bool loaded = found_in == TL_TIER_SOURCE;
    if (found_in == TL_TIER_REDIS || (!c->t_redis && !loaded)) return;
    struct tl_behind_write w = {.entry = e,
                                .redis_expires_ms = tl_cache_redis_until(c, e),
                                .store_expires_ms = tl_entry_hard_ms(e),
                                .to_redis = true,
                                .to_store = loaded && !c->read_only,
                                .made = loaded};
    (void)!tl_behind_put(c->behind, &w, NULL); /* a full queue: counted as refused, the answer stands */
}

enum tl_status tl_cache_put_series(struct tl_cache *c, struct tl_entry *e)
{
    if (c->phase != TL_CACHE_OPEN) return TL_CANCELLED;
    struct tl_behind_write w = {.entry = e, .redis_expires_ms = tl_cache_redis_until(c, e), .to_redis = true};
    enum tl_status st = c->t_redis ? tl_behind_put(c->behind, &w, NULL) : TL_OK;
    if (st == TL_OK) tl_cache_to_memory(c, e);
    return st;
}
