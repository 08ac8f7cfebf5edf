/* SPDX-License-Identifier: Apache-2.0 */
/* The profiles, each on text as the vendor writes it. */
#include "import_fixture.h"

#include "import/profiles.h"

static void parse(struct captured *c, const char *profile, const char *name, struct tl_str text)
{
    struct tl_import_options o = fixture_options();
    o.profile = profile;
    fixture_parse(c, name, text, &o);
    if (c->status != TL_OK) print_message("%s: %s\n", name, c->err.text);
}

static void test_baostock(void **state)
{
    (void)state;
    struct captured c = {0};
    parse(&c, "baostock", "any.csv",
          TL_STR("date,time,code,open,high,low,close,volume,amount,adjustflag\n"
                 "2023-01-03,20230103093500000,sh.600519,1730.0,1740,1720,1735.5,100,173000.5,3\n"
                 "2023-01-03,20230103094000000,sh.600519,1735,1741,1721,1736.5,200,,3\n"));
    assert_string_equal(c.out.p, "600519.SH 5m Asia/Shanghai\n2023-01-03 01:30 1730 1740 1720 1735.5 100 173000.5\n"
                                 "2023-01-03 01:35 1735 1741 1721 1736.5 200 nan\n");
    parse(&c, "baostock", "any.csv",
          TL_STR("date,code,open,high,low,close,preclose,volume,amount,turn,tradestatus,pctChg,isST\n"
                 "2023-01-03,sz.000001,13.2,13.8,13.1,13.7,13.1,219412862,2971546989.1,1.1,1,4.6,0\n"));
    assert_string_equal(c.out.p, "000001.SZ 1d \n2023-01-03 00:00 13.2 13.8 13.1 13.7 219412862 2971546989.1\n");
    fixture_release(&c);
}

static void test_akshare(void **state)
{
    (void)state;
    static const char utf8[] = "日期,股票代码,开盘,收盘,最高,最低,成交量,成交额,振幅,涨跌幅,涨跌额,换手率\n"
                               "2023-01-03,000001,13.2,13.77,13.85,13.05,2194128,2971546989.1,6,4,0,1.13\n";
    /* 日期,开盘,收盘,最高,最低,成交量 in GBK */
    static const char gbk[] = "\xC8\xD5\xC6\xDA,\xBF\xAA\xC5\xCC,\xCA\xD5\xC5\xCC,\xD7\xEE\xB8\xDF,\xD7\xEE\xB5\xCD,"
                              "\xB3\xC9\xBD\xBB\xC1\xBF\n2023-01-03,13.2,13.77,13.85,13.05,2194128\n";
    struct captured c = {0};
    parse(&c, "akshare", "x.csv", TL_STR(utf8));
    assert_string_equal(c.out.p, "000001.SZ 1d \n2023-01-03 00:00 13.2 13.85 13.05 13.77 219412800 2971546989.1\n");
    parse(&c, "akshare", "600519.csv", TL_STR(gbk));
    assert_string_equal(c.out.p, "600519.SH 1d \n2023-01-03 00:00 13.2 13.85 13.05 13.77 219412800 nan\n");
    parse(&c, "akshare", "000001.csv", TL_STR(gbk));
    assert_begins(c.out.p, "000001.SZ");
    parse(&c, NULL, "600519.csv", TL_STR(gbk)); /* without the profile the unit is not known: taken as it stands */
    assert_string_equal(c.out.p, "600519.SH 1d \n2023-01-03 00:00 13.2 13.85 13.05 13.77 2194128 nan\n");
    parse(&c, "akshare", "sz000001.csv", TL_STR("date,open,high,low,close,volume\n2023-01-03,1,1,1,1,100\n"));
    assert_string_equal(c.out.p, "000001.SZ 1d \n2023-01-03 00:00 1 1 1 1 100 nan\n"); /* the English ones are shares */
    parse(&c, "akshare", "600519.csv",
          TL_STR("时间,开盘,收盘,最高,最低,成交量\n2023-01-03 09:31:00,1,1,1,1,3\n"
                 "2023-01-03 09:32:00,1,1,1,1,4\n"));
    assert_string_equal(
        c.out.p, "600519.SH 1m Asia/Shanghai\n2023-01-03 01:30 1 1 1 1 300 nan\n2023-01-03 01:31 1 1 1 1 400 nan\n");
    fixture_release(&c);
}

