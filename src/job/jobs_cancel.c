/* SPDX-License-Identifier: Apache-2.0 */
/* Ending a job wherever it is, a new one of what failed, and showing one. A job is looked for where it would be found
 * first: here, in Redis' queue, in the records, and among the tasks of the bus, which also has those that are no jobs
 * (`calc`): whoever publishes one of them is asked to end. */
#include "job/jobs_i.h"

#include "base/err.h"
#include "base/util.h"

#include <stdio.h>

struct calling {
    struct tl_jobs *jobs;
    struct tl_job_op *op;
    char id[TL_JOB_ID_MAX + 1];
    struct tl_control control;
    struct tl_soon soon;
};

static void call_over(struct calling *c, enum tl_status status)
{
    struct tl_jobs *jobs = c->jobs;
    struct tl_job_op *op = c->op;
    if (status != TL_OK && op->err.status != status)
        (void)tl_fail(&op->err, status, "job %s: %s", c->id, tl_status_text(status));
    op->state = NULL;
    free(c);
    op->cb(op, status);
    tl_jobs_part(jobs);
}

static struct calling *call_new(struct tl_jobs *jobs, struct tl_job_op *op, const char *id, struct tl_err *err)
{
    op->id[0] = '\0';
    op->err = (struct tl_err){.status = TL_OK};
    struct calling *c = NULL;
    if (jobs->closing)
        (void)tl_fail(err, TL_CANCELLED, "the jobs are being closed");
    else if (!id[0] || strlen(id) > TL_JOB_ID_MAX)
        (void)tl_fail(err, TL_NOT_FOUND, "no job has an id of %zu bytes", strlen(id));
    else if (!(c = tl_calloc(1, sizeof *c)))
        (void)tl_fail(err, TL_NOMEM, "no memory for job %s", id);
    if (!c) return NULL;
    *c = (struct calling){.jobs = jobs, .op = op};
    snprintf(c->id, sizeof c->id, "%s", id);
    op->state = c;
    jobs->open++;
    return c;
}

/* ---- cancel ---- */

static void on_controlled(struct tl_control *control, enum tl_status status)
{
    call_over(control->user, status);
}

static void tell_publisher(struct calling *c)
{
    c->control = (struct tl_control){.cb = on_controlled, .user = c};
    enum tl_status st = tl_bus_control(c->jobs->bus, &c->control, c->id, "cancel", &c->op->err);
    if (st != TL_OK) call_over(c, st);
}

struct finding {
    const char *id;
    bool found;
    enum tl_task_state state;
};

static bool find_task(void *ctx, const struct tl_task_info *info)
{
    struct finding *f = ctx;
    f->found = strcmp(info->id, f->id) == 0;
    f->state = info->progress.state;
    return !f->found;
}

bool tl_jobs_find_task(struct tl_jobs *jobs, const char *id, enum tl_task_state *state)
{
    struct finding f = {.id = id};
    tl_bus_tasks(jobs->bus, find_task, &f);
    *state = f.state;
    return f.found;
}

static void end_as_over(struct calling *c, enum tl_task_state state)
{
    call_over(c, tl_fail(&c->op->err, TL_CONFLICT, "job %s is over: %s", c->id, tl_task_state_name(state)));
}

/* Not in a queue: a job of another process alone, one that Redis has lost, or a task that is no job. */
static void on_cancel_record(void *user, enum tl_status status, struct tl_str value)
{
    struct calling *c = user;
    struct tl_job_record rec;
    enum tl_task_state task;
    bool is_task = tl_jobs_find_task(c->jobs, c->id, &task);
    if (status == TL_OK && tl_job_record_parse(value, &rec, NULL) == TL_OK) {
        enum tl_task_state state = rec.progress.state;
        if (state == TL_TASK_QUEUED && tl_jobs_redis_up(c->jobs)) {
            (void)!tl_jobs_ask(c->jobs, JOBS_OVER, c->id, NULL, "", JOBS_REDIS_MS, NULL,
                               NULL); /* it may be on its way */
            tl_jobs_end_waiting(c->jobs, &rec, TL_TASK_CANCELLED, NULL);
            call_over(c, TL_OK);
        } else if (tl_task_state_over(state)) {
            end_as_over(c, state);
        } else {
            tell_publisher(c);
        }
        tl_job_record_release(&rec);
    } else if (is_task && tl_task_state_over(task)) {
        end_as_over(c, task);
    } else if (is_task) {
        tell_publisher(c);
    } else {
        call_over(c, tl_fail(&c->op->err, TL_NOT_FOUND, "no job %s is known", c->id));
    }
}

