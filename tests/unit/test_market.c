/* SPDX-License-Identifier: Apache-2.0 */
/* Symbols, markets, frequencies, adjustments and civil dates. Time zones have their own file. */
#include "support.h"

#include "base/util.h"
#include "market/civil.h"
#include "market/freq.h"
#include "market/symbol.h"

static void symbols(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        enum tl_market market;
        const char *out;
    } rows[] = {
        /* suffixes */
        {"600519.SH", TL_MARKET_NONE, "600519.SH"},
        {"600519.sh", TL_MARKET_NONE, "600519.SH"},
        {"600519.XSHG", TL_MARKET_NONE, "600519.SH"},
        {"600519.ss", TL_MARKET_NONE, "600519.SH"},
        {"000001.XSHE", TL_MARKET_NONE, "000001.SZ"},
        {"000001.sz", TL_MARKET_SH, "000001.SZ"}, /* what is written wins */
        {"430047.BJ", TL_MARKET_NONE, "430047.BJ"},
        {"00700.HK", TL_MARKET_NONE, "00700.HK"},
        {"0700.HK", TL_MARKET_NONE, "00700.HK"},
        {"5.hk", TL_MARKET_NONE, "00005.HK"},
        {"700.XHKG", TL_MARKET_NONE, "00700.HK"},
        {"HSI.HK", TL_MARKET_NONE, "HSI.HK"},
        {"H11001.SH", TL_MARKET_NONE, "H11001.SH"},
        {"10004405.SH", TL_MARKET_NONE, "10004405.SH"},
        /* prefixes */
        {"sh600519", TL_MARKET_NONE, "600519.SH"},
        {"sh.600519", TL_MARKET_NONE, "600519.SH"},
        {"SH.600519", TL_MARKET_NONE, "600519.SH"},
        {"SH600519", TL_MARKET_SZ, "600519.SH"},
        {"sz000001", TL_MARKET_NONE, "000001.SZ"},
        {"sh000001", TL_MARKET_NONE, "000001.SH"},
        {"bj.830799", TL_MARKET_NONE, "830799.BJ"},
        {"hk00700", TL_MARKET_NONE, "00700.HK"},
        {"HK.700", TL_MARKET_NONE, "00700.HK"},
        /* digits alone */
        {"600519", TL_MARKET_NONE, "600519.SH"},
        {"601318", TL_MARKET_NONE, "601318.SH"},
        {"603288", TL_MARKET_NONE, "603288.SH"},
        {"605499", TL_MARKET_NONE, "605499.SH"},
        {"688981", TL_MARKET_NONE, "688981.SH"},
        {"689009", TL_MARKET_NONE, "689009.SH"},
        {"510300", TL_MARKET_NONE, "510300.SH"},
        {"300750", TL_MARKET_NONE, "300750.SZ"},
        {"301236", TL_MARKET_NONE, "301236.SZ"},
        {"002594", TL_MARKET_NONE, "002594.SZ"},
        {"003816", TL_MARKET_NONE, "003816.SZ"},
        {"001979", TL_MARKET_NONE, "001979.SZ"},
        {"399001", TL_MARKET_NONE, "399001.SZ"},
        {"159915", TL_MARKET_NONE, "159915.SZ"},
        {"430047", TL_MARKET_NONE, "430047.BJ"},
        {"830799", TL_MARKET_NONE, "830799.BJ"},
        {"920819", TL_MARKET_NONE, "920819.BJ"},
        {"000001", TL_MARKET_SZ, "000001.SZ"},
        {"000001", TL_MARKET_SH, "000001.SH"},
        {"000001", TL_MARKET_US, "000001"},
        {"700", TL_MARKET_HK, "00700.HK"},
        {"00700", TL_MARKET_HK, "00700.HK"},
        /* as they are */
        {"AAPL", TL_MARKET_NONE, "AAPL"},
        {"aapl", TL_MARKET_SH, "AAPL"},
        {"brk.b", TL_MARKET_NONE, "BRK.B"},
        {"BF-B", TL_MARKET_NONE, "BF-B"},
        {"^gspc", TL_MARKET_NONE, "^GSPC"},
        {"CL=F", TL_MARKET_NONE, "CL=F"},
        {"fu2305", TL_MARKET_NONE, "FU2305"},
        {"SH405", TL_MARKET_NONE, "SH405"},
        {"SH2405", TL_MARKET_NONE, "SH2405"},
        {"SH", TL_MARKET_NONE, "SH"},
        {"SS", TL_MARKET_NONE, "SS"},
        {"A", TL_MARKET_NONE, "A"},
        {"ABCDEFGHIJKLMNOPQRSTUVWXYZ01234", TL_MARKET_NONE, "ABCDEFGHIJKLMNOPQRSTUVWXYZ01234"}, /* 31 bytes */
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        struct tl_symbol s, again;
        struct tl_err err = {0};
        if (tl_symbol_parse(tl_str(rows[i].in), rows[i].market, &s, &err) != TL_OK)
            fail_msg("%s: %s", rows[i].in, err.text);
        assert_string_equal(s.text, rows[i].out);
        if (rows[i].market == TL_MARKET_US) continue;
        assert_int_equal(tl_symbol_parse(tl_str(s.text), TL_MARKET_NONE, &again, &err), TL_OK);
        assert_string_equal(again.text, s.text);
    }
}

