/* SPDX-License-Identifier: Apache-2.0 */
/* Fields: numbers against the exact reader, dates and times in all their forms, header names, character sets. */
#include "import_fixture.h"

#include "base/rng.h"
#include "import/columns.h"
#include "import/field.h"
#include "import/text.h"
#include "import/times.h"

static void test_numbers(void **state)
{
    (void)state;
    static const char *const fixed[] = {"0",
                                        "-0",
                                        "1",
                                        "0.1",
                                        ".5",
                                        "5.",
                                        "1e400",
                                        "-1e400",
                                        "1e-400",
                                        "1.2.3",
                                        "",
                                        "+7",
                                        "12a",
                                        "9007199254740993",
                                        "9007199254740992",
                                        "9007199254740991",
                                        "123456789012345678",
                                        "1234567890123456789",
                                        "99999999999999999999",
                                        "0.0000000000000001",
                                        "9.007199254740993",
                                        "00012.50",
                                        "1,5",
                                        "0x10",
                                        "nan",
                                        "inf",
                                        ".",
                                        "-",
                                        "1e5"};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        double a = -1, b = -1;
        const enum tl_num_result x = tl_field_num(tl_str(fixed[i]), &a), y = tl_num_parse(tl_str(fixed[i]), &b);
        assert_int_equal(x, y);
        if (x == TL_NUM_OK) assert_memory_equal(&a, &b, sizeof a);
    }
    struct tl_rng rng;
    tl_rng_seed(&rng, 3);
    for (int i = 0; i < 200000; i++) {
        char z[40];
        const int whole = (int)tl_rng_below(&rng, 12), frac = (int)tl_rng_below(&rng, 12);
        int n = 0;
        for (int k = 0; k <= whole; k++) z[n++] = (char)('0' + tl_rng_below(&rng, 10));
        if (frac) z[n++] = '.';
        for (int k = 0; k < frac; k++) z[n++] = (char)('0' + tl_rng_below(&rng, 10));
        z[n] = '\0';
        double a = -1;
        const double b = strtod(z, NULL);
        assert_int_equal(tl_field_num((struct tl_str){z, (size_t)n}, &a), TL_NUM_OK);
        assert_memory_equal(&a, &b, sizeof a);
    }
}

static void test_blanks(void **state)
{
    (void)state;
    static const char *const yes[] = {"", "null", "NULL", "nan", "NaN", "NA", "n/a", "None", "-", "--", "nil"};
    static const char *const no[] = {"0", "nulls", "x", "---", "inf", "na n"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) assert_true(tl_field_blank(tl_str(yes[i])));
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) assert_false(tl_field_blank(tl_str(no[i])));
    assert_true(tl_field_infinite(TL_STR("inf")));
    assert_true(tl_field_infinite(TL_STR("-Infinity")));
    assert_false(tl_field_infinite(TL_STR("in")));
}

static void test_excerpts(void **state)
{
    (void)state;
    assert_string_equal(tl_excerpt(TL_STR("abc")).z, "abc");
    assert_string_equal(tl_excerpt(TL_STR("a\x01\x7f\xff\tb")).z, "a????b");
    assert_string_equal(tl_excerpt(TL_STR("日期")).z, "日期");
    assert_string_equal(tl_excerpt(TL_STR("\xC8\xD5")).z, "??");
    const struct tl_str longer = TL_STR("一二三四五六七八九十一二三四五六");
    assert_string_equal(tl_excerpt(longer).z, "一二三四五六七八九十一二三...");
    assert_true(tl_utf8_valid(TL_STR("日期 ok \xF0\x9F\x98\x80")));
    assert_false(tl_utf8_valid(TL_STR("\xED\xA0\x80")));
    assert_false(tl_utf8_valid(TL_STR("\xC0\x80")));
    assert_false(tl_utf8_valid(TL_STR("\xE6\x97")));
    assert_false(tl_utf8_valid(TL_STR("\xF4\x90\x80\x80")));
}

static void say_when(const char *why, const struct tl_when *w, char out[64])
{
    struct tl_civil c;
    if (why) {
        snprintf(out, 64, "%s", why);
        return;
    }
    tl_civil_from_ms(w->local_ms, &c);
    const int n = snprintf(out, 64, "%04d-%02d-%02d", c.year, c.month, c.day);
    int m = n;
    if (w->has_time) m += snprintf(out + m, (size_t)(64 - m), " %02d:%02d:%02d.%03d", c.hour, c.minute, c.second, c.ms);
    if (w->zoned) snprintf(out + m, (size_t)(64 - m), " %+d", (int)w->offset_min);
}

