/* SPDX-License-Identifier: Apache-2.0 */
/* What one reader (a WebSocket, an SSE stream) has subscribed to, and what becomes of events that it is too slow for:
 * of a state the newest is kept, with how many it stands for; lifecycle events wait in the transport's bounded queue,
 * and when that is full the topic is said to be out of step and begun anew from the last event that was sent. An event
 * of a task comes once for each subscription that it is of: its own topic's and, marked as such, "tasks". Loop thread.
 */
#ifndef TL_SERVER_FEED_H
#define TL_SERVER_FEED_H

#include "server/api.h"
#include "server/protocol.h"

enum { FEED_TOPICS_MAX = 200, FEED_PENDING_MAX = 256 };

struct feed;
struct feed_sub;

struct feed_sink {
    /* via: the topic that it was subscribed by, where that is not the event's own ("tasks"); else NULL. FULL: it was
     * not taken; feed_drained will be called. */
    enum tl_status (*event)(void *ctx, struct tl_event *, const char *via);
    /* A document of our own: snapshot, resync, conflated, error. The same. */
    enum tl_status (*document)(void *ctx, enum protocol_out, struct tl_str json);
    /* How much waits for the reader, in bytes. */
    size_t (*backlog)(void *ctx);
    /* feed_drained is to be called once nothing waits any more. */
    void (*tell_drained)(void *ctx);
    void *ctx;
};

struct feed {
    struct api *api;
    struct feed_sink sink;
    struct feed_sub *subs;
    size_t n_subs, n_pending;
    struct tl_alarm later; /* for max_hz */
    uint64_t conflated, resyncs;
};

struct feed_options {
    struct tl_position since; /* 0-0: from a snapshot on */
    bool latest;              /* lifecycle events, too, are merged when the reader is slow */
    double max_hz;            /* of state events of one task; 0: as they come */
};

void feed_init(struct feed *, struct api *, const struct feed_sink *);
void feed_release(struct feed *);
/* INVALID, FULL (topics), NOMEM: what was there stays. Subscribing twice, by whatever spelling, replaces. canonical:
 * the topic's name in snapshots and events [borrow: until the next call]. */
TL_MUSTCHECK enum tl_status feed_subscribe(struct feed *, const char *topic, const struct feed_options *,
                                           const char **canonical, struct tl_err *err);
/* By the canonical name, or as it was asked for. false: not subscribed. */
bool feed_unsubscribe(struct feed *, const char *topic, char canonical[TL_TOPIC_MAX + 1]);
/* The reader has taken all that waited. */
void feed_drained(struct feed *);
/* "task/a=1700000000000-12,..." of every task: where a reader could resume once it has `next`, which is about to be
 * sent by the subscription of its own topic (next NULL: now). */
void feed_positions(const struct feed *, const struct tl_event *next, struct tl_buf *out);

#endif
