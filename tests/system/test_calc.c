/* SPDX-License-Identifier: Apache-2.0 */
/* The path of a user, by the real binary: bars in, indicators out, again after changes, and everything that gets in the
 * way. */
#include "support.h"

#include "run.h"

#include <jansson.h>
#include <sqlite3.h>

static int set_up(void **state)
{
    struct run *r = calloc(1, sizeof *r);
    run_init(r);
    *state = r;
    return 0;
}

static int tear_down(void **state)
{
    run_release(*state);
    free(*state);
    return 0;
}

/* Days of January 2024 from the 2nd on, closes as given. */
static void put_bars(struct run *r, const char *name, const double *close, size_t n)
{
    char text[8192];
    size_t used = (size_t)snprintf(text, sizeof text, "date,open,high,low,close,volume\n");
    for (size_t i = 0; i < n; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "2024-01-%02zu,%g,%g,%g,%g,100\n", i + 2, close[i],
                                 close[i] + 1, close[i] - 1, close[i]);
    run_put(r, name, text);
}

/* The last line of what was printed, as JSON. */
static json_t *last_json(const struct run *r)
{
    size_t n = strlen(r->out);
    while (n && r->out[n - 1] == '\n') r->out[--n] = '\0';
    const char *line = strrchr(r->out, '\n');
    json_error_t error;
    json_t *j = json_loads(line ? line + 1 : r->out, 0, &error);
    if (!j) fail_msg("%s in: %s", error.text, r->out);
    return j;
}

static long long count_of(const struct run *r, const char *key)
{
    json_t *j = last_json(r);
    json_t *v = json_object_get(j, key);
    if (!json_is_integer(v)) fail_msg("no count %s", key);
    long long n = json_integer_value(v);
    json_decref(j);
    return n;
}

static void bars_in_values_out(void **state)
{
    struct run *r = *state;
    const double close[] = {10, 11, 12.5, 12, 13};
    put_bars(r, "600519.SH.csv", close, 5);
    run(r, "import", "600519.SH.csv");
    expect(r, 0, "appended", "");
    run(r, "get", "sh600519", "sma(3)", "--format", "csv");
    expect(r, 0, NULL, "");
    assert_string_equal(r->out,
                        "date,sma\n2024-01-04,11.166666666666666\n2024-01-05,11.833333333333334\n2024-01-06,12.5\n");
    run(r, "get", "600519.SH", "SMA(3)", "--json", "--last", "1");
    expect(r, 0, NULL, "");
    json_t *j = last_json(r);
    const char *symbol, *freq, *adjust, *spec, *source, *freshness;
    json_int_t revision, bars, last_ts, age;
    json_t *columns, *ts, *values;
    assert_int_equal(json_unpack(j, "{s:s,s:s,s:s,s:s,s:{s:I,s:I,s:I},s:s,s:s,s:I,s:o,s:o,s:o}", "symbol", &symbol,
                                 "freq", &freq, "adjust", &adjust, "spec", &spec, "version", "revision", &revision,
                                 "bars", &bars, "last_ts", &last_ts, "source", &source, "freshness", &freshness,
                                 "age_ms", &age, "columns", &columns, "ts", &ts, "values", &values),
                     0);
    assert_string_equal(symbol, "600519.SH");
    assert_string_equal(freq, "1d");
    assert_string_equal(adjust, "raw");
    assert_string_equal(spec, "SMA(3)");
    assert_string_equal(source, "store"); /* the first get kept it */
    assert_string_equal(freshness, "fresh");
    assert_true(revision > 0 && bars == 5 && last_ts == 1704499200000 && age >= 0);
    assert_int_equal(json_integer_value(json_array_get(ts, 0)), last_ts);
    assert_true(json_number_value(json_array_get(json_array_get(values, 0), 0)) == 12.5);
    assert_string_equal(json_string_value(json_array_get(columns, 0)), "sma");
    json_decref(j);
    run(r, "bars", "600519.SH", "--freq", "1w", "--format", "csv");
    expect(r, 0, "date,open,high,low,close,volume,amount\n2024-01-02,10,14,9,13,500,\n", "");
    run(r, "get", "600519.SH", "SMA(3)", "--from", "2024-01-05", "--to", "2024-01-05", "--format", "csv");
    assert_string_equal(r->out, "date,sma\n2024-01-05,11.833333333333334\n");
}

