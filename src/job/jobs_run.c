/* SPDX-License-Identifier: Apache-2.0 */
/* The one job under way:
 *
 *   LEASING -> STEPPING -> (CHECKING) -> LOOKING_UP -> CALCULATING -> ENDING -> gone
 *
 * LEASING: the lease "job:<id>", without which nothing of a job in Redis' queue is begun. STEPPING: Redis is told that
 * it is ours. CHECKING: one that another process began may be over by its record. LOOKING_UP: symbols and indicators,
 * on a worker, or, of a retry, from the failures of the job before. ENDING: Redis is asked once more whether it is
 * ours, its record is kept, its last event published, then Redis forgets it, then the lease is given back.
 *
 * Whatever ends it early (cancel, hand_over, gone: another process has it) is a flag that the phase under way comes to.
 * A lease that is lost because Redis is away stops nothing: what is computed is computed once all the same.
 *
 * The record has no fence of its own: while Redis can be asked it is written only behind an answer of STEP that is
 * younger than the lease can have been over. */
#include "job/jobs_i.h"

#include "base/err.h"
#include "base/util.h"
#include "job/jobs_wanted.h"

#include <stdio.h>

enum run_phase { RUN_LEASING, RUN_STEPPING, RUN_CHECKING, RUN_LOOKING_UP, RUN_CALCULATING, RUN_ENDING };
enum {
    STEP_MS = 1000,
    FRESH_MS = JOBS_LEASE_MS / 2,
    CONFIRMS = 3,
    LEASE_WAIT_MS = 3000,
    REFUSALS = 2 * JOBS_LEASE_MS / STEP_MS
};

struct job_run {
    struct tl_jobs *jobs;
    struct tl_job_record rec;
    enum run_phase phase;
    bool local, taken_over;
    bool cancel, hand_over, gone; /* asked for */
    bool handing_over;            /* ENDING: it is not over */
    struct tl_lease lease;
    bool leased, leasing;
    enum tl_status lease_status; /* of the last try */
    unsigned refused;            /* tries in turn while another had it */
    char lease_name[TL_JOB_ID_MAX + 8];
    struct tl_publisher pub;
    bool begun; /* published */
    struct job_wanted wanted;
    struct tl_daily *daily;
    struct job_errors errors;
    uint64_t errors_told; /* that the record in the tiers speaks of */
    struct tl_alarm step;
    bool stepping;
    uint64_t stepped_ns;          /* when STEP was asked last */
    uint64_t ours_ns;             /* when it was asked that said so last that the job is ours */
    bool confirmed;               /* ENDING: Redis has just said that it is ours, or cannot say anything */
    unsigned confirms;            /* how often it was asked for that */
    enum tl_task_state end_state; /* ENDING */
    char end_error[200];
    struct tl_soon soon; /* its next phase, when nothing else comes from the loop */
};

static void proceed(struct job_run *);
static void finish(struct job_run *, enum tl_task_state, const char *error);

static bool to_end(const struct job_run *run)
{
    return run->cancel || run->hand_over || run->gone;
}

bool tl_job_run_is(const struct tl_jobs *jobs, const char *id)
{
    return jobs->run && strcmp(jobs->run->rec.id, id) == 0;
}

const char *tl_job_run_local(const struct tl_jobs *jobs)
{
    return jobs->run && jobs->run->local ? jobs->run->rec.id : NULL;
}

const struct tl_job_record *tl_job_run_record(const struct tl_jobs *jobs)
{
    return &jobs->run->rec;
}

/* ---- the end ---- */

static void run_free(struct job_run *run)
{
    struct tl_jobs *jobs = run->jobs;
    tl_alarm_clear(jobs->alarms, &run->step);
    tl_soon_cancel(jobs->alarms, &run->soon);
    tl_publisher_abandon(&run->pub);
    tl_job_errors_release(&run->errors);
    job_wanted_release(&run->wanted);
    tl_job_record_release(&run->rec);
    jobs->run = NULL;
    free(run);
    tl_jobs_keep_list(jobs);
    tl_jobs_check_drained(jobs);
}

