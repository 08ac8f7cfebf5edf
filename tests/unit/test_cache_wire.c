/* SPDX-License-Identifier: Apache-2.0 */
/* A Redis that answers late, in pieces, with refusals, or not to the end: below a cache with a store, no call hangs
 * past its deadline, nothing acknowledged is lost, the counters add up, and it mends itself. */
#include "support.h"

#include "cache_fixture.h"

#include "proxy.h"

struct world {
    struct redis_server s;
    struct proxy p;
    char path[128], url[64];
    struct box b;
    uint64_t puts;
};

/* through: by way of the proxy. */
static void begin(struct world *w, const char *const extra[], bool through)
{
    redis_server_start(&w->s, extra);
    proxy_start(&w->p, w->s.port);
    box_make_store(w->path);
    snprintf(w->url, sizeof w->url, "redis://127.0.0.1:%d/0", through ? w->p.port : w->s.port);
    w->puts = 0;
    box_open(&w->b, w->url, w->path, NULL);
}

static bool until_up(struct world *w)
{
    for (int i = 0; i < 800; i++) {
        if (box_stats(&w->b).redis.up) return true;
        box_spin(&w->b, 20);
    }
    return false;
}

static void end(struct world *w)
{
    struct tl_behind_counts redis, store;
    for (int i = 0; i < 500 && tl_behind_entries(w->b.cache->behind) > 0; i++) box_spin(&w->b, 20);
    tl_behind_counts(w->b.cache->behind, &redis, &store);
    assert_int_equal(redis.accepted, redis.written + redis.coalesced + redis.skipped + redis.lost);
    assert_int_equal(store.accepted, store.written + store.coalesced + store.skipped + store.lost);
    assert_int_equal(store.accepted, w->puts);
    assert_int_equal(store.lost + store.refused + store.skipped, 0);
    box_close(&w->b);
    proxy_stop(&w->p);
    redis_server_stop(&w->s);
    box_remove_store(w->path);
}

/* Acknowledged by the store, within the deadline. */
static void put(struct world *w, const char *symbol, const char *text)
{
    uint64_t began = uv_hrtime();
    w->puts++;
    assert_int_equal(box_put(&w->b, "etf", symbol, text, TL_TIER_STORE), TL_OK);
    assert_true(uv_hrtime() - began < UINT64_C(5200000000));
}

/* Past memory; the answer comes, and is right, whoever gives it. */
static void expect(struct world *w, const char *symbol, const char *text)
{
    uint64_t began = uv_hrtime();
    tl_memory_clear(w->b.cache->memory);
    box_expect(&w->b, "etf", symbol, text, TL_TIER_NONE);
    assert_true(uv_hrtime() - began < UINT64_C(5200000000));
}

static void past_memory(struct world *w)
{
    for (int i = 0; i < 5000 && tl_behind_entries(w->b.cache->behind) > 0; i++) box_spin(&w->b, 1);
    tl_memory_clear(w->b.cache->memory);
}

static void recovers(struct world *w)
{
    assert_true(until_up(w));
    w->puts++;
    assert_int_equal(box_put(&w->b, "etf", "again", "v", TL_TIER_REDIS), TL_OK);
    past_memory(w);
    box_expect(&w->b, "etf", "again", "v", TL_TIER_REDIS);
}

static void replies_byte_by_byte(void **state)
{
    (void)state;
    struct world w;
    char symbol[16];
    begin(&w, NULL, true);
    atomic_store(&w.p.split, true);
    assert_int_equal(box_ready(&w.b, NULL), TL_OK);
    for (int i = 0; i < 50; i++) {
        snprintf(symbol, sizeof symbol, "S%d", i);
        w.puts++;
        assert_int_equal(box_put(&w.b, "etf", symbol, symbol, TL_TIER_REDIS), TL_OK);
        past_memory(&w);
        box_expect(&w.b, "etf", symbol, symbol, TL_TIER_REDIS);
        if (i % 10) continue;
        assert_int_equal(box_invalidate(&w.b, TL_SCOPE_KEY, "etf", symbol), TL_OK);
        expect(&w, symbol, NULL);
    }
    assert_int_equal(box_stats(&w.b).redis.errors, 0);
    end(&w);
}

/* The connection goes after n bytes of what Redis answers, for many n: in the handshake, the meeting, the subscription,
 * within and between replies. */
