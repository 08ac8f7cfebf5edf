/* SPDX-License-Identifier: Apache-2.0 */
/* Leases on a real redis-server: who gets one and when, what ends one, and what its holder is told. Leases that change
 * hands: test_lock_hands.c. */
#include "support.h"

#include "lock_fixture.h"

#include "proxy.h"

static void one_holder(void **state)
{
    struct world *w = *state;
    struct held a, b, c;
    char out[256];
    assert_int_equal(get(&a, &w->a, "x", 0, 0), TL_OK);
    uint64_t left = tl_lease_left_ms(&a.lease);
    assert_true(left > 4000 && left <= 5000);
    assert_int_equal(get(&b, &w->b, "x", 0, 0), TL_BUSY);
    assert_non_null(strstr(b.lease.err.text, "another holds it"));
    assert_int_equal(get(&c, &w->a, "x", 0, 0), TL_BUSY); /* nor another one of the same process */
    assert_int_equal(get(&b, &w->b, "y", 0, 0), TL_OK);
    assert_int_equal(give_back(&b), TL_OK);
    assert_int_equal(give_back(&b), TL_LOCK_LOST);
    assert_int_equal(give_back(&a), TL_OK);
    assert_int_equal(get(&b, &w->b, "x", 0, 0), TL_OK);
    assert_true(b.lease.token > a.lease.token);
    /* Somebody else's value: released by its holder alone. */
    assert_true(redis_do(&w->s, out, "SET", "t*:lock:{x}", "0123456789abcdef:1:1"));
    assert_int_equal(give_back(&b), TL_LOCK_LOST);
    assert_true(redis_do(&w->s, out, "GET", "t*:lock:{x}") && strstr(out, "0123456789abcdef"));
    assert_true(redis_do(&w->s, out, "DEL", "t*:lock:{x}"));
    assert_int_equal(a.lost + b.lost + c.lost, 0);
}

static void tokens_only_rise(void **state)
{
    struct world *w = *state;
    struct held h;
    char out[256];
    uint64_t last = 0;
    for (int i = 0; i < 40; i++) {
        assert_int_equal(get(&h, i % 2 ? &w->a : &w->b, "t", 0, 2000), TL_OK);
        assert_true(h.lease.token > last);
        last = h.lease.token;
        assert_int_equal(give_back(&h), TL_OK);
        if (i == 10) assert_true(redis_do(&w->s, out, "FLUSHALL"));
        if (i == 20)
            assert_true(redis_do(&w->s, out, "SET", "t*:fence:{t}", "9000000000000000")); /* a clock set back */
        if (i == 20) last = 9000000000000000;
        if (i == 30) assert_true(redis_do(&w->s, out, "SCRIPT", "FLUSH"));
    }
}

static void names(void **state)
{
    struct world *w = *state;
    char longest[TL_LEASE_NAME_MAX + 2];
    memset(longest, '{', sizeof longest);
    longest[TL_LEASE_NAME_MAX] = '\0';
    const char *const good[] = {"a b", "{}", "%7B", "\"\\\n", "\xe6\xac\x8a", "calc:{600519.SH}:1d", longest};
    struct held a[7], b, same;
    for (size_t i = 0; i < 7; i++) assert_int_equal(get(&a[i], &w->a, good[i], 1000, 0), TL_OK);
    for (size_t i = 0; i < 7; i++) { /* also as what a message wakes */
        assert_int_equal(get(&same, &w->b, good[i], 1000, 0), TL_BUSY);
        ask_for(&b, &w->b, good[i], 1000, 5000);
        turn(&w->b, 20);
        assert_int_equal(give_back(&a[i]), TL_OK);
        uint64_t from = uv_hrtime();
        UNTIL(&w->b, 3000, b.ended);
        assert_int_equal(b.status, TL_OK);
        assert_true(b.at_ns - from < UINT64_C(300000000));
        assert_int_equal(give_back(&b), TL_OK);
    }
    struct tl_err err;
    longest[TL_LEASE_NAME_MAX] = '{';
    longest[TL_LEASE_NAME_MAX + 1] = '\0';
    struct tl_lease lease = {.ttl_ms = 0};
    assert_int_equal(tl_lease_acquire(w->a.locks, &lease, longest, on_acquired, &err), TL_INVALID);
    assert_int_equal(tl_lease_acquire(w->a.locks, &lease, "", on_acquired, &err), TL_INVALID);
    lease.ttl_ms = 99;
    assert_int_equal(tl_lease_acquire(w->a.locks, &lease, "x", on_acquired, &err), TL_INVALID);
    lease.ttl_ms = 600001;
    assert_int_equal(tl_lease_acquire(w->a.locks, &lease, "x", on_acquired, &err), TL_INVALID);
    assert_non_null(strstr(err.text, "600001"));
    struct tl_locks *none;
    struct tl_locks_options o = {.redis_url = "none"};
    assert_int_equal(tl_locks_open(&w->a.loop, &o, &none, &err), TL_INVALID);
    o = (struct tl_locks_options){.redis_url = w->s.url, .prefix = "a{b"};
    assert_int_equal(tl_locks_open(&w->a.loop, &o, &none, &err), TL_INVALID);
}

