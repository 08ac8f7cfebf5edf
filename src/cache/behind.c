/* SPDX-License-Identifier: Apache-2.0 */
/* The write-behind queue: one slot a key, with the entry on its way (`now`) and at most one that came meanwhile
 * (`later`).
 *
 *   slot: ready[REDIS] --> with Redis --ok, or given up--> ready[STORE] --> with the store --ok--> later, or gone
 *             ^                 |  ^--- retry, after a backoff              |  ^--- retry
 *             '--- later -------'--------------------------------------------'
 *
 * A slot is in one ready list, or in one batch under way, or has its alarm set. An entry that waits in ready[REDIS] is
 * replaced by a newer one; once it has been sent to Redis it goes on to the store, and the newer one waits behind it.
 * Redis gets a few tries when there is a store behind it (then the entry counts as skipped, and everything in Redis as
 * out of date), and as many as it takes when there is none. */
#include "cache/behind.h"

#include "base/err.h"
#include "base/map.h"
#include "base/rng.h"
#include "base/util.h"

enum {
    BATCH = 128,
    BATCH_BYTES = 4 << 20,
    UNDER_WAY = 4,
    REDIS_TRIES = 3,
    RETRY_MS = 50,
    RETRY_MAX_MS = 5000,
    OVERHEAD = 256
};

struct tl_behind_waits {
    struct tl_behind_wait *head;
};

struct write {
    struct tl_behind_write w; /* entry [own]; NULL: none */
    struct tl_behind_waits waits;
};

enum stage { STAGE_REDIS, STAGE_STORE, STAGES };

struct slot {
    struct tl_behind *b;
    struct write now, later;
    enum stage stage;
    bool waits_ready; /* in ready[stage] */
    bool distrust;    /* Redis did not get `now`: what it has of this key may be old */
    unsigned tries;
    struct tl_alarm again;
    struct slot *prev, *next; /* in ready[stage] */
};

struct ready {
    struct slot *head, *tail;
};

struct batch {
    struct tl_tier_op op;
    struct tl_behind *b;
    enum stage stage;
    struct slot *slots[BATCH];
    struct tl_tier_item items[BATCH];
};

struct tl_behind {
    struct tl_behind_options opt;
    struct tl_map *slots; /* key -> slot */
    struct ready ready[STAGES];
    unsigned under_way[STAGES];
    struct tl_soon dispatch;
    size_t bytes;
    struct tl_behind_counts counts[STAGES];
    struct tl_rng rng;
    bool draining, expired;
    struct tl_alarm deadline;
    void (*drained)(void *ctx);
    void *drained_ctx;
};

static const enum tl_tier_id tier_of[STAGES] = {TL_TIER_REDIS, TL_TIER_STORE};

static bool goes_to(const struct tl_behind_write *w, enum stage stage)
{
    return stage == STAGE_REDIS ? w->to_redis : w->to_store;
}

static size_t cost(const struct tl_entry *e)
{
    return sizeof *e + e->key_n + e->n + OVERHEAD;
}

/* ---- who waits ---- */

void tl_behind_forget(struct tl_behind_wait *w)
{
    if (!w->in) return;
    if (w->prev)
        w->prev->next = w->next;
    else
        w->in->head = w->next;
    if (w->next) w->next->prev = w->prev;
    w->in = NULL;
}

static void wait_in(struct tl_behind_waits *in, struct tl_behind_wait *w)
{
    w->in = in;
    w->prev = NULL;
    w->next = in->head;
    if (in->head) in->head->prev = w;
    in->head = w;
}

/* Tells those who wait for `tier` (NONE: for any). cb may put and forget. */
static void tell(struct tl_behind_waits *in, enum tl_tier_id tier, enum tl_status status)
{
    struct tl_behind_wait *w = in->head;
    while (w) {
        if (tier != TL_TIER_NONE && w->tier != tier) {
            w = w->next;
            continue;
        }
        tl_behind_forget(w);
        w->cb(w, status);
        w = in->head; /* the list may be another one now; those who were told are gone from it */
    }
}

static void move_waits(struct tl_behind_waits *from, struct tl_behind_waits *to)
{
    while (from->head) {
        struct tl_behind_wait *w = from->head;
        tl_behind_forget(w);
        wait_in(to, w);
    }
}

/* ---- ready lists ---- */

static void on_dispatch(struct tl_soon *);

static void make_ready(struct slot *s)
{
    struct ready *r = &s->b->ready[s->stage];
    s->waits_ready = true;
    s->next = NULL;
    s->prev = r->tail;
    if (r->tail)
        r->tail->next = s;
    else
        r->head = s;
    r->tail = s;
    tl_soon_call(s->b->opt.alarms, &s->b->dispatch);
}

