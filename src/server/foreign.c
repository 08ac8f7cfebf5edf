/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks that other programs publish: POST /tasks/{id}/events. Each is a term of the bus in this process, begun by the
 * first request without a term, and named by what that answers; a later request without one begins a new term, and the
 * one before it is fenced. A task that nobody has said anything of for ten minutes is given up: it shows as stalled. */
#include "server/foreign.h"

#include "base/err.h"
#include "base/util.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

enum { TASKS_MAX = 1000, IDLE_MS = 600000, IDLE_LOOK_MS = 30000, EVENTS_MAX = 1000, ID_MAX = 100 };

struct task {
    struct api_foreign *all;
    struct tl_task *term; /* NULL: fenced */
    uint64_t number;      /* of the term, in this process */
    uint64_t said_ns;
    struct tl_task_progress progress;
    bool over, cancel; /* cancel: somebody has asked for it */
    char id[ID_MAX + 1], name[72];
};

struct api_foreign {
    struct api *api;
    struct tl_map *tasks; /* id -> struct task */
    struct tl_alarm idle; /* set while there are tasks */
    uint64_t numbers;
};

static void on_idle(struct tl_alarm *);

struct api_foreign *foreign_new(struct api *api)
{
    struct api_foreign *f = tl_calloc(1, sizeof *f);
    if (!f) return NULL;
    f->api = api;
    f->idle.ring = on_idle;
    f->tasks = tl_map_new();
    if (f->tasks) return f;
    free(f);
    return NULL;
}

static void drop(struct task *t)
{
    if (t->term) tl_task_abandon(t->term);
    tl_map_remove(t->all->tasks, tl_str(t->id));
    free(t);
}

void foreign_free(struct api_foreign *f)
{
    struct tl_str key;
    void *value;
    if (!f) return;
    for (size_t i = 0; tl_map_next(f->tasks, &i, &key, &value);) {
        struct task *t = value;
        if (t->term) tl_task_abandon(t->term);
        free(t);
    }
    if (f->api->cache) tl_alarm_clear(f->api->cache->alarms, &f->idle);
    tl_map_free(f->tasks);
    free(f);
}

static void on_fenced(void *ctx)
{
    struct task *t = ctx;
    tl_task_abandon(t->term);
    t->term = NULL;
}

static void on_control(void *ctx, const char *op)
{
    struct task *t = ctx;
    if (strcmp(op, "cancel") == 0) t->cancel = true;
}

static struct task *find(struct api_foreign *f, const char *id)
{
    void **slot = tl_map_get(f->tasks, tl_str(id));
    return slot ? *slot : NULL;
}

/* Those that nobody has said anything of for long. Until then the bus says for their programs that they live. */
static void forget_idle(struct api_foreign *f)
{
    uint64_t now = tl_clock_mono_ns(f->api->clock);
    struct tl_str key;
    void *value;
    for (size_t i = 0; tl_map_next(f->tasks, &i, &key, &value);) {
        struct task *t = value;
        if (now - t->said_ns < IDLE_MS * UINT64_C(1000000)) continue;
        drop(t);
        i = 0; /* the order is another now */
    }
}

static enum tl_status look_later(struct api_foreign *f)
{
    return tl_alarm_set(f->api->cache->alarms, &f->idle,
                        tl_clock_mono_ns(f->api->clock) + IDLE_LOOK_MS * UINT64_C(1000000));
}

static void on_idle(struct tl_alarm *a)
{
    struct api_foreign *f = (struct api_foreign *)(void *)((char *)a - offsetof(struct api_foreign, idle));
    forget_idle(f);
    if (tl_map_count(f->tasks) > 0) (void)!look_later(f); /* there is a next time: a task more asks for it, too */
}

