/* SPDX-License-Identifier: Apache-2.0 */
/* The cache through its public API: tiers, freshness, flights, loads, invalidation; with the store alone, with a real
 * Redis alone, and with both. */
#include "support.h"

#include "cache_fixture.h"

static void memory_alone(void **state)
{
    (void)state;
    struct box b;
    box_open(&b, NULL, NULL, NULL);
    assert_int_equal(box_ready(&b, NULL), TL_OK);
    box_expect(&b, "fund_flow", "600519.SH", NULL, TL_TIER_NONE);
    assert_int_equal(box_put(&b, "fund_flow", "600519.SH", "one", TL_TIER_MEMORY), TL_OK);
    box_expect(&b, "fund_flow", "sh600519", "one", TL_TIER_MEMORY);
    assert_int_equal(box_put(&b, "fund_flow", "600519.SH", "two", TL_TIER_NONE), TL_OK);
    box_expect(&b, "fund_flow", "600519.SH", "two", TL_TIER_MEMORY);
    struct tl_key key = {.data_type = "fund_flow", .symbol = "600519.SH"};
    struct tl_value *v = tl_cache_peek(b.cache, &key);
    assert_non_null(v);
    tl_value_unref(v);
    assert_int_equal(box_put_bytes(&b, &key, "x", 1, NULL, TL_TIER_STORE, 1000), TL_UNSUPPORTED);
    assert_int_equal(box_invalidate(&b, TL_SCOPE_ALL, NULL, NULL), TL_OK);
    box_expect(&b, "fund_flow", "600519.SH", NULL, TL_TIER_NONE);
    assert_null(tl_cache_peek(b.cache, &key));
    box_close(&b);
}

static void through_the_store(void **state)
{
    (void)state;
    char path[128];
    struct box a, b;
    box_make_store(path);
    box_open(&a, NULL, path, NULL);
    assert_int_equal(box_put(&a, "daily_kline", "AAPL", "{\"close\":1}", TL_TIER_STORE), TL_OK);
    box_expect(&a, "daily_kline", "AAPL", "{\"close\":1}", TL_TIER_MEMORY);
    box_open(&b, NULL, path, NULL); /* another process, as far as the store can tell */
    box_expect(&b, "daily_kline", "AAPL", "{\"close\":1}", TL_TIER_STORE);
    box_expect(&b, "daily_kline", "AAPL", "{\"close\":1}", TL_TIER_MEMORY);
    /* A newer value of the other is seen within the time in which the store is followed. */
    assert_int_equal(box_put(&a, "daily_kline", "AAPL", "{\"close\":2}", TL_TIER_STORE), TL_OK);
    box_spin(&b, 3 * TL_FOLLOW_MS);
    box_expect(&b, "daily_kline", "AAPL", "{\"close\":2}", TL_TIER_NONE);
    /* So is an invalidation. */
    assert_int_equal(box_invalidate(&a, TL_SCOPE_SYMBOL, NULL, "AAPL"), TL_OK);
    box_expect(&a, "daily_kline", "AAPL", NULL, TL_TIER_NONE);
    box_spin(&b, 3 * TL_FOLLOW_MS);
    box_expect(&b, "daily_kline", "AAPL", NULL, TL_TIER_NONE);
    box_close(&a);
    box_close(&b);
    /* And it outlives the processes. */
    box_open(&a, NULL, path, NULL);
    box_expect(&a, "daily_kline", "AAPL", NULL, TL_TIER_NONE);
    box_close(&a);
    box_remove_store(path);
}

