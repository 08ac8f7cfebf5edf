/* SPDX-License-Identifier: Apache-2.0 */
/* A group of keys from the first question to the last answer.
 *
 *   CHECKING --> READY --a worker is free--> QUEUED.. ASKING --granted--> MAKING --> COMMITTING --> every key is over
 *       ^          ^                           |                                         |
 *       |          '---- message, alarm -- WAITING (all that is left is BUSY) <----------'
 *       '----------- the version was too old, or the data changed ---------------------------'
 *
 * A worker is held from ACQUIRE to the answer of COMMIT, so nothing is leased that nobody can compute. Keys of a group
 * end one by one; the group ends with the last of them. What a group made is kept while its lease may be lost: leased
 * anew for the same version it is handed in, not made again. Without Redis a group is granted everything, token 0. */
#include "schedule/once.h"

#include "base/err.h"
#include "base/failpoint.h"
#include "base/util.h"
#include "cache/series_entry.h"

#include <inttypes.h>
#include <stdio.h>

static bool any(const struct once_group *g, enum once_state state)
{
    for (size_t i = 0; i < g->n; i++)
        if (g->keys[i].state == state) return true;
    return false;
}

static void change_all(struct once_group *g, enum once_state from, enum once_state to)
{
    for (size_t i = 0; i < g->n; i++)
        if (g->keys[i].state == from) g->keys[i].state = to;
}

static bool wanted_by_anybody(const struct once_group *g)
{
    for (size_t i = 0; i < g->n; i++)
        if (g->keys[i].waiters) return true;
    return false;
}

/* ---- waiters ---- */

static void tell_busy(const struct once_key *k, int64_t left_ms)
{
    for (struct once_waiter *w = k->waiters; w; w = w->next)
        if (w->busy) w->busy(w, left_ms);
}

/* This process itself makes what is in `state`, or is about to. */
static void tell_all_busy(const struct once_group *g, enum once_state state)
{
    for (size_t i = 0; i < g->n && !g->source->lends; i++)
        if (g->keys[i].state == state) tell_busy(&g->keys[i], (int64_t)g->lease_ms);
}

static void join(struct once_key *k, struct once_waiter *w)
{
    w->key = k;
    w->prev = NULL;
    w->next = k->waiters;
    if (k->waiters) k->waiters->prev = w;
    k->waiters = w;
}

static void unlink_waiter(struct once_waiter *w)
{
    if (w->prev)
        w->prev->next = w->next;
    else
        w->key->waiters = w->next;
    if (w->next) w->next->prev = w->prev;
    w->key = NULL;
    w->prev = w->next = NULL;
}

void tl_once_leave(struct once_waiter *w)
{
    if (!w->key) return;
    struct once_group *g = w->key->group;
    unlink_waiter(w);
    if (!wanted_by_anybody(g)) tl_once_step_soon(g);
}

static void count(struct tl_scheduler *s, const struct once_key *k, const struct once_result *r)
{
    s->stats.duplicated += k->duplicated;
    if (r->again || r->status == TL_CANCELLED || (r->all && r->status == TL_NOT_FOUND)) return;
    s->stats.failed += r->status != TL_OK;
    if (r->status != TL_OK) return;
    bool made = r->source == TL_TIER_SOURCE;
    s->stats.computed += made;
    s->stats.taken_over += made && k->taken_over;
    s->stats.degraded += made && k->degraded && s->cache->redis_state != TL_REDIS_NONE;
    s->stats.waited += !made && r->waited;
    s->stats.from_cache += !made && !r->waited;
}

/* The key is over; nobody can join it any more, and those who wait are told. */
void tl_once_land(struct once_key *k, const struct once_result *r)
{
    struct tl_scheduler *s = k->group->s;
    TL_ASSERT(k->state != ONCE_OVER);
    void **slot = tl_map_get(s->keys, tl_cache_key_str(&k->key));
    if (slot && *slot == k) tl_map_remove(s->keys, tl_cache_key_str(&k->key));
    k->state = ONCE_OVER;
    count(s, k, r);
    while (k->waiters) {
        struct once_waiter *w = k->waiters;
        unlink_waiter(w);
        w->over(w, r);
    }
    tl_entry_unref(k->made);
    tl_entry_unref(k->early);
    tl_entry_unref(k->old);
    k->made = k->early = k->old = NULL;
}

