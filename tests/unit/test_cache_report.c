/* SPDX-License-Identifier: Apache-2.0 */
/* What a cache tells of itself: the most read keys, the reports in Redis, and the list that warms a restart. */
#include "support.h"

#include "cache_fixture.h"

#include "base/rng.h"
#include "base/util.h"
#include "cache/report.h"

#include <jansson.h>
#include <math.h>

/* ---- top ---- */

/* Against exact counts, on requests of which a few keys get most. */
static void top_keys(void **state)
{
    enum { KEYS = 5000, READS = 200000 };
    static uint64_t exact[KEYS];
    static struct tl_top_key top[TL_TOP_SLOTS];
    struct tl_top *t = tl_top_new();
    struct tl_rng rng;
    (void)state;
    assert_non_null(t);
    assert_int_equal(tl_top_list(t, 5, top, TL_TOP_SLOTS), 0);
    tl_rng_seed(&rng, 11);
    for (int i = 0; i < READS; i++) {
        unsigned k = (unsigned)(pow(KEYS, tl_rng_unit(&rng)) - 1); /* log-uniform: Zipf 1 */
        char key[16];
        snprintf(key, sizeof key, "key %u", k);
        exact[k]++;
        tl_top_note(t, tl_str(key), 1000);
    }
    size_t n = tl_top_list(t, 1000, top, TL_TOP_SLOTS), found = 0;
    assert_int_equal(n, TL_TOP_SLOTS);
    for (size_t i = 0; i < n; i++) {
        unsigned k = (unsigned)atoi(top[i].key + 4);
        assert_true(i == 0 || top[i].reads <= top[i - 1].reads);
        assert_true(top[i].reads - top[i].error <= exact[k] && exact[k] <= top[i].reads);
        found += k < 20;
        if (i < 10) assert_true(k < 20);
    }
    assert_int_equal(found, 20);
    assert_int_equal(tl_top_list(t, 1000, top, 3), 3);
    uint64_t first = top[0].reads;
    assert_int_equal(tl_top_list(t, 1000 + TL_TOP_HALVE_MS, top, 1), 1);
    assert_true(top[0].reads == first / 2);
    assert_int_equal(tl_top_list(t, 1000 + 4 * TL_TOP_HALVE_MS, top, 1), 1);
    assert_true(top[0].reads == first / 16);
    assert_int_equal(tl_top_list(t, 1000 + 100 * TL_TOP_HALVE_MS, top, 1), 0);
    tl_top_free(t);
    tl_top_free(NULL);
}

/* ---- reports ---- */

static void on_reports(struct tl_reports_op *op, enum tl_status status)
{
    enum tl_status *out = op->user;
    *out = status;
}