static void through_redis(void **state)
{
    (void)state;
    struct redis_server s;
    struct box a, b, other;
    redis_server_start(&s, NULL);
    box_open(&a, s.url, NULL, NULL);
    box_open(&b, s.url, NULL, NULL);
    box_open(&other, s.url, NULL, "test:");
    assert_int_equal(box_ready(&a, NULL), TL_OK);
    assert_int_equal(box_ready(&b, NULL), TL_OK);
    assert_int_equal(box_ready(&other, NULL), TL_OK);
    assert_int_equal(box_put(&a, "etf", "510300.SH", "one", TL_TIER_REDIS), TL_OK);
    box_expect(&b, "etf", "510300.SH", "one", TL_TIER_REDIS);
    box_expect(&b, "etf", "510300.SH", "one", TL_TIER_MEMORY);
    box_expect(&other, "etf", "510300.SH", NULL, TL_TIER_NONE);
    uint64_t heard = box_stats(&other).announcements;
    /* b's memory follows a's put. */
    assert_int_equal(box_put(&a, "etf", "510300.SH", "two", TL_TIER_REDIS), TL_OK);
    box_spin(&b, 50);
    box_expect(&b, "etf", "510300.SH", "two", TL_TIER_REDIS);
    /* Invalidation by b reaches a. */
    assert_int_equal(box_invalidate(&b, TL_SCOPE_TYPE, "etf", NULL), TL_OK);
    box_expect(&b, "etf", "510300.SH", NULL, TL_TIER_NONE);
    box_spin(&a, 50);
    box_expect(&a, "etf", "510300.SH", NULL, TL_TIER_NONE);
    assert_int_equal(box_put(&a, "etf", "510300.SH", "three", TL_TIER_REDIS), TL_OK);
    box_expect(&a, "etf", "510300.SH", "three", TL_TIER_MEMORY);
    box_spin(&other, 50);
    assert_int_equal(box_stats(&other).announcements, heard);
    /* One command a hit. */
    struct tl_redis_stats before, after;
    tl_memory_clear(b.cache->memory);
    tl_redis_stats(b.cache->redis, &before);
    box_expect(&b, "etf", "510300.SH", "three", TL_TIER_REDIS);
    tl_redis_stats(b.cache->redis, &after);
    assert_int_equal(after.commands - before.commands, 1);
    box_close(&a);
    box_close(&b);
    box_close(&other);
    redis_server_stop(&s);
}

static void every_tier(void **state)
{
    (void)state;
    struct redis_server s;
    char path[128];
    struct box a, b;
    redis_server_start(&s, NULL);
    box_make_store(path);
    box_open(&a, s.url, path, NULL);
    assert_int_equal(box_ready(&a, NULL), TL_OK);
    assert_int_equal(box_put(&a, "tick_data", "000001.SZ", "v", TL_TIER_STORE), TL_OK);
    char out[256];
    assert_true(redis_do(&s, out, "FLUSHALL"));
    box_open(&b, s.url, path, NULL);
    assert_int_equal(box_ready(&b, NULL), TL_OK);
    box_expect(&b, "tick_data", "000001.SZ", "v", TL_TIER_STORE);
    box_spin(&b, 100); /* the hit fills Redis */
    tl_memory_clear(a.cache->memory);
    box_spin(&a, 50);
    box_expect(&a, "tick_data", "000001.SZ", "v", TL_TIER_REDIS);
    struct tl_cache_stats st = box_stats(&b);
    assert_int_equal(st.store.hits, 1);
    assert_int_equal(st.redis.misses, 1);
    box_close(&a);
    box_close(&b);
    redis_server_stop(&s);
    box_remove_store(path);
}

static void another_store_is_refused(void **state)
{
    (void)state;
    struct redis_server s;
    char path[128], path2[128];
    struct box a, b, c;
    struct tl_err err;
    redis_server_start(&s, NULL);
    box_make_store(path);
    box_make_store(path2);
    box_open(&a, s.url, path, NULL);
    assert_int_equal(box_ready(&a, NULL), TL_OK);
    box_open(&b, s.url, path2, NULL);
    assert_int_equal(box_ready(&b, &err), TL_CONFLICT);
    assert_non_null(strstr(err.text, tl_store_id(a.cache->store)));
    assert_non_null(strstr(err.text, tl_store_id(b.cache->store)));
    assert_int_equal(box_put(&a, "etf", "X", "of a", TL_TIER_STORE), TL_OK);
    box_expect(&b, "etf", "X", NULL, TL_TIER_NONE);
    box_open(&c, s.url, NULL, NULL); /* no store at all is welcome */
    assert_int_equal(box_ready(&c, NULL), TL_OK);
    box_expect(&c, "etf", "X", "of a", TL_TIER_REDIS);
    box_close(&a);
    box_close(&b);
    box_close(&c);
    redis_server_stop(&s);
    box_remove_store(path);
    box_remove_store(path2);
}

/* ---- time ---- */

struct fake_time {
    struct tl_clock clock;
    int64_t wall_ms;
};

static int64_t fake_wall(void *ctx)
{
    return ((struct fake_time *)ctx)->wall_ms;
}

static uint64_t real_mono(void *ctx)
{
    (void)ctx;
    return tl_clock_mono_ns(&tl_clock_system);
}

