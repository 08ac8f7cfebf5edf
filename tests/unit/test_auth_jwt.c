/* SPDX-License-Identifier: Apache-2.0 */
/* JWTs: the examples of RFC 7515, appendix A, and what RFC 8725 warns of: other algorithms, keys used for another
 * algorithm, tampering, times, audiences, and claims of the wrong type. Tokens are signed here, by OpenSSL. */
#include "support.h"

#include "auth/jwt.h"
#include "auth/text.h"
#include "auth_fixture.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

/* RFC 7515, A.1: the key and the token. */
static const char rfc_key[] = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
#define RFC_CLAIMS "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
static const char rfc_hs256[] =
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." RFC_CLAIMS ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/* A.2: the public key of its JWK as PEM, and the token. */
static const char rfc_rs256[] =
    "eyJhbGciOiJSUzI1NiJ9." RFC_CLAIMS ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_"
    "lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_"
    "nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0"
    "GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-"
    "eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIh"
    "WkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
static const char rfc_pem[] = "-----BEGIN PUBLIC KEY-----\n"
                              "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAofgWCuLjybRlzo0tZWJj\n"
                              "NiuSfb4p4fAkd/wWJcyQoTbji9k0l8W26mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEz\n"
                              "P1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo\n"
                              "9wGzjb/7OMg0LOL+bSf63kpaSHSXndS5z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTB\n"
                              "EMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxX\n"
                              "FvUK+DWNmoudF8NAco9/h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXp\n"
                              "oQIDAQAB\n"
                              "-----END PUBLIC KEY-----\n";
/* A.3 (ES256), A.4 (ES512, its head) and A.5 (none). */
static const char rfc_es256[] =
    "eyJhbGciOiJFUzI1NiJ9." RFC_CLAIMS ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8IS"
    "lSApmWQxfKTUJqPP3-Kg6NU1Q";
static const char rfc_es512[] = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh";
static const char rfc_none[] = "eyJhbGciOiJub25lIn0." RFC_CLAIMS ".";
#define RFC_EXP_MS INT64_C(1300819380000)

static const char secret[] = "0123456789abcdef0123456789abcdef";

static EVP_PKEY *rsa_key(void)
{
    static EVP_PKEY *key; /* making one takes a while */
    if (!key) key = EVP_RSA_gen(2048);
    assert_non_null(key);
    return key;
}

/* [own] */
static char *pem_of(EVP_PKEY *key)
{
    char *p, *text;
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PUBKEY(bio, key), 1);
    long n = BIO_get_mem_data(bio, &p);
    text = strndup(p, (size_t)n);
    BIO_free(bio);
    return text;
}

static struct tl_auth *opened(struct auth_world *w, const struct tl_auth_options *rest)
{
    struct tl_auth_options o = *rest;
    struct tl_auth *a = NULL;
    o.clock = &w->clock;
    auth_expect(w, tl_auth_open(&o, &a, &w->err), TL_OK, NULL);
    assert_true(tl_auth_configured(a));
    return a;
}

/* Static storage: "header.claims" in base64url. */
static char *unsigned_jwt(const char *header, const char *claims)
{
    static char text[20000];
    tl_base64url(header, strlen(header), text);
    strcat(text, ".");
    tl_base64url(claims, strlen(claims), text + strlen(text));
    return text;
}

static const char *hs256_by(const char *header, const char *claims, const void *key, size_t key_n)
{
    unsigned char mac[32];
    size_t n = 0;
    char *text = unsigned_jwt(header, claims);
    assert_non_null(EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key, key_n, (const unsigned char *)text, strlen(text),
                              mac, sizeof mac, &n));
    strcat(text, ".");
    tl_base64url(mac, n, text + strlen(text));
    return text;
}

static const char *hs256(const char *claims)
{
    return hs256_by("{\"alg\":\"HS256\",\"typ\":\"JWT\"}", claims, secret, sizeof secret - 1);
}

