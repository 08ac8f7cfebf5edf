/* SPDX-License-Identifier: Apache-2.0 */
/* A process that imports bars, or writes entries, is killed at any moment: what it was told is stored is there and
 * right, an import or batch is there whole or not at all, and no chunk is left that nobody refers to. Every process
 * opens a store of its own after the fork. */
#include "support.h"

#include "unit/market_fixture.h"

#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>

enum { ROUNDS = 20, SYMBOLS = 3, ROWS = 700 };

static void name_of(int import, int k, char out[16])
{
    snprintf(out, 16, "K%c%c%c", 'A' + import / 26 % 26, 'A' + import % 26, 'A' + k);
}

/* The child: import i holds SYMBOLS symbols; its number goes through the pipe once it is committed. */
static void import_for_ever(const char *path, int ack)
{
    struct tl_store *store;
    if (tl_store_open(path, NULL, &store, NULL) != TL_OK) _exit(2);
    for (int i = 0; i < 600; i++) {
        struct tl_store_import *im;
        if (tl_store_import_begin(store, &im, NULL) != TL_OK) _exit(3);
        for (int k = 0; k < SYMBOLS; k++) {
            char name[16];
            struct tl_bars bars;
            name_of(i, k, name);
            struct tl_symbol s = market_symbol(name);
            tl_bars_init(&bars);
            market_walk(&bars, ROWS, (uint64_t)(i * SYMBOLS + k + 1), 0);
            if (tl_store_import_bars(im, &s, TL_FREQ_1D, "", &bars, false, NULL) != TL_OK) _exit(4);
            tl_bars_release(&bars);
        }
        if (tl_store_import_commit(im, NULL, NULL) != TL_OK) _exit(5);
        if (write(ack, &i, sizeof i) != sizeof i) _exit(6);
    }
    _exit(0);
}

static int64_t query(const char *path, const char *sql, bool *ok)
{
    sqlite3 *db;
    sqlite3_stmt *s;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(s, 0);
    if (ok) *ok = strcmp((const char *)sqlite3_column_text(s, 0), "ok") == 0;
    sqlite3_finalize(s);
    sqlite3_close(db);
    return value;
}

/* How many symbols of the import are there, each compared with what was imported. */
static int symbols_there(struct tl_store_reader *r, int import)
{
    int there = 0;
    for (int k = 0; k < SYMBOLS; k++) {
        char name[16];
        struct tl_bars want, have;
        struct tl_err err = {.text = ""};
        name_of(import, k, name);
        struct tl_symbol s = market_symbol(name);
        tl_bars_init(&want);
        tl_bars_init(&have);
        enum tl_status st = tl_store_bars_read(r, &s, TL_FREQ_1D, INT64_MIN, INT64_MAX, &have, NULL, &err);
        if (st != TL_OK && st != TL_NOT_FOUND) fail_msg("%s", err.text);
        if (st == TL_OK) {
            there++;
            market_walk(&want, ROWS, (uint64_t)(import * SYMBOLS + k + 1), 0);
            assert_int_equal(have.n, want.n);
            assert_memory_equal(have.ts_ms, want.ts_ms, want.n * sizeof *want.ts_ms);
            for (size_t c = 0; c < TL_BAR_COLUMNS; c++)
                assert_memory_equal(have.col[c], want.col[c], want.n * sizeof(double));
        }
        tl_bars_release(&want);
        tl_bars_release(&have);
    }
    return there;
}

static void killed_at_any_moment(void **state)
{
    (void)state;
    struct tl_rng rng;
    tl_rng_seed(&rng, 20260101);
    for (int round = 0; round < ROUNDS; round++) {
        struct market m;
        int ack[2], acked = 0, number;
        snprintf(m.dir, sizeof m.dir, "/tmp/tl-market-XXXXXX");
        assert_non_null(mkdtemp(m.dir));
        snprintf(m.path, sizeof m.path, "%s/store.db", m.dir);
        assert_int_equal(pipe(ack), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            close(ack[0]);
            import_for_ever(m.path, ack[1]);
        }
        close(ack[1]);
        /* Half of the kills fall into the first import or the making of the store, the others behind some commit. */
        if (round % 2) {
            assert_int_equal(read(ack[0], &number, sizeof number), sizeof number);
            acked = number + 1;
        }
        struct timespec pause = {.tv_nsec = (long)(1 + tl_rng_below(&rng, 60)) * 1000000};
        nanosleep(&pause, NULL);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &number, 0), pid);
        assert_true(WIFSIGNALED(number) || WEXITSTATUS(number) == 0);
        while (read(ack[0], &number, sizeof number) == sizeof number) acked = number + 1;
        close(ack[0]);
        struct tl_err err = {.text = ""};
        struct tl_store_reader *r;
        bool ok;
        if (tl_store_open(m.path, NULL, &m.store, &err) != TL_OK) fail_msg("%s", err.text);
        query(m.path, "PRAGMA integrity_check", &ok);
        assert_true(ok);
        assert_int_equal(tl_store_reader_new(m.store, &r, NULL), TL_OK);
        for (int i = 0; i < acked; i++) assert_int_equal(symbols_there(r, i), SYMBOLS);
        int next = symbols_there(r, acked);
        assert_true(next == 0 || next == SYMBOLS);
        tl_store_reader_free(r);
        assert_int_equal(query(m.path, "SELECT count(*) FROM chunk", NULL),
                         query(m.path, "SELECT coalesce(sum(length(chunks)) / 20, 0) FROM bars", NULL));
        assert_int_equal(query(m.path, "SELECT (SELECT count(*) FROM staged) + (SELECT count(*) FROM import)", NULL),
                         0);
        market_close(&m);
    }
}