static void on_released(struct tl_lease *lease, enum tl_status status)
{
    struct job_run *run = lease->user;
    struct tl_jobs *jobs = run->jobs;
    (void)status; /* else it ends by itself */
    bool other = run->gone;
    run_free(run);
    if (!other) tl_jobs_look(jobs);
}

/* Everything is told. One that another process has is not looked for again at once. */
static void let_go(struct job_run *run)
{
    struct tl_jobs *jobs = run->jobs;
    TL_ASSERT(!run->leasing && !run->stepping && !run->daily);
    if (run->leased && tl_lease_release(&run->lease, on_released, NULL) == TL_OK) {
        run->leased = false;
        return;
    }
    bool other = run->gone;
    run_free(run);
    if (!other) tl_jobs_look(jobs);
}

static void push_back(struct job_run *run)
{
    if (tl_jobs_push(run->jobs, &run->rec, true) != TL_OK)
        tl_log(run->jobs->log, TL_LOG_ERROR, "job", "lost", "id=%s status=NOMEM", run->rec.id);
}

static void on_told(void *user, enum tl_status status, const struct tl_reply *reply, const struct tl_err *err)
{
    struct job_run *run = user;
    (void)reply, (void)err; /* it is found again when the lease is over, and ended then */
    if (status != TL_OK && run->local && run->handing_over) push_back(run);
    let_go(run);
}

static void tell(struct job_run *run, enum jobs_script script)
{
    struct tl_jobs *jobs = run->jobs;
    const struct tl_job_record *rec = script == JOBS_BACK ? &run->rec : NULL;
    /* A local one is given to Redis, and so is its end: Redis may have it, from a reply that was lost. */
    bool told = (!run->local || tl_jobs_redis_up(jobs)) &&
                tl_jobs_ask(jobs, script, run->rec.id, rec, NULL, JOBS_REDIS_MS, on_told, run) == TL_OK;
    if (told) return;
    if (run->local && run->handing_over) push_back(run);
    let_go(run);
}

static void end_handed_over(struct job_run *run)
{
    struct tl_jobs *jobs = run->jobs;
    run->rec.progress.state = TL_TASK_QUEUED;
    if (run->begun) { /* else it says so */
        tl_jobs_keep_record(jobs, &run->rec);
        tl_publisher_state(&run->pub, TL_TASK_QUEUED);
    }
    tl_publisher_abandon(&run->pub);
    tl_log(jobs->log, TL_LOG_INFO, "job", "handed over", "id=%s", run->rec.id);
    run->handing_over = true;
    tell(run, JOBS_BACK);
}

/* Nothing of the job was begun here, or another process has it. */
static void give_up(struct job_run *run)
{
    run->phase = RUN_ENDING;
    run->gone = true;
    tl_publisher_abandon(&run->pub);
    let_go(run);
}

static void on_recorded(void *ctx);

static void end_over(struct job_run *run)
{
    struct tl_jobs *jobs = run->jobs;
    struct tl_task_progress *p = &run->rec.progress;
    p->state = run->end_state;
    memcpy(p->error, run->end_error, sizeof p->error);
    run->rec.ended_ms = tl_clock_wall_ms(jobs->clock);
    tl_jobs_keep_record_then(jobs, &run->rec, on_recorded, run);
}

/* Where it is no more lost with the process, or cannot be kept. */
static void on_recorded(void *ctx)
{
    struct job_run *run = ctx;
    struct tl_jobs *jobs = run->jobs;
    const struct tl_task_progress *p = &run->rec.progress;
    const char *error = run->end_error[0] ? run->end_error : NULL;
    if (run->gone) {
        give_up(run);
        return;
    }
    tl_publisher_end(&run->pub, run->end_state, error);
    tl_log(jobs->log, error ? TL_LOG_ERROR : TL_LOG_INFO, "job", tl_task_state_name(run->end_state),
           "id=%s symbols=%llu computed=%llu failed=%llu ms=%lld%s%s%s", run->rec.id, (unsigned long long)p->done,
           (unsigned long long)p->computed, (unsigned long long)p->failed, (long long)p->elapsed_ms,
           error ? " error=\"" : "", error ? error : "", error ? "\"" : "");
    tell(run, JOBS_OVER);
}

