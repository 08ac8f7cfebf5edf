/* SPDX-License-Identifier: Apache-2.0 */
/* The indicators of one symbol, computed once across all processes: what the store has fresh is taken, the rest is
 * asked for together (once.h), computed in one pass over bars read in one snapshot, and kept in all tiers. */
#ifndef TL_SCHEDULE_SYMBOL_H
#define TL_SCHEDULE_SYMBOL_H

#include "schedule/once.h"
#include "schedule/run.h"

struct tl_indicators;

struct tl_indicator_item {
    struct tl_spec spec; /* in */
    /* out */
    enum tl_status status;
    enum tl_source source;
    enum tl_freshness freshness;
    bool waited, taken_over, duplicated; /* as in struct once_result */
    struct tl_err err;                   /* when status is not OK */
    struct tl_series series;             /* [own] with want_rows, of OK */
    /* the op's */
    struct tl_indicators *op;
    struct once_waiter waiter;
};

/* [pinned] with its items until cb. */
struct tl_indicators {
    /* in */
    struct tl_symbol symbol;
    enum tl_freq freq;
    enum tl_adjust adjust;
    bool drop_suspended, recompute;
    bool want_rows;
    bool want_kept; /* cb comes once the store has what it is to have; then there is no deadline */
    int64_t day_ms; /* INT64_MIN, or: the trading date the symbol must have a bar on */
    const struct tl_view_sessions *sessions; /* [borrow: as long as the scheduler] */
    uint64_t deadline_ms;                    /* 0: none */
    size_t count;
    struct tl_indicator_item *items; /* without duplicates */
    void (*cb)(struct tl_indicators *);
    void *user;
    /* out */
    bool no_bar_on_day;    /* nothing was done */
    enum tl_status status; /* OK; otherwise the bars could not be read, and every item says so */
    struct tl_err err;
    enum tl_status kept; /* of writing to the store, with want_kept */
    struct tl_err kept_err;
    /* the op's */
    struct tl_scheduler *s;
    size_t open; /* items and sources that are not over */
    bool begun;
    struct tl_alarm deadline;
    struct tl_soon soon;
};

/* The scheduler's cache has a store. cb exactly once, from the loop, after this returns. */
void tl_indicators_get(struct tl_scheduler *, struct tl_indicators *);
/* What is not over ends as CANCELLED. */
void tl_indicators_cancel(struct tl_indicators *);

#endif
