/* SPDX-License-Identifier: Apache-2.0 */
/* What takes a while: events of the past, jobs that are cancelled or tried again. At most TALK_ASKED_MAX are under way
 * for a conversation; each outlives it, and then answers nobody. A history goes on to TALK_HISTORY_BYTES and says where
 * to go on from. */
#include "server/talk.h"

#include "base/err.h"
#include "base/util.h"

#include <stdio.h>

enum { HISTORY_MS = 5000 };

struct talk_asked {
    struct talk *talk; /* NULL: it has gone */
    json_t *id;        /* [own] */
    struct tl_history history;
    struct tl_job_op job;
    struct tl_position since;
    size_t max;
    char topic[TL_TOPIC_MAX + 1];
    struct talk_asked *prev, *next;
};

static struct talk_asked *asked_new(struct talk *t, const json_t *id)
{
    struct talk_asked *a = t->n_asked < TALK_ASKED_MAX ? tl_calloc(1, sizeof *a) : NULL;
    if (!a) {
        bool full = t->n_asked >= TALK_ASKED_MAX;
        talk_error(t, id, full ? "FULL" : "NOMEM", NULL,
                   full ? "4 of history, cancel and retry are under way: wait for an answer" : "out of memory");
        return NULL;
    }
    a->talk = t;
    a->id = id ? json_deep_copy(id) : NULL;
    a->next = t->asked;
    if (t->asked) t->asked->prev = a;
    t->asked = a;
    t->n_asked++;
    return a;
}

static void asked_free(struct talk_asked *a)
{
    struct talk *t = a->talk;
    if (t) {
        t->n_asked--;
        if (t->asked == a) t->asked = a->next;
        if (a->prev) a->prev->next = a->next;
        if (a->next) a->next->prev = a->prev;
    }
    json_decref(a->id);
    free(a);
}

void talk_forget_asked(struct talk *t)
{
    for (struct talk_asked *a = t->asked, *next; a; a = next) {
        next = a->next;
        a->talk = NULL;
        a->prev = a->next = NULL;
    }
    t->asked = NULL;
    t->n_asked = 0;
}

/* ---- history ---- */

static void put_history(struct tl_buf *b, struct tl_json *j, const struct talk_asked *a)
{
    const struct tl_history *h = &a->history;
    char position[TL_POSITION_MAX];
    struct tl_buf events;
    size_t n = 0;
    tl_buf_init(&events, TALK_HISTORY_BYTES + TL_EVENT_BYTES_MAX + 16);
    tl_buf_putc(&events, '[');
    for (; n < h->n && events.n < TALK_HISTORY_BYTES; n++) {
        if (n) tl_buf_putc(&events, ',');
        tl_buf_put(&events, h->events[n]->json, h->events[n]->n);
    }
    tl_buf_putc(&events, ']');
    tl_position_format(n ? h->events[n - 1]->position : a->since, position);
    tl_json_key(j, "topic");
    tl_json_cstr(j, a->topic);
    tl_json_key(j, "complete");
    tl_json_bool(j, h->complete);
    tl_json_key(j, "more");
    tl_json_bool(j, n < h->n || h->n == a->max);
    tl_json_key(j, "position");
    tl_json_cstr(j, position);
    protocol_raw(b, j, "events", tl_buf_str(&events));
    if (events.failed) b->failed = true;
    tl_buf_release(&events);
}

static void answer_history(struct talk_asked *a, enum tl_status status)
{
    struct talk *t = a->talk;
    struct tl_buf b;
    struct tl_json j;
    if (status != TL_OK) {
        talk_error(t, a->id, tl_status_name(status), a->topic, tl_status_text(status));
        return;
    }
    talk_begin_answer(&b, &j, PROTOCOL_history, a->id);
    put_history(&b, &j, a);
    tl_json_object_end(&j);
    enum tl_status st = b.failed ? TL_NOMEM : t->to.text(t->to.ctx, tl_buf_str(&b));
    tl_buf_release(&b);
    if (st == TL_FULL)
        talk_error(t, a->id, "FULL", a->topic, "too much waits to be read: ask again once it was");
    else if (st != TL_OK)
        talk_error(t, a->id, tl_status_name(st), a->topic, tl_status_text(st));
}