static uint64_t commands_of(const struct side *s)
{
    struct tl_redis_stats st;
    tl_redis_stats(s->locks->redis, &st);
    return st.commands;
}

/* The end of a lease wakes who waits: no polling in between. */
static void waiters_are_woken(void **state)
{
    struct world *w = *state;
    struct held a, b, c, d;
    assert_int_equal(get(&a, &w->a, "x", 10000, 0), TL_OK);
    ask_for(&b, &w->b, "x", 10000, 8000);
    ask_for(&c, &w->b, "x", 10000, 8000);
    ask_for(&d, &w->b, "x", 10000, 8000);
    turn(&w->b, 50);
    struct held busy;
    uint64_t from_try = uv_hrtime();
    assert_int_equal(get(&busy, &w->b, "x", 10000, 0), TL_BUSY); /* stands behind nobody */
    assert_true(uv_hrtime() - from_try < UINT64_C(500000000));
    uint64_t before = commands_of(&w->b);
    turn(&w->b, 700);
    assert_int_equal(commands_of(&w->b), before);
    struct held *const order[] = {&a, &b, &c, &d}; /* first come, first served within a process */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(give_back(order[i]), TL_OK);
        uint64_t from = uv_hrtime();
        UNTIL(&w->b, 2000, order[i + 1]->ended);
        assert_int_equal(order[i + 1]->status, TL_OK);
        assert_true(order[i + 1]->at_ns - from < UINT64_C(300000000));
        assert_true(order[i + 1]->lease.token > order[i]->lease.token);
        for (int k = i + 2; k < 4; k++) assert_int_equal(order[k]->ended, 0);
    }
    assert_int_equal(give_back(&d), TL_OK);
}

static void waits_end(void **state)
{
    struct world *w = *state;
    struct held a, b, c, d;
    assert_int_equal(get(&a, &w->a, "x", 10000, 0), TL_OK);
    uint64_t from = uv_hrtime();
    assert_int_equal(get(&b, &w->b, "x", 1000, 300), TL_TIMEOUT);
    assert_true(uv_hrtime() - from > UINT64_C(290000000) && uv_hrtime() - from < UINT64_C(1300000000));
    assert_non_null(strstr(b.lease.err.text, "after 300 ms"));
    /* Cancelled while it waits, while it asks, while it queues. */
    ask_for(&b, &w->b, "x", 1000, 5000);
    ask_for(&c, &w->b, "x", 1000, 5000);
    ask_for(&d, &w->b, "z", 1000, 5000);
    tl_lease_cancel(&d.lease);
    assert_int_equal(d.ended, 0);
    turn(&w->b, 50);
    assert_true(d.ended == 1 && d.status == TL_CANCELLED);
    tl_lease_cancel(&c.lease);
    tl_lease_cancel(&b.lease);
    turn(&w->b, 50);
    assert_true(b.ended == 1 && b.status == TL_CANCELLED && c.ended == 1 && c.status == TL_CANCELLED);
    tl_lease_cancel(&a.lease); /* held: no-op */
    assert_true(tl_lease_left_ms(&a.lease) > 0);
    assert_int_equal(give_back(&a), TL_OK);
    /* What a cancelled question may have got is given back. */
    assert_int_equal(get(&a, &w->a, "z", 10000, 0), TL_OK);
    assert_int_equal(get(&b, &w->b, "x", 10000, 0), TL_OK);
    assert_int_equal(give_back(&a) + give_back(&b), TL_OK);
}