static const char *rs256_by(const char *header, const char *claims, EVP_PKEY *key, const EVP_MD *hash, int padding)
{
    unsigned char signature[512];
    size_t n = sizeof signature;
    char *text = unsigned_jwt(header, claims);
    EVP_PKEY_CTX *ctx;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(md, &ctx, hash, NULL, key), 1);
    if (padding) assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, padding), 1);
    assert_int_equal(EVP_DigestSign(md, signature, &n, (const unsigned char *)text, strlen(text)), 1);
    EVP_MD_CTX_free(md);
    strcat(text, ".");
    tl_base64url(signature, n, text + strlen(text));
    return text;
}

static void put_text(const char *path, const char *text)
{
    auth_put(path, text, strlen(text), 0600);
}

/* ---- RFC 7515 ---- */

static void test_rfc_7515(void **state)
{
    struct auth_world *w = *state;
    struct tl_identity id;
    unsigned char key[64];
    size_t n;
    assert_true(tl_base64url_decode(tl_str(rfc_key), key, sizeof key, &n));
    assert_int_equal(n, 64);
    auth_put(w->secret, key, n, 0600);
    put_text(w->rsa, rfc_pem);
    w->wall_ms = RFC_EXP_MS - 1000;
    const struct tl_auth_options both = {
        .jwt_hs256_file = w->secret, .jwt_rs256_file = w->rsa, .jwt_issuer = "joe", .jwt_audience = "none"};
    struct tl_auth *a = opened(w, &both);
    static const char *const good[] = {rfc_hs256, rfc_rs256};
    for (size_t i = 0; i < 2; i++) {
        auth_expect(w, tl_auth_token(a, tl_str(good[i]), &id, &w->err), TL_OK, NULL);
        assert_int_equal(id.may, 0); /* is_root means nothing here */
        assert_string_equal(id.name, "jwt");
        assert_int_equal(id.expires_ms, RFC_EXP_MS + 60000);
    }
    auth_expect(w, tl_auth_token(a, tl_str(rfc_es256), &id, &w->err), TL_DENIED, "'ES256'");
    auth_expect(w, tl_auth_token(a, tl_str(rfc_es512), &id, &w->err), TL_DENIED, "'ES512'");
    auth_expect(w, tl_auth_token(a, tl_str(rfc_none), &id, &w->err), TL_DENIED, "'none'");
    tl_auth_free(a);
    /* Each key serves its own algorithm alone. */
    const struct tl_auth_options hs = {.jwt_hs256_file = w->secret}, rs = {.jwt_rs256_file = w->rsa};
    a = opened(w, &hs);
    auth_expect(w, tl_auth_token(a, tl_str(rfc_hs256), &id, &w->err), TL_OK, NULL);
    auth_expect(w, tl_auth_token(a, tl_str(rfc_rs256), &id, &w->err), TL_DENIED, "'RS256'");
    tl_auth_free(a);
    a = opened(w, &rs);
    auth_expect(w, tl_auth_token(a, tl_str(rfc_rs256), &id, &w->err), TL_OK, NULL);
    auth_expect(w, tl_auth_token(a, tl_str(rfc_hs256), &id, &w->err), TL_DENIED, "'HS256'");
    tl_auth_free(a);
}

/* ---- algorithms and keys ---- */

#define CLAIMS "{\"sub\":\"ann\",\"exp\":1800000100,\"scope\":\"openid tierline:write\"}"

