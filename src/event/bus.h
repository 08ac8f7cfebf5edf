/* SPDX-License-Identifier: Apache-2.0 */
/* The event bus of a process: what is published here reaches every subscriber of the topic in this process and, through
 * Redis where there is one, in all others on the prefix. Loop thread of its cache.
 *
 * Topics: task/<id>, tasks (every task's events but those of items), and the topics of sources (market/<symbol>,
 * indicator/<symbol>/<freq>/<spec>, cache/stats, locks), which are of this process: state, without positions.
 *
 * A task's events, with a Redis, go by one script to a capped stream, a snapshot and PUBLISH:
 *   ev:{task/<id>}    stream of the lifecycle events, XADD with the position as its explicit id, which fences a
 *                     publisher whose term is over: when it fails, nothing else is written
 *   snap:{task/<id>}  hash: state (the envelope of the last event with the state), position, life (the last entry of
 * the stream), ... and the owner of the term {tasks}:index     sorted set: id -> time of its last beginning
 *   channel:task:progress (STATE), channel:task:lifecycle (LIFECYCLE), channel:task:control (cancel, retry)
 * A lost reply costs nothing: the same event handed in twice is there once. Without a Redis, or while it is away, the
 * subscribers of this process get every event all the same; Redis gets what it missed afterwards, in order. What Redis
 * has lost (restart, FLUSHALL) the publisher hands in again. docs/events.md has the wire format. Lifecycle events and
 * the last state of a task are kept in the cache's tiers, too (data type "tierline.task"), so that ended tasks can be
 * shown after a restart of all. */
#ifndef TL_EVENT_BUS_H
#define TL_EVENT_BUS_H

#include "cache/cache.h"
#include "event/event.h"

struct tl_bus;
struct tl_bus_options {
    const char *redis_url; /* NULL or "none": this process alone */
    const char *prefix;    /* NULL: "tierline:" */
    uint32_t redis_timeout_ms;
    size_t ring_events;   /* kept in memory for a topic; 0: 4096 */
    size_t ring_bytes;    /* 0: 4 MiB */
    size_t stream_events; /* kept in Redis for a task; 0: 20000 */
    uint32_t tasks_max;   /* tasks remembered in memory; 0: 1000. The longest ended go first */
    uint32_t stalled_ms;  /* a running task that says nothing for that long is stalled; 0: 10000 */
};
/* The cache is open and outlives the bus. Does not block; a Redis that is not there is no error. */
TL_MUSTCHECK enum tl_status tl_bus_open(struct tl_cache *, const struct tl_bus_options *, struct tl_bus **out,
                                        struct tl_err *err);
/* Hands in what is queued (at most drain_ms), ends subscriptions without a call, calls cb, frees. Idempotent. */
void tl_bus_close(struct tl_bus *, uint64_t drain_ms, void (*cb)(void *ctx), void *ctx);

/* ---- subscribing ---- */

/* [pinned] until tl_bus_unsubscribe. Callbacks come from the loop, never from within subscribe, in the order of the
 * topic; each may subscribe and unsubscribe anything. */
struct tl_subscription {
    /* in */
    char topic[TL_TOPIC_MAX + 1];
    struct tl_position since; /* of a task: what came after it is wanted; 0-0: a snapshot */
    /* First, and again whenever events were lost: the state now [borrow: during the call]. recovered: `since` was
     * found: data is empty, and everything after it follows. Otherwise data is the JSON of the snapshot ("null":
     * nothing is known yet), which stands for everything up to `at`. */
    void (*on_snapshot)(struct tl_subscription *, struct tl_str data, struct tl_position at, bool recovered);
    void (*on_event)(struct tl_subscription *, struct tl_event *); /* ref it to keep it */
    void *user;
    /* the bus's */
    void *state;
    struct tl_subscription *prev, *next;
};
/* INVALID: no such topic; NOMEM. A task that nobody knows is no error: it may begin yet. */
TL_MUSTCHECK enum tl_status tl_bus_subscribe(struct tl_bus *, struct tl_subscription *, struct tl_err *err);
void tl_bus_unsubscribe(struct tl_subscription *); /* no-op when it is not subscribed */

/* Events of a task after `since`, the oldest first, at most max. [pinned] until cb, once, from the loop. */
struct tl_history {
    void (*cb)(struct tl_history *, enum tl_status); /* OK, NOT_FOUND, IO, TIMEOUT, CANCELLED */
    void *user;
    struct tl_event **events; /* out [own] unref each, free() */
    size_t n;
    bool complete; /* nothing between since and the first is missing */
    void *state;
};
TL_MUSTCHECK enum tl_status tl_bus_history(struct tl_bus *, struct tl_history *, const char *topic,
                                           struct tl_position since, size_t max, uint64_t deadline_ms,
                                           struct tl_err *err);

/* ---- topics of this process ---- */

/* Who makes the events of every topic that begins with prefix, from when somebody wants one. */
struct tl_topic_source {
    const char *prefix; /* "market/"; a whole topic ("locks") */
    /* Checks the topic and writes it in its canonical form. INVALID, NOT_FOUND. */
    enum tl_status (*check)(void *ctx, const char *topic, char out[TL_TOPIC_MAX + 1], struct tl_err *err);
    /* The first subscriber has come, the last has gone. May publish, later or at once. */
    void (*wanted)(void *ctx, const char *topic, bool wanted);
    void *ctx;
};
/* [borrow: until the bus is closed] NOMEM. */
TL_MUSTCHECK enum tl_status tl_bus_source(struct tl_bus *, const struct tl_topic_source *);
/* STATE, without a position. The last one is the snapshot of those who come later. No-op when nobody wants it. */
void tl_bus_publish(struct tl_bus *, const char *topic, const char *type, struct tl_str data);

