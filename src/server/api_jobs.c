/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs: asked for, shown, cancelled, retried; schedules; and tasks of other programs, which publish through the same
 * positions, fencing and history as our own. */
#include "base/err.h"
#include "base/util.h"
#include "job/jobs_record.h"
#include "server/api.h"
#include "server/foreign.h"

enum { TASKS_SHOWN = 100, HISTORY_MS = 5000 };

static bool needs_jobs(struct api_call *c)
{
    if (c->api->jobs) return true;
    api_problem(c, 501, "UNSUPPORTED", NULL, "this server runs no jobs: it has no store");
    return false;
}

/* ---- lists ---- */

struct listing {
    struct tl_json json;
    size_t left;
    const char *state, *id;
    bool found;
};

static void put_task(struct tl_json *j, const struct tl_task_info *t)
{
    char position[TL_POSITION_MAX];
    tl_position_format(t->position, position);
    tl_json_object(j);
    tl_json_key(j, "id");
    tl_json_cstr(j, t->id);
    tl_json_key(j, "position");
    tl_json_cstr(j, position);
    tl_json_key(j, "started_ms");
    tl_json_i64(j, t->started_ms);
    tl_json_key(j, "updated_ms");
    tl_json_i64(j, t->updated_ms);
    tl_json_key(j, "progress");
    tl_json_null(j);
    j->out->n -= 4; /* "null" */
    tl_task_progress_json(j->out, t->id, t->name, &t->progress);
}

static bool on_task(void *ctx, const struct tl_task_info *t)
{
    struct listing *l = ctx;
    if (l->state && strcmp(l->state, tl_task_state_name(t->progress.state)) != 0) return true;
    if (l->left-- == 0) return false;
    put_task(&l->json, t);
    tl_json_object_end(&l->json);
    return true;
}

void api_get_jobs(struct api_call *c)
{
    struct listing l = {.left = (size_t)api_number(c, "limit", TASKS_SHOWN), .state = api_text(c, "state")};
    tl_json_init(&l.json, &c->out);
    tl_json_object(&l.json);
    tl_json_key(&l.json, "jobs");
    tl_json_array(&l.json);
    tl_bus_tasks(c->api->bus, on_task, &l);
    tl_json_array_end(&l.json);
    tl_json_object_end(&l.json);
    api_reply_json(c);
}

static bool find_task(void *ctx, const struct tl_task_info *t)
{
    struct listing *l = ctx;
    if (strcmp(t->id, l->id) != 0) return true;
    put_task(&l->json, t);
    l->found = true;
    return false;
}

struct showing {
    struct tl_job_show op;
    struct listing listing;
};

static void release_showing(void *state)
{
    struct showing *s = state;
    tl_buf_release(&s->op.record);
    free(s);
}

/* What the bus knows of the task, and what was asked for, where it is a job. */
static void on_shown(struct tl_job_show *op, enum tl_status status)
{
    struct api_call *c = op->user;
    struct showing *s = c->state;
    struct listing *l = &s->listing;
    if (!l->found && status != TL_OK) {
        api_fail(c, status, "id", &op->err);
        return;
    }
    if (!l->found) {
        tl_json_object(&l->json);
        tl_json_key(&l->json, "id");
        tl_json_cstr(&l->json, l->id);
    }
    if (status == TL_OK) {
        tl_json_key(&l->json, "request");
        tl_json_null(&l->json);
        c->out.n -= 4; /* "null" */
        tl_buf_put(&c->out, op->record.p, op->record.n);
    }
    tl_json_object_end(&l->json);
    api_reply_json(c);
}

void api_get_job(struct api_call *c)
{
    struct showing *s = c->state = tl_calloc(1, sizeof *s);
    if (!s) {
        api_fail(c, TL_NOMEM, NULL, NULL);
        return;
    }
    c->release = release_showing;
    s->listing.id = api_path(c, 0);
    s->op.cb = on_shown;
    s->op.user = c;
    tl_json_init(&s->listing.json, &c->out);
    tl_bus_tasks(c->api->bus, find_task, &s->listing);
    enum tl_status st = TL_NOT_FOUND;
    if (c->api->jobs) st = tl_jobs_show(c->api->jobs, &s->op, api_path(c, 0), NULL);
    if (st != TL_OK) on_shown(&s->op, st);
}

