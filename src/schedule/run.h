/* SPDX-License-Identifier: Apache-2.0 */
/* One symbol's indicators: check which the store has fresh, compute the others in one pass over bars that are read
 * once, and hand the results to the caller, who commits them.
 * Always over the whole history: recursive indicators depend on where they begin. */
#ifndef TL_SCHEDULE_RUN_H
#define TL_SCHEDULE_RUN_H

#include "base/clock.h"
#include "cache/cache.h"
#include "schedule/view.h"

#include <tierline/indicator.h>

enum tl_source { TL_SOURCE_NONE, TL_SOURCE_MEMORY, TL_SOURCE_REDIS, TL_SOURCE_STORE, TL_SOURCE_COMPUTED };
const char *tl_source_name(enum tl_source);

struct tl_run_item {
    struct tl_spec spec;
    enum tl_status status;
    enum tl_source source;
    struct tl_err err;       /* when status is not OK */
    struct tl_series series; /* [own] head only where it came from the store and rows were not asked for */
};

struct tl_run {
    /* wanted */
    struct tl_symbol symbol;
    enum tl_freq freq;
    enum tl_adjust adjust;
    bool drop_suspended; /* leave out flat bars without volume; their rows repeat the row before */
    bool want_rows;      /* also read the rows of what is fresh in the store */
    bool want_view;      /* keep the bars in `view` */
    bool want_stored;    /* take what is fresh in the store */
    bool only_check;     /* compute nothing: what is not fresh in the store stays without a source */
    bool provisional;    /* with the bar that is not final: computed anew, never collected */
    int64_t day_ms;      /* INT64_MIN, or: the trading date the symbol must have a bar on */
    size_t count;
    struct tl_run_item *items; /* [borrow] */
    /* results */
    bool no_bar_on_day; /* nothing was done: the symbol has no bar on day_ms */
    struct tl_version version;
    struct tl_view view; /* [own] */
};

/* The text under which a spec's series is stored: canonical, with settings that change the output behind it. */
void tl_run_key(const struct tl_run *, const struct tl_spec *, struct tl_series_key *key);

/* Blocking; reads through `reader`, writes nothing. Fills every item. OK also when items failed; otherwise
 * (no data, damaged store, no memory) the whole symbol failed, and every item says so.
 * Release with tl_run_release in any case. */
TL_MUSTCHECK enum tl_status tl_run_symbol(struct tl_run *, struct tl_store_reader *reader,
                                          const struct tl_view_sessions *, const struct tl_clock *, struct tl_err *err);
/* Frees series and view; items stay the caller's. */
void tl_run_release(struct tl_run *);

/* [own] The times of the bars in the view, as an entry; NULL: memory is out, or it would be too large. */
struct tl_entry *tl_run_times(const struct tl_run *, int64_t now_ms);

/* Fills `put` with the computed items (tl_store_put_prepare is the caller's next step). put->items needs room
 * for run->count; rows stay the run's. Returns how many there are. */
size_t tl_run_collect(const struct tl_run *, struct tl_store_put *put);

#endif