static void symbols_that_are_none(void **state)
{
    (void)state;
    static const struct {
        struct tl_str in;
        enum tl_market market;
        enum tl_status st;
        const char *says;
    } rows[] = {
        {{"000001", 6},
         TL_MARKET_NONE,
         TL_AMBIGUOUS,
         "000001 is a share in SZ and an index in SH: say --market SH or SZ, or write 000001.SZ"},
        {{"000300", 6}, TL_MARKET_NONE, TL_AMBIGUOUS, "000300.SZ"},
        {{"123456", 6}, TL_MARKET_NONE, TL_AMBIGUOUS, "--market"},
        {{"700", 3}, TL_MARKET_NONE, TL_AMBIGUOUS, "700.HK"},
        {{"1", 1}, TL_MARKET_SZ, TL_INVALID, "leading zeros"},
        {{"519.SH", 6}, TL_MARKET_NONE, TL_INVALID, "six digits"},
        {{"600519.HK", 9}, TL_MARKET_NONE, TL_INVALID, "five digits"},
        {{"600519", 6}, TL_MARKET_HK, TL_INVALID, "five digits"},
        {{"sh600519.SH", 11}, TL_MARKET_NONE, TL_INVALID, "more than once"},
        {{"600519.SH.SS", 12}, TL_MARKET_NONE, TL_INVALID, "more than once"},
        {{".SH", 3}, TL_MARKET_NONE, TL_INVALID, ".SH"},
        {{"", 0}, TL_MARKET_NONE, TL_INVALID, "empty"},
        {{"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345", 32}, TL_MARKET_NONE, TL_INVALID, "32 bytes"},
        {{"ABCDEFGHIJKLMNOPQRSTUVWXYZ0.XSHG", 32}, TL_MARKET_NONE, TL_INVALID, "32 bytes"},
        {{"A%42", 4}, TL_MARKET_NONE, TL_INVALID, "0x25 at position 2"},
        {{"{A}", 3}, TL_MARKET_NONE, TL_INVALID, "0x7b"},
        {{"A B", 3}, TL_MARKET_NONE, TL_INVALID, "0x20"},
        {{" AAPL", 5}, TL_MARKET_NONE, TL_INVALID, "0x20"},
        {{"A\nB", 3}, TL_MARKET_NONE, TL_INVALID, "0x0a"},
        {{"A\0B", 3}, TL_MARKET_NONE, TL_INVALID, "0x00"},
        {{"A/B", 3}, TL_MARKET_NONE, TL_INVALID, "0x2f"},
        {{"\xE8\x8C\x85", 3}, TL_MARKET_NONE, TL_INVALID, "0xe8"},
        {{"..", 2}, TL_MARKET_NONE, TL_INVALID, ".."},
        {{"-A", 2}, TL_MARKET_NONE, TL_INVALID, "-A"},
        {{".A", 2}, TL_MARKET_NONE, TL_INVALID, ".A"},
        {{"A.", 2}, TL_MARKET_NONE, TL_INVALID, "A."},
        {{"^", 1}, TL_MARKET_NONE, TL_INVALID, "^"},
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        struct tl_symbol s = {"unchanged"};
        struct tl_err err = {0};
        assert_int_equal(tl_symbol_parse(rows[i].in, rows[i].market, &s, &err), rows[i].st);
        assert_int_equal(err.status, rows[i].st);
        if (!strstr(err.text, rows[i].says)) fail_msg("'%s' does not say '%s'", err.text, rows[i].says);
        assert_string_equal(s.text, "unchanged");
        assert_int_equal(tl_symbol_parse(rows[i].in, rows[i].market, &s, NULL), rows[i].st);
    }
}

