/* SPDX-License-Identifier: Apache-2.0 */
/* Subscriptions, and who gets what when. What is accepted is queued with a number, and handed to the subscribers in the
 * next turn of the loop, so that no callback comes from within a call.
 *
 *   NEW --topic in step--> on_snapshot, LIVE from the next number on
 *    '--must be read first--> WAITING --read, or patience over--> on_snapshot, LIVE
 *
 * A subscriber that becomes LIVE was given everything up to the number it starts from, so it sees nothing twice and
 * misses nothing. `walk` is the one place where a list is walked under callbacks: unsubscribing moves it on. */
#include "event/bus_i.h"

#include "base/err.h"
#include "base/util.h"

#include <stdio.h>

enum { EVENTS_A_TURN = 20000, AHEAD_MS = 50 /* between two looks for what a subscriber has already */ };

/* ---- the queue ---- */

static struct delivery *place(struct tl_bus *b, uint64_t number)
{
    return &b->queue[number & (b->queue_cap - 1)];
}

static bool make_room(struct tl_bus *b)
{
    if (b->next - b->first < b->queue_cap) return true;
    size_t cap = b->queue_cap ? b->queue_cap * 2 : 64;
    struct delivery *queue = tl_calloc(cap, sizeof *queue);
    if (!queue) return false;
    for (uint64_t n = b->first; n < b->next; n++) queue[n & (cap - 1)] = *place(b, n);
    free(b->queue);
    b->queue = queue;
    b->queue_cap = cap;
    return true;
}

static void enqueue(struct topic *t, struct tl_event *e, bool snapshot)
{
    struct tl_bus *b = t->bus;
    if (b->ending) return;
    if (!make_room(b)) { /* out of memory: the subscribers are told the state instead of every event */
        b->stats.lost++;
        for (struct tl_subscription *s = t->subs; s; s = s->next) {
            struct sub *sub = s->state;
            if (sub->phase != SUB_LIVE) continue;
            sub->phase = SUB_WAITING;
            s->since = (struct tl_position){0, 0};
        }
        deliver_requeue(t, true);
        return;
    }
    *place(b, b->next++) =
        (struct delivery){.topic = t, .event = e ? tl_event_ref(e) : NULL, .at = t->last, .snapshot = snapshot};
    t->holds++;
    if (e) b->undelivered_bytes += event_bytes(e);
    tl_soon_call(b->alarms, &b->deliver);
}

void deliver_event(struct topic *t, struct tl_event *e)
{
    bool to_all = t->kind == TOPIC_TASK && !e->item && t->bus->tasks->n_subs;
    if (t->n_subs || to_all) enqueue(t, e, false);
}

void deliver_snapshot(struct topic *t)
{
    t->bus->stats.resyncs++;
    if (t->n_subs) enqueue(t, t->state, true);
    if (t->kind == TOPIC_TASK && t->bus->tasks->n_subs) enqueue(t->bus->tasks, NULL, true);
}

static void release(struct delivery *d)
{
    struct topic *t = d->topic;
    if (d->event) t->bus->undelivered_bytes -= event_bytes(d->event);
    tl_event_unref(d->event);
    t->holds--;
    topic_check(t);
}

void deliver_drop_all(struct tl_bus *b)
{
    while (b->first < b->next) {
        struct delivery d = *place(b, b->first++);
        release(&d);
    }
    free(b->queue);
    b->queue = NULL;
    b->queue_cap = 0;
}

/* ---- handing out ---- */

static void snapshot_to(struct tl_subscription *s, struct tl_event *state, struct tl_position at, bool recovered)
{
    struct tl_str data = recovered ? TL_STR("") : state ? tl_event_data(state) : TL_STR("null");
    if (!recovered && data.n == 0) data = TL_STR("null");
    s->on_snapshot(s, data, at, recovered);
}

/* The list of tasks stands for every event that was accepted until now. */
static void tasks_to(struct tl_bus *b, struct tl_subscription *s)
{
    struct sub *sub = s->state;
    struct tl_buf text;
    tl_buf_init(&text, 0);
    tasks_snapshot(b, &text);
    sub->phase = SUB_LIVE;
    sub->from = b->next;
    s->on_snapshot(s, text.failed ? TL_STR("null") : tl_buf_str(&text), (struct tl_position){0, 0}, false);
    tl_buf_release(&text);
}

static void hand_to_list(struct tl_bus *b, struct topic *t, const struct delivery *d, uint64_t number)
{
    for (struct tl_subscription *s = t->subs; s && !b->closing; s = b->walk) {
        struct sub *sub = s->state;
        b->walk = s->next;
        if (sub->phase != SUB_LIVE || sub->from > number) continue;
        b->stats.delivered++;
        if (!d->snapshot)
            s->on_event(s, d->event);
        else if (t->kind == TOPIC_TASKS)
            tasks_to(b, s);
        else
            snapshot_to(s, d->event, d->at, false);
    }
    b->walk = NULL;
}

