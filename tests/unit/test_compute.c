/* SPDX-License-Identifier: Apache-2.0 */
/* Values made once: in one process, by several caches on one real Redis, with and without a store; failures, deadlines,
 * invalidation, Redis that is lost and comes back. Several processes are in tests/system/test_once.c. */
#include "support.h"

#include "node.h"

struct maker {
    atomic_int calls;
    unsigned sleep_ms;
    enum tl_status status;
    const char *text;
    struct tl_ttl ttl;
    atomic_ullong token;
    atomic_bool hold; /* as long as it is set, nothing is made */
    atomic_bool lost;
};

static enum tl_status make(void *ctx, const struct tl_key *key, struct tl_making *m)
{
    struct maker *k = ctx;
    atomic_fetch_add(&k->calls, 1);
    atomic_store(&k->token, tl_making_token(m));
    if (k->sleep_ms) usleep(k->sleep_ms * 1000);
    while (atomic_load(&k->hold)) {
        if (!tl_making_progress(m)) atomic_store(&k->lost, true);
        usleep(1000);
    }
    if (k->status != TL_OK) return tl_making_fail(m, k->status, "made to fail");
    char text[128];
    snprintf(text, sizeof text, "%s of %s %s", k->text ? k->text : "value", key->data_type, key->symbol);
    return tl_making_value(m, text, strlen(text), &k->ttl);
}

struct asked {
    struct tl_compute op;
    bool done;
    enum tl_status status;
};

static void on_computed(struct tl_compute *op, enum tl_status status)
{
    struct asked *a = op->user;
    assert_false(a->done);
    a->done = true;
    a->status = status;
}

static void ask_key(struct node *n, struct asked *a, struct maker *m, const char *symbol, struct tl_compute op,
                    uint64_t deadline_ms)
{
    struct tl_key key = {.data_type = "factor", .symbol = symbol};
    struct tl_err err;
    *a = (struct asked){.op = op};
    a->op.make = make;
    a->op.ctx = m;
    a->op.user = a;
    assert_int_equal(tl_compute(n->s, &a->op, &key, deadline_ms, on_computed, &err), TL_OK);
    assert_false(a->done);
}

static void ask(struct node *n, struct asked *a, struct maker *m, const char *symbol)
{
    ask_key(n, a, m, symbol, (struct tl_compute){.max_age_ms = 0}, 10000);
}

static void spin_all(struct node *nodes, size_t count, struct asked *asked, size_t n)
{
    uint64_t end = uv_hrtime() + UINT64_C(15000000000);
    for (size_t open = n; open > 0;) {
        assert_true(uv_hrtime() < end);
        for (size_t i = 0; i < count; i++) uv_run(&nodes[i].box.loop, UV_RUN_NOWAIT);
        open = 0;
        for (size_t i = 0; i < n; i++) open += !asked[i].done;
        if (open) usleep(100);
    }
}

static void has_value(struct asked *a, const char *text)
{
    if (a->status != TL_OK) print_message("%s: %s\n", tl_status_name(a->status), a->op.err.text);
    assert_int_equal(a->status, TL_OK);
    size_t n;
    const char *p = tl_value_bytes(a->op.value, &n);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(p, text, n);
    tl_value_unref(a->op.value);
    a->op.value = NULL;
}

static void alone(void **state)
{
    (void)state;
    struct node n;
    struct maker m = {.sleep_ms = 20};
    struct asked a[50];
    node_open(&n, NULL, NULL);
    for (size_t i = 0; i < 50; i++) ask(&n, &a[i], &m, i % 2 ? "AAPL" : "MSFT");
    spin_all(&n, 1, a, 50);
    for (size_t i = 0; i < 50; i++) has_value(&a[i], i % 2 ? "value of factor AAPL" : "value of factor MSFT");
    assert_int_equal(atomic_load(&m.calls), 2);
    ask(&n, &a[0], &m, "AAPL");
    spin_all(&n, 1, a, 1);
    assert_int_equal(a[0].op.source, TL_TIER_MEMORY);
    has_value(&a[0], "value of factor AAPL");
    assert_int_equal(atomic_load(&m.calls), 2);
    assert_int_equal(node_stats(&n).degraded, 0);
    node_close(&n);
}

