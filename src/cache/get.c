/* SPDX-License-Identifier: Apache-2.0 */
/* Reading through the tiers: memory is asked at once, for the rest a read waits in flights (flight.c). A waiter leaves
 * its flight at its deadline; the flight goes on and fills the tiers. */
#include "cache/flight.h"

#include "base/err.h"
#include "base/util.h"
#include "cache/series_entry.h"

enum { LATENCY_SAMPLE = 16 };

/* ---- ops ---- */

static int64_t age_of(const struct tl_cache *c, const struct tl_entry *e)
{
    int64_t born = e->kind == TL_ENTRY_GENERAL ? e->general.ms : tl_series_entry_computed_ms(e);
    return TL_MAX(tl_cache_now_ms(c) - born, INT64_C(0));
}

static void end_op(struct tl_cache *c, struct tl_get_state *st)
{
    struct tl_get *op = st->op;
    enum tl_status status = op->items[0].status;
    for (size_t i = 0; op->items != &op->item && i < st->n; i++) {
        if (i == 0) status = TL_OK;
        if (op->items[i].status != TL_OK) status = TL_SOME_FAILED;
    }
    for (size_t i = 0; i < st->n; i++) tl_entry_unref(st->waiters[i].stale);
    if (c->gets == st)
        c->gets = st->next;
    else
        st->prev->next = st->next;
    if (st->next) st->next->prev = st->prev;
    tl_alarm_clear(c->alarms, &st->deadline);
    tl_alarm_clear(c->alarms, &st->soft);
    tl_get_cb *cb = st->cb;
    op->state = NULL;
    free(st);
    cb(op, status);
}

static void op_done(struct tl_soon *s)
{
    struct tl_get_state *st = (struct tl_get_state *)(void *)((char *)s - offsetof(struct tl_get_state, done));
    end_op(st->cache, st);
}

void tl_get_check(struct tl_get_state *st)
{
    if (st->waiting == 0) tl_soon_call(st->cache->alarms, &st->done);
}

void tl_get_answer(struct waiter *w, enum tl_status status, struct tl_entry *e, enum tl_freshness freshness,
                   enum tl_tier_id source)
{
    struct tl_get_state *st = w->state;
    struct tl_get_item *item = &st->op->items[w - st->waiters];
    tl_flight_leave(w);
    if (e && e->failure) {
        status = -(enum tl_status)e->failure;
        e = NULL;
    }
    item->status = status;
    item->source = source;
    item->freshness = e ? freshness : TL_MISSING;
    item->age_ms = e ? age_of(st->cache, e) : 0;
    item->value = e ? (struct tl_value *)(void *)tl_entry_ref(e) : NULL;
    if (e && freshness != TL_FRESH) st->cache->stats.stale_served++;
}

/* ---- asking ---- */

/* What memory says to one key. true: answered (a renewal may still be needed: *renew). */
static bool ask_memory(struct waiter *w, struct tl_tier_item *item, const struct tl_version *min, bool *renew)
{
    struct tl_get_state *st = w->state;
    struct tl_cache *c = st->cache;
    const struct tl_get *op = st->op;
    struct tl_entry *e = item->status == TL_OK ? item->entry : NULL;
    enum tl_freshness freshness = e ? tl_flight_judge(c, e, TL_TIER_MEMORY, op->max_age_ms, min) : TL_MISSING;
    if (e && freshness == TL_MISSING) tl_memory_del(c->memory, item->key, NULL);
    if (freshness == TL_FRESH && (op->max_age_ms == TL_AGE_NOW || !tl_peers_trusts_memory(c))) freshness = TL_STALE;
    c->stats.memory.hits += freshness == TL_FRESH;
    c->stats.memory.read_bytes += freshness == TL_FRESH ? e->n : 0;
    c->stats.memory.misses += freshness != TL_FRESH;
    bool done = freshness == TL_FRESH;
    *renew = !done;
    if (freshness == TL_STALE && !e->failure) {
        /* Below memory nothing newer is to be expected, but for those who ask for it or can make it. */
        bool asks = op->max_age_ms != 0 || min || !tl_peers_trusts_memory(c);
        *renew = op->load != NULL || asks;
        done = !asks && op->soft_ms == 0;
        if (!done) {
            w->stale = tl_entry_ref(e);
            w->stale_from = TL_TIER_MEMORY;
        }
    }
    if (done) tl_get_answer(w, TL_OK, e, freshness, TL_TIER_MEMORY);
    tl_entry_unref(e);
    return done;
}

