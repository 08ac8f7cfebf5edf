/* SPDX-License-Identifier: Apache-2.0 */
/* The daily calculation: many symbols x many indicators, in parallel over symbols. What is fresh is not computed again,
 * so a job that was stopped continues where it was, and jobs that are started at once by several processes share the
 * work. An error of one item never stops the others. */
#ifndef TL_JOB_DAILY_H
#define TL_JOB_DAILY_H

#include "base/clock.h"
#include "schedule/symbol.h"

#include <uv.h>

struct tl_daily;

/* Counts are of (symbol, indicator) unless they say otherwise. computed + from_cache + waited + skipped + failed == all
 * of them once the job is complete. */
struct tl_daily_progress {
    uint64_t symbols_total, symbols_done;
    uint64_t computed;   /* computed and committed */
    uint64_t from_cache; /* fresh in the store or in Redis */
    uint64_t waited;     /* computed by another process meanwhile */
    uint64_t skipped;    /* no bar on the date, or not begun when the job was cancelled */
    uint64_t failed;
    uint64_t failed_too_few_bars, failed_no_data, failed_no_factors, failed_other; /* parts of failed */
    uint64_t taken_over; /* of computed: after another process that was at it vanished */
    uint64_t duplicated; /* computed here and by another, whose result stands */
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

/* {"symbol","spec","status","error"}; spec is null when the whole symbol failed. */
void tl_daily_failure_json(struct tl_buf *out, const struct tl_daily_failure *);

/* A symbol is over: behind its failures. Counts are of its indicators. [borrow: during the call] */
struct tl_daily_symbol {
    const char *symbol;
    uint64_t computed, from_cache, waited, skipped, failed;
    double ms; /* since it was begun */
};

/* What is wanted of one symbol. */
struct tl_daily_wanted {
    const struct tl_spec *specs; /* [borrow: until done] without duplicates */
    size_t n_specs;
};

struct tl_daily_options {
    struct tl_scheduler *scheduler;  /* on the same loop; its cache has a store */
    const struct tl_symbol *symbols; /* [borrow: until done] without duplicates */
    size_t n_symbols;
    const struct tl_spec *specs; /* [borrow: until done] without duplicates */
    size_t n_specs;
    const struct tl_daily_wanted *wanted; /* [borrow: until done] one a symbol, each with at least one spec, instead of
                                           * specs; NULL: specs of every symbol */
    enum tl_freq freq;
    enum tl_adjust adjust;
    bool drop_suspended, recompute;
    int64_t day_ms; /* INT64_MIN: any */
    struct tl_view_sessions sessions;
    const struct tl_clock *clock;
    unsigned progress_ms; /* how often on_progress is called; 0: 100 */
    /* All on the loop thread; each may be NULL but on_done. */
    void (*on_progress)(void *ctx, const struct tl_daily_progress *);
    void (*on_failure)(void *ctx, const struct tl_daily_failure *);
    void (*on_symbol)(void *ctx, const struct tl_daily_symbol *); /* of all that were begun */
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
