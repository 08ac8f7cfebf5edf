/* SPDX-License-Identifier: Apache-2.0 */
/* One event: a CloudEvents 1.0 envelope in one line of JSON, made once, immutable, shared by all who get it.
 *
 *   {"specversion":"1.0","id":"task/7f3a/1700000000000-12","source":"tierline/<instance>","type":"task.progress.v1",
 *    "subject":"task/7f3a","time":"2024-01-02T03:04:05.678Z","sequence":"1700000000000-12","data":{...}}
 *
 * subject is the topic. Events of a task have a position (epoch_ms, seq), written "<epoch_ms>-<seq>"; others have none
 * (0-0), and no "sequence". */
#ifndef TL_EVENT_EVENT_H
#define TL_EVENT_EVENT_H

#include "base/buf.h"
#include "base/str.h"
#include <tierline/status.h>

enum { TL_TOPIC_MAX = 200, TL_EVENT_TYPE_MAX = 40, TL_EVENT_BYTES_MAX = 65536, TL_POSITION_MAX = 42 };

struct tl_position {
    int64_t epoch_ms; /* of the publisher's term; a later publisher of the topic has a higher one */
    uint64_t seq;     /* from 1, without gaps within an epoch */
};
int tl_position_cmp(struct tl_position a, struct tl_position b);
/* "1700000000000-12"; false: none. */
bool tl_position_parse(struct tl_str, struct tl_position *out);
void tl_position_format(struct tl_position, char out[TL_POSITION_MAX]);

/* What becomes of events that a reader is too slow for. */
enum tl_event_kind {
    TL_EVENT_STATE,    /* a newer one of the same topic stands for all before it: progress, market.update, statistics */
    TL_EVENT_LIFECYCLE /* never dropped or merged: started, item completed or failed, completed, failed, cancelled */
};

struct tl_event {
    _Atomic unsigned refs;
    enum tl_event_kind kind;
    bool item; /* task.item.*: not for the topic "tasks" */
    bool last; /* nothing comes after it in its epoch: completed, failed, cancelled */
    struct tl_position position;
    int64_t time_ms;
    char type[TL_EVENT_TYPE_MAX + 1];
    char topic[TL_TOPIC_MAX + 1];
    void *frame; /* of the transport that sends it: made once, by its loop thread; freed by free_frame */
    void (*free_frame)(void *);
    size_t n; /* of json, without its NUL */
    char json[];
};

/* [own] data: one JSON value, in one line; "": none. kind, item and last follow from the type. NULL: memory is out or
 * it would be larger than TL_EVENT_BYTES_MAX. */
struct tl_event *tl_event_new(const char *topic, const char *type, struct tl_position, uint64_t instance,
                              int64_t time_ms, struct tl_str data);
/* [own] From the wire. INVALID: not an envelope of ours (no JSON, fields missing, too long, topic or position bad). */
TL_MUSTCHECK enum tl_status tl_event_parse(struct tl_str json, struct tl_event **out, struct tl_err *err);
struct tl_event *tl_event_ref(struct tl_event *);
void tl_event_unref(struct tl_event *); /* NULL is fine */
/* The text of "data" inside json [borrow: as long as the event]; empty: none. */
struct tl_str tl_event_data(const struct tl_event *);

#endif