static void on_deadline(struct tl_alarm *a)
{
    struct tl_get_state *st = (struct tl_get_state *)(void *)((char *)a - offsetof(struct tl_get_state, deadline));
    for (size_t i = 0; i < st->n; i++)
        if (st->waiters[i].flight) tl_get_answer(&st->waiters[i], TL_TIMEOUT, NULL, TL_MISSING, TL_TIER_NONE);
    tl_get_check(st);
}

static void on_soft(struct tl_alarm *a)
{
    struct tl_get_state *st = (struct tl_get_state *)(void *)((char *)a - offsetof(struct tl_get_state, soft));
    for (size_t i = 0; i < st->n; i++) {
        struct waiter *w = &st->waiters[i];
        if (!w->flight) continue;
        struct tl_entry *e = w->stale ? w->stale : w->flight->stale;
        enum tl_tier_id from = w->stale ? w->stale_from : w->flight->stale_from;
        if (e && tl_flight_judge(st->cache, e, from, 0, NULL) != TL_MISSING) tl_get_answer(w, TL_OK, e, TL_STALE, from);
    }
    tl_get_check(st);
}

static struct tl_get_state *state_new(struct tl_cache *c, struct tl_get *op, struct tl_get_item *items, size_t n,
                                      uint64_t deadline_ms, tl_get_cb *cb)
{
    struct tl_get_state *st = tl_calloc(1, sizeof *st + n * sizeof st->waiters[0]);
    if (!st) return NULL;
    st->cache = c;
    st->op = op;
    st->cb = cb;
    st->n = n;
    st->deadline.ring = on_deadline;
    st->soft.ring = on_soft;
    st->done.call = op_done;
    uint64_t now = tl_cache_now_ns(c);
    bool set = tl_alarm_set(c->alarms, &st->deadline, now + deadline_ms * 1000000) == TL_OK;
    if (set && op->soft_ms) set = tl_alarm_set(c->alarms, &st->soft, now + op->soft_ms * 1000000) == TL_OK;
    if (!set) {
        tl_alarm_clear(c->alarms, &st->deadline);
        free(st);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        st->waiters[i].state = st;
        items[i].value = NULL;
        items[i].status = TL_OK;
    }
    op->items = items;
    op->n = n;
    op->state = st;
    st->next = c->gets;
    if (c->gets) c->gets->prev = st;
    c->gets = st;
    return st;
}

static void look_up(struct tl_get_state *st, const struct tl_cache_key *keys, const struct tl_version *min,
                    struct tl_tier_item *found, struct flight **starting)
{
    struct tl_cache *c = st->cache;
    size_t starts = 0;
    bool sample = c->stats.gets++ % LATENCY_SAMPLE == 0;
    uint64_t began = sample ? tl_cache_now_ns(c) : 0;
    for (size_t i = 0; i < st->n; i++) found[i].key = tl_cache_key_str(&keys[i]);
    struct tl_tier_op op = {.verb = TL_TIER_GET, .items = found, .n = st->n};
    bool ended = tl_tier_submit(c->t_memory, &op);
    TL_ASSERT(ended);
    int64_t now_ms = tl_cache_now_ms(c);
    for (size_t i = 0; i < st->n; i++) {
        tl_top_note(c->top, found[i].key, now_ms);
        if (found[i].status != TL_OK) { /* memory may have let go of what is still on its way down */
            found[i].entry = tl_behind_get(c->behind, found[i].key);
            if (found[i].entry) found[i].status = TL_OK;
        }
        bool renew;
        bool done = ask_memory(&st->waiters[i], &found[i], min ? &min[i] : NULL, &renew);
        if (done && !renew) continue;
        tl_flight_need(&st->waiters[i], &keys[i], min ? &min[i] : NULL, !done, starting, &starts);
    }
    if (sample) tl_cache_note_latency(&c->stats.memory, began, tl_cache_now_ns(c));
    if (starts > 0) tl_flights_start(c, starting, starts);
    tl_get_check(st);
}