/* A holder that stands still loses it after its time and is told when it goes on. */
static void a_dead_holder(void **state)
{
    struct world *w = *state;
    struct held a, b;
    assert_int_equal(get(&a, &w->a, "x", 600, 0), TL_OK);
    uint64_t from = uv_hrtime();
    assert_int_equal(get(&b, &w->b, "x", 600, 5000), TL_OK);
    uint64_t took = (uv_hrtime() - from) / 1000000;
    assert_true(took > 300 && took < 1600);
    assert_true(b.lease.token > a.lease.token);
    turn(&w->a, 50);
    assert_int_equal(a.lost, 1);
    assert_int_equal(a.lost_status, TL_LOCK_LOST);
    assert_int_equal(give_back(&a), TL_LOCK_LOST);
    turn(&w->a, 200);
    assert_int_equal(a.lost, 1);
    assert_int_equal(give_back(&b), TL_OK);
}

static void renewed_while_in_progress(void **state)
{
    struct world *w = *state;
    struct held a, b;
    assert_int_equal(get(&a, &w->a, "x", 300, 0), TL_OK);
    uint64_t before = commands_of(&w->a);
    for (int i = 0; i < 30; i++) {
        turn(&w->a, 50);
        assert_int_equal(a.lost, 0);
        assert_true(tl_lease_left_ms(&a.lease) > 0);
        assert_int_equal(get(&b, &w->b, "x", 300, 0), TL_BUSY);
    }
    uint64_t renewals = commands_of(&w->a) - before; /* 1.5 s at a third of 300 ms, give or take a tenth */
    assert_true(renewals >= 9 && renewals <= 18);
    a.progress = false; /* stuck: the lease runs out although the loop turns */
    UNTIL(&w->a, 1000, a.lost == 1);
    assert_int_equal(get(&b, &w->b, "x", 300, 1000), TL_OK);
    /* Renewed by hand, whatever in_progress says. */
    b.progress = false;
    for (int i = 0; i < 10; i++) {
        turn(&w->b, 100);
        tl_lease_renew(&b.lease);
    }
    assert_int_equal(b.lost, 0);
    assert_int_equal(give_back(&b), TL_OK);
    tl_lease_renew(&b.lease);
}

static void redis_stands_still(void **state)
{
    struct world *w = *state;
    struct held a, b, c;
    assert_int_equal(get(&a, &w->a, "x", 700, 0), TL_OK);
    kill(w->s.pid, SIGSTOP);
    uint64_t from = uv_hrtime();
    UNTIL(&w->a, 2000, a.lost == 1);
    uint64_t took = (uv_hrtime() - from) / 1000000;
    assert_true(took > 300 && took <= 800);                    /* not longer than it was granted for */
    assert_int_equal(get(&c, &w->a, "y", 500, 0), TL_TIMEOUT); /* nobody knows */
    ask_for(&b, &w->b, "x", 500, 8000);
    turn(&w->b, 300);
    kill(w->s.pid, SIGCONT);
    UNTIL(&w->b, 5000, b.ended == 1);
    assert_int_equal(b.status, TL_OK);
    assert_true(b.lease.token > a.lease.token);
    assert_int_equal(give_back(&b), TL_OK);
    /* What was asked for in vain is not left behind. */
    turn(&w->a, 300);
    assert_int_equal(get(&b, &w->b, "y", 500, 700), TL_OK);
    assert_int_equal(give_back(&b), TL_OK);
}