static void markets(void **state)
{
    (void)state;
    static const struct {
        const char *symbol;
        enum tl_market market;
        const char *zone;
    } rows[] = {
        {"600519.SH", TL_MARKET_SH, "Asia/Shanghai"},
        {"000001.SZ", TL_MARKET_SZ, "Asia/Shanghai"},
        {"430047.BJ", TL_MARKET_BJ, "Asia/Shanghai"},
        {"00700.HK", TL_MARKET_HK, "Asia/Hong_Kong"},
        {"AAPL", TL_MARKET_US, "America/New_York"},
        {"BRK.B", TL_MARKET_US, "America/New_York"},
        {"^GSPC", TL_MARKET_US, "America/New_York"},
        {"FU2305", TL_MARKET_CN_FUTURES, "Asia/Shanghai"},
        {"AP401", TL_MARKET_CN_FUTURES, "Asia/Shanghai"},
        {"CU2305.SHF", TL_MARKET_CN_FUTURES, "Asia/Shanghai"},
        {"000001", TL_MARKET_NONE, "UTC"},
        {"X5", TL_MARKET_NONE, "UTC"},
        {"A12345", TL_MARKET_NONE, "UTC"},
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        struct tl_symbol s = {0};
        snprintf(s.text, sizeof s.text, "%s", rows[i].symbol);
        assert_int_equal(tl_symbol_market(&s), rows[i].market);
        assert_string_equal(tl_market_zone(rows[i].market), rows[i].zone);
    }
    static const char *const names[] = {"SH", "sz", "Bj", "HK", "us", "futures"};
    enum tl_market m;
    for (size_t i = 0; i < TL_COUNT(names); i++) {
        assert_true(tl_market_parse(tl_str(names[i]), &m));
        assert_int_equal(m, TL_MARKET_SH + i);
    }
    assert_false(tl_market_parse(TL_STR(""), &m));
    assert_false(tl_market_parse(TL_STR("NYSE"), &m));
}

static void frequencies(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int minutes;
    } rows[] = {{"1m", 1}, {"5m", 5}, {"15m", 15}, {"30m", 30}, {"60m", 60}, {"1d", 0}, {"1w", 0}, {"1mo", 0}};
    assert_int_equal(TL_COUNT(rows), TL_FREQ_COUNT);
    for (unsigned i = 0; i < TL_COUNT(rows); i++) {
        enum tl_freq f;
        assert_true(tl_freq_parse(tl_str(rows[i].name), &f));
        assert_int_equal(f, i);
        assert_string_equal(tl_freq_name(f), rows[i].name);
        assert_int_equal(tl_freq_minutes(f), rows[i].minutes);
        assert_int_equal(tl_freq_intraday(f), rows[i].minutes > 0);
    }
    enum tl_freq f;
    static const char *const bad[] = {"", "1M", "m", "2m", "1d ", "day"};
    for (size_t i = 0; i < TL_COUNT(bad); i++) assert_false(tl_freq_parse(tl_str(bad[i]), &f));
    static const struct {
        const char *name;
        enum tl_adjust a;
    } adjusts[] = {{"raw", TL_ADJUST_RAW},     {"none", TL_ADJUST_RAW},          {"forward", TL_ADJUST_FORWARD},
                   {"qfq", TL_ADJUST_FORWARD}, {"backward", TL_ADJUST_BACKWARD}, {"hfq", TL_ADJUST_BACKWARD},
                   {"QFQ", TL_ADJUST_FORWARD}};
    enum tl_adjust a;
    for (size_t i = 0; i < TL_COUNT(adjusts); i++) {
        assert_true(tl_adjust_parse(tl_str(adjusts[i].name), &a));
        assert_int_equal(a, adjusts[i].a);
    }
    assert_string_equal(tl_adjust_name(TL_ADJUST_BACKWARD), "backward");
    assert_false(tl_adjust_parse(TL_STR(""), &a) || tl_adjust_parse(TL_STR("fwd"), &a));
}