/* ---- those who are new ---- */

static void new_push(struct tl_bus *b, struct sub *s)
{
    s->phase = SUB_NEW;
    s->next_new = NULL;
    s->prev_new = b->new_tail;
    if (b->new_tail)
        b->new_tail->next_new = s;
    else
        b->new_head = s;
    b->new_tail = s;
    tl_soon_call(b->alarms, &b->deliver);
}

static void new_take(struct tl_bus *b, struct sub *s)
{
    if (s->prev_new)
        s->prev_new->next_new = s->next_new;
    else
        b->new_head = s->next_new;
    if (s->next_new)
        s->next_new->prev_new = s->prev_new;
    else
        b->new_tail = s->prev_new;
    s->prev_new = s->next_new = NULL;
}

/* on_snapshot, then events [i, n) after `since`. Each callback may unsubscribe this one, which frees sub: its pinned op
 * is no longer this one's then, so the bus' walk tells. */
static void recover(struct tl_bus *b, struct tl_subscription *s, struct tl_event *const *events, size_t n)
{
    b->walk = s;
    snapshot_to(s, NULL, s->since, true);
    for (size_t i = 0; i < n && b->walk == s && !b->closing; i++) {
        b->stats.delivered++;
        s->on_event(s, events[i]);
    }
    b->walk = NULL;
}

static void fresh(struct tl_bus *b, struct topic *t, struct tl_subscription *s)
{
    struct sub *sub = s->state;
    struct tl_event *state = t->state ? tl_event_ref(t->state) : NULL;
    sub->phase = SUB_LIVE;
    sub->from = b->next;
    snapshot_to(s, state, t->last, false);
    tl_event_unref(state);
}

/* From what is kept in memory, which reaches back that far. Returns how many calls that took. */
static size_t recover_from_ring(struct tl_bus *b, struct topic *t, struct tl_subscription *s)
{
    struct sub *sub = s->state;
    size_t from = ring_after(&t->ring, s->since), n = t->ring.n - from;
    struct tl_event **events = tl_calloc(n, sizeof(struct tl_event *));
    if (!events) {
        fresh(b, t, s);
        return 1;
    }
    for (size_t i = 0; i < n; i++) events[i] = tl_event_ref(ring_at(&t->ring, from + i));
    sub->phase = SUB_LIVE;
    sub->from = b->next;
    recover(b, s, events, n);
    for (size_t i = 0; i < n; i++) tl_event_unref(events[i]);
    free(events);
    return n + 1;
}

static bool in_ring(const struct topic *t, struct tl_position since)
{
    return !position_none(since) && tl_position_cmp(since, t->ring_from) >= 0 && tl_position_cmp(since, t->last) <= 0;
}

/* Must Redis be read before this one can be served as well as possible? */
static bool wants_read(const struct topic *t, const struct tl_subscription *s)
{
    if (!t->bus->redis) return false;
    if (t->task) return !position_none(s->since) && !in_ring(t, s->since);
    if (!t->synced) return true;
    if (position_none(s->since)) return !t->state && t->known;
    return !in_ring(t, s->since);
}

static size_t attend(struct tl_bus *b, struct sub *sub)
{
    struct topic *t = sub->topic;
    struct tl_subscription *s = sub->op;
    if (t->kind == TOPIC_TASKS) {
        if (!b->loaded) {
            sub->phase = SUB_WAITING; /* tasks.c calls when it knows */
            return 0;
        }
        tasks_to(b, s);
        return 1;
    }
    bool patient = !sub->patience_ns || bus_now_ns(b) < sub->patience_ns;
    bool hopeful = remote_hopeful(b) || (!position_none(s->since) && !in_ring(t, s->since));
    if (t->kind == TOPIC_TASK && wants_read(t, s) && hopeful && patient) {
        if (!sub->patience_ns) sub->patience_ns = bus_now_ns(b) + WAIT_MS * UINT64_C(1000000);
        sub->phase = SUB_WAITING;
        read_begin(t);
        return 0;
    }
    if (t->kind == TOPIC_TASK && in_ring(t, s->since)) return recover_from_ring(b, t, s);
    fresh(b, t, s);
    return 1;
}

static void attend_all(struct tl_bus *b)
{
    size_t done = 0;
    for (struct sub *last = b->new_tail; b->new_head && done < EVENTS_A_TURN && !b->closing;) {
        struct sub *sub = b->new_head;
        new_take(b, sub);
        struct topic *t = sub->topic;
        bool was_last = sub == last;
        t->holds++;
        done += attend(b, sub); /* sub may be gone */
        t->holds--;
        topic_check(t);
        if (was_last || !b->new_tail) break;
    }
}