static void take_ready(struct slot *s)
{
    struct ready *r = &s->b->ready[s->stage];
    s->waits_ready = false;
    if (s->prev)
        s->prev->next = s->next;
    else
        r->head = s->next;
    if (s->next)
        s->next->prev = s->prev;
    else
        r->tail = s->prev;
}

static void check_drained(struct tl_behind *b)
{
    if (!b->draining || tl_map_count(b->slots) > 0 || b->under_way[0] + b->under_way[1] > 0) return;
    void (*cb)(void *) = b->drained;
    b->drained = NULL;
    tl_alarm_clear(b->opt.alarms, &b->deadline);
    tl_soon_cancel(b->opt.alarms, &b->dispatch);
    if (cb) cb(b->drained_ctx);
}

/* ---- a slot's way ---- */

static void drop_write(struct tl_behind *b, struct write *w)
{
    b->bytes -= cost(w->w.entry);
    tl_entry_unref(w->w.entry);
    w->w.entry = NULL;
}

static void begin_now(struct slot *s)
{
    s->stage = s->now.w.to_redis ? STAGE_REDIS : STAGE_STORE;
    s->tries = 0;
    s->distrust = false;
    make_ready(s);
}

static void finish_now(struct slot *s)
{
    struct tl_behind *b = s->b;
    TL_ASSERT(!s->now.waits.head);
    struct tl_str key = tl_entry_key(s->now.w.entry);
    if (!s->later.w.entry) {
        tl_map_remove(b->slots, key);
        drop_write(b, &s->now);
        free(s);
        return;
    }
    drop_write(b, &s->now);
    s->now.w = s->later.w;
    s->later.w.entry = NULL;
    move_waits(&s->later.waits, &s->now.waits);
    begin_now(s);
}

/* This stage is over for `now`, one way or the other. The counter was raised. */
static void end_stage(struct slot *s, enum tl_status status)
{
    enum stage stage = s->stage;
    bool goes_on = stage == STAGE_REDIS && s->now.w.to_store;
    if (goes_on) {
        s->stage = STAGE_STORE;
        s->tries = 0;
        make_ready(s);
    }
    tell(&s->now.waits, tier_of[stage], status);
    if (goes_on) return;
    tell(&s->now.waits, TL_TIER_NONE, status);
    finish_now(s);
}

static void on_again(struct tl_alarm *a)
{
    make_ready((struct slot *)(void *)((char *)a - offsetof(struct slot, again)));
}

static void lose(struct slot *s, enum tl_status status)
{
    struct tl_behind *b = s->b;
    b->counts[s->stage].lost++;
    tl_log(b->opt.log, TL_LOG_ERROR, "cache", "a write was lost", "tier=%s key=%s status=%s",
           tl_tier_name(tier_of[s->stage]), s->now.w.entry->bytes, tl_status_name(status));
    s->distrust = s->stage == STAGE_REDIS;
    end_stage(s, status);
}

static void try_again(struct slot *s)
{
    struct tl_behind *b = s->b;
    uint64_t most = RETRY_MS;
    for (unsigned i = 0; i < s->tries && most < RETRY_MAX_MS; i++) most *= 2;
    s->tries++;
    b->counts[s->stage].retried++;
    uint64_t wait_ms = 1 + tl_rng_below(&b->rng, TL_MIN(most, (uint64_t)RETRY_MAX_MS));
    s->again.ring = on_again;
    uint64_t due = tl_clock_mono_ns(b->opt.clock) + wait_ms * 1000000;
    if (tl_alarm_set(b->opt.alarms, &s->again, due) != TL_OK) make_ready(s); /* no memory to wait: at once, then */
}

/* Permanent: another try gives the same. */
static bool is_hopeless(enum tl_status status)
{
    return status == TL_TOO_LARGE || status == TL_INVALID || status == TL_CORRUPT || status == TL_DENIED ||
           status == TL_UNSUPPORTED;
}

static void stage_result(struct slot *s, enum tl_status status)
{
    struct tl_behind *b = s->b;
    if (status == TL_OK) {
        b->counts[s->stage].written++;
        end_stage(s, TL_OK);
    } else if (b->expired) {
        lose(s, status);
    } else if (s->stage == STAGE_REDIS && (s->now.w.to_store || !(s->now.w.put || s->now.w.made))) {
        /* The store is what counts (or the value came from it): Redis is not waited for. */
        if (s->tries + 1 < REDIS_TRIES && tl_tier_up(b->opt.redis) && !is_hopeless(status)) {
            try_again(s);
            return;
        }
        b->counts[STAGE_REDIS].skipped++;
        s->distrust = s->now.w.to_store;
        end_stage(s, status);
    } else if (is_hopeless(status)) {
        lose(s, status);
    } else {
        try_again(s);
    }
}

/* ---- batches ---- */

/* Redis knows of an invalidation that was not known here when the entry was put: the put came after it, so the entry is
 * stamped anew and written once more. */
