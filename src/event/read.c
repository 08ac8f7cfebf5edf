/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a task from Redis: one read at a time for a topic, whoever needs it. It goes back as far as the one who has
 * the least needs, page by page, and what it brings serves all: it repairs what subscribers here have missed, it is
 * what those who resume get, and it tells what is known of a task that nobody looks at.
 *
 *   read_begin --Redis can be asked--> under way --last page--> repaired | nothing was missed | lost | Redis has
 * nothing
 *       '--later, when it can: read_up, or the retry of those who wait
 *
 * `cover`: from there on the chain of lifecycle events has no hole. Whoever has everything up to a position not before
 * it gets the rest as events; everybody else gets the state, and is told so. When Redis has nothing, or less than was
 * seen here, of a task that is not over, its publisher has GRACE_MS to hand in again what was lost. */
#include "event/bus_i.h"

#include "base/err.h"
#include "base/util.h"

#include <inttypes.h>
#include <stdio.h>

enum { RETRY_MIN_MS = 50, RETRY_MAX_MS = 1000 };

struct read {
    struct topic *topic;
    struct tl_redis_cmd cmd;
    struct tl_str argv[5];
    char keys[2][TASK_KEY_MAX], from_text[TL_POSITION_MAX + 1], count_text[12];
    struct tl_position from, at;
    bool counted;              /* loading waits for it */
    bool cut;                  /* there was too much: the oldest are not here */
    struct page head;          /* of the last page: what the hash says. Without events */
    struct tl_event **events;  /* [own] */
    struct tl_position *after; /* [own] */
    size_t n, cap, bytes;
};

static const struct tl_position none = {0, 0}, beyond = {INT64_MAX, UINT64_MAX};

/* ---- a page ---- */

void page_release(struct page *p)
{
    for (size_t i = 0; i < p->n; i++) tl_event_unref(p->events[i]);
    free(p->events);
    free(p->after);
    tl_event_unref(p->state);
    *p = (struct page){.there = false};
}

static void take_entry(struct page *p, const char *topic, struct tl_str id, struct tl_str json, struct tl_str after)
{
    struct tl_position at, before;
    struct tl_event *e = NULL;
    if (!tl_position_parse(id, &at)) {
        p->damaged = true;
        return;
    }
    p->end = at;
    bool ours = tl_position_parse(after, &before) && tl_event_parse(json, &e, NULL) == TL_OK &&
                strcmp(e->topic, topic) == 0 && tl_position_cmp(e->position, at) == 0 &&
                tl_event_type_of_task(e->type) && tl_position_cmp(before, at) < 0;
    if (!ours) {
        tl_event_unref(e);
        p->damaged = true;
        return;
    }
    p->events[p->n] = e;
    p->after[p->n++] = before;
    p->bytes += event_bytes(e);
}

static bool texts(const struct tl_reply *r, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (r->items[i]->type != TL_REPLY_STRING) return false;
    return true;
}

enum tl_status page_parse(const struct tl_reply *r, const char *topic, struct page *p, size_t count)
{
    *p = (struct page){.there = false};
    if (r->type == TL_REPLY_NIL) return TL_OK;
    if (r->type != TL_REPLY_ARRAY || r->n != 6 || !texts(r, 5) || r->items[5]->type != TL_REPLY_ARRAY)
        return TL_CORRUPT;
    const struct tl_reply *rows = r->items[5];
    if (!tl_position_parse(r->items[0]->str, &p->position) || !tl_position_parse(r->items[1]->str, &p->life) ||
        rows->n % 3 != 0 || !texts(rows, rows->n))
        return TL_CORRUPT;
    p->events = tl_calloc(rows->n / 3, sizeof(struct tl_event *));
    p->after = tl_calloc(rows->n / 3, sizeof *p->after);
    if (!p->events || !p->after) {
        page_release(p);
        return TL_NOMEM;
    }
    p->there = true;
    p->more = rows->n / 3 == count;
    snprintf(p->name, sizeof p->name, "%.*s", (int)TL_MIN(r->items[3]->str.n, sizeof p->name - 1), r->items[3]->str.p);
    if (!tl_str_to_i64(r->items[4]->str, &p->started_ms)) p->started_ms = 0;
    if (r->items[2]->str.n && tl_event_parse(r->items[2]->str, &p->state, NULL) == TL_OK &&
        strcmp(p->state->topic, topic) != 0) {
        tl_event_unref(p->state);
        p->state = NULL;
    }
    for (size_t i = 0; i + 2 < rows->n; i += 3)
        take_entry(p, topic, rows->items[i]->str, rows->items[i + 1]->str, rows->items[i + 2]->str);
    return TL_OK;
}

