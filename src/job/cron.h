/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules: `MINUTE HOUR DAY-OF-MONTH MONTH DAY-OF-WEEK [ZONE]`, as cron(5) has them (lists, ranges, steps, names;
 * both days given: either), where DAY-OF-WEEK may also be "trading-day" (by the calendar of a market where there is
 * one, Monday to Friday otherwise; a day of the month given beside it must hold, too). No zone: UTC. `30 15 * *
 * trading-day Asia/Shanghai`. Times that a zone skips run at the next that is there; times that come twice run once.
 * Pure. */
#ifndef TL_JOB_CRON_H
#define TL_JOB_CRON_H

#include "base/str.h"
#include "market/tz.h"
#include <tierline/status.h>

struct tl_cron {
    uint64_t minutes;
    uint32_t hours, days, months;
    uint8_t weekdays; /* bit 0: Sunday */
    bool any_day, any_weekday, trading_day;
    char zone[40];
};
/* PARSE: err names the field and what it takes; column: where. */
TL_MUSTCHECK enum tl_status tl_cron_parse(struct tl_str, struct tl_cron *out, struct tl_err *err);
/* The first instant after after_ms; is_trading_day (NULL: Monday to Friday) is asked with 00:00 UTC of the date.
 * INT64_MAX: none in the next five years. */
int64_t tl_cron_next(const struct tl_cron *, const struct tl_tz *, int64_t after_ms,
                     bool (*is_trading_day)(void *ctx, int64_t day_ms), void *ctx);

#endif