static enum tl_status begin(struct api_foreign *f, const char *id, const char *name, struct task **out,
                            struct tl_err *err)
{
    if (strlen(id) > ID_MAX) return tl_fail(err, TL_INVALID, "a task's id has at most %d bytes", ID_MAX);
    struct task *old = find(f, id);
    if (old) drop(old);
    if (tl_map_count(f->tasks) >= TASKS_MAX) forget_idle(f);
    if (tl_map_count(f->tasks) >= TASKS_MAX)
        return tl_fail(err, TL_FULL, "%d tasks are published here already", TASKS_MAX);
    struct task *t = tl_calloc(1, sizeof *t);
    if (!t) return tl_fail(err, TL_NOMEM, "no memory for the task");
    t->all = f;
    t->said_ns = tl_clock_mono_ns(f->api->clock);
    t->number = ++f->numbers;
    snprintf(t->id, sizeof t->id, "%s", id);
    snprintf(t->name, sizeof t->name, "%.70s", name ? name : "task");
    struct tl_task_options o = {
        .id = t->id, .name = t->name, .on_fenced = on_fenced, .on_control = on_control, .ctx = t};
    enum tl_status st = tl_task_open(f->api->bus, &o, &t->term, err);
    void **slot = st == TL_OK ? tl_map_put(f->tasks, tl_str(t->id), NULL) : NULL;
    if (!slot) {
        if (t->term) tl_task_abandon(t->term);
        free(t);
        return st == TL_OK ? tl_fail(err, TL_NOMEM, "no memory for the task") : st;
    }
    *slot = t;
    *out = t;
    if (!f->idle.at) (void)!look_later(f);
    return TL_OK;
}

/* "<instance>-<number>": terms of other servers are none of ours. */
static void term_text(const struct task *t, char out[40])
{
    snprintf(out, 40, "%016" PRIx64 "-%" PRIu64, t->all->api->cache->instance, t->number);
}

static enum tl_status find_term(struct api_foreign *f, const char *id, const char *term, struct task **out,
                                struct tl_err *err)
{
    struct task *t = find(f, id);
    char have[40] = "";
    if (t) term_text(t, have);
    if (!t || strcmp(have, term) != 0 || !t->term)
        return tl_fail(err, TL_LOCK_LOST,
                       "the term is over: another has taken the task up, or it was begun through another "
                       "server");
    *out = t;
    return TL_OK;
}

/* ---- events ---- */

static uint64_t count_of(const json_t *data, const char *key, uint64_t have)
{
    const json_t *v = json_object_get(data, key);
    return json_is_integer(v) && json_integer_value(v) >= 0 ? (uint64_t)json_integer_value(v) : have;
}

/* What the data says; what it does not say stays. */
static void note_progress(struct task *t, const json_t *data)
{
    struct tl_task_progress *p = &t->progress;
    const char *item = json_string_value(json_object_get(data, "item")),
               *error = json_string_value(json_object_get(data, "error"));
    const json_t *rate = json_object_get(data, "rate"), *eta = json_object_get(data, "eta_ms"),
                 *elapsed = json_object_get(data, "elapsed_ms");
    p->done = count_of(data, "done", p->done);
    p->total = count_of(data, "total", p->total);
    p->failed = count_of(data, "failed", p->failed);
    p->skipped = count_of(data, "skipped", p->skipped);
    p->from_cache = count_of(data, "from_cache", p->from_cache);
    p->computed = count_of(data, "computed", p->computed);
    p->waited = count_of(data, "waited", p->waited);
    if (json_is_number(rate)) p->rate = json_number_value(rate);
    p->eta_ms = json_is_integer(eta) ? json_integer_value(eta) : -1;
    if (json_is_integer(elapsed)) p->elapsed_ms = json_integer_value(elapsed);
    if (item) snprintf(p->item, sizeof p->item, "%.71s", item);
    if (error) snprintf(p->error, sizeof p->error, "%.199s", error);
}

