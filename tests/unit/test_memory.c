/* SPDX-License-Identifier: Apache-2.0 */
/* The memory tier: what a put does to what is there, expiry by an injected clock, the bound, hit ratios against a
 * simulation, many threads. */
#include "support.h"

#include "base/rng.h"
#include "base/util.h"
#include "cache/memory.h"
#include "s3fifo_sim.h"

#include <malloc.h>
#include <pthread.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum { MIB = 1 << 20, PUTS = SANITIZED ? 300000 : 10000000, THREADS = 4, OPS = SANITIZED ? 30000 : 200000 };

struct fake_clock {
    struct tl_clock clock;
    int64_t ms;
};

static int64_t fake_wall(void *ctx)
{
    return ((struct fake_clock *)ctx)->ms;
}

static struct tl_memory *new_memory(size_t cap_bytes, unsigned shards, struct fake_clock *clock)
{
    struct tl_memory *m = NULL;
    if (clock) clock->clock = (struct tl_clock){.wall_ms = fake_wall, .ctx = clock};
    struct tl_memory_options opt = {cap_bytes, shards, clock ? &clock->clock : NULL};
    assert_int_equal(tl_memory_new(&opt, &m, NULL), TL_OK);
    return m;
}

/* What was put is what is counted somewhere. */
static struct tl_memory_stats check_sums(struct tl_memory *m)
{
    struct tl_memory_stats s;
    tl_memory_stats(m, &s);
    assert_true(s.puts == s.entries + s.replaced + s.evicted + s.expired + s.deleted);
    assert_true(s.bytes <= s.cap_bytes && s.payload_bytes + s.key_bytes <= s.bytes);
    return s;
}

static bool put(struct tl_memory *m, const char *key, int64_t version, size_t n, int64_t expires_ms)
{
    struct tl_entry *e = tl_entry_new(tl_str(key), NULL, n);
    assert_non_null(e);
    e->general.ms = version;
    bool kept = tl_memory_put(m, e, expires_ms);
    tl_entry_unref(e);
    return kept;
}

/* -1: not there. */
static int64_t version_of(struct tl_memory *m, const char *key)
{
    struct tl_entry *e = tl_memory_get(m, tl_str(key));
    int64_t version = e ? e->general.ms : -1;
    tl_entry_unref(e);
    return version;
}

static void options(void **state)
{
    (void)state;
    struct tl_memory *m = NULL;
    struct tl_err err;
    assert_int_equal(tl_memory_new(&(struct tl_memory_options){.cap_bytes = 65535}, &m, &err), TL_INVALID);
    assert_non_null(strstr(err.text, "65535"));
    assert_null(m);
    tl_memory_free(NULL);
    for (unsigned shards = 0; shards <= 256; shards = shards ? shards * 2 : 1) {
        m = new_memory(65536, shards, NULL);
        assert_true(put(m, "a", 1, 10, INT64_MAX));
        assert_true(version_of(m, "a") == 1 && version_of(m, "b") == -1);
        struct tl_memory_stats s = check_sums(m);
        assert_true(s.hits == 1 && s.misses == 1 && s.puts == 1 && s.entries == 1 && s.cap_bytes == 65536);
        assert_true(s.payload_bytes == 10 && s.key_bytes == 1);
        tl_memory_free(m);
    }
}

static void puts_by_version(void **state)
{
    (void)state;
    static const struct {
        int64_t version;
        size_t n;
        bool kept;
        int64_t then;
    } rows[] = {{5, 100, true, 5}, {4, 50, false, 5}, {5, 20, true, 5}, {6, 5000, true, 6},
                {-1, 0, false, 6}, {6, 0, true, 6},   {7, 0, true, 7}};
    struct tl_memory *m = new_memory(MIB, 0, NULL);
    size_t n = 0;
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        assert_int_equal(put(m, "key", rows[i].version, rows[i].n, INT64_MAX), rows[i].kept);
        assert_true(version_of(m, "key") == rows[i].then);
        if (rows[i].kept) n = rows[i].n;
        struct tl_memory_stats s = check_sums(m);
        assert_true(s.payload_bytes == n && s.key_bytes == 3 && s.entries == 1);
    }
    struct tl_memory_stats s = check_sums(m);
    assert_true(s.puts == 5 && s.replaced == 4 && s.refused == 2);
    struct tl_entry *same = tl_memory_get(m, TL_STR("key"));
    assert_true(tl_memory_put(m, same, INT64_MAX)); /* the very object that is there */
    tl_entry_unref(same);
    assert_int_equal(same->refs, 1);
    check_sums(m);
    tl_memory_free(m);
}

