/* SPDX-License-Identifier: Apache-2.0 */
/* A loop thread and callers that wait. A call is mailed to the loop, begins there, and its end wakes the caller. `lock`
 * guards the `ended` of every call; everything else belongs to the loop thread. */
#include "cache/blocking.h"

#include "base/err.h"
#include "base/util.h"
#include "cache/report.h"

#include <pthread.h>

struct tl_blocking {
    uv_loop_t loop;
    pthread_t thread;
    struct tl_mailbox *mailbox;
    struct tl_cache *cache;
    pthread_mutex_t lock;
    pthread_cond_t ended;
};

static void *loop_thread(void *arg)
{
    struct tl_blocking *b = arg;
    uv_run(&b->loop, UV_RUN_DEFAULT);
    return NULL;
}

static void deliver(struct tl_mail *mail)
{
    struct tl_blocking_call *call = (struct tl_blocking_call *)(void *)mail;
    call->begin(call, call->blocking->cache);
}

enum tl_status tl_blocking_run(struct tl_blocking *b, struct tl_blocking_call *call)
{
    call->mail.deliver = deliver;
    call->blocking = b;
    call->ended = false;
    tl_mailbox_post(b->mailbox, &call->mail);
    pthread_mutex_lock(&b->lock);
    while (!call->ended) pthread_cond_wait(&b->ended, &b->lock);
    pthread_mutex_unlock(&b->lock);
    return call->status;
}

void tl_blocking_end(struct tl_blocking_call *call, enum tl_status status)
{
    struct tl_blocking *b = call->blocking;
    pthread_mutex_lock(&b->lock);
    call->status = status;
    call->ended = true;
    pthread_cond_broadcast(&b->ended);
    pthread_mutex_unlock(&b->lock);
}

/* ---- opening and closing ---- */

struct wait_ready {
    struct tl_blocking_call call;
    uint64_t ready_ms;
    struct tl_err why;
};

static void on_ready(void *ctx, enum tl_status status, const struct tl_err *err)
{
    struct wait_ready *w = ctx;
    if (err) w->why = *err;
    tl_blocking_end(&w->call, status);
}

static void begin_ready(struct tl_blocking_call *call, struct tl_cache *c)
{
    struct wait_ready *w = (struct wait_ready *)(void *)call;
    enum tl_status st = tl_cache_ready(c, w->ready_ms, on_ready, w);
    if (st != TL_OK) tl_blocking_end(call, tl_fail(&w->why, st, "%s", tl_status_text(st)));
}

static void mailbox_closed(void *ctx)
{
    (void)ctx;
}

static void cache_closed(void *ctx)
{
    struct tl_blocking *b = ctx;
    tl_mailbox_close(b->mailbox, mailbox_closed, NULL); /* the last handle: the loop ends */
}

static void begin_close(struct tl_mail *mail)
{
    struct tl_blocking_call *call = (struct tl_blocking_call *)(void *)mail;
    tl_cache_close(call->blocking->cache, cache_closed, call->blocking);
}

static void free_blocking(struct tl_blocking *b)
{
    uv_run(&b->loop, UV_RUN_DEFAULT); /* what a failed opening left to be closed */
    int rc = uv_loop_close(&b->loop);
    TL_ASSERT(rc == 0);
    pthread_cond_destroy(&b->ended);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

void tl_blocking_close(struct tl_blocking *b)
{
    if (!b) return;
    struct tl_blocking_call call = {.mail.deliver = begin_close, .blocking = b};
    tl_mailbox_post(b->mailbox, &call.mail);
    pthread_join(b->thread, NULL);
    free_blocking(b);
}

enum tl_status tl_blocking_open_inside(const struct tl_cache_options *opt, const struct tl_cache_options_inside *inside,
                                       uint64_t ready_ms, struct tl_blocking **out, struct tl_err *redis,
                                       struct tl_err *err)
{
    struct tl_blocking *b = tl_calloc(1, sizeof *b);
    if (!b || uv_loop_init(&b->loop) != 0) {
        free(b);
        return tl_fail(err, TL_NOMEM, "cannot start an event loop");
    }
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->ended, NULL);
    enum tl_status st = tl_mailbox_start(&b->loop, &b->mailbox, err);
    if (st == TL_OK) st = tl_cache_open_inside(&b->loop, opt, inside, &b->cache, err);
    int rc = st == TL_OK ? pthread_create(&b->thread, NULL, loop_thread, b) : 0;
    if (rc != 0) {
        st = tl_fail_errno(err, rc, "cannot start a thread");
        tl_cache_close(b->cache, NULL, NULL);
    }
    if (st != TL_OK) {
        if (b->mailbox) tl_mailbox_close(b->mailbox, mailbox_closed, NULL);
        free_blocking(b);
        return st;
    }
    struct wait_ready w = {.call.begin = begin_ready, .ready_ms = ready_ms};
    st = tl_blocking_run(b, &w.call);
    if (st == TL_CONFLICT) {
        if (err) *err = w.why;
        tl_blocking_close(b);
        return st;
    }
    if (redis) *redis = st == TL_OK ? (struct tl_err){.status = TL_OK} : w.why;
    *out = b;
    return TL_OK;
}