static void land_failure(struct once_key *k, enum tl_status status, const char *why, bool all)
{
    struct once_result r = {.status = status, .why = why, .waited = k->waited, .duplicated = k->duplicated, .all = all};
    tl_once_land(k, &r);
}

static void land_all(struct once_group *g, enum tl_status status, const char *why)
{
    for (size_t i = 0; i < g->n; i++)
        if (g->keys[i].state != ONCE_OVER) land_failure(&g->keys[i], status, why, true);
}

/* ---- workers ---- */

static void leave_queue(struct once_group *g)
{
    struct tl_scheduler *s = g->s;
    if (g->phase != ONCE_QUEUED) return;
    if (g->prev_queued)
        g->prev_queued->next_queued = g->next_queued;
    else
        s->queue_first = g->next_queued;
    if (g->next_queued)
        g->next_queued->prev_queued = g->prev_queued;
    else
        s->queue_last = g->prev_queued;
    g->prev_queued = g->next_queued = NULL;
    g->phase = ONCE_READY;
}

static bool take_worker(struct once_group *g)
{
    struct tl_scheduler *s = g->s;
    if (g->has_worker || g->source->lends) return true;
    if (s->free_workers > 0 && !s->queue_first) {
        s->free_workers--;
        g->has_worker = true;
        return true;
    }
    g->phase = ONCE_QUEUED;
    g->prev_queued = s->queue_last;
    if (s->queue_last)
        s->queue_last->next_queued = g;
    else
        s->queue_first = g;
    s->queue_last = g;
    tell_all_busy(g, ONCE_WANTED);
    return false;
}

static void give_worker(struct once_group *g)
{
    struct tl_scheduler *s = g->s;
    if (!g->has_worker) return;
    g->has_worker = false;
    struct once_group *next = s->queue_first;
    if (!next) {
        s->free_workers++;
        return;
    }
    leave_queue(next);
    next->has_worker = true;
    tl_once_step_soon(next);
}

/* ---- the end of a group ---- */

static void told_of_room(struct tl_scheduler *s)
{
    if (s->room) tl_soon_call(s->alarms, &s->room_soon);
}

static void set_active(struct once_group *g, bool was, bool is)
{
    if (was && !is) {
        g->s->active--;
        told_of_room(g->s);
    } else if (!was && is) {
        g->s->active++;
    }
}

static void end_group(struct once_group *g)
{
    struct tl_scheduler *s = g->s;
    TL_ASSERT(!g->ended && g->phase != ONCE_MAKING && g->phase != ONCE_CHECKING);
    tl_once_part(g);
    tl_once_forget(g);
    leave_queue(g);
    set_active(g, g->phase != ONCE_WAITING, false);
    give_worker(g);
    tl_alarm_clear(s->alarms, &g->again);
    tl_alarm_clear(s->alarms, &g->renewal);
    tl_soon_cancel(s->alarms, &g->soon);
    g->ended = true;
    if (g->prev)
        g->prev->next = g->next;
    else
        s->groups = g->next;
    if (g->next) g->next->prev = g->prev;
    g->source->ops->end(g->source);
    tl_entry_unref(g->extra);
    free(g);
    tl_once_ended(s);
}

/* ---- making ---- */

static void on_renewal(struct tl_alarm *a)
{
    struct once_group *g = (struct once_group *)(void *)((char *)a - offsetof(struct once_group, renewal));
    uint64_t now = tl_once_now_ns(g->s), third = g->lease_ms * UINT64_C(1000000) / 3;
    bool moves = now - atomic_load_explicit(&g->progress_ns, memory_order_relaxed) < g->stall_ns;
    if (now >= g->until_ns) atomic_store_explicit(&g->lost, true, memory_order_relaxed);
    if (moves && !g->hold) tl_once_hold(g);
    /* A third, +-10 %. */
    third += tl_rng_below(&g->s->rng, third / 5 + 1) - third / 10;
    (void)!tl_alarm_set(g->s->alarms, a, now + third);
}

/* What was granted may be another's by now, if the answer took long. */
static bool is_too_late(const struct once_group *g)
{
    bool leased = false;
    for (size_t i = 0; i < g->n; i++) leased = leased || (g->keys[i].state == ONCE_GRANTED && g->keys[i].leased);
    return leased && tl_once_now_ns(g->s) >= g->until_ns;
}

