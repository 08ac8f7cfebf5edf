/* SPDX-License-Identifier: Apache-2.0 */
/* A cache with a bus on a loop of its own, and watchers that write down what they get. Include behind "support.h". */
#ifndef TL_TESTS_BUS_FIXTURE_H
#define TL_TESTS_BUS_FIXTURE_H

#include "base/util.h"
#include "cache_fixture.h"
#include "event/bus.h"

struct bus_node {
    struct box box;
    struct tl_bus *bus;
    bool closed, ready;
};

static inline void bus_on_ready(void *ctx, enum tl_status status)
{
    (void)status;
    ((struct bus_node *)ctx)->ready = true;
}

static inline void bus_open_on(struct bus_node *n, const struct tl_bus_options *o)
{
    struct tl_err err;
    enum tl_status st = tl_bus_open(n->box.cache, o, &n->bus, &err);
    if (st != TL_OK) print_message("%s\n", err.text);
    assert_int_equal(st, TL_OK);
}

static inline void bus_node_open(struct bus_node *n, const char *url, const char *store)
{
    struct tl_bus_options o = {.redis_url = url};
    *n = (struct bus_node){.closed = false};
    box_open(&n->box, url, store, NULL);
    bus_open_on(n, &o);
    assert_int_equal(tl_bus_ready(n->bus, bus_on_ready, n), TL_OK);
    box_spin_until(&n->box, &n->ready, 10000);
}

static inline void bus_on_closed(void *ctx)
{
    ((struct bus_node *)ctx)->closed = true;
}

static inline void bus_close_only(struct bus_node *n, uint64_t drain_ms)
{
    n->closed = false;
    tl_bus_close(n->bus, drain_ms, bus_on_closed, n);
    box_spin_until(&n->box, &n->closed, drain_ms + 10000);
    n->bus = NULL;
}

static inline void bus_node_close(struct bus_node *n)
{
    bus_close_only(n, 3000);
    box_close(&n->box);
}

static inline struct tl_bus_stats bus_stats(const struct bus_node *n)
{
    struct tl_bus_stats s;
    tl_bus_stats(n->bus, &s);
    return s;
}

/* ---- watchers ---- */

enum { WATCH_MAX = 20000 };
struct watch {
    struct tl_subscription sub;
    struct tl_bus *bus;
    struct tl_position *life, *all; /* of the lifecycle events; of all */
    size_t n_life, n_all, n_items, snapshots, resyncs, recovered;
    struct tl_position last;
    char snapshot[4096], state[1024], type[TL_EVENT_TYPE_MAX + 1];
    bool ended, disordered, first_seen;
    size_t stop_after; /* unsubscribes itself after so many events; 0: never */
};

static inline void watch_on_snapshot(struct tl_subscription *s, struct tl_str data, struct tl_position at,
                                     bool recovered)
{
    struct watch *w = s->user;
    w->snapshots++;
    if (recovered)
        w->recovered++;
    else if (w->first_seen)
        w->resyncs++;
    w->first_seen = true;
    if (!recovered) {
        w->last = at;
        snprintf(w->snapshot, sizeof w->snapshot, "%.*s", TL_STR_ARG(data));
    }
}

static inline void watch_on_event(struct tl_subscription *s, struct tl_event *e)
{
    struct watch *w = s->user;
    struct tl_str data = tl_event_data(e);
    snprintf(w->type, sizeof w->type, "%s", e->type);
    if (e->position.epoch_ms && strcmp(w->sub.topic, "tasks") != 0) {
        if (tl_position_cmp(e->position, w->last) <= 0) w->disordered = true;
        w->last = e->position;
    }
    assert_true(w->n_all < WATCH_MAX);
    w->all[w->n_all++] = e->position;
    if (e->kind == TL_EVENT_LIFECYCLE) w->life[w->n_life++] = e->position;
    w->n_items += e->item;
    if (!e->item) snprintf(w->state, sizeof w->state, "%.*s", TL_STR_ARG(data));
    if (e->last) w->ended = true;
    if (w->stop_after && w->n_all == w->stop_after) tl_bus_unsubscribe(s);
}

