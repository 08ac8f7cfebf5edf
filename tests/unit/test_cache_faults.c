/* SPDX-License-Identifier: Apache-2.0 */
/* What can go wrong below the cache, with a real redis-server: in each case no call hangs past its deadline, nothing
 * that was acknowledged is lost, the counters tell, and it mends itself without a restart. */
#include "support.h"

#include "cache_fixture.h"

enum { MANY = 300 };

struct world {
    struct redis_server s;
    char path[128];
    struct box b;
};

static void begin(struct world *w, const char *const extra[])
{
    redis_server_start(&w->s, extra);
    box_make_store(w->path);
    box_open(&w->b, w->s.url, w->path, NULL);
}

static void end(struct world *w)
{
    box_close(&w->b);
    redis_server_stop(&w->s);
    box_remove_store(w->path);
}

static bool until_up(struct box *b, bool up)
{
    for (int i = 0; i < 500; i++) {
        if (box_stats(b).redis.up == up) return true;
        box_spin(b, 20);
    }
    return false;
}

/* accepted == written + coalesced + skipped + lost once nothing is queued. */
static void check_sums(struct box *b, uint64_t puts)
{
    struct tl_behind_counts redis, store;
    for (int i = 0; i < 500 && tl_behind_entries(b->cache->behind) > 0; i++) box_spin(b, 20);
    assert_int_equal(tl_behind_entries(b->cache->behind), 0);
    assert_int_equal(tl_behind_bytes(b->cache->behind), 0);
    tl_behind_counts(b->cache->behind, &redis, &store);
    assert_int_equal(redis.accepted, redis.written + redis.coalesced + redis.skipped + redis.lost);
    assert_int_equal(store.accepted, store.written + store.coalesced + store.skipped + store.lost);
    assert_int_equal(store.accepted + store.refused, puts);
    assert_int_equal(store.lost, 0);
}

static void absent_at_start(void **state)
{
    (void)state;
    struct box b;
    char path[128], url[64];
    struct tl_err err;
    box_make_store(path);
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/0", redis_free_port());
    box_open(&b, url, path, NULL);
    assert_int_equal(box_ready(&b, &err), TL_IO);
    assert_int_equal(box_put(&b, "etf", "A", "v", TL_TIER_STORE), TL_OK);
    assert_int_equal(box_put(&b, "etf", "B", "v", TL_TIER_REDIS), TL_IO);
    box_expect(&b, "etf", "A", "v", TL_TIER_MEMORY);
    tl_memory_clear(b.cache->memory);
    box_expect(&b, "etf", "A", "v", TL_TIER_STORE);
    assert_false(box_stats(&b).redis.up);
    assert_true(box_stats(&b).redis.why[0] != '\0');
    check_sums(&b, 2);
    box_close(&b);
    box_remove_store(path);
}

/* A value that is put while Redis is away must win over the one that Redis still has when it comes back. */
static void away_and_back(void **state)
{
    (void)state;
    struct world w;
    struct box other;
    begin(&w, NULL);
    assert_int_equal(box_ready(&w.b, NULL), TL_OK);
    assert_int_equal(box_put(&w.b, "etf", "A", "old", TL_TIER_STORE), TL_OK);
    kill(w.s.pid, SIGSTOP);
    uint64_t began = uv_hrtime();
    assert_int_equal(box_put(&w.b, "etf", "A", "new", TL_TIER_STORE), TL_OK);
    assert_true(uv_hrtime() - began < UINT64_C(5000000000));
    tl_memory_clear(w.b.cache->memory);
    box_expect(&w.b, "etf", "A", "new", TL_TIER_STORE);
    assert_true(box_stats(&w.b).redis.skipped >= 1);
    kill(w.s.pid, SIGCONT);
    assert_true(until_up(&w.b, true));
    box_open(&other, w.s.url, w.path, NULL);
    assert_int_equal(box_ready(&other, NULL), TL_OK);
    box_expect(&other, "etf", "A", "new", TL_TIER_NONE);
    tl_memory_clear(w.b.cache->memory);
    box_expect(&w.b, "etf", "A", "new", TL_TIER_NONE);
    check_sums(&w.b, 2);
    box_close(&other);
    end(&w);
}

static void killed_and_restarted(void **state)
{
    (void)state;
    struct world w;
    static char names[MANY][16];
    begin(&w, NULL);
    assert_int_equal(box_ready(&w.b, NULL), TL_OK);
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "S%d", i);
        if (i == MANY / 3) redis_server_kill(&w.s);
        if (i == 2 * MANY / 3) redis_server_restart(&w.s);
        assert_int_equal(box_put(&w.b, "etf", names[i], names[i], TL_TIER_STORE), TL_OK);
    }
    assert_true(until_up(&w.b, true));
    tl_memory_clear(w.b.cache->memory);
    for (int i = 0; i < MANY; i++) box_expect(&w.b, "etf", names[i], names[i], TL_TIER_NONE);
    check_sums(&w.b, MANY);
    /* Redis is used again. */
    assert_int_equal(box_put(&w.b, "etf", "again", "v", TL_TIER_REDIS), TL_OK);
    end(&w);
}

