/* SPDX-License-Identifier: Apache-2.0 */
/* Keys lent to callers outside, by several processes on one real Redis: who is granted, who waits and is woken, what a
 * lease is good for, and in whose hands. Without a Redis, and closing: test_lend_alone.c. */
#include "support.h"

#include "lend_fixture.h"

enum { NODES = 2 };

static struct redis_server server;
static struct node n[4];

static void open_nodes(size_t count)
{
    redis_server_start(&server, NULL);
    for (size_t i = 0; i < count; i++) node_open(&n[i], server.url, NULL);
}

static void close_nodes(size_t count)
{
    for (size_t i = 0; i < count; i++) node_close(&n[i]);
    redis_server_stop(&server);
}

static bool in_redis(const char *kind, const char *symbol)
{
    char key[128], out[64];
    snprintf(key, sizeof key, "tierline:%scache:{%s}:factor:-", kind, symbol);
    assert_true(redis_do(&server, out, "EXISTS", key));
    return strcmp(out, ":1\r\n") == 0;
}

static void granted_busy_hit(void **state)
{
    (void)state;
    struct lent a, b, c;
    open_nodes(NODES);
    lend_now(n, NODES, 0, &a, "AAPL");
    is_granted(&a);
    assert_true(a.op.token > UINT64_C(1500000000000000));
    assert_false(a.op.taken_over);
    lend_now(n, NODES, 1, &b, "AAPL");
    is_status(&b, TL_BUSY);
    assert_in_range(b.op.left_ms, 3000, 5000);
    lend_now(n, NODES, 0, &b, "AAPL"); /* nor to another caller of the same process */
    is_status(&b, TL_BUSY);
    lend_wait(&n[1], &b, "AAPL", 10000);
    lend_wait(&n[0], &c, "AAPL", 300); /* waits in vain */
    spin_lent(n, NODES, &c, 1);
    is_status(&c, TL_BUSY);
    assert_in_range(c.after_ms, 290, 1500);
    assert_false(b.done);
    uint64_t at = uv_hrtime();
    assert_int_equal(hand_in(n, NODES, 0, "AAPL", a.op.lease, "one"), TL_OK);
    spin_lent(n, NODES, &b, 1);
    assert_true(uv_hrtime() - at < UINT64_C(1000000000)); /* the message, not the lease's end */
    assert_true(b.op.waited);
    is_value(&b, "one");
    for (size_t i = 0; i < 2; i++) {
        lend_now(n, NODES, i, &c, "AAPL");
        assert_int_equal(c.op.source, TL_TIER_MEMORY);
        assert_false(c.op.waited);
        is_value(&c, "one");
    }
    assert_int_equal(hand_in(n, NODES, 0, "AAPL", a.op.lease, "two"), TL_LOCK_LOST); /* the lease ended with it */
    /* Older than it may be: made anew, with a higher token. */
    spin_ms(n, NODES, 60);
    lend_with(&n[1], &c, "AAPL", (struct tl_lend){.max_age_ms = 50});
    spin_lent(n, NODES, &c, 1);
    is_granted(&c);
    assert_true(c.op.token > a.op.token);
    assert_int_equal(c.op.lease_ms, 30000);
    assert_int_equal(hand_in(n, NODES, 1, "AAPL", c.op.lease, "two"), TL_OK);
    spin_ms(n, NODES, 50); /* announced: memory elsewhere follows */
    lend_now(n, NODES, 0, &c, "AAPL");
    is_value(&c, "two");
    close_nodes(NODES);
}

static void failures_are_shared(void **state)
{
    (void)state;
    struct lent a, b;
    open_nodes(NODES);
    lend_now(n, NODES, 0, &a, "AAPL");
    is_granted(&a);
    lend_wait(&n[1], &b, "AAPL", 10000);
    spin_ms(n, NODES, 100);
    assert_int_equal(hand_in_failure(n, NODES, 0, "AAPL", a.op.lease, TL_IO, "the source\nis down"), TL_OK);
    spin_lent(n, NODES, &b, 1);
    is_status(&b, TL_IO);
    assert_string_equal(b.op.err.text, "the source is down");
    assert_true(b.op.waited);
    for (size_t i = 0; i < 2; i++) {
        lend_now(n, NODES, i, &b, "AAPL");
        is_status(&b, TL_IO);
        assert_string_equal(b.op.err.text, "the source is down");
    }
    uint64_t began = uv_hrtime(); /* 0.5 s +-10 % later it may be tried again */
    do {
        spin_ms(n, NODES, 10);
        lend_now(n, NODES, 1, &b, "AAPL");
        assert_true(uv_hrtime() - began < UINT64_C(3000000000));
    } while (b.status == TL_IO);
    is_granted(&b);
    assert_int_equal(hand_in_failure(n, NODES, 1, "AAPL", b.op.lease, TL_INVALID, "no such factor"), TL_OK);
    spin_ms(n, NODES, 1200); /* a bad parameter stays one */
    lend_now(n, NODES, 0, &a, "AAPL");
    is_status(&a, TL_INVALID);
    assert_int_equal(box_invalidate(&n[1].box, TL_SCOPE_SYMBOL, NULL, "AAPL"), TL_OK);
    spin_ms(n, NODES, 100);
    lend_now(n, NODES, 0, &a, "AAPL");
    is_granted(&a);
    close_nodes(NODES);
}