static void computes_only_what_changed(void **state)
{
    struct run *r = *state;
    const double first[] = {10, 11, 12.5, 12, 13, 14}, corrected[] = {10, 11.5, 12.5, 12, 13, 14};
    put_bars(r, "A.csv", first, 5);
    put_bars(r, "B.csv", first, 5);
    run_shell(r, "$TIER import A.csv && $TIER import B.csv");
    expect(r, 0, NULL, NULL);
    const char *const calc[] = {getenv("TL_TEST_BINARY"), "calc",   "--indicators",
                                "SMA(2);SMA(3),MAX(2)",   "--json", NULL};
    run_argv(r, calc);
    expect(r, 0, NULL, "");
    assert_int_equal(count_of(r, "computed"), 6);
    run_argv(r, calc);
    assert_int_equal(count_of(r, "computed"), 0);
    assert_int_equal(count_of(r, "from_cache"), 6);
    put_bars(r, "A.csv", first, 6); /* one more bar */
    run(r, "import", "A.csv");
    run_argv(r, calc);
    assert_int_equal(count_of(r, "computed"), 3);
    put_bars(r, "A.csv", corrected, 6);
    run(r, "import", "A.csv");
    run_argv(r, calc);
    assert_int_equal(count_of(r, "computed"), 3);
    run(r, "get", "A", "MAX(2)", "--format", "csv", "--last", "5");
    expect(r, 0, "2024-01-03,11.5\n", NULL);
    run(r, "import", "A.csv"); /* the same again changes nothing */
    run_argv(r, calc);
    assert_int_equal(count_of(r, "from_cache"), 6);
}

static void failures_are_listed_and_counted_apart(void **state)
{
    struct run *r = *state;
    const double close[] = {10, 11, 12.5, 12, 13};
    put_bars(r, "A.csv", close, 5);
    run(r, "import", "A.csv");
    run(r, "calc", "--symbols", "A,NONE", "--indicators", "SMA(2);SMA(20)");
    expect(r, 1, "5 bars, 20 needed", NULL);
    assert_non_null(strstr(r->out, "NONE has no bars"));
    run(r, "calc", "--symbols", "A,NONE", "--indicators", "SMA(2);SMA(20)", "--json");
    expect(r, 1, "\"status\":\"NO_DATA\"", "");
    json_t *j = last_json(r);
    json_int_t few, none, cached;
    assert_int_equal(
        json_unpack(j, "{s:I,s:{s:I,s:I}}", "from_cache", &cached, "failed_by", "too_few_bars", &few, "no_data", &none),
        0);
    assert_true(few == 1 && none == 2 && cached == 1);
    json_decref(j);
    run(r, "calc", "--adjust", "forward", "--indicators", "SMA(2)");
    expect(r, 1, "A has no adjustment factors for forward prices", NULL);
    run(r, "calc", "--date", "2024-01-03", "--indicators", "SMA(2)", "--json");
    assert_int_equal(count_of(r, "from_cache"), 1);
    run(r, "calc", "--date", "2024-02-03", "--indicators", "SMA(2)", "--json");
    expect(r, 0, NULL, NULL);
    assert_int_equal(count_of(r, "skipped"), 1);
}

static void wrong_input_is_named(void **state)
{
    struct run *r = *state;
    const double close[] = {10, 11};
    static const struct {
        const char *line;
        int code;
        const char *says;
    } rows[] = {
        {"$TIER get A SMMA", 3, "SMA"},
        {"$TIER get A 'SMA(1e9)'", 2, "TimePeriod"},
        {"$TIER get A 'SMA(3'", 2, "SMA(3"},
        {"$TIER get NOPE SMA", 3, "NOPE has no bars"},
        {"$TIER get A SMA", 1, "2 bars, 30 needed"},
        {"$TIER get 000001 SMA", 2, "say --market"},
        {"$TIER calc --set nightly", 3, "daily"},
        {"$TIER calc --indicators 'SMA(2);FOO'", 3, "--indicators: FOO"},
        {"$TIER calc --indicators ' ; '", 2, "names no indicator"},
        {"$TIER calc --indicators SMA --set daily", 2, "exclude each other"},
        {"$TIER calc --symbols @nothing.txt", 3, "nothing.txt"},
        {"printf 'A\\nB B\\n' > list; $TIER calc --symbols @list", 2, "list:2"},
        {"$TIER calc --symbols ,", 2, "names no symbol"},
        {"$TIER calc --store nothing/at/all.db", 3, "nothing/at"},
        {"$TIER bars A --from 2024-02-01 --to 2024-01-01", 2, "is after"},
        {"$TIER bars A --freq 5m", 3, "A has no bars"},
        {"$TIER bars A --store empty.db", 3, "there is no store"},
        {"$TIER calc --store list", 7, "not a Tierline store"},
        {"$TIER calc --store .", 2, "directory"},
    };
    put_bars(r, "A.csv", close, 2);
    run(r, "import", "A.csv");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        run_shell(r, rows[i].line);
        if (r->code != rows[i].code || !strstr(r->err, rows[i].says))
            fail_msg("%s: exit %d, said: %s%s", rows[i].line, r->code, r->out, r->err);
    }
}

static void sets_and_hours_come_from_the_configuration(void **state)
{
    struct run *r = *state;
    const double close[] = {10, 11, 12};
    put_bars(r, "A.csv", close, 3);
    run_put(r, "tierline.ini", "[sets]\nmine = SMA(2);MAX(2)\n[calc]\nset = mine\nworkers = 1\n");
    run(r, "import", "A.csv");
    run(r, "calc", "--json");
    expect(r, 0, NULL, "");
    assert_int_equal(count_of(r, "computed"), 2);
}

