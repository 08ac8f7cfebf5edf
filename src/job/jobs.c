/* SPDX-License-Identifier: Apache-2.0 */
/* The jobs of a process: opens and closes their parts, and chooses what runs next: first what waits in this process
 * alone, then what waits in Redis, then what another process began and does not hold any more. One job at a time, for
 * the scheduler knows one daily calculation. */
#include "job/jobs_i.h"

#include "base/err.h"
#include "base/util.h"

#include <stdio.h>

uint64_t tl_jobs_now_ns(const struct tl_jobs *jobs)
{
    return tl_clock_mono_ns(jobs->clock);
}

bool tl_jobs_idle(const struct tl_jobs *jobs)
{
    return jobs->take && jobs->listed && !jobs->run && !jobs->draining && !jobs->closing;
}

/* ---- jobs of this process alone ---- */

void tl_jobs_waiting_free(struct job_waiting *w)
{
    if (!w) return;
    tl_job_record_release(&w->rec);
    free(w);
}

enum tl_status tl_jobs_push(struct tl_jobs *jobs, const struct tl_job_record *rec, bool front)
{
    if (jobs->n_waiting >= jobs->queue_max && !front) return TL_FULL;
    struct job_waiting *w = tl_calloc(1, sizeof *w);
    if (!w || tl_job_record_copy(rec, &w->rec) != TL_OK) {
        free(w);
        return TL_NOMEM;
    }
    if (front) {
        w->next = jobs->first;
        jobs->first = w;
        if (!jobs->last) jobs->last = w;
    } else {
        if (jobs->last)
            jobs->last->next = w;
        else
            jobs->first = w;
        jobs->last = w;
    }
    jobs->n_waiting++;
    return TL_OK;
}

struct job_waiting *tl_jobs_pull(struct tl_jobs *jobs, const char *id)
{
    struct job_waiting *before = NULL, *w = jobs->first;
    for (; w && strcmp(w->rec.id, id) != 0; w = w->next) before = w;
    if (!w) return NULL;
    if (before)
        before->next = w->next;
    else
        jobs->first = w->next;
    if (jobs->last == w) jobs->last = before;
    jobs->n_waiting--;
    w->next = NULL;
    return w;
}

/* ---- what runs next ---- */

static void look_again(struct tl_jobs *jobs, uint64_t ms)
{
    uint64_t jittered = ms - ms / 10 + tl_rng_below(&jobs->rng, ms / 5 + 1);
    if (jobs->redis && jobs->take && !jobs->closing)
        (void)!tl_alarm_set(jobs->alarms, &jobs->look_alarm, tl_jobs_now_ns(jobs) + jittered * 1000000);
}

/* Begins what an answer of TAKE holds at `at`; false: its record cannot be read. */
static bool begin_taken(struct tl_jobs *jobs, const struct tl_reply *reply, size_t at)
{
    struct tl_job_record rec;
    struct tl_err err;
    bool taken_over = reply->items[at + 3]->integer == 1;
    if (tl_job_record_parse(reply->items[at + 1]->str, &rec, &err) == TL_OK) {
        tl_job_run_begin(jobs, &rec, false, reply->items[at + 2]->integer == 1, taken_over);
        return true;
    }
    char id[TL_JOB_ID_MAX + 1];
    snprintf(id, sizeof id, "%.*s", TL_STR_ARG(reply->items[at]->str));
    tl_log(jobs->log, TL_LOG_ERROR, "job", "dropped from the queue", "id=%s error=\"%s\"", id, err.text);
    (void)!tl_jobs_ask(jobs, JOBS_OVER, id, NULL, "", JOBS_REDIS_MS, NULL, NULL);
    return false;
}

static bool answer_is_one(const struct tl_reply *reply)
{
    if (reply->type != TL_REPLY_ARRAY || reply->n % 4 != 0) return false;
    for (size_t i = 0; i < reply->n; i++)
        if (reply->items[i]->type != (i % 4 < 2 ? TL_REPLY_STRING : TL_REPLY_INTEGER)) return false;
    return true;
}

static void on_taken(void *user, enum tl_status status, const struct tl_reply *reply, const struct tl_err *err)
{
    struct tl_jobs *jobs = user;
    jobs->taking = false;
    (void)err;
    if (status != TL_OK || !answer_is_one(reply)) {
        look_again(jobs, JOBS_LOOK_MS);
        return;
    }
    size_t n = reply->n / 4;
    bool mine = n > 0 && reply->items[3]->integer == 0;
    if (!tl_jobs_idle(jobs)) { /* what was taken meanwhile is handed on */
        struct tl_job_record rec;
        if (mine && tl_job_record_parse(reply->items[1]->str, &rec, NULL) == TL_OK) {
            (void)!tl_jobs_ask(jobs, JOBS_BACK, rec.id, &rec, NULL, JOBS_REDIS_MS, NULL, NULL);
            tl_job_record_release(&rec);
        }
        return;
    }
    look_again(jobs, n > 1 ? JOBS_LOOK_MS / n : JOBS_LOOK_MS);
    if (n > 0 && !begin_taken(jobs, reply, mine ? 0 : 4 * (jobs->turn++ % n))) tl_jobs_look(jobs);
}

