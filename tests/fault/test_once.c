/* SPDX-License-Identifier: Apache-2.0 */
/* Computing once with the n-th allocation failing, for every n: ops fail or end, no lease is left for longer than it
 * lasts, no leak (under a sanitizer), and the scheduler computes again afterwards. */
#include "support.h"

#include "unit/market_fixture.h"
#include "unit/node.h"

#include "alloc.h"
#include "schedule/symbol.h"

enum { ALLOCATIONS_MAX = 3000, WAIT_MS = 8000 };

static struct redis_server server;
static struct market market;
static struct tl_view_sessions sessions;

static int begin(void **state)
{
    (void)state;
    redis_server_start(&server, NULL);
    market_open(&market);
    sessions = tl_view_sessions_default();
    for (int i = 0; i < 40; i++) {
        char symbol[16];
        snprintf(symbol, sizeof symbol, "%06d.SH", 600000 + i);
        market_import_walk(&market, symbol, 60, 1, 0);
    }
    return 0;
}

static int finish(void **state)
{
    (void)state;
    market_close(&market);
    redis_server_stop(&server);
    return 0;
}

static enum tl_status make(void *ctx, const struct tl_key *key, struct tl_making *m)
{
    (void)ctx, (void)key;
    return tl_making_value(m, "made", 4, NULL);
}

struct ended {
    bool done;
    enum tl_status status;
};

static void on_computed(struct tl_compute *op, enum tl_status status)
{
    struct ended *e = op->user;
    e->done = true;
    e->status = status;
    tl_value_unref(op->value);
}

static enum tl_status compute(struct node *n, const char *symbol)
{
    struct ended e = {.done = false};
    struct tl_compute op = {.make = make, .user = &e};
    struct tl_key key = {.data_type = "factor", .symbol = symbol};
    enum tl_status st = tl_compute(n->s, &op, &key, 3000, on_computed, NULL);
    if (st != TL_OK) return st;
    box_spin_until(&n->box, &e.done, WAIT_MS);
    return e.status;
}

static void on_indicators(struct tl_indicators *op)
{
    ((struct ended *)op->user)->done = true;
}

static enum tl_status indicators(struct node *n, const char *symbol)
{
    struct ended e = {.done = false};
    struct tl_indicator_item items[2] = {{.status = TL_OK}};
    struct tl_indicators op = {.symbol = market_symbol(symbol),
                               .freq = TL_FREQ_1D,
                               .want_rows = true,
                               .want_kept = true,
                               .day_ms = INT64_MIN,
                               .sessions = &sessions,
                               .count = 2,
                               .items = items,
                               .cb = on_indicators,
                               .user = &e};
    assert_int_equal(tl_spec_parse("SMA(5)", &items[0].spec, NULL), TL_OK);
    assert_int_equal(tl_spec_parse("RSI(14)", &items[1].spec, NULL), TL_OK);
    tl_indicators_get(n->s, &op);
    box_spin_until(&n->box, &e.done, WAIT_MS);
    enum tl_status st = items[0].status != TL_OK ? items[0].status : items[1].status;
    for (int i = 0; i < 2; i++) tl_series_release(&items[i].series);
    return st;
}

static void every_allocation(void **state)
{
    (void)state;
    long n = 0;
    char symbol[16];
    struct node node;
    struct tl_cache_options o = {
        .redis_url = server.url, .store_url = market.path, .log_level = -1, .memory_bytes = 1u << 20};
    struct tl_scheduler_options so = {.workers = 1, .lease_ms = 200};
    node_open_with(&node, &o, &so);
    box_spin(&node.box, 400);
    for (bool failed = true; failed && n < ALLOCATIONS_MAX; n++) {
        snprintf(symbol, sizeof symbol, "%06ld.SH", 600000 + n % 40);
        struct tl_key key = {.symbol = symbol};
        (void)box_invalidate(&node.box, TL_SCOPE_SYMBOL, key.data_type, symbol);
        fault_alloc_arm(n);
        (void)!compute(&node, symbol);
        (void)!indicators(&node, symbol);
        failed = fault_alloc_disarm();
        enum tl_status st = TL_BUSY, st2 = TL_BUSY;
        for (int i = 0; i < 100 && (st != TL_OK || st2 != TL_OK); i++) {
            if (i) box_spin(&node.box, 50);
            st = compute(&node, symbol);
            st2 = indicators(&node, symbol);
        }
        if (st != TL_OK || st2 != TL_OK)
            print_message("allocation %ld: %s, %s\n", n, tl_status_name(st), tl_status_name(st2));
        assert_true(st == TL_OK && st2 == TL_OK);
    }
    print_message("%ld allocations failed\n", n - 1);
    assert_true(n > 40 && n < ALLOCATIONS_MAX);
    node_close(&node);
    for (n = 0;; n++) { /* and the opening */
        struct box b;
        struct tl_scheduler *s;
        box_open_with(&b, &o);
        (void)box_ready(&b, NULL);
        fault_alloc_arm(n);
        enum tl_status st = tl_scheduler_open(b.cache, &so, &s, NULL);
        bool failed = fault_alloc_disarm();
        assert_int_equal(st, failed ? TL_NOMEM : TL_OK);
        b.closed = false;
        if (st == TL_OK) {
            tl_scheduler_close(s, box_on_closed, &b);
            box_spin_until(&b, &b.closed, WAIT_MS);
            b.closed = false;
        }
        box_close(&b);
        if (!failed) break;
    }
    assert_true(n > 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation)};
    return cmocka_run_group_tests(tests, begin, finish);
}