static void test_times(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"2013-02-08", "2013-02-08"},
        {"2013/02/08", "2013-02-08"},
        {"2013.2.8", "2013-02-08"},
        {"2013-2-8", "2013-02-08"},
        {"20130208", "2013-02-08"},
        {"02/08/2013", "2013-02-08"},
        {"2/8/2013", "2013-02-08"},
        {"11/5/2019 9:30", "2019-11-05 09:30:00.000"},
        {"2017-3-3 13:22:0", "2017-03-03 13:22:00.000"},
        {"2017-3-7 0:0:0", "2017-03-07 00:00:00.000"},
        {"2019-11-05 09:30:00", "2019-11-05 09:30:00.000"},
        {"2019-11-05  09:30", "2019-11-05 09:30:00.000"},
        {"2019-11-05T09:30:00Z", "2019-11-05 09:30:00.000 +0"},
        {"2019-11-05T09:30:00.123456-05:00", "2019-11-05 09:30:00.123 -300"},
        {"2019-11-05 00:00:00+0800", "2019-11-05 00:00:00.000 +480"},
        {"2019-11-05 00:00:00 +08", "2019-11-05 00:00:00.000 +480"},
        {"20191105 09:30:00", "2019-11-05 09:30:00.000"},
        {"20191105T09:30:00.5", "2019-11-05 09:30:00.500"},
        {"20230103093500000", "2023-01-03 09:35:00.000"},
        {"20230103093512345", "2023-01-03 09:35:12.345"},
        {"20230103093500", "2023-01-03 09:35:00.000"},
        {"202301030935", "2023-01-03 09:35:00.000"},
        {"2020-02-29", "2020-02-29"},
        {"2021-02-29", "no such day"},
        {"2013-13-01", "no such day"},
        {"2013-00-01", "no such day"},
        {"13/02/2013", "no such day"},
        {"20130231", "no such day"},
        {"", "not a date"},
        {"abc", "not a date"},
        {"2013", "not a date"},
        {"2013-02", "not a date"},
        {"2013-02-", "not a date"},
        {"2013-02/08", "not a date"},
        {"13-02-08", "not a date"},
        {"2013-02-081", "not a date"},
        {"2013-02-08x", "not a date"},
        {"2013-02-08 25:00", "not a time"},
        {"2013-02-08 9", "not a time"},
        {"2013-02-08 9:60", "not a time"},
        {"2013-02-08 9:30:61", "not a time"},
        {"2013-02-08 9:30x", "not a time"},
        {"2013-02-08 9:30+99", "not a time"},
        {"2013-02-08 ", "2013-02-08"},
        {"202301030", "not a date"},
        {"20230103246000", "not a time"},
    };
    struct tl_when_cache cache = {0};
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            struct tl_when w;
            char z[64];
            struct tl_when_cache fresh = {0};
            say_when(tl_when_parse(tl_str_trim(tl_str(rows[i].in)), pass ? &cache : &fresh, &w), &w, z);
            if (strcmp(z, rows[i].out) != 0) print_error("%s\n", rows[i].in);
            assert_string_equal(z, rows[i].out);
        }
    }
}

static void test_times_two(void **state)
{
    (void)state;
    static const struct {
        const char *date, *time, *out;
    } rows[] = {
        {"2017-03-03", "0931", "2017-03-03 09:31:00.000"},
        {"2017/03/03", "931", "2017-03-03 09:31:00.000"},
        {"20170303", "093105", "2017-03-03 09:31:05.000"},
        {"20170303", "9:31", "2017-03-03 09:31:00.000"},
        {"2017-03-03", "20170303093500000", "2017-03-03 09:35:00.000"},
        {"2017-03-03", "2017-03-03 09:35:00", "2017-03-03 09:35:00.000"},
        {"2017-03-03 00:00:00", "15:00", "2017-03-03 15:00:00.000"},
        {"1969-12-31", "2359", "1969-12-31 23:59:00.000"},
        {"2017-03-03", "", "not a time"},
        {"2017-03-03", "2400", "not a time"},
        {"2017-03-03", "12", "not a time"},
        {"2017-03-03", "1:2:3:4", "not a time"},
        {"x", "0931", "not a date"},
    };
    struct tl_when_cache cache = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tl_when w;
        char z[64];
        say_when(tl_when_parse2(tl_str(rows[i].date), tl_str(rows[i].time), &cache, &w), &w, z);
        assert_string_equal(z, rows[i].out);
    }
}