/* ---- asking for one ---- */

static void on_job(struct tl_job_op *op, enum tl_status status)
{
    struct api_call *c = op->user;
    struct tl_json j;
    if (status != TL_OK) {
        api_fail(c, status, c->route->path ? "id" : NULL, &op->err);
        return;
    }
    if (op->id[0]) {
        tl_json_init(&j, &c->out);
        tl_json_object(&j);
        tl_json_key(&j, "id");
        tl_json_cstr(&j, op->id);
        tl_json_key(&j, "topic");
        char topic[TL_TOPIC_MAX + 1];
        snprintf(topic, sizeof topic, "task/%s", op->id);
        tl_json_cstr(&j, topic);
        tl_json_object_end(&j);
    }
    if (c->out.n)
        api_reply_json(c);
    else
        api_reply_empty(c, 204);
}

struct posting {
    struct tl_job_op op;
    char *storage; /* [own] */
};

static void release_posting(void *state)
{
    struct posting *p = state;
    free(p->storage);
    free(p);
}

void api_post_job(struct api_call *c)
{
    struct tl_str body = tl_http_body(c->http);
    struct tl_job_request request = {.symbols = "all",
                                     .freq = c->freq,
                                     .adjust = c->adjust,
                                     .drop_suspended =
                                         strcmp(tl_config_str(c->api->config, "calc.suspended"), "drop") == 0,
                                     .day_ms = INT64_MIN};
    if (!needs_jobs(c)) return;
    struct posting *p = c->state = tl_calloc(1, sizeof *p);
    if (!p) {
        api_fail(c, TL_NOMEM, NULL, NULL);
        return;
    }
    c->release = release_posting;
    p->op = (struct tl_job_op){.cb = on_job, .user = c};
    enum tl_status st = tl_job_request_parse(body.n ? body : TL_STR("{}"), &request, &p->storage, &c->err);
    if (st == TL_OK) st = tl_jobs_post(c->api->jobs, &p->op, &request, &c->err);
    if (st != TL_OK) api_fail(c, st, "body", &c->err);
}

static struct tl_job_op *op_new(struct api_call *c)
{
    struct tl_job_op *op = needs_jobs(c) ? tl_calloc(1, sizeof *op) : NULL;
    if (!op) {
        if (c->api->jobs) api_fail(c, TL_NOMEM, NULL, NULL);
        return NULL;
    }
    *op = (struct tl_job_op){.cb = on_job, .user = c};
    c->state = op;
    return op;
}

void api_cancel_job(struct api_call *c)
{
    struct tl_job_op *op = op_new(c);
    enum tl_status st = op ? tl_jobs_cancel(c->api->jobs, op, api_path(c, 0), &c->err) : TL_OK;
    if (st != TL_OK) api_fail(c, st, "id", &c->err);
}

void api_retry_job(struct api_call *c)
{
    struct tl_job_op *op = op_new(c);
    enum tl_status st = op ? tl_jobs_retry(c->api->jobs, op, api_path(c, 0), &c->err) : TL_OK;
    if (st != TL_OK) api_fail(c, st, "id", &c->err);
}

/* ---- errors ---- */

static void release_errors(void *state)
{
    struct tl_job_errors *e = state;
    free(e->items);
    free(e);
}

static void on_errors(struct tl_job_errors *op, enum tl_status status)
{
    struct api_call *c = op->user;
    struct tl_json j;
    if (status != TL_OK) {
        api_fail(c, status, "id", &op->err);
        return;
    }
    tl_json_init(&j, &c->out);
    tl_json_object(&j);
    tl_json_key(&j, "total");
    tl_json_u64(&j, op->total);
    tl_json_key(&j, "from");
    tl_json_u64(&j, op->from);
    tl_json_key(&j, "errors");
    tl_json_array(&j);
    for (size_t i = 0; i < op->n; i++) {
        const struct tl_job_error *e = &op->items[i];
        tl_json_object(&j);
        tl_json_key(&j, "symbol");
        tl_json_cstr(&j, e->symbol);
        tl_json_key(&j, "spec");
        tl_json_cstr(&j, e->spec[0] ? e->spec : NULL);
        tl_json_key(&j, "status");
        tl_json_cstr(&j, tl_status_name(e->status));
        tl_json_key(&j, "error");
        tl_json_cstr(&j, e->text);
        tl_json_object_end(&j);
    }
    tl_json_array_end(&j);
    tl_json_object_end(&j);
    api_reply_json(c);
}

