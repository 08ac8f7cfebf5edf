/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs of a process that stays: asked for by people or by schedules, run one at a time on the scheduler, published as
 * tasks. Without a Redis a job is this process' own; with one it is put into a queue that every process on the prefix
 * with workers takes from, runs in one of them under the lease "job:<id>", and goes back into the queue when that
 * process hands it over (drain) or dies. Loop thread.
 *
 * What a job was asked to do, and which items failed, is kept in the cache's tiers (data types "tierline.job",
 * "tierline.job.errors"), so that it can be shown, retried and continued after a restart. */
#ifndef TL_JOB_JOBS_H
#define TL_JOB_JOBS_H

#include "event/bus.h"
#include "job/cron.h"
#include "job/daily.h"

#include <tierline/lock.h>

struct tl_jobs;

struct tl_job_request {
    const char *name;    /* "daily"; NULL: that */
    const char *symbols; /* "all", or "600519.SH,AAPL" */
    const char *specs;   /* "SMA(5);RSI(14)"; NULL: those of the set */
    const char *set;     /* NULL: the setting calc.set */
    enum tl_freq freq;
    enum tl_adjust adjust;
    bool drop_suspended, recompute;
    int64_t day_ms; /* INT64_MIN: any */
};

/* Resolves what a request names, against the store and the settings; for the owner to give. */
struct tl_jobs_options {
    struct tl_cache *cache; /* with a store */
    struct tl_scheduler *scheduler;
    struct tl_bus *bus;
    struct tl_locks *locks; /* NULL: no Redis */
    const char *redis_url, *prefix;
    const struct tl_config *config; /* [borrow: until close's cb, or tl_jobs_configure] */
    struct tl_view_sessions sessions;
    const struct tl_clock *clock;
    const struct tl_log *log;
    bool take;        /* takes jobs from the queue and runs schedules; otherwise it only hands them in */
    size_t queue_max; /* jobs that wait; 0: 1000 */
};
TL_MUSTCHECK enum tl_status tl_jobs_open(uv_loop_t *, const struct tl_jobs_options *, struct tl_jobs **out,
                                         struct tl_err *err);
/* New settings (SIGHUP): the schedules are read anew. On failure everything stays as it was. */
TL_MUSTCHECK enum tl_status tl_jobs_configure(struct tl_jobs *, const struct tl_config *, struct tl_err *err);
/* Begins no further symbol, lets those under way finish, hands the job over (with Redis: back to the front of the
 * queue; without: it is continued by the next process on this store), and takes no other. cb once when that is done. */
void tl_jobs_drain(struct tl_jobs *, void (*cb)(void *ctx), void *ctx);
void tl_jobs_close(struct tl_jobs *, void (*cb)(void *ctx), void *ctx);

/* [pinned] until cb, once, from the loop. */
struct tl_job_op {
    void (*cb)(struct tl_job_op *, enum tl_status);
    void *user;
    char id[101];      /* out, of post and retry: the new job's */
    struct tl_err err; /* out, when the status is not OK */
    void *state;
};
/* INVALID, PARSE, NOT_FOUND (symbols, specs, set: err names it), FULL, IO. */
TL_MUSTCHECK enum tl_status tl_jobs_post(struct tl_jobs *, struct tl_job_op *, const struct tl_job_request *,
                                         struct tl_err *err);
/* A new job of the items that failed in that one. NOT_FOUND; CONFLICT: it is not over, or nothing failed. */
TL_MUSTCHECK enum tl_status tl_jobs_retry(struct tl_jobs *, struct tl_job_op *, const char *id, struct tl_err *err);
/* In whichever process it is, also while it waits. NOT_FOUND; CONFLICT: it is over. */
TL_MUSTCHECK enum tl_status tl_jobs_cancel(struct tl_jobs *, struct tl_job_op *, const char *id, struct tl_err *err);

struct tl_job_error {
    char symbol[72], spec[TL_SPEC_MAX]; /* spec "": the whole symbol */
    enum tl_status status;
    char text[320];
};
/* [pinned] until cb. */
struct tl_job_errors {
    void (*cb)(struct tl_job_errors *, enum tl_status); /* OK, NOT_FOUND, ... */
    void *user;
    size_t from, max;           /* in: at most 1000 */
    struct tl_job_error *items; /* out [own] free() */
    size_t n, total;
    struct tl_err err;
    void *state;
};
TL_MUSTCHECK enum tl_status tl_jobs_errors(struct tl_jobs *, struct tl_job_errors *, const char *id,
                                           struct tl_err *err);

/* The record of a job as JSON, appended: the request, the state, what was counted. From what this process knows;
 * NOT_FOUND. */
TL_MUSTCHECK enum tl_status tl_jobs_describe(struct tl_jobs *, const char *id, struct tl_buf *out);
/* The same from all tiers. [pinned] until cb. */
struct tl_job_show {
    void (*cb)(struct tl_job_show *, enum tl_status); /* OK, NOT_FOUND, CORRUPT, TIMEOUT, CANCELLED */
    void *user;
    struct tl_buf record; /* out [own] tl_buf_release, of OK */
    struct tl_err err;
    void *state;
};
TL_MUSTCHECK enum tl_status tl_jobs_show(struct tl_jobs *, struct tl_job_show *, const char *id, struct tl_err *err);

/* The schedules of the settings, and when each comes next (wall clock, INT64_MAX: never). */
struct tl_schedule_info {
    const char *name, *text;
    int64_t next_ms, last_ms;
    const char *last_job; /* "": none yet, in this process */
};
bool tl_jobs_schedule(const struct tl_jobs *, size_t i, struct tl_schedule_info *out);

#endif
