/* SPDX-License-Identifier: Apache-2.0 */
/* Bar frequencies and price adjustments: the two enumerations of every series key. */
#ifndef TL_MARKET_FREQ_H
#define TL_MARKET_FREQ_H

#include "base/str.h"

enum tl_freq {
    TL_FREQ_1M,
    TL_FREQ_5M,
    TL_FREQ_15M,
    TL_FREQ_30M,
    TL_FREQ_60M,
    TL_FREQ_1D,
    TL_FREQ_1W,
    TL_FREQ_1MO,
    TL_FREQ_COUNT
};
enum tl_adjust { TL_ADJUST_RAW, TL_ADJUST_FORWARD, TL_ADJUST_BACKWARD, TL_ADJUST_COUNT };

const char *tl_freq_name(enum tl_freq); /* "1m" ... "1mo" */
bool tl_freq_parse(struct tl_str, enum tl_freq *out);
/* Length in minutes of an intraday frequency; 0 for 1d and above. */
int tl_freq_minutes(enum tl_freq);
static inline bool tl_freq_intraday(enum tl_freq f)
{
    return f < TL_FREQ_1D;
}
const char *tl_adjust_name(enum tl_adjust);               /* "raw" "forward" "backward" */
bool tl_adjust_parse(struct tl_str, enum tl_adjust *out); /* also qfq, hfq, none */

#endif
