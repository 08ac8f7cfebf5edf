/* SPDX-License-Identifier: Apache-2.0 */
/* A key that is granted here is looked for in the store, and then let out of hand: its group ends without giving the
 * lease back (what becomes of the lease: lend_back.c). So Redis decides who may write, and this process remembers
 * nothing of what it lent; but for times without a Redis, when the leases stand in `lent` (key -> struct local) and
 * whoever asks for such a key waits as for another process. */
#include "schedule/lend_i.h"

#include "base/err.h"
#include "base/util.h"

#include <inttypes.h>
#include <stdio.h>

enum { LEASE_USUAL_MS = 30000, LOCAL_MAX = 100000, SWEEP_EACH_MS = 1000, STORE_MS = 2000 };

struct lender;

struct lending { /* one tl_lend under way */
    struct once_waiter waiter;
    struct tl_scheduler *s;
    struct tl_lend *op;
    struct tl_cache_key key;
    int64_t min_ms;
    struct tl_alarm deadline;
    struct tl_soon soon;
    enum tl_status status;
    struct lender *lender; /* of the group that it began, as long as that is */
    struct lending *prev, *next;
};

struct lender { /* the source of a group that was begun here */
    struct once_source source;
    struct tl_scheduler *s;
    struct lending *first; /* NULL: it has ended */
    struct once_group *group;
    struct tl_tier_op look; /* into the store */
    struct tl_tier_item item;
};

/* ---- an op ---- */

static struct lending *of(void *member, size_t offset)
{
    return (struct lending *)(void *)((char *)member - offset);
}
#define LENDING_OF(pointer, member) of(pointer, offsetof(struct lending, member))

static void end_op(struct lending *l, enum tl_status status)
{
    struct tl_scheduler *s = l->s;
    struct tl_lend *op = l->op;
    tl_once_leave(&l->waiter);
    if (l->lender) l->lender->first = NULL;
    tl_alarm_clear(s->alarms, &l->deadline);
    tl_soon_cancel(s->alarms, &l->soon);
    if (s->lendings == l)
        s->lendings = l->next;
    else
        l->prev->next = l->next;
    if (l->next) l->next->prev = l->prev;
    op->state = NULL;
    free(l);
    op->cb(op, status);
}

static void on_soon(struct tl_soon *soon)
{
    struct lending *l = LENDING_OF(soon, soon);
    end_op(l, l->status);
}

static void end_soon(struct lending *l, enum tl_status status, const char *why)
{
    l->status = status;
    if (status != TL_OK) (void)tl_fail(&l->op->err, status, "%s", why);
    tl_soon_call(l->s->alarms, &l->soon);
}

static void take(struct lending *l, struct tl_entry *e, enum tl_freshness freshness, enum tl_tier_id source)
{
    struct tl_lend *op = l->op;
    op->freshness = freshness;
    op->source = source;
    op->age_ms = TL_MAX(tl_cache_now_ms(l->s->cache) - e->general.ms, INT64_C(0));
    op->value = (struct tl_value *)(void *)tl_entry_ref(e);
    end_soon(l, TL_OK, "");
}

static void busy(struct lending *l, int64_t left_ms)
{
    l->op->left_ms = TL_MAX(left_ms, INT64_C(0));
    end_soon(l, TL_BUSY, "another is making it");
}

static void ask(struct lending *l);

static void on_over(struct once_waiter *w, const struct once_result *r)
{
    struct lending *l = LENDING_OF(w, waiter);
    if (l->soon.queued) return;
    l->op->waited = l->op->waited || r->waited;
    if (r->again || (r->status == TL_OK && r->entry->general.ms < l->min_ms)) {
        ask(l);
    } else if (r->status == TL_OK) {
        take(l, r->entry, r->freshness, r->source);
    } else {
        end_soon(l, r->status, r->why);
    }
}

