/* SPDX-License-Identifier: Apache-2.0 */
/* Bad input: what ends a file, what rejects a row, and that both say where. */
#include "import_fixture.h"

#include <errno.h>

#define HEAD "date,open,high,low,close,volume\n"
#define GOOD "2013-01-01,1,1,1,1,1\n"

static void test_files(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct tl_str in;
        enum tl_status status;
        unsigned line;
        const char *text; /* a part of it */
    } rows[] = {
        {"A.csv", TL_STR(""), TL_NO_DATA, 0, "the file is empty"},
        {"A.csv", TL_STR("\n\r\n \n"), TL_NO_DATA, 0, "nothing but blank lines"},
        {"A.csv", TL_STR("\xEF\xBB\xBF"), TL_NO_DATA, 0, "nothing but blank lines"},
        {"A.csv", TL_STR(HEAD), TL_NO_DATA, 1, "no rows behind the header"},
        {"A.csv", TL_STR("\n\n" HEAD "\n\n"), TL_NO_DATA, 3, "no rows behind the header"},
        {"A.csv", TL_STR(GOOD GOOD), TL_PARSE, 1, "no column for date, open, high, low, close; found: 2013-01-01, 1,"},
        {"A.csv", TL_STR("date,open,high,close\n" GOOD), TL_PARSE, 1,
         "no column for low; found: date, open, high, close"},
        {"A.csv", TL_STR("open,high,low,close\n1,1,1,1\n"), TL_PARSE, 1, "no column for date; found"},
        {"A.csv", TL_STR("date,open,high,low,close,Close\n"), TL_PARSE, 1,
         "two columns for the close: \"close\" (column 5) and \"Close\" (column 6)"},
        {"A.csv", TL_STR("date,vol,open,high,low,close,volume\n"), TL_PARSE, 1, "two columns for the volume"},
        {"A.csv", TL_STR("\"date,open\n"), TL_PARSE, 1, "never closed"},
        {"A.csv", TL_STR("\"date\"x,open,high,low,close\n" GOOD), TL_PARSE, 1,
         "text behind a closing quote in the header"},
        {"A.csv", TL_STR("da\0te,open\n"), TL_PARSE, 1, "NUL byte"},
        {"A.csv", TL_STR(HEAD GOOD "2013-01-02,1,1,\0,1,1\n"), TL_PARSE, 3, "NUL byte"},
        {"A.csv", TL_STR(HEAD GOOD "2013-01-02,\"1,1,1,1,1\n"), TL_PARSE, 3, "a quote is opened here and never closed"},
        {"A.csv", TL_STR("\x1f\x8b\x08\0\0\0"), TL_PARSE, 0, "not a CSV file but a gzip file"},
        {"A.csv", TL_STR("PK\x03\x04\0\0"), TL_PARSE, 0, "zip"},
        {"A.csv",
         TL_STR("\xFF\xFE"
                "d\0a\0"),
         TL_PARSE, 0, "UTF-16"},
        {"A.csv", TL_STR("\x01\x02\x03\x04\n"), TL_PARSE, 1, "not a text file: byte 0x01 in the header"},
        {"A.csv", TL_STR("\xFF\xFF,\xFF\n1,2\n"), TL_PARSE, 1, "neither UTF-8 nor GB18030"},
        {"A.csv", TL_STR(HEAD "2013-01-01,x,1,1,1,1\n2013-01-02,,1,1,1,1\n"), TL_NO_DATA, 2,
         "none of the 2 rows is usable"},
        {"000001.csv", TL_STR(HEAD GOOD), TL_AMBIGUOUS, 0, "000001"},
        {"-", TL_STR(HEAD GOOD), TL_INVALID, 0, "--symbol"},
        {"a b.csv", TL_STR(HEAD GOOD), TL_INVALID, 0, "--symbol"},
        {"name_of_a_file_that_is_no_symbol_at_all.csv", TL_STR(HEAD GOOD), TL_INVALID, 0, "--symbol"},
        {"x.csv", TL_STR("code,date,open,high,low,close\n600519,2013-01-01,1,1,1,1\n000001,2013-01-01,1,1,1,1\n"),
         TL_AMBIGUOUS, 3, "000001"},
        {"A.csv", TL_STR("datetime,open,high,low,close\n2013-01-01 09:30,1,1,1,1\n"), TL_INVALID, 0, "--freq"},
        {"A.csv", TL_STR("datetime,open,high,low,close\n2013-01-01 09:30,1,1,1,1\n2013-01-01 09:37,1,1,1,1\n"),
         TL_INVALID, 0, "--freq"},
    };
    const struct tl_import_options o = fixture_options();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct captured c = {0};
        fixture_parse(&c, rows[i].name, rows[i].in, &o);
        if (!strstr(c.err.text, rows[i].text)) print_error("row %zu: %s\n", i, c.err.text);
        assert_int_equal(c.status, rows[i].status);
        assert_non_null(strstr(c.err.text, rows[i].text));
        assert_int_equal(c.err.line, rows[i].line);
        assert_string_equal(c.err.file, rows[i].name);
        assert_string_equal(c.out.p, "");
        fixture_release(&c);
    }
}

