/* SPDX-License-Identifier: Apache-2.0 */
/* Keys lent by a process without a Redis, where this process is the authority; askings that are cancelled; closing in
 * every state; what is refused. */
#include "support.h"

#include "lend_fixture.h"

static struct node n;

static void granted_busy_hit(void **state)
{
    (void)state;
    struct lent a, b, c;
    node_open(&n, NULL, NULL);
    lend_now(&n, 1, 0, &a, "AAPL");
    is_granted(&a);
    assert_int_equal(a.op.token, 0);
    lend_now(&n, 1, 0, &b, "AAPL");
    is_status(&b, TL_BUSY);
    assert_in_range(b.op.left_ms, 3000, 5000);
    lend_wait(&n, &b, "AAPL", 200);
    spin_lent(&n, 1, &b, 1);
    is_status(&b, TL_BUSY);
    assert_in_range(b.after_ms, 190, 1000);
    lend_wait(&n, &b, "AAPL", 10000);
    lend_wait(&n, &c, "AAPL", 10000);
    spin_ms(&n, 1, 50);
    assert_false(b.done || c.done);
    uint64_t at = uv_hrtime();
    assert_int_equal(hand_in(&n, 1, 0, "AAPL", a.op.lease, "one"), TL_OK);
    spin_lent(&n, 1, &b, 1);
    spin_lent(&n, 1, &c, 1);
    assert_true(uv_hrtime() - at < UINT64_C(500000000));
    assert_true(b.op.waited);
    is_value(&b, "one");
    is_value(&c, "one");
    lend_now(&n, 1, 0, &a, "AAPL");
    assert_int_equal(a.op.source, TL_TIER_MEMORY);
    is_value(&a, "one");
    node_close(&n);
}

static void given_back_and_run_out(void **state)
{
    (void)state;
    struct lent a, b, c;
    node_open(&n, NULL, NULL);
    lend_now(&n, 1, 0, &a, "AAPL");
    assert_int_equal(hand_in_failure(&n, 1, 0, "AAPL", a.op.lease, TL_CANCELLED, "never mind"), TL_OK);
    lend_now(&n, 1, 0, &b, "AAPL"); /* at once: it is no failure */
    is_granted(&b);
    assert_int_equal(hand_in(&n, 1, 0, "AAPL", a.op.lease, "late"), TL_LOCK_LOST);
    lend_wait(&n, &c, "AAPL", 10000);
    spin_ms(&n, 1, 50);
    uint64_t at = uv_hrtime();
    assert_int_equal(hand_in_failure(&n, 1, 0, "AAPL", b.op.lease, TL_CANCELLED, "never mind"), TL_OK);
    spin_lent(&n, 1, &c, 1);
    assert_true(uv_hrtime() - at < UINT64_C(500000000));
    is_granted(&c);
    assert_false(c.op.taken_over);
    /* Runs out. */
    lend_with(&n, &a, "MSFT", (struct tl_lend){.lease_ms = 300});
    spin_lent(&n, 1, &a, 1);
    assert_int_equal(renew(&n, 1, 0, "MSFT", a.op.lease, 400), TL_OK);
    lend_wait(&n, &b, "MSFT", 10000);
    spin_lent(&n, 1, &b, 1);
    is_granted(&b);
    assert_true(b.op.taken_over);
    assert_in_range(b.after_ms, 380, 1500);
    assert_int_equal(hand_in(&n, 1, 0, "MSFT", a.op.lease, "late"), TL_LOCK_LOST);
    assert_int_equal(renew(&n, 1, 0, "MSFT", a.op.lease, 400), TL_LOCK_LOST);
    assert_int_equal(hand_in_failure(&n, 1, 0, "MSFT", a.op.lease, TL_CANCELLED, "late"), TL_LOCK_LOST);
    box_expect(&n.box, "factor", "MSFT", NULL, TL_TIER_NONE);
    assert_int_equal(hand_in(&n, 1, 0, "MSFT", b.op.lease, "in time"), TL_OK);
    lend_now(&n, 1, 0, &a, "MSFT");
    is_value(&a, "in time");
    node_close(&n);
}