static void given_back(void **state)
{
    (void)state;
    struct lent a, b, c;
    open_nodes(NODES);
    lend_now(n, NODES, 0, &a, "AAPL");
    lend_wait(&n[1], &b, "AAPL", 10000);
    lend_wait(&n[0], &c, "AAPL", 10000);
    spin_ms(n, NODES, 100);
    assert_false(b.done || c.done);
    uint64_t at = uv_hrtime();
    assert_int_equal(hand_in_failure(n, NODES, 0, "AAPL", a.op.lease, TL_CANCELLED, "never mind"), TL_OK);
    while (!b.done && !c.done) turn(n, NODES);
    assert_true(uv_hrtime() - at < UINT64_C(1000000000));
    spin_ms(n, NODES, 100);
    assert_true(b.done != c.done); /* one of them */
    struct lent *next = b.done ? &b : &c, *last = b.done ? &c : &b;
    is_granted(next);
    assert_true(next->op.token > a.op.token);
    assert_false(next->op.taken_over);
    assert_int_equal(hand_in_failure(n, NODES, 0, "AAPL", a.op.lease, TL_CANCELLED, "again"), TL_LOCK_LOST);
    assert_int_equal(hand_in(n, NODES, 1, "AAPL", next->op.lease, "made"), TL_OK);
    spin_lent(n, NODES, last, 1);
    is_value(last, "made");
    close_nodes(NODES);
}

/* Whoever comes too late has no effect at all. */
static void it_runs_out(void **state)
{
    (void)state;
    struct lent a, b, c;
    open_nodes(NODES);
    lend_with(&n[0], &a, "AAPL", (struct tl_lend){.lease_ms = 400});
    spin_lent(n, NODES, &a, 1);
    is_granted(&a);
    lend_wait(&n[1], &b, "AAPL", 10000);
    spin_lent(n, NODES, &b, 1);
    is_granted(&b);
    assert_true(b.op.taken_over);
    assert_in_range(b.after_ms, 300, 2500);
    assert_true(b.op.token > a.op.token);
    assert_int_equal(hand_in(n, NODES, 0, "AAPL", a.op.lease, "late"), TL_LOCK_LOST);
    assert_int_equal(hand_in_failure(n, NODES, 0, "AAPL", a.op.lease, TL_IO, "late"), TL_LOCK_LOST);
    assert_int_equal(hand_in_failure(n, NODES, 0, "AAPL", a.op.lease, TL_CANCELLED, "late"), TL_LOCK_LOST);
    assert_int_equal(renew(n, NODES, 0, "AAPL", a.op.lease, 5000), TL_LOCK_LOST);
    assert_false(in_redis("", "AAPL"));
    assert_false(in_redis("fail:", "AAPL"));
    box_expect(&n[0].box, "factor", "AAPL", NULL, TL_TIER_NONE);
    lend_now(n, NODES, 0, &c, "AAPL");
    is_status(&c, TL_BUSY);
    assert_int_equal(hand_in(n, NODES, 1, "AAPL", b.op.lease, "in time"), TL_OK);
    lend_now(n, NODES, 0, &c, "AAPL");
    is_value(&c, "in time");
    close_nodes(NODES);
}

