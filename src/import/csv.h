/* SPDX-License-Identifier: Apache-2.0 */
/* A CSV reader over a block of memory that may be one piece of a longer input (RFC 4180, with LF, CRLF and CR line
 * ends). Splits one record a call; fields point into the block, or into the reader's own scratch when a quote had to
 * be undoubled. Whether the input comes in one block or in many never changes what is read. */
#ifndef TL_IMPORT_CSV_H
#define TL_IMPORT_CSV_H

#include "base/str.h"
#include <tierline/status.h>

enum { TL_CSV_RECORD_MAX = 1 << 20, TL_CSV_COLUMNS_MAX = 512 };

enum tl_csv_result {
    TL_CSV_RECORD, /* field[0 .. n) */
    TL_CSV_MORE,   /* the block ends inside a record: call again with its bytes from *used on and more behind them */
    TL_CSV_END,    /* last block, nothing left */
    TL_CSV_BAD     /* err says what; the input cannot be read further */
};

struct tl_csv {
    char delim;            /* ' ': runs of blanks and tabs, none at the ends */
    uint8_t special[256];  /* 1: delim, CR, LF, NUL */
    uint64_t line;         /* where the record begins, 1-based */
    uint64_t next_line;    /* where the next one begins */
    const char *malformed; /* NULL, or why this record's quotes make no sense; the reader is behind it already */
    uint32_t malformed_at; /* 1-based field */
    uint32_t n;            /* fields in the record; only the first TL_CSV_COLUMNS_MAX are kept */
    struct tl_str field[TL_CSV_COLUMNS_MAX]; /* [borrow: until the next call or until the block goes] */
    char *scratch;
    size_t scratch_n, scratch_cap;
};

void tl_csv_init(struct tl_csv *);
void tl_csv_release(struct tl_csv *);
void tl_csv_set_delim(struct tl_csv *, char delim);
/* Reads the record at p. *used: its bytes with the line end (RECORD), else 0. last: no input follows the block.
 * BAD: a NUL byte (PARSE), a record longer than TL_CSV_RECORD_MAX (TOO_LARGE), a quote that is never closed (PARSE),
 * NOMEM. err has line and column; file is left empty. */
enum tl_csv_result tl_csv_next(struct tl_csv *, const char *p, size_t n, bool last, size_t *used, struct tl_err *err);
/* The same for a raw line, not split, without its end: for titles and for finding the delimiter. Does not advance the
 * line count: tl_csv_skip_line does. */
enum tl_csv_result tl_csv_line(struct tl_csv *, const char *p, size_t n, bool last, size_t *used, struct tl_str *line,
                               struct tl_err *err);
void tl_csv_skip_line(struct tl_csv *);
/* Of `,` `;` and tab the most frequent one outside quotes; 0 when there is none. */
char tl_csv_detect(struct tl_str header);

#endif
