/* SPDX-License-Identifier: Apache-2.0 */
/* Bars out of well-formed text: columns in any order, symbols, order of rows, repeats, frequencies, zones, labels. */
#include "import_fixture.h"

#include "market/civil.h"

struct row {
    const char *name;
    const char *text;
    const char *out;
    const char *rejects;
    struct {
        const char *symbol, *zone;
        int end; /* 1: end, 2: start */
        const char *freq;
        enum tl_market market;
        bool provisional;
    } o;
};

static void check(const struct row *r)
{
    struct captured c = {0};
    struct tl_import_options o = fixture_options();
    o.symbol = r->o.symbol;
    o.zone = r->o.zone;
    o.market = r->o.market;
    o.last_provisional = r->o.provisional;
    o.bar_time_end = r->o.end == 0 ? -1 : r->o.end == 1;
    if (r->o.freq) {
        o.freq_set = true;
        assert_true(tl_freq_parse(tl_str(r->o.freq), &o.freq));
    }
    fixture_parse(&c, r->name, tl_str(r->text), &o);
    if (c.status != TL_OK) print_error("%s: %s\n", r->name, c.err.text);
    assert_int_equal(c.status, TL_OK);
    assert_string_equal(c.out.p, r->out);
    assert_string_equal(c.rejects.p, r->rejects ? r->rejects : "");
    fixture_release(&c);
}

