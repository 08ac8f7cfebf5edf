/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the daily calculation. The loop thread owns the job and its counters; a worker owns its task until it hands it
 * to the store; the writer thread hands it back through `finished` and `wake`.
 *
 *   slot: queued --worker--> running --submit--> writing --commit--> finished --loop--> counted
 *                    \                   \------ nothing to write --------/
 *                     cancelled before a worker took it: counted as skipped
 *
 * A symbol's results are counted as computed only after the store committed them. Memory: results leave the worker
 * encoded, and the store's queue bound holds back the workers. */
#include "job/daily.h"

#include "aio/workers.h"
#include "base/err.h"
#include "base/util.h"

/* One symbol under way; made and filled by a worker. */
struct task {
    struct tl_run run;
    struct tl_store_put put;
    struct tl_shared shared; /* for the cache, once it is committed */
    enum tl_status status;   /* of the symbol as a whole */
    struct tl_err err;
    struct slot *slot;
    struct task *next; /* in `finished` */
    /* followed by run.items[n_specs] and put.items[n_specs] */
};

struct slot {
    struct tl_work work;
    struct tl_daily *job;
    size_t symbol;
};

struct tl_daily {
    struct tl_daily_options opt;
    struct tl_workers *workers;
    struct tl_store_reader **readers; /* one a worker */
    struct slot *slots;
    struct tl_daily_progress progress;
    uint64_t started_ns, rate_ns, rate_done;
    bool ending;
    unsigned handles; /* open uv handles of the job */
    uv_async_t wake;
    uv_timer_t tick;
    uv_mutex_t lock; /* guards finished, finished_tail */
    struct task *finished, **finished_tail;
};

/* ---- worker and writer threads ---- */

static struct task *task_new(struct slot *slot)
{
    const struct tl_daily_options *o = &slot->job->opt;
    size_t n = o->n_specs;
    struct task *t = tl_calloc(1, sizeof *t + n * (sizeof(struct tl_run_item) + sizeof(struct tl_store_put_item)));
    if (!t) return NULL;
    t->slot = slot;
    t->run = (struct tl_run){.symbol = o->symbols[slot->symbol],
                             .freq = o->freq,
                             .adjust = o->adjust,
                             .drop_suspended = o->drop_suspended,
                             .recompute = o->recompute,
                             .day_ms = o->day_ms,
                             .count = n,
                             .items = (struct tl_run_item *)(t + 1)};
    t->put.items = (struct tl_store_put_item *)(t->run.items + n);
    for (size_t i = 0; i < n; i++) t->run.items[i].spec = o->specs[i];
    return t;
}

static void hand_back(struct task *t)
{
    struct tl_daily *job = t->slot->job;
    uv_mutex_lock(&job->lock);
    *job->finished_tail = t;
    job->finished_tail = &t->next;
    /* Inside the lock: once the loop has seen the task it may close the handle. */
    uv_async_send(&job->wake);
    uv_mutex_unlock(&job->lock);
}

static void on_committed(struct tl_store_put *put)
{
    hand_back(put->user);
}

static void run_slot(struct tl_work *work, unsigned worker)
{
    struct slot *slot = (struct slot *)(void *)work; /* work is its first member */
    struct tl_daily *job = slot->job;
    struct task *t = task_new(slot);
    if (!t) return; /* counted in on_worker_done, which sees that nothing was made */
    work->result = t;
    if (job->opt.cache) t->run.generation = tl_generations_newest(job->opt.cache->generations);
    t->status = tl_run_symbol(&t->run, job->readers[worker], &job->opt.sessions, job->opt.clock, &t->err);
    if (t->status == TL_OK && !t->run.no_bar_on_day && tl_run_collect(&t->run, &t->put) > 0) {
        t->put.cb = on_committed;
        t->put.user = t;
        enum tl_status st = tl_store_put_prepare(&t->put, &t->put.err);
        if (job->opt.cache) tl_run_entries(&t->run, &t->shared);
        tl_run_release(&t->run); /* what was borrowed until prepare returned */
        if (st == TL_OK) st = tl_store_submit(job->opt.store, &t->put, &t->put.err);
        if (st == TL_OK) return; /* the task is the writer's now, and may be gone already */
        t->put.status = st;
    }
    tl_run_release(&t->run);
    hand_back(t);
}

/* ---- loop thread ---- */

