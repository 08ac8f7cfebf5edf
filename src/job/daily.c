/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the daily calculation on a scheduler: as many symbols at a time as keep its workers busy. A symbol that another
 * process is at waits aside, and others are begun meanwhile. Processes that share a Redis go through the symbols each
 * in an order of its own, so that they meet seldom. A symbol is counted once the store has what was computed. All on
 * the loop thread. */
#include "job/daily.h"

#include "base/err.h"
#include "base/json.h"
#include "base/util.h"

enum { AHEAD = 2, TASKS_MAX = 1000 }; /* symbols looked at ahead of the workers; symbols under way */

struct task {
    struct tl_indicators op;
    struct tl_daily *job;
    uint64_t begun_ns;
    struct tl_indicator_item items[];
};

struct tl_daily {
    struct tl_daily_options opt;
    struct tl_daily_progress progress;
    size_t *order; /* [own] of the symbols */
    size_t begun, under_way;
    uint64_t started_ns, rate_ns, rate_done;
    bool ending;
    uv_timer_t tick;
};

/* ---- counting ---- */

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

static void count_item(struct tl_daily *job, const struct tl_indicators *op, const struct tl_indicator_item *item)
{
    struct tl_daily_progress *p = &job->progress;
    bool made = item->source == TL_SOURCE_COMPUTED;
    enum tl_status status = item->status == TL_OK && made ? op->kept : item->status;
    p->duplicated += item->duplicated;
    if (status == TL_OK && made) {
        p->computed++;
        p->taken_over += item->taken_over;
    } else if (status == TL_OK && item->waited) {
        p->waited++;
    } else if (status == TL_OK) {
        p->from_cache++;
    } else {
        char spec[TL_SPEC_MAX] = "";
        count_failed(p, status, 1);
        tl_spec_format(&item->spec, spec, sizeof spec);
        report_failure(job, op->symbol.text, spec, item->status == TL_OK ? &op->kept_err : &item->err);
    }
}

/* Tells what has changed since `before`. */
static void report_symbol(struct tl_daily *job, const char *symbol, const struct tl_daily_progress *before, double ms)
{
    const struct tl_daily_progress *p = &job->progress;
    struct tl_daily_symbol s = {.symbol = symbol,
                                .computed = p->computed - before->computed,
                                .from_cache = p->from_cache - before->from_cache,
                                .waited = p->waited - before->waited,
                                .skipped = p->skipped - before->skipped,
                                .failed = p->failed - before->failed,
                                .ms = ms};
    if (job->opt.on_symbol) job->opt.on_symbol(job->opt.ctx, &s);
}