/* A lease is good at any process on the prefix, also when the one that gave it out has ended. */
static void through_others(void **state)
{
    (void)state;
    struct lent a, b;
    open_nodes(NODES);
    lend_now(n, NODES, 0, &a, "AAPL");
    assert_int_equal(renew(n, NODES, 1, "AAPL", a.op.lease, 20000), TL_OK);
    lend_now(n, NODES, 0, &b, "AAPL");
    assert_true(b.status == TL_BUSY && b.op.left_ms > 10000);
    node_close(&n[0]);
    lend_wait(&n[1], &b, "AAPL", 10000);
    spin_ms(&n[1], 1, 100);
    assert_false(b.done); /* it was not given back by the end */
    node_open(&n[0], server.url, NULL);
    assert_int_equal(hand_in(n, NODES, 0, "AAPL", a.op.lease, "by its heir"), TL_OK);
    spin_lent(n, NODES, &b, 1);
    is_value(&b, "by its heir");
    lend_now(n, NODES, 1, &a, "MSFT");
    assert_int_equal(hand_in(n, NODES, 0, "MSFT", a.op.lease, "by the other"), TL_OK);
    lend_now(n, NODES, 1, &b, "MSFT");
    is_value(&b, "by the other");
    /* For one key it was given out. */
    lend_now(n, NODES, 1, &a, "MRNA");
    assert_int_equal(hand_in(n, NODES, 1, "PFE", a.op.lease, "another's"), TL_LOCK_LOST);
    assert_false(in_redis("", "PFE"));
    close_nodes(NODES);
}

static void renewed(void **state)
{
    (void)state;
    struct lent a, b;
    open_nodes(NODES);
    lend_with(&n[0], &a, "AAPL", (struct tl_lend){.lease_ms = 500});
    spin_lent(n, NODES, &a, 1);
    lend_wait(&n[1], &b, "AAPL", 10000);
    for (size_t i = 0; i < 6; i++) {
        spin_ms(n, NODES, 200);
        assert_int_equal(renew(n, NODES, i % 2, "AAPL", a.op.lease, 500), TL_OK);
        assert_false(b.done);
    }
    assert_int_equal(hand_in(n, NODES, 1, "AAPL", a.op.lease, "at last"), TL_OK);
    spin_lent(n, NODES, &b, 1);
    is_value(&b, "at last");
    assert_int_equal(renew(n, NODES, 0, "AAPL", a.op.lease, 500), TL_LOCK_LOST);
    assert_int_equal(renew(n, NODES, 0, "AAPL", a.op.lease, 50), TL_INVALID);
    close_nodes(NODES);
}

static void rejoin(void)
{
    redis_server_restart(&server);
    for (int i = 0;; i++) {
        spin_ms(n, NODES, 20);
        bool all = true;
        for (size_t k = 0; k < NODES; k++) all = all && n[k].box.cache->redis_state == TL_REDIS_JOINED;
        if (all) return;
        assert_true(i < 500);
    }
}

static void redis_away_and_back(void **state)
{
    (void)state;
    struct lent a, b, c, d;
    open_nodes(NODES);
    lend_now(n, NODES, 0, &a, "AAPL");
    is_granted(&a);
    lend_wait(&n[1], &d, "AAPL", 10000); /* waits, and is lent it when nobody can tell any more */
    spin_ms(n, NODES, 100);
    redis_server_kill(&server);
    spin_ms(n, NODES, 50);
    /* Whether the lease still holds is not known: nothing is kept, and the caller may come again. */
    assert_int_equal(hand_in(n, NODES, 0, "AAPL", a.op.lease, "unsure"), TL_IO);
    assert_int_equal(box_get(&n[0].box, "factor", "AAPL").status, TL_IO);
    spin_lent(n, NODES, &d, 1);
    is_granted(&d);
    assert_int_equal(d.op.token, 0);
    lend_now(n, NODES, 1, &c, "AAPL"); /* one a process */
    is_status(&c, TL_BUSY);
    lend_now(n, NODES, 0, &c, "AAPL"); /* also where Redis granted it before it went away */
    is_status(&c, TL_BUSY);
    lend_wait(&n[1], &c, "AAPL", 10000);
    spin_ms(n, NODES, 50);
    assert_int_equal(hand_in(n, NODES, 1, "AAPL", d.op.lease, "alone"), TL_OK);
    spin_lent(n, NODES, &c, 1);
    assert_true(c.op.waited);
    is_value(&c, "alone");
    /* Lent without it, and then it is back: those of this process still wait. */
    lend_now(n, NODES, 0, &b, "MSFT");
    is_granted(&b);
    rejoin();
    lend_now(n, NODES, 0, &c, "MSFT");
    is_status(&c, TL_BUSY);
    lend_wait(&n[0], &c, "MSFT", 10000);
    spin_ms(n, NODES, 50);
    assert_int_equal(hand_in(n, NODES, 0, "MSFT", b.op.lease, "late but good"), TL_OK);
    spin_lent(n, NODES, &c, 1);
    is_value(&c, "late but good");
    /* What was made meanwhile is there for all. */
    for (int i = 0; i < 200 && !(in_redis("", "AAPL") && in_redis("", "MSFT")); i++) spin_ms(n, NODES, 20);
    lend_now(n, NODES, 0, &c, "AAPL");
    is_value(&c, "alone");
    lend_now(n, NODES, 1, &c, "MSFT");
    is_value(&c, "late but good");
    assert_int_equal(hand_in(n, NODES, 0, "AAPL", a.op.lease, "lost with Redis"), TL_LOCK_LOST);
    close_nodes(NODES);
}