static void freshness_by_type(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        int64_t fresh_s;
    } rows[] = {{"tick_data", 30}, {"realtime_quote", 60}, {"minute_kline", 300}, {"fund_flow", 600},
                {"etf", 1800},     {"daily_kline", 7200},  {"anything", 300}};
    struct fake_time t = {.wall_ms = INT64_C(1700000000000)};
    t.clock = (struct tl_clock){.wall_ms = fake_wall, .mono_ns = real_mono, .ctx = &t};
    struct tl_cache_options o = {.log_level = -1};
    struct tl_cache_options_inside in = {.clock = &t.clock};
    struct box b = {.closed = false};
    struct tl_err err;
    assert_int_equal(uv_loop_init(&b.loop), 0);
    assert_int_equal(tl_cache_open_inside(&b.loop, &o, &in, &b.cache, &err), TL_OK);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tl_key key = {.data_type = rows[i].type, .symbol = "S"};
        assert_int_equal(box_put(&b, rows[i].type, "S", "v", TL_TIER_MEMORY), TL_OK);
        t.wall_ms += rows[i].fresh_s * 899; /* the jitter takes at most a tenth */
        struct tl_get_item item = box_get(&b, rows[i].type, "S");
        assert_int_equal(item.freshness, TL_FRESH);
        assert_int_equal(item.age_ms, rows[i].fresh_s * 899);
        tl_value_unref(item.value);
        item = box_get_with(&b, (struct tl_get){.max_age_ms = 1}, &key, 1000);
        assert_int_equal(item.freshness, TL_STALE); /* there is none that is as young as that */
        tl_value_unref(item.value);
        t.wall_ms += rows[i].fresh_s * 101 + 1;
        item = box_get(&b, rows[i].type, "S");
        assert_int_equal(item.status, TL_OK);
        assert_int_equal(item.freshness, TL_STALE);
        tl_value_unref(item.value);
        t.wall_ms += rows[i].fresh_s * 1001;
        item = box_get(&b, rows[i].type, "S"); /* past what memory keeps, and there is no other tier */
        assert_int_equal(item.status, TL_NOT_FOUND);
    }
    box_close(&b);
}

/* ---- loads ---- */

struct source {
    struct tl_load *load[8];
    unsigned calls;
};

static void on_load(void *ctx, const struct tl_key *key, struct tl_load *load)
{
    struct source *s = ctx;
    assert_string_equal(key->data_type, "factor");
    assert_true(s->calls < 8);
    s->load[s->calls++] = load;
}

struct reader {
    struct tl_get op;
    bool done;
};

static void start_get(struct box *b, struct reader *r, struct source *s, uint64_t soft_ms, uint64_t deadline)
{
    static const struct tl_key key = {.data_type = "factor", .symbol = "x"};
    struct tl_err err;
    *r = (struct reader){.op = {.load = on_load, .load_ctx = s, .soft_ms = soft_ms}};
    r->op.user = &r->done;
    assert_int_equal(tl_cache_get(b->cache, &r->op, &key, deadline, box_got, &err), TL_OK);
}

static void one_flight(void **state)
{
    (void)state;
    struct box b;
    struct source s = {.calls = 0};
    static struct reader r[1000];
    box_open(&b, NULL, NULL, NULL);
    for (int i = 0; i < 1000; i++) start_get(&b, &r[i], &s, 0, 5000);
    box_spin(&b, 20);
    assert_int_equal(s.calls, 1);
    tl_load_end(s.load[0], TL_OK, "made", 4, NULL, NULL);
    for (int i = 0; i < 1000; i++) {
        box_spin_until(&b, &r[i].done, 2000);
        size_t n;
        assert_int_equal(r[i].op.item.status, TL_OK);
        assert_memory_equal(tl_value_bytes(r[i].op.item.value, &n), "made", 4);
        tl_value_unref(r[i].op.item.value);
    }
    assert_int_equal(box_stats(&b).joined, 999);
    box_expect(&b, "factor", "x", "made", TL_TIER_MEMORY);
    box_close(&b);
}