/* Every market.update.v1 of other processes, from Redis [borrow: during the call]. NULL: none. */
void tl_bus_on_market(struct tl_bus *, void (*cb)(void *ctx, struct tl_str envelope), void *ctx);

/* ---- publishing a task ---- */

enum tl_task_state {
    TL_TASK_QUEUED,
    TL_TASK_RUNNING,
    TL_TASK_STALLED,
    TL_TASK_CANCELLING,
    TL_TASK_COMPLETED,
    TL_TASK_FAILED,
    TL_TASK_CANCELLED
};
const char *tl_task_state_name(enum tl_task_state); /* "queued" ... */
bool tl_task_state_parse(struct tl_str, enum tl_task_state *out);
static inline bool tl_task_state_over(enum tl_task_state s)
{
    return s >= TL_TASK_COMPLETED;
}

/* The data of task.progress.v1, task.started.v1 and of the three that end a task; also what a snapshot is.
 * {"task","name","state","done","total","failed","skipped","from_cache","computed","waited","rate","eta_ms","item",
 *  "elapsed_ms", "error" (where there is one)} */
struct tl_task_progress {
    enum tl_task_state state;
    uint64_t done, total; /* of symbols */
    uint64_t failed, skipped, from_cache, computed, waited;
    double rate;    /* symbols a second; 0: not known */
    int64_t eta_ms; /* negative: not known */
    char item[72];  /* the last symbol */
    int64_t elapsed_ms;
    char error[200];
};
void tl_task_progress_json(struct tl_buf *out, const char *id, const char *name, const struct tl_task_progress *);
TL_MUSTCHECK enum tl_status tl_task_progress_parse(struct tl_str json, char id[TL_TOPIC_MAX + 1], char name[72],
                                                   struct tl_task_progress *out, struct tl_err *err);

struct tl_task; /* the publishing end of task/<id>: a term */
struct tl_task_options {
    const char *id;   /* letters, digits, ".", "_", "-"; at most 100 */
    const char *name; /* what it is, for people: "daily", "import" */
    /* At most once: another process has begun a later term; nothing that is published here counts any more. */
    void (*on_fenced)(void *ctx);
    void (*on_control)(void *ctx, const char *op); /* "cancel", asked for by anybody */
    void *ctx;
};
/* Begins a term. Its epoch is max(last + 1, Redis' time in ms), ours without a Redis. Events may be published at once:
 * they wait for the epoch. INVALID (id), NOMEM, CONFLICT (this process has a term of it). */
TL_MUSTCHECK enum tl_status tl_task_open(struct tl_bus *, const struct tl_task_options *, struct tl_task **out,
                                         struct tl_err *err);
/* At most 10 a second go out (the newest), and one every 2 s while the state is not over, also without a call. */
void tl_task_progress(struct tl_task *, const struct tl_task_progress *);
/* A lifecycle event; data: JSON. started, item.completed, item.failed and those of a foreign job
 * ("task.item.failed.v1"). FULL: the queue for Redis is over its bound (or 32 MiB wait to be delivered here). INVALID:
 * no type of a task, or data is no JSON of one line; the types of progress and of the end are said by the calls for
 * them. TOO_LARGE, NOMEM. Fenced: OK, and nothing happens. */
TL_MUSTCHECK enum tl_status tl_task_event(struct tl_task *, const char *type, struct tl_str data, struct tl_err *err);
/* The last event, by the state (completed, failed, cancelled), and frees the handle: what is queued still goes out. Is
 * taken in any case. Every handle is ended or abandoned before the bus is closed. */
void tl_task_end(struct tl_task *, const struct tl_task_progress *);
/* Frees without a last event: the process hands the task over. */
void tl_task_abandon(struct tl_task *);
struct tl_position
tl_task_position(const struct tl_task *); /* of the last event; seq 0: none yet; 0-0: nor is the epoch known */

/* Tells whoever publishes the task, in any process: "cancel". cb once, from the loop: OK: it was sent. */
struct tl_control {
    void (*cb)(struct tl_control *, enum tl_status);
    void *user;
    void *state;
};
TL_MUSTCHECK enum tl_status tl_bus_control(struct tl_bus *, struct tl_control *, const char *id, const char *op,
                                           struct tl_err *err);

/* ---- the tasks that are known ---- */

struct tl_task_info {
    char id[TL_TOPIC_MAX + 1], name[72];
    struct tl_task_progress progress;
    struct tl_position position;
    int64_t started_ms, updated_ms;
};
/* The newest first; cb returns false to stop. Complete once tl_bus_ready has called. */
void tl_bus_tasks(struct tl_bus *, bool (*cb)(void *ctx, const struct tl_task_info *), void *ctx);
/* cb once, from the loop, when what Redis and the store know of tasks has been read, or cannot be. */
TL_MUSTCHECK enum tl_status tl_bus_ready(struct tl_bus *, void (*cb)(void *ctx, enum tl_status), void *ctx);

struct tl_bus_stats {
    uint64_t published, delivered, fenced, replayed, repaired, resyncs, stream_reads, lost;
    size_t topics, subscriptions, queued, queued_bytes;
    bool redis_up;
};
void tl_bus_stats(const struct tl_bus *, struct tl_bus_stats *);

#endif
