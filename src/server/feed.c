/* SPDX-License-Identifier: Apache-2.0 */
/* The order per topic is kept: a state that waits goes out before a lifecycle event of the same task, never after it. A
 * topic that is out of step sends nothing until the reader has caught up; then it subscribes again, from its last
 * position. */
#include "server/feed.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/util.h"

#include <stdio.h>

enum { BACKLOG_BYTES = 16384, RESYNC_BATCH = 8, SNAPSHOT_BYTES = 4 * TL_EVENT_BYTES_MAX };

struct pending { /* the newest state of a task that waits */
    struct pending *next;
    struct tl_event *event; /* NULL: nothing waits, it is kept for sent_ns */
    uint64_t topic;         /* hash of the task's */
    uint64_t stands_for, sent_ns;
};

struct feed_sub {
    struct tl_subscription sub;
    struct feed *feed;
    struct feed_options opt;
    struct pending *pending;
    struct tl_position last; /* that was sent */
    bool out_of_step;
    struct feed_sub *next, *prev;
    char asked[]; /* as it was spelled */
};

static uint64_t now_ns(const struct feed *f)
{
    return tl_clock_mono_ns(f->api->clock);
}

/* ---- sending ---- */

static void fall_out_of_step(struct feed_sub *s)
{
    struct feed *f = s->feed;
    s->out_of_step = true;
    f->resyncs++;
    while (s->pending) {
        struct pending *p = s->pending;
        s->pending = p->next;
        f->n_pending--;
        tl_event_unref(p->event);
        free(p);
    }
    tl_bus_unsubscribe(&s->sub);
    f->sink.tell_drained(f->sink.ctx);
}

/* NULL: by the event's own topic. */
static const char *via(const struct feed_sub *s, const struct tl_event *e)
{
    return strcmp(s->sub.topic, e->topic) == 0 ? NULL : s->sub.topic;
}

static bool send_document(struct feed_sub *s, enum protocol_out op, const struct tl_buf *b)
{
    struct feed *f = s->feed;
    if (b->failed || f->sink.document(f->sink.ctx, op, tl_buf_str(b)) != TL_OK) {
        fall_out_of_step(s);
        return false;
    }
    return true;
}

static bool send_event(struct feed_sub *s, struct tl_event *e)
{
    struct feed *f = s->feed;
    if (f->sink.event(f->sink.ctx, e, via(s, e)) != TL_OK) {
        fall_out_of_step(s);
        return false;
    }
    if (e->position.epoch_ms) s->last = e->position;
    return true;
}

static bool send_pending(struct feed_sub *s, struct pending *p)
{
    struct tl_event *e = p->event;
    uint64_t stands_for = p->stands_for;
    bool ok = true;
    p->event = NULL;
    p->stands_for = 0;
    p->sent_ns = now_ns(s->feed);
    if (stands_for > 1) {
        struct tl_buf b;
        struct tl_json j;
        s->feed->conflated += stands_for - 1;
        protocol_begin(&b, &j, PROTOCOL_conflated, 4096);
        tl_json_key(&j, "topic");
        tl_json_cstr(&j, e->topic);
        if (via(s, e)) {
            tl_json_key(&j, "via");
            tl_json_cstr(&j, via(s, e));
        }
        tl_json_key(&j, "count"); /* events that the next one stands for */
        tl_json_u64(&j, stands_for);
        tl_json_object_end(&j);
        ok = send_document(s, PROTOCOL_conflated, &b);
        tl_buf_release(&b);
    }
    if (ok) ok = send_event(s, e);
    tl_event_unref(e);
    return ok;
}

static uint64_t due_ns(const struct feed_sub *s, const struct pending *p)
{
    return s->opt.max_hz > 0 && p->sent_ns > 0 ? p->sent_ns + (uint64_t)(1e9 / s->opt.max_hz) : 0;
}

/* Everything that may go out now; the rest has an alarm, or waits for the reader. */
static void flush(struct feed *f)
{
    uint64_t now = now_ns(f), next = UINT64_MAX;
    for (struct feed_sub *s = f->subs, *after; s; s = after) {
        after = s->next;
        for (struct pending *p = s->pending, *then; p && !s->out_of_step; p = then) {
            then = p->next;
            if (!p->event) continue;
            if (f->sink.backlog(f->sink.ctx) > BACKLOG_BYTES) {
                f->sink.tell_drained(f->sink.ctx);
                return;
            }
            if (due_ns(s, p) > now)
                next = TL_MIN(next, due_ns(s, p));
            else if (!send_pending(s, p))
                break;
        }
    }
    if (next != UINT64_MAX) (void)!tl_alarm_set(f->api->cache->alarms, &f->later, next);
}