static void look(struct tl_jobs *jobs)
{
    if (!tl_jobs_idle(jobs)) return;
    if (jobs->first) {
        struct job_waiting *w = tl_jobs_pull(jobs, jobs->first->rec.id);
        tl_job_run_begin(jobs, &w->rec, true, false, false);
        free(w);
        return;
    }
    if (jobs->taking || !tl_jobs_redis_up(jobs)) return;
    enum tl_status st = tl_jobs_ask(jobs, JOBS_TAKE, "", NULL, NULL, JOBS_REDIS_MS, on_taken, jobs);
    jobs->taking = st == TL_OK;
    look_again(jobs, JOBS_LOOK_MS);
}

static void on_look_soon(struct tl_soon *soon)
{
    look((struct tl_jobs *)(void *)((char *)soon - offsetof(struct tl_jobs, look_soon)));
}

static void on_look_alarm(struct tl_alarm *alarm)
{
    struct tl_jobs *jobs = (struct tl_jobs *)(void *)((char *)alarm - offsetof(struct tl_jobs, look_alarm));
    look_again(jobs, JOBS_LOOK_MS);
    look(jobs);
}

void tl_jobs_look(struct tl_jobs *jobs)
{
    if (!jobs->closing) tl_soon_call(jobs->alarms, &jobs->look_soon);
}

/* ---- being told ---- */

static void on_task_snapshot(struct tl_subscription *s, struct tl_str data, struct tl_position at, bool recovered)
{
    (void)s, (void)data, (void)at, (void)recovered;
}

static void on_task_event(struct tl_subscription *s, struct tl_event *e)
{
    static const char queued[] = "\"state\":\"queued\"";
    struct tl_str data = tl_event_data(e);
    if (memmem(data.p, data.n, queued, sizeof queued - 1)) tl_jobs_look(s->user);
}

/* ---- works ---- */

static void on_work(struct tl_work *work, unsigned worker)
{
    struct jobs_work *w = (struct jobs_work *)(void *)work;
    w->run(w, w->jobs->scheduler->readers[worker]);
}

static void on_work_done(struct tl_work *work)
{
    struct jobs_work *w = (struct jobs_work *)(void *)work;
    struct tl_jobs *jobs = w->jobs;
    struct tl_scheduler *s = jobs->scheduler;
    w->done(w, work->cancelled);
    tl_jobs_part(jobs);
    tl_once_work_ended(s);
}

void tl_jobs_work(struct tl_jobs *jobs, struct jobs_work *w)
{
    w->jobs = jobs;
    w->work = (struct tl_work){.run = on_work, .done = on_work_done};
    jobs->open++;
    tl_once_work_begins(jobs->scheduler);
    tl_workers_submit(jobs->scheduler->workers, &w->work);
}

/* ---- the end ---- */

static void free_jobs(struct tl_jobs *jobs)
{
    tl_alarm_clear(jobs->alarms, &jobs->look_alarm);
    tl_alarm_clear(jobs->alarms, &jobs->clock_alarm);
    tl_soon_cancel(jobs->alarms, &jobs->look_soon);
    tl_soon_cancel(jobs->alarms, &jobs->end_soon);
    while (jobs->first) tl_jobs_waiting_free(tl_jobs_pull(jobs, jobs->first->rec.id));
    tl_jobs_clocks_free(jobs);
    free(jobs);
}

static void end_if_over(struct tl_jobs *jobs)
{
    if (jobs->run || jobs->open > 0) return;
    if (jobs->drained) {
        void (*cb)(void *) = jobs->drained;
        jobs->drained = NULL;
        cb(jobs->drained_ctx);
        if (jobs->run || jobs->open > 0 || jobs->drained) return;
    }
    if (!jobs->closing || jobs->redis || jobs->end_soon.queued) return;
    void (*cb)(void *) = jobs->closed;
    void *ctx = jobs->closed_ctx;
    free_jobs(jobs);
    if (cb) cb(ctx);
}

static void on_redis_closed(void *ctx)
{
    struct tl_jobs *jobs = ctx;
    jobs->redis = NULL;
    tl_jobs_check_drained(jobs);
}

void tl_jobs_check_drained(struct tl_jobs *jobs)
{
    if (jobs->drained || jobs->closing) tl_soon_call(jobs->alarms, &jobs->end_soon);
}

static void on_end_soon(struct tl_soon *soon)
{
    struct tl_jobs *jobs = (struct tl_jobs *)(void *)((char *)soon - offsetof(struct tl_jobs, end_soon));
    if (jobs->closing && !jobs->run && jobs->redis && !jobs->ended) {
        jobs->ended = true; /* exchanges end as CANCELLED */
        tl_redis_close(jobs->redis, on_redis_closed, jobs);
    }
    end_if_over(jobs);
}