enum tl_status tl_blocking_open(const struct tl_cache_options *opt, uint64_t ready_ms, struct tl_blocking **out,
                                struct tl_err *redis, struct tl_err *err)
{
    return tl_blocking_open_inside(opt, NULL, ready_ms, out, redis, err);
}

/* ---- the calls ---- */

struct get_call {
    struct tl_blocking_call call;
    struct tl_get op;
    struct tl_get_item *items;
    size_t n;
    uint64_t deadline_ms;
};

static void on_got(struct tl_get *op, enum tl_status status)
{
    tl_blocking_end(op->user, status);
}

static void begin_get(struct tl_blocking_call *call, struct tl_cache *c)
{
    struct get_call *g = (struct get_call *)(void *)call;
    g->op.user = call;
    enum tl_status st = tl_cache_get_many(c, &g->op, g->items, g->n, g->deadline_ms, on_got, call->err);
    if (st != TL_OK) tl_blocking_end(call, st);
}

enum tl_status tl_blocking_get(struct tl_blocking *b, struct tl_get_item *items, size_t n, int64_t max_age_ms,
                               uint64_t deadline_ms, struct tl_err *err)
{
    struct get_call g = {.call = {.begin = begin_get, .err = err},
                         .op = {.max_age_ms = max_age_ms},
                         .items = items,
                         .n = n,
                         .deadline_ms = deadline_ms};
    return tl_blocking_run(b, &g.call);
}

struct put_call {
    struct tl_blocking_call call;
    struct tl_put op;
    struct tl_put_item *items;
    size_t n;
    uint64_t deadline_ms;
};

static void on_put(struct tl_put *op, enum tl_status status)
{
    tl_blocking_end(op->user, status);
}

static void begin_put(struct tl_blocking_call *call, struct tl_cache *c)
{
    struct put_call *p = (struct put_call *)(void *)call;
    p->op.user = call;
    enum tl_status st = tl_cache_put_many(c, &p->op, p->items, p->n, p->deadline_ms, on_put, call->err);
    if (st != TL_OK) tl_blocking_end(call, st);
}

enum tl_status tl_blocking_put(struct tl_blocking *b, struct tl_put_item *items, size_t n, enum tl_tier_id wait,
                               uint64_t deadline_ms, struct tl_err *err)
{
    struct put_call p = {.call = {.begin = begin_put, .err = err},
                         .op = {.wait = wait},
                         .items = items,
                         .n = n,
                         .deadline_ms = deadline_ms};
    return tl_blocking_run(b, &p.call);
}

struct invalidate_call {
    struct tl_blocking_call call;
    struct tl_invalidate op;
    enum tl_scope scope;
    const struct tl_key *key;
    uint64_t deadline_ms;
};

static void on_invalidated(struct tl_invalidate *op, enum tl_status status)
{
    struct tl_blocking_call *call = op->user;
    if (status != TL_OK && call->err) *call->err = op->err;
    tl_blocking_end(call, status);
}

static void begin_invalidate(struct tl_blocking_call *call, struct tl_cache *c)
{
    struct invalidate_call *i = (struct invalidate_call *)(void *)call;
    i->op.user = call;
    enum tl_status st = tl_cache_invalidate(c, &i->op, i->scope, i->key, i->deadline_ms, on_invalidated, call->err);
    if (st != TL_OK) tl_blocking_end(call, st);
}

enum tl_status tl_blocking_invalidate(struct tl_blocking *b, enum tl_scope scope, const struct tl_key *key,
                                      uint64_t deadline_ms, struct tl_err *err)
{
    struct invalidate_call i = {
        .call = {.begin = begin_invalidate, .err = err}, .scope = scope, .key = key, .deadline_ms = deadline_ms};
    return tl_blocking_run(b, &i.call);
}

static void begin_stats(struct tl_blocking_call *call, struct tl_cache *c)
{
    tl_cache_stats(c, call->ctx);
    tl_blocking_end(call, TL_OK);
}

void tl_blocking_stats(struct tl_blocking *b, struct tl_cache_stats *out)
{
    struct tl_blocking_call call = {.begin = begin_stats, .ctx = out};
    (void)!tl_blocking_run(b, &call);
}

struct reports_call {
    struct tl_blocking_call call;
    struct tl_reports_op op;
    uint64_t deadline_ms;
};

static void on_reports(struct tl_reports_op *op, enum tl_status status)
{
    struct tl_blocking_call *call = op->user;
    if (status != TL_OK && call->err) *call->err = op->err;
    tl_blocking_end(call, status);
}

static void begin_reports(struct tl_blocking_call *call, struct tl_cache *c)
{
    struct reports_call *r = (struct reports_call *)(void *)call;
    r->op.cb = on_reports;
    r->op.user = call;
    enum tl_status st = tl_reports(c, &r->op, r->deadline_ms, call->err);
    if (st != TL_OK) tl_blocking_end(call, st);
}

enum tl_status tl_blocking_reports(struct tl_blocking *b, struct tl_buf *out, uint64_t deadline_ms, struct tl_err *err)
{
    struct reports_call r = {.call = {.begin = begin_reports, .err = err}, .deadline_ms = deadline_ms};
    enum tl_status st = tl_blocking_run(b, &r.call);
    *out = r.op.found;
    return st;
}
