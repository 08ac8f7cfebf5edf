/* SPDX-License-Identifier: Apache-2.0 */
/* Symbols in their one canonical form: `600519.SH`, `000001.SZ`, `430047.BJ`, `00700.HK`, `AAPL`, `FU2305`.
 * Accepted and normalised: sh600519, sh.600519, SH600519, 600519.XSHG / .XSHE / .SS, 600519.sh, sz.000001. */
#ifndef TL_MARKET_SYMBOL_H
#define TL_MARKET_SYMBOL_H

#include "base/str.h"
#include <tierline/status.h>

enum { TL_SYMBOL_MAX = 32 }; /* bytes with the NUL */

enum tl_market {
    TL_MARKET_NONE,
    TL_MARKET_SH,
    TL_MARKET_SZ,
    TL_MARKET_BJ,
    TL_MARKET_HK,
    TL_MARKET_US,
    TL_MARKET_CN_FUTURES
};

struct tl_symbol {
    char text[TL_SYMBOL_MAX]; /* canonical, NUL-terminated; A-Z 0-9 . - ^ = _ only */
};

/* `market` resolves bare six-digit codes; TL_MARKET_NONE means it is not known, and a bare code that is a
 * share in one market and an index or share in another (000001, 000300 ...) is TL_AMBIGUOUS. A bare code that
 * only one market uses (600519, 300750, 830799) is resolved. TL_MARKET_US leaves digits alone.
 * Errors: INVALID (empty, too long, bad byte), AMBIGUOUS. */
TL_MUSTCHECK enum tl_status tl_symbol_parse(struct tl_str s, enum tl_market market, struct tl_symbol *out,
                                            struct tl_err *err);
/* "SH sz BJ HK US FUTURES" in any case. */
bool tl_market_parse(struct tl_str s, enum tl_market *out);
/* From the canonical form: suffix, or US where there is none and the text has no digits at its end,
 * CN_FUTURES for letters followed by 3-4 digits. */
enum tl_market tl_symbol_market(const struct tl_symbol *);
/* IANA zone of a market: Asia/Shanghai, Asia/Hong_Kong, America/New_York. Never NULL. */
const char *tl_market_zone(enum tl_market);

#endif
