/* SPDX-License-Identifier: Apache-2.0 */
/* The store: round trips of bars and series, versions, snapshots, damage, and what is not a store. */
#include "support.h"

#include "market_fixture.h"

#include <math.h>
#include <sqlite3.h>
#include <sys/stat.h>

static int64_t query(const char *path, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *s;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK);
    int64_t value = sqlite3_step(s) == SQLITE_ROW ? sqlite3_column_int64(s, 0) : -1;
    sqlite3_finalize(s);
    sqlite3_close(db);
    return value;
}

static struct tl_bars_head read_all(struct market *m, const char *symbol, struct tl_bars *out)
{
    struct tl_store_reader *r;
    struct tl_bars_head head;
    struct tl_err err = {.text = ""};
    struct tl_symbol s = market_symbol(symbol);
    assert_int_equal(tl_store_reader_new(m->store, &r, &err), TL_OK);
    if (tl_store_bars_read(r, &s, TL_FREQ_1D, INT64_MIN, INT64_MAX, out, &head, &err) != TL_OK)
        fail_msg("%s", err.text);
    tl_store_reader_free(r);
    return head;
}

static void assert_same_bars(const struct tl_bars *a, const struct tl_bars *b)
{
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->ts_ms, b->ts_ms, a->n * sizeof *a->ts_ms);
    for (size_t c = 0; c < TL_BAR_COLUMNS; c++) assert_memory_equal(a->col[c], b->col[c], a->n * sizeof(double));
}

static void bars_round_trip(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 511, 512, 513, 1300};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct market m;
        struct tl_bars in, out, part;
        market_open(&m);
        tl_bars_init(&in);
        tl_bars_init(&out);
        tl_bars_init(&part);
        market_walk(&in, sizes[i], 7, 0);
        market_import(&m, "600519.SH", TL_FREQ_1D, "", &in, false);
        struct tl_bars_head first = read_all(&m, "600519.SH", &out);
        assert_same_bars(&in, &out);
        assert_int_equal(first.raw.bars, sizes[i]);
        assert_int_equal(first.raw.last_ts, in.ts_ms[in.n - 1]);
        int64_t chunks = query(m.path, "SELECT max(id) FROM chunk");
        market_import(&m, "600519.SH", TL_FREQ_1D, "", &in, false);
        struct tl_bars again;
        tl_bars_init(&again);
        struct tl_bars_head second = read_all(&m, "600519.SH", &again);
        assert_int_equal(tl_version_cmp(first.raw, second.raw), 0);
        assert_int_equal(query(m.path, "SELECT max(id) FROM chunk"), chunks);
        struct tl_store_reader *r;
        struct tl_symbol s = market_symbol("600519.SH");
        size_t from = in.n / 3, to = in.n - 1;
        assert_int_equal(tl_store_reader_new(m.store, &r, NULL), TL_OK);
        assert_int_equal(tl_store_bars_read(r, &s, TL_FREQ_1D, in.ts_ms[from], in.ts_ms[to], &part, NULL, NULL), TL_OK);
        assert_int_equal(part.n, to - from);
        if (part.n) assert_int_equal(part.ts_ms[0], in.ts_ms[from]);
        tl_store_reader_free(r);
        tl_bars_release(&in);
        tl_bars_release(&out);
        tl_bars_release(&part);
        tl_bars_release(&again);
        market_close(&m);
    }
}

static void append_keeps_and_correction_raises(void **state)
{
    (void)state;
    struct market m;
    struct tl_bars in, out;
    market_open(&m);
    market_import_walk(&m, "600519.SH", 600, 7, 0);
    tl_bars_init(&in);
    tl_bars_init(&out);
    market_walk(&in, 700, 7, 0);
    struct tl_bars_head before = read_all(&m, "600519.SH", &out);
    int64_t kept = query(m.path, "SELECT min(id) FROM chunk");
    market_import(&m, "600519.SH", TL_FREQ_1D, "", &in, false);
    out.n = 0;
    struct tl_bars_head appended = read_all(&m, "600519.SH", &out);
    assert_same_bars(&in, &out);
    assert_int_equal(appended.raw.revision, before.raw.revision);
    assert_int_equal(appended.raw.bars, 700);
    assert_int_equal(query(m.path, "SELECT min(id) FROM chunk"), kept);
    in.col[TL_BAR_CLOSE][100] += 0.25;
    market_import(&m, "600519.SH", TL_FREQ_1D, "", &in, false);
    out.n = 0;
    struct tl_bars_head corrected = read_all(&m, "600519.SH", &out);
    assert_same_bars(&in, &out);
    assert_true(corrected.raw.revision > appended.raw.revision);
    assert_int_equal(query(m.path, "SELECT count(*) FROM chunk"), 2);
    assert_int_equal(query(m.path, "SELECT count(*) FROM staged"), 0);
    tl_bars_release(&in);
    tl_bars_release(&out);
    market_close(&m);
}

