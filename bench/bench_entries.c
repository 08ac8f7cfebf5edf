/* SPDX-License-Identifier: Apache-2.0 */
/* General entries of 4 KiB into the store, 500 a batch and each batch acknowledged, and out of it by key, beside a
 * table of (key, bytes) in plain SQLite with a transaction for every 500. In turns, in one run; medians. */
#include "bench.h"

#include "store/store.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum { ROUNDS = 5, BATCHES = 20, BATCH = 500, BYTES = 4096, ENTRIES = BATCHES * BATCH };
static char body[BYTES];

static void must(bool ok, const char *what)
{
    if (ok) return;
    fprintf(stderr, "bench_entries: %s\n", what);
    exit(1);
}

static double rate(uint64_t start)
{
    return ENTRIES * 1e9 / (double)(bench_now_ns() - start);
}

static void key_of(int i, char out[32])
{
    snprintf(out, 32, "cache:{%06d.SH}:etf:1d", i * 7919 % ENTRIES);
}

static void on_batch(struct tl_store_entries *b)
{
    must(b->status == TL_OK, b->err.text);
    atomic_store((atomic_bool *)b->user, true);
}

static void ours(const char *path, double *in, double *out)
{
    static struct tl_store_entry items[BATCH];
    static char keys[BATCH][32];
    struct tl_store *store;
    struct tl_store_reader *r;
    struct tl_buf got;
    must(tl_store_open(path, NULL, &store, NULL) == TL_OK, "the store does not open");
    uint64_t start = bench_now_ns();
    for (int b = 0; b < BATCHES; b++) {
        for (int i = 0; i < BATCH; i++) {
            key_of(b * BATCH + i, keys[i]);
            items[i] = (struct tl_store_entry){.key = tl_str(keys[i]),
                                               .data_type = TL_STR("etf"),
                                               .timeframe = TL_STR("1d"),
                                               .body = {body, BYTES},
                                               .order = {1},
                                               .expires_ms = INT64_MAX};
        }
        atomic_bool done = false;
        struct tl_store_entries batch = {.items = items, .count = BATCH, .cb = on_batch, .user = &done};
        must(tl_store_entries_submit(store, &batch, NULL) == TL_OK, "submit");
        while (!atomic_load(&done)) usleep(20);
    }
    *in = rate(start);
    must(tl_store_reader_new(store, &r, NULL) == TL_OK, "reader");
    tl_buf_init(&got, 0);
    start = bench_now_ns();
    for (int i = 0; i < ENTRIES; i++) {
        char key[32];
        key_of(i, key);
        tl_buf_clear(&got);
        must(tl_store_entry_read(r, tl_str(key), 0, &got, NULL) == TL_OK && got.n == BYTES, "an entry is missing");
    }
    *out = rate(start);
    tl_buf_release(&got);
    tl_store_reader_free(r);
    tl_store_close(store);
}

static void plain(const char *path, double *in, double *out)
{
    sqlite3 *db;
    sqlite3_stmt *s;
    must(sqlite3_open(path, &db) == SQLITE_OK, "sqlite");
    must(sqlite3_exec(db,
                      "PRAGMA page_size=16384; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; "
                      "CREATE TABLE kv(key TEXT NOT NULL UNIQUE, data BLOB)",
                      NULL, NULL, NULL) == SQLITE_OK,
         "sqlite");
    must(sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO kv VALUES(?,?)", -1, &s, NULL) == SQLITE_OK, "sqlite");
    uint64_t start = bench_now_ns();
    for (int i = 0; i < ENTRIES; i++) {
        char key[32];
        if (i % BATCH == 0) must(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK, "sqlite");
        key_of(i, key);
        sqlite3_bind_text(s, 1, key, -1, SQLITE_STATIC);
        sqlite3_bind_blob(s, 2, body, BYTES, SQLITE_STATIC);
        must(sqlite3_step(s) == SQLITE_DONE, "sqlite");
        sqlite3_reset(s);
        if (i % BATCH == BATCH - 1) must(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK, "sqlite");
    }
    *in = rate(start);
    sqlite3_finalize(s);
    must(sqlite3_prepare_v2(db, "SELECT data FROM kv WHERE key=?", -1, &s, NULL) == SQLITE_OK, "sqlite");
    static char copy[BYTES];
    start = bench_now_ns();
    for (int i = 0; i < ENTRIES; i++) {
        char key[32];
        key_of(i, key);
        sqlite3_bind_text(s, 1, key, -1, SQLITE_STATIC);
        must(sqlite3_step(s) == SQLITE_ROW && sqlite3_column_bytes(s, 0) == BYTES, "an entry is missing");
        memcpy(copy, sqlite3_column_blob(s, 0), BYTES);
        sqlite3_reset(s);
    }
    *out = rate(start);
    sqlite3_finalize(s);
    sqlite3_close(db);
}

int main(void)
{
    char dir[] = "/tmp/tl-bench-XXXXXX", a[64], b[64];
    double in[ROUNDS], out[ROUNDS], plain_in[ROUNDS], plain_out[ROUNDS];
    must(mkdtemp(dir) != NULL, "no temporary folder");
    snprintf(a, sizeof a, "%s/store.db", dir);
    snprintf(b, sizeof b, "%s/plain.db", dir);
    memset(body, 'x', sizeof body);
    for (int r = 0; r < ROUNDS; r++) {
        unlink(a);
        unlink(b);
        ours(a, &in[r], &out[r]);
        plain(b, &plain_in[r], &plain_out[r]);
    }
    unlink(a);
    unlink(b);
    must(rmdir(dir) == 0, "files are left");
    double i = bench_median(in, ROUNDS), o = bench_median(out, ROUNDS);
    double pi = bench_median(plain_in, ROUNDS), po = bench_median(plain_out, ROUNDS);
    bench_row("store_entries_in", i, "entries/s", "a table of keys and bytes in plain SQLite", pi, i / pi, NULL, true);
    bench_row("store_entries_out", o, "entries/s", "a table of keys and bytes in plain SQLite", po, o / po, NULL, true);
    return 0;
}