static void on_deliver(struct tl_soon *soon)
{
    struct tl_bus *b = CONTAINER(soon, struct tl_bus, deliver);
    uint64_t until = b->next; /* what callbacks publish comes in the next turn */
    while (b->first < until && !b->closing) {
        uint64_t number = b->first;
        struct delivery d = *place(b, number);
        b->first++;
        hand_to_list(b, d.topic, &d, number);
        if (d.topic->kind == TOPIC_TASK && !d.snapshot && !d.event->item && !b->closing)
            hand_to_list(b, b->tasks, &d, number);
        release(&d);
    }
    if (!b->closing) attend_all(b);
    if (!b->closing && (b->first < b->next || b->new_head)) tl_soon_call(b->alarms, &b->deliver);
}

void deliver_init(struct tl_bus *b)
{
    b->deliver.call = on_deliver;
}

bool deliver_anybody_waits(const struct topic *t, struct tl_position *least)
{
    bool any = false;
    for (const struct tl_subscription *s = t->subs; s; s = s->next) {
        const struct sub *sub = s->state;
        if (sub->phase == SUB_LIVE) continue; /* NEW ones are about to wait */
        if (position_none(s->since)) {
            if (!any) *least = (struct tl_position){INT64_MAX, UINT64_MAX};
        } else if (!any || tl_position_cmp(s->since, *least) < 0) {
            *least = s->since;
        }
        any = true;
    }
    return any;
}

bool deliver_anybody_live(const struct topic *t)
{
    for (const struct tl_subscription *s = t->subs; s; s = s->next)
        if (((const struct sub *)s->state)->phase == SUB_LIVE) return true;
    return false;
}

void deliver_requeue(struct topic *t, bool all)
{
    uint64_t now = bus_now_ns(t->bus);
    for (struct tl_subscription *s = t->subs; s; s = s->next) {
        struct sub *sub = s->state;
        if (sub->phase == SUB_WAITING && (all || now >= sub->patience_ns)) new_push(t->bus, sub);
    }
}

/* It has more than is known here: it had it from the publisher's own process, which is about to hand it in. */
static bool is_ahead(const struct topic *t, const struct sub *sub)
{
    return remote_hopeful(t->bus) && tl_position_cmp(sub->op->since, t->last) > 0 &&
           bus_now_ns(t->bus) < sub->patience_ns;
}

void deliver_waiting(struct topic *t, struct tl_position asked, const struct tl_position *from,
                     struct tl_event *const *events, size_t n)
{
    struct tl_bus *b = t->bus;
    struct tl_position last = t->last;
    uint64_t mark = b->next;
    bool ahead = false;
    t->holds++;
    for (struct tl_subscription *s = t->subs; s && !b->closing; s = b->walk_waiting) {
        struct sub *sub = s->state;
        b->walk_waiting = s->next;
        if (sub->phase != SUB_WAITING) continue;
        bool resumes = !position_none(s->since);
        bool covered = from && resumes && tl_position_cmp(s->since, *from) >= 0 && tl_position_cmp(s->since, last) <= 0;
        if (resumes && tl_position_cmp(s->since, asked) < 0) {
            new_push(b, sub); /* came when that was already under way */
            continue;
        }
        if (resumes && is_ahead(t, sub)) {
            ahead = true;
            continue;
        }
        if (!covered) {
            fresh(b, t, s);
            continue;
        }
        size_t i = 0;
        while (i < n && tl_position_cmp(events[i]->position, s->since) <= 0) i++;
        sub->phase = SUB_LIVE;
        sub->from = mark; /* what callbacks publish meanwhile is not among the events */
        recover(b, s, events + i, n - i);
    }
    b->walk_waiting = NULL;
    if (ahead && !t->retry.at) bus_alarm(b, &t->retry, AHEAD_MS);
    t->holds--;
    topic_check(t);
}

/* ---- subscribing ---- */

static enum tl_status find_source(struct tl_bus *b, const char *topic, const struct tl_topic_source **out,
                                  struct tl_err *err)
{
    size_t best = 0;
    *out = NULL;
    for (size_t i = 0; i < b->n_sources; i++) {
        const struct tl_topic_source *s = b->sources[i];
        size_t n = strlen(s->prefix);
        bool fits = s->prefix[n - 1] == '/' ? strncmp(topic, s->prefix, n) == 0 : strcmp(topic, s->prefix) == 0;
        if (!fits || n < best) continue;
        best = n;
        *out = s;
    }
    return *out ? TL_OK : tl_fail(err, TL_INVALID, "no such topic: \"%.100s\"", topic);
}

