/* SPDX-License-Identifier: Apache-2.0 */
/* Leases within one process: the promises of tierline/lock.h without a Redis. The clock is the test's, so nothing waits
 * for real. */
#include "support.h"

#include "server/local_locks.h"

static struct world {
    uv_loop_t loop;
    struct tl_clock clock;
    struct tl_alarms *alarms;
    struct local_locks *locks;
    uint64_t ns;
    int64_t wall_ms;
    bool closed;
} w;

static uint64_t mono(void *ctx)
{
    return ((struct world *)ctx)->ns;
}

static int64_t wall(void *ctx)
{
    return ((struct world *)ctx)->wall_ms;
}

static void nothing(struct tl_alarm *a)
{
    (void)a;
}

/* So much later; the alarms look at the clock again. */
static void pass(uint64_t ms)
{
    struct tl_alarm now = {.ring = nothing};
    w.ns += ms * 1000000;
    w.wall_ms += (int64_t)ms;
    assert_int_equal(tl_alarm_set(w.alarms, &now, 0), TL_OK);
    for (int i = 0; i < 1000 && now.at; i++) uv_run(&w.loop, UV_RUN_NOWAIT);
    assert_int_equal(now.at, 0);
    for (int i = 0; i < 3; i++) uv_run(&w.loop, UV_RUN_NOWAIT);
}

static int setup(void **state)
{
    (void)state;
    w = (struct world){.ns = 1000000000, .wall_ms = 1700000000000};
    w.clock = (struct tl_clock){.mono_ns = mono, .wall_ms = wall, .ctx = &w};
    assert_int_equal(uv_loop_init(&w.loop), 0);
    assert_int_equal(tl_alarms_start(&w.loop, &w.clock, &w.alarms, NULL), TL_OK);
    w.locks = local_locks_new(&w.clock, w.alarms);
    assert_non_null(w.locks);
    return 0;
}

static void on_closed(void *ctx)
{
    *(bool *)ctx = true;
}

static int teardown(void **state)
{
    (void)state;
    local_locks_free(w.locks);
    tl_alarms_close(w.alarms, on_closed, &w.closed);
    uv_run(&w.loop, UV_RUN_DEFAULT);
    assert_true(w.closed);
    assert_int_equal(uv_loop_close(&w.loop), 0);
    return 0;
}

struct asked {
    struct local_wait wait;
    unsigned told;
    enum tl_status status;
};

static void on_told(struct local_wait *wait, enum tl_status status)
{
    struct asked *a = wait->user;
    a->told++;
    a->status = status;
}

static void ask(struct asked *a, const char *name, uint32_t ttl_ms, uint64_t wait_ms)
{
    *a = (struct asked){.wait = {.ttl_ms = ttl_ms, .wait_ms = wait_ms, .cb = on_told, .user = a}};
    local_locks_acquire(w.locks, &a->wait, name);
    assert_int_equal(a->told, 0);
}

static void told(struct asked *a, enum tl_status status)
{
    pass(0);
    assert_int_equal(a->told, 1);
    assert_int_equal(a->status, status);
}

static void one_holder(void **state)
{
    (void)state;
    struct asked a, b, c;
    ask(&a, "x", 5000, 0);
    told(&a, TL_OK);
    assert_true(a.wait.token >= UINT64_C(1700000000000000));
    pass(1000);
    ask(&b, "x", 5000, 0);
    told(&b, TL_BUSY);
    assert_int_equal(b.wait.left_ms, 4000);
    ask(&c, "y", 5000, 0);
    told(&c, TL_OK);
    assert_true(c.wait.token > a.wait.token);
    assert_false(local_locks_release(w.locks, "x", c.wait.token)); /* another's */
    assert_false(local_locks_release(w.locks, "z", a.wait.token));
    assert_true(local_locks_release(w.locks, "x", a.wait.token));
    assert_false(local_locks_release(w.locks, "x", a.wait.token)); /* once */
    ask(&b, "x", 5000, 0);
    told(&b, TL_OK);
    assert_true(b.wait.token > c.wait.token);
}

/* Also when the clock of the wall is set back. */
static void tokens_only_rise(void **state)
{
    (void)state;
    struct asked a;
    uint64_t last = 0;
    for (int i = 0; i < 10; i++) {
        w.wall_ms -= 1000000;
        ask(&a, "x", 1000, 0);
        told(&a, TL_OK);
        assert_true(a.wait.token > last);
        last = a.wait.token;
        assert_true(local_locks_release(w.locks, "x", last));
    }
}

