/* SPDX-License-Identifier: Apache-2.0 */
/* The daily calculation: many symbols x many indicators, in parallel over symbols. What the store has fresh is not
 * computed again, so a job that was stopped continues where it was. An error of one item never stops the others. */
#ifndef TL_JOB_DAILY_H
#define TL_JOB_DAILY_H

#include "base/clock.h"
#include "schedule/run.h"

#include <uv.h>

struct tl_daily;

/* Counts are of (symbol, indicator) unless they say otherwise. computed + from_cache + skipped + failed == all of
 * them once the job is complete. */
struct tl_daily_progress {
    uint64_t symbols_total, symbols_done;
    uint64_t computed;   /* computed and committed */
    uint64_t from_cache; /* fresh in the store */
    uint64_t skipped;    /* no bar on the date, or not begun when the job was cancelled */
    uint64_t failed;
    uint64_t failed_too_few_bars, failed_no_data, failed_no_factors, failed_other; /* parts of failed */
    uint64_t not_shared; /* symbols of which the cache did not take everything (its queue was full) */
    double seconds;
    double symbols_per_s; /* over the last few seconds */
    double eta_s;         /* negative: not known */
    bool cancelled;
};

/* spec "" when the whole symbol failed. [borrow: during the call] */
struct tl_daily_failure {
    const char *symbol, *spec;
    const struct tl_err *err;
};

struct tl_daily_options {
    struct tl_store *store;
    struct tl_cache *cache;          /* on the same loop, over the same store: gets what was committed; NULL: none */
    const struct tl_symbol *symbols; /* [borrow: until done] without duplicates */
    size_t n_symbols;
    const struct tl_spec *specs; /* [borrow: until done] without duplicates */
    size_t n_specs;
    enum tl_freq freq;
    enum tl_adjust adjust;
    bool drop_suspended, recompute;
    int64_t day_ms;   /* INT64_MIN: any */
    unsigned workers; /* >= 1 */
    struct tl_view_sessions sessions;
    const struct tl_clock *clock;
    unsigned progress_ms; /* how often on_progress is called; 0: 100 */
    /* All on the loop thread; each may be NULL but on_done. */
    void (*on_progress)(void *ctx, const struct tl_daily_progress *);
    void (*on_failure)(void *ctx, const struct tl_daily_failure *);
    /* Once, last. The job is freed after it returns. status: OK, SOME_FAILED, CANCELLED. */
    void (*on_done)(void *ctx, enum tl_status status, const struct tl_daily_progress *);
    void *ctx;
};

/* Starts on `loop`; on_done is called from it. On an error nothing was started. */
TL_MUSTCHECK enum tl_status tl_daily_start(uv_loop_t *loop, const struct tl_daily_options *, struct tl_daily **out,
                                           struct tl_err *err);
/* Begins no further symbol; those under way are finished and committed. Loop thread only; may be called again. */
void tl_daily_cancel(struct tl_daily *);

#endif