static void make_market(struct run *r, const char *symbols, const char *years)
{
    run(r, "sample", "market", "--symbols", symbols, "--years", years);
    expect(r, 0, NULL, NULL);
    run(r, "import", "market/bars", "--quiet");
    expect(r, 0, NULL, NULL);
}

static void expect_complete(struct run *r)
{
    run(r, "calc", "--json");
    assert_in_range(r->code, 0, 1); /* a symbol too young for some indicators is no harm */
    long long all = count_of(r, "computed") + count_of(r, "from_cache") + count_of(r, "failed");
    assert_int_equal(all, count_of(r, "symbols") * count_of(r, "indicators"));
    run_shell(r, "sqlite3 tierline.db 'PRAGMA integrity_check' 2>&1");
    expect(r, 0, "ok", NULL);
}

static void an_interrupted_calculation_continues(void **state)
{
    struct run *r = *state;
    make_market(r, "200", "8");
    bool interrupted = false;
    for (int attempt = 0; attempt < 10 && !interrupted; attempt++) {
        int out_fd = -1, err_fd = -1;
        pid_t pid =
            run_start(r, (const char *const[]){getenv("TL_TEST_BINARY"), "calc", "--recompute", "--workers", "1", NULL},
                      &out_fd, &err_fd);
        usleep(40000u * (unsigned)(attempt + 1)); /* before it listens the signal simply ends it */
        kill(pid, SIGINT);
        run_finish(r, pid, out_fd, err_fd);
        interrupted = r->code == 130 && strstr(r->err, "run it again to continue");
    }
    assert_true(interrupted);
    expect_complete(r);
}

static void a_killed_calculation_continues(void **state)
{
    struct run *r = *state;
    make_market(r, "150", "8");
    for (int attempt = 0; attempt < 6; attempt++) {
        int out_fd = -1, err_fd = -1;
        pid_t pid = run_start(r, (const char *const[]){getenv("TL_TEST_BINARY"), "calc", "--recompute", NULL}, &out_fd,
                              &err_fd);
        usleep(20000 + 15000 * (useconds_t)attempt);
        kill(pid, SIGKILL);
        run_finish(r, pid, out_fd, err_fd);
        run_shell(r, "sqlite3 tierline.db 'PRAGMA integrity_check' 2>&1");
        expect(r, 0, "ok", NULL);
    }
    expect_complete(r);
}

static void a_store_held_by_another_writer(void **state)
{
    struct run *r = *state;
    const double close[] = {10, 11, 12};
    char path[256], pid[32];
    sqlite3 *db;
    put_bars(r, "A.csv", close, 3);
    run(r, "import", "A.csv");
    snprintf(path, sizeof path, "%s/tierline.db", r->dir);
    snprintf(pid, sizeof pid, "pid %d", (int)getpid());
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    r->extra_env[0] = "TIERLINE_STORE_BUSY_MS=200";
    run(r, "calc", "--indicators", "SMA(2)");
    expect(r, 1, "another writer holds", NULL);
    assert_non_null(strstr(r->out, pid));
    run(r, "get", "A", "SMA(2)", "--format", "csv"); /* an answer that cannot be kept is still an answer */
    expect(r, 0, "2024-01-04,11.5", "not kept");
    run(r, "import", "A.csv");
    expect(r, 5, NULL, pid);
    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    run(r, "calc", "--indicators", "SMA(2)");
    expect(r, 0, NULL, "");
}

static void processes_share_a_store(void **state)
{
    struct run *r = *state;
    make_market(r, "60", "4");
    run_shell(
        r,
        "for i in 1 2 3 4; do $TIER calc --json > out$i & done; wait; cat out1 out2 out3 out4 | grep -c '\"other\":0'");
    expect(r, 0, "4", NULL);
    expect_complete(r);
}

static void the_real_market(void **state)
{
    struct run *r = *state;
    const char *file = tl_test_shared("data/sp500_5yr/all_stocks_5yr.csv");
    if (!file) skip();
    run(r, "import", file, "--quiet");
    expect(r, 0, NULL, NULL);
    run(r, "calc", "--json");
    expect(r, 1, "\"symbol\":\"APTV\",\"spec\":\"SMA(60)\"", NULL);
    assert_int_equal(count_of(r, "computed"), 505 * 9 - 1);
    assert_int_equal(count_of(r, "failed"), 1);
    run(r, "symbols", "--json");
    expect(r, 0, "\"AAPL\"", NULL);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(bars_in_values_out),
        TEST(computes_only_what_changed),
        TEST(failures_are_listed_and_counted_apart),
        TEST(wrong_input_is_named),
        TEST(sets_and_hours_come_from_the_configuration),
        TEST(an_interrupted_calculation_continues),
        TEST(a_killed_calculation_continues),
        TEST(a_store_held_by_another_writer),
        TEST(processes_share_a_store),
        TEST(the_real_market),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