static void across_processes(void **state)
{
    (void)state;
    struct redis_server r;
    struct node n[4];
    struct maker m = {.sleep_ms = 50};
    enum { EACH = 25 };
    struct asked a[4 * EACH];
    redis_server_start(&r, NULL);
    for (size_t i = 0; i < 4; i++) node_open(&n[i], r.url, NULL);
    for (size_t i = 0; i < 4 * EACH; i++) ask(&n[i % 4], &a[i], &m, "AAPL");
    spin_all(n, 4, a, 4 * EACH);
    size_t made = 0, waited = 0;
    for (size_t i = 0; i < 4 * EACH; i++) {
        made += a[i].op.source == TL_TIER_SOURCE;
        waited += a[i].op.waited;
        has_value(&a[i], "value of factor AAPL");
    }
    assert_int_equal(atomic_load(&m.calls), 1);
    assert_int_equal(made, EACH);
    assert_int_equal(waited, 3 * EACH);
    uint64_t acquires = 0, commits = 0;
    for (size_t i = 0; i < 4; i++) {
        acquires += node_stats(&n[i]).acquires;
        commits += node_stats(&n[i]).commits;
    }
    assert_int_equal(acquires, 4); /* the winner and each waiter one, and the value came with the message */
    assert_int_equal(commits, 1);
    assert_true(atomic_load(&m.token) > UINT64_C(1500000000000000));
    /* A process that comes later finds it in Redis. */
    struct node late;
    node_open(&late, r.url, NULL);
    ask(&late, &a[0], &m, "AAPL");
    spin_all(&late, 1, a, 1);
    assert_int_equal(a[0].op.source, TL_TIER_REDIS);
    has_value(&a[0], "value of factor AAPL");
    node_close(&late);
    for (size_t i = 0; i < 4; i++) node_close(&n[i]);
    char out[64];
    assert_true(
        redis_do(&r, out, "EXISTS", "tierline:lock:cache:{AAPL}:factor:-", "tierline:wait:cache:{AAPL}:factor:-"));
    assert_string_equal(out, ":0\r\n");
    redis_server_stop(&r);
}

static void failures_are_shared(void **state)
{
    (void)state;
    struct redis_server r;
    struct node n[2];
    struct maker m = {.sleep_ms = 30, .status = TL_IO};
    struct asked a[2];
    redis_server_start(&r, NULL);
    for (size_t i = 0; i < 2; i++) node_open(&n[i], r.url, NULL);
    uint64_t began = uv_hrtime();
    for (size_t i = 0; i < 2; i++) ask(&n[i], &a[i], &m, "AAPL");
    spin_all(n, 2, a, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(a[i].status, TL_IO);
        assert_string_equal(a[i].op.err.text, "made to fail");
    }
    assert_int_equal(atomic_load(&m.calls), 1);
    /* Not again before the backoff is over: 0.5 s, then 1 s. */
    ask(&n[0], &a[0], &m, "AAPL");
    spin_all(n, 2, a, 1);
    assert_int_equal(a[0].status, TL_IO);
    assert_int_equal(atomic_load(&m.calls), 1);
    while (atomic_load(&m.calls) < 3) {
        ask(&n[atomic_load(&m.calls) % 2], &a[0], &m, "AAPL");
        spin_all(n, 2, a, 1);
        assert_true(uv_hrtime() - began < UINT64_C(5000000000));
        usleep(5000);
    }
    assert_in_range((uv_hrtime() - began) / 1000000, 1400, 4000);
    /* A bad parameter is not tried again. */
    m.status = TL_INVALID;
    atomic_store(&m.calls, 0);
    for (int i = 0; i < 3; i++) {
        ask(&n[0], &a[0], &m, "BAD");
        spin_all(n, 2, a, 1);
        assert_int_equal(a[0].status, TL_INVALID);
        box_spin(&n[0].box, 300);
    }
    assert_int_equal(atomic_load(&m.calls), 1);
    /* Unless it is invalidated. */
    m.status = TL_OK;
    assert_int_equal(box_invalidate(&n[1].box, TL_SCOPE_SYMBOL, NULL, "BAD"), TL_OK);
    box_spin(&n[0].box, 50);
    ask(&n[0], &a[0], &m, "BAD");
    spin_all(n, 2, a, 1);
    has_value(&a[0], "value of factor BAD");
    for (size_t i = 0; i < 2; i++) node_close(&n[i]);
    redis_server_stop(&r);
}

