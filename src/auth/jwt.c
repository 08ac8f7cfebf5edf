/* SPDX-License-Identifier: Apache-2.0 */
/* Verifying a JWT. Order: its form and size, its header, its signature, and only then its claims are parsed.
 * Invariants: each algorithm has its own key, by configuration; the header may only choose among those that have one,
 * so "none", an algorithm that is not configured, and a public key used as a shared secret are refused; nothing that
 * was not signed decides anything; a claim of the wrong type is refused, never ignored. Extensions ("crit") are not
 * understood, keys named or carried by the token ("kid", "jwk", "x5c", ...) are not looked at. */
#include "auth/jwt.h"
#include "auth/text.h"

#include "base/err.h"
#include "base/util.h"

#include <jansson.h>
#include <math.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdio.h>

/* 9999-12-31T23:59:59Z: what is later was meant in milliseconds. */
#define LAST_SECOND 253402300799.0

enum { DECODED_MAX = TL_JWT_MAX / 4 * 3, NAME_KEPT = 54 };

struct parts {
    struct tl_str signed_text; /* header.claims, as they stand there */
    struct tl_str header, claims, signature;
};

static enum tl_status denied(struct tl_err *err, const char *why)
{
    return tl_fail(err, TL_DENIED, "JWT: %s", why);
}

/* ---- form ---- */

bool tl_jwt_looks_like(struct tl_str token)
{
    size_t dots = 0;
    for (size_t i = 0; i < token.n; i++) dots += token.p[i] == '.';
    return dots == 2;
}

static bool split(struct tl_str token, struct parts *p)
{
    struct tl_str rest = token;
    if (!tl_jwt_looks_like(token)) return false;
    (void)tl_str_split(&rest, '.', &p->header);
    (void)tl_str_split(&rest, '.', &p->claims);
    p->signature = rest;
    p->signed_text = (struct tl_str){token.p, p->header.n + 1 + p->claims.n};
    return p->header.n > 0 && p->claims.n > 0;
}

/* [own] The JSON object in base64url; NULL: it is none, or names a member twice. `room`: DECODED_MAX bytes. */
static json_t *parse_object(struct tl_str text, char *room)
{
    size_t n;
    if (!tl_base64url_decode(text, room, DECODED_MAX, &n)) return NULL;
    json_t *j = json_loadb(room, n, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(j)) return j;
    json_decref(j);
    return NULL;
}

/* ---- header and signature ---- */

enum algorithm { ALG_NONE, ALG_HS256, ALG_RS256 };

static bool type_fits(const json_t *typ)
{
    static const char *const types[] = {"JWT", "at+jwt", "application/jwt", "application/at+jwt"};
    if (!typ) return true;
    if (!json_is_string(typ)) return false;
    struct tl_str type = tl_str(json_string_value(typ));
    for (size_t i = 0; i < TL_COUNT(types); i++)
        if (tl_str_ieq(type, tl_str(types[i]))) return true;
    return false;
}

static enum tl_status check_header(const struct tl_jwt_keys *k, const json_t *header, enum algorithm *alg,
                                   struct tl_err *err)
{
    const char *name = json_string_value(json_object_get(header, "alg"));
    if (!name) return denied(err, "the header names no algorithm");
    *alg = k->secret && strcmp(name, "HS256") == 0 ? ALG_HS256
           : k->rsa && strcmp(name, "RS256") == 0  ? ALG_RS256
                                                   : ALG_NONE;
    if (*alg == ALG_NONE) return tl_fail(err, TL_DENIED, "JWT: no key is configured for the algorithm '%.20s'", name);
    if (json_object_get(header, "crit")) return denied(err, "the header has extensions that must be understood");
    if (!type_fits(json_object_get(header, "typ"))) return denied(err, "the header says that it is of another type");
    return TL_OK;
}

static bool hs256_fits(const struct tl_jwt_keys *k, struct tl_str text, const unsigned char *signature, size_t n)
{
    unsigned char mac[TL_SHA256];
    size_t mac_n = 0;
    bool made = EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, k->secret, k->secret_n, (const unsigned char *)text.p,
                          text.n, mac, sizeof mac, &mac_n) != NULL;
    bool same = made && mac_n == sizeof mac && n == sizeof mac && CRYPTO_memcmp(mac, signature, sizeof mac) == 0;
    OPENSSL_cleanse(mac, sizeof mac);
    return same;
}

