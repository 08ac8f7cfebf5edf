/* SPDX-License-Identifier: Apache-2.0 */
/* Symbols: from the spellings of vendors to the one canonical form. First every byte is checked and upper-cased, then
 * the first of these that fits decides: a market's suffix, a market's prefix, digits alone, anything else as it is.
 * Canonical forms come back unchanged. Knows the ranges of codes, not which codes exist. */
#include "market/symbol.h"

#include "base/err.h"
#include "base/util.h"

static const struct {
    const char *text;
    enum tl_market market;
} suffixes[] = {
    {"SH", TL_MARKET_SH},   {"SS", TL_MARKET_SH}, {"XSHG", TL_MARKET_SH}, {"SZ", TL_MARKET_SZ},
    {"XSHE", TL_MARKET_SZ}, {"BJ", TL_MARKET_BJ}, {"HK", TL_MARKET_HK},   {"XHKG", TL_MARKET_HK},
};

/* The exchanges' own suffixes of futures, which stay as they are. */
static const char *const futures_suffixes[] = {"SHF", "SHFE", "INE",   "DCE", "CZC", "CZCE",
                                               "ZCE", "CFE",  "CFFEX", "GFE", "GFEX"};

static const struct {
    const char *name, *zone;
} markets[] = {
    [TL_MARKET_NONE] = {"", "UTC"},
    [TL_MARKET_SH] = {"SH", "Asia/Shanghai"},
    [TL_MARKET_SZ] = {"SZ", "Asia/Shanghai"},
    [TL_MARKET_BJ] = {"BJ", "Asia/Shanghai"},
    [TL_MARKET_HK] = {"HK", "Asia/Hong_Kong"},
    [TL_MARKET_US] = {"US", "America/New_York"},
    [TL_MARKET_CN_FUTURES] = {"FUTURES", "Asia/Shanghai"},
};

/* Beginnings of bare six-digit codes that one market alone uses. */
static const struct {
    const char *prefix;
    enum tl_market market;
} ranges[] = {
    {"600", TL_MARKET_SH}, {"601", TL_MARKET_SH}, {"603", TL_MARKET_SH}, {"605", TL_MARKET_SH}, {"688", TL_MARKET_SH},
    {"689", TL_MARKET_SH}, {"900", TL_MARKET_SH}, {"51", TL_MARKET_SH},  {"56", TL_MARKET_SH},  {"58", TL_MARKET_SH},
    {"001", TL_MARKET_SZ}, {"002", TL_MARKET_SZ}, {"003", TL_MARKET_SZ}, {"300", TL_MARKET_SZ}, {"301", TL_MARKET_SZ},
    {"399", TL_MARKET_SZ}, {"200", TL_MARKET_SZ}, {"159", TL_MARKET_SZ}, {"16", TL_MARKET_SZ},  {"4", TL_MARKET_BJ},
    {"8", TL_MARKET_BJ},   {"92", TL_MARKET_BJ},
};

enum { CN_DIGITS = 6, HK_DIGITS = 5 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}
static bool is_letter(char c)
{
    return c >= 'A' && c <= 'Z';
}

static size_t leading_digits(struct tl_str s)
{
    size_t n = 0;
    while (n < s.n && is_digit(s.p[n])) n++;
    return n;
}

static size_t leading_letters(struct tl_str s)
{
    size_t n = 0;
    while (n < s.n && is_letter(s.p[n])) n++;
    return n;
}

static bool starts_with(struct tl_str s, const char *z)
{
    size_t n = strlen(z);
    return s.n >= n && memcmp(s.p, z, n) == 0;
}

static enum tl_market market_of_suffix(struct tl_str suffix)
{
    for (size_t i = 0; i < TL_COUNT(suffixes); i++)
        if (tl_str_eq(suffix, tl_str(suffixes[i].text))) return suffixes[i].market;
    return TL_MARKET_NONE;
}

/* The part behind the last dot; without a dot p is NULL. *code is what stands before it. */
static struct tl_str split_suffix(struct tl_str s, struct tl_str *code)
{
    const char *dot = s.n ? memrchr(s.p, '.', s.n) : NULL;
    *code = s;
    if (!dot) return (struct tl_str){NULL, 0};
    code->n = (size_t)(dot - s.p);
    return (struct tl_str){dot + 1, s.n - code->n - 1};
}

/* The market of `SH600519`, `SH.600519`, `HK00700`, `HK.700`; NONE when s is no such form. Fewer digits behind bare
 * letters are a future (SH2405 is caustic soda). */
static enum tl_market split_prefix(struct tl_str s, struct tl_str *code)
{
    size_t letters = leading_letters(s);
    bool dot = letters < s.n && s.p[letters] == '.';
    *code = (struct tl_str){s.p + letters + dot, s.n - letters - dot};
    if (code->n == 0 || leading_digits(*code) != code->n) return TL_MARKET_NONE;
    enum tl_market m = letters ? market_of_suffix((struct tl_str){s.p, letters}) : TL_MARKET_NONE;
    size_t least = m == TL_MARKET_HK ? HK_DIGITS : CN_DIGITS;
    return dot || code->n >= least ? m : TL_MARKET_NONE;
}

