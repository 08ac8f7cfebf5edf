/* SPDX-License-Identifier: Apache-2.0 */
/* One field's text: trimming, numbers, blanks, and how it is shown in a message. */
#ifndef TL_IMPORT_FIELD_H
#define TL_IMPORT_FIELD_H

#include "base/num.h"

struct tl_excerpt {
    char z[48];
};

/* At most 40 bytes of s, control bytes and what is not UTF-8 as '?', "..." where it was cut. For messages. */
struct tl_excerpt tl_excerpt(struct tl_str s);
/* "", null, nan, na, n/a, none, nil, -, -- in any case: no value. s is trimmed. */
bool tl_field_blank(struct tl_str s);
/* "inf", "-infinity" and the like: a number that is not finite. */
bool tl_field_infinite(struct tl_str s);
bool tl_utf8_valid(struct tl_str s);

static inline struct tl_str tl_field_trim(struct tl_str s)
{
    if (s.n && (s.p[0] <= ' ' || s.p[s.n - 1] <= ' ')) return tl_str_trim(s);
    return s;
}

/* The same result as tl_num_parse. Digits and at most one point, below 2^53 without the point: one exact integer over
 * one exact power of ten is correctly rounded (Clinger, 1990). */
static inline enum tl_num_result tl_field_num(struct tl_str s, double *out)
{
    static const double pow10[] = {1,    1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,
                                   1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19};
    uint64_t m = 0;
    size_t i = 0, point = s.n;
    if (s.n == 0 || s.n > 19) return tl_num_parse(s, out);
    for (; i < s.n; i++) {
        const unsigned d = (unsigned)(uint8_t)s.p[i] - '0';
        if (d <= 9) {
            m = m * 10 + d;
        } else if (s.p[i] == '.' && point == s.n && i > 0) {
            point = i;
        } else {
            return tl_num_parse(s, out);
        }
    }
    if (m >> 53 || point + 1 == s.n) return tl_num_parse(s, out);
    *out = point == s.n ? (double)m : (double)m / pow10[s.n - point - 1];
    return TL_NUM_OK;
}

#endif