static enum tl_status publish(struct task *t, const json_t *event, size_t i, struct tl_err *err)
{
    static const struct {
        const char *type;
        enum tl_task_state state;
    } ends[] = {{"task.completed.v1", TL_TASK_COMPLETED},
                {"task.failed.v1", TL_TASK_FAILED},
                {"task.cancelled.v1", TL_TASK_CANCELLED}};
    const char *type = json_string_value(json_object_get(event, "type"));
    const json_t *data = json_object_get(event, "data");
    if (!type || (data && !json_is_object(data)))
        return tl_fail(err, TL_INVALID, "events[%zu]: an object with \"type\" and \"data\" (an object) is needed", i);
    if (t->over) return tl_fail(err, TL_CONFLICT, "events[%zu]: the task has ended already", i);
    note_progress(t, data);
    t->progress.state = t->cancel ? TL_TASK_CANCELLING : TL_TASK_RUNNING;
    for (size_t k = 0; k < TL_COUNT(ends); k++) {
        if (strcmp(type, ends[k].type) != 0) continue;
        t->progress.state = ends[k].state;
        tl_task_end(t->term, &t->progress);
        t->term = NULL;
        t->over = true;
        return TL_OK;
    }
    if (strcmp(type, "task.progress.v1") == 0) {
        tl_task_progress(t->term, &t->progress);
        return TL_OK;
    }
    char *text = json_dumps(data, JSON_COMPACT);
    struct tl_buf own;
    struct tl_err why;
    tl_buf_init(&own, TL_EVENT_BYTES_MAX);
    if (strcmp(type, "task.started.v1") == 0) tl_task_progress_json(&own, t->id, t->name, &t->progress);
    enum tl_status st = tl_task_event(t->term, type, own.n ? tl_buf_str(&own) : tl_str(text ? text : "{}"), &why);
    if (st != TL_OK) (void)tl_fail(err, st, "events[%zu]: %.256s", i, why.text);
    tl_buf_release(&own);
    free(text);
    return st;
}

static void answer(struct api_call *c, const struct task *t)
{
    char term[40], position[TL_POSITION_MAX] = "";
    struct tl_json j;
    term_text(t, term);
    if (t->term && tl_task_position(t->term).seq) tl_position_format(tl_task_position(t->term), position);
    tl_json_init(&j, &c->out);
    tl_json_object(&j);
    tl_json_key(&j, "term");
    tl_json_cstr(&j, term);
    tl_json_key(&j, "position"); /* of the last event that has one */
    tl_json_cstr(&j, position[0] ? position : NULL);
    tl_json_key(&j, "cancel"); /* somebody has asked for it */
    tl_json_bool(&j, t->cancel);
    tl_json_object_end(&j);
    api_reply_json(c);
}

void foreign_task_events(struct api_call *c)
{
    struct api_foreign *f = c->api->foreign;
    struct tl_str body = tl_http_body(c->http);
    const char *term = api_text(c, "term");
    struct task *t = NULL;
    json_error_t bad;
    json_t *doc = json_loadb(body.p ? body.p : "", body.n, JSON_REJECT_DUPLICATES, &bad);
    enum tl_status st = TL_OK;
    if (!doc)
        st = tl_fail(&c->err, TL_PARSE, "line %d, column %d: %s", bad.line, bad.column, bad.text);
    else if (json_is_array(doc) && (json_array_size(doc) == 0 || json_array_size(doc) > EVENTS_MAX))
        st = tl_fail(&c->err, TL_INVALID, "1 to %d events", EVENTS_MAX);
    if (st != TL_OK) {
        json_decref(doc);
        api_fail(c, st, "body", &c->err);
        return;
    }
    st = term ? find_term(f, api_path(c, 0), term, &t, &c->err)
              : begin(f, api_path(c, 0), api_text(c, "name"), &t, &c->err);
    if (st != TL_OK) {
        json_decref(doc);
        api_fail(c, st, term ? "term" : "id", &c->err);
        return;
    }
    size_t n = json_is_array(doc) ? json_array_size(doc) : 1;
    for (size_t i = 0; st == TL_OK && i < n; i++)
        st = publish(t, json_is_array(doc) ? json_array_get(doc, i) : doc, i, &c->err);
    t->said_ns = tl_clock_mono_ns(c->api->clock);
    json_decref(doc);
    if (st != TL_OK)
        api_fail(c, st, "body", &c->err);
    else
        answer(c, t);
    if (t->over) drop(t);
}