static void test_confusion(void **state)
{
    struct auth_world *w = *state;
    struct tl_identity id;
    EVP_PKEY *rsa = rsa_key();
    char *pem = pem_of(rsa);
    put_text(w->rsa, pem);
    put_text(w->secret, secret);
    const struct tl_auth_options rs = {.jwt_rs256_file = w->rsa};
    const struct tl_auth_options both = {.jwt_rs256_file = w->rsa, .jwt_hs256_file = w->secret};
    for (int i = 0; i < 2; i++) {
        struct tl_auth *a = opened(w, i ? &both : &rs);
        const char *t = rs256_by("{\"alg\":\"RS256\"}", CLAIMS, rsa, EVP_sha256(), 0);
        auth_expect(w, tl_auth_token(a, tl_str(t), &id, &w->err), TL_OK, NULL);
        assert_int_equal(id.may, TL_MAY_READ | TL_MAY_WRITE);
        assert_string_equal(id.name, "ann");
        /* Signed with what everybody knows: the public key's text, its DER, nothing. */
        t = hs256_by("{\"alg\":\"HS256\"}", CLAIMS, pem, strlen(pem));
        auth_expect(w, tl_auth_token(a, tl_str(t), &id, &w->err), TL_DENIED, i ? "signature" : "'HS256'");
        t = hs256_by("{\"alg\":\"HS256\"}", CLAIMS, pem, strlen(pem) - 1);
        assert_int_equal(tl_auth_token(a, tl_str(t), &id, &w->err), TL_DENIED);
        unsigned char *der = NULL;
        int der_n = i2d_PUBKEY(rsa, &der);
        t = hs256_by("{\"alg\":\"HS256\"}", CLAIMS, der, (size_t)der_n);
        assert_int_equal(tl_auth_token(a, tl_str(t), &id, &w->err), TL_DENIED);
        OPENSSL_free(der);
        t = hs256_by("{\"alg\":\"HS256\"}", CLAIMS, "", 0);
        assert_int_equal(tl_auth_token(a, tl_str(t), &id, &w->err), TL_DENIED);
        /* A right signature under the other one's name, another padding, another hash, another key. */
        t = hs256_by("{\"alg\":\"RS256\"}", CLAIMS, secret, strlen(secret));
        auth_expect(w, tl_auth_token(a, tl_str(t), &id, &w->err), TL_DENIED, "signature");
        t = rs256_by("{\"alg\":\"HS256\"}", CLAIMS, rsa, EVP_sha256(), 0);
        assert_int_equal(tl_auth_token(a, tl_str(t), &id, &w->err), TL_DENIED);
        t = rs256_by("{\"alg\":\"RS256\"}", CLAIMS, rsa, EVP_sha256(), RSA_PKCS1_PSS_PADDING);
        auth_expect(w, tl_auth_token(a, tl_str(t), &id, &w->err), TL_DENIED, "signature");
        t = rs256_by("{\"alg\":\"RS256\"}", CLAIMS, rsa, EVP_sha512(), 0);
        auth_expect(w, tl_auth_token(a, tl_str(t), &id, &w->err), TL_DENIED, "signature");
        EVP_PKEY *other = EVP_RSA_gen(2048);
        t = rs256_by("{\"alg\":\"RS256\"}", CLAIMS, other, EVP_sha256(), 0);
        auth_expect(w, tl_auth_token(a, tl_str(t), &id, &w->err), TL_DENIED, "signature");
        EVP_PKEY_free(other);
        tl_auth_free(a);
    }
    assert_int_equal(ERR_peek_error(), 0); /* nothing is left for others on this thread */
    free(pem);
}

