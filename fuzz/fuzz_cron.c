/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules: the parser takes any bytes; what it takes has a next instant that lies later and on a whole minute, or
 * none, and the same question has the same answer. The first 8 bytes are the instant. */
#include "base/util.h"
#include "job/cron.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool even_days(void *ctx, int64_t day_ms)
{
    (void)ctx;
    TL_ASSERT(day_ms % TL_DAY_MS == 0);
    return day_ms / TL_DAY_MS % 2 == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t after;
    struct tl_cron c;
    struct tl_err err = {0};
    if (size < sizeof after) return 0;
    memcpy(&after, data, sizeof after);
    struct tl_str text = {(const char *)data + sizeof after, size - sizeof after};
    if (tl_cron_parse(text, &c, &err) != TL_OK) {
        TL_ASSERT(err.text[0] && err.column >= 1 && err.column <= text.n + 1);
        return 0;
    }
    TL_ASSERT(c.minutes && c.hours && c.days && c.months && (c.weekdays || c.trading_day));
    static struct tl_tz *zones[3];
    static const char *const names[3] = {"UTC", "America/New_York", "Australia/Lord_Howe"};
    for (size_t i = 0; i < 3; i++) {
        if (!zones[i] && tl_tz_open(names[i], &zones[i], NULL) != TL_OK) continue;
        int64_t next = tl_cron_next(&c, zones[i], after, even_days, NULL);
        TL_ASSERT(next > after || next == INT64_MAX);
        if (next == INT64_MAX) continue;
        if (i == 0) TL_ASSERT(next % 60000 == 0);
        TL_ASSERT(tl_cron_next(&c, zones[i], next - 1, even_days, NULL) == next);
    }
    return 0;
}