void tl_jobs_part(struct tl_jobs *jobs)
{
    TL_ASSERT(jobs->open > 0);
    jobs->open--;
    tl_jobs_check_drained(jobs);
}

/* Each goes to the front of Redis' queue: the last one first. */
static void give_all(struct tl_jobs *jobs)
{
    size_t n = 0;
    TL_AUTOFREE const struct job_waiting **waiting = tl_calloc(jobs->n_waiting, sizeof(struct job_waiting *));
    for (const struct job_waiting *w = jobs->first; waiting && w; w = w->next) waiting[n++] = w;
    for (; n > 0 && tl_jobs_redis_up(jobs); n--)
        (void)!tl_jobs_ask(jobs, JOBS_BACK, waiting[n - 1]->rec.id, &waiting[n - 1]->rec, NULL, JOBS_REDIS_MS, NULL,
                           NULL);
}

/* No further job is begun; what waits here alone is given to all, where there is a Redis. */
static void stop_taking(struct tl_jobs *jobs)
{
    if (jobs->draining) return;
    jobs->draining = true;
    tl_alarm_clear(jobs->alarms, &jobs->look_alarm);
    tl_soon_cancel(jobs->alarms, &jobs->look_soon);
    tl_jobs_clocks_end(jobs);
    give_all(jobs);
    tl_job_run_hand_over(jobs);
}

void tl_jobs_drain(struct tl_jobs *jobs, void (*cb)(void *ctx), void *ctx)
{
    jobs->drained = cb;
    jobs->drained_ctx = ctx;
    stop_taking(jobs);
    tl_jobs_check_drained(jobs);
}

void tl_jobs_close(struct tl_jobs *jobs, void (*cb)(void *ctx), void *ctx)
{
    if (jobs->closing) return;
    stop_taking(jobs);
    jobs->closing = true;
    jobs->closed = cb;
    jobs->closed_ctx = ctx;
    tl_bus_unsubscribe(&jobs->watch);
    tl_jobs_check_drained(jobs);
}

/* ---- opening ---- */

static struct tl_jobs *jobs_new(uv_loop_t *loop, const struct tl_jobs_options *o)
{
    struct tl_jobs *jobs = tl_calloc(1, sizeof *jobs);
    if (!jobs) return NULL;
    *jobs = (struct tl_jobs){.loop = loop,
                             .cache = o->cache,
                             .scheduler = o->scheduler,
                             .bus = o->bus,
                             .locks = o->locks,
                             .config = o->config,
                             .sessions = o->sessions,
                             .clock = o->clock ? o->clock : &tl_clock_system,
                             .log = o->log,
                             .alarms = o->cache->alarms,
                             .take = o->take,
                             .queue_max = o->queue_max ? o->queue_max : JOBS_QUEUE_MAX,
                             .look_soon = {.call = on_look_soon},
                             .end_soon = {.call = on_end_soon},
                             .look_alarm = {.ring = on_look_alarm}};
    snprintf(jobs->prefix, sizeof jobs->prefix, "%s", o->prefix ? o->prefix : "tierline:");
    snprintf(jobs->instance, sizeof jobs->instance, "%016llx", (unsigned long long)o->cache->instance);
    tl_rng_seed(&jobs->rng, tl_rng_u64(&o->cache->rng));
    return jobs;
}

enum tl_status tl_jobs_open(uv_loop_t *loop, const struct tl_jobs_options *o, struct tl_jobs **out, struct tl_err *err)
{
    TL_ASSERT(o->cache && o->scheduler && o->bus && o->config);
    *out = NULL;
    if (o->take && !o->cache->store) return tl_fail(err, TL_INVALID, "jobs cannot run without a store");
    struct tl_jobs *jobs = jobs_new(loop, o);
    if (!jobs) return tl_fail(err, TL_NOMEM, "no memory for the jobs");
    bool redis = o->redis_url && o->redis_url[0] && strcmp(o->redis_url, "none") != 0;
    TL_ASSERT(!redis || o->locks);
    enum tl_status st = tl_jobs_clocks_read(jobs, o->config, err);
    jobs->watch = (struct tl_subscription){
        .topic = "tasks", .on_snapshot = on_task_snapshot, .on_event = on_task_event, .user = jobs};
    if (st == TL_OK) st = tl_bus_subscribe(o->bus, &jobs->watch, err);
    if (st == TL_OK && redis) st = tl_jobs_queue_open(jobs, o->redis_url, err);
    if (st != TL_OK) {
        tl_bus_unsubscribe(&jobs->watch);
        free_jobs(jobs);
        return st;
    }
    tl_jobs_clocks_begin(jobs);
    tl_jobs_restore(jobs);
    *out = jobs;
    return TL_OK;
}

enum tl_status tl_jobs_configure(struct tl_jobs *jobs, const struct tl_config *config, struct tl_err *err)
{
    enum tl_status st = tl_jobs_clocks_read(jobs, config, err);
    if (st != TL_OK) return st;
    jobs->config = config;
    if (!jobs->draining) tl_jobs_clocks_begin(jobs);
    return TL_OK;
}