static void test_headers(void **state)
{
    struct auth_world *w = *state;
    struct tl_identity id;
    put_text(w->secret, secret);
    const struct tl_auth_options hs = {.jwt_hs256_file = w->secret};
    struct tl_auth *a = opened(w, &hs);
    static const struct {
        const char *header, *has; /* NULL: good */
    } rows[] = {
        {"{\"alg\":\"HS256\"}", NULL},
        {"{\"alg\":\"HS256\",\"typ\":\"at+JWT\",\"kid\":\"../../etc/passwd\"}", NULL},
        {"{\"alg\":\"HS256\",\"typ\":\"application/jwt\",\"jku\":\"http://127.0.0.1/\"}", NULL},
        {"{\"alg\":\"HS256\",\"typ\":\"logout+jwt\"}", "another type"},
        {"{\"alg\":\"HS256\",\"typ\":7}", "another type"},
        {"{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}", "must be understood"},
        {"{\"alg\":\"HS256\",\"crit\":[]}", "must be understood"},
        {"{\"alg\":\"none\"}", "'none'"},
        {"{\"alg\":\"None\"}", "'None'"},
        {"{\"alg\":\"hs256\"}", "'hs256'"},
        {"{\"alg\":\"HS256 \"}", "'HS256 '"},
        {"{\"alg\":\"HS512\"}", "'HS512'"},
        {"{\"alg\":\"RS256\"}", "'RS256'"},
        {"{\"alg\":\"\"}", "''"},
        {"{\"alg\":[\"HS256\"]}", "names no algorithm"},
        {"{\"alg\":null}", "names no algorithm"},
        {"{}", "names no algorithm"},
        {"{\"alg\":\"none\",\"alg\":\"HS256\"}", "no JSON object"},
        {"{\"alg\":\"HS256\\u0000\"}", "no JSON object"},
        {"[\"alg\",\"HS256\"]", "no JSON object"},
        {"\"HS256\"", "no JSON object"},
        {"{\"alg\":\"HS256\"} x", "no JSON object"},
        {"{\"alg\":\"HS256\"", "no JSON object"},
        {"{\"alg\":\"HS256\",\"x\":\"\xff\"}", "no JSON object"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *t = hs256_by(rows[i].header, CLAIMS, secret, strlen(secret));
        auth_expect(w, tl_auth_token(a, tl_str(t), &id, &w->err), rows[i].has ? TL_DENIED : TL_OK, rows[i].has);
        assert_int_equal(id.may, rows[i].has ? 0 : TL_MAY_READ | TL_MAY_WRITE);
    }
    tl_auth_free(a);
}

/* Every character of a token, changed: the signature tells. */
static void test_tampered(void **state)
{
    struct auth_world *w = *state;
    struct tl_identity id;
    put_text(w->secret, secret);
    const struct tl_auth_options hs = {.jwt_hs256_file = w->secret};
    struct tl_auth *a = opened(w, &hs);
    char good[512], t[600];
    snprintf(good, sizeof good, "%s", hs256(CLAIMS));
    const size_t n = strlen(good);
    assert_int_equal(tl_auth_token(a, tl_str(good), &id, &w->err), TL_OK);
    static const char others[] = "AZaz09-_.=+/ \n";
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < sizeof others; k++) { /* the NUL, too */
            if (good[i] == others[k]) continue;
            memcpy(t, good, n + 1);
            t[i] = others[k];
            assert_int_equal(tl_auth_token(a, (struct tl_str){t, n}, &id, &w->err), TL_DENIED);
            assert_int_equal(id.may, 0);
        }
    for (size_t i = 0; i < n; i++)
        assert_int_equal(tl_auth_token(a, (struct tl_str){good, i}, &id, &w->err), TL_DENIED);
    static const char *const tails[] = {"A", "=", ".", " x", ".AAAA"};
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        snprintf(t, sizeof t, "%s%s", good, tails[i]);
        assert_int_equal(tl_auth_token(a, tl_str(t), &id, &w->err), TL_DENIED);
    }
    static const char *const shapes[] = {"..", "a..", ".a.", "..a", "a.b.", ".b.c", "a.b.c", "...", "a.b.c.d"};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        assert_int_equal(tl_auth_token(a, tl_str(shapes[i]), &id, &w->err), TL_DENIED);
    tl_auth_free(a);
}

static void test_size(void **state)
{
    struct auth_world *w = *state;
    struct tl_identity id;
    put_text(w->secret, secret);
    const struct tl_auth_options hs = {.jwt_hs256_file = w->secret};
    struct tl_auth *a = opened(w, &hs);
    char claims[9000], fill[8001];
    memset(fill, 'x', sizeof fill);
    snprintf(claims, sizeof claims, "{\"exp\":1800000100,\"x\":\"%.*s\"}", 6000, fill);
    const char *t = hs256(claims);
    assert_true(strlen(t) > 8000 && strlen(t) <= TL_JWT_MAX);
    auth_expect(w, tl_auth_token(a, tl_str(t), &id, &w->err), TL_OK, NULL);
    snprintf(claims, sizeof claims, "{\"exp\":1800000100,\"x\":\"%.*s\"}", 6200, fill);
    auth_expect(w, tl_auth_token(a, tl_str(hs256(claims)), &id, &w->err), TL_DENIED, "more than 8192");
    memset(fill, '[', sizeof fill); /* deep, not long */
    snprintf(claims, sizeof claims, "{\"exp\":1800000100,\"x\":%.*s}", 5000, fill);
    auth_expect(w, tl_auth_token(a, tl_str(hs256(claims)), &id, &w->err), TL_DENIED, "claims are no JSON");
    tl_auth_free(a);
}

/* ---- claims ---- */