static void report_failure(struct tl_daily *job, const char *symbol, const char *spec, const struct tl_err *err)
{
    struct tl_daily_failure f = {.symbol = symbol, .spec = spec, .err = err};
    if (job->opt.on_failure) job->opt.on_failure(job->opt.ctx, &f);
}

static void count_failed(struct tl_daily_progress *p, enum tl_status status, uint64_t n)
{
    p->failed += n;
    if (status == TL_TOO_FEW_BARS)
        p->failed_too_few_bars += n;
    else if (status == TL_NO_DATA)
        p->failed_no_data += n;
    else if (status == TL_NO_FACTORS)
        p->failed_no_factors += n;
    else
        p->failed_other += n;
}

static void count_item(struct tl_daily *job, const struct task *t, const struct tl_run_item *item)
{
    struct tl_daily_progress *p = &job->progress;
    if (item->status == TL_OK && item->source == TL_SOURCE_STORE) {
        p->from_cache++;
        return;
    }
    enum tl_status status = item->status != TL_OK ? item->status : t->put.status;
    if (status == TL_OK) {
        p->computed++;
        return;
    }
    count_failed(p, status, 1);
    char spec[TL_SPEC_MAX] = "";
    tl_spec_format(&item->spec, spec, sizeof spec);
    report_failure(job, t->run.symbol.text, spec, item->status != TL_OK ? &item->err : &t->put.err);
}

static void count_task(struct tl_daily *job, struct task *t)
{
    job->progress.symbols_done++;
    bool committed = t->status == TL_OK && t->put.status == TL_OK;
    if (committed && t->shared.n > 0 && tl_shared_put(&t->shared, &t->run, job->opt.cache) != TL_OK)
        job->progress.not_shared++;
    if (t->run.no_bar_on_day) {
        job->progress.skipped += job->opt.n_specs;
    } else if (t->status != TL_OK) {
        count_failed(&job->progress, t->status, job->opt.n_specs);
        report_failure(job, t->run.symbol.text, "", &t->err);
    } else {
        for (size_t i = 0; i < t->run.count; i++) count_item(job, t, &t->run.items[i]);
    }
}

static void update_times(struct tl_daily *job)
{
    struct tl_daily_progress *p = &job->progress;
    uint64_t now = tl_clock_mono_ns(job->opt.clock);
    p->seconds = (double)(now - job->started_ns) / 1e9;
    double window = (double)(now - job->rate_ns) / 1e9;
    if (window >= 0.5 || p->symbols_per_s == 0) {
        double rate = window > 0 ? (double)(p->symbols_done - job->rate_done) / window : 0;
        p->symbols_per_s = p->symbols_per_s > 0 ? 0.7 * p->symbols_per_s + 0.3 * rate : rate;
        if (window >= 0.5) {
            job->rate_ns = now;
            job->rate_done = p->symbols_done;
        }
    }
    uint64_t left = p->symbols_total - p->symbols_done;
    p->eta_s = p->symbols_per_s > 0 ? (double)left / p->symbols_per_s : -1;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct tl_daily *job = handle->data;
    if (--job->handles > 0) return;
    for (unsigned i = 0; i < job->opt.workers; i++) tl_store_reader_free(job->readers[i]);
    update_times(job);
    const struct tl_daily_progress *p = &job->progress;
    enum tl_status status = p->cancelled ? TL_CANCELLED : p->failed ? TL_SOME_FAILED : TL_OK;
    job->opt.on_done(job->opt.ctx, status, p);
    uv_mutex_destroy(&job->lock);
    free(job->readers);
    free(job->slots);
    free(job);
}

static void close_handles(struct tl_daily *job)
{
    uv_close((uv_handle_t *)&job->wake, on_handle_closed);
    uv_close((uv_handle_t *)&job->tick, on_handle_closed);
}

static void on_workers_closed(void *ctx)
{
    close_handles(ctx);
}

/* Ends the job once every symbol is counted. The workers are closed first: nothing can wake a closed handle. */
static void end_if_complete(struct tl_daily *job)
{
    if (job->ending || job->progress.symbols_done < job->progress.symbols_total) return;
    job->ending = true;
    uv_timer_stop(&job->tick);
    tl_workers_close(job->workers, on_workers_closed, job);
}

