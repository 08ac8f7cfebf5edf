/* SPDX-License-Identifier: Apache-2.0 */
/* Text of single fields: what counts as blank, and an excerpt fit for a message. Pure; numbers are in the header,
 * because they are the hot path. */
#include "import/field.h"

#include "base/util.h"

/* Length of the UTF-8 sequence at p (RFC 3629: no overlong forms, no surrogates, up to U+10FFFF); 0: none. */
static size_t utf8_len(const unsigned char *p, size_t n)
{
    if (p[0] < 0x80) return 1;
    if (p[0] < 0xC2 || p[0] > 0xF4) return 0;
    const size_t len = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    if (n < len) return 0;
    for (size_t k = 1; k < len; k++)
        if ((p[k] & 0xC0) != 0x80) return 0;
    if (p[0] == 0xE0 && p[1] < 0xA0) return 0;
    if (p[0] == 0xED && p[1] > 0x9F) return 0;
    if (p[0] == 0xF0 && p[1] < 0x90) return 0;
    if (p[0] == 0xF4 && p[1] > 0x8F) return 0;
    return len;
}

bool tl_utf8_valid(struct tl_str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    for (size_t i = 0; i < s.n;) {
        const size_t k = utf8_len(p + i, s.n - i);
        if (k == 0) return false;
        i += k;
    }
    return true;
}

struct tl_excerpt tl_excerpt(struct tl_str s)
{
    enum { MAX = 40 };
    struct tl_excerpt e;
    const unsigned char *p = (const unsigned char *)s.p;
    size_t n = 0, i = 0;
    while (i < s.n) {
        const size_t k = utf8_len(p + i, s.n - i);
        if (n + (k ? k : 1) > MAX) break;
        if (k == 0 || p[i] < 0x20 || p[i] == 0x7F) {
            e.z[n++] = '?';
            i++;
            continue;
        }
        memcpy(e.z + n, s.p + i, k);
        n += k;
        i += k;
    }
    if (i < s.n) {
        memcpy(e.z + n, "...", 3);
        n += 3;
    }
    e.z[n] = '\0';
    return e;
}

bool tl_field_blank(struct tl_str s)
{
    static const char *const blanks[] = {"", "null", "nan", "na", "n/a", "none", "nil", "-", "--"};
    if (s.n > 4) return false;
    for (size_t i = 0; i < TL_COUNT(blanks); i++)
        if (tl_str_ieq(s, tl_str(blanks[i]))) return true;
    return false;
}

bool tl_field_infinite(struct tl_str s)
{
    if (s.n && (s.p[0] == '-' || s.p[0] == '+')) s = (struct tl_str){s.p + 1, s.n - 1};
    return tl_str_ieq(s, TL_STR("inf")) || tl_str_ieq(s, TL_STR("infinity")) || tl_str_ieq(s, TL_STR("nan"));
}
