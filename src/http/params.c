/* SPDX-License-Identifier: Apache-2.0 */
/* What requests say in their target and their fields: percent-encoding, query parameters, Accept with its weights,
 * entity tags. Pure: every function reads bytes from outside and allocates at most what its caller's buffer allows. It
 * does not know connections. */
#include "http/http.h"

#include "base/err.h"
#include "base/util.h"

/* ---- methods ---- */

const char *tl_http_method_name(enum tl_http_method m)
{
    switch (m) {
    case TL_HTTP_GET:
        return "GET";
    case TL_HTTP_HEAD:
        return "HEAD";
    case TL_HTTP_PUT:
        return "PUT";
    case TL_HTTP_POST:
        return "POST";
    case TL_HTTP_DELETE:
        return "DELETE";
    case TL_HTTP_OPTIONS:
        return "OPTIONS";
    case TL_HTTP_PATCH:
        return "PATCH";
    }
    return "?";
}

/* ---- percent-encoding ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Bytes of the well-formed UTF-8 sequence at p (Unicode 15, table 3-7); 0: it is none. */
static size_t utf8_bytes(const unsigned char *p, size_t n)
{
    static const struct {
        unsigned char first, last, second_min, second_max, bytes;
    } rows[] = {
        {0x01, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t r = 0; r < TL_COUNT(rows); r++) {
        if (p[0] < rows[r].first || p[0] > rows[r].last) continue;
        if (rows[r].bytes == 1) return 1;
        if (n < rows[r].bytes || p[1] < rows[r].second_min || p[1] > rows[r].second_max) return 0;
        for (size_t i = 2; i < rows[r].bytes; i++)
            if (p[i] < 0x80 || p[i] > 0xbf) return 0;
        return rows[r].bytes;
    }
    return 0;
}

static enum tl_status check_text(const struct tl_buf *out, size_t from, struct tl_err *err)
{
    for (size_t i = from, more; i < out->n; i += more) {
        if (out->p[i] == '\0') return tl_fail(err, TL_INVALID, "a NUL (%%00) is not allowed");
        more = utf8_bytes((const unsigned char *)out->p + i, out->n - i);
        if (more == 0) return tl_fail(err, TL_INVALID, "not UTF-8 behind %zu bytes", i - from);
    }
    return TL_OK;
}

enum tl_status tl_http_decode(struct tl_str s, bool plus_is_blank, struct tl_buf *out, struct tl_err *err)
{
    size_t from = out->n;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '+' && plus_is_blank) c = ' ';
        if (c == '%') {
            int high = s.n - i > 2 ? hex_digit(s.p[i + 1]) : -1, low = high >= 0 ? hex_digit(s.p[i + 2]) : -1;
            if (low < 0)
                return tl_fail(err, TL_INVALID, "broken escape \"%.*s\"", (int)TL_MIN(s.n - i, (size_t)3), s.p + i);
            c = (char)(high << 4 | low);
            i += 2;
        }
        tl_buf_putc(out, c);
    }
    enum tl_status st = tl_buf_status(out, err);
    return st == TL_OK ? check_text(out, from, err) : st;
}

bool tl_http_next_param(struct tl_str *rest, struct tl_str *name, struct tl_str *value)
{
    struct tl_str part;
    while (tl_str_split(rest, '&', &part)) {
        if (part.n == 0) continue; /* "a=1&&b=2", "" */
        const char *equals = memchr(part.p, '=', part.n);
        *name = equals ? (struct tl_str){part.p, (size_t)(equals - part.p)} : part;
        *value = equals ? (struct tl_str){equals + 1, part.n - name->n - 1} : (struct tl_str){part.p + part.n, 0};
        return true;
    }
    return false;
}

/* ---- lists of fields ---- */

