/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules: what is taken, what is refused and where, and the next instants, also where a zone's clocks change. */
#include "support.h"

#include "base/util.h"
#include "job/cron.h"

static int64_t utc(const char *text) /* "2024-03-10 07:00" */
{
    int64_t day;
    if (!tl_civil_parse_date((struct tl_str){text, 10}, &day)) fail_msg("%s", text);
    return day +
           ((text[11] - '0') * 600 + (text[12] - '0') * 60 + (text[14] - '0') * 10 + (text[15] - '0')) * INT64_C(60000);
}

static const char *show(int64_t ms, char out[32])
{
    struct tl_civil c;
    if (ms == INT64_MAX) return "never";
    tl_civil_from_ms(ms, &c);
    snprintf(out, 32, "%04d-%02d-%02d %02d:%02d:%02d.%03d", c.year, c.month, c.day, c.hour, c.minute, c.second, c.ms);
    return out;
}

/* Not on 2024-10-01 to 07, nor at weekends. */
static bool holidays(void *ctx, int64_t day_ms)
{
    assert_int_equal(day_ms % TL_DAY_MS, 0);
    ++*(int *)ctx;
    return tl_civil_weekday(day_ms) < 5 && !(day_ms >= utc("2024-10-01 00:00") && day_ms <= utc("2024-10-07 00:00"));
}

static bool never(void *ctx, int64_t day_ms)
{
    (void)ctx, (void)day_ms;
    return false;
}

static void next_instants(void **state)
{
    (void)state;
    static const struct {
        const char *text, *after;
        const char *next[6]; /* UTC, NULL ends; "": never */
    } rows[] = {
        {"30 15 * * *", "2024-01-01 00:00", {"2024-01-01 15:30", "2024-01-02 15:30"}},
        {"30 15 * * *", "2024-01-01 15:30", {"2024-01-02 15:30"}},
        {"0 0 1 1 *", "2024-01-01 00:00", {"2025-01-01 00:00"}},
        {"*/20 9-10 * * *", "2024-01-01 09:10", {"2024-01-01 09:20", "2024-01-01 09:40", "2024-01-01 10:00"}},
        {"5,50 8,20 * * *", "2024-01-01 08:05", {"2024-01-01 08:50", "2024-01-01 20:05", "2024-01-01 20:50"}},
        {"10-30/10 0 * * *", "2024-01-01 00:10", {"2024-01-01 00:20", "2024-01-01 00:30", "2024-01-02 00:10"}},
        {"0 12 * feb-APR/2 *", "2024-02-29 13:00", {"2024-04-01 12:00"}},
        {"0 12 29 2 *", "2024-03-01 00:00", {"2028-02-29 12:00"}},
        {"0 12 30 2 *", "2024-03-01 00:00", {""}},
        {"0 9 * * mon-fri", "2024-01-05 10:00", {"2024-01-08 09:00"}},
        {"0 9 * * 1-5", "2024-01-05 10:00", {"2024-01-08 09:00"}},
        {"0 9 * * sat-sun", "2024-01-01 00:00", {"2024-01-06 09:00", "2024-01-07 09:00", "2024-01-13 09:00"}},
        {"0 9 * * 7", "2024-01-01 00:00", {"2024-01-07 09:00"}},
        {"0 9 * * 0", "2024-01-01 00:00", {"2024-01-07 09:00"}},
        {"0 9 13 * fri", "2024-09-01 00:00", {"2024-09-06 09:00", "2024-09-13 09:00", "2024-09-20 09:00"}},
        {"0 9 13 * fri", "2024-10-12 00:00", {"2024-10-13 09:00"}}, /* either */
        {"0 9 */2 * fri", "2024-09-01 00:00", {"2024-09-13 09:00", "2024-09-27 09:00"}},
        {"30 15 * * * Asia/Shanghai", "2024-01-01 00:00", {"2024-01-01 07:30", "2024-01-02 07:30"}},
        {"30 1 * * mon Asia/Shanghai", "2024-01-06 00:00", {"2024-01-07 17:30"}}, /* Monday there */
        {"0 9 * * * +05:30", "2024-01-01 00:00", {"2024-01-01 03:30"}},
        /* 2024-03-10 02:00 -> 03:00 EDT: what lies in the gap is due at the change, once */
        {"30 2 * * * America/New_York",
         "2024-03-09 00:00",
         {"2024-03-09 07:30", "2024-03-10 07:00", "2024-03-11 06:30"}},
        {"*/15 2 * * * America/New_York",
         "2024-03-10 00:00",
         {"2024-03-10 07:00", "2024-03-11 06:00", "2024-03-11 06:15"}},
        {"0 3 * * * America/New_York", "2024-03-10 00:00", {"2024-03-10 07:00", "2024-03-11 07:00"}},
        {"59 1 * * * America/New_York", "2024-03-10 00:00", {"2024-03-10 06:59", "2024-03-11 05:59"}},
        {"0 * * * * America/New_York",
         "2024-03-10 05:30",
         {"2024-03-10 06:00", "2024-03-10 07:00", "2024-03-10 08:00"}},
        /* 2024-11-03 02:00 EDT -> 01:00 EST: the first 01:30 counts */
        {"30 1 * * * America/New_York", "2024-11-02 06:00", {"2024-11-03 05:30", "2024-11-04 06:30"}},
        {"30 1 * * * America/New_York", "2024-11-03 05:30", {"2024-11-04 06:30"}},
        {"30 1 * * * America/New_York", "2024-11-03 06:15", {"2024-11-04 06:30"}},
        {"0 2 * * * America/New_York", "2024-11-03 00:00", {"2024-11-03 07:00", "2024-11-04 07:00"}},
        {"30 * * * * America/New_York",
         "2024-11-03 04:45",
         {"2024-11-03 05:30", "2024-11-03 07:30", "2024-11-03 08:30"}},
        /* 2011-12-30 was no date in Apia */
        {"0 12 30 12 * Pacific/Apia", "2011-12-29 00:00", {"2011-12-30 10:00", "2012-12-29 22:00"}},
        {"0 9 * * trading-day", "2024-01-05 10:00", {"2024-01-08 09:00"}},
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        struct tl_cron c;
        struct tl_tz *tz;
        struct tl_err err = {0};
        if (tl_cron_parse(tl_str(rows[i].text), &c, &err) != TL_OK) fail_msg("%s: %s", rows[i].text, err.text);
        if (tl_tz_open(c.zone, &tz, &err) != TL_OK) fail_msg("%s: %s", c.zone, err.text);
        int64_t after = utc(rows[i].after);
        for (size_t k = 0; k < 6 && rows[i].next[k]; k++) {
            char got[32], want[32];
            int64_t expected = rows[i].next[k][0] ? utc(rows[i].next[k]) : INT64_MAX;
            after = tl_cron_next(&c, tz, after, NULL, NULL);
            if (after != expected)
                fail_msg("%s: the %zu. after %s is %s, not %s", rows[i].text, k + 1, rows[i].after, show(after, got),
                         show(expected, want));
        }
        tl_tz_free(tz);
    }
}

