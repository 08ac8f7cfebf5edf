/* SPDX-License-Identifier: Apache-2.0 */
/* The publishing end of a task.
 *
 *   CLAIMING --Redis gave the epoch, or ours after a while--> (CATCHING) --> OPEN
 *      '------------------ a later term was begun elsewhere ------------------'--> FENCED
 *
 * Positions are given out here, in the order of the calls, once the epoch is known; until then events wait in `early`.
 * What has a position was accepted by the topic in the same breath, and is handed to handin.c. The struct outlives the
 * owner's handle until Redis has everything (and a while longer: see handin.c). A lifecycle event is never dropped once
 * it was taken; a state that is not sent yet gives way to a newer one. */
#include "event/bus_i.h"

#include "base/err.h"
#include "base/util.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

static const char *type_of_end(enum tl_task_state s)
{
    return s == TL_TASK_COMPLETED ? TL_TYPE_COMPLETED : s == TL_TASK_FAILED ? TL_TYPE_FAILED : TL_TYPE_CANCELLED;
}

/* ---- out with it ---- */

/* Gives out the next position. false: memory is out, or it is too large. */
static bool emit(struct tl_task *k, const char *type, struct tl_str data)
{
    struct tl_bus *b = k->bus;
    struct tl_position p = {.epoch_ms = k->epoch_ms, .seq = k->seq + 1};
    struct tl_event *e = tl_event_new(k->topic->name, type, p, b->instance, bus_now_ms(b), data);
    if (!e) return false;
    k->seq++;
    b->stats.published++;
    topic_accept(k->topic, e);
    if (b->redis) handin_event(k, e);
    tl_event_unref(e);
    return true;
}

static bool emit_state(struct tl_task *k, const char *type)
{
    struct tl_buf data;
    tl_buf_init(&data, TL_EVENT_BYTES_MAX);
    tl_task_progress_json(&data, k->id, k->name, &k->progress);
    bool ok = !data.failed && emit(k, type, tl_buf_str(&data));
    tl_buf_release(&data);
    return ok;
}

static void set_beat(struct tl_task *k)
{
    uint64_t ms = k->ending ? PACE_MS : k->progress_due ? PACE_MS : BEAT_MS;
    tl_alarm_clear(k->bus->alarms, &k->beat);
    if (k->phase != TASK_OPEN || k->ended || (!k->ending && (k->gone || !k->have_progress))) return;
    uint64_t due = k->ending ? bus_now_ns(k->bus) : k->said_ns;
    (void)!tl_alarm_set(k->bus->alarms, &k->beat, due + ms * 1000000); /* no memory: the next call says it */
}

static void say_state(struct tl_task *k)
{
    if (emit_state(k, TL_TYPE_PROGRESS)) k->progress_due = false;
    k->said_ns = bus_now_ns(k->bus);
}

static void try_end(struct tl_task *k)
{
    if (k->phase != TASK_OPEN || !k->ending) return;
    if (emit_state(k, type_of_end(k->progress.state))) {
        k->ending = false;
        k->ended = true;
        archive_touch(k->topic);
    }
    set_beat(k);
    task_check(k);
}

static void on_beat(struct tl_alarm *a)
{
    struct tl_task *k = CONTAINER(a, struct tl_task, beat);
    uint64_t now = bus_now_ns(k->bus);
    if (k->ending) {
        try_end(k);
        return;
    }
    if (!k->progress_due) { /* nobody has said anything new: it is alive */
        int64_t passed = (int64_t)((now - k->said_ns) / 1000000);
        if (k->progress.state != TL_TASK_QUEUED) k->progress.elapsed_ms += passed;
    }
    say_state(k);
    set_beat(k);
}

/* ---- the epoch ---- */

static void drop_early(struct tl_task *k)
{
    for (size_t i = 0; i < k->n_early; i++) free(k->early[i].data);
    free(k->early);
    k->early = NULL;
    k->n_early = k->early_bytes = 0;
}