static void the_store_remembers(void **state)
{
    (void)state;
    struct redis_server r;
    struct node n;
    struct maker m = {.text = "kept"};
    struct asked a;
    char path[128], out[64];
    box_make_store(path);
    redis_server_start(&r, NULL);
    node_open(&n, r.url, path);
    ask(&n, &a, &m, "AAPL");
    spin_all(&n, 1, &a, 1);
    has_value(&a, "kept of factor AAPL");
    node_close(&n);
    assert_true(redis_do(&r, out, "FLUSHALL"));
    node_open(&n, r.url, path);
    ask(&n, &a, &m, "AAPL");
    spin_all(&n, 1, &a, 1);
    assert_int_equal(a.op.source, TL_TIER_STORE);
    has_value(&a, "kept of factor AAPL");
    assert_int_equal(atomic_load(&m.calls), 1);
    /* And Redis has it again, for those without a store. */
    struct node other;
    node_open(&other, r.url, NULL);
    ask(&other, &a, &m, "AAPL");
    spin_all(&other, 1, &a, 1);
    assert_int_equal(a.op.source, TL_TIER_REDIS);
    has_value(&a, "kept of factor AAPL");
    node_close(&other);
    node_close(&n);
    redis_server_stop(&r);
    box_remove_store(path);
}

static void deadlines_and_cancels(void **state)
{
    (void)state;
    struct redis_server r;
    struct node n[2];
    struct maker m = {.text = "late", .ttl = {.fresh_ms = 200}};
    struct asked a[3];
    redis_server_start(&r, NULL);
    for (size_t i = 0; i < 2; i++) node_open(&n[i], r.url, NULL);
    atomic_store(&m.hold, true);
    ask_key(&n[0], &a[0], &m, "AAPL", (struct tl_compute){.max_age_ms = 0}, 100);
    spin_all(n, 2, a, 1);
    assert_int_equal(a[0].status, TL_TIMEOUT);
    ask(&n[1], &a[1], &m, "AAPL");
    ask(&n[0], &a[2], &m, "AAPL");
    tl_compute_cancel(&a[2].op);
    assert_false(a[2].done);
    box_spin(&n[0].box, 1500); /* far beyond the lease, which is renewed */
    assert_int_equal(a[2].status, TL_CANCELLED);
    assert_false(a[1].done);
    atomic_store(&m.hold, false);
    spin_all(n, 2, a, 3);
    has_value(&a[1], "late of factor AAPL");
    assert_int_equal(atomic_load(&m.calls), 1);
    assert_false(atomic_load(&m.lost));
    /* What is out of date is handed out after a while, and made anew behind. */
    usleep(250000);
    atomic_store(&m.hold, true);
    ask_key(&n[0], &a[0], &m, "AAPL", (struct tl_compute){.soft_ms = 50}, 5000);
    spin_all(n, 2, a, 1);
    assert_int_equal(a[0].op.freshness, TL_STALE);
    has_value(&a[0], "late of factor AAPL");
    /* By a process, too, that has to get it from Redis, while the other makes it anew. */
    struct node third;
    node_open(&third, r.url, NULL);
    ask_key(&third, &a[1], &m, "AAPL", (struct tl_compute){.soft_ms = 50}, 5000);
    spin_all(&third, 1, &a[1], 1);
    assert_int_equal(a[1].op.freshness, TL_STALE);
    assert_int_equal(a[1].op.source, TL_TIER_REDIS);
    has_value(&a[1], "late of factor AAPL");
    node_close(&third);
    atomic_store(&m.hold, false);
    box_spin(&n[0].box, 100);
    assert_int_equal(atomic_load(&m.calls), 2);
    for (size_t i = 0; i < 2; i++) node_close(&n[i]);
    redis_server_stop(&r);
}

/* The function that shows no progress loses its lease; another process makes the value. */
static void stuck(void **state)
{
    (void)state;
    struct redis_server r;
    struct node n[2];
    struct maker slow = {.sleep_ms = 2500, .text = "slow"}, quick = {.text = "quick"};
    struct asked a[2];
    redis_server_start(&r, NULL);
    for (size_t i = 0; i < 2; i++) node_open(&n[i], r.url, NULL);
    ask_key(&n[0], &a[0], &slow, "AAPL", (struct tl_compute){.stall_ms = 300}, 10000);
    box_spin(&n[0].box, 100);
    ask(&n[1], &a[1], &quick, "AAPL");
    spin_all(n, 2, a, 2);
    assert_true(a[1].op.taken_over);
    has_value(&a[1], "quick of factor AAPL");
    has_value(&a[0], "quick of factor AAPL"); /* its own was thrown away */
    assert_int_equal(node_stats(&n[0]).fenced, 1);
    assert_int_equal(node_stats(&n[0]).duplicated, 1);
    for (size_t i = 0; i < 2; i++) node_close(&n[i]);
    redis_server_stop(&r);
}

