/* SPDX-License-Identifier: Apache-2.0 */
/* Building and taking apart keys and scopes. Pure. Encoding is injective: two different triples never share a key. */
#include "cache/key.h"

#include "base/err.h"
#include "base/util.h"

#include <stdio.h>

enum { TYPE_BYTES = 64, SYMBOL_BYTES = 64, TIMEFRAME_BYTES = 32 };

static const bool encoded[256] = {
    [0 ... 0x20] = true, [0x7f] = true, ['{'] = true, ['}'] = true, ['%'] = true, [':'] = true};

/* Appends an encoded part; false when it does not fit. */
static bool put_part(struct tl_cache_key *k, const char *part)
{
    static const char hex[] = "0123456789ABCDEF";
    for (const unsigned char *p = (const unsigned char *)part; *p;) {
        size_t n = 0;
        while (!encoded[p[n]]) n++; /* NUL is encoded */
        if (k->n + n + 3 > TL_KEY_MAX) return false;
        memcpy(k->text + k->n, p, n);
        k->n += n;
        p += n;
        if (!*p) break;
        k->text[k->n++] = '%';
        k->text[k->n++] = hex[*p >> 4];
        k->text[k->n++] = hex[*p++ & 15];
    }
    k->text[k->n] = '\0';
    return true;
}

static bool put_text(struct tl_cache_key *k, const char *text)
{
    size_t n = strlen(text);
    if (k->n + n > TL_KEY_MAX) return false;
    memcpy(k->text + k->n, text, n + 1);
    k->n += n;
    return true;
}

/* A part that is there, or "-". A part that is "-" itself is encoded, so that it is not taken for none. */
static bool put_optional(struct tl_cache_key *k, const char *part)
{
    if (!part || !part[0]) return put_text(k, "-");
    if (strcmp(part, "-") == 0) return put_text(k, "%2D");
    return put_part(k, part);
}

static enum tl_status check_part(const char *what, const char *part, size_t max, struct tl_err *err)
{
    if (part && strlen(part) > max)
        return tl_fail(err, TL_INVALID, "%s of %zu bytes: at most %zu", what, strlen(part), max);
    return TL_OK;
}

static const char *canonical(const char *symbol, struct tl_symbol *storage)
{
    if (!symbol || !symbol[0]) return symbol;
    return tl_symbol_parse(tl_str(symbol), TL_MARKET_NONE, storage, NULL) == TL_OK ? storage->text : symbol;
}

enum tl_status tl_cache_key_general(const struct tl_key *key, struct tl_cache_key *out, struct tl_err *err)
{
    if (!key->data_type || !key->data_type[0]) return tl_fail(err, TL_INVALID, "a key needs a data type");
    enum tl_status st = check_part("data type", key->data_type, TYPE_BYTES, err);
    if (st == TL_OK) st = check_part("symbol", key->symbol, SYMBOL_BYTES, err);
    if (st == TL_OK) st = check_part("timeframe", key->timeframe, TIMEFRAME_BYTES, err);
    if (st != TL_OK) return st;
    struct tl_symbol symbol;
    out->n = 0;
    bool fits = put_text(out, "cache:{") && put_optional(out, canonical(key->symbol, &symbol)) && put_text(out, "}:") &&
                put_optional(out, key->data_type) && put_text(out, ":") && put_optional(out, key->timeframe);
    return fits ? TL_OK
                : tl_fail(err, TL_INVALID, "key %s: longer than %d bytes when encoded", key->data_type, TL_KEY_MAX);
}

static void series_key(const struct tl_series_key *key, const char *spec, struct tl_cache_key *out)
{
    out->n = 0;
    bool fits = put_text(out, "calc:{") && put_part(out, key->symbol.text) && put_text(out, "}:") &&
                put_text(out, tl_freq_name(key->freq)) && put_text(out, ":") &&
                put_text(out, tl_adjust_name(key->adjust)) && put_text(out, ":") && put_part(out, spec);
    TL_ASSERT(fits); /* 32 + 96 bytes, of which only the specs' = and ; could ever need encoding, and do not */
}

void tl_cache_key_series(const struct tl_series_key *key, struct tl_cache_key *out)
{
    series_key(key, key->spec, out);
}

void tl_cache_key_times(const struct tl_series_key *key, struct tl_cache_key *out)
{
    series_key(key, "TIMES", out);
}

enum tl_entry_kind tl_cache_key_kind(struct tl_str key)
{
    return key.n > 5 && memcmp(key.p, "calc:", 5) == 0 ? TL_ENTRY_SERIES : TL_ENTRY_GENERAL;
}