static void test_rows(void **state)
{
    (void)state;
    static const struct {
        const char *row, *reject;
    } rows[] = {
        {"2013-01-02,1,1,1,1", "3:0 5 columns, the header has 6"},
        {"2013-01-02,1,1,1,1,1,1", "3:0 7 columns, the header has 6"},
        {"2013-01-02", "3:0 1 columns, the header has 6"},
        {",,,,,", "3:1 date is blank"},
        {"2013-01-32,1,1,1,1,1", "3:1 date \"2013-01-32\" is no such day"},
        {"yesterday,1,1,1,1,1", "3:1 date \"yesterday\" is not a date"},
        {"2013-01-02T10:00Z,1,1,1,1,1", "3:1 date \"2013-01-02T10:00Z\" carries a UTC offset, earlier rows do not"},
        {"2013-01-02,,1,1,1,1", "3:2 open is blank"},
        {"2013-01-02,null,1,1,1,1", "3:2 open \"null\" is blank"},
        {"2013-01-02,1,NaN,1,1,1", "3:3 high \"NaN\" is blank"},
        {"2013-01-02,1,inf,1,1,1", "3:3 high \"inf\" is not finite"},
        {"2013-01-02,1,1,1e400,1,1", "3:4 low \"1e400\" is out of range"},
        {"2013-01-02,1,1,-1,1,1", "3:4 low \"-1\" is negative"},
        {"2013-01-02,1,1,1,abc,1", "3:5 close \"abc\" is not a number"},
        {"2013-01-02,1,1,1,0x10,1", "3:5 close \"0x10\" is not a number"},
        {"2013-01-02,1,1,1,\"1,000\",1", "3:5 close \"1,000\" is not a number"},
        {"2013-01-02,1,1,1,1,-5", "3:6 volume \"-5\" is negative"},
        {"2013-01-02,1,1,1,1,1e999", "3:6 volume \"1e999\" is out of range"},
        {"2013-01-02,1,1,1,1,many", "3:6 volume \"many\" is not a number"},
        {"\"2013-01-02\"x,1,1,1,1,1", "3:1 text behind a closing quote"},
        {"2013-01-01,1,2,1,1,1", "3:0 A 2013-01-01 again with other values; first on line 2"},
    };
    const struct tl_import_options o = fixture_options();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[256], reject[160];
        struct captured c = {0};
        snprintf(text, sizeof text, HEAD GOOD "%s\n2013-01-03,1,1,1,1,-0\n", rows[i].row);
        snprintf(reject, sizeof reject, "%s\n", rows[i].reject);
        fixture_parse(&c, "A.csv", tl_str(text), &o);
        assert_int_equal(c.status, TL_OK);
        assert_string_equal(c.rejects.p, reject);
        assert_string_equal(c.out.p, "A 1d \n2013-01-01 00:00 1 1 1 1 1 nan\n2013-01-03 00:00 1 1 1 1 0 nan\n");
        assert_int_equal(c.count.rows, 3);
        assert_int_equal(c.count.rejected, 1);
        fixture_release(&c);
    }
}

static void test_symbol_rows(void **state)
{
    (void)state;
    struct captured c = {0};
    struct tl_import_options o = fixture_options();
    fixture_parse(&c, "x.csv",
                  TL_STR("symbol,date,open,high,low,close\nA,2013-01-01,1,1,1,1\n,2013-01-01,1,1,1,1\n"
                         "$x,2013-01-01,1,1,1,1\nA_SYMBOL_THAT_IS_LONGER_THAN_ALL_OF_THEM,2013-01-01,1,1,1,1\n"
                         "$x,2013-01-02,1,1,1,1\n"),
                  &o);
    assert_int_equal(c.status, TL_OK);
    assert_string_equal(c.rejects.p,
                        "3:1 symbol is blank\n4:1 symbol \"$x\" is not a symbol\n"
                        "5:1 symbol \"A_SYMBOL_THAT_IS_LONGER_THAN_ALL_OF_THEM\" is too long for a symbol\n"
                        "6:1 symbol \"$x\" is not a symbol\n");
    o.symbol = "B";
    fixture_parse(&c, "x.csv", TL_STR("symbol,date,open,high,low,close\nA,2013-01-01,1,1,1,1\nA,2013-01-02,1,1,1,1\n"),
                  &o);
    assert_int_equal(c.status, TL_OK);
    assert_begins(c.out.p, "B 1d");
    fixture_parse(&c, "x.csv", TL_STR("symbol,date,open,high,low,close\nA,2013-01-01,1,1,1,1\nC,2013-01-02,1,1,1,1\n"),
                  &o);
    assert_int_equal(c.status, TL_INVALID);
    assert_int_equal(c.err.line, 3);
    assert_non_null(strstr(c.err.text, "\"C\" here and \"A\" on line 2"));
    fixture_release(&c);
}