static void test_claims(void **state)
{
    struct auth_world *w = *state;
    struct tl_identity id;
    put_text(w->secret, secret);
    const struct tl_auth_options hs = {.jwt_hs256_file = w->secret, .jwt_issuer = "https://id", .jwt_audience = "tl"};
    struct tl_auth *a = opened(w, &hs);
    /* now is 1800000000 */
#define OK(rest)  "{\"iss\":\"https://id\",\"aud\":\"tl\",\"exp\":1800000001" rest "}"
#define EXP(time) "{\"iss\":\"https://id\",\"aud\":\"tl\",\"exp\":" time "}"
#define AUD(text) "{\"iss\":\"https://id\",\"exp\":1800000001,\"aud\":" text "}"
#define ISS(text) "{\"aud\":\"tl\",\"exp\":1800000001,\"iss\":" text "}"
    static const struct {
        const char *claims, *has; /* NULL: good */
    } rows[] = {
        {OK(""), NULL},
        {EXP("1799999940.001"), NULL}, /* 60 s leeway */
        {EXP("1799999940"), "expired at 2027-01-15T07:59:00Z"},
        {EXP("0"), "expired"},
        {EXP("-1"), "no time"},
        {EXP("\"1800000001\""), "no time"},
        {EXP("1800000001000"), "no time"}, /* milliseconds */
        {EXP("1e300"), "no time"},
        {EXP("null"), "no time"},
        {EXP("1e400"), "no JSON"},
        {"{\"iss\":\"https://id\",\"aud\":\"tl\"}", "no exp"},
        {OK(",\"nbf\":1800000060"), NULL},
        {OK(",\"nbf\":1800000061"), "not valid before 2027-01-15T08:01:01Z"},
        {OK(",\"nbf\":true"), "no time"},
        {OK(",\"exp\":1900000000"), "there twice"},
        {AUD("[\"x\",\"tl\"]"), NULL},
        {AUD("[]"), "audience"},
        {AUD("[\"x\"]"), "audience"},
        {AUD("[\"tl\",7]"), "neither text"},
        {AUD("\"tl \""), "audience"},
        {AUD("\"TL\""), "audience"},
        {AUD("{\"tl\":1}"), "audience"},
        {AUD("null"), "audience"},
        {"{\"iss\":\"https://id\",\"exp\":1800000001}", "audience"},
        {ISS("\"https://id/\""), "issuer"},
        {ISS("\"https://evil\""), "issuer"},
        {ISS("[\"https://id\"]"), "issuer"},
        {"{\"aud\":\"tl\",\"exp\":1800000001}", "issuer"},
        {OK(",\"sub\":7"), "sub is no text"},
        {OK(",\"sub\":\"\""), "sub is no text"},
        {OK(",\"sub\":\"a\\nb\""), "control"},
        {OK(",\"sub\":\"a\\u007fb\""), "control"},
        {OK(",\"scope\":7"), "scope is neither"},
        {OK(",\"scope\":{\"admin\":true}"), "scope is neither"},
        {OK(",\"scope\":[\"read\",1]"), "scope has no list"},
        {"[]", "no JSON object"},
        {"null", "no JSON object"},
        {"{\"iss\":", "no JSON object"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        auth_expect(w, tl_auth_token(a, tl_str(hs256(rows[i].claims)), &id, &w->err), rows[i].has ? TL_DENIED : TL_OK,
                    rows[i].has);
        if (!rows[i].has) continue;
        assert_string_equal(id.name, "");
    }
    auth_expect(w, tl_auth_token(a, tl_str(hs256(OK(""))), &id, &w->err), TL_OK, NULL);
    assert_int_equal(id.expires_ms, INT64_C(1800000061000));
    w->wall_ms = id.expires_ms - 1;
    assert_int_equal(tl_auth_token(a, tl_str(hs256(OK(""))), &id, &w->err), TL_OK);
    w->wall_ms++;
    assert_int_equal(tl_auth_token(a, tl_str(hs256(OK(""))), &id, &w->err), TL_DENIED);
    tl_auth_free(a);
    /* For somebody, and nobody said for whom we are. */
    w->wall_ms = INT64_C(1800000000000);
    const struct tl_auth_options open = {.jwt_hs256_file = w->secret, .jwt_issuer = "", .jwt_audience = NULL};
    a = opened(w, &open);
    auth_expect(w, tl_auth_token(a, tl_str(hs256(OK(""))), &id, &w->err), TL_DENIED, "none is configured");
    auth_expect(w, tl_auth_token(a, tl_str(hs256("{\"exp\":1800000001}")), &id, &w->err), TL_OK, NULL);
    tl_auth_free(a);
}

static void test_scope_and_name(void **state)
{
    struct auth_world *w = *state;
    struct tl_identity id;
    put_text(w->secret, secret);
    const struct tl_auth_options by_default = {.jwt_hs256_file = w->secret};
    const struct tl_auth_options roles = {.jwt_hs256_file = w->secret, .jwt_scope_claim = "https://x/roles"};
    static const struct {
        const char *scope;
        unsigned may;
    } rows[] = {
        {"\"read\"", 1},
        {"\"openid  tierline:write email\"", 3},
        {"\"admin\"", 7},
        {"\"tierline:admin read\"", 7},
        {"[\"write\"]", 3},
        {"[\"x\",\"tierline:read\"]", 1},
        {"[\"a admin\"]", 7},
        {"\"\"", 0},
        {"\"Admin\"", 0},
        {"\"tierline:\"", 0},
        {"\"tierline\"", 0},
        {"\"administrator\"", 0},
        {"\"other:admin\"", 0},
        {"\"tierline:tierline:admin\"", 0},
        {"[]", 0},
        {"\"admin\\t\"", 0},
    };
    for (int k = 0; k < 2; k++) {
        struct tl_auth *a = opened(w, k ? &roles : &by_default);
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            char claims[256];
            snprintf(claims, sizeof claims, "{\"exp\":1800000001,\"sub\":\"s\",\"%s\":%s,\"%s\":\"admin\"}",
                     k ? "https://x/roles" : "scope", rows[i].scope, k ? "scope" : "https://x/roles");
            auth_expect(w, tl_auth_token(a, tl_str(hs256(claims)), &id, &w->err), TL_OK, NULL);
            assert_int_equal(id.may, rows[i].may);
        }
        tl_auth_free(a);
    }
    struct tl_auth *a = opened(w, &by_default);
    char claims[512], sub[201], first[72];
    memset(sub, 'n', 200);
    sub[200] = '\0';
    for (int n = 70; n <= 200; n += n < 74 ? 1 : 63) {
        snprintf(claims, sizeof claims, "{\"exp\":1800000001,\"sub\":\"%.*s\"}", n, sub);
        auth_expect(w, tl_auth_token(a, tl_str(hs256(claims)), &id, &w->err), TL_OK, NULL);
        assert_int_equal(strlen(id.name), n < 71 ? (size_t)n : 71);
        assert_int_equal(strchr(id.name, '~') != NULL, n > 71);
        if (n == 72) memcpy(first, id.name, sizeof first);
        if (n > 72) assert_string_not_equal(id.name, first);
    }
    /* A cut never leaves half a character behind. */
    snprintf(claims, sizeof claims, "{\"exp\":1800000001,\"sub\":\"%.53s\xe4\xb8\xad%.40s\"}", sub, sub);
    auth_expect(w, tl_auth_token(a, tl_str(hs256(claims)), &id, &w->err), TL_OK, NULL);
    assert_int_equal(id.name[53], '~');
    assert_int_equal(strlen(id.name), 70);
    tl_auth_free(a);
}