static void invalidated_meanwhile(void **state)
{
    (void)state;
    struct lent a, b, c;
    open_nodes(NODES);
    lend_now(n, NODES, 0, &a, "AAPL");
    lend_wait(&n[1], &b, "AAPL", 10000);
    spin_ms(n, NODES, 50);
    assert_int_equal(box_invalidate(&n[1].box, TL_SCOPE_SYMBOL, NULL, "AAPL"), TL_OK);
    spin_ms(n, NODES, 100);
    assert_int_equal(hand_in(n, NODES, 0, "AAPL", a.op.lease, "old"), TL_CONFLICT);
    assert_false(in_redis("", "AAPL"));
    spin_lent(n, NODES, &b, 1); /* the lease went back with it */
    is_granted(&b);
    assert_false(b.op.taken_over);
    assert_int_equal(hand_in(n, NODES, 0, "AAPL", a.op.lease, "old"), TL_LOCK_LOST);
    assert_int_equal(hand_in(n, NODES, 0, "AAPL", b.op.lease, "new"), TL_OK);
    lend_now(n, NODES, 1, &c, "AAPL");
    is_value(&c, "new");
    /* Handed in by a process that has not heard of it yet: then the value is written, and nobody takes it. */
    lend_now(n, NODES, 0, &a, "MSFT");
    struct tl_key key = lend_key("MSFT");
    struct back late;
    back_new(&late);
    assert_int_equal(box_invalidate(&n[1].box, TL_SCOPE_KEY, "factor", "MSFT"), TL_OK); /* n[0] does not turn */
    assert_int_equal(tl_lend_value(n[0].s, &late.op, &key, a.op.lease, "old", 3, NULL, NULL), TL_OK);
    spin_lent(n, NODES, &late, 1);
    assert_true(late.status == TL_OK || late.status == TL_CONFLICT);
    for (size_t i = 0; i < 2; i++) box_expect(&n[i].box, "factor", "MSFT", NULL, TL_TIER_NONE);
    lend_now(n, NODES, 1, &c, "MSFT");
    is_granted(&c);
    close_nodes(NODES);
}

static void many_askers(void **state)
{
    (void)state;
    enum { EACH = 50, ALL = 4 };
    static struct lent a[ALL * EACH];
    open_nodes(ALL);
    for (size_t i = 0; i < ALL * EACH; i++) lend_wait(&n[i % ALL], &a[i], "AAPL", 10000);
    spin_ms(n, ALL, 400);
    size_t granted = 0, holder = 0;
    for (size_t i = 0; i < ALL * EACH; i++) {
        if (!a[i].done) continue;
        granted++;
        holder = i;
    }
    assert_int_equal(granted, 1);
    is_granted(&a[holder]);
    assert_int_equal(hand_in(n, ALL, (holder + 1) % ALL, "AAPL", a[holder].op.lease, "for all"), TL_OK);
    spin_lent(n, ALL, a, ALL * EACH);
    for (size_t i = 0; i < ALL * EACH; i++)
        if (i != holder) is_value(&a[i], "for all");
    uint64_t acquires = 0, lent = 0;
    for (size_t i = 0; i < ALL; i++) acquires += node_stats(&n[i]).acquires;
    for (size_t i = 0; i < ALL; i++) lent += node_stats(&n[i]).lent;
    assert_int_equal(lent, 1);
    assert_true(acquires <= 3 * ALL); /* who waits does not ask over and over */
    close_nodes(ALL);
}