static void note_started(struct tl_task *k, const char *type, struct tl_str data)
{
    char id[TL_TOPIC_MAX + 1], name[72];
    struct tl_task_progress p;
    if (strcmp(type, TL_TYPE_STARTED) != 0 || tl_task_progress_parse(data, id, name, &p, NULL) != TL_OK) return;
    if (tl_task_state_over(p.state)) return;
    if (!k->progress_due) memcpy(&k->progress, &p, sizeof p);
    k->have_progress = true;
    k->said_ns = bus_now_ns(k->bus);
}

void task_opened(struct tl_task *k)
{
    k->phase = TASK_OPEN;
    for (size_t i = 0; i < k->n_early; i++) {
        struct early *e = &k->early[i];
        if (!emit(k, e->type, (struct tl_str){e->data, e->n})) {
            k->bus->stats.lost++;
            tl_log(k->bus->log, TL_LOG_ERROR, "event", "event lost, memory is out", "task=%s type=%s", k->id, e->type);
        } else if (!k->ending) {
            note_started(k, e->type, (struct tl_str){e->data, e->n});
        }
    }
    drop_early(k);
    archive_touch(k->topic);
    if (k->ending) {
        try_end(k);
        return;
    }
    if (k->progress_due) say_state(k);
    set_beat(k);
    task_check(k);
}

void task_fence(struct tl_task *k)
{
    struct topic *t = k->topic;
    struct tl_bus *b = k->bus;
    if (k->phase == TASK_FENCED) return;
    bool all_there = handin_done(k) && !k->n_early && !k->ending;
    b->stats.fenced++;
    tl_log(b->log, TL_LOG_WARN, "event", "task was taken over elsewhere", "task=%s epoch=%" PRId64, k->id, k->epoch_ms);
    k->phase = TASK_FENCED;
    k->ending = false;
    drop_early(k);
    handin_release(k);
    set_beat(k);
    if (t->task == k) {
        t->task = NULL;
        t->synced = false;
        t->lost = t->lost || !all_there;
        if (topic_followed(t)) read_begin(t);
    }
    if (!k->gone && k->opt.on_fenced)
        k->opt.on_fenced(k->opt.ctx); /* may end it, which frees it */
    else
        task_check(k);
}

/* ---- life ---- */

void task_free(struct tl_task *k)
{
    struct tl_bus *b = k->bus;
    struct topic *t = k->topic;
    if (k->prev)
        k->prev->next = k->next;
    else
        b->terms = k->next;
    if (k->next) k->next->prev = k->prev;
    if (t->task == k) t->task = NULL;
    drop_early(k);
    handin_release(k);
    tl_alarm_clear(b->alarms, &k->beat);
    free(k);
    t->holds--;
    topic_check(t);
}

void task_check(struct tl_task *k)
{
    struct tl_bus *b = k->bus;
    if (!k->gone || k->open || k->claim_open || k->index_open || (k->phase != TASK_FENCED && k->ending)) return;
    if (k->phase == TASK_FENCED || !b->redis) {
        task_free(k);
        bus_check_closed(b);
        return;
    }
    if (!handin_done(k)) return;
    if (!k->ended || b->closing || k->topic->task != k || bus_now_ms(b) - k->gone_ms > LINGER_MS) task_free(k);
    bus_check_closed(b);
}

bool tasks_drained(const struct tl_bus *b)
{
    for (const struct tl_task *k = b->terms; k; k = k->next)
        if (k->phase != TASK_FENCED && (k->n_early || k->ending || !handin_done(k))) return false;
    return true;
}

void tasks_end_all(struct tl_bus *b)
{
    for (struct tl_task *k = b->terms, *next; k; k = next) {
        next = k->next;
        TL_ASSERT(!k->open && !k->claim_open && !k->index_open);
        b->stats.lost += k->kept.n - k->acked + k->n_early + k->ending;
        task_free(k);
    }
}

static enum tl_status check_free(struct tl_bus *b, const char *id, struct tl_err *err)
{
    for (struct tl_task *k = b->terms; k; k = k->next)
        if (!k->gone && k->phase != TASK_FENCED && strcmp(k->id, id) == 0)
            return tl_fail(err, TL_CONFLICT, "task %s is being published by this process", id);
    return TL_OK;
}

