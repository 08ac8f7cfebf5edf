/* SPDX-License-Identifier: Apache-2.0 */
/* The daily calculation as a user runs it: `tierline calc --set daily` over the S&P 500 file (where the real data is,
 * else over a sample market of the same size), against SQLite alone writing the very chunks that the calculation
 * stored. Both start from a copy of the same imported store or from nothing, in turns, in one run; medians. Usage:
 * bench_calc TIERLINE */
#include "bench.h"

#include <fcntl.h>
#include <spawn.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 7, PATH_MAX_BYTES = 512, TRANSACTION_NS = 100000000 };

extern char **environ;

struct blobs {
    size_t n, cap, bytes;
    struct blob {
        void *p;
        int n;
    } * v;
};

static void die(const char *what)
{
    fprintf(stderr, "bench_calc: %s\n", what);
    exit(1);
}

static void *must(void *p)
{
    if (!p) die("out of memory");
    return p;
}

/* Runs a command with its output thrown away; the seconds it took, and its peak memory in KiB. */
static double run(const char *const argv[], long *peak_kib)
{
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
    pid_t pid;
    uint64_t start = bench_now_ns();
    if (posix_spawn(&pid, argv[0], &files, NULL, (char **)(uintptr_t)argv, environ) != 0) die("cannot run the binary");
    int status = 0;
    struct rusage usage;
    if (wait4(pid, &status, 0, &usage) != pid || !WIFEXITED(status) || WEXITSTATUS(status) > 1)
        die("the command failed");
    posix_spawn_file_actions_destroy(&files);
    if (peak_kib) *peak_kib = usage.ru_maxrss;
    return (double)(bench_now_ns() - start) / 1e9;
}

static void copy_file(const char *from, const char *to)
{
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (in < 0 || out < 0) die("cannot copy the store");
    char *block = must(malloc(1 << 20));
    ssize_t n;
    while ((n = read(in, block, 1 << 20)) > 0)
        if (write(out, block, (size_t)n) != n) die("cannot copy the store");
    free(block);
    close(in);
    close(out);
}

static int64_t last_chunk(const char *path)
{
    sqlite3 *db;
    sqlite3_stmt *s;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK) die("cannot open the store");
    if (sqlite3_prepare_v2(db, "SELECT coalesce(max(id), 0) FROM chunk", -1, &s, NULL) != SQLITE_OK)
        die(sqlite3_errmsg(db));
    sqlite3_step(s);
    int64_t id = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    sqlite3_close(db);
    return id;
}

/* What the calculation wrote: every chunk behind `after`. */
static struct blobs written_chunks(const char *path, int64_t after)
{
    struct blobs b = {0};
    sqlite3 *db;
    sqlite3_stmt *s;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK) die("cannot open the store");
    if (sqlite3_prepare_v2(db, "SELECT data FROM chunk WHERE id > ? ORDER BY id", -1, &s, NULL) != SQLITE_OK)
        die(sqlite3_errmsg(db));
    sqlite3_bind_int64(s, 1, after);
    while (sqlite3_step(s) == SQLITE_ROW) {
        if (b.n == b.cap) {
            b.cap = b.cap ? b.cap * 2 : 1024;
            b.v = must(realloc(b.v, b.cap * sizeof *b.v));
        }
        int n = sqlite3_column_bytes(s, 0);
        b.v[b.n].n = n;
        b.v[b.n].p = must(malloc((size_t)n + 1));
        memcpy(b.v[b.n++].p, sqlite3_column_blob(s, 0), (size_t)n);
        b.bytes += (size_t)n;
    }
    sqlite3_finalize(s);
    sqlite3_close(db);
    return b;
}

/* SQLite alone: a prepared INSERT a chunk, transactions of at most 100 ms, the store's pragmas. */
static double write_alone(const char *path, const struct blobs *b)
{
    unlink(path);
    uint64_t start = bench_now_ns();
    sqlite3 *db;
    sqlite3_stmt *s;
    if (sqlite3_open(path, &db) != SQLITE_OK) die("cannot make a database");
    if (sqlite3_exec(db,
                     "PRAGMA page_size=16384; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                     "CREATE TABLE chunk(id INTEGER PRIMARY KEY, data BLOB NOT NULL)",
                     NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(db, "INSERT INTO chunk(data) VALUES(?)", -1, &s, NULL) != SQLITE_OK)
        die(sqlite3_errmsg(db));
    sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    uint64_t began = bench_now_ns();
    for (size_t i = 0; i < b->n; i++) {
        sqlite3_bind_blob(s, 1, b->v[i].p, b->v[i].n, SQLITE_STATIC);
        if (sqlite3_step(s) != SQLITE_DONE) die(sqlite3_errmsg(db));
        sqlite3_reset(s);
        if (bench_now_ns() - began < TRANSACTION_NS) continue;
        sqlite3_exec(db, "COMMIT; BEGIN IMMEDIATE", NULL, NULL, NULL);
        began = bench_now_ns();
    }
    if (sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK) die(sqlite3_errmsg(db));
    sqlite3_finalize(s);
    sqlite3_close(db);
    return (double)(bench_now_ns() - start) / 1e9;
}

int main(int argc, char **argv)
{
    if (argc != 2) die("usage: bench_calc TIERLINE");
    char dir[] = "/tmp/tl-bench-XXXXXX";
    char imported[PATH_MAX_BYTES], store[PATH_MAX_BYTES], alone[PATH_MAX_BYTES], source[PATH_MAX_BYTES],
        command[PATH_MAX_BYTES];
    if (!mkdtemp(dir)) die("no temporary folder");
    snprintf(imported, sizeof imported, "%s/imported.db", dir);
    snprintf(store, sizeof store, "%s/store.db", dir);
    snprintf(alone, sizeof alone, "%s/alone.db", dir);
    const char *shared = getenv("TIERLINE_SHARED");
    snprintf(source, sizeof source, "%s/data/sp500_5yr/all_stocks_5yr.csv", shared ? shared : "../shared");
    if (access(source, R_OK) != 0) {
        snprintf(source, sizeof source, "%s/market", dir);
        run((const char *[]){argv[1], "sample", source, "--symbols", "505", "--years", "5", NULL}, NULL);
        snprintf(source, sizeof source, "%s/market/bars", dir);
    }
    run((const char *[]){argv[1], "import", source, "--store", imported, "--quiet", NULL}, NULL);
    int64_t after = last_chunk(imported);
    double calc_s[ROUNDS], alone_s[ROUNDS];
    long peak = 0;
    struct blobs chunks = {0};
    for (int r = 0; r < ROUNDS; r++) {
        long kib;
        copy_file(imported, store);
        calc_s[r] = run((const char *[]){argv[1], "calc", "--set", "daily", "--store", store, "--json", NULL}, &kib);
        if (kib > peak) peak = kib;
        if (r == 0) chunks = written_chunks(store, after);
        alone_s[r] = write_alone(alone, &chunks);
    }
    double calc = bench_median(calc_s, ROUNDS), peer = bench_median(alone_s, ROUNDS);
    bench_row("calc_daily_sp500", calc, "s", "SQLite alone writing the same chunks", peer, calc / peer, "<= 2 x peer",
              calc <= 2 * peer);
    bench_row("calc_daily_sp500_peak_memory", (double)peak / 1024, "MiB", NULL, 0, 0, "<= 300", peak <= 300 * 1024);
    snprintf(command, sizeof command, "rm -rf '%s'", dir); /* a name that mkdtemp made */
    return system(command) == 0 ? 0 : 1;
}
