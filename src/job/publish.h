/* SPDX-License-Identifier: Apache-2.0 */
/* A daily calculation as a task on the bus: started, progress, an item for every symbol that is over and for every
 * failure, and the end. What is published costs the calculation nothing but the writing of the events: no call here
 * waits or fails. */
#ifndef TL_JOB_PUBLISH_H
#define TL_JOB_PUBLISH_H

#include "base/rng.h"
#include "event/bus.h"
#include "job/daily.h"

struct tl_publisher_options {
    struct tl_bus *bus; /* NULL: nothing is published, every call below is a no-op */
    const char *id, *name;
    const struct tl_clock *clock;
    /* Each at most once, from the loop; may be NULL. */
    void (*on_cancel)(void *ctx); /* somebody asks for it */
    void (*on_fenced)(void *ctx); /* another process goes on with the task */
    void *ctx;
};

/* [pinned] between open and end or abandon. */
struct tl_publisher {
    struct tl_publisher_options opt;
    struct tl_task *task; /* NULL: not open */
    struct tl_task_progress last;
    struct tl_buf text;
    uint64_t began_ns;
    uint64_t lost; /* events that the bus had no room for */
    bool cancel_told;
};

/* Begins a term of the task. A task that cannot be opened is not published; why says it (may be NULL). */
void tl_publisher_open(struct tl_publisher *, const struct tl_publisher_options *, struct tl_err *why);
/* The task begins, with that many symbols. */
void tl_publisher_started(struct tl_publisher *, uint64_t symbols);
/* A state without anything that is counted: queued, running (while what is wanted is looked up), cancelling. */
void tl_publisher_state(struct tl_publisher *, enum tl_task_state);
void tl_publisher_progress(struct tl_publisher *, const struct tl_daily_progress *);
void tl_publisher_symbol(struct tl_publisher *, const struct tl_daily_symbol *);
void tl_publisher_failure(struct tl_publisher *, const struct tl_daily_failure *);
/* The last event: COMPLETED, FAILED (with the reason) or CANCELLED, with what was counted last. */
void tl_publisher_end(struct tl_publisher *, enum tl_task_state, const char *error);
/* No last event: another goes on, or nobody knows. No-op when it is not open. */
void tl_publisher_abandon(struct tl_publisher *);

/* What was counted, as progress of a task. */
void tl_publisher_count(struct tl_task_progress *, const struct tl_daily_progress *);

#endif
