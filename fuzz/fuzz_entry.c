/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an entry out of Redis or the store, as they are and with magic, length and checksum put right so that
 * the checks behind them are reached: refused, or encoding what was read gives the same bytes again. */
#include "base/hash.h"
#include "base/util.h"
#include "cache/entry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *wire, size_t n)
{
    struct tl_entry *e = NULL;
    if (tl_entry_decode(TL_STR("key"), (struct tl_str){wire, n}, &e, NULL) != TL_OK) {
        TL_ASSERT(!e);
        return;
    }
    unsigned char header[TL_ENTRY_HEADER];
    struct tl_str payload = tl_entry_payload(e);
    tl_entry_encode_header(e, header);
    TL_ASSERT(payload.n == n - TL_ENTRY_HEADER && memcmp(header, wire, TL_ENTRY_HEADER) == 0);
    TL_ASSERT(memcmp(payload.p, wire + TL_ENTRY_HEADER, payload.n) == 0);
    TL_ASSERT(tl_str_eq(tl_entry_key(e), TL_STR("key")) && tl_entry_cmp(e, e) == 0);
    tl_entry_unref(e);
}

static void put_le32(char *p, uint32_t v)
{
    for (size_t i = 0; i < 4; i++) p[i] = (char)(v >> 8 * i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* A block of exactly that size, so that a sanitizer sees any read behind it. */
    char *copy = malloc(size ? size : 1);
    if (!copy) return 0;
    if (size) memcpy(copy, data, size);
    check(copy, size);
    if (size >= TL_ENTRY_HEADER) {
        memcpy(copy, "TLE\1", 4);
        put_le32(copy + 12, (uint32_t)(size - TL_ENTRY_HEADER));
        put_le32(copy + 8, tl_crc32c(tl_crc32c(0, copy, 8), copy + 12, size - 12));
        check(copy, size);
    }
    free(copy);
    return 0;
}
