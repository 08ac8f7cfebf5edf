/* SPDX-License-Identifier: Apache-2.0 */
/* Any value, made once by a caller's function: memory first, then a group of one key (once.c). Who made it is of no
 * matter to those who asked: they wait for the key, not for the function. */
#include "schedule/once.h"

#include "base/err.h"
#include "base/util.h"

#include <stdio.h>

enum { STALL_USUAL_MS = 30000 };

/* One tl_compute under way. */
struct computing {
    struct once_waiter waiter;
    struct tl_scheduler *s;
    struct tl_compute *op;
    tl_compute_cb *cb;
    struct tl_cache_key key;
    struct tl_alarm deadline, soft;
    struct tl_soon soon;
    enum tl_status status;
    bool hasty;           /* its soft deadline is over */
    struct tl_entry *old; /* [own] outdated, from Redis */
    unsigned rounds;
    int64_t min_ms;
    struct computing *prev, *next;
};

/* Where the value comes from: the function of the op that began, which may be over before it is called. */
struct function {
    struct once_source source;
    struct tl_scheduler *s;
    struct tl_work work;
    struct once_group *group;
    tl_make_fn *make;
    void *ctx;
    char data_type[72], symbol[72], timeframe[40];
    uint64_t generation;
    struct tl_making {
        struct once_group *group;
        uint64_t token;
        char *bytes; /* [own] */
        size_t n;
        bool there;
        struct tl_ttl ttl;
        enum tl_status status;
        char why[200];
    } making;
    struct tl_entry *found; /* [own] in the store */
};

/* ---- the function, on a worker ---- */

enum tl_status tl_making_value(struct tl_making *m, const void *bytes, size_t n, const struct tl_ttl *ttl)
{
    if (n > TL_VALUE_MAX) return tl_making_fail(m, TL_TOO_LARGE, "the value is larger than 8 MiB");
    char *copy = tl_calloc(n + 1, 1);
    if (!copy) return tl_making_fail(m, TL_NOMEM, "no memory for the value");
    if (n) memcpy(copy, bytes, n);
    free(m->bytes);
    m->bytes = copy;
    m->n = n;
    m->there = true;
    if (ttl) m->ttl = *ttl;
    return TL_OK;
}

enum tl_status tl_making_fail(struct tl_making *m, enum tl_status status, const char *why)
{
    m->there = false;
    m->status = status == TL_OK ? TL_INTERNAL : status;
    snprintf(m->why, sizeof m->why, "%s", why ? why : tl_status_text(m->status));
    return m->status;
}

bool tl_making_progress(struct tl_making *m)
{
    atomic_store_explicit(&m->group->progress_ns, tl_once_now_ns(m->group->s), memory_order_relaxed);
    return !atomic_load_explicit(&m->group->lost, memory_order_relaxed);
}

uint64_t tl_making_token(const struct tl_making *m)
{
    return m->token;
}

/* The third check: it may have been made before, and be gone from Redis. */
static void look_into_store(struct function *f, unsigned worker)
{
    struct tl_scheduler *s = f->s;
    const struct once_key *k = &f->group->keys[0];
    struct tl_entry *e = NULL;
    struct tl_buf bytes;
    if (!s->readers) return;
    tl_buf_init(&bytes, TL_VALUE_MAX + 4096);
    int64_t now = tl_clock_wall_ms(s->cache->clock);
    if (tl_store_entry_read(s->readers[worker], tl_cache_key_str(&k->key), now, &bytes, NULL) == TL_OK)
        (void)!tl_entry_decode(tl_cache_key_str(&k->key), tl_buf_str(&bytes), &e, NULL);
    tl_buf_release(&bytes);
    bool good = e && e->kind == TL_ENTRY_GENERAL && !e->failure && e->general.ms >= k->min_ms &&
                now < tl_entry_soft_ms(e) && tl_generations_valid(s->cache->generations, e, false);
    if (good)
        f->found = e;
    else
        tl_entry_unref(e);
}