static void on_busy(struct once_waiter *w, int64_t left_ms)
{
    struct lending *l = LENDING_OF(w, waiter);
    l->op->left_ms = left_ms;
    if (l->op->wait_ms == 0 && !l->soon.queued) busy(l, left_ms);
}

static void on_deadline(struct tl_alarm *a)
{
    struct lending *l = LENDING_OF(a, deadline);
    if (!l->soon.queued) busy(l, l->op->left_ms);
}

/* ---- granted ---- */

/* instance:nonce:token:generation: the lock's value, and what was invalidated before the value's source is read. */
static void lend_to(struct lending *l, const char *owner, uint64_t token)
{
    snprintf(l->op->lease, sizeof l->op->lease, "%s%" PRIu64 ":%" PRIu64, owner, token,
             tl_generations_newest(l->s->cache->generations));
    l->op->token = token;
    l->s->stats.lent++;
    end_soon(l, TL_OK, "");
}

struct local *tl_lend_local_of(struct tl_scheduler *s, struct tl_str key)
{
    void **slot = tl_map_get(s->lent, key);
    struct local *o = slot ? *slot : NULL;
    if (o && tl_once_now_ns(s) >= o->until_ns) {
        tl_map_remove(s->lent, key);
        free(o);
        return NULL;
    }
    return o;
}

int64_t tl_lent_left_ms(struct tl_scheduler *s, const struct tl_cache_key *key)
{
    if (tl_map_count(s->lent) == 0) return 0;
    const struct local *o = tl_lend_local_of(s, tl_cache_key_str(key));
    return o ? (int64_t)((o->until_ns - tl_once_now_ns(s) + 999999) / 1000000) : 0;
}

void tl_lend_note_shared(struct tl_scheduler *s, const struct tl_cache_key *key, uint32_t lease_ms)
{
    struct tl_str text = tl_cache_key_str(key);
    if (lease_ms == 0) {
        tl_map_remove(s->lent_shared, text);
        return;
    }
    if (tl_map_count(s->lent_shared) >= LOCAL_MAX) { /* it helps while Redis is away; nothing hangs on it otherwise */
        struct tl_map *empty = tl_map_new();
        if (!empty) return;
        tl_map_free(s->lent_shared);
        s->lent_shared = empty;
    }
    void **slot = tl_map_put(s->lent_shared, text, NULL);
    if (slot) *slot = (void *)(uintptr_t)(tl_once_now_ns(s) + lease_ms * UINT64_C(1000000));
}

int64_t tl_lent_shared_left_ms(struct tl_scheduler *s, const struct tl_cache_key *key)
{
    void **slot = tl_map_get(s->lent_shared, tl_cache_key_str(key));
    uint64_t now = tl_once_now_ns(s), until = slot ? (uint64_t)(uintptr_t)*slot : 0;
    if (until > now) return (int64_t)((until - now + 999999) / 1000000);
    if (slot) tl_map_remove(s->lent_shared, tl_cache_key_str(key));
    return 0;
}

/* Makes room: what has run out goes. */
static void sweep(struct tl_scheduler *s)
{
    uint64_t now = tl_once_now_ns(s);
    struct tl_map *kept = NULL;
    struct tl_str key;
    void *value;
    if (now - s->lent_swept_ns < SWEEP_EACH_MS * UINT64_C(1000000) || !(kept = tl_map_new())) return;
    s->lent_swept_ns = now;
    for (size_t i = 0; tl_map_next(s->lent, &i, &key, &value);) {
        struct local *o = value;
        void **slot = o->until_ns > now ? tl_map_put(kept, key, NULL) : NULL;
        if (slot)
            *slot = o;
        else
            free(o); /* has run out; or memory has, which ends it early */
    }
    tl_map_free(s->lent);
    s->lent = kept;
}

