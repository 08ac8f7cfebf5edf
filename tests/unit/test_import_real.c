/* SPDX-License-Identifier: Apache-2.0 */
/* Real files, where they are there: counts that are known from elsewhere, and single values. */
#include "import_fixture.h"

#include "base/num.h"
#include "market/civil.h"

#include <dirent.h>

static bool parse_real(struct captured *c, const char *file, const struct tl_import_options *o, size_t piece)
{
    const char *path = tl_test_shared(file);
    if (!path) return false;
    size_t n;
    char *text = fixture_slurp(path, &n);
    assert_non_null(text);
    fixture_parse_once(c, path, (struct tl_str){text, n}, o, piece);
    free(text);
    if (c->status != TL_OK) print_error("%s: %s\n", path, c->err.text);
    assert_int_equal(c->status, TL_OK);
    return true;
}

static size_t lines(const char *z)
{
    size_t n = 0;
    for (; *z; z++) n += *z == '\n';
    return n;
}

static void test_sp500(void **state)
{
    (void)state;
    struct captured c = {0}, pieces = {0};
    const struct tl_import_options o = fixture_options();
    if (!parse_real(&c, "data/sp500_5yr/all_stocks_5yr.csv", &o, 0)) skip();
    print_message("S&P 500: %llu symbols, %llu rows, %llu rejected, %llu inconsistent\n%s",
                  (unsigned long long)c.count.symbols, (unsigned long long)c.count.rows,
                  (unsigned long long)c.count.rejected, (unsigned long long)c.count.inconsistent, c.rejects.p);
    assert_int_equal(c.count.symbols, 505);
    assert_int_equal(c.count.rows, 619040);
    assert_int_equal(c.count.rejected, 11);
    assert_int_equal(c.count.inconsistent, 12);
    assert_int_equal(c.count.duplicates, 0);
    assert_int_equal(lines(c.out.p), 619040 - 11 + 505);
    assert_non_null(strstr(c.out.p, "AAL 1d \n2013-02-08 00:00 15.07 15.12 14.63 14.75 8407500 nan\n"));
    assert_string_equal(c.rejects.p, "82951:2 open is blank\n165736:2 open is blank\n165859:2 open is blank\n"
                                     "205078:2 open is blank\n239834:2 open is blank\n434381:2 open is blank\n"
                                     "434504:2 open is blank\n478596:2 open is blank\n558215:2 open is blank\n"
                                     "581908:2 open is blank\n598238:2 open is blank\n");
    assert_true(parse_real(&pieces, "data/sp500_5yr/all_stocks_5yr.csv", &o, 65521));
    assert_string_equal(c.out.p, pieces.out.p);
    assert_string_equal(c.rejects.p, pieces.rejects.p);
    fixture_release(&c);
    fixture_release(&pieces);
}

static void test_csi300(void **state)
{
    (void)state;
    const char *found = tl_test_shared("data/ashare_csi300/data");
    if (!found) skip();
    char folder[1024];
    snprintf(folder, sizeof folder, "%s", found);
    struct tl_import_options o = fixture_options();
    struct captured c = {0};
    uint64_t files = 0, rows = 0, rejected = 0, inconsistent = 0, unknown = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        char file[400];
        if (!strstr(e->d_name, ".csv")) continue;
        snprintf(file, sizeof file, "data/ashare_csi300/data/%s", e->d_name);
        assert_true(parse_real(&c, file, &o, 0));
        files++;
        rows += c.count.rows;
        rejected += c.count.rejected;
        inconsistent += c.count.inconsistent;
        assert_int_equal(c.count.symbols, 1);
        for (const char *z = c.out.p; (z = strstr(z, " nan nan\n")); z++) unknown++;
        if (strncmp(e->d_name, "sh.600000", 9) == 0)
            assert_begins(c.out.p, "600000.SH 1d \n2005-01-04 00:00 6.98 6.98 6.82 6.88 3808939 nan\n");
    }
    closedir(d);
    print_message("CSI 300: %llu files, %llu rows, %llu inconsistent, %llu without volume\n", (unsigned long long)files,
                  (unsigned long long)rows, (unsigned long long)inconsistent, (unsigned long long)unknown);
    assert_int_equal(files, 303);
    assert_int_equal(rows, 861340);
    assert_int_equal(rejected, 0);
    assert_int_equal(inconsistent, 5);
    assert_int_equal(unknown, 5);
    fixture_release(&c);
}