static void run(struct tl_work *work, unsigned worker)
{
    struct function *f = (struct function *)(void *)((char *)work - offsetof(struct function, work));
    struct tl_making *m = &f->making;
    look_into_store(f, worker);
    if (f->found) return;
    struct tl_key key = {.data_type = f->data_type, .symbol = f->symbol, .timeframe = f->timeframe};
    enum tl_status st = f->make(f->ctx, &key, m);
    if (st == TL_OK && !m->there && m->status == TL_OK)
        st = tl_making_fail(m, TL_INTERNAL, "the function made nothing");
    if (st != TL_OK && (m->there || m->status == TL_OK)) (void)!tl_making_fail(m, st, tl_status_text(st));
}

static void done(struct tl_work *work)
{
    struct function *f = (struct function *)(void *)((char *)work - offsetof(struct function, work));
    struct once_group *g = f->group;
    struct once_key *k = &g->keys[0];
    struct tl_making *m = &f->making;
    if (f->found) {
        tl_once_value(k, f->found, true);
        f->found = NULL;
    } else if (work->cancelled) {
        tl_once_failed(k, TL_CANCELLED, "the scheduler is being closed");
    } else if (!m->there) {
        tl_once_failed(k, m->status, m->why);
    } else {
        struct tl_entry *e =
            tl_cache_entry_new(f->s->cache, tl_cache_key_str(&k->key), m->bytes, m->n, &m->ttl, g->generation);
        if (e)
            tl_once_value(k, e, false);
        else
            tl_once_failed(k, TL_NOMEM, "no memory for the value");
    }
    free(m->bytes);
    m->bytes = NULL;
    tl_once_made(g);
}

static void make(struct once_source *source, struct once_group *g)
{
    struct function *f = (struct function *)(void *)source;
    f->group = g;
    f->making = (struct tl_making){.group = g, .token = g->keys[0].token};
    f->work = (struct tl_work){.run = run, .done = done};
    tl_workers_submit(f->s->workers, &f->work);
}

/* Committed to Redis already, unless it could not be. */
void tl_once_keep_general(struct tl_cache *c, const struct once_key *k, struct tl_entry *e, enum tl_tier_id from,
                          bool degraded)
{
    (void)k;
    bool made = from == TL_TIER_SOURCE;
    if (degraded) {
        if (made)
            tl_cache_fill(c, e, TL_TIER_SOURCE);
        else
            tl_cache_to_memory(c, e);
        return;
    }
    bool store = made && c->t_store && !c->read_only;
    struct tl_behind_write w = {.entry = e, .store_expires_ms = tl_entry_hard_ms(e), .to_store = true};
    if (store) (void)!tl_behind_put(c->behind, &w, NULL); /* a full queue: counted as refused, the answer stands */
}

static void keep(struct once_source *source, const struct once_key *k, struct tl_entry *e, enum tl_tier_id from,
                 bool degraded)
{
    tl_once_keep_general(((struct function *)(void *)source)->s->cache, k, e, from, degraded);
}

static void end(struct once_source *source)
{
    free(source);
}

static const struct once_source_ops function_ops = {.make = make, .keep = keep, .end = end};

static struct once_source *function_new(const struct computing *c)
{
    struct function *f = tl_calloc(1, sizeof *f);
    struct tl_key_parts parts;
    if (!f) return NULL;
    f->source = (struct once_source){.ops = &function_ops,
                                     .lease_ms = c->op->lease_ms,
                                     .stall_ms = c->op->stall_ms,
                                     .wants_old = c->op->soft_ms > 0};
    f->s = c->s;
    f->make = c->op->make;
    f->ctx = c->op->ctx;
    bool ours = tl_cache_key_split(tl_cache_key_str(&c->key), &parts);
    TL_ASSERT(ours);
    tl_cache_key_decode(parts.data_type, f->data_type, sizeof f->data_type);
    tl_cache_key_decode(parts.symbol, f->symbol, sizeof f->symbol);
    tl_cache_key_decode(parts.timeframe, f->timeframe, sizeof f->timeframe);
    return &f->source;
}

/* ---- the op ---- */

static struct computing *of(void *member, size_t offset)
{
    return (struct computing *)(void *)((char *)member - offset);
}
#define COMPUTING_OF(pointer, member) of(pointer, offsetof(struct computing, member))

