/* SPDX-License-Identifier: Apache-2.0 */
/* One conformance suite for everything that is a tier: the memory, a real Redis, the SQLite store, and the fake. */
#include "support.h"

#include "cache_fixture.h"
#include "fake_tier.h"

struct bench {
    const char *name;
    uv_loop_t loop;
    struct tl_alarms *alarms;
    struct tl_tier *tier;
    struct tl_clock clock;
    int64_t ahead_ms; /* of the real clock */
    struct tl_memory *memory;
    struct redis_server server;
    struct tl_redis *redis;
    struct tl_store *store;
    char path[128];
    bool up, closed;
};

static int64_t shifted_wall(void *ctx)
{
    return tl_clock_wall_ms(&tl_clock_system) + ((struct bench *)ctx)->ahead_ms;
}

static uint64_t plain_mono(void *ctx)
{
    (void)ctx;
    return tl_clock_mono_ns(&tl_clock_system);
}

static void spin_until(struct bench *b, const bool *flag)
{
    uint64_t end = uv_hrtime() + UINT64_C(10000000000);
    while (!*flag) {
        assert_true(uv_hrtime() < end);
        uv_run(&b->loop, UV_RUN_NOWAIT);
        if (!*flag) usleep(100);
    }
}

static void on_redis(void *ctx, bool up, const struct tl_err *why)
{
    (void)why;
    ((struct bench *)ctx)->up = up;
}

static void open_tier(struct bench *b, const char *name)
{
    struct tl_err err;
    *b = (struct bench){.name = name};
    b->clock = (struct tl_clock){.wall_ms = shifted_wall, .mono_ns = plain_mono, .ctx = b};
    assert_int_equal(uv_loop_init(&b->loop), 0);
    assert_int_equal(tl_alarms_start(&b->loop, &b->clock, &b->alarms, &err), TL_OK);
    if (strcmp(name, "fake") == 0) {
        b->tier = fake_tier_new(b->alarms, &b->clock);
    } else if (strcmp(name, "memory") == 0) {
        struct tl_memory_options o = {.cap_bytes = 64u << 20, .clock = &b->clock};
        assert_int_equal(tl_memory_new(&o, &b->memory, &err), TL_OK);
        b->tier = tl_tier_memory_new(b->memory);
    } else if (strcmp(name, "store") == 0) {
        struct tl_store_options so = {.clock = &b->clock};
        box_make_store(b->path);
        assert_int_equal(tl_store_open(b->path, &so, &b->store, &err), TL_OK);
        struct tl_tier_store_options o = {.store = b->store, .threads = 2, .clock = &b->clock, .alarms = b->alarms};
        assert_int_equal(tl_tier_store_new(&b->loop, &o, &b->tier, &err), TL_OK);
    } else {
        redis_server_start(&b->server, NULL);
        struct tl_redis_options ro = {
            .scripts = tl_cache_scripts, .n_scripts = TL_CACHE_SCRIPTS, .on_state = on_redis, .ctx = b};
        assert_int_equal(tl_redis_address_parse(b->server.url, &ro.address, &err), TL_OK);
        assert_int_equal(tl_redis_start(&b->loop, &ro, &b->redis, &err), TL_OK);
        spin_until(b, &b->up);
        struct tl_tier_redis_options o = {.redis = b->redis, .prefix = "t:", .clock = &b->clock};
        assert_int_equal(tl_tier_redis_new(&o, &b->tier, &err), TL_OK);
        assert_false(tl_tier_up(b->tier));
        tl_tier_redis_usable(b->tier, true);
    }
    assert_true(tl_tier_up(b->tier));
}

static void on_closed(void *ctx)
{
    ((struct bench *)ctx)->closed = true;
}

static void close_tier(struct bench *b)
{
    b->tier->ops->close(b->tier, on_closed, b);
    spin_until(b, &b->closed);
    b->closed = false;
    if (b->redis) {
        tl_redis_close(b->redis, on_closed, b);
        spin_until(b, &b->closed);
    }
    tl_alarms_close(b->alarms, NULL, NULL);
    assert_int_equal(uv_run(&b->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&b->loop), 0);
    tl_memory_free(b->memory);
    tl_store_close(b->store);
    if (b->path[0]) box_remove_store(b->path);
    if (b->server.dir[0]) redis_server_stop(&b->server);
}

static void on_op(struct tl_tier_op *op)
{
    *(bool *)op->user = true;
}