static void step_in_redis(struct job_run *run);

/* Is there an answer to wait for? */
static bool confirm(struct job_run *run)
{
    if (run->confirmed || run->gone || run->local || run->confirms == CONFIRMS) return false;
    run->confirms++;
    step_in_redis(run); /* waits for a connection that was lost just now; while Redis is away there is nothing to ask */
    return run->stepping;
}

/* Once nothing is under way any more: an answer that is still to come, comes here. */
static void end(struct job_run *run)
{
    if (run->stepping || run->leasing || confirm(run)) return;
    if (run->gone) {
        give_up(run);
        return;
    }
    tl_job_errors_flush(&run->errors);
    run->rec.errors = run->errors.total;
    run->rec.progress = run->pub.last;
    if (run->end_state == TL_TASK_CANCELLED && !run->cancel)
        end_handed_over(run);
    else
        end_over(run);
}

static void finish(struct job_run *run, enum tl_task_state state, const char *error)
{
    run->phase = RUN_ENDING;
    run->end_state = state;
    snprintf(run->end_error, sizeof run->end_error, "%.199s", error ? error : "");
    tl_alarm_clear(run->jobs->alarms, &run->step);
    if (run->leasing) tl_lease_cancel(&run->lease);
    end(run);
}

/* ---- the calculation ---- */

static void on_progress(void *ctx, const struct tl_daily_progress *p)
{
    struct job_run *run = ctx;
    struct tl_daily_progress told = *p;
    told.cancelled = run->cancel; /* handing over is no cancelling */
    tl_publisher_progress(&run->pub, &told);
    run->rec.progress = run->pub.last;
}

static void on_failure(void *ctx, const struct tl_daily_failure *f)
{
    struct job_run *run = ctx;
    tl_job_errors_add(&run->errors, f);
    tl_publisher_failure(&run->pub, f);
}

static void on_symbol(void *ctx, const struct tl_daily_symbol *s)
{
    struct job_run *run = ctx;
    tl_publisher_symbol(&run->pub, s);
}

static void on_done(void *ctx, enum tl_status status, const struct tl_daily_progress *p)
{
    struct job_run *run = ctx;
    run->daily = NULL;
    on_progress(run, p);
    finish(run, status == TL_CANCELLED ? TL_TASK_CANCELLED : TL_TASK_COMPLETED, NULL);
}

static void calculate(struct job_run *run)
{
    struct tl_jobs *jobs = run->jobs;
    struct job_wanted *w = &run->wanted;
    struct tl_err err = {.status = TL_OK};
    const struct tl_daily_options o = {.scheduler = jobs->scheduler,
                                       .symbols = w->symbols,
                                       .n_symbols = w->n_symbols,
                                       .specs = w->specs,
                                       .n_specs = w->n_specs,
                                       .wanted = w->by_symbol,
                                       .freq = run->rec.freq,
                                       .adjust = run->rec.adjust,
                                       .drop_suspended = run->rec.drop_suspended,
                                       .recompute = run->rec.recompute,
                                       .day_ms = run->rec.day_ms,
                                       .sessions = jobs->sessions,
                                       .clock = jobs->clock,
                                       .on_progress = on_progress,
                                       .on_failure = on_failure,
                                       .on_symbol = on_symbol,
                                       .on_done = on_done,
                                       .ctx = run};
    run->phase = RUN_CALCULATING;
    tl_publisher_started(&run->pub, w->n_symbols);
    if (tl_daily_start(jobs->loop, &o, &run->daily, &err) != TL_OK) finish(run, TL_TASK_FAILED, err.text);
}