static void make(struct once_group *g)
{
    g->phase = ONCE_MAKING;
    g->generation = tl_generations_newest(g->s->cache->generations);
    atomic_store_explicit(&g->progress_ns, tl_once_now_ns(g->s), memory_order_relaxed);
    atomic_store_explicit(&g->lost, false, memory_order_relaxed);
    tell_all_busy(g, ONCE_GRANTED);
    TL_FAILPOINT("make.before");
    g->source->ops->make(g->source, g);
}

void tl_once_value(struct once_key *k, struct tl_entry *entry, bool found)
{
    TL_ASSERT(k->state == ONCE_GRANTED && !k->made);
    k->made = entry;
    k->found = found;
    k->failure = TL_OK;
    atomic_store_explicit(&entry->generation, k->group->generation, memory_order_relaxed);
}

void tl_once_failed(struct once_key *k, enum tl_status status, const char *why)
{
    TL_ASSERT(k->state == ONCE_GRANTED && status != TL_OK);
    k->failure = status;
    snprintf(k->why, sizeof k->why, "%s", why);
    for (char *p = k->why; *p; p++) /* it stands in one line */
        if ((unsigned char)*p < 0x20) *p = ' ';
}

void tl_once_made(struct once_group *g)
{
    TL_ASSERT(g->phase == ONCE_MAKING);
    TL_FAILPOINT("make.after");
    for (size_t i = 0; i < g->n; i++) {
        struct once_key *k = &g->keys[i];
        if (k->state != ONCE_GRANTED) continue;
        if (!k->made && k->failure == TL_OK) tl_once_failed(k, TL_INTERNAL, "nothing was made");
        k->state = ONCE_MADE;
    }
    g->phase = ONCE_READY;
    tl_once_step(g);
}

/* ---- without Redis ---- */

static bool has_redis(const struct once_group *g)
{
    return !g->without_redis && tl_once_has_redis(g->s);
}

static bool waits_for_redis(struct once_group *g)
{
    struct tl_scheduler *s = g->s;
    uint64_t until = s->lost_ns + ONCE_GRACE_MS * UINT64_C(1000000);
    if (g->without_redis || s->lost_ns == 0 || tl_once_now_ns(s) >= until || s->closing) return false;
    set_active(g, g->phase != ONCE_WAITING, false);
    give_worker(g);
    g->phase = ONCE_WAITING;
    return tl_alarm_set(s->alarms, &g->again, until) == TL_OK;
}

/* ---- steps ---- */

/* Values that were invalidated while they were made are made again. */
static void look_at_made(struct once_group *g)
{
    for (size_t i = 0; i < g->n; i++) {
        struct once_key *k = &g->keys[i];
        if (k->state != ONCE_MADE || !k->made || tl_generations_valid(g->s->cache->generations, k->made, false))
            continue;
        tl_entry_unref(k->made);
        k->made = NULL;
        k->state = ONCE_GRANTED;
        if (++k->tries < ONCE_TRIES_MAX) continue;
        tl_once_failed(k, TL_CONFLICT, "invalidated faster than it can be made");
        k->state = ONCE_MADE;
    }
}

static void check(struct once_group *g)
{
    g->recheck = false;
    g->phase = ONCE_CHECKING;
    g->source->ops->check(g->source, g);
}

static void wait_for_others(struct once_group *g)
{
    struct tl_scheduler *s = g->s;
    int64_t left = ONCE_ASK_AGAIN_MS;
    for (size_t i = 0; i < g->n; i++) {
        const struct once_key *k = &g->keys[i];
        if (k->state != ONCE_BUSY) continue;
        left = TL_MIN(left, TL_MAX(k->left_ms, INT64_C(1)));
        tell_busy(k, k->left_ms);
    }
    set_active(g, g->phase != ONCE_WAITING, false);
    give_worker(g);
    g->phase = ONCE_WAITING;
    uint64_t us = (uint64_t)left * 1000 + tl_rng_below(&s->rng, (uint64_t)left * 100 + 2000);
    if (tl_alarm_set(s->alarms, &g->again, tl_once_now_ns(s) + us * 1000) != TL_OK)
        land_all(g, TL_NOMEM, "no memory to wait");
}

static void ask(struct once_group *g)
{
    tl_once_wait_for_lent(g);
    if (!any(g, ONCE_WANTED)) {
        tl_once_step(g);
        return;
    }
    if (!has_redis(g)) {
        if (waits_for_redis(g)) return;
        tl_once_grant_alone(g);
        tl_once_step(g);
        return;
    }
    g->phase = ONCE_ASKING;
    tl_once_acquire(g);
}