/* ---- key files ---- */

static void test_key_files(void **state)
{
    struct auth_world *w = *state;
    struct tl_auth *a = NULL;
    struct tl_identity id;
    struct tl_auth_options hs = {.jwt_hs256_file = w->secret, .clock = &w->clock};
    struct tl_auth_options rs = {.jwt_rs256_file = w->rsa, .clock = &w->clock};
    char *pem = pem_of(rsa_key()), big[5000];
    auth_expect(w, tl_auth_open(&hs, &a, &w->err), TL_NOT_FOUND, "open");
    assert_string_equal(w->err.file, w->secret);
    auth_expect(w, tl_auth_open(&rs, &a, &w->err), TL_NOT_FOUND, "open");
    put_text(w->secret, "0123456789abcdef0123456789abcde\n");
    auth_expect(w, tl_auth_open(&hs, &a, &w->err), TL_INVALID, "this one has 31");
    put_text(w->secret, pem);
    auth_expect(w, tl_auth_open(&hs, &a, &w->err), TL_INVALID, "no shared secret");
    memset(big, 'k', sizeof big);
    auth_put(w->secret, big, 4097, 0600);
    auth_expect(w, tl_auth_open(&hs, &a, &w->err), TL_INVALID, "this one has 4097");
    auth_put(w->secret, big, 5000, 0600);
    auth_expect(w, tl_auth_open(&hs, &a, &w->err), TL_TOO_LARGE, "4098");
    auth_put(w->secret, secret, 32, 0644);
    auth_expect(w, tl_auth_open(&hs, &a, &w->err), TL_DENIED, "read it");
    auth_put(w->rsa, pem, strlen(pem), 0664);
    auth_expect(w, tl_auth_open(&rs, &a, &w->err), TL_DENIED, "chmod 644");
    put_text(w->rsa, "not PEM\n");
    auth_expect(w, tl_auth_open(&rs, &a, &w->err), TL_PARSE, "BEGIN PUBLIC KEY");
    put_text(w->rsa, "-----BEGIN PRIVATE KEY-----\n");
    auth_expect(w, tl_auth_open(&rs, &a, &w->err), TL_INVALID, "private");
    EVP_PKEY *weak = EVP_RSA_gen(1024), *ec = EVP_EC_gen("P-256");
    char *weak_pem = pem_of(weak), *ec_pem = pem_of(ec);
    put_text(w->rsa, weak_pem);
    auth_expect(w, tl_auth_open(&rs, &a, &w->err), TL_INVALID, "1024 bits");
    put_text(w->rsa, ec_pem);
    auth_expect(w, tl_auth_open(&rs, &a, &w->err), TL_INVALID, "no RSA");
    assert_int_equal(ERR_peek_error(), 0);
    /* A line's end is no part of the secret; anybody may read a public key. */
    put_text(w->secret, "0123456789abcdef0123456789abcdef\r\n");
    auth_put(w->rsa, pem, strlen(pem), 0644);
    hs.jwt_rs256_file = w->rsa;
    auth_expect(w, tl_auth_open(&hs, &a, &w->err), TL_OK, NULL);
    const char *t = hs256(CLAIMS);
    auth_expect(w, tl_auth_token(a, tl_str(t), &id, &w->err), TL_OK, NULL);
    /* Reload: all or nothing, then the new one. */
    put_text(w->secret, "ffffffffffffffffffffffffffffffff");
    put_text(w->rsa, weak_pem);
    auth_expect(w, tl_auth_reload(a, &w->err), TL_INVALID, "1024 bits");
    auth_expect(w, tl_auth_token(a, tl_str(t), &id, &w->err), TL_OK, NULL);
    put_text(w->rsa, pem);
    auth_expect(w, tl_auth_reload(a, &w->err), TL_OK, NULL);
    auth_expect(w, tl_auth_token(a, tl_str(t), &id, &w->err), TL_DENIED, "signature");
    tl_auth_free(a);
    /* No key, no JWT. */
    struct tl_auth_options none = {.jwt_hs256_file = "none", .jwt_rs256_file = "", .clock = &w->clock};
    auth_expect(w, tl_auth_open(&none, &a, &w->err), TL_OK, NULL);
    assert_false(tl_auth_configured(a));
    auth_expect(w, tl_auth_token(a, tl_str(t), &id, &w->err), TL_DENIED, "no key");
    tl_auth_free(a);
    EVP_PKEY_free(weak);
    EVP_PKEY_free(ec);
    free(weak_pem);
    free(ec_pem);
    free(pem);
}

#define T(name) cmocka_unit_test_setup_teardown(name, auth_setup, auth_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_rfc_7515), T(test_confusion), T(test_headers),   T(test_tampered),
        T(test_size),     T(test_claims),    T(test_key_files), T(test_scope_and_name),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    EVP_PKEY_free(rsa_key());
    return failed;
}
