/* SPDX-License-Identifier: Apache-2.0 */
/* Handing a job in: what a request names is checked and written out in full, the task gets the term under which it is
 * shown as queued, the record is kept, and then, and not before, the job goes into the queue: whoever takes it at once
 * begins a later term and writes a later record. Where Redis is away the job waits in this process. */
#include "job/jobs_i.h"

#include "base/err.h"
#include "base/util.h"
#include "job/wanted.h"

#include <stdio.h>

enum { TERM_MS = 1000, TERM_LOOK_MS = 2, TRIES = 3 };

struct posting {
    struct tl_jobs *jobs;
    struct tl_job_record rec;
    char occurrence[64]; /* "": of no schedule */
    jobs_posted_cb *cb;
    void *user;
    struct tl_publisher pub;
    struct tl_soon soon;
    struct tl_alarm alarm;
    uint64_t until_ns;
    unsigned tries;
};

static void post_over(struct posting *p, enum tl_status status, const struct tl_err *err)
{
    struct tl_jobs *jobs = p->jobs;
    if (status == TL_OK) {
        tl_publisher_state(&p->pub, TL_TASK_QUEUED);
        tl_jobs_look(jobs);
    } else if (p->tries == 0 || status == TL_FULL || status == TL_CONFLICT) { /* nobody will take it; else Redis may */
        p->rec.progress.state = TL_TASK_FAILED;
        snprintf(p->rec.progress.error, sizeof p->rec.progress.error, "%.199s", err->text);
        tl_jobs_keep_record(jobs, &p->rec);
    }
    tl_publisher_abandon(&p->pub);
    p->cb(p->user, status, p->rec.id, err);
    tl_job_record_release(&p->rec);
    free(p);
    tl_jobs_part(jobs);
}

static void post_here(struct posting *p)
{
    struct tl_jobs *jobs = p->jobs;
    struct tl_err err = {.status = TL_OK};
    enum tl_status st = TL_OK;
    if (!jobs->take)
        st = tl_fail(&err, TL_IO, "Redis cannot be reached, and this process runs no jobs itself");
    else if (jobs->draining)
        st = tl_fail(&err, TL_CANCELLED, "this process is about to end");
    else if ((st = tl_jobs_push(jobs, &p->rec, false)) != TL_OK)
        st = tl_fail(&err, st, st == TL_FULL ? "%zu jobs wait already" : "no memory behind %zu jobs", jobs->n_waiting);
    if (st == TL_OK) tl_jobs_keep_list(jobs);
    post_over(p, st, &err);
}

static void post(struct posting *p);

static void on_posted(void *user, enum tl_status status, const struct tl_reply *reply, const struct tl_err *why)
{
    struct posting *p = user;
    struct tl_jobs *jobs = p->jobs;
    struct tl_err err = {.status = TL_OK};
    if (status == TL_OK && reply->integer == 1) {
        post_over(p, TL_OK, &err);
    } else if (status == TL_OK && reply->integer == 2) {
        (void)tl_fail(&err, TL_CONFLICT, "another process has made a job of this occurrence");
        post_over(p, TL_CONFLICT, &err);
    } else if (status == TL_OK) {
        (void)tl_fail(&err, TL_FULL, "%zu jobs wait already", jobs->queue_max);
        post_over(p, TL_FULL, &err);
    } else if ((status == TL_IO || status == TL_TIMEOUT) && ++p->tries < TRIES) {
        post(p); /* it may be there already, which does no harm */
    } else if ((status == TL_IO || status == TL_TIMEOUT) && !jobs->closing) {
        post_here(p);
    } else {
        (void)tl_fail(&err, status, "the job was not queued: %s", why ? why->text : tl_status_text(status));
        post_over(p, status, &err);
    }
}

static void post(struct posting *p)
{
    struct tl_jobs *jobs = p->jobs;
    /* It is queued while the connection is being made, too. */
    const char *key = p->occurrence[0] ? p->occurrence : NULL;
    if (tl_jobs_ask(jobs, JOBS_POST, p->rec.id, &p->rec, key, JOBS_REDIS_MS, on_posted, p) != TL_OK) post_here(p);
}