/* Every day of 1600-2400, counted along. 1600-01-01 was a Saturday, 135,140 days before 1970. */
static void every_civil_day(void **state)
{
    (void)state;
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t day = -135140;
    int weekday = 5;
    for (int y = 1600; y <= 2400; y++) {
        bool leap = y % 400 == 0 || (y % 4 == 0 && y % 100 != 0);
        for (int m = 1; m <= 12; m++) {
            int length = lengths[m - 1] + (m == 2 && leap);
            for (int d = 1; d <= length; d++, day++, weekday = (weekday + 1) % 7) {
                assert_int_equal(tl_civil_days(y, m, d), day);
                struct tl_civil c;
                tl_civil_from_ms(day * TL_DAY_MS + TL_DAY_MS - 1, &c);
                assert_true(c.year == y && c.month == m && c.day == d && c.hour == 23 && c.minute == 59 &&
                            c.second == 59 && c.ms == 999);
                assert_true(tl_civil_valid(&c));
                assert_true(tl_civil_to_ms(&c) == day * TL_DAY_MS + TL_DAY_MS - 1);
                assert_int_equal(tl_civil_weekday(day * TL_DAY_MS), weekday);
                assert_int_equal(tl_civil_weekday(day * TL_DAY_MS + TL_DAY_MS - 1), weekday);
                char text[11], compact[9];
                int64_t ts;
                tl_civil_format_date(day * TL_DAY_MS + 5, text);
                assert_true(tl_civil_parse_date(tl_str(text), &ts) && ts == day * TL_DAY_MS);
                memcpy(compact, text, 4);
                memcpy(compact + 4, text + 5, 2);
                memcpy(compact + 6, text + 8, 3);
                assert_true(tl_civil_parse_date(tl_str(compact), &ts) && ts == day * TL_DAY_MS);
            }
            struct tl_civil beyond = {.year = y, .month = m, .day = length + 1};
            assert_false(tl_civil_valid(&beyond));
        }
    }
    assert_int_equal(tl_civil_days(1970, 1, 1), 0);
}

static void civil_edges(void **state)
{
    (void)state;
    static const struct tl_civil bad[] = {
        {2024, 0, 1, 0, 0, 0, 0},  {2024, 13, 1, 0, 0, 0, 0}, {2024, 1, 0, 0, 0, 0, 0},    {2023, 2, 29, 0, 0, 0, 0},
        {1900, 2, 29, 0, 0, 0, 0}, {2024, 1, 1, 24, 0, 0, 0}, {2024, 1, 1, 0, 60, 0, 0},   {2024, 1, 1, 0, 0, 60, 0},
        {2024, 1, 1, 0, 0, 0, -1}, {2024, 1, 1, -1, 0, 0, 0}, {2024, 1, 1, 0, 0, 0, 1000}, {10000, 1, 1, 0, 0, 0, 0},
        {-1, 1, 1, 0, 0, 0, 0},
    };
    for (size_t i = 0; i < TL_COUNT(bad); i++) assert_false(tl_civil_valid(&bad[i]));
    static const char *const texts[] = {"",           "2024-1-01",  "2024-02-30",  "20240230",
                                        "2024/01/01", "2024-01-0x", "2024-01-01 ", "240101",
                                        "2024-0101",  "+0240101",   "2024-01-01T", "２０"};
    int64_t ts = 42;
    for (size_t i = 0; i < TL_COUNT(texts); i++) assert_false(tl_civil_parse_date(tl_str(texts[i]), &ts));
    assert_int_equal(ts, 42);
    assert_false(tl_civil_parse_date((struct tl_str){"2024\00001-01", 10}, &ts));
    char text[11];
    tl_civil_format_date(-1, text);
    assert_string_equal(text, "1969-12-31");
    tl_civil_format_date(INT64_MAX, text); /* any number has a text */
    assert_string_equal(text, "9999-12-31");
    tl_civil_format_date(INT64_MIN, text);
    assert_string_equal(text, "0000-01-01");
    struct tl_civil c;
    tl_civil_from_ms(INT64_MIN, &c);
    assert_true(tl_civil_to_ms(&c) == INT64_MIN);
    tl_civil_from_ms(INT64_MAX, &c);
    assert_true(tl_civil_to_ms(&c) == INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(symbols),     cmocka_unit_test(symbols_that_are_none), cmocka_unit_test(markets),
        cmocka_unit_test(frequencies), cmocka_unit_test(every_civil_day),       cmocka_unit_test(civil_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
