/* SPDX-License-Identifier: Apache-2.0 */
/* Base64url, hex, RFC 3339 and SHA-256. Invariant: every decoder takes exactly what its encoder writes, so that one
 * value has one text and no two texts pass for one token. Decoding is not in constant time: what is decoded is looked
 * up by its hash, never compared as it is. */
#include "auth/text.h"

#include "base/util.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <time.h>

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static const char hex_digits[] = "0123456789abcdef";

void tl_base64url(const void *p, size_t n, char *out)
{
    const unsigned char *in = p;
    unsigned bits = 0, have = 0;
    for (size_t i = 0; i < n; i++) {
        bits = bits << 8 | in[i];
        for (have += 8; have >= 6; have -= 6) *out++ = base64_digits[bits >> (have - 6) & 63];
    }
    if (have > 0) *out++ = base64_digits[bits << (6 - have) & 63];
    *out = '\0';
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

bool tl_base64url_decode(struct tl_str text, void *out, size_t cap, size_t *n)
{
    unsigned char *to = out;
    unsigned bits = 0, have = 0;
    *n = 0;
    if (text.n % 4 == 1) return false;
    for (size_t i = 0; i < text.n; i++) {
        int v = base64_value(text.p[i]);
        if (v < 0) return false;
        bits = (bits << 6 | (unsigned)v) & 0xffffff;
        have += 6;
        if (have < 8) continue;
        have -= 8;
        if (*n == cap) return false;
        to[(*n)++] = (unsigned char)(bits >> have);
    }
    return (bits & ((1U << have) - 1)) == 0;
}

void tl_hex(const unsigned char *p, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++) {
        *out++ = hex_digits[p[i] >> 4];
        *out++ = hex_digits[p[i] & 15];
    }
    *out = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool tl_hex_decode(struct tl_str text, unsigned char *out, size_t n)
{
    if (text.n != 2 * n) return false;
    for (size_t i = 0; i < n; i++) {
        int high = hex_value(text.p[2 * i]), low = hex_value(text.p[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        out[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

bool tl_sha256(struct tl_str a, struct tl_str b, unsigned char out[TL_SHA256])
{
    unsigned n = 0;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 && EVP_DigestUpdate(md, a.p, a.n) == 1 &&
              EVP_DigestUpdate(md, b.p, b.n) == 1 && EVP_DigestFinal_ex(md, out, &n) == 1 && n == TL_SHA256;
    EVP_MD_CTX_free(md);
    if (!ok) ERR_clear_error();
    return ok;
}

void tl_rfc3339(int64_t ms, char out[TL_RFC3339_MAX])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    if (!gmtime_r(&seconds, &tm) || strftime(out, TL_RFC3339_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0) out[0] = '\0';
}

static bool digits(struct tl_str text, size_t at, size_t n, int *out)
{
    *out = 0;
    for (size_t i = at; i < at + n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') return false;
        *out = *out * 10 + (text.p[i] - '0');
    }
    return true;
}

bool tl_rfc3339_parse(struct tl_str text, int64_t *ms)
{
    struct tm tm = {0};
    char again[TL_RFC3339_MAX];
    if (text.n != 20 || !digits(text, 0, 4, &tm.tm_year) || !digits(text, 5, 2, &tm.tm_mon) ||
        !digits(text, 8, 2, &tm.tm_mday) || !digits(text, 11, 2, &tm.tm_hour) || !digits(text, 14, 2, &tm.tm_min) ||
        !digits(text, 17, 2, &tm.tm_sec) || tm.tm_year < 1970)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *ms = (int64_t)timegm(&tm) * 1000;
    tl_rfc3339(*ms, again); /* timegm moves 31 February on: what comes back is another date, or has other signs */
    return tl_str_eq(tl_str(again), text);
}