/* Earlier terms of the task here have nothing more to do, or are done once Redis has the rest. */
static void succeed(struct tl_task *k)
{
    k->topic->task = k;
    for (struct tl_task *other = k->bus->terms, *next; other; other = next) {
        next = other->next;
        if (other != k && other->topic == k->topic) task_check(other);
    }
}

static struct tl_task *task_new(struct tl_bus *b, const struct tl_task_options *o, struct topic *t)
{
    static const char fallback[] = "task";
    struct tl_task *k = tl_calloc(1, sizeof *k);
    if (!k) return NULL;
    const char *name = o->name && o->name[0] ? o->name : fallback;
    k->bus = b;
    k->topic = t;
    t->holds++;
    k->opt = (struct tl_task_options){.on_fenced = o->on_fenced, .on_control = o->on_control, .ctx = o->ctx};
    snprintf(k->id, sizeof k->id, "%s", o->id);
    snprintf(k->name, sizeof k->name, "%s", name);
    k->progress.eta_ms = -1;
    k->started_ms = bus_now_ms(b);
    k->beat.ring = on_beat;
    k->next = b->terms;
    if (b->terms) b->terms->prev = k;
    b->terms = k;
    if (!t->info.name[0]) snprintf(t->info.name, sizeof t->info.name, "%s", name);
    return k;
}

enum tl_status tl_task_open(struct tl_bus *b, const struct tl_task_options *o, struct tl_task **out, struct tl_err *err)
{
    char name[TL_TOPIC_MAX + 1];
    if (b->closing) return tl_fail(err, TL_CANCELLED, "the bus is being closed");
    if (!task_id_ok(o->id))
        return tl_fail(err, TL_INVALID, "task id \"%.120s\": 1 to %d letters, digits, \".\", \"_\", \"-\"",
                       o->id ? o->id : "", TASK_ID_MAX);
    if (o->name && strlen(o->name) >= sizeof((struct tl_task *)0)->name)
        return tl_fail(err, TL_INVALID, "task name \"%.80s\": at most 71 bytes", o->name);
    enum tl_status st = check_free(b, o->id, err);
    if (st != TL_OK) return st;
    snprintf(name, sizeof name, "task/%s", o->id);
    struct topic *t = topic_make(b, TOPIC_TASK, name);
    struct tl_task *k = t ? task_new(b, o, t) : NULL;
    if (!k) {
        if (t) topic_check(t);
        return tl_fail(err, TL_NOMEM, "no memory for task %s", o->id);
    }
    int64_t floor = t->task ? TL_MAX(t->last.epoch_ms, t->task->epoch_ms) : t->last.epoch_ms;
    *out = k;
    succeed(k);
    t->info.started_ms = k->started_ms;
    k->epoch_ms = TL_MAX(floor + 1, k->started_ms); /* ours, until Redis gives one */
    k->before = t->life;
    if (b->redis)
        handin_claim(k);
    else
        k->phase = TASK_OPEN;
    return TL_OK;
}

/* ---- what the owner says ---- */

void tl_task_progress(struct tl_task *k, const struct tl_task_progress *p)
{
    TL_ASSERT(!k->gone);
    if (k->phase == TASK_FENCED) return;
    k->progress = *p;
    k->have_progress = k->progress_due = true;
    if (tl_task_state_over(p->state)) k->progress.state = TL_TASK_RUNNING; /* an end is said by tl_task_end alone */
    if (k->phase != TASK_OPEN) return;
    if (!k->said_ns || bus_now_ns(k->bus) - k->said_ns >= PACE_MS * UINT64_C(1000000)) say_state(k);
    set_beat(k);
}