static enum tl_status put_code(struct tl_str code, enum tl_market market, struct tl_symbol *out, struct tl_err *err)
{
    const char *name = markets[market].name;
    size_t digits = leading_digits(code), zeros = 0;
    if (digits == code.n && market == TL_MARKET_HK) {
        if (digits > HK_DIGITS)
            return tl_fail(err, TL_INVALID, "'%.*s' is no %s code: they have five digits", TL_STR_ARG(code), name);
        zeros = HK_DIGITS - digits;
    } else if (digits == code.n && digits < CN_DIGITS) {
        return tl_fail(err, TL_INVALID, "'%.*s' is no %s code: they have six digits (were leading zeros lost?)",
                       TL_STR_ARG(code), name);
    }
    size_t tail = strlen(name) + 1;
    if (zeros + code.n + tail >= TL_SYMBOL_MAX)
        return tl_fail(err, TL_INVALID, "symbol '%.*s.%s' is too long", TL_STR_ARG(code), name);
    char text[TL_SYMBOL_MAX] = "00000";
    memcpy(text + zeros, code.p, code.n);
    text[zeros + code.n] = '.';
    memcpy(text + zeros + code.n + 1, name, tail); /* with its NUL */
    memcpy(out->text, text, sizeof text);
    return TL_OK;
}

static enum tl_status parse_bare(struct tl_str code, struct tl_symbol *out, struct tl_err *err)
{
    if (code.n != CN_DIGITS)
        return tl_fail(err, TL_AMBIGUOUS, "%.*s does not say its market: say --market, or write %.*s.HK",
                       TL_STR_ARG(code), TL_STR_ARG(code));
    if (starts_with(code, "000"))
        return tl_fail(err, TL_AMBIGUOUS,
                       "%.*s is a share in SZ and an index in SH: say --market SH or SZ, or write %.*s.SZ",
                       TL_STR_ARG(code), TL_STR_ARG(code));
    for (size_t i = 0; i < TL_COUNT(ranges); i++)
        if (starts_with(code, ranges[i].prefix)) return put_code(code, ranges[i].market, out, err);
    return tl_fail(err, TL_AMBIGUOUS, "%.*s may be of several markets: say --market SH, SZ or BJ, or write %.*s.SH",
                   TL_STR_ARG(code), TL_STR_ARG(code));
}

/* Checks every byte and upper-cases into text. */
static enum tl_status clean(struct tl_str s, char text[TL_SYMBOL_MAX], struct tl_err *err)
{
    if (s.n == 0) return tl_fail(err, TL_INVALID, "the symbol is empty");
    if (s.n >= TL_SYMBOL_MAX)
        return tl_fail(err, TL_INVALID, "symbol '%.*s...' has %zu bytes: at most %d are possible", TL_SYMBOL_MAX - 1,
                       s.p, s.n, TL_SYMBOL_MAX - 1);
    bool named = false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c >= 'a' && c <= 'z') c = (char)(c - 'a' + 'A');
        bool name = is_letter(c) || is_digit(c);
        if (!name && (c == '\0' || !strchr(".-^=_", c)))
            return tl_fail(err, TL_INVALID, "byte 0x%02x at position %zu of symbol '%.*s' is not possible in a symbol",
                           (unsigned)(unsigned char)c, i + 1, TL_STR_ARG(s));
        named = named || name;
        text[i] = c;
    }
    if (!named || text[0] == '.' || text[0] == '-' || text[s.n - 1] == '.')
        return tl_fail(err, TL_INVALID, "'%.*s' is no symbol", TL_STR_ARG(s));
    text[s.n] = '\0';
    return TL_OK;
}

enum tl_status tl_symbol_parse(struct tl_str s, enum tl_market market, struct tl_symbol *out, struct tl_err *err)
{
    char text[TL_SYMBOL_MAX];
    enum tl_status st = clean(s, text, err);
    if (st != TL_OK) return st;
    struct tl_str whole = {text, s.n}, code, inner;
    enum tl_market m = market_of_suffix(split_suffix(whole, &code));
    if (m != TL_MARKET_NONE) {
        size_t plain = 0;
        while (plain < code.n && (is_letter(code.p[plain]) || is_digit(code.p[plain]))) plain++;
        if (plain != code.n || split_prefix(code, &inner) != TL_MARKET_NONE)
            return tl_fail(err, TL_INVALID, "'%s' names a market more than once, or no code", text);
        return put_code(code, m, out, err);
    }
    m = split_prefix(whole, &code);
    if (m != TL_MARKET_NONE) return put_code(code, m, out, err);
    if (leading_digits(whole) == whole.n) {
        if (market == TL_MARKET_NONE) return parse_bare(whole, out, err);
        if (market != TL_MARKET_US && market != TL_MARKET_CN_FUTURES) return put_code(whole, market, out, err);
    }
    memcpy(out->text, text, s.n + 1);
    return TL_OK;
}

bool tl_market_parse(struct tl_str s, enum tl_market *out)
{
    for (unsigned i = TL_MARKET_SH; i < TL_COUNT(markets); i++) {
        if (!tl_str_ieq(s, tl_str(markets[i].name))) continue;
        *out = (enum tl_market)i;
        return true;
    }
    return false;
}

static bool is_future(struct tl_str code)
{
    size_t letters = leading_letters(code);
    struct tl_str digits = {code.p + letters, code.n - letters};
    return letters > 0 && (digits.n == 3 || digits.n == 4) && leading_digits(digits) == digits.n;
}

enum tl_market tl_symbol_market(const struct tl_symbol *symbol)
{
    struct tl_str whole = tl_str(symbol->text), code, suffix = split_suffix(whole, &code);
    enum tl_market m = market_of_suffix(suffix);
    if (m != TL_MARKET_NONE) return m;
    if (is_future(whole)) return TL_MARKET_CN_FUTURES;
    for (size_t i = 0; i < TL_COUNT(futures_suffixes); i++)
        if (tl_str_eq(suffix, tl_str(futures_suffixes[i])) && is_future(code)) return TL_MARKET_CN_FUTURES;
    return whole.n > 0 && !is_digit(whole.p[whole.n - 1]) ? TL_MARKET_US : TL_MARKET_NONE;
}

const char *tl_market_zone(enum tl_market m)
{
    TL_ASSERT((unsigned)m < TL_COUNT(markets));
    return markets[m].zone;
}
