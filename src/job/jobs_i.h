/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the jobs. jobs.c opens, closes and chooses what runs next; jobs_post.c hands jobs in; jobs_cancel.c
 * ends and retries them; jobs_queue.c is the queue in Redis; jobs_keep.c the records in the cache's tiers;
 * jobs_errors.c the items that failed; jobs_run.c the one job under way; jobs_clock.c the schedules. All on the loop
 * thread.
 *
 *   {jobs}:queue     list of ids, the next first          {jobs}:requests  hash: id -> record, until the job is over
 *   {jobs}:running   hash: id -> instance that took it    {jobs}:cancel    set of ids that are to end
 *   {jobs}:over      ids that are over, by time: nobody enters them again
 *   {jobs}:schedule:NAME:OCCURRENCE                       id of the job that somebody made of it
 */
#ifndef TL_JOB_JOBS_I_H
#define TL_JOB_JOBS_I_H

#include "job/jobs_record.h"
#include "job/jobs_schedule.h"
#include "job/publish.h"
#include "redis/redis.h"

enum {
    JOBS_QUEUE_MAX = 1000,
    JOBS_REDIS_MS = 2000, /* for an answer of Redis */
    JOBS_CACHE_MS = 5000, /* for an answer of the tiers */
    JOBS_LOOK_MS = 1000,  /* how often one who has nothing to do looks into the queue, without being told */
    JOBS_LEASE_MS = 5000,
    JOBS_LISTS = 32,
    JOBS_ERRORS_CHUNK = 1000, /* failures kept under one key */
    JOBS_ERRORS_MAX = 100000  /* failures kept of a job; the others are counted alone */
};
#define JOBS_KEEP_MS UINT32_C(2592000000) /* 30 days */

/* ---- jobs_queue.c ---- */

enum jobs_script { JOBS_POST, JOBS_TAKE, JOBS_STEP, JOBS_BACK, JOBS_OVER, JOBS_CANCEL, JOBS_CLAIM, JOBS_SCRIPTS };
enum { JOBS_KEYS = 5, JOBS_ARGS_MAX = 12, JOBS_KEY_MAX = 160 };

/* One exchange with the queue. Its own memory: cb may be NULL, and is told exactly once otherwise. */
struct jobs_ask {
    struct tl_jobs *jobs;
    struct tl_redis_cmd cmd;
    struct tl_str argv[JOBS_ARGS_MAX];
    size_t argc;
    char id[TL_JOB_ID_MAX + 1], key[JOBS_KEY_MAX], number[24];
    struct tl_buf text;
    void (*cb)(void *user, enum tl_status, const struct tl_reply *, const struct tl_err *err);
    void *user;
};
typedef void jobs_ask_cb(void *user, enum tl_status, const struct tl_reply *, const struct tl_err *err);

struct job_run;
struct job_clock;

struct job_waiting {
    struct job_waiting *next;
    struct tl_job_record rec;
};

struct tl_jobs {
    uv_loop_t *loop;
    struct tl_cache *cache;
    struct tl_scheduler *scheduler;
    struct tl_bus *bus;
    struct tl_locks *locks; /* NULL: no Redis */
    const struct tl_config *config;
    struct tl_view_sessions sessions;
    const struct tl_clock *clock;
    const struct tl_log *log;
    struct tl_alarms *alarms; /* the cache's */
    struct tl_rng rng;
    bool take;
    size_t queue_max;
    char prefix[65], instance[17];

    struct tl_redis *redis; /* NULL: none */
    char keys[JOBS_KEYS][JOBS_KEY_MAX];
    struct tl_subscription watch; /* of "tasks": somebody has handed in a job */

