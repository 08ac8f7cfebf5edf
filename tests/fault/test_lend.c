/* SPDX-License-Identifier: Apache-2.0 */
/* Lending with the n-th allocation failing, for every n, with a Redis and without: ops fail or end, no key is left to
 * nobody for longer than its lease lasts, no leak (under a sanitizer), and it lends again afterwards. */
#include "support.h"

#include "unit/lend_fixture.h"

#include "alloc.h"

enum { ALLOCATIONS_MAX = 3000, LEASE_MS = 300 };

static struct redis_server server;
static struct node node;

static int begin(void **state)
{
    (void)state;
    redis_server_start(&server, NULL);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    redis_server_stop(&server);
    return 0;
}

/* Whether the key was lent and handed in. */
static bool ask_and_hand_in(const char *symbol, const char *text)
{
    struct tl_key key = lend_key(symbol);
    struct lent first = {.op = {.lease_ms = LEASE_MS, .cb = on_lent}}, second = first;
    struct back more, in;
    first.op.wait_ms = second.op.wait_ms = 1000;
    first.op.user = &first;
    second.op.user = &second;
    bool asked = tl_lend(node.s, &first.op, &key, NULL) == TL_OK;
    bool waits = tl_lend(node.s, &second.op, &key, NULL) == TL_OK;
    while (asked && !first.done && !(waits && second.done)) turn(&node, 1);
    struct lent *lent = asked && first.done && first.op.lease[0] ? &first : &second;
    bool granted = lent->done && lent->status == TL_OK && lent->op.lease[0], there = false;
    back_new(&more), back_new(&in);
    if (granted) {
        bool renews = tl_lend_renew(node.s, &more.op, &key, lent->op.lease, LEASE_MS, NULL) == TL_OK;
        while (renews && !more.done) turn(&node, 1);
        bool goes = tl_lend_value(node.s, &in.op, &key, lent->op.lease, text, strlen(text), NULL, NULL) == TL_OK;
        while (goes && !in.done) turn(&node, 1);
        there = goes && in.status == TL_OK;
    }
    uint64_t end = uv_hrtime() + UINT64_C(8000000000);
    while ((asked && !first.done) || (waits && !second.done)) {
        assert_true(uv_hrtime() < end);
        turn(&node, 1);
    }
    for (int i = 0; i < 2; i++) {
        struct lent *l = i ? &second : &first;
        there = there || l->op.value;
        tl_value_unref(l->op.value);
        if (l == lent || !l->op.lease[0]) continue;
        back_new(&in);
        if (tl_lend_fail(node.s, &in.op, &key, l->op.lease, TL_CANCELLED, "", NULL) == TL_OK)
            while (!in.done) turn(&node, 1);
    }
    return there;
}

static void each_fails(const char *redis_url)
{
    long n = 0;
    char symbol[16];
    node_open(&node, redis_url, NULL);
    spin_ms(&node, 1, 100);
    for (bool failed = true; failed && n < ALLOCATIONS_MAX; n++) {
        snprintf(symbol, sizeof symbol, "S%ld", n);
        fault_alloc_arm(n);
        (void)ask_and_hand_in(symbol, "one");
        failed = fault_alloc_disarm();
        bool there = false;
        for (int i = 0; i < 100 && !there; i++) there = ask_and_hand_in(symbol, "two");
        if (!there) print_message("allocation %ld: not lent any more\n", n);
        assert_true(there);
    }
    print_message("%ld allocations failed\n", n - 1);
    assert_true(n > 10 && n < ALLOCATIONS_MAX);
    node_close(&node);
}

static void with_redis(void **state)
{
    (void)state;
    each_fails(server.url);
}

static void without_redis(void **state)
{
    (void)state;
    each_fails(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(with_redis), cmocka_unit_test(without_redis)};
    return cmocka_run_group_tests(tests, begin, finish);
}
