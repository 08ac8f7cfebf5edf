/* SPDX-License-Identifier: Apache-2.0 */
/* Names of frequencies and adjustments. Frequencies are read as they are written ("1M" is a month to some vendors and
 * a minute to others, so case counts); adjustments in any case. */
#include "market/freq.h"

#include "base/util.h"

static const struct {
    const char *name;
    int minutes;
} freqs[] = {
    [TL_FREQ_1M] = {"1m", 1},    [TL_FREQ_5M] = {"5m", 5}, [TL_FREQ_15M] = {"15m", 15}, [TL_FREQ_30M] = {"30m", 30},
    [TL_FREQ_60M] = {"60m", 60}, [TL_FREQ_1D] = {"1d", 0}, [TL_FREQ_1W] = {"1w", 0},    [TL_FREQ_1MO] = {"1mo", 0},
};
_Static_assert(TL_COUNT(freqs) == TL_FREQ_COUNT, "one row a frequency");

static const struct {
    const char *name, *vendor;
} adjusts[] = {
    [TL_ADJUST_RAW] = {"raw", "none"},
    [TL_ADJUST_FORWARD] = {"forward", "qfq"},
    [TL_ADJUST_BACKWARD] = {"backward", "hfq"},
};
_Static_assert(TL_COUNT(adjusts) == TL_ADJUST_COUNT, "one row an adjustment");

const char *tl_freq_name(enum tl_freq f)
{
    TL_ASSERT((unsigned)f < TL_FREQ_COUNT);
    return freqs[f].name;
}

bool tl_freq_parse(struct tl_str s, enum tl_freq *out)
{
    for (unsigned i = 0; i < TL_COUNT(freqs); i++) {
        if (!tl_str_eq(s, tl_str(freqs[i].name))) continue;
        *out = (enum tl_freq)i;
        return true;
    }
    return false;
}

int tl_freq_minutes(enum tl_freq f)
{
    TL_ASSERT((unsigned)f < TL_FREQ_COUNT);
    return freqs[f].minutes;
}

const char *tl_adjust_name(enum tl_adjust a)
{
    TL_ASSERT((unsigned)a < TL_ADJUST_COUNT);
    return adjusts[a].name;
}

bool tl_adjust_parse(struct tl_str s, enum tl_adjust *out)
{
    for (unsigned i = 0; i < TL_COUNT(adjusts); i++) {
        if (!tl_str_ieq(s, tl_str(adjusts[i].name)) && !tl_str_ieq(s, tl_str(adjusts[i].vendor))) continue;
        *out = (enum tl_adjust)i;
        return true;
    }
    return false;
}