static void provisional_bar_is_not_counted(void **state)
{
    (void)state;
    struct market m;
    struct tl_bars in, out;
    market_open(&m);
    tl_bars_init(&in);
    tl_bars_init(&out);
    market_walk(&in, 513, 7, 0);
    market_import(&m, "AAPL", TL_FREQ_1D, "", &in, true);
    struct tl_bars_head a = read_all(&m, "AAPL", &out);
    assert_true(a.provisional);
    assert_int_equal(a.raw.bars, 512);
    assert_int_equal(a.raw.last_ts, in.ts_ms[511]);
    in.col[TL_BAR_CLOSE][512] += 0.01;
    market_import(&m, "AAPL", TL_FREQ_1D, "", &in, false);
    out.n = 0;
    struct tl_bars_head b = read_all(&m, "AAPL", &out);
    assert_same_bars(&in, &out);
    assert_false(b.provisional);
    assert_int_equal(b.raw.revision, a.raw.revision);
    assert_int_equal(b.raw.bars, 513);
    tl_bars_release(&in);
    tl_bars_release(&out);
    market_close(&m);
}

static void abort_leaves_nothing(void **state)
{
    (void)state;
    struct market m;
    struct tl_bars in;
    struct tl_store_import *im;
    struct tl_symbol s = market_symbol("AAPL");
    market_open(&m);
    tl_bars_init(&in);
    market_walk(&in, 1300, 7, 0);
    assert_int_equal(tl_store_import_begin(m.store, &im, NULL), TL_OK);
    assert_int_equal(tl_store_import_bars(im, &s, TL_FREQ_1D, "", &in, false, NULL), TL_OK);
    assert_int_equal(query(m.path, "SELECT count(*) FROM bars"), 0);
    tl_store_import_abort(im);
    assert_int_equal(query(m.path, "SELECT (SELECT count(*) FROM chunk) + (SELECT count(*) FROM staged) + "
                                   "(SELECT count(*) FROM import)"),
                     0);
    tl_bars_release(&in);
    market_close(&m);
}

static bool put(struct market *m, struct tl_series series)
{
    struct tl_store_put_item item = {.spec = "MA(5)", .series = series};
    struct tl_store_put op = {.key = {.symbol = market_symbol("AAPL"), .freq = TL_FREQ_1D}, .count = 1, .items = &item};
    struct tl_err err = {.text = ""};
    if (tl_store_write(m->store, &op, &err) != TL_OK) fail_msg("%s", err.text);
    return !item.superseded;
}

static void series_keep_bits_and_order(void **state)
{
    (void)state;
    struct market m;
    double rows[1300];
    for (size_t i = 0; i < 1300; i++) rows[i] = (double)i;
    uint64_t payload = UINT64_C(0x7ff8000000abcdef);
    memcpy(&rows[3], &payload, sizeof payload);
    rows[4] = -0.0;
    market_open(&m);
    struct tl_series s = {
        .version = {5, 600, 600}, .kernel_version = 2, .token = 3, .columns = 1, .n = 600, .rows = rows};
    assert_true(put(&m, s));
    int64_t kept = query(m.path, "SELECT min(id) FROM chunk");
    struct tl_series lower[3] = {s, s, s};
    lower[0].version.bars--;
    lower[1].kernel_version--;
    lower[2].token--;
    for (size_t i = 0; i < 3; i++) assert_false(put(&m, lower[i]));
    s.version.bars = 1300;
    s.n = 1300;
    assert_true(put(&m, s));
    assert_int_equal(query(m.path, "SELECT min(id) FROM chunk"), kept);
    struct tl_store_reader *r;
    struct tl_series out;
    struct tl_series_key key = {.symbol = market_symbol("AAPL"), .freq = TL_FREQ_1D, .spec = "MA(5)"};
    tl_series_init(&out);
    assert_int_equal(tl_store_reader_new(m.store, &r, NULL), TL_OK);
    assert_int_equal(tl_store_series_read(r, &key, &out, NULL), TL_OK);
    assert_int_equal(out.n, 1300);
    assert_memory_equal(out.rows, rows, sizeof rows);
    tl_series_release(&out);
    tl_store_reader_free(r);
    market_close(&m);
}

