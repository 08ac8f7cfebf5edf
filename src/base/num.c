/* SPDX-License-Identifier: Apache-2.0 */
/* Doubles as text. Both directions have a fast path for the decimals that markets use and hand everything else to the
 * C++ library. Writing: a value that is exactly read back from at most 15 digits with at most 8 decimals is written
 * from an integer; with 15 digits that decimal is the only and the shortest one. Reading: Clinger (1990): a mantissa
 * below 2^53 and a power of ten up to 22 are both exact doubles, so one multiplication or division rounds once. */
#include "base/num.h"

#include "base/num_shortest.h"

#include <float.h>
#include <math.h>

static const double pow10_exact[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                     1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* a is finite and >= 0. Writes a when it is m / 10^decimals with m < 10^15, else returns 0. */
static size_t put_decimal(char *out, double a, unsigned decimals)
{
    double scaled = a * pow10_exact[decimals];
    if (!(scaled < 1e15)) return 0;
    uint64_t m = (uint64_t)(scaled + 0.5);
    if ((double)m / pow10_exact[decimals] != a) return 0;
    while (decimals > 0 && m % 10 == 0) m /= 10, decimals--;
    char digits[TL_NUM_MAX];
    size_t at = sizeof digits;
    for (unsigned i = 0; i < decimals; i++, m /= 10) digits[--at] = (char)('0' + m % 10);
    if (decimals > 0) digits[--at] = '.';
    do digits[--at] = (char)('0' + m % 10);
    while ((m /= 10) > 0);
    memcpy(out, digits + at, sizeof digits - at);
    return sizeof digits - at;
}

size_t tl_num_format(char out[TL_NUM_MAX], double v)
{
    static const unsigned char tries[] = {0, 2, 4, 8};
    if (isnan(v)) return memcpy(out, "nan", 3), 3;
    size_t sign = signbit(v) ? 1 : 0;
    if (sign) out[0] = '-';
    double a = fabs(v);
    if (isinf(a)) return memcpy(out + sign, "inf", 3), sign + 3;
    if (a == 0) return out[sign] = '0', sign + 1;
    if (a >= 1e-4 && a < 1e15 && FLT_EVAL_METHOD == 0) {
        for (size_t i = 0; i < sizeof tries; i++) {
            size_t n = put_decimal(out + sign, a, tries[i]);
            if (n) return sign + n;
        }
    }
    return sign + tl_num_shortest(out + sign, TL_NUM_MAX - sign, a);
}

/* What a text in the grammar says: mantissa * 10^exp10. */
struct decimal {
    uint64_t mantissa;
    int64_t exp10;
    unsigned digits; /* of the mantissa, without leading zeros; more than 19 do not fit it */
    bool negative;
};

static bool read_exponent(const char *p, const char *end, int64_t *exp10)
{
    bool negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+')) p++;
    if (p == end) return false;
    int64_t e = 0;
    for (; p < end; p++) {
        unsigned d = (unsigned)(unsigned char)*p - '0';
        if (d > 9) return false;
        if (e < INT64_MAX / 100) e = e * 10 + d; /* beyond, any mantissa that fits memory is 0 or infinite */
    }
    *exp10 += negative ? -e : e;
    return true;
}

static inline const char *read_digits(const char *p, const char *end, struct decimal *d)
{
    uint64_t m = d->mantissa;
    unsigned digits = d->digits;
    for (; p < end; p++) {
        unsigned digit = (unsigned)(unsigned char)*p - '0';
        if (digit > 9) break;
        m = m * 10 + digit; /* wraps beyond 19 digits, which is then never used */
        digits += (digits | digit) != 0 && digits < 1000;
    }
    d->mantissa = m;
    d->digits = digits;
    return p;
}

static inline bool read_decimal(const char *p, const char *end, struct decimal *d)
{
    *d = (struct decimal){0};
    d->negative = *p == '-';
    p += *p == '-' || *p == '+';
    const char *from = p;
    p = read_digits(p, end, d);
    if (p == from) return false;
    if (p < end && *p == '.') {
        from = ++p;
        p = read_digits(p, end, d);
        if (p == from) return false;
        d->exp10 = -(int64_t)(p - from);
    }
    if (p == end) return true;
    return (*p == 'e' || *p == 'E') && read_exponent(p + 1, end, &d->exp10);
}

static enum tl_num_result parse_slow(struct tl_str s, const struct decimal *d, double *out)
{
    size_t skip = s.p[0] == '+';
    double v = 0;
    switch (tl_num_from_chars(s.p + skip, s.n - skip, &v)) {
    case 0:
        break;
    case 1: /* the library says so of values too small as well: these are a zero */
        if (d->exp10 + (int64_t)d->digits > 0) return TL_NUM_RANGE;
        v = d->negative ? -0.0 : 0.0;
        break;
    default:
        return TL_NUM_BAD;
    }
    if (isinf(v)) return TL_NUM_RANGE;
    *out = v;
    return TL_NUM_OK;
}

enum tl_num_result tl_num_parse(struct tl_str s, double *out)
{
    struct decimal d;
    if (s.n == 0 || !read_decimal(s.p, s.p + s.n, &d)) return TL_NUM_BAD;
    if (d.digits > 19 || d.mantissa >= UINT64_C(1) << 53 || d.exp10 < -22 || d.exp10 > 22 || FLT_EVAL_METHOD != 0) {
        if (d.digits > 0) return parse_slow(s, &d, out);
        d.exp10 = 0; /* a zero, whatever its exponent */
    }
    double v = (double)d.mantissa;
    v = d.exp10 < 0 ? v / pow10_exact[-d.exp10] : v * pow10_exact[d.exp10];
    *out = d.negative ? -v : v;
    return TL_NUM_OK;
}