static void failures_are_shared_and_short(void **state)
{
    (void)state;
    struct box b;
    struct source s = {.calls = 0};
    struct reader r[2];
    box_open(&b, NULL, NULL, NULL);
    start_get(&b, &r[0], &s, 0, 5000);
    start_get(&b, &r[1], &s, 0, 5000);
    box_spin(&b, 5);
    tl_load_end(s.load[0], TL_NO_DATA, NULL, 0, NULL, "nothing for x");
    box_spin_until(&b, &r[0].done, 1000);
    box_spin_until(&b, &r[1].done, 1000);
    assert_int_equal(r[0].op.item.status, TL_NO_DATA);
    assert_int_equal(r[1].op.item.status, TL_NO_DATA);
    start_get(&b, &r[0], &s, 0, 5000); /* remembered */
    box_spin_until(&b, &r[0].done, 1000);
    assert_int_equal(r[0].op.item.status, TL_NO_DATA);
    assert_int_equal(s.calls, 1);
    assert_int_equal(box_put(&b, "factor", "x", "there now", TL_TIER_NONE), TL_OK); /* a put ends it */
    box_expect(&b, "factor", "x", "there now", TL_TIER_MEMORY);
    box_close(&b);
}

static void deadlines(void **state)
{
    (void)state;
    struct box b;
    struct source s = {.calls = 0};
    struct reader r;
    box_open(&b, NULL, NULL, NULL);
    /* hard: an error, while the work goes on */
    start_get(&b, &r, &s, 0, 30);
    box_spin_until(&b, &r.done, 1000);
    assert_int_equal(r.op.item.status, TL_TIMEOUT);
    tl_load_end(s.load[0], TL_OK, "late", 4, &(struct tl_ttl){.fresh_ms = 40}, NULL);
    box_expect(&b, "factor", "x", "late", TL_TIER_MEMORY);
    box_spin(&b, 41);
    /* stale, a soft deadline: the renewal is waited for, but not long */
    start_get(&b, &r, &s, 20, 5000);
    box_spin_until(&b, &r.done, 1000);
    assert_int_equal(s.calls, 2);
    assert_int_equal(r.op.item.status, TL_OK);
    assert_int_equal(r.op.item.freshness, TL_STALE);
    tl_value_unref(r.op.item.value);
    tl_load_end(s.load[1], TL_OK, "newer", 5, &(struct tl_ttl){.fresh_ms = 30}, NULL);
    box_expect(&b, "factor", "x", "newer", TL_TIER_MEMORY);
    box_spin(&b, 31);
    /* stale, none: handed out at once, renewed behind */
    start_get(&b, &r, &s, 0, 5000);
    box_spin_until(&b, &r.done, 1000);
    assert_int_equal(r.op.item.freshness, TL_STALE);
    tl_value_unref(r.op.item.value);
    assert_int_equal(s.calls, 3);
    tl_load_end(s.load[2], TL_OK, "newest", 6, NULL, NULL);
    box_expect(&b, "factor", "x", "newest", TL_TIER_MEMORY);
    box_close(&b);
}

static void invalidation_beats_a_load(void **state)
{
    (void)state;
    struct box b;
    struct source s = {.calls = 0};
    struct reader r;
    box_open(&b, NULL, NULL, NULL);
    start_get(&b, &r, &s, 0, 5000);
    box_spin(&b, 5);
    assert_int_equal(box_invalidate(&b, TL_SCOPE_KEY, "factor", "x"), TL_OK);
    tl_load_end(s.load[0], TL_OK, "old", 3, NULL, NULL);
    box_spin(&b, 5);
    assert_false(r.done); /* made again */
    assert_int_equal(s.calls, 2);
    tl_load_end(s.load[1], TL_OK, "new", 3, NULL, NULL);
    box_spin_until(&b, &r.done, 1000);
    assert_int_equal(r.op.item.status, TL_OK);
    tl_value_unref(r.op.item.value);
    box_expect(&b, "factor", "x", "new", TL_TIER_MEMORY);
    box_close(&b);
}

static void close_waits_for_loads(void **state)
{
    (void)state;
    struct box b;
    struct source s = {.calls = 0};
    struct reader r;
    box_open(&b, NULL, NULL, NULL);
    start_get(&b, &r, &s, 0, 5000);
    box_spin(&b, 5);
    tl_cache_close(b.cache, box_on_closed, &b);
    tl_cache_close(b.cache, box_on_closed, NULL); /* idempotent */
    box_spin_until(&b, &r.done, 1000);
    assert_int_equal(r.op.item.status, TL_CANCELLED);
    box_spin(&b, 20);
    assert_false(b.closed);
    tl_load_end(s.load[0], TL_OK, "too late", 8, NULL, NULL);
    box_spin_until(&b, &b.closed, 1000);
    assert_int_equal(uv_run(&b.loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&b.loop), 0);
}

