/* SPDX-License-Identifier: Apache-2.0 */
/* Adjustment factors and calendars out of text; the ex-rights table of a real data base, exported by the statement of
 * docs/import.md. */
#include "import_fixture.h"

#include <sqlite3.h>

static void parse(struct captured *c, enum tl_import_kind kind, const char *name, const char *text)
{
    struct tl_import_options o = fixture_options();
    o.kind = kind;
    o.calendar = kind == TL_IMPORT_CALENDAR ? "CN" : NULL;
    fixture_parse(c, name, tl_str(text), &o);
}

static void test_factors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *out, *rejects;
    } rows[] = {
        {"symbol,date,factor\n600519.SH,20230103,1.5\n600519.SH,20220103,1.25\n000001.SZ,2023-01-03,2\n",
         "600519.SH\n2022-01-03 1.25\n2023-01-03 1.5\n000001.SZ\n2023-01-03 2\n", ""},
        {"ts_code,trade_date,adj_factor\n600519.SH,20230103,1.5\n", "600519.SH\n2023-01-03 1.5\n", ""},
        {"日期,后复权因子\n2023-01-03,1.5\n", "A\n2023-01-03 1.5\n", ""},
        {"code,dividOperateDate,foreAdjustFactor,backAdjustFactor,adjustFactor\nsh.600519,2015-07-17,0.9,8.1,8.1\n",
         "600519.SH\n2015-07-17 8.1\n", ""},
        {"symbol,date,cash,gift,transfer,rights,rights_price\nA,2011-07-01,2.3,0.1,,,\nA,2010-07-01,,0.25,0.5,0.3,4."
         "5\n",
         "A\n2010-07-01 0 0.75 0.3 4.5\n2011-07-01 2.3 0.1 0 0\n", ""},
        {"date,bonus\n2011-07-01,0.5\n", "A\n2011-07-01 0.5 0 0 0\n", ""},
        {"date,factor\n2011-07-01,2\n2011-07-01,2\n2011-07-01,3\n2011-07-02,0\n2011-07-03,\n2011-07-04,-1\nx,1\n"
         "2011-07-05,inf\n",
         "A\n2011-07-01 2\n",
         "5:2 factor \"0\" is not above 0\n6:2 factor is blank\n7:2 factor \"-1\" is negative\n8:1 date \"x\" is not a "
         "date\n"
         "9:2 factor \"inf\" is not finite\n4:0 A 2011-07-01 again with other values; first on line 2\n"},
        {"date,cash,rights,rights_price\n2011-07-01,1,1,1\n2011-07-02,x,1,1\n2011-07-03,1,1e300,1e300\n",
         "A\n2011-07-01 1 0 1 1\n", "3:2 cash \"x\" is not a number\n4:0 the event's values are out of range\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct captured c = {0};
        parse(&c, TL_IMPORT_FACTORS, "A.csv", rows[i].text);
        assert_int_equal(c.status, TL_OK);
        assert_string_equal(c.out.p, rows[i].out);
        assert_string_equal(c.rejects.p, rows[i].rejects);
        fixture_release(&c);
    }
}

static void test_bad_factors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } rows[] = {
        {"date,open\n2011-07-01,1\n", "no column for factor, cash, gift, transfer or rights; found: date, open"},
        {"date,factor,cash\n2011-07-01,1,1\n", "cumulative factors and events in one header"},
        {"date,foreAdjustFactor\n2011-07-01,1\n", "export the backward ones"},
        {"factor\n1\n", "no column for date"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct captured c = {0};
        parse(&c, TL_IMPORT_FACTORS, "A.csv", rows[i].text);
        assert_int_equal(c.status, TL_PARSE);
        assert_non_null(strstr(c.err.text, rows[i].part));
        fixture_release(&c);
    }
}

