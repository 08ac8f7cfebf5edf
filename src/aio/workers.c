/* SPDX-License-Identifier: Apache-2.0 */
/* The worker pool. `lock` guards both lists and `stopping`; everything else belongs to the loop thread. A work is on
 * exactly one list or with exactly one thread. The pool is freed only in its async handle's close callback, after the
 * threads were joined, so no thread ever sends to a closed handle. Does not bound the number of works: they are the
 * caller's memory. */
#include "aio/workers.h"

#include "base/err.h"
#include "base/util.h"

enum { WORKERS_MAX = 256 };

struct list {
    struct tl_work *head, **tail;
};

struct worker {
    struct tl_workers *pool;
    unsigned index;
    uv_thread_t thread;
};

struct tl_workers {
    uv_async_t wake;
    uv_mutex_t lock;
    uv_cond_t more;
    struct list pending, ended; /* waiting for a thread; waiting for their done */
    bool stopping;
    size_t open; /* submitted, done not yet returned */
    bool closing;
    void (*closed)(void *ctx);
    void *closed_ctx;
    unsigned n;
    struct worker *workers;
};

static void list_clear(struct list *l)
{
    l->head = NULL;
    l->tail = &l->head;
}

static void list_push(struct list *l, struct tl_work *w)
{
    w->next = NULL;
    *l->tail = w;
    l->tail = &w->next;
}

static struct tl_work *list_take_all(struct list *l)
{
    struct tl_work *head = l->head;
    list_clear(l);
    return head;
}

static void work_thread(void *arg)
{
    struct worker *self = arg;
    struct tl_workers *pool = self->pool;
    uv_mutex_lock(&pool->lock);
    for (;;) {
        struct tl_work *w = pool->pending.head;
        if (!w) {
            if (pool->stopping) break;
            uv_cond_wait(&pool->more, &pool->lock);
            continue;
        }
        pool->pending.head = w->next;
        if (!w->next) pool->pending.tail = &pool->pending.head;
        uv_mutex_unlock(&pool->lock);
        w->run(w, self->index);
        uv_mutex_lock(&pool->lock);
        list_push(&pool->ended, w);
        uv_async_send(&pool->wake);
    }
    uv_mutex_unlock(&pool->lock);
}

static void stop_threads(struct tl_workers *pool, unsigned n)
{
    uv_mutex_lock(&pool->lock);
    pool->stopping = true;
    uv_cond_broadcast(&pool->more);
    uv_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < n; i++) uv_thread_join(&pool->workers[i].thread);
}

/* Delivers what has ended so far. */
static void deliver(struct tl_workers *pool)
{
    uv_mutex_lock(&pool->lock);
    struct tl_work *w = list_take_all(&pool->ended);
    uv_mutex_unlock(&pool->lock);
    while (w) {
        struct tl_work *next = w->next; /* done may give the work back to the pool or free it */
        pool->open--;
        w->done(w);
        w = next;
    }
}

static void free_pool(uv_handle_t *handle)
{
    struct tl_workers *pool = handle->data;
    while (pool->open > 0) deliver(pool); /* submitted while the handle was closing: all cancelled */
    uv_cond_destroy(&pool->more);
    uv_mutex_destroy(&pool->lock);
    if (pool->closed) pool->closed(pool->closed_ctx);
    free(pool->workers);
    free(pool);
}

/* What ends during the delivery wakes the loop again, so that works which are submitted over and over do not keep the
 * loop from its timers. The last end of a closing pool ends the pool. */
static void on_wake(uv_async_t *handle)
{
    struct tl_workers *pool = handle->data;
    deliver(pool);
    if (pool->closing && pool->open == 0 && !uv_is_closing((uv_handle_t *)handle)) {
        stop_threads(pool, pool->n);
        uv_close((uv_handle_t *)handle, free_pool);
    }
}

enum tl_status tl_workers_start(uv_loop_t *loop, unsigned n, struct tl_workers **out, struct tl_err *err)
{
    if (n < 1 || n > WORKERS_MAX) return tl_fail(err, TL_INVALID, "%u workers: 1 to %d are possible", n, WORKERS_MAX);
    struct tl_workers *pool = tl_calloc(1, sizeof *pool);
    if (pool) pool->workers = tl_calloc(n, sizeof *pool->workers);
    if (!pool || !pool->workers || uv_mutex_init(&pool->lock) != 0) {
        if (pool) free(pool->workers);
        free(pool);
        return tl_fail(err, TL_NOMEM, "no memory for %u workers", n);
    }
    list_clear(&pool->pending);
    list_clear(&pool->ended);
    int rc = uv_cond_init(&pool->more);
    TL_ASSERT(rc == 0); /* allocates nothing on Linux */
    rc = uv_async_init(loop, &pool->wake, on_wake);
    if (rc != 0) {
        uv_cond_destroy(&pool->more);
        uv_mutex_destroy(&pool->lock);
        free(pool->workers);
        free(pool);
        return tl_fail(err, TL_IO, "cannot start the workers: %s", uv_strerror(rc));
    }
    pool->wake.data = pool;
    for (; pool->n < n; pool->n++) {
        struct worker *w = &pool->workers[pool->n];
        *w = (struct worker){.pool = pool, .index = pool->n};
        rc = uv_thread_create(&w->thread, work_thread, w);
        if (rc != 0) break;
    }
    if (rc != 0) {
        stop_threads(pool, pool->n);
        uv_close((uv_handle_t *)&pool->wake, free_pool); /* freed when the loop runs or is closed */
        return tl_fail(err, TL_IO, "cannot start thread %u: %s", pool->n + 1, uv_strerror(rc));
    }
    *out = pool;
    return TL_OK;
}

void tl_workers_submit(struct tl_workers *pool, struct tl_work *w)
{
    pool->open++;
    w->cancelled = pool->closing;
    uv_mutex_lock(&pool->lock);
    list_push(pool->closing ? &pool->ended : &pool->pending, w);
    if (!pool->closing) uv_cond_signal(&pool->more);
    uv_mutex_unlock(&pool->lock);
    if (pool->closing && !uv_is_closing((uv_handle_t *)&pool->wake)) uv_async_send(&pool->wake);
}

void tl_workers_cancel_pending(struct tl_workers *pool)
{
    uv_mutex_lock(&pool->lock);
    struct tl_work *w = list_take_all(&pool->pending);
    while (w) {
        struct tl_work *next = w->next;
        w->cancelled = true;
        list_push(&pool->ended, w);
        w = next;
    }
    uv_mutex_unlock(&pool->lock);
    uv_async_send(&pool->wake);
}

void tl_workers_close(struct tl_workers *pool, void (*cb)(void *ctx), void *ctx)
{
    if (pool->closing) return;
    pool->closing = true;
    pool->closed = cb;
    pool->closed_ctx = ctx;
    tl_workers_cancel_pending(pool); /* also wakes the loop, which ends the pool */
}