static void on_history_read(struct tl_history *h, enum tl_status status)
{
    struct talk_asked *a = h->user;
    if (a->talk && !a->talk->closing) answer_history(a, status);
    for (size_t i = 0; i < h->n; i++) tl_event_unref(h->events[i]);
    free(h->events);
    asked_free(a);
}

void talk_on_history(struct talk *t, const json_t *doc, const json_t *id)
{
    const json_t *limit = json_object_get(doc, "limit"), *from = json_object_get(doc, "since");
    const char *topic = json_string_value(json_object_get(doc, "topic")), *since = json_string_value(from);
    json_int_t max = limit ? json_integer_value(limit) : TALK_HISTORY_MAX;
    struct tl_position at = {.epoch_ms = 0};
    struct tl_err err;
    if (!topic || strlen(topic) > TL_TOPIC_MAX || max < 1 || max > TALK_HISTORY_MAX ||
        (from && !json_is_null(from) && (!since || !tl_position_parse(tl_str(since), &at)))) {
        talk_error(t, id, "INVALID", topic,
                   "topic is needed; since, where it is given, is a position, and limit a number from 1 to 500");
        return;
    }
    struct talk_asked *a = asked_new(t, id);
    if (!a) return;
    snprintf(a->topic, sizeof a->topic, "%s", topic);
    a->since = at;
    a->max = (size_t)max;
    a->history = (struct tl_history){.cb = on_history_read, .user = a};
    enum tl_status st = tl_bus_history(t->api->bus, &a->history, topic, at, a->max, HISTORY_MS, &err);
    if (st == TL_OK) return;
    talk_error(t, id, tl_status_name(st), topic, err.text);
    asked_free(a);
}

/* ---- jobs ---- */

static void on_job(struct tl_job_op *op, enum tl_status status)
{
    struct talk_asked *a = op->user;
    struct talk *t = a->talk;
    struct tl_buf b;
    struct tl_json j;
    if (t && status != TL_OK) {
        talk_error(t, a->id, tl_status_name(status), a->topic, op->err.text);
    } else if (t) {
        talk_begin_answer(&b, &j, PROTOCOL_done, a->id);
        tl_json_key(&j, "task");
        tl_json_cstr(&j, op->id[0] ? op->id : a->topic + strlen("task/"));
        talk_answer(t, &b, &j);
    }
    asked_free(a);
}

void talk_on_job(struct talk *t, const json_t *doc, const json_t *id, bool retry)
{
    const char *task = json_string_value(json_object_get(doc, "task"));
    struct tl_jobs *jobs = t->api->jobs;
    struct tl_err err;
    if (!(t->who.may & TL_MAY_WRITE)) {
        talk_error(t, id, "DENIED", NULL, "the token may not: the scope write is needed");
        return;
    }
    if (!task || strlen(task) > 100) {
        talk_error(t, id, "INVALID", NULL, "task: the id of a task, of at most 100 bytes, is needed");
        return;
    }
    if (!jobs) {
        talk_error(t, id, "UNSUPPORTED", NULL, "this server has no store, and so no jobs");
        return;
    }
    struct talk_asked *a = asked_new(t, id);
    if (!a) return;
    snprintf(a->topic, sizeof a->topic, "task/%s", task);
    a->job = (struct tl_job_op){.cb = on_job, .user = a};
    enum tl_status st = retry ? tl_jobs_retry(jobs, &a->job, task, &err) : tl_jobs_cancel(jobs, &a->job, task, &err);
    if (st == TL_OK) return;
    talk_error(t, id, tl_status_name(st), a->topic, err.text);
    asked_free(a);
}