static void test_calendar(void **state)
{
    (void)state;
    struct captured c = {0};
    parse(&c, TL_IMPORT_CALENDAR, "-",
          "exchange,cal_date,is_open\nSSE,20230104,1\nSSE,20230103,1\nSSE,20230101,0\n"
          "SSE,20230103,1\nSSE,20230105,maybe\nSSE,2023,1\n");
    assert_int_equal(c.status, TL_OK);
    assert_string_equal(c.out.p, "CN\n2023-01-03\n2023-01-04\n");
    assert_string_equal(c.rejects.p, "6:3 is_open \"maybe\" is neither 0 nor 1\n7:2 cal_date \"2023\" is not a date\n");
    assert_int_equal(c.count.duplicates, 1);
    parse(&c, TL_IMPORT_CALENDAR, "-", "trade_date\n2023-01-03\n");
    assert_string_equal(c.out.p, "CN\n2023-01-03\n");
    parse(&c, TL_IMPORT_CALENDAR, "-", "calendar_date,is_trading_day\n2023-01-01,0\n");
    assert_int_equal(c.status, TL_NO_DATA);
    fixture_release(&c);
}

/* Counts in ten-thousandths of a share and money in thousandths of a yuan, per ten shares; the price of a rights issue
 * in thousandths of a yuan. */
static const char export_sql[] =
    "SELECT s.code || '.' || m.market, w.date, w.bonus / 1e4,"
    " (w.countAsGift + w.countOfIncreasement) / 1e5, w.countForSell / 1e5, w.priceForSell / 1e3"
    " FROM stkWeight w JOIN Stock s USING (stockid) JOIN Market m USING (marketid)";

static void test_real_events(void **state)
{
    (void)state;
    const char *path = tl_test_shared("data/hikyuu/stock.db");
    if (!path) skip();
    char uri[1200];
    sqlite3 *db;
    sqlite3_stmt *st;
    snprintf(uri, sizeof uri, "file:%s?mode=ro&immutable=1", path);
    assert_int_equal(sqlite3_open_v2(uri, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, export_sql, -1, &st, NULL), SQLITE_OK);
    struct tl_buf csv;
    tl_buf_init(&csv, 0);
    tl_buf_puts(&csv, "symbol,date,cash,gift,rights,rights_price\n");
    while (sqlite3_step(st) == SQLITE_ROW) {
        for (int k = 0; k < 6; k++) tl_buf_printf(&csv, "%s%s", k ? "," : "", (const char *)sqlite3_column_text(st, k));
        tl_buf_putc(&csv, '\n');
    }
    sqlite3_finalize(st);
    sqlite3_close(db);
    struct captured c = {0};
    struct tl_import_options o = fixture_options();
    o.kind = TL_IMPORT_FACTORS;
    fixture_parse_once(&c, "-", tl_buf_str(&csv), &o, 0);
    print_message("ex-rights table: %llu records, %llu symbols, %llu merged, %llu rejected\n",
                  (unsigned long long)c.count.rows, (unsigned long long)c.count.symbols,
                  (unsigned long long)c.count.duplicates, (unsigned long long)c.count.rejected);
    assert_int_equal(c.status, TL_OK);
    assert_int_equal(c.count.rows, 32261);
    assert_int_equal(c.count.symbols, 3366);
    assert_int_equal(c.count.rejected + c.count.duplicates, 1);
    /* One for ten and 23 yuan; 2.37 rights for ten at 4.50; five for ten and 1.50 yuan. */
    const char *moutai = strstr(c.out.p, "600519.SH\n");
    assert_non_null(moutai);
    assert_non_null(strstr(moutai, "\n2011-07-01 2.3 0.1 0 0\n"));
    const char *vanke = strstr(c.out.p, "000002.SZ\n");
    assert_non_null(vanke);
    assert_non_null(strstr(vanke, "\n1997-07-14 0 0 0.237 4.5\n"));
    assert_non_null(strstr(vanke, "\n2007-05-16 0.15 0.5 0 0\n"));
    tl_buf_release(&csv);
    fixture_release(&c);
}

int test_import_facts(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_factors),
        cmocka_unit_test(test_bad_factors),
        cmocka_unit_test(test_calendar),
        cmocka_unit_test(test_real_events),
    };
    return cmocka_run_group_tests_name("import: factors and calendars", tests, NULL, NULL);
}
