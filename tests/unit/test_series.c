/* SPDX-License-Identifier: Apache-2.0 */
/* Bars as columns: the merge against a plain oracle and its laws over random splits, and the bytes of chunks: every bit
 * survives, every cut and every flipped bit is refused. */
#include "support.h"

#include "base/hash.h"
#include "series/codec.h"
#include "series/series.h"

#include <math.h>

static uint64_t next_random(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s * 0x2545F4914F6CDD1DULL;
}

static double from_bits(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static struct tl_bar bar_of(int64_t ts, double price)
{
    return (struct tl_bar){ts, {price, price + 1, price - 1, price + 0.5, 100 * price, 1000 * price}};
}

static void add(struct tl_bars *b, struct tl_bar bar)
{
    assert_int_equal(tl_bars_append(b, &bar), TL_OK);
}

static void assert_same_bars(const struct tl_bars *a, const struct tl_bars *b)
{
    assert_int_equal(a->n, b->n);
    if (a->n == 0) return;
    assert_memory_equal(a->ts_ms, b->ts_ms, a->n * sizeof *a->ts_ms);
    for (size_t c = 0; c < TL_BAR_COLUMNS; c++) assert_memory_equal(a->col[c], b->col[c], a->n * sizeof(double));
}

/* ---- columns ---- */

static void test_columns_grow_and_are_found(void **state)
{
    (void)state;
    struct tl_bars b;
    tl_bars_init(&b);
    assert_int_equal(tl_bars_lower_bound(&b, 0), 0);
    for (int i = 0; i < 1000; i++) add(&b, bar_of(10 * i, i));
    for (size_t i = 0; i < 1000; i++) {
        struct tl_bar at = tl_bars_at(&b, i), want = bar_of(10 * (int64_t)i, (double)i);
        assert_memory_equal(&at, &want, sizeof at);
        assert_int_equal(tl_bars_lower_bound(&b, 10 * (int64_t)i), i);
        assert_int_equal(tl_bars_lower_bound(&b, 10 * (int64_t)i - 9), i);
    }
    assert_int_equal(tl_bars_lower_bound(&b, 9991), 1000);
    assert_int_equal(tl_bars_lower_bound(&b, INT64_MIN), 0);
    assert_int_equal(tl_bars_reserve(&b, SIZE_MAX), TL_NOMEM);
    assert_int_equal(tl_bars_reserve(&b, SIZE_MAX / 50), TL_NOMEM);
    assert_int_equal(b.n, 1000);
    assert_true(tl_bars_at(&b, 999).ts_ms == 9990);
    tl_bars_release(&b);
    assert_null(b.ts_ms);
}

static void test_versions_are_ordered(void **state)
{
    (void)state;
    const struct tl_version rising[] = {{0, 0, 0}, {0, 0, 1}, {0, 1, 0}, {1, 0, 0}, {1, 0, 5}, {1, 2, 3}, {2, 1, 1}};
    for (size_t i = 0; i < sizeof rising / sizeof *rising; i++)
        for (size_t k = 0; k < sizeof rising / sizeof *rising; k++)
            assert_int_equal(tl_version_cmp(rising[i], rising[k]), i < k ? -1 : i > k);
}

/* ---- merge ---- */

static void merge(const struct tl_bars *have, bool provisional, const struct tl_bars *in, struct tl_bars *out,
                  struct tl_merge *what)
{
    tl_bars_init(out);
    assert_int_equal(tl_bars_merge(have, provisional, in, out, what), TL_OK);
}

static void assert_merge(struct tl_merge m, size_t appended, size_t changed, size_t inserted, size_t unchanged,
                         size_t first)
{
    assert_int_equal(m.appended, appended);
    assert_int_equal(m.changed, changed);
    assert_int_equal(m.inserted, inserted);
    assert_int_equal(m.unchanged, unchanged);
    assert_int_equal(m.first_touched, first);
    assert_int_equal(tl_merge_rewrites_history(&m), changed + inserted > 0);
}

/* Every bar goes to one side or to both: the union is the whole in either order, and merging it again does nothing. */
static void test_merge_of_random_splits_is_the_union(void **state)
{
    (void)state;
    uint64_t seed = 0x5EED;
    for (int round = 0; round < 300; round++) {
        struct tl_bars all, a, b, out, again;
        tl_bars_init(&all), tl_bars_init(&a), tl_bars_init(&b);
        size_t n = next_random(&seed) % 150, both = 0, only_b_before = 0, after = 0, first = SIZE_MAX;
        int64_t ts = -5000;
        for (size_t i = 0; i < n; i++) {
            ts += 1 + (int64_t)(next_random(&seed) % 100);
            struct tl_bar bar = bar_of(ts, (double)(next_random(&seed) % 1000));
            unsigned side = 1 + (unsigned)(next_random(&seed) % 3);
            add(&all, bar);
            if (side & 1) add(&a, bar);
            if (side & 2) add(&b, bar);
            both += side == 3;
            if (side == 2 && first == SIZE_MAX) first = i;
        }
        for (size_t i = 0; i < b.n; i++) {
            bool in_a = false;
            for (size_t k = 0; k < a.n; k++) in_a |= a.ts_ms[k] == b.ts_ms[i];
            bool behind = a.n == 0 || b.ts_ms[i] > a.ts_ms[a.n - 1];
            after += !in_a && behind;
            only_b_before += !in_a && !behind;
        }
        struct tl_merge what;
        merge(&a, round % 2 == 0, &b, &out, &what);
        assert_same_bars(&out, &all);
        assert_merge(what, after, 0, only_b_before, both, first == SIZE_MAX ? n : first);
        merge(&out, false, &b, &again, &what);
        assert_same_bars(&again, &all);
        assert_merge(what, 0, 0, 0, b.n, n);
        tl_bars_release(&again);
        merge(&b, false, &a, &again, &what);
        assert_same_bars(&again, &all);
        tl_bars_release(&again), tl_bars_release(&out);
        tl_bars_release(&all), tl_bars_release(&a), tl_bars_release(&b);
    }
}

static void test_merge_counts_and_incoming_wins(void **state)
{
    (void)state;
    struct tl_bars have, in, out;
    struct tl_merge what;
    tl_bars_init(&have), tl_bars_init(&in);
    for (int i = 1; i <= 4; i++) add(&have, bar_of(10 * i, i));
    add(&in, bar_of(15, 7)), add(&in, bar_of(20, 2)), add(&in, bar_of(30, 8));
    add(&in, bar_of(50, 5)), add(&in, bar_of(60, 6));
    merge(&have, false, &in, &out, &what);
    assert_merge(what, 2, 1, 1, 1, 1);
    const int64_t ts[] = {10, 15, 20, 30, 40, 50, 60};
    const double price[] = {1, 7, 2, 8, 4, 5, 6};
    assert_int_equal(out.n, 7);
    for (size_t i = 0; i < 7; i++) {
        struct tl_bar at = tl_bars_at(&out, i), want = bar_of(ts[i], price[i]);
        assert_memory_equal(&at, &want, sizeof at);
    }
    tl_bars_release(&out), tl_bars_release(&in), tl_bars_release(&have);
}

static void test_only_a_provisional_last_bar_may_be_replaced(void **state)
{
    (void)state;
    static const struct {
        bool provisional;
        int64_t ts;
        double price;
        size_t changed, unchanged, first;
    } rows[] = {
        {true, 30, 9, 0, 0, 2},  {false, 30, 9, 1, 0, 2}, {true, 20, 9, 1, 0, 1},
        {false, 20, 9, 1, 0, 1}, {true, 30, 3, 0, 1, 3},  {false, 30, 3, 0, 1, 3},
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        struct tl_bars have, in, out;
        struct tl_merge what;
        tl_bars_init(&have), tl_bars_init(&in);
        for (int i = 1; i <= 3; i++) add(&have, bar_of(10 * i, i));
        add(&in, bar_of(rows[r].ts, rows[r].price));
        merge(&have, rows[r].provisional, &in, &out, &what);
        assert_merge(what, 0, rows[r].changed, 0, rows[r].unchanged, rows[r].first);
        assert_true(out.col[TL_BAR_OPEN][rows[r].ts / 10 - 1] == rows[r].price);
        tl_bars_release(&out), tl_bars_release(&in), tl_bars_release(&have);
    }
}

static void test_the_unknown_does_not_overwrite_the_known(void **state)
{
    (void)state;
    const double nan_other = from_bits(0x7FF8000000000123ULL);
    struct tl_bars have, in, out;
    struct tl_merge what;
    tl_bars_init(&have), tl_bars_init(&in);
    for (int i = 1; i <= 4; i++) {
        struct tl_bar bar = bar_of(i, i);
        if (i >= 3) bar.v[TL_BAR_VOLUME] = NAN;
        add(&have, bar);
        if (i == 1) bar.v[TL_BAR_VOLUME] = bar.v[TL_BAR_AMOUNT] = NAN; /* nothing new: unchanged */
        if (i == 2) bar.v[TL_BAR_VOLUME] = NAN, bar.v[TL_BAR_CLOSE] = 2.25;
        if (i == 3) bar.v[TL_BAR_VOLUME] = 33; /* becomes known: changed */
        if (i == 4) bar.v[TL_BAR_VOLUME] = nan_other;
        add(&in, bar);
    }
    merge(&have, false, &in, &out, &what);
    assert_merge(what, 0, 2, 0, 2, 1);
    assert_true(out.col[TL_BAR_VOLUME][0] == 100 && out.col[TL_BAR_AMOUNT][0] == 1000);
    assert_true(out.col[TL_BAR_VOLUME][1] == 200 && out.col[TL_BAR_CLOSE][1] == 2.25);
    assert_true(out.col[TL_BAR_VOLUME][2] == 33);
    assert_true(isnan(out.col[TL_BAR_VOLUME][3]));
    tl_bars_release(&out), tl_bars_release(&in), tl_bars_release(&have);
}

/* ---- chunks ---- */

/* Numbers that a conversion, a comparison or an arithmetic copy would bend. */
static double odd_number(uint64_t *seed)
{
    static const uint64_t bits[] = {
        0,
        0x8000000000000000ULL, /* -0 */
        1,                     /* smallest denormal */
        0x800FFFFFFFFFFFFFULL, /* largest denormal, negative */
        0x7FF0000000000000ULL,
        0xFFF0000000000000ULL,
        0x7FF8000000000000ULL,
        0x7FF80000DEADBEEFULL, /* quiet NaN with a payload */
        0x7FF0000000000001ULL, /* signalling NaN */
        0xFFFFFFFFFFFFFFFFULL,
        0x7FEFFFFFFFFFFFFFULL,
    };
    uint64_t r = next_random(seed);
    return from_bits(r % 3 ? bits[r / 3 % (sizeof bits / sizeof *bits)] : next_random(seed));
}

static const size_t row_counts[] = {1, 2, 3, 7, 8, 9, 63, 64, 65, 255, 511, 512};

static void test_rows_come_back_bit_for_bit(void **state)
{
    (void)state;
    uint64_t seed = 77;
    for (size_t r = 0; r < sizeof row_counts / sizeof *row_counts; r++)
        for (size_t columns = 1; columns <= 3; columns++)
            for (unsigned constant = 0; constant < 8; constant++) {
                size_t n = row_counts[r], got = 0;
                double rows[TL_CHUNK_ROWS * 3], back[TL_CHUNK_ROWS * 3];
                for (size_t i = 0; i < n * columns; i++)
                    if (i >= columns && (constant >> (i % columns) & 1))
                        memcpy(&rows[i], &rows[i % columns], 8);
                    else {
                        double v = odd_number(&seed);
                        memcpy(&rows[i], &v, 8);
                    }
                struct tl_buf buf;
                tl_buf_init(&buf, 0);
                tl_buf_puts(&buf, "before");
                tl_codec_put_rows(&buf, rows, n, columns);
                assert_int_equal(tl_buf_status(&buf, NULL), TL_OK);
                assert_true(buf.n <= 6 + 16 + columns * (8 + 8 * n) + 4);
                if (constant == 7) assert_int_equal(buf.n, 6 + 16 + columns * 16 + 4);
                struct tl_str chunk = {buf.p + 6, buf.n - 6};
                assert_int_equal(tl_codec_get_rows(chunk, back, n, columns, &got, NULL), TL_OK);
                assert_int_equal(got, n);
                assert_memory_equal(back, rows, n * columns * 8);
                assert_int_equal(tl_codec_get_rows(chunk, back, TL_CHUNK_ROWS, columns + 1, &got, NULL), TL_CORRUPT);
                if (n > 1) assert_int_equal(tl_codec_get_rows(chunk, back, n - 1, columns, &got, NULL), TL_CORRUPT);
                tl_buf_release(&buf);
            }
}

static void odd_bars(struct tl_bars *b, size_t n, uint64_t *seed)
{
    tl_bars_init(b);
    int64_t ts = INT64_MIN;
    for (size_t i = 0; i < n; i++) {
        struct tl_bar bar = {.ts_ms = ts};
        for (size_t c = 0; c < TL_BAR_COLUMNS; c++) bar.v[c] = odd_number(seed);
        if (i) bar.v[TL_BAR_AMOUNT] = b->col[TL_BAR_AMOUNT][0];
        add(b, bar);
        ts += 1 + (int64_t)(next_random(seed) >> 12);
    }
}

static void test_bars_come_back_bit_for_bit(void **state)
{
    (void)state;
    uint64_t seed = 78;
    struct tl_bars all, back;
    odd_bars(&all, 1500, &seed);
    for (size_t r = 0; r < sizeof row_counts / sizeof *row_counts; r++) {
        tl_bars_init(&back);
        for (size_t from = 0; from < all.n; from += row_counts[r]) {
            struct tl_buf buf;
            tl_buf_init(&buf, 0);
            size_t n = all.n - from < row_counts[r] ? all.n - from : row_counts[r];
            tl_codec_put_bars(&buf, &all, from, n);
            assert_int_equal(tl_codec_get_bars(tl_buf_str(&buf), &back, NULL), TL_OK);
            assert_int_equal(back.n, from + n);
            /* the same chunk once more does not rise */
            assert_int_equal(tl_codec_get_bars(tl_buf_str(&buf), &back, NULL), TL_CORRUPT);
            assert_int_equal(back.n, from + n);
            tl_buf_release(&buf);
        }
        assert_same_bars(&back, &all);
        tl_bars_release(&back);
    }
    tl_bars_release(&all);
}

static enum tl_status decode(bool bars, const char *p, size_t n)
{
    /* Exactly n bytes, so that a sanitizer sees any read behind them. */
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    if (n) memcpy(copy, p, n);
    struct tl_err err = {0};
    enum tl_status st;
    if (bars) {
        struct tl_bars out;
        tl_bars_init(&out);
        st = tl_codec_get_bars((struct tl_str){copy, n}, &out, &err);
        if (st != TL_OK) assert_int_equal(out.n, 0);
        tl_bars_release(&out);
    } else {
        double rows[TL_CHUNK_ROWS * 2];
        size_t got;
        st = tl_codec_get_rows((struct tl_str){copy, n}, rows, TL_CHUNK_ROWS, 2, &got, &err);
    }
    assert_int_equal(err.status, st);
    if (st != TL_OK) assert_true(err.text[0] != '\0');
    free(copy);
    return st;
}

static void chunk_of(bool bars, size_t n, struct tl_buf *out)
{
    uint64_t seed = 79;
    tl_buf_init(out, 0);
    if (bars) {
        struct tl_bars b;
        odd_bars(&b, n, &seed);
        tl_codec_put_bars(out, &b, 0, n);
        tl_bars_release(&b);
    } else {
        double rows[TL_CHUNK_ROWS * 2];
        for (size_t i = 0; i < 2 * n; i++) rows[i] = i % 2 ? 3.5 : (double)i;
        tl_codec_put_rows(out, rows, n, 2);
    }
    assert_int_equal(tl_buf_status(out, NULL), TL_OK);
}

static void test_every_cut_and_every_flipped_bit_is_refused(void **state)
{
    (void)state;
    for (int bars = 0; bars < 2; bars++) {
        struct tl_buf buf;
        chunk_of(bars, 20, &buf);
        assert_int_equal(decode(bars, buf.p, buf.n), TL_OK);
        assert_int_equal(decode(!bars, buf.p, buf.n), TL_CORRUPT);
        for (size_t n = 0; n < buf.n; n++) assert_int_equal(decode(bars, buf.p, n), TL_CORRUPT);
        for (size_t bit = 0; bit < buf.n * 8; bit++) {
            buf.p[bit / 8] = (char)(buf.p[bit / 8] ^ 1 << bit % 8);
            /* A flip in the version may look like a later format; version 0 never was. */
            enum tl_status want = bit / 8 == 4 && bit != 32 ? TL_TOO_NEW : TL_CORRUPT;
            assert_int_equal(decode(bars, buf.p, buf.n), want);
            buf.p[bit / 8] = (char)(buf.p[bit / 8] ^ 1 << bit % 8);
        }
        tl_buf_putc(&buf, '\0');
        assert_int_equal(decode(bars, buf.p, buf.n), TL_CORRUPT);
        tl_buf_release(&buf);
    }
}

/* A header that lies under a right checksum, byte by byte. */
static void test_lies_with_a_right_checksum_are_refused(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint8_t value;
        enum tl_status want;
    } rows[] = {
        {0, 'X', TL_CORRUPT}, {4, 0, TL_CORRUPT},    {4, TL_CODEC_VERSION + 1, TL_TOO_NEW},
        {4, 255, TL_TOO_NEW}, {5, 0, TL_CORRUPT},    {5, 1, TL_CORRUPT},
        {5, 3, TL_CORRUPT},   {6, 0, TL_CORRUPT},    {6, 1, TL_CORRUPT},
        {6, 3, TL_CORRUPT},   {7, 1, TL_CORRUPT},    {7, 255, TL_CORRUPT},
        {8, 0, TL_CORRUPT},   {8, 19, TL_CORRUPT},   {8, 21, TL_CORRUPT},
        {9, 2, TL_CORRUPT},   {9, 3, TL_CORRUPT},    {11, 255, TL_CORRUPT},
        {12, 1, TL_CORRUPT},  {15, 1, TL_CORRUPT},   {16, 1, TL_CORRUPT},
        {16, 2, TL_CORRUPT},  {16, 255, TL_CORRUPT}, {17, 1, TL_CORRUPT},
        {23, 1, TL_CORRUPT},  {16, 0, TL_OK},
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        struct tl_buf buf;
        chunk_of(false, 20, &buf);
        buf.p[rows[r].at] = (char)rows[r].value;
        uint32_t crc = tl_crc32c(0, buf.p, buf.n - 4);
        for (int k = 0; k < 4; k++) buf.p[buf.n - 4 + (size_t)k] = (char)(crc >> 8 * k);
        if (decode(false, buf.p, buf.n) != rows[r].want)
            fail_msg("byte %zu = %u: %s", rows[r].at, rows[r].value, tl_status_name(decode(false, buf.p, buf.n)));
        tl_buf_release(&buf);
    }
}

static void test_life_of_a_series(void **state)
{
    (void)state;
    struct tl_series s;
    tl_series_init(&s);
    assert_int_equal(s.n, 0);
    s.rows = malloc(16);
    s.n = 2;
    tl_series_release(&s);
    assert_null(s.rows);
    assert_int_equal(s.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns_grow_and_are_found),
        cmocka_unit_test(test_versions_are_ordered),
        cmocka_unit_test(test_merge_of_random_splits_is_the_union),
        cmocka_unit_test(test_merge_counts_and_incoming_wins),
        cmocka_unit_test(test_only_a_provisional_last_bar_may_be_replaced),
        cmocka_unit_test(test_the_unknown_does_not_overwrite_the_known),
        cmocka_unit_test(test_rows_come_back_bit_for_bit),
        cmocka_unit_test(test_bars_come_back_bit_for_bit),
        cmocka_unit_test(test_every_cut_and_every_flipped_bit_is_refused),
        cmocka_unit_test(test_lies_with_a_right_checksum_are_refused),
        cmocka_unit_test(test_life_of_a_series),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