/* The canonical name into op->topic. */
static enum tl_status check_topic(struct tl_bus *b, struct tl_subscription *op, enum topic_kind *kind,
                                  const struct tl_topic_source **source, struct tl_err *err)
{
    char name[TL_TOPIC_MAX + 1] = "";
    *source = NULL;
    if (strnlen(op->topic, sizeof op->topic) == sizeof op->topic)
        return tl_fail(err, TL_INVALID, "a topic of more than %d bytes", TL_TOPIC_MAX);
    *kind = strcmp(op->topic, "tasks") == 0 ? TOPIC_TASKS : TOPIC_TASK;
    if (*kind == TOPIC_TASKS) return TL_OK;
    if (strncmp(op->topic, "task/", 5) == 0) {
        if (task_id_ok(op->topic + 5)) return TL_OK;
        return tl_fail(err, TL_INVALID, "topic \"%.120s\": an id has 1 to %d letters, digits, \".\", \"_\", \"-\"",
                       op->topic, TASK_ID_MAX);
    }
    *kind = TOPIC_SOURCE;
    enum tl_status st = find_source(b, op->topic, source, err);
    if (st == TL_OK && (*source)->check) {
        st = (*source)->check((*source)->ctx, op->topic, name, err);
        if (st == TL_OK) snprintf(op->topic, sizeof op->topic, "%s", name);
    }
    return st;
}

enum tl_status tl_bus_subscribe(struct tl_bus *b, struct tl_subscription *op, struct tl_err *err)
{
    enum topic_kind kind;
    const struct tl_topic_source *source;
    if (b->closing) return tl_fail(err, TL_CANCELLED, "the bus is being closed");
    enum tl_status st = check_topic(b, op, &kind, &source, err);
    if (st != TL_OK) return st;
    struct topic *t = topic_make(b, kind, op->topic);
    struct sub *sub = t ? tl_calloc(1, sizeof *sub) : NULL;
    if (!sub) {
        if (t) topic_check(t);
        return tl_fail(err, TL_NOMEM, "no memory for a subscription");
    }
    *sub = (struct sub){.op = op, .topic = t};
    op->state = sub;
    op->next = NULL;
    op->prev = t->subs_tail;
    if (t->subs_tail)
        t->subs_tail->next = op;
    else
        t->subs = op;
    t->subs_tail = op;
    b->n_subs++;
    if (kind == TOPIC_SOURCE) t->source = source;
    bool first = ++t->n_subs == 1;
    new_push(b, sub);
    if (first && source && source->wanted) source->wanted(source->ctx, t->name, true);
    return TL_OK;
}

/* No longer in any list. */
static void part(struct tl_subscription *op)
{
    struct sub *sub = op->state;
    struct topic *t = sub->topic;
    struct tl_bus *b = t->bus;
    if (sub->phase == SUB_NEW && (sub->prev_new || sub->next_new || b->new_head == sub)) new_take(b, sub);
    if (b->walk == op) b->walk = op->next;
    if (b->walk_waiting == op) b->walk_waiting = op->next;
    if (op->prev)
        op->prev->next = op->next;
    else
        t->subs = op->next;
    if (op->next)
        op->next->prev = op->prev;
    else
        t->subs_tail = op->prev;
    op->state = NULL;
    op->prev = op->next = NULL;
    free(sub);
    t->n_subs--;
    b->n_subs--;
}

void tl_bus_unsubscribe(struct tl_subscription *op)
{
    struct sub *sub = op->state;
    if (!sub) return;
    struct topic *t = sub->topic;
    t->holds++;
    part(op);
    if (t->n_subs == 0 && t->source && t->source->wanted && !t->bus->closing)
        t->source->wanted(t->source->ctx, t->name, false);
    t->holds--;
    topic_check(t);
}

void deliver_end_all(struct tl_bus *b)
{
    for (struct topic *t = b->all; t; t = t->next)
        while (t->subs) part(t->subs);
}

/* ---- topics of this process ---- */

enum tl_status tl_bus_source(struct tl_bus *b, const struct tl_topic_source *source)
{
    TL_ASSERT(source->prefix[0]);
    const struct tl_topic_source **sources =
        tl_realloc(b->sources, b->n_sources + 1, sizeof(const struct tl_topic_source *));
    if (!sources) return TL_NOMEM;
    b->sources = sources;
    b->sources[b->n_sources++] = source;
    return TL_OK;
}

void tl_bus_publish(struct tl_bus *b, const char *topic, const char *type, struct tl_str data)
{
    struct topic *t = topic_find(b, topic);
    if (!t || t->kind != TOPIC_SOURCE || !t->n_subs || b->closing) return;
    struct tl_event *e = tl_event_new(topic, type, (struct tl_position){0, 0}, b->instance, bus_now_ms(b), data);
    if (!e) { /* too large, or no memory: the next one stands for it */
        b->stats.lost++;
        return;
    }
    b->stats.published++;
    tl_event_unref(t->state);
    t->state = tl_event_ref(e);
    deliver_event(t, e);
    tl_event_unref(e);
}