static void cancel_by_record(struct calling *c)
{
    enum tl_status st = tl_jobs_fetch(c->jobs, "tierline.job", c->id, NULL, on_cancel_record, c);
    if (st != TL_OK) call_over(c, st);
}

static void on_cancelled(void *user, enum tl_status status, const struct tl_reply *reply, const struct tl_err *err)
{
    struct calling *c = user;
    struct tl_job_record rec;
    int64_t answer = status == TL_OK && reply->type == TL_REPLY_ARRAY && reply->n > 0 ? reply->items[0]->integer : 0;
    if (status != TL_OK) {
        call_over(c, tl_fail(&c->op->err, status, "job %s: Redis: %s", c->id, err->text));
    } else if (answer == 2 && reply->n > 1 && tl_job_record_parse(reply->items[1]->str, &rec, NULL) == TL_OK) {
        tl_jobs_end_waiting(c->jobs, &rec, TL_TASK_CANCELLED, NULL);
        tl_job_record_release(&rec);
        call_over(c, TL_OK);
    } else if (answer == 1) {
        tell_publisher(c); /* who misses that reads it in Redis within a second */
    } else {
        cancel_by_record(c);
    }
}

static void on_cancel_soon(struct tl_soon *soon)
{
    struct calling *c = (struct calling *)(void *)((char *)soon - offsetof(struct calling, soon));
    struct tl_jobs *jobs = c->jobs;
    struct job_waiting *w = tl_jobs_pull(jobs, c->id);
    bool here = w || tl_job_run_is(jobs, c->id);
    if (w) {
        tl_jobs_keep_list(jobs);
        tl_jobs_end_waiting(jobs, &w->rec, TL_TASK_CANCELLED, NULL);
        tl_jobs_waiting_free(w);
    } else if (here) {
        tl_job_run_cancel(jobs);
    }
    /* Redis is told of one that runs here, too: who takes it over is to know. */
    jobs_ask_cb *cb = here ? NULL : on_cancelled;
    enum tl_status st = TL_IO;
    if (!w)
        st = tl_jobs_ask(jobs, JOBS_CANCEL, c->id, NULL, NULL, JOBS_REDIS_MS, cb, here ? NULL : c);
    else if (tl_jobs_redis_up(jobs)) /* which may have it, too */
        (void)!tl_jobs_ask(jobs, JOBS_OVER, c->id, NULL, "", JOBS_REDIS_MS, NULL, NULL);
    if (here)
        call_over(c, TL_OK);
    else if (st != TL_OK)
        cancel_by_record(c);
}

enum tl_status tl_jobs_cancel(struct tl_jobs *jobs, struct tl_job_op *op, const char *id, struct tl_err *err)
{
    struct tl_err why = {.status = TL_OK};
    struct calling *c = call_new(jobs, op, id, &why);
    if (!c) {
        if (err) *err = why;
        return why.status;
    }
    c->soon.call = on_cancel_soon;
    tl_soon_call(jobs->alarms, &c->soon);
    return TL_OK;
}

/* ---- retry ---- */

static void on_retry_posted(void *user, enum tl_status status, const char *id, const struct tl_err *err)
{
    struct calling *c = user;
    if (status == TL_OK)
        snprintf(c->op->id, sizeof c->op->id, "%s", id);
    else
        c->op->err = *err;
    call_over(c, status);
}

static void on_retry_record(void *user, enum tl_status status, struct tl_str value)
{
    struct calling *c = user;
    struct tl_err *err = &c->op->err;
    struct tl_job_record rec;
    if (status == TL_OK) status = tl_job_record_parse(value, &rec, err);
    if (status != TL_OK) {
        if (status == TL_NOT_FOUND) (void)tl_fail(err, TL_NOT_FOUND, "no job %s is known", c->id);
        call_over(c, status);
        return;
    }
    if (!tl_task_state_over(rec.progress.state))
        status = tl_fail(err, TL_CONFLICT, "job %s is not over: %s", c->id, tl_task_state_name(rec.progress.state));
    else if (rec.errors == 0)
        status = tl_fail(err, TL_CONFLICT, "nothing failed in job %s", c->id);
    if (status != TL_OK) {
        tl_job_record_release(&rec);
        call_over(c, status);
        return;
    }
    memcpy(rec.retry_of, rec.id, sizeof rec.retry_of);
    rec.errors = 0;
    rec.started_ms = rec.ended_ms = 0;
    status = tl_jobs_hand_in(c->jobs, &rec, NULL, on_retry_posted, c, err);
    if (status != TL_OK) call_over(c, status);
}