static bool needs_new_stamp(struct slot *s, const struct tl_tier_item *item, uint64_t newest)
{
    struct tl_entry *e = s->now.w.entry;
    uint64_t stamped = atomic_load_explicit(&e->generation, memory_order_relaxed);
    if (!s->now.w.put || item->status != TL_OK || item->superseded || newest <= stamped) return false;
    if (s->b->opt.valid && !s->b->opt.valid(s->b->opt.ctx, e)) return false;
    while (stamped < newest && !atomic_compare_exchange_weak_explicit(&e->generation, &stamped, newest,
                                                                      memory_order_relaxed, memory_order_relaxed))
        continue;
    return true;
}

static void on_batch(struct tl_tier_op *op)
{
    struct batch *batch = op->user;
    struct tl_behind *b = batch->b;
    b->under_way[batch->stage]--;
    bool ok = op->n > 0 && op->items[0].status == TL_OK;
    if (op->raise && ok && b->opt.raised) b->opt.raised(b->opt.ctx, op->generation);
    for (size_t i = 0; i < op->n; i++) {
        struct slot *s = batch->slots[i];
        if (batch->stage == STAGE_REDIS && needs_new_stamp(s, &op->items[i], op->generation))
            make_ready(s);
        else
            stage_result(s, op->items[i].status);
    }
    free(batch);
    tl_soon_call(b->opt.alarms, &b->dispatch);
    check_drained(b);
}

static void fail_ready(struct tl_behind *b, enum stage stage, enum tl_status status)
{
    struct slot *last = b->ready[stage].tail, *s;
    while ((s = b->ready[stage].head)) {
        bool end = s == last;
        take_ready(s);
        stage_result(s, status);
        if (end) break;
    }
}

static bool send_batch(struct tl_behind *b, enum stage stage)
{
    struct batch *batch = malloc(sizeof *batch); /* of 20 KiB most is written below */
    if (!batch) {
        fail_ready(b, stage, TL_NOMEM);
        return false;
    }
    size_t n = 0, bytes = 0;
    bool distrust = false;
    while (b->ready[stage].head && n < BATCH && bytes < BATCH_BYTES) {
        struct slot *s = b->ready[stage].head;
        struct tl_entry *e = s->now.w.entry;
        take_ready(s);
        batch->slots[n] = s;
        batch->items[n++] = (struct tl_tier_item){.key = tl_entry_key(e),
                                                  .entry = e,
                                                  .expires_ms = stage == STAGE_REDIS ? s->now.w.redis_expires_ms
                                                                                     : s->now.w.store_expires_ms};
        bytes += e->n;
        distrust = distrust || s->distrust;
    }
    batch->b = b;
    batch->stage = stage;
    batch->op =
        (struct tl_tier_op){.verb = TL_TIER_PUT,
                            .items = batch->items,
                            .n = n,
                            .timeout_ms = stage == STAGE_REDIS ? b->opt.redis_timeout_ms : b->opt.store_timeout_ms,
                            .raise = stage == STAGE_STORE && distrust ? "r" : NULL,
                            .cb = on_batch,
                            .user = batch};
    b->under_way[stage]++;
    if (tl_tier_submit(stage == STAGE_REDIS ? b->opt.redis : b->opt.store, &batch->op)) on_batch(&batch->op);
    return true;
}

static void on_dispatch(struct tl_soon *soon)
{
    struct tl_behind *b = (struct tl_behind *)(void *)((char *)soon - offsetof(struct tl_behind, dispatch));
    for (int stage = 0; stage < STAGES; stage++)
        while (b->ready[stage].head && b->under_way[stage] < UNDER_WAY)
            if (!send_batch(b, (enum stage)stage)) break;
    check_drained(b);
}

/* ---- the interface ---- */

enum tl_status tl_behind_new(const struct tl_behind_options *opt, struct tl_behind **out, struct tl_err *err)
{
    struct tl_behind *b = tl_calloc(1, sizeof *b);
    if (b) b->slots = tl_map_new();
    if (!b || !b->slots) {
        free(b);
        return tl_fail(err, TL_NOMEM, "no memory for the write-behind queue");
    }
    b->opt = *opt;
    b->dispatch.call = on_dispatch;
    tl_rng_seed(&b->rng, opt->seed);
    *out = b;
    return TL_OK;
}

void tl_behind_free(struct tl_behind *b)
{
    if (!b) return;
    TL_ASSERT(tl_map_count(b->slots) == 0);
    tl_soon_cancel(b->opt.alarms, &b->dispatch);
    tl_map_free(b->slots);
    free(b);
}

static void count(struct tl_behind *b, const struct tl_behind_write *w, size_t at)
{
    for (int stage = 0; stage < STAGES; stage++) {
        if (!goes_to(w, (enum stage)stage)) continue;
        uint64_t *counter = (uint64_t *)(void *)((char *)&b->counts[stage] + at);
        ++*counter;
    }
}

