/* SPDX-License-Identifier: Apache-2.0 */
/* The schedules of the settings: `daily = 30 15 * * trading-day Asia/Shanghai; set=daily; freq=1d; adjust=raw;
 * symbols=all; wait=95%; wait_max=2h`. */
#ifndef TL_JOB_JOBS_SCHEDULE_H
#define TL_JOB_JOBS_SCHEDULE_H

#include "config/config.h"
#include "job/cron.h"
#include "job/jobs_record.h"
#include "store/store.h"

enum { TL_SCHEDULES_MAX = 100 };

struct tl_schedule {
    char name[TL_JOB_NAME_MAX + 1];
    char *text; /* [own] as it stands in the settings */
    struct tl_cron cron;
    struct tl_tz *tz; /* [own] */
    char *symbols;    /* [own] "all", or a list */
    char set[TL_JOB_NAME_MAX + 1];
    enum tl_freq freq;
    enum tl_adjust adjust;
    double share; /* of the active symbols that must have a bar of the date; 0: does not wait */
    int64_t wait_max_ms;
    int64_t *days_ms; /* [own] the trading days that are known, in order; for trading-day alone */
    size_t n_days;
};
void tl_schedule_release(struct tl_schedule *);
/* The i-th entry of [schedules] in cfg. INVALID, PARSE with the place in the file where there is one; NOT_FOUND: there
 * are fewer. On failure nothing is to be released. */
TL_MUSTCHECK enum tl_status tl_schedule_read(const struct tl_config *cfg, size_t i, struct tl_schedule *out,
                                             struct tl_err *err);
/* The first instant after after_ms; INT64_MAX: none. */
int64_t tl_schedule_next(const struct tl_schedule *, int64_t after_ms);
/* 00:00 UTC of the schedule's date at that instant. */
int64_t tl_schedule_date(const struct tl_schedule *, int64_t at_ms);
/* Is the date one on which it may run, as far as trading days are concerned? */
bool tl_schedule_trades(const struct tl_schedule *, int64_t date_ms);
/* Name of the calendar that the zone's market follows: "CN", "HK", "US"; NULL: none. */
const char *tl_schedule_calendar(const struct tl_schedule *);

/* What the store says before it begins: the trading days, and how many of the active symbols (those that had a bar in
 * the 30 days before) have one of the date. Blocks. */
struct tl_schedule_look {
    int64_t *days_ms; /* [own] */
    size_t n_days, active, ready;
};
TL_MUSTCHECK enum tl_status tl_schedule_look(const struct tl_schedule *, struct tl_store_reader *, int64_t date_ms,
                                             struct tl_schedule_look *out, struct tl_err *err);

#endif
