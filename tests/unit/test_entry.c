/* SPDX-License-Identifier: Apache-2.0 */
/* Entries: their order, their expiry, and the wire form with everything that can be wrong with it. */
#include "support.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/rng.h"
#include "base/util.h"
#include "cache/entry.h"

enum { PAIRS = 200000 };

static struct tl_entry *general(struct tl_str payload)
{
    struct tl_entry *e = tl_entry_new(TL_STR("bars/600519.SH/1d"), payload.p, payload.n);
    assert_non_null(e);
    e->kind = TL_ENTRY_GENERAL;
    e->failure = 7;
    e->generation = UINT64_C(0x0102030405060708);
    e->general.ms = -5;
    e->general.instance = UINT64_C(0xfedcba9876543210);
    e->general.seq = 77;
    e->general.soft_ttl_ms = 1000;
    e->general.hard_ttl_ms = TL_TTL_NEVER;
    return e;
}

static struct tl_entry *series(struct tl_str payload)
{
    struct tl_entry *e = tl_entry_new(TL_STR("ma/600519.SH/1d"), payload.p, payload.n);
    assert_non_null(e);
    e->kind = TL_ENTRY_SERIES;
    e->generation = 3;
    e->series.revision = INT64_C(1) << 40;
    e->series.last_ts = -86400000;
    e->series.token = UINT64_MAX - 1;
    e->series.bars = 1259;
    e->series.kernel_version = 0xabcd;
    return e;
}

/* [own] header and payload; a block of exactly that size, so that a sanitizer sees any read behind it. */
static unsigned char *wire_of(const struct tl_entry *e, size_t *n)
{
    struct tl_str payload = tl_entry_payload(e);
    *n = TL_ENTRY_HEADER + payload.n;
    unsigned char *wire = malloc(*n);
    assert_non_null(wire);
    tl_entry_encode_header(e, wire);
    if (payload.n) memcpy(wire + TL_ENTRY_HEADER, payload.p, payload.n);
    return wire;
}

static enum tl_status decode(const void *wire, size_t n, struct tl_entry **out, struct tl_err *err)
{
    return tl_entry_decode(TL_STR("the key"), (struct tl_str){wire, n}, out, err);
}

/* As somebody who means to deceive would do it. */
static void seal(unsigned char *wire, size_t n)
{
    uint32_t crc = tl_crc32c(tl_crc32c(0, wire, 8), wire + 12, n - 12);
    for (size_t i = 0; i < 4; i++) wire[8 + i] = (unsigned char)(crc >> 8 * i);
}

static void assert_same(const struct tl_entry *a, const struct tl_entry *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->failure, b->failure);
    assert_true(a->generation == b->generation);
    assert_int_equal(tl_entry_cmp(a, b), 0);
    assert_true(tl_entry_soft_ms(a) == tl_entry_soft_ms(b) && tl_entry_hard_ms(a) == tl_entry_hard_ms(b));
    assert_true(tl_str_eq(tl_entry_payload(a), tl_entry_payload(b)));
}

static void round_trip(void **state)
{
    (void)state;
    static char large[TL_ENTRY_MAX];
    memset(large, 'x', sizeof large);
    const struct tl_str payloads[] = {{NULL, 0}, TL_STR("\0"), TL_STR("{\"close\":1}"), {large, sizeof large}};
    for (size_t i = 0; i < 2 * TL_COUNT(payloads); i++) {
        struct tl_entry *e = i % 2 ? series(payloads[i / 2]) : general(payloads[i / 2]), *got = NULL;
        size_t n;
        unsigned char *wire = wire_of(e, &n);
        struct tl_err err;
        assert_int_equal(decode(wire, n, &got, &err), TL_OK);
        assert_same(e, got);
        assert_true(tl_str_eq(tl_entry_key(got), TL_STR("the key")));
        assert_int_equal(got->bytes[got->key_n], 0);
        free(wire);
        tl_entry_unref(e);
        tl_entry_unref(got);
    }
}

static void keys_of_every_length(void **state)
{
    (void)state;
    char key[TL_KEY_MAX];
    memset(key, 'k', sizeof key);
    for (size_t n = 0; n <= TL_KEY_MAX; n++) {
        struct tl_entry *e = tl_entry_new((struct tl_str){key, n}, "ab", 2);
        assert_non_null(e);
        assert_true(tl_str_eq(tl_entry_key(e), (struct tl_str){key, n}));
        assert_true(tl_str_eq(tl_entry_payload(e), TL_STR("ab")));
        memcpy(tl_entry_fill(e), "cd", 2);
        assert_true(tl_str_eq(tl_entry_payload(e), TL_STR("cd")));
        assert_ptr_equal(tl_entry_ref(e), e);
        tl_entry_unref(e);
        assert_int_equal(e->refs, 1);
        tl_entry_unref(e);
    }
    tl_entry_unref(NULL);
}