static void failures(void **state)
{
    (void)state;
    struct lent a, b;
    node_open(&n, NULL, NULL);
    lend_now(&n, 1, 0, &a, "AAPL");
    lend_wait(&n, &b, "AAPL", 10000);
    spin_ms(&n, 1, 50);
    assert_int_equal(hand_in_failure(&n, 1, 0, "AAPL", a.op.lease, TL_TIMEOUT, "too slow"), TL_OK);
    spin_lent(&n, 1, &b, 1);
    is_status(&b, TL_TIMEOUT);
    assert_string_equal(b.op.err.text, "too slow");
    lend_now(&n, 1, 0, &b, "AAPL");
    is_status(&b, TL_TIMEOUT);
    spin_ms(&n, 1, 600);
    lend_now(&n, 1, 0, &b, "AAPL");
    is_granted(&b);
    assert_int_equal(hand_in(&n, 1, 0, "AAPL", b.op.lease, "at last"), TL_OK);
    lend_now(&n, 1, 0, &b, "AAPL");
    is_value(&b, "at last");
    node_close(&n);
}

static void invalidated_meanwhile(void **state)
{
    (void)state;
    struct lent a, b;
    node_open(&n, NULL, NULL);
    lend_now(&n, 1, 0, &a, "AAPL");
    lend_wait(&n, &b, "AAPL", 10000);
    spin_ms(&n, 1, 20);
    assert_int_equal(box_invalidate(&n.box, TL_SCOPE_ALL, NULL, NULL), TL_OK);
    assert_int_equal(hand_in(&n, 1, 0, "AAPL", a.op.lease, "old"), TL_CONFLICT);
    box_expect(&n.box, "factor", "AAPL", NULL, TL_TIER_NONE);
    spin_lent(&n, 1, &b, 1);
    is_granted(&b);
    assert_int_equal(hand_in(&n, 1, 0, "AAPL", b.op.lease, "new"), TL_OK);
    lend_now(&n, 1, 0, &a, "AAPL");
    is_value(&a, "new");
    node_close(&n);
}

static void with_functions(void **state)
{
    (void)state;
    struct lent a, b;
    struct computed f;
    struct maker m = {.text = "by a function"};
    node_open(&n, NULL, NULL);
    lend_now(&n, 1, 0, &a, "AAPL");
    compute(&n, &f, &m, "AAPL");
    spin_ms(&n, 1, 100);
    assert_false(f.done);
    lend_wait(&n, &b, "AAPL", 10000); /* joins the function that waits */
    spin_ms(&n, 1, 20);
    assert_int_equal(hand_in(&n, 1, 0, "AAPL", a.op.lease, "from outside"), TL_OK);
    spin_lent(&n, 1, &f, 1);
    spin_lent(&n, 1, &b, 1);
    is_computed(&f, "from outside");
    is_value(&b, "from outside");
    assert_int_equal(atomic_load(&m.calls), 0);
    /* Given back: then it is the function's. */
    lend_now(&n, 1, 0, &a, "MSFT");
    atomic_store(&m.hold, true);
    compute(&n, &f, &m, "MSFT");
    spin_ms(&n, 1, 20);
    assert_int_equal(hand_in_failure(&n, 1, 0, "MSFT", a.op.lease, TL_CANCELLED, "no"), TL_OK);
    while (atomic_load(&m.calls) == 0) turn(&n, 1);
    lend_now(&n, 1, 0, &b, "MSFT");
    is_status(&b, TL_BUSY);
    lend_wait(&n, &b, "MSFT", 10000);
    spin_ms(&n, 1, 20);
    atomic_store(&m.hold, false);
    spin_lent(&n, 1, &f, 1);
    spin_lent(&n, 1, &b, 1);
    is_computed(&f, "by a function");
    is_value(&b, "by a function");
    node_close(&n);
}

/* An embedded server that was restarted does not lend what its store has. */
static void the_store_has_it(void **state)
{
    (void)state;
    struct lent a;
    struct computed f;
    struct maker m = {.text = "by a function"};
    char path[128];
    box_make_store(path);
    node_open(&n, NULL, path);
    lend_now(&n, 1, 0, &a, "AAPL");
    is_granted(&a);
    assert_int_equal(hand_in(&n, 1, 0, "AAPL", a.op.lease, "kept"), TL_OK);
    node_close(&n);
    node_open(&n, NULL, path);
    lend_now(&n, 1, 0, &a, "AAPL");
    assert_int_equal(a.op.source, TL_TIER_STORE);
    is_value(&a, "kept");
    lend_now(&n, 1, 0, &a, "AAPL"); /* and memory has it from then on */
    assert_int_equal(a.op.source, TL_TIER_MEMORY);
    is_value(&a, "kept");
    compute(&n, &f, &m, "AAPL");
    spin_lent(&n, 1, &f, 1);
    is_computed(&f, "kept");
    assert_int_equal(atomic_load(&m.calls), 0);
    node_close(&n);
    box_remove_store(path);
}