static void end_op(struct computing *c, enum tl_status status)
{
    struct tl_scheduler *s = c->s;
    struct tl_compute *op = c->op;
    tl_compute_cb *cb = c->cb;
    tl_once_leave(&c->waiter);
    tl_entry_unref(c->old);
    tl_alarm_clear(s->alarms, &c->deadline);
    tl_alarm_clear(s->alarms, &c->soft);
    tl_soon_cancel(s->alarms, &c->soon);
    if (s->computings == c)
        s->computings = c->next;
    else
        c->prev->next = c->next;
    if (c->next) c->next->prev = c->prev;
    op->state = NULL;
    free(c);
    cb(op, status);
}

static void on_soon(struct tl_soon *soon)
{
    struct computing *c = COMPUTING_OF(soon, soon);
    end_op(c, c->status);
}

static enum tl_status fail_op(struct computing *c, enum tl_status status, const char *why)
{
    return tl_fail(&c->op->err, status, "%s", why);
}

static void take(struct computing *c, struct tl_entry *e, enum tl_freshness freshness, enum tl_tier_id source)
{
    struct tl_compute *op = c->op;
    op->freshness = freshness;
    op->source = source;
    op->age_ms = TL_MAX(tl_cache_now_ms(c->s->cache) - e->general.ms, INT64_C(0));
    op->value = (struct tl_value *)(void *)tl_entry_ref(e);
    c->status = TL_OK;
}

static struct tl_entry *in_memory(struct computing *c, enum tl_freshness *freshness)
{
    struct tl_cache *cache = c->s->cache;
    struct tl_entry *e = tl_memory_get(cache->memory, tl_cache_key_str(&c->key));
    if (!e) e = tl_behind_get(cache->behind, tl_cache_key_str(&c->key));
    bool valid = e && !e->failure && tl_generations_valid(cache->generations, e, false) &&
                 tl_cache_now_ms(cache) < tl_entry_hard_ms(e);
    if (!valid) {
        tl_entry_unref(e);
        return NULL;
    }
    bool fresh =
        e->general.ms >= c->min_ms && tl_cache_now_ms(cache) < tl_entry_soft_ms(e) && tl_peers_trusts_memory(cache);
    *freshness = fresh ? TL_FRESH : TL_STALE;
    return e;
}

/* What is out of date, now that it need not be fresh any more. */
static void hand_out_old(struct computing *c)
{
    enum tl_freshness freshness;
    struct tl_entry *e = c->soon.queued ? NULL : in_memory(c, &freshness);
    if (c->soon.queued || (!e && !c->old)) return;
    if (e)
        take(c, e, freshness, TL_TIER_MEMORY);
    else
        take(c, c->old, TL_STALE, TL_TIER_REDIS);
    tl_entry_unref(e);
    tl_soon_call(c->s->alarms, &c->soon);
}

static void on_soft(struct tl_alarm *a)
{
    struct computing *c = COMPUTING_OF(a, soft);
    c->hasty = true;
    hand_out_old(c);
}

static void on_old(struct once_waiter *w, struct tl_entry *e)
{
    struct computing *c = COMPUTING_OF(w, waiter);
    tl_entry_unref(c->old);
    c->old = tl_entry_ref(e);
    if (c->hasty) hand_out_old(c);
}

static void ask(struct computing *c);

static void on_over(struct once_waiter *w, const struct once_result *r)
{
    struct computing *c = COMPUTING_OF(w, waiter);
    struct tl_compute *op = c->op;
    if (c->soon.queued) return; /* an outdated value is being handed out */
    op->waited = op->waited || r->waited;
    op->taken_over = r->taken_over;
    op->token = r->token;
    if (r->again) {
        ask(c);
        return;
    }
    if (r->status != TL_OK) {
        c->status = fail_op(c, r->status, r->why);
    } else if (r->entry->general.ms < c->min_ms && ++c->rounds < ONCE_TRIES_MAX) {
        ask(c); /* made for one who took older values */
        return;
    } else {
        take(c, r->entry, r->freshness, r->source);
    }
    tl_soon_call(c->s->alarms, &c->soon);
}

