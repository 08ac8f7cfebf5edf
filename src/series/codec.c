/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a stored chunk, all little-endian:
 *
 *   0  4  magic "TLCH"
 *   4  1  format version (TL_CODEC_VERSION)
 *   5  1  kind: 1 bars, 2 rows
 *   6  2  columns
 *   8  4  rows, 1..TL_CHUNK_ROWS
 *  12  4  0
 *  16  .  columns, one after another: 1 byte encoding (0: `rows` values follow, 1: one value stands for all),
 *         7 bytes 0, then the values of 8 bytes each
 *   .  4  CRC32C of everything before it
 *
 * A chunk of bars has 1 + TL_BAR_COLUMNS columns, the timestamps first. Every number of 8 bytes is copied as bits:
 * NaN payloads and -0 survive. */
#include "series/codec.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/util.h"

#include <endian.h>

enum { HEADER_BYTES = 16, COLUMN_BYTES = 8, CRC_BYTES = 4, KIND_BARS = 1, KIND_ROWS = 2, RAW = 0, CONSTANT = 1 };
static const char magic[4] = "TLCH";

struct header {
    unsigned kind, columns;
    size_t rows;
};

static void put_u32(char *p, uint32_t v)
{
    v = htole32(v);
    memcpy(p, &v, sizeof v);
}

static uint32_t get_u32(const char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return le32toh(v);
}

/* ---- writing ---- */

static bool constant(const char *values, size_t stride, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (memcmp(values, values + i * stride, 8) != 0) return false;
    return true;
}

/* n values of 8 bytes, `stride` bytes apart. */
static char *put_column(char *to, const void *values, size_t stride, size_t n)
{
    const char *from = values;
    bool one = constant(from, stride, n);
    memset(to, 0, COLUMN_BYTES);
    to[0] = one ? CONSTANT : RAW;
    to += COLUMN_BYTES;
    size_t count = one ? 1 : n;
#if __BYTE_ORDER == __LITTLE_ENDIAN
    if (stride == 8) {
        memcpy(to, from, count * 8);
        return to + count * 8;
    }
#endif
    for (size_t i = 0; i < count; i++) {
        uint64_t bits;
        memcpy(&bits, from + i * stride, 8);
        bits = htole64(bits);
        memcpy(to + i * 8, &bits, 8);
    }
    return to + count * 8;
}

/* Room for the largest chunk of that shape, with its header written; NULL when the buffer failed. */
static char *begin_chunk(struct tl_buf *out, unsigned kind, size_t columns, size_t rows)
{
    TL_ASSERT(rows >= 1 && rows <= TL_CHUNK_ROWS && columns >= 1 && columns <= UINT16_MAX);
    char *p = tl_buf_reserve(out, HEADER_BYTES + columns * (COLUMN_BYTES + rows * 8) + CRC_BYTES);
    if (!p) return NULL;
    memcpy(p, magic, sizeof magic);
    p[4] = TL_CODEC_VERSION;
    p[5] = (char)kind;
    p[6] = (char)(columns & 0xFF);
    p[7] = (char)(columns >> 8);
    put_u32(p + 8, (uint32_t)rows);
    put_u32(p + 12, 0);
    return p;
}

static void end_chunk(struct tl_buf *out, char *begin, char *end)
{
    put_u32(end, tl_crc32c(0, begin, (size_t)(end - begin)));
    out->n += (size_t)(end - begin) + CRC_BYTES;
}

void tl_codec_put_bars(struct tl_buf *out, const struct tl_bars *bars, size_t from, size_t n)
{
    char *begin = begin_chunk(out, KIND_BARS, 1 + TL_BAR_COLUMNS, n);
    if (!begin) return;
    char *p = put_column(begin + HEADER_BYTES, bars->ts_ms + from, 8, n);
    for (size_t c = 0; c < TL_BAR_COLUMNS; c++) p = put_column(p, bars->col[c] + from, 8, n);
    end_chunk(out, begin, p);
}

void tl_codec_put_rows(struct tl_buf *out, const double *rows, size_t n, size_t columns)
{
    char *begin = begin_chunk(out, KIND_ROWS, columns, n);
    if (!begin) return;
    char *p = begin + HEADER_BYTES;
    for (size_t c = 0; c < columns; c++) p = put_column(p, rows + c, columns * 8, n);
    end_chunk(out, begin, p);
}

/* ---- reading ---- */