static enum tl_status check_data(struct tl_str data, struct tl_err *err)
{
    json_error_t why;
    if (data.n > TL_EVENT_BYTES_MAX - 1024)
        return tl_fail(err, TL_TOO_LARGE, "the data of an event in %zu bytes: at most %d", data.n,
                       TL_EVENT_BYTES_MAX - 1024);
    if (data.n == 0) return TL_OK;
    if (memchr(data.p, '\n', data.n) || memchr(data.p, '\r', data.n))
        return tl_fail(err, TL_INVALID, "the data of an event is one line");
    json_t *value = json_loadb(data.p, data.n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);
    if (!value) return tl_fail(err, TL_INVALID, "the data of an event is not JSON: %.150s", why.text);
    json_decref(value);
    return TL_OK;
}

static enum tl_status put_early(struct tl_task *k, const char *type, struct tl_str data, struct tl_err *err)
{
    if (k->n_early == EARLY_MAX || k->early_bytes + data.n > QUEUE_BYTES)
        return tl_fail(err, TL_FULL, "%zu events wait for Redis", k->n_early);
    struct early *early = tl_realloc(k->early, k->n_early + 1, sizeof *early);
    if (early) k->early = early;
    char *copy = early ? tl_calloc(data.n + 1, 1) : NULL;
    if (!copy) return tl_fail(err, TL_NOMEM, "no memory for an event");
    if (data.n) memcpy(copy, data.p, data.n);
    k->early[k->n_early] = (struct early){.data = copy, .n = data.n};
    snprintf(k->early[k->n_early].type, sizeof k->early->type, "%s", type);
    k->n_early++;
    k->early_bytes += data.n;
    return TL_OK;
}

enum tl_status tl_task_event(struct tl_task *k, const char *type, struct tl_str data, struct tl_err *err)
{
    struct tl_bus *b = k->bus;
    TL_ASSERT(!k->gone);
    if (!tl_event_type_of_task(type) || strcmp(type, TL_TYPE_CONTROL) == 0)
        return tl_fail(err, TL_INVALID, "\"%.60s\" is no type of a task's event", type);
    if (strcmp(type, TL_TYPE_PROGRESS) == 0 || tl_event_type_ends(type))
        return tl_fail(err, TL_INVALID, "\"%s\" is said by the state of a task, not as an event", type);
    enum tl_status st = check_data(data, err);
    if (st != TL_OK) return st;
    if (k->phase == TASK_FENCED) return TL_OK; /* it does not count any more: the owner was told */
    if (b->queued >= QUEUE_EVENTS || b->queued_bytes + data.n > QUEUE_BYTES)
        return tl_fail(err, TL_FULL, "%zu events of %zu bytes wait for Redis", b->queued, b->queued_bytes);
    if (b->undelivered_bytes > 2 * (size_t)QUEUE_BYTES)
        return tl_fail(err, TL_FULL, "%zu bytes wait to be delivered", b->undelivered_bytes);
    if (k->phase != TASK_OPEN) return put_early(k, type, data, err);
    if (!emit(k, type, data)) return tl_fail(err, TL_NOMEM, "no memory for an event");
    note_started(k, type, data);
    if (k->seq == 1) archive_touch(k->topic);
    set_beat(k);
    return TL_OK;
}

static void let_go(struct tl_task *k)
{
    k->gone = true;
    k->gone_ms = bus_now_ms(k->bus);
}

void tl_task_end(struct tl_task *k, const struct tl_task_progress *p)
{
    TL_ASSERT(!k->gone && tl_task_state_over(p->state));
    k->progress = *p;
    k->progress_due = false;
    let_go(k);
    k->ending = k->phase != TASK_FENCED;
    if (k->ending && k->phase == TASK_OPEN)
        try_end(k);
    else
        task_check(k);
}

void tl_task_abandon(struct tl_task *k)
{
    TL_ASSERT(!k->gone);
    k->progress_due = false;
    let_go(k);
    set_beat(k);
    archive_touch(k->topic);
    task_check(k);
}

struct tl_position tl_task_position(const struct tl_task *k)
{
    return (struct tl_position){.epoch_ms = k->seq || k->phase == TASK_OPEN ? k->epoch_ms : 0, .seq = k->seq};
}
