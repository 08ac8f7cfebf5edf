/* SPDX-License-Identifier: Apache-2.0 */
/* What is to happen later on a loop: alarms at a time (a heap behind one timer) and calls in the next turn of the loop.
 * Owners hold the alarms; setting and clearing cost O(log n) and never fail once the owner reserved its place. */
#ifndef TL_AIO_ALARMS_H
#define TL_AIO_ALARMS_H

#include "base/clock.h"
#include <stddef.h>
#include <tierline/status.h>
#include <uv.h>

struct tl_alarms;

/* Zero-initialised: not set. [pinned] while set. ring may set, clear and free alarms, this one too. */
struct tl_alarm {
    void (*ring)(struct tl_alarm *);
    uint64_t due_ns; /* monotonic clock */
    size_t at;       /* place in the heap + 1; 0: not set */
};

/* Zero-initialised: not queued. [pinned] while queued. Calls come in the order in which they were queued. */
struct tl_soon {
    void (*call)(struct tl_soon *);
    struct tl_soon *prev, *next;
    bool queued;
};

TL_MUSTCHECK enum tl_status tl_alarms_start(uv_loop_t *, const struct tl_clock *, struct tl_alarms **out,
                                            struct tl_err *err);
/* Nothing may be set any more; cb runs from the loop when the memory is gone. */
void tl_alarms_close(struct tl_alarms *, void (*cb)(void *ctx), void *ctx);

/* NOMEM: not set. Setting one that is set moves it (which cannot fail). ring comes from the loop, never before due_ns.
 */
TL_MUSTCHECK enum tl_status tl_alarm_set(struct tl_alarms *, struct tl_alarm *, uint64_t due_ns);
void tl_alarm_clear(struct tl_alarms *, struct tl_alarm *);
/* No-op when it is queued already. */
void tl_soon_call(struct tl_alarms *, struct tl_soon *);
void tl_soon_cancel(struct tl_alarms *, struct tl_soon *);

#endif