    struct job_waiting *first, *last; /* jobs of this process alone */
    size_t n_waiting;
    struct job_run *run;       /* NULL: none is under way */
    struct job_clock **clocks; /* [own] one a schedule */
    size_t n_clocks;
    struct tl_alarm look_alarm, clock_alarm;
    struct tl_soon look_soon;
    size_t turn;                 /* of the jobs that others run: which is looked at next */
    bool taking;                 /* TAKE is under way */
    bool listed;                 /* what earlier processes left has been read */
    size_t list_place, n_listed; /* of the list of jobs that are here alone, and how many it says */
    bool draining, closing, ended;
    size_t open; /* ops, exchanges, writes and works under way: closing waits for them */
    struct tl_soon end_soon;
    void (*drained)(void *ctx);
    void *drained_ctx;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

uint64_t tl_jobs_now_ns(const struct tl_jobs *);
/* One of `open` less; perhaps the last thing that draining or closing waits for. */
void tl_jobs_part(struct tl_jobs *);
/* There may be something to do. */
void tl_jobs_look(struct tl_jobs *);
void tl_jobs_check_drained(struct tl_jobs *);
bool tl_jobs_idle(const struct tl_jobs *); /* could begin a job */

bool tl_jobs_redis_up(const struct tl_jobs *);
TL_MUSTCHECK enum tl_status tl_jobs_queue_open(struct tl_jobs *, const char *url, struct tl_err *err);
/* rec: for POST, STEP, BACK; key: of CLAIM and POST, the occurrence of a schedule; of STEP "": it was just taken over;
 * of OVER "": whoever has it. IO, NOMEM, ...: cb is not called. */
TL_MUSTCHECK enum tl_status tl_jobs_ask(struct tl_jobs *, enum jobs_script, const char *id,
                                        const struct tl_job_record *rec, const char *key, uint64_t timeout_ms,
                                        jobs_ask_cb *cb, void *user);

/* ---- jobs_keep.c ---- */
/* A value into the tiers; failures are logged. */
void tl_jobs_keep(struct tl_jobs *, const char *type, const char *id, const char *part, struct tl_str value);
void tl_jobs_keep_record(struct tl_jobs *, const struct tl_job_record *);
/* then: once the store has it, or it cannot be kept (perhaps at once). */
void tl_jobs_keep_record_then(struct tl_jobs *, const struct tl_job_record *, void (*then)(void *user), void *user);
/* The ids of the jobs that are in this process alone and not over, for the next one. */
void tl_jobs_keep_list(struct tl_jobs *);
/* value: of OK [borrow: during the call]. NOMEM, CANCELLED: cb is not called. */
typedef void jobs_got_cb(void *user, enum tl_status, struct tl_str value);
TL_MUSTCHECK enum tl_status tl_jobs_fetch(struct tl_jobs *, const char *type, const char *id, const char *part,
                                          jobs_got_cb *cb, void *user);
/* Reads what earlier processes left and have not ended, gives it to Redis where there is one, then looks. */
void tl_jobs_restore(struct tl_jobs *);

/* ---- jobs.c ---- */
/* Puts the job behind those of this process that wait. FULL, NOMEM. */
TL_MUSTCHECK enum tl_status tl_jobs_push(struct tl_jobs *, const struct tl_job_record *, bool front);
/* Takes one that waits here out; NULL: it does not. [own] */
struct job_waiting *tl_jobs_pull(struct tl_jobs *, const char *id);
void tl_jobs_waiting_free(struct job_waiting *);

/* ---- jobs_post.c ---- */
typedef void jobs_posted_cb(void *user, enum tl_status, const char *id, const struct tl_err *err);
/* rec [take], also on failure; its id is made here. occurrence: of the schedule that it is made of, claimed before; or
 * NULL. cb once, from the loop. NOMEM, CANCELLED. */
TL_MUSTCHECK enum tl_status tl_jobs_hand_in(struct tl_jobs *, struct tl_job_record *rec, const char *occurrence,
                                            jobs_posted_cb *cb, void *user, struct tl_err *err);
/* The record of what is asked for, checked and written out in full; without an id. [own] release it. */
TL_MUSTCHECK enum tl_status tl_job_record_of(const struct tl_jobs *, const struct tl_job_request *,
                                             struct tl_job_record *, struct tl_err *err);
/* Publishes the end of a job that never ran, and keeps its record. */
void tl_jobs_end_waiting(struct tl_jobs *, struct tl_job_record *, enum tl_task_state, const char *error);

/* ---- jobs_cancel.c ---- */
/* What the bus knows of the job's task. */
bool tl_jobs_find_task(struct tl_jobs *, const char *id, enum tl_task_state *state);

/* ---- jobs_errors.c ---- */
struct job_errors {
    struct tl_jobs *jobs;
    const char *id; /* [borrow] */
    uint64_t total; /* kept, with those in text */
    struct tl_buf text;
    size_t in_text;
    bool dirty;
};
void tl_job_errors_init(struct job_errors *, struct tl_jobs *, const char *id);
void tl_job_errors_add(struct job_errors *, const struct tl_daily_failure *);
void tl_job_errors_flush(struct job_errors *); /* everything can be read from the tiers */
void tl_job_errors_release(struct job_errors *);
/* The failures of one chunk; cb returns false to stop. CORRUPT. */
TL_MUSTCHECK enum tl_status tl_job_errors_parse(struct tl_str json, bool (*cb)(void *ctx, const struct tl_job_error *),
                                                void *ctx);
/* Reads chunk after chunk of a job, from the first; each calls `each`; then over. */
struct job_errors_reading {
    struct tl_jobs *jobs;
    char id[TL_JOB_ID_MAX + 1];
    uint64_t chunk, chunks;
    bool (*each)(void *ctx, const struct tl_job_error *);
    void (*over)(void *ctx, enum tl_status);
    void *ctx;
};
TL_MUSTCHECK enum tl_status tl_job_errors_read(struct job_errors_reading *); /* [pinned] until over */

/* ---- jobs_run.c ---- */
/* rec [take]. local: it is not in Redis' queue; taken_over: it was begun by another process. */
void tl_job_run_begin(struct tl_jobs *, struct tl_job_record *rec, bool local, bool cancelled, bool taken_over);
bool tl_job_run_is(const struct tl_jobs *, const char *id);
const char *tl_job_run_local(const struct tl_jobs *); /* the id of one that is in no queue but here; NULL: none runs */
const struct tl_job_record *tl_job_run_record(const struct tl_jobs *);
void tl_job_run_cancel(struct tl_jobs *);    /* it ends as cancelled */
void tl_job_run_hand_over(struct tl_jobs *); /* it ends here and goes on elsewhere */
void tl_job_run_flush(struct tl_jobs *);     /* its failures and its record can be read from the tiers */

/* ---- jobs_clock.c ---- */
TL_MUSTCHECK enum tl_status tl_jobs_clocks_read(struct tl_jobs *, const struct tl_config *, struct tl_err *err);
void tl_jobs_clocks_begin(struct tl_jobs *);
void tl_jobs_clocks_end(struct tl_jobs *);
void tl_jobs_clocks_free(struct tl_jobs *);

/* ---- works on the scheduler's pool, with a reader of the store ---- */
struct jobs_work {
    struct tl_work work;
    struct tl_jobs *jobs;
    void (*run)(struct jobs_work *, struct tl_store_reader *); /* on a worker */
    void (*done)(struct jobs_work *, bool cancelled);          /* on the loop; may free it */
};
void tl_jobs_work(struct tl_jobs *, struct jobs_work *);

#endif