static void a_calendar_decides(void **state)
{
    (void)state;
    struct tl_cron c;
    struct tl_tz *tz;
    int asked = 0;
    assert_int_equal(tl_cron_parse(TL_STR("30 15 * * trading-day Asia/Shanghai"), &c, NULL), TL_OK);
    assert_int_equal(tl_tz_open(c.zone, &tz, NULL), TL_OK);
    assert_int_equal(tl_cron_next(&c, tz, utc("2024-09-30 00:00"), holidays, &asked), utc("2024-09-30 07:30"));
    assert_int_equal(tl_cron_next(&c, tz, utc("2024-09-30 07:30"), holidays, &asked), utc("2024-10-08 07:30"));
    assert_true(asked > 8);
    assert_int_equal(tl_cron_next(&c, tz, utc("2024-09-30 07:30"), never, NULL), INT64_MAX);
    /* a day of the month beside it must hold, too */
    assert_int_equal(tl_cron_parse(TL_STR("0 0 1-8 10 trading-day"), &c, NULL), TL_OK);
    assert_int_equal(tl_cron_next(&c, tz, utc("2024-01-01 00:00"), holidays, &asked), utc("2024-10-07 16:00"));
    /* other schedules do not ask it */
    assert_int_equal(tl_cron_parse(TL_STR("0 0 * * mon"), &c, NULL), TL_OK);
    assert_int_not_equal(tl_cron_next(&c, tz, utc("2024-01-01 00:00"), never, NULL), INT64_MAX);
    tl_tz_free(tz);
}