/* [own] what is reported now, an array. */
static json_t *reports_of(struct box *b)
{
    enum tl_status status = TL_BUSY;
    struct tl_reports_op op = {.cb = on_reports, .user = &status};
    struct tl_err err;
    assert_int_equal(tl_reports(b->cache, &op, 2000, &err), TL_OK);
    for (int i = 0; i < 5000 && status == TL_BUSY; i++) box_spin(b, 1);
    assert_int_equal(status, TL_OK);
    json_t *list = json_array();
    for (size_t at = 0; at < op.found.n; at += strlen(op.found.p + at) + 1) {
        json_t *one = json_loads(op.found.p + at, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(one);
        json_array_append_new(list, one);
    }
    tl_buf_release(&op.found);
    return list;
}

static json_int_t number(const json_t *report, const char *tier, const char *name)
{
    const json_t *in = tier ? json_object_get(report, tier) : report;
    const json_t *n = json_object_get(in, name);
    assert_true(json_is_integer(n));
    return json_integer_value(n);
}

static void reports(void **state)
{
    struct redis_server s;
    struct box a, b;
    struct tl_err err;
    struct tl_reports_op none = {.cb = on_reports};
    char out[4096];
    (void)state;
    redis_server_start(&s, NULL);
    box_open(&a, s.url, NULL, "t:");
    box_open(&b, s.url, NULL, "t:");
    assert_int_equal(tl_reports(a.cache, &none, 100, &err), TL_IO); /* not met yet */
    assert_int_equal(box_ready(&a, NULL), TL_OK);
    assert_int_equal(box_ready(&b, NULL), TL_OK);
    const char *const dead[] = {"HSET", "t:{stats}", "dead", "{}", NULL};
    const char *const dead_seen[] = {"ZADD", "t:{stats}:seen", "1", "dead", NULL};
    assert_true(redis_command(&s, out, sizeof out, dead) && redis_command(&s, out, sizeof out, dead_seen));
    assert_int_equal(box_put(&a, "etf", "A", "12345", TL_TIER_REDIS), TL_OK);
    for (int i = 0; i < 3; i++) box_expect(&a, "etf", "A", "12345", TL_TIER_MEMORY);
    box_expect(&b, "etf", "A", "12345", TL_TIER_REDIS);
    box_expect(&a, "etf", "B", NULL, TL_TIER_NONE);
    box_spin(&a, TL_REPORT_EACH_MS + 300);
    json_t *list = reports_of(&a);
    assert_int_equal(json_array_size(list), 1); /* b's loop stood still; the dead one is swept */
    const json_t *r = json_array_get(list, 0);
    assert_int_equal(number(r, NULL, "format"), 1);
    assert_int_equal(number(r, NULL, "pid"), getpid());
    assert_int_equal(number(r, "memory", "hits"), 3);
    assert_int_equal(number(r, "memory", "misses"), 1);
    assert_int_equal(number(r, "memory", "read_bytes"), 15);
    assert_int_equal(number(r, "redis", "misses"), 1);
    assert_int_equal(number(r, "redis", "written"), 1);
    assert_int_equal(number(r, NULL, "gets"), 4);
    const json_t *hottest = json_array_get(json_object_get(r, "top"), 0);
    assert_string_equal(json_string_value(json_object_get(hottest, "key")), "cache:{A}:etf:-");
    assert_int_equal(json_integer_value(json_object_get(hottest, "reads")), 3);
    json_decref(list);
    const char *const ttl[] = {"PTTL", "t:{stats}", NULL};
    assert_true(redis_command(&s, out, sizeof out, ttl));
    assert_true(atoi(out + 1) > 0 && atoi(out + 1) <= TL_REPORT_TTL_MS);
    box_spin(&b, TL_REPORT_EACH_MS + 300);
    list = reports_of(&b);
    assert_int_equal(json_array_size(list), 2);
    json_decref(list);
    box_close(&a);
    list = reports_of(&b); /* it took its report back */
    assert_int_equal(json_array_size(list), 1);
    assert_int_equal(number(json_array_get(list, 0), "redis", "hits"), 1);
    json_decref(list);
    redis_server_kill(&s);
    box_spin(&b, 1500);
    box_close(&b);
    redis_server_stop(&s);
}

/* ---- warming ---- */

struct warmed {
    bool done;
    enum tl_status status;
};

static void on_warm(struct tl_warm *op, enum tl_status status)
{
    struct warmed *w = op->user;
    w->done = true;
    w->status = status;
}

static enum tl_status warm(struct box *b, size_t max, size_t *listed, size_t *got)
{
    struct warmed w = {.done = false};
    struct tl_warm op = {.user = &w};
    struct tl_err err;
    assert_int_equal(tl_cache_warm(b->cache, &op, max, 5000, on_warm, &err), TL_OK);
    assert_false(w.done);
    box_spin_until(b, &w.done, 7000);
    *listed = op.listed;
    *got = op.warmed;
    return w.status;
}

static void restart(const char *redis, const char *store)
{
    struct tl_cache_options o = {.redis_url = redis,
                                 .store_url = store,
                                 .prefix = "w:",
                                 .log_level = -1,
                                 .memory_bytes = 8u << 20,
                                 .hot_keys = 700};
    struct box b;
    size_t listed, got;
    char symbol[16];
    box_open_with(&b, &o);
    assert_int_equal(box_ready(&b, NULL), TL_OK);
    assert_int_equal(warm(&b, 100, &listed, &got), TL_OK); /* nothing was remembered yet */
    assert_true(listed == 0 && got == 0);
    for (int i = 0; i < 900; i++) {
        snprintf(symbol, sizeof symbol, "S%d", i);
        assert_int_equal(box_put(&b, "etf", symbol, symbol, i % 100 ? TL_TIER_MEMORY : TL_TIER_NONE), TL_OK);
        if (i < 600) box_expect(&b, "etf", symbol, symbol, TL_TIER_MEMORY);
        if (i < 50) box_expect(&b, "etf", symbol, symbol, TL_TIER_MEMORY);
    }
    box_close(&b);

    box_open_with(&b, &o);
    assert_int_equal(box_ready(&b, NULL), TL_OK);
    assert_int_equal(warm(&b, 50, &listed, &got), TL_OK);
    assert_true(listed == 50 && got == 50);
    for (int i = 0; i < 50; i++) { /* those that were read twice come first */
        snprintf(symbol, sizeof symbol, "S%d", i);
        box_expect(&b, "etf", symbol, symbol, TL_TIER_MEMORY);
    }
    assert_int_equal(warm(&b, 100000, &listed, &got), TL_OK);
    assert_true(listed == 700 && got == 700);
    for (int i = 0; i < 600; i++) {
        snprintf(symbol, sizeof symbol, "S%d", i);
        box_expect(&b, "etf", symbol, symbol, TL_TIER_MEMORY);
    }
    /* What was invalidated since is not warmed. */
    assert_int_equal(box_invalidate(&b, TL_SCOPE_SYMBOL, NULL, "S7"), TL_OK);
    assert_int_equal(warm(&b, 50, &listed, &got), TL_OK);
    assert_true(listed == 50 && got == 49);
    struct warmed w = {.done = false};
    struct tl_warm op = {.user = &w};
    struct tl_err err;
    tl_memory_clear(b.cache->memory);
    assert_int_equal(tl_cache_warm(b.cache, &op, 700, 5000, on_warm, &err), TL_OK);
    tl_cache_close(b.cache, box_on_closed, &b); /* in the middle of it */
    box_spin_until(&b, &b.closed, 10000);
    assert_true(w.done && (w.status == TL_OK || w.status == TL_CANCELLED));
    assert_int_equal(uv_run(&b.loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&b.loop), 0);
}

static void warm_from_redis(void **state)
{
    struct redis_server s;
    (void)state;
    redis_server_start(&s, NULL);
    restart(s.url, NULL);
    redis_server_stop(&s);
}

static void warm_from_the_store(void **state)
{
    char store[128];
    (void)state;
    box_make_store(store);
    restart(NULL, store);
    box_remove_store(store);
}

static void warm_from_both(void **state)
{
    struct redis_server s;
    char store[128];
    (void)state;
    redis_server_start(&s, NULL);
    box_make_store(store);
    restart(s.url, store);
    box_remove_store(store);
    redis_server_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(top_keys),        cmocka_unit_test(reports),
        cmocka_unit_test(warm_from_redis), cmocka_unit_test(warm_from_the_store),
        cmocka_unit_test(warm_from_both),
    };
    if (!redis_server_installed()) print_message("redis-server is not installed\n");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
