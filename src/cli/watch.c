/* SPDX-License-Identifier: Apache-2.0 */
/* `tierline watch`: events as they happen, from the Redis that all processes share. Progress is drawn as a bar,
 * everything else is a line; --json prints the envelopes. Ends with Ctrl-C, or with the task that is watched alone. */
#include "base/err.h"
#include "base/util.h"
#include "cli/commands.h"
#include "cli/out.h"
#include "cli/tiers.h"
#include "event/bus.h"
#include "server/options.h"

#include <inttypes.h>
#include <jansson.h>
#include <signal.h>

enum { TOPICS_MAX = 32, READY_MS = 3000 };

struct watching {
    struct watch *watch;
    struct tl_subscription sub;
};

struct watch {
    struct tl_cli *cli;
    uv_loop_t loop;
    struct tl_cache *cache;
    struct tl_bus *bus;
    uv_signal_t interrupt;
    struct tl_progress bar;
    struct tl_topic_source market;
    struct watching topics[TOPICS_MAX];
    size_t n;
    bool json, ending, bar_drawn, signals;
    struct tl_err redis;
    bool ready;
};

/* ---- printing ---- */

static void end(struct watch *w);

static void line(struct watch *w, const struct tl_event *e, const char *text)
{
    char when[32];
    int64_t s = e->time_ms / 1000 % 86400;
    if (w->bar_drawn) tl_progress_clear(&w->bar);
    snprintf(when, sizeof when, "%02" PRId64 ":%02" PRId64 ":%02" PRId64, s / 3600, s / 60 % 60, s % 60);
    fprintf(w->cli->out, "%s  %-24s  %s\n", when, e->topic, text);
    fflush(w->cli->out);
}

static void show_progress(struct watch *w, const struct tl_task_progress *p)
{
    tl_progress_update(&w->bar, p->done, p->total, p->failed, p->item[0] ? p->item : NULL);
    w->bar_drawn = true;
}

static const char *text_in(const json_t *data, const char *key)
{
    const char *text = json_string_value(json_object_get(data, key));
    return text ? text : "";
}

static void show_task(struct watch *w, const struct tl_event *e)
{
    struct tl_task_progress p;
    char id[TL_TOPIC_MAX + 1], name[72], text[400];
    struct tl_str data = tl_event_data(e);
    if (strcmp(e->type, "task.progress.v1") == 0) {
        if (tl_task_progress_parse(data, id, name, &p, NULL) == TL_OK) show_progress(w, &p);
        return;
    }
    json_t *doc = json_loadb(data.p ? data.p : "", data.n, 0, NULL);
    if (e->item && strcmp(e->type, "task.item.failed.v1") == 0) {
        snprintf(text, sizeof text, "failed     %s %s: %s", text_in(doc, "symbol"), text_in(doc, "spec"),
                 text_in(doc, "error"));
    } else if (e->item) {
        snprintf(text, sizeof text, "completed  %s", text_in(doc, "symbol"));
    } else if (tl_task_progress_parse(data, id, name, &p, NULL) == TL_OK) {
        char seconds[TL_HUMAN_MAX];
        if (e->last)
            snprintf(text, sizeof text,
                     "%s %s: %" PRIu64 " of %" PRIu64 " symbols, computed %" PRIu64 ", from cache %" PRIu64
                     ", waited %" PRIu64 ", failed %" PRIu64 ", %s%s%s",
                     name, tl_task_state_name(p.state), p.done, p.total, p.computed, p.from_cache, p.waited, p.failed,
                     tl_human_seconds(seconds, (double)p.elapsed_ms / 1e3), p.error[0] ? ": " : "", p.error);
        else
            snprintf(text, sizeof text, "%s started: %" PRIu64 " symbols", name, p.total);
    } else {
        snprintf(text, sizeof text, "%s", e->type);
    }
    json_decref(doc);
    line(w, e, text);
}

static void on_event(struct tl_subscription *sub, struct tl_event *e)
{
    struct watch *w = ((struct watching *)sub->user)->watch;
    if (w->json) {
        fwrite(e->json, 1, e->n, w->cli->out);
        fputc('\n', w->cli->out);
        fflush(w->cli->out);
    } else if (strncmp(e->topic, "task/", 5) == 0) {
        show_task(w, e);
    } else {
        struct tl_str data = tl_event_data(e);
        char text[600];
        snprintf(text, sizeof text, "%.*s", (int)TL_MIN(data.n, sizeof text - 1), data.p ? data.p : "");
        line(w, e, text);
    }
    if (e->last && w->n == 1 && strncmp(sub->topic, "task/", 5) == 0) end(w);
}

