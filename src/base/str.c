/* SPDX-License-Identifier: Apache-2.0 */
/* Borrowed runs of bytes: comparing, trimming, splitting, whole numbers, edit distance. ASCII only where case
 * matters, independent of the locale. Allocates nothing. */
#include "base/str.h"

#include "base/util.h"

static unsigned char lower(char c)
{
    unsigned char u = (unsigned char)c;
    return u >= 'A' && u <= 'Z' ? (unsigned char)(u + 32) : u;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

bool tl_str_ieq(struct tl_str a, struct tl_str b)
{
    if (a.n != b.n) return false;
    for (size_t i = 0; i < a.n; i++)
        if (lower(a.p[i]) != lower(b.p[i])) return false;
    return true;
}

int tl_str_cmp(struct tl_str a, struct tl_str b)
{
    size_t n = TL_MIN(a.n, b.n);
    int c = n ? memcmp(a.p, b.p, n) : 0;
    if (c != 0) return c;
    return (a.n > b.n) - (a.n < b.n);
}

struct tl_str tl_str_trim(struct tl_str s)
{
    while (s.n > 0 && is_space(s.p[0])) s.p++, s.n--;
    while (s.n > 0 && is_space(s.p[s.n - 1])) s.n--;
    return s;
}

bool tl_str_split(struct tl_str *rest, char sep, struct tl_str *part)
{
    if (!rest->p) return false;
    const char *at = rest->n ? memchr(rest->p, sep, rest->n) : NULL;
    if (!at) {
        *part = *rest;
        *rest = (struct tl_str){NULL, 0};
        return true;
    }
    size_t n = (size_t)(at - rest->p);
    *part = (struct tl_str){rest->p, n};
    rest->p += n + 1;
    rest->n -= n + 1;
    return true;
}

bool tl_str_to_i64(struct tl_str s, int64_t *out)
{
    bool negative = s.n > 0 && s.p[0] == '-';
    size_t i = negative || (s.n > 0 && s.p[0] == '+') ? 1 : 0;
    if (i == s.n) return false;
    int64_t v = 0;
    for (; i < s.n; i++) {
        unsigned d = (unsigned)(unsigned char)s.p[i] - '0';
        if (d > 9) return false;
        if (__builtin_mul_overflow(v, 10, &v)) return false;
        if (negative ? __builtin_sub_overflow(v, (int64_t)d, &v) : __builtin_add_overflow(v, (int64_t)d, &v))
            return false;
    }
    *out = v;
    return true;
}

unsigned tl_str_distance(struct tl_str a, struct tl_str b)
{
    enum { CAP = 64, LONGEST = 256 };
    if (a.n > b.n) {
        struct tl_str t = a;
        a = b;
        b = t;
    }
    if (b.n - a.n >= CAP || b.n > LONGEST) return tl_str_ieq(a, b) ? 0 : CAP;
    unsigned row[LONGEST + 1]; /* row[i]: distance of a's first i bytes to what was taken of b */
    for (unsigned i = 0; i <= a.n; i++) row[i] = i;
    for (unsigned j = 1; j <= b.n; j++) {
        unsigned diagonal = row[0];
        row[0] = j;
        for (unsigned i = 1; i <= a.n; i++) {
            unsigned swap = diagonal + (lower(a.p[i - 1]) != lower(b.p[j - 1]));
            diagonal = row[i];
            unsigned gap = TL_MIN(row[i], row[i - 1]) + 1;
            row[i] = TL_MIN(swap, gap);
        }
    }
    return TL_MIN(row[a.n], (unsigned)CAP);
}