/* Also where one prefix begins with the other. */
static void two_prefixes(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"one:", "two:"}, {"a:", "a:b:"}};
    for (size_t p = 0; p < sizeof pairs / sizeof pairs[0]; p++) {
        struct redis_server s;
        struct box a, b, c;
        char out[4096];
        redis_server_start(&s, NULL);
        box_open(&a, s.url, NULL, pairs[p][0]);
        box_open(&b, s.url, NULL, pairs[p][1]);
        box_open(&c, s.url, NULL, pairs[p][1]); /* hears what b says */
        assert_int_equal(box_ready(&a, NULL), TL_OK);
        assert_int_equal(box_ready(&b, NULL), TL_OK);
        assert_int_equal(box_ready(&c, NULL), TL_OK);
        assert_int_equal(box_put(&a, "etf", "A", "of a", TL_TIER_REDIS), TL_OK);
        box_expect(&b, "etf", "A", NULL, TL_TIER_NONE);
        assert_int_equal(box_put(&b, "etf", "A", "of b", TL_TIER_REDIS), TL_OK);
        assert_int_equal(box_invalidate(&b, TL_SCOPE_ALL, NULL, NULL), TL_OK);
        box_spin(&a, 50);
        box_spin(&c, 50);
        assert_int_equal(box_stats(&a).announcements, 0);
        assert_int_equal(box_stats(&c).announcements, 2);
        box_expect(&a, "etf", "A", "of a", TL_TIER_MEMORY);
        tl_memory_clear(a.cache->memory);
        box_expect(&a, "etf", "A", "of a", TL_TIER_REDIS);
        box_expect(&b, "etf", "A", NULL, TL_TIER_NONE);
        assert_int_equal(box_invalidate(&a, TL_SCOPE_TYPE, "etf", NULL), TL_OK);
        box_spin(&b, 50);
        assert_int_equal(box_stats(&b).announcements, 0);
        assert_true(redis_do(&s, out, "EVAL",
                             "for _, k in ipairs(redis.call('KEYS', '*')) do "
                             "if k:sub(1, #ARGV[1]) ~= ARGV[1] and k:sub(1, #ARGV[2]) ~= ARGV[2] then return k end end "
                             "return 'none'",
                             "0", pairs[p][0], pairs[p][1]));
        assert_non_null(strstr(out, "none"));
        box_close(&a);
        box_close(&b);
        box_close(&c);
        redis_server_stop(&s);
    }
}

/* ---- invalidation, all forms ---- */

static void five_forms(void **state)
{
    (void)state;
    static const struct {
        enum tl_scope scope;
        const char *type, *symbol;
        bool hit[4]; /* (etf A 1d), (etf A 1w), (etf B 1d), (tick A 1d) */
    } rows[] = {{TL_SCOPE_KEY, "etf", "A", {true, false, false, false}},
                {TL_SCOPE_GROUP, "etf", "A", {true, false, false, false}},
                {TL_SCOPE_SYMBOL, NULL, "A", {true, true, false, true}},
                {TL_SCOPE_TYPE, "etf", NULL, {true, true, true, false}},
                {TL_SCOPE_ALL, NULL, NULL, {true, true, true, true}}};
    static const struct tl_key keys[4] = {
        {"etf", "A", "1d"}, {"etf", "A", "1w"}, {"etf", "B", "1d"}, {"tick", "A", "1d"}};
    char path[128];
    box_make_store(path);
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        struct box b;
        box_open(&b, NULL, path, NULL);
        for (int i = 0; i < 4; i++)
            assert_int_equal(box_put_bytes(&b, &keys[i], "v", 1, NULL, TL_TIER_STORE, 5000), TL_OK);
        struct tl_key key = {.data_type = rows[r].type, .symbol = rows[r].symbol, .timeframe = "1d"};
        struct box_invalidated done = {.done = false};
        struct tl_invalidate op = {.user = &done};
        assert_int_equal(tl_cache_invalidate(b.cache, &op, rows[r].scope, &key, 5000, box_on_invalidated, NULL), TL_OK);
        box_spin_until(&b, &done.done, 5000);
        assert_int_equal(done.status, TL_OK);
        for (int pass = 0; pass < 2; pass++) { /* memory, then the store alone */
            for (int i = 0; i < 4; i++) {
                struct tl_get_item item = box_get_with(&b, (struct tl_get){.max_age_ms = 0}, &keys[i], 5000);
                assert_int_equal(item.status == TL_NOT_FOUND, rows[r].hit[i]);
                tl_value_unref(item.value);
            }
            tl_memory_clear(b.cache->memory);
        }
        box_close(&b);
    }
    box_remove_store(path);
}

