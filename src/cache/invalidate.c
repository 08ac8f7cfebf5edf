/* SPDX-License-Identifier: Apache-2.0 */
/* Invalidation: one number is raised, whatever the number of values. The store gives it out (its transaction decides
 * who is first), Redis mirrors it and tells the others; without a store Redis gives it out; with neither, this process
 * is alone and counts for itself.
 *
 *   begun --store--> raised --mirror--> told        (mirror says "too low": raised again above that)
 *      '--no store: Redis--> allocated -----^
 */
#include "cache/cache.h"

#include "base/err.h"
#include "base/util.h"

#include <stdio.h>

enum { RAISES_MAX = 5 };

struct tl_invalidate_state {
    struct tl_cache *cache;
    struct tl_invalidate *op;
    tl_invalidate_cb *cb;
    struct tl_alarm deadline;
    struct tl_soon done;
    struct tl_invalidate_state *prev, *next; /* in cache->invalidates while op is there */
    struct tl_tier_op raise;
    struct tl_tier_item item; /* of raise: the key, where the scope is one, else a key that never is */
    struct tl_mirror mirror;
    uint64_t timeout_ms;
    unsigned raises;
    bool at_work; /* a tier or the mirror holds this memory */
    enum tl_status status;
};

static void unlink_op(struct tl_cache *c, struct tl_invalidate_state *st)
{
    if (c->invalidates == st)
        c->invalidates = st->next;
    else
        st->prev->next = st->next;
    if (st->next) st->next->prev = st->prev;
    tl_alarm_clear(c->alarms, &st->deadline);
    tl_soon_cancel(c->alarms, &st->done);
}

/* The op ends; the memory stays for as long as anything works in it. */
static void end_op(struct tl_cache *c, struct tl_invalidate_state *st, enum tl_status status)
{
    struct tl_invalidate *op = st->op;
    if (!op) return;
    unlink_op(c, st);
    st->op = NULL;
    op->state = NULL;
    tl_invalidate_cb *cb = st->cb;
    if (status != TL_OK && op->err.status == TL_OK)
        (void)tl_fail(&op->err, status, "the invalidation may or may not have happened: %s", tl_status_text(status));
    if (!st->at_work) free(st);
    cb(op, status);
}

static void op_done(struct tl_soon *s)
{
    struct tl_invalidate_state *st =
        (struct tl_invalidate_state *)(void *)((char *)s - offsetof(struct tl_invalidate_state, done));
    end_op(st->cache, st, st->status);
}

static void on_deadline(struct tl_alarm *a)
{
    struct tl_invalidate_state *st =
        (struct tl_invalidate_state *)(void *)((char *)a - offsetof(struct tl_invalidate_state, deadline));
    end_op(st->cache, st, TL_TIMEOUT);
}

/* The work is over; the op, if it is still there, ends in the next turn. */
static void finish(struct tl_invalidate_state *st, enum tl_status status)
{
    st->at_work = false;
    st->status = status;
    if (st->op)
        tl_soon_call(st->cache->alarms, &st->done);
    else
        free(st);
}

static void apply(struct tl_invalidate_state *st)
{
    struct tl_str scope = tl_str(st->mirror.scope);
    tl_generations_raise(st->cache->generations, scope, st->mirror.generation);
    tl_behind_invalidated(st->cache->behind, scope);
    st->cache->stats.invalidations++;
}

static void raise_in_store(struct tl_invalidate_state *st);

static void on_mirrored(struct tl_mirror *m, enum tl_status status)
{
    struct tl_invalidate_state *st =
        (struct tl_invalidate_state *)(void *)((char *)m - offsetof(struct tl_invalidate_state, mirror));
    struct tl_cache *c = st->cache;
    if (status == TL_CONFLICT && ++st->raises < RAISES_MAX && c->phase == TL_CACHE_OPEN) {
        raise_in_store(st); /* Redis knows of higher ones: this one must be above them */
        return;
    }
    /* With a store the others learn it there, whatever became of Redis. */
    finish(st, TL_OK);
}

