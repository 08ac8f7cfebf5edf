/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered of a job, as JSON and back; its id; and requests as JSON, as they come from outside. Pure. */
#ifndef TL_JOB_JOBS_RECORD_H
#define TL_JOB_JOBS_RECORD_H

#include "base/rng.h"
#include "job/jobs.h"

enum {
    TL_JOB_ID_MAX = 100,
    TL_JOB_NAME_MAX = 32,
    TL_JOB_SYMBOLS_MAX = 1 << 18, /* bytes of a list of symbols */
    TL_JOB_SPECS_MAX = 1 << 16,
    TL_JOB_RECORD_MAX = TL_JOB_SYMBOLS_MAX + TL_JOB_SPECS_MAX + 8192 /* of JSON; all texts are plain ASCII */
};

struct tl_job_record {
    char id[TL_JOB_ID_MAX + 1], name[TL_JOB_NAME_MAX + 1];
    char *symbols;                                                /* [own] "all", or canonical ones parted by "," */
    char *specs;                                                  /* [own] canonical ones parted by ";" */
    char set[TL_JOB_NAME_MAX + 1], schedule[TL_JOB_NAME_MAX + 1]; /* "": none */
    char retry_of[TL_JOB_ID_MAX + 1];                             /* the items that failed there; "": all */
    enum tl_freq freq;
    enum tl_adjust adjust;
    bool drop_suspended, recompute;
    int64_t day_ms;                          /* INT64_MIN: any */
    int64_t posted_ms, started_ms, ended_ms; /* 0: not yet */
    struct tl_task_progress progress;        /* the state, and what was counted last */
    uint64_t errors;                         /* that were kept and can be paged */
};
void tl_job_record_release(struct tl_job_record *);
TL_MUSTCHECK enum tl_status tl_job_record_copy(const struct tl_job_record *, struct tl_job_record *out);
/* One line, appended. */
void tl_job_record_json(struct tl_buf *, const struct tl_job_record *);
/* CORRUPT names the field. On failure nothing is to be released. */
TL_MUSTCHECK enum tl_status tl_job_record_parse(struct tl_str json, struct tl_job_record *out, struct tl_err *err);

/* 1 to 32 letters, digits, "-", "_". */
bool tl_job_name_ok(const char *);
/* "daily-01hq3k2m0f-x7q2": in the order of their times by name. */
void tl_job_id_make(const char *name, int64_t wall_ms, struct tl_rng *, char out[TL_JOB_ID_MAX + 1]);

/* {"name","symbols":"all"|"A,B"|["A","B"],"specs":"SMA(5);RSI"|["SMA(5)"],"set","freq","adjust","suspended":"drop",
 *  "recompute":false,"date":"2024-01-02"}: every field may be left out; one that is not known is an error. freq, adjust
 * and suspended are what request has before. The texts are `storage`'s [own] free(). INVALID, PARSE, TOO_LARGE. */
TL_MUSTCHECK enum tl_status tl_job_request_parse(struct tl_str json, struct tl_job_request *request, char **storage,
                                                 struct tl_err *err);

#endif
