/* SPDX-License-Identifier: Apache-2.0 */
/* A borrowed run of bytes. Never owns, need not be NUL-terminated, may hold any byte. */
#ifndef TL_BASE_STR_H
#define TL_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct tl_str {
    const char *p;
    size_t n;
};

#define TL_STR(literal) ((struct tl_str){(literal), sizeof(literal) - 1})
/* For printf: "%.*s" with TL_STR_ARG(s). */
#define TL_STR_ARG(s)   (int)(s).n, (s).p

static inline struct tl_str tl_str(const char *z)
{
    return (struct tl_str){z, z ? strlen(z) : 0};
}
static inline bool tl_str_eq(struct tl_str a, struct tl_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
/* ASCII case-insensitive. */
bool tl_str_ieq(struct tl_str a, struct tl_str b);
/* Byte order, shorter first on a common prefix: <0, 0, >0. */
int tl_str_cmp(struct tl_str a, struct tl_str b);
/* Without leading and trailing ASCII white space. */
struct tl_str tl_str_trim(struct tl_str s);
/* Cuts the part before the first `sep` off `*rest`; false when *rest is exhausted (p == NULL).
 * "a,,b" gives "a", "", "b"; "" gives one "". */
bool tl_str_split(struct tl_str *rest, char sep, struct tl_str *part);
/* Decimal int64, the whole of s, optional sign. false when it is none or does not fit. */
bool tl_str_to_i64(struct tl_str s, int64_t *out);
/* Edit distance for "did you mean"; ASCII case is ignored; cost is capped at 64. */
unsigned tl_str_distance(struct tl_str a, struct tl_str b);

#endif