static void flushed(void **state)
{
    (void)state;
    struct world w;
    struct box other;
    char out[256];
    begin(&w, NULL);
    assert_int_equal(box_ready(&w.b, NULL), TL_OK);
    assert_int_equal(box_put(&w.b, "etf", "A", "v", TL_TIER_STORE), TL_OK);
    assert_int_equal(box_put(&w.b, "etf", "B", "v", TL_TIER_STORE), TL_OK);
    assert_int_equal(box_invalidate(&w.b, TL_SCOPE_KEY, "etf", "B"), TL_OK);
    assert_true(redis_do(&w.s, out, "FLUSHALL"));
    assert_true(redis_do(&w.s, out, "SCRIPT", "FLUSH"));
    tl_memory_clear(w.b.cache->memory);
    box_expect(&w.b, "etf", "A", "v", TL_TIER_STORE);
    box_expect(&w.b, "etf", "B", NULL, TL_TIER_NONE);
    assert_int_equal(box_put(&w.b, "etf", "C", "v", TL_TIER_REDIS), TL_OK); /* the scripts come back by themselves */
    /* An invalidation after the flush reaches a process that starts afterwards and has no store. */
    assert_int_equal(box_invalidate(&w.b, TL_SCOPE_KEY, "etf", "C"), TL_OK);
    box_open(&other, w.s.url, NULL, NULL);
    assert_int_equal(box_ready(&other, NULL), TL_OK);
    box_expect(&other, "etf", "C", NULL, TL_TIER_NONE);
    box_close(&other);
    end(&w);
}

static void connections_killed(void **state)
{
    (void)state;
    struct world w;
    char out[256];
    begin(&w, NULL);
    assert_int_equal(box_ready(&w.b, NULL), TL_OK);
    for (int i = 0; i < 5; i++) {
        assert_true(redis_do(&w.s, out, "CLIENT", "KILL", "TYPE", i % 2 ? "pubsub" : "normal", "SKIPME", "yes"));
        assert_int_equal(box_put(&w.b, "etf", "A", "v", TL_TIER_STORE), TL_OK);
        assert_true(until_up(&w.b, true));
        tl_memory_clear(w.b.cache->memory);
        box_expect(&w.b, "etf", "A", "v", TL_TIER_NONE);
    }
    check_sums(&w.b, 5);
    end(&w);
}

static void wrong_password(void **state)
{
    (void)state;
    struct world w;
    struct box b;
    struct tl_err err;
    char url[128];
    static const char *const extra[] = {"--requirepass", "right-one", NULL};
    redis_server_start(&w.s, extra);
    snprintf(url, sizeof url, "redis://:wrong-one@127.0.0.1:%d/0", w.s.port);
    box_open(&b, url, NULL, NULL);
    assert_int_equal(box_ready(&b, &err), TL_IO);
    assert_null(strstr(err.text, "wrong-one"));
    assert_null(strstr(box_stats(&b).redis.why, "wrong-one"));
    box_close(&b);
    snprintf(url, sizeof url, "redis://:right-one@127.0.0.1:%d/3", w.s.port);
    box_open(&b, url, NULL, NULL);
    assert_int_equal(box_ready(&b, &err), TL_OK);
    assert_int_equal(box_put(&b, "etf", "A", "v", TL_TIER_REDIS), TL_OK);
    box_close(&b);
    redis_server_stop(&w.s);
}

static void memory_full(void **state)
{
    (void)state;
    struct world w;
    char out[256];
    begin(&w, NULL);
    assert_int_equal(box_ready(&w.b, NULL), TL_OK);
    assert_int_equal(box_put(&w.b, "etf", "A", "one", TL_TIER_STORE), TL_OK);
    assert_true(redis_do(&w.s, out, "CONFIG", "SET", "maxmemory", "1"));
    assert_int_equal(box_put(&w.b, "etf", "A", "two", TL_TIER_STORE),
                     TL_OK); /* Redis refuses it, and has the old one */
    assert_true(box_stats(&w.b).redis.skipped >= 1);
    assert_true(redis_do(&w.s, out, "CONFIG", "SET", "maxmemory", "0"));
    box_spin(&w.b, 200);
    tl_memory_clear(w.b.cache->memory);
    box_expect(&w.b, "etf", "A", "two", TL_TIER_STORE);
    assert_int_equal(box_put(&w.b, "etf", "B", "three", TL_TIER_REDIS), TL_OK);
    check_sums(&w.b, 3);
    end(&w);
}

