/* SPDX-License-Identifier: Apache-2.0 */
/* Bars into the store and out of it, 500 symbols x 1,259 daily bars, against plain SQLite with one row a bar. In turns,
 * in one run; medians. */
#include "bench.h"

#include "base/rng.h"
#include "store/store.h"

#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

enum { ROUNDS = 5, SYMBOLS = 500, PASSES = 4, BARS = 1259 };

static void must(bool ok, const char *what)
{
    if (ok) return;
    fprintf(stderr, "bench_store: %s\n", what);
    exit(1);
}

static struct tl_symbol symbol_of(int i)
{
    struct tl_symbol s;
    snprintf(s.text, sizeof s.text, "%06d.SH", 600000 + i);
    return s;
}

/* Into a new store that is open, until the commit is acknowledged. */
static double bars_in(const char *path, const struct tl_bars *bars)
{
    struct tl_store *store;
    struct tl_store_import *im;
    must(tl_store_open(path, NULL, &store, NULL) == TL_OK, "open");
    uint64_t start = bench_now_ns();
    must(tl_store_import_begin(store, &im, NULL) == TL_OK, "begin");
    for (int i = 0; i < SYMBOLS; i++) {
        struct tl_symbol s = symbol_of(i);
        must(tl_store_import_bars(im, &s, TL_FREQ_1D, "", bars, false, NULL) == TL_OK, "import");
    }
    must(tl_store_import_commit(im, NULL, NULL) == TL_OK, "commit");
    double rate = SYMBOLS * (double)BARS * 1e9 / (double)(bench_now_ns() - start);
    tl_store_close(store);
    return rate;
}

/* Every symbol several times through one reader, as a process that runs for a while sees it. */
static double bars_out(const char *path)
{
    struct tl_store *store;
    struct tl_store_reader *r;
    struct tl_bars bars;
    tl_bars_init(&bars);
    must(tl_store_open(path, NULL, &store, NULL) == TL_OK, "open");
    must(tl_store_reader_new(store, &r, NULL) == TL_OK, "reader");
    uint64_t start = bench_now_ns();
    for (int i = 0; i < SYMBOLS * PASSES; i++) {
        struct tl_symbol s = symbol_of(i % SYMBOLS);
        bars.n = 0;
        must(tl_store_bars_read(r, &s, TL_FREQ_1D, INT64_MIN, INT64_MAX, &bars, NULL, NULL) == TL_OK, "read");
        must(bars.n == BARS, "bars are missing");
    }
    double rate = PASSES * SYMBOLS * (double)BARS * 1e9 / (double)(bench_now_ns() - start);
    tl_store_reader_free(r);
    tl_store_close(store);
    tl_bars_release(&bars);
    return rate;
}

static void plain(const char *path, const struct tl_bars *bars, double *in, double *out)
{
    sqlite3 *db;
    sqlite3_stmt *s;
    must(sqlite3_open(path, &db) == SQLITE_OK, "sqlite");
    must(sqlite3_exec(db,
                      "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; CREATE TABLE bar(symbol TEXT, ts INTEGER, "
                      "o REAL, h REAL, l REAL, c REAL, v REAL, a REAL, PRIMARY KEY(symbol, ts)) WITHOUT ROWID; BEGIN",
                      NULL, NULL, NULL) == SQLITE_OK,
         "sqlite");
    must(sqlite3_prepare_v2(db, "INSERT INTO bar VALUES(?,?,?,?,?,?,?,?)", -1, &s, NULL) == SQLITE_OK, "sqlite");
    uint64_t start = bench_now_ns();
    for (int i = 0; i < SYMBOLS; i++) {
        struct tl_symbol symbol = symbol_of(i);
        sqlite3_bind_text(s, 1, symbol.text, -1, SQLITE_STATIC);
        for (size_t k = 0; k < bars->n; k++) {
            sqlite3_bind_int64(s, 2, bars->ts_ms[k]);
            for (int c = 0; c < TL_BAR_COLUMNS; c++) sqlite3_bind_double(s, 3 + c, bars->col[c][k]);
            must(sqlite3_step(s) == SQLITE_DONE, "sqlite");
            sqlite3_reset(s);
        }
    }
    sqlite3_finalize(s);
    must(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK, "sqlite");
    *in = SYMBOLS * (double)BARS * 1e9 / (double)(bench_now_ns() - start);
    must(sqlite3_prepare_v2(db, "SELECT ts,o,h,l,c,v,a FROM bar WHERE symbol=? ORDER BY ts", -1, &s, NULL) == SQLITE_OK,
         "sqlite");
    start = bench_now_ns();
    struct tl_bars got;
    tl_bars_init(&got);
    for (int i = 0; i < SYMBOLS; i++) {
        struct tl_symbol symbol = symbol_of(i);
        got.n = 0;
        sqlite3_bind_text(s, 1, symbol.text, -1, SQLITE_STATIC);
        while (sqlite3_step(s) == SQLITE_ROW) {
            struct tl_bar bar = {.ts_ms = sqlite3_column_int64(s, 0)};
            for (int c = 0; c < TL_BAR_COLUMNS; c++) bar.v[c] = sqlite3_column_double(s, 1 + c);
            must(tl_bars_append(&got, &bar) == TL_OK, "memory");
        }
        must(got.n == BARS, "bars are missing");
        sqlite3_reset(s);
    }
    *out = SYMBOLS * (double)BARS * 1e9 / (double)(bench_now_ns() - start);
    tl_bars_release(&got);
    sqlite3_finalize(s);
    sqlite3_close(db);
}

int main(void)
{
    char dir[] = "/tmp/tl-bench-XXXXXX", ours[64], theirs[64];
    must(mkdtemp(dir) != NULL, "no temporary folder");
    snprintf(ours, sizeof ours, "%s/store.db", dir);
    snprintf(theirs, sizeof theirs, "%s/plain.db", dir);
    struct tl_bars bars;
    struct tl_rng rng;
    tl_bars_init(&bars);
    tl_rng_seed(&rng, 1);
    for (int i = 0; i < BARS; i++) {
        double p = 20 + tl_rng_unit(&rng);
        struct tl_bar bar = {.ts_ms = (int64_t)i * 86400000, .v = {p, p + 1, p - 1, p, 1000 + i, p * 1000}};
        must(tl_bars_append(&bars, &bar) == TL_OK, "memory");
    }
    double in[ROUNDS], out[ROUNDS], plain_in[ROUNDS], plain_out[ROUNDS];
    for (int r = 0; r < ROUNDS; r++) {
        unlink(ours);
        unlink(theirs);
        in[r] = bars_in(ours, &bars);
        out[r] = bars_out(ours);
        plain(theirs, &bars, &plain_in[r], &plain_out[r]);
    }
    unlink(ours);
    unlink(theirs);
    must(rmdir(dir) == 0, "files are left");
    tl_bars_release(&bars);
    double i = bench_median(in, ROUNDS), o = bench_median(out, ROUNDS);
    double pi = bench_median(plain_in, ROUNDS), po = bench_median(plain_out, ROUNDS);
    bench_row("store_bars_in", i, "bars/s", "one row a bar in plain SQLite", pi, i / pi, ">= 3e6", i >= 3e6);
    bench_row("store_bars_out", o, "bars/s", "one row a bar in plain SQLite", po, o / po, ">= 3e7", o >= 3e7);
    return 0;
}
