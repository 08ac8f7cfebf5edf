/* SPDX-License-Identifier: Apache-2.0 */
/* The simple average takes a short cut through its sums; whatever the numbers are, every bit must be that of adding the
 * newest bar and taking out the oldest, one after the other. Inputs are made so that the short cut fails often: ties,
 * sums that cross powers of two or zero, bars greater than their sum, infinities. */
#include "support.h"

#include "base/rng.h"
#include "base/util.h"

#include <math.h>
#include <tierline/indicator.h>

enum { BARS = 3000 };

static void in_order(const double *x, size_t n, size_t period, double *out)
{
    double sum = 0;
    size_t begin = period - 1;
    for (size_t i = 0; i < begin; i++) sum += x[i];
    for (size_t i = begin; i < n; i++) {
        sum += x[i];
        out[i - begin] = sum / (double)period;
        sum -= x[i - begin];
    }
}

typedef double maker(struct tl_rng *rng, size_t i, double before);

static double walk(struct tl_rng *rng, size_t i, double before)
{
    return i ? before * (1 + 0.02 * tl_rng_normal(rng)) : 100;
}
static double cents(struct tl_rng *rng, size_t i, double before)
{
    (void)i, (void)before;
    return (double)tl_rng_below(rng, 100000) / 100;
}
/* Odd multiples of half the last place that sums around 2^6 * 32 have, among larger ones. */
static double ties(struct tl_rng *rng, size_t i, double before)
{
    (void)i, (void)before;
    return 64 + ldexp((double)(2 * tl_rng_below(rng, 1024) + 1), -43) + (double)tl_rng_below(rng, 64);
}
static double powers(struct tl_rng *rng, size_t i, double before)
{
    (void)i, (void)before;
    return ldexp(1 + tl_rng_unit(rng), (int)tl_rng_below(rng, 120) - 60);
}
static double around_zero(struct tl_rng *rng, size_t i, double before)
{
    (void)i, (void)before;
    return tl_rng_normal(rng);
}
static double flat(struct tl_rng *rng, size_t i, double before)
{
    return i % 50 == 0 ? tl_rng_unit(rng) * 10 : before;
}
static double zeros(struct tl_rng *rng, size_t i, double before)
{
    (void)i, (void)before;
    return tl_rng_below(rng, 3) ? (tl_rng_below(rng, 2) ? 0.0 : -0.0) : -1.25;
}
static double tiny(struct tl_rng *rng, size_t i, double before)
{
    (void)i, (void)before;
    return ldexp(tl_rng_unit(rng), -1060);
}
static double huge(struct tl_rng *rng, size_t i, double before)
{
    (void)i, (void)before;
    return ldexp(tl_rng_unit(rng), 1021);
}
static double infinite(struct tl_rng *rng, size_t i, double before)
{
    (void)before;
    return i > 1000 && tl_rng_below(rng, 200) == 0 ? INFINITY : tl_rng_unit(rng);
}