static void on_wanted(void *ctx, enum tl_status status, const struct tl_err *err)
{
    struct job_run *run = ctx;
    if (to_end(run))
        finish(run, TL_TASK_CANCELLED, NULL);
    else if (status != TL_OK)
        finish(run, TL_TASK_FAILED, err->text);
    else
        calculate(run);
}

/* ---- while it runs ---- */

static void stop(struct job_run *run)
{
    if (run->daily) {
        if (run->cancel && run->begun) tl_publisher_state(&run->pub, TL_TASK_CANCELLING);
        tl_daily_cancel(run->daily);
    } else if (run->phase == RUN_LEASING && run->leasing && run->hand_over) {
        tl_lease_cancel(&run->lease);
    }
}

void tl_job_run_cancel(struct tl_jobs *jobs)
{
    if (!jobs->run || jobs->run->phase == RUN_ENDING) return;
    jobs->run->cancel = true;
    stop(jobs->run);
}

void tl_job_run_hand_over(struct tl_jobs *jobs)
{
    if (!jobs->run || jobs->run->phase == RUN_ENDING) return;
    jobs->run->hand_over = true;
    stop(jobs->run);
}

static void on_cancel(void *ctx)
{
    struct job_run *run = ctx;
    tl_job_run_cancel(run->jobs);
}

static void on_fenced(void *ctx)
{
    struct job_run *run = ctx;
    if (run->gone) return;
    tl_log(run->jobs->log, TL_LOG_WARN, "job", "another process goes on with it", "id=%s", run->rec.id);
    run->gone = true;
    if (run->phase != RUN_ENDING) stop(run);
}

/* As far as can be known: perhaps Redis is away. */
static bool is_ours(const struct job_run *run)
{
    const struct tl_jobs *jobs = run->jobs;
    if (run->local || !tl_jobs_redis_up(jobs)) return true;
    return run->leased && tl_jobs_now_ns(jobs) - run->ours_ns < FRESH_MS * UINT64_C(1000000);
}

static void flush(struct job_run *run)
{
    if (run->errors_told == run->errors.total || !is_ours(run)) return;
    tl_job_errors_flush(&run->errors);
    run->rec.errors = run->errors_told = run->errors.total;
    tl_jobs_keep_record(run->jobs, &run->rec);
}

void tl_job_run_flush(struct tl_jobs *jobs)
{
    if (jobs->run && jobs->run->phase != RUN_ENDING) flush(jobs->run);
}

static void set_step(struct job_run *run);

static void on_step_told(void *user, enum tl_status status, const struct tl_reply *reply, const struct tl_err *err)
{
    struct job_run *run = user;
    (void)err;
    run->stepping = false;
    bool answer = status == TL_OK;
    if (answer && reply->integer != 2) {
        run->ours_ns = run->stepped_ns;
        if (run->local) { /* from now on Redis has it */
            run->local = false;
            tl_jobs_keep_list(run->jobs);
        }
    }
    bool fresh = tl_jobs_now_ns(run->jobs) - run->stepped_ns < FRESH_MS * UINT64_C(1000000);
    if (run->phase == RUN_ENDING) {
        run->gone |= answer && reply->integer == 2;
        run->confirmed = fresh && run->confirms > 0 && status != TL_IO; /* lost with its connection: is asked again */
        end(run);
    } else if (answer && reply->integer == 2) { /* over since we looked, or another's */
        if (run->phase == RUN_STEPPING)
            give_up(run);
        else
            on_fenced(run);
    } else if (run->phase == RUN_STEPPING) {
        run->cancel |= answer && reply->integer == 1;
        if (!fresh) step_in_redis(run); /* stood still meanwhile */
        if (!run->stepping) proceed(run);
    } else {
        if (answer) flush(run);
        if (answer && reply->integer == 1) tl_job_run_cancel(run->jobs);
    }
}