/* The term is known, or will not be. */
static void on_alarm(struct tl_alarm *alarm)
{
    struct posting *p = (struct posting *)(void *)((char *)alarm - offsetof(struct posting, alarm));
    struct tl_jobs *jobs = p->jobs;
    uint64_t now = tl_jobs_now_ns(jobs);
    bool known = !p->pub.task || tl_task_position(p->pub.task).epoch_ms != 0;
    if (!known && now < p->until_ns && !jobs->closing &&
        tl_alarm_set(jobs->alarms, &p->alarm, now + TERM_LOOK_MS * 1000000) == TL_OK)
        return;
    if (!known) tl_publisher_abandon(&p->pub); /* what would be published later could stand over the taker's */
    tl_jobs_keep_record(jobs, &p->rec);
    post(p);
}

static void on_soon(struct tl_soon *soon)
{
    struct posting *p = (struct posting *)(void *)((char *)soon - offsetof(struct posting, soon));
    struct tl_jobs *jobs = p->jobs;
    const struct tl_publisher_options o = {
        .bus = jobs->bus, .id = p->rec.id, .name = p->rec.name, .clock = jobs->clock};
    tl_publisher_open(&p->pub, &o, NULL);
    p->until_ns = tl_jobs_now_ns(jobs) + TERM_MS * UINT64_C(1000000);
    on_alarm(&p->alarm);
}

enum tl_status tl_jobs_hand_in(struct tl_jobs *jobs, struct tl_job_record *rec, const char *occurrence,
                               jobs_posted_cb *cb, void *user, struct tl_err *err)
{
    struct posting *p = jobs->closing ? NULL : tl_calloc(1, sizeof *p);
    if (!p) {
        tl_job_record_release(rec);
        if (jobs->closing) return tl_fail(err, TL_CANCELLED, "the jobs are being closed");
        return tl_fail(err, TL_NOMEM, "no memory for the job");
    }
    *p = (struct posting){
        .jobs = jobs, .rec = *rec, .cb = cb, .user = user, .soon = {.call = on_soon}, .alarm = {.ring = on_alarm}};
    snprintf(p->occurrence, sizeof p->occurrence, "%s", occurrence ? occurrence : "");
    p->rec.posted_ms = tl_clock_wall_ms(jobs->clock);
    p->rec.progress = (struct tl_task_progress){.state = TL_TASK_QUEUED, .eta_ms = -1};
    tl_job_id_make(p->rec.name, p->rec.posted_ms, &jobs->rng, p->rec.id);
    rec->symbols = rec->specs = NULL;
    jobs->open++;
    tl_soon_call(jobs->alarms, &p->soon);
    return TL_OK;
}

void tl_jobs_end_waiting(struct tl_jobs *jobs, struct tl_job_record *rec, enum tl_task_state state, const char *error)
{
    struct tl_publisher pub;
    const struct tl_publisher_options o = {.bus = jobs->bus, .id = rec->id, .name = rec->name, .clock = jobs->clock};
    tl_publisher_open(&pub, &o, NULL);
    tl_publisher_end(&pub, state, error);
    rec->progress.state = state;
    rec->ended_ms = tl_clock_wall_ms(jobs->clock);
    snprintf(rec->progress.error, sizeof rec->progress.error, "%s", error ? error : "");
    tl_jobs_keep_record(jobs, rec);
}

/* ---- requests ---- */

static enum tl_status write_specs(const struct tl_jobs *jobs, const struct tl_job_request *r, struct tl_job_record *rec,
                                  struct tl_err *err)
{
    const char *text = r->specs;
    char what[64] = "specs";
    struct tl_spec *specs = NULL;
    size_t n = 0;
    if (text && r->set) return tl_fail(err, TL_INVALID, "specs and set exclude each other");
    if (!text) {
        const char *name = r->set ? r->set : tl_config_str(jobs->config, "calc.set");
        enum tl_status st = tl_config_set(jobs->config, name, &text, err);
        if (st != TL_OK) return st;
        snprintf(rec->set, sizeof rec->set, "%s", name);
        snprintf(what, sizeof what, "set %.32s", name);
    }
    enum tl_status st = tl_wanted_specs(text, what, &specs, &n, err);
    if (st != TL_OK) return st;
    struct tl_buf out;
    tl_buf_init(&out, TL_JOB_SPECS_MAX);
    for (size_t i = 0; i < n; i++) {
        char canonical[TL_SPEC_MAX];
        tl_spec_format(&specs[i], canonical, sizeof canonical);
        if (i) tl_buf_putc(&out, ';');
        tl_buf_puts(&out, canonical);
    }
    free(specs);
    st = tl_buf_status(&out, err);
    rec->specs = st == TL_OK ? tl_buf_take(&out, NULL) : NULL;
    tl_buf_release(&out);
    return st;
}