/* ---- what was read ---- */

/* Takes the events of the page. false: memory is out. */
static bool take_page(struct read *r, struct page *p)
{
    if (r->n + p->n > r->cap) {
        size_t cap = TL_MAX(r->cap * 2, r->n + p->n);
        struct tl_event **events = tl_realloc(r->events, cap, sizeof(struct tl_event *));
        if (events) r->events = events;
        struct tl_position *after = events ? tl_realloc(r->after, cap, sizeof *after) : NULL;
        if (!after) return false;
        r->after = after;
        r->cap = cap;
    }
    for (size_t i = 0; i < p->n; i++) {
        r->events[r->n] = p->events[i];
        r->after[r->n++] = p->after[i];
    }
    r->bytes += p->bytes;
    p->n = 0; /* they are the read's now */
    page_release(&r->head);
    r->head = *p;
    r->head.events = NULL;
    r->head.after = NULL;
    free(p->events);
    free(p->after);
    *p = (struct page){.there = false};
    return true;
}

/* Puts the state between the lifecycle events, if it is one of its own. */
static void place_state(struct read *r)
{
    struct tl_event *s = r->head.state;
    if (!s || s->kind != TL_EVENT_STATE || tl_position_cmp(s->position, r->from) <= 0) return;
    size_t i = r->n;
    while (i > 0 && tl_position_cmp(r->events[i - 1]->position, s->position) > 0) i--;
    struct tl_position after = i > 0 ? r->events[i - 1]->position : none;
    if (r->n == r->cap) {
        struct tl_event **events = tl_realloc(r->events, r->n + 1, sizeof(struct tl_event *));
        if (events) r->events = events;
        struct tl_position *positions = events ? tl_realloc(r->after, r->n + 1, sizeof *positions) : NULL;
        if (!positions) return; /* the next state will do */
        r->after = positions;
        r->cap = r->n + 1;
    }
    memmove(r->events + i + 1, r->events + i, (r->n - i) * sizeof(struct tl_event *));
    memmove(r->after + i + 1, r->after + i, (r->n - i) * sizeof *r->after);
    r->events[i] = tl_event_ref(s);
    r->after[i] = after;
    r->n++;
}

static struct tl_position cover_of(const struct read *r)
{
    struct tl_position need = r->head.life; /* the last lifecycle event must be here, or had by who gets this */
    for (size_t i = r->n; i-- > 0;) {
        if (r->events[i]->kind == TL_EVENT_STATE) continue;
        if (tl_position_cmp(r->events[i]->position, need) < 0) return need;
        need = r->after[i];
    }
    return tl_position_cmp(need, r->from) <= 0 ? r->from : need;
}

/* ---- its end ---- */

static void read_free(struct read *r)
{
    for (size_t i = 0; i < r->n; i++) tl_event_unref(r->events[i]);
    free(r->events);
    free(r->after);
    page_release(&r->head);
    free(r);
}

void read_release(struct topic *t)
{
    if (t->read) read_free(t->read);
    t->read = NULL;
}

static void learn_head(struct topic *t, const struct page *head)
{
    if (head->name[0]) snprintf(t->info.name, sizeof t->info.name, "%s", head->name);
    if (head->started_ms > 0) t->info.started_ms = head->started_ms;
}

/* Everything starts anew from what Redis says. told: somebody had something before. */
static void start_anew(struct topic *t, struct read *r, bool told)
{
    struct page *h = &r->head;
    t->lost = false;
    tl_event_unref(t->state); /* what was heard here may count for nothing */
    t->state = NULL;
    topic_learn(t, h->state, h->position, h->life);
    learn_head(t, h);
    topic_restart_ring(t, h->position);
    if (!told) return;
    t->bus->stats.lost++;
    deliver_snapshot(t);
}

static void repair(struct topic *t, struct read *r)
{
    struct page *h = &r->head;
    for (size_t i = 0; i < r->n; i++) {
        if (tl_position_cmp(r->events[i]->position, t->last) <= 0) continue;
        topic_accept(t, r->events[i]);
        t->bus->stats.repaired++;
    }
    learn_head(t, h);
    /* States in between that are no more: what is kept has no hole all the same. */
    if (tl_position_cmp(h->position, t->last) > 0) {
        t->last = t->info.position = h->position;
        t->over = false;
    }
}