static void many_at_once(void **state)
{
    (void)state;
    enum { N = 500 };
    struct redis_server s;
    struct box a, b;
    static struct tl_put_item puts[N];
    static struct tl_get_item gets[N];
    static char names[N][16];
    redis_server_start(&s, NULL);
    box_open(&a, s.url, NULL, NULL);
    box_open(&b, s.url, NULL, NULL);
    assert_int_equal(box_ready(&a, NULL), TL_OK);
    assert_int_equal(box_ready(&b, NULL), TL_OK);
    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "S%d", i);
        puts[i] = (struct tl_put_item){.key = {"quote", names[i], NULL}, .bytes = names[i], .n = strlen(names[i])};
        gets[i] = (struct tl_get_item){.key = {"quote", names[i], NULL}};
    }
    bool done = false;
    struct tl_put put = {.wait = TL_TIER_REDIS, .user = &done};
    assert_int_equal(tl_cache_put_many(a.cache, &put, puts, N, 5000, box_put_cb, NULL), TL_OK);
    box_spin_until(&a, &done, 5000);
    for (int i = 0; i < N; i++) assert_int_equal(puts[i].status, TL_OK);
    struct tl_get get = {.user = &done};
    done = false;
    assert_int_equal(tl_cache_get_many(b.cache, &get, gets, N, 5000, box_got, NULL), TL_OK);
    box_spin_until(&b, &done, 5000);
    for (int i = 0; i < N; i++) {
        size_t n;
        assert_int_equal(gets[i].status, TL_OK);
        assert_int_equal(gets[i].source, TL_TIER_REDIS);
        assert_memory_equal(tl_value_bytes(gets[i].value, &n), names[i], strlen(names[i]));
        tl_value_unref(gets[i].value);
    }
    struct tl_cache_stats st = box_stats(&a);
    assert_int_equal(st.redis.written, N);
    assert_int_equal(st.redis.coalesced + st.redis.lost + st.redis.refused + st.redis.skipped, 0);
    box_close(&a);
    box_close(&b);
    redis_server_stop(&s);
}

static void bad_input(void **state)
{
    (void)state;
    struct box b;
    struct tl_err err;
    struct tl_cache *c = NULL;
    static const struct {
        struct tl_cache_options o;
        const char *says;
    } rows[] = {{{.prefix = "a{b"}, "prefix"}, {{.redis_url = "http://x"}, "scheme"}, {{.prefix = ""}, "prefix"}};
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(tl_cache_open(&loop, &rows[i].o, &c, &err), TL_INVALID);
        assert_non_null(strstr(err.text, rows[i].says));
    }
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&loop), 0);
    box_open(&b, NULL, NULL, NULL);
    struct tl_key none = {.data_type = ""};
    struct tl_get op = {.max_age_ms = 0};
    assert_int_equal(tl_cache_get(b.cache, &op, &none, 1000, box_got, &err), TL_INVALID);
    struct tl_key key = {.data_type = "t"};
    struct tl_put put = {.wait = TL_TIER_NONE};
    char *big = calloc(TL_VALUE_MAX + 1, 1);
    assert_int_equal(tl_cache_put(b.cache, &put, &key, big, TL_VALUE_MAX + 1, NULL, 1000, box_put_cb, &err),
                     TL_TOO_LARGE);
    assert_int_equal(box_put_bytes(&b, &key, big, TL_VALUE_MAX, NULL, TL_TIER_NONE, 1000), TL_OK);
    free(big);
    struct tl_get_item item = box_get(&b, "t", NULL);
    assert_int_equal(item.status, TL_OK);
    tl_value_unref(item.value);
    box_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_alone),
        cmocka_unit_test(through_the_store),
        cmocka_unit_test(through_redis),
        cmocka_unit_test(every_tier),
        cmocka_unit_test(another_store_is_refused),
        cmocka_unit_test(freshness_by_type),
        cmocka_unit_test(one_flight),
        cmocka_unit_test(failures_are_shared_and_short),
        cmocka_unit_test(deadlines),
        cmocka_unit_test(invalidation_beats_a_load),
        cmocka_unit_test(close_waits_for_loads),
        cmocka_unit_test(two_prefixes),
        cmocka_unit_test(five_forms),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(bad_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
