/* SPDX-License-Identifier: Apache-2.0 */
/* The connections to Redis, and the messages of other processes. A message is the next event of its topic, or was seen
 * already, or shows that something was missed: then the topic is read. While a topic is read its messages wait; while
 * the Pub/Sub connection is away everything counts as missed. */
#include "event/bus_i.h"

#include "base/err.h"
#include "base/util.h"
#include "cache/announce.h"

#include <stdio.h>

enum { CHANNEL_PROGRESS, CHANNEL_LIFECYCLE, CHANNEL_CONTROL, CHANNEL_MARKET, CHANNELS, BACKOFF_MAX_MS = 1000 };

/* "ev:{task/<id>}": an id needs no encoding, everything else is percent-encoded as in all keys. */
static void key_of(const struct tl_bus *b, const char *kind, const char *topic, char out[TASK_KEY_MAX])
{
    snprintf(out, TASK_KEY_MAX, "%s%s{%s}", b->prefix, kind, topic);
}

void remote_keys(const struct tl_bus *b, const char *topic, char ev[TASK_KEY_MAX], char snap[TASK_KEY_MAX])
{
    key_of(b, "ev:", topic, ev);
    key_of(b, "snap:", topic, snap);
}

/* ---- messages ---- */

void remote_drop_backlog(struct topic *t)
{
    for (size_t i = 0; i < t->n_backlog; i++) tl_event_unref(t->backlog[i]);
    free(t->backlog);
    t->backlog = NULL;
    t->n_backlog = 0;
    t->backlog_over = false;
}

static void put_aside(struct topic *t, struct tl_event *e)
{
    if (!t->backlog) t->backlog = tl_calloc(BACKLOG_MAX, sizeof(struct tl_event *));
    if (t->backlog && t->n_backlog < BACKLOG_MAX)
        t->backlog[t->n_backlog++] = tl_event_ref(e);
    else
        t->backlog_over = true;
}

void remote_backlog(struct topic *t)
{
    struct tl_event **events = t->backlog;
    size_t n = t->n_backlog;
    bool over = t->backlog_over;
    t->backlog = NULL;
    t->n_backlog = 0;
    t->backlog_over = false;
    t->holds++;
    for (size_t i = 0; i < n; i++) {
        remote_heard(t, events[i]);
        tl_event_unref(events[i]);
    }
    free(events);
    t->holds--;
    if (!over) return;
    t->synced = false;
    if (topic_followed(t)) read_begin(t);
}

static bool is_next(const struct topic *t, const struct tl_event *e)
{
    if (e->position.epoch_ms == t->last.epoch_ms) return e->position.seq == t->last.seq + 1;
    return position_none(t->last) && t->synced && e->position.seq == 1;
}

/* Its very first event, of a task that was not among those that Redis listed: nothing can have been missed. Who watches
 * the task itself has it read all the same. */
static bool begins(const struct topic *t, const struct tl_event *e)
{
    const struct tl_bus *b = t->bus;
    return e->position.seq == 1 && !t->known && position_none(t->last) && !t->lost && !t->n_subs && b->sub_up &&
           b->loaded && !b->loading;
}

void remote_heard(struct topic *t, struct tl_event *e)
{
    if (t->task && t->task->phase != TASK_CLAIMING) {
        if (e->position.epoch_ms <= t->task->epoch_ms) return; /* ours, or of a term that is over */
        task_fence(t->task);
    }
    if (t->read) {
        put_aside(t, e);
        return;
    }
    if (tl_position_cmp(e->position, t->last) <= 0) return;
    if (begins(t, e)) t->synced = true;
    if (is_next(t, e)) {
        topic_accept(t, e);
    } else if (topic_followed(t) || t->lost) {
        t->synced = false;
        put_aside(t, e);
        read_begin(t);
    } else { /* nobody misses what was missed; who comes later reads it */
        t->synced = false;
        topic_accept(t, e);
    }
}

static void on_event_message(struct tl_bus *b, struct tl_str payload)
{
    struct tl_event *e;
    if (tl_event_parse(payload, &e, NULL) != TL_OK) return;
    bool ours = strncmp(e->topic, "task/", 5) == 0 && task_id_ok(e->topic + 5) && e->position.epoch_ms > 0 &&
                tl_event_type_of_task(e->type);
    struct topic *t = ours ? topic_make(b, TOPIC_TASK, e->topic) : NULL;
    if (t) {
        t->holds++;
        remote_heard(t, e);
        t->holds--;
        topic_check(t);
    }
    tl_event_unref(e);
}

