/* SPDX-License-Identifier: Apache-2.0 */
/* What commands print with: aligned tables, human numbers, a progress bar. */
#ifndef TL_CLI_OUT_H
#define TL_CLI_OUT_H

#include "cli/cli.h"

/* ---- text ---- */
/* Columns that a UTF-8 text takes on a terminal: wide East Asian characters 2, combining ones 0. */
size_t tl_text_width(struct tl_str);
enum tl_paint { TL_PAINT_RESET, TL_PAINT_BOLD, TL_PAINT_DIM, TL_PAINT_RED, TL_PAINT_GREEN, TL_PAINT_YELLOW };
/* The escape sequence, "" when !on. */
const char *tl_paint(bool on, enum tl_paint);

enum { TL_HUMAN_MAX = 32 };
/* "1,234,567" */
const char *tl_human_count(char out[TL_HUMAN_MAX], uint64_t n);
/* "812 B", "12.3 MiB" */
const char *tl_human_bytes(char out[TL_HUMAN_MAX], uint64_t n);
/* "0.42 s", "12.3 s", "4m 05s", "2h 03m" */
const char *tl_human_seconds(char out[TL_HUMAN_MAX], double s);

/* ---- tables ---- */
struct tl_table {
    unsigned columns;
    struct tl_buf text; /* cells one behind the other, each NUL-terminated */
    size_t cells;
};
/* heads: names of the columns; the first byte says how the column is aligned: '<' left, '>' right. */
void tl_table_init(struct tl_table *, unsigned columns, const char *const *heads);
void tl_table_release(struct tl_table *);
/* The next cell, row by row. NULL: empty. */
void tl_table_cell(struct tl_table *, const char *z);
void tl_table_cellf(struct tl_table *, const char *fmt, ...) TL_PRINTF(2, 3);
void tl_table_cell_num(struct tl_table *, double v); /* shortest text */
/* Prints to cli->out; the last row must be full. NOMEM when a cell could not be kept. */
TL_MUSTCHECK enum tl_status tl_table_print(const struct tl_table *, const struct tl_cli *, struct tl_err *err);

/* Prints a JSON text and a newline to cli->out; NOMEM, TOO_LARGE when the buffer has failed. */
TL_MUSTCHECK enum tl_status tl_out_json(const struct tl_cli *, const struct tl_buf *, struct tl_err *err);

/* ---- progress, on cli->err ---- */
/* On a terminal one line that redraws itself at most 10 times a second: bar, done/total, rate, ETA, failed.
 * Elsewhere a plain line at most every 2 s. Nothing with --quiet. One thread uses it. */
struct tl_progress {
    const struct tl_cli *cli; /* [borrow: until end] */
    const char *label;        /* "calc" */
    const char *unit;         /* "symbols"; "B" gives human bytes */
    uint64_t start_ns, drawn_ns;
    bool on_screen;
};
void tl_progress_init(struct tl_progress *, const struct tl_cli *, const char *label, const char *unit);
/* item: what is under way, may be NULL. total 0: not known. */
void tl_progress_update(struct tl_progress *, uint64_t done, uint64_t total, uint64_t failed, const char *item);
/* Takes the bar off the terminal, so that something else can be printed; the next update draws it again. */
void tl_progress_clear(struct tl_progress *);

#endif