/* A function of a process and callers outside, for one key. */
static void with_functions(void **state)
{
    (void)state;
    struct lent a, b, c;
    struct computed f[2];
    struct maker m = {.text = "by a function"};
    open_nodes(NODES);
    atomic_store(&m.hold, true);
    compute(&n[0], &f[0], &m, "AAPL");
    while (atomic_load(&m.calls) == 0) turn(n, NODES);
    for (size_t i = 0; i < 2; i++) { /* who does not wait is told so, here as there */
        lend_now(n, NODES, i, &a, "AAPL");
        is_status(&a, TL_BUSY);
        assert_true(a.after_ms < 1000);
    }
    lend_wait(&n[0], &a, "AAPL", 10000);
    lend_wait(&n[1], &b, "AAPL", 10000);
    spin_ms(n, NODES, 100);
    assert_false(a.done || b.done);
    atomic_store(&m.hold, false);
    spin_lent(n, NODES, &a, 1);
    spin_lent(n, NODES, &b, 1);
    spin_lent(n, NODES, f, 1);
    is_value(&a, "by a function");
    is_value(&b, "by a function");
    is_computed(&f[0], "by a function");
    /* The other way round. */
    lend_now(n, NODES, 0, &c, "MSFT");
    for (size_t i = 0; i < 2; i++) compute(&n[i], &f[i], &m, "MSFT");
    spin_ms(n, NODES, 100);
    assert_false(f[0].done || f[1].done);
    assert_int_equal(hand_in(n, NODES, 0, "MSFT", c.op.lease, "from outside"), TL_OK);
    spin_lent(n, NODES, f, 2);
    for (size_t i = 0; i < 2; i++) is_computed(&f[i], "from outside");
    assert_int_equal(atomic_load(&m.calls), 1);
    close_nodes(NODES);
}

/* Whoever computes outside needs no worker here. */
static void all_workers_busy(void **state)
{
    (void)state;
    struct lent a, b;
    struct computed f[3];
    struct maker m = {.text = "slow"};
    static const char *const symbols[] = {"S1", "S2", "S3"};
    open_nodes(1);
    atomic_store(&m.hold, true);
    for (size_t i = 0; i < 3; i++) compute(&n[0], &f[i], &m, symbols[i]); /* two workers: the third waits for one */
    while (atomic_load(&m.calls) < 2) turn(n, 1);
    lend_now(n, 1, 0, &a, "AAPL");
    is_granted(&a);
    assert_true(a.after_ms < 1000);
    assert_int_equal(hand_in(n, 1, 0, "AAPL", a.op.lease, "quick"), TL_OK);
    lend_now(n, 1, 0, &b, "AAPL");
    is_value(&b, "quick");
    for (size_t i = 0; i < 3; i++) { /* also of one that waits for a worker */
        lend_now(n, 1, 0, &b, symbols[i]);
        is_status(&b, TL_BUSY);
        assert_true(b.after_ms < 1000);
    }
    atomic_store(&m.hold, false);
    spin_lent(n, 1, f, 3);
    for (size_t i = 0; i < 3; i++) is_computed(&f[i], "slow");
    close_nodes(1);
}

/* What the store has is not made again. */
static void the_store_has_it(void **state)
{
    (void)state;
    struct lent a;
    char path[128], out[64];
    box_make_store(path);
    redis_server_start(&server, NULL);
    node_open(&n[0], server.url, path);
    lend_now(n, 1, 0, &a, "AAPL");
    is_granted(&a);
    assert_int_equal(hand_in(n, 1, 0, "AAPL", a.op.lease, "kept"), TL_OK);
    node_close(&n[0]);
    assert_true(redis_do(&server, out, "FLUSHALL"));
    node_open(&n[0], server.url, path);
    lend_now(n, 1, 0, &a, "AAPL");
    assert_int_equal(a.op.source, TL_TIER_STORE);
    is_value(&a, "kept");
    assert_true(in_redis("", "AAPL")); /* for those without a store */
    assert_false(in_redis("lock:", "AAPL"));
    spin_ms(n, 1, 60);
    lend_with(&n[0], &a, "AAPL", (struct tl_lend){.max_age_ms = 20});
    spin_lent(n, 1, &a, 1);
    is_granted(&a);
    node_close(&n[0]);
    redis_server_stop(&server);
    box_remove_store(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(granted_busy_hit),    cmocka_unit_test(failures_are_shared),
        cmocka_unit_test(given_back),          cmocka_unit_test(it_runs_out),
        cmocka_unit_test(through_others),      cmocka_unit_test(renewed),
        cmocka_unit_test(redis_away_and_back), cmocka_unit_test(invalidated_meanwhile),
        cmocka_unit_test(many_askers),         cmocka_unit_test(with_functions),
        cmocka_unit_test(all_workers_busy),    cmocka_unit_test(the_store_has_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