static void refused(void **state)
{
    (void)state;
    struct lent a = {.done = false};
    struct back b;
    struct tl_err err;
    static const char *const bad[] = {"",
                                      "x",
                                      "0123456789abcdef",
                                      "0123456789abcdef:1:2",
                                      "0123456789abcdef:1:2:3:4",
                                      "0123456789ABCDEF:1:2:3",
                                      ":::",
                                      "0123456789abcdef:1:2:3 "};
    struct tl_key key = lend_key("AAPL"), none = {.symbol = "AAPL"};
    node_open(&n, NULL, NULL);
    back_new(&b);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(tl_lend_value(n.s, &b.op, &key, bad[i], "x", 1, NULL, &err), TL_INVALID);
        assert_string_equal(err.text, "this is no lease of ours");
        assert_int_equal(tl_lend_fail(n.s, &b.op, &key, bad[i], TL_IO, "x", NULL), TL_INVALID);
        assert_int_equal(tl_lend_renew(n.s, &b.op, &key, bad[i], 1000, &err), TL_INVALID);
        assert_null(b.op.state);
    }
    static const uint32_t ms[] = {99, 600001};
    for (size_t i = 0; i < 2; i++) {
        a.op = (struct tl_lend){.lease_ms = ms[i], .cb = on_lent};
        assert_int_equal(tl_lend(n.s, &a.op, &key, &err), TL_INVALID);
        assert_non_null(strstr(err.text, "100 to 600000"));
    }
    a.op = (struct tl_lend){.cb = on_lent};
    assert_int_equal(tl_lend(n.s, &a.op, &none, &err), TL_INVALID);
    char *large = calloc(1, (8u << 20) + 1);
    lend_now(&n, 1, 0, &a, "AAPL");
    assert_int_equal(tl_lend_value(n.s, &b.op, &key, a.op.lease, large, (8u << 20) + 1, NULL, &err), TL_TOO_LARGE);
    assert_int_equal(tl_lend_value(n.s, &b.op, &key, a.op.lease, large, 8u << 20, NULL, &err), TL_OK);
    spin_lent(&n, 1, &b, 1);
    assert_int_equal(b.status, TL_OK);
    free(large);
    node_close(&n);
}

/* Who stops asking leaves nothing behind: the next one is lent the key at once. */
static void cancelled(void **state)
{
    (void)state;
    struct redis_server r;
    struct lent a[3], b;
    redis_server_start(&r, NULL);
    node_open(&n, r.url, NULL);
    for (unsigned turns = 0; turns < 40; turns++) { /* in every state on its way */
        lend_wait(&n, &a[0], "AAPL", 10000);
        lend_wait(&n, &a[1], "AAPL", 10000);
        for (unsigned i = 0; i < turns; i++) uv_run(&n.box.loop, UV_RUN_NOWAIT);
        for (size_t i = 0; i < 2; i++) tl_lend_cancel(&a[i].op);
        spin_lent(&n, 1, a, 2);
        for (size_t i = 0; i < 2; i++) {
            if (a[i].status != TL_OK) is_status(&a[i], TL_CANCELLED);
            bool lent = a[i].status == TL_OK;
            if (lent) assert_int_equal(hand_in_failure(&n, 1, 0, "AAPL", a[i].op.lease, TL_CANCELLED, ""), TL_OK);
        }
        lend_wait(&n, &b, "AAPL", 4000);
        spin_lent(&n, 1, &b, 1);
        is_granted(&b);
        assert_true(b.after_ms < 1000);
        assert_int_equal(hand_in_failure(&n, 1, 0, "AAPL", b.op.lease, TL_CANCELLED, ""), TL_OK);
    }
    node_close(&n);
    redis_server_stop(&r);
}

struct closer {
    struct tl_lend op;
    struct node *node;
    bool closed;
};