/* Without a Redis: to whoever comes first. */
static void lend_locally(struct lending *l, uint32_t lease_ms)
{
    struct tl_scheduler *s = l->s;
    struct tl_str key = tl_cache_key_str(&l->key);
    if (tl_map_count(s->lent) >= LOCAL_MAX) sweep(s);
    struct local *o = tl_map_count(s->lent) < LOCAL_MAX ? tl_calloc(1, sizeof *o) : NULL;
    void **slot = o ? tl_map_put(s->lent, key, NULL) : NULL;
    if (!slot) {
        free(o);
        end_soon(l, o ? TL_NOMEM : TL_FULL, o ? "no memory to lend" : "too much is lent already");
        return;
    }
    char owner[48];
    o->nonce = ++s->nonce;
    o->until_ns = tl_once_now_ns(s) + lease_ms * UINT64_C(1000000);
    *slot = o;
    snprintf(owner, sizeof owner, "%s%" PRIu64 ":", s->instance, o->nonce);
    lend_to(l, owner, 0);
}

/* Those who joined ask for themselves. */
static void lend_out(struct lender *f)
{
    struct once_group *g = f->group;
    struct once_key *k = &g->keys[0];
    struct lending *l = f->first;
    if (l && l->waiter.key == k && !l->soon.queued) {
        tl_once_leave(&l->waiter);
        l->op->taken_over = k->taken_over;
        l->op->waited = l->op->waited || k->waited;
        if (k->leased) {
            tl_lend_note_shared(f->s, &k->key, g->lease_ms);
            lend_to(l, g->owner, k->token);
        } else {
            lend_locally(l, g->lease_ms);
        }
        k->leased = false; /* the caller's from now on */
    }
    struct once_result r = {.status = TL_BUSY, .again = true, .why = "lent"};
    tl_once_land(k, &r);
    tl_once_made(g);
}

static void on_looked(struct tl_tier_op *op)
{
    struct lender *f = op->user;
    struct tl_cache *c = f->s->cache;
    struct once_key *k = &f->group->keys[0];
    struct tl_entry *e = f->item.status == TL_OK ? f->item.entry : NULL;
    bool good = e && e->kind == TL_ENTRY_GENERAL && !e->failure && e->general.ms >= k->min_ms &&
                tl_cache_now_ms(c) < tl_entry_soft_ms(e) && tl_generations_valid(c->generations, e, false);
    if (good) {
        tl_once_value(k, e, true);
        tl_once_made(f->group);
        return;
    }
    tl_entry_unref(e);
    lend_out(f);
}

/* The third check: it may have been made before, and be gone from Redis. */
static void make(struct once_source *source, struct once_group *g)
{
    struct lender *f = (struct lender *)(void *)source;
    struct tl_tier *store = f->s->cache->t_store;
    f->group = g;
    if (!store) {
        lend_out(f);
        return;
    }
    f->item = (struct tl_tier_item){.key = tl_cache_key_str(&g->keys[0].key)};
    f->look = (struct tl_tier_op){
        .verb = TL_TIER_GET, .items = &f->item, .n = 1, .timeout_ms = STORE_MS, .cb = on_looked, .user = f};
    if (tl_tier_submit(store, &f->look)) on_looked(&f->look);
}

static void keep_found(struct once_source *source, const struct once_key *k, struct tl_entry *e, enum tl_tier_id from,
                       bool degraded)
{
    tl_once_keep_general(((struct lender *)(void *)source)->s->cache, k, e, from, degraded);
}

static void lender_end(struct once_source *source)
{
    struct lender *f = (struct lender *)(void *)source;
    if (f->first) f->first->lender = NULL;
    free(f);
}

static const struct once_source_ops lender_ops = {.make = make, .keep = keep_found, .end = lender_end};

