/* SPDX-License-Identifier: Apache-2.0 */
/* A header row to roles: which field of a row is the date, the close and so on. */
#ifndef TL_IMPORT_COLUMNS_H
#define TL_IMPORT_COLUMNS_H

#include "import/import.h"

enum tl_role {
    TL_ROLE_SYMBOL,
    TL_ROLE_DATETIME,
    TL_ROLE_DATE,
    TL_ROLE_TIME,
    TL_ROLE_OPEN,
    TL_ROLE_HIGH,
    TL_ROLE_LOW,
    TL_ROLE_CLOSE,
    TL_ROLE_VOLUME,
    TL_ROLE_AMOUNT, /* as in tl_bar */
    TL_ROLE_FACTOR,
    TL_ROLE_FORE_FACTOR,
    TL_ROLE_CASH,
    TL_ROLE_GIFT,
    TL_ROLE_TRANSFER,
    TL_ROLE_RIGHTS,
    TL_ROLE_RIGHTS_PRICE,
    TL_ROLE_IS_OPEN,
    TL_ROLE_COUNT,
    TL_ROLE_NONE = -1
};

struct tl_column {
    int at;        /* field index, -1: the header has none */
    bool alt;      /* found by a second-choice name */
    bool ascii;    /* its name is English */
    double scale;  /* to shares or currency units; 0: its name does not say */
    char name[32]; /* as in the header, for messages; UTF-8, perhaps shortened */
};

struct tl_columns {
    uint32_t n; /* fields in the header */
    struct tl_column of[TL_ROLE_COUNT];
};

/* The role of one header name (UTF-8); NONE. scale and alt may be NULL. */
enum tl_role tl_role_of(struct tl_str name, double *scale, bool *alt);
const char *tl_role_name(enum tl_role);
/* Errors (PARSE, with line and column): no usable date, a price that is missing for bars, two columns for one role,
 * nothing to import for the kind; the text says what was found. The header is read as UTF-8, or as GB18030 where it is
 * not (gbk_first: the other way round); one that gives no roles is tried the other way as well. */
TL_MUSTCHECK enum tl_status tl_columns_read(const struct tl_str *field, uint32_t n, enum tl_import_kind, bool gbk_first,
                                            uint64_t line, struct tl_columns *out, struct tl_err *err);

#endif
