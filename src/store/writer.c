/* SPDX-License-Identifier: Apache-2.0 */
/* The writer thread: takes ops in the order of submission and commits as many together as came in, in transactions of
 * at most about 100 ms, so that other processes get their turn. An op fails alone (savepoint); a failed BEGIN or COMMIT
 * fails every op of that transaction. Nothing is reported OK before its COMMIT returned. */
#include "store/sqlite.h"

#include "base/err.h"
#include "base/util.h"

static struct tl_op *take_all(struct tl_store *store)
{
    pthread_mutex_lock(&store->lock);
    while (!store->head && !store->stopping) pthread_cond_wait(&store->more, &store->lock);
    struct tl_op *ops = store->head;
    store->head = NULL;
    store->tail = &store->head;
    pthread_mutex_unlock(&store->lock);
    return ops;
}

static void run_op(struct tl_store *store, struct tl_op *op)
{
    struct tl_db *db = &store->writer;
    op->status = tl_db_exec(db, "SAVEPOINT op", &op->err);
    if (op->status != TL_OK) return;
    op->status = op->run(op, store, &op->err);
    const char *end = op->status == TL_OK ? "RELEASE op" : "ROLLBACK TO op; RELEASE op";
    struct tl_err err;
    enum tl_status st = tl_db_exec(db, end, &err);
    if (op->status == TL_OK && st != TL_OK) {
        op->status = st;
        op->err = err;
    }
}

/* The ops of one transaction, from `first` up to the returned one, which was not run. */
static struct tl_op *run_transaction(struct tl_store *store, struct tl_op *first)
{
    struct tl_db *db = &store->writer;
    struct tl_err err;
    struct tl_op *end = first;
    struct tl_op *last = NULL;
    enum tl_status st = tl_db_exec(db, "BEGIN IMMEDIATE", &err);
    if (st == TL_OK) {
        uint64_t deadline = tl_clock_mono_ns(&tl_clock_system) + TL_TRANSACTION_MS * UINT64_C(1000000);
        do {
            run_op(store, end);
            last = end;
            end = end->next;
            /* SQLite itself rolls a transaction back after some errors (a full disk): nothing of it stands then,
             * and the last op says why. */
            if (sqlite3_get_autocommit(db->handle)) break;
        } while (end && tl_clock_mono_ns(&tl_clock_system) < deadline);
        if (sqlite3_get_autocommit(db->handle)) {
            st = last->status == TL_OK ? TL_IO : last->status;
            (void)tl_fail(&err, st, "the transaction was rolled back with another write: %.160s", last->err.text);
        } else {
            st = tl_db_exec(db, "COMMIT", &err);
            if (st != TL_OK) sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
        }
    } else {
        end = NULL; /* nobody's turn: everything that waits fails with the holder's name */
    }
    size_t bytes = 0;
    for (struct tl_op *op = first; op != end;) {
        struct tl_op *next = op->next;
        bytes += op->bytes;
        if (st != TL_OK && op->status == TL_OK) {
            op->status = st;
            op->err = err;
        }
        op->ended(op);
        op = next;
    }
    pthread_mutex_lock(&store->lock);
    store->queued_bytes -= bytes;
    store->stats.transactions += st == TL_OK;
    store->stats.busy_waits += st == TL_BUSY;
    pthread_cond_broadcast(&store->room);
    pthread_mutex_unlock(&store->lock);
    return end;
}

static void *writer_thread(void *arg)
{
    struct tl_store *store = arg;
    for (;;) {
        struct tl_op *ops = take_all(store);
        if (!ops) break;
        while (ops) ops = run_transaction(store, ops);
    }
    return NULL;
}

enum tl_status tl_writer_start(struct tl_store *store, struct tl_err *err)
{
    int rc = pthread_create(&store->thread, NULL, writer_thread, store);
    if (rc != 0) return tl_fail_errno(err, rc, "cannot start the store's thread");
    store->thread_runs = true;
    return TL_OK;
}

void tl_writer_stop(struct tl_store *store)
{
    if (!store->thread_runs) return;
    pthread_mutex_lock(&store->lock);
    store->stopping = true;
    pthread_cond_broadcast(&store->more);
    pthread_mutex_unlock(&store->lock);
    pthread_join(store->thread, NULL);
    store->thread_runs = false;
}

static enum tl_status submit(struct tl_store *store, struct tl_op *op, bool wait, struct tl_err *err)
{
    if (!store->thread_runs) return tl_fail(err, TL_DENIED, "%s was opened read-only", store->path);
    op->status = TL_OK;
    op->next = NULL;
    pthread_mutex_lock(&store->lock);
    while (store->queued_bytes > 0 && store->queued_bytes + op->bytes > store->opt.queue_bytes) {
        if (!wait) {
            pthread_mutex_unlock(&store->lock);
            return tl_fail(err, TL_BUSY, "%zu bytes wait to be written to %s already", store->opt.queue_bytes,
                           store->path);
        }
        pthread_cond_wait(&store->room, &store->lock);
    }
    store->queued_bytes += op->bytes;
    *store->tail = op;
    store->tail = &op->next;
    pthread_cond_signal(&store->more);
    pthread_mutex_unlock(&store->lock);
    return TL_OK;
}

enum tl_status tl_writer_submit(struct tl_store *store, struct tl_op *op, struct tl_err *err)
{
    return submit(store, op, true, err);
}

enum tl_status tl_writer_try_submit(struct tl_store *store, struct tl_op *op, struct tl_err *err)
{
    return submit(store, op, false, err);
}

struct waiting {
    struct tl_op op;
    pthread_mutex_t lock;
    pthread_cond_t over;
    bool ended;
};

static void wake(struct tl_op *op)
{
    struct waiting *w = (struct waiting *)(void *)op;
    pthread_mutex_lock(&w->lock);
    w->ended = true;
    pthread_cond_signal(&w->over);
    pthread_mutex_unlock(&w->lock);
}

enum tl_status tl_writer_do(struct tl_store *store,
                            enum tl_status (*run)(struct tl_op *, struct tl_store *, struct tl_err *), void *ctx,
                            size_t bytes, struct tl_err *err)
{
    struct waiting w = {.op = {.run = run, .ended = wake, .ctx = ctx, .bytes = bytes},
                        .lock = PTHREAD_MUTEX_INITIALIZER,
                        .over = PTHREAD_COND_INITIALIZER};
    enum tl_status st = tl_writer_submit(store, &w.op, err);
    if (st != TL_OK) return st;
    pthread_mutex_lock(&w.lock);
    while (!w.ended) pthread_cond_wait(&w.over, &w.lock);
    pthread_mutex_unlock(&w.lock);
    if (w.op.status != TL_OK && err) *err = w.op.err;
    return w.op.status;
}