static void cut_anywhere(void **state)
{
    (void)state;
    struct world w;
    char text[24];
    unsigned cut = 0;
    begin(&w, NULL, true);
    for (long n = 0; n < 900; n = n < 60 ? n + 1 : n + 23) {
        atomic_store(&w.p.cut_after, n);
        snprintf(text, sizeof text, "v%ld", n);
        put(&w, "A", text);
        expect(&w, "A", text);
        put(&w, "B", text);
        if (n % 5 == 0) {
            assert_int_equal(box_invalidate(&w.b, TL_SCOPE_KEY, "etf", "B"), TL_OK);
            expect(&w, "B", NULL);
        } else {
            expect(&w, "B", text);
        }
        cut += atomic_load(&w.p.cut_after) == -2;
        atomic_store(&w.p.cut_after, -1);
        assert_true(until_up(&w));
    }
    print_message("%u connections were cut\n", cut);
    assert_true(cut > 40);
    recovers(&w);
    end(&w);
}

static void asleep(void **state)
{
    (void)state;
    struct world w;
    static const char *const extra[] = {"--enable-debug-command", "yes", NULL};
    begin(&w, extra, false);
    assert_int_equal(box_ready(&w.b, NULL), TL_OK);
    put(&w, "A", "old");
    int fd = redis_connect(w.s.port);
    static const char nap[] = "DEBUG SLEEP 10\r\n";
    assert_int_equal(write(fd, nap, sizeof nap - 1), sizeof nap - 1);
    redis_sleep_ms(50);
    uint64_t began = uv_hrtime();
    for (int i = 0; uv_hrtime() - began < UINT64_C(10500000000); i++) {
        char text[24];
        snprintf(text, sizeof text, "v%d", i);
        put(&w, "A", text);
        expect(&w, "A", text);
        box_spin(&w.b, 100);
    }
    assert_true(box_stats(&w.b).redis.skipped >= 1 && box_stats(&w.b).redis.errors >= 1);
    close(fd);
    recovers(&w);
    put(&w, "A", "last");
    expect(&w, "A", "last");
    end(&w);
}

static void read_only(void **state)
{
    (void)state;
    struct world w;
    char out[256], port[8];
    begin(&w, NULL, false);
    assert_int_equal(box_ready(&w.b, NULL), TL_OK);
    put(&w, "A", "old");
    snprintf(port, sizeof port, "%d", redis_free_port()); /* nobody is there */
    assert_true(redis_do(&w.s, out, "REPLICAOF", "127.0.0.1", port));
    put(&w, "A", "new"); /* -READONLY: Redis keeps the old one, which must not be served */
    expect(&w, "A", "new");
    assert_int_equal(box_invalidate(&w.b, TL_SCOPE_SYMBOL, "etf", "A"), TL_OK);
    expect(&w, "A", NULL);
    put(&w, "A", "newer");
    expect(&w, "A", "newer");
    assert_true(box_stats(&w.b).redis.skipped >= 1);
    assert_true(redis_do(&w.s, out, "REPLICAOF", "NO", "ONE"));
    expect(&w, "A", "newer");
    recovers(&w);
    expect(&w, "A", "newer");
    end(&w);
}

static void loading(void **state)
{
    (void)state;
    enum { KEYS = 300 };
    struct world w;
    char out[256], symbol[16];
    static const char *const extra[] = {"--key-load-delay", "0", "--loading-process-events-interval-bytes", "1024",
                                        NULL};
    begin(&w, extra, false);
    assert_int_equal(box_ready(&w.b, NULL), TL_OK);
    for (int i = 0; i < KEYS; i++) {
        snprintf(symbol, sizeof symbol, "S%d", i);
        w.puts++;
        assert_int_equal(box_put(&w.b, "etf", symbol, symbol, i % 50 ? TL_TIER_NONE : TL_TIER_REDIS), TL_OK);
    }
    assert_int_equal(box_invalidate(&w.b, TL_SCOPE_KEY, "etf", "S7"), TL_OK);
    assert_true(redis_do(&w.s, out, "SAVE"));
    redis_server_kill(&w.s);
    w.s.extra[1] = "10000"; /* us a key: about three seconds of -LOADING */
    redis_spawn(&w.s);
    bool seen = false;
    for (int i = 0; i < 1000 && !seen; i++) {
        seen = redis_do(&w.s, out, "GET", "x") && strncmp(out, "-LOADING", 8) == 0;
        if (!seen) redis_sleep_ms(1);
    }
    assert_true(seen);
    put(&w, "A", "meanwhile");
    expect(&w, "A", "meanwhile");
    expect(&w, "S1", "S1");
    expect(&w, "S7", NULL);
    assert_true(redis_do(&w.s, out, "GET", "x") && strncmp(out, "-LOADING", 8) == 0); /* still */
    recovers(&w);
    expect(&w, "S1", "S1");
    expect(&w, "S7", NULL);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_byte_by_byte),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(asleep),
        cmocka_unit_test(read_only),
        cmocka_unit_test(loading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
