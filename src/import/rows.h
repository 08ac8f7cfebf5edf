/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of an input while it is read: rows by symbol, in the order of the input, and the walk over it that
 * parse.c, bars.c and facts.c share. */
#ifndef TL_IMPORT_ROWS_H
#define TL_IMPORT_ROWS_H

#include "base/map.h"
#include "import/columns.h"
#include "import/csv.h"
#include "import/field.h"
#include "import/parse.h"
#include "import/profiles.h"
#include "import/times.h"
#include "market/tz.h"

/* The rows of one symbol. Only what the kind needs is allocated; line[] (and offset_min[], if times carry offsets)
 * run beside bars, factor or day. */
struct tl_rows {
    struct tl_symbol symbol;
    size_t n, cap;
    struct tl_bars bars; /* ts_ms is wall time until tl_rows_finish */
    struct tl_factor *factor;
    int64_t *day;
    uint64_t *line;
    int32_t *offset_min;
};

enum { TL_ZONES_MAX = 16 };

struct tl_parse {
    const struct tl_import_source *source;
    const struct tl_import_options *opt;
    const struct tl_import_sink *sink;
    const struct tl_import_profile *profile;
    struct tl_import_counts *count;
    struct tl_err *err;

    struct tl_csv csv;
    struct tl_columns col;
    struct tl_when_cache months;
    double volume_scale, amount_scale;
    bool bar_time_end;

    struct tl_map *by_text; /* symbol as written -> struct tl_rows, NULL when it is none */
    struct tl_map *by_name; /* canonical -> struct tl_rows, in order of appearance */
    struct tl_rows *last;   /* of last_text */
    char last_text[TL_SYMBOL_MAX];
    size_t last_text_n;
    struct tl_symbol fixed;    /* of all rows; "" when a column says */
    char given[TL_SYMBOL_MAX]; /* the one text in the symbol column beside --symbol */
    size_t given_n;
    uint64_t given_line;
    char title_code[TL_SYMBOL_MAX];

    bool any_time;           /* a row has a time other than midnight */
    bool zoned, zoned_known; /* rows carry UTC offsets; decided by the first */
    uint64_t first_reject_line;

    struct tl_tz *zone[TL_ZONES_MAX]; /* opened so far */
    const char *zone_name[TL_ZONES_MAX];
    size_t zones;
};

/* Hands the row at csv.line to on_reject and counts it. column 0: the row as a whole. */
void tl_reject(struct tl_parse *, uint64_t line, uint32_t column, const char *fmt, ...) TL_PRINTF(4, 5);
static inline struct tl_str tl_parse_field(const struct tl_parse *p, enum tl_role r)
{
    return tl_field_trim(p->csv.field[p->col.of[r].at]);
}
static inline bool tl_parse_has(const struct tl_parse *p, enum tl_role r)
{
    return p->col.of[r].at >= 0;
}
/* Rejects the row for the field of a role: `open "abc" is not a number`. */
void tl_reject_field(struct tl_parse *, enum tl_role, struct tl_str field, const char *why);
/* The number of a role: false: the row was rejected. A blank field is NaN if blank_ok, else rejected. Negative ones
 * are rejected. */
bool tl_parse_number(struct tl_parse *, enum tl_role, bool blank_ok, double *out);
/* The date and time of the row. false: rejected. */
bool tl_parse_when(struct tl_parse *, struct tl_when *out);
/* The rows of the record's symbol. *out NULL with OK: the row was rejected. Errors end the input. */
TL_MUSTCHECK enum tl_status tl_parse_symbol(struct tl_parse *, struct tl_rows **out);
/* Made when it is not there. NULL: out of memory. */
struct tl_rows *tl_rows_of(struct tl_parse *, const struct tl_symbol *);
/* Room for one more row of the kind. */
TL_MUSTCHECK enum tl_status tl_rows_grow(struct tl_parse *, struct tl_rows *);
void tl_rows_clear(struct tl_rows *);
/* --zone, else the market's. Opened once. */
TL_MUSTCHECK enum tl_status tl_parse_zone(struct tl_parse *, const struct tl_symbol *, const struct tl_tz **out,
                                          const char **name);

/* A row, and the end of the input, for each kind. */
TL_MUSTCHECK enum tl_status tl_bars_row(struct tl_parse *);
TL_MUSTCHECK enum tl_status tl_bars_end(struct tl_parse *);
TL_MUSTCHECK enum tl_status tl_factors_row(struct tl_parse *);
TL_MUSTCHECK enum tl_status tl_factors_end(struct tl_parse *);
TL_MUSTCHECK enum tl_status tl_calendar_row(struct tl_parse *);
TL_MUSTCHECK enum tl_status tl_calendar_end(struct tl_parse *);

/* order[0 .. n): row numbers by (key, row number). NULL: rows rise strictly already, or out of memory (*failed). [own]
 */
size_t *tl_rows_order(const int64_t *key, size_t n, bool *failed);

#endif
