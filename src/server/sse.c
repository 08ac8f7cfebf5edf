/* SPDX-License-Identifier: Apache-2.0 */
/* Server-sent events: GET /events?topic=... carries what the WebSocket does, for clients that have only HTTP. Snapshots
 * and the like come as events of their own names, events by their type (docs/protocol.md); the id names the last
 * position of every task, and Last-Event-ID resumes from there. */
#include "base/err.h"
#include "base/util.h"
#include "server/feed.h"

#include <stdio.h>

enum {
    QUEUE_BYTES = 256 * 1024,
    TOKEN_CHECK_MS = 1000,
    CHECKS_PER_ALIVE = 15,
    RETRY_MS = 2000,
    TOPICS_MAX = 20,
    IDS_BYTES = 8192
};

struct sse {
    struct api *api;
    struct tl_http_stream *stream;
    struct feed feed;
    struct tl_alarm check;
    unsigned checks; /* since the last sign of life */
    struct tl_identity who;
    struct sse *prev, *next;
};

/* id: "" none. */
static enum tl_status write_block(struct sse *s, const char *name, struct tl_str data, struct tl_str id)
{
    struct tl_buf b;
    tl_buf_init(&b, 2 << 20);
    if (id.n) tl_buf_printf(&b, "id: %.*s\n", TL_STR_ARG(id));
    tl_buf_printf(&b, "event: %s\ndata: ", name);
    tl_buf_put(&b, data.p, data.n);
    tl_buf_puts(&b, "\n\n");
    enum tl_status st = b.failed ? TL_NOMEM : tl_http_stream_write(s->stream, tl_buf_str(&b));
    tl_buf_release(&b);
    return st;
}

static enum tl_status sink_event(void *ctx, struct tl_event *e, const char *via)
{
    struct sse *s = ctx;
    struct tl_buf id, json;
    tl_buf_init(&id, IDS_BYTES);
    tl_buf_init(&json, (size_t)2 * TL_EVENT_BYTES_MAX);
    if (e->position.epoch_ms && !via) feed_positions(&s->feed, e, &id);
    if (via) protocol_put_via(&json, (struct tl_str){e->json, e->n}, via);
    enum tl_status st = json.failed ? TL_NOMEM
                                    : write_block(s, e->type, via ? tl_buf_str(&json) : (struct tl_str){e->json, e->n},
                                                  tl_buf_str(&id));
    tl_buf_release(&id);
    tl_buf_release(&json);
    return st;
}

static enum tl_status sink_document(void *ctx, enum protocol_out op, struct tl_str json)
{
    return write_block(ctx, protocol_out_name(op), json, TL_STR(""));
}

static size_t sink_backlog(void *ctx)
{
    return tl_http_stream_queued(((struct sse *)ctx)->stream);
}

static void on_drained(void *ctx)
{
    feed_drained(&((struct sse *)ctx)->feed);
}

static void sink_tell_drained(void *ctx)
{
    struct sse *s = ctx;
    tl_http_stream_tell_drained(s->stream);
}

static void forget(struct api *api, struct sse *s)
{
    feed_release(&s->feed);
    tl_alarm_clear(api->cache->alarms, &s->check);
    TL_ASSERT(!s->prev == (api->streams == s));
    if (s->prev)
        s->prev->next = s->next;
    else
        api->streams = s->next;
    if (s->next) s->next->prev = s->prev;
    free(s);
}

/* The stream has ended, or its client has gone. */
static void on_gone(void *ctx)
{
    struct sse *s = ctx;
    forget(s->api, s);
}

static void say_bye(struct api *api, struct sse *s, const char *why)
{
    struct tl_buf json;
    struct tl_http_stream *stream = s->stream;
    protocol_bye(&json, why, RETRY_MS);
    if (!json.failed) (void)!write_block(s, protocol_out_name(PROTOCOL_bye), tl_buf_str(&json), TL_STR(""));
    tl_buf_release(&json);
    forget(api, s);
    tl_http_stream_end(stream);
}

void sse_bye(struct api *api)
{
    while (api->streams) say_bye(api, api->streams, "the server is going away");
}

/* false: no memory; never once it was set, as it only moves then. */
static bool check_later(struct sse *s)
{
    uint64_t due = tl_clock_mono_ns(s->api->clock) + TOKEN_CHECK_MS * UINT64_C(1000000);
    return tl_alarm_set(s->api->cache->alarms, &s->check, due) == TL_OK;
}