static void on_later(struct tl_alarm *a)
{
    flush((struct feed *)(void *)((char *)a - offsetof(struct feed, later)));
}

/* That waits for this task, or (make) a place for it. */
static struct pending *pending_of(struct feed_sub *s, const char *topic, bool make)
{
    uint64_t hash = tl_hash64(topic, strlen(topic)), now = now_ns(s->feed);
    struct pending *idle = NULL;
    for (struct pending *p = s->pending; p; p = p->next) {
        if (p->topic == hash && (p->event || make)) return p;
        if (!p->event && due_ns(s, p) <= now) idle = p;
    }
    if (!make) return NULL;
    if (!idle) {
        idle = s->feed->n_pending < FEED_PENDING_MAX ? tl_calloc(1, sizeof *idle) : NULL;
        if (!idle) return NULL;
        s->feed->n_pending++;
        idle->next = s->pending;
        s->pending = idle;
    }
    idle->topic = hash;
    return idle;
}

static void on_state(struct feed_sub *s, struct tl_event *e)
{
    struct feed *f = s->feed;
    bool slow = f->sink.backlog(f->sink.ctx) > BACKLOG_BYTES;
    if (!slow && s->opt.max_hz <= 0) {
        struct pending *p = pending_of(s, e->topic, false);
        if (!p) {
            (void)send_event(s, e);
            return;
        }
    }
    struct pending *p = pending_of(s, e->topic, true);
    if (!p) { /* too many tasks at once for a slow reader */
        fall_out_of_step(s);
        return;
    }
    tl_event_unref(p->event);
    p->event = tl_event_ref(e);
    p->stands_for++;
    flush(f);
}

static void on_event(struct tl_subscription *sub, struct tl_event *e)
{
    struct feed_sub *s = sub->user;
    if (e->kind == TL_EVENT_STATE || (s->opt.latest && !e->last)) {
        on_state(s, e);
        return;
    }
    struct pending *p = pending_of(s, e->topic, false);
    if (p && !send_pending(s, p)) return;
    (void)send_event(s, e);
}

static void on_snapshot(struct tl_subscription *sub, struct tl_str data, struct tl_position at, bool recovered)
{
    struct feed_sub *s = sub->user;
    char position[TL_POSITION_MAX];
    struct tl_buf b;
    struct tl_json j;
    protocol_begin(&b, &j, PROTOCOL_snapshot, SNAPSHOT_BYTES);
    tl_json_key(&j, "topic");
    tl_json_cstr(&j, sub->topic);
    tl_position_format(at, position);
    tl_json_key(&j, "position");
    tl_json_cstr(&j, at.epoch_ms ? position : NULL);
    tl_json_key(&j, "recovered");
    tl_json_bool(&j, recovered);
    protocol_raw(&b, &j, "data", data.n ? data : TL_STR("null"));
    tl_json_object_end(&j);
    if (send_document(s, PROTOCOL_snapshot, &b) && at.epoch_ms && !recovered) s->last = at;
    tl_buf_release(&b);
}

/* ---- subscribing ---- */

static struct feed_sub *find(const struct feed *f, const char *topic)
{
    for (struct feed_sub *s = f->subs; s; s = s->next)
        if (strcmp(s->sub.topic, topic) == 0 || strcmp(s->asked, topic) == 0) return s;
    return NULL;
}

static void drop(struct feed *f, struct feed_sub *s)
{
    tl_bus_unsubscribe(&s->sub);
    while (s->pending) {
        struct pending *p = s->pending;
        s->pending = p->next;
        f->n_pending--;
        tl_event_unref(p->event);
        free(p);
    }
    TL_ASSERT(!s->prev == (f->subs == s));
    if (s->prev)
        s->prev->next = s->next;
    else
        f->subs = s->next;
    if (s->next) s->next->prev = s->prev;
    f->n_subs--;
    free(s);
}

void feed_init(struct feed *f, struct api *api, const struct feed_sink *sink)
{
    *f = (struct feed){.api = api, .sink = *sink};
    f->later.ring = on_later;
}

void feed_release(struct feed *f)
{
    while (f->subs) drop(f, f->subs);
    tl_alarm_clear(f->api->cache->alarms, &f->later);
}

static void replace(struct feed *f, const struct feed_sub *by)
{
    for (struct feed_sub *s = f->subs, *next; s; s = next) {
        next = s->next;
        if (s != by && strcmp(s->sub.topic, by->sub.topic) == 0) drop(f, s);
    }
}

