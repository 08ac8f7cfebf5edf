/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 that comes in pieces, refused at the first byte that cannot be part of it (RFC 3629: no surrogates, nothing
 * overlong, nothing above U+10FFFF). */
#ifndef TL_WS_UTF8_H
#define TL_WS_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero-initialised: between two characters. */
struct tl_ws_utf8 {
    uint8_t left;   /* bytes that the character under way still lacks */
    uint8_t lo, hi; /* what its next byte may be */
};

/* false: refused. */
bool tl_ws_utf8_feed(struct tl_ws_utf8 *, const void *p, size_t n);
static inline bool tl_ws_utf8_complete(const struct tl_ws_utf8 *u)
{
    return u->left == 0;
}

#endif