static void on_raised(struct tl_tier_op *op)
{
    struct tl_invalidate_state *st = op->user;
    struct tl_cache *c = st->cache;
    st->mirror.generation = op->generation;
    if (op->items[0].status != TL_OK) {
        finish(st, op->items[0].status);
        return;
    }
    apply(st);
    st->mirror.before = 0;
    st->mirror.cb = on_mirrored;
    tl_peers_mirror(c, &st->mirror, st->timeout_ms);
}

static void raise_in_store(struct tl_invalidate_state *st)
{
    struct tl_cache *c = st->cache;
    bool one_key = st->mirror.scope[0] == 'k';
    st->item = (struct tl_tier_item){.key = one_key ? tl_str(st->mirror.scope + 2) : TL_STR("-")};
    st->raise =
        (struct tl_tier_op){.verb = TL_TIER_DEL,
                            .items = &st->item,
                            .n = 1,
                            .timeout_ms = TL_MIN(st->timeout_ms, (uint64_t)c->store_timeout_ms),
                            .raise = st->mirror.scope,
                            .generation = TL_MAX(tl_generations_newest(c->generations), st->mirror.generation) + 1,
                            .cb = on_raised,
                            .user = st};
    if (tl_tier_submit(c->t_store, &st->raise)) on_raised(&st->raise);
}

static void on_allocated(struct tl_mirror *m, enum tl_status status)
{
    struct tl_invalidate_state *st =
        (struct tl_invalidate_state *)(void *)((char *)m - offsetof(struct tl_invalidate_state, mirror));
    if (status == TL_OK) apply(st);
    finish(st, status);
}

enum tl_status tl_cache_invalidate(struct tl_cache *c, struct tl_invalidate *op, enum tl_scope scope,
                                   const struct tl_key *key, uint64_t deadline_ms, tl_invalidate_cb *cb,
                                   struct tl_err *err)
{
    static const struct tl_key none = {.data_type = NULL};
    TL_ASSERT(deadline_ms > 0);
    if (c->phase != TL_CACHE_OPEN) return tl_fail(err, TL_CANCELLED, "the cache is being closed");
    struct tl_invalidate_state *st = tl_calloc(1, sizeof *st);
    if (!st) return tl_fail(err, TL_NOMEM, "no memory for an invalidation");
    enum tl_status status = tl_cache_scope(scope, key ? key : &none, st->mirror.scope, err);
    st->cache = c;
    st->deadline.ring = on_deadline;
    st->done.call = op_done;
    if (status == TL_OK && tl_alarm_set(c->alarms, &st->deadline, tl_cache_now_ns(c) + deadline_ms * 1000000) != TL_OK)
        status = tl_fail(err, TL_NOMEM, "no memory for an invalidation");
    if (status != TL_OK) {
        free(st);
        return status;
    }
    st->op = op;
    st->cb = cb;
    st->timeout_ms = deadline_ms;
    st->at_work = true;
    op->state = st;
    op->err = (struct tl_err){.status = TL_OK};
    st->next = c->invalidates;
    if (c->invalidates) c->invalidates->prev = st;
    c->invalidates = st;
    if (c->t_store && !c->read_only) {
        raise_in_store(st);
    } else if (c->redis) {
        st->mirror.before = tl_generations_newest(c->generations);
        st->mirror.cb = on_allocated;
        tl_peers_allocate(c, &st->mirror, deadline_ms);
    } else if (c->t_store) {
        finish(st, TL_DENIED);
    } else {
        st->mirror.generation = tl_generations_newest(c->generations) + 1;
        apply(st);
        finish(st, TL_OK);
    }
    return TL_OK;
}

void tl_invalidates_end(struct tl_cache *c)
{
    while (c->invalidates) end_op(c, c->invalidates, TL_CANCELLED);
}