/* The part before the next `sep` that stands in no quoted string; false: the end. */
static bool next_item(struct tl_str *rest, char sep, struct tl_str *item)
{
    bool quoted = false;
    if (!rest->p) return false;
    for (size_t i = 0; i < rest->n; i++) {
        char c = rest->p[i];
        if (quoted && c == '\\') {
            i++;
        } else if (c == '"') {
            quoted = !quoted;
        } else if (c == sep && !quoted) {
            *item = tl_str_trim((struct tl_str){rest->p, i});
            *rest = (struct tl_str){rest->p + i + 1, rest->n - i - 1};
            return true;
        }
    }
    *item = tl_str_trim(*rest);
    *rest = (struct tl_str){NULL, 0};
    return true;
}

/* "0", "1", "0.25", "1.000" in thousandths; -1: it is none. */
static int weight(struct tl_str s)
{
    static const int worth[] = {100, 10, 1};
    if (s.n == 0 || s.n > 5 || (s.p[0] != '0' && s.p[0] != '1') || (s.n > 1 && s.p[1] != '.')) return -1;
    int q = (s.p[0] - '0') * 1000;
    for (size_t i = 2; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return -1;
        q += (s.p[i] - '0') * worth[i - 2];
    }
    return q <= 1000 ? q : -1;
}

/* How closely a range names the offer: 3 by name, 2 "type/?*", 1 all; 0: not at all. */
static unsigned closeness(struct tl_str range, struct tl_str offer)
{
    if (tl_str_ieq(range, offer)) return 3;
    if (tl_str_eq(range, TL_STR("*")) || tl_str_eq(range, TL_STR("*/*"))) return 1;
    if (tl_str_ieq(range, TL_STR("x-gzip")) && tl_str_ieq(offer, TL_STR("gzip"))) return 3;
    if (range.n < 3 || memcmp(range.p + range.n - 2, "/*", 2) != 0) return 0;
    struct tl_str type = {range.p, range.n - 1}; /* with its slash */
    return offer.n > type.n && tl_str_ieq(type, (struct tl_str){offer.p, type.n}) ? 2 : 0;
}

unsigned tl_http_accepts(struct tl_str header, const char *offer)
{
    const struct tl_str wanted = tl_str(offer);
    unsigned closest = 0;
    int best = tl_str_ieq(wanted, TL_STR("identity")) ? 1000 : 0; /* it needs no mention */
    struct tl_str rest = header, item;
    if (!header.p) return 1000;
    while (next_item(&rest, ',', &item)) {
        struct tl_str params = item, range, param;
        int q = 1000;
        if (!next_item(&params, ';', &range) || range.n == 0) continue;
        while (next_item(&params, ';', &param))
            if (param.n >= 2 && (param.p[0] == 'q' || param.p[0] == 'Q') && param.p[1] == '=')
                q = weight((struct tl_str){param.p + 2, param.n - 2});
        unsigned close = closeness(range, wanted);
        if (q < 0 || close == 0 || close < closest) continue;
        best = close == closest ? TL_MAX(best, q) : q;
        closest = close;
    }
    return (unsigned)best;
}

bool tl_http_etag_matches(struct tl_str if_none_match, const char *etag)
{
    struct tl_str ours = tl_str(etag), rest = if_none_match, item;
    if (!if_none_match.p) return false;
    if (tl_str_eq(tl_str_trim(if_none_match), TL_STR("*"))) return true;
    if (ours.n > 2 && memcmp(ours.p, "W/", 2) == 0) ours = (struct tl_str){ours.p + 2, ours.n - 2};
    /* Inside an entity tag a backslash is a byte like any other, so quotes alone delimit it. */
    while (rest.n > 0) {
        const char *open = memchr(rest.p, '"', rest.n);
        if (!open) return false;
        const char *close = memchr(open + 1, '"', rest.n - (size_t)(open - rest.p) - 1);
        if (!close) return false;
        item = (struct tl_str){open, (size_t)(close - open) + 1};
        if (tl_str_eq(item, ours)) return true;
        rest = (struct tl_str){close + 1, rest.n - (size_t)(close + 1 - rest.p)};
    }
    return false;
}