void api_get_job_errors(struct api_call *c)
{
    if (!needs_jobs(c)) return;
    struct tl_job_errors *op = c->state = tl_calloc(1, sizeof *op);
    if (op) {
        c->release = release_errors;
        op->cb = on_errors;
        op->user = c;
        op->from = (size_t)api_number(c, "from", 0);
        op->max = (size_t)api_number(c, "limit", 100);
    }
    enum tl_status st = op ? tl_jobs_errors(c->api->jobs, op, api_path(c, 0), &c->err) : TL_NOMEM;
    if (st != TL_OK) api_fail(c, st, "id", op ? &c->err : NULL);
}

/* ---- schedules ---- */

static void put_ms(struct tl_json *j, const char *key, int64_t ms)
{
    tl_json_key(j, key);
    if (ms == INT64_MAX || ms <= 0)
        tl_json_null(j);
    else
        tl_json_i64(j, ms);
}

void api_get_schedules(struct api_call *c)
{
    struct tl_json j;
    struct tl_schedule_info s;
    tl_json_init(&j, &c->out);
    tl_json_object(&j);
    tl_json_key(&j, "schedules");
    tl_json_array(&j);
    for (size_t i = 0; c->api->jobs && tl_jobs_schedule(c->api->jobs, i, &s); i++) {
        tl_json_object(&j);
        tl_json_key(&j, "name");
        tl_json_cstr(&j, s.name);
        tl_json_key(&j, "schedule");
        tl_json_cstr(&j, s.text);
        put_ms(&j, "next_ms", s.next_ms);
        put_ms(&j, "last_ms", s.last_ms);
        tl_json_key(&j, "last_job");
        tl_json_cstr(&j, s.last_job[0] ? s.last_job : NULL);
        tl_json_object_end(&j);
    }
    tl_json_array_end(&j);
    tl_json_object_end(&j);
    api_reply_json(c);
}

/* ---- tasks of other programs ---- */

/* {"type":"task.started.v1","data":{...}}, one or an array. The term is the publisher's that began it: ?term=, given
 * out with the first. */
void api_post_task_events(struct api_call *c)
{
    foreign_task_events(c);
}

struct history {
    struct tl_history op;
};

static void release_history(void *state)
{
    struct history *h = state;
    for (size_t i = 0; i < h->op.n; i++) tl_event_unref(h->op.events[i]);
    free(h->op.events);
    free(h);
}

static void on_history(struct tl_history *op, enum tl_status status)
{
    struct api_call *c = op->user;
    if (status != TL_OK) {
        api_fail(c, status, "id", NULL);
        return;
    }
    tl_buf_printf(&c->out, "{\"complete\":%s,\"events\":[", op->complete ? "true" : "false");
    for (size_t i = 0; i < op->n; i++) {
        if (i) tl_buf_putc(&c->out, ',');
        tl_buf_put(&c->out, op->events[i]->json, op->events[i]->n);
    }
    tl_buf_puts(&c->out, "]}");
    api_reply_json(c);
}

void api_get_task_events(struct api_call *c)
{
    const char *since = api_text(c, "since");
    struct tl_position at = {.epoch_ms = 0};
    char topic[TL_TOPIC_MAX + 1];
    if (since && !tl_position_parse(tl_str(since), &at)) {
        api_problem(c, 400, "INVALID", "since", "a position like 1700000000000-12 is needed");
        return;
    }
    if ((size_t)snprintf(topic, sizeof topic, "task/%s", api_path(c, 0)) >= sizeof topic) {
        api_problem(c, 400, "INVALID", "id", "too long");
        return;
    }
    struct history *h = c->state = tl_calloc(1, sizeof *h);
    if (h) {
        c->release = release_history;
        h->op.cb = on_history;
        h->op.user = c;
    }
    enum tl_status st =
        h ? tl_bus_history(c->api->bus, &h->op, topic, at, (size_t)api_number(c, "limit", 1000), HISTORY_MS, &c->err)
          : TL_NOMEM;
    if (st != TL_OK) api_fail(c, st, "id", h ? &c->err : NULL);
}