/* The events of the read, and behind them those that are here alone (the publisher is here). [own] */
static struct tl_event **joined(struct topic *t, struct read *r, size_t *n, bool *whole)
{
    struct tl_position end = r->n ? r->events[r->n - 1]->position : r->from;
    size_t from = ring_after(&t->ring, end), rest = t->task ? t->ring.n - from : 0;
    struct tl_event **events = tl_calloc(r->n + rest, sizeof(struct tl_event *));
    *whole = events && (!t->task || tl_position_cmp(t->ring_from, end) <= 0);
    *n = events ? r->n + rest : 0;
    for (size_t i = 0; events && i < r->n; i++) events[i] = tl_event_ref(r->events[i]);
    for (size_t i = 0; events && i < rest; i++) events[r->n + i] = tl_event_ref(ring_at(&t->ring, from + i));
    return events;
}

static void serve(struct topic *t, struct read *r, struct tl_position cover)
{
    size_t n;
    bool whole;
    struct tl_event **events = joined(t, r, &n, &whole);
    if (whole && r->n) topic_extend_ring(t, cover, r->events, r->n);
    deliver_waiting(t, r->from, whole ? &cover : NULL, events, n);
    for (size_t i = 0; i < n; i++) tl_event_unref(events[i]);
    free(events);
}

/* Those who wait get what is known here. */
static void serve_from_here(struct topic *t)
{
    size_t n = t->ring.n;
    struct tl_position from = t->ring_from;
    struct tl_event **events = tl_calloc(n, sizeof(struct tl_event *));
    for (size_t i = 0; events && i < n; i++) events[i] = tl_event_ref(ring_at(&t->ring, i));
    deliver_waiting(t, none, events ? &from : NULL, events, n);
    for (size_t i = 0; events && i < n; i++) tl_event_unref(events[i]);
    free(events);
}

/* Redis knows less than was seen here. */
static void redis_has_less(struct topic *t)
{
    struct tl_bus *b = t->bus;
    bool certain = t->task || position_none(t->last) || t->over || !topic_followed(t);
    t->synced = certain;
    if (!certain && t->grace_over) {
        t->grace_over = false;
        t->synced = true;
        b->stats.lost++;
        deliver_snapshot(t);
    } else if (!certain && !t->grace.at) {
        bus_alarm(b, &t->grace, GRACE_MS);
    }
    serve_from_here(t);
}

static void finish(struct topic *t)
{
    struct read *r = t->read;
    struct page *h = &r->head;
    struct tl_position cover = h->there ? cover_of(r) : none;
    t->read = NULL;
    t->failures = 0;
    bool less = !h->there || (!t->lost && tl_position_cmp(h->position, t->last) < 0);
    bool had = deliver_anybody_live(t) || (t->bus->tasks->n_subs && !position_none(t->last));
    if (h->there) place_state(r);
    if (less && t->lost && !h->there) t->lost = false;
    if (t->task && t->task->phase != TASK_CATCHING) {
        serve(t, r, cover);
    } else if (less) {
        redis_has_less(t);
    } else {
        bool missed = r->cut || t->lost || tl_position_cmp(t->last, cover) < 0;
        t->synced = t->bus->sub_up;
        tl_alarm_clear(t->bus->alarms, &t->grace);
        t->grace_over = false;
        if (missed)
            start_anew(t, r, had);
        else
            repair(t, r);
        serve(t, r, r->cut ? beyond : cover);
    }
    read_free(r);
}

static void loaded_one(struct tl_bus *b, bool counted)
{
    if (counted) tasks_loaded_one(b);
    if (b->tasks_stale && b->loaded) {
        b->tasks_stale = false;
        deliver_snapshot(b->tasks);
    }
}

static void retry_later(struct topic *t)
{
    uint64_t ms = TL_MIN((uint64_t)RETRY_MIN_MS << TL_MIN(t->failures, 5u), (uint64_t)RETRY_MAX_MS);
    t->failures++;
    bus_alarm(t->bus, &t->retry, ms);
}

static void failed(struct topic *t)
{
    read_release(t);
    remote_drop_backlog(t);
    t->synced = false;
    if (t->bus->ending) return;
    deliver_requeue(t, false);
    retry_later(t);
}

/* ---- asking ---- */

static void on_page(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                    const struct tl_err *err);