static void step_in_redis(struct job_run *run)
{
    struct tl_jobs *jobs = run->jobs;
    const char *taken_over = run->phase == RUN_STEPPING && run->taken_over ? "" : NULL;
    enum tl_status st = run->local && !run->leased ? TL_IO
                                                   : tl_jobs_ask(jobs, JOBS_STEP, run->rec.id, &run->rec, taken_over,
                                                                 JOBS_REDIS_MS, on_step_told, run);
    run->stepping = st == TL_OK;
    run->stepped_ns = tl_jobs_now_ns(jobs);
}

static void on_lost(struct tl_lease *lease, const struct tl_err *why)
{
    struct job_run *run = lease->user;
    run->leased = false;
    tl_log(run->jobs->log, TL_LOG_WARN, "job", "lease lost", "id=%s why=\"%s\"", run->rec.id, why->text);
}

static void on_leased(struct tl_lease *lease, enum tl_status status)
{
    struct job_run *run = lease->user;
    run->leasing = false;
    run->leased = status == TL_OK;
    run->lease_status = status;
    run->refused = status == TL_BUSY ? run->refused + 1 : 0;
    if (run->phase == RUN_LEASING)
        proceed(run);
    else if (run->phase == RUN_ENDING)
        end(run);                     /* which has waited for this */
    else if (run->refused > REFUSALS) /* not our own old one, which has expired by now */
        on_fenced(run);
}

static bool lease(struct job_run *run, uint64_t wait_ms)
{
    struct tl_jobs *jobs = run->jobs;
    run->lease = (struct tl_lease){.ttl_ms = JOBS_LEASE_MS, .wait_ms = wait_ms, .on_lost = on_lost, .user = run};
    run->leasing = tl_lease_acquire(jobs->locks, &run->lease, run->lease_name, on_leased, NULL) == TL_OK;
    return run->leasing;
}

static void on_step(struct tl_alarm *alarm)
{
    struct job_run *run = (struct job_run *)(void *)((char *)alarm - offsetof(struct job_run, step));
    struct tl_jobs *jobs = run->jobs;
    if (run->local || !tl_jobs_redis_up(jobs)) flush(run); /* else behind the answer */
    if (tl_jobs_redis_up(jobs)) {
        if (!run->stepping) step_in_redis(run);
        if (jobs->locks && !run->leased && !run->leasing && !to_end(run)) (void)lease(run, 0);
    }
    set_step(run);
}

static void set_step(struct job_run *run)
{
    uint64_t at = tl_jobs_now_ns(run->jobs) + STEP_MS * UINT64_C(1000000);
    (void)!tl_alarm_set(run->jobs->alarms, &run->step, at);
}

/* ---- the way through the phases ---- */

static void begin(struct job_run *run)
{
    struct tl_jobs *jobs = run->jobs;
    const struct tl_publisher_options o = {.bus = jobs->bus,
                                           .id = run->rec.id,
                                           .name = run->rec.name,
                                           .clock = jobs->clock,
                                           .on_cancel = on_cancel,
                                           .on_fenced = on_fenced,
                                           .ctx = run};
    run->phase = RUN_LOOKING_UP;
    if (!run->rec.started_ms) run->rec.started_ms = tl_clock_wall_ms(jobs->clock);
    tl_publisher_open(&run->pub, &o, NULL);
    tl_publisher_state(&run->pub, TL_TASK_RUNNING);
    run->begun = true;
    run->rec.progress = run->pub.last;
    tl_jobs_keep_record(jobs, &run->rec);
    tl_log(jobs->log, TL_LOG_INFO, "job", run->taken_over ? "taken over" : "begun", "id=%s", run->rec.id);
    set_step(run);
    struct tl_err err;
    enum tl_status st = TL_CANCELLED;
    if (!to_end(run)) st = job_wanted_look_up(&run->wanted, jobs, &run->rec, on_wanted, run, &err);
    if (st != TL_OK) finish(run, to_end(run) ? TL_TASK_CANCELLED : TL_TASK_FAILED, to_end(run) ? NULL : err.text);
}

