/* SPDX-License-Identifier: Apache-2.0 */
/* The cache through its public API, with a redis-server and a store of its own: how long a hit in each tier takes and
 * what it costs in commands, many keys at once, and 100,000 entries of 4 KiB through all tiers beside Redis and SQLite
 * written to directly one after the other. */
#include "bench.h"

#include "cache/cache.h"

#include <ftw.h>
#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HITS = 20000, KEYS = 500, ENTRIES = 100000, BYTES = 4096, BATCH = 500 };

struct world {
    char dir[64], url[128], store[96];
    pid_t redis;
    uv_loop_t loop;
    struct tl_cache *cache;
    bool done;
};

static void must(bool ok, const char *what)
{
    if (ok) return;
    fprintf(stderr, "bench_cache: %s\n", what);
    exit(1);
}

static void spin(struct world *w)
{
    while (!w->done) uv_run(&w->loop, UV_RUN_ONCE);
    w->done = false;
}

static void on_ready(void *ctx, enum tl_status status, const struct tl_err *err)
{
    struct world *w = ctx;
    must(status == TL_OK, err ? err->text : "not ready");
    w->done = true;
}

static void on_get(struct tl_get *op, enum tl_status status)
{
    struct world *w = op->user;
    must(status == TL_OK, tl_status_name(status));
    w->done = true;
}

static void on_put(struct tl_put *op, enum tl_status status)
{
    struct world *w = op->user;
    must(status == TL_OK, tl_status_name(status));
    w->done = true;
}

static void on_closed(void *ctx)
{
    ((struct world *)ctx)->done = true;
}

static void start_redis(struct world *w)
{
    char sock[96];
    snprintf(w->dir, sizeof w->dir, "/tmp/tl-bench-XXXXXX");
    must(mkdtemp(w->dir) != NULL, "no temporary folder");
    snprintf(sock, sizeof sock, "%s/redis.sock", w->dir);
    snprintf(w->url, sizeof w->url, "redis+unix://%s", sock);
    snprintf(w->store, sizeof w->store, "%s/store.db", w->dir);
    w->redis = fork();
    if (w->redis == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", sock, "--dir", w->dir, "--save", "",
               "--appendonly", "no", "--logfile", "log", (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 500 && access(sock, F_OK) != 0; i++) usleep(10000);
    must(access(sock, F_OK) == 0, "redis-server does not start (is it installed?)");
}

static int remove_one(const char *path, const struct stat *sb, int flag, struct FTW *ftw)
{
    (void)sb, (void)flag, (void)ftw;
    return remove(path);
}

static void open_cache(struct world *w)
{
    struct tl_err err;
    struct tl_cache_options o = {.redis_url = w->url,
                                 .store_url = w->store,
                                 .memory_bytes = (size_t)1 << 30,
                                 .queue_bytes = (size_t)64 << 20,
                                 .log_level = 2};
    must(tl_cache_open(&w->loop, &o, &w->cache, &err) == TL_OK, err.text);
    must(tl_cache_ready(w->cache, 10000, on_ready, w) == TL_OK, "not ready");
    spin(w);
}

static void close_cache(struct world *w)
{
    tl_cache_close(w->cache, on_closed, w);
    spin(w);
    uv_run(&w->loop, UV_RUN_DEFAULT);
}

static void get_one(struct world *w, const struct tl_key *key, enum tl_tier_id from)
{
    struct tl_get op = {.user = w};
    must(tl_cache_get(w->cache, &op, key, 5000, on_get, NULL) == TL_OK, "get");
    spin(w);
    must(op.item.source == from, "another tier answered");
    tl_value_unref(op.item.value);
}

static void hits(struct world *w)
{
    static char value[BYTES];
    static const struct tl_key key = {"etf", "510300.SH", "1d"};
    struct tl_put put = {.wait = TL_TIER_STORE, .user = w};
    struct tl_redis_stats before, after;
    must(tl_cache_put(w->cache, &put, &key, value, sizeof value, NULL, 5000, on_put, NULL) == TL_OK, "put");
    spin(w);
    uint64_t t = bench_now_ns();
    for (int i = 0; i < HITS * 50; i++) tl_value_unref(tl_cache_peek(w->cache, &key));
    bench_row("cache_peek_ns", (double)(bench_now_ns() - t) / (HITS * 50), "ns", NULL, 0, 0, NULL, true);
    t = bench_now_ns();
    for (int i = 0; i < HITS; i++) get_one(w, &key, TL_TIER_MEMORY);
    bench_row("cache_get_memory_us", (double)(bench_now_ns() - t) / HITS / 1e3, "us", NULL, 0, 0, NULL, true);
    tl_redis_stats(w->cache->redis, &before);
    double redis_us = 0;
    for (int i = 0; i < HITS / 4; i++) {
        tl_memory_clear(w->cache->memory);
        t = bench_now_ns();
        get_one(w, &key, TL_TIER_REDIS);
        redis_us += (double)(bench_now_ns() - t) / 1e3;
    }
    tl_redis_stats(w->cache->redis, &after);
    double commands = (double)(after.commands - before.commands) / (HITS / 4);
    bench_row("cache_get_redis_us", redis_us / (HITS / 4), "us", NULL, 0, 0, NULL, true);
    bench_row("cache_commands_per_redis_hit", commands, "commands", NULL, 0, 0, "== 1", commands == 1);
    tl_tier_redis_usable(w->cache->t_redis, false);
    double store_us = 0;
    for (int i = 0; i < HITS / 4; i++) {
        tl_memory_clear(w->cache->memory);
        t = bench_now_ns();
        get_one(w, &key, TL_TIER_STORE);
        store_us += (double)(bench_now_ns() - t) / 1e3;
    }
    tl_tier_redis_usable(w->cache->t_redis, true);
    bench_row("cache_get_store_us", store_us / (HITS / 4), "us", NULL, 0, 0, NULL, true);
}

static void put_batch(struct world *w, int first, int n, enum tl_tier_id wait)
{
    static char value[BYTES], names[BATCH][16];
    static struct tl_put_item items[BATCH];
    for (int i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "S%d", first + i);
        items[i] = (struct tl_put_item){.key = {"bench", names[i], NULL}, .bytes = value, .n = sizeof value};
    }
    struct tl_put op = {.wait = wait, .user = w};
    must(tl_cache_put_many(w->cache, &op, items, (size_t)n, 60000, on_put, NULL) == TL_OK, "put_many");
    spin(w);
}