/* ---- entries ---- */

enum { BATCH = 5, BODY = 20000 };

struct acked {
    int batch;
    uint64_t generation;
};

struct writing {
    struct tl_store_entries batch;
    int number, ack;
    atomic_bool done;
};

static void on_batch(struct tl_store_entries *b)
{
    struct writing *w = (struct writing *)(void *)b;
    struct acked a = {w->number, b->generation};
    if (b->status != TL_OK) _exit(7);
    if (write(w->ack, &a, sizeof a) != sizeof a) _exit(6);
    atomic_store(&w->done, true);
}

/* The child: batch i puts BATCH keys to value i and raises a generation; number and generation go through the pipe once
 * they are committed. */
static void write_for_ever(const char *path, int ack)
{
    static char body[BODY];
    struct tl_store *store;
    if (tl_store_open(path, NULL, &store, NULL) != TL_OK) _exit(2);
    for (int i = 1; i < 5000; i++) {
        struct tl_store_entry items[BATCH];
        char keys[BATCH][8];
        struct writing w = {.number = i, .ack = ack};
        memset(body, i % 251, sizeof body);
        for (int k = 0; k < BATCH; k++) {
            snprintf(keys[k], sizeof keys[k], "k%d", k);
            items[k] = (struct tl_store_entry){
                .key = tl_str(keys[k]), .body = {body, sizeof body}, .expires_ms = INT64_MAX, .order = {0}};
            for (int b = 0; b < 4; b++) items[k].order[b] = (unsigned char)(i >> (24 - 8 * b));
        }
        w.batch = (struct tl_store_entries){.items = items, .count = BATCH, .scope = TL_STR("s:A"), .cb = on_batch};
        if (tl_store_entries_submit(store, &w.batch, NULL) != TL_OK) _exit(3);
        while (!atomic_load(&w.done)) usleep(50);
    }
    _exit(0);
}

/* The number of the batch that the store has; all of its keys are of it. */
static int batch_there(struct tl_store_reader *r)
{
    int found = -1;
    for (int k = 0; k < BATCH; k++) {
        char key[8];
        struct tl_buf out;
        snprintf(key, sizeof key, "k%d", k);
        tl_buf_init(&out, 0);
        enum tl_status st = tl_store_entry_read(r, tl_str(key), 0, &out, NULL);
        int value = st == TL_OK ? (unsigned char)out.p[0] : -2;
        if (st == TL_OK) {
            assert_int_equal(out.n, BODY);
            for (size_t i = 0; i < out.n; i++) assert_int_equal((unsigned char)out.p[i], value);
        }
        if (k > 0) assert_int_equal(value, found);
        found = value;
        tl_buf_release(&out);
    }
    return found;
}

static bool keep_generation(void *ctx, struct tl_str scope, uint64_t generation)
{
    assert_true(tl_str_eq(scope, TL_STR("s:A")));
    *(uint64_t *)ctx = generation;
    return true;
}

static void entries_killed_at_any_moment(void **state)
{
    (void)state;
    struct tl_rng rng;
    tl_rng_seed(&rng, 20260102);
    for (int round = 0; round < ROUNDS; round++) {
        struct market m;
        struct acked a, last = {0, 0};
        int ack[2], status;
        snprintf(m.dir, sizeof m.dir, "/tmp/tl-market-XXXXXX");
        assert_non_null(mkdtemp(m.dir));
        snprintf(m.path, sizeof m.path, "%s/store.db", m.dir);
        assert_int_equal(pipe(ack), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            close(ack[0]);
            write_for_ever(m.path, ack[1]);
        }
        close(ack[1]);
        assert_int_equal(read(ack[0], &last, sizeof last), sizeof last);
        struct timespec pause = {.tv_nsec = (long)(1 + tl_rng_below(&rng, 60)) * 1000000};
        nanosleep(&pause, NULL);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        while (read(ack[0], &a, sizeof a) == sizeof a) last = a;
        close(ack[0]);
        struct tl_err err = {.text = ""};
        struct tl_store_reader *r;
        uint64_t generation = 0, newest = 0;
        if (tl_store_open(m.path, NULL, &m.store, &err) != TL_OK) fail_msg("%s", err.text);
        assert_int_equal(tl_store_reader_new(m.store, &r, NULL), TL_OK);
        int there = batch_there(r);
        assert_true(there == last.batch % 251 || there == (last.batch + 1) % 251);
        assert_int_equal(tl_store_generations(r, 0, keep_generation, &generation, &newest, NULL), TL_OK);
        assert_true(generation == newest);
        assert_true(newest == last.generation + (there != last.batch % 251));
        tl_store_reader_free(r);
        market_close(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(killed_at_any_moment),
                                       cmocka_unit_test(entries_killed_at_any_moment)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