bool tl_cache_key_split(struct tl_str key, struct tl_key_parts *out)
{
    size_t begin = key.n > 7 && memcmp(key.p, "cache:{", 7) == 0  ? 7
                   : key.n > 6 && memcmp(key.p, "calc:{", 6) == 0 ? 6
                                                                  : 0;
    if (begin == 0) return false;
    const char *close = memchr(key.p + begin, '}', key.n - begin);
    if (!close || (size_t)(close - key.p) + 2 > key.n || close[1] != ':') return false;
    out->symbol = (struct tl_str){key.p + begin, (size_t)(close - key.p) - begin};
    struct tl_str rest = {close + 2, key.n - (size_t)(close - key.p) - 2}, first, second;
    if (!tl_str_split(&rest, ':', &first) || !tl_str_split(&rest, ':', &second)) return false;
    if (begin == 6) {
        out->data_type = TL_STR("calc");
        out->timeframe = first;
    } else {
        out->data_type = first;
        out->timeframe = second;
    }
    return true;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

size_t tl_cache_key_decode(struct tl_str part, char *out, size_t cap)
{
    size_t n = 0;
    if (tl_str_eq(part, TL_STR("-"))) part.n = 0;
    for (size_t i = 0; i < part.n && n + 1 < cap; i++) {
        bool escape =
            part.p[i] == '%' && i + 2 < part.n && hex_digit(part.p[i + 1]) >= 0 && hex_digit(part.p[i + 2]) >= 0;
        out[n++] = escape ? (char)(hex_digit(part.p[i + 1]) * 16 + hex_digit(part.p[i + 2])) : part.p[i];
        if (escape) i += 2;
    }
    out[n] = '\0';
    return n;
}

bool tl_cache_key_to_series(struct tl_str key, struct tl_series_key *out)
{
    struct tl_key_parts parts;
    if (tl_cache_key_kind(key) != TL_ENTRY_SERIES || !tl_cache_key_split(key, &parts)) return false;
    struct tl_str rest = {parts.timeframe.p, (size_t)(key.p + key.n - parts.timeframe.p)}, freq, adjust;
    if (!tl_str_split(&rest, ':', &freq) || !tl_str_split(&rest, ':', &adjust) || !rest.p) return false;
    size_t n = tl_cache_key_decode(parts.symbol, out->symbol.text, sizeof out->symbol.text);
    size_t m = tl_cache_key_decode(rest, out->spec, sizeof out->spec);
    return n > 0 && m > 0 && tl_freq_parse(freq, &out->freq) && tl_adjust_parse(adjust, &out->adjust);
}

enum tl_status tl_cache_scope(enum tl_scope scope, const struct tl_key *key, char out[TL_SCOPE_MAX + 1],
                              struct tl_err *err)
{
    struct tl_key named = *key;
    if (scope == TL_SCOPE_ALL || scope == TL_SCOPE_SYMBOL) named.data_type = "-";
    if (scope == TL_SCOPE_SYMBOL && (!key->symbol || !key->symbol[0]))
        return tl_fail(err, TL_INVALID, "invalidating by symbol needs a symbol");
    struct tl_cache_key k;
    enum tl_status st = tl_cache_key_general(&named, &k, err);
    if (st != TL_OK) return st;
    struct tl_key_parts p;
    bool split = tl_cache_key_split(tl_cache_key_str(&k), &p);
    TL_ASSERT(split);
    size_t cap = TL_SCOPE_MAX + 1;
    switch (scope) {
    case TL_SCOPE_KEY:
        snprintf(out, cap, "k:%s", k.text);
        break;
    case TL_SCOPE_SYMBOL:
        snprintf(out, cap, "s:%.*s", TL_STR_ARG(p.symbol));
        break;
    case TL_SCOPE_TYPE:
        snprintf(out, cap, "t:%.*s", TL_STR_ARG(p.data_type));
        break;
    case TL_SCOPE_GROUP:
        snprintf(out, cap, "g:%.*s:%.*s:%.*s", TL_STR_ARG(p.data_type), TL_STR_ARG(p.symbol), TL_STR_ARG(p.timeframe));
        break;
    case TL_SCOPE_ALL:
        snprintf(out, cap, "a");
        break;
    }
    return TL_OK;
}

bool tl_cache_scope_covers(struct tl_str scope, struct tl_str key)
{
    struct tl_key_parts p;
    if (tl_str_eq(scope, TL_STR("a"))) return true;
    if (scope.n < 3 || !tl_cache_key_split(key, &p)) return false;
    struct tl_str rest = {scope.p + 2, scope.n - 2};
    switch (scope.p[0]) {
    case 'k':
        return tl_str_eq(rest, key);
    case 's':
        return tl_str_eq(rest, p.symbol);
    case 't':
        return tl_str_eq(rest, p.data_type);
    case 'g': {
        struct tl_str type, symbol, timeframe;
        return tl_str_split(&rest, ':', &type) && tl_str_split(&rest, ':', &symbol) &&
               tl_str_split(&rest, ':', &timeframe) && tl_str_eq(type, p.data_type) && tl_str_eq(symbol, p.symbol) &&
               tl_str_eq(timeframe, p.timeframe);
    }
    default:
        return false;
    }
}