static bool is_over(const struct once_group *g)
{
    for (size_t i = 0; i < g->n; i++)
        if (g->keys[i].state != ONCE_OVER) return false;
    return true;
}

/* The next thing to do, now that nothing of the group is under way. */
void tl_once_step(struct once_group *g)
{
    struct tl_scheduler *s = g->s;
    bool computing = g->phase == ONCE_CHECKING || g->phase == ONCE_MAKING;
    if (g->exchange || g->fetches > 0 || computing || g->ended) return;
    leave_queue(g);
    tl_alarm_clear(s->alarms, &g->again);
    look_at_made(g);
    if (s->closing && g->source->strict) g->keys[0].leased = false; /* can be handed in elsewhere */
    if (s->closing || (!wanted_by_anybody(g) && !any(g, ONCE_MADE)))
        land_all(g, TL_CANCELLED, s->closing ? "the scheduler is being closed" : "nobody waits for it");
    if (is_over(g)) {
        end_group(g);
        return;
    }
    if (!any(g, ONCE_MADE) && !any(g, ONCE_GRANTED) && !any(g, ONCE_WANTED)) {
        wait_for_others(g);
        if (is_over(g)) end_group(g);
        return;
    }
    set_active(g, g->phase != ONCE_WAITING, true);
    g->phase = ONCE_READY;
    if (g->recheck && g->source->ops->check) {
        check(g);
        return;
    }
    if (!take_worker(g)) return;
    if (any(g, ONCE_GRANTED) && is_too_late(g)) {
        change_all(g, ONCE_GRANTED, ONCE_WANTED);
        tl_once_step(g);
    } else if (any(g, ONCE_GRANTED)) {
        make(g);
    } else if (any(g, ONCE_MADE) && has_redis(g)) {
        g->phase = ONCE_COMMITTING;
        tl_once_commit(g);
    } else if (any(g, ONCE_MADE)) {
        if (waits_for_redis(g)) return;
        tl_once_land_made_alone(g);
        tl_once_step(g);
    } else {
        ask(g);
    }
}

static void on_soon(struct tl_soon *soon)
{
    tl_once_step((struct once_group *)(void *)((char *)soon - offsetof(struct once_group, soon)));
}

void tl_once_step_soon(struct once_group *g)
{
    tl_soon_call(g->s->alarms, &g->soon);
}

/* The lease of another may be over, or a message was lost. */
static void on_again(struct tl_alarm *a)
{
    struct once_group *g = (struct once_group *)(void *)((char *)a - offsetof(struct once_group, again));
    change_all(g, ONCE_BUSY, ONCE_WANTED);
    tl_once_step(g);
}

void tl_once_joined(struct tl_scheduler *s, bool joined)
{
    s->lost_ns = joined ? 0 : tl_once_now_ns(s);
    for (struct once_group *g = s->groups; g; g = g->next) {
        if (g->phase != ONCE_WAITING) continue;
        change_all(g, ONCE_BUSY, ONCE_WANTED); /* what was announced meanwhile was not heard */
        tl_once_step_soon(g);
    }
}

void tl_once_checked(struct once_group *g, enum tl_status status, const char *why)
{
    TL_ASSERT(g->phase == ONCE_CHECKING);
    g->phase = ONCE_READY;
    if (status != TL_OK) {
        tl_once_part(g);
        land_all(g, status, why);
    }
    tl_once_step(g);
}

void tl_once_found(struct once_key *k, struct tl_entry *entry, enum tl_tier_id tier)
{
    if (k->state == ONCE_OVER) return;
    struct once_result r = {.status = TL_OK, .entry = entry, .freshness = TL_FRESH, .source = tier, .why = ""};
    if (entry && tier != TL_TIER_MEMORY) tl_cache_to_memory(k->group->s->cache, entry);
    tl_once_land(k, &r);
}

void tl_once_end_all(struct tl_scheduler *s)
{
    for (struct once_group *g = s->groups; g; g = g->next) tl_once_step_soon(g);
}

/* ---- the beginning ---- */