static void on_wake(uv_async_t *handle)
{
    struct tl_daily *job = handle->data;
    uv_mutex_lock(&job->lock);
    struct task *t = job->finished;
    job->finished = NULL;
    job->finished_tail = &job->finished;
    uv_mutex_unlock(&job->lock);
    while (t) {
        struct task *next = t->next;
        count_task(job, t);
        tl_shared_release(&t->shared);
        free(t);
        t = next;
    }
    end_if_complete(job);
}

/* The task itself comes back through on_wake; here only what never became one is counted. */
static void on_worker_done(struct tl_work *work)
{
    struct slot *slot = (struct slot *)(void *)work;
    struct tl_daily *job = slot->job;
    if (work->cancelled) {
        job->progress.symbols_done++;
        job->progress.skipped += job->opt.n_specs;
    } else if (!work->result) {
        struct tl_err err;
        (void)tl_fail(&err, TL_NOMEM, "no memory for the task");
        job->progress.symbols_done++;
        count_failed(&job->progress, TL_NOMEM, job->opt.n_specs);
        report_failure(job, job->opt.symbols[slot->symbol].text, "", &err);
    }
    end_if_complete(job);
}

static void on_tick(uv_timer_t *timer)
{
    struct tl_daily *job = timer->data;
    update_times(job);
    if (job->opt.on_progress) job->opt.on_progress(job->opt.ctx, &job->progress);
    end_if_complete(job);
}

void tl_daily_cancel(struct tl_daily *job)
{
    if (job->ending || job->progress.cancelled) return;
    job->progress.cancelled = true;
    tl_workers_cancel_pending(job->workers);
}

static enum tl_status open_readers(struct tl_daily *job, struct tl_err *err)
{
    job->readers = tl_calloc(job->opt.workers, sizeof(struct tl_store_reader *));
    if (!job->readers) return tl_fail(err, TL_NOMEM, "no memory for %u workers", job->opt.workers);
    for (unsigned i = 0; i < job->opt.workers; i++) {
        enum tl_status st = tl_store_reader_new(job->opt.store, &job->readers[i], err);
        if (st != TL_OK) return st;
    }
    return TL_OK;
}

static void free_unstarted(struct tl_daily *job)
{
    for (unsigned i = 0; job->readers && i < job->opt.workers; i++) tl_store_reader_free(job->readers[i]);
    free(job->readers);
    free(job->slots);
    free(job);
}

enum tl_status tl_daily_start(uv_loop_t *loop, const struct tl_daily_options *opt, struct tl_daily **out,
                              struct tl_err *err)
{
    TL_ASSERT(opt->on_done && opt->workers >= 1 && opt->store);
    if (opt->n_specs == 0) return tl_fail(err, TL_INVALID, "no indicators to compute");
    struct tl_daily *job = tl_calloc(1, sizeof *job);
    if (!job) return tl_fail(err, TL_NOMEM, "no memory for the job");
    job->opt = *opt;
    job->finished_tail = &job->finished;
    job->slots = tl_calloc(opt->n_symbols, sizeof *job->slots);
    enum tl_status st =
        job->slots ? open_readers(job, err) : tl_fail(err, TL_NOMEM, "no memory for %zu symbols", opt->n_symbols);
    if (st == TL_OK) st = tl_workers_start(loop, opt->workers, &job->workers, err);
    if (st != TL_OK) {
        free_unstarted(job);
        return st;
    }
    int rc = uv_mutex_init(&job->lock);
    if (rc == 0) rc = uv_async_init(loop, &job->wake, on_wake);
    TL_ASSERT(rc == 0); /* both fail only without file descriptors or memory for a handful of bytes */
    uv_timer_init(loop, &job->tick);
    job->handles = 2;
    job->wake.data = job->tick.data = job;
    job->progress.symbols_total = opt->n_symbols;
    job->progress.eta_s = -1;
    job->started_ns = job->rate_ns = tl_clock_mono_ns(opt->clock);
    unsigned every = opt->progress_ms ? opt->progress_ms : 100;
    uv_timer_start(&job->tick, on_tick, opt->n_symbols ? every : 0, every);
    for (size_t i = 0; i < opt->n_symbols; i++) {
        job->slots[i] = (struct slot){.work = {.run = run_slot, .done = on_worker_done}, .job = job, .symbol = i};
        tl_workers_submit(job->workers, &job->slots[i].work);
    }
    *out = job;
    return TL_OK;
}