static void test_tushare(void **state)
{
    (void)state;
    struct captured c = {0};
    parse(&c, "tushare", "x.csv",
          TL_STR(",ts_code,trade_date,open,high,low,close,pre_close,change,pct_chg,vol,amount\n"
                 "0,600519.SH,20230104,2,2,2,2,1,1,1,12.5,3.25\n1,600519.SH,20230103,1,1,1,1,1,1,1,10,2\n"));
    assert_string_equal(c.out.p,
                        "600519.SH 1d \n2023-01-03 00:00 1 1 1 1 1000 2000\n2023-01-04 00:00 2 2 2 2 1250 3250\n");
    parse(&c, "tushare", "x.csv",
          TL_STR("ts_code,trade_time,open,close,high,low,vol,amount\n600519.SH,2023-01-03 09:36:00,1,1,1,1,10,2\n"
                 "600519.SH,2023-01-03 09:35:00,1,1,1,1,10,2\n"));
    assert_string_equal(c.out.p,
                        "600519.SH 1m Asia/Shanghai\n2023-01-03 01:34 1 1 1 1 10 2\n2023-01-03 01:35 1 1 1 1 10 2\n");
    fixture_release(&c);
}

/* 贵州茅台 日线 不复权, then 日期 开盘 最高 最低 收盘 成交量 成交额, and 数据来源:通达信, in GBK. */
#define TDX_TITLE   "600519 \xB9\xF3\xD6\xDD\xC3\xA9\xCC\xA8 \xC8\xD5\xCF\xDF \xB2\xBB\xB8\xB4\xC8\xA8\r\n"
#define TDX_FORWARD "600519 \xB9\xF3\xD6\xDD\xC3\xA9\xCC\xA8 \xC8\xD5\xCF\xDF \xC7\xB0\xB8\xB4\xC8\xA8\r\n"
#define TDX_DAY                                                                                                        \
    "      \xC8\xD5\xC6\xDA\t    \xBF\xAA\xC5\xCC\t    \xD7\xEE\xB8\xDF\t    \xD7\xEE\xB5\xCD\t    \xCA\xD5\xC5\xCC"   \
    "\t    \xB3\xC9\xBD\xBB\xC1\xBF\t    \xB3\xC9\xBD\xBB\xB6\xEE\r\n"
#define TDX_FOOT "\xCA\xFD\xBE\xDD\xC0\xB4\xD4\xB4:\xCD\xA8\xB4\xEF\xD0\xC5\r\n"