static struct once_group *group_new(struct tl_scheduler *s, struct once_source *source, size_t n)
{
    struct once_group *g = tl_calloc(1, sizeof *g + n * sizeof g->keys[0]);
    if (!g) return NULL;
    g->s = s;
    g->source = source;
    g->phase = ONCE_READY;
    g->versioned = source->ops->versioned;
    g->recheck = source->ops->check != NULL;
    g->again.ring = on_again;
    g->renewal.ring = on_renewal;
    g->soon.call = on_soon;
    g->stall_ns = (source->stall_ms ? source->stall_ms : ONCE_STALL_MS) * 1000000;
    snprintf(g->owner, sizeof g->owner, "%s%" PRIu64 ":", s->instance, ++s->nonce);
    g->lease_ms = source->lease_ms ? source->lease_ms : s->lease_ms;
    return g;
}

/* "600519.SH" of "calc:{600519.SH}:1d:...": what ties the keys together. */
static void set_tag(struct once_group *g)
{
    const char *from = strchr(g->keys[0].key.text, '{'), *to = from ? strchr(from, '}') : NULL;
    TL_ASSERT(to);
    snprintf(g->tag, sizeof g->tag, "%.*s", (int)(to - from + 1), from);
}

static void link_group(struct once_group *g)
{
    struct tl_scheduler *s = g->s;
    set_tag(g);
    g->next = s->groups;
    if (s->groups) s->groups->prev = g;
    s->groups = g;
    s->active++;
    tl_once_step_soon(g);
}

/* The key is nobody's to join: others ask Redis, or for themselves. */
enum tl_status tl_once_hand_in(struct tl_scheduler *s, const struct once_hand_in *in)
{
    struct once_group *g = s->closing ? NULL : group_new(s, in->source, 1);
    if (!g) {
        tl_entry_unref(in->made);
        return s->closing ? TL_CANCELLED : TL_NOMEM;
    }
    struct once_key *k = &g->keys[g->n++];
    *k = (struct once_key){.group = g, .key = *in->key, .min_ms = INT64_MIN, .state = ONCE_GRANTED};
    k->token = in->token;
    k->leased = in->token != 0;
    snprintf(g->owner, sizeof g->owner, "%s", in->owner);
    g->generation = in->generation;
    g->until_ns = UINT64_MAX; /* COMMIT decides */
    g->without_redis = in->token == 0;
    if (in->made)
        tl_once_value(k, in->made, false);
    else
        tl_once_failed(k, in->failure, in->why);
    k->state = ONCE_MADE;
    join(k, in->waiter);
    link_group(g);
    return TL_OK;
}

static void tell_joined(const struct once_key *k, struct once_waiter *w)
{
    const struct once_group *g = k->group;
    bool here = !g->source->lends && (g->phase == ONCE_MAKING || g->phase == ONCE_QUEUED);
    if (w->busy && (k->state == ONCE_BUSY || here))
        w->busy(w, k->state == ONCE_BUSY ? k->left_ms : (int64_t)g->lease_ms);
}

enum tl_status tl_once_begin(struct tl_scheduler *s, struct once_source *source, const struct tl_cache_key *keys,
                             const int64_t *min_ms, size_t n, struct once_waiter *const *waiters)
{
    TL_ASSERT(n > 0 && n <= ONCE_GROUP_MAX);
    struct once_group *g = s->closing ? NULL : group_new(s, source, n);
    enum tl_status st = g ? TL_OK : s->closing ? TL_CANCELLED : TL_NOMEM;
    for (size_t i = 0; st == TL_OK && i < n; i++) {
        bool fresh;
        void **slot = tl_map_put(s->keys, tl_cache_key_str(&keys[i]), &fresh);
        if (!slot) {
            st = TL_NOMEM;
        } else if (!fresh) {
            struct once_key *k = *slot;
            join(k, waiters[i]);
            tell_joined(k, waiters[i]);
        } else {
            struct once_key *k = *slot = &g->keys[g->n++];
            *k = (struct once_key){.group = g, .key = keys[i], .min_ms = min_ms ? min_ms[i] : INT64_MIN};
            join(k, waiters[i]);
        }
    }
    if (st == TL_OK && g->n > 0) {
        link_group(g);
        return TL_OK;
    }
    for (size_t i = 0; st != TL_OK && i < n; i++)
        if (waiters[i]->key) unlink_waiter(waiters[i]);
    for (size_t i = 0; g && i < g->n; i++) tl_map_remove(s->keys, tl_cache_key_str(&g->keys[i].key));
    free(g);
    source->ops->end(source);
    return st;
}