static void without_redis_and_back(void **state)
{
    (void)state;
    struct redis_server r;
    struct node n[2];
    struct maker m = {.text = "alone"};
    struct asked a[2];
    redis_server_start(&r, NULL);
    for (size_t i = 0; i < 2; i++) node_open(&n[i], r.url, NULL);
    redis_server_kill(&r);
    box_spin(&n[0].box, 50);
    box_spin(&n[1].box, 50);
    for (size_t i = 0; i < 2; i++) ask(&n[i], &a[i], &m, "AAPL");
    spin_all(n, 2, a, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(node_stats(&n[i]).degraded, 1);
        has_value(&a[i], "alone of factor AAPL");
    }
    assert_int_equal(atomic_load(&m.calls), 2); /* one a process */
    redis_server_restart(&r);
    assert_int_equal(box_ready(&n[0].box, NULL) == TL_CANCELLED, 0);
    bool joined = false;
    for (int i = 0; i < 500 && !joined; i++) {
        box_spin(&n[0].box, 10);
        box_spin(&n[1].box, 10);
        joined = n[0].box.cache->redis_state == TL_REDIS_JOINED && n[1].box.cache->redis_state == TL_REDIS_JOINED;
    }
    assert_true(joined);
    for (size_t i = 0; i < 2; i++) ask(&n[i], &a[i], &m, "MSFT");
    spin_all(n, 2, a, 2);
    for (size_t i = 0; i < 2; i++) has_value(&a[i], "alone of factor MSFT");
    assert_int_equal(atomic_load(&m.calls), 3);
    for (size_t i = 0; i < 2; i++) node_close(&n[i]);
    redis_server_stop(&r);
}

/* What is invalidated while it is made is made again. */
static void invalidated_meanwhile(void **state)
{
    (void)state;
    struct redis_server r;
    struct node n[2];
    struct maker m = {.text = "new"};
    struct asked a;
    redis_server_start(&r, NULL);
    for (size_t i = 0; i < 2; i++) node_open(&n[i], r.url, NULL);
    atomic_store(&m.hold, true);
    ask(&n[0], &a, &m, "AAPL");
    box_spin(&n[0].box, 50);
    assert_int_equal(box_invalidate(&n[1].box, TL_SCOPE_SYMBOL, NULL, "AAPL"), TL_OK);
    box_spin(&n[0].box, 50);
    atomic_store(&m.hold, false);
    spin_all(n, 2, &a, 1);
    has_value(&a, "new of factor AAPL");
    assert_int_equal(atomic_load(&m.calls), 2);
    for (size_t i = 0; i < 2; i++) node_close(&n[i]);
    redis_server_stop(&r);
}

static void bad_questions(void **state)
{
    (void)state;
    struct node n;
    struct asked a;
    struct maker m = {.status = TL_OK};
    struct tl_err err;
    node_open(&n, NULL, NULL);
    struct tl_key none = {.symbol = "AAPL"}, key = {.data_type = "factor", .symbol = "AAPL"};
    a = (struct asked){.op = {.make = make, .ctx = &m, .user = &a}};
    assert_int_equal(tl_compute(n.s, &a.op, &none, 100, on_computed, &err), TL_INVALID);
    a.op.lease_ms = 5;
    assert_int_equal(tl_compute(n.s, &a.op, &key, 100, on_computed, &err), TL_INVALID);
    assert_non_null(strstr(err.text, "lease_ms"));
    struct tl_scheduler *second;
    assert_int_equal(tl_scheduler_open(n.box.cache, NULL, &second, &err), TL_CONFLICT);
    assert_int_equal(box_put(&n.box, "x", "y", "z", TL_TIER_NONE), TL_OK);
    node_close(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alone),
        cmocka_unit_test(across_processes),
        cmocka_unit_test(failures_are_shared),
        cmocka_unit_test(the_store_remembers),
        cmocka_unit_test(deadlines_and_cancels),
        cmocka_unit_test(stuck),
        cmocka_unit_test(without_redis_and_back),
        cmocka_unit_test(invalidated_meanwhile),
        cmocka_unit_test(bad_questions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