static void count_task(struct tl_daily *job, const struct task *t)
{
    const struct tl_indicators *op = &t->op;
    const struct tl_daily_progress before = job->progress;
    job->progress.symbols_done++;
    if (op->no_bar_on_day) {
        job->progress.skipped += op->count;
    } else if (op->status != TL_OK) {
        count_failed(&job->progress, op->status, op->count);
        report_failure(job, op->symbol.text, "", &op->err);
    } else {
        for (size_t i = 0; i < op->count; i++) count_item(job, op, &op->items[i]);
    }
    double ms = (double)(tl_clock_mono_ns(job->opt.clock) - t->begun_ns) / 1e6;
    report_symbol(job, op->symbol.text, &before, ms);
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

/* ---- the end ---- */

static void on_tick_closed(uv_handle_t *handle)
{
    struct tl_daily *job = handle->data;
    update_times(job);
    const struct tl_daily_progress *p = &job->progress;
    enum tl_status status = p->cancelled ? TL_CANCELLED : p->failed ? TL_SOME_FAILED : TL_OK;
    job->opt.on_done(job->opt.ctx, status, p);
    free(job->order);
    free(job);
}

static void end_if_complete(struct tl_daily *job)
{
    if (job->ending || job->progress.symbols_done < job->progress.symbols_total) return;
    job->ending = true;
    job->opt.scheduler->room = NULL;
    uv_timer_stop(&job->tick);
    uv_close((uv_handle_t *)&job->tick, on_tick_closed);
}

/* ---- the way through the symbols ---- */

static void fill(struct tl_daily *job);

static void on_symbol(struct tl_indicators *op)
{
    struct task *t = (struct task *)(void *)op;
    struct tl_daily *job = t->job;
    job->under_way--;
    count_task(job, t);
    free(t);
    fill(job);
    end_if_complete(job);
}

static struct tl_daily_wanted wanted_of(const struct tl_daily *job, size_t symbol)
{
    const struct tl_daily_options *o = &job->opt;
    return o->wanted ? o->wanted[symbol] : (struct tl_daily_wanted){o->specs, o->n_specs};
}

static void fail_to_begin(struct tl_daily *job, const char *symbol, size_t n_specs)
{
    const struct tl_daily_progress before = job->progress;
    struct tl_err err;
    (void)tl_fail(&err, TL_NOMEM, "no memory for the symbol");
    job->progress.symbols_done++;
    count_failed(&job->progress, TL_NOMEM, n_specs);
    report_failure(job, symbol, "", &err);
    report_symbol(job, symbol, &before, 0);
}

static void begin(struct tl_daily *job, size_t symbol)
{
    const struct tl_daily_options *o = &job->opt;
    struct tl_daily_wanted wanted = wanted_of(job, symbol);
    struct task *t = tl_calloc(1, sizeof *t + wanted.n_specs * sizeof t->items[0]);
    if (!t) {
        fail_to_begin(job, o->symbols[symbol].text, wanted.n_specs);
        return;
    }
    t->job = job;
    t->begun_ns = tl_clock_mono_ns(o->clock);
    t->op = (struct tl_indicators){.symbol = o->symbols[symbol],
                                   .freq = o->freq,
                                   .adjust = o->adjust,
                                   .drop_suspended = o->drop_suspended,
                                   .recompute = o->recompute,
                                   .want_kept = true,
                                   .day_ms = o->day_ms,
                                   .sessions = &job->opt.sessions,
                                   .count = wanted.n_specs,
                                   .items = t->items,
                                   .cb = on_symbol};
    for (size_t i = 0; i < wanted.n_specs; i++) t->items[i].spec = wanted.specs[i];
    job->under_way++;
    tl_indicators_get(o->scheduler, &t->op);
}

static void fill(struct tl_daily *job)
{
    struct tl_scheduler *s = job->opt.scheduler;
    while (!job->progress.cancelled && job->begun < job->opt.n_symbols && job->under_way < TASKS_MAX &&
           s->active < s->n_workers + AHEAD)
        begin(job, job->order[job->begun++]);
}

static void on_room(void *ctx)
{
    struct tl_daily *job = ctx;
    fill(job);
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
    size_t left = job->opt.n_symbols - job->begun;
    job->progress.cancelled = true;
    job->progress.symbols_done += left;
    for (size_t i = job->begun; i < job->opt.n_symbols; i++)
        job->progress.skipped += wanted_of(job, job->order[i]).n_specs;
}

/* As they were given, or shuffled when others may do the same. */
static enum tl_status make_order(struct tl_daily *job, struct tl_err *err)
{
    struct tl_scheduler *s = job->opt.scheduler;
    size_t n = job->opt.n_symbols;
    job->order = tl_calloc(n, sizeof *job->order);
    if (!job->order) return tl_fail(err, TL_NOMEM, "no memory for %zu symbols", n);
    for (size_t i = 0; i < n; i++) job->order[i] = i;
    for (size_t i = n; s->cache->redis_state != TL_REDIS_NONE && i > 1; i--) {
        size_t other = (size_t)tl_rng_below(&s->rng, i), was = job->order[other];
        job->order[other] = job->order[i - 1];
        job->order[i - 1] = was;
    }
    return TL_OK;
}

void tl_daily_failure_json(struct tl_buf *out, const struct tl_daily_failure *f)
{
    struct tl_json j;
    tl_json_init(&j, out);
    tl_json_object(&j);
    tl_json_key(&j, "symbol");
    tl_json_cstr(&j, f->symbol);
    tl_json_key(&j, "spec");
    tl_json_cstr(&j, f->spec[0] ? f->spec : NULL);
    tl_json_key(&j, "status");
    tl_json_cstr(&j, tl_status_name(f->err->status));
    tl_json_key(&j, "error");
    tl_json_cstr(&j, f->err->text);
    tl_json_object_end(&j);
}

enum tl_status tl_daily_start(uv_loop_t *loop, const struct tl_daily_options *opt, struct tl_daily **out,
                              struct tl_err *err)
{
    TL_ASSERT(opt->on_done && opt->scheduler && opt->scheduler->cache->store);
    if (opt->n_specs == 0 && !opt->wanted) return tl_fail(err, TL_INVALID, "no indicators to compute");
    struct tl_daily *job = tl_calloc(1, sizeof *job);
    if (!job) return tl_fail(err, TL_NOMEM, "no memory for the job");
    job->opt = *opt;
    enum tl_status st = make_order(job, err);
    if (st != TL_OK) {
        free(job);
        return st;
    }
    uv_timer_init(loop, &job->tick);
    job->tick.data = job;
    job->progress.symbols_total = opt->n_symbols;
    job->progress.eta_s = -1;
    job->started_ns = job->rate_ns = tl_clock_mono_ns(opt->clock);
    unsigned every = opt->progress_ms ? opt->progress_ms : 100;
    uv_timer_start(&job->tick, on_tick, opt->n_symbols ? every : 0, every);
    opt->scheduler->room = on_room;
    opt->scheduler->room_ctx = job;
    fill(job);
    *out = job;
    return TL_OK;
}