static enum tl_status get_header(struct tl_str chunk, unsigned kind, struct header *h, struct tl_err *err)
{
    if (chunk.n < HEADER_BYTES + CRC_BYTES || memcmp(chunk.p, magic, sizeof magic) != 0)
        return tl_fail(err, TL_CORRUPT, "not a chunk (%zu bytes)", chunk.n);
    unsigned version = (unsigned char)chunk.p[4];
    if (version > TL_CODEC_VERSION)
        return tl_fail(err, TL_TOO_NEW, "chunk of format %u, this program reads up to %d", version, TL_CODEC_VERSION);
    if (get_u32(chunk.p + chunk.n - CRC_BYTES) != tl_crc32c(0, chunk.p, chunk.n - CRC_BYTES))
        return tl_fail(err, TL_CORRUPT, "checksum of a chunk of %zu bytes is wrong", chunk.n);
    h->kind = (unsigned char)chunk.p[5];
    h->columns = (unsigned char)chunk.p[6] | (unsigned)(unsigned char)chunk.p[7] << 8;
    h->rows = get_u32(chunk.p + 8);
    bool known = version != 0 && h->kind == kind && get_u32(chunk.p + 12) == 0;
    if (!known || h->columns == 0 || h->rows == 0 || h->rows > TL_CHUNK_ROWS)
        return tl_fail(err, TL_CORRUPT, "chunk of format %u, kind %u with %u columns and %zu rows", version, h->kind,
                       h->columns, h->rows);
    return TL_OK;
}

/* The next column into `to`, `stride` bytes apart. Returns what stands behind it, NULL when it does not fit. */
static const char *get_column(const char *p, const char *end, void *values, size_t stride, size_t n)
{
    if ((size_t)(end - p) < COLUMN_BYTES) return NULL;
    uint64_t encoding; /* the byte and the seven zeros behind it */
    memcpy(&encoding, p, COLUMN_BYTES);
    encoding = le64toh(encoding);
    p += COLUMN_BYTES;
    size_t count = encoding == CONSTANT ? 1 : n;
    if (encoding > CONSTANT || (size_t)(end - p) / 8 < count) return NULL;
    char *to = values;
#if __BYTE_ORDER == __LITTLE_ENDIAN
    if (stride == 8 && count == n) {
        memcpy(to, p, n * 8);
        return p + n * 8;
    }
#endif
    for (size_t i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, p + (count == 1 ? 0 : i * 8), 8);
        bits = le64toh(bits);
        memcpy(to + i * stride, &bits, 8);
    }
    return p + count * 8;
}

static enum tl_status bad_length(struct tl_str chunk, struct tl_err *err)
{
    return tl_fail(err, TL_CORRUPT, "a chunk of %zu bytes does not hold what its header says", chunk.n);
}

enum tl_status tl_codec_get_bars(struct tl_str chunk, struct tl_bars *out, struct tl_err *err)
{
    struct header h;
    enum tl_status st = get_header(chunk, KIND_BARS, &h, err);
    if (st != TL_OK) return st;
    if (h.columns != 1 + TL_BAR_COLUMNS) return tl_fail(err, TL_CORRUPT, "a chunk of bars with %u columns", h.columns);
    size_t need = out->n + h.rows;
    if (need > out->cap) st = tl_bars_reserve(out, TL_MAX(need, out->cap * 2));
    if (st != TL_OK) return tl_fail(err, st, "no memory for %zu bars", need);
    const char *p = chunk.p + HEADER_BYTES, *end = chunk.p + chunk.n - CRC_BYTES;
    p = get_column(p, end, out->ts_ms + out->n, 8, h.rows);
    for (size_t c = 0; p && c < TL_BAR_COLUMNS; c++) p = get_column(p, end, out->col[c] + out->n, 8, h.rows);
    if (p != end) return bad_length(chunk, err);
    for (size_t i = out->n; i < need; i++)
        if (i > 0 && out->ts_ms[i] <= out->ts_ms[i - 1])
            return tl_fail(err, TL_CORRUPT, "timestamps do not rise: %lld after %lld", (long long)out->ts_ms[i],
                           (long long)out->ts_ms[i - 1]);
    out->n = need;
    return TL_OK;
}

enum tl_status tl_codec_get_rows(struct tl_str chunk, double *rows, size_t max_rows, size_t columns, size_t *n,
                                 struct tl_err *err)
{
    struct header h;
    enum tl_status st = get_header(chunk, KIND_ROWS, &h, err);
    if (st != TL_OK) return st;
    if (h.columns != columns || h.rows > max_rows)
        return tl_fail(err, TL_CORRUPT, "a chunk of %zu rows x %u columns where at most %zu x %zu fit", h.rows,
                       h.columns, max_rows, columns);
    const char *p = chunk.p + HEADER_BYTES, *end = chunk.p + chunk.n - CRC_BYTES;
    for (size_t c = 0; p && c < columns; c++) p = get_column(p, end, rows + c, columns * 8, h.rows);
    if (p != end) return bad_length(chunk, err);
    *n = h.rows;
    return TL_OK;
}