static void del_and_clear(void **state)
{
    (void)state;
    struct tl_memory *m = new_memory(MIB, 0, NULL);
    struct tl_entry *probe = tl_entry_new(TL_STR("key"), NULL, 0);
    assert_non_null(probe);
    assert_false(tl_memory_del(m, TL_STR("key"), NULL));
    put(m, "key", 5, 10, INT64_MAX);
    for (probe->general.ms = 4; probe->general.ms <= 5; probe->general.ms++)
        assert_false(tl_memory_del(m, TL_STR("key"), probe));
    assert_true(version_of(m, "key") == 5);
    assert_true(tl_memory_del(m, TL_STR("key"), probe)); /* 6 */
    assert_true(version_of(m, "key") == -1);
    put(m, "key", 1, 10, INT64_MAX);
    assert_true(tl_memory_del(m, TL_STR("key"), NULL));
    size_t empty = check_sums(m).bytes;
    for (int i = 0; i < 500; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        assert_true(put(m, key, i, 100, INT64_MAX));
    }
    struct tl_entry *held = tl_memory_get(m, TL_STR("77"));
    tl_memory_clear(m);
    struct tl_memory_stats s = check_sums(m);
    assert_true(s.entries == 0 && s.payload_bytes == 0 && s.key_bytes == 0 && s.deleted == 502);
    assert_true(s.bytes < empty + 500 * 40); /* of tables alone */
    assert_true(held->refs == 1 && held->general.ms == 77);
    tl_entry_unref(held);
    assert_true(version_of(m, "77") == -1 && put(m, "77", 1, 1, INT64_MAX) && version_of(m, "77") == 1);
    tl_entry_unref(probe);
    tl_memory_free(m);
}

static void expires_when_asked_for(void **state)
{
    (void)state;
    /* Also where the count of ticks comes round, and before 1970. */
    const int64_t starts[] = {1700000000000, 0, ((INT64_C(1) << 28) - 3) * 16, -5000, (INT64_C(1) << 32) * 16 - 40};
    for (size_t i = 0; i < TL_COUNT(starts); i++) {
        struct fake_clock clock = {.ms = starts[i]};
        struct tl_memory *m = new_memory(MIB, 0, &clock);
        for (int64_t ttl = 1; ttl <= 2000; ttl = ttl * 3 / 2 + 1) {
            clock.ms = starts[i];
            assert_true(put(m, "key", 1, 10, clock.ms + ttl));
            clock.ms = starts[i] + ttl - 1;
            assert_true(version_of(m, "key") == 1);
            clock.ms = starts[i] + ttl + 32;
            assert_true(version_of(m, "key") == -1);
        }
        put(m, "key", 9, 10, clock.ms - 1); /* expired when it came */
        assert_true(version_of(m, "key") == -1);
        put(m, "key", 9, 10, clock.ms + 100);
        put(m, "key", 9, 10, clock.ms + 10000); /* renewed */
        clock.ms += 5000;
        assert_true(version_of(m, "key") == 9);
        clock.ms += 6000;
        assert_true(put(m, "key", 3, 10, INT64_MAX)); /* older than what is there, but that has expired */
        clock.ms += INT64_C(100) * 365 * 86400000;
        assert_true(version_of(m, "key") == 3);
        put(m, "key", 4, 10, INT64_MAX - 1);
        clock.ms += INT64_C(23) * 86400000;
        assert_true(version_of(m, "key") == 4);
        clock.ms += INT64_C(2) * 86400000;
        assert_true(version_of(m, "key") == -1);
        check_sums(m);
        tl_memory_free(m);
    }
}

/* A clock that is set back by an hour keeps what it is asked to keep, and nothing longer than it was meant to. */
static void clock_set_back(void **state)
{
    (void)state;
    struct fake_clock clock = {.ms = 1700000000000};
    struct tl_memory *m = new_memory(MIB, 0, &clock);
    put(m, "before", 1, 10, clock.ms + 1000);
    clock.ms -= 3600000;
    put(m, "after", 1, 10, clock.ms + 1000);
    assert_true(version_of(m, "before") == 1 && version_of(m, "after") == 1);
    clock.ms += 1016;
    assert_int_equal(tl_memory_expire(m, 10), 1);
    assert_true(version_of(m, "before") == 1 && version_of(m, "after") == -1);
    clock.ms += 3600000;
    assert_int_equal(tl_memory_expire(m, 10), 1);
    check_sums(m);
    tl_memory_free(m);
}