static void redis_forgets(void **state)
{
    struct world *w = *state;
    struct held a, b;
    char out[64];
    assert_int_equal(get(&a, &w->a, "x", 600, 0), TL_OK);
    assert_true(redis_do(&w->s, out, "FLUSHALL"));
    assert_int_equal(get(&b, &w->b, "x", 600, 0), TL_OK);
    UNTIL(&w->a, 1000, a.lost == 1);
    assert_true(tl_lease_left_ms(&b.lease) > 0);
    assert_true(b.lease.token > a.lease.token);
    redis_server_restart(&w->s);
    UNTIL(&w->b, 1500, b.lost == 1);
    assert_int_equal(get(&a, &w->a, "x", 600, 5000), TL_OK);
    assert_true(a.lease.token > b.lease.token);
    redis_server_kill(&w->s);
    UNTIL(&w->a, 1500, a.lost == 1);
    assert_int_equal(get(&b, &w->b, "x", 600, 0), TL_IO);
    uint64_t from = uv_hrtime();
    assert_int_equal(get(&b, &w->b, "x", 600, 400), TL_TIMEOUT);
    assert_true(uv_hrtime() - from < UINT64_C(1500000000));
    redis_spawn(&w->s);
    assert_true(redis_wait(&w->s));
    assert_int_equal(get(&b, &w->b, "x", 600, 8000), TL_OK);
    assert_int_equal(give_back(&b), TL_OK);
}

static void redis_absent(void **state)
{
    (void)state;
    struct side s;
    struct held h;
    char url[64];
    snprintf(url, sizeof url, "redis://127.0.0.1:%d", redis_free_port());
    side_open(&s, url);
    assert_int_equal(get(&h, &s, "x", 600, 0), TL_IO);
    assert_non_null(strstr(h.lease.err.text, "connect"));
    assert_int_equal(get(&h, &s, "x", 600, 200), TL_TIMEOUT);
    ask_for(&h, &s, "x", 600, 60000);
    turn(&s, 30);
    side_close(&s);
    assert_true(h.ended == 1 && h.status == TL_CANCELLED);
}

static void closing_gives_back(void **state)
{
    struct world *w = *state;
    struct side s;
    struct held a, b, c, waits;
    side_open(&s, w->s.url);
    assert_int_equal(get(&a, &s, "x", 60000, 2000), TL_OK);
    assert_int_equal(get(&b, &s, "y", 60000, 2000), TL_OK);
    ask_for(&c, &s, "x", 1000, 60000);
    ask_for(&waits, &w->b, "x", 1000, 5000);
    turn(&w->b, 30);
    turn(&s, 30);
    side_close(&s);
    assert_true(c.ended == 1 && c.status == TL_CANCELLED);
    assert_int_equal(a.lost + b.lost, 0);
    uint64_t from = uv_hrtime();
    UNTIL(&w->b, 2000, waits.ended);
    assert_int_equal(waits.status, TL_OK);
    assert_true(waits.at_ns - from < UINT64_C(300000000));
    assert_int_equal(give_back(&waits), TL_OK);
    assert_int_equal(get(&b, &w->b, "y", 1000, 0), TL_OK);
    assert_int_equal(give_back(&b), TL_OK);
}

/* The connection goes after n bytes of Redis' answers: a lease is got all the same, and what a lost reply granted is
 * the same lease, so nothing has to expire first. */
static void lost_replies(void **state)
{
    struct world *w = *state;
    struct proxy p;
    struct side s;
    char url[64];
    uint64_t last = 0;
    proxy_start(&p, w->s.port);
    snprintf(url, sizeof url, "redis://127.0.0.1:%d", p.port);
    side_open(&s, url);
    turn(&s, 100);
    for (long n = 0; n < 60; n++) {
        struct held h;
        atomic_store(&p.cut_after, n);
        assert_int_equal(get(&h, &s, "x", 20000, 4000), TL_OK); /* far less than the 20 s that it would be held */
        assert_true(h.lease.token > last);
        last = h.lease.token;
        atomic_store(&p.cut_after, -1);
        enum tl_status st = give_back(&h);
        assert_true(st == TL_OK || st == TL_IO || st == TL_LOCK_LOST);
        if (st == TL_OK) continue;
        char out[64];
        assert_true(redis_do(&w->s, out, "DEL", "t*:lock:{x}"));
    }
    side_close(&s);
    proxy_stop(&p);
}

