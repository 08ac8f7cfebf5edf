/* SPDX-License-Identifier: Apache-2.0 */
/* Doubles as text: fixed tables, and both directions against the C library over random bits and vendors' decimals. */
#include "support.h"

#include "base/num.h"
#include "base/rng.h"
#include "base/util.h"

#include <float.h>
#include <math.h>

static bool same_bits(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static void writes(void **state)
{
    (void)state;
    static const struct {
        double v;
        const char *text;
    } rows[] = {
        {0, "0"},
        {-0.0, "-0"},
        {1, "1"},
        {-1, "-1"},
        {100, "100"},
        {100000, "100000"},
        {1000000, "1000000"},
        {123456789012, "123456789012"},
        {999999999999999, "999999999999999"},
        {1e15, "1e+15"},
        {9007199254740992, "9007199254740992"},
        {12.5, "12.5"},
        {-0.25, "-0.25"},
        {0.1, "0.1"},
        {123.4567, "123.4567"},
        {0.3, "0.3"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1.0 / 3, "0.3333333333333333"},
        {7.00000001, "7.00000001"},
        {7.000000001, "7.000000001"},
        {0.0001, "0.0001"},
        {0.00012345, "0.00012345"},
        {1e-7, "1e-07"},
        {1e22, "1e+22"},
        {1e23, "1e+23"},
        {DBL_MAX, "1.7976931348623157e+308"},
        {DBL_MIN, "2.2250738585072014e-308"},
        {5e-324, "5e-324"},
        {-2.2250738585072011e-308, "-2.225073858507201e-308"},
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        char out[TL_NUM_MAX + 1];
        out[tl_num_format(out, rows[i].v)] = '\0';
        assert_string_equal(out, rows[i].text);
    }
    char out[TL_NUM_MAX + 1];
    out[tl_num_format(out, (double)NAN)] = '\0';
    assert_string_equal(out, "nan");
    out[tl_num_format(out, copysign((double)NAN, -1))] = '\0';
    assert_string_equal(out, "nan");
    out[tl_num_format(out, INFINITY)] = '\0';
    assert_string_equal(out, "inf");
    out[tl_num_format(out, -INFINITY)] = '\0';
    assert_string_equal(out, "-inf");
}

static void reads(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum tl_num_result result;
        double v;
    } rows[] = {
        {"0", TL_NUM_OK, 0},
        {"-0", TL_NUM_OK, -0.0},
        {"-0e999999999999999999999", TL_NUM_OK, -0.0},
        {"0.000000000000000000000000000000000000", TL_NUM_OK, 0},
        {"+1.5", TL_NUM_OK, 1.5},
        {"007.50", TL_NUM_OK, 7.5},
        {"1e5", TL_NUM_OK, 1e5},
        {"1E+5", TL_NUM_OK, 1e5},
        {"1.5e-3", TL_NUM_OK, 0.0015},
        {"9007199254740991", TL_NUM_OK, 9007199254740991},
        {"9007199254740993", TL_NUM_OK, 9007199254740992},
        {"9007199254740993.0000000000000000000000000001", TL_NUM_OK, 9007199254740994},
        {"18446744073709551616", TL_NUM_OK, 18446744073709551616.0},
        {"18446744073709551616e-1", TL_NUM_OK, 1844674407370955161.6},
        {"000018446744073709551616", TL_NUM_OK, 18446744073709551616.0},
        {"+18446744073709551617000", TL_NUM_OK, 18446744073709551617000.0},
        {"0.1e1", TL_NUM_OK, 1},
        {"1.7976931348623157e308", TL_NUM_OK, DBL_MAX},
        {"1.7976931348623159e308", TL_NUM_RANGE, 0},
        {"1e400", TL_NUM_RANGE, 0},
        {"-1e400", TL_NUM_RANGE, 0},
        {"+1e400", TL_NUM_RANGE, 0},
        {"1e99999999999999999999999", TL_NUM_RANGE, 0},
        {"1e-400", TL_NUM_OK, 0},
        {"-1e-400", TL_NUM_OK, -0.0},
        {"1e-99999999999999999999999", TL_NUM_OK, 0},
        {"5e-324", TL_NUM_OK, 5e-324},
        {"2e-324", TL_NUM_OK, 0},
        {"2.2250738585072011e-308", TL_NUM_OK, 2.2250738585072011e-308},
        {"", TL_NUM_BAD, 0},
        {"-", TL_NUM_BAD, 0},
        {"+", TL_NUM_BAD, 0},
        {"+-1", TL_NUM_BAD, 0},
        {".5", TL_NUM_BAD, 0},
        {"5.", TL_NUM_BAD, 0},
        {".", TL_NUM_BAD, 0},
        {"1e", TL_NUM_BAD, 0},
        {"1e+", TL_NUM_BAD, 0},
        {"1e5.0", TL_NUM_BAD, 0},
        {"1.2.3", TL_NUM_BAD, 0},
        {"1,5", TL_NUM_BAD, 0},
        {" 1", TL_NUM_BAD, 0},
        {"1 ", TL_NUM_BAD, 0},
        {"nan", TL_NUM_BAD, 0},
        {"inf", TL_NUM_BAD, 0},
        {"0x10", TL_NUM_BAD, 0},
        {"1f", TL_NUM_BAD, 0},
        {"--", TL_NUM_BAD, 0},
        {"\xEF\xBC\x91", TL_NUM_BAD, 0},
        {"12345678901234567890x", TL_NUM_BAD, 0},
    };
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        size_t n = strlen(rows[i].text);
        char *exact = malloc(n ? n : 1); /* so that a read too far is seen */
        memcpy(exact, rows[i].text, n);
        double v = 42;
        if (tl_num_parse((struct tl_str){exact, n}, &v) != rows[i].result) fail_msg("'%s'", rows[i].text);
        if (!same_bits(v, rows[i].result == TL_NUM_OK ? rows[i].v : 42)) fail_msg("'%s' gives %.17g", rows[i].text, v);
        free(exact);
    }
    double v;
    assert_int_equal(tl_num_parse((struct tl_str){"1\0", 2}, &v), TL_NUM_BAD);
    assert_int_equal(tl_num_parse((struct tl_str){NULL, 0}, &v), TL_NUM_BAD);
    char zeros[2000];
    memset(zeros, '0', sizeof zeros);
    zeros[1] = '.', zeros[1990] = '1';
    memcpy(zeros + 1991, "e1989", 6);
    assert_int_equal(tl_num_parse(tl_str(zeros), &v), TL_NUM_OK); /* 1988 zeros behind the point */
    assert_true(v == 1);
}