static void test_daily(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {.name = "sh.600519.csv",
         .text = "date,high,low,open,close,volume\n2005-01-04,4,1,2,3,500\n2005-01-05,8,5,6,7.25,\n",
         .out = "600519.SH 1d \n2005-01-04 00:00 2 4 1 3 500 nan\n2005-01-05 00:00 6 8 5 7.25 nan nan\n"},
        {.name = "all.csv",
         .text = "\xEF\xBB\xBF"
                 "date;open;high;low;close;volume;Name\r\n2013-02-11;1;2;1;2;10;AAL\r\n2013-02-08;1;2;1;2;9;AAL\r\n"
                 "2013-02-08;5;5;5;5;1;AAPL",
         .out = "AAL 1d \n2013-02-08 00:00 1 2 1 2 9 nan\n2013-02-11 00:00 1 2 1 2 10 nan\n"
                "AAPL 1d \n2013-02-08 00:00 5 5 5 5 1 nan\n"},
        {.name = "x.csv", /* one symbol under two spellings, mixed order */
         .text =
             "code\tdate\topen\thigh\tlow\tclose\nsh600519\t20130103\t3\t3\t3\t3\n600519.XSHG\t20130101\t1\t1\t1\t1\n"
             "sh.600519\t20130102\t2\t2\t2\t2\n",
         .out = "600519.SH 1d \n2013-01-01 00:00 1 1 1 1 nan nan\n2013-01-02 00:00 2 2 2 2 nan nan\n"
                "2013-01-03 00:00 3 3 3 3 nan nan\n"},
        {.name = "/a.b/AAPL.csv", /* newest first, quoted, blanks around names, unknown columns */
         .text =
             "\"date\",\"open\", high, low, close, pe, amount\n\"2013-01-02\",\"2\",2,2,2,x,7\n2013-01-01,1,1,1,1,,\n",
         .out = "AAPL 1d \n2013-01-01 00:00 1 1 1 1 nan nan\n2013-01-02 00:00 2 2 2 2 nan 7\n"},
        {.name = "x.csv",
         .o = {.symbol = "brk-b"},
         .text = "date,open,high,low,close\n\n01/31/2013,1,1,1,1\n\n2/1/2013,1,1,1,1\n",
         .out = "BRK-B 1d \n2013-01-31 00:00 1 1 1 1 nan nan\n2013-02-01 00:00 1 1 1 1 nan nan\n"},
        {.name = "000001.csv",
         .o = {.market = TL_MARKET_SZ},
         .text = "date,open,high,low,close\n2013-01-31,1,1,1,1\n",
         .out = "000001.SZ 1d \n2013-01-31 00:00 1 1 1 1 nan nan\n"},
        {.name = "600519.csv",
         .o = {.provisional = true},
         .text = "date,open,high,low,close\n2013-01-31,1,1,1,1\n",
         .out = "600519.SH 1d  provisional\n2013-01-31 00:00 1 1 1 1 nan nan\n"},
        {.name = "AAPL.csv", /* a clock that never changes is no time of day */
         .text = "datetime,open,high,low,close\n2013-01-31 15:00,1,1,1,1\n2013-02-01 15:00,1,1,1,1\n",
         .out = "AAPL 1d \n2013-01-31 00:00 1 1 1 1 nan nan\n2013-02-01 00:00 1 1 1 1 nan nan\n"},
        {.name = "AAPL.csv", /* the written date, not the UTC one */
         .text = "Date,open,high,low,close\n2013-01-31 00:00:00-05:00,1,1,1,1\n2013-07-31 00:00:00-04:00,1,1,1,1\n",
         .out = "AAPL 1d \n2013-01-31 00:00 1 1 1 1 nan nan\n2013-07-31 00:00 1 1 1 1 nan nan\n"},
        {.name = "a.csv",
         .o = {.freq = "1w"},
         .text = "date,open,high,low,close\n2013-01-31,1,1,1,1\n",
         .out = "A 1w \n2013-01-31 00:00 1 1 1 1 nan nan\n"},
        {.name = "000001.SZ.csv", /* Name beside code is the company's */
         .text = "code,name,date,open,high,low,close\n600519.SH,maotai,2013-01-31,1,1,1,1\n",
         .out = "600519.SH 1d \n2013-01-31 00:00 1 1 1 1 nan nan\n"},
        {.name = "A.csv",
         .text = "name,code,date,open,high,low,close\nmaotai,600519.SH,2013-01-31,1,1,1,1\n",
         .out = "600519.SH 1d \n2013-01-31 00:00 1 1 1 1 nan nan\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) check(&rows[i]);
}

static void test_repeats(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {.name = "A.csv",
         .text = "date,open,high,low,close,volume\n2013-02-08,1,1,1,1,5\n2013-02-07,1,1,1,1,5\n2013-02-08,1,1,1,1,5\n"
                 "2013-02-08,1,2,1,1,5\n2013-02-07,1,1,1,1,\n",
         .out = "A 1d \n2013-02-07 00:00 1 1 1 1 5 nan\n2013-02-08 00:00 1 1 1 1 5 nan\n",
         .rejects = "6:0 A 2013-02-07 again with other values; first on line 3\n"
                    "5:0 A 2013-02-08 again with other values; first on line 2\n"},
        {.name = "A.csv",
         .o = {.zone = "+08:00", .end = 1},
         .text = "datetime,open,high,low,close\n2013-02-08 09:31,1,1,1,1\n2013-02-08 09:32,1,1,1,1\n2013-02-08 "
                 "09:32,2,2,2,2\n",
         .out = "A 1m +08:00\n2013-02-08 01:30 1 1 1 1 nan nan\n2013-02-08 01:31 1 1 1 1 nan nan\n",
         .rejects = "4:0 A 2013-02-08 09:32 again with other values; first on line 3\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) check(&rows[i]);
    struct captured c = {0};
    const struct tl_import_options o = fixture_options();
    fixture_parse(&c, "A.csv",
                  TL_STR("date,open,high,low,close\n2013-02-08,2,1,1,1\n2013-02-08,2,1,1,1\n2013-02-09,1,1,2,1\n"), &o);
    assert_int_equal(c.count.rows, 3);
    assert_int_equal(c.count.duplicates, 1);
    assert_int_equal(c.count.inconsistent, 2);
    assert_int_equal(c.count.symbols, 1);
    fixture_release(&c);
}

static void test_intraday(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {.name = "600519.SH.csv",
         .o = {.end = 1}, /* the label of the end becomes the start, in Shanghai */
         .text = "datetime,open,high,low,close\n2017-3-3 9:35:0,1,1,1,1\n2017-3-3 9:40:0,2,2,2,2\n2017-3-3 "
                 "13:05:0,3,3,3,3\n",
         .out = "600519.SH 5m Asia/Shanghai\n2017-03-03 01:30 1 1 1 1 nan nan\n2017-03-03 01:35 2 2 2 2 nan nan\n"
                "2017-03-03 05:00 3 3 3 3 nan nan\n"},
        {.name = "AAPL.csv", /* New York, both sides of the change of 2019-11-03 */
         .text = "date,time,open,high,low,close\n2019-11-01,09:30,1,1,1,1\n2019-11-01,09:31,1,1,1,1\n2019-11-04,09:30,"
                 "1,1,1,1\n",
         .out = "AAPL 1m America/New_York\n2019-11-01 13:30 1 1 1 1 nan nan\n2019-11-01 13:31 1 1 1 1 nan nan\n"
                "2019-11-04 14:30 1 1 1 1 nan nan\n"},
        {.name = "AAPL.csv",
         .o = {.zone = "UTC"},
         .text = "datetime,open,high,low,close\n2019-11-01 10:00,1,1,1,1\n2019-11-01 11:00,1,1,1,1\n",
         .out = "AAPL 60m UTC\n2019-11-01 10:00 1 1 1 1 nan nan\n2019-11-01 11:00 1 1 1 1 nan nan\n"},
        {.name = "AAPL.csv", /* offsets win over the zone */
         .text = "datetime,open,high,low,close\n2019-11-01T10:00:00Z,1,1,1,1\n2019-11-01T06:15:00-04:00,1,1,1,1\n",
         .out = "AAPL 15m America/New_York\n2019-11-01 10:00 1 1 1 1 nan nan\n2019-11-01 10:15 1 1 1 1 nan nan\n",
         .o = {.freq = "15m"}},
        {.name = "A.csv",
         .o = {.zone = "America/New_York"}, /* a skipped hour and one that exists twice */
         .text = "datetime,open,high,low,close\n2019-03-10 01:30,1,1,1,1\n2019-03-10 02:30,2,2,2,2\n2019-03-10 "
                 "03:30,2,2,2,2\n"
                 "2019-11-03 00:30,1,1,1,1\n2019-11-03 01:30,1,1,1,1\n2019-11-03 02:30,1,1,1,1\n",
         .out =
             "A 60m America/New_York\n2019-03-10 06:30 1 1 1 1 nan nan\n2019-03-10 07:30 2 2 2 2 nan nan\n"
             "2019-11-03 04:30 1 1 1 1 nan nan\n2019-11-03 05:30 1 1 1 1 nan nan\n2019-11-03 07:30 1 1 1 1 nan nan\n"},
        {.name = "x.csv", /* two markets in one file, each in its zone; 30 of 1 minute and 1 of 5 are minutes */
         .text =
             "symbol,datetime,open,high,low,close\nAAPL,2019-11-01 09:30,1,1,1,1\n600519.SH,2019-11-01 09:30,1,1,1,1\n"
             "AAPL,2019-11-01 09:31,1,1,1,1\n600519.SH,2019-11-01 09:31,1,1,1,1\nAAPL,2019-11-01 09:36,1,1,1,1\n",
         .out = "AAPL 1m America/New_York\n2019-11-01 13:30 1 1 1 1 nan nan\n2019-11-01 13:31 1 1 1 1 nan nan\n"
                "2019-11-01 13:36 1 1 1 1 nan nan\n"
                "600519.SH 1m Asia/Shanghai\n2019-11-01 01:30 1 1 1 1 nan nan\n2019-11-01 01:31 1 1 1 1 nan nan\n"},
        {.name = "A.csv",
         .o = {.freq = "1d"}, /* times under a daily frequency: the date counts */
         .text = "datetime,open,high,low,close\n2019-11-01 15:00,1,1,1,1\n",
         .out = "A 1d \n2019-11-01 00:00 1 1 1 1 nan nan\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) check(&rows[i]);
}

/* 4,000 rows shuffled over three symbols: the same as sorted. */
static void test_any_order(void **state)
{
    (void)state;
    static const char *const symbols[] = {"AAA", "BBB", "CCC"};
    enum { DAYS = 1500 };
    struct captured sorted = {0}, mixed = {0};
    struct tl_import_options o = fixture_options();
    struct tl_buf a, b;
    tl_buf_init(&a, 0);
    tl_buf_init(&b, 0);
    tl_buf_puts(&a, "Name,date,open,high,low,close,volume\n");
    tl_buf_puts(&b, "Name,date,open,high,low,close,volume\n");
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < DAYS; i++) {
            char date[11];
            tl_civil_format_date((15000 + i) * TL_DAY_MS, date);
            tl_buf_printf(&a, "%s,%s,%d,%d,%d,%d.5,%d\n", symbols[k], date, i, i, i, i, k);
        }
    for (int i = 0; i < DAYS; i++)
        for (int k = 0; k < 3; k++) {
            const int j = (i * 7) % DAYS; /* 7 and 1500 have no common factor */
            char date[11];
            tl_civil_format_date((15000 + j) * TL_DAY_MS, date);
            tl_buf_printf(&b, "%s,%s,%d,%d,%d,%d.5,%d\n", symbols[k], date, j, j, j, j, k);
        }
    fixture_parse_once(&sorted, "x.csv", tl_buf_str(&a), &o, 0);
    fixture_parse_once(&mixed, "x.csv", tl_buf_str(&b), &o, 1000);
    assert_int_equal(sorted.status, TL_OK);
    assert_string_equal(sorted.out.p, mixed.out.p);
    fixture_release(&sorted);
    fixture_release(&mixed);
    tl_buf_release(&a);
    tl_buf_release(&b);
}

int test_import_bars(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_daily),
        cmocka_unit_test(test_repeats),
        cmocka_unit_test(test_intraday),
        cmocka_unit_test(test_any_order),
    };
    return cmocka_run_group_tests_name("import: bars", tests, NULL, NULL);
}