/* Its process died between the record and the last event, or before Redis forgot it: what is missing is done here. */
static void end_as_recorded(struct job_run *run, const struct tl_task_progress *p)
{
    struct tl_jobs *jobs = run->jobs;
    enum tl_task_state state;
    run->phase = RUN_ENDING;
    if (!tl_jobs_find_task(jobs, run->rec.id, &state) || !tl_task_state_over(state)) {
        const struct tl_publisher_options o = {
            .bus = jobs->bus, .id = run->rec.id, .name = run->rec.name, .clock = jobs->clock};
        tl_publisher_open(&run->pub, &o, NULL);
        run->pub.last = *p;
        run->pub.began_ns -= (uint64_t)p->elapsed_ms * 1000000;
        tl_publisher_end(&run->pub, p->state, p->error[0] ? p->error : NULL);
    }
    tell(run, JOBS_OVER);
}

static void on_checked(void *user, enum tl_status status, struct tl_str value)
{
    struct job_run *run = user;
    struct tl_job_record rec;
    struct tl_task_progress told = {.state = TL_TASK_RUNNING};
    if (status != TL_OK && status != TL_NOT_FOUND) { /* perhaps it is over: it is looked at again */
        give_up(run);
        return;
    }
    if (status == TL_OK && tl_job_record_parse(value, &rec, NULL) == TL_OK) {
        told = rec.progress;
        if (rec.started_ms) run->rec.started_ms = rec.started_ms;
        tl_job_record_release(&rec);
    }
    if (tl_task_state_over(told.state))
        end_as_recorded(run, &told);
    else if (!is_ours(run)) /* stood still since STEP */
        give_up(run);
    else
        begin(run);
}

static void check(struct job_run *run)
{
    run->phase = RUN_CHECKING;
    if (tl_jobs_fetch(run->jobs, "tierline.job", run->rec.id, NULL, on_checked, run) != TL_OK) give_up(run);
}

/* From LEASING and STEPPING on. */
static void proceed(struct job_run *run)
{
    if (run->phase == RUN_LEASING) {
        /* A local job does not wait for its lease: a TIMEOUT of that is Redis', and the only copy is here. */
        bool other = run->lease_status == TL_BUSY || (!run->local && run->lease_status == TL_TIMEOUT);
        if (!run->leased && (!run->local || other)) {
            if (run->hand_over && !run->taken_over && !other)
                end_handed_over(run);
            else
                give_up(run);
            return;
        }
        run->phase = RUN_STEPPING;
        step_in_redis(run);
        if (run->stepping) return;
    }
    if (run->taken_over && !run->local)
        check(run);
    else
        begin(run);
}

static void on_soon(struct tl_soon *soon)
{
    proceed((struct job_run *)(void *)((char *)soon - offsetof(struct job_run, soon)));
}

void tl_job_run_begin(struct tl_jobs *jobs, struct tl_job_record *rec, bool local, bool cancelled, bool taken_over)
{
    TL_ASSERT(!jobs->run);
    struct job_run *run = tl_calloc(1, sizeof *run);
    if (!run) { /* Redis has it under our name: it is found there when memory is back */
        tl_log(jobs->log, TL_LOG_ERROR, "job", "not begun", "id=%s status=NOMEM", rec->id);
        if (local) (void)!tl_jobs_push(jobs, rec, true);
        tl_job_record_release(rec);
        return;
    }
    *run = (struct job_run){.jobs = jobs,
                            .rec = *rec,
                            .local = local,
                            .cancel = cancelled,
                            .taken_over = taken_over,
                            .soon = {.call = on_soon},
                            .step = {.ring = on_step}};
    rec->symbols = rec->specs = NULL;
    snprintf(run->lease_name, sizeof run->lease_name, "job:%s", run->rec.id);
    tl_job_errors_init(&run->errors, jobs, run->rec.id);
    jobs->run = run;
    /* Who was given a job by Redis waits for the one who has just handed it over. */
    bool alone = !jobs->locks || (local && !tl_jobs_redis_up(jobs));
    if (alone || !lease(run, local || taken_over ? 0 : LEASE_WAIT_MS)) tl_soon_call(jobs->alarms, &run->soon);
}