enum tl_status feed_subscribe(struct feed *f, const char *topic, const struct feed_options *opt, const char **canonical,
                              struct tl_err *err)
{
    size_t n = strlen(topic);
    if (n > TL_TOPIC_MAX) return tl_fail(err, TL_INVALID, "a topic has at most %d bytes", TL_TOPIC_MAX);
    if (f->n_subs >= FEED_TOPICS_MAX && !find(f, topic))
        return tl_fail(err, TL_FULL, "at most %d topics", FEED_TOPICS_MAX);
    struct feed_sub *s = tl_calloc(1, sizeof *s + n + 1);
    if (!s) return tl_fail(err, TL_NOMEM, "no memory for a topic");
    memcpy(s->asked, topic, n);
    s->feed = f;
    s->opt = *opt;
    s->last = opt->since;
    s->sub.since = opt->since;
    s->sub.on_event = on_event;
    s->sub.on_snapshot = on_snapshot;
    s->sub.user = s;
    memcpy(s->sub.topic, topic, n);
    enum tl_status st = tl_bus_subscribe(f->api->bus, &s->sub, err);
    if (st != TL_OK) {
        free(s);
        return st;
    }
    s->next = f->subs;
    if (f->subs) f->subs->prev = s;
    f->subs = s;
    f->n_subs++;
    replace(f, s);
    *canonical = s->sub.topic;
    return TL_OK;
}

bool feed_unsubscribe(struct feed *f, const char *topic, char canonical[TL_TOPIC_MAX + 1])
{
    struct feed_sub *s = find(f, topic);
    if (!s) return false;
    memcpy(canonical, s->sub.topic, sizeof s->sub.topic);
    drop(f, s);
    return true;
}

/* What cannot be begun anew is over, and the reader is told. false: the reader takes nothing now. */
static bool give_up(struct feed *f, struct feed_sub *s, const struct tl_err *why)
{
    struct tl_buf b;
    struct tl_json j;
    protocol_begin(&b, &j, PROTOCOL_error, 4096);
    tl_json_key(&j, "code");
    tl_json_cstr(&j, tl_status_name(why->status));
    tl_json_key(&j, "topic");
    tl_json_cstr(&j, s->sub.topic);
    tl_json_key(&j, "detail");
    tl_json_cstr(&j, "the subscription is over");
    tl_json_object_end(&j);
    bool ok = !b.failed && f->sink.document(f->sink.ctx, PROTOCOL_error, tl_buf_str(&b)) == TL_OK;
    tl_buf_release(&b);
    if (ok) drop(f, s);
    return ok;
}

/* In step again: from the last event that was sent, or a snapshot where that is too long ago. */
static bool begin_anew(struct feed *f, struct feed_sub *s)
{
    struct tl_buf b;
    struct tl_json j;
    struct tl_err err = {.status = TL_OK};
    protocol_begin(&b, &j, PROTOCOL_resync, 4096);
    tl_json_key(&j, "topic");
    tl_json_cstr(&j, s->sub.topic);
    tl_json_object_end(&j);
    bool ok = !b.failed && f->sink.document(f->sink.ctx, PROTOCOL_resync, tl_buf_str(&b)) == TL_OK;
    tl_buf_release(&b);
    s->sub.since = s->last;
    if (ok && tl_bus_subscribe(f->api->bus, &s->sub, &err) == TL_OK) {
        s->out_of_step = false;
        return true;
    }
    if (ok && give_up(f, s, &err)) return true;
    f->sink.tell_drained(f->sink.ctx);
    return false;
}

/* A few at a time: what they send must be taken before the next begin. */
void feed_drained(struct feed *f)
{
    size_t begun = 0;
    for (struct feed_sub *s = f->subs, *next; s; s = next) {
        next = s->next;
        if (!s->out_of_step) continue;
        if (begun++ == RESYNC_BATCH) {
            f->sink.tell_drained(f->sink.ctx);
            break;
        }
        if (!begin_anew(f, s)) break;
    }
    flush(f);
}

void feed_positions(const struct feed *f, const struct tl_event *next, struct tl_buf *out)
{
    for (const struct feed_sub *s = f->subs; s; s = s->next) {
        char position[TL_POSITION_MAX];
        bool is_next = next && strcmp(s->sub.topic, next->topic) == 0;
        struct tl_position at = is_next ? next->position : s->last;
        if (!at.epoch_ms || strncmp(s->sub.topic, "task/", 5) != 0) continue;
        tl_position_format(at, position);
        tl_buf_printf(out, "%s%s=%s", out->n ? "," : "", s->sub.topic, position);
    }
}