struct listed {
    bool done;
    enum tl_status status;
    char text[512];
};

static void on_list(struct tl_locks_list *op, enum tl_status status)
{
    struct listed *l = op->user;
    l->done = true;
    l->status = status;
    for (size_t i = 0; i < op->n; i++) {
        size_t n = strlen(l->text);
        snprintf(l->text + n, sizeof l->text - n, "%s%s ", op->items[i].name, op->items[i].computation ? "!" : "");
        assert_int_equal(strlen(op->items[i].holder), 16);
        assert_true(op->items[i].token > 0 && op->items[i].left_ms > 0 && op->items[i].left_ms <= 5000);
    }
}

static void lists(void **state)
{
    struct world *w = *state;
    struct held a, b, many[300];
    struct listed l = {.done = false};
    struct tl_locks_list op = {.user = &l};
    char out[64], name[16];
    assert_int_equal(get(&a, &w->a, "one {x}", 5000, 2000), TL_OK);
    assert_int_equal(get(&b, &w->b, "another", 5000, 2000), TL_OK);
    assert_true(redis_do(&w->s, out, "SET", "t*:lock:{odd}", "no lease"));
    assert_true(redis_do(&w->s, out, "HSET", "t*:lock:{hash}", "a", "b"));
    assert_true(
        redis_do(&w->s, out, "SET", "t*:lock:calc:{x%7By}:1d:raw:SMA(5)", "0123456789abcdef:1:7", "PX", "4000"));
    assert_true(redis_do(&w->s, out, "SET", "tXX:lock:{other prefix}", "0123456789abcdef:1:1"));
    assert_int_equal(tl_locks_list(w->a.locks, &op, 2000, on_list, NULL), TL_OK);
    UNTIL(&w->a, 3000, l.done);
    assert_int_equal(l.status, TL_OK);
    assert_string_equal(l.text, "another calc:x{y:1d:raw:SMA(5)! one {x} ");
    assert_true(redis_do(&w->s, out, "DEL", "t*:lock:calc:{x%7By}:1d:raw:SMA(5)"));
    assert_int_equal(give_back(&a) + give_back(&b), TL_OK);
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "%d", i);
        assert_int_equal(get(&many[i], &w->a, name, 5000, 2000), TL_OK);
    }
    l = (struct listed){.done = false};
    op = (struct tl_locks_list){.user = &l};
    assert_int_equal(tl_locks_list(w->a.locks, &op, 2000, on_list, NULL), TL_OK);
    UNTIL(&w->a, 3000, l.done);
    assert_int_equal(l.status, TL_OK);
    assert_int_equal(op.n, 300);
    for (int i = 0; i < 300; i++) assert_int_equal(give_back(&many[i]), TL_OK);
    /* No key without a time to live but the fence counters. */
    assert_true(
        redis_do(&w->s, out, "EVAL",
                 "for _, k in ipairs(redis.call('KEYS', 't[*]:*')) do if redis.call('PTTL', k) < 0 and not "
                 "k:find('fence:', 1, true) and not k:find('odd', 1, true) and not k:find('hash', 1, true) then "
                 "return k end end return 'none'",
                 "0"));
    assert_non_null(strstr(out, "none"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_holder, setup, teardown),
        cmocka_unit_test_setup_teardown(tokens_only_rise, setup, teardown),
        cmocka_unit_test_setup_teardown(names, setup, teardown),
        cmocka_unit_test_setup_teardown(waiters_are_woken, setup, teardown),
        cmocka_unit_test_setup_teardown(waits_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_dead_holder, setup, teardown),
        cmocka_unit_test_setup_teardown(renewed_while_in_progress, setup, teardown),
        cmocka_unit_test_setup_teardown(redis_stands_still, setup, teardown),
        cmocka_unit_test_setup_teardown(redis_forgets, setup, teardown),
        cmocka_unit_test(redis_absent),
        cmocka_unit_test_setup_teardown(closing_gives_back, setup, teardown),
        cmocka_unit_test_setup_teardown(lost_replies, setup, teardown),
        cmocka_unit_test_setup_teardown(lists, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