static void expires_by_itself(void **state)
{
    (void)state;
    enum { N = 20000, NEVER = 1000, STEP_MS = 64 };
    struct fake_clock clock = {.ms = 1700000000000};
    struct tl_memory *m = new_memory((size_t)64 * MIB, 0, &clock);
    struct tl_rng rng;
    tl_rng_seed(&rng, 3);
    static int64_t at[N];
    int64_t start = clock.ms;
    char key[24];
    for (int i = 0; i < N + NEVER; i++) {
        snprintf(key, sizeof key, "key %d", i);
        int64_t expires = start + (int64_t)tl_rng_below(&rng, 100000);
        if (i < N) at[i] = expires;
        assert_true(put(m, key, 1, 100, i < N ? expires : INT64_MAX));
    }
    assert_int_equal(check_sums(m).entries, N + NEVER);
    for (size_t gone = 0; clock.ms < start + 110000; clock.ms += STEP_MS) {
        size_t want = 0, sure = 0, max = tl_rng_below(&rng, 3) ? SIZE_MAX : 5;
        for (int i = 0; i < N; i++) {
            want += at[i] <= clock.ms;
            sure += at[i] + 16 <= clock.ms;
        }
        size_t now = tl_memory_expire(m, max);
        assert_true(now <= max);
        gone += now;
        assert_true(gone <= want && (now == max || gone >= sure));
        assert_int_equal(check_sums(m).entries, N + NEVER - gone);
    }
    assert_int_equal(tl_memory_expire(m, SIZE_MAX), 0);
    assert_int_equal(tl_memory_expire(m, 0), 0);
    assert_int_equal(check_sums(m).expired, N);
    tl_memory_free(m);
}

static void large_entries(void **state)
{
    (void)state;
    struct tl_memory *m = new_memory((size_t)8 * MIB, 8, NULL); /* a shard's part is 1 MiB */
    for (int i = 0; i < 30; i++) {
        char key[16];
        snprintf(key, sizeof key, "small %d", i);
        assert_true(put(m, key, 1, 200000, INT64_MAX));
    }
    assert_true(put(m, "half", 1, (size_t)4 * MIB - 8192, INT64_MAX));
    assert_true(version_of(m, "half") == 1);
    assert_false(put(m, "more", 1, (size_t)4 * MIB, INT64_MAX));
    assert_true(version_of(m, "more") == -1);
    assert_false(put(m, "half", 2, (size_t)4 * MIB, INT64_MAX));
    assert_true(version_of(m, "half") == 1);
    struct tl_memory_stats s = check_sums(m);
    assert_true(s.refused == 2 && s.evicted >= 10 && s.entries >= 15);
    tl_memory_free(m);
}

