/* SPDX-License-Identifier: Apache-2.0 */
/* Symbols, dates, numbers and time zone files: any bytes either fail or give something canonical. The first byte
 * chooses. */
#include "base/num.h"
#include "base/util.h"
#include "market/symbol.h"
#include "market/tz.h"

#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void zone(const uint8_t *data, size_t size)
{
    struct tl_tz *tz;
    if (tl_tz_read("Fuzz/Zone", data, size, &tz, NULL) != TL_OK) return;
    static const int64_t at[] = {INT64_MIN, -1, 0, INT64_C(1719792000000), INT64_C(99999999999999), INT64_MAX};
    for (size_t i = 0; i < TL_COUNT(at); i++) {
        int64_t offset = tl_tz_offset_at_utc(tz, at[i]);
        TL_ASSERT(offset >= -26 * INT64_C(3600000) && offset <= 26 * INT64_C(3600000));
        (void)tl_tz_to_utc(tz, at[i]);
    }
    tl_tz_free(tz);
}

static void symbol(struct tl_str s, enum tl_market market)
{
    struct tl_symbol once, twice;
    struct tl_err err;
    if (tl_symbol_parse(s, market, &once, &err) != TL_OK) return;
    TL_ASSERT(tl_symbol_parse(tl_str(once.text), TL_MARKET_US, &twice, &err) == TL_OK);
    TL_ASSERT(strcmp(once.text, twice.text) == 0);
    TL_ASSERT(tl_market_zone(tl_symbol_market(&once)));
}

static void number(struct tl_str s)
{
    double v, back;
    char text[TL_NUM_MAX];
    if (tl_num_parse(s, &v) != TL_NUM_OK) return;
    TL_ASSERT(isfinite(v));
    TL_ASSERT(tl_num_parse((struct tl_str){text, tl_num_format(text, v)}, &back) == TL_NUM_OK);
    TL_ASSERT(memcmp(&v, &back, sizeof v) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct tl_str rest = {(const char *)data + 1, size - 1};
    int64_t ts;
    switch (data[0] % 10) {
    case 0:
        zone(data + 1, size - 1);
        break;
    case 1:
        if (tl_civil_parse_date(rest, &ts)) TL_ASSERT(ts % TL_DAY_MS == 0);
        break;
    case 2:
        number(rest);
        break;
    default:
        symbol(rest, (enum tl_market)(data[0] % 10 - 3));
    }
    return 0;
}