static bool same(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static void test_sma_is_in_order(void **state)
{
    (void)state;
    static maker *const makers[] = {walk, cents, ties, powers, around_zero, flat, zeros, tiny, huge, infinite};
    static const size_t periods[] = {2, 3, 5, 15, 16, 17, 20, 31, 32, 33, 60, 250, 2999, 3000};
    static double x[BARS], expected[BARS], got[BARS];
    for (size_t m = 0; m < TL_COUNT(makers); m++) {
        struct tl_rng rng;
        tl_rng_seed(&rng, m + 1);
        for (size_t i = 0; i < BARS; i++) x[i] = makers[m](&rng, i, i ? x[i - 1] : 0);
        for (size_t p = 0; p < TL_COUNT(periods); p++) {
            struct tl_spec spec;
            char text[32];
            snprintf(text, sizeof text, "SMA(%zu)", periods[p]);
            assert_int_equal(tl_spec_parse(text, &spec, NULL), TL_OK);
            /* Both an even and an odd number of rows. */
            for (size_t n = BARS - 1; n <= BARS; n++) {
                if (n < periods[p]) continue;
                struct tl_input in = {.close = x};
                double *out[] = {got};
                assert_int_equal(tl_indicator_compute(&spec, &in, n, out, NULL), TL_OK);
                in_order(x, n, periods[p], expected);
                for (size_t r = 0; r <= n - periods[p]; r++)
                    if (!same(got[r], expected[r]))
                        fail_msg("input %zu, %s, row %zu: %a, in order %a", m, text, r, got[r], expected[r]);
            }
        }
    }
}

/* Of every type, over one bar, and from every type through MA. */
static void test_ma_is_its_type(void **state)
{
    (void)state;
    static const char *const types[] = {"SMA", "EMA", "WMA", "DEMA", "TEMA"};
    static double x[BARS], expected[BARS], got[BARS];
    struct tl_rng rng;
    tl_rng_seed(&rng, 5);
    for (size_t i = 0; i < BARS; i++) x[i] = walk(&rng, i, i ? x[i - 1] : 0);
    struct tl_input in = {.close = x};
    double *out[] = {got}, *out_expected[] = {expected};
    for (size_t t = 0; t < TL_COUNT(types); t++) {
        struct tl_spec ma, type;
        char text[32];
        snprintf(text, sizeof text, "MA(1,%s)", types[t]);
        assert_int_equal(tl_spec_parse(text, &ma, NULL), TL_OK);
        assert_int_equal(tl_indicator_compute(&ma, &in, BARS, out, NULL), TL_OK);
        assert_memory_equal(got, x, sizeof x);
        snprintf(text, sizeof text, "MA(17,%zu)", t);
        assert_int_equal(tl_spec_parse(text, &ma, NULL), TL_OK);
        snprintf(text, sizeof text, "%s(17)", types[t]);
        assert_int_equal(tl_spec_parse(text, &type, NULL), TL_OK);
        size_t lookback = tl_spec_lookback(&ma);
        assert_int_equal(lookback, tl_spec_lookback(&type));
        assert_int_equal(tl_indicator_compute(&ma, &in, BARS, out, NULL), TL_OK);
        assert_int_equal(tl_indicator_compute(&type, &in, BARS, out_expected, NULL), TL_OK);
        assert_memory_equal(got, expected, (BARS - lookback) * sizeof *got);
    }
}

/* A fast period above the slow one changes places with it. */
static void test_swapped_periods(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"MACD(26,12,9)", "MACD(12,26,9)"}, {"APO(20,5,EMA)", "APO(5,20,EMA)"}, {"PPO(20,5,WMA)", "PPO(5,20,WMA)"}};
    static double x[BARS], a[3][BARS], b[3][BARS];
    struct tl_rng rng;
    tl_rng_seed(&rng, 6);
    for (size_t i = 0; i < BARS; i++) x[i] = walk(&rng, i, i ? x[i - 1] : 0);
    struct tl_input in = {.close = x};
    double *out_a[] = {a[0], a[1], a[2]}, *out_b[] = {b[0], b[1], b[2]};
    for (size_t i = 0; i < TL_COUNT(pairs); i++) {
        struct tl_spec one, other;
        assert_int_equal(tl_spec_parse(pairs[i][0], &one, NULL), TL_OK);
        assert_int_equal(tl_spec_parse(pairs[i][1], &other, NULL), TL_OK);
        assert_int_equal(tl_indicator_compute(&one, &in, BARS, out_a, NULL), TL_OK);
        assert_int_equal(tl_indicator_compute(&other, &in, BARS, out_b, NULL), TL_OK);
        size_t lookback = tl_spec_lookback(&one);
        assert_int_equal(lookback, tl_spec_lookback(&other));
        for (unsigned k = 0; k < one.info->n_outputs; k++)
            assert_memory_equal(a[k], b[k], (BARS - lookback) * sizeof(double));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sma_is_in_order),
        cmocka_unit_test(test_ma_is_its_type),
        cmocka_unit_test(test_swapped_periods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