enum tl_status tl_cache_get_keys(struct tl_cache *c, struct tl_get *op, const struct tl_cache_key *keys,
                                 const struct tl_version *min, struct tl_get_item *items, size_t n,
                                 uint64_t deadline_ms, tl_get_cb *cb, struct tl_err *err)
{
    TL_ASSERT(n > 0 && deadline_ms > 0);
    if (c->phase != TL_CACHE_OPEN) return tl_fail(err, TL_CANCELLED, "the cache is being closed");
    if (n > TL_FLIGHT_KEYS_MAX)
        return tl_fail(err, TL_TOO_LARGE, "%zu keys at once: at most %d", n, TL_FLIGHT_KEYS_MAX);
    TL_AUTOFREE struct tl_tier_item *found = tl_calloc(n, sizeof *found);
    TL_AUTOFREE struct flight **starting = tl_calloc(n, sizeof(struct flight *));
    struct tl_get_state *st = found && starting ? state_new(c, op, items, n, deadline_ms, cb) : NULL;
    if (!st) return tl_fail(err, TL_NOMEM, "no memory for reading %zu keys", n);
    look_up(st, keys, min, found, starting);
    return TL_OK;
}

enum tl_status tl_cache_get_many(struct tl_cache *c, struct tl_get *op, struct tl_get_item *items, size_t n,
                                 uint64_t deadline_ms, tl_get_cb *cb, struct tl_err *err)
{
    if (n == 0) return tl_fail(err, TL_INVALID, "no keys to read");
    if (n > TL_FLIGHT_KEYS_MAX)
        return tl_fail(err, TL_TOO_LARGE, "%zu keys at once: at most %d", n, TL_FLIGHT_KEYS_MAX);
    TL_AUTOFREE struct tl_cache_key *keys = tl_calloc(n, sizeof *keys);
    if (!keys) return tl_fail(err, TL_NOMEM, "no memory for reading %zu keys", n);
    for (size_t i = 0; i < n; i++) {
        enum tl_status st = tl_cache_key_general(&items[i].key, &keys[i], err);
        if (st != TL_OK) return st;
    }
    return tl_cache_get_keys(c, op, keys, NULL, items, n, deadline_ms, cb, err);
}

enum tl_status tl_cache_get(struct tl_cache *c, struct tl_get *op, const struct tl_key *key, uint64_t deadline_ms,
                            tl_get_cb *cb, struct tl_err *err)
{
    struct tl_cache_key k;
    enum tl_status st = tl_cache_key_general(key, &k, err);
    op->item.key = *key;
    return st == TL_OK ? tl_cache_get_keys(c, op, &k, NULL, &op->item, 1, deadline_ms, cb, err) : st;
}

void tl_cache_get_cancel(struct tl_cache *c, struct tl_get *op)
{
    struct tl_get_state *st = op->state;
    (void)c;
    if (!st) return;
    for (size_t i = 0; i < st->n; i++)
        if (st->waiters[i].flight) tl_get_answer(&st->waiters[i], TL_CANCELLED, NULL, TL_MISSING, TL_TIER_NONE);
    tl_get_check(st);
}

void tl_gets_end(struct tl_cache *c)
{
    while (c->gets) {
        struct tl_get_state *st = c->gets;
        tl_cache_get_cancel(c, st->op);
        tl_soon_cancel(c->alarms, &st->done);
        end_op(c, st);
    }
}

struct tl_value *tl_cache_peek(struct tl_cache *c, const struct tl_key *key)
{
    struct tl_cache_key k;
    if (tl_cache_key_general(key, &k, NULL) != TL_OK) return NULL;
    struct tl_entry *e = tl_memory_get(c->memory, tl_cache_key_str(&k));
    if (!e) return NULL;
    bool fresh =
        !e->failure && tl_generations_valid(c->generations, e, false) && tl_cache_now_ms(c) < tl_entry_soft_ms(e);
    if (fresh) return (struct tl_value *)(void *)e;
    tl_entry_unref(e);
    return NULL;
}