static void set_write(struct tl_behind *b, struct write *to, const struct tl_behind_write *w)
{
    if (to->w.entry) {
        count(b, &to->w, offsetof(struct tl_behind_counts, coalesced));
        drop_write(b, to);
    }
    to->w = *w;
    tl_entry_ref(w->entry);
    b->bytes += cost(w->entry);
}

enum tl_status tl_behind_put(struct tl_behind *b, const struct tl_behind_write *given, struct tl_behind_wait *wait)
{
    struct tl_behind_write w = *given;
    w.to_redis = w.to_redis && b->opt.redis;
    w.to_store = w.to_store && b->opt.store;
    if (!w.to_redis && !w.to_store) return TL_UNSUPPORTED;
    struct tl_str key = tl_entry_key(w.entry);
    void **found = tl_map_get(b->slots, key);
    struct slot *s = found ? *found : NULL;
    bool replaces = s && s->waits_ready && s->stage == STAGE_REDIS && s->tries == 0;
    struct write *to = replaces ? &s->now : s ? &s->later : NULL;
    size_t freed = to && to->w.entry ? cost(to->w.entry) : 0;
    if (b->draining || b->bytes - freed + cost(w.entry) > b->opt.cap_bytes) {
        count(b, &w, offsetof(struct tl_behind_counts, refused));
        return b->draining ? TL_CANCELLED : TL_FULL;
    }
    if (!s) {
        s = tl_calloc(1, sizeof *s);
        found = s ? tl_map_put(b->slots, key, NULL) : NULL;
        if (!found) {
            free(s);
            return TL_NOMEM;
        }
        *found = s;
        s->b = b;
        to = &s->now;
    }
    bool fresh = !s->now.w.entry;
    count(b, &w, offsetof(struct tl_behind_counts, accepted));
    set_write(b, to, &w);
    if (wait) wait_in(&to->waits, wait);
    if (fresh) begin_now(s);
    return TL_OK;
}

struct tl_entry *tl_behind_get(struct tl_behind *b, struct tl_str key)
{
    void **found = tl_map_get(b->slots, key);
    if (!found) return NULL;
    struct slot *s = *found;
    return tl_entry_ref(s->later.w.entry ? s->later.w.entry : s->now.w.entry);
}

void tl_behind_invalidated(struct tl_behind *b, struct tl_str scope)
{
    struct tl_str key;
    void *value;
    for (size_t i = 0; tl_map_next(b->slots, &i, &key, &value);) {
        struct slot *s = value;
        if (!tl_cache_scope_covers(scope, key)) continue;
        s->now.w.put = s->now.w.made = false;
        s->later.w.put = s->later.w.made = false;
    }
}

static void on_drain_deadline(struct tl_alarm *a)
{
    struct tl_behind *b = (struct tl_behind *)(void *)((char *)a - offsetof(struct tl_behind, deadline));
    struct tl_str key;
    void *value;
    b->expired = true; /* what is under way is counted when it comes back */
    for (size_t i = 0; tl_map_next(b->slots, &i, &key, &value);) {
        struct slot *s = value;
        if (!s->again.at) continue;
        tl_alarm_clear(b->opt.alarms, &s->again);
        make_ready(s);
    }
    for (int stage = 0; stage < STAGES; stage++) fail_ready(b, (enum stage)stage, TL_TIMEOUT);
    fail_ready(b, STAGE_STORE, TL_TIMEOUT); /* those that the first round sent on to it */
    check_drained(b);
}

void tl_behind_drain(struct tl_behind *b, uint64_t deadline_ns, void (*cb)(void *ctx), void *ctx)
{
    b->draining = true;
    b->drained = cb;
    b->drained_ctx = ctx;
    b->deadline.ring = on_drain_deadline;
    struct tl_str key;
    void *value;
    for (size_t i = 0; tl_map_next(b->slots, &i, &key, &value);) { /* nobody waits out a backoff any more */
        struct slot *s = value;
        if (!s->again.at) continue;
        tl_alarm_clear(b->opt.alarms, &s->again);
        make_ready(s);
    }
    if (tl_alarm_set(b->opt.alarms, &b->deadline, deadline_ns) != TL_OK) on_drain_deadline(&b->deadline);
    tl_soon_call(b->opt.alarms, &b->dispatch);
}

size_t tl_behind_entries(const struct tl_behind *b)
{
    return tl_map_count(b->slots);
}

size_t tl_behind_bytes(const struct tl_behind *b)
{
    return b->bytes;
}

void tl_behind_counts(const struct tl_behind *b, struct tl_behind_counts *redis, struct tl_behind_counts *store)
{
    *redis = b->counts[STAGE_REDIS];
    *store = b->counts[STAGE_STORE];
}
