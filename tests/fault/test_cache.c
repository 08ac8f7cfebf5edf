/* SPDX-License-Identifier: Apache-2.0 */
/* A cache over a real Redis, and leases on it, with the n-th allocation failing, for every n: calls fail or end,
 * nothing crashes, nothing hangs, no leak (under a sanitizer), and whoever was opened works again afterwards. */
#include "support.h"

#include "unit/cache_fixture.h"

#include "alloc.h"

#include <tierline/lock.h>

enum { ALLOCATIONS_MAX = 2000, WAIT_MS = 8000 };

static struct redis_server server;

static int start(void **state)
{
    (void)state;
    redis_server_start(&server, NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    redis_server_stop(&server);
    return 0;
}

static void on_load(void *ctx, const struct tl_key *key, struct tl_load *load)
{
    (void)ctx, (void)key;
    tl_load_end(load, TL_OK, "made", 4, NULL, NULL);
}

/* One of everything. What is refused or fails is fine; what began must end. */
static void use(struct box *b)
{
    struct tl_err err;
    bool done = false;
    struct tl_key key = {.data_type = "etf", .symbol = "S"};
    struct tl_put put = {.wait = TL_TIER_REDIS, .user = &done};
    if (tl_cache_put(b->cache, &put, &key, "value", 5, NULL, 2000, box_put_cb, &err) == TL_OK)
        box_spin_until(b, &done, WAIT_MS);
    done = false;
    struct tl_get get = {.load = on_load, .user = &done};
    struct tl_key other = {.data_type = "factor", .symbol = "S"};
    if (tl_cache_get(b->cache, &get, &other, 2000, box_got, &err) == TL_OK) {
        box_spin_until(b, &done, WAIT_MS);
        tl_value_unref(get.item.value);
    }
    tl_memory_clear(b->cache->memory);
    done = false;
    struct tl_get_item items[3] = {{.key = key}, {.key = other}, {.key = {.data_type = "none"}}};
    struct tl_get many = {.user = &done};
    if (tl_cache_get_many(b->cache, &many, items, 3, 2000, box_got, &err) == TL_OK) {
        box_spin_until(b, &done, WAIT_MS);
        for (int i = 0; i < 3; i++) tl_value_unref(items[i].value);
    }
    struct box_invalidated gone = {.done = false};
    struct tl_invalidate op = {.user = &gone};
    if (tl_cache_invalidate(b->cache, &op, TL_SCOPE_KEY, &key, 2000, box_on_invalidated, &err) == TL_OK)
        box_spin_until(b, &gone.done, WAIT_MS);
}

/* Memory is there again: it must work, if not at once. */
static void works(struct box *b)
{
    for (int i = 0; i < 400; i++) {
        struct tl_key key = {.data_type = "etf", .symbol = "after"};
        bool put = box_put_bytes(b, &key, "v", 1, NULL, TL_TIER_REDIS, 2000) == TL_OK;
        for (int k = 0; put && k < 100 && tl_behind_entries(b->cache->behind) > 0; k++) box_spin(b, 1);
        tl_memory_clear(b->cache->memory);
        struct tl_get_item item = put ? box_get(b, "etf", "after") : (struct tl_get_item){.status = TL_IO};
        tl_value_unref(item.value);
        if (item.status == TL_OK && item.source == TL_TIER_REDIS) return;
        box_spin(b, 20);
    }
    fail_msg("the cache does not work again");
}

static void cache(void **state)
{
    (void)state;
    long n = 0, opened = 0;
    for (bool failed = true; failed && n < ALLOCATIONS_MAX; n++) {
        struct box b = {.closed = false};
        struct tl_err err = {.status = TL_OK};
        struct box_ready ready = {.done = false};
        struct tl_cache_options o = {
            .redis_url = server.url, .log_level = -1, .memory_bytes = 1u << 20, .drain_ms = 1000, .hot_keys = 10};
        assert_int_equal(uv_loop_init(&b.loop), 0);
        fault_alloc_arm(n);
        enum tl_status st = tl_cache_open(&b.loop, &o, &b.cache, &err);
        if (st == TL_OK) {
            opened++;
            if (tl_cache_ready(b.cache, 3000, box_on_ready, &ready) == TL_OK) box_spin_until(&b, &ready.done, WAIT_MS);
            use(&b);
            failed = fault_alloc_disarm();
            if (failed) works(&b);
            box_close(&b);
        } else {
            failed = fault_alloc_disarm();
            assert_true(failed);
            assert_int_equal(st, TL_NOMEM);
            uv_run(&b.loop, UV_RUN_DEFAULT);
            assert_int_equal(uv_loop_close(&b.loop), 0);
        }
    }
    print_message("%ld allocations failed, %ld of them behind the opening\n", n - 1, opened - 1);
    assert_true(n > 50 && n < ALLOCATIONS_MAX && opened > 30);
}

/* ---- leases ---- */

struct lease_end {
    bool done;
    enum tl_status status;
};

static void on_lease(struct tl_lease *lease, enum tl_status status)
{
    struct lease_end *e = lease->user;
    e->done = true;
    e->status = status;
}

static void on_list(struct tl_locks_list *op, enum tl_status status)
{
    struct lease_end *e = op->user;
    e->done = true;
    e->status = status;
}

static void spin(uv_loop_t *loop, const bool *done)
{
    for (uint64_t end = uv_hrtime() + WAIT_MS * UINT64_C(1000000); !*done && uv_hrtime() < end;)
        uv_run(loop, UV_RUN_NOWAIT);
    assert_true(*done);
}

/* Got and given back: OK. */
static enum tl_status one_lease(uv_loop_t *loop, struct tl_locks *locks)
{
    struct lease_end e = {.done = false};
    struct tl_lease lease = {.ttl_ms = 500, .wait_ms = 3000, .user = &e};
    enum tl_status st = tl_lease_acquire(locks, &lease, "fault", on_lease, NULL);
    if (st != TL_OK) return st;
    spin(loop, &e.done);
    if (e.status != TL_OK) return e.status;
    e.done = false;
    st = tl_lease_release(&lease, on_lease, NULL);
    if (st != TL_OK) return st;
    spin(loop, &e.done);
    return e.status;
}

static void on_closed(void *ctx)
{
    *(bool *)ctx = true;
}

static void leases(void **state)
{
    (void)state;
    long n = 0, opened = 0;
    for (bool failed = true; failed && n < ALLOCATIONS_MAX; n++) {
        uv_loop_t loop;
        struct tl_locks *locks;
        struct tl_err err;
        bool closed = false;
        struct tl_locks_options o = {.redis_url = server.url, .log_level = -1};
        assert_int_equal(uv_loop_init(&loop), 0);
        fault_alloc_arm(n);
        enum tl_status st = tl_locks_open(&loop, &o, &locks, &err);
        if (st == TL_OK) {
            struct lease_end e = {.done = false};
            struct tl_locks_list list = {.user = &e};
            opened++;
            (void)!one_lease(&loop, locks);
            if (tl_locks_list(locks, &list, 2000, on_list, NULL) == TL_OK) spin(&loop, &e.done);
            failed = fault_alloc_disarm();
            for (int i = 0; failed && (st = one_lease(&loop, locks)) != TL_OK && i < 20; i++) redis_sleep_ms(20);
            assert_int_equal(st, TL_OK);
            tl_locks_close(locks, on_closed, &closed);
            spin(&loop, &closed);
        } else {
            failed = fault_alloc_disarm();
            assert_true(failed);
            assert_int_equal(st, TL_NOMEM);
        }
        uv_run(&loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&loop), 0);
    }
    print_message("%ld allocations failed, %ld of them behind the opening\n", n - 1, opened - 1);
    assert_true(n > 20 && n < ALLOCATIONS_MAX && opened > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(cache), cmocka_unit_test(leases)};
    return cmocka_run_group_tests(tests, start, stop);
}