static void ends_of_time(void **state)
{
    (void)state;
    struct tl_cron c;
    struct tl_tz *tz;
    assert_int_equal(tl_cron_parse(TL_STR("* * * * * Asia/Shanghai"), &c, NULL), TL_OK);
    assert_int_equal(tl_tz_open(c.zone, &tz, NULL), TL_OK);
    assert_int_equal(tl_cron_next(&c, tz, INT64_MAX, NULL, NULL), INT64_MAX);
    assert_true(tl_cron_next(&c, tz, INT64_MIN, NULL, NULL) < 0);
    assert_int_equal(tl_cron_next(&c, tz, -1, NULL, NULL), 0);
    assert_int_equal(tl_cron_next(&c, tz, utc("2024-01-01 00:00") + 1, NULL, NULL), utc("2024-01-01 00:01"));
    tl_tz_free(tz);
}

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
        uint32_t column;
    } rows[] = {
        {"", "minute is missing", 1},
        {"0 15", "day of month is missing", 5},
        {"60 15 * * *", "minute: '60' is out of range (it takes 0 to 59)", 1},
        {"0 24 * * *", "hour: '24' is out of range", 3},
        {"0 0 0 * *", "day of month: '0' is out of range (it takes 1 to 31)", 5},
        {"0 0 * 13 *", "month: '13' is out of range (it takes 1 to 12, jan to dec)", 7},
        {"0 0 * okt *", "month: 'okt' is no number and no name", 7},
        {"0 0 * * 8", "day of week: '8' is out of range (it takes 0 to 7, sun to sat, trading-day)", 9},
        {"0 0 * * trading", "day of week: 'trading'", 9},
        {"0 0 * * mon,trading-day", "day of week: 'trading", 13},
        {"1,,2 0 * * *", "minute: '' is no number", 3},
        {"1- 0 * * *", "minute: '' is no number", 3},
        {"-1 0 * * *", "minute: '' is no number", 1},
        {"+1 0 * * *", "minute: '+1' is no number", 1},
        {"1,5-3 0 * * *", "minute: '5-3' ends before it begins", 3},
        {"5/2 0 * * *", "minute: '5/2' has a step without a range or *", 1},
        {"*/0 0 * * *", "minute: '*/0' has a step that is none", 1},
        {"*/ 0 * * *", "has a step that is none", 1},
        {"*/60 0 * * *", "has a step that is none", 1},
        {"*/99999999999999999999 0 * * *", "has a step that is none", 1},
        {"*5 0 * * *", "minute: '*5' is no number", 1},
        {"99999999999999999999 0 * * *", "minute: ", 1},
        {"0 0 * * * Asia/Shang;hai", "zone: 'Asia/Shang;hai' is none", 11},
        {"0 0 * * * Asia/Aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "zone: ", 11},
        {"0 0 * * * UTC 5", "'5' is one word too many", 15},
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        struct tl_cron c;
        struct tl_err err = {0};
        enum tl_status st = tl_cron_parse(tl_str(rows[i].text), &c, &err);
        if (st != TL_PARSE || !strstr(err.text, rows[i].says) || err.column != rows[i].column)
            fail_msg("'%s': %s, column %u: %s", rows[i].text, tl_status_name(st), err.column, err.text);
    }
}

static void white_space_and_case_do_not_matter(void **state)
{
    (void)state;
    struct tl_cron a, b;
    assert_int_equal(tl_cron_parse(TL_STR("  0\t15 * JAN Trading-Day   Asia/Shanghai  "), &a, NULL), TL_OK);
    assert_int_equal(tl_cron_parse(TL_STR("0 15 * 1 trading-day Asia/Shanghai"), &b, NULL), TL_OK);
    assert_string_equal(a.zone, b.zone);
    assert_int_equal(a.months, b.months);
    assert_true(a.trading_day && b.trading_day && a.any_day);
    assert_int_equal(tl_cron_parse(TL_STR("0 15 * * *"), &b, NULL), TL_OK);
    assert_string_equal(b.zone, "UTC");
    assert_false(b.trading_day);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(next_instants),
        cmocka_unit_test(a_calendar_decides),
        cmocka_unit_test(ends_of_time),
        cmocka_unit_test(refused),
        cmocka_unit_test(white_space_and_case_do_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