static enum tl_status write_symbols(const struct tl_job_request *r, struct tl_job_record *rec, struct tl_err *err)
{
    const char *text = r->symbols ? r->symbols : "all";
    struct tl_symbol_list list;
    struct tl_buf out;
    if (strcmp(text, "all") == 0) {
        rec->symbols = strdup(text);
        return rec->symbols ? TL_OK : tl_fail(err, TL_NOMEM, "no memory for the symbols");
    }
    enum tl_status st = tl_symbol_list_init(&list, err);
    tl_buf_init(&out, TL_JOB_SYMBOLS_MAX);
    if (st == TL_OK) st = tl_symbol_list_add_many(&list, tl_str(text), err);
    if (st == TL_OK && list.n == 0) st = tl_fail(err, TL_INVALID, "symbols: '%.64s' names none", text);
    for (size_t i = 0; st == TL_OK && i < list.n; i++) {
        if (i) tl_buf_putc(&out, ',');
        tl_buf_puts(&out, list.v[i].text);
    }
    if (st == TL_OK) st = tl_buf_status(&out, err);
    rec->symbols = st == TL_OK ? tl_buf_take(&out, NULL) : NULL;
    tl_buf_release(&out);
    tl_symbol_list_release(&list);
    return st;
}

enum tl_status tl_job_record_of(const struct tl_jobs *jobs, const struct tl_job_request *r, struct tl_job_record *rec,
                                struct tl_err *err)
{
    const char *name = r->name ? r->name : "daily";
    *rec = (struct tl_job_record){.freq = r->freq,
                                  .adjust = r->adjust,
                                  .drop_suspended = r->drop_suspended,
                                  .recompute = r->recompute,
                                  .day_ms = r->day_ms};
    if (!tl_job_name_ok(name))
        return tl_fail(err, TL_INVALID, "name: '%.40s' is none for a job (1 to %d letters, digits, - or _)", name,
                       TL_JOB_NAME_MAX);
    if ((unsigned)r->freq >= TL_FREQ_COUNT || (unsigned)r->adjust >= TL_ADJUST_COUNT)
        return tl_fail(err, TL_INVALID, "freq or adjust is none");
    if (r->day_ms != INT64_MIN && r->day_ms % TL_DAY_MS != 0)
        return tl_fail(err, TL_INVALID, "date: not the beginning of a day");
    snprintf(rec->name, sizeof rec->name, "%s", name);
    enum tl_status st = write_symbols(r, rec, err);
    if (st == TL_OK) st = write_specs(jobs, r, rec, err);
    if (st != TL_OK) tl_job_record_release(rec);
    return st;
}

static void on_op_posted(void *user, enum tl_status status, const char *id, const struct tl_err *err)
{
    struct tl_job_op *op = user;
    if (status == TL_OK)
        snprintf(op->id, sizeof op->id, "%s", id);
    else
        op->err = *err;
    op->state = NULL;
    op->cb(op, status);
}

enum tl_status tl_jobs_post(struct tl_jobs *jobs, struct tl_job_op *op, const struct tl_job_request *request,
                            struct tl_err *err)
{
    struct tl_job_record rec;
    op->id[0] = '\0';
    op->err = (struct tl_err){.status = TL_OK};
    enum tl_status st = tl_job_record_of(jobs, request, &rec, err);
    return st == TL_OK ? tl_jobs_hand_in(jobs, &rec, NULL, on_op_posted, op, err) : st;
}