static void test_options(void **state)
{
    (void)state;
    const struct tl_str good = TL_STR(HEAD GOOD);
    struct captured c = {0};
    struct tl_import_options o = fixture_options();
    o.profile = "tusahre";
    fixture_parse(&c, "A.csv", good, &o);
    assert_int_equal(c.status, TL_INVALID);
    assert_non_null(strstr(c.err.text, "did you mean tushare?"));
    o = fixture_options();
    o.zone = "Mars/Olympus";
    fixture_parse(&c, "A.csv", good, &o);
    assert_int_equal(c.status, TL_NOT_FOUND);
    o = fixture_options();
    o.kind = TL_IMPORT_CALENDAR;
    fixture_parse(&c, "A.csv", good, &o);
    assert_int_equal(c.status, TL_INVALID);
    o = fixture_options();
    o.freq_set = true;
    o.freq = TL_FREQ_5M;
    fixture_parse(&c, "A.csv", good, &o);
    assert_int_equal(c.status, TL_INVALID);
    assert_non_null(strstr(c.err.text, "5m bars need times"));
    o = fixture_options();
    o.symbol = "no good";
    fixture_parse(&c, "A.csv", good, &o);
    assert_int_equal(c.status, TL_INVALID);
    fixture_release(&c);
}

/* Gives "x" for ever and counts what was taken: a line of 1 GB must not be read, let alone kept. */
static int64_t endless(void *ctx, char *p, size_t cap)
{
    uint64_t *taken = ctx;
    if (*taken == 0) {
        memcpy(p, HEAD GOOD, strlen(HEAD GOOD));
        *taken = strlen(HEAD GOOD);
        return (int64_t)*taken;
    }
    if (cap > UINT64_C(1) << 30) cap = (size_t)1 << 30;
    memset(p, 'x', cap);
    *taken += cap;
    return (int64_t)cap;
}

struct one_read {
    struct tl_str text;
    bool given;
};

static int64_t once(void *ctx, char *p, size_t cap)
{
    struct one_read *r = ctx;
    if (r->given) return 0;
    r->given = true;
    assert_true(r->text.n <= cap);
    memcpy(p, r->text.p, r->text.n);
    return (int64_t)r->text.n;
}

static int64_t breaking(void *ctx, char *p, size_t cap)
{
    bool *given = ctx;
    (void)cap;
    if (*given) return -EIO;
    *given = true;
    memcpy(p, HEAD GOOD, strlen(HEAD GOOD));
    return (int64_t)strlen(HEAD GOOD);
}

static enum tl_status full(void *ctx, const struct tl_symbol *symbol, enum tl_freq freq, const char *zone,
                           const struct tl_bars *bars, bool provisional, struct tl_err *err)
{
    (void)symbol;
    (void)freq;
    (void)zone;
    (void)bars;
    (void)provisional;
    ++*(int *)ctx;
    snprintf(err->text, sizeof err->text, "no space left");
    return err->status = TL_FULL;
}

static bool always(void *ctx)
{
    (void)ctx;
    return true;
}

static void test_sources(void **state)
{
    (void)state;
    const struct tl_import_sink nothing = {0}; /* a call would crash */
    struct tl_import_options o = fixture_options();
    struct tl_import_counts n;
    struct tl_err err;
    uint64_t taken = 0;
    const struct tl_import_source gigabyte = {.read = endless, .ctx = &taken, .name = "A.csv"};
    assert_int_equal(tl_import_parse(&gigabyte, &o, &nothing, &n, &err), TL_TOO_LARGE);
    assert_int_equal(err.line, 3);
    assert_string_equal(err.file, "A.csv");
    assert_true(taken < (UINT64_C(8) << 20));
    /* The first refusal of the sink ends the input. */
    static const char two[] = "Name," HEAD "A," GOOD "B," GOOD;
    struct captured c = {0};
    int calls = 0;
    const struct tl_import_sink refusing = {.ctx = &calls, .bars = full};
    fixture_parse(&c, "A.csv", TL_STR(two), &o);
    assert_int_equal(c.count.symbols, 2);
    fixture_release(&c);
    struct one_read rows = {TL_STR(two), false};
    const struct tl_import_source good = {.read = once, .ctx = &rows, .name = "A.csv"};
    assert_int_equal(tl_import_parse(&good, &o, &refusing, &n, &err), TL_FULL);
    assert_string_equal(err.text, "no space left");
    assert_int_equal(calls, 1);
    bool given = false;
    const struct tl_import_source broken = {.read = breaking, .ctx = &given, .name = "A.csv"};
    assert_int_equal(tl_import_parse(&broken, &o, &nothing, &n, &err), TL_IO);
    o.cancelled = always;
    given = false;
    assert_int_equal(tl_import_parse(&broken, &o, &nothing, &n, NULL), TL_CANCELLED);
}

int test_import_bad(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),   cmocka_unit_test(test_rows),    cmocka_unit_test(test_symbol_rows),
        cmocka_unit_test(test_options), cmocka_unit_test(test_sources),
    };
    return cmocka_run_group_tests_name("import: bad input", tests, NULL, NULL);
}
