/* SPDX-License-Identifier: Apache-2.0 */
/* An invalidation that lands at every step of a read or a load: the loop is turned k times, then the invalidation is
 * made, for k = 0, 1, 2, ... until the read has ended before it. Whatever k is, the old value never comes back. */
#include "support.h"

#include "cache_fixture.h"

#include <sched.h>

enum { TURNS_MAX = 5000 };

/* Where the value lies when it is asked for. */
enum place { IN_REDIS, IN_STORE, AT_SOURCE }; /* IN_REDIS: and in the store */

struct world {
    struct redis_server s;
    char path[128];
    struct box a, b; /* two processes with one store and one Redis */
};

struct read {
    struct tl_get op;
    bool done;
    unsigned loads; /* how often the source was asked */
    bool source_is_new;
    struct tl_load *load; /* under way */
    bool load_is_new;
};

static void on_got(struct tl_get *op, enum tl_status status)
{
    struct read *r = op->user;
    (void)status;
    r->done = true;
}

static void source(void *ctx, const struct tl_key *key, struct tl_load *load)
{
    struct read *r = ctx;
    (void)key;
    r->loads++;
    r->load = load;
    r->load_is_new = r->source_is_new; /* it read its data now */
}

/* hold: a load that is under way goes on. */
static void turn(struct world *w, struct read *r, bool hold)
{
    uv_run(&w->a.loop, UV_RUN_NOWAIT);
    sched_yield();
    if (!r->load || hold) return;
    struct tl_load *load = r->load;
    r->load = NULL;
    tl_load_end(load, TL_OK, r->load_is_new ? "new" : "old", 3, NULL, NULL);
}

static void place_value(struct world *w, enum place place, const char *symbol)
{
    char key[96], out[64];
    if (place == AT_SOURCE) return;
    assert_int_equal(box_put(&w->a, "etf", symbol, "old", TL_TIER_STORE), TL_OK);
    for (int i = 0; i < 200 && tl_behind_entries(w->a.cache->behind) > 0; i++) box_spin(&w->a, 1);
    if (place == IN_STORE) {
        snprintf(key, sizeof key, "tierline:cache:{%s}:etf:-", symbol);
        assert_true(redis_do(&w->s, out, "DEL", key));
    }
    tl_memory_clear(w->a.cache->memory);
    tl_memory_clear(w->b.cache->memory);
}

static bool is_old(struct tl_get_item *item)
{
    size_t n;
    bool old = item->status == TL_OK && memcmp(tl_value_bytes(item->value, &n), "old", 3) == 0;
    tl_value_unref(item->value);
    item->value = NULL;
    return old;
}

static bool reads_old(struct box *b, const char *symbol)
{
    struct tl_get_item item = box_get(b, "etf", symbol);
    assert_true(item.status == TL_OK || item.status == TL_NOT_FOUND);
    return is_old(&item);
}

/* true: the read was over before the invalidation. by_other: the other process makes it. */
static bool at_step(struct world *w, enum place place, unsigned k, bool by_other)
{
    char symbol[16];
    snprintf(symbol, sizeof symbol, "%c%u%s", "RSL"[place], k, by_other ? "O" : "M");
    struct tl_key key = {.data_type = "etf", .symbol = symbol};
    place_value(w, place, symbol);
    struct read r = {.op = {.load = place == AT_SOURCE ? source : NULL}};
    r.op.load_ctx = r.op.user = &r;
    struct tl_err err;
    assert_int_equal(tl_cache_get(w->a.cache, &r.op, &key, 5000, on_got, &err), TL_OK);
    for (unsigned i = 0; i < k && !r.done; i++) turn(w, &r, i % 8 != 7); /* some turns of a load are steps, too */
    bool early = r.done;
    struct box_invalidated end = {.done = false};
    struct tl_invalidate op = {.user = &end};
    r.source_is_new = true;
    if (by_other) {
        assert_int_equal(box_invalidate(&w->b, TL_SCOPE_KEY, "etf", symbol), TL_OK);
        end.done = true;
    } else {
        assert_int_equal(tl_cache_invalidate(w->a.cache, &op, TL_SCOPE_KEY, &key, 5000, box_on_invalidated, &err),
                         TL_OK);
    }
    bool got_before = r.done; /* by now; afterwards only what is valid may be handed out */
    for (unsigned i = 0; i < 10000000 && !(r.done && end.done); i++) {
        turn(w, &r, !end.done); /* a load outlasts the invalidation */
        if (!end.done) got_before = r.done;
    }
    assert_true(r.done && end.done);
    if (!by_other) assert_int_equal(end.status, TL_OK);
    bool old = is_old(&r.op.item);
    if (!got_before && !by_other && old) fail_msg("place %d, step %u: the old value after the invalidation", place, k);
    box_spin(by_other ? &w->a : &w->b, 30); /* the announcement reaches the one who did not make it */
    assert_false(reads_old(&w->a, symbol));
    for (int i = 0; i < 300 && tl_behind_entries(w->a.cache->behind) > 0; i++) box_spin(&w->a, 1);
    tl_memory_clear(w->a.cache->memory);
    assert_false(reads_old(&w->a, symbol));
    assert_false(reads_old(&w->b, symbol));
    return early;
}

static void every_step(struct world *w, enum place place)
{
    for (int by_other = 0; by_other < 2; by_other++) {
        unsigned k = 0, over = 0;
        for (; k < TURNS_MAX && over < 3; k++) over += at_step(w, place, k, by_other);
        print_message("place %d, by %s process: %u steps\n", place, by_other ? "the other" : "this", k);
        assert_true(k > 3 && over == 3);
    }
}

static int setup(void **state)
{
    static struct world w;
    redis_server_start(&w.s, NULL);
    box_make_store(w.path);
    box_open(&w.a, w.s.url, w.path, NULL);
    box_open(&w.b, w.s.url, w.path, NULL);
    assert_int_equal(box_ready(&w.a, NULL), TL_OK);
    assert_int_equal(box_ready(&w.b, NULL), TL_OK);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    box_close(&w->a);
    box_close(&w->b);
    redis_server_stop(&w->s);
    box_remove_store(w->path);
    return 0;
}

static void found_in_redis(void **state)
{
    every_step(*state, IN_REDIS);
}

static void found_in_the_store(void **state)
{
    every_step(*state, IN_STORE);
}

static void made_by_the_source(void **state)
{
    every_step(*state, AT_SOURCE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(found_in_redis, setup, teardown),
        cmocka_unit_test_setup_teardown(found_in_the_store, setup, teardown),
        cmocka_unit_test_setup_teardown(made_by_the_source, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