static void on_check(struct tl_alarm *a)
{
    struct sse *s = (struct sse *)(void *)((char *)a - offsetof(struct sse, check));
    const char *ended = tl_auth_ended(s->api->auth, &s->who);
    if (ended) {
        say_bye(s->api, s, ended);
        return;
    }
    if (++s->checks == CHECKS_PER_ALIVE) {
        s->checks = 0;
        (void)!tl_http_stream_write(s->stream, TL_STR(": alive\n\n"));
    }
    (void)check_later(s);
}

/* Of "task/a=1-2,task/b=3-4" the position of a topic. */
static struct tl_position position_in(struct tl_str ids, struct tl_str topic)
{
    struct tl_str part;
    struct tl_position at = {.epoch_ms = 0};
    while (ids.p && tl_str_split(&ids, ',', &part)) {
        const char *eq = memrchr(part.p, '=', part.n);
        if (!eq || !tl_str_eq((struct tl_str){part.p, (size_t)(eq - part.p)}, topic)) continue;
        struct tl_str text = {eq + 1, part.n - (size_t)(eq - part.p) - 1};
        if (tl_position_parse(text, &at)) return at;
    }
    return (struct tl_position){.epoch_ms = 0};
}

/* Parted by commas, but for those in the parentheses of a spec: "tasks,indicator/AAPL/1d/MACD(12,26,9)". */
static bool next_topic(struct tl_str *rest, struct tl_str *topic)
{
    size_t i = 0, depth = 0;
    if (!rest->p) return false;
    for (; i < rest->n && (depth > 0 || rest->p[i] != ','); i++) {
        if (rest->p[i] == '(') depth++;
        if (rest->p[i] == ')' && depth > 0) depth--;
    }
    *topic = (struct tl_str){rest->p, i};
    *rest = i == rest->n ? (struct tl_str){NULL, 0} : (struct tl_str){rest->p + i + 1, rest->n - i - 1};
    return true;
}

static enum tl_status subscribe_all(struct sse *s, const char *topics, struct tl_str ids, double max_hz,
                                    struct tl_err *err)
{
    struct tl_str rest = tl_str(topics), topic;
    size_t n = 0;
    while (next_topic(&rest, &topic)) {
        const char *canonical;
        char name[TL_TOPIC_MAX + 1];
        if (topic.n == 0 || topic.n > TL_TOPIC_MAX)
            return tl_fail(err, TL_INVALID, "topic: 1 to %d bytes", TL_TOPIC_MAX);
        if (++n > TOPICS_MAX) return tl_fail(err, TL_FULL, "topic: at most %d of them", TOPICS_MAX);
        snprintf(name, sizeof name, "%.*s", TL_STR_ARG(topic));
        struct feed_options o = {.since = position_in(ids, topic), .max_hz = max_hz};
        enum tl_status st = feed_subscribe(&s->feed, name, &o, &canonical, err);
        if (st != TL_OK) return st;
    }
    return TL_OK;
}

void api_get_events(struct api_call *c)
{
    struct api *api = c->api;
    struct tl_str ids = tl_http_header(c->http, "Last-Event-ID");
    const char *since = api_text(c, "since");
    if (!ids.p && since) ids = tl_str(since);
    if (api->draining) {
        api_problem(c, 503, "CANCELLED", NULL, "the server is going away");
        return;
    }
    struct sse *s = tl_calloc(1, sizeof *s);
    if (!s) {
        api_fail(c, TL_NOMEM, NULL, NULL);
        return;
    }
    s->api = api;
    s->who = c->who;
    s->check.ring = on_check;
    const struct feed_sink sink = {.event = sink_event,
                                   .document = sink_document,
                                   .backlog = sink_backlog,
                                   .tell_drained = sink_tell_drained,
                                   .ctx = s};
    feed_init(&s->feed, api, &sink);
    enum tl_status st = subscribe_all(s, api_text(c, "topic"), ids, (double)api_number(c, "max_hz", 0), &c->err);
    if (st != TL_OK) {
        feed_release(&s->feed);
        free(s);
        api_fail(c, st, "topic", &c->err);
        return;
    }
    if (api_stream(c, "text/event-stream", QUEUE_BYTES, on_gone, s, &s->stream) != TL_OK) {
        feed_release(&s->feed);
        free(s);
        return;
    }
    s->next = api->streams;
    if (api->streams) api->streams->prev = s;
    api->streams = s;
    tl_http_stream_on_drained(s->stream, on_drained, s);
    char retry[32];
    snprintf(retry, sizeof retry, "retry: %d\n\n", RETRY_MS);
    (void)!tl_http_stream_write(s->stream, tl_str(retry));
    if (!check_later(s)) say_bye(api, s, "no memory");
}
