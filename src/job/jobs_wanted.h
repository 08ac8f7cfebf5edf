/* SPDX-License-Identifier: Apache-2.0 */
/* The symbols and indicators of a job's record: from the store where it says "all", from the failures of another job
 * where it is a retry. */
#ifndef TL_JOB_JOBS_WANTED_H
#define TL_JOB_JOBS_WANTED_H

#include "job/jobs_i.h"

typedef void job_wanted_cb(void *ctx, enum tl_status, const struct tl_err *err);

struct job_wanted {
    struct tl_symbol *symbols; /* [own] */
    size_t n_symbols;
    struct tl_spec *specs; /* [own] */
    size_t n_specs;
    struct tl_daily_wanted *by_symbol; /* [own] of a retry; NULL: specs of every symbol */
    struct tl_spec *pairs;             /* [own] what by_symbol points into */
    /* while it looks */
    struct tl_jobs *jobs;
    const struct tl_job_record *rec;
    struct jobs_work work;
    struct job_errors_reading reading;
    struct failed_pair *failed; /* [own] */
    size_t n_failed, cap_failed;
    struct tl_err err;
    enum tl_status status;
    job_wanted_cb *cb;
    void *ctx;
};

/* cb once, from the loop, after this returns: OK, NO_DATA, NOT_FOUND, ... [pinned] with rec until then. */
TL_MUSTCHECK enum tl_status job_wanted_look_up(struct job_wanted *, struct tl_jobs *, const struct tl_job_record *rec,
                                               job_wanted_cb *cb, void *ctx, struct tl_err *err);
void job_wanted_release(struct job_wanted *);

#endif
