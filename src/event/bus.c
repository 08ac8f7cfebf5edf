/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing the bus.
 *
 *   open --close--> draining (Redis and the archive get what is queued) --> ending (ops end, connections close) -->
 * freed
 *
 * Subscriptions end as soon as close is called: no callback comes any more. */
#include "event/bus_i.h"

#include "base/err.h"
#include "base/util.h"

#include <stdio.h>
#include <sys/random.h>

uint64_t bus_now_ns(const struct tl_bus *b)
{
    return tl_clock_mono_ns(b->clock);
}

int64_t bus_now_ms(const struct tl_bus *b)
{
    return tl_clock_wall_ms(b->clock);
}

void bus_alarm(struct tl_bus *b, struct tl_alarm *a, uint64_t ms)
{
    (void)!tl_alarm_set(b->alarms, a, bus_now_ns(b) + ms * 1000000); /* no memory: what it is for happens later */
}

/* ---- closing ---- */

static void on_alarms_closed(void *ctx)
{
    struct tl_bus *b = ctx;
    void (*cb)(void *) = b->closed;
    void *cb_ctx = b->closed_ctx;
    free(b->sources);
    free(b);
    if (cb) cb(cb_ctx);
}

/* Nothing is under way any more. */
static void finish(struct tl_bus *b)
{
    histories_free(b);
    deliver_drop_all(b);
    if (b->terms) tasks_end_all(b);
    if (b->archive) archive_free(b);
    tasks_release(b);
    while (b->all) {
        read_release(b->all);
        topic_free(b->all);
    }
    tl_map_free(b->topics);
    tl_alarm_clear(b->alarms, &b->drain);
    tl_alarm_clear(b->alarms, &b->second);
    tl_alarm_clear(b->alarms, &b->decide);
    tl_soon_cancel(b->alarms, &b->deliver);
    tl_soon_cancel(b->alarms, &b->close_soon);
    tl_alarms_close(b->alarms, on_alarms_closed, b);
}

static void part_closed(void *ctx)
{
    struct tl_bus *b = ctx;
    if (--b->open_parts > 0) return;
    TL_ASSERT(b->commands == 0);
    finish(b);
}

static void begin_end(struct tl_bus *b)
{
    b->ending = true;
    histories_end(b);
    controls_end(b);
    tasks_end_readies(b);
    b->open_parts = 1;
    if (b->sub) {
        b->open_parts++;
        tl_redis_sub_close(b->sub, part_closed, b);
    }
    if (b->redis) { /* every command ends, from the loop, before it is closed */
        b->open_parts++;
        tl_redis_close(b->redis, part_closed, b);
    }
    part_closed(b);
}

static void on_close_soon(struct tl_soon *s)
{
    struct tl_bus *b = CONTAINER(s, struct tl_bus, close_soon);
    if (b->ending) return;
    if (!b->drain_over && tasks_drained(b)) archive_flush(b);
    if (b->drain_over || (tasks_drained(b) && archive_idle(b))) begin_end(b);
}

void bus_check_closed(struct tl_bus *b)
{
    if (b->closing && !b->ending) tl_soon_call(b->alarms, &b->close_soon);
}

static void on_drain_over(struct tl_alarm *a)
{
    struct tl_bus *b = CONTAINER(a, struct tl_bus, drain);
    b->drain_over = true;
    bus_check_closed(b);
}

void tl_bus_close(struct tl_bus *b, uint64_t drain_ms, void (*cb)(void *ctx), void *ctx)
{
    if (b->closing) return;
    b->closing = true;
    b->closed = cb;
    b->closed_ctx = ctx;
    deliver_end_all(b);
    b->drain.ring = on_drain_over;
    archive_close(b);
    if (drain_ms == 0 || tl_alarm_set(b->alarms, &b->drain, bus_now_ns(b) + drain_ms * UINT64_C(1000000)) != TL_OK)
        b->drain_over = true;
    bus_check_closed(b);
}

/* ---- opening ---- */

static enum tl_status set_prefix(struct tl_bus *b, const char *prefix, struct tl_err *err)
{
    if (!prefix) prefix = "tierline:";
    if (!prefix[0] || strlen(prefix) >= sizeof b->prefix || strpbrk(prefix, "{} \t\r\n\"\\"))
        return tl_fail(err, TL_INVALID, "prefix \"%.80s\": 1 to %zu bytes without braces, blanks, quotes or \\", prefix,
                       sizeof b->prefix - 1);
    snprintf(b->prefix, sizeof b->prefix, "%s", prefix);
    snprintf(b->index_key, sizeof b->index_key, "%s{tasks}:index", b->prefix);
    return TL_OK;
}

static void set_options(struct tl_bus *b, const struct tl_bus_options *o)
{
    b->ring_events = o->ring_events ? o->ring_events : 4096;
    b->ring_bytes = o->ring_bytes ? o->ring_bytes : (size_t)4 << 20;
    b->stream_events = o->stream_events ? o->stream_events : 20000;
    b->tasks_max = o->tasks_max ? o->tasks_max : 1000;
    b->stalled_ms = o->stalled_ms ? o->stalled_ms : 10000;
    b->timeout_ms = o->redis_timeout_ms ? o->redis_timeout_ms : 500;
}

enum tl_status tl_bus_open(struct tl_cache *c, const struct tl_bus_options *o, struct tl_bus **out, struct tl_err *err)
{
    struct tl_bus *b = tl_calloc(1, sizeof *b);
    if (!b) return tl_fail(err, TL_NOMEM, "no memory for the bus");
    b->cache = c;
    b->clock = c->clock;
    b->log = c->log;
    b->instance = c->instance;
    /* Two buses on one cache are two publishers. */
    if (getrandom(&b->nonce, sizeof b->nonce, 0) != sizeof b->nonce) b->nonce = bus_now_ns(b);
    b->second.ring = tasks_second;
    b->close_soon.call = on_close_soon;
    set_options(b, o);
    deliver_init(b);
    enum tl_status st = set_prefix(b, o->prefix, err);
    if (st == TL_OK) st = tl_alarms_start(c->loop, b->clock, &b->alarms, err);
    if (st != TL_OK) {
        free(b);
        return st;
    }
    b->topics = tl_map_new();
    b->tasks = b->topics ? topic_make(b, TOPIC_TASKS, "tasks") : NULL;
    if (!b->tasks || archive_open(b) != TL_OK) st = tl_fail(err, TL_NOMEM, "no memory for the bus");
    if (st == TL_OK && o->redis_url && o->redis_url[0] && strcmp(o->redis_url, "none") != 0)
        st = remote_open(b, o->redis_url, err);
    if (st != TL_OK) { /* what began on the loop ends on it */
        b->closing = true;
        begin_end(b);
        return st;
    }
    bus_alarm(b, &b->second, 1000);
    if (!b->redis) tasks_load(b);
    *out = b;
    return TL_OK;
}

void tl_bus_on_market(struct tl_bus *b, void (*cb)(void *ctx, struct tl_str envelope), void *ctx)
{
    b->on_market = cb;
    b->market_ctx = ctx;
}

void tl_bus_stats(const struct tl_bus *b, struct tl_bus_stats *out)
{
    *out = b->stats;
    out->topics = b->n_topics;
    out->subscriptions = b->n_subs;
    out->queued = b->queued;
    out->queued_bytes = b->queued_bytes;
    for (const struct tl_task *k = b->terms; k; k = k->next) {
        out->queued += k->n_early + k->ending;
        out->queued_bytes += k->early_bytes;
    }
    out->redis_up = b->redis_up && b->sub_up;
}
