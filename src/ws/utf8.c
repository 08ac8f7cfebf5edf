/* SPDX-License-Identifier: Apache-2.0 */
/* A character is its first byte and then up to three of a range; only the second byte's range depends on the first
 * (Unicode, table 3-7). Runs of ASCII are skipped eight bytes at a time. */
#include "ws/utf8.h"

#include <string.h>

static bool first(struct tl_ws_utf8 *u, uint8_t b)
{
    u->lo = 0x80;
    u->hi = 0xBF;
    if (b < 0x80) return true;
    if (b < 0xC2 || b > 0xF4) return false;
    u->left = (uint8_t)(b < 0xE0 ? 1 : b < 0xF0 ? 2 : 3);
    if (b == 0xE0) u->lo = 0xA0; /* overlong below */
    if (b == 0xED) u->hi = 0x9F; /* surrogates above */
    if (b == 0xF0) u->lo = 0x90; /* overlong below */
    if (b == 0xF4) u->hi = 0x8F; /* above U+10FFFF */
    return true;
}

static size_t ascii_run(const uint8_t *p, size_t n)
{
    size_t i = 0;
    for (uint64_t word; i + sizeof word <= n; i += sizeof word) {
        memcpy(&word, p + i, sizeof word);
        if (word & UINT64_C(0x8080808080808080)) break;
    }
    return i;
}

bool tl_ws_utf8_feed(struct tl_ws_utf8 *u, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    for (size_t i = 0; i < n;) {
        if (u->left == 0) {
            i += ascii_run(p + i, n - i);
            if (i < n && !first(u, p[i++])) return false;
            continue;
        }
        if (p[i] < u->lo || p[i] > u->hi) return false;
        u->left--;
        u->lo = 0x80;
        u->hi = 0xBF;
        i++;
    }
    return true;
}