static void test_tdx(void **state)
{
    (void)state;
    static const char day[] = "600519.SH 1d \n2023-01-03 00:00 1731.2 1738.43 1706.01 1730.01 2604722 4479998976\n";
    struct captured c = {0};
    parse(&c, "tdx", "SH#600519.txt",
          TL_STR(TDX_TITLE TDX_DAY
                 "2023/01/03\t1731.20\t1738.43\t1706.01\t1730.01\t2604722\t4479998976.00\r\n" TDX_FOOT));
    assert_string_equal(c.out.p, day);
    assert_string_equal(c.rejects.p, "");
    assert_int_equal(c.count.rows, 1);
    parse(&c, "tdx", "export.txt", /* the title says whose, blanks separate, a tab trails */
          TL_STR(TDX_TITLE "date open high low close volume amount\r\n"
                           "2023/01/03  1731.20  1738.43  1706.01  1730.01  2604722  4479998976.00  \r\n" TDX_FOOT));
    assert_string_equal(c.out.p, day);
    parse(&c, "tdx", "SZ#000001.txt",
          TL_STR(TDX_TITLE TDX_DAY "2023/01/03\t1\t1\t1\t1\t2\t3\t\r\n" TDX_FOOT)); /* a name about another code */
    assert_begins(c.out.p, "600519.SH");
    parse(&c, "tdx", "SZ#000001.txt", TL_STR("000001\r\n" TDX_DAY "2023/01/03\t1\t1\t1\t1\t2\t3\r\n"));
    assert_begins(c.out.p, "000001.SZ");
    parse(&c, "tdx", "export.txt", TL_STR("000001\r\n" TDX_DAY "2023/01/03\t1\t1\t1\t1\t2\t3\r\n"));
    assert_int_equal(c.status, TL_AMBIGUOUS);
    parse(&c, "tdx", "SH#600519.txt", TL_STR(TDX_FORWARD TDX_DAY "2023/01/03\t1\t1\t1\t1\t2\t3\r\n"));
    assert_int_equal(c.status, TL_UNSUPPORTED);
    assert_non_null(strstr(c.err.text, "前复权"));
    parse(&c, "tdx", "SH#600519.txt", TL_STR(TDX_TITLE TDX_TITLE TDX_DAY "2023/01/03\t1\t1\t1\t1\t2\t3\r\n"));
    assert_int_equal(c.status, TL_PARSE);
    assert_int_equal(c.err.line, 2);
    parse(&c, "tdx", "SH#600519.txt",
          TL_STR(TDX_TITLE "日期,时间,开盘,最高,最低,收盘,成交量,成交额\r\n2023/01/03,0935,1,1,1,1,5,6\r\n"
                           "2023/01/03,0940,1,1,1,1,5,6\r\n" TDX_FOOT));
    assert_string_equal(c.out.p,
                        "600519.SH 5m Asia/Shanghai\n2023-01-03 01:30 1 1 1 1 5 6\n2023-01-03 01:35 1 1 1 1 5 6\n");
    fixture_release(&c);
}

static void test_yahoo(void **state)
{
    (void)state;
    struct captured c = {0};
    parse(&c, "yahoo", "BRK-B.csv",
          TL_STR("Date,Open,High,Low,Close,Adj Close,Volume\n2017-12-28,267.89,267.92,267.45,267.87,200.5,45116100\n"
                 "2017-12-29,null,null,null,null,null,null\n"));
    assert_string_equal(c.out.p, "BRK-B 1d \n2017-12-28 00:00 267.89 267.92 267.45 267.87 45116100 nan\n");
    assert_string_equal(c.rejects.p, "3:2 Open \"null\" is blank\n");
    fixture_release(&c);
}

static void test_markets(void **state)
{
    (void)state;
    static const struct {
        const char *code;
        enum tl_market market;
    } rows[] = {{"600519", TL_MARKET_SH}, {"688001", TL_MARKET_SH},  {"900901", TL_MARKET_SH},
                {"510300", TL_MARKET_SH}, {"000001", TL_MARKET_SZ},  {"300750", TL_MARKET_SZ},
                {"200002", TL_MARKET_SZ}, {"159915", TL_MARKET_SZ},  {"830799", TL_MARKET_BJ},
                {"430047", TL_MARKET_BJ}, {"920002", TL_MARKET_BJ},  {"00700", TL_MARKET_NONE},
                {"AAPL", TL_MARKET_NONE}, {"60051x", TL_MARKET_NONE}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(tl_share_market(tl_str(rows[i].code)), rows[i].market);
}

int test_import_vendors(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_baostock), cmocka_unit_test(test_akshare), cmocka_unit_test(test_tushare),
        cmocka_unit_test(test_tdx),      cmocka_unit_test(test_yahoo),   cmocka_unit_test(test_markets),
    };
    return cmocka_run_group_tests_name("import: vendors", tests, NULL, NULL);
}