static void test_every_day(void **state)
{
    (void)state;
    struct tl_when_cache cache = {0};
    for (int64_t day = -30000; day < 60000; day++) {
        char z[11];
        struct tl_when w;
        tl_civil_format_date(day * TL_DAY_MS, z);
        assert_null(tl_when_parse(tl_str(z), &cache, &w));
        assert_int_equal(w.local_ms, day * TL_DAY_MS);
    }
}

static void test_roles(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum tl_role role;
        double scale;
    } rows[] = {
        {"date", TL_ROLE_DATE, 1},
        {"Trade_Date", TL_ROLE_DATE, 1},
        {"日期", TL_ROLE_DATE, 1},
        {"<DATE>", TL_ROLE_DATE, 1},
        {"time", TL_ROLE_TIME, 1},
        {"trade_time", TL_ROLE_DATETIME, 1},
        {"开盘价", TL_ROLE_OPEN, 1},
        {"最高", TL_ROLE_HIGH, 1},
        {"LOW", TL_ROLE_LOW, 1},
        {"收盘", TL_ROLE_CLOSE, 1},
        {"Adj Close", TL_ROLE_NONE, 0},
        {"pre_close", TL_ROLE_NONE, 0},
        {"vol", TL_ROLE_VOLUME, 0},
        {"成交量（手）", TL_ROLE_VOLUME, 100},
        {"成交量(股)", TL_ROLE_VOLUME, 1},
        {"成交额", TL_ROLE_AMOUNT, 0},
        {"成交额(千元)", TL_ROLE_AMOUNT, 1000},
        {"换手率", TL_ROLE_NONE, 0},
        {"ts_code", TL_ROLE_SYMBOL, 1},
        {"股票代码", TL_ROLE_SYMBOL, 1},
        {"Name", TL_ROLE_SYMBOL, 1},
        {"名称", TL_ROLE_NONE, 0},
        {"", TL_ROLE_NONE, 0},
        {"复权因子", TL_ROLE_FACTOR, 1},
        {"backAdjustFactor", TL_ROLE_FACTOR, 1},
        {"is_open", TL_ROLE_IS_OPEN, 1},
        {"count", TL_ROLE_NONE, 0},
        {"a name that is far longer than any name that means something here", TL_ROLE_NONE, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double scale = 0;
        assert_int_equal(tl_role_of(tl_str(rows[i].name), &scale, NULL), rows[i].role);
        assert_true(scale == rows[i].scale);
    }
}

static void test_text(void **state)
{
    (void)state;
    struct tl_buf b;
    struct tl_err err;
    tl_buf_init(&b, 0);
    assert_int_equal(tl_text_utf8(TL_STR("日期"), false, &b, &err), TL_OK);
    assert_int_equal(tl_text_utf8(TL_STR("\xC8\xD5\xC6\xDA"), false, &b, &err), TL_OK);
    assert_int_equal(tl_text_utf8(TL_STR("\xC8\xD5\xC6\xDA"), true, &b, &err), TL_OK);
    assert_string_equal(b.p, "日期日期日期");
    assert_int_equal(tl_text_utf8(TL_STR("a\xFF\xFF"), false, &b, &err), TL_PARSE);
    assert_non_null(strstr(err.text, "neither UTF-8 nor GB18030 text at byte 2"));
    tl_buf_release(&b);
    assert_non_null(tl_text_magic(TL_STR("\x1f\x8b\x08")));
    assert_non_null(tl_text_magic(TL_STR("SQLite format 3\0")));
    assert_null(tl_text_magic(TL_STR("date,open")));
    assert_null(tl_text_magic(TL_STR("")));
}

int test_import_fields(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_blanks),    cmocka_unit_test(test_excerpts),
        cmocka_unit_test(test_times),   cmocka_unit_test(test_times_two), cmocka_unit_test(test_every_day),
        cmocka_unit_test(test_roles),   cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests_name("import: fields", tests, NULL, NULL);
}
