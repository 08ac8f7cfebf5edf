/* SPDX-License-Identifier: Apache-2.0 */
/* The store tier. An op becomes a task that owns copies of its keys and references to its entries: when the deadline
 * passes first, the op ends and the task goes on alone. Reads run on the tier's threads, each with a reader of its own,
 * in one snapshot a task; writes are one batch for the store's writer thread, which hands back through the mailbox.
 *
 *   op: submitted --threads or writer--> task done --loop--> cb
 *               \--deadline, close--> cb (TIMEOUT, CANCELLED), task->op = NULL; the task frees itself when done
 */
#include "cache/tiers.h"

#include "aio/mailbox.h"
#include "aio/workers.h"
#include "base/err.h"
#include "base/util.h"
#include "cache/series_entry.h"

struct task_item {
    struct tl_cache_key key;
    struct tl_entry *entry; /* [own] */
    int64_t expires_ms;
    enum tl_status status;
    bool superseded;
    char type[72], symbol[72], timeframe[40];
    unsigned char head[TL_ENTRY_HEADER];
};

struct task {
    struct tl_work work;
    struct tl_mail mail;
    struct store_tier *tier;
    struct tl_tier_op *op; /* NULL: it has ended already */
    struct tl_alarm deadline;
    struct task *prev, *next; /* in tier->tasks while op is there */
    struct tl_store_job *job; /* instead of an op */
    struct tl_store_entries batch;
    char scope[TL_SCOPE_MAX + 1];
    size_t n;
    struct task_item items[];
};