static void run_op(struct bench *b, enum tl_tier_verb verb, struct tl_tier_item *items, size_t n)
{
    bool done = false;
    struct tl_tier_op op = {.verb = verb, .items = items, .n = n, .timeout_ms = 5000, .cb = on_op, .user = &done};
    if (!tl_tier_submit(b->tier, &op)) {
        assert_false(done);
        spin_until(b, &done);
    }
}

static struct tl_entry *entry(const char *key, int64_t ms, const void *p, size_t n)
{
    struct tl_entry *e = tl_entry_new(tl_str(key), p, n);
    assert_non_null(e);
    e->general.ms = ms;
    e->general.instance = 7;
    e->general.seq = 1;
    e->general.soft_ttl_ms = e->general.hard_ttl_ms = TL_TTL_NEVER;
    atomic_store(&e->generation, 42);
    return e;
}

static struct tl_tier_item put(struct bench *b, const char *key, int64_t ms, const void *p, size_t n, int64_t expires)
{
    struct tl_entry *e = entry(key, ms, p, n);
    struct tl_tier_item item = {.key = tl_str(key), .entry = e, .expires_ms = expires};
    run_op(b, TL_TIER_PUT, &item, 1);
    tl_entry_unref(e);
    return item;
}

static void expect(struct bench *b, const char *key, const void *p, size_t n)
{
    struct tl_tier_item item = {.key = tl_str(key)};
    run_op(b, TL_TIER_GET, &item, 1);
    if (!p) {
        assert_int_equal(item.status, TL_NOT_FOUND);
        return;
    }
    if (item.status != TL_OK) print_message("%s: %s: %s\n", b->name, key, tl_status_name(item.status));
    assert_int_equal(item.status, TL_OK);
    struct tl_str got = tl_entry_payload(item.entry);
    assert_int_equal(got.n, n);
    assert_memory_equal(got.p, p, n);
    assert_int_equal(atomic_load(&item.entry->generation), 42);
    assert_true(tl_str_eq(tl_entry_key(item.entry), tl_str(key)));
    tl_entry_unref(item.entry);
}

static const char key_a[] = "cache:{A}:etf:-", key_b[] = "cache:{B}:etf:1d";

static void conforms(const char *name)
{
    struct bench b;
    static char big[TL_VALUE_MAX];
    for (size_t i = 0; i < sizeof big; i++) big[i] = (char)(i * 7 + i / 251);
    open_tier(&b, name);
    expect(&b, key_a, NULL, 0);
    assert_int_equal(put(&b, key_a, 100, "one", 3, INT64_MAX).status, TL_OK);
    expect(&b, key_a, "one", 3);
    expect(&b, key_b, NULL, 0);
    /* the newer of two stays, whichever comes last; the same once more is fine */
    assert_false(put(&b, key_a, 200, "two", 3, INT64_MAX).superseded);
    struct tl_tier_item old = put(&b, key_a, 150, "old", 3, INT64_MAX);
    assert_int_equal(old.status, TL_OK);
    assert_true(old.superseded);
    expect(&b, key_a, "two", 3);
    assert_int_equal(put(&b, key_a, 200, "two", 3, INT64_MAX).status, TL_OK);
    expect(&b, key_a, "two", 3);
    /* any bytes, no bytes, and the most there may be */
    assert_int_equal(put(&b, key_b, 1, "\0\r\n\xff\0", 5, INT64_MAX).status, TL_OK);
    expect(&b, key_b, "\0\r\n\xff\0", 5);
    assert_int_equal(put(&b, key_b, 2, "", 0, INT64_MAX).status, TL_OK);
    expect(&b, key_b, "", 0);
    assert_int_equal(put(&b, key_b, 3, big, sizeof big, INT64_MAX).status, TL_OK);
    expect(&b, key_b, big, sizeof big);
    /* deleting: not what is newer than what was meant */
    struct tl_entry *older = entry(key_a, 150, "x", 1), *same = entry(key_a, 200, "x", 1);
    struct tl_tier_item del = {.key = tl_str(key_a), .entry = older};
    run_op(&b, TL_TIER_DEL, &del, 1);
    assert_int_equal(del.status, TL_OK);
    expect(&b, key_a, "two", 3);
    del.entry = same;
    run_op(&b, TL_TIER_DEL, &del, 1);
    expect(&b, key_a, NULL, 0);
    del = (struct tl_tier_item){.key = tl_str(key_b)};
    run_op(&b, TL_TIER_DEL, &del, 1);
    expect(&b, key_b, NULL, 0);
    tl_entry_unref(older);
    tl_entry_unref(same);
    /* a dropped key takes an older value again */
    assert_false(put(&b, key_a, 50, "again", 5, INT64_MAX).superseded);
    expect(&b, key_a, "again", 5);
    close_tier(&b);
}