static void poisoned(void **state)
{
    (void)state;
    struct world w;
    char out[256];
    static const struct {
        const char *argv[6];
    } rows[] = {
        {{"SET", "tierline:cache:{A}:etf:-", "x"}},
        {{"SET", "tierline:cache:{A}:etf:-", "TLE\x01garbage that is longer than a header, but is no entry of ours!!"}},
        {{"SET", "tierline:cache:{A}:etf:-",
          "TLE\x02 another format, longer than a header too............................"}},
        {{"SETRANGE", "tierline:cache:{A}:etf:-", "536870900", "512 MB"}},
        {{"SETRANGE", "tierline:cache:{A}:etf:-", "70", "!"}}, /* over a good one: its checksum */
        {{"HSET", "tierline:cache:{A}:etf:-", "a", "b"}}};
    begin(&w, NULL);
    assert_int_equal(box_ready(&w.b, NULL), TL_OK);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(box_put(&w.b, "etf", "A", "the right one", TL_TIER_STORE), TL_OK);
        if (i == 5) assert_true(redis_do(&w.s, out, "DEL", "tierline:cache:{A}:etf:-"));
        assert_true(redis_command(&w.s, out, sizeof out, rows[i].argv));
        assert_int_not_equal(out[0], '-');
        tl_memory_clear(w.b.cache->memory);
        uint64_t before = box_stats(&w.b).redis.poisoned;
        box_expect(&w.b, "etf", "A", "the right one", TL_TIER_STORE);
        assert_int_equal(box_stats(&w.b).redis.poisoned, before + 1);
        box_spin(&w.b, 50);
        assert_true(redis_do(&w.s, out, "DEL", "tierline:cache:{A}:etf:-"));
    }
    end(&w);
}

static void not_redis_at_all(void **state)
{
    (void)state;
    /* A port that accepts and never answers; then one that answers garbage. */
    for (int garbage = 0; garbage < 2; garbage++) {
        struct box b;
        char path[128], url[64];
        int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), fds[64], n = 0;
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof a;
        assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
        assert_int_equal(listen(listener, 16), 0);
        assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &len), 0);
        snprintf(url, sizeof url, "redis://127.0.0.1:%d/0", ntohs(a.sin_port));
        box_make_store(path);
        box_open(&b, url, path, NULL);
        uint64_t began = uv_hrtime();
        assert_int_equal(box_put(&b, "etf", "A", "v", TL_TIER_STORE), TL_OK);
        tl_memory_clear(b.cache->memory);
        box_expect(&b, "etf", "A", "v", TL_TIER_STORE);
        assert_true(uv_hrtime() - began < UINT64_C(3000000000));
        for (int i = 0; i < 100; i++) {
            int fd = n < 64 ? accept4(listener, NULL, NULL, SOCK_CLOEXEC) : -1;
            if (fd >= 0) fds[n++] = fd;
            if (fd >= 0 && garbage) assert_true(write(fd, "HTTP/1.1 400 Bad Request\r\n\r\n", 28) == 28);
            box_spin(&b, 5);
        }
        assert_true(n > 0);
        assert_false(box_stats(&b).redis.up);
        box_close(&b);
        for (int i = 0; i < n; i++) close(fds[i]);
        close(listener);
        box_remove_store(path);
    }
}

static void queue_is_bounded(void **state)
{
    (void)state;
    struct redis_server s;
    struct box b;
    struct tl_behind_counts redis, store;
    static char big[100000];
    redis_server_start(&s, NULL);
    struct tl_cache_options o = {.redis_url = s.url, .log_level = -1, .queue_bytes = 1 << 20, .drain_ms = 300};
    box_open_with(&b, &o);
    assert_int_equal(box_ready(&b, NULL), TL_OK);
    kill(s.pid, SIGSTOP);
    uint64_t full = 0, ok = 0;
    for (int i = 0; i < 30; i++) {
        char name[16];
        snprintf(name, sizeof name, "S%d", i);
        struct tl_key key = {.data_type = "etf", .symbol = name};
        enum tl_status st = box_put_bytes(&b, &key, big, sizeof big, NULL, TL_TIER_NONE, 1000);
        full += st == TL_FULL;
        ok += st == TL_OK;
        assert_true(st == TL_OK || st == TL_FULL);
        if (st == TL_FULL) assert_int_equal(box_get(&b, "etf", name).status == TL_OK, false); /* nowhere, then */
    }
    assert_true(full > 0 && ok > 5);
    assert_true(tl_behind_bytes(b.cache->behind) <= (1 << 20));
    tl_behind_counts(b.cache->behind, &redis, &store);
    assert_int_equal(redis.refused, full);
    assert_int_equal(redis.accepted, ok);
    kill(s.pid, SIGCONT);
    assert_true(until_up(&b, true));
    for (int i = 0; i < 500 && tl_behind_entries(b.cache->behind) > 0; i++) box_spin(&b, 20);
    tl_behind_counts(b.cache->behind, &redis, &store);
    assert_int_equal(redis.written, ok); /* there is no store: Redis was waited for */
    box_close(&b);
    redis_server_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_at_start),      cmocka_unit_test(away_and_back),
        cmocka_unit_test(killed_and_restarted), cmocka_unit_test(flushed),
        cmocka_unit_test(connections_killed),   cmocka_unit_test(wrong_password),
        cmocka_unit_test(memory_full),          cmocka_unit_test(poisoned),
        cmocka_unit_test(not_redis_at_all),     cmocka_unit_test(queue_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