static void ask(struct computing *c)
{
    struct once_source *source = function_new(c);
    struct once_waiter *waiter = &c->waiter;
    c->waiter.over = on_over;
    c->waiter.old = c->op->soft_ms > 0 ? on_old : NULL;
    enum tl_status st = source ? tl_once_begin(c->s, source, &c->key, &c->min_ms, 1, &waiter) : TL_NOMEM;
    if (st == TL_OK) return;
    c->status = fail_op(c, st, st == TL_NOMEM ? "no memory to compute" : "the scheduler is being closed");
    tl_soon_call(c->s->alarms, &c->soon);
}

static void on_deadline(struct tl_alarm *a)
{
    struct computing *c = COMPUTING_OF(a, deadline);
    end_op(c, fail_op(c, TL_TIMEOUT, "the value was not made in time"));
}

static enum tl_status begin(struct computing *c, uint64_t deadline_ms)
{
    struct tl_scheduler *s = c->s;
    enum tl_freshness freshness;
    uint64_t now = tl_once_now_ns(s);
    enum tl_status st = tl_alarm_set(s->alarms, &c->deadline, now + deadline_ms * 1000000);
    if (st == TL_OK && c->op->soft_ms) st = tl_alarm_set(s->alarms, &c->soft, now + c->op->soft_ms * 1000000);
    if (st != TL_OK) {
        tl_alarm_clear(s->alarms, &c->deadline);
        return st;
    }
    c->next = s->computings;
    if (s->computings) s->computings->prev = c;
    s->computings = c;
    struct tl_entry *e = in_memory(c, &freshness);
    if (e && freshness == TL_FRESH) {
        take(c, e, TL_FRESH, TL_TIER_MEMORY);
        s->stats.from_cache++;
        tl_soon_call(s->alarms, &c->soon);
    } else {
        ask(c);
    }
    tl_entry_unref(e);
    return TL_OK;
}

enum tl_status tl_compute(struct tl_scheduler *s, struct tl_compute *op, const struct tl_key *key, uint64_t deadline_ms,
                          tl_compute_cb *cb, struct tl_err *err)
{
    TL_ASSERT(op->make && cb && deadline_ms > 0);
    if (s->closing) return tl_fail(err, TL_CANCELLED, "the scheduler is being closed");
    if (op->lease_ms && (op->lease_ms < 100 || op->lease_ms > 600000))
        return tl_fail(err, TL_INVALID, "lease_ms %u: 100 to 600000", op->lease_ms);
    struct computing *c = tl_calloc(1, sizeof *c);
    if (!c) return tl_fail(err, TL_NOMEM, "no memory to compute");
    enum tl_status st = tl_cache_key_general(key, &c->key, err);
    if (st == TL_OK) {
        c->s = s;
        c->op = op;
        c->cb = cb;
        c->min_ms = op->max_age_ms > 0 ? tl_cache_now_ms(s->cache) - op->max_age_ms : INT64_MIN;
        c->deadline.ring = on_deadline;
        c->soft.ring = on_soft;
        c->soon.call = on_soon;
        op->value = NULL;
        op->freshness = TL_MISSING;
        op->source = TL_TIER_NONE;
        op->waited = op->taken_over = false;
        op->token = 0;
        op->err = (struct tl_err){.status = TL_OK};
        op->state = c;
        st = begin(c, deadline_ms);
        if (st != TL_OK) (void)tl_fail(err, st, "no memory to compute");
    }
    if (st == TL_OK) return TL_OK;
    op->state = NULL;
    free(c);
    return st;
}

void tl_compute_cancel(struct tl_compute *op)
{
    struct computing *c = op->state;
    if (!c) return;
    tl_once_leave(&c->waiter);
    if (!c->soon.queued) c->status = fail_op(c, TL_CANCELLED, "it was cancelled");
    tl_soon_call(c->s->alarms, &c->soon);
}

void tl_computings_end(struct tl_scheduler *s)
{
    for (struct computing *c = s->computings; c; c = c->next) tl_compute_cancel(c->op);
}