static void ask_engine(struct lending *l)
{
    struct lender *f = tl_calloc(1, sizeof *f);
    struct once_waiter *waiter = &l->waiter;
    l->waiter.over = on_over;
    l->waiter.busy = on_busy;
    enum tl_status st = TL_NOMEM;
    if (l->lender) l->lender->first = NULL; /* it asks for others now */
    l->lender = f;
    if (f) {
        f->source = (struct once_source){.ops = &lender_ops, .lease_ms = l->op->lease_ms, .lends = true};
        f->s = l->s;
        f->first = l;
        st = tl_once_begin(l->s, &f->source, &l->key, &l->min_ms, 1, &waiter);
    }
    if (st != TL_OK) end_soon(l, st, st == TL_NOMEM ? "no memory to ask" : "the scheduler is being closed");
}

static void ask(struct lending *l)
{
    struct tl_entry *e = tl_once_in_memory(l->s, &l->key, l->min_ms);
    if (e) {
        take(l, e, TL_FRESH, TL_TIER_MEMORY);
        l->s->stats.from_cache++;
    } else {
        ask_engine(l);
    }
    tl_entry_unref(e);
}

/* ---- the beginning of an op ---- */

enum tl_status tl_lend_check_ms(uint32_t *lease_ms, struct tl_err *err)
{
    if (*lease_ms == 0) *lease_ms = LEASE_USUAL_MS;
    if (*lease_ms >= TL_LEND_MIN_MS && *lease_ms <= TL_LEND_MAX_MS) return TL_OK;
    return tl_fail(err, TL_INVALID, "a lease lasts %d to %d ms, not %" PRIu32, TL_LEND_MIN_MS, TL_LEND_MAX_MS,
                   *lease_ms);
}

enum tl_status tl_lend(struct tl_scheduler *s, struct tl_lend *op, const struct tl_key *key, struct tl_err *err)
{
    struct lending *l = NULL;
    enum tl_status st = s->closing ? tl_fail(err, TL_CANCELLED, "the scheduler is being closed") : TL_OK;
    if (st == TL_OK) st = tl_lend_check_ms(&op->lease_ms, err);
    if (st == TL_OK && !(l = tl_calloc(1, sizeof *l))) st = tl_fail(err, TL_NOMEM, "no memory to lend");
    if (st == TL_OK) st = tl_cache_key_general(key, &l->key, err);
    if (st != TL_OK) {
        free(l);
        return st;
    }
    *op = (struct tl_lend){.lease_ms = op->lease_ms,
                           .max_age_ms = op->max_age_ms,
                           .wait_ms = op->wait_ms,
                           .cb = op->cb,
                           .user = op->user,
                           .state = l};
    l->s = s;
    l->op = op;
    l->min_ms = op->max_age_ms > 0 ? tl_cache_now_ms(s->cache) - op->max_age_ms : INT64_MIN;
    l->deadline.ring = on_deadline;
    l->soon.call = on_soon;
    if (op->wait_ms && tl_alarm_set(s->alarms, &l->deadline, tl_once_now_ns(s) + op->wait_ms * 1000000) != TL_OK) {
        op->state = NULL;
        free(l);
        return tl_fail(err, TL_NOMEM, "no memory to lend");
    }
    l->next = s->lendings;
    if (s->lendings) s->lendings->prev = l;
    s->lendings = l;
    ask(l);
    return TL_OK;
}

void tl_lend_cancel(struct tl_lend *op)
{
    struct lending *l = op->state;
    if (!l) return;
    tl_once_leave(&l->waiter);
    if (!l->soon.queued) end_soon(l, TL_CANCELLED, "it was cancelled");
}

void tl_lends_end(struct tl_scheduler *s)
{
    for (struct lending *l = s->lendings; l; l = l->next) tl_lend_cancel(l->op);
}

void tl_lends_free(struct tl_scheduler *s)
{
    struct tl_str key;
    void *value;
    for (size_t i = 0; s->lent && tl_map_next(s->lent, &i, &key, &value);) free(value);
    tl_map_free(s->lent);
    tl_map_free(s->lent_shared);
}