static void many(struct world *w)
{
    enum { ROUNDS = 50 };
    static char names[KEYS][16];
    static struct tl_get_item items[KEYS];
    double us[ROUNDS], one[ROUNDS];
    put_batch(w, 0, KEYS, TL_TIER_STORE);
    for (int r = 0; r < ROUNDS; r++) {
        tl_memory_clear(w->cache->memory);
        for (int i = 0; i < KEYS; i++) {
            snprintf(names[i], sizeof names[i], "S%d", i);
            items[i] = (struct tl_get_item){.key = {"bench", names[i], NULL}};
        }
        struct tl_get op = {.user = w};
        uint64_t t = bench_now_ns();
        must(tl_cache_get_many(w->cache, &op, items, KEYS, 5000, on_get, NULL) == TL_OK, "get_many");
        spin(w);
        us[r] = (double)(bench_now_ns() - t) / 1e3;
        for (int i = 0; i < KEYS; i++) {
            must(items[i].source == TL_TIER_REDIS, "another tier answered");
            tl_value_unref(items[i].value);
        }
        tl_memory_clear(w->cache->memory);
        t = bench_now_ns();
        for (int i = 0; i < KEYS / 10; i++) get_one(w, &items[i].key, TL_TIER_REDIS);
        one[r] = (double)(bench_now_ns() - t) / 1e3 * 10;
    }
    double all = bench_median(us, ROUNDS), singly = bench_median(one, ROUNDS);
    bench_row("cache_get_many_500_us", all, "us", "one by one", singly, all / singly, NULL, true);
}

/* ---- the same by hand: SET to Redis, 500 in flight, then INSERT into SQLite, 500 a transaction ---- */

static size_t sets_open;