static void snapshot_sees_the_past(void **state)
{
    (void)state;
    struct market m;
    struct tl_store_reader *r;
    struct tl_bars_head head;
    struct tl_symbol s = market_symbol("AAPL");
    market_open(&m);
    market_import_walk(&m, "AAPL", 10, 1, 0);
    assert_int_equal(tl_store_reader_new(m.store, &r, NULL), TL_OK);
    assert_int_equal(tl_store_snapshot_begin(r, NULL), TL_OK);
    assert_int_equal(tl_store_bars_head(r, &s, TL_FREQ_1D, &head, NULL), TL_OK);
    market_import_walk(&m, "AAPL", 20, 1, 0);
    assert_int_equal(tl_store_bars_head(r, &s, TL_FREQ_1D, &head, NULL), TL_OK);
    assert_int_equal(head.raw.bars, 10);
    tl_store_snapshot_end(r);
    assert_int_equal(tl_store_bars_head(r, &s, TL_FREQ_1D, &head, NULL), TL_OK);
    assert_int_equal(head.raw.bars, 20);
    tl_store_reader_free(r);
    market_close(&m);
}

static void damage_is_named(void **state)
{
    (void)state;
    struct market m;
    struct tl_store_reader *r;
    struct tl_bars out;
    struct tl_err err;
    struct tl_symbol s = market_symbol("AAPL");
    market_open(&m);
    market_import_walk(&m, "AAPL", 600, 1, 0);
    query(m.path,
          "UPDATE chunk SET data = CAST(substr(data, 1, 99) || x'a5' || substr(data, 101) AS BLOB) WHERE id = 2");
    tl_bars_init(&out);
    assert_int_equal(tl_store_reader_new(m.store, &r, NULL), TL_OK);
    assert_int_equal(tl_store_bars_read(r, &s, TL_FREQ_1D, INT64_MIN, INT64_MAX, &out, NULL, &err), TL_CORRUPT);
    assert_non_null(strstr(err.text, "AAPL"));
    assert_non_null(strstr(err.text, "chunk 2"));
    tl_bars_release(&out);
    tl_store_reader_free(r);
    market_close(&m);
}

static void what_is_no_store(void **state)
{
    (void)state;
    struct market m;
    struct tl_store *store;
    struct tl_err err;
    market_open(&m);
    tl_store_close(m.store);
    static const struct tl_store_options read_only = {.read_only = true};
    assert_int_equal(tl_store_open("mysql://x", NULL, &store, &err), TL_INVALID);
    assert_int_equal(tl_store_open("sqlite://x", NULL, &store, &err), TL_INVALID);
    assert_int_equal(tl_store_open("", NULL, &store, &err), TL_INVALID);
    assert_int_equal(tl_store_open(m.dir, NULL, &store, &err), TL_INVALID);
    query(m.path, "PRAGMA user_version = 99");
    assert_int_equal(tl_store_open(m.path, NULL, &store, &err), TL_TOO_NEW);
    assert_non_null(strstr(err.text, "99"));
    query(m.path, "PRAGMA application_id = 5");
    assert_int_equal(tl_store_open(m.path, NULL, &store, &err), TL_CORRUPT);
    FILE *f = fopen(m.path, "w");
    assert_non_null(f);
    for (int i = 0; i < 200; i++) fputs("some text\n", f);
    fclose(f);
    assert_int_equal(tl_store_open(m.path, NULL, &store, &err), TL_CORRUPT);
    unlink(m.path);
    assert_int_equal(tl_store_open(m.path, &read_only, &store, &err), TL_NOT_FOUND);
    assert_int_not_equal(access(m.path, F_OK), 0);
    assert_int_equal(tl_store_open(m.path, NULL, &m.store, &err), TL_OK);
    market_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bars_round_trip),
        cmocka_unit_test(append_keeps_and_correction_raises),
        cmocka_unit_test(provisional_bar_is_not_counted),
        cmocka_unit_test(abort_leaves_nothing),
        cmocka_unit_test(series_keep_bits_and_order),
        cmocka_unit_test(snapshot_sees_the_past),
        cmocka_unit_test(damage_is_named),
        cmocka_unit_test(what_is_no_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