/* One shard's queues by hand: entries of one size, C of them fit. */
static void queues(void **state)
{
    (void)state;
    struct tl_memory *m = new_memory(65536, 1, NULL);
    struct tl_memory_stats s = {0};
    char key[16];
    int n = 0;
    for (; s.evicted == 0; n++) {
        snprintf(key, sizeof key, "k%06d", n);
        assert_true(put(m, key, 1, 1000, INT64_MAX));
        s = check_sums(m);
    }
    struct tl_entry *held = tl_memory_get(m, TL_STR("k000002")), *other = tl_memory_get(m, TL_STR("k000003"));
    assert_true(held && held->refs == 2);
    tl_entry_unref(other);
    other = tl_memory_get(m, TL_STR("k000003")); /* used twice: moves to main */
    assert_true(version_of(m, "k000000") == -1);
    /* Replaced, it is still the oldest, and still unused. */
    assert_true(put(m, "k000001", 2, 1000, INT64_MAX));
    assert_true(put(m, "k000003", 2, 1000, INT64_MAX));
    for (int i = 0; i < 2; i++, n++) {
        snprintf(key, sizeof key, "k%06d", n);
        assert_true(put(m, key, 1, 1000, INT64_MAX));
    }
    assert_false(tl_memory_del(m, TL_STR("k000001"), NULL));
    assert_false(tl_memory_del(m, TL_STR("k000002"), NULL)); /* used once is not enough */
    assert_true(held->refs == 1 && other->refs == 1);
    tl_entry_unref(held);
    tl_entry_unref(other);
    for (int i = 0; i < 300; i++, n++) { /* a scan passes by main */
        snprintf(key, sizeof key, "k%06d", n);
        assert_true(put(m, key, 1, 1000, INT64_MAX));
    }
    assert_true(version_of(m, "k000003") == 2);
    /* The ghost remembers what the scan pushed out last: it comes back into main at once, past the next scan. */
    s = check_sums(m);
    snprintf(key, sizeof key, "k%06d", n - (int)s.entries - 1);
    assert_true(version_of(m, key) == -1 && put(m, key, 5, 1000, INT64_MAX));
    struct tl_entry *last = tl_memory_get(m, tl_str(key));
    assert_non_null(last);
    for (int i = 0; i < 300; i++, n++) {
        char next[16];
        snprintf(next, sizeof next, "k%06d", n);
        assert_true(put(m, next, 1, 1000, INT64_MAX));
    }
    assert_true(version_of(m, key) == 5);
    tl_entry_unref(last);
    tl_memory_free(m);
}

static void hottest(void **state)
{
    (void)state;
    enum { N = 400 };
    struct fake_clock clock = {.ms = 1700000000000};
    struct tl_memory *m = new_memory((size_t)16 * MIB, 0, &clock);
    struct tl_entry *out[N + 1];
    assert_int_equal(tl_memory_hottest(m, out, N), 0);
    char key[16];
    for (int i = 0; i < N; i++) {
        snprintf(key, sizeof key, "%d", i);
        assert_true(put(m, key, i % 4, 10, i < 300 ? INT64_MAX : clock.ms + 10));
        for (int k = 0; k < i % 4; k++) assert_true(version_of(m, key) >= 0);
    }
    assert_int_equal(tl_memory_hottest(m, out, 0), 0);
    const size_t wanted[] = {1, 75, 100, N + 1};
    for (size_t w = 0; w < TL_COUNT(wanted); w++) {
        clock.ms += w ? 1000 : 0;
        size_t n = tl_memory_hottest(m, out, wanted[w]);
        assert_int_equal(n, TL_MIN(wanted[w], (size_t)300));
        for (size_t i = 0; i < n; i++) {
            assert_true(w == 0 || out[i]->general.ms == 3 - (int64_t)(i / 75));
            assert_int_equal(out[i]->refs, 2);
        }
        for (size_t i = 0; i < n; i++) tl_entry_unref(out[i]);
    }
    check_sums(m);
    tl_memory_free(m);
}

static size_t heap_in_use(void)
{
    struct mallinfo2 i = mallinfo2();
    return i.uordblks + i.hblkhd;
}

/* Random keys and sizes. The allocator's caches of freed blocks count as in use for it, not for the tier. */
static void never_over_the_bound(void **state)
{
    (void)state;
    const size_t slack = 512 * 1024;
    size_t before = heap_in_use();
    struct tl_memory *m = new_memory((size_t)16 * MIB, 0, NULL);
    struct tl_memory_stats s;
    struct tl_rng rng;
    tl_rng_seed(&rng, 9);
    uint64_t kept = 0;
    for (int i = 0; i < PUTS; i++) {
        char key[24];
        snprintf(key, sizeof key, "k%u", (unsigned)tl_rng_below(&rng, 1 << 20));
        uint64_t shape = (unsigned)i * UINT64_C(8) / PUTS; /* large, then small, then either, and again */
        size_t n = shape % 3 == 1 || (shape % 3 == 2 && i % 2) ? tl_rng_below(&rng, 200) : tl_rng_below(&rng, 65537);
        kept += put(m, key, i, n, INT64_MAX);
        tl_memory_stats(m, &s);
        assert_true(s.bytes <= s.cap_bytes);
        if (i % (PUTS / 100) == 0) {
            check_sums(m);
            size_t heap = heap_in_use() - before;
            if (!SANITIZED && (heap > s.bytes + slack || heap + slack < s.bytes))
                fail_msg("put %d: %zu bytes counted, %zu in the heap", i, s.bytes, heap);
        }
    }
    s = check_sums(m);
    assert_true(kept == PUTS && s.puts == PUTS && s.refused == 0);
    assert_true(s.bytes > s.cap_bytes - 2 * 65536);
    tl_memory_free(m);
    if (!SANITIZED) assert_true(heap_in_use() <= before + slack);
}