static void refuse(const unsigned char *wire, size_t n, enum tl_status want, const char *text)
{
    struct tl_entry *got = NULL;
    struct tl_err err = {0};
    enum tl_status st = decode(wire, n, &got, &err);
    if (want == TL_OK)
        assert_true(st == TL_CORRUPT || st == TL_TOO_NEW);
    else
        assert_int_equal(st, want);
    assert_null(got);
    if (text && !strstr(err.text, text)) fail_msg("\"%s\" does not say \"%s\"", err.text, text);
}

static void every_bit_counts(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        struct tl_entry *e = kind ? series(TL_STR("payload")) : general(TL_STR("payload"));
        size_t n;
        unsigned char *wire = wire_of(e, &n);
        for (size_t bit = 0; bit < n * 8; bit++) {
            wire[bit / 8] ^= (unsigned char)(1u << bit % 8);
            refuse(wire, n, bit / 8 == 3 ? TL_TOO_NEW : TL_CORRUPT, bit / 8 == 3 ? "format" : NULL);
            wire[bit / 8] ^= (unsigned char)(1u << bit % 8);
        }
        free(wire);
        tl_entry_unref(e);
    }
}

static void every_length(void **state)
{
    (void)state;
    struct tl_entry *e = general(TL_STR("payload"));
    size_t n;
    unsigned char *wire = wire_of(e, &n);
    for (size_t k = 0; k <= n + 1; k++) {
        if (k == n) continue;
        unsigned char *part = calloc(1, k ? k : 1);
        assert_non_null(part);
        memcpy(part, wire, TL_MIN(k, n));
        refuse(part, k, TL_CORRUPT, k < TL_ENTRY_HEADER ? "no entry" : "bytes of 7 are there");
        free(part);
    }
    refuse(NULL, 0, TL_CORRUPT, "0 bytes");
    free(wire);
    tl_entry_unref(e);
}

/* The checksum is right, what it seals is not. */
static void sealed_but_wrong(void **state)
{
    (void)state;
    static const struct {
        int kind;
        size_t at;
        unsigned char value;
        enum tl_status want;
        const char *text;
    } rows[] = {
        {TL_ENTRY_GENERAL, 0, 'X', TL_CORRUPT, "not an entry"},  {TL_ENTRY_GENERAL, 3, 0, TL_TOO_NEW, "format 0"},
        {TL_ENTRY_GENERAL, 3, 2, TL_TOO_NEW, "format 2"},        {TL_ENTRY_GENERAL, 4, 2, TL_CORRUPT, "kind 2"},
        {TL_ENTRY_GENERAL, 4, 255, TL_CORRUPT, "kind 255"},      {TL_ENTRY_GENERAL, 6, 1, TL_CORRUPT, "kind 0"},
        {TL_ENTRY_GENERAL, 7, 1, TL_CORRUPT, "kind 0"},          {TL_ENTRY_GENERAL, 44, 1, TL_CORRUPT, "kind 0"},
        {TL_ENTRY_GENERAL, 55, 1, TL_CORRUPT, "kind 0"},         {TL_ENTRY_SERIES, 54, 1, TL_CORRUPT, "kind 1"},
        {TL_ENTRY_SERIES, 55, 1, TL_CORRUPT, "kind 1"},          {TL_ENTRY_SERIES, 56, 1, TL_CORRUPT, "kind 1"},
        {TL_ENTRY_SERIES, 63, 1, TL_CORRUPT, "kind 1"},          {TL_ENTRY_SERIES, 12, 8, TL_CORRUPT, "7 bytes of 8"},
        {TL_ENTRY_SERIES, 15, 255, TL_CORRUPT, "7 bytes of 42"},
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        struct tl_entry *e = rows[i].kind ? series(TL_STR("payload")) : general(TL_STR("payload"));
        size_t n;
        unsigned char *wire = wire_of(e, &n);
        wire[rows[i].at] = rows[i].value;
        seal(wire, n);
        refuse(wire, n, rows[i].want, rows[i].text);
        free(wire);
        tl_entry_unref(e);
    }
}

