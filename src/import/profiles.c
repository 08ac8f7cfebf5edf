/* SPDX-License-Identifier: Apache-2.0 */
/* Vendors as rows of a table, and the reading of codes that name no market. Sources: the vendors' own descriptions of
 * their fields (docs/import.md says which); nothing here is guessed from a file's contents. */
#include "import/profiles.h"

#include "base/err.h"
#include "base/util.h"

static const struct tl_import_profile neutral = {.name = "", .volume_scale = 1, .amount_scale = 1};

static const struct tl_import_profile profiles[] = {
    {.name = "baostock", .volume_scale = 1, .amount_scale = 1, .bar_time_end = true},
    {.name = "akshare",
     .volume_scale = 100,
     .amount_scale = 1,
     .scale_chinese_only = true,
     .bar_time_end = true,
     .bare_is_share = true},
    {.name = "tushare", .volume_scale = 100, .amount_scale = 1000, .scale_daily_only = true, .bar_time_end = true},
    {.name = "tdx",
     .volume_scale = 1,
     .amount_scale = 1,
     .bar_time_end = true,
     .title = true,
     .footer = true,
     .gbk_first = true},
    {.name = "yahoo", .volume_scale = 1, .amount_scale = 1, .market = TL_MARKET_US},
};

enum tl_status tl_import_profile_find(const char *name, const struct tl_import_profile **out, struct tl_err *err)
{
    *out = &neutral;
    if (!name) return TL_OK;
    size_t nearest = 0;
    unsigned best = 64;
    for (size_t i = 0; i < TL_COUNT(profiles); i++) {
        const unsigned d = tl_str_distance(tl_str(name), tl_str(profiles[i].name));
        if (d == 0) {
            *out = &profiles[i];
            return TL_OK;
        }
        if (d < best) {
            best = d;
            nearest = i;
        }
    }
    return tl_fail(err, TL_INVALID,
                   "no import profile \"%.40s\"; did you mean %s? (baostock akshare tushare tdx yahoo)", name,
                   profiles[nearest].name);
}

enum tl_market tl_share_market(struct tl_str code)
{
    if (code.n != 6) return TL_MARKET_NONE;
    for (size_t i = 0; i < 6; i++)
        if (code.p[i] < '0' || code.p[i] > '9') return TL_MARKET_NONE;
    switch (code.p[0]) {
    case '5':
    case '6':
    case '7':
        return TL_MARKET_SH;
    case '9':
        return code.p[1] == '2' ? TL_MARKET_BJ : TL_MARKET_SH;
    case '4':
    case '8':
        return TL_MARKET_BJ;
    default:
        return TL_MARKET_SZ;
    }
}

enum tl_status tl_import_symbol(struct tl_str s, const struct tl_import_profile *p, enum tl_market market,
                                struct tl_symbol *out, struct tl_err *err)
{
    if (market == TL_MARKET_NONE && p->bare_is_share) market = tl_share_market(s);
    if (market == TL_MARKET_NONE) market = p->market;
    return tl_symbol_parse(s, market, out, err);
}
