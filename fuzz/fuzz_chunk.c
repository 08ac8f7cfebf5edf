/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a chunk of bars or of rows, as they are and with their checksum put right so that the checks behind it
 * are reached: refused, or equal to what encoding the result again reads back. Another process's cache is such bytes.
 */
#include "base/hash.h"
#include "base/util.h"
#include "series/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_bars(struct tl_str chunk)
{
    struct tl_bars bars, again;
    tl_bars_init(&bars);
    tl_bars_init(&again);
    if (tl_codec_get_bars(chunk, &bars, NULL) == TL_OK) {
        struct tl_buf buf;
        tl_buf_init(&buf, 0);
        tl_codec_put_bars(&buf, &bars, 0, bars.n);
        TL_ASSERT(tl_codec_get_bars(tl_buf_str(&buf), &again, NULL) == TL_OK && again.n == bars.n);
        TL_ASSERT(memcmp(again.ts_ms, bars.ts_ms, bars.n * 8) == 0);
        for (size_t c = 0; c < TL_BAR_COLUMNS; c++) TL_ASSERT(memcmp(again.col[c], bars.col[c], bars.n * 8) == 0);
        tl_buf_release(&buf);
    } else {
        TL_ASSERT(bars.n == 0);
    }
    tl_bars_release(&bars);
    tl_bars_release(&again);
}

static void check_rows(struct tl_str chunk, size_t columns, size_t max_rows)
{
    static double rows[TL_CHUNK_ROWS * 3], again[TL_CHUNK_ROWS * 3];
    size_t n, m;
    if (tl_codec_get_rows(chunk, rows, max_rows, columns, &n, NULL) != TL_OK) return;
    TL_ASSERT(n >= 1 && n <= max_rows);
    struct tl_buf buf;
    tl_buf_init(&buf, 0);
    tl_codec_put_rows(&buf, rows, n, columns);
    TL_ASSERT(tl_codec_get_rows(tl_buf_str(&buf), again, n, columns, &m, NULL) == TL_OK && m == n);
    TL_ASSERT(memcmp(rows, again, n * columns * 8) == 0);
    tl_buf_release(&buf);
}

static void check_all(struct tl_str chunk)
{
    check_bars(chunk);
    for (size_t columns = 1; columns <= 3; columns++) {
        check_rows(chunk, columns, TL_CHUNK_ROWS);
        check_rows(chunk, columns, 5);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* A block of exactly that size, so that a sanitizer sees any read behind it. */
    char *copy = malloc(size ? size : 1);
    if (!copy) return 0;
    if (size) memcpy(copy, data, size);
    check_all((struct tl_str){copy, size});
    if (size >= 20) {
        memcpy(copy, "TLCH\1", 5);
        uint32_t crc = tl_crc32c(0, copy, size - 4);
        for (size_t k = 0; k < 4; k++) copy[size - 4 + k] = (char)(crc >> 8 * k);
        check_all((struct tl_str){copy, size});
    }
    free(copy);
    return 0;
}