static inline void watch_begin_since(struct watch *w, struct bus_node *n, const char *topic, struct tl_position since)
{
    struct tl_err err;
    *w = (struct watch){.bus = n->bus, .last = since};
    w->life = tl_calloc(WATCH_MAX, sizeof *w->life);
    w->all = tl_calloc(WATCH_MAX, sizeof *w->all);
    assert_true(w->life && w->all);
    w->sub.on_snapshot = watch_on_snapshot;
    w->sub.on_event = watch_on_event;
    w->sub.since = since;
    w->sub.user = w;
    snprintf(w->sub.topic, sizeof w->sub.topic, "%s", topic);
    enum tl_status st = tl_bus_subscribe(n->bus, &w->sub, &err);
    if (st != TL_OK) print_message("%s\n", err.text);
    assert_int_equal(st, TL_OK);
    assert_int_equal(w->snapshots, 0); /* never from within */
}

static inline void watch_begin(struct watch *w, struct bus_node *n, const char *topic)
{
    watch_begin_since(w, n, topic, (struct tl_position){0, 0});
}

static inline void watch_end(struct watch *w)
{
    tl_bus_unsubscribe(&w->sub);
    free(w->life);
    free(w->all);
    w->life = w->all = NULL;
}

/* ---- publishing ---- */

static inline struct tl_task *task_begin_with(struct bus_node *n, const struct tl_task_options *o)
{
    struct tl_task *task;
    struct tl_err err;
    enum tl_status st = tl_task_open(n->bus, o, &task, &err);
    if (st != TL_OK) print_message("%s\n", err.text);
    assert_int_equal(st, TL_OK);
    return task;
}

static inline struct tl_task *task_begin(struct bus_node *n, const char *id)
{
    return task_begin_with(n, &(struct tl_task_options){.id = id, .name = "daily"});
}

static inline void task_say(struct tl_task *task, const char *type, const char *data)
{
    struct tl_err err;
    enum tl_status st = tl_task_event(task, type, tl_str(data), &err);
    if (st != TL_OK) print_message("%s\n", err.text);
    assert_int_equal(st, TL_OK);
}

static inline void task_item(struct tl_task *task, int i)
{
    char data[64];
    snprintf(data, sizeof data, "{\"item\":\"S%d\"}", i);
    task_say(task, "task.item.completed.v1", data);
}

static inline void task_complete(struct tl_task *task)
{
    struct tl_task_progress p = {.state = TL_TASK_COMPLETED, .done = 1, .total = 1, .eta_ms = 0};
    tl_task_end(task, &p);
}

/* Until cond holds; every node's loop turns. */
#define SPIN_NODES_UNTIL(nodes, n_nodes, cond, limit_ms)                                                               \
    do {                                                                                                               \
        uint64_t spin_end = uv_hrtime() + (uint64_t)(limit_ms)*1000000;                                                \
        while (!(cond)) {                                                                                              \
            if (uv_hrtime() > spin_end) fail_msg("not within %d ms: %s", (int)(limit_ms), #cond);                      \
            for (size_t spin_i = 0; spin_i < (n_nodes); spin_i++) uv_run(&(nodes)[spin_i].box.loop, UV_RUN_NOWAIT);    \
            usleep(100);                                                                                               \
        }                                                                                                              \
    } while (0)
#define SPIN_UNTIL(node, cond, limit_ms) SPIN_NODES_UNTIL(node, 1, cond, limit_ms)

static inline void begin(struct redis_server *s, struct bus_node *nodes, size_t n)
{
    redis_server_start(s, NULL);
    for (size_t i = 0; i < n; i++) bus_node_open(&nodes[i], s->url, NULL);
}

static inline void end(struct redis_server *s, struct bus_node *nodes, size_t n)
{
    for (size_t i = 0; i < n; i++) bus_node_close(&nodes[i]);
    redis_server_stop(s);
}

/* Every lifecycle event of one term, once and in order. */
static inline void expect_all(const struct watch *w, size_t n_life, size_t resyncs)
{
    assert_false(w->disordered);
    if (w->n_life != n_life || w->resyncs != resyncs)
        fail_msg("%zu lifecycle events of %zu, %zu resyncs", w->n_life, n_life, w->resyncs);
}

#endif