static void hit_ratios(void **state)
{
    (void)state;
    const struct s3_setup setup = {(size_t)4 * MIB, 256, 100000, SANITIZED ? 150000 : 800000};
    for (size_t i = 0; i < S3_TRACES; i++) {
        double ours, theirs;
        s3_compare(&s3_trace_kinds[i], &setup, &ours, &theirs);
        print_message("%s: %.4f, simulated %.4f\n", s3_trace_kinds[i].name, ours, theirs);
        assert_true(ours > 0.2 && fabs(ours - theirs) <= 0.01);
    }
}

/* ---- threads ---- */

struct worker {
    struct tl_memory *m;
    pthread_t thread;
    unsigned number;
    bool wrong;
};

/* The payload says the key and the version, so that a value under a wrong key is seen. */
static struct tl_entry *said(struct tl_str key, int64_t version, size_t n)
{
    struct tl_entry *e = tl_entry_new(key, NULL, n);
    if (!e) return NULL;
    e->general.ms = version;
    memset(tl_entry_fill(e), key.p[key.n - 1] + (int)(version % 7), n);
    return e;
}

static bool is_said(const struct tl_entry *e, struct tl_str key)
{
    struct tl_str p = tl_entry_payload(e);
    char want = (char)(key.p[key.n - 1] + (int)(e->general.ms % 7));
    return tl_str_eq(tl_entry_key(e), key) && (p.n == 0 || (p.p[0] == want && p.p[p.n - 1] == want));
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct tl_rng rng;
    tl_rng_seed(&rng, w->number);
    for (int i = 0; i < OPS; i++) {
        char text[16];
        snprintf(text, sizeof text, "key %u", (unsigned)tl_rng_below(&rng, 8000));
        struct tl_str key = tl_str(text);
        uint64_t what = tl_rng_below(&rng, 1000);
        if (what < 600) {
            struct tl_entry *e = tl_memory_get(w->m, key);
            if (e && !is_said(e, key)) w->wrong = true;
            tl_entry_unref(e);
        } else if (what < 950) {
            struct tl_entry *e = said(key, i, tl_rng_below(&rng, 4000));
            int64_t expires = tl_rng_below(&rng, 2) ? INT64_MAX : tl_clock_wall_ms(&tl_clock_system) + 2;
            if (e) tl_memory_put(w->m, e, expires);
            tl_entry_unref(e);
        } else if (what < 980) {
            tl_memory_del(w->m, key, NULL);
        } else if (what < 990) {
            tl_memory_expire(w->m, 100);
        } else if (what < 998) {
            struct tl_entry *out[20];
            size_t n = tl_memory_hottest(w->m, out, TL_COUNT(out));
            for (size_t k = 0; k < n; k++) tl_entry_unref(out[k]);
        } else if (what == 999 && i % 8 == 0) {
            tl_memory_clear(w->m);
        } else {
            struct tl_memory_stats s;
            tl_memory_stats(w->m, &s);
            if (s.bytes > s.cap_bytes) w->wrong = true;
        }
    }
    return NULL;
}

static void many_threads(void **state)
{
    (void)state;
    struct tl_memory *m = new_memory((size_t)4 * MIB, 0, NULL);
    struct worker workers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.m = m, .number = i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_false(workers[i].wrong);
    }
    struct tl_memory_stats s = check_sums(m);
    assert_true(s.hits && s.misses && s.replaced && s.evicted && s.expired && s.deleted);
    tl_memory_clear(m);
    assert_int_equal(check_sums(m).entries, 0);
    tl_memory_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options),        cmocka_unit_test(puts_by_version),
        cmocka_unit_test(del_and_clear),  cmocka_unit_test(expires_when_asked_for),
        cmocka_unit_test(clock_set_back), cmocka_unit_test(expires_by_itself),
        cmocka_unit_test(large_entries),  cmocka_unit_test(queues),
        cmocka_unit_test(hottest),        cmocka_unit_test(never_over_the_bound),
        cmocka_unit_test(hit_ratios),     cmocka_unit_test(many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