static void on_market_message(struct tl_bus *b, struct tl_str payload)
{
    struct tl_announcement a;
    if (!b->on_market || !memmem(payload.p, payload.n, "market.update.v1", 16)) return;
    if (!tl_announcement_parse(payload, &a) || a.type != TL_ANNOUNCE_MARKET || a.source == b->instance) return;
    b->on_market(b->market_ctx, payload);
}

static void on_message(void *ctx, struct tl_str channel, struct tl_str payload)
{
    struct tl_bus *b = ctx;
    if (b->closing) return;
    if (tl_str_eq(channel, tl_str(b->channels[CHANNEL_MARKET])))
        on_market_message(b, payload);
    else if (tl_str_eq(channel, tl_str(b->channels[CHANNEL_CONTROL])))
        control_message(b, payload);
    else
        on_event_message(b, payload);
}

/* ---- connections ---- */

bool remote_hopeful(const struct tl_bus *b)
{
    return b->redis && (!b->decided || (b->redis_up && b->sub_up));
}

static void both_up(struct tl_bus *b)
{
    b->decided = true;
    if (b->loading || b->loaded)
        tasks_reload(b);
    else
        tasks_load(b);
    read_up(b);
}

static void decide(struct tl_bus *b)
{
    if (b->decided || b->closing) return;
    b->decided = true;
    tasks_load(b);
    read_up(b);
}

static void on_decide(struct tl_alarm *a)
{
    decide(CONTAINER(a, struct tl_bus, decide));
}

/* What is heard from here on is not all. A publisher may have lost its connection, too: it gets its time anew. */
static void connection_lost(struct tl_bus *b, bool deaf)
{
    for (struct topic *t = b->all; t; t = t->next) {
        if (t->kind != TOPIC_TASK) continue;
        if (deaf) t->synced = false;
        tl_alarm_clear(b->alarms, &t->grace);
        t->grace_over = false;
    }
}

static void on_redis_state(void *ctx, bool up, const struct tl_err *why)
{
    struct tl_bus *b = ctx;
    (void)why;
    b->redis_up = up;
    if (b->ending) return;
    if (!up) {
        connection_lost(b, false);
        decide(b);
        return;
    }
    if (b->sub_up && !b->closing) both_up(b);
    handin_up(b);
}

static void on_sub_state(void *ctx, bool up, const struct tl_err *why)
{
    struct tl_bus *b = ctx;
    (void)why;
    b->sub_up = up;
    if (b->closing) return;
    if (!up) {
        connection_lost(b, true);
        decide(b);
    } else if (b->redis_up) {
        both_up(b);
    }
}

enum tl_status remote_open(struct tl_bus *b, const char *url, struct tl_err *err)
{
    static const char *const names[CHANNELS] = {"channel:task:progress", "channel:task:lifecycle",
                                                "channel:task:control", "channel:market:update"};
    struct tl_redis_options ro = {.client_name = "tierline",
                                  .scripts = bus_scripts,
                                  .n_scripts = BUS_SCRIPTS,
                                  .backoff_max_ms = BACKOFF_MAX_MS,
                                  .clock = b->clock,
                                  .log = b->log,
                                  .on_state = on_redis_state,
                                  .ctx = b};
    enum tl_status st = tl_redis_address_parse(url, &ro.address, err);
    if (st == TL_OK) st = tl_redis_start(b->cache->loop, &ro, &b->redis, err);
    if (st != TL_OK) return st;
    for (size_t i = 0; i < CHANNELS; i++) {
        snprintf(b->channels[i], sizeof b->channels[i], "%s%s", b->prefix, names[i]);
        b->channel_list[i] = b->channels[i];
    }
    struct tl_redis_sub_options so = {
        .base = ro, .channels = b->channel_list, .n_channels = CHANNELS, .on_message = on_message};
    so.base.on_state = on_sub_state;
    so.base.log = NULL; /* the command connection says it */
    b->decide.ring = on_decide;
    bus_alarm(b, &b->decide, b->timeout_ms);
    return tl_redis_sub_start(b->cache->loop, &so, &b->sub, err);
}