static void expires(const char *name)
{
    struct bench b;
    open_tier(&b, name);
    int64_t now = tl_clock_wall_ms(&b.clock);
    bool redis = strcmp(name, "redis") == 0; /* which keeps its own time */
    assert_int_equal(put(&b, key_a, 100, "short", 5, now + (redis ? 300 : 60000)).status, TL_OK);
    assert_int_equal(put(&b, key_b, 100, "long", 4, now + 600000).status, TL_OK);
    expect(&b, key_a, "short", 5);
    if (redis)
        usleep(400000);
    else
        b.ahead_ms += 61000;
    expect(&b, key_a, NULL, 0);
    expect(&b, key_b, "long", 4);
    assert_false(put(&b, key_a, 50, "older", 5, now + 600000).superseded); /* nothing is there to be older than */
    close_tier(&b);
}

static void many(const char *name)
{
    enum { N = 500 };
    static char keys[N][32];
    static struct tl_tier_item items[N];
    struct bench b;
    open_tier(&b, name);
    for (int i = 0; i < N; i++) {
        snprintf(keys[i], sizeof keys[i], "cache:{S%d}:etf:-", i);
        items[i] = (struct tl_tier_item){
            .key = tl_str(keys[i]), .entry = entry(keys[i], i, keys[i], strlen(keys[i])), .expires_ms = INT64_MAX};
    }
    run_op(&b, TL_TIER_PUT, items, N - 1); /* the last one is not there */
    for (int i = 0; i < N; i++) {
        tl_entry_unref(items[i].entry);
        if (i < N - 1) assert_int_equal(items[i].status, TL_OK);
        items[i] = (struct tl_tier_item){.key = tl_str(keys[i])};
    }
    run_op(&b, TL_TIER_GET, items, N);
    for (int i = 0; i < N - 1; i++) {
        assert_int_equal(items[i].status, TL_OK);
        assert_memory_equal(tl_entry_payload(items[i].entry).p, keys[i], strlen(keys[i]));
        tl_entry_unref(items[i].entry);
    }
    assert_int_equal(items[N - 1].status, TL_NOT_FOUND);
    close_tier(&b);
}

struct closing {
    struct bench *b;
    bool done;
};

static void close_in_cb(struct tl_tier_op *op)
{
    struct closing *c = op->user;
    c->done = true;
    c->b->tier->ops->close(c->b->tier, on_closed, c->b);
}

static void closes_in_a_callback(const char *name)
{
    struct bench b;
    open_tier(&b, name);
    struct closing c = {.b = &b};
    struct tl_tier_item item = {.key = tl_str(key_a)};
    struct tl_tier_op op = {
        .verb = TL_TIER_GET, .items = &item, .n = 1, .timeout_ms = 5000, .cb = close_in_cb, .user = &c};
    if (tl_tier_submit(b.tier, &op)) close_in_cb(&op);
    spin_until(&b, &c.done);
    spin_until(&b, &b.closed);
    assert_int_equal(item.status, TL_NOT_FOUND);
    struct bench other;
    open_tier(&other, "fake"); /* something for close_tier to close */
    b.tier = other.tier;
    b.closed = false;
    struct tl_alarms *alarms = other.alarms;
    close_tier(&b);
    tl_alarms_close(alarms, NULL, NULL);
    assert_int_equal(uv_run(&other.loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&other.loop), 0);
}

#define EACH(test)                                                                                                     \
    static void test##_fake(void **state)                                                                              \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        test("fake");                                                                                                  \
    }                                                                                                                  \
    static void test##_memory(void **state)                                                                            \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        test("memory");                                                                                                \
    }                                                                                                                  \
    static void test##_redis(void **state)                                                                             \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        test("redis");                                                                                                 \
    }                                                                                                                  \
    static void test##_store(void **state)                                                                             \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        test("store");                                                                                                 \
    }
EACH(conforms)
EACH(expires)
EACH(many)
EACH(closes_in_a_callback)

#define ALL(test)                                                                                                      \
    cmocka_unit_test(test##_fake), cmocka_unit_test(test##_memory), cmocka_unit_test(test##_redis),                    \
        cmocka_unit_test(test##_store)

int main(void)
{
    const struct CMUnitTest tests[] = {ALL(conforms), ALL(expires), ALL(many), ALL(closes_in_a_callback)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