/* {"op":"snapshot",...} as the server's WebSocket says it. */
static void show_snapshot_json(struct watch *w, const struct tl_subscription *sub, struct tl_str data,
                               struct tl_position at, bool recovered)
{
    char position[TL_POSITION_MAX] = "";
    if (at.epoch_ms) tl_position_format(at, position);
    fprintf(w->cli->out, "{\"op\":\"snapshot\",\"topic\":\"%s\",\"position\":%s%s%s,\"recovered\":%s,\"data\":%.*s}\n",
            sub->topic, at.epoch_ms ? "\"" : "", at.epoch_ms ? position : "null", at.epoch_ms ? "\"" : "",
            recovered ? "true" : "false", data.n ? (int)data.n : 4, data.n ? data.p : "null");
    fflush(w->cli->out);
}

static void on_snapshot(struct tl_subscription *sub, struct tl_str data, struct tl_position at, bool recovered)
{
    struct watch *w = ((struct watching *)sub->user)->watch;
    struct tl_task_progress p;
    char id[TL_TOPIC_MAX + 1], name[72];
    if (w->json) {
        show_snapshot_json(w, sub, data, at, recovered);
        return;
    }
    if (strncmp(sub->topic, "task/", 5) != 0 || tl_task_progress_parse(data, id, name, &p, NULL) != TL_OK) return;
    show_progress(w, &p);
    if (!tl_task_state_over(p.state)) return;
    tl_progress_clear(&w->bar);
    fprintf(w->cli->out, "%s is over: %s\n", sub->topic, tl_task_state_name(p.state));
    if (w->n == 1) end(w);
}

/* ---- the market, as other processes announce it ---- */

static enum tl_status check_market(void *ctx, const char *topic, char out[TL_TOPIC_MAX + 1], struct tl_err *err)
{
    struct tl_symbol symbol;
    (void)ctx;
    enum tl_status st = tl_symbol_parse(tl_str(topic + strlen("market/")), TL_MARKET_NONE, &symbol, err);
    if (st == TL_OK) snprintf(out, TL_TOPIC_MAX + 1, "market/%s", symbol.text);
    return st;
}

static void on_market(void *ctx, struct tl_str envelope)
{
    struct watch *w = ctx;
    json_t *doc = json_loadb(envelope.p, envelope.n, 0, NULL);
    const json_t *data = json_object_get(doc, "data");
    const char *symbol = json_string_value(json_object_get(data, "symbol"));
    char *text = symbol ? json_dumps(data, JSON_COMPACT) : NULL;
    char topic[TL_TOPIC_MAX + 1];
    if (text && strcmp(text_in(doc, "type"), "market.update.v1") == 0) {
        snprintf(topic, sizeof topic, "market/%.64s", symbol);
        tl_bus_publish(w->bus, topic, "market.update.v1", tl_str(text));
    }
    free(text);
    json_decref(doc);
}

/* ---- from the first to the last ---- */

static void on_cache_closed(void *ctx)
{
    struct watch *w = ctx;
    if (w->signals) uv_close((uv_handle_t *)&w->interrupt, NULL);
}

static void on_bus_closed(void *ctx)
{
    struct watch *w = ctx;
    if (w->cache)
        tl_cache_close(w->cache, on_cache_closed, w);
    else
        on_cache_closed(w);
}

static void end(struct watch *w)
{
    if (w->ending) return;
    w->ending = true;
    if (w->bar_drawn) tl_progress_clear(&w->bar);
    for (size_t i = 0; i < w->n; i++) tl_bus_unsubscribe(&w->topics[i].sub);
    if (w->bus)
        tl_bus_close(w->bus, 0, on_bus_closed, w);
    else
        on_bus_closed(w);
}

static void on_interrupt(uv_signal_t *handle, int number)
{
    (void)number;
    end(handle->data);
}

static void on_ready(void *ctx, enum tl_status status, const struct tl_err *err)
{
    struct watch *w = ctx;
    w->ready = true;
    w->redis.status = status;
    if (err) w->redis = *err;
}