/* Any finite double: what is written is read back to the same bits, by this library and by C's, and no shorter text
 * has the same value. */
static void round_trip(double v)
{
    char out[TL_NUM_MAX + 1], shorter[64];
    size_t n = tl_num_format(out, v);
    assert_true(n > 0 && n <= TL_NUM_MAX);
    out[n] = '\0';
    double back = 0;
    assert_int_equal(tl_num_parse((struct tl_str){out, n}, &back), TL_NUM_OK);
    if (!same_bits(back, v) || !same_bits(strtod(out, NULL), v)) fail_msg("%.17g became %s", v, out);
    int digits = 0;
    for (const char *p = out; *p && *p != 'e'; p++) digits += *p >= '0' && *p <= '9' && (digits || *p != '0');
    for (const char *p = out + n; !memchr(out, 'e', n) && !memchr(out, '.', n) && p > out && p[-1] == '0'; p--)
        digits--;
    if (digits < 2) return;
    if (!strpbrk(out, ".e")) return; /* a whole number has all its digits, which its value may not need */
    snprintf(shorter, sizeof shorter, "%.*e", digits - 2, v);
    if (same_bits(strtod(shorter, NULL), v)) fail_msg("%s is longer than %s", out, shorter);
}

static void random_bits(void **state)
{
    (void)state;
    struct tl_rng r;
    tl_rng_seed(&r, 11);
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = tl_rng_u64(&r);
        double v, back;
        memcpy(&v, &bits, sizeof v);
        if (!isfinite(v)) continue;
        round_trip(v);
        char text[64];
        int n = snprintf(text, sizeof text, "%.*g", (int)tl_rng_below(&r, 40) + 1, v);
        double want = strtod(text, NULL);
        enum tl_num_result result = tl_num_parse((struct tl_str){text, (size_t)n}, &back);
        assert_int_equal(result, isinf(want) ? TL_NUM_RANGE : TL_NUM_OK);
        if (result == TL_NUM_OK && !same_bits(back, want)) fail_msg("%s gives %.17g", text, back);
    }
}

static void vendors_decimals(void **state)
{
    (void)state;
    struct tl_rng r;
    tl_rng_seed(&r, 12);
    for (int i = 0; i < 300000; i++) {
        char text[64];
        int whole = (int)tl_rng_below(&r, 9) + 1, decimals = (int)tl_rng_below(&r, 13);
        uint64_t a = tl_rng_u64(&r), b = tl_rng_u64(&r);
        int n = snprintf(text, sizeof text, "%s%.*llu", i % 7 ? "" : "-", 1, (unsigned long long)a);
        n = TL_MIN(n, whole + (i % 7 == 0));
        if (decimals)
            n += snprintf(text + n, sizeof text - (size_t)n, ".%0*llu", decimals,
                          (unsigned long long)(b % (uint64_t)pow(10, decimals)));
        text[n] = '\0';
        double want = strtod(text, NULL), back = 0;
        assert_int_equal(tl_num_parse((struct tl_str){text, (size_t)n}, &back), TL_NUM_OK);
        if (!same_bits(back, want)) fail_msg("%s gives %.17g", text, back);
        round_trip(want);
        round_trip(nextafter(want, 1e300)); /* what arithmetic makes of a decimal */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes),
        cmocka_unit_test(reads),
        cmocka_unit_test(random_bits),
        cmocka_unit_test(vendors_decimals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