enum tl_status tl_jobs_retry(struct tl_jobs *jobs, struct tl_job_op *op, const char *id, struct tl_err *err)
{
    struct tl_err why = {.status = TL_OK};
    struct calling *c = call_new(jobs, op, id, &why);
    enum tl_status st = why.status;
    if (c && (st = tl_jobs_fetch(jobs, "tierline.job", c->id, NULL, on_retry_record, c)) != TL_OK) {
        st = tl_fail(&why, st, "the record of %s cannot be read", id);
        op->state = NULL;
        free(c);
        tl_jobs_part(jobs);
    }
    if (st != TL_OK && err) *err = why;
    return st;
}

/* ---- show ---- */

/* Of those that are here; NULL: it is not. */
static const struct tl_job_record *record_here(const struct tl_jobs *jobs, const char *id)
{
    if (tl_job_run_is(jobs, id)) return tl_job_run_record(jobs);
    for (const struct job_waiting *w = jobs->first; w; w = w->next)
        if (strcmp(w->rec.id, id) == 0) return &w->rec;
    return NULL;
}

enum tl_status tl_jobs_describe(struct tl_jobs *jobs, const char *id, struct tl_buf *out)
{
    const struct tl_job_record *rec = record_here(jobs, id);
    if (rec) {
        tl_job_record_json(out, rec);
        return tl_buf_status(out, NULL);
    }
    const struct tl_key key = {.data_type = "tierline.job", .symbol = id};
    struct tl_value *value = strlen(id) <= TL_JOB_ID_MAX ? tl_cache_peek(jobs->cache, &key) : NULL;
    if (!value) return TL_NOT_FOUND;
    size_t n;
    const void *p = tl_value_bytes(value, &n);
    tl_buf_put(out, p, n);
    tl_value_unref(value);
    return tl_buf_status(out, NULL);
}

struct showing {
    struct tl_jobs *jobs;
    struct tl_job_show *op;
    char id[TL_JOB_ID_MAX + 1];
};

static void on_shown(void *user, enum tl_status status, struct tl_str value)
{
    struct showing *s = user;
    struct tl_jobs *jobs = s->jobs;
    struct tl_job_show *op = s->op;
    const struct tl_job_record *rec = record_here(jobs, s->id);
    if (rec) {
        tl_job_record_json(&op->record, rec);
        status = tl_buf_status(&op->record, &op->err);
    } else if (status == TL_OK) {
        tl_buf_put(&op->record, value.p, value.n);
        status = tl_buf_status(&op->record, &op->err);
    } else if (status == TL_NOT_FOUND) {
        (void)tl_fail(&op->err, status, "no job %s is known", s->id);
    } else {
        (void)tl_fail(&op->err, status, "the record of job %s cannot be read: %s", s->id, tl_status_text(status));
    }
    if (status != TL_OK) tl_buf_release(&op->record);
    op->state = NULL;
    free(s);
    op->cb(op, status);
    tl_jobs_part(jobs);
}

enum tl_status tl_jobs_show(struct tl_jobs *jobs, struct tl_job_show *op, const char *id, struct tl_err *err)
{
    tl_buf_init(&op->record, 0);
    op->err = (struct tl_err){.status = TL_OK};
    if (jobs->closing) return tl_fail(err, TL_CANCELLED, "the jobs are being closed");
    if (!id[0] || strlen(id) > TL_JOB_ID_MAX)
        return tl_fail(err, TL_NOT_FOUND, "no job has an id of %zu bytes", strlen(id));
    struct showing *s = tl_calloc(1, sizeof *s);
    if (!s) return tl_fail(err, TL_NOMEM, "no memory for job %s", id);
    *s = (struct showing){.jobs = jobs, .op = op};
    snprintf(s->id, sizeof s->id, "%s", id);
    enum tl_status st = tl_jobs_fetch(jobs, "tierline.job", s->id, NULL, on_shown, s);
    if (st != TL_OK) {
        free(s);
        return tl_fail(err, st, "the record of job %s cannot be read", id);
    }
    op->state = s;
    jobs->open++;
    return TL_OK;
}