struct store_tier {
    struct tl_tier tier;
    struct tl_tier_store_options opt;
    struct tl_workers *workers;
    struct tl_mailbox *mailbox;
    struct tl_store_reader **readers; /* one a thread */
    struct task *tasks;
    size_t writing; /* batches with the writer thread */
    bool closing, workers_closed;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

static void end_close(struct store_tier *t);

/* ---- tasks ---- */

static void unlink_task(struct task *k)
{
    struct store_tier *t = k->tier;
    if (k->prev)
        k->prev->next = k->next;
    else
        t->tasks = k->next;
    if (k->next) k->next->prev = k->prev;
    tl_alarm_clear(t->opt.alarms, &k->deadline);
}

static void free_task(struct task *k)
{
    for (size_t i = 0; i < k->n; i++) tl_entry_unref(k->items[i].entry);
    free(k->batch.items);
    free(k);
}

/* Ends the op with a status for all of its items; the task stays. */
static void abandon(struct task *k, enum tl_status status)
{
    struct tl_tier_op *op = k->op;
    unlink_task(k);
    k->op = NULL;
    for (size_t i = 0; i < op->n; i++) op->items[i].status = status;
    op->cb(op);
}

static void on_deadline(struct tl_alarm *a)
{
    struct task *k = (struct task *)(void *)((char *)a - offsetof(struct task, deadline));
    abandon(k, TL_TIMEOUT);
}

/* The task is done: its results go to the op, if that is still there. */
static void finish(struct task *k)
{
    struct tl_tier_op *op = k->op;
    if (op) {
        unlink_task(k);
        for (size_t i = 0; i < k->n; i++) {
            op->items[i].status = k->items[i].status;
            op->items[i].superseded = k->items[i].superseded;
            if (op->verb == TL_TIER_GET) op->items[i].entry = TL_TAKE(k->items[i].entry);
        }
        op->generation = k->batch.generation;
    }
    free_task(k);
    if (op) op->cb(op);
}

/* ---- reading ---- */

static enum tl_status read_series(struct tl_store_reader *r, struct task_item *item, const struct tl_series_key *key)
{
    struct tl_series s;
    tl_series_init(&s);
    enum tl_status st = tl_store_series_read(r, key, &s, NULL);
    if (st == TL_OK) item->entry = tl_series_entry_new(tl_cache_key_str(&item->key), &s);
    if (st == TL_OK && !item->entry) st = TL_NOMEM;
    tl_series_release(&s);
    return st;
}

static enum tl_status read_item(struct tl_store_reader *r, struct task_item *item, int64_t now_ms)
{
    struct tl_series_key series;
    struct tl_str key = tl_cache_key_str(&item->key);
    if (tl_cache_key_to_series(key, &series)) return read_series(r, item, &series);
    struct tl_buf wire;
    tl_buf_init(&wire, TL_VALUE_MAX + TL_ENTRY_HEADER);
    enum tl_status st = tl_store_entry_read(r, key, now_ms, &wire, NULL);
    if (st == TL_OK) st = tl_entry_decode(key, tl_buf_str(&wire), &item->entry, NULL);
    if (st == TL_TOO_NEW) st = TL_CORRUPT;
    tl_buf_release(&wire);
    return st;
}

static void run_read(struct tl_work *work, unsigned worker)
{
    struct task *k = (struct task *)(void *)work;
    struct tl_store_reader *r = k->tier->readers[worker];
    if (k->job) {
        k->job->run(k->job, r);
        return;
    }
    bool snapshot = k->n > 1 && tl_store_snapshot_begin(r, NULL) == TL_OK;
    int64_t now_ms = tl_clock_wall_ms(k->tier->opt.clock);
    for (size_t i = 0; i < k->n; i++) k->items[i].status = read_item(r, &k->items[i], now_ms);
    if (snapshot) tl_store_snapshot_end(r);
}

static void read_done(struct tl_work *work)
{
    struct task *k = (struct task *)(void *)work;
    struct tl_store_job *job = k->job;
    if (!job) {
        for (size_t i = 0; work->cancelled && i < k->n; i++) k->items[i].status = TL_CANCELLED;
        finish(k);
        return;
    }
    job->cancelled = work->cancelled;
    free_task(k);
    job->done(job);
}

/* ---- writing ---- */

static void written(struct tl_mail *mail)
{
    struct task *k = (struct task *)(void *)((char *)mail - offsetof(struct task, mail));
    struct store_tier *t = k->tier;
    for (size_t i = 0; i < k->n; i++) {
        k->items[i].status = k->batch.status;
        k->items[i].superseded = k->batch.items[i].superseded;
    }
    t->writing--;
    finish(k);
    end_close(t);
}

static void on_written(struct tl_store_entries *batch)
{
    struct task *k = batch->user;
    k->mail.deliver = written;
    tl_mailbox_post(k->tier->mailbox, &k->mail);
}

static void describe(struct task_item *from, bool remove, struct tl_store_entry *to)
{
    struct tl_key_parts p = {.symbol = {"", 0}};
    struct tl_str key = tl_cache_key_str(&from->key);
    *to = (struct tl_store_entry){.key = key, .expires_ms = from->expires_ms, .remove = remove};
    if (from->entry) {
        tl_entry_encode_header(from->entry, from->head);
        memcpy(to->order, from->head + TL_ENTRY_ORDER_AT, TL_ENTRY_ORDER);
    } else {
        memset(to->order, 0xff, sizeof to->order); /* whatever is there */
    }
    if (remove || !tl_cache_key_split(key, &p)) return;
    to->data_type = (struct tl_str){from->type, tl_cache_key_decode(p.data_type, from->type, sizeof from->type)};
    to->symbol = (struct tl_str){from->symbol, tl_cache_key_decode(p.symbol, from->symbol, sizeof from->symbol)};
    to->timeframe =
        (struct tl_str){from->timeframe, tl_cache_key_decode(p.timeframe, from->timeframe, sizeof from->timeframe)};
    to->head = (struct tl_str){(const char *)from->head, sizeof from->head};
    to->body = tl_entry_payload(from->entry);
}

static enum tl_status submit_batch(struct task *k)
{
    struct store_tier *t = k->tier;
    if (t->opt.read_only) return TL_DENIED;
    k->batch.items = tl_calloc(TL_MAX(k->n, 1), sizeof *k->batch.items);
    if (!k->batch.items) return TL_NOMEM;
    for (size_t i = 0; i < k->n; i++) describe(&k->items[i], k->op->verb == TL_TIER_DEL, &k->batch.items[i]);
    if (k->op->raise) {
        snprintf(k->scope, sizeof k->scope, "%s", k->op->raise);
        k->batch.scope = tl_str(k->scope);
        k->batch.at_least = k->op->generation;
    }
    k->batch.count = k->n;
    k->batch.cb = on_written;
    k->batch.user = k;
    enum tl_status st = tl_store_entries_submit(t->opt.store, &k->batch, NULL);
    if (st == TL_OK) t->writing++;
    return st;
}

/* ---- the interface ---- */

static bool fail_all(struct tl_tier_op *op, enum tl_status status)
{
    for (size_t i = 0; i < op->n; i++) op->items[i].status = status;
    return true;
}

static struct task *task_new(struct store_tier *t, struct tl_tier_op *op)
{
    struct task *k = tl_calloc(1, sizeof *k + op->n * sizeof k->items[0]);
    if (!k) return NULL;
    k->tier = t;
    k->op = op;
    k->n = op->n;
    for (size_t i = 0; i < op->n; i++) {
        struct task_item *to = &k->items[i];
        TL_ASSERT(op->items[i].key.n <= TL_KEY_MAX);
        memcpy(to->key.text, op->items[i].key.p, op->items[i].key.n);
        to->key.n = op->items[i].key.n;
        to->expires_ms = op->items[i].expires_ms;
        if (op->verb != TL_TIER_GET && op->items[i].entry) to->entry = tl_entry_ref(op->items[i].entry);
    }
    return k;
}

static bool submit(struct tl_tier *tier, struct tl_tier_op *op)
{
    struct store_tier *t = (struct store_tier *)(void *)tier;
    if (t->closing) return fail_all(op, TL_CANCELLED);
    struct task *k = task_new(t, op);
    if (!k) return fail_all(op, TL_NOMEM);
    uint64_t due = tl_clock_mono_ns(t->opt.clock) + op->timeout_ms * 1000000;
    k->deadline.ring = on_deadline;
    enum tl_status st = tl_alarm_set(t->opt.alarms, &k->deadline, due);
    if (st == TL_OK && op->verb != TL_TIER_GET) st = submit_batch(k);
    if (st != TL_OK) {
        tl_alarm_clear(t->opt.alarms, &k->deadline);
        free_task(k);
        return fail_all(op, st);
    }
    k->next = t->tasks;
    if (t->tasks) t->tasks->prev = k;
    t->tasks = k;
    if (op->verb == TL_TIER_GET) {
        k->work.run = run_read;
        k->work.done = read_done;
        tl_workers_submit(t->workers, &k->work);
    }
    return false;
}

enum tl_status tl_tier_store_run(struct tl_tier *tier, struct tl_store_job *job)
{
    struct store_tier *t = (struct store_tier *)(void *)tier;
    struct task *k = t->closing ? NULL : tl_calloc(1, sizeof *k);
    if (!k) return t->closing ? TL_CANCELLED : TL_NOMEM;
    k->tier = t;
    k->job = job;
    k->work.run = run_read;
    k->work.done = read_done;
    tl_workers_submit(t->workers, &k->work);
    return TL_OK;
}

static bool up(const struct tl_tier *tier)
{
    return !((const struct store_tier *)(const void *)tier)->closing;
}

static void free_tier(struct store_tier *t)
{
    for (unsigned i = 0; t->readers && i < t->opt.threads; i++) tl_store_reader_free(t->readers[i]);
    free(t->readers);
    free(t);
}

static void on_mailbox_closed(void *ctx)
{
    struct store_tier *t = ctx;
    void (*cb)(void *) = t->closed;
    void *cb_ctx = t->closed_ctx;
    free_tier(t);
    if (cb) cb(cb_ctx);
}

/* The last of: threads joined, batches back from the writer. */
static void end_close(struct store_tier *t)
{
    if (!t->workers_closed || t->writing > 0) return;
    t->workers_closed = false; /* once */
    tl_mailbox_close(t->mailbox, on_mailbox_closed, t);
}

static void on_workers_closed(void *ctx)
{
    struct store_tier *t = ctx;
    t->workers_closed = true;
    end_close(t);
}

static void close_tier(struct tl_tier *tier, void (*cb)(void *ctx), void *ctx)
{
    struct store_tier *t = (struct store_tier *)(void *)tier;
    TL_ASSERT(!t->closing);
    t->closing = true;
    t->closed = cb;
    t->closed_ctx = ctx;
    while (t->tasks) abandon(t->tasks, TL_CANCELLED);
    tl_workers_close(t->workers, on_workers_closed, t);
}

static enum tl_status open_readers(struct store_tier *t, struct tl_err *err)
{
    t->readers = tl_calloc(t->opt.threads, sizeof(struct tl_store_reader *));
    if (!t->readers) return tl_fail(err, TL_NOMEM, "no memory for the store's readers");
    enum tl_status st = TL_OK;
    for (unsigned i = 0; st == TL_OK && i < t->opt.threads; i++)
        st = tl_store_reader_new(t->opt.store, &t->readers[i], err);
    return st;
}

static void ignore(void *ctx)
{
    (void)ctx;
}

enum tl_status tl_tier_store_new(uv_loop_t *loop, const struct tl_tier_store_options *opt, struct tl_tier **out,
                                 struct tl_err *err)
{
    static const struct tl_tier_ops ops = {.name = "store", .submit = submit, .up = up, .close = close_tier};
    struct store_tier *t = tl_calloc(1, sizeof *t);
    if (!t) return tl_fail(err, TL_NOMEM, "no memory for the store tier");
    t->tier.ops = &ops;
    t->opt = *opt;
    enum tl_status st = open_readers(t, err);
    if (st == TL_OK) st = tl_mailbox_start(loop, &t->mailbox, err);
    if (st == TL_OK && (st = tl_workers_start(loop, opt->threads, &t->workers, err)) != TL_OK)
        tl_mailbox_close(t->mailbox, ignore, NULL);
    if (st != TL_OK) {
        free_tier(t);
        return st;
    }
    *out = &t->tier;
    return TL_OK;
}