static void close_in_callback(struct tl_lend *op, enum tl_status status)
{
    struct closer *c = op->user;
    (void)status;
    tl_scheduler_close(c->node->s, box_on_closed, &c->node->box);
}

/* Everything under way is told; what was lent stays lent. */
static void closing(void **state)
{
    (void)state;
    struct redis_server r;
    struct node other;
    struct lent held, waiting[2], asked, fresh;
    struct back in, out, more;
    redis_server_start(&r, NULL);
    node_open(&other, r.url, NULL);
    for (unsigned redis = 0; redis < 2; redis++) {
        for (unsigned turns = 0; turns < 24; turns++) {
            char symbol[3][16];
            struct tl_key keys[3];
            struct lent lent[3];
            for (size_t i = 0; i < 3; i++) {
                snprintf(symbol[i], sizeof symbol[i], "S%u%u%zu", redis, turns, i);
                keys[i] = lend_key(symbol[i]);
            }
            node_open(&n, redis ? r.url : NULL, NULL);
            lend_now(&n, 1, 0, &held, "HELD");
            if (redis == 0 || turns == 0) is_granted(&held);
            lend_wait(&n, &waiting[0], "HELD", 10000);
            for (size_t i = 0; i < 3; i++) {
                lend_now(&n, 1, 0, &lent[i], symbol[i]);
                is_granted(&lent[i]);
            }
            lend_wait(&n, &waiting[1], symbol[0], 10000);
            lend_wait(&n, &asked, "ASKED", 0);
            back_new(&in), back_new(&out), back_new(&more);
            assert_int_equal(tl_lend_value(n.s, &in.op, &keys[0], lent[0].op.lease, "x", 1, NULL, NULL), TL_OK);
            assert_int_equal(tl_lend_fail(n.s, &out.op, &keys[1], lent[1].op.lease, TL_CANCELLED, "x", NULL), TL_OK);
            assert_int_equal(tl_lend_renew(n.s, &more.op, &keys[2], lent[2].op.lease, 9000, NULL), TL_OK);
            for (unsigned i = 0; i < turns; i++) uv_run(&n.box.loop, UV_RUN_NOWAIT);
            node_close(&n);
            assert_true(asked.done && waiting[0].done && waiting[1].done && in.done && out.done && more.done);
            is_status(&waiting[0], TL_CANCELLED);
            if (waiting[1].status == TL_OK)
                is_value(&waiting[1], "x");
            else
                is_status(&waiting[1], TL_CANCELLED);
            assert_true(in.status == TL_OK || in.status == TL_CANCELLED);
            assert_true(out.status == TL_OK || out.status == TL_CANCELLED);
            assert_true(more.status == TL_OK);
            if (redis == 0) continue;
            /* What could not be handed in here can be elsewhere. */
            if (in.status == TL_CANCELLED)
                assert_int_equal(hand_in(&other, 1, 0, symbol[0], lent[0].op.lease, "x"), TL_OK);
            lend_now(&other, 1, 0, &fresh, symbol[0]);
            is_value(&fresh, "x");
            assert_int_equal(hand_in(&other, 1, 0, symbol[2], lent[2].op.lease, "y"), TL_OK);
            bool lent_too = asked.status == TL_OK;
            if (lent_too) (void)!hand_in_failure(&other, 1, 0, "ASKED", asked.op.lease, TL_CANCELLED, "");
        }
    }
    /* From a callback. */
    struct closer c = {.op = {.cb = close_in_callback}, .node = &n};
    struct tl_key key = lend_key("AAPL");
    c.op.user = &c;
    node_open(&n, r.url, NULL);
    n.box.closed = false;
    assert_int_equal(tl_lend(n.s, &c.op, &key, NULL), TL_OK);
    lend_wait(&n, &asked, "MSFT", 1000);
    box_spin_until(&n.box, &n.box.closed, 10000);
    assert_true(asked.done);
    n.box.closed = false;
    box_close(&n.box);
    node_close(&other);
    redis_server_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(granted_busy_hit), cmocka_unit_test(given_back_and_run_out),
        cmocka_unit_test(failures),         cmocka_unit_test(invalidated_meanwhile),
        cmocka_unit_test(with_functions),   cmocka_unit_test(the_store_has_it),
        cmocka_unit_test(refused),          cmocka_unit_test(cancelled),
        cmocka_unit_test(closing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