static void on_set(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                   const struct tl_err *err)
{
    (void)cmd, (void)reply;
    must(status == TL_OK, err ? err->text : "SET");
    sets_open--;
}

static void set_batch(struct world *w, int first, const char *value)
{
    static struct tl_redis_cmd cmds[BATCH];
    static struct tl_str argv[BATCH][3];
    static char names[BATCH][24];
    for (int i = 0; i < BATCH; i++) {
        snprintf(names[i], sizeof names[i], "plain:S%d", first + i);
        argv[i][0] = TL_STR("SET");
        argv[i][1] = tl_str(names[i]);
        argv[i][2] = (struct tl_str){value, BYTES};
        cmds[i] = (struct tl_redis_cmd){.argv = argv[i], .argc = 3, .cb = on_set};
        must(tl_redis_submit(w->cache->redis, &cmds[i], 10000, NULL) == TL_OK, "SET");
        sets_open++;
    }
    while (sets_open > 0) uv_run(&w->loop, UV_RUN_ONCE);
}

static void insert_batch(sqlite3 *db, sqlite3_stmt *s, int first, const char *value)
{
    must(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK, "sqlite");
    for (int i = 0; i < BATCH; i++) {
        char name[24];
        snprintf(name, sizeof name, "S%d", first + i);
        sqlite3_bind_text(s, 1, name, -1, SQLITE_STATIC);
        sqlite3_bind_blob(s, 2, value, BYTES, SQLITE_STATIC);
        must(sqlite3_step(s) == SQLITE_DONE, "sqlite");
        sqlite3_reset(s);
    }
    must(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK, "sqlite");
}

/* MB/s */
static double by_hand(struct world *w)
{
    static char value[BYTES], path[96];
    sqlite3 *db;
    sqlite3_stmt *s;
    snprintf(path, sizeof path, "%s/plain.db", w->dir);
    must(sqlite3_open(path, &db) == SQLITE_OK, "sqlite");
    must(sqlite3_exec(db,
                      "PRAGMA page_size=16384; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA "
                      "wal_autocheckpoint=4000; CREATE TABLE kv(key TEXT NOT NULL UNIQUE, data BLOB)",
                      NULL, NULL, NULL) == SQLITE_OK,
         "sqlite");
    must(sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO kv VALUES(?,?)", -1, &s, NULL) == SQLITE_OK, "sqlite");
    uint64_t t = bench_now_ns();
    for (int at = 0; at < ENTRIES; at += BATCH) {
        set_batch(w, at, value);
        insert_batch(db, s, at, value);
    }
    double seconds = (double)(bench_now_ns() - t) / 1e9;
    sqlite3_finalize(s);
    sqlite3_close(db);
    return (double)ENTRIES * BYTES / 1e6 / seconds;
}

static void through_all(struct world *w)
{
    struct rusage usage;
    struct tl_cache_stats before;
    tl_cache_stats(w->cache, &before);
    uint64_t t = bench_now_ns();
    for (int at = 0; at < ENTRIES; at += BATCH) put_batch(w, at, BATCH, TL_TIER_STORE);
    double s = (double)(bench_now_ns() - t) / 1e9;
    getrusage(RUSAGE_SELF, &usage);
    struct tl_cache_stats st;
    tl_cache_stats(w->cache, &st);
    must(st.store.lost + st.store.refused == 0 && st.redis.skipped == before.redis.skipped, "a write was lost");
    double rate = (double)ENTRIES * BYTES / 1e6 / s, peer = by_hand(w);
    bench_row("cache_write_all_tiers_mb_per_s", rate, "MB/s", "SET, then INSERT, by hand", peer, rate / peer, NULL,
              true);
    bench_row("cache_write_peak_mib", (double)usage.ru_maxrss / 1024, "MiB", NULL, 0, 0, NULL, true);
}

int main(void)
{
    struct world w = {.done = false};
    start_redis(&w);
    must(uv_loop_init(&w.loop) == 0, "no loop");
    open_cache(&w);
    hits(&w);
    many(&w);
    through_all(&w);
    close_cache(&w);
    uv_loop_close(&w.loop);
    kill(w.redis, SIGTERM);
    waitpid(w.redis, NULL, 0);
    nftw(w.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}
