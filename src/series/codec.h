/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of stored chunks: 512 rows of bars or of an indicator series, columns one after another,
 * little-endian, CRC32C over all before it. A column whose rows all have the same bits is stored once.
 * Decoding trusts nothing: wrong magic, version, counts, lengths or CRC are CORRUPT (a newer format
 * version TOO_NEW), and no byte outside [p, p+n) is read. Pure. */
#ifndef TL_SERIES_CODEC_H
#define TL_SERIES_CODEC_H

#include "base/buf.h"
#include "series/bars.h"

enum { TL_CHUNK_ROWS = 512, TL_CODEC_VERSION = 1 };

/* Rows [from, from + n) of bars, 1 <= n <= TL_CHUNK_ROWS, appended to out (check tl_buf_status). */
void tl_codec_put_bars(struct tl_buf *out, const struct tl_bars *, size_t from, size_t n);
/* Appends the chunk's rows to out. ts must rise within the chunk and from out's last row, else CORRUPT. */
TL_MUSTCHECK enum tl_status tl_codec_get_bars(struct tl_str chunk, struct tl_bars *out, struct tl_err *err);

/* The same for an indicator series: n rows x columns doubles, row-major in memory, columns on disk. */
void tl_codec_put_rows(struct tl_buf *out, const double *rows, size_t n, size_t columns);
/* rows: room for max_rows x columns; *n receives the rows of the chunk. Another column count is CORRUPT. */
TL_MUSTCHECK enum tl_status tl_codec_get_rows(struct tl_str chunk, double *rows, size_t max_rows, size_t columns,
                                              size_t *n, struct tl_err *err);

#endif