static bool rs256_fits(const struct tl_jwt_keys *k, struct tl_str text, const unsigned char *signature, size_t n)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    /* The default padding of an RSA key is PKCS #1 v1.5: RS256. */
    bool same = md && EVP_DigestVerifyInit(md, NULL, EVP_sha256(), NULL, k->rsa) == 1 &&
                EVP_DigestVerify(md, signature, n, (const unsigned char *)text.p, text.n) == 1;
    EVP_MD_CTX_free(md);
    return same;
}

static bool signature_fits(const struct tl_jwt_keys *k, enum algorithm alg, const struct parts *p, char *room)
{
    size_t n;
    if (!tl_base64url_decode(p->signature, room, DECODED_MAX, &n) || n == 0) return false;
    const unsigned char *signature = (const unsigned char *)room;
    bool same = (alg == ALG_HS256 && hs256_fits(k, p->signed_text, signature, n)) ||
                (alg == ALG_RS256 && rs256_fits(k, p->signed_text, signature, n));
    ERR_clear_error(); /* others on this thread read OpenSSL's queue, too */
    return same;
}

/* ---- claims ---- */

/* A NumericDate as ms. false: it is there and none. */
static bool time_claim(const json_t *claims, const char *name, bool *there, int64_t *ms)
{
    const json_t *v = json_object_get(claims, name);
    *there = v != NULL;
    if (!v) return true;
    double seconds = json_number_value(v);
    if (!json_is_number(v) || !isfinite(seconds) || seconds < 0 || seconds > LAST_SECOND) return false;
    *ms = (int64_t)(seconds * 1000);
    return true;
}

static enum tl_status check_times(const json_t *claims, int64_t now_ms, struct tl_identity *out, struct tl_err *err)
{
    int64_t exp = 0, nbf = 0;
    bool has_exp, has_nbf;
    if (!time_claim(claims, "exp", &has_exp, &exp) || !time_claim(claims, "nbf", &has_nbf, &nbf))
        return denied(err, "exp or nbf is no time in seconds");
    if (!has_exp) return denied(err, "it has no exp: only tokens that expire are taken");
    char text[TL_RFC3339_MAX];
    out->expires_ms = exp + TL_JWT_LEEWAY_MS;
    if (now_ms >= out->expires_ms) {
        tl_rfc3339(exp, text);
        return tl_fail(err, TL_DENIED, "JWT: it expired at %s", text);
    }
    if (has_nbf && now_ms < nbf - TL_JWT_LEEWAY_MS) {
        tl_rfc3339(nbf, text);
        return tl_fail(err, TL_DENIED, "JWT: it is not valid before %s", text);
    }
    return TL_OK;
}

static bool names(const json_t *v, const char *wanted)
{
    return json_is_string(v) && strcmp(json_string_value(v), wanted) == 0;
}

static enum tl_status check_parties(const struct tl_jwt_rules *r, const json_t *claims, struct tl_err *err)
{
    const json_t *aud = json_object_get(claims, "aud"), *v;
    if (r->issuer && !names(json_object_get(claims, "iss"), r->issuer))
        return denied(err, "the issuer is not the configured one");
    /* RFC 7519 4.1.3: who does not find himself in an audience must refuse. */
    if (!r->audience) return aud ? denied(err, "it is for an audience, and none is configured") : TL_OK;
    bool meant = names(aud, r->audience);
    size_t i;
    json_array_foreach(aud, i, v)
    {
        if (!json_is_string(v)) return denied(err, "the audience is neither text nor a list of texts");
        meant = meant || names(v, r->audience);
    }
    return meant ? TL_OK : denied(err, "the audience is not the configured one");
}

/* Words that mean nothing here are another's. */
static unsigned may_of(struct tl_str words)
{
    static const char prefix[] = "tierline:";
    const size_t n = sizeof prefix - 1;
    struct tl_str word;
    unsigned may = 0;
    while (tl_str_split(&words, ' ', &word)) {
        if (word.n > n && memcmp(word.p, prefix, n) == 0) word = (struct tl_str){word.p + n, word.n - n};
        may |= tl_may_parse(word);
    }
    return may;
}

