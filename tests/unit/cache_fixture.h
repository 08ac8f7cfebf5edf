/* SPDX-License-Identifier: Apache-2.0 */
/* A cache on a loop of its own, asked as if it were blocking. Include behind "support.h". */
#ifndef TL_TESTS_CACHE_FIXTURE_H
#define TL_TESTS_CACHE_FIXTURE_H

#include "cache/cache.h"
#include "redis_server.h"
#include <uv.h>

struct box { /* one process' cache */
    uv_loop_t loop;
    struct tl_cache *cache;
    bool closed;
};

static inline void box_spin_until(struct box *b, const bool *flag, uint64_t limit_ms)
{
    uint64_t end = uv_hrtime() + limit_ms * 1000000;
    while (!*flag) {
        if (uv_hrtime() > end) {
            print_message("nothing came within %llu ms\n", (unsigned long long)limit_ms);
            fail();
        }
        uv_run(&b->loop, UV_RUN_NOWAIT);
        if (!*flag) usleep(100);
    }
}

static inline void box_spin(struct box *b, uint64_t ms)
{
    uint64_t end = uv_hrtime() + ms * 1000000;
    while (uv_hrtime() < end) {
        uv_run(&b->loop, UV_RUN_NOWAIT);
        usleep(200);
    }
}

struct box_ready {
    bool done;
    enum tl_status status;
    struct tl_err err;
};

static inline void box_on_ready(void *ctx, enum tl_status status, const struct tl_err *err)
{
    struct box_ready *r = ctx;
    r->done = true;
    r->status = status;
    if (err) r->err = *err;
}

static inline enum tl_status box_ready(struct box *b, struct tl_err *err)
{
    struct box_ready r = {.done = false};
    assert_int_equal(tl_cache_ready(b->cache, 10000, box_on_ready, &r), TL_OK);
    box_spin_until(b, &r.done, 12000);
    if (err) *err = r.err;
    return r.status;
}

/* url, store: NULL: none. */
static inline void box_open_with(struct box *b, const struct tl_cache_options *o)
{
    struct tl_err err;
    *b = (struct box){.closed = false};
    assert_int_equal(uv_loop_init(&b->loop), 0);
    enum tl_status st = tl_cache_open(&b->loop, o, &b->cache, &err);
    if (st != TL_OK) print_message("%s\n", err.text);
    assert_int_equal(st, TL_OK);
}

static inline void box_open(struct box *b, const char *redis_url, const char *store, const char *prefix)
{
    struct tl_cache_options o = {
        .redis_url = redis_url, .store_url = store, .prefix = prefix, .log_level = -1, .memory_bytes = 32u << 20};
    box_open_with(b, &o);
}

static inline void box_on_closed(void *ctx)
{
    ((struct box *)ctx)->closed = true;
}

static inline void box_close(struct box *b)
{
    tl_cache_close(b->cache, box_on_closed, b);
    box_spin_until(b, &b->closed, 20000);
    assert_int_equal(uv_run(&b->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&b->loop), 0);
}

static inline void box_got(struct tl_get *op, enum tl_status status)
{
    (void)status;
    *(bool *)op->user = true;
}

/* The item's value is the caller's. */
static inline struct tl_get_item box_get_with(struct box *b, struct tl_get op, const struct tl_key *key,
                                              uint64_t deadline)
{
    bool done = false;
    struct tl_err err;
    op.user = &done;
    assert_int_equal(tl_cache_get(b->cache, &op, key, deadline, box_got, &err), TL_OK);
    assert_false(done);
    box_spin_until(b, &done, deadline + 2000);
    return op.item;
}

static inline struct tl_get_item box_get(struct box *b, const char *type, const char *symbol)
{
    struct tl_key key = {.data_type = type, .symbol = symbol};
    return box_get_with(b, (struct tl_get){.max_age_ms = 0}, &key, 5000);
}

static inline void box_put_cb(struct tl_put *op, enum tl_status status)
{
    (void)status;
    *(bool *)op->user = true;
}

static inline enum tl_status box_put_bytes(struct box *b, const struct tl_key *key, const void *p, size_t n,
                                           const struct tl_ttl *ttl, enum tl_tier_id wait, uint64_t deadline)
{
    bool done = false;
    struct tl_err err;
    struct tl_put op = {.wait = wait, .user = &done};
    enum tl_status st = tl_cache_put(b->cache, &op, key, p, n, ttl, deadline, box_put_cb, &err);
    if (st != TL_OK) return st;
    assert_false(done);
    box_spin_until(b, &done, deadline + 2000);
    return op.item.status;
}

static inline enum tl_status box_put(struct box *b, const char *type, const char *symbol, const char *text,
                                     enum tl_tier_id wait)
{
    struct tl_key key = {.data_type = type, .symbol = symbol};
    return box_put_bytes(b, &key, text, strlen(text), NULL, wait, 5000);
}

struct box_invalidated {
    bool done;
    enum tl_status status;
};

static inline void box_on_invalidated(struct tl_invalidate *op, enum tl_status status)
{
    struct box_invalidated *i = op->user;
    i->done = true;
    i->status = status;
}

static inline enum tl_status box_invalidate(struct box *b, enum tl_scope scope, const char *type, const char *symbol)
{
    struct tl_key key = {.data_type = type, .symbol = symbol};
    struct box_invalidated done = {.done = false};
    struct tl_invalidate op = {.user = &done};
    struct tl_err err;
    enum tl_status st = tl_cache_invalidate(b->cache, &op, scope, &key, 5000, box_on_invalidated, &err);
    if (st != TL_OK) return st;
    assert_false(done.done);
    box_spin_until(b, &done.done, 7000);
    return done.status;
}

/* status, freshness-independent: the value is `text` and came from `source` (NONE: any). */
static inline void box_expect(struct box *b, const char *type, const char *symbol, const char *text,
                              enum tl_tier_id source)
{
    struct tl_get_item item = box_get(b, type, symbol);
    if (!text) {
        if (item.status == TL_OK) print_message("%s %s is there, from %s\n", type, symbol, tl_tier_name(item.source));
        assert_int_equal(item.status, TL_NOT_FOUND);
        return;
    }
    if (item.status != TL_OK) print_message("%s %s: %s\n", type, symbol, tl_status_name(item.status));
    assert_int_equal(item.status, TL_OK);
    size_t n;
    const char *p = tl_value_bytes(item.value, &n);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(p, text, n);
    if (source != TL_TIER_NONE) assert_string_equal(tl_tier_name(item.source), tl_tier_name(source));
    tl_value_unref(item.value);
}

static inline struct tl_cache_stats box_stats(struct box *b)
{
    struct tl_cache_stats s;
    tl_cache_stats(b->cache, &s);
    return s;
}

/* A folder for a store; "PATH/store.db". Removed by box_remove_store. */
static inline void box_make_store(char path[128])
{
    char dir[64] = "/tmp/tl-cache-XXXXXX";
    assert_non_null(mkdtemp(dir));
    snprintf(path, 128, "%s/store.db", dir);
}

static inline void box_remove_store(const char *path)
{
    char dir[128];
    snprintf(dir, sizeof dir, "%s", path);
    *strrchr(dir, '/') = '\0';
    (void)nftw(dir, redis_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