static void test_minutes(void **state)
{
    (void)state;
    struct captured c = {0};
    struct tl_import_options o = fixture_options();
    o.symbol = "sh000001";
    o.bar_time_end = 1;
    if (!parse_real(&c, "data/hikyuu/test_min_data.csv", &o, 0)) skip();
    assert_int_equal(c.count.rows, 24000);
    assert_int_equal(c.count.rejected, 0);
    assert_begins(c.out.p, "000001.SH 1m Asia/Shanghai\n2017-03-03 05:21 3214.66 3215.41 3214.06 3215.12 nan 0\n");
    assert_non_null(strstr(c.out.p, "\n2017-03-06 01:30 ")); /* 9:31 */
    assert_null(strstr(c.out.p, " 07:00 "));                 /* 15:00 begins at 14:59 */
    o.bar_time_end = -1;
    assert_true(parse_real(&c, "data/hikyuu/test_day_data.csv", &o, 0));
    assert_begins(c.out.p, "000001.SH 1d \n2017-03-07 00:00 3233.09 3242.66 3226.82 3242.41 nan 20993120.6\n");
    fixture_release(&c);
}

static void test_futures(void **state)
{
    (void)state;
    struct captured c = {0};
    struct tl_import_options o = fixture_options();
    o.bar_time_end = 1;
    if (!parse_real(&c, "data/trademaster/future_5min_data.csv", &o, 0)) skip();
    print_message("futures: %llu symbols, %llu rows, %llu rejected, %llu merged\n%s",
                  (unsigned long long)c.count.symbols, (unsigned long long)c.count.rows,
                  (unsigned long long)c.count.rejected, (unsigned long long)c.count.duplicates, c.rejects.p);
    assert_int_equal(c.count.symbols, 20);
    assert_int_equal(c.count.rows, 20370);
    assert_int_equal(c.count.rejected, 0);
    assert_begins(c.out.p, "FU2305 5m Asia/Shanghai\n2023-03-07 14:00 3084 3089 3083 3088 19713 nan\n");
    fixture_release(&c);
}

static void test_new_york(void **state)
{
    (void)state;
    struct captured a = {0}, b = {0};
    struct tl_import_options o = fixture_options();
    o.symbol = "SPX";
    o.zone = "America/New_York";
    if (!parse_real(&a, "data/mplfinance/SP500_NOV2019_IDay.csv", &o, 0)) skip();
    assert_true(parse_real(&b, "data/mplfinance/SP500_NOV2019_IDayRVol.csv", &o, 0));
    assert_int_equal(a.count.rows, 1563);
    assert_int_equal(b.count.rows, 1563);
    assert_int_equal(a.count.rejected + b.count.rejected, 0);
    assert_begins(a.out.p, "SPX 1m America/New_York\n2019-11-05 14:30 3080.8 3081.47 3080.3 3080.49 0 nan\n");
    /* The two files differ in the date's form and in volume alone. */
    assert_int_equal(lines(a.out.p), lines(b.out.p));
    for (const char *x = a.out.p, *y = b.out.p; *x && *y; x = strchr(x, '\n') + 1, y = strchr(y, '\n') + 1)
        assert_memory_equal(x, y, 16);
    fixture_release(&a);
    fixture_release(&b);
}

static void test_yahoo(void **state)
{
    (void)state;
    struct captured c = {0};
    struct tl_import_options o = fixture_options();
    o.profile = "yahoo";
    o.symbol = "GOOG";
    if (!parse_real(&c, "data/mplfinance/yahoofinance-GOOG-20040819-20180120.csv", &o, 0)) skip();
    assert_int_equal(c.count.rows, 3379);
    assert_int_equal(c.count.rejected, 0);
    assert_begins(c.out.p, "GOOG 1d \n2004-08-19 00:00 49.676899 51.693783 47.669952 49.845802 44994500 nan\n");
    o.symbol = "SPY";
    assert_true(parse_real(&c, "data/mplfinance/yahoofinance-SPY-20080101-20180101.csv", &o, 0));
    assert_int_equal(c.count.rows, 2519);
    fixture_release(&c);
}

int test_import_real(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sp500),   cmocka_unit_test(test_csi300),   cmocka_unit_test(test_minutes),
        cmocka_unit_test(test_futures), cmocka_unit_test(test_new_york), cmocka_unit_test(test_yahoo),
    };
    return cmocka_run_group_tests_name("import: real data", tests, NULL, NULL);
}
