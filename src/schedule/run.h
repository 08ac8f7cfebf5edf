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
    struct tl_err err; /* when status is not OK */
    /* In: a series that was found elsewhere, taken when it is fresh. [own: the run's, from tl_run_symbol on] */
    struct tl_series offered;
    enum tl_source offered_from; /* NONE: nothing is offered */
    struct tl_series series;     /* [own] head only where it came from the store and rows were not asked for */
};

struct tl_run {
    /* wanted */
    struct tl_symbol symbol;
    enum tl_freq freq;
    enum tl_adjust adjust;
    bool drop_suspended; /* leave out flat bars without volume; their rows repeat the row before */
    bool want_rows;      /* also read the rows of what is fresh in the store */
    bool want_view;      /* keep the bars in `view` */
    bool recompute;      /* take nothing from the store */
    bool provisional;    /* with the bar that is not final: computed anew, never collected */
    int64_t day_ms;      /* INT64_MIN, or: the trading date the symbol must have a bar on */
    uint64_t generation; /* newest invalidation known before the run (tl_generations_newest); 0: none */
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

/* Gives what was computed to the tiers above the store, with the times of its bars and their version: nothing that the
 * store does not have. Loop thread of the cache, after the commit. FULL: the queue has no room for all. */
TL_MUSTCHECK enum tl_status tl_run_share(const struct tl_run *, struct tl_cache *);

/* The same in two steps, for those who compute on other threads than the cache's: entries first, on any thread. */
struct tl_shared {
    size_t n;
    struct tl_entry **entries; /* [own] NULL: memory is out */
};
void tl_run_entries(const struct tl_run *, struct tl_shared *out);
TL_MUSTCHECK enum tl_status tl_shared_put(struct tl_shared *, const struct tl_run *, struct tl_cache *);
void tl_shared_release(struct tl_shared *);

/* Fills `put` with the computed items (tl_store_put_prepare is the caller's next step). put->items needs room
 * for run->count; rows stay the run's. Returns how many there are. */
size_t tl_run_collect(const struct tl_run *, struct tl_store_put *put);

#endif