static void larger_than_the_maximum(void **state)
{
    (void)state;
    struct tl_entry *e = general(TL_STR(""));
    size_t n = TL_ENTRY_HEADER + TL_ENTRY_MAX + 1;
    unsigned char *wire = calloc(1, n);
    assert_non_null(wire);
    tl_entry_encode_header(e, wire);
    uint32_t payload = TL_ENTRY_MAX + 1;
    for (size_t i = 0; i < 4; i++) wire[12 + i] = (unsigned char)(payload >> 8 * i);
    seal(wire, n);
    refuse(wire, n, TL_CORRUPT, "50331649");
    free(wire);
    tl_entry_unref(e);
}

static int sign(int v)
{
    return (v > 0) - (v < 0);
}

/* Few values, so that ties are frequent and every field decides now and then. */
static int64_t some(struct tl_rng *rng)
{
    static const int64_t values[] = {INT64_MIN, -256, -1, 0, 1, 255, 256, INT64_C(1) << 32, INT64_MAX};
    return values[tl_rng_below(rng, tl_rng_below(rng, 4) ? 3 : TL_COUNT(values))];
}

static void fill_order(struct tl_entry *e, struct tl_rng *rng, bool is_series)
{
    e->kind = is_series;
    if (is_series) {
        e->series.revision = some(rng);
        e->series.bars = (uint32_t)some(rng);
        e->series.last_ts = some(rng);
        e->series.kernel_version = (uint16_t)some(rng);
        e->series.token = (uint64_t)some(rng);
    } else {
        e->general.ms = some(rng);
        e->general.instance = (uint64_t)some(rng);
        e->general.seq = (uint32_t)some(rng);
        e->general.soft_ttl_ms = (uint32_t)some(rng);
        e->general.hard_ttl_ms = (uint32_t)some(rng);
    }
}

static void order_is_order_of_bytes(void **state)
{
    (void)state;
    struct tl_rng rng;
    tl_rng_seed(&rng, 4);
    struct tl_entry *a = tl_entry_new(TL_STR("k"), "a", 1), *b = tl_entry_new(TL_STR("k"), "b", 1);
    assert_true(a && b);
    size_t seen[3] = {0};
    for (int i = 0; i < PAIRS; i++) {
        fill_order(a, &rng, i % 2);
        fill_order(b, &rng, i % 2);
        unsigned char x[TL_ENTRY_HEADER], y[TL_ENTRY_HEADER];
        tl_entry_encode_header(a, x);
        tl_entry_encode_header(b, y);
        int bytes = sign(memcmp(x + TL_ENTRY_ORDER_AT, y + TL_ENTRY_ORDER_AT, TL_ENTRY_ORDER));
        assert_int_equal(bytes, sign(tl_entry_cmp(a, b)));
        assert_int_equal(-bytes, sign(tl_entry_cmp(b, a)));
        seen[bytes + 1]++;
    }
    for (size_t i = 0; i < 3; i++) assert_true(seen[i] > PAIRS / 1000);
    fill_order(a, &rng, true);
    fill_order(b, &rng, false);
    assert_true(tl_entry_cmp(b, a) < 0 && tl_entry_cmp(a, b) > 0);
    tl_entry_unref(a);
    tl_entry_unref(b);
}

static void expiry(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        uint32_t ttl_ms;
        int64_t want;
    } rows[] = {
        {1000, 0, 1000},
        {1000, 5, 1005},
        {-10, 5, -5},
        {1000, TL_TTL_NEVER - 1, 1000 + (int64_t)TL_TTL_NEVER - 1},
        {1000, TL_TTL_NEVER, INT64_MAX},
        {INT64_MAX - 4, 5, INT64_MAX},
        {INT64_MAX, 1, INT64_MAX},
    };
    struct tl_entry *e = general(TL_STR(""));
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        e->general.ms = rows[i].ms;
        e->general.soft_ttl_ms = rows[i].ttl_ms;
        e->general.hard_ttl_ms = TL_TTL_NEVER;
        assert_true(tl_entry_soft_ms(e) == rows[i].want && tl_entry_hard_ms(e) == INT64_MAX);
        e->general.soft_ttl_ms = 0;
        e->general.hard_ttl_ms = rows[i].ttl_ms;
        assert_true(tl_entry_hard_ms(e) == rows[i].want && tl_entry_soft_ms(e) == rows[i].ms);
    }
    tl_entry_unref(e);
    e = series(TL_STR(""));
    assert_true(tl_entry_soft_ms(e) == INT64_MAX && tl_entry_hard_ms(e) == INT64_MAX);
    tl_entry_unref(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),       cmocka_unit_test(keys_of_every_length),
        cmocka_unit_test(every_bit_counts), cmocka_unit_test(every_length),
        cmocka_unit_test(sealed_but_wrong), cmocka_unit_test(larger_than_the_maximum),
        cmocka_unit_test(expiry),           cmocka_unit_test(order_is_order_of_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