static void first_come_first_served(void **state)
{
    (void)state;
    struct asked a, b[3];
    ask(&a, "x", 5000, 0);
    told(&a, TL_OK);
    for (size_t i = 0; i < 3; i++) ask(&b[i], "x", 5000, 60000);
    pass(100);
    assert_true(local_locks_release(w.locks, "x", a.wait.token));
    for (size_t i = 0; i < 3; i++) {
        told(&b[i], TL_OK);
        for (size_t k = i + 1; k < 3; k++) assert_int_equal(b[k].told, 0);
        assert_true(local_locks_release(w.locks, "x", b[i].wait.token));
    }
    assert_true(b[2].wait.token > b[1].wait.token && b[1].wait.token > b[0].wait.token);
}

static void runs_out(void **state)
{
    (void)state;
    struct asked a, b, c;
    ask(&a, "x", 500, 0);
    told(&a, TL_OK);
    ask(&b, "x", 500, 60000);
    pass(400);
    assert_true(local_locks_renew(w.locks, "x", a.wait.token, 500));
    pass(400); /* beyond its first time */
    assert_int_equal(b.told, 0);
    pass(101);
    told(&b, TL_OK);
    assert_false(local_locks_renew(w.locks, "x", a.wait.token, 500));
    assert_false(local_locks_release(w.locks, "x", a.wait.token));
    pass(501);
    ask(&c, "x", 500, 0);
    told(&c, TL_OK);
    /* Before its alarm had its turn. */
    w.ns += UINT64_C(600000000);
    assert_false(local_locks_renew(w.locks, "x", c.wait.token, 500));
    ask(&a, "x", 500, 0);
    told(&a, TL_OK);
}

static void waits_end(void **state)
{
    (void)state;
    struct asked a, b, c, d;
    ask(&a, "x", 60000, 0);
    told(&a, TL_OK);
    ask(&b, "x", 1000, 300);
    ask(&c, "x", 1000, 60000);
    ask(&d, "x", 1000, 60000);
    pass(299);
    assert_int_equal(b.told, 0);
    pass(2);
    told(&b, TL_TIMEOUT);
    assert_int_equal(b.wait.left_ms, 60000 - 301);
    local_locks_cancel(&c.wait);
    local_locks_cancel(&c.wait);
    assert_int_equal(c.told, 0);
    told(&c, TL_CANCELLED);
    local_locks_cancel(&c.wait); /* over */
    assert_true(local_locks_release(w.locks, "x", a.wait.token));
    local_locks_cancel(&d.wait); /* granted, though it does not know yet: it is told */
    told(&d, TL_OK);
    ask(&a, "x", 1000, 0);
    told(&a, TL_BUSY);
    /* Freed while one waits, and one was granted and not told. */
    ask(&b, "x", 1000, 60000);
    ask(&c, "new", 1000, 0);
    local_locks_free(w.locks);
    w.locks = NULL;
    assert_true(b.told == 1 && b.status == TL_CANCELLED);
    assert_true(c.told == 1 && c.status == TL_CANCELLED);
}

static bool add(void *ctx, const struct tl_lease_info *l)
{
    size_t *n = ctx;
    assert_string_equal(l->holder, "local");
    assert_true(l->left_ms <= 5000 && l->token > 0);
    return ++*n < 10;
}

static void listed(void **state)
{
    (void)state;
    static struct asked a[20]; /* some are told by the teardown */
    char name[201];
    size_t n = 0;
    local_locks_each(w.locks, add, &n);
    assert_int_equal(n, 0);
    memset(name, 'n', 200);
    name[200] = '\0';
    ask(&a[0], name, 5000, 0);
    told(&a[0], TL_OK);
    local_locks_each(w.locks, add, &n);
    assert_int_equal(n, 1);
    for (size_t i = 1; i < 20; i++) {
        snprintf(name, sizeof name, "%zu", i);
        ask(&a[i], name, 5000, 0);
    }
    n = 0;
    local_locks_each(w.locks, add, &n);
    assert_int_equal(n, 10); /* it was stopped */
    pass(5001);
    n = 0;
    local_locks_each(w.locks, add, &n);
    assert_int_equal(n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_holder, setup, teardown),
        cmocka_unit_test_setup_teardown(tokens_only_rise, setup, teardown),
        cmocka_unit_test_setup_teardown(first_come_first_served, setup, teardown),
        cmocka_unit_test_setup_teardown(runs_out, setup, teardown),
        cmocka_unit_test_setup_teardown(waits_end, setup, teardown),
        cmocka_unit_test_setup_teardown(listed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
