/* SPDX-License-Identifier: Apache-2.0 */
/* The habits of vendors, one row each. */
#ifndef TL_IMPORT_PROFILES_H
#define TL_IMPORT_PROFILES_H

#include "import/import.h"

struct tl_import_profile {
    const char *name;
    double volume_scale, amount_scale; /* to shares and to currency units */
    bool scale_chinese_only; /* the scales hold for Chinese column names, the vendor's English ones are in shares */
    bool scale_daily_only;   /* ... not for rows of a DATETIME column (minutes) */
    bool bar_time_end;       /* intraday labels */
    bool bare_is_share;      /* a bare six-digit code is a share, never an index */
    bool title;              /* a line with code, name and adjustment may stand before the header */
    bool footer;             /* lines that are no rows may stand at the end */
    bool gbk_first;
    enum tl_market market; /* for symbols that name none; NONE: by code */
};

/* NULL name: the neutral one. INVALID names the nearest right name. */
TL_MUSTCHECK enum tl_status tl_import_profile_find(const char *name, const struct tl_import_profile **out,
                                                   struct tl_err *err);
/* By the exchanges' numbering of shares and funds: 6 5 9 Shanghai, 0 1 2 3 Shenzhen, 4 8 and 92 Beijing.
 * NONE when code is not six digits. */
enum tl_market tl_share_market(struct tl_str code);
/* A symbol as this profile and --market (NONE: not given) read it. */
TL_MUSTCHECK enum tl_status tl_import_symbol(struct tl_str s, const struct tl_import_profile *, enum tl_market,
                                             struct tl_symbol *out, struct tl_err *err);

#endif