static bool ask(struct topic *t)
{
    struct read *r = t->read;
    struct tl_bus *b = t->bus;
    char position[TL_POSITION_MAX];
    tl_position_format(r->at, position);
    if (tl_position_cmp(r->from, beyond) == 0)
        snprintf(r->from_text, sizeof r->from_text, "+");
    else
        snprintf(r->from_text, sizeof r->from_text, "(%s", position);
    snprintf(r->count_text, sizeof r->count_text, "%d", READ_PAGE);
    struct tl_str argv[] = {TL_STR("2"), tl_str(r->keys[0]), tl_str(r->keys[1]), tl_str(r->from_text),
                            tl_str(r->count_text)};
    memcpy(r->argv, argv, sizeof argv);
    r->cmd = (struct tl_redis_cmd){.argv = r->argv, .argc = TL_COUNT(argv), .cb = on_page, .user = t};
    if (tl_redis_eval(b->redis, &r->cmd, SCRIPT_READ, b->timeout_ms, NULL) != TL_OK) return false;
    b->commands++;
    t->holds++;
    b->stats.stream_reads++;
    return true;
}

static void over(struct topic *t, bool counted)
{
    struct tl_bus *b = t->bus;
    struct tl_task *k = t->task;
    if (k && k->phase == TASK_CATCHING) {
        tl_alarm_clear(b->alarms, &k->claim_deadline);
        task_opened(k);
    }
    remote_backlog(t);
    loaded_one(b, counted);
}

static void on_page(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                    const struct tl_err *err)
{
    struct topic *t = cmd->user;
    struct tl_bus *b = t->bus;
    struct read *r = t->read;
    struct page p = {.there = false};
    bool counted = r->counted;
    (void)err;
    b->commands--;
    if (status == TL_OK) status = page_parse(reply, t->name, &p, READ_PAGE);
    bool more = p.more, there = p.there;
    struct tl_position end = p.end;
    if (status == TL_OK && !there && r->n) status = TL_IO; /* it went away in between */
    if (status == TL_OK && there && !take_page(r, &p)) status = TL_NOMEM;
    page_release(&p);
    if (b->ending || status != TL_OK) {
        failed(t);
        if (!b->ending) loaded_one(b, counted);
    } else if (more && r->bytes < READ_BYTES && there) {
        r->at = end;
        if (!ask(t)) {
            failed(t);
            loaded_one(b, counted);
        }
    } else {
        r->cut = more && there;
        finish(t);
        over(t, counted);
    }
    t->holds--;
    topic_check(t);
    bus_check_closed(b);
}

/* From where on events are needed; beyond: none. */
static struct tl_position needed_from(const struct topic *t)
{
    struct tl_position least = beyond;
    (void)deliver_anybody_waits(t, &least);
    bool somebody = deliver_anybody_live(t) || (t->bus->tasks->n_subs && !position_none(t->last));
    bool publishing = t->task && t->task->phase != TASK_CATCHING;
    if (somebody && !t->lost && !publishing && tl_position_cmp(t->last, least) < 0) least = t->last;
    return least;
}

void read_begin(struct topic *t)
{
    struct tl_bus *b = t->bus;
    struct tl_position least;
    if (t->read || b->closing || !b->redis) return;
    bool anybody = deliver_anybody_waits(t, &least);
    if (!b->redis_up || !b->sub_up) {
        deliver_requeue(t, false);
        if (anybody) bus_alarm(b, &t->retry, RETRY_MAX_MS / 4);
        return;
    }
    tl_alarm_clear(b->alarms, &t->retry);
    struct read *r = tl_calloc(1, sizeof *r);
    if (r) {
        t->read = r;
        r->topic = t;
        r->from = r->at = needed_from(t);
        remote_keys(b, t->name, r->keys[0], r->keys[1]);
    }
    if (!r || !ask(t)) failed(t);
}

void read_count(struct topic *t)
{
    if (!t->read || t->read->counted) return;
    t->read->counted = true;
    t->bus->loading++;
}

void read_up(struct tl_bus *b)
{
    for (struct topic *t = b->all; t; t = t->next) {
        struct tl_position least;
        if (t->kind != TOPIC_TASK || t->task || t->synced) continue;
        bool quiet = t->over && !t->n_subs; /* begun again: the index tells */
        if ((topic_followed(t) && !quiet) || deliver_anybody_waits(t, &least)) read_begin(t);
    }
    if (b->decided && !(b->redis_up && b->sub_up))
        for (struct topic *t = b->all; t; t = t->next)
            if (t->kind == TOPIC_TASK) deliver_requeue(t, true); /* they are served from here, or wait on */
}