static enum tl_status read_scope(const struct tl_jwt_rules *r, const json_t *claims, unsigned *may, struct tl_err *err)
{
    const json_t *scope = json_object_get(claims, r->scope_claim), *v;
    *may = 0;
    if (!scope) return TL_OK;
    if (!json_is_string(scope) && !json_is_array(scope))
        return tl_fail(err, TL_DENIED, "JWT: %.80s is neither text nor a list of texts", r->scope_claim);
    if (json_is_string(scope)) *may = may_of(tl_str(json_string_value(scope)));
    size_t i;
    json_array_foreach(scope, i, v)
    {
        if (!json_is_string(v)) return tl_fail(err, TL_DENIED, "JWT: %.80s has no list of texts", r->scope_claim);
        *may |= may_of(tl_str(json_string_value(v)));
    }
    return TL_OK;
}

/* A subject that is too long keeps its beginning and gets its hash: two subjects never become one name. */
static enum tl_status read_name(const json_t *claims, char name[sizeof((struct tl_identity *)0)->name],
                                struct tl_err *err)
{
    const json_t *sub = json_object_get(claims, "sub");
    if (sub && (!json_is_string(sub) || json_string_length(sub) == 0)) return denied(err, "sub is no text");
    struct tl_str text = sub ? tl_str(json_string_value(sub)) : TL_STR("jwt");
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] < 0x20 || text.p[i] == 0x7f) return denied(err, "sub has control characters");
    const size_t cap = sizeof((struct tl_identity *)0)->name;
    if (text.n < cap) {
        memcpy(name, text.p, text.n);
        name[text.n] = '\0';
        return TL_OK;
    }
    unsigned char hash[TL_SHA256];
    if (!tl_sha256(text, TL_STR(""), hash)) return tl_fail(err, TL_INTERNAL, "JWT: no SHA-256");
    size_t kept = NAME_KEPT;
    while (kept > 0 && ((unsigned char)text.p[kept] & 0xc0) == 0x80) kept--;
    memcpy(name, text.p, kept);
    name[kept++] = '~';
    tl_hex(hash, (cap - 1 - NAME_KEPT - 1) / 2, name + kept);
    return TL_OK;
}

static enum tl_status check_claims(const struct tl_jwt_rules *r, const json_t *claims, int64_t now_ms,
                                   struct tl_identity *out, struct tl_err *err)
{
    enum tl_status st = check_times(claims, now_ms, out, err);
    if (st == TL_OK) st = check_parties(r, claims, err);
    if (st == TL_OK) st = read_scope(r, claims, &out->may, err);
    return st == TL_OK ? read_name(claims, out->name, err) : st;
}

static enum tl_status check_signed(const struct tl_jwt_keys *k, const struct parts *p, char *room, struct tl_err *err)
{
    enum algorithm alg = ALG_NONE;
    json_t *header = parse_object(p->header, room);
    if (!header) return denied(err, "the header is no JSON object in base64url");
    enum tl_status st = check_header(k, header, &alg, err);
    json_decref(header);
    if (st == TL_OK && !signature_fits(k, alg, p, room)) st = denied(err, "the signature does not fit");
    return st;
}

enum tl_status tl_jwt_check(const struct tl_jwt_keys *k, const struct tl_jwt_rules *r, struct tl_str token,
                            int64_t now_ms, struct tl_identity *out, struct tl_err *err)
{
    struct parts p;
    struct tl_identity id = {0};
    if (!k->secret && !k->rsa) return denied(err, "no key is configured");
    if (token.n > TL_JWT_MAX) return tl_fail(err, TL_DENIED, "JWT: it has more than %d characters", TL_JWT_MAX);
    if (!split(token, &p)) return denied(err, "it is not of the form header.claims.signature");
    TL_AUTOFREE char *room = malloc(DECODED_MAX);
    if (!room) return tl_fail(err, TL_NOMEM, "no memory for a JWT");
    enum tl_status st = check_signed(k, &p, room, err);
    if (st != TL_OK) return st;
    json_t *claims = parse_object(p.claims, room);
    st = claims ? check_claims(r, claims, now_ms, &id, err)
                : denied(err, "the claims are no JSON object in base64url, or one is there twice");
    json_decref(claims);
    if (st == TL_OK) *out = id;
    return st;
}