static enum tl_status open_bus(struct watch *w, struct tl_err *err)
{
    const struct tl_config *cfg = w->cli->cfg;
    static const struct tl_log silent = {.level = TL_LOG_OFF, .fd = 2};
    const struct tl_cache_options_inside inside = {.clock = w->cli->clock, .log = &silent, .silent = true};
    struct tl_cache_options co;
    enum tl_status st = tl_cache_options_read(cfg, &co, err);
    if (st != TL_OK) return st;
    co.memory_bytes = 1 << 24;
    st = tl_cache_open_inside(&w->loop, &co, &inside, &w->cache, err);
    tl_cache_options_release(&co);
    if (st == TL_OK) st = tl_cache_ready(w->cache, READY_MS, on_ready, w);
    while (st == TL_OK && !w->ready) uv_run(&w->loop, UV_RUN_ONCE);
    if (st == TL_OK && w->redis.status != TL_OK) tl_cli_warn(w->cli, "waiting for Redis: %s", w->redis.text);
    const struct tl_bus_options bo = {.redis_url = tl_config_str(cfg, "redis"),
                                      .prefix = tl_config_str(cfg, "redis.prefix"),
                                      .redis_timeout_ms = (uint32_t)tl_config_int(cfg, "redis.timeout_ms")};
    if (st == TL_OK) st = tl_bus_open(w->cache, &bo, &w->bus, err);
    w->market = (struct tl_topic_source){.prefix = "market/", .check = check_market, .ctx = w};
    if (st == TL_OK) st = tl_bus_source(w->bus, &w->market);
    if (st == TL_OK) tl_bus_on_market(w->bus, on_market, w);
    return st;
}

static enum tl_status subscribe(struct watch *w, struct tl_err *err)
{
    const char *since = tl_cli_opt(w->cli, "since");
    struct tl_position at = {.epoch_ms = 0};
    if (since && !tl_position_parse(tl_str(since), &at))
        return tl_fail(err, TL_INVALID, "--since: '%.64s' is no position like 1700000000000-12", since);
    unsigned n = tl_cli_argc(w->cli);
    if (n > TOPICS_MAX) return tl_fail(err, TL_INVALID, "at most %d topics", TOPICS_MAX);
    for (unsigned i = 0; i < TL_MAX(n, 1u); i++) {
        struct watching *t = &w->topics[i];
        const char *topic = n ? tl_cli_arg(w->cli, i) : "tasks";
        if (strlen(topic) > TL_TOPIC_MAX) return tl_fail(err, TL_INVALID, "a topic has at most %d bytes", TL_TOPIC_MAX);
        t->watch = w;
        t->sub = (struct tl_subscription){.since = at, .on_event = on_event, .on_snapshot = on_snapshot, .user = t};
        snprintf(t->sub.topic, sizeof t->sub.topic, "%s", topic);
        enum tl_status st = tl_bus_subscribe(w->bus, &t->sub, err);
        if (st != TL_OK) return st;
        w->n++;
    }
    return TL_OK;
}

enum tl_status tl_cmd_watch(struct tl_cli *cli, struct tl_err *err)
{
    if (tl_cli_no_redis(cli)) {
        tl_cli_hint(cli, "without a Redis the events are those of a server: GET /events?topic=tasks, or its WebSocket");
        return tl_fail(err, TL_INVALID, "events of other processes come through a Redis: --redis URL");
    }
    struct watch *w = tl_calloc(1, sizeof *w);
    if (!w) return tl_fail(err, TL_NOMEM, "no memory to watch");
    w->cli = cli;
    w->json = tl_cli_flag(cli, "json");
    tl_progress_init(&w->bar, cli, "watch", "symbols");
    int rc = uv_loop_init(&w->loop);
    if (rc != 0) {
        free(w);
        return tl_fail(err, TL_IO, "cannot start the event loop: %s", uv_strerror(rc));
    }
    enum tl_status st = open_bus(w, err);
    if (st == TL_OK) st = subscribe(w, err);
    if (st == TL_OK) {
        w->signals = true;
        uv_signal_init(&w->loop, &w->interrupt);
        w->interrupt.data = w;
        uv_signal_start(&w->interrupt, on_interrupt, SIGINT);
    } else {
        end(w);
    }
    uv_run(&w->loop, UV_RUN_DEFAULT);
    rc = uv_loop_close(&w->loop);
    TL_ASSERT(rc == 0);
    free(w);
    return st;
}
